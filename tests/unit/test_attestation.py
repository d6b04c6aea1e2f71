"""A statement is read only in the one form this version writes, and used only for what it is bound to."""

import dataclasses
import hashlib
import json
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfops.attestation import (
    CLOCK_SKEW,
    PLAN_FILES,
    PLAN_TYPE,
    AuditHead,
    Builder,
    ChangeRef,
    Check,
    Digest,
    Expected,
    PlanPredicate,
    PlanStatement,
    Purpose,
    Source,
    StateRef,
    Subject,
    TerraformRef,
    binding_checks,
    check_files,
    decode_plan,
    encode,
    require,
    subject,
)
from tfops.dsse import Verified
from tfops.errors import VerificationError

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
PLAN = PlanPredicate(
    purpose=Purpose.SYNC,
    store_id="0" * 32,
    stack="prod/app",
    environment="prod",
    workspace="default",
    root="environments/prod/app",
    source=Source(branch="main", commit="c" * 40, tree="d" * 40),
    fingerprint="f" * 64,
    state=StateRef(address="managed:prod/app#default", lineage="abc", serial=7),
    terraform=TerraformRef(product="terraform", version="1.11.4", sha256="e" * 64),
    lock_file=None,
    variables=("TF_VAR_password",),
    summary={"create": 1},
    change_digest="a" * 64,
    change_set=(ChangeRef(address="t.n", digest="b" * 64),),
    base_fingerprint=None,
    builder=Builder(runner="ci", host="build-1", run_id="r"),
    started_on=NOW - timedelta(minutes=1),
    finished_on=NOW,
    expires_on=NOW + timedelta(days=7),
    audit_head=AuditHead(seq=3, id="ab" * 32),
)
STATEMENT = PlanStatement(subject=(subject("plan.tfplan", b"plan"),), predicate=PLAN)
EXPECTED = Expected(
    store_id=PLAN.store_id,
    stack=PLAN.stack,
    environment=PLAN.environment,
    workspace=PLAN.workspace,
    root=PLAN.root,
    fingerprint=PLAN.fingerprint,
    state=PLAN.state,
    terraform=PLAN.terraform,
    now=NOW,
)

TIMES = st.datetimes(min_value=datetime(2000, 1, 1), max_value=datetime(2200, 1, 1), timezones=st.just(UTC))
DIGESTS = st.builds(Digest, sha256=st.text("0123456789abcdef", min_size=64, max_size=64))
STATES = st.builds(
    StateRef, address=st.text(), lineage=st.none() | st.text(), serial=st.integers(min_value=0, max_value=2**53)
)
PLANS = st.builds(
    PlanPredicate,
    purpose=st.sampled_from(Purpose),
    **{name: st.text() for name in ("store_id", "stack", "environment", "workspace", "root")},
    source=st.builds(Source, branch=st.text(), commit=st.text(), tree=st.text()),
    fingerprint=st.text(),
    state=STATES,
    terraform=st.builds(TerraformRef, product=st.text(), version=st.text(), sha256=st.text()),
    lock_file=st.none() | DIGESTS,
    variables=st.lists(st.text(), max_size=3).map(tuple),
    summary=st.dictionaries(st.text(), st.integers(0, 99), max_size=3),
    change_digest=st.text(),
    change_set=st.lists(st.builds(ChangeRef, address=st.text(), digest=st.text()), max_size=3).map(tuple),
    base_fingerprint=st.none() | st.text(),
    builder=st.builds(Builder, runner=st.text(), host=st.text(), run_id=st.text()),
    **dict.fromkeys(("started_on", "finished_on", "expires_on"), TIMES),
    audit_head=st.none() | st.builds(AuditHead, seq=st.integers(min_value=1, max_value=10**12), id=st.text()),
)
SUBJECTS = st.lists(st.builds(Subject, name=st.text(), digest=DIGESTS), max_size=3).map(tuple)


def document(**predicate: object) -> dict[str, object]:
    found = json.loads(encode(STATEMENT))
    found["predicate"] |= predicate
    return found


def read(found: object) -> PlanStatement:
    return decode_plan(Verified(payload=json.dumps(found).encode(), signer="ci"))


def refusal(payload: bytes) -> str:
    with pytest.raises(VerificationError) as refused:
        decode_plan(Verified(payload=payload, signer="ci"))
    (problem,) = refused.value.problems
    assert problem.code == "verify.statement"
    assert problem.hint
    return problem.message


@given(st.builds(PlanStatement, subject=SUBJECTS, predicate=PLANS))
def test_a_statement_is_read_as_it_was_written(statement):
    assert decode_plan(Verified(payload=encode(statement), signer="ci")) == statement


def test_the_wire_form_is_an_in_toto_statement():
    found = json.loads(encode(STATEMENT))
    assert found["_type"] == "https://in-toto.io/Statement/v1"
    assert found["predicateType"] == "https://tfops.dev/terraform-plan/v1"
    assert found["subject"] == [{"name": "plan.tfplan", "digest": {"sha256": hashlib.sha256(b"plan").hexdigest()}}]
    assert {"storeId", "changeSet", "finishedOn", "lockFile"} <= found["predicate"].keys()


def test_an_unknown_field_is_refused_at_every_depth():
    def with_a_stranger(value: object) -> list[object]:
        """Every copy of `value` in which one object has one member more."""
        if isinstance(value, list):
            return [
                [*value[:i], other, *value[i + 1 :]] for i, item in enumerate(value) for other in with_a_stranger(item)
            ]
        if not isinstance(value, dict):
            return []
        inside = [{**value, name: other} for name, item in value.items() for other in with_a_stranger(item)]
        return [{**value, "approvedBy": "mallory"}, *inside]

    strangers = [
        other for other in with_a_stranger(document()) if "approvedBy" not in other["predicate"].get("summary", {})
    ]
    assert len(strangers) >= 9
    for stranger in strangers:
        assert "approvedBy" in refusal(json.dumps(stranger).encode())


@pytest.mark.parametrize("name", sorted(json.loads(encode(STATEMENT))["predicate"]))
def test_a_missing_field_is_refused(name):
    found = document()
    del found["predicate"][name]
    refusal(json.dumps(found).encode())


@pytest.mark.parametrize("name", sorted(json.loads(encode(STATEMENT))["predicate"]))
@pytest.mark.parametrize("value", [True, 1.5], ids=repr)
def test_a_field_of_another_type_is_refused(name, value):
    refusal(json.dumps(document(**{name: value})).encode())


@pytest.mark.parametrize(
    "kind",
    [
        "https://tfops.dev/terraform-plan/v2",
        "https://tfops.dev/terraform-plan/v1/",
        "https://tfops.dev/apply-result/v1",
        "",
    ],
)
def test_another_predicate_or_version_is_refused_by_name(kind):
    message = refusal(json.dumps({**document(), "predicateType": kind}).encode())
    assert kind in message
    assert PLAN_TYPE in message


@pytest.mark.parametrize("kind", ["https://in-toto.io/Statement/v0.1", "https://in-toto.io/Statement/v2"])
def test_another_statement_version_is_refused(kind):
    refusal(json.dumps({**document(), "_type": kind}).encode())


def test_an_unknown_purpose_is_refused():
    refusal(json.dumps(document(purpose="anything")).encode())


@pytest.mark.parametrize("payload", [b"", b"null", b"[]", b"{}", b"\xff", b"[" * 100_000, b'{"a":' * 100_000])
def test_what_is_no_statement_is_refused(payload):
    refusal(payload)


def test_a_time_without_a_zone_is_refused():
    refusal(json.dumps(document(expiresOn="2026-03-08T12:00:00")).encode())


def names_of_failed(plan: PlanPredicate = PLAN, expected: Expected = EXPECTED, purpose: Purpose = Purpose.SYNC):
    return [check.name for check in binding_checks(plan, expected, purpose) if not check.ok]


def test_a_plan_that_is_bound_to_all_that_is_here_passes_every_check():
    checks = binding_checks(PLAN, EXPECTED, Purpose.SYNC)
    assert all(check.ok for check in checks)
    assert [check.name for check in checks] == [
        "store",
        "stack",
        "environment",
        "workspace",
        "root",
        "state address",
        "purpose",
        "fingerprint",
        "state lineage",
        "state serial",
        "terraform",
        "age",
    ]


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("store", {"store_id": "1" * 32}),
        ("stack", {"stack": "prod/app2"}),
        ("environment", {"environment": "staging"}),
        ("workspace", {"workspace": "blue"}),
        ("root", {"root": "environments/prod/db"}),
        ("fingerprint", {"fingerprint": "0" * 64}),
        ("state address", {"state": msgspec.structs.replace(PLAN.state, address="managed:x#default")}),
        ("state lineage", {"state": msgspec.structs.replace(PLAN.state, lineage="xyz")}),
        ("state lineage", {"state": msgspec.structs.replace(PLAN.state, lineage=None)}),
        ("state serial", {"state": msgspec.structs.replace(PLAN.state, serial=8)}),
        ("terraform", {"terraform": msgspec.structs.replace(PLAN.terraform, version="1.11.5")}),
        ("terraform", {"terraform": msgspec.structs.replace(PLAN.terraform, product="tofu")}),
        ("terraform", {"terraform": msgspec.structs.replace(PLAN.terraform, sha256="0" * 64)}),
    ],
)
def test_each_binding_that_does_not_fit_is_named_alone(name, fields):
    assert names_of_failed(expected=msgspec.structs.replace(EXPECTED, **fields)) == [name]


def test_every_field_that_is_expected_is_compared():
    """A field added to Expected without a check would be a gate that only seems to be there."""
    compared = {"store_id", "stack", "environment", "workspace", "root", "fingerprint", "state", "terraform", "now"}
    assert set(EXPECTED.__struct_fields__) == compared


@pytest.mark.parametrize("made_for", Purpose)
@pytest.mark.parametrize("used_as", Purpose)
def test_a_plan_is_applied_only_as_what_it_was_made_for(made_for, used_as):
    plan = msgspec.structs.replace(PLAN, purpose=made_for)
    assert names_of_failed(plan, purpose=used_as) == ([] if made_for is used_as else ["purpose"])


@pytest.mark.parametrize(
    ("now", "failed"),
    [
        (PLAN.expires_on, []),
        (PLAN.expires_on + timedelta(microseconds=1), ["age"]),
        (PLAN.finished_on - CLOCK_SKEW, []),
        (PLAN.finished_on - CLOCK_SKEW - timedelta(microseconds=1), ["age"]),
    ],
)
def test_a_plan_is_good_from_its_making_to_its_expiry_with_clocks_a_little_apart(now, failed):
    assert names_of_failed(expected=msgspec.structs.replace(EXPECTED, now=now)) == failed


def test_an_age_is_compared_across_time_zones():
    elsewhere = datetime.fromisoformat("2026-03-08T13:00:00+01:00")
    assert names_of_failed(expected=msgspec.structs.replace(EXPECTED, now=elsewhere)) == []


def test_a_check_says_what_was_found_what_is_here_and_why():
    stale = msgspec.structs.replace(EXPECTED, state=msgspec.structs.replace(PLAN.state, serial=9))
    (check,) = [check for check in binding_checks(PLAN, stale, Purpose.SYNC) if not check.ok]
    assert check.detail == ("the plan is for 7, this is 9; the plan is stale")


@given(PLANS, st.sampled_from(Purpose), TIMES)
def test_a_plan_for_anything_else_never_passes_every_check(plan, purpose, now):
    checks = binding_checks(plan, msgspec.structs.replace(EXPECTED, now=now), purpose)
    assert not all(check.ok for check in checks)


def test_what_differs_about_another_stacks_plan_is_only_whose_it_is():
    other = msgspec.structs.replace(EXPECTED, stack="prod/db", root="live/db", fingerprint="0" * 64)
    assert [check.name for check in binding_checks(PLAN, other, Purpose.SYNC)] == ["stack", "root"]


def test_a_file_must_be_there_and_be_byte_for_byte_what_was_signed():
    subjects = tuple(subject(name, name.encode()) for name in PLAN_FILES)
    good = {name: name.encode() for name in PLAN_FILES}
    assert [check.ok for check in check_files(subjects, good)] == [True] * 3
    missing = {name: data for name, data in good.items() if name != "plan.json"}
    assert [(c.name, c.detail) for c in check_files(subjects, missing) if not c.ok] == [("plan.json", "missing")]
    for other in (b"", b"plan.tfplan ", b"plan.tfplam"):
        found = check_files(subjects, {**good, "plan.tfplan": other})
        assert [(c.name, c.detail) for c in found if not c.ok] == [("plan.tfplan", "not the bytes that were signed")]


def test_requiring_checks_that_all_hold_says_nothing():
    require([Check(name="age", ok=True, detail="fine")], plan_id="a" * 64, stack="prod")


def test_requiring_names_every_check_that_failed_and_the_way_on():
    checks = [
        Check(name="stack", ok=True, detail="prod"),
        Check(name="state serial", ok=False, detail="stale"),
        Check(name="age", ok=False, detail="expired"),
    ]
    with pytest.raises(VerificationError) as refused:
        require(checks, plan_id="0123456789abcdef", stack="prod")
    (problem,) = refused.value.problems
    assert problem.code == "verify.state_serial"
    assert problem.message == "plan 0123456789ab may not be applied to prod: state serial: stale; age: expired"
    assert (problem.stack, problem.hint) == ("prod", "make a new plan: tfops plan prod")


@pytest.mark.parametrize("name", PLAN_FILES)
def test_the_code_of_a_failed_file_is_one_word(name):
    with pytest.raises(VerificationError) as refused:
        require([Check(name=name, ok=False, detail="missing")], plan_id="a" * 64, stack="prod")
    assert refused.value.problems[0].code == f"verify.{name.replace('.', '_')}"


def test_signed_values_cannot_be_changed_after_they_were_checked():
    with pytest.raises((AttributeError, dataclasses.FrozenInstanceError)):
        PLAN.stack = "prod/other"
