"""The records of what was done: deployments and convergence records, the head they lead to, and claims."""

import json
from collections.abc import Iterable, Mapping
from datetime import datetime
from enum import StrEnum

import msgspec

from tfops.attestation import (
    STATEMENT_TYPE,
    AuditHead,
    Builder,
    Document,
    Moment,
    Purpose,
    Source,
    StateRef,
    Subject,
    decode,
)
from tfops.dsse import Verified
from tfops.errors import VerificationError

RESULT_TYPE = "https://tfops.dev/apply-result/v1"


class Result(StrEnum):
    """How it ended. `converged`: a plan found nothing to do. `interrupted`: a claim whose run died.

    `destroyed`: a stack that is gone from its branch, and of which nothing is left. It may come back as a new one.
    """

    APPLIED = "applied"
    CONVERGED = "converged"
    FAILED = "failed"
    INTERRUPTED = "interrupted"
    ADOPTED = "adopted"
    DESTROYED = "destroyed"


class ResourceResult(Document, frozen=True, kw_only=True):
    """What happened to one resource. `id` is what the provider calls it, where it said so."""

    address: str
    action: str
    ok: bool
    id: str | None = None


class Baseline(Document, frozen=True, kw_only=True):
    """Inputs, by their fingerprint, and their commit; both empty where there were none."""

    fingerprint: str
    commit: str


class ResultPredicate(Document, frozen=True, kw_only=True):
    """One deployment, or one convergence without any."""

    result: Result
    purpose: Purpose
    store_id: str
    stack: str
    environment: str
    workspace: str
    root: str
    plan_id: str | None
    given_plan_id: str | None
    source: Source
    fingerprint: str
    state: StateRef
    """After the apply."""
    state_sha256: str | None
    serial_before: int
    resources: tuple[ResourceResult, ...]
    reason: str
    state_version: str | None = None
    """What the backend calls that content: a shortcut for reading it."""
    missing: tuple[ResourceResult, ...] = ()
    """Creations that were begun and that the state does not have: Terraform was killed, or nobody knows."""
    builder: Builder
    started_on: Moment
    finished_on: Moment
    audit_head: AuditHead | None = None
    """None where the log was empty."""
    approved_plans: tuple[str, ...] = ()
    """The plans whose approvals let it through."""
    approved_by: tuple[str, ...] = ()
    """The people who gave them."""
    overrides: tuple[str, ...] = ()
    """The parts of the gate that they let it pass by."""
    baseline: Baseline | None = None
    """Of a convergence whose inputs too few people approved: those before. Approvals go on from there."""
    formerly: tuple[str, ...] = ()
    """The other environments that ever had this state, as far as their gates are not all the same: they judge too."""


class ResultStatement(
    Document, frozen=True, kw_only=True, rename={"type_": "_type", "predicate_type": "predicateType"}
):
    """The signed document of a deployment or convergence."""

    type_: str = STATEMENT_TYPE
    predicate_type: str = RESULT_TYPE
    subject: tuple[Subject, ...]
    predicate: ResultPredicate


class Deployment(msgspec.Struct, frozen=True, kw_only=True):
    """A verified result statement and its id (sha256 of the signed bytes)."""

    id: str
    runner: str
    subject: tuple[Subject, ...]
    record: ResultPredicate


def leaves_nothing(head: Deployment | None) -> bool:
    """Whether nothing is there of a stack with this head: it was never deployed, or destroyed since."""
    return head is None or head.record.result is Result.DESTROYED


def baseline(head: Deployment | None) -> Baseline:
    """The inputs that nobody has to approve any more: what was applied last, or approved though it changed nothing."""
    if head is None:
        return Baseline(fingerprint="", commit="")
    record = head.record
    return record.baseline or Baseline(fingerprint=record.fingerprint, commit=record.source.commit)


def decode_deployment(verified: Verified, *, what: str, stack: str, store_id: str) -> Deployment:
    """A deployment from a verified payload; refuses one that belongs to another stack or store."""
    statement = decode(verified.payload, ResultStatement, RESULT_TYPE, what=what)
    record = statement.predicate
    if (record.stack, record.store_id) != (stack, store_id):
        raise VerificationError(
            f"{what} of {stack} belongs to {record.stack} in store {record.store_id[:12]}",
            code="verify.foreign_record",
            hint="somebody moved files inside the store; restore it from a backup",
            stack=stack,
        )
    return Deployment(id=verified.id, runner=verified.signer, subject=statement.subject, record=record)


class Claim(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Marks a plan as used, before its apply begins. Written once; never taken back."""

    plan_id: str
    applied_plan_id: str
    run_id: str
    host: str
    pid: int
    claimed_on: datetime


def resource_results(events: bytes) -> tuple[ResourceResult, ...]:
    """What a journal of `terraform apply -json` events says happened, in order; half-written lines are left out."""
    results: dict[tuple[str, str], ResourceResult] = {}
    for event in _events(events):
        outcome = _outcome(event)
        if outcome is not None:
            results[outcome.address, outcome.action] = outcome
    return tuple(results.values())


def _events(journal: bytes) -> Iterable[Mapping[str, object]]:
    for line in journal.splitlines():
        try:
            event = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(event, dict):
            yield event


# apply_start counts as not done: what no later event completes was in flight when Terraform ended.
_DONE = {"apply_start": False, "apply_complete": True, "apply_errored": False}


def _outcome(event: Mapping[str, object]) -> ResourceResult | None:
    kind, hook = event.get("type"), event.get("hook")
    if (
        not isinstance(kind, str)
        or kind not in _DONE
        or not isinstance(hook, dict)
        or not isinstance(hook.get("resource"), dict)
    ):
        return None
    identity = hook.get("id_value")
    return ResourceResult(
        address=str(hook["resource"].get("addr", "")),
        action=str(hook.get("action", "")),
        ok=_DONE[kind],
        id=None if identity is None else str(identity),
    )
