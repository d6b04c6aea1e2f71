"""`tfops explain`: any `terraform show -json` document, from any tool, in words. Needs no configuration."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tfops.changes import Plan, ResourceChange, plan_of, summarize
from tfops.dangers import Danger, dangers_of
from tfops.documents import read_document
from tfops.drift import Context, Drift, classify
from tfops.redaction import redact
from tfops.wiring import wiring


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """Counts, dangers and the redacted plan."""

    name: str
    plan: Plan
    redacted: Mapping[str, Any]
    summary: Mapping[str, int]
    dangers: tuple[Danger, ...]
    drift: Drift
    notes: tuple[str, ...]

    @property
    def resources(self) -> tuple[ResourceChange, ...]:
        """The resources something happens to."""
        return tuple(
            entry
            for entry in self.plan.resource_changes
            if entry.action.value != "no-op" or entry.moved or entry.imported
        )


def explain(data: bytes, name: str, context: Context) -> Explanation:
    """Explain one document; raises UsageError saying what it is, where it is no plan.

    What drifted is judged by the values as they are; what is returned holds none that a mask or a name conceals.
    """
    document = read_document(data, name)
    drift = classify(plan_of(document.content), wiring(document.content), context)
    redacted = redact(document.content)
    plan = plan_of(redacted)
    return Explanation(
        name=name,
        plan=plan,
        redacted=redacted,
        summary=summarize(plan).as_json(),
        dangers=dangers_of(plan),
        drift=drift,
        notes=(*document.notes, *drift.notes),
    )
