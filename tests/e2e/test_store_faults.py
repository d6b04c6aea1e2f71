"""A store that is gone, foreign, full, closed or damaged: nothing is applied, and nothing is created anew."""

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.e2e.sandbox import RESOURCE, Sandbox, environment
from tfops.adapters.objects import DirectoryObjects
from tfops.steps.store import create_store


def _without_the_powers_of_root() -> Sequence[str]:
    """A command before the command, under which file permissions also hold for root."""
    if os.getuid() != 0:
        return ()
    if shutil.which("setpriv") is None:
        pytest.skip("permissions do not bind root")
    drop = "-dac_override,-dac_read_search,-fowner"
    return ("setpriv", f"--bounding-set={drop}", f"--inh-caps={drop}")


@pytest.fixture
def deployed(sandbox: Sandbox) -> Sandbox:
    """One stack that was applied."""
    sandbox.one_stack()
    sandbox.sync(expect=0)
    sandbox.starts()
    return sandbox


def _nothing_ran(sandbox: Sandbox) -> None:
    assert [start for start in sandbox.starts() if "version" not in start] == []


def test_an_emptied_store_is_refused_and_nothing_is_created_anew(deployed: Sandbox) -> None:
    shutil.rmtree(deployed.store)
    deployed.commit({"dev/main.tf": RESOURCE.replace("one", "two")})
    for command in (["sync"], ["sync", "--replan"], ["plan"], ["history"]):
        result = deployed.json(*command)
        assert (result.code, result.errors) == (5, ["store.missing"]), result
        assert str(deployed.store) in result.messages
    _nothing_ran(deployed)
    assert not deployed.store.exists() or not list(deployed.store.iterdir())


def test_an_empty_directory_in_the_place_of_the_store_is_refused(deployed: Sandbox) -> None:
    shutil.rmtree(deployed.store)
    deployed.store.mkdir()
    assert deployed.sync(expect=5).errors == ["store.missing"]
    assert list(deployed.store.iterdir()) == []


def test_a_foreign_store_is_refused(deployed: Sandbox) -> None:
    other = deployed.directory / "other-store"
    foreign = create_store(DirectoryObjects(other))
    deployed.commit({"tfops.hcl": deployed.config(environment("dev"), store=other)})
    result = deployed.sync(expect=5)
    assert result.errors == ["store.foreign"]
    assert foreign[:12] in result.messages
    assert deployed.store_id[:12] in result.messages
    _nothing_ran(deployed)


def test_a_configuration_without_a_store_id_is_refused(deployed: Sandbox) -> None:
    text = deployed.config(environment("dev")).replace(f'  id   = "{deployed.store_id}"\n', "")
    deployed.commit({"tfops.hcl": text})
    assert deployed.sync(expect=5).errors == ["store.no_id"]


def test_a_relative_store_path_is_refused(deployed: Sandbox) -> None:
    deployed.commit({"tfops.hcl": deployed.config(environment("dev"), store="here")})
    result = deployed.sync(expect=78)
    assert "'here'" in result.messages or '"here"' in result.messages


def test_a_file_in_the_way_of_the_store(deployed: Sandbox) -> None:
    shutil.rmtree(deployed.store)
    deployed.store.write_text("in the way")
    result = deployed.sync()
    assert result.code in (1, 5), result
    assert str(deployed.store) in result.messages
    _nothing_ran(deployed)


def test_a_store_that_may_not_be_written(sandbox: Sandbox) -> None:
    before = _without_the_powers_of_root()
    sandbox.one_stack()
    sandbox.accept_rules()
    sandbox.store.chmod(0o500)
    try:
        result = sandbox.sync(before=before, expect=1)
        assert result.errors == ["store.denied"]
        assert "dev" in result.messages
        assert not sandbox.state_file().exists()
        _nothing_ran(sandbox)
        doctor = sandbox.json("doctor", before=before)
        assert (doctor.code, doctor.errors) == (1, ["store.denied"])
    finally:
        sandbox.store.chmod(0o700)


def test_a_store_that_may_not_be_read(sandbox: Sandbox) -> None:
    before = _without_the_powers_of_root()
    sandbox.one_stack()
    sandbox.store.chmod(0o000)
    try:
        assert sandbox.sync(before=before, expect=1).errors == ["store.denied"]
    finally:
        sandbox.store.chmod(0o700)


def test_a_cache_that_may_not_be_written_is_named(sandbox: Sandbox) -> None:
    before = _without_the_powers_of_root()
    sandbox.one_stack()
    (sandbox.home / ".cache").mkdir(mode=0o500)
    result = sandbox.sync(before=before, expect=1)
    assert str(sandbox.home / ".cache") in result.messages, result
    assert "XDG_CACHE_HOME" in result.messages, result


def _on_a_full_disk(place: Path, kilobytes: int) -> Sequence[str]:
    probe = (
        subprocess.run(["unshare", "-m", "true"], capture_output=True, check=False) if shutil.which("unshare") else None
    )
    if os.getuid() != 0 or probe is None or probe.returncode:
        pytest.skip("no way to make a small disk here")
    steps = (
        f"mount -t tmpfs -o size={kilobytes}k tfops-test {place}.mounted",
        f"cp -a {place}/. {place}.mounted/",
        f"mount --bind {place}.mounted {place}",
        'exec "$@"',
    )
    script = " && ".join(steps)
    Path(f"{place}.mounted").mkdir()
    return ("unshare", "-m", "sh", "-c", script, "sh")


@pytest.mark.parametrize("kilobytes", [16, 40, 52, 64])
def test_a_full_store_is_said_to_be_full_and_nothing_half_written_is_believed(sandbox: Sandbox, kilobytes: int) -> None:
    sandbox.one_stack('resource "terraform_data" "a" {\n  input = "' + "x" * 6000 + '"\n}\n')
    sandbox.accept_rules()
    result = sandbox.sync(before=_on_a_full_disk(sandbox.store, kilobytes))
    assert result.code == 1, result
    assert any(code in ("store.full", "terraform.plan", "terraform.apply") for code in result.errors), result
    # The real disk saw nothing of it; a state that could not be written was kept in the cache, and is asked for.
    after = sandbox.sync()
    assert after.outcomes == {"dev": "applied"} or after.errors == ["state.errored"], after


def test_a_damaged_head_is_refused(deployed: Sandbox) -> None:
    head = deployed.store / "dev" / "head.json"
    whole = head.read_bytes()
    for damaged in (b"", whole[: len(whole) // 2], whole.replace(b'"sig"', b'"gis"'), b"[]"):
        head.write_bytes(damaged)
        result = deployed.sync(expect=5)
        assert result.outcomes == {"dev": "refused"}
        _nothing_ran(deployed)
    head.write_bytes(whole)
    assert deployed.sync(expect=0).runs == {"dev": 0}


def test_another_stacks_head_in_the_place_of_ones_own_is_refused(sandbox: Sandbox) -> None:
    sandbox.stacks(environment("dev") + environment("prod"), {"dev/main.tf": RESOURCE, "prod/main.tf": RESOURCE})
    sandbox.sync(expect=0)
    shutil.copy(sandbox.store / "dev/head.json", sandbox.store / "prod/head.json")
    result = sandbox.sync(expect=5)
    assert result.outcomes == {"dev": "converged", "prod": "refused"}
    assert result.errors == ["verify.foreign_record"]


def test_a_head_that_was_deleted_with_its_state_is_missed(deployed: Sandbox) -> None:
    (deployed.store / "dev/head.json").unlink()
    shutil.rmtree(deployed.store / "state")
    assert deployed.sync().code == 5


def test_a_state_that_is_gone_is_not_created_anew(deployed: Sandbox) -> None:
    shutil.rmtree(deployed.store / "state")
    result = deployed.sync(expect=5)
    assert result.errors == ["state.missing"]
    assert "tfops recover dev --adopt-state" in result.messages
    _nothing_ran(deployed)


def test_a_state_that_went_back_or_was_replaced_is_refused_until_it_is_adopted(deployed: Sandbox) -> None:
    older = deployed.state_file().read_text()
    deployed.commit({"dev/main.tf": RESOURCE.replace("one", "two")})
    deployed.sync(expect=0)
    newer = deployed.state_file().read_text()
    deployed.state_file().write_text(older)
    assert deployed.sync(expect=5).errors == ["state.serial_regressed"]
    lineage = deployed.state()["lineage"]
    deployed.state_file().write_text(newer.replace(lineage, "00000000-0000-0000-0000-000000000000"))
    assert deployed.sync(expect=5).errors == ["state.lineage_changed"]
    assert deployed.json("recover", "dev", "--adopt-state", "--reason", "moved it by hand").code == 0
    deployed.sync(expect=0)


def test_a_damaged_state_is_refused(deployed: Sandbox) -> None:
    deployed.state_file().write_text("{ not json")
    result = deployed.sync(expect=5)
    assert result.errors == ["state.damaged"]
    _nothing_ran(deployed)


def test_temporary_files_of_a_crash_are_no_objects(deployed: Sandbox) -> None:
    plan = deployed.plans()[0]
    (plan / ".statement.json.0123456789abcdef").write_bytes(b"{half")
    (deployed.store / "dev" / ".head.json.0123456789abcdef").write_bytes(b"{half")
    assert deployed.sync(expect=0).runs == {"dev": 0}
    assert len(deployed.history()) == 1


def test_a_plan_whose_writing_was_cut_off_is_no_plan(deployed: Sandbox) -> None:
    half = deployed.store / "dev/plans" / ("ab" * 32)
    half.mkdir()
    (half / "plan.tfplan").write_bytes(b"PK")
    assert deployed.sync("--replan", expect=0).outcomes == {"dev": "converged"}
    assert len(deployed.history()) == 1
    assert deployed.json("verify", "ab" * 32).code == 5


def test_files_in_the_store_are_for_the_owner_only(deployed: Sandbox) -> None:
    open_ = [path for path in deployed.store.rglob("*") if path.is_file() and path.stat().st_mode & 0o077]
    assert open_ == []
    assert [path for path in deployed.cache.rglob("*") if path.is_dir() and path.stat().st_mode & 0o022] == []
