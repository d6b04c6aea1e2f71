"""GitHub Enterprise as a fake: what tfops and PyGithub ask for, in GitHub's words."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from tests.forges.repository import Commit, Signature
from tests.forges.server import Answer, Refusal, Request, route
from tests.forges.world import Comment, FakeForge, Person, PostedStatus, Proposal, Vote

STATES = {"approved": "APPROVED", "rejected": "CHANGES_REQUESTED", "commented": "COMMENTED"}
OPINIONS = {"APPROVE": "approved", "REQUEST_CHANGES": "rejected", "COMMENT": "commented"}
_PERSON = {
    "bio": None, "blog": None, "company": None, "email": None, "location": None, "name": None, "hireable": None,
    "followers": 0, "following": 0, "public_gists": 0, "public_repos": 0, "user_view_type": "public",
    "created_at": "2026-01-01T00:00:00Z", "updated_at": "2026-01-01T00:00:00Z",
}  # fmt: skip
_REPOSITORY = {
    "description": None, "homepage": None, "language": None, "mirror_url": None, "license": None, "archived": False,
    "disabled": False, "has_downloads": True, "has_issues": True, "has_projects": False, "has_wiki": False,
    "has_pages": False, "has_discussions": False, "forks": 0, "forks_count": 0, "open_issues": 0,
    "open_issues_count": 0, "size": 1, "stargazers_count": 0, "watchers": 0, "watchers_count": 0, "network_count": 0,
    "subscribers_count": 0, "pushed_at": "2026-01-01T00:00:00Z", "created_at": "2026-01-01T00:00:00Z",
    "updated_at": "2026-01-01T00:00:00Z",
}  # fmt: skip
LONGEST_COMMENT = 65_536
MOST_COMMITS = 250
_USER_LINKS = (
    "events_url", "followers_url", "following_url", "gists_url", "organizations_url", "received_events_url",
    "repos_url", "starred_url", "subscriptions_url",
)  # fmt: skip
_REPOSITORY_LINKS = """
    archive assignees blobs branches collaborators comments commits compare contents contributors deployments
    downloads events forks git_commits git_refs git_tags hooks issue_comment issue_events issues keys labels
    languages merges milestones notifications pulls releases stargazers statuses subscribers subscription tags
    teams trees
"""
_PULL_LINKS = ("comments", "commits", "html", "issue", "review_comment", "review_comments", "self", "statuses")


class GitHub(FakeForge):
    """A GitHub Enterprise server with one repository."""

    kind = "github"
    prefix = "/api"

    @property
    def api(self) -> str:
        """The REST API's address."""
        return f"{self.url}/api/v3"

    @property
    def here(self) -> str:
        """The repository's address in the API."""
        return f"{self.api}/repos/{self.repository}"

    # Who

    @route("GET", "/v3/user")
    def whoami(self, request: Request) -> Any:
        if self.me.is_bot:  # GITHUB_TOKEN, or an App: GET /user is for people
            raise Refusal(403, "Resource not accessible by integration")
        return self._user(self.me) | _PERSON

    @route("POST", "/graphql")
    def graphql(self, request: Request) -> Any:
        if "viewer" not in request.document["query"]:
            return {"data": None, "errors": [{"message": "the fake knows the viewer only"}]}
        return {"data": {"viewer": {"login": self._name(self.me), "databaseId": self.me.id}}}

    @route("GET", "/v3/repos/{owner}/{name}/collaborators/{login}/permission")
    def permission(self, request: Request, owner: str, name: str, login: str) -> Any:
        person = self.people[login.removesuffix("[bot]")]
        word = "write" if person.may_write else "read"
        may = {name: name == "pull" or person.may_write for name in ("pull", "triage", "push")}
        user = self._user(person) | {"role_name": word, "permissions": may | {"maintain": False, "admin": False}}
        return {"permission": word, "role_name": word, "user": user}

    # Changes

    @route("GET", "/v3/repos/{owner}/{name}")
    def get_repository(self, request: Request, owner: str, name: str) -> Any:
        self._same(owner, name)
        return self._repository()

    @route("GET", "/v3/repos/{owner}/{name}/commits/{commit}/pulls")
    def pulls_of_commit(self, request: Request, owner: str, name: str, commit: str) -> Answer:
        self._same(owner, name)
        found = self.changes_of(commit)
        if self.git.contains("main", commit):
            found = [proposal for proposal in found if proposal.merged]
        return self.page(request, [self._pull(proposal) for proposal in found])

    @route("GET", "/v3/repos/{owner}/{name}/commits/{commit}")
    def get_commit(self, request: Request, owner: str, name: str, commit: str) -> Any:
        self._same(owner, name)
        return self._commit(self.git.read(commit))

    @route("GET", "/v3/repos/{owner}/{name}/pulls")
    def pulls(self, request: Request, owner: str, name: str) -> Answer:
        self._same(owner, name)
        state, base = request.query.get("state", "open"), request.query.get("base")
        found = [
            proposal
            for proposal in self.proposals.values()
            if state in ("all", _state(proposal)) and base in (None, proposal.target)
        ]
        ordered = found if request.query.get("direction") == "asc" else found[::-1]
        return self.page(request, [self._pull(proposal) for proposal in ordered])

    @route("GET", "/v3/repos/{owner}/{name}/pulls/{number}")
    def pull(self, request: Request, owner: str, name: str, number: str) -> Any:
        self._same(owner, name)
        return self._whole_pull(self.proposals[int(number)])

    @route("GET", "/v3/repos/{owner}/{name}/pulls/{number}/commits")
    def pull_commits(self, request: Request, owner: str, name: str, number: str) -> Answer:
        commits = self.commits_of(self.proposals[int(number)])[:MOST_COMMITS]
        return self.page(request, [self._commit(commit) for commit in commits])

    @route("PUT", "/v3/repos/{owner}/{name}/pulls/{number}/merge")
    def press_merge(self, request: Request, owner: str, name: str, number: str) -> Any:
        document = request.document or {}
        how = document.get("merge_method", "merge")
        if document.get("sha", self.proposals[int(number)].head) != self.proposals[int(number)].head:
            raise Refusal(409, "Head branch was modified. Review and try the merge again.")
        return {"sha": self.merge(int(number), how, by=self.me.login), "merged": True, "message": "merged"}

    # Reviews

    @route("GET", "/v3/repos/{owner}/{name}/pulls/{number}/reviews")
    def reviews(self, request: Request, owner: str, name: str, number: str) -> Answer:
        proposal = self.proposals[int(number)]
        return self.page(request, [self._review(proposal, vote) for vote in sorted(proposal.votes, key=_when)])

    @route("POST", "/v3/repos/{owner}/{name}/pulls/{number}/reviews")
    def review(self, request: Request, owner: str, name: str, number: str) -> Any:
        proposal = self.proposals[int(number)]
        opinion = OPINIONS[request.document["event"]]
        if opinion != "commented" and proposal.author == self.me:
            raise Refusal(422, "Can not approve your own pull request")
        vote = self._vote(int(number), self.me.login, opinion, None, request.document.get("commit_id"))
        return self._review(proposal, vote)

    @route("PUT", "/v3/repos/{owner}/{name}/pulls/{number}/reviews/{review}/dismissals")
    def dismiss(self, request: Request, owner: str, name: str, number: str, review: str) -> Any:
        proposal = self.proposals[int(number)]
        vote = next(vote for vote in proposal.votes if vote.id == int(review))
        vote.withdrawn_at = vote.at
        return self._review(proposal, vote)

    # Comments and statuses

    @route("GET", "/v3/repos/{owner}/{name}/issues/{number}/comments")
    def list_comments(self, request: Request, owner: str, name: str, number: str) -> Answer:
        proposal = self.proposals[int(number)]
        return self.page(request, [self._comment(proposal, comment) for comment in proposal.comments])

    @route("POST", "/v3/repos/{owner}/{name}/issues/{number}/comments")
    def new_comment(self, request: Request, owner: str, name: str, number: str) -> Answer:
        proposal = self.proposals[int(number)]
        return Answer(201, self._comment(proposal, self.commented(proposal, self.me, _body(request))))

    @route("PATCH", "/v3/repos/{owner}/{name}/issues/comments/{comment}")
    def edit_comment(self, request: Request, owner: str, name: str, comment: str) -> Any:
        proposal, found = self.comment_by_id(int(comment))
        if found.by != self.me:
            raise Refusal(403, "Must have admin rights to Repository.")
        return self._comment(proposal, self.edited(found, _body(request)))

    @route("POST", "/v3/repos/{owner}/{name}/statuses/{commit}")
    def new_status(self, request: Request, owner: str, name: str, commit: str) -> Answer:
        asked = request.document
        description = asked.get("description") or ""
        if asked["state"] not in ("error", "failure", "pending", "success") or len(description) > 140:
            raise Refusal(422, "Validation Failed")
        url = asked.get("target_url")
        return Answer(
            201, self._status(self.post(commit, asked.get("context", "default"), asked["state"], description, url))
        )

    @route("GET", "/v3/repos/{owner}/{name}/statuses/{commit}")
    @route("GET", "/v3/repos/{owner}/{name}/commits/{commit}/statuses")
    def list_statuses(self, request: Request, owner: str, name: str, commit: str) -> Answer:
        found = [status for status in self.posted if status.commit == commit]
        return self.page(request, [self._status(status) for status in reversed(found)])

    # GitHub's words

    def _same(self, owner: str, name: str) -> None:
        if f"{owner}/{name}" != self.repository:
            raise LookupError(name)

    def _name(self, person: Person) -> str:
        return f"{person.login}[bot]" if person.is_bot else person.login

    def login(self, person: str) -> str:
        """What the trust block has to call somebody."""
        return self._name(self.people[person])

    def _user(self, person: Person | None) -> Any:
        if person is None:
            return None
        login = self._name(person)
        links = {name: f"{self.api}/users/{login}/{name.removesuffix('_url')}" for name in _USER_LINKS}
        return links | {
            "login": login, "id": person.id, "node_id": f"U_{person.id}", "avatar_url": f"{self.url}/avatars/{login}",
            "gravatar_id": "", "html_url": f"{self.url}/{login}", "site_admin": False,
            "type": "Bot" if person.is_bot else "User", "url": f"{self.api}/users/{login}",
        }  # fmt: skip

    def _repository(self) -> dict[str, Any]:
        owner, _, name = self.repository.partition("/")
        page = f"{self.url}/{self.repository}"
        links = {f"{link}_url": f"{self.here}/{link}" for link in _REPOSITORY_LINKS.split()}
        return links | _REPOSITORY | {
            "id": 1, "node_id": "R_1", "name": name, "full_name": self.repository, "private": True,
            "owner": self._user(Person(id=1, login=owner)), "clone_url": f"{page}.git", "git_url": f"{page}.git",
            "ssh_url": f"{page}.git", "svn_url": page,
            "html_url": f"{self.url}/{self.repository}", "url": self.here, "default_branch": "main", "fork": False,
        }  # fmt: skip

    def _end(self, branch: str, commit: str) -> dict[str, Any]:
        owner = self.repository.partition("/")[0]
        return {
            "label": f"{owner}:{branch}", "ref": branch, "sha": commit, "repo": self._repository(),
            "user": self._user(self.me),
        }  # fmt: skip

    def _pull(self, proposal: Proposal) -> dict[str, Any]:
        number, url, page = proposal.number, f"{self.here}/pulls/{proposal.number}", self._page(proposal)
        merged = proposal.merged
        closed = merged.at if merged else proposal.closed_at
        return {
            "url": url, "id": 1000 + number, "node_id": f"PR_{number}", "html_url": page, "diff_url": f"{page}.diff",
            "patch_url": f"{page}.patch", "issue_url": f"{self.here}/issues/{number}", "number": number,
            "commits_url": f"{url}/commits", "review_comments_url": f"{url}/comments",
            "review_comment_url": f"{self.here}/pulls/comments{{/number}}",
            "comments_url": f"{self.here}/issues/{number}/comments",
            "statuses_url": f"{self.here}/statuses/{proposal.head}", "state": _state(proposal), "locked": False,
            "title": proposal.title, "user": self._user(proposal.author), "body": None, "labels": [],
            "milestone": None, "created_at": _time(proposal.at), "updated_at": _time(closed or proposal.at),
            "closed_at": _time(closed) if closed else None, "merged_at": _time(merged.at) if merged else None,
            "merge_commit_sha": merged.tip if merged else None, "assignee": None, "assignees": [],
            "requested_reviewers": [], "requested_teams": [], "draft": False, "author_association": "MEMBER",
            "auto_merge": None,
            "head": self._end(proposal.source, proposal.head),
            "base": self._end(proposal.target, proposal.base),
            "_links": {name: {"href": url} for name in _PULL_LINKS},
        }  # fmt: skip

    def _whole_pull(self, proposal: Proposal) -> dict[str, Any]:
        merged = proposal.merged
        return self._pull(proposal) | {
            "merged": merged is not None, "merged_by": self._user(merged.by) if merged else None,
            "mergeable": None if merged else True, "rebaseable": None, "mergeable_state": "unknown",
            "comments": len(proposal.comments), "review_comments": 0, "maintainer_can_modify": False,
            "commits": len(self.commits_of(proposal)), "additions": 1, "deletions": 0, "changed_files": 1,
        }  # fmt: skip

    def _review(self, proposal: Proposal, vote: Vote) -> dict[str, Any]:
        return {
            "id": vote.id, "node_id": f"PRR_{vote.id}", "user": self._user(vote.by), "body": vote.body,
            "state": "DISMISSED" if vote.withdrawn_at else STATES[vote.opinion],
            "html_url": f"{self._page(proposal)}#pullrequestreview-{vote.id}",
            "pull_request_url": f"{self.here}/pulls/{proposal.number}", "author_association": "MEMBER",
            "_links": {"html": {"href": self._page(proposal)}, "pull_request": {"href": self.here}},
            "submitted_at": _time(vote.at), "commit_id": vote.head,
        }  # fmt: skip

    def _comment(self, proposal: Proposal, comment: Comment) -> dict[str, Any]:
        url = f"{self.here}/issues/comments/{comment.id}"
        return {
            "id": comment.id, "node_id": f"IC_{comment.id}", "url": url, "body": comment.body,
            "html_url": f"{self._page(proposal)}#issuecomment-{comment.id}", "user": self._user(comment.by),
            "issue_url": f"{self.here}/issues/{proposal.number}", "created_at": _time(comment.at),
            "updated_at": _time(comment.edited_at or comment.at), "author_association": "MEMBER",
            "performed_via_github_app": None,
        }  # fmt: skip

    def _status(self, status: PostedStatus) -> dict[str, Any]:
        return {
            "url": f"{self.here}/statuses/{status.commit}", "avatar_url": None, "id": status.id,
            "node_id": f"SC_{status.id}", "state": status.state, "description": status.description,
            "target_url": status.url, "context": status.context, "created_at": _time(status.at),
            "updated_at": _time(status.at), "creator": self._user(status.by),
        }  # fmt: skip

    def _commit(self, commit: Commit) -> dict[str, Any]:
        url = f"{self.here}/commits/{commit.id}"
        return {
            "url": url, "sha": commit.id, "node_id": f"C_{commit.id}", "html_url": url,
            "comments_url": f"{url}/comments",
            "commit": {
                "url": url, "author": _signature(commit.author), "committer": _signature(commit.committer),
                "message": commit.message, "comment_count": 0, "tree": {"sha": commit.tree, "url": url},
            },
            "author": self._user(self.known(commit.author.email)),
            "committer": self._user(self.known(commit.committer.email)),
            "parents": self._parents(commit.parents),
        }  # fmt: skip

    def _parents(self, commits: Sequence[str]) -> list[dict[str, str]]:
        return [{"sha": commit, "url": f"{self.here}/commits/{commit}"} for commit in commits]

    def _page(self, proposal: Proposal) -> str:
        return f"{self.url}/{self.repository}/pull/{proposal.number}"


def _body(request: Request) -> str:
    body = request.document["body"]
    if not body or len(body) > LONGEST_COMMENT:
        raise Refusal(422, "Body is too long (maximum is 65536 characters)")
    return str(body)


def _state(proposal: Proposal) -> str:
    return "open" if proposal.is_open else "closed"


def _signature(signature: Signature) -> dict[str, str]:
    return {"name": signature.name, "email": signature.email, "date": _time(signature.at)}


def _when(vote: Vote) -> datetime:
    return vote.at


def _time(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")
