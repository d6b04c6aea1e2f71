"""Destroying what is gone from the branch: each orphan from its kept inputs, through the same gate as everything."""

import graphlib
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from tfops.attestation import Purpose
from tfops.config import Environment
from tfops.deployment import Deployment
from tfops.errors import InterruptedRunError, RefusedError, TfopsError
from tfops.stacks import stack_of
from tfops.steps.ended import ended_by
from tfops.steps.forward import check_forward
from tfops.steps.held import held
from tfops.steps.inputs_archive import unpack
from tfops.steps.kept import Kept, left_behind
from tfops.steps.last_known import last_known, prunes_by_itself
from tfops.steps.opening import Session, now
from tfops.steps.orphans import Orphan, orphans
from tfops.steps.outcome import GOOD, Options, Outcome, StackRun, StackSync
from tfops.steps.reads import reads_state
from tfops.steps.schedule import Schedule, Tick
from tfops.steps.survey import fingerprint_of
from tfops.steps.surveyed import Surveyed


@dataclass(frozen=True, kw_only=True)
class Left:
    """An orphan with the inputs it was deployed from, and what its environment said last."""

    orphan: Orphan
    kept: Kept
    environment: Environment

    @property
    def surveyed(self) -> Surveyed:
        """The stack as it was."""
        return self.kept.surveyed

    def comes_after(self, other: "Left") -> bool:
        """Whether it read the other one's state, or its environment came after the other's."""
        theirs = {other.environment.name, other.environment.name.partition("@")[0]}
        return other.surveyed.id in self.surveyed.stack.reads or not theirs.isdisjoint(self.environment.after)


def open_orphan(session: Session, orphan: Orphan) -> Left:
    """An orphan, ready to be planned. Raises FailedError `store.inputs_missing`, VerificationError for damage."""
    environment, record = last_known(session, orphan.head), orphan.head.record
    stack = stack_of(environment, name=orphan.stack, root=record.root, branch=record.source.branch)
    return Left(orphan=orphan, kept=left_behind(session, stack, orphan.head), environment=environment)


def orphaned(session: Session, live: Mapping[str, Surveyed], name: str) -> Kept | None:
    """The orphan of that name as it was; None where nothing of that name is left behind."""
    orphan = orphans(session, live).get(name)
    return open_orphan(session, orphan).kept if orphan is not None and orphan.is_left_behind else None


def prune(
    session: Session,
    live: Mapping[str, Surveyed],
    ended: Mapping[str, StackSync],
    left: Mapping[str, Orphan],
    options: Options,
    *,
    tick: Tick,
) -> dict[str, StackSync]:
    """Destroy what is left behind: all of it, or what its environment lets us. What reads others goes first.

    `ended` is how the live stacks ended in this run: what one of them reads, or may be the new name of, is left alone.
    """
    found = {name: orphan for name, orphan in left.items() if orphan.is_left_behind}
    chosen = [name for name, one in found.items() if options.prune or prunes_by_itself(session, one.head)]
    if not chosen:
        return {}
    opened, failed = _opened(session, found)
    leaving = {name: opened[name] for name in chosen if name in opened}
    staying = [left for name, left in opened.items() if name not in leaving]
    case = _Case(session=session, live=live, ended=ended, staying=staying)
    schedule: Schedule[StackSync] = Schedule(
        {name: tuple(other for other, one in leaving.items() if one.comes_after(leaving[name])) for name in leaving},
        work=lambda name: _prune_stack(case, leaving[name], options),
        skip=lambda name, blocker: _left_alone(session, name, f"{blocker} comes after it, and is still there"),
        is_good=lambda stack: stack.outcome in GOOD,
    )
    try:
        done = schedule.run(options.jobs, tick=tick)
    except graphlib.CycleError as error:  # their environments said so at different times
        path = " → ".join(error.args[1])
        done = {name: _left_alone(session, name, f"these come after each other: {path}") for name in leaving}
    return {**{name: failed[name] for name in chosen if name in failed}, **done}


def _opened(session: Session, found: Mapping[str, Orphan]) -> tuple[dict[str, Left], dict[str, StackSync]]:
    opened, failed = {}, {}
    for name, orphan in found.items():
        try:
            opened[name] = open_orphan(session, orphan)
        except TfopsError as error:
            failed[name] = ended_by(session, name, None, error, purpose=Purpose.PRUNE)
    return opened, failed


@dataclass(frozen=True, kw_only=True)
class _Case:
    """What bears on whether an orphan may go: the live stacks, how they ended, and the orphans that stay."""

    session: Session
    live: Mapping[str, Surveyed]
    ended: Mapping[str, StackSync]
    staying: Sequence[Left]

    def why_not(self, left: Left) -> str | None:
        """Why it is left alone for now."""
        newcomer = next(self._newcomers(), None)
        if newcomer is not None:
            return f"{newcomer} was never deployed, and may be its new name: that has to be known first"
        reader = next(self._readers(left), None)
        return f"{reader} reads its state" if reader is not None else None

    def _newcomers(self) -> Iterator[str]:
        # Whether a new stack is an old one under a new name is found out when it is planned for the first time.
        planned = {*GOOD, Outcome.WAITING}
        for name, line in self.ended.items():
            if line.outcome not in planned and self._head(name) is None:
                yield name

    def _readers(self, left: Left) -> Iterator[str]:
        name = left.surveyed.id
        yield from (other for other, item in self.live.items() if reads_state(item, left.surveyed))
        undone = (other for other, line in self.ended.items() if line.outcome not in GOOD)
        yield from (other for other in undone if name in self._read_when_deployed(other))
        yield from (other.surveyed.id for other in self.staying if other.comes_after(left))

    def _read_when_deployed(self, name: str) -> Collection[str]:
        head = self._head(name)
        kept = self.session.store.inputs(name, head.record.fingerprint) if head and head.record.fingerprint else None
        return json.loads(unpack(kept)[0])["after"] if kept is not None else ()

    def _head(self, name: str) -> Deployment | None:
        return self.session.store.known_head(name, self.session.keys)


def _prune_stack(case: _Case, left: Left, options: Options) -> StackSync:
    session, name = case.session, left.surveyed.id
    stack: StackRun | None = None
    try:
        if (why_not := case.why_not(left)) is not None:
            return _left_alone(session, name, why_not)
        stack = StackRun(
            session=left.kept.session,
            surveyed=left.surveyed,
            live=case.live,
            options=options,
            fingerprint=fingerprint_of(left.kept.session, left.surveyed),
            head=left.orphan.head,
            started_on=now(),
            why=("gone from the branch",),
            purpose=Purpose.PRUNE,
        )
        return _destroy(stack, left.orphan.head)
    except Exception as error:
        return ended_by(session, name, stack, error, purpose=Purpose.PRUNE)


def _destroy(stack: StackRun, head: Deployment) -> StackSync:
    # Imported only now: hardly any run prunes.
    from tfops.steps.reconciling import reconcile

    session = stack.session
    if session.caller.stop.is_set():
        raise InterruptedRunError(f"{stack.id}: stopped before it began", code="run.interrupted", hint="run it again")
    if not stack.options.dry_run:
        _ = session.signer  # a missing key is told before anything is planned
    with held(stack) as hold:
        stack.head = stack.session.store.head(stack.id, session.keys)
        if stack.head is None or stack.head.id != head.id:
            raise RefusedError(
                f"{stack.id}: another run deployed or destroyed it at this moment",
                code="prune.outdated",
                hint="look again: tfops sync --prune --dry-run",
                stack=stack.id,
            )
        # Whatever else may go backward: a revision from before a stack was made does not know that it is wanted.
        check_forward(session, stack.id, stack.head, allow_backward=False)
        return reconcile(stack, hold)


def _left_alone(session: Session, name: str, reason: str) -> StackSync:
    session.say(name, f"left alone: {reason}")
    return StackSync(stack=name, outcome=Outcome.SKIPPED, purpose=Purpose.PRUNE, reasons=(reason,))
