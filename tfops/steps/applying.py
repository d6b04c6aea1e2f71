"""Applying one verified plan: claim it, run Terraform on exactly its bytes, journal, record, move the head."""

import os
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tfops.adapters.hosts import left_running
from tfops.adapters.process import Ended
from tfops.adapters.terraform import apply_argv
from tfops.attestation import Expected, Purpose, binding_checks, check_files, require
from tfops.audit import Event
from tfops.concealment import Secrets
from tfops.deployment import Claim, ResourceResult, Result, resource_results
from tfops.errors import FailedError, InterruptedRunError, TfopsError
from tfops.fingerprint import Fingerprint
from tfops.inflight import instances, missing_creations
from tfops.steps import audit, diagnosis
from tfops.steps.errored import rescue
from tfops.steps.inputs_archive import archive
from tfops.steps.journal import Journal
from tfops.steps.opening import Session, now
from tfops.steps.planning import state_ref
from tfops.steps.recording import Ending, close, enter_apply, plan_subjects, sign_result
from tfops.steps.state import Snapshot
from tfops.steps.store import PlanArtifact, Unfinished
from tfops.steps.surveyed import Surveyed
from tfops.steps.workplace import Workplace, current_state, read_only_copy, state_data

POLL_SECONDS = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Approvals:
    """Which approved plans let an apply through, and who approved those."""

    plans: tuple[str, ...] = ()
    people: tuple[str, ...] = ()
    overrides: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """The parts of the gate that people let it pass by, and which people."""


NOBODY = Approvals()


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """How an apply ended: the deployment's id, and Terraform's error where there was one."""

    deployment: str
    error: TfopsError | None


def expected_of(session: Session, surveyed: Surveyed, fingerprint: Fingerprint, state: Snapshot) -> Expected:
    """What a plan must be bound to, to be applied to this stack now."""
    stack = surveyed.stack
    return Expected(
        store_id=session.store.id,
        stack=stack.id,
        environment=stack.environment,
        workspace=stack.workspace,
        root=stack.root,
        fingerprint=fingerprint.digest,
        state=state_ref(surveyed, state),
        terraform=session.terraform_ref,
        now=now(),
    )


def check_artifact(artifact: PlanArtifact, expected: Expected, purpose: Purpose) -> None:
    """Raises VerificationError unless the artifact's files are the signed ones and it is bound to `expected`."""
    predicate = artifact.statement.predicate
    checks = [
        *check_files(artifact.statement.subject, artifact.files),
        *binding_checks(predicate, expected, purpose),
    ]
    require(checks, plan_id=artifact.id, stack=expected.stack)


def apply_plan(
    session: Session,
    work: Workplace,
    artifact: PlanArtifact,
    fingerprint: Fingerprint,
    secrets: Secrets,
    *,
    before: Snapshot,
    given_plan_id: str | None,
    approvals: Approvals = NOBODY,
) -> Applied:
    """Apply an artifact that passed `check_artifact`. Used up by its claim, whatever happens then."""
    stack, started_on, given = work.surveyed.id, now(), given_plan_id or artifact.id
    verified = read_only_copy(work, artifact.files["plan.tfplan"])
    session.store.keep_inputs(stack, fingerprint.digest, archive(session, work.surveyed, fingerprint))
    session.store.begin_apply(
        stack,
        Unfinished(
            plan_id=artifact.id, given_plan_id=given, run_id=session.run_id, begun_on=started_on, place=work.identity
        ),
    )
    _enter_claim(session, artifact, given, approvals)
    for used in dict.fromkeys((given, artifact.id)):
        session.store.claim(stack, _claim(session, used, artifact.id))
    work.hold.begin_apply()
    work.note_apply(artifact.id)
    ended, journal = _run(session, work, artifact.id, verified, secrets)
    error = _error(work, ended, secrets)
    rescued = rescue(session, work.surveyed, work.terraform.place.root)
    is_killed = _is_killed(session, ended)
    after, error = _state_after(session, work, before, error)
    resources = resource_results(journal.data)
    purpose = artifact.statement.predicate.purpose
    result = _result_of(error, purpose, after)
    missing = find_missing(session, work, resources) if is_killed else ()
    ending = Ending(
        result=result,
        purpose=purpose,
        plan_id=artifact.id,
        given_plan_id=given_plan_id,
        subjects=plan_subjects(session, stack, artifact.id, journal.data),
        fingerprint="" if result is Result.DESTROYED else fingerprint.digest,
        before=before,
        after=after,
        resources=resources,
        missing=missing,
        reason="" if error is None else str(error),
        started_on=started_on,
        approved_plans=approvals.plans,
        approved_by=approvals.people,
        overrides=tuple(approvals.overrides),
    )
    settled = not (missing or rescued)
    return _record(session, work, ending, error, given=given, settled=settled)


def _run(session: Session, work: Workplace, plan_id: str, verified: Path, secrets: Secrets) -> tuple[Ended, Journal]:
    stack = work.surveyed.id
    journal = Journal(session, stack, plan_id, secrets)
    session.say(stack, f"terraform apply, plan {plan_id[:12]}")
    ended = work.terraform.run(
        apply_argv(verified, lock=not work.state_locked),
        name="apply",
        on_line=journal.write,
        on_pause=journal.flush,
        on_wait=lambda: session.say(stack, "terraform is still stopping: it finishes what is under way"),
    )
    journal.finish()
    return ended, journal


def _error(work: Workplace, ended: Ended, secrets: Secrets) -> TfopsError | None:
    if ended.code == 0:
        return None
    if ended.stopped and (why := work.hold.why_lost()) is not None:
        return why
    return diagnosis.failed("apply", work.terraform, work.surveyed.id, ended, "apply", secrets)


def _is_killed(session: Session, ended: Ended) -> bool:
    """Whether Terraform did not end by itself. If only its launcher was killed, it is waited for."""
    if ended.code >= 0:
        return False
    while left_running(session.run_id, programs=session.programs)[0]:
        time.sleep(POLL_SECONDS)
    return True


def find_missing(
    session: Session, work: Workplace, resources: tuple[ResourceResult, ...]
) -> tuple[ResourceResult, ...]:
    """The creations that were begun and that the state does not have."""
    try:
        return missing_creations(resources, instances(state_data(session, work)))
    except (ValueError, KeyError, TypeError, AttributeError):
        return missing_creations(resources, {})


def _enter_claim(session: Session, artifact: PlanArtifact, given: str, approvals: Approvals) -> None:
    """Enter into the audit log what is about to be done, and who wanted it."""
    plan = artifact.statement.predicate
    details = {
        "plan_id": artifact.id,
        "given_plan_id": given,
        "change_digest": plan.change_digest,
        "purpose": plan.purpose.value,
        "revision": plan.source.commit,
        "approved_by": ", ".join(approvals.people),
        "approved_plans": ", ".join(approvals.plans),
        "overrides": ", ".join(approvals.overrides),
    }
    people = f", approved by {' and '.join(approvals.people)}" if approvals.people else ""
    reason = f"to apply plan {artifact.id[:12]} of {plan.source.branch}@{plan.source.commit[:12]}{people}"
    audit.record(session, Event.CLAIM, plan.stack, reason=reason, details=details)


def _claim(session: Session, plan_id: str, applied_plan_id: str) -> Claim:
    return Claim(
        plan_id=plan_id,
        applied_plan_id=applied_plan_id,
        run_id=session.run_id,
        host=socket.gethostname(),
        pid=os.getpid(),
        claimed_on=now(),
    )


def _record(
    session: Session, work: Workplace, ending: Ending, error: TfopsError | None, *, given: str, settled: bool
) -> Applied:
    stack, plan_id = work.surveyed.id, ending.plan_id or ""
    record = sign_result(session, work.surveyed, ending)
    for used in dict.fromkeys((plan_id, given)):
        session.store.put_result(stack, used, record.envelope)
    enter_apply(session, record.id, record.predicate)
    work.forget_apply()
    if error is None:
        session.store.move_head(stack, record.envelope)
    if settled:
        _close(session, work)
    return Applied(deployment=record.id, error=error)


def _close(session: Session, work: Workplace) -> None:
    # The apply is on record and is the head: that its note cannot be removed does not make it a failure.
    try:
        close(session, work)
    except FailedError as error:
        session.say(work.surveyed.id, f"the note of this apply could not be removed ({error}); the next sync does it")


def _result_of(error: TfopsError | None, purpose: Purpose, after: Snapshot) -> Result:
    if error is None:
        return Result.DESTROYED if purpose is Purpose.PRUNE and not after.holds_something else Result.APPLIED
    return Result.INTERRUPTED if isinstance(error, InterruptedRunError) else Result.FAILED


def _state_after(
    session: Session, work: Workplace, before: Snapshot, error: TfopsError | None
) -> tuple[Snapshot, TfopsError | None]:
    """The state an apply left. One that cannot be read is a failure too, unless there was one already."""
    try:
        return current_state(session, work), error
    except TfopsError as unreadable:
        return before, error or unreadable
