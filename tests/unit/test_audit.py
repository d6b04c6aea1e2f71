"""The audit log is a chain: an entry names the one before it, and none can be changed, moved or left out unseen."""

from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from securesystemslib.signer import CryptoSigner

from tfops import dsse
from tfops.attestation import AuditHead, Builder, Check, encode
from tfops.audit import (
    FIRST_PREVIOUS,
    Anchor,
    AuditEntry,
    AuditPredicate,
    Event,
    anchor_checks,
    chain_checks,
    decode_entry,
    parse_anchor,
    statement,
)
from tfops.errors import Exit, TfopsError, UsageError, VerificationError


def signer(seed: bytes) -> CryptoSigner:
    return CryptoSigner(Ed25519PrivateKey.from_private_bytes(seed * 32))


def keys_of(one: CryptoSigner) -> dict[str, Any]:
    pem = one._private_key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return {"ci": dsse.public_key(pem)}


OURS, THEIRS = signer(b"1"), signer(b"2")
KEYS = keys_of(OURS)


def predicate(**fields: Any) -> AuditPredicate:
    given = {
        "seq": 1,
        "previous": FIRST_PREVIOUS,
        "event": Event.RELEASE_LEASE,
        "store_id": "0" * 32,
        "stack": "prod/app",
        "reason": "the runner burnt down",
        "details": {"holder": "tfops sync, process 7 on build-1"},
        "builder": Builder(runner="ci", host="h", run_id="r"),
        "at": datetime(2026, 3, 1, 12, tzinfo=UTC),
    }
    return AuditPredicate(**{**given, **fields})


def signed(by: CryptoSigner = OURS, **fields: Any) -> bytes:
    return dsse.sign(encode(statement(predicate(**fields))), by)


def opened(envelope: bytes) -> AuditEntry:
    return decode_entry(dsse.verify(envelope, KEYS, what="the audit entry"), what="the audit entry")


def chain(length: int) -> list[bytes]:
    """Entries as a run appends them, each after it has read the last one."""
    envelopes: list[bytes] = []
    previous = FIRST_PREVIOUS
    for number in range(length):
        envelopes.append(signed(seq=number + 1, previous=previous))
        previous = opened(envelopes[-1]).id
    return envelopes


@pytest.mark.parametrize("event", Event)
def test_an_entry_comes_back_as_it_was_written(event):
    entry = opened(signed(event=event))
    assert entry.record == predicate(event=event)
    assert entry.runner == "ci"


def test_an_entry_speaks_about_the_one_before_it():
    previous = "ab" * 32
    (subject,) = statement(predicate(previous=previous)).subject
    assert (subject.name, subject.digest.sha256) == ("previous-entry", previous)


def test_the_first_one_has_none_before_it():
    assert opened(chain(1)[0]).record.previous == FIRST_PREVIOUS == "0" * 64


def test_each_names_the_id_of_the_one_before():
    entries = [opened(envelope) for envelope in chain(5)]
    assert [entry.record.seq for entry in entries] == [1, 2, 3, 4, 5]
    assert all(later.record.previous == earlier.id for earlier, later in pairwise(entries))


@pytest.mark.parametrize(
    "change", [{"reason": "another"}, {"seq": 2}, {"details": {}}, {"stack": "prod"}, {"store_id": "1" * 32}]
)
def test_whatever_is_changed_in_one_changes_its_id(change):
    assert opened(signed(**change)).id != opened(signed()).id


def test_two_entries_of_the_same_words_differ_by_what_stands_before_them():
    assert opened(signed(previous="a" * 64)).id != opened(signed(previous="b" * 64)).id


def refusal(envelope: bytes) -> TfopsError:
    with pytest.raises(VerificationError) as refused:
        opened(envelope)
    assert refused.value.exit_code is Exit.UNVERIFIED
    return refused.value


def test_an_entry_by_an_unknown_key_is_refused():
    assert refusal(signed(by=THEIRS)).problems[0].code == "verify.unknown_key"


@pytest.mark.parametrize("position", [0.1, 0.3, 0.5, 0.7, 0.9])
def test_an_entry_of_which_a_byte_was_changed_is_refused(position):
    envelope = bytearray(signed())
    place = int(len(envelope) * position)
    envelope[place] ^= 1
    refusal(bytes(envelope))


def test_an_entry_with_a_field_that_this_version_does_not_know_is_refused():
    document = msgspec.json.decode(encode(statement(predicate())))
    document["predicate"]["surprise"] = 1
    refusal(dsse.sign(msgspec.json.encode(document), OURS))


def test_an_event_that_this_version_does_not_know_is_refused():
    document = msgspec.json.decode(encode(statement(predicate())))
    document["predicate"]["event"] = "burn-down"
    refusal(dsse.sign(msgspec.json.encode(document), OURS))


def test_what_was_signed_as_something_else_is_no_entry():
    document = msgspec.json.decode(encode(statement(predicate())))
    document["predicateType"] = "https://tfops.dev/apply-result/v1"
    refusal(dsse.sign(msgspec.json.encode(document), OURS))


def test_an_events_name_never_changes_from_one_version_to_the_next():
    names = "unlock-state release-lease push-state acknowledge-drift change-rules override-gate"
    assert [event.value for event in Event] == [*names.split(), "claim", "apply", "decision", "adopt-state"]


def log(length: int) -> dict[int, AuditEntry | None]:
    return {number: opened(envelope) for number, envelope in enumerate(chain(length), start=1)}


def faults(entries: dict[int, AuditEntry | None]) -> list[str]:
    checks = chain_checks(entries, store_id="0" * 32)
    assert not any(check.ok for check in checks)
    return [check.name for check in checks]


@pytest.mark.parametrize("length", [0, 1, 5])
def test_nothing_is_wrong_with_a_whole_chain(length):
    assert faults(log(length)) == []


@pytest.mark.parametrize("number", [1, 2, 4])
def test_an_entry_that_was_taken_out_is_named(number):
    entries = log(5)
    del entries[number]
    assert faults(entries) == [f"entry {number}"]


def test_an_entry_put_under_a_number_far_away_is_told_at_once():
    entries = log(2)
    entries[10**12 - 1] = entries[2]
    assert faults(entries) == ["entries 3 to 999999999998", "entry 999999999999"]


def test_two_entries_that_changed_places_are_named():
    entries = log(5)
    entries[2], entries[4] = entries[4], entries[2]
    assert {"entry 2", "entry 4"} <= set(faults(entries))


def test_an_entry_that_a_key_holder_wrote_anew_does_not_fit_the_next_one():
    entries = log(5)
    entries[3] = opened(signed(seq=3, previous=entries[2].id, reason="nothing to see"))  # type: ignore[union-attr]
    assert faults(entries) == ["entry 4"]


def test_one_that_does_not_verify_is_told_by_its_signature_and_blames_no_other():
    assert faults(log(5) | {3: None}) == []


def test_an_entry_of_another_store_is_named():
    entries = {1: opened(signed(store_id="f" * 32))}
    (check,) = chain_checks(entries, store_id="0" * 32)
    assert check == Check(name="entry 1", ok=False, detail="it belongs to store ffffffffffff")


def anchored(entries: dict[int, AuditEntry | None], head: AuditHead) -> Check:
    (check,) = anchor_checks(entries, [Anchor(head=head, where="deployment abc")])
    return check


@pytest.mark.parametrize("number", [1, 3, 5])
def test_an_anchor_holds_for_as_long_as_its_entry_is_there(number):
    entries = log(5)
    entry = entries[number]
    assert entry is not None
    assert anchored(entries, entry.head).ok


def test_an_anchor_shows_that_the_end_was_cut_off():
    whole = log(5)
    check = anchored({number: entry for number, entry in whole.items() if number < 4}, whole[5].head)  # type: ignore[union-attr]
    assert not check.ok
    assert check.detail == "deployment abc names entry 5, but the log ends at 3: its end was cut off"


def test_an_anchor_shows_that_the_whole_log_is_gone():
    assert not anchored({}, log(1)[1].head).ok  # type: ignore[union-attr]


def test_an_anchor_shows_that_a_key_holder_wrote_the_end_anew():
    whole = log(3)
    forged = whole | {3: opened(signed(seq=3, previous=whole[2].id, reason="nothing to see"))}  # type: ignore[union-attr]
    assert faults(forged) == []
    assert not anchored(forged, whole[3].head).ok  # type: ignore[union-attr]


def test_an_anchor_is_read_as_it_is_printed():
    entry = opened(signed())
    assert parse_anchor(f"1:{entry.id}\n").head == entry.head


@pytest.mark.parametrize("text", ["", "1", "0:" + "a" * 64, "1:" + "a" * 63, "1:" + "A" * 64, "x:" + "a" * 64])
def test_what_is_no_anchor_is_a_usage_error(text):
    with pytest.raises(UsageError) as refused:
        parse_anchor(text)
    assert refused.value.problems[0].code == "usage.anchor"
