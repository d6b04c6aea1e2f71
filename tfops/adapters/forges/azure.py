"""Azure Repos: Azure DevOps Services and Server, REST, version 7.1."""

import base64
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import TypeVar
from urllib.parse import quote, unquote, urlencode

from tfops.adapters.forges.azure_answers import (
    Comment,
    Commit,
    Connection,
    Found,
    Identity,
    Iteration,
    Listing,
    Pull,
    Reviewer,
    Thread,
    WholePull,
    Written,
)
from tfops.adapters.forges.texts import shortened
from tfops.adapters.forges.transport import Reply, Transport
from tfops.forge import Account, Change, ForgeError, Opinion, Review, State, Status

PAGE = 100
VERSION = {"api-version": "7.1"}
CONNECTION_VERSION = {"api-version": "7.1-preview"}
KEY = "tfops.key"  # a property of our threads: no mark in the text
LONGEST_DESCRIPTION = 255
_NAME = r"(?!\.)[^/\\:*?\"<>|#%;{}\x00-\x1f]+"
_REPOSITORY = re.compile(rf"(?:v3/)?({_NAME})/(?:(?!_git/)({_NAME})/)?(?:_git/)?({_NAME})")
_OPINIONS = {10: Opinion.APPROVED, 5: Opinion.APPROVED, -5: Opinion.REJECTED, -10: Opinion.REJECTED}
_STATES = {State.PENDING: "pending", State.SUCCESS: "succeeded", State.FAILURE: "failed"}
_JWT = re.compile(r"ey[\w-]+\.[\w-]+\.[\w-]*", re.ASCII)
Item = TypeVar("Item")


def connect(url: str, repository: str, *, token: str, say: Callable[[str], None]) -> "Azure":
    """A repository on Azure; nothing is sent yet. Raises ValueError for one that cannot be.

    `repository` is organization/project/name, or what an address of Git has: organization/project/_git/name.
    """
    found = _REPOSITORY.fullmatch(unquote(repository))
    if found is None:
        raise ValueError("it is organization/project/name")
    organization, project, name = (quote(part, safe="") for part in (found[1], found[2] or found[3], found[3]))
    headers = {"authorization": _authorization(token), "x-tfs-fedauthredirect": "Suppress"}  # 401, no sign-in page
    return Azure(
        api=Transport(base=f"{url}/{organization}/{project}/_apis/git/repositories/{name}", headers=headers, say=say),
        page=f"{url}/{organization}/{project}/_git/{name}",
        organization=f"{url}/{organization}",
    )


def _authorization(token: str) -> str:
    """A personal access token, or the JWT of a pipeline or of Entra."""
    if _JWT.fullmatch(token):
        return f"Bearer {token}"
    return f"Basic {base64.b64encode(f':{token}'.encode()).decode()}"


@dataclass(frozen=True, kw_only=True)
class Azure:
    """One repository on Azure: a `tfops.forge.Forge`. A vote names neither time nor commit: what Azure noted tells.

    Who may write is asked nowhere in the API that a token of ours may use: of whom the trust block names it is assumed.
    """

    api: Transport
    page: str
    organization: str
    name: str = "azure"
    comment_limit: int = 140_000
    folds: bool = True

    def landed(self, commit: str, branch: str) -> Change | None:
        """The merged change that brought a commit to the branch: the one that made it, else the first that had it."""
        asked = {"queries": [{"type": kind, "items": [commit]} for kind in ("lastMergeCommit", "commit")]}
        results = self.api.send("POST", "/pullrequestquery", asked, Found, **VERSION).results
        for result in results:
            pulls = [pull for found in result.values() for pull in found if _is_into(pull, branch)]
            merged = [pull.pull_request_id for pull in pulls if pull.status == "completed"]
            if merged:
                return self.change(min(merged))
        return None

    def proposed(self, head: str, branch: str) -> Change | None:
        """The open change for the branch whose last commit is `head`."""
        for pull in self._active(branch):
            if pull.last_merge_source_commit is not None and pull.last_merge_source_commit.commit_id == head:
                return self.change(pull.pull_request_id)
        return None

    def change(self, number: int) -> Change:
        """The change of that number."""
        pull = self._whole(number)
        if pull.last_merge_source_commit is None:
            raise ForgeError(
                f"pull request {number} has no last commit yet",
                code="forge.unexpected",
                hint="nothing was taken for approved; run again in a moment",
            )
        commits = list(self._commits(number))
        return Change(
            number=number,
            url=f"{self.page}/pullrequest/{number}",
            author=_account(pull.created_by),
            target=pull.target_ref_name.removeprefix("refs/heads/"),
            source=pull.source_ref_name.removeprefix("refs/heads/"),
            head=pull.last_merge_source_commit.commit_id,
            is_merged=pull.status == "completed",
            merged_on=pull.closed_date if pull.status == "completed" else None,
            contributors=tuple(dict.fromkeys((*self._pushers(number), *_writers(commits)))),
            commits=tuple(commit.commit_id for commit in commits),
            faults=_faults(pull),
        )

    def reviews(self, change: Change) -> tuple[Review, ...]:
        """The votes in force of people; groups only repeat what their members say."""
        voters = [one for one in self._whole(change.number).reviewers if one.vote and not one.is_container]
        history = [thread for thread in self._threads(change.number) if _is_of_azure(thread)] if voters else []
        iterations = self._iterations(change.number) if voters else []
        found = [_review(voter, history, iterations) for voter in voters]
        return tuple(sorted(found, key=lambda review: review.on.timestamp() if review.on else 0.0))

    def head_refs(self, change: Change) -> tuple[str, ...]:
        """Under which refs the head of a change may be fetched: Azure keeps its merge, and the branch may be there."""
        return (f"refs/pull/{change.number}/merge", f"refs/heads/{change.source}")

    def comment(self, change: Change, key: str, body: str) -> None:
        """Write our comment, or put `body` in the place of our earlier one with this key.

        Ours is what has our property and was written with this token. The thread is closed: an active one may block.
        """
        threads = f"/pullRequests/{change.number}/threads"
        for thread in self._threads(change.number):
            first = thread.comments[0] if thread.comments else None
            if first is not None and thread.told(KEY) == key and self._is_ours(first):
                path = f"{threads}/{thread.id}/comments/{first.id}"
                self.api.send("PATCH", path, {"content": body}, Written, **VERSION)
                return
        new = {
            "comments": [{"parentCommentId": 0, "content": body, "commentType": "text"}],
            "status": "closed",
            "properties": {KEY: key},
        }
        self.api.send("POST", threads, new, Written, **VERSION)

    def set_status(self, change: Change, status: Status) -> None:
        """Put a status on the head of a change: on its iteration, or it would stay green after the next push."""
        ours = [one.id for one in self._iterations(change.number) if one.source_ref_commit.commit_id == change.head]
        if not ours:
            raise ForgeError(
                f"pull request {change.number} has no iteration of {change.head[:12]}",
                code="forge.unexpected",
                hint="run again in a moment; nothing was written",
            )
        genre, _, name = status.context.rpartition("/")
        body = {
            "context": {"genre": genre, "name": name},
            "state": _STATES[status.state],
            "description": shortened(status.description, LONGEST_DESCRIPTION),
            "iterationId": max(ours),
        } | ({"targetUrl": status.url} if status.url else {})
        self.api.send("POST", f"/pullRequests/{change.number}/statuses", body, Written, **VERSION)

    def _whole(self, number: int) -> WholePull:
        return self.api.get(f"/pullrequests/{number}", WholePull, **VERSION)

    def _active(self, branch: str) -> Iterator[Pull]:
        """The open pull requests for a branch; Azure gives no address of the next page: it is counted."""
        wanted = {"searchCriteria.status": "active", "searchCriteria.targetRefName": f"refs/heads/{branch}"}
        params: dict[str, str | int] = {**wanted, "$top": PAGE, **VERSION}
        read = 0

        def following(reply: Reply, page: Listing[Pull]) -> str | None:
            nonlocal read
            read += len(page.value)
            return f"/pullrequests?{urlencode({**params, '$skip': read})}" if len(page.value) == PAGE else None

        for page in self.api.pages("/pullrequests", Listing[Pull], following=following, **params):
            yield from page.value

    def _commits(self, number: int) -> Iterator[Commit]:
        path = f"/pullRequests/{number}/commits"
        params: dict[str, str | int] = {"$top": PAGE, **VERSION}

        def following(reply: Reply, page: Listing[Commit]) -> str | None:
            token = reply.headers.get("x-ms-continuationtoken")
            return f"{path}?{urlencode({**params, 'continuationToken': token})}" if token else None

        for page in self.api.pages(path, Listing[Commit], following=following, **params):
            yield from page.value

    def _threads(self, number: int) -> list[Thread]:
        return self.api.get(f"/pullRequests/{number}/threads", Listing[Thread], **VERSION).value

    def _iterations(self, number: int) -> list[Iteration]:
        found = self.api.get(f"/pullRequests/{number}/iterations", Listing[Iteration], **VERSION).value
        return sorted(found, key=lambda iteration: iteration.id)

    def _pushers(self, number: int) -> Iterator[Account]:
        return (_account(one.author) for one in self._iterations(number) if one.author is not None)

    def _is_ours(self, comment: Comment) -> bool:
        return comment.author is not None and not comment.is_deleted and _same(comment.author.id, self._our_id)

    @cached_property
    def _our_id(self) -> str:
        address = f"{self.organization}/_apis/connectionData"
        return self.api.get(address, Connection, **CONNECTION_VERSION).authenticated_user.id


def _is_into(pull: Pull, branch: str) -> bool:
    return pull.target_ref_name == f"refs/heads/{branch}"


def _is_of_azure(thread: Thread) -> bool:
    """Whether Azure noted it, in its own name or that of who did it: others can write the same, but as themselves."""
    first = thread.comments[0] if thread.comments else None
    if first is None or first.author is None or first.comment_type != "system":
        return False
    is_service = bool(first.author.is_container) or (first.author.descriptor or "").startswith("s2s.")
    return is_service or _same(first.author.id, _voter(thread) or "")


def _voter(thread: Thread) -> str | None:
    """Who voted: by a key of the people of the thread today, by their id before."""
    key = thread.told("CodeReviewVotedByIdentity")
    found = (thread.identities or {}).get(key) if key is not None else None
    return found.id if found is not None else thread.told("CodeReviewVotedByTfId")


def _review(voter: Reviewer, history: Iterable[Thread], iterations: Sequence[Iteration]) -> Review:
    on, head = _bound(voter, history, iterations)
    return Review(by=_account(voter), opinion=_OPINIONS[voter.vote], on=on, head=head)


def _bound(
    voter: Reviewer, history: Iterable[Thread], iterations: Sequence[Iteration]
) -> tuple[datetime | None, str | None]:
    """When somebody voted as they do now, and the last commit then: by what Azure noted, and by the iterations."""
    on, noted, pushed = None, None, None
    for thread in sorted(history, key=lambda thread: (thread.published_date, thread.id)):
        kind = thread.told("CodeReviewThreadType")
        if kind == "RefUpdate":
            pushed = thread.told("CodeReviewRefNewHeadCommit") or ""
        elif kind == "VoteUpdate" and _same(_voter(thread) or "", voter.id):
            is_it = thread.told("CodeReviewVoteResult") == str(voter.vote)
            on, noted = (thread.published_date, pushed) if is_it else (None, None)
    if on is None:
        return None, None
    before = [one.source_ref_commit.commit_id for one in iterations if one.created_date <= on]
    last = before[-1] if before else None
    return on, last if noted in (None, last) else None


def _faults(pull: WholePull) -> tuple[str, ...]:
    options = pull.completion_options
    is_forced = pull.status == "completed" and options is not None and options.bypass_policy
    return ("its policies were bypassed when it was completed",) if is_forced else ()


def _writers(commits: Iterable[Commit]) -> Iterator[Account]:
    """Who wrote or committed: their addresses, which in most organizations are the names of their accounts."""
    for commit in commits:
        for signature in (commit.author, commit.committer):
            if signature is not None and signature.email:
                yield Account(names=frozenset({signature.email}), shown=signature.email)


def _account(identity: Identity) -> Account:
    names = frozenset({identity.id, *((identity.unique_name,) if identity.unique_name else ())})
    is_bot = (identity.descriptor or "").startswith(("svc.", "s2s.", "aadsp."))
    return Account(names=names, shown=identity.display_name, is_bot=is_bot)


def _same(one: str, other: str) -> bool:
    """Whether two ids are one: Azure writes them with and without hyphens."""
    return one.replace("-", "").casefold() == other.replace("-", "").casefold() != ""
