"""What people decided stands in the audit log, and is missed where somebody takes it away."""

import shutil
from pathlib import Path

import pytest

from tests.e2e.people import Team
from tests.e2e.sandbox import Sandbox

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("terraform") is None, reason="no terraform on PATH"),
    pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="no ssh-keygen on PATH"),
]


@pytest.fixture
def team(sandbox: Sandbox) -> Team:
    """Alice, bob and carol, and a stack that two of them have to approve."""
    return Team(sandbox=sandbox)


def entries(team: Team, event: str) -> list[dict[str, object]]:
    log = team.sandbox.json("audit", "list").json["entries"]
    return [entry for entry in log if entry["event"] == event]


def approvals(team: Team, plan_id: str) -> list[Path]:
    return sorted((team.sandbox.plan_directory(plan_id, "prod") / "approvals").iterdir())


def waiting(team: Team) -> str:
    team.begin()
    plan_id = team.sandbox.sync(expect=3)["prod"]["plan_id"]
    assert isinstance(plan_id, str)
    return plan_id


def test_each_decision_is_entered_once_by_the_runner_that_first_sees_it(team: Team) -> None:
    plan_id = waiting(team)
    assert team.approve(plan_id, "alice", "--comment", "looked at the database").code == 0
    assert entries(team, "decision") == []
    team.sandbox.sync("--dry-run", expect=3)
    assert entries(team, "decision") == [], "a dry run writes nothing"
    for _ in range(2):
        team.sandbox.sync(expect=3)
    assert team.reject(plan_id, "carol").code == 0
    team.sandbox.sync(expect=3)
    assert team.approve(plan_id, "carol", "--withdraw").code == 0
    assert team.approve(plan_id, "bob").code == 0
    team.sandbox.sync(expect=0)
    found = entries(team, "decision")
    said = [(entry["details"]["person"], entry["details"]["decision"]) for entry in found]  # type: ignore[index]
    assert said[:2] == [("alice", "approved"), ("carol", "rejected")]
    assert said[2:] == [("carol", "withdrawn"), ("bob", "approved")]
    assert found[2]["reason"] == f"carol withdrew {plan_id[:12]}"
    details = found[0]["details"]
    assert (details["plan_id"], details["comment"]) == (plan_id, "looked at the database")  # type: ignore[index]
    assert found[0]["reason"] == f"alice approved {plan_id[:12]}: looked at the database"
    (claim,) = entries(team, "claim")
    assert claim["details"]["approved_by"] == "alice, bob"  # type: ignore[index]
    assert claim["seq"] > found[-1]["seq"], "on record before anything is done because of it"  # type: ignore[operator]
    assert team.sandbox.json("audit", "verify").code == 0


def test_a_rejection_that_somebody_removes_still_stops_the_apply_and_is_found(team: Team) -> None:
    plan_id = waiting(team)
    assert team.reject(plan_id, "carol").code == 0
    team.sandbox.sync(expect=3)
    for file in approvals(team, plan_id):
        file.unlink()
    for person in ("alice", "bob"):
        assert team.approve(plan_id, person).code == 0
    stopped = team.sandbox.sync(expect=3)
    reasons = "\n".join(stopped["prod"]["reasons"])
    assert "1 of the decisions over it that stand in the audit log are gone from the store" in reasons
    assert not team.sandbox.state_file("prod").exists()
    found = team.sandbox.json("audit", "verify")
    assert (found.code, found.errors) == (5, ["audit.broken"])
    assert f"what carol said of {plan_id[:12]} of prod (rejected) is gone" in found.messages


def test_a_rejection_that_somebody_changes_is_as_good_as_removed(team: Team) -> None:
    plan_id = waiting(team)
    assert team.reject(plan_id, "carol").code == 0
    team.sandbox.sync(expect=3)
    (file,) = approvals(team, plan_id)
    changed = file.read_bytes().replace(b'"sig": "', b'"sig": "A')
    file.unlink()
    file.write_bytes(changed)
    for person in ("alice", "bob"):
        assert team.approve(plan_id, person).code == 0
    team.sandbox.sync(expect=3)
    assert "(rejected) is gone" in team.sandbox.json("audit", "verify").messages


def test_removing_the_marks_as_well_leaves_the_log(team: Team) -> None:
    """Who may remove anything can make a plan pass that somebody rejected; that they did so stays on record."""
    plan_id = waiting(team)
    assert team.reject(plan_id, "carol").code == 0
    team.sandbox.sync(expect=3)
    for file in approvals(team, plan_id):
        file.unlink()
    shutil.rmtree(team.sandbox.plan_directory(plan_id, "prod") / "approvals-logged")
    for person in ("alice", "bob"):
        assert team.approve(plan_id, person).code == 0
    team.sandbox.sync(expect=0)
    assert "(rejected) is gone" in team.sandbox.json("audit", "verify").messages


def test_a_mark_that_somebody_forges_keeps_no_decision_out_of_the_log(team: Team) -> None:
    plan_id = waiting(team)
    assert team.reject(plan_id, "carol").code == 0
    marks = team.sandbox.plan_directory(plan_id, "prod") / "approvals-logged"
    marks.mkdir()
    (marks / approvals(team, plan_id)[0].stem).write_bytes(b"")
    team.sandbox.sync(expect=3)
    assert [entry["details"]["person"] for entry in entries(team, "decision")] == ["carol"]  # type: ignore[index]


def test_decisions_over_a_change_of_the_rules_are_entered_too(team: Team) -> None:
    team.begin()
    team.sandbox.sync(expect=3)
    team.sandbox.commit({"tfops.hcl": team.config(count=0)})
    rules = team.sandbox.sync(expect=3).json["rules"]["id"]
    assert team.reject(rules, "carol").code == 0
    team.sandbox.sync(expect=3)
    (entry,) = entries(team, "decision")
    assert (entry["stack"], entry["details"]["plan_id"]) == ("rules-change", rules)  # type: ignore[index]
    (file,) = (team.sandbox.store / "trust" / "decisions" / rules).iterdir()
    file.unlink()
    for person in ("alice", "bob"):
        assert team.approve(rules, person).code == 0
    assert team.sandbox.sync(expect=3).json["rules"]["id"] == rules
    assert "what carol said of" in team.sandbox.json("audit", "verify").messages
