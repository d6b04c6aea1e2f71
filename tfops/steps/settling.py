"""What an earlier apply left open, and what of it can be closed by itself. With the stack held: that run is dead.

Three things can be open: a claim without a result, a state that Terraform could not write, and creations that the
state lacks because Terraform was killed.
"""

import json
from dataclasses import dataclass

from tfops import dsse
from tfops.adapters.hosts import end_left_behind
from tfops.attestation import PlanPredicate, Purpose
from tfops.audit import Event
from tfops.changes import Action, Plan
from tfops.deployment import Claim, Deployment, ResourceResult, Result, decode_deployment, resource_results
from tfops.errors import TfopsError, VerificationError
from tfops.inflight import CREATE, import_block, instances, still_missing
from tfops.steps import audit
from tfops.steps.applying import find_missing
from tfops.steps.errored import refuse_errored
from tfops.steps.opening import Session
from tfops.steps.pushing import settle_errored
from tfops.steps.recording import Ending, close, enter_apply, plan_subjects, sign_result
from tfops.steps.state import Snapshot
from tfops.steps.store import Unfinished, sha256
from tfops.steps.workplace import Leftover, Workplace, current_state, state_data

_CREATING = (Action.CREATE, Action.REPLACE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """How it stands now: the state, which may have been pushed back, and the creations it still lacks."""

    state: Snapshot
    missing: tuple[ResourceResult, ...] = ()
    begun: tuple[ResourceResult, ...] = ()
    plan_id: str | None = None


def settle(session: Session, work: Workplace) -> Settled:
    """Close what can be closed: records, leftover processes, a state that fits; and say what is missing.

    Raises VerificationError `state.errored` where a person must decide about a state.
    """
    stack = work.surveyed.id
    unfinished = session.store.unfinished(stack)
    if unfinished is None:
        work.hold.settled()
        return Settled(state=current_state(session, work))
    end_leftovers(session, stack, unfinished)
    _close_claims(session, work, unfinished)
    _close_log(session, stack, unfinished)
    work.forget_apply()
    is_whole = settle_errored(session, work, _before(session, stack, unfinished))
    begun, missing = _open_creations(session, work, unfinished)
    missing = () if is_whole else missing
    _finish_head(session, stack, unfinished)
    if not missing:
        close(session, work)
    return Settled(state=current_state(session, work), missing=missing, begun=begun, plan_id=unfinished.plan_id)


def look(session: Session, work: Workplace) -> Settled:
    """The same without changing anything. Raises VerificationError `state.errored` where a state waits."""
    stack, state = work.surveyed.id, current_state(session, work)
    unfinished = session.store.unfinished(stack)
    if unfinished is None:
        return Settled(state=state)
    refuse_errored(session, stack)
    begun, missing = _open_creations(session, work, unfinished)
    return Settled(state=state, missing=missing, begun=begun, plan_id=unfinished.plan_id)


def refuse_missing(stack: str, missing: tuple[ResourceResult, ...], plan: Plan) -> None:
    """Raises VerificationError where a plan would create once more what a killed Terraform may have created."""
    creating = {change.address for change in plan.resource_changes if change.action in _CREATING}
    twice = [result for result in missing if result.address in creating]
    if twice:
        known = sum(result.id is not None for result in twice)
        names = ", ".join(result.address for result in twice)
        raise VerificationError(
            f"{stack}: Terraform was killed while it created {names}, and the state does not have them "
            f"({known} with a known id): applying would create them a second time",
            code="state.creations_missing",
            hint=f"tfops recover {stack} names each, with the import block where the id is known",
            stack=stack,
        )


def refuse_unseen(stack: str, missing: tuple[ResourceResult, ...]) -> None:
    """Raises VerificationError where a killed Terraform may have created what no plan to destroy the stack sees."""
    if missing:
        names = ", ".join(result.address for result in missing)
        raise VerificationError(
            f"{stack}: Terraform was killed while it created {names}, and the state does not have them: destroying "
            "the stack would leave them behind",
            code="state.creations_missing",
            hint=f"tfops recover {stack} names each; look whether they exist, and remove them by hand; then: "
            f'tfops recover {stack} --adopt-state --reason "…"',
            stack=stack,
        )


def advice(missing: tuple[ResourceResult, ...]) -> tuple[list[str], list[str]]:
    """Import blocks for the creations whose id is known, and the addresses of those whose id is not."""
    blocks = [block for result in missing if (block := import_block(result)) is not None]
    return blocks, [result.address for result in missing if result.id is None]


def end_leftovers(session: Session, stack: str, unfinished: Unfinished) -> None:
    """End what a dead Terraform left running on this host: a provider would go on creating unseen."""
    if unfinished.run_id in ("", session.run_id):
        return
    end_left_behind(unfinished.run_id, programs=session.programs, say=lambda message: session.say(stack, message))


def _close_claims(session: Session, work: Workplace, unfinished: Unfinished) -> None:
    """Record an apply without a result as interrupted. Its plan is never used again."""
    stack, store = work.surveyed.id, session.store
    for claim in store.open_claims(stack, unfinished):
        applied = store.result(stack, claim.applied_plan_id)
        if applied is not None:  # died between recording the plan it applied and the one it was given
            store.put_result(stack, claim.plan_id, applied)
            continue
        ending = _interrupted(session, work, unfinished, claim)
        record = sign_result(session, work.surveyed, ending)
        for used in dict.fromkeys((claim.applied_plan_id, claim.plan_id)):
            store.put_result(stack, used, record.envelope)
        session.say(stack, _what_happened(claim.applied_plan_id, ending.resources))


def _close_log(session: Session, stack: str, unfinished: Unfinished) -> None:
    """Enter how the apply ended, unless the run that died had come so far."""
    found = _result(session, stack, unfinished)
    if found is None:
        return
    deployment = found[1]
    entries = audit.since(session, unfinished.begun_on)
    if not any(
        one.record.event is Event.APPLY and one.record.details.get("deployment") == deployment.id for one in entries
    ):
        enter_apply(session, deployment.id, deployment.record)


def _interrupted(session: Session, work: Workplace, unfinished: Unfinished, claim: Claim) -> Ending:
    stack, leftover = work.surveyed.id, work.leftover(claim.applied_plan_id)
    journal = session.store.events(stack, claim.applied_plan_id)
    resources = resource_results(journal + b"\n" + leftover.events)
    state = current_state(session, work)
    given, plan = unfinished.given_plan_id, _plan(session, stack, unfinished)
    return Ending(
        result=Result.INTERRUPTED,
        purpose=plan.purpose if plan else Purpose.SYNC,
        plan_id=claim.applied_plan_id,
        given_plan_id=given if given != claim.applied_plan_id else None,
        subjects=plan_subjects(session, stack, claim.plan_id, journal),
        fingerprint="",
        before=_before(session, stack, unfinished) or state,
        after=state,
        resources=resources,
        missing=_missing(session, work, unfinished, resources, leftover),
        reason=f"run {claim.run_id} (process {claim.pid} on {claim.host}) ended without a result",
        started_on=claim.claimed_on,
    )


def _missing(
    session: Session,
    work: Workplace,
    unfinished: Unfinished,
    resources: tuple[ResourceResult, ...],
    leftover: Leftover,
) -> tuple[ResourceResult, ...]:
    """Nothing is missing where it is known that Terraform ended by itself: it wrote its state.

    Where the run was elsewhere its journal may not have arrived: then any creation of its plan may have been begun.
    """
    if leftover.ended:
        return ()
    unseen = () if unfinished.place == work.identity else _planned_creations(session, work.surveyed.id, unfinished)
    begun = {result.address for result in resources if result.action == CREATE}
    return find_missing(session, work, (*resources, *(result for result in unseen if result.address not in begun)))


def _planned_creations(session: Session, stack: str, unfinished: Unfinished) -> tuple[ResourceResult, ...]:
    artifact = session.store.plan(stack, unfinished.plan_id, session.keys)
    changes = json.loads(artifact.files["plan.json"]).get("resource_changes") or []
    return tuple(
        ResourceResult(address=change["address"], action=CREATE, ok=False)
        for change in changes
        if change.get("mode") == "managed" and CREATE in change["change"]["actions"]
    )


def _open_creations(
    session: Session, work: Workplace, unfinished: Unfinished
) -> tuple[tuple[ResourceResult, ...], tuple[ResourceResult, ...]]:
    result = _result(session, work.surveyed.id, unfinished)
    if result is None:
        return (), ()
    record = result[1].record
    if not record.missing:
        return record.resources, ()
    current_state(session, work)  # refuses a state that cannot be read
    data = state_data(session, work)
    unchanged = sha256(data) == record.state_sha256 if data else record.state_sha256 is None
    return record.resources, still_missing(record.missing, instances(data), unchanged=unchanged)


def _result(session: Session, stack: str, unfinished: Unfinished) -> tuple[bytes, Deployment] | None:
    data = session.store.result(stack, unfinished.plan_id) if unfinished.plan_id else None
    if data is None:
        return None
    what = f"the result of plan {unfinished.plan_id[:12]}"
    verified = dsse.verify(data, session.keys, what=what)
    return data, decode_deployment(verified, what=what, stack=stack, store_id=session.store.id)


def _finish_head(session: Session, stack: str, unfinished: Unfinished) -> None:
    """A run that died between its result and the head: the head still is the one it began with."""
    result = _result(session, stack, unfinished)
    if result is None or result[1].record.result not in (Result.APPLIED, Result.DESTROYED):
        return
    head = session.store.head(stack, session.keys)
    if head is None or head.record.finished_on < result[1].record.started_on:
        session.store.move_head(stack, result[0])


def _before(session: Session, stack: str, unfinished: Unfinished) -> Snapshot | None:
    """The state the plan was made against, as the plan says; None where the plan cannot be read."""
    plan = _plan(session, stack, unfinished)
    return Snapshot(lineage=plan.state.lineage, serial=plan.state.serial) if plan else None


def _plan(session: Session, stack: str, unfinished: Unfinished) -> PlanPredicate | None:
    try:
        return session.store.plan(stack, unfinished.plan_id, session.keys).statement.predicate
    except TfopsError:
        return None


def _what_happened(plan_id: str, resources: tuple[ResourceResult, ...]) -> str:
    done = sum(resource.ok for resource in resources)
    text = f"an earlier run died while applying plan {plan_id[:12]}: {done} of {len(resources)} begun changes finished"
    unfinished = [resource.address for resource in resources if not resource.ok]
    return f"{text}; look at {', '.join(unfinished)}" if unfinished else text
