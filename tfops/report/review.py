"""What there is to say about a proposed change: its stacks, what merging it would do to each, and who is asked."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class Standing(StrEnum):
    """How a stack stands, in a reader's words; the most urgent first.

    `planned`: it changes, and needs nobody's approval; `waiting`: it changes, and approvals are missing.
    """

    FAILED = "failed"
    REFUSED = "refused"
    WAITING = "waiting"
    PLANNED = "planned"
    APPLIED = "applied"
    NOTHING = "nothing to do"


@dataclass(frozen=True, slots=True, kw_only=True)
class StackReview:
    """One stack of a change.

    `redacted` is its plan as `redact` made it. `reasons` are the gate's words, `missing` says who has yet to approve
    ("1 more of 2"), `error` what went wrong, maybe over several lines. None of them may hold a plan's values.
    """

    stack: str
    standing: Standing
    plan_id: str | None = None
    redacted: Mapping[str, Any] | None = None
    reasons: tuple[str, ...] = ()
    approved_by: tuple[str, ...] = ()
    missing: str = ""
    error: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeReview:
    """A change: its last commit, the branch or commit that it was planned upon, and its stacks in a fixed order."""

    head: str
    base: str
    stacks: tuple[StackReview, ...]
