"""A state in S3 that the code itself names, read and locked with the roles of its environment."""

from dataclasses import replace

from tfops.adapters.s3 import Bucket
from tfops.adapters.s3_session import AssumedRole, BucketPlace
from tfops.s3_backend import S3Backend, read_backend
from tfops.stacks import Stack, StateAddress
from tfops.steps.access import Access
from tfops.steps.opening import Session
from tfops.steps.s3_state import S3State


def s3_state(session: Session, stack: Stack, address: StateAddress) -> S3State | None:
    """The state of an s3 backend; None where something in it is not understood, and Terraform must be asked."""
    backend = read_backend(dict(address.settings))
    if backend is None or not backend.is_followed:
        return None
    environ = session.caller.environ
    if backend.endpoint is None:
        found = environ.get("AWS_ENDPOINT_URL_S3") or environ.get("AWS_S3_ENDPOINT")
        backend = replace(backend, endpoint=found) if found else backend
    access = Access(session, stack)
    reading = Bucket(_place(backend), environ=access.reading, noun=f"{stack.id}: its state", code="state")
    writing = Bucket(_place(backend), environ=access.writing, noun=f"{stack.id}: its state", code="state")
    return S3State(
        bucket=reading,
        lock_bucket=writing if stack.aws else reading,
        backend=backend,
        workspace=stack.workspace,
        is_managed=False,
    )


def _place(backend: S3Backend) -> BucketPlace:
    role = AssumedRole(arn=backend.role_arn, external_id=backend.external_id) if backend.role_arn else None
    return BucketPlace(
        bucket=backend.bucket,
        region=backend.region,
        endpoint=backend.endpoint,
        use_path_style=backend.use_path_style,
        assume_role=role,
    )
