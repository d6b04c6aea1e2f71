"""What was said between tfops and a fake, held against the forge's own OpenAPI document."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import pytest
from openapi_core import OpenAPI
from openapi_core.datatypes import RequestParameters
from openapi_core.templating.paths.exceptions import PathError

from tests.forges import swagger
from tests.forges.server import Exchange

SPECS = Path(__file__).parents[3] / "shared" / "corpus" / "forge-specs"
HOST = "https://forge.example"


@dataclass(frozen=True, kw_only=True)
class _Request:
    host_url: str
    path: str
    method: str
    parameters: RequestParameters
    content_type: str
    body: bytes | None


@dataclass(frozen=True, kw_only=True)
class _Response:
    data: bytes
    status_code: int
    content_type: str
    headers: dict[str, Any]


@cache
def _spec(name: str) -> tuple[OpenAPI, bool]:
    """The document, and whether it knows of null: Gitea's is made from Go, and says of nothing that it may be null."""
    path = SPECS / name
    if not path.exists():
        pytest.skip(f"the corpus is not at {path}")
    text = path.read_text(encoding="utf-8-sig")  # Microsoft's begin with a byte order mark
    document = msgspec.json.decode(text)
    document = swagger.openapi(document) if "swagger" in document else document
    document["servers"] = [{"url": HOST}]
    _let_null_through(document)
    _forget_security(document)
    if name.startswith("bb-"):  # Bitbucket's own examples leave `type` out of what is sent
        del document["components"]["schemas"]["object"]["required"]
    return OpenAPI.from_dict(document), '"nullable"' in text


def _forget_security(node: Any) -> None:
    """Who is let in is tested elsewhere, and not every way is known to the library."""
    if isinstance(node, dict):
        node.pop("security", None)
    for child in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        _forget_security(child)


def _let_null_through(node: Any) -> None:
    """Where one of several kinds or null is allowed, the library forgets about null: name it as one more kind."""
    if isinstance(node, dict):
        for kinds in (node.get("oneOf"), node.get("anyOf")):
            if node.get("nullable") and isinstance(kinds, list):
                kinds.append({"type": "string", "nullable": True, "enum": [None]})
    for child in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        _let_null_through(child)


def check(exchanges: Iterable[Exchange], spec: str, *, prefix: str) -> int:
    """Raise where a request or an answer is not what the document says; returns how many exchanges it knows.

    Skips the test where the corpus is not at hand. What a test made up (a fault) is no answer of the fake.
    """
    openapi, knows_null = _spec(spec)
    return sum(
        _checked(exchange, openapi, prefix, knows_null) for exchange in exchanges if exchange.template is not None
    )


def _checked(exchange: Exchange, openapi: OpenAPI, prefix: str, knows_null: bool) -> bool:
    request = _request(exchange, prefix)
    try:
        openapi.validate_request(request)
    except PathError:
        return False
    if exchange.answer is not None and exchange.answer.status < 400:
        answer = exchange.answer
        response = _Response(
            data=answer.body if knows_null else _without_nulls(answer.body),
            status_code=answer.status,
            content_type="application/json",
            headers=dict(answer.headers),
        )
        openapi.validate_response(request, response)
    return True


def _without_nulls(content: bytes) -> bytes:
    def cleaned(node: Any) -> Any:
        if isinstance(node, dict):
            return {name: cleaned(value) for name, value in node.items() if value is not None}
        return [cleaned(value) for value in node] if isinstance(node, list) else node

    return msgspec.json.encode(cleaned(msgspec.json.decode(content))) if content else content


def _request(exchange: Exchange, prefix: str) -> _Request:
    asked = exchange.request
    headers = {**asked.headers, **{name.title(): value for name, value in asked.headers.items()}}
    return _Request(
        host_url=HOST,
        path=asked.path.removeprefix(prefix).rstrip("/"),
        method=asked.method.lower(),
        parameters=RequestParameters(query=dict(asked.query), header=headers),  # type: ignore[arg-type]
        content_type=asked.headers.get("content-type", "application/json"),
        body=asked.body or None,
    )
