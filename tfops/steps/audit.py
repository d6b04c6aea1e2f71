"""The audit log in the store: one object an entry, appended by a write that succeeds once."""

from collections.abc import Iterator, Mapping
from datetime import datetime

from tfops import dsse
from tfops.attestation import CLOCK_SKEW, AuditHead, Check, encode
from tfops.audit import FIRST_PREVIOUS, AuditEntry, AuditPredicate, Event, decode_entry, statement
from tfops.errors import FailedError, VerificationError
from tfops.steps.opening import Session, now
from tfops.steps.store import sha256

PLACE = "audit"
TRIES = 50


def record(session: Session, event: Event, stack: str, *, reason: str, details: Mapping[str, str]) -> None:
    """Append an entry; it is in the store when this returns.

    Raises FailedError `store.conflict` where other runs are faster each time.
    """
    end = session.store.audit_end
    with end.lock:
        if not end.is_known:
            end.move(_last(session))
        for _ in range(TRIES):
            predicate = AuditPredicate(
                seq=end.head.seq + 1 if end.head else 1,
                previous=end.head.id if end.head else FIRST_PREVIOUS,
                event=event,
                store_id=session.store.id,
                stack=stack,
                reason=reason,
                details=dict(details),
                builder=session.builder,
                at=now(),
            )
            payload = encode(statement(predicate))
            if session.store.objects.create(_key(predicate.seq), dsse.sign(payload, session.signer)):
                end.move(AuditHead(seq=predicate.seq, id=sha256(payload)))
                return
            end.move(_last(session))  # another run was first
    raise FailedError("too many runs write the audit log at once", code="store.conflict", hint="run again")


def record_unlock(session: Session, stack: str, lock: Mapping[str, object]) -> None:
    """A state lock that a dead run of ours left is about to be released."""
    details = {str(name): str(value) for name, value in lock.items()}
    record(session, Event.UNLOCK_STATE, stack, reason="left by a dead run of tfops", details=details)


def head(session: Session) -> AuditHead | None:
    """The last entry this run knows of, for records to vouch for; None for an empty log."""
    end = session.store.audit_end
    with end.lock:
        if not end.is_known:
            end.move(_last(session))
        return end.head


def since(session: Session, moment: datetime) -> Iterator[AuditEntry]:
    """The entries that verify and are not older than `moment`, latest first."""
    for number in reversed(_numbers(session)):
        try:
            entry = _entry(session, number)
        except VerificationError:
            continue
        if entry.record.at < moment - CLOCK_SKEW:
            return
        yield entry


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


def read_unverified(session: Session) -> dict[int, AuditEntry | None]:
    """Every entry by the number it lies under, whoever signed it; None for one that cannot be read.

    For what an entry that somebody made up could at worst refuse: a key that is not trusted any more hides nothing.
    """
    entries: dict[int, AuditEntry | None] = {}
    for number in _numbers(session):
        what = _what(number)
        try:
            entries[number] = decode_entry(dsse.unverified(_data(session, number), what=what), what=what)
        except VerificationError:
            entries[number] = None
    return entries


def _last(session: Session) -> AuditHead | None:
    # What lies there counts, whoever signed it: a key that is not trusted any more must not stop the log. That it is
    # good is for `tfops audit verify` to say.
    numbers = _numbers(session)
    if not numbers:
        return None
    data = _data(session, numbers[-1])
    try:
        payload = dsse.unverified_payload(data, what=_what(numbers[-1]))
    except VerificationError as error:
        session.say("", f"{error}; look at it: tfops audit verify")
        payload = data  # the log goes on behind it, and says what lay there
    return AuditHead(seq=numbers[-1], id=sha256(payload))


def _numbers(session: Session) -> list[int]:
    return [number for name in session.store.objects.names(PLACE) if (number := _number(name))]


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
