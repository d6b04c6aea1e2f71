"""The lease on a stack: an object with an expiry and an epoch, by the store's clock and not ours (DESIGN.md §7).

Held by whoever wrote it last under a condition. Its age is the server's own: when it answered, minus when the object
was written. We measure only how long ago *we* renewed it, by a clock that cannot be set and also counts sleep.
"""

import contextlib
import random
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

import msgspec

from tfops.adapters.hosts import Process, is_dead, this_process
from tfops.adapters.s3 import Bucket, Found
from tfops.adapters.s3_session import HURRIED, Patience
from tfops.errors import FailedError, LockedError, TfopsError, VerificationError

RENEWALS_PER_LEASE = 6
STOP_SHARE = 0.75  # of a lease's time; what is left is for Terraform to stop gently
POLL_SECONDS = 1.0


class Holder(msgspec.Struct, frozen=True, kw_only=True):
    """Who holds a lease, for people and for proving that it is dead."""

    run_id: str
    command: str
    host: str
    boot: str | None
    pid: int
    started: int | None
    uid: int
    since: datetime

    @property
    def process(self) -> Process:
        """The process, as the host knows it."""
        return Process(host=self.host, boot=self.boot, pid=self.pid, started=self.started, uid=self.uid)

    def __str__(self) -> str:
        since = self.since.isoformat(timespec="seconds")
        return f"tfops {self.command}, process {self.pid} on {self.host} since {since} (run {self.run_id})"


class LeaseDocument(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What lies in the store. `applying`: a Terraform may write a state; then its death must be sure.

    `open`: an apply began whose consequences are not settled. `renewal` makes every write differ from the one before:
    an ETag may be a digest of the content alone.
    """

    schema: Literal["tfops.lease/v1"] = "tfops.lease/v1"
    epoch: int
    token: str
    holder: Holder
    ttl_seconds: float
    grace_seconds: float
    renewal: int = 0
    applying: bool = False
    open: bool = False
    released: bool = False


class LeaseView(msgspec.Struct, frozen=True, kw_only=True):
    """A lease as somebody else sees it."""

    document: LeaseDocument
    etag: str
    age_seconds: float

    @property
    def is_free(self) -> bool:
        """Whether anybody may take it now, and no death need be proven."""
        lease = self.document
        limit = lease.ttl_seconds + (lease.grace_seconds if lease.applying else 0.0)
        return lease.released or self.age_seconds > limit

    @property
    def expires_in_seconds(self) -> float:
        """How long it is still valid; negative since when it is not."""
        return self.document.ttl_seconds - self.age_seconds


def holder(*, run_id: str, command: str, since: datetime) -> Holder:
    """This process as a holder."""
    me = this_process()
    return Holder(
        run_id=run_id,
        command=command,
        host=me.host,
        boot=me.boot,
        pid=me.pid,
        started=me.started,
        uid=me.uid,
        since=since,
    )


def read_lease(bucket: Bucket, key: str, *, stack: str) -> LeaseView | None:
    """The lease as it lies there; None where the stack was never held."""
    found = bucket.get(key)
    if not isinstance(found, Found):
        return None
    try:
        document = msgspec.json.decode(found.data, type=LeaseDocument)
    except msgspec.MsgspecError as error:
        raise VerificationError(
            f"{stack}: its lease {key} cannot be read: {error}",
            code="lock.unknown",
            hint="another version of tfops wrote it: use that one; if no run is under way, remove the object",
            stack=stack,
        ) from error
    return LeaseView(document=document, etag=found.etag, age_seconds=found.age_seconds)


class Lease:
    """A held lease, renewed in the background. `lost` is set in time for Terraform to stop before it ends."""

    def __init__(self, bucket: Bucket, key: str, document: LeaseDocument, etag: str, *, stack: str, at: float) -> None:
        self.lost = _Lost(self)
        self.document = document
        self._bucket = bucket
        self._key = key
        self._etag = etag
        self._stack = stack
        self._renewed_at = at
        self._taken = False
        self._renewal = 0
        self._ended = threading.Event()
        self._lock = threading.Lock()

    @property
    def epoch(self) -> int:
        """How often the lease was taken."""
        return self.document.epoch

    def check(self) -> None:
        """Called before every write of ours: raises LockedError `lock.lost` unless the lease still is ours."""
        if _clock() - self._renewed_at > self.document.ttl_seconds / 2:
            self._try_to_renew()
        if self._taken or _clock() - self._renewed_at > self.document.ttl_seconds:
            raise self.error()

    def error(self) -> TfopsError:
        """Why it is lost."""
        if self._taken:
            return LockedError(
                f"{self._stack}: another run took the lease over from epoch {self.epoch} while this one stood still",
                code="lock.lost",
                hint=f"this run wrote nothing more; look at what the other one does: tfops lock list; "
                f"tfops history {self._stack}",
                stack=self._stack,
            )
        return FailedError(
            f"{self._stack}: the lease (epoch {self.epoch}) could not be renewed in time: the store is out of reach",
            code="lock.lost",
            hint=f"Terraform was stopped gently, before anybody else may begin; run again: tfops sync {self._stack}",
            stack=self._stack,
        )

    def begin_apply(self) -> None:
        """From now on a Terraform may write: whoever takes over must be sure that it is dead."""
        with self._lock:
            self.document = msgspec.structs.replace(self.document, applying=True, open=True)
        self._renew(Patience())
        self.check()

    def settled(self) -> None:
        """Nothing of the apply is open any more; told to others when the lease is given back."""
        with self._lock:
            self.document = msgspec.structs.replace(self.document, open=False)

    @property
    def is_endangered(self) -> bool:
        """Whether Terraform must stop now: the lease is somebody else's, or will end before it can be renewed."""
        return self._taken or _clock() - self._renewed_at > self.document.ttl_seconds * STOP_SHARE

    def keep(self) -> None:
        """Renew until `release`; runs in a thread of its own."""
        pause = self.document.ttl_seconds / RENEWALS_PER_LEASE
        while not self._ended.wait(pause * random.uniform(0.8, 1.0)):  # noqa: S311
            self._try_to_renew()

    def release(self) -> None:
        """Give the lease back; the epoch stays in the store. A failure only makes others wait until it expires."""
        self._ended.set()
        with self._lock:
            if not self._taken:
                self._write(msgspec.structs.replace(self.document, released=True, applying=False), patience=Patience())

    def _try_to_renew(self) -> None:
        with contextlib.suppress(TfopsError):
            self._renew()

    def _renew(self, patience: Patience = HURRIED) -> None:
        with self._lock:
            if self._ended.is_set() or self._taken:
                return
            at = _clock()
            if self._write(self.document, patience):
                self._renewed_at = at
            else:
                self._taken = True

    def _write(self, document: LeaseDocument, patience: Patience = HURRIED) -> bool:
        """Write over our own lease; False where it is somebody else's by now."""
        self._renewal += 1
        data = msgspec.json.encode(msgspec.structs.replace(document, renewal=self._renewal))
        bucket = self._bucket.with_patience(patience)
        etag = bucket.put(self._key, data, only_if=self._etag)
        if etag is None:
            # An earlier renewal may have gone through without an answer: then the lease has changed, and is ours.
            view = read_lease(bucket, self._key, stack=self._stack)
            if view is not None and view.document.token == self.document.token and not view.document.released:
                etag = bucket.put(self._key, data, only_if=view.etag)
        self._etag = etag or self._etag
        return etag is not None


class _Lost(threading.Event):
    """Set as soon as the lease is endangered, also while a renewal hangs: it is looked at, not told."""

    def __init__(self, lease: Lease) -> None:
        super().__init__()
        self._lease = lease
        self._was_seen = False

    def is_set(self) -> bool:
        # Who saw it once has begun to stop: that the lease was renewed after all does not undo it.
        self._was_seen = self._was_seen or self._lease.is_endangered
        return self._was_seen

    def wait(self, timeout: float | None = None) -> bool:
        deadline = None if timeout is None else time.monotonic() + timeout
        while not self.is_set() and (deadline is None or time.monotonic() < deadline):
            time.sleep(0.05)
        return self.is_set()


@dataclass(frozen=True, kw_only=True)
class Request:
    """Who wants a lease on which stack, for how long, and how long it waits for one.

    `make_sure` is asked about a holder that is proven dead: whether its Terraform is dead, too.
    """

    stack: str
    holder: Holder
    ttl_seconds: float
    grace_seconds: float
    wait_seconds: float
    is_stopped: Callable[[], bool] = lambda: False
    on_wait: Callable[[str], None] = lambda who: None
    make_sure: Callable[[Holder], bool] = lambda holder: True
    on_unreleased: Callable[[TfopsError], None] = lambda error: None


@contextlib.contextmanager
def hold_lease(bucket: Bucket, key: str, request: Request) -> Iterator[Lease]:
    """Hold a stack's lease. Raises LockedError `lock.held` naming the holder where it stays held."""
    lease = _acquire(bucket, key, request)
    threading.Thread(target=lease.keep, name=f"lease {request.stack}", daemon=True).start()
    try:
        yield lease
    finally:
        try:
            lease.release()
        except TfopsError as error:
            request.on_unreleased(error)


def _acquire(bucket: Bucket, key: str, request: Request) -> Lease:
    deadline, told = time.monotonic() + request.wait_seconds, False
    while True:
        view = read_lease(bucket, key, stack=request.stack)
        if view is None or _may_take(view, request):
            lease = _take(bucket, key, view, request)
            if lease is not None:
                return lease
            continue  # somebody else was faster
        if time.monotonic() >= deadline or request.is_stopped():
            raise held_error(view, request.stack)
        if not told:
            told = True
            request.on_wait(str(view.document.holder))
        time.sleep(min(POLL_SECONDS, max(0.05, deadline - time.monotonic())) * random.uniform(0.7, 1.0))  # noqa: S311


def _may_take(view: LeaseView, request: Request) -> bool:
    dead = view.document.holder
    return view.is_free or (is_dead(dead.process) and request.make_sure(dead))


def _take(bucket: Bucket, key: str, view: LeaseView | None, request: Request) -> Lease | None:
    """Take a free lease; None where somebody else was faster."""
    document = LeaseDocument(
        epoch=view.document.epoch + 1 if view else 1,
        token=uuid.uuid4().hex,
        holder=request.holder,
        ttl_seconds=request.ttl_seconds,
        grace_seconds=request.grace_seconds,
        open=view.document.open if view else False,
    )
    data, at = msgspec.json.encode(document), _clock()
    etag = bucket.put(key, data, only_if=view.etag) if view else bucket.put(key, data, only_if_absent=True)
    return None if etag is None else Lease(bucket, key, document, etag, stack=request.stack, at=at)


def held_error(view: LeaseView, stack: str) -> LockedError:
    """Somebody else holds the lease: who, until when, and what to do."""
    lease, left = view.document, view.expires_in_seconds
    if left > 0:
        until, hint = f"valid for another {left:.0f} s unless renewed", "wait until that run ends and try again"
    else:
        grace = lease.ttl_seconds + lease.grace_seconds - view.age_seconds
        until = f"not renewed for {view.age_seconds:.0f} s; its Terraform may still run for up to {grace:.0f} s"
        hint = f'if you know that it is dead: tfops lock release {stack} --reason "…"; else wait'
    return LockedError(f"{stack}: locked by {lease.holder}, {until}", code="lock.held", hint=hint, stack=stack)


def force_release(bucket: Bucket, key: str, view: LeaseView) -> bool:
    """A person's word that the holder is dead; False where the lease changed meanwhile."""
    lease = view.document
    released = msgspec.structs.replace(lease, released=True, applying=False, renewal=lease.renewal + 1)
    return bucket.put(key, msgspec.json.encode(released), only_if=view.etag) is not None


def _clock() -> float:
    """Seconds that cannot be set, and that go on while the machine sleeps."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))
