"""`tfops init`."""

import shlex
import sys
from pathlib import Path

import click

from tfops.cli.options import Setting, output_options
from tfops.cli.output import Result
from tfops.errors import Exit
from tfops.report.neutral import neutral
from tfops.workflows.init import Initialised


@click.command("init")
@click.option("--runner", default="local", show_default=True, help="The name of this machine in tfops.hcl.")
@click.option(
    "--store",
    "store_path",
    metavar="DIR|s3://BUCKET/PREFIX",
    help="Where to keep the store; else below ~/.local/state/tfops.",
)
@click.option("--passphrase", is_flag=True, help="Ask for a passphrase for the signing key.")
@click.option("--systemd", is_flag=True, help="Write systemd units for timers, too; print how to install them.")
@output_options
def command(setting: Setting, runner: str, store_path: str | None, passphrase: bool, systemd: bool) -> Exit:
    """Write tfops.hcl, make a store and a signing key. Makes what is missing; safe to run again."""
    from tfops.workflows.init import init

    secret = click.prompt("passphrase", hide_input=True, confirmation_prompt=True, err=True) if passphrase else None
    caller = setting.caller()
    is_directory = store_path and not store_path.startswith("s3://")
    place = str(Path(store_path).expanduser().absolute()) if store_path and is_directory else store_path
    program = _program() if systemd else None
    made = init(caller, runner=runner, store_path=place, passphrase=secret, program=program)
    setting.screen.show(
        Result(
            command="init",
            exit_code=Exit.OK,
            extra={
                "made": made.made,
                "commit": made.commit,
                "store": str(made.store),
                "key": str(made.key),
                "notes": made.notes,
                "faults": made.faults,
                "install": made.install,
            },
            text=lambda: _text(made),
        )
    )
    return Exit.OK


def _program() -> str:
    """The path of the tfops that runs now."""
    beside = Path(sys.executable).with_name("tfops")
    return str(beside if beside.exists() else Path(sys.argv[0]).absolute())


def _text(made: Initialised) -> object:
    from rich.text import Text

    lines = [f"made {line}" for line in made.made] or ["everything was there already"]
    lines += made.notes
    if made.commit:
        push = " && git push" if made.push else ""
        sync = "" if made.faults else " && tfops sync"
        lines.append(f"next: git add {shlex.join(made.commit)} && git commit -m 'Add tfops'{push}{sync}")
    if made.faults:
        lines += ["before the first `tfops sync`:", *(f"  {neutral(fault)}" for fault in made.faults)]
    if made.install:
        lines += ["to install the timers:", *(f"  {line}" for line in made.install)]
    return Text("\n".join(lines))
