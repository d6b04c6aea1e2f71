"""A state in S3: read by one request, and locked so that Terraform itself is kept out and says by whom."""

import getpass
import json
import os
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.integration.buckets import HURRY, Buckets, buckets_of, unique
from tests.servers.proxy import Answer, Cut, DropAnswer, FaultProxy
from tfops.errors import Exit, FailedError, LockedError, TfopsError, VerificationError
from tfops.s3_backend import S3Backend
from tfops.steps import s3_state
from tfops.steps.s3_state import S3State
from tfops.steps.state import Snapshot, StateLockRequest

needs_terraform = pytest.mark.skipif(shutil.which("terraform") is None, reason="there is no terraform here")
WHO = f"{getpass.getuser()}@{socket.gethostname()}"
THEIRS = {
    "ID": "2ac3c48b-6f9b-7c1e-a5b0-0123456789ab",
    "Operation": "OperationTypeApply",
    "Info": "",
    "Who": "bob@laptop",
    "Version": "1.11.4",
    "Created": "2026-03-01T12:00:00.000000Z",
    "Path": "tests/terraform.tfstate",
}


def text(**members: object) -> bytes:
    return json.dumps({"version": 4, "lineage": "abc", "serial": 3, "outputs": {}, "resources": [], **members}).encode()


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who waits looks more often than in real life."""
    monkeypatch.setattr(s3_state, "POLL_SECONDS", 0.05)


def state_in(buckets: Buckets, *, endpoint: str | None = None, **fields: Any) -> S3State:
    """A managed state of its own in the tests' bucket."""
    bucket = buckets.open(endpoint=endpoint, patience=HURRY)
    backend = S3Backend(
        bucket="tests",
        key=f"{unique()}/terraform.tfstate",
        region="us-east-1",
        endpoint=buckets.server.endpoint,
        use_path_style=True,
        use_lockfile=True,
    )
    given = {"bucket": bucket, "lock_bucket": bucket, "backend": backend, "workspace": "default", "is_managed": True}
    return S3State(**{**given, **fields})


@pytest.fixture
def state(buckets: Buckets, proxy: FaultProxy) -> S3State:
    """A state behind a proxy; each request is tried once."""
    return state_in(buckets, endpoint=proxy.endpoint)


def request(run_id: str = "r-2", **fields: Any) -> StateLockRequest:
    given: dict[str, Any] = {
        "stack": "prod/app",
        "store_id": "s" * 32,
        "run_id": run_id,
        "epoch": 5,
        "wait_seconds": 0.0,
        "terraform_version": "1.11.4",
        "is_stopped": lambda: False,
        "say": lambda message: None,
        "on_released": lambda lock: None,
    }
    return StateLockRequest(**{**given, **fields})


def locked(state: S3State, buckets: Buckets) -> Mapping[str, str] | None:
    """The lock as it lies there."""
    key = f"{state.key}.tflock"
    if key not in buckets.keys(key):
        return None
    found: Mapping[str, str] = json.loads(buckets.data(key))
    return found


def lock(state: S3State, buckets: Buckets, document: Mapping[str, object] | bytes = THEIRS) -> bytes:
    """Somebody else takes the lock; its bytes."""
    data = document if isinstance(document, bytes) else json.dumps(document).encode()
    buckets.put(f"{state.key}.tflock", data)
    return data


def refusal(action: Callable[[], object], kind: type[TfopsError] = LockedError) -> TfopsError:
    with pytest.raises(kind) as refused:
        action()
    (problem,) = refused.value.problems
    assert problem.hint
    return refused.value


def hold(state: S3State, wanted: StateLockRequest) -> None:
    with state.hold(wanted):
        pass


class TestReading:
    def test_where_there_is_none_there_is_none(self, state):
        assert state.snapshot(stack="prod") == Snapshot()
        assert state.data(stack="prod") is None

    def test_it_is_read_with_what_the_server_calls_it(self, state, buckets):
        buckets.put(state.key, text(serial=7))
        found = state.snapshot(stack="prod")
        assert (found.lineage, found.serial, found.resources) == ("abc", 7, 0)
        assert found.version.startswith('"')
        assert state.data(stack="prod") == text(serial=7)

    def test_one_that_is_known_is_not_sent_again(self, state, buckets, proxy):
        buckets.put(state.key, text())
        known = state.snapshot(stack="prod")
        proxy.clear()
        assert state.snapshot(stack="prod", known=known) is known
        (one,) = proxy.requests
        assert (one.method, one.status, one.headers["if-none-match"]) == ("GET", 304, known.version)

    def test_one_that_changed_since_is_read_anew(self, state, buckets):
        buckets.put(state.key, text(serial=1))
        known = state.snapshot(stack="prod")
        buckets.put(state.key, text(serial=2))
        assert state.snapshot(stack="prod", known=known).serial == 2

    def test_one_that_is_gone_since_is_gone(self, state, buckets):
        buckets.put(state.key, text())
        known = state.snapshot(stack="prod")
        buckets.delete(state.key)
        assert state.snapshot(stack="prod", known=known) == Snapshot()

    @pytest.mark.parametrize("known", [Snapshot(), Snapshot(lineage="abc", serial=3, sha256="x")])
    def test_what_has_no_name_on_the_server_saves_nothing(self, state, buckets, known):
        buckets.put(state.key, text(serial=9))
        assert state.snapshot(stack="prod", known=known).serial == 9

    def test_a_damaged_one_is_refused(self, state, buckets):
        buckets.put(state.key, b"{")
        assert refusal(lambda: state.snapshot(stack="prod"), VerificationError).problems[0].code == "state.damaged"

    def test_one_that_cannot_be_read_is_not_taken_for_none(self, state, proxy):
        for answer, code in ((Answer(403), "store.denied"), (Cut(), "store.unreachable")):
            proxy.fault(("GET", state.key), answer)
            assert refusal(lambda: state.snapshot(stack="prod"), FailedError).problems[0].code == code

    def test_each_workspace_has_one_of_its_own(self, state, buckets):
        blue = replace(state, workspace="blue")
        buckets.put(blue.key, text(serial=8))
        assert state.snapshot(stack="prod") == Snapshot()
        assert blue.snapshot(stack="prod").serial == 8
        assert blue.key == f"env:/blue/{state.key}"
        assert blue.where.startswith(f"s3://tests/{blue.key}")

    @pytest.mark.parametrize(
        ("workspace", "found", "must"),
        [
            ("default", Snapshot(), False),
            ("blue", Snapshot(), True),
            ("blue", Snapshot(lineage="abc", serial=1), False),
        ],
    )
    def test_a_new_workspace_is_made_before_it_is_locked(self, state, workspace, found, must):
        assert replace(state, workspace=workspace).must_make_workspace(found) is must


class TestHolding:
    def test_it_is_locked_in_terraforms_own_form_and_free_again(self, state, buckets):
        with state.hold(request()) as held:
            assert held is True
            found = locked(state, buckets)
        assert found.keys() == THEIRS.keys()
        assert found["ID"] == "tfops-r-2"
        assert found["Who"] == WHO
        assert found["Path"] == f"tests/{state.key}"
        assert found["Operation"] == "OperationTypeApply"
        assert json.loads(found["Info"]) == {"tfops_store": "s" * 32, "stack": "prod/app", "epoch": 5}
        assert locked(state, buckets) is None

    def test_it_is_free_again_after_an_error(self, state, buckets):
        with pytest.raises(ZeroDivisionError), state.hold(request()):
            raise ZeroDivisionError
        assert locked(state, buckets) is None

    def test_what_holds_it_is_read_back(self, state):
        assert state.read_lock() is None
        with state.hold(request()):
            assert state.read_lock()["ID"] == "tfops-r-2"

    def test_a_backend_without_lock_files_is_left_to_terraform(self, state, proxy):
        unlocked = replace(state, backend=replace(state.backend, use_lockfile=False))
        with unlocked.hold(request()) as held:
            assert held is False
        assert proxy.count() == 0

    def test_a_lock_without_an_answer_is_ours(self, state, buckets, proxy):
        """Terraform's own is refused for its own lock then, which stays behind (reference/terraform.md C4)."""
        dropped = proxy.fault(("PUT", ".tflock"), DropAnswer())
        with state.hold(request()):
            assert dropped.hits == 1
            assert locked(state, buckets)["ID"] == "tfops-r-2"
        assert locked(state, buckets) is None

    def test_a_lock_that_somebody_took_over_meanwhile_is_not_released(self, state, buckets):
        with state.hold(request()):
            data = lock(state, buckets)
        assert buckets.data(f"{state.key}.tflock") == data

    def test_a_lock_that_somebody_removed_meanwhile_does_not_matter(self, state, buckets):
        with state.hold(request()):
            buckets.delete(f"{state.key}.tflock")

    @pytest.mark.parametrize("method", ["GET", "DELETE"])
    def test_one_that_cannot_be_released_is_told_and_ends_nobodys_run(self, state, buckets, proxy, method):
        told: list[str] = []
        with state.hold(request(say=told.append)):
            proxy.fault((method, ".tflock"), Answer(403))
        assert len(told) == 1
        assert "could not be released" in told[0]
        hold(state, request("r-3", epoch=6))
        assert locked(state, buckets) is None


class TestOthers:
    """Somebody else's lock is told of, waited for, and never touched."""

    def test_it_is_told_who_holds_it(self, state, buckets):
        lock(state, buckets)
        refused = refusal(lambda: hold(state, request()))
        (problem,) = refused.problems
        assert (refused.exit_code, problem.code, problem.stack) == (Exit.LOCKED, "lock.state", "prod/app")
        assert f"held by bob@laptop since 2026-03-01T12:00:00.000000Z (lock {THEIRS['ID']})" in problem.message
        assert "OperationTypeApply" in problem.message
        assert f"terraform force-unlock {THEIRS['ID']}" in problem.hint

    @pytest.mark.parametrize(
        "document",
        [
            THEIRS,
            {},
            {**THEIRS, "ID": "tfops-r-1"},
            b"",
            b"no json",
            b"[]",
            b"\xff",
        ],
        ids=["terraform's", "empty", "only called like ours", "no bytes", "garbage", "a list", "no text"],
    )
    def test_it_is_never_touched_whatever_it_is(self, state, buckets, document):
        data = lock(state, buckets, document)
        assert refusal(lambda: hold(state, request())).problems[0].code == "lock.state"
        assert buckets.data(f"{state.key}.tflock") == data

    def test_who_waits_gets_it_as_soon_as_it_is_free(self, state, buckets):
        lock(state, buckets)
        told: list[str] = []

        def hear(message: str) -> None:
            told.append(message)
            buckets.delete(f"{state.key}.tflock")

        with state.hold(request(wait_seconds=30, say=hear)):
            assert locked(state, buckets)["ID"] == "tfops-r-2"
        assert told == ["waiting for Terraform's state lock, held by bob@laptop"]

    def test_waiting_ends_at_its_time_or_when_it_is_asked_to(self, state, buckets):
        lock(state, buckets)
        stop = threading.Event()
        threading.Timer(0.3, stop.set).start()
        begun = time.monotonic()
        refusal(lambda: hold(state, request(wait_seconds=0.3)))
        refusal(lambda: hold(state, request(wait_seconds=60, is_stopped=stop.is_set)))
        assert time.monotonic() - begun < 20

    def test_of_eight_who_want_it_one_has_it_at_a_time(self, buckets):
        state, barrier, inside, seen = state_in(buckets), threading.Barrier(8), [], []

        def work(number: int) -> None:
            barrier.wait(30)
            with state.hold(request(f"r-{number}", wait_seconds=60)):
                inside.append(number)
                seen.append(len(inside))
                time.sleep(0.02)
                inside.remove(number)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert seen == [1] * 8


def ours(run_id: str = "r-1", **info: object) -> dict[str, object]:
    """A lock that an earlier run of this very stack left."""
    document = {"tfops_store": "s" * 32, "stack": "prod/app", "epoch": 4, **info}
    return {**THEIRS, "ID": f"tfops-{run_id}", "Who": "ci@build-1", "Info": json.dumps(document)}


class TestOurDead:
    """We hold the stack: an earlier run of ours that left its lock behind is dead, or shut out."""

    def test_its_lock_is_released_after_that_is_on_record(self, state, buckets):
        lock(state, buckets, ours())
        events: list[object] = []
        wanted = request(
            on_released=lambda found: events.append((found["ID"], locked(state, buckets) is not None)),
            say=events.append,
        )
        with state.hold(wanted):
            assert locked(state, buckets)["ID"] == "tfops-r-2"
        assert events == [("tfops-r-1", True), "released the state lock that dead run tfops-r-1 left"]

    def test_a_lock_whose_release_cannot_be_recorded_stays(self, state, buckets):
        data = lock(state, buckets, ours())

        def broken(found: Mapping[str, object]) -> None:
            raise FailedError("no audit log", code="store.unreachable", hint="x")

        with pytest.raises(FailedError):
            hold(state, request(on_released=broken))
        assert buckets.data(f"{state.key}.tflock") == data

    def test_a_store_without_epochs_holds_the_stack_all_the_same(self, state, buckets):
        lock(state, buckets, ours(epoch=0))
        hold(state, request(epoch=0))
        assert locked(state, buckets) is None

    @pytest.mark.parametrize(
        "document",
        [
            ours(epoch=5),
            ours(epoch=6),
            ours(stack="prod/other"),
            ours(tfops_store="t" * 32),
            {**ours(), "ID": "r-1"},
            {**ours(), "Info": ""},
            {**ours(), "Info": "{}"},
            {**ours(), "Info": "[]"},
            {**ours(), "Info": "null"},
            ours(epoch=None),
            ours(epoch="x"),
        ],
        ids=[
            *("the same epoch", "a later epoch", "another stack", "another store", "another name"),
            *("no info", "empty info", "a list", "null", "no epoch", "a word"),
        ],
    )
    def test_whatever_does_not_prove_that_is_somebody_elses(self, state, buckets, document):
        data = lock(state, buckets, document)
        refusal(lambda: hold(state, request(on_released=lambda found: pytest.fail("released"))))
        assert buckets.data(f"{state.key}.tflock") == data


class TestCareless:
    """A server that ignores conditions: the store's own bucket is probed, one that the code names is not."""

    def test_a_lock_there_keeps_nobody_out_and_is_refused(self, careless):
        with buckets_of(careless) as buckets:
            state = state_in(buckets, is_managed=False)
            refused = refusal(lambda: hold(state, request()), VerificationError)
            assert (refused.exit_code, refused.problems[0].code) == (Exit.UNVERIFIED, "state.no_conditional_writes")
            assert "nothing was planned or applied" in refused.problems[0].hint
            assert locked(state, buckets) is None

    def test_somebodys_lock_there_is_not_touched_either(self, careless):
        with buckets_of(careless) as buckets:
            state = state_in(buckets, is_managed=False)
            data = lock(state, buckets)
            with pytest.raises(TfopsError):
                hold(state, request())
            assert f"{state.key}.tflock" in buckets.keys(state.key)
            assert buckets.data(f"{state.key}.tflock") == data

    def test_a_server_that_keeps_them_is_asked_and_the_lock_stays_ours(self, buckets):
        state = state_in(buckets, is_managed=False)
        with state.hold(request()) as held:
            assert held is True
            assert locked(state, buckets)["ID"] == "tfops-r-2"
        assert locked(state, buckets) is None


@needs_terraform
class TestTerraform:
    """The real one, on the backend that tfops writes for it."""

    @pytest.fixture
    def state(self, buckets: Buckets) -> S3State:
        return state_in(buckets)

    @pytest.fixture
    def terraform(
        self, state: S3State, buckets: Buckets, tmp_path: Path
    ) -> Callable[..., "subprocess.CompletedProcess[str]"]:
        (tmp_path / "main.tf").write_text('resource "terraform_data" "one" { input = 1 }\n')
        (tmp_path / "backend_override.tf.json").write_bytes(state.override("tfops-prod"))
        environ = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "CHECKPOINT_DISABLE": "1"}
        environ |= {**buckets.server.environ, "TF_CLI_CONFIG_FILE": os.devnull}

        def run(*arguments: str) -> "subprocess.CompletedProcess[str]":
            return subprocess.run(
                ["terraform", *arguments, "-no-color"],
                cwd=tmp_path,
                env=environ,
                capture_output=True,
                text=True,
                timeout=120,
                check=False,
            )

        assert run("init", "-input=false").returncode == 0
        return run

    def test_it_is_kept_out_while_we_hold_the_state_and_says_by_whom(self, state, terraform):
        with state.hold(request("r-42")):
            for command in (("plan", "-input=false"), ("apply", "-input=false", "-auto-approve")):
                done = terraform(*command)
                assert done.returncode == 1
                assert "Error acquiring the state lock" in done.stderr
                assert "tfops-r-42" in done.stderr
                assert WHO in done.stderr
                assert f"tests/{state.key}" in done.stderr
        assert state.snapshot(stack="prod") == Snapshot()
        assert terraform("apply", "-input=false", "-auto-approve").returncode == 0

    def test_under_our_lock_it_works_when_it_is_told_not_to_lock(self, state, buckets, terraform):
        with state.hold(request()):
            done = terraform("apply", "-input=false", "-auto-approve", "-lock=false")
            assert (done.returncode, done.stderr) == (0, "")
            assert locked(state, buckets)["ID"] == "tfops-r-2"
        assert state.snapshot(stack="prod").resources == 1

    def test_what_it_writes_is_what_we_read(self, state, terraform):
        terraform("apply", "-input=false", "-auto-approve")
        pulled = json.loads(terraform("state", "pull").stdout)
        found = state.snapshot(stack="prod")
        assert (found.lineage, found.serial) == (pulled["lineage"], pulled["serial"])

    def test_a_workspace_lies_where_we_look_for_it(self, state, terraform):
        assert terraform("workspace", "new", "blue").returncode == 0
        assert terraform("apply", "-input=false", "-auto-approve").returncode == 0
        assert replace(state, workspace="blue").snapshot(stack="prod").resources == 1
        assert state.snapshot(stack="prod") == Snapshot()

    def test_while_it_applies_we_are_kept_out_and_say_by_whom(self, state, buckets, terraform, tmp_path):
        go = tmp_path / "go"
        wait = f"while [ ! -e {go} ]; do sleep 0.05; done"
        (tmp_path / "main.tf").write_text(
            f'resource "terraform_data" "slow" {{\n  provisioner "local-exec" {{\n    command = "{wait}"\n  }}\n}}\n'
        )
        applying = threading.Thread(target=terraform, args=("apply", "-input=false", "-auto-approve"))
        applying.start()
        try:
            end = time.monotonic() + 30
            while locked(state, buckets) is None and time.monotonic() < end:
                time.sleep(0.05)
            (problem,) = refusal(lambda: hold(state, request())).problems
            assert WHO in problem.message
            assert "OperationTypeApply" in problem.message
            go.touch()
            with state.hold(request(wait_seconds=60)):
                assert state.snapshot(stack="prod").resources == 1
        finally:
            go.touch()
            applying.join()

    def test_a_person_can_free_what_a_dead_run_of_ours_left(self, state, buckets, terraform):
        lock(state, buckets, {**ours(), "Path": f"tests/{state.key}"})
        assert terraform("force-unlock", "-force", "tfops-r-1").returncode == 0
        assert locked(state, buckets) is None
