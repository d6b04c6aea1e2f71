"""A reader that went away does no harm: neither to an apply nor to its record."""

import os
import shlex
import subprocess
import sys

import pytest

from tests.e2e.sandbox import RESOURCE, TFOPS, Sandbox

CODE = RESOURCE + 'resource "terraform_data" "b" {\n  provisioner "local-exec" { command = "seq 200; sleep 0.3" }\n}\n'


def _applied_and_recorded(sandbox: Sandbox) -> None:
    assert sandbox.resources().keys() == {"terraform_data.a", "terraform_data.b"}
    assert [deployment["result"] for deployment in sandbox.history()] == ["applied"]
    assert sandbox.sync(expect=0).runs == {"dev": 0}


@pytest.mark.parametrize("form", ["text", "json"])
@pytest.mark.parametrize(
    "redirection", ["| head -c0", "2>&1 | head -c0", "2>&1 >/dev/null | head -c1", ">/dev/full", ">/dev/full 2>&1"]
)
def test_an_apply_ends_well_though_nobody_reads(sandbox: Sandbox, form: str, redirection: str) -> None:
    sandbox.one_stack(CODE)
    command = f"{shlex.quote(str(TFOPS))} --format {form} sync"
    done = subprocess.run(
        ["bash", "-c", f"( {command}; echo $? >&9 ) {redirection}"] if "|" not in redirection else
        ["bash", "-c", f"( {command}; echo $? >&9 ) {redirection} >/dev/null"],
        cwd=sandbox.clone,
        env=sandbox.env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        preexec_fn=None,
        pass_fds=(),
    )
    assert "Traceback" not in done.stderr
    _applied_and_recorded(sandbox)


@pytest.mark.parametrize("closed", ["1>&-", "2>&-", "0<&-", "1>&- 2>&-", "0<&- 1>&- 2>&-"])
def test_an_apply_ends_well_on_closed_streams(sandbox: Sandbox, closed: str) -> None:
    sandbox.one_stack(CODE)
    done = subprocess.run(
        ["bash", "-c", f"{shlex.quote(str(TFOPS))} sync {closed}"],
        cwd=sandbox.clone,
        env=sandbox.env,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    _applied_and_recorded(sandbox)


def test_a_terminal_that_is_gone_does_not_stop_an_apply_half_way(sandbox: Sandbox) -> None:
    """Its master is closed while the apply runs: tfops gets SIGHUP and EIO, stops gently, and the next run goes on."""
    import pty
    import time

    from tests.e2e.sandbox import wait_for

    sandbox.one_stack(CODE.replace("sleep 0.3", "exec sleep 1"))
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", f"import os,fcntl,termios; os.setsid(); fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execv({str(TFOPS)!r}, ['tfops', 'sync'])"],
        cwd=sandbox.clone,
        env=sandbox.env,
        stdin=slave,
        stdout=slave,
        stderr=slave,
    )
    os.close(slave)
    wait_for(lambda: any("apply" in start for start in sandbox.starts()), what="the apply")
    time.sleep(0.4)
    os.close(master)
    assert process.wait(60) in (0, 130)
    assert [d["result"] in ("applied", "failed") for d in sandbox.history()] == [True]
    assert sandbox.sync(expect=0)
    assert sandbox.resources().keys() == {"terraform_data.a", "terraform_data.b"}
