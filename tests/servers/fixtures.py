"""The servers as pytest fixtures."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers.boto import keep_what_boto_reads
from tests.servers.moto import Moto
from tests.servers.proxy import FaultProxy
from tests.servers.shared import SharedSeaweed, shared_seaweed


def common_directory(factory: pytest.TempPathFactory) -> Path:
    """A directory that all workers of this session have in common, and no other session."""
    base = factory.getbasetemp()
    return base.parent if "PYTEST_XDIST_WORKER" in os.environ else base


@pytest.fixture(scope="session")
def seaweed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SharedSeaweed]:
    """The SeaweedFS that all workers share."""
    keep_what_boto_reads()
    shared = shared_seaweed(common_directory(tmp_path_factory))
    yield shared
    shared.stop()


@pytest.fixture(scope="session")
def moto_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Moto]:
    """A moto server for this worker."""
    keep_what_boto_reads()
    with Moto(tmp_path_factory.mktemp("moto")) as server:
        yield server


@pytest.fixture
def fault_proxy(seaweed: SharedSeaweed) -> Iterator[FaultProxy]:
    """A proxy in front of the SeaweedFS."""
    with FaultProxy(seaweed.endpoint) as proxy:
        yield proxy


@pytest.fixture(scope="session")
def bucket(seaweed: SharedSeaweed) -> str:
    """A bucket of the SeaweedFS; all tests share it, so each works below a prefix of its own."""
    return seaweed.bucket("plain")


@pytest.fixture(scope="session")
def versioned_bucket(seaweed: SharedSeaweed) -> str:
    """A bucket with versioning, shared as well."""
    return seaweed.bucket("versioned", versioned=True)
