"""The other commands: init, stacks, history, doctor, inspect, explain, verify."""

import json
import os
import subprocess

import pytest

from tests.e2e.conftest import MakeSandbox
from tests.e2e.sandbox import RESOURCE, TFOPS, Sandbox, environment


def test_init_in_a_fresh_repository_and_its_hint_pasted_end_in_a_deployment(bare_sandbox: Sandbox) -> None:
    sandbox = bare_sandbox
    sandbox.write({"environments/dev/main.tf": RESOURCE, "environments/prod/main.tf": RESOURCE})
    sandbox.git("add", "environments")
    sandbox.git("commit", "-qm", "code")
    sandbox.git("push", "-q", "origin", "HEAD")
    made = sandbox.tfops("init")
    assert made.code == 0
    assert "environments dev, prod" in made.out
    hint = next(line for line in made.out.splitlines() if line.startswith("next: ")).removeprefix("next: ")
    pasted = subprocess.run(
        ["sh", "-e", "-c", hint],
        cwd=sandbox.clone,
        env={**sandbox.env, "PATH": f"{TFOPS.parent}:{sandbox.env['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert pasted.returncode == 0, pasted.stdout + pasted.stderr
    assert "2 applied" in pasted.stdout
    assert sandbox.git("status", "--porcelain") == ""


def test_init_finds_root_modules_anywhere_and_proposes_no_sync_that_would_fail(bare_sandbox: Sandbox) -> None:
    sandbox = bare_sandbox
    backend = 'terraform {\n  backend "s3" {}\n}\n'
    sandbox.write(
        {
            "live/prod/main.tf": backend + 'resource "aws_s3_bucket" "a" {}\n',
            "live/lab/main.tf": RESOURCE,
            "live/lab/lab.tfvars": "",
            "live/lab/terraform.tfstate": '{"version": 4}',
            "shared/main.tf": RESOURCE,
            "examples/all/main.tf": backend,
        }
    )
    made = sandbox.tfops("init")
    assert (made.code, "environments lab, prod, as found in live/lab, live/prod" in made.out) == (0, True), made
    assert "root modules: shared" in made.out
    assert "live/lab: terraform.tfstate lies beside the code" in made.out
    assert "live/prod: it uses providers, and has no .terraform.lock.hcl" in made.out
    (hint,) = (line for line in made.out.splitlines() if line.startswith("next: "))
    assert "tfops sync" not in hint and "live/prod" in hint, "code that is not in Git yet is to be committed, too"


def test_init_without_any_code_does_not_propose_to_sync_it(bare_sandbox: Sandbox) -> None:
    made = bare_sandbox.json("init")
    assert made.json["faults"] == ["there is no Terraform code to apply yet"]


def test_init_twice_changes_nothing_the_second_time(bare_sandbox: Sandbox) -> None:
    sandbox = bare_sandbox
    sandbox.commit({"main.tf": RESOURCE})
    first = sandbox.json("init")
    assert first.code == 0
    before = {
        path: path.read_bytes() for path in sandbox.directory.rglob("*") if path.is_file() and ".git/" not in str(path)
    }
    second = sandbox.json("init")
    assert second.code == 0
    assert second.json["made"] == []
    assert "everything was there already" in sandbox.tfops("init").out
    assert {path: path.read_bytes() for path in before} == before
    key = sandbox.home / ".config" / "tfops" / "keys"
    (file,) = key.iterdir()
    assert file.stat().st_mode & 0o077 == 0
    assert str(file) == first.json["key"]


def test_init_completes_a_configuration_that_is_there_and_keeps_its_words(bare_sandbox: Sandbox) -> None:
    sandbox = bare_sandbox
    text = "# ours\n" + environment("dev") + "# the end\n"
    sandbox.commit({"tfops.hcl": text, "dev/main.tf": RESOURCE})
    assert sandbox.json("init").code == 0
    assert text.rstrip() in (sandbox.clone / "tfops.hcl").read_text()
    sandbox.commit()
    assert sandbox.sync(expect=0).outcomes == {"dev": "applied"}


def test_init_keeps_what_gitignore_already_says(bare_sandbox: Sandbox) -> None:
    sandbox = bare_sandbox
    sandbox.commit({"main.tf": RESOURCE, ".gitignore": "*.log\n.terraform/"})
    assert sandbox.json("init").code == 0
    lines = (sandbox.clone / ".gitignore").read_text().splitlines()
    assert lines[:2] == ["*.log", ".terraform/"]
    assert lines.count(".terraform/") == 1
    assert "*.tfplan" in lines


def test_init_puts_the_store_where_it_is_told(bare_sandbox: Sandbox) -> None:
    sandbox = bare_sandbox
    sandbox.commit({"main.tf": RESOURCE})
    place = sandbox.directory / "my store"
    assert sandbox.json("init", "--store", place).json["store"] == str(place)
    sandbox.commit()
    assert sandbox.sync(expect=0).outcomes == {"main": "applied"}
    assert (place / "store.json").exists()


def test_init_for_a_second_machine_trusts_both(bare_sandbox: Sandbox) -> None:
    sandbox = bare_sandbox
    sandbox.commit({"main.tf": RESOURCE})
    store = sandbox.directory / "shared-store"
    sandbox.json("init", "--store", store)
    sandbox.commit()
    sandbox.sync(expect=0)
    other_home = sandbox.directory / "other-home"
    other_home.mkdir()
    (other_home / ".gitconfig").write_text((sandbox.home / ".gitconfig").read_text())
    other = {"HOME": str(other_home), "XDG_CACHE_HOME": None, "XDG_STATE_HOME": None, "XDG_CONFIG_HOME": None}
    assert sandbox.sync("--replan", env=other).code == 1  # its key is missing
    refused = sandbox.json("init", env=other)
    assert (refused.code, refused.errors) == (78, ["key.not_trusted"])
    assert "--runner NAME" in refused.messages
    assert sandbox.json("init", "--runner", "build-2", env=other).code == 0
    sandbox.commit({"main.tf": RESOURCE.replace("one", "two")})
    early = sandbox.sync(env=other, expect=78)
    assert early.errors == ["key.not_trusted"]
    assert "the rules in force do not name it" in early.messages
    sandbox.sync(expect=0)
    assert 'runner "build-2" is new' in sandbox.tfops("trust").out
    sandbox.commit({"main.tf": RESOURCE.replace("one", "three")})
    sandbox.sync(env=other, expect=0)
    assert [deployment["by"] for deployment in sandbox.history("main")] == ["build-2", "local", "local"]


def test_init_outside_a_repository_says_so(bare_sandbox: Sandbox) -> None:
    result = bare_sandbox.json("init", cwd=bare_sandbox.home)
    assert (result.code, result.errors) == (64, ["git.not_a_repository"])
    assert not (bare_sandbox.home / "tfops.hcl").exists()


@pytest.fixture(scope="module")
def world(make_sandbox: MakeSandbox) -> Sandbox:
    """dev applied twice; prod planned."""
    sandbox = make_sandbox()
    sandbox.stacks(environment("dev"), {"dev/main.tf": RESOURCE})
    sandbox.sync(expect=0)
    replaced = RESOURCE.replace("one", "two").replace("}\n", '  triggers_replace = "2"\n}\n')
    sandbox.commit({"dev/main.tf": replaced})
    sandbox.sync(expect=0)
    sandbox.stacks(
        environment("dev") + environment("prod", after='["dev"]', workspace='"live"'),
        {"prod/main.tf": RESOURCE, "stray/main.tf": 'terraform {\n  backend "s3" {}\n}\n'},
    )
    sandbox.json("plan", "prod", "--out", sandbox.directory / "out")
    return sandbox


def test_stacks_shows_what_maps_to_what(world: Sandbox) -> None:
    world.starts()
    result = world.json("stacks")
    assert result.code == 0
    assert (
        result["prod"].items()
        >= {
            "environment": "prod",
            "root": "prod",
            "workspace": "live",
            "branch": "main",
            "after": ["dev"],
        }.items()
    )
    assert result.json["stray_backends"] == ["stray"]
    text = world.tfops("stacks").out
    assert "warning: stray has a backend block" in text
    assert world.starts() == []


def test_history_shows_deployments_newest_first(world: Sandbox) -> None:
    newest, oldest = world.history()
    assert [newest["result"], oldest["result"]] == ["applied", "applied"]
    assert newest["serial_before"] == oldest["serial_after"]
    assert {r["action"] for r in newest["resources"]} == {"create", "delete"}
    assert newest["by"] == "ci"
    text = world.tfops("history", "dev").out
    assert text.index(newest["id"][:12]) < text.index(oldest["id"][:12])
    assert (newest["subject"], newest["author"]) == ("change", "Someone")
    assert f"main@{newest['revision'][:12]}  change (Someone)" in text
    assert f"runner ci on {newest['host']}, run {newest['run_id']}" in text.replace("\n", "")
    assert world.json("history", "nothing").code == 64


def test_history_before_anything_happened(sandbox: Sandbox) -> None:
    sandbox.one_stack()
    result = sandbox.tfops("history")
    assert result.code == 0
    assert "tfops sync" in result.out


def test_doctor_is_ready(world: Sandbox) -> None:
    result = world.json("doctor")
    assert result.code == 0
    assert {f["name"] for f in result.json["findings"] if f["ok"]} >= {
        "terraform",
        "store",
        "signing key",
        "store is writable",
    }
    assert world.tfops("doctor").out.rstrip().endswith("ready")


def test_doctor_names_everything_that_is_missing_at_once(sandbox: Sandbox) -> None:
    sandbox.one_stack()
    sandbox.key.unlink()
    (sandbox.store / "store.json").unlink()
    (sandbox.bin / "terraform").write_text("#!/bin/sh\nexit 1\n")
    result = sandbox.json("doctor")
    assert result.code == 5
    assert {"key.missing", "store.missing", "terraform.unusable"} <= set(result.errors)
    assert sandbox.tfops("doctor").out.rstrip().endswith("not ready, see below")


def test_doctor_in_a_repository_without_configuration(bare_sandbox: Sandbox) -> None:
    bare_sandbox.commit({"main.tf": RESOURCE})
    result = bare_sandbox.json("doctor")
    assert (result.code, result.errors) == (78, ["config.missing"])


def test_inspect_reads_an_id_a_directory_and_a_file(world: Sandbox) -> None:
    out = world.directory / "out" / "prod"
    plan_id = world.json("inspect", out)["prod"]["plan_id"]
    assert plan_id == world.plans("prod")[0].name
    for name in (plan_id, plan_id[:12], out):
        result = world.json("inspect", name)
        assert result["prod"]["verified"] is True
        assert result["prod"]["summary"]["create"] == 1
        assert "terraform_data.a" in world.tfops("inspect", name).out
    assert "terraform_data.a" in world.tfops("inspect", out / "plan.json").out


def test_inspect_as_markdown_is_fit_for_a_pull_request(world: Sandbox) -> None:
    out = world.directory / "out" / "prod"
    result = world.tfops("inspect", out, "--as", "markdown")
    assert result.code == 0
    assert "terraform_data.a" in result.out
    assert "```" in result.out
    assert "\x1b[" not in result.out


def test_verify_works_offline_with_a_key_outside_any_repository(world: Sandbox) -> None:
    out = world.directory / "out" / "prod"
    lonely = {"PATH": "/usr/bin:/bin", "HOME": "/nonexistent", "XDG_CACHE_HOME": None, "XDG_STATE_HOME": None}
    key = world.clone / "keys/ci.pub"
    result = world.json("verify", out, "--key", key, cwd=world.directory, env=lonely)
    assert (result.code, result.json["verified"]) == (0, True)
    assert all(check["ok"] for check in result.json["checks"])
    without = world.json("verify", out, cwd=world.directory)
    assert (without.code, without.errors) == (64, ["git.not_a_repository"])
    wrong = world.json("verify", out, "--key", out / "plan.txt", cwd=world.directory)
    assert (wrong.code, wrong.errors) == (64, ["usage.key"])


def test_verify_with_another_key_fails(world: Sandbox) -> None:
    from tfops.adapters import keys

    stranger = world.home / "stranger.pem"
    keys.generate(stranger, passphrase=None)
    signer = keys.load_signer(f"file:{stranger}", home=world.home, passphrase=None)
    public = world.home / "stranger.pub"
    public.write_bytes(keys.public_pem(signer))
    assert world.json("verify", world.directory / "out/prod", "--key", public).code == 5


PLAN = {
    "format_version": "1.2",
    "terraform_version": "1.11.4",
    "resource_changes": [
        {
            "address": "aws_db_instance.main",
            "mode": "managed",
            "type": "aws_db_instance",
            "name": "main",
            "provider_name": "registry.terraform.io/hashicorp/aws",
            "change": {"actions": ["delete"], "before": {"id": "db-1"}, "after": None, "after_unknown": {}},
        }
    ],
}


def test_explain_reads_a_file_and_stdin_without_any_repository(world: Sandbox) -> None:
    file = world.home / "plan.json"
    file.write_text(json.dumps(PLAN))
    for result in (
        world.json("explain", file, cwd=world.home),
        world.json("explain", "-", cwd=world.home, stdin=json.dumps(PLAN)),
    ):
        assert result.code == 0
        (entry,) = result.json["stacks"]
        assert entry["summary"]["delete"] == 1
        assert [danger["address"] for danger in entry["dangers"]] == ["aws_db_instance.main"]
    assert "aws_db_instance.main" in world.tfops("explain", file).out


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        "[]",
        "not json",
        '{"format_version": "9.0"}',
        '{"format_version": "1.0", "values": {}}',
        "null",
        "\x00",
    ],
)
def test_explain_says_what_a_document_is_where_it_is_no_plan(world: Sandbox, text: str) -> None:
    result = world.json("explain", "-", stdin=text)
    assert result.code == 64, result
    assert result.messages


def test_plan_shows_a_replacement_and_names_the_next_step(sandbox: Sandbox) -> None:
    sandbox.one_stack()
    sandbox.sync(expect=0)
    sandbox.commit({"dev/main.tf": RESOURCE.replace("}\n", '  triggers_replace = "2"\n}\n')})
    result = sandbox.tfops("plan")
    assert result.code == 2
    assert "±1" in result.out
    hint = next(line for line in result.out.splitlines() if line.startswith("next: "))
    command = hint.rpartition(", or ")[2].split()
    assert command[:2] == ["tfops", "sync"]
    assert sandbox.tfops(*command[1:]).code == 0
    assert sandbox.json("plan").code == 0


def test_an_older_revision_can_be_planned_to_look_at(sandbox: Sandbox) -> None:
    older = sandbox.one_stack()
    sandbox.commit({"dev/main.tf": RESOURCE.replace("one", "two")})
    sandbox.sync(expect=0)
    result = sandbox.json("plan", "--revision", older[:10])
    assert (result.code, result["dev"]["summary"]["update"]) == (2, 1)
    assert sandbox.json("plan", "--revision", "nonsense").errors == ["git.no_revision"]


def test_c_runs_elsewhere_and_config_reads_another_file(sandbox: Sandbox) -> None:
    sandbox.commit({"dev/main.tf": RESOURCE})
    file = sandbox.directory / "elsewhere.hcl"
    file.write_text(sandbox.config(environment("dev")))
    result = sandbox.json("-C", sandbox.clone, "--config", file, "sync", cwd=sandbox.home)
    assert result.outcomes == {"dev": "applied"}
    inside = sandbox.json("--config", file, "sync", cwd=sandbox.clone / "dev")
    assert inside.outcomes == {"dev": "converged"}


def test_help_answers_within_150_milliseconds_of_computing(world: Sandbox) -> None:
    before = os.times()
    for _ in range(3):
        assert world.tfops("--help").code == 0
    after = os.times()
    spent = (after.children_user - before.children_user) + (after.children_system - before.children_system)
    assert spent / 3 < 0.3  # with room for a busy machine and coverage; scripts/quickstart measures the real one
