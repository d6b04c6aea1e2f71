"""People sign with their SSH keys: files, agents, passphrases; and nothing else passes for such a signature."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tfops import dsse
from tfops.adapters.ssh import NAMESPACE, SshKey, SshSigner, public_half
from tfops.errors import FailedError, Problem, VerificationError
from tfops.ssh_keys import parse_ssh_key

pytestmark = pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="no OpenSSH client")

ENV = {"PATH": os.environ["PATH"]}
TYPES = ["ed25519", "ecdsa", "rsa"]
PAYLOAD = b'{"decision": "approved"}'


def make_key(place: Path, *, type_: str = "ed25519", passphrase: str = "", name: str = "key") -> Path:
    file = place / name
    subprocess.run(["ssh-keygen", "-q", "-t", type_, "-N", passphrase, "-C", "alice", "-f", str(file)], check=True)
    return file


def key_of(file: Path) -> SshKey:
    return SshKey(public_half(file, env=ENV), env=ENV)


def verified(envelope: bytes, key: SshKey) -> dsse.Verified:
    return dsse.verify(envelope, {"alice": key}, what="the approval")


@pytest.mark.parametrize("type_", TYPES)
def test_an_envelope_signed_by_a_person_is_verified_by_their_public_key(tmp_path: Path, type_: str) -> None:
    file = make_key(tmp_path, type_=type_)
    envelope = dsse.sign(PAYLOAD, SshSigner(file, env=ENV))
    found = verified(envelope, key_of(file))
    assert (found.payload, found.signer) == (PAYLOAD, "alice")


def test_a_key_file_without_its_public_half_beside_it_signs_as_well(tmp_path: Path) -> None:
    file = make_key(tmp_path)
    key = key_of(file)
    file.with_name("key.pub").unlink()
    assert verified(dsse.sign(PAYLOAD, SshSigner(file, env=ENV)), key).payload == PAYLOAD


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[dict[str, str]]:
    """An agent of one's own."""
    socket = tmp_path / "agent"
    process = subprocess.Popen(["ssh-agent", "-D", "-a", str(socket)], stdout=subprocess.DEVNULL)
    while not socket.exists():
        assert process.poll() is None
    yield {**ENV, "SSH_AUTH_SOCK": str(socket)}
    process.terminate()
    process.wait()


def test_the_public_half_is_enough_where_an_agent_holds_the_private_one(tmp_path: Path, agent: dict[str, str]) -> None:
    file = make_key(tmp_path)
    subprocess.run(["ssh-add", "-q", str(file)], env=agent, check=True)
    file.unlink()
    envelope = dsse.sign(PAYLOAD, SshSigner(tmp_path / "key.pub", env=agent))
    assert verified(envelope, key_of(tmp_path / "key.pub")).payload == PAYLOAD


def test_without_the_private_half_anywhere_it_says_what_to_do(tmp_path: Path) -> None:
    file = make_key(tmp_path)
    file.unlink()
    problem = fault(tmp_path / "key.pub")
    assert problem.code == "key.ssh_sign"
    assert problem.message.endswith("does not lie beside it, and there is no agent that could hold that")
    assert f"ssh-add {file}" in problem.hint


def fault(file: Path, env: dict[str, str] | None = None) -> Problem:
    with pytest.raises(FailedError) as refused:
        dsse.sign(PAYLOAD, SshSigner(file, env=env or ENV))
    (problem,) = refused.value.problems
    assert "\n" not in problem.message, "what ssh-keygen wrote is not handed on"
    return problem


def test_an_agent_that_holds_other_keys_is_named(tmp_path: Path, agent: dict[str, str]) -> None:
    make_key(tmp_path).unlink()
    assert "your agent does not hold that" in fault(tmp_path / "key.pub", agent).message


@pytest.mark.parametrize("with_public_half", [True, False])
def test_a_key_that_others_can_read_is_to_be_closed(tmp_path: Path, with_public_half: bool) -> None:
    file = make_key(tmp_path)
    file.chmod(0o644)
    if not with_public_half:
        file.with_name("key.pub").unlink()
    problem = fault(file)
    assert (problem.message, problem.hint) == (
        f"others can read {file}: ssh-keygen does not use such a key",
        f"close it: chmod 600 {file}",
    )


def test_a_wrong_passphrase_is_called_one(tmp_path: Path) -> None:
    file = make_key(tmp_path, passphrase="secret")
    asking = tmp_path / "ask"
    asking.write_text("#!/bin/sh\necho wrong\n")
    asking.chmod(0o700)
    problem = fault(file, {**ENV, "SSH_ASKPASS": str(asking), "SSH_ASKPASS_REQUIRE": "force"})
    assert problem.message == f"the passphrase of {file} is wrong, or there was no terminal to ask for it"
    assert f"ssh-add {file}" in problem.hint


def test_a_key_that_is_not_there_is_missed_by_its_name(tmp_path: Path) -> None:
    problem = fault(tmp_path / "id_nobody")
    assert (problem.code, problem.message) == ("key.ssh", f"there is no SSH key {tmp_path / 'id_nobody'}")


def test_a_damaged_private_key_is_called_damaged(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----\n")
    file.chmod(0o600)
    assert fault(file).message == f"{file} is no SSH private key, or damaged"


def refusal(envelope: bytes, key: SshKey) -> str:
    with pytest.raises(VerificationError) as refused:
        verified(envelope, key)
    return refused.value.problems[0].code


def test_another_persons_signature_under_ones_own_fingerprint_is_refused(tmp_path: Path) -> None:
    alice, mallory = make_key(tmp_path), make_key(tmp_path, name="other")
    signer = SshSigner(mallory, env=ENV)
    signer.public_key.keyid = key_of(alice).keyid
    assert refusal(dsse.sign(PAYLOAD, signer), key_of(alice)) == "verify.signature"


def test_a_signature_over_other_bytes_is_refused(tmp_path: Path) -> None:
    import base64
    import json

    file = make_key(tmp_path)
    document = json.loads(dsse.sign(PAYLOAD, SshSigner(file, env=ENV)))
    document["payload"] = base64.b64encode(PAYLOAD.replace(b"approved", b"rejected")).decode()
    assert refusal(json.dumps(document, indent=1).encode() + b"\n", key_of(file)) == "verify.signature"


@pytest.mark.parametrize("namespace", ["git", "file", f"{NAMESPACE}x"])
def test_a_signature_made_for_anything_else_is_refused(
    tmp_path: Path, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = make_key(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr("tfops.adapters.ssh.NAMESPACE", namespace)
        envelope = dsse.sign(PAYLOAD, SshSigner(file, env=ENV))
    assert refusal(envelope, key_of(file)) == "verify.signature"


def test_what_is_no_ssh_signature_is_refused(tmp_path: Path) -> None:
    import base64
    import json

    file = make_key(tmp_path)
    document = json.loads(dsse.sign(PAYLOAD, SshSigner(file, env=ENV)))
    document["signatures"][0]["sig"] = base64.b64encode(b"x" * 64).decode()
    assert refusal(json.dumps(document, indent=1).encode() + b"\n", key_of(file)) == "verify.signature"


@pytest.mark.parametrize("content", [None, "", "hello", "ssh-ed25519 AAAA", "ssh-dss AAAAB3NzaC1kc3M= x"])
def test_a_file_that_is_no_key_is_told_with_its_name(tmp_path: Path, content: str | None) -> None:
    file = tmp_path / "key.pub"
    if content is not None:
        file.write_text(content)
    with pytest.raises(FailedError) as refused:
        public_half(file, env=ENV)
    assert refused.value.problems[0].code == "key.ssh"
    assert str(file) in str(refused.value)


def test_without_openssh_it_says_what_to_install(tmp_path: Path) -> None:
    file = make_key(tmp_path)
    with pytest.raises(FailedError) as refused:
        dsse.sign(PAYLOAD, SshSigner(file, env={"PATH": str(tmp_path)}))
    assert refused.value.problems[0].code == "key.no_ssh"


def test_a_fingerprint_is_the_one_that_ssh_keygen_prints(tmp_path: Path) -> None:
    file = make_key(tmp_path)
    printed = subprocess.run(["ssh-keygen", "-lf", str(file)], capture_output=True, text=True, check=True).stdout
    assert key_of(file).keyid in printed
    line = (tmp_path / "key.pub").read_text()
    assert parse_ssh_key(line) == parse_ssh_key(f"{parse_ssh_key(line).line} another comment")
