"""A branch only goes forward: an older job, a stale clone or a force-push never brings an older revision back."""

from tfops.deployment import Deployment
from tfops.errors import RefusedError
from tfops.steps.opening import Session


def check_forward(session: Session, stack: str, head: Deployment | None, *, allow_backward: bool) -> None:
    """Raises RefusedError unless the session's revision has the head's revision in its history."""
    if head is None or allow_backward:
        return
    deployed, wanted = head.record.source.commit, session.revision.commit
    if deployed == wanted:
        return
    if not session.repository.has(deployed) and session.repository.is_shallow:
        session.say(stack, f"fetching history: this clone is shallow, and {deployed[:12]} is deployed")
        session.repository.unshallow(session.revision.branch)
    if not session.repository.has(deployed):
        raise RefusedError(
            f"{stack}: the deployed revision {deployed[:12]} is not in this clone, so {wanted[:12]} may be older",
            code="revision.unknown",
            hint="fetch it, or bring the clone up to date; after a deliberate force-push: --allow-backward",
            stack=stack,
        )
    if not session.repository.is_ancestor(deployed, wanted):
        older = session.repository.is_ancestor(wanted, deployed)
        raise RefusedError(
            f"{stack}: {deployed[:12]} is deployed, and {wanted[:12]} "
            + ("is older" if older else "does not contain it"),
            code="revision.backward",
            hint="bring the branch up to date; to go back on purpose: --allow-backward, or revert by a commit",
            stack=stack,
        )
