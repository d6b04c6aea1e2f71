"""A world that drifts: a stack that is deployed once for all tests that begin with it, and put back before each."""

import base64
import json
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.e2e.sandbox import BucketWorld, Result, Sandbox, environment
from tests.killing.table import end_processes
from tests.provider import Cloud
from tests.provider.install import lock_file, provider_at

SERVER, RECORD, BUCKET = "fakecloud_server.a", "fakecloud_record.r", "fakecloud_bucket.b"
SECRET_ENV = "OPS_WEBHOOK_SECRET"
PASSWORD = "pw-of-the-code"
IMAGE = """
data "fakecloud_image" "os" {
  name = "os"
}
resource "fakecloud_record" "image" {
  name  = "image"
  value = data.fakecloud_image.os.version
}
"""
POLICY = '{"Statement":[{"Action":["read","list"],"Effect":"Allow"}]}'


def resources(*, size: int = 1, env: str = "prod", life: str = "", policy: str = POLICY) -> str:
    """A server, a record that reads its address, a bucket with a JSON text, a set and blocks."""
    return f"""
resource "fakecloud_server" "a" {{
  name     = "a"
  size     = {size}
  tags     = {{ env = "{env}" }}
  password = "{PASSWORD}"
  {life}
}}
resource "fakecloud_record" "r" {{
  name  = "r"
  value = fakecloud_server.a.ip
}}
resource "fakecloud_bucket" "b" {{
  name   = "b"
  policy = {json.dumps(policy)}
  zones  = ["x", "y"]
  rule {{
    port = 80
    cidr = "10.0.0.0/8"
  }}
  rule {{
    port = 443
  }}
}}
"""


def told(result: Result) -> dict[str, Any]:
    """The one stack of a result, and the result itself."""
    (line,) = result.json["stacks"]
    return {**line, "result": result}


def tags(found: dict[str, Any]) -> dict[str, list[str]]:
    """The tags of each object, the most serious first."""
    return {item["address"]: list(item["tags"]) for item in found["resources"]}


def words(found: dict[str, Any], address: str = SERVER) -> dict[str, str]:
    """What is said of each attribute of an object."""
    (item,) = (item for item in found["resources"] if item["address"] == address)
    return {one["path"]: one["verdict"] for one in item["attributes"]}


def incidents(found: dict[str, Any]) -> list[tuple[str, int, bool]]:
    """The open incidents: address, how often they were seen, whether that is new."""
    return [(one["address"], one["times_seen"], one["is_new"]) for one in found["incidents"]]


def closed(found: dict[str, Any]) -> list[tuple[str, str]]:
    """The incidents that this scan closed, and as what."""
    return [(one["address"], one["closed_as"]) for one in found["closed_incidents"]]


@dataclass(kw_only=True)
class World:
    """A sandbox with a cloud beside it, and one stack, `dev`, unless a test commits others."""

    sandbox: Sandbox
    cloud: Cloud
    settings: Path

    # ----------------------------------------------------------------- code

    def block(self, name: str = "dev", *, rules: str = "", count: int = 0, **keys: Any) -> str:
        """An environment that knows the provider."""
        written = environment(name, count=count, cli_config=json.dumps(str(self.settings)), **keys)
        return f"{written.rstrip().removesuffix('}')}{rules}\n}}\n"

    def files(self, code: str, root: str = "dev") -> dict[str, str | bytes]:
        """A root module with the provider in it."""
        return {
            f"{root}/main.tf": provider_at(self.cloud.root) + code,
            f"{root}/.terraform.lock.hcl": lock_file(self.settings),
        }

    def commit(
        self,
        code: str | None = None,
        *,
        rules: str = "",
        more: str = "",
        count: int = 0,
        extra: str = "",
        files: dict[str, str | bytes | None] | None = None,
        **arguments: Any,
    ) -> str:
        """Commit the code of `dev`, and the rules of its environment; returns the commit."""
        written = self.files((resources(**arguments) if code is None else code) + more)
        return self.sandbox.stacks(self.block(rules=rules, count=count), {**written, **(files or {})}, extra=extra)

    # ----------------------------------------------------------------- what somebody does by hand

    def server(self) -> dict[str, Any]:
        """The server as it is in the cloud."""
        (found,) = self.cloud.named("a")
        return found

    def edit(self, **changes: object) -> None:
        """Change the server."""
        self.cloud.edit("server", self.server()["id"], **changes)

    def edit_bucket(self, **changes: object) -> None:
        """Change the bucket."""
        (found,) = self.cloud.named("b", "bucket")
        self.cloud.edit("bucket", found["id"], **changes)

    def rewrite(self, change: Callable[[dict[str, Any]], object], *, serial: int = 1, stack: str = "dev") -> None:
        """Write another state."""
        state = self.sandbox.state(stack)
        change(state)
        state["serial"] += serial
        data = json.dumps(state).encode()
        if self.sandbox.bucket is None:
            self.sandbox.state_file(stack).write_bytes(data)
        else:
            self.sandbox.bucket.open().put(self.sandbox.state_key(stack), data)

    # ----------------------------------------------------------------- commands

    def terraform(self, *arguments: str, stack: str = "dev") -> "subprocess.Popen[str]":
        """Start a plain Terraform on the state of a stack, as somebody would who helps himself."""
        (place,) = self.sandbox.cache.glob(f"*/{stack}/sync")
        env = {"TF_DATA_DIR": str(place / "data"), "TF_CLI_CONFIG_FILE": str(self.settings)}
        return subprocess.Popen(
            ["terraform", *arguments],
            cwd=place / "tree" / stack,
            env=self.sandbox.env | env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def by_hand(self, *arguments: str) -> str:
        """A plain Terraform to its end."""
        process = self.terraform(*arguments)
        said, _ = process.communicate(timeout=60)
        assert process.returncode == 0, said
        return said

    def drift(self, *arguments: str | Path, expect: int | None) -> dict[str, Any]:
        """What a scan says of the one stack it looks at."""
        result = self.sandbox.json("drift", *arguments)
        assert expect in (None, result.code), result
        return told(result)

    def text(self, *arguments: str | Path, expect: int) -> str:
        """What a scan tells a person, in one line."""
        result = self.sandbox.tfops("drift", *arguments, env={"COLUMNS": "400"})
        assert result.code == expect, result
        return " ".join(result.out.split())

    def record(self, stack: str = "dev") -> dict[str, Any]:
        """What the store remembers of a stack's scans."""
        data = self.sandbox.objects.get(f"{stack}/drift/last.json")
        assert data is not None
        found: dict[str, Any] = json.loads(data)
        return found

    def is_left_clean(self) -> None:
        """No process of this world lives, and no lock is held."""
        assert self.sandbox.processes() == {}
        assert self.sandbox.json("lock", "list").json["stacks"] == []
        assert self.sandbox.state_locks() == []


def instance(state: dict[str, Any], address: str = SERVER) -> dict[str, Any]:
    """The one instance of a resource in a state."""
    type_, _, name = address.partition(".")
    (found,) = (item for item in state["resources"] if (item["type"], item["name"]) == (type_, name))
    one: dict[str, Any] = found["instances"][0]
    return one


def drop(state: dict[str, Any], address: str) -> None:
    """Take a resource out of a state."""
    type_, _, name = address.partition(".")
    state["resources"] = [item for item in state["resources"] if (item["type"], item["name"]) != (type_, name)]


Prepare = Callable[[World], object]


@dataclass(kw_only=True)
class Worlds:
    """Worlds by how they begin: each is prepared once, kept as a copy, and put back from that for every test."""

    directory: Path
    settings: Path
    made: dict[str, World] = field(default_factory=dict)

    def new(self, place: Path, *, bucket: BucketWorld | None = None) -> World:
        """A world in which nothing is committed."""
        sandbox = Sandbox(place, bucket=bucket)
        world = World(sandbox=sandbox, cloud=Cloud(sandbox.directory / "cloud"), settings=self.settings)
        world.cloud.misbehave()
        world.sandbox.env[SECRET_ENV] = "whsec_" + base64.b64encode(b"0" * 32).decode()
        return world

    def begin(self, name: str, prepare: Prepare) -> World:
        """The world of that name, as it was when it was prepared."""
        if name not in self.made:
            world = self.new(self.directory / name)
            prepare(world)
            shutil.copytree(world.sandbox.directory, self._copy(name), symlinks=True)
            self.made[name] = world
            return world
        world = self.made[name]
        self.end([world])
        shutil.rmtree(world.sandbox.directory)
        shutil.copytree(self._copy(name), world.sandbox.directory, symlinks=True)
        return world

    def end(self, worlds: Iterable[World] | None = None) -> None:
        """End whatever they left running."""
        for world in self.made.values() if worlds is None else worlds:
            end_processes(world.sandbox)

    def _copy(self, name: str) -> Path:
        return self.directory / f"{name}.copy"


def deploy(world: World, **commit: Any) -> World:
    """Commit and apply."""
    world.commit(**commit)
    world.sandbox.sync(expect=0)
    return world


@dataclass(kw_only=True)
class Receiver:
    """Who is told: a webhook on this machine."""

    url: str
    events: list[dict[str, Any]] = field(default_factory=list)
    status: int = 204

    @property
    def kinds(self) -> list[str]:
        """What happened, and to what."""
        return [f"{event['type'].removeprefix('dev.tfops.')} {event['subject']}" for event in self.events]

    @property
    def block(self) -> str:
        """Its block in tfops.hcl."""
        return f'notify "ops" {{\n  url        = "{self.url}"\n  secret_env = "{SECRET_ENV}"\n}}\n'


@contextmanager
def receiver() -> Iterator[Receiver]:
    """A webhook that listens."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            found.events.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(found.status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *arguments: object) -> None:
            """Nothing is logged."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        found = Receiver(url=f"http://127.0.0.1:{server.server_port}/hook")
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield found
        finally:
            server.shutdown()
