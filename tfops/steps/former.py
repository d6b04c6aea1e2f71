"""Whose state a stack lays claim to: the environments that had it before, and stacks of which the store lost track."""

from collections.abc import Iterator

import msgspec

from tfops.audit import Anchor, anchor_checks, chain_checks
from tfops.audit_trail import leaves_a_head
from tfops.deployment import Deployment, ResultPredicate
from tfops.errors import VerificationError
from tfops.steps import audit
from tfops.steps.opening import Session
from tfops.steps.surveyed import Surveyed
from tfops.trust import gate_in

NOBODY_KNOWS = ""
"""The environment of a record that no trusted key vouches for: none is called so, and so every gate counts."""


def are_alike(session: Session, surveyed: Surveyed) -> bool:
    """Whether it makes no difference who had the stack's state: every environment in force asks what this one does."""
    rules, asked = session.rules.config, gate_in(surveyed.stack)
    return not rules.policies and all(gate_in(one) == asked for one in rules.environments)


def former_environments(session: Session, surveyed: Surveyed, lineage: str | None) -> tuple[str, ...]:
    """The environments that ever had this stack's state, by its address or by its `lineage`, where that is known.

    One place has many addresses: a link, another spelling of an endpoint. A state has one lineage, wherever it is.
    That the stack itself was the last to have it takes nothing away from the others: they may have it still.
    """
    address = str(surveyed.address)
    return tuple(
        dict.fromkeys(
            environment
            for record in _last_records(session)
            if record.state.address == address or (lineage is not None and record.state.lineage == lineage)
            for environment in (record.environment, *record.formerly)
        )
    )


def formerly(session: Session, surveyed: Surveyed, lineage: str | None) -> tuple[str, ...]:
    """What a record says of whose state it was before, so that this outlasts the heads of the others."""
    if are_alike(session, surveyed):
        return ()
    own = {surveyed.stack.environment, NOBODY_KNOWS}
    return tuple(name for name in former_environments(session, surveyed, lineage) if name not in own)


def _last_records(session: Session) -> Iterator[ResultPredicate]:
    """Of each stack its head; of one that never had any, for its first apply failed, that.

    A head may be signed with the key of a runner that is gone: it holds no other stack up.
    """
    for name in session.store.stacks():
        try:
            head = session.store.known_head(name, session.keys)
        except VerificationError:
            yield msgspec.structs.replace(session.store.unverified_head(name), environment=NOBODY_KNOWS)
            continue
        if head is not None:
            yield head.record
        else:
            yield from (last.record for last in session.store.deployments(name, session.keys)[0][-1:])


def refuse_lost(session: Session, surveyed: Surveyed) -> None:
    """Raises VerificationError where the store has lost track of a stack, so that nobody can tell whose a state is.

    `store.head_missing`: the audit log says that a stack was deployed, and its head or its entry in the index is gone.
    `audit.broken`: something is gone from the log itself. It is read whole, so ask only where a stack that was never
    deployed finds a state that holds something.
    """
    names = set(session.store.stacks())
    heads = {name: session.store.known_head(name, session.keys) for name in names}
    lost = sorted(name for name in _deployed(session, [head for head in heads.values() if head]) if not heads.get(name))
    if lost:
        raise VerificationError(
            f"{surveyed.id} was never deployed, and finds a state at {surveyed.address} that may be another stack's: "
            f"{', '.join(lost[:3])}{' …' if lost[3:] else ''} was deployed, but its head is gone from the store, "
            "or its entry in stacks/",
            code="store.head_missing",
            hint=f"restore the store, and find out who could write to it; if the state of {lost[0]} is right as it is: "
            f'tfops recover {lost[0]} --adopt-state --reason "…"',
            stack=surveyed.id,
        )


def _deployed(session: Session, heads: list[Deployment]) -> frozenset[str]:
    entries = audit.read_unverified(session)
    vouched = (head.record.audit_head for head in heads)
    anchors = [Anchor(head=head, where="a head") for head in vouched if head is not None]
    faults = [*chain_checks(entries, store_id=session.store.id), *anchor_checks(entries, anchors)]
    fault = next((check for check in faults if not check.ok), None)
    if fault is not None or None in entries.values():
        detail = f"{fault.name}: {fault.detail}" if fault else "an entry cannot be read"
        raise VerificationError(
            f"the audit log cannot tell which stacks were deployed: {detail}",
            code="audit.broken",
            hint="look at it: tfops audit verify; restore the store, and find out who could write to it",
        )
    return frozenset(entry.record.stack for entry in entries.values() if entry and leaves_a_head(entry))
