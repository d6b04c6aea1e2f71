"""What code does that nobody has read yet: what would run while it is only planned, and what waits for an apply.

The rule sees what the code says. What a provider does by itself, and what a module brings that is not there yet, it
cannot know.
"""

import posixpath
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass

from tfops.config import Environment
from tfops.config_review import Allowance, Review
from tfops.effects import Effect
from tfops.inputs import Inputs, real_entry
from tfops.modules import Facts, ModuleCall, is_local
from tfops.programs import named_programs
from tfops.sources import BUILT_IN, is_allowed, module_address, provider_address
from tfops.stacks import Stack
from tfops.tree import Tree

# Beside the code, Terraform takes providers from here without asking a registry.
PLUGIN_DIRECTORY = "terraform.d/plugins"
SETTINGS = ("pass_env", "cli_config", "aws", "backend_config")
"""With what Terraform runs: variables, installation, credentials, the backend."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that code does: where it stands, what it is, and whether planning already does it."""

    where: str
    what: str
    at_plan: bool

    @property
    def sentence(self) -> str:
        """Where and what."""
        return f"{self.where}: {self.what}"


def code_findings(facts: Mapping[str, Facts], review: Review, *, product: str) -> tuple[Finding, ...]:
    """What the files set going that `review` does not allow, and what only an apply does, in the order of the files."""
    found = [
        finding
        for path, one in facts.items()
        for finding in (*_effects(path, one, review), *_modules(path, one, review, product))
    ]
    return (*found, *_providers(facts, review, product))


def plugins(inputs: Inputs) -> tuple[Finding, ...]:
    """The files of the revision that Terraform would take for providers."""
    place = posixpath.join(inputs.root, PLUGIN_DIRECTORY, "")
    what = "Terraform would take this for a provider, and start it"
    return tuple(Finding(where=path, what=what, at_plan=True) for path in inputs.entries if path.startswith(place))


def backend_programs(stack: Stack, review: Review) -> tuple[Finding, ...]:
    """What settings that everybody agreed to may start all the same: the file that one names is changed apart."""
    if Allowance.EXEC in review.allow:
        return ()
    told = f'backend_config of environment "{stack.environment.partition("@")[0]}" may start a program'
    names = named_programs(stack.backend_config)
    return tuple(Finding(where="tfops.hcl", what=f"{told} ({name})", at_plan=True) for name in names)


def settings_changed(
    before: Environment | None, now: Environment, among: Collection[str] = SETTINGS
) -> tuple[Finding, ...]:
    """The settings, `among` these, by which a change would decide with what Terraform runs."""
    if not among:
        return ()
    if before is None:
        what = f'environment "{now.name}" is new: nobody has agreed yet with which credentials it is planned'
        return (Finding(where="tfops.hcl", what=what, at_plan=True),)
    changed = (name for name in SETTINGS if name in among and getattr(before, name) != getattr(now, name))
    return tuple(
        Finding(where="tfops.hcl", what=f'environment "{now.name}" changes {name}', at_plan=True) for name in changed
    )


def file_changed(path: str, before: Tree, now: Tree) -> tuple[Finding, ...]:
    """Whether the file that says how providers are installed, the CLI configuration, is another one than before."""
    return () if real_entry(before, path) == real_entry(now, path) else (installation_changed(path),)


def installation_changed(path: str) -> Finding:
    """That the file is changed which says how Terraform installs providers."""
    return Finding(where=path, what="says how Terraform installs providers, and is changed", at_plan=True)


def _effects(path: str, facts: Facts, review: Review) -> Iterator[Finding]:
    for effect in facts.effects:
        at_plan = effect.kind not in ("provisioner", "action")
        if not (at_plan and Allowance(effect.kind) in review.allow):
            yield Finding(where=f"{path}:{effect.line}", what=_what(effect), at_plan=at_plan)


def _what(effect: Effect) -> str:
    match effect.kind:
        case "external":
            return f"{effect.address} runs a program"
        case "http" if effect.detail:
            return f"{effect.address} may send a request ({effect.detail})"
        case "http":
            return f"{effect.address} sends a request"
        case "exec":
            return f"{effect.address} may start a program ({effect.detail})"
        case "provisioner":
            return f"{effect.address} runs a provisioner when it is applied ({effect.detail})"
        case "action":
            return f"{effect.address} may be invoked when it is applied"


def _modules(path: str, facts: Facts, review: Review, product: str) -> Iterator[Finding]:
    for call in facts.modules if review.modules is not None else ():
        address = _address(call, product)
        if address is not None and not is_allowed(address, review.modules or ()):
            what = f'module "{call.name}" comes from {address or "a place that is an expression"}'
            yield Finding(where=f"{path}:{call.line}", what=f"{what}, which `review` does not allow", at_plan=True)


def _address(call: ModuleCall, product: str) -> str | None:
    """Where a module comes from; None for one of the same repository."""
    if is_local(call.source or call.source_prefix):
        return None
    return module_address(call.source, product=product) if call.source else ""


def _providers(facts: Mapping[str, Facts], review: Review, product: str) -> Iterator[Finding]:
    if review.providers is None:
        return
    for files in _by_directory(facts):
        told: set[str] = set()
        for where, address in _needed(files, product):
            if address not in {BUILT_IN, *told} and not is_allowed(address, review.providers):
                what = f"the provider {address or 'of an expression'} is none that `review` allows"
                yield Finding(where=where, what=what, at_plan=True)
            told.add(address)


def _by_directory(facts: Mapping[str, Facts]) -> Iterable[list[tuple[str, Facts]]]:
    found: dict[str, list[tuple[str, Facts]]] = {}
    for path, one in facts.items():
        found.setdefault(posixpath.dirname(path), []).append((path, one))
    return found.values()


def _needed(files: list[tuple[str, Facts]], product: str) -> Iterator[tuple[str, str]]:
    """Where a module needs which provider. A name that the module does not explain is one of HashiCorp's."""
    uses = [(f"{path}:{use.line}", use) for path, facts in files for use in facts.providers]
    said = {use.name for _, use in uses if use.source is not None}
    for where, use in uses:
        if use.source is not None:
            yield where, provider_address(use.source, product=product) if use.source else ""
        elif use.name not in said:
            yield where, BUILT_IN if use.name == "terraform" else provider_address(use.name, product=product)
