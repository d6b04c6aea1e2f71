"""Terraform's version constraints: `~> 1.11, != 1.11.2`."""

import operator
import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from functools import total_ordering

_NUMBER = "[0-9]{1,9}"
_SUFFIX = "[0-9A-Za-z.-]{1,100}"
_VERSION = rf"v?(?P<numbers>{_NUMBER}(?:\.{_NUMBER})*)(?:-(?P<prerelease>{_SUFFIX}))?(?:\+{_SUFFIX})?"
_CONSTRAINT = re.compile(rf"\s*(?P<operator>=|!=|>=|<=|~>|>|<|)\s*{_VERSION}\s*", re.ASCII)
_PLAIN = re.compile(_VERSION, re.ASCII)


class Operator(Enum):
    """How a constraint compares."""

    EQUAL = "="
    NOT_EQUAL = "!="
    GREATER = ">"
    AT_LEAST = ">="
    LESS = "<"
    AT_MOST = "<="
    PESSIMISTIC = "~>"


_COMPARE: dict[Operator, Callable[["Version", "Version"], bool]] = {
    Operator.EQUAL: operator.eq,
    Operator.NOT_EQUAL: operator.ne,
    Operator.GREATER: operator.gt,
    Operator.AT_LEAST: operator.ge,
    Operator.LESS: operator.lt,
    Operator.AT_MOST: operator.le,
}


@total_ordering
@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Version:
    """A version in the order of semantic versioning. `1.11` equals `1.11.0`; build metadata is ignored."""

    numbers: tuple[int, ...]
    prerelease: str = ""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Version) and self._order == other._order

    def __lt__(self, other: "Version") -> bool:
        return self._order < other._order

    def __hash__(self) -> int:
        return hash(self._order)

    @property
    def _order(self) -> tuple[tuple[int, ...], bool, tuple[tuple[bool, int, str], ...]]:
        """What is compared: numbers without trailing zeros; no prerelease comes last; 9 < 10 < alpha."""
        numbers = self.numbers
        while numbers and numbers[-1] == 0:
            numbers = numbers[:-1]
        identifiers = (
            (False, int(part), "") if part.isdecimal() else (True, 0, part) for part in self.prerelease.split(".")
        )
        return numbers, not self.prerelease, tuple(identifiers)


@dataclass(frozen=True, slots=True, kw_only=True)
class Constraint:
    """One operator and its version, as in `>= 1.9`."""

    operator: Operator
    version: Version

    def allows(self, version: Version) -> bool:
        """Whether `version` satisfies this constraint alone."""
        # Terraform's rule: a prerelease is never selected by a range, only by its own name.
        if version.prerelease and self.operator is not Operator.EQUAL:
            return False
        if self.operator is Operator.PESSIMISTIC:
            return version >= self.version and self._same_series(version)
        return _COMPARE[self.operator](version, self.version)

    def _same_series(self, version: Version) -> bool:
        """Whether only the rightmost number that the constraint names differs."""
        fixed = self.version.numbers[:-1]
        padded = version.numbers + (0,) * len(fixed)
        # As in Terraform, `~>` on a prerelease means prereleases, which only `=` can select.
        return not self.version.prerelease and padded[: len(fixed)] == fixed


@dataclass(frozen=True, slots=True, kw_only=True)
class Constraints:
    """Constraints that must hold together."""

    items: tuple[Constraint, ...]

    def allows(self, version: str) -> bool:
        """Whether `version` satisfies every constraint. Raises ValueError where it is no version."""
        parsed = parse_version(version)
        return all(constraint.allows(parsed) for constraint in self.items)


def parse_version(text: str) -> Version:
    """The version that `text` names, a leading `v` allowed. Raises ValueError where it names none."""
    found = _PLAIN.fullmatch(text)
    if found is None:
        raise ValueError(f'"{text}" is not a version')
    return _version(found)


def parse_constraints(text: str) -> Constraints:
    """The comma-separated constraints of `text`. Raises ValueError naming the first part that is none."""
    return Constraints(items=tuple(_constraint(part) for part in text.split(",")))


def _constraint(text: str) -> Constraint:
    found = _CONSTRAINT.fullmatch(text)
    if found is None:
        raise ValueError(f'"{text.strip()}" is not a version constraint')
    return Constraint(operator=Operator(found["operator"] or "="), version=_version(found))


def _version(found: re.Match[str]) -> Version:
    numbers = tuple(int(number) for number in found["numbers"].split("."))
    return Version(numbers=numbers, prerelease=found["prerelease"] or "")
