"""Who of those that the rules in force name still counts, and why not: for people who look at the rules."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime

from tfops.config import Config
from tfops.config_gate import Approval, Evidence
from tfops.config_trust import Approver, Runner
from tfops.trust import still_trusted

_GONE = "gone from the branch"


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """A person of the rules in force, with the keys and logins that count; with all of theirs where none does."""

    approver: Approver
    void: str = ""
    """Why nothing that the person decides counts; empty where it does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """A runner of the rules in force."""

    runner: Runner
    void: str = ""
    """Why nothing that it signs counts; empty where it does."""


def people(rules: Config, head: Config, moment: datetime) -> tuple[Person, ...]:
    """The people in force, as they count where the branch's head is `head`, at a moment."""
    named = {person.name: person for person in head.approvers}
    pairs = zip(rules.approvers, still_trusted(rules, head), strict=True)
    return tuple(_person(person, left.at(moment), named.get(person.name)) for person, left in pairs)


def able(asked: Approval, found: Iterable[Person], forge: str | None) -> tuple[str, ...]:
    """Who could give such an approval: by a key where signatures count, by a login on the forge where reviews do."""
    return tuple(person.approver.name for person in found if not person.void and _can(asked, person.approver, forge))


def _can(asked: Approval, person: Approver, forge: str | None) -> bool:
    signs = Evidence.SIGNED in asked.sources and bool(person.keys)
    return signs or (Evidence.FORGE in asked.sources and forge in dict(person.logins))


def machines(runners: Iterable[Runner], counting: Collection[str]) -> tuple[Machine, ...]:
    """The runners in force; those that are not among the names of `counting` are gone from the branch's head."""
    return tuple(Machine(runner=one, void="" if one.name in counting else _GONE) for one in runners)


def _person(person: Approver, left: Approver, head: Approver | None) -> Person:
    if not left.is_revoked:
        return Person(approver=left)
    return Person(approver=person, void=_void(person, left, head))


def _void(person: Approver, left: Approver, head: Approver | None) -> str:
    if person.is_revoked:
        return "revoked"
    if head is None:
        return _GONE
    if head.is_revoked:
        return "revoked by the branch"
    return f"expired {left.valid_until:%Y-%m-%d %H:%M}Z"
