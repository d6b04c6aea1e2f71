"""A signing key is its owner's alone, and what cannot be opened says why."""

import os
import stat
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from tfops.adapters.keys import generate, key_path, load_signer, public_pem
from tfops.dsse import public_key, sign, verify
from tfops.errors import ConfigError, FailedError


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keys" / "ours.pem"


def write(path: Path, data: bytes, mode: int = 0o600) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    path.chmod(mode)


def load(path: Path, passphrase: str | None = None):
    return load_signer(f"file:{path}", home=path.parent, passphrase=passphrase)


def fault(path: Path, passphrase: str | None = None) -> str:
    with pytest.raises(FailedError) as refused:
        load(path, passphrase)
    (problem,) = refused.value.problems
    assert str(path) in problem.message
    assert problem.hint
    return problem.code


@pytest.mark.parametrize("passphrase", [None, "hunter2", "päß phräse"])
def test_a_new_key_signs_and_its_public_half_verifies(path, passphrase):
    generate(path, passphrase=passphrase)
    signer = load(path, passphrase)
    keys = {"ci": public_key(public_pem(signer))}
    assert verify(sign(b"x", signer), keys, what="it").payload == b"x"
    assert keys["ci"].keyid == signer.public_key.keyid


def test_openssl_reads_the_public_half(path, tmp_path):
    generate(path, passphrase=None)
    (tmp_path / "pub").write_bytes(public_pem(load(path)))
    done = subprocess.run(
        ["openssl", "pkey", "-pubin", "-in", str(tmp_path / "pub"), "-text", "-noout"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "ED25519" in done.stdout.upper(), done.stderr


@pytest.mark.parametrize("mask", [0o000, 0o077])
def test_a_new_key_is_for_its_owner_only(path, mask):
    before = os.umask(mask)
    try:
        generate(path, passphrase=None)
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_a_key_is_never_overwritten(path):
    write(path, b"precious")
    with pytest.raises(FileExistsError):
        generate(path, passphrase=None)
    assert path.read_bytes() == b"precious"


def test_a_key_is_not_written_through_a_link(path, tmp_path):
    path.parent.mkdir()
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(FileExistsError):
        generate(path, passphrase=None)
    assert not (tmp_path / "elsewhere").exists()


def test_a_protected_key_holds_nothing_of_itself_in_clear(path):
    generate(path, passphrase="hunter2")
    assert b"OPENSSH PRIVATE KEY" in path.read_bytes()
    with pytest.raises(ValueError, match=r".+"):
        serialization.load_ssh_private_key(path.read_bytes(), b"wrong")


def test_a_missing_key_is_missed(path):
    assert fault(path) == "key.missing"


def test_a_directory_is_no_key(path):
    path.mkdir(parents=True)
    assert fault(path) == "key.missing"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o601, 0o644, 0o777])
def test_a_key_that_others_may_read_is_refused(path, mode):
    generate(path, passphrase=None)
    path.chmod(mode)
    assert fault(path) == "key.open"


@pytest.mark.parametrize("mode", [0o600, 0o400, 0o700])
def test_a_key_that_only_its_owner_may_read_is_taken(path, mode):
    generate(path, passphrase=None)
    path.chmod(mode)
    load(path)


@pytest.mark.parametrize("given", [None, "", "wrong", "hunter2 "])
def test_a_protected_key_opens_with_its_passphrase_only(path, given):
    generate(path, passphrase="hunter2")
    assert fault(path, given) == "key.passphrase"


def test_a_protected_pem_of_another_program_opens_too(path):
    private = Ed25519PrivateKey.generate()
    layout = serialization.PrivateFormat.PKCS8
    write(
        path, private.private_bytes(serialization.Encoding.PEM, layout, serialization.BestAvailableEncryption(b"hush"))
    )
    assert load(path, "hush").public_key.keytype == "ed25519"
    assert fault(path) == "key.passphrase"
    assert fault(path, "wrong") == "key.passphrase"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"garbage",
        b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
        b"-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----\n",
        b"\xff" * 100,
        Ed25519PrivateKey.generate()
        .public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo),
    ],
    ids=lambda data: repr(data[:20]),
)
def test_what_is_no_private_key_is_refused(path, data):
    write(path, data)
    assert fault(path) == "key.invalid"


def unprotected(private) -> bytes:
    return private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def test_a_private_key_that_cannot_sign_is_refused(path):
    write(path, unprotected(X25519PrivateKey.generate()))
    assert fault(path) == "key.invalid"


def test_a_passphrase_for_a_key_that_has_none_is_not_asked_for_again(path):
    write(path, unprotected(Ed25519PrivateKey.generate()))
    with pytest.raises(FailedError) as refused:
        load(path, "superfluous")
    assert refused.value.problems[0].hint == "unset TFOPS_KEY_PASSPHRASE"


@pytest.mark.parametrize(
    ("uri", "path"),
    [
        ("file:/etc/k.pem", "/etc/k.pem"),
        ("file:~/k.pem", "/home/me/k.pem"),
        ("file:k.pem", "k.pem"),
        ("file:~other/k.pem", "~other/k.pem"),
    ],
)
def test_a_uri_names_a_file(uri, path):
    assert str(key_path(uri, home=Path("/home/me"))) == path


@pytest.mark.parametrize("uri", ["awskms:alias/x", "/etc/k.pem", "FILE:/x", ""])
def test_another_kind_of_key_is_refused(uri):
    with pytest.raises(ConfigError) as refused:
        key_path(uri, home=Path("/"))
    assert refused.value.problems[0].code == "config.not_enforced"
