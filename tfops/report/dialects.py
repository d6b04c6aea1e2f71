"""The two kinds of Markdown that forges read: one with tables and HTML that folds, one with neither."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from tfops.report.markdown import flat_inline, html_text, inline


class Dialect(Protocol):
    """How to write what a comment is made of. Cells and bodies are Markdown already, all else is any text."""

    def text(self, text: str) -> str:
        """Text within a line, inert."""
        ...

    def columns(self, names: Sequence[str]) -> str:
        """What stands above rows; "" for nothing."""
        ...

    def row(self, cells: Sequence[str]) -> str:
        """One row; an empty cell is one with nothing to say."""
        ...

    def section(self, title: str, body: str) -> str:
        """Something long, under its title."""
        ...


@dataclass(frozen=True, slots=True)
class Folding:
    """Tables, and sections that are closed at first."""

    def text(self, text: str) -> str:
        """Text within a line, inert."""
        return inline(text)

    def columns(self, names: Sequence[str]) -> str:
        """A table's first two lines."""
        return f"{self.row(names)}\n{self.row([':---'] * len(names))}"

    def row(self, cells: Sequence[str]) -> str:
        """A line of the table."""
        return f"| {' | '.join(cell or '–' for cell in cells)} |"

    def section(self, title: str, body: str) -> str:
        """Folded under its title. The blank lines make forges read the inside as Markdown again."""
        return f"<details><summary>{html_text(title)}</summary>\n\n{body}\n\n</details>"


@dataclass(frozen=True, slots=True)
class Flat:
    """No HTML, and so nothing that folds: headings and lists."""

    def text(self, text: str) -> str:
        """Text within a line, inert."""
        return flat_inline(text)

    def columns(self, names: Sequence[str]) -> str:
        """A list has no columns, but a heading: two lists in a row would be read as one."""
        return "**Stacks**\n"

    def row(self, cells: Sequence[str]) -> str:
        """An item of the list."""
        return f"- {' · '.join(filter(None, cells))}"

    def section(self, title: str, body: str) -> str:
        """Below a heading of its own."""
        return f"#### {self.text(title)}\n\n{body}"
