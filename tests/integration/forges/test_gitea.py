"""Gitea and Forgejo: the adapter against a fake with a real repository, and both against Gitea's OpenAPI document."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.forges import contract
from tests.forges.gitea import Gitea as Fake
from tests.forges.stories import landed, proposed, refused, told, without
from tests.forges.world import Comment
from tfops.adapters.forges import gitea
from tfops.adapters.forges.gitea import Gitea
from tfops.adapters.forges.texts import mark
from tfops.forge import Opinion, Review, State, Status


@pytest.fixture
def fake(tmp_path: Path) -> Iterator[Fake]:
    """A server whose main branch has one commit; all that was said on it must keep to Gitea's document."""
    with Fake(tmp_path / "infra.git") as forge:
        forge.git.commit("main", {"main.tf": "# nothing yet\n"})
        yield forge
    if contract.SPECS.is_dir():
        contract.check(forge.exchanges, "gitea-min.json", prefix="/api/v1")


@pytest.fixture
def forge(fake: Fake) -> Gitea:
    """tfops on that server; it never really waits."""
    found = gitea.connect(fake.url, fake.repository, token=fake.token, say=lambda message: None)
    return replace(found, api=replace(found.api, sleep=lambda seconds: None))


def reviews(forge: Gitea, number: int) -> tuple[Review, ...]:
    return forge.reviews(forge.change(number))


# Which change


@pytest.mark.parametrize("how", ["merge", "squash", "rebase", "fast-forward"])
def test_a_merged_change_is_found_by_what_the_branch_became(fake: Fake, forge: Gitea, how: str) -> None:
    number = proposed(fake, commits=3)
    head = fake.proposals[number].head
    change = landed(forge, fake.merge(number, how))
    assert (change.number, change.head, change.target, change.is_merged) == (number, head, "main", True)
    assert change.author is not None and change.author.names == {"alice"}
    assert change.merged_on is not None and change.merged_on.tzinfo is not None
    assert change.faults == ()


def test_the_inner_commits_of_a_rebase_have_no_change_of_their_own(fake: Fake, forge: Gitea) -> None:
    number = proposed(fake, commits=3)
    fake.git.commit("main", {"other.tf": "# moved on\n"})
    fake.merge(number, "rebase")
    merged = fake.proposals[number].merged
    assert merged is not None
    assert [forge.landed(commit, "main") is None for commit in merged.commits] == [True, True, False]


def test_a_direct_push_has_no_change(fake: Fake, forge: Gitea) -> None:
    assert forge.landed(fake.git.commit("main", {"x.tf": "# by hand\n"}), "main") is None


def test_a_change_into_another_branch_does_not_count(fake: Fake, forge: Gitea) -> None:
    fake.git.point("release/1", fake.git.tip("main") or "")
    fake.git.commit("feature", {"a.tf": "# a\n"})
    tip = fake.merge(fake.open("feature", author="alice", base="release/1"))
    assert forge.landed(tip, "main") is None
    assert landed(forge, tip, "release/1").target == "release/1"


def test_a_push_to_the_source_branch_after_the_merge_does_not_move_the_head(fake: Fake, forge: Gitea) -> None:
    """Who approved the first commit only would seem to have approved what was merged."""
    number = proposed(fake, commits=2)
    head = fake.proposals[number].head
    tip = fake.merge(number)
    fake.git.point("feature", fake.git.read(head).parents[0])
    assert landed(forge, tip).head == head


def test_a_source_branch_that_was_deleted_after_the_merge_leaves_the_head(fake: Fake, forge: Gitea) -> None:
    number = proposed(fake)
    head = fake.proposals[number].head
    tip = fake.merge(number, "squash")
    fake.git.git("branch", "-q", "-D", "feature")
    change = landed(forge, tip)
    assert (change.head, change.source) == (head, f"refs/pull/{number}/head")
    assert fake.git.tip(forge.head_refs(change)[0]) == head


def test_a_merged_change_whose_commits_are_not_listed_has_a_fault(fake: Fake, forge: Gitea) -> None:
    tip = fake.merge(proposed(fake))
    told(fake, "/pulls/1/commits", [])
    assert landed(forge, tip).faults == ("the forge does not say which commit of it was merged",)


def test_an_open_change_is_found_by_its_last_commit_only(fake: Fake, forge: Gitea) -> None:
    number = proposed(fake, commits=2)
    head = fake.proposals[number].head
    found = forge.proposed(head, "main")
    assert found is not None and (found.number, found.is_merged, found.faults) == (number, False, ())
    assert forge.proposed(fake.git.read(head).parents[0], "main") is None
    assert forge.proposed(head, "release/1") is None


def test_an_open_change_is_found_behind_fifty_others(fake: Fake, forge: Gitea) -> None:
    proposed(fake, "others")
    for _ in range(50):
        fake.open("others", author="alice")
    last = proposed(fake)
    found = forge.proposed(fake.proposals[last].head, "main")
    assert found is not None and found.number == last
    assert len(fake.sent("GET", "/pulls")) == 3


def test_a_merged_or_closed_change_is_not_proposed(fake: Fake, forge: Gitea) -> None:
    merged, closed = proposed(fake, "merged"), proposed(fake, "closed")
    fake.merge(merged)
    fake.close(closed)
    assert forge.proposed(fake.proposals[merged].head, "main") is None
    assert forge.proposed(fake.proposals[closed].head, "main") is None


# Who had a hand in it


def test_who_wrote_or_committed_any_commit_had_a_hand_in_it(fake: Fake, forge: Gitea) -> None:
    fake.git.commit(
        "feature", {"b.tf": "# b\n"}, by=fake.people["alice"].signature, committer=fake.people["bob"].signature
    )
    fake.git.commit("feature", {"c.tf": "# c\n"}, by="Stranger <stranger@example.com>")
    number = fake.open("feature", author="alice")
    assert {account.shown for account in forge.change(number).contributors} == {"alice", "bob"}


def test_every_commit_of_a_change_is_named(fake: Fake, forge: Gitea) -> None:
    number = proposed(fake, commits=3)
    expected = {commit.id for commit in fake.commits_of(fake.proposals[number])}
    assert set(forge.change(number).commits) == expected
    fake.merge(number, "squash")
    assert set(forge.change(number).commits) == expected


def test_contributors_are_read_from_every_page(fake: Fake, forge: Gitea) -> None:
    fake.git.commit("feature", {"0.tf": "# 0\n"}, by=fake.people["bob"].signature)
    number = proposed(fake, commits=51)
    assert {account.shown for account in forge.change(number).contributors} == {"alice", "bob"}
    assert len(fake.sent("GET", f"/pulls/{number}/commits")) == 2


def test_a_change_of_an_account_that_is_gone_has_no_author(fake: Fake, forge: Gitea) -> None:
    number = proposed(fake)
    fake.proposals[number].author = None
    assert forge.change(number).author is None


# Reviews


def test_an_approval_names_who_when_and_the_commit_that_was_seen(fake: Fake, forge: Gitea) -> None:
    number = proposed(fake)
    vote = fake.approve(number, "bob")
    [review] = reviews(forge, number)
    assert review.by is not None and review.by.names == {"bob"}
    assert (review.opinion, review.head, review.may_write) == (Opinion.APPROVED, vote.head, True)
    assert review.on == vote.at.replace(microsecond=0)


def test_a_stale_approval_stays_with_the_commit_that_it_was_given_for(fake: Fake, forge: Gitea) -> None:
    number = proposed(fake)
    seen = fake.proposals[number].head
    fake.approve(number, "bob")
    fake.git.commit("feature", {"more.tf": "# more\n"})
    [review] = reviews(forge, number)
    assert review.head == seen != forge.change(number).head


def test_a_stale_approval_that_names_the_newest_commit_saw_no_known_commit(fake: Fake, forge: Gitea) -> None:
    number = proposed(fake)
    review = fake._review(fake.proposals[number], fake.approve(number, "bob")) | {"stale": True}
    told(fake, "/reviews", [review])
    assert [review.head for review in reviews(forge, number)] == [None]


def test_an_approval_without_a_commit_saw_no_known_commit(fake: Fake, forge: Gitea) -> None:
    number = proposed(fake)
    fake.approve(number, "bob").head = None
    assert [review.head for review in reviews(forge, number)] == [None]


def test_an_unofficial_approval_is_of_somebody_who_may_not_write(fake: Fake, forge: Gitea) -> None:
    fake.person("mallory", may_write=False)
    number = proposed(fake)
    fake.approve(number, "mallory")
    assert [review.may_write for review in reviews(forge, number)] == [False]


def test_of_two_opinions_of_a_person_the_last_one_is_official(fake: Fake, forge: Gitea) -> None:
    number = proposed(fake)
    fake.approve(number, "bob")
    fake.reject(number, "bob")
    assert [(review.opinion, review.may_write) for review in reviews(forge, number)] == [
        (Opinion.APPROVED, False),
        (Opinion.REJECTED, True),
    ]


def test_a_dismissed_approval_is_withdrawn(fake: Fake, forge: Gitea) -> None:
    number = proposed(fake)
    fake.approve(number, "bob")
    fake.withdraw(number, "bob")
    assert [review.opinion for review in reviews(forge, number)] == [Opinion.WITHDRAWN]


def test_comments_and_requests_for_a_review_are_no_opinions(fake: Fake, forge: Gitea) -> None:
    number = proposed(fake)
    fake.remark(number, "bob")
    comment = fake._review(fake.proposals[number], fake.proposals[number].votes[0])
    asked_team = {**comment, "state": "REQUEST_REVIEW", "user": None}
    told(fake, "/reviews", [comment, asked_team, {**comment, "state": "PENDING"}])
    assert reviews(forge, number) == ()


def test_a_review_of_an_account_that_is_gone_has_nobody(fake: Fake, forge: Gitea) -> None:
    number = proposed(fake)
    fake.approve(number, "bob").by = None
    assert [review.by for review in reviews(forge, number)] == [None]


@pytest.mark.parametrize("field", ["user", "state", "commit_id", "stale", "official", "dismissed"])
def test_a_review_that_lacks_a_field_is_not_understood(fake: Fake, forge: Gitea, field: str) -> None:
    number = proposed(fake)
    review = fake._review(fake.proposals[number], fake.approve(number, "bob"))
    told(fake, "/reviews", [without(review, field)])
    with refused("forge.unexpected"):
        reviews(forge, number)


@pytest.mark.parametrize("field", ["merged", "merged_at", "head", "base", "user", "html_url"])
def test_a_change_that_lacks_a_field_is_not_understood(fake: Fake, forge: Gitea, field: str) -> None:
    whole = fake._pull(fake.proposals[proposed(fake)])
    told(fake, "/pulls/1", without(whole, field))
    with refused("forge.unexpected"):
        forge.change(1)


# Comments


def written(fake: Fake, number: int) -> list[Comment]:
    return [comment for comment in fake.comments(number) if comment.by == fake.me]


def test_our_comment_is_put_in_the_place_of_the_earlier_one(fake: Fake, forge: Gitea) -> None:
    change = forge.change(proposed(fake))
    for number in range(120):
        fake.comment(1, "bob", f"chatter {number}")
    forge.comment(change, "plan", "first")
    forge.comment(change, "plan", "second")
    forge.comment(change, "apply", "another")
    assert [comment.body.partition("\n")[2] for comment in written(fake, 1)] == ["second", "another"]


def test_a_mark_planted_by_somebody_else_is_neither_edited_nor_trusted(fake: Fake, forge: Gitea) -> None:
    change = forge.change(proposed(fake))
    planted = fake.comment(1, "bob", f"{mark('plan')}\nlooks good")
    forge.comment(change, "plan", "the real one")
    assert planted.body == f"{mark('plan')}\nlooks good"
    assert [comment.body.partition("\n")[2] for comment in written(fake, 1)] == ["the real one"]


def test_a_token_that_may_not_say_whose_it_is_edits_nothing(fake: Fake, forge: Gitea) -> None:
    change = forge.change(proposed(fake))
    forge.comment(change, "plan", "first")
    fake.fail(("GET", "/user"), 403)
    with refused("forge.denied"):
        forge.comment(change, "plan", "second")
    assert [comment.body.partition("\n")[2] for comment in written(fake, 1)] == ["first"]


# Statuses


@pytest.mark.parametrize("state", list(State))
def test_a_status_stands_on_the_head(fake: Fake, forge: Gitea, state: State) -> None:
    change = forge.change(proposed(fake))
    forge.set_status(change, Status(context="tfops/app", state=state, description="1 to add", url="https://x.example"))
    found = fake.statuses(change.head)["tfops/app"]
    assert (found.state, found.description, found.url) == (state.value, "1 to add", "https://x.example")


# Addresses


@pytest.mark.parametrize("name", ["infra", "a/b/c", "acme/..", "../infra", "acme/infra?x=1", ""])
def test_a_repository_that_cannot_be_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="owner/name"):
        gitea.connect("https://codeberg.org", name, token="t", say=lambda message: None)


# The contract, and a client that we did not write


def test_the_fake_is_covered_by_giteas_own_document_but_for_three_paths(fake: Fake, forge: Gitea) -> None:
    """The document is of Gitea 1.20: `commits/…/pull` is newer; the listings of pulls and commits are not in it."""
    number = proposed(fake)
    fake.approve(number, "bob")
    change = landed(forge, fake.merge(number))
    forge.reviews(change)
    forge.comment(change, "plan", "first")
    forge.comment(change, "plan", "second")
    forge.set_status(change, Status(context="tfops/app", state=State.SUCCESS, description="ok"))
    forge.change(number)
    known = contract.check(fake.exchanges, "gitea-min.json", prefix="/api/v1")
    outside = [request for request in fake.requests if request.path.endswith(("/pull", "/commits"))]
    assert known == len(fake.requests) - len(outside) > 6


def test_pyforgejo_reviews_comments_and_merges_on_the_fake(fake: Fake) -> None:
    import httpx
    from pyforgejo import PyforgejoApi

    number = proposed(fake)
    fake.approve(number, "bob")
    owner, _, name = fake.repository.partition("/")
    with httpx.Client() as http:
        client = PyforgejoApi(base_url=fake.api, api_key=fake.token, httpx_client=http)
        repository, issues = client.repository, client.issue
        assert [pull.number for pull in repository.repo_list_pull_requests(owner, name, state="open")] == [number]
        [review] = repository.repo_list_pull_reviews(owner, name, number)
        assert review.user is not None
        assert (review.user.login, review.state, review.official, review.stale) == ("bob", "APPROVED", True, False)
        made = issues.create_comment(owner, name, number, body="first")
        issues.edit_comment(owner, name, made.id or 0, body="second")
        assert [comment.body for comment in issues.get_comments(owner, name, number)] == ["second"]
        head = fake.proposals[number].head
        repository.repo_create_status(owner, name, head, context="tfops/app", state="success", description="ok")
        [status] = repository.repo_list_statuses(owner, name, head)
        assert (status.context, status.status) == ("tfops/app", "success")
        repository.repo_merge_pull_request(owner, name, number, do="rebase")
        tip = fake.git.tip("main") or ""
        assert repository.repo_get_commit_pull_request(owner, name, tip).number == number
        [commit] = repository.repo_get_pull_request_commits(owner, name, number)
        assert commit.author is not None and commit.author.login == "alice"
