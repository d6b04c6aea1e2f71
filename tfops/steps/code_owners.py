"""Code owners: whose approval the changed files of a stack need, as the rules in force have it."""

from collections.abc import Callable, Iterable

from tfops.config_gate import Approval, Gate
from tfops.coverage import Approved, Content, is_seen
from tfops.owners import PLACES, owned, unowned
from tfops.steps.opening import Session


def missing_owners(session: Session, gate: Gate, wanted: Content, approved: Iterable[Approved]) -> tuple[str, ...]:
    """The changed files that none of their owners approved, in words; none where the gate does not ask for owners."""
    known = list(approved)
    names = {name for name, _, _ in wanted.inputs}
    return without_owner(
        session, gate.approval, names, lambda name, owners: bool(owners) and is_seen(name, wanted, known, owners)
    )


def without_owner(
    session: Session, asked: Approval | None, paths: Iterable[str], is_approved: Callable[[str, frozenset[str]], bool]
) -> tuple[str, ...]:
    """The paths that none of their owners approved, in words; `is_approved` tells whether one of some people did."""
    if asked is None or not asked.codeowners:
        return ()
    place = next((place for place in PLACES if place in session.rules.files), None)
    if place is None:
        return ("code owners have to approve, but the rules in force have no CODEOWNERS file yet",)
    found = owned(session.rules.files[place], paths)
    left = unowned(found, is_approved, _names(session))
    return tuple(f"{one.path} needs an approval of {' or '.join(one.owners)} ({place})" for one in left)


def _names(session: Session) -> dict[str, frozenset[str]]:
    """Who is meant by an owner: by login, team or e-mail address, as the rules in force have it."""
    addresses = {person.name: person.emails for person in session.rules.config.approvers}
    found: dict[str, frozenset[str]] = {}
    for person in session.approvers:
        if person.is_revoked:
            continue
        logins = (f"@{login}" for _, login in person.logins)
        for name in (*logins, *person.teams, *addresses[person.name]):
            found[name.casefold()] = found.get(name.casefold(), frozenset()) | {person.name}
    return found
