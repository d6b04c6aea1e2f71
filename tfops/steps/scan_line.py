"""One stack's line in the result of a scan, as people and programs read it."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from tfops.assessment import Assessment
from tfops.drift import Drift, Tag
from tfops.drift_sentences import sentence
from tfops.errors import Exit, InterruptedRunError, Problem, TfopsError
from tfops.incidents import Tracked
from tfops.notification import Event
from tfops.scan_record import ScanRecord
from tfops.steps.finding import Finding, Kept, is_throttled
from tfops.steps.planning import Planned
from tfops.steps.scanning import Pending, Scanned, Target


@dataclass(frozen=True, slots=True, kw_only=True)
class Remediation:
    """What became of bringing a stack back. `outcome` is one of sync's, or "refused"."""

    outcome: str
    reasons: tuple[str, ...] = ()
    deployment: str | None = None
    plan_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StackDrift:
    """One stack's line of the result."""

    stack: str
    environment: str
    verdict: str
    tags: tuple[str, ...]
    drift: Drift
    sentence: str
    exit_code: Exit
    scanned_on: datetime
    planned: Planned | None = None
    judged: Planned | None = None
    plan_id: str | None = None
    change_digest: str | None = None
    reasons: tuple[str, ...] = ()
    pending: Pending | None = None
    suppressed: Mapping[str, str] = field(default_factory=dict)
    record: ScanRecord | None = None
    tracked: Tracked | None = None
    remediation: Remediation | None = None
    terraform_runs: int = 0
    problems: tuple[Problem, ...] = ()
    events: tuple[Event, ...] = ()

    def with_kept(self, kept: Kept) -> "StackDrift":
        """The same line, and what the store remembers after it."""
        return replace(self, record=kept.record, tracked=kept.tracked, events=(*self.events, *kept.events))

    def with_problems(self, error: TfopsError) -> "StackDrift":
        """The same line, and what went wrong besides."""
        return replace(self, problems=(*self.problems, *_problems(self.stack, error)))


def line_of(
    target: Target, scanned: Scanned, assessment: Assessment, finding: Finding, planned: Planned | None
) -> StackDrift:
    """The line of a scan that ended; `planned` would bring the stack back."""
    failure = scanned.seen.looked.failure if scanned.seen else None
    evidence = finding.evidence
    return StackDrift(
        stack=target.stack.id,
        environment=target.stack.environment,
        verdict=finding.verdict,
        drift=replace(assessment.drift, resources=scanned.drift.resources),
        tags=finding.tags,
        sentence=_sentence(target, assessment.drift, failure),
        exit_code=assessment.exit_code,
        scanned_on=finding.on,
        plan_id=evidence.plan_id if evidence else None,
        change_digest=evidence.change_digest if evidence else None,
        reasons=(*scanned.reasons, *((_why(failure),) if failure else ())),
        pending=scanned.pending,
        planned=planned,
        judged=scanned.judged,
        suppressed=assessment.suppressed,
        terraform_runs=scanned.runs,
        problems=_problems(target.stack.id, failure) if failure else (),
    )


def unknown_line(target: Target, error: TfopsError, finding: Finding) -> StackDrift:
    """The line of a scan that could not say anything."""
    stack = target.stack
    return StackDrift(
        stack=stack.id,
        environment=stack.environment,
        verdict=finding.verdict,
        tags=finding.tags,
        drift=Drift(own=(Tag.UNKNOWN,)),
        sentence=f"{stack.id}: nothing can be said: {_why(error)}",
        exit_code=Exit.INTERRUPTED if isinstance(error, InterruptedRunError) else Exit.FAILED,
        scanned_on=finding.on,
        reasons=(_why(error),),
        problems=_problems(stack.id, error),
    )


def _sentence(target: Target, drift: Drift, failure: TfopsError | None) -> str:
    found = sentence(target.stack.id, drift)
    return f"{found}: {_why(failure)}" if failure else found


def _why(error: TfopsError) -> str:
    """What went wrong; a provider's "not so fast" by that name."""
    return f"the provider is throttled: {error}" if is_throttled(str(error)) else str(error)


def _problems(stack: str, error: TfopsError) -> tuple[Problem, ...]:
    return tuple(replace(problem, stack=stack) for problem in error.problems)
