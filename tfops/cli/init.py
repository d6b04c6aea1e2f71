"""`tfops init`."""

from pathlib import Path

import click

from tfops.cli.options import Setting, output_options
from tfops.cli.output import Result
from tfops.errors import Exit
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
@output_options
def command(setting: Setting, runner: str, store_path: str | None, passphrase: bool) -> Exit:
    """Write tfops.hcl, make a store and a signing key. Makes what is missing; safe to run again."""
    from tfops.workflows.init import init

    secret = click.prompt("passphrase", hide_input=True, confirmation_prompt=True, err=True) if passphrase else None
    caller = setting.caller()
    is_directory = store_path and not store_path.startswith("s3://")
    place = str(Path(store_path).expanduser().absolute()) if store_path and is_directory else store_path
    made = init(caller, runner=runner, store_path=place, passphrase=secret)
    setting.screen.show(
        Result(
            command="init",
            exit_code=Exit.OK,
            extra={"made": made.made, "commit": made.commit, "store": str(made.store), "key": str(made.key)},
            text=lambda: _text(made),
        )
    )
    return Exit.OK


def _text(made: Initialised) -> object:
    from rich.text import Text

    lines = [f"made {line}" for line in made.made] or ["everything was there already"]
    if made.commit:
        push = " && git push" if made.push else ""
        lines.append(f"next: git add {' '.join(made.commit)} && git commit -m 'Add tfops'{push} && tfops sync")
    return Text("\n".join(lines))
