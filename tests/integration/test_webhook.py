"""Telling a real receiver on loopback: signed, tried again where it helps, bounded in time, and never with a secret."""

import base64
import hashlib
import hmac
import http.client
import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tfops.adapters import apprise_channel, webhook
from tfops.adapters.webhook import TRIES, send, shown
from tfops.notification import Delivery, Event, Kind
from tfops.steps import alerting
from tfops.steps.alerting import deliver

NOW = datetime(2026, 11, 3, 8, 0, tzinfo=UTC)
SOURCE = "urn:tfops:store:0123"
ROOT = Path(__file__).parents[2]
KEY = b"0123456789abcdef0123456789abcdef"
SECRET = "whsec_" + base64.b64encode(KEY).decode()
HIDDEN = ("hush-user", "hush-pass", "hush-query", SECRET, SECRET.removeprefix("whsec_"))
EVENT = Event(
    kind=Kind.DRIFT_OPENED, stack="prod", environment="prod", verdict="modified", on=NOW, occurrence="", address="a.b"
)


@dataclass(kw_only=True)
class Request:
    path: str
    headers: Mapping[str, str]
    body: bytes


Answer = Callable[[BaseHTTPRequestHandler], None]


@dataclass(kw_only=True)
class Receiver:
    """Answers each request by the next of `answers`, and 204 when there are no more."""

    port: int = 0
    answers: list[Answer] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook"

    @property
    def secret_url(self) -> str:
        return f"http://hush-user:hush-pass@127.0.0.1:{self.port}/hook?token=hush-query#part"


def answer(status: int, **headers: str) -> Answer:
    def write(handler: BaseHTTPRequestHandler) -> None:
        text = b"this answer is never shown"
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.send_header("Content-Length", str(len(text)))
        handler.end_headers()
        handler.wfile.write(text)

    return write


def hang_up(handler: BaseHTTPRequestHandler) -> None:
    handler.connection.shutdown(socket.SHUT_RDWR)


def half_an_answer(handler: BaseHTTPRequestHandler) -> None:
    handler.wfile.write(b"HTTP/1.1 20")
    hang_up(handler)


def nonsense(handler: BaseHTTPRequestHandler) -> None:
    handler.wfile.write(b"\x00\x01 not HTTP\r\n\r\n")


def endless_body(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.end_headers()
    with suppress(OSError):
        while True:
            handler.wfile.write(b"x" * 65536)


@pytest.fixture
def receiver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    found = Receiver()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            found.requests.append(Request(path=self.path, headers=headers, body=body))
            self.close_connection = True
            (found.answers.pop(0) if found.answers else answer(204))(self)

        do_GET = do_POST

        def log_message(self, *args: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *args: object) -> None:
            pass

    with Server(("127.0.0.1", 0), Handler) as server:
        found.port = server.server_port
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield found
        server.shutdown()
        thread.join()


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhook, "PAUSE_SECONDS", 0.01)


@pytest.fixture
def silent() -> Iterator[int]:
    """A port whose connections are taken and never answered."""
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        yield server.getsockname()[1]


def post(url: str, secret: str | None = SECRET, **options: float) -> Delivery:
    found = send(url, secret, EVENT, source=SOURCE, **options)
    assert not any(hidden in found.detail for hidden in HIDDEN)
    assert "never shown" not in found.detail
    return found


def is_signed(request: Request, key: bytes) -> bool:
    """As a receiver checks it, written from the specification."""
    content = b".".join(
        (request.headers["webhook-id"].encode(), request.headers["webhook-timestamp"].encode(), request.body)
    )
    expected = base64.b64encode(hmac.digest(key, content, hashlib.sha256)).decode()
    return f"v1,{expected}" in request.headers["webhook-signature"].split(" ")


class TestDelivery:
    def test_a_receiver_gets_the_event_and_can_check_it(self, receiver):
        found = post(receiver.url)
        assert found == Delivery(ok=True, detail=f"{receiver.url} answered 204")
        (request,) = receiver.requests
        assert is_signed(request, KEY)
        assert not is_signed(request, b"another key")
        assert not is_signed(replace(request, body=request.body + b" "), KEY)
        document = json.loads(request.body)
        assert document["id"] == request.headers["webhook-id"] == EVENT.id
        assert request.headers["content-type"] == "application/cloudevents+json; charset=utf-8"
        assert abs(int(request.headers["webhook-timestamp"]) - time.time()) < 60
        assert request.headers["user-agent"] == "tfops"

    def test_a_plain_secret_is_its_own_key(self, receiver):
        post(receiver.url, "plain hush")
        assert is_signed(receiver.requests[0], b"plain hush")

    def test_without_a_secret_it_is_not_signed(self, receiver):
        assert post(receiver.url, None).ok
        assert "webhook-signature" not in receiver.requests[0].headers

    def test_what_is_secret_in_a_url_goes_to_the_receiver_only(self, receiver):
        found = post(receiver.secret_url)
        assert found.detail == f"{receiver.url} answered 204"
        (request,) = receiver.requests
        assert request.path == "/hook?token=hush-query"
        assert base64.b64decode(request.headers["authorization"].removeprefix("Basic ")) == b"hush-user:hush-pass"

    def test_nothing_of_netrc_is_sent(self, receiver, tmp_path, monkeypatch):
        netrc = tmp_path / "netrc"
        netrc.write_text("machine 127.0.0.1 login me password hush\n")
        netrc.chmod(0o600)
        monkeypatch.setenv("NETRC", str(netrc))
        assert post(receiver.url).ok
        assert "authorization" not in receiver.requests[0].headers

    def test_an_answer_without_end_is_not_read(self, receiver):
        receiver.answers = [endless_body]
        begun = time.monotonic()
        assert post(receiver.url, timeout_seconds=5).ok
        assert time.monotonic() - begun < 3


@pytest.mark.usefixtures("quick")
class TestTryingAgain:
    @pytest.mark.parametrize(
        "fault",
        [answer(503), answer(500), answer(429), hang_up, half_an_answer, nonsense],
        ids=["503", "500", "429", "hang_up", "half", "nonsense"],
    )
    def test_a_passing_fault_is_no_failure(self, receiver, fault):
        receiver.answers = [fault, fault]
        found = post(receiver.url)
        assert found == Delivery(ok=True, detail=f"{receiver.url} answered 204 (tried 3 times)")
        assert len({request.headers["webhook-id"] for request in receiver.requests}) == 1
        assert all(is_signed(request, KEY) for request in receiver.requests)

    def test_a_lasting_one_is_given_up(self, receiver):
        receiver.answers = [answer(503) for _ in range(9)]
        assert post(receiver.url) == Delivery(ok=False, detail=f"{receiver.url} answered 503 (tried 3 times)")
        assert len(receiver.requests) == TRIES

    @pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 413, 422])
    def test_a_refusal_is_final(self, receiver, status):
        receiver.answers = [answer(status)]
        assert post(receiver.url) == Delivery(ok=False, detail=f"{receiver.url} answered {status}")
        assert len(receiver.requests) == 1

    @pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
    def test_a_redirect_is_not_followed(self, receiver, status):
        receiver.answers = [answer(status, Location=f"{receiver.url}/hush-query")]
        found = post(receiver.url)
        assert not found.ok
        assert found.detail == f"{receiver.url} answered {status}, a redirect, which is not followed"
        assert [request.path for request in receiver.requests] == ["/hook"]

    def test_a_redirect_to_nowhere_is_one_as_well(self, receiver):
        receiver.answers = [answer(302, Location="http://[::1")]
        assert "a redirect" in post(receiver.url).detail

    @pytest.mark.parametrize("spelling", ["seconds", "date"])
    def test_the_receiver_says_when_to_come_back(self, receiver, spelling):
        date = format_datetime(datetime.now(UTC) + timedelta(seconds=2), usegmt=True)
        receiver.answers = [answer(429, Retry_After="1" if spelling == "seconds" else date)]
        begun = time.monotonic()
        assert post(receiver.url).ok
        assert 0.9 < time.monotonic() - begun < 4

    def test_one_that_asks_for_minutes_is_not_waited_for(self, receiver):
        receiver.answers = [answer(429, Retry_After="600")]
        begun = time.monotonic()
        assert post(receiver.url).detail == f"{receiver.url} answered 429 and asks to wait 600 s"
        assert time.monotonic() - begun < 2
        assert len(receiver.requests) == 1

    @pytest.mark.parametrize("text", ["", "soon", "-1", "1e3", "9" * 400, "Mon, 99 Foo 2026 00:00:00 GMT", "²"])
    def test_nonsense_about_when_to_come_back_breaks_nothing(self, receiver, text):
        receiver.answers = [answer(503, Retry_After=text.encode().decode("latin-1"))]
        assert post(receiver.url).detail.startswith(f"{receiver.url} answered")


class TestBounds:
    def test_a_receiver_that_never_answers_is_given_up(self, silent):
        begun = time.monotonic()
        found = post(f"http://127.0.0.1:{silent}/hook", timeout_seconds=1)
        assert not found.ok
        assert "did not answer in time" in found.detail
        assert time.monotonic() - begun < 3

    @pytest.mark.usefixtures("quick")
    def test_nobody_listens(self):
        with closing(socket.create_server(("127.0.0.1", 0))) as server:
            port = server.getsockname()[1]
        found = post(f"http://hush-user:hush-pass@127.0.0.1:{port}/hook?hush-query")
        assert found.detail == f"http://127.0.0.1:{port}/hook is out of reach, or hung up (tried 3 times)"

    @pytest.mark.usefixtures("quick")
    def test_a_proxy_that_is_dead_is_named_as_what_is_in_the_way(self, monkeypatch):
        with closing(socket.create_server(("127.0.0.1", 0))) as server:
            port = server.getsockname()[1]
        monkeypatch.setenv("http_proxy", f"http://hush-user:hush-pass@127.0.0.1:{port}")
        found = post("http://hook.invalid/x")
        assert found.detail == (
            "http://hook.invalid/x is out of reach: the proxy does not let us through (tried 3 times)"
        )

    @pytest.mark.usefixtures("quick")
    def test_a_name_that_does_not_exist(self):
        assert "is out of reach" in post("http://hook.invalid/x").detail

    def test_a_receiver_that_cannot_prove_who_it_is(self, receiver):
        """It speaks no TLS at all."""
        assert not post(receiver.url.replace("http://", "https://"), timeout_seconds=1).ok

    @pytest.mark.parametrize(
        "url",
        [
            "",
            "hook",
            "ftp://hush-user@h/x",
            "file:///etc/passwd",
            "http://",
            "http://[::1",
            "http://h:hush-pass/",
            "//h",
        ],
    )
    def test_what_is_no_url_is_refused_and_not_shown(self, url):
        found = post(url)
        assert found == Delivery(ok=False, detail="its url is none: write https://HOST/PATH")

    @pytest.mark.parametrize("url", ["http://exa mple/x", "http://" + "a" * 300 + "/", "http://*/", "http://h\u2028/x"])
    @pytest.mark.usefixtures("quick")
    def test_a_strange_host_is_a_failure_like_any_other(self, url):
        assert not post(url, timeout_seconds=2).ok

    @pytest.mark.parametrize("secret", ["", "whsec_", "whsec_ not base64"])
    def test_a_secret_without_a_key_is_refused_before_anything_is_sent(self, receiver, secret):
        found = post(receiver.url, secret)
        assert not found.ok
        assert found.detail.startswith("its secret")
        assert not receiver.requests


class TestCertificate:
    def test_one_that_nobody_vouches_for_is_not_accepted(self, tmp_path):
        import ssl

        key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
        _self_signed(key, certificate)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        with closing(socket.create_server(("127.0.0.1", 0))) as server:
            threading.Thread(target=_shake_hands, args=(server, context), daemon=True).start()
            url = f"https://127.0.0.1:{server.getsockname()[1]}/hook"
            found = post(url, timeout_seconds=5)
        assert found.detail == f"{url} cannot prove who it is: its certificate is not accepted"


def _shake_hands(server: socket.socket, context) -> None:
    with suppress(OSError):
        connection, _ = server.accept()
        context.wrap_socket(connection, server_side=True)


def _self_signed(key_path, certificate_path) -> None:
    import ipaddress

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    certificate_path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    key_path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("https://u:p@example.org:8443/a/b?c=d#e", "https://example.org:8443/a/b"),
        ("https://u@p@example.org/", "https://example.org/"),
        ("https://example.org?c=d", "https://example.org"),
    ],
)
def test_a_url_is_shown_without_what_is_secret_in_it(url, text):
    assert shown(url) == text


@dataclass(frozen=True, kw_only=True)
class Block:
    """A `notification` block."""

    name: str
    url: str | None = None
    secret_env: str | None = None
    apprise_env: str | None = None


ENVIRON = {"HOOK_SECRET": SECRET}


def tell(*blocks: Block, count: int = 1, environ: Mapping[str, str] = ENVIRON, **options: float) -> list[Delivery]:
    events = [replace(EVENT, address=f"a.b[{number}]") for number in range(count)]
    found = deliver(blocks, events, environ=environ, source=SOURCE, **options)
    assert not any(hidden in each.detail for each in found for hidden in HIDDEN)
    return found


class TestChannels:
    def test_every_event_is_posted_by_itself_and_in_order(self, receiver):
        (found,) = tell(Block(name="ops", url=receiver.url, secret_env="HOOK_SECRET"), count=3)
        assert found == Delivery(ok=True, detail=f"{receiver.url} answered 204", channel="ops")
        assert [json.loads(one.body)["data"]["address"] for one in receiver.requests] == ["a.b[0]", "a.b[1]", "a.b[2]"]
        assert all(is_signed(one, KEY) for one in receiver.requests)

    def test_where_nothing_happened_nobody_is_told(self, receiver):
        assert deliver([Block(name="ops", url=receiver.url)], [], environ={}, source=SOURCE) == []
        assert not receiver.requests

    @pytest.mark.parametrize("environ", [{}, {"HOOK_SECRET": ""}, {"HOOK_SECRET": " \n"}])
    def test_a_secret_that_is_not_set_is_named_and_nothing_goes_out_unsigned(self, receiver, environ):
        (found,) = tell(Block(name="ops", url=receiver.url, secret_env="HOOK_SECRET"), environ=environ)
        assert found == Delivery(ok=False, detail="HOOK_SECRET is not set: set it where tfops runs", channel="ops")
        assert not receiver.requests

    def test_one_channels_failure_is_not_the_others(self, receiver, silent):
        found = tell(
            Block(name="dead", url=f"http://127.0.0.1:{silent}/"),
            Block(name="unset", apprise_env="NOT_SET"),
            Block(name="ops", url=receiver.url),
            deadline_seconds=1.5,
        )
        assert [(each.channel, each.ok) for each in found] == [("dead", False), ("unset", False), ("ops", True)]
        assert found[0].detail == "gave up: there was no answer in time"
        assert found[1].detail == "NOT_SET is not set: set it where tfops runs"

    def test_all_together_end_by_the_deadline(self, silent):
        begun = time.monotonic()
        found = tell(
            *(Block(name=str(n), url=f"http://127.0.0.1:{silent}/") for n in range(5)), count=50, deadline_seconds=1
        )
        assert time.monotonic() - begun < 3
        assert not any(each.ok for each in found)

    def test_one_event_that_is_refused_does_not_hold_back_the_others(self, receiver):
        receiver.answers = [answer(204), answer(413)]
        (found,) = tell(Block(name="ops", url=receiver.url), count=4)
        assert found.detail == f"{receiver.url} answered 413; 3 of 4 events told"
        assert not found.ok
        assert len(receiver.requests) == 4

    def test_a_receiver_that_refuses_all_is_not_asked_for_each(self, receiver):
        receiver.answers = [answer(401) for _ in range(20)]
        (found,) = tell(Block(name="ops", url=receiver.url), count=20)
        assert found.detail == f"{receiver.url} answered 401; 0 of 20 events told"
        assert len(receiver.requests) == alerting.FAILURES_IN_A_ROW

    def test_a_bug_in_a_channel_is_a_failed_delivery(self, receiver, monkeypatch):
        def broken(*args: object, **options: object) -> Delivery:
            raise RuntimeError(SECRET)

        monkeypatch.setattr(alerting, "send", broken)
        (found,) = tell(Block(name="ops", url=receiver.url))
        assert found == Delivery(ok=False, detail="it failed (RuntimeError), which is a bug", channel="ops")

    def test_a_process_ends_while_a_receiver_keeps_it_waiting(self, silent):
        script = f"""
from tests.integration.test_webhook import Block, tell
print(tell(Block(name="x", url="http://127.0.0.1:{silent}/"), deadline_seconds=0.3)[0].detail)
"""
        begun = time.monotonic()
        done = subprocess.run(
            [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=30, check=False
        )
        assert (done.stdout, done.stderr) == ("gave up: there was no answer in time\n", "")
        assert time.monotonic() - begun < 8


@pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")  # apprise looks for it
class TestApprise:
    def block(self, receiver: Receiver, urls: str) -> list[Delivery]:
        place = f"127.0.0.1:{receiver.port}"
        environ = {"CHAT": urls.format(place=place)}
        return tell(Block(name="chat", apprise_env="CHAT"), count=3, environ=environ)

    def test_people_get_one_message(self, receiver):
        receiver.answers = [answer(200)]
        (found,) = self.block(receiver, "json://hush-user:hush-pass@{place}/hook")
        assert found == Delivery(ok=True, detail="sent by apprise", channel="chat")
        (request,) = receiver.requests
        document = json.loads(request.body)
        assert document["title"] == "tfops: prod"
        assert document["message"].splitlines() == [f"prod: a.b[{number}] drifted" for number in range(3)]

    def test_several_urls_are_all_told(self, receiver):
        receiver.answers = [answer(200), answer(200)]
        (found,) = self.block(receiver, "json://{place}/one json://{place}/two")
        assert found.ok
        assert {request.path.strip("/") for request in receiver.requests} == {"one", "two"}

    def test_a_receiver_that_fails_is_a_failed_delivery_without_its_url(self, receiver, caplog, capfd):
        receiver.answers = [answer(500) for _ in range(9)]
        (found,) = self.block(receiver, "json://hush-user:hush-pass@{place}/hook?+X-Token=hush-query")
        assert found == Delivery(ok=False, detail="apprise could not send to all of its URLs", channel="chat")
        shown_anywhere = caplog.text + "".join(capfd.readouterr())
        assert "hush" not in shown_anywhere

    def test_a_url_that_apprise_does_not_know_is_not_shown(self, receiver, caplog, capfd):
        (found,) = self.block(receiver, "nonsense://hush-user:hush-pass@{place}")
        assert found == Delivery(ok=False, detail="apprise does not understand all of its URLs", channel="chat")
        assert "hush" not in caplog.text + "".join(capfd.readouterr())

    def test_where_apprise_is_not_installed_that_is_said(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "apprise", None)
        assert apprise_channel.notify("json://localhost", "t", "x") == Delivery(
            ok=False, detail="apprise is not installed: pip install 'tfops-cli[notify]'"
        )

    def test_a_plugin_that_breaks_is_a_failed_delivery(self, monkeypatch):
        import apprise

        def broken(*args: object, **options: object) -> None:
            raise http.client.HTTPException("hush-pass")

        monkeypatch.setattr(apprise.Apprise, "add", broken)
        assert apprise_channel.notify("json://localhost", "t", "x").detail == "apprise failed (HTTPException)"
