"""Decisions that would decide nothing: they are refused rather than kept for ever without any effect."""

from collections.abc import Collection

from tfops.approval import Override, Tally
from tfops.config_gate import Gate
from tfops.errors import RefusedError
from tfops.steps.opening import Session
from tfops.steps.plans_of import used_plans


def refuse_used(session: Session, stack: str, plan_id: str) -> None:
    """Raises RefusedError `approval.used` where the plan led to an apply that went well: it is over."""
    if plan_id in used_plans(session, stack):
        raise RefusedError(
            f"{stack}: plan {plan_id[:12]} was applied already: nobody can decide about it any more",
            code="approval.used",
            hint=f"tfops history {stack} shows what became of it",
            stack=stack,
        )


def refuse_idle(subject: str, overrides: Collection[Override], gate: Gate | None) -> None:
    """Raises RefusedError `approval.nothing_to_override` where the gate has nothing of that kind to let it pass by.

    Without a gate it is a change of the rules, which approvals alone decide about.
    """
    idle = [one.value for one in overrides if not (gate and _has(gate, one))]
    if idle:
        raise RefusedError(
            f"{subject} is not held up by {' or '.join(idle)}: there is nothing to override",
            code="approval.nothing_to_override",
            hint="approve it without --override; `tfops trust` shows what each environment asks for",
        )


def refuse_nothing_said(subject: str, person: str, tally: Tally | None) -> None:
    """Raises RefusedError `approval.nothing_to_withdraw` where the person decided nothing that still stands."""
    uncounted = [one.vote.owner for one in tally.uncounted] if tally else []
    if tally is None or person not in (*tally.approved_by, *tally.rejected_by, *uncounted):
        raise RefusedError(
            f"{subject}: {person} neither approved nor rejected it: there is nothing to take back",
            code="approval.nothing_to_withdraw",
            hint="look at the plan's id, and at whose key it is: --key",
        )


def _has(gate: Gate, override: Override) -> bool:
    match override:
        case Override.PROTECT:
            return bool(gate.protects)
        case Override.FREEZE:
            return bool(gate.freezes)
        case Override.POLICY:
            return bool(gate.policies)
        case Override.DRIFT:
            return True  # what somebody did outside shows when it is applied
