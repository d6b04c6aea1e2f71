"""The log of what people and runs decided and did: entries chained by digest, each one signed.

The chain shows what was edited, moved or taken out. That its end was cut off shows only against an *anchor*, the
number and id of an entry that somebody else keeps: plans and deployments do, and so does whoever notes one down.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from itertools import pairwise

import msgspec

from tfops.attestation import STATEMENT_TYPE, AuditHead, Builder, Check, Digest, Document, Moment, Subject, decode
from tfops.dsse import Verified
from tfops.errors import UsageError

AUDIT_TYPE = "https://tfops.dev/audit-entry/v1"
FIRST_PREVIOUS = "0" * 64
_ANCHOR = re.compile(r"([1-9][0-9]{0,11}):([0-9a-f]{64})")


class Event(StrEnum):
    """What happened."""

    UNLOCK_STATE = "unlock-state"
    RELEASE_LEASE = "release-lease"
    PUSH_STATE = "push-state"
    ACKNOWLEDGE_DRIFT = "acknowledge-drift"
    CHANGE_RULES = "change-rules"
    OVERRIDE_GATE = "override-gate"
    CLAIM = "claim"
    APPLY = "apply"
    DECISION = "decision"
    ADOPT_STATE = "adopt-state"


class AuditPredicate(Document, frozen=True, kw_only=True):
    """One entry. `previous` is the id of the entry before it."""

    seq: int
    previous: str
    event: Event
    store_id: str
    stack: str
    reason: str
    details: Mapping[str, str]
    builder: Builder
    at: Moment


class AuditStatement(Document, frozen=True, kw_only=True, rename={"type_": "_type", "predicate_type": "predicateType"}):
    """The signed document of an entry."""

    type_: str = STATEMENT_TYPE
    predicate_type: str = AUDIT_TYPE
    subject: tuple[Subject, ...]
    predicate: AuditPredicate


class AuditEntry(msgspec.Struct, frozen=True, kw_only=True):
    """A verified entry and its id (sha256 of the signed bytes)."""

    id: str
    runner: str
    record: AuditPredicate

    @property
    def head(self) -> AuditHead:
        """What an anchor says of it."""
        return AuditHead(seq=self.record.seq, id=self.id)


class Anchor(msgspec.Struct, frozen=True, kw_only=True):
    """An entry that somebody says was there, and who says so."""

    head: AuditHead
    where: str


def statement(predicate: AuditPredicate) -> AuditStatement:
    """The statement of an entry: it speaks about the entry before it."""
    previous = Subject(name="previous-entry", digest=Digest(sha256=predicate.previous))
    return AuditStatement(subject=(previous,), predicate=predicate)


def decode_entry(verified: Verified, *, what: str) -> AuditEntry:
    """An entry from a verified payload."""
    found = decode(verified.payload, AuditStatement, AUDIT_TYPE, what=what)
    return AuditEntry(id=verified.id, runner=verified.signer, record=found.predicate)


def anchor_text(head: AuditHead) -> str:
    """An entry as people note it down: NUMBER:ID."""
    return f"{head.seq}:{head.id}"


def parse_anchor(text: str) -> Anchor:
    """An anchor as `anchor_text` writes it; raises UsageError for anything else."""
    match = _ANCHOR.fullmatch(text.strip())
    if match is None:
        raise UsageError(
            f"{text!r} is no anchor",
            code="usage.anchor",
            hint="give NUMBER:ID, as an earlier `tfops audit verify` printed it",
        )
    return Anchor(head=AuditHead(seq=int(match[1]), id=match[2]), where="the anchor you gave")


def chain_checks(entries: Mapping[int, AuditEntry | None], *, store_id: str) -> list[Check]:
    """What is wrong with the chain, by the number each entry lies under; None stands for one that did not verify.

    Empty where every entry from the first to the last is there, in its place, and follows the one before it.
    """
    checks = []
    for before, number in pairwise([0, *sorted(entries)]):
        if number - before > 1:
            # Told as one: who may write to the store can put an entry under any number.
            gap = f"entry {number - 1}" if number - before == 2 else f"entries {before + 1} to {number - 1}"
            checks.append(Check(name=gap, ok=False, detail="missing: it was taken out"))
        if (entry := entries[number]) is not None:
            checks += _entry_checks(number, entry, entries, store_id)
    return checks


def _entry_checks(
    number: int, entry: AuditEntry, entries: Mapping[int, AuditEntry | None], store_id: str
) -> Iterable[Check]:
    record = entry.record
    if record.store_id != store_id:
        yield _failed(number, f"it belongs to store {record.store_id[:12]}")
    if record.seq != number:
        yield _failed(number, f"it is entry {record.seq}: somebody moved it")
        return
    before = entries.get(number - 1)
    expected = FIRST_PREVIOUS if number == 1 else before.id if before is not None else None
    if expected is not None and record.previous != expected:
        yield _failed(number, f"it follows {record.previous[:12]}…, but the entry before it is {expected[:12]}…")


def anchor_checks(entries: Mapping[int, AuditEntry | None], anchors: Sequence[Anchor]) -> list[Check]:
    """One check for each anchor: is what it names still there, and still the same?"""
    return [_anchor_check(entries, anchor) for anchor in anchors]


def _anchor_check(entries: Mapping[int, AuditEntry | None], anchor: Anchor) -> Check:
    head, last = anchor.head, max(entries, default=0)
    found = entries.get(head.seq)
    if head.seq > last:
        detail = f"names entry {head.seq}, but the log ends at {last}: its end was cut off"
    elif found is None or found.id != head.id:
        detail = f"names entry {head.seq} as {head.id[:12]}…, which is not the one that is there: it was replaced"
    else:
        return Check(name="anchor", ok=True, detail=f"{anchor.where}: entry {head.seq}")
    return Check(name="anchor", ok=False, detail=f"{anchor.where} {detail}")


def _failed(number: int, detail: str) -> Check:
    return Check(name=f"entry {number}", ok=False, detail=detail)
