"""`tfops inspect`."""

from collections.abc import Iterable
from pathlib import Path

import click

from tfops.cli.options import Setting, output_options
from tfops.cli.output import Result, plain
from tfops.cli.reading import session_for
from tfops.errors import Exit, TfopsError
from tfops.gate import named
from tfops.report.neutral import indented
from tfops.report.plan_markdown import render_markdown
from tfops.report.plan_text import render_text
from tfops.steps.opening import Session
from tfops.workflows.inspect import Inspection


@click.command("inspect")
@click.argument("artifact", metavar="ID|DIR|FILE")
@click.option(
    "--as",
    "form",
    type=click.Choice(["text", "markdown"]),
    default="text",
    help="For a terminal, or for a pull request.",
)
@output_options
def command(setting: Setting, artifact: str, form: str) -> Exit:
    """Read a plan artifact: what it would do, dangers first, and whether it can be believed.

    ID is a plan id in the store, DIR a directory that `tfops plan --out` wrote, FILE its plan.json.
    """
    from tfops.workflows.inspect import as_json, inspect

    session = _session(setting, artifact)
    found = inspect(artifact, session=session)
    entry = as_json(found)
    stack = found.statement.predicate.stack if found.statement else None
    setting.screen.show(
        Result(
            command="inspect",
            exit_code=found.exit_code,
            stacks=({"stack": stack, **plain(entry)},),
            text=lambda: _text(found, form),
        )
    )
    return found.exit_code


def _session(setting: Setting, artifact: str) -> Session | None:
    """A repository is needed to look up an id; for files it only serves to verify, where there is one."""
    if not Path(artifact).exists():
        return session_for(setting)
    try:
        return session_for(setting)
    except TfopsError:
        return None


def _text(found: Inspection, form: str) -> object:
    from rich.text import Text

    title = _title(found)
    if form == "markdown":
        return Text(render_markdown(title, found.redacted, notes=() if found.verified else (_belief(found),)))
    return Text("\n".join([title, _belief(found), "", render_text(found.redacted), *_gate(found)]))


def _gate(found: Inspection) -> list[str]:
    """How it stands at the gate, below the plan: it is the last thing one reads."""
    if found.outlook is None:
        return []
    notes = ["", "look at it as well", *_listed(found.outlook.notes)] if found.outlook.notes else []
    if not found.outlook.reasons:
        return [*notes, "", "gate: nothing stands in the way"]
    plan = (found.plan_id or "")[:12]
    reasons = _listed(named(found.outlook.reasons, plan))
    next_ = [f"next: tfops approve {plan}"] if _lacks(found) else []
    return [*notes, "", "gate: it is not applied now", *reasons, *next_]


def _listed(sentences: Iterable[str]) -> list[str]:
    return [f"  - {indented(sentence, ' ' * 6)}" for sentence in sentences]


def _lacks(found: Inspection) -> bool:
    """Whether another approval would bring it nearer."""
    consent = found.outlook.consent if found.outlook and not found.outlook.faults else None
    return consent is not None and bool(consent.tally.missing) and not (consent.is_enough or consent.tally.is_stopped)


def _title(found: Inspection) -> str:
    if found.statement is None:
        return found.where
    plan = found.statement.predicate
    return f"{plan.stack}: plan {(found.plan_id or '')[:12]} ({plan.purpose.value}) at {plan.source}"


def _belief(found: Inspection) -> str:
    if not found.checks:
        return "not verified: no signature was checked here (tfops verify DIR --key KEY.pub)"
    failed = [f"{check.name}: {check.detail}" for check in found.checks if not check.ok]
    return f"NOT VERIFIED: {'; '.join(failed)}" if failed else "verified: signature and every file"
