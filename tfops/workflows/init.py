"""`tfops init`: tfops.hcl, a store, a signing key, .gitignore entries, systemd units. Makes what is missing only."""

import posixpath
import socket
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from tfops.adapters import keys as key_files
from tfops.adapters.git import Repository
from tfops.adapters.objects import DirectoryObjects
from tfops.attestation import Builder, Source
from tfops.config import Config, parse_config
from tfops.config_store import LocalStore
from tfops.configuration_text import first_configuration, with_runner, with_signing_key, with_store_id
from tfops.dsse import public_key
from tfops.errors import ConfigError, FailedError
from tfops.hcl import decode
from tfops.layout import STATE, Layout, layout
from tfops.steps.caller import Caller
from tfops.steps.configuration import CONFIG_NAME, default_key_uri, read_rules
from tfops.steps.place import place_of
from tfops.steps.store import create_store, open_store
from tfops.steps.trust_records import append_trust, keys_of, read_trust
from tfops.systemd import DRIFT_TIMER, SYNC_TIMER, Setup, install_commands, units
from tfops.trust import next_record

IGNORED = (".terraform/", "*.tfplan", "terraform.tfstate", "terraform.tfstate.*", "crash.log")
MOST_SHOWN = 10
UNITS = "systemd"
UNIT_VARIABLES = ("HOME", "PATH", "XDG_STATE_HOME", "XDG_CACHE_HOME")
"""What the units take over from whoever writes them, so that they find the same programs and the same store."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Initialised:
    """What was made, in words, and the files to commit."""

    made: tuple[str, ...]
    commit: tuple[str, ...]
    store: str
    key: str
    push: bool
    notes: tuple[str, ...] = ()
    faults: tuple[str, ...] = ()
    """Why a first `tfops sync` would fail."""
    install: tuple[str, ...] = ()
    """The commands that install the units."""


def init(
    caller: Caller, *, runner: str, store_path: str | None, passphrase: str | None, program: str | None = None
) -> Initialised:
    """Prepare the working tree of the repository around the caller's directory. Safe to run again.

    With the path of a `program`, systemd units that start it are written too.
    """
    repository = Repository(caller.directory, environ=caller.environ)
    if repository.is_bare:
        raise FailedError(
            "this repository has no working tree to write tfops.hcl into",
            code="git.bare",
            hint="run `tfops init` in a clone",
        )
    work = _Work(caller, repository, repository.current_branch() or "main", runner)
    config = work.configuration(store_path)
    config = work.store(config)
    key = work.key(config, passphrase)
    work.rules(repository.head_commit(), passphrase)
    work.ignore()
    install = work.units(config, program) if program else ()
    return Initialised(
        made=tuple(work.made),
        commit=tuple(dict.fromkeys(work.commit)),
        store=place_of(config, caller).where,
        key=key,
        push=repository.remote(work.branch) is not None,
        notes=tuple(work.notes),
        faults=tuple(work.faults),
        install=install,
    )


class _Work:
    """Collects what was made while it is made."""

    def __init__(self, caller: Caller, repository: Repository, branch: str, runner: str) -> None:
        self.made: list[str] = []
        self.commit: list[str] = []
        self.notes: list[str] = []
        self.faults: list[str] = []
        self._caller = caller
        self._repository = repository
        self._directory = directory = repository.directory
        self.branch = branch
        self._runner = runner
        self._file = directory / CONFIG_NAME

    def configuration(self, store_path: str | None) -> Config:
        """The configuration in the working tree; a first one is written where there is none."""
        if not self._file.exists():
            found = found_in(self._repository)
            text = first_configuration(dict(found.roots) or {"main": "."}, self.branch, store_path, self._region())
            self._write(self._file, text)
            self.made.append(f"{CONFIG_NAME}: {_what_was_found(found)}")
            self._remark(found)
        return self._read()

    def _remark(self, found: Layout) -> None:
        """Say what was left out and what is amiss; code that Git does not have yet is to be committed, too."""
        if found.doubtful:
            shown = ", ".join(found.doubtful[:MOST_SHOWN]) + (", …" if found.doubtful[MOST_SHOWN:] else "")
            self.notes.append(
                f"left out, for their names or as nothing says that they are root modules: {shown}; add those that are"
            )
        self.faults += [f"{root}: {fault}" for root, fault in found.faults.items()]
        self.faults += [] if found.roots else ["there is no Terraform code to apply yet"]
        self.commit += [part for part in found.code if self._repository.is_untracked(part)]

    def store(self, config: Config) -> Config:
        """Make the store, and write its id into the configuration."""
        if config.store.id:
            self._check_or_create(config)
            return config
        if isinstance(config.store, LocalStore) and not config.store.path:
            store_id = _new_store_at_its_id(self._caller)
        else:
            store_id = create_store(place_of(config, self._caller).objects)
        self._write(self._file, with_store_id(self._text(), store_id))
        self.made.append(f"store {store_id[:12]} (its id is in {CONFIG_NAME})")
        return self._read()

    def _check_or_create(self, config: Config) -> None:
        place = place_of(config, self._caller)
        open_store(place.objects, expected_id=config.store.id, where=place.where)

    def key(self, config: Config, passphrase: str | None) -> str:
        """Make the signing key where it is missing, and trust its public half."""
        uri = config.signing_key or default_key_uri(config)
        if uri.startswith("awskms:"):
            self._trust(config, uri, None)
            return uri
        path = key_files.key_path(uri, home=self._caller.home)
        if not path.exists():
            key_files.generate(path, passphrase=passphrase)
            self.made.append(f"signing key {path} (keep it; it never enters the repository)")
        if config.signing_key is None:
            self._write(self._file, with_signing_key(self._text(), uri))
        self._trust(config, f"file:{path}", passphrase or self._caller.key_passphrase)
        return str(path)

    def _trust(self, config: Config, uri: str, passphrase: str | None) -> None:
        caller = self._caller
        signer = key_files.load_signer(uri, home=caller.home, passphrase=passphrase, environ=caller.environ)
        pem = key_files.public_pem(signer)
        keyid = public_key(pem).keyid
        for runner in config.runners:
            file = self._directory / runner.public_key
            if file.exists() and public_key(file.read_bytes()).keyid == keyid:
                return
            if runner.name == self._runner:
                raise ConfigError(
                    f'{CONFIG_NAME} trusts another key for runner "{self._runner}"',
                    code="key.not_trusted",
                    hint="choose another name for this machine: tfops init --runner NAME",
                )
        name = f"keys/{self._runner}.pub"
        (self._directory / "keys").mkdir(exist_ok=True)
        (self._directory / name).write_bytes(pem)
        self._write(self._file, with_runner(self._text(), self._runner, name))
        self.made.append(f'public key {name}, trusted as runner "{self._runner}"')
        self.commit.append(name)

    def rules(self, commit: str | None, passphrase: str | None) -> None:
        """Put what the file says in force, where the store has no rules yet and nothing was ever planned."""
        caller, config = self._caller, self._read()
        place = place_of(config, caller)
        store = open_store(place.objects, expected_id=config.store.id, where=place.where)
        if config.policies:
            return  # what they consist of is read from a commit: the first sync puts it in force
        rules = read_rules(config, self._text(), lambda path: (self._directory / path).read_bytes())
        if store.stacks() or read_trust(store, caller, keys_of(rules)) is not None:
            return
        signer = key_files.load_signer(
            config.signing_key or default_key_uri(config),
            home=caller.home,
            passphrase=passphrase or caller.key_passphrase,
            environ=caller.environ,
        )
        first = next_record(
            None,
            rules,
            store_id=store.id,
            source=Source(branch=self.branch, commit=commit or "", tree=""),
            reason="tfops init",
            builder=Builder(runner=self._runner, host=socket.gethostname(), run_id="init"),
            at=datetime.now(UTC),
        )
        append_trust(store, caller, first, signer)
        self.made.append(f"rules in force: those of this {CONFIG_NAME} (version 1, signed; see `tfops trust`)")

    def ignore(self) -> None:
        """Keep state, plans and .terraform out of Git."""
        file = self._directory / ".gitignore"
        text = file.read_text() if file.exists() else ""
        missing = [line for line in IGNORED if line not in text.splitlines()]
        if missing:
            self._write(file, (text.rstrip("\n") + "\n" if text else "") + "\n".join(missing) + "\n")
            self.made.append(f".gitignore: {', '.join(missing)}")

    def units(self, config: Config, program: str) -> tuple[str, ...]:
        """Write systemd units where they are missing; returns the commands that install them."""
        place = self._directory / UNITS
        for name, text in units(self._setup(config, program)).items():
            file = place / name
            if not file.exists():
                place.mkdir(exist_ok=True)
                self._put(file, text)
                self.made.append(f"{UNITS}/{name}")
            elif file.read_text() != text:
                self.notes.append(f"kept {UNITS}/{name}, which differs: to have it written anew, delete it first")
        if any(environment.drift and environment.drift.every_seconds for environment in config.environments):
            return install_commands(UNITS, timers=(SYNC_TIMER, DRIFT_TIMER))
        self.notes.append(f'{DRIFT_TIMER} is of no use before an environment says drift {{ every = "1h" }}')
        return install_commands(UNITS, timers=(SYNC_TIMER,))

    def _setup(self, config: Config, program: str) -> Setup:
        caller = self._caller
        caller.cache.mkdir(mode=0o700, parents=True, exist_ok=True)
        writable = (_git_directory(self._directory), caller.cache, *place_of(config, caller).disk_places())
        return Setup(
            program=program,
            clone=str(self._directory),
            branch=self.branch,
            user=_owner(self._directory),
            environ={name: caller.environ[name] for name in UNIT_VARIABLES if caller.environ.get(name)},
            environment_file=str(caller.home / ".config" / "tfops" / "environment"),
            writable=tuple(str(path) for path in writable),
            stop_seconds=max(environment.timeout_seconds for environment in config.environments),
        )

    def _region(self) -> str | None:
        environ = self._caller.environ
        return environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION")

    def _read(self) -> Config:
        return parse_config(decode(self._file.read_bytes(), CONFIG_NAME), CONFIG_NAME)

    def _text(self) -> str:
        return self._file.read_text().removeprefix("\ufeff")

    def _write(self, file: Path, text: str) -> None:
        self._put(file, text)
        self.commit.append(file.name)

    def _put(self, file: Path, text: str) -> None:
        try:
            file.write_text(text)
        except OSError as error:
            raise FailedError(
                f"cannot write {file}: {error.strerror}", code="init.write", hint="check its permissions"
            ) from error


def _owner(directory: Path) -> str:
    try:
        return directory.owner()
    except KeyError:
        return str(directory.stat().st_uid)


def _git_directory(clone: Path) -> Path:
    """Where fetches write: .git, or what a linked working tree shares with others."""
    file = clone / ".git"
    if file.is_dir():
        return file
    own = clone / file.read_text().removeprefix("gitdir:").strip()
    shared = own / "commondir"
    return (own / shared.read_text().strip() if shared.exists() else own).resolve()


def _new_store_at_its_id(caller: Caller) -> str:
    import secrets

    store_id = secrets.token_hex(16)
    return create_store(DirectoryObjects(caller.state_home / store_id), store_id)


def _what_was_found(found: Layout) -> str:
    match list(found.roots.items()):
        case []:
            return "no Terraform code was found: put it into the repository's root, or correct `roots`"
        case [("main", ".")]:
            return "one environment, the repository's root"
        case several:
            places = ", ".join(root for _, root in several)
            return f"the environments {', '.join(found.roots)}, as found in {places}"


def found_in(repository: Repository) -> Layout:
    """The root modules of the working tree, with what Git has and what it would take."""
    place, paths = repository.directory, repository.work_files()
    beside = {posixpath.join(posixpath.dirname(path), STATE) for path in paths if path.endswith((".tf", ".tf.json"))}
    states = [path for path in beside if (place / path).is_file() and (place / path).stat().st_size]
    return layout({*paths, *states}, lambda path: (place / path).read_bytes())
