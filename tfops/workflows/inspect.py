"""`tfops inspect`: a plan artifact, or a redacted plan.json, for reading."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from tfops import dsse
from tfops.attestation import PLAN_TYPE, Check, PlanStatement, decode
from tfops.changes import plan_of, summarize
from tfops.dangers import Danger, dangers_of
from tfops.documents import read_document
from tfops.errors import Exit, TfopsError, UsageError, VerificationError
from tfops.redaction import redact
from tfops.steps.artifact import all_checks, files_of
from tfops.steps.opening import Session
from tfops.steps.outlook import Outlook, outlook
from tfops.steps.store import MIN_ID_CHARACTERS, RESULT, STATEMENT, PlanArtifact
from tfops.steps.survey import survey
from tfops.steps.trusting import waiting_change


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """What there is to read of an artifact. `checks` tells how far it can be believed."""

    where: str
    plan_id: str | None
    statement: PlanStatement | None
    redacted: Mapping[str, Any]
    summary: Mapping[str, int]
    dangers: tuple[Danger, ...]
    checks: tuple[Check, ...]
    outlook: Outlook | None = None
    """How it stands at the gate now; None for what is only a copy, or was applied."""

    @property
    def verified(self) -> bool:
        """Whether there was something to verify, and all of it held."""
        return bool(self.checks) and all(check.ok for check in self.checks)

    @property
    def exit_code(self) -> Exit:
        """5 where a check failed. Where nothing could be checked, that is said, and is no failure."""
        return Exit.OK if all(check.ok for check in self.checks) else Exit.UNVERIFIED


def inspect(name: str, *, session: Session | None) -> Inspection:
    """Open a directory, a plan id or a plan JSON file. What is shown is redacted again, whatever the file says."""
    path = Path(name)
    if path.is_file():
        document = read_document(path.read_bytes(), name)
        return _inspection(name, document.content, files={}, session=None)
    if session is not None and not path.is_dir():
        _refuse_rules(session, name)
    files, where = files_of(name, session)
    if "plan.json" not in files:
        raise VerificationError(
            f"{where} has no plan.json", code="verify.incomplete", hint="make a new plan with `tfops plan`"
        )
    content = read_document(files["plan.json"], f"plan.json of {where}").content
    return _inspection(where, content, files=files, session=session)


def _refuse_rules(session: Session, name: str) -> None:
    """Raises UsageError where the name is that of the change of the rules that waits."""
    if len(name) >= MIN_ID_CHARACTERS and (waiting := waiting_change(session)) and waiting.startswith(name):
        raise UsageError(
            f"{name} is a change of the rules, and no plan",
            code="usage.rules_change",
            hint="look at it: tfops trust",
        )


def _inspection(
    where: str, content: Mapping[str, Any], *, files: Mapping[str, bytes], session: Session | None
) -> Inspection:
    redacted = redact(content)
    plan = plan_of(redacted)
    checks, artifact = _checked(files, session, where) if session and files else ([], None)
    is_whole = session is not None and artifact is not None and all(check.ok for check in checks)
    plan_id, statement = _claims(files)
    return Inspection(
        where=where,
        plan_id=plan_id,
        statement=statement,
        redacted=redacted,
        summary=summarize(plan).as_json(),
        dangers=dangers_of(plan),
        checks=tuple(checks),
        outlook=_outlook(session, artifact) if is_whole and session and artifact and RESULT not in files else None,
    )


def _outlook(session: Session, artifact: PlanArtifact) -> Outlook | None:
    """Nothing where the branch cannot be surveyed: the plan itself can be read all the same."""
    try:
        return outlook(session, survey(session), artifact)
    except TfopsError:
        return None


def _checked(files: Mapping[str, bytes], session: Session, where: str) -> tuple[list[Check], PlanArtifact | None]:
    return all_checks(files, session.keys, session.review_keys, where=where)


def _claims(files: Mapping[str, bytes]) -> tuple[str | None, PlanStatement | None]:
    """What the statement says, believed or not: the checks beside it tell."""
    if STATEMENT not in files:
        return None, None
    try:
        claimed = dsse.unverified(files[STATEMENT], what=STATEMENT)
        statement = decode(claimed.payload, PlanStatement, PLAN_TYPE, what=STATEMENT)
    except VerificationError:
        return None, None
    return claimed.id, statement


def _gate(found: Outlook | None) -> dict[str, object] | None:
    if found is None:
        return None
    return {
        "allowed": found.decision.allowed and not found.faults,
        "reasons": list(found.reasons),
        "notes": list(found.notes),
    }


def as_json(inspection: Inspection) -> dict[str, object]:
    """The artifact as a document for programs."""
    statement = inspection.statement
    return {
        "where": inspection.where,
        "verified": inspection.verified,
        "checks": [msgspec.to_builtins(check) for check in inspection.checks],
        "plan_id": inspection.plan_id,
        "statement": json.loads(msgspec.json.encode(statement.predicate)) if statement else None,
        "summary": dict(inspection.summary),
        "gate": _gate(inspection.outlook),
        "plan": dict(inspection.redacted),
    }
