"""`lifecycle.ignore_changes`, read from the code itself: a plan's JSON does not tell it."""

import json
from collections.abc import Iterator
from pathlib import Path

from tfops.errors import ConfigError
from tfops.modules import active_files, ignored_changes
from tfops.steps.workplace import Workplace


def ignored(work: Workplace) -> dict[str, tuple[str, ...]]:
    """What each resource block of an initialised stack ignores, by address without instance keys."""
    root = work.terraform.place.root
    found: dict[str, tuple[str, ...]] = {}
    for prefix, directory in _modules(work, root):
        for name in active_files(path.name for path in directory.iterdir()) if directory.is_dir() else ():
            found |= {f"{prefix}{address}": names for address, names in _in_file(directory / name).items()}
    return found


def _modules(work: Workplace, root: Path) -> Iterator[tuple[str, Path]]:
    """Every module with the prefix of its addresses, as `terraform init` noted them."""
    yield "", root
    try:
        noted = json.loads((work.directory / "data" / "modules" / "modules.json").read_bytes())["Modules"]
        keyed = [(str(module["Key"]), str(module["Dir"])) for module in noted]
    except (OSError, ValueError, KeyError, TypeError):
        return
    for key, directory in keyed:
        if key:
            yield "".join(f"module.{name}." for name in key.split(".")), root / directory


def _in_file(path: Path) -> dict[str, tuple[str, ...]]:
    try:
        return ignored_changes(path.read_bytes(), path.name)
    except (OSError, ConfigError):
        return {}
