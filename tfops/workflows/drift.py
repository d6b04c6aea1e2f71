"""`tfops drift`: look at stacks for drift, remember, tell what is new, and bring back what the rules allow."""

import contextlib
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime

from tfops.assessment import assess
from tfops.drift_rules import DriftRules
from tfops.errors import Exit, FailedError, InterruptedRunError, Problem, TfopsError, most_serious
from tfops.metrics import exposition
from tfops.notification import Delivery, Event
from tfops.scan_record import ScanRecord, reading
from tfops.stacks import discover
from tfops.steps.due import Timetable, timetable
from tfops.steps.finding import failed, found, keep, prove, remediable
from tfops.steps.memory import recall
from tfops.steps.opening import Session, now
from tfops.steps.remediating import bring_back
from tfops.steps.scan_line import StackDrift, line_of, unknown_line
from tfops.steps.scanning import Target, scan
from tfops.steps.schedule import Schedule, Tick
from tfops.steps.selection import select
from tfops.steps.survey import look
from tfops.steps.trusting import establish


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
    establish(session)
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
    channels = session.rules.config.notifications
    if session.is_followed and channels != session.config.notifications:
        session.say("", "tfops.hcl tells others of drift than the rules in force: these count (tfops trust)")
    if not channels:
        return ()
    from tfops.steps.alerting import deliver

    source = f"urn:tfops:store:{session.store.id}"
    return tuple(deliver(channels, events, environ=session.caller.environ, source=source))


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
    line = line_of(target, scanned, assessment, finding, planned).with_kept(kept)
    return bring_back(session, target, line, scanned, rules) if request.remediate else line


def _unknown(session: Session, target: Target, error: TfopsError, started_on: datetime, seconds: float) -> StackDrift:
    """A scan that could not say anything: told as that, and remembered unless somebody stopped it."""
    finding = failed(target, error, on=started_on, seconds=seconds)
    line = unknown_line(target, error, finding)
    if isinstance(error, InterruptedRunError):
        return line
    try:
        return line.with_kept(keep(session, finding))
    except TfopsError as unkept:
        return line.with_problems(unkept)


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
