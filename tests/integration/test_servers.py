"""The servers that other tests rely on do what is said of them: S3 semantics, faults on demand, nothing left behind."""

# ruff: noqa: F811 - pytest hands fixtures over by their names

import hashlib
import io
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import pytest
from botocore.exceptions import (
    ClientError,
    ConnectionClosedError,
    EndpointConnectionError,
    ReadTimeoutError,
)
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding
from cryptography.hazmat.primitives.serialization import load_der_public_key

from tests.servers import ROOT, Endpoint
from tests.servers.fixtures import bucket, fault_proxy, moto_server, seaweed, versioned_bucket  # noqa: F401
from tests.servers.moto import Moto
from tests.servers.proxy import Answer, Cut, Delay, DropAnswer, FaultProxy, Freeze
from tests.servers.seaweed import Seaweed, remove_sockets
from tests.servers.shared import SharedSeaweed, shared_seaweed

KEYS = ("a b", "ü", "日本", "p%20q", "p+q", "a&b<c", "q?r#s", "~t'(x)!*", "sub/x", "sub/y", "other/deep/z")


@pytest.fixture(params=["seaweed", "moto_server"])
def server(request: pytest.FixtureRequest) -> Endpoint:
    """Each of the two servers."""
    found: Endpoint = request.getfixturevalue(request.param)
    return found


@pytest.fixture(params=["plain", "versioned"])
def place(request: pytest.FixtureRequest, server: Endpoint) -> str:
    """Each of the two kinds of bucket."""
    return server.bucket(request.param, versioned=request.param == "versioned")


@pytest.fixture
def s3(server: Endpoint) -> Iterator[Any]:
    """A client of the server."""
    with closing(server.client()) as client:
        yield client


@pytest.fixture
def key() -> str:
    """A key that nobody else uses."""
    return f"{uuid.uuid4().hex}/key"


@pytest.fixture
def direct(seaweed: SharedSeaweed) -> Iterator[Any]:
    """A client of the SeaweedFS that goes around the proxy."""
    with closing(seaweed.client()) as client:
        yield client


@pytest.fixture
def proxied(seaweed: SharedSeaweed, fault_proxy: FaultProxy) -> Iterator[Any]:
    """A client of the SeaweedFS that goes through the proxy."""
    with closing(seaweed.client(endpoint=fault_proxy.endpoint)) as client:
        yield client


def refused(call: Callable[[], Any]) -> tuple[int, str]:
    """The status and the code that a call is refused with."""
    with pytest.raises(ClientError) as caught:
        call()
    response: Any = caught.value.response
    return response["ResponseMetadata"]["HTTPStatusCode"], response["Error"]["Code"]


def exists(client: Any, bucket: str, key: str) -> bool:
    """Whether an object is there."""
    try:
        client.head_object(Bucket=bucket, Key=key)
    except ClientError as error:
        assert error.response["ResponseMetadata"]["HTTPStatusCode"] == 404
        return False
    return True


def read(client: Any, bucket: str, key: str) -> bytes:
    """The bytes of an object."""
    data: bytes = client.get_object(Bucket=bucket, Key=key)["Body"].read()
    return data


def wait_for(condition: Callable[[], bool], what: str) -> None:
    """Poll until the condition holds."""
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain: {what}"
        time.sleep(0.02)


def listens(endpoint: str) -> bool:
    """Whether somebody accepts connections there."""
    address = urlsplit(endpoint)
    try:
        socket.create_connection((address.hostname, address.port), timeout=5).close()
    except ConnectionRefusedError:
        return False
    return True


@contextmanager
def python(script: str, *arguments: Path) -> Iterator[tuple["subprocess.Popen[str]", str]]:
    """A Python process that waits, and the line it printed; killed at the end."""
    argv = [sys.executable, "-c", script, *(str(argument) for argument in arguments)]
    with subprocess.Popen(argv, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process, process.stdout.readline().strip()
        finally:
            process.kill()


# What both servers do


def test_a_put_that_must_create_succeeds_once(s3: Any, place: str, key: str) -> None:
    s3.put_object(Bucket=place, Key=key, Body=b"first", IfNoneMatch="*")
    again = refused(lambda: s3.put_object(Bucket=place, Key=key, Body=b"second", IfNoneMatch="*"))
    assert again == (412, "PreconditionFailed")
    assert read(s3, place, key) == b"first"


def test_a_put_that_must_replace_succeeds_only_with_the_current_etag(s3: Any, place: str, key: str) -> None:
    old = s3.put_object(Bucket=place, Key=key, Body=b"first")["ETag"]
    s3.put_object(Bucket=place, Key=key, Body=b"second", IfMatch=old)
    again = refused(lambda: s3.put_object(Bucket=place, Key=key, Body=b"third", IfMatch=old))
    assert again == (412, "PreconditionFailed")
    assert read(s3, place, key) == b"second"


def test_a_key_can_be_created_again_after_its_deletion(s3: Any, place: str, key: str) -> None:
    s3.put_object(Bucket=place, Key=key, Body=b"first", IfNoneMatch="*")
    s3.delete_object(Bucket=place, Key=key)
    s3.put_object(Bucket=place, Key=key, Body=b"second", IfNoneMatch="*")
    assert read(s3, place, key) == b"second"


@pytest.mark.slow
def test_of_many_who_create_a_key_at_once_one_wins(server: Endpoint, place: str, key: str) -> None:
    start = threading.Barrier(8)

    def create(writer: int) -> int:
        with closing(server.client()) as client:
            start.wait()
            try:
                client.put_object(Bucket=place, Key=key, Body=b"%d" % writer, IfNoneMatch="*")
            except ClientError as error:
                status: int = error.response["ResponseMetadata"]["HTTPStatusCode"]
                return status
            return 200

    with ThreadPoolExecutor(8) as writers:
        assert sorted(writers.map(create, range(8))) == [200] + [412] * 7


def test_a_get_says_304_as_long_as_nothing_changed(s3: Any, place: str, key: str) -> None:
    etag = s3.put_object(Bucket=place, Key=key, Body=b"first")["ETag"]
    assert refused(lambda: s3.get_object(Bucket=place, Key=key, IfNoneMatch=etag)) == (304, "304")
    assert refused(lambda: s3.head_object(Bucket=place, Key=key, IfNoneMatch=etag)) == (304, "304")
    s3.put_object(Bucket=place, Key=key, Body=b"second")
    assert s3.get_object(Bucket=place, Key=key, IfNoneMatch=etag)["Body"].read() == b"second"


def test_a_delete_heeds_its_condition(s3: Any, place: str, key: str) -> None:
    old = s3.put_object(Bucket=place, Key=key, Body=b"first")["ETag"]
    new = s3.put_object(Bucket=place, Key=key, Body=b"second")["ETag"]
    assert refused(lambda: s3.delete_object(Bucket=place, Key=key, IfMatch=old)) == (412, "PreconditionFailed")
    assert read(s3, place, key) == b"second"
    s3.delete_object(Bucket=place, Key=key, IfMatch=new)
    assert not exists(s3, place, key)


def test_an_answer_tells_the_servers_time_and_the_objects_time(s3: Any, place: str, key: str) -> None:
    headers = s3.put_object(Bucket=place, Key=key, Body=b"x")["ResponseMetadata"]["HTTPHeaders"]
    assert headers["date"].endswith("GMT")
    headers = s3.get_object(Bucket=place, Key=key)["ResponseMetadata"]["HTTPHeaders"]
    assert headers["date"].endswith("GMT")
    assert headers["last-modified"].endswith("GMT")


def test_a_sha256_checksum_is_kept(s3: Any, place: str, key: str) -> None:
    put = s3.put_object(Bucket=place, Key=key, Body=b"x", ChecksumAlgorithm="SHA256")
    got = s3.get_object(Bucket=place, Key=key, ChecksumMode="ENABLED")
    assert put["ChecksumSHA256"] == got["ChecksumSHA256"] == "LXEWQrcmsEQBYnyp+6wy9chTD7GQPMTbAiWHF5IaSIE="
    assert got["Body"].read() == b"x"


def test_a_versioned_bucket_keeps_what_was_overwritten(server: Endpoint, s3: Any, key: str) -> None:
    versioned = server.bucket("versioned", versioned=True)
    first = s3.put_object(Bucket=versioned, Key=key, Body=b"first")["VersionId"]
    s3.put_object(Bucket=versioned, Key=key, Body=b"second")
    assert s3.get_object(Bucket=versioned, Key=key, VersionId=first)["Body"].read() == b"first"
    assert len(s3.list_object_versions(Bucket=versioned, Prefix=key)["Versions"]) == 2


def test_strange_keys_are_stored_and_listed(s3: Any, place: str, key: str) -> None:
    for name in KEYS:
        s3.put_object(Bucket=place, Key=f"{key}/{name}", Body=name.encode())
    assert [read(s3, place, f"{key}/{name}").decode() for name in KEYS] == list(KEYS)
    # SeaweedFS sorts the keys of a versioned bucket in an order of its own.
    listed = s3.list_objects_v2(Bucket=place, Prefix=f"{key}/", Delimiter="/")
    assert sorted(found["Key"] for found in listed["Contents"]) == sorted(f"{key}/{n}" for n in KEYS if "/" not in n)
    assert [found["Prefix"] for found in listed["CommonPrefixes"]] == [f"{key}/other/", f"{key}/sub/"]


def test_a_listing_comes_in_pages(s3: Any, place: str, key: str) -> None:
    for name in KEYS:
        s3.put_object(Bucket=place, Key=f"{key}/{name}", Body=b"")
    pages = s3.get_paginator("list_objects_v2").paginate(
        Bucket=place, Prefix=f"{key}/", PaginationConfig={"PageSize": 3}
    )
    found = [entry["Key"] for page in pages for entry in page["Contents"]]
    assert sorted(found) == sorted(f"{key}/{name}" for name in KEYS)


def test_nothing_makes_a_bucket_by_itself(s3: Any, key: str) -> None:
    assert refused(lambda: s3.put_object(Bucket="absent", Key=key, Body=b"")) == (404, "NoSuchBucket")


# SeaweedFS


def test_seaweedfs_checks_signatures(seaweed: SharedSeaweed, bucket: str, key: str) -> None:
    with closing(seaweed.client()) as client:
        client._request_signer._credentials.secret_key = "wrong"
        refusal = refused(lambda: client.put_object(Bucket=bucket, Key=key, Body=b""))
    assert refusal == (403, "SignatureDoesNotMatch")


@pytest.mark.slow
def test_a_killed_seaweedfs_comes_back_with_all_it_said_it_had(tmp_path: Path) -> None:
    with Seaweed(tmp_path) as server, closing(server.client()) as client:
        endpoint, bucket = server.endpoint, server.bucket("kept")
        versioned = server.bucket("versions", versioned=True)
        for number in range(20):
            client.put_object(Bucket=bucket, Key=f"k/{number}", Body=b"%d" % number)
            client.put_object(Bucket=versioned, Key="k", Body=b"%d" % number)
        server.kill()
        assert not listens(endpoint)
        server.restart()
        assert server.endpoint == endpoint
        client.put_object(Bucket=bucket, Key="new", Body=b"new")
        assert [read(client, bucket, f"k/{number}") for number in range(20)] == [b"%d" % n for n in range(20)]
        assert read(client, versioned, "k") == b"19"
        assert refused(lambda: client.put_object(Bucket=bucket, Key="k/0", IfNoneMatch="*"))[0] == 412
    assert not listens(endpoint)


@pytest.mark.slow
def test_a_server_dies_with_the_process_that_started_it(tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from tests.servers.seaweed import Seaweed;"
        "s = Seaweed(Path(sys.argv[1])); s.start(); print(*s.ports, flush=True); sys.stdin.read()"
    )
    with python(script, tmp_path) as (owner, line):
        ports = [int(port) for port in line.split()]
        endpoint = f"http://127.0.0.1:{ports[0]}"
        assert listens(endpoint)
        owner.kill()
        wait_for(lambda: not listens(endpoint), "the end of the server")
    remove_sockets(ports)


@pytest.mark.slow
def test_a_shared_seaweedfs_lives_until_the_last_one_leaves(tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from tests.servers.shared import shared_seaweed;"
        "s = shared_seaweed(Path(sys.argv[1])); print(s.endpoint, flush=True); sys.stdin.read()"
    )
    with python(script, tmp_path) as (starter, endpoint), python(script, tmp_path) as (other, same):
        assert same == endpoint
        starter.kill()
        starter.wait(10)
        mine = shared_seaweed(tmp_path)
        assert mine.endpoint == endpoint
        mine.bucket("mine")
        mine.stop()
        assert listens(endpoint)
        other.kill()
        wait_for(lambda: not listens(endpoint), "the end of the server")
    last = shared_seaweed(tmp_path)
    assert last.endpoint != endpoint
    last.stop()
    assert not listens(last.endpoint)


# moto


def test_a_moto_that_ignores_conditions_overwrites(tmp_path: Path, key: str) -> None:
    with Moto(tmp_path, ignore_conditions=True) as server, closing(server.client()) as client:
        bucket = server.bucket("kept")
        client.put_object(Bucket=bucket, Key=key, Body=b"first", IfNoneMatch="*", Metadata={"some": "thing"})
        client.put_object(Bucket=bucket, Key=key, Body=b"second", IfNoneMatch="*")
        assert read(client, bucket, key) == b"second"
        client.put_object(Bucket=bucket, Key=key, Body=b"third", IfMatch='"0123"')
        etag = client.get_object(Bucket=bucket, Key=key)["ETag"]
        assert read(client, bucket, key) == b"third"
        assert refused(lambda: client.get_object(Bucket=bucket, Key=key, IfNoneMatch=etag))[0] == 304


def signature_of_digest(server: Moto, spec: str, algorithm: str, digest: bytes) -> tuple[Any, bytes, bool]:
    """The public key, its signature of a digest, and what the server itself thinks of it."""
    with closing(server.client("kms")) as kms:
        key_id = kms.create_key(KeySpec=spec, KeyUsage="SIGN_VERIFY")["KeyMetadata"]["KeyId"]
        message = {"KeyId": key_id, "Message": digest, "MessageType": "DIGEST", "SigningAlgorithm": algorithm}
        signature = kms.sign(**message)["Signature"]
        valid = kms.verify(Signature=signature, **message)["SignatureValid"]
        return load_der_public_key(kms.get_public_key(KeyId=key_id)["PublicKey"]), signature, valid


@pytest.mark.parametrize(
    ("spec", "algorithm", "digest", "how"),
    [
        ("ECC_NIST_P256", "ECDSA_SHA_256", hashlib.sha256, (ec.ECDSA(hashes.SHA256()),)),
        ("ECC_NIST_P384", "ECDSA_SHA_384", hashlib.sha384, (ec.ECDSA(hashes.SHA384()),)),
        ("RSA_2048", "RSASSA_PKCS1_V1_5_SHA_256", hashlib.sha256, (padding.PKCS1v15(), hashes.SHA256())),
    ],
)
def test_a_kms_signature_of_a_digest_is_one_of_the_message(
    moto_server: Moto, spec: str, algorithm: str, digest: Any, how: tuple[Any, ...]
) -> None:
    public, signature, valid = signature_of_digest(moto_server, spec, algorithm, digest(b"message").digest())
    assert valid
    public.verify(signature, b"message", *how)


def test_a_kms_signature_of_a_message_is_left_alone(moto_server: Moto) -> None:
    message = b"m" * 32  # as long as a digest
    with closing(moto_server.client("kms")) as kms:
        key_id = kms.create_key(KeySpec="ECC_NIST_P256", KeyUsage="SIGN_VERIFY")["KeyMetadata"]["KeyId"]
        signature = kms.sign(KeyId=key_id, Message=message, SigningAlgorithm="ECDSA_SHA_256")["Signature"]
        public: Any = load_der_public_key(kms.get_public_key(KeyId=key_id)["PublicKey"])
    public.verify(signature, message, ec.ECDSA(hashes.SHA256()))


def test_without_the_repair_moto_hashes_a_digest_again(tmp_path: Path) -> None:
    digest = hashlib.sha256(b"message").digest()
    with Moto(tmp_path, fix_kms_digest=False) as server:
        public, signature, _ = signature_of_digest(server, "ECC_NIST_P256", "ECDSA_SHA_256", digest)
    with pytest.raises(InvalidSignature):
        public.verify(signature, b"message", ec.ECDSA(hashes.SHA256()))
    public.verify(signature, digest, ec.ECDSA(hashes.SHA256()))


def test_moto_serves_sts_on_the_same_address(moto_server: Moto) -> None:
    with closing(moto_server.client("sts")) as sts:
        assert sts.get_caller_identity()["Account"] == "123456789012"


# The proxy


def test_the_proxy_forwards_and_records(
    proxied: Any, direct: Any, fault_proxy: FaultProxy, bucket: str, key: str
) -> None:
    proxied.put_object(Bucket=bucket, Key=key, Body=b"12345", IfNoneMatch="*")
    assert read(proxied, bucket, key) == read(direct, bucket, key) == b"12345"
    refused(lambda: proxied.put_object(Bucket=bucket, Key=key, Body=b"", IfNoneMatch="*"))
    proxied.list_objects_v2(Bucket=bucket, Prefix=key)
    seen = fault_proxy.requests
    assert [(r.number, r.method, r.path, r.status, r.length) for r in seen] == [
        (1, "PUT", f"/{bucket}/{key}", 200, 5),
        (2, "GET", f"/{bucket}/{key}", 200, 0),
        (3, "PUT", f"/{bucket}/{key}", 412, 0),
        (4, "GET", f"/{bucket}", 200, 0),
    ]
    assert seen[0].headers["if-none-match"] == "*"
    assert seen[0].headers["host"] == fault_proxy.endpoint.removeprefix("http://")
    assert f"prefix={quote(key, safe='')}" in seen[3].query
    assert fault_proxy.count() == 4
    assert fault_proxy.count(("PUT", key)) == 2
    fault_proxy.clear()
    proxied.head_object(Bucket=bucket, Key=key)
    assert [(r.number, r.method) for r in fault_proxy.requests] == [(5, "HEAD")]


def test_the_proxy_keeps_the_servers_headers(proxied: Any, direct: Any, bucket: str, key: str) -> None:
    proxied.put_object(Bucket=bucket, Key=key, Body=b"x", Metadata={"some": "thing"})
    for operation in ("get_object", "head_object"):
        through, around = (
            getattr(client, operation)(Bucket=bucket, Key=key)["ResponseMetadata"]["HTTPHeaders"]
            for client in (proxied, direct)
        )
        ignored = {"x-amz-request-id": "", "date": ""}
        assert through | ignored == around | ignored
        assert through["date"].endswith("GMT")


def test_strange_keys_pass_the_proxy_with_their_signatures(proxied: Any, direct: Any, bucket: str, key: str) -> None:
    for name in KEYS:
        proxied.put_object(Bucket=bucket, Key=f"{key}/{name}", Body=name.encode())
        assert read(direct, bucket, f"{key}/{name}") == name.encode()
    listed = proxied.list_objects_v2(Bucket=bucket, Prefix=f"{key}/")["Contents"]
    assert sorted(found["Key"] for found in listed) == sorted(f"{key}/{name}" for name in KEYS)


def test_a_large_body_that_waits_for_leave_passes_the_proxy(
    proxied: Any, direct: Any, fault_proxy: FaultProxy, bucket: str, key: str
) -> None:
    data = os.urandom(3_000_000)
    proxied.put_object(Bucket=bucket, Key=key, Body=io.BytesIO(data))
    (request,) = fault_proxy.requests
    assert (request.headers["expect"], request.length, request.status) == ("100-continue", len(data), 200)
    assert read(direct, bucket, key) == read(proxied, bucket, key) == data


def test_a_connection_through_the_proxy_is_used_again(fault_proxy: FaultProxy) -> None:
    address = urlsplit(fault_proxy.endpoint)
    fault_proxy.fault(("GET", "/"), Answer(403), times=None)
    with socket.create_connection((address.hostname, address.port)) as client, client.makefile("rb") as reader:
        for number in (1, 2):
            client.sendall(b"GET /x HTTP/1.1\r\nHost: x\r\n\r\n")
            head = b"".join(iter(reader.readline, b"\r\n"))
            assert head.startswith(b"HTTP/1.1 403 AccessDenied\r\n")
            length = int(head.partition(b"Content-Length: ")[2].split()[0])
            assert b"<Code>AccessDenied</Code>" in reader.read(length)
            assert fault_proxy.count() == number


def exchange(proxy: FaultProxy, sent: bytes, answer: bytes) -> tuple[bytes, bytes]:
    """What a server got that gave `answer`, and what the client got that sent `sent`."""
    with socket.create_server(("127.0.0.1", 0)) as listener, ThreadPoolExecutor(1) as thread:

        def serve() -> bytes:
            connection, _ = listener.accept()
            with connection:
                got = b""
                while len(got) < len(sent):
                    got += connection.recv(65536)
                connection.sendall(answer)
            return got

        proxy.target = f"http://127.0.0.1:{listener.getsockname()[1]}"
        served = thread.submit(serve)
        address = urlsplit(proxy.endpoint)
        with socket.create_connection((address.hostname, address.port), timeout=10) as client:
            client.sendall(sent)
            client.shutdown(socket.SHUT_WR)
            told = b"".join(iter(lambda: client.recv(65536), b""))
        return served.result(10), told


def test_the_proxy_changes_no_byte_of_a_request(fault_proxy: FaultProxy) -> None:
    sent = (
        b"PUT //b/a%2fb//c%20d/%C3%BC?x-id=Put&y=%2F HTTP/1.1\r\nhOsT: example.org:99\r\nX-Odd:  two  spaces \r\n"
        b"Transfer-Encoding: chunked\r\nX-Odd: again\r\n\r\n5;sig=1\r\nhello\r\n3\r\nyou\r\n0\r\nX-Trailer: t\r\n\r\n"
    )
    answer = b'HTTP/1.1 200 OK\r\nETag: "a"\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n'
    got, told = exchange(fault_proxy, sent, answer)
    assert got == sent
    assert told == b'HTTP/1.1 200 OK\r\nETag: "a"\r\nContent-Length: 2\r\n\r\nok'
    (request,) = fault_proxy.requests
    assert (request.path, request.query) == ("//b/a%2fb//c%20d/%C3%BC", "x-id=Put&y=%2F")
    assert (request.length, request.headers["x-odd"], request.status) == (8, "two  spaces, again", 200)


def test_an_answer_that_ends_too_early_is_not_passed_on(fault_proxy: FaultProxy) -> None:
    _, told = exchange(fault_proxy, b"GET / HTTP/1.1\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf")
    assert told == b""


def test_a_delayed_request_succeeds_later(proxied: Any, fault_proxy: FaultProxy, bucket: str, key: str) -> None:
    fault = fault_proxy.fault(("PUT", key), Delay(0.4))
    begin = time.monotonic()
    proxied.put_object(Bucket=bucket, Key=key, Body=b"x")
    assert time.monotonic() - begin >= 0.4
    assert fault.hits == 1


def test_a_cut_request_never_arrives(proxied: Any, direct: Any, fault_proxy: FaultProxy, bucket: str, key: str) -> None:
    fault_proxy.fault(("PUT", key), Cut())
    with pytest.raises(ConnectionClosedError):
        proxied.put_object(Bucket=bucket, Key=key, Body=b"x")
    assert not exists(direct, bucket, key)
    assert [(r.method, r.length, r.status) for r in fault_proxy.requests] == [("PUT", 1, None)]


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (403, "AccessDenied"),
        (409, "ConditionalRequestConflict"),
        (412, "PreconditionFailed"),
        (500, "InternalError"),
        (503, "SlowDown"),
    ],
)
def test_an_error_answer_comes_instead_of_the_servers(
    proxied: Any, direct: Any, fault_proxy: FaultProxy, bucket: str, key: str, status: int, code: str
) -> None:
    fault_proxy.fault(("PUT", key), Answer(status))
    assert refused(lambda: proxied.put_object(Bucket=bucket, Key=key, Body=b"x")) == (status, code)
    assert not exists(direct, bucket, key)
    assert fault_proxy.requests[0].status == status


def test_an_error_answer_may_have_its_own_code_and_message(
    proxied: Any, fault_proxy: FaultProxy, bucket: str, key: str
) -> None:
    fault_proxy.fault(("GET", key), Answer(400, code="ExpiredToken", message="too <old>"))
    with pytest.raises(ClientError, match=r"ExpiredToken.*too <old>"):
        proxied.get_object(Bucket=bucket, Key=key)


def test_an_error_answer_to_head_has_no_body(proxied: Any, fault_proxy: FaultProxy, bucket: str, key: str) -> None:
    fault_proxy.fault(("HEAD", key), Answer(403), times=2)
    for _ in range(2):
        assert refused(lambda: proxied.head_object(Bucket=bucket, Key=key))[0] == 403


def test_a_dropped_answer_hides_a_success(
    proxied: Any, direct: Any, fault_proxy: FaultProxy, bucket: str, key: str
) -> None:
    fault_proxy.fault(("PUT", key), DropAnswer())
    with pytest.raises(ConnectionClosedError):
        proxied.put_object(Bucket=bucket, Key=key, Body=b"x", IfNoneMatch="*")
    assert read(direct, bucket, key) == b"x"
    assert fault_proxy.requests[0].status == 200
    assert refused(lambda: proxied.put_object(Bucket=bucket, Key=key, Body=b"x", IfNoneMatch="*"))[0] == 412


def test_a_frozen_request_outlasts_the_clients_patience(
    seaweed: SharedSeaweed, direct: Any, fault_proxy: FaultProxy, bucket: str, key: str
) -> None:
    fault_proxy.fault(("PUT", key), Freeze(60))
    with (
        closing(seaweed.client(endpoint=fault_proxy.endpoint, read_timeout=0.4)) as client,
        pytest.raises(ReadTimeoutError),
    ):
        client.put_object(Bucket=bucket, Key=key, Body=b"x")
    assert not exists(direct, bucket, key)


def test_a_frozen_request_ends_when_it_thaws(proxied: Any, fault_proxy: FaultProxy, bucket: str, key: str) -> None:
    fault_proxy.fault(("PUT", key), Freeze(60))
    with ThreadPoolExecutor(1) as thread:
        begin = time.monotonic()
        put = thread.submit(proxied.put_object, Bucket=bucket, Key=key, Body=b"x")
        wait_for(lambda: fault_proxy.count() == 1, "the request")
        fault_proxy.thaw()
        assert isinstance(put.exception(10), ConnectionClosedError)
    assert time.monotonic() - begin < 10


def test_a_frozen_request_ends_when_its_time_is_over(
    proxied: Any, fault_proxy: FaultProxy, bucket: str, key: str
) -> None:
    fault_proxy.fault(("PUT", key), Freeze(0.2))
    with pytest.raises(ConnectionClosedError):
        proxied.put_object(Bucket=bucket, Key=key, Body=b"x")


def test_a_fault_hits_as_often_as_it_should_and_not_before(
    proxied: Any, fault_proxy: FaultProxy, bucket: str, key: str
) -> None:
    fault = fault_proxy.fault(("PUT", key), Answer(503), times=2, skip=1)

    def put(name: str = key) -> int:
        try:
            proxied.put_object(Bucket=bucket, Key=name, Body=b"x")
        except ClientError as error:
            status: int = error.response["ResponseMetadata"]["HTTPStatusCode"]
            return status
        return 200

    assert [put(), put("other"), put(), put(), put()] == [200, 200, 503, 503, 200]
    assert fault.hits == 2


def test_a_fault_for_ever_lasts_until_healed(proxied: Any, fault_proxy: FaultProxy, bucket: str, key: str) -> None:
    fault_proxy.fault(lambda request: request.headers.get("if-none-match") == "*", Answer(409), times=None)
    for _ in range(3):
        assert refused(lambda: proxied.put_object(Bucket=bucket, Key=key, Body=b"", IfNoneMatch="*"))[0] == 409
    proxied.put_object(Bucket=bucket, Key=f"{key}2", Body=b"")
    fault_proxy.heal()
    proxied.put_object(Bucket=bucket, Key=key, Body=b"", IfNoneMatch="*")


def test_a_proxy_that_is_down_refuses_and_comes_back_on_its_port(
    proxied: Any, fault_proxy: FaultProxy, bucket: str, key: str
) -> None:
    endpoint = fault_proxy.endpoint
    proxied.put_object(Bucket=bucket, Key=key, Body=b"x")
    for _ in range(2):
        fault_proxy.down()
        with pytest.raises(EndpointConnectionError):
            proxied.get_object(Bucket=bucket, Key=key)
        fault_proxy.up()
        assert read(proxied, bucket, key) == b"x"
    assert fault_proxy.endpoint == endpoint


def test_a_proxy_that_goes_down_breaks_what_is_under_way(
    proxied: Any, fault_proxy: FaultProxy, bucket: str, key: str
) -> None:
    fault_proxy.fault(("PUT", key), Delay(60))
    with ThreadPoolExecutor(1) as thread:
        put = thread.submit(proxied.put_object, Bucket=bucket, Key=key, Body=b"x")
        wait_for(lambda: fault_proxy.count() == 1, "the request")
        fault_proxy.down()
        assert isinstance(put.exception(10), ConnectionClosedError)


def test_the_target_can_be_changed(
    moto_server: Moto, proxied: Any, direct: Any, fault_proxy: FaultProxy, bucket: str, key: str
) -> None:
    fault_proxy.target = moto_server.endpoint
    moto_server.bucket(bucket)
    proxied.put_object(Bucket=bucket, Key=key, Body=b"x")
    assert not exists(direct, bucket, key)


def test_the_proxy_hangs_up_where_the_server_is_gone(
    proxied: Any, fault_proxy: FaultProxy, bucket: str, key: str
) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        fault_proxy.target = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(ConnectionClosedError):
            proxied.get_object(Bucket=bucket, Key=key)
    assert fault_proxy.requests[0].status is None


# Terraform

BACKEND = """
terraform {{
  backend "s3" {{
    bucket                      = "{bucket}"
    key                         = "{key}"
    region                      = "us-east-1"
    endpoints                   = {{ s3 = "{endpoint}" }}
    use_path_style              = true
    use_lockfile                = true
    skip_credentials_validation = true
    skip_metadata_api_check     = true
    skip_region_validation      = true
    skip_requesting_account_id  = true
  }}
}}
resource "terraform_data" "a" {{
  input = "ü and more"
}}
"""


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("terraform") is None, reason="needs Terraform")
@pytest.mark.parametrize("kind", ["bucket", "versioned_bucket"])
def test_terraform_keeps_its_state_and_its_lock_through_the_proxy(
    request: pytest.FixtureRequest,
    seaweed: SharedSeaweed,
    fault_proxy: FaultProxy,
    direct: Any,
    tmp_path: Path,
    key: str,
    kind: str,
) -> None:
    bucket = request.getfixturevalue(kind)
    (tmp_path / "main.tf").write_text(BACKEND.format(bucket=bucket, key=key, endpoint=fault_proxy.endpoint))
    environ = {name: os.environ[name] for name in ("PATH", "TMPDIR") if name in os.environ}
    environ |= seaweed.environ | {"HOME": str(tmp_path), "CHECKPOINT_DISABLE": "1"}

    def terraform(*arguments: str) -> subprocess.CompletedProcess[str]:
        argv = ["terraform", *arguments, "-input=false", "-no-color"]
        return subprocess.run(argv, cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=120, check=False)

    for arguments in (["init"], ["apply", "-auto-approve"]):
        done = terraform(*arguments)
        assert done.returncode == 0, done.stdout + done.stderr
    assert "ü and more" in read(direct, bucket, key).decode()
    assert not exists(direct, bucket, f"{key}.tflock")
    changes = [(r.method, r.path, r.status) for r in fault_proxy.requests if r.method in ("PUT", "DELETE")]
    lock, state = f"/{bucket}/{key}.tflock", f"/{bucket}/{key}"
    assert changes == [("PUT", lock, 200), ("PUT", state, 200), ("DELETE", lock, 204)]
    assert next(r for r in fault_proxy.requests if r.path == lock).headers["if-none-match"] == "*"

    direct.put_object(Bucket=bucket, Key=f"{key}.tflock", Body=b'{"ID": "somebody"}')
    refusal = terraform("apply", "-auto-approve")
    assert refusal.returncode == 1
    assert "Error acquiring the state lock" in refusal.stderr
    assert "somebody" in refusal.stderr
