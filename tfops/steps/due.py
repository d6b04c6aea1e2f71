"""Which stacks a run of `tfops drift --due` looks at, and which ones nobody has looked at for too long."""

from collections.abc import Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from tfops.errors import Problem, UsageError, VerificationError
from tfops.scan_record import ScanRecord
from tfops.scanning import Candidate, due_on, pick
from tfops.stacks import Stack
from tfops.steps.memory import recall
from tfops.steps.opening import Session, now

READERS = 8
OVERDUE_AFTER = 2
"""So many intervals without a word about a stack are a finding of their own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Later:
    """A stack that is not looked at in this run, and when it will be."""

    stack: str
    every_seconds: float
    due_on: datetime
    said_on: datetime | None
    said: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Timetable:
    """What is scanned now, the most urgent first, and what is not."""

    scanned: tuple[str, ...]
    later: tuple[Later, ...] = ()
    candidates: Mapping[str, Later] = field(default_factory=dict)

    def without(self, names: Collection[str]) -> "Timetable":
        """The same, when the time was over before these could be reached."""
        return replace(
            self,
            scanned=tuple(name for name in self.scanned if name not in names),
            later=(*self.later, *(self.candidates[name] for name in names if name in self.candidates)),
        )

    def overdue(self, at: datetime) -> tuple[Problem, ...]:
        """A problem for each stack of which nothing was said for too long, and that this run does not reach either."""
        return tuple(_overdue(item, at) for item in self.later if _is_overdue(item, at))


def timetable(session: Session, stacks: Mapping[str, Stack], *, due: bool, shard: tuple[int, int] | None) -> Timetable:
    """All of `stacks` now; or, for `due`, those of our share whose interval is over."""
    if not due:
        return Timetable(scanned=tuple(stacks))
    watched = {name: stack for name, stack in stacks.items() if stack.drift and stack.drift.every_seconds}
    if not watched:
        raise UsageError(
            "no environment of this branch says how often it is scanned",
            code="usage.no_schedule",
            hint='write drift { every = "1h" } into the environment, or scan without --due',
        )
    with ThreadPoolExecutor(READERS) as pool:
        candidates = dict(
            zip(watched, pool.map(lambda stack: _candidate(session, stack), watched.values()), strict=True)
        )
    at = now()
    mine = pick([item for item, _ in candidates.values()], now=at, shard=shard)
    ours = shard_members(candidates, shard)
    listed = {name: _later(*candidates[name], at) for name in ours}
    return Timetable(
        scanned=tuple(mine),
        later=tuple(item for name, item in listed.items() if name not in mine),
        candidates=listed,
    )


def shard_members(names: Collection[str], shard: tuple[int, int] | None) -> list[str]:
    """Those of the stacks that belong to our share."""
    from tfops.scanning import shard_of

    return [name for name in names if shard is None or shard_of(name, shard[1]) == shard[0]]


def _candidate(session: Session, stack: Stack) -> tuple[Candidate, ScanRecord | None]:
    record = _recalled(session, stack.id)
    every = stack.drift.every_seconds if stack.drift else None
    assert every is not None  # noqa: S101
    return (
        Candidate(
            stack=stack.id,
            every_seconds=every,
            last_scan=record.scanned_on if record else None,
            failures=record.failures if record else 0,
            had_drift=bool(record and record.incidents),
        ),
        record,
    )


def _recalled(session: Session, stack: str) -> ScanRecord | None:
    try:
        return recall(session.store.objects, stack)
    except VerificationError:
        return None  # the scan itself will say what is wrong with it


def _later(candidate: Candidate, record: ScanRecord | None, at: datetime) -> Later:
    return Later(
        stack=candidate.stack,
        every_seconds=candidate.every_seconds,
        due_on=due_on(candidate, now=at),
        said_on=record.said_on if record else None,
        said=record.said if record else None,
    )


def _is_overdue(item: Later, at: datetime) -> bool:
    return item.said_on is not None and at - item.said_on > timedelta(seconds=OVERDUE_AFTER * item.every_seconds)


def _overdue(item: Later, at: datetime) -> Problem:
    hours = (at - (item.said_on or at)).total_seconds() / 3600
    return Problem(
        code="scan.overdue",
        message=f"{item.stack}: nothing was known of it for {hours:.1f} h, and it is to be scanned every "
        f"{item.every_seconds / 3600:.1f} h; the last verdict was {item.said}",
        hint=f"scan it: tfops drift {item.stack}; if the runs cannot keep up: more --jobs, --shard, or a longer every",
        stack=item.stack,
    )
