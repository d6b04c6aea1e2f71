"""Times in which nothing is applied by itself."""

from datetime import UTC, datetime, time, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfops.freezes import DAYS, Freeze, Span, Weekly, frozen_until

moments = st.datetimes(datetime(2020, 1, 1), datetime(2030, 1, 1)).map(lambda one: one.replace(tzinfo=UTC))


def at(written: str) -> datetime:
    return datetime.fromisoformat(written)


def weekly(*days: str, begins: str = "00:00", ends: str = "00:00", timezone: str = "UTC") -> Freeze:
    when = Weekly(days=days, begins=time.fromisoformat(begins), ends=time.fromisoformat(ends), timezone=timezone)
    return Freeze(name="f", weekly=when)


def test_a_span_holds_from_its_beginning_to_just_before_its_end():
    freeze = Freeze(name="f", once=Span(begins=at("2026-12-20T18:00:00+01:00"), ends=at("2027-01-04T08:00:00+01:00")))
    assert frozen_until(freeze, at("2026-12-20T16:59:59Z")) is None
    assert frozen_until(freeze, at("2026-12-20T17:00:00Z")) == at("2027-01-04T07:00:00Z")
    assert frozen_until(freeze, at("2027-01-04T07:00:00Z")) is None


def test_a_night_reaches_into_the_day_after_the_one_it_begins_on():
    friday = weekly("fri", begins="18:00", ends="08:00")
    assert frozen_until(friday, at("2026-11-27T17:59:00Z")) is None
    assert frozen_until(friday, at("2026-11-27T18:00:00Z")) == at("2026-11-28T08:00:00Z")
    assert frozen_until(friday, at("2026-11-28T07:59:00Z")) == at("2026-11-28T08:00:00Z")
    assert frozen_until(friday, at("2026-11-28T08:00:00Z")) is None
    assert frozen_until(friday, at("2026-11-27T07:00:00Z")) is None, "the night from Thursday is none"


def test_a_day_without_times_is_the_whole_day_where_its_clock_stands():
    sunday = weekly("sun", timezone="Pacific/Auckland")
    assert frozen_until(sunday, at("2026-11-28T10:59:00Z")) is None
    assert frozen_until(sunday, at("2026-11-28T11:00:00Z")) == at("2026-11-29T11:00:00Z")


@pytest.mark.parametrize(("date", "hours"), [("2026-03-29", 23), ("2026-10-25", 25)])
def test_a_day_on_which_the_clocks_change_is_as_long_as_it_is(date, hours):
    sunday = weekly("sun", timezone="Europe/Berlin")
    begins = at(f"{date}T12:00:00Z") - timedelta(hours=12)
    minutes = [begins + timedelta(minutes=15 * n) for n in range(-12, 4 * 28)]
    assert sum(frozen_until(sunday, one) is not None for one in minutes) == hours * 4


@given(moments)
def test_every_day_is_always(moment):
    until = frozen_until(weekly(*DAYS), moment)
    assert until is not None and moment < until <= moment + timedelta(days=1)


@given(moments, st.sets(st.sampled_from(DAYS)), st.times(), st.times())
def test_what_ends_ends_after_now(moment, days, begins, ends):
    freeze = Freeze(name="f", weekly=Weekly(days=tuple(sorted(days)), begins=begins, ends=ends))
    until = frozen_until(freeze, moment)
    assert until is None or (days and until > moment)
