"""The table of kills: tfops killed at its n-th step to the outside, for every n, and then a plain sync."""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from tests.e2e.sandbox import Result, Sandbox, wait_for

KILLED = -9
HOOK = Path(__file__).parent


@dataclass(frozen=True, kw_only=True)
class Point:
    """One kill: where it hit, and what became of it."""

    number: int
    step: str
    problems: tuple[str, ...]


def kill_at(world: Sandbox, number: int) -> tuple[Result, str]:
    """A sync that is killed at its n-th step; how it ended, and the step."""
    log = world.directory / f"steps-{number}"
    env = {"PYTHONPATH": str(HOOK), "KILL_LOG": str(log), "KILL_AT": str(number)}
    result = world.tfops("--format", "json", "sync", env=env)
    return result, log.read_text().splitlines()[-1] if log.exists() else "no step"


def kill_table(
    make_world: Callable[[], Sandbox], check: Callable[[Sandbox], Iterable[str]], *, first: int = 1, stride: int = 1
) -> list[Point]:
    """Kill in a fresh world at step `first`, `first + stride`, … until a run ends by itself; see what is wrong then."""
    points: list[Point] = []
    number = first
    while True:
        world = make_world()
        result, step = kill_at(world, number)
        if result.code != KILLED:
            assert result.code == 0, result
            return points
        points.append(Point(number=number, step=step, problems=tuple(_problems(world, check))))
        if points[-1].problems: print(points[-1], flush=True)
        number += stride


def _problems(world: Sandbox, check: Callable[[Sandbox], Iterable[str]]) -> Iterable[str]:
    after = world.sync()
    if after.code != 0:
        yield f"the next sync ended with {after.code}: {after.err}{after.messages}"
        return
    again = world.sync()
    if again.outcomes != {"prod": "converged"} or again.runs != {"prod": 0}:
        yield f"not converged then: {again.out}"
    if world.state_locks():
        yield f"locks are left: {world.state_locks()}"
    if held := world.json("lock", "list").json["stacks"]:
        yield f"held: {held}"
    wait_for(lambda: not world.processes(), seconds=20, what=f"the end of {world.processes()}")
    history = world.history("prod")
    applied = [deployment for deployment in history if deployment["result"] == "applied"]
    if len(applied) > 1:
        yield f"applied {len(applied)} times"
    counted = Counter(name for deployment in history for name in _created(deployment))
    if any(number > 1 for number in counted.values()):
        yield f"created twice: {counted}"
    yield from check(world)


def _created(deployment: dict[str, object]) -> list[str]:
    resources = deployment["resources"]
    assert isinstance(resources, list)
    return [resource["address"] for resource in resources if resource["ok"] and resource["action"] == "create"]
