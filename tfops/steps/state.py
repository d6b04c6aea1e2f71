"""A stack's Terraform state as tfops needs it: lineage, serial and digest, read without starting Terraform."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from tfops.deployment import ResultPredicate
from tfops.errors import FailedError, VerificationError
from tfops.stacks import StateAddress

OVERRIDE = "zz_tfops_managed_override.tf.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """A state at one moment. Where there is none yet: lineage None, serial 0, sha256 None."""

    lineage: str | None = None
    serial: int = 0
    sha256: str | None = None

    @property
    def exists(self) -> bool:
        """Whether there is a state at all."""
        return self.lineage is not None


def parse_state(data: bytes, *, stack: str) -> Snapshot:
    """A snapshot from a state file's bytes; empty bytes are no state."""
    if not data.strip():
        return Snapshot()
    try:
        return _snapshot(data)
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise VerificationError(
            f"{stack}: its state cannot be read: {error}",
            code="state.damaged",
            hint="restore the state from its backup (terraform.tfstate.backup lies beside a local one)",
            stack=stack,
        ) from error


def _snapshot(data: bytes) -> Snapshot:
    state = json.loads(data)
    if state["version"] != 4:
        raise ValueError(f"state version {state['version']}, not 4")
    return Snapshot(
        lineage=str(state["lineage"]),
        serial=int(state["serial"]),
        sha256=hashlib.sha256(data).hexdigest(),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalState:
    """Where Terraform's local backend keeps a state: managed by tfops, or by an absolute path in the code."""

    path: Path
    workspace_directory: Path

    def file(self, workspace: str) -> Path:
        """The state file of a workspace, as Terraform's local backend names it."""
        if workspace == "default":
            return self.path
        return self.workspace_directory / workspace / "terraform.tfstate"

    def override(self) -> bytes:
        """An override file that puts the state here."""
        backend = {"path": str(self.path), "workspace_dir": str(self.workspace_directory)}
        return json.dumps({"terraform": {"backend": {"local": backend}}}).encode()


def managed(directory: Path) -> LocalState:
    """The managed state of a stack in its directory of the store."""
    return LocalState(path=directory / "terraform.tfstate", workspace_directory=directory / "workspaces")


def local(address: StateAddress) -> LocalState:
    """A local backend the code names."""
    settings = dict(address.settings)
    path = Path(str(settings["path"]))
    directory = settings.get("workspace_dir")
    return LocalState(
        path=path,
        workspace_directory=Path(str(directory)) if directory else path.parent / "terraform.tfstate.d",
    )


def read_local(state: LocalState, workspace: str, *, stack: str) -> Snapshot:
    """The snapshot of a local state."""
    file = state.file(workspace)
    try:
        return parse_state(file.read_bytes(), stack=stack)
    except FileNotFoundError:
        return Snapshot()
    except OSError as error:
        raise FailedError(
            f"{stack}: its state {file} cannot be read: {error.strerror}",
            code="state.unreadable",
            hint="give this user access to it",
            stack=stack,
        ) from error


def check_integrity(stack: str, head: ResultPredicate | None, now: Snapshot, *, address: str) -> None:
    """Raises VerificationError where the state went back, was replaced or is gone since the head (drift.md §2.4)."""
    if head is None or head.state.lineage is None:
        return
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
