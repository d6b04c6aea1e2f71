"""The fingerprint of a stack at a revision: a digest of all its plan depends on, and what changed between two."""

import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property

from tfops.config import TIMEOUT_SECONDS, AwsRoles
from tfops.inputs import LOCK_FILE, Inputs
from tfops.stacks import Stack, StateAddress

ALGORITHM = "tfops-fingerprint/v1"


@dataclass(frozen=True, kw_only=True)
class Fingerprint:
    """All inputs of a stack, by kind. `variables` holds keyed digests only; `after` lineage and serial of states."""

    files: Mapping[str, str]
    settings: Mapping[str, object]
    terraform: str
    variables: Mapping[str, str]
    after: Mapping[str, str]

    @cached_property
    def digest(self) -> str:
        """sha256, in hex, over all of it."""
        return hashlib.sha256(self.manifest).hexdigest()

    @cached_property
    def manifest(self) -> bytes:
        """All inputs as canonical JSON: what the digest is made of, and what later tells which input changed."""
        parts = {
            "algorithm": ALGORITHM,
            "files": dict(self.files),
            "settings": dict(self.settings),
            "terraform": self.terraform,
            "variables": dict(self.variables),
            "after": dict(self.after),
        }
        return json.dumps(parts, sort_keys=True, separators=(",", ":")).encode()


def fingerprint(
    stack: Stack,
    inputs: Inputs,
    address: StateAddress,
    *,
    terraform: str,
    environ: Mapping[str, str],
    digest_key: bytes,
    after: Mapping[str, str],
    cli_config: str,
) -> Fingerprint:
    """The inputs of `stack`. `environ` is the caller's; only what the stack passes on counts, and only keyed."""
    return Fingerprint(
        files={path: f"{entry.mode.value} {entry.blob}" for path, entry in inputs.entries.items()},
        settings={
            "root": stack.root,
            "workspace": stack.workspace,
            "var_files": list(stack.var_files),
            "backend_config": [list(pair) for pair in stack.backend_config],
            "state": str(address),
            "cli_config": cli_config,
            **_roles(stack.aws),
            **({"pass_env": sorted(stack.pass_env)} if stack.pass_env else {}),
            # A short one stops half way what was approved to be done whole.
            **({"timeout": stack.timeout_seconds} if stack.timeout_seconds != TIMEOUT_SECONDS else {}),
        },
        terraform=terraform,
        variables={name: keyed(environ[name], digest_key) for name in sorted(stack.pass_env) if name in environ},
        after=dict(after),
    )


def _roles(aws: AwsRoles | None) -> Mapping[str, object]:
    # In whose name it is applied decides where: what was approved for one account says nothing of another.
    return {} if aws is None else {"aws": {name: value for name, value in asdict(aws).items() if value is not None}}


def keyed(value: str, digest_key: bytes) -> str:
    """HMAC-SHA256 of a value that must not be guessable from its digest."""
    return hmac.new(digest_key, value.encode("utf-8", "surrogateescape"), hashlib.sha256).hexdigest()


def changes_between(before: bytes, now: bytes) -> tuple[str, ...]:
    """Which inputs differ between two manifests, in words: "modules/vpc/main.tf changed"."""
    old, new = json.loads(before), json.loads(now)
    found = []
    for part in ("files", "settings", "variables", "after"):
        found += [_word(part, name, old[part], new[part]) for name in sorted(_different(old[part], new[part]))]
    if old["terraform"] != new["terraform"]:
        found.append(f"Terraform changed: {old['terraform']} → {new['terraform']}")
    return tuple(found)


def only_versions_differ(before: bytes, now: bytes) -> bool:
    """Whether two manifests differ, and in nothing but Terraform and provider lock files."""
    old, new = json.loads(before), json.loads(now)
    files = _different(old["files"], new["files"])
    others = any(_different(old[part], new[part]) for part in ("settings", "variables", "after"))
    return old != new and not others and all(path.endswith(LOCK_FILE) for path in files)


def _different(old: Mapping[str, object], new: Mapping[str, object]) -> set[str]:
    return {name for name in {**old, **new} if old.get(name) != new.get(name)}


def _word(part: str, name: str, old: Mapping[str, object], new: Mapping[str, object]) -> str:
    subject = {"files": name, "settings": f"setting {name}", "variables": f"variable {name}"}.get(
        part, f"the state of {name}"
    )
    if name not in old:
        return f"{subject} is new"
    return f"{subject} changed" if name in new else f"{subject} is gone"
