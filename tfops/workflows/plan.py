"""`tfops plan`: plan stacks at a revision, sign and store. Applies nothing, takes no state lock."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from tfops.approval import Override
from tfops.attestation import Purpose
from tfops.changes import has_work
from tfops.conflicts import conflicts
from tfops.coverage import begun, content
from tfops.dangers import Danger
from tfops.deployment import Deployment, leaves_nothing
from tfops.drift import Context, Drift, Tag, classify
from tfops.errors import Exit, FailedError, Problem, TfopsError, most_serious
from tfops.fingerprint import Fingerprint
from tfops.gate import decide
from tfops.report.review import Standing
from tfops.steps.errored import refuse_errored
from tfops.steps.feedback import Ended, tell_proposed
from tfops.steps.inputs_archive import archive
from tfops.steps.opening import Session, now
from tfops.steps.outlook import IDLE
from tfops.steps.planning import Artifact, Planned, idle_plan, make_plan, sign_plan
from tfops.steps.policies import findings
from tfops.steps.schedule import Schedule, Tick
from tfops.steps.selection import select
from tfops.steps.state import Snapshot, check_integrity
from tfops.steps.store import STATEMENT
from tfops.steps.survey import fingerprint_of, look, survey
from tfops.steps.surveyed import Surveyed
from tfops.steps.trusting import establish, gate_for
from tfops.steps.unapproved import suspicion_of_a_look
from tfops.steps.untrusted import Suspicion, check_code, check_downloaded, of_a_change, withheld
from tfops.steps.workplace import Workplace, current_state, initialise, make_workspace, workplace
from tfops.unread import begins_to_read

if TYPE_CHECKING:
    from securesystemslib.signer import Signer

LOCK_WAIT_SECONDS = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class StackPlan:
    """One stack's line of the result. Without a plan id there is nothing to do or to approve, or it failed."""

    stack: str
    verdict: str
    tags: tuple[str, ...] = ()
    plan_id: str | None = None
    change_digest: str | None = None
    summary: Mapping[str, int] = field(default_factory=dict)
    dangers: tuple[Danger, ...] = ()
    artifact: str | None = None
    reasons: tuple[str, ...] = ()
    terraform_runs: int = 0
    problems: tuple[Problem, ...] = ()
    exit_code: Exit = Exit.OK


@dataclass(frozen=True, slots=True, kw_only=True)
class Plans:
    """The result of `tfops plan`."""

    revision: str
    stacks: tuple[StackPlan, ...]

    @property
    def exit_code(self) -> Exit:
        """2 where changes are pending."""
        return most_serious(stack.exit_code for stack in self.stacks)


@dataclass(frozen=True, slots=True, kw_only=True)
class Aim:
    """What the plans are for. `branch` and `base` are what there is without the change, where they are for its review.

    With `trust_code` somebody has read the code, and lets it run while it is planned.
    """

    purpose: Purpose = Purpose.SYNC
    branch: Session | None = None
    base: Mapping[str, tuple[Session, Surveyed]] = field(default_factory=dict)
    trust_code: bool = False

    @property
    def workplace(self) -> str:
        """Where it is planned: what a change leaves behind there is not in the way of the branch's own plans."""
        return "review" if self.branch else "plan"

    def suspicion(self, session: Session, surveyed: Surveyed) -> Suspicion | None:
        """What the stack is suspected of before anything of it runs; None where there is nothing."""
        if self.branch is not None:
            return of_a_change(self.branch, session, surveyed, is_trusted=self.trust_code)
        made_of, head = fingerprint_of(session, surveyed), session.store.known_head(surveyed.id, session.keys)
        return suspicion_of_a_look(session, surveyed, made_of, head, trust_code=self.trust_code)

    def signer(self, session: Session) -> "Signer":
        """Our signing key, if it may sign such plans."""
        return session.review_signer if self.purpose is Purpose.SPECULATIVE else session.signer

    def unshown(self, session: Session, surveyed: Surveyed) -> tuple[str, ...]:
        """What the change makes a part of the stack and does not touch, in words: no difference shows it."""
        if self.branch is None:
            return ()
        known = self.fingerprint(surveyed.id)
        made = content((), before=known.manifest if known else None, now=fingerprint_of(session, surveyed).manifest)
        return begins_to_read(begun(made, self.branch.tree.entries), hidden="this change does not touch")

    def fingerprint(self, stack: str) -> Fingerprint | None:
        """The inputs of the stack that the branch has without the change."""
        found = self.base.get(stack)
        return fingerprint_of(*found) if found else None


SYNC = Aim()


def review(
    branch: Session,
    merged: Session,
    names: tuple[str, ...],
    *,
    out: Path | None,
    jobs: int,
    tick: Tick,
    change: int | None = None,
    trust_code: bool = False,
) -> Plans:
    """Plan what merging would change: the stacks whose inputs differ from those of the branch, or the named ones.

    Where the rules in force name a forge, the change is told; `change` is its number, as far as somebody said so.
    Without `trust_code`, a stack whose code would run anything while it is planned is refused.
    """
    establish(branch)
    merged.forget_rules()
    base = {name: (branch, item) for name, item in look(branch).found.items()}
    aim = Aim(purpose=Purpose.SPECULATIVE, branch=branch, base=base, trust_code=trust_code)
    everything = survey(merged)
    affected = [
        name
        for name, item in select(everything, names).items()
        if (known := aim.fingerprint(name)) is None or known.digest != fingerprint_of(merged, item).digest
    ]
    plans = Plans(revision=str(merged.revision), stacks=())
    if affected:
        plans = plan(merged, tuple(affected), out=out, jobs=jobs, tick=tick, aim=aim)
    ended = {stack.stack: _ended(stack) for stack in plans.stacks if stack.plan_id is None}
    tell_proposed(merged, everything, merged.revision.commit, number=change, ended=ended)
    return plans


def _ended(stack: StackPlan) -> Ended:
    if not stack.problems:
        return Ended(standing=Standing.NOTHING)
    return Ended(standing=Standing.FAILED, error="\n".join(problem.message for problem in stack.problems))


def plan(
    session: Session, names: tuple[str, ...], *, out: Path | None, jobs: int, tick: Tick, aim: Aim = SYNC
) -> Plans:
    """Plan the named stacks (or all) side by side; each artifact also goes to `out`/<stack>, when given."""
    everything = survey(session)
    chosen = select(everything, names)
    _ = session.store, aim.signer(session)  # refuse before anything runs
    establish(session)
    schedule: Schedule[StackPlan] = Schedule(
        dict.fromkeys(chosen, ()),
        work=lambda name: _plan_stack(session, chosen[name], out, aim),
        skip=lambda name, blocker: StackPlan(stack=name, verdict="unknown"),
        is_good=lambda stack: True,
    )
    done = schedule.run(jobs, tick=tick)
    return Plans(revision=str(session.revision), stacks=tuple(done[name] for name in chosen))


def _plan_stack(session: Session, surveyed: Surveyed, out: Path | None, aim: Aim) -> StackPlan:
    try:
        suspected = aim.suspicion(session, surveyed)
        flagged = check_code(session, surveyed, suspected)
        with workplace(session, surveyed, purpose=aim.workplace, withheld=withheld(suspected)) as work:
            _wait_for_applies(session, surveyed)
            initialise(session, work)
            flagged += check_downloaded(session, work, suspected)
            planned = _planned(session, surveyed, work, out, aim)
            return replace(planned, reasons=(*planned.reasons, *aim.unshown(session, surveyed), *flagged))
    except TfopsError as error:
        session.say(surveyed.id, f"failed [{error.problems[0].code}]")
        return StackPlan(
            stack=surveyed.id,
            verdict="error",
            reasons=(str(error),),
            problems=tuple(replace(problem, stack=surveyed.id) for problem in error.problems),
            exit_code=error.exit_code,
        )


def _planned(
    session: Session,
    surveyed: Surveyed,
    work: Workplace,
    out: Path | None,
    aim: Aim,
) -> StackPlan:
    fingerprint = fingerprint_of(session, surveyed)
    refuse_errored(session, surveyed.id)
    head = session.store.head(surveyed.id, session.keys)
    if leaves_nothing(head):
        make_workspace(session, work)
    state = current_state(session, work)
    check_integrity(surveyed.id, head.record if head else None, state, address=str(surveyed.address))
    planned = make_plan(session, work, state, lock=False)
    _refuse_torn(session, work, state)
    if planned is None and _asks_people(session, surveyed, state, aim):
        planned = idle_plan(session, work, state)
    if planned is None:
        session.say(surveyed.id, "nothing to do")
        return StackPlan(stack=surveyed.id, verdict="in_sync", terraform_runs=work.terraform.runs)
    base = _keep_inputs(session, surveyed, fingerprint, aim)
    artifact = sign_plan(session, surveyed, planned, fingerprint, aim.purpose, base_fingerprint=base)
    session.store.put_plan(surveyed.id, artifact.id, artifact.files, artifact.envelope)
    if aim.purpose is Purpose.SPECULATIVE:
        session.store.note_review(surveyed.id, session.revision.commit, artifact.id)
    place = write_artifact(artifact, out / surveyed.id) if out else None
    drift = classify(planned.plan, planned.wires, _context(head, fingerprint, planned))
    return _line(session, surveyed, work, planned, artifact, place, drift)


def _asks_people(session: Session, surveyed: Surveyed, state: Snapshot, aim: Aim) -> bool:
    """Whether people have to approve what the stack is made of, also where it changes nothing yet.

    Else the next change would wait for approvals of this one, which has no plan that anybody could approve.
    """
    return aim.purpose is Purpose.SPECULATIVE and gate_for(session, surveyed, lineage=state.lineage).is_guarded


def _keep_inputs(session: Session, surveyed: Surveyed, fingerprint: Fingerprint, aim: Aim) -> str | None:
    """Of a plan for review both sides are kept: what it changes of them is what its approval covers."""
    if aim.purpose is not Purpose.SPECULATIVE:
        return None
    session.store.keep_inputs(surveyed.id, fingerprint.digest, archive(session, surveyed, fingerprint))
    found, known = aim.base.get(surveyed.id), aim.fingerprint(surveyed.id)
    if found is None or known is None:
        return None
    session.store.keep_inputs(surveyed.id, known.digest, archive(*found, known))
    return known.digest


def _context(head: Deployment | None, fingerprint: Fingerprint, planned: Planned) -> Context:
    """One plan alone: what moved outside while the code changed as well is told apart by `tfops drift`."""
    if head is None:
        return Context(inputs_changed=True)
    record = head.record
    return Context(
        inputs_changed=record.fingerprint != fingerprint.digest,
        serial=planned.state.serial,
        last_serial=record.state.serial,
        lineage=planned.state.lineage,
        last_lineage=record.state.lineage,
    )


def _wait_for_applies(session: Session, surveyed: Surveyed) -> None:
    # Not held while planning: a plan keeps nobody waiting. But while an apply writes a state, it may look empty.
    session.place.wait_for_applies(session.wanted(surveyed.stack, "plan", wait_seconds=LOCK_WAIT_SECONDS))


def _refuse_torn(session: Session, work: Workplace, before: Snapshot) -> None:
    # Planned without the state lock, so that nobody has to wait: then the state must have stood still meanwhile.
    if current_state(session, work) != before:
        raise FailedError(
            f"{work.surveyed.id}: its state changed while it was planned",
            code="state.torn",
            hint=f"an apply was under way; run again: tfops plan {work.surveyed.id}",
            stack=work.surveyed.id,
        )


def _line(
    session: Session,
    surveyed: Surveyed,
    work: Workplace,
    planned: Planned,
    artifact: Artifact,
    place: Path | None,
    drift: Drift,
) -> StackPlan:
    gate = gate_for(session, surveyed, lineage=planned.state.lineage)
    decision = decide(
        environment=surveyed.stack.environment,
        gate=gate,
        plan=planned.plan,
        now=now(),
        findings={
            **findings(session, surveyed, gate, planned.redacted),
            Override.DRIFT: conflicts(planned.plan, stack=surveyed.id),
        },
    )
    is_idle = not has_work(planned.plan)
    session.say(surveyed.id, f"plan {artifact.id[:12]}")
    return StackPlan(
        stack=surveyed.id,
        verdict=Tag.IN_SYNC.value if is_idle else drift.verdict.value,
        tags=tuple(tag.value for tag in drift.tags),
        plan_id=artifact.id,
        change_digest=planned.change_set.digest,
        summary=planned.summary.as_json(),
        dangers=planned.dangers,
        artifact=str(place) if place else artifact.id,
        reasons=(IDLE, *decision.reasons) if is_idle else decision.reasons,
        terraform_runs=work.terraform.runs,
        exit_code=Exit.OK if is_idle else Exit.CHANGES,
    )


def write_artifact(artifact: Artifact, directory: Path) -> Path:
    """Write an artifact's files into a directory of its own, private, and kept out of Git."""
    try:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        (directory / ".gitignore").write_text("# plan files hold secrets\n*\n")
        for name, data in (*artifact.files.items(), (STATEMENT, artifact.envelope)):
            file = directory / name
            file.unlink(missing_ok=True)
            file.touch(mode=0o600)
            file.write_bytes(data)
    except OSError as error:
        raise FailedError(
            f"cannot write the artifact to {directory}: {error.strerror}",
            code="plan.out",
            hint="the plan is stored all the same; name another --out directory",
        ) from error
    return directory
