"""`tfops drift --ack`: somebody knows of an incident, says why it may stay, and until when."""

import getpass
import socket
from datetime import datetime

import msgspec

from tfops.audit import Event
from tfops.errors import UsageError
from tfops.incidents import STACK_ITSELF, Acknowledgement, Incident
from tfops.incidents import acknowledge as acknowledged
from tfops.scan_record import ScanRecord
from tfops.stacks import discover
from tfops.steps import audit
from tfops.steps.memory import recall, remember
from tfops.steps.opening import Session, now
from tfops.steps.selection import select


def acknowledge(
    session: Session, names: tuple[str, ...], address: str, *, reason: str, until: datetime
) -> tuple[str, Incident]:
    """Acknowledge the open incident of `address`, in the one stack that has it. Signed into the audit log.

    Raises UsageError where no stack, or more than one, has such an incident.
    """
    stacks = {stack.id: stack for stack in discover(session.config, session.tree, session.revision.branch)}
    chosen = select(stacks, names)
    records = {name: record for name in chosen if (record := recall(session.store.objects, name)) is not None}
    stack = _only(records, address)
    said = Acknowledgement(reason=reason, by=_person(session), on=now(), until=until)

    def change(before: ScanRecord | None) -> ScanRecord:
        record = before or records[stack]
        incidents = acknowledged(record.incidents, address, said, stack=stack)
        return msgspec.structs.replace(record, incidents=incidents)

    change(records[stack])  # refuse before anything is written
    details = {"address": address, "by": said.by, "until": until.isoformat()}
    audit.record(session, Event.ACKNOWLEDGE_DRIFT, stack, reason=reason, details=details)
    record = remember(session.store.objects, stack, change)
    wanted = {address, STACK_ITSELF} if address == stack else {address}
    return stack, next(one for one in record.incidents if one.address in wanted)


def _only(records: dict[str, ScanRecord], address: str) -> str:
    having = [
        name
        for name, record in records.items()
        if address == name or any(one.address == address for one in record.incidents)
    ]
    if len(having) == 1:
        return having[0]
    if having:
        raise UsageError(
            f"several stacks have an incident of {address}: {', '.join(having)}",
            code="usage.unknown_incident",
            hint=f"name one: tfops drift {having[0]} --ack '{address}' …",
        )
    known = [one.address for record in records.values() for one in record.incidents]
    raise UsageError(
        f"there is no open incident of {address}",
        code="usage.unknown_incident",
        hint=f"open ones: {', '.join(known[:5])}" if known else "none is open; tfops drift finds them",
    )


def _person(session: Session) -> str:
    try:
        return f"{getpass.getuser()}@{socket.gethostname()}"
    except (KeyError, OSError):
        return session.runner
