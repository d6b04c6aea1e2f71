"""Runs a program that may do anything: for so long, with so much of its output kept, and nothing of it left running."""

import contextlib
import os
import select
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from tfops.adapters.lock import Stop
from tfops.adapters.process import Command

POLL_SECONDS = 0.05
_CHUNK = 65536


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounded:
    """How it ended: its exit code (negative: the signal), or None where its time was over; and what it wrote first."""

    code: int | None
    output: bytes


def run_bounded(command: Command, *, stdin: Path, timeout_seconds: float, limit: int, stop: Stop) -> Bounded:
    """Run to the end, or to the end of its time, or until `stop` is set; then it and what it started are killed.

    Of what it writes, to stdout and stderr, the first `limit` bytes are kept. Raises OSError where it cannot be
    started. Who asked to stop looks at `stop`: the result says no more than that its time was over.
    """
    with (
        stdin.open("rb") as given,
        subprocess.Popen(  # noqa: S603  (a list, no shell, an explicit environment)
            list(command.argv),
            env=dict(command.env),
            cwd=command.cwd,
            stdin=given,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        ) as child,
    ):
        try:
            code, output = _watch(child, time.monotonic() + timeout_seconds, limit, stop)
        finally:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(child.pid, signal.SIGKILL)
            child.wait()
    return Bounded(code=code, output=output)


def _watch(child: "subprocess.Popen[bytes]", end: float, limit: int, stop: Stop) -> tuple[int | None, bytes]:
    assert child.stdout is not None  # noqa: S101
    pipe, kept, is_open = child.stdout.fileno(), bytearray(), True
    os.set_blocking(pipe, False)
    while time.monotonic() < end and not stop.is_set():
        has_ended = child.poll() is not None  # asked first: what it wrote before is then in the pipe
        if is_open:
            is_open = _drain(pipe, kept, limit, wait=not has_ended)
        elif not has_ended:
            time.sleep(POLL_SECONDS)
        if has_ended:
            break
    return child.returncode, bytes(kept)


def _drain(pipe: int, kept: bytearray, limit: int, *, wait: bool) -> bool:
    """Take what is there, after waiting for it a moment; False where nothing more can come."""
    select.select([pipe], [], [], POLL_SECONDS if wait else 0)
    for _ in range(64):  # a flood must not keep us from looking at the clock
        try:
            data = os.read(pipe, _CHUNK)
        except BlockingIOError:
            return True
        if not data:
            return False
        kept += data[: max(0, limit - len(kept))]
    return True
