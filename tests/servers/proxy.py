"""A reverse proxy that sees every request, and breaks the ones it is told to.

What it forwards, it forwards byte for byte: the Host header above all, because signatures cover it.
"""

import socket
import threading
from collections.abc import Callable, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass
from email.utils import formatdate
from http.client import HTTPException, HTTPResponse
from typing import BinaryIO, Self, assert_never
from urllib.parse import urlsplit
from xml.sax.saxutils import escape

from tests.servers import port_of, reserve_ports

FORWARD_SECONDS = 120.0
JOIN_SECONDS = 10.0
CODES = {
    403: "AccessDenied",
    404: "NoSuchKey",
    409: "ConditionalRequestConflict",
    412: "PreconditionFailed",
    500: "InternalError",
    503: "SlowDown",
}
# These belong to one connection. The proxy reads an answer to its end and frames it anew.
HOP_BY_HOP = ("connection", "keep-alive", "transfer-encoding")


@dataclass(kw_only=True)
class Request:
    """A request as it came in. `path` and `query` are still percent-encoded; header names are in lower case."""

    number: int
    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    length: int  # of the body, without the frame of chunks
    status: int | None = None  # what the client was or would have been told; None: nothing


@dataclass(frozen=True)
class Delay:
    """Forward the request after some time."""

    seconds: float


@dataclass(frozen=True)
class Cut:
    """Close the connection; the server never sees the request."""


@dataclass(frozen=True)
class Answer:
    """Answer with an S3 error; the server never sees the request. `code` defaults to the usual one of the status."""

    status: int
    code: str | None = None
    message: str = "This answer comes from a test."


@dataclass(frozen=True)
class DropAnswer:
    """Let the server do its work, and close the connection instead of telling the client."""


@dataclass(frozen=True)
class Freeze:
    """Say nothing until the time is over or `thaw` is called, then close; the server never sees the request."""

    seconds: float


Action = Delay | Cut | Answer | DropAnswer | Freeze
Match = Callable[[Request], bool] | tuple[str, str]


@dataclass
class Fault:
    """An action that waits for its requests."""

    match: Match
    action: Action
    times: int | None
    skip: int
    hits: int = 0

    def hit(self, request: Request) -> bool:
        """Whether this request is to suffer; counts."""
        if (self.times is not None and self.hits >= self.times) or not matches(self.match, request):
            return False
        if self.skip > 0:
            self.skip -= 1
            return False
        self.hits += 1
        return True


def matches(match: Match, request: Request) -> bool:
    """Whether a request has the method (`*` is any) and the part of a path, or pleases the function."""
    if callable(match):
        return match(request)
    method, part = match
    return method in ("*", request.method) and part in request.path


class FaultProxy:
    """A proxy in front of `target`, which may be changed at any time. Where the target is unreachable, it hangs up."""

    def __init__(self, target: str) -> None:
        self.target = target
        self._lock = threading.RLock()
        self._requests: list[Request] = []
        self._count = 0
        self._faults: list[Fault] = []
        self._thaw = threading.Event()
        self._ended = threading.Event()
        self._ports: list[socket.socket] = []
        self._listener: socket.socket | None = None
        self._clients: set[socket.socket] = set()
        self._servers: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []

    @property
    def endpoint(self) -> str:
        """The address for clients; it stays the same until `stop`."""
        return f"http://127.0.0.1:{port_of(self._ports[0])}"

    def start(self) -> None:
        """Begin to listen."""
        self._ended.clear()
        self._ports = reserve_ports(1)
        self.up()

    def stop(self) -> None:
        """Hang up everywhere, and return when all threads have ended."""
        self._ended.set()
        self.thaw()
        self.down()
        with self._lock:
            _hang_up(self._servers)
        for thread in self._threads:
            thread.join(JOIN_SECONDS)
        self._threads = []
        for held in self._ports:
            held.close()
        self._ports = []

    def down(self) -> None:
        """Refuse new connections, and close the ones there are."""
        with self._lock:
            listener, self._listener = self._listener, None
            if listener is not None:
                _hang_up({listener})  # wakes the thread that waits in accept()
                listener.close()
            _hang_up(self._clients)

    def up(self) -> None:
        """Listen again, on the same port."""
        with self._lock:
            if self._listener is None:
                listener = socket.socket()
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                listener.bind(self._ports[0].getsockname())
                listener.listen(128)
                self._listener = listener
                self._spawn(self._accept, listener)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    @property
    def requests(self) -> list[Request]:
        """Every request since the start or the last `clear`, in the order of arrival."""
        with self._lock:
            return list(self._requests)

    def count(self, match: Match = ("*", "")) -> int:
        """How many of the recorded requests match."""
        return sum(matches(match, request) for request in self.requests)

    def clear(self) -> None:
        """Forget the recorded requests; their numbers go on."""
        with self._lock:
            self._requests.clear()

    def fault(self, match: Match, action: Action, times: int | None = 1, skip: int = 0) -> Fault:
        """Do `action` to the next `times` requests that match (None: to all), after `skip` of them.

        A request suffers one action: that of the first fault that wants it.
        """
        made = Fault(match, action, times, skip)
        with self._lock:
            self._faults.append(made)
        return made

    def heal(self) -> None:
        """Forget all faults."""
        with self._lock:
            self._faults.clear()

    def thaw(self) -> None:
        """Close the connections of all frozen requests."""
        with self._lock:
            frozen, self._thaw = self._thaw, threading.Event()
        frozen.set()

    def _spawn(self, target: Callable[[socket.socket], None], argument: socket.socket) -> None:
        thread = threading.Thread(target=target, args=(argument,), daemon=True)
        with self._lock:
            self._threads = [one for one in self._threads if one.is_alive()] + [thread]
            thread.start()

    def _accept(self, listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                client, _ = listener.accept()
                with self._lock:
                    if self._listener is not listener:
                        client.close()
                        return
                    self._clients.add(client)
                    self._spawn(self._serve, client)

    def _serve(self, client: socket.socket) -> None:
        try:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with client.makefile("rb") as reader, suppress(OSError, HTTPException):
                while (message := _read_message(client, reader)) is not None:
                    answer = self._answer(message)
                    if answer is None:
                        return
                    client.sendall(answer)
                    if message.last:
                        return
        finally:
            with self._lock:
                self._clients.discard(client)
            _hang_up({client})
            client.close()

    def _answer(self, message: "_Message") -> bytes | None:
        """What to tell the client; None to hang up."""
        request = message.request
        action = self._record(request)
        match action:
            case None:
                return self._forward(message)
            case Delay(seconds):
                return None if self._ended.wait(seconds) else self._forward(message)
            case Cut():
                return None
            case Freeze(seconds):
                self._freeze(seconds)
                return None
            case Answer():
                request.status = action.status
                return _error(action, request)
            case DropAnswer():
                self._forward(message)
                return None
        assert_never(action)

    def _freeze(self, seconds: float) -> None:
        with self._lock:
            thaw = self._thaw
        if not self._ended.is_set():
            thaw.wait(seconds)

    def _record(self, request: Request) -> Action | None:
        with self._lock:
            self._count += 1
            request.number = self._count
            self._requests.append(request)
            return next((fault.action for fault in self._faults if fault.hit(request)), None)

    def _forward(self, message: "_Message") -> bytes:
        target = urlsplit(self.target)
        with closing(socket.create_connection((target.hostname, target.port), FORWARD_SECONDS)) as server:
            with self._lock:
                self._servers.add(server)
            try:
                with suppress(OSError):  # a server may refuse before it has read all; its answer counts
                    server.sendall(message.raw)
                with closing(HTTPResponse(server, method=message.request.method)) as response:
                    response.begin()  # skips "100 Continue"
                    answer = _framed(response, message.request.method)
                    message.request.status = response.status
                    return answer
            finally:
                with self._lock:
                    self._servers.discard(server)


@dataclass(frozen=True)
class _Message:
    """A request with the bytes to forward."""

    request: Request
    raw: bytes
    last: bool  # the client wants no further request on this connection


def _read_message(client: socket.socket, reader: BinaryIO) -> _Message | None:
    """The next request of a connection; None at its end."""
    first = reader.readline()
    if not first.endswith(b"\n"):
        return None
    head = _read_head(reader)
    method, target, version = first.decode("latin-1").split()
    headers = _headers(head)
    if headers.get("expect", "").lower() == "100-continue":
        client.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
    body, length = _read_body(reader, headers)
    path, _, query = target.partition("?")
    request = Request(number=0, method=method, path=path, query=query, headers=headers, length=length)
    last = version == "HTTP/1.0" or headers.get("connection", "").lower() == "close"
    return _Message(request, first + b"".join(head) + body, last)


def _read_head(reader: BinaryIO) -> list[bytes]:
    """Lines to the empty one, which is the last."""
    lines = []
    while True:
        line = reader.readline()
        if not line:
            raise ConnectionError("the connection ended within the headers")
        lines.append(line)
        if not line.strip():
            return lines


def _headers(lines: list[bytes]) -> dict[str, str]:
    headers: dict[str, str] = {}
    for line in lines[:-1]:
        name, _, value = line.decode("latin-1").partition(":")
        name, value = name.strip().lower(), value.strip()
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return headers


def _read_body(reader: BinaryIO, headers: Mapping[str, str]) -> tuple[bytes, int]:
    """The body as it came, and its length without the frame of chunks."""
    if headers.get("transfer-encoding", "").lower() != "chunked":
        length = int(headers.get("content-length", "0"))
        return _exactly(reader, length), length
    raw, length = [], 0
    while True:
        line = reader.readline()
        size = int(line.split(b";")[0], 16) if line else 0
        raw.append(line)
        if size == 0:
            return b"".join(raw + _read_head(reader)), length
        raw.append(_exactly(reader, size + 2))
        length += size


def _exactly(reader: BinaryIO, length: int) -> bytes:
    data = reader.read(length)
    if len(data) != length:
        raise ConnectionError("the connection ended within the body")
    return data


def _framed(response: HTTPResponse, method: str) -> bytes:
    """The whole answer of the server for the client."""
    body = response.read()
    headers = [(name, value) for name, value in response.getheaders() if name.lower() not in HOP_BY_HOP]
    has_body = method != "HEAD" and response.status not in (204, 304)
    if has_body and response.getheader("Content-Length") is None:
        headers.append(("Content-Length", str(len(body))))
    return _message_bytes(response.status, response.reason, headers, body)


def _error(action: Answer, request: Request) -> bytes:
    code = action.code or CODES.get(action.status, "InternalError")
    text = (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f"<Error><Code>{escape(code)}</Code><Message>{escape(action.message)}</Message>"
        f"<Resource>{escape(request.path)}</Resource><RequestId>{request.number:016X}</RequestId></Error>"
    )
    body = text.encode()
    headers = [
        ("Date", formatdate(usegmt=True)),
        ("Content-Type", "application/xml"),
        ("Content-Length", str(len(body))),
        ("x-amz-request-id", f"{request.number:016X}"),
    ]
    return _message_bytes(action.status, code, headers, b"" if request.method == "HEAD" else body)


def _message_bytes(status: int, reason: str, headers: list[tuple[str, str]], body: bytes) -> bytes:
    lines = [f"HTTP/1.1 {status} {reason}", *(f"{name}: {value}" for name, value in headers), "", ""]
    return "\r\n".join(lines).encode("latin-1") + body


def _hang_up(sockets: set[socket.socket]) -> None:
    for one in sockets:
        with suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)
