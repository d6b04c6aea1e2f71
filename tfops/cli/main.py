"""The command line: parse, call a workflow, print. The only place that reads the environment or exits."""

import contextlib
import importlib
import io
import os
import signal
import sys
import traceback
from pathlib import Path
from typing import Any, TextIO

import click

from tfops import __version__
from tfops.errors import Exit, Problem, TfopsError

# name → module and one-line help: `tfops --help` loads none of the commands.
COMMANDS = {
    "init": "Write tfops.hcl, a store and a first signing key.",
    "stacks": "The stacks of a revision and what they map to.",
    "plan": "Plan stacks, sign and store the plans. Applies nothing.",
    "inspect": "Read a plan artifact: text, json, markdown.",
    "explain": "Explain any `terraform show -json` document: counts, dangers, drift.",
    "verify": "Check signature, digests and bindings of an artifact; works offline.",
    "approve": "Sign that a plan may be applied, with your SSH key.",
    "reject": "Sign that a plan must not be applied.",
    "sync": "Make the stacks of a branch what the branch says.",
    "drift": "What moved away from the code, why, and what to do about it.",
    "history": "The deployments of stacks.",
    "trust": "The rules in force: who may sign and approve, what environments ask for.",
    "audit": "What was decided about locks, states and drift; is that log whole?",
    "lock": "Who holds which stack; release what a dead run holds.",
    "recover": "Finish what a crash left behind; adopt a state that was changed on purpose.",
    "doctor": "Check binary, store, keys, clock, configuration.",
}


class Commands(click.Group):
    """Loads a command when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All commands, in the order one meets them."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name."""
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"tfops.cli.{cmd_name}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list of commands, without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command that was typed; an unknown one is an error with the nearest name."""
        if args[0] not in COMMANDS:
            import difflib

            close = difflib.get_close_matches(args[0], COMMANDS, n=1)
            meant = f" Did you mean {close[0]!r}?" if close else ""
            raise click.UsageError(f"No such command {args[0]!r}.{meant}", ctx)
        return super().resolve_command(ctx, args)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("-C", "directory", type=click.Path(path_type=Path), default=".", help="Run as if started there.")
@click.option("--config", "config_file", type=click.Path(path_type=Path), help="Read this file, not the revision's.")
@click.option(
    "--format",
    "format_",
    type=click.Choice(["text", "json"]),
    default="text",
    help="Output for people, or one JSON document.",
)
@click.option("-v", "--verbose", is_flag=True, help="Say more on stderr.")
@click.version_option(__version__, prog_name="tfops")
@click.pass_context
def cli(ctx: click.Context, directory: Path, config_file: Path | None, format_: str, verbose: bool) -> None:
    """GitOps for Terraform without a server.

    A Git branch says what should be; tfops makes it so, and proves what it did.
    """
    from tfops.cli.options import Setting
    from tfops.cli.output import Screen

    if not directory.is_dir():
        raise click.UsageError(f"-C {directory}: no such directory", ctx)
    screen = Screen(as_json=format_ == "json", verbose=verbose)
    ctx.obj = Setting(directory=directory.absolute(), config_file=config_file, screen=screen)


def main() -> None:
    """Run the command line and exit with the code of DESIGN.md §3."""
    _ensure_streams()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a document is UTF-8 in every locale; what is no text is escaped
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")
    code = run(sys.argv[1:])
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # it is over: how it ended does not change any more
    for stream in (sys.stdout, sys.stderr):
        _flush(stream)
    sys.exit(int(code))


def _ensure_streams() -> None:
    """Where a standard stream was closed, open nothing else in its place: a lock must not become stdout."""
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)


def _flush(stream: TextIO | None) -> None:
    # A reader that went away, or a full disk behind it, does not change how the run ended: what is left goes nowhere.
    if stream is None:
        return
    try:
        stream.flush()
    except (OSError, ValueError):
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def run(arguments: list[str]) -> Exit:
    """One command, with every error turned into words and an exit code."""
    try:
        code: Any = cli.main(arguments, prog_name="tfops", standalone_mode=False)
        return Exit(code) if isinstance(code, int) else Exit.OK
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        return Exit.USAGE
    except click.ClickException as error:
        return _fail(arguments, _usage(error), Exit.USAGE)
    except (click.Abort, KeyboardInterrupt):
        problem = Problem(code="run.interrupted", message="interrupted", hint="run it again")
        return _fail(arguments, (problem,), Exit.INTERRUPTED)
    except TfopsError as error:
        return _fail(arguments, error.problems, error.exit_code)
    except Exception as error:
        traceback.print_exc(file=sys.stderr)
        problem = Problem(
            code="bug",
            message=f"a bug in tfops: {error!r}",
            hint="please report it, with the traceback above",
        )
        return _fail(arguments, (problem,), Exit.FAILED)


def _usage(error: click.ClickException) -> tuple[Problem, ...]:
    ctx = getattr(error, "ctx", None)
    hint = f"see {ctx.command_path} --help" if ctx is not None else "see tfops --help"
    return (Problem(code="usage", message=error.format_message(), hint=hint),)


def _fail(arguments: list[str], problems: tuple[Problem, ...], code: Exit) -> Exit:
    from tfops.cli.output import Result, Screen

    command = next((word for word in arguments if word in COMMANDS), "error")
    screen = Screen(as_json=_wants_json(arguments), verbose=False)
    screen.show(Result(command=command, exit_code=code, problems=problems))
    return code


def _wants_json(arguments: list[str]) -> bool:
    # Asked for again, because parsing may be what failed.
    pairs = zip(arguments, [*arguments[1:], ""], strict=True)
    return "--format=json" in arguments or ("--format", "json") in list(pairs)
