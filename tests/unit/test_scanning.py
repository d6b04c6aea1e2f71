"""When a stack is scanned next, and who comes first."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfops.errors import Exit, UsageError
from tfops.scanning import Candidate, due_on, parse_shard, pick, shard_of

NOW = datetime(2027, 1, 15, 12, 0, tzinfo=UTC)
HOUR = 3600.0
NAMES = st.text("abc/@-é\udc80", min_size=1, max_size=8)
INTERVALS = st.floats(60, 30 * 86400)
AGES = st.floats(-400 * 86400, 400 * 86400)


def stack(name="prod/app", *, age=None, every=HOUR, **given):
    """A stack whose last scan is so many seconds old."""
    last = None if age is None else NOW - timedelta(seconds=age)
    return Candidate(stack=name, every_seconds=every, last_scan=last, **given)


@st.composite
def candidates(draw):
    names = draw(st.lists(NAMES, unique=True, max_size=12))
    return [
        stack(
            name,
            age=draw(st.none() | AGES),
            every=draw(INTERVALS),
            failures=draw(st.integers(0, 40)),
            had_drift=draw(st.booleans()),
        )
        for name in names
    ]


def waited(candidate):
    """How long after its last scan it is due, in intervals."""
    return (due_on(candidate, now=NOW) - candidate.last_scan).total_seconds() / candidate.every_seconds


def scans(name, *, every, runs_every, rounds=100):
    """The times between scans, in intervals, if somebody looks every `runs_every` seconds."""
    at, last, gaps = NOW, None, []
    while at < NOW + timedelta(seconds=rounds * every):
        if pick([Candidate(stack=name, every_seconds=every, last_scan=last)], now=at):
            if last is not None:
                gaps.append((at - last).total_seconds() / every)
            last = at
        at += timedelta(seconds=runs_every)
    return gaps


# When


def test_a_stack_that_was_never_scanned_is_due_at_once():
    assert due_on(stack(), now=NOW) == NOW


@given(NAMES, st.floats(0, 86400), INTERVALS)
def test_the_next_scan_is_half_an_interval_away_at_least_and_a_little_over_one_at_most(name, age, every):
    assert 0.499 <= waited(stack(name, age=age, every=every)) <= 1.201


@given(NAMES, AGES, st.floats(0, 10 * 86400), INTERVALS)
def test_a_later_scan_is_never_followed_by_an_earlier_one(name, age, later, every):
    far = NOW + timedelta(days=800)
    first, second = (stack(name, age=seconds, every=every) for seconds in (age, age - later))
    assert due_on(first, now=far) <= due_on(second, now=far)


@pytest.mark.parametrize("runs_every", [60, 600, 1800])
@pytest.mark.parametrize("name", ["a", "b", "prod/app", "prod/network", "dev"])
def test_however_often_somebody_looks_a_stack_is_scanned_once_an_interval(name, runs_every):
    gaps = scans(name, every=HOUR, runs_every=runs_every)
    assert 97 <= len(gaps) <= 102
    assert max(gaps) <= 1.2 + runs_every / HOUR


def test_whoever_looks_no_more_often_than_the_interval_still_finds_nearly_every_turn():
    gaps = [gap for number in range(20) for gap in scans(f"stack-{number}", every=HOUR, runs_every=HOUR)]
    assert max(gaps) <= 2
    assert sum(gaps) / len(gaps) < 1.1


def test_stacks_are_not_due_all_at_once():
    due = [due_on(stack(f"stack-{number}", age=0), now=NOW) for number in range(200)]
    quarters = {int((at - NOW).total_seconds() // (HOUR / 4)) for at in due}
    assert quarters >= {2, 3}
    assert len(set(due)) > 80


# After a failure


def test_a_failed_scan_is_repeated_soon_and_then_more_and_more_seldom():
    minutes = [waited(stack(age=0, failures=count)) * 60 for count in range(1, 8)]
    for found, wanted in zip(minutes, [2, 4, 8, 16, 32, 60, 60], strict=True):
        assert wanted * 0.9 - 0.01 <= found <= wanted * 1.1 + 0.01
    assert max(minutes) <= 60


@given(NAMES, INTERVALS, st.integers(1, 10_000))
def test_a_stack_that_fails_is_never_left_alone_for_longer_than_its_interval(name, every, failures):
    assert 0 < waited(stack(name, age=0, every=every, failures=failures)) <= 1.001


def test_stacks_that_fail_together_are_not_repeated_together():
    assert len({due_on(stack(f"stack-{number}", age=0, failures=2), now=NOW) for number in range(50)}) > 40


# A clock that was wrong


def test_a_scan_from_the_far_future_counts_as_none():
    assert due_on(stack(age=-HOUR - 1), now=NOW) == NOW


@given(NAMES, AGES, INTERVALS, st.integers(0, 50))
def test_no_clock_can_stop_scanning_for_ever(name, age, every, failures):
    due = due_on(stack(name, age=age, every=every, failures=failures), now=NOW)
    assert due <= NOW + timedelta(seconds=2.3 * every)


# Who comes first


def test_whoever_starves_comes_before_all_others_the_hungriest_first():
    found = pick(
        [
            stack("drifted", age=1.5 * HOUR, had_drift=True),
            stack("starving", age=2 * HOUR),
            stack("hungriest", age=600, every=60),
            stack("never"),
        ],
        now=NOW,
    )
    assert found == ["never", "hungriest", "starving", "drifted"]


def test_then_whoever_had_drift_and_then_the_most_overdue():
    found = pick(
        [
            stack("old", age=1.8 * HOUR),
            stack("older", age=1.9 * HOUR),
            stack("drifted", age=1.3 * HOUR, had_drift=True),
        ],
        now=NOW,
    )
    assert found == ["drifted", "older", "old"]


@given(candidates())
def test_only_what_is_due_is_picked_and_whoever_starves_always_is(items):
    found = set(pick(items, now=NOW))
    assert found == {item.stack for item in items if due_on(item, now=NOW) <= NOW}
    starving = {
        item.stack
        for item in items
        if item.last_scan and NOW - item.last_scan > timedelta(seconds=2 * item.every_seconds)
    }
    assert starving <= found


@given(candidates(), st.randoms())
def test_the_order_does_not_depend_on_the_order_of_the_input(items, random):
    shuffled = list(items)
    random.shuffle(shuffled)
    assert pick(shuffled, now=NOW) == pick(items, now=NOW)


# Shares


@given(NAMES, st.integers(1, 50))
def test_every_stack_is_in_one_share(name, shards):
    assert 1 <= shard_of(name, shards) <= shards


@given(candidates(), st.integers(1, 5))
def test_all_shares_together_are_what_one_runner_would_scan(items, shards):
    shares = [pick(items, now=NOW, shard=(number, shards)) for number in range(1, shards + 1)]
    assert sorted(name for share in shares for name in share) == sorted(pick(items, now=NOW))


@given(st.integers(1, 9999), st.data())
def test_a_share_is_written_as_a_part_of_a_whole(shards, data):
    share = data.draw(st.integers(1, shards))
    assert parse_shard(f"{share}/{shards}") == (share, shards)


@pytest.mark.parametrize(
    "written", ["", "1", "0/4", "5/4", "1/0", "-1/4", "1/4/4", "a/b", "1 /4", "1/4\n", "01/4", "١/٤"]
)
def test_anything_else_is_no_share(written):
    with pytest.raises(UsageError) as caught:
        parse_shard(written)
    (problem,) = caught.value.problems
    assert (problem.code, caught.value.exit_code) == ("usage.shard", Exit.USAGE)
    assert "1/4" in problem.hint
