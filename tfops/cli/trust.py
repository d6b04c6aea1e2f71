"""`tfops trust`."""

from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from tfops.cli.options import Setting, branch_option, output_options
from tfops.cli.output import Result
from tfops.cli.reading import session_for
from tfops.errors import Exit
from tfops.report.neutral import neutral

if TYPE_CHECKING:
    from tfops.config_gate import Gate
    from tfops.standing import Person
    from tfops.steps.accepting import Accepted
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

    found = accepted(session_for(setting, branch), reason=reason)
    return _show(setting, found, before=lambda: accepted_lines(found.accepted))


def _show(setting: Setting, found: "InForce", *, before: Callable[[], list[str]] = list) -> Exit:
    exit_code = Exit.REFUSED if found.waiting else Exit.OK
    setting.screen.show(
        Result(command="trust", exit_code=exit_code, extra=_entry(found), text=lambda: _text(found, before=before()))
    )
    return exit_code


def _entry(found: "InForce") -> dict[str, Any]:
    record = found.trust.record if found.trust else None
    config = found.rules.config
    pruned = {one.name for one in config.environments if one.prune}
    return {
        "version": record.version if record else 0,
        "branch": record.source.branch if record else None,
        "commit": record.source.commit if record else None,
        "at": record.at if record else None,
        "reason": record.reason if record else None,
        "approved_by": list(record.approved_by) if record else [],
        "environments": [_gate_entry(name, gate, prune=name in pruned) for name, gate in found.gates],
        "approvers": [_person_entry(person) for person in found.people],
        "runners": [
            {"name": one.runner.name, "only": one.runner.only, "public_key": one.runner.public_key}
            for one in found.machines
            if not one.void
        ],
        "policies": [asdict(policy) for policy in config.policies],
        "forge": asdict(config.forge) if config.forge else None,
        "review": asdict(config.review),
        "files": sorted(found.rules.files),
        "waiting": rules_entry(found.waiting),
        "accepted": accepted_entry(found.accepted),
    }


def _gate_entry(name: str, gate: "Gate", *, prune: bool) -> dict[str, Any]:
    ask = gate.approval
    return {
        "environment": name,
        "approvals": ask.count if ask else None,
        "from": list(ask.sources) if ask else [],
        "codeowners": bool(ask and ask.codeowners),
        "max_age_seconds": ask.max_age_seconds if ask else None,
        "protect": [asdict(protect) for protect in gate.protects],
        "freeze": [freeze.name for freeze in gate.freezes],
        "policy": [policy.name for policy in gate.policies],
        "prune": prune,
    }


def _person_entry(person: "Person") -> dict[str, Any]:
    one = person.approver
    return {
        "name": one.name,
        "revoked": bool(person.void),
        "why": person.void or None,
        "keys": [{"type": key.type, "fingerprint": key.fingerprint} for key in one.every_key],
        "logins": dict(one.logins),
        "emails": list(one.emails),
        "teams": list(one.teams),
        "valid_until": one.valid_until,
    }


def accepted_entry(accepted: "Accepted | None") -> dict[str, Any] | None:
    """What was put in force by hand, for programs."""
    if accepted is None:
        return None
    return {
        "changes": list(accepted.changes),
        "diff": accepted.diff,
        "overruled": [
            {
                "by": vote.owner,
                "decision": vote.record.decision,
                "vote_id": vote.id,
                "comment": vote.record.comment,
            }
            for vote in accepted.overruled
        ],
    }


def accepted_lines(accepted: "Accepted | None") -> list[str]:
    """The same for people."""
    if accepted is None:
        return ["the branch's rules are in force already: nothing was changed", ""]
    return [
        "put in force by hand, signed and entered into the audit log:",
        *(f"  {neutral(word)}" for word in accepted.changes),
        *(neutral(line) for line in accepted.diff.splitlines()),
        *(f"overruled: {neutral(words)}" for words in accepted.overrules),
        "",
    ]


def _text(found: "InForce", *, before: list[str]) -> object:
    from rich.text import Text

    from tfops.report.rules_text import rules_tables
    from tfops.report.tables import lines

    waiting = rules_lines(found.waiting, diff=True)
    return lines(
        *map(Text, (*before, _record_line(found))),
        *rules_tables(found.rules.config, found.gates, found.people, found.machines),
        *map(Text, ("", *waiting) if waiting else ()),
    )


def _record_line(found: "InForce") -> str:
    if found.trust is None:
        return "no rules are in force yet: the first `tfops sync` puts those of its branch in force, which are these"
    record = found.trust.record
    where = f"{record.source.branch}@{record.source.commit[:12]}" if record.source.commit else record.source.branch
    by = f", approved by {', '.join(record.approved_by)}" if record.approved_by else ""
    since = f"since {record.at:%Y-%m-%d %H:%M}Z ({record.reason}{by})"
    return neutral(f"rules in force: version {record.version}, from {where}, {since}")


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
        *(f"  {neutral(word)}" for word in waiting.words),
        *(map(neutral, waiting.diff.splitlines()) if diff else ()),
        f"next: {look if can_be_approved else by_hand}",
    ]
