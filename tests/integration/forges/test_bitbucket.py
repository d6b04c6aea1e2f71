"""Bitbucket Cloud: the adapter against a fake with a real repository, and both against Bitbucket's own document."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from atlassian.bitbucket import Cloud
from atlassian.bitbucket.cloud.repositories import Repository

from tests.forges import contract
from tests.forges.bitbucket import Bitbucket as Fake
from tests.forges.server import Answer
from tests.forges.stories import landed, proposed, refused, told, without
from tests.forges.world import Comment
from tfops.adapters.forges import bitbucket, connect
from tfops.adapters.forges.bitbucket import Bitbucket, footer, status_key
from tfops.config_forge import ForgeSettings
from tfops.errors import ConfigError
from tfops.forge import Opinion, Review, State, Status

SPEC = "bb-min.json"


@pytest.fixture
def fake(tmp_path: Path) -> Iterator[Fake]:
    """A server whose main branch has one commit; all that was said on it must keep to Bitbucket's document."""
    with Fake(tmp_path / "infra.git") as forge:
        forge.git.commit("main", {"main.tf": "# nothing yet\n"})
        yield forge
    if contract.SPECS.is_dir():
        contract.check(forge.exchanges, SPEC, prefix="/2.0")


@pytest.fixture
def forge(fake: Fake) -> Bitbucket:
    """tfops on that server; it never really waits."""
    return connected(fake)


def connected(fake: Fake, token: str | None = None) -> Bitbucket:
    found = bitbucket.connect(fake.url, fake.repository, token=token or fake.token, say=lambda message: None)
    return replace(found, api=replace(found.api, sleep=lambda seconds: None))


def reviews(forge: Bitbucket) -> tuple[Review, ...]:
    return forge.reviews(forge.change(1))


def heads(forge: Bitbucket) -> list[str | None]:
    return [review.head for review in reviews(forge)]


# Which repository, and who asks


@pytest.mark.parametrize("name", ["infra", "acme/..", "acme/infra/more", "/infra", "acme/infra?x=1"])
def test_a_repository_that_bitbucket_cannot_have_is_refused(name: str) -> None:
    settings = ForgeSettings(kind="bitbucket", url="https://bitbucket.org")
    with pytest.raises(ConfigError, match="no repository there"):
        connect(settings, repository=name, token="t", say=lambda message: None)


def test_the_api_of_bitbucket_is_on_a_host_of_its_own() -> None:
    found = bitbucket.connect("https://bitbucket.org", "acme/infra", token="t", say=lambda message: None)
    assert found.api.base == "https://api.bitbucket.org/2.0/repositories/acme/infra"


def test_an_access_token_is_a_bearer_and_an_api_token_comes_with_an_address() -> None:
    def header(token: str) -> str:
        found = bitbucket.connect("https://bitbucket.org", "a/b", token=token, say=lambda message: None)
        return found.api.headers["authorization"]

    assert header("an-access-token") == "Bearer an-access-token"
    assert header("alice@example.org:t") == "Basic YWxpY2VAZXhhbXBsZS5vcmc6dA=="


# Which change


@pytest.mark.parametrize("is_indexed", [True, False, None], ids=["indexed", "not-indexed", "indexing"])
@pytest.mark.parametrize("how", ["merge", "squash", "fast-forward"])
def test_a_merged_change_is_found_by_what_the_branch_became(
    fake: Fake, forge: Bitbucket, how: str, is_indexed: bool | None
) -> None:
    """Bitbucket says 404 (or 202) where it has no index of commits: that is not "there is none"."""
    fake.is_indexed = is_indexed
    proposed(fake, commits=3)
    head = fake.proposals[1].head
    change = landed(forge, fake.merge(1, how))
    assert (change.number, change.head, change.target, change.is_merged) == (1, head, "main", True)
    assert change.author is not None and fake.login("alice") in change.author.names
    assert len(change.commits) == 3


def test_the_head_is_a_full_id_although_the_pull_request_says_twelve_digits(fake: Fake, forge: Bitbucket) -> None:
    proposed(fake)
    assert fake._pull(fake.proposals[1])["source"]["commit"]["hash"] == fake.proposals[1].head[:12]
    assert forge.change(1).head == fake.proposals[1].head


def test_two_commits_that_begin_alike_leave_the_head_unknown(fake: Fake, forge: Bitbucket) -> None:
    proposed(fake)
    shown = fake._commit(fake.git.read(fake.proposals[1].head))
    told(fake, "/commits", {"values": [shown, shown | {"hash": shown["hash"][:12] + "0" * 28}]})
    with refused("forge.unexpected"):
        forge.change(1)


@pytest.mark.parametrize("start", ["", "abc", "zzzzzzzzzzzz"])
def test_a_merge_commit_of_fewer_digits_matches_nothing_and_is_not_understood(
    fake: Fake, forge: Bitbucket, start: str
) -> None:
    fake.is_indexed = False
    proposed(fake)
    tip = fake.merge(1)
    told(fake, "/pullrequests", {"values": [fake._pull(fake.proposals[1]) | {"merge_commit": {"hash": start}}]})
    fake.faults[-1].match = lambda request: request.path.endswith("infra/pullrequests")
    with refused("forge.unexpected"):
        forge.landed(tip, "main")


@pytest.mark.parametrize("is_indexed", [True, False])
def test_a_direct_push_has_no_change(fake: Fake, forge: Bitbucket, is_indexed: bool) -> None:
    fake.is_indexed = is_indexed
    fake.merge(proposed(fake))
    assert forge.landed(fake.git.commit("main", {"x.tf": "# by hand\n"}), "main") is None


def test_without_an_index_what_is_not_among_the_last_merges_is_unknown(fake: Fake, forge: Bitbucket) -> None:
    fake.is_indexed = False
    proposed(fake)
    fake.merge(1)
    shown = fake._pull(fake.proposals[1])
    listed = [shown | {"id": number} for number in range(2, 600)]
    fake.pulls = lambda request, **_: None  # type: ignore[method-assign]
    for start in range(0, 550, 50):
        page = {"values": listed[start : start + 50], "next": f"{fake.here}/pullrequests?page={start}"}
        fake.fail(lambda request: request.path.endswith("infra/pullrequests"), Answer(200, page))
    tip = fake.git.commit("main", {"x.tf": "# by hand\n"})
    with refused("forge.not_indexed"):
        forge.landed(tip, "main")


def test_a_repository_that_is_not_there_is_not_taken_for_one_without_an_index(fake: Fake, forge: Bitbucket) -> None:
    fake.repository = "acme/another"
    with refused("forge.not_found"):
        forge.landed("a" * 40, "main")


@pytest.mark.parametrize("is_indexed", [True, False])
def test_a_change_into_another_branch_with_the_same_commit_does_not_count(
    fake: Fake, forge: Bitbucket, is_indexed: bool
) -> None:
    fake.is_indexed = is_indexed
    fake.git.point("release/1", fake.git.tip("main") or "")
    fake.git.commit("feature", {"a.tf": "# a\n"})
    fake.open("feature", author="alice", base="release/1")
    head = fake.merge(1, "fast-forward")
    assert forge.landed(head, "main") is None
    assert landed(forge, head, "release/1").number == 1


def test_a_change_into_a_fork_with_the_same_commit_does_not_count(fake: Fake, forge: Bitbucket) -> None:
    proposed(fake)
    tip = fake.merge(1)
    shown = fake._whole_pull(fake.proposals[1])
    shown["destination"]["repository"] = {"type": "repository", "full_name": "mallory/infra"}
    told(fake, "/pullrequests/1", shown)
    assert forge.landed(tip, "main") is None


def test_an_open_change_with_the_commit_did_not_land_it(fake: Fake, forge: Bitbucket) -> None:
    proposed(fake)
    assert forge.landed(fake.proposals[1].head, "main") is None


def test_the_index_is_read_from_every_page(fake: Fake, forge: Bitbucket) -> None:
    proposed(fake)
    tip = fake.merge(1)
    address = f"{fake.here}/commit/{tip}/pullrequests?page=2"
    told(fake, f"/commit/{tip}/pullrequests", {"values": [], "next": address})
    told(fake, f"/commit/{tip}/pullrequests", {"values": [{"type": "pullrequest", "id": 1}]})
    assert landed(forge, tip).number == 1


def test_what_made_the_commit_goes_before_what_only_has_it(fake: Fake, forge: Bitbucket) -> None:
    first, second = proposed(fake, "first"), proposed(fake, "second")
    fake.merge(first)
    tip = fake.merge(second)
    numbers = [{"type": "pullrequest", "id": number} for number in (first, second)]
    told(fake, f"/commit/{tip}/pullrequests", {"values": numbers})
    assert landed(forge, tip).number == second


def test_an_open_change_is_found_by_its_last_commit_only(fake: Fake, forge: Bitbucket) -> None:
    proposed(fake, commits=2)
    head = fake.proposals[1].head
    found = forge.proposed(head, "main")
    assert found is not None and (found.number, found.is_merged) == (1, False)
    assert forge.proposed(fake.git.read(head).parents[0], "main") is None
    assert forge.proposed(head, "release/1") is None
    assert forge.proposed(head[:12] + "0" * 28, "main") is None


def test_a_merged_change_is_not_proposed(fake: Fake, forge: Bitbucket) -> None:
    proposed(fake)
    fake.merge(1)
    assert forge.proposed(fake.proposals[1].head, "main") is None


def test_of_the_head_only_its_branch_is_left_to_be_fetched(fake: Fake, forge: Bitbucket) -> None:
    proposed(fake)
    assert forge.head_refs(forge.change(1)) == ("refs/heads/feature",)


def test_a_landed_change_takes_three_requests_and_its_reviews_two(fake: Fake, forge: Bitbucket) -> None:
    proposed(fake)
    fake.approve(1, "bob")
    change = landed(forge, fake.merge(1))
    assert forge.api.requests_sent == 3
    forge.reviews(change)
    assert forge.api.requests_sent == 5


# Who had a hand in it


def test_who_wrote_any_commit_had_a_hand_in_it(fake: Fake, forge: Bitbucket) -> None:
    fake.git.commit("feature", {"a.tf": "# a\n"}, by=fake.people["bob"].signature)
    proposed(fake, commits=60)
    found = forge.change(1)
    assert {account.shown for account in found.contributors} == {"Alice", "Bob"}
    assert len(found.commits) == 61


def test_people_are_told_apart_by_what_nobody_else_can_take(fake: Fake, forge: Bitbucket) -> None:
    proposed(fake)
    author = forge.change(1).author
    shown = fake._user(fake.people["alice"])
    assert author is not None
    assert author.names == {shown["uuid"], shown["uuid"].strip("{}"), shown["account_id"]}
    assert shown["nickname"] not in author.names


def test_a_nickname_of_somebody_else_names_nobody(fake: Fake, forge: Bitbucket) -> None:
    """Mallory calls herself bob."""
    fake.person("mallory")
    proposed(fake)
    fake.approve(1, "mallory")
    shown = fake._whole_pull(fake.proposals[1])
    shown["participants"][0]["user"]["nickname"] = "bob"
    told(fake, "/pullrequests/1", shown, times=None)
    assert [review.by and "bob" in review.by.names for review in reviews(forge)] == [False]


def test_an_app_is_told_to_be_a_bot(fake: Fake, forge: Bitbucket) -> None:
    fake.person("robot", is_bot=True)
    author = forge.change(proposed(fake, author="robot")).author
    assert author is not None and author.is_bot


def test_a_change_of_an_account_that_is_gone_has_no_author(fake: Fake, forge: Bitbucket) -> None:
    shown = fake._whole_pull(fake.proposals[proposed(fake)])
    told(fake, "/pullrequests/1", shown | {"author": None})
    assert forge.change(1).author is None


# Reviews, and which commit they are of


def test_an_approval_names_who_and_when_and_is_of_the_head(fake: Fake, forge: Bitbucket) -> None:
    proposed(fake)
    vote = fake.approve(1, "bob")
    [review] = reviews(forge)
    assert review.by is not None and fake.login("bob") in review.by.names
    assert (review.opinion, review.on, review.head) == (Opinion.APPROVED, vote.at, fake.proposals[1].head)


def test_an_author_who_approves_their_own_change_is_its_author(fake: Fake, forge: Bitbucket) -> None:
    """Bitbucket lets them."""
    proposed(fake)
    fake.approve(1, "alice")
    assert [review.by for review in reviews(forge)] == [forge.change(1).author]


def test_lists_have_no_participants_so_the_change_is_asked_for_by_its_number(fake: Fake, forge: Bitbucket) -> None:
    proposed(fake)
    assert "participants" not in fake._pull(fake.proposals[1])
    told(fake, "/pullrequests/1", fake._pull(fake.proposals[1]))
    with refused("forge.unexpected"):
        forge.change(1)


def test_an_approval_stays_with_the_commit_that_was_there_then(fake: Fake, forge: Bitbucket) -> None:
    proposed(fake)
    before = fake.proposals[1].head
    fake.approve(1, "bob")
    fake.git.commit("feature", {"more.tf": "# more\n"})
    assert heads(forge) == [before]
    assert forge.change(1).head != before


def test_an_approval_of_a_commit_that_was_pushed_over_is_of_what_is_left_of_its_id(
    fake: Fake, forge: Bitbucket
) -> None:
    proposed(fake)
    before = fake.proposals[1].head
    fake.approve(1, "bob")
    fake.git.commit("main", {"other.tf": "# moved on\n"})
    fake.rebase(1)
    assert heads(forge) == [before[:12]]


def test_an_approval_that_was_given_again_after_a_push_is_of_the_new_head(fake: Fake, forge: Bitbucket) -> None:
    proposed(fake)
    fake.approve(1, "bob")
    fake.git.commit("feature", {"more.tf": "# more\n"})
    fake.approve(1, "bob")
    assert heads(forge) == [forge.change(1).head]


def test_the_log_is_understood_in_any_order_and_from_every_page(fake: Fake, forge: Bitbucket) -> None:
    proposed(fake)
    before = fake.proposals[1].head
    fake.approve(1, "bob")
    for number in range(60):
        fake.comment(1, "carol", f"chatter {number}")
    fake.git.commit("feature", {"more.tf": "# more\n"})
    assert heads(forge) == [before]
    assert len(fake.sent("GET", "/activity")) == 2
    oldest_first = [entry for _, entry in sorted(fake._happened(fake.proposals[1]), key=lambda entry: entry[0])]
    told(fake, "/activity", {"values": oldest_first})
    assert heads(forge) == [before]


def test_an_approval_of_which_the_log_knows_nothing_is_of_no_known_commit(fake: Fake, forge: Bitbucket) -> None:
    proposed(fake)
    vote = fake.approve(1, "bob")
    told(fake, "/activity", {"values": []})
    assert [(review.on, review.head) for review in reviews(forge)] == [(vote.at, None)]


def test_an_approval_before_which_the_log_knows_no_commit_is_of_no_known_commit(fake: Fake, forge: Bitbucket) -> None:
    proposed(fake)
    fake.approve(1, "bob", at=fake.proposals[1].at - timedelta(hours=1))
    assert heads(forge) == [None]


def test_an_approval_in_the_log_that_was_taken_back_is_none(fake: Fake, forge: Bitbucket) -> None:
    proposed(fake)
    fake.approve(1, "bob")
    log = [entry for _, entry in fake._happened(fake.proposals[1])]
    fake.withdraw(1, "bob")
    told(fake, "/activity", {"values": log[::-1]})
    assert reviews(forge) == ()


def test_a_request_for_changes_is_a_rejection(fake: Fake, forge: Bitbucket) -> None:
    proposed(fake)
    fake.approve(1, "bob")
    fake.reject(1, "bob")
    fake.approve(1, "carol")
    assert [review.opinion for review in reviews(forge)] == [Opinion.REJECTED, Opinion.APPROVED]


def test_who_only_commented_has_no_opinion(fake: Fake, forge: Bitbucket) -> None:
    """Their `participated_on` is the time of a comment."""
    proposed(fake)
    fake.approve(1, "bob")
    shown = fake._whole_pull(fake.proposals[1])
    shown["participants"][0] |= {"approved": False, "state": None}
    told(fake, "/pullrequests/1", shown, times=None)
    assert reviews(forge) == ()


@pytest.mark.parametrize("said", [{"approved": False, "state": "approved"}, {"approved": True, "state": None}])
def test_a_participant_who_approves_by_one_field_only_does_not_count(
    fake: Fake, forge: Bitbucket, said: dict[str, object]
) -> None:
    proposed(fake)
    fake.approve(1, "bob")
    shown = fake._whole_pull(fake.proposals[1])
    shown["participants"][0] |= said
    told(fake, "/pullrequests/1", shown, times=None)
    assert reviews(forge) == ()


def test_a_review_of_an_account_that_is_gone_has_nobody(fake: Fake, forge: Bitbucket) -> None:
    proposed(fake)
    fake.approve(1, "bob")
    shown = fake._whole_pull(fake.proposals[1])
    shown["participants"][0]["user"] = None
    told(fake, "/pullrequests/1", shown, times=None)
    assert [review.by for review in reviews(forge)] == [None]


@pytest.mark.parametrize(
    "field", ["state", "source", "destination", "author", "participants", "links", "source.commit"]
)
def test_a_change_that_lacks_a_field_is_not_understood(fake: Fake, forge: Bitbucket, field: str) -> None:
    told(fake, "/pullrequests/1", without(fake._whole_pull(fake.proposals[proposed(fake)]), field))
    with refused("forge.unexpected"):
        forge.change(1)


@pytest.mark.parametrize("field", ["user", "approved", "state"])
def test_a_participant_that_lacks_a_field_is_not_understood(fake: Fake, forge: Bitbucket, field: str) -> None:
    proposed(fake)
    fake.approve(1, "bob")
    shown = fake._whole_pull(fake.proposals[1])
    told(fake, "/pullrequests/1", shown | {"participants": [without(shown["participants"][0], field)]})
    with refused("forge.unexpected"):
        forge.change(1)


# Comments


def written(fake: Fake) -> list[Comment]:
    return [comment for comment in fake.comments(1) if comment.by == fake.me]


@pytest.mark.parametrize("tells_who", [True, False], ids=["person", "repository-token"])
def test_our_comment_is_put_in_the_place_of_the_earlier_one(fake: Fake, forge: Bitbucket, tells_who: bool) -> None:
    fake.tells_who = tells_who
    change = forge.change(proposed(fake))
    forge.comment(change, "plan", "first")
    forge.comment(change, "plan", "second")
    forge.comment(change, "apply", "of the apply")
    assert [comment.body for comment in written(fake)] == [
        "second\n\n`tfops · plan`",
        "of the apply\n\n`tfops · apply`",
    ]


def test_our_comment_holds_no_html_of_ours(fake: Fake, forge: Bitbucket) -> None:
    assert not forge.folds
    forge.comment(forge.change(proposed(fake)), "a<b>`c`\n", "text")
    assert written(fake)[0].body == "text\n\n`tfops · a<b>?c??`"


@pytest.mark.parametrize("tells_who", [True, False], ids=["person", "repository-token"])
def test_a_mark_planted_by_somebody_else_is_neither_edited_nor_trusted(
    fake: Fake, forge: Bitbucket, tells_who: bool
) -> None:
    fake.tells_who = tells_who
    change = forge.change(proposed(fake))
    planted = fake.comment(1, "bob", f"looks good\n\n{footer('plan')}")
    forge.comment(change, "plan", "the real one")
    forge.comment(change, "plan", "the real one again")
    assert planted.body == f"looks good\n\n{footer('plan')}"
    assert [comment.body.partition("\n")[0] for comment in written(fake)] == ["the real one again"]


def test_a_deleted_comment_of_ours_is_not_brought_back(fake: Fake, forge: Bitbucket) -> None:
    change = forge.change(proposed(fake))
    forge.comment(change, "plan", "first")
    shown = fake._comment(fake.proposals[1], written(fake)[0]) | {"deleted": True}
    told(fake, "/comments", {"values": [shown]})
    forge.comment(change, "plan", "second")
    assert len(written(fake)) == 2


def test_our_comment_is_found_behind_the_first_page(fake: Fake, forge: Bitbucket) -> None:
    change = forge.change(proposed(fake))
    for number in range(120):
        fake.comment(1, "bob", f"chatter {number}")
    forge.comment(change, "plan", "first")
    fake.comment(1, "bob", "more chatter")
    forge.comment(change, "plan", "second")
    assert [comment.body.partition("\n")[0] for comment in written(fake)] == ["second"]


def test_a_comment_as_long_as_allowed_is_taken_with_its_mark(fake: Fake, forge: Bitbucket) -> None:
    forge.comment(forge.change(proposed(fake)), "plan", "ü" * forge.comment_limit)
    assert len(written(fake)) == 1


def test_a_comment_that_bitbucket_refuses_to_change_fails(fake: Fake, forge: Bitbucket) -> None:
    change = forge.change(proposed(fake))
    forge.comment(change, "plan", "first")
    fake.fail(("PUT", "/comments/"), 403)
    with refused("forge.denied"):
        forge.comment(change, "plan", "second")


# Statuses


def status(context: str = "tfops/app", state: State = State.SUCCESS, url: str | None = "https://x.example") -> Status:
    return Status(context=context, state=state, description="1 to add", url=url)


@pytest.mark.parametrize(("state", "word"), [*zip(State, ["INPROGRESS", "SUCCESSFUL", "FAILED"], strict=True)])
def test_a_status_stands_on_the_head_with_the_name_of_its_branch(
    fake: Fake, forge: Bitbucket, state: State, word: str
) -> None:
    """Without the branch it does not show in the pull request."""
    change = forge.change(proposed(fake))
    forge.set_status(change, status(state=state))
    found = fake.statuses(change.head)["tfops/app"]
    assert (found.state, found.description, found.url) == (word, "1 to add", "https://x.example")
    assert found.extra == {"key": "tfops/app", "refname": "feature"}


def test_a_status_without_an_address_gets_the_one_of_its_change(fake: Fake, forge: Bitbucket) -> None:
    """Bitbucket refuses a status without one."""
    change = forge.change(proposed(fake))
    forge.set_status(change, status(url=None))
    assert fake.statuses(change.head)["tfops/app"].url == change.url


def test_long_names_of_statuses_do_not_collide_although_they_begin_alike(fake: Fake, forge: Bitbucket) -> None:
    change = forge.change(proposed(fake))
    names = [f"tfops/environments/production/network/{end}" for end in ("a", "b")]
    for name in names:
        forge.set_status(change, status(name))
    keys = {posted.extra["key"] for posted in fake.posted}
    assert len(keys) == 2 and all(len(str(key)) <= 40 for key in keys)
    assert [posted.context for posted in fake.posted] == names
    assert status_key("x" * 40) == "x" * 40 != status_key("x" * 41)


def test_a_status_that_is_refused_fails(fake: Fake, forge: Bitbucket) -> None:
    change = forge.change(proposed(fake))
    fake.fail(("POST", "/statuses/build"), 400)
    with refused("forge.failed"):
        forge.set_status(change, status())


# A forge that misbehaves


def test_a_next_page_on_another_host_is_not_asked_for(fake: Fake, forge: Bitbucket) -> None:
    proposed(fake)
    fake.approve(1, "bob")
    change = forge.change(1)
    told(fake, "/activity", {"values": [], "next": "https://api.bitbucket.org.evil.example/2.0/x?page=2"})
    with refused("forge.foreign_address"):
        forge.reviews(change)


def test_an_index_that_breaks_leaves_it_unknown(fake: Fake, forge: Bitbucket) -> None:
    fake.fail(("GET", "/pullrequests"), 500, times=None)
    with refused("forge.failed"):
        forge.landed("a" * 40, "main")


@pytest.mark.parametrize("code", [500, 401])
def test_who_we_are_is_not_guessed_while_the_forge_is_broken(fake: Fake, forge: Bitbucket, code: int) -> None:
    change = forge.change(proposed(fake))
    forge.comment(change, "plan", "first")
    fake.fail(("GET", "/user"), code, times=None)
    again = connected(fake)
    if code == 401:
        again.comment(change, "plan", "second")
        assert len(written(fake)) == 1
    else:
        with refused("forge.failed"):
            again.comment(change, "plan", "second")


# The contract, and a client that we did not write


def test_what_is_said_keeps_to_the_document_of_bitbucket(fake: Fake, forge: Bitbucket) -> None:
    proposed(fake)
    fake.approve(1, "bob")
    fake.reject(1, "carol")
    change = forge.change(1)
    forge.reviews(change)
    forge.comment(change, "plan", "first")
    forge.comment(change, "plan", "second")
    forge.set_status(change, status())
    forge.proposed(change.head, "main")
    forge.landed(fake.merge(1), "main")
    assert contract.check(fake.exchanges, SPEC, prefix="/2.0") > 9


@pytest.fixture
def client(fake: Fake) -> Iterator[Repository]:
    """Somebody else's client."""
    cloud = Cloud(fake.url, token=fake.token)
    yield cloud.repositories.get("acme", "infra")
    cloud.close()


def test_atlassians_client_reads_changes_and_participants(fake: Fake, client: Repository) -> None:
    proposed(fake, commits=2)
    fake.approve(1, "bob")
    fake.reject(1, "carol")
    [pull] = client.pullrequests.each()
    assert (pull.id, pull.is_open, pull.source_branch, pull.destination_branch) == (1, True, "feature", "main")
    said = {one.user.display_name: (one.has_approved, one.has_changes_requested) for one in pull.participants()}
    assert said == {"Bob": (True, False), "Carol": (False, True)}
    assert [commit.hash for commit in pull.commits] == [one.id for one in fake.commits_of(fake.proposals[1])][::-1]


def test_tfops_reads_what_atlassians_client_approves(fake: Fake, forge: Bitbucket, client: Repository) -> None:
    proposed(fake)
    fake.act_as("bob")
    pull = client.pullrequests.get(1)
    pull.approve()
    assert [review.opinion for review in reviews(forge)] == [Opinion.APPROVED]
    pull.request_changes()
    assert [review.opinion for review in reviews(forge)] == [Opinion.REJECTED]


def test_atlassians_client_writes_comments_and_edits_them(fake: Fake, forge: Bitbucket, client: Repository) -> None:
    proposed(fake)
    forge.comment(forge.change(1), "plan", "ours")
    pull = client.pullrequests.get(1)
    pull.comment("hello")
    first, second = pull.comments()
    second.update(content={"raw": "hello again"})
    assert [first.raw, *(comment.body for comment in fake.comments(1)[1:])] == [
        "ours\n\n`tfops · plan`",
        "hello again",
    ]


def test_atlassians_client_reads_the_status_that_tfops_wrote(fake: Fake, forge: Bitbucket, client: Repository) -> None:
    change = forge.change(proposed(fake))
    forge.set_status(change, status())
    commit = client.commits.get(change.head)
    assert [(build.name, build.successful, build.refname) for build in commit.builds()] == [
        ("tfops/app", True, "feature")
    ]
    commit.add_build("other", url="https://x.example", state="FAILED", refname="feature", description="no")
    assert fake.statuses(change.head)["other"].state == "FAILED"
