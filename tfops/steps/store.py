"""The store's layout (DESIGN.md §6) over plain objects: who writes what where, and what is verified when it is read."""

import hashlib
import json
import os
import re
import secrets
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote

import msgspec

from tfops import dsse
from tfops.adapters.objects import Objects
from tfops.attestation import PLAN_FILES, AuditHead, PlanStatement, Purpose, decode_plan
from tfops.deployment import Claim, Deployment, Result, ResultPredicate, decode_deployment
from tfops.errors import FailedError, UsageError, VerificationError
from tfops.steps.guard import GuardedObjects

if TYPE_CHECKING:
    from securesystemslib.signer import SSlibKey

SCHEMA = "tfops.store/v1"
APPROVALS = "approvals"
LOGGED = f"{APPROVALS}-logged"
FORGE = "forge"
"""What was last told to the forge about each change."""
STATEMENT, CLAIM, RESULT, EVENTS = "statement.json", "claim.json", "result.json", "events.ndjson"
APPLIED_FILES = (CLAIM, RESULT, EVENTS)
RESERVED = frozenset({"audit", "state", "work", "trust", "locks", "stacks", "probe", "store.json", "digest-key", FORGE})
_HEADS = frozenset({Result.APPLIED, Result.CONVERGED, Result.ADOPTED, Result.DESTROYED})
_PARTS_OF_A_STACK = frozenset(
    {
        "plans",
        "inputs",
        "records",
        "errored",
        "set-aside",
        "drift",
        "incidents",
        "lock",
        "waiting",
        "unfinished",
        "reviews",
    }
)
NO_KEYS: "Mapping[str, SSlibKey]" = MappingProxyType({})
MIN_ID_CHARACTERS = 6
_LONGEST_NAME = 200
_PLAN_ID = re.compile("[0-9a-f]{64}")


class PlanArtifact(msgspec.Struct, frozen=True, kw_only=True):
    """A plan artifact whose signature fits: its id, what it claims, its files' bytes, and where it came from."""

    id: str
    runner: str
    statement: PlanStatement
    files: Mapping[str, bytes]
    where: str


class Unfinished(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An apply that is under way or not settled. `given_plan_id` is the plan a person named, else the same one.

    `place` is the work directory and the boot it runs in: whoever stands there sees whether Terraform was started.
    """

    plan_id: str
    given_plan_id: str
    run_id: str
    begun_on: datetime
    place: str = ""


@dataclass(slots=True, kw_only=True)
class AuditEnd:
    """What this run knows of the end of the audit log; its threads share it, and take `lock` to move it."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    is_known: bool = False
    head: AuditHead | None = None

    def move(self, head: AuditHead | None) -> None:
        """Now this is the last entry; None for an empty log."""
        self.head, self.is_known = head, True


class Store:
    """One store, opened. Heads and deployments it returns are verified; nothing else is trusted."""

    def __init__(self, objects: Objects, *, store_id: str, digest_key: bytes) -> None:
        self.objects = objects
        self.id = store_id
        self.digest_key = digest_key
        self._heads: dict[str, bytes | None] = {}
        self._claims: dict[str, bytes] = {}
        self._registered_here: set[str] = set()
        self._index: list[str] = []
        self.audit_end = AuditEnd()

    def guarded(self, check: Callable[[], None]) -> "Store":
        """The same store for a run that holds a stack: before every write `check` says whether it still does."""
        store = Store(GuardedObjects(self.objects, check), store_id=self.id, digest_key=self.digest_key)
        store._heads, store._registered_here, store._index = self._heads, self._registered_here, self._index
        store.audit_end = self.audit_end
        return store

    def head(self, stack: str, keys: Mapping[str, "SSlibKey"]) -> Deployment | None:
        """The last record at which the stack was converged; None where there is none."""
        data = self._heads[stack] = self.objects.get(f"{_place(stack)}/head.json")
        return None if data is None else self._head(data, stack, keys)

    def _head(self, data: bytes, stack: str, keys: Mapping[str, "SSlibKey"]) -> Deployment:
        head = self._deployment(data, stack, keys, what=f"the head of {stack}")
        if head.record.result not in _HEADS:
            raise VerificationError(
                f"the head of {stack} is the record of an apply that did not end well: somebody put it there",
                code="verify.head",
                hint="restore the store from a backup",
                stack=stack,
            )
        return head

    def unverified_head(self, stack: str) -> ResultPredicate:
        """What the head says, whoever signed it; raises VerificationError where it is no record at all."""
        what = f"the head of {stack}"
        unverified = dsse.unverified(self.objects.get(f"{_place(stack)}/head.json") or b"", what=what)
        return decode_deployment(unverified, what=what, stack=stack, store_id=self.id).record

    def known_head(self, stack: str, keys: Mapping[str, "SSlibKey"]) -> Deployment | None:
        """The head as this run has read or moved it; read only if it has not yet."""
        data = self._heads.get(stack)
        return self._head(data, stack, keys) if data is not None else self.head(stack, keys)

    def move_head(self, stack: str, record: bytes) -> None:
        """Make `record` the stack's head, unless somebody else moved it since it was last read here."""
        key = f"{_place(stack)}/head.json"
        expected = self._heads[stack] if stack in self._heads else self.objects.get(key)
        self._register(stack)
        if not self.objects.replace(key, record, expected=expected):
            raise FailedError(
                f"{stack}: another run moved the head at the same moment",
                code="store.conflict",
                hint=f"nothing is lost; run again: tfops sync {stack}",
                stack=stack,
            )
        self._heads[stack] = record

    def stacks(self) -> list[str]:
        """Every stack that was ever planned or converged here: one listing a run, however many there are."""
        if not self._index:
            self._index += sorted(self._registered(name) for name in self.objects.names("stacks"))
        return sorted({*self._index, *self._registered_here})

    def is_known(self, stack: str) -> bool:
        """Whether the stack was ever planned or converged here."""
        return self.objects.get(f"stacks/{_index_name(stack)}") is not None

    def _register(self, stack: str) -> None:
        if self._heads.get(stack) is None and stack not in self._registered_here:  # who has a head is known
            self.objects.create(f"stacks/{_index_name(stack)}", os.fsencode(stack))
            self._registered_here.add(stack)

    def _registered(self, name: str) -> str:
        if not name.startswith("~"):
            return unquote(name, errors="surrogateescape")
        return os.fsdecode(self.objects.get(f"stacks/{name}") or b"")

    def put_plan(self, stack: str, plan_id: str, files: Mapping[str, bytes], statement: bytes) -> None:
        """Store an artifact, write-once; the statement comes last, so a plan with one is complete."""
        self._register(stack)
        place = _plan(stack, plan_id)
        for name, data in (*files.items(), (STATEMENT, statement)):
            self._put_once(f"{place}/{name}", data)

    def note_review(self, stack: str, commit: str, plan_id: str) -> None:
        """Remember that a plan for review was made of that commit (a hint: the plan itself says what it is)."""
        self.objects.create(f"{_place(stack)}/reviews/{commit}/{plan_id}", b"")

    def review_plans(self, stack: str, commit: str) -> list[str]:
        """The ids of the plans for review that were made of that commit."""
        names = self.objects.names(f"{_place(stack)}/reviews/{commit}")
        return [name for name in names if _PLAN_ID.fullmatch(name)]

    def find_plan(self, prefix: str) -> tuple[str, str]:
        """Stack and full id of the only plan whose id begins with `prefix`; raises UsageError otherwise."""
        if len(prefix) < MIN_ID_CHARACTERS or not all(letter in "0123456789abcdef" for letter in prefix):
            raise UsageError(
                f"{prefix!r} is neither a plan id nor a directory",
                code="plan.not_found",
                hint="a plan id is 12 hex digits, as `tfops plan` and `tfops history` print them",
            )
        found = [
            (stack, plan_id)
            for stack in self.stacks()
            for plan_id in self.plan_ids(stack)
            if plan_id.startswith(prefix)
        ]
        if len(found) != 1:
            raise UsageError(
                f"there {'are several plans' if found else 'is no plan'} {prefix} in the store",
                code="plan.not_found",
                hint="give more digits" if found else "`tfops plan` makes one, `tfops history` lists what was applied",
            )
        return found[0]

    def plan_ids(self, stack: str) -> list[str]:
        """Every plan id of a stack, complete or not, sorted."""
        return self.objects.names(f"{_place(stack)}/plans")

    def plan_files(self, stack: str, plan_id: str) -> dict[str, bytes]:
        """Every file of a plan, as it lies there."""
        place = _plan(stack, plan_id)
        others = (f"{EVENTS}.", APPROVALS)
        names = [name for name in self.objects.names(place) if not name.startswith(others)]
        found = {name: self.objects.get(f"{place}/{name}") for name in names if name != EVENTS}
        if EVENTS in names:  # a journal may lie there in several parts
            found[EVENTS] = self.objects.appended(f"{place}/{EVENTS}")
        return {name: data for name, data in found.items() if data is not None}

    def plan(
        self,
        stack: str,
        plan_id: str,
        keys: Mapping[str, "SSlibKey"],
        review_keys: Mapping[str, "SSlibKey"] = NO_KEYS,
    ) -> PlanArtifact:
        """A stored artifact with its signature verified (its files are checked by whoever uses them)."""
        place = _plan(stack, plan_id)
        found = {name: self.objects.get(f"{place}/{name}") for name in (STATEMENT, *PLAN_FILES)}
        files = {name: data for name, data in found.items() if data is not None}
        artifact = open_artifact(files, keys, review_keys, where=f"plan {plan_id[:12]} of {stack}")
        if artifact.id != plan_id:
            raise VerificationError(
                f"the store keeps plan {artifact.id[:12]} under the name {plan_id[:12]}",
                code="verify.plan_id",
                hint="somebody moved files inside the store; make a new plan",
                stack=stack,
            )
        return artifact

    def statement(self, stack: str, plan_id: str) -> bytes | None:
        """The signed statement of a plan, as it lies there."""
        return self.objects.get(f"{_plan(stack, plan_id)}/{STATEMENT}")

    def put_approval(self, stack: str, plan_id: str, vote_id: str, envelope: bytes) -> None:
        """Keep a person's signed decision over a plan, write-once."""
        self._put_once(f"{_plan(stack, plan_id)}/{APPROVALS}/{vote_id}.json", envelope)

    def decided_plans(self, stack: str) -> list[str]:
        """The ids of the plans about which anybody decided anything, also where that is gone again: one listing."""
        keys = (key.split("/") for key in self.objects.keys(f"{_place(stack)}/plans"))
        return sorted({parts[-3] for parts in keys if parts[-2:-1] in ([APPROVALS], [LOGGED])})

    def claim(self, stack: str, claim: Claim) -> None:
        """Mark a plan as used; raises VerificationError `verify.claimed` where it was used before."""
        data = msgspec.json.encode(claim)
        if not self.objects.create(f"{_plan(stack, claim.plan_id)}/{CLAIM}", data):
            raise _claimed(stack, claim.plan_id)
        self._claims[claim.plan_id] = data

    def claim_data(self, stack: str, plan_id: str) -> bytes:
        """A plan's claim, as it lies there."""
        return self._claims.get(plan_id) or self.objects.get(f"{_plan(stack, plan_id)}/{CLAIM}") or b""

    def is_claimed(self, stack: str, plan_id: str) -> bool:
        """Whether the plan was used before."""
        return self.objects.get(f"{_plan(stack, plan_id)}/{CLAIM}") is not None

    def refuse_claimed(self, stack: str, plan_id: str) -> None:
        """Raises VerificationError `verify.claimed` where the plan was used before."""
        if self.is_claimed(stack, plan_id):
            raise _claimed(stack, plan_id)

    def begin_apply(self, stack: str, unfinished: Unfinished) -> None:
        """Note, before the claim, that an apply is under way: whoever comes after a crash looks there first."""
        key = unfinished_name(stack)
        data = msgspec.json.encode(unfinished)
        if not self.objects.create(key, data):
            self.objects.replace(key, data, expected=self.objects.get(key))

    def unfinished(self, stack: str) -> Unfinished | None:
        """The apply that is under way, or whose consequences are not settled yet; None where all is."""
        data = self.objects.get(unfinished_name(stack))
        try:
            return None if data is None else msgspec.json.decode(data, type=Unfinished)
        except msgspec.MsgspecError as error:
            raise VerificationError(
                f"{stack}: the note of its unfinished apply cannot be read: {error}",
                code="store.damaged",
                hint="another version of tfops wrote it: use that one; else restore the store",
                stack=stack,
            ) from error

    def settle(self, stack: str) -> None:
        """Nothing of the last apply is open any more."""
        self.objects.delete(unfinished_name(stack))

    def open_claims(self, stack: str, unfinished: Unfinished) -> list[Claim]:
        """Claims of an unfinished apply that have no result: the run died, or still runs."""
        found = []
        for plan_id in dict.fromkeys((unfinished.plan_id, unfinished.given_plan_id)):
            place = _plan(stack, plan_id)
            claimed = bool(plan_id) and self.objects.get(f"{place}/{CLAIM}") is not None
            if claimed and self.objects.get(f"{place}/{RESULT}") is None:
                found.append(self._claim(stack, plan_id))
        return found

    def journal(self, stack: str, plan_id: str, line: bytes) -> None:
        """Add redacted events to a plan's journal while it is applied."""
        self.objects.append(f"{_plan(stack, plan_id)}/{EVENTS}", line)

    def events(self, stack: str, plan_id: str) -> bytes:
        """A plan's journal so far."""
        return self.objects.appended(f"{_plan(stack, plan_id)}/{EVENTS}")

    def put_result(self, stack: str, plan_id: str, record: bytes) -> None:
        """Record how applying a plan ended, write-once."""
        self._put_once(f"{_plan(stack, plan_id)}/{RESULT}", record)

    def result(self, stack: str, plan_id: str) -> bytes | None:
        """The signed result of a plan, as it lies there; None where there is none."""
        return self.objects.get(f"{_plan(stack, plan_id)}/{RESULT}")

    def deployments(
        self, stack: str, keys: Mapping[str, "SSlibKey"]
    ) -> tuple[list[Deployment], list[VerificationError]]:
        """Every deployment and adoption of a stack that verifies, oldest first, and an error for each that does not."""
        found: dict[str, Deployment] = {}
        errors = []
        for what, data in self._results(stack):
            try:
                deployment = self._deployment(data, stack, keys, what=what)
                found[deployment.id] = deployment  # a plan and the equal one applied for it share their result
            except VerificationError as error:
                errors.append(error)
        return sorted(found.values(), key=lambda deployment: deployment.record.finished_on), errors

    def _results(self, stack: str) -> Iterator[tuple[str, bytes]]:
        for plan_id in self.plan_ids(stack):
            data = self.result(stack, plan_id)
            if data is not None:
                yield f"the result of plan {plan_id[:12]}", data
        place = f"{_place(stack)}/records"
        for name in self.objects.names(place):
            yield f"the record {name[:12]}", self.objects.get(f"{place}/{name}") or b""

    def keep_record(self, stack: str, record_id: str, record: bytes) -> None:
        """Keep a signed result that belongs to no plan (an adoption), for the history."""
        self._put_once(f"{_place(stack)}/records/{record_id}.json", record)

    def keep_errored_state(self, stack: str, state: bytes) -> None:
        """Keep a state that Terraform could not write; it counts as unfinished until it is dealt with."""
        if self.unfinished(stack) is None:
            self.begin_apply(stack, Unfinished(plan_id="", given_plan_id="", run_id="", begun_on=datetime.now(UTC)))
        self.objects.create(f"{_place(stack)}/errored/{sha256(state)}.tfstate", state)

    def errored_states(self, stack: str) -> list[bytes]:
        """The kept states of a stack that wait to be written back."""
        place = f"{_place(stack)}/errored"
        found = [self.objects.get(f"{place}/{name}") for name in self.objects.names(place)]
        return [state for state in found if state is not None]

    def set_aside(self, stack: str, state: bytes) -> None:
        """A kept state no longer waits: it was written back, or given up. It stays in the store."""
        self.objects.create(f"{_place(stack)}/set-aside/{sha256(state)}.tfstate", state)
        self.objects.delete(f"{_place(stack)}/errored/{sha256(state)}.tfstate")

    def states_set_aside(self, stack: str) -> list[bytes]:
        """The states that were set aside."""
        place = f"{_place(stack)}/set-aside"
        found = [self.objects.get(f"{place}/{name}") for name in self.objects.names(place)]
        return [state for state in found if state is not None]

    def keep_inputs(self, stack: str, fingerprint: str, archive: bytes) -> None:
        """Keep what a deployment was made from: a force-push or a deleted branch loses nothing."""
        self.objects.create(f"{_place(stack)}/inputs/{fingerprint}", archive)

    def inputs(self, stack: str, fingerprint: str) -> bytes | None:
        """The kept inputs, or None."""
        return self.objects.get(f"{_place(stack)}/inputs/{fingerprint}")

    def waiting_plan(self, stack: str) -> str | None:
        """The id of the plan that waits for approval, as the last run noted it (a hint, verified when used)."""
        data = self.objects.get(f"{_place(stack)}/waiting")
        noted = data.decode("ascii", "replace") if data else ""
        return noted if _PLAN_ID.fullmatch(noted) else None

    def note_waiting(self, stack: str, plan_id: str | None) -> None:
        """Remember which plan waits, or that none does."""
        key = f"{_place(stack)}/waiting"
        if plan_id is None:
            self.objects.delete(key)
        else:
            self.objects.replace(key, plan_id.encode(), expected=self.objects.get(key))

    def _deployment(self, data: bytes, stack: str, keys: Mapping[str, "SSlibKey"], *, what: str) -> Deployment:
        return decode_deployment(dsse.verify(data, keys, what=what), what=what, stack=stack, store_id=self.id)

    def _claim(self, stack: str, plan_id: str) -> Claim:
        data = self.objects.get(f"{_plan(stack, plan_id)}/{CLAIM}") or b""
        try:
            return msgspec.json.decode(data, type=Claim)
        except msgspec.MsgspecError as error:
            raise VerificationError(
                f"the claim of plan {plan_id[:12]} of {stack} is damaged: {error}",
                code="verify.claim",
                hint="restore the store from a backup, or remove that plan's directory once you know what happened",
                stack=stack,
            ) from error

    def _put_once(self, key: str, data: bytes) -> None:
        if not self.objects.create(key, data) and self.objects.get(key) != data:
            raise FailedError(f"{key} exists in the store with other content", code="store.conflict", hint="run again")


def open_artifact(
    files: Mapping[str, bytes],
    keys: Mapping[str, "SSlibKey"],
    review_keys: Mapping[str, "SSlibKey"] = NO_KEYS,
    *,
    where: str,
) -> PlanArtifact:
    """An artifact out of its files: verify the signature first, then read what was signed.

    Signatures by `review_keys` count on plans for review only: `verify.key_purpose` for any other plan.
    """
    if STATEMENT not in files:
        raise VerificationError(
            f"{where} has no {STATEMENT}: it is not a plan artifact, or its writing was cut off",
            code="verify.incomplete",
            hint="make a new plan with `tfops plan`",
        )
    verified = dsse.verify(files[STATEMENT], {**keys, **review_keys}, what=f"{STATEMENT} of {where}")
    statement = decode_plan(verified)
    if verified.signer not in keys and statement.predicate.purpose is not Purpose.SPECULATIVE:
        raise VerificationError(
            f'{where} is a plan for {statement.predicate.purpose.value}, but runner "{verified.signer}" may sign plans '
            "for review only",
            code="verify.key_purpose",
            hint="do not use it: find out who has that runner's key; make a new plan with `tfops plan`",
        )
    return PlanArtifact(
        id=verified.id,
        runner=verified.signer,
        statement=statement,
        files=dict(files),
        where=where,
    )


def artifact_from_directory(directory: Path) -> dict[str, bytes]:
    """The files of an artifact that lies in a directory."""
    known = {*PLAN_FILES, STATEMENT, *APPLIED_FILES}
    try:
        found = {path.name: path.read_bytes() for path in sorted(directory.iterdir()) if path.name in known}
    except OSError as error:
        raise UsageError(
            f"cannot read the artifact in {directory}: {error.strerror}",
            code="plan.not_found",
            hint="name a directory that `tfops plan --out` wrote",
        ) from error
    return found


def create_store(objects: Objects, store_id: str | None = None) -> str:
    """Make an empty place a store and return its id; an existing store keeps its own."""
    existing = objects.get("store.json")
    if existing is not None:
        return _store_id(existing)
    chosen = store_id or secrets.token_hex(16)
    objects.create("digest-key", secrets.token_bytes(32))
    objects.create("store.json", json.dumps({"schema": SCHEMA, "id": chosen}).encode())
    return _store_id(objects.get("store.json") or b"")


def open_store(objects: Objects, *, expected_id: str | None, where: str) -> Store:
    """The store at a place; refuses an empty or a foreign one rather than taking it for a fresh start."""
    if expected_id is None:
        raise VerificationError(
            "tfops.hcl names no store id, so an empty store could pass for a fresh start",
            code="store.no_id",
            hint="run `tfops init`: it makes the store and writes its id into tfops.hcl; commit that",
        )
    data, digest_key = objects.get("store.json"), objects.get("digest-key")
    if data is None or not digest_key:
        raise VerificationError(
            f"the store at {where} is empty, but tfops.hcl expects store {expected_id[:12]}",
            code="store.missing",
            hint="nothing was created anew. Mount or restore the store; on a machine that never had it, share one "
            'store by path = "…"; only for a truly fresh start take the id out of tfops.hcl and run `tfops init`',
        )
    found = _store_id(data)
    if found != expected_id:
        raise VerificationError(
            f"the store at {where} is {found[:12]}, but tfops.hcl expects {expected_id[:12]}",
            code="store.foreign",
            hint="name the right path in the store block of tfops.hcl",
        )
    return Store(objects, store_id=found, digest_key=digest_key)


def _store_id(data: bytes) -> str:
    try:
        document = json.loads(data)
        unknown = sorted(document.keys() - {"schema", "id"})
        if document["schema"] == SCHEMA and not unknown:
            return str(document["id"])
        reason = f"its schema is {document['schema']}, this version knows {SCHEMA}"
        if document["schema"] == SCHEMA:
            reason = f"store.json says {', '.join(unknown)}, which this version does not know"
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        reason = f"store.json is damaged ({error})"
    raise VerificationError(
        f"the store cannot be read: {reason}",
        code="store.damaged",
        hint="restore it from a backup, or use the version of tfops that wrote it",
    )


def _claimed(stack: str, plan_id: str) -> VerificationError:
    return VerificationError(
        f"plan {plan_id[:12]} of {stack} was used before: a plan is applied at most once",
        code="verify.claimed",
        hint=f"make a new plan: tfops plan {stack}",
        stack=stack,
    )


def _place(stack: str) -> str:
    """A stack's place: its id, with what the store itself uses as names, and what file systems dislike, escaped."""
    return "/".join(_escaped(part, first=not number) for number, part in enumerate(stack.split("/")))


def _escaped(part: str, *, first: bool) -> str:
    name = quote(part, safe="@+=,", errors="surrogateescape")
    taken = name in _PARTS_OF_A_STACK or name.startswith(".") or name.endswith(".json") or (first and name in RESERVED)
    if not taken:
        return name
    begin = name[0] if name[0] == "%" else f"%{ord(name[0]):02X}"
    return begin + name[1:].replace(".", "%2E")


def _index_name(stack: str) -> str:
    """A stack's id as one path part; a very long one is digested, and then the object's content says it."""
    name = quote(stack, safe="@+=,", errors="surrogateescape")
    name = f"%2E{name[1:]}" if name.startswith(".") else name
    return name if len(name) <= _LONGEST_NAME else f"~{sha256(os.fsencode(stack))}"


def _plan(stack: str, plan_id: str) -> str:
    return f"{_place(stack)}/plans/{plan_id}"


def approvals_name(stack: str, plan_id: str) -> str:
    """Where the decisions over a plan lie."""
    return f"{_plan(stack, plan_id)}/{APPROVALS}"


def lease_name(stack: str) -> str:
    """The key of a stack's lease in an S3 store."""
    return f"{_place(stack)}/lease.json"


def unfinished_name(stack: str) -> str:
    """The key of the note that an apply of the stack is under way, or not settled."""
    return f"{_place(stack)}/unfinished"


def place_name(stack: str) -> str:
    """A stack's id as a path."""
    return _place(stack)


def lock_name(stack: str) -> str:
    """The key of a stack's lock in a local store."""
    return f"{_place(stack)}/lock"


def state_name(origin: str) -> str:
    """The directory of a managed state, by the first name of its stack."""
    return f"state/{_place(origin)}"


def sha256(data: bytes) -> str:
    """sha256 in hex."""
    return hashlib.sha256(data).hexdigest()
