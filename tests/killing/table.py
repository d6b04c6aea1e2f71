"""The table of kills: tfops killed at its n-th step to the outside, for every n, and then a plain sync.

Its runs have to come out of a nursery, which knows how to kill them.
"""

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from tests.e2e.sandbox import Result, Sandbox, wait_for

KILLED = -9
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


def kill_at(world: Sandbox, number: int, only: Sequence[str] = ()) -> tuple[Result, str]:
    """A sync that is killed at its n-th step, or its n-th of these kinds; how it ended, and the step."""
    log = world.directory / f"steps-{number}"
    wish = {"KILL_LOG": str(log), "KILL_AT": str(number), "KILL_ONLY": ",".join(only)}
    result = world.tfops("--format", "json", "sync", env=wish)
    return result, log.read_text().splitlines()[-1].partition(" ")[2] if log.exists() else "no step"


def kill_table(
    make_world: MakeWorld,
    check: Check,
    *,
    only: Sequence[str] = (),
    first: int = 1,
    stride: int = 1,
    applies: int = 1,
) -> Table:
    """Kill in a fresh world at step `first`, `first + stride`, … until a run ends by itself; see what is wrong then.

    `only` are the kinds of steps that count, where not all do. `applies` is how many applies each world needs in all,
    with those it has seen already.
    """
    table, number = Table(), first
    while True:
        world = make_world()
        try:
            result, step = kill_at(world, number, only)
            if result.code != KILLED:
                assert result.code == 0, result
                return table
            problems = tuple(_problems(world, check, applies))
        finally:
            end_processes(world)
        table.points.append(Point(number=number, step=step, problems=problems))
        number += stride


def end_processes(world: Sandbox) -> None:
    """End whatever a world left running; it alone carries the world's marker."""
    for pid in world.processes():
        with suppress(ProcessLookupError):
            os.kill(pid, 9)


def _problems(world: Sandbox, check: Check, applies: int) -> Iterator[tuple[str, str]]:
    after = world.json("sync")
    if after.code != 0:
        yield CONVERGED, f"the next sync ended with {after.code}: {after.err}{after.out}"
        return
    again = world.json("sync")
    if again.code != 0 or again.outcomes != {"prod": "converged"} or again.runs != {"prod": 0}:
        yield CONVERGED, str(again)
    yield from _left(world)
    verified = world.json("audit", "verify")
    if verified.code != 0:
        yield HISTORY, f"the audit log does not fit the store: {verified.messages}"
    deployments: Deployments = world.json("history", "prod")["prod"]["deployments"]
    yield from _history(deployments, applies)
    yield from check(world, deployments)


def _left(world: Sandbox) -> Iterator[tuple[str, str]]:
    if found := world.state_locks():
        yield LOCK, str(found)
    if held := world.json("lock", "list").json["stacks"]:
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
