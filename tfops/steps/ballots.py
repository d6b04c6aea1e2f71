"""What people decided about a stack's plans, counted."""

from dataclasses import dataclass, replace

from tfops.approval import Ballot, Tally, question_of, tally
from tfops.attestation import Purpose
from tfops.config_gate import Evidence, Gate
from tfops.steps.ballot_box import BallotBox, lost, open_box
from tfops.steps.former_people import with_former
from tfops.steps.opening import Session, now
from tfops.steps.own_work import authors_of
from tfops.steps.reviews import ReviewedPlan, with_reviews
from tfops.steps.store import PlanArtifact, approvals_name
from tfops.steps.surveyed import Surveyed
from tfops.steps.votes import read_votes


@dataclass(frozen=True, slots=True, kw_only=True)
class Decided:
    """A plan about which people decided something, how it stands, and the decisions that do not even verify."""

    artifact: PlanArtifact
    tally: Tally
    unverified: tuple[str, ...]
    box: BallotBox


def decided(
    session: Session, surveyed: Surveyed, artifact: PlanArtifact, gate: Gate, *, on_forge: ReviewedPlan | None = None
) -> Decided:
    """How the plan stands now, where `gate` has to be passed; with what was said of it on the forge, where given."""
    box = open_box(session.store, approvals_name(surveyed.id, artifact.id))
    votes, unverified = read_votes(session, box.decisions)
    asked = ballot(session, surveyed, artifact, gate)
    counted = replace(tally(asked, votes, now()), lost=lost(session.store, box))
    if on_forge is not None:
        counted = with_reviews(session, asked, gate, on_forge, counted)
    counted = with_former(session, asked, box.decisions, votes, counted)
    return Decided(artifact=artifact, tally=counted, unverified=tuple(unverified), box=box)


def ballot(session: Session, surveyed: Surveyed, artifact: PlanArtifact, gate: Gate) -> Ballot:
    """Who may decide about the plan, who may not, and how many it takes."""
    files = {item.name: item.digest.sha256 for item in artifact.statement.subject}
    return Ballot(
        question=question_of(artifact.id, files["plan.tfplan"], artifact.statement.predicate),
        approvers=frozenset(person.name for person in session.approvers if not person.is_revoked),
        barred=tuple(authors_of(session, surveyed, artifact.statement.predicate)),
        wanted=gate.wanted,
        takes_signatures=_takes_signatures(artifact.statement.predicate.purpose, gate),
        max_age_seconds=gate.approval.max_age_seconds if gate.approval else None,
    )


def _takes_signatures(purpose: Purpose, gate: Gate) -> bool:
    """Whether signatures count: always of a plan that belongs to no change, which nobody can review on a forge."""
    belongs_to_a_change = purpose in (Purpose.SYNC, Purpose.SPECULATIVE)
    return gate.approval is None or not belongs_to_a_change or Evidence.SIGNED in gate.approval.sources
