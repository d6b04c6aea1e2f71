"""`tfops lock`: who holds what, and letting go on a person's word."""

from tfops.audit import Event
from tfops.errors import UsageError
from tfops.steps import audit
from tfops.steps.hold import LockView
from tfops.steps.opening import Session
from tfops.steps.s3_state import S3State
from tfops.steps.selection import select
from tfops.steps.survey import survey
from tfops.steps.surveyed import Surveyed


def locks(session: Session, names: tuple[str, ...]) -> list[LockView]:
    """Every lock that is held on the named stacks, or on all this store knows and the branch has."""
    live = survey(session)
    chosen = select(live, names)
    known = list(chosen) if names else sorted({*session.store.stacks(), *live})
    states = [view for name in known if name in live and (view := _state_lock(live[name])) is not None]
    return [*session.place.locks(known), *states]


def release(session: Session, name: str, *, reason: str) -> LockView:
    """Free a stack whose holder is dead, as a person says. On record before it is done."""
    if name not in {*session.store.stacks(), *survey(session)}:
        raise UsageError(f"there is no stack {name}", code="usage.unknown_stack", hint="tfops lock list", stack=name)
    held = session.place.locks([name])
    details = {"holder": held[0].holder, "run_id": held[0].run_id or ""} if held else {}
    if held and held[0].releasable:
        audit.record(session, Event.RELEASE_LEASE, name, reason=reason, details=details)
    return session.place.release(name)


def _state_lock(surveyed: Surveyed) -> LockView | None:
    """Terraform's own lock on a state in S3: ours while a run is under way, or somebody else's."""
    if not isinstance(surveyed.state, S3State):
        return None
    lock = surveyed.state.read_lock()
    if lock is None:
        return None
    identity = lock.get("ID", "")
    return LockView(
        stack=surveyed.id,
        kind="state lock",
        holder=f"{lock.get('Who', 'somebody')}, {lock.get('Operation', 'an unknown operation')} (lock {identity})",
        run_id=identity.removeprefix("tfops-") if identity.startswith("tfops-") else None,
        host=None,
        since=lock.get("Created"),
        expires_in_seconds=None,
        epoch=None,
        releasable=False,
    )
