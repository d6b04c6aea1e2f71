"""What the caller's environment and the branch's name may do to a run, and what they may not."""

import shutil

import pytest

from tests.e2e.conftest import MakeSandbox
from tests.e2e.sandbox import RESOURCE, Sandbox, environment
from tfops.adapters import keys

READS_A_VARIABLE = """
variable "size" {
  type    = string
  default = "small"
}
resource "terraform_data" "a" { input = var.size }
output "workspace" { value = terraform.workspace }
"""


@pytest.fixture(scope="module")
def deployed(make_sandbox: MakeSandbox) -> Sandbox:
    """One stack that was applied without anything special in the environment."""
    sandbox = make_sandbox()
    sandbox.one_stack(READS_A_VARIABLE)
    sandbox.sync(expect=0)
    return sandbox


@pytest.mark.parametrize(
    "variable",
    [
        {"TF_CLI_ARGS_plan": "-destroy"},
        {"TF_CLI_ARGS": "-no-such-option"},
        {"TF_CLI_ARGS_init": "-no-such-option"},
        {"TF_WORKSPACE": "elsewhere"},
        {"TF_DATA_DIR": "/nowhere/at/all"},
        {"TF_VAR_size": "huge"},
        {"TF_CLI_CONFIG_FILE": "/nowhere.tfrc"},
        {"TF_REATTACH_PROVIDERS": "{broken"},
        {"TF_LOG": "TRACE"},
        {"GIT_DIR": "/nowhere", "GIT_WORK_TREE": "/nowhere", "GIT_INDEX_FILE": "/nowhere/index"},
        {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "url./nowhere.insteadOf", "GIT_CONFIG_VALUE_0": "/"},
    ],
    ids=lambda variable: next(iter(variable)),
)
def test_a_variable_of_the_caller_has_no_effect(deployed: Sandbox, variable: dict[str, str]) -> None:
    before = deployed.state()
    shutil.rmtree(deployed.cache)  # so that init runs too
    result = deployed.sync("--replan", env=variable, expect=0)
    assert result.outcomes == {"dev": "converged"}
    assert result.runs == {"dev": 2}
    assert deployed.state() == before
    assert deployed.sync(expect=0).runs == {"dev": 0}  # and it is no input


def test_an_apply_under_all_of_them_is_an_apply_under_none(sandbox: Sandbox) -> None:
    sandbox.one_stack(READS_A_VARIABLE)
    everything = {"TF_CLI_ARGS_plan": "-destroy", "TF_CLI_ARGS_apply": "-destroy", "TF_WORKSPACE": "elsewhere"}
    result = sandbox.sync(env=everything | {"TF_VAR_size": "huge", "TF_DATA_DIR": "/nowhere"}, expect=0)
    assert result["dev"]["summary"]["create"] == 1
    assert sandbox.outputs() == {"workspace": "default"}
    assert [r["instances"][0]["attributes"]["input"]["value"] for r in sandbox.state()["resources"]] == ["small"]


def test_a_person_is_told_of_ignored_variables(sandbox: Sandbox) -> None:
    sandbox.one_stack()
    result = sandbox.tfops("sync", env={"TF_CLI_ARGS_plan": "-destroy", "TF_WORKSPACE": "elsewhere"})
    assert "TF_CLI_ARGS_plan, TF_WORKSPACE" in result.err


def test_a_variable_named_in_pass_env_is_an_input(sandbox: Sandbox) -> None:
    sandbox.one_stack(READS_A_VARIABLE, pass_env='["TF_VAR_size"]')
    sandbox.sync(env={"TF_VAR_size": "large"}, expect=0)
    assert sandbox.state()["resources"][0]["instances"][0]["attributes"]["input"]["value"] == "large"
    assert sandbox.sync(env={"TF_VAR_size": "large"}, expect=0).runs == {"dev": 0}
    changed = sandbox.sync(env={"TF_VAR_size": "larger"}, expect=0)
    assert changed.outcomes == {"dev": "applied"}
    assert any("TF_VAR_size" in reason for reason in changed["dev"]["reasons"]), changed
    assert "larger" not in changed.out


def test_terraform_sees_only_what_is_allowed(sandbox: Sandbox) -> None:
    seen = sandbox.directory / "seen"
    sandbox.one_stack(
        'resource "terraform_data" "a" {\n  provisioner "local-exec" { command = "env > ' + str(seen) + '" }\n}\n',
        pass_env='["WANTED"]',
    )
    sandbox.key.unlink()
    keys.generate(sandbox.key, passphrase="open sesame")
    signer = keys.load_signer(f"file:{sandbox.key}", home=sandbox.home, passphrase="open sesame")
    sandbox.commit({"keys/ci.pub": keys.public_pem(signer)})
    sandbox.sync(env={"WANTED": "yes", "UNWANTED": "no", "TFOPS_KEY_PASSPHRASE": "open sesame"}, expect=0)
    names = {line.partition("=")[0] for line in seen.read_text().splitlines()}
    assert {"WANTED", "HOME", "PATH"} <= names
    assert not names & {"UNWANTED", "TFOPS_KEY_PASSPHRASE", "XDG_STATE_HOME"}


ODD = (
    "a/very/deep/one",
    "größe/naïve-日本",
    "x" * 200,
    "100%/done#1,(really)!",
    "quote's-and-$(touch${IFS}pwned)",
    "HEAD2",
    ";touch${IFS}pwned",
    "refs/heads/odd",
)


@pytest.fixture(scope="module")
def any_branch(make_sandbox: MakeSandbox) -> Sandbox:
    """Every branch is an environment of its own."""
    sandbox = make_sandbox()
    block = environment("any", branch="**", roots='["dev"]', workspace='"w-${branch_slug}"')
    sandbox.stacks(block, {"dev/main.tf": RESOURCE})
    return sandbox


@pytest.mark.parametrize("branch", ODD)
def test_an_odd_branch_name_is_only_a_name(any_branch: Sandbox, branch: str) -> None:
    any_branch.git("push", "-q", "origin", f"HEAD:refs/heads/{branch}")
    named = ("--branch", f"refs/heads/{branch}")
    (stack,) = any_branch.sync(*named, expect=0).json["stacks"]
    assert stack["outcome"] == "applied"
    assert set(any_branch.sync(*named, expect=0).runs.values()) == {0}
    assert not list(any_branch.directory.rglob("pwned"))


@pytest.mark.parametrize(
    "branch", ["-rf", "--upload-pack=touch pwned", "feature/../../x", "a b", "@{-1}", "x:y", "*", "\\", "a.lock", "."]
)
def test_a_name_that_is_no_branch_is_refused(any_branch: Sandbox, branch: str) -> None:
    result = any_branch.sync(f"--branch={branch}")
    assert result.code in (1, 64, 78), result
    assert not list(any_branch.directory.rglob("pwned"))


def test_a_name_with_a_newline_is_refused_in_words(any_branch: Sandbox) -> None:
    assert any_branch.sync("--branch=a\nb").code in (1, 64)


def test_a_branch_that_begins_with_a_dash_is_only_a_name(any_branch: Sandbox) -> None:
    any_branch.git("update-ref", "refs/heads/-rf", "HEAD", cwd=any_branch.origin)
    (stack,) = any_branch.sync("--branch", "refs/heads/-rf", expect=0).json["stacks"]
    assert stack["stack"].startswith("any@rf-")


def test_each_preview_branch_has_a_workspace_and_a_state_of_its_own(sandbox: Sandbox) -> None:
    sandbox.stacks(
        environment("dev")
        + environment("preview", branch="preview/**", roots='["dev"]', workspace='"preview-${branch_slug}"'),
        {"dev/main.tf": RESOURCE},
    )
    names = []
    for branch in ("preview/a/b", "preview/a-b", "preview/A/b"):
        sandbox.git("push", "-q", "origin", f"HEAD:{branch}")
        result = sandbox.sync("--branch", branch, expect=0)
        (stack,) = result.json["stacks"]
        assert stack["outcome"] == "applied"
        assert stack["stack"].startswith("preview@preview-a-b-")
        (line,) = sandbox.json("stacks", "--branch", branch).json["stacks"]
        names.append((line["stack"], line["workspace"], line["state"]))
    assert [len(set(column)) for column in zip(*names, strict=True)] == [3, 3, 3]


def test_an_exact_branch_and_a_pattern_do_not_mix(sandbox: Sandbox) -> None:
    sandbox.stacks(
        environment("dev")
        + environment("preview", branch="preview/*", roots='["dev"]', workspace='"p-${branch_slug}"'),
        {"dev/main.tf": RESOURCE},
    )
    assert list(sandbox.sync(expect=0).outcomes) == ["dev"]
    sandbox.git("push", "-q", "origin", "HEAD:preview/x")
    assert "dev" not in sandbox.sync("--branch", "preview/x", expect=0).outcomes
