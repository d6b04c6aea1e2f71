"""Stand-ins that behave: a tree of files in memory."""

import hashlib
import threading
from collections.abc import Mapping
from dataclasses import dataclass

from tfops.tree import Entry, Mode


@dataclass(frozen=True, slots=True)
class Symlink:
    """A symbolic link to `target`."""

    target: str


@dataclass(frozen=True, slots=True)
class Submodule:
    """Another repository at one commit."""

    commit: str


Content = bytes | str | Symlink | Submodule


class DictTree:
    """A tree out of {path: content}, with the blob ids that Git would give."""

    def __init__(self, files: Mapping[str, Content]) -> None:
        self._files = dict(files)
        self.entries = {path: _entry(content) for path, content in self._files.items()}

    def read(self, path: str) -> bytes:
        content = self._files[path]
        if isinstance(content, Submodule):
            raise KeyError(path)
        return _data(content)

    def with_files(self, files: Mapping[str, Content]) -> "DictTree":
        """The same tree with more, or other, files."""
        return DictTree({**self._files, **files})

    def without(self, *paths: str) -> "DictTree":
        """The same tree with fewer files."""
        return DictTree({path: content for path, content in self._files.items() if path not in paths})


def _entry(content: Content) -> Entry:
    match content:
        case Submodule(commit):
            return Entry(mode=Mode.SUBMODULE, blob=commit)
        case Symlink():
            return Entry(mode=Mode.SYMLINK, blob=_blob_id(_data(content)))
        case _:
            return Entry(mode=Mode.FILE, blob=_blob_id(_data(content)))


def _data(content: bytes | str | Symlink) -> bytes:
    match content:
        case Symlink(target):
            return target.encode()
        case str():
            return content.encode()
        case _:
            return content


def _blob_id(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0%b" % (len(data), data)).hexdigest()


class MemoryObjects:
    """A store's objects in memory; the conformance suite holds it to what every store promises."""

    def __init__(self) -> None:
        self._objects: dict[str, bytes] = {}
        self._lock = threading.Lock()

    def get(self, key: str) -> bytes | None:
        return self._objects.get(_key(key))

    def create(self, key: str, data: bytes) -> bool:
        return self.replace(key, data, expected=None)

    def replace(self, key: str, data: bytes, *, expected: bytes | None) -> bool:
        with self._lock:
            if self._objects.get(_key(key)) != expected:
                return False
            self._objects[key] = data
            return True

    def append(self, key: str, data: bytes) -> None:
        with self._lock:
            self._objects[_key(key)] = self._objects.get(key, b"") + data

    def appended(self, key: str) -> bytes:
        return self.get(key) or b""

    def keys(self, prefix: str) -> list[str]:
        inside = f"{_key(prefix)}/" if prefix else ""
        return sorted(key for key in self._objects if key.startswith(inside))

    def names(self, prefix: str) -> list[str]:
        inside = f"{_key(prefix)}/" if prefix else ""
        return sorted({key[len(inside) :].partition("/")[0] for key in self.keys(prefix)})

    def delete(self, key: str) -> None:
        self._objects.pop(_key(key), None)


def _key(key: str) -> str:
    if {".", ".."} & set(key.split("/")) or key.startswith("/") or "\0" in key:
        raise ValueError(f"not a key: {key!r}")
    return key


class Interruption(BaseException):
    """The moment at which a process dies; nothing catches it."""


class DyingObjects(MemoryObjects):
    """Objects whose process dies before the write numbered `writes_left` (from 0)."""

    def __init__(self, writes_left: int) -> None:
        super().__init__()
        self.writes_left = writes_left

    def replace(self, key: str, data: bytes, *, expected: bytes | None) -> bool:
        if self.writes_left == 0:
            raise Interruption
        self.writes_left -= 1
        return super().replace(key, data, expected=expected)
