"""The gate's decision about a plan of a stack, with all that bears on it: the rules, people, and what was found."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tfops.approval import Override
from tfops.changes import Plan
from tfops.gate import Consent, Decision, decide, stops
from tfops.steps.applying import NOBODY, Approvals
from tfops.steps.consenting import approvals_of, consent
from tfops.steps.opening import now
from tfops.steps.outcome import StackRun
from tfops.steps.outside import done_outside
from tfops.steps.policies import findings as policy_findings
from tfops.steps.store import PlanArtifact
from tfops.steps.trusting import gate_for


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """The decision about a plan, and whose approvals it rests on; what people said, where that mattered."""

    decision: Decision
    approvals: Approvals = NOBODY
    consent: Consent | None = None


def judge(
    stack: StackRun,
    plan: Plan,
    redacted: Mapping[str, Any],
    changes: set[tuple[str, str]],
    waiting: Callable[[], PlanArtifact | None],
) -> Judged:
    """Whether `plan` of the stack, which makes `changes`, may be applied now. `redacted` is what policies see of it.

    `waiting` finds a stored plan of just these changes, where anything stands before this one: what people said about
    it counts.
    """
    environment, moment = stack.surveyed.stack.environment, now()
    gate = gate_for(stack.session, stack.surveyed, lineage=stack.lineage)
    findings = {
        **policy_findings(stack.session, stack.surveyed, gate, redacted),
        Override.DRIFT: done_outside(stack, plan),
    }
    if not stops(gate, plan, moment, findings):
        return Judged(decision=decide(environment=environment, gate=gate, plan=plan, now=moment))
    found = consent(stack, changes, waiting(), gate)
    decision = decide(
        environment=environment, gate=gate, plan=plan, now=moment, consent=found.consent, findings=findings
    )
    return Judged(decision=decision, approvals=approvals_of(found, decision.overrides), consent=found.consent)
