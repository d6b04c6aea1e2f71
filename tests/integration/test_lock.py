"""A lock is the operating system's: it lives exactly as long as somebody holds it, and no longer."""

import json
import os
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tfops.adapters.lock import FileLock, who_holds
from tfops.errors import Exit, FailedError, LockedError

HOLDER = {"pid": 4711, "host": "build-1", "since": "2026-03-01T12:00:00+00:00", "run_id": "r-1"}

# Holds the lock until its stdin ends. With "child" it starts a program that inherits the lock, as Terraform does.
HOLD = """
import json, subprocess, sys
from pathlib import Path
from tfops.adapters.lock import FileLock
with FileLock.hold(Path(sys.argv[1]), holder=json.loads(sys.argv[2])) as lock:
    child = 0
    if sys.argv[3] == "child":
        child = subprocess.Popen(["sleep", "60"], pass_fds=[lock.descriptor], start_new_session=True).pid
    print(child, flush=True)
    sys.stdin.read()
"""


class Other:
    """Another process that holds the lock."""

    def __init__(self, path: Path, kind: str) -> None:
        argv = [sys.executable, "-c", HOLD, str(path), json.dumps(HOLDER), kind]
        self.process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.child = int(self.process.stdout.readline())

    def release(self) -> None:
        self.process.stdin.close()
        self.process.wait(10)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(10)

    def end(self) -> None:
        if self.child:
            kill_if_alive(self.child)
        self.process.kill()
        self.process.wait(10)
        self.process.stdin.close()
        self.process.stdout.close()


def kill_if_alive(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "prod" / "app" / "lock"


@pytest.fixture
def other(path: Path, request: pytest.FixtureRequest) -> Iterator[Other]:
    found = Other(path, getattr(request, "param", "alone"))
    yield found
    found.end()


def is_free(path: Path) -> bool:
    try:
        with FileLock.hold(path, wait_seconds=0):
            return True
    except LockedError:
        return False


def becomes_free(path: Path) -> bool:
    with FileLock.hold(path, wait_seconds=10):
        return True


def test_a_free_lock_is_held_and_is_free_again(path):
    with FileLock.hold(path, holder=HOLDER) as lock:
        assert lock.path == path
        assert not is_free(path)
    assert is_free(path)


def test_a_lock_is_free_again_after_an_error(path):
    with pytest.raises(ZeroDivisionError), FileLock.hold(path):
        raise ZeroDivisionError
    assert is_free(path)


def test_the_error_names_who_holds_it(path, other):
    with pytest.raises(LockedError) as locked, FileLock.hold(path, wait_seconds=0):
        pass
    (problem,) = locked.value.problems
    assert locked.value.exit_code is Exit.LOCKED
    assert problem.code == "lock.held"
    assert problem.message == "locked by process 4711 on build-1 since 2026-03-01T12:00:00+00:00 (run r-1)"
    assert problem.hint


def test_one_who_waits_gets_it_as_soon_as_it_is_free(path, other):
    threading.Timer(0.4, other.release).start()
    told = []
    start = time.monotonic()
    with FileLock.hold(path, wait_seconds=20, on_wait=told.append):
        assert 0.2 < time.monotonic() - start < 15
    assert told == ["process 4711 on build-1 since 2026-03-01T12:00:00+00:00 (run r-1)"]


def test_waiting_ends_at_its_time(path, other):
    start = time.monotonic()
    with pytest.raises(LockedError), FileLock.hold(path, wait_seconds=0.5):
        pass
    assert 0.5 <= time.monotonic() - start < 5


def test_a_stop_ends_the_waiting_early(path, other):
    stop = threading.Event()
    threading.Timer(0.3, stop.set).start()
    start = time.monotonic()
    with pytest.raises(LockedError), FileLock.hold(path, wait_seconds=60, stop=stop):
        pass
    assert time.monotonic() - start < 10


def test_a_free_lock_is_given_even_without_any_patience(path):
    stop = threading.Event()
    stop.set()
    with FileLock.hold(path, wait_seconds=0, stop=stop):
        pass


def test_a_killed_holder_frees_it_at_once(path, other):
    other.kill()
    assert becomes_free(path)


@pytest.mark.parametrize("other", ["child"], indirect=True)
def test_it_outlives_its_killed_taker_for_as_long_as_an_heir_lives(path, other):
    other.kill()
    time.sleep(0.3)
    assert not is_free(path), "the Terraform of a killed tfops would no longer be alone"
    os.kill(other.child, signal.SIGKILL)
    assert becomes_free(path)


@pytest.mark.parametrize("other", ["child"], indirect=True)
def test_leaving_does_not_free_it_for_an_heir_that_still_runs(path, other):
    other.release()
    assert not is_free(path)
    os.kill(other.child, signal.SIGKILL)
    assert becomes_free(path)


def test_a_program_that_does_not_inherit_it_does_not_keep_it(path):
    with FileLock.hold(path):
        child = subprocess.Popen(["sleep", "60"], close_fds=False)
    try:
        assert is_free(path)
    finally:
        child.kill()
        child.wait()


def test_two_threads_exclude_each_other_as_two_processes_do(path):
    with FileLock.hold(path):
        answers: list[bool] = []
        thread = threading.Thread(target=lambda: answers.append(is_free(path)))
        thread.start()
        thread.join()
    assert answers == [False]


def test_many_who_want_it_never_hold_it_at_the_same_time(path, tmp_path):
    script = """
import sys, os
from pathlib import Path
from tfops.adapters.lock import FileLock
inside = Path(sys.argv[2])
for _ in range(5):
    with FileLock.hold(Path(sys.argv[1]), wait_seconds=50):
        os.close(os.open(inside, os.O_CREAT | os.O_EXCL))
        os.unlink(inside)
"""
    argv = [sys.executable, "-c", script, str(path), str(tmp_path / "inside")]
    processes = [subprocess.Popen(argv) for _ in range(4)]
    assert [process.wait(60) for process in processes] == [0] * 4


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b"7", b"{}", b'{"pid": 1}', b"\xff\xfe"])
def test_whoever_did_not_sign_in_is_another_process(path, content):
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    assert who_holds(path) == "another process"
    assert is_free(path)


def test_nobody_is_named_for_a_file_that_is_not_there(path):
    assert who_holds(path) == "another process"


def test_a_shorter_name_leaves_nothing_of_a_longer_one(path):
    with FileLock.hold(path, holder={**HOLDER, "host": "h" * 200}):
        pass
    with FileLock.hold(path, holder=HOLDER):
        assert "build-1" in who_holds(path)


def test_the_file_is_for_its_owner_only(path):
    with FileLock.hold(path):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_link_in_its_place_is_not_followed(path, tmp_path):
    path.parent.mkdir(parents=True)
    precious = tmp_path / "precious"
    precious.write_text("x")
    path.symlink_to(precious)
    with pytest.raises(FailedError) as refused, FileLock.hold(path):
        pass
    assert refused.value.problems[0].code == "store.denied"
    assert precious.read_text() == "x"


def test_a_place_that_cannot_be_is_an_error_in_words(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(FailedError, match="cannot open the lock"), FileLock.hold(tmp_path / "file" / "lock"):
        pass
