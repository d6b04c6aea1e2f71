"""A store in an S3 bucket: stacks are held by a lease, managed states lie beside the store."""

import contextlib
import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import cached_property

from tfops.adapters import lease as leases
from tfops.adapters.credentials import store_denied_policy
from tfops.adapters.hosts import end_left_behind, is_dead
from tfops.adapters.objects_s3 import S3Objects
from tfops.adapters.s3 import Bucket
from tfops.adapters.s3_session import AssumedRole, BucketPlace
from tfops.config_store import S3Store
from tfops.errors import UsageError
from tfops.s3_backend import S3Backend
from tfops.steps.caller import Caller
from tfops.steps.hold import Hold, LockView, Wanted
from tfops.steps.s3_state import S3State
from tfops.steps.store import lease_name, place_name

POLL_SECONDS = 0.2


@dataclass(frozen=True, kw_only=True)
class S3Place:
    """A prefix of a bucket."""

    store: S3Store
    caller: Caller

    @property
    def where(self) -> str:
        """The place, as messages name it."""
        at = f" at {self.store.endpoint}" if self.store.endpoint else ""
        return f"s3://{self.store.bucket}/{self.store.prefix}{at}"

    @cached_property
    def bucket(self) -> Bucket:
        """The bucket, with tfops' own credentials."""
        return Bucket(bucket_place(self.store), environ=lambda: self.caller.environ)

    @cached_property
    def objects(self) -> S3Objects:
        """The objects there."""
        return S3Objects(self.bucket, f"{self.store.prefix}/")

    @contextlib.contextmanager
    def hold(self, wanted: Wanted) -> Iterator[Hold]:
        """Hold a stack by its lease, renewed in the background."""
        self.objects.probe()
        request = leases.Request(
            stack=wanted.stack,
            holder=leases.holder(run_id=wanted.run_id, command=wanted.command, since=wanted.since),
            ttl_seconds=self.store.lease_seconds,
            grace_seconds=wanted.grace_seconds,
            wait_seconds=wanted.wait_seconds,
            is_stopped=wanted.stop.is_set,
            on_wait=lambda who: wanted.say(f"waiting for the lock, held by {who}"),
            make_sure=lambda dead: _make_sure(dead.run_id, wanted),
            on_unreleased=lambda error: wanted.say(
                f"the lease could not be given back ({error}); it expires by itself"
            ),
        )
        with leases.hold_lease(self.bucket, self._lease_key(wanted.stack), request) as lease:
            yield Hold(
                lost=lease.lost,
                epoch=lease.epoch,
                check=lease.check,
                begin_apply=lease.begin_apply,
                settled=lease.settled,
                why_lost=lambda: lease.error() if lease.lost.is_set() else None,
            )

    def is_left_behind(self, stack: str) -> bool:
        """Whether an apply is open, or the lease was not given back by a run that is dead or does not renew it."""
        view = self._lease(stack)
        if view is None or view.document.released:
            return view is not None and view.document.open
        return view.is_free or is_dead(view.document.holder.process)

    def wait_for_applies(self, wanted: Wanted) -> None:
        """Return when nobody applies the stack."""
        deadline, told = time.monotonic() + wanted.wait_seconds, False
        while (view := self._lease(wanted.stack)) is not None and view.document.applying and not view.is_free:
            if time.monotonic() >= deadline or wanted.stop.is_set():
                raise leases.held_error(view, wanted.stack)
            if not told:
                told = True
                wanted.say(f"waiting for the apply of {view.document.holder}")
            time.sleep(leases.POLL_SECONDS)

    def locks(self, stacks: Collection[str]) -> list[LockView]:
        """Who holds which of the stacks."""
        views = ((stack, self._lease(stack)) for stack in stacks)
        return [_lock_view(stack, view) for stack, view in views if view is not None and not view.document.released]

    def release(self, stack: str) -> LockView:
        """Free a stack on a person's word that its holder is dead."""
        view = self._lease(stack)
        if view is None or view.document.released:
            raise UsageError(f"nobody holds {stack}", code="usage.not_locked", hint="tfops lock list", stack=stack)
        if not leases.force_release(self.bucket, self._lease_key(stack), view):
            raise UsageError(
                f"{stack}: its lease changed at this moment: its holder lives",
                code="usage.lock_alive",
                hint="tfops lock list",
                stack=stack,
            )
        return _lock_view(stack, view)

    def managed_state(self, name: str, workspace: str) -> S3State:
        """The state tfops keeps for a stack: beside the store, so that Terraform needs no access to the store."""
        base, store = f"{self.store.prefix}-state/{place_name(name)}", self.store
        role = store.assume_role
        backend = S3Backend(
            bucket=store.bucket,
            key=f"{base}/terraform.tfstate",
            region=store.region,
            endpoint=store.endpoint,
            use_path_style=store.use_path_style,
            workspace_key_prefix=f"{base}/workspaces",
            kms_key_id=store.kms_key_id,
            role_arn=role.role_arn if role else None,
            external_id=role.external_id if role else None,
            use_lockfile=True,
        )
        return S3State(
            bucket=self.bucket,
            lock_bucket=self.bucket,
            backend=backend,
            workspace=workspace,
            is_managed=True,
            state_policy=store_denied_policy(bucket=store.bucket, prefix=store.prefix) if role else None,
        )

    def disk_places(self) -> list[str]:
        """Nothing of the store lies on this machine."""
        return []

    def _lease(self, stack: str) -> leases.LeaseView | None:
        return leases.read_lease(self.bucket, self._lease_key(stack), stack=stack)

    def _lease_key(self, stack: str) -> str:
        return f"{self.store.prefix}/{lease_name(stack)}"


def _make_sure(run_id: str, wanted: Wanted) -> bool:
    """Whether nothing of a dead run's Terraform is left on this host; what runs on without it is ended."""
    is_over = end_left_behind(run_id, programs=wanted.programs, say=wanted.say)
    if not is_over:
        time.sleep(POLL_SECONDS)
    return is_over


def _lock_view(stack: str, view: leases.LeaseView) -> LockView:
    lease = view.document
    return LockView(
        stack=stack,
        kind="lease, applying" if lease.applying else "lease",
        holder=str(lease.holder),
        run_id=lease.holder.run_id,
        host=lease.holder.host,
        since=lease.holder.since.isoformat(timespec="seconds"),
        expires_in_seconds=round(view.expires_in_seconds, 1),
        epoch=lease.epoch,
        releasable=True,
    )


def bucket_place(store: S3Store) -> BucketPlace:
    """The bucket tfops.hcl names."""
    role = store.assume_role
    return BucketPlace(
        bucket=store.bucket,
        region=store.region,
        endpoint=store.endpoint,
        use_path_style=store.use_path_style,
        kms_key_id=store.kms_key_id,
        assume_role=AssumedRole(arn=role.role_arn, external_id=role.external_id, session_name=role.session_name)
        if role
        else None,
    )


def s3_place(store: S3Store, caller: Caller) -> S3Place:
    """The bucket and prefix tfops.hcl names."""
    return S3Place(store=store, caller=caller)
