"""Scans that are killed, that come at a bad moment, or that find the store in pieces: never a wrong "in sync"."""

import gzip
import io
import json
import os
import re
import shutil
import signal
import sys
import tarfile
from collections.abc import Callable
from typing import Any

import pytest

from tests.e2e.drift_world import (
    PASSWORD,
    RECORD,
    SERVER,
    World,
    Worlds,
    drop,
    incidents,
    tags,
    told,
)
from tests.e2e.sandbox import Running, wait_for
from tests.killing.table import end_processes

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("terraform") is None, reason="no terraform on PATH"),
    pytest.mark.skipif(sys.platform != "linux", reason="processes are found in /proc"),
]

SLOW = 3.0
"""Seconds a call takes in which something else is to happen."""


def _deploy_two(world: World) -> None:
    small = 'resource "fakecloud_server" "a" {{\n  name = "{}"\n  size = 1\n}}\n'
    blocks = world.block("one") + world.block("two")
    world.sandbox.stacks(blocks, {**world.files(small.format("one"), "one"), **world.files(small.format("two"), "two")})
    world.sandbox.sync(expect=0)


@pytest.fixture
def two(worlds: Worlds) -> World:
    """Two stacks, applied, of which `two` drifted."""
    made = worlds.begin("two", _deploy_two)
    (found,) = made.cloud.named("two")
    made.cloud.edit("server", found["id"], size=5)
    return made


def begin(world: World, *, seconds: float = SLOW) -> Running:
    """Start a scan, and come back when it reads the server, which is slow."""
    before = len(world.cloud.calls("read", "a"))
    world.cloud.misbehave(delay_seconds={"read:a": seconds})
    running = world.sandbox.start("--format", "json", "drift")
    wait_for(lambda: len(world.cloud.calls("read", "a")) > before, what="the read")
    return running


def ended(running: Running, code: int) -> dict[str, Any]:
    """How a scan ended."""
    result = running.end()
    assert result.code == code, result
    return told(result)


# ----------------------------------------------------------------- scanners that are stopped


def test_a_scanner_that_is_killed_leaves_nothing_and_the_next_scan_is_right(either: World) -> None:
    either.edit(size=5)
    running = begin(either)
    running.signal(signal.SIGKILL)
    running.process.wait()
    either.cloud.misbehave()
    found = either.drift(expect=2)
    assert (found["verdict"], incidents(found)) == ("modified", [(SERVER, 1, True)])
    wait_for(lambda: not either.sandbox.processes(), seconds=10, what="the end of all")
    either.is_left_clean()
    left = [path for path in either.sandbox.cache.rglob("out/*") if path.is_file()]
    assert not [path for path in left if PASSWORD.encode() in path.read_bytes()]
    assert either.sandbox.sync(expect=0).outcomes


def test_a_scan_of_which_everything_was_killed_leaves_nothing_either(world: World) -> None:
    world.edit(size=5)
    running = begin(world, seconds=30)
    running.signal(signal.SIGKILL)
    running.process.wait()
    end_processes(world.sandbox)
    world.cloud.misbehave()
    assert world.drift(expect=2)["verdict"] == "modified"
    world.is_left_clean()


def test_an_interrupted_scan_says_unknown_ends_as_130_and_remembers_nothing(world: World) -> None:
    world.edit(size=5)
    running = begin(world)
    running.signal(signal.SIGINT, group=True)
    found = ended(running, 130)
    assert (found["verdict"], found["resources"], found["incidents"]) == ("unknown", [], [])
    world.cloud.misbehave()
    wait_for(lambda: not world.sandbox.processes(), seconds=10, what="the end of all")
    world.is_left_clean()
    assert world.sandbox.objects.get("dev/drift/last.json") is None
    assert incidents(world.drift(expect=2)) == [(SERVER, 1, True)]


def provider(world: World) -> int:
    """The provider that runs."""
    (pid,) = (pid for pid, command in world.sandbox.processes().items() if "provider.fakecloud" in command)
    return pid


def terraform(world: World) -> int:
    """The Terraform that plans."""
    found = world.sandbox.processes().items()
    (pid,) = (pid for pid, command in found if " plan " in command and "launcher.py" not in command)
    return pid


@pytest.mark.parametrize("part", [provider, terraform])
def test_a_plan_of_which_something_is_killed_is_never_in_sync(world: World, part: Callable[[World], int]) -> None:
    world.edit(size=5)
    running = begin(world, seconds=2.0)
    os.kill(part(world), signal.SIGKILL)
    found = ended(running, 1)
    assert found["verdict"] in ("unknown", "error")
    assert found["result"].errors in (["terraform.plan"], ["terraform.killed"])
    world.cloud.misbehave()
    assert world.drift(expect=2)["verdict"] == "modified"
    world.is_left_clean()


def test_two_scans_at_once_are_both_right(world: World) -> None:
    world.edit(size=5)
    first = begin(world, seconds=1.0)
    second = world.drift(expect=2)
    one = ended(first, 2)
    assert (one["verdict"], second["verdict"]) == ("modified", "modified")
    assert one["incidents"][0]["id"] == second["incidents"][0]["id"]
    assert sorted([incidents(one), incidents(second)]) == [[(SERVER, 1, True)], [(SERVER, 2, False)]]
    assert world.record()["detected"] == 1
    world.is_left_clean()


# ----------------------------------------------------------------- somebody else is at work


def test_a_state_that_a_plain_terraform_has_locked_is_unknown_and_names_who(either: World) -> None:
    either.edit(size=5)
    either.cloud.misbehave(delay_seconds={"update:a": 30})
    process = either.terraform("apply", "-auto-approve", "-input=false")
    try:
        wait_for(lambda: either.cloud.calls("update", "a"), what="the update")
        found = either.drift(expect=1)
    finally:
        process.kill()
        end_processes(either.sandbox)
        process.communicate()
    assert (found["verdict"], found["result"].errors) == ("unknown", ["scan.locked"])
    assert re.search(r"its state is locked by \S+@\S+ since 20", found["reasons"][0])
    assert "whoever that is may be changing it" in found["sentence"]
    assert either.record()["scans"] == {"torn": 1}


def test_a_state_that_is_written_while_it_is_scanned_is_unknown(either: World) -> None:
    either.edit(size=5)
    running = begin(either)
    either.rewrite(lambda state: drop(state, RECORD))
    found = ended(running, 1)
    assert (found["verdict"], found["result"].errors) == ("unknown", ["scan.torn"])
    assert "its state was written while it was scanned" in found["sentence"]
    either.cloud.misbehave()
    after = either.drift(expect=2)
    assert after["verdict"] == "state_changed_outside"
    assert tags(after)[SERVER] == ["modified"]


def test_an_apply_of_tfops_that_is_under_way_is_no_drift(either: World) -> None:
    either.commit(size=9)
    either.cloud.misbehave(delay_seconds={"update:a": 5.0}, write_at="start")
    running = either.sandbox.start("--format", "json", "sync")
    wait_for(lambda: either.cloud.calls("update", "a"), what="the update")
    found = either.drift(expect=1)
    assert (found["verdict"], found["resources"], found["incidents"]) == ("unknown", [], [])
    assert found["result"].errors == ["lock.held"]
    assert running.end().code == 0
    either.cloud.misbehave()
    assert either.drift(expect=0)["verdict"] == "in_sync"


def test_an_apply_of_tfops_that_was_killed_is_drift_or_unknown_until_it_is_settled(world: World) -> None:
    world.commit(size=9)
    world.cloud.misbehave(delay_seconds={"update:a": 30.0}, write_at="end")
    running = world.sandbox.start("--format", "json", "sync")
    wait_for(lambda: world.cloud.calls("update", "a"), what="the update")
    running.signal(signal.SIGKILL)
    running.process.wait()
    end_processes(world.sandbox)
    world.cloud.misbehave()
    found = world.drift(expect=2)
    assert (found["verdict"], tags(found)) == ("pending", {SERVER: ["pending"]})
    world.sandbox.sync("--lock-wait", "30", expect=0)
    assert world.drift(expect=0)["verdict"] == "in_sync"


# ----------------------------------------------------------------- the store in pieces


@pytest.mark.parametrize("data", [b"{", b"", b'{"payload": "", "payloadType": "x", "signatures": []}'])
def test_a_damaged_record_is_the_fault_of_its_stack_alone(two: World, data: bytes) -> None:
    (two.sandbox.store / "one" / "head.json").write_bytes(data)
    result = two.sandbox.json("drift")
    assert result.code == 1, result
    assert (result["one"]["verdict"], result["two"]["verdict"]) == ("unknown", "modified")
    assert result["one"]["reasons"]
    assert {error["stack"] for error in result.json["errors"]} == {"one"}


@pytest.mark.parametrize("data", [b"{", b"", b"[]", b"\xff\xfe"])
def test_a_damaged_memory_of_scans_is_unknown_and_says_what_to_remove(two: World, data: bytes) -> None:
    assert two.sandbox.json("drift").code == 2
    last = two.sandbox.store / "two" / "drift" / "last.json"
    last.write_bytes(data)
    result = two.sandbox.json("drift")
    assert result.code == 1, result
    assert (result["one"]["verdict"], result["two"]["verdict"]) == ("in_sync", "unknown")
    assert "store.damaged" in result.errors
    assert "two/drift/last.json" in result.messages
    last.unlink()
    after = two.sandbox.json("drift", "two")
    assert (after.code, incidents(after["two"])) == (2, [(SERVER, 1, True)])


def test_without_the_kept_inputs_a_head_that_moved_is_unknown_and_one_that_did_not_is_fine(world: World) -> None:
    world.edit(size=5)
    shutil.rmtree(world.sandbox.store / "dev" / "inputs")
    assert world.drift(expect=2)["verdict"] == "modified"
    world.commit(env="next")
    found = world.drift(expect=1)
    assert (found["verdict"], found["result"].errors) == ("unknown", ["store.inputs_missing"])
    assert "tfops sync dev --replan" in found["result"].messages
    assert [one["address"] for one in found["incidents"]] == [SERVER]


def change_kept_inputs(world: World, old: bytes, new: bytes) -> None:
    """Change the code that the store kept."""
    (archive,) = (path for path in (world.sandbox.store / "dev" / "inputs").rglob("*") if path.is_file())
    packed = io.BytesIO()
    with (
        tarfile.open(fileobj=io.BytesIO(archive.read_bytes()), mode="r:gz") as before,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as after,
    ):
        for member in before:
            file = before.extractfile(member)
            data = (file.read() if file else b"").replace(old, new)
            member.size = len(data)
            after.addfile(member, io.BytesIO(data))
    archive.chmod(0o600)
    archive.write_bytes(gzip.compress(packed.getvalue()))


def test_kept_inputs_that_somebody_changed_are_not_planned(world: World) -> None:
    change_kept_inputs(world, b'zones  = ["x", "y"]', b'zones  = ["z"]')
    world.commit(env="next")
    found = world.drift(expect=None)
    assert (found["verdict"], found["resources"]) == ("unknown", [])


def test_kept_inputs_that_somebody_changed_are_not_applied(world: World) -> None:
    change_kept_inputs(world, b'zones  = ["x", "y"]', b'zones  = ["z"]')
    world.commit(env="next", rules='drift { remediate = ["external_input"] }')
    world.drift("--remediate", expect=None)
    (bucket,) = world.cloud.objects("bucket").values()
    assert sorted(bucket["zones"]) == ["x", "y"]


def test_kept_inputs_that_are_no_archive_are_unknown(world: World) -> None:
    (archive,) = (path for path in (world.sandbox.store / "dev" / "inputs").rglob("*") if path.is_file())
    archive.chmod(0o600)
    archive.write_bytes(archive.read_bytes()[:100])
    world.commit(env="next")
    found = world.drift(expect=1)
    assert (found["verdict"], found["result"].errors) == ("unknown", ["store.damaged"])


def test_a_store_that_is_gone_is_told_and_no_terraform_is_started(world: World) -> None:
    world.sandbox.store.rename(world.sandbox.store.with_name("moved"))
    world.sandbox.starts()
    result = world.sandbox.json("drift")
    assert (result.code, result.errors) == (5, ["store.missing"])
    assert not [start for start in world.sandbox.starts() if start.startswith(("plan", "init"))]
    assert not world.sandbox.store.exists(), "a scan makes no store"


def test_a_store_that_cannot_be_written_loses_no_verdict(world: World) -> None:
    world.edit(size=5)
    (world.sandbox.store / "dev" / "drift").write_text("a file where a directory belongs")
    result = world.sandbox.json("drift")
    assert result.code == 1, result
    assert result["dev"]["verdict"] == "unknown"
    assert result.errors


def test_a_state_that_is_no_json_is_unknown_or_a_fault_and_never_in_sync(world: World) -> None:
    world.sandbox.state_file().write_bytes(b'{"version": 4, "serial"')
    result = world.sandbox.json("drift")
    assert result.code in (1, 5), result
    assert result["dev"]["verdict"] == "unknown"
    assert "state" in result.messages
    assert json.loads(result.out)["stacks"][0]["incidents"] == []
