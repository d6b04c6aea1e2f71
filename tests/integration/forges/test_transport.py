"""The transport: one origin, no token in any message, nothing left out, nothing done twice."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import msgspec
import pytest

from tests.forges.server import Answer, Drop, Request, Server, Slow, route
from tfops.adapters.forges import transport
from tfops.adapters.forges.transport import Transport, next_link
from tfops.forge import ForgeError

TOKEN = "a-very-secret-token"


class Thing(msgspec.Struct):
    """A thing."""

    id: int


class Things(Server):
    """A small API: three things, one a page."""

    @route("GET", "/things")
    def listing(self, request: Request) -> Answer:
        return self.page(request, [{"id": 1}, {"id": 2}, {"id": 3}], most=1)

    @route("GET", "/things/{number}")
    def thing(self, request: Request, number: str) -> Any:
        return {"id": int(number)}

    @route("POST", "/things")
    def new(self, request: Request) -> Answer:
        return Answer(201, request.document)

    @route("PATCH", "/things/{number}")
    def change(self, request: Request, number: str) -> Any:
        return request.document


class Waited(list[float]):
    """The pauses that were made."""


@pytest.fixture
def server() -> Iterator[Things]:
    with Things(TOKEN) as found:
        yield found


@pytest.fixture
def waited() -> Waited:
    return Waited()


@pytest.fixture
def api(server: Things, waited: Waited) -> Transport:
    return Transport(base=server.url, headers={"authorization": f"Bearer {TOKEN}"}, sleep=waited.append)


def code(caught: pytest.ExceptionInfo[ForgeError]) -> str:
    assert TOKEN not in str(caught.value) + repr(caught.value) + caught.value.problems[0].hint
    return caught.value.problems[0].code


def everything(api: Transport) -> list[int]:
    return [thing.id for page in api.pages("/things", list[Thing], following=next_link) for thing in page]


def test_every_page_is_read(api: Transport) -> None:
    assert everything(api) == [1, 2, 3]


def test_more_pages_than_we_read_are_an_error_and_no_shorter_list(
    api: Transport, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport, "MOST_PAGES", 2)
    with pytest.raises(ForgeError) as caught:
        everything(api)
    assert code(caught) == "forge.too_much"


@pytest.mark.parametrize(
    "address",
    [
        "http://127.0.0.1:{other}/things?page=2",
        "http://localhost:{port}/things?page=2",
        "https://127.0.0.1:{port}/things?page=2",
        "//127.0.0.1:{other}/things?page=2",
        "http://127.0.0.1:{port}@127.0.0.1:{other}/things?page=2",
        "http://127.0.0.1:{other}\\@127.0.0.1:{port}/things?page=2",
        "http://127.0.0.1:{port}.example:99999/things",
        "http://[/things",
    ],
    ids=["port", "host", "scheme", "relative", "user", "backslash", "no port", "no address"],
)
def test_a_next_page_elsewhere_never_gets_the_token(api: Transport, server: Things, address: str) -> None:
    with Things(TOKEN) as other:
        there = address.format(port=server.url.rpartition(":")[2], other=other.url.rpartition(":")[2])
        server.fail(("GET", "/things"), Answer(200, [{"id": 1}], {"link": f'<{there}>; rel="next"'}))
        with pytest.raises(ForgeError) as caught:
            everything(api)
        assert code(caught) == "forge.foreign_address"
        assert other.requests == []
    assert len(server.requests) == 1


def test_a_next_page_given_as_a_path_is_read(api: Transport, server: Things) -> None:
    server.fail(("GET", "/things"), Answer(200, [{"id": 1}], {"link": '</things?page=3>; rel="next"'}))
    assert everything(api) == [1, 3]


@pytest.mark.parametrize("status", [301, 302, 307, 308])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_redirect_is_not_followed(api: Transport, server: Things, status: int, method: str) -> None:
    with Things(TOKEN) as other:
        server.fail((method, "/things"), Answer(status, {}, {"location": f"{other.url}/things/1"}))
        with pytest.raises(ForgeError) as caught:
            api.send(method, "/things", {"id": 1}, Thing)
        assert code(caught) == "forge.moved"
        assert other.requests == []
    assert len(server.requests) == 1


def test_too_many_requests_are_repeated_when_the_forge_said(api: Transport, server: Things, waited: Waited) -> None:
    server.fail(("GET", "/things/1"), Answer(429, {}, {"retry-after": "7"}))
    assert api.get("/things/1", Thing) == Thing(id=1)
    assert waited == [7.0]


@pytest.mark.parametrize("headers", [{"retry-after": "3"}, {"x-ratelimit-remaining": "0", "x-ratelimit-reset": "1"}])
def test_githubs_403_for_too_many_requests_is_repeated(api: Transport, server: Things, headers: dict[str, str]) -> None:
    server.fail(("GET", "/things/1"), Answer(403, {}, headers))
    assert api.get("/things/1", Thing) == Thing(id=1)


@pytest.mark.parametrize("status", [403, 429])
def test_a_long_wait_is_not_waited_for(api: Transport, server: Things, waited: Waited, status: int) -> None:
    server.fail(("GET", "/things/1"), Answer(status, {}, {"retry-after": "3600"}), times=None)
    with pytest.raises(ForgeError) as caught:
        api.get("/things/1", Thing)
    assert (code(caught), waited) == ("forge.rate_limited", [])


def test_a_plain_403_is_a_lack_of_permission_and_not_repeated(api: Transport, server: Things, waited: Waited) -> None:
    server.fail(("GET", "/things/1"), 403, times=None)
    with pytest.raises(ForgeError) as caught:
        api.get("/things/1", Thing)
    assert (code(caught), waited) == ("forge.denied", [])


@pytest.mark.parametrize("method", ["GET", "PATCH"])
@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_what_harms_nothing_is_repeated_when_the_forge_breaks(
    api: Transport, server: Things, waited: Waited, method: str, status: int
) -> None:
    server.fail((method, "/things/1"), status, times=2)
    assert api.send(method, "/things/1", {"id": 1}, Thing) == Thing(id=1)
    assert waited == [1.0, 2.0]


def test_a_forge_that_stays_broken_is_given_up(api: Transport, server: Things, waited: Waited) -> None:
    server.fail(("GET", "/things/1"), Answer(503, {}, {"x-request-id": "abc-1"}), times=None)
    with pytest.raises(ForgeError, match=r"503 \(request abc-1\)") as caught:
        api.get("/things/1", Thing)
    assert (code(caught), waited) == ("forge.failed", [1.0, 2.0, 4.0])


@pytest.mark.parametrize("fault", [500, 502, Drop(after=True), Drop()], ids=["500", "502", "done", "dropped"])
def test_what_creates_something_is_never_sent_twice(api: Transport, server: Things, fault: Any) -> None:
    server.fail(("POST", "/things"), fault)
    with pytest.raises(ForgeError):
        api.send("POST", "/things", {"id": 1}, Thing)
    assert len(server.sent("POST")) == 1


def test_what_creates_something_is_sent_again_if_it_was_not_let_in(api: Transport, server: Things) -> None:
    server.fail(("POST", "/things"), Answer(429, {}, {"retry-after": "1"}))
    assert api.send("POST", "/things", {"id": 4}, Thing) == Thing(id=4)


@pytest.mark.parametrize("status", [200, 203])
def test_a_sign_in_page_is_not_taken_for_an_answer(api: Transport, server: Things, status: int) -> None:
    page = Answer(status, content=b"<html>Sign in</html>", media="text/html")
    server.fail(("GET", "/things/1"), page)
    with pytest.raises(ForgeError, match="not with JSON") as caught:
        api.get("/things/1", Thing)
    assert code(caught) == "forge.unexpected"


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"id": "1"}', b'{"id": null}', b"{}", b"[" * 100_000])
def test_an_answer_that_is_no_thing_is_not_understood(api: Transport, server: Things, content: bytes) -> None:
    server.fail(("GET", "/things/1"), Answer(200, content=content))
    with pytest.raises(ForgeError) as caught:
        api.get("/things/1", Thing)
    assert code(caught) == "forge.unexpected"


def test_what_is_not_there_is_none_or_an_error(api: Transport, server: Things) -> None:
    assert api.find("/nothing", Thing) is None
    with pytest.raises(ForgeError) as caught:
        api.get("/nothing", Thing)
    assert code(caught) == "forge.not_found"


def test_a_wrong_token_is_refused_without_being_told(api: Transport, server: Things) -> None:
    wrong = replace(api, headers={"authorization": "Bearer another-secret"})
    with pytest.raises(ForgeError) as caught:
        wrong.get("/things/1", Thing)
    assert caught.value.problems[0].code == "forge.denied"
    assert "another-secret" not in str(caught.value) + caught.value.problems[0].hint


@pytest.mark.parametrize("token", [f"{TOKEN}\n", f"{TOKEN}\r\nx-evil: 1", f"{TOKEN}ü€"])
def test_a_token_that_is_no_header_is_told_by_nobody(api: Transport, server: Things, token: str) -> None:
    with pytest.raises(ForgeError) as caught:
        replace(api, headers={"authorization": f"Bearer {token}"}).get("/things/1", Thing)
    code(caught)


def test_a_forge_that_hangs_up_is_out_of_reach(api: Transport, server: Things) -> None:
    server.fail(("GET", "/things/1"), Drop(), times=None)
    with pytest.raises(ForgeError) as caught:
        api.get("/things/1", Thing)
    assert code(caught) == "forge.unreachable"


def test_a_forge_that_says_nothing_is_out_of_reach(
    api: Transport, server: Things, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport, "TIMEOUT_SECONDS", (1.0, 0.1))
    server.fail(("GET", "/things/1"), Slow(0.4))
    with pytest.raises(ForgeError) as caught:
        api.get("/things/1", Thing)
    assert code(caught) == "forge.unreachable"


def test_a_forge_that_is_not_there_is_out_of_reach(server: Things) -> None:
    with Things(TOKEN) as gone:
        url = gone.url
    with pytest.raises(ForgeError) as caught:
        Transport(base=url, headers={"authorization": f"Bearer {TOKEN}"}).get("/things/1", Thing)
    assert code(caught) == "forge.unreachable"


def test_a_password_in_the_address_is_not_told(server: Things) -> None:
    base = server.url.replace("http://", f"http://user:{TOKEN}@")
    with pytest.raises(ForgeError) as caught:
        Transport(base=base, headers={}).get("/nothing", Thing)
    code(caught)
