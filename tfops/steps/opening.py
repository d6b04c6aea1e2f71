"""What every command begins with: the repository, the revision, its configuration, its store, its stacks."""

import contextlib
import hashlib
import os
import socket
import threading
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from tfops import __version__, checks, hcl, schema, syntax
from tfops import config as config_values
from tfops.adapters import keys as key_files
from tfops.adapters.git import GitTree, Repository, Revision
from tfops.adapters.objects import DirectoryObjects
from tfops.adapters.terraform import Program, find_program
from tfops.attestation import Builder, TerraformRef
from tfops.config import Config, parse_config
from tfops.dsse import public_key
from tfops.errors import ConfigError, FailedError, Problem, UsageError
from tfops.hcl import decode
from tfops.steps.store import Store, open_store
from tfops.versions import parse_constraints

if TYPE_CHECKING:
    from securesystemslib.signer import Signer, SSlibKey

CONFIG_NAME = "tfops.hcl"


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who runs tfops and where: all that comes from outside the repository. Made by the command line only."""

    directory: Path
    environ: Mapping[str, str]
    config_file: Path | None = None
    stop: threading.Event
    say: Callable[[str, str], None] = lambda stack, message: None

    @property
    def home(self) -> Path:
        """The user's home directory."""
        return Path(self.environ.get("HOME") or "/")

    @property
    def cache(self) -> Path:
        """Where work directories and remembered facts lie; may be thrown away at any time."""
        base = self.environ.get("XDG_CACHE_HOME") or str(self.home / ".cache")
        return Path(base) / "tfops"

    @property
    def state_home(self) -> Path:
        """Where local stores lie unless tfops.hcl says otherwise."""
        base = self.environ.get("XDG_STATE_HOME") or str(self.home / ".local" / "state")
        return Path(base) / "tfops"

    @property
    def key_passphrase(self) -> str | None:
        """The passphrase of the signing key, where it has one."""
        return self.environ.get("TFOPS_KEY_PASSPHRASE")


# Variables by which pipelines name the branch of a detached checkout.
_CI_BRANCHES = (
    "GITHUB_REF_NAME",
    "CI_COMMIT_BRANCH",
    "BITBUCKET_BRANCH",
    "BUILD_SOURCEBRANCH",
    "BUILDKITE_BRANCH",
    "CIRCLE_BRANCH",
    "DRONE_BRANCH",
    "BRANCH_NAME",
)


def branch_of(repository: Repository, caller: Caller, branch: str | None) -> str:
    """The branch to work on: named, else checked out, else the one the pipeline says."""
    found = branch or repository.current_branch() or _pipeline_branch(caller.environ)
    if found is None:
        raise UsageError(
            "HEAD is detached, so there is no branch to take",
            code="git.detached",
            hint="name it: --branch main",
        )
    return found.removeprefix("refs/heads/")


def _pipeline_branch(environ: Mapping[str, str]) -> str | None:
    if environ.get("GITHUB_REF_TYPE", "branch") != "branch":
        return None
    return next((environ[name] for name in _CI_BRANCHES if environ.get(name)), None)


@dataclass(frozen=True, kw_only=True)
class Session:
    """One run of one command over one revision. Everything read from the outside is read through it."""

    caller: Caller
    repository: Repository
    revision: Revision
    tree: GitTree
    config: Config
    run_id: str
    started_on: datetime

    @cached_property
    def store_root(self) -> Path:
        """Where the local store lies."""
        return local_store_path(self.config, self.caller)

    @cached_property
    def store(self) -> Store:
        """The store; refused when it is empty or another one."""
        return open_store(
            DirectoryObjects(self.store_root),
            expected_id=self.config.store.id,
            where=str(self.store_root),
        )

    @cached_property
    def keys(self) -> Mapping[str, "SSlibKey"]:
        """The runners' public keys at this revision, by runner name."""
        return trusted_keys(self.config, self.tree)

    @cached_property
    def signer(self) -> "Signer":
        """Our signing key; refused when no runner of the configuration has it."""
        uri = self.config.signing_key or default_key_uri(self.config)
        signer = key_files.load_signer(uri, home=self.caller.home, passphrase=self.caller.key_passphrase)
        if signer.public_key.keyid not in {key.keyid for key in self.keys.values()}:
            raise ConfigError(
                f"the signing key {uri} belongs to no runner that tfops.hcl trusts",
                code="key.not_trusted",
                hint="`tfops init` adds its public half: commit that, or name the right key in signing { key = … }",
            )
        return signer

    @cached_property
    def runner(self) -> str:
        """The name tfops.hcl gives to our key."""
        return next(name for name, key in self.keys.items() if key.keyid == self.signer.public_key.keyid)

    @cached_property
    def program(self) -> Program:
        """The Terraform to run; refused when it does not meet the configuration's constraint."""
        settings = self.config.terraform
        program = find_program(settings.binary, environ=self.caller.environ, cache=self.caller.cache)
        if settings.version and not parse_constraints(settings.version).allows(program.version):
            raise FailedError(
                f"tfops.hcl asks for Terraform {settings.version}, but {program.argv[0]} is {program.version}",
                code="terraform.version",
                hint="install a fitting one, or change terraform { version = … }",
            )
        return program

    @property
    def terraform_ref(self) -> TerraformRef:
        """What plans say about the program that made them."""
        program = self.program
        return TerraformRef(product=program.product, version=program.version, sha256=program.sha256)

    @property
    def builder(self) -> Builder:
        """What records say about this run."""
        return Builder(runner=self.runner, host=socket.gethostname(), run_id=self.run_id)

    @property
    def holder(self) -> dict[str, object]:
        """What a lock says about us to those who wait."""
        return {
            "pid": os.getpid(),
            "host": socket.gethostname(),
            "run_id": self.run_id,
            "since": now().isoformat(timespec="seconds"),
        }

    def say(self, stack: str, message: str) -> None:
        """Tell the person in front of the screen what goes on."""
        self.caller.say(stack, message)


def now() -> datetime:
    """The time, aware, in UTC."""
    return datetime.now(UTC)


def open_session(
    caller: Caller, *, branch: str | None = None, revision: str | None = None, fetch: bool = True
) -> Session:
    """Resolve the branch (its remote is fetched first), and read tfops.hcl as that revision has it."""
    repository = Repository(caller.directory, environ=caller.environ)
    name = branch_of(repository, caller, branch)
    found = _revision(repository, caller, name, revision=revision, fetch=fetch)
    tree = repository.tree(found)
    return Session(
        caller=caller,
        repository=repository,
        revision=found,
        tree=tree,
        config=_config(tree, found, caller),
        run_id=f"{now():%Y%m%dT%H%M%SZ}-{uuid.uuid4().hex[:8]}",
        started_on=now(),
    )


def _revision(repository: Repository, caller: Caller, branch: str, *, revision: str | None, fetch: bool) -> Revision:
    remote = repository.remote(branch)
    if remote and fetch:
        caller.say("", f"fetching {branch} from {remote}")
        repository.fetch(remote, branch)
    if revision:
        return repository.revision(branch, revision)
    return repository.resolve(branch, remote=remote)


def _config(tree: GitTree, revision: Revision, caller: Caller) -> Config:
    if caller.config_file is not None:
        return parse_config(_read_config(caller.config_file), str(caller.config_file))
    try:
        data = tree.read(CONFIG_NAME)
    except KeyError as error:
        uncommitted = (caller.directory / CONFIG_NAME).exists()
        raise ConfigError(
            f"there is no {CONFIG_NAME} at {revision}",
            code="config.missing",
            hint=f"it lies in the working tree, but is not committed: git add {CONFIG_NAME} && git commit (and push)"
            if uncommitted
            else "run `tfops init` and commit what it writes",
        ) from error
    return remembered_config(data, caller.cache)


def remembered_config(data: bytes, cache: Path) -> Config:
    """The configuration in `data`. Parsing takes longer than all the rest of a run that finds nothing to do, so it
    is remembered by content; a damaged memory is parsed anew."""
    file = cache / f"config-{hashlib.sha256(data).hexdigest()[:24]}-{_parser_version()}.json"
    with contextlib.suppress(OSError, msgspec.MsgspecError):
        return msgspec.json.decode(file.read_bytes(), type=Config)
    config = parse_config(decode(data, CONFIG_NAME), CONFIG_NAME)
    with contextlib.suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        temporary = file.with_suffix(f".{os.getpid()}")
        temporary.write_bytes(msgspec.json.encode(config))
        temporary.replace(file)
    return config


def _parser_version() -> str:
    """Changes with every change of the code that reads configurations, so that no memory outlives its meaning."""
    sources = (Path(module.__file__ or "") for module in (config_values, checks, schema, hcl, syntax))
    stamps = [str(source.stat().st_mtime_ns) for source in sources]
    return hashlib.sha256(" ".join([__version__, *stamps]).encode()).hexdigest()[:12]


def _read_config(path: Path) -> str:
    try:
        return decode(path.read_bytes(), str(path))
    except OSError as error:
        raise ConfigError(
            f"cannot read {path}: {error.strerror}", code="config.missing", hint="check --config"
        ) from error


def local_store_path(config: Config, caller: Caller) -> Path:
    """Where a local store lies: as configured, else by its id below the user's state directory."""
    if config.store.path:
        path = Path(config.store.path)
        if config.store.path.startswith("~/"):
            return caller.home / config.store.path[2:]
        if not path.is_absolute():
            raise ConfigError(
                f"the store's path {config.store.path!r} is relative: it would depend on where tfops is started",
                code="config.invalid_value",
                hint="give an absolute path, or one that begins with ~/",
            )
        return path
    return caller.state_home / (config.store.id or "unnamed")


def default_key_uri(config: Config) -> str:
    """The key `init` makes for a store."""
    return f"file:~/.config/tfops/keys/{(config.store.id or 'unnamed')[:12]}.pem"


def trusted_keys(config: Config, tree: GitTree) -> Mapping[str, "SSlibKey"]:
    """The runners' public keys, read at the revision; raises ConfigError with all faults."""
    keys: dict[str, SSlibKey] = {}
    problems = []
    for runner in config.runners:
        try:
            keys[runner.name] = public_key(tree.read(runner.public_key))
        except (KeyError, ValueError) as error:
            reason = "is not at this revision" if isinstance(error, KeyError) else f"is no public key ({error})"
            problems.append(
                Problem(
                    code="config.public_key",
                    message=f'runner "{runner.name}": {runner.public_key} {reason}',
                    hint="commit the public key that `tfops init` wrote",
                )
            )
    if problems:
        raise ConfigError.of(problems)
    return keys
