"""What node_exporter reads is whole at any moment, readable for it, and where it cannot be written that is said."""

import os
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tfops.adapters.textfile import write_textfile
from tfops.errors import FailedError, Problem

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can make this happen")


@pytest.fixture
def path(tmp_path) -> Path:
    return tmp_path / "tfops.prom"


def names(directory: Path) -> list[str]:
    """Everything in a directory, hidden or not."""
    return sorted(place.name for place in directory.iterdir())


def refusal(path: Path, text: str = "new\n") -> Problem:
    with pytest.raises(FailedError) as refused:
        write_textfile(path, text)
    (problem,) = refused.value.problems
    assert problem.code == "metrics.io"
    assert str(path) in problem.message
    assert problem.hint
    return problem


def test_it_is_written_and_replaced(path):
    write_textfile(path, 'a{b="ü"} 1\n')
    assert path.read_text(encoding="utf-8") == 'a{b="ü"} 1\n'
    write_textfile(path, "")
    assert path.read_bytes() == b""
    assert names(path.parent) == [path.name]


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077, 0o777])
def test_another_user_can_read_it_whatever_the_umask(path, umask):
    before = os.umask(umask)
    try:
        write_textfile(path, "a 1\n")
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o644


def test_what_was_written_with_another_mode_is_readable_afterwards(path):
    path.write_text("old")
    path.chmod(0o600)
    write_textfile(path, "a 1\n")
    assert stat.S_IMODE(path.stat().st_mode) == 0o644


def test_a_character_that_cannot_be_written_fails_nothing(path):
    write_textfile(path, 'a{b="\udcff"} 1\n')
    assert path.read_bytes() == b'a{b="?"} 1\n'


def test_a_symbolic_link_is_replaced_and_not_followed(path, tmp_path):
    precious = tmp_path / "precious"
    precious.write_text("precious")
    path.symlink_to(precious)
    write_textfile(path, "a 1\n")
    assert precious.read_text() == "precious"
    assert not path.is_symlink()
    assert path.read_text() == "a 1\n"


def test_a_reader_never_sees_half_of_it(path):
    texts = [f"{letter}" * 200_000 + "\n" for letter in "abc"]
    write_textfile(path, texts[0])
    torn: list[str] = []
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            text = path.read_text()
            if text not in texts:
                torn.append(text[:10])

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    for number in range(60):
        write_textfile(path, texts[number % 3])
    done.set()
    for reader in readers:
        reader.join()
    assert not torn


def test_two_writers_leave_the_text_of_one(path):
    texts = ["a" * 100_000 + "\n", "b" * 100_000 + "\n"]
    writers = [
        threading.Thread(target=lambda text=text: [write_textfile(path, text) for _ in range(30)]) for text in texts
    ]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert path.read_text() in texts
    assert names(path.parent) == [path.name]


class TestRefusals:
    def test_a_directory_that_is_missing(self, tmp_path):
        problem = refusal(tmp_path / "missing" / "tfops.prom")
        assert "No such file or directory" in problem.message
        assert "make that directory" in problem.hint

    def test_a_path_through_a_file(self, tmp_path):
        (tmp_path / "file").write_text("")
        assert "no directory" in refusal(tmp_path / "file" / "tfops.prom").hint

    def test_a_directory_in_its_place(self, path):
        path.mkdir()
        assert "name a file in it" in refusal(path).hint
        assert names(path.parent) == [path.name]

    def test_a_name_that_is_too_long(self, tmp_path):
        refusal(tmp_path / ("x" * 300))
        assert names(tmp_path) == []

    def test_a_limit_on_a_files_size_leaves_the_old_one(self, path):
        script = """
import resource, signal, sys
from pathlib import Path
from tfops.adapters.textfile import write_textfile
from tfops.errors import FailedError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
before = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
try:
    write_textfile(Path(sys.argv[1]), "x" * 100_000)
except FailedError as error:
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    print(error.problems[0].code)
"""
        path.write_text("old\n")
        done = subprocess.run(
            [sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=False, timeout=30
        )
        assert done.stdout == "metrics.io\n", done.stderr
        assert path.read_text() == "old\n"
        assert names(path.parent) == [path.name]

    @pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
    def test_a_directory_of_somebody_else(self, path):
        path.parent.chmod(0o500)
        try:
            assert "write access" in refusal(path).hint
        finally:
            path.parent.chmod(0o700)

    @needs_root
    def test_a_directory_of_somebody_else_seen_by_another_user(self, path):
        script = """
import os, sys
from pathlib import Path
from tfops.adapters.textfile import write_textfile
from tfops.errors import FailedError
os.chdir("/")
place = os.open(sys.argv[1], os.O_RDONLY)
os.setgid(65534); os.setuid(65534); os.fchdir(place)
try:
    write_textfile(Path("tfops.prom"), "new")
except FailedError as error:
    print(error.problems[0].code, error.problems[0].hint)
"""
        path.write_text("old\n")
        path.parent.chmod(0o555)
        done = subprocess.run(
            [sys.executable, "-c", script, str(path.parent)], capture_output=True, text=True, check=False, timeout=30
        )
        assert done.stdout == "metrics.io give this user write access to that directory\n", done.stderr
        assert path.read_text() == "old\n"


@needs_root
class TestDisks:
    @pytest.fixture
    def small(self, tmp_path) -> Iterator[Path]:
        place = tmp_path / "small"
        place.mkdir()
        mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(place)]
        if subprocess.run(mount, capture_output=True, check=False).returncode:
            pytest.skip("no file system can be mounted here")
        try:
            yield place
        finally:
            subprocess.run(["umount", str(place)], check=True)

    def test_a_full_disk_leaves_the_old_one(self, small):
        path = small / "tfops.prom"
        write_textfile(path, "old\n")
        problem = refusal(path, "x" * 1_000_000)
        assert "No space left" in problem.message
        assert "free space" in problem.hint
        assert path.read_text() == "old\n"
        assert names(small) == ["tfops.prom"]

    def test_a_read_only_file_system(self, small):
        path = small / "tfops.prom"
        write_textfile(path, "old\n")
        if subprocess.run(["mount", "-o", "remount,ro", str(small)], capture_output=True, check=False).returncode:
            pytest.skip("it cannot be mounted read-only here")
        assert "read-only" in refusal(path).hint
        assert path.read_text() == "old\n"
