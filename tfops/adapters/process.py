"""Runs a program: list of arguments, explicit environment, its own session, output into files, one gentle signal.

Terraform dies of a closed pipe or a hang-up and loses data on a second signal (reference/terraform.md C3), so:
output goes to files, the session is its own, SIGINT is sent once, and then it is waited for, however long.
"""

import contextlib
import os
import select
import signal
import subprocess  # the only module that imports it
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from tfops.adapters.lock import Stop

LAUNCHER = Path(__file__).with_name("launcher.py")
POLL_SECONDS = 0.05
PATIENCE_SECONDS = 30.0
SIGNALLED = 128  # as the launcher says that a signal ended the program


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """What to run: arguments, environment and directory. Built by pure functions, run by `run`."""

    argv: tuple[str, ...]
    env: Mapping[str, str]
    cwd: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a program ended: its exit code (negative: the signal that killed it), and whether we asked it to stop."""

    code: int
    stopped: bool


def run(
    command: Command,
    *,
    stdout: Path,
    stderr: Path,
    stop: Stop,
    inherit: Sequence[int] = (),
    on_line: Callable[[bytes], None] = lambda line: None,
    on_pause: Callable[[], None] = lambda: None,
    on_wait: Callable[[], None] = lambda: None,
) -> Ended:
    """Run to the end. Every complete line of stdout goes to `on_line` while the program runs; `on_pause` follows when
    all that came so far was handed on.

    `inherit` are descriptors (locks) that stay open for as long as the program lives, whatever becomes of us. When
    `stop` is set the program gets one SIGINT; `on_wait` is called every 30 s it then still takes.
    """
    ending = ending_file(stdout)
    ending.unlink(missing_ok=True)
    with _private(stdout) as out, _private(stderr) as err, stdout.open("rb") as reader, _watched() as watch:
        child = subprocess.Popen(  # noqa: S603  (a list, no shell, an explicit environment)
            [sys.executable, "-I", "-S", str(LAUNCHER), str(watch), str(ending), *command.argv],
            env=dict(command.env),
            cwd=command.cwd,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            start_new_session=True,
            pass_fds=(watch, *inherit),
        )
        lines = _Lines(on_line)

        def tick() -> None:
            lines.feed(reader.read())
            on_pause()

        try:
            stopped = _wait(child, tick, stop, on_wait)
        except BaseException:
            # Whatever broke on our side (a full store): the program is never left running unseen.
            child.send_signal(signal.SIGINT)
            child.wait()
            raise
        tick()
    return Ended(code=_code(child.returncode), stopped=stopped)


def ending_file(stdout: Path) -> Path:
    """Where it stands how the program ended, once it ended by itself: its exit code. Written also when we are dead."""
    return stdout.with_suffix(".exit")


def capture(command: Command, *, timeout_seconds: float, stdin: bytes | None = None) -> tuple[int, bytes, bytes]:
    """Run a short program that holds no data (git, a version query): exit code, stdout, stderr.

    Raises TimeoutError; the program is killed then.
    """
    try:
        done = subprocess.run(  # noqa: S603
            list(command.argv),
            env=dict(command.env),
            cwd=command.cwd,
            stdin=subprocess.DEVNULL if stdin is None else None,
            input=stdin,
            capture_output=True,
            timeout=timeout_seconds,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise TimeoutError(f"{command.argv[0]} did not answer within {timeout_seconds:.0f} s") from error
    return done.returncode, done.stdout, done.stderr


def _private(path: Path) -> contextlib.AbstractContextManager[BinaryIO]:
    path.unlink(missing_ok=True)
    return os.fdopen(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_EXCL | os.O_APPEND, 0o600), "wb")


def _wait(
    child: "subprocess.Popen[bytes]",
    tick: Callable[[], None],
    stop: Stop,
    on_wait: Callable[[], None],
) -> bool:
    stopped, patience = False, time.monotonic()
    with _ending(child) as has_ended:
        while not has_ended(POLL_SECONDS):
            tick()
            stopped, patience = _ask(child, stop, stopped, patience, on_wait)
    return stopped


def _ask(
    child: "subprocess.Popen[bytes]", stop: Stop, stopped: bool, patience: float, on_wait: Callable[[], None]
) -> tuple[bool, float]:
    """Ask the program to stop, once; and say so again and again while it takes its time."""
    if stop.is_set() and not stopped:
        child.send_signal(signal.SIGINT)
        return True, time.monotonic()
    if stopped and time.monotonic() - patience > PATIENCE_SECONDS:
        on_wait()
        return stopped, time.monotonic()
    return stopped, patience


@contextlib.contextmanager
def _ending(child: "subprocess.Popen[bytes]") -> Iterator[Callable[[float], bool]]:
    """Says whether the program has ended, after so many seconds at most. Linux tells us; elsewhere we have to look."""

    def looked_for(seconds: float) -> bool:
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(seconds)
        return child.returncode is not None

    if not hasattr(os, "pidfd_open"):
        yield looked_for
        return
    descriptor = os.pidfd_open(child.pid)
    try:
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        yield lambda seconds: bool(poll.poll(seconds * 1000)) and child.wait() is not None
    finally:
        os.close(descriptor)


def _code(code: int) -> int:
    return SIGNALLED - code if code > SIGNALLED else code


@contextlib.contextmanager
def _watched() -> Iterator[int]:
    """The end of a pipe by which the launcher sees us die: we hold the other one open."""
    reading, writing = os.pipe()
    try:
        yield reading
    finally:
        os.close(reading)
        os.close(writing)


class _Lines:
    """Cuts a growing byte stream into complete lines."""

    def __init__(self, on_line: Callable[[bytes], None]) -> None:
        self._on_line = on_line
        self._rest = b""

    def feed(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self._on_line(line)
