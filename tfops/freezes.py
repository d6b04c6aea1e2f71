"""Times in which nothing is applied by itself: once, or every week."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """From one moment to another, both aware."""

    begins: datetime
    ends: datetime

    def __str__(self) -> str:
        return f"{self.begins:%Y-%m-%d %H:%M} to {self.ends:%Y-%m-%d %H:%M %Z}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Weekly:
    """On these days from one time to another, as clocks in `timezone` show it.

    A time that ends no later than it begins ends on the next day; the day is the one on which it begins.
    """

    days: tuple[str, ...] = DAYS
    begins: time = time(0)
    ends: time = time(0)
    timezone: str = "UTC"

    def __str__(self) -> str:
        days = ", ".join(self.days) if self.days != DAYS else "every day"
        return f"{days}, {self.begins:%H:%M} to {self.ends:%H:%M} {self.timezone}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Freeze:
    """A named time in which nothing is applied: `once`, or every week."""

    name: str
    once: Span | None = None
    weekly: Weekly | None = None

    @property
    def words(self) -> str:
        """What it is called and when it is, for people."""
        return f"{self.name} ({self.once or self.weekly})"


def frozen_until(freeze: Freeze, now: datetime) -> datetime | None:
    """When the freeze that holds at `now` (aware) ends; None where it does not hold."""
    spans = [*([freeze.once] if freeze.once else ()), *(_around(freeze.weekly, now) if freeze.weekly else ())]
    return next((span.ends for span in spans if span.begins <= now < span.ends), None)


def _around(weekly: Weekly, now: datetime) -> Iterable[Span]:
    """The times of the day that it is there, and of the day before, which may reach into it."""
    zone = ZoneInfo(weekly.timezone)
    today = now.astimezone(zone).date()
    for day in (today - timedelta(days=1), today):
        if DAYS[day.weekday()] in weekly.days:
            until = day + timedelta(days=1) if weekly.ends <= weekly.begins else day
            yield Span(begins=_at(day, weekly.begins, zone), ends=_at(until, weekly.ends, zone))


def _at(day: date, clock: time, zone: ZoneInfo) -> datetime:
    return datetime.combine(day, clock, tzinfo=zone)
