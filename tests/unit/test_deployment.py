"""What was done is read from what Terraform said while it did it, and a record belongs to one stack of one store."""

import json
from datetime import UTC, datetime

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfops.attestation import Builder, Purpose, Source, StateRef, encode
from tfops.deployment import (
    RESULT_TYPE,
    ResourceResult,
    Result,
    ResultPredicate,
    ResultStatement,
    decode_deployment,
    resource_results,
)
from tfops.dsse import Verified
from tfops.errors import VerificationError

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
RECORD = ResultPredicate(
    result=Result.APPLIED,
    purpose=Purpose.SYNC,
    store_id="0" * 32,
    stack="prod/app",
    environment="prod",
    workspace="default",
    root="live/app",
    plan_id="a" * 64,
    given_plan_id=None,
    source=Source(branch="main", commit="c" * 40, tree="d" * 40),
    fingerprint="f" * 64,
    state=StateRef(address="managed:prod/app#default", lineage="abc", serial=8),
    state_sha256="e" * 64,
    serial_before=7,
    resources=(ResourceResult(address="t.n", action="create", ok=True, id="i-1"),),
    reason="",
    builder=Builder(runner="ci", host="build-1", run_id="r"),
    started_on=NOW,
    finished_on=NOW,
)


def event(kind: str, address: str = "t.n", action: str = "create", **hook: object) -> bytes:
    resource = {"addr": address, "resource": address, "resource_type": "t"}
    return json.dumps(
        {"@level": "info", "type": kind, "hook": {"resource": resource, "action": action, **hook}}
    ).encode()


def journal(*events: bytes) -> bytes:
    return b"".join(line + b"\n" for line in events)


def test_an_empty_journal_says_nothing():
    assert resource_results(b"") == ()


def test_a_creation_that_completed_is_known_by_the_providers_id():
    found = resource_results(
        journal(event("apply_start"), event("apply_complete", id_key="id", id_value="i-0abc", elapsed_seconds=1))
    )
    assert found == (ResourceResult(address="t.n", action="create", ok=True, id="i-0abc"),)


def test_what_began_and_never_completed_was_in_flight():
    found = resource_results(journal(event("apply_start", id_key="id", id_value="i-0abc", action="update")))
    assert found == (ResourceResult(address="t.n", action="update", ok=False, id="i-0abc"),)


def test_what_ended_with_an_error_is_not_done():
    assert resource_results(journal(event("apply_start"), event("apply_errored"))) == (
        ResourceResult(address="t.n", action="create", ok=False),
    )


def test_a_replacement_is_two_results_in_the_order_they_happened():
    found = resource_results(
        journal(
            event("apply_start", action="delete", id_key="id", id_value="old"),
            event("apply_complete", action="delete"),
            event("apply_start"),
            event("apply_complete", id_key="id", id_value="new"),
        )
    )
    assert [(one.action, one.ok, one.id) for one in found] == [("delete", True, None), ("create", True, "new")]


def test_results_keep_the_order_in_which_things_began():
    found = resource_results(
        journal(event("apply_start", "t.a"), event("apply_start", "t.b"), event("apply_complete", "t.b"))
    )
    assert [(one.address, one.ok) for one in found] == [("t.a", False), ("t.b", True)]


@pytest.mark.parametrize("cut", range(1, 40, 3))
def test_a_half_written_last_line_is_left_out(cut):
    whole = journal(event("apply_start"))
    assert resource_results(whole + event("apply_complete", "t.n")[:-cut]) == resource_results(whole)


def test_events_that_are_about_no_resource_are_passed_over():
    others = [
        b"",
        b"Terraform crashed!",
        b"7",
        b"[]",
        b"null",
        b'{"type": "apply_complete"}',
        b'{"type": "apply_complete", "hook": 1}',
        b'{"type": "apply_complete", "hook": {}}',
        b'{"type": "apply_complete", "hook": {"resource": "t.n"}}',
        event("apply_progress"),
        event("refresh_start"),
        event("planned_change"),
        b'\xff{"type"',
    ]
    assert resource_results(journal(*others)) == ()


def test_an_id_is_text_whatever_the_provider_calls_it():
    assert resource_results(journal(event("apply_complete", id_value=17)))[0].id == "17"


@pytest.mark.parametrize("kind", [[], {}])
def test_an_event_whose_type_is_no_word_is_passed_over(kind):
    assert resource_results(journal(json.dumps({"type": kind}).encode())) == ()


def test_a_line_that_nests_too_deeply_is_passed_over():
    assert resource_results(journal(b"[" * 100_000, event("apply_start"))) != ()


@given(st.binary(max_size=300))
def test_no_bytes_stop_the_reading_of_a_journal(data):
    resource_results(data)


LINES = st.lists(st.sampled_from([event(k, a) for k in ("apply_start", "apply_complete", "x") for a in ("t.a", "t.b")]))


@given(LINES, st.integers(0, 400))
def test_a_journal_cut_anywhere_tells_no_more_than_the_whole(lines, cut):
    whole = {(one.address, one.action) for one in resource_results(journal(*lines))}
    assert {(one.address, one.action) for one in resource_results(journal(*lines)[:-cut])} <= whole


@given(LINES)
def test_done_means_that_a_completion_was_heard(lines):
    for one in resource_results(journal(*lines)):
        assert one.ok is (event("apply_complete", one.address) in lines) or event("apply_start", one.address) in lines


def verified(record: ResultPredicate = RECORD, **fields: object) -> Verified:
    statement = ResultStatement(subject=(), predicate=msgspec.structs.replace(record, **fields))
    return Verified(payload=encode(statement), signer="ci")


def test_a_record_of_this_stack_and_store_is_read_whole():
    one = verified()
    found = decode_deployment(one, what="the head", stack="prod/app", store_id="0" * 32)
    assert (found.id, found.runner, found.record) == (one.id, "ci", RECORD)


@pytest.mark.parametrize(
    "fields",
    [{"stack": "prod/ap"}, {"stack": "prod/app/"}, {"store_id": "1" * 32}, {"stack": "x", "store_id": "y"}],
)
def test_a_record_of_another_stack_or_store_is_refused(fields):
    with pytest.raises(VerificationError) as refused:
        decode_deployment(verified(**fields), what="the head", stack="prod/app", store_id="0" * 32)
    (problem,) = refused.value.problems
    assert (problem.code, problem.stack) == ("verify.foreign_record", "prod/app")


def test_a_plan_is_no_deployment():
    payload = json.loads(verified().payload) | {"predicateType": "https://tfops.dev/terraform-plan/v1"}
    with pytest.raises(VerificationError, match="apply-result/v1"):
        decode_deployment(
            Verified(payload=json.dumps(payload).encode(), signer="ci"),
            what="it",
            stack="prod/app",
            store_id="0" * 32,
        )


@pytest.mark.parametrize("change", [{"more": 1}, {"result": "triumph"}, {"resources": [{"address": "a"}]}])
def test_fields_nobody_knows_are_refused(change):
    payload = json.loads(verified().payload)
    payload["predicate"] |= change
    with pytest.raises(VerificationError):
        decode_deployment(
            Verified(payload=json.dumps(payload).encode(), signer="ci"), what="it", stack="prod/app", store_id="0" * 32
        )


def test_the_wire_form_names_its_version():
    assert json.loads(verified().payload)["predicateType"] == RESULT_TYPE == "https://tfops.dev/apply-result/v1"
