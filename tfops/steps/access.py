"""With whose credentials Terraform runs, and tfops reads the states that code names: one role to read, one to write."""

import time
from collections.abc import Callable, Mapping

from tfops.adapters.credentials import Role, assume, session_name, store_denied_policy, without_credentials
from tfops.config import AwsRoles
from tfops.config_store import S3Store
from tfops.stacks import Stack
from tfops.steps.opening import Session

RENEW_SECONDS = 45 * 60.0
_WRITING = frozenset({"apply", "state", "workspace", "force-unlock"})
_NEEDS_NONE = frozenset({"show"})
# Or else Terraform would fall back to the machine's own role.
_NO_INSTANCE_ROLE = {"AWS_EC2_METADATA_DISABLED": "true"}

Environment = Callable[[], Mapping[str, str]]


class Access:
    """The roles of one stack, taken when they are first needed and never written down."""

    def __init__(self, session: Session, stack: Stack) -> None:
        self._session = session
        self._stack = stack
        self._taken: dict[str, tuple[float, dict[str, str]]] = {}

    def for_command(self, command: str) -> Mapping[str, str]:
        """The environment of a Terraform command."""
        if command in _NEEDS_NONE and self._stack.aws is not None:
            return without_credentials(self._session.caller.environ) | _NO_INSTANCE_ROLE
        return self.writing() if command in _WRITING else self.reading()

    def reading(self) -> Mapping[str, str]:
        """The caller's environment in the role that may read; unchanged where there is none."""
        aws = self._stack.aws
        return self._in_role(aws, aws.plan_role if aws else None)

    def writing(self) -> Mapping[str, str]:
        """The caller's environment in the role that may write; unchanged where there is none."""
        aws = self._stack.aws
        return self._in_role(aws, aws.apply_role if aws else None)

    def _in_role(self, aws: AwsRoles | None, arn: str | None) -> Mapping[str, str]:
        environ = self._session.caller.environ
        if aws is None or arn is None:
            return environ
        taken_at, credentials = self._taken.get(arn, (0.0, {}))
        if not credentials or time.monotonic() - taken_at > RENEW_SECONDS:
            credentials = self._assume(aws, arn)
            self._taken[arn] = (time.monotonic(), credentials)
        return without_credentials(environ) | credentials | _NO_INSTANCE_ROLE

    def _assume(self, aws: AwsRoles, arn: str) -> dict[str, str]:
        session, store = self._session, self._session.config.store
        role = Role(
            arn=arn,
            external_id=aws.external_id,
            duration_seconds=None,
            web_identity_token_file=aws.web_identity_token_file,
        )
        policy = store_denied_policy(bucket=store.bucket, prefix=store.prefix) if isinstance(store, S3Store) else None
        return assume(
            role,
            session_name=session_name(self._stack.id, session.run_id),
            policy=policy,
            environ=session.caller.environ,
        )
