"""One stack in a comment about a change: its row, its dangers, and its plan, as far as they fit."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from tfops.changes import Summary, plan_of, summarize
from tfops.dangers import Danger, dangers_of
from tfops.report.counts import counted
from tfops.report.dialects import Dialect
from tfops.report.fitting import Part, clipped, fitted, need, size
from tfops.report.markdown import block, inert, inline_code
from tfops.report.neutral import on_one_line
from tfops.report.plan_markdown import plan_pieces
from tfops.report.review import StackReview

_NAME = 100  # characters of a stack's name
_SENTENCE = 400
_SHORT_SENTENCE = 140
_ERROR_LINES = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class StackSection:
    """All that there is to say about a stack, in parts that may be left out."""

    review: StackReview
    summary: Summary | None = None
    dangers: tuple[Danger, ...] = ()
    pieces: list[tuple[str, list[str]]] = field(default_factory=list)

    @property
    def name(self) -> str:
        """The stack's name, on one line and not too long."""
        return clipped(self.review.stack, _NAME)

    @property
    def plan(self) -> str:
        """What people type to name its plan; "" where there is none."""
        return (self.review.plan_id or "")[:12]

    @property
    def changes(self) -> str:
        """The counts of its plan in signs."""
        return counted(self.summary) if self.summary else ""


def section_of(review: StackReview) -> StackSection:
    """The section of a stack; its plan is read once."""
    if review.redacted is None:
        return StackSection(review=review)
    plan = plan_of(review.redacted)
    return StackSection(review=review, summary=summarize(plan), dangers=dangers_of(plan), pieces=plan_pieces(plan))


def row(section: StackSection, markdown: Dialect) -> str:
    """Stack, how it stands, what changes, its plan, who approved and who is asked."""
    review = section.review
    dangers = f"⚠️ {len(section.dangers)}" if section.dangers else ""
    approvals = [", ".join(review.approved_by), f"missing: {review.missing}" if review.missing else ""]
    cells = [
        f"**{markdown.text(section.name)}**",
        review.standing.value,
        " ".join(filter(None, [section.changes and inline_code(section.changes), dangers])),
        inline_code(section.plan) if section.plan else "",
        markdown.text(clipped("; ".join(filter(None, approvals)), _SENTENCE)),
    ]
    return markdown.row(cells)


def danger_parts(section: StackSection, markdown: Dialect) -> list[Part]:
    """A line for each of its dangers, in their order."""
    name = f"- ⚠️ **{markdown.text(section.name)}**"
    return [
        Part(
            whole=f"{name}: {markdown.text(clipped(danger.sentence, _SENTENCE))}",
            short=f"{name}: {markdown.text(clipped(danger.sentence, _SHORT_SENTENCE))}",
        )
        for danger in section.dangers
    ]


def body_need(section: StackSection, markdown: Dialect) -> int:
    """The room that `body` takes for all of it; 0 where there is nothing to say."""
    needs = need(_remarks(section, markdown)) + need(_plan_parts(section))
    return needs + _frame(section, markdown) if needs else 0


def body(section: StackSection, room: int, markdown: Dialect) -> str:
    """Why a stack stands as it does, then its plan, as far as it fits; "" where none of it does."""
    remarks = fitted(_remarks(section, markdown), room - _frame(section, markdown))
    plan = fitted(_plan_parts(section), room - _frame(section, markdown) - remarks.size)
    texts = ["\n".join(remarks.chosen).lstrip("\n"), block(plan.chosen, "diff") if plan.chosen else ""]
    if not any(texts):
        return ""
    if missing := remarks.missing + plan.missing:
        texts.append(_left_out(section, missing, len(remarks.forms) + len(plan.forms)))
    return markdown.section(_title(section), "\n\n".join(filter(None, texts)))


def _frame(section: StackSection, markdown: Dialect) -> int:
    """Room for the title, the code block's ends and the sentence that says what is left out."""
    return size(markdown.section(_title(section), block((), "diff"))) + 150


def _title(section: StackSection) -> str:
    return " · ".join(filter(None, [section.name, section.review.standing.value, section.changes]))


def _remarks(section: StackSection, markdown: Dialect) -> list[Part]:
    """The gate's reasons, and what went wrong."""
    parts = [
        Part(whole=f"- {markdown.text(clipped(on_one_line(reason), _SENTENCE))}") for reason in section.review.reasons
    ]
    if section.review.error is not None:
        lines = [clipped(line, _SENTENCE) for line in section.review.error.splitlines()] or ["failed"]
        more = ["…"] if len(lines) > _ERROR_LINES else []
        parts.append(Part(whole=f"\n{block(lines[:_ERROR_LINES] + more)}", short=f"\n{block(lines[:1])}"))
    return parts


def _plan_parts(section: StackSection) -> list[Part]:
    return [_piece(heading, lines) for heading, lines in section.pieces]


def _piece(heading: str, lines: Sequence[str]) -> Part:
    whole = "\n".join([inert(heading), *(f"    {inert(line)}" for line in lines)])
    return Part(whole=whole, short=inert(clipped(heading, _SENTENCE)))


def _left_out(section: StackSection, missing: int, of: int) -> str:
    read = f": {inline_code(f'tfops inspect {section.plan}')} shows all of them" if section.plan else ""
    return f"_{missing} of {of} parts are left out or shortened{read}._"
