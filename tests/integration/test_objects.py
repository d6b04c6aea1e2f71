"""What every store promises, held against each implementation; and what a directory promises on top.

A further implementation joins by one entry in `STORES`; if other processes can open it, also in `SHARED`.
"""

import contextlib
import errno
import multiprocessing
import os
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from tests.fakes import MemoryObjects
from tfops.adapters.objects import DirectoryObjects, Objects, content_version
from tfops.errors import FailedError

Opener = Callable[[Path], Objects]

STORES: dict[str, Opener] = {
    "memory": lambda place: MemoryObjects(),
    "directory": lambda place: DirectoryObjects(place / "store"),
}
SHARED: dict[str, Opener] = {"directory": STORES["directory"]}

fork = multiprocessing.get_context("fork")
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can make this happen")


@pytest.fixture(params=STORES)
def objects(request: pytest.FixtureRequest, tmp_path: Path) -> Objects:
    return STORES[request.param](tmp_path)


@pytest.fixture(params=SHARED)
def opener(request: pytest.FixtureRequest) -> Opener:
    return SHARED[request.param]


def known_fault(request: pytest.FixtureRequest, store: str, reason: str) -> None:
    """The directory store fails this one promise today."""
    if request.node.callspec.params.get("objects") == store:
        request.applymarker(pytest.mark.xfail(strict=True, reason=reason))


class TestEveryStore:
    def test_what_was_never_written_is_not_there(self, objects):
        assert objects.get("a/b") is None
        assert objects.keys("") == objects.keys("a") == objects.names("") == objects.names("a") == []

    @pytest.mark.parametrize("data", [b"", b"x", b"\0\r\n\xff", b"x" * 3_000_000], ids=len)
    def test_what_was_written_is_read_back_byte_for_byte(self, objects, data):
        assert objects.create("a/b", data)
        assert objects.get("a/b") == data

    def test_an_object_is_written_once(self, objects):
        assert objects.create("a/b", b"first") is True
        assert objects.create("a/b", b"second") is False
        assert objects.create("a/b", b"first") is False
        assert objects.get("a/b") == b"first"

    def test_an_object_is_replaced_only_if_it_still_is_what_was_expected(self, objects):
        objects.create("a/b", b"1")
        assert objects.replace("a/b", b"2", expected=b"0") is False
        assert objects.get("a/b") == b"1"
        assert objects.replace("a/b", b"2", expected=b"1") is True
        assert objects.get("a/b") == b"2"

    def test_expecting_nothing_means_that_nothing_may_be_there(self, objects):
        assert objects.replace("a/b", b"1", expected=None) is True
        assert objects.replace("a/b", b"2", expected=None) is False
        assert objects.get("a/b") == b"1"

    def test_an_empty_object_is_not_an_absent_one(self, objects):
        assert objects.replace("a/b", b"1", expected=b"") is False
        assert objects.get("a/b") is None
        objects.create("a/b", b"")
        assert objects.replace("a/b", b"1", expected=None) is False
        assert objects.replace("a/b", b"1", expected=b"") is True

    def test_a_journal_grows_at_its_end(self, objects):
        for line in (b"1\n", b"2\n", b""):
            objects.append("a/journal", line)
        assert objects.get("a/journal") == b"1\n2\n"

    def test_a_deleted_object_is_gone_and_may_be_written_again(self, objects):
        objects.create("a/b", b"1")
        objects.delete("a/b")
        objects.delete("a/b")
        objects.delete("never/was")
        assert objects.get("a/b") is None
        assert objects.keys("") == []
        assert objects.create("a/b", b"2")

    def test_keys_are_those_below_a_prefix_and_not_below_its_namesakes(self, objects):
        for key in ("a/1", "a/b/2", "ab/3", "c"):
            objects.create(key, b"")
        assert objects.keys("a") == ["a/1", "a/b/2"]
        assert objects.keys("") == ["a/1", "a/b/2", "ab/3", "c"]
        assert objects.keys("a/b/2") == objects.keys("nothing") == []

    def test_names_are_the_next_parts_each_once(self, objects):
        for key in ("a/1", "a/b/2", "a/b/3", "ab/3", "c"):
            objects.create(key, b"")
        assert objects.names("") == ["a", "ab", "c"]
        assert objects.names("a") == ["1", "b"]
        assert objects.names("c") == objects.names("nothing") == []

    @pytest.mark.parametrize("key", ["..", "../x", "a/../../x", "a/..", ".", "./a", "a/./b", "/etc/passwd", "a\0b"])
    def test_a_key_that_is_no_path_inside_is_refused_by_every_verb(self, objects, key):
        verbs = [
            lambda: objects.get(key),
            lambda: objects.create(key, b"x"),
            lambda: objects.replace(key, b"x", expected=None),
            lambda: objects.replace(key, b"x", expected=b"y"),
            lambda: objects.append(key, b"x"),
            lambda: objects.keys(key),
            lambda: objects.names(key),
            lambda: objects.delete(key),
        ]
        for verb in verbs:
            with pytest.raises(ValueError, match="not a key"):
                verb()

    @pytest.mark.parametrize(
        "key", ["ümläut/日本", "with space/a b", "a'b\"c", "x/y..", "x/…", "%2e%2e/x", "a\nb", "~/x"]
    )
    def test_a_key_is_any_text(self, objects, key):
        assert objects.create(key, b"x")
        assert objects.get(key) == b"x"
        assert objects.keys("") == [key]
        assert objects.names("") == [key.partition("/")[0]]

    @given(keys=st.sets(st.lists(st.sampled_from(["a", "b", "ä", "-", "a b"]), min_size=1, max_size=4).map("/".join)))
    @settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
    def test_all_that_was_created_is_listed_and_nothing_else(self, objects, keys):
        # An object is never also a directory: the store's own layout has no such keys.
        assume(not any(other.startswith(f"{key}/") for key in keys for other in keys))
        for key in objects.keys(""):
            objects.delete(key)
        with contextlib.ExitStack() as cleaning:
            for key in keys:
                if not objects.create(key, key.encode()):
                    assume(False)  # an empty directory of an earlier example is in the way
                cleaning.callback(objects.delete, key)
            assert objects.keys("") == sorted(keys)
            assert {key: objects.get(key) for key in keys} == {key: key.encode() for key in keys}

    def test_an_object_below_another_one_is_no_object(self, objects):
        objects.create("a", b"x")
        assert objects.get("a/b") is None
        assert objects.names("a") == objects.keys("a") == []

    def test_deleting_what_could_not_be_there_does_nothing(self, objects, request):
        known_fault(request, "directory", "NotADirectoryError of unlink is reported as store.io")
        objects.create("a", b"x")
        objects.delete("a/b")

    def test_a_name_that_begins_with_a_dot_is_listed_as_any_other(self, objects, request):
        known_fault(request, "directory", "names with a leading dot are taken for temporary files")
        objects.create("prod/.archive/head.json", b"x")
        assert objects.names("prod") == [".archive"]

    def test_a_name_of_which_nothing_is_left_is_no_longer_listed(self, objects, request):
        known_fault(request, "directory", "the empty directory stays behind and is listed")
        objects.create("prod/app/waiting", b"x")
        objects.delete("prod/app/waiting")
        assert objects.names("prod") == []

    def test_a_replacement_that_was_refused_leaves_no_trace(self, objects, request):
        known_fault(request, "directory", "the directory of the object that never was stays behind")
        assert objects.replace("prod/app/head.json", b"x", expected=b"y") is False
        assert objects.names("") == []


def race(opener: Opener, place: Path, work: Callable[[Objects, int], bool], count: int = 16) -> list[bool]:
    """`work` in that many processes, all let go at the same moment; what each returned."""
    barrier, answers = fork.Barrier(count), fork.SimpleQueue()

    def run(number: int) -> None:
        objects = opener(place)
        barrier.wait(30)
        try:
            answers.put(work(objects, number))
        except BaseException:
            answers.put(None)
            raise

    processes = [fork.Process(target=run, args=(number,)) for number in range(count)]
    for process in processes:
        process.start()
    found = [answers.get() for _ in processes]
    for process in processes:
        process.join(30)
        process.close()
    return found


class TestRaces:
    def test_of_sixteen_who_create_one_object_exactly_one_did(self, opener, tmp_path):
        for round_ in range(5):
            key = f"plans/{round_}/claim.json"
            won = race(opener, tmp_path, lambda objects, number, key=key: objects.create(key, b"%d" % number))
            assert won.count(True) == 1
            assert won.count(False) == 15
            assert opener(tmp_path).get(key) in [b"%d" % number for number in range(16)]

    def test_of_sixteen_who_replace_one_version_exactly_one_did(self, opener, tmp_path):
        opener(tmp_path).create("prod/head.json", b"start")
        won = race(opener, tmp_path, lambda objects, n: objects.replace("prod/head.json", b"%d" % n, expected=b"start"))
        assert (won.count(True), won.count(False)) == (1, 15)

    def test_counting_by_compare_and_set_loses_no_step(self, opener, tmp_path):
        opener(tmp_path).create("count", b"0")

        def count(objects: Objects, number: int) -> bool:
            for _ in range(10):
                while True:
                    before = objects.get("count")
                    if objects.replace("count", b"%d" % (int(before) + 1), expected=before):
                        break
            return True

        assert race(opener, tmp_path, count, count=6) == [True] * 6
        assert opener(tmp_path).get("count") == b"60"

    def test_lines_of_several_writers_stay_whole_in_a_journal(self, opener, tmp_path):
        def write(objects: Objects, number: int) -> bool:
            for _ in range(20):
                objects.append("journal", b"%d" % number * 50 + b"\n")
            return True

        race(opener, tmp_path, write, count=4)
        lines = opener(tmp_path).get("journal").splitlines()
        assert len(lines) == 80
        assert all(len(set(line)) == 1 and len(line) == 50 for line in lines)

    def test_a_reader_sees_the_old_version_or_the_new_one_and_nothing_between(self, opener, tmp_path):
        sizes = (1_500_000, 700_000)
        opener(tmp_path).create("big", b"a" * sizes[0])

        def work(objects: Objects, number: int) -> bool:
            if number == 0:
                for turn in range(20):
                    letter = b"ab"[turn % 2 : turn % 2 + 1]
                    other = b"ba"[turn % 2 : turn % 2 + 1]
                    old = letter * sizes[turn % 2]
                    assert objects.replace("big", other * sizes[1 - turn % 2], expected=old)
                return True
            seen = [objects.get("big") for _ in range(40)]
            return all(data in (b"a" * sizes[0], b"b" * sizes[1]) for data in seen)

        assert race(opener, tmp_path, work, count=3) == [True] * 3

    def test_a_writer_that_is_killed_leaves_a_whole_object_or_none(self, opener, tmp_path):
        data = b"x" * 4_000_000

        def write(objects: Objects) -> None:
            for number in range(10_000):
                objects.create(f"plans/{number}/plan.tfplan", data)

        written = 0
        for delay in (0.02, 0.05, 0.08, 0.11, 0.14, 0.17):
            place = tmp_path / str(delay)
            process = fork.Process(target=lambda place=place: write(opener(place)))
            process.start()
            time.sleep(delay)
            os.kill(process.pid, signal.SIGKILL)
            process.join()
            process.close()
            objects = opener(place)
            keys = objects.keys("")
            assert all(objects.get(key) == data for key in keys)
            assert all(objects.names(f"plans/{name}") in ([], ["plan.tfplan"]) for name in objects.names("plans"))
            written += len(keys)
        assert written

    def test_after_a_killed_replacement_the_next_one_goes_through(self, opener, tmp_path):
        opener(tmp_path).create("head", b"0" * 2_000_000)

        def work(objects: Objects) -> None:
            for turn in range(10_000):
                objects.replace("head", b"%d" % ((turn + 1) % 10) * 2_000_000, expected=b"%d" % (turn % 10) * 2_000_000)

        process = fork.Process(target=lambda: work(opener(tmp_path)))
        process.start()
        time.sleep(0.15)
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        process.close()
        left = opener(tmp_path).get("head")
        assert len(left) == 2_000_000
        assert len(set(left)) == 1
        assert opener(tmp_path).replace("head", b"next", expected=left)


@pytest.fixture
def directory(tmp_path: Path) -> DirectoryObjects:
    return DirectoryObjects(tmp_path / "store")


def files(root: Path) -> Iterator[Path]:
    return (path for path in root.rglob("*") if path.is_file())


@contextlib.contextmanager
def umask(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


def refusal(action: Callable[[], object]) -> tuple[str, str]:
    with pytest.raises(FailedError) as refused:
        action()
    (problem,) = refused.value.problems
    assert problem.hint
    return problem.code, problem.message


class TestDirectory:
    def write_all_ways(self, objects: Objects) -> None:
        objects.create("prod/plans/1/plan.tfplan", b"secret")
        objects.append("prod/plans/1/events.ndjson", b"secret")
        objects.create("prod/head.json", b"1")
        objects.replace("prod/head.json", b"2", expected=b"1")

    @pytest.mark.parametrize("mask", [0o000, 0o022, 0o077])
    def test_files_are_for_their_owner_only_under_any_umask(self, directory, mask):
        with umask(mask):
            self.write_all_ways(directory)
        assert {stat.S_IMODE(path.stat().st_mode) for path in files(directory.root)} == {0o600}

    @pytest.mark.parametrize("mask", [0o000, 0o022])
    def test_directories_are_for_their_owner_only_under_any_umask(self, directory, mask):
        with umask(mask):
            self.write_all_ways(directory)
        directories = [directory.root, *(path for path in directory.root.rglob("*") if path.is_dir())]
        assert {stat.S_IMODE(path.stat().st_mode) for path in directories} == {0o700}

    def test_nothing_temporary_is_left(self, directory):
        self.write_all_ways(directory)
        directory.create("prod/head.json", b"3")
        directory.replace("prod/head.json", b"3", expected=b"0")
        left = {path.name for path in files(directory.root)}
        assert left == {"plan.tfplan", "events.ndjson", "head.json", ".write-lock"}

    def test_the_stores_own_locks_are_no_objects(self, directory):
        self.write_all_ways(directory)
        assert directory.keys("prod") == ["prod/head.json", "prod/plans/1/events.ndjson", "prod/plans/1/plan.tfplan"]

    def test_what_does_not_fit_into_a_files_name_is_refused_in_words(self, directory):
        assert refusal(lambda: directory.create("x" * 300, b""))[0] == "store.io"
        assert directory.create("x" * 255, b"")

    def test_an_object_where_a_directory_stands_is_refused(self, directory):
        directory.create("a/b", b"")
        assert refusal(lambda: directory.append("a", b"x"))[0] == "store.io"
        assert refusal(lambda: directory.delete("a"))[0] in ("store.io", "store.denied")
        directory.create("c", b"")
        assert refusal(lambda: directory.create("c/d", b""))[0] == "store.io"

    def test_a_link_out_of_the_store_is_not_written_through(self, directory, tmp_path):
        directory.create("a/b", b"")
        (directory.root / "a" / "c").symlink_to(tmp_path / "outside")
        assert directory.create("a/c", b"x") is False
        assert not (tmp_path / "outside").exists()

    @pytest.fixture
    def small(self, tmp_path: Path) -> Iterator[DirectoryObjects]:
        """A store on a file system of 256 KiB."""
        place = tmp_path / "small"
        place.mkdir()
        mount = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(place)], capture_output=True, check=False
        )
        if mount.returncode:
            pytest.skip("cannot mount a small file system here")
        try:
            yield DirectoryObjects(place / "store")
        finally:
            subprocess.run(["umount", str(place)], check=True)

    def test_a_full_disk_is_named_and_leaves_nothing_half_written(self, small):
        small.create("head", b"old")
        large = b"x" * 1_000_000
        for action in (
            lambda: small.create("plans/1/plan.tfplan", large),
            lambda: small.replace("head", large, expected=b"old"),
        ):
            code, message = refusal(action)
            assert code == "store.full"
            assert "No space left" in message
        assert small.get("head") == b"old"
        assert small.get("plans/1/plan.tfplan") is None
        assert small.keys("") == ["head"]
        assert sum(path.stat().st_size for path in files(small.root)) < 4096
        assert small.create("after", b"x" * 100_000), "space was not given back"

    def test_a_journal_on_a_full_disk_fails_aloud_and_goes_on_when_there_is_room(self, small):
        small.append("journal", b"1\n")
        assert refusal(lambda: [small.append("journal", b"x" * 100_000) for _ in range(10)])[0] == "store.full"
        assert small.get("journal").startswith(b"1\n")

    def fill(self, place: Path) -> Path:
        """Leave no room at all on the file system."""
        ballast = place / "ballast"
        with contextlib.suppress(OSError), ballast.open("ab", buffering=0) as file:
            while file.write(b"x" * 4096):
                pass
        return ballast

    def test_a_journal_keeps_only_whole_additions(self, small):
        small.append("journal", b"1\n")
        ballast = self.fill(small.root.parent)
        assert refusal(lambda: small.append("journal", b"x" * 200_000 + b"\n"))[0] == "store.full"
        ballast.unlink()
        small.append("journal", b"2\n")
        assert small.get("journal") == b"1\n2\n"

    def test_a_journal_keeps_only_whole_additions_of_a_few_pages_too(self, small):
        small.append("journal", b"1\n")
        self.fill(small.root.parent)
        assert refusal(lambda: small.append("journal", b"x" * 6000 + b"\n"))[0] == "store.full"
        assert small.get("journal") == b"1\n"

    def test_a_limit_on_a_files_size_leaves_nothing_half_written(self, tmp_path):
        script = """
import resource, signal, sys
from pathlib import Path
from tfops.adapters.objects import DirectoryObjects
from tfops.errors import FailedError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (65536, 65536))
objects = DirectoryObjects(Path(sys.argv[1]))
try:
    objects.create("a/b", b"x" * 1_000_000)
except FailedError as error:
    print(error.problems[0].code, objects.keys(""), objects.create("a/b", b"x"))
"""
        done = subprocess.run(
            [sys.executable, "-c", script, str(tmp_path / "store")], capture_output=True, text=True, check=False
        )
        assert done.stdout == "store.io [] True\n", done.stderr
        assert [path.name for path in files(tmp_path)] == ["b"]

    @needs_root
    def test_a_directory_that_cannot_be_written_is_refused_with_the_way_out(self, directory):
        directory.create("a/b", b"1")
        frozen = subprocess.run(["chattr", "-R", "+i", str(directory.root)], capture_output=True, check=False)
        if frozen.returncode:
            pytest.skip("this file system has no immutable files")
        try:
            for action in (
                lambda: directory.create("a/c", b""),
                lambda: directory.create("new/c", b""),
                lambda: directory.append("a/b", b""),
                lambda: directory.delete("a/b"),
                lambda: directory.replace("a/b", b"2", expected=b"1"),
            ):
                assert refusal(action)[0] == "store.denied"
            assert directory.get("a/b") == b"1"
        finally:
            subprocess.run(["chattr", "-R", "-i", str(directory.root)], check=True)

    @pytest.fixture
    def open_directory(self) -> Iterator[Path]:
        """A directory that every user may enter (pytest's own are closed)."""
        with tempfile.TemporaryDirectory() as name:
            Path(name).chmod(0o755)
            yield Path(name)

    @needs_root
    def test_another_user_is_kept_out_and_told_so(self, open_directory):
        """Forked, for nobody else may read the interpreter; the child gives its rights up before it looks."""
        objects = DirectoryObjects(open_directory / "store")
        objects.create("digest-key", b"secret")
        answers = fork.SimpleQueue()

        def look() -> None:
            os.setgroups([])
            os.setresgid(65534, 65534, 65534)
            os.setresuid(65534, 65534, 65534)
            for action in (lambda: objects.get("digest-key"), lambda: objects.create("x", b"")):
                try:
                    answers.put(action())
                except FailedError as error:
                    answers.put(error.problems[0].code)

        process = fork.Process(target=look)
        process.start()
        assert [answers.get(), answers.get()] == ["store.denied", "store.denied"]
        process.join()
        process.close()

    def test_a_store_that_cannot_be_listed_is_not_an_empty_one(self, tmp_path):
        (tmp_path / "loop").symlink_to("loop")
        objects = DirectoryObjects(tmp_path / "loop")
        assert refusal(lambda: objects.names(""))[0] == "store.io"
        assert refusal(lambda: objects.get("store.json"))[0] == "store.io"


def test_a_version_stands_for_exact_content():
    assert content_version(b"a") == content_version(b"a") != content_version(b"b")


def test_the_codes_cover_what_a_disk_can_say():
    from tfops.adapters import objects

    assert {errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS} == set(objects._CODES)
    assert set(objects._CODES) == set(objects._HINTS)
