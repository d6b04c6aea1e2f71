"""A stack's Terraform state as tfops needs it: lineage, serial and digest, read without starting Terraform."""

import hashlib
import json
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Protocol

from tfops.deployment import Result, ResultPredicate
from tfops.errors import VerificationError

OVERRIDE = "zz_tfops_managed_override.tf.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """A state at one moment. Where there is none yet: lineage None, serial 0, sha256 None."""

    lineage: str | None = None
    serial: int = 0
    sha256: str | None = None
    version: str | None = field(default=None, compare=False)
    """What the backend calls this content: an ETag. Only a shortcut for reading, never evidence."""
    resources: int | None = field(default=None, compare=False)

    @property
    def exists(self) -> bool:
        """Whether there is a state at all."""
        return self.lineage is not None

    @property
    def holds_something(self) -> bool:
        """Whether anything is in it, as far as is known. A new workspace begins with an empty state."""
        return self.exists and self.resources != 0


def parse_state(data: bytes, *, stack: str, version: str | None = None) -> Snapshot:
    """A snapshot from a state file's bytes; empty bytes are no state."""
    if not data.strip():
        return Snapshot()
    try:
        return _snapshot(data, version)
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise VerificationError(
            f"{stack}: its state cannot be read: {error}",
            code="state.damaged",
            hint="restore the state from its backup (terraform.tfstate.backup lies beside a local one)",
            stack=stack,
        ) from error


def _snapshot(data: bytes, version: str | None) -> Snapshot:
    state = json.loads(data)
    if state["version"] != 4:
        raise ValueError(f"state version {state['version']}, not 4")
    return Snapshot(
        lineage=str(state["lineage"]),
        serial=int(state["serial"]),
        sha256=hashlib.sha256(data).hexdigest(),
        version=version,
        resources=len(state.get("resources") or ()),
    )


class StateFile(Protocol):
    """Where a stack's state lies, for backends that tfops reads without starting Terraform."""

    @property
    def where(self) -> str:
        """The place, as messages name it."""
        ...

    def data(self, *, stack: str) -> bytes | None:
        """The state's bytes; None where there is none."""
        ...

    def snapshot(self, *, stack: str, known: Snapshot | None = None) -> Snapshot:
        """The state now. `known` is returned where the backend says cheaply that it still is that one."""
        ...

    def override(self, session_name: str) -> bytes:
        """An override file that puts the state here, for managed state."""
        ...

    def prepare(self) -> None:
        """Make what must exist before Terraform writes a managed state."""
        ...

    def must_make_workspace(self, now: Snapshot) -> bool:
        """Whether Terraform would first lock and write an empty state for a workspace that is new."""
        ...

    def lock_holder(self) -> str | None:
        """Who holds Terraform's own lock on the state at this moment; None where nobody does."""
        ...

    def hold(self, request: "StateLockRequest") -> AbstractContextManager[bool]:
        """Hold Terraform's own lock on the state for it; False where that is left to Terraform."""
        ...


@dataclass(frozen=True, kw_only=True)
class StateLockRequest:
    """Who wants the lock on a state. `epoch` is that of the lease it is wanted under, 0 in a local store."""

    stack: str
    store_id: str
    run_id: str
    epoch: int
    wait_seconds: float
    terraform_version: str
    is_stopped: Callable[[], bool]
    say: Callable[[str], None]
    on_released: Callable[[Mapping[str, object]], None]


def check_integrity(stack: str, head: ResultPredicate | None, now: Snapshot, *, address: str) -> None:
    """Raises VerificationError where the state went back, was replaced or is gone since the head (drift.md §2.4)."""
    if head is None or head.state.lineage is None:
        return
    if head.result is Result.DESTROYED and not (now.exists and head.state.address == address):
        return  # nothing was left in it
    if head.state.address != address:
        raise VerificationError(
            f"{stack}: its state lay at {head.state.address}, and now the code and tfops.hcl say {address}: "
            "what was deployed would not be found there",
            code="state.address_changed",
            hint=f"undo that; or bring the state to its new place, then: tfops recover {stack} --adopt-state "
            '--reason "…"',
            stack=stack,
        )
    found = _integrity_fault(head, now)
    if found:
        code, message = found
        raise VerificationError(
            f"{stack}: {message}; nothing was planned or applied, for it would create everything anew",
            code=code,
            hint=f'restore the state; if the change was meant: tfops recover {stack} --adopt-state --reason "…"',
            stack=stack,
        )


def _integrity_fault(head: ResultPredicate, now: Snapshot) -> tuple[str, str] | None:
    if not now.exists:
        return "state.missing", f"its state is gone (it had serial {head.state.serial})"
    if now.lineage != head.state.lineage:
        return "state.lineage_changed", "its state was replaced by one of another lineage"
    if now.serial < head.state.serial:
        return (
            "state.serial_regressed",
            f"its state went back from serial {head.state.serial} to {now.serial}",
        )
    if now.serial == head.state.serial and head.state_sha256 not in (None, now.sha256):
        return "state.serial_regressed", f"its state was edited without a new serial ({now.serial})"
    return None
