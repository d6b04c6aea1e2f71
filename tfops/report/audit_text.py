"""The audit log as a person reads it: what happened, why, and who it was."""

from collections.abc import Iterable, Mapping
from datetime import datetime

from rich.table import Table
from rich.text import Text

from tfops.audit import AuditEntry, Event
from tfops.report.neutral import neutral
from tfops.report.tables import table

_PEOPLE = {Event.DECISION: "person", Event.OVERRIDE_GATE: "approved_by"}
"""Where an entry that a runner made of what people decided names them."""


def audit_table(entries: Iterable[AuditEntry]) -> Table:
    """One line per entry of the audit log, oldest first."""
    found = table("entry", "at", "event", "stack", "why", "by")
    for entry in entries:
        record = entry.record
        found.add_row(
            str(record.seq),
            f"{record.at:%Y-%m-%d %H:%M:%S}Z",
            record.event.value,
            Text(neutral(record.stack), "bold"),
            Text(neutral(_why(entry))),
            Text(neutral(_by(entry))),
        )
    return found


def _why(entry: AuditEntry) -> str:
    record = entry.record
    # An entry is made when a run first sees the decision, which may be long after it was made.
    decided = _moment(record.details) if record.event is Event.DECISION else ""
    return f"{record.reason} (decided {decided})" if decided else record.reason


def _by(entry: AuditEntry) -> str:
    runner = f"{entry.runner} ({entry.record.builder.host})"
    people = entry.record.details.get(_PEOPLE.get(entry.record.event, ""))
    return f"{people}; entered by {runner}" if people else runner


def _moment(details: Mapping[str, str]) -> str:
    """The moment of a decision; "" where a runner entered none that can be read."""
    try:
        moment = datetime.fromisoformat(details.get("decided_on", ""))
    except ValueError:
        return ""
    return moment.isoformat(" ", "seconds").replace("+00:00", "Z")  # in its own zone: every moment can be written so
