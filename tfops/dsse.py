"""DSSE envelopes: bytes in, verified bytes out. One signature per envelope (reference: DSSE v1, ADR 0002).

What is signed is never re-encoded: callers parse the bytes that `verify` returns, and nothing else.
"""

import base64
import binascii
import hashlib
import importlib
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tfops.errors import VerificationError

if TYPE_CHECKING:
    from securesystemslib.signer import Signer, SSlibKey

PAYLOAD_TYPE = "application/vnd.in-toto+json"
MAX_ENVELOPE_BYTES = 8 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """A payload whose signature was checked, and the name of the runner whose key made it."""

    payload: bytes
    signer: str

    @property
    def id(self) -> str:
        """sha256 of the signed bytes: the id of a plan, or of a deployment."""
        return hashlib.sha256(self.payload).hexdigest()


def load_library() -> None:
    """Load securesystemslib without boto3, which it would load for a signer of AWS that is not used here.

    That takes longer than all the rest of a run that finds nothing to do. To be called before there are threads.
    """
    if "boto3" in sys.modules or "securesystemslib.signer" in sys.modules:
        return
    sys.modules["boto3"] = None  # type: ignore[assignment]
    try:
        importlib.import_module("securesystemslib.signer")
    finally:
        del sys.modules["boto3"]


def public_key(pem: bytes) -> "SSlibKey":
    """A public key from PEM bytes; raises ValueError where they hold none. Its keyid is derived from the key."""
    load_library()
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_public_key
    from securesystemslib.signer import SSlibKey

    try:
        return SSlibKey.from_crypto(load_pem_public_key(pem))
    except UnsupportedAlgorithm as error:
        raise ValueError(str(error)) from error


def sign(payload: bytes, signer: "Signer") -> bytes:
    """An envelope around `payload`, as JSON bytes."""
    from securesystemslib.dsse import Envelope

    signature = signer.sign(Envelope(payload, PAYLOAD_TYPE, {}).pae())
    return _encode(payload, signature.keyid, bytes.fromhex(signature.signature))


def verify(data: bytes, keys: Mapping[str, "SSlibKey"], *, what: str) -> Verified:
    """The payload of the envelope `data`, if one of `keys` (by runner name) signed it.

    Raises VerificationError: `verify.envelope` for what is no single-signature envelope of our payload type,
    `verify.unknown_key` for a signer nobody trusts, `verify.signature` for a signature that does not fit.
    """
    payload, keyid, signature = _open(data, what)
    signers = [name for name, key in keys.items() if key.keyid == keyid]
    if not signers:
        raise VerificationError(
            f"{what} is signed by an unknown key ({keyid[:12]}…)",
            code="verify.unknown_key",
            hint="only keys named in the trust block of tfops.hcl count: "
            + (", ".join(sorted(keys)) or "there is none"),
        )
    _check_signature(keys[signers[0]], keyid, signature, payload, what)
    return Verified(payload=payload, signer=signers[0])


def unverified_payload(data: bytes, *, what: str) -> bytes:
    """The payload without checking who signed it: for looking up names, never for trusting a value."""
    return _open(data, what)[0]


def unverified(data: bytes, *, what: str) -> Verified:
    """The same with its id, for what reads verified bytes: nobody is its signer."""
    return Verified(payload=unverified_payload(data, what=what), signer="")


def unique_members(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """For json.loads: refuses an object that names a member twice, which two readers may read differently."""
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a member appears twice")
    return members


def _open(data: bytes, what: str) -> tuple[bytes, str, bytes]:
    if len(data) > MAX_ENVELOPE_BYTES:
        raise _not_an_envelope(what, f"larger than {MAX_ENVELOPE_BYTES} bytes")
    try:
        document = json.loads(data, object_pairs_hook=unique_members)
        if set(document) != {"payload", "payloadType", "signatures"}:
            raise _not_an_envelope(what, "its members are not payload, payloadType and signatures")
        if document["payloadType"] != PAYLOAD_TYPE:
            raise _not_an_envelope(what, f"its payload type is not {PAYLOAD_TYPE}")
        (signature,) = document["signatures"]
        if set(signature) != {"keyid", "sig"} or not isinstance(signature["keyid"], str):
            raise _not_an_envelope(what, "its signature's members are not keyid and sig")
        payload = base64.b64decode(document["payload"], validate=True)
        sig = base64.b64decode(signature["sig"], validate=True)
    except (ValueError, TypeError, RecursionError, binascii.Error) as error:
        raise _not_an_envelope(what, str(error)) from error
    # Other white space or slack base64 bits would carry the same signature: every byte of a file must count.
    if _encode(payload, signature["keyid"], sig) != data:
        raise _not_an_envelope(what, "its bytes are not as tfops writes them")
    return payload, signature["keyid"], sig


def _encode(payload: bytes, keyid: str, signature: bytes) -> bytes:
    envelope = {
        "payload": base64.b64encode(payload).decode(),
        "payloadType": PAYLOAD_TYPE,
        "signatures": [{"keyid": keyid, "sig": base64.b64encode(signature).decode()}],
    }
    return json.dumps(envelope, indent=1).encode() + b"\n"


def _check_signature(key: "SSlibKey", keyid: str, signature: bytes, payload: bytes, what: str) -> None:
    from securesystemslib.dsse import Envelope
    from securesystemslib.exceptions import UnverifiedSignatureError
    from securesystemslib.exceptions import VerificationError as UnreadableSignatureError
    from securesystemslib.signer import Signature

    try:
        key.verify_signature(Signature(keyid, signature.hex()), Envelope(payload, PAYLOAD_TYPE, {}).pae())
    except (UnverifiedSignatureError, UnreadableSignatureError) as error:
        raise VerificationError(
            f"the signature of {what} does not fit its content: it was changed after signing",
            code="verify.signature",
            hint="do not use it; make a new plan with `tfops plan`",
        ) from error


def _not_an_envelope(what: str, reason: str) -> VerificationError:
    return VerificationError(
        f"{what} is not a signed envelope: {reason}",
        code="verify.envelope",
        hint="do not use it; make a new plan with `tfops plan`",
    )
