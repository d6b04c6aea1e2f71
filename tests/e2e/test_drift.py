"""Drift beyond the plain cases: every other word and tag, what somebody does meanwhile, and a real S3 server."""

# ruff: noqa: F811 - pytest hands fixtures over by their names

import json
import shutil
import signal
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.drift_world import (
    BUCKET,
    RECORD,
    SERVER,
    World,
    Worlds,
    closed,
    deploy,
    drop,
    incidents,
    resources,
    tags,
    told,
    words,
)
from tests.e2e.sandbox import BucketWorld, Result, wait_for
from tests.killing.table import end_processes
from tests.servers import Endpoint
from tests.servers.fixtures import bucket, seaweed, versioned_bucket  # noqa: F401
from tests.servers.proxy import FaultProxy
from tests.servers.shared import SharedSeaweed

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("terraform") is None, reason="no terraform on PATH"),
    pytest.mark.skipif(sys.platform != "linux", reason="processes are found in /proc"),
]

VOLUME, FOLLOWER = "fakecloud_volume.v", "fakecloud_record.etag"
TOKEN, OTHER_TOKEN = "token-of-the-code", "token-of-somebody"
SETTINGS = '{"backup":true,"days":[1,2]}'
MOUNTS = [{"path": "/a", "mode": "ro"}, {"path": "/b", "mode": None}]
GRANTS = [{"who": "ann", "token": TOKEN}, {"who": "bob", "token": None}]
LATER = (datetime.now(UTC) + timedelta(days=30)).date().isoformat()
AWKWARD = 'fakecloud_server.each["a/../b \\"c\\".d"]'

VOLUMES = f"""
resource "fakecloud_volume" "v" {{
  name     = "v"
  size     = 1
  settings = {json.dumps(SETTINGS)}
  mount {{
    path = "/a"
    mode = "ro"
  }}
  mount {{
    path = "/b"
  }}
  grant {{
    who   = "ann"
    token = "{TOKEN}"
  }}
  grant {{
    who = "bob"
  }}
}}
"""
FOLLOWING = """
resource "fakecloud_record" "etag" {
  name  = "etag"
  value = fakecloud_volume.v.etag
}
"""


@pytest.fixture(scope="module")
def worlds(tmp_path_factory: pytest.TempPathFactory, fakecloud: Path) -> Iterator[Worlds]:
    """The worlds that the tests of this module begin with."""
    made = Worlds(directory=tmp_path_factory.mktemp("worlds"), settings=fakecloud)
    yield made
    made.end()


@pytest.fixture
def world(worlds: Worlds) -> World:
    """One stack, applied."""
    return worlds.begin("plain", deploy)


@pytest.fixture
def volumes(worlds: Worlds) -> World:
    """One stack with a volume in it, applied."""
    return worlds.begin("volumes", lambda made: deploy(made, code=VOLUMES))


def edit_volume(world: World, **changes: object) -> None:
    """Change the volume by hand."""
    (id_,) = world.cloud.objects("volume")
    world.cloud.edit("volume", id_, **changes)


def without(code: str, type_: str, name: str) -> str:
    """The code without a resource."""
    before, _, rest = code.partition(f'resource "{type_}" "{name}" {{\n')
    return before + rest.partition("\n}\n")[2]


def server(name: str, *, inside: str = "", title: str | None = None) -> str:
    """The code of a further server."""
    return f'resource "fakecloud_server" "{name}" {{\n  name = "{title or name}"\n  size = 1\n{inside}}}\n'


def remediate(*names: str) -> str:
    """A drift block that allows this."""
    return f"drift {{\n  remediate = {json.dumps(names)}\n}}"


# ----------------------------------------------------------------- attributes: what the provider computes, and blocks


def test_an_etag_that_moved_with_an_edit_is_not_known_before_apply(volumes: World) -> None:
    edit_volume(volumes, size=5)
    found = volumes.drift(expect=2)
    assert (found["verdict"], tags(found)) == ("modified", {VOLUME: ["modified"]})
    assert words(found, VOLUME) == {"size": "revert", "etag": "unknown"}


def test_blocks_in_another_order_are_other_blocks_where_their_order_counts(volumes: World) -> None:
    edit_volume(volumes, grant=GRANTS[::-1])
    assert volumes.drift(expect=0)["verdict"] == "in_sync"
    edit_volume(volumes, mount=MOUNTS[::-1])
    found = volumes.drift(expect=2)
    assert (found["verdict"], words(found, VOLUME)) == ("modified", {"mount": "revert", "etag": "unknown"})


@pytest.mark.xfail(
    strict=True, reason="an object of which only the notation moved, and an etag with it, gets no tag: it is left out"
)
def test_a_json_text_written_differently_beside_an_etag_that_moved_is_no_alarm_and_still_shown(volumes: World) -> None:
    edit_volume(volumes, settings=json.dumps(json.loads(SETTINGS), indent=1))
    found = volumes.drift(expect=0)
    assert list(tags(found)) == [VOLUME], "a plan would update it, so it is not left out"
    assert found["verdict"] in ("normalization", "benign_computed")
    assert found["incidents"] == []


def test_a_secret_in_a_block_that_changed_is_told_and_stands_nowhere(volumes: World) -> None:
    edit_volume(volumes, grant=[{"who": "ann", "token": OTHER_TOKEN}, GRANTS[1]])
    found = volumes.drift(expect=2)
    assert (found["verdict"], words(found, VOLUME)) == ("modified", {"grant": "revert", "etag": "unknown"})
    inspected = volumes.sandbox.tfops("inspect", found["plan_id"][:12])
    for result in (found["result"], volumes.sandbox.tfops("-v", "drift"), inspected):
        assert TOKEN not in result.out + result.err
        assert OTHER_TOKEN not in result.out + result.err
    places = (volumes.sandbox.store, volumes.sandbox.cache, volumes.sandbox.directory / "tmp")
    files = [path for place in places for path in place.rglob("*") if path.is_file()]
    assert {path.name for path in files if OTHER_TOKEN.encode() in path.read_bytes()} <= {"plan.tfplan"}


def test_what_reads_an_etag_that_moves_with_an_edit_follows_it(worlds: Worlds) -> None:
    world = worlds.begin("following", lambda made: deploy(made, code=VOLUMES + FOLLOWING))
    edit_volume(world, size=5)
    found = world.drift(expect=2)
    assert (found["verdict"], tags(found)) == ("modified", {VOLUME: ["modified"], FOLLOWER: ["cascade"]})


def test_what_was_deleted_and_made_again_by_hand_is_deleted_for_its_twin_is_nobodys(world: World) -> None:
    twin = world.cloud.twin("server", world.server()["id"])
    (old,) = (found["id"] for found in world.cloud.named("a") if found["id"] != twin)
    world.cloud.remove("server", old)
    found = world.drift(expect=2)
    assert (found["verdict"], tags(found)) == ("deleted", {SERVER: ["deleted"], RECORD: ["cascade"]})


def test_an_instance_with_an_awkward_key_has_an_incident_like_any_other(worlds: Worlds) -> None:
    key = '"a/../b \\"c\\".d"'
    each = server("each", inside=f'  for_each = toset([{key}, "plain"])\n', title="${each.key}")
    world = worlds.begin("each", lambda made: deploy(made, code=each))
    (found,) = world.cloud.named('a/../b "c".d')
    world.cloud.edit("server", found["id"], size=5)
    assert incidents(world.drift(expect=2)) == [(AWKWARD, 1, True)]
    said = world.sandbox.tfops("drift", "--ack", AWKWARD, "--reason", "known", "--until", LATER)
    assert said.code == 0, said
    assert incidents(world.drift(expect=2)) == [(AWKWARD, 2, False)]
    world.cloud.edit("server", found["id"], size=1)
    assert closed(world.drift(expect=0)) == [(AWKWARD, "reverted")]


# ----------------------------------------------------------------- the branch: code that is not applied yet


def test_a_hotfix_of_which_half_is_in_the_code_is_not_mixed_with_code_that_waits_elsewhere(world: World) -> None:
    world.edit(size=5, tags={"env": "hot"})
    world.commit(size=5, more=server("new"))
    found = world.drift(expect=2)
    assert tags(found) == {SERVER: ["modified", "partly_absorbed"], "fakecloud_server.new": ["pending"]}
    assert words(found) == {"size": "kept", "tags": "revert"}
    assert [address for address, _, _ in incidents(found)] == [SERVER]


RENAMED = "moved {\n  from = fakecloud_server.a\n  to   = fakecloud_server.z\n}\n"


def renamed() -> str:
    """The code with the server under another name."""
    return resources().replace('"fakecloud_server" "a"', '"fakecloud_server" "z"').replace("server.a.", "server.z.")


def test_an_object_that_the_code_renames_has_moved_and_nothing_else(world: World) -> None:
    world.commit(renamed(), more=RENAMED)
    found = world.drift(expect=2)
    assert (found["verdict"], tags(found)) == ("moved", {"fakecloud_server.z": ["moved"]})
    assert found["incidents"] == []


@pytest.mark.xfail(
    strict=True, reason="the incident of the old address ends as reverted, and one of the new address is opened as new"
)
def test_an_incident_follows_an_object_that_the_code_renames(world: World) -> None:
    world.edit(size=5)
    assert incidents(world.drift(expect=2)) == [(SERVER, 1, True)]
    world.commit(renamed(), more=RENAMED)
    found = world.drift(expect=2)
    assert tags(found) == {"fakecloud_server.z": ["modified", "moved"]}
    assert len(found["incidents"]) == 1
    assert "reverted" not in [how for _, how in closed(found)]


def test_an_object_that_the_code_imports_is_an_import(world: World) -> None:
    twin = world.cloud.twin("server", world.server()["id"])
    world.cloud.edit("server", twin, name="b", tags=None, password=None)
    imported = f'import {{\n  to = fakecloud_server.b\n  id = "{twin}"\n}}\n'
    world.commit(more=server("b") + imported)
    found = world.drift(expect=2)
    assert (found["verdict"], tags(found)) == ("import", {"fakecloud_server.b": ["import"]})


def test_an_object_that_the_code_forgets_is_forgotten_and_stays(world: World) -> None:
    removed = "removed {\n  from = fakecloud_bucket.b\n  lifecycle {\n    destroy = false\n  }\n}\n"
    world.commit(without(resources(), "fakecloud_bucket", "b"), more=removed)
    found = world.drift(expect=2)
    assert (found["verdict"], tags(found)) == ("forget", {BUCKET: ["forget"]})


def test_an_output_that_the_code_adds_is_an_output_only(world: World) -> None:
    world.commit(more='output "size" {\n  value = fakecloud_server.a.size\n}\n')
    found = world.drift(expect=2)
    assert (found["verdict"], found["resources"], found["incidents"]) == ("output_only", [], [])


def _is_gone(world: World) -> dict[str, Any]:
    (id_,) = world.cloud.objects("bucket")
    world.cloud.remove("bucket", id_)
    assert incidents(world.drift(expect=2)) == [(BUCKET, 1, True)]
    world.commit(without(resources(), "fakecloud_bucket", "b"))
    return world.drift(expect=0)


def test_what_was_deleted_outside_and_in_the_code_is_gone(world: World) -> None:
    found = _is_gone(world)
    assert (found["verdict"], tags(found)) == ("gone", {BUCKET: ["gone"]})
    assert [address for address, _ in closed(found)] == [BUCKET]


@pytest.mark.xfail(strict=True, reason="its incident ends as reverted, though nobody brought it back")
def test_what_is_gone_was_not_reverted(world: World) -> None:
    assert [how for _, how in closed(_is_gone(world))] != ["reverted"]


def test_what_the_code_removes_is_pending(world: World) -> None:
    world.commit(without(resources(), "fakecloud_bucket", "b"))
    found = world.drift(expect=2)
    assert (found["verdict"], tags(found)) == ("pending", {BUCKET: ["pending"]})
    assert found["resources"][0]["actions"] == ["delete"]


@pytest.mark.xfail(
    strict=True,
    reason="Terraform's `before` of such a deletion is the saved state, not what was read, and is taken for reality: "
    "the edit is not told, and an incident that was open ends as reverted",
)
@pytest.mark.parametrize("was_seen", [False, True], ids=["not seen before", "an open incident"])
def test_what_somebody_edited_of_an_object_that_the_code_removes_is_told(world: World, was_seen: bool) -> None:
    world.edit_bucket(zones=["x"])
    if was_seen:
        assert incidents(world.drift(expect=2)) == [(BUCKET, 1, True)]
    world.commit(without(resources(), "fakecloud_bucket", "b"))
    found = world.drift(expect=2)
    assert [address for address, _, _ in incidents(found)] == [BUCKET]
    assert found["verdict"] in ("conflict", "modified")


# ----------------------------------------------------------------- inputs that are nobody's code


def _network(state: object, range_: str) -> str:
    backend = f'terraform {{\n  backend "local" {{\n    path = "{state}"\n  }}\n}}\n'
    return backend + f'output "range" {{\n  value = "{range_}"\n}}\n'


def test_a_state_that_another_stack_reads_and_that_moved_is_an_external_input(worlds: Worlds, tmp_path: Path) -> None:
    world = worlds.new(tmp_path / "world")
    state = world.sandbox.directory / "network.tfstate"
    app = (
        f'data "terraform_remote_state" "n" {{\n  backend = "local"\n  config = {{ path = "{state}" }}\n}}\n'
        'resource "fakecloud_record" "app" {\n  name = "app"\n'
        "  value = data.terraform_remote_state.n.outputs.range\n}\n"
    )
    block = world.block("prod", roots='["prod/*"]')
    world.sandbox.stacks(block, {"prod/network/main.tf": _network(state, "10"), **world.files(app, "prod/app")})
    world.sandbox.sync(expect=0)
    world.sandbox.commit({"prod/network/main.tf": _network(state, "11")})
    world.sandbox.sync("prod/network", expect=0)
    found = world.drift("prod/app", expect=2)
    end_processes(world.sandbox)
    assert tags(found) == {"fakecloud_record.app": ["external_input"]}


def test_time_in_the_code_is_an_external_input_and_one_incident_however_often_it_is_seen(worlds: Worlds) -> None:
    clock = 'resource "terraform_data" "clock" {\n  input = timestamp()\n}\n'
    world = worlds.begin("clock", lambda made: deploy(made, code=clock))
    found = world.drift(expect=2)
    assert (found["verdict"], incidents(found)) == ("external_input", [("terraform_data.clock", 1, True)])
    again = world.drift(expect=2)
    assert incidents(again) == [("terraform_data.clock", 2, False)]


def test_a_stack_in_a_workspace_is_scanned_in_that_workspace(worlds: Worlds, tmp_path: Path) -> None:
    world = worlds.new(tmp_path / "world")
    block = world.block(workspace='"blue"')
    world.sandbox.stacks(block, world.files(resources() + 'output "in" {\n  value = terraform.workspace\n}\n'))
    world.sandbox.sync(expect=0)
    assert world.drift(expect=0)["verdict"] == "in_sync"
    world.edit(size=5)
    found = world.drift(expect=2)
    end_processes(world.sandbox)
    assert (found["verdict"], words(found)) == ("modified", {"size": "revert"})


# ----------------------------------------------------------------- providers that refuse, and code that waits


@pytest.mark.parametrize("reads", [1, -1], ids=["once", "always"])
@pytest.mark.parametrize("waits", [False, True], ids=["in sync", "a commit waits"])
def test_reads_that_are_refused_are_unknown_in_the_providers_words(world: World, reads: int, waits: bool) -> None:
    world.edit(size=5)
    if waits:
        world.commit(env="next")
    world.cloud.misbehave(throttle_reads=reads)
    found = world.drift(expect=1)
    assert found["verdict"] in ("unknown", "error")
    assert "Rate exceeded" in " ".join(found["reasons"])
    assert "throttled" in found["sentence"]
    assert found["closed_incidents"] == []
    assert set(world.record()["scans"]) == {"throttled"}
    world.cloud.misbehave()
    after = world.drift(expect=2)
    assert (after["verdict"], after["incidents"][0]["address"]) == ("modified", SERVER)


def test_a_head_whose_plan_is_refused_hides_no_drift_of_what_was_applied(world: World) -> None:
    world.edit(size=5)
    world.commit(more='data "fakecloud_image" "none" {\n  name = "none"\n}\n')
    found = world.drift(expect=2)
    assert (found["verdict"], tags(found)) == ("modified", {SERVER: ["modified"]})
    assert "there is no image none" in found["pending"]["problem"]


# ----------------------------------------------------------------- somebody works meanwhile


def test_somebodys_apply_during_a_scan_makes_it_torn(world: World) -> None:
    world.edit(size=5)
    before = len(world.cloud.calls("read", "a"))
    world.cloud.misbehave(delay_seconds={"read:a": 8})
    scan = world.sandbox.start("--format", "json", "drift")
    wait_for(lambda: len(world.cloud.calls("read", "a")) > before, what="the read")
    world.cloud.misbehave()
    world.by_hand("apply", "-auto-approve", "-input=false", f"-replace={RECORD}")
    assert scan.process.poll() is None, "the apply has to end within the scan"
    result = scan.end()
    found = told(result)
    assert (result.code, found["verdict"], result.errors) == (1, "unknown", ["scan.torn"])
    after = world.drift(expect=2)
    assert (after["verdict"], after["resources"]) == ("state_changed_outside", [])


def test_a_lock_file_that_a_dead_terraform_left_beside_a_local_state_is_no_lock(world: World) -> None:
    """Terraform itself holds a local state by the file's own lock, and overwrites what it finds beside it."""
    beside = world.sandbox.state_file().with_name(".terraform.tfstate.lock.info")
    beside.write_text(json.dumps({"ID": "1", "Who": "bob@laptop", "Operation": "OperationTypeApply"}))
    found = world.drift(expect=None)
    assert (found["verdict"], found["exit_code"]) in (("in_sync", 0), ("unknown", 1))
    if found["verdict"] == "unknown":
        assert "bob@laptop" in found["reasons"][0]


def _second_plan(world: World, *arguments: str) -> Any:
    """Start a remediation; comes back when it reads the server for the second time, under the lock."""
    before = len(world.cloud.calls("read", "a"))
    world.cloud.misbehave(delay_seconds={"read:a": 3})
    running = world.sandbox.start("--format", "json", "drift", "--remediate", *arguments)
    wait_for(lambda: len(world.cloud.calls("read", "a")) > before + 1, what="the second plan")
    return running


def test_what_somebody_edits_after_it_was_judged_is_not_brought_back_with_the_rest(world: World) -> None:
    world.commit(rules=remediate("modified"))
    world.edit(size=5)
    running = _second_plan(world)
    world.edit(tags={"env": "hot"})
    world.cloud.misbehave()
    result = running.end()
    found = told(result)
    assert result.code == 3, result
    assert found["remediation"]["outcome"] in ("refused", "failed")
    assert f"it would not do what was judged a moment ago; different: {SERVER}" in result.messages
    assert (world.server()["size"], world.server()["tags"]) == (5, {"env": "hot"})
    world.is_left_clean()
    assert words(world.drift(expect=2)) == {"size": "revert", "tags": "revert"}


def test_what_somebody_undoes_after_it_was_judged_is_left_as_it_is(world: World) -> None:
    world.commit(rules=remediate("modified"))
    world.edit(size=5)
    running = _second_plan(world)
    world.edit(size=1)
    world.cloud.misbehave()
    found = told(running.end())
    assert found["remediation"]["outcome"] in ("refused", "failed", "converged")
    assert world.cloud.log("update") == []
    assert world.drift(expect=0)["verdict"] == "in_sync"
    world.is_left_clean()


def test_of_two_remediations_at_once_one_applies(world: World) -> None:
    world.commit(rules=remediate("modified"))
    world.edit(size=5)
    runs = [world.sandbox.start("--format", "json", "drift", "--remediate") for _ in range(2)]
    results = [running.end() for running in runs]
    assert 0 in [result.code for result in results], results
    assert len(world.cloud.log("update", "a")) == 1
    assert [entry["result"] for entry in world.sandbox.history()] == ["applied", "applied"]
    assert world.drift(expect=0)["verdict"] == "in_sync"
    world.is_left_clean()


@pytest.mark.parametrize("write_at", ["start", "end"], ids=["after it wrote", "before it wrote"])
def test_a_remediation_that_was_killed_in_its_apply_is_settled_by_the_next_sync(world: World, write_at: str) -> None:
    world.commit(rules=remediate("modified"))
    world.edit(size=5)
    world.cloud.misbehave(delay_seconds={"update:a": 30}, write_at=write_at)
    running = world.sandbox.start("--format", "json", "drift", "--remediate")
    wait_for(lambda: world.cloud.calls("update", "a"), what="the update")
    if write_at == "start":
        wait_for(lambda: world.server()["size"] == 1, what="the writing")
    running.signal(signal.SIGKILL)
    running.process.wait()
    end_processes(world.sandbox)
    world.cloud.misbehave()
    said = world.sandbox.json("drift")
    assert told(said)["verdict"] != "in_sync" or world.server()["size"] == 1
    world.sandbox.sync("--replan", "--lock-wait", "30", expect=0)
    assert world.server()["size"] == 1
    assert world.drift(expect=0)["verdict"] == "in_sync"
    world.is_left_clean()


def test_what_comes_back_every_time_is_brought_back_every_time_by_a_plan_of_its_own(world: World) -> None:
    world.commit(rules=remediate("modified"))
    plans = []
    for _ in range(2):
        world.edit(size=5)
        found = world.drift("--remediate", expect=0)
        assert (found["remediation"]["outcome"], world.server()["size"]) == ("applied", 1)
        plans.append(found["remediation"]["plan_id"])
    assert len(set(plans)) == 2
    assert [entry["purpose"] for entry in world.sandbox.history()][:2] == ["remediation", "remediation"]


# ----------------------------------------------------------------- a real S3 server


@dataclass(frozen=True, kw_only=True)
class Far:
    """A world whose store is a bucket of a real server, behind a proxy that can be taken down."""

    world: World
    server: Endpoint
    proxy: FaultProxy

    @property
    def where(self) -> dict[str, str]:
        """The state's place in the bucket."""
        sandbox = self.world.sandbox
        assert sandbox.bucket is not None
        return {"Bucket": sandbox.bucket.name, "Key": sandbox.state_key()}

    def put_state(self, data: bytes) -> None:
        """Overwrite the state."""
        with closing(self.server.client()) as s3:
            s3.put_object(**self.where, Body=data)

    def drop_newest_version(self) -> None:
        """Delete the newest version of the state, as somebody does who wants the one before."""
        with closing(self.server.client()) as s3:
            found = s3.list_object_versions(Bucket=self.where["Bucket"], Prefix=self.where["Key"])["Versions"]
            (newest,) = (one["VersionId"] for one in found if one["IsLatest"] and one["Key"] == self.where["Key"])
            s3.delete_object(**self.where, VersionId=newest)


@pytest.fixture
def far(worlds: Worlds, tmp_path: Path, seaweed: SharedSeaweed, versioned_bucket: str) -> Iterator[Far]:
    """One stack in a bucket with versions, applied twice."""
    with FaultProxy(seaweed.endpoint) as proxy:
        place = BucketWorld(name=versioned_bucket, endpoint=proxy.endpoint, environ=seaweed.environ)
        made = deploy(worlds.new(tmp_path / "world", bucket=place), rules=remediate("modified"))
        deploy(made, more=server("b"), rules=remediate("modified"))
        yield Far(world=made, server=seaweed, proxy=proxy)
        end_processes(made.sandbox)


def test_on_s3_an_edit_is_an_incident_until_it_is_brought_back(far: Far) -> None:
    world = far.world
    assert world.drift(expect=0)["verdict"] == "in_sync"
    world.edit(size=5)
    found = world.drift(expect=2)
    assert (found["verdict"], words(found), incidents(found)) == ("modified", {"size": "revert"}, [(SERVER, 1, True)])
    assert incidents(world.drift(expect=2)) == [(SERVER, 2, False)]
    done = world.drift("--remediate", expect=0)
    assert (done["remediation"]["outcome"], closed(done)) == ("applied", [(SERVER, "reverted")])
    assert world.server()["size"] == 1
    assert world.sandbox.history()[0]["purpose"] == "remediation"
    world.is_left_clean()


def test_on_s3_drift_and_code_that_waits_are_told_apart(far: Far) -> None:
    world = far.world
    world.cloud.remove("server", world.cloud.named("b")[0]["id"])
    world.commit(more=server("b"), env="next")
    found = world.drift(expect=2)
    assert tags(found) == {"fakecloud_server.b": ["deleted"], SERVER: ["pending"]}
    assert found["verdict"] == "deleted"


def test_on_s3_a_state_whose_newest_version_was_deleted_has_gone_back(far: Far) -> None:
    far.drop_newest_version()
    found = far.world.drift(expect=5)
    assert found["verdict"] == "state_serial_regressed"
    assert tags(found) == {"fakecloud_server.b": ["suspect_state_regression"]}


def test_on_s3_a_state_of_another_lineage_or_none_is_not_ours(far: Far) -> None:
    state = json.loads(far.world.sandbox.state_bytes()) | {"lineage": "00000000-0000-0000-0000-000000000000"}
    far.put_state(json.dumps(state | {"serial": state["serial"] + 1}).encode())
    assert far.world.drift(expect=5)["verdict"] == "state_lineage_changed"
    with closing(far.server.client()) as s3:
        s3.delete_object(**far.where)
    assert far.world.drift(expect=5)["verdict"] == "state_lineage_changed"


def test_on_s3_a_state_that_was_written_by_somebody_is_told(far: Far) -> None:
    far.world.rewrite(lambda state: drop(state, RECORD))
    found = far.world.drift(expect=2)
    assert (found["verdict"], tags(found)) == ("state_changed_outside", {RECORD: ["absorbed_by_state"]})


def test_on_s3_a_lock_that_a_killed_terraform_left_names_who_left_it(far: Far) -> None:
    world = far.world
    world.edit(size=5)
    world.cloud.misbehave(delay_seconds={"update:a": 30})
    process = world.terraform("apply", "-auto-approve", "-input=false")
    wait_for(lambda: world.cloud.calls("update", "a"), what="the update")
    process.kill()
    process.communicate()
    end_processes(world.sandbox)
    world.cloud.misbehave()
    assert len(world.sandbox.state_locks()) == 1
    found = world.drift(expect=1)
    assert (found["verdict"], found["result"].errors) == ("unknown", ["scan.locked"])
    assert "@" in found["reasons"][0]
    assert len(world.sandbox.state_locks()) == 1, "somebody else's lock is left alone"


def _begin(far: Far) -> Any:
    world = far.world
    before = len(world.cloud.calls("read", "a"))
    world.cloud.misbehave(delay_seconds={"read:a": 3})
    running = world.sandbox.start("--format", "json", "drift")
    wait_for(lambda: len(world.cloud.calls("read", "a")) > before, what="the read")
    return running


def test_on_s3_a_scan_that_is_killed_or_torn_leaves_nothing_and_the_next_one_is_right(far: Far) -> None:
    world = far.world
    world.edit(size=5)
    killed = _begin(far)
    killed.signal(signal.SIGKILL)
    killed.process.wait()
    end_processes(world.sandbox)
    wait_for(lambda: not world.sandbox.processes(), what="the end of all")
    world.is_left_clean()
    torn = _begin(far)
    world.rewrite(lambda state: drop(state, RECORD))
    result: Result = torn.end()
    assert (result.code, told(result)["verdict"], result.errors) == (1, "unknown", ["scan.torn"])
    world.cloud.misbehave()
    assert tags(world.drift(expect=2)) == {SERVER: ["modified"], RECORD: ["absorbed_by_state"]}
    wait_for(lambda: not world.sandbox.processes(), what="the end of all")
    world.is_left_clean()


def test_on_s3_a_server_that_goes_away_during_a_scan_makes_it_unknown(far: Far) -> None:
    far.world.edit(size=5)
    running = _begin(far)
    far.proxy.down()
    result = running.end()
    far.proxy.up()
    assert (result.code, told(result)["verdict"]) == (1, "unknown")
    assert result.errors
    far.world.cloud.misbehave()
    found = far.world.drift(expect=2)
    assert (found["verdict"], incidents(found)) == ("modified", [(SERVER, 1, True)])
