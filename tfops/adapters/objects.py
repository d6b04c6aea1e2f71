"""The store's objects in a directory: write-once creation, compare-and-set replacement, nothing half-written.

An object is complete or absent: bytes go to a temporary file, to the disk, and only then to their name.
"""

import contextlib
import errno
import hashlib
import os
import uuid
from collections.abc import Iterator
from io import FileIO
from pathlib import Path
from typing import Protocol

from tfops.adapters.lock import FileLock, private_directory
from tfops.errors import FailedError


class Objects(Protocol):
    """What every store can do. Keys are POSIX paths; a version stands for an object's exact content."""

    def get(self, key: str) -> bytes | None:
        """The object's bytes, or None where there is none."""
        ...

    def create(self, key: str, data: bytes) -> bool:
        """Write once: False (and nothing changed) where the object exists."""
        ...

    def replace(self, key: str, data: bytes, *, expected: bytes | None) -> bool:
        """Compare and set: False (and nothing changed) unless the object still is `expected` (None: absent)."""
        ...

    def append(self, key: str, data: bytes) -> None:
        """Add to an object while it grows (a journal). The bytes are on the disk when this returns."""
        ...

    def appended(self, key: str) -> bytes:
        """A whole journal; empty where there is none."""
        ...

    def keys(self, prefix: str) -> list[str]:
        """All keys below `prefix/`, sorted."""
        ...

    def names(self, prefix: str) -> list[str]:
        """The distinct next path parts below `prefix/`, sorted."""
        ...

    def delete(self, key: str) -> None:
        """Remove an object; nothing happens where there is none."""
        ...


class DirectoryObjects:
    """Objects in a directory, for one machine. Files are 0600, directories 0700."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def get(self, key: str) -> bytes | None:
        """The object's bytes, or None where there is none."""
        with self._explained("read", key):
            try:
                return self._path(key).read_bytes()
            except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
                return None

    def create(self, key: str, data: bytes) -> bool:
        """Write once: False (and nothing changed) where the object exists."""
        path = self._path(key)
        with self._explained("write", key), self._temporary(path, data) as temporary:
            try:
                os.link(temporary, path)
            except FileExistsError:
                return False
            _sync_directory(path.parent)
            return True

    def replace(self, key: str, data: bytes, *, expected: bytes | None) -> bool:
        """Compare and set: False (and nothing changed) unless the object still is `expected` (None: absent)."""
        if expected is None:
            return self.create(key, data)
        path = self._path(key)
        with (
            self._explained("write", key),
            FileLock.hold(path.parent / ".write-lock"),
            self._temporary(path, data) as temporary,
        ):
            if self.get(key) != expected:
                return False
            temporary.replace(path)
            _sync_directory(path.parent)
            return True

    def append(self, key: str, data: bytes) -> None:
        """Add to an object while it grows (a journal). The bytes are on the disk when this returns."""
        path = self._path(key)
        with self._explained("write", key):
            private_directory(path.parent)
            descriptor = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
            with os.fdopen(descriptor, "wb", buffering=0) as file:
                size = os.fstat(descriptor).st_size
                try:
                    _write_all(file, data)
                    os.fsync(descriptor)
                except OSError:
                    os.ftruncate(descriptor, size)  # whole additions only
                    raise

    def appended(self, key: str) -> bytes:
        """A whole journal; empty where there is none."""
        return self.get(key) or b""

    def keys(self, prefix: str) -> list[str]:
        """All keys below `prefix/`, sorted."""
        base = self._path(prefix)
        with self._explained("list", prefix):
            found = (path for path in base.rglob("*") if path.is_file() and not path.name.startswith("."))
            return sorted(path.relative_to(self.root).as_posix() for path in found)

    def names(self, prefix: str) -> list[str]:
        """The distinct next path parts below `prefix/`, sorted."""
        base = self._path(prefix)
        with self._explained("list", prefix):
            try:
                return sorted(entry.name for entry in base.iterdir() if not entry.name.startswith("."))
            except (FileNotFoundError, NotADirectoryError):
                return []

    def delete(self, key: str) -> None:
        """Remove an object; nothing happens where there is none."""
        with self._explained("delete", key):
            self._path(key).unlink(missing_ok=True)

    def _path(self, key: str) -> Path:
        parts = key.split("/")
        if any(part in {".", ".."} for part in parts) or key.startswith("/") or "\0" in key:
            raise ValueError(f"not a key: {key!r}")
        return self.root.joinpath(*parts)

    @contextlib.contextmanager
    def _temporary(self, path: Path, data: bytes) -> Iterator[Path]:
        private_directory(path.parent)
        temporary = path.parent / f".{path.name[:40]}.{uuid.uuid4().hex}"
        descriptor = os.open(temporary, os.O_CREAT | os.O_WRONLY | os.O_EXCL, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            yield temporary
        finally:
            temporary.unlink(missing_ok=True)

    @contextlib.contextmanager
    def _explained(self, verb: str, key: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise FailedError(
                f"cannot {verb} {key} in the store {self.root}: {error.strerror or error}",
                code=_CODES.get(error.errno or 0, "store.io"),
                hint=_HINTS.get(error.errno or 0, "check the store's directory with `tfops doctor`"),
            ) from error


_CODES = {
    errno.ENOSPC: "store.full",
    errno.EDQUOT: "store.full",
    errno.EACCES: "store.denied",
    errno.EPERM: "store.denied",
    errno.EROFS: "store.denied",
}
_HINTS = {
    errno.ENOSPC: "free space on that disk and run again; nothing half-written was left",
    errno.EDQUOT: "raise the quota or free space and run again; nothing half-written was left",
    errno.EACCES: "run as the owner of the store, or give this user read and write access to it",
    errno.EPERM: "run as the owner of the store, or give this user read and write access to it",
    errno.EROFS: "the store lies on a read-only file system: remount it, or name another path in tfops.hcl",
}


def _write_all(file: FileIO, data: bytes) -> None:
    while data:
        data = data[file.write(data) :]


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def content_version(data: bytes) -> str:
    """What stands for an object's exact content where the store itself has no versions."""
    return hashlib.sha256(data).hexdigest()
