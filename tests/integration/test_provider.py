"""The provider `tfops/fakecloud` under real Terraform: it is as good, as slow and as bad as it is told to be."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.provider import Cloud
from tests.provider.install import install, lock_file, provider_at, starts

pytestmark = [
    pytest.mark.skipif(shutil.which("terraform") is None, reason="no terraform on PATH"),
    pytest.mark.skipif(sys.platform != "linux", reason="processes are found in /proc"),
]

TIMEOUT_SECONDS = 60

WEB = 'resource "fakecloud_server" "web" {\n  name = "web"\n}\n'


def wait_for(condition: Callable[[], Any], *, seconds: float = 20) -> Any:
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)
    return found


@dataclass(frozen=True, kw_only=True)
class Root:
    """A root module with a local backend, the cloud that it describes, and all processes that it ever started."""

    directory: Path
    settings: Path
    marker: str = field(default_factory=lambda: uuid.uuid4().hex)

    @property
    def cloud(self) -> Cloud:
        return Cloud(self.directory / "cloud")

    @property
    def code(self) -> Path:
        return self.directory / "code"

    @property
    def output(self) -> Path:
        return self.directory / "output"

    @property
    def env(self) -> dict[str, str]:
        home = str(self.directory)
        return {
            "PATH": os.environ["PATH"],
            "HOME": home,
            "TMPDIR": home,
            "TF_CLI_CONFIG_FILE": str(self.settings),
            "CHECKPOINT_DISABLE": "1",
            "MARKER": self.marker,
        }

    def write(self, resources: str) -> None:
        """Replace the code."""
        self.code.mkdir(exist_ok=True)
        (self.code / "main.tf").write_text(f"{provider_at(self.cloud.root)}\n{resources}")

    def start(self, *arguments: str) -> "subprocess.Popen[bytes]":
        """Terraform in a process group of its own; what it says goes to `output`."""
        with self.output.open("wb") as output:
            return subprocess.Popen(
                ["terraform", *arguments],
                cwd=self.code,
                env=self.env,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def run(self, *arguments: str, expect: int | None = 0) -> str:
        """Terraform to its end; returns what it said."""
        code = self.start(*arguments).wait(TIMEOUT_SECONDS)
        said = self.output.read_text()
        assert expect in {None, code}, said
        return said

    def init(self) -> None:
        (self.code / ".terraform.lock.hcl").write_bytes(lock_file(self.settings))
        self.run("init", "-input=false", "-lockfile=readonly", "-no-color")

    def apply(self, resources: str | None = None, *, expect: int = 0) -> str:
        if resources is not None:
            self.write(resources)
        return self.run("apply", "-auto-approve", "-input=false", "-no-color", expect=expect)

    def plan(self, *, expect: int = 2) -> dict[str, Any]:
        """The JSON of a plan that ends with `expect`: 0 nothing to do, 2 changes."""
        self.run("plan", "-out=plan", "-input=false", "-no-color", "-detailed-exitcode", expect=expect)
        document: dict[str, Any] = json.loads(self.run("show", "-json", "plan"))
        return document

    def begin_apply(self) -> "subprocess.Popen[bytes]":
        """Start an apply; comes back when the first create has reached the provider."""
        found = self.start("apply", "-auto-approve", "-input=false", "-no-color")
        wait_for(lambda: self.cloud.calls("create"))
        return found

    def state(self) -> dict[str, dict[str, Any]]:
        """Type.name → attributes, with the status beside them."""
        path = self.code / "terraform.tfstate"
        # A Terraform that is killed leaves an empty file.
        document = json.loads((path.exists() and path.read_text()) or '{"resources": []}')
        return {
            f"{resource['type']}.{resource['name']}": instance["attributes"] | {"status": instance.get("status")}
            for resource in document["resources"]
            for instance in resource["instances"]
        }

    def processes(self) -> set[int]:
        """Every living process that was started from here."""
        mark = f"MARKER={self.marker}".encode()
        found = set()
        for place in Path("/proc").iterdir():
            with suppress(OSError):
                if place.name.isdigit() and mark in (place / "environ").read_bytes().split(b"\0"):
                    found.add(int(place.name))
        return found

    def kill(self) -> set[int]:
        """Kill whatever still lives; returns what did."""
        found = self.processes()
        for pid in found:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return found


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return install(tmp_path_factory.mktemp("provider"))


@pytest.fixture
def root(settings: Path, tmp_path: Path) -> Iterator[Root]:
    """An initialised root module; whatever a test does, no process of it lives on, and none did before its end."""
    made = Root(directory=tmp_path, settings=settings)
    made.write("")
    try:
        made.init()
        yield made
    finally:
        left = made.processes()
        wait_for(lambda: not made.kill())
    assert not left


def actions(plan: dict[str, Any], key: str = "resource_changes") -> dict[str, list[str]]:
    return {change["address"]: change["change"]["actions"] for change in plan.get(key, [])}


class TestInstallation:
    def test_init_locks_it_with_a_hash_and_accepts_its_own_lock_file(self, root):
        lock = root.code / ".terraform.lock.hcl"
        lock.unlink()
        shutil.rmtree(root.code / ".terraform")
        root.run("init", "-input=false")
        assert re.search(rb'"h1:[A-Za-z0-9+/]{43}="', lock.read_bytes())
        written = lock.read_bytes()
        root.run("init", "-input=false", "-lockfile=readonly")
        assert lock.read_bytes() == written == lock_file(root.settings)

    def test_every_mirror_of_it_has_the_same_hash(self, settings, tmp_path):
        assert lock_file(install(tmp_path / "another")) == lock_file(settings)

    def test_installing_it_again_changes_nothing_that_is_locked(self, root):
        install(root.settings.parent)
        root.run("init", "-input=false", "-lockfile=readonly")

    def test_its_starts_are_counted(self, root):
        before = starts(root.settings.parent)
        root.run("providers", "schema", "-json")
        assert starts(root.settings.parent) == before + 1

    def test_without_a_root_it_says_so(self, root):
        (root.code / "main.tf").write_text(root.code.joinpath("main.tf").read_text().replace("root =", "# root ="))
        (root.code / "data.tf").write_text('data "fakecloud_image" "base" {\n  name = "base"\n}\n')
        assert "FAKECLOUD_ROOT" in root.run("plan", "-input=false", expect=1)


class TestObjects:
    @pytest.mark.slow
    def test_a_server_is_created_updated_replaced_and_destroyed_outside_the_state(self, root):
        root.apply('resource "fakecloud_server" "web" {\n  name = "web"\n  size = 1\n  tags = { a = "b" }\n}\n')
        (made,) = root.cloud.named("web")
        assert made == {
            "id": made["id"],
            "ip": made["ip"],
            "name": "web",
            "size": 1,
            "tags": {"a": "b"},
            "password": None,
            "region": "north",
        }
        assert root.state()["fakecloud_server.web"] == made | {"status": None}

        root.apply('resource "fakecloud_server" "web" {\n  name = "web"\n  size = 2\n}\n')
        assert root.cloud.named("web") == [made | {"size": 2, "tags": None}]

        root.apply('resource "fakecloud_server" "web" {\n  name = "web"\n  region = "south"\n}\n')
        (replaced,) = root.cloud.named("web")
        assert (replaced["id"] == made["id"], replaced["region"]) == (False, "south")

        root.apply("")
        assert root.cloud.objects() == root.state() == {}
        verbs = [(entry["verb"], entry["type"], entry["id"], entry["name"]) for entry in root.cloud.log()]
        assert verbs == [
            ("create", "fakecloud_server", made["id"], "web"),
            ("update", "fakecloud_server", made["id"], "web"),
            ("delete", "fakecloud_server", made["id"], "web"),
            ("create", "fakecloud_server", replaced["id"], "web"),
            ("delete", "fakecloud_server", replaced["id"], "web"),
        ]

    def test_a_record_takes_its_ttl_from_the_cloud_and_its_value_from_an_image(self, root):
        root.cloud.write("image", "base", {"version": "12"})
        root.apply(
            'data "fakecloud_image" "base" {\n  name = "base"\n}\n'
            'resource "fakecloud_record" "www" {\n  name = "www"\n  value = data.fakecloud_image.base.version\n}\n'
        )
        ((id_, made),) = root.cloud.objects("record").items()
        assert made == {"id": id_, "name": "www", "ttl": 300, "value": "12"}

    def test_two_objects_of_one_name_are_two_files(self, root):
        root.apply(WEB + WEB.replace('"web" {', '"again" {'))
        assert len(root.cloud.named("web")) == 2
        assert len(root.cloud.log("create", "web")) == 2

    def test_an_image_that_is_not_there_is_an_error(self, root):
        root.write('data "fakecloud_image" "base" {\n  name = "base"\n}\n')
        assert "there is no image base" in root.run("plan", "-input=false", expect=1)

    def test_an_object_that_was_there_before_is_imported_by_its_id(self, root):
        root.cloud.write("server", "server-00beef", {"id": "server-00beef", "name": "web", "region": "north"})
        root.apply('import {\n  to = fakecloud_server.web\n  id = "server-00beef"\n}\n' + WEB)
        assert root.state()["fakecloud_server.web"]["id"] == "server-00beef"
        assert root.cloud.log("create") == []

    def test_an_import_of_nothing_is_an_error(self, root):
        root.write('import {\n  to = fakecloud_server.web\n  id = "nothing"\n}\n' + WEB)
        assert "there is no nothing" in root.run("plan", "-input=false", "-no-color", expect=1)

    def test_a_password_is_marked_as_sensitive(self, root):
        root.write('resource "fakecloud_server" "web" {\n  name = "web"\n  password = "hunter2"\n}\n')
        plan = root.plan()
        assert plan["resource_changes"][0]["change"]["after_sensitive"] == {"password": True}
        assert plan["resource_changes"][0]["change"]["after"]["password"] == "hunter2"
        root.run("apply", "plan")
        assert "hunter2" not in root.run("show")
        values = json.loads(root.run("show", "-json"))["values"]["root_module"]["resources"][0]
        assert values["sensitive_values"] == {"password": True}


class TestDrift:
    @pytest.mark.slow
    def test_a_hand_that_edits_and_a_hand_that_deletes_are_seen_by_the_next_plan(self, root):
        root.apply(WEB)
        assert root.plan(expect=0)["resource_changes"][0]["change"]["actions"] == ["no-op"]
        (made,) = root.cloud.named("web")

        root.cloud.edit("server", made["id"], size=9)
        edited = root.plan()
        assert actions(edited) == actions(edited, "resource_drift") == {"fakecloud_server.web": ["update"]}

        root.cloud.edit("server", made["id"], size=None, region="south")
        assert actions(root.plan()) == {"fakecloud_server.web": ["delete", "create"]}

        root.cloud.edit("server", made["id"], region="north", ip="10.0.0.1")
        computed = root.plan(expect=0)
        assert actions(computed) == {"fakecloud_server.web": ["no-op"]}
        assert actions(computed, "resource_drift") == {"fakecloud_server.web": ["update"]}

        assert root.cloud.remove("server", made["id"])
        deleted = root.plan()
        assert actions(deleted, "resource_drift") == {"fakecloud_server.web": ["delete"]}
        assert actions(deleted) == {"fakecloud_server.web": ["create"]}


class TestFaults:
    def test_a_create_that_fails_leaves_nothing_behind(self, root):
        root.cloud.misbehave(fail=["create:web"])
        assert "create fakecloud_server web: failed" in root.apply(WEB, expect=1)
        assert root.cloud.objects() == root.state() == {}

    def test_a_create_that_fails_after_it_wrote_leaves_a_tainted_object(self, root):
        root.cloud.misbehave(fail_after_write=["create"])
        root.apply(WEB, expect=1)
        (made,) = root.cloud.named("web")
        assert root.state()["fakecloud_server.web"] == made | {"status": "tainted"}
        assert actions(root.plan()) == {"fakecloud_server.web": ["delete", "create"]}

    @pytest.mark.slow
    def test_an_update_and_a_delete_that_fail_leave_what_was(self, root):
        root.apply(WEB)
        (made,) = root.cloud.named("web")
        root.cloud.misbehave(fail=["update:web", "delete"])
        root.apply(WEB.replace("{", "{\n  size = 3", 1), expect=1)
        root.apply("", expect=1)
        assert root.cloud.named("web") == [made]
        assert root.state()["fakecloud_server.web"] == made | {"status": None}

    def test_an_update_of_what_is_gone_is_an_error(self, root):
        root.apply(WEB)
        root.write(WEB.replace("{", "{\n  size = 3", 1))
        root.plan()
        root.cloud.remove("server", root.cloud.named("web")[0]["id"])
        assert "update fakecloud_server web: there is no" in root.run("apply", "-no-color", "plan", expect=1)

    def test_a_throttled_cloud_refuses_so_many_calls_and_no_more(self, root):
        root.cloud.misbehave(throttle=1)
        root.write(WEB + 'resource "fakecloud_record" "www" {\n  name = "www"\n  value = "1"\n}\n')
        assert root.apply(expect=1).count("throttled") == 1
        assert len(root.state()) == 1
        assert root.cloud.control() == {"throttle": 0}
        root.apply()
        assert len(root.state()) == 2

    def test_a_delay_of_a_name_comes_before_that_of_all(self, root):
        root.cloud.misbehave(delay_seconds={"create": 30, "create:web": 0.4})
        begun = time.time()
        root.apply(WEB)
        assert begun + 0.2 < root.cloud.log("create", "web")[0]["at"] < begun + 15


class TestInterruptions:
    @pytest.mark.slow
    def test_an_interrupted_terraform_waits_for_ten_slow_calls_and_keeps_what_they_made(self, root):
        """A terminal sends SIGINT to the provider too, and Terraform sends it StopProvider while all calls run."""
        root.cloud.misbehave(delay_seconds={"create": 2})
        root.write('resource "fakecloud_server" "web" {\n  count = 10\n  name = "web${count.index}"\n}\n')
        apply = root.begin_apply()
        wait_for(lambda: len(root.cloud.calls("create")) == 10)
        os.killpg(apply.pid, signal.SIGINT)
        assert apply.wait(TIMEOUT_SECONDS) == 1
        assert "Gracefully shutting down" in root.output.read_text()
        assert "did not respond" not in root.output.read_text()
        (state,) = json.loads((root.code / "terraform.tfstate").read_text())["resources"]
        assert {each["attributes"]["id"] for each in state["instances"]} == set(root.cloud.objects())
        assert len(root.cloud.objects()) == 10

    def test_an_interrupt_of_the_provider_alone_is_nothing_to_it(self, root):
        root.cloud.misbehave(delay_seconds={"create:web": 1})
        root.write(
            WEB
            + WEB.replace('"web" {', '"then" {\n  depends_on = [fakecloud_server.web]').replace('= "web"', '= "then"')
        )
        apply = root.begin_apply()
        os.kill(root.cloud.calls("create")[0]["pid"], signal.SIGINT)
        assert apply.wait(TIMEOUT_SECONDS) == 0, root.output.read_text()
        assert len(root.cloud.named("then")) == 1

    def test_a_second_interrupt_ends_terraform_and_the_call_with_it(self, root):
        root.cloud.misbehave(delay_seconds={"create": 30}, write_at="start")
        root.write(WEB)
        apply = root.begin_apply()
        wait_for(root.cloud.objects)
        apply.send_signal(signal.SIGINT)
        wait_for(lambda: "Gracefully shutting down" in root.output.read_text())
        apply.send_signal(signal.SIGINT)
        assert apply.wait(TIMEOUT_SECONDS) == 1
        wait_for(lambda: not root.processes())
        assert (len(root.cloud.objects()), root.state()) == (1, {})

    @pytest.mark.slow
    def test_when_terraform_is_killed_the_provider_goes_on_and_makes_an_object_that_no_state_knows(self, root):
        root.cloud.misbehave(delay_seconds={"create": 2}, write_at="end")
        root.write(WEB)
        apply = root.begin_apply()
        apply.kill()
        apply.wait()
        assert root.cloud.objects() == {}
        (entry,) = wait_for(lambda: root.cloud.log("create", "web"))
        time.sleep(0.3)  # its call is over, and it stays
        assert root.processes() == {entry["pid"]}
        assert (root.state(), set(root.cloud.objects())) == ({}, {entry["id"]})
        os.killpg(apply.pid, signal.SIGKILL)
        wait_for(lambda: not root.processes())

    @pytest.mark.parametrize(("write_at", "exists"), [("start", True), ("end", False)])
    def test_a_kill_of_the_whole_group_finds_a_slow_object_made_or_not(self, root, write_at, exists):
        root.cloud.misbehave(delay_seconds={"create": 30}, write_at=write_at)
        root.write(WEB)
        apply = root.begin_apply()
        if exists:
            wait_for(root.cloud.objects)
        os.killpg(apply.pid, signal.SIGKILL)
        apply.wait()
        wait_for(lambda: not root.processes())
        assert bool(root.cloud.objects()) is exists
        assert root.state() == {}
