"""Stand-ins that behave: a tree of files in memory."""

import hashlib
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
