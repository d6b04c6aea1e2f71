"""Writing the audit log: one object an entry, appended by a write that succeeds once."""

from collections.abc import Mapping

from tfops import dsse
from tfops.attestation import encode
from tfops.audit import FIRST_PREVIOUS, AuditEntry, AuditPredicate, Event, decode_entry, statement
from tfops.errors import FailedError
from tfops.steps.opening import Session, now

PLACE = "audit"
TRIES = 50


def record(session: Session, event: Event, stack: str, *, reason: str, details: Mapping[str, str]) -> None:
    """Append an entry; it is in the store when this returns."""
    for _ in range(TRIES):
        seq, previous = _last(session)
        predicate = AuditPredicate(
            seq=seq + 1,
            previous=previous,
            event=event,
            store_id=session.store.id,
            stack=stack,
            reason=reason,
            details=dict(details),
            builder=session.builder,
            at=now(),
        )
        data = dsse.sign(encode(statement(predicate)), session.signer)
        if session.store.objects.create(f"{PLACE}/{seq + 1:012d}.json", data):
            return
    raise FailedError("too many runs write the audit log at once", code="store.conflict", hint="run again")


def record_unlock(session: Session, stack: str, lock: Mapping[str, object]) -> None:
    """A state lock that a dead run of ours left is about to be released."""
    details = {str(name): str(value) for name, value in lock.items()}
    record(session, Event.UNLOCK_STATE, stack, reason="left by a dead run of tfops", details=details)


def entries(session: Session) -> list[AuditEntry]:
    """Every entry, verified, in its order."""
    names = session.store.objects.names(PLACE)
    return [_entry(session, name) for name in names]


def _last(session: Session) -> tuple[int, str]:
    names = session.store.objects.names(PLACE)
    if not names:
        return 0, FIRST_PREVIOUS
    last = _entry(session, names[-1])
    return last.record.seq, last.id


def _entry(session: Session, name: str) -> AuditEntry:
    what = f"the audit entry {name.removesuffix('.json')}"
    data = session.store.objects.get(f"{PLACE}/{name}") or b""
    return decode_entry(dsse.verify(data, session.keys, what=what), what=what)
