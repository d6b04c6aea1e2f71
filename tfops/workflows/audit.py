"""`tfops audit`: is the log whole, from its first entry to the last one that anybody vouches for?"""

from dataclasses import dataclass

from tfops.attestation import AuditHead, Check, Checked
from tfops.audit import Anchor, AuditEntry, anchor_checks, chain_checks
from tfops.steps import audit
from tfops.steps.opening import Session


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditLog(Checked):
    """The entries that verify, in their order, and every check that was made of the log."""

    entries: tuple[AuditEntry, ...]

    @property
    def head(self) -> AuditHead | None:
        """The last entry that verifies: the anchor to keep."""
        return self.entries[-1].head if self.entries else None


def audit_log(session: Session, *, anchor: Anchor | None = None) -> AuditLog:
    """The whole log, held against its own chain, against every deployment's anchor, and against the one given."""
    entries, faults = audit.read(session)
    anchors, unreadable = _anchors(session)
    given = [anchor] if anchor else []
    chain = chain_checks(entries, store_id=session.store.id)
    checks = [*faults, *chain, *anchor_checks(entries, [*given, *anchors]), *unreadable]
    found = tuple(entry for _, entry in sorted(entries.items()) if entry is not None)
    return AuditLog(entries=found, checks=tuple(checks))


def _anchors(session: Session) -> tuple[list[Anchor], list[Check]]:
    """What deployments vouch for: of each stack the furthest entry is enough, for the chain holds those before it."""
    anchors, unreadable = [], []
    for stack in session.store.stacks():
        deployments, errors = session.store.deployments(stack, session.keys)
        unreadable += [Check(name=f"deployments of {stack}", ok=False, detail=str(error)) for error in errors]
        heads = [(one.record.audit_head, one.id) for one in deployments if one.record.audit_head is not None]
        if heads:
            head, deployment = max(heads, key=lambda pair: pair[0].seq)
            anchors.append(Anchor(head=head, where=f"deployment {deployment[:12]} of {stack}"))
    return anchors, unreadable
