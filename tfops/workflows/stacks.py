"""`tfops stacks`: the stacks of a revision, what they map to, and what is left over."""

from collections.abc import Mapping
from dataclasses import dataclass

from tfops.steps.opening import Session
from tfops.steps.orphans import Orphan, orphans
from tfops.steps.survey import stray_backends, survey
from tfops.steps.surveyed import Surveyed


@dataclass(frozen=True, slots=True, kw_only=True)
class Stacks:
    """The result of `tfops stacks`."""

    revision: str
    stacks: tuple[Surveyed, ...]
    orphans: Mapping[str, Orphan]
    stray_backends: tuple[str, ...]


def stacks(session: Session) -> Stacks:
    """Everything the revision's configuration means, without running Terraform."""
    everything = survey(session)
    return Stacks(
        revision=str(session.revision),
        stacks=tuple(everything.values()),
        orphans=orphans(session, everything),
        stray_backends=tuple(stray_backends(session)),
    )
