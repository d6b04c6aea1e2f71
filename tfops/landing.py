"""What landed on a branch, and whether reviews on a forge speak for it (ADR 0014)."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from tfops.attestation import CLOCK_SKEW
from tfops.forge import Change, Opinion, Review, latest, person_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Landed:
    """A stretch of the branch along first parents: what came after `base`, up to `tip`.

    Without a change nobody proposed it, or nobody knows. `fault`: why no review speaks for it, in words.
    """

    base: str | None
    tip: str
    change: Change | None = None
    reviews: tuple[Review, ...] = ()
    fault: str | None = None

    @property
    def name(self) -> str:
        """What people call it."""
        return f"change #{self.change.number}" if self.change else f"commit {self.tip[:12]}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Electorate:
    """Whose reviews count: people by their folded logins, and why some of them may not, in words."""

    people: Mapping[str, str]
    barred: Mapping[str, str]
    max_age_seconds: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reviewed:
    """What the reviews of one landed change come to; `notes` say why some do not count."""

    approved_by: tuple[str, ...] = ()
    rejected_by: tuple[str, ...] = ()
    approved_on: Mapping[str, datetime] = field(default_factory=dict)
    """When each person did."""
    notes: tuple[str, ...] = ()


def reviewed(landed: Landed, electorate: Electorate, *, asked: datetime | None, now: datetime) -> Reviewed:
    """Count the latest review of each person; none counts that is older than `asked`, when there was nothing to see."""
    change = landed.change
    if change is None or landed.fault is not None:
        return Reviewed(notes=() if landed.fault is None else (f"{landed.name}: {landed.fault}",))
    own = _own_work(change, electorate)
    approved, rejected, notes = list[tuple[str, datetime]](), [], []
    for review in latest(landed.reviews):
        person = person_of(review.by, electorate.people) if review.by else None
        if review.opinion is Opinion.REJECTED and person is not None:
            rejected.append(person)
        elif review.opinion is Opinion.APPROVED:
            why = _why_not(review, person, change, own, electorate.max_age_seconds, asked, now)
            approved += [(person, review.on)] if person and review.on and why is None else []
            notes += [f"{landed.name}: the review of {_shown(review)} does not count: {why}"] if why else []
    return Reviewed(
        approved_by=tuple(sorted({person for person, _ in approved} - {*rejected})),
        rejected_by=tuple(sorted({*rejected})),
        approved_on=dict(sorted(approved, key=lambda said: said[1])),
        notes=tuple(notes),
    )


def _own_work(change: Change, electorate: Electorate) -> dict[str, str]:
    """The people who may not approve the change, and why."""
    found = dict(electorate.barred)
    for account in change.contributors:
        if (person := person_of(account, electorate.people)) is not None:
            found.setdefault(person, "wrote, committed or pushed a part of it")
    if change.author is not None and (person := person_of(change.author, electorate.people)) is not None:
        found[person] = "opened it"
    return found


def _why_not(
    review: Review,
    person: str | None,
    change: Change,
    own: Mapping[str, str],
    max_age_seconds: float | None,
    asked: datetime | None,
    now: datetime,
) -> str | None:
    who = _who_fault(review, person, own)
    if who is not None:
        return who
    if review.head is None:
        return "nobody can tell which commit it was given for"
    if review.head != change.head:
        return f"it was given for {review.head[:12]}, and {change.head[:12]} was merged"
    return _time_fault(review.on, max_age_seconds, asked, now)


def _who_fault(review: Review, person: str | None, own: Mapping[str, str]) -> str | None:
    if review.by is None:
        return "the account is gone"
    if review.by.is_bot:
        return "it is a bot"
    if person is None:
        return "trust names nobody of that login"
    if person in own:
        return f"{person} {own[person]}: nobody approves their own work"
    if review.may_write is None:
        return "whether they may write to the repository is unknown"
    return None if review.may_write else "they have no right to write to the repository"


def _time_fault(
    on: datetime | None, max_age_seconds: float | None, asked: datetime | None, now: datetime
) -> str | None:
    if on is None:
        return "the forge does not say when it was given"
    if asked is not None and on < asked - CLOCK_SKEW:
        return "it is older than the plan of that commit: there was nothing to look at yet"
    if on > now + CLOCK_SKEW:
        return "it was given in the future: one of the clocks is wrong"
    if max_age_seconds is not None and on + timedelta(seconds=max_age_seconds) < now:
        return f"it is older than the {max_age_seconds / 3600:g} h that the environment allows"
    return None


def _shown(review: Review) -> str:
    return review.by.shown if review.by else "somebody"


@dataclass(frozen=True, slots=True, kw_only=True)
class Backing:
    """The people who approved each of several changes, and how many more the one needs that has the fewest."""

    people: tuple[str, ...]
    missing: int


def backing(stretches: Iterable[Reviewed], signed: Iterable[str], wanted: int) -> Backing:
    """Who backs several changes, each of which needs `wanted` people: not the same ones throughout.

    Who `signed` all of it counts for each. Where one lacks people, only those are named who approved every one.
    """
    everywhere = frozenset(signed)
    groups = [everywhere.union(one.approved_by) for one in stretches] or [everywhere]
    missing = max(0, *(wanted - len(group) for group in groups))
    people = frozenset[str].intersection(*groups) if missing else frozenset[str]().union(*groups)
    return Backing(people=tuple(sorted(people)), missing=missing)
