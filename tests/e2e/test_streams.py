"""A reader that went away does no harm: neither to an apply nor to its record."""

import fcntl
import os
import pty
import shlex
import subprocess
import sys
import termios
import time

import pytest

from tests.e2e.sandbox import RESOURCE, TFOPS, Sandbox, contains, wait_for

CODE = RESOURCE + (
    'resource "terraform_data" "b" {\n  triggers_replace = "VERSION"\n'
    '  provisioner "local-exec" { command = "seq 40; sleep 0.2" }\n}\n'
)
WAYS = ("| head -c0", "2>&1 | head -c0", ">/dev/full 2>&1", "0<&-")


def _sync(sandbox: Sandbox, way: str, *, form: str = "text", quiet: bool = True) -> int:
    """Run a sync in a shell with its streams redirected; returns tfops' own exit code."""
    code = sandbox.directory / "exit-code"
    command = f"({shlex.quote(str(TFOPS))} --format {form} sync; echo $? >{shlex.quote(str(code))}) {way}"
    done = subprocess.run(
        ["bash", "-c", command],
        cwd=sandbox.clone,
        env=sandbox.env,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert not quiet or "Traceback" not in done.stderr + done.stdout, done
    return int(code.read_text())


@pytest.mark.parametrize("form", ["text", "json"])
def test_an_apply_ends_well_though_nobody_reads(sandbox: Sandbox, form: str) -> None:
    for number, way in enumerate(WAYS if form == "text" else WAYS[:1], 1):
        sandbox.one_stack(CODE.replace("VERSION", way))
        _sync(sandbox, way, form=form)
        assert [deployment["result"] for deployment in sandbox.history()] == ["applied"] * number, way
        assert sandbox.sync(expect=0).runs == {"dev": 0}, way


@pytest.mark.parametrize(
    "way",
    [
        pytest.param("| head -c0", id="stdout of nobody"),
        pytest.param("2>&1 | head -c0", id="both of nobody"),
        pytest.param(">/dev/full", id="stdout on a full disk"),
        pytest.param("1>&-", id="no stdout"),
        pytest.param("2>&-", id="no stderr"),
        pytest.param("0<&- 1>&- 2>&-", id="none of the three"),
    ],
)
def test_streams_that_are_gone_do_not_change_the_exit_code(sandbox: Sandbox, way: str) -> None:
    sandbox.one_stack()
    assert _sync(sandbox, way) == 0


def test_an_apply_under_closed_streams_is_recorded_all_the_same(sandbox: Sandbox) -> None:
    for number, way in enumerate(("1>&-", "2>&-", "0<&- 1>&- 2>&-"), 1):
        sandbox.one_stack(CODE.replace("VERSION", way))
        _sync(sandbox, way, quiet=False)
        assert [deployment["result"] for deployment in sandbox.history()] == ["applied"] * number, way
        assert sandbox.sync(expect=0).runs == {"dev": 0}, way


def test_a_terminal_that_is_gone_stops_an_apply_gently(sandbox: Sandbox) -> None:
    """Its other end is closed while the apply runs: SIGHUP comes, and every write fails from then on."""
    code = CODE.replace("sleep 0.2", "exec sleep 1")
    sandbox.one_stack(code)
    ours, theirs = pty.openpty()
    start = (
        f"import os, fcntl, termios; os.setsid(); fcntl.ioctl(0, {termios.TIOCSCTTY}, 0);"
        f" os.execv({str(TFOPS)!r}, ['tfops', 'sync'])"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", start], cwd=sandbox.clone, env=sandbox.env, stdin=theirs, stdout=theirs, stderr=theirs
    )
    os.close(theirs)
    fcntl.fcntl(ours, fcntl.F_SETFL, os.O_NONBLOCK)
    wait_for(
        lambda: any(contains(plan / "events.ndjson", "provision_start") for plan in sandbox.plans()), what="the apply"
    )
    time.sleep(0.2)
    os.close(ours)
    code_ = process.wait(60)
    assert [deployment["result"] for deployment in sandbox.history()] in (["applied"], ["interrupted"])
    wait_for(lambda: not sandbox.processes(), what="the end")
    sandbox.sync(expect=0)
    assert sandbox.resources().keys() == {"terraform_data.a", "terraform_data.b"}
    assert code_ in (0, 1, 120, 130)
