"""A plan as a comment on a pull request: counts and dangers in sight, the resources folded, never too long.

Rendered from the redacted JSON alone. Nothing in a plan can mention people, open HTML or end a code block.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from tfops.changes import Plan, Summary, plan_of, summarize
from tfops.dangers import dangers_of
from tfops.report.fitting import Part, fitted, size
from tfops.report.markdown import block, html_text, inline
from tfops.report.plan_text import (
    drift_lines,
    headline,
    output_lines,
    resource_lines,
    shown_resources,
)

_LEFT_OUT = (
    "\n_{count} of {total} parts are left out or shortened: the comment would be too long."
    " The plan artifact has all of them._\n"
)
_RESERVED = 200  # bytes kept free for that sentence


def render_markdown(
    title: str, redacted: Mapping[str, Any], *, notes: Iterable[str] = (), limit_bytes: int = 60_000
) -> str:
    """The plan as Markdown of at most `limit_bytes` bytes; a sentence says what was left out.

    `notes` are sentences of tfops for the reader (what to do next), shown below the counts.
    """
    plan = plan_of(redacted)
    head = "\n\n".join([f"### {inline(title)}", _table(summarize(plan)), *(inline(note) for note in notes)])
    parts = [*_danger_parts(plan), *(_folded(heading, lines) for heading, lines in plan_pieces(plan))]
    fit = fitted(parts, limit_bytes - _RESERVED - size(head))
    text = "\n".join([f"{head}\n", *fit.chosen]) + "\n"
    if fit.missing:
        text += _LEFT_OUT.format(count=fit.missing, total=len(parts))
    return text.encode()[: max(limit_bytes, 0)].decode(errors="ignore")


def plan_pieces(plan: Plan) -> list[tuple[str, list[str]]]:
    """What a plan does, piece by piece: a heading (one line, neutral) and the lines below it."""
    pieces = [(headline(entry), resource_lines(entry)) for entry in shown_resources(plan)]
    beside = [("Outputs", output_lines(plan)), ("Changed outside Terraform", drift_lines(plan))]
    return pieces + [piece for piece in beside if piece[1]]


def _table(summary: Summary) -> str:
    counts = {word: count for word, count in summary.as_json().items() if count}
    if summary.unknown:
        counts["unknown"] = summary.unknown
    if not counts:
        return "Nothing changes."
    rows = [list(counts), ["---:"] * len(counts), [str(count) for count in counts.values()]]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _danger_parts(plan: Plan) -> list[Part]:
    dangers = [f"- ⚠️ {inline(danger.sentence)}" for danger in dangers_of(plan)]
    if dangers:
        dangers[0] = f"**Dangers**\n\n{dangers[0]}"
    return [Part(whole=danger) for danger in dangers]


def _folded(heading: str, lines: list[str]) -> Part:
    short = f"\n<div><code>{html_text(heading)}</code></div>"
    if not lines:
        return Part(whole=short)
    # The blank lines make forges read the inside as Markdown again.
    whole = f"\n<details><summary><code>{html_text(heading)}</code></summary>\n\n{block(lines)}\n\n</details>"
    return Part(whole=whole, short=short)
