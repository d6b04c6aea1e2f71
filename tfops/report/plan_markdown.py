"""A plan as a comment on a pull request: counts and dangers in sight, the resources folded, never too long.

Rendered from the redacted JSON alone. Nothing in a plan can mention people, open HTML or end a code block.
"""

import html
import re
from collections.abc import Iterable, Mapping
from typing import Any

from tfops.changes import Plan, Summary, plan_of, summarize
from tfops.dangers import dangers_of
from tfops.report.neutral import neutral
from tfops.report.plan_text import (
    drift_lines,
    headline,
    output_lines,
    resource_lines,
    shown_resources,
)

# Forges differ in what they still interpret inside code: a zero-width space breaks all of it, everywhere.
_BREAK = "\u200b"
_ACTIVE = re.compile(r"(`|@(?=\w)|<(?=[\w/!?])|~(?=~~)|#(?=\d)|:(?=//)|www(?=\.))")
_MARKUP = re.compile(r"[\\*\[\]|<>&~$`]|(?<!\w)_|_(?!\w)")
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
    return _joined(head, _parts(plan), limit_bytes)


def inline(text: str) -> str:
    """`text` as Markdown that shows exactly this text, on one line, and does nothing else."""
    return _MARKUP.sub(lambda found: f"&#{ord(found.group())};", _ACTIVE.sub(rf"\1{_BREAK}", neutral(text)))


def _html(text: str) -> str:
    return html.escape(_ACTIVE.sub(rf"\1{_BREAK}", text), quote=False)


def _code(lines: Iterable[str]) -> str:
    body = "\n".join(_ACTIVE.sub(rf"\1{_BREAK}", line) for line in lines)
    return f"```\n{body}\n```"


def _table(summary: Summary) -> str:
    counts = {word: count for word, count in summary.as_json().items() if count}
    if summary.unknown:
        counts["unknown"] = summary.unknown
    if not counts:
        return "Nothing changes."
    rows = [list(counts), ["---:"] * len(counts), [str(count) for count in counts.values()]]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _parts(plan: Plan) -> list[tuple[str, str]]:
    """The parts of the comment in order: each whole, and the short form for where the whole does not fit."""
    dangers = [f"- ⚠️ {inline(danger.sentence)}" for danger in dangers_of(plan)]
    parts = [(danger, "") for danger in dangers]
    if parts:
        parts[0] = (f"**Dangers**\n\n{dangers[0]}", "")
    for entry in shown_resources(plan):
        parts.append(_folded(headline(entry), resource_lines(entry)))
    outputs, drift = output_lines(plan), drift_lines(plan)
    if outputs:
        parts.append(_folded("Outputs", outputs))
    if drift:
        parts.append(_folded("Changed outside Terraform", drift))
    return parts


def _folded(heading: str, lines: list[str]) -> tuple[str, str]:
    short = f"\n<div><code>{_html(heading)}</code></div>"
    if not lines:
        return short, ""
    # The blank lines make forges read the inside as Markdown again.
    whole = f"\n<details><summary><code>{_html(heading)}</code></summary>\n\n{_code(lines)}\n\n</details>"
    return whole, short


def _joined(head: str, parts: list[tuple[str, str]], limit_bytes: int) -> str:
    chosen = [f"{head}\n"]
    left = limit_bytes - _RESERVED - _size(chosen[0])
    missing = 0
    for whole, short in parts:
        fits = next((form for form in (whole, short) if form and _size(form) < left), None)
        missing += fits != whole
        if fits:
            chosen.append(fits)
            left -= _size(fits) + 1
    text = "\n".join(chosen) + "\n"
    if missing:
        text += _LEFT_OUT.format(count=missing, total=len(parts))
    return text.encode()[: max(limit_bytes, 0)].decode(errors="ignore")


def _size(text: str) -> int:
    return len(text.encode())
