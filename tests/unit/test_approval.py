"""Enough people said yes, nobody said no, and none of them about their own work."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.test_attestation import PLAN
from tfops.approval import (
    ApprovalPredicate,
    Ballot,
    Override,
    Vote,
    Word,
    approval_statement,
    decode_vote,
    joined,
    opposed,
    question_of,
    tally,
    without,
)
from tfops.attestation import CLOCK_SKEW, Digest, encode
from tfops.dsse import Verified
from tfops.errors import VerificationError

NOW = PLAN.finished_on + timedelta(hours=1)
ID, FILE = "a" * 64, "b" * 64
PEOPLE = frozenset({"alice", "bob", "carol"})


def ballot(**fields: Any) -> Ballot:
    given_ = {"question": question_of(ID, FILE, PLAN), "approvers": PEOPLE, "wanted": 2}
    return Ballot(**{**given_, **fields})


def vote(
    owner: str = "alice", word: Word = Word.APPROVED, *, plan_id: str = ID, plan_file: str = FILE, **fields: Any
) -> Vote:
    record = ApprovalPredicate(
        **{
            "decision": word,
            "approver": owner,
            "store_id": PLAN.store_id,
            "stack": PLAN.stack,
            "environment": PLAN.environment,
            "change_digest": PLAN.change_digest,
            "decided_on": NOW - timedelta(minutes=10),
            "expires_on": NOW + timedelta(hours=23),
            "comment": "",
            "viewed": Digest(sha256="c" * 64),
            **fields,
        }
    )
    statement = approval_statement(question_of(plan_id, plan_file, PLAN), record)
    return Vote(id="d" * 64, fingerprint=f"SHA256:{owner}", owner=owner, subject=statement.subject, record=record)


def reasons(ballot_: Ballot, *votes: Vote) -> list[str]:
    return [one.reason for one in tally(ballot_, votes, NOW).uncounted]


def test_two_people_are_enough_for_two():
    found = tally(ballot(), [vote("alice"), vote("bob")], NOW)
    assert (found.is_approved, found.approved_by, found.missing) == (True, ("alice", "bob"), 0)


def test_one_person_is_not_enough_for_two_and_it_says_who_may_still():
    found = tally(ballot(), [vote("alice")], NOW)
    assert (found.is_approved, found.missing, found.may_still) == (False, 1, ("bob", "carol"))


def test_two_keys_of_one_person_are_one_person():
    second = msgspec.structs.replace(vote("alice"), fingerprint="SHA256:other")
    found = tally(ballot(), [vote("alice"), second], NOW)
    assert (found.approved_by, found.missing) == (("alice",), 1)


def test_a_rejection_vetoes_whatever_the_others_say():
    found = tally(ballot(), [vote("alice"), vote("bob"), vote("carol", Word.REJECTED)], NOW)
    assert (found.is_approved, found.rejected_by) == (False, ("carol",))


def test_who_reads_that_somebody_rejected_it_reads_why():
    assert tally(ballot(), [vote("carol", Word.REJECTED, comment="not today")], NOW).words[0] == (
        "carol rejected it: not today"
    )
    assert tally(ballot(), [vote("carol", Word.REJECTED)], NOW).words[0] == "carol rejected it"


def test_a_comment_forges_no_line_and_hides_no_text():
    comment = "no\x1b[2J\nprod: applied\u202e" + "x" * 500
    words = tally(ballot(), [vote("carol", Word.REJECTED, comment=comment)], NOW).words[0]
    assert words.startswith("carol rejected it: no [2J prod: applied x")
    assert words.isprintable()
    assert len(words) == len("carol rejected it: ") + 120


def test_a_rejection_that_was_withdrawn_does_not_veto():
    later = vote("carol", Word.WITHDRAWN, decided_on=NOW - timedelta(minutes=1))
    assert tally(ballot(), [vote("alice"), vote("bob"), vote("carol", Word.REJECTED), later], NOW).is_approved


def test_of_a_persons_decisions_the_latest_counts():
    later = vote("alice", Word.REJECTED, decided_on=NOW - timedelta(minutes=1))
    assert tally(ballot(wanted=1), [later, vote("alice")], NOW).rejected_by == ("alice",)
    back = vote("alice", decided_on=NOW)
    assert tally(ballot(wanted=1), [later, vote("alice"), back], NOW).is_approved


def test_of_two_decisions_at_the_same_moment_the_one_that_stops_counts():
    for order in ([Word.APPROVED, Word.REJECTED], [Word.REJECTED, Word.APPROVED]):
        assert tally(ballot(wanted=1), [vote("alice", word) for word in order], NOW).rejected_by == ("alice",)


def test_nobody_approves_their_own_work():
    found = reasons(ballot(barred=(("alice", "wrote commit 1a2b3c4d"),)), vote("alice"))
    assert found == ["alice wrote commit 1a2b3c4d: nobody approves their own work"]


def test_an_author_may_reject_their_own_work():
    assert tally(ballot(barred=(("alice", "wrote it"),)), [vote("alice", Word.REJECTED)], NOW).rejected_by == ("alice",)


def test_a_rejection_does_not_expire():
    old = vote("carol", Word.REJECTED, expires_on=NOW - timedelta(minutes=1))
    assert tally(ballot(), [old], NOW).rejected_by == ("carol",)


def test_an_approval_does_not_outlive_the_age_that_the_environment_allows():
    old = {"decided_on": NOW - timedelta(hours=72, seconds=1), "expires_on": NOW + timedelta(days=30)}
    asked = question_of(ID, FILE, msgspec.structs.replace(PLAN, finished_on=NOW - timedelta(hours=100)))
    limited = ballot(question=asked, max_age_seconds=72 * 3600.0)
    assert reasons(limited, vote(**old)) == ["it is older than the 72 h that the environment allows"]
    assert reasons(ballot(question=asked), vote(**old)) == []
    assert reasons(limited, vote(**{**old, "decided_on": NOW - timedelta(hours=72)})) == []


def test_a_rejection_never_ages():
    asked = question_of(ID, FILE, msgspec.structs.replace(PLAN, finished_on=NOW - timedelta(hours=100)))
    old = vote("carol", Word.REJECTED, decided_on=NOW - timedelta(hours=99))
    assert tally(ballot(question=asked, max_age_seconds=3600.0), [old], NOW).rejected_by == ("carol",)


def test_a_decision_that_is_gone_from_the_store_stops_as_a_rejection_would():
    found = replace(tally(ballot(), [vote("alice"), vote("bob")], NOW), lost=1)
    assert not found.is_approved
    assert "1 of the decisions over it" in found.words[0]


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"stack": "prod/other"}, "it is for prod/other, not for "),
        ({"store_id": "f" * 32}, "it is for "),
        ({"environment": "dev"}, "it is for "),
        ({"plan_id": "e" * 64}, "it is for another plan"),
        ({"plan_file": "e" * 64}, "it is for another plan"),
        ({"change_digest": "e" * 64}, "it is for other changes"),
        ({"owner": "mallory"}, "mallory may not approve here"),
        ({"expires_on": NOW - timedelta(seconds=1)}, "it expired at "),
        ({"decided_on": PLAN.finished_on - CLOCK_SKEW - timedelta(seconds=1)}, "it is older than the plan"),
        ({"decided_on": NOW + CLOCK_SKEW + timedelta(seconds=1)}, "it was made in the future"),
    ],
)
def test_what_does_not_count_is_told_with_its_reason(changed: dict[str, Any], reason: str):
    found = tally(ballot(wanted=1), [vote(**changed)], NOW)
    assert not found.is_approved
    assert found.uncounted[0].reason.startswith(reason)


WORDS = st.sampled_from(Word)
VOTES = st.lists(
    st.builds(
        lambda owner, word, minutes: vote(owner, word, decided_on=NOW - timedelta(minutes=minutes)),
        st.sampled_from([*sorted(PEOPLE), "mallory"]),
        WORDS,
        st.integers(min_value=0, max_value=50),
    ),
    max_size=8,
)


@given(VOTES, st.integers(min_value=1, max_value=3), st.randoms())
def test_the_order_in_which_votes_are_read_changes_nothing(votes, wanted, random):
    shuffled = list(votes)
    random.shuffle(shuffled)
    one, other = tally(ballot(wanted=wanted), votes, NOW), tally(ballot(wanted=wanted), shuffled, NOW)
    assert (one.approved_by, one.rejected_by, one.missing) == (other.approved_by, other.rejected_by, other.missing)


@given(VOTES, st.integers(min_value=1, max_value=3))
def test_nothing_is_approved_without_that_many_different_people_who_may(votes, wanted):
    found = tally(ballot(wanted=wanted), votes, NOW)
    said_yes = {one.owner for one in votes if one.record.decision is Word.APPROVED} & PEOPLE
    assert not found.is_approved or len(said_yes) >= wanted


def test_a_vote_in_anothers_name_is_refused():
    payload = encode(approval_statement(question_of(ID, FILE, PLAN), vote("alice").record))
    with pytest.raises(VerificationError) as refused:
        decode_vote(Verified(payload=payload, signer="SHA256:x"), owner="mallory", what="an approval")
    assert refused.value.problems[0].code == "approval.identity"


def test_a_vote_comes_back_as_it_was_signed():
    record = vote("alice", comment="looked at the database twice").record
    payload = encode(approval_statement(question_of(ID, FILE, PLAN), record))
    found = decode_vote(Verified(payload=payload, signer="SHA256:x"), owner="alice", what="an approval")
    assert (found.record, found.owner, found.fingerprint) == (record, "alice", "SHA256:x")


def test_where_only_reviews_count_a_signature_overrides_and_rejects_but_does_not_approve():
    only_reviews = ballot(takes_signatures=False)
    over = vote("alice", overrides=(Override.PROTECT,))
    found = tally(only_reviews, [over, vote("bob"), vote("carol", Word.REJECTED)], NOW)
    assert (found.approved_by, found.missing, found.rejected_by) == ((), 2, ("carol",))
    assert found.overridden_by[Override.PROTECT] == ("alice",)
    assert reasons(only_reviews, over, vote("bob")) == ["this environment counts reviews on the forge only"]


def test_what_was_said_elsewhere_joins_and_whoever_is_against_it_anywhere_is_against_it():
    asked = ballot()
    own = tally(asked, [vote("alice")], NOW)
    found = joined(own, asked, approved=["bob", "mallory"], rejected=["alice"], notes=["a note"])
    assert (found.approved_by, found.rejected_by, found.missing) == (("bob",), ("alice",), 1)
    assert found.words[-1] == "a note"


def test_an_approval_that_ended_brings_no_earlier_and_wider_one_back():
    wide = vote("alice", decided_on=NOW - timedelta(minutes=30), overrides=(Override.PROTECT,))
    narrow = vote("alice", decided_on=NOW - timedelta(minutes=20), expires_on=NOW - timedelta(minutes=19))
    found = tally(ballot(), [wide, narrow], NOW)
    assert (found.approved_by, found.overridden_by[Override.PROTECT]) == ((), ())
    assert reasons(ballot(), wide, narrow) == ["it expired at " + f"{NOW - timedelta(minutes=19):%Y-%m-%d %H:%M}Z"]


def test_an_approval_that_is_too_old_brings_no_earlier_one_back():
    old = [vote("alice", decided_on=NOW - timedelta(minutes=minutes)) for minutes in (50, 40)]
    assert tally(ballot(max_age_seconds=1800), old, NOW).approved_by == ()


@pytest.mark.parametrize(
    ("missing", "may_still", "words"),
    [
        (1, ("bob", "carol"), "1 more needed, from bob or carol"),
        (2, ("bob", "carol"), "2 more needed, from bob and carol"),
        (2, ("bob", "carol", "dan"), "2 more needed, from bob or carol or dan"),
        (2, ("bob",), "2 more needed, from bob: name more people in trust"),
        (1, (), "1 more needed, from nobody: name more people in trust"),
    ],
)
def test_who_is_missing_is_said_as_one_would(missing: int, may_still: tuple[str, ...], words: str):
    assert replace(tally(ballot(), [], NOW), missing=missing, may_still=may_still).still == words


def test_who_is_against_a_plan_of_the_same_is_against_this_one():
    own = tally(ballot(), [vote("alice"), vote("bob")], NOW)
    other = tally(ballot(), [vote("carol", Word.REJECTED, comment="no")], NOW)
    found = opposed(own, {"e" * 64: other}, {})
    assert (found.rejected_by, found.is_approved) == (("carol",), False)
    assert found.words[0] == "carol rejected it: no"
    assert f"tfops approve {'e' * 12} --withdraw" in found.notes[0]


def test_who_approved_the_same_later_took_the_rejection_back():
    own = tally(ballot(), [vote("alice"), vote("bob")], NOW)
    other = tally(ballot(), [vote("carol", Word.REJECTED)], NOW)
    on = other.said_on["carol"]
    assert opposed(own, {"e" * 64: other}, {"carol": on + timedelta(seconds=1)}) == own
    assert opposed(own, {"e" * 64: other}, {"carol": on}).rejected_by == ("carol",)


def test_a_decision_that_is_gone_from_a_plan_of_the_same_may_have_been_a_rejection():
    own = tally(ballot(), [vote("alice"), vote("bob")], NOW)
    assert opposed(own, {"e" * 64: replace(own, lost=1)}, {}).is_stopped


def test_what_does_not_count_any_more_is_missing_and_may_come_again():
    own = tally(ballot(), [vote("alice", overrides=(Override.PROTECT,)), vote("bob")], NOW)
    found = without(own, {"alice"}, 2)
    assert (found.approved_by, found.missing, found.may_still) == (("bob",), 1, ("alice", "carol"))
    assert found.overridden_by[Override.PROTECT] == ()
    assert without(own, (), 2) == own
