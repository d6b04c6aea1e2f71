"""`tfops verify`: is an artifact what it claims to be? Works offline on a directory with a public key."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tfops.attestation import Check, PlanStatement
from tfops.errors import Exit
from tfops.steps.artifact import all_checks, files_of
from tfops.steps.opening import Session

if TYPE_CHECKING:
    from securesystemslib.signer import SSlibKey


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """Every check of one artifact."""

    where: str
    plan_id: str | None
    statement: PlanStatement | None
    checks: tuple[Check, ...]

    @property
    def verified(self) -> bool:
        """Whether every check held."""
        return all(check.ok for check in self.checks)

    @property
    def exit_code(self) -> Exit:
        """5 where a check failed."""
        return Exit.OK if self.verified else Exit.UNVERIFIED


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
