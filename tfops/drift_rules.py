"""The rules of a `drift` block: which drift is ignored and until when, and what may be brought back by itself."""

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import date

DESTROYING = "delete"
REMEDIABLE = (
    "modified",
    "deleted",
    "cascade",
    "tainted",
    "replace",
    "external_input",
    "provider_float",
    "partly_absorbed",
    "marks_only",
    "output_only",
    DESTROYING,
)
"""What `remediate` may name: tags, and the word for destroying."""
QUIET = frozenset(
    {
        *("absorbed_by_code", "hidden_by_ignore_changes", "benign_provider_upgrade", "benign_computed"),
        *("gone", "data_read", "normalization", "in_sync"),
    }
)
"""Tags of which applying would change nothing: they need no leave."""
_DESTRUCTIVE_ACTIONS = frozenset({"delete", "forget"})


@dataclass(frozen=True, slots=True, kw_only=True)
class IgnoreRule:
    """Drift that is known and may stay, through the day `expires`. Patterns know `*` and `?` only."""

    name: str
    reason: str
    owner: str
    expires: date
    type: str | None = None
    address: str | None = None
    attribute: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftRules:
    """A `drift` block. Without `every_seconds` the stacks are scanned only when somebody asks."""

    every_seconds: float | None = None
    remediate: tuple[str, ...] = ()
    ignore: tuple[IgnoreRule, ...] = ()


def suppressed_by(
    rules: Iterable[IgnoreRule], *, address: str, type_: str, attributes: Collection[str], today: date
) -> tuple[IgnoreRule, ...]:
    """The rules by which an object's drift is ignored; none where any of it counts.

    A rule that names an attribute covers no other one, but several may cover an object together. Where it is not known
    which attributes moved, only a rule for the whole object holds.
    """
    valid = [rule for rule in rules if today <= rule.expires and _means(rule, address, type_)]
    whole = tuple(rule for rule in valid if rule.attribute is None)
    if whole:
        return whole[:1]
    covering = [next((rule for rule in valid if _fits(rule.attribute, name)), None) for name in attributes]
    found = dict.fromkeys(rule for rule in covering if rule is not None)
    return tuple(found) if covering and None not in covering else ()


def expired(rules: Iterable[IgnoreRule], today: date) -> tuple[IgnoreRule, ...]:
    """The rules that no longer hold."""
    return tuple(rule for rule in rules if today > rule.expires)


def unused(rules: Iterable[IgnoreRule], used: Collection[str]) -> tuple[IgnoreRule, ...]:
    """The rules that nothing was ignored by."""
    return tuple(rule for rule in rules if rule.name not in used)


def may_remediate(tags: Collection[str], actions: Collection[str], allowed: Collection[str]) -> tuple[str, ...]:
    """Why a stack with these tags and planned actions may not be brought back by itself; nothing where it may.

    Only what is REMEDIABLE can be allowed: a state at fault, a conflict or a failed scan never is.
    """
    named = set(allowed) & set(REMEDIABLE)
    reasons = []
    for tag in sorted(set(tags) - QUIET - named):
        if tag in REMEDIABLE:
            reasons.append(f"it is {tag}, {_unnamed(tag)}")
        else:
            reasons.append(f"it is {tag}, which is never brought back by itself: look at it first")
    if _DESTRUCTIVE_ACTIONS & set(actions) and DESTROYING not in named:
        reasons.append(f"it would destroy or forget something, {_unnamed(DESTROYING)}")
    if "unknown" in actions:
        reasons.append("it would do something that this version of tfops does not know: upgrade tfops")
    if "replace" in actions and "replace" not in {*named, *tags}:
        reasons.append(f"it would replace something, {_unnamed('replace')}")
    return tuple(reasons)


def _unnamed(word: str) -> str:
    return f'and drift {{ remediate }} does not name "{word}": add it, or decide by hand'


def _means(rule: IgnoreRule, address: str, type_: str) -> bool:
    return _fits(rule.type, type_) and _fits(rule.address, address)


def _fits(pattern: str | None, text: str) -> bool:
    """Whether a text is as the pattern says; without one, every text is."""
    if pattern is None:
        return True
    words = {"*": ".*", "?": "."}
    return re.fullmatch("".join(words.get(c, re.escape(c)) for c in pattern), text, re.DOTALL) is not None
