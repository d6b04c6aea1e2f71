"""Whether a plan for review is of what it says: where its key is one that a change's own pipeline has."""

import json
from collections.abc import Mapping
from dataclasses import replace

from tfops.attestation import Source
from tfops.coverage import Content
from tfops.steps.opening import Session
from tfops.tree import Entry


def as_merged(session: Session, source: Source, claimed: Content) -> Content:
    """Of the inputs that a plan claims to be made of, the files that merging its commit really makes.

    Settings are left out: what a change sets is approved where a full runner planned it. So is everything where the
    commit is not to be had.
    """
    entries = _merge_result(session, source)
    true = frozenset() if entries is None else {item for item in claimed.inputs if item == _item(item[0], entries)}
    return replace(claimed, inputs=frozenset(true))


def _merge_result(session: Session, source: Source) -> Mapping[str, Entry] | None:
    repository = session.repository
    remote = repository.remote(session.revision.branch)
    needed = [commit for commit in (source.commit, source.base) if commit]
    if not all(repository.bring(commit, remote=remote, refs=()) for commit in needed):
        return None
    tree = repository.merge_tree(source.base, source.commit) if source.base else repository.tree_id(source.commit)
    return None if tree is None else repository.list_tree(tree)


def _item(name: str, entries: Mapping[str, Entry]) -> tuple[str, str]:
    """An input as `coverage.content` writes it."""
    entry = entries.get(name)
    return name, "gone" if entry is None else json.dumps(f"{entry.mode.value} {entry.blob}")
