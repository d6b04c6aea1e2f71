"""Per attribute, a plan is a three-way merge: saved state, reality, code (shared reference drift.md §2.3)."""

import contextlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from tfops.changes import any_true, submask


class Word(StrEnum):
    """What happened to one attribute of an object that drifted."""

    REVERT = "revert"
    KEPT = "kept"
    CONFLICT = "conflict"
    PENDING = "pending"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Attribute:
    """One top-level attribute and its word. Values are compared, never kept."""

    path: str
    verdict: Word


def attributes(was: object, real: object, planned: object, unknown: object) -> tuple[Attribute, ...]:
    """The attributes of a drifted object that differ anywhere, by name. `unknown` is the mask beside `planned`.

    An attribute that did not drift and whose planned value is unknown is left out: it follows from another one.
    """
    old, now, new = (side if isinstance(side, Mapping) else {} for side in (was, real, planned))
    names = sorted({*old, *now, *new})
    words = ((name, _word(old.get(name), now.get(name), new.get(name), submask(unknown, name))) for name in names)
    return tuple(Attribute(path=name, verdict=word) for name, word in words if word is not None)


def _word(saved: object, real: object, planned: object, unknown: object) -> Word | None:
    drifted, hidden = not same(saved, real), any_true(unknown)
    if not drifted:
        return None if hidden or same(real, planned) else Word.PENDING
    if hidden:
        return Word.UNKNOWN
    if same(planned, saved):
        return Word.REVERT
    return Word.KEPT if same(planned, real) else Word.CONFLICT


def same(one: object, other: object) -> bool:
    """Whether two values mean the same: JSON texts by what they say; null, "", [] and {} alike; 1 is not true.

    Terraform writes a set in one order, so the same elements in another order are another list. But where elements
    were only noted differently, their order as a set may have changed with that.
    """
    match _read(one), _read(other):
        case dict() as left, dict() as right:
            return all(same(left.get(key), right.get(key)) for key in {**left, **right})
        case list() as left, list() as right if len(left) == len(right):
            return all(map(same, left, right)) or _is_renoted(left, right)
        case left, right:
            return _canonical(left) == _canonical(right)


def _is_renoted(one: list[Any], other: list[Any]) -> bool:
    is_permuted = sorted(map(_exact, one)) == sorted(map(_exact, other))
    return not is_permuted and sorted(map(_canonical, one)) == sorted(map(_canonical, other))


def _canonical(value: object) -> str:
    return _exact(_meaning(value))


def _meaning(value: object) -> object:
    match _read(value):
        case dict() as found:
            meant = {key: _meaning(child) for key, child in found.items()}
            return {key: child for key, child in meant.items() if child is not None} or None
        case list() as found:
            return [_meaning(child) for child in found]
        case found:
            return found


def _read(value: object) -> object:
    if isinstance(value, str) and value[:1] in ("{", "["):
        with contextlib.suppress(ValueError, RecursionError):
            value = json.loads(value)
    return None if value in ("", [], {}) else value


def _exact(value: object) -> str:
    return json.dumps(value, sort_keys=True)
