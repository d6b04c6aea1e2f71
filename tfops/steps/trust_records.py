"""The records of the rules in force: read in a chain from the last one this machine knows, appended once."""

import contextlib
import hashlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from tfops import dsse
from tfops.attestation import encode
from tfops.config_trust import SPECULATIVE
from tfops.dsse import public_key
from tfops.errors import ConfigError, VerificationError
from tfops.steps.caller import Caller
from tfops.steps.configuration import remembered_config
from tfops.steps.store import Store
from tfops.trust import FIRST_PREVIOUS, Rules, Trust, TrustPredicate, decode_trust, trust_statement

if TYPE_CHECKING:
    from securesystemslib.signer import Signer, SSlibKey

PLACE = "trust"


def read_trust(store: Store, caller: Caller, first_keys: Mapping[str, "SSlibKey"]) -> Trust | None:
    """The last record, or None where there is none. Each must be signed by a runner that the one before it trusts.

    The first one that this machine sees must be signed by one of `first_keys`. Raises VerificationError
    `trust.rolled_back` where the store lacks what this machine has seen, `trust.chain` for a record that does not
    follow the one before it, and what `dsse.verify` raises.
    """
    known = _remembered(store, caller)
    last, keys = known, keys_of(rules_of(known, caller)) if known else first_keys
    while (data := store.objects.get(_key(last.record.version + 1 if last else 1))) is not None:
        last = _next(store, data, last, keys)
        keys = keys_of(rules_of(last, caller))
        _remember(store, caller, data)
    return last


def earlier_rules(store: Store, caller: Caller, last: Trust) -> Iterator[Rules]:
    """The rules that were in force before `last`, the newest first; raises as `earlier_records` does."""
    return (rules_of(one, caller) for one in earlier_records(store, last))


def first_record(store: Store, last: Trust) -> Trust:
    """The first record, with which tfops was set up; raises as `earlier_records` does."""
    return [last, *earlier_records(store, last)][-1]


def earlier_records(store: Store, last: Trust) -> Iterator[Trust]:
    """The records before `last`, the newest first: each is the one that the next names by digest.

    Raises VerificationError `trust.chain` where the store has others, or none.
    """
    while last.record.version > 1:
        version = last.record.version - 1
        what, data = f"version {version} of the rules in force", store.objects.get(_key(version))
        found = None
        if data is not None:
            found = decode_trust(dsse.unverified(data, what=what), what=what)
        if found is None or found.id != last.record.previous:
            raise VerificationError(
                f"{what} is not the one that the next was made under",
                code="trust.chain",
                hint="somebody changed the store: restore it from a backup, and find out who could write to it",
            )
        last = found
        yield last


def append_trust(store: Store, caller: Caller, predicate: TrustPredicate, signer: "Signer") -> bool:
    """Sign the record and append it. False where another run was first."""
    envelope = dsse.sign(encode(trust_statement(predicate)), signer)
    if not store.objects.create(_key(predicate.version), envelope):
        return False
    _remember(store, caller, envelope)
    return True


def rules_of(trust: Trust, caller: Caller) -> Rules:
    """The rules that a record holds."""
    text = trust.record.config
    try:
        config = remembered_config(text.encode(), caller.cache)
    except ConfigError as error:
        raise VerificationError(
            f"the rules in force, version {trust.record.version}, cannot be read by this version of tfops: {error}",
            code="trust.unreadable",
            hint="use the version of tfops that wrote them, or a newer one",
        ) from error
    return Rules(text=text, config=config, files=trust.record.files)


def keys_of(rules: Rules) -> dict[str, "SSlibKey"]:
    """The public keys of the runners that the rules name, and whose signatures count on everything."""
    return _keys(rules, only=None)


def review_keys_of(rules: Rules) -> dict[str, "SSlibKey"]:
    """The public keys of those that sign plans for review and nothing else."""
    return _keys(rules, only=SPECULATIVE)


def _keys(rules: Rules, *, only: str | None) -> dict[str, "SSlibKey"]:
    runners = (runner for runner in rules.config.runners if runner.only == only)
    return {runner.name: public_key(rules.files[runner.public_key].encode()) for runner in runners}


def _next(store: Store, data: bytes, last: Trust | None, keys: Mapping[str, "SSlibKey"]) -> Trust:
    version = last.record.version + 1 if last else 1
    what = f"version {version} of the rules in force"
    found = decode_trust(dsse.verify(data, keys, what=what), what=what)
    expected = (store.id, version, last.id if last else FIRST_PREVIOUS)
    if (found.record.store_id, found.record.version, found.record.previous) != expected:
        raise VerificationError(
            f"{what} does not follow the one before it",
            code="trust.chain",
            hint="somebody changed the store: restore it from a backup, and find out who could write to it",
        )
    return found


def _remembered(store: Store, caller: Caller) -> Trust | None:
    """The last record this machine has seen: verified then, so that only its being in the store is checked now."""
    try:
        data = _memory(store, caller).read_bytes()
    except OSError:
        return None
    what = "the rules in force that this machine remembers"
    known = decode_trust(dsse.unverified(data, what=what), what=what)
    if store.objects.get(_key(known.record.version)) != data:
        raise VerificationError(
            f"the store no longer has version {known.record.version} of the rules in force, which this machine has "
            "seen: it was rolled back, or changed",
            code="trust.rolled_back",
            hint=f"restore the store; if an older backup is meant, remove {_memory(store, caller)}",
        )
    return known


def _remember(store: Store, caller: Caller, data: bytes) -> None:
    _write(_memory(store, caller), data)


def _write(file: Path, data: bytes) -> None:
    with contextlib.suppress(OSError):  # a machine that keeps nothing reads the whole chain each time
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        temporary = file.with_suffix(".new")
        temporary.write_bytes(data)
        temporary.replace(file)


def refuse_other_store(store: Store, where: str, caller: Caller, origin: str) -> None:
    """Raises VerificationError `trust.other_store` where the repository belongs to another store, or to one elsewhere.

    Which one it is says a commit. If that alone counted, one could bring its own rules along, in a store of its own, or
    what people decided without what some of them did, in a copy. So TFOPS_STORE says it, `ID` or `ID@PLACE`, and what
    it leaves open what this machine remembers.
    """
    file = _store_of(caller, origin)
    said, remembered = caller.store_id, _read(file)
    if said is not None:
        _refuse(store, where, said, "TFOPS_STORE says", "change TFOPS_STORE")
    if remembered is not None and (said is None or (said == store.id and _id_of(remembered) == said)):
        _refuse(store, where, remembered, "this machine knows this repository with", f"remove {file}")


def _refuse(store: Store, where: str, known: str, who: str, change: str) -> None:
    if _id_of(known) != store.id:
        raise VerificationError(
            f"tfops.hcl names the store {store.id}, but {who} {known}: in another store other rules are in force",
            code="trust.other_store",
            hint=f"find out who changed it; if the move is meant, {change}",
        )
    if known not in (store.id, _name(store, where)):
        raise VerificationError(
            f"tfops.hcl names the store {store.id} at {where}, but {who} {known}: "
            "a copy may lack what people decided, or what was done since",
            code="trust.other_store",
            hint=f"find out who changed it; if all of the store was moved there and nobody uses the old one, {change}",
        )


def _name(store: Store, where: str) -> str:
    return f"{store.id}@{where}"


def _id_of(name: str) -> str:
    return name.partition("@")[0]


def _read(file: Path) -> str | None:
    try:
        return os.fsdecode(file.read_bytes()).rstrip("\n")
    except OSError:
        return None


def remember_store(store: Store, where: str, caller: Caller, origin: str) -> None:
    """From now on this machine knows the repository with this store, at this place."""
    file = _store_of(caller, origin)
    if _read(file) in (None, store.id):
        _write(file, os.fsencode(_name(store, where)))


def _store_of(caller: Caller, origin: str) -> Path:
    # Somebody who names a configuration file of their own may well keep a store for each.
    name = f"{origin}\n{caller.config_file.resolve()}" if caller.config_file else origin
    return caller.state_home / PLACE / f"of-{hashlib.sha256(name.encode()).hexdigest()[:32]}"


def _memory(store: Store, caller: Caller) -> Path:
    return caller.state_home / PLACE / f"{store.id}.json"


def _key(version: int) -> str:
    return f"{PLACE}/{version:012d}.json"
