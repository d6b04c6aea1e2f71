"""A moto server for this worker, and what stands between it and us."""

from collections.abc import Iterator

import pytest

from tests.integration.buckets import Buckets, buckets_of
from tests.servers.fixtures import moto_server  # noqa: F401  (a fixture)
from tests.servers.moto import Moto
from tests.servers.proxy import FaultProxy


@pytest.fixture
def buckets(moto_server: Moto) -> Iterator[Buckets]:  # noqa: F811
    """Buckets of this worker's moto server."""
    with buckets_of(moto_server) as found:
        yield found


@pytest.fixture
def proxy(moto_server: Moto) -> Iterator[FaultProxy]:  # noqa: F811
    """Sees every request to that server, and breaks the ones it is told to."""
    with FaultProxy(moto_server.endpoint) as found:
        yield found


@pytest.fixture(scope="session")
def careless(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Moto]:
    """A server that ignores conditions: every write overwrites."""
    with Moto(tmp_path_factory.mktemp("careless"), ignore_conditions=True) as found:
        yield found
