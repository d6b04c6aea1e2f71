"""The gates of an environment in tfops.hcl: approval, protect and freeze."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, time
from enum import StrEnum
from typing import TypeVar
from zoneinfo import ZoneInfo

from tfops import checks
from tfops.config_policy import Policy
from tfops.freezes import DAYS, Freeze, Span, Weekly
from tfops.schema import Field, Section, suggestion

Value = TypeVar("Value")


class Evidence(StrEnum):
    """What an approval may rest on: a signature over a plan, or a review on the forge."""

    SIGNED = "signed"
    FORGE = "forge"


@dataclass(frozen=True, slots=True, kw_only=True)
class Approval:
    """How many people must approve a plan (none for 0), and which of their approvals count.

    With `codeowners` each changed file needs one of its owners among them. Without `max_age_seconds` an approval
    counts for as long as it says itself.
    """

    count: int
    sources: tuple[Evidence, ...] = (Evidence.SIGNED,)
    codeowners: bool = False
    max_age_seconds: float | None = None

    @property
    def asks_people(self) -> bool:
        """Whether anybody has to approve."""
        return bool(self.count or self.codeowners)

    @property
    def words(self) -> tuple[str, ...]:
        """What it asks beside the number, for people."""
        return (
            *((f"counts what is {' or '.join(self.sources)}",) if self.sources != (Evidence.SIGNED,) else ()),
            *(("asks code owners",) if self.codeowners else ()),
            *((f"takes none older than {self.max_age_seconds / 3600:g} h",) if self.max_age_seconds else ()),
        )


def strictest(gates: Iterable[Approval | None]) -> Approval | None:
    """The strictest of several gates: None, nothing automatic, is stricter than any number; without any it is 0.

    Evidence counts if all of those that ask for anybody take it.
    """
    found = list(gates)
    given = [gate for gate in found if gate is not None]
    if len(given) < len(found):
        return None
    asking = [gate for gate in given if gate.asks_people] or given
    ages = [gate.max_age_seconds for gate in given if gate.max_age_seconds is not None]
    return Approval(
        count=max((gate.count for gate in given), default=0),
        sources=tuple(kind for kind in Evidence if all(kind in gate.sources for gate in asking))
        if asking
        else (Evidence.SIGNED,),
        codeowners=any(gate.codeowners for gate in given),
        max_age_seconds=min(ages, default=None),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Protect:
    """What is not lost without somebody saying so: more than so many objects, these addresses and types, any at all."""

    max_destroy: int | None = None
    addresses: tuple[str, ...] = ()
    types: tuple[str, ...] = ()
    replace: bool = False

    def is_at_least(self, other: "Protect") -> bool:
        """Whether this protects from all that the other one does."""
        number = other.max_destroy is None or (self.max_destroy is not None and self.max_destroy <= other.max_destroy)
        names = set(other.addresses) <= set(self.addresses) and set(other.types) <= set(self.types)
        return number and names and self.replace >= other.replace

    @property
    def words(self) -> tuple[str, ...]:
        """What it protects from, for people."""
        names = ", ".join((*self.addresses, *self.types))
        return (
            *((f"destroys {self.max_destroy} at most",) if self.max_destroy is not None else ()),
            *((f"loses none of {names}",) if names else ()),
            *(("replaces nothing",) if self.replace else ()),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """All that an apply to one state has to pass. Without an `approval` nothing is applied automatically."""

    approval: Approval | None = None
    protects: tuple[Protect, ...] = ()
    freezes: tuple[Freeze, ...] = ()
    policies: tuple[Policy, ...] = ()
    is_guarded: bool = False
    """Whether any of what bears on it asks for people: then who pushes does not decide what runs."""

    @property
    def wanted(self) -> int:
        """How many people have to approve."""
        return self.approval.count if self.approval else 0

    @property
    def is_open(self) -> bool:
        """Whether everything passes."""
        ask = self.approval
        held = self.protects or self.freezes or self.policies
        return bool(ask and not ask.count and not ask.codeowners and not held)


def approval(environment: Section) -> Approval | None:
    """The approval block; None where there is none."""
    section = environment.one("approval")
    if section is None:
        return None
    section.check_names(attributes=("count", "from", "codeowners", "max_age"))
    return Approval(
        count=section.require("count", checks.whole_number, 0),
        sources=tuple(dict.fromkeys(section.get("from", _sources, (Evidence.SIGNED,)))),
        codeowners=section.get("codeowners", checks.boolean, False),
        max_age_seconds=section.get("max_age", checks.duration_seconds, None),
    )


def _sources(found: Field) -> tuple[Evidence, ...] | None:
    given = checks.many(checks.text)(found)
    unknown = [word for word in given or () if word not in [*Evidence]]
    for word in unknown:
        found.refuse("invalid_value", f'cannot be "{word}"', suggestion(word, [*Evidence]))
    if given == ():
        found.refuse("invalid_value", "is empty, so nobody could approve anything", 'write from = ["signed"]')
    return None if unknown or not given else tuple(Evidence(word) for word in given)


def protect(environment: Section) -> Protect | None:
    """The protect block; None where there is none."""
    section = environment.one("protect")
    if section is None:
        return None
    section.check_names(attributes=("max_destroy", "addresses", "types", "replace"))
    return Protect(
        max_destroy=section.get("max_destroy", checks.whole_number, None),
        addresses=section.get("addresses", checks.many(checks.text), ()),
        types=section.get("types", checks.many(checks.text), ()),
        replace=section.get("replace", checks.boolean, False),
    )


def freezes(environment: Section) -> tuple[Freeze, ...]:
    """The freeze blocks."""
    return tuple(_freeze(name, section) for name, section in environment.named("freeze"))


def _freeze(name: str, section: Section) -> Freeze:
    given = {attribute.name for attribute in section.body.attributes}
    if given & {"days", "timezone"} or not given & {"begins", "ends"}:
        return Freeze(name=name, weekly=_weekly(section))
    section.check_names(attributes=("begins", "ends"))
    begins = section.require("begins", checks.moment, datetime.min.replace(tzinfo=UTC))
    ends = section.require("ends", checks.moment, datetime.max.replace(tzinfo=UTC))
    if ends <= begins:
        section.refuse("invalid_value", "ends before it begins")
    return Freeze(name=name, once=Span(begins=begins, ends=ends))


def _weekly(section: Section) -> Weekly:
    section.check_names(attributes=("days", "begins", "ends", "timezone"))
    return Weekly(
        days=section.require("days", checks.many(_parsed(_day, "mon")), DAYS),
        begins=section.get("begins", _parsed(_clock, "18:00"), time(0)),
        ends=section.get("ends", _parsed(_clock, "08:00"), time(0)),
        timezone=section.get("timezone", _parsed(_zone, "Europe/Berlin"), "UTC"),
    )


def _parsed(parse: Callable[[str], Value], example: str) -> Callable[[Field], Value | None]:
    def check(found: Field) -> Value | None:
        written = checks.text(found)
        if written is None:
            return None
        try:
            return parse(written)
        except (ValueError, OSError, KeyError):
            found.refuse("invalid_value", f'cannot be "{written}"', f'write it like "{example}"')
            return None

    return check


def _clock(written: str) -> time:
    return datetime.strptime(written, "%H:%M").time()  # a time of day; its zone stands beside it


def _day(written: str) -> str:
    return DAYS[DAYS.index(written)]


def _zone(written: str) -> str:
    return ZoneInfo(written).key
