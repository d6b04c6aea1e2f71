"""Stacks that were deployed from a branch and are gone from it: left behind, or living on under another name."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from tfops.changes import Action, Plan
from tfops.deployment import Deployment, Result
from tfops.errors import RefusedError, TfopsError
from tfops.inflight import instances
from tfops.stacks import branch_matches
from tfops.steps.opening import Session
from tfops.steps.surveyed import Surveyed

ALIKE = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Orphan:
    """A deployed stack the branch no longer has.

    `renamed_to` is the stack that owns its state now, `branch` the one that its environment is mapped to now.
    """

    stack: str
    head: Deployment
    renamed_to: str | None
    branch: str | None = None

    @property
    def is_left_behind(self) -> bool:
        """Whether nobody owns it any more, so that it may be destroyed."""
        return self.renamed_to is None and self.branch is None

    @property
    def sentence(self) -> str:
        """What it is, for people."""
        if self.renamed_to:
            return f"renamed to {self.renamed_to}, which owns its state: nothing is left behind"
        if self.branch:
            return f"its environment belongs to the branch {self.branch} now; it is left as it is"
        return (
            "its root module or environment is gone from the branch; its resources still exist "
            "(tfops sync --prune destroys them)"
        )


def orphans(session: Session, live: Mapping[str, Surveyed]) -> dict[str, Orphan]:
    """The orphans of the session's branch, by id."""
    owners = {str(item.address): name for name, item in live.items()}
    names = (name for name in session.store.stacks() if name not in live)
    heads = {name: head for name in names if (head := session.store.head(name, session.keys)) is not None}
    found = {}
    for name, head in heads.items():
        successor = _successor(name, heads)
        is_gone = Result.DESTROYED in {head.record.result, successor.record.result if successor else None}
        if head.record.source.branch == session.revision.branch and not is_gone:
            owner = owners.get(head.record.state.address) or (successor.record.stack if successor else None)
            found[name] = Orphan(stack=name, head=head, renamed_to=owner, branch=_other_branch(session, head))
    return found


def _successor(name: str, heads: Mapping[str, Deployment]) -> Deployment | None:
    """The stack, of whichever branch, that was deployed to the same state last, and after this one."""
    mine = heads[name].record
    later = [
        head
        for other, head in heads.items()
        if other != name
        and head.record.state.address == mine.state.address
        and head.record.finished_on > mine.finished_on
    ]
    return max(later, key=lambda head: head.record.finished_on, default=None)


def _other_branch(session: Session, head: Deployment) -> str | None:
    """The branch that its environment was given to, which may not have been deployed from there yet."""
    name, branch = head.record.environment.partition("@")[0], session.revision.branch
    mapped = [one.branch for one in session.config.environments if one.name == name]
    return next((pattern for pattern in mapped if not branch_matches(pattern, branch)), None)


def refuse_look_alike(session: Session, surveyed: Surveyed, live: Mapping[str, Surveyed], plan: Plan) -> None:
    """Raises RefusedError where a first plan would create what an orphan's managed state has already.

    The root was most likely renamed; taking it for a new one would create everything a second time.
    """
    if surveyed.address.kind != "managed":
        return
    creating = {_resource(entry.address) for entry in plan.resource_changes if entry.action is Action.CREATE}
    for orphan in orphans(session, live).values():
        existing = set() if orphan.renamed_to else _existing(session, orphan)
        if len(creating & existing) > ALIKE * min(len(creating), len(existing)) and creating & existing:
            raise _refusal(surveyed.id, orphan.stack)


def _existing(session: Session, orphan: Orphan) -> set[str]:
    state = session.place.managed_state(orphan.stack, orphan.head.record.workspace)
    try:
        return {_resource(address) for address in instances(state.data(stack=orphan.stack) or b"")}
    except (TfopsError, ValueError, KeyError, TypeError, AttributeError):
        return set()


def _resource(address: str) -> str:
    """An address without its instance keys."""
    return re.sub(r"\[[^\]]*\]", "", address)


def _refusal(stack: str, orphan: str) -> RefusedError:
    return RefusedError(
        f"{stack} looks like {orphan} under a new name, and the managed state stays with the old name: "
        "a first apply would create everything a second time",
        code="stack.renamed",
        hint=f'if it was renamed, say so in tfops.hcl: moved {{ from = "{orphan}", to = "{stack}" }}; '
        "if it is a new stack all the same: tfops sync --as-new",
        stack=stack,
    )
