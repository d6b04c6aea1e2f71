"""An event tells one transition once, holds no value, and is signed so that anybody with the secret can check it."""

import base64
import hashlib
import hmac
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfops.incidents import Acknowledgement, Incident, Scan, Sighting, Tracked, acknowledge, track
from tfops.notification import (
    LINES_TOLD,
    LONGEST_LINE,
    Event,
    Kind,
    body,
    drift_events,
    headers,
    message,
    signing_key,
)

NOW = datetime(2026, 11, 3, 8, 0, tzinfo=UTC)
SOURCE = "urn:tfops:store:0123456789abcdef"
EVENT = Event(
    kind=Kind.DRIFT_OPENED,
    stack="prod/network",
    environment="prod",
    verdict="modified",
    on=NOW,
    occurrence="",
    address='aws_instance.web["a"]',
    tags=("modified", "replace"),
    cause="edited outside",
    incident="0123456789ab",
    first_seen=NOW,
    plan_id="f" * 64,
    revision="c0ffee",
)
FAILED = Event(
    kind=Kind.SCAN_FAILED, stack="prod", environment="prod", verdict="error", on=NOW, occurrence="2026-11-03T08:00:00Z"
)


def scan(hours: int, *sightings: Sighting, can_close: bool = True) -> Scan:
    on = NOW + timedelta(hours=hours)
    return Scan(stack="prod", on=on, sightings=sightings, can_close=can_close, known_addresses=frozenset({"a.b"}))


def sighting(*tags: str) -> Sighting:
    return Sighting(address="a.b", tags=tags or ("modified",), cause="edited outside")


def events(tracked: Tracked, hours: int = 0) -> tuple[Event, ...]:
    on = NOW + timedelta(hours=hours)
    return drift_events(
        tracked, stack="prod", environment="prod", verdict="modified", on=on, plan_id="p1", revision="c0ffee"
    )


class TestTransitions:
    def test_what_opens_is_told(self):
        (event,) = events(track((), scan(0, sighting())))
        assert (event.kind, event.address, event.tags) == (Kind.DRIFT_OPENED, "a.b", ("modified",))
        assert (event.cause, event.first_seen, event.plan_id) == ("edited outside", NOW, "p1")

    def test_what_is_as_it_was_is_not(self):
        before = track((), scan(0, sighting()))
        assert events(track(before.open, scan(1, sighting()))) == ()

    def test_what_closes_is_told_with_how(self):
        (event,) = events(track(track((), scan(0, sighting())).open, scan(1)))
        assert (event.kind, event.cause) == (Kind.DRIFT_CLOSED, "reverted")
        assert event.sentence == "prod: a.b is no longer drifted (modified): reverted"

    def test_what_gets_worse_is_told(self):
        (event,) = events(track(track((), scan(0, sighting())).open, scan(1, sighting("conflict"))))
        assert event.kind is Kind.DRIFT_WORSENED

    def test_what_nobody_acknowledges_any_more_is_told(self):
        ran_out = Acknowledgement(reason="r", by="b", on=NOW, until=NOW + timedelta(hours=1))
        known = acknowledge(track((), scan(0, sighting())).open, "a.b", ran_out, stack="prod")
        (event,) = events(track(known, scan(2, sighting())))
        assert event.kind is Kind.DRIFT_REMINDED

    def test_the_worst_news_comes_first(self):
        incident = track((), scan(0, sighting())).open[0]
        some = tuple(Incident(**{**as_fields(incident), "id": str(number)}) for number in range(4))
        found = Tracked(open=some[:3], closed=some[3:], opened=some[:1], worsened=some[1:2], reminded=some[2:3])
        assert [event.kind for event in events(found)] == [
            Kind.DRIFT_WORSENED,
            Kind.DRIFT_OPENED,
            Kind.DRIFT_REMINDED,
            Kind.DRIFT_CLOSED,
        ]


def as_fields(incident: Incident) -> dict[str, object]:
    return {name: getattr(incident, name) for name in incident.__struct_fields__}


class TestIdentity:
    """A receiver knows a repeat by its id."""

    def test_the_same_transition_told_later_again_has_the_same_id(self):
        before = track((), scan(0, sighting())).open
        once, again = (events(track(before, scan(hours)), hours)[0] for hours in (1, 2))
        assert once.id == again.id

    def test_a_scan_that_is_repeated_after_a_crash_tells_the_same(self):
        before = track((), scan(0, sighting())).open
        once, again = (events(track(before, scan(hours, sighting("conflict"))), hours)[0] for hours in (1, 2))
        assert once.id == again.id

    @pytest.mark.parametrize(
        "change",
        [
            {"kind": Kind.DRIFT_CLOSED},
            {"stack": "prod/other"},
            {"address": "a.b"},
            {"incident": "ba9876543210"},
            {"occurrence": "2"},
        ],
    )
    def test_another_transition_has_another_one(self, change):
        assert replace(EVENT, **change).id != EVENT.id

    @pytest.mark.parametrize(
        "change", [{"verdict": "x"}, {"on": NOW + timedelta(hours=1)}, {"cause": "x"}, {"plan_id": None}, {"tags": ()}]
    )
    def test_how_it_is_told_does_not_matter(self, change):
        assert replace(EVENT, **change).id == EVENT.id

    def test_it_never_changes_from_one_version_to_the_next(self):
        assert EVENT.id == "e0b221c1db497a10de66411b14ce0011"
        assert FAILED.id == "272bca82c31a391051cc6897016c2cf3"


class TestCloudEvent:
    def test_it_says_everything_that_is_not_secret(self):
        assert json.loads(body(EVENT, source=SOURCE)) == {
            "specversion": "1.0",
            "id": EVENT.id,
            "source": SOURCE,
            "type": "dev.tfops.drift.opened",
            "subject": 'prod/network/aws_instance.web["a"]',
            "time": "2026-11-03T08:00:00Z",
            "datacontenttype": "application/json",
            "data": {
                "stack": "prod/network",
                "environment": "prod",
                "address": 'aws_instance.web["a"]',
                "verdict": "modified",
                "tags": ["modified", "replace"],
                "cause": "edited outside",
                "sentence": 'prod/network: aws_instance.web["a"] drifted (modified, replace): edited outside',
                "plan_id": "f" * 64,
                "revision": "c0ffee",
                "incident": "0123456789ab",
                "first_seen": "2026-11-03T08:00:00Z",
            },
        }

    def test_one_of_the_stack_itself_has_the_stack_as_its_subject(self):
        document = json.loads(body(FAILED, source=SOURCE))
        assert document["subject"] == "prod"
        assert document["type"] == "dev.tfops.scan.failed"
        assert document["data"]["incident"] is None
        assert document["data"]["first_seen"] is None
        assert document["data"]["sentence"] == "prod cannot be scanned"

    def test_its_time_is_utc_wherever_it_was_taken(self):
        there = replace(EVENT, on=NOW.astimezone(timezone(timedelta(hours=-7))))
        assert body(there, source=SOURCE) == body(EVENT, source=SOURCE)

    @pytest.mark.parametrize("kind", Kind)
    def test_every_kind_has_words_and_a_type(self, kind):
        event = replace(EVENT, kind=kind)
        assert event.sentence.startswith('prod/network: aws_instance.web["a"] ')
        assert json.loads(body(event, source=SOURCE))["type"] == f"dev.tfops.{kind.value}"

    def test_kinds_never_change_their_names(self):
        assert [kind.value for kind in Kind] == [
            "drift.opened",
            "drift.closed",
            "drift.worsened",
            "drift.reminded",
            "scan.failed",
            "scan.recovered",
            "remediation.applied",
            "remediation.refused",
        ]


class TestSignature:
    def test_it_is_the_one_of_the_specification(self):
        """Standard Webhooks: HMAC-SHA256 over id.timestamp.body, in base64, behind the version."""
        content = body(EVENT, source=SOURCE)
        found = headers(EVENT, content, key=b"secret", at=NOW)
        signed = f"{found['webhook-id']}.{found['webhook-timestamp']}.".encode() + content
        expected = base64.b64encode(hmac.new(b"secret", signed, hashlib.sha256).digest()).decode()
        assert found["webhook-signature"] == f"v1,{expected}"
        assert found["webhook-timestamp"] == str(int(NOW.timestamp()))
        assert found["webhook-id"] == EVENT.id
        assert found["content-type"] == "application/cloudevents+json; charset=utf-8"

    def test_without_a_key_there_is_none(self):
        assert set(headers(EVENT, b"", key=None, at=NOW)) == {"content-type", "webhook-id", "webhook-timestamp"}

    @given(st.binary(), st.binary(), st.integers(0, 2**32), st.integers(0, 2**32))
    def test_another_body_or_another_time_has_another_one(self, one, other, early, late):
        first, second = (
            headers(EVENT, content, key=b"k", at=datetime.fromtimestamp(when, UTC))["webhook-signature"]
            for content, when in ((one, early), (other, late))
        )
        assert (first == second) is ((one, early) == (other, late))

    @given(st.binary(min_size=1))
    def test_what_stands_behind_whsec_is_base64(self, key):
        assert signing_key("whsec_" + base64.b64encode(key).decode()) == key

    @pytest.mark.parametrize(
        ("secret", "key"), [("hush", b"hush"), (" hush\n", b"hush"), ("whsec", b"whsec"), ("hüsh", "hüsh".encode())]
    )
    def test_any_other_secret_is_taken_as_it_is(self, secret, key):
        assert signing_key(secret) == key

    @pytest.mark.parametrize("secret", ["", " \n", "whsec_", "whsec_hush!", "whsec_aGk", "whsec_ü"])
    def test_one_without_a_key_is_refused_and_not_shown(self, secret):
        with pytest.raises(ValueError, match="its secret") as refused:
            signing_key(secret)
        assert "hush" not in str(refused.value)


class TestMessage:
    def test_one_stack_is_in_the_title(self):
        assert message([EVENT]) == ("tfops: prod/network", EVENT.sentence)

    def test_several_are_counted(self):
        title, text = message([EVENT, FAILED])
        assert title == "tfops: 2 stacks"
        assert text.splitlines() == [EVENT.sentence, FAILED.sentence]

    def test_many_events_are_one_short_message(self):
        _, text = message([replace(EVENT, address=f"a.b[{number}]") for number in range(500)])
        lines = text.splitlines()
        assert len(lines) == LINES_TOLD + 1
        assert lines[-1] == f"… and {500 - LINES_TOLD} more; `tfops drift` shows all"

    def test_a_long_cause_is_cut(self):
        _, text = message([replace(EVENT, cause="x" * 5000)])
        assert len(text) == LONGEST_LINE
        assert text.endswith("…")

    def test_a_line_break_in_a_cause_makes_no_line(self):
        assert "\n" not in replace(EVENT, cause="a\n\tb").sentence
