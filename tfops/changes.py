"""Plan JSON → Plan, ResourceChange, Action: what tfops needs of it, typed; unknown fields are ignored.

How changes are counted is written down in docs/counting.md.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

import msgspec

from tfops.documents import read_document
from tfops.errors import FailedError, UsageError


class Action(Enum):
    """What happens to one object. Moves and imports are flags beside it, not actions."""

    NO_OP = "no-op"
    CREATE = "create"
    READ = "read"
    UPDATE = "update"
    DELETE = "delete"
    REPLACE = "replace"
    FORGET = "forget"
    UNKNOWN = "unknown"


_SINGLE = frozenset({"no-op", "create", "read", "update", "delete", "forget"})
# ["create", "forget"] makes a new object and leaves the old one to nobody.
_REPLACING = (frozenset({"create", "delete"}), frozenset({"create", "forget"}))
_QUIET = frozenset({Action.NO_OP, Action.READ})


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """Terraform's `change` object. The masks are trees of booleans beside the values."""

    actions: tuple[str, ...] = ()
    before: Any = None
    after: Any = None
    after_unknown: Any = False
    before_sensitive: Any = False
    after_sensitive: Any = False
    importing: dict[str, Any] | None = None
    replace_paths: tuple[Any, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ResourceChange:
    """One entry of `resource_changes` or `resource_drift`. Its key is the address together with `deposed`."""

    address: str
    previous_address: str | None = None
    mode: str = "managed"
    type: str = ""
    deposed: str | None = None
    action_reason: str | None = None
    change: Change = field(default_factory=Change)

    @property
    def action(self) -> Action:
        """What happens to the object."""
        return action_of(self.change)

    @property
    def moved(self) -> bool:
        """Whether the object comes from another address."""
        return self.previous_address is not None and self.previous_address != self.address

    @property
    def imported(self) -> bool:
        """Whether an existing object is taken over."""
        return self.change.importing is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One checked object: pass, fail, error or unknown, and what went wrong."""

    address: str
    status: str = "unknown"
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A plan. `applyable` and `complete` are None where the writer was too old to say (Terraform < 1.8)."""

    format_version: str = ""
    terraform_version: str = ""
    timestamp: str = ""
    applyable: bool | None = None
    complete: bool | None = None
    errored: bool = False
    resource_changes: tuple[ResourceChange, ...] = ()
    resource_drift: tuple[ResourceChange, ...] = ()
    output_changes: dict[str, Change] = field(default_factory=dict)
    checks: tuple[Check, ...] = ()
    variables: tuple[str, ...] = ()
    relevant: tuple[str, ...] = ()
    """Objects of which Terraform says that they feed a change. A hint that misses most of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """How many of what, by the rules of docs/counting.md."""

    create: int = 0
    update: int = 0
    delete: int = 0
    replace: int = 0
    import_: int = 0
    forget: int = 0
    read: int = 0
    move: int = 0
    unknown: int = 0
    outputs: int = 0
    drifted: int = 0

    def as_json(self) -> dict[str, int]:
        """The `summary` object of every `--format json` document."""
        return {
            "create": self.create,
            "update": self.update,
            "delete": self.delete,
            "replace": self.replace,
            "import": self.import_,
            "forget": self.forget,
            "read": self.read,
            "move": self.move,
            "output": self.outputs,
        }


def parse_plan(data: bytes) -> tuple[dict[str, Any], Plan]:
    """The document and the plan in the bytes `terraform show -json` wrote. Raises FailedError `plan.unreadable`."""
    try:
        content = read_document(data, "the plan's JSON").content
        return content, plan_of(content)
    except UsageError as error:
        # Nobody typed these bytes: it is Terraform's failure, not the user's.
        raise FailedError(
            str(error),
            code="plan.unreadable",
            hint="this Terraform writes plans this version of tfops does not know: try another version of either",
        ) from error


def plan_of(content: Mapping[str, Any]) -> Plan:
    """The plan in a parsed document, redacted or not. Raises UsageError on a wrong type in it."""
    known = _present(content)
    known["resource_changes"] = _entries(known.get("resource_changes"))
    known["resource_drift"] = _entries(known.get("resource_drift"))
    known["output_changes"] = _outputs(known.get("output_changes"))
    known["checks"] = _checks(known.get("checks"))
    known["variables"] = sorted(_object(known.get("variables")))
    known["relevant"] = _relevant(known.get("relevant_attributes"))
    try:
        return msgspec.convert(known, Plan)
    except msgspec.ValidationError as error:
        message = f"The plan has an unexpected shape: {error}."
        raise UsageError(
            message, code="explain.not_a_plan", hint="give the output of `terraform show -json PLAN`, unchanged"
        ) from error


def action_of(change: Change) -> Action:
    """What `change` does; UNKNOWN for words and combinations that Terraform may invent later."""
    words = frozenset(change.actions)
    if words in _REPLACING:
        return Action.REPLACE
    if len(words) == 1 and words <= _SINGLE:
        return Action(change.actions[0])
    return Action.UNKNOWN


def summarize(plan: Plan) -> Summary:
    """The counts of a plan."""
    counts = Counter(entry.action for entry in plan.resource_changes)
    return Summary(
        create=counts[Action.CREATE],
        update=counts[Action.UPDATE],
        delete=counts[Action.DELETE],
        replace=counts[Action.REPLACE],
        import_=sum(entry.imported for entry in plan.resource_changes),
        forget=counts[Action.FORGET],
        read=counts[Action.READ],
        move=sum(entry.moved for entry in plan.resource_changes),
        unknown=counts[Action.UNKNOWN],
        outputs=sum(action_of(change) is not Action.NO_OP for change in plan.output_changes.values()),
        drifted=sum(_drifted(entry) for entry in plan.resource_drift),
    )


def has_work(plan: Plan) -> bool:
    """Whether there is anything to apply. Reading data is no work: a `check` block makes every plan applyable."""
    resources = any(e.action not in _QUIET or e.moved or e.imported for e in plan.resource_changes)
    outputs = any(action_of(change) not in _QUIET for change in plan.output_changes.values())
    return resources or outputs or _tidies_state(plan)


def _tidies_state(plan: Plan) -> bool:
    # Objects gone from reality and from the code leave no change behind, only a state to be tidied.
    planned = {entry.address for entry in plan.resource_changes}
    gone = (e.address for e in plan.resource_drift if e.action is Action.DELETE)
    return plan.applyable is True and any(address not in planned for address in gone)


def any_true(mask: object) -> bool:
    """Whether a mask (a tree of booleans) marks anything."""
    match mask:
        case dict():
            return any(any_true(child) for child in mask.values())
        case list():
            return any(any_true(child) for child in mask)
        case _:
            return bool(mask)


def submask(mask: object, key: str | int) -> object:
    """The mask of one element. Where mask and value differ in shape, all is marked as soon as anything is."""
    match mask, key:
        case dict(), str():
            return mask.get(key, False)
        case list(), int():
            return mask[key] if key < len(mask) else False
        case _:
            return any_true(mask)


def _drifted(entry: ResourceChange) -> bool:
    return entry.action is not Action.NO_OP and entry.change.before != entry.change.after


def _present(content: Mapping[str, Any]) -> dict[str, Any]:
    # Go writes null where a list or a name is not set: the same as absent.
    return {key: value for key, value in content.items() if value is not None}


def _object(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _entries(value: object) -> object:
    if value is None:
        return []
    return [_entry(entry) for entry in value] if isinstance(value, list) else value


def _entry(raw: object) -> object:
    if not isinstance(raw, dict):
        return raw  # msgspec says where
    entry = _present(raw)
    entry["address"] = entry.get("address") or _address_from_parts(entry)
    deposed = entry.get("deposed")
    if isinstance(deposed, bool):  # written so by some tools, the key unsaid
        entry["deposed"] = "unnamed" if deposed else None
    if isinstance(entry.get("change"), dict):
        entry["change"] = _present(entry["change"])
    return entry


def _address_from_parts(entry: Mapping[str, Any]) -> str:
    parts = [entry.get("module_address"), "data" if entry.get("mode") == "data" else None]
    parts += [entry.get("type"), entry.get("name")]
    address = ".".join(str(part) for part in parts if part)
    match entry.get("index"):
        case int() as index:
            return f"{address}[{index}]"
        case str() as key:
            return f"{address}[{msgspec.json.encode(key).decode()}]"
        case _:
            return address


def _outputs(value: object) -> object:
    if value is None:
        return {}
    if not isinstance(value, dict):
        return value
    return {name: _present(change) if isinstance(change, dict) else change for name, change in value.items()}


def _relevant(value: object) -> list[str]:
    named = (_object(item).get("resource") for item in value) if isinstance(value, list) else ()
    return sorted({name for name in named if isinstance(name, str)})


def _checks(value: object) -> object:
    if value is None:
        return []
    return [_check(_object(check)) for check in value] if isinstance(value, list) else value


def _check(check: Mapping[str, Any]) -> dict[str, Any]:
    instances = [_object(instance) for instance in check.get("instances") or ()]
    problems = [_object(problem) for instance in instances for problem in instance.get("problems") or ()]
    return {
        "address": _object(check.get("address")).get("to_display") or "",
        "status": check.get("status") or "unknown",
        "problems": [str(problem.get("message", "")) for problem in problems],
    }
