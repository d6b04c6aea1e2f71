"""Terraform's JSON configuration as the tree that the same configuration would have in HCL."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from tfops.errors import ConfigError
from tfops.scanner import DEEPEST, Group, Node, Text, parse_template, unreadable


@dataclass(frozen=True, slots=True)
class _Object:
    """A JSON object as written: HCL takes a repeated key for a repeated block."""

    members: list[tuple[str, object]]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Block:
    """How a block is spelled in JSON: its labels are keys around its body; `inner` are the blocks inside."""

    labels: int
    inner: "Mapping[str, _Block]"


_PLAIN: Mapping[str, _Block] = {}
_TERRAFORM = {
    "backend": _Block(labels=1, inner=_PLAIN),
    "cloud": _Block(labels=0, inner={"workspaces": _Block(labels=0, inner=_PLAIN)}),
    "required_providers": _Block(labels=0, inner=_PLAIN),
    "state_store": _Block(labels=1, inner={"provider": _Block(labels=1, inner=_PLAIN)}),
    "encryption": _Block(labels=0, inner={name: _Block(labels=2, inner=_PLAIN) for name in ("key_provider", "method")}),
}
_DATA = _Block(labels=2, inner=_PLAIN)
_PROVISIONER = {"provisioner": _Block(labels=1, inner=_PLAIN)}
_BLOCKS = {
    "terraform": _Block(labels=0, inner=_TERRAFORM),
    "module": _Block(labels=1, inner=_PLAIN),
    "provider": _Block(labels=1, inner=_PLAIN),
    "resource": _Block(labels=2, inner=_PROVISIONER),
    "data": _DATA,
    "ephemeral": _Block(labels=2, inner=_PLAIN),
    "action": _Block(labels=2, inner=_PLAIN),
    "check": _Block(labels=1, inner={"data": _DATA}),
    "import": _Block(labels=0, inner=_PLAIN),
    "removed": _Block(labels=0, inner=_PROVISIONER),
}
_JSON_STRING = re.compile(r'"((?:[^"\\]++|\\.)*+)"(\s*+:)?')


def parse_json(text: str, path: str) -> tuple[Node, ...]:
    """The nodes that the same configuration would have in HCL. Raises ConfigError where it is not JSON."""
    try:
        document = json.loads(text, object_pairs_hook=_Object, parse_constant=_no_number)
    except json.JSONDecodeError as error:
        raise unreadable(path, error.lineno, f"this is not JSON: {error.msg}") from None
    except (ValueError, RecursionError) as error:
        raise unreadable(path, 1, f"this is not JSON that Terraform reads: {error}") from None
    return tuple(_Translation(path, _key_lines(text)).body(document, _BLOCKS))


def _no_number(name: str) -> object:
    raise ValueError(f"{name} is not a JSON number")


def _key_lines(text: str) -> dict[str, int]:
    """The line where each key first stands: Python's JSON reader keeps no positions."""
    lines: dict[str, int] = {}
    line, counted = 1, 0
    for found in _JSON_STRING.finditer(text):
        if found[2]:
            line += text.count("\n", counted, found.start())
            counted = found.start()
            lines.setdefault(found[1], line)
    return lines


class _Translation:
    """JSON values as HCL nodes, after the rules of HCL's JSON syntax."""

    def __init__(self, path: str, lines: Mapping[str, int]) -> None:
        self._path = path
        self._lines = lines

    def body(self, value: object, blocks: Mapping[str, _Block]) -> Iterator[Node]:
        """The attributes and blocks of a body: one object, or a list of objects that are read as one."""
        for key, inner in _members(value):
            if key == "//":
                continue
            if key in blocks:
                yield from self._block((key,), blocks[key].labels, inner, blocks[key].inner)
            else:
                line = self._lines.get(key, 1)
                yield from (_text(key, line), "=", self._expression(inner, line, 1), "\n")

    def _block(
        self, head: tuple[Node, ...], labels: int, value: object, blocks: Mapping[str, _Block]
    ) -> Iterator[Node]:
        if labels:
            for key, inner in _members(value):
                label = _text(key, self._lines.get(key, 1))
                yield from self._block((*head, label), labels - 1, inner, blocks)
            return
        line = next((node.line for node in reversed(head) if isinstance(node, Text)), 1)
        for item in value if isinstance(value, list) else [value]:
            yield from (*head, Group(opened="{", nodes=tuple(self.body(item, blocks)), line=line), "\n")

    def _expression(self, value: object, line: int, depth: int) -> Node:
        if depth > DEEPEST:
            raise unreadable(self._path, line, f"this is nested deeper than {DEEPEST} levels")
        match value:
            case str():
                return _template(value, line)
            case list():
                items = (self._expression(item, line, depth + 1) for item in value)
                return Group(opened="[", nodes=tuple(_with_commas(items)), line=line)
            case _Object(members):
                return Group(opened="{", nodes=tuple(self._items(members, line, depth + 1)), line=line)
            case None:
                return "null"
            case _:
                return str(value).lower()

    def _items(self, members: list[tuple[str, object]], line: int, depth: int) -> Iterator[Node]:
        for key, value in members:
            yield from (_template(key, line), "=", self._expression(value, line, depth), "\n")


def _members(value: object) -> Iterator[tuple[str, object]]:
    """The members of an object, or of every object in a list; nothing else has any."""
    for item in value if isinstance(value, list) else [value]:
        if isinstance(item, _Object):
            yield from item.members


def _with_commas(items: Iterable[Node]) -> Iterator[Node]:
    for item in items:
        yield item
        yield ","


def _template(text: str, line: int) -> Text:
    """A JSON string as the template Terraform takes it for; one that does not close is plain text."""
    if "{" not in text:
        return _text(text, line)
    try:
        return parse_template(_characters(text), line)
    except ConfigError:
        return _text(text, line)


def _text(text: str, line: int) -> Text:
    return Text(parts=(_characters(text),) if text else (), line=line)


def _characters(text: str) -> str:
    """The text without halves of surrogate pairs, which JSON can escape but nobody can encode."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
