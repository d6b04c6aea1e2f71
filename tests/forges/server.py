"""A threaded HTTP server on 127.0.0.1 that a fake forge is made of: routes, tokens, paging, and faults on demand.

A subclass marks its methods with `route`; each gets the request and the parts of its path, and returns an Answer or a
document. Everything that was asked and answered is kept in `exchanges`.
"""

import json
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self, TypeVar
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

Handler = TypeVar("Handler", bound=Callable[..., Any])


@dataclass(frozen=True, kw_only=True)
class Request:
    """A request as it came in. `path` is still percent-encoded; header names are in lower case."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes

    @property
    def document(self) -> Any:
        """The body as JSON; None for no body."""
        return json.loads(self.body) if self.body else None


@dataclass(frozen=True)
class Answer:
    """What is sent back: a document as JSON, or bytes as they are."""

    status: int = 200
    document: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)
    content: bytes | None = None
    media: str = "application/json; charset=utf-8"

    @property
    def body(self) -> bytes:
        """The bytes that are sent."""
        if self.content is not None:
            return self.content
        return b"" if self.status == 204 else json.dumps(self.document).encode()


@dataclass(frozen=True)
class Drop:
    """Close the connection without an answer. `after` lets the forge do its work before."""

    after: bool = False


@dataclass(frozen=True)
class Slow:
    """Answer, but only after some time."""

    seconds: float


@dataclass(frozen=True, kw_only=True)
class Exchange:
    """A request, what it was answered (None: nothing), and the template of the route that it took."""

    request: Request
    answer: Answer | None
    template: str | None


class Refusal(Exception):
    """Raised by a route to answer something else than its result."""

    def __init__(self, status: int, message: str = "refused", **headers: str) -> None:
        super().__init__(message)
        self.answer = Answer(status, {"message": message}, headers)


Match = Callable[[Request], bool] | tuple[str, str]


@dataclass
class Fault:
    """An answer, or none, for the requests that match: the first `skip` pass, then `times` suffer (None: all)."""

    match: Match
    action: Answer | Drop | Slow
    times: int | None = 1
    skip: int = 0
    hits: int = 0

    def hit(self, request: Request) -> bool:
        """Whether this request is to suffer; counts."""
        if (self.times is not None and self.hits >= self.times) or not _matches(self.match, request):
            return False
        if self.skip > 0:
            self.skip -= 1
            return False
        self.hits += 1
        return True


def route(method: str, template: str) -> Callable[[Handler], Handler]:
    """Answer `method` on `template` with this method. `{name}` is one part of the path, `{name:path}` the rest."""

    def mark(handler: Handler) -> Handler:
        handler.__dict__.setdefault("routes", []).append((method, template))
        return handler

    return mark


class Server:
    """The HTTP side of a fake forge. `prefix` stands before every template; `token` lets in.

    Use it as a context manager. `lock` is held while a route runs: what a test changes, it changes under it.
    """

    prefix = ""

    def __init__(self, token: str = "a-forge-token-for-tests") -> None:
        self.token = token
        self.exchanges: list[Exchange] = []
        self.faults: list[Fault] = []
        self.broken: list[Exception] = []
        self.lock = threading.RLock()
        self._routes = list(_routes(self))
        self._http = _Http(("127.0.0.1", 0), _RequestHandler)
        self._http.forge = self
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)

    @property
    def url(self) -> str:
        """What `forge { url = … }` has to say."""
        return f"http://127.0.0.1:{self._http.server_port}"

    @property
    def requests(self) -> list[Request]:
        """Every request that came in, the oldest first."""
        return [exchange.request for exchange in self.exchanges]

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()
        if self.broken:
            raise self.broken[0]

    def fail(self, match: Match, action: Answer | Drop | Slow | int, *, times: int | None = 1, skip: int = 0) -> Fault:
        """Break the requests that match: `(method, part of the path)`, `*` is any method; a number is a status."""
        if isinstance(action, int):
            action = Answer(action, {"message": f"fault {action}"})
        fault = Fault(match, action, times, skip)
        self.faults.append(fault)
        return fault

    def sent(self, method: str = "*", part: str = "") -> list[Request]:
        """The requests that came in with that method and that part of a path."""
        return [request for request in self.requests if _matches((method, part), request)]

    def admits(self, request: Request) -> bool:
        """Whether the request shows the right token, in any of the ways that forges take it."""
        shown = request.headers.get("authorization", "").partition(" ")[2]
        return self.token in (shown, request.headers.get("private-token"))

    def unauthorized(self) -> Answer:
        """What a request without the right token is told."""
        return Answer(401, {"message": "Bad credentials"})

    def not_found(self) -> Answer:
        """What a request for something that is not there is told."""
        return Answer(404, {"message": "Not Found"})

    def before(self) -> None:
        """Called before each request, under the lock."""

    def page(self, request: Request, items: Sequence[Any], *, size: str = "per_page", most: int = 100) -> Answer:
        """One page of a listing, with `Link` and a total; `size` is how this forge calls the page's length."""
        length = min(int(request.query.get(size, 30)), most)
        number = max(int(request.query.get("page", 1)), 1)
        headers = {"x-total-count": str(len(items)), "x-total": str(len(items))}
        if number * length < len(items):
            query = urlencode({**request.query, "page": number + 1})
            last = urlencode({**request.query, "page": -(-len(items) // length)})
            here = f"{self.url}{request.path}"
            headers["link"] = f'<{here}?{query}>; rel="next", <{here}?{last}>; rel="last"'
        return Answer(200, list(items[(number - 1) * length : number * length]), headers)

    def answer(self, request: Request) -> Answer | None:
        """What a request is told; None: the connection is closed."""
        action = self._fault(request)
        if isinstance(action, Slow):
            time.sleep(action.seconds)
        with self.lock:
            template, found = (None, action) if isinstance(action, Answer) else self._routed(request, action)
            self.exchanges.append(Exchange(request=request, answer=found, template=template))
        return found

    def _routed(self, request: Request, action: Drop | Slow | None) -> tuple[str | None, Answer | None]:
        if isinstance(action, Drop) and not action.after:
            return None, None
        template, found = self._worked(request)
        return template, None if isinstance(action, Drop) else found

    def _fault(self, request: Request) -> Answer | Drop | Slow | None:
        with self.lock:
            return next((fault.action for fault in self.faults if fault.hit(request)), None)

    def _worked(self, request: Request) -> tuple[str | None, Answer]:
        if not self.admits(request):
            return None, self.unauthorized()
        for method, template, pattern, handler in self._routes:
            found = pattern.fullmatch(request.path)
            if found and method == request.method:
                return template, self._handled(handler, request, found.groupdict())
        return None, self.not_found()

    def _handled(self, handler: Callable[..., Any], request: Request, parts: Mapping[str, str]) -> Answer:
        try:
            self.before()
            result = handler(request, **{name: unquote(value) for name, value in parts.items()})
        except Refusal as refusal:
            return refusal.answer
        except LookupError:
            return self.not_found()
        return result if isinstance(result, Answer) else Answer(200, result)


def _matches(match: Match, request: Request) -> bool:
    if callable(match):
        return match(request)
    method, part = match
    return method in ("*", request.method) and part in request.path


def _routes(server: Server) -> Iterator[tuple[str, str, re.Pattern[str], Callable[..., Any]]]:
    """The marked methods. Those with fewer names in their template come first: `/pulls/mine` before `/pulls/{n}`."""
    marked = [
        (method, template, getattr(server, name))
        for name in dir(type(server))
        for method, template in getattr(getattr(type(server), name), "routes", ())
    ]
    for method, template, handler in sorted(marked, key=lambda found: (found[1].count("{"), found[1])):
        yield method, template, re.compile(re.escape(server.prefix) + _pattern(template)), handler


def _pattern(template: str) -> str:
    parts = re.split(r"\{(\w+)(:path)?\}", template)
    texts = [re.escape(text) for text in parts[::3]]
    groups = [f"(?P<{name}>{'.+' if rest else '[^/]+'})" for name, rest in zip(parts[1::3], parts[2::3], strict=True)]
    return "".join(text + group for text, group in zip(texts, [*groups, ""], strict=True))


class _Http(ThreadingHTTPServer):
    daemon_threads = True
    forge: Server

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hung up is no error of ours."""


class _RequestHandler(BaseHTTPRequestHandler):
    server: _Http

    def handle_one_request(self) -> None:
        with suppress(ConnectionError):
            super().handle_one_request()

    def _serve(self) -> None:
        forge = self.server.forge
        try:
            answer = forge.answer(self._read())
        except Exception as error:
            answer = Answer(500, {"message": f"the fake broke: {error!r}"}, {"x-fake-broke": "yes"})
            forge.broken.append(error)
        if answer is None:
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name.replace("_", "-"), value)
        body = answer.body
        if answer.status != 204:
            self.send_header("content-type", answer.media)
            self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = _serve

    def _read(self) -> Request:
        parts = urlsplit(self.path)
        return Request(
            method=self.command,
            path=parts.path,
            query=dict(parse_qsl(parts.query, keep_blank_values=True)),
            headers={name.lower(): value for name, value in self.headers.items()},
            body=self.rfile.read(int(self.headers.get("content-length", 0))),
        )

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing on stderr."""
