"""What GitHub and Gitea have in common: the ends of a pull request, comments on issues, statuses on commits."""

from collections.abc import Callable, Iterable

import msgspec

from tfops.adapters.forges.texts import mark, shortened
from tfops.adapters.forges.transport import Transport
from tfops.forge import Change, Status


class Repo(msgspec.Struct):
    """A repository."""

    full_name: str


class Base(msgspec.Struct):
    """Where a pull request goes."""

    ref: str
    repo: Repo


class Head(msgspec.Struct):
    """Where a pull request comes from."""

    ref: str
    sha: str


class Author(msgspec.Struct):
    """Who wrote a comment."""

    id: int


class Comment(msgspec.Struct):
    """A comment; its author's account may be gone."""

    id: int
    user: Author | None
    body: str


class Written(msgspec.Struct):
    """What was made by a request."""

    id: int


def put_comment(
    api: Transport,
    here: str,
    change: Change,
    key: str,
    body: str,
    *,
    comments: Iterable[Comment],
    our_id: Callable[[], int],
) -> None:
    """Write our comment below `here`, or put `body` in the place of our earlier one among `comments` with this key.

    Ours is what begins with our mark and was written with this token's account, which is asked for only then.
    """
    begin = mark(key)
    text = f"{begin}\n{body}"
    own = (one for one in comments if one.body.startswith(begin) and one.user is not None and one.user.id == our_id())
    ours = next(own, None)
    if ours is None:
        api.send("POST", f"{here}/issues/{change.number}/comments", {"body": text}, Written)
    else:
        api.send("PATCH", f"{here}/issues/comments/{ours.id}", {"body": text}, Written)


def put_status(api: Transport, here: str, change: Change, status: Status, *, longest: int) -> None:
    """Put a status on the head of a change; its description is cut to `longest` characters."""
    body = {
        "state": status.state.value,
        "context": status.context,
        "description": shortened(status.description, longest),
    } | ({"target_url": status.url} if status.url else {})
    api.send("POST", f"{here}/statuses/{change.head}", body, Written)
