"""The gate gives all its reasons at once, and opens only where nothing at all stands in the way."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfops.approval import Override, Tally
from tfops.changes import Change, Plan, ResourceChange
from tfops.config_gate import Approval, Gate, Protect
from tfops.coverage import Gap
from tfops.freezes import Freeze, Span
from tfops.gate import Consent, Decision, decide, named, stops

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
FROZEN = Freeze(name="black friday", once=Span(begins=NOW - timedelta(hours=1), ends=NOW + timedelta(hours=2)))
OVER = Freeze(name="last year", once=Span(begins=NOW - timedelta(days=9), ends=NOW))
DELETES = Plan(resource_changes=(ResourceChange(address="db.a", type="db", change=Change(actions=("delete",))),))
NOTHING = Plan()
APPROVALS = st.none() | st.builds(Approval, count=st.integers(min_value=0, max_value=9))
PROTECTS = st.lists(
    st.builds(
        Protect,
        max_destroy=st.none() | st.integers(0, 3),
        addresses=st.lists(st.sampled_from(["db.*", "x"])).map(tuple),
        replace=st.booleans(),
    ),
    max_size=2,
).map(tuple)
GATES = st.builds(
    Gate, approval=APPROVALS, protects=PROTECTS, freezes=st.lists(st.sampled_from([FROZEN, OVER])).map(tuple)
)


def gate(count: int | None = 0, **more: object) -> Gate:
    return Gate(approval=None if count is None else Approval(count=count), **more)  # type: ignore[arg-type]


def decided(asked: Gate, plan: Plan = NOTHING, consent: Consent | None = None) -> Decision:
    return decide(environment="prod", gate=asked, plan=plan, now=NOW, consent=consent)


def said(*people: str, rejected: tuple[str, ...] = (), **overrides: Gap) -> Consent:
    tally = Tally(approved_by=people, rejected_by=rejected, uncounted=(), missing=0, may_still=())
    found = {Override(name): gap for name, gap in overrides.items()}
    return Consent(tally=tally, gap=Gap(), covered_by=("p",), is_covered=True, overrides=found)


def test_a_count_of_zero_opens_the_gate():
    assert decided(gate(0)) == Decision(allowed=True)
    assert gate(0).is_open


def test_without_an_approval_block_nothing_is_applied_automatically():
    decision = decided(gate(None))
    assert not decision.allowed
    assert decision.reasons[0].startswith('environment "prod" names no approval block')
    assert decision.reasons[0].endswith("say approval { count = 0 } to apply without one")


@pytest.mark.parametrize(("count", "words"), [(1, "1 approval;"), (2, "2 approvals;")])
def test_approvals_that_are_asked_for_are_never_taken_for_granted(count, words):
    decision = decided(gate(count))
    assert not decision.allowed
    assert words in decision.reasons[0]


def test_what_is_protected_and_frozen_and_not_approved_is_all_said_at_once():
    everything = gate(2, protects=(Protect(max_destroy=0), Protect(addresses=("db.*",))), freezes=(FROZEN, OVER))
    reasons = "\n".join(decided(everything, DELETES).reasons)
    assert "asks for 2 approvals" in reasons
    assert "it would destroy 1 object (db.a); protect allows 0" in reasons
    assert 'db.a would be destroyed; protect names "db.*"' in reasons
    assert 'frozen until 2026-11-24 14:00Z by "black friday"' in reasons
    assert "tfops approve PLAN --override protect" in reasons
    assert "tfops approve PLAN --override freeze" in reasons
    assert "last year" not in reasons


def test_an_approval_alone_lets_nothing_pass_that_is_protected():
    missing = Gap(changes=("db.a",))
    decision = decided(gate(1, protects=(Protect(max_destroy=0),)), DELETES, said("alice", protect=missing))
    assert not decision.allowed


def test_what_people_let_pass_in_so_many_words_passes_and_is_named():
    decision = decided(
        gate(1, protects=(Protect(max_destroy=0),), freezes=(FROZEN,)),
        DELETES,
        said("alice", protect=Gap(), freeze=Gap()),
    )
    assert decision == Decision(allowed=True, overrides=(Override.PROTECT, Override.FREEZE))


def test_who_overrides_one_part_has_not_overridden_the_other():
    missing = Gap(changes=("db.a",))
    asked = gate(1, protects=(Protect(max_destroy=0),), freezes=(FROZEN,))
    decision = decided(asked, DELETES, said("alice", protect=Gap(), freeze=missing))
    assert decision.overrides == (Override.PROTECT,)
    assert not decision.allowed


def test_an_override_for_another_address_does_not_count_and_one_besides_does_not_harm():
    asked = gate(0, protects=(Protect(addresses=("db.*",)),))
    assert not decided(asked, DELETES, said("alice", protect=Gap(changes=("db.a",)))).allowed
    assert decided(asked, DELETES, said("alice", protect=Gap(changes=("web.b",)))).allowed


def test_a_rejection_ends_every_override():
    asked = gate(0, protects=(Protect(max_destroy=0),))
    assert not decided(asked, DELETES, said("alice", rejected=("bob",), protect=Gap())).allowed


@given(GATES, st.sampled_from([NOTHING, DELETES]))
def test_a_closed_gate_has_reasons_and_an_open_one_has_none(asked, plan):
    decision = decided(asked, plan)
    assert decision.allowed is not bool(decision.reasons)
    if decision.allowed:
        assert not stops(asked, plan, NOW)


@given(GATES, GATES, st.sampled_from([NOTHING, DELETES]))
def test_one_more_obstacle_never_opens_a_gate(one, other, plan):
    both = Gate(approval=one.approval, protects=one.protects + other.protects, freezes=one.freezes + other.freezes)
    assert set(decided(one, plan).reasons) <= set(decided(both, plan).reasons)
    assert decided(one, plan).allowed or not decided(both, plan).allowed


def test_what_holds_it_up_is_named_and_the_way_past_it_can_name_the_plan():
    decision = decided(gate(0, protects=(Protect(max_destroy=0),), freezes=(FROZEN,)), DELETES)
    assert decision.held_by == (Override.PROTECT, Override.FREEZE)
    reasons = "\n".join(named(decision.reasons, "47d7"))
    assert "tfops approve 47d7 --override protect" in reasons
    assert "PLAN" not in reasons


def test_words_of_others_are_not_taken_for_a_command():
    words = 'policy "a" says: run tfops approve PLAN now'
    assert named([words], "47d7") == (words,)
