"""What a scan found, for looking at: a table of stacks, what moved in each, and what to do."""

from collections.abc import Iterable, Iterator
from datetime import datetime

from rich.console import RenderableType
from rich.text import Text

from tfops.changes import Plan
from tfops.drift import QUIET, Found, Tag
from tfops.drift_sentences import cause
from tfops.report.counts import plural
from tfops.report.neutral import neutral
from tfops.report.plan_text import three_sides
from tfops.report.tables import OUTCOME_STYLE, table
from tfops.three_way import Word

_BAD = frozenset({Tag.CONFLICT, Tag.DELETED, Tag.MODIFIED, Tag.REPLACE, Tag.TAINTED, Tag.CHECK_FAILED})
_WORD_STYLE = {Word.REVERT: "yellow", Word.CONFLICT: "bold red", Word.KEPT: "green"}


def verdict_style(verdict: str) -> str:
    """How a verdict looks on a terminal."""
    if verdict in OUTCOME_STYLE:
        return OUTCOME_STYLE[verdict]
    if verdict in {tag.value for tag in QUIET}:
        return "green"
    return "bold red" if verdict in {tag.value for tag in _BAD} else "yellow"


def span(seconds: float) -> str:
    """A duration, in the one unit a person would use."""
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 1.5 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def verdict_table(rows: Iterable[tuple[str, str, datetime | None, datetime, str]]) -> RenderableType:
    """One line a stack: its verdict, how long that is open, and why."""
    found = table("stack", "verdict", "open for", "why")
    for stack, verdict, since, at, why in rows:
        found.add_row(
            Text(stack, "bold"),
            Text(verdict, verdict_style(verdict)),
            Text(span((at - since).total_seconds()) if since else "–", "" if since else "dim"),
            Text(neutral(why)),
        )
    return found


def objects(resources: Iterable[Found], plan: Plan | None = None) -> Iterator[Text]:
    """Each object that is not in sync: what happened to it, and what each attribute was, is and would become.

    `plan` is redacted; without one only the names of attributes are shown.
    """
    for found in resources:
        text = Text("  ")
        text.append(neutral(found.address), "bold" if set(found.tags) - QUIET else "dim")
        text.append(f"  {' '.join(tag.value for tag in found.tags)}", verdict_style(found.tags[0].value))
        text.append(f"  {neutral(cause(found))}", "dim")
        yield text
        for item in found.attributes:
            if item.verdict in _WORD_STYLE:
                line = f"      {neutral(item.path)}: {item.verdict.value}{_values(plan, found.address, item.path)}"
                yield Text(line, _WORD_STYLE[item.verdict])


def _values(plan: Plan | None, address: str, attribute: str) -> str:
    sides = three_sides(plan, address, attribute) if plan else None
    return "" if sides is None else f"; was {sides[0]}, is {sides[1]}, would become {sides[2]}"


def counted(verdicts: Iterable[str]) -> str:
    """ "3 in_sync, 1 modified"."""
    numbers: dict[str, int] = {}
    for verdict in verdicts:
        numbers[verdict] = numbers.get(verdict, 0) + 1
    return ", ".join(f"{number} {verdict}" for verdict, number in numbers.items()) or plural(0, "stack")
