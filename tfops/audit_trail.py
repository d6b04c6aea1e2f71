"""Does the store still hold what the audit log says it held, and does the log hold what the store shows?"""

from collections.abc import Callable, Collection, Iterable, Sequence

from tfops.attestation import Check
from tfops.audit import AuditEntry, Event
from tfops.deployment import Deployment, Result

Kept = Callable[[str, str], Collection[str]]
"""The sha256 of every decision that lies in the store about a plan, or a change of the rules, of a stack."""


def leaves_a_head(entry: AuditEntry) -> bool:
    """Whether what happened left a head to its stack, which no stack ever loses again."""
    event, ended = entry.record.event, entry.record.details.get("result")
    return event is Event.ADOPT_STATE or (event is Event.APPLY and ended in (Result.APPLIED, Result.DESTROYED))


def deployment_checks(entries: Sequence[AuditEntry], deployments: Sequence[Deployment]) -> list[Check]:
    """What is wrong between the log and the deployments of all stacks.

    Each apply of the log is there as a deployment. Each deployment that was made after the first claim of the log
    (older versions entered none) has its own claim and its apply there.
    """
    there = {one.id for one in deployments}
    claimed = {(one.record.stack, one.record.details.get("plan_id")) for one in _of(entries, Event.CLAIM)}
    applied = {one.record.details.get("deployment") for one in _of(entries, Event.APPLY)}
    first = min((one.record.seq for one in _of(entries, Event.CLAIM)), default=None)
    missing = [
        _failed(entry, f"deployment {_short(entry, 'deployment')} of {entry.record.stack} is gone: somebody removed it")
        for entry in _of(entries, Event.APPLY)
        if entry.record.details.get("deployment") not in there
    ]
    return [*missing, *_unlogged((one for one in deployments if _is_after(one, first)), claimed, applied)]


def _unlogged(
    deployments: Iterable[Deployment], claimed: Collection[tuple[str, str | None]], applied: Collection[str | None]
) -> Iterable[Check]:
    for one in deployments:
        name = f"deployment {one.id[:12]} of {one.record.stack}"
        # What an older version had begun was recorded as interrupted by this one, and nobody entered its claim.
        if one.record.result is not Result.INTERRUPTED and (one.record.stack, one.record.plan_id) not in claimed:
            yield Check(name=name, ok=False, detail="its claim is not in the log")
        if one.id not in applied:
            yield Check(name=name, ok=False, detail="its apply is not in the log")


def _is_after(deployment: Deployment, first: int | None) -> bool:
    record = deployment.record
    is_apply = record.plan_id is not None and record.result is not Result.ADOPTED
    return is_apply and first is not None and record.audit_head is not None and record.audit_head.seq >= first


def decision_checks(entries: Sequence[AuditEntry], kept: Kept) -> list[Check]:
    """Each decision of the log is still there, byte for byte."""
    return [
        _failed(entry, f"{_saying(entry)} is gone, or changed: somebody removed it")
        for entry in _of(entries, Event.DECISION)
        if entry.record.details.get("sha256") not in kept(entry.record.stack, entry.record.details.get("plan_id", ""))
    ]


def _saying(entry: AuditEntry) -> str:
    said = entry.record.details
    return (
        f"what {said.get('person')} said of {_short(entry, 'plan_id')} of {entry.record.stack} ({said.get('decision')})"
    )


def _of(entries: Sequence[AuditEntry], event: Event) -> list[AuditEntry]:
    return [entry for entry in entries if entry.record.event is event]


def _short(entry: AuditEntry, name: str) -> str:
    return entry.record.details.get(name, "")[:12]


def _failed(entry: AuditEntry, detail: str) -> Check:
    return Check(name=f"entry {entry.record.seq}", ok=False, detail=detail)
