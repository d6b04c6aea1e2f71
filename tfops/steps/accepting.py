"""Rules put in force by hand, past everybody who would be asked: what that changes, and whom it overrules."""

from collections.abc import Iterator
from dataclasses import dataclass

from tfops.approval import Vote, Word, last_words
from tfops.errors import FailedError, RefusedError
from tfops.steps.ballot_box import BallotBox, lost, open_box
from tfops.steps.opening import Session
from tfops.steps.trusting import advance, decisions_name, difference, is_after
from tfops.steps.votes import read_votes
from tfops.steps.witnessing import sentence, witness
from tfops.trust import RULES_CHANGE, Trust, proposal_id, rules_change


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """What somebody put in force by hand: the changes in words and as text, and the decisions that this overruled."""

    changes: tuple[str, ...]
    diff: str
    overruled: tuple[Vote, ...] = ()
    lost: int = 0
    """How many decisions stand in the audit log and are gone from the store, or changed."""

    @property
    def overrules(self) -> tuple[str, ...]:
        """The decisions that do not count any more, in words."""
        said = tuple(sentence(vote, _subject(vote)) for vote in self.overruled)
        gone = (f"{self.lost} more in the audit log, gone from the store or changed",) if self.lost else ()
        return (*said, *gone)


def accept(session: Session, *, reason: str) -> Accepted | None:
    """Put the branch's rules in force without asking anybody: whoever holds a runner's key, by hand, and on record.

    None where they are in force already. Raises RefusedError `trust.other_branch` on a branch that the rules do not
    follow, and FailedError `store.conflict` where another run moved them at the same moment.
    """
    _refuse_other_branch(session)
    accepted = _accepted(session)
    if not accepted.changes:
        return None
    details = {
        "changes": "; ".join(accepted.changes),
        "overruled": "; ".join(accepted.overrules),
        "overruled_votes": ", ".join(vote.id for vote in accepted.overruled),
    }
    if not advance(session, reason=f"accepted by hand: {reason}", details=details):
        raise FailedError("another run moved the rules at the same moment", code="store.conflict", hint="run again")
    return accepted


def _refuse_other_branch(session: Session) -> None:
    if session.trust is None or session.is_followed:
        return
    followed = session.trust.record.source.branch
    raise RefusedError(
        f"the rules in force follow the branch {followed}; those of {session.revision} were not put in force",
        code="trust.other_branch",
        hint=f'accept those of that branch: tfops trust accept --branch {followed} --reason "…"',
    )


def _accepted(session: Session) -> Accepted:
    trust = session.trust
    if trust is None:
        return Accepted(changes=("there were no rules in force: these are the first",), diff="")
    subject = proposal_id(trust.id, session.head_rules)
    box = open_box(session.store, decisions_name(subject))
    changes = tuple(_changes(session, trust))
    if changes:
        witness(session, box, stack=RULES_CHANGE, subject=subject)
    return Accepted(
        changes=changes,
        diff=difference(session),
        overruled=tuple(_standing(session, box, subject)),
        lost=lost(session.store, box),
    )


def _changes(session: Session, trust: Trust) -> Iterator[str]:
    if not is_after(session, trust):
        then = trust.record.source.commit[:12]
        yield f"they follow the rewritten branch: {session.revision} does not contain {then}, which they came from"
    yield from rules_change(session.rules, session.head_rules).words


def _standing(session: Session, box: BallotBox, subject: str) -> Iterator[Vote]:
    """The last word of each person about the change."""
    votes, _ = read_votes(session, box.decisions)
    about_it = [vote for vote in votes if _subject(vote) == subject and vote.record.store_id == session.store.id]
    yield from (vote for vote in last_words(about_it) if vote.record.decision is not Word.WITHDRAWN)


def _subject(vote: Vote) -> str:
    return next((item.digest.sha256 for item in vote.subject if item.name == RULES_CHANGE), "")
