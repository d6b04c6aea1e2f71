"""Attacks by taking people out of trust: that needs nobody, so it must not take what they rejected along."""

import shutil

import pytest

from tests.e2e.people import Team
from tests.e2e.sandbox import RESOURCE, Result, Sandbox

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="no OpenSSH client"),
]

TWO = RESOURCE.replace("one", "two")


@pytest.fixture
def team(sandbox: Sandbox) -> Team:
    """Three people and a deployed stack."""
    found = Team(sandbox=sandbox)
    found.deployed()
    return found


def rejected(team: Team) -> str:
    """A change that two people approved and one rejected, merged; it waits. Returns its plan."""
    team.change("pr", {"prod/main.tf": TWO})
    plan_id = team.approved("pr", "alice", "bob")
    assert team.reject(plan_id, "carol", "not on a Friday").code == 0
    team.merge("pr")
    return plan_id


def waits(result: Result) -> str:
    assert (result.code, result.outcomes) == (3, {"prod": "waiting"}), result
    return "\n".join(result["prod"]["reasons"])


@pytest.mark.parametrize("is_read_before", [True, False])
def test_attack_who_rejected_a_change_is_taken_out_of_trust(team: Team, is_read_before: bool) -> None:
    rejected(team)
    if is_read_before:
        assert "carol rejected it: not on a Friday" in waits(team.sandbox.sync())
    team.sandbox.commit({"tfops.hcl": team.config(people=("alice", "bob"))})
    for _ in range(2):
        said = waits(team.sandbox.sync())
        assert "carol rejected it: not on a Friday" in said
    assert "carol rejected it, and may not decide since" in said


def test_attack_who_rejected_a_change_is_revoked(team: Team) -> None:
    rejected(team)
    team.sandbox.commit({"tfops.hcl": team.config(revoked=("carol",))})
    assert "carol rejected it" in waits(team.sandbox.sync())


def test_attack_the_key_is_exchanged_of_who_rejected_a_change(team: Team) -> None:
    rejected(team)
    text = team.config().replace(team.public("carol"), team.public("carol", 2))
    team.sandbox.commit({"tfops.hcl": text})
    assert "carol rejected it" in waits(team.sandbox.sync())


def test_people_who_approve_after_somebody_left_have_the_last_word(team: Team) -> None:
    plan_id = rejected(team)
    team.sandbox.commit({"tfops.hcl": team.config(people=("alice", "bob"))})
    waits(team.sandbox.sync())
    for person, left in (("alice", True), ("bob", False)):
        assert team.approve(plan_id, person).code == 0
        assert ("carol" in str(team.sandbox.sync("--dry-run")["prod"]["reasons"])) is left
    assert team.sandbox.sync(expect=0).outcomes == {"prod": "applied"}


def test_what_somebody_took_back_before_they_left_stands_in_nobodys_way(team: Team) -> None:
    plan_id = rejected(team)
    assert team.approve(plan_id, "carol", "--withdraw").code == 0
    team.sandbox.commit({"tfops.hcl": team.config(people=("alice", "bob"))})
    assert team.sandbox.sync(expect=0).outcomes == {"prod": "applied"}


def test_what_somebody_approved_who_left_does_not_count(team: Team) -> None:
    team.change("pr", {"prod/main.tf": TWO})
    team.approved("pr", "alice", "carol")
    team.merge("pr")
    team.sandbox.commit({"tfops.hcl": team.config(people=("alice", "bob"))})
    assert "1 more needed, from bob" in waits(team.sandbox.sync())
