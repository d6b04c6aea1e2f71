"""Who wrote what is to be approved: nobody approves their own work, and nobody else is kept from it."""

from collections.abc import Collection, Iterable

from tfops.adapters.git import Commit
from tfops.attestation import PlanPredicate, Purpose
from tfops.coverage import content
from tfops.deployment import Baseline, baseline
from tfops.steps.configuration import CONFIG_NAME
from tfops.steps.inputs_archive import kept_manifest
from tfops.steps.opening import Session
from tfops.steps.reviews import path_of
from tfops.steps.survey import fingerprint_of
from tfops.steps.surveyed import Surveyed


def authors_of(session: Session, surveyed: Surveyed, plan: PlanPredicate) -> Iterable[tuple[str, str]]:
    """The people who may not approve a plan, and why: of one for review who wrote any of the change."""
    if plan.source.base is not None:
        return authors_between(session, plan.source.base, plan.source.commit)
    if plan.purpose is Purpose.PRUNE:
        return _authors_of_the_end(session, surveyed, plan)
    return authors_since(session, surveyed, plan.source.commit, _made_of(session, surveyed, plan.fingerprint))


def authors_since(session: Session, surveyed: Surveyed, tip: str, manifest: bytes | None) -> Iterable[tuple[str, str]]:
    """The people who wrote what a stack is made of since its baseline, and may not approve it; `manifest` names that.

    Who changed other files of the repository is not among them; where nobody knows what it is made of, everybody is.
    Without a baseline it is new: then those who wrote any of it, since tfops was set up. What is older nobody was
    asked about, whoever wrote it; else a small team could never approve anything for the first time. A shallow clone
    is made whole first: what it lacks may be anybody's. Raises FailedError where that cannot be.
    """
    before = _baseline(session, surveyed)
    if not before.commit:
        return _authors_of_the_new(session, surveyed, tip)
    old = kept_manifest(session, surveyed.id, before.fingerprint)
    if old is None or manifest is None:
        return authors_between(session, before.commit, tip)
    differing = content((), before=old, now=manifest).inputs
    return authors_of_paths(session, {path_of(name) for name, _, _ in differing}, before.commit, tip)


def authors_between(session: Session, base: str | None, tip: str) -> Iterable[tuple[str, str]]:
    """The people who wrote or committed anything between two commits, and what."""
    return _people_behind(session, session.repository.commits(base, tip))


def authors_of_paths(session: Session, paths: Collection[str], base: str | None, tip: str) -> Iterable[tuple[str, str]]:
    """The people who wrote or committed anything of these paths between two commits, under whichever names, and what.

    Where a configuration from elsewhere counts, or the first commit is unknown, nobody can tell the paths.
    """
    if base is None or (CONFIG_NAME in paths and session.caller.config_file is not None):
        return authors_between(session, base, tip)
    everywhere = session.repository.former_names(paths, tip=tip, since=base)
    return _people_behind(session, session.repository.touching(everywhere, tip=tip, since=base))


def _authors_of_the_new(session: Session, surveyed: Surveyed, tip: str) -> Iterable[tuple[str, str]]:
    repository = session.repository
    if repository.is_shallow:
        session.say(surveyed.id, "fetching history: this clone is shallow, and nobody approves their own work")
        repository.unshallow(session.revision.branch)
    commits = repository.touching(surveyed.inputs.entries, tip=tip, since=session.began_at)
    return _people_behind(session, [*repository.commits(None, tip), *commits])


def _authors_of_the_end(session: Session, surveyed: Surveyed, plan: PlanPredicate) -> Iterable[tuple[str, str]]:
    """Of a stack that is gone: who touched anything that it was made of, or the configuration."""
    paths = {*surveyed.inputs.entries, CONFIG_NAME}
    return authors_of_paths(session, paths, _baseline(session, surveyed).commit or None, plan.source.commit)


def _baseline(session: Session, surveyed: Surveyed) -> Baseline:
    return baseline(session.store.known_head(surveyed.id, session.keys))


def _made_of(session: Session, surveyed: Surveyed, fingerprint: str) -> bytes | None:
    """The inputs of that fingerprint: what the stack has now, or what is kept; None where it is neither."""
    now = fingerprint_of(session, surveyed)
    return now.manifest if now.digest == fingerprint else kept_manifest(session, surveyed.id, fingerprint)


def _people_behind(session: Session, commits: Iterable[Commit]) -> Iterable[tuple[str, str]]:
    people = {email: person.name for person in session.approvers for email in person.emails}
    known: dict[str, str] = {}
    for commit in commits:
        for email in commit.emails & people.keys():
            known.setdefault(people[email], f"wrote or committed {commit.id[:12]}")
    return known.items()
