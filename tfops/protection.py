"""What a plan may not do without somebody saying so: destroy, replace or forget what is protected."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from tfops.changes import Action, Plan, ResourceChange
from tfops.config_gate import Protect

_LOST = {Action.DELETE: "destroyed", Action.REPLACE: "replaced", Action.FORGET: "forgotten", Action.UNKNOWN: "changed"}
_INDEX = re.compile(r'\[(?:"(?:[^"\\]|\\.)*"|\d+)\]')
SHOWN = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Violation:
    """What a plan would do that is protected from, in words, and the addresses it is about."""

    words: str
    addresses: frozenset[str]


def violations(protect: Protect, plan: Plan) -> tuple[Violation, ...]:
    """Everything in `plan` that `protect` speaks against. Updates in place never are."""
    lost = [one for one in plan.resource_changes if one.mode == "managed" and one.action in _LOST]
    return (*_too_many(protect, lost), *_named(protect, lost), *_replaced(protect, lost))


def _too_many(protect: Protect, lost: Iterable[ResourceChange]) -> Iterable[Violation]:
    gone = [one.address for one in lost if one.action in {Action.DELETE, Action.REPLACE}]
    if protect.max_destroy is not None and len(gone) > protect.max_destroy:
        objects = "object" if len(gone) == 1 else "objects"
        words = f"it would destroy {len(gone)} {objects} ({_listed(gone)}); protect allows {protect.max_destroy}"
        yield Violation(words=words, addresses=frozenset(gone))


def _named(protect: Protect, lost: Iterable[ResourceChange]) -> Iterable[Violation]:
    for one in lost:
        patterns = [pattern for pattern in protect.addresses if matches(pattern, one.address)]
        patterns += [pattern for pattern in protect.types if matches(pattern, one.type)]
        if patterns:
            words = f'{one.address} would be {_LOST[one.action]}; protect names "{patterns[0]}"'
            yield Violation(words=words, addresses=frozenset({one.address}))


def _replaced(protect: Protect, lost: Iterable[ResourceChange]) -> Iterable[Violation]:
    found = [one.address for one in lost if one.action is Action.REPLACE]
    if protect.replace and found:
        words = f"it would replace {_listed(found)}; protect lets nothing be replaced"
        yield Violation(words=words, addresses=frozenset(found))


def matches(pattern: str, name: str) -> bool:
    """Whether a pattern means an address or a type. `*` stands for anything, also across dots and indexes.

    A pattern without an index means every instance: `module.db.*` also those of `module.db["a"]`.
    """
    wanted = re.compile(".*".join(re.escape(part) for part in pattern.split("*")), re.DOTALL)
    return any(wanted.fullmatch(one) is not None for one in (name, _INDEX.sub("", name)))


def _listed(addresses: list[str]) -> str:
    more = len(addresses) - SHOWN
    return ", ".join(sorted(addresses)[:SHOWN]) + (f" and {more} more" if more > 0 else "")
