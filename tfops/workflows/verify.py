"""`tfops verify`: is an artifact what it claims to be? Works offline on a directory with a public key."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tfops.attestation import Checked, PlanStatement
from tfops.steps.artifact import all_checks, files_of
from tfops.steps.opening import Session
from tfops.steps.store import NO_KEYS

if TYPE_CHECKING:
    from securesystemslib.signer import SSlibKey


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification(Checked):
    """Every check of one artifact."""

    where: str
    plan_id: str | None
    statement: PlanStatement | None


def verify(
    name: str, *, session: Session | None, keys: Mapping[str, "SSlibKey"] | None, redacted_only: bool
) -> Verification:
    """Check the named artifact (a directory, or with a session a plan id) against the public keys.

    Without `keys` those of the rules in force count.
    """
    files, where = files_of(name, session)
    in_force = (session.keys, session.review_keys) if session and keys is None else (keys or NO_KEYS, NO_KEYS)
    checks, artifact = all_checks(files, *in_force, where=where, redacted_only=redacted_only)
    return Verification(
        where=where,
        plan_id=artifact.id if artifact else None,
        statement=artifact.statement if artifact else None,
        checks=tuple(checks),
    )
