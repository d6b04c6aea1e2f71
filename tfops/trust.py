"""The rules in force: signed records in the store, each made under the one before it (ADR 0012).

Rules are who may sign, who may approve, what an environment asks for, which Terraform runs, and who is told of drift.
What the stacks are is not among them.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

import msgspec

from tfops.attestation import STATEMENT_TYPE, Builder, Digest, Document, Moment, Source, Subject, decode
from tfops.config import Config, Environment
from tfops.config_gate import Approval, Gate, Protect, strictest
from tfops.config_policy import Policy
from tfops.config_trust import Approver, Runner
from tfops.dsse import Verified
from tfops.owners import PLACES
from tfops.stacks import Stack

TRUST_TYPE = "https://tfops.dev/trust/v1"
FIRST_PREVIOUS = "0" * 64
RULES_CHANGE = "rules-change"
"""What a decision over a change of the rules is about, where one over a plan names stack, environment and subject."""


class TrustPredicate(Document, frozen=True, kw_only=True):
    """The rules themselves, not only where they stand: no force-push and no shallow clone takes them away."""

    version: int
    previous: str
    store_id: str
    source: Source
    config: str
    """The text of tfops.hcl."""
    files: Mapping[str, str]
    """What the rules name in the tree, by path: public keys, and the files of policies."""
    approved_by: tuple[str, ...]
    reason: str
    builder: Builder
    at: Moment


class TrustStatement(Document, frozen=True, kw_only=True, rename={"type_": "_type", "predicate_type": "predicateType"}):
    """The signed document of the rules in force. It speaks about the record before it."""

    type_: str = STATEMENT_TYPE
    predicate_type: str = TRUST_TYPE
    subject: tuple[Subject, ...]
    predicate: TrustPredicate


class Trust(msgspec.Struct, frozen=True, kw_only=True):
    """A record and its id (sha256 of the signed bytes)."""

    id: str
    record: TrustPredicate


def trust_statement(predicate: TrustPredicate) -> TrustStatement:
    """The statement of a record."""
    previous = Subject(name="previous-trust", digest=Digest(sha256=predicate.previous))
    return TrustStatement(subject=(previous,), predicate=predicate)


def next_record(
    last: Trust | None,
    rules: "Rules",
    *,
    store_id: str,
    source: Source,
    reason: str,
    approved_by: tuple[str, ...] = (),
    builder: Builder,
    at: datetime,
) -> TrustPredicate:
    """The record that puts `rules` in force after `last`; the first one where there is none."""
    return TrustPredicate(
        version=last.record.version + 1 if last else 1,
        previous=last.id if last else FIRST_PREVIOUS,
        store_id=store_id,
        source=source,
        config=rules.text,
        files=rules.files,
        approved_by=approved_by,
        reason=reason,
        builder=builder,
        at=at,
    )


def decode_trust(verified: Verified, *, what: str) -> Trust:
    """A record from a verified payload."""
    return Trust(id=verified.id, record=decode(verified.payload, TrustStatement, TRUST_TYPE, what=what).predicate)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """A configuration with the text it was read from, and by path the public keys and policy files that it names."""

    text: str
    config: Config
    files: Mapping[str, str]


def gate_of(environment: str, asked: Gate, former: Iterable[str], rules: Config) -> Gate:
    """What an apply of a stack of `environment` must pass: the strictest of what bears on it.

    That is what the branch's head asks for, what the rules in force ask of that environment and of the `former` ones
    that had its state; an environment that the rules do not know counts as all that they do know.
    """
    known = {one.name: one for one in rules.environments}
    names = [name.partition("@")[0] for name in (environment, *former)]
    lists = ([known[name]] if name in known else known.values() for name in names)
    gates = [asked, *(gate_in(one) for found in lists for one in found)]
    return Gate(
        approval=strictest(gate.approval for gate in gates),
        protects=tuple(dict.fromkeys(protect for gate in gates for protect in gate.protects)),
        freezes=tuple(dict.fromkeys(freeze for gate in gates for freeze in gate.freezes)),
        policies=tuple(one for one in rules.policies if any(name not in known or one.is_for(name) for name in names)),
        is_guarded=any(gate.is_guarded for gate in gates),
    )


def gate_in(environment: Environment | Stack) -> Gate:
    """The gate that an environment, or a stack of it, asks for itself."""
    protects = (environment.protect,) if environment.protect else ()
    asked = environment.approval
    guarded = asked is not None and asked.asks_people
    return Gate(approval=asked, protects=protects, freezes=environment.freezes, is_guarded=guarded)


def still_trusted(rules: Config, head: Config) -> tuple[Approver, ...]:
    """The people in force, without the keys and logins that the branch's head revokes or no longer names."""
    now = {person.name: person for person in head.approvers}
    return tuple(_remaining(person, now.get(person.name)) for person in rules.approvers)


def _remaining(person: Approver, now: Approver | None) -> Approver:
    if now is None or now.is_revoked:
        return replace(person, is_revoked=True)
    fingerprints = {key.fingerprint for key in now.keys}
    left = tuple(key.line for key in person.keys if key.fingerprint in fingerprints)
    return replace(
        person,
        ssh_keys=left,
        logins=tuple(login for login in person.logins if login in now.logins),
        emails=tuple(dict.fromkeys((*person.emails, *now.emails))),
        teams=tuple(team for team in person.teams if team in now.teams),
        valid_until=min((end for end in (person.valid_until, now.valid_until) if end), default=None),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class RulesChange:
    """How two sets of rules differ, in words, and what approval that takes."""

    words: tuple[str, ...]
    approval: Approval

    @property
    def wanted(self) -> int:
        """How many people have to approve it."""
        return self.approval.count

    @property
    def is_empty(self) -> bool:
        """Whether nothing changed."""
        return not self.words


def rules_change(old: Rules, new: Rules) -> RulesChange:
    """What changed between the rules in force and those of the branch's head.

    A changed environment asks for what it asked for before. A new one, and anybody new in trust, asks for the strictest
    there is: whoever may add a person or a state could otherwise get around every gate. To take a key away needs
    nobody, nor to add a policy; to change one or its files needs the strictest of the environments that it judged.
    Where an environment is never applied by itself, one person must agree.
    """
    every = strictest(one.approval for one in old.config.environments)
    changes = [
        *_environment_changes(old.config, new.config, every),
        *_trust_changes(old, new, every),
        *_forge_changes(old.config, new.config, every),
        *_policy_changes(old, new),
        *_review_changes(old.config, new.config, every),
        *_runner_changes(old.config, new.config, every),
        *((f"{place} changed", every) for place in PLACES if old.files.get(place) != new.files.get(place)),
    ]
    asked = strictest(Approval(count=1) if gate is None else gate for _, gate in changes) or _NOBODY
    return RulesChange(words=tuple(word for word, _ in changes), approval=asked)


def proposal_id(previous: str, rules: Rules) -> str:
    """The id of a change of the rules: every runner and every approver comes to the same one."""
    said = json.dumps([previous, rules.text, dict(rules.files)], sort_keys=True)
    return hashlib.sha256(said.encode()).hexdigest()


_Change = tuple[str, Approval | None]
_NOBODY = Approval(count=0)


def _environment_changes(old: Config, new: Config, every: Approval | None) -> Iterable[_Change]:
    before = {one.name: one for one in old.environments}
    now = {one.name: one for one in new.environments}
    for name in sorted({*before, *now}):
        if name not in before:
            yield f'environment "{name}" is new and asks for {_people(now[name].approval)}', every
        elif name not in now:
            yield f'environment "{name}" is gone', before[name].approval
        else:
            yield from _gate_changes(f'environment "{name}"', before[name], now[name])


def _gate_changes(name: str, old: Environment, new: Environment) -> Iterable[_Change]:
    if old.prune != new.prune:
        words = (
            "destroys by itself what is gone from the branch" if new.prune else "destroys nothing by itself any more"
        )
        yield f"{name} {words}", old.approval if new.prune else _NOBODY
    if old.approval != new.approval:
        yield f"{name} asks for {_asks(new.approval)} instead of {_asks(old.approval)}", old.approval
    if old.protect != new.protect:
        weaker = old.protect is not None and not (new.protect or Protect()).is_at_least(old.protect)
        yield f"{name} protects {'less' if weaker else 'more'}", _at_least_one(old.approval) if weaker else _NOBODY
    if old.freezes != new.freezes:
        weaker = not set(old.freezes) <= set(new.freezes)
        yield (
            f"{name} freezes {'at other times' if weaker else 'more often'}",
            (_at_least_one(old.approval) if weaker else _NOBODY),
        )


def _at_least_one(gate: Approval | None) -> Approval | None:
    # What somebody has to say to get past it once, somebody has to say to be rid of it.
    return gate and replace(gate, count=max(1, gate.count))


def _asks(gate: Approval | None) -> str:
    return ", ".join((_people(gate), *(gate.words if gate else ())))


def _people(gate: Approval | None) -> str:
    if gate is None:
        return "a gate that nothing passes by itself"
    return f"{gate.count or 'no'} {'approval' if gate.count == 1 else 'approvals'}"


def _trust_changes(old: Rules, new: Rules, every: Approval | None) -> Iterable[_Change]:
    people = {person.name: person for person in old.config.approvers}
    for name, person in {one.name: one for one in new.config.approvers}.items():
        before = people.pop(name, None)
        if before is None:
            yield f'approver "{name}" is new', every
        elif before != person:
            # An address bars its owner at once, but it may also be that of a code owner.
            is_less = _remaining(before, person) == person and set(person.emails) <= set(before.emails)
            yield f'approver "{name}" changed', _NOBODY if is_less else every
    for name in people:
        yield f'approver "{name}" is gone', _NOBODY
    runners = _runners(old)
    for name, runner in _runners(new).items():
        before_runner = runners.pop(name, None)
        if before_runner != runner:
            yield f'runner "{name}" {"changed" if before_runner else "is new"}', every
    for name in runners:
        yield f'runner "{name}" is gone', _NOBODY


def _forge_changes(old: Config, new: Config, every: Approval | None) -> Iterable[_Change]:
    # Whoever says where reviews are read says who approved.
    before, now = (one.forge and (one.forge.kind, one.forge.url, one.forge.repository) for one in (old, new))
    if before != now:
        words = " ".join(part for part in now or ("none",) if part)
        yield f"the forge is {words}", every


def _policy_changes(old: Rules, new: Rules) -> Iterable[_Change]:
    # Nobody can tell whether another text of a policy refuses less: as if it were taken away.
    before, now = _policies(old), _policies(new)
    for name in sorted({*before, *now}):
        if name not in before:
            yield f'policy "{name}" is new', _NOBODY
        elif before[name] != now.get(name):
            judged = (one.approval for one in old.config.environments if before[name][0].is_for(one.name))
            yield f'policy "{name}" {"changed" if name in now else "is gone"}', _at_least_one(strictest(judged))


def _policies(rules: Rules) -> dict[str, tuple[Policy, Mapping[str, str]]]:
    return {
        one.name: (one, {path: text for path, text in rules.files.items() if one.has(path)})
        for one in rules.config.policies
    }


def _review_changes(old: Config, new: Config, every: Approval | None) -> Iterable[_Change]:
    if old.review != new.review:
        weaker = not new.review.is_at_least(old.review)
        words = f"code for review may do {'more' if weaker else 'less'} while it is planned"
        yield words, _at_least_one(every) if weaker else _NOBODY


def _runner_changes(old: Config, new: Config, every: Approval | None) -> Iterable[_Change]:
    # Both act as the runner: the program with all that it has, a channel with what a variable of its holds.
    before, now = (one.terraform.binary or "what PATH has" for one in (old, new))
    if before != now:
        yield f"the Terraform that runs is {now} instead of {before}", every
    if old.notifications != new.notifications:
        yield "who is told of drift changed", every


def _runners(rules: Rules) -> dict[str, tuple[Runner, str | None]]:
    return {runner.name: (runner, rules.files.get(runner.public_key)) for runner in rules.config.runners}
