"""What many tests of forges begin with."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pytest

from tests.forges.server import Answer, Request
from tests.forges.world import FakeForge
from tfops.forge import Change, Forge, ForgeError


def proposed(fake: FakeForge, branch: str = "feature", *, commits: int = 1, author: str = "alice") -> int:
    """A change of that many commits; its number."""
    for number in range(commits):
        by = fake.people[author].signature
        fake.git.commit(branch, {f"{branch}-{number}.tf": f"# {branch} {number}\n"}, by=by)
    return fake.open(branch, author=author)


def landed(forge: Forge, commit: str, branch: str = "main") -> Change:
    """The change that brought a commit; there must be one."""
    found = forge.landed(commit, branch)
    assert found is not None
    return found


def told(fake: FakeForge, part: str, document: Any, *, status: int = 200, times: int | None = 1) -> None:
    """Answer the next GET whose path ends so with this document."""
    fake.fail(get(part), Answer(status, document), times=times)


def get(part: str) -> Callable[[Request], bool]:
    """The GET requests whose path ends so."""
    return lambda request: request.method == "GET" and request.path.endswith(part)


def without(document: Mapping[str, Any], field: str) -> dict[str, Any]:
    """The document without a field (`a.b` is one of a part)."""
    first, _, rest = field.partition(".")
    if rest:
        return {**document, first: without(document[first], rest)}
    return {name: value for name, value in document.items() if name != first}


@contextmanager
def refused(code: str) -> Iterator[None]:
    """What happens in here ends in a ForgeError of that code."""
    with pytest.raises(ForgeError) as caught:
        yield
    assert caught.value.problems[0].code == code
