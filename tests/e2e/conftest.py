"""Sandboxes for the tests that run the installed command."""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.e2e.sandbox import Sandbox

MakeSandbox = Callable[..., Sandbox]


def _end(sandbox: Sandbox) -> None:
    # Only what this very sandbox started carries its marker.
    for pid in sandbox.processes():
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[Sandbox]:
    """A world of one's own: store, key and trusted runner are there, nothing is committed."""
    made = Sandbox(tmp_path / "world")
    yield made
    _end(made)


@pytest.fixture
def bare_sandbox(tmp_path: Path) -> Iterator[Sandbox]:
    """A world where `tfops init` was never run."""
    made = Sandbox(tmp_path / "world", prepared=False)
    yield made
    _end(made)


@pytest.fixture(scope="module")
def make_sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MakeSandbox]:
    """Makes worlds that the tests of a module share."""
    made: list[Sandbox] = []

    def make(**options: bool) -> Sandbox:
        made.append(Sandbox(tmp_path_factory.mktemp("shared") / "world", **options))
        return made[-1]

    yield make
    for one in made:
        _end(one)
