"""What Terraform is told and what it sees, as pure functions: nothing that changes a plan comes in unseen."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfops.adapters.terraform import (
    PlanMode,
    Surroundings,
    apply_argv,
    ignored_variables,
    init_argv,
    plan_argv,
    push_argv,
    show_argv,
    terraform_env,
)

PLACE = Surroundings(
    root=Path("/work/tree"),
    data=Path("/work/data"),
    output=Path("/work/out"),
    workspace="blue",
    environ={},
    pass_env=(),
    cli_config=Path("/work/no-settings.tfrc"),
)
OURS = {
    "TF_IN_AUTOMATION": "1",
    "TF_INPUT": "0",
    "TF_WORKSPACE": "blue",
    "TF_DATA_DIR": "/work/data",
    "TF_CLI_CONFIG_FILE": "/work/no-settings.tfrc",
    "CHECKPOINT_DISABLE": "1",
}
DANGEROUS = (
    *("TF_CLI_ARGS", "TF_CLI_ARGS_plan", "TF_CLI_ARGS_apply", "TF_CLI_ARGS_init"),
    *("TF_WORKSPACE", "TF_DATA_DIR", "TF_REATTACH_PROVIDERS", "TF_CLI_CONFIG_FILE"),
    *("TF_VAR_password", "TF_LOG", "TF_LOG_PATH", "TF_PLUGIN_CACHE_DIR", "TF_STATE_PERSIST_INTERVAL", "TF_APPEND_X"),
    *("TERRAFORM_CONFIG", "LD_PRELOAD", "PYTHONPATH", "TFOPS_KEY_PASSPHRASE", "GIT_DIR", "RANDOM_SECRET"),
)


def seen(environ: dict[str, str], *pass_env: str) -> dict[str, str]:
    return terraform_env(replace(PLACE, environ=environ, pass_env=pass_env), "plan")


def test_what_is_withheld_is_not_seen_though_it_was_named():
    environ = {"GITHUB_TOKEN": "t", "MINE": "m", "ACTIONS_X": "a"}
    place = replace(
        PLACE, environ=environ, pass_env=("MINE", "ACTIONS_X"), withheld=frozenset({"GITHUB_*", "ACTIONS_*"})
    )
    assert {"GITHUB_TOKEN", "MINE", "ACTIONS_X"} & set(terraform_env(place)) == {"MINE"}


def test_the_passphrase_of_the_signing_key_is_never_seen():
    assert "TFOPS_KEY_PASSPHRASE" not in seen({"TFOPS_KEY_PASSPHRASE": "p"}, "TFOPS_KEY_PASSPHRASE")


def test_terraform_sees_what_tfops_sets_and_nothing_of_an_empty_environment():
    assert seen({}) == OURS


@pytest.mark.parametrize("name", DANGEROUS)
def test_what_would_change_a_plan_or_tell_a_secret_never_passes(name):
    assert seen({name: "evil", "HOME": "/root"}) == {**OURS, "HOME": "/root"}


@pytest.mark.parametrize(
    "name",
    [
        *("HOME", "PATH", "LC_ALL", "SSH_AUTH_SOCK", "https_proxy", "NO_PROXY", "TF_TOKEN_app_terraform_io"),
        *("AWS_SECRET_ACCESS_KEY", "GOOGLE_CREDENTIALS", "ARM_CLIENT_ID", "KUBECONFIG", "PGPASSWORD", "VAULT_TOKEN"),
    ],
)
def test_credentials_and_surroundings_pass(name):
    assert seen({name: "x"})[name] == "x"


def test_what_the_configuration_names_passes_and_only_under_that_very_name():
    environ = {"TF_VAR_a": "1", "TF_VAR_ab": "2", "tf_var_a": "3", "APP_*": "4", "APP_X": "5"}
    assert seen(environ, "TF_VAR_a", "APP_*") == {**OURS, "TF_VAR_a": "1", "APP_*": "4"}


@pytest.mark.parametrize("name", OURS)
def test_what_tfops_sets_can_be_set_by_nobody_else(name):
    assert seen({name: "evil"}, name) == OURS


@given(st.dictionaries(st.from_regex(r"TF_[A-Z_]{0,12}[a-z]{0,4}", fullmatch=True), st.text(), max_size=6))
def test_no_variable_of_terraforms_own_passes_except_tokens(environ):
    passed = seen(environ).items() - OURS.items()
    assert all(name.startswith("TF_TOKEN_") for name, _ in passed)


def test_init_is_not_told_the_workspace_which_need_not_exist_yet():
    told = {command: "TF_WORKSPACE" in terraform_env(PLACE, command) for command in ("init", "plan", "apply", "show")}
    assert told == {"init": False, "plan": True, "apply": True, "show": True}
    environ = {"TF_WORKSPACE": "evil"}
    assert "TF_WORKSPACE" not in terraform_env(replace(PLACE, environ=environ), "init")


def test_a_person_is_told_which_variables_have_no_effect():
    environ = dict.fromkeys(["TF_CLI_ARGS_plan", "TF_VAR_x", "TF_WORKSPACE", "HOME", "TF_TOKEN_x"], "")
    assert ignored_variables(environ) == ["TF_CLI_ARGS_plan", "TF_VAR_x", "TF_WORKSPACE"]


def test_init_asks_nothing_migrates_nothing_and_leaves_the_lock_file_alone():
    assert init_argv({}) == ["init", "-reconfigure", "-input=false", "-no-color", "-lockfile=readonly"]


def test_values_of_a_partial_backend_are_arguments_of_their_own():
    values = {"key": "a b", "bucket": 'b"; rm -rf /', "use_lockfile": True, "max_retries": 5}
    assert init_argv(values)[5:] == [
        '-backend-config=bucket=b"; rm -rf /',
        "-backend-config=key=a b",
        "-backend-config=max_retries=5",
        "-backend-config=use_lockfile=true",
    ]


def test_a_plan_is_written_and_says_by_its_code_whether_there_is_something_to_do():
    found = plan_argv(out=Path("/o/plan.tfplan"), var_files=["a.tfvars", "-destroy"], lock=False)
    assert found == [
        *("plan", "-input=false", "-json", "-detailed-exitcode", "-lock=false", "-out=/o/plan.tfplan"),
        *("-var-file=a.tfvars", "-var-file=-destroy"),
    ]


@pytest.mark.parametrize("mode", PlanMode)
def test_a_plan_only_refreshes_or_destroys_where_it_was_asked_to(mode):
    found = plan_argv(out=Path("/o"), var_files=[], lock=True, mode=mode)
    assert {"-refresh-only", "-destroy"} & set(found) == {mode.value} - {""}


def test_a_plan_is_locked_unless_the_lock_is_held_already():
    assert "-lock=true" in plan_argv(out=Path("/o"), var_files=[], lock=True)


def test_exactly_one_plan_file_is_shown_or_applied_and_nothing_is_approved_besides():
    assert show_argv(Path("/o/p")) == ["show", "-json", "/o/p"]
    assert apply_argv(Path("/o/p")) == ["apply", "-input=false", "-json", "-lock=true", "/o/p"]


@pytest.mark.parametrize(("lock", "flag"), [(True, "-lock=true"), (False, "-lock=false")])
def test_a_state_that_we_have_locked_is_not_locked_by_terraform_again(lock, flag):
    assert apply_argv(Path("/o/p"), lock=lock)[3:] == [flag, "/o/p"]
    assert push_argv(Path("/o/s"), lock=lock) == ["state", "push", "-no-color", flag, "/o/s"]


def test_what_a_run_starts_carries_the_runs_name_so_that_it_is_found_when_the_run_is_dead():
    assert terraform_env(replace(PLACE, run_id="r-1"), "apply") == {**OURS, "TFOPS_RUN": "r-1"}


def test_the_runs_name_can_be_set_by_nobody_else():
    place = replace(PLACE, environ={"TFOPS_RUN": "evil"}, pass_env=("TFOPS_RUN",), run_id="r-1")
    assert terraform_env(place)["TFOPS_RUN"] == "r-1"


class TestCredentials:
    """Where an environment names roles, Terraform sees what they give and none of the caller's own."""

    @staticmethod
    def seen(command: str) -> dict[str, str]:
        roles = {"apply": {"AWS_ACCESS_KEY_ID": "writer"}, "plan": {"AWS_ACCESS_KEY_ID": "reader"}, "show": {}}
        environ = {"AWS_ACCESS_KEY_ID": "ours", "AWS_PROFILE": "ours"}
        return terraform_env(replace(PLACE, environ=environ, credentials=roles.__getitem__), command)

    @pytest.mark.parametrize(("command", "key"), [("apply", "writer"), ("plan", "reader"), ("show", None)])
    def test_each_command_gets_its_own(self, command, key):
        assert self.seen(command).get("AWS_ACCESS_KEY_ID") == key

    @pytest.mark.parametrize("command", ["apply", "plan", "show"])
    def test_nothing_of_the_callers_comes_with_them(self, command):
        assert "AWS_PROFILE" not in self.seen(command)

    def test_they_are_not_asked_for_before_a_command_starts(self):
        replace(PLACE, credentials=lambda command: pytest.fail("asked"))

    def test_what_they_bring_passes_the_same_sieve(self):
        place = replace(PLACE, credentials=lambda command: {"TF_CLI_ARGS": "evil", "AWS_SESSION_TOKEN": "t"})
        assert terraform_env(place) == {**OURS, "AWS_SESSION_TOKEN": "t"}
