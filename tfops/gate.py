"""May this plan be applied now? One pure decision that gives all its reasons at once."""

from collections.abc import Iterable
from dataclasses import dataclass

from tfops.approval import Tally
from tfops.config import Approval
from tfops.coverage import Gap


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
    unverified: tuple[str, ...] = ()

    @property
    def is_enough(self) -> bool:
        """Nobody is against it, and approved plans, itself or others, cover all of it."""
        return not self.tally.rejected_by and bool(self.covered_by) and self.is_covered

    @property
    def words(self) -> tuple[str, ...]:
        """Why it is not enough."""
        return (
            *self.tally.words,
            *(f"{fault}; it does not count" for fault in self.unverified),
            *(self.gap.words if self.covered_by else ()),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """Whether an apply may go ahead; when not, every reason why, each ending in what to do."""

    allowed: bool
    reasons: tuple[str, ...] = ()


def decide(
    *,
    environment: str,
    approval: Approval | None,
    consent: Consent | None = None,
    blocked_by: Iterable[str] = (),
) -> Decision:
    """The decision for a plan of a stack of `environment`.

    No `approval` block means never automatically (DESIGN.md §4); a count above zero waits for that many people.
    """
    reasons = list(blocked_by)
    if approval is None:
        reasons.append(
            f'environment "{environment}" names no approval block, so nothing is applied automatically: '
            "say approval { count = 0 } to apply without one"
        )
    elif approval.count > 0 and not (consent and consent.is_enough):
        people = "approval" if approval.count == 1 else "approvals"
        found = len(consent.tally.approved_by) if consent else 0
        reasons.append(f'environment "{environment}" asks for {approval.count} {people}; there are {found}')
        reasons += consent.words if consent else ()
    return Decision(allowed=not reasons, reasons=tuple(reasons))
