"""The audit log in the store: one object an entry, appended by a write that succeeds once."""

from collections.abc import Mapping

from tfops import dsse
from tfops.attestation import AuditHead, Check, encode
from tfops.audit import FIRST_PREVIOUS, AuditEntry, AuditPredicate, Event, decode_entry, statement
from tfops.errors import FailedError, VerificationError
from tfops.steps.opening import Session, now
from tfops.steps.store import sha256

PLACE = "audit"
TRIES = 50


def record(session: Session, event: Event, stack: str, *, reason: str, details: Mapping[str, str]) -> None:
    """Append an entry; it is in the store when this returns."""
    for _ in range(TRIES):
        last = _last(session)
        predicate = AuditPredicate(
            seq=last.seq + 1 if last else 1,
            previous=last.id if last else FIRST_PREVIOUS,
            event=event,
            store_id=session.store.id,
            stack=stack,
            reason=reason,
            details=dict(details),
            builder=session.builder,
            at=now(),
        )
        data = dsse.sign(encode(statement(predicate)), session.signer)
        if session.store.objects.create(_key(predicate.seq), data):
            return
    raise FailedError("too many runs write the audit log at once", code="store.conflict", hint="run again")


def record_unlock(session: Session, stack: str, lock: Mapping[str, object]) -> None:
    """A state lock that a dead run of ours left is about to be released."""
    details = {str(name): str(value) for name, value in lock.items()}
    record(session, Event.UNLOCK_STATE, stack, reason="left by a dead run of tfops", details=details)


def head(session: Session) -> AuditHead | None:
    """The last entry, for records to vouch for; read once a run. None for an empty log, and for a damaged end."""
    known = session.store.known_audit_head
    if not known:
        try:
            known.append(_last(session))
        except VerificationError as error:
            session.say("", f"{error}; look at it: tfops audit verify")
            known.append(None)
    return known[0]


def read(session: Session) -> tuple[dict[int, AuditEntry | None], list[Check]]:
    """Every entry by the number it lies under, None for one that does not verify; and what is wrong with those."""
    entries: dict[int, AuditEntry | None] = {}
    checks = []
    for name in session.store.objects.names(PLACE):
        number = _number(name)
        if number is None:
            checks.append(Check(name=name, ok=False, detail="does not belong into the log"))
            continue
        try:
            entries[number] = _entry(session, number)
        except VerificationError as error:
            entries[number] = None
            checks.append(Check(name=f"entry {number}", ok=False, detail=str(error)))
    return entries, checks


def _last(session: Session) -> AuditHead | None:
    # What lies there counts, whoever signed it: a key that is not trusted any more must not stop the log. That it is
    # good is for `tfops audit verify` to say.
    numbers = [number for name in session.store.objects.names(PLACE) if (number := _number(name))]
    if not numbers:
        return None
    payload = dsse.unverified_payload(_data(session, numbers[-1]), what=_what(numbers[-1]))
    return AuditHead(seq=numbers[-1], id=sha256(payload))


def _entry(session: Session, number: int) -> AuditEntry:
    what = _what(number)
    return decode_entry(dsse.verify(_data(session, number), session.keys, what=what), what=what)


def _data(session: Session, number: int) -> bytes:
    return session.store.objects.get(_key(number)) or b""


def _key(number: int) -> str:
    return f"{PLACE}/{number:012d}.json"


def _number(name: str) -> int | None:
    stem = name.removesuffix(".json")
    return int(stem) if stem.isascii() and stem.isdigit() and f"{PLACE}/{name}" == _key(int(stem)) else None


def _what(number: int) -> str:
    return f"the audit entry {number:012d}"
