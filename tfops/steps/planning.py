"""Planning one stack: run Terraform, read what it would do, redact it, and make it a signed artifact."""

import json
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from tfops import dsse
from tfops.adapters.process import Ended
from tfops.adapters.terraform import plan_argv, show_argv
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
from tfops.changeset import ChangeSet, change_set
from tfops.concealment import Secrets
from tfops.dangers import Danger, dangers_of
from tfops.fingerprint import Fingerprint
from tfops.redaction import redact, secrets_of
from tfops.report.plan_text import render_text
from tfops.steps import diagnosis
from tfops.steps.opening import Session, now
from tfops.steps.state import Snapshot
from tfops.steps.store import sha256
from tfops.steps.surveyed import Surveyed
from tfops.steps.workplace import Workplace, seconds_since, secret_values

VALIDITY = timedelta(hours=24)
LOCK_FILE = ".terraform.lock.hcl"


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """A plan that was made, before anything is stored. `redacted` and `text` are what people may see."""

    plan: Plan
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


def make_plan(session: Session, work: Workplace, state: Snapshot, *, lock: bool) -> Planned | None:
    """Plan an initialised stack against `state`; None where there is nothing to do.

    `lock` is whether Terraform takes its own state lock. Raises what `diagnosis` says when Terraform fails.
    """
    started_on = now()
    ended, drifted = _run_plan(session, work, lock=lock)
    if ended.code == 0 and not drifted:
        return None
    planned = _read_plan(session, work, state, started_on)
    return planned if has_work(planned.plan) else None


def _run_plan(session: Session, work: Workplace, *, lock: bool) -> tuple[Ended, bool]:
    stack, start, seen = work.surveyed.id, time.monotonic(), _Seen()
    arguments = plan_argv(out=work.plan_file, var_files=work.surveyed.stack.var_files, lock=lock)
    session.say(stack, "terraform plan")
    ended = work.terraform.run(
        arguments,
        name="plan",
        on_line=seen.look,
        on_wait=lambda: session.say(stack, "terraform is still stopping"),
    )
    if ended.code not in (0, 2):
        raise diagnosis.failed("plan", work.terraform, stack, ended, "plan", _early_secrets(session, work))
    session.say(stack, f"planned in {seconds_since(start)}")
    return ended, seen.drift


class _Seen:
    """What the plan's stream says as it goes by: any line that speaks of drift makes reading the plan worth it."""

    def __init__(self) -> None:
        self.drift = False

    def look(self, line: bytes) -> None:
        self.drift = self.drift or b'"type":"resource_drift"' in line


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """A signed plan, ready to be stored: its id, its files, its envelope."""

    id: str
    files: Mapping[str, bytes]
    envelope: bytes
    statement: PlanStatement


def sign_plan(
    session: Session, surveyed: Surveyed, planned: Planned, fingerprint: Fingerprint, purpose: Purpose
) -> Artifact:
    """Bind the plan to everything it was made from, and sign that."""
    files = {
        "plan.tfplan": planned.plan_file,
        "plan.json": json.dumps(planned.redacted, indent=1, ensure_ascii=False).encode(),
        "plan.txt": planned.text.encode(),
    }
    statement = PlanStatement(
        subject=tuple(subject(name, data) for name, data in files.items()),
        predicate=_predicate(session, surveyed, planned, fingerprint, purpose),
    )
    payload = encode(statement)
    return Artifact(id=sha256(payload), files=files, envelope=dsse.sign(payload, session.signer), statement=statement)


def _predicate(
    session: Session, surveyed: Surveyed, planned: Planned, fingerprint: Fingerprint, purpose: Purpose
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
        builder=session.builder,
        started_on=planned.started_on,
        finished_on=planned.finished_on,
        expires_on=planned.finished_on + VALIDITY,
    )


def source_of(session: Session) -> Source:
    """The session's revision, as records name it."""
    revision = session.revision
    return Source(branch=revision.branch, commit=revision.commit, tree=revision.tree)


def state_ref(surveyed: Surveyed, state: Snapshot) -> StateRef:
    """A state, as records name it."""
    return StateRef(address=str(surveyed.address), lineage=state.lineage, serial=state.serial)


def _lock_file(session: Session, root: str) -> Digest | None:
    try:
        return Digest(sha256=sha256(session.tree.read(f"{root}/{LOCK_FILE}" if root else LOCK_FILE)))
    except KeyError:
        return None


def change_refs(refs: Iterable[ChangeRef]) -> set[tuple[str, str]]:
    """A signed change set, for comparing."""
    return {(ref.address, ref.digest) for ref in refs}
