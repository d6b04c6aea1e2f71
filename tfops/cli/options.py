"""Options that several commands share, and what a command is given to work with."""

import functools
import os
import signal
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar, cast

import click

from tfops.cli.output import Screen
from tfops.steps.caller import Caller

Function = TypeVar("Function", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """The global options, and the screen."""

    directory: Path
    config_file: Path | None
    screen: Screen

    def caller(self) -> Caller:
        """Who runs tfops. From here on signals ask for a gentle stop."""
        stop = threading.Event()
        _handle_signals(stop, self.screen)
        return Caller(
            directory=self.directory,
            environ=dict(os.environ),
            config_file=self.config_file,
            stop=stop,
            say=self.screen.say,
        )


def _handle_signals(stop: threading.Event, screen: Screen) -> None:
    def ask_to_stop(number: int, _frame: object) -> None:
        name = signal.Signals(number).name
        if stop.is_set():
            screen.say("", f"{name} again: still waiting, for a second signal would make Terraform lose data")
        else:
            screen.say("", f"{name}: stopping gently; Terraform finishes what is under way")
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, ask_to_stop)


def output_options(function: Function) -> Function:
    """--format and -v, also behind the command's name."""

    @functools.wraps(function)
    def wrapper(setting: Setting, /, *args: Any, **kwargs: Any) -> Any:
        screen, format_, verbose = setting.screen, kwargs.pop("format_"), kwargs.pop("verbose")
        if format_:
            screen.as_json = format_ == "json"
        screen.verbose = screen.verbose or verbose
        return function(replace(setting, screen=screen), *args, **kwargs)

    with_setting: Callable[..., Any] = click.pass_obj(wrapper)
    verbosely = click.option("-v", "--verbose", is_flag=True, help="Say more on stderr.")
    formatted = click.option(
        "--format", "format_", type=click.Choice(["text", "json"]), help="Text for people, or one JSON document."
    )
    return cast(Function, formatted(verbosely(with_setting)))


branch_option = click.option(
    "--branch", metavar="NAME", help="The branch; else the one checked out, or the pipeline's."
)
jobs_option = click.option(
    "--jobs", type=click.IntRange(1, 64), help="Stacks at once; by default from cores and memory."
)
