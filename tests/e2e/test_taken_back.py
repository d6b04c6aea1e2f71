"""Attacks that push again what was approved, merged and taken back: who approved it then said nothing of now."""

import shutil
import time
from collections.abc import Iterator

import pytest

from tests.e2e.people import Team
from tests.e2e.reviewed import Reviewed, begun
from tests.e2e.sandbox import RESOURCE, Result, Sandbox

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="no OpenSSH client"),
]

TWO = RESOURCE.replace("one", "two")
MORE = RESOURCE.replace('"a"', '"b"')


@pytest.fixture
def team(sandbox: Sandbox) -> Team:
    """Three people and a stack that asks two of them, deployed."""
    found = Team(sandbox=sandbox)
    found.deployed()
    return found


def merged(team: Team, files: dict[str, str], name: str = "pr") -> str:
    """A change that alice and bob approved, merged and not applied yet; the plan's id."""
    team.change(name, files)
    plan_id = team.approved(name, "alice", "bob")
    team.merge(name)
    return plan_id


def deployed(team: Team, files: dict[str, str]) -> None:
    """These files, approved and applied."""
    team.sandbox.commit(files)
    for line in team.sandbox.sync(expect=3).json["stacks"]:
        for person in ("alice", "bob"):
            assert team.approve(line["plan_id"], person).code == 0
    team.sandbox.sync(expect=0)


def commit(team: Team, files: dict[str, str | None]) -> str:
    """A commit in a second of its own: Git tells no less."""
    time.sleep(1.1)
    made = team.sandbox.commit(files)
    time.sleep(1.1)
    return made


def reasons(result: Result) -> str:
    assert (result.code, result.outcomes) == (3, {"prod": "waiting"}), result
    return "\n".join(result["prod"]["reasons"])


def test_attack_an_approved_change_is_taken_back_before_it_was_applied_and_pushed_again(team: Team) -> None:
    plan_id = merged(team, {"prod/main.tf": TWO})
    revert = commit(team, {"prod/main.tf": RESOURCE})
    team.sandbox.commit({"prod/main.tf": TWO})
    said = reasons(team.sandbox.sync())
    assert "asks for 2 approvals; there are 0" in said
    assert f"prod/main.tf was taken back in {revert[:12]} after bob approved it: approve it again" in said
    for person in ("alice", "bob"):
        assert team.approve(plan_id, person).code == 0
    assert team.sandbox.sync(expect=0).outcomes == {"prod": "applied"}


def test_attack_something_else_is_deployed_before_what_was_taken_back_is_pushed_again(team: Team) -> None:
    merged(team, {"prod/main.tf": TWO})
    commit(team, {"prod/main.tf": RESOURCE})
    merged(team, {"prod/more.tf": RESOURCE.replace('"a"', '"b"')}, name="other")
    assert team.sandbox.sync(expect=0).outcomes == {"prod": "applied"}
    team.sandbox.commit({"prod/main.tf": TWO})
    assert "after bob approved it: approve it again" in reasons(team.sandbox.sync())


def test_attack_a_file_without_effect_was_taken_back_by_an_approved_change_and_is_pushed_again(team: Team) -> None:
    """Both changed nothing, so no apply has used the approvals up."""
    hook = '  provisioner "local-exec" {\n    command = "sh ${path.module}/hook.sh"\n  }\n}\n'
    code = RESOURCE.replace("one", "zero").replace("}\n", hook)
    deployed(team, {"prod/main.tf": code, "prod/hook.sh": "true\n"})
    for name, text in (("one", "false\n"), ("back", "true\n")):
        team.change(name, {"prod/hook.sh": text})
        planned = team.sandbox.json("plan", "--speculative", "--base", "main", "--head", name)
        for person in ("alice", "bob"):
            assert team.approve(planned["prod"]["plan_id"], person).code == 0
        team.merge(name)
        assert team.sandbox.sync(expect=0).outcomes == {"prod": "converged"}
        time.sleep(1.1)
    team.sandbox.commit({"prod/hook.sh": "false\n"})
    team.sandbox.sync(expect=0)
    merged(team, {"prod/main.tf": code.replace("zero", "two")}, name="honest")
    assert "prod/hook.sh was taken back in" in reasons(team.sandbox.sync())


def test_attack_the_plan_that_waited_was_approved_before_its_change_was_taken_back(team: Team) -> None:
    team.sandbox.commit({"prod/main.tf": TWO})
    plan_id = team.sandbox.sync(expect=3)["prod"]["plan_id"]
    for person in ("alice", "bob"):
        assert team.approve(plan_id, person).code == 0
    commit(team, {"prod/main.tf": RESOURCE})
    assert team.sandbox.sync(expect=0).outcomes == {"prod": "converged"}
    team.sandbox.commit({"prod/main.tf": TWO})
    assert "after bob approved it: approve it again" in reasons(team.sandbox.sync())
    for person in ("alice", "bob"):
        assert team.approve(team.sandbox.sync(expect=3)["prod"]["plan_id"], person).code == 0
    assert team.sandbox.sync(expect=0).outcomes == {"prod": "applied"}


def test_attack_it_was_taken_back_by_a_commit_that_left_something_of_it(team: Team) -> None:
    merged(team, {"prod/main.tf": TWO})
    commit(team, {"prod/main.tf": f"# not now\n{RESOURCE}"})
    team.sandbox.commit({"prod/main.tf": TWO})
    assert "approve it again" in reasons(team.sandbox.sync())


def test_attack_what_was_taken_back_comes_again_below_a_change_that_was_approved_on_top_of_it(team: Team) -> None:
    merged(team, {"prod/main.tf": TWO})
    team.change("more", {"prod/main.tf": f'{TWO}output "x" {{\n  value = 1\n}}\n'})
    team.approved("more", "alice", "bob")
    commit(team, {"prod/main.tf": RESOURCE})
    team.sandbox.commit({"prod/main.tf": f'{TWO}output "x" {{\n  value = 1\n}}\n'})
    assert "approve it again" in reasons(team.sandbox.sync())


def test_attack_a_setting_is_taken_back_and_pushed_again_below_another_change_of_the_configuration(
    sandbox: Sandbox,
) -> None:
    """Settings are lines of one file, which may go on to be another one."""
    team = Team(sandbox=sandbox)
    code = 'variable "x" {\n  default = "one"\n}\n' + RESOURCE.replace('"one"', "var.x")
    deployed(team, {"tfops.hcl": team.config(), "prod/main.tf": code, "prod/x.tfvars": 'x = "two"\n'})
    settings = team.config().replace('roots = ["prod"]', 'roots = ["prod"]\n  var_files = ["x.tfvars"]')
    merged(team, {"tfops.hcl": settings})
    commit(team, {"tfops.hcl": team.config()})
    sandbox.commit({"tfops.hcl": f"# another line\n{settings}"})
    assert "setting var_files was taken back in" in reasons(sandbox.sync())


def test_what_other_files_become_in_between_takes_nothing_back(team: Team) -> None:
    merged(team, {"prod/main.tf": TWO})
    commit(team, {"prod/more.tf": MORE, "README.md": "one\n"})
    commit(team, {"prod/more.tf": None, "README.md": None})
    assert team.sandbox.sync(expect=0).outcomes == {"prod": "applied"}


def test_what_is_approved_once_more_after_it_was_taken_back_is_applied(team: Team) -> None:
    merged(team, {"prod/main.tf": TWO})
    commit(team, {"prod/main.tf": RESOURCE})
    time.sleep(1.1)
    merged(team, {"prod/main.tf": TWO}, name="again")
    assert team.sandbox.sync(expect=0).outcomes == {"prod": "applied"}


def test_attack_a_new_stack_is_approved_taken_back_and_pushed_again(sandbox: Sandbox) -> None:
    team = Team(sandbox=sandbox)
    team.begin()
    plan_id = sandbox.sync(expect=3)["prod"]["plan_id"]
    for person in ("alice", "bob"):
        assert team.approve(plan_id, person).code == 0
    commit(team, {"prod/main.tf": 'output "x" {\n  value = 1\n}\n'})
    sandbox.commit({"prod/main.tf": RESOURCE})
    assert "approve it again" in reasons(sandbox.sync())


def test_attack_the_end_of_a_stack_is_approved_taken_back_and_pushed_again(sandbox: Sandbox) -> None:
    team = Team(sandbox=sandbox)
    config = team.config().replace('roots = ["prod"]', 'roots = ["live/*"]')
    deployed(team, {"tfops.hcl": config, "live/a/main.tf": RESOURCE, "live/b/main.tf": MORE})
    sandbox.commit({"live/b/main.tf": None})
    ending = sandbox.sync("--prune", expect=3)["prod/b"]["plan_id"]
    for person in ("alice", "bob"):
        assert team.approve(ending, person).code == 0
    commit(team, {"live/b/main.tf": MORE})
    assert set(sandbox.sync(expect=0).outcomes.values()) == {"converged"}
    sandbox.commit({"live/b/main.tf": None})
    still = sandbox.sync("--prune", expect=3)
    assert still.outcomes["prod/b"] == "waiting"
    assert "live/b was taken back in" in "\n".join(still["prod/b"]["reasons"])
    assert len(sandbox.resources("prod/b")) == 1
    for person in ("alice", "bob"):
        assert team.approve(still["prod/b"]["plan_id"], person).code == 0
    assert sandbox.sync("--prune", expect=0).outcomes["prod/b"] == "applied"


@pytest.fixture
def github(sandbox: Sandbox) -> Iterator[Reviewed]:
    """A deployed stack whose changes are reviewed on a forge."""
    yield from begun("github", sandbox)


def test_attack_a_reviewed_change_is_taken_back_and_pushed_again(github: Reviewed) -> None:
    github.merge(github.approved("pr", {"prod/main.tf": TWO}, "alice", "bob"))
    commit(github.team, {"prod/main.tf": RESOURCE})
    github.team.sandbox.commit({"prod/main.tf": TWO})
    assert "approve it again" in github.waits()
