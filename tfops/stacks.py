"""Which stacks a revision has: branch → environments → root modules, in which order, on which states."""

import difflib
import fnmatch
import graphlib
import hashlib
import json
import os
import posixpath
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from tfops.config import TIMEOUT_SECONDS, AwsRoles, Config, Environment, bind
from tfops.config_gate import Approval, Protect
from tfops.drift_rules import DriftRules
from tfops.errors import ConfigError, Problem
from tfops.freezes import Freeze
from tfops.modules import Backend, active_files
from tfops.s3_backend import Scalar, read_backend
from tfops.tree import Tree

SLUG_CHARACTERS = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Stack:
    """One root module in one workspace of one environment: the unit that is planned, locked and applied.

    `after` orders; `reads` are those of them whose state is an input of this one.
    """

    id: str
    environment: str
    root: str
    workspace: str
    branch: str
    var_files: tuple[str, ...] = ()
    backend_config: tuple[tuple[str, str | int | float | bool], ...] = ()
    after: tuple[str, ...] = ()
    reads: tuple[str, ...] = ()
    approval: Approval | None = None
    protect: Protect | None = None
    freezes: tuple[Freeze, ...] = ()
    pass_env: tuple[str, ...] = ()
    cli_config: str | None = None
    watch: tuple[str, ...] = ()
    aws: AwsRoles | None = None
    timeout_seconds: float = TIMEOUT_SECONDS
    drift: DriftRules | None = None
    account: str | None = None


def branch_slug(branch: str) -> str:
    """A branch's name as one safe word: lower-case letters, digits and dashes, and a digest that keeps it unique.

    The digest is always there: without it `a/b` and `a-b` would share a workspace, and a state.
    """
    word = re.sub(r"[^a-z0-9]+", "-", branch.lower()).strip("-")[:SLUG_CHARACTERS].strip("-") or "branch"
    return f"{word}-{hashlib.sha256(os.fsencode(branch)).hexdigest()[:8]}"


def branch_matches(pattern: str, branch: str) -> bool:
    """Whether an environment's branch (exact, or with `*` within and `**` across slashes) means `branch`."""
    if "*" not in pattern:
        return pattern == branch
    parts = re.split(r"(\*\*|\*)", pattern)
    words = {"**": ".*", "*": "[^/]*"}
    return re.fullmatch("".join(words.get(part, re.escape(part)) for part in parts), branch, re.DOTALL) is not None


def environments_of(config: Config, branch: str) -> tuple[Environment, ...]:
    """The environments a branch is mapped to; a pattern becomes one named after the branch.

    Raises ConfigError `config.branch_unmapped` naming the branches that are.
    """
    slug = branch_slug(branch)
    found = tuple(
        bind(
            environment,
            name=f"{environment.name}@{slug}" if "*" in environment.branch else environment.name,
            branch=branch,
            branch_slug=slug,
        )
        for environment in config.environments
        if branch_matches(environment.branch, branch)
    )
    if not found:
        mapped = ", ".join(sorted({environment.branch for environment in config.environments}))
        raise ConfigError(
            f"the branch {branch!r} is mapped to no environment",
            code="config.branch_unmapped",
            hint=f"mapped branches: {mapped}; add an environment for it to tfops.hcl, or name another: --branch",
        )
    return found


def discover(config: Config, tree: Tree, branch: str) -> tuple[Stack, ...]:
    """The stacks of a branch at a revision, each after what it comes after.

    Raises ConfigError with every fault found: roots without Terraform files, unknown names, cycles.
    """
    environments = environments_of(config, branch)
    directories = _root_directories(tree)
    problems: list[Problem] = []
    stacks: dict[str, Stack] = {}
    for environment in environments:
        for stack in _stacks_of(environment, branch, directories, problems):
            _add(stacks, stack, problems)
    ordered = _with_order(stacks, environments, config, problems)
    if problems:
        raise ConfigError.of(problems)
    return in_order(ordered)


def in_order(stacks: Sequence[Stack]) -> tuple[Stack, ...]:
    """The same stacks, each behind those it comes after; raises ConfigError `config.cycle` with the path."""
    known = {stack.id: stack for stack in stacks}
    graph = {stack.id: [name for name in stack.after if name in known] for stack in stacks}
    try:
        return tuple(known[name] for name in graphlib.TopologicalSorter(graph).static_order())
    except graphlib.CycleError as error:
        path = " → ".join(reversed(error.args[1]))
        raise ConfigError(
            f"stacks wait for each other: {path}",
            code="config.cycle",
            hint="take one of these `after` entries, or remote state reads, away",
        ) from error


def _root_directories(tree: Tree) -> dict[str, list[str]]:
    names: dict[str, list[str]] = {}
    for path in tree.entries:
        directory, name = posixpath.split(path)
        names.setdefault(directory, []).append(name)
    return {directory: found for directory, found in names.items() if active_files(found)}


def _stacks_of(
    environment: Environment, branch: str, directories: Mapping[str, list[str]], problems: list[Problem]
) -> Iterable[Stack]:
    single = len(environment.roots) == 1 and not _is_glob(environment.roots[0])
    for pattern in environment.roots:
        roots = _matching(pattern, directories)
        if not roots:
            problems.append(_no_root(environment, pattern))
        for root in roots:
            below = "" if single else _below_fixed_part(pattern, root)
            name = f"{environment.name}/{below}" if below else environment.name
            yield stack_of(environment, name=name, root=root, branch=branch)


def stack_of(environment: Environment, *, name: str, root: str, branch: str) -> Stack:
    """A stack of an environment that is bound to the branch."""
    return Stack(
        id=name,
        environment=environment.name,
        root=root,
        workspace=environment.workspace,
        branch=branch,
        var_files=environment.var_files,
        backend_config=environment.backend_config,
        approval=environment.approval,
        protect=environment.protect,
        freezes=environment.freezes,
        pass_env=environment.pass_env,
        cli_config=environment.cli_config,
        watch=environment.watch,
        aws=environment.aws,
        timeout_seconds=environment.timeout_seconds,
        drift=environment.drift,
        account=environment.account,
    )


def _is_glob(pattern: str) -> bool:
    return any(character in pattern for character in "*?[")


def _matching(pattern: str, directories: Mapping[str, list[str]]) -> list[str]:
    if not _is_glob(pattern):
        return [pattern] if pattern in directories else []
    return sorted(directory for directory in directories if path_matches(pattern, directory))


def path_matches(pattern: str, path: str) -> bool:
    """Whether a root pattern means a directory: `*` stays within one path segment, `**` spans any number."""
    return _segments_match(pattern.split("/"), path.split("/"))


def _segments_match(pattern: Sequence[str], path: Sequence[str]) -> bool:
    if not pattern:
        return not path
    if pattern[0] == "**":
        return any(_segments_match(pattern[1:], path[skip:]) for skip in range(len(path) + 1))
    if not path or not fnmatch.fnmatchcase(path[0], pattern[0]):
        return False
    return _segments_match(pattern[1:], path[1:])


def _below_fixed_part(pattern: str, root: str) -> str:
    segments = pattern.split("/")
    fixed = next((i for i, segment in enumerate(segments) if _is_glob(segment)), len(segments) - 1)
    return "/".join(root.split("/")[fixed:])


def _no_root(environment: Environment, pattern: str) -> Problem:
    matched = "matches no directory" if _is_glob(pattern) else "is no directory"
    return Problem(
        code="config.root_without_code",
        message=f'environment "{environment.name}": the root "{pattern or "."}" {matched} with Terraform files here',
        hint="commit the .tf files, or correct `roots` in tfops.hcl",
    )


def _add(stacks: dict[str, Stack], stack: Stack, problems: list[Problem]) -> None:
    if stack.id in stacks:
        problems.append(
            Problem(
                code="config.duplicate_stack",
                message=f"two root modules are both called {stack.id}: {stacks[stack.id].root} and {stack.root}",
                hint="give them environments of their own, or other directories",
                stack=stack.id,
            )
        )
    stacks.setdefault(stack.id, stack)


def _with_order(
    stacks: Mapping[str, Stack],
    environments: Sequence[Environment],
    config: Config,
    problems: list[Problem],
) -> list[Stack]:
    declared = {environment.name: environment.after for environment in environments}
    settings = {setting.id: setting.after for setting in config.stacks}
    active = {environment.name for environment in environments}
    for name, after in settings.items():
        for wanted in (name, *after):
            if wanted not in stacks and _environment_of(wanted, active):
                problems.append(_unknown_stack(name, wanted, stacks))
    return [
        replace(
            stack,
            after=_all_after(stack, declared[stack.environment], settings.get(stack.id, ()), stacks),
            reads=tuple(name for name in settings.get(stack.id, ()) if name in stacks),
        )
        for stack in stacks.values()
    ]


def _environment_of(stack: str, active: Iterable[str]) -> str | None:
    return next((name for name in active if stack == name or stack.startswith(f"{name}/")), None)


def _all_after(
    stack: Stack, environments: Iterable[str], named: Iterable[str], stacks: Mapping[str, Stack]
) -> tuple[str, ...]:
    wanted = set(environments)
    # `preview@slug-hash` comes after what `preview` comes after, and the other way round.
    by_environment = {
        other.id for other in stacks.values() if {other.environment, other.environment.partition("@")[0]} & wanted
    }
    found = by_environment | {name for name in named if name in stacks}
    return tuple(sorted(found - {stack.id}))


def _unknown_stack(name: str, wanted: str, stacks: Mapping[str, Stack]) -> Problem:
    close = difflib.get_close_matches(wanted, stacks, n=1)
    meant = f'did you mean "{close[0]}"? ' if close else ""
    return Problem(
        code="config.unknown_stack",
        message=f'stack "{name}": there is no stack "{wanted}" at this revision',
        hint=f"{meant}stacks here: {', '.join(sorted(stacks))}",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class StateAddress:
    """Where a stack's state lies. `kind` is managed, local, s3 or another backend's type; `text` is its identity."""

    kind: str
    text: str
    workspace: str
    settings: tuple[tuple[str, str | int | float | bool], ...] = ()

    def __str__(self) -> str:
        # An s3 address names the object itself: two keys and two workspaces may mean the same one.
        return self.text if self.text.startswith("s3://") else f"{self.text}#{self.workspace}"


def state_address(stack: Stack, backend: Backend | None, moved: Mapping[str, str]) -> StateAddress:
    """The identity of a stack's state, from its code and its configuration (never credentials).

    `moved` maps a stack to the one whose managed state it took over. Raises ConfigError for a local backend
    with a relative path: it would lie in a directory that is thrown away.
    """
    if backend is None:
        return StateAddress(kind="managed", text=f"managed:{origin(stack.id, moved)}", workspace=stack.workspace)
    settings = dict(backend.attributes) | dict(stack.backend_config)
    if backend.type == "local":
        return _local_address(stack, settings)
    text = _identity(backend.type, settings, stack.workspace)
    return StateAddress(
        kind=backend.type, text=text, workspace=stack.workspace, settings=tuple(sorted(settings.items()))
    )


def origin(stack: str, moved: Mapping[str, str]) -> str:
    """The first name of a stack that was renamed, once or several times."""
    seen = {stack}
    while stack in moved and moved[stack] not in seen:
        stack = moved[stack]
        seen.add(stack)
    return stack


def _local_address(stack: Stack, settings: Mapping[str, object]) -> StateAddress:
    path = str(settings.get("path", ""))
    if not posixpath.isabs(path):
        raise ConfigError(
            f"{stack.id}: its local backend's path {path!r} is relative, and tfops works in a private directory",
            code="state.relative_path",
            hint="take the backend block away (tfops then keeps the state in its store), or give an absolute path: "
            'backend_config = { path = "/…" }',
            stack=stack.id,
        )
    if stack.workspace != "default" and not posixpath.isabs(str(settings.get("workspace_dir", ""))):
        raise ConfigError(
            f"{stack.id}: its local backend keeps workspaces in a relative directory, which tfops throws away",
            code="state.relative_path",
            hint='take the backend block away (tfops then keeps the state in its store), or give workspace_dir = "/…"',
            stack=stack.id,
        )
    kept = {name: str(value) for name, value in settings.items()}
    return StateAddress(
        kind="local",
        text=f"local:{posixpath.normpath(path if stack.workspace == 'default' else kept['workspace_dir'])}",
        workspace=stack.workspace,
        settings=tuple(sorted(kept.items())),
    )


# What tells one state from another, for backends that also take credentials and the like.
_IDENTIFYING = {
    "s3": ("bucket", "key", "workspace_key_prefix", "endpoint"),
    "gcs": ("bucket", "prefix"),
    "azurerm": ("storage_account_name", "container_name", "key"),
    "http": ("address",),
    "consul": ("address", "path"),
    "kubernetes": ("config_path", "config_context", "host", "namespace", "secret_suffix"),
    "cos": ("region", "bucket", "prefix", "key"),
    "oss": ("region", "bucket", "prefix", "key"),
    "oci": ("namespace", "bucket", "key"),
    "remote": ("hostname", "organization", "workspaces.name", "workspaces.prefix"),
    "cloud": ("hostname", "organization", "workspaces.name", "workspaces.project"),
}


def _identity(kind: str, settings: Mapping[str, Scalar], workspace: str) -> str:
    known = read_backend(settings) if kind == "s3" else None
    if known is not None:
        return known.identity(workspace)
    if kind == "pg":
        connection = re.sub(r"(//[^:/@]*):[^@]*@|password=\S+", r"\1@", str(settings.get("conn_str", "")))
        return f"pg:{connection}/{settings.get('schema_name', '')}"
    names = _IDENTIFYING.get(kind, tuple(name for name in sorted(settings) if not _SECRET_NAME.search(name)))
    return f"{kind}:" + json.dumps({name: settings[name] for name in names if name in settings}, sort_keys=True)


_SECRET_NAME = re.compile("password|passwd|secret|token|credential|private|access_key|sas", re.IGNORECASE)


def shared_states(addresses: Mapping[str, StateAddress]) -> list[Problem]:
    """One problem for every two stacks that would write the same state."""
    owners: dict[str, str] = {}
    problems = []
    for stack, address in sorted(addresses.items()):
        other = owners.setdefault(str(address), stack)
        if other != stack:
            problems.append(
                Problem(
                    code="state.shared",
                    message=f"{other} and {stack} have the same state, {address}: each would undo the other",
                    hint="give one of them its own workspace, key or path",
                    stack=stack,
                )
            )
    return problems
