"""A small cloud for tests: its objects are JSON files in a directory, and no state of Terraform's.

`fakecloud` is the Terraform provider for it, `install` makes the provider known to Terraform, and `Cloud` is the cloud
itself, for the provider and for the tests that look into it, change it by hand or tell it to misbehave.
"""

import fcntl
import json
import os
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Object = dict[str, Any]

TOO_MANY = {"throttle": "throttled", "throttle_reads": "ThrottlingException: Rate exceeded"}
"""Fault → what the cloud answers."""


@dataclass(frozen=True, slots=True)
class Cloud:
    """What exists: ROOT/servers/ID.json, likewise records, buckets and volumes, and ROOT/images/NAME.json.

    ROOT/log.ndjson says what was created, updated and deleted, and by which process; ROOT/calls.ndjson, which calls
    arrived. The latter is what a test waits for before it kills: Terraform says "Creating..." before it calls.
    ROOT/control.json holds the faults, read at every call; all keys are optional, and a call is "VERB" or "VERB:NAME"
    with the verbs create, read, update and delete:

    - delay_seconds: {CALL: seconds}; with a name counts before without
    - write_at: "start", "middle" (default) or "end" of the delay: when a slow call writes
    - fail: [CALL]: an error, and nothing is written
    - fail_after_write: [CALL]: it is written, and yet the answer is an error
    - throttle: how many more calls of any kind are answered "throttled"; every one counts it down
    - throttle_reads: how many more reads are answered in AWS's words; every one counts it down, -1 never ends
    """

    root: Path

    def objects(self, kind: str = "server") -> dict[str, Object]:
        """Id → object, of one kind."""
        return {path.stem: json.loads(path.read_text()) for path in sorted(self._directory(kind).glob("*.json"))}

    def named(self, name: str, kind: str = "server") -> list[Object]:
        """The objects of a name; two are a duplicate."""
        return [found for found in self.objects(kind).values() if found["name"] == name]

    def read(self, kind: str, id_: str) -> Object | None:
        """One object, or None where there is none."""
        try:
            found: Object = json.loads(self._path(kind, id_).read_text())
        except FileNotFoundError:
            return None
        return found

    def write(self, kind: str, id_: str, values: Object) -> None:
        """Make or replace an object: readers see the old or the new one, whole."""
        _write(self._path(kind, id_), values)

    def edit(self, kind: str, id_: str, **changes: object) -> None:
        """Change some values by hand."""
        _write(self._path(kind, id_), json.loads(self._path(kind, id_).read_text()) | changes)

    def remove(self, kind: str, id_: str) -> bool:
        """Delete an object; whether there was one."""
        try:
            self._path(kind, id_).unlink()
        except FileNotFoundError:
            return False
        return True

    def twin(self, kind: str, id_: str) -> str:
        """Make the same object once more, as somebody does who creates by hand what is there; returns its id."""
        fresh = f"{kind}-{uuid.uuid4().hex[:12]}"
        self.write(kind, fresh, json.loads(self._path(kind, id_).read_text()) | {"id": fresh})
        return fresh

    def note(self, verb: str, type_: str, id_: str, name: str) -> None:
        """Add what was done to the log."""
        self._append("log", {"verb": verb, "type": type_, "id": id_, "name": name})

    def arrive(self, verb: str, type_: str, name: str) -> None:
        """Add a call that begins to the calls."""
        self._append("calls", {"verb": verb, "type": type_, "name": name})

    def log(self, verb: str | None = None, name: str | None = None) -> list[Object]:
        """What was done, in order; of one verb or name where given."""
        return self._entries("log", verb, name)

    def calls(self, verb: str | None = None, name: str | None = None) -> list[Object]:
        """Which calls arrived, done or not; of one verb or name where given."""
        return self._entries("calls", verb, name)

    def control(self) -> dict[str, Any]:
        """The faults that are set."""
        path = self.root / "control.json"
        found: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
        return found

    def misbehave(self, **faults: object) -> None:
        """Set the faults anew; without any, the cloud is well again."""
        with self._locked():
            _write(self.root / "control.json", faults)

    def refused(self, verb: str) -> str | None:
        """The words with which this call is refused because there were too many; counts it."""
        for fault, words in TOO_MANY.items():
            if (fault == "throttle" or verb == "read") and self._counts(fault):
                return words
        return None

    def _counts(self, fault: str) -> bool:
        if not self.control().get(fault):
            return False
        with self._locked():
            control = self.control()
            left: int = control.get(fault, 0)
            if left > 0:
                _write(self.root / "control.json", control | {fault: left - 1})
        return bool(left)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        self.root.mkdir(parents=True, exist_ok=True)
        with (self.root / "control.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _append(self, what: str, values: Object) -> None:
        line = json.dumps({"at": time.time(), "pid": os.getpid(), **values}) + "\n"
        with (self.root / f"{what}.ndjson").open("ab", buffering=0) as file:
            file.write(line.encode())

    def _entries(self, what: str, verb: str | None, name: str | None) -> list[Object]:
        path = self.root / f"{what}.ndjson"
        entries = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
        return [entry for entry in entries if verb in {None, entry["verb"]} and name in {None, entry["name"]}]

    def _directory(self, kind: str) -> Path:
        return self.root / f"{kind}s"

    def _path(self, kind: str, id_: str) -> Path:
        return self._directory(kind) / f"{id_}.json"


def _write(path: Path, values: Object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    fresh.write_text(json.dumps(values, indent=1, sort_keys=True) + "\n")
    fresh.replace(path)
