"""What will change, as digests that can be compared: equal for two plans of the same change.

Plan files of the same change always differ in bytes (timestamp, refresh noise, the directory of the run).
An approval therefore covers entries of a change set, never a plan file's digest.
"""

import hashlib
import hmac
import json
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

from tfops.changes import Action, Change, Plan, ResourceChange, action_of, any_true, submask

ALGORITHM = "tfops-change/v1"


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class ChangeEntry:
    """One changed object or output and the digest of what happens to it."""

    address: str
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeSet:
    """The sorted entries of a plan."""

    entries: tuple[ChangeEntry, ...] = ()

    @property
    def digest(self) -> str:
        """The change digest: one sha256 (hex) over all entries and the algorithm's name."""
        listed = [[entry.address, entry.digest] for entry in self.entries]
        return _sha256({"algorithm": ALGORITHM, "entries": listed})

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to apply."""
        return not self.entries


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """An entry that no approved change set holds: its address is new, or what happens there is."""

    address: str
    kind: Literal["added", "changed"]


def change_set(
    plan: Plan,
    *,
    digest_key: bytes,
    run_paths: Iterable[str] = (),
    is_secret: Callable[[str], bool] = lambda _: False,
) -> ChangeSet:
    """The change set of `plan`.

    Masked values enter as HMAC under `digest_key`, so that nobody without the key can guess them; so do
    strings of which `is_secret` is true (providers repeat secrets without a mark). Absolute directories
    of the run (`run_paths`) are normalised.
    """
    digester = _Digester(key=digest_key, paths=_path_pattern(run_paths), is_secret=is_secret)
    entries = [digester.resource(entry) for entry in plan.resource_changes if _counts(entry)]
    entries += [
        digester.output(name, change)
        for name, change in plan.output_changes.items()
        if action_of(change) is not Action.NO_OP
    ]
    return ChangeSet(entries=tuple(sorted(entries)))


def difference(fresh: ChangeSet, *approved: ChangeSet) -> tuple[Difference, ...]:
    """The entries of `fresh` that stand in none of `approved`; empty when all of it is approved."""
    known = {entry for one in approved for entry in one.entries}
    addresses = {entry.address for entry in known}
    return tuple(
        Difference(address=entry.address, kind="changed" if entry.address in addresses else "added")
        for entry in fresh.entries
        if entry not in known
    )


def _counts(entry: ResourceChange) -> bool:
    if entry.action is Action.READ and entry.mode == "data":
        return False
    return entry.action is not Action.NO_OP or entry.moved or entry.imported


@dataclass(frozen=True, slots=True, kw_only=True)
class _Digester:
    key: bytes
    paths: re.Pattern[str]
    is_secret: Callable[[str], bool]

    def resource(self, entry: ResourceChange) -> ChangeEntry:
        change = entry.change
        label = entry.address if entry.deposed is None else f"{entry.address} (deposed {entry.deposed})"
        digest = _sha256(
            {
                "address": entry.address,
                "deposed": entry.deposed,
                "mode": entry.mode,
                "actions": change.actions,
                "previous_address": entry.previous_address if entry.moved else None,
                "importing": self._importing(change),
                "replace_paths": self._plain(list(change.replace_paths)),
                "values": self._sides(change, entry.action),
            }
        )
        return ChangeEntry(address=label, digest=digest)

    def output(self, name: str, change: Change) -> ChangeEntry:
        address = f"output.{name}"
        values = self._values(change.before, change.after, change)
        digest = _sha256({"address": address, "actions": change.actions, "values": values})
        return ChangeEntry(address=address, digest=digest)

    def _sides(self, change: Change, action: Action) -> dict[str, object]:
        """Before, after and masks as far as they belong to the change: the rest is refresh noise."""
        match action:
            case Action.NO_OP | Action.FORGET:
                return {}
            case Action.CREATE | Action.REPLACE:
                return self._values(None, change.after, change)
            case Action.DELETE:
                return self._values(change.before, None, change)
            case Action.UPDATE:
                return self._updates(change)
            case Action.READ | Action.UNKNOWN:
                return self._values(change.before, change.after, change)

    def _updates(self, change: Change) -> dict[str, object]:
        if not (isinstance(change.before, dict) and isinstance(change.after, dict)):
            return self._values(change.before, change.after, change)
        attributes = {name: _attribute(change, name) for name in _attribute_names(change)}
        return {
            name: self._values(attribute.before, attribute.after, attribute)
            for name, attribute in attributes.items()
            if _differs(attribute)
        }

    def _values(self, before: object, after: object, change: Change) -> dict[str, object]:
        return {
            "before": self._value(before, change.before_sensitive),
            "after": self._value(after, change.after_sensitive),
            "after_unknown": _marks(change.after_unknown),
            "before_sensitive": _marks(change.before_sensitive) if before is not None else None,
            "after_sensitive": _marks(change.after_sensitive),
        }

    def _importing(self, change: Change) -> object:
        # Terraform calls the object's contents unstable: what is imported is all that counts.
        if change.importing is None:
            return None
        return self._plain({key: change.importing.get(key) for key in ("id", "identity", "unknown")})

    def _value(self, value: object, mask: object) -> object:
        if value is not None and (mask is True or (any_true(mask) and not isinstance(value, dict | list))):
            return self._concealed(self._plain(value, conceal=False))
        if isinstance(value, dict):
            return {self._text(key): self._value(child, submask(mask, key)) for key, child in value.items()}
        if isinstance(value, list):
            return [self._value(child, submask(mask, index)) for index, child in enumerate(value)]
        return self._plain(value)

    def _plain(self, value: object, *, conceal: bool = True) -> object:
        match value:
            case str():
                text = self._text(value)
                return self._concealed(text) if conceal and self.is_secret(value) else text
            case dict():
                return {self._text(key): self._plain(child, conceal=conceal) for key, child in value.items()}
            case list() | tuple():
                return [self._plain(child, conceal=conceal) for child in value]
            case _:
                return value

    def _concealed(self, value: object) -> dict[str, str]:
        return {"hmac-sha256": hmac.new(self.key, _canonical(value), hashlib.sha256).hexdigest()}

    def _text(self, text: str) -> str:
        # A literal "<run>" is doubled, so that it never equals a normalised path.
        return self.paths.sub(lambda found: "<<run>>" if found.group() == "<run>" else "<run>", text)


def _path_pattern(run_paths: Iterable[str]) -> re.Pattern[str]:
    paths = sorted({path.rstrip("/") for path in run_paths} - {""}, key=len, reverse=True)
    # "/tmp/run" must not match in "/tmp/run2".
    wanted = [rf"{re.escape(path)}(?![\w.-])" for path in paths]
    return re.compile("|".join(["<run>", *wanted]))


def _attribute(change: Change, name: str) -> Change:
    """One top-level attribute of an update, as a change of its own."""
    return Change(
        before=change.before.get(name),
        after=change.after.get(name),
        after_unknown=submask(change.after_unknown, name),
        before_sensitive=submask(change.before_sensitive, name),
        after_sensitive=submask(change.after_sensitive, name),
    )


def _differs(attribute: Change) -> bool:
    # As JSON, because in Python 1 == True == 1.0.
    return (
        any_true(attribute.after_unknown)
        or _canonical(attribute.before) != _canonical(attribute.after)
        or _marks(attribute.before_sensitive) != _marks(attribute.after_sensitive)
    )


def _attribute_names(change: Change) -> set[str]:
    # A computed attribute may stand in the unknown mask only.
    unknown = change.after_unknown if isinstance(change.after_unknown, dict) else {}
    return {*change.before, *change.after, *unknown}


def _marks(mask: object) -> object:
    """A mask without its empty parts: writers differ in how they say "nothing is marked"."""
    match mask:
        case dict():
            return {key: _marks(child) for key, child in mask.items() if any_true(child)} or None
        case list():
            return [_marks(child) for child in mask] if any_true(mask) else None
        case _:
            return True if mask else None


def _canonical(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()


def _sha256(value: object) -> str:
    return hashlib.sha256(_canonical(value)).hexdigest()
