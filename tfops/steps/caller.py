"""Who runs tfops and where."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from tfops.adapters.lock import Stop

_TOKENS = {
    "github": ("GITHUB_TOKEN", "GH_TOKEN"),
    "gitlab": ("GITLAB_TOKEN",),
    "bitbucket": ("BITBUCKET_TOKEN",),
    "azure": ("SYSTEM_ACCESSTOKEN", "AZURE_DEVOPS_EXT_PAT"),
    "gitea": ("GITEA_TOKEN", "FORGEJO_TOKEN", "GITHUB_TOKEN"),
}


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

    def forge_token(self, kind: str) -> str | None:
        """The token for a forge: TFOPS_FORGE_TOKEN, a systemd credential, else what the forge's own programs take."""
        names = ("TFOPS_FORGE_TOKEN", *_TOKENS[kind])
        own = self.environ.get(names[0])
        directory = self.environ.get("CREDENTIALS_DIRECTORY")
        if not own and directory and (file := Path(directory) / "forge-token").is_file():
            own = file.read_text(encoding="utf-8").strip()
        return own or next((self.environ[name] for name in names if self.environ.get(name)), None)

    @property
    def store_id(self) -> str | None:
        """The id of the store that counts here, or `ID@PLACE`, whatever a commit says."""
        return self.environ.get("TFOPS_STORE") or None

    @property
    def key_passphrase(self) -> str | None:
        """The passphrase of the signing key, where it has one."""
        return self.environ.get("TFOPS_KEY_PASSPHRASE")
