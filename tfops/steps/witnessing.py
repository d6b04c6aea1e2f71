"""A runner enters what people decided into the audit log, when it first sees it: they have no runner's key."""

from collections.abc import Iterator

from tfops.approval import Vote, Word
from tfops.audit import Event
from tfops.errors import VerificationError
from tfops.steps import audit
from tfops.steps.ballot_box import BallotBox, is_entered, mark_entered
from tfops.steps.opening import Session
from tfops.steps.store import sha256
from tfops.steps.votes import open_vote, people_keys

_DID = {Word.APPROVED: "approved", Word.REJECTED: "rejected", Word.WITHDRAWN: "withdrew"}


def witness(session: Session, box: BallotBox, *, stack: str, subject: str) -> None:
    """Enter the decisions over `subject` that are not in the log yet, as they followed upon each other.

    None whose signature does not fit is entered.
    """
    for decision, vote in sorted(_unentered(session, box), key=lambda pair: pair[1].record.decided_on):
        _enter(session, vote, stack=stack, subject=subject, digest=sha256(decision))
        mark_entered(session.store, box, decision)  # after the entry: rather entered twice than never


def _unentered(session: Session, box: BallotBox) -> Iterator[tuple[bytes, Vote]]:
    owners = people_keys(session)
    for name, decision in box.decisions.items():
        if is_entered(session.store, box, decision):
            continue
        try:
            yield decision, open_vote(decision, owners, what=f"the approval {name[:12]}")
        except VerificationError:
            continue  # it is nobody's; where it is counted that is said


def _enter(session: Session, vote: Vote, *, stack: str, subject: str, digest: str) -> None:
    record = vote.record
    details = {
        "person": vote.owner,
        "key": vote.fingerprint,
        "decision": record.decision.value,
        "plan_id": subject,
        "vote_id": vote.id,
        "sha256": digest,
        "decided_on": record.decided_on.isoformat(),
        "overrides": ", ".join(record.overrides),
        "comment": record.comment,
    }
    audit.record(session, Event.DECISION, stack, reason=sentence(vote, subject), details=details)


def sentence(vote: Vote, subject: str) -> str:
    """A decision in words: "bob rejected 1a2b3c4d5e6f: not on a Friday"."""
    record = vote.record
    past = f", past {' and '.join(record.overrides)}" if record.overrides else ""
    said = f"{vote.owner} {_DID[record.decision]} {subject[:12]}{past}"
    return f"{said}: {record.comment}" if record.comment else said
