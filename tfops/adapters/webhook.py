"""Telling a webhook: one signed HTTP POST an event. What goes wrong is told in the answer, never raised."""

import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, unquote, urlsplit

from tfops.adapters.http import plain_session, shown
from tfops.notification import Delivery, Event, body, headers, signing_key

if TYPE_CHECKING:
    from requests import Response, Session

TRIES = 3
PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 5.0
_TOO_MANY = 429


@dataclass(frozen=True, slots=True, kw_only=True)
class _Answer:
    """How one try ended. `again`: after so many seconds another one makes sense; None: never; 0: it was not said."""

    ok: bool
    words: str
    again: float | None = None


def send(url: str, secret: str | None, event: Event, *, source: str, timeout_seconds: float = 10.0) -> Delivery:
    """Post an event, signed if there is a secret; all tries together take about `timeout_seconds` at most.

    Tried again where the receiver is out of reach, overloaded or failing. No redirect is followed.
    """
    try:
        key = None if secret is None else signing_key(secret)
        session = _session(url)
    except ValueError as error:
        return Delivery(ok=False, detail=str(error))
    content = body(event, source=source)
    deadline = time.monotonic() + timeout_seconds

    def post() -> _Answer:
        signed = headers(event, content, key=key, at=datetime.now(UTC))
        return _post(session, url, content, dict(signed), seconds=max(0.1, deadline - time.monotonic()))

    with session:
        tries, answer = 1, post()
        while (pause := _pause(answer, tries)) is not None and time.monotonic() + pause < deadline:
            time.sleep(pause)
            tries, answer = tries + 1, post()
    tried = f" (tried {tries} times)" if tries > 1 else ""
    return Delivery(ok=answer.ok, detail=f"{shown(url)} {answer.words}{tried}")


def _pause(answer: _Answer, tries: int) -> float | None:
    """How long to wait before another try; None: there is none."""
    if answer.again is None or tries == TRIES:
        return None
    return answer.again or PAUSE_SECONDS * tries


def _session(url: str) -> "Session":
    """Raises ValueError, without the URL in it, where that is none."""
    from requests.auth import HTTPBasicAuth

    parts = _parts(url)
    session = plain_session()
    user = (unquote(parts.username or ""), unquote(parts.password or ""))
    if any(user):
        session.auth = HTTPBasicAuth(*user)
    return session


def _parts(url: str) -> SplitResult:
    with suppress(ValueError):
        parts = urlsplit(url)
        if parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0:  # reading the port checks it
            return parts
    raise ValueError("its url is none: write https://HOST/PATH")


def _post(session: "Session", url: str, content: bytes, signed: dict[str, str], *, seconds: float) -> _Answer:
    from requests import exceptions
    from urllib3.exceptions import HTTPError

    try:
        with session.post(
            url, data=content, headers=signed, timeout=(seconds / 2, seconds / 2), allow_redirects=False, stream=True
        ) as response:
            return _answered(response)
    # Their texts name the URL with all that is secret in it.
    except exceptions.SSLError:
        return _Answer(ok=False, words="cannot prove who it is: its certificate is not accepted")
    except exceptions.ProxyError:
        return _Answer(ok=False, words="is out of reach: the proxy does not let us through", again=0.0)
    except exceptions.Timeout:
        return _Answer(ok=False, words="did not answer in time", again=0.0)
    except exceptions.ConnectionError:
        return _Answer(ok=False, words="is out of reach, or hung up", again=0.0)
    except (OSError, ValueError, HTTPError) as error:
        return _Answer(ok=False, words=f"cannot be called ({type(error).__name__})")


def _answered(response: "Response") -> _Answer:
    status = response.status_code
    words = f"answered {status}"
    if 200 <= status < 300:
        return _Answer(ok=True, words=words)
    if 300 <= status < 400:
        return _Answer(ok=False, words=f"{words}, a redirect, which is not followed")
    if status != _TOO_MANY and status < 500:
        return _Answer(ok=False, words=words)
    pause = _retry_after(response.headers.get("retry-after", ""))
    if pause > LONGEST_PAUSE_SECONDS:
        return _Answer(ok=False, words=f"{words} and asks to wait {pause:.0f} s")
    return _Answer(ok=False, words=words, again=pause)


def _retry_after(text: str) -> float:
    """In seconds; both spellings of HTTP are known, all else counts as not said."""
    try:
        if text.strip().isdecimal():
            return float(text)
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    except (ValueError, OverflowError):
        return 0.0
