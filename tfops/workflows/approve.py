"""`tfops approve` and `tfops reject`: a person's decision over a plan, signed with their SSH key."""

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from tfops import dsse
from tfops.adapters.git import git_env
from tfops.adapters.ssh import SshSigner
from tfops.approval import ApprovalPredicate, ApprovalStatement, Tally, Vote, Word, approval_statement
from tfops.attestation import Digest, PlanStatement, check_files, encode
from tfops.errors import FailedError, RefusedError, UsageError, VerificationError
from tfops.steps.artifact import files_of
from tfops.steps.ballots import ballot, decided, open_vote, people_keys
from tfops.steps.opening import Session, now
from tfops.steps.store import PlanArtifact, open_artifact
from tfops.steps.survey import survey
from tfops.steps.surveyed import Surveyed


@dataclass(frozen=True, slots=True, kw_only=True)
class Saying:
    """What a person wants to say, with which key, and for how long."""

    word: Word
    key: Path
    comment: str
    valid: timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """A decision that was signed: whose it is, how the plan stands with it, and where the file lies, if in none."""

    artifact: PlanArtifact
    vote: Vote
    tally: Tally | None
    file: Path | None


def say(session: Session, name: str, saying: Saying, *, out: Path | None) -> Said:
    """Sign a decision over the named plan. It goes into the store, or into the file `out` to be handed over."""
    artifact = _artifact(session, name)
    surveyed = _stack_of(session, artifact.statement)
    signer = SshSigner(saying.key, env=git_env(session.caller.environ))
    owner = _owner(session, signer)
    _refuse_own_work(session, surveyed, artifact, owner, saying.word)
    envelope = dsse.sign(encode(_statement(session, artifact, owner, saying)), signer)
    vote = open_vote(envelope, people_keys(session), what="the approval")
    if out is not None:
        _write(out, envelope)
        return Said(artifact=artifact, vote=vote, tally=None, file=out)
    session.store.put_approval(surveyed.id, artifact.id, vote.id, envelope)
    return Said(artifact=artifact, vote=vote, tally=decided(session, surveyed, artifact).tally, file=None)


def take_over(session: Session, file: Path) -> Said:
    """Bring a decision that was handed over as a file into the store."""
    try:
        envelope = file.read_bytes()
    except OSError as error:
        raise UsageError(
            f"cannot read {file}: {error.strerror}", code="approval.file", hint="name a file of `tfops approve --out`"
        ) from error
    vote = open_vote(envelope, people_keys(session), what=str(file))
    plan_id = next((item.digest.sha256 for item in vote.subject if item.name == "plan-statement"), "")
    artifact = _artifact(session, plan_id)
    surveyed = _stack_of(session, artifact.statement)
    session.store.put_approval(surveyed.id, artifact.id, vote.id, envelope)
    return Said(artifact=artifact, vote=vote, tally=decided(session, surveyed, artifact).tally, file=None)


def _artifact(session: Session, name: str) -> PlanArtifact:
    """The named plan, every file of it as it was signed: nobody decides about what is not whole."""
    files, where = files_of(name, session)
    artifact = open_artifact(files, session.keys, where=where)
    failed = [check for check in check_files(artifact.statement.subject, files) if not check.ok]
    if failed:
        found = "; ".join(f"{check.name}: {check.detail}" for check in failed)
        raise VerificationError(
            f"{where} is not what was signed: {found}",
            code="verify.files",
            hint="do not decide about it; make a new plan with `tfops plan`",
        )
    return artifact


def _stack_of(session: Session, statement: PlanStatement) -> Surveyed:
    plan = statement.predicate
    found = survey(session).get(plan.stack)
    if found is None or plan.store_id != session.store.id:
        raise UsageError(
            f"this plan is for {plan.stack} in store {plan.store_id[:12]}, which {session.revision} does not have",
            code="approval.foreign",
            hint="work in the clone and on the branch that the plan was made for: --branch NAME",
        )
    return found


def _owner(session: Session, signer: SshSigner) -> str:
    fingerprint = signer.public_key.keyid
    found = people_keys(session).get(fingerprint)
    if found is None:
        raise RefusedError(
            f"the key {fingerprint} belongs to nobody whom tfops.hcl trusts to approve",
            code="approval.not_trusted",
            hint='have it added to the trust block: approver "you" { ssh_key = "…" }, or name another key with --key',
        )
    return found[0]


def _refuse_own_work(session: Session, surveyed: Surveyed, artifact: PlanArtifact, owner: str, word: Word) -> None:
    why = dict(ballot(session, surveyed, artifact).barred).get(owner)
    if word is Word.APPROVED and why is not None:
        raise RefusedError(
            f"{owner} {why}: nobody approves their own work",
            code="approval.own_work",
            hint="ask somebody else to look at it",
            stack=surveyed.id,
        )


def _statement(session: Session, artifact: PlanArtifact, owner: str, saying: Saying) -> ApprovalStatement:
    plan, moment = artifact.statement.predicate, now()
    digests = {item.name: item.digest for item in artifact.statement.subject}
    predicate = ApprovalPredicate(
        decision=saying.word,
        approver=owner,
        store_id=session.store.id,
        stack=plan.stack,
        environment=plan.environment,
        change_digest=plan.change_digest,
        decided_on=moment,
        expires_on=moment + saying.valid,
        comment=saying.comment,
        viewed=Digest(sha256=digests["plan.txt"].sha256),
    )
    return approval_statement(artifact.id, digests["plan.tfplan"], predicate)


def _write(file: Path, envelope: bytes) -> None:
    try:
        file.write_bytes(envelope)
    except OSError as error:
        raise FailedError(
            f"cannot write {file}: {error.strerror}", code="approval.file", hint="name another file with --out"
        ) from error
