"""HCL text to literal values, with their lines and with every duplicate.

python-hcl2 supplies the parse tree; its own `loads` is of no use here, because it drops duplicates and lines.
A value that tfops cannot use is a value too (`Invalid`), so that all faults can be reported at once. Only
text that is no HCL at all raises.
"""

import math
import re
import textwrap
from dataclasses import dataclass
from enum import Enum
from typing import Any

from tfops.errors import ConfigError
from tfops.syntax import as_written, parse_tree, resolved, syntax_error, unclosed_string

_MAX_BYTES = 1024 * 1024
_MAX_DEPTH = 32


class Variable(Enum):
    """What a template may name."""

    BRANCH = "branch"
    BRANCH_SLUG = "branch_slug"


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """A string with variables: literal text and variables in their order, at least one variable."""

    parts: tuple[str | Variable, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Invalid:
    """A value that is no literal. `reason` says what it is: "a function call"."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Object:
    """`{ key = value, … }` as a value; duplicate keys are kept."""

    entries: tuple["Attribute", ...]


Value = str | int | float | bool | None | Template | Invalid | Object | tuple["Value", ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Attribute:
    """`name = value`, and the line of its name."""

    name: str
    value: Value
    line: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """`type "label" … { body }`, and the line of its type."""

    type: str
    labels: tuple[str, ...]
    body: "Body"
    line: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Body:
    """Attributes and blocks in the order of the text; duplicates are kept."""

    attributes: tuple[Attribute, ...] = ()
    blocks: tuple[Block, ...] = ()


def quoted(text: str) -> str:
    """`text` as an HCL string, spelled as Terraform itself spells instance keys."""
    return '"' + "".join(map(_escaped, text)).replace("${", "$${").replace("%{", "%%{") + '"'


def _escaped(character: str) -> str:
    short = {"\n": "\\n", "\r": "\\r", "\t": "\\t", '"': '\\"', "\\": "\\\\"}
    if character in short:
        return short[character]
    if character.isprintable():
        return character
    number = ord(character)
    return f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"


_SHORT_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", '"': '"', "\\": "\\"}
_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|(.?))", re.DOTALL)
_KEYWORDS: dict[str, bool | None] = {"true": True, "false": False, "null": None}
_REASONS = {
    "binary_op": "an operation",
    "conditional": "a conditional",
    "for_object_expr": "a for expression",
    "for_tuple_expr": "a for expression",
    "function_call": "a function call",
    "unary_op": "an operation",
}


def decode(data: bytes, path: str) -> str:
    """The text of the file `path`, without its byte order mark.

    Raises ConfigError (`config.encoding`) for bytes that are not UTF-8 text, or more than 1 MiB of them.
    """
    if len(data) > _MAX_BYTES:
        raise _encoding_error(path, 1, "the file is larger than 1 MiB")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise _encoding_error(path, line, "the file is not UTF-8 text") from error
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise _encoding_error(path, line, "the file holds a NUL byte: it is not text")
    return text


def parse_body(text: str, path: str) -> Body:
    """The attributes and blocks of `text`; an empty text is an empty body.

    Beyond HCL, the attributes of a one-line block may be separated by commas or by nothing.
    Raises ConfigError (`config.syntax`) with line and column where the text is not HCL.
    """
    return _Reader(path=path).body(parse_tree(text, path), depth=0)


def _encoding_error(path: str, line: int, reason: str) -> ConfigError:
    return ConfigError(f"{path}:{line}: {reason}", code="config.encoding", hint="save it as UTF-8 text")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Reader:
    """Turns lark's tree into values. Its functions are named as what they read."""

    path: str

    def body(self, tree: Any, *, depth: int) -> Body:
        attributes = tuple(self._attribute(child) for child in tree.children if child.data == "attribute")
        blocks = tuple(self._block(child, depth) for child in tree.children if child.data == "block")
        return Body(attributes=attributes, blocks=blocks)

    def _attribute(self, tree: Any) -> Attribute:
        name = tree.children[0].children[0]
        return Attribute(name=str(name), value=self._value(tree.children[2], depth=0), line=name.line)

    def _block(self, tree: Any, depth: int) -> Block:
        type_, *rest = (child for child in tree.children if hasattr(child, "data"))
        name = type_.children[0]
        if depth >= _MAX_DEPTH:
            raise syntax_error(self.path, name.line, "blocks are nested too deeply")
        labels = tuple(self._label(child) for child in rest if child.data not in ("body", "new_line_or_comment"))
        body = self.body(rest[-1], depth=depth + 1)
        return Block(type=str(name), labels=labels, body=body, line=name.line)

    def _label(self, tree: Any) -> str:
        value = self._string(tree) if tree.data == "string" else str(tree.children[0])
        if not isinstance(value, str):
            raise syntax_error(self.path, tree.meta.line, "a block's label must be literal text")
        return value

    def _value(self, tree: Any, *, depth: int) -> Value:
        if tree.data == "expr_term":
            inner = tree.children[0]
            if not hasattr(inner, "data"):
                return Invalid(reason="an expression in parentheses")
            return self._term(inner, depth)
        if tree.data == "unary_op" and tree.children[0] == "-":
            number = self._value(tree.children[1], depth=depth)
            if isinstance(number, int | float) and not isinstance(number, bool):
                return -number
        return Invalid(reason=_REASONS.get(tree.data, "an expression"))

    def _term(self, tree: Any, depth: int) -> Value:
        if depth >= _MAX_DEPTH:
            return Invalid(reason="a value that is nested too deeply")
        match tree.data:
            case "string":
                return self._string(tree)
            case "tuple":
                return tuple(self._value(item, depth=depth + 1) for item in tree.children if _is_item(item))
            case "object":
                return self._object(tree, depth)
            case _:
                return _scalar(tree.data, tree.children[0])

    def _object(self, tree: Any, depth: int) -> Object | Invalid:
        entries = []
        for element in _children(tree, "object_elem"):
            key = self._key(element.children[0].children[0])
            if key is None:
                return Invalid(reason="a computed key")
            value = self._value(element.children[2], depth=depth + 1)
            entries.append(Attribute(name=key, value=value, line=element.meta.line))
        return Object(entries=tuple(entries))

    def _key(self, node: Any) -> str | None:
        """The key of an object's element; None where it is not literal."""
        inner = node.children[0] if getattr(node, "data", "") == "expr_term" else node
        match getattr(inner, "data", None):
            case "identifier" | "literal_value" | "int_lit" | "keyword":
                return str(inner.children[0])
            case "string":
                key = self._string(inner)
                return key if isinstance(key, str) else None
            case None if getattr(inner, "type", "") != "LPAR":
                return str(inner)  # a keyword of the grammar, such as `in`
            case _:
                return None

    def _string(self, tree: Any) -> str | Template | Invalid:
        parts: list[str | Variable] = []
        for part in (child.children[0] for child in tree.children[1:-1]):
            if getattr(part, "type", "") == "STRING_CHARS" and "\n" in part:
                raise unclosed_string(self.path, part)
            piece = _variable(part) if hasattr(part, "data") else _unescaped(str(part))
            if isinstance(piece, Invalid):
                return piece
            parts.append(piece)
        if any(isinstance(part, Variable) for part in parts):
            return Template(parts=tuple(parts))
        return "".join(str(part) for part in parts)


def _is_item(node: Any) -> bool:
    """Whether `node` is an item of a list: neither punctuation nor a comment."""
    return getattr(node, "data", "new_line_or_comment") != "new_line_or_comment"


def _scalar(kind: str, first: Any) -> Value:
    """The value of a term without structure; `first` is its first token or tree."""
    match kind:
        case "literal_value":
            return _KEYWORDS[first]
        case "int_lit" | "float_lit":
            return _number(first)
        case "heredoc_template" | "heredoc_template_trim":
            return _heredoc(first)
        case "identifier":
            return Invalid(reason=f'the bare word "{first}"')
        case _:
            return Invalid(reason=_REASONS.get(kind, "a reference"))


def _children(tree: Any, data: str) -> list[Any]:
    return [child for child in tree.children if getattr(child, "data", None) == data]


def _variable(part: Any) -> Variable | Invalid:
    """What `${…}` names, where it is one of the variables of a template."""
    if part.data != "interpolation":
        return Invalid(reason="a template directive")
    term = part.children[1]
    inner: Any = term.children[0] if term.data == "expr_term" else None
    name = inner.children[0] if getattr(inner, "data", "") == "identifier" else None
    for variable in Variable:
        if name == variable.value:
            return variable
    return Invalid(reason="an interpolation other than ${branch} and ${branch_slug}")


def _unescaped(text: str) -> str | Invalid:
    """The characters that `text` inside quotes stands for."""
    unknown = [match[0] for match in _ESCAPE.finditer(text) if _character(match) is None]
    if unknown:
        return Invalid(reason=f'the unknown escape "{as_written(unknown[0])}"')
    return resolved(_ESCAPE.sub(lambda match: _character(match) or "", text))


def _character(match: re.Match[str]) -> str | None:
    if match[3] is not None:
        return _SHORT_ESCAPES.get(match[3])
    number = int(match[1] or match[2], 16)
    is_noncharacter = 0xFDD0 <= number <= 0xFDEF
    if number > 0x10FFFF or 0xD800 <= number <= 0xDFFF or is_noncharacter:
        return None
    return chr(number)


def _number(token: str) -> int | float | Invalid:
    if len(token) > 300:  # Python refuses to read integers of thousands of digits
        return Invalid(reason="a number that is too large")
    if re.fullmatch(r"-?[0-9]+", token):
        return int(token)
    number = float(token)
    return number if math.isfinite(number) else Invalid(reason="a number that is too large")


def _heredoc(token: str) -> str | Invalid:
    """The text between the markers; `<<-` takes the common indentation away."""
    head, _, rest = token.partition("\n")
    lines = rest.splitlines(keepends=True)[:-1]
    text = "".join(lines)
    if "${" in text or "%{" in text:
        return Invalid(reason="a heredoc with an interpolation")
    return resolved(textwrap.dedent(text) if head.startswith("<<-") else text)
