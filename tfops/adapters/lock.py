"""An operating system's lock on a file, whose descriptor a child process can keep open.

Terraform inherits the lock of its stack: a killed tfops cannot free it while its Terraform still runs.
"""

import contextlib
import errno
import fcntl
import json
import os
import struct
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

from filelock import lock_descriptor

from tfops.errors import FailedError, LockedError

POLL_SECONDS = 0.1
# C's struct flock: type, whence, start, length, pid, and what the compiler pads.
_FLOCK = struct.Struct("hhqqi4x")


class Stop(Protocol):
    """Whether something under way should end gently. A threading.Event is one."""

    def is_set(self) -> bool:
        """Whether it should."""
        ...


def is_locked(path: Path) -> bool:
    """Whether another process holds a POSIX record lock on the file, as Terraform's local backend does.

    Asks only, and takes nothing. Where the system cannot be asked so (not Linux), nobody is seen.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        with path.open("rb") as file:
            answer = fcntl.fcntl(file, fcntl.F_GETLK, _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0))
    except OSError:
        return False
    return bool(_FLOCK.unpack(answer)[0] != fcntl.F_UNLCK)


class FileLock:
    """A held lock. `descriptor` may be inherited; the lock lives until every holder of it is gone."""

    def __init__(self, descriptor: int, path: Path) -> None:
        self.descriptor = descriptor
        self.path = path

    @classmethod
    @contextlib.contextmanager
    def hold(
        cls,
        path: Path,
        *,
        holder: dict[str, object] | None = None,
        wait_seconds: float = 60.0,
        stop: Stop | None = None,
        on_wait: Callable[[str], None] = lambda who: None,
    ) -> Iterator["FileLock"]:
        """Hold the lock at `path`, waiting up to `wait_seconds`; `holder` says who we are to those who wait.

        Raises LockedError `lock.held` naming the holder.
        """
        descriptor = _open(path)
        try:
            _acquire(descriptor, path, wait_seconds, stop or threading.Event(), on_wait)
            _sign_in(descriptor, holder)
            yield cls(descriptor, path)
        finally:
            # Closing, never unlocking: an unlock would also free it for a Terraform that still runs.
            os.close(descriptor)


def private_directory(directory: Path) -> None:
    """Make a directory and what is missing above it, all for the owner only, whatever the umask."""
    if directory.is_dir():
        return
    private_directory(directory.parent)
    directory.mkdir(exist_ok=True, mode=0o700)
    directory.chmod(0o700)


def _open(path: Path) -> int:
    try:
        private_directory(path.parent)
        return os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        raise FailedError(
            f"cannot open the lock {path}: {error.strerror}",
            code="store.full" if full else "store.denied",
            hint="free space" if full else "run as the owner of the store, or give this user access to it",
        ) from error


def _acquire(
    descriptor: int,
    path: Path,
    wait_seconds: float,
    stop: Stop,
    on_wait: Callable[[str], None],
) -> None:
    deadline, told = time.monotonic() + wait_seconds, False
    while not lock_descriptor(descriptor, blocking=False):
        if time.monotonic() >= deadline or stop.is_set():
            raise LockedError(
                f"locked by {who_holds(path)}",
                code="lock.held",
                hint="wait until that run ends and try again; its Terraform keeps the lock if tfops was killed",
            )
        if not told:
            told = True
            on_wait(who_holds(path))
        time.sleep(POLL_SECONDS)


def _sign_in(descriptor: int, holder: dict[str, object] | None) -> None:
    # Only words for people: who holds the lock is decided by the operating system alone.
    if holder is None:
        return
    with contextlib.suppress(OSError):
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps(holder).encode(), 0)


def last_holder(path: Path) -> dict[str, str]:
    """What the last holder that signed in said of itself; empty where that cannot be read."""
    try:
        holder = json.loads(path.read_bytes())
        return {str(name): str(value) for name, value in holder.items()}
    except (OSError, ValueError, AttributeError):
        return {}


def who_holds(path: Path) -> str:
    """A phrase naming the last holder that signed in: "process 12 on build-1 since …"."""
    try:
        return "process {pid} on {host} since {since} (run {run_id})".format_map(last_holder(path))
    except KeyError:
        return "another process"
