"""A program is started alone, stopped gently, once, and never left behind: real processes, real signals."""

import os
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tfops.adapters import process
from tfops.adapters.lock import FileLock
from tfops.adapters.process import Command, Ended, capture, ending_file, run
from tfops.errors import LockedError

linux = pytest.mark.skipif(sys.platform != "linux", reason="the parent-death signal is Linux's")

# Notes every signal in a file of its own, and goes on unless told to end.
PATIENT = """
import os, signal, sys, time
notes = os.open(sys.argv[1], os.O_CREAT | os.O_WRONLY | os.O_APPEND)
def note(number, frame):
    os.write(notes, signal.Signals(number).name.encode() + b"\\n")
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, note)
os.write(notes, b"ready %d\\n" % os.getpid())
end = time.monotonic() + float(sys.argv[2])
while time.monotonic() < end:
    time.sleep(0.02)
os.write(notes, b"end\\n")
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path


def command(*argv: str, cwd: Path, env: dict[str, str] | None = None) -> Command:
    return Command(argv=argv, env={"PATH": os.environ["PATH"], **(env or {})}, cwd=cwd)


def python(source: str, *arguments: object, cwd: Path) -> Command:
    return command(sys.executable, "-c", source, *map(str, arguments), cwd=cwd)


def start(what: Command, place: Path, *, stop: threading.Event | None = None, **options: object) -> Ended:
    return run(what, stdout=place / "out", stderr=place / "err", stop=stop or threading.Event(), **options)


def wait_for(condition: Callable[[], object], seconds: float = 15) -> object:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = condition()
        if found:
            return found
        time.sleep(0.02)
    raise AssertionError("it did not happen in time")


def notes(place: Path) -> list[str]:
    path = place / "notes"
    return path.read_text().split("\n")[:-1] if path.exists() else []


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


class TestRun:
    @pytest.mark.parametrize("code", [0, 1, 2, 42, 127])
    def test_an_exit_code_comes_back_as_it_is(self, place, code):
        assert start(command("sh", "-c", f"exit {code}", cwd=place), place) == Ended(code=code, stopped=False)

    def test_output_goes_to_private_files(self, place):
        start(command("sh", "-c", "echo one; echo two >&2", cwd=place), place)
        assert ((place / "out").read_bytes(), (place / "err").read_bytes()) == (b"one\n", b"two\n")
        assert {stat.S_IMODE((place / name).stat().st_mode) for name in ("out", "err")} == {0o600}

    def test_output_of_an_earlier_run_is_gone(self, place):
        (place / "out").write_text("old " * 100)
        start(command("echo", "new", cwd=place), place)
        assert (place / "out").read_text() == "new\n"

    @pytest.mark.parametrize("code", [0, 3])
    def test_beside_its_output_it_is_noted_that_a_program_ended_by_itself(self, place, code):
        start(command("sh", "-c", f"exit {code}", cwd=place), place)
        assert ending_file(place / "out").read_text() == str(code)

    def test_what_an_earlier_run_noted_does_not_stand_for_one_that_was_killed(self, place):
        start(command("true", cwd=place), place)
        assert start(command("sh", "-c", "kill -9 $$", cwd=place), place).code == -signal.SIGKILL
        assert not ending_file(place / "out").exists()

    def test_a_link_in_the_place_of_an_output_is_replaced_and_not_followed(self, place):
        (place / "precious").write_text("x")
        (place / "out").symlink_to("precious")
        start(command("echo", "new", cwd=place), place)
        assert (place / "precious").read_text() == "x"

    def test_arguments_pass_as_they_are(self, place):
        awkward = ["a b", "$HOME", "*", "'", '"', "", "-rf", "ä\n", "`id`"]
        start(python("import sys; print(sys.argv[1:])", *awkward, cwd=place), place)
        assert (place / "out").read_text() == f"{awkward}\n"

    def test_the_environment_is_what_was_given_and_no_more(self, place, monkeypatch):
        monkeypatch.setenv("TF_CLI_ARGS", "-destroy")
        start(command("env", cwd=place, env={"X": "1"}), place)
        assert {line.partition("=")[0] for line in (place / "out").read_text().splitlines()} <= {
            "X",
            "PATH",
            "LC_CTYPE",
        }

    def test_it_runs_where_it_was_told_and_reads_nothing(self, place):
        (place / "below").mkdir()
        start(command("sh", "-c", "pwd; cat", cwd=place / "below"), place)
        assert (place / "out").read_text() == f"{place / 'below'}\n"

    def test_what_it_writes_is_for_its_owner_only(self, place):
        start(command("sh", "-c", "echo secret > state", cwd=place), place)
        assert stat.S_IMODE((place / "state").stat().st_mode) == 0o600

    def test_a_missing_program_is_code_127_with_its_reason(self, place):
        assert start(command("no-such-program", cwd=place), place).code == 127
        assert (place / "err").read_text() == "cannot start no-such-program: No such file or directory\n"

    def test_a_file_that_is_no_program_is_code_127(self, place):
        (place / "text").write_text("x")
        assert start(command(str(place / "text"), cwd=place), place).code == 127

    def test_lines_come_while_the_program_runs(self, place):
        seen: list[bytes] = []
        source = """
import sys, time
from pathlib import Path
print("first", flush=True)
end = time.monotonic() + 20
while not Path("heard").exists() and time.monotonic() < end:
    time.sleep(0.02)
print("heard" if Path("heard").exists() else "deaf", end="", flush=True)
print("\\nhalf", end="")
"""

        def hear(line: bytes) -> None:
            seen.append(line)
            (place / "heard").touch()

        start(python(source, cwd=place), place, on_line=hear)
        assert seen == [b"first", b"heard"], "the half line at the end is none"

    def test_no_line_of_a_long_output_is_lost_or_cut(self, place):
        seen: list[bytes] = []
        source = "for n in range(50_000): print(n, 'x' * (n % 300))"
        start(python(source, cwd=place), place, on_line=seen.append)
        assert b"\n".join([*seen, b""]) == (place / "out").read_bytes()
        assert len(seen) == 50_000

    def test_output_that_is_no_text_passes_as_it_is(self, place):
        seen: list[bytes] = []
        start(command("printf", r"\377\0\r\nx\n", cwd=place), place, on_line=seen.append)
        assert seen == [b"\xff\0\r", b"x"]

    def test_it_waits_for_a_slow_reader_of_lines(self, place):
        seen: list[bytes] = []

        def slow(line: bytes) -> None:
            time.sleep(0.05)
            seen.append(line)

        start(command("seq", "10", cwd=place), place, on_line=slow)
        assert len(seen) == 10

    def test_when_a_line_cannot_be_taken_the_program_is_asked_to_stop_and_waited_for(self, place):
        def full(line: bytes) -> None:
            raise OSError("no space left")

        source = f"{PATIENT}".replace("end = time", "print('line', flush=True)\nend = time")
        with pytest.raises(OSError, match="no space"):
            start(python(source, place / "notes", 1.5, cwd=place), place, on_line=full)
        assert notes(place)[1:] == ["SIGINT", "end"]


class TestStop:
    def stop_when_ready(self, place: Path, stop: threading.Event) -> None:
        threading.Thread(target=lambda: (wait_for(lambda: notes(place)), stop.set()), daemon=True).start()

    def test_a_stop_is_one_gentle_signal_and_then_patience(self, place):
        stop = threading.Event()
        self.stop_when_ready(place, stop)
        ended = start(python(PATIENT, place / "notes", 1.5, cwd=place), place, stop=stop)
        assert ended == Ended(code=0, stopped=True)
        assert notes(place)[1:] == ["SIGINT", "end"]

    def test_a_stop_that_was_asked_for_again_is_still_one_signal(self, place):
        stop = threading.Event()
        self.stop_when_ready(place, stop)
        threading.Thread(target=lambda: [(time.sleep(0.1), stop.set()) for _ in range(10)], daemon=True).start()
        start(python(PATIENT, place / "notes", 1.5, cwd=place), place, stop=stop)
        assert notes(place).count("SIGINT") == 1

    def test_when_a_line_cannot_be_taken_after_a_stop_there_is_still_one_signal(self, place):
        stop = threading.Event()

        def full(line: bytes) -> None:
            raise OSError("no space left")

        source = PATIENT.replace("def note(number, frame):", "def note(number, frame):\n    print('x', flush=True)")
        self.stop_when_ready(place, stop)
        with pytest.raises(OSError, match="no space"):
            start(python(source, place / "notes", 1.5, cwd=place), place, stop=stop, on_line=full)
        assert notes(place)[1:] == ["SIGINT", "end"]

    def test_one_who_waits_long_is_told_so(self, place, monkeypatch):
        monkeypatch.setattr(process, "PATIENCE_SECONDS", 0.3)
        stop, told = threading.Event(), []
        self.stop_when_ready(place, stop)
        start(python(PATIENT, place / "notes", 1.5, cwd=place), place, stop=stop, on_wait=lambda: told.append(1))
        assert 1 <= len(told) <= 5
        assert notes(place).count("SIGINT") == 1

    def test_nobody_is_told_anything_while_nothing_is_stopping(self, place, monkeypatch):
        monkeypatch.setattr(process, "PATIENCE_SECONDS", 0.05)
        told = []
        start(command("sleep", "0.4", cwd=place), place, on_wait=lambda: told.append(1))
        assert told == []

    def test_a_program_that_dies_of_the_signal_was_stopped_by_us(self, place):
        stop = threading.Event()
        threading.Timer(0.5, stop.set).start()
        ended = start(command("sleep", "30", cwd=place), place, stop=stop)
        assert ended == Ended(code=-signal.SIGINT, stopped=True)

    def test_what_a_killed_program_leaves_running_is_ended(self, place):
        source = """
import os, signal, subprocess
child = subprocess.Popen(["sleep", "60"])
stubborn = subprocess.Popen(["sh", "-c", "trap '' TERM; while :; do sleep 0.1; done"])
print(child.pid, stubborn.pid, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
        assert start(python(source, cwd=place), place) == Ended(code=-signal.SIGKILL, stopped=False)
        pids = [int(pid) for pid in (place / "out").read_text().split()]
        assert len(pids) == 2
        wait_for(lambda: not any(is_alive(pid) for pid in pids))

    def test_what_a_program_that_ended_by_itself_leaves_running_is_its_own_affair(self, place):
        """Providers that detach, for instance to be attached to again."""
        source = "import subprocess\nprint(subprocess.Popen(['sleep', '60'], stdout=-3).pid)"
        assert start(python(source, cwd=place), place).code == 0
        pid = int((place / "out").read_text())
        assert is_alive(pid)
        os.kill(pid, signal.SIGKILL)


# A tfops in small: runs PATIENT as `run` does.
PARENT = """
import os, sys, threading
from pathlib import Path
from tfops.adapters.process import Command, run
place, source = Path(sys.argv[1]), sys.argv[2]
def work():
    what = Command(argv=(sys.executable, "-c", source, str(place / "notes"), "4"), env=dict(os.environ), cwd=place)
    ended = run(what, stdout=place / "out", stderr=place / "err", stop=threading.Event())
    (place / "ended").write_text(str(ended.code))
    print("said after the child ended", flush=True)
work()
"""

# The same with as many stacks at once as `sync` has jobs, each from a worker thread.
CROWDED_PARENT = """
import os, sys, threading
from pathlib import Path
from tfops.adapters.process import Command, run
def work(place, source):
    what = Command(argv=(sys.executable, "-c", source, str(place / "notes"), "5"), env=dict(os.environ), cwd=place)
    run(what, stdout=place / "out", stderr=place / "err", stop=threading.Event())
for place in sys.argv[2:]:
    threading.Thread(target=work, args=(Path(place), sys.argv[1])).start()
"""


class TestParent:
    @pytest.fixture
    def parent(self, place: Path) -> Iterator["subprocess.Popen[bytes]"]:
        argv = [sys.executable, "-c", PARENT, str(place), PATIENT]
        found = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True)
        wait_for(lambda: notes(place))
        yield found
        found.kill()
        found.wait()
        found.stdout.close()
        pid = self.child(place)
        if is_alive(pid):
            os.kill(pid, signal.SIGKILL)

    @staticmethod
    def child(place: Path) -> int:
        return int(notes(place)[0].split()[1])

    @linux
    def test_when_tfops_is_killed_its_program_is_asked_to_stop_once(self, parent, place):
        parent.kill()
        parent.wait()
        wait_for(lambda: "end" in notes(place))
        assert notes(place)[1:] == ["SIGINT", "end"]

    @linux
    def test_how_it_ended_is_noted_also_when_tfops_is_dead(self, parent, place):
        parent.kill()
        parent.wait()
        wait_for(lambda: ending_file(place / "out").exists())
        wait_for(lambda: ending_file(place / "out").read_text() == "0")

    @linux
    def test_when_tfops_is_killed_with_many_stacks_under_way_each_is_asked_to_stop_once(self, place):
        places = [place / str(number) for number in range(8)]
        for one in places:
            one.mkdir()
        parent = subprocess.Popen([sys.executable, "-c", CROWDED_PARENT, PATIENT, *map(str, places)])
        wait_for(lambda: all(notes(one) for one in places))
        parent.kill()
        parent.wait()
        wait_for(lambda: all("end" in notes(one) for one in places))
        assert [notes(one).count("SIGINT") for one in places] == [1] * 8

    def test_a_hang_up_of_our_group_does_not_reach_the_program(self, parent, place):
        os.killpg(parent.pid, signal.SIGHUP)
        parent.wait()
        wait_for(lambda: "end" in notes(place))
        assert "SIGHUP" not in notes(place)

    def test_a_ctrl_c_in_our_terminal_does_not_reach_the_program_a_second_time(self, parent, place):
        """A terminal sends SIGINT to the whole group: Terraform would get one from it and one from us."""
        assert os.getpgid(self.child(place)) == self.child(place)
        assert os.getsid(self.child(place)) != os.getsid(parent.pid)

    def test_a_reader_of_our_output_that_went_away_does_not_hurt_the_program(self, parent, place):
        parent.stdout.close()
        parent.wait()
        assert notes(place)[-1] == "end"
        assert (place / "ended").read_text() == "0"
        parent.stdout = Path(os.devnull).open("rb")  # noqa: SIM115  (for the fixture to close)


class TestLauncher:
    @pytest.fixture(autouse=True)
    def held(self, place: Path) -> Iterator[list[int]]:
        """The ends of pipes that stand for a living tfops."""
        self.ending = place / "ending"
        self.descriptors: list[int] = []
        yield self.descriptors
        for descriptor in self.descriptors:
            os.close(descriptor)

    def launch(self, *argv: str, alive: bool = True) -> "subprocess.Popen[bytes]":
        """The launcher, watching a tfops that lives as long as this test, or that is dead already."""
        watch, held = os.pipe()
        self.descriptors += [watch, held] if alive else [watch]
        if not alive:
            os.close(held)
        launcher = [sys.executable, "-I", "-S", str(process.LAUNCHER), str(watch), str(self.ending), *argv]
        return subprocess.Popen(launcher, pass_fds=[watch], start_new_session=True)

    def test_a_program_whose_tfops_is_already_dead_is_stopped_at_once(self):
        """Several times, for it is a race; so is a Ctrl-C while the program starts."""
        lost = 0
        for _ in range(6):
            begun = time.monotonic()
            self.launch("sleep", "1", alive=False).wait(20)
            lost += time.monotonic() - begun > 0.9
        assert lost == 0

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
    def test_whatever_is_sent_to_it_however_often_is_one_gentle_signal(self, place, number):
        started = self.launch(sys.executable, "-c", PATIENT, str(place / "notes"), "1.5")
        wait_for(lambda: notes(place))
        for _ in range(5):
            started.send_signal(number)
            time.sleep(0.05)
        assert started.wait(20) == 0
        assert notes(place)[1:] == ["SIGINT", "end"]

    @linux
    def test_its_own_death_is_one_gentle_signal_too(self, place):
        started = self.launch(sys.executable, "-c", PATIENT, str(place / "notes"), "1.5")
        wait_for(lambda: notes(place))
        started.kill()
        started.wait()
        wait_for(lambda: "end" in notes(place))
        assert notes(place)[1:] == ["SIGINT", "end"]
        assert not self.ending.exists(), "nobody saw how it ended"

    @pytest.mark.parametrize(("end", "code"), [("exit 0", 0), ("exit 3", 3), ("kill -9 $$", 137), ("kill -2 $$", 130)])
    def test_it_ends_as_the_program_did(self, end, code):
        assert self.launch("sh", "-c", end).wait(20) == code

    @pytest.mark.parametrize("code", [0, 1, 2, 127])
    def test_the_code_of_a_program_that_ended_by_itself_is_noted(self, code):
        self.launch("sh", "-c", f"exit {code}").wait(20)
        assert self.ending.read_text() == str(code)
        assert stat.S_IMODE(self.ending.stat().st_mode) == 0o600

    @pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
    def test_of_a_program_that_was_killed_nothing_is_noted(self, number):
        self.launch("sh", "-c", f"kill -{number.value} $$").wait(20)
        assert not self.ending.exists()

    def test_a_program_that_stops_gently_has_ended_by_itself(self, place):
        started = self.launch(sys.executable, "-c", PATIENT, str(place / "notes"), "0.8")
        wait_for(lambda: notes(place))
        started.send_signal(signal.SIGINT)
        started.wait(20)
        assert self.ending.read_text() == "0"

    def test_a_note_that_cannot_be_written_does_not_change_how_it_ends(self, place):
        self.ending = place / "no-such-directory" / "ending"
        assert self.launch("sh", "-c", "exit 3").wait(20) == 3

    def test_a_module_beside_the_code_is_not_loaded_in_place_of_the_standard_library(self, tmp_path):
        (tmp_path / "ctypes.py").write_text("raise SystemExit('loaded')")
        ended = start(command("echo", "fine", cwd=tmp_path, env={"PYTHONPATH": str(tmp_path)}), tmp_path)
        assert (ended.code, (tmp_path / "out").read_text()) == (0, "fine\n")


# A tfops in small that holds a lock; prints its launcher's process id.
LOCKING_PARENT = """
import os, sys, threading, time
from pathlib import Path
from tfops.adapters.lock import FileLock
from tfops.adapters.process import Command, run
place, source = Path(sys.argv[1]), sys.argv[2]
with FileLock.hold(place / "lock") as lock:
    what = Command(argv=(sys.executable, "-c", source, str(place / "notes"), "3"), env=dict(os.environ), cwd=place)
    run(what, stdout=place / "out", stderr=place / "err", stop=threading.Event(), inherit=[lock.descriptor])
"""


class TestLocks:
    @pytest.fixture
    def parent(self, place: Path) -> Iterator["subprocess.Popen[bytes]"]:
        found = subprocess.Popen([sys.executable, "-c", LOCKING_PARENT, str(place), PATIENT])
        wait_for(lambda: notes(place))
        yield found
        found.kill()
        found.wait()
        wait_for(lambda: not is_alive(TestParent.child(place)))

    @staticmethod
    def is_free(place: Path) -> bool:
        try:
            with FileLock.hold(place / "lock", wait_seconds=0):
                return True
        except LockedError:
            return False

    def test_a_killed_tfops_does_not_free_the_lock_while_its_program_lives(self, parent, place):
        parent.kill()
        parent.wait()
        time.sleep(0.3)
        assert is_alive(TestParent.child(place))
        assert not self.is_free(place)
        wait_for(lambda: not is_alive(TestParent.child(place)))
        wait_for(lambda: self.is_free(place))

    @linux
    def test_a_launcher_that_is_killed_as_well_frees_it_and_the_program_is_still_asked_to_stop_once(
        self, parent, place
    ):
        """ADR 0003: while it stops, Terraform's own state lock keeps others out."""
        child = TestParent.child(place)
        launcher = int(Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()[1])
        # In the other order the launcher may still ask before it dies, and its death asks once more.
        for pid in (launcher, parent.pid):
            os.kill(pid, signal.SIGKILL)
        parent.wait()
        wait_for(lambda: "end" in notes(place))
        assert notes(place).count("SIGINT") == 1
        wait_for(lambda: self.is_free(place))

    def test_the_program_and_its_own_daemons_do_not_hold_it_for_ever(self, place):
        """A process that a provisioner left behind would lock the stack until it is found."""
        with FileLock.hold(place / "lock") as lock:
            source = "import subprocess; print(subprocess.Popen(['sleep', '60'], close_fds=False, stdout=-3).pid)"
            start(python(source, cwd=place), place, inherit=[lock.descriptor])
        try:
            assert self.is_free(place)
        finally:
            os.kill(int((place / "out").read_text()), signal.SIGKILL)

    def test_a_program_is_given_no_descriptor_but_its_three_streams(self, place):
        with FileLock.hold(place / "lock") as lock:
            source = "import os; print([n for n in range(3, 64) if os.path.exists(f'/proc/self/fd/{n}')])"
            start(python(source, cwd=place), place, inherit=[lock.descriptor])
        assert (place / "out").read_text() == "[]\n"


class TestCapture:
    def test_a_short_program_is_read_whole(self, place):
        assert capture(command("sh", "-c", "echo o; echo e >&2; exit 3", cwd=place), timeout_seconds=20) == (
            3,
            b"o\n",
            b"e\n",
        )

    def test_it_gets_no_input(self, place):
        assert capture(command("cat", cwd=place), timeout_seconds=20) == (0, b"", b"")

    def test_one_that_hangs_is_killed_after_its_time(self, place):
        begun = time.monotonic()
        with pytest.raises(TimeoutError, match="sleep did not answer within 0 s"):
            capture(command("sleep", "60", cwd=place), timeout_seconds=0.3)
        assert time.monotonic() - begun < 10

    def test_one_whose_child_keeps_the_output_open_does_not_hang_us_either(self, place):
        begun = time.monotonic()
        with pytest.raises(TimeoutError):
            capture(command("sh", "-c", "sleep 5; echo", cwd=place), timeout_seconds=0.3)
        assert time.monotonic() - begun < 4

    def test_a_missing_program_is_a_missing_file(self, place):
        with pytest.raises(FileNotFoundError):
            capture(command("no-such-program", cwd=place), timeout_seconds=20)
