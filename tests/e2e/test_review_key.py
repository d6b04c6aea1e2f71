"""The key of pull requests signs plans for review and nothing else, whatever whoever has it writes into the store."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest

from tests.e2e.people import Team
from tests.e2e.sandbox import RESOURCE, Sandbox
from tfops import dsse
from tfops.adapters import keys
from tfops.attestation import PlanStatement, Purpose, decode_plan, encode
from tfops.steps.store import sha256

if TYPE_CHECKING:
    from securesystemslib.signer import Signer

pytestmark = pytest.mark.slow

CHANGED = RESOURCE.replace("one", "two")
RUNNER = '  runner "pr" {\n    public_key = "keys/pr.pub"\n    only       = "speculative"\n  }\n'


class World(Team):
    """A deployed stack, and a second key that is for plans for review."""

    @property
    def pr_key(self) -> Path:
        """The private half."""
        return self.sandbox.home / "pr.pem"

    def config(self, **options: object) -> str:  # type: ignore[override]
        """The trust block names both runners."""
        return super().config(**options).replace("trust {\n", f"trust {{\n{RUNNER}", 1)  # type: ignore[arg-type]

    def use_pr_key(self) -> None:
        """From now on this machine has the key of pull requests, and not the other one."""
        shutil.copy(self.pr_key, self.sandbox.key)

    def resign(self, path: Path, change: Callable[[bytes], bytes] = lambda payload: payload) -> None:
        """Put the pull-request key's signature on a document of the store."""
        payload = dsse.unverified_payload(path.read_bytes(), what="it")
        path.chmod(0o600)
        path.write_bytes(dsse.sign(change(payload), self.signer))

    @property
    def signer(self) -> "Signer":
        """The key, loaded."""
        return keys.load_signer(f"file:{self.pr_key}", home=self.sandbox.home, passphrase=None)


@pytest.fixture
def world(sandbox: Sandbox) -> Iterator[World]:
    made = World(sandbox=sandbox)
    keys.generate(made.pr_key, passphrase=None)
    sandbox.write({"keys/pr.pub": keys.public_pem(made.signer)})
    made.deployed()
    yield made


def _log(world: World) -> list[Path]:
    return sorted((world.sandbox.store / "audit").glob("*.json"))


def test_a_plan_for_review_is_signed_with_it_read_approved_and_applied_after_the_merge(world: World) -> None:
    own = world.sandbox.key.read_bytes()
    world.use_pr_key()
    world.change("more", {"prod/main.tf": CHANGED})
    before = _log(world)
    plan_id = world.approved("more", "alice", "bob")
    assert _log(world) == before
    for command in ("verify", "inspect"):
        assert world.sandbox.json(command, plan_id).code == 0
    assert {"name": "pr", "only": "speculative", "public_key": "keys/pr.pub"} in world.sandbox.json("trust").json[
        "runners"
    ]
    world.sandbox.key.write_bytes(own)
    world.merge("more")
    assert world.sandbox.sync(expect=0).outcomes == {"prod": "applied"}


def test_attack_sync_with_the_pull_request_key_is_refused_by_name(world: World) -> None:
    world.sandbox.commit({"prod/main.tf": CHANGED})
    world.use_pr_key()
    result = world.sandbox.sync(expect=78)
    assert set(result.errors) == {"key.review_only"}
    assert 'runner "pr"' in result.messages


@pytest.mark.parametrize("command", [["plan"], ["drift"], ["trust", "accept", "--reason", "mine"]])
def test_attack_nothing_else_is_signed_with_it_either(world: World, command: list[str]) -> None:
    world.sandbox.commit({"prod/main.tf": CHANGED, "tfops.hcl": world.config(count=0)})
    world.use_pr_key()
    assert "key.review_only" in world.sandbox.json(*command).errors


def test_attack_a_plan_for_sync_signed_with_the_pull_request_key_is_refused(world: World) -> None:
    world.sandbox.commit({"prod/main.tf": CHANGED})
    old = world.sandbox.sync(expect=3)["prod"]["plan_id"]
    statement = world.sandbox.plan_directory(old, "prod") / "statement.json"
    world.resign(statement)
    assert world.sandbox.json("verify", old).code == 5
    assert world.sandbox.json("inspect", old).code == 5
    approving = world.approve(old, "alice")
    assert (approving.code, approving.errors) == (5, ["verify.key_purpose"])
    assert world.sandbox.json("sync", "prod", "--plan", old).code == 5


def test_attack_a_plan_for_review_relabelled_by_its_key_does_not_become_one_for_sync(world: World) -> None:
    world.change("more", {"prod/main.tf": CHANGED})
    world.use_pr_key()
    plan_id = world.review("more")
    statement = world.sandbox.plan_directory(plan_id, "prod") / "statement.json"

    def relabelled(payload: bytes) -> bytes:
        plan = decode_plan(dsse.Verified(payload=payload, signer="pr"))
        return encode(
            msgspec.structs.replace(plan, predicate=msgspec.structs.replace(plan.predicate, purpose=Purpose.SYNC))
        )

    world.resign(statement, relabelled)
    assert world.approve(plan_id, "alice").errors == ["verify.key_purpose"]


def test_attack_a_head_signed_with_the_pull_request_key_is_refused(world: World) -> None:
    world.resign(world.sandbox.store / "prod" / "head.json")
    assert world.sandbox.sync(expect=5).errors == ["verify.unknown_key"]


def test_attack_a_deployment_signed_with_the_pull_request_key_is_refused(world: World) -> None:
    (result,) = (world.sandbox.store / "prod" / "plans").glob("*/result.json")
    world.resign(result)
    found = world.sandbox.json("history", "prod")
    assert (found.code, found.errors) == (5, ["verify.unknown_key"])


def test_attack_a_record_of_the_rules_signed_with_the_pull_request_key_is_refused(world: World) -> None:
    first = world.sandbox.store / "trust" / "000000000001.json"
    second = first.with_name("000000000002.json")
    shutil.copy(first, second)
    world.resign(second)
    assert world.sandbox.sync(expect=5).errors == ["verify.unknown_key"]


def test_attack_an_audit_entry_signed_with_the_pull_request_key_is_refused(world: World) -> None:
    world.resign(_log(world)[-1])
    found = world.sandbox.json("audit", "verify")
    assert (found.code, set(found.errors)) == (5, {"audit.broken"})
    assert "unknown key" in found.messages


def test_attack_whoever_lifts_the_limit_of_the_key_needs_the_strictest_gate(world: World) -> None:
    world.sandbox.commit({"tfops.hcl": world.config().replace('    only       = "speculative"\n', "")})
    waiting = world.sandbox.sync(expect=3).json["rules"]
    assert (waiting["changes"], waiting["wanted"]) == (['runner "pr" changed'], 2)
    world.use_pr_key()
    world.sandbox.commit({"prod/main.tf": CHANGED})
    assert world.sandbox.sync().errors == ["key.review_only"]


def test_in_a_store_without_rules_the_pull_request_key_makes_none(sandbox: Sandbox) -> None:
    world = World(sandbox=sandbox)
    keys.generate(world.pr_key, passphrase=None)
    sandbox.write({"keys/pr.pub": keys.public_pem(world.signer)})
    world.begin()
    world.change("more", {"prod/main.tf": CHANGED})
    world.use_pr_key()
    result = sandbox.json("plan", "--speculative", "--base", "main", "--head", "more")
    assert (result.code, result.errors) == (78, ["key.review_only"])
    assert not (sandbox.store / "trust").exists()


def test_attack_a_plan_for_review_that_claims_other_inputs_than_its_commit_has(world: World) -> None:
    """What people approve says a harmless commit, and is made of what the attacker pushes later."""
    own = world.sandbox.key.read_bytes()
    world.use_pr_key()
    world.change("harmless", {"prod/more.tf": 'output "x" { value = 1 }\n'})
    world.change("evil", {"prod/main.tf": CHANGED})
    shown, meant = (world.sandbox.plan_directory(world.review(name), "prod") for name in ("harmless", "evil"))
    source = decode(shown / "statement.json").predicate.source
    claimed = decode(meant / "statement.json")
    forged = encode(
        msgspec.structs.replace(claimed, predicate=msgspec.structs.replace(claimed.predicate, source=source))
    )
    plan_id = sha256(forged)
    place = Path(shutil.copytree(meant, world.sandbox.plan_directory(plan_id, "prod")))
    (place / "statement.json").chmod(0o600)
    (place / "statement.json").write_bytes(dsse.sign(forged, world.signer))
    for person in ("alice", "bob"):
        assert world.approve(plan_id, person).code == 0
    world.sandbox.key.write_bytes(own)
    world.sandbox.commit({"prod/main.tf": CHANGED})
    found = world.sandbox.sync(expect=3)
    assert "prod/main.tf is as no approved plan has it" in "\n".join(found["prod"]["reasons"])


def test_attack_a_plan_for_review_that_claims_the_branch_for_a_part_of_its_change(world: World) -> None:
    """The change is as it says, and was made on top of a push that waits: an older base would pass that off as its."""
    own = world.sandbox.key.read_bytes()
    deployed = world.sandbox.git("rev-parse", "main")
    world.sandbox.commit({"prod/hook.sh": "evil\n", "prod/hook.tf": 'locals {\n  x = file("hook.sh")\n}\n'})
    world.change("harmless", {"prod/main.tf": CHANGED})
    world.use_pr_key()
    shown = world.sandbox.plan_directory(world.review("harmless"), "prod")
    honest = decode(shown / "statement.json")
    head = world.sandbox.json("history", "prod")["prod"]["head"]["fingerprint"]
    lie = msgspec.structs.replace(
        honest.predicate,
        source=msgspec.structs.replace(honest.predicate.source, base=deployed),
        base_fingerprint=head,
    )
    forged = encode(msgspec.structs.replace(honest, predicate=lie))
    place = Path(shutil.copytree(shown, world.sandbox.plan_directory(sha256(forged), "prod")))
    (place / "statement.json").chmod(0o600)
    (place / "statement.json").write_bytes(dsse.sign(forged, world.signer))
    for person in ("alice", "bob"):
        assert world.approve(sha256(forged), person).code == 0
    world.sandbox.key.write_bytes(own)
    world.merge("harmless")
    found = "\n".join(world.sandbox.sync(expect=3)["prod"]["reasons"])
    assert "prod/hook.sh is as no approved plan has it" in found


def decode(path: Path) -> PlanStatement:
    payload = dsse.unverified_payload(path.read_bytes(), what="it")
    return decode_plan(dsse.Verified(payload=payload, signer="pr"))
