"""tfops.hcl as values (DESIGN.md §4): parsed whole, with every fault found at once.

A key that this version does not enforce is refused, never ignored: a gate that only seems to be there is
worse than none.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from graphlib import CycleError, TopologicalSorter

from tfops import checks, schema
from tfops.config_drift import Notification, drift_rules, notifications
from tfops.config_forge import ForgeSettings, forge
from tfops.config_gate import Approval, Evidence, Protect, approval, freezes, protect
from tfops.config_policy import Policy, policies
from tfops.config_review import Review, review
from tfops.config_store import Store, store
from tfops.config_trust import Approver, Runner, trust
from tfops.drift_rules import DriftRules
from tfops.freezes import Freeze
from tfops.hcl import Block, parse_body
from tfops.schema import Faults, Section

Scalar = str | int | float | bool
TIMEOUT_SECONDS = 7200.0


@dataclass(frozen=True, slots=True, kw_only=True)
class TerraformSettings:
    """Which Terraform to run; `version` is a constraint such as `~> 1.11`."""

    binary: str | None = None
    version: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AwsRoles:
    """The roles Terraform gets while it runs: one to read, one to write. Without one, tfops' own credentials."""

    plan_role: str | None = None
    apply_role: str | None = None
    external_id: str | None = None
    web_identity_token_file: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """One environment block, or, once bound, the environment of one branch.

    Before `bind`, the workspace, the var files and the strings of the backend configuration are in template
    form: `${branch}` and `${branch_slug}` are variables, `$${` stands for the characters `${`.
    Without an `approval` nothing is ever applied automatically.
    """

    name: str
    branch: str
    roots: tuple[str, ...]
    workspace: str = "default"
    var_files: tuple[str, ...] = ()
    backend_config: tuple[tuple[str, Scalar], ...] = ()
    after: tuple[str, ...] = ()
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
    """What shares one quota of API calls; else the environment does."""
    prune: bool = False
    """Whether `sync` destroys by itself what of it is gone from the branch."""

    @property
    def is_pattern(self) -> bool:
        """Whether each branch that matches becomes an environment of its own."""
        return "*" in self.branch


@dataclass(frozen=True, slots=True, kw_only=True)
class StackSettings:
    """The order of one stack after others, finer than its environment's."""

    id: str
    after: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Moved:
    """A renamed stack: its managed state moves along."""

    from_stack: str
    to_stack: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """The whole of tfops.hcl."""

    terraform: TerraformSettings
    store: Store
    signing_key: str | None
    runners: tuple[Runner, ...]
    environments: tuple[Environment, ...]
    stacks: tuple[StackSettings, ...]
    moved: tuple[Moved, ...]
    notifications: tuple[Notification, ...] = ()
    approvers: tuple[Approver, ...] = ()
    forge: ForgeSettings | None = None
    policies: tuple[Policy, ...] = ()
    review: Review = field(default_factory=Review)


_BLOCKS = (
    *("terraform", "store", "signing", "trust", "environment", "stack", "moved", "notify", "forge", "policy", "review"),
)
_ENVIRONMENT_KEYS = (
    "branch",
    "roots",
    "workspace",
    "var_files",
    "backend_config",
    "after",
    "pass_env",
    "cli_config",
    "watch",
    "timeout",
    "account",
    "prune",
)
_LATER_ENVIRONMENT_KEYS = ("ttl", "keep")
_RESERVED_NAMES = ("audit", "state", "work", "trust", "locks")

_AWS_KEYS = ("plan_role", "apply_role", "external_id", "web_identity_token_file")

_TEMPLATE = re.compile(r"\$\$\{|\$\{branch\}|\$\{branch_slug\}")


def parse_config(text: str, path: str = "tfops.hcl") -> Config:
    """The configuration in `text`. Raises ConfigError carrying every fault with its line in `path`."""
    faults = Faults(path=path)
    top = Section(body=parse_body(text, path), where="", line=1, faults=faults)
    top.check_names(blocks=_BLOCKS)
    runners, approvers = trust(top)
    config = Config(
        terraform=_terraform(top),
        store=store(top),
        signing_key=_signing_key(top),
        runners=runners,
        environments=tuple(_environment(name, section) for name, section in top.named("environment")),
        stacks=tuple(_stack(id_, section) for id_, section in top.named("stack")),
        moved=_moved(top),
        notifications=notifications(top),
        approvers=approvers,
        forge=forge(top),
        policies=policies(top),
        review=review(top),
    )
    _check_references(config, top)
    _check_policies(config, top)
    _check_forge(config, top)
    faults.raise_if_any()
    return config


def is_environment_name(name: str) -> bool:
    """Whether an environment may be called so."""
    return checks.is_name(name) and name not in _RESERVED_NAMES


def bind(environment: Environment, *, name: str, branch: str, branch_slug: str) -> Environment:
    """`environment` for one branch: named `name`, and with plain text in the place of every template.

    To be called exactly once for every environment of a Config, those of exact branches included.
    """
    values = {"$${": "${", "${branch}": branch, "${branch_slug}": branch_slug}

    def plain(template: str) -> str:
        return _TEMPLATE.sub(lambda found: values[found[0]], template)

    return replace(
        environment,
        name=name,
        branch=branch,
        workspace=plain(environment.workspace),
        var_files=tuple(plain(file) for file in environment.var_files),
        backend_config=tuple(
            (key, plain(value) if isinstance(value, str) else value) for key, value in environment.backend_config
        ),
    )


def _terraform(top: Section) -> TerraformSettings:
    section = top.one("terraform")
    if section is None:
        return TerraformSettings()
    section.check_names(attributes=("binary", "version"))
    return TerraformSettings(
        binary=section.get("binary", checks.program, None),
        version=section.get("version", checks.constraints, None),
    )


def _signing_key(top: Section) -> str | None:
    section = top.one("signing")
    if section is None:
        return None
    section.check_names(attributes=("key",))
    return section.require("key", checks.key_reference, "")


def _environment(name: str, section: Section) -> Environment:
    checks.check_name(name, section)
    if name in _RESERVED_NAMES:
        hint = f"these names are taken: {', '.join(_RESERVED_NAMES)}"
        section.refuse("invalid_value", "has a name that the store uses itself", hint)
    section.check_names(
        attributes=_ENVIRONMENT_KEYS,
        blocks=("approval", "protect", "freeze", "aws", "drift"),
        later=_LATER_ENVIRONMENT_KEYS,
    )
    return Environment(
        name=name,
        branch=section.require("branch", checks.branch, ""),
        roots=section.require("roots", checks.roots, ()),
        workspace=section.get("workspace", checks.template, "default"),
        var_files=section.get("var_files", checks.many(checks.var_file), ()),
        backend_config=section.get("backend_config", checks.scalars, ()),
        after=section.get("after", checks.many(checks.text), ()),
        approval=approval(section),
        protect=protect(section),
        freezes=freezes(section),
        pass_env=section.get("pass_env", checks.many(checks.variable_name), ()),
        cli_config=section.get("cli_config", checks.text, None),
        watch=section.get("watch", checks.many(checks.repository_path), ()),
        aws=_aws(section),
        timeout_seconds=section.get("timeout", checks.duration_seconds, TIMEOUT_SECONDS),
        drift=drift_rules(section),
        account=section.get("account", checks.text, None),
        prune=section.get("prune", checks.boolean, False),
    )


def _aws(environment: Section) -> AwsRoles | None:
    section = environment.one("aws")
    if section is None:
        return None
    section.check_names(attributes=_AWS_KEYS)
    given = {name: section.get(name, checks.text, None) for name in _AWS_KEYS}
    for role in ("plan_role", "apply_role"):
        if given[role] is None:
            hint = "Terraform would run with tfops' own credentials there; both roles are needed, or none"
            section.refuse("missing_key", f'lacks "{role}"', hint)
    if given["external_id"] and given["web_identity_token_file"]:
        section.refuse("invalid_value", "has both external_id and web_identity_token_file: AWS knows no such call")
    if not (given["web_identity_token_file"] or "/").startswith("/"):
        section.refuse("invalid_value", "has a relative web_identity_token_file", "write an absolute path")
    return AwsRoles(**given)


def _stack(id_: str, section: Section) -> StackSettings:
    if not checks.is_stack_id(id_):
        section.refuse("invalid_value", "is not the id of a stack", checks.STACK_ID_HINT)
    section.check_names(attributes=("after",))
    return StackSettings(id=id_, after=section.require("after", checks.many(checks.stack_id), ()))


def _moved(top: Section) -> tuple[Moved, ...]:
    blocks = [block for block in top.body.blocks if block.type == "moved"]
    entries = [(block.line, _move(top.sub(block, schema.title(block)))) for block in blocks]
    for side in ("from_stack", "to_stack"):
        first: dict[str, int] = {}
        for line, entry in entries:
            id_ = getattr(entry, side)
            if id_ and first.setdefault(id_, line) != line:
                text = f'moved: "{id_}" is moved twice, first on line {first[id_]}'
                top.faults.add("duplicate", line, text, "keep one of them")
    return tuple(entry for _, entry in entries)


def _move(section: Section) -> Moved:
    section.check_names(attributes=("from", "to"))
    entry = Moved(
        from_stack=section.require("from", checks.stack_id, ""),
        to_stack=section.require("to", checks.stack_id, ""),
    )
    if entry.from_stack and entry.from_stack == entry.to_stack:
        section.refuse("invalid_value", "moves a stack onto itself")
    return entry


def _check_references(config: Config, top: Section) -> None:
    """Whether what the order names exists, and whether the order can be kept."""
    names = [environment.name for environment in config.environments]
    if not any(block.type == "environment" for block in top.body.blocks):
        hint = 'write environment "prod" { branch = "main"  roots = ["."] }'
        top.faults.add("missing_key", 1, "at least one environment is required", hint)
    environments = {environment.name: environment.after for environment in config.environments}
    stacks = {stack.id: stack.after for stack in config.stacks}
    for section, own, after in _ordered("environment", environments, top):
        for name in after:
            if name != own and name not in names:
                _refuse_reference(section, "after", name, names)
    for section, own, after in _ordered("stack", stacks, top):
        for id_ in (own, *after):
            name = re.split("[/@]", id_, maxsplit=1)[0]
            if checks.is_stack_id(id_) and name not in names:
                _refuse_reference(section, "" if id_ == own else "after", name, names)
    _check_cycles("environment", environments, top)
    _check_cycles("stack", stacks, top)


def _check_policies(config: Config, top: Section) -> None:
    """Whether there are the environments that policies are for."""
    names = [environment.name for environment in config.environments]
    judged = {policy.name: policy.environments for policy in config.policies}
    for section, _, wanted in _ordered("policy", judged, top):
        for name in wanted:
            if name not in names:
                _refuse_reference(section, "environments", name, names)


def _check_forge(config: Config, top: Section) -> None:
    """Whether there is a forge where an environment counts what is said on one."""
    if config.forge is not None or any(block.type == "forge" for block in top.body.blocks):
        return
    for section, name, _ in _ordered("environment", {one.name: () for one in config.environments}, top):
        asked = next(one.approval for one in config.environments if one.name == name)
        if asked is not None and Evidence.FORGE in asked.sources:
            hint = 'write forge "github" {}, or gitlab, bitbucket, azure, gitea'
            section.refuse("missing_key", "counts approvals of a forge, and no forge block says which", hint)


def _ordered(
    type_: str, orders: Mapping[str, tuple[str, ...]], top: Section
) -> list[tuple[Section, str, tuple[str, ...]]]:
    """The section of each block in `orders`, its name and what it comes after."""
    first: dict[str, Block] = {}
    for block in top.body.blocks:
        if block.type == type_ and len(block.labels) == 1:
            first.setdefault(block.labels[0], block)
    return [(top.sub(first[name], schema.title(first[name])), name, after) for name, after in orders.items()]


def _refuse_reference(section: Section, key: str, name: str, known: list[str]) -> None:
    line = next((found.line for found in section.body.attributes if found.name == key), section.line)
    where = f'{section.where}: "{key}"' if key else section.where
    text = f'{where} names the environment "{name}", which is not declared'
    section.faults.add("unknown_reference", line, text, schema.suggestion(name, known))


def _check_cycles(type_: str, orders: Mapping[str, tuple[str, ...]], top: Section) -> None:
    """Note the first cycle among `orders`, and everything that comes after itself."""
    sections = {name: section for section, name, _ in _ordered(type_, orders, top)}
    for name, after in orders.items():
        if name in after:
            sections[name].refuse("invalid_value", "cannot come after itself", "remove it from its own after list")
    others = {name: [other for other in after if other != name] for name, after in orders.items()}
    try:
        TopologicalSorter(others).prepare()
    except CycleError as error:
        cycle: list[str] = error.args[1]
        # graphlib lists each node before the one that waits for it.
        path = " after ".join(f'"{name}"' for name in reversed(cycle))
        section = sections[cycle[0]]
        section.refuse("invalid_value", f"can never start: {path}", "remove one of these after entries")
