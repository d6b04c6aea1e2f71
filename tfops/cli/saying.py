"""What `tfops approve` and `tfops reject` have in common: whose key, and what is said afterwards."""

from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tfops.attestation import Purpose
from tfops.checks import span_seconds
from tfops.cli.options import Setting
from tfops.cli.output import Result
from tfops.errors import Exit, Problem, UsageError
from tfops.gate import WAY_PAST
from tfops.report.neutral import on_one_line

if TYPE_CHECKING:
    from tfops.approval import Tally, Word
    from tfops.steps.opening import Session
    from tfops.steps.outlook import Outlook
    from tfops.workflows.approve import Said, SaidAll, Saying

DEFAULT_KEYS = ("id_ed25519", "id_ed25519_sk", "id_ecdsa", "id_ecdsa_sk", "id_rsa")

key_option = click.option(
    "--key",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Your SSH key: a private one, or the .pub file of one that your agent holds.  [default: from ~/.ssh]",
)
comment_option = click.option("--comment", default="", help="What you looked at, for those who read the history.")
all_of_option = click.option("--all-of", metavar="REVISION", help="Every plan of this commit that is still open.")
valid_option = click.option("--valid", metavar="SPAN", default="24h", show_default=True, help="For how long it counts.")


def saying_of(session: "Session", word: "Word", *, key: Path | None, comment: str, valid: str) -> "Saying":
    """What the options say; raises UsageError where they make no sense."""
    from tfops.workflows.approve import Saying

    seconds = span_seconds(valid)
    if seconds is None:
        raise UsageError(f"--valid {valid!r} is no span of time", code="usage.approve", hint='write it like "24h"')
    return Saying(
        word=word, key=key or _default_key(session.caller.home), comment=comment, valid=timedelta(seconds=seconds)
    )


def _default_key(home: Path) -> Path:
    places = [home / ".ssh" / name for name in DEFAULT_KEYS]
    found = next((place for place in places if place.exists() or place.with_name(f"{place.name}.pub").exists()), None)
    if found is None:
        raise UsageError(
            "there is no SSH key in ~/.ssh to sign with",
            code="usage.approve",
            hint="name one: --key FILE, or make one: ssh-keygen -t ed25519",
        )
    return found if found.exists() else found.with_name(f"{found.name}.pub")


def show_said(
    setting: Setting, command: str, *said: "Said", problems: tuple[Problem, ...] = (), exit_code: Exit = Exit.OK
) -> Exit:
    """One line for each decision that was signed, and how the plan stands."""
    setting.screen.show(
        Result(
            command=command,
            exit_code=exit_code,
            stacks=tuple(_entry(one) for one in said),
            problems=problems,
            text=lambda: "\n".join(line for one in said for line in (_sentence(one), *_with_it(one))),
        )
    )
    return exit_code


def show_all(setting: Setting, command: str, found: "SaidAll") -> Exit:
    """The same for all plans of a commit, with what was refused."""
    return show_said(setting, command, *found.said, problems=found.problems, exit_code=found.exit_code)


def _entry(said: "Said") -> dict[str, object]:
    record, tally = said.vote.record, said.tally
    return {
        "stack": record.stack,
        "plan_id": said.id,
        "decision": record.decision,
        "overrides": list(record.overrides),
        "by": said.vote.owner,
        "key": said.vote.fingerprint,
        "expires": record.expires_on,
        "file": str(said.file) if said.file else None,
        "approved_by": list(tally.approved_by) if tally else None,
        "rejected_by": list(tally.rejected_by) if tally else None,
        "missing": tally.missing if tally else None,
        "reasons": list(said.outlook.reasons) if said.outlook else None,
        "notes": list(said.outlook.notes) if said.outlook else None,
    }


def _with_it(said: "Said") -> list[str]:
    """What else one has said yes to, below it."""
    found = said.outlook if said.vote.record.decision.value == "approved" else None
    return [f"  - {on_one_line(note)}" for note in _notes(found)] if found else []


def _notes(found: "Outlook") -> tuple[str, ...]:
    unread = found.consent.unread if found.consent else ()
    return tuple(dict.fromkeys((*unread, *found.notes)))


def _sentence(said: "Said") -> str:
    record, tally = said.vote.record, said.tally
    passed = f", past {' and '.join(record.overrides)}" if record.overrides else ""
    first = f"{said.subject} {record.decision.value} by {said.vote.owner}{passed}"
    if tally is None:
        return f"{first}, in {said.file}; next, where the store can be written: tfops approve --file {said.file}"
    if tally.rejected_by:
        return f"{first}; rejected by {', '.join(tally.rejected_by)}: it is not applied"
    return f"{first}; {_missing(said, tally) or _held_up(said) or f'that is enough{_then(said)}'}"


def _missing(said: "Said", tally: "Tally") -> str:
    """How many more are needed, as far as anybody knows; empty where approvals cover all of it."""
    consent = said.outlook.consent if said.outlook else None
    counted = consent.tally if consent else tally
    if not counted.missing or (consent and consent.is_enough):
        return ""
    counts_others = said.purpose is None or (consent and said.purpose is Purpose.SYNC)
    where = "" if counts_others else " on this plan"
    return f"{counted.missing} more needed{where}, from {' or '.join(counted.may_still) or 'nobody'}"


def _held_up(said: "Said") -> str:
    """What stands in the way beside missing approvals, and how to go on; empty where nothing is known to."""
    from tfops.steps.outlook import IDLE

    found = said.outlook
    beside = (WAY_PAST, IDLE)
    reasons = [reason for reason in found.reasons if not reason.startswith(beside)] if found else []
    if found is None or not reasons:
        return ""
    complete = "approvals are complete; " if found.consent is None or found.consent.is_enough else ""
    more = f" (and {len(reasons) - 1} more: tfops inspect {said.id[:12]})" if reasons[1:] else ""
    return f"{complete}still held up: {on_one_line(reasons[0])}{more}{_way_on(said, found)}"


def _way_on(said: "Said", found: "Outlook") -> str:
    if found.faults:
        return _then(said) if said.purpose is Purpose.SYNC else ""
    if not found.decision.held_by:
        return ""
    # Only the last word of a person counts: what they let pass already is said again.
    overrides = dict.fromkeys((*said.vote.record.overrides, *found.decision.held_by))
    return f"; next: tfops approve {said.id[:12]} {' '.join(f'--override {one.value}' for one in overrides)}"


def _then(said: "Said") -> str:
    match said.purpose:
        case Purpose.SPECULATIVE:
            return ". Once it is merged: tfops sync"
        case Purpose.PRUNE:
            return "; next: tfops sync --prune"
        case Purpose.REMEDIATION:
            return f"; next: tfops drift {said.vote.record.stack} --remediate"
        case _:
            return "; next: tfops sync"
