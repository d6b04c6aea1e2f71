"""This host and its processes: who we are, whether another run is proven dead, and what it left running (Linux).

A process id alone proves nothing: it is used again, and means another process in another container. So a holder says
its boot, its process-id namespace, its process id and when that process started.
"""

import contextlib
import os
import signal
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

RUN_VARIABLE = "TFOPS_RUN"
"""Set for everything a run starts, so that what a dead run left behind is found."""

_PROC = Path("/proc")
_STARTED_FIELD = 19  # of /proc/PID/stat behind the name (proc(5): starttime)
_END_PAUSE_SECONDS = 0.3


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """A process that cannot be confused with another one, where `boot` is known."""

    host: str
    boot: str | None
    pid: int
    started: int | None
    uid: int


def this_process() -> Process:
    """Ourselves."""
    return Process(
        host=socket.gethostname(), boot=_boot(), pid=os.getpid(), started=_started(os.getpid()), uid=os.getuid()
    )


def is_dead(process: Process) -> bool:
    """Whether it is *proven* that the process has ended; False also where nothing can be known.

    What another user's process left running cannot be seen, so nothing is proven about it.
    """
    if (
        os.getuid() not in (0, process.uid)
        or process.boot is None
        or process.started is None
        or process.boot != _boot()
    ):
        return False
    return _started(process.pid) != process.started


def left_running(run_id: str, *, programs: frozenset[str]) -> tuple[list[int], list[int]]:
    """What a dead run left: process ids of its Terraforms (and launchers), and of what runs on without them.

    `programs` are the names Terraform is started by.
    """
    mark = f"{RUN_VARIABLE}={run_id}".encode()
    marked = [pid for pid in _pids() if pid != os.getpid() and mark in _read(pid, "environ").split(b"\0")]
    terraforms = [pid for pid in marked if _is_one_of(pid, programs)]
    return terraforms, [pid for pid in marked if pid not in terraforms and os.getsid(0) != _session(pid)]


def end_left_behind(run_id: str, *, programs: frozenset[str], say: Callable[[str], None]) -> bool:
    """Whether no Terraform of a dead run is at work here any more; then what runs on without it is ended, and said."""
    terraforms, others = left_running(run_id, programs=programs)
    if terraforms:
        return False
    if others:
        say(f"ending {len(others)} processes that dead run {run_id} left behind")
        end_processes(others)
    return True


def end_processes(pids: list[int]) -> None:
    """End what nobody waits for any more: asked first, then killed."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        alive = [pid for pid in pids if _started(pid) is not None]
        for pid in alive:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, number)
        if alive:
            time.sleep(_END_PAUSE_SECONDS)


def _boot() -> str | None:
    """This boot of this host, seen from this container."""
    try:
        boot = (_PROC / "sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {(_PROC / 'self/ns/pid').readlink()}"
    except OSError:
        return None


def _started(pid: int) -> int | None:
    """When a process started, in clock ticks since boot; None where there is none, or only its remains."""
    fields = _read(pid, "stat").rpartition(b")")[2].split()
    if not fields or fields[0] in (b"Z", b"X"):
        return None
    return int(fields[_STARTED_FIELD])


def _session(pid: int) -> int | None:
    with contextlib.suppress(OSError):
        return os.getsid(pid)
    return None


def _is_one_of(pid: int, programs: frozenset[str]) -> bool:
    words = _read(pid, "cmdline").split(b"\0")[:5]
    return any(os.path.basename(os.fsdecode(word)) in programs for word in words)  # noqa: PTH119


def _pids() -> list[int]:
    try:
        return [int(place.name) for place in _PROC.iterdir() if place.name.isdigit()]
    except OSError:
        return []


def _read(pid: int, name: str) -> bytes:
    try:
        return (_PROC / str(pid) / name).read_bytes()
    except OSError:
        return b""
