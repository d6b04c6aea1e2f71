"""The rules in force: one signed record in the store; it moves only when a change passes the old rules (ADR 0012)."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import msgspec

from tfops.attestation import STATEMENT_TYPE, Builder, Digest, Document, Moment, Source, Subject, decode
from tfops.config import Approval, Config, Environment
from tfops.config_trust import Approver, Runner
from tfops.dsse import Verified

TRUST_TYPE = "https://tfops.dev/trust/v1"
FIRST_PREVIOUS = "0" * 64


class Gate(Document, frozen=True, kw_only=True):
    """What an apply to one state must pass. `count` is None where nothing is ever applied automatically."""

    environment: str
    count: int | None


class TrustPredicate(Document, frozen=True, kw_only=True):
    """The rules themselves, not only where they stand: no force-push and no shallow clone takes them away."""

    version: int
    previous: str
    store_id: str
    source: Source
    config: str
    """The text of tfops.hcl."""
    files: Mapping[str, str]
    """What trust names in the tree: public keys by path."""
    gates: Mapping[str, Gate]
    """By state address."""
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
    """A verified record and its id (sha256 of the signed bytes)."""

    id: str
    runner: str
    record: TrustPredicate


def trust_statement(predicate: TrustPredicate) -> TrustStatement:
    """The statement of a record."""
    previous = Subject(name="previous-trust", digest=Digest(sha256=predicate.previous))
    return TrustStatement(subject=(previous,), predicate=predicate)


def decode_trust(verified: Verified, *, what: str) -> Trust:
    """A record from a verified payload."""
    found = decode(verified.payload, TrustStatement, TRUST_TYPE, what=what)
    return Trust(id=verified.id, runner=verified.signer, record=found.predicate)


def strictest(counts: Iterable[int | None]) -> int | None:
    """The strictest of several gates: None, nothing automatic, is stricter than any number; without any it is 0."""
    found = list(counts)
    return None if None in found else max((count for count in found if count is not None), default=0)


def gate_of(address: str, environment: str, asked: Approval | None, trust: TrustPredicate, rules: Config) -> Gate:
    """What an apply of a stack of `environment` to the state at `address` must pass.

    The strictest of what the branch's head asks for, what the rules in force ask of that environment, and what the
    state was under until now, whichever environment had it.
    """
    known = [one for one in rules.environments if one.name == environment.partition("@")[0]]
    counts = [count_of(asked), *(count_of(one.approval) for one in known)]
    before = trust.gates.get(address)
    if before is not None:
        counts.append(before.count)
    if not known and before is None:
        counts.append(strictest(count_of(one.approval) for one in rules.environments))
    return Gate(environment=environment, count=strictest(counts))


def count_of(approval: Approval | None) -> int | None:
    """How many people a gate asks for; None where nothing is applied automatically."""
    return approval.count if approval else None


@dataclass(frozen=True, slots=True, kw_only=True)
class RulesChange:
    """How two sets of rules differ, in words, and how many people have to approve that."""

    words: tuple[str, ...]
    wanted: int | None

    @property
    def is_empty(self) -> bool:
        """Whether nothing changed."""
        return not self.words


def rules_change(old: Config, new: Config, old_files: Mapping[str, str], new_files: Mapping[str, str]) -> RulesChange:
    """What changed between the rules in force and those of the branch's head.

    A changed environment asks for what it asked for before. A new one, and anything in trust, asks for the strictest
    there is: whoever may add a person or a state could otherwise get around every gate.
    """
    every = strictest(count_of(one.approval) for one in old.environments)
    before, after = _named(old), _named(new)
    words, counts = [], []
    for name in sorted({*before, *after}):
        if before.get(name) == after.get(name):
            continue
        words.append(f'environment "{name}" {_verb(name in before, name in after)}')
        counts.append(count_of(before[name].approval) if name in before else every)
    for word in _trust_words(old, new, old_files, new_files):
        words.append(word)
        counts.append(every)
    return RulesChange(words=tuple(words), wanted=strictest(counts))


def _named(config: Config) -> dict[str, Environment]:
    # How often it is scanned judges nothing.
    return {one.name: replace(one, drift=None) for one in config.environments}


def _trust_words(old: Config, new: Config, old_files: Mapping[str, str], new_files: Mapping[str, str]) -> Iterable[str]:
    people_before, people_now = _people(old), _people(new)
    for name in sorted({*people_before, *people_now}):
        if people_before.get(name) != people_now.get(name):
            yield f'approver "{name}" {_verb(name in people_before, name in people_now)}'
    runners_before, runners_now = _runners(old, old_files), _runners(new, new_files)
    for name in sorted({*runners_before, *runners_now}):
        if runners_before.get(name) != runners_now.get(name):
            yield f'runner "{name}" {_verb(name in runners_before, name in runners_now)}'


def _people(config: Config) -> dict[str, Approver]:
    return {person.name: person for person in config.approvers}


def _runners(config: Config, files: Mapping[str, str]) -> dict[str, tuple[Runner, str | None]]:
    return {runner.name: (runner, files.get(runner.public_key)) for runner in config.runners}


def _verb(was: bool, is_: bool) -> str:
    return "changed" if was and is_ else "is new" if is_ else "is gone"
