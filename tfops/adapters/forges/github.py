"""GitHub and GitHub Enterprise: REST, and GraphQL for the one question of who we are."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Literal, TypeVar
from urllib.parse import quote, urlsplit

import msgspec

from tfops.adapters.forges.issues import Base, Comment, Head, put_comment, put_status
from tfops.adapters.forges.texts import owner_and_name
from tfops.adapters.forges.transport import Transport, decoded, next_link, refusal
from tfops.forge import Account, Change, Opinion, Review, Status

PAGE = 100
PAUSES = (1.0, 2.0)  # after a merge the index of commits lags behind for some seconds
LONGEST_DESCRIPTION = 140
_OPINIONS = {
    "APPROVED": Opinion.APPROVED,
    "CHANGES_REQUESTED": Opinion.REJECTED,
    "DISMISSED": Opinion.WITHDRAWN,
}
Item = TypeVar("Item")


class User(msgspec.Struct):
    """An account."""

    id: int
    login: str
    type: str


class Pull(msgspec.Struct):
    """A pull request, as lists have it. There `merged_at` says whether it is merged, and nothing else does."""

    number: int
    html_url: str
    state: Literal["open", "closed"]
    user: User | None
    base: Base
    head: Head
    merged_at: datetime | None
    merge_commit_sha: str | None


class WholePull(Pull):
    """A pull request, asked for by its number."""

    merged: bool
    commits: int


class PullReview(msgspec.Struct):
    """A review; `commit_id` is null when the commit is gone."""

    user: User | None
    state: Literal["APPROVED", "CHANGES_REQUESTED", "COMMENTED", "DISMISSED", "PENDING"]
    commit_id: str | None
    submitted_at: datetime | None = None


class Writer(msgspec.Struct):
    """The account to which an address in a commit belongs; GitHub says `{}` or null where there is none."""

    login: str | None = None
    type: str = "User"


class Commit(msgspec.Struct):
    """A commit."""

    sha: str
    author: Writer | None
    committer: Writer | None


class Permission(msgspec.Struct):
    """What somebody may do in the repository."""

    permission: Literal["admin", "write", "read", "none"]


class _Viewer(msgspec.Struct):
    databaseId: int  # as GraphQL calls it


class _Data(msgspec.Struct):
    viewer: _Viewer


class Viewer(msgspec.Struct):
    """Who has the token."""

    data: _Data


def connect(url: str, repository: str, *, token: str, say: Callable[[str], None]) -> "GitHub":
    """A repository on GitHub; nothing is sent yet. Raises ValueError for one that cannot be."""
    rest, graphql = _addresses(url)
    headers = {"authorization": f"Bearer {token}", "x-github-api-version": "2022-11-28"}
    return GitHub(
        api=Transport(base=f"{rest}/repos/{repository}", headers=headers, say=say),
        repository=owner_and_name(repository),
        graphql=graphql,
    )


def _addresses(url: str) -> tuple[str, str]:
    """Where REST and GraphQL are: on github.com and *.ghe.com on a host of their own, on a server under /api."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    if host == "github.com" or host.endswith(".ghe.com"):
        return f"https://api.{host}", f"https://api.{host}/graphql"
    return f"{url}/api/v3", f"{url}/api/graphql"


@dataclass(frozen=True, kw_only=True)
class GitHub:
    """One repository on GitHub: a `tfops.forge.Forge`."""

    api: Transport
    repository: str
    graphql: str
    name: str = "github"
    comment_limit: int = 65_000
    folds: bool = True
    _writers: dict[str, bool | None] = field(default_factory=dict)
    _pauses: list[float] = field(default_factory=lambda: list(PAUSES))

    def landed(self, commit: str, branch: str) -> Change | None:
        """The merged change that brought a commit to the branch.

        GitHub's index comes some seconds after the merge: once a run it is asked again before there is none.
        """
        while True:
            merged = [
                pull
                for pull in self._all(f"/commits/{commit}/pulls", Pull)
                if pull.merged_at is not None and self._goes_to(pull, branch)
            ]
            if merged:
                first = min(merged, key=lambda pull: (pull.merge_commit_sha != commit, pull.merged_at, pull.number))
                return self.change(first.number)
            if not self._pauses:
                return None
            self.api.sleep(self._pauses.pop(0))

    def proposed(self, head: str, branch: str) -> Change | None:
        """The open change for the branch whose last commit is `head`."""
        pulls = self._all("/pulls", Pull, state="open", base=branch, sort="created", direction="asc")
        found = next((pull for pull in pulls if pull.head.sha == head and self._goes_to(pull, branch)), None)
        return None if found is None else self.change(found.number)

    def change(self, number: int) -> Change:
        """The change of that number."""
        pull = self.api.get(f"/pulls/{number}", WholePull)
        commits = list(self._all(f"/pulls/{number}/commits", Commit))
        writers = [writer for commit in commits for writer in (commit.author, commit.committer)]
        return Change(
            number=pull.number,
            url=pull.html_url,
            author=None if pull.user is None else _account(pull.user.login, pull.user.type),
            target=pull.base.ref,
            source=pull.head.ref,
            head=pull.head.sha,
            is_merged=pull.merged,
            merged_on=pull.merged_at,
            contributors=tuple(dict.fromkeys(_account(who.login, who.type) for who in writers if who and who.login)),
            commits=tuple(commit.sha for commit in commits),
            faults=_faults(pull, len(commits)),
        )

    def reviews(self, change: Change) -> tuple[Review, ...]:
        """Every opinion on a change, the oldest first."""
        return tuple(
            Review(
                by=None if review.user is None else _account(review.user.login, review.user.type),
                opinion=_OPINIONS[review.state],
                on=review.submitted_at,
                head=review.commit_id,
                may_write=None if review.user is None else self._may_write(review.user.login),
            )
            for review in self._all(f"/pulls/{change.number}/reviews", PullReview)
            if review.state in _OPINIONS
        )

    def head_refs(self, change: Change) -> tuple[str, ...]:
        """Under which refs the head of a change may be fetched."""
        return (f"refs/pull/{change.number}/head",)

    def comment(self, change: Change, key: str, body: str) -> None:
        """Write our comment, or put `body` in the place of our earlier one with this key."""
        comments = self._all(f"/issues/{change.number}/comments", Comment)
        put_comment(self.api, "", change, key, body, comments=comments, our_id=lambda: self._our_id)

    def set_status(self, change: Change, status: Status) -> None:
        """Put a status on the head of a change."""
        put_status(self.api, "", change, status, longest=LONGEST_DESCRIPTION)

    def _all(self, path: str, kind: type[Item], **params: str | int) -> Iterator[Item]:
        for page in self.api.pages(path, list[kind], following=next_link, per_page=PAGE, **params):  # type: ignore[valid-type]
            yield from page

    def _goes_to(self, pull: Pull, branch: str) -> bool:
        """Whether it is for this branch of this repository: pull requests of forks have the same commits."""
        return pull.base.ref == branch and pull.base.repo.full_name.casefold() == self.repository.casefold()

    def _may_write(self, login: str) -> bool | None:
        """Whether somebody may write now, asked once for each; None where we may not ask."""
        if login not in self._writers:
            self._writers[login] = self._permission(login)
        return self._writers[login]

    def _permission(self, login: str) -> bool | None:
        reply = self.api.call("GET", f"/collaborators/{quote(login, safe='')}/permission")
        if reply.status in (403, 404):
            return False if reply.status == 404 else None
        if not reply.ok:
            raise refusal(reply)
        return decoded(reply, Permission).permission in ("admin", "write")

    @cached_property
    def _our_id(self) -> int:
        """Whose token it is. GET /user is for people; GraphQL tells an App and GITHUB_TOKEN, too."""
        query = {"query": "query { viewer { databaseId } }"}
        return self.api.send("POST", self.graphql, query, Viewer).data.viewer.databaseId


def _account(login: str, kind: str) -> Account:
    return Account(names=frozenset({login}), shown=login, is_bot=kind == "Bot")


def _faults(pull: WholePull, listed: int) -> tuple[str, ...]:
    if listed >= pull.commits:
        return ()
    return (f"it has {pull.commits} commits, and the forge names only {listed}: who wrote the others is unknown",)
