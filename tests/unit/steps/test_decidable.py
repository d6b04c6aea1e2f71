"""A decision that would decide nothing is refused, not kept."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from tfops.approval import Override, Tally, Uncounted
from tfops.config_gate import Approval, Gate, Protect
from tfops.config_policy import Policy
from tfops.deployment import Result
from tfops.errors import RefusedError
from tfops.freezes import Freeze
from tfops.steps.decidable import refuse_idle, refuse_nothing_said, refuse_used

NOBODY = Tally(approved_by=(), rejected_by=(), uncounted=(), missing=1, may_still=("alice",))
GATES = {
    Override.PROTECT: Gate(approval=Approval(count=1), protects=(Protect(replace=True),)),
    Override.FREEZE: Gate(approval=Approval(count=1), freezes=(Freeze(name="weekend"),)),
    Override.POLICY: Gate(approval=Approval(count=1), policies=(Policy(name="cost"),)),
}


def code(error: pytest.ExceptionInfo[RefusedError]) -> str:
    return error.value.problems[0].code


@pytest.mark.parametrize("override", GATES)
def test_only_what_can_hold_a_plan_up_is_overridden(override: Override):
    refuse_idle("prod: plan 1", (override,), GATES[override])
    for others in GATES.values():
        if others is not GATES[override]:
            with pytest.raises(RefusedError, match="there is nothing to override") as refused:
                refuse_idle("prod: plan 1", (override,), others)
            assert code(refused) == "approval.nothing_to_override"


def test_what_somebody_did_outside_may_show_later():
    refuse_idle("prod: plan 1", (Override.DRIFT,), Gate())


def test_a_change_of_the_rules_is_approved_and_nothing_else():
    with pytest.raises(RefusedError, match=r"rules: change 1 is not held up by drift"):
        refuse_idle("rules: change 1", (Override.DRIFT,), None)


def test_who_decided_nothing_has_nothing_to_take_back():
    for tally in (NOBODY, None, replace(NOBODY, approved_by=("bob",))):
        with pytest.raises(RefusedError, match="alice neither approved nor rejected it") as refused:
            refuse_nothing_said("prod: plan 1", "alice", tally)
        assert code(refused) == "approval.nothing_to_withdraw"


def test_what_a_person_decided_can_be_taken_back_also_where_it_does_not_count():
    vote: Any = SimpleNamespace(owner="alice")
    for tally in (
        replace(NOBODY, approved_by=("alice",)),
        replace(NOBODY, rejected_by=("alice",)),
        replace(NOBODY, uncounted=(Uncounted(vote=vote, reason="it expired"),)),
    ):
        refuse_nothing_said("prod: plan 1", "alice", tally)


@pytest.mark.parametrize(("result", "is_over"), [(Result.APPLIED, True), (Result.FAILED, False)])
def test_about_a_plan_that_was_applied_nobody_decides_any_more(result: Result, is_over: bool):
    record = SimpleNamespace(result=result, approved_plans=("a" * 64,), plan_id="b" * 64, given_plan_id=None)
    store = SimpleNamespace(deployments=lambda stack, keys: ([SimpleNamespace(record=record)], []))
    session: Any = SimpleNamespace(store=store, keys={})
    for plan in ("a" * 64, "b" * 64):
        if not is_over:
            refuse_used(session, "prod", plan)
            continue
        with pytest.raises(RefusedError, match="was applied already") as refused:
            refuse_used(session, "prod", plan)
        assert code(refused) == "approval.used"
    refuse_used(session, "prod", "c" * 64)
