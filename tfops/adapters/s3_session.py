"""How a bucket is opened: which one, with whose credentials, and how patiently."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tfops.adapters.credentials import endpoint

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client


@dataclass(frozen=True, slots=True, kw_only=True)
class AssumedRole:
    """A role to take before the bucket is opened."""

    arn: str
    external_id: str | None = None
    session_name: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long one request may take, and how often it is tried."""

    connect_seconds: float = 5.0
    read_seconds: float = 20.0
    attempts: int = 5


HURRIED = Patience(connect_seconds=3.0, read_seconds=5.0, attempts=1)
"""For what is done while Terraform runs, and is tried again a little later."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BucketPlace:
    """Which bucket, where, and how it wants to be spoken to. The words are those of Terraform's own s3 backend."""

    bucket: str
    region: str | None = None
    endpoint: str | None = None
    use_path_style: bool = False
    kms_key_id: str | None = None
    assume_role: AssumedRole | None = None


def s3_client(place: BucketPlace, environ: Mapping[str, str], patience: Patience) -> "S3Client":
    """A client for the bucket; credentials, region and endpoint come from the place, else from `environ`."""
    from botocore.config import Config

    from tfops.adapters.credentials import session as open_session

    session = open_session(environ, region=place.region)
    if place.assume_role is not None:
        session = _assumed(session, place.assume_role, environ)
    config = Config(
        connect_timeout=patience.connect_seconds,
        read_timeout=patience.read_seconds,
        retries={"mode": "standard", "total_max_attempts": patience.attempts},
        s3={"addressing_style": "path" if place.use_path_style else "auto"},
        max_pool_connections=16,
    )
    return session.client("s3", endpoint_url=place.endpoint or endpoint("s3", environ), config=config)


def _assumed(session: Any, role: AssumedRole, environ: Mapping[str, str]) -> Any:
    """A session in a role, which renews itself: an apply may outlive the role's hour."""
    import boto3
    from botocore.credentials import AssumeRoleCredentialFetcher, DeferredRefreshableCredentials
    from botocore.session import get_session

    extra = {"RoleSessionName": role.session_name or "tfops"}
    if role.external_id:
        extra["ExternalId"] = role.external_id

    def client(*arguments: Any, **options: Any) -> Any:
        return session._session.create_client(*arguments, endpoint_url=endpoint("sts", environ), **options)

    fetcher = AssumeRoleCredentialFetcher(
        client_creator=client, source_credentials=session.get_credentials(), role_arn=role.arn, extra_args=extra
    )
    inner: Any = get_session()
    inner._credentials = DeferredRefreshableCredentials(method="assume-role", refresh_using=fetcher.fetch_credentials)
    return boto3.session.Session(botocore_session=inner, region_name=session.region_name)
