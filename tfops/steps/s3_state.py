"""A state in S3: read by one conditional request, and locked by us the way Terraform locks it (DESIGN.md §7)."""

import contextlib
import getpass
import json
import socket
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from tfops.adapters.s3 import Bucket, Found, Unchanged
from tfops.errors import LockedError, TfopsError, VerificationError
from tfops.s3_backend import S3Backend
from tfops.steps.state import Snapshot, StateLockRequest, parse_state

LOCK_SUFFIX = ".tflock"
POLL_SECONDS = 1.0


@dataclass(frozen=True, kw_only=True)
class S3State:
    """The state of one workspace in a bucket. `state_policy` limits a role Terraform assumes for managed state."""

    bucket: Bucket
    lock_bucket: Bucket
    backend: S3Backend
    workspace: str
    is_managed: bool
    state_policy: str | None = None

    @property
    def key(self) -> str:
        """The state's key."""
        return self.backend.object_key(self.workspace)

    @property
    def where(self) -> str:
        """The place, as messages name it."""
        return self.backend.identity(self.workspace)

    def data(self, *, stack: str) -> bytes | None:
        """The state's bytes; None where there is none."""
        found = self.bucket.get(self.key)
        return found.data if isinstance(found, Found) else None

    def snapshot(self, *, stack: str, known: Snapshot | None = None) -> Snapshot:
        """The state now; nothing of it is sent where it still has the ETag of `known`."""
        found = self.bucket.get(self.key, unless_etag=known.version if known else None)
        if isinstance(found, Unchanged) and known is not None:
            return known
        if not isinstance(found, Found):
            return Snapshot()
        return parse_state(found.data, stack=stack, version=found.etag)

    def override(self, session_name: str) -> bytes:
        """An override file that puts the state here."""
        return self.backend.override(session_name=session_name, state_policy=self.state_policy)

    def prepare(self) -> None:
        """A bucket needs no directories."""

    def must_make_workspace(self, now: Snapshot) -> bool:
        """Terraform locks by itself while it makes a workspace: it would stand before our own lock."""
        return self.workspace != "default" and not now.exists

    def lock_holder(self) -> str | None:
        """Who holds Terraform's lock object."""
        found = self.read_lock() if self.backend.use_lockfile else None
        return _holder(found) if found is not None else None

    @contextlib.contextmanager
    def hold(self, request: StateLockRequest) -> Iterator[bool]:
        """Write Terraform's lock object ourselves, so that plan, comparison and apply are under one lock.

        Raises LockedError `lock.state` with who holds it. A lock that a dead run of ours left is released.
        """
        if not self.backend.use_lockfile:
            yield False
            return
        self._acquire(request)
        try:
            yield True
        finally:
            self._release(request)

    def read_lock(self) -> dict[str, str] | None:
        """Terraform's lock on the state as it lies there; None where there is none."""
        found = self.lock_bucket.get(self.key + LOCK_SUFFIX)
        if not isinstance(found, Found):
            return None
        with contextlib.suppress(ValueError):
            document = json.loads(found.data)
            if isinstance(document, dict):
                return {str(name): str(value) for name, value in document.items()}
        return {"ID": "", "Who": "somebody whose lock cannot be read"}

    def _acquire(self, request: StateLockRequest) -> None:
        deadline, told = time.monotonic() + request.wait_seconds, False
        while True:
            # The store's own bucket is known to keep conditions; elsewhere a careless server would let us overwrite.
            found = None if self.is_managed else self.read_lock()
            if found is None and self._write_lock(request):
                return
            found = found or self.read_lock()
            if found is None:
                continue
            if _is_our_dead(found, request):
                self._release_dead(found, request)
                continue
            if time.monotonic() >= deadline or request.is_stopped():
                raise _held(found, request)
            if not told:
                told = True
                request.say(f"waiting for Terraform's state lock, held by {found.get('Who')}")
            time.sleep(min(POLL_SECONDS, max(0.05, deadline - time.monotonic())))

    def _write_lock(self, request: StateLockRequest) -> bool:
        lock = _lock(request, f"{self.backend.bucket}/{self.key}")
        if self.lock_bucket.put(self.key + LOCK_SUFFIX, json.dumps(lock).encode(), only_if_absent=True) is None:
            return False
        self._check_exclusion(lock, request)
        return True

    def _check_exclusion(self, lock: Mapping[str, str], request: StateLockRequest) -> None:
        # The store's own bucket was probed before its first write; a bucket the code names was not.
        if self.is_managed:
            return
        again = self.lock_bucket.put_raw(self.key + LOCK_SUFFIX, json.dumps(lock).encode(), only_if_absent=True)
        if again.status == 200:
            self.lock_bucket.delete(self.key + LOCK_SUFFIX)
            raise VerificationError(
                f"{request.stack}: the server of its state, bucket {self.backend.bucket}, ignores If-None-Match: "
                "a lock there keeps nobody out",
                code="state.no_conditional_writes",
                hint="nothing was planned or applied. Use S3 itself, or a server that honours If-None-Match",
                stack=request.stack,
            )

    def _release_dead(self, found: Mapping[str, str], request: StateLockRequest) -> None:
        request.on_released(found)
        self.lock_bucket.delete(self.key + LOCK_SUFFIX)
        request.say(f"released the state lock that dead run {found['ID']} left")

    def _release(self, request: StateLockRequest) -> None:
        # How the run ended does not change by this: the next run recognises the lock as ours.
        try:
            found = self.read_lock()
            if found is not None and found.get("ID") == _lock_id(request):
                self.lock_bucket.delete(self.key + LOCK_SUFFIX)
        except TfopsError as error:
            request.say(f"the state lock could not be released ({error}); the next run of tfops does it")


def _lock_id(request: StateLockRequest) -> str:
    return f"tfops-{request.run_id}"


def _lock(request: StateLockRequest, path: str) -> dict[str, str]:
    """The lock in Terraform's own form; plain Terraform refuses with our `Who` and `Info`."""
    return {
        "ID": _lock_id(request),
        "Operation": "OperationTypeApply",
        "Info": json.dumps({"tfops_store": request.store_id, "stack": request.stack, "epoch": request.epoch}),
        "Who": f"{_user()}@{socket.gethostname()}",
        "Version": request.terraform_version,
        "Created": datetime.now(UTC).isoformat().replace("+00:00", "Z"),
        "Path": path,
    }


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"


def _is_our_dead(found: Mapping[str, str], request: StateLockRequest) -> bool:
    """Whether a run of this very stack left the lock: we hold the stack, so that run is dead or shut out."""
    try:
        info = json.loads(found.get("Info", ""))
        ours = (info["tfops_store"], info["stack"]) == (request.store_id, request.stack)
        earlier = int(info["epoch"]) < request.epoch or request.epoch == 0
    except (ValueError, KeyError, TypeError):
        return False
    return found.get("ID", "").startswith("tfops-") and ours and earlier and found["ID"] != _lock_id(request)


def _holder(found: Mapping[str, str]) -> str:
    return f"{found.get('Who', 'somebody')} since {found.get('Created', 'some time')} (lock {found.get('ID', '')})"


def _held(found: Mapping[str, str], request: StateLockRequest) -> LockedError:
    identity = found.get("ID", "")
    return LockedError(
        f"{request.stack}: Terraform's state lock is held by {_holder(found)}, {found.get('Operation', '')}".rstrip(
            ", "
        ),
        code="lock.state",
        hint="tfops never touches a lock that is not its own: wait for it; if its owner is dead: "
        f"terraform force-unlock {identity}",
        stack=request.stack,
    )
