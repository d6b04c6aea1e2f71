"""What a plan artifact claims: an in-toto Statement with tfops' own predicate, and the checks before it is used.

Unknown predicate versions and unknown fields are refused: a verifier never passes over what it does not know.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated, TypeVar

import msgspec

from tfops.dsse import Verified
from tfops.errors import Exit, VerificationError

STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PLAN_TYPE = "https://tfops.dev/terraform-plan/v1"
PLAN_FILES = ("plan.tfplan", "plan.json", "plan.txt")
CLOCK_SKEW = timedelta(minutes=5)


Moment = Annotated[datetime, msgspec.Meta(tz=True)]
"""A time that says its zone; one that does not is refused."""


class Purpose(StrEnum):
    """What a plan was made for; it may be applied only as that."""

    SYNC = "sync"
    SPECULATIVE = "speculative"
    REMEDIATION = "remediation"
    PRUNE = "prune"


class Document(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """Base of every signed value: frozen, keyword-only, camelCase on the wire, unknown fields refused."""


class Digest(Document, frozen=True, kw_only=True):
    """The sha256 of a subject, in hex."""

    sha256: str


class Subject(Document, frozen=True, kw_only=True):
    """A file the statement speaks about."""

    name: str
    digest: Digest


class Source(Document, frozen=True, kw_only=True):
    """Where the code came from."""

    branch: str
    commit: str
    tree: str
    base: str | None = None
    """Of a plan for review: the commit of the branch that `commit` was merged with; `tree` is what that makes."""

    def __str__(self) -> str:
        if self.base is None:
            return f"{self.branch}@{self.commit[:12]}"
        return f"{self.commit[:12]} merged into {self.branch}@{self.base[:12]}"


class StateRef(Document, frozen=True, kw_only=True):
    """The state a plan was made against. `lineage` is None and `serial` 0 where there was none yet."""

    address: str
    lineage: str | None
    serial: int


class TerraformRef(Document, frozen=True, kw_only=True):
    """The program that made the plan file; no other version can apply it."""

    product: str
    version: str
    sha256: str


class Builder(Document, frozen=True, kw_only=True):
    """The run that made a record."""

    runner: str
    host: str
    run_id: str


class AuditHead(Document, frozen=True, kw_only=True):
    """The last entry of the audit log as a record knew it: who cuts the log off later is found out by it."""

    seq: int
    id: str


class ChangeRef(Document, frozen=True, kw_only=True):
    """One entry of the change set: an address (or `output.name`) and the digest of what happens to it."""

    address: str
    digest: str


class PlanPredicate(Document, frozen=True, kw_only=True):
    """Everything a plan is bound to (reference/signing.md §3.3)."""

    purpose: Purpose
    store_id: str
    stack: str
    environment: str
    workspace: str
    root: str
    source: Source
    fingerprint: str
    state: StateRef
    terraform: TerraformRef
    lock_file: Digest | None
    variables: tuple[str, ...]
    summary: Mapping[str, int]
    change_digest: str
    change_set: tuple[ChangeRef, ...]
    base_fingerprint: str | None
    """Of a plan for review: the inputs that the branch has without the change."""
    builder: Builder
    started_on: Moment
    finished_on: Moment
    expires_on: Moment
    audit_head: AuditHead | None
    """None where the log was empty."""


class PlanStatement(Document, frozen=True, kw_only=True, rename={"type_": "_type", "predicate_type": "predicateType"}):
    """The signed document of a plan artifact."""

    type_: str = STATEMENT_TYPE
    predicate_type: str = PLAN_TYPE
    subject: tuple[Subject, ...]
    predicate: PlanPredicate


Statement = TypeVar("Statement", bound=msgspec.Struct)


def encode(statement: msgspec.Struct) -> bytes:
    """The bytes that get signed. Made once; afterwards only these bytes count."""
    return msgspec.json.encode(statement)


def decode(payload: bytes, kind: type[Statement], predicate_type: str, *, what: str) -> Statement:
    """A statement from verified bytes; raises VerificationError for other types, versions and fields."""
    try:
        statement = msgspec.json.decode(payload, type=kind)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise VerificationError(
            f"{what} is signed, but not in a form this version of tfops knows: {error}",
            code="verify.statement",
            hint="it was written by another version of tfops: use that one, or make a new plan",
        ) from error
    found = (getattr(statement, "type_", None), getattr(statement, "predicate_type", None))
    if found != (STATEMENT_TYPE, predicate_type):
        raise VerificationError(
            f"{what} is signed, but is a {found[1]}, not a {predicate_type}",
            code="verify.statement",
            hint="use a file of the right kind",
        )
    return statement


def decode_plan(verified: Verified) -> PlanStatement:
    """The plan statement in a verified payload."""
    return decode(verified.payload, PlanStatement, PLAN_TYPE, what="statement.json")


def subject(name: str, data: bytes) -> Subject:
    """A subject for `data`."""
    return Subject(name=name, digest=Digest(sha256=hashlib.sha256(data).hexdigest()))


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that was looked at, and how it stood."""

    name: str
    ok: bool
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """Base of what a verification found: everything that was looked at."""

    checks: tuple[Check, ...]

    @property
    def verified(self) -> bool:
        """Whether every check held."""
        return all(check.ok for check in self.checks)

    @property
    def exit_code(self) -> Exit:
        """5 where a check failed."""
        return Exit.OK if self.verified else Exit.UNVERIFIED


def check_files(subjects: tuple[Subject, ...], files: Mapping[str, bytes]) -> list[Check]:
    """One check per subject: is the file there, and is it byte for byte what was signed?"""
    return [_check_file(item, files.get(item.name)) for item in subjects]


def _check_file(item: Subject, data: bytes | None) -> Check:
    if data is None:
        return Check(name=item.name, ok=False, detail="missing")
    if hashlib.sha256(data).hexdigest() != item.digest.sha256:
        return Check(name=item.name, ok=False, detail="not the bytes that were signed")
    return Check(name=item.name, ok=True, detail=f"sha256 {item.digest.sha256[:12]}…")


class Expected(msgspec.Struct, frozen=True, kw_only=True):
    """What a plan must be bound to, to be used here and now."""

    store_id: str
    stack: str
    environment: str
    workspace: str
    root: str
    fingerprint: str
    state: StateRef
    terraform: TerraformRef
    now: datetime


def binding_checks(plan: PlanPredicate, expected: Expected, purpose: Purpose) -> list[Check]:
    """Is this plan for this store, stack, workspace, state and code, made by this Terraform, and young enough?"""
    identity = [
        ("store", plan.store_id, expected.store_id),
        ("stack", plan.stack, expected.stack),
        ("environment", plan.environment, expected.environment),
        ("workspace", plan.workspace, expected.workspace),
        ("root", plan.root, expected.root),
        ("state address", plan.state.address, expected.state.address),
        ("purpose", plan.purpose.value, purpose.value),
    ]
    if plan.purpose is Purpose.SPECULATIVE and purpose is not Purpose.SPECULATIVE:
        what = "it is for reviewing a change, and is never applied itself: approve it, merge the change, and sync"
        return [Check(name="purpose", ok=False, detail=what)]
    foreign = [check for check in (_equal(*pair) for pair in identity) if not check.ok]
    if foreign:
        return foreign  # what else differs about another stack's plan says nothing
    pairs = [
        *identity,
        ("fingerprint", plan.fingerprint, expected.fingerprint),
        ("state lineage", plan.state.lineage, expected.state.lineage),
        ("state serial", plan.state.serial, expected.state.serial),
        ("terraform", _program(plan.terraform), _program(expected.terraform)),
    ]
    return [_equal(*pair) for pair in pairs] + [_age(plan, expected.now)]


_WHY = {
    "fingerprint": "the code, its variables or what it depends on changed since the plan was made",
    "state serial": "the plan is stale",
    "state lineage": "the state was replaced since the plan was made",
    "terraform": "another Terraform made the plan",
}


def _equal(name: str, found: object, expected: object) -> Check:
    if found == expected:
        return Check(name=name, ok=True, detail=str(found))
    because = f"; {_WHY[name]}" if name in _WHY else ""
    return Check(name=name, ok=False, detail=f"the plan is for {found}, this is {expected}{because}")


def _program(terraform: TerraformRef) -> str:
    return f"{terraform.product} {terraform.version} ({terraform.sha256[:12]}…)"


def _age(plan: PlanPredicate, now: datetime) -> Check:
    if plan.finished_on - CLOCK_SKEW > now:
        return Check(name="age", ok=False, detail=f"made in the future, at {plan.finished_on.isoformat()}")
    if plan.expires_on < now:
        return Check(name="age", ok=False, detail=f"expired at {plan.expires_on.isoformat()}")
    return Check(name="age", ok=True, detail=f"valid until {plan.expires_on.isoformat()}")


def require(checks: list[Check], *, plan_id: str, stack: str) -> None:
    """Raises one VerificationError naming every check that failed."""
    failed = [check for check in checks if not check.ok]
    if failed:
        found = "; ".join(f"{check.name}: {check.detail}" for check in failed)
        raise VerificationError(
            f"plan {plan_id[:12]} may not be applied to {stack}: {found}",
            code=f"verify.{failed[0].name.replace(' ', '_').replace('.', '_')}",
            hint=f"make a new plan: tfops plan {stack}",
            stack=stack,
        )
