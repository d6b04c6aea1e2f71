"""Reading blocks by rules and collecting every fault: what all keys of the configuration have in common.

A `Section` is one block while it is read. A check looks at a `Field` and gives a value, or None after a
complaint (`tfops/checks.py`).
"""

import difflib
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from tfops.errors import ConfigError, Problem
from tfops.hcl import Attribute, Block, Body, Invalid, Template, Value

T = TypeVar("T")
D = TypeVar("D")

_NOT_ENFORCED_HINT = (
    "remove it, or wait for the version that enforces it: a rule that is not enforced would be worse than none"
)


@dataclass(slots=True, kw_only=True)
class Faults:
    """The faults of one file, collected while it is read."""

    path: str
    _found: list[tuple[int, Problem]] = field(default_factory=list)

    def add(self, code: str, line: int, text: str, hint: str = "") -> None:
        """Note the fault `config.<code>` at `line`."""
        problem = Problem(code=f"config.{code}", message=f"{self.path}:{line}: {text}", hint=hint)
        self._found.append((line, problem))

    def raise_if_any(self) -> None:
        """Raise one ConfigError with all faults in the order of their lines."""
        if self._found:
            raise ConfigError.of(problem for _, problem in sorted(self._found, key=lambda found: found[0]))


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """A value in the place where it stands: what a check looks at and complains about."""

    value: Value
    line: int
    where: str
    faults: Faults

    def refuse(self, code: str, text: str, hint: str = "") -> None:
        """Note that this value is at fault."""
        self.faults.add(code, self.line, f"{self.where} {text}", hint)

    def refuse_type(self, wanted: str) -> None:
        """Note that this value is not `wanted`: not even literal, or of another type."""
        match self.value:
            case Invalid(reason=reason):
                self.refuse("invalid_value", f"holds {reason}: only literal values are allowed", f"write {wanted}")
            case Template():
                self.refuse("invalid_value", "cannot hold a variable: only literal values are allowed here")
            case value:
                self.refuse("wrong_type", f"must be {wanted}, not {_kind(value)}")

    def item(self, value: Value) -> "Field":
        """One item of this list."""
        return Field(value=value, line=self.line, where=self.where, faults=self.faults)


Check = Callable[[Field], T | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """One block while it is read. `where` names it in messages and is "" for the file itself."""

    body: Body
    where: str
    line: int
    faults: Faults

    def check_names(
        self, *, attributes: Collection[str] = (), blocks: Collection[str] = (), later: Collection[str] = ()
    ) -> None:
        """Note unknown and duplicate names, and those that only a `later` version of tfops enforces."""
        items: tuple[Attribute | Block, ...] = (*self.body.attributes, *self.body.blocks)
        for item in items:
            is_block = isinstance(item, Block)
            name = item.type if isinstance(item, Block) else item.name
            if name in later:
                self._refuse_later(name, item.line)
            elif name not in (blocks if is_block else attributes):
                self._refuse_unknown(item, name, attributes, blocks)
        for first, again in repeated(self.body.attributes):
            text = f"{self._key(first.name)} is set twice, first on line {first.line}"
            self.faults.add("duplicate", again.line, text, "keep one of them")

    def get(self, key: str, check: Check[T], default: D) -> T | D:
        """The checked value of `key`; `default` where it is absent or at fault."""
        for attribute in self.body.attributes:
            if attribute.name == key:
                value = check(self._field(attribute))
                return default if value is None else value
        return default

    def require(self, key: str, check: Check[T], blank: T) -> T:
        """The checked value of `key`, whose absence is a fault; `blank` stands in until faults are raised."""
        if all(attribute.name != key for attribute in self.body.attributes):
            self.faults.add("missing_key", self.line, f"{self._key(key)} is missing")
        return self.get(key, check, blank)

    def one(self, type_: str) -> "Section | None":
        """The only block of this type, which has no label; None where there is none."""
        found = [block for block in self.body.blocks if block.type == type_]
        for again in found[1:]:
            text = f"{self._in(type_)} stands twice, first on line {found[0].line}"
            self.faults.add("duplicate", again.line, text, "keep one of them")
        if found and found[0].labels:
            self.faults.add(
                "invalid_value", found[0].line, f"{self._in(type_)} takes no label", f"write {type_} {{ … }}"
            )
        return self.sub(found[0], type_) if found else None

    def named(self, type_: str, *, example: str = "") -> list[tuple[str, "Section"]]:
        """The blocks of this type with their one label each; labels are unique. `example` shows how one is written."""
        first: dict[str, Block] = {}
        for block in self.body.blocks:
            if block.type != type_:
                continue
            if len(block.labels) != 1:
                written = example or f'{type_} "name" {{ … }}'
                self.faults.add("invalid_value", block.line, f"{self._in(type_)} takes one label", f"write {written}")
            elif block.labels[0] in first:
                title = self._in(f'{type_} "{block.labels[0]}"')
                text = f"{title} stands twice, first on line {first[block.labels[0]].line}"
                self.faults.add("duplicate", block.line, text, "keep one of them, or give it another name")
            else:
                first[block.labels[0]] = block
        return [(label, self.sub(block, f'{type_} "{label}"')) for label, block in first.items()]

    def sub(self, block: Block, title: str) -> "Section":
        """The block inside this one, `title` being its name in messages."""
        return Section(body=block.body, where=self._in(title), line=block.line, faults=self.faults)

    def refuse(self, code: str, text: str, hint: str = "") -> None:
        """Note that the block as a whole is at fault."""
        self.faults.add(code, self.line, f"{self.where} {text}", hint)

    def refuse_later(self) -> None:
        """Note that this version of tfops does not enforce the block."""
        self.refuse("not_enforced", "is not enforced by this version of tfops", _NOT_ENFORCED_HINT)

    def _field(self, attribute: Attribute) -> Field:
        return Field(value=attribute.value, line=attribute.line, where=self._key(attribute.name), faults=self.faults)

    def _refuse_later(self, name: str, line: int) -> None:
        text = f"{self._key(name)} is not enforced by this version of tfops"
        self.faults.add("not_enforced", line, text, _NOT_ENFORCED_HINT)

    def _refuse_unknown(
        self, item: Attribute | Block, name: str, attributes: Collection[str], blocks: Collection[str]
    ) -> None:
        if isinstance(item, Block) and name in attributes:
            text = f"{self._key(name)} is an attribute, not a block"
            self.faults.add("wrong_type", item.line, text, f"write {name} = …")
        elif isinstance(item, Attribute) and name in blocks:
            text = f"{self._key(name)} is a block, not an attribute"
            self.faults.add("wrong_type", item.line, text, f"write {name} {{ … }}, without =")
        else:
            noun = "block" if isinstance(item, Block) else "key"
            hint = suggestion(name, sorted({*attributes, *blocks}))
            self.faults.add(f"unknown_{noun}", item.line, f"{self._key(name)} is not a known {noun}", hint)

    def _key(self, name: str) -> str:
        return f'{self.where}: "{name}"' if self.where else f'"{name}"'

    def _in(self, title: str) -> str:
        return f"{self.where}: {title}" if self.where else title


def title(block: Block) -> str:
    """A block's name in messages: its type and its labels."""
    return " ".join((block.type, *(f'"{label}"' for label in block.labels)))


def suggestion(word: str, known: Sequence[str]) -> str:
    """What the user may have meant by `word`; else all that is known."""
    close = difflib.get_close_matches(word, known, n=1)
    if close:
        return f'did you mean "{close[0]}"?'
    return f"known here: {', '.join(known)}" if known else "nothing is known here"


def repeated(attributes: Iterable[Attribute]) -> list[tuple[Attribute, Attribute]]:
    """Pairs of the first attribute of a name and each later one of that name."""
    first: dict[str, Attribute] = {}
    return [
        (first[attribute.name], attribute)
        for attribute in attributes
        if first.setdefault(attribute.name, attribute) is not attribute
    ]


def _kind(value: Value) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "a boolean"
        case int() | float():
            return "a number"
        case str():
            return "a string"
        case tuple():
            return "a list"
        case _:
            return "an object"
