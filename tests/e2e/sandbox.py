"""A whole small world for one story: a bare origin, a clone, a home, a store, a Terraform that counts its starts.

Commands run as the installed program, on real Git and real Terraform, with an environment of their own.
"""

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from tests.nursery import Nursery
from tfops.adapters import keys
from tfops.adapters.objects import DirectoryObjects, Objects
from tfops.adapters.objects_s3 import S3Objects
from tfops.adapters.s3 import Bucket, Found
from tfops.adapters.s3_session import BucketPlace
from tfops.adapters.terraform import embedded_library
from tfops.steps.store import create_store

TFOPS = Path(sys.executable).with_name("tfops")
TIMEOUT_SECONDS = 120
MARKER = "GITLAB_TOKEN"  # on tfops' list of variables that Terraform may see, so it is found in every descendant

READ_AT_THE_START = ("LANG", "LC_", "LD_", "PYTHON")
"""Variables that a process heeds before tfops' own `main`."""

RESOURCE = 'resource "terraform_data" "a" {\n  input = "one"\n}\n'


@dataclass(frozen=True, kw_only=True)
class Result:
    """How one command ended."""

    argv: tuple[str, ...]
    code: int
    out: str
    err: str

    @cached_property
    def json(self) -> dict[str, Any]:
        """The one document on stdout; fails where there is anything else."""
        document = json.loads(self.out)
        assert isinstance(document, dict)
        assert document["exit_code"] == self.code, self
        return document

    def __getitem__(self, stack: str) -> dict[str, Any]:
        """The line of a stack."""
        found = [entry for entry in self.json["stacks"] if entry["stack"] == stack]
        assert len(found) == 1, self
        return found[0]

    @property
    def outcomes(self) -> dict[str, str]:
        """How each stack ended, in the document's order."""
        return {entry["stack"]: entry["outcome"] for entry in self.json["stacks"]}

    @property
    def errors(self) -> list[str]:
        """The codes of all errors."""
        return [error["code"] for error in self.json["errors"]]

    @property
    def messages(self) -> str:
        """All messages and hints in one text."""
        return "\n".join(f"{error['message']}\n{error['hint']}" for error in self.json["errors"])

    @property
    def runs(self) -> dict[str, int]:
        """How often each stack says it started Terraform."""
        return {entry["stack"]: entry["terraform_runs"] for entry in self.json["stacks"]}

    def __str__(self) -> str:
        return f"$ {shlex.join(self.argv)}\nexit {self.code}\n{self.out}\n--\n{self.err}"

    __repr__ = __str__


@dataclass(frozen=True, kw_only=True)
class BucketWorld:
    """A bucket on a server that runs: the world's store lies below a prefix of its own."""

    name: str
    endpoint: str
    environ: Mapping[str, str]
    lease: str = "20s"

    def open(self) -> Bucket:
        """The bucket itself."""
        place = BucketPlace(bucket=self.name, endpoint=self.endpoint, use_path_style=True)
        return Bucket(place, environ=lambda: self.environ)

    def store_block(self, store_id: str, prefix: str) -> str:
        """The store block of tfops.hcl."""
        return (
            f'store "s3" {{\n  id = "{store_id}"\n  bucket = "{self.name}"\n  prefix = "{prefix}"\n'
            f'  region = "us-east-1"\n  endpoint = "{self.endpoint}"\n  use_path_style = true\n'
            f'  lease = "{self.lease}"\n}}\n'
        )


class Sandbox:
    """The world. Everything lies below `directory`."""

    nursery: ClassVar[Nursery | None] = None
    """Where runs come from; without one each is a program that is started anew."""

    def __init__(
        self, directory: Path, *, origin: bool = True, prepared: bool = True, bucket: BucketWorld | None = None
    ) -> None:
        self.directory = directory
        self.bucket = bucket
        self.prefix = f"worlds/{uuid.uuid4().hex}"
        self.home = directory / "home"
        self.clone = directory / "clone"
        self.origin = directory / "origin.git"
        self.bin = directory / "bin"
        self.log = directory / "terraform.log"
        self.has_origin = origin
        self.marker = uuid.uuid4().hex
        for place in (self.home, self.bin, self.clone, directory / "tmp"):
            place.mkdir(parents=True)
        self._write_shim()
        self.env = {
            "HOME": str(self.home),
            "PATH": f"{self.bin}:/usr/local/bin:/usr/bin:/bin",
            "TMPDIR": str(directory / "tmp"),
            "XDG_CACHE_HOME": str(self.home / ".cache"),
            "XDG_STATE_HOME": str(self.home / ".local" / "state"),
            "XDG_CONFIG_HOME": str(self.home / ".config"),
            "LANG": "C.UTF-8",
            "GIT_CONFIG_NOSYSTEM": "1",
            "CHECKPOINT_DISABLE": "1",
            MARKER: self.marker,
        } | {name: value for name, value in os.environ.items() if name.startswith("COVERAGE_")}
        self.env |= bucket.environ if bucket else {}
        (self.home / ".gitconfig").write_text(
            "[user]\nname = Someone\nemail = someone@example.org\n[init]\ndefaultBranch = main\n"
            "[commit]\ngpgsign = false\n[gc]\nauto = 0\n[advice]\ndetachedHead = false\n"
        )
        if origin:
            self.git("init", "-q", "--bare", str(self.origin), cwd=directory)
            self.git("clone", "-q", str(self.origin), str(self.clone), cwd=directory)
        else:
            self.git("init", "-q", str(self.clone), cwd=directory)
        self.store = directory / "store"
        self.key = self.home / "runner.pem"
        if prepared:
            self._prepare()

    def _write_shim(self) -> None:
        found = shutil.which("terraform")
        library = None if found else embedded_library()
        embedded = Path(sys.modules["tfops.adapters"].__file__ or "").with_name("embedded.py")
        words = [found] if found else [sys.executable, "-I", "-S", str(embedded), str(library)]
        shim = self.bin / "terraform"
        log = shlex.quote(str(self.log))
        shim.write_text(f'#!/bin/sh\necho "$PWD $@" >> {log}\nexec {shlex.join(str(word) for word in words)} "$@"\n')
        shim.chmod(0o755)

    def _prepare(self) -> None:
        """What `tfops init` makes, without starting it: a store, a key, a trusted runner."""
        self.store_id = create_store(self.objects)
        keys.generate(self.key, passphrase=None)
        signer = keys.load_signer(f"file:{self.key}", home=self.home, passphrase=None)
        self.public_key = keys.public_pem(signer)
        self.write({"keys/ci.pub": self.public_key})

    @cached_property
    def objects(self) -> Objects:
        """The store's objects, as tfops sees them."""
        if self.bucket is None:
            return DirectoryObjects(self.store)
        return S3Objects(self.bucket.open(), f"{self.prefix}/")

    # ----------------------------------------------------------------- repository

    def git(self, *arguments: str, cwd: Path | None = None, env: Mapping[str, str] | None = None) -> str:
        """Run git; returns what it printed."""
        done = subprocess.run(
            ["git", *arguments],
            cwd=cwd or self.clone,
            env=self.env | dict(env or {}),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"git {arguments}: {done.stderr}"
        return done.stdout.strip()

    def write(self, files: Mapping[str, str | bytes | None]) -> None:
        """Write files into the clone; None removes one."""
        for name, content in files.items():
            path = self.clone / name
            if content is None:
                path.unlink()
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content.encode() if isinstance(content, str) else content)

    def commit(self, files: Mapping[str, str | bytes | None] | None = None) -> str:
        """Write, commit and push; returns the revision."""
        self.write(files or {})
        self.git("add", "-A")
        self.git("commit", "-q", "--allow-empty", "-m", "change")
        if self.has_origin:
            self.git("push", "-q", "-f", "origin", "HEAD")
        return self.git("rev-parse", "HEAD")

    def config(self, environments: str, *, store: Path | str | None = None, extra: str = "") -> str:
        """A tfops.hcl around environment blocks."""
        local = f'store "local" {{\n  id   = "{self.store_id}"\n  path = "{store or self.store}"\n}}\n'
        return (
            f"{self.bucket.store_block(self.store_id, self.prefix) if self.bucket else local}"
            f'signing {{\n  key = "file:{self.key}"\n}}\n'
            'trust {\n  runner "ci" {\n    public_key = "keys/ci.pub"\n  }\n}\n'
            f"{extra}\n{environments}\n"
        )

    def stacks(self, environments: str, files: Mapping[str, str | bytes | None], *, extra: str = "") -> str:
        """Commit a configuration and code; returns the revision."""
        return self.commit({"tfops.hcl": self.config(environments, extra=extra), **files})

    def one_stack(self, code: str = RESOURCE, **keys_: str) -> str:
        """Commit one environment `dev` with the root module `dev`; returns the revision."""
        return self.stacks(environment("dev", **keys_), {"dev/main.tf": code})

    def accept_rules(self) -> None:
        """Put the branch's rules in force, as `init` does in a new store."""
        said = self.tfops("trust", "accept", "--reason", "the first rules")
        assert said.code == 0, said

    # ----------------------------------------------------------------- commands

    def tfops(
        self,
        *arguments: str | Path,
        env: Mapping[str, str | None] | None = None,
        cwd: Path | None = None,
        stdin: str | None = None,
        before: Sequence[str] = (),
    ) -> Result:
        """Run tfops to its end. `before` is a command that starts it."""
        argv = (*before, str(TFOPS), *(str(argument) for argument in arguments))
        early = any(name.startswith(READ_AT_THE_START) for name in env or ())
        start = _start_anew if self.nursery is None or before or early else self.nursery.run
        done = start(argv, cwd=cwd or self.clone, env=self._env(env), stdin=stdin, timeout=TIMEOUT_SECONDS)
        result = Result(argv=argv, code=done.returncode, out=done.stdout, err=done.stderr)
        assert "Traceback" not in result.out + result.err, result
        return result

    def json(self, *arguments: str | Path, **options: Any) -> Result:
        """Run tfops with --format json."""
        result = self.tfops("--format", "json", *arguments, **options)
        _ = result.json
        return result

    def sync(self, *arguments: str | Path, expect: int | None = None, **options: Any) -> Result:
        """Run `tfops sync` with --format json."""
        result = self.json("sync", *arguments, **options)
        assert expect is None or result.code == expect, result
        return result

    def start(self, *arguments: str | Path, env: Mapping[str, str | None] | None = None) -> "Running":
        """Start tfops in a process group of its own, and come back at once."""
        out, err = (self.directory / f"{uuid.uuid4().hex}.{name}" for name in ("out", "err"))
        argv = (str(TFOPS), *(str(argument) for argument in arguments))
        with out.open("wb") as stdout, err.open("wb") as stderr:
            process = subprocess.Popen(
                argv,
                cwd=self.clone,
                env=self._env(env),
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                start_new_session=True,
            )
        return Running(argv=argv, process=process, out=out, err=err)

    def _env(self, changes: Mapping[str, str | None] | None) -> dict[str, str]:
        merged: dict[str, str | None] = {**self.env, **(changes or {})}
        return {name: value for name, value in merged.items() if value is not None}

    # ----------------------------------------------------------------- looking around

    def starts(self) -> list[str]:
        """Every start of Terraform since the last call: its arguments."""
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        self.log.write_text("")
        return [line.partition(" ")[2] for line in lines]

    @property
    def cache(self) -> Path:
        """Where tfops works."""
        return self.home / ".cache" / "tfops"

    def plans(self, stack: str = "dev") -> list[Path]:
        """The directories of a stack's stored plans."""
        place = self.store / stack / "plans"
        return sorted(place.iterdir()) if place.is_dir() else []

    def plan_directory(self, plan_id: str, stack: str = "dev") -> Path:
        """Where a plan is stored."""
        return self.store / stack / "plans" / plan_id

    def state_file(self, stack: str = "dev", workspace: str = "default") -> Path:
        """The managed state of a stack."""
        place = self.store / "state" / stack
        return (
            place / "terraform.tfstate"
            if workspace == "default"
            else place / "workspaces" / workspace / "terraform.tfstate"
        )

    def state(self, stack: str = "dev", workspace: str = "default") -> dict[str, Any]:
        """The managed state of a stack, read."""
        document: dict[str, Any] = json.loads(self.state_bytes(stack, workspace))
        return document

    def state_bytes(self, stack: str = "dev", workspace: str = "default") -> bytes:
        """The managed state of a stack, as it lies there."""
        if self.bucket is None:
            return self.state_file(stack, workspace).read_bytes()
        found = self.bucket.open().get(self.state_key(stack, workspace))
        assert isinstance(found, Found), f"{stack} has no state"
        return found.data

    def state_key(self, stack: str = "dev", workspace: str = "default") -> str:
        """The key of a managed state in the bucket."""
        base = f"{self.prefix}-state/{stack}"
        key = f"{base}/terraform.tfstate"
        return key if workspace == "default" else f"{base}/workspaces/{workspace}/{key}"

    def state_locks(self) -> list[str]:
        """Every lock of Terraform's kind that lies on a state."""
        if self.bucket is None:
            return [str(path) for path in self.store.rglob("*.lock.info")]
        return [key for key in self.bucket.open().keys(f"{self.prefix}-state/") if key.endswith(".tflock")]

    def resources(self, stack: str = "dev", workspace: str = "default") -> dict[str, str]:
        """Address → id of every resource instance in a state."""
        found = {}
        for resource in self.state(stack, workspace)["resources"]:
            for instance in resource["instances"]:
                index = f"[{json.dumps(instance['index_key'])}]" if "index_key" in instance else ""
                prefix = f"{resource['module']}." if "module" in resource else ""
                found[f"{prefix}{resource['type']}.{resource['name']}{index}"] = instance["attributes"]["id"]
        return found

    def outputs(self, stack: str = "dev", workspace: str = "default") -> dict[str, Any]:
        """Name → value of every output in a state."""
        return {name: output["value"] for name, output in self.state(stack, workspace)["outputs"].items()}

    def history(self, stack: str = "dev") -> list[dict[str, Any]]:
        """A stack's deployments, newest first."""
        deployments: list[dict[str, Any]] = self.json("history", stack)[stack]["deployments"]
        return deployments

    def events(self, stack: str = "dev") -> list[dict[str, Any]]:
        """Every journalled event of a stack."""
        found = []
        for plan in self.plans(stack):
            journal = plan / "events.ndjson"
            found += [json.loads(line) for line in journal.read_text().splitlines()] if journal.exists() else []
        return found

    def processes(self) -> dict[int, str]:
        """Every living process that was started from this sandbox: pid → command line."""
        mark = f"{MARKER}={self.marker}".encode()
        found = {}
        for place in Path("/proc").iterdir():
            if not place.name.isdigit() or int(place.name) == os.getpid():
                continue
            try:
                if mark in (place / "environ").read_bytes().split(b"\0"):
                    command = (place / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                    if command:
                        found[int(place.name)] = command
            except (OSError, ValueError):
                continue
        return found


def _start_anew(
    argv: Sequence[str], *, cwd: Path, env: Mapping[str, str], stdin: str | None, timeout: float
) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        argv,
        cwd=cwd,
        env=env,
        input=stdin,
        stdin=subprocess.DEVNULL if stdin is None else None,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


@dataclass(frozen=True, kw_only=True)
class Running:
    """A tfops that runs."""

    argv: tuple[str, ...]
    process: "subprocess.Popen[bytes]"
    out: Path
    err: Path

    def signal(self, number: signal.Signals, *, group: bool = False) -> None:
        """Send a signal, to the process or to its whole group as a terminal does."""
        if group:
            os.killpg(self.process.pid, number)
        else:
            self.process.send_signal(number)

    def end(self) -> Result:
        """Wait until it ended."""
        code = self.process.wait(TIMEOUT_SECONDS)
        result = Result(argv=self.argv, code=code, out=self.out.read_text(), err=self.err.read_text())
        assert "Traceback" not in result.out + result.err, result
        return result


def environment(
    name: str, *, count: int | None = 0, branch: str = "main", roots: str | None = None, **keys_: str
) -> str:
    """An environment block; further keys in HCL."""
    lines = [f'  branch = "{branch}"', f"  roots = {roots or json.dumps([name])}"]
    lines += [f"  {key} = {value}" for key, value in keys_.items()]
    lines += [f"  approval {{ count = {count} }}"] if count is not None else []
    return f'environment "{name}" {{\n' + "\n".join(lines) + "\n}\n"


def wait_for(condition: Any, *, seconds: float = 30.0, what: str = "") -> Any:
    """Poll until `condition()` is true; returns what it gave."""
    deadline = time.monotonic() + seconds
    while True:
        found = condition()
        if found:
            return found
        assert time.monotonic() < deadline, f"waited {seconds} s in vain: {what}"
        time.sleep(0.03)


def contains(path: Path, text: str) -> bool:
    """Whether a file exists and holds a text."""
    return path.exists() and text in path.read_text(errors="replace")


@contextmanager
def kept_file(path: Path) -> Iterator[bytes]:
    """The bytes of a file that is put back afterwards."""
    data = path.read_bytes()
    mode = path.stat().st_mode
    try:
        yield data
    finally:
        path.unlink(missing_ok=True)
        path.write_bytes(data)
        path.chmod(mode)
