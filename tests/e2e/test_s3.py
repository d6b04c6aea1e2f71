"""A store in S3: what a local store shows, once more over real sockets, and how many requests that takes."""

# ruff: noqa: F811 - pytest hands fixtures over by their names

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.e2e.sandbox import RESOURCE, TFOPS, BucketWorld, Sandbox, environment, wait_for
from tests.provider import Cloud
from tests.provider.install import install, lock_file, provider_at
from tests.servers import Endpoint
from tests.servers.fixtures import bucket, moto_server, seaweed, versioned_bucket  # noqa: F401
from tests.servers.moto import Moto
from tests.servers.proxy import Answer, FaultProxy, Request
from tests.servers.shared import SharedSeaweed


@dataclass(frozen=True, kw_only=True)
class World:
    """A sandbox whose store lies in a bucket behind a fault proxy, and a cloud that its Terraform fills."""

    sandbox: Sandbox
    proxy: FaultProxy
    server: Endpoint
    cloud: Cloud
    settings: Path

    def servers(self, *names: str, **keys: str) -> str:
        """Commit one environment `dev` with a chain of servers in the cloud; returns the revision."""
        return self.sandbox.stacks(
            environment("dev", cli_config=json.dumps(str(self.settings)), **keys),
            {"dev/main.tf": provider_at(self.cloud.root) + chain(*names), "dev/.terraform.lock.hcl": self.lock_file},
        )

    @property
    def lock_file(self) -> bytes:
        """What `terraform init` writes for the provider."""
        return lock_file(self.settings)

    def objects(self, below: str = "") -> dict[str, str]:
        """Key → ETag of all that belongs to this world, store and states, read around the proxy."""
        prefix = f"{self.sandbox.prefix}{below}"
        assert self.sandbox.bucket is not None
        with closing(self.server.client()) as s3:
            pages = s3.get_paginator("list_objects_v2").paginate(Bucket=self.sandbox.bucket.name, Prefix=prefix)
            return {item["Key"]: item["ETag"] for page in pages for item in page.get("Contents", [])}

    def read(self, key: str) -> bytes:
        """An object, read around the proxy."""
        assert self.sandbox.bucket is not None
        with closing(self.server.client()) as s3:
            data: bytes = s3.get_object(Bucket=self.sandbox.bucket.name, Key=key)["Body"].read()
            return data

    def put(self, key: str, data: bytes) -> None:
        """Overwrite an object by hand, around the proxy."""
        assert self.sandbox.bucket is not None
        with closing(self.server.client()) as s3:
            s3.put_object(Bucket=self.sandbox.bucket.name, Key=key, Body=data)

    def store_key(self, name: str) -> str:
        """The key of an object of the store."""
        return f"{self.sandbox.prefix}/{name}"

    def own_requests(self) -> list[Request]:
        """What tfops itself has asked since the last `clear`; Terraform names itself in its User-Agent."""
        return [one for one in self.proxy.requests if "Terraform" not in one.headers.get("user-agent", "")]

    def created_once(self, *names: str) -> None:
        """Each of these exists, and was created a single time, as the state says as well."""
        assert sorted(entry["name"] for entry in self.cloud.log("create")) == sorted(names)
        ids = {name: [server["id"] for server in self.cloud.named(name)] for name in names}
        held = {address.rpartition(".")[2]: [id_] for address, id_ in self.sandbox.resources().items()}
        assert held == ids


def chain(*names: str) -> str:
    """Servers that are made one after the other."""
    code = ""
    for before, name in zip((None, *names), names, strict=False):
        after = f"  depends_on = [fakecloud_server.{before}]\n" if before else ""
        code += f'resource "fakecloud_server" "{name}" {{\n  name = "{name}"\n{after}}}\n'
    return code


def end_processes(sandbox: Sandbox) -> None:
    """Kill what a test left running; only what this very sandbox started carries its marker."""
    for pid in sandbox.processes():
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


MakeWorld = Callable[..., World]


@pytest.fixture(scope="session")
def provider(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The CLI configuration that makes the provider of the cloud known."""
    return install(tmp_path_factory.mktemp("provider"))


@contextmanager
def made_worlds(server: Endpoint, name: str, provider: Path, directory: Path) -> Iterator[MakeWorld]:
    """Makes worlds in a bucket of a server, each behind a proxy of its own, and ends what they started."""
    made: list[World] = []

    def make(*, lease: str = "20s", server: Endpoint = server, name: str = name, **options: bool) -> World:
        place = directory / f"world{len(made)}"
        proxy = FaultProxy(server.endpoint)
        proxy.start()
        place_of_store = BucketWorld(name=name, endpoint=proxy.endpoint, environ=server.environ, lease=lease)
        made.append(
            World(
                sandbox=Sandbox(place, bucket=place_of_store, **options),
                proxy=proxy,
                server=server,
                cloud=Cloud(place / "cloud"),
                settings=provider,
            )
        )
        return made[-1]

    yield make
    for world in made:
        end_processes(world.sandbox)
        world.proxy.stop()


@pytest.fixture
def make_world(seaweed: SharedSeaweed, bucket: str, provider: Path, tmp_path: Path) -> Iterator[MakeWorld]:
    """Makes worlds on the shared SeaweedFS, or on another server."""
    with made_worlds(seaweed, bucket, provider, tmp_path) as make:
        yield make


@pytest.fixture
def world(make_world: MakeWorld) -> World:
    """A world with a lease that outlives a test."""
    return make_world()


# ----------------------------------------------------------------- beginning


def _fresh(world: World, configuration: str) -> None:
    world.sandbox.commit({"main.tf": RESOURCE, **({"tfops.hcl": configuration} if configuration else {})})


def _paste_the_hint(world: World, said: str, env: dict[str, str]) -> str:
    hint = next(line for line in said.splitlines() if line.startswith("next: ")).removeprefix("next: ")
    env = {**world.sandbox.env, **env, "PATH": f"{TFOPS.parent}:{world.sandbox.env['PATH']}"}
    done = subprocess.run(
        ["sh", "-e", "-c", hint], cwd=world.sandbox.clone, env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_init_with_a_store_block_makes_the_store_and_its_hint_ends_in_a_deployment(make_world: MakeWorld) -> None:
    world = make_world(prepared=False)
    assert world.sandbox.bucket is not None
    block = world.sandbox.bucket.store_block("", world.sandbox.prefix).replace('  id = ""\n', "")
    _fresh(world, block + environment("main", roots='["."]'))
    made = world.sandbox.tfops("init")
    assert made.code == 0, made
    assert "1 applied" in _paste_the_hint(world, made.out, {})
    assert world.store_key("store.json") in world.objects()
    before = world.objects()
    again = world.sandbox.json("init")
    assert (again.code, again.json["made"]) == (0, [])
    assert world.objects() == before


def test_init_with_an_s3_address_makes_the_store_and_its_hint_ends_in_a_deployment(
    make_world: MakeWorld, moto_server: Moto
) -> None:
    world = make_world(prepared=False, server=moto_server, name=moto_server.bucket("address"))
    _fresh(world, "")
    elsewhere = {"AWS_ENDPOINT_URL": world.proxy.endpoint}
    made = world.sandbox.tfops("init", "--store", f"s3://address/{world.sandbox.prefix}", env=elsewhere)
    assert made.code == 0, made
    assert "1 applied" in _paste_the_hint(world, made.out, elsewhere)
    assert world.store_key("store.json") in world.objects()
    assert f"{world.sandbox.prefix}-state/main/terraform.tfstate" in world.objects()


# ----------------------------------------------------------------- what it costs


OF_A_RUN = len(("store", "digest key", "rules in force", "their next version", "one listing for orphans"))


def test_a_converged_stack_takes_three_requests_besides_those_of_the_run(world: World) -> None:
    names = ("a", "b", "c", "d")
    environments = "".join(environment(name) for name in names)
    world.sandbox.stacks(environments, {f"{name}/main.tf": RESOURCE for name in names})
    world.sandbox.sync(expect=0)
    world.proxy.clear()
    assert set(world.sandbox.sync(expect=0).runs.values()) == {0}
    assert len(world.proxy.requests) <= 3 * len(names) + OF_A_RUN
    world.proxy.clear()
    world.sandbox.sync("a", expect=0)
    assert len(world.proxy.requests) <= 3 + OF_A_RUN - 1


def test_an_applied_stack_takes_at_most_25_requests_besides_terraforms_own(world: World) -> None:
    world.sandbox.one_stack()
    world.sandbox.accept_rules()
    world.proxy.clear()
    world.sandbox.sync(expect=0)
    probes = [one for one in world.own_requests() if "/probe/" in one.path]
    assert len(probes) == 5
    besides = ("/probe/", "/lease.json", "/events.ndjson")
    counted = [one for one in world.own_requests() if not any(part in one.path for part in besides)]
    run = [one for one in counted if one.path.endswith(("/store.json", "/digest-key")) or "list-type" in one.query]
    run += [one for one in counted if "/trust/" in one.path or (one.method, "/audit/" in one.path) == ("GET", True)]
    words = "\n".join(f"{one.method} {one.path.rpartition(world.sandbox.prefix)[2]} {one.query}" for one in counted)
    assert len(counted) - len(run) <= 25, words


# ----------------------------------------------------------------- everyday


def test_a_plan_is_made_looked_at_and_applied_as_it_is(world: World) -> None:
    sandbox = world.sandbox
    sandbox.one_stack()
    planned = sandbox.json("plan")
    assert planned.code == 2
    plan_id = planned["dev"]["plan_id"]
    assert sandbox.json("verify", plan_id).json["verified"] is True
    assert "terraform_data.a" in sandbox.tfops("inspect", plan_id).out
    applied = sandbox.sync("dev", "--plan", plan_id, expect=0)
    assert applied.outcomes == {"dev": "applied"}
    assert sandbox.sync("dev", "--plan", plan_id, expect=5).errors == ["verify.claimed"]
    assert sandbox.json("verify", plan_id).code == 0
    (deployment,) = sandbox.history()
    assert (deployment["result"], deployment["requested_plan"]) == ("applied", plan_id)
    assert sandbox.sync(expect=0).runs == {"dev": 0}
    assert sandbox.state_locks() == []


def test_an_edited_file_of_a_plan_in_the_bucket_is_noticed(world: World) -> None:
    world.sandbox.one_stack()
    plan_id = world.sandbox.json("plan")["dev"]["plan_id"]
    key = world.store_key(f"dev/plans/{plan_id}/plan.tfplan")
    data = world.read(key)
    world.put(key, data[:-1] + bytes([data[-1] ^ 1]))
    assert world.sandbox.json("verify", plan_id).code == 5
    world.sandbox.sync("dev", "--plan", plan_id, expect=5)
    assert world.sandbox.state_key() not in world.objects()


def test_a_managed_state_in_a_workspace_of_its_own(world: World) -> None:
    world.sandbox.one_stack(RESOURCE + 'output "w" { value = terraform.workspace }\n', workspace='"blue"')
    assert world.sandbox.sync(expect=0).code == 0
    assert world.sandbox.sync(expect=0).json["stacks"][0]["terraform_runs"] == 0
    assert [key for key in world.objects("-state/") if key.endswith(".tfstate")] == [
        world.sandbox.state_key("dev", "blue")
    ]
    assert world.sandbox.outputs("dev", "blue") == {"w": "blue"}


def test_a_versioned_bucket_is_as_good(make_world: MakeWorld, versioned_bucket: str) -> None:
    world = make_world(name=versioned_bucket)
    world.sandbox.one_stack()
    assert world.sandbox.sync(expect=0).outcomes == {"dev": "applied"}
    world.sandbox.one_stack(RESOURCE.replace("one", "two"))
    assert world.sandbox.sync(expect=0).outcomes == {"dev": "applied"}
    assert world.sandbox.sync(expect=0).runs == {"dev": 0}
    assert len(world.sandbox.history()) == 2


# ----------------------------------------------------------------- backends that the code names


def _backend(world: World, **keys: str) -> str:
    """A backend block of the code's own, on the same server."""
    assert world.sandbox.bucket is not None
    lines = {
        "bucket": json.dumps(world.sandbox.bucket.name),
        "region": '"us-east-1"',
        "endpoints": f"{{ s3 = {json.dumps(world.proxy.endpoint)} }}",
        "use_path_style": "true",
        "skip_credentials_validation": "true",
        "skip_requesting_account_id": "true",
        "skip_metadata_api_check": "true",
        "skip_region_validation": "true",
        **keys,
    }
    inner = "".join(f"    {name} = {value}\n" for name, value in lines.items())
    return f'terraform {{\n  backend "s3" {{\n{inner}  }}\n}}\n'


def _own_key(world: World) -> str:
    return f"{world.sandbox.prefix}-own/state"


def _own_backend(world: World, code: str = RESOURCE) -> None:
    world.sandbox.one_stack(
        _backend(world, use_lockfile="true") + code, backend_config=f"{{ key = {json.dumps(_own_key(world))} }}"
    )


def _plain(world: World, *words: str) -> "subprocess.Popen[str]":
    """Plain Terraform in a copy of the code, as somebody else runs it."""
    place = world.sandbox.directory / "plain"
    if not place.exists():
        shutil.copytree(world.sandbox.clone / "dev", place)
        _plain(world, "init", "-no-color", f"-backend-config=key={_own_key(world)}").communicate()
    return subprocess.Popen(
        ["terraform", *words],
        cwd=place,
        env=world.sandbox.env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_two_stacks_whose_blocks_spell_the_same_object_are_refused(world: World) -> None:
    place = world.sandbox.prefix
    one = _backend(world, key=f'"{place}/blue/state"')
    other = _backend(world, key='"state"', workspace_key_prefix=f'"{place}"')
    world.sandbox.stacks(
        environment("one") + environment("other", workspace='"blue"'),
        {"one/main.tf": one + RESOURCE, "other/main.tf": other + RESOURCE},
    )
    before = world.objects()
    result = world.sandbox.sync()
    assert result.code != 0
    assert "state.shared" in result.errors, result
    rules = (f"{place}/trust/", f"{place}/audit/")  # the first run puts them in force
    assert {key: etag for key, etag in world.objects().items() if not key.startswith(rules)} == before


def test_a_backend_of_the_code_with_its_key_in_backend_config(world: World) -> None:
    _own_backend(world)
    assert world.sandbox.sync(expect=0).outcomes == {"dev": "applied"}
    assert list(world.objects("-own/")) == [_own_key(world)]
    assert world.objects("-state/") == {}
    assert world.sandbox.sync(expect=0).runs == {"dev": 0}


def test_a_lock_that_a_dead_plain_terraform_left_is_named_and_never_touched(world: World) -> None:
    _own_backend(world, SLEEPY)
    lock = f"{_own_key(world)}.tflock"
    plain = _plain(world, "apply", "-auto-approve", "-no-color")
    wait_for(lambda: _sleeps(world), what="the plain apply")
    plain.kill()
    plain.communicate()
    end_processes(world.sandbox)
    left = world.objects("-own/")[lock]
    who = json.loads(world.read(lock))
    result = world.sandbox.sync("--lock-wait", "0", expect=4)
    assert result.errors == ["lock.state"]
    for word in (who["Who"], who["Created"], who["ID"], "force-unlock"):
        assert word in result.messages
    assert world.objects("-own/")[lock] == left
    assert any(who["Who"] in view["holder"] for view in world.sandbox.json("lock", "list", "dev").json["stacks"])


def test_plain_terraform_is_kept_out_while_tfops_applies_and_sees_who_does(world: World) -> None:
    _own_backend(world, SLEEPY)
    _plain(world, "version").communicate()
    running = world.sandbox.start("--format", "json", "sync")
    wait_for(lambda: _sleeps(world), what="the apply")
    plain = _plain(world, "plan", "-no-color")
    said, _ = plain.communicate()
    assert plain.returncode == 1
    assert "Error acquiring the state lock" in said
    assert "ID:        tfops-" in said
    assert f'"tfops_store": "{world.sandbox.store_id}"' in said
    assert running.end().code == 0
    after = _plain(world, "plan", "-no-color", "-detailed-exitcode")
    said, _ = after.communicate()
    assert after.returncode == 0, said


SLEEPY = RESOURCE.replace("}\n", '  provisioner "local-exec" { command = "sleep 2.5" }\n}\n')


def _sleeps(world: World) -> bool:
    return any(command.startswith("sleep ") for command in world.sandbox.processes().values())


# ----------------------------------------------------------------- stores that are not ours


def test_an_empty_prefix_is_refused_and_nothing_is_written(world: World) -> None:
    world.sandbox.one_stack()
    world.sandbox.prefix += "-elsewhere"
    world.sandbox.one_stack()
    for command in ("sync", "plan", "history"):
        result = world.sandbox.json(command)
        assert (result.code, result.errors) == (5, ["store.missing"]), result
        assert world.sandbox.prefix in result.messages
    assert world.objects() == {}


def test_a_foreign_prefix_is_refused_and_nothing_is_written(make_world: MakeWorld) -> None:
    world, other = make_world(), make_world()
    world.sandbox.prefix = other.sandbox.prefix
    world.sandbox.one_stack()
    before = other.objects()
    result = world.sandbox.sync(expect=5)
    assert result.errors == ["store.foreign"]
    assert other.sandbox.store_id[:12] in result.messages
    assert other.objects() == before


# ----------------------------------------------------------------- doctor


def _doctor(world: World, **env: str) -> tuple[int, list[str], str]:
    result = world.sandbox.json("doctor", env=env)
    return result.code, result.errors, result.messages


def test_doctor_finds_a_store_in_s3_well(world: World) -> None:
    world.sandbox.one_stack()
    before = world.objects()
    code, errors, _ = _doctor(world)
    assert (code, errors) == (0, [])
    assert world.objects() == before
    assert f"s3://plain/{world.sandbox.prefix}" in world.sandbox.tfops("doctor").out.replace("\n", "")


def test_doctor_names_a_bucket_that_is_not_there(world: World) -> None:
    world.sandbox.one_stack()
    text = (world.sandbox.clone / "tfops.hcl").read_text().replace('bucket = "plain"', 'bucket = "nowhere"')
    world.sandbox.commit({"tfops.hcl": text})
    code, errors, said = _doctor(world)
    assert (code, errors) == (1, ["store.no_bucket"])
    assert "nowhere" in said


@pytest.mark.parametrize(
    ("method", "permission"), [("GET", "s3:GetObject"), ("PUT", "s3:PutObject"), ("DELETE", "s3:DeleteObject")]
)
def test_doctor_names_the_permission_that_is_missing(world: World, method: str, permission: str) -> None:
    world.sandbox.one_stack()
    world.proxy.fault((method, world.sandbox.prefix), Answer(403), times=None)
    code, errors, said = _doctor(world)
    assert (code, errors) == (1, ["store.denied"])
    assert f"the permission {permission} on arn:aws:s3:::plain/{world.sandbox.prefix}/" in said


def test_doctor_names_the_permission_to_list(world: World) -> None:
    world.sandbox.one_stack()
    world.proxy.fault(lambda request: "list-type" in request.query, Answer(403), times=None)
    code, errors, said = _doctor(world)
    assert (code, errors) == (1, ["store.denied"])
    assert "the permission s3:ListBucket on arn:aws:s3:::plain is missing" in said


def test_doctor_says_that_credentials_are_not_accepted(world: World) -> None:
    world.sandbox.one_stack()
    code, errors, said = _doctor(world, AWS_SECRET_ACCESS_KEY="wrong")
    assert (code, errors) == (1, ["store.credentials"])
    assert "SignatureDoesNotMatch" in said


def test_doctor_says_that_a_store_is_out_of_reach(world: World) -> None:
    world.sandbox.one_stack()
    world.proxy.down()
    code, errors, said = _doctor(world)
    assert (code, errors) == (1, ["store.unreachable"])
    assert world.proxy.endpoint in said
