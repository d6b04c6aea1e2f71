"""The road of one stack once it is not converged: plan, store, verify, gate, claim, apply, record."""

from dataclasses import replace

from tfops.adapters.terraform import PlanMode
from tfops.attestation import Purpose
from tfops.audit import Event
from tfops.changes import parse_plan
from tfops.conflicts import conflicts, hides_drift
from tfops.deployment import Result, baseline
from tfops.errors import RefusedError, TfopsError, VerificationError
from tfops.fingerprint import changes_between
from tfops.steps import audit as audit_log
from tfops.steps.applying import Approvals, apply_plan, check_artifact, expected_of
from tfops.steps.consenting import is_agreed
from tfops.steps.former import refuse_lost
from tfops.steps.hold import Hold
from tfops.steps.inputs_archive import unpack
from tfops.steps.judging import judge
from tfops.steps.orphans import refuse_look_alike
from tfops.steps.outcome import Outcome, StackRun, StackSync
from tfops.steps.planning import Planned, change_refs, make_plan, sign_plan
from tfops.steps.recording import close, record_convergence, record_nothing_left
from tfops.steps.settling import Settled, look, refuse_missing, refuse_unseen, settle
from tfops.steps.state import Snapshot, check_integrity
from tfops.steps.store import STATEMENT, PlanArtifact, open_artifact
from tfops.steps.surveyed import snapshot
from tfops.steps.trusting import gate_for
from tfops.steps.unapproved import suspicion
from tfops.steps.untrusted import check_code, check_downloaded, withheld
from tfops.steps.workplace import (
    Workplace,
    initialise,
    make_workspace,
    state_lock,
    workplace,
)


def reconcile(stack: StackRun, hold: Hold) -> StackSync:
    """Plan the stack that is held, and do what the plan and the gate allow. Raises what goes wrong.

    Where the stack was lost meanwhile, that is what went wrong.
    """
    try:
        return _reconcile(stack, hold)
    except TfopsError as error:
        why = hold.why_lost()
        if why is None or isinstance(error, type(why)):
            raise
        raise why from error


def _reconcile(stack: StackRun, hold: Hold) -> StackSync:
    session = stack.session
    wait = stack.options.lock_wait_seconds
    suspected = suspicion(stack)
    check_code(session, stack.surveyed, suspected)
    hidden = withheld(suspected)
    with workplace(session, stack.surveyed, purpose="sync", hold=hold, withheld=hidden, wait_seconds=wait) as work:
        stack.work = work
        initialise(session, work)
        check_downloaded(session, work, suspected)
        if stack.options.dry_run:
            return _plan_and_apply(stack, work)
        if stack.is_new:
            make_workspace(session, work)
        with state_lock(session, work, wait_seconds=wait) as locked:
            stack.work = locked
            return _plan_and_apply(stack, locked)


def _plan_and_apply(stack: StackRun, work: Workplace) -> StackSync:
    session = stack.session
    settled = _settled(stack, work)
    state = stack.state = settled.state
    check_integrity(stack.id, stack.head.record if stack.head else None, state, address=str(stack.surveyed.address))
    if stack.is_new:
        _check_first(stack, settled)
    given = stack.options.given
    if given is not None:
        session.store.refuse_claimed(stack.id, given.id)
        check_artifact(given, expected_of(session, stack.surveyed, stack.fingerprint, state), stack.purpose)
    elif (waiting := _still_waiting(stack, state)) is not None:
        return waiting
    stack.planned = _plan(stack, work, settled)
    if stack.planned is None:
        return _converge(stack, state, settled)
    refuse_missing(stack.id, settled.missing, stack.planned.plan)
    if stack.is_new and not state.holds_something and not stack.options.as_new:
        refuse_look_alike(session, stack.surveyed, stack.live, stack.planned.plan)
    changes = change_refs(stack.planned.change_set.entries)
    judged = judge(
        stack,
        stack.planned.plan,
        stack.planned.redacted,
        changes,
        lambda: given or _waiting_with(stack, changes),
    )
    decision = judged.decision
    if stack.options.dry_run:
        return stack.result(Outcome.PENDING if decision.allowed else Outcome.WAITING, reasons=decision.reasons)
    if given is not None:
        said = change_refs(given.statement.predicate.change_set)
        _refuse_other_changes(stack, stack.planned, said, f"plan {given.id[:12]} says")
    if stack.judged is not None:
        _refuse_other_changes(stack, stack.planned, change_refs(stack.judged.entries), "was judged a moment ago")
    if not decision.allowed:
        return _wait(stack, stack.planned, state, decision.reasons)
    return _apply(stack, work, _store_plan(stack, stack.planned), state, judged.approvals)


def _plan(stack: StackRun, work: Workplace, settled: Settled) -> Planned | None:
    mode = PlanMode.CODE
    if stack.purpose is Purpose.PRUNE:
        refuse_unseen(stack.id, settled.missing)
        mode = PlanMode.DESTROY
    return make_plan(stack.session, work, settled.state, lock=not work.state_locked, mode=mode)


def _settled(stack: StackRun, work: Workplace) -> Settled:
    """What an earlier apply left open is closed as far as that goes by itself; a dry run only looks."""
    if not stack.options.dry_run:
        settled = settle(stack.session, work)
        if settled.plan_id is not None:
            stack.head = stack.session.store.head(stack.id, stack.session.keys)
        return settled
    return look(stack.session, work)


def _check_first(stack: StackRun, settled: Settled) -> None:
    """A stack without a head must really be one that was never deployed, and no other one's new name."""
    session = stack.session
    if stack.head is None:
        _refuse_lost_head(stack, settled)
    if settled.state.holds_something:
        refuse_lost(session, stack.surveyed)


def _refuse_lost_head(stack: StackRun, settled: Settled) -> None:
    session = stack.session
    _refuse_second_state(stack)
    if not session.store.is_known(stack.id):
        return
    deployments, errors = session.store.deployments(stack.id, session.keys)
    if errors or any(deployment.record.result is Result.APPLIED for deployment in deployments):
        raise VerificationError(
            f"{stack.id} was deployed before, but its head is gone from the store",
            code="store.head_missing",
            hint=f"restore the store; if its state is right as it is: tfops recover {stack.id} --adopt-state "
            '--reason "…"',
            stack=stack.id,
        )
    known_missing = {result.address for result in settled.missing}  # judged by what the plan does about them
    made = [r.address for d in deployments for r in d.record.resources if r.ok and r.action == "create"]
    made = [address for address in made if address not in known_missing]
    if made and not settled.state.holds_something:
        raise VerificationError(
            f"{stack.id}: an earlier apply made {', '.join(made[:3])}{' …' if made[3:] else ''}, and there is no state",
            code="state.missing",
            hint=f'restore the state; if nothing of it exists: tfops recover {stack.id} --adopt-state --reason "…"',
            stack=stack.id,
        )


def _refuse_second_state(stack: StackRun) -> None:
    """A renamed stack takes its old name's state over; one it got under the new name must not be left behind."""
    state = stack.surveyed.state
    own = stack.session.place.managed_state(stack.id, stack.surveyed.stack.workspace)
    if state is None or own.where == state.where or not stack.surveyed.is_managed:
        return
    if own.snapshot(stack=stack.id).exists:
        raise VerificationError(
            f"{stack.id} has a state of its own, and `moved` says that it takes another one over: "
            f"{own.where} would be left behind with all it holds",
            code="state.two_states",
            hint="bring the resources of one state into the other (terraform state mv), or take `moved` away",
            stack=stack.id,
        )


def _converge(stack: StackRun, state: Snapshot, settled: Settled) -> StackSync:
    stack.session.say(stack.id, "nothing to do")
    if stack.options.dry_run:
        return stack.result(Outcome.CONVERGED)
    # Terraform may have written the state (a first one, with no resources) while it planned: look again.
    after = snapshot(stack.surveyed) or state
    if stack.purpose is Purpose.PRUNE:
        record_nothing_left(stack.session, stack.surveyed, after, started_on=stack.started_on)
        return stack.result(Outcome.CONVERGED)
    line = (
        None
        if is_agreed(stack, gate_for(stack.session, stack.surveyed, lineage=stack.lineage))
        else baseline(stack.head)
    )
    record_convergence(
        stack.session, stack.surveyed, stack.fingerprint, after, started_on=stack.started_on, baseline=line
    )
    if settled.missing:
        assert stack.work is not None  # noqa: S101
        close(stack.session, stack.work)  # the code wants none of what may be missing
    return stack.result(Outcome.CONVERGED)


def _store_plan(stack: StackRun, planned: Planned) -> PlanArtifact:
    """Sign and store, then take the statement back and verify it: what is applied is what was recorded."""
    session = stack.session
    signed = sign_plan(session, stack.surveyed, planned, stack.fingerprint, stack.purpose)
    session.store.put_plan(stack.id, signed.id, signed.files, signed.envelope)
    stack.plan_id = signed.id
    recorded = session.store.statement(stack.id, signed.id) or b""
    return open_artifact({**signed.files, STATEMENT: recorded}, session.keys, where=f"plan {signed.id[:12]}")


def _apply(
    stack: StackRun, work: Workplace, artifact: PlanArtifact, state: Snapshot, approvals: Approvals
) -> StackSync:
    session, given = stack.session, stack.options.given
    assert stack.planned is not None  # noqa: S101
    check_artifact(artifact, expected_of(session, stack.surveyed, stack.fingerprint, state), stack.purpose)
    for override, people in approvals.overrides.items():
        who = ", ".join(people)
        details = {"part": override, "plan_id": artifact.id, "approved_by": who}
        reason = f"{who} let plan {artifact.id[:12]} pass by {override}"
        audit_log.record(session, Event.OVERRIDE_GATE, stack.id, reason=reason, details=details)
    applied = apply_plan(
        session,
        work,
        artifact,
        stack.fingerprint,
        stack.planned.secrets,
        before=state,
        given_plan_id=given.id if given else None,
        approvals=approvals,
    )
    if applied.error is None:
        session.say(stack.id, "destroyed" if stack.purpose is Purpose.PRUNE else "applied")
        return stack.result(Outcome.APPLIED, deployment=applied.deployment)
    session.say(stack.id, "failed")
    return stack.result(
        Outcome.FAILED,
        reasons=(str(applied.error),),
        deployment=applied.deployment,
        error=applied.error,
    )


def _wait(stack: StackRun, planned: Planned, state: Snapshot, reasons: tuple[str, ...]) -> StackSync:
    """Keep the plan for people to look at; where one that says just the same waits already, that one goes on."""
    known = _waiting_plan(stack, state)
    changes = change_refs(planned.change_set.entries)
    if known is not None and change_refs(known.statement.predicate.change_set) == changes:
        stack.plan_id = known.id
    else:
        stack.session.store.note_waiting(stack.id, _store_plan(stack, planned).id)
    stack.session.say(stack.id, f"waiting: {reasons[0]}")
    return stack.result(Outcome.WAITING, reasons=reasons)


def _still_waiting(stack: StackRun, state: Snapshot) -> StackSync | None:
    """A plan that waits for approval is not made again on every run, as long as it would come out the same.

    One that is in conflict with reality is: somebody may have settled that since, and no fingerprint would tell.
    """
    session = stack.session
    is_open = stack.options.dry_run or gate_for(session, stack.surveyed, lineage=stack.lineage).is_open
    artifact = None if is_open else _waiting_plan(stack, state)
    if artifact is None:
        return None
    predicate = artifact.statement.predicate
    redacted, plan = parse_plan(artifact.files["plan.json"])
    if hides_drift(plan) or conflicts(plan, stack=stack.id):
        return None
    decision = judge(stack, plan, redacted, change_refs(predicate.change_set), lambda: artifact).decision
    if decision.allowed:
        return None
    stack.plan_id = artifact.id
    session.say(stack.id, f"still waiting, plan {artifact.id[:12]}")
    return replace(
        stack.result(Outcome.WAITING, reasons=decision.reasons),
        change_digest=predicate.change_digest,
        summary=predicate.summary,
    )


def _waiting_plan(stack: StackRun, state: Snapshot) -> PlanArtifact | None:
    """The plan that waits, if it could be applied now; None where there is none, or another one is asked for."""
    session = stack.session
    plan_id = None if stack.options.replan else session.store.waiting_plan(stack.id)
    if plan_id is None:
        return None
    try:
        session.store.refuse_claimed(stack.id, plan_id)
        artifact = session.store.plan(stack.id, plan_id, session.keys)
        check_artifact(artifact, expected_of(session, stack.surveyed, stack.fingerprint, state), stack.purpose)
    except TfopsError:
        return None
    return artifact


def _waiting_with(stack: StackRun, changes: set[tuple[str, str]]) -> PlanArtifact | None:
    """The plan that waits, if it says just these changes: what people said about it counts as far as that goes."""
    session = stack.session
    plan_id = session.store.waiting_plan(stack.id)
    if plan_id is None:
        return None
    try:
        artifact = session.store.plan(stack.id, plan_id, session.keys)
    except VerificationError:
        return None
    predicate = artifact.statement.predicate
    return artifact if predicate.purpose is stack.purpose and change_refs(predicate.change_set) == changes else None


def _refuse_other_changes(stack: StackRun, planned: Planned, approved: set[tuple[str, str]], what: str) -> None:
    fresh = change_refs(planned.change_set.entries)
    if fresh == approved:
        return
    different = sorted({address for address, _ in fresh ^ approved})
    raise RefusedError(
        f"{stack.id}: planned again, it would not do what {what}; different: " + ", ".join(different),
        code="plan.differs",
        hint=f"reality changed since that plan. Look at a new one: tfops plan {stack.id}",
        stack=stack.id,
    )


def why_planned(stack: StackRun) -> tuple[str, ...]:
    """Why a stack is planned at all, in words."""
    if stack.head is None:
        return ("never deployed",)
    record = stack.head.record
    if record.result is Result.DESTROYED:
        return ("destroyed before, and back again",)
    if record.result is Result.ADOPTED:
        return (f"its state was adopted: {record.reason}",)
    now = stack.fingerprint.digest
    if record.fingerprint == now:
        why = "asked to plan again" if stack.options.replan else "its state changed since"
        return (why, *(f"{words}, and nobody approved it" for words in _since_baseline(stack)))
    found = _since(stack, record.fingerprint), _since_baseline(stack)
    return tuple(dict.fromkeys(words for some in found for words in some))


def _since_baseline(stack: StackRun) -> tuple[str, ...]:
    """What else changed since inputs that people approved: the last run may have found nothing to do with it."""
    line = baseline(stack.head).fingerprint
    is_head = stack.head is None or line in ("", stack.head.record.fingerprint)
    return () if is_head else _since(stack, line)


def _since(stack: StackRun, fingerprint: str) -> tuple[str, ...]:
    kept = stack.session.store.inputs(stack.id, fingerprint)
    return ("its inputs changed",) if kept is None else changes_between(unpack(kept)[0], stack.fingerprint.manifest)
