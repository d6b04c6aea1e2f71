"""The table of kills: tfops killed at its n-th step to the outside, for every n, and then a plain sync.

A point takes five runs of tfops. So that not each of them has to import all of it anew, they are forked off a process
that has: `Nursery`. As a module this is that process.
"""

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn, Self

from tests.e2e.sandbox import Result, Sandbox, wait_for

KILLED = -9
ROOT = Path(__file__).resolve().parents[2]
CONVERGED, TWICE, LOCK, PROCESS, HISTORY = "not converged", "applied twice", "lock left", "process left", "history"

MakeWorld = Callable[[], Sandbox]
Deployments = list[dict[str, Any]]
Check = Callable[[Sandbox, Deployments], Iterable[tuple[str, str]]]
"""More to look at in a world and its history after all: what kind of problem there is, and which one."""


@dataclass(frozen=True, kw_only=True)
class Point:
    """One kill: where it hit, and what was wrong afterwards, as kinds and words."""

    number: int
    step: str
    problems: tuple[tuple[str, str], ...]

    def __str__(self) -> str:
        return "\n".join([f"{self.number} {self.step}", *(f"    {kind}: {words}" for kind, words in self.problems)])


@dataclass(frozen=True, kw_only=True)
class Table:
    """All points of a table, or of a part of one."""

    points: list[Point] = field(default_factory=list)

    @property
    def bad(self) -> list[Point]:
        """The points with problems."""
        return [point for point in self.points if point.problems]

    def count(self, kind: str) -> int:
        """How many points have a problem of that kind."""
        return sum(any(found == kind for found, _ in point.problems) for point in self.points)

    def __str__(self) -> str:
        converged = len(self.points) - self.count(CONVERGED)
        return (
            f"points: {len(self.points)}, converged: {converged}, applied twice: {self.count(TWICE)}, "
            f"locks left: {self.count(LOCK)}, processes left: {self.count(PROCESS)}, "
            f"wrong histories: {self.count(HISTORY)}"
        )


class Nursery:
    """Runs tfops in forks of a process that has imported it. To the system they are processes of their own."""

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.killing.table"],
            cwd=ROOT,
            env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.communicate()

    def run(self, world: Sandbox, *arguments: str, env: dict[str, str] | None = None) -> Result:
        """Run tfops with --format json to its end."""
        streams = {name: str(world.directory / f"nursery.{name}") for name in ("out", "err")}
        argv = ("tfops", "--format", "json", *arguments)
        wish = {"argv": argv, "cwd": str(world.clone), "env": world.env | (env or {}), **streams}
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write(json.dumps(wish) + "\n")
        self._process.stdin.flush()
        code = int(self._process.stdout.readline())
        out, err = (Path(path).read_text() for path in streams.values())
        return Result(argv=argv, code=code, out=out, err=err)


def kill_at(nursery: Nursery, world: Sandbox, number: int) -> tuple[Result, str]:
    """A sync that is killed at its n-th step; how it ended, and the step."""
    log = world.directory / f"steps-{number}"
    result = nursery.run(world, "sync", env={"KILL_LOG": str(log), "KILL_AT": str(number)})
    return result, log.read_text().splitlines()[-1].partition(" ")[2] if log.exists() else "no step"


def kill_table(
    nursery: Nursery, make_world: MakeWorld, check: Check, *, first: int = 1, stride: int = 1, applies: int = 1
) -> Table:
    """Kill in a fresh world at step `first`, `first + stride`, … until a run ends by itself; see what is wrong then.

    `applies` is how many applies each world needs in all, with those it has seen already.
    """
    table, number = Table(), first
    while True:
        world = make_world()
        try:
            result, step = kill_at(nursery, world, number)
            if result.code != KILLED:
                assert result.code == 0, result
                return table
            problems = tuple(_problems(nursery, world, check, applies))
        finally:
            end_processes(world)
        table.points.append(Point(number=number, step=step, problems=problems))
        number += stride


def end_processes(world: Sandbox) -> None:
    """End whatever a world left running; it alone carries the world's marker."""
    for pid in world.processes():
        with suppress(ProcessLookupError):
            os.kill(pid, 9)


def _problems(nursery: Nursery, world: Sandbox, check: Check, applies: int) -> Iterator[tuple[str, str]]:
    after = nursery.run(world, "sync")
    if after.code != 0:
        yield CONVERGED, f"the next sync ended with {after.code}: {after.err}{after.out}"
        return
    again = nursery.run(world, "sync")
    if again.code != 0 or again.outcomes != {"prod": "converged"} or again.runs != {"prod": 0}:
        yield CONVERGED, str(again)
    yield from _left(nursery, world)
    verified = nursery.run(world, "audit", "verify")
    if verified.code != 0:
        yield HISTORY, f"the audit log does not fit the store: {verified.messages}"
    deployments: Deployments = nursery.run(world, "history", "prod")["prod"]["deployments"]
    yield from _history(deployments, applies)
    yield from check(world, deployments)


def _left(nursery: Nursery, world: Sandbox) -> Iterator[tuple[str, str]]:
    if found := world.state_locks():
        yield LOCK, str(found)
    if held := nursery.run(world, "lock", "list").json["stacks"]:
        yield LOCK, str(held)
    try:
        wait_for(lambda: not world.processes(), seconds=10)
    except AssertionError:
        yield PROCESS, str(world.processes())


def _history(deployments: Deployments, applies: int) -> Iterator[tuple[str, str]]:
    """Whatever was done was done once, and is on record; also by a run that was killed."""
    results = [deployment["result"] for deployment in deployments]
    if results.count("applied") > applies:
        yield TWICE, str(results)
    if not set(results) <= {"applied", "interrupted"}:
        yield HISTORY, str(results)


def recorded_creations(deployments: Deployments) -> Counter[str]:
    """Address → how often the records say that it was created."""
    return Counter(
        entry["address"]
        for deployment in deployments
        for entry in deployment["resources"]
        if entry["ok"] and entry["action"] == "create"
    )


def serve() -> None:
    """One fork for each line of standard input; its exit code goes to standard output."""
    # What every run would import.
    import tfops.cli.history
    import tfops.cli.lock
    import tfops.cli.main
    import tfops.cli.sync
    import tfops.steps.local_place
    import tfops.steps.reconciling
    import tfops.steps.s3_place
    import tfops.workflows.history
    import tfops.workflows.lock
    import tfops.workflows.sync  # noqa: F401

    _keep_what_boto_reads()
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            _become_tfops(**json.loads(line))
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)  # noqa: T201  (the answer)


def _keep_what_boto_reads() -> None:
    """Read the descriptions of S3 now: to parse them takes as long as all the requests of a run."""
    import boto3
    from botocore.loaders import JSONFileLoader

    load, loader = JSONFileLoader.load_file, JSONFileLoader()
    kept = cache(lambda path: load(loader, path))
    JSONFileLoader.load_file = lambda self, path: kept(path)
    boto3.session.Session().client("s3", region_name="us-east-1").close()


def _become_tfops(*, argv: list[str], cwd: str, env: dict[str, str], out: str, err: str) -> NoReturn:
    from tfops.cli.main import main

    os.setsid()
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(env)
    flags = os.O_CREAT | os.O_WRONLY | os.O_TRUNC
    for number, path, mode in ((0, os.devnull, os.O_RDONLY), (1, out, flags), (2, err, flags)):
        os.dup2(os.open(path, mode, 0o600), number)
    sys.argv = argv
    from tests.killing import sitecustomize  # noqa: F401  (its import counts, and kills)

    try:
        main()
    except SystemExit as end:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(end.code if isinstance(end.code, int) else 1)
    os._exit(0)


if __name__ == "__main__":
    serve()
