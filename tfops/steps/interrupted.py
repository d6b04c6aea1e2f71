"""What a killed run left behind: claims without a result. Called with the stack's lock held, so that run is dead."""

from tfops.deployment import ResourceResult, Result, resource_results
from tfops.errors import TfopsError
from tfops.steps.applying import Ending, plan_subjects, sign_result
from tfops.steps.opening import Session
from tfops.steps.state import Snapshot
from tfops.steps.surveyed import Surveyed


def close_open_claims(session: Session, surveyed: Surveyed, state: Snapshot, leftover: bytes) -> None:
    """Record every unfinished apply of the stack as interrupted. Never re-uses a plan.

    `leftover` is what Terraform went on saying when nobody was left to journal it.
    """
    stack = surveyed.id
    claims = session.store.open_claims(stack)
    given = {claim.applied_plan_id: claim.plan_id for claim in claims if claim.plan_id != claim.applied_plan_id}
    for claim in sorted(claims, key=lambda claim: claim.plan_id != claim.applied_plan_id):
        applied = session.store.result(stack, claim.applied_plan_id)
        if applied is not None:  # died between recording the plan it applied and the one it was given
            session.store.put_result(stack, claim.plan_id, applied)
            continue
        resources = resource_results(session.store.events(stack, claim.applied_plan_id) + b"\n" + leftover)
        ending = Ending(
            result=Result.INTERRUPTED,
            plan_id=claim.applied_plan_id,
            given_plan_id=given.get(claim.applied_plan_id),
            subjects=plan_subjects(session, stack, claim.plan_id),
            fingerprint="",
            before=_before(session, stack, claim.applied_plan_id, state),
            after=state,
            resources=resources,
            reason=f"run {claim.run_id} (process {claim.pid} on {claim.host}) ended without a result",
            started_on=claim.claimed_on,
        )
        record = sign_result(session, surveyed, ending)
        session.store.put_result(stack, claim.plan_id, record.envelope)
        session.say(stack, _what_happened(claim.plan_id, resources))


def _before(session: Session, stack: str, plan_id: str, state: Snapshot) -> Snapshot:
    """The state its plan was made against, as the plan says; what is there now, where the plan cannot be read."""
    try:
        planned = session.store.plan(stack, plan_id, session.keys).statement.predicate.state
    except TfopsError:
        return state
    return Snapshot(lineage=planned.lineage, serial=planned.serial)


def _what_happened(plan_id: str, resources: tuple[ResourceResult, ...]) -> str:
    done = sum(resource.ok for resource in resources)
    text = f"an earlier run died while applying plan {plan_id[:12]}: {done} of {len(resources)} begun changes finished"
    unfinished = [resource.address for resource in resources if not resource.ok]
    return f"{text}; look at {', '.join(unfinished)}" if unfinished else text
