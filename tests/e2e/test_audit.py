"""The audit log as somebody meets it who may write to the store, and the one who checks it after."""

import json
import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from securesystemslib.signer import CryptoSigner

from tests.e2e.drift_world import SERVER, World, Worlds, deploy
from tests.e2e.sandbox import RESOURCE, Result, Sandbox, environment
from tfops.dsse import sign, unverified_payload

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("terraform") is None, reason="no terraform on PATH"),
]

LATER = f"{datetime.now(UTC) + timedelta(days=30):%Y-%m-%d}"
ACKNOWLEDGED = 4
LAST = 2 + 1 + ACKNOWLEDGED + 2


def _decided(world: World) -> World:
    """Four decisions in the log, and a deployment before and after them, each with two entries of its own."""
    deploy(world)
    world.edit(size=5)
    world.drift(expect=2)
    for number in range(1, ACKNOWLEDGED + 1):
        world.sandbox.json("drift", "--ack", SERVER, "--reason", f"reason {number}", "--until", LATER)
    assert world.sandbox.sync("--replan", expect=0).outcomes == {"dev": "applied"}
    return world


@pytest.fixture
def world(worlds: Worlds) -> World:
    """A stack whose log has an entry for its rules, two for each deployment, and one for each decision."""
    return worlds.begin("decided", _decided)


def _log(world: World) -> list[Path]:
    return sorted((world.sandbox.store / "audit").iterdir())


def _verify(world: World, *arguments: str) -> Result:
    return world.sandbox.json("audit", "verify", *arguments)


def test_a_whole_log_is_shown_verified_and_anchored(world: World) -> None:
    found = _verify(world)
    assert (found.code, found.errors, found.json["verified"]) == (0, [], True), found
    entries = found.json["entries"]
    last, first = world.sandbox.history("dev")
    revision = f"main@{last['revision'][:12]}"
    assert [(entry["seq"], entry["event"], entry["stack"], entry["reason"]) for entry in entries] == [
        (1, "change-rules", "rules-change", "the first rules"),
        (2, "claim", "dev", f"to apply plan {first['plan_id'][:12]} of {revision}"),
        (3, "apply", "dev", f"plan {first['plan_id'][:12]} applied"),
        *((number + 3, "acknowledge-drift", "dev", f"reason {number}") for number in range(1, ACKNOWLEDGED + 1)),
        (LAST - 1, "claim", "dev", f"to apply plan {last['plan_id'][:12]} of {revision}"),
        (LAST, "apply", "dev", f"plan {last['plan_id'][:12]} applied"),
    ]
    assert {entry["by"] for entry in entries} == {"ci"}
    assert entries[-1]["details"]["deployment"] == last["id"]
    assert (entries[-1]["details"]["serial_before"], entries[-1]["details"]["serial_after"]) == (
        str(last["serial_before"]),
        str(last["serial_after"]),
    )
    assert found.json["anchor"] == f"{LAST}:{entries[-1]['id']}"
    (anchor,) = (check for check in found.json["checks"] if check["name"] == "anchor")
    assert anchor["detail"] == f"deployment {last['id'][:12]} of dev: entry {LAST - 1}", "its own claim"
    text = world.sandbox.tfops("audit", "list")
    assert text.code == 0
    assert all(f"reason {number}" in text.out for number in range(1, ACKNOWLEDGED + 1)), text
    assert found.json["anchor"] in world.sandbox.tfops("audit", "verify").out.replace("\n", "")


def _edit(log: list[Path]) -> None:
    document = json.loads(log[1].read_bytes())
    document["payload"] = (
        document["payload"][:40] + ("A" if document["payload"][40] != "A" else "B") + document["payload"][41:]
    )
    _overwrite(log[1], json.dumps(document, indent=1).encode() + b"\n")


def _forge(log: list[Path]) -> None:
    """The last entry anew, with a good signature of a key that nobody trusts."""
    payload = unverified_payload(log[-1].read_bytes(), what="the entry")
    stranger = CryptoSigner.generate_ed25519()
    _overwrite(log[-1], sign(payload.replace(b'"applied"', b'"failed"'), stranger))


def _swap(log: list[Path]) -> None:
    first, second = log[1].read_bytes(), log[2].read_bytes()
    _overwrite(log[1], second)
    _overwrite(log[2], first)


def _overwrite(path: Path, data: bytes) -> None:
    path.unlink()
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("attack", "told"),
    [
        (_edit, "entry 2: the signature"),
        (lambda log: log[1].unlink(), "entry 2: missing: it was taken out"),
        (_swap, "entry 2: it is entry 3: somebody moved it"),
        (lambda log: [path.unlink() for path in log[-2:]], f"the log ends at {LAST - 2}: its end was cut off"),
        (lambda log: log[-1].unlink(), "of dev: its apply is not in the log"),
        (_forge, f"entry {LAST}: the audit entry {LAST:012d} is signed by an unknown key"),
        (lambda log: [path.unlink() for path in log], "the log ends at 0: its end was cut off"),
        (lambda log: _overwrite(log[0], b"{"), "entry 1: "),
        (lambda log: (log[0].parent / "notes.txt").write_text("hello"), "notes.txt: does not belong into the log"),
    ],
    ids=["edited", "removed", "swapped", "cut off", "shortened", "forged", "emptied", "torn", "a foreign file"],
)
def test_whoever_writes_to_the_store_cannot_change_the_log_unseen(
    world: World, attack: Callable[[list[Path]], object], told: str
) -> None:
    attack(_log(world))
    found = _verify(world)
    assert (found.code, found.json["verified"]) == (5, False), found
    assert set(found.errors) == {"audit.broken"}
    assert told in found.messages, found
    text = world.sandbox.tfops("audit", "verify")
    assert text.code == 5
    assert "does NOT verify" in text.out


def test_a_log_cut_off_together_with_its_deployments_is_found_by_an_anchor_kept_elsewhere(world: World) -> None:
    anchor = _verify(world).json["anchor"]
    assert _verify(world, "--anchor", anchor).code == 0
    for entry in _log(world)[-2:]:
        entry.unlink()
    (world.sandbox.plan_directory(world.sandbox.history("dev")[0]["plan_id"]) / "result.json").unlink()
    assert _verify(world).code == 0, "nothing in the store knows better"
    found = _verify(world, "--anchor", anchor)
    assert (found.code, found.errors) == (5, ["audit.broken"])
    assert f"the anchor you gave names entry {LAST}, but the log ends at {LAST - 2}" in found.messages


def test_a_deployment_that_was_removed_from_the_store_is_missed(world: World) -> None:
    last = world.sandbox.history("dev")[0]
    (world.sandbox.plan_directory(last["plan_id"]) / "result.json").unlink()
    found = _verify(world)
    assert (found.code, found.errors) == (5, ["audit.broken"])
    assert f"entry {LAST}: deployment {last['id'][:12]} of dev is gone: somebody removed it" in found.messages


def test_an_empty_log_is_whole(sandbox: Sandbox) -> None:
    sandbox.stacks(environment("prod"), {"prod/main.tf": RESOURCE})
    found = sandbox.json("audit", "verify")
    assert (found.code, found.json["anchor"], found.json["entries"]) == (0, None, [])
    assert "empty" in sandbox.tfops("audit", "list").out


def test_a_damaged_end_of_the_log_does_not_keep_the_branch_from_being_applied(world: World) -> None:
    _overwrite(_log(world)[-1], b"{")
    done = world.sandbox.sync("--replan", expect=0)
    assert "tfops audit verify" in done.err
    assert _verify(world).code == 5


def test_what_is_no_anchor_is_wrong_usage(world: World) -> None:
    found = _verify(world, "--anchor", "yesterday")
    assert (found.code, found.errors) == (64, ["usage.anchor"])
