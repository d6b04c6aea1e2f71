"""Bitbucket Cloud as a fake: what tfops and atlassian-python-api ask for, in Bitbucket's words."""

import uuid
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from tests.forges.repository import Commit
from tests.forges.server import Answer, Refusal, Request, route
from tests.forges.world import Comment, FakeForge, Person, PostedStatus, Proposal, Vote, last_votes

STATES = {"approved": "approved", "rejected": "changes_requested", "commented": None}
LONGEST_COMMENT = 32_767
LONGEST_KEY = 40
HERE = "/repositories/{workspace}/{slug}"


class Bitbucket(FakeForge):
    """Bitbucket with one repository.

    `is_indexed`: whether "Pull Request Commit Links" is there: True, False (404), or None while it is being made (202).
    `tells_who`: whether the token may ask who it is; the one of a repository may not.
    """

    kind = "bitbucket"
    prefix = "/2.0"
    head_ref = None
    is_indexed: bool | None = True
    tells_who = True

    @property
    def here(self) -> str:
        """The repository's address in the API."""
        return f"{self.url}/2.0/repositories/{self.repository}"

    def admits(self, request: Request) -> bool:
        """Whether the request shows the token as `Bearer`."""
        return request.headers.get("authorization") == f"Bearer {self.token}"

    def not_found(self) -> Answer:
        """What a request for something that is not there is told."""
        return _error(404, "Resource not found")

    def page(self, request: Request, items: Sequence[Any], *, size: str = "pagelen", most: int = 100) -> Answer:
        """One page of a listing: in the body, with the address of the next one."""
        length, number = min(int(request.query.get(size, 10)), most), int(request.query.get("page", 1))
        document: dict[str, Any] = {"pagelen": length, "page": number, "size": len(items)}
        document["values"] = list(items[(number - 1) * length : number * length])
        if number * length < len(items):
            document["next"] = f"{self.url}{request.path}?{urlencode({**request.query, 'page': number + 1})}"
        return Answer(200, document)

    # Who

    @route("GET", "/user")
    def whoami(self, request: Request) -> Any:
        if not self.tells_who:
            return _error(403, "This API is not accessible with this token")
        return self._user(self.me)

    # Changes

    @route("GET", HERE)
    def get_repository(self, request: Request, workspace: str, slug: str) -> Any:
        self._same(workspace, slug)
        return self._repository() | {
            "links": {name: {"href": f"{self.here}/{name}"} for name in ("pullrequests", "commits")}
            | {"self": {"href": self.here}}
        }

    @route("GET", f"{HERE}/commit/{{commit}}/pullrequests")
    def pulls_of_commit(self, request: Request, workspace: str, slug: str, commit: str) -> Answer:
        self._same(workspace, slug)
        if not self.is_indexed:
            return _error(404, "Not indexed") if self.is_indexed is False else Answer(202, {"values": []})
        found = self.changes_of(commit)
        return self.page(request, [{"type": "pullrequest", "id": one.number, "title": one.title} for one in found])

    @route("GET", f"{HERE}/commit/{{commit}}")
    def get_commit(self, request: Request, workspace: str, slug: str, commit: str) -> Any:
        self._same(workspace, slug)
        return self._commit(self.git.read(commit))

    @route("GET", f"{HERE}/commits/{{commit}}")
    def get_commits(self, request: Request, workspace: str, slug: str, commit: str) -> Any:
        return self.page(request, [self._commit(one) for one in reversed(self.git.commits(None, commit))])

    @route("GET", f"{HERE}/pullrequests")
    @route("GET", f"{HERE}/pullrequests/")
    def pulls(self, request: Request, workspace: str, slug: str) -> Answer:
        self._same(workspace, slug)
        state = request.query.get("state", "OPEN")
        found = [self._pull(one) for one in reversed(self.proposals.values()) if _state(one) == state]
        return self.page(request, found, most=50)

    @route("GET", f"{HERE}/pullrequests/{{number}}")
    def pull(self, request: Request, workspace: str, slug: str, number: str) -> Any:
        self._same(workspace, slug)
        return self._whole_pull(self.proposals[int(number)])

    @route("GET", f"{HERE}/pullrequests/{{number}}/commits")
    def pull_commits(self, request: Request, workspace: str, slug: str, number: str) -> Answer:
        commits = self.commits_of(self.proposals[int(number)])
        return self.page(request, [self._commit(commit) for commit in reversed(commits)])

    @route("GET", f"{HERE}/pullrequests/{{number}}/activity")
    def activity(self, request: Request, workspace: str, slug: str, number: str) -> Answer:
        proposal = self.proposals[int(number)]
        entries = sorted(self._happened(proposal), key=lambda entry: entry[0], reverse=True)
        return self.page(request, [entry | {"pull_request": self._short(proposal)} for _, entry in entries], most=50)

    # Opinions

    @route("POST", f"{HERE}/pullrequests/{{number}}/approve")
    def press_approve(self, request: Request, workspace: str, slug: str, number: str) -> Any:
        self.approve(int(number), self.me.login)
        return self._participant(last_votes(self.proposals[int(number)])[-1])

    @route("DELETE", f"{HERE}/pullrequests/{{number}}/approve")
    def press_unapprove(self, request: Request, workspace: str, slug: str, number: str) -> Any:
        self.withdraw(int(number), self.me.login)
        return Answer(204)

    @route("POST", f"{HERE}/pullrequests/{{number}}/request-changes")
    def press_reject(self, request: Request, workspace: str, slug: str, number: str) -> Any:
        self.reject(int(number), self.me.login)
        return self._participant(last_votes(self.proposals[int(number)])[-1])

    # Comments and statuses

    @route("GET", f"{HERE}/pullrequests/{{number}}/comments")
    def list_comments(self, request: Request, workspace: str, slug: str, number: str) -> Answer:
        proposal = self.proposals[int(number)]
        return self.page(request, [self._comment(proposal, comment) for comment in proposal.comments])

    @route("POST", f"{HERE}/pullrequests/{{number}}/comments")
    def new_comment(self, request: Request, workspace: str, slug: str, number: str) -> Answer:
        proposal = self.proposals[int(number)]
        return Answer(201, self._comment(proposal, self.commented(proposal, self.me, _body(request))))

    @route("PUT", f"{HERE}/pullrequests/{{number}}/comments/{{comment}}")
    def edit_comment(self, request: Request, workspace: str, slug: str, number: str, comment: str) -> Any:
        proposal, found = self.comment_by_id(int(comment))
        if found.by != self.me:
            return _error(403, "You may not edit this comment")
        return self._comment(proposal, self.edited(found, _body(request)))

    @route("POST", f"{HERE}/commit/{{commit}}/statuses/build")
    def new_status(self, request: Request, workspace: str, slug: str, commit: str) -> Answer:
        asked = request.document
        if not asked.get("url") or len(asked["key"]) > LONGEST_KEY:
            raise Refusal(400, "url: This field is required; key: at most 40 characters")
        extra = {name: asked.get(name) for name in ("key", "refname")}
        posted = self.post(commit, asked.get("name") or asked["key"], asked["state"], asked.get("description") or "",
                           asked["url"], **extra)  # fmt: skip
        return Answer(201, self._status(posted))

    @route("GET", f"{HERE}/commit/{{commit}}/statuses")
    def list_statuses(self, request: Request, workspace: str, slug: str, commit: str) -> Answer:
        last = {status.extra["key"]: status for status in self.posted if status.commit == commit}
        return self.page(request, [self._status(status) for status in last.values()])

    # Bitbucket's words

    def _same(self, workspace: str, slug: str) -> None:
        if f"{workspace}/{slug}" != self.repository:
            raise LookupError(slug)

    def login(self, person: str) -> str:
        """What the trust block has to call somebody."""
        return str(self._user(self.people[person])["uuid"])

    def _user(self, person: Person | None) -> Any:
        if person is None:
            return None
        name = "{" + str(uuid.uuid5(uuid.NAMESPACE_URL, f"user {person.id}")) + "}"
        return {
            "type": "app_user" if person.is_bot else "user", "uuid": name, "display_name": person.login.capitalize(),
            "account_id": f"5b{person.id:022}", "nickname": person.login,
            "links": {"self": {"href": f"{self.url}/2.0/users/{name}"}},
        }  # fmt: skip

    def _repository(self) -> dict[str, Any]:
        return {"type": "repository", "full_name": self.repository, "name": self.repository.partition("/")[2]}

    def _end(self, branch: str, commit: str) -> dict[str, Any]:
        return {"branch": {"name": branch}, "commit": {"hash": commit[:12]}, "repository": self._repository()}

    def _short(self, proposal: Proposal) -> dict[str, Any]:
        address = f"{self.here}/pullrequests/{proposal.number}"
        return {
            "type": "pullrequest", "id": proposal.number, "title": proposal.title,
            "links": {
                "self": {"href": address}, "activity": {"href": f"{address}/activity"},
                "html": {"href": f"{self.url}/{self.repository}/pull-requests/{proposal.number}"},
            },
        }  # fmt: skip

    def _pull(self, proposal: Proposal) -> dict[str, Any]:
        merged = proposal.merged
        shown = self._short(proposal) | {
            "state": _state(proposal), "author": self._user(proposal.author), "created_on": _time(proposal.at),
            "updated_on": _time(merged.at if merged else proposal.at), "close_source_branch": False,
            "source": self._end(proposal.source, proposal.head),
            "destination": self._end(proposal.target, proposal.base), "task_count": 0, "reason": "",
            "comment_count": len(proposal.comments),
        }  # fmt: skip
        made = merged and (merged.merge_commit or merged.squash_commit or merged.tip)
        return shown | {"merge_commit": {"hash": made[:12]} if made else None}

    def _whole_pull(self, proposal: Proposal) -> dict[str, Any]:
        participants = [self._participant(vote) for vote in last_votes(proposal)]
        reviewers = [self._user(vote.by) for vote in last_votes(proposal)]
        return self._pull(proposal) | {"participants": participants, "reviewers": reviewers}

    def _participant(self, vote: Vote) -> dict[str, Any]:
        state = None if vote.withdrawn_at else STATES[vote.opinion]
        return {
            "type": "participant", "user": self._user(vote.by), "role": "REVIEWER", "approved": state == "approved",
            "state": state, "participated_on": _time(vote.at),
        }  # fmt: skip

    def _happened(self, proposal: Proposal) -> Iterator[tuple[datetime, dict[str, Any]]]:
        """Everything in the log: pushes, opinions, comments, the merge."""
        for push in proposal.pushes:
            yield push.at, {"update": self._update(proposal, push.head, push.by, push.at, "OPEN")}
        for vote in proposal.votes:
            name = {"approved": "approval", "rejected": "changes_requested"}.get(vote.opinion)
            if name and vote.withdrawn_at is None:
                said = {"date": _time(vote.at), "user": self._user(vote.by), "pullrequest": self._short(proposal)}
                yield vote.at, {name: said}
        for comment in proposal.comments:
            yield comment.at, {"comment": self._comment(proposal, comment)}
        if proposal.merged:
            at, by = proposal.merged.at, proposal.merged.by
            yield at, {"update": self._update(proposal, proposal.head, by, at, "MERGED")}

    def _update(self, proposal: Proposal, head: str, by: Person | None, at: datetime, state: str) -> dict[str, Any]:
        return {
            "date": _time(at), "author": self._user(by), "state": state, "title": proposal.title,
            "source": self._end(proposal.source, head), "destination": self._end(proposal.target, proposal.base),
        }  # fmt: skip

    def _comment(self, proposal: Proposal, comment: Comment) -> dict[str, Any]:
        address = f"{self.here}/pullrequests/{proposal.number}/comments/{comment.id}"
        return {
            "type": "pullrequest_comment", "id": comment.id, "user": self._user(comment.by), "deleted": False,
            "content": {"raw": comment.body, "markup": "markdown", "html": comment.body},
            "created_on": _time(comment.at), "updated_on": _time(comment.edited_at or comment.at),
            "links": {"self": {"href": address}},
        }  # fmt: skip

    def _status(self, status: PostedStatus) -> dict[str, Any]:
        return {
            "type": "build", "key": status.extra["key"], "name": status.context, "state": status.state,
            "url": status.url, "description": status.description, "refname": status.extra["refname"] or "",
            "created_on": _time(status.at), "updated_on": _time(status.at),
            "links": {"self": {"href": f"{self.here}/commit/{status.commit}/statuses/build/{status.extra['key']}"}},
        }  # fmt: skip

    def _commit(self, commit: Commit) -> dict[str, Any]:
        person = self.known(commit.author.email)
        return {
            "type": "commit", "hash": commit.id, "date": _time(commit.author.at), "message": commit.message,
            "author": {"type": "author", "raw": f"{commit.author.name} <{commit.author.email}>"}
            | ({"user": self._user(person)} if person else {}),
            "parents": [{"type": "commit", "hash": parent} for parent in commit.parents],
            "links": {"self": {"href": f"{self.here}/commit/{commit.id}"}},
        }  # fmt: skip


def _error(status: int, message: str) -> Answer:
    return Answer(status, {"type": "error", "error": {"message": message}})


def _state(proposal: Proposal) -> str:
    if proposal.merged:
        return "MERGED"
    return "OPEN" if proposal.is_open else "DECLINED"


def _body(request: Request) -> str:
    body = request.document["content"]["raw"]
    if not body or len(body) > LONGEST_COMMENT:
        raise Refusal(400, "content: too long")
    return str(body)


def _time(at: datetime) -> str:
    return at.isoformat(timespec="microseconds")
