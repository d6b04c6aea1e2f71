"""`tfops lock`."""

from dataclasses import asdict

import click

from tfops.cli.options import Setting, branch_option, output_options
from tfops.cli.output import Result
from tfops.errors import Exit
from tfops.steps.hold import LockView


@click.group("lock")
def command() -> None:
    """Who holds which stack, and letting go of what a dead run holds."""


@command.command("list")
@click.argument("stacks", nargs=-1)
@branch_option
@output_options
def list_command(setting: Setting, stacks: tuple[str, ...], branch: str | None) -> Exit:
    """Every lock that is held: who, since when, where, until when, and which run."""
    from tfops.steps.opening import open_session
    from tfops.workflows.lock import locks

    found = locks(open_session(setting.caller(), branch=branch, fetch=False), stacks)
    setting.screen.show(
        Result(
            command="lock",
            exit_code=Exit.OK,
            stacks=tuple(asdict(view) for view in found),
            text=lambda: "\n".join(_line(view) for view in found) or "nothing is locked",
        )
    )
    return Exit.OK


@command.command("release")
@click.argument("stack")
@click.option("--reason", required=True, help="How you know that its holder is dead; recorded and signed.")
@branch_option
@output_options
def release_command(setting: Setting, stack: str, reason: str, branch: str | None) -> Exit:
    """Let go of a stack whose holder is dead. If it lives after all, it is shut out, and stops.

    Terraform's own write of the state cannot be shut out: make sure that it does not run any more.
    """
    from tfops.steps.opening import open_session
    from tfops.workflows.lock import release

    view = release(open_session(setting.caller(), branch=branch, fetch=False), stack, reason=reason)
    setting.screen.show(
        Result(
            command="lock",
            exit_code=Exit.OK,
            stacks=(asdict(view),),
            text=lambda: f"{stack}: released from {view.holder}; next: tfops sync {stack}",
        )
    )
    return Exit.OK


def _line(view: LockView) -> str:
    epoch = f", epoch {view.epoch}" if view.epoch is not None else ""
    return f"{view.stack}: {view.kind}{epoch}: {view.holder}{_until(view)}"


def _until(view: LockView) -> str:
    if view.expires_in_seconds is None:
        return ""
    if view.expires_in_seconds > 0:
        return f"; valid for another {view.expires_in_seconds:.0f} s unless renewed"
    return f"; expired {-view.expires_in_seconds:.0f} s ago"
