"""What a plan's `configuration` says of its objects: which attributes the code sets, and which objects it reads.

Terraform leaves out `lifecycle`, `locals` and dynamic blocks there (shared reference drift.md §2.2).
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

_INDEX = re.compile(r'\[(?:\d+|"(?:[^"\\]|\\.)*")\]')


def configured_address(address: str) -> str:
    """The address of the block that an instance comes from: without any `[0]` and `["key"]`."""
    return _INDEX.sub("", address)


@dataclass(frozen=True, kw_only=True)
class Wiring:
    """The references of a configuration. An empty one knows nothing."""

    root: Mapping[str, Any] = field(default_factory=dict)

    def knows(self, address: str) -> bool:
        """Whether the code has a block for this object."""
        return configured_address(address) in self._blocks

    def sets(self, address: str, attribute: str) -> bool:
        """Whether the code sets the attribute. A dynamic block does not show."""
        _, block = self._blocks.get(configured_address(address), ("", {}))
        return attribute in _mapping(block.get("expressions"))

    def sources(self, address: str) -> frozenset[str]:
        """The managed objects that this one reads, straight or through data, variables and outputs of modules."""
        return self._sources.get(configured_address(address), frozenset())

    def reads_locals(self, address: str) -> bool:
        """Whether it reads a local value: what that reads is not in the plan."""
        _, block = self._blocks.get(configured_address(address), ("", {}))
        return any(reference.startswith("local.") for reference in _references(block))

    @cached_property
    def _modules(self) -> dict[str, Mapping[str, Any]]:
        return dict(_modules("", self.root, {}))

    @cached_property
    def _blocks(self) -> dict[str, tuple[str, Mapping[str, Any]]]:
        return {
            f"{prefix}{block.get('address', '')}": (prefix, block)
            for prefix, module in self._modules.items()
            for block in map(_mapping, _sequence(module.get("resources")))
        }

    @cached_property
    def _sources(self) -> dict[str, frozenset[str]]:
        return {
            address: frozenset(self._managed(prefix, block, seen=set()))
            for address, (prefix, block) in self._blocks.items()
        }

    def _managed(self, prefix: str, expressions: object, *, seen: set[str]) -> Iterator[str]:
        """The managed objects that expressions in the module `prefix` lead to; each road is taken once."""
        for reference in _references(expressions):
            key = f"{prefix}{reference}"
            if key not in seen:
                seen.add(key)
                yield from self._followed(prefix, reference, seen)

    def _followed(self, prefix: str, reference: str, seen: set[str]) -> Iterator[str]:
        kind, *rest = _INDEX.sub("", reference).split(".")
        match kind, rest:
            case "var", [name, *_] if prefix:
                outer, call = self._call(prefix)
                yield from self._managed(outer, _mapping(call.get("expressions")).get(name), seen=seen)
            case "module", [name, output, *_]:
                outputs = _mapping(self._modules.get(f"{prefix}module.{name}.", {}).get("outputs"))
                yield from self._managed(f"{prefix}module.{name}.", outputs.get(output), seen=seen)
            case "data", [type_, name, *_]:
                _, block = self._blocks.get(f"{prefix}data.{type_}.{name}", ("", {}))
                yield from self._managed(prefix, block, seen=seen)
            case _, [name, *_] if f"{prefix}{kind}.{name}" in self._blocks:
                yield f"{prefix}{kind}.{name}"

    def _call(self, prefix: str) -> tuple[str, Mapping[str, Any]]:
        """The module around `prefix`, and the call in it that makes `prefix`."""
        outer, _, name = prefix.removesuffix(".").rpartition("module.")
        return outer, _mapping(_mapping(self._modules[outer].get("module_calls")).get(name))


def wiring(document: Mapping[str, Any]) -> Wiring:
    """The wiring of a plan document."""
    return Wiring(root=_mapping(_mapping(document.get("configuration")).get("root_module")))


def _modules(
    prefix: str, module: Mapping[str, Any], found: dict[str, Mapping[str, Any]]
) -> dict[str, Mapping[str, Any]]:
    found[prefix] = module
    for name, call in _mapping(module.get("module_calls")).items():
        _modules(f"{prefix}module.{name}.", _mapping(_mapping(call).get("module")), found)
    return found


def _references(value: object) -> Iterator[str]:
    """Every reference below: `expressions`, `count_expression`, `depends_on` …, at any depth."""
    match value:
        case Mapping():
            for key, child in value.items():
                if key in ("references", "depends_on") and isinstance(child, list):
                    yield from (reference for reference in child if isinstance(reference, str))
                else:
                    yield from _references(child)
        case list():
            for child in value:
                yield from _references(child)
        case _:
            pass


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _sequence(value: object) -> list[Any]:
    return value if isinstance(value, list) else []
