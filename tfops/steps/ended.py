"""How a stack ended that something went wrong with, a bug of ours included: its line, and what is kept of it."""

import contextlib
import traceback
from dataclasses import replace
from pathlib import Path

from tfops.attestation import Purpose
from tfops.errors import Exit, FailedError, TfopsError
from tfops.steps.opening import Session
from tfops.steps.outcome import Outcome, StackRun, StackSync

_OUTCOMES = {
    Exit.LOCKED: Outcome.LOCKED,
    Exit.REFUSED: Outcome.REFUSED,
    Exit.UNVERIFIED: Outcome.REFUSED,
}


def ended_by(
    session: Session, name: str, stack: StackRun | None, error: Exception, *, purpose: Purpose = Purpose.SYNC
) -> StackSync:
    """The line of a stack that `error` ended; what tfops cannot explain is a bug, and kept for a report."""
    known = error if isinstance(error, TfopsError) else _bug(session, name, error)
    outcome = _OUTCOMES.get(known.exit_code, Outcome.FAILED)
    session.say(name, f"{outcome.value} [{known.problems[0].code}]")
    if stack is not None:
        return stack.result(outcome, reasons=(str(known),), error=known)
    return StackSync(
        stack=name,
        outcome=outcome,
        purpose=purpose,
        reasons=(str(known),),
        problems=tuple(replace(problem, stack=name) for problem in known.problems),
        exit_code=known.exit_code,
    )


def _bug(session: Session, name: str, error: Exception) -> FailedError:
    place: Path = session.caller.cache / f"crash-{session.run_id}.txt"
    with contextlib.suppress(OSError):
        place.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with place.open("a") as file:
            file.write(f"{name}\n{''.join(traceback.format_exception(error))}\n")
    return FailedError(
        f"{name}: a bug in tfops: {type(error).__name__}: {error}",
        code="bug",
        hint=f"please report it, with {place}",
        stack=name,
    )
