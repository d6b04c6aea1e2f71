"""A deployment as a person reads it: what was done, why, by whom, and who let it."""

from collections import Counter
from collections.abc import Iterable

from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from tfops.attestation import Purpose
from tfops.deployment import Deployment, Result, ResultPredicate
from tfops.report.neutral import neutral
from tfops.report.tables import OUTCOME_STYLE, lines

_DONE = {"create": "created", "update": "updated", "delete": "destroyed", "replace": "replaced", "read": "read"}
_WHY = {Purpose.SYNC: "", Purpose.REMEDIATION: "drift brought back to ", Purpose.PRUNE: "no longer wanted, gone from "}
_NAMED = 3


def deployment_lines(deployment: Deployment, headline: str) -> Padding:
    """One deployment; `headline` is what its commit says of itself."""
    record = deployment.record
    title = Text(record.result.value, OUTCOME_STYLE.get(record.result.value, "red"))
    title.append(f"  {record.finished_on:%Y-%m-%d %H:%M:%S}Z", "default")
    title.append(f"  deployment {deployment.id[:12]}", "dim")
    facts = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    facts.add_column(style="dim")
    facts.add_column(overflow="fold")
    for name, fact in _facts(deployment, headline):
        facts.add_row(name, Text(neutral(fact)))
    return Padding(lines(title, Padding(facts, (0, 0, 0, 2))), (0, 0, 0, 2))


def _facts(deployment: Deployment, headline: str) -> Iterable[tuple[str, str]]:
    record = deployment.record
    yield "what", f"{_what(record)}; serial {record.serial_before} → {record.state.serial}"
    yield "why", _why(record, headline)
    yield "who", f"runner {deployment.runner} on {record.builder.host}, run {record.builder.run_id}"
    if record.approved_by:
        yield "approved", f"by {' and '.join(record.approved_by)}{_approved_elsewhere(record)}"
    if record.overrides:
        yield "past", " and ".join(record.overrides)
    if record.plan_id:
        asked = f", for {record.given_plan_id[:12]}, which was asked for" if record.given_plan_id else ""
        yield "plan", f"{record.plan_id[:12]}{asked}"
    if record.reason and record.result is not Result.ADOPTED:
        yield "error", record.reason.splitlines()[0]


def _approved_elsewhere(record: ResultPredicate) -> str:
    """The approved plans, where people did not approve just the plan that was applied."""
    if not record.approved_plans or record.approved_plans == (record.plan_id,):
        return ""
    return f", in plan {' and '.join(plan[:12] for plan in record.approved_plans)}"


def _what(record: ResultPredicate) -> str:
    if record.result is Result.ADOPTED:
        return "the state was adopted as it is"
    done = Counter(_DONE.get(one.action, one.action) for one in record.resources if one.ok)
    left = [one.address for one in record.resources if not one.ok]
    words = [f"{number} {word}" for word, number in done.items()]
    if left:
        words.append(f"{len(left)} not finished: {', '.join(left[:_NAMED])}{' …' if len(left) > _NAMED else ''}")
    return ", ".join(words) or "no resource changed"


def _why(record: ResultPredicate, headline: str) -> str:
    if record.result is Result.ADOPTED:
        return record.reason
    said = f"  {headline}" if headline else ""
    return f"{_WHY.get(record.purpose, '')}{record.source.branch}@{record.source.commit[:12]}{said}"
