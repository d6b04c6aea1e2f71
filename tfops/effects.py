"""What Terraform code sets going beside the resources it describes: programs, requests, and the providers it needs."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias

from tfops.blocks import Attribute, Block, label_of, members_of, text_of
from tfops.scanner import Group, Node, Text, unwrapped

EffectKind: TypeAlias = Literal["external", "http", "exec", "provisioner", "action"]

# Settings of providers and backends that start a program: by themselves, or by a file that may name one
# (`credential_process` in the files of AWS).
_STARTS_A_PROGRAM = frozenset(
    {
        *("exec", "credential_process", "shared_config_file", "shared_config_files"),
        *("shared_credentials_file", "shared_credentials_files"),
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """A block by which the code starts a program or sends a request; `detail` is the setting or the provisioner."""

    kind: EffectKind
    address: str
    line: int
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderUse:
    """A provider by the name it has in this module; `source` where this place says it, "" where it is no literal."""

    name: str
    line: int
    source: str | None = None


def effects(blocks: Iterable[Block]) -> Iterator[Effect]:
    """Every block of a file that does something of its own, while planning or while applying."""
    for block in blocks:
        match block:
            case Block(type="data" | "ephemeral", labels=("external" | "http" as kind, name)):
                yield Effect(kind=kind, address=f"{block.type}.{kind}.{name}", line=block.body.line)
            case Block(type="data", labels=("terraform_remote_state", name)):
                yield from _programs(block, f"data.terraform_remote_state.{name}")
            case Block(type="provider", labels=(name,)):
                yield from _programs(block, f"provider.{name}")
            case Block(type="terraform"):
                for backend in (*block.blocks("backend"), *block.blocks("cloud")):
                    yield from _programs(backend, ".".join((backend.type, *backend.labels)))
            case Block(type="resource" | "removed"):
                yield from _provisioners(block)
            case Block(type="action", labels=(kind, name)):
                yield Effect(kind="action", address=f"action.{kind}.{name}", line=block.body.line, detail=kind)
            case Block(type="check"):
                yield from effects(block.blocks("data"))
            case _:
                pass


def providers_used(blocks: Iterable[Block]) -> Iterator[ProviderUse]:
    """Every provider that a file names or needs."""
    for block in blocks:
        match block.type:
            case "terraform":
                for required in block.blocks("required_providers"):
                    yield from _required(required)
            case "provider" if block.labels:
                yield ProviderUse(name=block.labels[0], line=block.body.line)
            case "resource" | "data" | "ephemeral" | "action" | "import":
                if name := _chosen(block):
                    yield ProviderUse(name=name, line=block.body.line)
            case "check":
                yield from providers_used(block.blocks("data"))
            case _:
                pass


def _programs(block: Block, address: str) -> Iterator[Effect]:
    for name in sorted(_STARTS_A_PROGRAM.intersection(_settings(block.body.nodes))):
        yield Effect(kind="exec", address=address, line=block.body.line, detail=name)


def _settings(nodes: Iterable[Node]) -> Iterator[str]:
    """The names of all settings, at any depth, also of blocks that a `dynamic` one makes."""
    for member in members_of(nodes):
        if isinstance(member, Block):
            yield from (member.type, *(member.labels if member.type == "dynamic" else ()))
            yield from _settings(member.body.nodes)
        else:
            yield member.name
            for node in member.value:
                yield from _settings(node.nodes) if isinstance(node, Group) else ()


def _provisioners(block: Block) -> Iterator[Effect]:
    address = ".".join(block.labels) or f"removed.{_written(block.attributes.get('from', ()))}"
    for found in block.blocks("provisioner"):
        detail = found.labels[0] if found.labels else "provisioner"
        yield Effect(kind="provisioner", address=address, line=found.body.line, detail=detail)


def _written(value: Iterable[Node]) -> str:
    return "".join(label_of(node) or "" for node in unwrapped(value))


def _required(block: Block) -> Iterator[ProviderUse]:
    for member in block.members:
        if isinstance(member, Attribute) and member.name:
            line = next((node.line for node in member.value if isinstance(node, Group | Text)), block.body.line)
            yield ProviderUse(name=member.name, line=line, source=_source(member.value))


def _source(value: Iterable[Node]) -> str | None:
    match unwrapped(value):
        case (Group(opened="{", nodes=nodes),):
            named = {member.name: member.value for member in members_of(nodes) if isinstance(member, Attribute)}
            return (text_of(named["source"]) or "") if "source" in named else None
        case _:
            return None


def _chosen(block: Block) -> str:
    """`provider = google-beta.eu` names the provider; else the type does: `aws_instance`."""
    chosen = block.attributes.get("provider", ())[:1]
    if chosen:
        return (label_of(chosen[0]) or "").partition(".")[0]
    return block.labels[0].partition("_")[0] if block.labels else ""
