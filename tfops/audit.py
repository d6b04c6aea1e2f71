"""The log of what was done to locks and states by somebody's decision: entries chained by digest, each one signed."""

from collections.abc import Mapping
from enum import StrEnum

import msgspec

from tfops.attestation import STATEMENT_TYPE, Builder, Digest, Document, Moment, Subject, decode
from tfops.dsse import Verified

AUDIT_TYPE = "https://tfops.dev/audit-entry/v1"
FIRST_PREVIOUS = "0" * 64


class Event(StrEnum):
    """What happened."""

    UNLOCK_STATE = "unlock-state"
    RELEASE_LEASE = "release-lease"
    PUSH_STATE = "push-state"
    ACKNOWLEDGE_DRIFT = "acknowledge-drift"


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


def statement(predicate: AuditPredicate) -> AuditStatement:
    """The statement of an entry: it speaks about the entry before it."""
    previous = Subject(name="previous-entry", digest=Digest(sha256=predicate.previous))
    return AuditStatement(subject=(previous,), predicate=predicate)


def decode_entry(verified: Verified, *, what: str) -> AuditEntry:
    """An entry from a verified payload."""
    found = decode(verified.payload, AuditStatement, AUDIT_TYPE, what=what)
    return AuditEntry(id=verified.id, runner=verified.signer, record=found.predicate)
