"""`tfops drift` over many stacks in sync against plain `terraform plan` over the same directories, equally parallel.

.venv/bin/python scripts/bench/drift_scan.py [--builtin] [STACKS] [RESOURCES] [ROUNDS] [JOBS]

The objects are those of the tests' provider, which starts as any provider does. With --builtin they are
`terraform_data`, of which Terraform plans twenty in 50 ms: then it is the start of processes that is measured.
Both plan in directories that were initialised before; plain Terraform keeps no record, signs nothing, compares nothing.
"""

import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))
from tests.provider.install import install, lock_file, provider_at

CONFIG = 'environment "fleet" {\n  branch = "main"\n  roots = ["stacks/*"]\n  approval {\n    count = 0\n  }\n}\n'


def main() -> None:
    """Measure, and print ratios."""
    words = sys.argv[1:]
    builtin = "--builtin" in words
    given = [int(word) for word in words if word != "--builtin"]
    stacks, resources, rounds, jobs = given + [50, 20, 3, os.cpu_count() or 1][len(given) :]
    with tempfile.TemporaryDirectory() as directory:
        Bench(Path(directory), stacks, resources, jobs, builtin=builtin).report(rounds)


class Bench:
    """One repository with many stacks, applied once; and the same directories for plain Terraform."""

    def __init__(self, place: Path, stacks: int, resources: int, jobs: int, *, builtin: bool) -> None:
        self.place, self.jobs, self.resources = place, jobs, resources
        self.repository, self.plain, self.count = place / "repository", place / "plain", place / "starts"
        self.names = [f"s{number:03d}" for number in range(stacks)]
        home = place / "home"
        home.mkdir()
        self.settings = None if builtin else install(place / "provider")
        self.env = {"HOME": str(home), "PATH": f"{self.shim()}:{os.environ['PATH']}", "TF_INPUT": "0"}
        self.env |= {"TF_CLI_CONFIG_FILE": str(self.settings)} if self.settings else {}
        self.code()
        self.run(["git", "init", "-q", "-b", "main", "."], self.repository)
        self.tfops("init")
        config = self.repository / "tfops.hcl"
        own = re.sub(r'^environment ".*?^}$', "", config.read_text(), flags=re.MULTILINE | re.DOTALL)
        own += CONFIG if self.settings is None else CONFIG.replace("}\n}", f'}}\n  cli_config = "{self.settings}"\n}}')
        config.write_text(own)
        self.run(["git", "add", "-A"], self.repository)
        self.run(["git", "-c", "user.name=b", "-c", "user.email=b@b", "commit", "-qm", "x"], self.repository)

    def shim(self) -> Path:
        """A terraform on PATH that counts its starts."""
        real = shutil.which("terraform") or sys.exit("terraform is needed on PATH")
        file = self.place / "bin" / "terraform"
        file.parent.mkdir()
        file.write_text(f'#!/bin/sh\necho "$1" >> {self.count}\nexec {real} "$@"\n')
        file.chmod(0o755)
        return file.parent

    def code(self) -> None:
        """The same stacks in both places."""
        for base in (self.repository / "stacks", self.plain):
            for name in self.names:
                (base / name).mkdir(parents=True, exist_ok=True)
                (base / name / "main.tf").write_text(self.body(name))
                if self.settings is not None:
                    (base / name / ".terraform.lock.hcl").write_bytes(lock_file(self.settings))

    def body(self, name: str) -> str:
        """The code of one stack."""
        numbers = range(self.resources)
        if self.settings is None:
            return "".join(f'resource "terraform_data" "r{n}" {{\n  input = "{n}"\n}}\n' for n in numbers)
        servers = (f'resource "fakecloud_server" "r{n}" {{\n  name = "{name}-{n}"\n}}\n' for n in numbers)
        return provider_at(self.place / "cloud") + "".join(servers)

    def run(self, argv: list[str], cwd: Path) -> None:
        """Run to its end; anything but "nothing to do" ends the benchmark."""
        done = subprocess.run(argv, cwd=cwd, env=self.env, capture_output=True, text=True, check=False)
        if done.returncode:
            sys.exit(f"{argv}: {done.returncode}\n{done.stdout}{done.stderr}")

    def tfops(self, *arguments: str) -> None:
        """The tfops of this checkout."""
        self.run([sys.executable, "-m", "tfops", *arguments], self.repository)

    def everywhere(self, *arguments: str) -> None:
        """Plain Terraform in each directory, as many at once as tfops may."""
        with ThreadPoolExecutor(self.jobs) as pool:
            list(pool.map(lambda name: self.run(["terraform", *arguments], self.plain / name), self.names))

    def scan(self) -> None:
        """What is measured."""
        self.tfops("drift", "--jobs", str(self.jobs))

    def plans(self) -> None:
        """What it is compared with."""
        self.everywhere("plan", "-detailed-exitcode", "-no-color", "-input=false", "-lock=false")

    def timed(self, action: Callable[[], None]) -> tuple[float, int]:
        """Seconds, and how many Terraform processes were started."""
        self.count.unlink(missing_ok=True)
        start = time.perf_counter()
        action()
        return time.perf_counter() - start, len(self.count.read_text().splitlines())

    def report(self, rounds: int) -> None:
        """Apply once, scan once so that all directories are initialised, then measure side by side."""
        self.everywhere("init", "-no-color")
        self.everywhere("apply", "-auto-approve", "-no-color")
        self.tfops("sync", "--jobs", str(self.jobs))
        self.scan()
        pairs = [(self.timed(self.scan), self.timed(self.plans)) for _ in range(rounds)]
        (ours, starts), (plain, plain_starts) = (
            (statistics.median(pair[side][0] for pair in pairs), pairs[-1][side][1]) for side in (0, 1)
        )
        print(f"{len(self.names)} stacks of {self.resources} resources in sync, {self.jobs} at once, {rounds} rounds")
        print(
            f"tfops drift {ours:.2f} s, {starts} Terraform processes; terraform plan {plain:.2f} s, {plain_starts} "
            f"processes; ratio {ours / plain:.2f}"
        )


if __name__ == "__main__":
    main()
