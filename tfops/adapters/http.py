"""What every HTTP call of ours has in common: nothing is followed elsewhere, and nothing is sent that was not said."""

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from requests import PreparedRequest, Response, Session


def plain_session() -> "Session":
    """A session that follows no redirect and takes no credentials from `~/.netrc`."""
    import requests

    class PlainSession(requests.Session):
        def get_redirect_target(self, resp: "Response") -> None:
            """No answer leads anywhere else: what is meant for one place goes to that place only."""

    session = PlainSession()
    session.headers["user-agent"] = "tfops"
    session.auth = _as_it_is
    return session


def _as_it_is(request: "PreparedRequest") -> "PreparedRequest":
    return request


def shown(url: str) -> str:
    """The URL as it may be printed: without user, password, query and fragment."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
