"""`tfops audit`: is the log whole, from its first entry to the last one that anybody vouches for?"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, partial

from tfops.attestation import AuditHead, Check, Checked
from tfops.audit import Anchor, AuditEntry, anchor_checks, chain_checks
from tfops.audit_trail import decision_checks, deployment_checks
from tfops.deployment import Deployment
from tfops.steps import audit
from tfops.steps.ballot_box import open_box
from tfops.steps.opening import Session
from tfops.steps.store import approvals_name, sha256
from tfops.steps.trusting import decisions_name
from tfops.trust import RULES_CHANGE


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditLog(Checked):
    """The entries that verify, in their order, and every check that was made of the log."""

    entries: tuple[AuditEntry, ...]

    @property
    def head(self) -> AuditHead | None:
        """The last entry that verifies: the anchor to keep."""
        return self.entries[-1].head if self.entries else None


def audit_log(session: Session, *, anchor: Anchor | None = None) -> AuditLog:
    """The whole log, held against its own chain, against what the store holds now, and against the anchor given."""
    entries, faults = audit.read(session)
    found = tuple(entry for _, entry in sorted(entries.items()) if entry is not None)
    deployments, unreadable = _deployments(session)
    anchors = [*([anchor] if anchor else []), *_anchors(deployments)]
    checks = [
        *faults,
        *chain_checks(entries, store_id=session.store.id),
        *anchor_checks(entries, anchors),
        *unreadable,
        *deployment_checks(found, [one for several in deployments.values() for one in several]),
        *decision_checks(found, cache(partial(_kept, session))),
    ]
    return AuditLog(entries=found, checks=tuple(checks))


def _deployments(session: Session) -> tuple[dict[str, list[Deployment]], list[Check]]:
    found, unreadable = {}, []
    for stack in session.store.stacks():
        found[stack], errors = session.store.deployments(stack, session.keys)
        unreadable += [Check(name=f"deployments of {stack}", ok=False, detail=str(error)) for error in errors]
    return found, unreadable


def _anchors(deployments: Mapping[str, list[Deployment]]) -> list[Anchor]:
    """What deployments vouch for: of each stack the furthest entry is enough, for the chain holds those before it."""
    anchors = []
    for stack, several in deployments.items():
        heads = [(one.record.audit_head, one.id) for one in several if one.record.audit_head is not None]
        if heads:
            head, deployment = max(heads, key=lambda pair: pair[0].seq)
            anchors.append(Anchor(head=head, where=f"deployment {deployment[:12]} of {stack}"))
    return anchors


def _kept(session: Session, stack: str, subject: str) -> frozenset[str]:
    place = decisions_name(subject) if stack == RULES_CHANGE else approvals_name(stack, subject)
    return frozenset(sha256(data) for data in open_box(session.store, place).decisions.values())
