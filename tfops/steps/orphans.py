"""Stacks that were deployed from a branch and are gone from it: left behind, or living on under another name."""

import json
import posixpath
from collections.abc import Mapping
from dataclasses import dataclass

from tfops.deployment import Deployment
from tfops.errors import RefusedError
from tfops.steps.opening import Session
from tfops.steps.surveyed import Surveyed
from tfops.steps.workplace import kept_manifest

ALIKE = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Orphan:
    """A deployed stack the branch no longer has. `renamed_to` is the live stack that owns its state now."""

    stack: str
    head: Deployment
    renamed_to: str | None

    @property
    def sentence(self) -> str:
        """What it is, for people."""
        if self.renamed_to:
            return f"renamed to {self.renamed_to}, which owns its state: nothing is left behind"
        return "its root module or environment is gone from the branch; its resources still exist"


def orphans(session: Session, live: Mapping[str, Surveyed]) -> dict[str, Orphan]:
    """The orphans of the session's branch, by id."""
    owners = {str(item.address): name for name, item in live.items()}
    found = {}
    for name in session.store.stacks():
        head = None if name in live else session.store.head(name, session.keys)
        if head is not None and head.record.source.branch == session.revision.branch:
            owner = owners.get(head.record.state.address)
            found[name] = Orphan(stack=name, head=head, renamed_to=owner)
    return found


def refuse_look_alike(session: Session, surveyed: Surveyed, live: Mapping[str, Surveyed]) -> None:
    """Raises RefusedError where a stack about to get a first, empty managed state has an orphan's code.

    Its root was most likely renamed; taking it for new would create everything a second time.
    """
    if surveyed.address.kind != "managed":
        return
    for orphan in orphans(session, live).values():
        record = orphan.head.record
        if orphan.renamed_to:
            continue
        kept = session.store.inputs(orphan.stack, record.fingerprint)
        if kept is not None and _alike(_code_in(kept_manifest(kept), record.root), _code_of(surveyed)):
            raise _refusal(surveyed.id, orphan.stack)


def _refusal(stack: str, orphan: str) -> RefusedError:
    return RefusedError(
        f"{stack} looks like {orphan} under a new name, and the managed state stays with the old name: "
        "a first apply would create everything a second time",
        code="stack.renamed",
        hint=f'if it was renamed, say so in tfops.hcl: moved {{ from = "{orphan}", to = "{stack}" }}; '
        "if it is a new stack all the same: tfops sync --as-new",
        stack=stack,
    )


def _code_in(manifest: bytes, root: str) -> set[tuple[str, str]]:
    files: dict[str, str] = json.loads(manifest)["files"]
    return {(posixpath.relpath(path, root or "."), blob) for path, blob in files.items() if _is_code(path, root)}


def _code_of(surveyed: Surveyed) -> set[tuple[str, str]]:
    root = surveyed.stack.root
    return {
        (posixpath.relpath(path, root or "."), f"{entry.mode.value} {entry.blob}")
        for path, entry in surveyed.inputs.entries.items()
        if _is_code(path, root)
    }


def _is_code(path: str, root: str) -> bool:
    return posixpath.dirname(path) == root and path.endswith((".tf", ".tf.json", ".tofu"))


def _alike(one: set[tuple[str, str]], other: set[tuple[str, str]]) -> bool:
    return len(one & other) > ALIKE * min(len(one), len(other)) if one and other else False
