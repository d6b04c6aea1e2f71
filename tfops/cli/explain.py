"""`tfops explain`."""

import sys
from pathlib import Path

import click

from tfops.cli.options import Setting, output_options
from tfops.cli.output import Result
from tfops.errors import Exit, UsageError
from tfops.report.plan_text import render_text
from tfops.workflows.explain import Explanation


@click.command("explain")
@click.argument("file", metavar="PLAN.json|-")
@output_options
def command(setting: Setting, file: str) -> Exit:
    """Explain any `terraform show -json` document, from any tool: counts and dangers. Secrets stay hidden."""
    from tfops.workflows.explain import explain

    explained = explain(_read(file), file)
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
        "notes": explained.notes,
        "errored": plan.errored,
        "complete": plan.complete,
        "applyable": plan.applyable,
        "dangers": [
            {"kind": danger.kind, "address": danger.address, "sentence": danger.sentence}
            for danger in explained.dangers
        ],
        "resources": [
            {
                "address": entry.address,
                "previous_address": entry.previous_address if entry.moved else None,
                "deposed": entry.deposed,
                "action": entry.action,
                "actions": entry.change.actions,
                "imported": entry.imported,
            }
            for entry in explained.resources
        ],
    }


def _text(explained: Explanation) -> object:
    from rich.text import Text

    notes = "".join(f"note: {note}\n" for note in explained.notes)
    return Text(notes + render_text(explained.redacted))
