"""A plan artifact named on the command line: a directory, or the beginning of a plan id in the store."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from tfops import dsse
from tfops.attestation import PLAN_FILES, Check, check_files
from tfops.deployment import decode_deployment
from tfops.errors import VerificationError
from tfops.steps.opening import Session
from tfops.steps.store import (
    APPLIED_FILES,
    NO_KEYS,
    RESULT,
    STATEMENT,
    PlanArtifact,
    artifact_from_directory,
    open_artifact,
)

if TYPE_CHECKING:
    from securesystemslib.signer import SSlibKey

REDACTED = frozenset({"plan.json", "plan.txt"})


def files_of(name: str, session: Session | None) -> tuple[dict[str, bytes], str]:
    """The files of the named artifact, and where they lie in words. `session` is needed for a plan id."""
    directory = Path(name)
    if directory.is_dir() or session is None:
        return artifact_from_directory(directory), str(directory)
    stack, plan_id = session.store.find_plan(name)
    return session.store.plan_files(stack, plan_id), f"plan {plan_id[:12]} of {stack}"


def verified_artifact(name: str, session: Session) -> PlanArtifact:
    """The named artifact, if a trusted runner signed it."""
    files, where = files_of(name, session)
    return open_artifact(files, session.keys, where=where)


def all_checks(
    files: Mapping[str, bytes],
    keys: Mapping[str, "SSlibKey"],
    review_keys: Mapping[str, "SSlibKey"] = NO_KEYS,
    *,
    where: str,
    redacted_only: bool = False,
) -> tuple[list[Check], PlanArtifact | None]:
    """Everything that can be checked of an artifact by itself, without its store or repository."""
    try:
        artifact = open_artifact(files, keys, review_keys, where=where)
    except VerificationError as error:
        return [Check(name="signature", ok=False, detail=f"{error} [{error.problems[0].code}]")], None
    checks = [Check(name="signature", ok=True, detail=f"by runner {artifact.runner}")]
    subjects = artifact.statement.subject
    named = {item.name for item in subjects}
    if named != set(PLAN_FILES):
        checks.append(Check(name="subjects", ok=False, detail=f"it speaks of {', '.join(sorted(named))}"))
    if redacted_only:
        subjects = tuple(item for item in subjects if item.name in REDACTED or item.name in files)
    checks += check_files(subjects, files)
    checks += _applied_checks(files, keys, artifact)
    known = {STATEMENT, *named, *APPLIED_FILES}
    checks += [Check(name=name, ok=False, detail="does not belong here") for name in sorted(set(files) - known)]
    return checks, artifact


def _applied_checks(files: Mapping[str, bytes], keys: Mapping[str, "SSlibKey"], artifact: PlanArtifact) -> list[Check]:
    if RESULT not in files:
        return []
    plan = artifact.statement.predicate
    try:
        verified = dsse.verify(files[RESULT], keys, what=RESULT)
        deployment = decode_deployment(verified, what=RESULT, stack=plan.stack, store_id=plan.store_id)
    except VerificationError as error:
        return [Check(name=RESULT, ok=False, detail=str(error))]
    used = {deployment.record.plan_id, deployment.record.given_plan_id}
    checks = [
        Check(
            name=RESULT,
            ok=artifact.id in used,
            detail=f"{deployment.record.result.value}, by {deployment.runner}",
        )
    ]
    here = deployment.record.plan_id == artifact.id
    subjects = [item for item in deployment.subject if item.name in APPLIED_FILES and here]
    return checks + check_files(tuple(subjects), files)
