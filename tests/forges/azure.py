"""Azure Repos as a fake: what tfops and azure-devops ask for, in Azure's words."""

import base64
import uuid
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from tests.forges.repository import Commit
from tests.forges.server import Answer, Refusal, Request, route
from tests.forges.world import Comment, FakeForge, Person, PostedStatus, Proposal, Vote, last_votes

VOTES = {"approved": 10, "rejected": -10}
LONGEST_COMMENT = 150_000
HERE = "/{org}/{project}/_apis/git/repositories/{repo}"
PULL = f"{HERE}/pullRequests/{{number}}"
SERVICE = "00000002-0000-8888-8000-000000000000"
SIGN_IN = Answer(203, content=b"<html><title>Azure DevOps Services | Sign In</title></html>", media="text/html")
FIRST_SYSTEM_THREAD = 500_000  # ids: the world gives none for what Azure notes
# Which operation of azure-devops is where: its ids, names and places.
_PLACES = {
    "9946fd70-0d40-406e-b686-b4744cbbcc37": "pullrequests/{pullRequestId}",
    "b3a6eebe-9cf0-49ea-b6cb-1a4c5f5007b0": "pullrequestquery",
    "ab6e2e5d-a0b7-4153-b64a-a4efe0d49449": "pullRequests/{pullRequestId}/threads/{threadId}",
    "965a3ec7-5ed8-455a-bdcb-835a5ea7fe7b": "pullRequests/{pullRequestId}/threads/{threadId}/comments/{commentId}",
    "b5f6bb4f-8d1e-4d79-8d11-4c9172c99c35": "pullRequests/{pullRequestId}/statuses/{statusId}",
    "d43911ee-6958-46b0-a42b-8445b8a0d004": "pullRequests/{pullRequestId}/iterations/{iterationId}",
    "4b6702c7-aa35-4b89-9c96-b9abf6d3e540": "pullRequests/{pullRequestId}/reviewers/{reviewerId}",
    "52823034-34a8-4576-922c-8d8b77e9e4c4": "pullRequests/{pullRequestId}/commits",
}


class Azure(FakeForge):
    """Azure with one repository.

    `is_old`: whether who voted is told by id, as in 2016, and not by a key of the people of the thread. `bypasses`:
    the pull requests whose policies were bypassed. `groups`: names of groups that are reviewers, too.
    """

    kind = "azure"
    repository = "acme/platform/infra"
    head_ref = None
    is_old = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.bypasses: set[int] = set()
        self.groups: list[str] = []
        self.weights: dict[int, int] = {}
        self.threads: dict[int, list[dict[str, Any]]] = {}

    @property
    def api(self) -> str:
        """The repository's address in the API."""
        organization, project, name = self.repository.split("/")
        return f"{self.url}/{organization}/{project}/_apis/git/repositories/{name}"

    def admits(self, request: Request) -> bool:
        """Whether the request shows the token as `Basic` with no name, or as `Bearer`."""
        basic = base64.b64encode(f":{self.token}".encode()).decode()
        return request.headers.get("authorization") in (f"Basic {basic}", f"Bearer {self.token}")

    def unauthorized(self) -> Answer:
        """What a request without the right token is told: a sign-in page that is no error."""
        return SIGN_IN

    # Who, and where things are

    @route("GET", "/{org}/_apis/connectionData")
    def connection(self, request: Request, org: str) -> Any:
        return {"authenticatedUser": {"id": identity(self.me)["id"], "providerDisplayName": self.me.login}}

    @route("OPTIONS", "/{org}/_apis")
    def places(self, request: Request, org: str) -> Any:
        found = [
            {
                "id": name, "area": "git", "resourceName": place.partition("/")[0], "resourceVersion": 1,
                "routeTemplate": f"{{project}}/_apis/git/repositories/{{repositoryId}}/{place}",
                "minVersion": "1.0", "maxVersion": "7.1", "releasedVersion": "7.1",
            }
            for name, place in _PLACES.items()
        ]  # fmt: skip
        return _list(found)

    # Changes

    @route("POST", f"{HERE}/pullrequestquery")
    def query(self, request: Request, org: str, project: str, repo: str) -> Any:
        self._same(org, project, repo)
        asked = request.document["queries"]
        return {"queries": asked, "results": [self._answer(one) for one in asked]}

    @route("GET", f"{HERE}/pullrequests")
    def pulls(self, request: Request, org: str, project: str, repo: str) -> Any:
        self._same(org, project, repo)
        status = request.query.get("searchCriteria.status", "active")
        target = request.query.get("searchCriteria.targetRefName")
        found = [
            self._pull(one)
            for one in reversed(self.proposals.values())
            if status in ("all", _status(one)) and target in (None, f"refs/heads/{one.target}")
        ]
        skip, top = int(request.query.get("$skip", 0)), int(request.query.get("$top", 101))
        return _list(found[skip : skip + top])

    @route("GET", f"{HERE}/pullrequests/{{number}}")
    def pull(self, request: Request, org: str, project: str, repo: str, number: str) -> Any:
        self._same(org, project, repo)
        return self._pull(self.proposals[int(number)])

    @route("GET", f"{PULL}/commits")
    def pull_commits(self, request: Request, org: str, project: str, repo: str, number: str) -> Answer:
        commits = self.commits_of(self.proposals[int(number)])[::-1]
        start, top = int(request.query.get("continuationToken", 0)), int(request.query.get("$top", 100))
        more = {"x-ms-continuationtoken": str(start + top)} if start + top < len(commits) else {}
        return Answer(200, _list([_commit(one) for one in commits[start : start + top]]), more)

    @route("GET", f"{PULL}/iterations")
    def iterations(self, request: Request, org: str, project: str, repo: str, number: str) -> Any:
        proposal = self.proposals[int(number)]
        return _list(
            [
                {
                    "id": place, "createdDate": _time(push.at), "updatedDate": _time(push.at),
                    "author": identity(push.by) if push.by else None, "description": "", "hasMoreCommits": False,
                    "sourceRefCommit": {"commitId": push.head}, "targetRefCommit": {"commitId": proposal.base},
                    "reason": "push" if place > 1 else "create",
                }
                for place, push in enumerate(proposal.pushes, start=1)
            ]
        )  # fmt: skip

    # Votes

    @route("GET", f"{PULL}/reviewers")
    def reviewers(self, request: Request, org: str, project: str, repo: str, number: str) -> Any:
        return _list(self._reviewers(self.proposals[int(number)]))

    @route("PUT", f"{PULL}/reviewers/{{reviewer}}")
    def vote(self, request: Request, org: str, project: str, repo: str, number: str, reviewer: str) -> Any:
        if identity(self.me)["id"] != reviewer:
            raise Refusal(403, "You cannot record a vote for someone else.")
        weight = request.document["vote"]
        if weight == 0:
            self.withdraw(int(number), self.me.login)
        else:
            opinion = "approved" if weight > 0 else "rejected"
            self.weights[self._vote(int(number), self.me.login, opinion, None, None).id] = weight
        return next(one for one in self._reviewers(self.proposals[int(number)]) if one["id"] == reviewer)

    # Comments and statuses

    @route("GET", f"{PULL}/threads")
    def list_threads(self, request: Request, org: str, project: str, repo: str, number: str) -> Any:
        return _list(self.all_threads(int(number)))

    @route("POST", f"{PULL}/threads")
    def new_thread(self, request: Request, org: str, project: str, repo: str, number: str) -> Any:
        asked, proposal = request.document, self.proposals[int(number)]
        comment = self.commented(proposal, self.me, _content(asked["comments"][0]))
        comment.extra["kind"] = asked["comments"][0].get("commentType", "text")
        comment.extra["properties"] = _wrapped(asked.get("properties") or {})
        comment.extra["status"] = asked.get("status", "unknown")
        return self._as_thread(comment)

    @route("PATCH", f"{PULL}/threads/{{thread}}/comments/{{comment}}")
    def edit_comment(
        self, request: Request, org: str, project: str, repo: str, number: str, thread: str, comment: str
    ) -> Any:
        _, found = self.comment_by_id(int(thread))
        if found.by != self.me or comment != "1":
            raise Refusal(403, "You may edit your own comments only.")
        return self._as_thread(self.edited(found, _content(request.document)))["comments"][0]

    @route("POST", f"{PULL}/statuses")
    def new_status(self, request: Request, org: str, project: str, repo: str, number: str) -> Any:
        asked, proposal = request.document, self.proposals[int(number)]
        context = asked["context"]
        place = asked.get("iterationId") or len(proposal.pushes)
        name = "/".join(part for part in (context.get("genre"), context["name"]) if part)
        posted = self.post(proposal.pushes[place - 1].head, name, asked["state"], asked.get("description") or "",
                           asked.get("targetUrl"), iteration=asked.get("iterationId"), parts=context)  # fmt: skip
        return self._shown(posted)

    @route("GET", f"{PULL}/statuses")
    def list_statuses(self, request: Request, org: str, project: str, repo: str, number: str) -> Any:
        return _list([self._shown(status) for status in self.posted])

    # Azure's words

    def _same(self, *names: str) -> None:
        if "/".join(names) != self.repository:
            raise LookupError(names)

    def login(self, person: str) -> str:
        """What the trust block has to call somebody."""
        return str(identity(self.people[person])["uniqueName"])

    def all_threads(self, number: int) -> list[dict[str, Any]]:
        """The comments on a change, and what Azure noted."""
        proposal = self.proposals[number]
        said = [self._as_thread(comment) for comment in proposal.comments]
        noted = [*self._noted(proposal), *self.threads.get(number, ())]
        return sorted([*said, *noted], key=lambda thread: str(thread["publishedDate"]))

    def _answer(self, query: Mapping[str, Any]) -> dict[str, list[dict[str, Any]]]:
        found: dict[str, list[dict[str, Any]]] = {}
        for commit in query["items"]:
            for proposal in self.proposals.values():
                merged = proposal.merged
                made = merged and merged.tip == commit
                if made or (query["type"] == "commit" and merged and commit in merged.commits):
                    found.setdefault(commit, []).append(self._pull(proposal))
        return found

    def _pull(self, proposal: Proposal) -> dict[str, Any]:
        merged, organization = proposal.merged, self.repository.partition("/")[0]
        shown = {
            "pullRequestId": proposal.number, "codeReviewId": proposal.number, "status": _status(proposal),
            "createdBy": identity(proposal.author) if proposal.author else None, "title": proposal.title,
            "creationDate": _time(proposal.at), "isDraft": False, "mergeStatus": "succeeded",
            "sourceRefName": f"refs/heads/{proposal.source}", "targetRefName": f"refs/heads/{proposal.target}",
            "lastMergeSourceCommit": {"commitId": proposal.head}, "reviewers": self._reviewers(proposal),
            "lastMergeTargetCommit": {"commitId": proposal.base}, "supportsIterations": True,
            "repository": {"id": str(uuid.uuid5(uuid.NAMESPACE_URL, organization)), "name": "infra"},
            "url": f"{self.api}/pullRequests/{proposal.number}",
        }  # fmt: skip
        if merged:
            shown |= {
                "closedDate": _time(merged.at), "lastMergeCommit": {"commitId": merged.tip},
                "closedBy": identity(merged.by) if merged.by else None,
                "completionOptions": {
                    "mergeStrategy": "squash" if merged.how == "squash" else "noFastForward",
                    "bypassPolicy": proposal.number in self.bypasses,
                },
            }  # fmt: skip
        return shown

    def _reviewers(self, proposal: Proposal) -> list[dict[str, Any]]:
        """People with their votes, then groups with the best vote of a member rolled up."""
        votes = [identity(vote.by) | {"vote": self._weight(vote)} for vote in last_votes(proposal) if vote.by]
        best = max((one["vote"] for one in votes), default=0)
        groups = [
            {"id": str(uuid.uuid5(uuid.NAMESPACE_URL, name)), "displayName": f"[platform]\\{name}", "vote": best,
             "uniqueName": f"vstfs:///Classification/TeamProject/1\\{name}", "isContainer": True}
            for name in self.groups
        ]  # fmt: skip
        return [*votes, *groups]

    def _weight(self, vote: Vote) -> int:
        return 0 if vote.withdrawn_at else self.weights.get(vote.id, VOTES[vote.opinion])

    def _noted(self, proposal: Proposal) -> Iterator[dict[str, Any]]:
        """What Azure notes by itself: pushes and votes."""
        for place, push in enumerate(proposal.pushes[1:]):
            told = {"CodeReviewRefNewHeadCommit": push.head, "CodeReviewRefName": f"refs/heads/{proposal.source}"}
            yield self.noted(FIRST_SYSTEM_THREAD + place, "RefUpdate", push.at, **told)
        for vote in proposal.votes:
            if vote.by is not None and vote.opinion in VOTES:
                yield self.vote_thread(vote.id, vote.by, self.weights.get(vote.id, VOTES[vote.opinion]), vote.at)

    def vote_thread(self, number: int, by: Person, weight: int, at: datetime) -> dict[str, Any]:
        """What Azure notes of a vote."""
        if self.is_old:
            who = {"CodeReviewVotedByTfId": identity(by)["id"].replace("-", "")}
            return self.noted(number, "VoteUpdate", at, CodeReviewVoteResult=str(weight), **who)
        shown = self.noted(number, "VoteUpdate", at, CodeReviewVoteResult=str(weight), CodeReviewVotedByIdentity="1")
        return shown | {"identities": {"1": identity(by)}}

    def noted(self, number: int, kind: str, at: datetime, **told: str) -> dict[str, Any]:
        """A thread of Azure itself."""
        service = {
            "id": SERVICE, "displayName": "Microsoft.VisualStudio.Services.TFS", "uniqueName": "",
            "descriptor": "s2s.MDAwMDAwMDItMDAwMC04ODg4LTgwMDAtMDAwMDAwMDAwMDAw",
        }  # fmt: skip
        comment = {
            "id": 1, "parentCommentId": 0, "author": service, "content": kind, "publishedDate": _time(at),
            "commentType": "system",
        }  # fmt: skip
        properties = _wrapped({"CodeReviewThreadType": kind, **told})
        return {
            "id": number, "publishedDate": _time(at), "comments": [comment], "properties": properties,
            "isDeleted": False,
        }  # fmt: skip

    def _as_thread(self, comment: Comment) -> dict[str, Any]:
        shown = {
            "id": 1, "parentCommentId": 0, "author": identity(comment.by) if comment.by else None,
            "content": comment.body, "publishedDate": _time(comment.at),
            "lastContentUpdatedDate": _time(comment.edited_at or comment.at),
            "commentType": comment.extra.get("kind", "text"),
        }  # fmt: skip
        return {
            "id": comment.id, "publishedDate": _time(comment.at), "comments": [shown],
            "status": comment.extra.get("status", "active"), "properties": comment.extra.get("properties", {}),
            "isDeleted": False,
        }  # fmt: skip

    def _shown(self, status: PostedStatus) -> dict[str, Any]:
        return {
            "id": status.id, "state": status.state, "description": status.description, "targetUrl": status.url,
            "context": status.extra["parts"], "iterationId": status.extra["iteration"],
            "createdBy": identity(status.by), "creationDate": _time(status.at),
        }  # fmt: skip


def identity(person: Person) -> dict[str, Any]:
    """An account, in Azure's words."""
    prefix = "svc" if person.is_bot else "aad"
    return {
        "id": str(uuid.uuid5(uuid.NAMESPACE_URL, f"user {person.id}")), "displayName": person.login.capitalize(),
        "uniqueName": person.email, "descriptor": f"{prefix}.{person.id}",
    }  # fmt: skip


def _commit(commit: Commit) -> dict[str, Any]:
    return {
        "commitId": commit.id, "comment": commit.message,
        "author": {"name": commit.author.name, "email": commit.author.email, "date": _time(commit.author.at)},
        "committer": {
            "name": commit.committer.name, "email": commit.committer.email, "date": _time(commit.committer.at),
        },
    }  # fmt: skip


def _wrapped(properties: Mapping[str, Any]) -> dict[str, Any]:
    """Properties as Azure gives them back: each with its kind."""
    plain = {name: value.get("$value") if isinstance(value, dict) else value for name, value in properties.items()}
    return {name: {"$type": "System.String", "$value": value} for name, value in plain.items()}


def _content(comment: Mapping[str, Any]) -> str:
    content = comment.get("content")
    if not content or len(content) > LONGEST_COMMENT:
        raise Refusal(400, "A discussion comment cannot be longer than 150000 characters")
    return str(content)


def _list(items: list[Any]) -> dict[str, Any]:
    return {"value": items, "count": len(items)}


def _status(proposal: Proposal) -> str:
    if proposal.merged:
        return "completed"
    return "active" if proposal.is_open else "abandoned"


def _time(at: datetime) -> str:
    """With seven digits, as Azure writes it."""
    return f"{at:%Y-%m-%dT%H:%M:%S.%f}0Z"
