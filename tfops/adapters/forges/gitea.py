"""Gitea and Forgejo: the same API under two names."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Literal, TypeVar

import msgspec

from tfops.adapters.forges.issues import Base, Comment, Head, put_comment, put_status
from tfops.adapters.forges.texts import owner_and_name
from tfops.adapters.forges.transport import Transport, next_link
from tfops.forge import Account, Change, Opinion, Review, Status

PAGE = 50  # more is cut down by the server
LONGEST_DESCRIPTION = 255
GHOST = -1  # the account of those who are gone
ACTIONS = -2  # the account of the token that a workflow is given
_OPINIONS = {"APPROVED": Opinion.APPROVED, "REQUEST_CHANGES": Opinion.REJECTED}
Item = TypeVar("Item")


class User(msgspec.Struct):
    """An account."""

    id: int
    login: str


class Pull(msgspec.Struct):
    """A pull request."""

    number: int
    html_url: str
    user: User | None
    base: Base
    head: Head
    merged: bool
    merged_at: datetime | None


class PullReview(msgspec.Struct):
    """A review. `official`: its author could write then, and it is their last. `user` is null for teams."""

    user: User | None
    state: Literal["APPROVED", "REQUEST_CHANGES", "COMMENT", "PENDING", "REQUEST_REVIEW"]
    commit_id: str
    stale: bool
    official: bool
    dismissed: bool
    submitted_at: datetime | None = None


class Parent(msgspec.Struct):
    """A commit that another one follows."""

    sha: str


class Commit(msgspec.Struct):
    """A commit, and the accounts to which its addresses belong."""

    sha: str
    parents: list[Parent]
    author: User | None
    committer: User | None


def connect(url: str, repository: str, *, token: str, say: Callable[[str], None]) -> "Gitea":
    """A repository on Gitea or Forgejo; nothing is sent yet. Raises ValueError for one that cannot be."""
    api = Transport(base=f"{url}/api/v1", headers={"authorization": f"token {token}"}, say=say)
    return Gitea(api=api, repository=owner_and_name(repository))


@dataclass(frozen=True, kw_only=True)
class Gitea:
    """One repository on Gitea or Forgejo: a `tfops.forge.Forge`."""

    api: Transport
    repository: str
    name: str = "gitea"
    comment_limit: int = 60_000
    folds: bool = True

    def landed(self, commit: str, branch: str) -> Change | None:
        """The merged change whose merge made this commit.

        Of a rebase or a fast-forward it knows only the last commit: the ones before it have no change here.
        """
        pull = self.api.find(f"{self._here}/commits/{commit}/pull", Pull)
        if pull is None or not pull.merged or not self._goes_to(pull, branch):
            return None
        return self._change(pull)

    def proposed(self, head: str, branch: str) -> Change | None:
        """The open change for the branch whose last commit is `head`."""
        pulls = self._all("/pulls", Pull, state="open", sort="oldest")
        found = next((pull for pull in pulls if pull.head.sha == head and self._goes_to(pull, branch)), None)
        return None if found is None else self._change(found)

    def change(self, number: int) -> Change:
        """The change of that number."""
        return self._change(self.api.get(f"{self._here}/pulls/{number}", Pull))

    def reviews(self, change: Change) -> tuple[Review, ...]:
        """Every opinion on a change, the oldest first."""
        return tuple(
            Review(
                by=_account(review.user),
                opinion=Opinion.WITHDRAWN if review.dismissed else _OPINIONS[review.state],
                on=review.submitted_at,
                head=_seen(review, change.head),
                may_write=review.official,
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
        put_comment(self.api, self._here, change, key, body, comments=comments, our_id=lambda: self._our_id)

    def set_status(self, change: Change, status: Status) -> None:
        """Put a status on the head of a change."""
        put_status(self.api, self._here, change, status, longest=LONGEST_DESCRIPTION)

    @property
    def _here(self) -> str:
        return f"/repos/{self.repository}"

    def _all(self, path: str, kind: type[Item], **params: str | int) -> Iterator[Item]:
        pages = self.api.pages(f"{self._here}{path}", list[kind], following=next_link, limit=PAGE, **params)  # type: ignore[valid-type]
        for page in pages:
            yield from page

    def _goes_to(self, pull: Pull, branch: str) -> bool:
        return pull.base.ref == branch and pull.base.repo.full_name.casefold() == self.repository.casefold()

    def _change(self, pull: Pull) -> Change:
        commits = list(self._all(f"/pulls/{pull.number}/commits", Commit))
        head = _merged_head(commits) if pull.merged else pull.head.sha
        accounts = [_account(user) for commit in commits for user in (commit.author, commit.committer)]
        return Change(
            number=pull.number,
            url=pull.html_url,
            author=_account(pull.user),
            target=pull.base.ref,
            source=pull.head.ref,
            head=head or pull.head.sha,
            is_merged=pull.merged,
            merged_on=pull.merged_at,
            contributors=tuple(dict.fromkeys(account for account in accounts if account is not None)),
            commits=tuple(commit.sha for commit in commits),
            faults=() if head else ("the forge does not say which commit of it was merged",),
        )

    @cached_property
    def _our_id(self) -> int:
        """Whose token it is; it needs read:user."""
        return self.api.get("/user", User).id


def _account(user: User | None) -> Account | None:
    if user is None or user.id == GHOST:
        return None
    return Account(names=frozenset({user.login}), shown=user.login, is_bot=user.id == ACTIONS)


def _merged_head(commits: Sequence[Commit]) -> str | None:
    """The last of a change's commits. `head.sha` follows the source branch, also when that moves after the merge."""
    last = {commit.sha for commit in commits} - {parent.sha for commit in commits for parent in commit.parents}
    return last.pop() if len(last) == 1 else None


def _seen(review: PullReview, head: str) -> str | None:
    """The commit that a review is about; None where the forge says that it is an old one, and names the newest."""
    if review.stale and review.commit_id == head:
        return None
    return review.commit_id or None
