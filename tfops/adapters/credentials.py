"""AWS credentials: ours to call AWS with, and Terraform's, which are taken only when it is started.

All of them come from the `environ` that is given, never from this process's own; nothing is written to disk.
"""

import base64
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfops.errors import FailedError

if TYPE_CHECKING:
    import boto3
    from botocore.exceptions import ClientError
    from botocore.session import Session
    from mypy_boto3_sts.client import STSClient
    from mypy_boto3_sts.type_defs import CredentialsTypeDef

NO_CREDENTIALS_HINT = (
    "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, or run where a role is given;"
    " `aws sts get-caller-identity` shows who you are"
)

# Everything by which an AWS SDK, of any language and age, finds credentials.
_CREDENTIALS = re.compile(
    "AWS_(ACCESS_KEY|ACCESS_KEY_ID|SECRET_KEY|SECRET_ACCESS_KEY|SESSION_TOKEN|SECURITY_TOKEN|BEARER_TOKEN_.*"
    "|CREDENTIAL_EXPIRATION|CREDENTIAL_FILE|CREDENTIAL_PROFILES_FILE|SHARED_CREDENTIALS_FILE|CONFIG_FILE"
    "|PROFILE|DEFAULT_PROFILE|ROLE_ARN|ROLE_SESSION_NAME|WEB_IDENTITY_TOKEN_FILE|LOGIN_CACHE_DIRECTORY"
    "|CONTAINER_CREDENTIALS_.*|CONTAINER_AUTHORIZATION_TOKEN.*)|BOTO_CONFIG"
)
_SECRETS = ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_SECURITY_TOKEN")
_REJECTED = frozenset({
    "AuthFailure", "ExpiredToken", "ExpiredTokenException", "IDPRejectedClaim", "IncompleteSignature",
    "IncompleteSignatureException", "InvalidAccessKeyId", "InvalidClientTokenId", "InvalidIdentityToken",
    "InvalidSignatureException", "InvalidToken", "MissingAuthenticationToken", "MissingAuthenticationTokenException",
    "RequestExpired", "SignatureDoesNotMatch", "UnrecognizedClientException",
})  # fmt: skip
_BUSY = re.compile("Throttl|TooManyRequests|LimitExceeded|IDPCommunicationError|SlowDown")
_NAME_LENGTH = 64
_UNNAMEABLE = re.compile(r"[^A-Za-z0-9_.,@-]")  # STS would allow + and = too; the latter marks a name that was altered
_STS_REGIONS = {"aws": "us-east-1", "aws-cn": "cn-north-1", "aws-us-gov": "us-gov-west-1"}


class Fault(Enum):
    """Why a call to AWS failed, as far as it decides what a person does next."""

    CREDENTIALS = "none, or not accepted"
    DENIED = "a permission is missing"
    UNREACHABLE = "no answer"
    REFUSED = "AWS does not do it"


@dataclass(frozen=True, slots=True, kw_only=True)
class Role:
    """A role that Terraform runs in. With a token file it is taken by web identity, else from our credentials."""

    arn: str
    external_id: str | None = None
    duration_seconds: int | None = None
    web_identity_token_file: str | None = None


def assume(role: Role, *, session_name: str, policy: str | None, environ: Mapping[str, str]) -> dict[str, str]:
    """Temporary credentials of `role`, as the three variables that every AWS SDK reads.

    Raises FailedError `aws.no_credentials`, `aws.assume_denied`, `aws.unreachable`.
    """
    wanted = {"Policy": policy, "DurationSeconds": role.duration_seconds}
    request: dict[str, Any] = {"RoleArn": role.arn, "RoleSessionName": session_name}
    request |= {name: value for name, value in wanted.items() if value is not None}
    token_file = _token_file(role, environ)
    found = _by_token(role, token_file, request, environ) if token_file else _by_our_own(role, request, environ)
    return {
        "AWS_ACCESS_KEY_ID": found["AccessKeyId"],
        "AWS_SECRET_ACCESS_KEY": found["SecretAccessKey"],
        "AWS_SESSION_TOKEN": found["SessionToken"],
    }


def identity(environ: Mapping[str, str], *, region: str | None) -> str:
    """Who we are to AWS: the ARN behind the credentials of `environ`."""
    try:
        sts: STSClient = client("sts", environ, region=region, fallback=_STS_REGIONS["aws"])
        return sts.get_caller_identity()["Arn"]
    except aws_errors() as error:
        raise _not_asked(fault_of(error, "GetCallerIdentity"), words_of(error, environ)) from error


def without_credentials(environ: Mapping[str, str]) -> dict[str, str]:
    """`environ` without anything by which an AWS SDK finds credentials."""
    return {name: value for name, value in environ.items() if not _CREDENTIALS.fullmatch(name)}


def session_name(stack: str, run_id: str) -> str:
    """`tfops-STACK-RUN`, as CloudTrail shows it. A stack that is too long, or no name to STS, is altered: `CUT=DIGEST`.

    A run id is never cut; it has at most 48 characters, all of them allowed in a session name.
    """
    room = _NAME_LENGTH - len(f"tfops--{run_id}")
    if len(stack) > room or _UNNAMEABLE.search(stack):
        digest = f"={hashlib.sha256(stack.encode()).hexdigest()[:8]}"
        stack = _UNNAMEABLE.sub(".", stack)[: room - len(digest)] + digest
    return f"tfops-{stack}-{run_id}"


def store_denied_policy(*, bucket: str, prefix: str, partition: str = "aws") -> str:
    """A session policy: what the role may, but nothing in the store. Managed states lie beside it, at PREFIX-state/."""
    below = re.sub(r"[*?$]", r"${\g<0>}", prefix.strip("/"))  # a policy would take them for patterns and variables
    objects = f"{bucket}/{below}/*" if below else f"{bucket}/*"
    statements = [
        {"Effect": "Allow", "Action": "*", "Resource": "*"},
        {"Effect": "Deny", "Action": "s3:*", "Resource": f"arn:{partition}:s3:::{objects}"},
    ]
    return json.dumps({"Version": "2012-10-17", "Statement": statements}, separators=(",", ":"))


def client(
    service: str,
    environ: Mapping[str, str],
    *,
    region: str | None = None,
    fallback: str | None = None,
    anonymous: bool = False,
) -> Any:
    """A client of an AWS service. The region: `region`, else as `environ` or its profile says, else `fallback`."""
    from botocore import UNSIGNED
    from botocore.config import Config

    config = Config(connect_timeout=5, read_timeout=20, retries={"mode": "standard", "total_max_attempts": 3})
    if anonymous:
        config = config.merge(Config(signature_version=UNSIGNED))
    make: Any = session(environ, region=region, fallback=fallback).client
    return make(service, endpoint_url=endpoint(service, environ), config=config)


def session(
    environ: Mapping[str, str], *, region: str | None = None, fallback: str | None = None
) -> "boto3.session.Session":
    """AWS's default chain (keys, profile, web identity, container, instance) over `environ`, not over the process's."""
    import boto3
    from botocore.configprovider import ConstantProvider
    from botocore.session import Session

    home = Path(environ.get("HOME", "~"))
    core = Session()
    settings = core.get_component("config_store")
    for name, value in {
        "profile": environ.get("AWS_PROFILE") or environ.get("AWS_DEFAULT_PROFILE"),
        "config_file": environ.get("AWS_CONFIG_FILE") or str(home / ".aws/config"),
        "credentials_file": environ.get("AWS_SHARED_CREDENTIALS_FILE") or str(home / ".aws/credentials"),
    }.items():
        settings.set_config_provider(name, ConstantProvider(value))
    region = region or environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION")
    region = region or core.get_scoped_config().get("region") or fallback
    _look_for_credentials_in(environ, core, region)
    return boto3.session.Session(botocore_session=core, region_name=region)


def _look_for_credentials_in(environ: Mapping[str, str], core: "Session", region: str | None) -> None:
    from botocore.credentials import AssumeRoleWithWebIdentityProvider, ContainerProvider, EnvProvider

    profile = environ.get("AWS_PROFILE") or environ.get("AWS_DEFAULT_PROFILE") or "default"
    web_identity = {
        key: environ.get(f"AWS_{key.upper()}") for key in ("web_identity_token_file", "role_arn", "role_session_name")
    }
    has_token = bool(web_identity["web_identity_token_file"])
    ours = {
        "env": EnvProvider(environ=dict(environ)),
        "container-role": ContainerProvider(environ=dict(environ)),
        "assume-role-with-web-identity": AssumeRoleWithWebIdentityProvider(
            load_config=lambda: {"profiles": {profile: web_identity}} if has_token else core.full_config,
            client_creator=partial(
                core.create_client,
                region_name=region or _STS_REGIONS["aws"],
                endpoint_url=endpoint("sts", environ),
            ),
            profile_name=profile,
            disable_env_vars=True,
        ),
    }
    chain = core.get_component("credential_provider").providers
    chain[:] = [ours.get(provider.METHOD, provider) for provider in chain]
    if environ.get("AWS_EC2_METADATA_DISABLED", "").lower() == "true":
        chain[:] = [provider for provider in chain if provider.METHOD != "iam-role"]


def endpoint(service: str, environ: Mapping[str, str]) -> str | None:
    """Where a service is asked instead of at AWS, as AWS's own variables say it."""
    return environ.get(f"AWS_ENDPOINT_URL_{service.upper()}") or environ.get("AWS_ENDPOINT_URL") or None


def aws_errors() -> tuple[type[Exception], ...]:
    """What boto3 raises for faults outside: among them OSError for a token file, ValueError for an endpoint."""
    from botocore.exceptions import BotoCoreError, ClientError
    from botocore.parsers import ResponseParserError

    return BotoCoreError, ClientError, ResponseParserError, OSError, ValueError


def fault_of(error: Exception, *operations: str) -> Fault:
    """Which kind of fault an error of boto3 is. Where another operation was refused, it was to give us credentials."""
    from botocore import exceptions as boto
    from botocore.parsers import ResponseParserError

    match error:
        case boto.ClientError():
            return _fault_of_answer(error, operations)
        case boto.HTTPClientError() | boto.ConnectionError() | boto.BaseEndpointResolverError() | ResponseParserError():
            return Fault.UNREACHABLE
        case boto.ParamValidationError():
            return Fault.REFUSED
        case ValueError() if "endpoint" in str(error) or isinstance(error, boto.InvalidRegionError):
            return Fault.UNREACHABLE
        case _:
            return Fault.CREDENTIALS


def _fault_of_answer(error: "ClientError", operations: tuple[str, ...]) -> Fault:
    code = code_of(error)
    if error.response["ResponseMetadata"].get("HTTPStatusCode", 0) >= 500 or _BUSY.search(code):
        return Fault.UNREACHABLE
    if code in _REJECTED or error.operation_name not in operations:
        return Fault.CREDENTIALS
    return Fault.DENIED if "AccessDenied" in code else Fault.REFUSED


def code_of(error: Exception) -> str:
    """AWS's own code of a fault, where AWS answered."""
    return str(_answer(error).get("Code", ""))


def words_of(error: Exception, environ: Mapping[str, str], *secrets: str) -> str:
    """What boto3 or AWS says, in one line, without secrets."""
    code = code_of(error)
    if "Signature" in code:  # its text quotes the whole request, with the session token
        return code
    text = f"{code}: {_answer(error).get('Message', '')}" if code else str(error)
    for secret in (*secrets, *(environ.get(name, "") for name in _SECRETS)):
        text = text.replace(secret, "…") if secret else text
    return " ".join(text.split())[:400].removesuffix(".")


def _answer(error: Exception) -> Mapping[str, Any]:
    found: Mapping[str, Any] = (getattr(error, "response", None) or {}).get("Error", {})
    return found


def _token_file(role: Role, environ: Mapping[str, str]) -> str | None:
    """The token to take the role with. One that comes with a role of its own gives our credentials, not Terraform's."""
    if role.web_identity_token_file:
        return role.web_identity_token_file
    has_other_role = (environ.get("AWS_ROLE_ARN") or role.arn) != role.arn
    if environ.get("AWS_ACCESS_KEY_ID") or role.external_id or has_other_role:
        return None
    return environ.get("AWS_WEB_IDENTITY_TOKEN_FILE") or None


def _by_our_own(role: Role, request: dict[str, Any], environ: Mapping[str, str]) -> "CredentialsTypeDef":
    if role.external_id:
        request = {**request, "ExternalId": role.external_id}
    try:
        sts: STSClient = client("sts", environ, fallback=_sts_region(role))
        return sts.assume_role(**request)["Credentials"]
    except aws_errors() as error:
        fault = fault_of(error, "AssumeRole")
        if fault in (Fault.CREDENTIALS, Fault.UNREACHABLE):
            raise _not_asked(fault, words_of(error, environ)) from error
        who = _who(environ)
        external = ", with the external id of tfops.hcl" if role.external_id else ""
        hint = f"allow {who} sts:AssumeRole on this role, and name it in the role's trust policy{external}"
        raise _not_assumed(fault, who, role, words_of(error, environ), hint) from error


def _by_token(role: Role, token_file: str, request: dict[str, Any], environ: Mapping[str, str]) -> "CredentialsTypeDef":
    token = ""
    try:
        token = Path(token_file).read_text(encoding="utf-8").strip()
        sts: STSClient = client("sts", environ, fallback=_sts_region(role), anonymous=True)
        return sts.assume_role_with_web_identity(**request, WebIdentityToken=token)["Credentials"]
    except aws_errors() as error:
        fault, words = fault_of(error, "AssumeRoleWithWebIdentity"), words_of(error, environ, token)
        if fault in (Fault.CREDENTIALS, Fault.UNREACHABLE):
            raise _not_asked(fault, f"the web identity token {token_file}: {words}") from error
        hint = (
            "allow it sts:AssumeRoleWithWebIdentity in the role's trust policy: its issuer as the federated principal,"
            " its sub and aud as conditions"
        )
        raise _not_assumed(fault, f"the web identity token ({_claims(token)})", role, words, hint) from error


def _sts_region(role: Role) -> str:
    partition = role.arn.split(":")[1] if ":" in role.arn else "aws"
    return _STS_REGIONS.get(partition, _STS_REGIONS["aws"])


def _who(environ: Mapping[str, str]) -> str:
    try:
        return identity(environ, region=None)
    except FailedError:
        return "the caller"


def _claims(token: str) -> str:
    """Whom a token names: what trust policies ask for. Its claims are no secret, its signature is."""
    try:
        claims = json.loads(base64.urlsafe_b64decode(token.split(".")[1] + "=="))
        return ", ".join(f"{name} {claims[name]}" for name in ("iss", "sub", "aud"))
    except (LookupError, TypeError, ValueError):
        return "its claims cannot be read"


def _not_assumed(fault: Fault, who: str, role: Role, words: str, hint: str) -> FailedError:
    if fault is Fault.REFUSED:
        hint = "correct what AWS names, in tfops.hcl or in the role's settings"
    return FailedError(f"{who} cannot take the role {role.arn}: {words}", code="aws.assume_denied", hint=hint)


def _not_asked(fault: Fault, words: str) -> FailedError:
    if fault is Fault.UNREACHABLE:
        return FailedError(
            f"AWS STS does not answer: {words}",
            code="aws.unreachable",
            hint="check the network, AWS_REGION and AWS_ENDPOINT_URL_STS, then run it again",
        )
    return FailedError(
        f"there are no AWS credentials, or AWS does not accept them: {words}",
        code="aws.no_credentials",
        hint=NO_CREDENTIALS_HINT,
    )
