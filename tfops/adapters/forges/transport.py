"""Talking to a forge's API: one origin, typed answers, paging, rate limits, and no token in any message."""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urljoin

import msgspec

from tfops.adapters.http import plain_session, shown
from tfops.forge import ForgeError

if TYPE_CHECKING:
    from requests import Response, Session

Answer = TypeVar("Answer")
TRIES = 4
PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 60.0
MOST_PAGES = 100
TIMEOUT_SECONDS = (5.0, 30.0)
_BUSY = (429, 500, 502, 503, 504)
_REPEATABLE = frozenset({"GET", "PUT", "PATCH", "DELETE"})
_REQUEST_IDS = ("x-github-request-id", "x-request-id", "x-vss-e2eid", "x-b3-traceid")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """An answer of the forge: its status, its headers (names in lower case), its bytes."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    where: str

    @property
    def ok(self) -> bool:
        """Whether it is a 2xx."""
        return 200 <= self.status < 300


@dataclass(frozen=True, kw_only=True)
class Transport:
    """The API of one forge below `base`. `headers` authenticate; nothing is ever sent to another origin.

    `sleep` waits; `say` tells the person that we wait.
    """

    base: str
    headers: Mapping[str, str]
    sleep: Callable[[float], None] = time.sleep
    say: Callable[[str], None] = lambda message: None
    _requests: list[str] = field(default_factory=list)

    @cached_property
    def _session(self) -> "Session":
        return plain_session()

    @property
    def requests_sent(self) -> int:
        """How many requests were sent."""
        return len(self._requests)

    def get(self, path: str, kind: type[Answer], **params: str | int) -> Answer:
        """One document; raises ForgeError for anything but a 2xx that reads as `kind`."""
        return decoded(self._good(self.call("GET", path, params=params)), kind)

    def find(self, path: str, kind: type[Answer], **params: str | int) -> Answer | None:
        """One document; None where the forge says 404."""
        reply = self.call("GET", path, params=params)
        return None if reply.status == 404 else decoded(self._good(reply), kind)

    def send(self, method: str, path: str, body: object, kind: type[Answer], **params: str | int) -> Answer:
        """Send a document and read the answer."""
        return decoded(self._good(self.call(method, path, params=params, body=body)), kind)

    def pages(
        self,
        path: str,
        kind: type[Answer],
        *,
        following: Callable[[Reply, Answer], str | None],
        **params: str | int,
    ) -> Iterator[Answer]:
        """Every page of a listing. `following` gives the address of the next one, or None after the last.

        Raises ForgeError where there are too many rather than leaving some out.
        """
        reply = self._good(self.call("GET", path, params=params))
        for _ in range(MOST_PAGES):
            page = decoded(reply, kind)
            yield page
            address = following(reply, page)
            if address is None:
                return
            reply = self._good(self.call("GET", address))
        raise ForgeError(
            f"{shown(self._url(path))} has more than {MOST_PAGES} pages",
            code="forge.too_much",
            hint="what is asked about this change cannot be read whole; approve the waiting plan with `tfops approve`",
        )

    def call(
        self, method: str, path: str, *, params: Mapping[str, str | int] | None = None, body: object = None
    ) -> Reply:
        """Send a request; a busy forge is asked again where that harms nothing. Raises ForgeError without an answer."""
        url = self._url(path)
        for number in range(1, TRIES + 1):
            reply = self._once(method, url, params or {}, body)
            pause = self._pause(method, reply, number)
            if pause is None:
                return reply
            self.say(f"the forge is busy, trying again in {pause:.0f} s")
            self.sleep(pause)
        raise AssertionError("the last try has no pause")

    def _url(self, path: str) -> str:
        """The address of a path below `base`, or of a whole address that the forge gave; of the same origin only."""
        url = path if "://" in path else f"{self.base.rstrip('/')}/{path.lstrip('/')}"
        if _origin(url) != _origin(self.base):
            raise ForgeError(
                f"the forge points to {_origin(url)}, which is not {_origin(self.base)}: nothing was sent there",
                code="forge.foreign_address",
                hint="if the forge is behind that address, name it: forge { url = … }",
            )
        return url

    def _once(self, method: str, url: str, params: Mapping[str, str | int], body: object) -> Reply:
        from requests import exceptions

        self._requests.append(f"{method} {shown(url)}")
        headers = {"accept": "application/json", **self.headers}
        data = None
        if body is not None:
            headers["content-type"] = "application/json"
            data = msgspec.json.encode(body)
        try:
            answer = self._session.request(
                method, url, params=dict(params), data=data, headers=headers, timeout=TIMEOUT_SECONDS
            )
        except (exceptions.RequestException, OSError, ValueError) as error:  # its text may name the URL with a token
            raise ForgeError(
                f"{shown(url)} is out of reach ({type(error).__name__})",
                code="forge.unreachable",
                hint="check the network and forge { url = … }; nothing was taken for approved",
            ) from None
        return self._reply(answer, url)

    def _reply(self, answer: "Response", url: str) -> Reply:
        headers = {name.lower(): value for name, value in answer.headers.items()}
        return Reply(status=answer.status_code, headers=headers, body=answer.content, where=shown(url))

    def _pause(self, method: str, reply: Reply, number: int) -> float | None:
        """How long to wait before the same request is sent again; None: it is not."""
        limited = _is_limited(reply)
        if number == TRIES or not (limited or (reply.status in _BUSY and method in _REPEATABLE)):
            return None
        pause = _asked_pause(reply) if limited else None
        pause = PAUSE_SECONDS * 2 ** (number - 1) if pause is None else pause
        return pause if pause <= LONGEST_PAUSE_SECONDS else None

    def _good(self, reply: Reply) -> Reply:
        if reply.ok:
            return reply
        raise refusal(reply)


def decoded(reply: Reply, kind: type[Answer]) -> Answer:
    """The answer as a value; raises ForgeError where it is no JSON or lacks what we need."""
    media = reply.headers.get("content-type", "")
    if "json" not in media and not (kind is Any or reply.status == 204):
        raise ForgeError(
            f"{reply.where} answered {reply.status} with {media.split(';')[0] or 'nothing'}, not with JSON",
            code="forge.unexpected",
            hint="a sign-in page, or no API at this address: check the token and forge { url = … }",
        )
    try:
        return msgspec.json.decode(reply.body or b"null", type=kind)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise ForgeError(
            f"{reply.where} answered something that tfops does not understand: {error}",
            code="forge.unexpected",
            hint="nothing was taken for approved; is this the forge that tfops.hcl names, in a version of today?",
        ) from error


def refusal(reply: Reply) -> ForgeError:
    """What an answer that is no success means."""
    request_id = next((reply.headers[name] for name in _REQUEST_IDS if name in reply.headers), None)
    where = f"{reply.where} answered {reply.status}{f' (request {request_id})' if request_id else ''}"
    if _is_limited(reply):
        return ForgeError(f"{where}: too many requests", code="forge.rate_limited", hint="run again later")
    if 300 <= reply.status < 400:
        return ForgeError(
            f"{where}: it points elsewhere, and nothing was sent there",
            code="forge.moved",
            hint="if the repository has another name now, write it: forge { repository = … }; else check url",
        )
    if reply.status in (401, 403):
        wanted = reply.headers.get("x-accepted-github-permissions")
        return ForgeError(
            f"{where}: the token does not allow it",
            code="forge.denied",
            hint=f"it needs {wanted}" if wanted else "docs/forges.md says which permissions the token needs",
        )
    if reply.status == 404:
        return ForgeError(
            f"{where}: it is not there, or the token may not see it",
            code="forge.not_found",
            hint="check forge { repository = … } and what the token may read",
        )
    return ForgeError(where, code="forge.failed", hint="run again; nothing was taken for approved")


def next_link(reply: Reply, page: object) -> str | None:
    """The `next` address in a Link header (RFC 8288)."""
    from requests.utils import parse_header_links

    links = parse_header_links(reply.headers.get("link", ""))
    found = next((link["url"] for link in links if link.get("rel") == "next"), None)
    try:
        return None if found is None else urljoin(reply.where, found)
    except ValueError:
        return found  # no address at all: whoever sends it will say so


def _is_limited(reply: Reply) -> bool:
    """Whether the forge wants fewer requests; GitHub says so with 403, too."""
    spent = reply.headers.get("x-ratelimit-remaining") == "0" or "retry-after" in reply.headers
    return reply.status == 429 or (reply.status == 403 and spent)


def _asked_pause(reply: Reply) -> float | None:
    """The seconds that the forge asks to wait; None where it does not say."""
    after = reply.headers.get("retry-after", "")
    if after.isdecimal():
        return float(after)
    reset = reply.headers.get("x-ratelimit-reset", reply.headers.get("ratelimit-reset", ""))
    return max(0.0, float(reset) - time.time()) if reset.isdecimal() else None


def _origin(url: str) -> str:
    """Scheme, host and port. Read by what sends the request: two readings of one address could name two hosts."""
    from urllib3.exceptions import LocationParseError
    from urllib3.util import parse_url

    try:
        parts = parse_url(url)
    except LocationParseError:
        return "an address that is none"
    return f"{parts.scheme}://{parts.host}:{parts.port or {'https': 443, 'http': 80}.get(parts.scheme or '')}"
