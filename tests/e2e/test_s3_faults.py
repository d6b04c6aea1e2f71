"""S3 that loses answers, fails, falls silent or dies under a run: nothing is applied twice, the next sync converges."""

# ruff: noqa: F811 - pytest hands fixtures over by their names

import json
import os
import shlex
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.sandbox import RESOURCE, TFOPS, Result, Running, Sandbox, environment, wait_for
from tests.e2e.test_s3 import (  # noqa: F401
    MakeWorld,
    World,
    bucket,
    made_worlds,
    make_world,
    provider,
    seaweed,
    world,
)
from tests.servers import Endpoint
from tests.servers.moto import Moto
from tests.servers.proxy import Answer, Delay, DropAnswer, Request
from tests.servers.seaweed import Seaweed
from tests.servers.shared import SharedSeaweed
from tfops import dsse
from tfops.adapters import keys

PLAN_WRITES = ("plan.tfplan", "plan.json", "plan.txt", "statement.json")
LOST = ("lease.json", "unfinished", "claim.json", "head.json", ".tflock", *PLAN_WRITES)
VERSIONED = 'resource "terraform_data" "a" {\n  input = "VERSION"\n}\n'
SLOW = (
    'resource "terraform_data" "a" {\n  input = "VERSION"\n  triggers_replace = "VERSION"\n'
    '  provisioner "local-exec" { command = "sleep SECONDS" }\n}\n'
)


def _applies(sandbox: Sandbox) -> int:
    return sum(start.startswith("apply") for start in sandbox.starts())


def _is_settled(world: World, *names: str) -> None:
    """Nothing is left to do or open, and everything was created once."""
    assert world.sandbox.sync(expect=0).runs == {"dev": 0}
    assert not [key for key in world.objects() if key.endswith((".tflock", "/unfinished"))]
    if names:
        world.created_once(*names)


def _state_write(request: Request) -> bool:
    return request.method == "PUT" and request.path.endswith("/terraform.tfstate")


def _begin(world: World, name: str) -> Running:
    """A sync in the middle of its apply: the creation of a server has arrived at the cloud."""
    running = world.sandbox.start("--format", "json", "sync")
    wait_for(lambda: world.cloud.calls("create", name), what="the creation")
    return running


# ----------------------------------------------------------------- lost answers


def test_all_first_writes_whose_answers_are_lost_are_known_as_our_own(world: World) -> None:
    world.sandbox.one_stack()
    faults = [world.proxy.fault(("PUT", name), DropAnswer()) for name in (*LOST, "events.ndjson", "result.json")]
    assert world.sandbox.sync(expect=0).outcomes == {"dev": "applied"}
    assert [fault.hits for fault in faults] == [1] * len(faults)
    assert _applies(world.sandbox) == 1
    _is_settled(world)


@pytest.mark.parametrize("name", LOST)
def test_a_write_whose_answer_is_lost_is_known_as_our_own(changing: World, name: str) -> None:
    changing.sandbox.commit({"dev/main.tf": VERSIONED.replace("VERSION", name)})
    fault = changing.proxy.fault(("PUT", name), DropAnswer())
    assert changing.sandbox.sync(expect=0).outcomes == {"dev": "applied"}
    assert fault.hits == 1
    assert _applies(changing.sandbox) == 1
    _is_settled(changing)


def test_the_answer_to_the_lease_of_an_apply_may_be_lost(changing: World) -> None:
    changing.sandbox.commit({"dev/main.tf": VERSIONED.replace("VERSION", "begin")})
    fault = changing.proxy.fault(("PUT", "lease.json"), DropAnswer(), skip=1)
    assert changing.sandbox.sync(expect=0).outcomes == {"dev": "applied"}
    assert fault.hits == 1
    _is_settled(changing)


@pytest.fixture(scope="module")
def changing(
    seaweed: SharedSeaweed, bucket: str, provider: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[World]:
    """One stack that was applied, for tests that each change it and leave it converged."""
    with made_worlds(seaweed, bucket, provider, tmp_path_factory.mktemp("changing")) as make:
        world: World = make()
        world.sandbox.one_stack()
        world.sandbox.sync(expect=0)
        world.sandbox.starts()
        yield world


@pytest.fixture
def deployed(make_world: MakeWorld) -> World:
    """One stack that was applied."""
    world = make_world()
    world.sandbox.one_stack()
    world.sandbox.sync(expect=0)
    world.sandbox.starts()
    return world


# ----------------------------------------------------------------- errors


@pytest.mark.slow
def test_a_state_lock_that_cannot_be_removed_does_not_make_an_apply_a_failure(deployed: World) -> None:
    deployed.sandbox.commit({"dev/main.tf": VERSIONED.replace("VERSION", "two")})
    deployed.proxy.fault(("DELETE", ".tflock"), Answer(500), times=None)
    result = deployed.sandbox.sync(expect=0)
    assert result.outcomes == {"dev": "applied"}
    assert "the state lock could not be released" in result.err
    assert len(deployed.sandbox.state_locks()) == 1
    deployed.proxy.heal()
    deployed.sandbox.commit({"dev/main.tf": VERSIONED.replace("VERSION", "three")})
    assert deployed.sandbox.sync("--lock-wait", "0", expect=0).outcomes == {"dev": "applied"}
    _is_settled(deployed)


@pytest.mark.slow
@pytest.mark.parametrize(("phase", "status"), [(0, 500), (1, 503)])
def test_a_server_that_refuses_every_third_request_harms_nothing(world: World, phase: int, status: int) -> None:
    world.sandbox.one_stack()
    first = world.proxy.requests[-1].number if world.proxy.requests else 0
    fault = world.proxy.fault(lambda request: (request.number - first) % 3 == phase, Answer(status), times=None)
    result = world.sandbox.sync()
    assert fault.hits > 10
    assert result.code in (0, 1), result
    assert set(result.errors) <= {"store.unreachable", "terraform.apply", "lock.lost"}, result
    world.proxy.heal()
    world.sandbox.sync(expect=0)
    assert world.sandbox.resources().keys() == {"terraform_data.a"}
    _is_settled(world)


@pytest.mark.parametrize("name", ["store.json", "claim.json"])
@pytest.mark.slow
def test_a_store_that_refuses_for_good_is_a_clean_error(world: World, name: str) -> None:
    world.sandbox.one_stack()
    world.proxy.fault(("PUT" if name != "store.json" else "*", name), Answer(503), times=None)
    result = world.sandbox.sync(expect=1)
    assert result.errors == ["store.unreachable"]
    assert "again and again" in result.messages
    world.proxy.heal()
    world.sandbox.sync(expect=0)
    _is_settled(world)


def test_one_refused_renewal_as_an_apply_begins_is_retried(deployed: World) -> None:
    deployed.sandbox.commit({"dev/main.tf": VERSIONED.replace("VERSION", "begin")})
    fault = deployed.proxy.fault(("PUT", "lease.json"), Answer(503), skip=1)
    assert deployed.sandbox.sync(expect=0).outcomes == {"dev": "applied"}
    assert fault.hits == 1
    _is_settled(deployed)


def test_a_note_that_cannot_be_removed_does_not_make_an_apply_a_failure(deployed: World) -> None:
    deployed.sandbox.commit({"dev/main.tf": VERSIONED.replace("VERSION", "two")})
    deployed.proxy.fault(("DELETE", "/unfinished"), Answer(403), times=None)
    assert deployed.sandbox.sync(expect=0).outcomes == {"dev": "applied"}


def test_a_lease_that_cannot_be_given_back_does_not_make_an_apply_a_failure(deployed: World) -> None:
    deployed.sandbox.commit({"dev/main.tf": VERSIONED.replace("VERSION", "two")})
    seen = deployed.proxy.fault(("DELETE", "/unfinished"), Delay(0))
    deployed.proxy.fault(
        lambda request: bool(seen.hits) and request.method == "PUT" and request.path.endswith("lease.json"),
        Answer(403),
        times=None,
    )
    result = deployed.sandbox.sync(expect=0)
    assert result.outcomes == {"dev": "applied"}
    assert "the lease could not be given back" in result.err
    deployed.proxy.heal()
    deployed.sandbox.sync("--lock-wait", "0", expect=0)
    _is_settled(deployed)


@pytest.mark.slow
def test_a_state_that_cannot_be_written_is_kept_and_written_back_by_the_next_sync(world: World) -> None:
    world.servers("web", "db")
    world.cloud.misbehave()
    world.proxy.fault(_state_write, Answer(403), times=None)  # Terraform tries again for 14 s after a 500
    result = world.sandbox.sync(expect=1)
    assert result.outcomes == {"dev": "failed"}
    kept = [key for key in world.objects() if "/errored/" in key]
    assert len(kept) == 1
    state = json.loads(world.read(kept[0]))
    assert [resource["name"] for resource in state["resources"]] == ["db", "web"]
    world.proxy.heal()
    assert world.sandbox.sync(expect=0).outcomes == {"dev": "converged"}
    assert not [key for key in world.objects() if "/errored/" in key]
    _is_settled(world, "web", "db")


# ----------------------------------------------------------------- outages


@pytest.mark.slow
def test_an_apply_survives_an_outage_shorter_than_its_lease(make_world: MakeWorld) -> None:
    world = make_world(lease="16s")
    world.servers("web", "db")
    world.cloud.misbehave(delay_seconds={"create:web": 7})
    running = _begin(world, "web")
    world.proxy.down()
    time.sleep(6)
    world.proxy.up()
    result = running.end()
    assert (result.code, result.outcomes) == (0, {"dev": "applied"}), result
    assert len(world.sandbox.history()) == 1
    _is_settled(world, "web", "db")


@pytest.fixture(scope="module")
def cut_off(
    seaweed: SharedSeaweed, bucket: str, provider: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[World, Result]]:
    """A run whose store was out of reach for longer than its lease, in the middle of an apply, and how it ended."""
    with made_worlds(seaweed, bucket, provider, tmp_path_factory.mktemp("outage")) as make:
        world: World = make(lease="4s")
        world.servers("web", "db")
        world.cloud.misbehave(delay_seconds={"create:web": 5})
        running = _begin(world, "web")
        world.proxy.down()
        time.sleep(10)
        world.proxy.up()
        result = running.end()
        world.cloud.misbehave()
        yield world, result


@pytest.mark.slow
def test_an_outage_longer_than_the_lease_is_told_as_what_it_is(cut_off: tuple[World, Result]) -> None:
    _, result = cut_off
    assert result.code in (1, 4), result
    assert set(result.errors) <= {"lock.lost", "store.unreachable"}, result


@pytest.mark.slow
def test_an_apply_is_stopped_gently_before_its_lease_ends_in_a_longer_outage(cut_off: tuple[World, Result]) -> None:
    world, result = cut_off
    assert result.code != 0
    assert not world.cloud.calls("create", "db"), "Terraform began nothing more"
    world.sandbox.sync(expect=0)
    _is_settled(world, "web", "db")


@pytest.mark.slow
def test_a_server_that_is_killed_and_started_again_under_an_apply(make_world: MakeWorld, tmp_path: Path) -> None:
    with Seaweed(tmp_path / "own") as server:
        world = make_world(server=server, name=server.bucket("own"), lease="30s")
        world.servers("web", "db")
        world.cloud.misbehave(delay_seconds={"create:web": 4})
        running = _begin(world, "web")
        server.kill()
        time.sleep(1)
        server.start()
        result = running.end()
        assert (result.code, result.outcomes) == (0, {"dev": "applied"}), result
        _is_settled(world, "web", "db")


def test_a_server_that_falls_silent_before_an_apply_is_told(make_world: MakeWorld) -> None:
    world = make_world(lease="30s")
    world.sandbox.one_stack()
    world.proxy.down()
    result = world.sandbox.sync(expect=1)
    assert result.errors == ["store.unreachable"]
    assert world.proxy.endpoint in result.messages
    world.proxy.up()
    world.sandbox.sync(expect=0)


# ----------------------------------------------------------------- servers without conditions


def _without_conditions(make_world: MakeWorld, server: Endpoint) -> World:
    return make_world(server=server, name=server.bucket("careless"), prepared=False)


def _writes(world: World) -> list[str]:
    return [one.path for one in world.proxy.requests if one.method in ("PUT", "POST", "DELETE")]


def test_no_store_is_made_where_conditions_are_ignored(make_world: MakeWorld, careless: Moto) -> None:
    world = _without_conditions(make_world, careless)
    sandbox = world.sandbox
    assert sandbox.bucket is not None
    sandbox.write({"main.tf": RESOURCE, "tfops.hcl": sandbox.bucket.store_block("", sandbox.prefix)})
    text = (sandbox.clone / "tfops.hcl").read_text().replace('  id = ""\n', "")
    sandbox.commit({"tfops.hcl": text + environment("main", roots='["."]')})
    result = sandbox.json("init")
    assert (result.code, result.errors) == (5, ["store.no_conditional_writes"])
    assert all("/probe/" in path for path in _writes(world))
    assert world.objects() == {}


def test_nothing_is_written_where_conditions_are_ignored(make_world: MakeWorld, careless: Moto) -> None:
    world = _without_conditions(make_world, careless)
    sandbox = world.sandbox
    _prepare_by_hand(world)
    before = world.objects()
    sandbox.one_stack()
    for command in ("sync", "plan"):
        result = sandbox.json(command)
        assert (result.code, result.errors) == (5, ["store.no_conditional_writes"]), result
    assert world.objects() == before
    assert _writes(world)
    assert all("/probe/" in path for path in _writes(world))
    assert not sandbox.starts() or _applies(sandbox) == 0


def _prepare_by_hand(world: World) -> None:
    sandbox = world.sandbox
    sandbox.store_id = "5" * 32
    document = {"schema": "tfops.store/v1", "id": sandbox.store_id}
    world.put(world.store_key("store.json"), json.dumps(document).encode())
    world.put(world.store_key("digest-key"), os.urandom(32))
    keys.generate(sandbox.key, passphrase=None)
    signer = keys.load_signer(f"file:{sandbox.key}", home=sandbox.home, passphrase=None)
    sandbox.write({"keys/ci.pub": keys.public_pem(signer)})


@pytest.fixture
def careless(tmp_path: Path) -> Iterator[Moto]:
    """A server that ignores conditions."""
    with Moto(tmp_path / "careless", ignore_conditions=True) as server:
        yield server


# ----------------------------------------------------------------- clocks

CLOCK = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <sys/time.h>
#include <time.h>
static long shift(void) { const char *by = getenv("CLOCK_SHIFT"); return by ? atol(by) : 0; }
int clock_gettime(clockid_t id, struct timespec *at) {
  int (*real)(clockid_t, struct timespec *) = dlsym(RTLD_NEXT, "clock_gettime");
  int code = real(id, at);
  if (code == 0 && (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE)) at->tv_sec += shift();
  return code;
}
int gettimeofday(struct timeval *restrict at, void *restrict zone) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  at->tv_sec = now.tv_sec;
  at->tv_usec = now.tv_nsec / 1000;
  return 0;
}
time_t time(time_t *at) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  if (at) *at = now.tv_sec;
  return now.tv_sec;
}
"""


@pytest.fixture(scope="module")
def clock(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], dict[str, str | None]]:
    """The environment of a tfops whose clock is wrong by some seconds. Terraform's own clock stays right."""
    if shutil.which("cc") is None:
        pytest.skip("no C compiler to make a wrong clock with")
    place = tmp_path_factory.mktemp("clock")
    (place / "clock.c").write_text(CLOCK)
    command = ["cc", "-shared", "-fPIC", "-o", str(place / "clock.so"), str(place / "clock.c"), "-ldl"]
    subprocess.run(command, check=True)
    return lambda seconds: {"LD_PRELOAD": str(place / "clock.so"), "CLOCK_SHIFT": str(seconds)}


@pytest.fixture(scope="module")
def moto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Moto]:
    """A server that takes a signature of any time; S3 itself refuses those that are 15 minutes off."""
    with Moto(tmp_path_factory.mktemp("moto")) as server:
        yield server


@pytest.mark.slow
@pytest.mark.parametrize("hours", [-1, 1])
def test_a_clock_that_is_wrong_by_an_hour_neither_breaks_nor_frees_a_lease(
    make_world: MakeWorld, moto: Moto, clock: Callable[[int], dict[str, str | None]], hours: int
) -> None:
    world = make_world(server=moto, name=moto.bucket("clocks"))
    wrong = clock(hours * 3600)
    for number, (holder, other) in enumerate(((wrong, {}), ({}, wrong)), 1):
        done = world.sandbox.directory / f"done-{number}"
        waits = SLOW.replace("sleep SECONDS", f"until test -e {done}; do sleep 0.1; done")
        world.sandbox.one_stack(waits.replace("VERSION", str(number)))
        running = world.sandbox.start("--format", "json", "sync", env=holder)
        wait_for(lambda: _sleeps(world.sandbox), what="the apply")
        assert world.sandbox.sync("--lock-wait", "0", env=other, expect=4).errors == ["lock.held"]
        done.touch()
        assert running.end().code == 0
        wait_for(lambda: not _sleeps(world.sandbox), what="the end")
    assert world.sandbox.sync(env=wrong, expect=0).runs == {"dev": 0}
    _is_settled(world)


def test_a_server_that_minds_a_wrong_clock_is_told_from_a_missing_permission(
    world: World, clock: Callable[[int], dict[str, str | None]]
) -> None:
    world.sandbox.one_stack()
    result = world.sandbox.sync(env=clock(3600))
    assert result.code == 1
    assert "clock" in result.messages


def _sleeps(sandbox: Sandbox) -> bool:
    """Whether the provisioner of SLOW runs."""
    return any(command.startswith("sleep ") for command in sandbox.processes().values())


# ----------------------------------------------------------------- other versions of tfops


def _with_more(data: bytes) -> bytes:
    return json.dumps(json.loads(data) | {"mood": "good"}).encode()


def _of_schema_two(data: bytes) -> bytes:
    document = json.loads(data)
    return json.dumps(document | {"schema": document["schema"].replace("/v1", "/v2")}).encode()


def _head_of(sandbox: Sandbox, edit: Callable[[dict[str, Any]], None]) -> Callable[[bytes], bytes]:
    def edited(data: bytes) -> bytes:
        payload = json.loads(dsse.unverified_payload(data, what="the head"))
        edit(payload)
        signer = keys.load_signer(f"file:{sandbox.key}", home=sandbox.home, passphrase=None)
        return dsse.sign(json.dumps(payload).encode(), signer)

    return edited


def _more_in_predicate(payload: dict[str, Any]) -> None:
    payload["predicate"]["mood"] = "good"


def _newer_predicate(payload: dict[str, Any]) -> None:
    payload["predicateType"] = payload["predicateType"].replace("/v1", "/v2")


def _is_refused_by_name(world: World, name: str, edit: Callable[[bytes], bytes], word: str) -> None:
    key = world.store_key(name)
    world.put(key, edit(world.read(key)))
    world.sandbox.commit({"dev/main.tf": VERSIONED.replace("VERSION", "two")})
    before = world.objects()
    result = world.sandbox.sync("--lock-wait", "0", expect=5)
    assert word in result.messages, result
    changed = {key for key, etag in world.objects().items() if before.get(key) != etag}
    assert changed <= ({world.store_key("dev/lease.json")} if name == "dev/unfinished" else set()), changed


@pytest.mark.parametrize(
    ("name", "word", "edit"),
    [
        pytest.param("store.json", "tfops.store/v2", _of_schema_two, id="newer store"),
        pytest.param("store.json", "mood", _with_more, id="more in the store"),
        pytest.param("dev/lease.json", "lease.json", _of_schema_two, id="newer lease"),
        pytest.param("dev/lease.json", "lease.json", _with_more, id="more in the lease"),
    ],
)
def test_what_a_newer_tfops_wrote_is_refused_by_name(
    deployed: World, name: str, word: str, edit: Callable[[bytes], bytes]
) -> None:
    _is_refused_by_name(deployed, name, edit, word)


@pytest.mark.parametrize("edit", [_more_in_predicate, _newer_predicate])
def test_the_head_of_a_newer_tfops_is_refused_by_name(deployed: World, edit: Callable[[dict[str, Any]], None]) -> None:
    _is_refused_by_name(deployed, "dev/head.json", _head_of(deployed.sandbox, edit), "head of dev")


def test_the_unfinished_apply_of_a_newer_tfops_is_refused_by_name(deployed: World) -> None:
    note = {"plan_id": "", "given_plan_id": "", "run_id": "", "begun_on": "2026-01-01T00:00:00Z"}
    deployed.put(deployed.store_key("dev/unfinished"), json.dumps(note).encode())
    _is_refused_by_name(deployed, "dev/unfinished", _with_more, "unfinished")


# ----------------------------------------------------------------- streams and terminals


@pytest.mark.parametrize("way", ["2>&1 | head -c0", ">/dev/full 2>&1"])
def test_an_apply_ends_well_though_nobody_reads(deployed: World, way: str) -> None:
    sandbox = deployed.sandbox
    sandbox.commit({"dev/main.tf": SLOW.replace("VERSION", way).replace("SECONDS", "0.3")})
    code = sandbox.directory / "exit-code"
    command = f"({shlex.quote(str(TFOPS))} sync; echo $? >{shlex.quote(str(code))}) {way}"
    subprocess.run(["bash", "-c", command], cwd=sandbox.clone, env=sandbox.env, capture_output=True, check=False)
    assert [deployment["result"] for deployment in sandbox.history()] == ["applied"] * 2
    _is_settled(deployed)


def test_a_pipe_that_is_full_does_not_let_the_lease_go(make_world: MakeWorld) -> None:
    world = make_world(lease="3s")
    world.servers("web", "db")
    world.cloud.misbehave(delay_seconds={"create": 2})
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    while True:
        try:
            os.write(writing, b"x" * 4096)
        except BlockingIOError:
            break
    os.set_blocking(writing, True)
    process = subprocess.Popen(
        [str(TFOPS), "sync"], cwd=world.sandbox.clone, env=world.sandbox.env, stdout=writing, stderr=writing
    )
    os.close(writing)
    try:
        wait_for(lambda: world.cloud.log("create", "db"), what="the second creation")
        time.sleep(1)
    finally:
        with os.fdopen(reading, "rb") as rest:
            rest.read()
    assert process.wait(60) == 0
    _is_settled(world, "web", "db")


def test_a_terminal_that_hangs_up_stops_an_apply_gently(world: World) -> None:
    world.sandbox.one_stack(SLOW.replace("VERSION", "one").replace("SECONDS", "20"))
    running = world.sandbox.start("--format", "json", "sync")
    wait_for(lambda: _sleeps(world.sandbox), what="the apply")
    running.signal(signal.SIGHUP)
    result = running.end()
    assert (result.code, result.errors) == (130, ["run.interrupted"])
    assert world.sandbox.state_locks() == []
    world.sandbox.one_stack(SLOW.replace("VERSION", "one").replace("SECONDS", "0"))
    assert world.sandbox.sync("--lock-wait", "0", expect=0).outcomes == {"dev": "applied"}
    _is_settled(world)
