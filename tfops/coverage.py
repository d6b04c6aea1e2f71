"""Does what people approved cover what would be applied? Item by item, changes and inputs (ADR 0013)."""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from tfops.tree import Entry

_COMMITTED = ("files", "settings")
"""What a commit brings. What upstream stacks and passed variables bring shows in the changes of the plan."""


GONE = "gone"
SETTING = "setting "
"""How the names of inputs begin that are no files."""
Input = tuple[str, str, str]
"""Which input, what was there before, and what is there now; `GONE` where there is nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """What a plan would do, as items of address and digest, and what it was made from, as steps of its inputs.

    Of the inputs only those count that differ from the ones before.
    """

    changes: frozenset[tuple[str, str]]
    inputs: frozenset[Input]


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
    steps = {(name, old.get(name, GONE), new.get(name, GONE)) for name in {**old, **new}}
    return Content(changes=frozenset(changes), inputs=frozenset(step for step in steps if step[1] != step[2]))


def gap(wanted: Content, approved: Iterable[Approved], count: int) -> Gap:
    """What of `wanted` fewer than `count` people approved, in whichever plans."""
    known = list(approved)
    changes = [item for item in wanted.changes if len(_behind(item, known)) < count]
    inputs = [item for item in wanted.inputs if count and not _is_covered(item, known, count)]
    return Gap(changes=_names(changes), inputs=_names(inputs))


def backers(wanted: Content, approved: Iterable[Approved]) -> frozenset[str]:
    """The people who approved all of `wanted`, in whichever plans."""
    known = list(approved)
    found = frozenset(person for one in known for person in one.people)
    return found.intersection(
        *(_behind(item, known) for item in wanted.changes), *(_behind_all_of(item, known) for item in wanted.inputs)
    )


def is_seen(name: str, wanted: Content, approved: Iterable[Approved], people: frozenset[str]) -> bool:
    """Whether for each step to what that input is now one of these people approved it."""
    known = list(approved)
    items = [item for item in wanted.inputs if item[0] == name]
    return all(_is_reached(item, known, lambda behind: bool(behind & people)) for item in items)


def leading(wanted: Content, approved: Iterable[Approved]) -> frozenset[Input]:
    """All approved steps on a way to what the inputs are now: those of an approved change may be several."""
    steps = {step for one in approved for step in one.content.inputs}
    found: set[Input] = set()
    for name, before, now in wanted.inputs:
        due, known = [now], {before, now}
        while due:
            content_ = due.pop()
            last = {step for step in steps if (step[0], step[2]) == (name, content_)}
            found |= last
            due += (older := {step[1] for step in last} - known)
            known |= older
    return frozenset(found)


def touches(content: Content, wanted: Content, steps: frozenset[Input]) -> bool:
    """Whether a plan says anything about what is wanted, or makes one of the `steps` that lead there."""
    return bool(content.changes & wanted.changes or content.inputs & steps)


def partial(
    plans: Mapping[str, Approved], read: Iterable[Approved], now: bytes, count: int
) -> Mapping[str, tuple[str, ...]]:
    """The plans of which only a part is there, by their keys, and the inputs that are not as they have them, sorted.

    `now` is the manifest of what is there. An input is as a plan has it also where steps lead on from that which
    `count` people approved, in plans that are themselves there as a whole, or in what they `read`.
    """
    present, others, found = _items(now), list(read), dict[str, tuple[str, ...]]()
    while True:
        left = {key: one for key, one in plans.items() if key not in found}
        known = [*left.values(), *others]
        absent = {key: _absent(one.content, present, known, count) for key, one in left.items()}
        if not any(absent.values()):
            return found
        found |= {key: names for key, names in absent.items() if names}


def contains(wanted: Content, other: Content) -> bool:
    """Whether all that a plan does is among what is wanted: whoever is against it is against that, too.

    Where it changes nothing, all that it is made of.
    """
    if other.changes:
        return other.changes <= wanted.changes
    ends = {(name, now) for name, _, now in wanted.inputs}
    return bool(other.inputs) and {(name, now) for name, _, now in other.inputs} <= ends


def _absent(plan: Content, present: Mapping[str, str], known: list[Approved], count: int) -> tuple[str, ...]:
    on = ((name, now, present.get(name, GONE)) for name, _, now in plan.inputs)
    return _names(step for step in on if step[1] != step[2] and not _is_covered(step, known, count))


def _behind(item: tuple[str, str], approved: Iterable[Approved]) -> frozenset[str]:
    return frozenset(person for one in approved if item in one.content.changes for person in one.people)


def _behind_all_of(item: Input, known: list[Approved]) -> frozenset[str]:
    """The people who approved each step to what an input is now."""
    people = frozenset(person for one in known for person in one.people)
    return frozenset(one for one in people if _is_reached(item, known, frozenset({one}).issubset))


def _is_covered(item: Input, known: list[Approved], count: int) -> bool:
    """Whether enough people approved each step to what an input is now; who approved all of them counts for each."""
    throughout = _behind_all_of(item, known)
    return len(throughout) >= count or _is_reached(item, known, lambda behind: len(behind | throughout) >= count)


def _is_reached(item: Input, known: list[Approved], is_enough: Callable[[frozenset[str]], bool]) -> bool:
    """Whether approved steps lead from what an input was to what it is.

    An approval of the last step alone says nothing of what the file was before it: nobody looked at that.
    """
    name, before, now = item
    behind: dict[tuple[str, str], frozenset[str]] = {}
    for one in known:
        for step in one.content.inputs:
            if step[0] == name:
                behind[step[1:]] = behind.get(step[1:], frozenset()) | one.people
    reached, due = {before}, [before]
    while due:
        here = due.pop()
        further = {new for (old, new), people in behind.items() if old == here and is_enough(people)} - reached
        reached |= further
        due += further
    return now in reached


def _names(items: Iterable[tuple[str, ...]]) -> tuple[str, ...]:
    return tuple(sorted({item[0] for item in items}))


def begun(plan: Content, base: Mapping[str, Entry]) -> tuple[str, ...]:
    """The files that a plan begins to read and that its change does not touch: they are in `base` as they are now."""
    return _names(
        (name,) for name, before, now in plan.inputs if before == GONE and name in base and file_item(base[name]) == now
    )


def file_item(entry: Entry | None) -> str:
    """What a file of a tree is, as `content` has it."""
    return GONE if entry is None else json.dumps(f"{entry.mode.value} {entry.blob}")


def _items(manifest: bytes) -> Mapping[str, str]:
    document = json.loads(manifest)
    return {
        f"{SETTING}{name}" if part == "settings" else _file_name(name): json.dumps(value, sort_keys=True)
        for part in _COMMITTED
        for name, value in document[part].items()
    }


def _file_name(path: str) -> str:
    """What an input is called that is a file: one that is named as a setting is, is not taken for that."""
    return f"./{path}" if path.startswith(SETTING) else path
