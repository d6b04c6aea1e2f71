"""Signing how something ended: deployments, convergences, adoptions."""

from dataclasses import dataclass
from datetime import datetime

from tfops import dsse
from tfops.attestation import Digest, Purpose, Subject, encode, subject
from tfops.audit import Event
from tfops.deployment import Baseline, ResourceResult, Result, ResultPredicate, ResultStatement
from tfops.fingerprint import Fingerprint
from tfops.steps import audit
from tfops.steps.former import formerly
from tfops.steps.inputs_archive import archive
from tfops.steps.opening import Session, now
from tfops.steps.planning import source_of, state_ref
from tfops.steps.state import Snapshot
from tfops.steps.store import CLAIM, EVENTS, sha256
from tfops.steps.surveyed import Surveyed
from tfops.steps.workplace import Workplace


def plan_subjects(session: Session, stack: str, plan_id: str, journal: bytes) -> tuple[Subject, ...]:
    """What a deployment vouches for: the plan, its claim and its journal."""
    events = (subject(EVENTS, journal),) if journal else ()
    return (
        Subject(name="plan-statement", digest=Digest(sha256=plan_id)),
        subject(CLAIM, session.store.claim_data(stack, plan_id)),
        *events,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """A signed result: its id and its envelope."""

    id: str
    envelope: bytes
    predicate: ResultPredicate


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
    missing: tuple[ResourceResult, ...] = ()
    reason: str = ""
    approved_plans: tuple[str, ...] = ()
    approved_by: tuple[str, ...] = ()
    overrides: tuple[str, ...] = ()
    baseline: Baseline | None = None


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
        state_version=ending.after.version,
        missing=ending.missing,
        builder=session.builder,
        started_on=ending.started_on,
        finished_on=now(),
        audit_head=audit.head(session),
        approved_plans=ending.approved_plans,
        approved_by=ending.approved_by,
        overrides=ending.overrides,
        baseline=ending.baseline,
        formerly=formerly(session, surveyed, ending.after.lineage),
    )
    payload = encode(ResultStatement(subject=ending.subjects, predicate=predicate))
    return Record(id=sha256(payload), envelope=dsse.sign(payload, session.signer), predicate=predicate)


def enter_apply(session: Session, deployment: str, record: ResultPredicate) -> None:
    """Enter into the audit log how an apply ended."""
    details = {
        "deployment": deployment,
        "plan_id": record.plan_id or "",
        "result": record.result.value,
        "serial_before": str(record.serial_before),
        "serial_after": str(record.state.serial),
        "state_sha256": record.state_sha256 or "",
    }
    reason = f"plan {(record.plan_id or '')[:12]} {record.result.value}"
    audit.record(session, Event.APPLY, record.stack, reason=reason, details=details)


def close(session: Session, work: Workplace) -> None:
    """Nothing of the stack's last apply is open any more."""
    session.store.settle(work.surveyed.id)
    work.hold.settled()


def record_nothing_left(session: Session, surveyed: Surveyed, state: Snapshot, *, started_on: datetime) -> str:
    """Nothing was left to destroy of a stack that is gone: a signed record of that becomes the head. Returns its id."""
    ending = Ending(
        result=Result.DESTROYED,
        purpose=Purpose.PRUNE,
        fingerprint="",
        before=state,
        after=state,
        subjects=(Subject(name="state", digest=Digest(sha256=state.sha256 or sha256(b""))),),
        started_on=started_on,
    )
    record = sign_result(session, surveyed, ending)
    session.store.keep_record(surveyed.id, record.id, record.envelope)
    session.store.move_head(surveyed.id, record.envelope)
    return record.id


def record_convergence(
    session: Session,
    surveyed: Surveyed,
    fingerprint: Fingerprint,
    state: Snapshot,
    *,
    started_on: datetime,
    baseline: Baseline | None = None,
) -> str:
    """A plan found nothing to do: a signed record of that becomes the head. Returns its id.

    With a `baseline`, too few people approved the inputs: approvals go on from those.
    """
    session.store.keep_inputs(surveyed.id, fingerprint.digest, archive(session, surveyed, fingerprint))
    ending = Ending(
        result=Result.CONVERGED,
        fingerprint=fingerprint.digest,
        before=state,
        after=state,
        subjects=(Subject(name="inputs", digest=Digest(sha256=fingerprint.digest)),),
        started_on=started_on,
        baseline=baseline,
    )
    record = sign_result(session, surveyed, ending)
    session.store.move_head(surveyed.id, record.envelope)
    return record.id
