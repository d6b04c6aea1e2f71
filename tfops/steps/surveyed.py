"""A stack and everything its plan reads."""

from dataclasses import dataclass
from pathlib import Path

from tfops.inputs import Inputs
from tfops.stacks import Stack, StateAddress
from tfops.steps.state import Snapshot, StateFile


@dataclass(frozen=True, slots=True, kw_only=True)
class Surveyed:
    """A stack and everything its plan reads, before any of it was run.

    `state` is None for backends that tfops does not read by itself.
    """

    stack: Stack
    inputs: Inputs
    address: StateAddress
    state: StateFile | None
    cli_config: Path | None

    @property
    def id(self) -> str:
        """The stack's id."""
        return self.stack.id

    @property
    def is_managed(self) -> bool:
        """Whether tfops keeps the state."""
        return self.address.kind == "managed" and self.state is not None


def snapshot(surveyed: Surveyed, known: Snapshot | None = None) -> Snapshot | None:
    """The state now, where it can be read without starting Terraform; None where it cannot.

    `known` saves reading it again where the backend tells that it still is that one.
    """
    return None if surveyed.state is None else surveyed.state.snapshot(stack=surveyed.id, known=known)
