"""Choosing stacks by name on the command line."""

import difflib
from collections.abc import Mapping, Sequence

from tfops.errors import UsageError
from tfops.steps.surveyed import Surveyed


def select(everything: Mapping[str, Surveyed], names: Sequence[str]) -> dict[str, Surveyed]:
    """The named stacks (or all, without names), in order. An environment's name means all of its stacks."""
    if not names:
        return dict(everything)
    unknown = [name for name in names if not _meant(everything, name)]
    if unknown:
        close = difflib.get_close_matches(unknown[0], everything, n=1)
        raise UsageError(
            f"there is no stack {unknown[0]!r} on this branch",
            code="usage.unknown_stack",
            hint=(f"did you mean {close[0]}? " if close else "") + "stacks: " + ", ".join(everything),
        )
    wanted = {stack for name in names for stack in _meant(everything, name)}
    return {name: item for name, item in everything.items() if name in wanted}


def _meant(everything: Mapping[str, Surveyed], name: str) -> list[str]:
    if name in everything:
        return [name]
    return [stack for stack, item in everything.items() if item.stack.environment == name]
