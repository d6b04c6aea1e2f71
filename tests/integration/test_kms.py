"""A key in KMS signs as one in a file does, and where it does not, the error says what to do."""

import base64
import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from tests.servers.moto import Moto
from tfops.adapters.keys import load_signer, public_pem
from tfops.dsse import public_key, sign, verify
from tfops.errors import FailedError, Problem, VerificationError

KEY_ID = "0f1e2d3c-4b5a-4697-8877-665544332211"
ARN = f"arn:aws:kms:eu-west-3:111122223333:key/{KEY_ID}"


@pytest.fixture(scope="module")
def moto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Moto]:
    with Moto(tmp_path_factory.mktemp("moto")) as server:
        yield server


@pytest.fixture
def environ(moto, tmp_path) -> dict[str, str]:
    return {**moto.environ, "HOME": str(tmp_path), "AWS_ENDPOINT_URL_KMS": moto.endpoint}


def make_key(moto: Moto, spec: str = "ECC_NIST_P256", usage: str = "SIGN_VERIFY", alias: str = "") -> dict[str, str]:
    """A key of moto's, under each of its names."""
    with closing(moto.client("kms")) as kms:
        made = kms.create_key(KeySpec=spec, KeyUsage=usage)["KeyMetadata"]
        names = {"id": made["KeyId"], "ARN": made["Arn"]}
        if alias:
            kms.create_alias(AliasName=alias, TargetKeyId=made["KeyId"])
            names |= {"alias": alias, "alias ARN": made["Arn"].rpartition(":")[0] + f":{alias}"}
        return names


@pytest.fixture(scope="module")
def key(moto) -> dict[str, str]:
    return make_key(moto, alias="alias/tfops-plan")


def load(name: str, environ: dict[str, str]):
    return load_signer(f"awskms:{name}", home=Path("/nowhere"), passphrase=None, environ=environ)


def fault(act: Callable[[], object], name: str) -> Problem:
    """What a person is told. It names the key, says what to do next, and holds no secret."""
    with pytest.raises(FailedError) as refused:
        act()
    (problem,) = refused.value.problems
    assert f"awskms:{name}" in problem.message
    assert problem.hint
    assert "secret" not in problem.message + problem.hint
    return problem


Answer = tuple[int, dict[str, object]]


class FakeKms:
    """A KMS that answers what the test says, and remembers what it was asked."""

    def __init__(self, answers: dict[str, Answer]) -> None:
        self.asked: list[tuple[str, dict[str, str]]] = []
        fake = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                operation = self.headers["X-Amz-Target"].rpartition(".")[2]
                self.rfile.read(int(self.headers["Content-Length"]))
                fake.asked.append((operation, dict(self.headers)))
                status, answer = answers[operation]
                body = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/x-amz-json-1.1")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *arguments: object) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)

    @property
    def environ(self) -> dict[str, str]:
        return {
            "HOME": "/nowhere",
            "AWS_ACCESS_KEY_ID": "AKIA",
            "AWS_SECRET_ACCESS_KEY": "the-secret-key",
            "AWS_SESSION_TOKEN": "the-secret-token",
            "AWS_REGION": "us-east-1",
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self.server.server_port}",
        }


@contextmanager
def kms_that_answers(**answers: Answer) -> Iterator[FakeKms]:
    fake = FakeKms(answers)
    thread = threading.Thread(target=fake.server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield fake
    finally:
        fake.server.shutdown()
        fake.server.server_close()
        thread.join()


def error(code: str, message: str = "no", status: int = 400) -> Answer:
    return status, {"__type": code, "message": message}


def a_key(curve: ec.EllipticCurve | None = None, algorithm: str = "ECDSA_SHA_256") -> Answer:
    der = (
        ec.generate_private_key(curve or ec.SECP256R1())
        .public_key()
        .public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    public = base64.b64encode(der).decode()
    return 200, {"KeyId": ARN, "PublicKey": public, "KeyUsage": "SIGN_VERIFY", "SigningAlgorithms": [algorithm]}


@pytest.mark.parametrize("kind", ["id", "ARN", "alias", "alias ARN"])
def test_a_key_signs_under_each_of_its_names_and_its_public_half_verifies(environ, key, kind):
    signer = load(key[kind], environ)
    keys = {"ci": public_key(public_pem(signer))}
    found = verify(sign(b"the statement", signer), keys, what="it")
    assert (found.payload, found.signer) == (b"the statement", "ci")


def test_the_key_id_is_the_one_that_is_derived_from_the_public_half(environ, key):
    signer = load(key["id"], environ)
    assert signer.public_key.keyid == public_key(public_pem(signer)).keyid
    assert signer.public_key.keyid == load(key["alias"], environ).public_key.keyid


def test_the_public_half_is_a_p_256_key_in_pem(environ, key):
    pem = public_pem(load(key["id"], environ))
    assert pem.startswith(b"-----BEGIN PUBLIC KEY-----\n")
    assert load_pem_public_key(pem).curve.name == "secp256r1"


def test_openssl_verifies_what_kms_signed(environ, key, tmp_path):
    signer = load(key["id"], environ)
    (tmp_path / "pub").write_bytes(public_pem(signer))
    (tmp_path / "data").write_bytes(b"x" * 5000)
    (tmp_path / "sig").write_bytes(bytes.fromhex(signer.sign(b"x" * 5000).signature))
    done = subprocess.run(
        ["openssl", "dgst", "-sha256", "-verify", "pub", "-signature", "sig", "data"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == "Verified OK\n", done.stderr


@pytest.mark.parametrize("spec", ["ECC_NIST_P384", "RSA_2048"])
def test_other_kinds_of_keys_that_securesystemslib_verifies_sign_too(moto, environ, spec):
    signer = load(make_key(moto, spec)["id"], environ)
    keys = {"ci": public_key(public_pem(signer))}
    assert verify(sign(b"x", signer), keys, what="it").payload == b"x"


def test_a_statement_of_any_size_is_signed(environ, key):
    signer = load(key["id"], environ)
    payload = b"x" * 1_000_000
    assert verify(sign(payload, signer), {"ci": public_key(public_pem(signer))}, what="it").payload == payload


def test_what_was_changed_after_signing_is_refused(environ, key):
    signer = load(key["id"], environ)
    envelope = json.loads(sign(b"x", signer))
    envelope["payload"] = base64.b64encode(b"y").decode()
    with pytest.raises(VerificationError) as refused:
        changed = json.dumps(envelope, indent=1).encode() + b"\n"
        verify(changed, {"ci": public_key(public_pem(signer))}, what="it")
    assert refused.value.problems[0].code == "verify.signature"


def test_loading_a_key_asks_for_its_public_half_once_and_signs_nothing():
    with kms_that_answers(GetPublicKey=a_key()) as kms:
        load(KEY_ID, kms.environ)
    assert [operation for operation, _ in kms.asked] == ["GetPublicKey"]


def test_a_key_in_kms_needs_nothing_of_this_process(environ, key, monkeypatch):
    """Not even a region or a profile that is there: neither helps nor hurts."""
    monkeypatch.setenv("AWS_PROFILE", "not-there")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "mars-1")
    load(key["id"], environ).sign(b"x")


def test_a_signer_does_not_show_the_credentials_it_was_loaded_with():
    with kms_that_answers(GetPublicKey=a_key()) as kms:
        assert "secret" not in repr(load(KEY_ID, kms.environ))


def test_the_region_of_an_arn_wins():
    with kms_that_answers(GetPublicKey=a_key()) as kms:
        load(ARN, kms.environ)
    assert "/eu-west-3/kms/" in kms.asked[0][1]["Authorization"]


@pytest.mark.parametrize("variable", ["AWS_REGION", "AWS_DEFAULT_REGION"])
def test_a_name_without_region_is_looked_up_in_the_region_of_the_environment(variable):
    with kms_that_answers(GetPublicKey=a_key()) as kms:
        environ = {name: value for name, value in kms.environ.items() if name != "AWS_REGION"}
        load(KEY_ID, environ | {variable: "eu-north-1"})
    assert "/eu-north-1/kms/" in kms.asked[0][1]["Authorization"]


def test_the_endpoint_of_kms_goes_before_the_one_of_everything():
    with kms_that_answers(GetPublicKey=a_key()) as kms:
        endpoint = kms.environ["AWS_ENDPOINT_URL"]
        load(KEY_ID, kms.environ | {"AWS_ENDPOINT_URL": "http://127.0.0.1:1", "AWS_ENDPOINT_URL_KMS": endpoint})


def test_without_a_region_nothing_is_asked():
    with kms_that_answers() as kms:
        environ = {name: value for name, value in kms.environ.items() if name != "AWS_REGION"}
        problem = fault(lambda: load("alias/x", environ), "alias/x")
    assert problem.code == "key.kms_unreachable"
    assert "AWS_REGION" in problem.hint


@pytest.mark.parametrize("name", [KEY_ID, "alias/none", f"arn:aws:kms:us-east-1:123456789012:key/{KEY_ID}"])
def test_a_key_that_is_not_there_is_missed(environ, name):
    problem = fault(lambda: load(name, environ), name)
    assert (problem.code, "does not exist" in problem.message) == ("key.invalid", True)


@pytest.mark.parametrize(
    ("spec", "usage"),
    [
        ("SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT"),
        ("HMAC_256", "GENERATE_VERIFY_MAC"),
        ("RSA_2048", "ENCRYPT_DECRYPT"),
        ("ECC_NIST_P521", "SIGN_VERIFY"),
        ("ECC_SECG_P256K1", "SIGN_VERIFY"),
    ],
)
def test_a_key_that_cannot_sign_for_us_is_refused(moto, environ, spec, usage):
    name = make_key(moto, spec, usage)["id"]
    problem = fault(lambda: load(name, environ), name)
    assert problem.code == "key.invalid"
    assert "--key-spec ECC_NIST_P256" in problem.hint


def test_a_public_half_that_cannot_be_read_is_refused():
    broken = 200, {"KeyId": ARN, "PublicKey": base64.b64encode(b"?").decode(), "SigningAlgorithms": ["ECDSA_SHA_256"]}
    with kms_that_answers(GetPublicKey=broken) as kms:
        assert fault(lambda: load(KEY_ID, kms.environ), KEY_ID).code == "key.invalid"


def test_an_alias_that_moves_to_another_key_signs_nothing(moto, environ):
    make_key(moto, alias="alias/moves")
    signer = load("alias/moves", environ)
    with closing(moto.client("kms")) as kms:
        kms.update_alias(AliasName="alias/moves", TargetKeyId=make_key(moto)["id"])
    problem = fault(lambda: signer.sign(b"x"), "alias/moves")
    assert (problem.code, problem.hint) == ("key.invalid", "run it again")


def test_without_credentials_the_error_says_how_to_give_some(environ, monkeypatch):
    """Those of the process itself are not taken."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, environ.pop(name))
    problem = fault(lambda: load("alias/tfops-plan", environ), "alias/tfops-plan")
    assert problem.code == "key.kms_credentials"
    assert "AWS_ACCESS_KEY_ID" in problem.hint


DENIED = "User: arn:aws:iam::111122223333:user/ci is not authorized to perform: kms:{} on resource: {} because …"


def test_a_denied_public_half_names_permission_and_user():
    denied = error("AccessDeniedException", DENIED.format("GetPublicKey", ARN))
    with kms_that_answers(GetPublicKey=denied) as kms:
        problem = fault(lambda: load(KEY_ID, kms.environ), KEY_ID)
    assert problem.code == "key.kms_denied"
    assert "kms:GetPublicKey is missing" in problem.message
    assert "user/ci" in problem.message
    assert "allow kms:GetPublicKey" in problem.hint


def test_a_denied_signature_names_its_permission_at_use():
    denied = error("AccessDeniedException", DENIED.format("Sign", ARN))
    with kms_that_answers(GetPublicKey=a_key(), Sign=denied) as kms:
        signer = load(KEY_ID, kms.environ)
        problem = fault(lambda: sign(b"x", signer), KEY_ID)
    assert problem.code == "key.kms_denied"
    assert "allow kms:Sign" in problem.hint


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (error("DisabledException"), "key.invalid"),
        (error("KMSInvalidStateException"), "key.invalid"),
        (error("InvalidKeyUsageException"), "key.invalid"),
        (error("NotFoundException"), "key.invalid"),
        (error("InvalidArnException"), "key.invalid"),
        (error("UnrecognizedClientException"), "key.kms_credentials"),
        (error("ExpiredTokenException"), "key.kms_credentials"),
        (error("InvalidSignatureException", "x-amz-security-token:the-secret-token", 403), "key.kms_credentials"),
        (error("ThrottlingException"), "key.kms_unreachable"),
        (error("KMSInternalException", status=500), "key.kms_unreachable"),
        (error("KeyUnavailableException", status=500), "key.kms_unreachable"),
        (error("AccessDeniedException", "you said the-secret-key and the-secret-token"), "key.kms_denied"),
    ],
    ids=lambda value: value[1]["__type"] if isinstance(value, tuple) else value,
)
@pytest.mark.parametrize("operation", ["GetPublicKey", "Sign"])
def test_every_refusal_of_kms_is_explained_without_a_secret(operation, answer, code):
    with kms_that_answers(**{"GetPublicKey": a_key(), operation: answer}) as kms:
        assert fault(lambda: load(KEY_ID, kms.environ).sign(b"x"), KEY_ID).code == code


@pytest.mark.parametrize("endpoint", ["http://127.0.0.1:1", "http://", "nonsense"])
def test_a_kms_out_of_reach_is_told_as_such(environ, endpoint):
    problem = fault(lambda: load(KEY_ID, environ | {"AWS_ENDPOINT_URL_KMS": endpoint}), KEY_ID)
    assert problem.code == "key.kms_unreachable"
    assert "AWS_ENDPOINT_URL_KMS" in problem.hint


def test_nothing_imports_boto3_before_a_key_is_loaded():
    modules = "tfops.adapters.keys, tfops.adapters.kms, tfops.adapters.credentials"
    code = f"import sys, {modules}; sys.exit('boto3' in sys.modules or 'botocore' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
