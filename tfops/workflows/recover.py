"""`tfops recover --adopt-state`: a person says that a state which was changed outside is the right one."""

from tfops.adapters.lock import FileLock
from tfops.attestation import Digest, Subject
from tfops.deployment import Result
from tfops.errors import UsageError
from tfops.steps.applying import Ending, sign_result
from tfops.steps.opening import Session, now
from tfops.steps.selection import select
from tfops.steps.state import Snapshot
from tfops.steps.store import lock_name, sha256
from tfops.steps.survey import survey
from tfops.steps.workplace import current_state, initialise, workplace


def adopt_state(session: Session, name: str, *, reason: str) -> Snapshot:
    """Record, signed, that the stack's state is taken as it is. It is not converged by that: the next sync plans."""
    chosen = select(survey(session), (name,))
    if name not in chosen:
        raise UsageError(
            f"{name} is an environment, not a stack",
            code="usage.unknown_stack",
            hint="name one stack: " + ", ".join(chosen),
        )
    surveyed = chosen[name]
    with (
        FileLock.hold(session.store_root / lock_name(name), holder=session.holder) as lock,
        workplace(session, surveyed, purpose="sync", inherit=(lock.descriptor,)) as work,
    ):
        initialise(session, work)
        state = current_state(session, work)
        ending = Ending(
            result=Result.ADOPTED,
            subjects=(Subject(name="state", digest=Digest(sha256=state.sha256 or sha256(b""))),),
            fingerprint="",
            before=state,
            after=state,
            reason=reason,
            started_on=now(),
        )
        session.store.move_head(name, sign_result(session, surveyed, ending).envelope)
    return state
