"""After somebody decided: `approve` promises nothing that `sync` refuses."""

from dataclasses import replace
from types import SimpleNamespace

import pytest

from tfops.approval import Override, Tally, Word
from tfops.attestation import Purpose
from tfops.cli.saying import _sentence
from tfops.coverage import Gap
from tfops.gate import WAY_PAST, Consent, Decision
from tfops.steps.outlook import Outlook
from tfops.workflows.approve import Said

PLAN = "47d7" * 16
ENOUGH = Tally(approved_by=("alice",), rejected_by=(), uncounted=(), missing=0, may_still=("bob",))
LACKING = replace(ENOUGH, missing=1)
OPEN = Decision(allowed=True)
PROTECTED = Decision(
    allowed=False,
    reasons=("it would destroy \x1b[31mdb.a", "and db.b", f"{WAY_PAST}tfops approve PLAN --override protect"),
    held_by=(Override.PROTECT,),
)


def consent(tally: Tally, *, is_covered: bool = True) -> Consent:
    return Consent(tally=tally, gap=Gap(), covered_by=(), is_covered=is_covered)


def said(tally: Tally = ENOUGH, *overrides: Override, purpose=Purpose.SYNC, outlook: Outlook | None = None) -> str:
    record = SimpleNamespace(stack="prod", decision=Word.APPROVED, overrides=overrides)
    vote = SimpleNamespace(record=record, owner="alice")
    subject = "prod: plan 47d747d747d7"
    return _sentence(
        Said(id=PLAN, subject=subject, vote=vote, tally=tally, file=None, purpose=purpose, outlook=outlook)
    )


@pytest.mark.parametrize(
    ("purpose", "then"),
    [
        (Purpose.SPECULATIVE, ". Once it is merged: tfops sync"),
        (Purpose.SYNC, "; next: tfops sync"),
        (Purpose.PRUNE, "; next: tfops sync --prune"),
        (Purpose.REMEDIATION, "; next: tfops drift prod --remediate"),
        (None, "; next: tfops sync"),
    ],
)
def test_each_kind_of_plan_is_applied_by_its_own_command(purpose, then):
    assert said(purpose=purpose).endswith(f"approved by alice; that is enough{then}")


def test_what_is_protected_is_not_called_enough_and_the_command_names_the_plan():
    text = said(outlook=Outlook(decision=PROTECTED, consent=consent(ENOUGH)))
    assert "that is enough" not in text
    assert "approvals are complete; still held up: it would destroy" in text
    assert text.endswith(
        "db.a (and 1 more: tfops inspect 47d747d747d7); next: tfops approve 47d747d747d7 --override protect"
    )
    assert "\x1b" not in text


def test_who_let_one_thing_pass_is_told_to_say_it_again_with_the_other():
    text = said(ENOUGH, Override.FREEZE, outlook=Outlook(decision=PROTECTED, consent=consent(ENOUGH)))
    assert text.endswith("--override freeze --override protect")


def test_a_stale_plan_is_made_again_by_sync():
    text = said(outlook=Outlook(decision=OPEN, consent=consent(ENOUGH), faults=("state: it moved",)))
    assert text.endswith("approvals are complete; still held up: state: it moved; next: tfops sync")


def test_what_people_said_of_other_plans_counts_where_it_is_known():
    text = said(LACKING, outlook=Outlook(decision=OPEN, consent=consent(ENOUGH)))
    assert text.endswith("that is enough; next: tfops sync")
    shared = consent(LACKING)
    assert "that is enough" in said(LACKING, outlook=Outlook(decision=OPEN, consent=shared)), "each part is approved"


def test_what_is_missing_says_so_where_only_this_plan_was_counted():
    waiting = Outlook(decision=Decision(allowed=False, reasons=("x",)), consent=consent(LACKING, is_covered=False))
    assert said(LACKING, outlook=waiting).endswith("; 1 more needed, from bob")
    assert said(LACKING).endswith("; 1 more needed on this plan, from bob")
    assert said(LACKING, purpose=Purpose.SPECULATIVE, outlook=waiting).endswith("1 more needed on this plan, from bob")
