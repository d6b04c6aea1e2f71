"""Coverage of runs that are forks of one process. Each hands over what no run before it has seen: next to nothing.

Coverage's own way, a file from each process, takes several times as long as most runs do.
"""

import json
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from coverage import Coverage, CoverageData

SETTINGS = Path(__file__).resolve().parents[1] / "pyproject.toml"
Arcs = dict[str, set[tuple[int, int]]]


class Measured:
    """What was run so far, in this process and in its forks."""

    def __init__(self, before: Callable[[], None]) -> None:
        """`before` is what this process does for all of them."""
        self._seen: Arcs = defaultdict(set)
        imports = _coverage()
        with imports.collect():
            before()
        self._add(_arcs(imports))
        self._runs = _coverage()
        with self._runs.collect():
            """What it needs is made ready once."""

    @contextmanager
    def run(self, notes: IO[str]) -> Iterator[None]:
        """In a fork: measure, and write down what is new."""
        self._runs.start()
        try:
            yield
        finally:
            self._runs.stop()
            new = {file: list(arcs - self._seen[file]) for file, arcs in _arcs(self._runs).items()}
            json.dump({file: arcs for file, arcs in new.items() if arcs}, notes)
            notes.flush()

    def learn(self, notes: IO[str]) -> None:
        """Take what a fork wrote down; nothing where it was killed."""
        notes.seek(0)
        if text := notes.read():
            self._add({file: {(start, end) for start, end in arcs} for file, arcs in json.loads(text).items()})

    def save(self, file: str) -> None:
        """Leave it to be combined with what others have measured."""
        data = CoverageData(basename=file)
        data.add_arcs(self._seen)
        data.write()

    def _add(self, arcs: Arcs) -> None:
        for file, found in arcs.items():
            self._seen[file] |= found


def _coverage() -> Coverage:
    made = Coverage(data_file=None, config_file=str(SETTINGS))
    made.set_option("run:patch", [])  # programs that a run starts are none of our forks
    made.set_option("run:disable_warnings", ["module-not-measured", "no-data-collected"])
    return made


def _arcs(coverage: Coverage) -> Arcs:
    data = coverage.get_data()
    return {file: set(data.arcs(file) or ()) for file in data.measured_files()}
