"""One word about everything that a commit does: each plan gets a signature of its own."""

import shutil

import pytest

from tests.e2e.people import Team
from tests.e2e.sandbox import RESOURCE, Result, Sandbox, environment

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("terraform") is None, reason="no terraform on PATH"),
    pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="no ssh-keygen on PATH"),
]

OTHER = environment("other", count=2)


@pytest.fixture
def team(sandbox: Sandbox) -> Team:
    """Two stacks that two people have to approve; both plans of the first commit wait."""
    return Team(sandbox=sandbox)


def begin(team: Team) -> tuple[str, dict[str, str]]:
    commit = team.sandbox.commit(
        {"tfops.hcl": team.config(extra=OTHER), "prod/main.tf": RESOURCE, "other/main.tf": RESOURCE}
    )
    waiting = team.sandbox.sync(expect=3)
    return commit, {stack: waiting[stack]["plan_id"] for stack in ("prod", "other")}


def decide(team: Team, person: str, *arguments: str, word: str = "approve") -> Result:
    return team.sandbox.json(word, *arguments, "--key", team.key(person))


def test_every_waiting_plan_of_a_commit_is_approved_at_once(team: Team) -> None:
    commit, plans = begin(team)
    done = decide(team, "alice", "--all-of", "main", "--comment", "both")
    assert done.code == 0, done
    assert {entry["stack"]: entry["plan_id"] for entry in done.json["stacks"]} == plans
    assert {entry["missing"] for entry in done.json["stacks"]} == {1}
    text = team.sandbox.tfops("approve", "--all-of", commit[:10], "--key", team.key("bob"))
    assert text.code == 0
    assert text.out.count("that is enough") == 2, text
    assert team.sandbox.sync(expect=0).outcomes == {"prod": "applied", "other": "applied"}
    again = decide(team, "alice", "--all-of", commit)
    assert (again.code, again.errors) == (64, ["plan.not_found"]), "what was applied is not open any more"


def test_of_several_plans_of_a_stack_the_newest_counts(team: Team) -> None:
    commit, plans = begin(team)
    newer = team.sandbox.json("plan", "prod")["prod"]["plan_id"]
    assert newer != plans["prod"]
    done = decide(team, "alice", "--all-of", commit)
    assert done["prod"]["plan_id"] == newer
    assert done["other"]["plan_id"] == plans["other"]


def test_every_plan_for_review_of_a_change_is_approved_at_once(team: Team) -> None:
    begin(team)
    changed = RESOURCE.replace("one", "two")
    head = team.change("change", {"prod/main.tf": changed, "other/main.tf": changed})
    planned = team.sandbox.json("plan", "--speculative", "--base", "main", "--head", head)
    assert planned.code == 2
    shown = team.sandbox.tfops("plan", "--speculative", "--base", "main", "--head", head).out
    assert f"or tfops approve --all-of {head[:12]}" in shown
    planned = team.sandbox.json("plan", "--speculative", "--base", "main", "--head", head)
    done = decide(team, "bob", "--all-of", "change")
    assert {one["stack"]: one["plan_id"] for one in done.json["stacks"]} == {
        one["stack"]: one["plan_id"] for one in planned.json["stacks"]
    }


def test_a_plan_that_somebody_may_not_approve_stops_no_other(team: Team) -> None:
    """Bob wrote what `prod` does first; `other` was deployed since with a change that he did not write."""
    _, plans = begin(team)
    (team.sandbox.plan_directory(plans["prod"], "prod") / "plan.txt").unlink()
    done = decide(team, "alice", "--all-of", "main")
    assert (done.code, done.errors) == (5, ["verify.files"])
    assert [entry["stack"] for entry in done.json["stacks"]] == ["other"]


def test_all_of_a_commit_can_be_rejected(team: Team) -> None:
    commit, _ = begin(team)
    done = decide(team, "carol", "--all-of", commit, "--comment", "not today", word="reject")
    assert done.code == 0
    assert {entry["decision"] for entry in done.json["stacks"]} == {"rejected"}
    assert all(
        "carol rejected it: not today" in "".join(one["reasons"]) for one in team.sandbox.sync(expect=3).json["stacks"]
    )


@pytest.mark.parametrize(
    ("arguments", "codes"),
    [
        (("approve", "--all-of", "nowhere"), ["git.no_revision"]),
        (("approve", "--all-of", "main", "abcdef123456"), ["usage.approve"]),
        (("approve", "--all-of", "main", "--out", "x"), ["usage.approve"]),
        (("reject", "--comment", "no"), ["usage.approve"]),
        (("reject", "abcdef123456", "--all-of", "main", "--comment", "no"), ["usage.approve"]),
    ],
)
def test_what_makes_no_sense_is_a_usage_error(team: Team, arguments: tuple[str, ...], codes: list[str]) -> None:
    team.begin()
    refused = team.sandbox.json(*arguments, "--key", team.key("alice"))
    assert (refused.code, refused.errors) == (64, codes)
