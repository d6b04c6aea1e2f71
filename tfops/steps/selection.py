"""Choosing stacks by name on the command line."""

import difflib
from collections.abc import Mapping, Sequence
from typing import TypeVar

from tfops.errors import UsageError
from tfops.stacks import Stack
from tfops.steps.surveyed import Surveyed

Named = TypeVar("Named", Surveyed, Stack)


def select(everything: Mapping[str, Named], names: Sequence[str]) -> dict[str, Named]:
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


def _meant(everything: Mapping[str, Named], name: str) -> list[str]:
    if name in everything:
        return [name]
    return [stack for stack, item in everything.items() if _environment(item) == name]


def _environment(item: Surveyed | Stack) -> str:
    return item.environment if isinstance(item, Stack) else item.stack.environment
