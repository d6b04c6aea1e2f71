"""Text from outside in Markdown: it shows what it is, and nothing that reads the comment does anything about it.

That is people (nobody is mentioned), forges (no link, image, reference, quick action), and pipelines and bots whose
commands are found in comments and logs.
"""

import re
from collections.abc import Iterable

from tfops.report.neutral import neutral

# Forges differ in what they still interpret inside code: a zero-width space breaks all of it, everywhere.
_BREAK = "\u200b"
_ACTIVE = re.compile(
    "("
    + "|".join(
        (
            r"`|~(?=~~)",  # the end of a code block
            r"@(?=[\w{<])|[#!](?=\d)",  # people, issues, changes
            r"<(?=[\w/!?])",  # HTML
            r":(?=//)|www(?=\.)",  # links
            r"^\s*/(?=\w)",  # quick actions, and bots that took the idea over
            r"^\s*:(?=:)|#(?=#(?:vso)?\[)",  # commands of GitHub's and Azure's logs
            r"\b(?:atlantis|digger|terrateam)(?=\s)",
        )
    )
    + ")",
    re.IGNORECASE,
)
# What forges make of plain text beyond that: labels, milestones, epics, snippets, issues by another name.
_REFERENCE = re.compile(r"(~(?=[\w\"~])|%(?=[\w\"])|[&$](?=\d)|\bGH-(?=\d))", re.IGNORECASE)
# An underscore between letters or digits is nothing but that, in every Markdown.
_EDGE = r"(?<![^\W_])_|_(?![^\W_])"
_MARKUP = re.compile(rf"[\\*\[\]|<>&~$`]|{_EDGE}")
_FLAT_MARKUP = re.compile(rf"[\\*\[\]`]|{_EDGE}")
_BLOCK = re.compile(r"^(?=\s|[#+=>-]|\d+[.)])")


def inline(text: str) -> str:
    """`text` as Markdown that shows exactly this text, on one line, and does nothing else."""
    return _BLOCK.sub(_BREAK, html_text(text))


def html_text(text: str) -> str:
    """`text` as HTML that shows exactly this text, also where Markdown is read within HTML."""
    return _MARKUP.sub(lambda found: f"&#{ord(found.group())};", _broken(text))


def flat_inline(text: str) -> str:
    """`inline` for forges whose Markdown knows no HTML, and so perhaps none of its entities."""
    return _BLOCK.sub(_BREAK, _FLAT_MARKUP.sub(r"\\\g<0>", _broken(text)))


def inline_code(text: str) -> str:
    """Words of tfops as code within a line, in a table too; what would end it there is shown as an apostrophe."""
    return f"`{inert(re.sub(r'[`|]', chr(39), neutral(text))) or ' '}`"


def block(lines: Iterable[str], language: str = "") -> str:
    """Lines (each of them neutral) as a code block that none of them can end."""
    body = "\n".join(inert(line) for line in lines)
    return f"```{language}\n{body}\n```"


def inert(line: str) -> str:
    """A line of a code block, with everything broken that something might obey."""
    return _ACTIVE.sub(rf"\1{_BREAK}", line)


def _broken(text: str) -> str:
    return _REFERENCE.sub(rf"\1{_BREAK}", inert(neutral(text)))
