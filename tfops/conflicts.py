"""What of drift no plan overwrites by itself: what the code and somebody outside both changed, each to its own."""

from tfops.changes import Action, Plan
from tfops.concealment import CHANGED
from tfops.drift import Context, Tag, classify
from tfops.protection import Violation
from tfops.three_way import Word
from tfops.wiring import Wiring


def conflicts(plan: Plan, *, stack: str) -> tuple[Violation, ...]:
    """A violation for each object in conflict that the plan would change.

    Neither the code nor a context is asked: what was saved, what is there and what is planned stand in the plan. Hand
    it in before it is redacted, or ask `hides_drift` first. What is destroyed is no conflict: `protect` is for that.
    """
    found = classify(plan, Wiring(), Context()).resources
    return tuple(
        Violation(words=_words(one.address, paths, stack), addresses=frozenset({one.address}))
        for one in found
        if Tag.CONFLICT in one.tags and one.actions != (Action.DELETE.value,)
        for paths in [[item.path for item in one.attributes if item.verdict is Word.CONFLICT]]
    )


def hides_drift(plan: Plan) -> bool:
    """Whether a redacted plan hides values that drifted, so that nobody can tell from it what is in conflict."""
    return any(_holds(entry.change.after, CHANGED) for entry in plan.resource_drift)


def _words(address: str, paths: list[str], stack: str) -> str:
    return (
        f"{address}: somebody outside changed {', '.join(paths)}, and the code wants yet another value there: applying "
        f"would overwrite what nobody looked at. To look: tfops drift {stack}"
    )


def _holds(value: object, wanted: str) -> bool:
    match value:
        case dict():
            return any(_holds(child, wanted) for child in value.values())
        case list():
            return any(_holds(child, wanted) for child in value)
        case _:
            return value == wanted
