"""Where modules and providers come from: one spelling for each place, and the patterns that allow some of them."""

import re
from collections.abc import Iterable

REGISTRIES = {"terraform": "registry.terraform.io", "tofu": "registry.opentofu.org"}
BUILT_IN = "terraform.io/builtin/terraform"

_NAME = "[A-Za-z0-9_-]+"
_HOST = r"[A-Za-z0-9.-]+\.[A-Za-z0-9-]+(?::[0-9]+)?"
_REGISTRY_MODULE = re.compile(rf"(?:({_HOST})/)?({_NAME}/{_NAME}/{_NAME})")
_CODE_HOSTS = re.compile(r"((?:github\.com|gitlab\.com|bitbucket\.org)/[^/]+/[^/]+)(.*)")
_SCP = re.compile(r"([A-Za-z0-9_.-]+@[^/:]+):(?!//)(.*)")
# A program that fetches may shorten or decode these: then it is another place than the one that was compared.
_MISLEADING = re.compile(r"(^|/)\.\.(/|$)|[%\\\s]")


def module_address(source: str, *, product: str) -> str:
    """A module's package as one spelling, without the directory in it and without `?ref=…`."""
    package = _package(source.partition("?")[0])
    if (found := _REGISTRY_MODULE.fullmatch(package)) and not _CODE_HOSTS.fullmatch(package):
        return f"{found[1] or REGISTRIES[product]}/{found[2]}"
    if found := _CODE_HOSTS.fullmatch(package):
        ending = "" if found[1].endswith(".git") else ".git"
        return f"git::https://{found[1]}{ending}{found[2]}"
    if found := _SCP.fullmatch(package):
        return f"git::ssh://{found[1]}/{found[2]}"
    return package


def provider_address(source: str, *, product: str) -> str:
    """A provider's full address: `aws` is `registry.terraform.io/hashicorp/aws`."""
    parts = source.lower().split("/")
    before = (REGISTRIES[product], "hashicorp")
    return "/".join((*before[: max(0, 3 - len(parts))], *parts))


def is_allowed(address: str, patterns: Iterable[str]) -> bool:
    """Whether a pattern fits: `*` stands for a part of one name, and after the last `/` for all that is below.

    A pattern without a host speaks of the public registry.
    """
    if not address or _MISLEADING.search(address):
        return False
    spellings = {address, *(address.removeprefix(f"{registry}/") for registry in REGISTRIES.values())}
    return any(_pattern(pattern).fullmatch(spelling) for pattern in patterns for spelling in spellings)


def _package(source: str) -> str:
    """Without `//directory`, which only says where to look inside."""
    scheme, mark, rest = source.rpartition("://")
    return f"{scheme}{mark}{rest.partition('//')[0]}"


def _pattern(pattern: str) -> re.Pattern[str]:
    below = ".+" if pattern.endswith("/*") else ""
    pieces = (pattern[:-1] if below else pattern).split("*")
    # Nothing that could end a host's name early, or begin another one.
    return re.compile(r"[^/?#@:\\]*".join(map(re.escape, pieces)) + below)
