"""What GitLab answers, as far as it is read.

A field without a default has to be there: what a forge leaves out is unknown, never 0, False or "approved".
"""

from datetime import datetime
from typing import Literal

import msgspec


class User(msgspec.Struct):
    """An account."""

    id: int
    username: str


class Project(msgspec.Struct):
    """A project: what GitLab calls a repository."""

    id: int


class MergeRequest(msgspec.Struct):
    """A merge request. `sha` is the last commit of its source; a fast-forward leaves both other ones null."""

    iid: int
    web_url: str
    state: Literal["opened", "closed", "locked", "merged"]
    author: User | None
    source_branch: str
    target_branch: str
    target_project_id: int
    sha: str | None
    merge_commit_sha: str | None
    squash_commit_sha: str | None
    merged_at: datetime | None


class Commit(msgspec.Struct):
    """A commit of a merge request."""

    id: str


class Pipeline(msgspec.Struct):
    """A pipeline."""

    id: int


class CommitWithPipeline(msgspec.Struct):
    """A commit, asked for by its id."""

    last_pipeline: Pipeline | None


class Approval(msgspec.Struct):
    """Somebody's approval that is in force. Servers before 2026 do not say when it was given."""

    user: User
    approved_at: datetime | None = None


class Approvals(msgspec.Struct):
    """Who approves. How many approvals are left is said by paid editions only: it is never asked for."""

    approved_by: list[Approval]


class Reviewer(msgspec.Struct):
    """Somebody who was asked for a review, and how far it is."""

    user: User
    state: str


class Version(msgspec.Struct):
    """What a merge request was after a push. `patch_id_sha` is the same where a rebase changed nothing else."""

    id: int
    head_commit_sha: str | None
    created_at: datetime
    patch_id_sha: str | None = None


class Note(msgspec.Struct):
    """A comment; `system` where GitLab itself wrote what somebody did."""

    id: int
    body: str
    author: User | None
    system: bool
    created_at: datetime


class Member(msgspec.Struct):
    """What somebody may do in a project."""

    access_level: int


class Written(msgspec.Struct):
    """What was made by a request."""

    id: int
