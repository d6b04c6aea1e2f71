"""The threat model, one attack a test: what each attacker can do, done for real, and what stops it.

Each is the shortest road of its kind; the files beside this one walk many more.
"""

import base64
import io
import json
import shutil
import tarfile
import time
from collections.abc import Callable
from gzip import compress, decompress
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.people import Team
from tests.e2e.sandbox import RESOURCE, Result, Sandbox
from tfops.adapters import keys

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="no OpenSSH client"),
]

TWO = RESOURCE.replace("one", "two")
OTHER = RESOURCE.replace('"a"', '"b"')


@pytest.fixture
def team(sandbox: Sandbox) -> Team:
    """Three people and a stack that asks two of them, deployed."""
    found = Team(sandbox=sandbox)
    found.deployed()
    return found


def merged(team: Team, *people: str) -> str:
    """A change that was planned, approved by these people and merged; the plan's id."""
    team.change("pr", {"prod/main.tf": TWO})
    plan_id = team.approved("pr", *people)
    team.merge("pr")
    return plan_id


def reasons(result: Result) -> str:
    assert (result.code, result.outcomes) == (3, {"prod": "waiting"}), result
    return "\n".join(result["prod"]["reasons"])


def test_a_developer_pushes_straight_to_the_branch(team: Team) -> None:
    team.sandbox.commit({"prod/main.tf": TWO})
    assert "asks for 2 approvals; there are 0" in reasons(team.sandbox.sync())
    assert team.sandbox.state("prod")["resources"][0]["instances"][0]["attributes"]["input"]["value"] == "one"


def test_somebody_approves_their_own_work(team: Team) -> None:
    team.change("pr", {"prod/main.tf": TWO}, author="alice")
    refused = team.approve(team.review("pr"), "alice")
    assert (refused.code, refused.errors) == (3, ["approval.own_work"])


def test_somebody_approves_as_somebody_else(team: Team) -> None:
    plan_id = merged(team, "alice")
    (approval,) = _approvals(team, plan_id).iterdir()
    document = json.loads(approval.read_text())
    payload = json.loads(base64.b64decode(document["payload"]))
    payload["predicate"]["approver"] = "bob"
    document["payload"] = base64.b64encode(json.dumps(payload).encode()).decode()
    (approval.parent / f"{'0' * 64}.json").write_text(json.dumps(document))
    assert "there are 1" in reasons(team.sandbox.sync())


def test_an_approved_plan_gets_another_commit_before_it_is_applied(team: Team) -> None:
    merged(team, "alice", "bob")
    team.sandbox.commit({"prod/more.tf": OTHER})
    assert "prod/more.tf is as no approved plan has it" in reasons(team.sandbox.sync())


@pytest.mark.parametrize("name", ["plan.tfplan", "plan.json"])
def test_somebody_who_writes_to_the_store_swaps_a_file_of_a_plan_that_waits(team: Team, name: str) -> None:
    team.sandbox.commit({"prod/main.tf": TWO})
    plan_id = team.sandbox.sync(expect=3)["prod"]["plan_id"]
    file = team.sandbox.plan_directory(plan_id, "prod") / name
    file.chmod(0o600)
    file.write_bytes(file.read_bytes() + b" ")
    refused = team.approve(plan_id, "alice")
    assert (refused.code, refused.errors) == (5, ["verify.files"])
    given = team.sandbox.sync("prod", "--plan", plan_id)
    assert given.code == 5, given


def test_somebody_who_writes_to_the_store_hides_a_file_in_the_kept_inputs(team: Team) -> None:
    """What is judged are the inputs that differ from the deployed ones: so those must be what was signed."""
    merged(team, "alice", "bob")
    team.sandbox.commit({"prod/hook.sh": "evil\n", "prod/hook.tf": 'locals {\n  x = file("hook.sh")\n}\n'})
    waiting = team.sandbox.sync(expect=3)
    assert "prod/hook.sh is as no approved plan has it" in "\n".join(waiting["prod"]["reasons"])
    head = team.sandbox.json("history", "prod")["prod"]["head"]["fingerprint"]
    place = team.sandbox.store / "prod" / "inputs" / head
    _replace_manifest(place, _with_the_hook(team, _manifest(place)))
    still = "\n".join(team.sandbox.sync("--replan", expect=3)["prod"]["reasons"])
    assert "prod/hook.sh is as no approved plan has it" in still


def _with_the_hook(team: Team, manifest: dict[str, Any]) -> dict[str, Any]:
    """What the attacker wants the deployed inputs to have been: the hook was there already."""
    names = ("prod/hook.sh", "prod/hook.tf", "prod/main.tf")
    blobs = {name: team.sandbox.git("rev-parse", f"HEAD:{name}") for name in names}
    return manifest | {"files": manifest["files"] | {name: f"100644 {blob}" for name, blob in blobs.items()}}


def _manifest(path: Path) -> dict[str, Any]:
    with tarfile.open(fileobj=io.BytesIO(decompress(path.read_bytes()))) as tar:
        file = tar.extractfile("manifest.json")
        assert file is not None
        found: dict[str, Any] = json.loads(file.read())
        return found


def _replace_manifest(path: Path, manifest: dict[str, Any]) -> None:
    packed = io.BytesIO()
    with (
        tarfile.open(fileobj=io.BytesIO(decompress(path.read_bytes()))) as old,
        tarfile.open(fileobj=packed, mode="w") as new,
    ):
        for member in old:
            data = old.extractfile(member)
            content = data.read() if data else b""
            if member.name == "manifest.json":
                content = json.dumps(manifest).encode()
            member.size = len(content)
            new.addfile(member, io.BytesIO(content))
    path.chmod(0o600)
    path.write_bytes(compress(packed.getvalue()))


def test_somebody_who_writes_to_the_store_edits_the_state_at_the_same_serial(team: Team) -> None:
    file = team.sandbox.state_file("prod")
    file.write_text(file.read_text().replace('"one"', '"evil"'))
    found = team.sandbox.sync(expect=5)
    assert found.errors[0].startswith("state."), found


def test_somebody_rolls_the_state_back(team: Team) -> None:
    file = team.sandbox.state_file("prod")
    document = json.loads(file.read_text())
    document["serial"] -= 1
    file.write_text(json.dumps(document))
    assert team.sandbox.sync(expect=5).errors[0].startswith("state.")


def test_an_old_plan_is_used_again(team: Team) -> None:
    plan_id = merged(team, "alice", "bob")
    used = team.sandbox.sync(expect=0)["prod"]["plan_id"]
    for again in (plan_id, used):
        found = team.sandbox.sync("prod", "--plan", again)
        assert found.code == 5, found


def test_an_approval_is_moved_to_another_stack(team: Team) -> None:
    extra = 'environment "other" {\n  branch = "main"\n  roots = ["other"]\n  approval { count = 2 }\n}\n'
    team.sandbox.commit({"tfops.hcl": team.config(extra=extra), "other/main.tf": RESOURCE, "prod/main.tf": TWO})
    team.approve_rules("alice", "bob")
    waiting = team.sandbox.sync(expect=3)
    other, prod = waiting["other"]["plan_id"], waiting["prod"]["plan_id"]
    for person in ("alice", "bob"):
        team.approve(other, person)
    shutil.copytree(_approvals(team, other, "other"), _approvals(team, prod), dirs_exist_ok=True)
    found = "\n".join(team.sandbox.sync(expect=3)["prod"]["reasons"])
    assert "an approval by alice does not count: it is for other, not for prod" in found


def test_a_script_beside_the_plan_is_changed(team: Team) -> None:
    merged(team, "alice", "bob")
    team.sandbox.commit({"prod/hook.sh": "new\n", "prod/hook.tf": 'locals {\n  x = file("hook.sh")\n}\n'})
    assert "prod/hook.sh is as no approved plan has it" in reasons(team.sandbox.sync())


@pytest.mark.parametrize(
    "poison",
    [
        {"TF_CLI_ARGS_apply": "-destroy", "TF_CLI_ARGS_plan": "-destroy"},
        {"TF_WORKSPACE": "other"},
        {"TF_DATA_DIR": "/tmp/evil"},
        {"TF_VAR_secret": "evil", "TF_REATTACH_PROVIDERS": "{}"},
    ],
    ids=["arguments", "workspace", "data", "variables"],
)
def test_the_environment_of_the_runner_is_poisoned(team: Team, poison: dict[str, str]) -> None:
    merged(team, "alice", "bob")
    found = team.sandbox.sync(expect=0, env=poison)
    assert found.outcomes == {"prod": "applied"}
    assert len(team.sandbox.resources("prod")) == 1


def test_a_runner_is_stolen_and_its_key_taken_out_of_trust(team: Team) -> None:
    """What the stolen key signed is refused at once, and it signs nothing more."""
    other = team.sandbox.home / "other.pem"
    keys.generate(other, passphrase=None)
    signer = keys.load_signer(f"file:{other}", home=team.sandbox.home, passphrase=None)
    text = team.config().replace(
        'runner "ci" {\n    public_key = "keys/ci.pub"', 'runner "two" {\n    public_key = "keys/two.pub"'
    )
    team.sandbox.commit({"tfops.hcl": text, "keys/two.pub": keys.public_pem(signer)})
    stolen = team.sandbox.sync()
    assert stolen.code in (1, 5, 78), stolen
    assert stolen.errors[0] in ("key.not_trusted", "trust.no_keys", "verify.unknown_key"), stolen


def test_the_runner_that_applies_cannot_approve(team: Team) -> None:
    """The runner's key is no person's: a decision that it signs does not verify."""
    team.sandbox.commit({"prod/main.tf": TWO})
    plan_id = team.sandbox.sync(expect=3)["prod"]["plan_id"]
    refused = team.sandbox.json("approve", plan_id, "--key", team.sandbox.key)
    assert refused.code != 0
    assert "there are 0" in reasons(team.sandbox.sync())


def test_the_rules_are_changed_by_the_request_that_they_judge(team: Team) -> None:
    team.sandbox.commit({"tfops.hcl": team.config(count=0), "prod/main.tf": TWO})
    found = team.sandbox.sync(expect=3)
    assert found.json["rules"]["wanted"] == 2
    assert found.outcomes == {"prod": "waiting"}


def test_a_new_environment_claims_the_state_of_prod(team: Team) -> None:
    text = team.config(count=0).replace('environment "prod"', 'environment "mine"')
    text += '\nmoved {\n  from = "prod"\n  to   = "mine"\n}\n'
    team.sandbox.commit({"tfops.hcl": text, "prod/main.tf": TWO})
    found = team.sandbox.sync("mine", "--trust-code", expect=3)
    assert "asks for 2 approvals" in found["mine"]["reasons"][0]


def test_a_claimed_plan_whose_run_died_is_never_used_again(team: Team) -> None:
    plan_id = merged(team, "alice", "bob")
    waiting = team.sandbox.json("plan", "prod")["prod"]["plan_id"]
    claim = {"plan_id": waiting, "applied_plan_id": waiting, "run_id": "dead", "host": "h", "pid": 1}
    place = team.sandbox.plan_directory(waiting, "prod") / "claim.json"
    place.write_text(json.dumps(claim | {"claimed_on": "2026-11-28T00:00:00Z"}))
    given = team.sandbox.sync("prod", "--plan", waiting)
    assert (given.code, given.errors) == (5, ["verify.claimed"])
    assert plan_id != waiting


def _cut(log: list[Path]) -> None:
    log[-1].unlink()


def _swap(log: list[Path]) -> None:
    first, second = log[0].read_bytes(), log[1].read_bytes()
    for path, data in ((log[0], second), (log[1], first)):
        path.chmod(0o600)
        path.write_bytes(data)


def _edit(log: list[Path]) -> None:
    document = json.loads(log[0].read_bytes())
    document["payload"] = document["payload"].replace("A", "B", 1)
    log[0].chmod(0o600)
    log[0].write_text(json.dumps(document))


@pytest.mark.parametrize("attack", [_cut, _swap, _edit], ids=["cut off", "swapped", "edited"])
def test_the_log_is_rewritten(team: Team, attack: Callable[[list[Path]], None]) -> None:
    _two_entries(team)
    anchor = team.sandbox.json("audit", "verify").json["anchor"]
    attack(sorted(path for path in (team.sandbox.store / "audit").iterdir()))
    found = team.sandbox.json("audit", "verify", "--anchor", anchor)
    assert (found.code, found.json["verified"]) == (5, False)


def _two_entries(team: Team) -> None:
    team.sandbox.commit({"tfops.hcl": team.config(people=("alice", "bob"))})
    assert team.sandbox.sync(expect=0).json["rules"] is None
    assert len(team.sandbox.json("audit", "verify").json["entries"]) >= 2


def test_attack_a_rejected_change_is_planned_once_more_to_be_rid_of_the_rejection(team: Team) -> None:
    team.change("pr", {"prod/main.tf": TWO})
    rejected = team.review("pr")
    assert team.reject(rejected, "carol", "the database!").code == 0
    again = team.approved("pr", "alice", "bob")
    assert again != rejected
    team.merge("pr")
    said = reasons(team.sandbox.sync())
    assert "carol rejected it: the database!" in said
    assert f"tfops approve {rejected[:12]} --withdraw" in said
    assert team.approve(rejected, "carol", "--withdraw").code == 0
    assert team.sandbox.sync(expect=0).outcomes == {"prod": "applied"}


def test_attack_a_rejected_change_comes_under_another_commit_with_another_one_beside_it(team: Team) -> None:
    team.change("pr", {"prod/main.tf": TWO})
    assert team.reject(team.review("pr"), "carol").code == 0
    team.change("other", {"prod/main.tf": f"# nothing\n{TWO}", "prod/more.tf": OTHER})
    team.approved("other", "alice", "bob")
    team.merge("other")
    assert "carol rejected it: no" in reasons(team.sandbox.sync())


def test_what_was_changed_after_a_rejection_is_another_plan(team: Team) -> None:
    team.change("pr", {"prod/main.tf": TWO})
    assert team.reject(team.review("pr"), "carol").code == 0
    team.change("better", {"prod/main.tf": RESOURCE.replace("one", "three")})
    team.approved("better", "alice", "bob")
    team.merge("better")
    assert team.sandbox.sync(expect=0).outcomes == {"prod": "applied"}


def test_who_rejected_a_plan_and_approves_the_next_one_of_the_same_took_it_back(team: Team) -> None:
    team.change("pr", {"prod/main.tf": TWO})
    assert team.reject(team.review("pr"), "carol").code == 0
    team.approved("pr", "alice", "carol")
    team.merge("pr")
    assert team.sandbox.sync(expect=0).outcomes == {"prod": "applied"}


def test_attack_a_rejection_of_a_plan_before_is_removed_from_the_store(team: Team) -> None:
    team.change("pr", {"prod/main.tf": TWO})
    rejected = team.review("pr")
    assert team.reject(rejected, "carol").code == 0
    team.approved("pr", "alice", "bob")
    team.merge("pr")
    reasons(team.sandbox.sync())
    for vote in _approvals(team, rejected).iterdir():
        vote.unlink()
    assert "are gone from the store" in reasons(team.sandbox.sync())


def test_attack_a_name_in_trust_is_given_to_somebody_else(team: Team) -> None:
    """Decisions belong to who made them: neither the old owner of the name nor the new one has made the other's."""
    plan_id = merged(team, "alice", "bob")
    text = team.config().replace('approver "alice"', 'approver "alina"')
    team.key("mallory")
    mallory = f'approver "alice" {{\n  ssh_keys = ["{team.public("mallory")}"]\n}}\n'
    team.sandbox.commit({"tfops.hcl": text.replace("trust {", f"trust {{\n{mallory}", 1)})
    waiting = team.sandbox.sync(expect=3)
    for person in ("bob", "carol"):
        assert team.approve(waiting.json["rules"]["id"], person).code == 0
    said = reasons(team.sandbox.sync())
    assert "there are 1" in said
    assert plan_id


def test_attack_a_change_of_the_rules_is_approved_taken_back_and_pushed_again(team: Team) -> None:
    team.sandbox.commit({"tfops.hcl": team.config(count=0)})
    change = team.sandbox.sync(expect=3).json["rules"]["id"]
    for person in ("alice", "bob"):
        assert team.approve(change, person).code == 0
    time.sleep(1.1)
    team.sandbox.commit({"tfops.hcl": team.config()})
    assert team.sandbox.sync(expect=0).json["rules"] is None
    team.sandbox.commit({"tfops.hcl": team.config(count=0)})
    found = team.sandbox.sync(expect=3).json["rules"]
    assert (found["id"], found["approved_by"]) == (change, [])
    assert "tfops.hcl was taken back in" in json.dumps(found)


def test_attack_of_two_changes_of_the_rules_one_is_approved_and_both_are_pushed(team: Team) -> None:
    first = team.config(people=("alice", "bob", "carol", "dave"))
    team.sandbox.commit({"tfops.hcl": first})
    change = team.sandbox.sync(expect=3).json["rules"]["id"]
    for person in ("alice", "bob"):
        assert team.approve(change, person).code == 0
    team.sandbox.commit({"tfops.hcl": team.config(people=("alice", "bob", "carol", "dave"), count=0)})
    found = team.sandbox.sync(expect=3).json["rules"]
    assert (found["id"] != change, found["approved_by"]) == (True, [])


def _approvals(team: Team, plan_id: str, stack: str = "prod") -> Path:
    return team.sandbox.plan_directory(plan_id, stack) / "approvals"
