"""Signing keys in AWS KMS. The private half never leaves it: digests go there, signatures come back."""

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tfops.adapters.credentials import NO_CREDENTIALS_HINT, Fault, aws_errors, client, code_of, fault_of, words_of
from tfops.errors import FailedError

if TYPE_CHECKING:
    from mypy_boto3_kms.client import KMSClient
    from mypy_boto3_kms.literals import SigningAlgorithmSpecType
    from securesystemslib.signer import Signature, Signer, SSlibKey

_NEW_KEY_HINT = "make one: aws kms create-key --key-usage SIGN_VERIFY --key-spec ECC_NIST_P256"
# AWS's codes for a key that cannot be used: what that means, and what to do.
_UNUSABLE = {
    "NotFoundException": ("does not exist", "correct its name, its region or the account: `aws kms list-aliases`"),
    "DisabledException": ("is disabled", "enable it: `aws kms enable-key`"),
    "KMSInvalidStateException": ("cannot be used in its present state", "see its KeyState: `aws kms describe-key`"),
    "InvalidKeyUsageException": ("is not for signing", _NEW_KEY_HINT),
    "UnsupportedOperationException": ("is not for signing", _NEW_KEY_HINT),
}


def load_kms_signer(uri: str, *, environ: Mapping[str, str]) -> "Signer":
    """The signer behind `awskms:KEY`: a key's id, its ARN, or `alias/NAME`. Asks KMS once, for the public half.

    Raises FailedError `key.kms_credentials`, `key.kms_denied`, `key.kms_unreachable`, `key.invalid`; so does signing.
    """
    place = _Place(name=uri.removeprefix("awskms:"), environ=environ)
    with place.explained("kms:GetPublicKey"):
        kms: KMSClient = client("kms", environ, region=place.region)
        answer = kms.get_public_key(KeyId=place.name)
    public_key = _public_key(answer["PublicKey"], place)
    algorithm = _algorithm(public_key)
    if algorithm is None or algorithm not in answer.get("SigningAlgorithms", []):
        raise place.unusable("is not for signing, or of a kind that tfops cannot use", _NEW_KEY_HINT)
    return KmsSigner(
        public_key=public_key, place=place, client=kms, key_id=_last_part(answer["KeyId"]), algorithm=algorithm
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class KmsSigner:
    """A securesystemslib Signer. Its own AWSSigner takes the process's credentials and region, and no others."""

    public_key: "SSlibKey"
    place: "_Place"
    client: "KMSClient"
    key_id: str
    algorithm: "SigningAlgorithmSpecType"

    def sign(self, payload: bytes) -> "Signature":
        """A signature of `payload`, of which KMS sees the digest only."""
        from securesystemslib.signer import Signature

        digest = hashlib.new(self.public_key.get_hash_algorithm_name(), payload).digest()
        with self.place.explained("kms:Sign"):
            answer = self.client.sign(
                KeyId=self.place.name, Message=digest, MessageType="DIGEST", SigningAlgorithm=self.algorithm
            )
        # An alias may be moved to another key at any time.
        if _last_part(answer["KeyId"]) != self.key_id:
            raise self.place.unusable("was moved to another key meanwhile", "run it again")
        return Signature(self.public_key.keyid, answer["Signature"].hex())


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    """A key in KMS as people name it, and what they are told when it cannot be used."""

    name: str
    environ: Mapping[str, str] = field(repr=False)

    @property
    def region(self) -> str | None:
        """Where an ARN says that the key is: nowhere else is it found."""
        parts = self.name.split(":")
        return parts[3] if parts[0] == "arn" and len(parts) > 4 else None

    @contextmanager
    def explained(self, permission: str) -> Iterator[None]:
        """Every fault of boto3 as a FailedError."""
        try:
            yield
        except aws_errors() as error:
            raise self._explanation(error, permission) from error

    def unusable(self, reason: str, hint: str) -> FailedError:
        """The key is there or not, but nobody can sign with it."""
        return FailedError(f"the signing key awskms:{self.name} {reason}", code="key.invalid", hint=hint)

    def _explanation(self, error: Exception, permission: str) -> FailedError:
        subject, words = f"the signing key awskms:{self.name}", words_of(error, self.environ)
        match fault_of(error, permission.removeprefix("kms:")):
            case Fault.CREDENTIALS:
                return FailedError(
                    f"{subject}: there are no AWS credentials, or AWS does not accept them: {words}",
                    code="key.kms_credentials",
                    hint=NO_CREDENTIALS_HINT,
                )
            case Fault.DENIED:
                return FailedError(
                    f"{subject}: the permission {permission} is missing: {words}",
                    code="key.kms_denied",
                    hint=f"allow {permission} on it, in the key's policy or in one of who runs tfops",
                )
            case Fault.UNREACHABLE:
                return FailedError(
                    f"{subject}: AWS KMS does not answer: {words}",
                    code="key.kms_unreachable",
                    hint="check the network, AWS_REGION and AWS_ENDPOINT_URL_KMS, then run it again",
                )
            case Fault.REFUSED:
                known = _UNUSABLE.get(code_of(error))
                return self.unusable(*known) if known else self.unusable(f"cannot be used: {words}", _NEW_KEY_HINT)


def _public_key(der: bytes, place: _Place) -> "SSlibKey":
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_der_public_key
    from securesystemslib.signer import SSlibKey

    try:
        return SSlibKey.from_crypto(load_der_public_key(der))
    except (ValueError, UnsupportedAlgorithm) as error:
        raise place.unusable(f"is of a kind that tfops cannot use: {error}", _NEW_KEY_HINT) from error


def _algorithm(public_key: "SSlibKey") -> "SigningAlgorithmSpecType | None":
    """KMS's name for how this key signs; None where KMS or securesystemslib cannot."""
    from securesystemslib.signer import AWSSigner

    found: SigningAlgorithmSpecType | None = AWSSigner.aws_algos.get(public_key.scheme)
    return found


def _last_part(arn: str) -> str:
    return arn.rpartition("/")[2]
