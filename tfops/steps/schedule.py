"""Runs stacks side by side, each after those it waits for. Workers report; only the main thread speaks."""

import graphlib
import os
import queue
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, TypeVar

Outcome = TypeVar("Outcome")
BYTES_PER_JOB = 1 << 30
Tick = Callable[[Collection[str]], None]


def default_jobs() -> int:
    """How many Terraforms fit on this machine: one a core, one a GiB of memory, at least one."""
    try:
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError):
        memory = BYTES_PER_JOB
    return max(1, min(os.cpu_count() or 1, memory // BYTES_PER_JOB))


class Schedule(Generic[Outcome]):
    """A ready queue over stacks and what they come after (a level would wait for its slowest member)."""

    def __init__(
        self,
        after: Mapping[str, tuple[str, ...]],
        *,
        work: Callable[[str], Outcome],
        skip: Callable[[str, str], Outcome],
        is_good: Callable[[Outcome], bool],
    ) -> None:
        self._graph = {name: [other for other in others if other in after] for name, others in after.items()}
        self._work = work
        self._skip = skip
        self._is_good = is_good

    def run(self, jobs: int, *, tick: Tick) -> dict[str, Outcome]:
        """Every stack's outcome. A stack behind one that did not end well is skipped, naming it; others go on.

        `tick` is called often, in this thread, with the stacks under way: for printing, and so that signals are
        handled.
        """
        sorter = graphlib.TopologicalSorter(self._graph)
        sorter.prepare()
        done: dict[str, Outcome] = {}
        running: set[str] = set()
        finished: queue.SimpleQueue[tuple[str, Outcome | BaseException]] = queue.SimpleQueue()
        with ThreadPoolExecutor(max_workers=jobs) as pool:
            while sorter.is_active():
                for name in sorter.get_ready():
                    blocker = next((other for other in self._graph[name] if not self._is_good(done[other])), None)
                    if blocker is None:
                        running.add(name)
                        pool.submit(_report, finished, name, self._work)
                    else:
                        finished.put((name, self._skip(name, blocker)))
                name, outcome = _next(finished, lambda: tick(running))
                if isinstance(outcome, BaseException):
                    raise outcome
                done[name] = outcome
                running.discard(name)
                sorter.done(name)
        tick(running)
        return done


def _report(
    finished: "queue.SimpleQueue[tuple[str, Outcome | BaseException]]",
    name: str,
    work: Callable[[str], Outcome],
) -> None:
    try:
        finished.put((name, work(name)))
    except BaseException as error:
        finished.put((name, error))


def _next(
    finished: "queue.SimpleQueue[tuple[str, Outcome | BaseException]]", tick: Callable[[], None]
) -> tuple[str, Outcome | BaseException]:
    while True:
        tick()
        try:
            return finished.get(timeout=0.05)
        except queue.Empty:
            continue
