"""The log is appended to without looking at it first, by threads and by other runs, and stays one chain."""

import threading
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest

from tests.fakes import MemoryObjects
from tests.unit.test_audit import KEYS, OURS
from tfops.attestation import Builder
from tfops.audit import FIRST_PREVIOUS, Event, chain_checks
from tfops.errors import FailedError
from tfops.steps import audit
from tfops.steps.store import Store

ID = "0" * 32


class Counting(MemoryObjects):
    """Objects that count what is asked of them."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []

    def get(self, key: str) -> bytes | None:
        self.asked.append(f"get {key}")
        return super().get(key)

    def names(self, prefix: str) -> list[str]:
        self.asked.append(f"list {prefix}")
        return super().names(prefix)

    def create(self, key: str, data: bytes) -> bool:
        self.asked.append(f"create {key}")
        return super().create(key, data)


def run(objects: MemoryObjects) -> Any:
    """What a run has of its session for the log."""
    return SimpleNamespace(
        store=Store(objects, store_id=ID, digest_key=b"k" * 32),
        signer=OURS,
        keys=KEYS,
        builder=Builder(runner="ci", host="h", run_id="r"),
        said=(said := []),
        say=lambda stack, message: said.append(message),
    )


def enter(session: Any, reason: str = "because") -> None:
    audit.record(session, Event.CLAIM, "prod", reason=reason, details={"plan_id": "p"})


def is_whole(session: Any, length: int) -> bool:
    entries, faults = audit.read(session)
    return not faults and not chain_checks(entries, store_id=ID) and sorted(entries) == list(range(1, length + 1))


def test_a_run_reads_the_end_of_the_log_once_and_then_only_writes():
    objects = Counting()
    enter(run(objects))
    objects.asked.clear()
    session = run(objects)
    assert audit.head(session).seq == 1
    for _ in range(3):
        enter(session)
    assert objects.asked == [
        "list audit",
        "get audit/000000000001.json",
        *(f"create audit/00000000000{number}.json" for number in (2, 3, 4)),
    ]


def test_a_record_made_afterwards_vouches_for_the_entry():
    session = run(MemoryObjects())
    assert audit.head(session) is None
    enter(session)
    entries, _ = audit.read(session)
    assert audit.head(session) == entries[1].head  # type: ignore[union-attr]


def test_the_store_of_a_stack_that_is_held_knows_the_same_end():
    session = run(MemoryObjects())
    held = run(MemoryObjects())
    held.store = session.store.guarded(lambda: None)
    enter(held)
    assert audit.head(session).seq == 1


def test_a_run_that_another_one_overtook_goes_on_behind_it():
    objects = MemoryObjects()
    one, other = run(objects), run(objects)
    enter(one, "first")
    enter(other, "second")
    enter(one, "third")
    enter(other, "fourth")
    assert is_whole(one, 4)
    entries, _ = audit.read(one)
    assert [entry.record.reason for entry in entries.values()] == ["first", "second", "third", "fourth"]  # type: ignore[union-attr]


def test_the_threads_of_several_runs_write_one_chain_and_lose_nothing():
    objects = MemoryObjects()
    runs = [run(objects) for _ in range(3)]
    start = threading.Barrier(12)

    def work(session: Any) -> None:
        start.wait()
        for _ in range(5):
            enter(session)

    threads = [threading.Thread(target=work, args=(runs[number % 3],)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert is_whole(runs[0], 60)
    entries, _ = audit.read(runs[0])
    ids = [FIRST_PREVIOUS, *(entry.id for _, entry in sorted(entries.items()))]  # type: ignore[union-attr]
    assert all(entries[number].record.previous == before for number, (before, _) in enumerate(pairwise(ids), 1))  # type: ignore[union-attr]


def test_it_goes_on_behind_an_end_that_is_damaged_and_says_so():
    objects = MemoryObjects()
    enter(run(objects))
    objects.replace("audit/000000000001.json", b"{", expected=objects.get("audit/000000000001.json"))
    session = run(objects)
    enter(session)
    assert "tfops audit verify" in session.said[0]
    entries, faults = audit.read(session)
    assert (sorted(entries), [fault.name for fault in faults]) == ([1, 2], ["entry 1"])


def test_an_end_that_was_cut_off_while_a_run_knew_it_leaves_a_gap():
    objects = MemoryObjects()
    session = run(objects)
    enter(session)
    enter(session)
    objects.delete("audit/000000000002.json")
    enter(session)
    entries, _ = audit.read(session)
    assert [check.name for check in chain_checks(entries, store_id=ID)] == ["entry 2"]


def test_a_log_that_others_always_get_to_first_is_given_up():
    class Busy(MemoryObjects):
        def create(self, key: str, data: bytes) -> bool:
            return False

    with pytest.raises(FailedError, match="too many runs"):
        enter(run(Busy()))


def test_looking_back_ends_where_entries_are_older():
    objects = Counting()
    session = run(objects)
    enter(session)
    enter(session)
    assert [entry.record.seq for entry in audit.since(session, datetime.now(UTC) - timedelta(hours=1))] == [2, 1]
    objects.asked.clear()
    assert list(audit.since(session, datetime.now(UTC) + timedelta(hours=1))) == []
    assert objects.asked == ["list audit", "get audit/000000000002.json"]


def test_who_signed_does_not_matter_where_an_entry_can_only_refuse() -> None:
    session = run(MemoryObjects())
    for _ in range(3):
        enter(session)
    session.keys = {}
    session.store.objects.replace(
        "audit/000000000002.json", b"{", expected=session.store.objects.get("audit/000000000002.json")
    )
    found = audit.read_unverified(session)
    assert [entry and entry.record.stack for _, entry in sorted(found.items())] == ["prod", None, "prod"]
