"""Signing keys by URI.

`file:PATH` is an ed25519 private key in PEM, 0600, with an optional passphrase; `awskms:KEY` one that never leaves AWS.
"""

import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from tfops.dsse import load_library
from tfops.errors import ConfigError, FailedError

if TYPE_CHECKING:
    from securesystemslib.signer import Signer


def load_signer(uri: str, *, home: Path, passphrase: str | None, environ: Mapping[str, str] | None = None) -> "Signer":
    """The signer behind a key URI; `environ` says how to reach AWS.

    Raises FailedError `key.missing`, `key.open`, `key.passphrase`, `key.invalid`, `key.kms_credentials`,
    `key.kms_denied`, `key.kms_unreachable`.
    """
    if uri.startswith("awskms:"):
        from tfops.adapters.kms import load_kms_signer

        return load_kms_signer(uri, environ=environ or {})
    return _load_file(key_path(uri, home=home), passphrase)


def _load_file(path: Path, passphrase: str | None) -> "Signer":
    load_library()
    from securesystemslib.signer import CryptoSigner

    pem = _read(path)
    _refuse_if_open_to_others(path)
    try:
        return CryptoSigner(_private_key(pem, path, passphrase))
    except ValueError as error:
        raise _invalid(path, str(error)) from error


def key_path(uri: str, *, home: Path) -> Path:
    """The file a `file:` URI names; `~` is the home directory."""
    if not uri.startswith("file:"):
        raise ConfigError(
            f"the signing key {uri} is not in a file",
            code="config.not_enforced",
            hint='write key = "file:~/.config/tfops/keys/….pem"',
        )
    name = uri.removeprefix("file:")
    return home / name[2:] if name.startswith("~/") else Path(name)


def generate(path: Path, *, passphrase: str | None) -> None:
    """Make a new ed25519 private key at `path`, readable by the owner only. Never overwrites."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    protection: serialization.KeySerializationEncryption = serialization.NoEncryption()
    layout = serialization.PrivateFormat.PKCS8
    if passphrase:
        # The library's own default derives the key with 2,048 rounds only; OpenSSH's format lets us choose.
        layout = serialization.PrivateFormat.OpenSSH
        protection = layout.encryption_builder().kdf_rounds(64).build(passphrase.encode())
    pem = Ed25519PrivateKey.generate().private_bytes(serialization.Encoding.PEM, layout, protection)
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(pem)


def public_pem(signer: "Signer") -> bytes:
    """The public half, for the repository."""
    pem: str = signer.public_key.keyval["public"]
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    if signer.public_key.keytype == "ed25519":
        key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(pem))
        return key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return pem.encode()


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise FailedError(
            f"the signing key {path} does not exist",
            code="key.missing",
            hint="run `tfops init` to make one, or name the right file in signing { key = … }",
        ) from error
    except OSError as error:
        raise FailedError(
            f"the signing key {path} cannot be read: {error.strerror}",
            code="key.missing",
            hint="run as the user the key belongs to",
        ) from error


def _refuse_if_open_to_others(path: Path) -> None:
    if path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise FailedError(
            f"the signing key {path} can be read by others",
            code="key.open",
            hint=f"chmod 600 {path}, and make a new key if others may have read it",
        )


def _private_key(pem: bytes, path: Path, passphrase: str | None) -> object:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_ssh_private_key

    load = load_ssh_private_key if b"OPENSSH PRIVATE KEY" in pem else load_pem_private_key
    try:
        return load(pem, passphrase.encode() if passphrase else None)
    except TypeError as error:
        raise _passphrase(path, given=passphrase is not None) from error
    except (ValueError, UnsupportedAlgorithm) as error:
        if passphrase is not None or "assword" in str(error):
            raise _wrong_passphrase(path) from error
        raise _invalid(path, str(error)) from error


def _passphrase(path: Path, *, given: bool) -> FailedError:
    if given:
        message, hint = "has no passphrase, but one was given", "unset TFOPS_KEY_PASSPHRASE"
    else:
        message, hint = "needs its passphrase", "set TFOPS_KEY_PASSPHRASE to it"
    return FailedError(f"the signing key {path} {message}", code="key.passphrase", hint=hint)


def _wrong_passphrase(path: Path) -> FailedError:
    return FailedError(
        f"the signing key {path} cannot be opened: the passphrase is wrong, or the file is damaged",
        code="key.passphrase",
        hint="set TFOPS_KEY_PASSPHRASE to its passphrase",
    )


def _invalid(path: Path, reason: str) -> FailedError:
    return FailedError(
        f"the signing key {path} cannot be used: {reason}",
        code="key.invalid",
        hint="it must be an ed25519 (or ECDSA, RSA) private key in PEM",
    )
