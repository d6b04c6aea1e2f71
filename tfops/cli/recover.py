"""`tfops recover`."""

import click

from tfops.cli.options import Setting, branch_option, output_options
from tfops.cli.output import Result
from tfops.errors import Exit


@click.command("recover")
@click.argument("stack")
@click.option("--adopt-state", "way", flag_value="adopt", help="Take the state as it is now for the right one.")
@click.option("--push-state", "way", flag_value="push", help="Write back the state an apply could not write.")
@click.option("--reason", required=True, help="Why; recorded and signed.")
@branch_option
@output_options
def command(setting: Setting, stack: str, way: str | None, reason: str, branch: str | None) -> Exit:
    """Say what is right after a state was restored, replaced or removed on purpose, or could not be written.

    The next sync plans against it.
    """
    from tfops.steps.opening import open_session
    from tfops.workflows.recover import adopt_state, push_state

    if way is None:
        raise click.UsageError("say how: --adopt-state or --push-state")
    recover = adopt_state if way == "adopt" else push_state
    state = recover(open_session(setting.caller(), branch=branch), stack, reason=reason)
    setting.screen.show(
        Result(
            command="recover",
            exit_code=Exit.OK,
            stacks=({"stack": stack, "lineage": state.lineage, "serial": state.serial},),
            text=lambda: f"{stack}: its state at serial {state.serial} is taken as right; next: tfops sync {stack}",
        )
    )
    return Exit.OK
