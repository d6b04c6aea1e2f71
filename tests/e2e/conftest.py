"""Sandboxes for the tests that run the installed command."""

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.e2e.drift_world import World, Worlds, deploy
from tests.e2e.sandbox import BucketWorld, Sandbox
from tests.killing.table import end_processes
from tests.nursery import Nursery
from tests.provider.install import install
from tests.servers.fixtures import moto_server  # noqa: F401  (a fixture)
from tests.servers.moto import Moto

MakeSandbox = Callable[..., Sandbox]


def _end(sandbox: Sandbox) -> None:
    # Only what this very sandbox started carries its marker.
    for pid in sandbox.processes():
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


@pytest.fixture(scope="session", autouse=True)
def nursery() -> Iterator[None]:
    """All runs of this worker that nobody has to see start come out of one nursery."""
    if sys.platform != "linux":
        yield
        return
    with Nursery() as Sandbox.nursery:
        yield
    Sandbox.nursery = None


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


@pytest.fixture(scope="session")
def fakecloud(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The CLI configuration that makes the provider `tfops/fakecloud` known to Terraform."""
    return install(tmp_path_factory.mktemp("fakecloud"))


@pytest.fixture(scope="session")
def moto_bucket(moto_server: Moto) -> BucketWorld:  # noqa: F811
    """A bucket of this worker's moto server; each world that lies in it has a prefix of its own."""
    return BucketWorld(name=moto_server.bucket("worlds"), endpoint=moto_server.endpoint, environ=moto_server.environ)


@pytest.fixture(scope="module")
def worlds(tmp_path_factory: pytest.TempPathFactory, fakecloud: Path) -> Iterator[Worlds]:
    """The worlds that the tests of this module begin with."""
    made = Worlds(directory=tmp_path_factory.mktemp("worlds"), settings=fakecloud)
    yield made
    made.end()


@pytest.fixture
def world(worlds: Worlds) -> World:
    """One stack, applied."""
    return worlds.begin("plain", deploy)


@pytest.fixture
def s3_world(worlds: Worlds, tmp_path: Path, moto_bucket: BucketWorld) -> Iterator[World]:
    """One stack whose store is a bucket, applied."""
    made = deploy(worlds.new(tmp_path / "world", bucket=moto_bucket))
    yield made
    end_processes(made.sandbox)


@pytest.fixture(params=["local", "s3"])
def either(request: pytest.FixtureRequest) -> World:
    """One stack, applied, on each kind of store."""
    made: World = request.getfixturevalue("world" if request.param == "local" else "s3_world")
    return made
