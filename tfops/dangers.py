"""What a reviewer must not overlook in a plan: one sentence each, the most dangerous first."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

from tfops.changes import Action, Change, Plan, ResourceChange, any_true, submask


class DangerKind(Enum):
    """The kinds of danger, most dangerous first."""

    DELETE = "delete"
    REPLACE = "replace"
    UNKNOWN_ACTION = "unknown_action"
    FORGET = "forget"
    DEPOSED = "deposed"
    INCOMPLETE = "incomplete"
    CHECK = "check"
    UNMASKED = "unmasked"
    GONE = "gone"


_ORDER = {kind: rank for rank, kind in enumerate(DangerKind)}
_REASONS = {
    "replace_because_tainted": "it is tainted",
    "replace_because_cannot_update": "it cannot be changed in place",
    "replace_by_request": "the plan was asked to",
    "replace_by_triggers": "replace_triggered_by names something that changes",
    "delete_because_no_resource_config": "it is no longer in the configuration",
    "delete_because_wrong_repetition": "count or for_each of its resource came or went",
    "delete_because_count_index": "its index is beyond count",
    "delete_because_each_key": "its key is no longer in for_each",
    "delete_because_no_module": "its module is no longer in the configuration",
    "delete_because_no_move_target": "the target of its move is not in the configuration",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Danger:
    """One danger: what kind, where, and a sentence that names both and the reason."""

    kind: DangerKind
    address: str
    sentence: str


def dangers_of(plan: Plan) -> tuple[Danger, ...]:
    """All dangers of a plan, most dangerous first, then by address ("" for the plan as a whole)."""
    found = [*_of_plan(plan), *_of_checks(plan), *_of_outputs(plan)]
    for entry in plan.resource_changes:
        found += _of_change(entry)
    found += [
        _danger(DangerKind.GONE, entry, "no longer exists: somebody deleted it outside Terraform")
        for entry in plan.resource_drift
        if entry.action is Action.DELETE
    ]
    return tuple(sorted(found, key=lambda danger: (_ORDER[danger.kind], danger.address)))


def _of_plan(plan: Plan) -> Iterator[Danger]:
    if plan.errored:
        sentence = "The plan ended with an error: it is partial, and Terraform refuses to apply it."
        yield Danger(kind=DangerKind.INCOMPLETE, address="", sentence=sentence)
    elif plan.complete is False:
        sentence = "The plan is not complete (targeted, or something was deferred): more will change later."
        yield Danger(kind=DangerKind.INCOMPLETE, address="", sentence=sentence)


def _of_checks(plan: Plan) -> Iterator[Danger]:
    for check in plan.checks:
        if check.status in ("fail", "error"):
            why = f": {' '.join(check.problems)}" if check.problems else "."
            word = "fails" if check.status == "fail" else "could not be evaluated"
            sentence = f"The check of {check.address} {word}{why}"
            yield Danger(kind=DangerKind.CHECK, address=check.address, sentence=sentence)


def _of_outputs(plan: Plan) -> Iterator[Danger]:
    for name, change in plan.output_changes.items():
        if _unmasked(change):
            sentence = f"output.{name} was sensitive and will be readable."
            yield Danger(kind=DangerKind.UNMASKED, address=f"output.{name}", sentence=sentence)


def _of_change(entry: ResourceChange) -> Iterator[Danger]:
    yield from _of_action(entry)
    if _unmasked(entry.change):
        yield _danger(DangerKind.UNMASKED, entry, "has values that were sensitive and will be readable")


def _of_action(entry: ResourceChange) -> Iterator[Danger]:
    match entry.action:
        case Action.DELETE if entry.deposed is not None:
            text = f"has an object left from an earlier replacement ({entry.deposed}) that will be destroyed"
            yield _danger(DangerKind.DEPOSED, entry, text)
        case Action.DELETE if entry.mode == "managed":
            yield _danger(DangerKind.DELETE, entry, f"will be destroyed{_because(entry)}")
        case Action.REPLACE if entry.mode == "managed":
            yield _danger(DangerKind.REPLACE, entry, f"{_replacement(entry)}{_because(entry)}")
        case Action.FORGET:
            yield _danger(DangerKind.FORGET, entry, "will no longer be managed; the object itself stays")
        case Action.UNKNOWN:
            words = ", ".join(entry.change.actions) or "none"
            loss = " and may destroy it" if "delete" in entry.change.actions else ""
            yield _danger(DangerKind.UNKNOWN_ACTION, entry, f"has actions that tfops does not know ({words}){loss}")
        case _:
            return


def _danger(kind: DangerKind, entry: ResourceChange, text: str) -> Danger:
    return Danger(kind=kind, address=entry.address, sentence=f"{entry.address} {text}.")


def _replacement(entry: ResourceChange) -> str:
    if "forget" in entry.change.actions:
        return "will be replaced, and the old object left to itself"
    order = "the new object first" if entry.change.actions[0] == "create" else "destroyed, then created"
    return f"will be replaced ({order})"


def _because(entry: ResourceChange) -> str:
    reason = _REASONS.get(entry.action_reason or "")
    paths = ", ".join(_path(path) for path in entry.change.replace_paths)
    if paths:
        return f" because {paths} cannot be changed in place"
    if reason:
        return f" because {reason}"
    return f" ({entry.action_reason})" if entry.action_reason else ""


def _path(path: object) -> str:
    """`tags["a b"][0]` out of ["tags", "a b", 0]."""
    if not isinstance(path, list):
        return str(path)
    steps = [f".{step}" if str(step).isidentifier() else f"[{json.dumps(step)}]" for step in path]
    return "".join(steps).lstrip(".")


def _unmasked(change: Change) -> bool:
    """Whether a value that is sensitive now will be readable after."""
    return any_true(change.before_sensitive) and _shown(change.before_sensitive, change.after_sensitive, change.after)


def _shown(before: object, after: object, value: object) -> bool:
    if value is None or after is True or not any_true(before):
        return False
    if before is True and not any_true(after):
        return True
    children: list[tuple[str | int, object]] = []
    match value:
        case dict():
            children = list(value.items())
        case list():
            children = list(enumerate(value))
        case _:
            return not any_true(after)
    return any(_shown(submask(before, key), submask(after, key), child) for key, child in children)
