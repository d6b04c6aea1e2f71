"""What a person reads of the audit log: of a decision, whose it is and when it was made."""

from typing import Any

import pytest
from rich.console import Console

from tests.unit.test_audit import predicate
from tfops.attestation import Builder
from tfops.audit import AuditEntry, Event
from tfops.report.audit_text import audit_table


def text(**fields: Any) -> str:
    entry = AuditEntry(id="a" * 64, runner="ci", record=predicate(**fields))
    console = Console(width=250)
    with console.capture() as captured:
        console.print(audit_table([entry]))
    return captured.get()


def decision(**details: str) -> str:
    return text(event=Event.DECISION, reason="alice approved aaaaaaaaaaaa, past protect", details=details)


def test_a_decision_says_when_it_was_made_and_by_whom():
    found = decision(person="alice", decided_on="2026-03-01T09:08:07.123456+00:00")
    assert "2026-03-01 12:00:00Z" in found, "when it was entered"
    assert "alice approved aaaaaaaaaaaa, past protect (decided 2026-03-01 09:08:07Z)" in found
    assert "alice; entered by ci (h)" in found


@pytest.mark.parametrize(
    ("moment", "words"),
    [("yesterday", "past protect  "), ("0001-01-01T00:00:00+14:00", "(decided 0001-01-01 00:00:00+14:00)")],
)
def test_no_moment_that_somebody_signed_keeps_the_log_from_being_shown(moment: str, words: str):
    assert words in decision(decided_on=moment)


def test_who_let_a_plan_pass_is_named():
    found = text(event=Event.OVERRIDE_GATE, details={"approved_by": "alice, bob", "part": "protect"})
    assert "alice, bob; entered by ci (h)" in found


def test_what_a_run_did_is_by_the_run():
    found = text(event=Event.CLAIM, details={"approved_by": "alice"})
    assert "ci (h)" in found
    assert "alice" not in found


def test_a_name_reaches_no_terminal_as_control_characters():
    found = text(
        event=Event.DECISION,
        details={"person": "\x1b[2Jmallory"},
        builder=Builder(runner="ci", host="[bold]h[/bold]", run_id="r"),
    )
    assert "\x1b" not in found
    assert "[bold]h[/bold]" in found, "nor as a style"
