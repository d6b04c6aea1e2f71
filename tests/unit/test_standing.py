"""Who of the rules in force still counts, and why not."""

from datetime import UTC, datetime

import pytest

from tests.unit.test_trust import approver, config, runner
from tfops.standing import machines, people

NOW = datetime(2026, 6, 1, tzinfo=UTC)
ALICE = approver("alice", github="alice")
EXPIRED = ALICE.replace("\n}", '\n  valid_until = "2026-01-04T08:00:00Z"\n}')


@pytest.mark.parametrize(
    ("rules", "head", "void"),
    [
        (ALICE, ALICE, ""),
        (approver("alice", revoked=True), ALICE, "revoked"),
        (ALICE, approver("alice", revoked=True), "revoked by the branch"),
        (ALICE, "", "gone from the branch"),
        (EXPIRED, EXPIRED, "expired 2026-01-04 08:00Z"),
        (ALICE, EXPIRED, "expired 2026-01-04 08:00Z"),
    ],
)
def test_of_whom_nothing_counts_it_is_said_why(rules: str, head: str, void: str):
    (person,) = people(config({"prod": 1}, rules), config({"prod": 1}, head), NOW)
    assert person.void == void
    assert len(person.approver.every_key) == 1, "the key is shown all the same"


def test_of_whom_the_branch_took_a_key_only_what_is_left_is_shown():
    less = approver("alice", github="alice", key=False)
    (person,) = people(config({"prod": 1}, ALICE), config({"prod": 1}, less), NOW)
    assert (person.void, person.approver.every_key, person.approver.logins) == ("", (), (("github", "alice"),))


def test_a_runner_that_the_branch_does_not_name_any_more_is_gone():
    found = machines(config({"prod": 1}, runner("ci") + "\n" + runner("old")).runners, {"ci"})
    assert [one.void for one in found] == ["", "gone from the branch"]
