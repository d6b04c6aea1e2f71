"""The plans of one commit that somebody can still decide about."""

from tfops import dsse
from tfops.attestation import PlanPredicate, Purpose, decode_plan
from tfops.deployment import Result
from tfops.errors import UsageError, VerificationError
from tfops.steps.opening import Session

_OPEN = (Purpose.SPECULATIVE, Purpose.SYNC)
_SHORTEST = 7


def open_plans(session: Session, revision: str) -> dict[str, str]:
    """The id of the newest plan of each stack that was made of that commit and is not used up.

    `revision` is what git knows, or the beginning of the commit's id where it is not in this clone. Raises UsageError
    where there is no such plan.
    """
    commit = _commit(session, revision)
    newest = {}
    for stack in session.store.stacks():
        plans = {plan_id: _plan(session, stack, plan_id) for plan_id in session.store.plan_ids(stack)}
        fitting = [
            (plan.finished_on, plan_id)
            for plan_id, plan in plans.items()
            if plan and plan.source.commit.startswith(commit) and plan.purpose in _OPEN
        ]
        used = used_plans(session, stack) if fitting else set()
        usable = [plan_id for _, plan_id in sorted(fitting) if plan_id not in used]
        if usable and not session.store.is_claimed(stack, usable[-1]):
            newest[stack] = usable[-1]
    if not newest:
        raise UsageError(
            f"the store has no plan of {revision} that could still be applied",
            code="plan.not_found",
            hint="`tfops plan --speculative` makes plans of a change; `tfops sync` shows the plans that wait",
        )
    return newest


def used_plans(session: Session, stack: str) -> set[str]:
    """Plans whose approval led to an apply that went well: nobody brings them back after a revert."""
    deployments, _ = session.store.deployments(stack, session.keys)
    return {
        plan_id
        for deployment in deployments
        if deployment.record.result in (Result.APPLIED, Result.DESTROYED)
        for plan_id in (*deployment.record.approved_plans, deployment.record.plan_id, deployment.record.given_plan_id)
        if plan_id
    }


def _commit(session: Session, revision: str) -> str:
    try:
        return session.repository.revision(session.revision.branch, revision).commit
    except UsageError:
        if len(revision) >= _SHORTEST and all(letter in "0123456789abcdef" for letter in revision):
            return revision
        raise


def _plan(session: Session, stack: str, plan_id: str) -> PlanPredicate | None:
    """What a plan says, if a runner that is trusted signed it."""
    data = session.store.statement(stack, plan_id)
    try:
        return decode_plan(dsse.verify(data or b"", session.keys, what=f"plan {plan_id[:12]}")).predicate
    except VerificationError:
        return None
