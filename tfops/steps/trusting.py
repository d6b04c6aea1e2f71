"""Which rules judge this run, and how they move: by a first record, or by a change that passes the old rules."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from difflib import unified_diff

from tfops import audit
from tfops.approval import Ballot, Question, Tally, joined, tally, without
from tfops.attestation import Source
from tfops.config_gate import Approval, Evidence, Gate
from tfops.errors import VerificationError
from tfops.landing import Landed, Reviewed, backing, reviewed
from tfops.steps import audit as audit_log
from tfops.steps.ballot_box import BallotBox, lost, open_box
from tfops.steps.code_owners import without_owner
from tfops.steps.configuration import CONFIG_NAME
from tfops.steps.former import are_alike, former_environments
from tfops.steps.opening import Session, now
from tfops.steps.own_work import authors_between, authors_of_paths
from tfops.steps.reviews import electorate, landed_since, notes_of
from tfops.steps.rules_landed import changes_rules, rule_paths
from tfops.steps.surveyed import Surveyed
from tfops.steps.trust_records import PLACE, append_trust
from tfops.steps.undone import undone_paths
from tfops.steps.votes import read_votes
from tfops.steps.witnessing import witness
from tfops.taken_back import outdated
from tfops.trust import (
    RULES_CHANGE,
    RulesChange,
    Trust,
    gate_in,
    gate_of,
    next_record,
    proposal_id,
    rules_change,
)

DECISIONS = f"{PLACE}/decisions"


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """A change of the rules that waits: its id, what it changes, in words and as text, and how it stands."""

    id: str
    change: RulesChange
    diff: str
    ballot: Ballot
    tally: Tally
    unverified: tuple[str, ...]
    box: BallotBox

    @property
    def words(self) -> tuple[str, ...]:
        """What it would change, and what it waits for."""
        people = "approval" if self.change.wanted == 1 else "approvals"
        asked = f"the change needs {self.change.wanted} {people}; there are {len(self.tally.approved_by)}"
        return (*self.change.words, asked, *self.tally.words, *(f"{one}; it does not count" for one in self.unverified))


def gate_for(session: Session, surveyed: Surveyed, *, lineage: str | None) -> Gate:
    """What an apply of the stack must pass, where a state of that `lineage` is there; None if there is none.

    Raises VerificationError where the rules in force cannot be known.
    """
    stack, asked = surveyed.stack, gate_in(surveyed.stack)
    if are_alike(session, surveyed):
        return asked
    return gate_of(stack.environment, asked, former_environments(session, surveyed, lineage), session.rules.config)


def establish(session: Session) -> None:
    """Make sure that the store has rules in force: one in which nothing was ever planned gets those of this branch."""
    if session.trust is not None:
        return
    has_stacks = bool(session.store.stacks())
    if _again(session).trust is not None:  # another run was first, between our two looks
        return
    if has_stacks:
        raise VerificationError(
            "the store has stacks, but no rules in force: somebody removed them, or an older tfops made it",
            code="trust.missing",
            hint='restore the store; if what the branch says is right: tfops trust accept --reason "…"',
        )
    advance(session, reason="the first rules")


def follow(session: Session, *, dry_run: bool) -> Proposal | None:
    """Bring the rules in force to those of the branch where the old ones allow that; else the change that waits."""
    if not dry_run:
        establish(session)
    change = _change(session)
    if change.is_empty:
        return None
    waiting = proposal(session)
    if waiting is not None and not dry_run:
        witness(session, waiting.box, stack=RULES_CHANGE, subject=waiting.id)
    if waiting is not None and not waiting.tally.is_approved:
        return waiting
    if not dry_run:
        approved_by = waiting.tally.approved_by if waiting else ()
        words = "; ".join(change.words)
        if not advance(session, reason=words, approved_by=approved_by, details={"changes": words}):
            return follow(session, dry_run=dry_run)
        session.say("", f"the rules in force are now those of {session.revision}: {words}")
    return None


def waiting_change(session: Session) -> str | None:
    """The id of the change of the rules that the branch's head asks for; None where there is none."""
    if session.trust is None or _change(session).is_empty:
        return None
    return proposal_id(session.trust.id, session.head_rules)


def proposal(session: Session) -> Proposal | None:
    """The change of the rules that the branch's head asks for and that is not in force; None where there is none.

    Only the branch that the rules follow can ask for one, and only a revision that comes after theirs.
    """
    change = _change(session)
    if session.trust is None or change.is_empty:
        return None
    id_ = proposal_id(session.trust.id, session.head_rules)
    ballot = _ballot(session, session.trust, id_, change)
    box = open_box(session.store, decisions_name(id_))
    votes, unverified = read_votes(session, box.decisions)
    signed = replace(tally(ballot, votes, now()), lost=lost(session.store, box))
    signed = _without_outdated(session, session.trust, change, signed)
    counted = _counted(session, session.trust, change, ballot, signed)
    return Proposal(
        id=id_,
        change=change,
        diff=difference(session),
        ballot=ballot,
        tally=counted,
        unverified=tuple(unverified),
        box=box,
    )


def _without_outdated(session: Session, trust: Trust, change: RulesChange, signed: Tally) -> Tally:
    """The tally without those who approved the change before it was taken back; it may have been pushed again since."""
    if not signed.approved_by:
        return signed
    taken = undone_paths(session, rule_paths(session), trust.record.source.commit or None)
    old = outdated(taken, {person: signed.said_on[person] for person in signed.approved_by}, taken)
    return replace(without(signed, old, change.wanted), notes=(*signed.notes, *sorted(set(old.values()))))


def _counted(session: Session, trust: Trust, change: RulesChange, ballot: Ballot, signed: Tally) -> Tally:
    """The tally with those who approved on the forge, and what is missing of code owners."""
    if Evidence.FORGE not in change.approval.sources:
        return _with_owners(session, change, signed, [signed.approved_by])
    found = landed_since(session, trust.record.source.commit or None)
    changing = [one for one in found.landed if changes_rules(session, one)]
    said = [_reviewed(session, one, change) for one in changing]
    counted = _with_reviews(ballot, signed, changing, said)
    groups = [(*signed.approved_by, *one.approved_by) for one in said] or [signed.approved_by]
    return _with_owners(session, change, replace(counted, notes=(*found.notes, *counted.notes)), groups)


def _with_reviews(ballot: Ballot, signed: Tally, changing: list[Landed], said: list[Reviewed]) -> Tally:
    """The tally with those who approved, on the forge, the changes since the last rules that make others of them.

    Each needs as many people as the whole; who signed the whole counts for each of them.
    """
    backed = backing(said, signed.approved_by, ballot.wanted)
    rejected = {person for one in said for person in one.rejected_by}
    notes = [
        note
        for one, heard in zip(changing, said, strict=True)
        for note in (*notes_of(one, heard), *_lacking(one, heard, signed, ballot.wanted))
    ]
    found = joined(signed, ballot, approved=backed.people, rejected=rejected, notes=notes)
    return replace(found, missing=max(found.missing, backed.missing))


def _lacking(landed: Landed, said: Reviewed, signed: Tally, wanted: int) -> tuple[str, ...]:
    found = len({*signed.approved_by, *said.approved_by})
    is_short = found < wanted and landed.fault is None
    return (f"{landed.name} makes other rules, and has {found} of {wanted} approvals",) if is_short else ()


def _with_owners(session: Session, change: RulesChange, counted: Tally, groups: list[tuple[str, ...]]) -> Tally:
    """Where code owners are asked, those of the files that hold the rules are: of the text in force, not of the new.

    One is needed in each of the groups: those who approved one change each, of several.
    """
    old, new = session.rules, session.head_rules
    texts = ({CONFIG_NAME: rules.text, **rules.files} for rules in (old, new))
    before, after = texts
    paths = {path for path in {*before, *after} if before.get(path) != after.get(path)}
    left = without_owner(
        session, change.approval, paths, lambda _, owners: not any(owners.isdisjoint(group) for group in groups)
    )
    return replace(counted, missing=max(1, counted.missing), notes=(*counted.notes, *left)) if left else counted


def _reviewed(session: Session, landed: Landed, change: RulesChange) -> Reviewed:
    own = dict(authors_between(session, landed.base, landed.change.head)) if landed.change and not landed.fault else {}
    whose = electorate(session, own, Gate(approval=change.approval))
    return reviewed(landed, whose, asked=None, now=now())


def put_decision(session: Session, proposal_id: str, vote_id: str, envelope: bytes) -> None:
    """Keep a person's signed decision over a change of the rules."""
    session.store.objects.create(f"{decisions_name(proposal_id)}/{vote_id}.json", envelope)


def decisions_name(proposal_id: str) -> str:
    """Where the decisions over a change of the rules lie."""
    return f"{DECISIONS}/{proposal_id}"


def _change(session: Session) -> RulesChange:
    trust, nothing = session.trust, RulesChange(words=(), approval=Approval(count=0))
    if trust is None or not session.is_followed:
        return nothing
    if not is_after(session, trust):
        session.say(
            "",
            f"the rules in force come from {trust.record.source.commit[:12]}, which {session.revision} does not "
            'contain: they stay as they are. If the branch was rewritten on purpose: tfops trust accept --reason "…"',
        )
        return nothing
    return rules_change(session.rules, session.head_rules)


def is_after(session: Session, trust: Trust) -> bool:
    """Whether the revision contains the commit that the rules come from: only then it may ask to change them."""
    then, repository = trust.record.source.commit, session.repository
    return not then or (repository.has(then) and repository.is_ancestor(then, session.revision.commit))


def _ballot(session: Session, trust: Trust, id_: str, change: RulesChange) -> Ballot:
    tip = session.revision.commit
    question = Question(
        store_id=session.store.id,
        stack=RULES_CHANGE,
        environment=RULES_CHANGE,
        change_digest=id_,
        asked_on=trust.record.at,
        subjects=((RULES_CHANGE, id_),),
    )
    return Ballot(
        question=question,
        approvers=frozenset(person.name for person in session.approvers if not person.is_revoked),
        barred=tuple(authors_of_paths(session, rule_paths(session), trust.record.source.commit or None, tip)),
        wanted=change.wanted,
        takes_signatures=Evidence.SIGNED in change.approval.sources,
        max_age_seconds=change.approval.max_age_seconds,
    )


def difference(session: Session) -> str:
    """How the text of the branch's rules differs from that of the rules in force."""
    old, new = session.rules, session.head_rules
    texts = [("tfops.hcl", old.text, new.text)]
    texts += [(path, old.files.get(path, ""), new.files.get(path, "")) for path in sorted({**old.files, **new.files})]
    lines = (
        line.rstrip("\n")
        for path, before, now in texts
        for line in unified_diff(
            before.splitlines(), now.splitlines(), f"{path} in force", f"{path} at {session.revision}", n=2
        )
    )
    return "\n".join(lines)


def _again(session: Session) -> Session:
    session.forget_rules()
    return session


def advance(
    session: Session, *, reason: str, approved_by: tuple[str, ...] = (), details: Mapping[str, str] | None = None
) -> bool:
    """Append the branch's rules to the record, and an entry with these further details to the audit log.

    False where another run moved them first: they are to be judged anew.
    """
    revision = session.revision
    predicate = next_record(
        session.trust,
        session.head_rules,
        store_id=session.store.id,
        source=Source(branch=revision.branch, commit=revision.commit, tree=revision.tree),
        reason=reason,
        approved_by=approved_by,
        builder=session.builder,
        at=now(),
    )
    appended = append_trust(session.store, session.caller, predicate, session.signer)
    session.forget_rules()
    if not appended:
        return False
    said = {"version": str(predicate.version), "revision": revision.commit, "approved_by": ", ".join(approved_by)}
    said |= details or {}
    audit_log.record(session, audit.Event.CHANGE_RULES, RULES_CHANGE, reason=reason, details=said)
    return True
