"""A store hands out only what was signed for it, forgets nothing, and never takes a plan twice."""

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import ClassVar

import msgspec
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st
from securesystemslib.signer import CryptoSigner

from tests.fakes import DyingObjects, Interruption, MemoryObjects
from tfops import dsse
from tfops.attestation import (
    PLAN_FILES,
    Builder,
    PlanPredicate,
    PlanStatement,
    Purpose,
    Source,
    StateRef,
    TerraformRef,
    encode,
    subject,
)
from tfops.checks import is_stack_id
from tfops.deployment import Claim, Result, ResultPredicate, ResultStatement
from tfops.errors import Exit, FailedError, TfopsError, UsageError, VerificationError
from tfops.steps.store import (
    STATEMENT,
    Store,
    Unfinished,
    artifact_from_directory,
    create_store,
    lease_name,
    lock_name,
    open_artifact,
    open_store,
    place_name,
    sha256,
    state_name,
)

ID = "0123456789abcdef" * 2
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
STATE = StateRef(address="managed:prod#default", lineage="abc", serial=8)
SOURCE = Source(branch="main", commit="c" * 40, tree="d" * 40)
BUILDER = Builder(runner="ci", host="build-1", run_id="r")


def signer(seed: bytes) -> CryptoSigner:
    return CryptoSigner(Ed25519PrivateKey.from_private_bytes(seed * 32))


def keys_of(one: CryptoSigner) -> dict[str, object]:
    pem = one._private_key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return {"ci": dsse.public_key(pem)}


OURS, THEIRS = signer(b"1"), signer(b"2")
KEYS = keys_of(OURS)
PAYLOADS = {name: name.encode() for name in PLAN_FILES}


def store(objects: MemoryObjects | None = None) -> Store:
    objects = objects or MemoryObjects()
    create_store(objects, ID)
    return open_store(objects, expected_id=ID, where="here")


def plan(stack: str = "prod", *, store_id: str = ID, run_id: str = "r", by: CryptoSigner = OURS) -> tuple[str, bytes]:
    """A signed plan: its id and its envelope."""
    predicate = PlanPredicate(
        purpose=Purpose.SYNC,
        store_id=store_id,
        stack=stack,
        environment="prod",
        workspace="default",
        root="",
        source=SOURCE,
        fingerprint="f",
        state=STATE,
        terraform=TerraformRef(product="terraform", version="1.11.4", sha256="e"),
        lock_file=None,
        variables=(),
        summary={},
        change_digest="a",
        change_set=(),
        base_fingerprint=None,
        builder=msgspec.structs.replace(BUILDER, run_id=run_id),
        started_on=NOW,
        finished_on=NOW,
        expires_on=NOW + timedelta(days=1),
        audit_head=None,
    )
    subjects = tuple(subject(name, data) for name, data in PAYLOADS.items())
    payload = encode(PlanStatement(subject=subjects, predicate=predicate))
    return sha256(payload), dsse.sign(payload, by)


def record(stack: str = "prod", *, store_id: str = ID, at: datetime = NOW, by: CryptoSigner = OURS) -> bytes:
    predicate = ResultPredicate(
        result=Result.APPLIED,
        purpose=Purpose.SYNC,
        store_id=store_id,
        stack=stack,
        environment="prod",
        workspace="default",
        root="",
        plan_id=None,
        given_plan_id=None,
        source=SOURCE,
        fingerprint="f",
        state=STATE,
        state_sha256="e",
        serial_before=7,
        resources=(),
        reason="",
        builder=BUILDER,
        started_on=at,
        finished_on=at,
    )
    return dsse.sign(encode(ResultStatement(subject=(), predicate=predicate)), by)


def unfinished(plan_id: str, *, given_plan_id: str | None = None) -> Unfinished:
    return Unfinished(plan_id=plan_id, given_plan_id=given_plan_id or plan_id, run_id="r", begun_on=NOW)


def claim(plan_id: str) -> Claim:
    return Claim(plan_id=plan_id, applied_plan_id=plan_id, run_id="r", host="h", pid=1, claimed_on=NOW)


def code(action, kind: type[TfopsError] = VerificationError) -> str:
    with pytest.raises(kind) as refused:
        action()
    (problem,) = refused.value.problems
    assert problem.hint
    return problem.code


class TestOpening:
    def test_a_new_store_is_opened_by_its_id(self):
        objects = MemoryObjects()
        id_ = create_store(objects)
        assert open_store(objects, expected_id=id_, where="here").id == id_
        assert len(bytes.fromhex(id_)) == 16
        assert len(objects.get("digest-key")) == 32

    def test_two_stores_have_nothing_in_common(self):
        one, other = MemoryObjects(), MemoryObjects()
        assert create_store(one) != create_store(other)
        assert one.get("digest-key") != other.get("digest-key")

    def test_making_a_store_again_changes_nothing(self):
        objects = MemoryObjects()
        id_ = create_store(objects, ID)
        before = {key: objects.get(key) for key in objects.keys("")}
        assert create_store(objects, "f" * 32) == id_ == create_store(objects)
        assert {key: objects.get(key) for key in objects.keys("")} == before

    def test_of_many_who_make_it_at_once_all_get_the_same(self):
        objects, found = MemoryObjects(), []
        threads = [threading.Thread(target=lambda: found.append(create_store(objects))) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(set(found)) == 1

    @pytest.mark.parametrize("writes", [0, 1])
    def test_a_making_that_was_cut_off_is_finished_by_the_next(self, writes):
        objects = DyingObjects(writes)
        with pytest.raises(Interruption):
            create_store(objects, ID)
        assert code(lambda: open_store(objects, expected_id=ID, where="here")) == "store.missing"
        objects.writes_left = 10
        assert create_store(objects, ID) == ID
        open_store(objects, expected_id=ID, where="here")

    def test_a_configuration_without_an_id_opens_nothing(self):
        objects = MemoryObjects()
        create_store(objects, ID)
        assert code(lambda: open_store(objects, expected_id=None, where="here")) == "store.no_id"

    def test_an_empty_place_is_never_taken_for_a_fresh_start(self):
        objects = MemoryObjects()
        assert code(lambda: open_store(objects, expected_id=ID, where="/srv/x")) == "store.missing"
        assert objects.keys("") == []

    @pytest.mark.parametrize("lost", ["digest-key", "store.json"])
    def test_a_store_of_which_half_is_lost_is_missing(self, lost):
        objects = MemoryObjects()
        create_store(objects, ID)
        objects.delete(lost)
        assert code(lambda: open_store(objects, expected_id=ID, where="here")) == "store.missing"

    def test_a_foreign_store_is_refused(self):
        objects = MemoryObjects()
        create_store(objects, "f" * 32)
        assert code(lambda: open_store(objects, expected_id=ID, where="here")) == "store.foreign"

    @pytest.mark.parametrize(
        "data",
        [
            b"",
            b"{",
            b"null",
            b"[]",
            b"{}",
            b"\xff",
            b'{"schema": "tfops.store/v2", "id": "x"}',
            b'{"schema": "tfops.store/v1"}',
            b'{"id": "x"}',
        ],
    )
    def test_a_damaged_or_newer_store_is_refused_and_never_made_anew(self, data):
        objects = MemoryObjects()
        objects.create("digest-key", b"k" * 32)
        objects.create("store.json", data)
        assert code(lambda: open_store(objects, expected_id=ID, where="here")) == "store.damaged"
        assert code(lambda: create_store(objects, ID)) == "store.damaged"
        assert objects.get("store.json") == data

    def test_every_refusal_ends_the_run_as_unverified(self):
        with pytest.raises(TfopsError) as refused:
            open_store(MemoryObjects(), expected_id=ID, where="here")
        assert refused.value.exit_code is Exit.UNVERIFIED


class TestHeads:
    def test_a_stack_that_never_converged_has_no_head(self):
        assert store().head("prod", KEYS) is None

    def test_a_head_is_the_last_record(self):
        one = store()
        for minute in range(3):
            one.move_head("prod/app", record("prod/app", at=NOW + timedelta(minutes=minute)))
        head = one.head("prod/app", KEYS)
        assert head.record.finished_on == NOW + timedelta(minutes=2)
        assert head.runner == "ci"

    @pytest.mark.parametrize(
        ("data", "expected"),
        [
            (record(by=THEIRS), "verify.unknown_key"),
            (record(stack="prod/other"), "verify.foreign_record"),
            (record(store_id="f" * 32), "verify.foreign_record"),
            (record()[:-1], "verify.envelope"),
            (record().replace(b"\n ", b"\n  "), "verify.envelope"),
            (b"", "verify.envelope"),
            (plan()[1], "verify.statement"),
        ],
    )
    def test_a_head_that_was_put_there_by_anybody_else_is_refused(self, data, expected):
        one = store()
        one.objects.create("prod/head.json", data)
        assert code(lambda: one.head("prod", KEYS)) == expected

    def test_of_two_who_move_a_head_at_the_same_moment_one_is_told(self):
        class Overtaken(MemoryObjects):
            """Somebody else writes between our reading and our writing."""

            def replace(self, key, data, *, expected):
                if key.endswith("head.json"):
                    super().replace(key, b"theirs", expected=self.get(key))
                return super().replace(key, data, expected=expected)

        one = store(Overtaken())
        assert code(lambda: one.move_head("prod", record()), FailedError) == "store.conflict"
        assert one.objects.get("prod/head.json") == b"theirs"


class TestPlans:
    def put(self, one: Store, stack: str = "prod", **fields: object) -> str:
        plan_id, envelope = plan(stack, **fields)
        one.put_plan(stack, plan_id, PAYLOADS, envelope)
        return plan_id

    def test_a_plan_is_found_by_the_beginning_of_its_id_and_comes_back_whole(self):
        one = store()
        plan_id = self.put(one, "prod/app")
        self.put(one, "prod/db")
        assert one.find_plan(plan_id[:12]) == ("prod/app", plan_id)
        artifact = one.plan("prod/app", plan_id, KEYS)
        assert artifact.id == plan_id
        assert artifact.statement.predicate.stack == "prod/app"
        assert artifact.files.items() >= PAYLOADS.items()

    def test_putting_the_same_plan_again_is_the_same(self):
        one = store()
        assert self.put(one) == self.put(one)

    def test_other_content_under_the_same_id_is_a_conflict(self):
        one = store()
        plan_id, envelope = plan()
        one.put_plan("prod", plan_id, PAYLOADS, envelope)
        other = {**PAYLOADS, "plan.tfplan": b"other"}
        assert code(lambda: one.put_plan("prod", plan_id, other, envelope), FailedError) == "store.conflict"
        assert one.plan_files("prod", plan_id)["plan.tfplan"] == b"plan.tfplan"

    @pytest.mark.parametrize("writes", range(len(PLAN_FILES) + 2))
    def test_a_plan_whose_writing_was_cut_off_is_of_no_use(self, writes):
        objects = DyingObjects(2 + writes)
        one = store(objects)
        plan_id, envelope = plan()
        with pytest.raises(Interruption):
            one.put_plan("prod", plan_id, PAYLOADS, envelope)
        assert STATEMENT not in one.plan_files("prod", plan_id)
        assert code(lambda: one.plan("prod", plan_id, KEYS)) == "verify.incomplete"
        objects.writes_left = 10
        one.put_plan("prod", plan_id, PAYLOADS, envelope)
        assert one.plan("prod", plan_id, KEYS).id == plan_id

    def test_a_plan_under_another_ones_name_is_refused(self):
        one = store()
        _, envelope = plan()
        one.objects.create(f"prod/plans/{'0' * 64}/{STATEMENT}", envelope)
        assert code(lambda: one.plan("prod", "0" * 64, KEYS)) == "verify.plan_id"

    def test_a_plan_that_nobody_trusted_signed_is_refused(self):
        one = store()
        plan_id = self.put(one, by=THEIRS)
        assert code(lambda: one.plan("prod", plan_id, KEYS)) == "verify.unknown_key"

    @pytest.mark.parametrize(
        "prefix", ["", "abc", "ABCDEF", "ghijkl", "../../x", "abcdef ", "abc/def", "0x1234", "*", "٣٣٣٣٣٣", "abcdef\n"]
    )
    def test_what_is_no_plan_id_is_wrong_usage(self, prefix):
        assert code(lambda: store().find_plan(prefix), UsageError) == "plan.not_found"

    def test_an_id_that_nobody_has_is_wrong_usage(self):
        one = store()
        self.put(one)
        assert code(lambda: one.find_plan("000000"), UsageError) == "plan.not_found"

    def test_an_ambiguous_id_is_asked_for_in_full(self):
        one = store()
        for number in range(2):
            one.put_plan("prod", f"abcdef{number}", {}, b"")
        with pytest.raises(UsageError) as refused:
            one.find_plan("abcdef")
        assert refused.value.problems[0].hint == "give more digits"
        assert one.find_plan("abcdef1") == ("prod", "abcdef1")


class TestClaims:
    def test_a_plan_is_claimed_once(self):
        one, (plan_id, _) = store(), plan()
        one.refuse_claimed("prod", plan_id)
        one.claim("prod", claim(plan_id))
        assert code(lambda: one.claim("prod", claim(plan_id))) == "verify.claimed"
        assert code(lambda: one.refuse_claimed("prod", plan_id)) == "verify.claimed"

    def test_of_many_who_claim_a_plan_exactly_one_may(self):
        one, (plan_id, _), won = store(), plan(), []

        def grab() -> None:
            try:
                one.claim("prod", claim(plan_id))
                won.append(True)
            except VerificationError:
                won.append(False)

        threads = [threading.Thread(target=grab) for _ in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert (won.count(True), won.count(False)) == (1, 15)

    def test_a_claim_is_open_until_there_is_a_result(self):
        one, (applied, given_) = store(), [plan(run_id=str(number))[0] for number in range(2)]
        for plan_id in (given_, applied):
            one.claim("prod", claim(plan_id))
        note = unfinished(applied, given_plan_id=given_)
        assert [found.plan_id for found in one.open_claims("prod", note)] == [applied, given_]
        one.put_result("prod", applied, record())
        assert [found.plan_id for found in one.open_claims("prod", note)] == [given_]
        one.put_result("prod", given_, record())
        assert one.open_claims("prod", note) == []

    def test_a_plan_that_was_applied_as_it_is_has_one_claim(self):
        one = store()
        one.claim("prod", claim("abcdef"))
        assert [found.plan_id for found in one.open_claims("prod", unfinished("abcdef"))] == ["abcdef"]

    def test_an_apply_that_died_before_its_claim_has_none(self):
        assert store().open_claims("prod", unfinished("abcdef")) == []

    def test_a_kept_state_without_an_apply_has_no_claim(self):
        assert store().open_claims("prod", unfinished("")) == []

    def test_claims_of_other_stacks_are_not_ours(self):
        one, (plan_id, _) = store(), plan()
        one.claim("prod/app", claim(plan_id))
        note = unfinished(plan_id)
        assert one.open_claims("prod", note) == one.open_claims("prod/ap", note) == []

    def test_what_a_claim_said_is_what_a_record_vouches_for(self):
        one = store()
        one.claim("prod", claim("abcdef"))
        written = one.objects.get("prod/plans/abcdef/claim.json")
        assert one.claim_data("prod", "abcdef") == store(one.objects).claim_data("prod", "abcdef") == written
        assert one.claim_data("prod", "fedcba") == b""

    @pytest.mark.parametrize("data", [b"", b"{", b"{}", b"null", b'{"planId": 1}', b"\xff"])
    def test_a_damaged_claim_is_not_passed_over(self, data):
        one = store()
        one.objects.create("prod/plans/abcdef/claim.json", data)
        assert code(lambda: one.open_claims("prod", unfinished("abcdef"))) == "verify.claim"
        assert code(lambda: one.refuse_claimed("prod", "abcdef")) == "verify.claimed"

    def test_a_journal_grows_line_by_line(self):
        one = store()
        assert one.events("prod", "abcdef") == b""
        one.journal("prod", "abcdef", b"1\n")
        one.journal("prod", "abcdef", b"2\n")
        assert one.events("prod", "abcdef") == b"1\n2\n"

    def test_a_result_is_written_once(self):
        one = store()
        one.put_result("prod", "abcdef", record())
        one.put_result("prod", "abcdef", record())
        other = record(at=NOW + timedelta(1))
        assert code(lambda: one.put_result("prod", "abcdef", other), FailedError) == "store.conflict"


class TestUnfinished:
    """Before a claim it is noted that an apply is under way: whoever comes after a crash looks there first."""

    def test_where_nothing_was_begun_nothing_is_open(self):
        assert store().unfinished("prod") is None

    def test_it_stays_until_it_is_settled(self):
        one, note = store(), unfinished("abcdef", given_plan_id="fedcba")
        one.begin_apply("prod", note)
        assert one.unfinished("prod") == note
        assert one.unfinished("prod/app") is None
        for _ in range(2):
            one.settle("prod")
        assert one.unfinished("prod") is None

    def test_the_next_apply_takes_the_place_of_the_last_one(self):
        one = store()
        for plan_id in ("abcdef", "fedcba", "fedcba"):
            one.begin_apply("prod", unfinished(plan_id))
        assert one.unfinished("prod").plan_id == "fedcba"

    @pytest.mark.parametrize("data", [b"", b"{", b"{}", b"null", b"\xff", b'{"plan_id": "x", "surprise": 1}'])
    def test_a_damaged_note_is_not_taken_for_none(self, data):
        one = store()
        one.objects.create("prod/unfinished", data)
        assert code(lambda: one.unfinished("prod")) == "store.damaged"

    def test_a_state_that_could_not_be_written_is_unfinished_business_even_without_an_apply(self):
        one = store()
        one.keep_errored_state("prod", b"state")
        assert one.unfinished("prod").plan_id == ""
        assert one.errored_states("prod") == [b"state"]

    def test_and_does_not_hide_the_apply_it_belongs_to(self):
        one, note = store(), unfinished("abcdef")
        one.begin_apply("prod", note)
        one.keep_errored_state("prod", b"state")
        assert one.unfinished("prod") == note

    def test_a_stack_may_be_called_so(self):
        one = store()
        one.begin_apply("prod", unfinished("abcdef"))
        one.move_head("prod/unfinished", record("prod/unfinished"))
        assert one.stacks() == ["prod/unfinished"]
        assert one.unfinished("prod").plan_id == "abcdef"


class TestGuard:
    """A run that no longer holds its stack writes nothing."""

    WRITES: ClassVar[dict[str, Callable[[Store], None]]] = {
        "put_plan": lambda one: one.put_plan("prod", "abcdef", {"a": b""}, b""),
        "claim": lambda one: one.claim("prod", claim("abcdef")),
        "begin_apply": lambda one: one.begin_apply("prod", unfinished("abcdef")),
        "settle": lambda one: one.settle("prod"),
        "journal": lambda one: one.journal("prod", "abcdef", b"x"),
        "put_result": lambda one: one.put_result("prod", "abcdef", b"x"),
        "move_head": lambda one: one.move_head("prod", record()),
        "keep_record": lambda one: one.keep_record("prod", "abcdef", b"x"),
        "keep_inputs": lambda one: one.keep_inputs("prod", "f", b"x"),
        "keep_errored_state": lambda one: one.keep_errored_state("prod", b"x"),
        "set_aside": lambda one: one.set_aside("prod", b"x"),
        "note_waiting": lambda one: one.note_waiting("prod", "ab" * 32),
        "note none waiting": lambda one: one.note_waiting("prod", None),
    }

    @staticmethod
    def lost() -> None:
        raise FailedError("lost", code="lock.lost", hint="x")

    @pytest.mark.parametrize("write", WRITES)
    def test_one_who_lost_the_stack_writes_nothing(self, write):
        objects = MemoryObjects()
        one = store(objects)
        one.begin_apply("prod", unfinished("before"))
        before = {key: objects.get(key) for key in objects.keys("")}
        assert code(lambda: self.WRITES[write](one.guarded(self.lost)), FailedError) == "lock.lost"
        assert {key: objects.get(key) for key in objects.keys("")} == before

    def test_one_who_lost_the_stack_may_still_read(self):
        one = store()
        plan_id, envelope = plan()
        one.put_plan("prod", plan_id, PAYLOADS, envelope)
        one.move_head("prod", record())
        one.journal("prod", plan_id, b"1\n")
        late = one.guarded(self.lost)
        assert late.head("prod", KEYS).record.stack == "prod"
        assert late.find_plan(plan_id[:12]) == ("prod", plan_id)
        assert late.plan("prod", plan_id, KEYS).id == plan_id
        assert late.events("prod", plan_id) == b"1\n"
        assert late.objects.keys("prod") == one.objects.keys("prod")

    def test_one_who_holds_it_is_asked_before_every_write(self):
        asked: list[int] = []
        one = store().guarded(lambda: asked.append(1))
        one.put_result("prod", "abcdef", b"x")
        one.journal("prod", "abcdef", b"x")
        assert len(asked) == 2

    def test_the_head_a_session_read_is_the_one_it_moves_from(self):
        one = store()
        one.move_head("prod", record())
        one.head("prod", KEYS)
        store(one.objects).move_head("prod", record(at=NOW + timedelta(1)))
        late = one.guarded(lambda: None)
        assert code(lambda: late.move_head("prod", record(at=NOW + timedelta(2))), FailedError) == "store.conflict"


class TestHistory:
    def test_deployments_are_told_oldest_first_whatever_their_plans_are_called(self):
        one = store()
        for name, minute in (("c" * 6, 1), ("a" * 6, 2), ("b" * 6, 0)):
            one.put_result("prod", name, record(at=NOW + timedelta(minutes=minute)))
        found, errors = one.deployments("prod", KEYS)
        assert [deployment.record.finished_on.minute for deployment in found] == [0, 1, 2]
        assert errors == []

    def test_one_forged_record_is_not_passed_over(self):
        one = store()
        one.put_result("prod", "a" * 6, record())
        one.put_result("prod", "b" * 6, record(by=THEIRS))
        found, (error,) = one.deployments("prod", KEYS)
        assert len(found) == 1
        assert error.problems[0].code == "verify.unknown_key"

    def test_a_result_that_two_plans_share_is_one_deployment(self):
        one = store()
        for name in ("a" * 6, "b" * 6):
            one.put_result("prod", name, record())
        assert len(one.deployments("prod", KEYS)[0]) == 1

    def test_a_record_without_a_plan_is_part_of_the_history(self):
        one = store()
        one.put_result("prod", "a" * 6, record(at=NOW + timedelta(1)))
        for _ in range(2):
            one.keep_record("prod", "r" * 6, record())
        assert [found.record.finished_on for found in one.deployments("prod", KEYS)[0]] == [NOW, NOW + timedelta(1)]

    def test_a_state_that_could_not_be_written_waits_until_it_is_set_aside(self):
        one = store()
        for state in (b"1", b"2", b"1"):
            one.keep_errored_state("prod", state)
        assert sorted(one.errored_states("prod")) == [b"1", b"2"]
        one.set_aside("prod", b"1")
        one.set_aside("prod", b"1")
        assert one.errored_states("prod") == [b"2"]
        assert one.objects.get(f"prod/set-aside/{sha256(b'1')}.tfstate") == b"1", "nothing is thrown away"

    def test_inputs_are_kept_by_fingerprint(self):
        one = store()
        assert one.inputs("prod", "f") is None
        one.keep_inputs("prod", "f", b"archive")
        one.keep_inputs("prod", "f", b"later")
        assert one.inputs("prod", "f") == b"archive"

    def test_a_waiting_plan_is_a_note_that_comes_and_goes(self):
        one = store()
        assert one.waiting_plan("prod") is None
        for note in ("ab" * 32, "ab" * 32, "de" * 32, None, None):
            one.note_waiting("prod", note)
            assert one.waiting_plan("prod") == note


NAMES_OF_ITS_OWN = [
    *("plans", "inputs", "records", "errored", "set-aside", "drift", "incidents", "lock", "waiting", "unfinished"),
    "lease.json",
]
PARTS = st.sampled_from([*NAMES_OF_ITS_OWN, "head.json", ".x", "x.json", "%70lans"]) | st.text(
    st.characters(exclude_characters="/", exclude_categories=["Cs", "Cc"]), min_size=1, max_size=8
)
STACKS = st.builds(
    lambda name, parts: "/".join([name, *parts]),
    st.sampled_from(["prod", "preview@x-1", "a.b"]),
    st.lists(PARTS, max_size=3),
).filter(is_stack_id)


class TestNames:
    @given(st.sets(STACKS, max_size=5))
    def test_stacks_of_any_name_stay_apart_and_are_all_found(self, stacks):
        one = store()
        for stack in stacks:
            one.move_head(stack, record(stack))
            one.note_waiting(stack, "w")
            plan_id, envelope = plan(stack)
            one.put_plan(stack, plan_id, {}, envelope)
        assert one.stacks() == sorted(stacks)
        for stack in stacks:
            assert one.is_known(stack)
            assert one.head(stack, KEYS).record.stack == stack
            assert one.find_plan(plan(stack)[0]) == (stack, plan(stack)[0])

    @given(STACKS, STACKS)
    def test_two_stacks_share_neither_lock_nor_lease_nor_state(self, one, other):
        for name in (lock_name, lease_name, state_name, place_name):
            assert (name(one) == name(other)) is (one == other)

    @given(STACKS, STACKS)
    def test_the_lease_of_one_stack_is_no_part_of_another_one(self, one, other):
        assert not lease_name(one).startswith(f"{lease_name(other)}/")
        assert lease_name(one) != place_name(other)

    @pytest.mark.parametrize("length", [150, 199, 200, 201, 900])
    def test_a_stack_of_any_length_is_found_by_one_listing(self, length):
        one, stack = store(), "prod/" + "ü" * (length - 5)
        one.put_plan(stack, "abcdef", {}, b"")
        assert one.stacks() == [stack]
        assert one.is_known(stack)
        assert not one.is_known(stack + "x")
        assert all(len(name) <= 200 for name in one.objects.names("stacks"))

    def test_a_stack_that_was_neither_planned_nor_converged_is_not_known(self):
        one = store()
        one.note_waiting("prod", "ab" * 32)
        one.begin_apply("prod", unfinished("abcdef"))
        assert one.stacks() == []
        assert not one.is_known("prod")

    def test_a_stack_is_known_before_the_first_byte_of_its_first_plan(self):
        """Or a killed run would leave a plan that nobody finds."""
        objects = DyingObjects(3)
        one = store(objects)
        with pytest.raises(Interruption):
            one.put_plan("prod", "abcdef", PAYLOADS, b"")
        assert one.is_known("prod")
        assert one.plan_ids("prod") == []

    @pytest.mark.parametrize("stack", ["prod/a b", "prod/ü", "preview@x-1/a", "prod/%2e%2e", "prod/a\\b", "prod/*"])
    def test_an_awkward_name_is_one_safe_path(self, stack):
        parts = lock_name(stack).split("/")
        assert len(parts) == stack.count("/") + 2
        assert all(part.isascii() and " " not in part and part not in {".", ".."} for part in parts)

    @pytest.mark.parametrize(
        "stack", ["prod/plans", "prod/inputs", "prod/drift/app", "prod/incidents", "prod/app.json"]
    )
    def test_a_root_module_may_be_called_as_the_store_calls_its_own(self, stack):
        one = store()
        one.move_head(stack, record(stack))
        assert one.stacks() == [stack]

    @pytest.mark.parametrize(
        "stack",
        [
            *("digest-key", "store.json", "prod.json", "audit/x", "prod/.archive", "prod/lock", "prod/waiting"),
            *("prod/head.json", "prod/x/records", "prod/\udcff", "trust", "prod/..x", "stacks", "probe", "stacks/x"),
            *("prod/unfinished", "prod/lease.json", "~x", "prod-state"),
        ],
    )
    def test_no_stack_comes_into_the_way_of_the_stores_own_files(self, stack):
        one = store()
        before = {key: one.objects.get(key) for key in one.objects.keys("")}
        one.move_head(stack, record("x"))
        one.note_waiting(stack, "abc")
        one.move_head("prod/app", record("prod/app"))
        assert one.stacks() == sorted([stack, "prod/app"])
        assert {key: one.objects.get(key) for key in before} == before
        place = lock_name(stack).removesuffix("/lock")
        assert not any(part.startswith(".") for part in place.split("/"))


class TestArtifacts:
    def test_an_artifact_in_a_directory_is_its_known_files_only(self, tmp_path):
        plan_id, envelope = plan()
        for name, data in {**PAYLOADS, STATEMENT: envelope, "notes.txt": b"x"}.items():
            (tmp_path / name).write_bytes(data)
        found = artifact_from_directory(tmp_path)
        assert set(found) == {*PLAN_FILES, STATEMENT}
        assert open_artifact(found, KEYS, where="here").id == plan_id

    def test_a_directory_that_is_not_there_is_wrong_usage(self, tmp_path):
        assert code(lambda: artifact_from_directory(tmp_path / "gone"), UsageError) == "plan.not_found"

    def test_what_has_no_statement_is_no_artifact(self):
        assert code(lambda: open_artifact(PAYLOADS, KEYS, where="here")) == "verify.incomplete"
