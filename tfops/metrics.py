"""What Prometheus may know of the stacks, as the text that node_exporter's textfile collector reads.

A stack has one `tfops_env_verdict` sample, 1, with its current verdict. The age of a scan stands still in a file that
nobody writes any more; its time does not: alert on `time() - tfops_scan_timestamp_seconds`.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime

RESOLVED_HOW = ("reverted", "absorbed_by_code", "accepted", "expired")
SCAN_RESULTS = ("ok", "error", "throttled", "torn", "incomplete")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """One stack. Counts since its first scan come as they are stored: they only grow."""

    stack: str
    environment: str
    verdict: str
    classes: Mapping[str, int] = field(default_factory=dict)
    """Tag → how many resources have it now."""
    open_seconds: Mapping[str, float] = field(default_factory=dict)
    """Tag → how long its oldest open incident has been open."""
    detected: int = 0
    resolved: Mapping[str, int] = field(default_factory=dict)
    scans: Mapping[str, int] = field(default_factory=dict)
    duration_seconds: float | None = None
    scanned_on: datetime | None = None
    serial: int | None = None
    suppressed: int = 0
    pending_commits: int | None = None


Labels = Mapping[str, str]
Sample = tuple[Labels, float]
Samples = Iterator[Sample]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Metric:
    name: str
    kind: str
    help: str
    samples: Callable[[Reading, datetime], Samples]


def exposition(readings: tuple[Reading, ...], *, now: datetime) -> str:
    """Text exposition format 0.0.4: sorted, without timestamps, ended by a newline; of a stack the last reading counts.

    All metrics are declared, also where nothing is known. No two samples have the same name and labels.
    """
    stacks = {(reading.environment, reading.stack): reading for reading in readings}
    ordered = [stacks[key] for key in sorted(stacks)]
    return "".join(line + "\n" for metric in _METRICS for line in _lines(metric, ordered, now))


def _lines(metric: _Metric, readings: list[Reading], now: datetime) -> Iterator[str]:
    yield f"# HELP {metric.name} {metric.help}"
    yield f"# TYPE {metric.name} {metric.kind}"
    for reading in readings:
        for labels, value in metric.samples(reading, now):
            stack = {"env": reading.environment, "stack": reading.stack}
            words = ",".join(f'{name}="{_escaped(text)}"' for name, text in (stack | dict(labels)).items())
            yield f"{metric.name}{{{words}}} {_number(value)}"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _number(value: float) -> str:
    match value:
        case int():
            return str(int(value))
        case _ if value != value:  # noqa: PLR0124 - not a number is what differs from itself
            return "NaN"
        case _ if value in (float("inf"), float("-inf")):
            return "+Inf" if value > 0 else "-Inf"
        case _:
            return repr(value)


def _one(value: float | None) -> Samples:
    if value is not None:
        yield {}, value


def _each(label: str, values: Mapping[str, float], always: tuple[str, ...] = ()) -> Samples:
    """A sample for each value. What `always` names begins at 0, so that its first increase is seen as one."""
    counts = {**dict.fromkeys(always, 0), **values}
    for name in sorted(counts):
        yield {label: name}, counts[name]


def _timestamp(reading: Reading) -> float | None:
    return None if reading.scanned_on is None else reading.scanned_on.timestamp()


def _age(reading: Reading, now: datetime) -> float | None:
    return None if reading.scanned_on is None else max(0.0, (now - reading.scanned_on).total_seconds())


_METRICS = (
    _Metric(
        name="tfops_drift_detected_total",
        kind="counter",
        help="Incidents opened.",
        samples=lambda reading, now: _one(reading.detected),
    ),
    _Metric(
        name="tfops_drift_open_seconds",
        kind="gauge",
        help="How long the oldest open incident of a class has been open.",
        samples=lambda reading, now: _each("class", reading.open_seconds),
    ),
    _Metric(
        name="tfops_drift_resolved_total",
        kind="counter",
        help="Incidents closed, by how they ended.",
        samples=lambda reading, now: _each("how", reading.resolved, RESOLVED_HOW),
    ),
    _Metric(
        name="tfops_drift_resources",
        kind="gauge",
        help="Resources that drifted, by class; one with two classes counts in both.",
        samples=lambda reading, now: _each("class", reading.classes),
    ),
    _Metric(
        name="tfops_drift_suppressed",
        kind="gauge",
        help="Resources whose drift an ignore rule hides from the alarm.",
        samples=lambda reading, now: _one(reading.suppressed),
    ),
    _Metric(
        name="tfops_env_verdict",
        kind="gauge",
        help="Always 1: the label says the current verdict of the stack.",
        samples=lambda reading, now: iter([({"verdict": reading.verdict}, 1)]),
    ),
    _Metric(
        name="tfops_pending_commits",
        kind="gauge",
        help="Commits of the branch that are not applied yet, where that is known.",
        samples=lambda reading, now: _one(reading.pending_commits),
    ),
    _Metric(
        name="tfops_scan_age_seconds",
        kind="gauge",
        help="Age of the last scan when this was written; alert on tfops_scan_timestamp_seconds, which goes on ageing.",
        samples=lambda reading, now: _one(_age(reading, now)),
    ),
    _Metric(
        name="tfops_scan_duration_seconds",
        kind="gauge",
        help="How long the last scan took.",
        samples=lambda reading, now: _one(reading.duration_seconds),
    ),
    _Metric(
        name="tfops_scan_timestamp_seconds",
        kind="gauge",
        help="Unix time of the last scan.",
        samples=lambda reading, now: _one(_timestamp(reading)),
    ),
    _Metric(
        name="tfops_scan_total",
        kind="counter",
        help="Scans, by result.",
        samples=lambda reading, now: _each("result", reading.scans, SCAN_RESULTS),
    ),
    _Metric(
        name="tfops_state_serial",
        kind="gauge",
        help="Serial of the state that was scanned last.",
        samples=lambda reading, now: _one(reading.serial),
    ),
)
