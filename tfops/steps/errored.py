"""A state Terraform could not write (`errored.tfstate`): the only record of what an apply made. Never passed over.

Terraform leaves it in its working directory, which is written anew before the next plan (terraform.md C4).
"""

from pathlib import Path

from tfops.errors import VerificationError
from tfops.steps.opening import Session
from tfops.steps.surveyed import Surveyed

NAME = "errored.tfstate"


def rescue(session: Session, surveyed: Surveyed, root: Path) -> bool:
    """Bring an `errored.tfstate` in the root module's directory into the store; whether one lay there."""
    file = root / NAME
    if not file.is_file():
        return False
    session.store.keep_errored_state(surveyed.id, file.read_bytes())
    session.say(surveyed.id, "terraform could not write its state; it is kept in the store")
    file.unlink()
    return True


def refuse_errored(session: Session, stack: str) -> None:
    """Raises VerificationError while an unwritten state of the stack waits: planning on would fork the state."""
    if session.store.unfinished(stack) is not None and session.store.errored_states(stack):
        raise undecided(stack, "")


def undecided(stack: str, why: str) -> VerificationError:
    """A person must decide about a kept state."""
    return VerificationError(
        f"{stack}: an earlier apply could not write its state, and what it made is only in the state tfops kept{why}",
        code="state.errored",
        hint=f'compare them, then write it back: tfops recover {stack} --push-state --reason "…"; or keep the one '
        f"there: --adopt-state",
        stack=stack,
    )
