"""Writes only for as long as a run holds its stack."""

from collections.abc import Callable

from tfops.adapters.objects import Objects


class GuardedObjects:
    """The store's objects for a run that holds a stack: every write asks first whether it still does."""

    def __init__(self, objects: Objects, check: Callable[[], None]) -> None:
        self._objects = objects
        self._check = check

    def get(self, key: str) -> bytes | None:
        """The object's bytes, or None where there is none."""
        return self._objects.get(key)

    def create(self, key: str, data: bytes) -> bool:
        """Write once, while we hold the stack."""
        self._check()
        return self._objects.create(key, data)

    def replace(self, key: str, data: bytes, *, expected: bytes | None) -> bool:
        """Compare and set, while we hold the stack."""
        self._check()
        return self._objects.replace(key, data, expected=expected)

    def append(self, key: str, data: bytes) -> None:
        """Add to a journal, while we hold the stack."""
        self._check()
        self._objects.append(key, data)

    def appended(self, key: str) -> bytes:
        """A whole journal."""
        return self._objects.appended(key)

    def keys(self, prefix: str) -> list[str]:
        """All keys below `prefix/`, sorted."""
        return self._objects.keys(prefix)

    def names(self, prefix: str) -> list[str]:
        """The distinct next path parts below `prefix/`, sorted."""
        return self._objects.names(prefix)

    def delete(self, key: str) -> None:
        """Remove an object, while we hold the stack."""
        self._check()
        self._objects.delete(key)
