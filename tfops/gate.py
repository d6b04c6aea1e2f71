"""May this plan be applied now? One pure decision that gives all its reasons at once."""

from collections.abc import Iterable
from dataclasses import dataclass

from tfops.config import Approval


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """Whether an apply may go ahead; when not, every reason why, each ending in what to do."""

    allowed: bool
    reasons: tuple[str, ...] = ()


def decide(*, environment: str, approval: Approval | None, blocked_by: Iterable[str] = ()) -> Decision:
    """The decision for a plan of a stack of `environment`.

    No `approval` block means never automatically (DESIGN.md §4); a count above zero waits for approvals,
    which this version cannot collect yet, so nothing slips through meanwhile.
    """
    reasons = list(blocked_by)
    if approval is None:
        reasons.append(
            f'environment "{environment}" names no approval block, so nothing is applied automatically: '
            "say approval { count = 0 } to apply without one"
        )
    elif approval.count > 0:
        people = "approval" if approval.count == 1 else "approvals"
        reasons.append(f'environment "{environment}" asks for {approval.count} {people}; there are 0')
    return Decision(allowed=not reasons, reasons=tuple(reasons))
