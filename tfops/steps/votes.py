"""Signed decisions of people, read and verified."""

from collections.abc import Iterable, Mapping
from functools import partial

from tfops import dsse
from tfops.adapters.git import git_env
from tfops.adapters.ssh import SshKey
from tfops.approval import Vote, decode_vote
from tfops.config_trust import Approver
from tfops.errors import VerificationError
from tfops.steps.opening import Session


def read_votes(session: Session, kept: Mapping[str, bytes]) -> tuple[list[Vote], list[str]]:
    """Every kept decision (by id) whose signature fits, and in words what is wrong with each other one."""
    owners, votes, unverified = people_keys(session), [], []
    for name, data in kept.items():
        try:
            votes.append(open_vote(data, owners, what=f"the approval {name[:12]}"))
        except VerificationError as error:
            unverified.append(str(error))
    return votes, unverified


def open_vote(data: bytes, owners: Mapping[str, tuple[str, SshKey]], *, what: str) -> Vote:
    """One decision, verified; `owners` are people and their keys by fingerprint."""
    verified = dsse.verify(data, {fingerprint: key for fingerprint, (_, key) in owners.items()}, what=what)
    return decode_vote(verified, owner=owners[verified.signer][0], what=what)


def people_keys(session: Session) -> dict[str, tuple[str, SshKey]]:
    """The keys of the people in force by fingerprint, each with its owner's name."""
    return keys_of_people(session, session.approvers)


def keys_of_people(session: Session, people: Iterable[Approver]) -> dict[str, tuple[str, SshKey]]:
    """The keys of these people, likewise."""
    make = partial(SshKey, env=git_env(session.caller.environ))
    return {key.fingerprint: (person.name, make(key)) for person in people for key in person.keys}
