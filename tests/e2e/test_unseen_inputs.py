"""Attacks on what an approval covers: lines that nobody looked at, laundered through what people did approve."""

import shutil

import pytest

from tests.e2e.people import Team
from tests.e2e.sandbox import Result, Sandbox

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="no OpenSSH client"),
]

HOOKED = """
resource "terraform_data" "a" {
  triggers_replace = "one"
  # far enough

  # from the line

  # below to merge

  provisioner "local-exec" {
    command = "sh ${path.module}/hook.sh"
  }
}
"""
TWO = HOOKED.replace('"one"', '"two"')


@pytest.fixture
def team(sandbox: Sandbox) -> Team:
    """Three people and a stack that runs a script whenever its object is made; deployed."""
    found = Team(sandbox=sandbox)
    sandbox.commit({"tfops.hcl": found.config(), "prod/main.tf": HOOKED, "prod/hook.sh": "true\n"})
    plan_id = sandbox.sync(expect=3)["prod"]["plan_id"]
    for person in ("alice", "bob"):
        assert found.approve(plan_id, person).code == 0
    sandbox.sync(expect=0)
    return found


def evil(team: Team) -> str:
    """A script that shows that it ran."""
    return f"touch {team.sandbox.directory}/evil\n"


def waits(team: Team, result: Result) -> str:
    assert not (team.sandbox.directory / "evil").exists(), result
    assert (result.code, result.outcomes) == (3, {"prod": "waiting"}), result
    return "\n".join(result["prod"]["reasons"])


def test_attack_a_script_is_changed_while_no_plan_shows_it_and_runs_with_the_next_approved_change(team: Team) -> None:
    """The sync in between has nothing to do: that nobody was asked must not make the script one that people saw."""
    team.sandbox.commit({"prod/hook.sh": evil(team)})
    assert team.sandbox.sync(expect=0).outcomes == {"prod": "converged"}
    team.change("pr", {"prod/main.tf": TWO})
    team.approved("pr", "alice", "bob")
    team.merge("pr")
    waiting = team.sandbox.sync()
    assert "prod/hook.sh is as no approved plan has it" in waits(team, waiting)


def test_attack_a_line_is_pushed_below_an_approved_change_of_the_same_file(team: Team) -> None:
    """Whoever reads the change sees its own lines only: what the file was before, nobody looked at."""
    team.sandbox.commit({"prod/main.tf": HOOKED.replace("sh ${path.module}/hook.sh", evil(team).strip())})
    team.change("pr", {"prod/main.tf": (team.sandbox.clone / "prod/main.tf").read_text().replace('"one"', '"two"')})
    team.approved("pr", "alice", "bob")
    team.merge("pr")
    assert "prod/main.tf is as no approved plan has it" in waits(team, team.sandbox.sync())


def test_attack_a_change_is_planned_and_approved_for_another_branch_and_merged_into_this_one(team: Team) -> None:
    """What merging it makes there holds lines that are not its own, and not of this branch."""
    sly = HOOKED.replace("sh ${path.module}/hook.sh", evil(team).strip())
    config = team.config().replace('branch = "main"', 'branch = "sly"')
    team.change("sly", {"prod/main.tf": sly, "tfops.hcl": config})
    team.change("pr", {"prod/main.tf": TWO})
    planned = team.sandbox.json("plan", "--speculative", "--base", "sly", "--head", "pr")
    for person in ("alice", "bob"):
        assert team.approve(planned["prod"]["plan_id"], person, "--branch", "sly").code == 0
    team.merge("pr")
    team.sandbox.commit({"prod/main.tf": sly.replace('"one"', '"two"')})
    assert "there are 0" in waits(team, team.sandbox.sync())


def test_what_is_approved_while_it_changes_nothing_is_approved_from_then_on(team: Team) -> None:
    team.change("one", {"prod/hook.sh": "echo\n", "prod/more.tf": 'output "x" {\n  value = 1\n}\n'})
    team.approved("one", "alice", "bob")
    team.merge("one")
    assert team.sandbox.sync(expect=0).outcomes == {"prod": "applied"}
    team.change("pr", {"prod/main.tf": TWO})
    team.approved("pr", "alice", "carol")
    team.merge("pr")
    assert team.sandbox.sync(expect=0).outcomes == {"prod": "applied"}


def test_two_approved_changes_of_one_file_of_which_the_later_was_made_on_the_earlier_go_through_together(
    team: Team,
) -> None:
    team.change("one", {"prod/main.tf": TWO})
    team.approved("one", "alice", "bob")
    team.merge("one")
    team.change("more", {"prod/main.tf": TWO + 'output "x" {\n  value = 1\n}\n'})
    team.approved("more", "bob", "carol")
    team.merge("more")
    assert team.sandbox.sync(expect=0).outcomes == {"prod": "applied"}
