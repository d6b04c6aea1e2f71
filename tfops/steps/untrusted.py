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
from tfops.untrusted import Finding, code_findings, file_changed, plugins, settings_changed

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
    """What a change is held against: the branch without it, and what the rules in force allow.

    With `is_trusted` somebody has read it, and nothing is refused.
    """

    branch: Session
    review: Review
    is_trusted: bool = False

    @property
    def withheld(self) -> frozenset[str]:
        """The variables that Terraform does not see while it plans the change."""
        agent = frozenset[str]() if Allowance.SSH_AGENT in self.review.allow else _SSH_AGENT
        tokens = frozenset[str]() if Allowance.FORGE_TOKEN in self.review.allow else _FORGE_TOKENS
        return _ALWAYS | agent | tokens


def check_code(session: Session, surveyed: Surveyed, suspicion: Suspicion) -> tuple[str, ...]:
    """What the stack's code would do when it is applied, in sentences.

    Raises RefusedError `untrusted.code`, with every place, where planning alone would run something that the rules in
    force do not allow: before any of it is downloaded or started.
    """
    product = session.program.product
    found = (
        *_about_settings(session, surveyed, suspicion),
        *plugins(surveyed.inputs),
        *code_findings(surveyed.inputs.facts, suspicion.review, product=product),
    )
    return _told(surveyed.id, found, suspicion)


def flagged(session: Session, surveyed: Surveyed) -> tuple[str, ...]:
    """What the stack's own code would set going, in sentences, for those who look at a change."""
    found = code_findings(surveyed.inputs.facts, session.rules.config.review, product=session.program.product)
    return tuple(dict.fromkeys(finding.sentence for finding in found))


def check_downloaded(session: Session, work: Workplace, suspicion: Suspicion) -> tuple[str, ...]:
    """The same for the modules that `init` brought, before anything of them runs."""
    product = session.program.product
    facts = dict(_downloaded(work, "tofu" if product == "tofu" else "terraform"))
    return _told(work.surveyed.id, code_findings(facts, suspicion.review, product=product), suspicion)


def _about_settings(session: Session, surveyed: Surveyed, suspicion: Suspicion) -> tuple[Finding, ...]:
    name = surveyed.stack.environment.partition("@")[0]
    before = {one.name: one for one in suspicion.branch.config.environments}
    now = next(one for one in session.config.environments if one.name == name)
    found = settings_changed(before.get(name), now)
    installs = surveyed.stack.cli_config
    if installs is None or surveyed.cli_config is not None:
        return found
    return (*found, *file_changed(installs, suspicion.branch.tree, session.tree))


def _told(stack: str, found: Iterable[Finding], suspicion: Suspicion) -> tuple[str, ...]:
    findings = tuple(dict.fromkeys(found))
    running = [finding for finding in findings if finding.at_plan]
    if running and not suspicion.is_trusted:
        raise RefusedError.of(_problem(stack, finding) for finding in running)
    return tuple(finding.sentence for finding in findings)


def _problem(stack: str, finding: Finding) -> Problem:
    return Problem(
        code="untrusted.code",
        message=f"{stack}: {finding.sentence}; planning it would run what nobody has read",
        hint="read it; who trusts it plans it with --trust-code, or has it allowed: review { allow = [ … ] }",
        stack=stack,
    )


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
    tree = (work.directory / "tree").resolve()
    listed = cast(Mapping[str, list[Mapping[str, str]]], json.loads(listing.read_bytes()))["Modules"]
    found = {(work.terraform.place.root / module["Dir"]).resolve() for module in listed}
    return sorted(path for path in found if not path.is_relative_to(tree) and path.is_dir())
