"""`tfops verify`: is an artifact what it claims to be? Works offline on a directory with a public key."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tfops.attestation import Checked, PlanStatement
from tfops.steps.artifact import all_checks, files_of
from tfops.steps.opening import Session

if TYPE_CHECKING:
    from securesystemslib.signer import SSlibKey


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification(Checked):
    """Every check of one artifact."""

    where: str
    plan_id: str | None
    statement: PlanStatement | None


def verify(name: str, *, session: Session | None, keys: Mapping[str, "SSlibKey"], redacted_only: bool) -> Verification:
    """Check the named artifact (a directory, or with a session a plan id) against the public keys."""
    files, where = files_of(name, session)
    checks, artifact = all_checks(files, keys, where=where, redacted_only=redacted_only)
    return Verification(
        where=where,
        plan_id=artifact.id if artifact else None,
        statement=artifact.statement if artifact else None,
        checks=tuple(checks),
    )
