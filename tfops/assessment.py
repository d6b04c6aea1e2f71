"""What a scan found, after the rules of tfops.hcl: what is ignored, what raises an alarm, what becomes an incident."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import date

from tfops.drift import FAILURES, QUIET, STATE_FAULTS, UNDEPLOYED, Drift, Found, Tag
from tfops.drift_rules import DriftRules, IgnoreRule, expired, suppressed_by, unused
from tfops.drift_sentences import cause, own_cause
from tfops.errors import Exit
from tfops.incidents import STACK_ITSELF, Sighting
from tfops.three_way import Word

_LOW = frozenset({Tag.OUTPUT_ONLY, Tag.MARKS_ONLY})


@dataclass(frozen=True, slots=True, kw_only=True)
class Assessment:
    """The drift that counts, and by which rules each of the others does not."""

    drift: Drift
    suppressed: Mapping[str, str] = field(default_factory=dict)

    @property
    def exit_code(self) -> Exit:
        """A state at fault is known; a failed scan is not; what changes nothing is no alarm (DESIGN.md §3)."""
        tags = set(self.drift.tags)
        if tags & STATE_FAULTS:
            return Exit.UNVERIFIED
        if tags & FAILURES:
            return Exit.FAILED
        return Exit.CHANGES if tags - QUIET else Exit.OK


def assess(drift: Drift, rules: DriftRules, *, today: date) -> Assessment:
    """Apply the ignore rules. Whoever repairs a state is never told to look away: its tags cannot be ignored."""
    covered = {
        found.address: [rule.name for rule in _suppressed(found, rules, today)]
        for found in drift.resources
        if not set(found.tags) & (STATE_FAULTS | FAILURES)
    }
    suppressed = {address: ", ".join(names) for address, names in covered.items() if names}
    used = {name for names in covered.values() for name in names}
    counted = tuple(found for found in drift.resources if found.address not in suppressed)
    notes = (*drift.notes, *_complaints(rules, used, today))
    return Assessment(drift=replace(drift, resources=counted, notes=notes), suppressed=suppressed)


def _suppressed(found: Found, rules: DriftRules, today: date) -> tuple[IgnoreRule, ...]:
    names = [item.path for item in found.attributes if item.verdict is not Word.UNKNOWN]
    return suppressed_by(rules.ignore, address=found.address, type_=found.type, attributes=names, today=today)


def _complaints(rules: DriftRules, used: set[str], today: date) -> Iterator[str]:
    for rule in expired(rules.ignore, today):
        yield f'drift ignore "{rule.name}" expired on {rule.expires}: {rule.owner} decides whether it still holds'
    for rule in unused(rules.ignore, used):
        yield f'drift ignore "{rule.name}" matches nothing at present'


def sightings(assessment: Assessment, plan_id: str | None) -> Iterator[Sighting]:
    """What incidents are made of: drift, not what waits to be deployed, and not what a failed scan cannot say."""
    own = [tag for tag in assessment.drift.own if tag not in QUIET | UNDEPLOYED | FAILURES | _LOW]
    if own:
        yield Sighting(
            address=STACK_ITSELF, tags=tuple(tag.value for tag in own), cause=own_cause(own), evidence=plan_id
        )
    for found in assessment.drift.resources:
        tags = [tag for tag in found.tags if tag not in UNDEPLOYED]
        if set(tags) - QUIET - _LOW - FAILURES - {Tag.REPLACE}:
            yield Sighting(
                address=found.address, tags=tuple(tag.value for tag in tags), cause=cause(found), evidence=plan_id
            )
