"""What a plan says about drift: tags per object and for the stack, and one verdict (shared reference drift.md §2.4).

Pure and total: any plan and any context give a verdict. What cannot be known without a context is said in `notes`.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from tfops.changes import Action, Plan, ResourceChange, any_true
from tfops.three_way import Attribute, Word, attributes, same
from tfops.wiring import Wiring, configured_address


class Tag(StrEnum):
    """What was found, the most serious first: the first tag of a stack is its verdict."""

    UNKNOWN = "unknown"
    ERROR = "error"
    INCOMPLETE = "incomplete"
    STATE_LINEAGE_CHANGED = "state_lineage_changed"
    STATE_SERIAL_REGRESSED = "state_serial_regressed"
    SUSPECT_STATE_REGRESSION = "suspect_state_regression"
    STATE_CHANGED_OUTSIDE = "state_changed_outside"
    ABSORBED_BY_STATE = "absorbed_by_state"
    CONFLICT = "conflict"
    DELETED = "deleted"
    MODIFIED = "modified"
    REPLACE = "replace"
    CASCADE = "cascade"
    TAINTED = "tainted"
    CHECK_FAILED = "check_failed"
    EXTERNAL_INPUT = "external_input"
    PROVIDER_FLOAT = "provider_float"
    PENDING = "pending"
    MOVED = "moved"
    IMPORT = "import"
    FORGET = "forget"
    MARKS_ONLY = "marks_only"
    OUTPUT_ONLY = "output_only"
    ABSORBED_BY_CODE = "absorbed_by_code"
    PARTLY_ABSORBED = "partly_absorbed"
    HIDDEN_BY_IGNORE_CHANGES = "hidden_by_ignore_changes"
    BENIGN_PROVIDER_UPGRADE = "benign_provider_upgrade"
    BENIGN_COMPUTED = "benign_computed"
    GONE = "gone"
    DATA_READ = "data_read"
    NORMALIZATION = "normalization"
    IN_SYNC = "in_sync"


_ORDER = {tag: place for place, tag in enumerate(Tag)}

FAILURES = frozenset({Tag.UNKNOWN, Tag.ERROR, Tag.INCOMPLETE})
STATE_FAULTS = frozenset({Tag.STATE_LINEAGE_CHANGED, Tag.STATE_SERIAL_REGRESSED, Tag.SUSPECT_STATE_REGRESSION})
QUIET = frozenset(
    {
        Tag.ABSORBED_BY_CODE,
        Tag.PARTLY_ABSORBED,
        Tag.HIDDEN_BY_IGNORE_CHANGES,
        Tag.BENIGN_PROVIDER_UPGRADE,
        Tag.BENIGN_COMPUTED,
        Tag.GONE,
        Tag.DATA_READ,
        Tag.NORMALIZATION,
        Tag.IN_SYNC,
    }
)
"""Tags of which applying would change nothing (or that only stand beside another one)."""
UNDEPLOYED = frozenset({Tag.PENDING, Tag.MOVED, Tag.IMPORT, Tag.FORGET})
"""Tags of code that is not applied yet: no drift."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What a plan cannot know by itself. None: not known.

    `ignore_changes` by address, `("all",)` for everything. `settled` are the addresses whose change stands in the
    plan of the last applied inputs as well: the code did not make it, whatever `inputs_changed` says.
    """

    inputs_changed: bool | None = None
    provider_changed: bool | None = None
    serial: int | None = None
    last_serial: int | None = None
    lineage: str | None = None
    last_lineage: str | None = None
    state_edited: bool = False
    """The same serial, but other content."""
    ignore_changes: Mapping[str, tuple[str, ...]] | None = None
    settled: Collection[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """One object that is not in sync. `attributes` only where it drifted."""

    address: str
    type: str
    tags: tuple[Tag, ...]
    attributes: tuple[Attribute, ...] = ()
    actions: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """What was found in one stack: `own` are the tags that belong to no object."""

    own: tuple[Tag, ...] = ()
    resources: tuple[Found, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def tags(self) -> tuple[Tag, ...]:
        """Its own tags and those of its objects."""
        return ordered({*self.own, *(tag for found in self.resources for tag in found.tags)})

    @property
    def verdict(self) -> Tag:
        """The headline."""
        return next(iter(self.tags), Tag.IN_SYNC)


def ordered(tags: Iterable[Tag]) -> tuple[Tag, ...]:
    """Tags by how serious they are, each once."""
    return tuple(sorted(set(tags), key=_ORDER.__getitem__))


def classify(plan: Plan, wires: Wiring, context: Context) -> Drift:
    """The tags of a plan. Values are compared as the plan has them: hand in the plan before it is redacted."""
    case = _Case(plan=plan, wires=wires, context=context)
    resources = tuple(case.resources())
    return Drift(own=ordered(case.own()), resources=resources, notes=tuple(_notes(plan, context)))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Object:
    """All that a plan says of one address: what drifted, and what would be done."""

    address: str
    drifted: ResourceChange | None = None
    planned: tuple[ResourceChange, ...] = ()


@dataclass(kw_only=True)
class _Case:
    plan: Plan
    wires: Wiring
    context: Context
    state: frozenset[Tag] = field(init=False)
    moving: frozenset[str] = field(init=False)
    """Blocks that an object which only reads them follows: they drifted, or follow such a one themselves."""

    def __post_init__(self) -> None:
        self.state = frozenset(_state_tags(self.context))
        self.moving = self._moving()

    def own(self) -> Iterator[Tag]:
        yield from self.state
        if self.plan.errored:
            yield Tag.ERROR
        elif self.plan.complete is False:
            yield Tag.INCOMPLETE
        if any(check.status in ("fail", "error") for check in self.plan.checks):
            yield Tag.CHECK_FAILED
        if _changes_outputs_only(self.plan):
            yield Tag.OUTPUT_ONLY

    def resources(self) -> Iterator[Found]:
        for found in _objects(self.plan):
            words = self._attributes(found)
            tags = ordered(self._tags(found, words))
            if tags:
                entry = (*found.planned, found.drifted)[0]
                yield Found(
                    address=found.address,
                    type=entry.type if entry else "",
                    tags=tags,
                    attributes=words,
                    actions=tuple(entry.action.value for entry in found.planned if entry.action is not Action.NO_OP),
                )

    def _attributes(self, found: _Object) -> tuple[Attribute, ...]:
        drifted = found.drifted
        if drifted is None or drifted.action is not Action.UPDATE:
            return ()
        current = _current(found)
        if current is None:  # refresh-only: nobody asked what the code wants
            real = drifted.change.after
            unknown = dict.fromkeys(real, True) if isinstance(real, dict) else True
            return attributes(drifted.change.before, real, None, unknown)
        change = current.change
        return attributes(drifted.change.before, change.before, change.after, change.after_unknown)

    def _tags(self, found: _Object, words: tuple[Attribute, ...]) -> Iterator[Tag]:
        for entry in found.planned:
            yield from _flags(entry)
        if found.drifted is None:
            yield from self._planned_tags(found)
        elif found.drifted.action is Action.DELETE:
            yield Tag.DELETED if self._comes_back(found) else Tag.GONE
        else:
            yield from self._drift_tags(found, words)

    def _comes_back(self, found: _Object) -> bool:
        if found.planned:
            return any(entry.action in (Action.CREATE, Action.REPLACE) for entry in found.planned)
        # A refresh-only plan plans nothing for anybody: then the code says whether it is wanted.
        return not self.plan.resource_changes and self.wires.knows(found.address)

    def _drift_tags(self, found: _Object, words: tuple[Attribute, ...]) -> Iterator[Tag]:
        by_word = {word: [item.path for item in words if item.verdict is word] for word in Word}
        kept = [path for path in by_word[Word.KEPT] if self.wires.sets(found.address, path)]
        unsettled = [path for path in by_word[Word.UNKNOWN] if self.wires.sets(found.address, path)]
        if by_word[Word.CONFLICT]:
            yield Tag.CONFLICT
        if by_word[Word.REVERT] or unsettled or _current(found) is None:
            yield Tag.MODIFIED
        if by_word[Word.PENDING]:
            yield self._cause(found)
        if kept:
            yield from self._kept_tags(found, kept, beside=bool(by_word[Word.REVERT]))
        elif by_word[Word.KEPT] and not by_word[Word.REVERT] and not by_word[Word.CONFLICT]:
            yield Tag.BENIGN_PROVIDER_UPGRADE if self.context.provider_changed else Tag.BENIGN_COMPUTED
        drifts = any(item.verdict is not Word.PENDING for item in words)
        if not drifts and found.drifted and found.drifted.change.before != found.drifted.change.after:
            yield Tag.NORMALIZATION

    def _kept_tags(self, found: _Object, kept: list[str], *, beside: bool) -> Iterator[Tag]:
        ignored = self.context.ignore_changes
        names = (
            () if ignored is None else ignored.get(found.address, ignored.get(configured_address(found.address), ()))
        )
        if "all" in names or (names and set(kept) <= set(names)):
            yield Tag.HIDDEN_BY_IGNORE_CHANGES
        elif self._code_changed(found):
            yield Tag.PARTLY_ABSORBED if beside else Tag.ABSORBED_BY_CODE
        elif ignored is None:
            yield Tag.HIDDEN_BY_IGNORE_CHANGES
        else:  # nobody ignores it: the code that is applied says so already, or computes it from what is there
            yield Tag.ABSORBED_BY_CODE

    def _planned_tags(self, found: _Object) -> Iterator[Tag]:
        """Tags of an object that did not drift: why would anything be done to it?"""
        for entry in found.planned:
            match entry.action:
                case Action.NO_OP | Action.FORGET:
                    pass
                case Action.READ:
                    yield Tag.DATA_READ
                case Action.UNKNOWN:
                    yield Tag.UNKNOWN
                case Action.UPDATE if not _has_effect(entry):
                    yield Tag.MARKS_ONLY if entry.change.before == entry.change.after else Tag.NORMALIZATION
                case _:
                    if entry.action_reason != _TAINTED:
                        yield self._cause(found)

    def _cause(self, found: _Object) -> Tag:
        creates = any(entry.action is Action.CREATE for entry in found.planned)
        if creates and self.state & STATE_FAULTS:
            return Tag.SUSPECT_STATE_REGRESSION
        if self._code_changed(found):
            return Tag.PENDING
        if self._follows(found):
            return Tag.CASCADE
        if Tag.STATE_CHANGED_OUTSIDE in self.state:
            return Tag.ABSORBED_BY_STATE
        return Tag.PROVIDER_FLOAT if self.context.provider_changed else Tag.EXTERNAL_INPUT

    def _code_changed(self, found: _Object) -> bool:
        return self.context.inputs_changed is not False and found.address not in self.context.settled

    def _follows(self, found: _Object) -> bool:
        if any(entry.action_reason == "replace_by_triggers" for entry in found.planned):
            return True
        if self.wires.sources(found.address) & self.moving:
            return True
        return self.wires.reads_locals(found.address) and bool(self.moving & set(self.plan.relevant))

    def _moving(self) -> frozenset[str]:
        """Everything that drifted or is tainted, and whatever changes because it reads one of those."""
        changing = {configured_address(e.address) for e in self.plan.resource_changes if _has_effect(e)}
        moving = {configured_address(e.address) for e in self.plan.resource_drift if e.action is not Action.NO_OP}
        moving |= {configured_address(e.address) for e in self.plan.resource_changes if e.action_reason == _TAINTED}
        while more := {address for address in changing - moving if self.wires.sources(address) & moving}:
            moving |= more
        return frozenset(moving)


_TAINTED = "replace_because_tainted"


def _state_tags(context: Context) -> Iterator[Tag]:
    """The state beside what we left. Another lineage makes its serial say nothing."""
    if None not in (context.lineage, context.last_lineage) and context.lineage != context.last_lineage:
        yield Tag.STATE_LINEAGE_CHANGED
        return
    if context.state_edited:
        yield Tag.STATE_SERIAL_REGRESSED
    if context.serial is None or context.last_serial is None or context.serial == context.last_serial:
        return
    yield Tag.STATE_SERIAL_REGRESSED if context.serial < context.last_serial else Tag.STATE_CHANGED_OUTSIDE


def _objects(plan: Plan) -> Iterator[_Object]:
    """Every address of the plan once, drifted ones first, deposed objects with the one they were."""
    drifted = {entry.address: entry for entry in plan.resource_drift if entry.action is not Action.NO_OP}
    planned: dict[str, list[ResourceChange]] = {}
    for entry in plan.resource_changes:
        planned.setdefault(entry.address, []).append(entry)
    for address in dict.fromkeys([*drifted, *planned]):
        yield _Object(address=address, drifted=drifted.get(address), planned=tuple(planned.get(address, ())))


def _current(found: _Object) -> ResourceChange | None:
    return next((entry for entry in found.planned if entry.deposed is None), None)


def _flags(entry: ResourceChange) -> Iterator[Tag]:
    """What an entry says of itself, whatever drifted."""
    if entry.moved:
        yield Tag.MOVED
    if entry.imported:
        yield Tag.IMPORT
    if entry.action is Action.FORGET:
        yield Tag.FORGET
    if entry.action is Action.REPLACE:
        yield Tag.REPLACE
    if entry.action_reason == _TAINTED:
        yield Tag.TAINTED


def _has_effect(entry: ResourceChange) -> bool:
    """Whether the entry would change an object; an update may only change marks or notation."""
    if entry.action in (Action.NO_OP, Action.READ, Action.FORGET):
        return False
    change = entry.change
    return entry.action is not Action.UPDATE or any_true(change.after_unknown) or not same(change.before, change.after)


def _changes_outputs_only(plan: Plan) -> bool:
    quiet = {("no-op",), ("read",), ()}
    works = any(e.change.actions not in quiet or e.moved or e.imported for e in plan.resource_changes)
    return not works and any(change.actions not in quiet for change in plan.output_changes.values())


def _notes(plan: Plan, context: Context) -> Iterator[str]:
    changes = any(_has_effect(entry) for entry in plan.resource_changes)
    if context.inputs_changed is None and (changes or plan.resource_drift):
        yield (
            "it is not known whether the code changed since the last apply: changes without drift count as the code's "
            "(pending), drift that the code agrees with as absorbed by it"
        )
    if None in (context.serial, context.last_serial, context.lineage, context.last_lineage):
        yield "lineage and serial of the state are not compared: a state that was rolled back would look like new code"
    if context.ignore_changes is None and plan.resource_drift:
        yield "lifecycle.ignore_changes is not in a plan's JSON: ignored drift is recognised only by its effect"
