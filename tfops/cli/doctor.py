"""`tfops doctor`."""

import click

from tfops.cli.options import Setting, branch_option, output_options
from tfops.cli.output import Result
from tfops.errors import Exit
from tfops.workflows.doctor import Diagnosis


@click.command("doctor")
@branch_option
@output_options
def command(setting: Setting, branch: str | None) -> Exit:
    """Check everything a run needs, and say what to do about what is missing."""
    from tfops.workflows.doctor import doctor

    caller = setting.caller()
    found = doctor(caller, branch=branch)
    setting.screen.show(
        Result(
            command="doctor",
            exit_code=found.exit_code,
            problems=found.problems,
            extra={"findings": found.findings},
            text=lambda: _text(found),
        )
    )
    return found.exit_code


def _text(found: Diagnosis) -> object:
    from rich.text import Text

    from tfops.report.tables import findings_table, lines

    rows = (
        (f.ok, f.warning, f.name, f.detail if f.ok or f.warning else "see below", f.hint if f.warning else "")
        for f in found.findings
    )
    verdict = "ready" if found.exit_code is Exit.OK else "not ready, see below"
    return lines(findings_table(rows), Text(""), Text(verdict))
