"""What each pipeline says about itself, with the traps that their variables hold."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfops.pipelines import Event, Pipeline, built_branch, event_path, pipeline

SHA, HEAD = "a" * 40, "b" * 40
GITHUB = {
    "GITHUB_ACTIONS": "true",
    "GITHUB_SHA": SHA,
    "GITHUB_SERVER_URL": "https://github.com",
    "GITHUB_REPOSITORY": "acme/infra",
    "GITHUB_RUN_ID": "99",
    "GITHUB_RUN_NUMBER": "7",
    "GITHUB_RUN_ATTEMPT": "2",
    "GITHUB_ACTOR": "alice",
}
GITHUB_CHANGE = {
    **GITHUB,
    "GITHUB_EVENT_NAME": "pull_request",
    "GITHUB_REF": "refs/pull/24/merge",
    "GITHUB_REF_NAME": "24/merge",
    "GITHUB_REF_TYPE": "branch",
    "GITHUB_HEAD_REF": "topic",
    "GITHUB_BASE_REF": "main",
}
GITLAB = {"GITLAB_CI": "true", "CI_COMMIT_SHA": SHA, "GITLAB_USER_LOGIN": "alice", "CI_JOB_URL": "https://g/j/1"}
GITLAB_CHANGE = {
    **GITLAB,
    "CI_PIPELINE_SOURCE": "merge_request_event",
    "CI_MERGE_REQUEST_ID": "987654",
    "CI_MERGE_REQUEST_IID": "24",
    "CI_MERGE_REQUEST_SOURCE_BRANCH_NAME": "topic",
    "CI_MERGE_REQUEST_TARGET_BRANCH_NAME": "main",
}
AZURE = {
    "TF_BUILD": "True",
    "BUILD_SOURCEVERSION": SHA,
    "BUILD_REQUESTEDFOR": "Alice",
    "SYSTEM_COLLECTIONURI": "https://dev.azure.com/acme/",
    "SYSTEM_TEAMPROJECT": "big infra",
    "BUILD_BUILDID": "5",
}
AZURE_CHANGE = {
    **AZURE,
    "BUILD_REASON": "PullRequest",
    "BUILD_SOURCEBRANCH": "refs/pull/24/merge",
    "SYSTEM_PULLREQUEST_SOURCECOMMITID": HEAD,
    "SYSTEM_PULLREQUEST_SOURCEBRANCH": "refs/heads/topic",
    "SYSTEM_PULLREQUEST_TARGETBRANCH": "refs/heads/main",
}
JENKINS = {"JENKINS_URL": "https://j/", "GIT_COMMIT": SHA, "BUILD_URL": "https://j/job/1/", "BUILD_USER_ID": "alice"}
CIRCLE = {"CIRCLECI": "true", "CIRCLE_SHA1": HEAD, "CIRCLE_USERNAME": "alice", "CIRCLE_BUILD_URL": "https://c/1"}
BITBUCKET = {
    "BITBUCKET_BUILD_NUMBER": "5",
    "BITBUCKET_COMMIT": HEAD[:12],
    "BITBUCKET_REPO_FULL_NAME": "acme/infra",
    "BITBUCKET_STEP_TRIGGERER_UUID": "{u}",
}


def found(environ: dict[str, str], event: object = None, **more: str) -> Pipeline:
    result = pipeline({**environ, **more}, b"" if event is None else json.dumps(event).encode())
    assert result is not None
    return result


def said(one: Pipeline) -> tuple[object, ...]:
    return (one.event.value, one.commit, one.head, one.branch, one.base, one.change)


def test_outside_of_a_pipeline_there_is_none():
    assert pipeline({"HOME": "/root", "CI": "true"}) is None


@pytest.mark.parametrize(
    ("environ", "name", "actor", "run_url"),
    [
        (GITHUB, "github", "alice", "https://github.com/acme/infra/actions/runs/99/attempts/2"),
        ({**GITHUB, "GITEA_ACTIONS": "true"}, "gitea", "alice", "https://github.com/acme/infra/actions/runs/7"),
        ({**GITHUB, "FORGEJO_ACTIONS": "true"}, "gitea", "alice", "https://github.com/acme/infra/actions/runs/7"),
        ({**GITHUB, "GITHUB_TRIGGERING_ACTOR": "bob", "GITHUB_RUN_ID": ""}, "github", "bob", None),
        (GITLAB, "gitlab", "alice", "https://g/j/1"),
        (JENKINS, "jenkins", "alice", "https://j/job/1/"),
        (CIRCLE, "circleci", "alice", "https://c/1"),
        (BITBUCKET, "bitbucket", "{u}", "https://bitbucket.org/acme/infra/pipelines/results/5"),
        (AZURE, "azure", "Alice", "https://dev.azure.com/acme/big%20infra/_build/results?buildId=5"),
        ({"BUILD_BUILDURI": "vstfs:///5", "SYSTEM_TEAMPROJECT": "$(System.TeamProject)"}, "azure", None, None),
    ],
)
def test_each_is_known_with_its_run_and_who_started_it(environ, name, actor, run_url):
    one = found(environ)
    assert (one.name, one.actor, one.run_url) == (name, actor, run_url)


PUSHED = ("push", SHA, SHA, "main", None, None)


@pytest.mark.parametrize(
    "environ",
    [
        {**GITHUB, "GITHUB_EVENT_NAME": "push", "GITHUB_REF": "refs/heads/main"},
        {**GITLAB, "CI_PIPELINE_SOURCE": "push", "CI_COMMIT_BRANCH": "main"},
        {**JENKINS, "BRANCH_NAME": "main"},
        {**JENKINS, "GIT_BRANCH": "origin/main"},
        {**CIRCLE, "CIRCLE_SHA1": SHA, "CIRCLE_BRANCH": "main"},
        {**BITBUCKET, "BITBUCKET_COMMIT": SHA, "BITBUCKET_BRANCH": "main"},
        {**AZURE, "BUILD_REASON": "IndividualCI", "BUILD_SOURCEBRANCH": "refs/heads/main"},
    ],
    ids=lambda environ: next(iter(environ)),
)
def test_a_push_builds_a_branch(environ):
    assert said(found(environ)) == PUSHED
    assert built_branch(environ) == "main"


TAGGED = {
    "github": {**GITHUB, "GITHUB_REF_TYPE": "tag", "GITHUB_REF": "refs/tags/v1", "GITHUB_REF_NAME": "v1"},
    "gitlab": {**GITLAB, "CI_COMMIT_TAG": "v1"},
    "jenkins": {**JENKINS, "TAG_NAME": "v1", "BRANCH_NAME": "v1"},
    "circleci": {**CIRCLE, "CIRCLE_TAG": "v1"},
    "bitbucket": {**BITBUCKET, "BITBUCKET_TAG": "v1"},
    "azure": {**AZURE, "BUILD_SOURCEBRANCH": "refs/tags/v1"},
}


@pytest.mark.parametrize("environ", TAGGED.values(), ids=TAGGED)
def test_a_tag_is_no_branch(environ):
    one = found(environ)
    assert (one.event, one.branch, built_branch(environ)) == (Event.TAG, None, None)


CHANGES = {
    "github": GITHUB_CHANGE,
    "gitea": {**GITHUB_CHANGE, "GITEA_ACTIONS": "true", "GITHUB_SHA": HEAD, "GITHUB_REF": "refs/pull/24/head"},
    "gitlab": GITLAB_CHANGE,
    "jenkins": {**JENKINS, "CHANGE_ID": "24", "BRANCH_NAME": "PR-24", "CHANGE_BRANCH": "t", "CHANGE_TARGET": "main"},
    "bitbucket": {
        **BITBUCKET,
        **{"BITBUCKET_PR_ID": "24", "BITBUCKET_BRANCH": "topic", "BITBUCKET_PR_DESTINATION_BRANCH": "main"},
    },
    "azure": {**AZURE_CHANGE, "SYSTEM_PULLREQUEST_PULLREQUESTID": "24"},
}


@pytest.mark.parametrize("environ", CHANGES.values(), ids=CHANGES)
def test_a_change_builds_no_branch_that_could_be_brought_to_its_head(environ):
    one = found(environ)
    assert (one.event, one.base, one.change, built_branch(environ)) == (Event.CHANGE, "main", 24, None)


class TestGitHub:
    def test_what_is_built_of_a_change_is_a_merge_and_its_head_stands_in_the_event(self):
        event = {"pull_request": {"number": 24, "head": {"sha": HEAD}}}
        assert said(found(GITHUB_CHANGE, event)) == ("change", SHA, HEAD, "topic", "main", 24)

    @pytest.mark.parametrize("data", [b"", b"{", b"[]", b"\xff", b'{"pull_request": 1}', b"[" * 100_000])
    def test_without_a_readable_event_nobody_knows_the_head(self, data):
        one = pipeline(GITHUB_CHANGE, data)
        assert one is not None
        assert said(one) == ("change", SHA, None, "topic", "main", 24)

    def test_pull_request_target_runs_the_base_but_is_about_the_change(self):
        target = {"GITHUB_EVENT_NAME": "pull_request_target", "GITHUB_REF": "refs/heads/main"}
        event = {"pull_request": {"number": 24, "head": {"sha": HEAD}}}
        assert said(found(GITHUB_CHANGE, event, **target)) == ("change", SHA, HEAD, "topic", "main", 24)
        assert built_branch({**GITHUB_CHANGE, **target}) is None

    def test_a_comment_on_a_change_runs_the_default_branch(self):
        environ = {**GITHUB, "GITHUB_EVENT_NAME": "issue_comment", "GITHUB_REF": "refs/heads/main"}
        event = {"issue": {"number": 24, "pull_request": {}}}
        assert found(environ, event).change is None
        event = {"issue": {"number": 24, "pull_request": {"url": "u"}}}
        assert said(found(environ, event)) == ("other", SHA, None, "main", None, 24)

    def test_a_merge_queue_tries_out_a_merge(self):
        branch = "gh-readonly-queue/main/pr-24-abc"
        environ = {**GITHUB, "GITHUB_EVENT_NAME": "merge_group", "GITHUB_REF": f"refs/heads/{branch}"}
        event = {"merge_group": {"head_sha": HEAD, "base_ref": "refs/heads/main"}}
        assert said(found(environ, event)) == ("queue", SHA, HEAD, branch, "main", None)
        assert built_branch(environ) is None

    def test_where_the_event_lies(self):
        assert event_path({"GITHUB_EVENT_PATH": "/e.json"}) == "/e.json"
        assert event_path({}) is None


def test_gitea_builds_the_head_itself():
    assert said(found(CHANGES["gitea"])) == ("change", HEAD, HEAD, "topic", "main", 24)


class TestGitLab:
    def test_the_number_is_the_iid_and_a_detached_pipeline_runs_the_head(self):
        one = found(GITLAB_CHANGE, CI_MERGE_REQUEST_EVENT_TYPE="detached", CI_MERGE_REQUEST_SOURCE_BRANCH_SHA="")
        assert said(one) == ("change", SHA, SHA, "topic", "main", 24)

    @pytest.mark.parametrize(("kind", "event"), [("merged_result", "change"), ("merge_train", "queue")])
    def test_a_merged_result_is_not_the_head(self, kind, event):
        one = found(GITLAB_CHANGE, CI_MERGE_REQUEST_EVENT_TYPE=kind, CI_MERGE_REQUEST_SOURCE_BRANCH_SHA=HEAD)
        assert said(one) == (event, SHA, HEAD, "topic", "main", 24)
        assert found(GITLAB_CHANGE, CI_MERGE_REQUEST_EVENT_TYPE=kind).head is None


class TestJenkins:
    def test_the_head_of_a_change_is_known_to_plug_ins_only(self):
        assert said(found(CHANGES["jenkins"])) == ("change", SHA, None, "t", "main", 24)
        plugged = {"ghprbPullId": "24", "ghprbSourceBranch": "topic", "ghprbTargetBranch": "main"}
        one = found(JENKINS, ghprbActualCommit=HEAD, **plugged)
        assert said(one) == ("change", SHA, HEAD, "topic", "main", 24)
        plugged = {"gitlabMergeRequestIid": "24", "gitlabSourceBranch": "topic", "gitlabTargetBranch": "main"}
        one = found(JENKINS, gitlabMergeRequestLastCommit=HEAD, **plugged)
        assert said(one) == ("change", SHA, HEAD, "topic", "main", 24)


class TestCircleCi:
    @pytest.mark.parametrize("path", ["pull/24", "pull-requests/24", "-/merge_requests/24"])
    def test_a_branch_with_an_open_change_is_a_branch_still(self, path):
        environ = {**CIRCLE, "CIRCLE_BRANCH": "topic", "CIRCLE_PULL_REQUEST": f"https://forge/acme/infra/{path}"}
        assert said(found(environ)) == ("push", HEAD, HEAD, "topic", None, 24)
        assert built_branch(environ) == "topic"

    def test_a_forks_change_has_no_branch_here(self):
        environ = {**CIRCLE, "CIRCLE_BRANCH": "pull/24", "CIRCLE_PR_NUMBER": "24"}
        assert said(found(environ)) == ("change", HEAD, HEAD, None, None, 24)


def test_a_custom_pipeline_of_bitbucket_names_no_branch():
    assert said(found(BITBUCKET)) == ("manual", HEAD[:12], HEAD[:12], None, None, None)


class TestAzure:
    def test_the_head_of_a_change_is_not_what_is_built(self):
        assert said(found(CHANGES["azure"])) == ("change", SHA, HEAD, "topic", "main", 24)

    def test_a_base_may_be_short_and_a_variable_not_filled_in(self):
        unset = {"SYSTEM_PULLREQUEST_SOURCECOMMITID": "$(System.PullRequest.SourceCommitId)"}
        one = found(CHANGES["azure"], SYSTEM_PULLREQUEST_TARGETBRANCH="main", **unset)
        assert (one.base, one.head) == ("main", None)

    @pytest.mark.parametrize("number", [{"SYSTEM_PULLREQUEST_PULLREQUESTNUMBER": "24"}, {}])
    def test_for_github_the_id_is_not_the_number(self, number):
        assert found({**AZURE_CHANGE, "SYSTEM_PULLREQUEST_PULLREQUESTID": "1234567", **number}).change == 24


@pytest.mark.parametrize(
    ("environ", "event"),
    [
        ({**GITHUB, "GITHUB_EVENT_NAME": "schedule", "GITHUB_REF_NAME": "main"}, Event.SCHEDULE),
        ({**GITHUB, "GITHUB_EVENT_NAME": "workflow_dispatch", "GITHUB_REF_NAME": "main"}, Event.MANUAL),
        ({**GITHUB, "GITHUB_EVENT_NAME": "workflow_run", "GITHUB_REF_NAME": "main"}, Event.OTHER),
        ({**GITLAB, "CI_PIPELINE_SOURCE": "schedule", "CI_COMMIT_BRANCH": "main"}, Event.SCHEDULE),
        ({**GITLAB, "CI_PIPELINE_SOURCE": "api", "CI_COMMIT_BRANCH": "main"}, Event.OTHER),
        ({**AZURE, "BUILD_REASON": "Schedule", "BUILD_SOURCEBRANCH": "refs/heads/main"}, Event.SCHEDULE),
        ({**AZURE, "BUILD_REASON": "Manual", "BUILD_SOURCEBRANCH": "refs/heads/main"}, Event.MANUAL),
    ],
)
def test_timers_and_people_start_a_branch_too(environ, event):
    assert found(environ).event is event
    assert built_branch(environ) == "main"


@pytest.mark.parametrize(
    ("environ", "branch"),
    [
        ({"BUILDKITE_BRANCH": "x"}, "x"),
        ({"DRONE_BRANCH": "x"}, "x"),
        ({"BRANCH_NAME": "refs/heads/x"}, "x"),
        ({"GITHUB_REF_NAME": "x"}, "x"),
        ({"GITHUB_REF_NAME": "x", "GITHUB_REF_TYPE": "tag"}, None),
        ({}, None),
    ],
)
def test_pipelines_that_are_not_known_better_say_their_branch(environ, branch):
    assert built_branch(environ) == branch


NAMES = sorted({name for environ in [*CHANGES.values(), *TAGGED.values(), GITLAB, CIRCLE] for name in environ})


@given(st.dictionaries(st.sampled_from(NAMES), st.text(max_size=20)), st.binary(max_size=50))
def test_no_environment_and_no_event_breaks_it(environ, event):
    one = pipeline(environ, event)
    assert one is None or one.change is None or one.change > 0
    built_branch(environ)
