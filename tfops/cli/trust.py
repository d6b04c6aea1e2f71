"""`tfops trust`."""

from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from tfops.cli.options import Setting, branch_option, output_options
from tfops.cli.output import Result
from tfops.cli.reading import session_for
from tfops.errors import Exit

if TYPE_CHECKING:
    from tfops.config_gate import Gate
    from tfops.steps.trusting import Proposal
    from tfops.workflows.trust import InForce


@click.group("trust", invoke_without_command=True)
@branch_option
@output_options
@click.pass_context
def command(context: click.Context, setting: Setting, branch: str | None) -> Exit | None:
    """The rules in force: who may sign and approve, and what each environment asks for.

    They are a signed record in the store. A commit that changes them is judged by the old ones first.
    """
    from tfops.workflows.trust import in_force

    if context.invoked_subcommand is not None:
        return None
    return _show(setting, in_force(session_for(setting, branch)))


@command.command("accept")
@click.option("--reason", required=True, help="Why nobody else is asked; it goes into the audit log.")
@branch_option
@output_options
def accept_command(setting: Setting, reason: str, branch: str | None) -> Exit:
    """Put the branch's rules in force without asking anybody.

    For a store without rules, for people who are all gone, for a branch that was rewritten. It needs a runner's key.
    """
    from tfops.workflows.trust import accepted

    return _show(setting, accepted(session_for(setting, branch), reason=reason))


def _show(setting: Setting, found: "InForce") -> Exit:
    exit_code = Exit.REFUSED if found.waiting else Exit.OK
    setting.screen.show(
        Result(command="trust", exit_code=exit_code, extra=_entry(found), text=lambda: "\n".join(_lines(found)))
    )
    return exit_code


def _entry(found: "InForce") -> dict[str, Any]:
    record = found.trust.record if found.trust else None
    return {
        "version": record.version if record else 0,
        "branch": record.source.branch if record else None,
        "commit": record.source.commit if record else None,
        "at": record.at if record else None,
        "reason": record.reason if record else None,
        "approved_by": list(record.approved_by) if record else [],
        "environments": [_gate_entry(name, gate) for name, gate in found.gates],
        "approvers": [{"name": person.name, "revoked": person.is_revoked} for person in found.approvers],
        "runners": [
            *({"name": name, "only": None} for name in found.runners),
            *({"name": name, "only": "speculative"} for name in found.review_runners),
        ],
        "waiting": rules_entry(found.waiting),
    }


def _lines(found: "InForce") -> list[str]:
    if found.trust is None:
        return ["no rules are in force yet: the first `tfops sync` puts those of its branch in force"]
    record = found.trust.record
    where = f"{record.source.branch}@{record.source.commit[:12]}" if record.source.commit else record.source.branch
    people = [f"{person.name}{' (revoked)' if person.is_revoked else ''}" for person in found.approvers]
    by = f", approved by {', '.join(record.approved_by)}" if record.approved_by else ""
    since = f"since {record.at:%Y-%m-%d %H:%M}Z ({record.reason}{by})"
    return [
        f"rules in force: version {record.version}, from {where}, {since}",
        *(f"  environment {name}: {'; '.join(_asks(gate))}" for name, gate in found.gates),
        f"  approvers: {', '.join(people) or 'nobody'}",
        f"  runners: {', '.join(found.runners) or 'none'}",
        *((f"  only for plans for review: {', '.join(found.review_runners)}",) if found.review_runners else ()),
        *rules_lines(found.waiting, diff=True),
    ]


def _gate_entry(name: str, gate: "Gate") -> dict[str, Any]:
    return {
        "environment": name,
        "approvals": gate.approval.count if gate.approval else None,
        "protect": [asdict(protect) for protect in gate.protects],
        "freeze": [freeze.name for freeze in gate.freezes],
        "policy": [policy.name for policy in gate.policies],
    }


def _asks(gate: "Gate") -> Iterator[str]:
    if gate.approval is None:
        yield "nothing is applied by itself"
    else:
        yield f"{gate.wanted or 'no'} {'approval' if gate.wanted == 1 else 'approvals'}"
    yield from (words for protect in gate.protects for words in protect.words)
    if gate.freezes:
        yield f"frozen at times ({', '.join(freeze.name for freeze in gate.freezes)})"
    if gate.policies:
        yield f"judged by {', '.join(policy.name for policy in gate.policies)}"


def rules_entry(waiting: "Proposal | None") -> dict[str, Any] | None:
    """A change of the rules that waits, for programs."""
    if waiting is None:
        return None
    return {
        "id": waiting.id,
        "changes": list(waiting.change.words),
        "wanted": waiting.change.wanted,
        "approved_by": list(waiting.tally.approved_by),
        "rejected_by": list(waiting.tally.rejected_by),
        "reasons": list(waiting.words),
    }


def rules_lines(waiting: "Proposal | None", *, diff: bool = False) -> list[str]:
    """The same for people."""
    if waiting is None:
        return []
    short = waiting.id[:12]
    can_be_approved = not waiting.tally.missing or waiting.tally.may_still
    by_hand = 'nobody can approve it; by hand, with a runner\'s key: tfops trust accept --reason "…"'
    look = f"look at it: tfops trust; then: tfops approve {short}"
    return [
        f"the branch's rules are not in force yet, change {short}:",
        *(f"  {word}" for word in waiting.words),
        *(waiting.diff.splitlines() if diff else ()),
        f"next: {look if can_be_approved else by_hand}",
    ]
