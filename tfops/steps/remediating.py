"""Bringing a drifted stack back to what was applied last, as far as the rules allow: the road of sync, at its head."""

from collections.abc import Mapping
from dataclasses import dataclass

from tfops.attestation import Purpose
from tfops.drift import UNDEPLOYED
from tfops.drift_rules import DriftRules, may_remediate
from tfops.errors import RefusedError, TfopsError
from tfops.gate import decide
from tfops.steps.held import held
from tfops.steps.opening import now
from tfops.steps.outcome import Options, StackRun, StackSync
from tfops.steps.planning import Planned
from tfops.steps.scanning import Base, Scanned


@dataclass(frozen=True, kw_only=True)
class Ruling:
    """Whether a stack may be remediated by itself now; when not, every reason why."""

    refused: tuple[str, ...] = ()
    waiting: tuple[str, ...] = ()


def rule_on(scanned: Scanned, planned: Planned, rules: DriftRules, suppressed: Mapping[str, str]) -> Ruling:
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
    stack = scanned.base.surveyed.stack
    return Ruling(refused=refused, waiting=decide(environment=stack.environment, approval=stack.approval).reasons)


def remediate(base: Base, planned: Planned, options: Options) -> StackSync:
    """Apply what was judged, or nothing: plan again under the lock, compare, sign, claim, apply, record.

    Raises what keeps it from that.
    """
    from tfops.steps.reconciling import reconcile

    stack = StackRun(
        session=base.session,
        surveyed=base.surveyed,
        live={base.surveyed.id: base.surveyed},
        options=options,
        fingerprint=base.fingerprint,
        head=base.head,
        started_on=now(),
        purpose=Purpose.REMEDIATION,
        judged=planned.change_set,
    )
    with held(stack) as hold:
        try:
            stack.head = base.session.store.head(stack.id, base.session.keys)
            _refuse_moved(stack, base)
            return reconcile(stack, hold)
        except TfopsError as error:
            why = hold.why_lost()
            if why is None or isinstance(error, type(why)):
                raise
            raise why from error


def _refuse_moved(stack: StackRun, base: Base) -> None:
    if stack.head is None or stack.head.id != base.head.id:
        raise RefusedError(
            f"{stack.id}: another run deployed it since it was scanned",
            code="drift.outdated",
            hint="scan it again",
            stack=stack.id,
        )
