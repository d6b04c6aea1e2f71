"""What the store remembers of a stack's drift scans: the last one, how it went before, and what is open."""

from collections import Counter
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated

import msgspec

from tfops.incidents import Incident
from tfops.metrics import Reading

Moment = Annotated[datetime, msgspec.Meta(tz=True)]


class ScanRecord(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The memory of one stack's scans. Never evidence: that are the signed plans it names."""

    stack: str
    environment: str
    scanned_on: Moment
    duration_seconds: float
    verdict: str
    tags: tuple[str, ...]
    objects: dict[str, tuple[str, ...]] = {}
    """Tags by address, of what is not in sync."""
    revision: str | None = None
    """What was planned: the revision of the last record, as branch@commit."""
    newest: str | None = None
    """The branch's head at that time."""
    serial: int | None = None
    plan_id: str | None = None
    change_digest: str | None = None
    plan_expires_on: Moment | None = None
    failures: int = 0
    """Scans in a row that could not say anything."""
    said_on: Moment | None = None
    """When a scan last could say something, and what it said."""
    said: str | None = None
    suppressed: int = 0
    detected: int = 0
    resolved: dict[str, int] = {}
    scans: dict[str, int] = {}
    incidents: tuple[Incident, ...] = ()

    def is_like(self, other: "ScanRecord") -> bool:
        """Whether both found the same, so that the later one is no news."""
        return (self.verdict, self.tags, self.objects, self.plan_id) == (
            other.verdict,
            other.tags,
            other.objects,
            other.plan_id,
        )


def reading(record: ScanRecord, *, at: datetime) -> Reading:
    """The record as metrics have it."""
    classes = Counter(tag for tags in record.objects.values() for tag in tags)
    oldest: dict[str, float] = {}
    for one in record.incidents:
        for tag in one.tags:
            oldest[tag] = max(oldest.get(tag, 0.0), (at - one.first_seen).total_seconds())
    return Reading(
        stack=record.stack,
        environment=record.environment,
        verdict=record.verdict,
        classes=classes,
        open_seconds=oldest,
        detected=record.detected,
        resolved=record.resolved,
        scans=record.scans,
        duration_seconds=record.duration_seconds,
        scanned_on=record.said_on,
        serial=record.serial,
        suppressed=record.suppressed,
    )


def counted(counts: Mapping[str, int], *words: str) -> dict[str, int]:
    """The counts, each word counted once more."""
    found = dict(counts)
    for word in words:
        found[word] = found.get(word, 0) + 1
    return found
