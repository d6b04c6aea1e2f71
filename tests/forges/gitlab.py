"""GitLab as a fake: what tfops and python-gitlab ask for, in GitLab's words."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from tests.forges.repository import Commit
from tests.forges.server import Answer, Refusal, Request, route
from tests.forges.world import Comment, FakeForge, Merged, Person, PostedStatus, Proposal, Push, Vote, last_votes

PROJECT = 42
LONGEST_NOTE = 1_000_000
LONGEST_DESCRIPTION = 255
DEVELOPER, REPORTER = 30, 20
RUNNING = {"pending": "enqueue", "running": "run"}
PUSH_NOTES, WITHDRAWAL_NOTES = 500_000, 700_000  # ids: the world gives none for these


class GitLab(FakeForge):
    """A GitLab server with one project.

    `says_when`: whether approvals say when they were given. `is_paid`: whether it says how many are left.
    `has_pipelines`: whether commits have one.
    """

    kind = "gitlab"
    prefix = "/api/v4"
    head_ref = "refs/merge-requests/{number}/head"
    says_when = True
    is_paid = False
    has_pipelines = True

    @property
    def api(self) -> str:
        """The API's address."""
        return f"{self.url}/api/v4"

    def merge(self, number: int, how: str = "merge", *, by: str = "carol", at: datetime | None = None) -> str:
        """Press the merge button; GitLab rebases the source branch itself, and moves the target forward then."""
        if how == "rebase":
            self.rebase(number)
        return super().merge(number, "fast-forward" if how == "rebase" else how, by=by, at=at)

    def page(self, request: Request, items: Sequence[Any], *, size: str = "per_page", most: int = 100) -> Answer:
        """One page of a listing, with GitLab's headers."""
        found = super().page(request, items, size=size, most=most)
        number, length = int(request.query.get("page", 1)), int(request.query.get(size, 20))
        more = {
            "x-total": len(items),
            "x-page": number,
            "x-per-page": length,
            "x-total-pages": -(-len(items) // length),
        }
        return replace(found, headers={**found.headers, **{name: str(value) for name, value in more.items()}})

    # Who

    @route("GET", "/user")
    def whoami(self, request: Request) -> Any:
        return self._user(self.me)

    @route("GET", "/projects/{project}")
    def project(self, request: Request, project: str) -> Any:
        self._same(project)
        return {
            "id": PROJECT, "path_with_namespace": self.repository, "default_branch": "main",
            "web_url": f"{self.url}/{self.repository}", "merge_method": "merge",
        }  # fmt: skip

    @route("GET", "/projects/{project}/members/all/{user}")
    def member(self, request: Request, project: str, user: str) -> Any:
        person = {one.id: one for one in self.people.values()}[int(user)]
        return self._user(person) | {"access_level": DEVELOPER if person.may_write else REPORTER}

    # Changes

    @route("GET", "/projects/{project}/repository/commits/{commit}")
    def commit(self, request: Request, project: str, commit: str) -> Any:
        self._same(project)
        pipeline = {"id": 7000 + len(self.proposals), "sha": commit, "status": "running"}
        return self._commit(self.git.read(commit)) | {"last_pipeline": pipeline if self.has_pipelines else None}

    @route("GET", "/projects/{project}/repository/commits/{commit}/merge_requests")
    def requests_of_commit(self, request: Request, project: str, commit: str) -> Answer:
        self._same(project)
        found = [proposal for proposal in self.proposals.values() if commit in self._related(proposal)]
        return self.page(request, [self._request(proposal) for proposal in found])

    @route("GET", "/projects/{project}/merge_requests")
    def merge_requests(self, request: Request, project: str) -> Answer:
        self._same(project)
        state = request.query.get("state", "all")
        found = [one for one in reversed(self.proposals.values()) if state in ("all", _state(one))]
        return self.page(request, [self._request(proposal) for proposal in found])

    @route("GET", "/projects/{project}/merge_requests/{number}")
    def merge_request(self, request: Request, project: str, number: str) -> Any:
        self._same(project)
        return self._request(self.proposals[int(number)])

    @route("GET", "/projects/{project}/merge_requests/{number}/commits")
    def request_commits(self, request: Request, project: str, number: str) -> Answer:
        commits = self.commits_of(self.proposals[int(number)])
        return self.page(request, [self._commit(commit) for commit in reversed(commits)])

    @route("GET", "/projects/{project}/merge_requests/{number}/versions")
    def versions(self, request: Request, project: str, number: str) -> Answer:
        proposal = self.proposals[int(number)]
        found = [self._version(proposal, place, push) for place, push in enumerate(proposal.pushes, start=1)]
        return self.page(request, found[::-1])

    @route("PUT", "/projects/{project}/merge_requests/{number}/merge")
    def press_merge(self, request: Request, project: str, number: str) -> Any:
        how = "squash" if (request.document or {}).get("squash") else "merge"
        self.merge(int(number), how, by=self.me.login)
        return self._request(self.proposals[int(number)])

    # Approvals

    @route("GET", "/projects/{project}/merge_requests/{number}/approvals")
    def approvals(self, request: Request, project: str, number: str) -> Any:
        proposal = self.proposals[int(number)]
        found = [vote for vote in last_votes(proposal) if vote.opinion == "approved" and vote.withdrawn_at is None]
        paid = {"approvals_required": 2, "approvals_left": max(0, 2 - len(found))} if self.is_paid else {}
        return paid | {
            "user_has_approved": any(vote.by == self.me for vote in found), "user_can_approve": True,
            "approved": len(found) > 0, "approved_by": [self._approval(vote) for vote in found],
        }  # fmt: skip

    @route("POST", "/projects/{project}/merge_requests/{number}/approve")
    def press_approve(self, request: Request, project: str, number: str) -> Any:
        asked = (request.document or {}).get("sha")
        if asked not in (None, self.proposals[int(number)].head):
            raise Refusal(409, "SHA does not match HEAD of source branch")
        self.approve(int(number), self.me.login)
        return Answer(201, self.approvals(request, project, number))

    @route("POST", "/projects/{project}/merge_requests/{number}/unapprove")
    def press_unapprove(self, request: Request, project: str, number: str) -> Any:
        self.withdraw(int(number), self.me.login)
        return Answer(201, {})

    @route("GET", "/projects/{project}/merge_requests/{number}/reviewers")
    def reviewers(self, request: Request, project: str, number: str) -> Answer:
        votes = last_votes(self.proposals[int(number)])
        return self.page(
            request,
            [
                {"user": self._user(vote.by), "state": _review_state(vote), "created_at": _time(vote.at)}
                for vote in votes
            ],
        )

    # Comments and statuses

    @route("GET", "/projects/{project}/merge_requests/{number}/notes")
    def notes(self, request: Request, project: str, number: str) -> Answer:
        proposal = self.proposals[int(number)]
        shown = [*self._activity(proposal)]
        if request.query.get("activity_filter") != "only_activity":
            shown += [self._note(comment) for comment in proposal.comments]
        shown.sort(key=lambda note: (note["created_at"], note["id"]), reverse=request.query.get("sort") != "asc")
        return self.page(request, shown)

    @route("POST", "/projects/{project}/merge_requests/{number}/notes")
    def new_note(self, request: Request, project: str, number: str) -> Answer:
        proposal = self.proposals[int(number)]
        return Answer(201, self._note(self.commented(proposal, self.me, _body(request))))

    @route("PUT", "/projects/{project}/merge_requests/{number}/notes/{note}")
    def edit_note(self, request: Request, project: str, number: str, note: str) -> Any:
        _, found = self.comment_by_id(int(note))
        if found.by != self.me:
            raise Refusal(403, "403 Forbidden")
        return self._note(self.edited(found, _body(request)))

    @route("POST", "/projects/{project}/statuses/{commit}")
    def new_status(self, request: Request, project: str, commit: str) -> Answer:
        asked = request.document
        state, context = asked["state"], asked.get("name") or asked.get("context") or "default"
        if len(asked.get("description") or "") > LONGEST_DESCRIPTION or (
            "pipeline_id" not in asked and "ref" not in asked
        ):
            raise Refusal(400, "Invalid request")
        last = self.statuses(commit).get(context)
        if last and (last.state == state in RUNNING or (last.state, state) == ("running", "pending")):
            raise Refusal(400, f"Cannot transition status via :{RUNNING[state]} from :{last.state} (Reason(s): …)")
        extra = {name: asked.get(name) for name in ("pipeline_id", "ref")}
        return Answer(201, self._status(self.post(commit, context, state, asked.get("description") or "",
                                                  asked.get("target_url"), **extra)))  # fmt: skip

    @route("GET", "/projects/{project}/repository/commits/{commit}/statuses")
    def list_statuses(self, request: Request, project: str, commit: str) -> Answer:
        return self.page(request, [self._status(status) for status in self.statuses(commit).values()])

    # GitLab's words

    def _same(self, project: str) -> None:
        if project not in (self.repository, str(PROJECT)):
            raise LookupError(project)

    def _user(self, person: Person | None) -> dict[str, Any]:
        """An account; what was of one that is gone belongs to the ghost."""
        username = f"project_{PROJECT}_bot_{person.login}" if person and person.is_bot else ""
        username = username or (person.login if person else "ghost")
        return {
            "id": person.id if person else 1, "username": username, "name": username.capitalize(), "state": "active",
            "avatar_url": None, "web_url": f"{self.url}/{username}",
        }  # fmt: skip

    def login(self, person: str) -> str:
        """What the trust block has to call somebody."""
        return str(self._user(self.people[person])["username"])

    def _related(self, proposal: Proposal) -> tuple[str | None, ...]:
        """GitLab's rule: the commits of the latest version, and what the merge made."""
        made = proposal.merged
        ends = (made.merge_commit, made.squash_commit) if made else ()
        return (*(commit.id for commit in self.commits_of(proposal)), *ends)

    def _request(self, proposal: Proposal) -> dict[str, Any]:
        merged = proposal.merged
        return {
            "id": 9000 + proposal.number, "iid": proposal.number, "project_id": PROJECT, "title": proposal.title,
            "description": None, "state": _state(proposal), "created_at": _time(proposal.at),
            "updated_at": _time(proposal.at), "merged_by": self._user(merged.by) if merged else None,
            "merge_user": self._user(merged.by) if merged else None,
            "merged_at": _time(merged.at) if merged else None, "target_branch": proposal.target,
            "source_branch": proposal.source, "author": self._user(proposal.author), "draft": False,
            "source_project_id": PROJECT, "target_project_id": PROJECT, "sha": proposal.head,
            "merge_commit_sha": merged.merge_commit if merged else None,
            "squash_commit_sha": merged.squash_commit if merged else None,
            "blocking_discussions_resolved": True, "detailed_merge_status": "mergeable",
            "web_url": f"{self.url}/{self.repository}/-/merge_requests/{proposal.number}",
        }  # fmt: skip

    def _version(self, proposal: Proposal, place: int, push: Push) -> dict[str, Any]:
        base = self._base(proposal, push, proposal.merged)
        return {
            "id": 100 * proposal.number + place, "head_commit_sha": push.head, "base_commit_sha": base,
            "start_commit_sha": base, "created_at": _time(push.at), "merge_request_id": 9000 + proposal.number,
            "state": "collected", "real_size": "1", "patch_id_sha": self._patch_id(base, push.head),
        }  # fmt: skip

    def _base(self, proposal: Proposal, push: Push, merged: Merged | None) -> str:
        return self.git.merge_base(merged.base if merged else proposal.target, push.head)

    def _patch_id(self, base: str, head: str) -> str | None:
        diff = self.git.git("diff-tree", "-p", base, head)
        return self.git.git("patch-id", "--stable", stdin=f"{diff}\n".encode()).partition(" ")[0] or None

    def _approval(self, vote: Vote) -> dict[str, Any]:
        when = {"approved_at": _time(vote.at)} if self.says_when else {}
        return {"user": self._user(vote.by)} | when

    def _activity(self, proposal: Proposal) -> Iterator[dict[str, Any]]:
        """What GitLab notes by itself: pushes, approvals, unapprovals."""
        for place, push in enumerate(proposal.pushes[1:]):
            body = f"added 1 commit\n\n<ul><li>{push.head[:8]} - A change</li></ul>"
            yield self._system(PUSH_NOTES + place, push.by, body, push.at)
        for vote in proposal.votes:
            if vote.opinion == "approved":
                yield self._system(vote.id, vote.by, "approved this merge request", vote.at)
            if vote.opinion == "approved" and vote.withdrawn_at is not None:
                body = "unapproved this merge request"
                yield self._system(WITHDRAWAL_NOTES + vote.id, vote.by, body, vote.withdrawn_at)

    def _system(self, number: int, by: Person | None, body: str, at: datetime) -> dict[str, Any]:
        return self._note(Comment(id=number, by=by, body=body, at=at)) | {"system": True}

    def _note(self, comment: Comment) -> dict[str, Any]:
        return {
            "id": comment.id, "type": None, "body": comment.body, "author": self._user(comment.by),
            "created_at": _time(comment.at), "updated_at": _time(comment.edited_at or comment.at), "system": False,
            "noteable_type": "MergeRequest", "resolvable": False,
        }  # fmt: skip

    def _status(self, status: PostedStatus) -> dict[str, Any]:
        return {
            "id": status.id, "sha": status.commit, "ref": status.extra.get("ref"), "status": status.state,
            "name": status.context, "target_url": status.url, "description": status.description,
            "created_at": _time(status.at), "pipeline_id": status.extra.get("pipeline_id"),
            "author": self._user(status.by),
        }  # fmt: skip

    def _commit(self, commit: Commit) -> dict[str, Any]:
        return {
            "id": commit.id, "short_id": commit.id[:8], "title": commit.message.partition("\n")[0],
            "message": commit.message, "parent_ids": list(commit.parents),
            "author_name": commit.author.name, "author_email": commit.author.email,
            "authored_date": _time(commit.author.at), "committer_name": commit.committer.name,
            "committer_email": commit.committer.email, "committed_date": _time(commit.committer.at),
            "created_at": _time(commit.committer.at),
        }  # fmt: skip


def _review_state(vote: Vote) -> str:
    if vote.opinion == "rejected":
        return "unreviewed" if vote.withdrawn_at else "requested_changes"
    return "unapproved" if vote.withdrawn_at else "approved"


def _state(proposal: Proposal) -> str:
    if proposal.merged:
        return "merged"
    return "opened" if proposal.is_open else "closed"


def _body(request: Request) -> str:
    body = request.document.get("body")
    if not body or len(body) > LONGEST_NOTE:
        raise Refusal(400, '400 Bad request - Note {:note=>["is too long"]}')
    return str(body)


def _time(at: datetime) -> str:
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
