"""`tfops drift`: look at stacks for drift, remember, tell what is new, and bring back what the rules allow."""

import contextlib
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from datetime import datetime

from tfops.assessment import Assessment, assess
from tfops.drift import Drift, Tag
from tfops.drift_rules import DriftRules
from tfops.drift_sentences import sentence
from tfops.errors import Exit, FailedError, InterruptedRunError, Problem, TfopsError, most_serious
from tfops.incidents import Tracked
from tfops.metrics import exposition
from tfops.notification import Delivery, Event, Kind
from tfops.scan_record import ScanRecord, reading
from tfops.stacks import discover
from tfops.steps.due import Timetable, timetable
from tfops.steps.finding import Finding, failed, found, is_throttled, keep, prove, remediable, remedied
from tfops.steps.memory import recall
from tfops.steps.opening import Session, now
from tfops.steps.outcome import Options, Outcome
from tfops.steps.planning import Planned
from tfops.steps.remediating import remediate, rule_on
from tfops.steps.scanning import Pending, Scanned, Target, scan
from tfops.steps.schedule import Schedule, Tick
from tfops.steps.selection import select
from tfops.steps.survey import look


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What the caller asked for."""

    names: tuple[str, ...] = ()
    due: bool = False
    shard: tuple[int, int] | None = None
    max_runtime_seconds: float | None = None
    remediate: bool = False
    jobs: int = 1
    per_account: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Remediation:
    """What became of bringing a stack back. `outcome` is one of sync's, or "refused"."""

    outcome: str
    reasons: tuple[str, ...] = ()
    deployment: str | None = None
    plan_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StackDrift:
    """One stack's line of the result."""

    stack: str
    environment: str
    verdict: str
    tags: tuple[str, ...]
    drift: Drift
    sentence: str
    exit_code: Exit
    scanned_on: datetime
    planned: Planned | None = None
    judged: Planned | None = None
    plan_id: str | None = None
    change_digest: str | None = None
    reasons: tuple[str, ...] = ()
    pending: Pending | None = None
    suppressed: Mapping[str, str] = field(default_factory=dict)
    record: ScanRecord | None = None
    tracked: Tracked | None = None
    remediation: Remediation | None = None
    terraform_runs: int = 0
    problems: tuple[Problem, ...] = ()
    events: tuple[Event, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Drifts:
    """The result of a scan: one line a stack, what was not scanned and why, and who was told."""

    revision: str
    stacks: tuple[StackDrift, ...]
    timetable: Timetable
    deliveries: tuple[Delivery, ...] = ()
    problems: tuple[Problem, ...] = ()

    @property
    def exit_code(self) -> Exit:
        """The most serious stack decides; a stack that nobody looks at any more is a failure."""
        overdue = (Exit.FAILED,) if self.problems else ()
        return most_serious((*(stack.exit_code for stack in self.stacks), *overdue))


def drift(session: Session, request: Request, *, tick: Tick) -> Drifts:
    """Scan the chosen stacks side by side. `tick` is called often in this thread."""
    targets = _targets(session)
    chosen = select({name: item.stack for name, item in targets.items()}, request.names)
    _ = session.store, session.signer  # refuse before anything runs
    plan = timetable(session, chosen, due=request.due, shard=request.shard)
    gate = _Gate(request)
    schedule: Schedule[StackDrift | None] = Schedule(
        dict.fromkeys(plan.scanned, ()),
        work=lambda name: gate.through(targets[name], lambda: _one(session, targets[name], request)),
        skip=lambda name, blocker: None,
        is_good=lambda stack: True,
    )
    done = schedule.run(request.jobs, tick=tick)
    stacks = tuple(stack for name in plan.scanned if (stack := done[name]) is not None)
    plan = plan.without([name for name in plan.scanned if done[name] is None])
    return Drifts(
        revision=str(session.revision),
        stacks=stacks,
        timetable=plan,
        deliveries=_told(session, [event for stack in stacks for event in stack.events]),
        problems=plan.overdue(now()),
    )


def _told(session: Session, events: list[Event]) -> tuple[Delivery, ...]:
    """Tell whoever wants to know what is new."""
    if not session.config.notifications:
        return ()
    from tfops.steps.alerting import deliver

    source = f"urn:tfops:store:{session.store.id}"
    return tuple(deliver(session.config.notifications, events, environ=session.caller.environ, source=source))


def _targets(session: Session) -> dict[str, Target]:
    survey = look(session)
    found = {name: Target(stack=item.stack, surveyed=item) for name, item in survey.found.items()}
    unreadable = {name: Target(stack=item.stack, unreadable=item.error) for name, item in survey.unreadable.items()}
    return {**found, **unreadable}


class _Gate:
    """Lets a scan begin while there is time, and so many at once for one account."""

    def __init__(self, request: Request) -> None:
        seconds = request.max_runtime_seconds
        self._end = None if seconds is None else time.monotonic() + seconds
        self._per_account = request.per_account
        self._slots: dict[str, threading.Semaphore] = {}
        self._lock = threading.Lock()

    def through(self, target: Target, work: Callable[[], StackDrift]) -> StackDrift | None:
        """What `work` returns; None where the time is over."""
        with self._slot(target):
            return None if self._end is not None and time.monotonic() >= self._end else work()

    def _slot(self, target: Target) -> AbstractContextManager[object]:
        if self._per_account is None:
            return contextlib.nullcontext()
        account = target.stack.account or target.stack.environment
        with self._lock:
            return self._slots.setdefault(account, threading.Semaphore(self._per_account))


def _one(session: Session, target: Target, request: Request) -> StackDrift:
    """Scan one stack; whatever goes wrong is its verdict, and nobody else's."""
    stack, begun, started_on = target.stack, time.monotonic(), now()
    try:
        _refuse_stopped(session, stack.id)
        line = _scanned(session, target, request, started_on, begun)
    except TfopsError as error:
        line = _unknown(session, target, error, started_on, time.monotonic() - begun)
    except Exception as error:
        bug = FailedError(
            f"{stack.id}: a bug in tfops: {type(error).__name__}: {error}", code="bug", hint="please report it"
        )
        line = _unknown(session, target, bug, started_on, time.monotonic() - begun)
    session.say(stack.id, line.verdict)
    return line


def _refuse_stopped(session: Session, stack: str) -> None:
    if session.caller.stop.is_set():
        raise InterruptedRunError(f"{stack}: stopped before its scan", code="run.interrupted", hint="run it again")


def _scanned(session: Session, target: Target, request: Request, started_on: datetime, begun: float) -> StackDrift:
    stack = target.stack
    rules = stack.drift or DriftRules()
    before = recall(session.store.objects, stack.id)
    scanned = scan(session, target)
    assessment = assess(scanned.drift, rules, today=started_on.date())
    planned = remediable(scanned)
    evidence = prove(scanned, planned, before)
    finding = found(
        session, target, scanned, assessment, evidence, before, on=started_on, seconds=time.monotonic() - begun
    )
    kept = keep(session, finding)
    line = _line(target, scanned, assessment, finding)
    line = replace(line, planned=planned, record=kept.record, tracked=kept.tracked, events=kept.events)
    return _remediated(session, target, line, scanned, rules) if request.remediate else line


def _line(target: Target, scanned: Scanned, assessment: Assessment, finding: Finding) -> StackDrift:
    failure = scanned.seen.looked.failure if scanned.seen else None
    evidence = finding.evidence
    return StackDrift(
        stack=target.stack.id,
        environment=target.stack.environment,
        verdict=finding.verdict,
        drift=replace(assessment.drift, resources=scanned.drift.resources),
        tags=finding.tags,
        sentence=_sentence(target, assessment.drift, failure),
        exit_code=assessment.exit_code,
        scanned_on=finding.on,
        plan_id=evidence.plan_id if evidence else None,
        change_digest=evidence.change_digest if evidence else None,
        reasons=(*scanned.reasons, *((_why(failure),) if failure else ())),
        pending=scanned.pending,
        judged=scanned.judged,
        suppressed=assessment.suppressed,
        terraform_runs=scanned.runs,
        problems=_problems(target, failure),
    )


def _sentence(target: Target, drift: Drift, failure: TfopsError | None) -> str:
    found = sentence(target.stack.id, drift)
    return f"{found}: {_why(failure)}" if failure else found


def _why(error: TfopsError) -> str:
    """What went wrong; a provider's "not so fast" by that name."""
    return f"the provider is throttled: {error}" if is_throttled(str(error)) else str(error)


def _problems(target: Target, error: TfopsError | None) -> tuple[Problem, ...]:
    return tuple(replace(problem, stack=target.stack.id) for problem in error.problems) if error else ()


def _unknown(session: Session, target: Target, error: TfopsError, started_on: datetime, seconds: float) -> StackDrift:
    """A scan that could not say anything: told as that, and remembered unless somebody stopped it."""
    stack, finding = target.stack, failed(target, error, on=started_on, seconds=seconds)
    line = StackDrift(
        stack=stack.id,
        environment=stack.environment,
        verdict=finding.verdict,
        tags=finding.tags,
        drift=Drift(own=(Tag.UNKNOWN,)),
        sentence=f"{stack.id}: nothing can be said: {_why(error)}",
        exit_code=Exit.INTERRUPTED if isinstance(error, InterruptedRunError) else Exit.FAILED,
        scanned_on=started_on,
        reasons=(_why(error),),
        problems=_problems(target, error),
    )
    if isinstance(error, InterruptedRunError):
        return line
    try:
        kept = keep(session, finding)
    except TfopsError as unkept:
        return replace(line, problems=(*line.problems, *_problems(target, unkept)))
    return replace(line, record=kept.record, tracked=kept.tracked, events=kept.events)


def _remediated(session: Session, target: Target, line: StackDrift, scanned: Scanned, rules: DriftRules) -> StackDrift:
    """Bring it back, if there is anything to bring back, the rules allow it and the gate is open."""
    if scanned.base is None or line.planned is None:
        return line
    ruling = rule_on(scanned, line.planned, rules, line.suppressed)
    if ruling.refused:
        done = Remediation(outcome="refused", reasons=ruling.refused)
        news = (_event(line, Kind.REMEDIATION_REFUSED, done),) if line.events else ()
        return replace(line, remediation=done, events=(*line.events, *news))
    if ruling.waiting:
        done = Remediation(outcome=Outcome.WAITING.value, reasons=ruling.waiting, plan_id=line.plan_id)
        return replace(line, remediation=done, exit_code=Exit.REFUSED)
    try:
        synced = remediate(scanned.base, line.planned, Options())
    except TfopsError as error:
        done = Remediation(outcome=Outcome.FAILED.value, reasons=(str(error),))
        return replace(
            line,
            remediation=done,
            exit_code=most_serious((line.exit_code, error.exit_code)),
            problems=(*line.problems, *(replace(problem, stack=line.stack) for problem in error.problems)),
        )
    done = Remediation(
        outcome=synced.outcome.value, reasons=synced.reasons, deployment=synced.deployment, plan_id=synced.plan_id
    )
    line = replace(
        line,
        remediation=done,
        problems=(*line.problems, *synced.problems),
        terraform_runs=line.terraform_runs + synced.terraform_runs,
    )
    if synced.outcome not in (Outcome.APPLIED, Outcome.CONVERGED):
        return replace(line, exit_code=synced.exit_code)
    kept = keep(session, remedied(target, line.drift, on=now(), known=line.record))
    left = Exit.CHANGES if kept.record.tags else Exit.OK
    events = (*line.events, *kept.events, _event(line, Kind.REMEDIATION_APPLIED, done))
    return replace(line, exit_code=left, record=kept.record, tracked=kept.tracked, events=events)


def _event(line: StackDrift, kind: Kind, done: Remediation) -> Event:
    return Event(
        kind=kind,
        stack=line.stack,
        environment=line.environment,
        verdict=line.verdict,
        on=line.scanned_on,
        occurrence=done.plan_id or line.change_digest or "",
        tags=line.tags,
        cause="; ".join(done.reasons),
        plan_id=done.plan_id or line.plan_id,
    )


def metrics_text(session: Session, drifts: Drifts) -> str:
    """Every stack of the branch as Prometheus reads it: those just scanned, and the others as they are remembered."""
    scanned = {stack.stack: stack.record for stack in drifts.stacks}
    stacks = discover(session.config, session.tree, session.revision.branch)
    records = [scanned.get(stack.id) or _recalled(session, stack.id) for stack in stacks]
    at = now()
    readings = tuple(reading(record, at=at) for record in records if record is not None)
    return exposition(readings, now=at)


def _recalled(session: Session, stack: str) -> ScanRecord | None:
    try:
        return recall(session.store.objects, stack)
    except TfopsError:
        return None
