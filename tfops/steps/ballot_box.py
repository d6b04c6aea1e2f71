"""The signed decisions over one plan, or one change of the rules, and which of them stand in the audit log.

People have no runner's key, so a runner enters what they decided when it first sees it, and leaves a mark. A mark is
named by a keyed digest of the decision's bytes: only runners can make one, and none fits a decision that was changed.
"""

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass

from tfops.steps.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class BallotBox:
    """What lies at a place of the store: decisions by their ids, and the marks of those that were entered."""

    place: str
    decisions: Mapping[str, bytes]
    marks: frozenset[str]


def open_box(store: Store, place: str) -> BallotBox:
    """The box at a place, as it lies there."""
    found = {name.removesuffix(".json"): store.objects.get(f"{place}/{name}") for name in store.objects.names(place)}
    return BallotBox(
        place=place,
        decisions={name: data for name, data in found.items() if data is not None},
        marks=frozenset(store.objects.names(_marks(place))),
    )


def is_entered(store: Store, box: BallotBox, decision: bytes) -> bool:
    """Whether a decision stands in the audit log."""
    return _mark(store, decision) in box.marks


def mark_entered(store: Store, box: BallotBox, decision: bytes) -> None:
    """Remember that a decision stands in the audit log."""
    store.objects.create(f"{_marks(box.place)}/{_mark(store, decision)}", b"")


def lost(store: Store, box: BallotBox) -> int:
    """How many decisions that stand in the audit log are gone from the box, or changed."""
    return len(box.marks - {_mark(store, decision) for decision in box.decisions.values()})


def _mark(store: Store, decision: bytes) -> str:
    return hmac.digest(store.digest_key, b"tfops decision\0" + decision, hashlib.sha256).hex()


def _marks(place: str) -> str:
    return f"{place}-logged"
