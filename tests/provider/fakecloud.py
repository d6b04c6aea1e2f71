"""The Terraform provider `tfops/fakecloud`: servers, records, buckets, volumes and images, outside the state.

`install` writes the program that starts it. A Terraform that is killed leaves it behind, as it leaves real providers:
it ends its call and then waits, until its process group is killed.
"""

import base64
import hashlib
import json
import os
import ssl
import threading
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, ClassVar

import grpc
from tf.blocks import SetNestedBlock
from tf.gen import grpc_controller_pb2, grpc_controller_pb2_grpc, grpc_stdio_pb2_grpc, tfplugin_pb2, tfplugin_pb2_grpc
from tf.iface import (
    Config,
    CreateContext,
    DataSource,
    DeleteContext,
    ImportContext,
    PlanContext,
    Provider,
    ReadContext,
    ReadDataContext,
    Resource,
    State,
    UpdateContext,
)
from tf.provider import ProviderServicer
from tf.schema import Attribute, Block, NestedBlock, Schema
from tf.types import Map, Number, Set, String, Unknown
from tf.utils import Diagnostics, read_dynamic_value, to_dynamic_value

from . import Cloud

WRITES_AFTER = {"start": 0.0, "middle": 0.5, "end": 1.0}  # the part of a delay that lies before the writing

Context = CreateContext | ReadContext | UpdateContext | DeleteContext | ReadDataContext


class Call:
    """One call to the cloud, with the faults that are set for it; every error becomes a diagnostic."""

    def __init__(self, cloud: Cloud, context: Context, verb: str, name: str) -> None:
        self._cloud = cloud
        self._diagnostics = context.diagnostics
        self._verb = verb
        self._says = f"{verb} {context.type_name} {name}"
        self._keys = (f"{verb}:{name}", verb)
        self._control = cloud.control()

    @contextmanager
    def answered(self) -> Iterator[bool]:
        """Delays and errors around what the call does; yields whether it shall do it at all."""
        before, after = self._delays()
        refused = self._cloud.refused(self._verb)
        if refused is None:
            time.sleep(before)
        if refused or self._is_told("fail"):
            self._refuse(refused or "failed")
            yield False
            return
        yield True
        time.sleep(after)
        if self._is_told("fail_after_write"):
            self._refuse("failed after it was done")

    def _delays(self) -> tuple[float, float]:
        seconds = self._control.get("delay_seconds", {})
        delay = next((seconds[key] for key in self._keys if key in seconds), 0)
        before = delay * WRITES_AFTER[self._control.get("write_at", "middle")]
        return before, delay - before

    def _is_told(self, fault: str) -> bool:
        return any(key in self._control.get(fault, []) for key in self._keys)

    def _refuse(self, how: str) -> None:
        self._diagnostics.add_error(f"{self._says}: {how}", "The cloud was told so by its control.json.")


class CloudResource(Resource):
    """What all resources do; the kinds differ in their attributes."""

    kind: ClassVar[str]
    attributes: ClassVar[list[Attribute]]
    blocks: ClassVar[list[NestedBlock]] = []

    def __init__(self, provider: "FakeCloud") -> None:
        self._provider = provider

    @classmethod
    def get_name(cls) -> str:
        return cls.kind

    @classmethod
    def get_schema(cls) -> Schema:
        # Without a version the SDK warns of an upgrade whenever it reads a state.
        return Schema(attributes=cls.attributes, block_types=cls.blocks, version=0)

    def computed(self, id_: str) -> State:
        """What the cloud decides where the code says nothing."""
        return {"id": id_}

    def derived(self, values: State) -> State:
        """What follows from the other values, and is kept nowhere."""
        return {}

    def create(self, ctx: CreateContext, planned: State) -> State | None:
        id_ = f"{self.kind}-{uuid.uuid4().hex[:12]}"
        made = self.computed(id_) | {key: value for key, value in planned.items() if value is not Unknown}
        with self._provider.call(ctx, "create", made["name"]) as is_done:
            if is_done:
                self._write(ctx, "create", made)
        return made | self.derived(made) if is_done else None

    def read(self, ctx: ReadContext, current: State) -> State | None:
        with self._provider.call(ctx, "read", current["name"]) as is_done:
            return self._find(current["id"]) if is_done else current

    def update(self, ctx: UpdateContext, current: State, planned: State) -> State:
        if self._find(current["id"]) is None:
            ctx.diagnostics.add_error(f"update {ctx.type_name} {current['name']}: there is no {current['id']}")
            return current
        made = {key: value for key, value in planned.items() if value is not Unknown}
        with self._provider.call(ctx, "update", planned["name"]) as is_done:
            if is_done:
                self._write(ctx, "update", made)
        return made | self.derived(made) if is_done else current

    def delete(self, ctx: DeleteContext, current: State) -> State | None:
        with self._provider.call(ctx, "delete", current["name"]) as is_done:
            # A delete of what is gone already is fine, and was not done by this call.
            if is_done and self._provider.cloud.remove(self.kind, current["id"]):
                self._provider.cloud.note("delete", ctx.type_name, current["id"], current["name"])
        return None if is_done else current

    def import_(self, ctx: ImportContext, id: str) -> State | None:
        found = self._find(id)
        if found is None:
            ctx.diagnostics.add_error(f"import {ctx.type_name}: there is no {id}")
        return found

    def _write(self, ctx: Context, verb: str, values: State) -> None:
        self._provider.cloud.write(self.kind, values["id"], values)
        self._provider.cloud.note(verb, ctx.type_name, values["id"], values["name"])

    def _find(self, id_: str) -> State | None:
        found = self._provider.cloud.read(self.kind, id_)
        if found is None:
            return None
        blocks = {block.type_name: found.get(block.type_name) or [] for block in self.blocks}
        values = {attribute.name: found.get(attribute.name) for attribute in self.attributes} | blocks
        return values | self.derived(values)


class Server(CloudResource):
    """A server: every type of argument there is."""

    kind = "server"
    attributes: ClassVar = [
        Attribute("id", String(), computed=True),
        Attribute("name", String(), required=True),
        Attribute("size", Number(), optional=True),
        Attribute("tags", Map(String()), optional=True),
        Attribute("password", String(), optional=True, sensitive=True),
        Attribute("region", String(), optional=True, computed=True, default="north", requires_replace=True),
        Attribute("ip", String(), computed=True),
    ]

    def computed(self, id_: str) -> State:
        """An address that follows from the id."""
        number = int(id_.removeprefix("server-")[:6], 16)
        return {"id": id_, "ip": f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}"}


class Record(CloudResource):
    """A name in a zone; `ttl` may be left to the cloud."""

    kind = "record"
    attributes: ClassVar = [
        Attribute("id", String(), computed=True),
        Attribute("name", String(), required=True),
        Attribute("value", String(), required=True),
        Attribute("ttl", Number(), optional=True, computed=True),
    ]

    def computed(self, id_: str) -> State:
        """The ttl that the cloud gives."""
        return {"id": id_, "ttl": 300}


class Bucket(CloudResource):
    """A bucket: a JSON text, a set, and blocks that are a set."""

    kind = "bucket"
    attributes: ClassVar = [
        Attribute("id", String(), computed=True),
        Attribute("name", String(), required=True),
        Attribute("policy", String(), optional=True),
        Attribute("zones", Set(String()), optional=True),
    ]
    blocks: ClassVar = [
        SetNestedBlock(
            "rule",
            Block(attributes=[Attribute("port", Number(), required=True), Attribute("cidr", String(), optional=True)]),
        )
    ]


class ListNestedBlock(SetNestedBlock):
    """Blocks that keep their order; the SDK has sets of them only."""

    def to_pb(self) -> Any:
        block = super().to_pb()
        block.nesting = tfplugin_pb2.Schema.NestedBlock.NestingMode.LIST
        return block

    def semantically_equal(self, a_decoded: Any, b_decoded: Any) -> bool:
        return bool(a_decoded == b_decoded)


class Volume(CloudResource):
    """A volume: an etag that moves with every change, whoever makes it, and blocks in order and out of order."""

    kind = "volume"
    attributes: ClassVar = [
        Attribute("id", String(), computed=True),
        Attribute("name", String(), required=True),
        Attribute("size", Number(), optional=True),
        Attribute("settings", String(), optional=True),
        Attribute("zone", String(), optional=True, requires_replace=True),
        Attribute("etag", String(), computed=True),
    ]
    blocks: ClassVar = [
        ListNestedBlock(
            "mount",
            Block(attributes=[Attribute("path", String(), required=True), Attribute("mode", String(), optional=True)]),
        ),
        SetNestedBlock(
            "grant",
            Block(
                attributes=[
                    Attribute("who", String(), required=True),
                    Attribute("token", String(), optional=True, sensitive=True),
                ]
            ),
        ),
    ]

    def derived(self, values: State) -> State:
        """The etag, of all that can be said of the volume."""
        said = {key: value for key, value in values.items() if key not in {"id", "etag"} and value}
        said["grant"] = sorted(json.dumps(grant, sort_keys=True) for grant in values["grant"])
        return {"etag": hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()[:12]}

    def plan(self, ctx: PlanContext, current: State, planned: State) -> State:
        """Where anything changes, the etag is known after it."""
        return planned if planned == current else planned | {"etag": Unknown}


class Image(DataSource):
    """An image that somebody else publishes, by name."""

    def __init__(self, provider: "FakeCloud") -> None:
        self._provider = provider

    @classmethod
    def get_name(cls) -> str:
        return "image"

    @classmethod
    def get_schema(cls) -> Schema:
        return Schema(
            attributes=[Attribute("name", String(), required=True), Attribute("version", String(), computed=True)]
        )

    def read(self, ctx: ReadDataContext, config: Config) -> State | None:
        with self._provider.call(ctx, "read", config["name"]) as is_done:
            found = self._provider.cloud.read("image", config["name"]) if is_done else None
        if is_done and found is None:
            ctx.diagnostics.add_error(f"read {ctx.type_name}: there is no image {config['name']}")
        return found and {"name": config["name"], "version": found["version"]}


class FakeCloud(Provider):
    """The provider: it knows where the cloud is, once it is configured."""

    cloud: Cloud

    def call(self, context: Context, verb: str, name: str) -> AbstractContextManager[bool]:
        """Around what a call does: its delays and errors."""
        self.cloud.arrive(verb, context.type_name, name)
        return Call(self.cloud, context, verb, name).answered()

    def get_model_prefix(self) -> str:
        return "fakecloud_"

    def full_name(self) -> str:
        return "registry.terraform.io/tfops/fakecloud"

    def get_provider_schema(self, diags: Diagnostics) -> Schema:
        return Schema(attributes=[Attribute("root", String(), optional=True)])

    def validate_config(self, diags: Diagnostics, config: Config) -> None:
        """Any directory will do; that there is one is asked when it is needed."""

    def configure_provider(self, diags: Diagnostics, config: Config) -> None:
        root = config["root"] or os.environ.get("FAKECLOUD_ROOT")
        if not isinstance(root, str):
            diags.add_error("fakecloud: no root", "Give `root` or FAKECLOUD_ROOT: the directory of the cloud.")
            return
        self.cloud = Cloud(Path(root))
        self.cloud.root.mkdir(parents=True, exist_ok=True)

    def get_resources(self) -> list[type[Resource]]:
        return [Server, Record, Bucket, Volume]

    def get_data_sources(self) -> list[type[DataSource]]:
        return [Image]


class Servicer(ProviderServicer):
    """The SDK's, with defaults that hold in every plan: its own hold in that of a create."""

    def PlanResourceChange(self, request: Any, context: Any) -> Any:
        config = read_dynamic_value(request.config) or {}
        defaults = {
            name: attribute.default
            for name, attribute in self._get_res_attrs(request.type_name).items()
            if attribute.default is not Unknown and config.get(name) is None
        }
        proposed = read_dynamic_value(request.proposed_new_state)
        if proposed is not None:
            request.proposed_new_state.CopyFrom(to_dynamic_value(proposed | defaults))
        return super().PlanResourceChange(request, context)


class Controller(grpc_controller_pb2_grpc.GRPCControllerServicer):
    """Terraform's wish that the process ends."""

    def __init__(self) -> None:
        self.is_over = threading.Event()

    def Shutdown(self, request: Any, context: Any) -> Any:
        self.is_over.set()
        return grpc_controller_pb2.Empty()


class Stdio(grpc_stdio_pb2_grpc.GRPCStdioServicer):
    """The stream of what the provider prints: nothing."""

    def StreamStdio(self, request: Any, context: Any) -> Any:
        return iter(())


def main(identity: Path) -> None:
    """Serve until Terraform says Shutdown. `identity` holds a private key and its certificate.

    The SDK's own `run_provider` is not used: it stops at StopProvider, which Terraform sends at an interrupt while
    calls are running, and Terraform then loses their answers. Here StopProvider changes nothing. The program that
    starts this has SIGINT ignored, as go-plugin ignores it: a terminal sends it to the whole process group.
    """
    # Calls take a thread each: as many as Terraform's -parallelism, and StopProvider beside them.
    server = grpc.server(ThreadPoolExecutor(max_workers=256))
    controller = Controller()
    tfplugin_pb2_grpc.add_ProviderServicer_to_server(Servicer(FakeCloud()), server)
    grpc_controller_pb2_grpc.add_GRPCControllerServicer_to_server(controller, server)
    grpc_stdio_pb2_grpc.add_GRPCStdioServicer_to_server(Stdio(), server)
    # A port, not a socket file: that would stay behind when the process is killed, and its path may be 107 bytes long.
    pem = identity.read_text()
    certificate = pem[pem.index("-----BEGIN CERTIFICATE") :]
    port = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([(pem.encode(), certificate.encode())]))
    server.start()
    # go-plugin's handshake: its version, Terraform's protocol, the address, the certificate without padding.
    der = base64.b64encode(ssl.PEM_cert_to_DER_cert(certificate)).decode().rstrip("=")
    print(f"1|6|tcp|127.0.0.1:{port}|grpc|{der}", flush=True)  # noqa: T201  (the handshake)
    controller.is_over.wait()
    server.stop(grace=0.5).wait()
    os._exit(0)  # at once, as real providers do, though a call may be running
