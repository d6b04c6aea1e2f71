"""What people decided about a plan, and whether that is enough: counted by person, never by key.

A decision is an in-toto statement of our own (reference: DSSE v1, in-toto Statement v1), signed with an SSH key.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from types import MappingProxyType

import msgspec

from tfops.attestation import CLOCK_SKEW, STATEMENT_TYPE, Digest, Document, Moment, PlanPredicate, Subject, decode
from tfops.dsse import Verified
from tfops.errors import VerificationError

APPROVAL_TYPE = "https://tfops.dev/plan-approval/v1"
PLAN_STATEMENT, PLAN_FILE = "plan-statement", "plan.tfplan"
_LONGEST_COMMENT = 120


class Word(StrEnum):
    """What a person says. `withdrawn` takes the person's earlier decision back, whichever it was."""

    APPROVED = "approved"
    REJECTED = "rejected"
    WITHDRAWN = "withdrawn"


class Override(StrEnum):
    """What of a gate a person can let a plan pass by."""

    PROTECT = "protect"
    FREEZE = "freeze"
    POLICY = "policy"
    DRIFT = "drift"


class ApprovalPredicate(Document, frozen=True, kw_only=True):
    """One decision of one person over one plan (reference/signing.md §3.4)."""

    decision: Word
    approver: str
    store_id: str
    stack: str
    environment: str
    change_digest: str
    decided_on: Moment
    expires_on: Moment
    comment: str
    viewed: Digest
    """The text that was shown to the person."""
    overrides: tuple[Override, ...] = ()
    """What of the gate the person lets this plan pass by, in so many words."""


class ApprovalStatement(
    Document, frozen=True, kw_only=True, rename={"type_": "_type", "predicate_type": "predicateType"}
):
    """The signed document of a decision. Its subjects are the plan's statement and the plan file."""

    type_: str = STATEMENT_TYPE
    predicate_type: str = APPROVAL_TYPE
    subject: tuple[Subject, ...]
    predicate: ApprovalPredicate


class Vote(msgspec.Struct, frozen=True, kw_only=True):
    """A decision whose signature fits: its id, the fingerprint of its key, the owner of that key, what it says."""

    id: str
    fingerprint: str
    owner: str
    subject: tuple[Subject, ...]
    record: ApprovalPredicate


def approval_statement(question: "Question", predicate: ApprovalPredicate) -> ApprovalStatement:
    """The statement of a decision over that question."""
    named = tuple(Subject(name=name, digest=Digest(sha256=digest)) for name, digest in question.subjects)
    return ApprovalStatement(subject=named, predicate=predicate)


def decode_vote(verified: Verified, *, owner: str, what: str) -> Vote:
    """A decision from verified bytes; refuses one that speaks for somebody else than the owner of its key."""
    found = decode(verified.payload, ApprovalStatement, APPROVAL_TYPE, what=what)
    if found.predicate.approver != owner:
        raise VerificationError(
            f"{what} says it is by {found.predicate.approver}, but {owner}'s key signed it",
            code="approval.identity",
            hint="it does not count; let the person it names sign",
        )
    return Vote(id=verified.id, fingerprint=verified.signer, owner=owner, subject=found.subject, record=found.predicate)


def claimed_on(payload: bytes, *, what: str) -> datetime:
    """When a decision says that it was made; nobody has checked its signature yet."""
    return decode(payload, ApprovalStatement, APPROVAL_TYPE, what=what).predicate.decided_on


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What people decide about. A decision counts if it names all of this; `subjects` are names and sha256 digests."""

    store_id: str
    stack: str
    environment: str
    change_digest: str
    asked_on: datetime
    subjects: tuple[tuple[str, str], ...]


def question_of(plan_id: str, plan_file: str, plan: PlanPredicate) -> Question:
    """The question whether a plan may be applied; `plan_file` is the plan file's sha256."""
    return Question(
        store_id=plan.store_id,
        stack=plan.stack,
        environment=plan.environment,
        change_digest=plan.change_digest,
        asked_on=plan.finished_on,
        subjects=((PLAN_STATEMENT, plan_id), (PLAN_FILE, plan_file)),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Ballot:
    """What people decide about, who may decide, and who may not because it is their own work.

    `barred` says for each person why, in words: "wrote commit 1a2b3c4d".
    """

    question: Question
    approvers: frozenset[str]
    barred: tuple[tuple[str, str], ...] = ()
    wanted: int
    takes_signatures: bool = True
    """Whether a signed approval counts as one; signed rejections and overrides always do."""
    max_age_seconds: float | None = None
    """An approval that was made longer ago does not count."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Uncounted:
    """A decision that does not count, and why."""

    vote: Vote
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """How a ballot stands."""

    approved_by: tuple[str, ...]
    rejected_by: tuple[str, ...]
    uncounted: tuple[Uncounted, ...]
    missing: int
    may_still: tuple[str, ...]
    """Who could still approve."""
    overridden_by: Mapping[Override, tuple[str, ...]] = field(default_factory=dict)
    """The people who approved it and let it pass by a part of the gate, signed: no forge has a word for that."""
    notes: tuple[str, ...] = ()
    """What else bears on it, in words."""
    lost: int = 0
    """How many decisions a run has seen that are gone, or changed: each may have been a rejection."""
    said_on: Mapping[str, datetime] = field(default_factory=dict)
    """When those who approved it, or signed a rejection, last did."""
    comments: Mapping[str, str] = field(default_factory=dict)
    """Why those who signed a rejection did, on one line each; a rejection on a forge says nothing here."""

    @property
    def is_approved(self) -> bool:
        """Enough people, and nobody against it."""
        return not self.missing and not self.is_stopped

    @property
    def is_stopped(self) -> bool:
        """Whether somebody is against it, or may have been."""
        return bool(self.rejected_by or self.lost)

    @property
    def still(self) -> str:
        """How many more are needed, and who they could be."""
        several = self.missing > 1 and self.missing == len(self.may_still)
        who = (" and " if several else " or ").join(self.may_still) or "nobody"
        short = self.missing > len(self.may_still)
        return f"{self.missing} more needed, from {who}{': name more people in trust' if short else ''}"

    @property
    def words(self) -> tuple[str, ...]:
        """Who said what, and who is missing."""
        return (
            *(_rejection(person, self.comments.get(person, "")) for person in self.rejected_by),
            *(
                (
                    f"{self.lost} of the decisions over it that stand in the audit log are gone from the store, or "
                    "changed: restore the store; tfops audit verify says whose they are",
                )
                if self.lost
                else ()
            ),
            *(f"approved by {person}" for person in self.approved_by),
            *((self.still,) if self.missing else ()),
            *(f"an approval by {one.vote.owner} does not count: {one.reason}" for one in self.uncounted),
            *self.notes,
        )


def tally(ballot: Ballot, votes: Iterable[Vote], now: datetime) -> Tally:
    """Count the last decision of each person. One that ended brings no earlier one back: it was their last word."""
    about_it, uncounted = _split(votes, lambda vote: _why_not_about_it(ballot, vote, now))
    latest, void = _split(last_words(about_it), lambda vote: _why_void(ballot, vote, now))
    uncounted += void
    approving = [vote for vote in latest if vote.record.decision is Word.APPROVED]
    approved = tuple(sorted(vote.owner for vote in approving)) if ballot.takes_signatures else ()
    if not ballot.takes_signatures:
        why = "this environment counts reviews on the forge only"
        uncounted += [Uncounted(vote=vote, reason=why) for vote in approving if not vote.record.overrides]
    rejecting = {vote.owner: vote.record.comment for vote in latest if vote.record.decision is Word.REJECTED}
    rejected = tuple(sorted(rejecting))
    barred = {person for person, _ in ballot.barred}
    return Tally(
        approved_by=approved,
        rejected_by=rejected,
        uncounted=tuple(uncounted),
        missing=max(0, ballot.wanted - len(approved)),
        may_still=tuple(sorted(ballot.approvers - barred - set(approved) - set(rejected))),
        overridden_by={
            override: tuple(sorted(vote.owner for vote in approving if override in vote.record.overrides))
            for override in Override
        },
        said_on={vote.owner: vote.record.decided_on for vote in latest if vote.record.decision is not Word.WITHDRAWN},
        comments={person: _one_line(comment) for person, comment in rejecting.items()},
    )


def _split(votes: Iterable[Vote], why_not: Callable[[Vote], str | None]) -> tuple[list[Vote], list[Uncounted]]:
    """The votes that nothing speaks against, and the others with the reason."""
    judged = [(vote, why_not(vote)) for vote in votes]
    good = [vote for vote, reason in judged if reason is None]
    return good, [Uncounted(vote=vote, reason=reason) for vote, reason in judged if reason is not None]


def without(own: Tally, people: Collection[str], wanted: int) -> Tally:
    """The tally without the approvals of these people, which do not count any more; they may approve again."""
    left = tuple(person for person in own.approved_by if person not in people)
    taken = {*own.approved_by} - {*left}
    return replace(
        own,
        approved_by=left,
        missing=max(0, wanted - len(left)),
        may_still=tuple(sorted({*own.may_still, *taken})),
        overridden_by={
            override: tuple(person for person in said if person not in people)
            for override, said in own.overridden_by.items()
        },
    )


def opposed(own: Tally, others: Mapping[str, Tally], approved_on: Mapping[str, datetime]) -> Tally:
    """The tally with what people signed against `others`, plans that do the same, by their ids.

    Else planning again would be rid of every rejection. Who approved any of it later (`approved_on`) took it back.
    """
    against = {
        person: plan_id
        for plan_id, other in others.items()
        for person in other.rejected_by
        if person in other.said_on and not approved_on.get(person, other.said_on[person]) > other.said_on[person]
    }
    comments = {person: others[plan_id].comments.get(person, "") for person, plan_id in against.items()}
    return replace(
        own,
        rejected_by=tuple(sorted({*own.rejected_by, *against})),
        lost=own.lost + sum(other.lost for other in others.values()),
        comments={**comments, **own.comments},
        notes=(
            *(
                f"{person} rejected plan {plan_id[:12]}, which does the same; what takes that back: {person}, with "
                f"tfops approve {plan_id[:12]} --withdraw, or, once {person} may not decide any more, who approve that "
                "plan anew"
                for person, plan_id in sorted(against.items())
            ),
            *own.notes,
        ),
    )


def joined(
    own: Tally,
    ballot: Ballot,
    *,
    approved: Iterable[str],
    rejected: Iterable[str],
    notes: Iterable[str],
    said_on: Mapping[str, datetime] = MappingProxyType({}),
) -> Tally:
    """The tally with the approvals and rejections that people gave elsewhere; whoever rejected anywhere rejects."""
    against = {*own.rejected_by, *rejected}
    found = ({*own.approved_by, *approved} & ballot.approvers) - against
    barred = {person for person, _ in ballot.barred}
    return replace(
        own,
        approved_by=tuple(sorted(found)),
        rejected_by=tuple(sorted(against)),
        missing=max(0, ballot.wanted - len(found)),
        may_still=tuple(sorted(ballot.approvers - barred - found - against)),
        said_on={
            person: max(times[person] for times in (own.said_on, said_on) if person in times)
            for person in {*own.said_on, *said_on}
        },
        notes=(*own.notes, *notes),
    )


def _rejection(person: str, comment: str) -> str:
    return f"{person} rejected it: {comment}" if comment else f"{person} rejected it"


def _one_line(comment: str) -> str:
    """A comment as it goes into a sentence: nothing that is not plainly visible, and not too much of it."""
    visible = "".join(character if character.isprintable() else " " for character in comment)
    line = " ".join(visible.split())
    return line if len(line) <= _LONGEST_COMMENT else f"{line[: _LONGEST_COMMENT - 1]}…"


def last_words(votes: Sequence[Vote]) -> list[Vote]:
    """The last word of each person, as they followed upon each other; of two at the same moment the one that stops."""
    order = {Word.APPROVED: 0, Word.WITHDRAWN: 1, Word.REJECTED: 2}
    last: dict[str, Vote] = {}
    for vote in sorted(votes, key=lambda one: (one.record.decided_on, order[one.record.decision])):
        last.pop(vote.owner, None)
        last[vote.owner] = vote
    return list(last.values())


def _why_not_about_it(ballot: Ballot, vote: Vote, now: datetime) -> str | None:
    """Why it is no decision of this ballot at all."""
    record, asked = vote.record, ballot.question
    digests = {item.name: item.digest.sha256 for item in vote.subject}
    if (record.store_id, record.stack, record.environment) != (asked.store_id, asked.stack, asked.environment):
        return f"it is for {record.stack}, not for {asked.stack}"
    if digests != dict(asked.subjects):
        return "it is for another plan"
    if record.change_digest != asked.change_digest:
        return "it is for other changes"
    if vote.owner not in ballot.approvers:
        return f"{vote.owner} may not approve here"
    return _clock_fault(record.decided_on, asked.asked_on, now)


def _clock_fault(decided_on: datetime, asked_on: datetime, now: datetime) -> str | None:
    if decided_on < asked_on - CLOCK_SKEW:
        return "it is older than the plan"
    return "it was made in the future: one of the clocks is wrong" if decided_on > now + CLOCK_SKEW else None


def _why_void(ballot: Ballot, vote: Vote, now: datetime) -> str | None:
    """Why a person's last word does not count, though it was one. A veto does not end by waiting."""
    record = vote.record
    if record.decision is not Word.APPROVED:
        return None
    if (why := dict(ballot.barred).get(vote.owner)) is not None:
        return f"{vote.owner} {why}: nobody approves their own work"
    if record.expires_on < now:
        return f"it expired at {record.expires_on:%Y-%m-%d %H:%M}Z"
    return _age_fault(record, ballot.max_age_seconds, now)


def _age_fault(record: ApprovalPredicate, max_age_seconds: float | None, now: datetime) -> str | None:
    if max_age_seconds is not None and record.decided_on + timedelta(seconds=max_age_seconds) < now:
        return f"it is older than the {max_age_seconds / 3600:g} h that the environment allows"
    return None
