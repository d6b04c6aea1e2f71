"""Signatures by people: SSH keys through `ssh-keygen -Y`, so that agents and hardware keys work as they do for git.

The namespace is pinned on both sides: a signature made for anything else (a commit, a file) is never one of ours.
"""

import contextlib
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from tfops.adapters.process import Command, capture
from tfops.errors import FailedError
from tfops.ssh_keys import SshPublicKey, parse_ssh_key

if TYPE_CHECKING:
    from securesystemslib.signer import Signature

NAMESPACE = "tfops-attestation-v1"
_SIGNER = "approver"
TOUCH_SECONDS = 120.0
VERIFY_SECONDS = 20.0
_BEGIN = b"-----BEGIN SSH SIGNATURE-----"
_NAME_IT = "name your key: --key ~/.ssh/id_ed25519, or the .pub file of one that your agent holds"


class SshKey:
    """A public key that can say whether it made a signature. Its keyid is the key's fingerprint."""

    def __init__(self, key: SshPublicKey, *, env: Mapping[str, str]) -> None:
        self.keyid = key.fingerprint
        self.line = key.line
        self._env = env

    def verify_signature(self, signature: "Signature", data: bytes) -> None:
        """Raises securesystemslib's UnverifiedSignatureError unless this key signed `data` in our namespace."""
        from securesystemslib.exceptions import UnverifiedSignatureError

        armored = bytes.fromhex(signature.signature)
        if not armored.startswith(_BEGIN):
            raise UnverifiedSignatureError("it is no SSH signature")
        with _private_directory() as place:
            allowed, sig = place / "allowed", place / "sig"
            allowed.write_text(f'{_SIGNER} namespaces="{NAMESPACE}" {self.line}\n')
            sig.write_bytes(armored)
            arguments = ("-Y", "verify", "-f", str(allowed), "-I", _SIGNER, "-n", NAMESPACE, "-s", str(sig))
            code, _, err = _ssh_keygen(arguments, self._env, place, stdin=data, timeout_seconds=VERIFY_SECONDS)
        if code:
            raise UnverifiedSignatureError(err.decode(errors="replace").strip())


class SshSigner:
    """Signs with a private key file, or with the key of a public file whose private half an agent or a device holds."""

    def __init__(self, file: Path, *, env: Mapping[str, str]) -> None:
        self.file = file
        self.public_key = SshKey(public_half(file, env=env), env=env)
        self._env = env

    def sign(self, data: bytes) -> "Signature":
        """The signature over `data`; a passphrase, a PIN or a touch is asked for by ssh-keygen itself."""
        from securesystemslib.signer import Signature

        with _private_directory() as place:
            message = place / "message"
            message.write_bytes(data)
            arguments = ("-Y", "sign", "-f", str(self.file), "-n", NAMESPACE, str(message))
            code, _, err = _ssh_keygen(arguments, self._env, place, timeout_seconds=TOUCH_SECONDS)
            made = place / "message.sig"
            if code or not made.exists():
                words, hint = _why(self.file, err.decode(errors="replace"), self._env)
                raise FailedError(words, code="key.ssh_sign", hint=hint)
            return Signature(self.public_key.keyid, made.read_bytes().hex())


def public_half(file: Path, *, env: Mapping[str, str]) -> SshPublicKey:
    """The public key of a key file, private or public; raises FailedError `key.ssh` where there is none."""
    beside = file if file.suffix == ".pub" else file.with_name(f"{file.name}.pub")
    if not file.exists() and not beside.exists():
        raise FailedError(f"there is no SSH key {file}", code="key.ssh", hint=f"{_NAME_IT}; ssh-keygen makes one")
    try:
        return parse_ssh_key(beside.read_text() if beside.exists() else _derived(file, env))
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise FailedError(f"{file} cannot be used as an SSH key: {reason}", code="key.ssh", hint=_NAME_IT) from error


def _derived(file: Path, env: Mapping[str, str]) -> str:
    code, out, err = _ssh_keygen(("-y", "-f", str(file.absolute())), env, Path("/"), timeout_seconds=TOUCH_SECONDS)
    if code:
        words, hint = _why(file, err.decode(errors="replace"), env)
        raise FailedError(words, code="key.ssh", hint=hint)
    return out.decode(errors="replace")


def _why(file: Path, said: str, env: Mapping[str, str]) -> tuple[str, str]:
    """Why ssh-keygen does not sign with a file, in a sentence of our own, and what to do; `said` is what it wrote."""
    if "UNPROTECTED PRIVATE KEY" in said or "bad permissions" in said:
        return f"others can read {file}: ssh-keygen does not use such a key", f"close it: chmod 600 {file}"
    if "incorrect passphrase" in said:
        words = f"the passphrase of {file} is wrong, or there was no terminal to ask for it"
        return words, f"run it again in a terminal, or load the key into your agent: ssh-add {_private(file)}"
    if "No private key found" in said:
        agent = "your agent does not hold" if env.get("SSH_AUTH_SOCK") else "there is no agent that could hold"
        words = f"{file} is a public key; its private half does not lie beside it, and {agent} that"
        return words, f"load it into your agent: ssh-add {_private(file)}, or name the private key's file with --key"
    if "device not found" in said:
        return f"the security key that {file} belongs to is not plugged in", "plug it in, and run it again"
    if "invalid format" in said or "error in libcrypto" in said:
        return f"{file} is no SSH private key, or damaged", _NAME_IT
    last = (said.strip().splitlines() or ["it does not say why"])[-1]
    return (
        f"ssh-keygen could not sign with {file}: {last}",
        "load it into your agent (ssh-add), or name another with --key",
    )


def _private(file: Path) -> Path:
    return file.with_suffix("") if file.suffix == ".pub" else file


def _ssh_keygen(
    arguments: tuple[str, ...],
    env: Mapping[str, str],
    cwd: Path,
    *,
    stdin: bytes | None = None,
    timeout_seconds: float,
) -> tuple[int, bytes, bytes]:
    argv = ("ssh-keygen", *arguments)
    try:
        return capture(Command(argv=argv, env=env, cwd=cwd), stdin=stdin, timeout_seconds=timeout_seconds)
    except FileNotFoundError as error:
        raise FailedError(
            "there is no ssh-keygen on PATH, and approvals are signed and checked with it",
            code="key.no_ssh",
            hint="install the OpenSSH client, 8.2 or newer",
        ) from error
    except TimeoutError as error:
        raise FailedError(
            f"ssh-keygen did not answer within {timeout_seconds:.0f} s",
            code="key.ssh_sign",
            hint="it waits for a passphrase, a PIN or a touch of the key: run it again and answer",
        ) from error


@contextlib.contextmanager
def _private_directory() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="tfops-ssh-") as name:
        yield Path(name)
