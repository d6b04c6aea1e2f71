"""Azure Repos: the adapter against a fake with a real repository, and both against Microsoft's own document."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.forges import contract
from tests.forges.azure import FIRST_SYSTEM_THREAD, SIGN_IN, identity
from tests.forges.azure import Azure as Fake
from tests.forges.server import Answer
from tests.forges.stories import get, landed, proposed, refused, told, without
from tests.forges.world import Comment
from tfops.adapters.forges import azure, connect
from tfops.adapters.forges.azure import Azure
from tfops.config_forge import ForgeSettings, repository_of
from tfops.errors import ConfigError
from tfops.forge import Opinion, Review, State, Status

SPEC = "az-min.json"
NOW = datetime(2026, 11, 28, tzinfo=UTC)


@pytest.fixture
def fake(tmp_path: Path) -> Iterator[Fake]:
    """A server whose main branch has one commit; all that was said on it must keep to Microsoft's document."""
    with Fake(tmp_path / "infra.git") as forge:
        forge.git.commit("main", {"main.tf": "# nothing yet\n"})
        yield forge
    if contract.SPECS.is_dir():
        ours = [one for one in forge.exchanges if "api-version" in one.request.query]  # others say it in a header
        contract.check(ours, SPEC, prefix="")


@pytest.fixture
def forge(fake: Fake) -> Azure:
    """tfops on that server; it never really waits."""
    return connected(fake)


def connected(fake: Fake, repository: str | None = None, *, token: str | None = None) -> Azure:
    found = azure.connect(fake.url, repository or fake.repository, token=token or fake.token, say=lambda message: None)
    return replace(found, api=replace(found.api, sleep=lambda seconds: None))


def reviews(forge: Azure) -> tuple[Review, ...]:
    return forge.reviews(forge.change(1))


def heads(forge: Azure) -> list[str | None]:
    return [review.head for review in reviews(forge)]


# Which repository, and who asks


@pytest.mark.parametrize(
    "name", ["infra", "acme/../infra", "a/b/c/d", "acme/platform/infra?x=1", "acme/platform/", "a/%2e%2e/c"]
)
def test_a_repository_that_azure_cannot_have_is_refused(name: str) -> None:
    settings = ForgeSettings(kind="azure", url="https://dev.azure.com")
    with pytest.raises(ConfigError, match="no repository there"):
        connect(settings, repository=name, token="t", say=lambda message: None)


@pytest.mark.parametrize(
    ("remote", "path"),
    [
        ("https://acme@dev.azure.com/acme/My%20Platform/_git/infra", "acme/My%20Platform/_apis/git/repositories/infra"),
        ("git@ssh.dev.azure.com:v3/acme/platform/infra", "acme/platform/_apis/git/repositories/infra"),
        ("https://dev.azure.com/acme/_git/infra", "acme/infra/_apis/git/repositories/infra"),
    ],
)
def test_an_address_of_git_tells_the_repository(remote: str, path: str) -> None:
    name = repository_of(remote)
    assert name is not None
    found = azure.connect("https://dev.azure.com", name, token="t", say=lambda message: None)
    assert found.api.base == f"https://dev.azure.com/{path}"


def test_a_personal_token_has_no_name_and_the_one_of_a_pipeline_is_a_bearer(fake: Fake) -> None:
    proposed(fake)
    assert connected(fake).change(1).number == 1
    fake.token = "eyJ0eXAi.eyJzdWIi.c2ln"
    assert connected(fake).change(1).number == 1
    assert [one.headers["authorization"].partition(" ")[0] for one in (fake.requests[0], fake.requests[-1])] == [
        "Basic",
        "Bearer",
    ]


def test_a_sign_in_page_that_comes_as_success_is_not_understood(fake: Fake) -> None:
    """A wrong token is told 203 and HTML, not 401."""
    proposed(fake)
    with refused("forge.unexpected"):
        connected(fake, token="another").change(1)
    with refused("forge.unexpected"):
        connected(fake, token="another").landed("a" * 40, "main")


def test_a_redirect_to_a_sign_in_page_is_not_followed_and_asked_not_to_be_sent(fake: Fake, forge: Azure) -> None:
    proposed(fake)
    fake.fail(get("/1"), replace(SIGN_IN, status=302, headers={"location": f"{fake.url}/_signin"}))
    with refused("forge.moved"):
        forge.change(1)
    assert [request.headers["x-tfs-fedauthredirect"] for request in fake.requests] == ["Suppress"]


# Which change


@pytest.mark.parametrize("how", ["merge", "squash", "rebase"])
def test_a_merged_change_is_found_by_what_the_branch_became(fake: Fake, forge: Azure, how: str) -> None:
    proposed(fake, commits=3)
    head = fake.proposals[1].head
    change = landed(forge, fake.merge(1, how))
    assert (change.number, change.head, change.target, change.source) == (1, head, "main", "feature")
    assert change.is_merged and change.merged_on is not None and change.merged_on.tzinfo is not None
    assert change.author is not None and change.author.names == {
        fake.login("alice"),
        identity(fake.people["alice"])["id"],
    }
    assert len(change.commits) == 3 and change.url == f"{fake.url}/acme/platform/_git/infra/pullrequest/1"


def test_every_commit_of_a_rebase_of_three_is_found(fake: Fake, forge: Azure) -> None:
    proposed(fake, commits=3)
    fake.git.commit("main", {"other.tf": "# moved on\n"})
    fake.merge(1, "rebase")
    merged = fake.proposals[1].merged
    assert merged is not None and len(merged.commits) == 3
    assert [landed(forge, commit).number for commit in merged.commits] == [1] * 3


def test_what_made_the_commit_goes_before_what_only_has_it(fake: Fake, forge: Azure) -> None:
    first, second = proposed(fake, "first"), proposed(fake, "second")
    fake.merge(first)
    tip = fake.merge(second)
    both = {tip: [fake._pull(fake.proposals[first]), fake._pull(fake.proposals[second])]}
    fake.fail(("POST", "/pullrequestquery"), Answer(200, {"results": [{tip: both[tip][1:]}, both]}))
    assert landed(forge, tip).number == second


def test_a_direct_push_has_no_change(fake: Fake, forge: Azure) -> None:
    assert forge.landed(fake.git.commit("main", {"x.tf": "# by hand\n"}), "main") is None


def test_an_open_or_abandoned_change_with_the_commit_did_not_land_it(fake: Fake, forge: Azure) -> None:
    proposed(fake)
    head = fake.proposals[1].head
    shown = {head: [fake._pull(fake.proposals[1]), fake._pull(fake.proposals[1]) | {"status": "abandoned"}]}
    fake.fail(("POST", "/pullrequestquery"), Answer(200, {"results": [{}, shown]}))
    assert forge.landed(head, "main") is None


def test_a_change_into_another_branch_with_the_same_commit_does_not_count(fake: Fake, forge: Azure) -> None:
    fake.git.point("release/1", fake.git.tip("main") or "")
    fake.git.commit("feature", {"a.tf": "# a\n"})
    fake.open("feature", author="alice", base="release/1")
    head = fake.merge(1, "fast-forward")
    assert forge.landed(head, "main") is None
    assert landed(forge, head, "release/1").number == 1


def test_an_open_change_is_found_by_its_last_commit_only(fake: Fake, forge: Azure) -> None:
    proposed(fake, commits=2)
    head = fake.proposals[1].head
    found = forge.proposed(head, "main")
    assert found is not None and (found.number, found.is_merged, found.merged_on) == (1, False, None)
    assert forge.proposed(fake.git.read(head).parents[0], "main") is None
    assert forge.proposed(head, "release/1") is None
    fake.merge(1)
    assert forge.proposed(head, "main") is None


def test_open_changes_are_read_from_every_page_although_azure_links_none(fake: Fake, forge: Azure) -> None:
    proposed(fake)
    shown = [fake._pull(fake.proposals[1]) | {"lastMergeSourceCommit": None}] * 100
    fake.fail(get("/pullrequests"), Answer(200, {"value": shown}))
    fake.fail(get("/pullrequests"), Answer(200, {"value": [fake._pull(fake.proposals[1])]}))
    found = forge.proposed(fake.proposals[1].head, "main")
    assert found is not None
    assert [request.query.get("$skip") for request in fake.sent("GET", "/pullrequests")][:2] == [None, "100"]


def test_commits_are_read_by_the_token_of_the_next_page(fake: Fake, forge: Azure) -> None:
    proposed(fake, commits=101)
    assert len(forge.change(1).commits) == 101


def test_a_new_change_without_a_last_commit_is_unknown(fake: Fake, forge: Azure) -> None:
    told(fake, "/pullrequests/1", without(fake._pull(fake.proposals[proposed(fake)]), "lastMergeSourceCommit"))
    with refused("forge.unexpected"):
        forge.change(1)


def test_the_head_of_an_open_change_can_be_fetched_with_its_branch(fake: Fake, forge: Azure) -> None:
    proposed(fake)
    assert forge.head_refs(forge.change(1)) == ("refs/pull/1/merge", "refs/heads/feature")


def test_a_landed_change_takes_four_requests_and_its_reviews_three(fake: Fake, forge: Azure) -> None:
    proposed(fake)
    fake.approve(1, "bob")
    change = landed(forge, fake.merge(1))
    assert forge.api.requests_sent == 4
    forge.reviews(change)
    assert forge.api.requests_sent == 7


def test_every_request_names_the_version_of_the_api(fake: Fake, forge: Azure) -> None:
    proposed(fake)
    fake.approve(1, "bob")
    change = landed(forge, fake.merge(1))
    forge.reviews(change)
    forge.comment(change, "plan", "text")
    forge.comment(change, "plan", "text again")
    assert {request.query["api-version"] for request in fake.requests} == {"7.1", "7.1-preview"}


# What must not count, and who had a hand in it


def test_a_change_whose_policies_were_bypassed_has_a_fault(fake: Fake, forge: Azure) -> None:
    proposed(fake)
    fake.bypasses.add(1)
    assert landed(forge, fake.merge(1)).faults == ("its policies were bypassed when it was completed",)


def test_a_change_that_was_completed_by_the_rules_has_none(fake: Fake, forge: Azure) -> None:
    proposed(fake)
    assert landed(forge, fake.merge(1)).faults == ()


def test_who_pushed_or_wrote_or_committed_had_a_hand_in_it(fake: Fake, forge: Azure) -> None:
    fake.person("dave")
    fake.git.commit("feature", {"a.tf": "# a\n"}, by="Dave <dave@example.org>", committer="Carol <carol@example.org>")
    number = fake.open("feature", author="alice")
    fake.git.commit("feature", {"b.tf": "# b\n"}, by=fake.people["bob"].signature)
    names = {name for account in forge.change(number).contributors for name in account.names}
    assert {fake.login(person) for person in ("alice", "bob", "carol", "dave")} <= names
    assert identity(fake.people["bob"])["id"] in names  # who pushed, by account


def test_the_service_of_a_pipeline_is_told_to_be_a_bot(fake: Fake, forge: Azure) -> None:
    fake.person("builder", is_bot=True)
    author = forge.change(proposed(fake, author="builder")).author
    assert author is not None and author.is_bot


# Votes, and which commit they are of


@pytest.mark.parametrize("is_old", [False, True], ids=["by-key", "by-id"])
def test_a_vote_names_who_and_when_and_is_of_the_head(fake: Fake, forge: Azure, is_old: bool) -> None:
    fake.is_old = is_old
    proposed(fake)
    vote = fake.approve(1, "bob")
    [review] = reviews(forge)
    assert review.by is not None and fake.login("bob") in review.by.names
    assert (review.opinion, review.on, review.head) == (Opinion.APPROVED, vote.at, fake.proposals[1].head)


@pytest.mark.parametrize(
    ("weight", "opinion"),
    [(10, Opinion.APPROVED), (5, Opinion.APPROVED), (-5, Opinion.REJECTED), (-10, Opinion.REJECTED)],
)
def test_the_weights_of_votes(fake: Fake, forge: Azure, weight: int, opinion: Opinion) -> None:
    """10 approved, 5 with suggestions, -5 waits for the author, -10 rejected."""
    proposed(fake)
    vote = fake.approve(1, "bob")
    fake.weights[vote.id] = weight
    assert [(review.opinion, review.head) for review in reviews(forge)] == [(opinion, vote.head)]


def test_a_vote_that_was_reset_is_none(fake: Fake, forge: Azure) -> None:
    proposed(fake)
    fake.approve(1, "bob")
    fake.withdraw(1, "bob")
    assert reviews(forge) == ()


def test_a_weight_that_nobody_knows_is_not_understood(fake: Fake, forge: Azure) -> None:
    proposed(fake)
    vote = fake.approve(1, "bob")
    change = forge.change(1)
    fake.weights[vote.id] = 7
    with refused("forge.unexpected"):
        forge.reviews(change)


def test_a_rejection_stands_beside_an_approval_that_would_satisfy_a_policy(fake: Fake, forge: Azure) -> None:
    proposed(fake)
    fake.approve(1, "bob")
    fake.reject(1, "carol")
    assert [review.opinion for review in reviews(forge)] == [Opinion.APPROVED, Opinion.REJECTED]


def test_a_group_that_repeats_the_vote_of_a_member_counts_for_nobody(fake: Fake, forge: Azure) -> None:
    fake.groups.append("Approvers")
    proposed(fake)
    fake.approve(1, "bob")
    assert [review.by and review.by.shown for review in reviews(forge)] == ["Bob"]


def test_a_vote_stays_with_the_commit_that_was_there_then(fake: Fake, forge: Azure) -> None:
    proposed(fake)
    before = fake.proposals[1].head
    fake.approve(1, "bob")
    fake.git.commit("feature", {"more.tf": "# more\n"})
    assert heads(forge) == [before]
    assert forge.change(1).head != before


def test_a_vote_that_was_given_again_after_a_push_is_of_the_new_head(fake: Fake, forge: Azure) -> None:
    proposed(fake)
    fake.approve(1, "bob")
    fake.git.commit("feature", {"more.tf": "# more\n"})
    fake.approve(1, "bob")
    assert heads(forge) == [forge.change(1).head]


def test_the_example_of_microsoft_a_vote_and_then_a_push_is_of_the_commit_before(fake: Fake, forge: Azure) -> None:
    """The order of the threads in the documentation: merge attempt, reviewer, vote 10, reviewer gone, push, merge."""
    fake.is_old = True
    proposed(fake)
    before = fake.proposals[1].head
    fake.approve(1, "bob", at=fake.proposals[1].at + timedelta(seconds=4))
    fake.git.commit("feature", {"more.tf": "# more\n"})
    proposal = fake.proposals[1]
    fake.before()
    proposal.pushes[-1].at = proposal.at + timedelta(seconds=8)
    for number, (kind, second) in enumerate(
        [("MergeAttempt", 0), ("ReviewersUpdate", 3), ("ReviewersUpdate", 6), ("MergeAttempt", 9)]
    ):
        thread = fake.noted(900 + number, kind, proposal.at + timedelta(seconds=second))
        fake.threads.setdefault(1, []).append(thread)
    kinds = [thread["properties"]["CodeReviewThreadType"]["$value"] for thread in fake.all_threads(1)]
    assert kinds == ["MergeAttempt", "ReviewersUpdate", "VoteUpdate", "ReviewersUpdate", "RefUpdate", "MergeAttempt"]
    assert heads(forge) == [before]


def test_a_vote_that_nobody_noted_is_of_no_known_time_and_commit(fake: Fake, forge: Azure) -> None:
    proposed(fake)
    fake.approve(1, "bob")
    told(fake, "/threads", {"value": []})
    assert [(review.on, review.head) for review in reviews(forge)] == [(None, None)]


def test_a_vote_of_which_another_weight_was_noted_last_is_of_no_known_time_and_commit(fake: Fake, forge: Azure) -> None:
    proposed(fake)
    fake.approve(1, "bob")
    later = fake.vote_thread(999, fake.people["bob"], -5, fake.proposals[1].at + timedelta(hours=1))
    fake.threads[1] = [later]
    assert [(review.on, review.head) for review in reviews(forge)] == [(None, None)]


def test_where_threads_and_iterations_disagree_the_commit_is_unknown(fake: Fake, forge: Azure) -> None:
    """A push was noted between the vote and the time of the iteration."""
    proposed(fake)
    fake.git.commit("feature", {"more.tf": "# more\n"})
    fake.approve(1, "bob")
    fake.threads[1] = [
        fake.noted(
            FIRST_SYSTEM_THREAD + 9, "RefUpdate", fake.proposals[1].pushes[-1].at, CodeReviewRefNewHeadCommit="f" * 40
        )
    ]
    assert heads(forge) == [None]


def test_a_push_that_was_not_noted_is_known_by_its_iteration(fake: Fake, forge: Azure) -> None:
    proposed(fake)
    before = fake.proposals[1].head
    fake.approve(1, "bob")
    votes = fake.all_threads(1)
    fake.git.commit("feature", {"more.tf": "# more\n"})
    told(fake, "/threads", {"value": votes})
    assert heads(forge) == [before]


def forged(fake: Fake, *, by: str, at: datetime, **author: Any) -> dict[str, Any]:
    """What an author writes with the API to make bob's vote newer: any thread may have any property."""
    thread = fake.vote_thread(997, fake.people["bob"], 10, at)
    thread["comments"][0]["author"] = identity(fake.people[by]) | author
    return thread


def test_a_vote_that_an_author_notes_for_somebody_else_is_not_believed(fake: Fake, forge: Azure) -> None:
    proposed(fake)
    before = fake.proposals[1].head
    vote = fake.approve(1, "bob")
    fake.git.commit("feature", {"more.tf": "# more\n"})
    fake.before()
    fake.threads[1] = [forged(fake, by="alice", at=vote.at + timedelta(hours=1))]
    assert [(review.on, review.head) for review in reviews(forge)] == [(vote.at, before)]


def test_a_vote_that_stands_in_a_comment_of_a_person_is_not_believed(fake: Fake, forge: Azure) -> None:
    proposed(fake)
    vote = fake.approve(1, "bob")
    thread = forged(fake, by="bob", at=vote.at + timedelta(hours=1))
    thread["comments"][0]["commentType"] = "text"
    fake.threads[1] = [thread]
    assert [review.on for review in reviews(forge)] == [vote.at]


def test_a_vote_that_azure_notes_in_the_name_of_the_voter_counts(fake: Fake, forge: Azure) -> None:
    proposed(fake)
    fake.approve(1, "bob")
    thread = forged(fake, by="bob", at=fake.proposals[1].at + timedelta(seconds=5))
    told(fake, "/threads", {"value": [thread]})
    assert heads(forge) == [fake.proposals[1].head]


@pytest.mark.parametrize("field", ["status", "createdBy", "sourceRefName", "targetRefName", "reviewers"])
def test_a_change_that_lacks_a_field_is_not_understood(fake: Fake, forge: Azure, field: str) -> None:
    told(fake, "/pullrequests/1", without(fake._pull(fake.proposals[proposed(fake)]), field))
    with refused("forge.unexpected"):
        forge.change(1)


def test_a_reviewer_without_a_vote_is_not_understood(fake: Fake, forge: Azure) -> None:
    proposed(fake)
    fake.approve(1, "bob")
    shown = fake._pull(fake.proposals[1])
    told(fake, "/pullrequests/1", shown | {"reviewers": [without(shown["reviewers"][0], "vote")]})
    with refused("forge.unexpected"):
        forge.change(1)


def test_an_answer_that_says_null_of_what_is_not_so_is_understood(fake: Fake, forge: Azure) -> None:
    proposed(fake)
    fake.approve(1, "bob")
    shown = fake._pull(fake.proposals[1])
    shown["reviewers"][0] |= {"isContainer": None, "descriptor": None, "uniqueName": None}
    told(fake, "/pullrequests/1", shown | {"completionOptions": None}, times=None)
    assert [review.opinion for review in reviews(forge)] == [Opinion.APPROVED]


# Comments


def written(fake: Fake) -> list[Comment]:
    return [comment for comment in fake.comments(1) if comment.by == fake.me]


def test_our_comment_is_put_in_the_place_of_the_earlier_one(fake: Fake, forge: Azure) -> None:
    change = forge.change(proposed(fake))
    forge.comment(change, "plan", "first")
    forge.comment(change, "plan", "second")
    forge.comment(change, "apply", "of the apply")
    assert [comment.body for comment in written(fake)] == ["second", "of the apply"]


def test_our_thread_is_closed_as_an_active_one_may_block_the_completion(fake: Fake, forge: Azure) -> None:
    forge.comment(forge.change(proposed(fake)), "plan", "text")
    assert [comment.extra["status"] for comment in written(fake)] == ["closed"]


def test_a_mark_planted_by_somebody_else_is_neither_edited_nor_trusted(fake: Fake, forge: Azure) -> None:
    change = forge.change(proposed(fake))
    planted = fake.comment(1, "bob", "looks good")
    planted.extra["properties"] = {"tfops.key": {"$type": "System.String", "$value": "plan"}}
    forge.comment(change, "plan", "the real one")
    assert planted.body == "looks good"
    assert [comment.body for comment in written(fake)] == ["the real one"]


def test_a_deleted_comment_of_ours_is_not_brought_back(fake: Fake, forge: Azure) -> None:
    change = forge.change(proposed(fake))
    forge.comment(change, "plan", "first")
    thread = fake.all_threads(1)[0]
    thread["comments"][0] |= {"isDeleted": True}
    told(fake, "/threads", {"value": [thread]})
    forge.comment(change, "plan", "second")
    assert len(written(fake)) == 2


def test_a_comment_as_long_as_allowed_is_taken(fake: Fake, forge: Azure) -> None:
    forge.comment(forge.change(proposed(fake)), "plan", "ü" * forge.comment_limit)
    assert len(written(fake)) == 1


# Statuses


def status(state: State = State.SUCCESS) -> Status:
    return Status(context="tfops/prod/vpc", state=state, description="1 to add", url="https://x.example")


@pytest.mark.parametrize(("state", "word"), [*zip(State, ["pending", "succeeded", "failed"], strict=True)])
def test_a_status_stands_on_the_iteration_of_the_head(fake: Fake, forge: Azure, state: State, word: str) -> None:
    """Without it a push would keep the old one green."""
    proposed(fake)
    fake.git.commit("feature", {"more.tf": "# more\n"})
    change = forge.change(1)
    forge.set_status(change, status(state))
    found = fake.statuses(change.head)["tfops/prod/vpc"]
    assert (found.state, found.description, found.url) == (word, "1 to add", "https://x.example")
    assert (found.extra["iteration"], found.extra["parts"]) == (2, {"genre": "tfops/prod", "name": "vpc"})


def test_a_status_of_a_head_that_is_old_stays_with_its_own_iteration(fake: Fake, forge: Azure) -> None:
    change = forge.change(proposed(fake))
    fake.git.commit("feature", {"more.tf": "# more\n"})
    forge.set_status(change, status())
    assert fake.posted[0].extra["iteration"] == 1


def test_a_status_of_a_head_without_an_iteration_is_not_written(fake: Fake, forge: Azure) -> None:
    change = replace(forge.change(proposed(fake)), head="f" * 40)
    with refused("forge.unexpected"):
        forge.set_status(change, status())
    assert fake.posted == []


# The contract, and a client that we did not write


def test_what_is_said_keeps_to_the_document_of_microsoft(fake: Fake, forge: Azure) -> None:
    proposed(fake)
    fake.approve(1, "bob")
    change = forge.change(1)
    forge.reviews(change)
    forge.comment(change, "plan", "first")
    forge.comment(change, "plan", "second")
    forge.set_status(change, status())
    forge.proposed(change.head, "main")
    forge.landed(fake.merge(1), "main")
    assert contract.check(fake.exchanges, SPEC, prefix="") > 12


@pytest.fixture
def client(fake: Fake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Somebody else's client; it keeps files, which belong to the test."""
    monkeypatch.setenv("AZURE_DEVOPS_CACHE_DIR", str(tmp_path / "cache"))
    from azure.devops.v7_1.git.git_client import GitClient
    from msrest.authentication import BasicAuthentication

    found = GitClient(f"{fake.url}/acme", BasicAuthentication("", fake.token))
    yield found
    found._client.close()


WHERE = {"repository_id": "infra", "project": "platform"}


def test_microsofts_client_reads_changes_and_votes(fake: Fake, client: Any) -> None:
    from azure.devops.v7_1.git.models import GitPullRequestSearchCriteria

    proposed(fake)
    fake.approve(1, "bob")
    fake.reject(1, "carol")
    [pull] = client.get_pull_requests("infra", GitPullRequestSearchCriteria(status="active"), project="platform")
    assert (pull.pull_request_id, pull.target_ref_name) == (1, "refs/heads/main")
    assert pull.last_merge_source_commit.commit_id == fake.proposals[1].head
    votes = client.get_pull_request_reviewers(pull_request_id=1, **WHERE)
    assert {one.display_name: one.vote for one in votes} == {"Bob": 10, "Carol": -10}
    [iteration] = client.get_pull_request_iterations(pull_request_id=1, **WHERE)
    assert iteration.source_ref_commit.commit_id == fake.proposals[1].head


def test_tfops_reads_what_microsofts_client_votes(fake: Fake, forge: Azure, client: Any) -> None:
    from azure.devops.v7_1.git.models import IdentityRefWithVote

    proposed(fake)
    fake.act_as("bob")
    person = identity(fake.me)["id"]
    for weight, opinions in ((5, [Opinion.APPROVED]), (-5, [Opinion.REJECTED]), (0, [])):
        vote = IdentityRefWithVote(vote=weight)
        client.create_pull_request_reviewer(vote, pull_request_id=1, reviewer_id=person, **WHERE)
        assert [review.opinion for review in reviews(forge)] == opinions


def test_microsofts_client_finds_the_change_of_a_commit(fake: Fake, client: Any) -> None:
    from azure.devops.v7_1.git.models import GitPullRequestQuery, GitPullRequestQueryInput

    proposed(fake)
    tip = fake.merge(1)
    asked = GitPullRequestQuery(queries=[GitPullRequestQueryInput(items=[tip], type="lastMergeCommit")])
    [found] = client.get_pull_request_query(asked, **WHERE).results
    assert [pull.pull_request_id for pull in found[tip]] == [1]


def test_microsofts_client_writes_threads_and_edits_comments(fake: Fake, forge: Azure, client: Any) -> None:
    from azure.devops.v7_1.git.models import Comment as Said
    from azure.devops.v7_1.git.models import GitPullRequestCommentThread

    proposed(fake)
    thread = client.create_thread(
        GitPullRequestCommentThread(comments=[Said(content="hello", comment_type="text")], status="active"),
        pull_request_id=1,
        **WHERE,
    )
    client.update_comment(Said(content="hello again"), pull_request_id=1, thread_id=thread.id, comment_id=1, **WHERE)
    forge.comment(forge.change(1), "plan", "ours")
    threads = client.get_threads(pull_request_id=1, **WHERE)
    assert [(one.status, one.comments[0].content) for one in threads] == [("active", "hello again"), ("closed", "ours")]


def test_microsofts_client_reads_the_status_that_tfops_wrote(fake: Fake, forge: Azure, client: Any) -> None:
    from azure.devops.v7_1.git.models import GitPullRequestStatus, GitStatusContext

    change = forge.change(proposed(fake))
    forge.set_status(change, status())
    other = GitPullRequestStatus(context=GitStatusContext(genre="ci", name="lint"), state="failed", iteration_id=1)
    client.create_pull_request_status(other, pull_request_id=1, **WHERE)
    found = client.get_pull_request_statuses(pull_request_id=1, **WHERE)
    assert [(one.context.genre, one.context.name, one.state, one.iteration_id) for one in found] == [
        ("tfops/prod", "vpc", "succeeded", 1),
        ("ci", "lint", "failed", 1),
    ]
