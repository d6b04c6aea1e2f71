"""Imported by every Python that finds this directory on its path: kills the process at its n-th step to the outside.

A step is a request sent, a file written, moved or removed, a program started. `KILL_AT` is n, `KILL_LOG` a file that
gets one line for each step; without KILL_AT the steps are only written down.
"""

import os
import re
import signal
import sys

_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_CALLS = frozenset(
    {"os.rename", "os.link", "os.remove", "os.mkdir", "os.truncate", "subprocess.Popen", "http.client.send"}
)
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
    if event == "http.client.send" and not re.match(rb"[A-Z]+ /", bytes(arguments[1])[:20]):  # type: ignore[call-overload]
        return None  # the body of the request before
    text = repr(arguments[1] if event == "http.client.send" else arguments[0])[:120]
    return None if event != "http.client.send" and _PASSED_OVER.search(text) else f"{event} {text}"


def _install(log: str, kill_at: int) -> None:
    count = 0
    file = os.open(log, os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    owner = os.getpid()

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal count
        step = _step(event, arguments)
        if step is None or os.getpid() != owner:
            return
        count += 1
        os.write(file, f"{count} {step}\n".encode(errors="replace"))
        if count == kill_at:
            os.kill(owner, signal.SIGKILL)

    sys.addaudithook(hook)


if "KILL_LOG" in os.environ:
    _install(os.environ["KILL_LOG"], int(os.environ.get("KILL_AT", "0")))
