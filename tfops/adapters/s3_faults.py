"""What went wrong with a bucket, in words: what, where, which permission is missing, what to do next."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tfops.adapters.credentials import code_of
from tfops.adapters.s3_session import BucketPlace
from tfops.errors import FailedError, TfopsError


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """Errors of one bucket: `noun` is what it is to the reader, `code` how the codes begin."""

    place: BucketPlace
    noun: str
    code: str

    @property
    def where(self) -> str:
        """The bucket, as messages name it."""
        return f"{self.noun}, bucket {self.place.bucket}" + (
            f" at {self.place.endpoint}" if self.place.endpoint else ""
        )

    def refused(self, error: Any, permission: str, key: str) -> TfopsError:
        """S3 answered, and said no."""
        code, status, text = code_of(error), status_of(error), str(error.response.get("Error", {}).get("Message", ""))
        for codes, explain in self._explanations():
            if code in codes:
                return explain(permission, key, error)
        if status == 403:
            return self._denied(permission, key, error)
        if status in (500, 503) or code in ("SlowDown", "InternalError", "ServiceUnavailable"):
            return self.unreachable(f"it answers {status} {code} again and again")
        return self._error("refused", f"{self.where}, refuses: {code}: {text}", "check the store block of tfops.hcl")

    def _explanations(self) -> tuple[tuple[tuple[str, ...], Callable[[str, str, Any], TfopsError]], ...]:
        return (
            (("NoSuchBucket",), self._no_bucket),
            (
                ("PermanentRedirect", "301", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException"),
                self._region,
            ),
            (("InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken"), self._credentials),
            (("NotImplemented", "501"), self._not_implemented),
            (("RequestTimeTooSkewed",), self._clock),
        )

    def _no_bucket(self, permission: str, key: str, error: Any) -> TfopsError:
        return self._error(
            "no_bucket",
            f"{self.where}: there is no such bucket",
            "make it (modules/aws-bootstrap does), or correct `bucket`, `region` and `endpoint`",
        )

    def _region(self, permission: str, key: str, error: Any) -> TfopsError:
        headers = error.response.get("ResponseMetadata", {}).get("HTTPHeaders", {})
        real = headers.get("x-amz-bucket-region") or error.response.get("Error", {}).get("Region")
        lies = f"it lies in {real}" if real else "it lies in another region"
        return self._error(
            "wrong_region",
            f"{self.where}: {lies}, not in {self.place.region or 'the default region'}",
            f'write region = "{real}"' if real else "correct `region`",
        )

    def _credentials(self, permission: str, key: str, error: Any) -> TfopsError:
        return self._error(
            "credentials",
            f"{self.where}: these credentials are not accepted ({code_of(error)})",
            "renew them; `tfops doctor` tells who we are",
        )

    def _clock(self, permission: str, key: str, error: Any) -> TfopsError:
        return self._error(
            "credentials",
            f"{self.where}: this machine's clock is wrong: the server does not take its signatures",
            "set the clock (chronyc makestep, timedatectl)",
        )

    def _not_implemented(self, permission: str, key: str, error: Any) -> TfopsError:
        return self._error("refused", f"{self.where}: the server cannot do {permission}", "use another S3 server")

    def _denied(self, permission: str, key: str, error: Any) -> TfopsError:
        text = str(error.response.get("Error", {}).get("Message", ""))
        wanted = "kms:GenerateDataKey and kms:Decrypt on its key" if "kms" in text.lower() else permission
        target = f"arn:aws:s3:::{self.place.bucket}" + (f"/{key}" if permission != "s3:ListBucket" else "")
        return self._error(
            "denied",
            f"{self.where}: access denied, the permission {wanted} on {target} is missing",
            "grant it to these credentials (docs/aws.md lists all of them)",
        )

    def unreachable(self, reason: str) -> TfopsError:
        """No answer, or only the server's own faults."""
        return self._error("unreachable", f"{self.where}: out of reach: {reason}", "nothing is lost: run again later")

    def unusable(self, error: Exception) -> TfopsError:
        """Nothing could be sent."""
        name = type(error).__name__
        if "Credential" in name or "Token" in name or name == "ProfileNotFound":
            return self._error(
                "credentials", f"{self.where}: no credentials: {error}", "set AWS_ACCESS_KEY_ID …, or give a role"
            )
        if name == "NoRegionError":
            return self._error("wrong_region", f"{self.where}: no region is set", 'write region = "…"')
        return self._error("refused", f"{self.where}: {error}", "check the store block of tfops.hcl")

    def _error(self, name: str, message: str, hint: str) -> TfopsError:
        return FailedError(message, code=f"{self.code}.{name}", hint=hint)


def status_of(error: Exception) -> int:
    """The HTTP status of S3's answer, or 0."""
    response = getattr(error, "response", None) or {}
    return int(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
