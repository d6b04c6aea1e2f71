"""`tfops recover`: a person says what is right after a state was changed outside, or could not be written."""

import contextlib
from collections.abc import Iterator

from tfops.adapters.lock import FileLock
from tfops.attestation import Digest, Subject
from tfops.deployment import Result
from tfops.errors import UsageError
from tfops.steps import diagnosis
from tfops.steps.applying import Ending, sign_result
from tfops.steps.opening import Session, now
from tfops.steps.selection import select
from tfops.steps.state import Snapshot
from tfops.steps.store import lock_name, sha256
from tfops.steps.survey import survey
from tfops.steps.workplace import Workplace, current_state, initialise, workplace


def adopt_state(session: Session, name: str, *, reason: str) -> Snapshot:
    """Record, signed, that the stack's state is taken as it is. It is not converged by that: the next sync plans.

    A state that an earlier apply could not write is set aside, not deleted.
    """
    with _work_on(session, name) as work:
        for data in session.store.errored_states(name):
            session.store.set_aside(name, data)
        return _adopt(session, work, reason)


def push_state(session: Session, name: str, *, reason: str) -> Snapshot:
    """Write back the states that earlier applies could not write. Terraform itself checks lineage and serial."""
    with _work_on(session, name) as work:
        waiting = session.store.errored_states(name)
        if not waiting:
            raise UsageError(
                f"{name}: there is no unwritten state to push",
                code="usage.nothing_to_push",
                hint=f"to accept the state as it is: tfops recover {name} --adopt-state --reason …",
            )
        for data in waiting:
            _push(work, data)
            session.store.set_aside(name, data)
        return _adopt(session, work, reason)


@contextlib.contextmanager
def _work_on(session: Session, name: str) -> Iterator[Workplace]:
    chosen = select(survey(session), (name,))
    if name not in chosen:
        raise UsageError(
            f"{name} is an environment, not a stack",
            code="usage.unknown_stack",
            hint="name one stack: " + ", ".join(chosen),
        )
    with (
        FileLock.hold(session.store_root / lock_name(name), holder=session.holder) as lock,
        workplace(session, chosen[name], purpose="sync", inherit=(lock.descriptor,)) as work,
    ):
        initialise(session, work)
        yield work


def _push(work: Workplace, data: bytes) -> None:
    file = work.directory / "out" / "errored.tfstate"
    file.write_bytes(data)
    ended = work.terraform.run(["state", "push", str(file)], name="push")
    if ended.code:
        raise diagnosis.failed("state push", work.terraform, work.surveyed.id, ended, "push")


def _adopt(session: Session, work: Workplace, reason: str) -> Snapshot:
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
    record = sign_result(session, work.surveyed, ending)
    session.store.keep_record(work.surveyed.id, record.id, record.envelope)
    session.store.move_head(work.surveyed.id, record.envelope)
    return state
