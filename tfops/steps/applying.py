"""Applying one verified plan: claim it, run Terraform on exactly its bytes, journal, record, move the head."""

import json
import os
import socket
from dataclasses import dataclass
from datetime import datetime

from tfops import dsse
from tfops.adapters.process import Ended
from tfops.adapters.terraform import apply_argv
from tfops.attestation import (
    Digest,
    Expected,
    Purpose,
    Subject,
    binding_checks,
    check_files,
    encode,
    require,
    subject,
)
from tfops.concealment import Secrets
from tfops.deployment import (
    Claim,
    ResourceResult,
    Result,
    ResultPredicate,
    ResultStatement,
    resource_results,
)
from tfops.errors import InterruptedRunError, TfopsError
from tfops.event_redaction import redact_event
from tfops.fingerprint import Fingerprint
from tfops.steps import diagnosis
from tfops.steps.errored import rescue
from tfops.steps.opening import Session, now
from tfops.steps.planning import source_of, state_ref
from tfops.steps.state import Snapshot
from tfops.steps.store import CLAIM, EVENTS, PlanArtifact, sha256
from tfops.steps.surveyed import Surveyed
from tfops.steps.workplace import Workplace, archive, current_state, read_only_copy


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
) -> Applied:
    """Apply an artifact that passed `check_artifact`. Used up by its claim, whatever happens then."""
    stack, started_on = work.surveyed.id, now()
    verified = read_only_copy(work, artifact.files["plan.tfplan"])
    session.store.keep_inputs(stack, fingerprint.digest, archive(session, work.surveyed, fingerprint))
    for used in dict.fromkeys((given_plan_id or artifact.id, artifact.id)):
        session.store.claim(stack, _claim(session, used, artifact.id))
    session.store.note_waiting(stack, None)
    journal = _Journal(session, stack, artifact.id, secrets)
    session.say(stack, f"terraform apply, plan {artifact.id[:12]}")
    ended = work.terraform.run(
        apply_argv(verified),
        name="apply",
        on_line=journal.write,
        on_pause=journal.flush,
        on_wait=lambda: session.say(stack, "terraform is still stopping: it finishes what is under way"),
    )
    error = _error(work, ended, secrets)
    rescue(session, work.surveyed, work.terraform.place.root)
    return _record(session, work, artifact, fingerprint, before, started_on, error, given_plan_id)


# What recovery needs is on the disk at once; what a provisioner prints goes there a moment later, all together.
_DECISIVE = frozenset({"apply_start", "apply_complete", "apply_errored", "diagnostic", "change_summary"})


class _Journal:
    """Writes Terraform's events to the store, redacted, while they happen, and says what a person wants to hear."""

    def __init__(self, session: Session, stack: str, plan_id: str, secrets: Secrets) -> None:
        self._session = session
        self._stack = stack
        self._plan_id = plan_id
        self._secrets = secrets
        self._held: list[bytes] = []

    def flush(self) -> None:
        """Bring what is held back to the disk."""
        if self._held:
            self._session.store.journal(self._stack, self._plan_id, b"".join(self._held))
            self._held.clear()

    def write(self, line: bytes) -> None:
        """Journal one line of Terraform's output."""
        try:
            event = json.loads(line)
        except ValueError:
            return  # not an event: Terraform's own words on a crash, kept nowhere for they may hold anything
        if not isinstance(event, dict):
            return
        redacted = redact_event(event, self._secrets)
        self._held.append(json.dumps(redacted).encode() + b"\n")
        if event.get("type") in _DECISIVE:
            self.flush()
        if event.get("type") in ("apply_progress", "apply_complete", "apply_errored", "provision_progress"):
            self._session.say(self._stack, str(redacted.get("@message", "")))


def _error(work: Workplace, ended: Ended, secrets: Secrets) -> TfopsError | None:
    if ended.code == 0:
        return None
    return diagnosis.failed("apply", work.terraform, work.surveyed.id, ended, "apply", secrets)


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
    session: Session,
    work: Workplace,
    artifact: PlanArtifact,
    fingerprint: Fingerprint,
    before: Snapshot,
    started_on: datetime,
    error: TfopsError | None,
    given_plan_id: str | None,
) -> Applied:
    stack = work.surveyed.id
    after, error = _state_after(session, work, before, error)
    events = session.store.events(stack, artifact.id)
    ending = Ending(
        result=_result_of(error),
        purpose=artifact.statement.predicate.purpose,
        plan_id=artifact.id,
        given_plan_id=given_plan_id,
        subjects=plan_subjects(session, stack, artifact.id),
        fingerprint=fingerprint.digest,
        before=before,
        after=after,
        resources=resource_results(events),
        reason="" if error is None else str(error),
        started_on=started_on,
    )
    record = sign_result(session, work.surveyed, ending)
    for used in dict.fromkeys((artifact.id, given_plan_id or artifact.id)):
        session.store.put_result(stack, used, record.envelope)
    if error is None:
        session.store.move_head(stack, record.envelope)
    return Applied(deployment=record.id, error=error)


def _result_of(error: TfopsError | None) -> Result:
    if error is None:
        return Result.APPLIED
    return Result.INTERRUPTED if isinstance(error, InterruptedRunError) else Result.FAILED


def _state_after(
    session: Session, work: Workplace, before: Snapshot, error: TfopsError | None
) -> tuple[Snapshot, TfopsError | None]:
    """The state an apply left. One that cannot be read is a failure too, unless there was one already."""
    try:
        return current_state(session, work), error
    except TfopsError as unreadable:
        return before, error or unreadable


def plan_subjects(session: Session, stack: str, plan_id: str) -> tuple[Subject, ...]:
    """What a deployment vouches for: the plan, its claim and its journal."""
    files = session.store.plan_files(stack, plan_id)
    found = [subject(name, files[name]) for name in (CLAIM, EVENTS) if name in files]
    return (Subject(name="plan-statement", digest=Digest(sha256=plan_id)), *found)


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """A signed result: its id and its envelope."""

    id: str
    envelope: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How something ended, before it is signed: what differs from one result record to the next."""

    result: Result
    fingerprint: str
    before: Snapshot
    after: Snapshot
    subjects: tuple[Subject, ...]
    started_on: datetime
    plan_id: str | None = None
    given_plan_id: str | None = None
    purpose: Purpose = Purpose.SYNC
    resources: tuple[ResourceResult, ...] = ()
    reason: str = ""


def sign_result(session: Session, surveyed: Surveyed, ending: Ending) -> Record:
    """Make and sign one result record."""
    stack = surveyed.stack
    predicate = ResultPredicate(
        result=ending.result,
        purpose=ending.purpose,
        store_id=session.store.id,
        stack=stack.id,
        environment=stack.environment,
        workspace=stack.workspace,
        root=stack.root,
        plan_id=ending.plan_id,
        given_plan_id=ending.given_plan_id,
        source=source_of(session),
        fingerprint=ending.fingerprint,
        state=state_ref(surveyed, ending.after),
        state_sha256=ending.after.sha256,
        serial_before=ending.before.serial,
        resources=ending.resources,
        reason=ending.reason,
        builder=session.builder,
        started_on=ending.started_on,
        finished_on=now(),
    )
    payload = encode(ResultStatement(subject=ending.subjects, predicate=predicate))
    return Record(id=sha256(payload), envelope=dsse.sign(payload, session.signer))


def record_convergence(
    session: Session, surveyed: Surveyed, fingerprint: Fingerprint, state: Snapshot, *, started_on: datetime
) -> str:
    """A plan found nothing to do: a signed record of that becomes the head. Returns its id."""
    session.store.keep_inputs(surveyed.id, fingerprint.digest, archive(session, surveyed, fingerprint))
    ending = Ending(
        result=Result.CONVERGED,
        fingerprint=fingerprint.digest,
        before=state,
        after=state,
        subjects=(Subject(name="inputs", digest=Digest(sha256=fingerprint.digest)),),
        started_on=started_on,
    )
    record = sign_result(session, surveyed, ending)
    session.store.move_head(surveyed.id, record.envelope)
    session.store.note_waiting(surveyed.id, None)
    return record.id
