"""Writing back a state that Terraform could not write: by itself only where nobody has written the state since."""

import json

from tfops.adapters.terraform import push_argv
from tfops.audit import Event
from tfops.steps import audit, diagnosis
from tfops.steps.errored import NAME, undecided
from tfops.steps.opening import Session
from tfops.steps.state import Snapshot, parse_state
from tfops.steps.store import sha256
from tfops.steps.workplace import Workplace, current_state


def settle_errored(session: Session, work: Workplace, before: Snapshot | None) -> bool:
    """Write back the state an apply could not write, if the one there is still that which it began with.

    True where that was done: then the state is the one Terraform itself ended with.
    """
    stack = work.surveyed.id
    waiting = session.store.errored_states(stack)
    if not waiting:
        return False
    present = current_state(session, work)
    why_not = _why_not_safe(waiting, present, before, stack)
    if why_not:
        raise undecided(stack, f": {why_not}")
    push(session, work, waiting[0], reason="nobody wrote the state since the apply that could not")
    session.say(stack, "the state that could not be written is written back")
    return True


def push(session: Session, work: Workplace, data: bytes, *, reason: str) -> None:
    """Write a kept state back, and set it aside. Terraform itself checks lineage and serial once more."""
    stack = work.surveyed.id
    file = work.directory / "out" / NAME
    file.write_bytes(data)
    audit.record(session, Event.PUSH_STATE, stack, reason=reason, details={"sha256": sha256(data)})
    ended = work.terraform.run(push_argv(file, lock=not work.state_locked), name="push")
    if ended.code:
        raise diagnosis.failed("state push", work.terraform, stack, ended, "push")
    session.store.set_aside(stack, data)


def with_next_serial(data: bytes, present: Snapshot) -> bytes:
    """A kept state that overtakes one of the same serial, which the same apply had written before the disk was full."""
    state = json.loads(data)
    if state.get("lineage") == present.lineage and int(state["serial"]) == present.serial:
        return json.dumps(state | {"serial": present.serial + 1}).encode()
    return data


def _why_not_safe(waiting: list[bytes], present: Snapshot, before: Snapshot | None, stack: str) -> str | None:
    if len(waiting) > 1:
        return "there are several"
    kept = parse_state(waiting[0], stack=stack)
    if before is None:
        return "the plan it came from cannot be read"
    if (present.lineage, present.serial) != (before.lineage, before.serial):
        return f"somebody wrote the state since (serial {before.serial} then, {present.serial} now)"
    if present.exists and kept.lineage != present.lineage:
        return "it is of another lineage"
    if kept.serial <= present.serial:
        return f"its serial {kept.serial} is not above that of the state ({present.serial})"
    return None
