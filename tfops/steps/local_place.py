"""A store in a directory of this machine: stacks are held by an operating system's lock, gone with its last holder."""

import contextlib
import os
import socket
import threading
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from tfops.adapters.lock import FileLock, last_holder, who_holds
from tfops.adapters.objects import DirectoryObjects
from tfops.config_store import LocalStore
from tfops.errors import ConfigError, LockedError, UsageError
from tfops.steps.caller import Caller
from tfops.steps.hold import Hold, LockView, Wanted
from tfops.steps.local_state import LocalState, managed
from tfops.steps.store import lock_name, state_name, unfinished_name


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalPlace:
    """A directory."""

    root: Path

    @property
    def where(self) -> str:
        """The place, as messages name it."""
        return str(self.root)

    @property
    def objects(self) -> DirectoryObjects:
        """The objects there."""
        return DirectoryObjects(self.root)

    @contextlib.contextmanager
    def hold(self, wanted: Wanted) -> Iterator[Hold]:
        """Hold a stack. When the lock is free, every Terraform that had it is gone, too."""
        path = self.root / lock_name(wanted.stack)
        with FileLock.hold(
            path,
            holder=_words(wanted),
            wait_seconds=wanted.wait_seconds,
            stop=wanted.stop,
            on_wait=lambda who: wanted.say(f"waiting for the lock, held by {who}"),
        ) as lock:
            yield Hold(inherit=(lock.descriptor,), lost=threading.Event())

    def is_left_behind(self, stack: str) -> bool:
        """Whether an apply is open: an operating system's lock never outlives its holders."""
        return self.objects.get(unfinished_name(stack)) is not None

    def wait_for_applies(self, wanted: Wanted) -> None:
        """Return when nobody holds the stack."""
        path = self.root / lock_name(wanted.stack)
        with FileLock.hold(
            path,
            wait_seconds=wanted.wait_seconds,
            stop=wanted.stop,
            on_wait=lambda who: wanted.say(f"waiting for the apply of {who}"),
        ):
            pass

    def locks(self, stacks: Collection[str]) -> list[LockView]:
        """Who holds which of the stacks."""
        return [view for stack in stacks if (view := self._lock(stack)) is not None]

    def release(self, stack: str) -> LockView:
        """An operating system's lock cannot be taken away: it is free when its processes have ended."""
        view = self._lock(stack)
        held = f"{stack} is held by {view.holder}" if view else f"nobody holds {stack}"
        raise UsageError(
            f"{held}: a lock in a local store belongs to running processes, and frees itself when they have ended",
            code="usage.lock_not_releasable",
            hint="end that process gently (kill -INT), and wait for its Terraform" if view else "",
            stack=stack,
        )

    def managed_state(self, name: str, workspace: str) -> LocalState:
        """The state tfops keeps for a stack."""
        return managed(self.root / state_name(name), workspace)

    def disk_places(self) -> list[str]:
        """The directory itself."""
        return [str(self.root)]

    def _lock(self, stack: str) -> LockView | None:
        path = self.root / lock_name(stack)
        if not path.exists():
            return None
        try:
            with FileLock.hold(path, wait_seconds=0):
                return None
        except LockedError:
            last = last_holder(path)
        return LockView(
            stack=stack,
            kind="file lock",
            holder=who_holds(path),
            run_id=last.get("run_id"),
            host=last.get("host"),
            since=last.get("since"),
            expires_in_seconds=None,
            epoch=None,
            releasable=False,
        )


def _words(wanted: Wanted) -> dict[str, object]:
    return {
        "pid": os.getpid(),
        "host": socket.gethostname(),
        "run_id": wanted.run_id,
        "since": wanted.since.isoformat(timespec="seconds"),
    }


def local_place(store: LocalStore, caller: Caller) -> LocalPlace:
    """The directory tfops.hcl names, else one by the store's id below the user's state directory."""
    return LocalPlace(root=_root(store, caller))


def _root(store: LocalStore, caller: Caller) -> Path:
    if not store.path:
        return caller.state_home / (store.id or "unnamed")
    path = Path(store.path)
    if store.path.startswith("~/"):
        return caller.home / store.path[2:]
    if not path.is_absolute():
        raise ConfigError(
            f"the store's path {store.path!r} is relative: it would depend on where tfops is started",
            code="config.invalid_value",
            hint="give an absolute path, or one that begins with ~/",
        )
    return path
