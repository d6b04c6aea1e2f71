"""Holding a stack: what every kind of store promises to whoever has the stack's lock."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from tfops.adapters.lock import Stop
from tfops.errors import TfopsError


@dataclass(frozen=True, slots=True)
class AnyOf:
    """A stop that is set as soon as one of several is."""

    stops: tuple[Stop, ...]

    def is_set(self) -> bool:
        """Whether any of them is set."""
        return any(stop.is_set() for stop in self.stops)


class Deadline:
    """A stop that is set once its time is over."""

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds

    def is_set(self) -> bool:
        """Whether the time is over."""
        return time.monotonic() >= self._end


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """Who wants to hold which stack, and for how long it waits. `programs` are the names Terraform runs under."""

    stack: str
    run_id: str
    command: str
    since: datetime
    wait_seconds: float
    grace_seconds: float
    stop: Stop
    programs: frozenset[str]
    say: Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Hold:
    """A held stack. `check` comes before every write, `begin_apply` before Terraform may change anything,
    `settled` when nothing of it is open any more.

    `inherit` are descriptors a child process keeps open; `lost` is set when Terraform must stop; `epoch` counts how
    often the stack was taken (0: nobody counts).
    """

    lost: Stop
    inherit: tuple[int, ...] = ()
    epoch: int = 0
    check: Callable[[], None] = lambda: None
    begin_apply: Callable[[], None] = lambda: None
    settled: Callable[[], None] = lambda: None
    why_lost: Callable[[], TfopsError | None] = lambda: None


@dataclass(frozen=True, kw_only=True)
class LockView:
    """A held lock as others see it, for people and programs."""

    stack: str
    kind: str
    holder: str
    run_id: str | None
    host: str | None
    since: str | None
    expires_in_seconds: float | None
    epoch: int | None
    releasable: bool
