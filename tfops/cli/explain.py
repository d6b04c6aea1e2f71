"""`tfops explain`."""

import sys
from collections.abc import Iterator
from pathlib import Path

import click

from tfops.cli.options import Setting, output_options
from tfops.cli.output import Result
from tfops.drift import Found
from tfops.drift_sentences import summary
from tfops.errors import Exit, UsageError
from tfops.report.plan_text import render_text
from tfops.workflows.explain import Explanation


@click.command("explain")
@click.argument("file", metavar="PLAN.json|-")
@click.option("--context", metavar="FILE", help="What the plan cannot know, as JSON: inputs_changed, serial, …")
@output_options
def command(setting: Setting, file: str, context: str | None) -> Exit:
    """Explain any `terraform show -json` document, from any tool: counts, dangers, drift. Secrets stay hidden."""
    from tfops.drift import Context
    from tfops.drift_context import read_context
    from tfops.workflows.explain import explain

    known = read_context(_read(context), context) if context else Context()
    explained = explain(_read(file), file, known)
    setting.screen.show(
        Result(
            command="explain",
            exit_code=Exit.OK,
            stacks=(_entry(explained),),
            text=lambda: _text(explained),
        )
    )
    return Exit.OK


def _read(file: str) -> bytes:
    try:
        return sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    except OSError as error:
        raise UsageError(
            f"cannot read {file}: {error.strerror}",
            code="explain.unreadable",
            hint="name a file that `terraform show -json PLAN` wrote",
        ) from error


def _entry(explained: Explanation) -> dict[str, object]:
    plan = explained.plan
    return {
        "stack": None,
        "file": explained.name,
        "format_version": plan.format_version,
        "terraform_version": plan.terraform_version,
        "summary": explained.summary,
        "verdict": explained.drift.verdict,
        "tags": explained.drift.tags,
        "sentence": summary(explained.drift),
        "notes": explained.notes,
        "errored": plan.errored,
        "complete": plan.complete,
        "applyable": plan.applyable,
        "dangers": [
            {"kind": danger.kind, "address": danger.address, "sentence": danger.sentence}
            for danger in explained.dangers
        ],
        "resources": list(_resources(explained)),
    }


def _resources(explained: Explanation) -> Iterator[dict[str, object]]:
    """Whatever something happens to, and what drifted without any consequence."""
    found = {item.address: item for item in explained.drift.resources}
    for entry in explained.resources:
        yield {
            "address": entry.address,
            "previous_address": entry.previous_address if entry.moved else None,
            "deposed": entry.deposed,
            "action": entry.action,
            "actions": entry.change.actions,
            "imported": entry.imported,
            **_drift(found.get(entry.address)),
        }
    for address in found.keys() - {entry.address for entry in explained.resources}:
        yield {"address": address, "action": "no-op", "actions": (), **_drift(found[address])}


def _drift(found: Found | None) -> dict[str, object]:
    return {"tags": found.tags if found else (), "attributes": found.attributes if found else ()}


def _text(explained: Explanation) -> object:
    from rich.text import Text

    from tfops.report.drift_text import objects, verdict_style
    from tfops.report.tables import lines

    drift = explained.drift
    notes = [Text(f"note: {note}", "dim") for note in explained.notes]
    verdict = Text(f"{drift.verdict.value}: {summary(drift)}", verdict_style(drift.verdict.value))
    return lines(*notes, Text(render_text(explained.redacted)), verdict, *objects(drift.resources, explained.plan))
