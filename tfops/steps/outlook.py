"""How a stored plan stands at the gate, for who looks at it: nothing is planned again, nothing is written."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from tfops.approval import Override, Tally
from tfops.attestation import PlanPredicate, Purpose, binding_checks
from tfops.changes import has_work, parse_plan
from tfops.config_gate import Evidence, Gate
from tfops.coverage import Gap, begun, content
from tfops.errors import TfopsError
from tfops.forge import Change, ForgeError
from tfops.gate import Consent, Decision, decide
from tfops.landing import Landed
from tfops.steps.applying import expected_of
from tfops.steps.ballots import decided
from tfops.steps.inputs_archive import kept_manifest
from tfops.steps.judging import judge
from tfops.steps.opening import Session, now
from tfops.steps.outcome import Options, StackRun
from tfops.steps.planning import change_refs
from tfops.steps.policies import findings
from tfops.steps.reviews import ReviewedPlan, files_at
from tfops.steps.store import PlanArtifact
from tfops.steps.survey import fingerprint_of, survey_merged
from tfops.steps.surveyed import Surveyed, snapshot
from tfops.steps.trusting import gate_for
from tfops.steps.untrusted import flagged
from tfops.unread import approved_with, begins_to_read

IDLE = "it changes nothing now; its files are approved with it"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook:
    """The gate's decision about a plan, what people said of it, and what else keeps it from being applied now."""

    decision: Decision
    consent: Consent | None = None
    faults: tuple[str, ...] = ()
    flagged: tuple[str, ...] = ()
    """What its code sets going, in sentences."""

    @property
    def tally(self) -> Tally | None:
        """How many are for it and who is against; None where it does not matter, or where nobody knows."""
        return self.consent.tally if self.consent else None

    @property
    def reasons(self) -> tuple[str, ...]:
        """Everything that stands in the way."""
        return (*self.faults, *self.decision.reasons)

    @property
    def notes(self) -> tuple[str, ...]:
        """What else to know before one approves it: what it is made of, and what that sets going."""
        found = (*(self.consent.unread if self.consent else ()), *self.flagged)
        return tuple(note for note in found if note not in self.reasons)


def outlook(session: Session, live: Mapping[str, Surveyed], artifact: PlanArtifact) -> Outlook:
    """How a plan of the session's branch stands now. One for review is judged as if it were merged as it is."""
    plan = artifact.statement.predicate
    surveyed = live.get(plan.stack)
    if surveyed is None and plan.purpose is Purpose.SPECULATIVE:
        surveyed = survey_merged(session, plan.source.commit).get(plan.stack)
    if surveyed is None:
        gone = f"{session.revision} has no stack {plan.stack}"
        return Outlook(decision=Decision(allowed=False), faults=(gone,))
    if plan.purpose is Purpose.SPECULATIVE:
        found = of_review(session, surveyed, artifact, change=None)
        return replace(found, flagged=_flagged_when_merged(session, plan))
    return _of_waiting(session, live, surveyed, artifact)


def _flagged_when_merged(session: Session, plan: PlanPredicate) -> tuple[str, ...]:
    try:
        merged = survey_merged(session, plan.source.commit).get(plan.stack)
    except TfopsError as error:
        return (f"what its code sets going cannot be told: {error}",)
    return flagged(session, merged) if merged is not None else ()


def of_review(session: Session, surveyed: Surveyed, artifact: PlanArtifact, *, change: Change | None) -> Outlook:
    """How a plan for review would pass the gate if it were merged; `change` is the open one on the forge, if known."""
    gate = gate_for(session, surveyed, lineage=artifact.statement.predicate.state.lineage)
    reviewed, fault = _open_reviews(session, gate, artifact, change)
    tally = decided(session, surveyed, artifact, gate, on_forge=reviewed).tally
    redacted, found = parse_plan(artifact.files["plan.json"])
    consent = replace(_as_if_merged(tally, gate, artifact), unread=_made_of(session, artifact))
    decision = decide(
        environment=surveyed.stack.environment,
        gate=gate,
        plan=found,
        now=now(),
        findings=findings(session, surveyed, gate, redacted),
        consent=consent,
    )
    if not has_work(found):
        decision = replace(decision, reasons=(IDLE, *decision.reasons))
    faults = (fault,) if fault else ()
    return Outlook(decision=decision, consent=consent, faults=faults, flagged=flagged(session, surveyed))


def _made_of(session: Session, artifact: PlanArtifact) -> tuple[str, ...]:
    """What people approve with a plan for review, in words."""
    plan = artifact.statement.predicate
    now = kept_manifest(session, plan.stack, plan.fingerprint)
    before = kept_manifest(session, plan.stack, plan.base_fingerprint or "")
    if now is None or (plan.base_fingerprint and before is None):
        return ("what it is made of is not in the store any more: approved, it covers no files",)
    found, base = content((), before=before, now=now), plan.source.base or ""
    names = {name for name, _, _ in found.inputs}
    added = begun(found, files_at(session.repository, base))
    return (
        *approved_with(names.difference(added), base=base, tip=plan.source.commit, between="..."),
        *begins_to_read(added, hidden="this change does not touch"),
    )


def _open_reviews(
    session: Session, gate: Gate, artifact: PlanArtifact, change: Change | None
) -> tuple[ReviewedPlan | None, str | None]:
    if gate.approval is None or Evidence.FORGE not in gate.approval.sources:
        return None, None
    source = artifact.statement.predicate.source
    try:
        forge = session.forge
        found = change or (forge.proposed(source.commit, source.branch) if forge else None)
        if forge is None or found is None:
            return None, None
        landed = Landed(base=source.base, tip=source.commit, change=found, reviews=forge.reviews(found))
    except ForgeError as error:
        return None, f"reviews on the forge are unknown: {error}"
    return ReviewedPlan(plan_id=artifact.id, artifact=artifact, landed=landed), None


def _as_if_merged(tally: Tally, gate: Gate, artifact: PlanArtifact) -> Consent:
    needed = max(1, gate.wanted)
    addresses = tuple(sorted({ref.address for ref in artifact.statement.predicate.change_set}))
    return Consent(
        tally=tally,
        gap=Gap(),
        covered_by=(artifact.id,),
        is_covered=not tally.missing,
        overrides={
            override: Gap(changes=() if len(tally.overridden_by.get(override, ())) >= needed else addresses)
            for override in Override
        },
    )


def _of_waiting(session: Session, live: Mapping[str, Surveyed], surveyed: Surveyed, artifact: PlanArtifact) -> Outlook:
    plan = artifact.statement.predicate
    stack = StackRun(
        session=session,
        surveyed=surveyed,
        live=live,
        options=Options(dry_run=True),
        fingerprint=fingerprint_of(session, surveyed),
        head=session.store.head(surveyed.id, session.keys),
        started_on=now(),
        state=snapshot(surveyed),
        purpose=plan.purpose,
    )
    redacted, found = parse_plan(artifact.files["plan.json"])
    judged = judge(stack, found, redacted, change_refs(plan.change_set), lambda: artifact)
    return Outlook(
        decision=judged.decision,
        consent=judged.consent,
        faults=_not_bound(stack, artifact),
        flagged=flagged(session, surveyed),
    )


def _not_bound(stack: StackRun, artifact: PlanArtifact) -> tuple[str, ...]:
    """Why the plan does not fit any more, as far as that shows without starting Terraform."""
    state = snapshot(stack.surveyed)
    if state is None:
        return ()
    predicate = artifact.statement.predicate
    expected = expected_of(stack.session, stack.surveyed, stack.fingerprint, state)
    checks = binding_checks(predicate, expected, predicate.purpose)
    used = stack.session.store.is_claimed(stack.id, artifact.id)
    found = tuple(f"{check.name}: {check.detail}" for check in checks if not check.ok)
    return ("it was used already", *found) if used else found
