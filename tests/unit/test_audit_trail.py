"""The log and the store must tell the same story; what one of them lacks was taken away."""

from typing import Any

import msgspec
import pytest

from tests.unit.steps.test_store import ID, record
from tests.unit.test_audit import opened, signed
from tfops.attestation import AuditHead
from tfops.audit import AuditEntry, Event
from tfops.audit_trail import decision_checks, deployment_checks, leaves_a_head
from tfops.deployment import Deployment, Result, decode_deployment
from tfops.dsse import Verified, unverified_payload

PLAN, OTHER = "a" * 64, "b" * 64
SIGNED = Verified(payload=unverified_payload(record(), what="it"), signer="ci")
DEPLOYMENT = decode_deployment(SIGNED, what="it", stack="prod", store_id=ID)


def entry(seq: int, event: Event, **details: str) -> AuditEntry:
    return opened(signed(seq=seq, previous="c" * 64, event=event, stack="prod", details=details))


def deployment(id_: str, **fields: Any) -> Deployment:
    given = {"plan_id": PLAN, "stack": "prod", "audit_head": AuditHead(seq=1, id="d" * 64)}
    made = msgspec.structs.replace(DEPLOYMENT.record, **{**given, **fields})
    return Deployment(id=id_, runner="ci", subject=(), record=made)


CLAIM = entry(1, Event.CLAIM, plan_id=PLAN)
APPLY = entry(2, Event.APPLY, plan_id=PLAN, deployment="one")


def found(entries: list[AuditEntry], *deployments: Deployment) -> list[str]:
    checks = deployment_checks(entries, deployments)
    assert not any(check.ok for check in checks)
    return [f"{check.name}: {check.detail}" for check in checks]


def test_nothing_is_wrong_where_both_tell_the_same():
    assert found([CLAIM, APPLY], deployment("one")) == []


def test_a_deployment_that_is_gone_is_missed():
    assert found([CLAIM, APPLY]) == ["entry 2: deployment one of prod is gone: somebody removed it"]


@pytest.mark.parametrize(
    ("left", "words"),
    [([CLAIM], ["its apply is not in the log"]), ([entry(1, Event.CLAIM, plan_id=OTHER), APPLY], ["its claim is not"])],
)
def test_an_entry_that_a_deployment_lacks_is_missed(left: list[AuditEntry], words: list[str]):
    (one,) = found(left, deployment("one"))
    assert all(word in one for word in words), one


def test_a_claim_for_another_stack_is_none_for_this_one():
    other = msgspec.structs.replace(CLAIM, record=msgspec.structs.replace(CLAIM.record, stack="staging"))
    assert found([other, APPLY], deployment("one")) == ["deployment one of prod: its claim is not in the log"]


def test_what_was_applied_before_the_log_knew_claims_needs_none():
    claim = entry(5, Event.CLAIM, plan_id=OTHER)
    before = (deployment("old", audit_head=AuditHead(seq=4, id="d" * 64)), deployment("older", audit_head=None))
    assert found([claim], *before) == []
    assert found([], *before) == []


def test_an_adopted_state_and_an_interrupted_apply_of_an_older_version_have_no_claim():
    adopted = deployment("two", plan_id=None, result=Result.ADOPTED)
    interrupted = deployment("one", plan_id=OTHER, result=Result.INTERRUPTED)
    assert found([CLAIM, APPLY], adopted, interrupted) == []


def decision(seq: int, person: str, word: str) -> AuditEntry:
    return entry(seq, Event.DECISION, person=person, decision=word, plan_id=PLAN, sha256=f"{seq}" * 64)


def test_a_rejection_that_somebody_removed_is_missed():
    entries = [decision(1, "alice", "approved"), decision(2, "carol", "rejected")]
    asked: list[tuple[str, str]] = []

    def kept(stack: str, subject: str) -> set[str]:
        asked.append((stack, subject))
        return {"1" * 64}

    (check,) = decision_checks(entries, kept)
    said = "what carol said of aaaaaaaaaaaa of prod (rejected) is gone, or changed: somebody removed it"
    assert (check.name, check.ok, check.detail) == ("entry 2", False, said)
    assert set(asked) == {("prod", PLAN)}


@pytest.mark.parametrize(
    ("event", "result", "expected"),
    [
        (Event.APPLY, "applied", True),
        (Event.APPLY, "destroyed", True),
        (Event.APPLY, "failed", False),
        (Event.APPLY, "interrupted", False),
        (Event.ADOPT_STATE, "", True),
        (Event.CLAIM, "applied", False),
    ],
)
def test_what_was_applied_or_adopted_leaves_a_head_for_ever(event: Event, result: str, expected: bool) -> None:
    assert leaves_a_head(entry(1, event, result=result)) is expected
