"""Looking at one stack for drift: plan what was applied last, and the branch's head beside it (ADR 11)."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from tfops.changes import Plan
from tfops.deployment import Deployment
from tfops.drift import Context, Drift, Tag, classify, ordered
from tfops.errors import FailedError, InterruptedRunError, TfopsError
from tfops.fingerprint import Fingerprint, only_versions_differ
from tfops.stacks import Stack
from tfops.steps.errored import refuse_errored
from tfops.steps.kept import kept_inputs
from tfops.steps.lifecycle import ignored
from tfops.steps.opening import Session
from tfops.steps.planning import Looked, Planned, change_refs, look_plan
from tfops.steps.state import Snapshot
from tfops.steps.survey import fingerprint_of
from tfops.steps.surveyed import Surveyed
from tfops.steps.unapproved import suspicion_of_a_look
from tfops.steps.untrusted import check_code, check_downloaded, withheld
from tfops.steps.workplace import Workplace, current_state, initialise, workplace
from tfops.wiring import Wiring

APPLY_WAIT_SECONDS = 2.0
WORK_WAIT_SECONDS = 60.0
NO_LINEAGE = "(none)"
ADOPTED = ""
"""The fingerprint of an adopted state: what was applied last is not known, so the branch's head is looked at."""


@dataclass(frozen=True, kw_only=True)
class Target:
    """A stack to scan. `surveyed` is None where the branch's head cannot be read, and `unreadable` says why."""

    stack: Stack
    surveyed: Surveyed | None = None
    unreadable: TfopsError | None = None


@dataclass(frozen=True, kw_only=True)
class Base:
    """What was applied last, ready to be planned again: a session that reads it, and its fingerprint of today.

    `manifest` are the inputs as they were then: variables and Terraform's version may have changed under them.
    """

    session: Session
    surveyed: Surveyed
    fingerprint: Fingerprint
    manifest: bytes
    head: Deployment


@dataclass(frozen=True, kw_only=True)
class Seen:
    """One plan of a scan, the state it was made on, and what its code ignores."""

    looked: Looked
    state: Snapshot
    ignored: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    runs: int = 0


@dataclass(frozen=True, kw_only=True)
class Pending:
    """What the branch's head would change besides. `problem` is set where that cannot be said."""

    revision: str
    summary: Mapping[str, int] = field(default_factory=dict)
    problem: str | None = None


@dataclass(frozen=True, kw_only=True)
class Scanned:
    """What one look at a stack found. `base` is None for one that was never deployed.

    `applied` is the drift as seen from what was applied last, without the branch's head.
    """

    drift: Drift
    applied: Drift = field(default_factory=Drift)
    base: Base | None = None
    seen: Seen | None = None
    pending: Pending | None = None
    judged: Planned | None = None
    """The plan that `drift` speaks of; None where it found nothing to read."""
    runs: int = 0
    reasons: tuple[str, ...] = ()


def scan(session: Session, target: Target) -> Scanned:
    """Look at one stack. Takes no lock and changes nothing. Raises whatever makes the verdict unknown."""
    stack = target.stack
    head = session.store.head(stack.id, session.keys)
    if head is None and target.unreadable is not None:
        raise target.unreadable
    if head is None:
        return Scanned(drift=Drift(own=(Tag.PENDING,)), reasons=("never deployed",))
    session.place.wait_for_applies(session.wanted(stack, "drift", wait_seconds=APPLY_WAIT_SECONDS))
    newest = fingerprint_of(session, target.surveyed) if target.surveyed else None
    base = _base(session, target, head, newest)
    seen = _look(base.session, base.surveyed, "drift", base.fingerprint, head)
    _refuse_unfinished(session, stack.id, head, seen.state)
    applied = _judged(seen, _context(base, seen))
    scanned = Scanned(drift=applied, applied=applied, base=base, seen=seen, judged=seen.looked.planned, runs=seen.runs)
    if base.session is session:
        return scanned
    return _beside(session, target, newest, scanned)


def _base(session: Session, target: Target, head: Deployment, newest: Fingerprint | None) -> Base:
    if target.surveyed is not None and newest is not None and head.record.fingerprint in (newest.digest, ADOPTED):
        manifest = newest.manifest
        return Base(session=session, surveyed=target.surveyed, fingerprint=newest, manifest=manifest, head=head)
    kept = kept_inputs(session, target.stack, head)
    return Base(
        session=kept.session,
        surveyed=kept.surveyed,
        fingerprint=fingerprint_of(kept.session, kept.surveyed),
        manifest=kept.manifest,
        head=head,
    )


def _look(session: Session, surveyed: Surveyed, purpose: str, made_of: Fingerprint, head: Deployment) -> Seen:
    suspected = suspicion_of_a_look(session, surveyed, made_of, head)
    check_code(session, surveyed, suspected)
    hidden = withheld(suspected)
    with workplace(session, surveyed, purpose=purpose, withheld=hidden, wait_seconds=WORK_WAIT_SECONDS) as work:
        _refuse_locked(surveyed)
        initialise(session, work)
        check_downloaded(session, work, suspected)
        refuse_errored(session, surveyed.id)
        state = current_state(session, work)
        looked = look_plan(session, work, state)
        _refuse_torn(session, work, state)
        planned = looked.planned
        names = ignored(work) if planned and planned.plan.resource_drift else {}
        return Seen(looked=looked, state=state, ignored=names, runs=work.terraform.runs)


def _refuse_locked(surveyed: Surveyed) -> None:
    holder = surveyed.state.lock_holder() if surveyed.state else None
    if holder is not None:
        raise FailedError(
            f"{surveyed.id}: its state is locked by {holder}: whoever that is may be changing it",
            code="scan.locked",
            hint="the next scan looks again; see who it is if it stays so",
            stack=surveyed.id,
        )


def _refuse_torn(session: Session, work: Workplace, before: Snapshot) -> None:
    # A lock that was taken meanwhile means an apply may be half done in reality, with nothing of it in the state.
    _refuse_locked(work.surveyed)
    if current_state(session, work) != before:
        raise FailedError(
            f"{work.surveyed.id}: its state was written while it was scanned: half of what was seen may be old",
            code="scan.torn",
            hint="the next scan looks again",
            stack=work.surveyed.id,
        )


def _refuse_unfinished(session: Session, stack: str, head: Deployment, state: Snapshot) -> None:
    record = head.record
    if (state.lineage, state.serial) == (record.state.lineage, record.state.serial):
        return
    if session.store.unfinished(stack) is not None:
        raise FailedError(
            f"{stack}: its last apply is not settled, so nobody can say what of its state is drift",
            code="scan.unfinished",
            hint=f"tfops sync {stack} settles it; or look first: tfops recover {stack}",
            stack=stack,
        )


def _beside(session: Session, target: Target, newest: Fingerprint | None, scanned: Scanned) -> Scanned:
    """The same with the branch's head beside it: what both plans would change is not the code's doing."""
    assert scanned.base is not None and scanned.seen is not None  # noqa: S101
    revision = str(session.revision)
    try:
        newer = _look_at_head(session, target, newest, scanned)
    except InterruptedRunError:
        raise
    except TfopsError as error:
        return replace(scanned, pending=Pending(revision=revision, problem=str(error)))
    assert newest is not None  # noqa: S101
    planned = newer.looked.planned
    drift = _judged(newer, _newer_context(scanned.base, scanned.seen, newer, newest))
    return replace(
        scanned,
        drift=_with_failure(drift, scanned.seen),
        judged=planned,
        pending=Pending(revision=revision, summary=planned.summary.as_json() if planned else {}),
        runs=scanned.runs + newer.runs,
    )


def _look_at_head(session: Session, target: Target, newest: Fingerprint | None, scanned: Scanned) -> Seen:
    assert scanned.base is not None and scanned.seen is not None  # noqa: S101
    if target.surveyed is None or newest is None:
        raise target.unreadable or FailedError("it cannot be read", code="scan.head", hint="correct it")
    newer = _look(session, target.surveyed, "plan", newest, scanned.base.head)
    if newer.looked.failure is not None:
        raise newer.looked.failure
    if newer.state != scanned.seen.state:
        raise FailedError("the state was written between two plans", code="scan.torn", hint="scan again")
    return newer


def _judged(seen: Seen, context: Context) -> Drift:
    planned = seen.looked.planned
    drift = classify(planned.plan if planned else Plan(), planned.wires if planned else Wiring(), context)
    return _with_failure(drift, seen)


def _with_failure(drift: Drift, seen: Seen) -> Drift:
    """A plan that failed: what it saw is known, and the rest is not. Nothing seen is nothing known."""
    if seen.looked.failure is None:
        return drift
    tag = Tag.ERROR if drift.resources else Tag.UNKNOWN
    return replace(drift, own=ordered({*drift.own, tag}))


def _context(base: Base, seen: Seen) -> Context:
    """For a plan of what was applied last: its code is the same, whatever else moved (of an adopted state: unknown)."""
    record = base.head.record
    is_same_serial = seen.state.serial == record.state.serial
    return Context(
        inputs_changed=record.fingerprint == ADOPTED,
        provider_changed=only_versions_differ(base.manifest, base.fingerprint.manifest),
        serial=seen.state.serial,
        last_serial=record.state.serial,
        lineage=seen.state.lineage or NO_LINEAGE,
        last_lineage=record.state.lineage or NO_LINEAGE,
        state_edited=is_same_serial and record.state_sha256 not in (None, seen.state.sha256),
        ignore_changes=seen.ignored,
    )


def _newer_context(base: Base, seen: Seen, newer: Seen, newest: Fingerprint) -> Context:
    """For a plan of the branch's head: its code changed, but for what the other plan would do just the same."""
    floats = only_versions_differ(base.manifest, newest.manifest)
    return replace(
        _context(base, newer),
        inputs_changed=not floats,
        provider_changed=floats,
        settled=frozenset(address for address, _ in _changes(seen) & _changes(newer)),
    )


def _changes(seen: Seen) -> set[tuple[str, str]]:
    planned = seen.looked.planned
    return change_refs(planned.change_set.entries) if planned else set()
