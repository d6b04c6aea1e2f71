"""Terraform itself killed -9 while it creates: nothing is created twice, and a person is told what to look for."""

import json
import os
import shutil
import signal
import sys
import textwrap
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.sandbox import BucketWorld, Result, Running, Sandbox, environment, wait_for
from tests.killing.table import end_processes
from tests.provider import Cloud
from tests.provider.install import lock_file, provider_at
from tfops.steps.store import EVENTS

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("terraform") is None, reason="no terraform on PATH"),
    pytest.mark.skipif(sys.platform != "linux", reason="processes are found in /proc"),
]

SLOW = 30
"""Seconds a call takes that is to be killed: the kill comes as soon as the call has arrived."""
GENTLE = 3
"""Seconds a call takes that is to come to its end after a gentle stop."""
LOCAL, S3 = "local", "s3"


@dataclass(frozen=True, kw_only=True)
class World:
    """A sandbox with one stack, `dev`, of servers in a cloud."""

    sandbox: Sandbox
    cloud: Cloud
    settings: Path

    def commit(self, *names: str, more: str = "") -> None:
        """Commit servers that are made one after the other."""
        code = provider_at(self.cloud.root) + "".join(map(server, names, [None, *names])) + more
        block = environment("dev", cli_config=json.dumps(str(self.settings)))
        self.sandbox.stacks(block, {"dev/main.tf": code, "dev/.terraform.lock.hcl": lock_file(self.settings)})

    def begin(self, call: str, *, seconds: float = SLOW, write_at: str = "start") -> Running:
        """Start a sync, and come back when a call like `create:a` has arrived and stands in the journal."""
        self.cloud.misbehave(delay_seconds={call: seconds}, write_at=write_at)
        verb, _, name = call.partition(":")
        running = self.sandbox.start("--format", "json", "sync")
        wait_for(lambda: self.cloud.calls(verb, name), what=f"the {call}")
        if write_at == "start":
            wait_for(lambda: self.cloud.log(verb, name), what=f"what {call} does")
        address = f'"addr": "fakecloud_server.{name}"'
        wait_for(lambda: address in self.journal(), what=f"{call} in the journal")
        return running

    def journal(self) -> str:
        """What stands in the store's journals."""
        objects = self.sandbox.objects
        plans = objects.names("dev/plans")
        return "".join(objects.appended(f"dev/plans/{plan}/{EVENTS}").decode() for plan in plans)

    def sync(self, *arguments: str, expect: int) -> Result:
        """A sync of a cloud that is well again."""
        self.cloud.misbehave()
        return self.sandbox.sync(*arguments, expect=expect)

    def recover(self, *arguments: str, expect: int) -> dict[str, Any]:
        """The line of `dev` in what `tfops recover` says."""
        result = self.sandbox.json("recover", *arguments)
        assert result.code == expect, result
        return result["dev"]

    def processes(self, *parts: str) -> list[int]:
        """The processes of the apply whose command lines hold all these parts."""
        found = self.sandbox.processes().items()
        return [pid for pid, command in found if all(part in command for part in parts)]

    @property
    def launcher(self) -> int:
        """The launcher of the apply."""
        (pid,) = self.processes("launcher.py", "verified.tfplan")
        return pid

    @property
    def terraform(self) -> int:
        """The Terraform that applies."""
        (pid,) = set(self.processes(" apply ", "verified.tfplan")) - {self.launcher}
        return pid

    @property
    def providers(self) -> list[int]:
        """The providers that run."""
        return self.processes("provider.fakecloud")

    def refuses(self, *names: str) -> None:
        """The next sync creates nothing, and says what may be missing."""
        created = self.cloud.calls("create")
        result = self.sync(expect=5)
        assert result.errors == ["state.creations_missing"]
        for name in names:
            assert f"fakecloud_server.{name}" in result.messages
        assert self.cloud.calls("create") == created

    def id_of(self, name: str) -> str:
        """The id a server has in the cloud, where there is exactly one of that name."""
        (found,) = self.cloud.named(name)
        return str(found["id"])

    def converges(self, *names: str, outcome: str = "applied") -> None:
        """The next sync goes through, and then each server exists once, is in the state, and nothing is left to do."""
        assert self.sync("--lock-wait", "30", expect=0).outcomes == {"dev": outcome}
        assert self.sync(expect=0).runs == {"dev": 0}
        assert Counter(found["name"] for found in self.cloud.objects().values()) == Counter(names)
        assert self.sandbox.resources() == {f"fakecloud_server.{name}": self.id_of(name) for name in names}
        assert self.sandbox.json("lock", "list").json["stacks"] == []
        assert self.sandbox.state_locks() == []
        self.nothing_runs()

    def nothing_runs(self) -> None:
        """Nothing of this world is left among the processes."""
        wait_for(lambda: not self.sandbox.processes(), seconds=15, what=f"the end of {self.sandbox.processes()}")


def server(name: str, before: str | None = None, *, size: int = 1) -> str:
    """A server, made after another one."""
    after = f"  depends_on = [fakecloud_server.{before}]\n" if before else ""
    return f'resource "fakecloud_server" "{name}" {{\n  name = "{name}"\n  size = {size}\n{after}}}\n'


def import_block(name: str, id_: str) -> str:
    """The block that `tfops recover` offers for a server."""
    return f'import {{\n  to = fakecloud_server.{name}\n  id = "{id_}"\n}}'


MakeWorld = Callable[[str], World]


@pytest.fixture
def make_world(tmp_path: Path, fakecloud: Path, moto_bucket: BucketWorld) -> Iterator[MakeWorld]:
    """Makes a world on a kind of store."""
    made: list[World] = []

    def make(kind: str) -> World:
        sandbox = Sandbox(tmp_path / "world", bucket=moto_bucket if kind == S3 else None)
        made.append(World(sandbox=sandbox, cloud=Cloud(sandbox.directory / "cloud"), settings=fakecloud))
        made[-1].cloud.misbehave()
        return made[-1]

    yield make
    for world in made:
        end_processes(world.sandbox)


@pytest.fixture
def local_world(make_world: MakeWorld) -> World:
    """A world whose store is a directory."""
    return make_world(LOCAL)


@pytest.fixture(params=[LOCAL, S3])
def world(request: pytest.FixtureRequest, make_world: MakeWorld) -> World:
    """A world on each kind of store."""
    return make_world(request.param)


def kill_terraform(world: World, running: Running) -> Result:
    """Kill Terraform alone; how tfops then ends, with nothing left behind."""
    os.kill(world.terraform, signal.SIGKILL)
    result = running.end()
    assert result.code == 1, result
    assert result.errors == ["terraform.killed"]
    world.nothing_runs()
    return result


def kill_all_but_the_provider(world: World, running: Running) -> None:
    """Kill tfops, its launcher and Terraform, none of which has the time to do anything about the others."""
    launcher, terraform = world.launcher, world.terraform
    assert world.providers
    # Terraform is not stopped before: its group, once orphaned, would then get a SIGHUP, and with it the provider.
    for pid in (running.process.pid, launcher):
        os.kill(pid, signal.SIGSTOP)
    for pid in (terraform, launcher, running.process.pid):
        os.kill(pid, signal.SIGKILL)
    running.process.wait()
    wait_for(lambda: not {launcher, terraform} & set(world.sandbox.processes()), what="the end of all three")


# ----------------------------------------------------------------- Terraform alone


def test_a_creation_of_unknown_id_is_named_until_it_is_imported(world: World) -> None:
    world.commit("a", "b")
    result = kill_terraform(world, world.begin("create:a"))
    assert "tfops recover dev" in result.messages
    world.refuses("a")
    found = world.recover(expect=5)
    assert [entry["address"] for entry in found["in_flight"]] == ["fakecloud_server.a"]
    assert found["missing"] == [{"address": "fakecloud_server.a", "id": None}]
    assert (found["unknown"], found["import_blocks"]) == (["fakecloud_server.a"], [])
    assert found["recovered"] is False
    said = world.sandbox.tfops("recover").out
    assert "Look for it at the provider" in said
    assert "--adopt-state" in said
    world.refuses("a")
    world.commit("a", "b", more=import_block("a", world.id_of("a")))
    world.converges("a", "b")
    assert world.recover(expect=0)["missing"] == []


def test_a_creation_that_never_came_to_be_is_made_once_somebody_said_so(world: World) -> None:
    world.commit("a", "b")
    kill_terraform(world, world.begin("create:a", write_at="end"))
    assert world.cloud.named("a") == []
    world.refuses("a")
    assert world.recover(expect=5)["unknown"] == ["fakecloud_server.a"]
    assert world.recover("dev", "--adopt-state", "--reason", "looked: nothing there", expect=0)
    world.converges("a", "b")
    assert len(world.cloud.log("create", "a")) == 1


def test_a_creation_of_known_id_is_offered_as_an_import_block(make_world: MakeWorld) -> None:
    world = make_world(S3)
    world.commit("a", "b")
    kill_terraform(world, world.begin("create:b"))
    world.refuses("a", "b")
    found = world.recover(expect=5)
    block = import_block("a", world.id_of("a"))
    assert found["import_blocks"] == [block]
    assert found["unknown"] == ["fakecloud_server.b"]
    assert textwrap.indent(block, "    ") in world.sandbox.tfops("recover").out
    world.commit("a", "b", more=block)
    world.refuses("b")
    world.commit("a", "b", more=block + "\n" + import_block("b", world.id_of("b")))
    world.converges("a", "b")


def test_what_a_local_state_has_already_is_not_missing(local_world: World) -> None:
    world = local_world
    world.commit("a", "b")
    kill_terraform(world, world.begin("create:b"))
    world.refuses("b")
    found = world.recover(expect=5)
    assert [entry["address"] for entry in found["missing"]] == ["fakecloud_server.b"]
    assert found["import_blocks"] == []
    world.commit("a", "b", more=import_block("b", world.id_of("b")))
    world.converges("a", "b")


def test_after_an_import_the_one_that_never_came_to_be_still_needs_a_word(make_world: MakeWorld) -> None:
    world = make_world(S3)
    world.commit("a", "b")
    kill_terraform(world, world.begin("create:b", write_at="end"))
    (block,) = world.recover(expect=5)["import_blocks"]
    world.commit("a", "b", more=block)
    world.refuses("b")
    world.recover("dev", "--adopt-state", "--reason", "b is not there", expect=0)
    world.converges("a", "b")
    assert len(world.cloud.log("create")) == 2


def test_an_error_of_one_creation_does_not_hide_another_ones_kill(world: World) -> None:
    world.commit("a", more=server("other"))
    world.cloud.misbehave(delay_seconds={"create:a": SLOW}, write_at="start", fail=["create:other"])
    running = world.sandbox.start("--format", "json", "sync")
    wait_for(lambda: '"apply_errored"' in world.journal() and world.cloud.log("create", "a"), what="the error")
    kill_terraform(world, running)
    world.refuses("a")
    world.commit("a", more=server("other") + import_block("a", world.id_of("a")))
    world.recover(expect=5)


def test_a_kill_while_it_updates_loses_nothing(world: World) -> None:
    world.commit(more=server("a"))
    world.sync(expect=0)
    world.commit(more=server("a", size=2))
    kill_terraform(world, world.begin("update:a"))
    world.converges("a", outcome="converged")
    assert [deployment["result"] for deployment in world.sandbox.history()] == ["failed", "applied"]


def test_a_kill_while_it_deletes_loses_nothing(world: World) -> None:
    world.commit("a", "b")
    world.sync(expect=0)
    world.commit("a")
    kill_terraform(world, world.begin("delete:b", write_at="end"))
    world.converges("a")


def test_what_was_deleted_when_the_kill_came_is_not_deleted_again(world: World) -> None:
    world.commit("a", "b")
    world.sync(expect=0)
    world.commit("a")
    kill_terraform(world, world.begin("delete:b"))
    assert world.sync(expect=0).outcomes == {"dev": "converged"}
    assert len(world.cloud.log("delete")) == 1
    assert list(world.cloud.objects()) == [world.id_of("a")]


# ----------------------------------------------------------------- tfops and its launcher


def test_a_provider_that_outlives_all_is_ended_before_anything_else(world: World) -> None:
    world.commit("a", "b")
    running = world.begin("create:a", write_at="end")
    kill_all_but_the_provider(world, running)
    assert world.providers
    result = world.sync("--lock-wait", "30", expect=5)
    assert result.errors == ["state.creations_missing"]
    assert "left behind" in result.err
    world.nothing_runs()
    assert world.cloud.named("a") == []
    (died,) = world.sandbox.history()
    assert died["result"] == "interrupted"
    assert world.recover(expect=5)["unknown"] == ["fakecloud_server.a"]
    world.recover("dev", "--adopt-state", "--reason", "looked: nothing there", expect=0)
    world.converges("a", "b")


def test_recover_right_after_a_kill_of_all_names_what_was_in_flight(world: World) -> None:
    world.commit("a", "b")
    kill_all_but_the_provider(world, world.begin("create:b"))
    found = world.recover(expect=5)
    assert [(entry["address"], entry["action"]) for entry in found["in_flight"]] == [("fakecloud_server.b", "create")]
    assert "fakecloud_server.b" in found["unknown"]
    world.nothing_runs()
    blocks = [*found["import_blocks"], import_block("b", world.id_of("b"))]
    world.commit("a", "b", more="\n".join(blocks))
    world.converges("a", "b")


def test_kill_9_of_tfops_alone_lets_a_slow_creation_come_to_its_end(world: World) -> None:
    world.commit("a", "b")
    running = world.begin("create:a", seconds=GENTLE)
    running.signal(signal.SIGKILL)
    running.process.wait()
    world.converges("a", "b")
    assert len(world.cloud.log("create")) == 2
    assert [deployment["result"] for deployment in world.sandbox.history()] == ["applied", "interrupted"]


def test_recover_after_a_kill_9_of_tfops_waits_and_finds_nothing_missing(world: World) -> None:
    world.commit("a", "b")
    running = world.begin("create:a", seconds=GENTLE)
    running.signal(signal.SIGKILL)
    running.process.wait()
    found = world.recover(expect=0)
    assert found["recovered"] is True
    assert found["missing"] == []
    world.converges("a", "b")
    assert len(world.cloud.log("create")) == 2


def test_kill_9_of_the_launcher_alone_stops_terraform_gently(world: World) -> None:
    world.commit("a", "b")
    running = world.begin("create:a", seconds=GENTLE)
    os.kill(world.launcher, signal.SIGKILL)
    result = running.end()
    assert result.code == 1, result
    assert result.errors == ["terraform.killed"]
    world.converges("a", "b")
    assert len(world.cloud.log("create")) == 2


# ----------------------------------------------------------------- recover and the state file


def test_recover_with_nothing_to_recover_says_so(local_world: World) -> None:
    local_world.commit("a")
    assert local_world.recover(expect=0)["recovered"] is False
    local_world.sync(expect=0)
    assert local_world.recover(expect=0)["plan_id"] is None
    assert local_world.sandbox.tfops("recover").out == "1 of 1 stacks had nothing to recover\n"


def kill_within_a_write(world: World, running: Running, rest: int) -> None:
    """Kill Terraform as if it were writing its state file just then: the first bytes are there, no more."""
    launcher = world.launcher
    os.kill(running.process.pid, signal.SIGSTOP)
    os.kill(world.terraform, signal.SIGKILL)
    wait_for(lambda: launcher not in world.sandbox.processes(), what="the end of the launcher")
    file = world.sandbox.state_file()
    file.write_bytes(file.read_bytes()[:rest])
    os.kill(running.process.pid, signal.SIGCONT)
    result = running.end()
    assert result.code == 1, result
    assert "terraform.killed" in result.errors


def test_a_first_state_that_a_kill_left_empty_is_made_anew_by_imports(local_world: World) -> None:
    world = local_world
    world.commit("a", "b")
    kill_within_a_write(world, world.begin("create:b"), 0)
    world.refuses("a", "b")
    found = world.recover(expect=5)
    assert found["import_blocks"] == [import_block("a", world.id_of("a"))]
    assert found["unknown"] == ["fakecloud_server.b"]
    world.commit("a", "b", more="\n".join([*found["import_blocks"], import_block("b", world.id_of("b"))]))
    world.converges("a", "b")
    assert len(world.cloud.log("create")) == 2


@pytest.mark.parametrize("rest", [0, pytest.param(40)], ids=["0 bytes", "40 bytes"])
def test_a_state_that_a_kill_left_in_pieces_is_restored_from_its_backup(local_world: World, rest: int) -> None:
    world = local_world
    world.commit("a")
    world.sync(expect=0)
    world.commit("a", "b", "c")
    kill_within_a_write(world, world.begin("create:c"), rest)
    for command in ("sync", "recover"):
        refused = world.sandbox.json(command)
        assert refused.code == 5, refused
    assert world.sync(expect=5).errors == ["state.damaged" if rest else "state.missing"]
    file = world.sandbox.state_file()
    file.write_bytes(file.with_name("terraform.tfstate.backup").read_bytes())
    world.refuses("b", "c")
    found = world.recover(expect=5)
    assert found["import_blocks"] == [import_block("b", world.id_of("b"))]
    world.commit("a", "b", "c", more="\n".join([*found["import_blocks"], import_block("c", world.id_of("c"))]))
    world.converges("a", "b", "c")
    assert len(world.cloud.log("create")) == 3


def test_a_first_state_that_a_kill_left_in_pieces_is_called_damaged(local_world: World) -> None:
    world = local_world
    world.commit("a", "b")
    kill_within_a_write(world, world.begin("create:b"), 40)
    assert world.sync(expect=5).errors == ["state.damaged"]
    result = world.sandbox.json("recover")
    assert (result.code, result.errors) == (5, ["state.damaged"])
