"""A tree of files at one revision, as the domain sees it: paths, modes and blob ids, contents on demand.

Paths are POSIX, relative to the repository's root, without a leading "./"; the root itself is "".
"""

import posixpath
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Protocol


class Mode(Enum):
    """Git's file modes (the values are Git's own octal words)."""

    FILE = "100644"
    EXECUTABLE = "100755"
    SYMLINK = "120000"
    SUBMODULE = "160000"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One file of a tree: its mode and the id of its content."""

    mode: Mode
    blob: str


class Tree(Protocol):
    """A revision's files. `entries` is complete; `read` gives a file's bytes (a symlink's target text)."""

    @property
    def entries(self) -> Mapping[str, Entry]:
        """Every file of the revision by path."""
        ...

    def read(self, path: str) -> bytes:
        """The bytes of the file at `path`; raises KeyError where there is none."""
        ...


def below(paths: Iterable[str], directory: str) -> list[str]:
    """The paths inside `directory`, at any depth, sorted. "" is the whole tree."""
    prefix = f"{directory}/" if directory else ""
    return sorted(path for path in paths if path.startswith(prefix))


def resolve(directory: str, reference: str) -> str | None:
    """`reference` as seen from `directory`, as a path of the tree; None where it leaves the repository."""
    if reference.startswith("/"):
        return None
    path = posixpath.normpath(posixpath.join(directory, reference))
    if path == ".." or path.startswith("../"):
        return None
    return "" if path == "." else path
