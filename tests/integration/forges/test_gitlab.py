"""GitLab: the adapter against a fake with a real repository, and the fake against python-gitlab."""

import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from gitlab import Gitlab
from hypothesis import given
from hypothesis import strategies as st

from tests.forges.gitlab import PROJECT
from tests.forges.gitlab import GitLab as Fake
from tests.forges.server import Answer
from tests.forges.stories import get, landed, proposed, refused, told, without
from tests.forges.world import Comment
from tfops.adapters.forges import connect, gitlab
from tfops.adapters.forges.gitlab import GitLab, seen
from tfops.adapters.forges.gitlab_answers import Version
from tfops.adapters.forges.texts import mark
from tfops.config_forge import ForgeSettings
from tfops.errors import ConfigError
from tfops.forge import ForgeError, Opinion, Review, State, Status

LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def fake(tmp_path: Path) -> Iterator[Fake]:
    """A server whose main branch has one commit."""
    with Fake(tmp_path / "infra.git") as forge:
        forge.git.commit("main", {"main.tf": "# nothing yet\n"})
        yield forge


@pytest.fixture
def forge(fake: Fake) -> GitLab:
    """tfops on that server; it never really waits."""
    return connected(fake)


def connected(fake: Fake, repository: str | None = None) -> GitLab:
    found = gitlab.connect(fake.url, repository or fake.repository, token=fake.token, say=lambda message: None)
    return replace(found, api=replace(found.api, sleep=lambda seconds: None))


def reviews(forge: GitLab, number: int = 1) -> tuple[Review, ...]:
    return forge.reviews(forge.change(number))


def heads(forge: GitLab, number: int = 1) -> list[str | None]:
    return [review.head for review in reviews(forge, number)]


# Which repository


@pytest.mark.parametrize(
    "name", ["infra", "acme/../infra", "/acme/infra", "acme//infra", "acme/infra?x=1", "acme/infra#"]
)
def test_a_repository_that_no_gitlab_can_have_is_refused(name: str) -> None:
    settings = ForgeSettings(kind="gitlab", url="https://gitlab.com")
    with pytest.raises(ConfigError, match="no repository there"):
        connect(settings, repository=name, token="t", say=lambda message: None)


def test_a_project_in_subgroups_is_asked_for_in_one_part_of_the_path(fake: Fake) -> None:
    fake.repository = "acme/platform/infra"
    proposed(fake)
    assert connected(fake).change(1).number == 1
    assert "/projects/acme%2Fplatform%2Finfra/" in fake.requests[0].path


def test_a_project_may_be_named_by_its_number_which_survives_renames(fake: Fake) -> None:
    proposed(fake)
    assert connected(fake, str(PROJECT)).change(1).number == 1


def test_the_token_goes_into_the_private_token_header_only(fake: Fake, forge: GitLab) -> None:
    proposed(fake)
    forge.change(1)
    assert {request.headers["private-token"] for request in fake.requests} == {fake.token}
    assert all("authorization" not in request.headers for request in fake.requests)


def test_a_job_token_is_let_in_nowhere_and_the_hint_names_the_documentation(fake: Fake, forge: GitLab) -> None:
    fake.token = "another"
    with pytest.raises(ForgeError) as caught:
        forge.change(1)
    [problem] = caught.value.problems
    assert problem.code == "forge.denied" and "docs/forges.md" in str(problem.hint)


# Which change


@pytest.mark.parametrize("how", ["merge", "squash", "fast-forward"])
def test_a_merged_change_is_found_by_what_the_branch_became(fake: Fake, forge: GitLab, how: str) -> None:
    number = proposed(fake, commits=3)
    head = fake.proposals[number].head
    change = landed(forge, fake.merge(number, how))
    assert (change.number, change.head, change.target, change.is_merged) == (number, head, "main", True)
    assert change.author is not None and change.author.names == {"alice"}
    assert change.merged_on is not None and change.merged_on.tzinfo is not None


def test_a_fast_forward_has_neither_a_merge_nor_a_squash_commit_and_is_found_by_its_head(
    fake: Fake, forge: GitLab
) -> None:
    proposed(fake)
    tip = fake.merge(1, "fast-forward")
    shown = fake._request(fake.proposals[1])
    assert (shown["merge_commit_sha"], shown["squash_commit_sha"], shown["sha"]) == (None, None, tip)
    assert landed(forge, tip).head == tip


def test_every_commit_of_a_fast_forward_belongs_to_its_change(fake: Fake, forge: GitLab) -> None:
    proposed(fake, commits=3)
    tip = fake.merge(1, "fast-forward")
    commits = landed(forge, tip).commits
    assert len(commits) == 3 and tip in commits
    assert {landed(forge, commit).number for commit in commits} == {1}


def test_a_change_that_was_rebased_in_place_before_a_fast_forward_is_found(fake: Fake, forge: GitLab) -> None:
    proposed(fake)
    fake.git.commit("main", {"other.tf": "# moved on\n"})
    tip = fake.merge(1, "rebase")
    assert (landed(forge, tip).number, landed(forge, tip).head) == (1, tip)


def test_a_squash_with_a_merge_commit_is_found_by_both(fake: Fake, forge: GitLab) -> None:
    proposed(fake)
    tip = fake.merge(1, "merge")
    shown = fake._request(fake.proposals[1]) | {"squash_commit_sha": "5" * 40}
    told(fake, "/merge_requests", [shown], times=None)
    assert [landed(forge, commit).number for commit in (tip, "5" * 40)] == [1, 1]


def test_an_open_change_with_the_commit_did_not_land_it(fake: Fake, forge: GitLab) -> None:
    proposed(fake)
    assert forge.landed(fake.proposals[1].head, "main") is None


def test_a_change_into_another_branch_with_the_same_commit_does_not_count(fake: Fake, forge: GitLab) -> None:
    fake.git.point("release/1", fake.git.tip("main") or "")
    fake.git.commit("feature", {"a.tf": "# a\n"})
    fake.open("feature", author="alice", base="release/1")
    head = fake.merge(1, "fast-forward")
    assert forge.landed(head, "main") is None
    assert landed(forge, head, "release/1").number == 1


def test_a_change_into_a_fork_with_the_same_commit_does_not_count(fake: Fake, forge: GitLab) -> None:
    proposed(fake)
    tip = fake.merge(1)
    told(fake, "/merge_requests", [fake._request(fake.proposals[1]) | {"target_project_id": PROJECT + 1}])
    assert forge.landed(tip, "main") is None


def test_what_made_the_commit_goes_before_what_only_has_it(fake: Fake, forge: GitLab) -> None:
    first, second = proposed(fake, "first"), proposed(fake, "second")
    tip = fake.merge(second)
    shown = fake._request(fake.proposals[second])
    told(fake, "/merge_requests", [shown | {"iid": first, "merge_commit_sha": None}, shown])
    assert landed(forge, tip).number == second


def test_a_direct_push_has_no_change(fake: Fake, forge: GitLab) -> None:
    assert forge.landed(fake.git.commit("main", {"x.tf": "# by hand\n"}), "main") is None


def test_an_open_change_is_found_by_its_last_commit_only(fake: Fake, forge: GitLab) -> None:
    proposed(fake, commits=2)
    head = fake.proposals[1].head
    found = forge.proposed(head, "main")
    assert found is not None and (found.number, found.is_merged) == (1, False)
    assert forge.proposed(fake.git.read(head).parents[0], "main") is None
    assert forge.proposed(head, "release/1") is None


def test_a_merged_or_closed_change_is_not_proposed(fake: Fake, forge: GitLab) -> None:
    merged, closed = proposed(fake, "merged"), proposed(fake, "closed")
    fake.merge(merged)
    fake.close(closed)
    assert forge.proposed(fake.proposals[merged].head, "main") is None
    assert forge.proposed(fake.proposals[closed].head, "main") is None


def test_the_head_can_be_fetched_from_the_ref_that_is_named(fake: Fake, forge: GitLab) -> None:
    proposed(fake)
    change = forge.change(1)
    assert [fake.git.tip(ref) for ref in forge.head_refs(change)] == [change.head]


def test_a_landed_change_takes_four_requests_and_the_next_one_three(fake: Fake, forge: GitLab) -> None:
    """The commit's changes, the project's number (once), the notes, the commits."""
    tips = [fake.merge(proposed(fake, branch)) for branch in ("first", "second")]
    landed(forge, tips[0])
    assert forge.api.requests_sent == 4
    landed(forge, tips[1])
    assert forge.api.requests_sent == 7


def test_commits_are_read_from_every_page(fake: Fake, forge: GitLab) -> None:
    proposed(fake, commits=101)
    assert len(forge.change(1).commits) == 101


# Who had a hand in it


def test_who_pushed_to_the_branch_of_somebody_else_had_a_hand_in_it(fake: Fake, forge: GitLab) -> None:
    proposed(fake)
    fake.git.commit("feature", {"b.tf": "# b\n"}, by=fake.people["bob"].signature)
    assert {account.shown for account in forge.change(1).contributors} == {"bob"}


def test_nobody_makes_somebody_else_a_contributor_by_writing_what_gitlab_would(fake: Fake, forge: GitLab) -> None:
    proposed(fake)
    fake.comment(1, "bob", "added 1 commit")
    told(fake, "/notes", [fake._note(fake.comments(1)[0])])
    assert forge.change(1).contributors == ()


def test_a_bot_of_a_project_is_told_to_be_one(fake: Fake, forge: GitLab) -> None:
    fake.person("robot", is_bot=True)
    author = forge.change(proposed(fake, author="robot")).author
    assert author is not None and (author.is_bot, author.names) == (True, {fake.login("robot")})


def test_a_change_of_an_account_that_is_gone_has_no_author(fake: Fake, forge: GitLab) -> None:
    fake.proposals[proposed(fake)].author = None
    assert forge.change(1).author is None


# Approvals, and which commit they are of


def test_an_approval_names_who_and_when_and_is_of_the_head(fake: Fake, forge: GitLab) -> None:
    proposed(fake)
    vote = fake.approve(1, "bob")
    [review] = reviews(forge)
    assert review.by is not None and review.by.names == {"bob"}
    assert (review.opinion, review.head, review.may_write) == (Opinion.APPROVED, vote.head, True)
    assert review.on is not None and abs(review.on - vote.at) < timedelta(milliseconds=1)


def test_on_the_free_edition_no_approval_is_none_although_nothing_says_how_many_are_left(
    fake: Fake, forge: GitLab
) -> None:
    proposed(fake)
    assert "approvals_left" not in fake.approvals(fake.requests, fake.repository, "1")  # type: ignore[arg-type]
    assert reviews(forge) == ()


def test_a_paid_edition_that_wants_more_approvals_changes_nothing_of_who_approved(fake: Fake, forge: GitLab) -> None:
    fake.is_paid = True
    proposed(fake)
    fake.approve(1, "bob")
    assert [review.opinion for review in reviews(forge)] == [Opinion.APPROVED]


def test_an_approval_stays_with_the_commit_that_was_there_then(fake: Fake, forge: GitLab) -> None:
    proposed(fake)
    before = fake.proposals[1].head
    fake.approve(1, "bob")
    fake.git.commit("feature", {"more.tf": "# more\n"})
    assert heads(forge) == [before]
    assert forge.change(1).head != before


def test_an_approval_survives_a_rebase_that_changes_nothing_else(fake: Fake, forge: GitLab) -> None:
    proposed(fake)
    fake.approve(1, "bob")
    fake.git.commit("main", {"other.tf": "# moved on\n"})
    head = fake.rebase(1)
    assert heads(forge) == [head]


def test_an_approval_of_a_patch_that_went_away_and_came_back_is_of_the_old_commit(fake: Fake, forge: GitLab) -> None:
    """Only the versions at the end are one: what came between was never approved."""
    proposed(fake)
    before = fake.proposals[1].head
    fake.approve(1, "bob")
    fake.git.commit("feature", {"more.tf": "# more\n"})
    assert heads(forge) == [before]
    parent = fake.git.read(before).parents[0]
    tree = fake.git.read(before).tree
    again = fake.git.git("commit-tree", tree, "-p", parent, "-m", "The same patch")
    fake.git.point("feature", again)
    assert heads(forge) == [before]


def test_without_patch_ids_only_the_last_push_counts(fake: Fake, forge: GitLab) -> None:
    fake._patch_id = lambda base, head: None  # type: ignore[method-assign]
    proposed(fake)
    before = fake.proposals[1].head
    fake.approve(1, "bob")
    fake.git.commit("main", {"other.tf": "# moved on\n"})
    fake.rebase(1)
    assert heads(forge) == [before]


def test_an_approval_from_before_the_change_was_there_is_of_no_commit(fake: Fake, forge: GitLab) -> None:
    proposed(fake)
    fake.approve(1, "bob", at=LONG_AGO)
    assert heads(forge) == [None]


def test_an_approval_is_of_no_known_commit_while_the_last_version_is_not_the_head(fake: Fake, forge: GitLab) -> None:
    proposed(fake)
    fake.approve(1, "bob")
    change = replace(forge.change(1), head="f" * 40)
    assert [review.head for review in forge.reviews(change)] == [None]


def test_versions_are_read_from_every_page(fake: Fake, forge: GitLab) -> None:
    proposed(fake)
    push = fake.proposals[1].pushes[0]
    fake.approve(1, "bob", at=push.at + timedelta(seconds=1))
    later = [replace(push, head=push.head, at=push.at + timedelta(hours=1 + hour)) for hour in range(120)]
    fake.proposals[1].pushes += later
    assert heads(forge) == [push.head]
    assert len(fake.sent("GET", "/versions")) == 2


def test_an_old_server_that_does_not_say_when_is_asked_for_its_notes(fake: Fake, forge: GitLab) -> None:
    fake.says_when = False
    proposed(fake)
    before = fake.proposals[1].head
    vote = fake.approve(1, "bob")
    fake.git.commit("feature", {"more.tf": "# more\n"})
    [review] = reviews(forge)
    assert (review.head, review.opinion) == (before, Opinion.APPROVED)
    assert review.on is not None and abs(review.on - vote.at) < timedelta(milliseconds=1)


def test_of_several_noted_approvals_the_last_one_tells_the_time(fake: Fake, forge: GitLab) -> None:
    fake.says_when = False
    proposed(fake)
    fake.approve(1, "bob")
    fake.withdraw(1, "bob")
    fake.git.commit("feature", {"more.tf": "# more\n"})
    fake.approve(1, "bob")
    assert heads(forge) == [fake.proposals[1].head]


def test_a_note_by_a_person_that_says_approved_is_no_approval(fake: Fake, forge: GitLab) -> None:
    """What an author wants on an old server: a newer time for the approval of the commit before."""
    fake.says_when = False
    proposed(fake)
    before = fake.proposals[1].head
    fake.approve(1, "bob")
    fake.git.commit("feature", {"more.tf": "# more\n"})
    fake.comment(1, "bob", "approved this merge request")
    told(fake, "/notes", [*fake._activity(fake.proposals[1]), fake._note(fake.comments(1)[0])], times=None)
    assert heads(forge) == [before]


def test_without_any_note_of_it_an_approval_is_of_no_known_time_and_commit(fake: Fake, forge: GitLab) -> None:
    fake.says_when = False
    proposed(fake)
    fake.approve(1, "bob")
    told(fake, "/notes", [], times=None)
    assert [(review.on, review.head) for review in reviews(forge)] == [(None, None)]


def test_an_approval_that_was_taken_back_is_none(fake: Fake, forge: GitLab) -> None:
    proposed(fake)
    fake.approve(1, "bob")
    fake.withdraw(1, "bob")
    assert reviews(forge) == ()


def test_a_request_for_changes_is_a_rejection(fake: Fake, forge: GitLab) -> None:
    """It stands in no answer about approvals, only in the one about reviewers."""
    proposed(fake)
    fake.approve(1, "bob")
    fake.reject(1, "carol")
    assert [(review.by and review.by.shown, review.opinion) for review in reviews(forge)] == [
        ("bob", Opinion.APPROVED),
        ("carol", Opinion.REJECTED),
    ]


def test_a_request_for_changes_is_found_behind_a_hundred_reviewers(fake: Fake, forge: GitLab) -> None:
    proposed(fake)
    for number in range(100):
        fake.reject(1, fake.person(f"reviewer-{number}").login)
        fake.withdraw(1, f"reviewer-{number}")
    fake.reject(1, "carol")
    assert [review.opinion for review in reviews(forge)] == [Opinion.REJECTED]


def test_a_server_without_reviewers_has_no_requests_for_changes(fake: Fake, forge: GitLab) -> None:
    proposed(fake)
    fake.approve(1, "bob")
    fake.fail(("GET", "/reviewers"), 404)
    assert [review.opinion for review in reviews(forge)] == [Opinion.APPROVED]


def test_a_server_that_breaks_when_asked_for_reviewers_leaves_everything_unknown(fake: Fake, forge: GitLab) -> None:
    proposed(fake)
    fake.approve(1, "bob")
    fake.fail(("GET", "/reviewers"), 500, times=None)
    with refused("forge.failed"):
        reviews(forge)


def test_a_server_that_breaks_when_asked_who_may_write_leaves_everything_unknown(fake: Fake, forge: GitLab) -> None:
    proposed(fake)
    fake.approve(1, "bob")
    fake.fail(("GET", "/members/"), 500, times=None)
    with refused("forge.failed"):
        reviews(forge)


def test_a_review_of_an_account_that_is_gone_has_nobody(fake: Fake, forge: GitLab) -> None:
    proposed(fake)
    fake.approve(1, "bob").by = None
    assert [review.by for review in reviews(forge)] == [None]


def test_who_may_only_read_approves_without_the_right_to_write(fake: Fake, forge: GitLab) -> None:
    fake.person("mallory", may_write=False)
    proposed(fake)
    fake.approve(1, "mallory")
    assert [review.may_write for review in reviews(forge)] == [False]


@pytest.mark.parametrize(("status", "may_write"), [(404, False), (403, None)])
def test_whether_a_stranger_may_write_is_no_and_where_we_may_not_ask_unknown(
    fake: Fake, forge: GitLab, status: int, may_write: bool | None
) -> None:
    proposed(fake)
    fake.approve(1, "bob")
    fake.fail(("GET", "/members/"), status)
    assert [review.may_write for review in reviews(forge)] == [may_write]


def test_reviews_take_five_requests_and_who_may_write_is_asked_once(fake: Fake, forge: GitLab) -> None:
    proposed(fake)
    fake.approve(1, "bob")
    change = forge.change(1)
    before = forge.api.requests_sent
    forge.reviews(change)
    assert forge.api.requests_sent - before == 4
    forge.reviews(change)
    assert forge.api.requests_sent - before == 7


@pytest.mark.parametrize("field", ["sha", "state", "merged_at", "author", "target_project_id", "merge_commit_sha"])
def test_a_change_that_lacks_a_field_is_not_understood(fake: Fake, forge: GitLab, field: str) -> None:
    told(fake, "/merge_requests/1", without(fake._request(fake.proposals[proposed(fake)]), field))
    with refused("forge.unexpected"):
        forge.change(1)


def test_a_change_without_any_commit_is_not_understood(fake: Fake, forge: GitLab) -> None:
    told(fake, "/merge_requests/1", fake._request(fake.proposals[proposed(fake)]) | {"sha": None})
    with refused("forge.unexpected"):
        forge.change(1)


@pytest.mark.parametrize("answer", [{}, {"approved": True}, {"approved_by": None}, {"approved_by": [{}]}, []])
def test_an_answer_about_approvals_that_does_not_name_people_is_not_understood(
    fake: Fake, forge: GitLab, answer: object
) -> None:
    proposed(fake)
    change = forge.change(1)
    told(fake, "/approvals", answer)
    with refused("forge.unexpected"):
        forge.reviews(change)


def test_a_member_of_unknown_access_is_not_understood(fake: Fake, forge: GitLab) -> None:
    proposed(fake)
    fake.approve(1, "bob")
    fake.fail(("GET", "/members/"), Answer(200, {"id": 1}))
    with refused("forge.unexpected"):
        reviews(forge)


VERSIONS = st.lists(st.tuples(st.sampled_from("pqr"), st.integers(0, 50)), min_size=1, max_size=6)


@given(VERSIONS, st.integers(-5, 60))
def test_who_approved_after_the_last_push_saw_the_head_and_before_the_last_patch_did_not(
    pushes: list[tuple[str, int]], when: int
) -> None:
    times = sorted(second for _, second in pushes)
    versions = [
        Version(id=place, head_commit_sha=f"{place}", created_at=LONG_AGO + timedelta(seconds=at), patch_id_sha=patch)
        for place, ((patch, _), at) in enumerate(zip(pushes, times, strict=True))
    ]
    head, last = versions[-1].head_commit_sha, versions[-1]
    assert head is not None
    found = seen(versions[::-1], head, LONG_AGO + timedelta(seconds=when))
    if LONG_AGO + timedelta(seconds=when) >= last.created_at:
        assert found == head
    shown = [version for version in versions if version.created_at <= LONG_AGO + timedelta(seconds=when)]
    if not shown:
        assert found is None
    elif any(version.patch_id_sha != last.patch_id_sha for version in versions[versions.index(shown[-1]) :]):
        assert found != head


# Comments


def written(fake: Fake) -> list[Comment]:
    return [comment for comment in fake.comments(1) if comment.by == fake.me]


def test_our_comment_is_put_in_the_place_of_the_earlier_one(fake: Fake, forge: GitLab) -> None:
    change = forge.change(proposed(fake))
    forge.comment(change, "plan", "first")
    forge.comment(change, "plan", "second")
    forge.comment(change, "apply", "of the apply")
    assert [comment.body for comment in written(fake)] == [f"{mark('plan')}\nsecond", f"{mark('apply')}\nof the apply"]


def test_a_mark_planted_by_somebody_else_is_neither_edited_nor_trusted(fake: Fake, forge: GitLab) -> None:
    change = forge.change(proposed(fake))
    planted = fake.comment(1, "bob", f"{mark('plan')}\nlooks good")
    forge.comment(change, "plan", "the real one")
    assert planted.body == f"{mark('plan')}\nlooks good"
    assert len(written(fake)) == 1


def test_our_comment_is_found_behind_more_than_a_hundred_others(fake: Fake, forge: GitLab) -> None:
    change = forge.change(proposed(fake))
    for number in range(120):
        fake.comment(1, "bob", f"chatter {number}")
    forge.comment(change, "plan", "first")
    fake.comment(1, "bob", "more chatter")
    forge.comment(change, "plan", "second")
    assert [comment.body.partition("\n")[2] for comment in written(fake)] == ["second"]


def test_a_comment_as_long_as_allowed_is_taken_with_its_mark(fake: Fake, forge: GitLab) -> None:
    forge.comment(forge.change(proposed(fake)), "plan", "ü" * forge.comment_limit)
    assert len(written(fake)) == 1


# Statuses


def status(state: State = State.SUCCESS, description: str = "1 to add") -> Status:
    return Status(context="tfops/app", state=state, description=description, url="https://x.example")


@pytest.mark.parametrize(("state", "word"), [*zip(State, ["pending", "success", "failed"], strict=True)])
def test_a_status_stands_on_the_head_in_the_pipeline_that_is_there(
    fake: Fake, forge: GitLab, state: State, word: str
) -> None:
    """Without its number GitLab makes a second pipeline, which holds the merge request up."""
    change = forge.change(proposed(fake))
    forge.set_status(change, status(state))
    found = fake.statuses(change.head)["tfops/app"]
    assert (found.state, found.description, found.url) == (word, "1 to add", "https://x.example")
    assert found.extra["pipeline_id"] is not None and found.extra["ref"] is None


def test_without_a_pipeline_a_status_names_the_branch_after_some_waiting(fake: Fake) -> None:
    waited: list[float] = []
    forge = connected(fake)
    forge = replace(forge, api=replace(forge.api, sleep=waited.append))
    fake.has_pipelines = False
    change = forge.change(proposed(fake))
    forge.set_status(change, status())
    assert waited == [1.0, 2.0]
    assert fake.statuses(change.head)["tfops/app"].extra == {"pipeline_id": None, "ref": "feature"}


def test_the_same_status_again_is_refused_by_gitlab_and_fine_for_us(fake: Fake, forge: GitLab) -> None:
    change = forge.change(proposed(fake))
    forge.set_status(change, status(State.PENDING))
    forge.set_status(change, status(State.PENDING))
    forge.set_status(change, status(State.SUCCESS))
    assert [answer.status for answer in answers(fake, "/statuses/")] == [201, 400, 201]


def test_a_failure_that_gitlab_refuses_after_a_success_is_not_swallowed(fake: Fake, forge: GitLab) -> None:
    change = forge.change(proposed(fake))
    fake.fail(("POST", "/statuses/"), Answer(400, {"message": "Cannot transition status via :drop from :success"}))
    with refused("forge.failed"):
        forge.set_status(change, status(State.FAILURE))


def test_two_jobs_that_write_statuses_at_once_try_again(fake: Fake, forge: GitLab) -> None:
    change = forge.change(proposed(fake))
    fake.fail(("POST", "/statuses/"), 409, times=2)
    forge.set_status(change, status())
    assert fake.statuses(change.head)["tfops/app"].state == "success"
    fake.fail(("POST", "/statuses/"), 409, times=None)
    with refused("forge.failed"):
        forge.set_status(change, status())


def test_a_description_that_is_too_long_is_cut(fake: Fake, forge: GitLab) -> None:
    change = forge.change(proposed(fake))
    forge.set_status(change, status(description="x" * 300))
    assert len(fake.statuses(change.head)["tfops/app"].description) == 255


def answers(fake: Fake, part: str) -> list[Answer]:
    return [one.answer for one in fake.exchanges if part in one.request.path and one.answer is not None]


# A forge that misbehaves


def test_a_next_page_on_another_host_is_not_asked_for(fake: Fake, forge: GitLab) -> None:
    proposed(fake)
    change = forge.change(1)
    link = '<https://evil.example/api/v4/notes?page=2>; rel="next"'
    fake.fail(("GET", "/notes"), Answer(200, [], {"link": link}))
    with refused("forge.foreign_address"):
        forge.comment(change, "plan", "text")


def test_a_busy_server_is_waited_for(fake: Fake, forge: GitLab) -> None:
    proposed(fake)
    fake.fail(get("/merge_requests/1"), Answer(429, {}, {"retry-after": "3"}))
    assert forge.change(1).number == 1


def test_a_commit_that_gitlab_does_not_have_is_unknown_not_unproposed(fake: Fake, forge: GitLab) -> None:
    fake.fail(("GET", "/merge_requests"), Answer(404, {"message": "404 Commit Not Found"}))
    with refused("forge.not_found"):
        forge.landed("a" * 40, "main")


# The fake is no mirror of our own mistakes: python-gitlab gets along with it


@pytest.fixture
def client(fake: Fake) -> Iterator[Gitlab]:
    """Somebody else's client."""
    with Gitlab(fake.url, private_token=fake.token) as found:
        yield found


def test_python_gitlab_reads_changes_versions_and_approvals(fake: Fake, client: Gitlab) -> None:
    proposed(fake, commits=2)
    fake.act_as("bob")
    project = client.projects.get("acme/infra")
    request = project.mergerequests.get(1)
    request.approve()
    request = project.mergerequests.get(1)
    assert [one["user"]["username"] for one in request.approvals.get().approved_by] == ["bob"]
    assert re.match(r"\d{4}-", request.approvals.get().approved_by[0]["approved_at"])
    assert [one.head_commit_sha for one in request.diffs.list(get_all=True)] == [fake.proposals[1].head]
    assert [one.state for one in request.reviewer_details.list(get_all=True)] == ["approved"]
    assert len(request.commits()) == 2
    assert [one.iid for one in project.mergerequests.list(state="opened", get_all=True)] == [1]
    request.unapprove()
    assert project.mergerequests.get(1).approvals.get().approved_by == []


def test_python_gitlab_merges_and_finds_the_change_of_a_commit(fake: Fake, client: Gitlab) -> None:
    proposed(fake)
    project = client.projects.get("acme/infra")
    project.mergerequests.get(1).merge()
    tip = fake.git.tip("main")
    [found] = project.commits.get(tip).merge_requests()
    assert (found["state"], found["merge_commit_sha"]) == ("merged", tip)


def test_python_gitlab_writes_what_tfops_edits_not(fake: Fake, forge: GitLab, client: Gitlab) -> None:
    proposed(fake)
    request = client.projects.get("acme/infra").mergerequests.get(1)
    note = request.notes.create({"body": "hello"})
    note.body = "hello again"
    note.save()
    forge.comment(forge.change(1), "plan", "ours")
    assert [one.body for one in request.notes.list(sort="asc", get_all=True)] == [
        "hello again",
        f"{mark('plan')}\nours",
    ]


def test_python_gitlab_reads_the_status_that_tfops_wrote(fake: Fake, forge: GitLab, client: Gitlab) -> None:
    change = forge.change(proposed(fake))
    forge.set_status(change, status())
    commit = client.projects.get("acme/infra").commits.get(change.head)
    assert [(one.name, one.status) for one in commit.statuses.list(get_all=True)] == [("tfops/app", "success")]
    commit.statuses.create({"state": "failed", "name": "other", "ref": "feature"})
    assert fake.statuses(change.head)["other"].state == "failed"
