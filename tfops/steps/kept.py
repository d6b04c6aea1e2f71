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
    hint = f"they come back with the next record: tfops sync {stack.id} --replan"
    manifest, tree = _unpacked(session, stack, head.record.fingerprint, hint=hint)
    there = session.at(_revision(head.record.source), tree)
    surveyed = survey_stack(there, _as_it_was(stack, json.loads(manifest), tree))
    return Kept(session=there, surveyed=surveyed, manifest=manifest)


def left_behind(session: Session, stack: Stack, head: Deployment) -> Kept:
    """The inputs of a stack that is gone from the branch, on the state that its head names.

    Who destroys it is the session's revision, in which it is not any more. Of an adopted state the inputs are those of
    the last deployment before. Raises as `kept_inputs` does.
    """
    hint = "bring its code back to the branch, let tfops sync deploy it, and take it away again"
    manifest, tree = _unpacked(session, stack, _last_fingerprint(session, head), hint=hint)
    there = session.at(session.revision, tree)
    kind, _, origin = head.record.state.address.rpartition("#")[0].partition(":")
    moved = {stack.id: origin} if kind == "managed" and origin != stack.id else {}
    surveyed = survey_stack(there, _as_it_was(stack, json.loads(manifest), tree), moved=moved)
    return Kept(session=there, surveyed=surveyed, manifest=manifest)


def _last_fingerprint(session: Session, head: Deployment) -> str:
    if head.record.fingerprint:
        return head.record.fingerprint
    deployments, _ = session.store.deployments(head.record.stack, session.keys)
    known = [one.record.fingerprint for one in deployments if one.record.fingerprint]
    return known[-1] if known else ""


def _unpacked(session: Session, stack: Stack, fingerprint: str, *, hint: str) -> tuple[bytes, KeptTree]:
    archive = session.store.inputs(stack.id, fingerprint) if fingerprint else None
    if archive is None:
        raise FailedError(
            f"{stack.id}: the inputs of its last record are not in the store",
            code="store.inputs_missing",
            hint=hint,
            stack=stack.id,
        )
    manifest, tree = unpack(archive)
    _refuse_changed(stack, manifest, tree, fingerprint)
    return manifest, tree


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


def _refuse_changed(stack: Stack, manifest: bytes, tree: KeptTree, fingerprint: str) -> None:
    """The signed record names the manifest's digest, the manifest each file's: nothing else is planned."""
    files = {path: entry for path, entry in tree.entries.items() if entry.mode is not Mode.SUBMODULE}
    found = {path: blob_id(tree.contents.get(path, b""), like=entry.blob) for path, entry in files.items()}
    changed = [path for path, entry in files.items() if found[path] != entry.blob]
    if sha256(manifest) != fingerprint or files.keys() != tree.contents.keys() or changed:
        what = f": {', '.join(sorted(changed)[:3])}" if changed else ""
        raise VerificationError(
            f"{stack.id}: the kept inputs of its last record are not what was signed{what}",
            code="store.damaged",
            hint="somebody changed the store: restore it, and look for who can write there",
            stack=stack.id,
        )
