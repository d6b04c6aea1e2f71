"""`tfops recover`."""

import click

from tfops.cli.options import Setting, branch_option, output_options
from tfops.cli.output import Result
from tfops.errors import Exit


@click.command("recover")
@click.argument("stack")
@click.option("--adopt-state", is_flag=True, required=True, help="Take the state as it is now for the right one.")
@click.option("--reason", required=True, help="Why; recorded and signed.")
@branch_option
@output_options
def command(setting: Setting, stack: str, adopt_state: bool, reason: str, branch: str | None) -> Exit:
    """Accept a state that was replaced, restored or removed on purpose. The next sync plans against it."""
    from tfops.steps.opening import open_session
    from tfops.workflows.recover import adopt_state as adopt

    adopted = adopt(open_session(setting.caller(), branch=branch), stack, reason=reason)
    setting.screen.show(
        Result(
            command="recover",
            exit_code=Exit.OK,
            stacks=({"stack": stack, "lineage": adopted.lineage, "serial": adopted.serial},),
            text=lambda: f"{stack}: adopted its state at serial {adopted.serial}; next: tfops sync {stack}",
        )
    )
    return Exit.OK
