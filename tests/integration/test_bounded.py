"""A program that may do anything is given so much time and so much room, and leaves nothing running: real processes."""

import os
import sys
import threading
import time
from pathlib import Path

import pytest

from tfops.adapters.bounded import Bounded, run_bounded
from tfops.adapters.process import Command


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "in").write_bytes(b"given\n")
    return tmp_path


def run(
    place: Path, *argv: str, seconds: float = 20, limit: int = 1000, stop: threading.Event | None = None
) -> Bounded:
    return run_bounded(
        Command(argv=argv, env={"PATH": os.environ["PATH"]}, cwd=place),
        stdin=place / "in",
        timeout_seconds=seconds,
        limit=limit,
        stop=stop or threading.Event(),
    )


def shell(place: Path, script: str, **options: object) -> Bounded:
    return run(place, "sh", "-c", script, **options)  # type: ignore[arg-type]


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def ends_soon(pid: int) -> bool:
    end = time.monotonic() + 10
    while time.monotonic() < end and is_alive(pid):
        time.sleep(0.02)
    return not is_alive(pid)


def test_it_reads_what_it_is_given_and_both_its_outputs_are_kept_in_order(place):
    assert shell(place, "cat; echo bad >&2; echo worse; exit 3") == Bounded(code=3, output=b"given\nbad\nworse\n")


def test_a_program_that_does_not_read_its_input_is_no_fault(place):
    (place / "in").write_bytes(b"x" * 10_000_000)
    assert shell(place, "exit 0") == Bounded(code=0, output=b"")


def test_a_flood_is_read_to_its_end_and_only_its_beginning_kept(place):
    ended = shell(place, "head -c 30000000 /dev/zero | tr '\\0' 'a'; exit 1", limit=10)
    assert ended == Bounded(code=1, output=b"a" * 10)


def test_an_endless_flood_ends_with_its_time(place):
    began = time.monotonic()
    ended = run(place, "yes", seconds=0.5, limit=4)
    assert ended == Bounded(code=None, output=b"y\ny\n")
    assert time.monotonic() - began < 5


def test_what_takes_too_long_is_killed_with_all_it_started(place):
    ended = shell(place, "trap '' INT TERM; sleep 300 & echo $!; wait", seconds=0.5)
    assert ended.code is None
    assert ends_soon(int(ended.output))


def test_what_it_leaves_running_is_killed_and_not_waited_for(place):
    began = time.monotonic()
    ended = shell(place, "sleep 300 & echo $!; exit 0")
    assert ended.code == 0
    assert time.monotonic() - began < 5
    assert ends_soon(int(ended.output))


def test_one_that_closes_its_output_is_waited_for_all_the_same(place):
    assert shell(place, "echo first; exec >&- 2>&-; sleep 0.3; exit 4") == Bounded(code=4, output=b"first\n")


def test_it_ends_when_we_are_asked_to_stop(place):
    stop = threading.Event()
    threading.Timer(0.3, stop.set).start()
    began = time.monotonic()
    assert shell(place, "sleep 300", stop=stop).code is None
    assert time.monotonic() - began < 5


def test_a_signal_that_kills_it_is_told(place):
    assert shell(place, "kill -9 $$").code == -9


@pytest.mark.parametrize(("program", "error"), [("no-such-program", FileNotFoundError), ("./in", PermissionError)])
def test_what_cannot_be_started_is_an_error(place, program, error):
    with pytest.raises(error):
        run(place, program)


def test_it_sees_no_other_environment_than_the_one_given(place, monkeypatch):
    monkeypatch.setenv("SECRET", "hush")
    source = "import os; print(sorted(set(os.environ) - {'LC_CTYPE'}))"
    assert run(place, sys.executable, "-c", source).output == b"['PATH']\n"
