"""The gate gives all its reasons at once, and opens only where nothing at all stands in the way."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfops.config import Approval
from tfops.gate import Decision, decide

APPROVALS = st.none() | st.builds(Approval, count=st.integers(min_value=0, max_value=9))


def test_a_count_of_zero_opens_the_gate():
    assert decide(environment="prod", approval=Approval(count=0)) == Decision(allowed=True)


def test_without_an_approval_block_nothing_is_applied_automatically():
    decision = decide(environment="prod", approval=None)
    assert not decision.allowed
    assert decision.reasons[0].startswith('environment "prod" names no approval block')
    assert decision.reasons[0].endswith("say approval { count = 0 } to apply without one")


@pytest.mark.parametrize(("count", "words"), [(1, "1 approval;"), (2, "2 approvals;")])
def test_approvals_that_are_asked_for_are_never_taken_for_granted(count, words):
    decision = decide(environment="prod", approval=Approval(count=count))
    assert not decision.allowed
    assert words in decision.reasons[0]


@given(APPROVALS, st.lists(st.text(min_size=1)))
def test_a_closed_gate_has_reasons_and_an_open_one_has_none(approval, blocked_by):
    decision = decide(environment="e", approval=approval, blocked_by=iter(blocked_by))
    assert decision.allowed is not bool(decision.reasons)


@given(APPROVALS, st.lists(st.text(min_size=1)))
def test_what_blocks_is_reported_first_and_never_lost(approval, blocked_by):
    decision = decide(environment="e", approval=approval, blocked_by=blocked_by)
    assert list(decision.reasons[: len(blocked_by)]) == blocked_by


@given(APPROVALS, st.lists(st.text(min_size=1)), st.text(min_size=1))
def test_one_more_obstacle_never_opens_a_gate(approval, blocked_by, more):
    before = decide(environment="e", approval=approval, blocked_by=blocked_by)
    after = decide(environment="e", approval=approval, blocked_by=[*blocked_by, more])
    assert not after.allowed
    assert set(before.reasons) <= set(after.reasons)
