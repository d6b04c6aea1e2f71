"""Planning one stack: run Terraform, read what it would do, redact it, and make it a signed artifact."""

import json
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from tfops import dsse
from tfops.adapters.process import Ended
from tfops.adapters.terraform import PlanMode, plan_argv, show_argv
from tfops.attestation import (
    ChangeRef,
    Digest,
    PlanPredicate,
    PlanStatement,
    Purpose,
    Source,
    StateRef,
    encode,
    subject,
)
from tfops.changes import Plan, Summary, has_work, parse_plan, summarize
from tfops.changeset import ChangeEntry, ChangeSet, change_set
from tfops.concealment import Secrets
from tfops.dangers import Danger, dangers_of
from tfops.errors import TfopsError
from tfops.fingerprint import Fingerprint
from tfops.redaction import redact, secrets_of
from tfops.report.plan_text import render_text
from tfops.steps import audit, diagnosis
from tfops.steps.opening import Session, now
from tfops.steps.state import Snapshot
from tfops.steps.store import sha256
from tfops.steps.surveyed import Surveyed
from tfops.steps.workplace import Workplace, seconds_since, secret_values
from tfops.wiring import Wiring, wiring

VALIDITY = timedelta(hours=24)
LOCK_FILE = ".terraform.lock.hcl"


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """A plan that was made, before anything is stored. `redacted` and `text` are what people may see."""

    plan: Plan
    wires: Wiring
    plan_file: bytes
    redacted: Mapping[str, Any]
    text: str
    secrets: Secrets
    change_set: ChangeSet
    summary: Summary
    dangers: tuple[Danger, ...]
    state: Snapshot
    started_on: datetime
    finished_on: datetime


def make_plan(
    session: Session, work: Workplace, state: Snapshot, *, lock: bool, mode: PlanMode = PlanMode.CODE
) -> Planned | None:
    """Plan an initialised stack against `state`; None where there is nothing to do.

    `lock` is whether Terraform takes its own state lock. Raises what `diagnosis` says when Terraform fails.
    """
    started_on = now()
    ended, seen = _run_plan(session, work, lock=lock, mode=mode)
    if ended.code not in _PLANNED:
        raise _failed(session, work, ended)
    if ended.code == 0 and _DRIFT not in seen.types:
        return None
    planned = _read_plan(session, work, state, started_on)
    return planned if has_work(planned.plan) else None


def idle_plan(session: Session, work: Workplace, state: Snapshot) -> Planned:
    """The plan in which `make_plan` found nothing to do: of what it is made of people can approve all the same."""
    return _read_plan(session, work, state, now())


@dataclass(frozen=True, slots=True, kw_only=True)
class Looked:
    """What a scan learned: the plan where there is anything in it, and Terraform's error where there was one."""

    planned: Planned | None = None
    failure: TfopsError | None = None


def look_plan(session: Session, work: Workplace, state: Snapshot) -> Looked:
    """Plan an initialised stack without any lock, only to see. A failed plan still tells the drift it found.

    Where it leaves no plan at all, a refresh-only one tells what moved, though not what the code would do about it.
    Raises InterruptedRunError.
    """
    started_on = now()
    ended, seen = _run_plan(session, work, lock=False)
    if ended.code == 0 and not seen.types & {_DRIFT, _DIAGNOSTIC}:
        return Looked()
    if ended.code in _PLANNED:
        return Looked(planned=_read_plan(session, work, state, started_on))
    failure = _failed(session, work, ended)
    if ended.stopped:
        raise failure
    if not work.plan_file.exists():
        again, _ = _run_plan(session, work, lock=False, mode=PlanMode.REFRESH_ONLY)
        if again.stopped:
            raise _failed(session, work, again)
    if not work.plan_file.exists():
        return Looked(failure=failure)
    return Looked(planned=_read_plan(session, work, state, started_on), failure=failure)


_PLANNED = (0, 2)
_DRIFT, _DIAGNOSTIC = b"resource_drift", b"diagnostic"


def _run_plan(
    session: Session, work: Workplace, *, lock: bool, mode: PlanMode = PlanMode.CODE
) -> "tuple[Ended, _Seen]":
    stack, start, seen = work.surveyed.id, time.monotonic(), _Seen()
    arguments = plan_argv(out=work.plan_file, var_files=work.surveyed.stack.var_files, lock=lock, mode=mode)
    session.say(stack, f"terraform plan {mode.value}".rstrip())
    ended = work.terraform.run(
        arguments,
        name="plan",
        on_line=seen.look,
        on_wait=lambda: session.say(stack, "terraform is still stopping"),
    )
    if ended.code in _PLANNED:
        session.say(stack, f"planned in {seconds_since(start)}")
    return ended, seen


def _failed(session: Session, work: Workplace, ended: Ended) -> TfopsError:
    return diagnosis.failed("plan", work.terraform, work.surveyed.id, ended, "plan", _early_secrets(session, work))


class _Seen:
    """The kinds of lines in the plan's stream that make reading the plan worth it, noted as they go by."""

    def __init__(self) -> None:
        self.types: set[bytes] = set()

    def look(self, line: bytes) -> None:
        self.types |= {kind for kind in (_DRIFT, _DIAGNOSTIC) if b'"type":"%b"' % kind in line}


def _early_secrets(session: Session, work: Workplace) -> Secrets:
    """What is known to be secret when a plan failed: variables passed on, and what the half-made plan marks."""
    values = secret_values(session, work.surveyed)
    if work.plan_file.exists():
        ended = work.terraform.run(show_argv(work.plan_file), name="show")
        if ended.code == 0:
            document, _ = parse_plan(work.terraform.stdout("show").read_bytes())
            return secrets_of(document).and_values(values)
    return Secrets.of(values)


def _read_plan(session: Session, work: Workplace, before: Snapshot, started_on: datetime) -> Planned:
    stack = work.surveyed.id
    ended = work.terraform.run(show_argv(work.plan_file), name="show")
    if ended.code:
        raise diagnosis.failed("show", work.terraform, stack, ended, "show")
    raw = work.terraform.stdout("show").read_bytes()
    document, plan = parse_plan(raw)
    secrets = secrets_of(document)
    redacted = redact(document, secrets)
    return Planned(
        plan=plan,
        wires=wiring(document),
        plan_file=work.plan_file.read_bytes(),
        redacted=redacted,
        text=render_text(redacted),
        secrets=secrets.and_values(secret_values(session, work.surveyed)),
        change_set=change_set(
            plan, digest_key=session.store.digest_key, run_paths=[str(work.directory / "tree")], is_secret=secrets.holds
        ),
        summary=summarize(plan),
        dangers=dangers_of(plan),
        state=before,
        started_on=started_on,
        finished_on=now(),
    )


def plan_json(redacted: Mapping[str, Any]) -> bytes:
    """The redacted plan as it is stored, and as policies read it."""
    return json.dumps(redacted, indent=1, ensure_ascii=False).encode()


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """A signed plan, ready to be stored: its id, its files, its envelope."""

    id: str
    files: Mapping[str, bytes]
    envelope: bytes
    statement: PlanStatement


def sign_plan(
    session: Session,
    surveyed: Surveyed,
    planned: Planned,
    fingerprint: Fingerprint,
    purpose: Purpose,
    *,
    base_fingerprint: str | None = None,
) -> Artifact:
    """Bind the plan to everything it was made from, and sign that."""
    files = {
        "plan.tfplan": planned.plan_file,
        "plan.json": plan_json(planned.redacted),
        "plan.txt": planned.text.encode(),
    }
    statement = PlanStatement(
        subject=tuple(subject(name, data) for name, data in files.items()),
        predicate=_predicate(session, surveyed, planned, fingerprint, purpose, base_fingerprint),
    )
    payload = encode(statement)
    signer = session.review_signer if purpose is Purpose.SPECULATIVE else session.signer
    return Artifact(id=sha256(payload), files=files, envelope=dsse.sign(payload, signer), statement=statement)


def _predicate(
    session: Session,
    surveyed: Surveyed,
    planned: Planned,
    fingerprint: Fingerprint,
    purpose: Purpose,
    base_fingerprint: str | None,
) -> PlanPredicate:
    stack = surveyed.stack
    return PlanPredicate(
        purpose=purpose,
        store_id=session.store.id,
        stack=stack.id,
        environment=stack.environment,
        workspace=stack.workspace,
        root=stack.root,
        source=source_of(session),
        fingerprint=fingerprint.digest,
        state=state_ref(surveyed, planned.state),
        terraform=session.terraform_ref,
        lock_file=_lock_file(session, stack.root),
        variables=stack.pass_env,
        summary=planned.summary.as_json(),
        change_digest=planned.change_set.digest,
        change_set=tuple(ChangeRef(address=entry.address, digest=entry.digest) for entry in planned.change_set.entries),
        base_fingerprint=base_fingerprint,
        builder=session.review_builder if purpose is Purpose.SPECULATIVE else session.builder,
        started_on=planned.started_on,
        finished_on=planned.finished_on,
        expires_on=planned.finished_on + VALIDITY,
        audit_head=audit.head(session),
    )


def source_of(session: Session) -> Source:
    """The session's revision, as records name it."""
    revision = session.revision
    return Source(branch=revision.branch, commit=revision.commit, tree=revision.tree, base=revision.base)


def state_ref(surveyed: Surveyed, state: Snapshot) -> StateRef:
    """A state, as records name it."""
    return StateRef(address=str(surveyed.address), lineage=state.lineage, serial=state.serial)


def _lock_file(session: Session, root: str) -> Digest | None:
    try:
        return Digest(sha256=sha256(session.tree.read(f"{root}/{LOCK_FILE}" if root else LOCK_FILE)))
    except KeyError:
        return None


def change_refs(refs: Iterable[ChangeRef | ChangeEntry]) -> set[tuple[str, str]]:
    """A change set, signed or fresh, for comparing."""
    return {(ref.address, ref.digest) for ref in refs}
