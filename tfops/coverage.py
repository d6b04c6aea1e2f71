"""Does what people approved cover what would be applied? Item by item, changes and inputs (ADR 0013)."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

_COMMITTED = ("files", "settings")
"""What a commit brings. What upstream stacks and passed variables bring shows in the changes of the plan."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """What a plan would do and what it was made from, as two sets of items: where, and the digest of what is there.

    Of the inputs only those count that differ from the ones before.
    """

    changes: frozenset[tuple[str, str]]
    inputs: frozenset[tuple[str, str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Approved:
    """The content of a plan, and the people who approved it."""

    content: Content
    people: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """What too few people approved: addresses and inputs, sorted; empty where all is covered."""

    changes: tuple[str, ...] = ()
    inputs: tuple[str, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Whether everything is covered."""
        return not (self.changes or self.inputs)

    @property
    def words(self) -> tuple[str, ...]:
        """Each item as a person reads it."""
        return (
            *(f"{address} would change in a way that no approved plan says" for address in self.changes),
            *(f"{name} is as no approved plan has it" for name in self.inputs),
        )


def content(changes: Iterable[tuple[str, str]], *, before: bytes | None, now: bytes) -> Content:
    """The content of a plan, `before` and `now` being the manifests of the inputs it starts from and is made of.

    Without one before (a stack that was never deployed) every input is new.
    """
    old = _items(before) if before is not None else {}
    new = _items(now)
    different = {name: new.get(name, "gone") for name in {**old, **new} if old.get(name) != new.get(name)}
    return Content(changes=frozenset(changes), inputs=frozenset(different.items()))


def gap(wanted: Content, approved: Iterable[Approved], count: int) -> Gap:
    """What of `wanted` fewer than `count` people approved, in whichever plans."""
    known = list(approved)
    changes = [item for item in wanted.changes if len(_behind(item, known)) < count]
    inputs = [item for item in wanted.inputs if len(_behind(item, known)) < count]
    return Gap(changes=_names(changes), inputs=_names(inputs))


def backers(wanted: Content, approved: Iterable[Approved]) -> frozenset[str]:
    """The people who approved all of `wanted`, in whichever plans."""
    known = list(approved)
    found = frozenset(person for one in known for person in one.people)
    return found.intersection(*(_behind(item, known) for item in (*wanted.changes, *wanted.inputs)))


def people_behind(wanted: Content, approved: Iterable[Approved]) -> dict[str, frozenset[str]]:
    """For each input that differs, the people who approved it as it is."""
    known = list(approved)
    return {name: _behind((name, digest), known) for name, digest in wanted.inputs}


def touches(content: Content, wanted: Content) -> bool:
    """Whether a plan says anything about what is wanted."""
    return bool(content.changes & wanted.changes or content.inputs & wanted.inputs)


def _behind(item: tuple[str, str], approved: Iterable[Approved]) -> frozenset[str]:
    plans = (one for one in approved if item in one.content.changes or item in one.content.inputs)
    return frozenset(person for one in plans for person in one.people)


def _names(items: Iterable[tuple[str, str]]) -> tuple[str, ...]:
    return tuple(sorted({name for name, _ in items}))


def _items(manifest: bytes) -> Mapping[str, str]:
    document = json.loads(manifest)
    return {
        f"setting {name}" if part == "settings" else name: json.dumps(value, sort_keys=True)
        for part in _COMMITTED
        for name, value in document[part].items()
    }
