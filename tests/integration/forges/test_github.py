"""GitHub: the adapter against a fake with a real repository, and both against GitHub's own OpenAPI document."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
from openapi_core.exceptions import OpenAPIError

from tests.forges import contract
from tests.forges.github import GitHub as Fake
from tests.forges.server import Answer, Exchange, Request
from tests.forges.stories import landed, proposed, refused, told, without
from tests.forges.world import Comment, Vote
from tfops.adapters.forges import github
from tfops.adapters.forges.github import GitHub
from tfops.adapters.forges.texts import mark
from tfops.forge import ForgeError, Opinion, State, Status


@pytest.fixture
def fake(tmp_path: Path) -> Iterator[Fake]:
    """A server whose main branch has one commit; all that was said on it must keep to GitHub's document."""
    with Fake(tmp_path / "infra.git") as forge:
        forge.git.commit("main", {"main.tf": "# nothing yet\n"})
        yield forge
    if contract.SPECS.is_dir():
        contract.check(forge.exchanges, "gh-min.json", prefix="/api/v3")


@pytest.fixture
def forge(fake: Fake) -> GitHub:
    """tfops on that server; it never really waits."""
    return connected(fake)


def connected(fake: Fake) -> GitHub:
    found = github.connect(fake.url, fake.repository, token=fake.token, say=lambda message: None)
    return replace(found, api=replace(found.api, sleep=lambda seconds: None))


def opinions(forge: GitHub, number: int) -> list[tuple[str | None, Opinion]]:
    return [(review.by.shown if review.by else None, review.opinion) for review in reviews(forge, number)]


def reviews(forge: GitHub, number: int) -> tuple[github.Review, ...]:
    return forge.reviews(forge.change(number))


# Which change


@pytest.mark.parametrize("how", ["merge", "squash", "rebase"])
def test_a_merged_change_is_found_by_what_the_branch_became(fake: Fake, forge: GitHub, how: str) -> None:
    number = proposed(fake, commits=3)
    head = fake.proposals[number].head
    change = landed(forge, fake.merge(number, how))
    assert (change.number, change.head, change.target, change.is_merged) == (number, head, "main", True)
    assert change.author is not None and change.author.names == {"alice"}
    assert change.merged_on is not None and change.merged_on.tzinfo is not None


def test_every_commit_of_a_rebase_of_three_is_found(fake: Fake, forge: GitHub) -> None:
    number = proposed(fake, commits=3)
    fake.git.commit("main", {"other.tf": "# moved on\n"})
    fake.merge(number, "rebase")
    merged = fake.proposals[number].merged
    assert merged is not None and len(merged.commits) == 3
    assert [landed(forge, commit).number for commit in merged.commits] == [number] * 3


def test_two_changes_of_a_merge_queue_are_told_apart(fake: Fake, forge: GitHub) -> None:
    first, second = proposed(fake, "first"), proposed(fake, "second")
    tips = [fake.merge(first, "merge"), fake.merge(second, "merge")]
    assert [landed(forge, tip).number for tip in tips] == [first, second]


def test_commits_pushed_by_hand_belong_to_the_change_that_github_calls_merged(fake: Fake, forge: GitHub) -> None:
    number = proposed(fake)
    head = fake.proposals[number].head
    fake.git.point("main", head)
    assert landed(forge, head).number == number


def test_a_direct_push_has_no_change_and_is_asked_for_three_times(fake: Fake) -> None:
    waited: list[float] = []
    forge = connected(fake)
    forge = replace(forge, api=replace(forge.api, sleep=waited.append))
    assert forge.landed(fake.git.commit("main", {"x.tf": "# by hand\n"}), "main") is None
    assert waited == [1.0, 2.0]
    assert len(fake.sent("GET", "/pulls")) == 3


def test_of_many_direct_pushes_only_the_newest_is_waited_for(fake: Fake) -> None:
    """They are asked for from the newest to the oldest: what is older is in the index by then."""
    waited: list[float] = []
    forge = connected(fake)
    forge = replace(forge, api=replace(forge.api, sleep=waited.append))
    commits = [fake.git.commit("main", {"x.tf": f"# by hand {number}\n"}) for number in range(4)]
    assert [forge.landed(commit, "main") for commit in reversed(commits)] == [None] * 4
    assert waited == [1.0, 2.0]


def test_an_index_that_lags_behind_the_merge_is_asked_again(fake: Fake, forge: GitHub) -> None:
    tip = fake.merge(proposed(fake))
    told(fake, f"/commits/{tip}/pulls", [])
    assert landed(forge, tip).number == 1


def test_a_change_into_another_branch_with_the_same_commit_does_not_count(fake: Fake, forge: GitHub) -> None:
    fake.git.point("release/1", fake.git.tip("main") or "")
    fake.git.commit("feature", {"a.tf": "# a\n"})
    to_release = fake.open("feature", author="alice", base="release/1")
    fake.merge(to_release, "fast-forward")
    head = fake.proposals[to_release].head
    fake.git.point("main", head)
    assert forge.landed(head, "main") is None
    assert landed(forge, head, "release/1").number == to_release


def test_an_open_change_with_the_commit_did_not_land_it(fake: Fake, forge: GitHub) -> None:
    number = proposed(fake)
    assert forge.landed(fake.proposals[number].head, "main") is None


def test_a_change_of_another_repository_with_the_same_commit_does_not_count(fake: Fake, forge: GitHub) -> None:
    tip = fake.merge(proposed(fake))
    stranger = {**fake._pull(fake.proposals[1])}
    stranger["base"] = {**stranger["base"], "repo": {**stranger["base"]["repo"], "full_name": "mallory/infra"}}
    fake.fail(("GET", f"/commits/{tip}/pulls"), Answer(200, [stranger]), times=None)
    assert forge.landed(tip, "main") is None


def test_an_open_change_is_found_by_its_last_commit_only(fake: Fake, forge: GitHub) -> None:
    number = proposed(fake, commits=2)
    head = fake.proposals[number].head
    found = forge.proposed(head, "main")
    assert found is not None and (found.number, found.is_merged) == (number, False)
    assert forge.proposed(fake.git.read(head).parents[0], "main") is None
    assert forge.proposed(head, "release/1") is None


def test_a_merged_or_closed_change_is_not_proposed(fake: Fake, forge: GitHub) -> None:
    merged, closed = proposed(fake, "merged"), proposed(fake, "closed")
    fake.merge(merged)
    fake.close(closed)
    assert forge.proposed(fake.proposals[merged].head, "main") is None
    assert forge.proposed(fake.proposals[closed].head, "main") is None


def test_the_head_can_be_fetched_from_the_ref_that_is_named(fake: Fake, forge: GitHub) -> None:
    number = proposed(fake)
    change = forge.change(number)
    assert [fake.git.tip(ref) for ref in forge.head_refs(change)] == [change.head]


# Who had a hand in it


def test_who_wrote_or_committed_any_commit_had_a_hand_in_it(fake: Fake, forge: GitHub) -> None:
    fake.git.commit("feature", {"a.tf": "# a\n"}, by=fake.people["alice"].signature)
    fake.git.commit(
        "feature", {"b.tf": "# b\n"}, by=fake.people["alice"].signature, committer=fake.people["bob"].signature
    )
    number = fake.open("feature", author="alice")
    assert {account.shown for account in forge.change(number).contributors} == {"alice", "bob"}


def test_every_commit_of_a_change_is_named(fake: Fake, forge: GitHub) -> None:
    number = proposed(fake, commits=3)
    expected = {commit.id for commit in fake.commits_of(fake.proposals[number])}
    assert set(forge.change(number).commits) == expected
    fake.merge(number, "squash")
    assert set(forge.change(number).commits) == expected


def test_contributors_are_read_from_every_page(fake: Fake, forge: GitHub) -> None:
    fake.git.commit("feature", {"0.tf": "# 0\n"}, by=fake.people["bob"].signature)
    number = proposed(fake, commits=101)
    assert {account.shown for account in forge.change(number).contributors} == {"alice", "bob"}
    assert len(fake.sent("GET", f"/pulls/{number}/commits")) == 2


def test_a_change_with_more_commits_than_github_lists_has_a_fault(fake: Fake, forge: GitHub) -> None:
    number = proposed(fake)
    whole = fake._whole_pull(fake.proposals[number])
    fake.fail(lambda request: request.path.endswith(f"/pulls/{number}"), Answer(200, {**whole, "commits": 251}))
    assert forge.change(number).faults == (
        "it has 251 commits, and the forge names only 1: who wrote the others is unknown",
    )


def test_a_bot_is_told_to_be_one(fake: Fake, forge: GitHub) -> None:
    fake.person("renovate", is_bot=True)
    author = forge.change(proposed(fake, author="renovate")).author
    assert author is not None and (author.is_bot, author.names) == (True, {"renovate[bot]"})


def test_a_commit_of_nobody_whom_github_knows_adds_no_contributor(fake: Fake, forge: GitHub) -> None:
    number = proposed(fake)
    commit = fake._commit(fake.commits_of(fake.proposals[number])[0]) | {"author": None, "committer": {}}
    told(fake, "/commits", [commit])
    assert forge.change(number).contributors == ()


def test_a_change_of_an_account_that_is_gone_has_no_author(fake: Fake, forge: GitHub) -> None:
    whole = fake._whole_pull(fake.proposals[proposed(fake)])
    told(fake, "/pulls/1", {**whole, "user": None})
    assert forge.change(1).author is None


# Reviews


def test_an_approval_names_who_when_and_the_commit_that_was_seen(fake: Fake, forge: GitHub) -> None:
    number = proposed(fake)
    vote = fake.approve(number, "bob")
    [review] = reviews(forge, number)
    assert review.by is not None and review.by.names == {"bob"}
    assert (review.opinion, review.head, review.may_write) == (Opinion.APPROVED, vote.head, True)
    assert review.on == vote.at.replace(microsecond=0)


def test_approved_then_rejected_then_approved_are_told_in_this_order(fake: Fake, forge: GitHub) -> None:
    number = proposed(fake)
    fake.approve(number, "bob")
    fake.reject(number, "bob")
    fake.approve(number, "bob")
    assert [opinion for _, opinion in opinions(forge, number)] == [
        Opinion.APPROVED,
        Opinion.REJECTED,
        Opinion.APPROVED,
    ]


def test_a_comment_in_a_review_is_no_opinion(fake: Fake, forge: GitHub) -> None:
    number = proposed(fake)
    fake.approve(number, "bob")
    fake.remark(number, "bob")
    assert opinions(forge, number) == [("bob", Opinion.APPROVED)]


def test_a_review_that_is_not_submitted_yet_is_no_opinion(fake: Fake, forge: GitHub) -> None:
    number = proposed(fake)
    pending = fake._review(fake.proposals[number], fake.approve(number, "bob")) | {"state": "PENDING"}
    del pending["submitted_at"]
    told(fake, "/reviews", [pending])
    assert opinions(forge, number) == []


def test_a_dismissed_approval_is_withdrawn(fake: Fake, forge: GitHub) -> None:
    number = proposed(fake)
    fake.approve(number, "bob")
    fake.withdraw(number, "bob")
    assert opinions(forge, number) == [("bob", Opinion.WITHDRAWN)]


def test_an_approval_stays_with_the_commit_that_it_was_given_for(fake: Fake, forge: GitHub) -> None:
    """GitHub leaves it APPROVED after a push unless a rule says otherwise."""
    number = proposed(fake)
    seen = fake.proposals[number].head
    fake.approve(number, "bob")
    fake.git.commit("feature", {"more.tf": "# more\n"})
    [review] = reviews(forge, number)
    assert review.head == seen != forge.change(number).head


def test_a_review_of_an_account_that_is_gone_has_nobody(fake: Fake, forge: GitHub) -> None:
    number = proposed(fake)
    fake.approve(number, "bob").by = None
    [review] = reviews(forge, number)
    assert (review.by, review.may_write) == (None, None)


def test_a_review_whose_commit_is_gone_saw_no_known_commit(fake: Fake, forge: GitHub) -> None:
    number = proposed(fake)
    fake.approve(number, "bob").head = None
    assert [review.head for review in reviews(forge, number)] == [None]


def test_who_may_only_read_approves_without_the_right_to_write(fake: Fake, forge: GitHub) -> None:
    fake.person("mallory", may_write=False)
    number = proposed(fake)
    fake.approve(number, "mallory")
    assert [review.may_write for review in reviews(forge, number)] == [False]


def test_who_is_no_collaborator_may_not_write(fake: Fake, forge: GitHub) -> None:
    number = proposed(fake)
    fake.approve(number, "bob")
    fake.fail(("GET", "/permission"), 404)
    assert [review.may_write for review in reviews(forge, number)] == [False]


def test_a_token_that_may_not_ask_who_may_write_leaves_it_unknown(fake: Fake, forge: GitHub) -> None:
    number = proposed(fake)
    fake.approve(number, "bob")
    fake.fail(("GET", "/permission"), 403)
    assert [review.may_write for review in reviews(forge, number)] == [None]


def test_a_forge_that_breaks_when_asked_who_may_write_is_an_error(fake: Fake, forge: GitHub) -> None:
    number = proposed(fake)
    fake.approve(number, "bob")
    fake.fail(("GET", "/permission"), 500, times=None)
    with refused("forge.failed"):
        reviews(forge, number)


def test_who_may_write_is_asked_once_for_each_person(fake: Fake, forge: GitHub) -> None:
    number = proposed(fake)
    for _ in range(3):
        fake.approve(number, "bob")
    reviews(forge, number)
    reviews(forge, number)
    assert len(fake.sent("GET", "/permission")) == 1


def test_reviews_are_read_from_every_page(fake: Fake, forge: GitHub) -> None:
    number = proposed(fake)
    first = fake.approve(number, "bob")
    fake.proposals[number].votes += [replace_id(first, 1000 + extra) for extra in range(100)]
    fake.reject(number, "bob")
    assert opinions(forge, number)[-1] == ("bob", Opinion.REJECTED)


def replace_id(vote: Vote, number: int) -> Vote:
    return replace(vote, id=number)


@pytest.mark.parametrize("field", ["user", "state", "commit_id"])
def test_a_review_that_lacks_a_field_is_not_understood(fake: Fake, forge: GitHub, field: str) -> None:
    number = proposed(fake)
    review = fake._review(fake.proposals[number], fake.approve(number, "bob"))
    told(fake, "/reviews", [without(review, field)])
    with refused("forge.unexpected"):
        reviews(forge, number)


@pytest.mark.parametrize("field", ["merged", "merged_at", "head", "base", "user", "commits"])
def test_a_change_that_lacks_a_field_is_not_understood(fake: Fake, forge: GitHub, field: str) -> None:
    whole = fake._whole_pull(fake.proposals[proposed(fake)])
    told(fake, "/pulls/1", without(whole, field))
    with refused("forge.unexpected"):
        forge.change(1)


def test_a_state_of_a_review_that_nobody_knows_is_not_understood(fake: Fake, forge: GitHub) -> None:
    number = proposed(fake)
    review = fake._review(fake.proposals[number], fake.approve(number, "bob")) | {"state": "VETOED"}
    told(fake, "/reviews", [review])
    with pytest.raises(ForgeError, match="does not understand"):
        reviews(forge, number)


# Comments


def written(fake: Fake, number: int) -> list[Comment]:
    return [comment for comment in fake.comments(number) if comment.by == fake.me]


@pytest.mark.parametrize("is_bot", [False, True], ids=["person", "app"])
def test_our_comment_is_put_in_the_place_of_the_earlier_one(fake: Fake, forge: GitHub, is_bot: bool) -> None:
    """GET /user is refused to an App and to GITHUB_TOKEN: who we are is asked otherwise."""
    fake.person("tfops-runner", is_bot=is_bot)
    fake.act_as("tfops-runner")
    change = forge.change(proposed(fake))
    forge.comment(change, "plan", "first")
    forge.comment(change, "plan", "second")
    assert [comment.body for comment in written(fake, 1)] == [f"{mark('plan')}\nsecond"]


def test_comments_with_other_keys_stand_beside_each_other(fake: Fake, forge: GitHub) -> None:
    change = forge.change(proposed(fake))
    forge.comment(change, "plan", "of the plan")
    forge.comment(change, "apply", "of the apply")
    assert [comment.body.partition("\n")[2] for comment in written(fake, 1)] == ["of the plan", "of the apply"]


def test_a_mark_planted_by_somebody_else_is_neither_edited_nor_trusted(fake: Fake, forge: GitHub) -> None:
    change = forge.change(proposed(fake))
    planted = fake.comment(1, "bob", f"{mark('plan')}\nlooks good")
    forge.comment(change, "plan", "the real one")
    assert planted.body == f"{mark('plan')}\nlooks good"
    assert [comment.body.partition("\n")[2] for comment in written(fake, 1)] == ["the real one"]


def test_a_mark_of_another_comment_inside_of_our_text_is_not_taken_for_it(fake: Fake, forge: GitHub) -> None:
    change = forge.change(proposed(fake))
    forge.comment(change, "plan", f"a value in the plan: {mark('apply')}")
    forge.comment(change, "apply", "applied")
    assert len(written(fake, 1)) == 2


def test_our_comment_is_found_behind_more_than_a_hundred_others(fake: Fake, forge: GitHub) -> None:
    change = forge.change(proposed(fake))
    for number in range(120):
        fake.comment(1, "bob", f"chatter {number}")
    forge.comment(change, "plan", "first")
    fake.comment(1, "bob", "more chatter")
    forge.comment(change, "plan", "second")
    assert [comment.body.partition("\n")[2] for comment in written(fake, 1)] == ["second"]


def test_a_key_that_ends_html_comments_stays_inside_of_the_mark(fake: Fake, forge: GitHub) -> None:
    change = forge.change(proposed(fake))
    forge.comment(change, "--> <script>", "text")
    assert written(fake, 1)[0].body == f"{mark('--> <script>')}\ntext"
    assert "script" not in mark("--> <script>")


def test_a_comment_as_long_as_allowed_is_taken_with_its_mark(fake: Fake, forge: GitHub) -> None:
    change = forge.change(proposed(fake))
    forge.comment(change, "plan", "ü" * forge.comment_limit)
    assert len(written(fake, 1)) == 1


# Statuses


@pytest.mark.parametrize("state", list(State))
def test_a_status_stands_on_the_head(fake: Fake, forge: GitHub, state: State) -> None:
    change = forge.change(proposed(fake))
    forge.set_status(change, Status(context="tfops/app", state=state, description="1 to add", url="https://x.example"))
    found = fake.statuses(change.head)["tfops/app"]
    assert (found.state, found.description, found.url) == (state.value, "1 to add", "https://x.example")


def test_a_description_that_is_too_long_is_cut(fake: Fake, forge: GitHub) -> None:
    change = forge.change(proposed(fake))
    forge.set_status(change, Status(context="tfops/app", state=State.SUCCESS, description="x" * 141))
    assert fake.statuses(change.head)["tfops/app"].description == "x" * 139 + "…"


def test_a_read_only_token_is_told_what_it_lacks(fake: Fake, forge: GitHub) -> None:
    """The one of a pull request from a fork."""
    change = forge.change(proposed(fake))
    refusal = Answer(403, {"message": "no"}, {"x-accepted-github-permissions": "statuses=write"})
    fake.fail(("POST", "/statuses"), refusal)
    with pytest.raises(ForgeError) as caught:
        forge.set_status(change, Status(context="tfops/app", state=State.PENDING, description=""))
    assert caught.value.problems[0].code == "forge.denied"
    assert caught.value.problems[0].hint == "it needs statuses=write"


# Addresses


@pytest.mark.parametrize(
    ("url", "rest", "graphql"),
    [
        ("https://github.com", "https://api.github.com", "https://api.github.com/graphql"),
        ("https://acme.ghe.com", "https://api.acme.ghe.com", "https://api.acme.ghe.com/graphql"),
        ("https://git.example.org", "https://git.example.org/api/v3", "https://git.example.org/api/graphql"),
    ],
)
def test_the_api_has_an_address_of_its_own(url: str, rest: str, graphql: str) -> None:
    forge = github.connect(url, "acme/infra", token="t", say=lambda message: None)
    assert (forge.api.base, forge.graphql) == (f"{rest}/repos/acme/infra", graphql)


@pytest.mark.parametrize(
    "name", ["infra", "a/b/c", "acme/..", "../infra", "acme/in fra", "acme/infra?x=1", "acme/", ""]
)
def test_a_repository_that_cannot_be_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="owner/name"):
        github.connect("https://github.com", name, token="t", say=lambda message: None)


def test_a_renamed_repository_is_told_and_not_followed(fake: Fake, forge: GitHub) -> None:
    fake.fail(("GET", "/pulls/1"), Answer(301, {}, {"location": f"{fake.url}/api/v3/repositories/1/pulls/1"}))
    with refused("forge.moved"):
        forge.change(1)
    assert len(fake.requests) == 1


# The contract, and a client that we did not write


def test_the_fake_is_covered_by_githubs_own_document(fake: Fake, forge: GitHub) -> None:
    number = proposed(fake)
    fake.approve(number, "bob")
    change = landed(forge, fake.merge(number))
    forge.reviews(change)
    forge.comment(change, "plan", "first")
    forge.comment(change, "plan", "second")
    forge.set_status(change, Status(context="tfops/app", state=State.SUCCESS, description="ok"))
    known = contract.check(fake.exchanges, "gh-min.json", prefix="/api/v3")
    assert known == len(fake.exchanges) - len(fake.sent("POST", "/graphql")) > 8


@pytest.mark.parametrize(
    ("body", "answer"),
    [
        ({"state": "bogus"}, Answer(201, {})),
        ({"state": "success"}, Answer(201, {"id": 1, "state": "success"})),
    ],
    ids=["request", "answer"],
)
def test_what_githubs_document_does_not_allow_is_caught(body: dict[str, str], answer: Answer) -> None:
    request = Request(
        method="POST",
        path=f"/api/v3/repos/acme/infra/statuses/{'a' * 40}",
        query={},
        headers={"content-type": "application/json"},
        body=msgspec.json.encode(body),
    )
    with pytest.raises(OpenAPIError):
        contract.check([Exchange(request=request, answer=answer, template="/")], "gh-min.json", prefix="/api/v3")


def test_pygithub_reviews_comments_and_merges_on_the_fake(fake: Fake) -> None:
    from github import Auth, Github

    number = proposed(fake)
    fake.approve(number, "bob")
    client = Github(
        base_url=fake.api,
        auth=Auth.Token(fake.token),
        retry=None,
        seconds_between_requests=0,
        seconds_between_writes=0,
    )
    repository = client.get_repo(fake.repository)
    pull = next(iter(repository.get_pulls(state="open")))
    assert [(review.user.login, review.state) for review in pull.get_reviews()] == [("bob", "APPROVED")]
    assert [commit.author.login for commit in pull.get_commits()] == ["alice"]
    comment = pull.create_issue_comment("first")
    comment.edit("second")
    assert [found.body for found in pull.get_issue_comments()] == ["second"]
    commit = repository.get_commit(pull.head.sha)
    commit.create_status("success", context="tfops/app", description="ok")
    assert [(status.context, status.state) for status in commit.get_statuses()] == [("tfops/app", "success")]
    result = pull.merge(merge_method="squash")
    assert result.merged and result.sha == fake.git.tip("main")
    assert [found.number for found in repository.get_commit(result.sha).get_pulls()] == [number]
    assert client.get_user().login == "tfops-runner"
    client.close()
