"""tfops.hcl as a revision has it, and what it points to: the store's place, the signing key, the trusted keys."""

import contextlib
import hashlib
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

import msgspec

from tfops import (
    __version__,
    checks,
    config_drift,
    config_forge,
    config_gate,
    config_policy,
    config_review,
    config_store,
    config_trust,
    drift_rules,
    freezes,
    hcl,
    schema,
    ssh_keys,
    syntax,
    versions,
)
from tfops import config as config_values
from tfops.config import Config, parse_config
from tfops.dsse import public_key
from tfops.errors import ConfigError, Problem
from tfops.hcl import decode
from tfops.owners import PLACES
from tfops.steps.caller import Caller
from tfops.tree import Tree
from tfops.trust import Rules

CONFIG_NAME = "tfops.hcl"
_PARSERS = (
    config_values,
    config_drift,
    config_forge,
    config_gate,
    config_policy,
    config_review,
    config_store,
    config_trust,
    drift_rules,
    freezes,
    ssh_keys,
    checks,
    schema,
    hcl,
    syntax,
    versions,
)


def read_configuration(tree: Tree, revision: str, caller: Caller) -> Config:
    """The configuration of a revision, or of the file the caller named; raises ConfigError with every fault."""
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
    sources = (Path(module.__file__ or "") for module in _PARSERS)
    stamps = [str(source.stat().st_mtime_ns) for source in sources]
    return hashlib.sha256(" ".join([__version__, *stamps]).encode()).hexdigest()[:12]


def _read_config(path: Path) -> str:
    try:
        return decode(path.read_bytes(), str(path))
    except OSError as error:
        raise ConfigError(
            f"cannot read {path}: {error.strerror}", code="config.missing", hint="check --config"
        ) from error


def default_key_uri(config: Config) -> str:
    """The key `init` makes for a store."""
    return f"file:~/.config/tfops/keys/{(config.store.id or 'unnamed')[:12]}.pem"


def configuration_text(tree: Tree, caller: Caller) -> str:
    """The text that `read_configuration` reads."""
    if caller.config_file is not None:
        return _read_config(caller.config_file)
    return decode(tree.read(CONFIG_NAME), CONFIG_NAME)


def _code_owners(read: Callable[[str], bytes]) -> dict[str, str]:
    """The first CODEOWNERS file there is: it is a rule like the keys are."""
    for place in PLACES:
        with contextlib.suppress(KeyError, OSError):
            return {place: decode(read(place), place)}
    return {}


def read_rules(
    config: Config, text: str, read: Callable[[str], bytes], policy_files: Mapping[str, str] = MappingProxyType({})
) -> Rules:
    """The rules of a configuration, with the public keys it names; raises ConfigError with all faults.

    `policy_files` are the texts of what its policies consist of (`steps/policy_files`).

    `read` gives a file's bytes by its path, and raises KeyError or OSError where there is none.
    """
    files = dict(policy_files)
    problems = []
    for runner in config.runners:
        try:
            data = read(runner.public_key)
            public_key(data)
            files[runner.public_key] = data.decode()
        except (KeyError, OSError, ValueError) as error:
            is_there = isinstance(error, ValueError)
            reason = f"is no public key ({error})" if is_there else "is not at this revision"
            problems.append(
                Problem(
                    code="config.public_key",
                    message=f'runner "{runner.name}": {runner.public_key} {reason}',
                    hint="commit the public key that `tfops init` wrote",
                )
            )
    if problems:
        raise ConfigError.of(problems)
    if any(one.approval is not None and one.approval.codeowners for one in config.environments):
        files |= _code_owners(read)
    return Rules(text=text, config=config, files=files)
