"""What a forge (GitHub, GitLab, Bitbucket, Azure Repos, Gitea) says about a change, in words of our own.

A missing field is never taken for 0, False or "approved": what a forge does not say is None, and counts as unknown.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from tfops.errors import FailedError


class ForgeError(FailedError):
    """The forge is out of reach, refuses us, or says something that we do not understand: what it knows is unknown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """Somebody on a forge. `names` are what the trust block may call them: none that another could take over."""

    names: frozenset[str]
    shown: str
    is_bot: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A pull or merge request.

    `head` is the full id of its last commit, `commits` are those of all. `contributors` are all who wrote, committed or
    pushed any of it, as far as the forge knows them. `faults` are reasons for which it must not count, in words ("its
    policies were bypassed").
    """

    number: int
    url: str
    author: Account | None
    target: str
    source: str
    head: str
    is_merged: bool
    merged_on: datetime | None = None
    contributors: tuple[Account, ...] = ()
    commits: tuple[str, ...] = ()
    faults: tuple[str, ...] = ()


class Opinion(StrEnum):
    """What a review says. `withdrawn` takes the person's earlier one back (dismissed, unapproved, reset)."""

    APPROVED = "approved"
    REJECTED = "rejected"
    WITHDRAWN = "withdrawn"


@dataclass(frozen=True, slots=True, kw_only=True)
class Review:
    """One opinion of one person. Comments are none.

    `by` is None for an account that is gone; `on` where the forge does not say when; `head` is the commit that the
    person saw, None where nobody can tell; `may_write` whether the forge lets the person write, None if unknown.
    """

    by: Account | None
    opinion: Opinion
    on: datetime | None
    head: str | None
    may_write: bool | None = True


class State(StrEnum):
    """What a commit status says."""

    PENDING = "pending"
    SUCCESS = "success"
    FAILURE = "failure"


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """A status of one stack on a commit. `context` names it, the same one again replaces it."""

    context: str
    state: State
    description: str
    url: str | None = None


class Forge(Protocol):
    """One repository on one forge. Everything raises ForgeError where the answer is not to be had or not understood."""

    name: str
    """As trust calls it: github, gitlab, bitbucket, azure, gitea."""
    comment_limit: int
    """How many characters, and bytes, a comment may have."""
    folds: bool
    """Whether comments may hold HTML that folds."""

    def landed(self, commit: str, branch: str) -> Change | None:
        """The merged change that brought a commit to the branch; None where the forge says that there is none."""
        ...

    def proposed(self, head: str, branch: str) -> Change | None:
        """The open change for the branch whose last commit is `head`; None where there is none."""
        ...

    def change(self, number: int) -> Change:
        """The change of that number."""
        ...

    def reviews(self, change: Change) -> tuple[Review, ...]:
        """Every opinion on a change, the oldest first."""
        ...

    def head_refs(self, change: Change) -> tuple[str, ...]:
        """Under which refs the head of a change may be fetched, the likeliest first."""
        ...

    def comment(self, change: Change, key: str, body: str) -> None:
        """Write our comment on a change, or put `body` in the place of the one with this key that we wrote before."""
        ...

    def set_status(self, change: Change, status: Status) -> None:
        """Put a status on the head of a change."""
        ...


def latest(reviews: Iterable[Review]) -> tuple[Review, ...]:
    """The last opinion of each account; of accounts that are gone every one."""
    last: dict[str, Review] = {}
    gone = []
    for review in reviews:
        if review.by is None:
            gone.append(review)
            continue
        key = next((name for name in sorted(review.by.names) if name.casefold() in last), None)
        last[(key or min(review.by.names)).casefold()] = review
    return (*gone, *last.values())


def person_of(account: Account, people: Mapping[str, str]) -> str | None:
    """The name of the person in trust who has that account; `people` are names by folded login."""
    return next((people[name.casefold()] for name in sorted(account.names) if name.casefold() in people), None)
