"""Every exit code of the table, and the one JSON document that goes with it."""

import signal
import subprocess
from collections.abc import Callable

import pytest

from tests.e2e.conftest import MakeSandbox
from tests.e2e.sandbox import RESOURCE, Result, Sandbox, contains, environment, wait_for

BROKEN = 'resource "terraform_data" "a" {\n  input = nonsense()\n}\n'
SLEEPY = 'resource "terraform_data" "a" {\n  provisioner "local-exec" { command = "sleep 30" }\n}\n'


@pytest.fixture(scope="module")
def world(make_sandbox: MakeSandbox) -> Sandbox:
    """Branches that end in every way there is."""
    sandbox = make_sandbox()
    good = {"dev/main.tf": RESOURCE, "gated/main.tf": RESOURCE, "broken/main.tf": BROKEN, "sleepy/main.tf": SLEEPY}
    names = {"main": "dev", "gated": "gated", "broken": "broken", "sleepy": "sleepy"}
    sandbox.stacks(
        "".join(
            environment(root, branch=branch, count=2 if branch == "gated" else 0) for branch, root in names.items()
        ),
        good,
    )
    for branch in ("gated", "broken", "sleepy"):
        sandbox.git("push", "-q", "origin", f"HEAD:{branch}")
    sandbox.sync(expect=0)
    sandbox.git("checkout", "-q", "-b", "twisted")
    sandbox.commit({"tfops.hcl": "enviroment {\n"})
    sandbox.git("checkout", "-q", "main")
    return sandbox


def _ends_with(result: Result, code: int, command: str) -> None:
    assert result.code == code, result
    assert result.json["schema"] == f"tfops.{command}/v1"
    assert result.json.keys() >= {"schema", "exit_code", "stacks", "errors"}
    for error in result.json["errors"]:
        assert error.keys() == {"stack", "code", "message", "hint"}
        assert error["message"] and error["hint"], result


def _tampered(sandbox: Sandbox) -> str:
    out = sandbox.directory / "tampered"
    sandbox.json("plan", "sleepy", "--branch", "sleepy", "--out", out)
    (out / "sleepy" / "plan.txt").write_text("nothing to see here")
    return str(out / "sleepy")


CASES: dict[str, tuple[int, Callable[[Sandbox], tuple[str, ...]]]] = {
    "0 converged": (0, lambda _: ("sync",)),
    "0 stacks": (0, lambda _: ("stacks",)),
    "0 history": (0, lambda _: ("history",)),
    "3 doctor finds that nobody could approve": (3, lambda _: ("doctor",)),
    "1 a Terraform error": (1, lambda _: ("sync", "--branch", "broken")),
    "1 a plan that fails": (1, lambda _: ("plan", "--branch", "broken")),
    "64 a branch that the remote lacks": (64, lambda _: ("sync", "--branch", "no-such")),
    "2 changes are pending in a plan": (2, lambda _: ("plan", "--branch", "sleepy")),
    "2 changes are pending in a dry run": (2, lambda _: ("sync", "--dry-run", "--branch", "sleepy")),
    "3 approvals are missing": (3, lambda _: ("sync", "--branch", "gated")),
    "3 approvals are missing in a dry run": (3, lambda _: ("sync", "--dry-run", "--branch", "gated")),
    "5 an artifact does not verify": (5, lambda sandbox: ("verify", _tampered(sandbox))),
    "5 sync refuses such an artifact": (
        5,
        lambda sandbox: ("sync", "sleepy", "--branch", "sleepy", "--plan", _tampered(sandbox)),
    ),
    "64 an unknown option": (64, lambda _: ("sync", "--frobnicate")),
    "64 an unknown stack": (64, lambda _: ("sync", "staging")),
    "64 a missing argument": (64, lambda _: ("inspect",)),
    "64 a value out of range": (64, lambda _: ("sync", "--jobs", "0")),
    "64 an unknown plan": (64, lambda _: ("inspect", "0123456789ab")),
    "64 a plan for several stacks": (64, lambda _: ("sync", "--plan", "0123456789ab")),
    "78 an invalid configuration": (78, lambda _: ("sync", "--branch", "twisted")),
    "78 doctor finds it too": (78, lambda _: ("doctor", "--branch", "twisted")),
}


@pytest.mark.parametrize("case", CASES)
def test_each_way_to_end_has_its_code_and_one_document_on_stdout(world: Sandbox, case: str) -> None:
    code, arguments = CASES[case]
    words = arguments(world)
    _ends_with(world.tfops("--format", "json", *words), code, words[0])


@pytest.mark.parametrize("case", [case for case in CASES if case[0] not in "15"])
def test_the_format_may_also_stand_behind_the_command(world: Sandbox, case: str) -> None:
    code, arguments = CASES[case]
    words = arguments(world)
    _ends_with(world.tfops(*words, "--format=json"), code, words[0])


@pytest.mark.parametrize("case", [case for case in CASES if case[0] in "1367"])
def test_as_text_what_went_wrong_is_on_stderr_and_says_what_to_do(world: Sandbox, case: str) -> None:
    code, arguments = CASES[case]
    result = world.tfops(*arguments(world))
    assert result.code == code, result
    assert "{" not in result.out[:1]
    if code != 3:
        assert "error: " in result.err, result
        assert "error: " not in result.out


@pytest.mark.parametrize(
    "words",
    [
        ("--format", "json", "snyc"),
        ("--format=json", "sync", "--format", "xml"),
        ("--format", "json", "-C", "/nowhere", "sync"),
        ("--format", "json", "--nonsense"),
        ("explain", "/nowhere/plan.json", "--format", "json"),
    ],
    ids=" ".join,
)
def test_usage_errors_are_one_document_too(world: Sandbox, words: tuple[str, ...]) -> None:
    result = world.tfops(*words)
    assert result.code == 64
    assert len(result.json["errors"]) == 1


def test_json_without_a_command_is_one_document(world: Sandbox) -> None:
    result = world.tfops("--format", "json")
    assert result.code == 64
    assert result.json["errors"]


def test_a_mistyped_command_is_answered_with_the_nearest(world: Sandbox) -> None:
    result = world.tfops("snyc")
    assert result.code == 64
    assert "sync" in result.err


def test_4_somebody_else_holds_the_lock(sandbox: Sandbox) -> None:
    sandbox.one_stack(SLEEPY.replace("30", "2"))
    first = sandbox.start("sync")
    wait_for(lambda: any(contains(plan / "events.ndjson", "apply_start") for plan in sandbox.plans()), what="an apply")
    second = sandbox.sync("--lock-wait", "0", expect=4)
    _ends_with(second, 4, "sync")
    assert second.outcomes == {"dev": "locked"}
    assert second.errors == ["lock.held"]
    assert f"process {first.process.pid} on " in second.messages
    assert first.end().code == 0


def test_4_terraforms_own_lock_is_held(sandbox: Sandbox) -> None:
    state = sandbox.directory / "shared.tfstate"
    backend = f'terraform {{\n  backend "local" {{\n    path = "{state}"\n  }}\n}}\n'
    sandbox.one_stack(backend + RESOURCE)
    sandbox.sync(expect=0)
    outside = sandbox.directory / "outside"
    outside.mkdir()
    (outside / "main.tf").write_text(
        backend + RESOURCE + 'resource "terraform_data" "b" {\n  provisioner "local-exec" { command = "sleep 2" }\n}\n'
    )
    terraform = str(sandbox.bin / "terraform")
    subprocess.run([terraform, "init"], cwd=outside, env=sandbox.env, capture_output=True, check=True)
    apply = [terraform, "apply", "-auto-approve"]
    with subprocess.Popen(apply, cwd=outside, env=sandbox.env, stdout=subprocess.DEVNULL) as plain:
        wait_for(lambda: list(sandbox.directory.glob(".shared.tfstate.lock.info")), what="Terraform's lock")
        result = sandbox.sync("--replan", expect=4)
        assert result.errors == ["lock.state"]
        plain.wait()


def test_130_interrupted(sandbox: Sandbox) -> None:
    sandbox.one_stack(SLEEPY.replace("30", "1.5"))
    running = sandbox.start("--format", "json", "sync")
    wait_for(lambda: any(contains(plan / "events.ndjson", "apply_start") for plan in sandbox.plans()), what="an apply")
    running.signal(signal.SIGINT)
    _ends_with(running.end(), 130, "sync")


def test_the_most_serious_stack_decides(sandbox: Sandbox) -> None:
    sandbox.stacks(
        environment("a") + environment("b", count=1) + environment("c"),
        {"a/main.tf": RESOURCE, "b/main.tf": RESOURCE, "c/main.tf": BROKEN},
    )
    result = sandbox.sync(expect=1)
    assert result.outcomes == {"a": "applied", "b": "waiting", "c": "failed"}
    sandbox.commit({"c/main.tf": RESOURCE})
    assert sandbox.sync(expect=3).outcomes == {"a": "converged", "b": "waiting", "c": "applied"}


def test_help_and_version_are_for_people_and_exit_0(world: Sandbox) -> None:
    for words in (("--help",), ("sync", "--help"), ("--version",)):
        result = world.tfops(*words)
        assert result.code == 0
        assert result.out
        assert not result.err
