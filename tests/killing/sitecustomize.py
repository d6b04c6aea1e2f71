"""Imported by every Python that finds this directory on its path: kills the process at its n-th step to the outside.

A step is a request that writes, a file written, moved or removed, a program started. Whoever is killed before what
changes nothing, a read or a removal of nothing, leaves what he leaves who is killed before the next step: it is none.
`KILL_AT` is n, `KILL_LOG` a file that gets one line for each step; without KILL_AT the steps are only written down.
With `KILL_ONLY` only these kinds of steps count, with commas between them.
"""

import os
import re
import signal
import sys
from pathlib import Path

_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_CALLS = frozenset(
    {"os.rename", "os.link", "os.remove", "os.mkdir", "os.truncate", "subprocess.Popen", "http.client.send"}
)
_WRITES = re.compile(rb"(DELETE|PATCH|POST|PUT) /")
_PASSED_OVER = re.compile(r"^/(dev|proc)/|__pycache__|\.coverage")


def _step(event: str, arguments: tuple[object, ...]) -> str | None:
    if event == "open":
        path, _, flags = arguments
        if not isinstance(flags, int) or not flags & _WRITING or not isinstance(path, str | bytes):
            return None
        name = os.fsdecode(path)
        return None if _PASSED_OVER.search(name) else f"open {name}"
    if event not in _CALLS:
        return None
    if event == "http.client.send" and not _WRITES.match(bytes(arguments[1])[:20]):  # type: ignore[call-overload]
        return None  # or the body of the request before
    if event in ("os.mkdir", "os.remove") and _changes_nothing(event, *arguments):
        return None
    text = repr(arguments[1] if event == "http.client.send" else arguments[0])[:120]
    return None if event != "http.client.send" and _PASSED_OVER.search(text) else f"{event} {text}"


def _changes_nothing(event: str, path: object, *more: object) -> bool:
    """Whether a directory to be made is there or has no place to be in, or a file to be removed is not there."""
    if not isinstance(path, str | bytes) or more[-1] != -1:  # relative to a directory that is open
        return False
    place = Path(os.fsdecode(path))
    is_there = os.path.lexists(place)
    return is_there or not place.parent.is_dir() if event == "os.mkdir" else not is_there


def _install(log: str, kill_at: int, only: frozenset[str]) -> None:
    count = 0
    file = os.open(log, os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    owner = os.getpid()

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal count
        step = _step(event, arguments)
        if step is None or os.getpid() != owner or (only and event not in only):
            return
        count += 1
        os.write(file, f"{count} {step}\n".encode(errors="replace"))
        if count == kill_at:
            os.kill(owner, signal.SIGKILL)

    sys.addaudithook(hook)


if "KILL_LOG" in os.environ:
    kinds = os.environ.get("KILL_ONLY")
    _install(os.environ["KILL_LOG"], int(os.environ.get("KILL_AT", "0")), frozenset(kinds.split(",") if kinds else ()))
