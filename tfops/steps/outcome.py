"""One stack on its way through a sync, and how it ended: the line that people and programs read."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING

from tfops.attestation import Purpose
from tfops.changeset import ChangeSet
from tfops.deployment import Deployment, leaves_nothing
from tfops.errors import Exit, Problem, TfopsError
from tfops.fingerprint import Fingerprint
from tfops.steps.opening import Session
from tfops.steps.state import Snapshot
from tfops.steps.store import PlanArtifact
from tfops.steps.surveyed import Surveyed

if TYPE_CHECKING:
    from tfops.steps.planning import Planned
    from tfops.steps.workplace import Workplace


class Outcome(StrEnum):
    """How a stack ended. `pending` only in a dry run: it would be applied."""

    CONVERGED = "converged"
    APPLIED = "applied"
    PENDING = "pending"
    WAITING = "waiting"
    REFUSED = "refused"
    LOCKED = "locked"
    FAILED = "failed"
    SKIPPED = "skipped"


EXIT_CODES = {
    Outcome.PENDING: Exit.CHANGES,
    Outcome.WAITING: Exit.REFUSED,
}
GOOD = frozenset({Outcome.CONVERGED, Outcome.APPLIED, Outcome.PENDING})


@dataclass(frozen=True, slots=True, kw_only=True)
class StackSync:
    """One stack's line of the result."""

    stack: str
    outcome: Outcome
    purpose: Purpose = Purpose.SYNC
    reasons: tuple[str, ...] = ()
    plan_id: str | None = None
    change_digest: str | None = None
    summary: Mapping[str, int] = field(default_factory=dict)
    dangers: tuple[str, ...] = ()
    deployment: str | None = None
    revision: str = ""
    base: str | None = None
    """The commit that was deployed before."""
    terraform_runs: int = 0
    problems: tuple[Problem, ...] = ()
    exit_code: Exit = Exit.OK


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What the caller asked for."""

    names: tuple[str, ...] = ()
    dry_run: bool = False
    prune: bool = False
    replan: bool = False
    allow_backward: bool = False
    as_new: bool = False
    trust_code: bool = False
    """Somebody has read what too few people approved: its code may run while it is planned."""
    jobs: int = 1
    lock_wait_seconds: float = 30.0
    given: PlanArtifact | None = None


@dataclass(kw_only=True)
class StackRun:
    """One stack on its way through a sync, a remediation or its end. Mutable: it collects what the result will say.

    `judged` are the changes somebody looked at before: where given, nothing else is applied.
    """

    session: Session
    surveyed: Surveyed
    live: Mapping[str, Surveyed]
    options: Options
    fingerprint: Fingerprint
    head: Deployment | None
    started_on: datetime
    state: Snapshot | None = None
    work: "Workplace | None" = None
    plan_id: str | None = None
    planned: "Planned | None" = None
    why: tuple[str, ...] = ()
    purpose: Purpose = Purpose.SYNC
    judged: ChangeSet | None = None

    @property
    def command(self) -> str:
        """What the lock says that we do."""
        return {Purpose.REMEDIATION: "drift --remediate", Purpose.PRUNE: "sync --prune"}.get(self.purpose, "sync")

    @property
    def is_new(self) -> bool:
        """Whether there is nothing of it: it was never deployed, or destroyed when it was gone from its branch."""
        return leaves_nothing(self.head)

    @property
    def lineage(self) -> str | None:
        """The lineage of the state that is there; before it was read, of the one that the head knows."""
        if self.state is not None:
            return self.state.lineage
        return self.head.record.state.lineage if self.head else None

    @property
    def id(self) -> str:
        """The stack's id."""
        return self.surveyed.id

    @property
    def runs(self) -> int:
        """How many Terraform processes were started for it."""
        return self.work.terraform.runs if self.work else 0

    def result(
        self,
        outcome: Outcome,
        *,
        reasons: tuple[str, ...] = (),
        deployment: str | None = None,
        error: TfopsError | None = None,
    ) -> StackSync:
        """The stack's line; `error` decides its exit code."""
        return StackSync(
            stack=self.id,
            outcome=outcome,
            purpose=self.purpose,
            reasons=reasons or self.why,
            plan_id=self.plan_id,
            change_digest=self.planned.change_set.digest if self.planned else None,
            summary=self.planned.summary.as_json() if self.planned else {},
            dangers=tuple(danger.sentence for danger in self.planned.dangers) if self.planned else (),
            deployment=deployment,
            revision=self.session.revision.commit,
            base=self.head.record.source.commit if self.head else None,
            terraform_runs=self.runs,
            problems=tuple(replace(p, stack=p.stack or self.id) for p in error.problems) if error else (),
            exit_code=error.exit_code if error else EXIT_CODES.get(outcome, Exit.OK),
        )
