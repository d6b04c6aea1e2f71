"""Reviews count for what was reviewed, by whom trust names, and nothing is taken for approved that nobody said."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfops.forge import Account, Change, Opinion, Review
from tfops.landing import Backing, Electorate, Landed, Reviewed, backing, reviewed

NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)
ASKED = NOW - timedelta(hours=2)
HEAD, OLDER = "a" * 40, "b" * 40
APPROVED, REJECTED, WITHDRAWN = Opinion.APPROVED, Opinion.REJECTED, Opinion.WITHDRAWN
WHOSE = Electorate(people={"alice": "alice", "bob-login": "bob", "carol": "carol"}, barred={})


def account(login: str, **more: object) -> Account:
    return Account(names=frozenset({login}), shown=f"@{login}", **more)  # type: ignore[arg-type]


CHANGE = Change(
    number=7,
    url="https://forge.example/7",
    author=account("dave"),
    target="main",
    source="pr",
    head=HEAD,
    is_merged=True,
)


def review(login: str | None, opinion: Opinion = APPROVED, **more: object) -> Review:
    base = Review(by=account(login) if login else None, opinion=opinion, on=NOW - timedelta(hours=1), head=HEAD)
    return replace(base, **more)  # type: ignore[arg-type]


def count(
    *reviews: Review, change: Change | None = CHANGE, whose: Electorate = WHOSE, fault: str | None = None
) -> Reviewed:
    landed = Landed(base="c" * 40, tip="d" * 40, change=change, reviews=reviews, fault=fault)
    return reviewed(landed, whose, asked=ASKED, now=NOW)


def test_a_review_of_the_final_head_by_somebody_of_trust_counts_whatever_the_case_of_the_login():
    assert count(review("Alice"), review("bob-login")).approved_by == ("alice", "bob")


@pytest.mark.parametrize(
    ("found", "why"),
    [
        (review("alice", head=OLDER), f"it was given for {OLDER[:12]}, and {HEAD[:12]} was merged"),
        (review("alice", head=None), "nobody can tell which commit it was given for"),
        (review("mallory"), "trust names nobody of that login"),
        (review(None), "the account is gone"),
        (review("alice", by=account("alice", is_bot=True)), "it is a bot"),
        (review("alice", may_write=False), "they have no right to write to the repository"),
        (review("alice", may_write=None), "whether they may write to the repository is unknown"),
        (review("alice", on=None), "the forge does not say when it was given"),
        (review("alice", on=ASKED - timedelta(minutes=6)), "it is older than the plan of that commit"),
        (review("alice", on=NOW + timedelta(minutes=6)), "it was given in the future"),
    ],
    ids=["stale", "unbound", "stranger", "ghost", "bot", "reader", "unknown rights", "no time", "early", "future"],
)
def test_a_review_that_does_not_count_says_why(found: Review, why: str):
    said = count(found)
    assert said.approved_by == ()
    (note,) = said.notes
    assert note.startswith("change #7: the review of ")
    assert why in note


def test_the_author_does_not_approve_their_own_change():
    said = count(review("alice"), change=replace(CHANGE, author=account("ALICE")))
    assert said.approved_by == ()
    assert "alice opened it" in said.notes[0]


def test_who_pushed_to_somebody_elses_change_does_not_approve_it():
    said = count(review("alice"), change=replace(CHANGE, contributors=(account("alice"),)))
    assert "alice wrote, committed or pushed a part of it" in said.notes[0]


def test_who_wrote_a_commit_under_an_address_of_theirs_does_not_approve_it():
    said = count(review("alice"), whose=replace(WHOSE, barred={"alice": "wrote or committed 1a2b"}))
    assert said.approved_by == ()


def test_the_latest_opinion_of_a_person_counts():
    earlier, later = (NOW - timedelta(minutes=minutes) for minutes in (30, 10))
    back_and_forth = (review("alice", on=earlier), review("alice", REJECTED, on=later))
    assert count(*back_and_forth).rejected_by == ("alice",)
    assert count(*back_and_forth).approved_by == ()
    assert count(review("alice", REJECTED, on=earlier), review("alice", on=later)).approved_by == ("alice",)
    assert count(review("alice", on=earlier), review("alice", WITHDRAWN, on=later)) == Reviewed()


def test_a_request_for_changes_vetoes_also_when_it_was_about_an_older_commit():
    assert count(review("alice", REJECTED, head=OLDER), review("bob-login")).rejected_by == ("alice",)


def test_a_stranger_cannot_veto():
    assert count(review("mallory", REJECTED)).rejected_by == ()


def test_two_accounts_of_one_person_are_one_person():
    whose = replace(WHOSE, people={"alice": "alice", "alice2": "alice"})
    assert count(review("alice"), review("alice2"), whose=whose).approved_by == ("alice",)


def test_an_account_is_one_whatever_name_a_forge_shows_of_it():
    ids = Account(names=frozenset({"{uuid}", "557058:x"}), shown="Alice")
    whose = replace(WHOSE, people={"{uuid}": "alice"})
    reviews = (review("alice", by=ids), review("alice", WITHDRAWN, by=ids))
    assert count(*reviews, whose=whose).approved_by == ()


def test_a_review_grows_too_old_where_the_environment_says_so():
    said = count(review("alice"), whose=replace(WHOSE, max_age_seconds=1800))
    assert "it is older than the 0.5 h that the environment allows" in said.notes[0]


def test_of_what_is_unknown_nothing_counts():
    said = count(review("alice"), fault="unknown, so nothing of it counts: 502")
    assert said == Reviewed(notes=("change #7: unknown, so nothing of it counts: 502",))
    assert count(review("alice"), change=None) == Reviewed()


def test_each_of_several_changes_needs_its_own_people_and_not_the_same_throughout():
    one, two = Reviewed(approved_by=("alice", "bob")), Reviewed(approved_by=("bob", "carol"))
    assert backing([one, two], (), 2) == Backing(people=("alice", "bob", "carol"), missing=0)
    assert backing([one, two], (), 3) == Backing(people=("bob",), missing=1)
    assert backing([one, two], ("dave",), 3) == Backing(people=("alice", "bob", "carol", "dave"), missing=0)


def test_attack_a_change_that_many_approved_does_not_lend_its_people_to_one_that_nobody_did():
    assert backing([Reviewed(approved_by=("alice", "bob")), Reviewed()], (), 2) == Backing(people=(), missing=2)


def test_where_no_change_makes_other_rules_only_who_signed_the_whole_counts():
    assert backing([], ("alice",), 2) == Backing(people=("alice",), missing=1)


OPINIONS = st.builds(
    review,
    st.none() | st.sampled_from(["alice", "bob-login", "mallory", "dave"]),
    st.sampled_from(Opinion),
    on=st.none() | st.datetimes(timezones=st.just(UTC)),
    head=st.none() | st.sampled_from([HEAD, OLDER]),
    may_write=st.none() | st.booleans(),
)


@given(st.lists(OPINIONS, max_size=8))
def test_nobody_is_counted_who_did_not_approve_the_head_last(reviews: list[Review]):
    said = count(*reviews)
    for person in said.approved_by:
        own = [one for one in reviews if one.by and WHOSE.people.get(min(one.by.names)) == person]
        assert own[-1].opinion is APPROVED
        assert (own[-1].head, own[-1].may_write) == (HEAD, True)
    assert not {*said.approved_by} & {*said.rejected_by}
