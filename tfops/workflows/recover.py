"""`tfops recover`: finish what a crash left behind, and say what only a person can decide."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, replace

from tfops.attestation import Digest, Subject
from tfops.audit import Event
from tfops.deployment import ResourceResult, Result
from tfops.errors import Exit, Problem, TfopsError, UsageError, most_serious
from tfops.steps import audit
from tfops.steps.opening import Session, now
from tfops.steps.pruning import orphaned
from tfops.steps.pushing import push, with_next_serial
from tfops.steps.recording import Ending, close, sign_result
from tfops.steps.selection import select
from tfops.steps.settling import Settled, advice, settle
from tfops.steps.state import Snapshot
from tfops.steps.store import sha256
from tfops.steps.survey import survey
from tfops.steps.surveyed import Surveyed
from tfops.steps.workplace import Workplace, current_state, initialise, state_lock, workplace

LOCK_WAIT_SECONDS = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovery:
    """One stack: what was in flight when its apply died, what its state lacks, and what is to be done about it."""

    stack: str
    plan_id: str | None = None
    in_flight: tuple[ResourceResult, ...] = ()
    missing: tuple[ResourceResult, ...] = ()
    import_blocks: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    state: Snapshot | None = None
    problems: tuple[Problem, ...] = ()
    exit_code: Exit = Exit.OK

    @property
    def was_open(self) -> bool:
        """Whether there was anything to recover."""
        return bool(self.plan_id is not None or self.problems)


def recover(session: Session, names: tuple[str, ...]) -> tuple[Recovery, ...]:
    """Do the safe part for the named stacks, or for all of the branch: records, leftovers, a state that fits."""
    return tuple(_recover_stack(*found) for found in _chosen(session, names).values())


def most_serious_of(found: tuple[Recovery, ...]) -> Exit:
    """5 where a person must decide."""
    return most_serious(stack.exit_code for stack in found)


def adopt_state(session: Session, name: str, *, reason: str) -> Snapshot:
    """Record, signed, that the stack's state is taken as it is. It is not converged by that: the next sync plans.

    A state that an earlier apply could not write is set aside, not deleted; creations that may be missing are given up.
    """
    with _work_on(*_only(session, name)) as (held, work):
        for data in held.store.errored_states(name):
            held.store.set_aside(name, data)
        return _adopt(held, work, reason)


def push_state(session: Session, name: str, *, reason: str) -> Snapshot:
    """Write back the states that earlier applies could not write. Terraform itself checks lineage and serial."""
    with _work_on(*_only(session, name)) as (held, work):
        waiting = held.store.errored_states(name)
        if not waiting:
            raise UsageError(
                f"{name}: there is no unwritten state to push",
                code="usage.nothing_to_push",
                hint=f"to accept the state as it is: tfops recover {name} --adopt-state --reason …",
            )
        for data in waiting:
            push(held, work, with_next_serial(data, current_state(held, work)), reason=reason)
            held.store.set_aside(name, data)
        return _adopt(held, work, reason)


def _recover_stack(session: Session, surveyed: Surveyed) -> Recovery:
    try:
        if session.store.unfinished(surveyed.id) is None:
            return Recovery(stack=surveyed.id)
        with _work_on(session, surveyed) as (held, work):
            return _recovery(surveyed.id, settle(held, work))
    except TfopsError as error:
        problems = tuple(replace(problem, stack=problem.stack or surveyed.id) for problem in error.problems)
        return Recovery(stack=surveyed.id, problems=problems, exit_code=error.exit_code)


def _recovery(stack: str, settled: Settled) -> Recovery:
    blocks, unknown = advice(settled.missing)
    return Recovery(
        stack=stack,
        plan_id=settled.plan_id,
        in_flight=tuple(result for result in settled.begun if not result.ok),
        missing=settled.missing,
        import_blocks=tuple(blocks),
        unknown=tuple(unknown),
        state=settled.state,
        exit_code=Exit.UNVERIFIED if settled.missing else Exit.OK,
    )


def _chosen(session: Session, names: tuple[str, ...]) -> dict[str, tuple[Session, Surveyed]]:
    """The named stacks, or all of the branch, each with the session that reads its code.

    One that is gone from the branch can be named too: its code is what was kept.
    """
    live = survey(session)
    gone = {name: kept for name in names if name not in live and (kept := orphaned(session, live, name)) is not None}
    everything = {**live, **{name: kept.surveyed for name, kept in gone.items()}}
    return {
        name: (gone[name].session if name in gone else session, item)
        for name, item in select(everything, names).items()
    }


def _only(session: Session, name: str) -> tuple[Session, Surveyed]:
    chosen = _chosen(session, (name,))
    if name not in chosen:
        raise UsageError(
            f"{name} is an environment, not a stack",
            code="usage.unknown_stack",
            hint="name one stack: " + ", ".join(chosen),
        )
    return chosen[name]


@contextlib.contextmanager
def _work_on(session: Session, surveyed: Surveyed) -> Iterator[tuple[Session, Workplace]]:
    wanted = session.wanted(surveyed.stack, "recover", wait_seconds=LOCK_WAIT_SECONDS)
    with session.place.hold(wanted) as hold:
        held = session.held(hold)
        held.store.head(surveyed.id, held.keys)  # what the head is moved from
        with workplace(held, surveyed, purpose="sync", hold=hold) as work:
            initialise(held, work)
            with state_lock(held, work, wait_seconds=LOCK_WAIT_SECONDS) as locked:
                yield held, locked


def _adopt(session: Session, work: Workplace, reason: str) -> Snapshot:
    state, stack = current_state(session, work), work.surveyed.id
    ending = Ending(
        result=Result.ADOPTED,
        subjects=(Subject(name="state", digest=Digest(sha256=state.sha256 or sha256(b""))),),
        fingerprint="",
        before=state,
        after=state,
        reason=reason,
        started_on=now(),
    )
    details = {"serial": str(state.serial), "sha256": state.sha256 or ""}
    audit.record(session, Event.ADOPT_STATE, stack, reason=reason, details=details)
    record = sign_result(session, work.surveyed, ending)
    session.store.keep_record(stack, record.id, record.envelope)
    session.store.move_head(stack, record.envelope)
    close(session, work)
    return state
