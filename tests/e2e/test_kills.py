"""Whoever is killed, and however: Terraform ends gently, no lock and no process stays, and the next sync converges."""

import os
import signal
import time
from pathlib import Path

import pytest

from tests.e2e.sandbox import Running, Sandbox, contains, environment, wait_for

CODE = """
resource "terraform_data" "first" { input = "one" }
resource "terraform_data" "second" {
  depends_on = [terraform_data.first]
  input = "two"
  provisioner "local-exec" { command = "test -e CALM || exec sleep 20" }
}
resource "terraform_data" "third" { input = terraform_data.second.output }
"""


@pytest.fixture
def applying(sandbox: Sandbox) -> tuple[Sandbox, Running]:
    """A sync in the middle of its apply: the first resource is done, the second one's provisioner sleeps."""
    sandbox.one_stack(CODE.replace("CALM", str(sandbox.directory / "calm")))
    running = sandbox.start("--format", "json", "sync")
    wait_for(lambda: any("sleep 20" in command for command in sandbox.processes().values()), what="the provisioner")
    wait_for(lambda: contains(_journal(sandbox), '"provision_start"'), what="the journal")
    return sandbox, running


def _journal(sandbox: Sandbox) -> Path:
    (plan,) = sandbox.plans()
    return plan / "events.ndjson"


def _nothing_runs(sandbox: Sandbox) -> None:
    wait_for(lambda: not sandbox.processes(), seconds=15, what=f"the end of {sandbox.processes()}")


def _converges(sandbox: Sandbox, *, wait: str = "0") -> None:
    """The next sync goes through with a plan of its own, and the resource that was finished is the same one."""
    (used,) = sandbox.plans()
    first = next(
        event["hook"]["id_value"]
        for event in sandbox.events()
        if event["type"] == "apply_complete" and event["hook"]["resource"]["addr"] == "terraform_data.first"
    )
    (sandbox.directory / "calm").touch()
    result = sandbox.sync("--lock-wait", wait, expect=0)
    assert result.outcomes == {"dev": "applied"}
    assert result["dev"]["plan_id"] != used.name
    resources = sandbox.resources()
    assert resources.keys() == {f"terraform_data.{name}" for name in ("first", "second", "third")}
    assert resources["terraform_data.first"] == first
    assert sandbox.sync("dev", "--plan", used.name, expect=5).errors == ["verify.claimed"]
    assert sandbox.sync(expect=0).runs == {"dev": 0}
    newest, oldest = sandbox.history()
    assert newest["result"] == "applied"
    assert oldest["plan_id"] == used.name
    assert oldest["result"] in ("failed", "interrupted")
    done = {resource["address"]: resource["ok"] for resource in oldest["resources"]}
    assert done["terraform_data.first"] is True
    assert done["terraform_data.second"] is False


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda number: number.name)
def test_a_signal_to_tfops_stops_terraform_gently(applying: tuple[Sandbox, Running], number: signal.Signals) -> None:
    sandbox, running = applying
    running.signal(number)
    result = running.end()
    assert result.code == 130
    assert result.errors == ["run.interrupted"]
    assert f"{number.name}: stopping gently" in result.err
    assert result["dev"]["deployment"]
    _nothing_runs(sandbox)
    assert set(sandbox.resources()) >= {"terraform_data.first"}
    assert not list(sandbox.store.rglob("*.lock.info"))
    _converges(sandbox)


def test_ctrl_c_in_a_terminal_reaches_everything_at_once_and_does_no_harm(applying: tuple[Sandbox, Running]) -> None:
    sandbox, running = applying
    running.signal(signal.SIGINT, group=True)
    assert running.end().code == 130
    _nothing_runs(sandbox)
    _converges(sandbox)


def test_an_impatient_second_and_third_ctrl_c_lose_nothing(applying: tuple[Sandbox, Running]) -> None:
    sandbox, running = applying
    for _ in range(4):
        running.signal(signal.SIGINT, group=True)
        time.sleep(0.05)
    result = running.end()
    # A signal that comes while Python itself ends still ends it: a shell calls that 130, too.
    assert result.code in (130, -signal.SIGINT)
    assert sandbox.resources().keys() >= {"terraform_data.first"}
    _nothing_runs(sandbox)
    _converges(sandbox)


ORPHAN = """
resource "terraform_data" "first" {
  provisioner "local-exec" { command = "sleep 8; true" }
}
"""


def test_what_a_stopped_terraform_leaves_running_is_ended(sandbox: Sandbox) -> None:
    """Terraform ends its provisioner's shell, but not what that shell started."""
    sandbox.one_stack(ORPHAN)
    running = sandbox.start("--format", "json", "sync")
    wait_for(lambda: "sleep 8 " in sandbox.processes().values(), what="the provisioner")
    running.signal(signal.SIGINT)
    assert running.end().code == 130
    wait_for(lambda: not sandbox.processes(), seconds=3, what=f"the end of {sandbox.processes()}")


def test_a_process_that_a_provisioner_leaves_behind_does_not_hold_the_lock(sandbox: Sandbox) -> None:
    code = ORPHAN.replace("sleep 8; true", "sleep 6 >/dev/null 2>&1 </dev/null &")
    sandbox.one_stack(code)
    sandbox.sync(expect=0)
    assert "sleep 6 " in sandbox.processes().values()
    sandbox.commit({"dev/main.tf": code + 'output "more" { value = 1 }\n'})
    sandbox.sync("--lock-wait", "0", expect=0)


def test_kill_9_of_tfops_ends_terraform_gently_all_the_same(applying: tuple[Sandbox, Running]) -> None:
    sandbox, running = applying
    running.signal(signal.SIGKILL)
    running.process.wait()
    _nothing_runs(sandbox)
    assert not list(sandbox.store.rglob("*.lock.info"))
    _converges(sandbox)
    assert sandbox.history()[-1]["result"] == "interrupted"


def test_a_sync_right_after_a_kill_9_waits_for_the_terraform_that_is_left(applying: tuple[Sandbox, Running]) -> None:
    sandbox, running = applying
    running.signal(signal.SIGKILL)
    running.process.wait()
    _converges(sandbox, wait="30")
    _nothing_runs(sandbox)


def _terraform(sandbox: Sandbox) -> int:
    found = [
        pid
        for pid, command in sandbox.processes().items()
        if " apply " in command and "verified.tfplan" in command and "launcher" not in command
    ]
    assert len(found) == 1, sandbox.processes()
    return found[0]


def test_kill_9_of_terraform_fails_the_stack_and_the_next_sync_converges(applying: tuple[Sandbox, Running]) -> None:
    sandbox, running = applying
    os.kill(_terraform(sandbox), signal.SIGKILL)
    result = running.end()
    assert result.code == 1
    assert result.errors == ["terraform.killed"]
    _nothing_runs(sandbox)
    _converges(sandbox)


def test_kill_9_of_both_leaves_nothing_that_stays(applying: tuple[Sandbox, Running]) -> None:
    sandbox, running = applying
    terraform = _terraform(sandbox)
    running.signal(signal.SIGKILL)
    os.kill(terraform, signal.SIGKILL)
    running.process.wait()
    wait_for(lambda: terraform not in sandbox.processes(), what="the end of Terraform")
    for pid in sandbox.processes():  # the provisioner's own sleep: nobody is left who could end it
        os.kill(pid, signal.SIGKILL)
    _converges(sandbox, wait="5")


def test_other_stacks_are_stopped_and_those_not_begun_are_named(sandbox: Sandbox) -> None:
    code = CODE.replace("CALM", "/nowhere/at/all")
    sandbox.stacks(
        environment("one") + environment("two") + environment("last", after='["one"]'),
        {f"{name}/main.tf": code for name in ("one", "two", "last")},
    )
    running = sandbox.start("--format", "json", "sync", "--jobs", "2")
    wait_for(
        lambda: sum("sleep 20" in command for command in sandbox.processes().values()) >= 2, what="both provisioners"
    )
    running.signal(signal.SIGINT)
    result = running.end()
    assert result.code == 130
    assert result.outcomes == {"one": "failed", "two": "failed", "last": "skipped"}
    _nothing_runs(sandbox)
    assert not sandbox.state_file("last").exists()


def _slow_git(sandbox: Sandbox) -> None:
    shim = sandbox.bin / "git"
    shim.write_text('#!/bin/sh\ncase " $* " in *" fetch "*) sleep 1;; esac\nexec /usr/bin/git "$@"\n')
    shim.chmod(0o755)


@pytest.mark.parametrize("group", [False, True], ids=["to tfops", "to the whole group"])
def test_ctrl_c_before_terraform_starts_is_an_interruption_too(sandbox: Sandbox, group: bool) -> None:
    sandbox.one_stack()
    _slow_git(sandbox)
    running = sandbox.start("--format", "json", "sync")
    wait_for(lambda: any("fetch" in command for command in sandbox.processes().values()), what="the fetch")
    time.sleep(0.2)
    running.signal(signal.SIGINT, group=group)
    result = running.end()
    assert result.code == 130, result
    assert result.errors == ["run.interrupted"]
    assert [start for start in sandbox.starts() if "version" not in start] == []
    assert sandbox.sync(expect=0).outcomes == {"dev": "applied"}


def test_ctrl_c_while_it_plans_applies_nothing(sandbox: Sandbox) -> None:
    sandbox.one_stack()
    shim = sandbox.bin / "terraform"
    shim.write_text(shim.read_text().replace("exec", 'case "$1" in plan) sleep 1;; esac\nexec'))
    running = sandbox.start("--format", "json", "sync")
    wait_for(lambda: contains(sandbox.log, " plan "), what="the plan")
    running.signal(signal.SIGINT)
    result = running.end()
    assert result.code == 130, result
    assert sandbox.plans() == []
    _nothing_runs(sandbox)
    assert sandbox.sync(expect=0).outcomes == {"dev": "applied"}


def test_ctrl_c_while_it_waits_for_a_lock_ends_at_once(applying: tuple[Sandbox, Running]) -> None:
    sandbox, running = applying
    waiting = sandbox.start("--format", "json", "sync", "--lock-wait", "60")
    wait_for(lambda: contains(waiting.err, "waiting for the lock"), what="the second one waits")
    waiting.signal(signal.SIGINT)
    result = waiting.end()
    assert result.code == 130
    assert result.errors == ["run.interrupted"]
    running.signal(signal.SIGINT)
    assert running.end().code == 130


def test_a_plan_can_be_interrupted_and_leaves_nothing(sandbox: Sandbox) -> None:
    sandbox.one_stack()
    shim = sandbox.bin / "terraform"
    shim.write_text(shim.read_text().replace("exec", 'case "$1" in plan) sleep 1;; esac\nexec'))
    running = sandbox.start("--format", "json", "plan")
    wait_for(lambda: contains(sandbox.log, " plan "), what="the plan")
    running.signal(signal.SIGTERM)
    assert running.end().code == 130
    assert sandbox.plans() == []
    _nothing_runs(sandbox)
