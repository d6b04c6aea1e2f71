"""Does what people approved cover what this stack would do? Collected from every plan they decided about."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from tfops.approval import Override, Tally, opposed, without
from tfops.attestation import PlanPredicate, Purpose
from tfops.config_gate import Gate
from tfops.coverage import Approved, Content, Gap, backers, begun, contains, content, gap, leading, partial, touches
from tfops.deployment import baseline
from tfops.errors import VerificationError
from tfops.gate import Consent
from tfops.steps.applying import Approvals
from tfops.steps.ballots import Decided, decided
from tfops.steps.code_owners import missing_owners
from tfops.steps.inputs_archive import kept_manifest
from tfops.steps.merge_result import as_merged
from tfops.steps.outcome import StackRun
from tfops.steps.own_work import authors_between, authors_since
from tfops.steps.planning import change_refs
from tfops.steps.plans_of import used_plans
from tfops.steps.reviews import (
    Heard,
    Read,
    ReviewedPlan,
    files_at,
    heard,
    read_inputs,
    reviewed_plans,
    unexplained,
)
from tfops.steps.store import PlanArtifact
from tfops.steps.undone import undone
from tfops.steps.witnessing import witness
from tfops.taken_back import Taken, outdated
from tfops.unread import approved_with, begins_to_read, grouped


@dataclass(frozen=True, slots=True, kw_only=True)
class Covering:
    """A plan that somebody approved, with what it covers here."""

    decided: Decided
    content: Content

    @property
    def approved(self) -> Approved:
        """Its content, and who approved it."""
        return Approved(content=self.content, people=frozenset(self.decided.tally.approved_by))


@dataclass(frozen=True, slots=True, kw_only=True)
class Consenting:
    """What people said, the approved plans that it rests on, and who else read what those are made of."""

    consent: Consent
    covering: tuple[Covering, ...]
    touching: tuple[Covering, ...]
    """Every plan that says anything about it and that nobody is against, also where nobody is for all of it."""
    read: tuple[Approved, ...] = ()


def consent(stack: StackRun, changes: set[tuple[str, str]], waiting: PlanArtifact | None, gate: Gate) -> Consenting:
    """What people said that bears on `changes`; `waiting` is the plan of just these changes that they may look at."""
    wanted = _wanted(stack, changes)
    evidence = _evidence(stack, wanted, gate)
    touching, covering, approved = evidence.touching, evidence.covering, evidence.approved
    own = _own(stack, waiting, wanted, gate, evidence.taken) if waiting is not None else None
    others = {name: tally for name, tally in evidence.against.items() if waiting is None or name != waiting.id}
    said = opposed(own.tally if own else _nobody(stack, gate), others, evidence.approved_on)
    standing = _standing(said, backers(wanted, approved), gate)
    found = Consent(
        tally=replace(standing, notes=(*standing.notes, *evidence.notes)),
        unread=_unread(stack, wanted, evidence, waiting, gate),
        gap=gap(wanted, approved, max(1, min(gate.wanted, len(standing.approved_by)))),
        covered_by=tuple(one.decided.artifact.id for one in covering),
        is_covered=gap(wanted, approved, gate.wanted).is_empty and (bool(covering) or not gate.wanted),
        unowned=missing_owners(stack.session, gate, wanted, approved),
        unverified=own.unverified if own else (),
        overrides={override: _not_overridden(override, wanted, touching, gate) for override in Override},
    )
    return Consenting(consent=found, covering=covering, touching=touching, read=evidence.read)


def is_agreed(stack: StackRun, gate: Gate) -> bool:
    """Whether as many people as an apply would need approved what the stack is made of, where it changes nothing.

    What they did not approve is not approved by having changed nothing yet.
    """
    return bool(gate.approval and not gate.approval.asks_people) or not unapproved(stack, gate)


def unapproved(stack: StackRun, gate: Gate) -> tuple[str, ...]:
    """What the stack is made of that fewer people approved than an apply would need: names of inputs, sorted.

    All that changed where nothing is ever applied automatically, or where an owner's approval is missing.
    """
    wanted = _wanted(stack, set())
    changed = tuple(sorted({name for name, _, _ in wanted.inputs}))
    if gate.approval is None or not changed:
        return changed
    approved = _evidence(stack, wanted, gate).approved
    if missing_owners(stack.session, gate, wanted, approved):
        return changed
    return gap(wanted, approved, gate.wanted).inputs


@dataclass(frozen=True, slots=True, kw_only=True)
class _Evidence:
    """The plans that say anything about what is wanted, who else read what they are made of, and remarks."""

    touching: tuple[Covering, ...]
    read: tuple[Approved, ...]
    notes: tuple[str, ...]
    taken: Taken
    """What landed and was taken back: who approved it before that is in neither of the two."""
    against: Mapping[str, Tally]
    """How plans stand that do what is wanted, and that somebody rejected, by their ids."""
    approved_on: Mapping[str, datetime]
    """When people last approved any of it."""

    @property
    def covering(self) -> tuple[Covering, ...]:
        return tuple(one for one in self.touching if one.decided.tally.approved_by)

    @property
    def approved(self) -> tuple[Approved, ...]:
        return (*(one.approved for one in self.covering), *self.read)


def _unread(
    stack: StackRun, wanted: Content, evidence: _Evidence, waiting: PlanArtifact | None, gate: Gate
) -> tuple[str, ...]:
    """What of the stack's inputs nobody approves but with the plan that waits, in words."""
    others = [one.approved for one in evidence.covering if waiting is None or one.decided.artifact.id != waiting.id]
    names = gap(wanted, [*others, *evidence.read], max(1, gate.wanted)).inputs
    base, session = baseline(stack.head).commit, stack.session
    added = set(begun(wanted, files_at(session.repository, base))).intersection(names)
    return (
        *approved_with(names, base=base, tip=session.revision.commit, between=".."),
        *begins_to_read(sorted(added), hidden=f"is what it was in {base[:12]}"),
    )


def _evidence(stack: StackRun, wanted: Content, gate: Gate) -> _Evidence:
    said = heard(stack, gate)
    decided_ = tuple(_decided_plans(stack, said, wanted, gate))
    heard_ = tuple(_read(stack, said, wanted, gate))
    taken = undone(stack, wanted) if decided_ or heard_ else {}
    plans = tuple(_up_to_date(stack, one, gate, taken) for one in decided_)
    standing = tuple(one for one in plans if not one.decided.tally.is_stopped)
    read = tuple(one for one in (_still_read(one, taken) for one in heard_) if one.people)
    parts = _parts(stack, standing, read, gate)
    open_ = tuple(one for one in standing if one.decided.artifact.id not in parts)
    steps = leading(wanted, [*(one.approved for one in open_), *read])
    old = (_outdated(stack, one.content, one.decided.tally, taken) for one in decided_)
    again = {words for found in old for words in found.values()}
    return _Evidence(
        touching=tuple(one for one in open_ if touches(one.content, wanted, steps)),
        read=read,
        notes=(
            *sorted(again),
            *_in_part(standing, wanted, parts),
            *said.notes,
            *_notes(plans),
            *unexplained(stack, gate, said, wanted),
        ),
        taken=taken,
        against={
            one.decided.artifact.id: one.decided.tally
            for one in plans
            if one.decided.tally.is_stopped and contains(wanted, one.content)
        },
        approved_on=_approved_on(standing),
    )


def _parts(
    stack: StackRun, plans: Iterable[Covering], read: Iterable[Approved], gate: Gate
) -> Mapping[str, tuple[str, ...]]:
    """The plans that cover nothing, for only a part of them landed: nobody saw that part without the rest."""
    known = {one.decided.artifact.id: one.approved for one in plans}
    return partial(known, read, stack.fingerprint.manifest, max(1, gate.wanted))


def _in_part(plans: Iterable[Covering], wanted: Content, parts: Mapping[str, tuple[str, ...]]) -> Iterator[str]:
    """What is missing of the approved plans that would say something about what is wanted, in words."""
    known = [one for one in plans if one.decided.tally.approved_by]
    steps = leading(wanted, [one.approved for one in known])
    for one in known:
        names = parts.get(one.decided.artifact.id, ())
        if names and touches(one.content, wanted, steps):
            verb = "is" if len(names) == 1 else "are"
            yield (
                f"plan {one.decided.artifact.id[:12]} was approved as a whole, and {grouped(names)} {verb} not as it "
                "says: it covers nothing"
            )


def _approved_on(plans: Iterable[Covering]) -> dict[str, datetime]:
    tallies = [one.decided.tally for one in plans]
    said = [(tally.said_on[person], person) for tally in tallies for person in tally.approved_by if tally.said_on]
    return {person: on for on, person in sorted(said)}


def _up_to_date(stack: StackRun, one: Covering, gate: Gate, taken: Taken) -> Covering:
    """A plan without those who approved it before something of it was taken back."""
    old = _outdated(stack, one.content, one.decided.tally, taken)
    return replace(one, decided=replace(one.decided, tally=without(one.decided.tally, old, gate.wanted)))


def _still_read(read: Read, taken: Taken) -> Approved:
    steps = {(name, now) for name, _, now in read.approved.content.inputs}
    return replace(read.approved, people=read.approved.people - outdated(steps, read.said_on, taken).keys())


def _outdated(stack: StackRun, plan: Content, tally: Tally, taken: Taken) -> dict[str, str]:
    # That all of a stack goes is no step of an input: it is that its code, or its environment, is gone.
    steps = set(taken) if stack.purpose is Purpose.PRUNE else {(name, now) for name, _, now in plan.inputs}
    approving = {person: on for person, on in tally.said_on.items() if person not in tally.rejected_by}
    return outdated(steps, approving, taken)


def _own(stack: StackRun, waiting: PlanArtifact, wanted: Content, gate: Gate, taken: Taken) -> Decided:
    """How the plan itself stands that waits."""
    found = Covering(decided=_decided(stack, waiting, gate), content=_content(stack, waiting, wanted))
    return _up_to_date(stack, found, gate, taken).decided


def _wanted(stack: StackRun, changes: set[tuple[str, str]]) -> Content:
    before = kept_manifest(stack.session, stack.id, baseline(stack.head).fingerprint)
    return content(changes, before=before, now=stack.fingerprint.manifest)


def _not_overridden(override: Override, wanted: Content, touching: tuple[Covering, ...], gate: Gate) -> Gap:
    said = [
        Approved(content=one.content, people=frozenset(one.decided.tally.overridden_by.get(override, ())))
        for one in touching
    ]
    return gap(wanted, said, max(1, gate.wanted))


def _standing(own: Tally, people: frozenset[str], gate: Gate) -> Tally:
    """How the plan itself stands, counting those who approved all of it in other plans."""
    found = {*own.approved_by, *people} - {*own.rejected_by}
    return replace(
        own,
        approved_by=tuple(sorted(found)),
        missing=max(0, gate.wanted - len(found)),
        may_still=tuple(person for person in own.may_still if person not in {*found, *own.rejected_by}),
    )


def approvals_of(found: Consenting, overrides: tuple[Override, ...]) -> Approvals:
    """The approved plans as a deployment names them."""
    return Approvals(
        plans=tuple(one.decided.artifact.id for one in found.covering),
        people=tuple(sorted(_people(found))),
        overrides={override.value: _people_for(found, override) for override in overrides},
    )


def _people(found: Consenting) -> set[str]:
    return {person for one in (*(one.approved for one in found.covering), *found.read) for person in one.people}


def _people_for(found: Consenting, override: Override) -> tuple[str, ...]:
    people = (one.decided.tally.overridden_by.get(override, ()) for one in found.touching)
    return tuple(sorted({person for some in people for person in some}))


def _notes(plans: Iterable[Covering]) -> tuple[str, ...]:
    """What the reviews of a commit have against all of its plans: one that counts for an older plan is no fault."""
    noted: dict[str, list[set[str]]] = {}
    for one in plans:
        commit = one.decided.artifact.statement.predicate.source.commit
        noted.setdefault(commit, []).append(set(one.decided.tally.notes))
    return tuple(note for found in noted.values() for note in sorted(set[str].intersection(*found)))


def _read(stack: StackRun, said: Heard, wanted: Content, gate: Gate) -> Iterator[Read]:
    for landed in said.landed:
        if landed.fault is None and landed.change is not None:
            own = dict(authors_between(stack.session, landed.base, landed.change.head))
            found = read_inputs(stack, gate, landed, wanted, own)
            if found.approved.people:
                yield found


def _decided_plans(stack: StackRun, said: Heard, wanted: Content, gate: Gate) -> Iterator[Covering]:
    """Every plan of the stack that somebody decided about, signed or on the forge, and that is not used up."""
    session, used = stack.session, used_plans(stack.session, stack.id)
    reviews = {plan.plan_id: plan for landed in said.landed for plan in reviewed_plans(stack, landed)}
    for plan_id in sorted({*session.store.decided_plans(stack.id), *reviews} - used):
        artifact = _artifact(stack, plan_id, reviews.get(plan_id))
        if artifact is not None and _is_for(stack, artifact.statement.predicate):
            found = _decided(stack, artifact, gate, on_forge=reviews.get(plan_id))
            yield Covering(decided=found, content=_content(stack, artifact, wanted))


def _artifact(stack: StackRun, plan_id: str, known: ReviewedPlan | None) -> PlanArtifact | None:
    if known is not None:
        return known.artifact
    try:
        return stack.session.store.plan(stack.id, plan_id, stack.session.keys, stack.session.review_keys)
    except VerificationError:
        return None  # a plan that does not verify covers nothing; its approvals are shown where it is the one waiting


def _decided(stack: StackRun, artifact: PlanArtifact, gate: Gate, *, on_forge: ReviewedPlan | None = None) -> Decided:
    """How a plan stands; what people signed about it is on record before anything is done because of it."""
    found = decided(stack.session, stack.surveyed, artifact, gate, on_forge=on_forge)
    if not stack.options.dry_run:
        witness(stack.session, found.box, stack=stack.id, subject=artifact.id)
    return found


def _is_for(stack: StackRun, plan: PlanPredicate) -> bool:
    if stack.purpose is Purpose.PRUNE and stack.head and plan.finished_on < stack.head.record.finished_on:
        return False  # who approved the end of an earlier deployment said nothing of this one
    mine = (stack.session.store.id, stack.id, stack.surveyed.stack.workspace, stack.surveyed.stack.root)
    theirs = (plan.store_id, plan.stack, plan.workspace, plan.root)
    same_state = plan.state.address == str(stack.surveyed.address) and plan.state.lineage in (stack.lineage, None)
    # Who approved a change of the code did not say that all of the stack may be destroyed.
    purposes = {stack.purpose} if stack.purpose is Purpose.PRUNE else {stack.purpose, Purpose.SPECULATIVE}
    # Merged into another branch the same commit makes something else.
    same_branch = plan.source.branch == stack.session.revision.branch
    return mine == theirs and same_state and same_branch and plan.purpose in purposes


def _content(stack: StackRun, artifact: PlanArtifact, wanted: Content) -> Content:
    plan = artifact.statement.predicate
    changes = change_refs(plan.change_set)
    if plan.fingerprint == stack.fingerprint.digest and plan.purpose is not Purpose.SPECULATIVE:
        return Content(changes=frozenset(changes), inputs=wanted.inputs)
    made_of = kept_manifest(stack.session, stack.id, plan.fingerprint)
    if made_of is None or plan.purpose is not Purpose.SPECULATIVE:
        return Content(changes=frozenset(changes), inputs=frozenset())
    before = kept_manifest(stack.session, stack.id, plan.base_fingerprint) if plan.base_fingerprint else None
    if plan.base_fingerprint and before is None:  # somebody removed what it begins with: not everything is new
        return Content(changes=frozenset(changes), inputs=frozenset())
    found = content(changes, before=before, now=made_of)
    if artifact.runner in stack.session.review_keys:
        return as_merged(stack.session, stack.id, plan.source, found)
    return found


def _nobody(stack: StackRun, gate: Gate) -> Tally:
    session = stack.session
    people = {person.name for person in session.approvers if not person.is_revoked}
    own = authors_since(session, stack.surveyed, session.revision.commit, stack.fingerprint.manifest)
    people -= {person for person, _ in own}
    return Tally(
        approved_by=(),
        rejected_by=(),
        uncounted=(),
        missing=gate.wanted,
        may_still=tuple(sorted(people)),
    )
