"""What Azure Repos answers, as far as it is read.

A field without a default has to be there: what a forge leaves out is unknown, never 0, False or "approved".
"""

from datetime import datetime
from typing import Generic, Literal, TypeVar

import msgspec

Item = TypeVar("Item")


class Identity(msgspec.Struct, rename="camel", kw_only=True):
    """An account, a group, or a part of Azure itself. What is not so is often left out, or null."""

    id: str
    display_name: str
    unique_name: str | None = None
    descriptor: str | None = None
    is_container: bool | None = None


class Reviewer(Identity, kw_only=True):
    """What somebody says of a pull request now: no time, and no commit."""

    vote: Literal[10, 5, 0, -5, -10]


class CommitId(msgspec.Struct, rename="camel"):
    """A commit."""

    commit_id: str


class CompletionOptions(msgspec.Struct, rename="camel"):
    """How a pull request was completed."""

    bypass_policy: bool | None = None


class Pull(msgspec.Struct, rename="camel", kw_only=True):
    """A pull request. A new one may have no last commit yet."""

    pull_request_id: int
    status: Literal["notSet", "active", "abandoned", "completed"]
    source_ref_name: str
    target_ref_name: str
    last_merge_source_commit: CommitId | None = None
    closed_date: datetime | None = None


class WholePull(Pull, kw_only=True):
    """A pull request, asked for by its number."""

    created_by: Identity
    reviewers: list[Reviewer]
    completion_options: CompletionOptions | None = None


class Found(msgspec.Struct):
    """For each query, the pull requests of each commit."""

    results: list[dict[str, list[Pull]]]


class Signature(msgspec.Struct):
    """Who wrote or committed a commit; no account."""

    email: str | None = None


class Commit(CommitId, rename="camel", kw_only=True):
    """A commit of a pull request."""

    author: Signature | None = None
    committer: Signature | None = None


class Iteration(msgspec.Struct, rename="camel"):
    """What a pull request was after a push, and who pushed."""

    id: int
    created_date: datetime
    source_ref_commit: CommitId
    author: Identity | None = None


class Comment(msgspec.Struct, rename="camel"):
    """A comment; `system` where Azure wrote what somebody did."""

    id: int
    author: Identity | None = None
    comment_type: str | None = None
    is_deleted: bool | None = None


class Property(msgspec.Struct):
    """A value with its kind."""

    value: str | int | float | bool | None = msgspec.field(name="$value", default=None)


class Thread(msgspec.Struct, rename="camel"):
    """Comments that belong together. Anybody may give theirs any property: only those of Azure itself tell anything."""

    id: int
    published_date: datetime
    comments: list[Comment] | None
    properties: dict[str, Property] | None = None
    identities: dict[str, Identity] | None = None

    def told(self, name: str) -> str | None:
        """The value of a property."""
        found = (self.properties or {}).get(name)
        return None if found is None or found.value is None else str(found.value)


class User(msgspec.Struct):
    """An account."""

    id: str


class Connection(msgspec.Struct, rename="camel"):
    """Who has the token."""

    authenticated_user: User


class Written(msgspec.Struct):
    """What was made by a request."""

    id: int


class Listing(msgspec.Struct, Generic[Item]):
    """A list, or a part of one."""

    value: list[Item]
