"""Gitea (and Forgejo) as a fake: what tfops and pyforgejo ask for, in Gitea's words."""

from datetime import datetime
from typing import Any

from tests.forges.repository import Commit, Signature
from tests.forges.server import Answer, Refusal, Request, route
from tests.forges.world import Comment, FakeForge, Person, PostedStatus, Proposal, Vote

STATES = {"approved": "APPROVED", "rejected": "REQUEST_CHANGES", "commented": "COMMENT"}
WAYS = {"merge": "merge", "squash": "squash", "rebase": "rebase", "fast-forward-only": "fast-forward"}
GHOST = Person(id=-1, login="Ghost")


class Gitea(FakeForge):
    """A Gitea server with one repository."""

    kind = "gitea"
    prefix = "/api/v1"

    @property
    def api(self) -> str:
        """The API's address."""
        return f"{self.url}/api/v1"

    def admits(self, request: Request) -> bool:
        """Gitea takes a token after the word `token` (or Bearer)."""
        return request.headers.get("authorization") in (f"token {self.token}", f"Bearer {self.token}")

    @route("GET", "/user")
    def whoami(self, request: Request) -> Any:
        return self._user(self.me)

    # Changes

    @route("GET", "/repos/{owner}/{name}/commits/{commit}/pull")
    def pull_of_commit(self, request: Request, owner: str, name: str, commit: str) -> Any:
        self._same(owner, name)
        found = [p for p in self.proposals.values() if p.merged and p.merged.tip == commit]
        return self._pull(found[0])

    @route("GET", "/repos/{owner}/{name}/pulls")
    def pulls(self, request: Request, owner: str, name: str) -> Answer:
        self._same(owner, name)
        state = request.query.get("state", "open")
        found = [p for p in self.proposals.values() if state in ("all", _state(p))]
        ordered = found if request.query.get("sort") == "oldest" else found[::-1]
        return self._page(request, [self._pull(proposal) for proposal in ordered])

    @route("GET", "/repos/{owner}/{name}/pulls/{number}")
    def pull(self, request: Request, owner: str, name: str, number: str) -> Any:
        self._same(owner, name)
        return self._pull(self.proposals[int(number)])

    @route("GET", "/repos/{owner}/{name}/pulls/{number}/commits")
    def pull_commits(self, request: Request, owner: str, name: str, number: str) -> Answer:
        commits = self.commits_of(self.proposals[int(number)])
        return self._page(request, [self._commit(commit) for commit in reversed(commits)])

    @route("POST", "/repos/{owner}/{name}/pulls/{number}/merge")
    def press_merge(self, request: Request, owner: str, name: str, number: str) -> Answer:
        self.merge(int(number), WAYS[request.document["Do"]], by=self.me.login)
        return Answer(200, content=b"")

    # Reviews

    @route("GET", "/repos/{owner}/{name}/pulls/{number}/reviews")
    def reviews(self, request: Request, owner: str, name: str, number: str) -> Answer:
        proposal = self.proposals[int(number)]
        return self._page(request, [self._review(proposal, vote) for vote in sorted(proposal.votes, key=_when)])

    @route("POST", "/repos/{owner}/{name}/pulls/{number}/reviews")
    def review(self, request: Request, owner: str, name: str, number: str) -> Any:
        proposal, asked = self.proposals[int(number)], request.document
        opinion = {"APPROVED": "approved", "REQUEST_CHANGES": "rejected", "COMMENT": "commented"}[asked["event"]]
        if opinion != "commented" and proposal.author == self.me:
            raise Refusal(422, "approve your own pull is not allowed")
        return self._review(proposal, self._vote(int(number), self.me.login, opinion, None, asked.get("commit_id")))

    # Comments and statuses

    @route("GET", "/repos/{owner}/{name}/issues/{number}/comments")
    def list_comments(self, request: Request, owner: str, name: str, number: str) -> Any:
        """All of them: this listing has no pages."""
        proposal = self.proposals[int(number)]
        return [self._comment(proposal, comment) for comment in proposal.comments]

    @route("POST", "/repos/{owner}/{name}/issues/{number}/comments")
    def new_comment(self, request: Request, owner: str, name: str, number: str) -> Answer:
        proposal = self.proposals[int(number)]
        made = self.commented(proposal, self.me, request.document["body"])
        return Answer(201, self._comment(proposal, made))

    @route("PATCH", "/repos/{owner}/{name}/issues/comments/{comment}")
    def edit_comment(self, request: Request, owner: str, name: str, comment: str) -> Any:
        proposal, found = self.comment_by_id(int(comment))
        if found.by != self.me:
            raise Refusal(403, "not yours")
        return self._comment(proposal, self.edited(found, request.document["body"]))

    @route("POST", "/repos/{owner}/{name}/statuses/{commit}")
    def new_status(self, request: Request, owner: str, name: str, commit: str) -> Answer:
        asked = request.document
        if asked["state"] not in ("pending", "success", "error", "failure", "warning"):
            raise Refusal(422, "no such state")
        made = self.post(
            commit, asked.get("context", ""), asked["state"], asked.get("description", ""), asked.get("target_url")
        )
        return Answer(201, self._status(made))

    @route("GET", "/repos/{owner}/{name}/statuses/{commit}")
    @route("GET", "/repos/{owner}/{name}/commits/{commit}/statuses")
    def list_statuses(self, request: Request, owner: str, name: str, commit: str) -> Answer:
        return self._page(request, [self._status(found) for found in reversed(self.posted) if found.commit == commit])

    # Gitea's words

    def _page(self, request: Request, items: list[Any]) -> Answer:
        return self.page(request, items, size="limit", most=50)

    def _same(self, owner: str, name: str) -> None:
        if f"{owner}/{name}" != self.repository:
            raise LookupError(name)

    def _user(self, person: Person | None) -> dict[str, Any]:
        person = person or GHOST
        return {
            "id": person.id, "login": person.login, "login_name": "", "full_name": "", "email": person.email,
            "avatar_url": f"{self.url}/avatars/{person.id}", "language": "", "is_admin": False,
            "last_login": "0001-01-01T00:00:00Z", "created": "2026-01-01T00:00:00Z", "restricted": False,
            "active": False, "prohibit_login": False, "location": "", "website": "", "description": "",
            "visibility": "public", "followers_count": 0, "following_count": 0, "starred_repos_count": 0,
        }  # fmt: skip

    def _end(self, branch: str, commit: str) -> dict[str, Any]:
        name = self.repository.partition("/")[2]
        repository = {"id": 1, "name": name, "full_name": self.repository, "default_branch": "main"}
        return {"label": branch, "ref": branch, "sha": commit, "repo_id": 1, "repo": repository}

    def _pull(self, proposal: Proposal) -> dict[str, Any]:
        merged, page = proposal.merged, self._address(proposal)
        closed = merged.at if merged else proposal.closed_at
        # While the source branch is there, the head is its tip: also when it was pushed to after the merge.
        tip = self.git.tip(proposal.source)
        source = proposal.source if tip else f"refs/pull/{proposal.number}/head"
        return {
            "id": 1000 + proposal.number, "number": proposal.number, "url": page, "html_url": page,
            "diff_url": f"{page}.diff", "patch_url": f"{page}.patch", "title": proposal.title, "body": "",
            "user": self._user(proposal.author), "state": _state(proposal), "is_locked": False, "labels": [],
            "milestone": None, "assignee": None, "assignees": None, "comments": len(proposal.comments),
            "mergeable": merged is None, "merged": merged is not None, "due_date": None,
            "merged_at": _time(merged.at) if merged else None, "merge_commit_sha": merged.tip if merged else None,
            "merged_by": self._user(merged.by) if merged else None, "allow_maintainer_edit": False,
            "base": self._end(proposal.target, self.git.tip(proposal.target) or ""),
            "head": self._end(source, tip or proposal.head), "merge_base": proposal.base,
            "created_at": _time(proposal.at), "updated_at": _time(closed or proposal.at),
            "closed_at": _time(closed) if closed else None,
        }  # fmt: skip

    def _review(self, proposal: Proposal, vote: Vote) -> dict[str, Any]:
        return {
            "id": vote.id, "user": self._user(vote.by), "team": None, "state": STATES[vote.opinion], "body": vote.body,
            "commit_id": vote.head or "", "stale": vote.head != proposal.head,
            "official": self._official(proposal, vote),
            "dismissed": vote.withdrawn_at is not None, "comments_count": 0, "submitted_at": _time(vote.at),
            "updated_at": _time(vote.withdrawn_at or vote.at), "html_url": f"{self._address(proposal)}#issuecomment-1",
            "pull_request_url": self._address(proposal),
        }  # fmt: skip

    def _official(self, proposal: Proposal, vote: Vote) -> bool:
        """Whether its author may write, and has said nothing else since."""
        own = [other for other in proposal.votes if other.by == vote.by and other.opinion != "commented"]
        return vote.by is not None and vote.by.may_write and own[-1:] == [vote]

    def _comment(self, proposal: Proposal, comment: Comment) -> dict[str, Any]:
        page = self._address(proposal)
        return {
            "id": comment.id, "html_url": f"{page}#issuecomment-{comment.id}", "pull_request_url": page,
            "issue_url": "", "user": self._user(comment.by), "original_author": "", "original_author_id": 0,
            "body": comment.body, "assets": [], "created_at": _time(comment.at),
            "updated_at": _time(comment.edited_at or comment.at),
        }  # fmt: skip

    def _status(self, status: PostedStatus) -> dict[str, Any]:
        return {
            "id": status.id, "status": status.state, "target_url": status.url or "", "context": status.context,
            "description": status.description, "creator": self._user(status.by),
            "url": f"{self.api}/repos/{self.repository}/statuses/{status.commit}", "created_at": _time(status.at),
            "updated_at": _time(status.at),
        }  # fmt: skip

    def _commit(self, commit: Commit) -> dict[str, Any]:
        url = f"{self.api}/repos/{self.repository}/git/commits/{commit.id}"
        author, committer = self.known(commit.author.email), self.known(commit.committer.email)
        return {
            "url": url, "sha": commit.id, "created": _time(commit.committer.at), "html_url": url,
            "commit": {
                "url": url, "author": _signature(commit.author), "committer": _signature(commit.committer),
                "message": commit.message, "tree": {"url": url, "sha": commit.tree},
            },
            "author": self._user(author) if author else None,
            "committer": self._user(committer) if committer else None,
            "parents": [{"url": url, "sha": parent} for parent in commit.parents], "files": [], "stats": None,
        }  # fmt: skip

    def _address(self, proposal: Proposal) -> str:
        return f"{self.url}/{self.repository}/pulls/{proposal.number}"


def _state(proposal: Proposal) -> str:
    return "open" if proposal.is_open else "closed"


def _signature(signature: Signature) -> dict[str, str]:
    return {"name": signature.name, "email": signature.email, "date": _time(signature.at)}


def _when(vote: Vote) -> datetime:
    return vote.at


def _time(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")
