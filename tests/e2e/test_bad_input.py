"""What people get wrong: each is refused with a word that helps, and nothing is applied."""

import shutil

import pytest

from tests.e2e.sandbox import RESOURCE, Sandbox, environment

BROKEN = 'resource "terraform_data" "a" {\n  input = nonsense()\n}\n'


def test_a_directory_outside_any_repository(sandbox: Sandbox) -> None:
    result = sandbox.sync(cwd=sandbox.home, expect=64)
    assert result.errors == ["git.not_a_repository"]
    assert str(sandbox.home) in result.messages


def test_a_branch_without_any_commit(sandbox: Sandbox) -> None:
    shutil.rmtree(sandbox.origin)
    sandbox.git("remote", "remove", "origin")
    result = sandbox.sync(expect=64)
    assert result.errors == ["git.unborn"]


def test_a_branch_without_any_commit_here_and_at_its_remote(sandbox: Sandbox) -> None:
    result = sandbox.sync()
    assert result.code in (1, 64)
    assert result.errors in (["git.unborn"], ["git.fetch"])
    assert "main" in result.messages


def test_a_branch_that_is_mapped_to_nothing_names_those_that_are(sandbox: Sandbox) -> None:
    sandbox.stacks(
        environment("dev")
        + environment("preview", branch="preview/*", workspace='"p-${branch_slug}"', roots='["dev"]'),
        {"dev/main.tf": RESOURCE},
    )
    sandbox.git("checkout", "-q", "-b", "feature")
    sandbox.commit()
    result = sandbox.sync(expect=78)
    assert result.errors == ["config.branch_unmapped"]
    assert "'feature'" in result.messages
    assert "mapped branches: main, preview/*" in result.messages


def test_a_branch_that_does_not_exist(sandbox: Sandbox) -> None:
    sandbox.one_stack()
    result = sandbox.sync("--branch", "nowhere", expect=64)
    assert result.errors == ["git.no_branch"]
    assert "nowhere" in result.messages
    assert "main" in result.messages


def test_no_configuration_at_all(sandbox: Sandbox) -> None:
    sandbox.commit({"dev/main.tf": RESOURCE})
    result = sandbox.sync(expect=78)
    assert result.errors == ["config.missing"]
    assert "tfops init" in result.messages


def test_a_configuration_that_is_not_committed(sandbox: Sandbox) -> None:
    sandbox.commit({"dev/main.tf": RESOURCE})
    sandbox.write({"tfops.hcl": sandbox.config(environment("dev"))})
    result = sandbox.sync(expect=78)
    assert result.errors == ["config.missing"]
    assert "git add tfops.hcl" in result.messages


def test_a_configuration_that_is_not_hcl(sandbox: Sandbox) -> None:
    sandbox.stacks('environment "dev" {\n  branch = = "main"\n}\n', {"dev/main.tf": RESOURCE})
    result = sandbox.sync(expect=78)
    assert "tfops.hcl:" in result.messages
    line = sandbox.config("").count("\n") + 1
    assert f"tfops.hcl:{line}:" in result.messages, result


def test_a_configuration_that_is_not_even_text(sandbox: Sandbox) -> None:
    sandbox.commit({"tfops.hcl": b"\xff\xfe\x00binary", "dev/main.tf": RESOURCE})
    assert sandbox.sync(expect=78).errors


def test_all_faults_of_a_configuration_at_once_each_with_its_line_and_what_was_meant(sandbox: Sandbox) -> None:
    text = sandbox.config(
        'environment "dev" {\n  brnch = "main"\n  roots = "dev"\n  workspace = "a"\n  workspace = "b"\n'
        '  aproval { count = 0 }\n}\nstak "dev" {}\n'
    )
    sandbox.commit({"tfops.hcl": text, "dev/main.tf": RESOURCE})
    result = sandbox.sync(expect=78)
    assert len(result.errors) >= 5, result
    for line, word in (("brnch", "branch"), ("aproval", "approval"), ("stak ", "stack")):
        number = next(at for at, content in enumerate(text.splitlines(), 1) if line in content)
        message = next(e for e in result.json["errors"] if f"tfops.hcl:{number}:" in e["message"])
        assert f'did you mean "{word}"' in (message["message"] + message["hint"]).lower(), result
        assert message["code"] in ("config.unknown_key", "config.unknown_block")
    assert any("workspace" in error["message"] and "twice" in error["message"] for error in result.json["errors"])
    assert any("roots" in error["message"] for error in result.json["errors"])


@pytest.mark.parametrize("key", ['keep = "30d"', 'ttl = "72h"'])
def test_a_gate_that_this_version_does_not_keep_is_refused(sandbox: Sandbox, key: str) -> None:
    block = environment("prod").rstrip("}\n") + "}\n  " + key + "\n}\n"
    sandbox.stacks(block, {"prod/main.tf": RESOURCE})
    result = sandbox.sync(expect=78)
    assert result.errors == ["config.not_enforced"]


def test_a_root_without_terraform_files(sandbox: Sandbox) -> None:
    sandbox.stacks(environment("dev"), {"dev/README.md": "soon"})
    result = sandbox.sync(expect=78)
    assert result.errors == ["config.root_without_code"]
    assert 'environment "dev": the root' in result.messages


def test_a_var_file_that_is_not_there(sandbox: Sandbox) -> None:
    sandbox.stacks(environment("dev", var_files='["dev.tfvars"]'), {"dev/main.tf": RESOURCE})
    result = sandbox.sync(expect=78)
    assert result.errors == ["config.var_file_missing"]
    assert "dev/dev.tfvars" in result.messages


def test_a_terraform_error_in_one_stack_of_three_stops_only_those_behind_it(sandbox: Sandbox) -> None:
    sandbox.stacks(
        environment("one") + environment("two") + environment("three") + environment("behind", after='["two"]'),
        {"one/main.tf": RESOURCE, "two/main.tf": BROKEN, "three/main.tf": RESOURCE, "behind/main.tf": RESOURCE},
    )
    result = sandbox.sync(expect=1)
    assert result.outcomes == {"one": "applied", "two": "failed", "three": "applied", "behind": "skipped"}
    assert result["behind"]["terraform_runs"] == 0
    assert result.errors == ["terraform.plan"]
    assert result.json["errors"][0]["stack"] == "two"
    assert "nonsense" in result.messages
    assert "two/main.tf:2" in result.messages or "main.tf:2" in result.messages


def test_hcl_that_nobody_can_read_names_file_and_line(sandbox: Sandbox) -> None:
    sandbox.one_stack('resource "terraform_data" "a" {\n  input = "one"\n')
    result = sandbox.sync()
    assert result.code in (1, 78)
    assert "dev/main.tf:" in result.messages, result


def test_a_plan_that_errors_half_way_is_not_kept(sandbox: Sandbox) -> None:
    sandbox.one_stack(
        RESOURCE + 'resource "terraform_data" "b" {\n  input = terraform_data.a.input\n  lifecycle {\n'
        '    precondition {\n      condition = terraform_data.a.input == "two"\n'
        '      error_message = "only two will do"\n    }\n  }\n}\n'
    )
    result = sandbox.sync(expect=1)
    assert result.outcomes == {"dev": "failed"}
    assert result.errors == ["terraform.plan"]
    assert "only two will do" in result.messages
    assert sandbox.plans() == []
    assert not sandbox.state_file().exists()


def test_an_apply_that_fails_is_recorded_and_the_next_run_goes_on_from_there(sandbox: Sandbox) -> None:
    code = RESOURCE + (
        'resource "terraform_data" "b" {\n  depends_on = [terraform_data.a]\n'
        '  provisioner "local-exec" { command = "echo not today >&2; exit 3" }\n}\n'
    )
    sandbox.one_stack(code)
    result = sandbox.sync(expect=1)
    assert result.errors == ["terraform.apply"]
    assert "exit status 3" in result.messages, result
    assert [(d["result"], d["serial_after"] > 0) for d in sandbox.history()] == [("failed", True)]
    first = sandbox.resources()["terraform_data.a"]
    sandbox.commit({"dev/main.tf": code.replace("exit 3", "exit 0")})
    sandbox.sync(expect=0)
    assert sandbox.resources()["terraform_data.a"] == first


def test_a_provider_that_nobody_has(sandbox: Sandbox) -> None:
    sandbox.one_stack(
        'terraform {\n  required_providers {\n    ghost = { source = "127.0.0.1/nobody/ghost" }\n  }\n}\n'
        'resource "ghost_thing" "a" {}\n'
    )
    result = sandbox.sync(expect=1)
    assert result.errors[0].startswith("terraform."), result
    assert "ghost" in result.messages


def test_no_terraform_anywhere(sandbox: Sandbox) -> None:
    from tfops.adapters.terraform import embedded_library

    if embedded_library() is not None:
        pytest.skip("the embedded Terraform is installed here")
    sandbox.one_stack()
    lonely = sandbox.directory / "only-git"
    lonely.mkdir()
    (lonely / "git").symlink_to(shutil.which("git") or "")
    result = sandbox.sync(env={"PATH": str(lonely)}, expect=1)
    assert result.errors == ["terraform.missing"]
    assert "tfops-cli[embedded]" in result.messages
    assert not sandbox.state_file().exists()


def test_a_configured_binary_that_is_missing(sandbox: Sandbox) -> None:
    sandbox.stacks(environment("dev"), {"dev/main.tf": RESOURCE}, extra='terraform {\n  binary = "terraform9"\n}\n')
    result = sandbox.sync(expect=1)
    assert result.errors == ["terraform.missing"]
    assert "terraform9" in result.messages


def test_a_terraform_that_is_none(sandbox: Sandbox) -> None:
    sandbox.one_stack()
    fake = sandbox.bin / "terraform"
    fake.write_text("#!/bin/sh\necho no such thing >&2\nexit 3\n")
    result = sandbox.sync(expect=1)
    assert result.errors == ["terraform.unusable"]
    assert "no such thing" in result.messages


def test_a_version_that_the_configuration_does_not_allow(sandbox: Sandbox) -> None:
    sandbox.stacks(environment("dev"), {"dev/main.tf": RESOURCE}, extra='terraform {\n  version = "~> 0.12"\n}\n')
    result = sandbox.sync()
    assert result.code in (1, 78)
    assert result.errors == ["terraform.version"]
    assert "~> 0.12" in result.messages
    assert sandbox.plans() == []


def test_a_version_that_the_code_does_not_allow(sandbox: Sandbox) -> None:
    sandbox.one_stack('terraform {\n  required_version = ">= 99"\n}\n' + RESOURCE)
    result = sandbox.sync(expect=78)
    assert result.errors == ["terraform.version"]
    assert ">= 99" in result.messages
    assert [start for start in sandbox.starts() if "version" not in start] == []


def test_two_stacks_with_one_state_are_refused_by_both_names(sandbox: Sandbox) -> None:
    path = sandbox.directory / "one.tfstate"
    code = f'terraform {{\n  backend "local" {{\n    path = "{path}"\n  }}\n}}\n' + RESOURCE
    sandbox.stacks(environment("blue") + environment("green"), {"blue/main.tf": code, "green/main.tf": code})
    result = sandbox.sync(expect=78)
    assert result.errors == ["state.shared"]
    assert "blue and green" in result.messages
    assert not path.exists()


def test_a_relative_local_backend_is_refused_with_the_way_out(sandbox: Sandbox) -> None:
    sandbox.one_stack('terraform {\n  backend "local" {\n    path = "here.tfstate"\n  }\n}\n' + RESOURCE)
    result = sandbox.sync(expect=78)
    assert result.errors == ["state.relative_path"]
    assert "'here.tfstate'" in result.messages


def test_a_committed_state_is_refused(sandbox: Sandbox) -> None:
    sandbox.one_stack()
    sandbox.commit({"dev/terraform.tfstate": '{"version": 4}'})
    result = sandbox.sync(expect=78)
    assert result.errors == ["state.stray"]
    assert "dev/terraform.tfstate" in result.messages


@pytest.mark.parametrize(
    ("environments", "extra"),
    [
        (environment("a", after='["c"]') + environment("b", after='["a"]') + environment("c", after='["b"]'), ""),
        (
            environment("a") + environment("b") + environment("c"),
            'stack "a" { after = ["c"] }\nstack "b" { after = ["a"] }\nstack "c" { after = ["b"] }\n',
        ),
        (
            environment("a", after='["b"]') + environment("b") + environment("c"),
            'stack "b" { after = ["c"] }\nstack "c" { after = ["a"] }\n',
        ),
    ],
    ids=["environments", "stacks", "mixed"],
)
def test_an_order_that_goes_in_a_circle_is_refused_with_its_path(
    sandbox: Sandbox, environments: str, extra: str
) -> None:
    sandbox.stacks(environments, {f"{name}/main.tf": RESOURCE for name in "abc"}, extra=extra)
    result = sandbox.sync(expect=78)
    text = result.messages.replace('"', "")
    circles = ["a after c after b after a", "b after a after c after b", "c after b after a after c"]
    arrows = ["a → b → c → a", "b → c → a → b", "c → a → b → c", "a → c → b → a", "b → a → c → b", "c → b → a → c"]
    assert any(path in text for path in circles + arrows), result


def test_a_symlink_that_leaves_the_repository_is_refused(sandbox: Sandbox) -> None:
    sandbox.write({"dev/main.tf": RESOURCE, "tfops.hcl": sandbox.config(environment("dev"))})
    (sandbox.clone / "dev" / "secret.txt").symlink_to("/etc/hostname")
    sandbox.commit()
    result = sandbox.sync(expect=78)
    assert result.errors == ["git.symlink_escapes"]
    assert "dev/secret.txt" in result.messages


def test_an_unknown_stack_is_answered_with_the_nearest(sandbox: Sandbox) -> None:
    sandbox.stacks(environment("staging"), {"staging/main.tf": RESOURCE})
    result = sandbox.sync("stagin", expect=64)
    assert "did you mean staging" in result.messages


def test_a_public_key_that_is_not_committed(sandbox: Sandbox) -> None:
    sandbox.one_stack()
    sandbox.commit({"keys/ci.pub": None})
    result = sandbox.sync(expect=78)
    assert result.errors == ["config.public_key"]
    assert "keys/ci.pub" in result.messages


def test_a_signing_key_that_nobody_trusts(sandbox: Sandbox) -> None:
    from tfops.adapters import keys

    sandbox.one_stack()
    sandbox.key.unlink()
    keys.generate(sandbox.key, passphrase=None)
    result = sandbox.sync(expect=78)
    assert result.errors == ["key.not_trusted"]
    assert not sandbox.state_file().exists()


def test_a_signing_key_that_is_missing_or_open_to_others(sandbox: Sandbox) -> None:
    sandbox.one_stack()
    sandbox.key.chmod(0o644)
    assert sandbox.sync(expect=1).errors == ["key.open"]
    sandbox.key.unlink()
    assert sandbox.sync(expect=1).errors == ["key.missing"]
    assert not sandbox.state_file().exists()
