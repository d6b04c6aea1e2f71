"""A stack and everything its plan reads."""

from dataclasses import dataclass
from pathlib import Path

from tfops.inputs import Inputs
from tfops.stacks import Stack, StateAddress
from tfops.steps.state import LocalState, Snapshot, read_local


@dataclass(frozen=True, slots=True, kw_only=True)
class Surveyed:
    """A stack and everything its plan reads, before any of it was run."""

    stack: Stack
    inputs: Inputs
    address: StateAddress
    local_state: LocalState | None
    cli_config: Path | None

    @property
    def id(self) -> str:
        """The stack's id."""
        return self.stack.id

    @property
    def override(self) -> bytes | None:
        """The backend tfops writes beside the code, for managed state."""
        if self.address.kind == "managed" and self.local_state is not None:
            return self.local_state.override()
        return None


def snapshot(surveyed: Surveyed) -> Snapshot | None:
    """The state now, where it can be read without starting Terraform; None where it cannot."""
    if surveyed.local_state is None:
        return None
    return read_local(surveyed.local_state, surveyed.stack.workspace, stack=surveyed.id)
