"""What settings of providers, backends and states set going: programs, and requests to an address that they choose."""

from collections.abc import Iterable, Iterator

from tfops.blocks import Attribute, Block, members_of, scalar_of, text_of
from tfops.scanner import Group, Node, split, unwrapped

# Settings that start a program: by themselves, or by a file or text that may name one. AWS has `credential_process` in
# its files, Alibaba's have `process_command`; a kubeconfig has `users[].exec`; a credential of Google has
# `credential_source.executable`; Docker's configuration names helpers; plugins of Helm are programs.
_PROGRAMS = frozenset(
    {
        *("exec", "credential_process", "shared_config_file", "shared_config_files"),
        *("shared_credentials_file", "shared_credentials_files", "aws_shared_credentials_file"),
        *("config_path", "config_paths", "kubeconfig", "kubeconfig_file", "kubeconfig_path", "kubeconfig_raw"),
        *("credentials", "config_file", "config_file_content", "registry_config_path", "plugins_path"),
        *("ssh_opts", "op_cli_path", "databricks_cli_path"),
    }
)
# Settings that are objects in which one of these may stand.
_OBJECTS = frozenset({"kubernetes", "config", "assume_role", "assume_role_with_web_identity"})
_ADDRESSES = frozenset(
    {
        *(
            "address",
            "lock_address",
            "unlock_address",
            "url",
            "auth_url",
            "host",
            "hostname",
            "metadata_host",
            "domain",
        ),
        *("conn_str", "http_proxy", "https_proxy", "proxy_url", "oidc_request_url"),
    }
)
# What such settings name where it always lies. No change can put its own file or its own server there.
_USUAL = frozenset({"~/.aws/config", "~/.aws/credentials", "~/.kube/config", "app.terraform.io"})


def programs(body: Iterable[Node]) -> list[str]:
    """The settings of a body, at any depth, by which a program may start, or which hide whether one does."""
    return sorted({one.name for one in _settings(body) if _starts(one) or _hides(one)})


def requests(body: Iterable[Node]) -> list[str]:
    """The settings of a body, at any depth, that say where a request is sent, or hide whether one does."""
    return sorted({one.name for one in _settings(body) if _leads(one) or (one.name == "config" and _hides(one))})


def named_programs(settings: Iterable[tuple[str, object]]) -> list[str]:
    """Those of some settings with their values by which a program may start."""
    return [name for name, value in settings if name in _PROGRAMS and value not in _USUAL]


def is_computed(body: Iterable[Node]) -> bool:
    """Whether any setting of a body is an expression."""
    return any(
        is_computed(member.body.nodes) if isinstance(member, Block) else not _is_literal(member.value)
        for member in members_of(body)
    )


def _settings(nodes: Iterable[Node]) -> Iterator[Attribute]:
    """All settings, at any depth; a block, also one that a `dynamic` one makes, is one whose value is its body."""
    for member in members_of(nodes):
        if isinstance(member, Block):
            made = member.labels if member.type == "dynamic" else ()
            yield from (Attribute(name, (member.body,)) for name in (member.type, *made) if name not in _OBJECTS)
            yield from _settings(member.body.nodes)
        else:
            yield member
            for node in member.value:
                yield from _settings(node.nodes) if isinstance(node, Group) else ()


def _starts(setting: Attribute) -> bool:
    return setting.name in _PROGRAMS and not _is_usual(setting.value)


def _leads(setting: Attribute) -> bool:
    is_address = setting.name in _ADDRESSES or setting.name.endswith(("endpoint", "endpoints"))
    return is_address and not _is_usual(setting.value)


def _is_usual(value: Iterable[Node]) -> bool:
    match unwrapped(value):
        case (Group(opened="[", nodes=nodes),):
            return all(_is_usual(run) for run in split(nodes, {",", "\n"}))
        case nodes:
            return nodes == ("null",) or text_of(nodes) in _USUAL


def _hides(setting: Attribute) -> bool:
    return setting.name in _OBJECTS and not _is_open(setting.value)


def _is_open(value: Iterable[Node]) -> bool:
    """Whether all names of an object are written there: it is no expression, and none of its keys is one."""
    match unwrapped(value):
        case (Group(opened="{", nodes=nodes),):
            return all(isinstance(member, Attribute) and member.name for member in members_of(nodes))
        case (Group(opened="[", nodes=nodes),):
            return all(_is_open(run) for run in split(nodes, {",", "\n"}))
        case nodes:
            return nodes == ("null",)


def _is_literal(value: Iterable[Node]) -> bool:
    match unwrapped(value):
        case (Group(opened="{", nodes=nodes),):
            return not is_computed(nodes)
        case (Group(opened="[", nodes=nodes),):
            return all(_is_literal(run) for run in split(nodes, {",", "\n"}))
        case nodes:
            return nodes == ("null",) or scalar_of(nodes) is not None
