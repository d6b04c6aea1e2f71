"""Terraform's s3 backend as values: which object a workspace's state is, and whether tfops can read it by itself."""

import json
from collections.abc import Mapping
from dataclasses import dataclass

Scalar = str | int | float | bool
DEFAULT_WORKSPACE_PREFIX = "env:"

# What changes where the state lies or who may read it, and that tfops follows …
_FOLLOWED = frozenset(
    {
        "bucket",
        "key",
        "region",
        "endpoint",
        "endpoints.s3",
        "use_path_style",
        "force_path_style",
        "workspace_key_prefix",
        "kms_key_id",
        "role_arn",
        "external_id",
        "session_name",
        "assume_role.role_arn",
        "assume_role.external_id",
        "assume_role.session_name",
        "use_lockfile",
    }
)
# … and what changes neither.
_HARMLESS = frozenset({"encrypt", "acl", "dynamodb_table", "dynamodb_endpoint", "max_retries", "retry_mode"})


@dataclass(frozen=True, slots=True, kw_only=True)
class S3Backend:
    """One backend block with its values. `is_followed`: there is nothing in it that tfops does not understand."""

    bucket: str
    key: str
    region: str | None = None
    endpoint: str | None = None
    use_path_style: bool = False
    workspace_key_prefix: str = DEFAULT_WORKSPACE_PREFIX
    kms_key_id: str | None = None
    role_arn: str | None = None
    external_id: str | None = None
    use_lockfile: bool = False
    is_followed: bool = True

    def object_key(self, workspace: str) -> str:
        """The key of a workspace's state, as Terraform names it."""
        if workspace == "default":
            return self.key
        return "/".join(part for part in (self.workspace_key_prefix, workspace, self.key) if part)

    def identity(self, workspace: str) -> str:
        """What tells this state from every other one: the object, however it is spelled."""
        at = f" at {self.endpoint.rstrip('/')}" if self.endpoint else ""
        return f"s3://{self.bucket}/{self.object_key(workspace)}{at}"

    def override(self, *, session_name: str, state_policy: str | None) -> bytes:
        """An override file with this backend, for managed state. No credentials: they are in the environment."""
        block: dict[str, object] = {
            "bucket": self.bucket,
            "key": self.key,
            "workspace_key_prefix": self.workspace_key_prefix,
            "use_lockfile": True,
            "encrypt": True if self.kms_key_id else None,
            "kms_key_id": self.kms_key_id,
            "region": self.region,
            "use_path_style": True if self.use_path_style else None,
            "assume_role": self._assume_role(session_name, state_policy),
        }
        if self.endpoint:
            block |= {"endpoints": {"s3": self.endpoint}}
            block |= dict.fromkeys(("skip_requesting_account_id", "skip_region_validation"), True)
            block |= dict.fromkeys(("skip_credentials_validation", "skip_metadata_api_check"), True)
        given = {name: value for name, value in block.items() if value is not None}
        return json.dumps({"terraform": {"backend": {"s3": given}}}).encode()

    def _assume_role(self, session_name: str, policy: str | None) -> dict[str, str] | None:
        if self.role_arn is None:
            return None
        role = {"role_arn": self.role_arn, "session_name": session_name}
        return (
            role
            | ({"external_id": self.external_id} if self.external_id else {})
            | ({"policy": policy} if policy else {})
        )


def read_backend(settings: Mapping[str, Scalar]) -> S3Backend | None:
    """The backend out of its (dotted) settings; None where bucket or key is not known."""
    bucket, key = settings.get("bucket"), settings.get("key")
    if not bucket or not key:
        return None

    def text(*names: str) -> str | None:
        return next((str(settings[name]) for name in names if settings.get(name)), None)

    unknown = {name for name in settings if name not in _FOLLOWED | _HARMLESS and not name.startswith("skip_")}
    return S3Backend(
        bucket=str(bucket),
        key=str(key),
        region=text("region"),
        endpoint=text("endpoints.s3", "endpoint"),
        use_path_style=_is_true(settings.get("use_path_style", settings.get("force_path_style", False))),
        workspace_key_prefix=str(settings.get("workspace_key_prefix", DEFAULT_WORKSPACE_PREFIX)),
        kms_key_id=text("kms_key_id"),
        role_arn=text("assume_role.role_arn", "role_arn"),
        external_id=text("assume_role.external_id", "external_id"),
        use_lockfile=_is_true(settings.get("use_lockfile", False)),
        is_followed=not unknown,
    )


def _is_true(value: Scalar) -> bool:
    return value is True or str(value).lower() == "true"
