"""Code owners: whose approval the changed files of a stack need, as the rules in force have it."""

from collections.abc import Iterable, Mapping

from tfops.config_gate import Approval, Gate
from tfops.config_trust import Approver
from tfops.coverage import Approved, Content, people_behind
from tfops.owners import PLACES, owned, unowned
from tfops.steps.opening import Session


def missing_owners(session: Session, gate: Gate, wanted: Content, approved: Iterable[Approved]) -> tuple[str, ...]:
    """The changed files that none of their owners approved, in words; none where the gate does not ask for owners."""
    return without_owner(session, gate.approval, people_behind(wanted, approved))


def without_owner(session: Session, asked: Approval | None, behind: Mapping[str, frozenset[str]]) -> tuple[str, ...]:
    """Of the paths, each with the people who approved it, those that lack one of their owners, in words."""
    if asked is None or not asked.codeowners:
        return ()
    place = next((place for place in PLACES if place in session.rules.files), None)
    if place is None:
        return ("code owners have to approve, but the rules in force have no CODEOWNERS file yet",)
    found = owned(session.rules.files[place], behind)
    left = unowned(found, behind, _names(session.approvers))
    return tuple(f"{one.path} needs an approval of {' or '.join(one.owners)} ({place})" for one in left)


def _names(people: Iterable[Approver]) -> dict[str, frozenset[str]]:
    """Who is meant by an owner: by login, team or e-mail address."""
    found: dict[str, frozenset[str]] = {}
    for person in people:
        if person.is_revoked:
            continue
        logins = (f"@{login}" for _, login in person.logins)
        for name in (*logins, *person.teams, *person.emails):
            found[name.casefold()] = found.get(name.casefold(), frozenset()) | {person.name}
    return found
