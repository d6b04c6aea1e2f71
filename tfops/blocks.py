"""The blocks and attributes of Terraform files, out of the scanner's nodes: what belongs together, unjudged."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TypeAlias, cast

from tfops.scanner import Group, Node, Text, split, unwrapped

Scalar: TypeAlias = str | int | bool


@dataclass(frozen=True, slots=True)
class Attribute:
    """`name = value` in a body or an object. What is neither this nor a block has no name."""

    name: str
    value: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Block:
    """`type "label" { … }`."""

    type: str
    labels: tuple[str, ...]
    body: Group

    @property
    def members(self) -> "Iterator[Attribute | Block]":
        """What stands in the body."""
        return members_of(self.body.nodes)

    @property
    def attributes(self) -> dict[str, tuple[Node, ...]]:
        """The values of the body's own attributes."""
        return {member.name: member.value for member in self.members if isinstance(member, Attribute)}

    def blocks(self, type: str) -> "list[Block]":
        """The blocks of one type in the body."""
        return [member for member in self.members if isinstance(member, Block) and member.type == type]


Members: TypeAlias = tuple[Attribute | Block, ...]


def members_of(nodes: Iterable[Node]) -> Iterator[Attribute | Block]:
    """The attributes and blocks of a body, in their order."""
    for run in split(nodes, {"\n", ","}):
        yield _member(run)


def _member(nodes: tuple[Node, ...]) -> Attribute | Block:
    name, last = label_of(nodes[0]), nodes[-1]
    if name is None or len(nodes) < 2:
        return Attribute("", nodes)
    if nodes[1] in ("=", ":"):
        return Attribute(name, nodes[2:])
    labels = tuple(label for node in nodes[1:-1] if (label := label_of(node)) is not None)
    if isinstance(last, Group) and last.opened == "{" and len(labels) == len(nodes) - 2:
        return Block(name, labels, last)
    return Attribute("", nodes)


def label_of(node: Node) -> str | None:
    """A name, with or without quotes."""
    if isinstance(node, str):
        return node
    return node.literal if isinstance(node, Text) else None


def scalar_of(value: Iterable[Node]) -> Scalar | None:
    """The value of a literal; None for any other expression."""
    match unwrapped(value):
        case (Text(literal=literal),):
            return literal
        case ("true" | "false" as word,):
            return word == "true"
        case (str(), *_) as words if all(isinstance(word, str) for word in words):
            number = "".join(cast(tuple[str, ...], words))
            # Longer numbers are no attribute of any backend, and int() would not take all of them.
            return int(number) if re.fullmatch(r"-?[0-9]{1,18}", number) else None
        case _:
            return None


def text_of(value: Iterable[Node] | None) -> str | None:
    """The value of a literal string; None for anything else."""
    scalar = scalar_of(value) if value is not None else None
    return scalar if isinstance(scalar, str) else None
