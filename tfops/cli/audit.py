"""`tfops audit`."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import click
import msgspec

from tfops.attestation import Check
from tfops.audit import AuditEntry, anchor_text
from tfops.cli.options import Setting, branch_option, output_options
from tfops.cli.output import Result
from tfops.cli.reading import session_for
from tfops.errors import Exit, Problem
from tfops.workflows.audit import AuditLog

if TYPE_CHECKING:
    from rich.text import Text


@click.group("audit")
def command() -> None:
    """The signed log of what people and runs decided about locks, states and drift."""


@command.command("list")
@branch_option
@output_options
def list_command(setting: Setting, branch: str | None) -> Exit:
    """Every entry that verifies, oldest first: who did what to which stack, when, and why."""
    from tfops.workflows.audit import audit_log

    log = audit_log(session_for(setting, branch))
    return _show(setting, log, text=lambda: _listing(log, branch))


@command.command("verify")
@click.option("--anchor", metavar="NUMBER:ID", help="An entry you noted down earlier: it must still be there.")
@branch_option
@output_options
def verify_command(setting: Setting, anchor: str | None, branch: str | None) -> Exit:
    """Check every signature, the chain, and what deployments vouch for. Exit 5 where anything does not fit.

    It prints the anchor of the last entry: keep it elsewhere, and nobody can cut the log off unnoticed.
    """
    from tfops.audit import parse_anchor
    from tfops.workflows.audit import audit_log

    given = parse_anchor(anchor) if anchor is not None else None
    log = audit_log(session_for(setting, branch), anchor=given)
    return _show(setting, log, text=lambda: verdict(log, branch))


def _show(setting: Setting, log: AuditLog, *, text: Callable[[], object]) -> Exit:
    setting.screen.show(
        Result(
            command="audit",
            exit_code=log.exit_code,
            problems=tuple(_problem(check) for check in log.checks if not check.ok),
            extra={
                "verified": log.verified,
                "anchor": _anchor(log),
                "checks": msgspec.to_builtins(log.checks),
                "entries": [_entry(entry) for entry in log.entries],
            },
            text=text,
        )
    )
    return log.exit_code


def _problem(check: Check) -> Problem:
    return Problem(
        code="audit.broken",
        message=f"{check.name}: {check.detail}",
        hint="somebody or something changed the store: restore it from a backup, and find out who could write to it",
    )


def _entry(entry: AuditEntry) -> dict[str, object]:
    record = entry.record
    return {
        "seq": record.seq,
        "id": entry.id,
        "at": record.at,
        "event": record.event,
        "stack": record.stack,
        "reason": record.reason,
        "details": dict(record.details),
        "by": entry.runner,
        "host": record.builder.host,
        "run_id": record.builder.run_id,
    }


def _anchor(log: AuditLog) -> str | None:
    return anchor_text(log.head) if log.head else None


def _listing(log: AuditLog, branch: str | None) -> object:
    from tfops.report.audit_text import audit_table
    from tfops.report.tables import lines

    told = verdict(log, branch)
    return lines(audit_table(log.entries), told) if log.entries else told


def verdict(log: AuditLog, branch: str | None) -> "Text":
    """Whether the log is whole; and the command that holds a later one against it."""
    from rich.text import Text

    if not log.verified:
        return Text("the audit log does NOT verify", "bold red")
    if log.head is None:
        return Text("the audit log is empty: nothing was decided about locks, states or drift yet")
    number = len(log.entries)
    later = f"tfops audit verify --anchor {_anchor(log)}{f' --branch {branch}' if branch else ''}"
    return Text.assemble(
        (f"the audit log is whole: {number} signed {'entry' if number == 1 else 'entries'}, chained", "green"),
        f"\nanchor: {_anchor(log)}\nkeep this elsewhere, for the next time:\n  {later}",
    )
