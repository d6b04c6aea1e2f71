"""The kill table: kill -9 of tfops at every single step to the outside. The next sync converges, nothing twice.

A step is a request that changes the store, a file written or removed, a program started. With a store in a directory
all of them are tried. Those on files are the same with a store in a bucket, where only the others are. As a module it
makes a whole table and says how it went: `python -m tests.e2e.test_every_step s3|local|changed`.
"""

import json
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import count
from pathlib import Path

import pytest

from tests.e2e.sandbox import BucketWorld, Sandbox, environment
from tests.killing.table import (
    HISTORY,
    TWICE,
    Check,
    Deployments,
    Table,
    kill_table,
    recorded_creations,
)
from tests.nursery import Nursery
from tests.provider import Cloud
from tests.provider.install import install, lock_file, provider_at
from tests.servers.moto import Moto
from tfops.adapters.s3 import Bucket

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("terraform") is None, reason="no terraform on PATH"),
    pytest.mark.skipif(sys.platform != "linux", reason="processes are found in /proc"),
]

CHUNKS = 4
BEYOND_FILES = ("http.client.send", "subprocess.Popen")
SERVERS = """
resource "fakecloud_server" "a" { name = "a" }
resource "fakecloud_server" "b" {
  name = "b"
  tags = { after = fakecloud_server.a.id }
}
"""
CHANGED = SERVERS.replace('name = "a"', 'name = "a"\n  size = 2\n').replace("{ name", "{\n  name")
CHANGED += 'resource "fakecloud_server" "c" {\n  name = "c"\n}\n'
DATA = """
resource "terraform_data" "a" { input = "one" }
resource "terraform_data" "b" { input = terraform_data.a.id }
"""


def cloud_of(world: Sandbox) -> Cloud:
    """The cloud that a world's code fills."""
    return Cloud(world.directory / "cloud")


class OneClient(BucketWorld):
    """A bucket that is opened once for all that look into it: a client takes longer to make than to use."""

    @cached_property
    def _opened(self) -> Bucket:
        return super().open()

    def open(self) -> Bucket:
        """The bucket itself."""
        return self._opened


class Worlds:
    """Makes worlds with one stack, `prod`, below a directory."""

    def __init__(self, directory: Path, settings: Path, bucket: BucketWorld) -> None:
        self._directory = directory
        self._settings = settings
        self._bucket = OneClient(name=bucket.name, endpoint=bucket.endpoint, environ=bucket.environ)
        self._numbers = count()

    def local(self) -> Sandbox:
        """A store in a directory, and a stack whose resources lie in the state only."""
        world = self._sandbox()
        world.stacks(environment("prod"), {"prod/main.tf": DATA})
        return world

    def s3(self) -> Sandbox:
        """A store in a bucket, and a stack of two servers."""
        world = self._sandbox(self._bucket)
        self._commit(world, SERVERS)
        return world

    def changed(self) -> Sandbox:
        """The same, deployed; and then the code was changed: one server more, and one that grows."""
        world = self.s3()
        world.sync(expect=0)
        self._commit(world, CHANGED)
        return world

    def _sandbox(self, bucket: BucketWorld | None = None) -> Sandbox:
        return Sandbox(self._directory / f"world{next(self._numbers)}", bucket=bucket)

    def _commit(self, world: Sandbox, code: str) -> None:
        block = environment("prod", cli_config=json.dumps(str(self._settings)))
        code = provider_at(cloud_of(world).root) + code
        world.stacks(block, {"prod/main.tf": code, "prod/.terraform.lock.hcl": lock_file(self._settings)})


def servers(*names: str) -> Check:
    """A check: these servers are in the cloud and in the state, and none was ever created twice."""

    def check(world: Sandbox, deployments: Deployments) -> Iterator[tuple[str, str]]:
        cloud = cloud_of(world)
        created = Counter(entry["name"] for entry in cloud.log("create"))
        if created != Counter(names):
            yield TWICE, f"created in the cloud: {created}"
        in_state = world.resources("prod")
        if set(cloud.objects()) != set(in_state.values()):
            yield TWICE, f"in the cloud: {cloud.objects()}; in the state: {in_state}"
        recorded = recorded_creations(deployments)
        if recorded != Counter(f"fakecloud_server.{name}" for name in names):
            yield HISTORY, f"created by the records: {recorded}"

    return check


def two_data(world: Sandbox, deployments: Deployments) -> Iterator[tuple[str, str]]:
    """A check: both are in the state, and were made once."""
    both = {"terraform_data.a", "terraform_data.b"}
    if (in_state := set(world.resources("prod"))) != both:
        yield TWICE, f"in the state: {in_state}"
    if (recorded := recorded_creations(deployments)) != Counter(both):
        yield HISTORY, f"created by the records: {recorded}"


@dataclass(frozen=True, kw_only=True)
class Life:
    """A table to make: what is killed, what must be found then, and which points are tried."""

    make: Callable[[Worlds], Sandbox]
    check: Check
    only: tuple[str, ...] = ()
    applies: int = 1
    stride: int = 1

    def table(self, worlds: Worlds, *, chunk: int = 0, chunks: int = 1) -> Table:
        """The table, or a part of it: every `chunks`-th of its points."""
        return kill_table(
            lambda: self.make(worlds),
            self.check,
            only=self.only,
            first=1 + chunk * self.stride,
            stride=self.stride * chunks,
            applies=self.applies,
        )


LIVES = {
    "s3": Life(make=Worlds.s3, check=servers("a", "b"), only=BEYOND_FILES),
    "local": Life(make=Worlds.local, check=two_data),
    "changed": Life(make=Worlds.changed, check=servers("a", "b", "c"), only=BEYOND_FILES, applies=2, stride=2),
}


@pytest.fixture
def worlds(tmp_path: Path, fakecloud: Path, moto_bucket: BucketWorld) -> Iterator[Worlds]:
    """Makes worlds; they are a hundred and more, so nothing of them is kept."""
    yield Worlds(tmp_path, fakecloud, moto_bucket)
    shutil.rmtree(tmp_path)


@pytest.mark.parametrize("chunk", range(CHUNKS))
@pytest.mark.parametrize("life", LIVES)
def test_kill_9_at_any_step_harms_nothing(worlds: Worlds, life: str, chunk: int) -> None:
    table = LIVES[life].table(worlds, chunk=chunk, chunks=CHUNKS)
    sys.stdout.write(f"{table}\n")
    assert table.points
    assert not table.bad, "\n".join([str(table), *map(str, table.bad)])


def table(name: str) -> Table:
    """A whole table, with a server of its own."""
    with tempfile.TemporaryDirectory() as place, Moto(Path(place) / "moto") as moto, Nursery() as Sandbox.nursery:
        bucket = BucketWorld(name=moto.bucket("bucket"), endpoint=moto.endpoint, environ=moto.environ)
        worlds = Worlds(Path(place), install(Path(place) / "provider"), bucket)
        return LIVES[name].table(worlds)


if __name__ == "__main__":
    made = table(sys.argv[1])
    sys.stdout.write("\n".join([*map(str, made.bad), str(made)]) + "\n")
    sys.exit(bool(made.bad))
