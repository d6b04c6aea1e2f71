"""What reviews on the forge say for a stack: of the plans that were made for review, and of the files that landed."""

import contextlib
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from datetime import datetime

from tfops.approval import Ballot, Tally, joined
from tfops.config_gate import Evidence, Gate
from tfops.coverage import Approved, Content
from tfops.errors import TfopsError
from tfops.forge import ForgeError, Opinion
from tfops.landing import Electorate, Landed, Reviewed, reviewed
from tfops.steps.configuration import CONFIG_NAME
from tfops.steps.opening import Session, now
from tfops.steps.outcome import StackRun
from tfops.steps.store import PlanArtifact

NOTHING = Content(changes=frozenset(), inputs=frozenset())


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """What landed since the stack's last deployment, and in words why something cannot be known."""

    landed: tuple[Landed, ...] = ()
    notes: tuple[str, ...] = ()


def heard(stack: StackRun, gate: Gate) -> Heard:
    """What landed since the stack's head; nothing where its environment does not count reviews on a forge."""
    if gate.approval is None or Evidence.FORGE not in gate.approval.sources:
        return Heard()
    base = stack.head.record.source.commit if stack.head else None
    return landed_since(stack.session, base)


def landed_since(session: Session, base: str | None) -> Heard:
    """What landed since a commit, as far as the forge tells."""
    try:
        landings = session.landings
    except ForgeError as error:
        return Heard(notes=(f"reviews are unknown, so none counts: {error}; {error.problems[0].hint}",))
    if landings is None:
        return Heard(notes=("reviews on a forge count here, but the rules in force name no forge yet",))
    return Heard(landed=tuple(landings.since(base)))


def electorate(session: Session, barred: dict[str, str], gate: Gate) -> Electorate:
    """Whose reviews count: the people of trust by what this forge calls them."""
    kind = session.forge.name if session.forge else ""
    people = {
        login.casefold(): person.name
        for person in session.approvers
        if not person.is_revoked
        for forge, login in person.logins
        if forge == kind
    }
    return Electorate(
        people=people, barred=barred, max_age_seconds=gate.approval.max_age_seconds if gate.approval else None
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewedPlan:
    """A plan for review of a change that landed, and until when it was the newest one of that commit."""

    plan_id: str
    artifact: PlanArtifact
    landed: Landed


def newest_plan(session: Session, stack: str, commit: str) -> PlanArtifact | None:
    """The newest plan for review of a stack that was made of that commit."""
    plans = _plans(session, stack, commit)
    return plans[-1] if plans else None


def _plans(session: Session, stack: str, commit: str) -> list[PlanArtifact]:
    """The plans for review of that commit, the oldest first; what does not verify is none."""
    found = []
    for plan_id in session.store.review_plans(stack, commit):
        with contextlib.suppress(TfopsError):
            found.append(session.store.plan(stack, plan_id, session.keys, session.review_keys))
    of_commit = (one for one in found if one.statement.predicate.source.commit == commit)
    return sorted(of_commit, key=lambda one: one.statement.predicate.finished_on)


def reviewed_plans(stack: StackRun, landed: Landed) -> list[ReviewedPlan]:
    """The plans of the stack that were made of the change's head, each with the reviews that could have seen it."""
    plans = _plans(stack.session, stack.id, landed.change.head) if landed.change else []
    if not plans:
        return []
    ends = [plan.statement.predicate.finished_on for plan in plans[1:]]
    return [
        ReviewedPlan(plan_id=plan.id, artifact=plan, landed=_until(landed, end))
        for plan, end in zip(plans, [*ends, None], strict=True)
    ]


def _until(landed: Landed, end: datetime | None) -> Landed:
    """Without the approvals that were given once a newer plan was there: their authors saw that one."""
    if end is None:
        return landed
    kept = (one for one in landed.reviews if one.opinion is not Opinion.APPROVED or one.on is None or one.on < end)
    return replace(landed, reviews=tuple(kept))


def with_reviews(session: Session, ballot: Ballot, gate: Gate, found: ReviewedPlan, signed: Tally) -> Tally:
    """The tally of a plan for review with what was said on the forge."""
    said = reviewed(
        found.landed,
        electorate(session, dict(ballot.barred), gate),
        asked=found.artifact.statement.predicate.finished_on,
        now=now(),
    )
    return joined(
        signed, ballot, approved=said.approved_by, rejected=said.rejected_by, notes=notes_of(found.landed, said)
    )


def notes_of(landed: Landed, said: Reviewed) -> tuple[str, ...]:
    """Why not more people count, in words."""
    against = (f"{person} asked for changes in {landed.name}" for person in said.rejected_by)
    return (*against, *said.notes)


def read_inputs(stack: StackRun, gate: Gate, landed: Landed, wanted: Content, barred: dict[str, str]) -> Approved:
    """Of what the stack's plan is made of: what a change brought just so, and who read it there.

    A review is of files. What a plan does with them is not in it.
    """
    said = reviewed(landed, electorate(stack.session, barred, gate), asked=None, now=now())
    if landed.base is None or said.rejected_by or not said.approved_by:
        return Approved(content=NOTHING, people=frozenset())
    brought = set(unchanged_since(stack.session, landed))
    inputs = frozenset((name, digest) for name, digest in wanted.inputs if path_of(name) in brought)
    return Approved(content=Content(changes=frozenset(), inputs=inputs), people=frozenset(said.approved_by))


def unchanged_since(session: Session, landed: Landed) -> Iterator[str]:
    """The paths that a change brought and that are the same at the revision at hand."""
    repository = session.repository
    then = repository.list_tree(repository.tree_id(landed.tip))
    here = session.tree.entries
    paths = repository.changed_paths(landed.base, landed.tip) if landed.base else ()
    return (path for path in paths if then.get(path) == here.get(path))


def path_of(name: str) -> str:
    """The file that an input stands in: settings are lines of the configuration."""
    return CONFIG_NAME if name.startswith("setting ") else name


def touches_any(session: Session, landed: Landed, paths: Collection[str]) -> bool:
    """Whether a stretch changed any of these paths; where its beginning is unknown, it may have."""
    return landed.base is None or not session.repository.changed_paths(landed.base, landed.tip).isdisjoint(paths)


def unexplained(stack: StackRun, gate: Gate, said: Heard, wanted: Content) -> Iterator[str]:
    """What touched the stack's inputs and stands in no plan that a review could be of, in words."""
    names = {path_of(name) for name, _ in wanted.inputs}
    for one in said.landed:
        repository = stack.session.repository
        touched = names if one.base is None else names & repository.changed_paths(one.base, one.tip)
        if not touched:
            continue
        if one.fault is not None:
            shown = ", ".join(sorted(touched)[:3]) + (" …" if len(touched) > 3 else "")
            yield f"{one.name} ({shown}): {one.fault}"
        elif not reviewed_plans(stack, one):
            yield f"{one.name}: no plan of it was made for {stack.id}: its pipeline runs tfops plan --speculative"
            yield from notes_of(one, reviewed(one, electorate(stack.session, {}, gate), asked=None, now=now()))
