"""Bitbucket Cloud: REST, version 2.0."""

import base64
import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from itertools import islice
from typing import TypeVar
from urllib.parse import urlsplit

from tfops.adapters.forges.bitbucket_answers import (
    Activity,
    Comment,
    Commit,
    Numbered,
    Page,
    Participant,
    Pull,
    User,
    WholePull,
)
from tfops.adapters.forges.texts import shortened
from tfops.adapters.forges.transport import Reply, Transport, decoded, refusal
from tfops.forge import Account, Change, ForgeError, Opinion, Review, State, Status

PAGE = 50
MOST_PAGES_BACK = 10  # of merged pull requests, where the repository has no index of commits
LONGEST_KEY = 40
LONGEST_DESCRIPTION = 255
_REPOSITORY = re.compile(r"(?!\.)[\w.-]+/(?!\.{1,2}$)[\w.-]+", re.ASCII)
_STATES = {State.PENDING: "INPROGRESS", State.SUCCESS: "SUCCESSFUL", State.FAILURE: "FAILED"}
Item = TypeVar("Item")


def connect(url: str, repository: str, *, token: str, say: Callable[[str], None]) -> "Bitbucket":
    """A repository on Bitbucket Cloud; nothing is sent yet. Raises ValueError for one that cannot be."""
    if not _REPOSITORY.fullmatch(repository):
        raise ValueError("it is workspace/name")
    api = "https://api.bitbucket.org" if urlsplit(url).hostname == "bitbucket.org" else url
    base = f"{api}/2.0/repositories/{repository}"
    return Bitbucket(
        api=Transport(base=base, headers={"authorization": _authorization(token)}, say=say),
        repository=repository,
        root=f"{api}/2.0",
    )


def _authorization(token: str) -> str:
    """An access token as it is; an API token of a person comes with their address: `address:token`."""
    return f"Basic {base64.b64encode(token.encode()).decode()}" if ":" in token else f"Bearer {token}"


@dataclass(frozen=True, kw_only=True)
class Bitbucket:
    """One repository on Bitbucket Cloud: a `tfops.forge.Forge`. The log tells which commit an approval was of.

    Who may write there only administrators may ask: of whom the trust block names it is assumed.
    """

    api: Transport
    repository: str
    root: str
    name: str = "bitbucket"
    comment_limit: int = 29_900  # with our line below 30,000
    folds: bool = False

    def landed(self, commit: str, branch: str) -> Change | None:
        """The merged change that brought a commit to the branch."""
        reply = self.api.call("GET", f"/commit/{commit}/pullrequests", params={"pagelen": PAGE})
        if reply.status in (202, 404):  # there is no index of commits, or it is not ready: that is not "none"
            return self._merged_lately(commit, branch)
        found = [self._whole(one.id) for one in self._indexed(reply)]
        merged = [pull for pull in found if pull.state == "MERGED" and self._goes_to(pull, branch)]
        if not merged:
            return None
        return self._change(min(merged, key=lambda pull: (not _made(pull, commit), pull.id)))

    def proposed(self, head: str, branch: str) -> Change | None:
        """The open change for the branch whose last commit is `head`."""
        for pull in self._all("/pullrequests", Pull, state="OPEN", pagelen=PAGE):
            if pull.source.commit and head.startswith(pull.source.commit.hash) and self._goes_to(pull, branch):
                change = self.change(pull.id)
                if change.head == head:
                    return change
        return None

    def change(self, number: int) -> Change:
        """The change of that number."""
        return self._change(self._whole(number))

    def reviews(self, change: Change) -> tuple[Review, ...]:
        """What the participants say now; the log of what happened tells when they said it, and of which commit."""
        opinions = [(one, _opinion(one)) for one in self._whole(change.number).participants]
        history = self._history(change.number)
        found = [_review(one, opinion, history, change) for one, opinion in opinions if opinion is not None]
        return tuple(sorted(found, key=lambda review: review.on.timestamp() if review.on else 0.0))

    def head_refs(self, change: Change) -> tuple[str, ...]:
        """Under which refs the head of a change may be fetched: Bitbucket keeps none, the branch may still be there."""
        return (f"refs/heads/{change.source}",)

    def comment(self, change: Change, key: str, body: str) -> None:
        """Write our comment, or put `body` in the place of our earlier one with this key.

        Ours is what ends with our line, which everybody sees as there is no HTML, and was written with this token.
        """
        path = f"/pullrequests/{change.number}/comments"
        text = {"content": {"raw": f"{body}\n\n{footer(key)}"}}
        for comment in list(self._all(path, Comment, pagelen=PAGE)):
            if self._may_be_ours(comment, key):
                reply = self.api.call("PUT", f"{path}/{comment.id}", body=text)
                if reply.ok:
                    return
                if self._our_uuid is not None or reply.status not in (403, 404):
                    raise refusal(reply)
        self.api.send("POST", path, text, Numbered)

    def set_status(self, change: Change, status: Status) -> None:
        """Put a status on the head of a change. It shows in the pull request by the name of its branch."""
        body = {
            "key": status_key(status.context),
            "name": status.context,
            "state": _STATES[status.state],
            "description": shortened(status.description, LONGEST_DESCRIPTION),
            "url": status.url or change.url,
            "refname": change.source,
        }
        reply = self.api.call("POST", f"/commit/{change.head}/statuses/build", body=body)
        if not reply.ok:
            raise refusal(reply)

    def _all(self, path: str, kind: type[Item], **params: str | int) -> Iterator[Item]:
        for page in self.api.pages(path, Page[kind], following=lambda reply, page: page.next, **params):  # type: ignore[valid-type]
            yield from page.values

    def _indexed(self, reply: Reply) -> list[Numbered]:
        if not reply.ok:
            raise refusal(reply)
        page = decoded(reply, Page[Numbered])
        return [*page.values, *(self._all(page.next, Numbered) if page.next else ())]

    def _merged_lately(self, commit: str, branch: str) -> Change | None:
        """The pull request that made the commit, among those that changed last; ForgeError where it may be older."""
        listed = self._all("/pullrequests", Pull, state="MERGED", sort="-updated_on", pagelen=PAGE)
        pulls = list(islice(listed, MOST_PAGES_BACK * PAGE + 1))
        found = next((pull for pull in pulls if _made(pull, commit) and self._goes_to(pull, branch)), None)
        if found is None and len(pulls) > MOST_PAGES_BACK * PAGE:
            raise ForgeError(
                f"Bitbucket has no index of commits here, and none of the last {MOST_PAGES_BACK * PAGE} merged pull "
                f"requests made {commit[:12]}",
                code="forge.not_indexed",
                hint='open a commit in Bitbucket and click "Go to pull request" once: that makes the index',
            )
        return None if found is None else self.change(found.id)

    def _goes_to(self, pull: Pull, branch: str) -> bool:
        where = pull.destination
        return where.branch.name == branch and where.repository.full_name.casefold() == self.repository.casefold()

    def _whole(self, number: int) -> WholePull:
        """A pull request with its participants: lists leave them out."""
        return self.api.get(f"/pullrequests/{number}", WholePull)

    def _history(self, number: int) -> list[Activity]:
        """What happened to a pull request, the oldest first; Bitbucket lists the newest first."""
        log = list(self._all(f"/pullrequests/{number}/activity", Activity, pagelen=PAGE))
        dated = [(step.date, entry) for entry in reversed(log) if (step := entry.step) is not None]
        return [entry for _, entry in sorted(dated, key=lambda one: one[0])]

    def _change(self, pull: WholePull) -> Change:
        commits = list(self._all(f"/pullrequests/{pull.id}/commits", Commit, pagelen=PAGE))
        writers = (_account(commit.author.user) for commit in commits)
        return Change(
            number=pull.id,
            url=pull.links.html.href,
            author=_account(pull.author),
            target=pull.destination.branch.name,
            source=pull.source.branch.name,
            head=_head(pull, commits),
            is_merged=pull.state == "MERGED",
            contributors=tuple(dict.fromkeys(account for account in writers if account is not None)),
            commits=tuple(commit.hash for commit in commits),
        )

    def _may_be_ours(self, comment: Comment, key: str) -> bool:
        """Whether a comment is ours; where the token may not ask who it is, Bitbucket lets only us change ours."""
        if comment.deleted or comment.user is None or not comment.content.raw.rstrip().endswith(f"\n{footer(key)}"):
            return False
        return self._our_uuid in (None, comment.user.uuid)

    @cached_property
    def _our_uuid(self) -> str | None:
        """Whose token it is; None for the token of a repository, which may not ask."""
        reply = self.api.call("GET", f"{self.root}/user")
        if reply.status in (401, 403, 404):
            return None
        if not reply.ok:
            raise refusal(reply)
        return decoded(reply, User).uuid


def footer(key: str) -> str:
    """The last line of our comment: its name, for everybody to see."""
    return f"`tfops · {re.sub(r'[^ -_a-~]', '?', key)}`"


def status_key(context: str) -> str:
    """What names a status: cut ones would collide, so a long one is hashed."""
    return context if len(context) <= LONGEST_KEY else f"tfops-{hashlib.sha256(context.encode()).hexdigest()[:32]}"


def _made(pull: Pull, commit: str) -> bool:
    """Whether a merge of the pull request made the commit; a fast-forward has no merge commit but its last one."""
    made = pull.merge_commit or pull.source.commit
    return made is not None and commit.startswith(made.hash)


def _head(pull: Pull, commits: Sequence[Commit]) -> str:
    """The full id of the last commit: the pull request says the beginning of it only."""
    start = pull.source.commit
    found = {commit.hash for commit in commits if start is not None and commit.hash.startswith(start.hash)}
    if len(found) != 1:
        raise ForgeError(
            f"pull request #{pull.id} does not say which commit is its last one",
            code="forge.unexpected",
            hint="nothing was taken for approved; its branch may be gone, or two commits begin alike",
        )
    return found.pop()


def _review(participant: Participant, opinion: Opinion, history: Iterable[Activity], change: Change) -> Review:
    on, head = _told(participant, opinion, history) or (participant.participated_on, None)
    full = next((commit for commit in (change.head, *change.commits) if head and commit.startswith(head)), head)
    return Review(by=_account(participant.user), opinion=opinion, on=on, head=full)


def _opinion(participant: Participant) -> Opinion | None:
    """What somebody says of the pull request now; both fields have to say it."""
    if participant.state == "changes_requested":
        return Opinion.REJECTED
    return Opinion.APPROVED if participant.state == "approved" and participant.approved else None


def _told(
    participant: Participant, opinion: Opinion, history: Iterable[Activity]
) -> tuple[datetime, str | None] | None:
    """When somebody last said so, and which commit was the last one then; None where the log does not know of it."""
    head, told = None, None
    for entry in history:
        vote = entry.approval if opinion is Opinion.APPROVED else entry.changes_requested
        if entry.update is not None:
            head = entry.update.source.commit.hash if entry.update.source.commit else None
        elif vote is not None and _is_same(vote.user, participant.user):
            told = vote.date, head
    return told


def _is_same(one: User | None, other: User | None) -> bool:
    return one is not None and other is not None and one.uuid == other.uuid


def _account(user: User | None) -> Account | None:
    if user is None:
        return None
    names = {user.uuid, user.uuid.strip("{}"), *((user.account_id,) if user.account_id else ())}
    return Account(names=frozenset(names), shown=user.display_name, is_bot=user.type == "app_user")
