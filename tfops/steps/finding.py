"""What one scan of a stack comes to: a signed plan as evidence, a record in the store, incidents, events."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import msgspec

from tfops.assessment import Assessment, sightings
from tfops.attestation import Purpose
from tfops.changes import has_work
from tfops.deployment import Result
from tfops.drift import FAILURES, UNDEPLOYED, Drift, Tag
from tfops.errors import TfopsError
from tfops.incidents import Scan, Tracked, track
from tfops.notification import Event, Kind, drift_events
from tfops.scan_record import ScanRecord, counted
from tfops.steps.memory import keep_closed, remember
from tfops.steps.opening import Session, now
from tfops.steps.planning import Planned, sign_plan
from tfops.steps.scanning import Scanned, Target

# An expiring plan is made anew a good while before nobody can approve it any more.
RENEWAL = timedelta(hours=2)
_THROTTLED = re.compile(
    r"throttl|too ?many ?requests|rate exceeded|request ?limit ?exceeded|slow ?down|\b429\b|rate limit", re.IGNORECASE
)
_RESULTS = {"scan.torn": "torn", "scan.locked": "torn", "scan.unfinished": "torn", "lock.held": "torn"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """The signed plan that shows what a scan found, and that would undo it."""

    plan_id: str
    change_digest: str
    expires_on: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """What the store remembers after a scan, and what of it is news."""

    record: ScanRecord
    tracked: Tracked
    events: tuple[Event, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One scan, ready to be remembered. `says` is whether anything can be said of the stack after it."""

    target: Target
    on: datetime
    seconds: float
    verdict: str
    tags: tuple[str, ...]
    result: str
    says: bool
    scan: Scan
    objects: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    revision: str | None = None
    newest: str | None = None
    serial: int | None = None
    evidence: Evidence | None = None
    suppressed: int = 0
    reason: str = ""


def remediable(scanned: Scanned) -> Planned | None:
    """The plan that would bring the stack back to what was applied last; None where there is none, or it failed."""
    looked = scanned.seen.looked if scanned.seen else None
    planned = looked.planned if looked and looked.failure is None else None
    return planned if planned is not None and has_work(planned.plan) and not planned.plan.errored else None


def prove(scanned: Scanned, planned: Planned | None, before: ScanRecord | None) -> Evidence | None:
    """Sign and store the plan, once for the same changes of the same state: the earlier one still says it."""
    base = scanned.base
    if base is None or planned is None:
        return None
    digest = planned.change_set.digest
    if before is not None and before.plan_id and before.plan_expires_on and before.plan_expires_on - RENEWAL > now():
        same = (before.change_digest, before.serial, before.revision)
        if same == (digest, planned.state.serial, str(base.session.revision)):
            return Evidence(plan_id=before.plan_id, change_digest=digest, expires_on=before.plan_expires_on)
    artifact = sign_plan(base.session, base.surveyed, planned, base.fingerprint, Purpose.REMEDIATION)
    base.session.store.put_plan(base.surveyed.id, artifact.id, artifact.files, artifact.envelope)
    expires_on = artifact.statement.predicate.expires_on
    return Evidence(plan_id=artifact.id, change_digest=digest, expires_on=expires_on)


def found(
    session: Session,
    target: Target,
    scanned: Scanned,
    assessment: Assessment,
    evidence: Evidence | None,
    before: ScanRecord | None,
    *,
    on: datetime,
    seconds: float,
) -> Finding:
    """The finding of a scan that ended."""
    drift = assessment.drift
    plan_id = evidence.plan_id if evidence else None
    says = not set(drift.tags) & FAILURES
    return Finding(
        target=target,
        on=on,
        seconds=seconds,
        verdict=drift.verdict.value,
        tags=tuple(tag.value for tag in drift.tags),
        result="ok" if says else "incomplete" if Tag.INCOMPLETE in drift.tags else _result_of(_failure(scanned)),
        says=says,
        objects={item.address: tuple(tag.value for tag in item.tags) for item in drift.resources},
        revision=str(scanned.base.session.revision) if scanned.base else None,
        newest=str(session.revision),
        serial=scanned.seen.state.serial if scanned.seen else None,
        evidence=evidence,
        suppressed=len(assessment.suppressed),
        scan=Scan(
            stack=target.stack.id,
            on=on,
            sightings=tuple(sightings(assessment, plan_id)),
            can_close=says,
            absorbed=_tagged(scanned, Tag.ABSORBED_BY_CODE, session.revision.commit),
            accepted={
                **_adopted(scanned, before),
                **_tagged(scanned, Tag.HIDDEN_BY_IGNORE_CHANGES, "lifecycle.ignore_changes"),
                **{address: f'ignore "{name}"' for address, name in assessment.suppressed.items()},
            },
            known_addresses=_known(scanned, before),
        ),
    )


def failed(target: Target, error: TfopsError, *, on: datetime, seconds: float) -> Finding:
    """The finding of a scan that could not say anything."""
    return Finding(
        target=target,
        on=on,
        seconds=seconds,
        verdict=Tag.UNKNOWN.value,
        tags=(Tag.UNKNOWN.value,),
        result=_result_of(error),
        says=False,
        scan=Scan(stack=target.stack.id, on=on, sightings=(), can_close=False),
        reason=str(error),
    )


def remedied(target: Target, drift: Drift, *, on: datetime, known: ScanRecord | None) -> Finding:
    """The finding after a remediation: what it undid is over, and what waits to be deployed still waits."""
    left = tuple(tag.value for tag in drift.tags if tag in UNDEPLOYED)
    addresses = frozenset(one.address for one in known.incidents) if known else frozenset()
    return Finding(
        target=target,
        on=on,
        seconds=known.duration_seconds if known else 0.0,
        verdict=left[0] if left else Tag.IN_SYNC.value,
        tags=left,
        result="ok",
        says=True,
        scan=Scan(stack=target.stack.id, on=on, sightings=(), can_close=True, known_addresses=addresses),
        revision=known.revision if known else None,
        newest=known.newest if known else None,
    )


def keep(session: Session, finding: Finding) -> Kept:
    """Remember a finding; what is news becomes events. Raises what the store raises."""
    stack, known = finding.target.stack, [Tracked(open=())]
    was: list[ScanRecord | None] = [None]

    def change(before: ScanRecord | None) -> ScanRecord:
        known[0], was[0] = track(before.incidents if before else (), finding.scan), before
        return _next(before, finding, known[0])

    record = remember(session.store.objects, stack.id, change)
    keep_closed(session.store.objects, stack.id, known[0].closed)
    return Kept(record=record, tracked=known[0], events=tuple(_events(finding, was[0], record, known[0])))


def is_throttled(text: str) -> bool:
    """Whether an error is a provider's "not so fast"."""
    return _THROTTLED.search(text) is not None


def _failure(scanned: Scanned) -> TfopsError | None:
    return scanned.seen.looked.failure if scanned.seen else None


def _result_of(error: TfopsError | None) -> str:
    if error is None:
        return "error"
    return "throttled" if is_throttled(str(error)) else _RESULTS.get(error.problems[0].code, "error")


def _tagged(scanned: Scanned, tag: Tag, by: str) -> dict[str, str]:
    return {item.address: by for item in scanned.drift.resources if tag in item.tags}


def _adopted(scanned: Scanned, before: ScanRecord | None) -> dict[str, str]:
    """A state that was adopted on purpose ends what it made look like drift."""
    head = scanned.base.head.record if scanned.base else None
    if head is None or head.result is not Result.ADOPTED or before is None:
        return {}
    return {one.address: head.reason for one in before.incidents if one.first_seen < head.finished_on}


def _known(scanned: Scanned, before: ScanRecord | None) -> frozenset[str]:
    planned = scanned.seen.looked.planned if scanned.seen else None
    if planned is None:  # nothing to do, so nothing was listed: what was known before still is
        return frozenset(one.address for one in before.incidents) if before else frozenset()
    entries = (*planned.plan.resource_changes, *planned.plan.resource_drift)
    return frozenset({"", *(entry.address for entry in entries)})


def _next(before: ScanRecord | None, finding: Finding, tracked: Tracked) -> ScanRecord:
    stack, evidence = finding.target.stack, finding.evidence
    begun = before or ScanRecord(
        stack=stack.id, environment=stack.environment, scanned_on=finding.on, duration_seconds=0, verdict="", tags=()
    )
    known = msgspec.structs.replace(
        begun,
        environment=stack.environment,
        scanned_on=finding.on,
        duration_seconds=round(finding.seconds, 3),
        verdict=finding.verdict,
        tags=finding.tags,
        failures=0 if finding.says else begun.failures + 1,
        detected=begun.detected + len(tracked.opened),
        resolved=counted(begun.resolved, *(one.closed_as or "" for one in tracked.closed)),
        scans=counted(begun.scans, finding.result),
        incidents=tracked.open,
    )
    if not finding.says:  # what was known of its objects is the last that anybody knows
        return known
    return msgspec.structs.replace(
        known,
        objects=dict(finding.objects),
        revision=finding.revision,
        newest=finding.newest,
        serial=finding.serial,
        plan_id=evidence.plan_id if evidence else None,
        change_digest=evidence.change_digest if evidence else None,
        plan_expires_on=evidence.expires_on if evidence else None,
        said_on=finding.on,
        said=finding.verdict,
        suppressed=finding.suppressed,
    )


def _events(finding: Finding, before: ScanRecord | None, record: ScanRecord, tracked: Tracked) -> list[Event]:
    stack = finding.target.stack
    plain = Event(
        kind=Kind.SCAN_FAILED,
        stack=stack.id,
        environment=stack.environment,
        verdict=finding.verdict,
        on=finding.on,
        occurrence=f"{finding.on:%Y%m%dT%H%M%SZ}",
        tags=finding.tags,
        cause=finding.reason,
        revision=finding.revision,
    )
    events = []
    if record.failures == 1:
        events.append(plain)
    if before is not None and before.failures and not record.failures:
        events.append(replace(plain, kind=Kind.SCAN_RECOVERED))
    return events + list(
        drift_events(
            tracked,
            stack=stack.id,
            environment=stack.environment,
            verdict=finding.verdict,
            on=finding.on,
            plan_id=finding.evidence.plan_id if finding.evidence else None,
            revision=finding.revision,
        )
    )
