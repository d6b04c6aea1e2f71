"""What a reviewer sees of a change on a forge: one comment about all its stacks, dangers first.

Rendered from redacted JSON alone, and always the same for the same review: an unchanged comment need not be sent again.
"""

import re
from collections.abc import Sequence

from tfops.dangers import DangerKind
from tfops.report.counts import counted, plural, total
from tfops.report.dialects import Dialect, Flat, Folding
from tfops.report.fitting import Fit, Part, clipped, fair_shares, fitted, need, size
from tfops.report.markdown import inline_code
from tfops.report.review import ChangeReview, Standing
from tfops.report.stack_section import StackSection, body, body_need, danger_parts, row, section_of

_RESERVED = 500  # bytes for the heading of the dangers, and for the sentence that says what is left out
_MOST_COMMANDS = 5  # as many plans get commands of their own
_RANK = {kind: rank for rank, kind in enumerate(DangerKind)}
_OPEN = (Standing.WAITING, Standing.PLANNED)
_WORDS = {
    Standing.FAILED: "failed",
    Standing.REFUSED: "refused",
    Standing.WAITING: "waiting for approval",
    Standing.PLANNED: "planned",
    Standing.APPLIED: "applied",
    Standing.NOTHING: "with nothing to do",
}


def render_comment(review: ChangeReview, *, limit: int, folds: bool) -> str:
    """The comment, within `limit` bytes of UTF-8 and so within as many characters; it says what it leaves out.

    Each stack has its fair share of the room: a large one pushes no other out. Without `folds` there is no
    HTML in it at all.
    """
    markdown: Dialect = Folding() if folds else Flat()
    sections = [section_of(stack) for stack in review.stacks]
    head, end = _head(review, sections), _how_to_go_on(sections, markdown, limit // 4)
    columns = markdown.columns(("stack", "outcome", "changes", "plan", "approvals")) if sections else ""
    room = limit - _RESERVED - sum(size(text) + 2 for text in (head, columns, end))
    rows = fitted([Part(whole=row(section, markdown)) for section in sections], room // 2)
    dangers = _dangers(sections, room - rows.size, markdown)
    bodies = _bodies(sections, room - rows.size - sum(fit.size for fit in dangers), markdown)
    texts = [
        head,
        _danger_list(sections, dangers, markdown),
        "\n".join(filter(None, [columns, *rows.chosen])),
        *bodies,
        _left_out(
            rows,
            dangers,
            sum(not text and body_need(section, markdown) > 0 for section, text in zip(sections, bodies, strict=True)),
        ),
        end,
    ]
    text = "\n\n".join(filter(None, texts)) + "\n"
    return text.encode(errors="replace")[: max(limit, 0)].decode(errors="ignore")


def _head(review: ChangeReview, sections: Sequence[StackSection]) -> str:
    """One line over all stacks: how many, what changes, and how they stand."""
    standings = [
        (word, sum(stack.standing is standing for stack in review.stacks)) for standing, word in _WORDS.items()
    ]
    changes = counted(total([section.summary for section in sections if section.summary]))
    parts = [
        plural(len(sections), "stack") if sections else "no stack is affected",
        inline_code(changes) if changes else "",
        ", ".join(f"{count} {word}" for word, count in standings if count),
    ]
    return f"### tfops: {' · '.join(filter(None, parts))}\n\n{_commit(review.head)} → {_commit(review.base)}"


def _commit(name: str) -> str:
    return inline_code(name[:12] if re.fullmatch(r"[0-9a-f]{40,64}", name) else clipped(name, 60))


def _dangers(sections: Sequence[StackSection], room: int, markdown: Dialect) -> list[Fit]:
    """What fits of each stack's dangers. They come before the plans, but take no more than half where both are long."""
    parts = [danger_parts(section, markdown) for section in sections]
    more = [size(_more(section, 10**6, markdown)) + 1 if section.dangers else 0 for section in sections]
    needs = [need(some) + own for some, own in zip(parts, more, strict=True)]
    all_of_it, _ = fair_shares([sum(needs), sum(body_need(section, markdown) for section in sections)], room)
    rooms = fair_shares(needs, all_of_it)
    return [fitted(some, own - also) for some, own, also in zip(parts, rooms, more, strict=True)]


def _danger_list(sections: Sequence[StackSection], fits: Sequence[Fit], markdown: Dialect) -> str:
    """The dangers of all stacks, the worst first; then how many more there are."""
    found = [
        (_RANK[danger.kind], text)
        for section, fit in zip(sections, fits, strict=True)
        for danger, text in zip(section.dangers, fit.forms, strict=True)
        if text
    ]
    lines = [text for _, text in sorted(found, key=lambda ranked: ranked[0])]
    lines += [
        _more(section, fit.left_out, markdown)
        for section, fit in zip(sections, fits, strict=True)
        if fit.chosen and fit.left_out
    ]
    return "\n".join(["**Dangers**", "", *lines]) if lines else ""


def _more(section: StackSection, count: int, markdown: Dialect) -> str:
    return f"- ⚠️ **{markdown.text(section.name)}**: {count} more"


def _bodies(sections: Sequence[StackSection], room: int, markdown: Dialect) -> list[str]:
    """As much of each stack's plan as fits into its fair share; "" where there is nothing to say, or no room for it."""
    rooms = fair_shares([body_need(section, markdown) for section in sections], room)
    return [body(section, own, markdown) for section, own in zip(sections, rooms, strict=True)]


def _left_out(rows: Fit, dangers: Sequence[Fit], plans: int) -> str:
    hidden = sum(not fit.chosen for fit in dangers if fit.left_out)
    words = [
        plural(rows.left_out, "stack") if rows.left_out else "",
        f"the dangers of {plural(hidden, 'stack')}" if hidden else "",
        f"the plans of {plural(plans, 'stack')}" if plans else "",
    ]
    if not any(words):
        return ""
    said = ", ".join(filter(None, words))
    read = inline_code("tfops inspect PLAN")
    return f"_The comment would be too long. Not shown here: {said}. {read} shows a plan in full._"


def _how_to_go_on(sections: Sequence[StackSection], markdown: Dialect, room: int) -> str:
    found = [section for section in sections if section.plan and section.review.standing in _OPEN]
    if not found:
        return ""
    title = "**How to go on**\n\n"
    lines = [f"- {markdown.text(one.name)}: {_commands(one.plan, one.review.standing)}" for one in found]
    text = title + "\n".join(lines)
    if len(found) <= _MOST_COMMANDS and size(text) <= room:
        return text
    standing = min((one.review.standing for one in found), key=_OPEN.index)
    return f"{title}- For each plan: {_commands('PLAN', standing)}."


def _commands(plan: str, standing: Standing) -> str:
    read = f"read it with {inline_code(f'tfops inspect {plan}')}"
    approve = f", approve it with {inline_code(f'tfops approve {plan}')}"
    return read + (approve if standing is Standing.WAITING else "")
