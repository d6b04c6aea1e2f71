"""tfops against plain Terraform, in the same run, on the same code: prints ratios, counts of processes and bytes.

.venv/bin/python scripts/bench/overhead.py [RESOURCES] [ROUNDS]
"""

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

STACKS = ("dev", "staging", "prod")


def main() -> None:
    resources = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 5
    with tempfile.TemporaryDirectory() as directory:
        Bench(Path(directory), resources).report(rounds)


class Bench:
    """One repository with three stacks, and the same three directories for plain Terraform."""

    def __init__(self, place: Path, resources: int) -> None:
        self.repository = place / "repository"
        self.plain = place / "plain"
        self.count = place / "starts"
        self.resources = resources
        home = place / "home"
        home.mkdir()
        self.env = {"HOME": str(home), "PATH": f"{self.shim(place)}:{os.environ['PATH']}", "TF_INPUT": "0"}
        self.code(0)
        self.run(["git", "init", "-q", "-b", "main", "."], self.repository)
        self.tfops("init")
        self.commit()

    def shim(self, place: Path) -> Path:
        """A terraform on PATH that counts its starts."""
        real = shutil.which("terraform") or sys.exit("terraform is needed on PATH")
        file = place / "bin" / "terraform"
        file.parent.mkdir()
        file.write_text(f'#!/bin/sh\necho "$1" >> {self.count}\nexec {real} "$@"\n')
        file.chmod(0o755)
        return file.parent

    def code(self, version: int) -> None:
        body = "".join(
            f'resource "terraform_data" "r{number}" {{\n  input = "{version}-{number}"\n}}\n'
            for number in range(self.resources)
        )
        for base in (self.repository / "environments", self.plain):
            for stack in STACKS:
                (base / stack).mkdir(parents=True, exist_ok=True)
                (base / stack / "main.tf").write_text(body)

    def commit(self) -> None:
        self.run(["git", "add", "-A"], self.repository)
        self.run(["git", "-c", "user.name=b", "-c", "user.email=b@b", "commit", "-qm", "x"], self.repository)

    def run(self, argv: list[str], cwd: Path) -> None:
        done = subprocess.run(argv, cwd=cwd, env=self.env, capture_output=True, text=True, check=False)
        if done.returncode not in (0, 2):
            sys.exit(f"{argv}: {done.returncode}\n{done.stdout}{done.stderr}")

    def tfops(self, *arguments: str) -> None:
        self.run([sys.executable, "-m", "tfops", *arguments], self.repository)

    def terraform_noop(self) -> None:
        for stack in STACKS:
            self.run(["terraform", "plan", "-detailed-exitcode", "-no-color"], self.plain / stack)

    def terraform_change(self) -> None:
        for stack in STACKS:
            self.run(["terraform", "plan", "-out", "p", "-no-color"], self.plain / stack)
            self.run(["terraform", "apply", "-no-color", "p"], self.plain / stack)

    def timed(self, action: Callable[[], None]) -> tuple[float, int]:
        self.count.unlink(missing_ok=True)
        start = time.perf_counter()
        action()
        seconds = time.perf_counter() - start
        return seconds, len(self.count.read_text().splitlines()) if self.count.exists() else 0

    def report(self, rounds: int) -> None:
        for stack in STACKS:
            self.run(["terraform", "init", "-no-color"], self.plain / stack)
        self.terraform_change()
        self.tfops("sync")
        noop = [(self.timed(lambda: self.tfops("sync")), self.timed(self.terraform_noop)) for _ in range(rounds)]
        change = []
        for number in range(1, rounds + 1):
            self.code(number)
            self.commit()
            change.append((self.timed(lambda: self.tfops("sync", "--jobs", "1")), self.timed(self.terraform_change)))
        print(f"{len(STACKS)} stacks of {self.resources} resources, {rounds} rounds, medians")
        self.line("nothing to do", noop)
        self.line("everything changes (one at a time)", change)

    def line(self, name: str, rounds: list[tuple[tuple[float, int], tuple[float, int]]]) -> None:
        ours, plain = (statistics.median(pair[side][0] for pair in rounds) for side in (0, 1))
        starts = [rounds[-1][side][1] for side in (0, 1)]
        print(
            f"{name}: tfops {ours:.2f} s, {starts[0]} Terraform processes; plain Terraform {plain:.2f} s, "
            f"{starts[1]} processes; ratio {ours / plain:.2f}"
        )


if __name__ == "__main__":
    main()
