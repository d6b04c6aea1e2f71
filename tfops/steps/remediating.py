"""Bringing a drifted stack back to what was applied last, as far as the rules allow: the road of sync, at its head."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from tfops.attestation import Purpose
from tfops.drift import UNDEPLOYED, Tag
from tfops.drift_rules import DriftRules, may_remediate
from tfops.errors import Exit, RefusedError, TfopsError, most_serious
from tfops.gate import decide
from tfops.notification import Event, Kind
from tfops.steps.finding import keep, remedied
from tfops.steps.held import held
from tfops.steps.opening import Session, now
from tfops.steps.outcome import Options, Outcome, StackRun, StackSync
from tfops.steps.planning import Planned
from tfops.steps.policies import findings
from tfops.steps.scan_line import Remediation, StackDrift
from tfops.steps.scanning import Base, Scanned, Target
from tfops.steps.trusting import gate_for

_ABSORBED = frozenset({Tag.ABSORBED_BY_CODE, Tag.PARTLY_ABSORBED})


def bring_back(session: Session, target: Target, line: StackDrift, scanned: Scanned, rules: DriftRules) -> StackDrift:
    """The line of a stack that was brought back, if there is anything to, the rules allow it and the gate is open."""
    if scanned.base is None or line.planned is None:
        return line
    ruling = _rule_on(session, scanned, line.planned, rules, line.suppressed)
    if ruling.refused:
        done = Remediation(outcome="refused", reasons=ruling.refused)
        news = (_event(line, Kind.REMEDIATION_REFUSED, done),) if line.events else ()
        return replace(line, remediation=done, events=(*line.events, *news))
    if ruling.waiting:
        done = Remediation(outcome=Outcome.WAITING.value, reasons=ruling.waiting, plan_id=line.plan_id)
        return replace(line, remediation=done, exit_code=Exit.REFUSED)
    try:
        synced = _remediate(scanned.base, line.planned)
    except TfopsError as error:
        done = Remediation(outcome=Outcome.FAILED.value, reasons=(str(error),))
        exit_code = most_serious((line.exit_code, error.exit_code))
        return replace(line, remediation=done, exit_code=exit_code).with_problems(error)
    return _ended(session, target, line, synced)


def _ended(session: Session, target: Target, line: StackDrift, synced: StackSync) -> StackDrift:
    done = Remediation(
        outcome=synced.outcome.value, reasons=synced.reasons, deployment=synced.deployment, plan_id=synced.plan_id
    )
    line = replace(
        line,
        remediation=done,
        exit_code=synced.exit_code,
        problems=(*line.problems, *synced.problems),
        terraform_runs=line.terraform_runs + synced.terraform_runs,
    )
    if synced.outcome not in (Outcome.APPLIED, Outcome.CONVERGED):
        return line
    kept = keep(session, remedied(target, line.drift, on=now(), known=line.record))
    line = replace(line.with_kept(kept), exit_code=Exit.CHANGES if kept.record.tags else Exit.OK)
    return replace(line, events=(*line.events, _event(line, Kind.REMEDIATION_APPLIED, done)))


def _event(line: StackDrift, kind: Kind, done: Remediation) -> Event:
    return Event(
        kind=kind,
        stack=line.stack,
        environment=line.environment,
        verdict=line.verdict,
        on=line.scanned_on,
        occurrence=done.plan_id or line.change_digest or "",
        tags=line.tags,
        cause="; ".join(done.reasons),
        plan_id=done.plan_id or line.plan_id,
    )


@dataclass(frozen=True, kw_only=True)
class _Ruling:
    """Whether a stack may be remediated by itself now; when not, every reason why."""

    refused: tuple[str, ...] = ()
    waiting: tuple[str, ...] = ()


def _rule_on(
    session: Session, scanned: Scanned, planned: Planned, rules: DriftRules, suppressed: Mapping[str, str]
) -> _Ruling:
    """The rules of `drift {}` and, beside them, the gate: neither replaces the other."""
    assert scanned.base is not None  # noqa: S101
    tags = {tag.value for tag in (*scanned.applied.tags, *scanned.drift.tags) if tag not in UNDEPLOYED}
    actions = {entry.action.value for entry in planned.plan.resource_changes}
    refused = may_remediate(tags, actions, rules.remediate)
    touched = {entry.address for entry in planned.change_set.entries}
    refused += tuple(
        f'it would also change {address}, which drift ignore "{name}" leaves alone: remediate by hand'
        for address, name in suppressed.items()
        if address in touched
    )
    refused += tuple(_of_the_head(scanned, touched))
    surveyed = scanned.base.surveyed
    gate = gate_for(session, surveyed, lineage=planned.state.lineage)
    decision = decide(
        environment=surveyed.stack.environment,
        gate=gate,
        plan=planned.plan,
        now=now(),
        findings=findings(session, surveyed, gate, planned.redacted),
    )
    return _Ruling(refused=refused, waiting=decision.reasons)


def _of_the_head(scanned: Scanned, touched: set[str]) -> Iterator[str]:
    """What the branch's head took over, or may have, is not undone: its commit is the answer to that drift."""
    if scanned.pending is None:
        return
    if scanned.pending.problem is not None:
        yield "the branch's head cannot be planned, so nobody knows what of it a commit took over: correct that first"
        return
    wanted = {entry.address for entry in scanned.judged.change_set.entries} if scanned.judged else set()
    absorbed = {item.address for item in scanned.drift.resources if _ABSORBED & set(item.tags)}
    for address in sorted(touched & absorbed | touched - wanted):
        yield f"it would undo {address}, which a commit that is not applied yet takes over: tfops sync applies that"


def _remediate(base: Base, planned: Planned) -> StackSync:
    """Apply what was judged, or nothing: plan again under the lock, compare, sign, claim, apply, record.

    Raises what keeps it from that.
    """
    from tfops.steps.reconciling import reconcile

    stack = StackRun(
        session=base.session,
        surveyed=base.surveyed,
        live={base.surveyed.id: base.surveyed},
        options=Options(),
        fingerprint=base.fingerprint,
        head=base.head,
        started_on=now(),
        purpose=Purpose.REMEDIATION,
        judged=planned.change_set,
    )
    with held(stack) as hold:
        stack.head = base.session.store.head(stack.id, base.session.keys)
        _refuse_moved(stack, base)
        return reconcile(stack, hold)


def _refuse_moved(stack: StackRun, base: Base) -> None:
    if stack.head is None or stack.head.id != base.head.id:
        raise RefusedError(
            f"{stack.id}: another run deployed it since it was scanned",
            code="drift.outdated",
            hint="scan it again",
            stack=stack.id,
        )
