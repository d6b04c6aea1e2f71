"""Telling a forge how a change stands: one comment on the change, and a status for each of its stacks.

Nobody's run fails because a forge does not listen: what goes wrong is said, and the next run tells it again.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import TypeVar

import msgspec

from tfops.attestation import Purpose
from tfops.documents import read_document
from tfops.errors import TfopsError
from tfops.forge import Change, Forge
from tfops.report.change_comment import render_comment
from tfops.report.review import ChangeReview, StackReview, Standing
from tfops.report.status_line import status_of
from tfops.steps.opening import Session
from tfops.steps.outcome import Outcome, StackSync
from tfops.steps.outlook import of_review
from tfops.steps.reviews import newest_plan
from tfops.steps.store import FORGE, PlanArtifact, sha256
from tfops.steps.survey import survey_merged
from tfops.steps.surveyed import Surveyed

KEY = "plan"
_STANDINGS = {
    Outcome.APPLIED: Standing.APPLIED,
    Outcome.CONVERGED: Standing.APPLIED,
    Outcome.WAITING: Standing.WAITING,
    Outcome.FAILED: Standing.FAILED,
    Outcome.REFUSED: Standing.REFUSED,
}
_NEWS = frozenset({Outcome.APPLIED, Outcome.WAITING, Outcome.FAILED, Outcome.REFUSED})
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a stack of a change ended in this run, where that is not what its plan for review says."""

    standing: Standing
    reasons: tuple[str, ...] = ()
    error: str | None = None


def is_told(session: Session) -> bool:
    """Whether the rules in force name a forge that wants to hear."""
    forge = session.rules.config.forge
    return forge is not None and forge.comment


def tell_proposed(
    session: Session, live: Mapping[str, Surveyed], commit: str, *, number: int | None, ended: Mapping[str, Ended]
) -> None:
    """Tell how an open change stands, after its plans were made or somebody approved them."""
    if not is_told(session):
        return

    def tell() -> None:
        forge = session.forge
        change = _open_change(forge, commit, session.revision.branch, number) if forge else None
        if forge is not None and change is not None:
            _publish(session, forge, change, _review(session, live, change, ended))
        else:
            session.say("", f"no open change has {commit[:12]} as its head: no comment")

    _heard(session, tell)


def tell_decided(session: Session, artifact: PlanArtifact) -> None:
    """Tell that somebody decided about a plan for review; whoever has no token leaves it to the next run."""
    forge, plan = session.rules.config.forge, artifact.statement.predicate
    if plan.purpose is not Purpose.SPECULATIVE or forge is None or not session.caller.forge_token(forge.kind):
        return
    try:
        live = survey_merged(session, plan.source.commit)
    except TfopsError as error:
        session.say("", f"the forge was not told: {error}; {error.problems[0].hint}")
        return
    tell_proposed(session, live, plan.source.commit, number=None, ended={})


def tell_landed(session: Session, live: Mapping[str, Surveyed], stacks: Iterable[StackSync]) -> None:
    """Tell each change that landed since the last deployments how its stacks ended."""
    news = [stack for stack in stacks if stack.outcome in _NEWS]
    if not news or not is_told(session):
        return

    def tell() -> None:
        forge, landings = session.forge, session.landings
        if forge is None or landings is None:
            return
        landed = chain.from_iterable(landings.since(stack.base) for stack in news)
        changes = {one.change.number: one.change for one in landed if one.change is not None}
        ended = {stack.stack: _ended(stack) for stack in stacks if stack.outcome in _STANDINGS}
        for change in changes.values():
            review = _review(session, live, change, ended, only_planned=True)
            if review.stacks:
                _publish(session, forge, change, review)

    _heard(session, tell)


def _heard(session: Session, tell: Callable[[], None]) -> None:
    try:
        tell()
    except TfopsError as error:
        session.say("", f"the forge was not told: {error}; {error.problems[0].hint}")


def _open_change(forge: Forge, commit: str, branch: str, number: int | None) -> Change | None:
    """The change of that number if it has that head: a pipeline's word alone puts no comment anywhere else."""
    if number is None:
        return forge.proposed(commit, branch)
    found = forge.change(number)
    return found if found.head == commit and found.target == branch else forge.proposed(commit, branch)


def _ended(stack: StackSync) -> Ended:
    error = "; ".join(problem.message for problem in stack.problems) or None
    return Ended(standing=_STANDINGS[stack.outcome], reasons=() if error else stack.reasons, error=error)


def _review(
    session: Session,
    live: Mapping[str, Surveyed],
    change: Change,
    ended: Mapping[str, Ended],
    *,
    only_planned: bool = False,
) -> ChangeReview:
    found = []
    base = ""
    for name, surveyed in live.items():
        artifact = newest_plan(session, name, change.head)
        if artifact is not None and not _is_nothing(ended.get(name)):
            base = artifact.statement.predicate.source.base or base
            found.append(_planned(session, surveyed, artifact, change, ended.get(name)))
        elif name in ended and not only_planned:
            end = ended[name]
            found.append(StackReview(stack=name, standing=end.standing, reasons=end.reasons, error=end.error))
    where = f"{change.target}@{base[:12]}" if base else change.target
    return ChangeReview(head=change.head, base=where, stacks=tuple(found))


def _is_nothing(end: Ended | None) -> bool:
    """Whether planning it again found nothing to do: then what an earlier plan says is over."""
    return end is not None and end.standing is Standing.NOTHING


def _planned(
    session: Session, surveyed: Surveyed, artifact: PlanArtifact, change: Change, end: Ended | None
) -> StackReview:
    redacted = read_document(artifact.files["plan.json"], "plan.json").content
    if end is not None and end.standing is not Standing.WAITING:
        return StackReview(
            stack=surveyed.id, standing=end.standing, plan_id=artifact.id, redacted=redacted, error=end.error
        )
    found = of_review(session, surveyed, artifact, change=change)
    tally = found.tally
    return StackReview(
        stack=surveyed.id,
        standing=Standing.PLANNED if found.decision.allowed and end is None else Standing.WAITING,
        plan_id=artifact.id,
        redacted=redacted,
        reasons=(*end.reasons, *found.flagged) if end is not None else (*found.reasons, *found.notes),
        approved_by=tally.approved_by if tally else (),
        missing=f"{tally.missing} more needed" if tally and tally.missing else "",
    )


def _publish(session: Session, forge: Forge, change: Change, review: ChangeReview) -> None:
    """Write the comment and the statuses, unless the forge has just these already."""
    body = render_comment(review, limit=forge.comment_limit, folds=forge.folds)
    statuses = [status_of(stack, is_merged=change.is_merged, url=change.url or None) for stack in review.stacks]
    key = f"{FORGE}/{change.number}"
    said = sha256(b"\0".join([change.head.encode(), body.encode(), msgspec.json.encode(statuses)])).encode()
    before = session.store.objects.get(key)
    if before == said:
        return
    forge.comment(change, KEY, body)
    for status in statuses:
        forge.set_status(change, status)
    session.store.objects.replace(key, said, expected=before)
    session.say("", f"told {forge.name} how change #{change.number} stands: {change.url}")
