"""What Terraform code sets going beside the resources it describes: programs, requests, and the providers it needs."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias

from tfops.blocks import Attribute, Block, label_of, members_of, text_of
from tfops.programs import is_computed, programs, requests
from tfops.scanner import Group, Node, Text, unwrapped

EffectKind: TypeAlias = Literal["external", "http", "exec", "provisioner", "action"]

# Data sources that run a program to read what they give: of hashicorp/external, hashicorp/local, scottwinkler/shell.
_PROGRAM_DATA = frozenset({"external", "local_command", "shell_script"})


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
            case Block(type="data" | "ephemeral", labels=(kind, name)) if kind in _PROGRAM_DATA:
                yield Effect(kind="external", address=f"{block.type}.{kind}.{name}", line=block.body.line)
            case Block(type="data" | "ephemeral", labels=("http", name)):
                yield Effect(kind="http", address=f"{block.type}.http.{name}", line=block.body.line)
            case Block(type="data", labels=("terraform_remote_state", name)):
                yield from _remote_state(block)
            case Block(type="provider", labels=(name,)):
                yield from _programs(block)
            case Block(type="terraform"):
                yield from _terraform(block)
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
                for store in block.blocks("state_store"):
                    yield from providers_used(store.blocks("provider"))
            case "provider" if block.labels:
                yield ProviderUse(name=block.labels[0], line=block.body.line)
            case "resource" | "data" | "ephemeral" | "action" | "import":
                if name := _chosen(block):
                    yield ProviderUse(name=name, line=block.body.line)
            case "check":
                yield from providers_used(block.blocks("data"))
            case _:
                pass


def _remote_state(block: Block) -> Iterator[Effect]:
    """Terraform itself reads the state, from a place that the code chooses."""
    yield from _programs(block)
    yield from _requests(block)
    backend = block.attributes.get("backend")
    if backend is not None and text_of(backend) is None:
        yield _effect("exec", block, "backend")
        yield _effect("http", block, "backend")


def _terraform(block: Block) -> Iterator[Effect]:
    """Where the root's own state is. An address sends nothing out while all beside it is literal, too."""
    for found in _of_the_state(block):
        yield from _programs(found)
        yield from _requests(found) if is_computed(found.body.nodes) else ()
        # OpenTofu starts the programs of `key_provider "external"` and `method "external"`.
        if found.type in ("key_provider", "method") and found.labels[:1] == ("external",):
            yield _effect("exec", found, "external")


def _of_the_state(terraform: Block) -> Iterator[Block]:
    for kind in ("backend", "cloud", "state_store"):
        yield from terraform.blocks(kind)
    for encryption in terraform.blocks("encryption"):
        yield from (*encryption.blocks("key_provider"), *encryption.blocks("method"))


def _programs(block: Block) -> Iterator[Effect]:
    return (_effect("exec", block, setting) for setting in programs(block.body.nodes))


def _requests(block: Block) -> Iterator[Effect]:
    return (_effect("http", block, setting) for setting in requests(block.body.nodes))


def _effect(kind: EffectKind, block: Block, detail: str) -> Effect:
    return Effect(kind=kind, address=".".join((block.type, *block.labels)), line=block.body.line, detail=detail)


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
