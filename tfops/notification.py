"""What is told to other programs and to people, only when something changed: events, their wire form, signature, text.

An event is a CloudEvent 1.0, and never holds an attribute's value. Deliveries are signed as Standard Webhooks say.
"""

import base64
import binascii
import hashlib
import hmac
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

from tfops.incidents import Incident, Tracked

CONTENT_TYPE = "application/cloudevents+json; charset=utf-8"
LINES_TOLD = 10
LONGEST_LINE = 300
_SECRET_PREFIX = "whsec_"  # noqa: S105 - how a secret begins, not one


class Kind(StrEnum):
    """What changed."""

    DRIFT_OPENED = "drift.opened"
    DRIFT_CLOSED = "drift.closed"
    DRIFT_WORSENED = "drift.worsened"
    DRIFT_REMINDED = "drift.reminded"
    SCAN_FAILED = "scan.failed"
    SCAN_RECOVERED = "scan.recovered"
    REMEDIATION_APPLIED = "remediation.applied"
    REMEDIATION_REFUSED = "remediation.refused"


_WORDS = {
    Kind.DRIFT_OPENED: "drifted",
    Kind.DRIFT_CLOSED: "is no longer drifted",
    Kind.DRIFT_WORSENED: "drifted further",
    Kind.DRIFT_REMINDED: "is still drifted, and its acknowledgement ran out",
    Kind.SCAN_FAILED: "cannot be scanned",
    Kind.SCAN_RECOVERED: "can be scanned again",
    Kind.REMEDIATION_APPLIED: "was brought back to the code",
    Kind.REMEDIATION_REFUSED: "drifted and may not be brought back by itself",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One transition of a stack, or of one address in it."""

    kind: Kind
    stack: str
    environment: str
    verdict: str
    on: datetime
    occurrence: str
    """Tells this transition from a later one of the same kind; the same when the same one is told again."""
    address: str = ""
    tags: tuple[str, ...] = ()
    cause: str = ""
    incident: str | None = None
    first_seen: datetime | None = None
    plan_id: str | None = None
    revision: str | None = None

    @property
    def id(self) -> str:
        """Equal for the same transition, however often it is told: a receiver knows a repeat by it."""
        words = [self.kind, self.stack, self.address, self.incident, self.occurrence]
        return hashlib.sha256(json.dumps(words).encode()).hexdigest()[:32]

    @property
    def subject(self) -> str:
        """The stack, or the address in it."""
        return f"{self.stack}/{self.address}" if self.address else self.stack

    @property
    def sentence(self) -> str:
        """What happened, in one line of plain text."""
        what = f"{self.stack}: {self.address}" if self.address else self.stack
        tags = f" ({', '.join(self.tags)})" if self.tags else ""
        cause = f": {self.cause}" if self.cause else ""
        return " ".join(f"{what} {_WORDS[self.kind]}{tags}{cause}".split())


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """What became of telling one channel. `detail` is for people and holds no secret."""

    ok: bool
    detail: str
    channel: str = ""


def drift_events(
    tracked: Tracked,
    *,
    stack: str,
    environment: str,
    verdict: str,
    on: datetime,
    plan_id: str | None,
    revision: str | None,
) -> tuple[Event, ...]:
    """What a scan changed, as events: worst news first. Nothing for what is as it was."""
    return tuple(
        Event(
            kind=kind,
            stack=stack,
            environment=environment,
            verdict=verdict,
            on=on,
            occurrence=occurrence,
            address=incident.address,
            tags=incident.tags,
            cause=incident.closed_as or "" if kind is Kind.DRIFT_CLOSED else incident.cause,
            incident=incident.id,
            first_seen=incident.first_seen,
            plan_id=plan_id,
            revision=revision,
        )
        for kind, incident, occurrence in _news(tracked)
    )


def _news(tracked: Tracked) -> Iterator[tuple[Kind, Incident, str]]:
    """An incident opens and closes once. A scan that is repeated after a crash counts the same sighting again."""
    for incident in tracked.worsened:
        yield Kind.DRIFT_WORSENED, incident, str(incident.times_seen)
    for incident in tracked.opened:
        yield Kind.DRIFT_OPENED, incident, ""
    for incident in tracked.reminded:
        yield Kind.DRIFT_REMINDED, incident, str(incident.times_seen)
    for incident in tracked.closed:
        yield Kind.DRIFT_CLOSED, incident, ""


def body(event: Event, *, source: str) -> bytes:
    """The event as CloudEvents 1.0 in structured JSON; `source` is a URI of the store that knows the stack."""
    document = {
        "specversion": "1.0",
        "id": event.id,
        "source": source,
        "type": f"dev.tfops.{event.kind}",
        "subject": event.subject,
        "time": _time(event.on),
        "datacontenttype": "application/json",
        "data": {
            "stack": event.stack,
            "environment": event.environment,
            "address": event.address,
            "verdict": event.verdict,
            "tags": event.tags,
            "cause": event.cause,
            "sentence": event.sentence,
            "plan_id": event.plan_id,
            "revision": event.revision,
            "incident": event.incident,
            "first_seen": None if event.first_seen is None else _time(event.first_seen),
        },
    }
    return json.dumps(document, separators=(",", ":")).encode()


def _time(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def signing_key(secret: str) -> bytes:
    """The key in a webhook's secret: base64 behind `whsec_`, any other text as it is.

    Raises ValueError, without the secret in it, where there is no key.
    """
    text = secret.strip()
    if not text.startswith(_SECRET_PREFIX):
        key = text.encode("utf-8", "surrogateescape")
    else:
        try:
            key = base64.b64decode(text.removeprefix(_SECRET_PREFIX), validate=True)
        except (binascii.Error, ValueError):
            raise ValueError("its secret cannot be used: what follows whsec_ is not base64") from None
    if not key:
        raise ValueError("its secret is empty")
    return key


def headers(event: Event, content: bytes, *, key: bytes | None, at: datetime) -> Mapping[str, str]:
    """What goes with `content`: the id and the time of sending, both signed with it (Standard Webhooks 1.0).

    Without a key there is no signature.
    """
    timestamp = str(int(at.timestamp()))
    plain = {"content-type": CONTENT_TYPE, "webhook-id": event.id, "webhook-timestamp": timestamp}
    if key is None:
        return plain
    signed = f"{event.id}.{timestamp}.".encode() + content
    mac = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    return {**plain, "webhook-signature": f"v1,{mac}"}


def message(events: Sequence[Event]) -> tuple[str, str]:
    """Title and plain text for people: one line an event, the first few of them."""
    stacks = sorted({event.stack for event in events})
    title = f"tfops: {stacks[0]}" if len(stacks) == 1 else f"tfops: {len(stacks)} stacks"
    return title, "\n".join(_lines(events))


def _lines(events: Sequence[Event]) -> Iterable[str]:
    for event in events[:LINES_TOLD]:
        sentence = event.sentence
        yield sentence if len(sentence) <= LONGEST_LINE else sentence[: LONGEST_LINE - 1] + "…"
    if len(events) > LINES_TOLD:
        yield f"… and {len(events) - LINES_TOLD} more; `tfops drift` shows all"
