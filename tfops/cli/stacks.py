"""`tfops stacks`."""

import click

from tfops.cli.options import Setting, branch_option, output_options
from tfops.cli.output import Result
from tfops.cli.reading import session_for
from tfops.cli.sync import orphan_entries
from tfops.errors import Exit
from tfops.steps.surveyed import Surveyed
from tfops.workflows.stacks import Stacks


@click.command("stacks")
@branch_option
@output_options
def command(setting: Setting, branch: str | None) -> Exit:
    """The stacks of the branch as this clone has it, and what they map to. Runs no Terraform."""
    from tfops.workflows.stacks import stacks

    found = stacks(session_for(setting, branch))
    setting.screen.show(
        Result(
            command="stacks",
            exit_code=Exit.OK,
            stacks=tuple(_entry(item) for item in found.stacks),
            extra={
                "revision": found.revision,
                "orphans": orphan_entries(found.orphans),
                "stray_backends": found.stray_backends,
            },
            text=lambda: _text(found),
        )
    )
    return Exit.OK


def _entry(item: Surveyed) -> dict[str, object]:
    stack = item.stack
    return {
        "stack": stack.id,
        "environment": stack.environment,
        "root": stack.root,
        "workspace": stack.workspace,
        "branch": stack.branch,
        "after": stack.after,
        "reads": stack.reads,
        "state": str(item.address),
        "approvals": stack.approval.count if stack.approval else None,
        "unknown_inputs": item.inputs.unknowns,
    }


def _text(found: Stacks) -> object:
    from rich.text import Text

    from tfops.report.tables import lines, stacks_table

    table = stacks_table(
        (s.id, s.root, s.workspace, s.branch, str(item.address), s.after) for item in found.stacks for s in [item.stack]
    )
    left = [Text(f"orphaned: {name}: {orphan.sentence}", "yellow") for name, orphan in found.orphans.items()]
    stray = [
        Text(
            f"warning: {directory or '.'} has a backend block, but no environment of tfops.hcl names it",
            "yellow",
        )
        for directory in found.stray_backends
    ]
    return lines(table, Text(""), *left, *stray, Text(found.revision))
