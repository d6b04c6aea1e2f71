"""`tfops sync`: make the stacks of a branch what the branch says. Plan, sign, gate, claim, apply, record."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from tfops.errors import (
    Exit,
    FailedError,
    InterruptedRunError,
    Problem,
    RefusedError,
    UsageError,
    VerificationError,
    most_serious,
)
from tfops.steps.ended import ended_by
from tfops.steps.forward import check_forward
from tfops.steps.held import held
from tfops.steps.hold import Hold
from tfops.steps.opening import Session, now
from tfops.steps.orphans import Orphan, orphans
from tfops.steps.outcome import GOOD, Options, Outcome, StackRun, StackSync
from tfops.steps.schedule import Schedule, Tick
from tfops.steps.selection import select
from tfops.steps.state import Snapshot
from tfops.steps.survey import fingerprint_of, survey
from tfops.steps.surveyed import Surveyed, snapshot
from tfops.steps.trusting import Proposal, follow


@dataclass(frozen=True, slots=True, kw_only=True)
class Synced:
    """The result of a sync: one line per stack in the order they were reached, and what is left behind."""

    revision: str
    stacks: tuple[StackSync, ...]
    orphans: Mapping[str, Orphan]
    rules: Proposal | None = None
    """The change of the rules that waits for approval."""

    @property
    def exit_code(self) -> Exit:
        """The most serious stack decides; rules that wait are something that is refused for now."""
        waiting = (Exit.REFUSED,) if self.rules else ()
        return most_serious((*(stack.exit_code for stack in self.stacks), *waiting))


def sync(session: Session, options: Options, *, tick: Tick) -> Synced:
    """Bring the stacks of the session's branch to its head. `tick` is called often in this thread."""
    _ = session.store, session.keys  # refuse before anything runs
    rules = follow(session, dry_run=options.dry_run)  # first: they say which Terraform the survey is made for
    everything = survey(session)
    chosen = select(everything, options.names)
    if options.given is None:
        _refuse_out_of_order(session, everything, chosen)
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
        is_good=lambda stack: stack.outcome in GOOD,
    )
    ended = _after_skips(schedule.run(options.jobs, tick=tick))
    if not options.dry_run and any(stack.outcome is not Outcome.CONVERGED for stack in ended.values()):
        _tell(session, everything, ended)
    pruned, left = ({}, {}) if options.names else _left_behind(session, everything, ended, options, tick)
    return Synced(
        revision=str(session.revision),
        stacks=(*(ended[name] for name in chosen), *pruned.values()),
        orphans=left,
        rules=rules,
    )


def _tell(session: Session, everything: Mapping[str, Surveyed], ended: Mapping[str, StackSync]) -> None:
    # Imported only now: most runs have nothing to tell.
    from tfops.steps.feedback import tell_landed

    tell_landed(session, everything, ended.values())


def _left_behind(
    session: Session,
    everything: Mapping[str, Surveyed],
    ended: Mapping[str, StackSync],
    options: Options,
    tick: Tick,
) -> tuple[Mapping[str, StackSync], Mapping[str, Orphan]]:
    """What was pruned, and what is left behind; a store that is gone by now does not undo what the stacks came to."""
    try:
        found = orphans(session, everything)
        if not any(one.is_left_behind for one in found.values()):
            return {}, found
        # Imported only now: most runs find nothing left behind.
        from tfops.steps.pruning import prune

        pruned = prune(session, everything, ended, found, options, tick=tick)
        return pruned, orphans(session, everything) if pruned else found
    except FailedError as error:
        session.say("", f"orphaned stacks could not be looked for: {error}")
        return {}, {}


def _refuse_out_of_order(session: Session, everything: Mapping[str, Surveyed], chosen: Mapping[str, Surveyed]) -> None:
    """Naming a stack does not take it out of its order: what it comes after must be converged, or named as well."""
    problems = [
        Problem(
            code="order.not_converged",
            message=f"{name} comes after {other}, which is not converged at {session.revision}",
            hint=f"name it too: tfops sync {other} {name}",
            stack=name,
        )
        for name, item in chosen.items()
        for other in item.stack.after
        if other in everything and other not in chosen and not _is_at_head(session, everything[other])
    ]
    if problems:
        raise RefusedError.of(problems)


def _is_at_head(session: Session, surveyed: Surveyed) -> bool:
    head = session.store.head(surveyed.id, session.keys)
    return head is not None and head.record.fingerprint == fingerprint_of(session, surveyed).digest


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


def _sync_stack(
    session: Session, everything: Mapping[str, Surveyed], surveyed: Surveyed, options: Options
) -> StackSync:
    stack: StackRun | None = None
    try:
        stack = StackRun(
            session=session,
            surveyed=surveyed,
            live=everything,
            options=options,
            fingerprint=fingerprint_of(session, surveyed),
            head=session.store.head(surveyed.id, session.keys),
            started_on=now(),
        )
        return _story(stack)
    except Exception as error:
        return ended_by(session, surveyed.id, stack, error)


def _story(stack: StackRun) -> StackSync:
    session, options = stack.session, stack.options
    if _is_converged(stack):
        session.say(stack.id, "converged")
        return stack.result(Outcome.CONVERGED)
    if session.caller.stop.is_set():
        raise InterruptedRunError(f"{stack.id}: stopped before it began", code="run.interrupted", hint="run it again")
    if not options.dry_run:
        _ = session.signer  # a missing key is told before anything is planned
    with held(stack) as hold:
        before, stack.head = stack.head, session.store.head(stack.id, session.keys)
        if stack.head != before and _is_converged(stack):  # another run did it while we waited
            return stack.result(Outcome.CONVERGED)
        check_forward(session, stack.id, stack.head, allow_backward=options.allow_backward)
        return _reconcile(stack, hold)


def _reconcile(stack: StackRun, hold: Hold) -> StackSync:
    # Imported only now: most runs find every stack converged and need none of it.
    from tfops.steps.reconciling import reconcile, why_planned

    stack.why = why_planned(stack)
    return reconcile(stack, hold)


def _is_converged(stack: StackRun) -> bool:
    """Step 2 of DESIGN.md §5: the same inputs as the head's and the same state: no Terraform is started."""
    if stack.head is None or stack.options.replan or stack.options.given is not None:
        return False
    record = stack.head.record
    known = Snapshot(
        lineage=record.state.lineage,
        serial=record.state.serial,
        sha256=record.state_sha256,
        version=record.state_version,
    )
    try:
        state = snapshot(stack.surveyed, known)
    except VerificationError:
        return False  # somebody may be writing it at this moment: it is judged under the lock
    same = state == known and record.fingerprint == stack.fingerprint.digest
    return same and not stack.session.place.is_left_behind(stack.id)
