"""What may happen to a stack between two applies, each with a real Terraform, and what `tfops drift` says of it."""

import json
import shutil
import socket
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.e2e.drift_world import (
    BUCKET,
    IMAGE,
    PASSWORD,
    POLICY,
    RECORD,
    SERVER,
    Receiver,
    World,
    Worlds,
    closed,
    deploy,
    drop,
    incidents,
    instance,
    receiver,
    tags,
    told,
    words,
)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("terraform") is None, reason="no terraform on PATH"),
]

NESTED = "data.fakecloud_image.nested"
IMAGE_RECORD = "fakecloud_record.image"
LATER = (datetime.now(UTC) + timedelta(days=30)).date().isoformat()

IGNORED = """
resource "fakecloud_server" "listed" {
  name = "listed"
  size = 1
  tags = { env = "prod" }
  lifecycle {
    ignore_changes = [size]
  }
}
module "m" {
  source = "./m"
}
"""
MODULE = """
terraform {
  required_providers {
    fakecloud = {
      source = "tfops/fakecloud"
    }
  }
}
resource "fakecloud_server" "all" {
  name = "all"
  size = 1
  lifecycle {
    ignore_changes = all
  }
}
"""
CHECK = """
check "version" {
  data "fakecloud_image" "nested" {
    name = "os"
  }
  assert {
    condition     = data.fakecloud_image.nested.version != "broken"
    error_message = "the image is broken"
  }
}
"""
RICH = {"more": IMAGE + IGNORED, "files": {"dev/m/main.tf": MODULE}}
"""A data source, and what the code ignores, also in a module."""


def _image(world: World, version: str) -> None:
    world.cloud.write("image", "os", {"name": "os", "version": version})


def _deploy_rich(world: World) -> None:
    _image(world, "1")
    deploy(world, **RICH)


def _deploy_checked(world: World) -> None:
    _image(world, "1")
    deploy(world, more=CHECK)


@pytest.fixture
def rich(worlds: Worlds) -> World:
    """One stack with RICH in it, applied."""
    return worlds.begin("rich", _deploy_rich)


# ----------------------------------------------------------------- what moved, and in which direction


def test_an_edit_outside_is_named_with_what_it_was_is_and_would_become(world: World) -> None:
    world.edit(size=5)
    found = world.drift(expect=2)
    assert (found["verdict"], found["tags"]) == ("modified", ["modified"])
    assert (tags(found), words(found)) == ({SERVER: ["modified"]}, {"size": "revert"})
    assert found["resources"][0]["actions"] == ["update"]
    assert found["summary"]["update"] == 1
    said = world.text(expect=2)
    assert f"{SERVER} was edited outside Terraform; applying would revert that: tfops drift --remediate dev" in said
    assert "size: revert; was 1, is 5, would become 1" in said
    assert "1 modified; Terraform was started" in said
    inspected = world.sandbox.tfops("inspect", found["plan_id"][:12])
    assert inspected.code == 0, inspected
    assert SERVER in inspected.out


def test_what_was_deleted_outside_would_come_back_and_what_reads_it_follows(world: World) -> None:
    world.cloud.remove("server", world.server()["id"])
    found = world.drift(expect=2)
    assert (found["verdict"], tags(found)) == ("deleted", {SERVER: ["deleted"], RECORD: ["cascade"]})
    assert f"{SERVER} was deleted outside Terraform" in found["sentence"]
    assert "applying would create it anew: tfops drift --remediate dev" in found["sentence"]


def test_an_edit_outside_and_another_one_in_the_code_are_a_conflict(world: World) -> None:
    world.edit(size=5)
    world.commit(size=9)
    found = world.drift(expect=2)
    assert (found["verdict"], tags(found), words(found)) == (
        "conflict",
        {SERVER: ["conflict"]},
        {"size": "conflict"},
    )
    assert "was edited outside Terraform and in the code, differently; decide which is right" in found["sentence"]
    assert "size: conflict; was 1, is 5, would become 9" in world.text(expect=2)


def test_a_hotfix_of_which_half_is_in_the_code_says_which_half_is_not(world: World) -> None:
    world.edit(size=5, tags={"env": "hot"})
    world.commit(size=5)
    found = world.drift(expect=2)
    assert (found["verdict"], tags(found)) == ("modified", {SERVER: ["modified", "partly_absorbed"]})
    assert words(found) == {"size": "kept", "tags": "revert"}
    said = world.text(expect=2)
    assert "modified partly_absorbed" in said
    assert "tags: revert" in said


def test_a_hotfix_that_is_wholly_in_the_code_ends_its_incident_by_the_commit(world: World) -> None:
    world.edit(size=5)
    assert incidents(world.drift(expect=2)) == [(SERVER, 1, True)]
    commit = world.commit(size=5)
    found = world.drift(expect=0)
    assert (found["verdict"], tags(found)) == ("absorbed_by_code", {SERVER: ["absorbed_by_code"]})
    assert (found["incidents"], closed(found)) == ([], [(SERVER, "absorbed_by_code")])
    assert found["closed_incidents"][0]["closed_by"] == commit
    assert "was edited outside Terraform, and the code has it now" in found["sentence"]


def test_a_hotfix_that_was_committed_and_synced_is_still_said_to_be_in_the_code(world: World) -> None:
    world.edit(size=5)
    world.drift(expect=2)
    world.commit(size=5)
    assert world.sandbox.sync(expect=0).outcomes == {"dev": "converged"}
    found = world.drift(expect=0)
    assert closed(found) == [(SERVER, "absorbed_by_code")]
    assert found["verdict"] in ("absorbed_by_code", "in_sync")


def test_a_commit_that_nobody_applied_is_pending_and_no_drift(world: World) -> None:
    world.commit(size=9)
    found = world.drift(expect=2)
    assert (found["verdict"], tags(found), found["incidents"]) == ("pending", {SERVER: ["pending"]}, [])
    assert (found["pending"]["problem"], found["pending"]["summary"]["update"]) == (None, 1)
    assert found["sentence"] == f"dev: {SERVER} waits to be applied; next: tfops sync dev"
    assert "is not applied yet: ~1" in world.text(expect=2)


def test_a_data_source_that_moved_is_no_ones_commit_whether_or_not_one_waits(rich: World) -> None:
    _image(rich, "2")
    found = rich.drift(expect=2)
    assert (found["verdict"], tags(found)) == ("external_input", {IMAGE_RECORD: ["external_input"]})
    assert f"{IMAGE_RECORD} would change because something outside the code did" in found["sentence"]
    assert incidents(found) == [(IMAGE_RECORD, 1, True)]
    rich.commit(size=9, **RICH)
    both = rich.drift(expect=2)
    assert both["verdict"] == "external_input"
    assert tags(both) == {IMAGE_RECORD: ["external_input"], SERVER: ["pending"]}
    assert incidents(both) == [(IMAGE_RECORD, 2, False)]


def test_a_computed_attribute_that_moved_is_no_alarm(world: World) -> None:
    ((id_, _),) = world.cloud.objects("record").items()
    world.cloud.edit("record", id_, ttl=600)
    found = world.drift(expect=0)
    assert (found["verdict"], tags(found)) == ("benign_computed", {RECORD: ["benign_computed"]})
    assert (words(found, RECORD), found["incidents"]) == ({"ttl": "kept"}, [])


def test_a_computed_attribute_that_another_object_reads_makes_that_one_follow(world: World) -> None:
    world.edit(ip="10.9.9.9")
    found = world.drift(expect=2)
    assert (found["verdict"], tags(found)) == ("cascade", {SERVER: ["benign_computed"], RECORD: ["cascade"]})
    assert f"{RECORD} would change because of another one" in found["sentence"]


def test_a_json_text_that_is_written_differently_is_no_alarm_and_another_one_is(world: World) -> None:
    world.edit_bucket(policy=json.dumps(json.loads(POLICY), indent=2, sort_keys=True))
    found = world.drift(expect=0)
    assert (found["verdict"], tags(found), found["incidents"]) == ("normalization", {BUCKET: ["normalization"]}, [])
    world.edit_bucket(policy=POLICY.replace("list", "write"))
    found = world.drift(expect=2)
    assert (found["verdict"], words(found, BUCKET)) == ("modified", {"policy": "revert"})


def test_a_set_in_another_order_is_the_same_and_another_element_or_block_is_not(world: World) -> None:
    world.edit_bucket(zones=["y", "x"], rule=[{"port": 443, "cidr": None}, {"port": 80, "cidr": "10.0.0.0/8"}])
    assert world.drift(expect=0)["verdict"] == "in_sync"
    world.edit_bucket(zones=["y", "z"], rule=[{"port": 443, "cidr": None}, {"port": 80, "cidr": "0.0.0.0/0"}])
    found = world.drift(expect=2)
    assert (found["verdict"], words(found, BUCKET)) == ("modified", {"zones": "revert", "rule": "revert"})


@pytest.mark.parametrize(
    ("name", "address"), [("listed", "fakecloud_server.listed"), ("all", "module.m.fakecloud_server.all")]
)
def test_what_the_code_ignores_is_shown_and_no_alarm(rich: World, name: str, address: str) -> None:
    (found,) = rich.cloud.named(name)
    rich.cloud.edit("server", found["id"], size=5)
    seen = rich.drift(expect=0)
    assert (seen["verdict"], tags(seen)) == ("hidden_by_ignore_changes", {address: ["hidden_by_ignore_changes"]})
    assert (words(seen, address), seen["incidents"]) == ({"size": "kept"}, [])
    assert f"{address} was edited outside Terraform, which the code ignores" in seen["sentence"]


def test_what_the_code_does_not_ignore_beside_it_is_an_alarm(rich: World) -> None:
    (found,) = rich.cloud.named("listed")
    rich.cloud.edit("server", found["id"], size=5, tags={"env": "hot"})
    seen = rich.drift(expect=2)
    assert seen["verdict"] == "modified"
    assert words(seen, "fakecloud_server.listed") == {"size": "kept", "tags": "revert"}


# ----------------------------------------------------------------- checks


def test_a_check_with_a_data_source_of_its_own_is_no_alarm_while_it_holds(worlds: Worlds) -> None:
    world = worlds.begin("check", _deploy_checked)
    found = world.drift(expect=0)
    assert (found["verdict"], tags(found), found["incidents"]) == ("data_read", {NESTED: ["data_read"]}, [])
    assert found["plan_id"] is None


def test_a_check_that_fails_is_an_incident_of_the_stack_itself(worlds: Worlds) -> None:
    world = worlds.begin("check", _deploy_checked)
    _image(world, "broken")
    found = world.drift(expect=2)
    assert (found["verdict"], found["tags"], incidents(found)) == (
        "check_failed",
        ["check_failed", "data_read"],
        [("", 1, True)],
    )
    assert "a check of the code does not hold" in found["sentence"]
    _image(world, "2")
    assert closed(world.drift(expect=0)) == [("", "reverted")]


# ----------------------------------------------------------------- the state


def test_what_somebody_tainted_would_be_replaced(world: World) -> None:
    world.by_hand("taint", RECORD)
    found = world.drift(expect=2)
    assert found["tags"] == ["state_changed_outside", "replace", "tainted"]
    assert tags(found) == {RECORD: ["replace", "tainted"]}
    assert "somebody else wrote the state" in found["sentence"]
    assert f"{RECORD} would be replaced" in found["sentence"]


def test_what_somebody_took_out_of_the_state_would_be_created_a_second_time(world: World) -> None:
    world.by_hand("state", "rm", RECORD)
    found = world.drift(expect=2)
    assert found["verdict"] == "state_changed_outside"
    assert tags(found) == {RECORD: ["absorbed_by_state"]}
    assert f"{RECORD} would change because somebody wrote the state" in found["sentence"]
    assert "see what they did" in found["sentence"]


def test_a_refresh_that_somebody_wrote_into_the_state_launders_no_drift(either: World) -> None:
    either.edit(size=5)
    either.by_hand("apply", "-refresh-only", "-auto-approve", "-input=false")
    assert instance(either.sandbox.state())["attributes"]["size"] == 5
    found = either.drift(expect=2)
    assert (found["verdict"], tags(found)) == ("state_changed_outside", {SERVER: ["absorbed_by_state"]})


def test_a_refresh_that_changed_nothing_of_weight_is_still_told(world: World) -> None:
    world.rewrite(lambda state: None)
    found = world.drift(expect=2)
    assert (found["verdict"], found["resources"]) == ("state_changed_outside", [])
    assert "somebody else wrote the state" in found["sentence"]


def test_a_state_that_went_back_makes_creations_suspect_and_nobody_is_told_to_apply(either: World) -> None:
    if either.sandbox.bucket is None:
        old = either.sandbox.state_bytes()
        either.commit(more='resource "fakecloud_server" "b" {\n  name = "b"\n}\n')
        either.sandbox.sync(expect=0)
        either.sandbox.state_file().write_bytes(old)
    else:
        either.rewrite(lambda state: drop(state, RECORD), serial=-1)
    found = either.drift(expect=5)
    assert (found["verdict"], found["exit_code"]) == ("state_serial_regressed", 5)
    (suspect,) = tags(found).values()
    assert suspect == ["suspect_state_regression"]
    assert "restore the state, or if it is meant: tfops recover dev --adopt-state" in found["sentence"]
    assert "--remediate" not in found["sentence"]


def test_a_state_that_was_edited_in_place_is_not_the_one_we_left(world: World) -> None:
    world.rewrite(lambda state: instance(state)["attributes"].update(size=7), serial=0)
    found = world.drift(expect=5)
    assert found["verdict"] == "state_serial_regressed"
    assert "the state went back, or was edited in place" in found["sentence"]


def test_a_state_of_another_lineage_is_not_ours(world: World) -> None:
    world.rewrite(lambda state: state.update(lineage="00000000-0000-0000-0000-000000000000"))
    found = world.drift(expect=5)
    assert (found["verdict"], found["resources"]) == ("state_lineage_changed", [])
    assert "the state was replaced by another one, or is gone" in found["sentence"]


def test_a_state_that_is_gone_makes_every_creation_suspect(either: World) -> None:
    if either.sandbox.bucket is None:
        either.sandbox.state_file().unlink()
    else:
        either.sandbox.bucket.open().delete(either.sandbox.state_key())
    found = either.drift(expect=5)
    assert found["verdict"] == "state_lineage_changed"
    assert tags(found) == {address: ["suspect_state_regression"] for address in (BUCKET, RECORD, SERVER)}


def test_a_state_that_was_adopted_ends_its_incidents_as_accepted(world: World) -> None:
    world.rewrite(lambda state: drop(state, RECORD), serial=-1)
    world.drift(expect=5)
    assert world.sandbox.tfops("recover", "dev", "--adopt-state", "--reason", "meant").code == 0
    found = world.drift(expect=2)
    assert ("", "accepted") in closed(found)


def test_where_somebody_wrote_the_state_nobody_is_told_to_remediate(world: World) -> None:
    world.commit(rules=remediate("modified"))
    world.edit(size=5)
    world.rewrite(lambda state: None)
    found = world.drift("--remediate", expect=2)
    assert (found["verdict"], found["remediation"]["outcome"]) == ("state_changed_outside", "refused")
    assert "--remediate" not in found["sentence"]


# ----------------------------------------------------------------- the branch


@pytest.mark.parametrize(
    ("more", "says"),
    [('resource "x" {', "main.tf"), ('resource "fakecloud_server" "z" {\n  nope = 1\n}\n', "nope")],
    ids=["does not parse", "does not validate"],
)
def test_a_head_that_cannot_be_planned_hides_no_drift_and_says_why(world: World, more: str, says: str) -> None:
    world.edit(size=5)
    world.commit(more=more)
    found = world.drift(expect=2)
    assert (found["verdict"], tags(found), words(found)) == ("modified", {SERVER: ["modified"]}, {"size": "revert"})
    assert says in found["pending"]["problem"]
    assert "cannot be planned: " in world.text(expect=2)


def test_an_applied_commit_that_is_gone_from_git_is_no_obstacle(world: World) -> None:
    applied = world.sandbox.git("rev-parse", "HEAD")
    world.edit(size=5)
    world.sandbox.git("checkout", "-q", "--orphan", "rewritten")
    world.commit(env="next")
    world.sandbox.git("branch", "-q", "-M", "main")
    world.sandbox.git("push", "-q", "-f", "origin", "main")
    for place in (world.sandbox.clone, world.sandbox.origin):
        if place == world.sandbox.clone:
            world.sandbox.git("fetch", "-q", "--prune", "origin")
        else:
            world.sandbox.git("update-ref", "-d", "refs/heads/rewritten", cwd=place)
        world.sandbox.git("reflog", "expire", "--expire=now", "--all", cwd=place)
        world.sandbox.git("gc", "-q", "--prune=now", cwd=place)
    world.sandbox.git("fetch", "-q", "--prune", "origin")
    with pytest.raises(AssertionError):
        world.sandbox.git("cat-file", "-e", applied, cwd=world.sandbox.origin)
    found = world.drift(expect=2)
    assert (found["verdict"], words(found)["size"]) == ("modified", "revert")
    assert tags(found) == {SERVER: ["modified", "pending"]}


# ----------------------------------------------------------------- providers that fail


def test_a_throttled_provider_makes_it_unknown_and_the_next_scan_says_that_it_recovered(world: World) -> None:
    with receiver() as ops:
        world.commit(extra=ops.block)
        world.sandbox.sync(expect=0)  # puts it in force
        world.edit(size=5)
        world.cloud.misbehave(throttle=1000)
        found = world.drift(expect=1)
        assert (found["verdict"], found["resources"]) == ("unknown", [])
        assert "the provider is throttled" in found["reasons"][0]
        assert "the provider is throttled" in found["sentence"]
        assert (world.record()["failures"], world.record()["scans"]) == (1, {"throttled": 1})
        world.cloud.misbehave()
        after = world.drift(expect=2)
        assert (after["verdict"], incidents(after)) == ("modified", [(SERVER, 1, True)])
        assert ops.kinds == ["scan.failed dev", "scan.recovered dev", f"drift.opened dev/{SERVER}"]
    assert world.record()["failures"] == 0


def test_a_plan_that_fails_half_way_still_tells_what_it_saw_and_closes_nothing(world: World) -> None:
    world.edit_bucket(zones=["x"])
    assert incidents(world.drift(expect=2)) == [(BUCKET, 1, True)]
    world.edit_bucket(zones=["x", "y"])
    world.edit(size=5)
    world.cloud.misbehave(fail=["read:r"])
    found = world.drift(expect=1)
    assert found["verdict"] == "error"
    assert "modified" in tags(found)[SERVER]
    assert "the plan failed half-way" in found["sentence"]
    assert "read fakecloud_record r: failed" in found["reasons"][0]
    assert [one["address"] for one in found["incidents"]] == [BUCKET, SERVER]
    world.cloud.misbehave()
    after = world.drift(expect=2)
    assert (tags(after), closed(after)) == ({SERVER: ["modified"]}, [(BUCKET, "reverted")])


# ----------------------------------------------------------------- secrets


def test_a_secret_that_changed_is_told_and_stands_nowhere(world: World) -> None:
    new = "pw-of-somebody"
    world.edit(password=new)
    found = world.drift(expect=2)
    assert (found["verdict"], words(found)) == ("modified", {"password": "revert"})
    text = world.sandbox.tfops("drift")
    assert "password: revert" in text.out
    inspected = world.sandbox.tfops("inspect", found["plan_id"][:12])
    for result in (found["result"], text, inspected):
        assert PASSWORD not in result.out + result.err
        assert new not in result.out + result.err
    files = [
        path for place in (world.sandbox.store, world.sandbox.cache) for path in place.rglob("*") if path.is_file()
    ]
    named = {path.name for path in files if new.encode() in path.read_bytes()}
    assert named <= {"plan.tfplan"}
    kept = {path for path in files if PASSWORD.encode() in path.read_bytes()}
    allowed = ("plan.tfplan", "terraform.tfstate", "terraform.tfstate.backup", "main.tf")
    assert not [path for path in kept if path.name not in allowed and "inputs" not in path.parts]


# ----------------------------------------------------------------- rules


def ignore(name: str = "scaler", *, expires: str = LATER, address: str = "fakecloud_server.*") -> str:
    """A rule for the size."""
    return (
        f'  ignore "{name}" {{\n    address = "{address}"\n    attribute = "size"\n'
        f'    reason = "it scales"\n    owner = "web"\n    expires = "{expires}"\n  }}\n'
    )


def test_a_rule_silences_what_it_covers_and_counts_it(world: World) -> None:
    world.commit(rules=f"drift {{\n{ignore()}}}")
    world.edit(size=5)
    found = world.drift(expect=0)
    assert (found["verdict"], found["incidents"]) == ("in_sync", [])
    assert found["suppressed"] == [{"address": SERVER, "rule": "scaler"}]
    assert world.record()["suppressed"] == 1
    assert f"ignored by drift rule 'scaler': {SERVER}" in world.text(expect=0)
    world.edit(tags={"env": "hot"})
    both = world.drift(expect=2)
    assert (both["verdict"], both["suppressed"]) == ("modified", [])


def test_a_rule_ends_an_incident_that_was_open_as_accepted(world: World) -> None:
    world.edit(size=5)
    world.drift(expect=2)
    world.commit(rules=f"drift {{\n{ignore()}}}")
    found = world.drift(expect=0)
    assert closed(found) == [(SERVER, "accepted")]
    assert found["closed_incidents"][0]["closed_by"] == 'ignore "scaler"'


def test_a_rule_that_expired_silences_nothing_and_it_and_one_without_use_are_named(world: World) -> None:
    world.commit(rules=f"drift {{\n{ignore(expires='2020-01-01')}{ignore('other', address='fakecloud_record.*')}}}")
    world.edit(size=5)
    found = world.drift(expect=2)
    assert (found["verdict"], found["suppressed"]) == ("modified", [])
    assert 'drift ignore "scaler" expired on 2020-01-01: web decides whether it still holds' in found["notes"]
    assert 'drift ignore "other" matches nothing at present' in found["notes"]
    said = world.text(expect=2)
    assert 'note: drift ignore "scaler" expired on 2020-01-01' in said


# ----------------------------------------------------------------- incidents


def test_an_incident_is_new_once_is_seen_again_and_ends_when_it_was_undone(world: World) -> None:
    world.edit(size=5)
    first = world.drift(expect=2)
    assert incidents(first) == [(SERVER, 1, True)]
    again = world.drift(expect=2)
    assert incidents(again) == [(SERVER, 2, False)]
    assert again["incidents"][0]["first_seen"] == first["incidents"][0]["first_seen"]
    assert again["incidents"][0]["id"] == first["incidents"][0]["id"]
    world.edit(size=1)
    assert f"closed: {SERVER}, reverted" in world.text(expect=0)
    after = world.drift(expect=0)
    assert (after["incidents"], after["closed_incidents"]) == ([], [])
    (kept,) = (world.sandbox.store / "dev" / "incidents").iterdir()
    assert json.loads(kept.read_bytes())["closed_as"] == "reverted"


def test_who_acknowledges_says_why_and_until_when(world: World) -> None:
    world.edit(size=5)
    world.drift(expect=2)
    without = world.sandbox.json("drift", "--ack", SERVER, "--until", LATER)
    assert (without.code, without.errors) == (64, ["usage.ack"])
    assert "--reason" in without.messages
    other = world.sandbox.json("drift", "--ack", "x.y", "--reason", "r", "--until", LATER)
    assert (other.code, other.errors) == (64, ["usage.unknown_incident"])
    assert SERVER in other.messages
    past = world.sandbox.json("drift", "--ack", SERVER, "--reason", "long ago", "--until", "2020-01-01")
    assert past.code == 64, past
    odd = world.sandbox.json("drift", "--ack", SERVER, "--reason", "r", "--until", "tomorrow")
    assert (odd.code, odd.errors) == (64, ["usage.ack"])
    world.sandbox.starts()
    said = world.sandbox.tfops("drift", "--ack", SERVER, "--reason", "until the release", "--until", LATER)
    assert said.code == 0, said
    assert " ".join(said.out.split()) == f"dev: {SERVER} is acknowledged until {LATER}: until the release"
    assert world.sandbox.starts() == []
    found = world.drift(expect=2)
    assert found["incidents"][0]["acknowledged_until"].startswith(LATER)
    last = world.sandbox.json("audit", "list").json["entries"][-1]
    assert (last["event"], last["reason"]) == ("acknowledge-drift", "until the release")


SMALL = 'resource "fakecloud_server" "a" {{\n  name = "{name}"\n  size = 1\n}}\n'
SEVERAL = ("s/one", "s/two", "s/three")


def _commit_several(world: World, *, rules: str = "") -> None:
    files: dict[str, str | bytes | None] = {}
    for root in SEVERAL:
        files |= world.files(SMALL.format(name=root.replace("/", "-")), root)
    world.sandbox.stacks(world.block("s", roots='["s/*"]', rules=rules), files)


def _deploy_several(world: World) -> None:
    _commit_several(world)
    world.sandbox.sync(expect=0)


@pytest.fixture
def several(worlds: Worlds) -> World:
    """Three stacks of one environment, applied."""
    return worlds.begin("several", _deploy_several)


def verdicts(result: Any) -> dict[str, str]:
    """Stack → verdict."""
    return {entry["stack"]: entry["verdict"] for entry in result.json["stacks"]}


def _edit_several(world: World, *roots: str) -> None:
    for root in roots:
        (found,) = world.cloud.named(root.replace("/", "-"))
        world.cloud.edit("server", found["id"], size=5)


def test_an_address_that_drifts_in_two_stacks_is_acknowledged_by_naming_the_stack(several: World) -> None:
    _edit_several(several, "s/one", "s/two")
    scan = several.sandbox.json("drift")
    assert scan.code == 2, scan
    assert sorted(verdicts(scan).values()) == ["in_sync", "modified", "modified"]
    one, two = sorted(name for name, verdict in verdicts(scan).items() if verdict == "modified")
    words_ = ("--ack", SERVER, "--reason", "known", "--until", LATER)
    both = several.sandbox.json("drift", *words_)
    assert (both.code, both.errors) == (64, ["usage.unknown_incident"])
    assert one in both.messages
    assert two in both.messages
    named = several.sandbox.json("drift", one, *words_)
    assert named.code == 0, named
    after = several.sandbox.json("drift")
    assert after[one]["incidents"][0]["acknowledged_until"].startswith(LATER)
    assert after[two]["incidents"][0]["acknowledged_until"] is None


# ----------------------------------------------------------------- remediation


def remediate(*names: str, more: str = "") -> str:
    """A drift block that allows this."""
    return f"drift {{\n  remediate = {json.dumps(names)}\n{more}}}"


def test_what_is_allowed_is_brought_back_and_on_record(either: World) -> None:
    either.commit(rules=remediate("modified"))
    either.edit(size=5)
    found = either.drift("--remediate", expect=0)
    assert found["remediation"]["outcome"] == "applied"
    assert either.server()["size"] == 1
    assert (found["incidents"], closed(found)) == ([], [(SERVER, "reverted")])
    newest = either.sandbox.history()[0]
    assert (newest["purpose"], newest["result"]) == ("remediation", "applied")
    assert newest["plan_id"] == found["remediation"]["plan_id"]
    assert either.drift(expect=0)["verdict"] == "in_sync"
    verified = either.sandbox.tfops("verify", newest["plan_id"])
    assert verified.code == 0, verified


def test_what_is_not_allowed_stays_and_says_what_to_name(world: World) -> None:
    world.commit(rules=remediate("deleted"))
    world.edit(size=5)
    before = len(world.cloud.log())
    found = world.drift("--remediate", expect=2)
    assert found["remediation"]["outcome"] == "refused"
    assert 'drift { remediate } does not name "modified"' in " ".join(found["remediation"]["reasons"])
    assert (world.server()["size"], len(world.cloud.log())) == (5, before)
    assert "remediation: refused: it is modified" in world.text("--remediate", expect=2)


def test_a_replacement_that_is_not_named_is_not_made(world: World) -> None:
    world.commit(rules=remediate("modified", "tainted", "cascade"))
    world.edit(region="south")
    found = world.drift("--remediate", expect=2)
    assert tags(found) == {SERVER: ["modified", "replace"], RECORD: ["cascade"]}
    assert found["remediation"]["outcome"] == "refused"
    assert '"replace"' in " ".join(found["remediation"]["reasons"])
    assert world.server()["region"] == "south"
    assert "applying would replace it" in world.text(expect=2)


def test_a_deletion_that_is_not_named_is_not_made(rich: World) -> None:
    counted = (
        'resource "fakecloud_server" "n" {\n  count = tonumber(data.fakecloud_image.os.version)\n  name = "n"\n}\n'
    )
    more = {**RICH, "more": RICH["more"] + counted}
    rich.commit(rules=remediate("external_input"), **more)
    rich.sandbox.sync(expect=0)
    _image(rich, "0")
    found = rich.drift("--remediate", expect=2)
    assert tags(found)["fakecloud_server.n[0]"] == ["external_input"]
    assert found["remediation"]["outcome"] == "refused"
    assert "it would destroy or forget something" in " ".join(found["remediation"]["reasons"])
    assert len(rich.cloud.named("n")) == 1


def test_where_somebody_has_to_approve_it_waits(world: World) -> None:
    world.commit(rules=remediate("modified"), count=1)
    world.edit(size=5)
    found = world.drift("--remediate", expect=3)
    assert found["remediation"]["outcome"] == "waiting"
    assert found["remediation"]["plan_id"] == found["plan_id"]
    assert (found["verdict"], world.server()["size"]) == ("modified", 5)


def test_a_conflict_is_never_brought_back(world: World) -> None:
    world.commit(rules=remediate("modified", "replace", "deleted", "delete"), size=9)
    world.edit(size=5)
    found = world.drift("--remediate", expect=2)
    assert found["remediation"]["outcome"] == "refused"
    assert "it is conflict, which is never brought back by itself" in " ".join(found["remediation"]["reasons"])
    assert world.server()["size"] == 5


def test_code_that_waits_is_not_applied_beside_what_is_brought_back(world: World) -> None:
    world.commit(rules=remediate("modified"), env="next")
    world.edit(size=5)
    found = world.drift("--remediate", expect=2)
    assert found["remediation"]["outcome"] == "applied"
    assert (world.server()["size"], world.server()["tags"]) == (1, {"env": "prod"})
    after = world.drift(expect=2)
    assert (after["verdict"], tags(after)) == ("pending", {SERVER: ["pending"]})
    assert world.sandbox.sync(expect=0).outcomes == {"dev": "applied"}
    assert world.server()["tags"] == {"env": "next"}


@pytest.mark.parametrize(
    ("server", "bucket"),
    [({"size": 5}, {}), ({"size": 5, "tags": {"env": "hot"}}, {}), ({"size": 5}, {"zones": ["x"]})],
    ids=["the whole of it", "half of it", "beside another object"],
)
def test_what_a_commit_took_over_is_not_undone(world: World, server: dict[str, Any], bucket: dict[str, Any]) -> None:
    world.commit(rules=remediate("modified", "partly_absorbed"), size=5)
    world.edit(**server)
    world.edit_bucket(**bucket)
    found = world.drift("--remediate", expect=None)
    assert world.server()["size"] == 5
    assert found["exit_code"] == (0 if found["verdict"] == "absorbed_by_code" else 2)


def test_what_was_deleted_is_made_anew_with_what_follows_from_it(world: World) -> None:
    world.commit(rules=remediate("deleted", "cascade"))
    world.cloud.remove("server", world.server()["id"])
    found = world.drift("--remediate", expect=0)
    assert found["remediation"]["outcome"] == "applied"
    assert closed(found) == [(RECORD, "reverted"), (SERVER, "reverted")]
    assert [record["value"] for record in world.cloud.objects("record").values()] == [world.server()["ip"]]


def test_an_object_that_a_rule_leaves_alone_is_not_touched_beside_another_one(world: World) -> None:
    world.commit(rules=remediate("modified", more=ignore()))
    world.edit(size=5)
    world.edit_bucket(zones=["x"])
    found = world.drift("--remediate", expect=2)
    assert (found["suppressed"], tags(found)[BUCKET]) == ([{"address": SERVER, "rule": "scaler"}], ["modified"])
    assert found["remediation"]["outcome"] == "refused"
    reasons = " ".join(found["remediation"]["reasons"])
    assert f'it would also change {SERVER}, which drift ignore "scaler" leaves alone' in reasons
    assert world.server()["size"] == 5


def test_where_nothing_drifted_nothing_is_brought_back(world: World) -> None:
    world.commit(rules=remediate("modified"))
    found = world.drift("--remediate", expect=0)
    assert (found["verdict"], found["remediation"]) == ("in_sync", None)
    assert len(world.sandbox.history()) == 1


def test_a_state_at_fault_is_never_brought_back(world: World) -> None:
    world.commit(rules=remediate("modified", "deleted", "external_input"))
    world.rewrite(lambda state: drop(state, RECORD), serial=-1)
    found = world.drift("--remediate", expect=5)
    assert found["remediation"]["outcome"] == "refused"
    assert len(world.cloud.objects("record")) == 1


def test_a_plan_of_a_scan_is_not_applied_by_sync(world: World) -> None:
    world.edit(size=5)
    plan_id = world.drift(expect=2)["plan_id"]
    result = world.sandbox.sync("dev", "--plan", plan_id, expect=5)
    assert "purpose" in result.messages
    assert (world.server()["size"], len(world.sandbox.history())) == (5, 1)


# ----------------------------------------------------------------- timers


def test_what_was_never_scanned_is_due_and_then_nothing_is(world: World) -> None:
    world.commit(rules='drift { every = "1h" }')
    assert [entry["stack"] for entry in world.sandbox.json("drift", "--due").json["stacks"]] == ["dev"]
    again = world.sandbox.json("drift", "--due")
    assert (again.code, again.json["stacks"]) == (0, [])
    assert [(later["stack"], later["said"]) for later in again.json["later"]] == [("dev", "in_sync")]
    said = world.text("--due", expect=0)
    assert "1 stack not due yet; no Terraform was started" in said


def test_without_a_schedule_due_is_an_error_that_says_what_to_write(world: World) -> None:
    result = world.sandbox.json("drift", "--due")
    assert (result.code, result.errors) == (64, ["usage.no_schedule"])
    assert 'drift { every = "1h" }' in result.messages


def test_two_shards_scan_each_stack_once(several: World) -> None:
    _commit_several(several, rules='drift { every = "1h" }')
    shards = [set(verdicts(several.sandbox.json("drift", "--due", "--shard", f"{n}/2"))) for n in (1, 2)]
    assert not shards[0] & shards[1]
    assert len(shards[0] | shards[1]) == len(SEVERAL)
    assert several.sandbox.json("drift", "--due").json["stacks"] == []
    assert several.sandbox.json("drift", "--shard", "1/2").code == 64
    assert several.sandbox.json("drift", "--due", "--shard", "3/2").code == 64


def test_when_the_time_is_over_no_scan_begins_and_the_rest_is_due_next(several: World) -> None:
    _commit_several(several, rules='drift { every = "1h" }')
    several.cloud.misbehave(delay_seconds={"read": 1.5})
    first = several.sandbox.json("drift", "--due", "--max-runtime", "1s", "--jobs", "1")
    assert first.code == 0, first
    assert list(verdicts(first).values()) == ["in_sync"]
    assert len(first.json["later"]) == len(SEVERAL) - 1
    several.cloud.misbehave()
    rest = several.sandbox.json("drift", "--due")
    assert set(verdicts(rest)) == {later["stack"] for later in first.json["later"]}


# ----------------------------------------------------------------- who is told


def test_metrics_are_a_file_that_parses(several: World, tmp_path: Path) -> None:
    _edit_several(several, "s/one")
    scan = several.sandbox.json("drift", "--metrics", tmp_path / "tfops.prom")
    assert scan.code == 2, scan
    families = {family.name: family for family in text_string_to_metric_families((tmp_path / "tfops.prom").read_text())}
    found = {(sample.labels["stack"], sample.labels["verdict"]) for sample in families["tfops_env_verdict"].samples}
    assert found == set(verdicts(scan).items())
    assert not list(tmp_path.glob(".*"))


def test_a_webhook_hears_of_an_incident_once_and_of_its_end_once(world: World) -> None:
    with receiver() as ops:
        world.commit(extra=ops.block)
        world.sandbox.sync(expect=0)  # puts it in force
        world.drift(expect=0)
        assert ops.events == []
        world.edit(size=5, password="pw-of-somebody")
        found = world.drift(expect=2)
        assert ops.kinds == [f"drift.opened dev/{SERVER}"]
        event = ops.events[0]["data"]
        assert (event["verdict"], event["plan_id"]) == ("modified", found["plan_id"])
        assert "pw-of-somebody" not in json.dumps(ops.events)
        assert [delivery["ok"] for delivery in found["result"].json["notifications"]] == [True]
        world.drift(expect=2)
        assert len(ops.events) == 1
        world.edit(size=1, password=PASSWORD)
        world.drift(expect=0)
        assert ops.kinds[1:] == [f"drift.closed dev/{SERVER}"]


def test_a_webhook_that_is_down_changes_no_verdict_and_is_told(world: World) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/"
    world.commit(extra=Receiver(url=url).block)
    world.sandbox.sync(expect=0)  # puts it in force
    world.edit(size=5)
    found = world.drift(expect=2)
    result = found["result"]
    assert (found["verdict"], result.errors) == ("modified", ["notify.failed"])
    assert 'notify "ops"' in result.messages
    assert [delivery["ok"] for delivery in result.json["notifications"]] == [False]


def test_a_remediation_tells_that_it_was_refused_or_applied(world: World) -> None:
    with receiver() as ops:
        world.commit(extra=ops.block, rules=remediate("deleted"))
        world.sandbox.sync(expect=0)  # puts it in force
        world.edit(size=5)
        world.drift("--remediate", expect=2)
        assert sorted(ops.kinds) == [f"drift.opened dev/{SERVER}", "remediation.refused dev"]
        ops.events.clear()
        world.commit(extra=ops.block, rules=remediate("modified"))
        world.drift("--remediate", expect=0)
        assert sorted(ops.kinds) == [f"drift.closed dev/{SERVER}", "remediation.applied dev"]


def test_a_stack_that_was_never_deployed_is_pending(worlds: Worlds) -> None:
    world = worlds.begin("undeployed", lambda world: world.commit())
    found = told(world.sandbox.json("drift"))
    assert (found["verdict"], found["exit_code"], found["incidents"]) == ("pending", 2, [])
    assert "it was never deployed" in found["sentence"]
