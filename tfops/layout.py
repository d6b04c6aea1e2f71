"""Which directories of a repository are root modules, as far as their files tell: for a first configuration.

To take a module that others call for a root module would apply it by itself. So in doubt a directory is not one.
"""

import posixpath
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from tfops.config import is_environment_name
from tfops.errors import ConfigError
from tfops.modules import Facts, active_files, is_local, scan

MOST_DIRECTORIES = 1000
"""In a repository with more of them, only its root and environments/* are looked at."""
_NEVER = frozenset({"example", "examples", "fixtures", "modules", "test", "testdata", "tests", "vendor"})
_PROVIDER = re.compile(rb'^\s*provider\s*"', re.MULTILINE)
_PROVIDER_IN_JSON = re.compile(rb'"provider"\s*:')
_BUILTIN = "terraform"
_LOCK_FILE = ".terraform.lock.hcl"
STATE = "terraform.tfstate"

_Files: TypeAlias = Mapping[str, list[str]]
"""The names of the files in each directory."""
_Code: TypeAlias = Mapping[str, tuple[Facts, ...] | None]
"""What the code of each directory says; None where some of it cannot be read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """What was found: root modules by the name of their environment, directories that may be some, and what is amiss.

    `faults` say for a root module why a first `tfops sync` would fail.
    """

    roots: Mapping[str, str]
    code: tuple[str, ...]
    """The directories of the root modules and of the local modules that they call."""
    doubtful: tuple[str, ...]
    faults: Mapping[str, str]


def layout(paths: Iterable[str], read: Callable[[str], bytes]) -> Layout:
    """The root modules among the files of a repository.

    A root module is not called as a local module, lies below no directory of examples, tests or modules, and has
    something that only root modules have: a backend, a provider's settings, a lock file or values for its variables.
    What lies at the root of the repository or in environments/ needs no such sign.
    """
    found = _directories(paths)
    facts = {directory: _facts(directory, names, read) for directory, names in found.items() if active_files(names)}
    called = {target for directory, own in facts.items() for target in _calls(directory, own or ())}
    open_ones = [one for one in sorted(facts) if one not in called and _NEVER.isdisjoint(one.split("/"))]
    roots = [one for one in open_ones if _is_sure(one) or _has_sign(one, found[one], facts[one], read)]
    named = environment_names(roots)
    return Layout(
        roots=named,
        code=tuple(dict.fromkeys(part for one in named.values() for part in _parts(one, facts))),
        doubtful=tuple(one for one in open_ones if one not in named.values()),
        faults={one: fault for one in named.values() if (fault := _fault(one, found, facts))},
    )


def environment_names(roots: Collection[str]) -> dict[str, str]:
    """Names for environments of one root module each: as much of the end of their paths as tells them apart."""
    for depth in range(1, 1 + max((root.count("/") + 1 for root in roots), default=0)):
        names = {root: "-".join(root.split("/")[-depth:]) if root != "." else "main" for root in roots}
        if len(set(names.values())) == len(names):
            break
    else:
        names = {}
    return {name: root for root, name in names.items() if is_environment_name(name)}


def _directories(paths: Iterable[str]) -> dict[str, list[str]]:
    """The names of the files in each directory that may hold Terraform code."""
    found: dict[str, list[str]] = {}
    for path in paths:
        directory, name = posixpath.split(path)
        if not any(part.startswith(".") for part in directory.split("/")):
            found.setdefault(directory or ".", []).append(name)
    code = [directory for directory, names in found.items() if active_files(names)]
    if len(code) <= MOST_DIRECTORIES:
        return found
    return {directory: names for directory, names in found.items() if _is_sure(directory)}


def _is_sure(directory: str) -> bool:
    return directory == "." or posixpath.dirname(directory) == "environments"


def _facts(directory: str, names: Iterable[str], read: Callable[[str], bytes]) -> tuple[Facts, ...] | None:
    """What the files of a directory say; None where one of them cannot be read."""
    paths = [posixpath.normpath(posixpath.join(directory, name)) for name in active_files(names)]
    try:
        return tuple(scan(read(path), path) for path in paths)
    except (ConfigError, OSError):
        return None


def _calls(directory: str, facts: Iterable[Facts]) -> Iterable[str]:
    for call in (call for one in facts for call in one.modules):
        if call.source and is_local(call.source):
            yield posixpath.normpath(posixpath.join(directory, call.source))


def _has_sign(
    directory: str, names: Iterable[str], facts: tuple[Facts, ...] | None, read: Callable[[str], bytes]
) -> bool:
    if facts is None:
        return False
    if any(name == _LOCK_FILE or name.endswith((".tfvars", ".tfvars.json")) for name in names):
        return True
    files = (posixpath.normpath(posixpath.join(directory, name)) for name in active_files(names))
    return any(one.backend for one in facts) or any(_settings(file).search(read(file)) for file in files)


def _settings(file: str) -> re.Pattern[bytes]:
    """What a provider's settings begin with: modules for others are not to have any."""
    return _PROVIDER_IN_JSON if file.endswith(".json") else _PROVIDER


def _fault(root: str, found: _Files, facts: _Code) -> str | None:
    """Why the first `tfops sync` of a root module would fail, or do harm; None where nothing is known."""
    if facts[root] is None:
        return "one of its files cannot be read: `terraform validate` says which"
    if STATE in found[root]:
        return (
            f"{STATE} lies beside the code; tfops does not use it, and would make everything a second time: "
            "bring it to a backend first (terraform init -migrate-state)"
        )
    uses = (
        use.name for directory in _parts(root, facts) for one in facts.get(directory) or () for use in one.providers
    )
    if _LOCK_FILE not in found[root] and any(name != _BUILTIN for name in uses):
        return f"it uses providers, and has no {_LOCK_FILE}: run `terraform init` there, and commit that file"
    return None


def _parts(root: str, facts: _Code) -> list[str]:
    """The directory of a root module, and those of the local modules that it calls, directly or not."""
    parts = [root]
    for directory in parts:  # it grows while we go
        parts += [one for one in dict.fromkeys(_calls(directory, facts.get(directory) or ())) if one not in parts]
    return parts
