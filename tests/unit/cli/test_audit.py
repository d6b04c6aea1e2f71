"""What `tfops audit verify` leaves in one's hands."""

from datetime import UTC, datetime

from tests.unit.test_audit import predicate
from tfops.audit import AuditEntry, parse_anchor
from tfops.cli.audit import verdict
from tfops.workflows.audit import AuditLog


def test_it_ends_with_the_whole_command_for_the_next_time():
    entry = AuditEntry(id="a" * 64, runner="ci", record=predicate(at=datetime(2026, 6, 1, tzinfo=UTC)))
    log = AuditLog(entries=(entry,), checks=())
    last = verdict(log, None).plain.splitlines()[-1].strip()
    assert last == f"tfops audit verify --anchor {entry.record.seq}:{'a' * 64}"
    assert parse_anchor(last.split()[-1]).head == log.head
    assert verdict(log, "trunk").plain.endswith(" --branch trunk")


def test_a_log_without_entries_has_nothing_to_keep():
    assert "the audit log is empty" in verdict(AuditLog(entries=(), checks=()), None).plain
