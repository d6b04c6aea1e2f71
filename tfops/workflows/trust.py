"""`tfops trust`: the rules in force, what waits to change them, and a way on where nobody can be asked."""

from dataclasses import dataclass

from tfops.config_gate import Gate
from tfops.config_trust import Approver
from tfops.steps.opening import Session
from tfops.steps.trusting import Proposal, accept, proposal
from tfops.trust import Trust, gate_in, gate_of


@dataclass(frozen=True, slots=True, kw_only=True)
class InForce:
    """The record, the gate of each environment, its people and its runners."""

    trust: Trust | None
    gates: tuple[tuple[str, Gate], ...]
    approvers: tuple[Approver, ...]
    runners: tuple[str, ...]
    review_runners: tuple[str, ...]
    waiting: Proposal | None


def in_force(session: Session) -> InForce:
    """The rules that judge what is done from this branch."""
    environments = session.rules.config.environments
    return InForce(
        trust=session.trust,
        gates=tuple((one.name, gate_of(one.name, gate_in(one), (), session.rules.config)) for one in environments),
        approvers=session.approvers,
        runners=tuple(sorted(session.keys)),
        review_runners=tuple(sorted(session.review_keys)),
        waiting=proposal(session),
    )


def accepted(session: Session, *, reason: str) -> InForce:
    """Put the branch's rules in force by hand; it is signed, and entered into the audit log."""
    accept(session, reason=reason)
    return in_force(session)
