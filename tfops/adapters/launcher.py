"""Stands between tfops and a program that must be neither killed nor left running. A script, never imported.

    python -I -S launcher.py WATCH ENDING PROGRAM ARGUMENT…

ENDING is a file that gets the exit code when the program ended by itself, and stays away when it was killed.
WATCH is the reading end of a pipe tfops holds open. Whatever happens to tfops (also kill -9), the program gets exactly
one SIGINT, on which Terraform stops gently; a second one would make it lose data (reference/terraform.md C3). The
kernel's own parent-death signal cannot do this alone: it comes once for every thread of a dying tfops.

The launcher keeps the locks tfops handed down for as long as the program lives, and keeps them from the program, whose
own daemons would hold them for ever. What a stopped or killed program leaves running in its process group is ended.
"""

import contextlib
import os
import select
import signal
import sys
import time
from collections.abc import Callable

PR_SET_PDEATHSIG = 1
SIGNALLED = 128
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD)
GRACE_SECONDS = 0.2


def main() -> int:
    """Run the program to its end; its exit code, or 128 and the number of the signal that killed it."""
    watch, ending, program = int(sys.argv[1]), sys.argv[2], sys.argv[3:]
    os.umask(0o077)
    wake = _wake_on_signals()
    child = _start(program)
    status, stopped = _supervise(child, watch, wake)
    if stopped or os.WIFSIGNALED(status):
        _end_group(child)
    if os.WIFSIGNALED(status):
        return SIGNALLED + os.WTERMSIG(status)
    _note(ending, os.WEXITSTATUS(status))
    return os.WEXITSTATUS(status)


def _note(ending: str, code: int) -> None:
    with contextlib.suppress(OSError):  # a full disk: then nobody knows, and takes it for killed
        descriptor = os.open(ending, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600)
        os.write(descriptor, str(code).encode())
        os.close(descriptor)


def _wake_on_signals() -> int:
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    for number in SIGNALS:
        signal.signal(number, lambda *_: None)
    return reading


def _start(program: list[str]) -> int:
    launcher = os.getpid()
    prctl = _prctl()
    # Until the child has its own handlers a signal would run ours in it, and be lost.
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    child = os.fork()
    if child:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        return child
    signal.set_wakeup_fd(-1)
    for number in SIGNALS:
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
    os.setpgid(0, 0)
    prctl(launcher)
    os.closerange(3, 1 << 20)
    try:
        os.execvp(program[0], program)  # noqa: S606  (no shell is wanted)
    except OSError as error:
        os.write(2, f"cannot start {program[0]}: {error.strerror}\n".encode())
    os._exit(127)


def _prctl() -> Callable[[int], None]:
    """What the child does so that the death of this single-threaded launcher is one SIGINT too (Linux)."""
    if sys.platform != "linux":
        return lambda launcher: None
    import ctypes

    library = ctypes.CDLL(None, use_errno=True)

    def arm(launcher: int) -> None:
        library.prctl(PR_SET_PDEATHSIG, signal.SIGINT)
        if os.getppid() != launcher:
            os._exit(130)

    return arm


def _supervise(child: int, watch: int, wake: int) -> tuple[int, bool]:
    stopped, poll = False, select.poll()
    for source in (watch, wake):
        poll.register(source, select.POLLIN)
    while True:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return status, stopped
        ready = {source for source, _ in poll.poll()}
        asked = watch in ready  # nothing is ever written: it is ready when tfops is gone
        if asked:
            poll.unregister(watch)
        if wake in ready:
            asked = asked or any(number != signal.SIGCHLD for number in os.read(wake, 4096))
        if asked and not stopped:
            stopped = True
            os.kill(child, signal.SIGINT)


def _end_group(group: int) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(group, number)
            time.sleep(GRACE_SECONDS)


sys.exit(main())
