"""The words, strings and brackets of an HCL text: a tree that says what belongs together and judges nothing.

The scanner follows HCL's own lexer where it decides what is code and what is text: nested templates,
heredocs, escapes, comments. It is more patient where Terraform will complain by itself (unknown escapes,
stray characters). The time is linear in the text.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TypeAlias

from tfops.errors import ConfigError

# People write ten levels, generators perhaps thirty; whoever walks the tree needs some bound.
DEEPEST = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """What stands between two brackets; `opened` is the opening one: ( [ { or, in a text, ${ or %{."""

    opened: str
    nodes: "tuple[Node, ...]"
    line: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """A string or heredoc: literal parts (escapes undone, never two in a row) and the groups between them."""

    parts: tuple[str | Group, ...]
    line: int
    heredoc: bool = False

    @property
    def literal(self) -> str | None:
        """The text, if nothing in it is computed."""
        match self.parts:
            case ():
                return ""
            case (str(text),):
                return text
            case _:
                return None


# A plain str is a word, a number, an operator's character or "\n"; comments and blanks are gone.
Node: TypeAlias = str | Group | Text


def unreadable(path: str, line: int, why: str) -> ConfigError:
    """The one error of this layer: a file that Terraform could not read either."""
    return ConfigError(
        f"{path}:{line}: {why}.",
        code="modules.unreadable",
        hint="Correct the file; `terraform fmt` points at the place.",
    )


def decoded(data: bytes, path: str) -> str:
    """The text of a configuration file without its byte order mark. Raises ConfigError if it is not UTF-8."""
    try:
        return data.decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        line = 1 + data.count(b"\n", 0, error.start)
        raise unreadable(path, line, "this file is not valid UTF-8") from None


def parse(text: str, path: str) -> tuple[Node, ...]:
    """The nodes of an HCL file. Raises ConfigError where brackets, strings or comments do not close."""
    return _Scanner(text, path, _Frame(opened="", line=1)).run()


def parse_template(text: str, line: int) -> Text:
    """A template without quotes around it. Raises ConfigError where something in it does not close."""
    return Text(parts=_joined(_Scanner(text, "", _Frame(opened=_BARE, line=line)).run()), line=line)


def split(nodes: Iterable[Node], separators: set[str]) -> Iterator[tuple[Node, ...]]:
    """The runs of nodes between separators; empty ones are left out."""
    run: list[Node] = []
    for node in nodes:
        if not isinstance(node, str) or node not in separators:
            run.append(node)
        elif run:
            yield tuple(run)
            run = []
    if run:
        yield tuple(run)


def unwrapped(value: Iterable[Node]) -> tuple[Node, ...]:
    """An expression without line breaks and without parentheses around all of it."""
    nodes = tuple(node for node in value if node != "\n")
    match nodes:
        case (Group(opened="(", nodes=inside),):
            return unwrapped(inside)
        case _:
            return nodes


def beginning(value: Iterable[Node]) -> str:
    """What a template literally begins with."""
    match unwrapped(value):
        case (Text(parts=(str(known), *_)),):
            return known
        case _:
            return ""


@dataclass(slots=True)
class _Frame:
    """A construct that is still open: its opening mark, where it began, what it holds so far."""

    opened: str
    line: int
    marker: str = ""
    nodes: list[Node] = field(default_factory=list)


_BARE = "a template"
_CLOSED_BY = {"{": "}", "${": "}", "%{": "}", "[": "]", "(": ")"}

# A word is wider than HCL's identifiers (any character beyond ASCII): Terraform rejects what is too wide.
_CODE = re.compile(
    r"""
    [ \t\r]*+
    (?: (?P<node> [^\x00-\x40\x5b-\x5e\x60\x7b-\x7f] [^\x00-\x2c\x2e\x2f\x3a-\x40\x5b-\x5e\x60\x7b-\x7f]*+
                | [0-9]++ (?:\.[0-9]++)? (?:[eE][+-]?[0-9]++)?
                | \n )
      | (?P<open> [\[{(] )
      | (?P<close> [\]})] )
      | " (?P<plain> [^"\\$%\r\n]*+ ) "
      | (?P<quote> " )
      | (?P<comment> (?:\#|//) [^\n]*+ | /\* (?s:.*?) \*/ )
      | (?P<heredoc> <<-? (?P<marker> [^\W\d][\w-]*+ ) \r?\n )
      | (?P<broken> /\* )
      | (?P<mark> . )
      | \Z
    )
    """,
    re.VERBOSE,
)
_QUOTED = re.compile(
    r"""
      (?P<literal> [^"\\$%\r\n]++ )
    | (?P<begin> [$%]\{ ) ~?
    | (?P<escape> \\[^\r\n] (?: (?<=u)[0-9A-Fa-f]{4} | (?<=U)[0-9A-Fa-f]{8} )? )
    | (?P<mark> \$\$\{ | %%\{ | [$%] )
    | (?P<close> " )
    """,
    re.VERBOSE,
)
# Without quotes around it a template has no backslash escapes, and may have several lines.
_UNQUOTED = re.compile(
    r"""
      (?P<literal> [^$%\n]*+ \n | [^$%\n]++ )
    | (?P<begin> [$%]\{ ) ~?
    | (?P<mark> \$\$\{ | %%\{ | [$%] )
    """,
    re.VERBOSE,
)
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t"}


class _Scanner:
    """One pass over a text. The stack holds what is open; its top says what the next character means."""

    def __init__(self, text: str, path: str, whole: _Frame) -> None:
        self._text = text
        self._path = path
        self._at = 0
        self._counted = 0
        self._line = whole.line
        self._stack = [whole]

    def run(self) -> tuple[Node, ...]:
        """The nodes of the whole text."""
        step = {'"': self._in_string, "<<": self._in_heredoc, _BARE: self._in_template}
        while self._at < len(self._text):
            step.get(self._stack[-1].opened, self._in_code)()
        if len(self._stack) > 1:
            frame = self._stack[-1]
            raise unreadable(self._path, frame.line, f"{frame.opened} is never closed")
        return tuple(self._stack[0].nodes)

    def _in_code(self) -> None:
        text, nodes, match = self._text, self._stack[-1].nodes, _CODE.match
        while found := match(text, self._at):
            kind = found.lastgroup
            start, self._at = self._at, found.end()
            if kind in {"node", "mark"}:
                nodes.append(found[kind])
            elif kind == "plain":
                word = found[kind]
                nodes.append(Text(parts=(word,) if word else (), line=self._line_at(start)))
            elif kind is None:
                return
            elif kind != "comment":
                self._change(kind, found, start)
                return

    def _change(self, kind: str, found: re.Match[str], start: int) -> None:
        """Opens or closes something."""
        match kind:
            case "open":
                self._push(found["open"])
            case "close":
                self._pop(found["close"])
            case "quote":
                self._push('"')
            case "heredoc" | "marker":
                self._push("<<", found["marker"])
            case _:
                raise unreadable(self._path, self._line_at(start), "/* is never closed")

    def _in_string(self) -> None:
        frame, match = self._stack[-1], _QUOTED.match
        while found := match(self._text, self._at):
            self._at = found.end()
            match found.lastgroup:
                case "begin":
                    return self._push(found["begin"])
                case "close":
                    return self._pop_text()
                case "escape":
                    frame.nodes.append(_unescaped(found["escape"]))
                case _:
                    frame.nodes.append(_plain(found[0]))
        raise unreadable(self._path, frame.line, "a string that begins here does not end on its line")

    def _in_heredoc(self) -> None:
        """Reads up to the marker, which counts only where it stands alone on a whole line."""
        frame = self._stack[-1]
        while self._at < len(self._text):
            if self._text[self._at - 1] == "\n" and self._ends(frame.marker):
                return self._pop_text()
            if self._unquoted(frame):
                return None
        return None

    def _in_template(self) -> None:
        while self._at < len(self._text):
            if self._unquoted(self._stack[-1]):
                return

    def _unquoted(self, frame: _Frame) -> bool:
        """One step in a text without quotes; True where an interpolation begins."""
        found = _UNQUOTED.match(self._text, self._at)
        assert found is not None, "every character is a literal, a mark or a beginning"  # noqa: S101
        self._at = found.end()
        if found.lastgroup == "begin":
            self._push(found["begin"])
            return True
        frame.nodes.append(_plain(found[0]))
        return False

    def _ends(self, marker: str) -> bool:
        """Whether the line that begins here is the end of a heredoc; if so, stands at its newline."""
        end = self._text.find("\n", self._at)
        if end < 0 or self._text[self._at : end].strip() != marker:
            return False
        self._at = end
        return True

    def _push(self, opened: str, marker: str = "") -> None:
        line = self._line_at(self._at - 1)
        if len(self._stack) > DEEPEST:
            raise unreadable(self._path, line, f"this is nested deeper than {DEEPEST} levels")
        self._stack.append(_Frame(opened=opened, line=line, marker=marker))

    def _pop(self, closed: str) -> None:
        frame = self._stack[-1]
        if _CLOSED_BY.get(frame.opened) != closed:
            raise unreadable(self._path, self._line_at(self._at), f"{closed} closes nothing")
        self._stack.pop()
        group = Group(opened=frame.opened, nodes=tuple(frame.nodes), line=frame.line)
        self._stack[-1].nodes.append(group)

    def _pop_text(self) -> None:
        frame = self._stack.pop()
        text = Text(parts=_joined(frame.nodes), line=frame.line, heredoc=frame.opened == "<<")
        self._stack[-1].nodes.append(text)

    def _line_at(self, position: int) -> int:
        """The line of a position; positions only ever grow, so that the text is counted once."""
        self._line += self._text.count("\n", self._counted, position)
        self._counted = max(self._counted, position)
        return self._line


def _joined(nodes: Iterable[Node]) -> tuple[str | Group, ...]:
    """The parts of a text, with literals that touch made one."""
    parts: list[str | Group] = []
    run: list[str] = []
    for node in nodes:
        if isinstance(node, str):
            run.append(node)
            continue
        assert isinstance(node, Group), "a text holds no text directly"  # noqa: S101
        if run:
            parts.append("".join(run))
            run = []
        parts.append(node)
    return (*parts, "".join(run)) if run else tuple(parts)


def _plain(mark: str) -> str:
    """A literal piece; `$${` and `%%{` stand for themselves without the doubled mark."""
    return mark[1:] if mark in {"$${", "%%{"} else mark


def _unescaped(escape: str) -> str:
    letter = escape[1]
    if letter in "uU" and len(escape) > 2:
        number = int(escape[2:], 16)
        # Halves of surrogate pairs and numbers beyond Unicode are no characters; Go replaces them too.
        return chr(number) if number < 0xD800 or 0xDFFF < number < 0x110000 else "\ufffd"
    return _ESCAPES.get(letter, letter)
