"""An incident opens once, is never lost, alerts when there is news, and closes only where a scan can know."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfops.errors import UsageError
from tfops.incidents import (
    EVIDENCE_KEPT,
    LONGEST_ACKNOWLEDGEMENT,
    STACK_ITSELF,
    Acknowledgement,
    Incident,
    Scan,
    Sighting,
    Tracked,
    acknowledge,
    track,
)

START = datetime(2026, 11, 3, 8, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
WEB, DATABASE = "aws_instance.web", "aws_db_instance.main"


def at(hours: float) -> datetime:
    return START + hours * HOUR


def sighting(address: str = WEB, *tags: str, evidence: str | None = None, cause: str = "edited outside") -> Sighting:
    return Sighting(address=address, tags=tags or ("modified",), cause=cause, evidence=evidence)


def scan(hours: float, *sightings: Sighting, can_close: bool = True, **explained) -> Scan:
    known = explained.pop("known_addresses", frozenset({WEB, DATABASE}))
    return Scan(
        stack="prod", on=at(hours), sightings=sightings, can_close=can_close, known_addresses=known, **explained
    )


def tracked(*scans: Scan, start: tuple[Incident, ...] = ()) -> Tracked:
    """What the last of some scans came to."""
    found = Tracked(open=start)
    for each in scans:
        found = track(found.open, each)
    return found


def acknowledgement(until: float = 24, *, on: float = 0, reason: str = "hotfix, PR follows") -> Acknowledgement:
    return Acknowledgement(reason=reason, by="ann@example.org", on=at(on), until=at(until))


class TestOpening:
    def test_what_is_seen_first_opens_an_incident(self):
        found = tracked(scan(0, sighting(evidence="p1")))
        assert found.open == found.opened
        (incident,) = found.open
        assert (incident.address, incident.tags, incident.cause) == (WEB, ("modified",), "edited outside")
        assert (incident.first_seen, incident.last_seen, incident.times_seen) == (at(0), at(0), 1)
        assert incident.evidence == ("p1",)

    def test_it_is_no_news_the_second_time(self):
        found = tracked(scan(0, sighting(evidence="p1")), scan(1, sighting(evidence="p2")))
        assert not (found.opened or found.closed or found.worsened or found.reminded)
        (incident,) = found.open
        assert (incident.first_seen, incident.last_seen, incident.times_seen) == (at(0), at(1), 2)
        assert incident.evidence == ("p1", "p2")

    def test_a_scan_that_cannot_close_opens_and_counts_as_well(self):
        found = tracked(scan(0, sighting(), can_close=False), scan(1, sighting(), can_close=False))
        assert found.open[0].times_seen == 2

    def test_two_sightings_of_one_address_are_one_incident(self):
        found = tracked(scan(0, sighting(WEB, "modified"), sighting(WEB, "replace", cause="other", evidence="p")))
        (incident,) = found.open
        assert (incident.tags, incident.cause, incident.evidence) == (("modified", "replace"), "edited outside", ("p",))

    def test_its_id_is_of_the_stack_the_address_and_the_time(self):
        ids = {
            tracked(scan(0, sighting())).open[0].id,
            tracked(scan(1, sighting())).open[0].id,
            tracked(scan(0, sighting(DATABASE))).open[0].id,
            track((), Scan(stack="other", on=at(0), sightings=(sighting(),), can_close=True)).open[0].id,
        }
        assert len(ids) == 4
        assert all(len(each) == 12 and int(each, 16) >= 0 for each in ids)

    def test_its_id_does_not_depend_on_the_zone_of_the_clock(self):
        there = START.astimezone(timezone(timedelta(hours=9)))
        one = track((), Scan(stack="prod", on=there, sightings=(sighting(),), can_close=True))
        assert one.open[0].id == tracked(scan(0, sighting())).open[0].id

    def test_open_incidents_are_in_the_order_of_addresses(self):
        found = tracked(scan(0, sighting(WEB)), scan(1, sighting(WEB), sighting(DATABASE)))
        assert [one.address for one in found.open] == [DATABASE, WEB]


class TestClosing:
    def close(self, **explained) -> Incident:
        found = tracked(scan(0, sighting()), scan(1, **explained))
        assert not found.open
        (incident,) = found.closed
        assert incident.closed_on == at(1)
        return incident

    def test_what_nothing_explains_was_reverted(self):
        incident = self.close()
        assert (incident.closed_as, incident.closed_by) == ("reverted", None)

    def test_what_the_code_says_now_was_absorbed_by_a_commit(self):
        incident = self.close(absorbed={WEB: "c0ffee"})
        assert (incident.closed_as, incident.closed_by) == ("absorbed_by_code", "c0ffee")

    def test_what_somebody_allowed_was_accepted(self):
        incident = self.close(accepted={WEB: "autoscaler"})
        assert (incident.closed_as, incident.closed_by) == ("accepted", "autoscaler")

    def test_what_is_neither_in_the_code_nor_in_the_state_expired(self):
        incident = self.close(known_addresses=frozenset())
        assert (incident.closed_as, incident.closed_by) == ("expired", None)

    def test_a_commit_explains_more_than_that_the_address_is_gone(self):
        assert self.close(absorbed={WEB: "c0ffee"}, known_addresses=frozenset()).closed_as == "absorbed_by_code"

    def test_the_stack_itself_never_expires(self):
        found = tracked(scan(0, sighting(STACK_ITSELF, "state_serial_regressed")), scan(1, known_addresses=frozenset()))
        assert found.closed[0].closed_as == "reverted"

    def test_what_is_still_seen_stays_open_whatever_explains_it(self):
        found = tracked(scan(0, sighting()), scan(1, sighting(), absorbed={WEB: "c0ffee"}, accepted={WEB: "rule"}))
        assert (len(found.open), found.closed) == (1, ())

    def test_a_scan_that_cannot_close_leaves_it_as_it_is(self):
        before = tracked(scan(0, sighting()))
        found = track(before.open, scan(1, can_close=False, absorbed={WEB: "c0ffee"}, known_addresses=frozenset()))
        assert (found.open, found.closed) == (before.open, ())

    def test_what_comes_back_is_another_incident(self):
        first = tracked(scan(0, sighting()))
        found = tracked(scan(1), scan(2, sighting()), start=first.open)
        assert found.opened == found.open
        assert found.open[0].id != first.open[0].id
        assert found.open[0].times_seen == 1


class TestNews:
    def test_a_new_tag_alerts_once(self):
        found = tracked(scan(0, sighting()), scan(1, sighting(WEB, "conflict", "modified")))
        assert found.worsened == found.open
        assert found.open[0].tags == ("conflict", "modified")
        assert not track(found.open, scan(2, sighting(WEB, "conflict", "modified"))).worsened

    def test_a_tag_that_comes_and_goes_is_new_only_once(self):
        found = tracked(scan(0, sighting(WEB, "modified", "replace")), scan(1, sighting(WEB, "modified")))
        assert not found.worsened
        assert not track(found.open, scan(2, sighting(WEB, "modified", "replace"))).worsened

    def test_the_newest_tags_and_the_newest_cause_come_first(self):
        found = tracked(scan(0, sighting(WEB, "modified")), scan(1, sighting(WEB, "deleted", cause="it is gone")))
        assert (found.open[0].tags, found.open[0].cause) == (("deleted", "modified"), "it is gone")

    def test_a_sighting_without_words_keeps_the_cause_that_was_known(self):
        assert tracked(scan(0, sighting()), scan(1, sighting(cause=""))).open[0].cause == "edited outside"

    def test_a_clock_that_goes_backwards_takes_nothing_back(self):
        found = tracked(scan(5, sighting()), scan(1, sighting()))
        assert (found.open[0].last_seen, found.open[0].times_seen) == (at(5), 2)
        assert track(found.open, scan(2)).closed[0].closed_on == at(5)


class TestEvidence:
    def test_the_first_plan_and_the_newest_ones_are_kept(self):
        found = tracked(*(scan(hour, sighting(evidence=f"p{hour}")) for hour in range(9)))
        assert found.open[0].evidence == ("p0", "p5", "p6", "p7", "p8")

    def test_one_plan_is_named_once(self):
        plans = ("p0", "p1", "p0", "p2", "p1")
        found = tracked(*(scan(hour, sighting(evidence=plan)) for hour, plan in enumerate(plans)))
        assert found.open[0].evidence == ("p0", "p2", "p1")

    def test_a_scan_without_a_plan_adds_none(self):
        assert tracked(scan(0, sighting(evidence="p0")), scan(1, sighting())).open[0].evidence == ("p0",)


class TestAcknowledging:
    @pytest.fixture
    def known(self) -> tuple[Incident, ...]:
        before = tracked(scan(0, sighting(), sighting(DATABASE), sighting(STACK_ITSELF, "state_changed_outside")))
        return acknowledge(before.open, WEB, acknowledgement(24), stack="prod")

    def of(self, incidents: tuple[Incident, ...], address: str = WEB) -> Incident:
        return next(one for one in incidents if one.address == address)

    def test_only_that_address_is_acknowledged(self, known):
        assert [one.address for one in known if one.acknowledged] == [WEB]

    @pytest.mark.parametrize("name", ["", "prod"])
    def test_the_name_of_the_stack_means_the_stack_itself(self, known, name):
        found = acknowledge(known, name, acknowledgement(), stack="prod")
        assert self.of(found, STACK_ITSELF).acknowledged == acknowledgement()

    def test_it_is_kept_while_it_lasts_and_nothing_alerts(self, known):
        found = tracked(scan(1, sighting()), scan(23, sighting()), start=known)
        assert not (found.opened or found.worsened or found.reminded)
        assert self.of(found.open).acknowledged == acknowledgement(24)

    def test_it_does_not_cover_what_was_not_there(self, known):
        found = track(known, scan(1, sighting(WEB, "modified", "replace")))
        assert [one.address for one in found.worsened] == [WEB]
        assert self.of(found.open).acknowledged == acknowledgement(24)

    def test_when_it_ran_out_the_next_sighting_reminds_once(self, known):
        found = track(known, scan(24, sighting(), can_close=False))
        assert found.reminded == (self.of(found.open),)
        assert self.of(found.open).acknowledged is None
        assert not track(found.open, scan(25, sighting())).reminded

    def test_what_ran_out_and_got_worse_is_told_once(self, known):
        found = track(known, scan(24, sighting(WEB, "conflict")))
        assert [one.address for one in found.worsened] == [WEB]
        assert not found.reminded

    def test_a_scan_that_sees_nothing_and_closes_nothing_reminds_of_nothing(self, known):
        found = track(known, scan(48, can_close=False))
        assert found.open == tuple(sorted(known, key=lambda one: one.address))
        assert not found.reminded

    def test_a_closed_incident_still_says_who_knew_of_it(self, known):
        assert self.of(track(known, scan(1)).closed).acknowledged == acknowledgement(24)

    @pytest.mark.parametrize(
        ("wrong", "words"),
        [
            (acknowledgement(reason=" \n"), "gives no reason"),
            (acknowledgement(1, on=1), "ends in the past"),
            (acknowledgement(1, on=2), "ends in the past"),
            (acknowledgement(24 * 367), "more than a year"),
        ],
    )
    def test_one_that_says_too_little_or_lasts_too_long_is_refused(self, known, wrong, words):
        with pytest.raises(UsageError) as refused:
            acknowledge(known, WEB, wrong, stack="prod")
        (problem,) = refused.value.problems
        assert problem.code == "usage.acknowledgement"
        assert problem.stack == "prod"
        assert words in problem.message
        assert problem.hint

    def test_a_year_is_allowed(self, known):
        whole = Acknowledgement(reason="r", by="b", on=at(0), until=at(0) + LONGEST_ACKNOWLEDGEMENT)
        assert self.of(acknowledge(known, WEB, whole, stack="prod")).acknowledged == whole

    def refusal(self, incidents: tuple[Incident, ...], address: str):
        with pytest.raises(UsageError) as refused:
            acknowledge(incidents, address, acknowledgement(), stack="prod")
        (problem,) = refused.value.problems
        assert problem.code == "usage.unknown_incident"
        return problem

    def test_a_misspelt_address_is_answered_with_close_ones(self, known):
        problem = self.refusal(known, "aws_instance.wbe")
        assert problem.message == "prod has no open incident of aws_instance.wbe"
        assert problem.hint == "did you mean aws_instance.web or aws_db_instance.main?"

    def test_any_other_with_what_is_open(self, known):
        assert self.refusal(known, "zzz").hint == "open: aws_db_instance.main, aws_instance.web, prod"

    def test_where_nothing_is_open_that_is_said(self):
        problem = self.refusal((), "prod")
        assert "nothing is open" in problem.hint


def test_an_incident_is_stored_and_read_back_as_it_is():
    (incident,) = acknowledge(tracked(scan(0, sighting(evidence="p"))).open, WEB, acknowledgement(), stack="prod")
    closed = track((incident,), scan(1, absorbed={WEB: "c0ffee"})).closed[0]
    for each in (incident, closed):
        assert msgspec.json.decode(msgspec.json.encode(each), type=Incident) == each


@pytest.mark.parametrize(
    "change", [{"surprise": 1}, {"closed_as": "forgotten"}, {"first_seen": "2026-11-03T08:00:00"}, {"tags": None}]
)
def test_a_stored_incident_that_this_version_does_not_understand_is_refused(change):
    document = msgspec.to_builtins(tracked(scan(0, sighting())).open[0]) | change
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(document, Incident)


ADDRESSES = st.sampled_from([STACK_ITSELF, WEB, DATABASE, 'module.a["x"].r.n'])
SIGHTINGS = st.builds(
    Sighting,
    address=ADDRESSES,
    tags=st.lists(st.sampled_from(["modified", "deleted", "conflict", "replace"]), min_size=1).map(tuple),
    cause=st.sampled_from(["", "edited outside", "gone"]),
    evidence=st.none() | st.sampled_from([f"p{number}" for number in range(9)]),
)
SCANS = st.builds(
    Scan,
    stack=st.just("prod"),
    on=st.datetimes(datetime(2026, 1, 1), datetime(2026, 2, 1), timezones=st.just(UTC)),
    sightings=st.lists(SIGHTINGS, max_size=5).map(tuple),
    can_close=st.booleans(),
    absorbed=st.dictionaries(ADDRESSES, st.just("c0ffee")),
    accepted=st.dictionaries(ADDRESSES, st.just("rule")),
    known_addresses=st.frozensets(ADDRESSES),
)


def acknowledged_somewhere(incidents: tuple[Incident, ...], on: datetime, which: int) -> tuple[Incident, ...]:
    if not incidents:
        return incidents
    given_ = Acknowledgement(reason="r", by="b", on=on, until=on + timedelta(days=3))
    return acknowledge(incidents, incidents[which % len(incidents)].address, given_, stack="prod")


@given(st.lists(st.tuples(SCANS, st.none() | st.integers(0, 3)), min_size=1, max_size=8))
def test_whatever_happens_nothing_is_lost_and_nothing_is_open_twice(story):
    incidents: tuple[Incident, ...] = ()
    for each, which in story:
        found = track(incidents, each)
        seen = {one.address for one in each.sightings}
        before, still, closed = ({one.id: one for one in some} for some in (incidents, found.open, found.closed))
        addresses = [one.address for one in found.open]
        assert len(addresses) == len(set(addresses))
        assert before.keys() | {one.id for one in found.opened} == still.keys() | closed.keys()
        assert not still.keys() & closed.keys()
        assert seen <= set(addresses)
        assert each.can_close or not closed
        assert all(one.closed_on is None and one.closed_as is None for one in found.open)
        assert all(one.closed_on and one.closed_as and one.last_seen <= one.closed_on for one in found.closed)
        alerts = [one.id for one in (*found.opened, *found.worsened, *found.reminded)]
        assert len(alerts) == len(set(alerts))
        assert set(alerts) <= still.keys()
        for known in before.keys() & still.keys():
            assert still[known].first_seen == before[known].first_seen <= still[known].last_seen
            assert before[known].last_seen <= still[known].last_seen
            assert before[known].evidence[:1] in ((), still[known].evidence[:1])
            assert len(still[known].evidence) <= EVIDENCE_KEPT
            assert set(before[known].tags) <= set(still[known].tags)
        incidents = found.open if which is None else acknowledged_somewhere(found.open, each.on, which)


@given(st.lists(SCANS, max_size=4), SCANS)
def test_the_same_sightings_again_only_count_up(story, last):
    once = tracked(*story, last)
    twice = track(once.open, last)
    assert not (twice.opened or twice.worsened or twice.reminded or twice.closed)
    seen = {one.address for one in last.sightings}
    assert [msgspec.structs.replace(one, evidence=()) for one in twice.open] == [
        msgspec.structs.replace(one, evidence=(), times_seen=one.times_seen + (one.address in seen))
        for one in once.open
    ]


@given(SCANS, st.randoms())
def test_the_order_of_addresses_in_a_scan_never_matters(one, random):
    sightings = list({each.address: each for each in one.sightings}.values())
    straight = track((), replace(one, sightings=tuple(sightings)))
    random.shuffle(sightings)
    assert track((), replace(one, sightings=tuple(sightings))).open == straight.open
