"""The inputs of a stack as the store kept them: what was applied last, whatever became of the branch since."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from tfops.adapters.git import Revision, blob_id
from tfops.attestation import Source
from tfops.deployment import Deployment
from tfops.errors import FailedError, VerificationError
from tfops.stacks import Stack
from tfops.steps.inputs_archive import KeptTree, unpack
from tfops.steps.opening import Session
from tfops.steps.store import sha256
from tfops.steps.survey import survey_stack
from tfops.steps.surveyed import Surveyed
from tfops.tree import Mode


@dataclass(frozen=True, kw_only=True)
class Kept:
    """What was kept: a session that reads it instead of Git, the stack in it, and the fingerprint's manifest."""

    session: Session
    surveyed: Surveyed
    manifest: bytes


def kept_inputs(session: Session, stack: Stack, head: Deployment) -> Kept:
    """The inputs at the stack's head, from the store. How Terraform is run (roles, timeout) is today's.

    Raises FailedError `store.inputs_missing`, and VerificationError where they are damaged.
    """
    archive = session.store.inputs(stack.id, head.record.fingerprint)
    if archive is None:
        raise FailedError(
            f"{stack.id}: the inputs of its last record are not in the store",
            code="store.inputs_missing",
            hint=f"they come back with the next record: tfops sync {stack.id} --replan",
            stack=stack.id,
        )
    manifest, tree = unpack(archive)
    _refuse_changed(stack, manifest, tree, head)
    there = session.at(_revision(head.record.source), tree)
    surveyed = survey_stack(there, _as_it_was(stack, json.loads(manifest), tree))
    return Kept(session=there, surveyed=surveyed, manifest=manifest)


def _revision(source: Source) -> Revision:
    return Revision(branch=source.branch, commit=source.commit, tree=source.tree)


def _as_it_was(stack: Stack, manifest: Mapping[str, Any], tree: KeptTree) -> Stack:
    settings = manifest["settings"]
    is_kept = stack.cli_config is None or stack.cli_config[:1] in "/~" or stack.cli_config in tree.entries
    return replace(
        stack,
        root=settings["root"],
        workspace=settings["workspace"],
        var_files=tuple(settings["var_files"]),
        backend_config=tuple((key, value) for key, value in settings["backend_config"]),
        cli_config=stack.cli_config if is_kept else None,
        reads=tuple(manifest["after"]),
    )


def _refuse_changed(stack: Stack, manifest: bytes, tree: KeptTree, head: Deployment) -> None:
    """The signed record names the manifest's digest, the manifest each file's: nothing else is planned."""
    files = {path: entry for path, entry in tree.entries.items() if entry.mode is not Mode.SUBMODULE}
    found = {path: blob_id(tree.contents.get(path, b""), like=entry.blob) for path, entry in files.items()}
    changed = [path for path, entry in files.items() if found[path] != entry.blob]
    if sha256(manifest) != head.record.fingerprint or files.keys() != tree.contents.keys() or changed:
        what = f": {', '.join(sorted(changed)[:3])}" if changed else ""
        raise VerificationError(
            f"{stack.id}: the kept inputs of its last record are not what was signed{what}",
            code="store.damaged",
            hint="somebody changed the store: restore it, and look for who can write there",
            stack=stack.id,
        )
