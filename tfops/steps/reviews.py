"""What reviews on the forge say for a stack: of the plans that were made for review, and of the files that landed."""

import contextlib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING

from tfops.approval import Ballot, Tally, joined
from tfops.config_gate import Evidence, Gate
from tfops.coverage import SETTING, Approved, Content, Input, file_item
from tfops.deployment import baseline
from tfops.errors import TfopsError
from tfops.forge import ForgeError, Opinion
from tfops.landing import Electorate, Landed, Reviewed, reviewed
from tfops.steps.configuration import CONFIG_NAME
from tfops.steps.opening import Session, now
from tfops.steps.outcome import StackRun
from tfops.steps.store import PlanArtifact
from tfops.tree import Entry

if TYPE_CHECKING:
    from tfops.adapters.git import Repository

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
    return landed_since(stack.session, baseline(stack.head).commit or None)


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
    mine = (stack, session.revision.branch, commit)
    of_commit = (one for one in found if _subject(one) == mine)
    return sorted(of_commit, key=lambda one: one.statement.predicate.finished_on)


def _subject(plan: PlanArtifact) -> tuple[str, str, str]:
    predicate = plan.statement.predicate
    return predicate.stack, predicate.source.branch, predicate.source.commit


def reviewed_plans(stack: StackRun, landed: Landed) -> list[ReviewedPlan]:
    """The plans of the stack that were made of the change's head, each with the reviews that could have seen it."""
    plans = _plans(stack.session, stack.id, landed.change.head) if landed.change else []
    if not plans:
        return []
    begins = [plan.statement.predicate.finished_on for plan in plans]
    spans = zip([None, *begins[1:]], [*begins[1:], None], strict=True)
    return [
        ReviewedPlan(plan_id=plan.id, artifact=plan, landed=_between(landed, begin, end))
        for plan, (begin, end) in zip(plans, spans, strict=True)
    ]


def _between(landed: Landed, begin: datetime | None, end: datetime | None) -> Landed:
    """Without the approvals from before a plan was there and from when a newer one was: their authors saw another.

    How early one of the first plan may be says `tfops.landing`: one that comes later gets none that went to another.
    """
    kept = (
        one
        for one in landed.reviews
        if one.opinion is not Opinion.APPROVED
        or one.on is None
        or ((begin is None or one.on >= begin) and (end is None or one.on < end))
    )
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
        signed,
        ballot,
        approved=said.approved_by,
        rejected=said.rejected_by,
        notes=notes_of(found.landed, said),
        said_on=said.approved_on,
    )


def notes_of(landed: Landed, said: Reviewed) -> tuple[str, ...]:
    """Why not more people count, in words."""
    against = (f"{person} asked for changes in {landed.name}" for person in said.rejected_by)
    return (*against, *said.notes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """Files that people read where they landed, and when each said so."""

    approved: Approved
    said_on: Mapping[str, datetime]


def read_inputs(stack: StackRun, gate: Gate, landed: Landed, wanted: Content, barred: dict[str, str]) -> Read:
    """Of what the stack's plan is made of: what a change made of it, and who read that there.

    A review is of files. What a plan does with them is not in it.
    """
    said = reviewed(landed, electorate(stack.session, barred, gate), asked=None, now=now())
    if landed.base is None or said.rejected_by or not said.approved_by:
        return Read(approved=Approved(content=NOTHING, people=frozenset()), said_on={})
    inputs = frozenset(_steps(stack, landed.base, landed.tip, wanted))
    found = Approved(content=Content(changes=frozenset(), inputs=inputs), people=frozenset(said.approved_by))
    return Read(approved=found, said_on=said.approved_on)


def _steps(stack: StackRun, base: str, tip: str, wanted: Content) -> Iterator[Input]:
    """What happened to the wanted inputs between two commits.

    Settings are lines of the configuration: of them it tells no more than that they are as before, or as now. Nor does
    it know of a file whether the stack read it then.
    """
    repository, here = stack.session.repository, stack.session.revision.commit
    changed = repository.changed_paths(base, tip)
    touched = [item for item in wanted.inputs if path_of(item[0]) in changed]
    commits = (baseline(stack.head).commit, base, tip, here)
    first, old, new, last = (files_at(repository, commit) if touched else {} for commit in commits)
    for name, before, after in touched:
        path = path_of(name)
        known = {file_item(files.get(path)): item for files, item in ((first, before), (last, after)) if files}
        was, became = file_item(old.get(path)), file_item(new.get(path))
        if was != became:
            yield name, known.get(was, was), known.get(became, became)


def files_at(repository: "Repository", commit: str) -> Mapping[str, Entry]:
    """The files of a commit; none where there is none, or where it is not in this clone."""
    return repository.list_tree(repository.tree_id(commit)) if commit and repository.has(commit) else {}


def path_of(name: str) -> str:
    """The file that an input stands in: settings are lines of the configuration."""
    return CONFIG_NAME if is_setting(name) else name.removeprefix("./")


def is_setting(name: str) -> bool:
    """Whether an input is one of the configuration, and no file."""
    return name.startswith(SETTING)


def touches_any(session: Session, landed: Landed, paths: Collection[str]) -> bool:
    """Whether a stretch changed any of these paths; where its beginning is unknown, it may have."""
    return landed.base is None or not session.repository.changed_paths(landed.base, landed.tip).isdisjoint(paths)


def unexplained(stack: StackRun, gate: Gate, said: Heard, wanted: Content) -> Iterator[str]:
    """What touched the stack's inputs and stands in no plan that a review could be of, in words."""
    names = {path_of(name) for name, _, _ in wanted.inputs}
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
