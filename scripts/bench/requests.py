"""What a sync asks of S3, counted between it and a real server; time against plain Terraform on the same server.

.venv/bin/python scripts/bench/requests.py [STACKS]
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.servers.moto import Moto
from tests.servers.proxy import FaultProxy, Request

ROUNDS = 3
BUDGET = {"converged": 3, "applied": 25}


def main() -> None:
    stacks = int(sys.argv[1]) if len(sys.argv) > 1 else 4
    with tempfile.TemporaryDirectory() as place, Moto(Path(place) / "moto") as server:
        server.bucket("bench")
        with FaultProxy(server.endpoint) as proxy:
            Bench(Path(place), proxy, server.environ, stacks).report()


def kind(request: Request) -> str:
    """Who asks, and for what."""
    if "terraform" in request.headers.get("user-agent", "").lower():
        return "Terraform's own"
    if "/probe/" in request.path:
        return "run: probe"
    if "list-type" in request.query:
        names = {"stacks": "run: orphans (a listing)", "audit": "run: the end of the audit log (a listing)"}
        return next((name for part, name in names.items() if part in request.query), "stack: a listing")
    if request.path.endswith(("/store.json", "/digest-key")):
        return "run: opening the store"
    if "/trust/" in request.path:
        return "run: the rules in force"
    if "/audit/" in request.path and request.method == "GET":
        return "run: the end of the audit log"
    if "/events.ndjson" in request.path:
        return "journal"
    if request.path.endswith("/lease.json") and request.method == "PUT":
        return "lease: taken, renewed, given back"
    return "stack"


class Bench:
    """The same stacks for tfops and for plain Terraform, in one bucket."""

    def __init__(self, place: Path, proxy: FaultProxy, environ: dict[str, str], stacks: int) -> None:
        self.proxy = proxy
        self.names = [f"s{number:02d}" for number in range(stacks)]
        self.repository, self.plain = place / "repository", place / "plain"
        home = place / "home"
        home.mkdir()
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        self.env = {"HOME": str(home), "PATH": path, "TF_INPUT": "0", **environ}
        for name in self.names:
            (self.repository / name).mkdir(parents=True)
            (self.plain / name).mkdir(parents=True)
            (self.plain / name / "backend.tf").write_text(self.backend(name))
        (self.repository / "tfops.hcl").write_text(self.configuration())
        self.code(0)
        self.run(["git", "init", "-q", "-b", "main", "."], self.repository)
        self.run(["tfops", "init"], self.repository)
        self.commit()
        for name in self.names:
            self.run(["terraform", "init", "-no-color"], self.plain / name)

    def configuration(self) -> str:
        store = (
            f'store "s3" {{\n  bucket = "bench"\n  region = "us-east-1"\n  endpoint = "{self.proxy.endpoint}"\n'
            "  use_path_style = true\n}\n"
        )
        return store + "".join(
            f'environment "{name}" {{\n  branch = "main"\n  roots = ["{name}"]\n  approval {{ count = 0 }}\n}}\n'
            for name in self.names
        )

    def backend(self, name: str) -> str:
        flags = ("skip_credentials_validation", "skip_metadata_api_check", "skip_requesting_account_id")
        lines = "".join(f"    {flag} = true\n" for flag in (*flags, "skip_region_validation", "use_path_style"))
        return (
            f'terraform {{\n  backend "s3" {{\n    bucket = "bench"\n    key = "plain/{name}"\n'
            f'    region = "us-east-1"\n    use_lockfile = true\n{lines}'
            f'    endpoints = {{ s3 = "{self.proxy.endpoint}" }}\n  }}\n}}\n'
        )

    def code(self, version: int) -> None:
        for name in self.names:
            for base in (self.repository, self.plain):
                (base / name / "main.tf").write_text(f'resource "terraform_data" "a" {{\n  input = "{version}"\n}}\n')

    def commit(self) -> None:
        self.run(["git", "add", "-A"], self.repository)
        self.run(["git", "-c", "user.name=b", "-c", "user.email=b@b", "commit", "-qm", "x"], self.repository)

    def run(self, argv: list[str], cwd: Path) -> None:
        done = subprocess.run(argv, cwd=cwd, env=self.env, capture_output=True, text=True, check=False)
        if done.returncode not in (0, 2):
            sys.exit(f"{argv}: {done.returncode}\n{done.stdout}{done.stderr}")

    def sync(self) -> None:
        self.run(["tfops", "sync", "--jobs", "1"], self.repository)

    def plain_noop(self) -> None:
        for name in self.names:
            self.run(["terraform", "plan", "-detailed-exitcode", "-no-color"], self.plain / name)

    def plain_change(self) -> None:
        for name in self.names:
            self.run(["terraform", "plan", "-out", "p", "-no-color"], self.plain / name)
            self.run(["terraform", "apply", "-no-color", "p"], self.plain / name)

    def measured(self, action: Callable[[], None]) -> tuple[float, Counter[str]]:
        self.proxy.clear()
        start = time.perf_counter()
        action()
        return time.perf_counter() - start, Counter(kind(request) for request in self.proxy.requests)

    def report(self) -> None:
        print(f"{len(self.names)} stacks in one bucket, medians of {ROUNDS} rounds\n")
        self.show(
            "applied for the first time", [self.measured(self.sync)], [self.measured(self.plain_change)], "applied"
        )
        noop = [(self.measured(self.sync), self.measured(self.plain_noop)) for _ in range(ROUNDS)]
        self.show("converged", [ours for ours, _ in noop], [plain for _, plain in noop], "converged")
        change = []
        for version in range(1, ROUNDS + 1):
            self.code(version)
            self.commit()
            change.append((self.measured(self.sync), self.measured(self.plain_change)))
        self.show("applied", [ours for ours, _ in change], [plain for _, plain in change], "applied")

    def show(
        self,
        title: str,
        ours: list[tuple[float, Counter[str]]],
        plain: list[tuple[float, Counter[str]]],
        budget: str,
    ) -> None:
        seconds, plain_seconds = (statistics.median(time for time, _ in each) for each in (ours, plain))
        counted = ours[-1][1]
        stacks = len(self.names)
        per_stack = sum(number for name, number in counted.items() if name.startswith("stack")) / stacks
        listings = sum(number for name, number in counted.items() if "listing" in name)
        print(f"{title}: {per_stack:.1f} requests a stack (at most {BUDGET[budget]} wanted), {listings} listings a run")
        for name in sorted(counted):
            print(f"  {counted[name]:5d}  {name}")
        print(f"  {sum(plain[-1][1].values()):5d}  by plain Terraform for the same")
        print(f"  time against plain Terraform: ratio {seconds / plain_seconds:.2f}\n")
        if per_stack > BUDGET[budget]:
            sys.exit(f"{title}: more requests than wanted")


if __name__ == "__main__":
    main()
