"""What every store promises, held against each implementation; and what a directory and a bucket promise on top.

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
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import ClassVar

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from tests.fakes import MemoryObjects
from tests.integration.buckets import HURRY, Buckets, buckets_of, unique
from tests.servers.proxy import Answer, Cut, DropAnswer, FaultProxy
from tfops.adapters.objects import DirectoryObjects, Objects, content_version
from tfops.adapters.objects_s3 import SEGMENT_BYTES, S3Objects
from tfops.adapters.s3 import Bucket
from tfops.errors import Exit, FailedError, Problem, TfopsError, VerificationError

Opener = Callable[[Path], Objects]
MakeOpener = Callable[[pytest.FixtureRequest], Opener]


def in_s3(request: pytest.FixtureRequest) -> Opener:
    """Objects of one server, below a prefix for each place."""
    buckets: Buckets = request.getfixturevalue("buckets")
    buckets.server.bucket("tests")
    return lambda place: S3Objects(buckets.open(make=False), f"{str(place).strip('/')}/store/")


STORES: dict[str, MakeOpener] = {
    "memory": lambda request: lambda place: MemoryObjects(),
    "directory": lambda request: lambda place: DirectoryObjects(place / "store"),
    "s3": in_s3,
}
SHARED: dict[str, MakeOpener] = {name: STORES[name] for name in ("directory", "s3")}
# How much longer a process takes there to get as far.
PACES = {"directory": 1, "s3": 8}

fork = multiprocessing.get_context("fork")
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can make this happen")


@pytest.fixture(params=STORES)
def objects(request: pytest.FixtureRequest, tmp_path: Path) -> Objects:
    return STORES[request.param](request)(tmp_path)


@pytest.fixture(params=[pytest.param(name, marks=[pytest.mark.slow] * (name == "s3")) for name in SHARED])
def opener(request: pytest.FixtureRequest) -> Opener:
    return SHARED[request.param](request)


@pytest.fixture
def pace(request: pytest.FixtureRequest) -> int:
    return PACES[request.node.callspec.params["opener"]]


def known_fault(request: pytest.FixtureRequest, store: str, reason: str) -> None:
    """This one promise a store does not keep today."""
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
        assert objects.appended("a/journal") == objects.get("a/journal") == b"1\n2\n"

    def test_a_journal_that_was_never_begun_is_empty(self, objects):
        assert objects.appended("a/journal") == b""

    def test_a_long_journal_is_read_back_whole(self, objects):
        lines = [b"%d " % number + b"x" * 20_000 + b"\n" for number in range(12)]
        for line in lines:
            objects.append("a/journal", line)
        assert objects.appended("a/journal") == b"".join(lines)

    def test_two_journals_do_not_mix(self, objects):
        for number in range(3):
            objects.append("a/journal", b"%d" % number)
            objects.append("a/journal2", b"x")
        assert (objects.appended("a/journal"), objects.appended("a/journal2")) == (b"012", b"xxx")

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
    def test_a_key_is_any_text(self, objects, key, request):
        if "\n" in key:
            known_fault(request, "s3", "moto has no route for a key with a line break")
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
    def test_of_sixteen_who_create_one_object_exactly_one_did(self, opener, pace, tmp_path):
        for round_ in range(5 if pace == 1 else 2):
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

    def test_a_journal_goes_on_where_another_process_left_it(self, opener, tmp_path):
        def write(objects: Objects, number: int) -> bool:
            for _ in range(5):
                objects.append("journal", b"x" * 19_999 + b"\n")
            return True

        for _ in range(3):
            assert race(opener, tmp_path, write, count=1) == [True]
        assert opener(tmp_path).appended("journal") == (b"x" * 19_999 + b"\n") * 15

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

    def test_a_writer_that_is_killed_leaves_a_whole_object_or_none(self, opener, pace, tmp_path):
        data = b"x" * 4_000_000

        def write(objects: Objects) -> None:
            for number in range(10_000):
                objects.create(f"plans/{number}/plan.tfplan", data)

        written = 0
        for delay in (0.02, 0.05, 0.08, 0.11, 0.14, 0.17):
            place = tmp_path / str(delay)
            process = fork.Process(target=lambda place=place: write(opener(place)))
            process.start()
            time.sleep(delay * pace)
            os.kill(process.pid, signal.SIGKILL)
            process.join()
            process.close()
            objects = opener(place)
            # Whoever dies while it tries out the server leaves its trial object; what was to be kept is below plans/.
            keys = objects.keys("plans")
            assert all(objects.get(key) == data for key in keys)
            assert all(objects.names(f"plans/{name}") in ([], ["plan.tfplan"]) for name in objects.names("plans"))
            written += len(keys)
        assert written

    def test_after_a_killed_replacement_the_next_one_goes_through(self, opener, pace, tmp_path):
        opener(tmp_path).create("head", b"0" * 2_000_000)

        def work(objects: Objects) -> None:
            for turn in range(10_000):
                objects.replace("head", b"%d" % ((turn + 1) % 10) * 2_000_000, expected=b"%d" % (turn % 10) * 2_000_000)

        process = fork.Process(target=lambda: work(opener(tmp_path)))
        process.start()
        time.sleep(0.15 * pace)
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
    def test_lines_of_several_writers_stay_whole_in_a_journal(self, tmp_path):
        def write(objects: Objects, number: int) -> bool:
            for _ in range(20):
                objects.append("journal", b"%d" % number * 50 + b"\n")
            return True

        race(lambda place: DirectoryObjects(place / "store"), tmp_path, write, count=4)
        lines = DirectoryObjects(tmp_path / "store").appended("journal").splitlines()
        assert len(lines) == 80
        assert all(len(set(line)) == 1 and len(line) == 50 for line in lines)

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


PAUSE = "tfops.adapters.s3.CONFLICT_PAUSE_SECONDS"


def refused(action: Callable[[], object], kind: type[TfopsError] = FailedError) -> Problem:
    with pytest.raises(kind) as found:
        action()
    (problem,) = found.value.problems
    assert problem.hint
    return problem


@pytest.fixture
def prefix() -> str:
    return f"{unique()}/"


@pytest.fixture
def patient(buckets: Buckets, proxy: FaultProxy, prefix: str) -> S3Objects:
    """Objects in S3 behind a proxy; a request is tried as often as in real life."""
    return S3Objects(buckets.open(endpoint=proxy.endpoint), prefix)


@pytest.fixture
def hurried(buckets: Buckets, proxy: FaultProxy, prefix: str) -> S3Objects:
    """The same, where each request is tried once."""
    return S3Objects(buckets.open(endpoint=proxy.endpoint, patience=HURRY), prefix)


class TestS3:
    """What a bucket promises on top."""

    def test_two_prefixes_of_a_bucket_are_two_places(self, buckets, prefix):
        one, other = (S3Objects(buckets.open(), f"{prefix}{name}/") for name in ("a", "ab"))
        one.create("x", b"1")
        assert other.get("x") is None
        assert other.keys("") == other.names("") == []
        assert buckets.keys(prefix) == [f"{prefix}a/x"]

    def test_what_terraform_must_read_in_clear_is_marked_as_short_lived(self, buckets, patient, prefix):
        for name in ("plan.tfplan", "plan.json", "statement.json"):
            patient.create(f"prod/plans/1/{name}", b"x")
        patient.create("prod/tfplan", b"x")
        with buckets.client() as client:
            tagged = {
                key.rpartition("/")[2]: client.get_object_tagging(Bucket="tests", Key=key)["TagSet"]
                for key in buckets.keys(prefix)
            }
        assert tagged.pop("plan.tfplan") == [{"Key": "tfops", "Value": "raw-plan"}]
        assert set(map(str, tagged.values())) == {"[]"}

    def test_every_write_carries_a_digest_that_the_server_checks(self, patient, proxy):
        patient.create("a", b"x")
        patient.append("b", b"x")
        writes = [one for one in proxy.requests if one.method == "PUT"]
        assert all("x-amz-checksum-sha256" in str(one.headers) for one in writes)

    @pytest.mark.parametrize("key", [None, "alias/tfops"])
    def test_every_write_is_encrypted_with_the_key_of_the_configuration(self, buckets, proxy, prefix, key):
        objects = S3Objects(buckets.open(endpoint=proxy.endpoint, kms_key_id=key), prefix)
        with contextlib.suppress(TfopsError):
            objects.create("a", b"x")
        writes = [one.headers for one in proxy.requests if one.method == "PUT"]
        found = {one.get("x-amz-server-side-encryption-aws-kms-key-id") for one in writes}
        assert found == {key}
        assert {one.get("x-amz-server-side-encryption") for one in writes} == {"aws:kms" if key else None}

    def test_replacing_what_was_just_read_is_one_request(self, patient, proxy):
        patient.create("head", b"1")
        proxy.clear()
        assert patient.replace("head", b"2", expected=b"1")
        assert patient.replace("head", b"3", expected=b"2")
        assert [one.method for one in proxy.requests] == ["PUT", "PUT"]

    def test_what_somebody_else_wrote_anew_with_the_same_content_is_still_what_was_expected(
        self, buckets, patient, prefix
    ):
        patient.create("head", b"1")
        buckets.put(f"{prefix}head", b"other")
        buckets.put(f"{prefix}head", b"1")
        assert patient.replace("head", b"2", expected=b"1")

    def test_what_somebody_else_wrote_is_not_overwritten_by_one_who_remembers_the_old(self, buckets, patient, prefix):
        patient.create("head", b"1")
        buckets.put(f"{prefix}head", b"theirs")
        assert patient.replace("head", b"2", expected=b"1") is False
        assert patient.get("head") == b"theirs"

    def test_what_somebody_else_removed_is_not_replaced(self, buckets, patient, prefix):
        patient.create("head", b"1")
        buckets.delete(f"{prefix}head")
        assert patient.replace("head", b"2", expected=b"1") is False
        assert patient.get("head") is None


class TestS3Probe:
    """Before its first write a process asks whether the server keeps conditions at all."""

    def test_it_is_asked_once_and_before_the_first_write(self, patient, proxy, prefix):
        for number in range(3):
            patient.create(f"a/{number}", b"x")
        writes = [one.path for one in proxy.requests if one.method == "PUT"]
        asked = [path for path in writes if "/probe/" in path]
        assert writes == [*asked, *(f"/tests/{prefix}a/{number}" for number in range(3))]
        assert (len(asked), len(set(asked))) == (4, 1)

    def test_nothing_of_it_is_left(self, buckets, patient, prefix):
        patient.create("a", b"x")
        assert buckets.keys(prefix) == [f"{prefix}a"]

    def test_reading_asks_nothing(self, patient, proxy):
        patient.get("a")
        patient.names("")
        patient.keys("a")
        patient.appended("a")
        assert proxy.count(("PUT", "")) == 0

    @pytest.mark.parametrize(
        "write",
        [
            lambda objects: objects.create("a", b"x"),
            lambda objects: objects.replace("a", b"x", expected=None),
            lambda objects: objects.replace("a", b"x", expected=b"y"),
            lambda objects: objects.append("a", b"x"),
            lambda objects: objects.delete("a"),
        ],
        ids=["create", "replace nothing", "replace", "append", "delete"],
    )
    def test_every_kind_of_write_asks(self, patient, proxy, write):
        write(patient)
        assert proxy.count(("PUT", "/probe/")) == 4

    def test_threads_that_write_at_once_ask_once(self, patient, proxy):
        threads = [threading.Thread(target=patient.create, args=(f"a/{number}", b"x")) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert proxy.count(("PUT", "/probe/")) == 4
        assert len(patient.keys("a")) == 8

    def test_a_probe_that_could_not_be_made_is_made_the_next_time(self, hurried, proxy):
        proxy.fault(("PUT", "/probe/"), Cut())
        assert refused(lambda: hurried.create("a", b"x")).code == "store.unreachable"
        assert hurried.get("a") is None
        assert hurried.create("a", b"x")

    WRITES: ClassVar[dict[str, Callable[[Objects], object]]] = {
        "create": lambda objects: objects.create("prod/head.json", b"x"),
        "replace nothing": lambda objects: objects.replace("prod/head.json", b"x", expected=None),
        "replace": lambda objects: objects.replace("prod/head.json", b"x", expected=b"y"),
        "append": lambda objects: objects.append("prod/head.json", b"x"),
        "delete": lambda objects: objects.delete("prod/head.json"),
    }

    @pytest.mark.parametrize("write", WRITES)
    def test_a_server_that_ignores_conditions_gets_nothing_but_the_probe(self, careless, prefix, write):
        with buckets_of(careless) as buckets, FaultProxy(careless.endpoint) as proxy:
            objects = S3Objects(buckets.open(endpoint=proxy.endpoint), prefix)
            for _ in range(2):
                problem = refused(lambda: self.WRITES[write](objects), VerificationError)
                assert problem.code == "store.no_conditional_writes"
                assert "ignores If-None-Match" in problem.message
            assert {one.method for one in proxy.requests if "/probe/" not in one.path} <= {"GET"}
            assert proxy.count(("PUT", "/probe/")) > 0
            assert buckets.keys(prefix) == []

    def test_that_is_a_failed_verification(self, careless, prefix):
        with buckets_of(careless) as buckets, pytest.raises(VerificationError) as found:
            S3Objects(buckets.open(), prefix).create("a", b"x")
        assert found.value.exit_code is Exit.UNVERIFIED

    @pytest.mark.parametrize(
        ("ignored", "words"),
        [
            ("only_if_absent", "it ignores If-None-Match: an object can be written twice"),
            ("only_if", "it ignores If-Match: a write based on an old version goes through"),
        ],
    )
    def test_a_server_that_ignores_one_of_the_conditions_is_refused_too(self, patient, monkeypatch, ignored, words):
        put_raw = Bucket.put_raw
        monkeypatch.setattr(
            Bucket, "put_raw", lambda self, key, data, **given: put_raw(self, key, data, **{**given, ignored: None})
        )
        assert words in refused(lambda: patient.create("a", b"x"), VerificationError).message

    @pytest.mark.parametrize(
        ("skip", "words"),
        [(0, "it refuses the first conditional write of an object (412)"), (3, "it refuses If-Match with the right")],
    )
    def test_a_server_that_refuses_what_fits_is_refused(self, buckets, hurried, proxy, prefix, skip, words):
        proxy.fault(("PUT", "/probe/"), Answer(412), skip=skip)
        assert words in refused(lambda: hurried.create("a", b"x"), VerificationError).message
        assert buckets.keys(prefix) == []

    def test_a_server_that_knows_no_conditions_at_all_is_refused_in_words(self, hurried, proxy):
        proxy.fault(("PUT", "/probe/"), Answer(501, "NotImplemented"))
        assert refused(lambda: hurried.create("a", b"x")).code == "store.refused"


class TestS3Journals:
    def test_a_journal_rolls_over_at_64_kib(self, buckets, patient, prefix):
        for _ in range(10):
            patient.append("prod/events.ndjson", b"x" * 20_000)
        sizes = [len(buckets.data(key)) for key in buckets.keys(prefix)]
        assert sizes == [80_000, 80_000, 40_000]
        assert buckets.keys(prefix)[1].endswith("/prod/events.ndjson.0001")

    @pytest.mark.parametrize("size", [SEGMENT_BYTES - 1, SEGMENT_BYTES, SEGMENT_BYTES + 1, 3 * SEGMENT_BYTES])
    def test_wherever_a_segment_ends_nothing_is_lost_or_doubled(self, buckets, patient, prefix, size):
        patient.append("j", b"a" * size)
        assert S3Objects(buckets.open(), prefix).appended("j") == b"a" * size
        patient.append("j", b"b")
        S3Objects(buckets.open(), prefix).append("j", b"c")
        assert S3Objects(buckets.open(), prefix).appended("j") == b"a" * size + b"bc"

    @given(parts=st.lists(st.binary(max_size=30), max_size=12))
    @settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
    def test_a_journal_is_all_that_was_appended_whoever_appended_it(self, buckets, monkeypatch, parts):
        monkeypatch.setattr("tfops.adapters.objects_s3.SEGMENT_BYTES", 40)
        bucket, prefix = buckets.open(make=False), f"{unique()}/"
        writers = [S3Objects(bucket, prefix)]
        for number, part in enumerate(parts):
            if number % 3 == 2:  # another process goes on
                writers.append(S3Objects(bucket, prefix))
            writers[-1].append("j", part)
        assert S3Objects(bucket, prefix).appended("j") == b"".join(parts)

    def test_an_addition_without_an_answer_is_there_once(self, patient, proxy):
        patient.append("j", b"1\n")
        dropped = proxy.fault(("PUT", "/j"), DropAnswer())
        patient.append("j", b"2\n")
        patient.append("j", b"3\n")
        assert dropped.hits == 1
        assert patient.appended("j") == b"1\n2\n3\n"

    def test_an_addition_that_failed_can_be_made_again(self, hurried, proxy):
        hurried.append("j", b"1\n")
        proxy.fault(("PUT", "/j"), Cut())
        assert refused(lambda: hurried.append("j", b"2\n")).code == "store.unreachable"
        hurried.append("j", b"2\n")
        assert hurried.appended("j") == b"1\n2\n"

    @pytest.mark.parametrize("status", [404, 409])
    def test_an_addition_that_the_server_refuses_for_good_is_not_taken_for_made(
        self, hurried, proxy, monkeypatch, status
    ):
        monkeypatch.setattr(PAUSE, 0.0)
        hurried.append("j", b"1\n")
        proxy.fault(("PUT", "/j"), Answer(status), times=None)
        with pytest.raises(FailedError):
            hurried.append("j", b"2\n")


class TestS3LostAnswers:
    """The server did what it was told, and nobody heard; the library asks again, and is refused for its own write."""

    @pytest.mark.parametrize("times", [1, 2, 5])
    @pytest.mark.slow
    def test_a_creation_counts_as_one_however_many_answers_were_lost(self, patient, proxy, times):
        patient.create("first", b"x")
        dropped = proxy.fault(("PUT", "/a"), DropAnswer(), times=times)
        assert patient.create("a", b"x") is True
        assert dropped.hits == times
        assert patient.create("a", b"x") is False

    def test_a_creation_that_was_too_late_does_not_count_although_its_answer_was_lost(self, buckets, patient, proxy):
        S3Objects(buckets.open(), patient.prefix).create("a", b"theirs")
        patient.probe()
        proxy.fault(("PUT", "/a"), DropAnswer())
        assert patient.create("a", b"ours") is False
        assert patient.get("a") == b"theirs"

    def test_not_even_if_it_says_the_very_same(self, buckets, patient, proxy):
        """A claim of the same plan by two runs of the same second would be the same bytes."""
        S3Objects(buckets.open(), patient.prefix).create("a", b"same")
        patient.probe()
        proxy.fault(("PUT", "/a"), DropAnswer())
        assert patient.create("a", b"same") is False

    def test_a_replacement_without_an_answer_is_one(self, patient, proxy):
        patient.create("head", b"1")
        dropped = proxy.fault(("PUT", "/head"), DropAnswer())
        assert patient.replace("head", b"2", expected=b"1") is True
        assert dropped.hits == 1
        assert patient.replace("head", b"3", expected=b"2") is True

    def test_where_nobody_can_tell_it_is_an_error_and_neither_yes_nor_no(self, hurried, proxy):
        hurried.probe()
        for method in ("PUT", "HEAD"):
            proxy.fault((method, "/a"), DropAnswer())
        assert refused(lambda: hurried.create("a", b"x")).code == "store.unreachable"

    @pytest.mark.parametrize("times", [1, 3])
    def test_two_writes_at_the_same_moment_are_tried_again(self, patient, proxy, monkeypatch, times):
        monkeypatch.setattr(PAUSE, 0.0)
        patient.probe()
        conflict = proxy.fault(("PUT", "/a"), Answer(409), times=times)
        assert patient.create("a", b"x") is True
        assert conflict.hits == times
        assert patient.get("a") == b"x"

    def test_a_conflict_that_does_not_end_is_no_success(self, patient, proxy, monkeypatch):
        monkeypatch.setattr(PAUSE, 0.0)
        patient.probe()
        conflict = proxy.fault(("PUT", "/a"), Answer(409), times=None)
        assert patient.create("a", b"x") is False
        assert conflict.hits > 3
        assert patient.get("a") is None

    @pytest.mark.slow
    def test_a_server_that_stumbles_is_asked_again(self, patient, proxy):
        patient.probe()
        proxy.fault(("PUT", "/a"), Answer(503), times=2)
        assert patient.create("a", b"x") is True
        proxy.fault(("GET", "/a"), Answer(500), times=2)
        assert patient.get("a") == b"x"


class TestS3Faults:
    """Each says what is missing, where, and what to do next."""

    @pytest.mark.parametrize(
        ("verb", "method", "permission"),
        [
            (lambda objects: objects.get("a/b"), "GET", "s3:GetObject"),
            (lambda objects: objects.create("a/b", b""), "PUT", "s3:PutObject"),
            (lambda objects: objects.append("a/b", b""), "PUT", "s3:PutObject"),
            (lambda objects: objects.delete("a/b"), "DELETE", "s3:DeleteObject"),
        ],
    )
    def test_a_denial_names_the_permission_and_the_object(self, hurried, proxy, verb, method, permission):
        hurried.probe()
        proxy.fault((method, "/a/b"), Answer(403))
        problem = refused(lambda: verb(hurried))
        assert problem.code == "store.denied"
        assert f"the permission {permission} on arn:aws:s3:::tests/{hurried.prefix}a/b is missing" in problem.message
        assert "docs/aws.md" in problem.hint

    @pytest.mark.parametrize("verb", ["keys", "names"])
    def test_who_may_not_list_is_told_the_bucket(self, hurried, proxy, verb):
        proxy.fault(("GET", "/tests"), Answer(403))
        problem = refused(lambda: getattr(hurried, verb)("a"))
        assert problem.code == "store.denied"
        assert "the permission s3:ListBucket on arn:aws:s3:::tests is missing" in problem.message

    def test_a_denial_of_the_key_is_told_from_one_of_the_bucket(self, hurried, proxy):
        hurried.probe()
        proxy.fault(("PUT", "/a"), Answer(403, message="User is not authorized to perform: kms:GenerateDataKey"))
        problem = refused(lambda: hurried.create("a", b""))
        assert "kms:GenerateDataKey and kms:Decrypt on its key" in problem.message

    def test_a_missing_bucket_is_named(self, buckets, prefix):
        objects = S3Objects(buckets.open("no-such-bucket", make=False), prefix)
        for verb in (lambda: objects.get("a"), lambda: objects.create("a", b""), lambda: objects.names("")):
            problem = refused(verb)
            assert problem.code == "store.no_bucket"
            assert "bucket no-such-bucket" in problem.message

    @pytest.mark.parametrize(
        "answer", [Answer(400, "AuthorizationHeaderMalformed"), Answer(400, "IllegalLocationConstraintException")]
    )
    def test_a_bucket_of_another_region_is_told(self, buckets, proxy, prefix, answer):
        objects = S3Objects(buckets.open(endpoint=proxy.endpoint, region="eu-west-1", patience=HURRY), prefix)
        proxy.fault(("*", ""), answer, times=None)
        problem = refused(lambda: objects.get("a"))
        assert problem.code == "store.wrong_region"
        assert "not in eu-west-1" in problem.message

    @pytest.mark.parametrize("code", ["InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken"])
    def test_credentials_that_are_not_accepted_are_no_missing_permission(self, hurried, proxy, code):
        proxy.fault(("GET", "/a"), Answer(403, code))
        problem = refused(lambda: hurried.get("a"))
        assert problem.code == "store.credentials"
        assert code in problem.message

    def test_without_credentials_nothing_is_sent(self, buckets, proxy, tmp_path):
        environ = {"HOME": str(tmp_path), "AWS_EC2_METADATA_DISABLED": "true", "AWS_REGION": "us-east-1"}
        objects = S3Objects(buckets.open(endpoint=proxy.endpoint, environ=environ), "")
        assert refused(lambda: objects.get("a")).code == "store.credentials"
        assert proxy.count() == 0

    def test_this_processes_own_credentials_are_not_taken_for_the_callers(self, buckets, proxy, tmp_path, monkeypatch):
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "ambient")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "ambient")
        environ = {"HOME": str(tmp_path), "AWS_EC2_METADATA_DISABLED": "true", "AWS_REGION": "us-east-1"}
        objects = S3Objects(buckets.open(endpoint=proxy.endpoint, environ=environ), "")
        assert refused(lambda: objects.get("a")).code == "store.credentials"

    def test_a_profile_that_is_not_there_is_told(self, buckets, tmp_path):
        environ = {"HOME": str(tmp_path), "AWS_PROFILE": "nobody", "AWS_REGION": "us-east-1"}
        assert refused(lambda: S3Objects(buckets.open(environ=environ), "").get("a")).code == "store.credentials"

    def test_a_server_out_of_reach_is_told_with_its_address(self, hurried, proxy):
        proxy.down()
        problem = refused(lambda: hurried.get("a"))
        assert problem.code == "store.unreachable"
        assert proxy.endpoint in problem.message
        assert "run again" in problem.hint

    @pytest.mark.parametrize("status", [500, 503])
    def test_one_that_only_stumbles_counts_as_out_of_reach(self, hurried, proxy, status):
        proxy.fault(("GET", "/a"), Answer(status), times=None)
        problem = refused(lambda: hurried.get("a"))
        assert problem.code == "store.unreachable"
        assert str(status) in problem.message

    def test_what_nobody_thought_of_is_told_in_the_servers_words(self, hurried, proxy):
        proxy.fault(("GET", "/a"), Answer(400, "SomethingNew", "No such luck."))
        problem = refused(lambda: hurried.get("a"))
        assert problem.code == "store.refused"
        assert "SomethingNew: No such luck." in problem.message

    def test_a_bucket_that_is_not_the_store_says_what_it_is(self, buckets, proxy):
        bucket = buckets.open(endpoint=proxy.endpoint, patience=HURRY, noun="prod: its state", code="state")
        proxy.fault(("GET", "/a"), Answer(403))
        problem = refused(lambda: bucket.get("a"))
        assert problem.code == "state.denied"
        assert problem.message.startswith("prod: its state, bucket tests at http://127.0.0.1:")
