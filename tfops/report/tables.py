"""Results as a person reads them: tables and sentences, as rich renderables. Pure; printing happens in the CLI."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from tfops.attestation import Check
from tfops.errors import Problem
from tfops.report.counts import SIGNS, plural
from tfops.report.neutral import indented, neutral

OUTCOME_STYLE = {
    "converged": "green",
    "applied": "bold green",
    "in_sync": "green",
    "pending": "yellow",
    "waiting": "yellow",
    "skipped": "dim",
    "locked": "magenta",
    "refused": "bold red",
    "failed": "bold red",
    "error": "bold red",
}
_STYLES = {
    "create": "green",
    "update": "yellow",
    "replace": "bold red",
    "delete": "bold red",
    "import": "cyan",
    "move": "cyan",
    "forget": "magenta",
}


def counts(summary: Mapping[str, int]) -> Text:
    """A summary as "+2 ~1 ±1": only what there is; a dash for nothing."""
    parts = [Text(f"{sign}{summary[name]}", _STYLES[name]) for name, sign in SIGNS.items() if summary.get(name)]
    if summary.get("output"):
        parts.append(Text(plural(summary["output"], "output"), "dim"))
    return Text(" ").join(parts) if parts else Text("–", "dim")


def stack_table(rows: Iterable[tuple[str, str, Mapping[str, int], str | None, Sequence[str]]]) -> Table:
    """One line per stack: name, outcome, counts, plan, why; each further reason is on a line of its own."""
    found = table("stack", "outcome", "changes", "plan", "why")
    for stack, outcome, summary, plan_id, why in rows:
        found.add_row(
            Text(stack, "bold"),
            Text(outcome, OUTCOME_STYLE.get(outcome, "")),
            counts(summary),
            Text(plan_id[:12] if plan_id else "–", "cyan" if plan_id else "dim"),
            Text("\n".join(map(indented, why))),
        )
    return found


def problem_lines(problems: Iterable[Problem]) -> Iterator[Text]:
    """Each problem: what happened, its code, and on the next line what to do."""
    for problem in problems:
        text = Text("error: ", "bold red")
        text.append(neutral(problem.message), "default")
        text.append(f"  [{problem.code}]", "dim")
        if problem.hint:
            text.append(f"\n       {neutral(problem.hint)}", "cyan")
        yield text


def checks_table(checks: Sequence[Check]) -> Table:
    """One line per check of a verification."""
    found = table("", "check", "detail")
    for check in checks:
        mark = Text("✓", "green") if check.ok else Text("✗", "bold red")
        found.add_row(mark, check.name, Text(neutral(check.detail)))
    return found


def stacks_table(rows: Iterable[tuple[str, str, str, str, str, Sequence[str]]]) -> Table:
    """One line per stack: what it maps to and what it waits for."""
    found = table("stack", "root module", "workspace", "branch", "state", "after")
    for stack, root, workspace, branch, state, after in rows:
        found.add_row(Text(stack, "bold"), root or ".", workspace, branch, state, ", ".join(after) or "–")
    return found


def findings_table(rows: Iterable[tuple[bool, bool, str, str, str]]) -> Table:
    """One line per finding of the doctor."""
    found = table("", "check", "found", "what to do")
    for ok, warning, name, detail, hint in rows:
        mark = Text("✓", "green") if ok else Text("!", "yellow") if warning else Text("✗", "bold red")
        found.add_row(mark, name, Text(neutral(detail)), Text(neutral(hint), "cyan"))
    return found


def lines(*parts: RenderableType) -> Group:
    """Several renderables one below the other."""
    return Group(*parts)


def table(*columns: str) -> Table:
    """An empty table of our look."""
    found = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    for column in columns:
        found.add_column(column, overflow="fold")
    return found
