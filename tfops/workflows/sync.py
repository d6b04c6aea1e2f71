"""`tfops sync`: make the stacks of a branch what the branch says. Plan, sign, gate, claim, apply, record."""

import contextlib
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from pathlib import Path

from tfops.adapters.lock import FileLock
from tfops.attestation import Purpose
from tfops.deployment import Deployment
from tfops.errors import (
    Exit,
    FailedError,
    InterruptedRunError,
    LockedError,
    Problem,
    RefusedError,
    TfopsError,
    UsageError,
    most_serious,
)
from tfops.fingerprint import Fingerprint, changes_between
from tfops.gate import decide
from tfops.steps.applying import (
    apply_plan,
    check_artifact,
    expected_of,
    record_convergence,
)
from tfops.steps.forward import check_forward
from tfops.steps.interrupted import close_open_claims
from tfops.steps.opening import Session, now
from tfops.steps.planning import Planned, change_refs, make_plan, sign_plan
from tfops.steps.schedule import Schedule
from tfops.steps.selection import select
from tfops.steps.state import Snapshot, check_integrity
from tfops.steps.store import PlanArtifact, lock_name
from tfops.steps.survey import Surveyed, fingerprint_of, orphans, snapshot, survey
from tfops.steps.workplace import Workplace, current_state, initialise, kept_manifest, workplace


class Outcome(StrEnum):
    """How a stack ended. `pending` only in a dry run: it would be applied."""

    CONVERGED = "converged"
    APPLIED = "applied"
    PENDING = "pending"
    WAITING = "waiting"
    REFUSED = "refused"
    LOCKED = "locked"
    FAILED = "failed"
    SKIPPED = "skipped"


_EXIT = {
    Outcome.PENDING: Exit.CHANGES,
    Outcome.WAITING: Exit.REFUSED,
}
_GOOD = frozenset({Outcome.CONVERGED, Outcome.APPLIED, Outcome.PENDING})


@dataclass(frozen=True, slots=True, kw_only=True)
class StackSync:
    """One stack's line of the result."""

    stack: str
    outcome: Outcome
    reasons: tuple[str, ...] = ()
    plan_id: str | None = None
    change_digest: str | None = None
    summary: Mapping[str, int] = field(default_factory=dict)
    deployment: str | None = None
    revision: str = ""
    terraform_runs: int = 0
    problems: tuple[Problem, ...] = ()
    exit_code: Exit = Exit.OK


@dataclass(frozen=True, slots=True, kw_only=True)
class Synced:
    """The result of a sync: one line per stack in the order they were reached, and what is left behind."""

    revision: str
    stacks: tuple[StackSync, ...]
    orphans: Mapping[str, str]

    @property
    def exit_code(self) -> Exit:
        """The most serious stack decides."""
        return most_serious(stack.exit_code for stack in self.stacks)


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What the caller asked for."""

    names: tuple[str, ...] = ()
    dry_run: bool = False
    replan: bool = False
    allow_backward: bool = False
    jobs: int = 1
    lock_wait_seconds: float = 30.0
    given: PlanArtifact | None = None


def sync(session: Session, options: Options, *, tick: Callable[[], None]) -> Synced:
    """Bring the stacks of the session's branch to its head. `tick` is called often in this thread."""
    everything = survey(session)
    chosen = select(everything, options.names)
    _ = session.store, session.keys  # refuse before anything runs
    if options.given is not None and len(chosen) != 1:
        raise UsageError(
            "--plan goes with exactly one stack",
            code="usage.plan",
            hint="tfops sync STACK --plan ID",
        )
    schedule: Schedule[StackSync] = Schedule(
        {name: item.stack.after for name, item in chosen.items()},
        work=lambda name: _sync_stack(session, everything, chosen[name], options),
        skip=lambda name, blocker: _skipped(session, name, blocker),
        is_good=lambda stack: stack.outcome in _GOOD,
    )
    ended = _after_skips(schedule.run(options.jobs, tick=tick))
    return Synced(
        revision=str(session.revision),
        stacks=tuple(ended[name] for name in chosen),
        orphans={} if options.names else orphans(session, everything),
    )


def _skipped(session: Session, name: str, blocker: str) -> StackSync:
    session.say(name, f"skipped: it comes after {blocker}")
    return StackSync(stack=name, outcome=Outcome.SKIPPED, reasons=(f"comes after {blocker}",), exit_code=Exit.OK)


def _after_skips(done: Mapping[str, StackSync]) -> dict[str, StackSync]:
    """Skipped stacks say how the one they wait for ended."""
    words = {}
    for name, stack in done.items():
        blocker = stack.reasons[0].removeprefix("comes after ") if stack.outcome is Outcome.SKIPPED else None
        ended = f", which is {done[blocker].outcome.value}" if blocker else ""
        words[name] = replace(stack, reasons=(f"{stack.reasons[0]}{ended}",)) if blocker else stack
    return words


@dataclass(kw_only=True)
class _Stack:
    """One stack on its way through a sync. Mutable: it collects what the result will say."""

    session: Session
    surveyed: Surveyed
    options: Options
    fingerprint: Fingerprint
    head: Deployment | None
    started_on: datetime
    work: Workplace | None = None
    plan_id: str | None = None
    planned: Planned | None = None
    why: tuple[str, ...] = ()

    @property
    def id(self) -> str:
        return self.surveyed.id

    @property
    def runs(self) -> int:
        return self.work.terraform.runs if self.work else 0

    def result(
        self,
        outcome: Outcome,
        *,
        reasons: tuple[str, ...] = (),
        deployment: str | None = None,
        error: TfopsError | None = None,
    ) -> StackSync:
        """The stack's line; `error` decides its exit code."""
        return StackSync(
            stack=self.id,
            outcome=outcome,
            reasons=reasons or self.why,
            plan_id=self.plan_id,
            change_digest=self.planned.change_set.digest if self.planned else None,
            summary=self.planned.summary.as_json() if self.planned else {},
            deployment=deployment,
            revision=self.session.revision.commit,
            terraform_runs=self.runs,
            problems=tuple(replace(p, stack=p.stack or self.id) for p in error.problems) if error else (),
            exit_code=error.exit_code if error else _EXIT.get(outcome, Exit.OK),
        )


def _sync_stack(
    session: Session, everything: Mapping[str, Surveyed], surveyed: Surveyed, options: Options
) -> StackSync:
    stack: _Stack | None = None
    try:
        stack = _Stack(
            session=session,
            surveyed=surveyed,
            options=options,
            fingerprint=fingerprint_of(session, surveyed, _states_read(session, everything, surveyed)),
            head=session.store.head(surveyed.id, session.keys),
            started_on=now(),
        )
        return _story(stack)
    except TfopsError as error:
        return _ended_by(session, surveyed, stack, error)
    except Exception as error:
        return _ended_by(session, surveyed, stack, _bug(session, surveyed, error))


def _story(stack: _Stack) -> StackSync:
    session, options = stack.session, stack.options
    if _is_converged(stack):
        session.say(stack.id, "converged")
        return stack.result(Outcome.CONVERGED)
    if session.caller.stop.is_set():
        raise InterruptedRunError(f"{stack.id}: stopped before it began", code="run.interrupted", hint="run it again")
    with _stack_lock(stack) as lock:
        stack.head = session.store.head(stack.id, session.keys)
        if _is_converged(stack):  # another run did it while we waited
            return stack.result(Outcome.CONVERGED)
        check_forward(session, stack.id, stack.head, allow_backward=options.allow_backward)
        stack.why = _why(stack)
        with workplace(session, stack.surveyed, purpose="sync", inherit=(lock.descriptor,)) as work:
            stack.work = work
            return _plan_and_apply(stack, work)


def _is_converged(stack: _Stack) -> bool:
    """Step 2 of DESIGN.md §5: the same inputs as the head's and the same state: no Terraform is started."""
    if stack.head is None or stack.options.replan or stack.options.given is not None:
        return False
    state = snapshot(stack.surveyed)
    if state is None:
        return False
    record = stack.head.record
    check_integrity(stack.id, record, state)
    same_state = (record.state.lineage, record.state.serial, record.state_sha256) == (
        state.lineage,
        state.serial,
        state.sha256,
    )
    return same_state and record.fingerprint == stack.fingerprint.digest


def _plan_and_apply(stack: _Stack, work: Workplace) -> StackSync:
    session = stack.session
    initialise(session, work)
    state = current_state(session, work)
    if not stack.options.dry_run:
        close_open_claims(session, stack.surveyed, state)
    check_integrity(stack.id, stack.head.record if stack.head else None, state)
    given = stack.options.given
    if given is not None:
        check_artifact(given, expected_of(session, stack.surveyed, stack.fingerprint, state), Purpose.SYNC)
        session.store.refuse_claimed(stack.id, given.id)
    elif (waiting := _still_waiting(stack, state)) is not None:
        return waiting
    stack.planned = make_plan(session, work, state, lock=True)
    if stack.planned is None:
        return _converge(stack, state)
    decision = decide(environment=stack.surveyed.stack.environment, approval=stack.surveyed.stack.approval)
    if stack.options.dry_run:
        return stack.result(Outcome.PENDING if decision.allowed else Outcome.WAITING, reasons=decision.reasons)
    if given is not None:
        _refuse_other_changes(stack, stack.planned, given)
    artifact = _store_plan(stack, stack.planned)
    if not decision.allowed:
        session.store.note_waiting(stack.id, artifact.id)
        session.say(stack.id, f"waiting: {decision.reasons[0]}")
        return stack.result(Outcome.WAITING, reasons=decision.reasons)
    return _apply(stack, work, artifact, state)


def _converge(stack: _Stack, state: Snapshot) -> StackSync:
    stack.session.say(stack.id, "nothing to do")
    if stack.options.dry_run:
        return stack.result(Outcome.CONVERGED)
    # Terraform may have written the state (a first one, with no resources) while it planned: look again.
    assert stack.work is not None  # noqa: S101
    after = snapshot(stack.surveyed) or state
    record_convergence(stack.session, stack.surveyed, stack.fingerprint, after, started_on=stack.started_on)
    return stack.result(Outcome.CONVERGED)


def _store_plan(stack: _Stack, planned: Planned) -> PlanArtifact:
    """Sign and store, then take it back from the store and verify it: what is applied is what was recorded."""
    session = stack.session
    signed = sign_plan(session, stack.surveyed, planned, stack.fingerprint, Purpose.SYNC)
    session.store.put_plan(stack.id, signed.id, signed.files, signed.envelope)
    stack.plan_id = signed.id
    return session.store.plan(stack.id, signed.id, session.keys)


def _apply(stack: _Stack, work: Workplace, artifact: PlanArtifact, state: Snapshot) -> StackSync:
    session, given = stack.session, stack.options.given
    assert stack.planned is not None  # noqa: S101
    check_artifact(artifact, expected_of(session, stack.surveyed, stack.fingerprint, state), Purpose.SYNC)
    applied = apply_plan(
        session,
        work,
        artifact,
        stack.fingerprint,
        stack.planned.secrets,
        before=state,
        given_plan_id=given.id if given else None,
    )
    if applied.error is None:
        session.say(stack.id, "applied")
        return stack.result(Outcome.APPLIED, deployment=applied.deployment)
    session.say(stack.id, "failed")
    return stack.result(
        Outcome.FAILED,
        reasons=(str(applied.error),),
        deployment=applied.deployment,
        error=applied.error,
    )


def _still_waiting(stack: _Stack, state: Snapshot) -> StackSync | None:
    """A plan that waits for approval is not made again on every run, as long as it would come out the same."""
    session, approval = stack.session, stack.surveyed.stack.approval
    decision = decide(environment=stack.surveyed.stack.environment, approval=approval)
    plan_id = session.store.waiting_plan(stack.id)
    if decision.allowed or plan_id is None or stack.options.replan or stack.options.dry_run:
        return None
    try:
        artifact = session.store.plan(stack.id, plan_id, session.keys)
        check_artifact(artifact, expected_of(session, stack.surveyed, stack.fingerprint, state), Purpose.SYNC)
    except TfopsError:
        return None
    stack.plan_id = plan_id
    predicate = artifact.statement.predicate
    session.say(stack.id, f"still waiting, plan {plan_id[:12]}")
    return replace(
        stack.result(Outcome.WAITING, reasons=decision.reasons),
        change_digest=predicate.change_digest,
        summary=predicate.summary,
    )


def _refuse_other_changes(stack: _Stack, planned: Planned, given: PlanArtifact) -> None:
    fresh = {(entry.address, entry.digest) for entry in planned.change_set.entries}
    approved = change_refs(given.statement.predicate.change_set)
    if fresh == approved:
        return
    different = sorted({address for address, _ in fresh ^ approved})
    raise RefusedError(
        f"{stack.id}: planned again, it would not do what plan {given.id[:12]} says; different: "
        + ", ".join(different),
        code="plan.differs",
        hint=f"reality changed since that plan. Look at a new one: tfops plan {stack.id}",
        stack=stack.id,
    )


def _why(stack: _Stack) -> tuple[str, ...]:
    """Why a stack is planned at all, in words."""
    if stack.head is None:
        return ("never deployed",)
    record = stack.head.record
    if record.fingerprint == stack.fingerprint.digest:
        return ("asked to plan again",) if stack.options.replan else ("its state changed since",)
    kept = stack.session.store.inputs(stack.id, record.fingerprint)
    if kept is None:
        return ("its inputs changed",)
    return changes_between(kept_manifest(kept), stack.fingerprint.manifest)


def _states_read(session: Session, everything: Mapping[str, Surveyed], surveyed: Surveyed) -> dict[str, Snapshot]:
    states = {}
    for name in surveyed.stack.reads:
        state = snapshot(everything[name])
        if state is None:
            head = session.store.head(name, session.keys)
            state = Snapshot(lineage=head.record.state.lineage, serial=head.record.state.serial) if head else Snapshot()
        states[name] = state
    return states


@contextlib.contextmanager
def _stack_lock(stack: _Stack) -> Iterator[FileLock]:
    session = stack.session
    try:
        with FileLock.hold(
            session.store_root / lock_name(stack.id),
            holder=session.holder,
            wait_seconds=stack.options.lock_wait_seconds,
            stop=session.caller.stop,
            on_wait=lambda who: session.say(stack.id, f"waiting for the lock, held by {who}"),
        ) as lock:
            yield lock
    except LockedError as error:
        if session.caller.stop.is_set():
            raise InterruptedRunError(
                f"{stack.id}: stopped while waiting for the lock", code="run.interrupted", hint="run it again"
            ) from error
        raise


_OUTCOMES = {
    Exit.LOCKED: Outcome.LOCKED,
    Exit.REFUSED: Outcome.REFUSED,
    Exit.UNVERIFIED: Outcome.REFUSED,
}


def _ended_by(session: Session, surveyed: Surveyed, stack: _Stack | None, error: TfopsError) -> StackSync:
    session.say(surveyed.id, str(error))
    outcome = _OUTCOMES.get(error.exit_code, Outcome.FAILED)
    if stack is not None:
        return stack.result(outcome, reasons=(str(error),), error=error)
    return StackSync(
        stack=surveyed.id,
        outcome=outcome,
        reasons=(str(error),),
        problems=tuple(replace(problem, stack=surveyed.id) for problem in error.problems),
        exit_code=error.exit_code,
    )


def _bug(session: Session, surveyed: Surveyed, error: Exception) -> FailedError:
    place: Path = session.caller.cache / f"crash-{session.run_id}.txt"
    with contextlib.suppress(OSError):
        place.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with place.open("a") as file:
            file.write(f"{surveyed.id}\n{''.join(traceback.format_exception(error))}\n")
    return FailedError(
        f"{surveyed.id}: a bug in tfops: {type(error).__name__}: {error}",
        code="bug",
        hint=f"please report it, with {place}",
        stack=surveyed.id,
    )
