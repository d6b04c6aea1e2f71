"""The forge block of tfops.hcl: where the repository lives, who reviews it there, and where tfops comments."""

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from tfops import checks
from tfops.config_trust import FORGES
from tfops.schema import Field, Section, suggestion

HOSTS = {
    "github": "https://github.com",
    "gitlab": "https://gitlab.com",
    "bitbucket": "https://bitbucket.org",
    "azure": "https://dev.azure.com",
    "gitea": "https://codeberg.org",
}
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
_SCP = re.compile(r"(?:[^@/]+@)?([^:/]+):(?!//)(.+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class ForgeSettings:
    """A forge. Without a repository the one that the remote names is meant."""

    kind: str
    url: str
    repository: str | None = None
    comment: bool = True


def forge(top: Section) -> ForgeSettings | None:
    """The forge block; None where there is none: then tfops talks to no forge."""
    blocks = top.named("forge", example='forge "github" {}, or gitlab, bitbucket, azure, gitea')
    for kind, section in blocks:
        if kind not in FORGES:
            section.refuse("invalid_value", "is no forge that tfops knows", suggestion(kind, FORGES))
    for _, section in blocks[1:]:
        section.refuse("duplicate", "is a second forge", "keep one of them: a repository lives in one place")
    if not blocks or blocks[0][0] not in FORGES:
        return None
    kind, section = blocks[0]
    section.check_names(attributes=("url", "repository", "comment"))
    return ForgeSettings(
        kind=kind,
        url=section.get("url", _address, HOSTS[kind]).rstrip("/"),
        repository=section.get("repository", checks.text, None),
        comment=section.get("comment", checks.boolean, True),
    )


def _address(found: Field) -> str | None:
    address = checks.text(found)
    if address is None:
        return None
    parts = urlsplit(address)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.query:
        found.refuse("invalid_value", f'cannot be "{address}"', 'write it like "https://git.example.org"')
        return None
    if parts.scheme == "http" and parts.hostname not in _LOOPBACK:
        found.refuse("invalid_value", "is not encrypted: a token would be sent in clear", "write https://")
        return None
    return address


def repository_of(remote: str) -> str | None:
    """The path of a repository in a remote's address (`owner/name`); None for a path of this machine."""
    scp = _SCP.fullmatch(remote)
    if "://" not in remote and scp is None:
        return None
    path = scp[2] if scp and "://" not in remote else urlsplit(remote).path
    return path.strip("/").removesuffix(".git") or None
