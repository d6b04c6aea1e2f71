"""Reading and writing what the store remembers of a stack's scans (DESIGN.md §6: `drift/`, `incidents/`)."""

from collections.abc import Callable, Iterable

import msgspec

from tfops.adapters.objects import Objects
from tfops.errors import FailedError, VerificationError
from tfops.incidents import Incident
from tfops.scan_record import ScanRecord
from tfops.steps.store import place_name

ATTEMPTS = 5


def recall(objects: Objects, stack: str) -> ScanRecord | None:
    """The stack's record; None where it was never scanned. Raises VerificationError `store.damaged`."""
    return _decoded(objects.get(_key(stack)), stack)


def remember(objects: Objects, stack: str, change: Callable[[ScanRecord | None], ScanRecord]) -> ScanRecord:
    """Replace the stack's record by what `change` makes of it; it is called again where another scan came between.

    A record that says something new is kept besides, under its time.
    """
    for _ in range(ATTEMPTS):
        data = objects.get(_key(stack))
        before = _decoded(data, stack)
        record = change(before)
        if objects.replace(_key(stack), msgspec.json.encode(record), expected=data):
            if before is None or not record.is_like(before):
                objects.create(f"{place_name(stack)}/drift/{_time(record)}.json", msgspec.json.encode(record))
            return record
    raise FailedError(
        f"{stack}: other scans kept changing its record",
        code="store.conflict",
        hint="nothing is lost; scan it once more, alone",
        stack=stack,
    )


def keep_closed(objects: Objects, stack: str, incidents: Iterable[Incident]) -> None:
    """Keep closed incidents, each once, for who asks what happened."""
    for incident in incidents:
        objects.create(f"{place_name(stack)}/incidents/{incident.id}.json", msgspec.json.encode(incident))


def _key(stack: str) -> str:
    return f"{place_name(stack)}/drift/last.json"


def _time(record: ScanRecord) -> str:
    return f"{record.scanned_on:%Y%m%dT%H%M%S.%fZ}"


def _decoded(data: bytes | None, stack: str) -> ScanRecord | None:
    try:
        return None if data is None else msgspec.json.decode(data, type=ScanRecord)
    except msgspec.MsgspecError as error:
        raise VerificationError(
            f"{stack}: the record of its scans cannot be read: {error}",
            code="store.damaged",
            hint=f"another version of tfops wrote it: use that one; else remove {_key(stack)} from the store: "
            "open incidents begin anew, plans and records are not touched",
            stack=stack,
        ) from error
