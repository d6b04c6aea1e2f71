"""Drift over time: what one scan sees becomes one open incident an address, until a later scan says how it ended."""

import difflib
import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal

import msgspec

from tfops.errors import UsageError

STACK_ITSELF = ""
"""The address of what is wrong with the stack as a whole: its state, its scan."""

EVIDENCE_KEPT = 5
LONGEST_ACKNOWLEDGEMENT = timedelta(days=366)

Moment = Annotated[datetime, msgspec.Meta(tz=True)]
ClosedAs = Literal["reverted", "absorbed_by_code", "accepted", "expired"]


class Acknowledgement(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Somebody knows of it, says why it may stay, and until when."""

    reason: str
    by: str
    on: Moment
    until: Moment


class Incident(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One address that left the code, from its first sighting to its end."""

    id: str
    address: str
    """A resource's address, or `STACK_ITSELF`."""
    tags: tuple[str, ...]
    """Every tag it was seen with while open, the newest sighting's first: one that comes and goes is new only once."""
    cause: str
    first_seen: Moment
    last_seen: Moment
    times_seen: int
    evidence: tuple[str, ...] = ()
    """Ids of plans that show it: the first one and the newest, newest last."""
    acknowledged: Acknowledgement | None = None
    closed_on: Moment | None = None
    closed_as: ClosedAs | None = None
    closed_by: str | None = None
    """The commit, the rule or the person behind it, where one is known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sighting:
    """One address that is drifted in one scan, why, and the plan that shows it."""

    address: str
    tags: tuple[str, ...]
    cause: str
    evidence: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Scan:
    """What one scan of a stack saw, and what explains the things it no longer sees."""

    stack: str
    on: datetime
    sightings: tuple[Sighting, ...]
    can_close: bool
    """False where not seeing something proves nothing: the scan is unknown, errored or incomplete."""
    absorbed: Mapping[str, str] = field(default_factory=dict)
    """Addresses whose drift the code took over → the commit."""
    accepted: Mapping[str, str] = field(default_factory=dict)
    """Addresses whose drift somebody allowed → who, or which rule: an ignore, `ignore_changes`, an adopted state."""
    known_addresses: frozenset[str] = frozenset()
    """All addresses of the plan; any other one is neither in the code nor in the state."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tracked:
    """The incidents after a scan, and what of it is news. One of `open` is in at most one of the three that alert."""

    open: tuple[Incident, ...]
    """All that are open now, by address."""
    opened: tuple[Incident, ...] = ()
    """Alert: seen for the first time."""
    closed: tuple[Incident, ...] = ()
    worsened: tuple[Incident, ...] = ()
    """Alert, acknowledged or not: seen with a tag that it never had."""
    reminded: tuple[Incident, ...] = ()
    """Alert: seen again after its acknowledgement ran out, and no longer acknowledged."""


def track(open_incidents: Iterable[Incident], scan: Scan) -> Tracked:
    """The incidents after `scan`; `open_incidents` is what an earlier call, or `acknowledge`, left open.

    Each of them is open or closed afterwards. A scan that cannot close leaves what it does not see as it is.
    """
    before = tuple(open_incidents)
    sightings = _by_address(scan.sightings)
    seen = {one.id: _seen(one, sightings[one.address], scan.on) for one in before if one.address in sightings}
    unseen = [one for one in before if one.address not in sightings]
    known = {one.address for one in before}
    opened = tuple(_opened(sighting, scan) for address, sighting in sightings.items() if address not in known)
    worsened = tuple(seen[one.id] for one in before if one.id in seen and set(seen[one.id].tags) > set(one.tags))
    reminded = (seen[one.id] for one in before if one.id in seen and one.acknowledged and not seen[one.id].acknowledged)
    still_open = (*seen.values(), *opened, *(() if scan.can_close else unseen))
    return Tracked(
        open=tuple(sorted(still_open, key=lambda one: (one.address, one.first_seen))),
        opened=opened,
        closed=tuple(_closed(one, scan) for one in unseen) if scan.can_close else (),
        worsened=worsened,
        reminded=tuple(one for one in reminded if one not in worsened),
    )


def acknowledge(
    open_incidents: Iterable[Incident], address: str, acknowledgement: Acknowledgement, *, stack: str
) -> tuple[Incident, ...]:
    """All incidents, that of `address` acknowledged; the name of the stack means the incident of the stack itself.

    Raises UsageError: usage.unknown_incident, or usage.acknowledgement for one that says too little or lasts too long.
    """
    incidents = tuple(open_incidents)
    _check(acknowledgement, stack)
    addresses = {one.address for one in incidents}
    wanted = STACK_ITSELF if address == stack and address not in addresses else address
    if wanted not in addresses:
        raise _unknown(address, addresses, stack)
    return tuple(
        msgspec.structs.replace(one, acknowledged=acknowledgement) if one.address == wanted else one
        for one in incidents
    )


def _by_address(sightings: Iterable[Sighting]) -> dict[str, Sighting]:
    """One sighting an address: what is said about it twice is put together."""
    found: dict[str, Sighting] = {}
    for sighting in sightings:
        other = found.get(sighting.address)
        found[sighting.address] = sighting if other is None else _together(other, sighting)
    return found


def _together(one: Sighting, other: Sighting) -> Sighting:
    return Sighting(
        address=one.address,
        tags=_union(one.tags, other.tags),
        cause=one.cause or other.cause,
        evidence=one.evidence or other.evidence,
    )


def _opened(sighting: Sighting, scan: Scan) -> Incident:
    return Incident(
        id=_id(scan.stack, sighting.address, scan.on),
        address=sighting.address,
        tags=_union(sighting.tags),
        cause=sighting.cause,
        first_seen=scan.on,
        last_seen=scan.on,
        times_seen=1,
        evidence=_evidence((), sighting.evidence),
    )


def _seen(incident: Incident, sighting: Sighting, on: datetime) -> Incident:
    acknowledged = incident.acknowledged
    return msgspec.structs.replace(
        incident,
        tags=_union(sighting.tags, incident.tags),
        cause=sighting.cause or incident.cause,
        last_seen=max(incident.last_seen, on),  # a clock may go backwards
        times_seen=incident.times_seen + 1,
        evidence=_evidence(incident.evidence, sighting.evidence),
        acknowledged=acknowledged if acknowledged and on < acknowledged.until else None,
    )


def _closed(incident: Incident, scan: Scan) -> Incident:
    how, by = _ending(incident.address, scan)
    closed_on = max(incident.last_seen, scan.on)
    return msgspec.structs.replace(incident, closed_on=closed_on, closed_as=how, closed_by=by)


def _ending(address: str, scan: Scan) -> tuple[ClosedAs, str | None]:
    if address in scan.absorbed:
        return "absorbed_by_code", scan.absorbed[address]
    if address in scan.accepted:
        return "accepted", scan.accepted[address]
    if address != STACK_ITSELF and address not in scan.known_addresses:
        return "expired", None
    return "reverted", None


def _id(stack: str, address: str, first_seen: datetime) -> str:
    words = json.dumps([stack, address, first_seen.astimezone(UTC).isoformat()])
    return hashlib.sha256(words.encode()).hexdigest()[:12]


def _union(*tags: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(tag for some in tags for tag in some))


def _evidence(before: tuple[str, ...], plan_id: str | None) -> tuple[str, ...]:
    if plan_id is None or plan_id in before[:1]:
        return before
    found = (*(each for each in before if each != plan_id), plan_id)
    return found if len(found) <= EVIDENCE_KEPT else (found[0], *found[1 - EVIDENCE_KEPT :])


def _check(acknowledgement: Acknowledgement, stack: str) -> None:
    lasts = acknowledgement.until - acknowledgement.on
    if not acknowledgement.reason.strip():
        message, hint = "it gives no reason", "say why it may stay as it is"
    elif lasts <= timedelta(0):
        message, hint = "it ends in the past", "name a day to come"
    elif lasts > LONGEST_ACKNOWLEDGEMENT:
        message, hint = "it lasts more than a year", "name an earlier day, or write an ignore rule into tfops.hcl"
    else:
        return
    raise UsageError(
        f"{stack}: this acknowledgement is not taken: {message}", code="usage.acknowledgement", hint=hint, stack=stack
    )


def _unknown(address: str, addresses: Iterable[str], stack: str) -> UsageError:
    names = sorted(one or stack for one in addresses)
    close = difflib.get_close_matches(address, names)
    if close:
        hint = f"did you mean {' or '.join(close)}?"
    else:
        hint = "open: " + ", ".join(names[:10]) if names else "nothing is open; `tfops drift` looks again"
    return UsageError(
        f"{stack} has no open incident of {address or 'the stack itself'}",
        code="usage.unknown_incident",
        hint=hint,
        stack=stack,
    )
