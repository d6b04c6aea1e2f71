"""What landed on the branch, was taken back, and is there again, read from its history along first parents."""

import json
from collections.abc import Collection, Iterator, Mapping, Sequence

from tfops.adapters.git import PathsAt
from tfops.attestation import Purpose
from tfops.coverage import GONE, Content, content
from tfops.deployment import baseline
from tfops.errors import TfopsError
from tfops.steps.configuration import CONFIG_NAME
from tfops.steps.merge_result import manifest_at
from tfops.steps.opening import Session
from tfops.steps.outcome import StackRun
from tfops.steps.reviews import is_setting, path_of
from tfops.taken_back import Taken, Version, taken_back


def undone(stack: StackRun, wanted: Content) -> Taken:
    """Where what became of the stack's inputs since its last deployment was ever taken back: one run of git.

    Ever, and not only since then: a deployment of something else does not bring an old approval back. Of a stack that
    is gone from the branch: where it came back, since its last deployment, before it went again.
    """
    began = stack.session.began_at
    if stack.purpose is Purpose.PRUNE:
        places = {stack.surveyed.stack.root, CONFIG_NAME} - {""}
        return undone_paths(stack.session, places, baseline(stack.head).commit or began)
    names = {name for name, _, _ in wanted.inputs}
    history = _history(stack.session, {path_of(name) for name in names}, began)
    files = {name: _of_a_file(path_of(name), history) for name in names if not is_setting(name)}
    settings = list(_settings(stack, history)) if len(files) < len(names) else []
    lines = {name: _of_a_setting(name, history, settings) for name in names if is_setting(name)}
    return _taken({**files, **lines})


def undone_paths(session: Session, paths: Collection[str], since: str | None) -> Taken:
    """Where what these paths are now was taken back since a commit."""
    history = _history(session, paths, since)
    versions = {path: _of_a_file(path, history) for path in paths}
    now = {(path, found[-1].item) for path, found in versions.items() if found}
    return {step: back for step, back in _taken(versions).items() if step in now}


def _taken(versions: Mapping[str, Sequence[Version]]) -> Taken:
    return {(name, item): back for name, found in versions.items() for item, back in taken_back(found).items()}


def _history(session: Session, paths: Collection[str], since: str | None) -> list[PathsAt]:
    repository, tip = session.repository, session.revision.commit
    known = since if since and repository.has(since) else None
    return repository.along(paths, tip=tip, since=known)


def _of_a_file(path: str, history: Sequence[PathsAt]) -> list[Version]:
    return [Version(commit=at.commit, on=at.on, item=_file(at.items[path])) for at in history]


def _file(item: str | None) -> str:
    return GONE if item is None else json.dumps(item)


def _of_a_setting(name: str, history: Sequence[PathsAt], settings: Sequence[Mapping[str, str]]) -> list[Version]:
    return [
        Version(commit=at.commit, on=at.on, item=known.get(name, known.get("", GONE)))
        for at, known in zip(history, settings, strict=True)
    ]


def _settings(stack: StackRun, history: Sequence[PathsAt]) -> Iterator[Mapping[str, str]]:
    """What the stack's settings were at each commit: read anew where the configuration is another one."""
    text, known = None, dict[str, str]()
    for number, at in enumerate(history):
        if number == 0 or at.items[CONFIG_NAME] != text:
            text, known = at.items[CONFIG_NAME], _settings_at(stack, at.commit)
        yield known


def _settings_at(stack: StackRun, commit: str) -> dict[str, str]:
    """By name; where they cannot be read, all are something else, under the empty name."""
    session = stack.session
    try:
        manifest = manifest_at(session, stack.id, commit, session.repository.tree_id(commit))
    except TfopsError:
        return {"": f"unreadable in {commit}"}
    found = content((), before=None, now=manifest).inputs if manifest else frozenset()
    return {name: item for name, _, item in found if is_setting(name)}
