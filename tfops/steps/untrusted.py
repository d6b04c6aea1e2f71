"""Code that nobody has read yet: refused before it runs, flagged where it only waits, and shown no token or agent."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from tfops.config_review import Allowance, Review
from tfops.errors import Problem, RefusedError
from tfops.modules import Facts, Product, active_files, scan
from tfops.steps.opening import Session
from tfops.steps.surveyed import Surveyed
from tfops.steps.workplace import Workplace
from tfops.tree import Tree
from tfops.untrusted import (
    Finding,
    backend_programs,
    code_findings,
    file_changed,
    installation_changed,
    plugins,
    settings_changed,
)

# Whoever has one of these speaks for a person or for the pipeline.
_FORGE_TOKENS = frozenset(
    {
        *("GITHUB_TOKEN", "GH_TOKEN", "GITHUB_PAT", "GITLAB_TOKEN", "CI_JOB_TOKEN", "CI_JOB_JWT*", "GITEA_TOKEN"),
        *("FORGEJO_TOKEN", "BITBUCKET_TOKEN", "SYSTEM_ACCESSTOKEN", "AZURE_DEVOPS_*"),
    }
)
# An agent signs whatever it is asked to: also approvals.
_SSH_AGENT = frozenset({"SSH_AUTH_SOCK", "SSH_AGENT_PID"})
_ALWAYS = frozenset({"TFOPS_*", "ACTIONS_*", "CREDENTIALS_DIRECTORY"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Suspicion:
    """Why a stack's code is looked at before any of it runs, and what the rules in force allow of it.

    `settings` are those that nobody agreed to yet. With `is_trusted` somebody has read it all: nothing is refused.
    """

    review: Review
    settings: tuple[Finding, ...] = ()
    why: str
    way_on: str
    is_trusted: bool = False

    @property
    def withheld(self) -> frozenset[str]:
        """The variables that Terraform does not see while it plans the change."""
        agent = frozenset[str]() if Allowance.SSH_AGENT in self.review.allow else _SSH_AGENT
        tokens = frozenset[str]() if Allowance.FORGE_TOKEN in self.review.allow else _FORGE_TOKENS
        return _ALWAYS | agent | tokens


def of_a_change(branch: Session, merged: Session, surveyed: Surveyed, *, is_trusted: bool) -> Suspicion:
    """What a stack is suspected of as merging a change for review would make it.

    Its settings are held against what the branch has. A branch that the rules in force do not follow may say anything:
    there they are held against the rules.
    """
    return Suspicion(
        review=branch.rules.config.review,
        settings=_settings_of_a_change(branch, merged, surveyed),
        why="planning it would run what nobody has read",
        way_on="read it; who trusts it plans it with --trust-code, or has it allowed: review { allow = [ … ] }",
        is_trusted=is_trusted,
    )


def withheld(suspicion: Suspicion | None) -> frozenset[str]:
    """The variables that Terraform does not see while it plans; none where nothing is suspected."""
    return suspicion.withheld if suspicion else frozenset()


def check_code(session: Session, surveyed: Surveyed, suspicion: Suspicion | None) -> tuple[str, ...]:
    """What the stack's code would do when it is applied, in sentences; nothing where it is not suspected.

    Raises RefusedError `untrusted.code`, with every place, where planning alone would run something that the rules in
    force do not allow: before any of it is downloaded or started.
    """
    if suspicion is None:
        return ()
    product = session.program.product
    found = (
        *suspicion.settings,
        *backend_programs(surveyed.stack, suspicion.review),
        *plugins(surveyed.inputs),
        *code_findings(surveyed.inputs.facts, suspicion.review, product=product),
    )
    return _told(surveyed.id, found, suspicion)


def flagged(session: Session, surveyed: Surveyed) -> tuple[str, ...]:
    """What the stack's own code would set going, in sentences, for those who look at a change."""
    found = code_findings(surveyed.inputs.facts, session.rules.config.review, product=session.program.product)
    return tuple(dict.fromkeys(finding.sentence for finding in found))


def check_downloaded(session: Session, work: Workplace, suspicion: Suspicion | None) -> tuple[str, ...]:
    """The same for the modules that `init` brought, before anything of them runs."""
    if suspicion is None:
        return ()
    product = session.program.product
    facts = dict(_downloaded(work, "tofu" if product == "tofu" else "terraform"))
    return _told(work.surveyed.id, code_findings(facts, suspicion.review, product=product), suspicion)


def _settings_of_a_change(branch: Session, merged: Session, surveyed: Surveyed) -> tuple[Finding, ...]:
    name = surveyed.stack.environment.partition("@")[0]
    config = branch.config if branch.is_followed else branch.rules.config
    before = {one.name: one for one in config.environments}
    now = next(one for one in merged.config.environments if one.name == name)
    found = settings_changed(before.get(name), now)
    installs = surveyed.stack.cli_config
    if installs is None or surveyed.cli_config is not None:
        return found
    known = _tree_in_force(branch)
    return (*found, *(file_changed(installs, known, merged.tree) if known else (installation_changed(installs),)))


def _tree_in_force(branch: Session) -> Tree | None:
    """The files that settings name as they are agreed to: those of the branch, where the rules in force follow it."""
    if branch.trust is None or branch.is_followed:
        return branch.tree
    source, repository = branch.trust.record.source, branch.repository
    return repository.tree(repository.revision(source.branch, source.commit)) if repository.has(source.commit) else None


def _told(stack: str, found: Iterable[Finding], suspicion: Suspicion) -> tuple[str, ...]:
    findings = tuple(dict.fromkeys(found))
    running = [finding for finding in findings if finding.at_plan]
    if running and not suspicion.is_trusted:
        raise RefusedError.of(_problem(stack, finding, suspicion) for finding in running)
    return tuple(finding.sentence for finding in findings)


def _problem(stack: str, finding: Finding, suspicion: Suspicion) -> Problem:
    message = f"{stack}: {finding.sentence}; {suspicion.why}"
    return Problem(code="untrusted.code", message=message, hint=suspicion.way_on, stack=stack)


def _downloaded(work: Workplace, product: Product) -> Iterable[tuple[str, Facts]]:
    """The facts of the modules in Terraform's data directory, as its list of them says."""
    for directory in _module_directories(work):
        for name in active_files((path.name for path in directory.iterdir() if path.is_file()), product):
            shown = str(Path("downloaded") / directory.name / name)
            yield shown, scan((directory / name).read_bytes(), shown)


def _module_directories(work: Workplace) -> list[Path]:
    listing = work.terraform.place.data / "modules" / "modules.json"
    if not listing.exists():
        return []
    listed = cast(Mapping[str, list[Mapping[str, str]]], json.loads(listing.read_bytes()))["Modules"]
    found = {(work.terraform.place.root / module["Dir"]).resolve() for module in listed}
    return sorted(path for path in found - _scanned(work) if path.is_dir())


def _scanned(work: Workplace) -> set[Path]:
    """The directories of the revision that are looked at already. A link in a fetched module may lead to others."""
    inputs, tree = work.surveyed.inputs, work.directory / "tree"
    return {(tree / directory).resolve() for directory in (inputs.root, *inputs.module_directories)}
