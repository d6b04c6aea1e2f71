"""What people rejected whom trust does not name any more: to take them away needs nobody, and takes no veto along."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from tfops import dsse
from tfops.approval import Ballot, Tally, Vote, claimed_on, tally
from tfops.config_trust import Approver
from tfops.errors import VerificationError
from tfops.report.counts import plural
from tfops.steps.opening import Session, now
from tfops.steps.trust_records import earlier_records, rules_of
from tfops.steps.votes import keys_of_people, open_vote
from tfops.trust import Trust


@dataclass(frozen=True, slots=True, kw_only=True)
class Former:
    """A decision of somebody who could decide when they did, and since when they cannot.

    Without a time only the branch's head takes them away, and the rules in force do not yet.
    """

    vote: Vote
    left_on: datetime | None


def with_former(
    session: Session, ballot: Ballot, kept: Mapping[str, bytes], votes: Sequence[Vote], counted: Tally
) -> Tally:
    """The tally with the rejections of former people; `votes` are those of the decisions `kept` that verify now.

    One ends when as many people as are wanted approved after its author had left: they know that, and say it anyway.
    """
    counting = {vote.id for vote in votes if vote.owner in ballot.approvers}
    found = list(_former(session, {id_: data for id_, data in kept.items() if id_ not in counting}))
    if not found:
        return counted
    left = {one.vote.owner: one.left_on for one in found}
    newer = [vote for vote in votes if vote.owner in left]  # with another key than the one that they lost
    said = tally(replace(ballot, approvers=frozenset(left)), [*(one.vote for one in found), *newer], now())
    wanted = max(1, ballot.wanted)
    standing = [person for person in said.rejected_by if not _is_overruled(counted, left[person], wanted)]
    end = f"until {plural(wanted, 'approval')} {'is' if wanted == 1 else 'are'} newer than that, it counts"
    return replace(
        counted,
        rejected_by=tuple(sorted({*counted.rejected_by, *standing})),
        said_on={**counted.said_on, **{person: said.said_on[person] for person in standing}},
        comments={**counted.comments, **{person: said.comments[person] for person in standing}},
        notes=(*counted.notes, *(f"{person} {_since(left[person])}: {end}" for person in standing)),
    )


def _since(left_on: datetime | None) -> str:
    if left_on is None:
        return "rejected it, and the branch takes them out of trust"
    return f"rejected it, and may not decide since {left_on:%Y-%m-%d %H:%M:%S}Z"


def _is_overruled(counted: Tally, left_on: datetime | None, wanted: int) -> bool:
    if left_on is None:
        return False
    times = (counted.said_on.get(person) for person in counted.approved_by)
    return sum(on is not None and on > left_on for on in times) >= wanted


def _former(session: Session, kept: Mapping[str, bytes]) -> Iterator[Former]:
    """Each decision that somebody signed who could when they did, by the rules that were in force then."""
    if session.trust is None or not kept:
        return
    records = [session.trust, *earlier_records(session.store, session.trust)]
    for name, data in kept.items():
        what = f"the approval {name[:12]}"
        try:
            made_on = claimed_on(dsse.unverified_payload(data, what=what), what=what)
            place = _in_force(records, made_on)
            people = [person.at(made_on) for person in _people(session, records[place])]
            vote = open_vote(data, keys_of_people(session, people), what=what)
        except VerificationError:
            continue
        yield Former(vote=vote, left_on=_left_on(session, vote, records[: place + 1]))


def _in_force(records: list[Trust], moment: datetime) -> int:
    """Where the record stands, of the newest first, that was in force at a moment; the oldest one before any was."""
    return next((number for number, one in enumerate(records) if one.record.at <= moment), len(records) - 1)


def _left_on(session: Session, vote: Vote, records: list[Trust]) -> datetime | None:
    """When the first of these rules came in force that do not let the vote's key decide, or when its time was over."""
    for one in reversed(records):
        person = next((person for person in _people(session, one) if person.name == vote.owner), None)
        if person is None or vote.fingerprint not in {key.fingerprint for key in person.keys}:
            return one.record.at
        if person.valid_until is not None and person.valid_until < now():
            return person.valid_until
    return None


def _people(session: Session, trust: Trust) -> tuple[Approver, ...]:
    return rules_of(trust, session.caller).config.approvers
