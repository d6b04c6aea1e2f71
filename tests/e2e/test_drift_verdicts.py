"""Drift, live: a real Terraform, objects that somebody changes by hand, and what `tfops drift` says of it."""

import fcntl
import json
import shutil
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.drift_world import IMAGE
from tests.e2e.sandbox import BucketWorld, Result, Running, Sandbox, environment, wait_for
from tests.killing.table import end_processes
from tests.provider import Cloud
from tests.provider.install import lock_file, provider_at

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("terraform") is None, reason="no terraform on PATH"),
]

SERVER, RECORD = "fakecloud_server.a", "fakecloud_record.r"
OLD_PASSWORD, NEW_PASSWORD = "s3cr3t-of-the-code", "s3cr3t-of-somebody"


@dataclass(frozen=True, kw_only=True)
class World:
    """One stack, `dev`: a server, and a record that reads the server's address."""

    sandbox: Sandbox
    cloud: Cloud
    settings: Path

    def commit(self, *, rules: str = "", size: int = 1, env: str = "prod", life: str = "", more: str = "") -> str:
        """Commit the code, and the rules of its environment."""
        code = f"""{provider_at(self.cloud.root)}
resource "fakecloud_server" "a" {{
  name     = "a"
  size     = {size}
  tags     = {{ env = "{env}" }}
  password = "{OLD_PASSWORD}"
  {life}
}}
resource "fakecloud_record" "r" {{
  name  = "r"
  value = fakecloud_server.a.ip
}}
{more}"""
        block = environment("dev", cli_config=json.dumps(str(self.settings)))
        block = f"{block.rstrip().removesuffix('}')}{rules}\n}}\n"
        files = {"dev/main.tf": code, "dev/.terraform.lock.hcl": lock_file(self.settings)}
        return self.sandbox.stacks(block, files)

    def deployed(self, **code: Any) -> "World":
        """The same world with the code applied."""
        self.commit(**code)
        self.sandbox.sync(expect=0)
        return self

    def edit(self, **changes: object) -> None:
        """Somebody changes the server by hand."""
        (found,) = self.cloud.named("a")
        self.cloud.edit("server", found["id"], **changes)

    def rewrite(self, change: Callable[[dict[str, Any]], object], *, serial: int = 1) -> None:
        """Somebody writes the state."""
        state = self.sandbox.state()
        change(state)
        state["serial"] += serial
        data = json.dumps(state).encode()
        if self.sandbox.bucket is None:
            self.sandbox.state_file().write_bytes(data)
        else:
            self.sandbox.bucket.open().put(self.sandbox.state_key(), data)

    def drift(self, *arguments: str, expect: int) -> dict[str, Any]:
        """What a scan says of the stack; with the whole result below `result`."""
        result = self.sandbox.json("drift", *arguments)
        assert result.code == expect, result
        return {**result["dev"], "result": result}


def tags(found: dict[str, Any]) -> dict[str, set[str]]:
    """The tags of each object."""
    return {item["address"]: set(item["tags"]) for item in found["resources"]}


def words(found: dict[str, Any], address: str = SERVER) -> dict[str, str]:
    """The words of an object's attributes."""
    (item,) = (item for item in found["resources"] if item["address"] == address)
    return {one["path"]: one["verdict"] for one in item["attributes"]}


def addresses(incidents: list[dict[str, Any]]) -> list[str]:
    """Which incidents."""
    return [one["address"] for one in incidents]


MakeWorld = Callable[[str], World]


@pytest.fixture
def make_world(tmp_path: Path, fakecloud: Path, moto_bucket: BucketWorld) -> Iterator[MakeWorld]:
    """Makes a world on a kind of store."""
    made: list[World] = []

    def make(kind: str) -> World:
        sandbox = Sandbox(tmp_path / "world", bucket=moto_bucket if kind == "s3" else None)
        made.append(World(sandbox=sandbox, cloud=Cloud(sandbox.directory / "cloud"), settings=fakecloud))
        made[-1].cloud.misbehave()
        return made[-1]

    yield make
    for world in made:
        end_processes(world.sandbox)


@pytest.fixture
def world(make_world: MakeWorld) -> World:
    """A world whose store is a directory."""
    return make_world("local")


@pytest.fixture(params=["local", "s3"])
def either_world(request: pytest.FixtureRequest, make_world: MakeWorld) -> World:
    """A world on each kind of store."""
    return make_world(request.param)


# What moved, and in which direction


def test_what_nobody_touched_is_in_sync_and_costs_one_terraform(world: World) -> None:
    world.deployed()
    world.drift(expect=0)
    found = world.drift(expect=0)
    assert (found["verdict"], found["tags"], found["resources"], found["terraform_runs"]) == ("in_sync", [], [], 1)
    assert found["plan_id"] is None


def test_an_edit_by_hand_is_an_incident_until_it_is_undone(either_world: World) -> None:
    world = either_world.deployed()
    world.edit(size=5)
    found = world.drift(expect=2)
    assert (found["verdict"], tags(found), words(found)) == ("modified", {SERVER: {"modified"}}, {"size": "revert"})
    assert "tfops drift --remediate dev" in found["sentence"]
    assert [(one["address"], one["times_seen"], one["is_new"]) for one in found["incidents"]] == [(SERVER, 1, True)]
    again = world.drift(expect=2)
    assert [(one["times_seen"], one["is_new"]) for one in again["incidents"]] == [(2, False)]
    assert again["plan_id"] == found["plan_id"], "the same changes of the same state need no second plan"
    world.edit(size=1)
    after = world.drift(expect=0)
    assert (after["verdict"], after["incidents"]) == ("in_sync", [])
    assert [(one["address"], one["closed_as"]) for one in after["closed_incidents"]] == [(SERVER, "reverted")]


def test_what_was_deleted_by_hand_takes_along_what_reads_it(either_world: World) -> None:
    world = either_world.deployed()
    (server,) = world.cloud.named("a")
    world.cloud.remove("server", server["id"])
    found = world.drift(expect=2)
    assert (found["verdict"], tags(found)) == ("deleted", {SERVER: {"deleted"}, RECORD: {"cascade"}})


def test_code_and_reality_that_moved_apart_are_a_conflict_that_is_never_remediated(world: World) -> None:
    world.deployed()
    world.edit(size=5)
    world.commit(size=9, rules='drift { remediate = ["modified"] }')
    found = world.drift("--remediate", expect=2)
    assert (found["verdict"], words(found)) == ("conflict", {"size": "conflict"})
    assert found["remediation"]["outcome"] == "refused"
    assert "conflict" in " ".join(found["remediation"]["reasons"])
    assert world.cloud.named("a")[0]["size"] == 5


def test_a_hotfix_that_was_half_committed_says_what_was_forgotten(world: World) -> None:
    world.deployed()
    world.edit(size=5, tags={"env": "hot"})
    world.commit(size=5)
    found = world.drift(expect=2)
    assert (found["verdict"], tags(found)) == ("modified", {SERVER: {"modified", "partly_absorbed"}})
    assert words(found) == {"size": "kept", "tags": "revert"}


def test_a_hotfix_that_was_committed_closes_its_incident_with_the_commit(world: World) -> None:
    world.deployed()
    world.edit(size=5)
    world.drift(expect=2)
    commit = world.commit(size=5)
    found = world.drift(expect=0)
    assert (found["verdict"], tags(found)) == ("absorbed_by_code", {SERVER: {"absorbed_by_code"}})
    assert [(one["closed_as"], one["closed_by"]) for one in found["closed_incidents"]] == [("absorbed_by_code", commit)]


def test_a_commit_that_is_not_applied_is_pending_and_no_drift(either_world: World) -> None:
    world = either_world.deployed()
    world.commit(size=9)
    found = world.drift(expect=2)
    assert (found["verdict"], tags(found), found["incidents"]) == ("pending", {SERVER: {"pending"}}, [])
    assert found["pending"]["summary"]["update"] == 1


def test_a_data_source_that_moved_is_told_from_a_commit_that_is_not_applied(world: World) -> None:
    world.cloud.write("image", "os", {"name": "os", "version": "1"})
    world.deployed(more=IMAGE)
    world.cloud.write("image", "os", {"name": "os", "version": "2"})
    found = world.drift(expect=2)
    assert (found["verdict"], tags(found)) == ("external_input", {"fakecloud_record.image": {"external_input"}})
    world.commit(more=IMAGE, size=9)
    both = world.drift(expect=2)
    assert tags(both) == {"fakecloud_record.image": {"external_input"}, SERVER: {"pending"}}


def test_the_code_may_ignore_a_change(world: World) -> None:
    world.deployed(life="lifecycle {\n    ignore_changes = [size]\n  }")
    world.edit(size=5)
    found = world.drift(expect=0)
    assert (found["verdict"], found["incidents"]) == ("hidden_by_ignore_changes", [])
    assert words(found) == {"size": "kept"}


def test_a_check_that_holds_is_no_alarm_and_one_that_fails_is_one(world: World) -> None:
    check = 'check "size" {\n  assert {\n    condition = data.fakecloud_image.os.version == "1"\n'
    check += '    error_message = "no"\n  }\n}\ndata "fakecloud_image" "os" {\n  name = "os"\n}\n'
    world.cloud.write("image", "os", {"name": "os", "version": "1"})
    world.deployed(more=check)
    assert world.drift(expect=0)["verdict"] == "in_sync"
    world.cloud.write("image", "os", {"name": "os", "version": "2"})
    assert world.drift(expect=2)["verdict"] == "check_failed"


# The state


def test_an_object_that_was_tainted_by_hand(world: World) -> None:
    world.deployed()
    world.rewrite(lambda state: state["resources"][0]["instances"][0].update(status="tainted"))
    found = world.drift(expect=2)
    assert found["verdict"] == "state_changed_outside"
    assert tags(found) == {RECORD: {"tainted", "replace"}}


def test_an_object_that_was_taken_out_of_the_state_by_hand(world: World) -> None:
    world.deployed()
    world.rewrite(lambda state: state["resources"].pop(0))
    found = world.drift(expect=2)
    assert found["verdict"] == "state_changed_outside"
    assert tags(found) == {RECORD: {"absorbed_by_state"}}


def test_somebodys_refresh_launders_no_drift(world: World) -> None:
    world.deployed()
    world.edit(size=5)
    world.rewrite(lambda state: state["resources"][1]["instances"][0]["attributes"].update(size=5))
    found = world.drift(expect=2)
    assert found["verdict"] == "state_changed_outside"
    assert tags(found) == {SERVER: {"absorbed_by_state"}}


def test_a_state_that_was_rolled_back_is_a_fault_of_the_state(world: World) -> None:
    world.deployed()
    old = world.sandbox.state_file().read_bytes()
    world.deployed(more='resource "fakecloud_server" "b" {\n  name = "b"\n}\n')
    world.sandbox.state_file().write_bytes(old)
    found = world.drift(expect=5)
    assert found["verdict"] == "state_serial_regressed"
    assert tags(found)["fakecloud_server.b"] == {"suspect_state_regression"}
    assert "--adopt-state" in found["sentence"]


@pytest.mark.parametrize(
    ("change", "serial", "verdict"),
    [
        (lambda state: state.update(terraform_version="1.0.0"), 0, "state_serial_regressed"),
        (lambda state: state.update(lineage="another"), 1, "state_lineage_changed"),
    ],
    ids=["edited in place", "replaced"],
)
def test_a_state_that_is_not_the_one_we_left(world: World, change: Any, serial: int, verdict: str) -> None:
    world.deployed()
    world.rewrite(change, serial=serial)
    assert world.drift(expect=5)["verdict"] == verdict


def test_a_state_that_is_gone_makes_every_creation_suspect(world: World) -> None:
    world.deployed()
    world.sandbox.state_file().unlink()
    found = world.drift(expect=5)
    assert set(tags(found)) == {SERVER, RECORD}
    assert all(found == {"suspect_state_regression"} for found in tags(found).values())


# What cannot be said is never "in sync"


@pytest.mark.parametrize("more", ['resource "x" {', 'resource "fakecloud_server" "z" {\n  nope = 1\n}\n'])
def test_a_head_that_cannot_be_planned_blinds_no_scan(world: World, more: str) -> None:
    world.deployed()
    world.edit(size=5)
    world.commit(more=more)
    found = world.drift(expect=2)
    assert (found["verdict"], tags(found)) == ("modified", {SERVER: {"modified"}})
    assert "main.tf" in found["pending"]["problem"]


def test_a_throttled_provider_makes_the_verdict_unknown_until_it_answers(either_world: World) -> None:
    world = either_world.deployed()
    world.edit(size=5)
    world.cloud.misbehave(throttle=1000)
    found = world.drift(expect=1)
    assert found["verdict"] == "unknown"
    assert "throttled" in found["reasons"][0]
    world.cloud.misbehave()
    after = world.drift(expect=2)
    assert (after["verdict"], addresses(after["incidents"])) == ("modified", [SERVER])


def test_a_damaged_record_is_that_stacks_fault_alone(world: World) -> None:
    world.deployed()
    (world.sandbox.store / "dev" / "head.json").write_bytes(b"{")
    found = world.drift(expect=1)
    assert found["verdict"] == "unknown"
    assert found["result"].errors == ["verify.envelope"]


SLOW = 4
"""Seconds a read takes while somebody does something else."""


def begin(world: World) -> Running:
    """A scan whose provider is reading."""
    before = len(world.cloud.calls("read"))
    world.cloud.misbehave(delay_seconds={"read": SLOW})
    running = world.sandbox.start("--format", "json", "drift")
    wait_for(lambda: len(world.cloud.calls("read")) > before, what="the first read")
    return running


def test_a_scanner_that_is_killed_leaves_nothing_and_the_next_one_is_right(either_world: World) -> None:
    world = either_world.deployed()
    world.edit(size=5)
    running = begin(world)
    running.process.kill()
    running.process.wait()
    world.cloud.misbehave()
    wait_for(lambda: not world.sandbox.processes(), what="the end of its Terraform")
    assert world.drift(expect=2)["verdict"] == "modified"
    assert world.sandbox.state_locks() == []
    assert world.sandbox.json("lock", "list").json["stacks"] == []


def test_a_scan_that_is_stopped_says_that_it_knows_nothing(world: World) -> None:
    world.deployed()
    running = begin(world)
    running.signal(signal.SIGINT)
    result = running.end()
    assert (result.code, result["dev"]["verdict"], result.errors) == (130, "unknown", ["run.interrupted"])
    world.cloud.misbehave()
    assert world.drift(expect=0)["verdict"] == "in_sync"


def test_a_state_that_is_written_during_a_scan_makes_it_torn(either_world: World) -> None:
    world = either_world.deployed()
    running = begin(world)
    world.rewrite(lambda state: state["outputs"].clear())
    result = running.end()
    assert (result.code, result["dev"]["verdict"], result.errors) == (1, "unknown", ["scan.torn"])


def test_a_state_that_somebody_has_locked_is_not_judged(world: World) -> None:
    world.deployed()
    with world.sandbox.state_file().open("r+b") as file:
        fcntl.lockf(file, fcntl.LOCK_EX)
        found = world.drift(expect=1)
    assert found["verdict"] == "unknown"
    assert "locked by a process of this host" in found["reasons"][0]
    assert world.drift(expect=0)["verdict"] == "in_sync"


def test_a_lock_object_of_somebodys_terraform_is_named(make_world: MakeWorld) -> None:
    world = make_world("s3").deployed()
    key = f"{world.sandbox.state_key()}.tflock"
    bucket = world.sandbox.bucket
    assert bucket is not None
    lock = {"ID": "1", "Who": "bob@laptop", "Created": "2026-11-24T00:00:00Z"}
    bucket.open().put(key, json.dumps(lock).encode())
    found = world.drift(expect=1)
    assert "bob@laptop" in found["reasons"][0]
    assert found["result"].errors == ["scan.locked"]


def test_a_stack_that_is_being_applied_is_not_judged(world: World) -> None:
    world.deployed()
    world.commit(size=9)
    world.cloud.misbehave(delay_seconds={"update": 2 * SLOW})
    running = world.sandbox.start("--format", "json", "sync")
    wait_for(lambda: world.cloud.calls("update"), what="the update")
    found = world.drift(expect=1)
    assert (found["verdict"], found["result"].errors) == ("unknown", ["lock.held"])
    assert running.end().code == 0
    assert world.drift(expect=0)["verdict"] == "in_sync"


# Secrets


def test_a_secret_that_changed_is_told_and_never_shown(world: World) -> None:
    world.deployed()
    world.edit(password=NEW_PASSWORD)
    found = world.drift(expect=2)
    assert words(found) == {"password": "revert"}
    text = world.sandbox.tfops("drift")
    assert "password: revert" in text.out
    told = [found["result"].out, found["result"].err, text.out, text.err]
    assert not [one for one in told if OLD_PASSWORD in one or NEW_PASSWORD in one]
    kept = [path for path in world.sandbox.store.rglob("*") if path.is_file() and path.suffix not in {".tfplan"}]
    assert not [path for path in kept if NEW_PASSWORD.encode() in path.read_bytes()]
    left = [path for path in world.sandbox.cache.rglob("*") if path.is_file()]
    assert not [path for path in left if NEW_PASSWORD.encode() in path.read_bytes()]


# Rules, remediation


def ignore(name: str, *, expires: str, attribute: str = "size") -> str:
    """An ignore rule."""
    return (
        f'drift {{\n  ignore "{name}" {{\n    address = "fakecloud_server.*"\n    attribute = "{attribute}"\n'
        f'    reason = "the autoscaler owns it"\n    owner = "web"\n    expires = "{expires}"\n  }}\n}}'
    )


def test_a_rule_hides_drift_from_the_alarm_and_still_shows_it(world: World) -> None:
    world.deployed(rules=ignore("scaler", expires="2099-01-01"))
    world.edit(size=5)
    found = world.drift(expect=0)
    assert (found["verdict"], found["incidents"]) == ("in_sync", [])
    assert found["suppressed"] == [{"address": SERVER, "rule": "scaler"}]
    assert tags(found) == {SERVER: {"modified"}}


def test_a_rule_that_expired_hides_nothing_and_is_named(world: World) -> None:
    world.deployed(rules=ignore("scaler", expires="2020-01-01"))
    world.edit(size=5)
    found = world.drift(expect=2)
    assert found["verdict"] == "modified"
    assert any('"scaler" expired on 2020-01-01' in note for note in found["notes"])


def test_what_the_rules_allow_is_brought_back_on_the_road_of_every_apply(either_world: World) -> None:
    world = either_world.deployed(rules='drift { remediate = ["modified"] }')
    world.edit(size=5)
    found = world.drift("--remediate", expect=0)
    assert found["remediation"]["outcome"] == "applied"
    assert world.cloud.named("a")[0]["size"] == 1
    assert [one["closed_as"] for one in found["closed_incidents"]] == ["reverted"]
    newest = world.sandbox.history()[0]
    assert (newest["purpose"], newest["result"], newest["plan_id"]) == (
        "remediation",
        "applied",
        found["remediation"]["plan_id"],
    )
    assert world.drift(expect=0)["verdict"] == "in_sync"
    assert world.sandbox.sync(expect=0).outcomes == {"dev": "converged"}


def test_what_the_rules_do_not_allow_stays(world: World) -> None:
    world.deployed(rules='drift { remediate = ["deleted"] }')
    world.edit(size=5)
    found = world.drift("--remediate", expect=2)
    assert found["remediation"]["outcome"] == "refused"
    assert world.cloud.named("a")[0]["size"] == 5


def test_a_replacement_needs_to_be_named(world: World) -> None:
    world.deployed(rules='drift { remediate = ["modified"] }')
    world.edit(region="south")
    found = world.drift("--remediate", expect=2)
    assert {"modified", "replace"} <= tags(found)[SERVER] or found["verdict"] == "benign_computed"
    assert found["remediation"]["outcome"] == "refused"


def test_code_that_is_not_applied_is_not_applied_by_a_remediation(world: World) -> None:
    world.deployed(rules='drift { remediate = ["modified"] }')
    world.edit(size=5)
    world.commit(rules='drift { remediate = ["modified"] }', env="next")
    found = world.drift("--remediate", expect=2)
    assert found["remediation"]["outcome"] == "applied"
    (server,) = world.cloud.named("a")
    assert (server["size"], server["tags"]) == (1, {"env": "prod"})
    assert world.drift(expect=2)["verdict"] == "pending"


def test_a_plan_made_for_remediation_is_not_applied_as_anything_else(world: World) -> None:
    world.deployed()
    world.edit(size=5)
    plan_id = world.drift(expect=2)["plan_id"]
    result: Result = world.sandbox.sync("dev", "--plan", plan_id[:12], expect=5)
    assert world.cloud.named("a")[0]["size"] == 5
    assert "purpose" in result.messages


# Acknowledging, and timers


def test_an_acknowledged_incident_stays_open_and_says_until_when(world: World) -> None:
    world.deployed()
    world.edit(size=5)
    world.drift(expect=2)
    said = ("--ack", SERVER, "--reason", "until the release", "--until", "2027-01-31")
    assert world.sandbox.tfops("drift", *said).code == 0
    found = world.drift(expect=2)
    assert found["incidents"][0]["acknowledged_until"].startswith("2027-01-31")
    assert world.sandbox.tfops("drift", "--ack", SERVER).code == 64
    unknown = world.sandbox.json("drift", "--ack", "x.y", "--reason", "r", "--until", "2027-01-31")
    assert (unknown.code, unknown.errors) == (64, ["usage.unknown_incident"])


def test_a_stack_is_due_once_an_interval(world: World) -> None:
    world.deployed(rules='drift { every = "1h" }')
    assert [entry["stack"] for entry in world.sandbox.json("drift", "--due").json["stacks"]] == ["dev"]
    again = world.sandbox.json("drift", "--due")
    assert (again.code, again.json["stacks"]) == (0, [])
    assert [(later["stack"], later["said"]) for later in again.json["later"]] == [("dev", "in_sync")]


def test_a_schedule_that_nobody_wrote_is_an_error(world: World) -> None:
    world.deployed()
    assert world.sandbox.json("drift", "--due").errors == ["usage.no_schedule"]


def test_metrics_tell_the_verdict(world: World, tmp_path: Path) -> None:
    world.deployed()
    world.edit(size=5)
    world.drift("--metrics", str(tmp_path / "tfops.prom"), expect=2)
    assert 'tfops_env_verdict{env="dev",stack="dev",verdict="modified"} 1' in (tmp_path / "tfops.prom").read_text()
