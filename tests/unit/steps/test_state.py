"""A state is read or refused, never guessed; one that went back, was replaced or is gone stops everything."""

import hashlib
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from tfops.attestation import Builder, Purpose, Source, StateRef
from tfops.deployment import Result, ResultPredicate
from tfops.errors import Exit, FailedError, VerificationError
from tfops.stacks import StateAddress
from tfops.steps.local_state import LocalState, local, managed
from tfops.steps.state import Snapshot, StateLockRequest, check_integrity, parse_state


def text(**members: object) -> bytes:
    return json.dumps({"version": 4, "lineage": "abc", "serial": 3, "outputs": {}, **members}).encode()


def test_a_state_is_its_lineage_its_serial_and_its_bytes():
    found = parse_state(text(), stack="prod")
    assert found == Snapshot(lineage="abc", serial=3, sha256=hashlib.sha256(text()).hexdigest())
    assert found.exists


@pytest.mark.parametrize("data", [b"", b"\n", b"  \t\r\n"])
def test_an_empty_file_is_no_state(data):
    assert parse_state(data, stack="prod") == Snapshot()
    assert not Snapshot().exists


DAMAGED = [
    text(version=3),
    text(version=5),
    text(version="4"),
    text(version=None),
    text(version=True),
    text(serial="x"),
    text(serial=None),
    text(serial=[]),
    b'{"version": 4, "serial": 1}',
    b'{"version": 4, "lineage": "a"}',
    b"{}",
    b"[]",
    b"null",
    b"4",
    b'"4"',
    b"{",
    text()[:-1],
    text() + b"}",
    b"\xff\xfe",
    b"\0" * 100,
]


@pytest.mark.parametrize("data", DAMAGED, ids=lambda data: repr(data[:30]))
def test_what_is_no_state_of_version_4_is_refused(data):
    with pytest.raises(VerificationError) as refused:
        parse_state(data, stack="prod")
    (problem,) = refused.value.problems
    assert (problem.code, problem.stack) == ("state.damaged", "prod")
    assert problem.hint


@pytest.mark.parametrize("data", [b'{"version": 4, "lineage": "a", "serial": 1e999}', b"[" * 100_000])
def test_numbers_and_nesting_beyond_python_are_damage_too(data):
    with pytest.raises(VerificationError):
        parse_state(data, stack="prod")


@given(st.binary(max_size=200))
def test_no_bytes_whatsoever_do_more_than_be_refused(data):
    try:
        assert isinstance(parse_state(data, stack="prod"), Snapshot)
    except VerificationError as refused:
        assert refused.exit_code is Exit.UNVERIFIED


def head(lineage: str | None = "abc", serial: int = 3, sha256: str | None = "aa") -> ResultPredicate:
    now = datetime(2026, 3, 1, tzinfo=UTC)
    return ResultPredicate(
        result=Result.APPLIED,
        purpose=Purpose.SYNC,
        store_id="0" * 32,
        stack="prod",
        environment="prod",
        workspace="default",
        root="",
        plan_id=None,
        given_plan_id=None,
        source=Source(branch="main", commit="c", tree="t"),
        fingerprint="f",
        state=StateRef(address="managed:prod#default", lineage=lineage, serial=serial),
        state_sha256=sha256,
        serial_before=0,
        resources=(),
        reason="",
        builder=Builder(runner="ci", host="h", run_id="r"),
        started_on=now,
        finished_on=now,
    )


@pytest.mark.parametrize(
    ("before", "now"),
    [
        (None, Snapshot()),
        (None, Snapshot(lineage="x", serial=9, sha256="bb")),
        (head(lineage=None, serial=0, sha256=None), Snapshot()),
        (head(lineage=None, serial=0, sha256=None), Snapshot(lineage="new", serial=1, sha256="bb")),
        (head(), Snapshot(lineage="abc", serial=3, sha256="aa")),
        (head(), Snapshot(lineage="abc", serial=4, sha256="bb")),
        (head(sha256=None), Snapshot(lineage="abc", serial=3, sha256="bb")),
    ],
)
def test_a_state_that_stayed_or_went_on_is_whole(before, now):
    check_integrity("prod", before, now, address="managed:prod#default")


@pytest.mark.parametrize(
    ("now", "code", "words"),
    [
        (Snapshot(), "state.missing", "its state is gone (it had serial 3)"),
        (Snapshot(lineage="x", serial=3, sha256="aa"), "state.lineage_changed", "another lineage"),
        (Snapshot(lineage="x", serial=1, sha256="bb"), "state.lineage_changed", "another lineage"),
        (Snapshot(lineage="abc", serial=2, sha256="bb"), "state.serial_regressed", "from serial 3 to 2"),
        (Snapshot(lineage="abc", serial=3, sha256="bb"), "state.serial_regressed", "edited without a new serial"),
    ],
)
def test_a_state_that_is_not_the_one_left_behind_stops_everything(now, code, words):
    with pytest.raises(VerificationError) as refused:
        check_integrity("prod/app", head(), now, address="managed:prod#default")
    (problem,) = refused.value.problems
    assert (problem.code, problem.stack) == (code, "prod/app")
    assert words in problem.message
    assert "tfops recover prod/app --adopt-state" in problem.hint


def test_of_what_was_destroyed_nothing_is_missed_but_what_is_there_must_be_what_was_left():
    gone = structs.replace(head(), result=Result.DESTROYED)
    check_integrity("prod", gone, Snapshot(), address="managed:prod#default")
    check_integrity("prod", gone, Snapshot(lineage="other", serial=1, sha256="bb"), address="s3://elsewhere")
    check_integrity("prod", gone, Snapshot(lineage="abc", serial=3, sha256="aa"), address="managed:prod#default")
    with pytest.raises(VerificationError, match="went back"):
        check_integrity("prod", gone, Snapshot(lineage="abc", serial=2, sha256="cc"), address="managed:prod#default")


SNAPSHOTS = st.builds(
    Snapshot, lineage=st.sampled_from([None, "a", "b"]), serial=st.integers(0, 3), sha256=st.sampled_from(["x", "y"])
)


@given(SNAPSHOTS, SNAPSHOTS)
def test_only_the_same_lineage_at_no_earlier_serial_is_ever_let_through(before, now):
    record = head(before.lineage, before.serial, before.sha256)
    try:
        check_integrity("prod", record, now, address="managed:prod#default")
    except VerificationError:
        return
    assert before.lineage is None or (now.lineage == before.lineage and now.serial >= before.serial)
    assert before.lineage is None or now.serial > before.serial or now.sha256 == before.sha256


def test_a_managed_state_lies_where_terraforms_local_backend_puts_it(tmp_path: Path):
    default, blue = managed(tmp_path, "default"), managed(tmp_path, "blue")
    assert default.file == tmp_path / "terraform.tfstate"
    assert blue.file == tmp_path / "workspaces" / "blue" / "terraform.tfstate"
    assert blue.where == str(blue.file)
    assert default.override("any name") == blue.override("any name")
    assert json.loads(blue.override("any name")) == {
        "terraform": {
            "backend": {
                "local": {
                    "path": str(tmp_path / "terraform.tfstate"),
                    "workspace_dir": str(tmp_path / "workspaces"),
                }
            }
        }
    }


@pytest.mark.parametrize(
    ("settings", "default", "blue"),
    [
        ({"path": "/srv/x"}, "/srv/x", "/srv/terraform.tfstate.d/blue/terraform.tfstate"),
        ({"path": "/srv/x", "workspace_dir": "/w"}, "/srv/x", "/w/blue/terraform.tfstate"),
    ],
)
def test_a_local_backends_files_are_found_by_its_settings(settings, default, blue):
    found = [
        local(StateAddress(kind="local", text="", workspace=workspace, settings=tuple(settings.items())))
        for workspace in ("default", "blue")
    ]
    assert [str(state.file) for state in found] == [default, blue]


def test_a_state_that_is_not_there_yet_is_no_state(tmp_path: Path):
    state = managed(tmp_path / "gone", "default")
    assert state.snapshot(stack="prod") == Snapshot()
    assert state.data(stack="prod") is None


def test_a_state_that_cannot_be_read_is_not_taken_for_none(tmp_path: Path):
    (tmp_path / "terraform.tfstate").mkdir()
    for read in (managed(tmp_path, "default").snapshot, managed(tmp_path, "default").data):
        with pytest.raises(FailedError) as refused:
            read(stack="prod")
        assert refused.value.problems[0].code == "state.unreadable"


def test_each_workspace_has_a_state_of_its_own(tmp_path: Path):
    states = [
        LocalState(path=tmp_path / "s", workspace_directory=tmp_path / "w", workspace=w) for w in ("default", "b")
    ]
    for serial, state in enumerate(states):
        state.file.parent.mkdir(parents=True, exist_ok=True)
        state.file.write_bytes(text(serial=serial))
    assert [state.snapshot(stack="p").serial for state in states] == [0, 1]


def test_what_was_known_of_a_file_is_never_taken_for_what_it_is(tmp_path: Path):
    state = managed(tmp_path, "default")
    state.prepare()
    state.file.write_bytes(text(serial=2))
    assert state.snapshot(stack="p", known=Snapshot(lineage="abc", serial=1, sha256="x", version="v")).serial == 2


def test_a_directory_for_a_managed_state_is_for_its_owner_only(tmp_path: Path):
    state = managed(tmp_path / "state" / "prod", "default")
    for _ in range(2):
        state.prepare()
    assert (tmp_path / "state" / "prod").stat().st_mode & 0o077 == 0


def test_locking_a_file_and_making_workspaces_is_left_to_terraform(tmp_path: Path):
    state = managed(tmp_path, "blue")
    assert not state.must_make_workspace(Snapshot())
    request = StateLockRequest(
        stack="prod",
        store_id="s",
        run_id="r",
        epoch=0,
        wait_seconds=0,
        terraform_version="1.11.4",
        is_stopped=lambda: False,
        say=lambda message: None,
        on_released=lambda lock: None,
    )
    with state.hold(request) as held:
        assert held is False
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("resources", "holds"),
    [([], False), (None, False), ([{}], True)],
)
def test_an_empty_state_exists_and_holds_nothing(resources, holds):
    found = parse_state(text(resources=resources), stack="prod")
    assert (found.exists, found.holds_something) == (True, holds)


def test_a_state_of_which_only_the_serial_is_known_may_hold_something():
    assert Snapshot(lineage="abc", serial=3).holds_something
    assert not Snapshot().holds_something


def test_what_the_backend_calls_a_content_makes_no_difference_to_what_it_is():
    one, other = (parse_state(text(), stack="prod", version=version) for version in ('"1"', '"2"'))
    assert (one.version, other.version) == ('"1"', '"2"')
    assert one == other


def test_a_state_that_is_looked_for_elsewhere_is_no_lost_one():
    with pytest.raises(VerificationError) as refused:
        check_integrity("prod", head(), Snapshot(), address="managed:prod#blue")
    assert refused.value.problems[0].code == "state.address_changed"
    assert "managed:prod#default" in str(refused.value)
