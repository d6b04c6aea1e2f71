"""The metrics are what Prometheus reads: every name once, every label escaped, counters that only grow."""

import math
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from tfops.metrics import RESOLVED_HOW, SCAN_RESULTS, Reading, exposition

NOW = datetime(2026, 11, 3, 8, 0, tzinfo=UTC)
PROD = Reading(
    stack="prod/network",
    environment="prod",
    verdict="modified",
    classes={"modified": 3, "deleted": 1},
    open_seconds={"modified": 7200.5},
    detected=7,
    resolved={"reverted": 4},
    scans={"ok": 11, "throttled": 2},
    duration_seconds=12.25,
    scanned_on=NOW - timedelta(minutes=5),
    serial=42,
    suppressed=2,
    pending_commits=0,
)
BARE = Reading(stack="dev", environment="dev", verdict="unknown")

SPECIFIED = {
    "tfops_env_verdict": "gauge",
    "tfops_drift_resources": "gauge",
    "tfops_drift_open_seconds": "gauge",
    "tfops_drift_detected_total": "counter",
    "tfops_drift_resolved_total": "counter",
    "tfops_drift_suppressed": "gauge",
    "tfops_scan_duration_seconds": "gauge",
    "tfops_scan_total": "counter",
    "tfops_scan_age_seconds": "gauge",
    "tfops_scan_timestamp_seconds": "gauge",
    "tfops_state_serial": "gauge",
    "tfops_pending_commits": "gauge",
}


def families(*readings: Reading, now: datetime = NOW) -> list[Metric]:
    return list(text_string_to_metric_families(exposition(readings, now=now)))


def samples(*readings: Reading, now: datetime = NOW) -> Iterator[tuple[str, frozenset[tuple[str, str]], float]]:
    for family in families(*readings, now=now):
        for sample in family.samples:
            yield sample.name, frozenset(sample.labels.items()), sample.value


def values(name: str, *readings: Reading, now: datetime = NOW) -> dict[str, float]:
    """The samples of a metric, by what their label beside environment and stack says."""
    found = {}
    for sample, labels, value in samples(*readings, now=now):
        if sample == name:
            others = {key: text for key, text in labels if key not in {"env", "stack"}}
            found["".join(others.values())] = value
    return found


def test_every_metric_is_declared_once_with_its_kind():
    lines = exposition((PROD, BARE), now=NOW).splitlines()
    declared = [line.split()[2:] for line in lines if line.startswith("# TYPE")]
    assert dict(declared) == SPECIFIED
    assert len(declared) == len(SPECIFIED)
    assert [line.split()[2] for line in lines if line.startswith("# HELP")] == [name for name, _ in declared]


def test_a_stack_says_what_is_known_of_it():
    assert values("tfops_env_verdict", PROD) == {"modified": 1}
    assert values("tfops_drift_resources", PROD) == {"modified": 3, "deleted": 1}
    assert values("tfops_drift_open_seconds", PROD) == {"modified": 7200.5}
    assert values("tfops_drift_detected_total", PROD) == {"": 7}
    assert values("tfops_drift_resolved_total", PROD) == {**dict.fromkeys(RESOLVED_HOW, 0), "reverted": 4}
    assert values("tfops_scan_total", PROD) == {**dict.fromkeys(SCAN_RESULTS, 0), "ok": 11, "throttled": 2}
    assert values("tfops_scan_duration_seconds", PROD) == {"": 12.25}
    assert values("tfops_scan_age_seconds", PROD) == {"": 300}
    assert values("tfops_scan_timestamp_seconds", PROD) == {"": NOW.timestamp() - 300}
    assert values("tfops_state_serial", PROD) == {"": 42}
    assert values("tfops_drift_suppressed", PROD) == {"": 2}
    assert values("tfops_pending_commits", PROD) == {"": 0}


@pytest.mark.parametrize(
    "name",
    [
        "tfops_scan_duration_seconds",
        "tfops_scan_age_seconds",
        "tfops_scan_timestamp_seconds",
        "tfops_state_serial",
        "tfops_pending_commits",
    ],
)
def test_what_is_not_known_is_not_said(name):
    assert values(name, BARE) == {}


def test_every_sample_names_its_environment_and_its_stack():
    for _, labels, _ in samples(PROD):
        assert {("env", "prod"), ("stack", "prod/network")} <= labels


def test_a_scan_from_the_future_has_no_negative_age():
    assert values("tfops_scan_age_seconds", PROD, now=NOW - timedelta(days=1)) == {"": 0}


def test_no_sample_has_a_time_of_its_own():
    assert all(sample.timestamp is None for family in families(PROD) for sample in family.samples)


def test_the_text_itself():
    lines = exposition((PROD,), now=NOW).splitlines()
    start = lines.index("# TYPE tfops_drift_resources gauge")
    assert lines[start + 1 : start + 3] == [
        'tfops_drift_resources{env="prod",stack="prod/network",class="deleted"} 1',
        'tfops_drift_resources{env="prod",stack="prod/network",class="modified"} 3',
    ]


def test_without_any_stack_the_metrics_are_still_declared():
    text = exposition((), now=NOW)
    assert text.endswith("\n")
    assert not list(samples())


def test_the_last_reading_of_a_stack_counts():
    """node_exporter drops a whole file in which one sample stands twice."""
    assert values("tfops_env_verdict", BARE, Reading(stack="dev", environment="dev", verdict="in_sync")) == {
        "in_sync": 1
    }


NAMES = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
NUMBERS = st.integers(0, 2**60)
READINGS = st.builds(
    Reading,
    stack=NAMES,
    environment=NAMES,
    verdict=NAMES,
    classes=st.dictionaries(NAMES, NUMBERS, max_size=3),
    open_seconds=st.dictionaries(NAMES, st.floats(), max_size=3),
    detected=NUMBERS,
    resolved=st.dictionaries(NAMES | st.sampled_from(RESOLVED_HOW), NUMBERS, max_size=3),
    scans=st.dictionaries(NAMES | st.sampled_from(SCAN_RESULTS), NUMBERS, max_size=3),
    duration_seconds=st.none() | st.floats(),
    scanned_on=st.none() | st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC)),
    serial=st.none() | NUMBERS,
    suppressed=NUMBERS,
    pending_commits=st.none() | NUMBERS,
)


@given(st.lists(READINGS, max_size=4))
def test_whatever_the_names_are_a_parser_reads_them_back(readings):
    text = exposition(tuple(readings), now=NOW)
    assert text.endswith("\n")
    found = list(samples(*readings))
    identities = [(name, labels) for name, labels, _ in found]
    assert len(identities) == len(set(identities))
    of_stack = {(each.environment, each.stack): each for each in readings}
    verdicts = {labels for name, labels, _ in found if name == "tfops_env_verdict"}
    assert verdicts == {
        frozenset({("env", env), ("stack", stack), ("verdict", each.verdict)})
        for (env, stack), each in of_stack.items()
    }
    durations = {labels: value for name, labels, value in found if name == "tfops_scan_duration_seconds"}
    for (env, stack), each in of_stack.items():
        value = durations.get(frozenset({("env", env), ("stack", stack)}))
        assert value == each.duration_seconds or (math.isnan(value) and math.isnan(each.duration_seconds))


@given(st.lists(READINGS, max_size=4, unique_by=lambda one: (one.environment, one.stack)), st.randoms())
def test_the_order_of_stacks_never_matters(readings, random):
    shuffled = list(readings)
    random.shuffle(shuffled)
    assert exposition(tuple(shuffled), now=NOW) == exposition(tuple(readings), now=NOW)
