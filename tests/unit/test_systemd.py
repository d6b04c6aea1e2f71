"""The systemd units: what they start, how they end it, and that systemd itself accepts them."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tfops.errors import Exit
from tfops.systemd import DRIFT_TIMER, SYNC_TIMER, Setup, install_commands, units

SERVICES = ("tfops-sync.service", "tfops-drift.service")


def setup(**given):
    known = {
        "program": sys.executable,
        "clone": "/srv/infra",
        "branch": "main",
        "user": "deploy",
        "environ": {"PATH": "/usr/local/bin:/usr/bin"},
        "environment_file": "/home/deploy/.config/tfops/environment",
        "writable": ("/srv/infra/.git", "/var/lib/tfops"),
        "stop_seconds": 7200.0,
    }
    return Setup(**known | given)


def lines(text, key):
    """The values of every line with this key."""
    return [line.partition("=")[2] for line in text.splitlines() if line.startswith(f"{key}=")]


def test_sync_and_drift_have_a_service_and_a_timer_each():
    assert sorted(units(setup())) == sorted([*SERVICES, SYNC_TIMER, DRIFT_TIMER])


def test_the_services_start_this_tfops_on_this_clone_and_branch():
    written = units(setup(program="/opt/tfops"))
    assert lines(written["tfops-sync.service"], "ExecStart") == ["/opt/tfops -C /srv/infra sync --branch main"]
    assert lines(written["tfops-drift.service"], "ExecStart") == [
        "/opt/tfops -C /srv/infra drift --due --max-runtime 50m --branch main"
    ]


@pytest.mark.parametrize("name", SERVICES)
def test_only_tfops_gets_the_signal_and_has_as_long_as_a_stack_may_take(name):
    text = units(setup(stop_seconds=14400.5))[name]
    assert lines(text, "KillMode") == ["process"]
    assert lines(text, "KillSignal") == ["SIGINT"]
    assert lines(text, "TimeoutStopSec") == ["14401"]


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        ("tfops-sync.service", {Exit.REFUSED, Exit.INTERRUPTED}, {Exit.FAILED, Exit.CHANGES, Exit.UNVERIFIED}),
        ("tfops-drift.service", {Exit.CHANGES, Exit.REFUSED, Exit.INTERRUPTED}, {Exit.FAILED, Exit.UNVERIFIED}),
    ],
)
def test_waiting_and_drift_are_no_failures_of_a_unit_and_a_failed_run_is(name, good, bad):
    (line,) = lines(units(setup())[name], "SuccessExitStatus")
    named = {int(code) for code in line.split()}
    assert named == good
    assert not named & bad


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_may_write_only_where_it_must(name):
    text = units(setup())[name]
    assert lines(text, "ProtectSystem") == ["strict"]
    assert lines(text, "ReadWritePaths") == ["/srv/infra/.git /var/lib/tfops"]
    assert lines(text, "UMask") == ["0077"]
    assert lines(text, "User") == ["deploy"]


@pytest.mark.parametrize("name", [SYNC_TIMER, DRIFT_TIMER])
def test_a_timer_catches_up_and_keeps_its_own_delay(name):
    text = units(setup())[name]
    assert lines(text, "Persistent") == lines(text, "FixedRandomDelay") == ["true"]
    assert lines(text, "OnCalendar")
    assert lines(text, "RandomizedDelaySec")


def test_secrets_come_from_a_file_that_may_be_missing():
    (line,) = lines(units(setup())["tfops-sync.service"], "EnvironmentFile")
    assert line == "-/home/deploy/.config/tfops/environment"


def test_what_systemd_would_expand_is_written_so_that_it_does_not():
    text = units(setup(clone='/srv/50% of "all" $HOME', writable=("/srv/a b",)))["tfops-sync.service"]
    assert lines(text, "ExecStart")[0].split(" -C ")[1] == '"/srv/50%% of \\"all\\" $$HOME" sync --branch main'
    assert lines(text, "ReadWritePaths") == ['"/srv/a b"']


def test_a_path_cannot_add_a_line_to_a_unit():
    text = units(setup(clone="/srv/x\nUser=root", environ={"PATH": "/bin\nUser=root"}, writable=("/a\nUser=root",)))
    assert lines(text["tfops-sync.service"], "User") == ["deploy"]


def test_units_are_copied_for_a_linked_file_could_be_changed_by_its_owner():
    copy, start = install_commands("systemd", timers=(SYNC_TIMER,))
    assert copy.startswith("sudo install ")
    assert "link" not in copy + start
    assert start.endswith("enable --now tfops-sync.timer")


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
@pytest.mark.parametrize("clone", ["/srv/infra", '/srv/50% of "all" $HOME; \\x'])
def test_systemd_accepts_every_unit(tmp_path: Path, clone: str):
    written = units(setup(clone=clone, user="root", writable=(clone, "/var/lib/tfops")))
    for name, text in written.items():
        (tmp_path / name).write_text(text)
    done = subprocess.run(
        ["systemd-analyze", "verify", *(str(tmp_path / name) for name in written)],
        env={"PATH": os.environ["PATH"], "SYSTEMD_UNIT_PATH": f"{tmp_path}:"},
        capture_output=True,
        text=True,
        check=False,
    )
    if "Failed to initialize manager" in done.stderr or "Failed to create" in done.stderr:
        pytest.skip("systemd-analyze cannot work here")
    assert (done.returncode, done.stderr) == (0, "")
