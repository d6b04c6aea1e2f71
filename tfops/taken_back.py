"""What was approved, landed, and was taken back again: an approval from before then counts no more (ADR 0013)."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise

Taken = Mapping[tuple[str, str], "TakenBack"]
"""By input and content, where that was last taken back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """What an input is from a commit on."""

    commit: str
    on: datetime
    item: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TakenBack:
    """The commit that took something back, and when."""

    commit: str
    on: datetime


def taken_back(versions: Sequence[Version]) -> dict[str, TakenBack]:
    """By content, where it was last left for one that had been there before, or left though it came back.

    `versions` are those of one input, the oldest first. Of several moments the latest counts, whatever their order: who
    takes something back on a wrong date gains nothing.
    """
    items = [version.item for version in versions]
    found: dict[str, TakenBack] = {}
    for place, (here, there) in enumerate(pairwise(versions)):
        is_undone = there.item in items[:place] or here.item in items[place + 1 :]
        if there.item != here.item and is_undone:
            before = found.get(here.item)
            if before is None or before.on < there.on:
                found[here.item] = TakenBack(commit=there.commit, on=there.on)
    return found


def outdated(steps: Iterable[tuple[str, str]], said_on: Mapping[str, datetime], taken: Taken) -> dict[str, str]:
    """The people who approved a plan before a step of it was taken back, and why that does not count, in words.

    `steps` are inputs and what the plan makes of them, `said_on` is when each person approved it.
    """
    found: dict[str, str] = {}
    for name, item in sorted(steps):
        back = taken.get((name, item))
        for person, on in sorted(said_on.items()) if back else ():
            if back and on <= back.on:
                found.setdefault(
                    person, f"{name} was taken back in {back.commit[:12]} after {person} approved it: approve it again"
                )
    return found
