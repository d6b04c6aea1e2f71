"""`tfops approve` and `tfops reject`: a person's decision over a plan, signed with their SSH key."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from tfops import dsse, ssh_keys
from tfops.adapters.git import git_env
from tfops.adapters.ssh import SshSigner
from tfops.approval import (
    PLAN_STATEMENT,
    ApprovalPredicate,
    ApprovalStatement,
    Ballot,
    Override,
    Tally,
    Vote,
    Word,
    approval_statement,
)
from tfops.attestation import Digest, PlanStatement, Purpose, check_files, encode
from tfops.config_gate import Gate
from tfops.errors import (
    Exit,
    FailedError,
    Problem,
    RefusedError,
    TfopsError,
    UsageError,
    VerificationError,
    most_serious,
)
from tfops.steps.artifact import files_of
from tfops.steps.ballots import ballot, decided
from tfops.steps.decidable import refuse_idle, refuse_nothing_said, refuse_used
from tfops.steps.feedback import tell_decided
from tfops.steps.opening import Session, now
from tfops.steps.outlook import Outlook, outlook
from tfops.steps.plans_of import open_plans
from tfops.steps.pruning import orphaned
from tfops.steps.store import MIN_ID_CHARACTERS, PlanArtifact, open_artifact, sha256
from tfops.steps.survey import survey, survey_merged
from tfops.steps.surveyed import Surveyed
from tfops.steps.trusting import Proposal, gate_for, proposal, put_decision
from tfops.steps.votes import open_vote, people_keys
from tfops.trust import RULES_CHANGE


@dataclass(frozen=True, slots=True, kw_only=True)
class Saying:
    """What a person wants to say, with which key, and for how long."""

    word: Word
    key: Path
    comment: str
    valid: timedelta
    overrides: tuple[Override, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """A decision that was signed: about what, whose, how that stands now, and where its file lies, if in one."""

    id: str
    subject: str
    vote: Vote
    tally: Tally | None
    file: Path | None
    purpose: Purpose | None = None
    """What the plan was made for; None for a change of the rules."""
    outlook: Outlook | None = None
    """How the plan stands at the gate now; None where nobody can tell."""


def say(session: Session, name: str, saying: Saying, *, out: Path | None) -> Said:
    """Sign a decision over the named plan. It goes into the store, or into the file `out` to be handed over."""
    asked = _asked(session, name)
    signer = SshSigner(saying.key, env=git_env(session.caller.environ))
    owner = _owner(session, signer, saying.key)
    _refuse_own_work(asked, owner, saying.word)
    refuse_idle(asked.subject, saying.overrides, asked.gate)
    if saying.word is Word.WITHDRAWN:
        refuse_nothing_said(asked.subject, owner, asked.stands())
    envelope = dsse.sign(encode(_statement(asked, owner, saying)), signer)
    vote = open_vote(envelope, people_keys(session), what="the approval")
    if out is not None:
        _write(out, envelope)
        return Said(id=asked.id, subject=asked.subject, vote=vote, tally=None, file=out)
    return _keep(asked, vote, envelope)


@dataclass(frozen=True, slots=True, kw_only=True)
class SaidAll:
    """What was signed over the plans of one commit, and why nothing was over the others."""

    said: tuple[Said, ...]
    problems: tuple[Problem, ...]
    exit_code: Exit


def say_of_all(session: Session, revision: str, saying: Saying) -> SaidAll:
    """Sign a decision over the newest open plan of each stack of a commit; one that is refused stops no other."""
    said, errors = [], []
    for stack, plan_id in open_plans(session, revision).items():
        try:
            said.append(say(session, plan_id, saying, out=None))
        except TfopsError as error:
            errors.append(error)
            session.say(stack, f"plan {plan_id[:12]}: {error}")
    problems = (problem for error in errors for problem in error.problems)
    return SaidAll(
        said=tuple(said), problems=tuple(problems), exit_code=most_serious(error.exit_code for error in errors)
    )


def take_over(session: Session, file: Path) -> Said:
    """Bring a decision that was handed over as a file into the store."""
    try:
        envelope = file.read_bytes()
    except OSError as error:
        raise UsageError(
            f"cannot read {file}: {error.strerror}", code="approval.file", hint="name a file of `tfops approve --out`"
        ) from error
    _refuse_key(file, envelope)
    vote = open_vote(envelope, people_keys(session), what=str(file))
    named = {item.name: item.digest.sha256 for item in vote.subject}
    return _keep(_asked(session, named.get(PLAN_STATEMENT) or named.get(RULES_CHANGE) or ""), vote, envelope)


def _refuse_key(file: Path, content: bytes) -> None:
    """Raises UsageError where the file is an SSH key: it was meant for --key."""
    if b"PRIVATE KEY-----" in content or content.split(b" ")[0].decode(errors="replace") in ssh_keys.TYPES:
        raise UsageError(
            f"{file} is an SSH key, and no signed decision",
            code="approval.file",
            hint="--file takes what `tfops approve PLAN --out FILE` wrote; your key goes with --key",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """What is to be decided, however it is kept. `viewed` is the sha256 of the text that the person was shown."""

    id: str
    subject: str
    ballot: Ballot
    viewed: str
    put: Callable[[Vote, bytes], None]
    stands: Callable[[], Tally | None]
    gate: Gate | None = None
    """What the plan has to pass; None for a change of the rules."""
    tell: Callable[[], None] = lambda: None
    """Tell the forge, where it wants to hear."""
    purpose: Purpose | None = None
    foresee: Callable[[], Outlook | None] = lambda: None


def _asked(session: Session, name: str) -> _Asked:
    if (proposal := _proposal(session, name)) is not None:
        return _about_rules(session, proposal)
    artifact = _artifact(session, name)
    surveyed = _stack_of(session, artifact.statement)
    refuse_used(session, surveyed.id, artifact.id)
    gate = gate_for(session, surveyed, lineage=artifact.statement.predicate.state.lineage)
    files = {item.name: item.digest.sha256 for item in artifact.statement.subject}
    return _Asked(
        id=artifact.id,
        subject=f"{surveyed.id}: plan {artifact.id[:12]}",
        ballot=ballot(session, surveyed, artifact, gate),
        viewed=files["plan.txt"],
        put=lambda vote, envelope: session.store.put_approval(surveyed.id, artifact.id, vote.id, envelope),
        stands=lambda: decided(session, surveyed, artifact, gate).tally,
        gate=gate,
        tell=lambda: tell_decided(session, artifact),
        purpose=artifact.statement.predicate.purpose,
        foresee=lambda: _outlook(session, artifact),
    )


def _outlook(session: Session, artifact: PlanArtifact) -> Outlook | None:
    """Nothing where nobody can tell: the decision is kept all the same.

    What is gone from the branch, and what undoes drift, is judged by what was deployed: only its own run knows that.
    """
    if artifact.statement.predicate.purpose not in (Purpose.SYNC, Purpose.SPECULATIVE):
        return None
    try:
        return outlook(session, survey(session), artifact)
    except TfopsError:
        return None


def _proposal(session: Session, name: str) -> Proposal | None:
    found = proposal(session) if len(name) >= MIN_ID_CHARACTERS else None
    return found if found is not None and found.id.startswith(name) else None


def _about_rules(session: Session, found: Proposal) -> _Asked:
    def stands() -> Tally | None:
        now_found = proposal(session)
        return now_found.tally if now_found else None

    return _Asked(
        id=found.id,
        subject=f"rules: change {found.id[:12]}",
        ballot=found.ballot,
        viewed=sha256(found.diff.encode()),
        put=lambda vote, envelope: put_decision(session, found.id, vote.id, envelope),
        stands=stands,
    )


def _keep(asked: _Asked, vote: Vote, envelope: bytes) -> Said:
    asked.put(vote, envelope)
    asked.tell()
    return Said(
        id=asked.id,
        subject=asked.subject,
        vote=vote,
        tally=asked.stands(),
        file=None,
        purpose=asked.purpose,
        outlook=asked.foresee(),
    )


def _artifact(session: Session, name: str) -> PlanArtifact:
    """The named plan, every file of it as it was signed: nobody decides about what is not whole."""
    files, where = files_of(name, session)
    artifact = open_artifact(files, session.keys, session.review_keys, where=where)
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
    plan, live = statement.predicate, survey(session)
    found = live.get(plan.stack)
    if found is None and plan.purpose is Purpose.SPECULATIVE:
        found = survey_merged(session, plan.source.commit).get(plan.stack)
    elif found is None:
        kept = orphaned(session, live, plan.stack)
        found = kept.surveyed if kept is not None else None
    if found is None or plan.store_id != session.store.id:
        raise UsageError(
            f"this plan is for {plan.stack} in store {plan.store_id[:12]}, which {session.revision} does not have",
            code="approval.foreign",
            hint="work in the clone and on the branch that the plan was made for: --branch NAME",
        )
    return found


def _owner(session: Session, signer: SshSigner, file: Path) -> str:
    fingerprint = signer.public_key.keyid
    found = people_keys(session).get(fingerprint)
    _refuse_expired(session, fingerprint)
    if found is None:
        raise RefusedError(
            f"the key {fingerprint} of {file} belongs to nobody whom tfops.hcl trusts to approve",
            code="approval.not_trusted",
            hint="name another key with --key, or have this one added to the trust block: "
            f'approver "NAME" {{ ssh_key = "{signer.public_key.line}" }}',
        )
    return found[0]


def _refuse_expired(session: Session, fingerprint: str) -> None:
    for person in session.rules.config.approvers:
        if person.at(now()) != person and fingerprint in {key.fingerprint for key in person.keys}:
            raise RefusedError(
                f"the key of {person.name} was valid until {person.valid_until}",
                code="approval.not_trusted",
                hint="a longer valid_until in the trust block is a change of the rules, which others approve",
            )


def _refuse_own_work(asked: _Asked, owner: str, word: Word) -> None:
    why = dict(asked.ballot.barred).get(owner)
    if word is Word.APPROVED and why is not None:
        raise RefusedError(
            f"{owner} {why}: nobody approves their own work",
            code="approval.own_work",
            hint="ask somebody else to look at it",
            stack=asked.ballot.question.stack,
        )


def _statement(asked: _Asked, owner: str, saying: Saying) -> ApprovalStatement:
    question, moment = asked.ballot.question, now()
    predicate = ApprovalPredicate(
        decision=saying.word,
        approver=owner,
        store_id=question.store_id,
        stack=question.stack,
        environment=question.environment,
        change_digest=question.change_digest,
        decided_on=moment,
        expires_on=moment + saying.valid,
        overrides=saying.overrides,
        comment=saying.comment,
        viewed=Digest(sha256=asked.viewed),
    )
    return approval_statement(question, predicate)


def _write(file: Path, envelope: bytes) -> None:
    try:
        file.write_bytes(envelope)
    except OSError as error:
        raise FailedError(
            f"cannot write {file}: {error.strerror}", code="approval.file", hint="name another file with --out"
        ) from error
