"""A plan as a reviewer likes to read it: what it does, what is dangerous, then each resource.

Everything is rendered from the redacted JSON alone. Values are the work of whoever wrote the change: control
characters, escape sequences and text that changes its direction are shown as what they are, never obeyed.
"""

import difflib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from tfops.changes import (
    Action,
    Change,
    Plan,
    ResourceChange,
    Summary,
    action_of,
    any_true,
    plan_of,
    submask,
    summarize,
)
from tfops.dangers import dangers_of
from tfops.report.neutral import neutral

_LONGEST = 160  # characters of one value
_SHARED = 60  # characters that two long values may share before their beginnings are left out
_DIFF_LINES = 60
_UNKNOWN = "(known after apply)"
_SIGNS = {
    Action.CREATE: "+",
    Action.UPDATE: "~",
    Action.DELETE: "-",
    Action.REPLACE: "-/+",
    Action.READ: "<=",
    Action.FORGET: "forget",
    Action.UNKNOWN: "?",
}


def render_text(redacted: Mapping[str, Any]) -> str:
    """The plan as plain text, ending in a newline. `redacted` is what `redact` returned."""
    plan = plan_of(redacted)
    sections = [
        [summary_line(summarize(plan))],
        _titled("Dangers", (f"  ! {neutral(danger.sentence)}" for danger in dangers_of(plan))),
        *([*_indented_resource(entry)] for entry in shown_resources(plan)),
        _titled("Outputs", _output_lines(plan)),
        _titled("Changed outside Terraform", _drift_lines(plan)),
    ]
    return "\n\n".join("\n".join(section) for section in sections if section) + "\n"


def summary_line(summary: Summary) -> str:
    """`1 to create, 2 to update; 1 output changes`, or that nothing changes."""
    counts = summary.as_json()
    outputs = counts.pop("output")
    parts = [f"{count} to {word}" for word, count in counts.items() if count]
    if summary.unknown:
        parts.append(f"{summary.unknown} with unknown actions")
    if outputs:
        parts.append(f"{outputs} output{'s' if outputs > 1 else ''} to change")
    return f"Plan: {', '.join(parts)}." if parts else "Plan: nothing changes."


def shown_resources(plan: Plan) -> list[ResourceChange]:
    """The resources that something happens to, in the plan's order."""
    return [
        entry for entry in plan.resource_changes if entry.action is not Action.NO_OP or entry.moved or entry.imported
    ]


def headline(entry: ResourceChange) -> str:
    """One line per resource: `-/+ aws_instance.web (moved from aws_instance.old)`."""
    remarks = []
    if entry.deposed is not None:
        remarks.append(f"deposed object {entry.deposed}")
    if entry.moved and entry.action is not Action.NO_OP:
        remarks.append(f"moved from {entry.previous_address}")
    if entry.imported and entry.action is not Action.NO_OP:
        remarks.append(f"imported from {_import_id(entry)}")
    suffix = f" ({', '.join(remarks)})" if remarks else ""
    return neutral(f"{_signed(entry)}{suffix}")


def attribute_lines(change: Change) -> list[str]:
    """What happens to the attributes: `name: before → after`, deeper ones by path, unchanged ones not."""
    forced = {json.dumps(path) for path in change.replace_paths}
    return [*_difference(change, (), forced)]


def _titled(title: str, lines: Iterable[str]) -> list[str]:
    found = list(lines)
    return [title, *found] if found else []


def _indented_resource(entry: ResourceChange) -> Iterator[str]:
    yield headline(entry)
    for line in resource_lines(entry):
        yield f"      {line}"


def resource_lines(entry: ResourceChange) -> list[str]:
    """The attribute lines that belong under a resource's headline."""
    if entry.action in (Action.NO_OP, Action.FORGET):
        return []
    return attribute_lines(entry.change)


def _output_lines(plan: Plan) -> Iterator[str]:
    for name, change in plan.output_changes.items():
        action = action_of(change)
        if action is not Action.NO_OP:
            sign = _SIGNS[action]
            # An output is one value: shown like an attribute of that name.
            lines = attribute_lines(_wrapped(name, change))
            yield from (f"  {sign} {line}" for line in lines or [f"{neutral(name)}: changes"])


def output_lines(plan: Plan) -> list[str]:
    """`+ name: value` for every output that changes."""
    return [line.strip() for line in _output_lines(plan)]


def _wrapped(name: str, change: Change) -> Change:
    return replace(
        change,
        before=None if change.before is None else {name: change.before},
        after=None if change.after is None and not any_true(change.after_unknown) else {name: change.after},
        after_unknown={name: change.after_unknown},
        before_sensitive={name: change.before_sensitive},
        after_sensitive={name: change.after_sensitive},
    )


def _drift_lines(plan: Plan) -> Iterator[str]:
    for entry in plan.resource_drift:
        if entry.action is Action.DELETE:
            yield f"  - {neutral(entry.address)} no longer exists"
        elif entry.action is not Action.NO_OP:
            lines = attribute_lines(entry.change)
            if lines:
                yield f"  ~ {neutral(entry.address)}"
                yield from (f"      {line}" for line in lines)


def drift_lines(plan: Plan) -> list[str]:
    """What was changed outside Terraform, as lines."""
    return [line.removeprefix("  ") for line in _drift_lines(plan)]


def three_sides(plan: Plan, address: str, attribute: str) -> tuple[str, str, str] | None:
    """What a drifted attribute was in the state, is in reality, and would become; of a redacted plan.

    None where the plan does not say. In a refresh-only plan nobody knows what it would become.
    """
    drifted = next((entry for entry in plan.resource_drift if entry.address == address), None)
    if drifted is None:
        return None
    planned = next((e for e in plan.resource_changes if e.address == address and e.deposed is None), None)
    was = _side(drifted.change.before, False, drifted.change.before_sensitive, attribute)
    real = _side(drifted.change.after, False, drifted.change.after_sensitive, attribute)
    if planned is None:
        return was, real, _UNKNOWN
    change = planned.change
    return was, real, _side(change.after, change.after_unknown, change.after_sensitive, attribute)


def _side(value: object, unknown: object, mask: object, attribute: str) -> str:
    return _cut(_shown(_at(value, attribute), submask(unknown, attribute), submask(mask, attribute)))


def _signed(entry: ResourceChange) -> str:
    if entry.action is not Action.NO_OP:
        sign = "+/-" if entry.change.actions[:1] == ("create",) and _replaces(entry) else _SIGNS[entry.action]
        return f"{sign} {entry.address}"
    if entry.imported:
        moved = f" (moved from {entry.previous_address})" if entry.moved else ""
        return f"import {entry.address} from {_import_id(entry)}{moved}"
    return f"move {entry.previous_address} → {entry.address}"


def _replaces(entry: ResourceChange) -> bool:
    return entry.action is Action.REPLACE


def _import_id(entry: ResourceChange) -> str:
    importing = entry.change.importing or {}
    return str(importing.get("id") or importing.get("identity") or _UNKNOWN)


def _difference(change: Change, path: tuple[str | int, ...], forced: set[str]) -> Iterator[str]:
    """The lines for one value and what is inside it."""
    keys = _descends(change, path)
    if keys is None:
        yield from _leaf_lines(change, path, forced)
        return
    for key in keys:
        yield from _difference(_element(change, key), (*path, key), forced)


def _descends(change: Change, path: tuple[str | int, ...]) -> list[str] | list[int] | None:
    """The keys to compare one by one; None where the value is shown as a whole."""
    sides = [side for side in (change.before, change.after) if side is not None]
    unknown = change.after_unknown
    if all(isinstance(side, dict) for side in sides) and (len(sides) == 2 or not path) and sides:
        names = {**change.before} if change.before else {}
        names |= change.after or {}
        names |= unknown if isinstance(unknown, dict) else {}
        return sorted(names)
    if len(sides) == 2 and all(isinstance(side, list) for side in sides) and unknown is not True:
        return list(range(max(len(change.before), len(change.after))))
    return None


def _element(change: Change, key: str | int) -> Change:
    return Change(
        before=_at(change.before, key),
        after=_at(change.after, key),
        after_unknown=submask(change.after_unknown, key),
        before_sensitive=submask(change.before_sensitive, key),
        after_sensitive=submask(change.after_sensitive, key),
    )


def _at(value: Any, key: str | int) -> Any:
    match value, key:
        case dict(), str():
            return value.get(key)
        case list(), int():
            return value[key] if key < len(value) else None
        case _:
            return None


def _leaf_lines(change: Change, path: tuple[str | int, ...], forced: set[str]) -> Iterator[str]:
    # Redaction hides on both sides what either side marks.
    mask = change.before_sensitive if any_true(change.before_sensitive) else change.after_sensitive
    before = _shown(change.before, False, mask)
    after = _shown(change.after, change.after_unknown, mask)
    marks = any_true(change.before_sensitive) != any_true(change.after_sensitive)
    if before == after and not marks:
        return
    name = _name(path)
    above = (json.dumps(list(path[: depth + 1])) for depth in range(len(path)))
    note = "  # forces replacement" if any(step in forced for step in above) else ""
    if before == after:
        word = "becomes" if any_true(change.after_sensitive) else "is no longer"
        yield f"{name}: {_cut(after)} {word} sensitive"
    elif _multiline(change):
        yield f"{name}:{note}"
        yield from _diff(change.before, change.after)
    elif change.before is None:
        yield f"{name}: {_cut(after)}{note}"
    else:
        left, right = _pair(before, after)
        yield f"{name}: {left} → {right}{note}"


def _multiline(change: Change) -> bool:
    sides = (change.before, change.after)
    return all(isinstance(side, str) for side in sides) and any("\n" in side for side in sides)


def _diff(before: str, after: str) -> Iterator[str]:
    old, new = before.splitlines(), after.splitlines()
    if max(len(old), len(new)) > 20 * _DIFF_LINES:
        yield f"  ({len(old)} lines → {len(new)} lines)"
        return
    lines = list(difflib.unified_diff(old, new, lineterm="", n=2))[2:]
    for line in lines[:_DIFF_LINES]:
        yield f"  {_cut(neutral(line))}"
    if len(lines) > _DIFF_LINES:
        yield f"  … ({len(lines) - _DIFF_LINES} more lines)"
    if not lines:
        yield "  (only line ends change)"


def _shown(value: Any, unknown: object, mask: object) -> str:
    """A value on one line, as JSON, but for what is unknown or hidden: only those stand without quotes."""
    if unknown is True:
        return _UNKNOWN
    if isinstance(value, dict):
        names = sorted({**value, **(unknown if isinstance(unknown, dict) else {})})
        inner = (
            f"{_quoted(key)}: {_shown(value.get(key), submask(unknown, key), submask(mask, key))}" for key in names
        )
        return f"{{{', '.join(inner)}}}"
    if isinstance(value, list):
        children = enumerate(value)
        inner = (_shown(child, submask(unknown, at), submask(mask, at)) for at, child in children)
        return f"[{', '.join(inner)}]"
    if value is not None and any_true(mask):
        return neutral(str(value))
    return _quoted(value)


def _quoted(value: Any) -> str:
    return neutral(json.dumps(value, ensure_ascii=False))


def _name(path: tuple[str | int, ...]) -> str:
    steps = [f".{step}" if isinstance(step, str) and step.isidentifier() else f"[{_quoted(step)}]" for step in path]
    return neutral("".join(steps).removeprefix(".")) or "value"


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}… ({len(text)} characters)"


def _pair(before: str, after: str) -> tuple[str, str]:
    """Both values, cut so that where they differ stays in sight."""
    shorter = min(len(before), len(after))
    shared = next((at for at in range(shorter) if before[at] != after[at]), shorter)
    if max(len(before), len(after)) <= _LONGEST or shared <= _SHARED:
        return _cut(before), _cut(after)
    start = shared - 20
    return f"…{_cut(before[start:])}", f"…{_cut(after[start:])}"
