"""The stacks of a revision with all they read: inputs, backend, state address, and what they wait for."""

import hashlib
import posixpath
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from tfops.errors import ConfigError, Problem
from tfops.fingerprint import Fingerprint, fingerprint
from tfops.inputs import Inputs, Listing, backend_of, closure, required_versions_of
from tfops.modules import Facts, scan
from tfops.stacks import (
    Stack,
    StateAddress,
    discover,
    origin,
    shared_states,
    state_address,
)
from tfops.steps.code_state import s3_state
from tfops.steps.local_state import local
from tfops.steps.opening import Session, open_review
from tfops.steps.reads import with_reads
from tfops.steps.state import StateFile
from tfops.steps.surveyed import Surveyed
from tfops.tree import Entry
from tfops.versions import parse_constraints

EMPTY_CLI_CONFIG = "no settings"


@dataclass(frozen=True, kw_only=True)
class Unreadable:
    """A stack whose code or settings cannot be read at this revision, and why."""

    stack: Stack
    error: ConfigError


@dataclass(frozen=True, kw_only=True)
class Survey:
    """The stacks of a revision, each behind those it waits for; and those that cannot be read."""

    found: Mapping[str, Surveyed]
    unreadable: Mapping[str, Unreadable]


def survey(session: Session) -> dict[str, Surveyed]:
    """Every stack of the session's branch, each behind those it waits for; raises ConfigError with all faults."""
    looked = look(session)
    problems = [
        replace(problem, stack=name) for name, item in looked.unreadable.items() for problem in item.error.problems
    ]
    problems += shared_states({name: item.address for name, item in looked.found.items()})
    if problems:
        raise ConfigError.of(problems)
    return dict(looked.found)


def survey_merged(session: Session, head: str) -> dict[str, Surveyed]:
    """The stacks as merging a commit into the session's branch would make them; a change may bring new ones.

    Raises UsageError where the commit is not in this clone or does not merge by itself.
    """
    _, merged = open_review(session.caller, base=session.revision.branch, head=head, fetch=False)
    return survey(merged)


def look(session: Session) -> Survey:
    """Like `survey`, for who goes on with the stacks that can be read."""
    stacks = discover(session.config, session.tree, session.revision.branch)
    facts, listing = _Facts(session), Listing.of(session.tree)
    roots = [stack.root for stack in stacks]
    found: dict[str, Surveyed] = {}
    unreadable: dict[str, Unreadable] = {}
    for stack in stacks:
        try:
            found[stack.id] = _surveyed(session, stack, facts, listing, roots=roots, moved=moved_to(session))
        except ConfigError as error:
            unreadable[stack.id] = Unreadable(stack=stack, error=error)
    return Survey(found=with_reads(found), unreadable=unreadable)


def survey_stack(session: Session, stack: Stack, *, moved: Mapping[str, str] | None = None) -> Surveyed:
    """One stack whose settings are known. `moved` are other renamings than those of the configuration."""
    renamed = moved_to(session) if moved is None else moved
    return _surveyed(session, stack, _Facts(session), Listing.of(session.tree), roots=[stack.root], moved=renamed)


def fingerprint_of(session: Session, surveyed: Surveyed) -> Fingerprint:
    """The stack's inputs at this moment.

    The states it reads count as their stacks' heads have them: a state file may be half-written just now.
    """
    program = session.program
    heads = {name: session.store.known_head(name, session.keys) for name in surveyed.stack.reads}
    return fingerprint(
        surveyed.stack,
        surveyed.inputs,
        surveyed.address,
        terraform=f"{program.product} {program.version}",
        environ=session.caller.environ,
        digest_key=session.store.digest_key,
        after={
            name: f"{head.record.state.lineage} {head.record.state.serial}" if head else "never deployed"
            for name, head in heads.items()
        },
        cli_config=_cli_config_digest(surveyed),
    )


class _Facts:
    """Scans each blob once, whichever stack reads it."""

    def __init__(self, session: Session) -> None:
        self._tree = session.tree
        self._known: dict[tuple[str, str], Facts] = {}

    def __call__(self, path: str, entry: Entry) -> Facts:
        key = (entry.blob, posixpath.splitext(path)[1])
        if key not in self._known:
            self._known[key] = scan(self._tree.read(path), path)
        return self._known[key]


def _surveyed(
    session: Session,
    stack: Stack,
    facts: _Facts,
    listing: Listing,
    *,
    roots: list[str],
    moved: Mapping[str, str],
) -> Surveyed:
    cli_config, in_tree = _cli_config(session, stack)
    inputs = closure(
        session.tree,
        stack.root,
        extra=[*_var_files(session, stack), *in_tree],
        watch=stack.watch,
        nested_roots=[root for root in roots if root != stack.root],
        product="tofu" if session.program.product == "tofu" else "terraform",
        facts_of=facts,
        listing=listing,
    )
    _refuse_stray_state(stack, inputs)
    _check_versions(session, stack, inputs)
    backend = backend_of(inputs, stack.root)
    address = state_address(stack, backend, moved)
    return Surveyed(
        stack=stack,
        inputs=inputs,
        address=address,
        state=None if backend and backend.dynamic else _state_file(session, stack, address, moved),
        cli_config=cli_config,
    )


def moved_to(session: Session) -> dict[str, str]:
    """The `moved` entries of the configuration: new name → old name."""
    return {moved.to_stack: moved.from_stack for moved in session.config.moved}


def _state_file(session: Session, stack: Stack, address: StateAddress, moved: Mapping[str, str]) -> StateFile | None:
    if address.kind == "managed":
        return session.place.managed_state(origin(stack.id, moved), stack.workspace)
    if address.kind == "s3":
        return s3_state(session, stack, address)
    return local(address) if address.kind == "local" else None


def _var_files(session: Session, stack: Stack) -> list[str]:
    paths = [posixpath.normpath(posixpath.join(stack.root, name)) for name in stack.var_files]
    missing = [path for path in paths if path not in session.tree.entries]
    if missing:
        raise ConfigError.of(
            Problem(
                code="config.var_file_missing",
                message=f"{stack.id}: the var file {path} is not at {session.revision}",
                hint="names in var_files are relative to the root module; commit the file or correct the name",
                stack=stack.id,
            )
            for path in missing
        )
    return paths


def _cli_config(session: Session, stack: Stack) -> tuple[Path | None, list[str]]:
    name = stack.cli_config
    if name is None:
        return None, []
    if name.startswith("~/"):
        return session.caller.home / name[2:], []
    if name.startswith("/"):
        return Path(name), []
    if name not in session.tree.entries:
        raise ConfigError(
            f"{stack.id}: the Terraform CLI configuration {name} is not at {session.revision}",
            code="config.cli_config_missing",
            hint="commit it, or name one of this machine by an absolute path",
            stack=stack.id,
        )
    return None, [name]


def _cli_config_digest(surveyed: Surveyed) -> str:
    name = surveyed.stack.cli_config
    if surveyed.cli_config is None:
        return name or EMPTY_CLI_CONFIG
    try:
        return hashlib.sha256(surveyed.cli_config.read_bytes()).hexdigest()
    except OSError as error:
        raise ConfigError(
            f"{surveyed.id}: the Terraform CLI configuration {surveyed.cli_config} cannot be read: {error.strerror}",
            code="config.cli_config_missing",
            hint="correct cli_config in tfops.hcl",
            stack=surveyed.id,
        ) from error


def _refuse_stray_state(stack: Stack, inputs: Inputs) -> None:
    stray = [
        path
        for path in inputs.entries
        if posixpath.dirname(path) == stack.root
        and posixpath.basename(path) in ("terraform.tfstate", "errored.tfstate")
    ]
    if stray:
        raise ConfigError(
            f"{stack.id}: a state is committed beside the code, {stray[0]}; tfops would not use it",
            code="state.stray",
            hint="bring it to a backend first (terraform init -migrate-state), then git rm it: it holds secrets",
            stack=stack.id,
        )


def _check_versions(session: Session, stack: Stack, inputs: Inputs) -> None:
    version = session.program.version
    for constraint in required_versions_of(inputs, stack.root):
        try:
            allowed = parse_constraints(constraint).allows(version)
        except ValueError:
            continue  # Terraform itself says what is wrong with it, and where
        if not allowed:
            raise ConfigError(
                f"{stack.id}: its code asks for Terraform {constraint}, but this is {version}",
                code="terraform.version",
                hint="run with a fitting Terraform: terraform { binary = … } in tfops.hcl",
                stack=stack.id,
            )


def stray_backends(session: Session) -> list[str]:
    """Directories with a backend block that no environment of any branch names: forgotten, or not meant for tfops."""
    named = {root for environment in session.config.environments for root in _roots(environment.roots, session)}
    found = set()
    for path in session.tree.entries:
        directory = posixpath.dirname(path)
        if path.endswith((".tf", ".tf.json")) and directory not in named and directory not in found:
            data = session.tree.read(path)
            if b"backend" in data or b"cloud" in data:
                found |= {directory} if _has_backend(data, path) else set()
    return sorted(found)


def _has_backend(data: bytes, path: str) -> bool:
    try:
        return scan(data, path).backend is not None
    except ConfigError:
        return False


def _roots(patterns: tuple[str, ...], session: Session) -> set[str]:
    from tfops.stacks import path_matches

    directories = {posixpath.dirname(path) for path in session.tree.entries if path.endswith((".tf", ".tf.json"))}
    return {directory for directory in directories if any(path_matches(p, directory) for p in patterns)}
