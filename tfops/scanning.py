"""When a stack is to be scanned next, and which of those that are due come first. Pure: times come from outside."""

import hashlib
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from tfops.errors import UsageError

JITTER = 0.1
STARVING = 2.0
FIRST_RETRY_SECONDS = 60.0
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SHARD = re.compile(r"([1-9][0-9]{0,3})/([1-9][0-9]{0,3})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A stack that is scanned regularly, and how its last scans went."""

    stack: str
    every_seconds: float
    last_scan: datetime | None = None
    failures: int = 0
    had_drift: bool = False


def due_on(candidate: Candidate, *, now: datetime) -> datetime:
    """When it is to be scanned. The slots of a stack have a phase of their own, so that not all are due at once."""
    every = candidate.every_seconds
    last = _last_scan(candidate, now)
    if last is None:
        return now
    if candidate.failures:
        wait = FIRST_RETRY_SECONDS * 2.0 ** min(candidate.failures, 30)
        wait *= 1 + _jitter(candidate.stack, f"retry {candidate.failures}")
        return last + timedelta(seconds=min(every, wait))
    return max(_slot_behind(candidate.stack, every, last), last + timedelta(seconds=every / 2))


def pick(candidates: Iterable[Candidate], *, now: datetime, shard: tuple[int, int] | None = None) -> list[str]:
    """The stacks that are due, of one share: first whoever starves, then whoever had drift, then the most overdue."""
    mine = [item for item in candidates if shard is None or shard_of(item.stack, shard[1]) == shard[0]]
    due = [item for item in mine if due_on(item, now=now) <= now]
    return [item.stack for item in sorted(due, key=lambda item: _urgency(item, now))]


def shard_of(stack: str, shards: int) -> int:
    """The share of a stack, from 1."""
    return int(_digest(stack), 16) % shards + 1


def parse_shard(written: str) -> tuple[int, int]:
    """ "1/4" as (1, 4); raises UsageError `usage.shard`."""
    match = _SHARD.fullmatch(written)
    if match is None or int(match[1]) > int(match[2]):
        raise UsageError(
            f"--shard {written!r} is no share",
            code="usage.shard",
            hint="write 1/4, 2/4, 3/4 and 4/4 for the four runners of a fleet",
        )
    return int(match[1]), int(match[2])


def _last_scan(candidate: Candidate, now: datetime) -> datetime | None:
    """A scan that lies far in the future was made by a clock that was wrong: it counts for nothing."""
    last = candidate.last_scan
    if last is None or last - now > timedelta(seconds=candidate.every_seconds):
        return None
    return last


def _urgency(candidate: Candidate, now: datetime) -> tuple[bool, bool, float, str]:
    last = _last_scan(candidate, now)
    overdue = float("inf") if last is None else (now - last).total_seconds() / candidate.every_seconds
    is_starving = overdue >= STARVING
    return not is_starving, not (candidate.had_drift and not is_starving), -overdue, candidate.stack


def _slot_behind(stack: str, every: float, moment: datetime) -> datetime:
    """The first slot of the stack after a moment. Jitter is the slot's own: one that came early does not come again."""
    phase = _part(stack, "phase")
    number = math.floor((moment - _EPOCH).total_seconds() / every - phase)
    parts = (slot + phase + _jitter(stack, str(slot)) for slot in range(number, number + 3))
    slots = (_EPOCH + timedelta(seconds=part * every) for part in parts)
    return next(slot for slot in slots if slot > moment)


def _jitter(stack: str, of: str) -> float:
    return JITTER * (2 * _part(stack, of) - 1)


def _part(stack: str, of: str) -> float:
    """A number from 0 to 1 that is always the same for the stack."""
    return int(_digest(f"{stack}\0{of}")[:12], 16) / 16.0**12


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()
