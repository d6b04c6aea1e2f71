"""SSH public keys as people write them: one line of type, key and comment (RFC 4253 §6.6, the format of OpenSSH)."""

import base64
import binascii
import hashlib
import struct
from dataclasses import dataclass

TYPES = frozenset(
    {
        "ssh-ed25519",
        "ecdsa-sha2-nistp256",
        "ecdsa-sha2-nistp384",
        "ecdsa-sha2-nistp521",
        "ssh-rsa",
        "sk-ssh-ed25519@openssh.com",
        "sk-ecdsa-sha2-nistp256@openssh.com",
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SshPublicKey:
    """One public key. Two lines of the same key are equal, whatever their comments say."""

    type: str
    blob: bytes

    @property
    def fingerprint(self) -> str:
        """`SHA256:…`, as `ssh-keygen -l` and `ssh-add -l` print it."""
        digest = base64.b64encode(hashlib.sha256(self.blob).digest()).decode()
        return f"SHA256:{digest.rstrip('=')}"

    @property
    def line(self) -> str:
        """The key without a comment."""
        return f"{self.type} {base64.b64encode(self.blob).decode()}"


def parse_ssh_key(text: str) -> SshPublicKey:
    """The key in a line of an `….pub` file; raises ValueError saying what is wrong with it."""
    words = text.split()
    if "PRIVATE KEY" in text:
        raise ValueError("it is a private key: take the .pub file beside it, and make a new key if others saw this one")
    if len(words) < 2:
        raise ValueError('it must look like "ssh-ed25519 AAAA… name"')
    type_, encoded = words[0], words[1]
    if type_ not in TYPES:
        raise ValueError(f"keys of type {type_} cannot sign approvals; known: {', '.join(sorted(TYPES))}")
    try:
        blob = base64.b64decode(encoded, validate=True)
    except binascii.Error as error:
        raise ValueError(f"its second word is not base64 ({error})") from error
    if _first_string(blob) != type_.encode():
        raise ValueError("it is cut off or damaged: its content is of another type than its first word")
    return SshPublicKey(type=type_, blob=blob)


def _first_string(blob: bytes) -> bytes:
    if len(blob) < 4:
        return b""
    (length,) = struct.unpack(">I", blob[:4])
    return blob[4 : 4 + length]
