"""What Terraform files say about everything outside them: modules, paths, backends, states, providers.

`scan` is pure and judges nothing. Where a value is an expression it keeps what is certain about it (a prefix,
or only that it is unknown), so that a reader of facts can take a superset of what Terraform will read.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias

from tfops.blocks import Attribute, Block, Members, Scalar, label_of, members_of, scalar_of, text_of
from tfops.effects import Effect, ProviderUse, effects, providers_used
from tfops.references import PathReference, references
from tfops.scanner import Group, Node, Text, beginning, decoded, parse, split, unwrapped
from tfops.scanner_json import parse_json

Product: TypeAlias = Literal["terraform", "tofu"]
Attributes: TypeAlias = tuple[tuple[str, Scalar], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModuleCall:
    """A `module` block. `source` is None where it is an expression that begins with `source_prefix`."""

    name: str
    source: str | None
    source_prefix: str = ""
    version: str | None
    line: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Backend:
    """A `backend` or `cloud` block; nested names are dotted; `dynamic`: some value is not literal."""

    type: str
    attributes: Attributes
    dynamic: bool
    line: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteState:
    """A `terraform_remote_state` data source; `dynamic` as in Backend, for any of its attributes."""

    name: str
    backend: str | None
    config: Attributes
    workspace: str | None
    dynamic: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What one file says. Equal `providers_key`s need no new `terraform init` on account of this file."""

    modules: tuple[ModuleCall, ...]
    paths: tuple[PathReference, ...]
    unknown_paths: bool
    backend: Backend | None
    remote_states: tuple[RemoteState, ...]
    required_version: tuple[str, ...]
    providers_key: str
    effects: tuple[Effect, ...]
    providers: tuple[ProviderUse, ...]


def scan(data: bytes, path: str) -> Facts:
    """The facts of a `.tf`, `.tofu`, `.tf.json` or `.tofu.json` file.

    Raises ConfigError `modules.unreadable`, naming path and line, for a file that Terraform could not read.
    """
    text = decoded(data, path)
    nodes = parse_json(text, path) if path.endswith(".json") else parse(text, path)
    return _facts(tuple(members_of(nodes)))


def ignored_changes(data: bytes, path: str) -> dict[str, tuple[str, ...]]:
    """The attributes that `lifecycle.ignore_changes` names, by `type.name`; `("all",)` for all of them.

    Raises ConfigError like `scan`.
    """
    text = decoded(data, path)
    nodes = parse_json(text, path) if path.endswith(".json") else parse(text, path)
    resources = [member for member in members_of(nodes) if isinstance(member, Block) and member.type == "resource"]
    found = {".".join(block.labels): _ignored(block) for block in resources}
    return {name: attributes for name, attributes in found.items() if attributes}


def active_files(names: Iterable[str], product: Product = "terraform") -> list[str]:
    """The files of one directory that are loaded, in the order of their effect: override files last."""
    given = {name for name in names if not _is_ignored(name)}
    endings = (".tf", ".tf.json") if product == "terraform" else (".tf", ".tf.json", ".tofu", ".tofu.json")
    replaced = set() if product == "terraform" else {_replaced_by(name) for name in given}
    loaded = [name for name in given if name.endswith(endings) and name not in replaced]
    return sorted(loaded, key=lambda name: (_is_override(name), name))


def is_local(source: str) -> bool:
    """Whether a module source is a directory of the same repository, seen from the caller's."""
    return source.startswith(("./", "../"))


def _ignored(resource: "Block") -> tuple[str, ...]:
    nodes = tuple(node for block in resource.blocks("lifecycle") for node in block.body.nodes)
    match unwrapped(resource.attributes.get("lifecycle", ())):  # as JSON writes it
        case (Group(opened="{", nodes=inside),):
            nodes += inside
        case _:
            pass
    values = [m.value for m in members_of(nodes) if isinstance(m, Attribute) and m.name == "ignore_changes"]
    return tuple(name for value in values for name in _names(unwrapped(value)))


def _names(value: tuple[Node, ...]) -> Iterator[str]:
    match value:
        case (Group(opened="[", nodes=nodes),):
            for run in split(nodes, {",", "\n"}):
                yield from _names(run)
        case (first, *_) if (label := label_of(first)) is not None:
            yield re.split(r"[.\[]", label)[0]
        case _:
            pass


def _is_ignored(name: str) -> bool:
    return name.startswith(".") or name.endswith("~") or (name.startswith("#") and name.endswith("#"))


def _replaced_by(name: str) -> str:
    """The Terraform file that OpenTofu leaves out because `name` stands beside it."""
    return re.sub(r"\.tofu(\.json)?$", r".tf\1", name) if name.endswith((".tofu", ".tofu.json")) else ""


def _is_override(name: str) -> bool:
    stem = re.sub(r"\.(tf|tofu)(\.json)?$", "", name)
    return stem == "override" or stem.endswith("_override")


def _facts(members: Members) -> Facts:
    blocks = [member for member in members if isinstance(member, Block)]
    settings = [block for block in blocks if block.type == "terraform"]
    paths = list(references(_swept(members)))
    return Facts(
        modules=tuple(_module(block) for block in blocks if block.type == "module" and block.labels),
        paths=tuple(dict.fromkeys(path for path in paths if path is not None)),
        unknown_paths=None in paths,
        backend=next((found for block in reversed(settings) if (found := _backend(block))), None),
        remote_states=tuple(_remote_state(block) for block in blocks if _is_remote_state(block)),
        required_version=tuple(
            version for block in settings if (version := text_of(block.attributes.get("required_version")))
        ),
        providers_key=_digest(sorted(set(_providers(blocks)))),
        effects=tuple(effects(blocks)),
        providers=tuple(dict.fromkeys(providers_used(blocks))),
    )


def _swept(members: Members) -> Iterator[tuple[Node, ...]]:
    """All code of the file but module sources, which are directories of their own kind."""
    for member in members:
        if isinstance(member, Attribute):
            yield member.value
        elif member.type == "module":
            yield from _swept(tuple(inner for inner in member.members if not _is_source(inner)))
        else:
            yield member.body.nodes


def _is_source(member: Attribute | Block) -> bool:
    return isinstance(member, Attribute) and member.name == "source"


def _module(block: Block) -> ModuleCall:
    attributes = block.attributes
    source = text_of(attributes.get("source"))
    if source is not None and source.startswith((".\\", "..\\")):
        source = source.replace("\\", "/")
    return ModuleCall(
        name=block.labels[0],
        source=source,
        source_prefix="" if source is not None else beginning(attributes.get("source", ())),
        version=text_of(attributes.get("version")),
        line=block.body.line,
    )


def _backend(settings: Block) -> Backend | None:
    for block in (*settings.blocks("backend"), *settings.blocks("cloud")):
        attributes, dynamic = _flat(block.body.nodes)
        name = block.labels[0] if block.type == "backend" and block.labels else block.type
        return Backend(type=name, attributes=attributes, dynamic=dynamic, line=block.body.line)
    return None


def _is_remote_state(block: Block) -> bool:
    return block.type == "data" and block.labels[:1] == ("terraform_remote_state",) and len(block.labels) == 2


def _remote_state(block: Block) -> RemoteState:
    attributes = block.attributes
    backend, workspace = (text_of(attributes.get(name)) for name in ("backend", "workspace"))
    config, dynamic = _flat(_config_nodes(block))
    return RemoteState(
        name=block.labels[1],
        backend=backend,
        config=config,
        workspace=workspace,
        dynamic=dynamic or backend is None or (workspace is None and "workspace" in attributes),
    )


def _config_nodes(block: Block) -> tuple[Node, ...]:
    """The inside of `config = { … }`; an expression stays what it is, and is no attribute."""
    value = unwrapped(block.attributes.get("config", ()))
    match value:
        case (Group(opened="{", nodes=nodes),):
            return nodes
        case ():
            return tuple(node for inner in block.blocks("config") for node in inner.body.nodes)
        case _:
            return value


def _flat(nodes: Iterable[Node], prefix: str = "") -> tuple[Attributes, bool]:
    """The literal attributes, nested ones with dotted names, and whether there is anything else."""
    found: list[tuple[str, Scalar]] = []
    dynamic = False
    for member in members_of(nodes):
        match member:
            case (
                Block(type=name, body=Group(nodes=inside))
                | Attribute(name=name, value=(Group(opened="{", nodes=inside),))
            ):
                more, unknown = _flat(inside, f"{prefix}{name}.")
                found.extend(more)
                dynamic = dynamic or unknown
            case Attribute(name=name, value=value) if value != ("null",):
                scalar = scalar_of(value) if name else None
                dynamic = dynamic or scalar is None
                found.extend([] if scalar is None else [(prefix + name, scalar)])
            case _:
                pass
    return tuple(found), dynamic


def _providers(blocks: Iterable[Block]) -> Iterator[str]:
    """Everything that decides what `terraform init` installs, spelled without comments and blanks."""
    for block in blocks:
        match block.type:
            case "terraform":
                yield _spelled("terraform", block.body.nodes)
            case "module":
                attributes = block.attributes
                yield _spelled("module", (*block.labels, *attributes.get("source", ())))
                yield _spelled("version", (*block.labels, *attributes.get("version", ())))
            case "provider":
                yield _spelled("provider", (*block.labels, *block.attributes.get("version", ())))
            case "resource" | "data" | "ephemeral":
                # `provider = google-beta.eu` names the provider; else the type does: `aws_instance`.
                chosen = block.attributes.get("provider", ())[:1]
                yield _spelled("type", (block.labels[0].partition("_")[0] if block.labels else "", *chosen))
            case "check":
                yield from _providers(block.blocks("data"))
            case _:
                pass


def _spelled(kind: str, nodes: Iterable[Node]) -> str:
    return json.dumps([kind, [_shape(node) for node in nodes if node != "\n"]])


def _shape(node: Node) -> object:
    if isinstance(node, Group):
        return {node.opened: [_shape(inner) for inner in node.nodes if inner != "\n"]}
    return {"text": [_shape(part) for part in node.parts]} if isinstance(node, Text) else node


def _digest(items: list[str]) -> str:
    return hashlib.sha256("\n".join(items).encode()).hexdigest()
