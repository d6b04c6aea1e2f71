"""`tfops trust`: the rules in force, what waits to change them, and a way on where nobody can be asked."""

from dataclasses import dataclass, replace

from tfops.config_gate import Gate
from tfops.standing import Machine, Person, machines, people
from tfops.steps.accepting import Accepted, accept
from tfops.steps.opening import Session, now
from tfops.steps.trusting import Proposal, proposal
from tfops.trust import Rules, Trust, gate_in, gate_of


@dataclass(frozen=True, slots=True, kw_only=True)
class InForce:
    """The record and what it holds: the gate of each environment, its people and its runners."""

    trust: Trust | None
    rules: Rules
    gates: tuple[tuple[str, Gate], ...]
    people: tuple[Person, ...]
    machines: tuple[Machine, ...]
    waiting: Proposal | None
    accepted: Accepted | None = None
    """What was just put in force by hand."""


def in_force(session: Session) -> InForce:
    """The rules that judge what is done from this branch."""
    rules = session.rules.config
    head = session.config if session.is_followed else rules
    return InForce(
        trust=session.trust,
        rules=session.rules,
        gates=tuple((one.name, gate_of(one.name, gate_in(one), (), rules)) for one in rules.environments),
        people=people(rules, head, now()),
        machines=machines(rules.runners, {*session.keys, *session.review_keys}),
        waiting=proposal(session),
    )


def accepted(session: Session, *, reason: str) -> InForce:
    """Put the branch's rules in force by hand; signed, and in the audit log. Raises as `accept` does."""
    done = accept(session, reason=reason)
    return replace(in_force(session), accepted=done)
