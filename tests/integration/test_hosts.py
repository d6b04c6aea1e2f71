"""Whether a process is dead is proven or not known: with real processes, alive, dead, buried and mistaken."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.integration.buckets import unique
from tfops.adapters import process
from tfops.adapters.hosts import RUN_VARIABLE, Process, end_processes, is_dead, left_running, this_process

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="all of this is asked of Linux's /proc")

PROGRAMS = frozenset({"terraform", "launcher.py"})
NOBODY = 2**22 + 1  # above the largest process id there can be


class Started:
    """Processes that a test starts. They are ended with it."""

    def __init__(self) -> None:
        self._processes: list[subprocess.Popen[bytes]] = []

    def start(self, *argv: str, run: str | None = None, own_session: bool = True) -> int:
        """A process in a session of its own, marked as part of a run."""
        environ = {"PATH": os.environ["PATH"]} | ({RUN_VARIABLE: run} if run else {})
        found = subprocess.Popen(argv, env=environ, stdout=subprocess.PIPE, start_new_session=own_session)
        self._processes.append(found)
        # For a moment a program that begins has neither arguments nor variables to be read.
        wait_for(lambda: found.poll() is not None or Path(f"/proc/{found.pid}/environ").read_bytes())
        return found.pid

    def said(self, pid: int) -> None:
        """Wait until a process has said something."""
        self._of(pid).stdout.readline()

    def kill(self, pid: int) -> None:
        """Kill a process and leave its remains lying (a zombie)."""
        os.kill(pid, signal.SIGKILL)
        wait_for(lambda: Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z")

    def bury(self, pid: int) -> None:
        """Take the remains away."""
        self._of(pid).wait(20)

    def end(self) -> None:
        for one in self._processes:
            one.kill()
            one.wait(20)
            one.stdout.close()

    def _of(self, pid: int) -> "subprocess.Popen[bytes]":
        return next(one for one in self._processes if one.pid == pid)


@pytest.fixture
def started() -> Iterator[Started]:
    found = Started()
    yield found
    found.end()


def wait_for(condition: Callable[[], object], seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)


def known(pid: int) -> Process:
    """A process as it would describe itself."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return replace(this_process(), pid=pid, started=int(fields[19]))


class TestDeath:
    def test_we_are_alive(self):
        assert this_process().pid == os.getpid()
        assert not is_dead(this_process())

    def test_we_are_the_same_however_often_we_look(self):
        assert this_process() == this_process()

    def test_of_a_living_process_nothing_is_proven(self, started):
        assert not is_dead(known(started.start("sleep", "60")))

    def test_what_a_process_says_of_itself_is_what_others_see(self):
        source = "from tfops.adapters.hosts import this_process as me; print(me(), flush=True); input()"
        argv = [sys.executable, "-c", source]
        with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
            said = child.stdout.readline().strip()
            alive = known(child.pid)
            assert said == str(alive)
            assert not is_dead(alive)
            child.kill()
        assert is_dead(alive)

    def test_a_killed_process_is_dead_before_and_after_its_burial(self, started):
        pid = started.start("sleep", "60")
        alive = known(pid)
        started.kill(pid)
        assert is_dead(alive), "only its remains are left"
        started.bury(pid)
        assert is_dead(alive)

    def test_another_process_with_its_number_is_another_process(self, started):
        pid = started.start("sleep", "60")
        assert is_dead(replace(known(pid), started=known(pid).started - 1))
        assert is_dead(replace(this_process(), started=1))

    def test_a_number_that_nobody_has_is_a_dead_process(self):
        assert is_dead(replace(this_process(), pid=NOBODY))

    @pytest.mark.parametrize(
        "unknown",
        [{"boot": None}, {"started": None}, {"boot": "another"}, {"boot": ""}, {"boot": None, "started": None}],
    )
    def test_of_another_boot_or_one_that_is_not_known_nothing_is_proven(self, unknown):
        assert not is_dead(replace(this_process(), pid=NOBODY, **unknown))

    def test_another_container_of_the_same_host_is_another_place(self):
        """It has the boot in common with us, but not the numbers of its processes."""
        boot, _, namespace = this_process().boot.partition(" ")
        assert boot == Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        assert namespace.startswith("pid:[")
        assert not is_dead(replace(this_process(), pid=NOBODY, boot=f"{boot} pid:[1]"))

    def test_a_new_name_of_the_host_does_not_raise_the_dead(self):
        assert is_dead(replace(this_process(), host="renamed", pid=NOBODY))
        assert not is_dead(replace(this_process(), host="renamed"))

    @pytest.mark.parametrize(("ours", "proven"), [(0, True), (1000, True), (1001, False)])
    def test_of_another_users_process_nothing_is_proven_except_to_root(self, monkeypatch, ours, proven):
        """What it left running cannot be seen, and would go on unseen."""
        dead = replace(this_process(), pid=NOBODY, uid=1000)
        monkeypatch.setattr(os, "getuid", lambda: ours)
        assert is_dead(dead) is proven

    def test_a_name_that_looks_like_the_end_of_a_name_does_not_confuse(self, started, tmp_path):
        awkward = tmp_path / ") R 1 (x"
        shutil.copy(shutil.which("sleep"), awkward)
        pid = started.start(str(awkward), "60")
        alive = known(pid)
        assert not is_dead(alive)
        started.kill(pid)
        assert is_dead(alive)


class TestLeftRunning:
    """What a dead run left behind is found by the mark that everything it starts carries."""

    @pytest.fixture
    def run(self) -> str:
        return f"r-{unique()}"

    @pytest.fixture
    def terraform(self, tmp_path: Path) -> str:
        """A program that is called as Terraform is."""
        shutil.copy(shutil.which("sleep"), tmp_path / "terraform")
        return str(tmp_path / "terraform")

    def test_a_run_that_left_nothing_left_nothing(self, run):
        assert left_running(run, programs=PROGRAMS) == ([], [])

    def test_its_terraform_is_told_from_what_runs_on_without_it(self, started, run, terraform):
        first, provider = started.start(terraform, "60", run=run), started.start("sleep", "60", run=run)
        assert left_running(run, programs=PROGRAMS) == ([first], [provider])

    def test_what_is_not_marked_or_another_runs_is_not_ours(self, started, run, terraform):
        for other in (None, f"{run}0", run[:-1], f"x{run}", ""):
            started.start(terraform, "60", run=other)
            started.start("sleep", "60", run=other)
        assert left_running(run, programs=PROGRAMS) == ([], [])

    def test_a_name_by_which_it_is_not_started_is_no_terraform(self, started, run, terraform):
        pid = started.start(terraform, "60", run=run)
        assert left_running(run, programs=frozenset({"tofu"})) == ([], [pid])

    def test_a_terraform_behind_its_launcher_is_one_and_so_is_the_launcher(self, started, run, terraform):
        reading, writing = os.pipe()
        argv = [sys.executable, "-I", "-S", str(process.LAUNCHER), str(reading), os.devnull, terraform, "60"]
        try:
            launcher = subprocess.Popen(
                argv, env={"PATH": os.environ["PATH"], RUN_VARIABLE: run}, pass_fds=[reading], start_new_session=True
            )
            wait_for(lambda: len(left_running(run, programs=PROGRAMS)[0]) == 2)
            terraforms, others = left_running(run, programs=PROGRAMS)
            assert launcher.pid in terraforms
            assert others == []
            wait_for(lambda: b"terraform" in Path(f"/proc/{max(terraforms)}/cmdline").read_bytes().split(b"\0")[0])
            os.kill(max(terraforms), signal.SIGKILL)
            launcher.wait(20)
        finally:
            os.close(reading)
            os.close(writing)
        assert left_running(run, programs=PROGRAMS) == ([], [])

    def test_a_program_that_only_has_terraform_among_its_many_arguments_is_none(self, started, run):
        pid = started.start("sh", "-c", "echo; sleep 60", "a", "b", "c", "terraform", run=run)
        started.said(pid)
        terraforms, others = left_running(run, programs=PROGRAMS)
        assert terraforms == []
        assert pid in others

    def test_remains_do_not_run(self, started, run, terraform):
        pid = started.start(terraform, "60", run=run)
        started.kill(pid)
        assert left_running(run, programs=PROGRAMS) == ([], [])

    def test_what_shares_our_session_is_ours_to_wait_for_unless_it_is_a_terraform(self, started, run, terraform):
        """A run that asks after itself (its launcher was killed) does not end what belongs to it."""
        first = started.start(terraform, "60", run=run, own_session=False)
        started.start("sleep", "60", run=run, own_session=False)
        assert left_running(run, programs=PROGRAMS) == ([first], [])

    def test_we_ourselves_are_never_among_them(self, run):
        source = (
            "import os, sys; from tfops.adapters.hosts import left_running;"
            "print(left_running(sys.argv[1], programs=frozenset({'terraform', 'python'})))"
        )
        done = subprocess.run(
            [sys.executable, "-c", source, run],
            env={**os.environ, RUN_VARIABLE: run},
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout == "([], [])\n"


class TestEnding:
    def test_what_ends_when_it_is_asked_is_asked(self, started, tmp_path):
        note = tmp_path / "asked"
        pid = started.start("sh", "-c", f"trap 'echo > {note}; exit' TERM; echo; while :; do sleep 0.05; done")
        started.said(pid)
        end_processes([pid])
        wait_for(note.exists)

    def test_what_does_not_is_killed(self, started):
        pid = started.start("sh", "-c", "trap '' TERM; echo; while :; do sleep 0.05; done")
        started.said(pid)
        alive = known(pid)
        end_processes([pid])
        wait_for(lambda: is_dead(alive))

    def test_several_are_ended_together(self, started):
        pids = [started.start("sleep", "60") for _ in range(5)]
        alive = [known(pid) for pid in pids]
        end_processes(pids)
        wait_for(lambda: all(is_dead(one) for one in alive))

    def test_what_is_dead_already_is_no_fault(self, started):
        pid = started.start("sleep", "60")
        started.kill(pid)
        end_processes([pid, NOBODY])
        started.bury(pid)
        end_processes([pid])

    def test_where_nothing_is_left_nobody_waits(self):
        begun = time.monotonic()
        end_processes([])
        assert time.monotonic() - begun < 0.25
