"""In which pipeline we run, and for what, as its environment says.

All of it is a hint: whoever writes the pipeline's file may set any variable. What counts, the forge says.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum

import msgspec

_CHANGE_REF = re.compile(r"refs/pull/(\d+)/(?:merge|head)")
_CHANGE_URL = re.compile(r"/(?:pull|pulls|pull-requests|merge_requests)/(\d+)")
# By these say others, and pipelines that run tfops in a container of its own, what branch they build.
_LOOSE_BRANCHES = (
    *("GITHUB_REF_NAME", "CI_COMMIT_BRANCH", "BITBUCKET_BRANCH", "BUILD_SOURCEBRANCH"),
    *("BUILDKITE_BRANCH", "CIRCLE_BRANCH", "DRONE_BRANCH", "BRANCH_NAME"),
)


class Event(StrEnum):
    """Why a pipeline runs. `change`: for a pull or merge request; `queue`: for one that a merge queue tries out."""

    PUSH = "push"
    CHANGE = "change"
    QUEUE = "queue"
    TAG = "tag"
    SCHEDULE = "schedule"
    MANUAL = "manual"
    OTHER = "other"


_OF_NO_BRANCH = frozenset({Event.CHANGE, Event.QUEUE, Event.TAG})


@dataclass(frozen=True, slots=True, kw_only=True)
class Pipeline:
    """One run of a pipeline; None is what it does not say.

    `commit` is what is checked out: of a change often a merge that was made to try it out. `head` is the commit that
    people pushed: of a change its last one (Bitbucket may say only the beginning of its id). `branch` is the change's
    own, or the one that is built, `base` the one that a change is for; both are short names.
    """

    name: str
    event: Event
    commit: str | None = None
    head: str | None = None
    branch: str | None = None
    base: str | None = None
    change: int | None = None
    actor: str | None = None
    run_url: str | None = None


def pipeline(environ: Mapping[str, str], event: bytes = b"") -> Pipeline | None:
    """The pipeline we run in; None outside of one that we know. `event` is what the file of `event_path` holds."""
    # Gitea and Forgejo set GitHub's variables too, and so come before it.
    for variable, read in _KNOWN.items():
        if _said(environ, variable):
            return read(environ, _Event(event))
    return None


def event_path(environ: Mapping[str, str]) -> str | None:
    """Where the pipeline left the event that started it, as JSON."""
    return _said(environ, "GITHUB_EVENT_PATH")


def built_branch(environ: Mapping[str, str]) -> str | None:
    """The branch whose tip is built; None for a change, a merge queue's trial or a tag, and where nobody says."""
    found = pipeline(environ)
    if found is not None:
        return None if found.event in _OF_NO_BRANCH else found.branch
    if environ.get("GITHUB_REF_TYPE", "branch") != "branch":
        return None
    return _short(_said(environ, *_LOOSE_BRANCHES))


class _Event:
    """The event of GitHub or Gitea: what is not there, or not of the type wanted, is None."""

    def __init__(self, data: bytes) -> None:
        try:
            self._content: object = msgspec.json.decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            self._content = None

    def get(self, *path: str) -> object:
        found = self._content
        for step in path:
            found = found.get(step) if isinstance(found, dict) else None
        return found

    def text(self, *path: str) -> str | None:
        found = self.get(*path)
        return found if isinstance(found, str) and found else None


# --- one function for each that we know ---


def _github(environ: Mapping[str, str], event: _Event) -> Pipeline:
    run = _url(environ, "GITHUB_SERVER_URL", "GITHUB_REPOSITORY", "actions/runs", "GITHUB_RUN_ID")
    attempt = _said(environ, "GITHUB_RUN_ATTEMPT")
    return _actions("github", environ, event, f"{run}/attempts/{attempt}" if run and attempt else run)


def _gitea(environ: Mapping[str, str], event: _Event) -> Pipeline:
    # Its pages count runs per repository: the number, not the id.
    run = _url(environ, "GITHUB_SERVER_URL", "GITHUB_REPOSITORY", "actions/runs", "GITHUB_RUN_NUMBER")
    return _actions("gitea", environ, event, run)


def _actions(name: str, environ: Mapping[str, str], event: _Event, run_url: str | None) -> Pipeline:
    kind = _actions_event(environ)
    commit, ref = _said(environ, "GITHUB_SHA"), environ.get("GITHUB_REF", "")
    head: str | None = commit
    base = _said(environ, "GITHUB_BASE_REF")
    number = _number(event.get("pull_request", "number")) or _found_in(_CHANGE_REF, ref)
    if event.get("issue", "pull_request"):  # a comment on a change; what runs is the default branch
        number, head = _number(event.get("issue", "number")), None
    if kind is Event.CHANGE:
        # GITHUB_SHA is the merge that tries it out, or (pull_request_target) the base.
        head = event.text("pull_request", "head", "sha") or (commit if ref.endswith("/head") else None)
    elif kind is Event.QUEUE:
        head, base = event.text("merge_group", "head_sha") or commit, event.text("merge_group", "base_ref")
    return Pipeline(
        name=name,
        event=kind,
        commit=commit,
        head=head,
        branch=_said(environ, "GITHUB_HEAD_REF") or _branch_of_ref(ref) or _named_branch(environ, kind),
        base=_short(base),
        change=number,
        actor=_said(environ, "GITHUB_TRIGGERING_ACTOR", "GITHUB_ACTOR"),
        run_url=run_url,
    )


def _actions_event(environ: Mapping[str, str]) -> Event:
    name = environ.get("GITHUB_EVENT_NAME", "")
    if environ.get("GITHUB_REF_TYPE") == "tag":
        return Event.TAG
    if name.startswith("pull_request") or _said(environ, "GITHUB_HEAD_REF"):
        return Event.CHANGE
    if _CHANGE_REF.match(environ.get("GITHUB_REF", "")):
        return Event.CHANGE
    return _GITHUB_EVENTS.get(name, Event.OTHER)


def _named_branch(environ: Mapping[str, str], kind: Event) -> str | None:
    return None if kind in _OF_NO_BRANCH else _said(environ, "GITHUB_REF_NAME")


def _gitlab(environ: Mapping[str, str], _: _Event) -> Pipeline:
    commit = _said(environ, "CI_COMMIT_SHA")
    trial = environ.get("CI_MERGE_REQUEST_EVENT_TYPE") in ("merged_result", "merge_train")
    # Empty where the pipeline runs on the change's own head.
    head = _said(environ, "CI_MERGE_REQUEST_SOURCE_BRANCH_SHA")
    # Not CI_MERGE_REQUEST_ID: that one counts over all projects.
    number = _number(environ.get("CI_MERGE_REQUEST_IID"))
    return Pipeline(
        name="gitlab",
        event=_gitlab_event(environ, number),
        commit=commit,
        head=head or (None if trial else commit),
        branch=_said(environ, "CI_MERGE_REQUEST_SOURCE_BRANCH_NAME", "CI_COMMIT_BRANCH"),
        base=_said(environ, "CI_MERGE_REQUEST_TARGET_BRANCH_NAME"),
        change=number,
        actor=_said(environ, "GITLAB_USER_LOGIN"),
        run_url=_said(environ, "CI_JOB_URL", "CI_PIPELINE_URL"),
    )


def _gitlab_event(environ: Mapping[str, str], number: int | None) -> Event:
    if environ.get("CI_MERGE_REQUEST_EVENT_TYPE") == "merge_train":
        return Event.QUEUE
    if number is not None:
        return Event.CHANGE
    if _said(environ, "CI_COMMIT_TAG"):
        return Event.TAG
    return _GITLAB_EVENTS.get(environ.get("CI_PIPELINE_SOURCE", ""), Event.OTHER)


def _jenkins(environ: Mapping[str, str], _: _Event) -> Pipeline:
    number = _number(_said(environ, "CHANGE_ID", "ghprbPullId", "gitlabMergeRequestIid"))
    commit = _said(environ, "GIT_COMMIT")
    # GIT_COMMIT of a change may be a merge that exists on this machine only.
    head = _said(environ, "ghprbActualCommit", "gitlabMergeRequestLastCommit")
    own = _said(environ, "CHANGE_BRANCH", "ghprbSourceBranch", "gitlabSourceBranch")
    built = _said(environ, "BRANCH_NAME") or (_said(environ, "GIT_BRANCH") or "").removeprefix("origin/") or None
    tagged = _said(environ, "TAG_NAME") is not None
    return Pipeline(
        name="jenkins",
        event=Event.CHANGE if number is not None else Event.TAG if tagged else Event.PUSH,
        commit=commit,
        head=commit if number is None else head,
        branch=_short(own if number is not None else None if tagged else built),
        base=_short(_said(environ, "CHANGE_TARGET", "ghprbTargetBranch", "gitlabTargetBranch")),
        change=number,
        actor=_said(environ, "BUILD_USER_ID", "BUILD_USER", "CHANGE_AUTHOR"),
        run_url=_said(environ, "RUN_DISPLAY_URL", "BUILD_URL"),
    )


def _circleci(environ: Mapping[str, str], _: _Event) -> Pipeline:
    branch, tag = _said(environ, "CIRCLE_BRANCH"), _said(environ, "CIRCLE_TAG")
    # A fork's change is built as "pull/12". Any other build is of a branch, also where it has an open change.
    of_fork = branch is not None and re.fullmatch(r"pull/\d+", branch) is not None
    # CIRCLE_PR_NUMBER is there for forks only.
    number = _found_in(_CHANGE_URL, environ.get("CIRCLE_PULL_REQUEST", ""))
    return Pipeline(
        name="circleci",
        event=Event.CHANGE if of_fork else Event.TAG if tag else Event.PUSH,
        commit=_said(environ, "CIRCLE_SHA1"),
        head=_said(environ, "CIRCLE_SHA1"),
        branch=None if of_fork else branch,
        change=number or _number(environ.get("CIRCLE_PR_NUMBER")),
        actor=_said(environ, "CIRCLE_USERNAME"),
        run_url=_said(environ, "CIRCLE_BUILD_URL"),
    )


def _bitbucket(environ: Mapping[str, str], _: _Event) -> Pipeline:
    number, tag = _number(environ.get("BITBUCKET_PR_ID")), _said(environ, "BITBUCKET_TAG")
    branch = _said(environ, "BITBUCKET_BRANCH")
    event = Event.CHANGE if number is not None else Event.TAG if tag else Event.PUSH
    repository, build = _said(environ, "BITBUCKET_REPO_FULL_NAME"), environ["BITBUCKET_BUILD_NUMBER"]
    return Pipeline(
        name="bitbucket",
        event=event if branch or event is not Event.PUSH else Event.MANUAL,  # a custom pipeline names no branch
        commit=_said(environ, "BITBUCKET_COMMIT"),
        head=_said(environ, "BITBUCKET_COMMIT"),
        branch=branch,
        base=_said(environ, "BITBUCKET_PR_DESTINATION_BRANCH"),
        change=number,
        actor=_said(environ, "BITBUCKET_STEP_TRIGGERER_UUID"),
        run_url=f"https://bitbucket.org/{repository}/pipelines/results/{build}" if repository else None,
    )


def _azure(environ: Mapping[str, str], _: _Event) -> Pipeline:
    ref = environ.get("BUILD_SOURCEBRANCH", "")
    commit = _said(environ, "BUILD_SOURCEVERSION")
    # For a repository on GitHub PULLREQUESTID is GitHub's own id: the number stands elsewhere.
    number = (
        _number(environ.get("SYSTEM_PULLREQUEST_PULLREQUESTNUMBER"))
        or _found_in(_CHANGE_REF, ref)
        or _number(environ.get("SYSTEM_PULLREQUEST_PULLREQUESTID"))
    )
    own = _short(_said(environ, "SYSTEM_PULLREQUEST_SOURCEBRANCH"))
    return Pipeline(
        name="azure",
        event=_azure_event(environ, number),
        commit=commit,
        head=commit if number is None else _said(environ, "SYSTEM_PULLREQUEST_SOURCECOMMITID"),
        branch=_branch_of_ref(ref) if number is None else own,
        base=_short(_said(environ, "SYSTEM_PULLREQUEST_TARGETBRANCH")),
        change=number,
        actor=_said(environ, "BUILD_REQUESTEDFOR", "BUILD_REQUESTEDFORID"),
        run_url=_azure_url(environ),
    )


def _azure_event(environ: Mapping[str, str], number: int | None) -> Event:
    if number is not None:
        return Event.CHANGE
    if environ.get("BUILD_SOURCEBRANCH", "").startswith("refs/tags/"):
        return Event.TAG
    return _AZURE_EVENTS.get(environ.get("BUILD_REASON", ""), Event.OTHER)


def _azure_url(environ: Mapping[str, str]) -> str | None:
    server, project = _said(environ, "SYSTEM_COLLECTIONURI"), _said(environ, "SYSTEM_TEAMPROJECT")
    build = _said(environ, "BUILD_BUILDID")
    if not (server and project and build):
        return None
    return f"{server.rstrip('/')}/{project}/_build/results?buildId={build}".replace(" ", "%20")


_KNOWN: Mapping[str, Callable[[Mapping[str, str], _Event], Pipeline]] = {
    "GITEA_ACTIONS": _gitea,
    "FORGEJO_ACTIONS": _gitea,
    "GITHUB_ACTIONS": _github,
    "GITLAB_CI": _gitlab,
    "CIRCLECI": _circleci,
    "BITBUCKET_BUILD_NUMBER": _bitbucket,
    "TF_BUILD": _azure,
    "BUILD_BUILDURI": _azure,
    "JENKINS_URL": _jenkins,
}
_GITHUB_EVENTS = {
    "push": Event.PUSH,
    "merge_group": Event.QUEUE,
    "schedule": Event.SCHEDULE,
    "workflow_dispatch": Event.MANUAL,
}
_GITLAB_EVENTS = {"push": Event.PUSH, "schedule": Event.SCHEDULE, "web": Event.MANUAL}
_AZURE_EVENTS = {
    "IndividualCI": Event.PUSH,
    "BatchedCI": Event.PUSH,
    "Schedule": Event.SCHEDULE,
    "Manual": Event.MANUAL,
}


# --- small things ---


def _said(environ: Mapping[str, str], *names: str) -> str | None:
    """The first of these that says anything. Azure leaves `$(Name)` where a variable is not set."""
    found = (environ.get(name, "").strip() for name in names)
    return next((value for value in found if value and not value.startswith("$(")), None)


def _number(value: object) -> int | None:
    if isinstance(value, str):
        return int(value) if re.fullmatch(r"[1-9][0-9]{0,17}", value.strip()) else None
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None


def _found_in(pattern: re.Pattern[str], text: str) -> int | None:
    found = pattern.search(text)
    return _number(found.group(1)) if found else None


def _short(ref: str | None) -> str | None:
    return ref.removeprefix("refs/heads/") or None if ref else None


def _branch_of_ref(ref: str) -> str | None:
    """The short name of a branch; None for a change's ref or a tag's."""
    return _short(ref) if ref.startswith("refs/heads/") else None


def _url(environ: Mapping[str, str], server: str, repository: str, path: str, run: str) -> str | None:
    parts = [_said(environ, server), _said(environ, repository), path, _said(environ, run)]
    return "/".join(part.rstrip("/") for part in parts if part) if all(parts) else None
