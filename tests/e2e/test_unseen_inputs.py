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


def test_attack_a_script_that_no_plan_shows_hides_behind_a_change_that_waits(team: Team) -> None:
    """Who approves a plan that waits approves all that it is made of since the last apply: that is told to each."""
    sandbox = team.sandbox
    sandbox.commit({"prod/hook.sh": evil(team)})
    assert sandbox.sync(expect=0).outcomes == {"prod": "converged"}
    sandbox.commit({"prod/main.tf": TWO})
    waiting = sandbox.sync()
    base, tip = sandbox.git("rev-parse", "--short=12", "HEAD~2"), sandbox.git("rev-parse", "--short=12", "HEAD")
    made_of = (
        "made of, and not approved otherwise: prod/hook.sh, prod/main.tf; see: "
        f"git diff --text {base}..{tip} -- prod/hook.sh prod/main.tf"
    )
    runs = "terraform_data.a runs a provisioner when it is applied (local-exec)"
    assert made_of in waits(team, waiting)
    plan_id = waiting["prod"]["plan_id"]
    for shown in (
        sandbox.tfops("inspect", plan_id).out,
        *(sandbox.tfops("approve", plan_id, "--key", team.key(person)).out for person in ("alice", "bob")),
    ):
        assert made_of in shown
        assert runs in shown
    assert evil(team).strip() in sandbox.git(*made_of.rpartition("see: git ")[2].split())


def test_a_stack_that_is_planned_again_names_what_changed_since_people_approved_it(team: Team) -> None:
    team.sandbox.commit({"prod/hook.sh": "echo\n"})
    assert team.sandbox.sync(expect=0).outcomes == {"prod": "converged"}
    team.change("pr", {"prod/main.tf": TWO})
    plan_id = team.approved("pr", "alice", "bob")
    assert "prod/hook.sh" not in team.sandbox.tfops("inspect", plan_id).out
    team.merge("pr")
    waiting = team.sandbox.sync()
    said = waits(team, waiting)
    assert "not approved otherwise: prod/hook.sh; see: " in said
    for person in ("alice", "bob"):
        assert team.approve(waiting["prod"]["plan_id"], person).code == 0
    applied = team.sandbox.tfops("sync").out
    assert "prod/hook.sh changed" in applied


def test_attack_a_part_of_an_approved_change_is_pushed_without_the_part_that_makes_it_safe(team: Team) -> None:
    sandbox = team.sandbox
    team.change("first", {"prod/main.tf": TWO.replace("sh ${path.module}/hook.sh", "true"), "prod/hook.sh": evil(team)})
    team.approved("first", "alice", "bob")
    team.merge("first")
    sandbox.sync(expect=0)
    plan_id = changed(team)
    sandbox.commit({"prod/main.tf": THREE})
    said = waits(team, sandbox.sync())
    assert f"plan {plan_id[:12]} was approved as a whole, and prod/hook.sh is not as it says: it covers nothing" in said
    sandbox.commit({"prod/hook.sh": "true\n"})
    assert sandbox.sync(expect=0).outcomes == {"prod": "applied"}, "now all of it is there"


def test_attack_a_part_of_an_approved_change_is_taken_back_once_it_is_merged(team: Team) -> None:
    sandbox = team.sandbox
    team.change("first", {"prod/main.tf": TWO.replace("sh ${path.module}/hook.sh", "true"), "prod/hook.sh": evil(team)})
    team.approved("first", "alice", "bob")
    team.merge("first")
    sandbox.sync(expect=0)
    changed(team)
    team.merge("pr")
    sandbox.commit({"prod/hook.sh": evil(team)})
    assert "prod/hook.sh is not as it says" in waits(team, sandbox.sync())


THREE = HOOKED.replace('"one"', '"three"')


def changed(team: Team) -> str:
    """An approved change that calls the script, and makes it harmless; returns the id of its plan."""
    team.change("pr", {"prod/main.tf": THREE, "prod/hook.sh": "true\n"})
    return team.approved("pr", "alice", "bob")


def test_an_approved_change_of_what_another_one_brought_lets_both_through(team: Team) -> None:
    changed(team)
    team.merge("pr")
    team.change("more", {"prod/hook.sh": "echo\n"})
    team.sandbox.commit({"note.txt": "of no stack\n"})
    assert team.sandbox.json("plan", "--speculative", "--base", "main", "--head", "more").code == 2
    team.approved("more", "bob", "carol")
    team.merge("more")
    assert team.sandbox.sync(expect=0).outcomes == {"prod": "applied"}


def test_a_change_that_was_updated_goes_through_by_its_newer_plan(team: Team) -> None:
    changed(team)
    sandbox = team.sandbox
    sandbox.git("checkout", "-q", "pr")
    sandbox.write({"prod/hook.sh": "echo\n"})
    sandbox.git("commit", "-q", "-a", "-m", "better")
    sandbox.git("push", "-q", "origin", "pr")
    sandbox.git("checkout", "-q", "main")
    team.approved("pr", "bob", "carol")
    team.merge("pr")
    assert sandbox.sync(expect=0).outcomes == {"prod": "applied"}


def test_two_approved_changes_go_through_one_after_the_other_though_both_were_planned_before(team: Team) -> None:
    changed(team)
    team.change("other", {"prod/more.tf": 'resource "terraform_data" "b" {}\n', "prod/other.sh": "true\n"})
    team.approved("other", "bob", "carol")
    team.merge("pr")
    assert team.sandbox.sync(expect=0).outcomes == {"prod": "applied"}
    team.merge("other")
    assert team.sandbox.sync(expect=0).outcomes == {"prod": "applied"}


def test_attack_a_script_is_pushed_before_the_stack_reads_it_and_an_honest_change_begins_to(team: Team) -> None:
    """No difference of that change shows the script: so it is told, wherever the change is looked at."""
    sandbox = team.sandbox
    sandbox.commit({"tools/hook.sh": evil(team)})
    assert sandbox.sync(expect=0).outcomes == {"prod": "converged"}
    team.change("pr", {"prod/main.tf": TWO.replace("/hook.sh", "/../tools/hook.sh")})
    told = "begins to read tools/hook.sh, which this change does not touch: read it"
    planned = sandbox.json("plan", "--speculative", "--base", "main", "--head", "pr")["prod"]
    assert told in planned["reasons"]
    plan_id = planned["plan_id"]
    assert told in sandbox.tfops("inspect", plan_id).out
    assert told in sandbox.tfops("approve", plan_id, "--key", team.key("alice")).out
    team.merge("pr")
    said = waits(team, sandbox.sync())
    assert "tools/hook.sh" in said


def test_attack_a_script_that_was_there_before_the_last_apply_is_called_by_a_push(team: Team) -> None:
    """Nor does the difference since the last apply show it."""
    sandbox = team.sandbox
    sandbox.commit({"tools/hook.sh": evil(team)})
    team.change("pr", {"prod/main.tf": TWO})
    team.approved("pr", "alice", "bob")
    team.merge("pr")
    sandbox.sync(expect=0)
    base = sandbox.git("rev-parse", "--short=12", "HEAD")
    sandbox.commit({"prod/main.tf": THREE.replace("/hook.sh", "/../tools/hook.sh")})
    assert f"begins to read tools/hook.sh, which is what it was in {base}: read it" in waits(team, sandbox.sync())


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
