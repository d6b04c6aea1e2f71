"""Who runs tfops and where."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from tfops.adapters.lock import Stop


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who runs tfops and where: all that comes from outside the repository. Made by the command line only."""

    directory: Path
    environ: Mapping[str, str]
    config_file: Path | None = None
    stop: Stop
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
