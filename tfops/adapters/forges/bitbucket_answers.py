"""What Bitbucket Cloud answers, as far as it is read.

A field without a default has to be there: what a forge leaves out is unknown, never 0, False or "approved".
"""

from datetime import datetime
from typing import Annotated, Generic, Literal, TypeVar

import msgspec

Item = TypeVar("Item")


class User(msgspec.Struct):
    """An account. Its nickname is not here: somebody else may take it tomorrow."""

    type: str
    uuid: str
    display_name: str
    account_id: str | None = None


class Hash(msgspec.Struct):
    """A commit, mostly by its first twelve digits only."""

    hash: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{12,64}$")]


class Branch(msgspec.Struct):
    """A branch."""

    name: str


class Repository(msgspec.Struct):
    """A repository."""

    full_name: str


class Source(msgspec.Struct):
    """Where a pull request comes from."""

    branch: Branch
    commit: Hash | None


class Destination(msgspec.Struct):
    """Where a pull request goes."""

    branch: Branch
    repository: Repository


class Link(msgspec.Struct):
    """An address."""

    href: str


class Links(msgspec.Struct):
    """The addresses of a pull request."""

    html: Link


class Numbered(msgspec.Struct):
    """A pull request in the index of commits: of the rest nothing is certain to be there."""

    id: int


class Pull(msgspec.Struct):
    """A pull request, as lists have it: without its participants."""

    id: int
    state: Literal["OPEN", "MERGED", "DECLINED", "SUPERSEDED"]
    source: Source
    destination: Destination
    merge_commit: Hash | None = None


class Participant(msgspec.Struct):
    """What somebody says of a pull request now."""

    user: User | None
    approved: bool
    state: Literal["approved", "changes_requested"] | None
    participated_on: datetime | None = None


class WholePull(Pull, kw_only=True):
    """A pull request, asked for by its number."""

    author: User | None
    links: Links
    participants: list[Participant]


class Author(msgspec.Struct):
    """Who wrote a commit: an account, where the address belongs to one."""

    user: User | None = None


class Commit(msgspec.Struct):
    """A commit, with its full id."""

    hash: str
    author: Author


class Update(msgspec.Struct):
    """A pull request was made, changed or got another commit."""

    date: datetime
    source: Source


class Vote(msgspec.Struct):
    """Somebody approved or asked for changes."""

    date: datetime
    user: User | None


class Activity(msgspec.Struct):
    """Something that happened to a pull request; a comment is none of these."""

    update: Update | None = None
    approval: Vote | None = None
    changes_requested: Vote | None = None

    @property
    def step(self) -> Update | Vote | None:
        """The one of them that it is."""
        return self.update or self.approval or self.changes_requested


class Content(msgspec.Struct):
    """The text of a comment."""

    raw: str


class Comment(msgspec.Struct):
    """A comment."""

    id: int
    content: Content
    user: User | None
    deleted: bool = False


class Page(msgspec.Struct, Generic[Item]):
    """A part of a list, and the address of the next one."""

    values: list[Item]
    next: str | None = None
