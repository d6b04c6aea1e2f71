"""Attacks of those who wrote a stack that is new: nobody lets through what they wrote themselves."""

import shutil

import pytest

from tests.e2e.people import Team
from tests.e2e.sandbox import RESOURCE, Result, Sandbox

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="no OpenSSH client"),
]

OLD, NEW = "prod/old", "prod/new"
TWO = RESOURCE.replace("one", "two")


@pytest.fixture
def team(sandbox: Sandbox) -> Team:
    """Three people, and an environment that asks one of them, whose first stack is deployed."""
    found = Team(sandbox=sandbox)
    text = found.config(count=1).replace('roots = ["prod"]', 'roots = ["live/*"]')
    sandbox.commit({"tfops.hcl": text, "live/old/main.tf": RESOURCE})
    assert found.approve(sandbox.sync(expect=3)[OLD]["plan_id"], "alice").code == 0
    sandbox.sync(expect=0)
    return found


def commit_by(team: Team, person: str, files: dict[str, str], *more: str) -> None:
    """A commit on main that this person wrote and committed, pushed."""
    who = {f"GIT_{role}_{part}": value for role in ("AUTHOR", "COMMITTER") for part, value in _identity(person)}
    team.sandbox.write(files)
    team.sandbox.git("add", "-A")
    team.sandbox.git("commit", "-q", "-m", f"by {person}", *more, env=who)
    team.sandbox.git("push", "-q", "origin", "HEAD")


def _identity(person: str) -> tuple[tuple[str, str], ...]:
    return (("NAME", person), ("EMAIL", f"{person}@example.org"))


def own_work(result: Result) -> bool:
    return (result.code, result.errors) == (3, ["approval.own_work"])


def written_in_three(team: Team) -> str:
    """A new stack that alice wrote, and to which bob put the last, trivial commit; the id of the plan that waits."""
    commit_by(team, "alice", {"live/new/main.tf": RESOURCE})
    commit_by(team, "alice", {"live/new/more.tf": RESOURCE.replace('"a"', '"b"')})
    commit_by(team, "bob", {"live/new/notes.tf": "# looks good\n"})
    waiting = team.sandbox.sync(expect=3)
    assert waiting.outcomes == {OLD: "converged", NEW: "waiting"}
    plan_id = waiting[NEW]["plan_id"]
    assert isinstance(plan_id, str)
    return plan_id


def test_attack_somebody_writes_a_new_stack_lets_another_one_make_the_last_commit_and_approves_it(team: Team) -> None:
    plan_id = written_in_three(team)
    refused = team.approve(plan_id, "alice")
    assert own_work(refused), refused
    assert "alice wrote or committed" in refused.messages
    assert own_work(team.approve(plan_id, "bob"))
    assert team.approve(plan_id, "carol").code == 0
    assert team.sandbox.sync(expect=0).outcomes[NEW] == "applied"


def test_attack_a_new_stack_is_written_on_a_branch_and_merged_below_somebody_elses_commit(team: Team) -> None:
    team.change("mine", {"live/new/main.tf": RESOURCE}, author="alice")
    team.merge("mine")
    commit_by(team, "bob", {"README.md": "hello\n"})
    assert own_work(team.approve(team.sandbox.sync(expect=3)[NEW]["plan_id"], "alice"))


def test_attack_the_clone_is_shallow_so_that_it_lacks_who_wrote_the_new_stack(team: Team) -> None:
    plan_id = written_in_three(team)
    shallow = team.sandbox.directory / "shallow"
    sandbox = team.sandbox
    sandbox.git("clone", "-q", "--depth", "1", f"file://{sandbox.origin}", str(shallow), cwd=sandbox.directory)
    refused = sandbox.json("-C", shallow, "approve", plan_id, "--key", team.key("alice"))
    assert own_work(refused), refused


def test_who_touched_other_files_or_wrote_what_is_older_than_the_rules_may_approve_a_new_stack(team: Team) -> None:
    """Else a small team could never deploy anything for the first time."""
    commit_by(team, "alice", {"README.md": "by alice\n", "live/old/notes.tf": "# alice\n"})
    commit_by(team, "bob", {"live/new/main.tf": RESOURCE})
    plan_id = team.sandbox.sync(expect=3)[NEW]["plan_id"]
    assert team.approve(plan_id, "alice").code == 0


def test_what_was_there_before_tfops_was_set_up_is_nobodys_own_work(sandbox: Sandbox) -> None:
    team = Team(sandbox=sandbox)
    sandbox.write({"prod/main.tf": RESOURCE})
    commit_by(team, "alice", {"prod/main.tf": RESOURCE})
    sandbox.commit({"tfops.hcl": team.config(count=1)})
    plan_id = sandbox.sync(expect=3)["prod"]["plan_id"]
    assert team.approve(plan_id, "alice").code == 0
    assert sandbox.sync(expect=0).outcomes == {"prod": "applied"}


@pytest.fixture
def busy(sandbox: Sandbox) -> Team:
    """Three people whose stack two of them approve, each of whom wrote of other things since."""
    found = Team(sandbox=sandbox)
    found.deployed()
    for person in ("alice", "bob", "carol"):
        commit_by(found, person, {f"docs/{person}.md": person})
    return found


def test_who_wrote_of_other_things_since_the_last_deployment_may_approve_the_plan_that_waits(busy: Team) -> None:
    commit_by(busy, "alice", {"prod/main.tf": TWO})
    plan_id = busy.sandbox.sync(expect=3)["prod"]["plan_id"]
    assert own_work(busy.approve(plan_id, "alice"))
    for person in ("bob", "carol"):
        assert busy.approve(plan_id, person).code == 0
    assert busy.sandbox.sync(expect=0).outcomes == {"prod": "applied"}


def test_who_wrote_of_other_things_since_the_last_rules_may_approve_a_change_of_them(busy: Team) -> None:
    commit_by(busy, "alice", {"tfops.hcl": busy.config(count=1)})
    waiting = busy.sandbox.sync(expect=3).json["rules"]["id"]
    assert own_work(busy.approve(waiting, "alice"))
    for person in ("bob", "carol"):
        assert busy.approve(waiting, person).code == 0
    assert busy.sandbox.sync(expect=0).json["rules"] is None


def test_attack_somebody_elses_commit_renames_what_the_approver_wrote_elsewhere(busy: Team) -> None:
    commit_by(busy, "alice", {"notes/later.tf": TWO.replace('"a"', '"b"')})
    (busy.sandbox.clone / "notes/later.tf").rename(busy.sandbox.clone / "prod/later.tf")
    commit_by(busy, "bob", {})
    plan_id = busy.sandbox.sync(expect=3)["prod"]["plan_id"]
    assert own_work(busy.approve(plan_id, "alice"))
    assert own_work(busy.approve(plan_id, "bob"))
    assert busy.approve(plan_id, "carol").code == 0


def test_attack_the_approver_deleted_a_file_of_the_stack(busy: Team) -> None:
    commit_by(busy, "bob", {"prod/main.tf": TWO, "prod/more.tf": RESOURCE.replace('"a"', '"b"')})
    plan_id = busy.sandbox.sync(expect=3)["prod"]["plan_id"]
    for person in ("alice", "carol"):
        assert busy.approve(plan_id, person).code == 0
    busy.sandbox.sync(expect=0)
    (busy.sandbox.clone / "prod/more.tf").unlink()
    commit_by(busy, "alice", {})
    assert own_work(busy.approve(busy.sandbox.sync(expect=3)["prod"]["plan_id"], "alice"))


def test_attack_the_approver_put_something_into_a_merge_of_two_others(busy: Team) -> None:
    busy.change("side", {"prod/more.tf": RESOURCE.replace('"a"', '"b"')}, author="bob")
    busy.sandbox.git("merge", "-q", "--no-ff", "--no-commit", "side")
    commit_by(busy, "alice", {"prod/main.tf": TWO})
    assert own_work(busy.approve(busy.sandbox.sync(expect=3)["prod"]["plan_id"], "alice"))


def test_attack_the_approver_wrote_the_settings_that_the_stack_now_has(busy: Team) -> None:
    text = busy.config().replace('roots = ["prod"]', 'roots = ["prod"]\n  var_files = ["more.tfvars"]')
    commit_by(busy, "bob", {"prod/more.tfvars": "", "prod/main.tf": TWO})
    commit_by(busy, "alice", {"tfops.hcl": text})
    plan_id = busy.sandbox.sync(expect=3)["prod"]["plan_id"]
    assert own_work(busy.approve(plan_id, "alice"))
    assert busy.approve(plan_id, "carol").code == 0
