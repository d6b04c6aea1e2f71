"""Stacks run side by side, each behind those it waits for; one that fails stops only those behind it."""

import threading
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfops.steps.schedule import Schedule, default_jobs


class Bench:
    """Records what ran, and how much of it at once."""

    def __init__(self, bad: frozenset[str] = frozenset(), seconds: float = 0.0) -> None:
        self.bad = bad
        self.seconds = seconds
        self.started: list[str] = []
        self.ended: list[str] = []
        self.most_at_once = 0
        self._now = 0
        self._lock = threading.Lock()

    def work(self, name: str) -> str:
        with self._lock:
            self.started.append(name)
            self._now += 1
            self.most_at_once = max(self.most_at_once, self._now)
        time.sleep(self.seconds)
        with self._lock:
            self._now -= 1
            self.ended.append(name)
        return "bad" if name in self.bad else "good"

    def run(self, after: dict[str, tuple[str, ...]], jobs: int = 2, tick=lambda running: None) -> dict[str, str]:
        schedule = Schedule(
            after,
            work=self.work,
            skip=lambda name, blocker: f"skipped for {blocker}",
            is_good=lambda outcome: outcome == "good",
        )
        return schedule.run(jobs, tick=tick)


@st.composite
def graphs(draw: st.DrawFn) -> dict[str, tuple[str, ...]]:
    waits = draw(st.lists(st.sets(st.integers(0, 20), max_size=4), max_size=10))
    graph = {f"s{i}": tuple(f"s{o % i}" for o in others) if i else () for i, others in enumerate(waits)}
    return {name: graph[name] for name in draw(st.permutations(list(graph)))}


def blocked_by(after: dict[str, tuple[str, ...]], bad: frozenset[str]) -> set[str]:
    """Everything behind something bad, however far."""
    found: set[str] = set()
    for _ in after:
        found |= {name for name, others in after.items() if set(others) & (bad | found)}
    return found


@settings(max_examples=60, deadline=None)
@given(graphs(), st.sets(st.integers(0, 10)), st.integers(1, 4))
def test_any_order_is_kept_and_any_failure_stops_only_what_is_behind_it(after, bad_numbers, jobs):
    bad = frozenset(f"s{number}" for number in bad_numbers) & after.keys()
    bench = Bench(bad)
    done = bench.run(after, jobs)
    skipped = blocked_by(after, bad)
    assert done.keys() == after.keys()
    assert {name for name, outcome in done.items() if outcome.startswith("skipped")} == skipped
    assert sorted(bench.started) == sorted(after.keys() - skipped)
    assert bench.most_at_once <= jobs
    for name in bench.started:
        assert all(bench.ended.index(other) <= bench.started.index(name) for other in after[name])


@settings(max_examples=15, deadline=None)
@given(graphs(), st.integers(1, 3))
def test_no_more_than_the_jobs_run_at_once(after, jobs):
    bench = Bench(seconds=0.005)
    bench.run(after, jobs)
    assert bench.most_at_once <= jobs


def test_what_waits_for_nothing_runs_side_by_side():
    together = threading.Barrier(3, timeout=10)
    schedule = Schedule(
        dict.fromkeys("abc", ()),
        work=lambda name: together.wait() >= 0,
        skip=lambda name, blocker: False,
        is_good=bool,
    )
    assert schedule.run(3, tick=lambda running: None) == dict.fromkeys("abc", True)


def test_a_stack_starts_when_its_own_are_done_and_not_when_a_whole_level_is():
    released = threading.Event()

    def work(name: str) -> str:
        if name == "slow":
            assert released.wait(10), "`last` waited for `slow`, which it does not come after"
        if name == "last":
            released.set()
        return "good"

    after = {"slow": (), "quick": (), "last": ("quick",)}
    schedule = Schedule(after, work=work, skip=lambda name, blocker: "skipped", is_good=lambda one: one == "good")
    assert set(schedule.run(2, tick=lambda running: None).values()) == {"good"}


def test_a_skipped_stack_names_what_it_waited_for():
    done = Bench(frozenset({"a"})).run({"a": (), "b": ("a",), "c": ("b",), "d": ()})
    assert done == {"a": "bad", "b": "skipped for a", "c": "skipped for b", "d": "good"}


def test_what_was_not_chosen_is_not_waited_for():
    assert Bench().run({"a": ("left out",)}) == {"a": "good"}


def test_nothing_to_do_is_done_at_once():
    assert Bench().run({}) == {}


class Bug(Exception):
    """Nobody expects it."""


@pytest.mark.parametrize("bug", [Bug("x"), KeyboardInterrupt(), SystemExit(3)])
def test_a_bug_in_a_worker_comes_out_as_itself(bug):
    def work(name: str) -> str:
        if name == "b":
            raise bug
        return "good"

    after = {"a": (), "b": ("a",), "c": ("b",)}
    schedule = Schedule(after, work=work, skip=lambda name, blocker: "skipped", is_good=lambda one: one == "good")
    with pytest.raises(type(bug)) as surfaced:
        schedule.run(2, tick=lambda running: None)
    assert surfaced.value is bug


def test_a_bug_in_one_worker_does_not_cut_another_one_off():
    started, ended = threading.Event(), []

    def work(name: str) -> str:
        if name == "bug":
            started.wait(10)
            raise Bug
        started.set()
        time.sleep(0.2)
        ended.append(name)
        return "good"

    schedule = Schedule({"bug": (), "apply": ()}, work=work, skip=lambda n, b: "", is_good=bool)
    with pytest.raises(Bug):
        schedule.run(2, tick=lambda running: None)
    assert ended == ["apply"]


def test_the_main_thread_ticks_all_the_while():
    ticks = []
    Bench(seconds=0.4).run({"a": ()}, tick=lambda running: ticks.append(threading.current_thread()))
    assert len(ticks) >= 5
    assert set(ticks) == {threading.current_thread()}


def test_a_tick_is_told_what_is_under_way():
    seen = set()
    Bench(seconds=0.1).run({"a": (), "b": ("a",)}, tick=lambda running: seen.add(tuple(sorted(running))))
    assert {("a",), ("b",)} <= seen


def test_there_is_always_at_least_one_job():
    assert default_jobs() >= 1
