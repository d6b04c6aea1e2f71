"""Whether a plan for review is of what it says: where its key is one that a change's own pipeline has."""

from dataclasses import replace

from tfops.adapters.git import Revision
from tfops.attestation import Source
from tfops.coverage import Content, content
from tfops.errors import TfopsError
from tfops.steps.opening import Session, as_of
from tfops.steps.survey import fingerprint_of, look

MOST_COMMITS = 250


def as_merged(session: Session, stack: str, source: Source, claimed: Content) -> Content:
    """Of the inputs that a plan claims to be made of, those that merging its commit really changes.

    None where that cannot be known, where the plan leaves out a part of it, or where the commit has something of the
    branch that the plan's base lacks: that would pass for a part of the change. After a fast-forward nobody can tell
    the two apart.
    """
    try:
        true = _merged(session, stack, source) if _is_whole(session, source) else None
    except TfopsError:
        true = None
    is_told = true is not None and true.inputs <= claimed.inputs
    return replace(claimed, inputs=true.inputs if true and is_told else frozenset())


def _merged(session: Session, stack: str, source: Source) -> Content | None:
    repository = session.repository
    tree = repository.merge_tree(source.base, source.commit) if source.base else None
    if tree is None or source.base is None:
        return None
    before = manifest_at(session, stack, source.base, repository.tree_id(source.base))
    now = manifest_at(session, stack, source.commit, tree)
    return None if now is None else content((), before=before, now=now)


def manifest_at(session: Session, stack: str, commit: str, tree: str) -> bytes | None:
    """What a tree makes a stack of, as of a commit; None where it is not there. Raises ConfigError if unreadable."""
    there = as_of(session, Revision(branch=session.revision.branch, commit=commit, tree=tree))
    found = look(there)
    if stack in found.unreadable:
        raise found.unreadable[stack].error
    surveyed = found.found.get(stack)
    return None if surveyed is None else fingerprint_of(there, surveyed).manifest


def _is_whole(session: Session, source: Source) -> bool:
    """Whether the plan's base is of the branch, and has all that the commit has of it."""
    repository, tip = session.repository, session.revision.commit
    remote = repository.remote(session.revision.branch)
    needed = [commit for commit in (source.commit, source.base) if commit]
    if source.base is None or not all(repository.bring(commit, remote=remote, refs=()) for commit in needed):
        return False
    later = repository.first_parents(tip, base=source.base, limit=MOST_COMMITS)
    begin = repository.parent(later[-1]) if later else tip
    return begin == source.base and not any(repository.is_ancestor(one, source.commit) for one in later)
