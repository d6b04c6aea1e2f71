"""May this plan be applied now? One pure decision that gives all its reasons at once."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import MappingProxyType

from tfops.approval import Override, Tally
from tfops.changes import Plan
from tfops.config_gate import Gate
from tfops.coverage import Gap
from tfops.freezes import frozen_until
from tfops.protection import Violation, violations


@dataclass(frozen=True, slots=True, kw_only=True)
class Consent:
    """What people said that bears on a plan: who is for all of it and who against, and what nobody has approved yet.

    `covered_by` are the ids of the approved plans that say anything about it; `is_covered`: enough people approved
    each part of it there.
    """

    tally: Tally
    gap: Gap
    covered_by: tuple[str, ...]
    is_covered: bool
    overrides: Mapping[Override, Gap] = field(default_factory=dict)
    """For each part of the gate what of the changes too few people let pass by it."""
    unverified: tuple[str, ...] = ()
    unowned: tuple[str, ...] = ()
    """Changed files that none of their owners approved, in words."""
    unread: tuple[str, ...] = ()
    """What it is made of that nobody approved otherwise, in words: a plan does not show it."""

    @property
    def is_enough(self) -> bool:
        """Nobody is against it, and approved plans, itself or others, cover all of it."""
        return not self.tally.is_stopped and self.is_covered and not self.unowned

    @property
    def words(self) -> tuple[str, ...]:
        """Why it is not enough."""
        return (
            *self.tally.words,
            *(f"{fault}; it does not count" for fault in self.unverified),
            *(self.gap.words if self.covered_by else ()),
            *self.unowned,
            *self.unread,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """Whether an apply may go ahead; when not, every reason why. `overrides` are what people let it pass by."""

    allowed: bool
    reasons: tuple[str, ...] = ()
    overrides: tuple[Override, ...] = ()
    held_by: tuple[Override, ...] = ()
    """The parts of the gate that hold it up and that people could let it pass by."""


WAY_PAST = "to let it pass all the same: "


def named(reasons: Iterable[str], plan: str) -> tuple[str, ...]:
    """The reasons of a decision, with the plan's name in the commands that they propose."""
    return tuple(
        reason.replace("tfops approve PLAN ", f"tfops approve {plan} ") if reason.startswith(WAY_PAST) else reason
        for reason in reasons
    )


Findings = Mapping[Override, Sequence[Violation]]
"""What was found elsewhere that speaks against a plan, by the part of the gate that holds it up."""


def decide(
    *,
    environment: str,
    gate: Gate,
    plan: Plan,
    now: datetime,
    consent: Consent | None = None,
    findings: Findings = MappingProxyType({}),
) -> Decision:
    """The decision for a plan of a stack of `environment`.

    No `approval` block means never automatically (DESIGN.md §4); a count above zero waits for that many people. What
    is protected or frozen, and what policies and drift speak against, waits until as many, and one at least, let just
    that pass in so many words.
    """
    reasons = [*_approval_reasons(environment, gate, consent)]
    overrides, held_by = [], []
    for override, found in _violations(gate, plan, now, findings).items():
        left = [one.words for one in found if not _is_overridden(override, one, consent)]
        if left:
            reasons += [*left, f"{WAY_PAST}tfops approve PLAN --override {override.value}"]
            held_by.append(override)
        elif found:
            overrides.append(override)
    return Decision(allowed=not reasons, reasons=tuple(reasons), overrides=tuple(overrides), held_by=tuple(held_by))


def stops(gate: Gate, plan: Plan, now: datetime, findings: Findings = MappingProxyType({})) -> bool:
    """Whether anything but an open door stands before the plan: then it matters what people said."""
    asks = gate.approval is not None and (gate.approval.count or gate.approval.codeowners)
    return bool(asks or any(_violations(gate, plan, now, findings).values()))


def _violations(gate: Gate, plan: Plan, now: datetime, findings: Findings) -> Findings:
    return {Override.PROTECT: _protected(gate, plan), Override.FREEZE: _frozen(gate, now), **findings}


def _approval_reasons(environment: str, gate: Gate, consent: Consent | None) -> Iterable[str]:
    if gate.approval is None:
        yield (
            f'environment "{environment}" names no approval block, so nothing is applied automatically: '
            "say approval { count = 0 } to apply without one"
        )
    elif (gate.wanted or gate.approval.codeowners) and not (consent and consent.is_enough):
        people = "approval" if gate.wanted == 1 else "approvals"
        found = len(consent.tally.approved_by) if consent else 0
        owners = " and code owners" if gate.approval.codeowners else ""
        yield f'environment "{environment}" asks for {gate.wanted} {people}{owners}; there are {found}'
        yield from consent.words if consent else ()


def _protected(gate: Gate, plan: Plan) -> list[Violation]:
    return [one for protect in gate.protects for one in violations(protect, plan)]


def _frozen(gate: Gate, now: datetime) -> list[Violation]:
    found = ((freeze.name, frozen_until(freeze, now)) for freeze in gate.freezes)
    return [
        Violation(words=f'frozen until {until.astimezone(UTC):%Y-%m-%d %H:%M}Z by "{name}"', addresses=frozenset())
        for name, until in found
        if until is not None
    ]


def _is_overridden(override: Override, violation: Violation, consent: Consent | None) -> bool:
    """Whether enough people let pass what it is about: these addresses, or all there is where it names none."""
    if consent is None or consent.tally.is_stopped or override not in consent.overrides:
        return False
    left = set(consent.overrides[override].changes)
    return not (left & violation.addresses if violation.addresses else left)
