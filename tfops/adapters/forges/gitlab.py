"""GitLab, its Free and Community Editions included: REST, version 4."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from itertools import takewhile
from random import SystemRandom
from typing import TypeVar
from urllib.parse import quote

from tfops.adapters.forges.gitlab_answers import (
    Approval,
    Approvals,
    Commit,
    CommitWithPipeline,
    Member,
    MergeRequest,
    Note,
    Project,
    Reviewer,
    User,
    Version,
    Written,
)
from tfops.adapters.forges.texts import mark, shortened
from tfops.adapters.forges.transport import Reply, Transport, decoded, next_link, refusal
from tfops.forge import Account, Change, ForgeError, Opinion, Review, State, Status

PAGE = 100
PAUSES = (1.0, 2.0)  # a pipeline that is being made, and two jobs that write statuses at once, take a moment
LONGEST_DESCRIPTION = 255
DEVELOPER = 30  # the least access that lets push
GHOST = "ghost"  # gets the work of accounts that are deleted
_REPOSITORY = re.compile(r"\d+|(?![.-])[\w.-]+(/(?![.-])[\w.-]+)+", re.ASCII)
_BOT = re.compile(r"(project|group)_\d+_bot.*", re.ASCII)
_PUSH_NOTE = re.compile(r"added \d+ (new )?commits?\b")
_APPROVAL_NOTE = re.compile(r"(un)?approved this merge request\b")
_SAME_AGAIN = re.compile(r"Cannot transition status via :\w+ from :(\w+)")
_STATES = {State.PENDING: "pending", State.SUCCESS: "success", State.FAILURE: "failed"}
Item = TypeVar("Item")


def connect(url: str, repository: str, *, token: str, say: Callable[[str], None]) -> "GitLab":
    """A project on GitLab, by its path or its number; nothing is sent yet. Raises ValueError for one that cannot be."""
    if not _REPOSITORY.fullmatch(repository):
        raise ValueError("it is group/name, group/subgroup/name, or the project's number")
    base = f"{url}/api/v4/projects/{quote(repository, safe='')}"
    return GitLab(api=Transport(base=base, headers={"private-token": token}, say=say), root=f"{url}/api/v4")


@dataclass(frozen=True, kw_only=True)
class GitLab:
    """One project on GitLab: a `tfops.forge.Forge`. An approval there names no commit: its time tells which it was."""

    api: Transport
    root: str
    name: str = "gitlab"
    comment_limit: int = 900_000
    folds: bool = True
    _writers: dict[int, bool | None] = field(default_factory=dict)

    def landed(self, commit: str, branch: str) -> Change | None:
        """The merged change that brought a commit to the branch."""
        merged = [request for request in self._with(commit, branch) if request.state == "merged"]
        if not merged:
            return None
        return self._change(min(merged, key=lambda request: (_distance(request, commit), request.iid)))

    def proposed(self, head: str, branch: str) -> Change | None:
        """The open change for the branch whose last commit is `head`."""
        opened = (one for one in self._with(head, branch) if one.state == "opened" and one.sha == head)
        found = next(opened, None)
        return None if found is None else self._change(found)

    def change(self, number: int) -> Change:
        """The change of that number."""
        return self._change(self.api.get(f"/merge_requests/{number}", MergeRequest))

    def reviews(self, change: Change) -> tuple[Review, ...]:
        """The approvals in force by their times; then the requests for changes, of which no time is told."""
        approvals = self.api.get(f"/merge_requests/{change.number}/approvals", Approvals).approved_by
        given = sorted(self._timed(change.number, approvals), key=lambda one: one[1].timestamp() if one[1] else 0.0)
        versions = list(self._all(f"/merge_requests/{change.number}/versions", Version)) if given else []
        approved = (self._review(user, Opinion.APPROVED, on, seen(versions, change.head, on)) for user, on in given)
        rejected = (
            self._review(one.user, Opinion.REJECTED, None, None)
            for one in self._reviewers(change.number)
            if one.state == "requested_changes"
        )
        return (*approved, *rejected)

    def head_refs(self, change: Change) -> tuple[str, ...]:
        """Under which refs the head of a change may be fetched."""
        return (f"refs/merge-requests/{change.number}/head",)

    def comment(self, change: Change, key: str, body: str) -> None:
        """Write our note, or put `body` in the place of our earlier one with this key.

        Ours is what begins with our mark and was written with this token's account.
        """
        text = f"{mark(key)}\n{body}"
        notes = f"/merge_requests/{change.number}/notes"
        ours = next((note for note in self._all(notes, Note, sort="asc") if self._is_ours(note, key)), None)
        if ours is None:
            self.api.send("POST", notes, {"body": text}, Written)
        else:
            self.api.send("PUT", f"{notes}/{ours.id}", {"body": text}, Written)

    def set_status(self, change: Change, status: Status) -> None:
        """Put a status on the head of a change, in its pipeline: else GitLab makes another one, which holds it up."""
        pipeline = self._pipeline(change.head)
        body: dict[str, object] = {
            "state": _STATES[status.state],
            "name": status.context,
            "description": shortened(status.description, LONGEST_DESCRIPTION),
            **({"ref": change.source} if pipeline is None else {"pipeline_id": pipeline}),
            **({"target_url": status.url} if status.url else {}),
        }
        for pause in (*PAUSES, None):
            reply = self.api.call("POST", f"/statuses/{change.head}", body=body)
            if reply.ok or _is_that_already(reply, status.state):
                return
            if reply.status != 409 or pause is None:
                raise refusal(reply)
            self.api.sleep(pause * SystemRandom().uniform(0.5, 1.5))

    def _all(self, path: str, kind: type[Item], **params: str | int) -> Iterator[Item]:
        for page in self.api.pages(path, list[kind], following=next_link, per_page=PAGE, **params):  # type: ignore[valid-type]
            yield from page

    def _with(self, commit: str, branch: str) -> list[MergeRequest]:
        """The merge requests for the branch that have a commit; GitLab names those for other branches and forks too."""
        return [
            request
            for request in self._all(f"/repository/commits/{commit}/merge_requests", MergeRequest)
            if request.target_branch == branch and request.target_project_id == self._project
        ]

    @cached_property
    def _project(self) -> int:
        return self.api.get(self.api.base, Project).id

    def _change(self, request: MergeRequest) -> Change:
        if request.sha is None:
            raise ForgeError(
                f"merge request !{request.iid} has no last commit",
                code="forge.unexpected",
                hint="nothing was taken for approved; look at the merge request, it may be broken",
            )
        number = request.iid
        pushers = [note.author for note in self._told(number, _PUSH_NOTE) if note.author is not None]
        return Change(
            number=number,
            url=request.web_url,
            author=_account(request.author),
            target=request.target_branch,
            source=request.source_branch,
            head=request.sha,
            is_merged=request.state == "merged",
            merged_on=request.merged_at,
            contributors=tuple(dict.fromkeys(found for user in pushers if (found := _account(user)))),
            commits=tuple(commit.id for commit in self._all(f"/merge_requests/{number}/commits", Commit)),
        )

    def _told(self, number: int, pattern: re.Pattern[str]) -> list[Note]:
        """What GitLab itself noted in such words, the oldest first: others can write them, but not as `system`."""
        notes = self._all(f"/merge_requests/{number}/notes", Note, sort="asc", activity_filter="only_activity")
        return [note for note in notes if note.system and pattern.match(note.body)]

    def _timed(self, number: int, approvals: Sequence[Approval]) -> Iterator[tuple[User, datetime | None]]:
        """Who approves, and since when; on a server that does not say, when it noted the last one of that account."""
        noted: dict[int, datetime] = {}
        if any(approval.approved_at is None for approval in approvals):
            for note in self._told(number, _APPROVAL_NOTE):
                if note.author is not None and note.body.startswith("approved"):
                    noted[note.author.id] = note.created_at
        for approval in approvals:
            yield approval.user, approval.approved_at or noted.get(approval.user.id)

    def _reviewers(self, number: int) -> list[Reviewer]:
        """Who was asked for a review; nobody on a server so old that it does not know of that."""
        try:
            return list(self._all(f"/merge_requests/{number}/reviewers", Reviewer))
        except ForgeError as error:
            if error.problems[0].code != "forge.not_found":
                raise
            return []

    def _review(self, user: User, opinion: Opinion, on: datetime | None, head: str | None) -> Review:
        by = _account(user)
        return Review(by=by, opinion=opinion, on=on, head=head, may_write=self._may_write(user.id) if by else None)

    def _may_write(self, user: int) -> bool | None:
        """Whether somebody may write now, asked once for each; None where we may not ask."""
        if user not in self._writers:
            self._writers[user] = self._access(user)
        return self._writers[user]

    def _access(self, user: int) -> bool | None:
        reply = self.api.call("GET", f"/members/all/{user}")
        if reply.status in (403, 404):
            return False if reply.status == 404 else None
        if not reply.ok:
            raise refusal(reply)
        return decoded(reply, Member).access_level >= DEVELOPER

    def _is_ours(self, note: Note, key: str) -> bool:
        return note.body.startswith(mark(key)) and note.author is not None and note.author.id == self._our_id

    @cached_property
    def _our_id(self) -> int:
        return self.api.get(f"{self.root}/user", User).id

    def _pipeline(self, commit: str) -> int | None:
        """The last pipeline of a commit; None where there is none after some seconds."""
        for pause in (*PAUSES, None):
            found = self.api.get(f"/repository/commits/{commit}", CommitWithPipeline).last_pipeline
            if found is not None:
                return found.id
            if pause is not None:
                self.api.sleep(pause)
        return None


def seen(versions: Sequence[Version], head: str, on: datetime | None) -> str | None:
    """The commit that somebody saw who approved at that time; None where nobody can tell.

    The last versions with one and the same patch are one: a rebase without changes keeps approvals in GitLab.
    """
    newest = sorted(versions, key=lambda version: version.id, reverse=True)
    if on is None or not newest or newest[0].head_commit_sha != head:
        return None
    patch = newest[0].patch_id_sha
    same = list(takewhile(lambda version: version.patch_id_sha == patch, newest)) if patch else newest[:1]
    if on >= same[-1].created_at:
        return head
    return next((version.head_commit_sha for version in newest if version.created_at <= on), None)


def _distance(request: MergeRequest, commit: str) -> int:
    """How sure it is that just this merge request made the commit; 0 is surest."""
    places = (request.merge_commit_sha, request.squash_commit_sha, request.sha)
    return places.index(commit) if commit in places else len(places)


def _account(user: User | None) -> Account | None:
    if user is None or user.username == GHOST:
        return None
    is_bot = _BOT.fullmatch(user.username) is not None
    return Account(names=frozenset({user.username}), shown=user.username, is_bot=is_bot)


def _is_that_already(reply: Reply, state: State) -> bool:
    """Whether GitLab refuses a status because it is there: 400, `Cannot transition status via :run from :running`."""
    found = _SAME_AGAIN.search(reply.body.decode(errors="replace")) if reply.status == 400 else None
    return found is not None and found[1] in {_STATES[state], "running" if state is State.PENDING else ""}
