"""A change from somebody nobody trusts: planning it for review runs none of its code and shows it no token."""

from pathlib import Path

import pytest

from tests.e2e.people import Team
from tests.e2e.sandbox import RESOURCE, Result, Sandbox, environment

pytestmark = pytest.mark.slow

CHANGED = RESOURCE.replace("one", "two")
EXTERNAL = 'data "external" "x" {\n  program = ["sh", "-c", "touch $HOME/owned"]\n}\n'
PROVISIONER = (
    'resource "terraform_data" "p" {\n  provisioner "local-exec" {\n    command = "touch $HOME/owned"\n  }\n}\n'
)


@pytest.fixture
def team(sandbox: Sandbox) -> Team:
    made = Team(sandbox=sandbox)
    made.begin()
    sandbox.accept_rules()
    return made


def plan(team: Team, files: dict[str, str], *options: str, name: str = "evil", **environ: str) -> Result:
    team.change(name, files)
    team.sandbox.starts()
    arguments = ("plan", "--speculative", "--base", "main", "--head", name, *options)
    return team.sandbox.json(*arguments, env=environ)


def runs(team: Team) -> list[str]:
    """What Terraform was started for, beside saying its version."""
    return [line for line in team.sandbox.starts() if not line.startswith("version")]


def refused(result: Result) -> str:
    assert (result.code, set(result.errors)) == (3, {"untrusted.code"}), result
    return result.messages


def test_attack_a_program_that_runs_while_planning_is_refused_before_terraform_starts(team: Team) -> None:
    result = plan(team, {"prod/main.tf": CHANGED + EXTERNAL, "prod/x.tf.json": '{"data": {"http": {"y": {}}}}'})
    said = refused(result)
    assert "prod/main.tf:4: data.external.x runs a program" in said
    assert "prod/x.tf.json:1: data.http.y sends a request" in said
    assert "--trust-code" in said
    assert runs(team) == []
    assert team.sandbox.plans("prod") == []
    assert not (team.sandbox.home / "owned").exists()


def test_attack_a_local_module_hides_no_program(team: Team) -> None:
    files = {"prod/main.tf": 'module "m" {\n  source = "../mod"\n}\n', "mod/m.tf": EXTERNAL}
    assert "mod/m.tf:1: data.external.x runs a program" in refused(plan(team, files))
    assert runs(team) == []


def test_attack_a_remote_state_hides_no_program_in_an_expression(team: Team) -> None:
    code = (
        'locals {\n  c = { bucket = "b", key = "k", region = "here", shared_config_files = ["aws.cfg"] }\n}\n'
        'data "terraform_remote_state" "x" {\n  backend = "s3"\n  config  = local.c\n}\n'
    )
    result = plan(team, {"prod/x.tf": code, "prod/aws.cfg": "[default]\ncredential_process = touch owned\n"})
    assert "prod/x.tf:4: data.terraform_remote_state.x may start a program (config)" in refused(result)
    assert runs(team) == []


def test_attack_a_module_from_elsewhere_is_looked_at_before_anything_of_it_runs(team: Team, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    team.sandbox.git("init", "-q", str(elsewhere))
    reads = 'data "terraform_remote_state" "x" {\n  backend = "s3"\n  config = { shared_config_files = ["x"] }\n}\n'
    (elsewhere / "m.tf").write_text(reads)
    team.sandbox.git("add", "-A", cwd=elsewhere)
    team.sandbox.git("commit", "-q", "-m", "m", cwd=elsewhere)
    result = plan(team, {"prod/main.tf": f'module "m" {{\n  source = "git::file://{elsewhere}"\n}}\n'})
    assert "downloaded/m/m.tf:1: data.terraform_remote_state.x may start a program (shared_config_files)" in refused(
        result
    )
    assert not [line for line in runs(team) if line.startswith("plan")]


def test_attack_the_settings_of_a_change_choose_no_program_no_variables_and_no_credentials(team: Team) -> None:
    owned = team.sandbox.home / "owned"
    evil = '#!/bin/sh\ntouch "$HOME/owned"\nexec terraform "$@"\n'
    config = team.config(extra=f'terraform {{\n  binary = "{team.sandbox.clone}/evil"\n}}\n')
    config = config.replace('roots = ["prod"]', 'roots = ["prod"]\n  pass_env = ["TFOPS_KEY_PASSPHRASE"]')
    result = plan(team, {"tfops.hcl": config, "evil": evil, "prod/main.tf": CHANGED})
    assert 'tfops.hcl: environment "prod" changes pass_env' in refused(result)
    assert not owned.exists()


def test_attack_a_new_environment_brings_no_credentials_of_its_own(team: Team) -> None:
    config = team.config(extra=environment("evil", count=0))
    result = plan(team, {"tfops.hcl": config, "evil/main.tf": RESOURCE})
    assert 'environment "evil" is new' in refused(result)
    assert runs(team) == []


def test_attack_a_provider_in_the_repository_is_not_started(team: Team) -> None:
    place = "prod/terraform.d/plugins/registry.terraform.io/hashicorp/random/9.9.9/linux_amd64/terraform-provider-x"
    assert place in refused(plan(team, {"prod/main.tf": 'resource "random_id" "a" {}\n', place: "#!/bin/sh\n"}))
    assert runs(team) == []


def test_attack_a_change_cannot_allow_itself_what_the_rules_refuse(team: Team) -> None:
    config = team.config(extra='review {\n  allow = ["external"]\n}\n')
    result = plan(team, {"tfops.hcl": config, "prod/main.tf": CHANGED + EXTERNAL})
    assert "data.external.x runs a program" in refused(result)


def test_attack_a_link_out_of_the_repository_is_refused(team: Team) -> None:
    sandbox = team.sandbox
    sandbox.git("checkout", "-q", "-b", "evil", "main")
    (sandbox.clone / "prod" / "secret.txt").symlink_to("/etc/passwd")
    sandbox.git("add", "-A")
    sandbox.git("commit", "-q", "-m", "evil")
    sandbox.git("checkout", "-q", "main")
    sandbox.starts()
    result = sandbox.json("plan", "--speculative", "--base", "main", "--head", "evil")
    assert (result.code, result.errors) == (78, ["git.symlink_escapes"])
    assert runs(team) == []


def test_modules_and_providers_from_elsewhere_are_refused_before_they_are_fetched(team: Team) -> None:
    rules = 'review {\n  modules = ["acme/*"]\n  providers = ["acme/*"]\n}\n'
    team.sandbox.commit({"tfops.hcl": team.config(extra=rules)})
    team.sandbox.sync(expect=3)
    code = 'module "m" {\n  source = "evil/vpc/aws"\n}\nresource "random_id" "a" {}\n'
    said = refused(plan(team, {"prod/main.tf": code}))
    assert "registry.terraform.io/evil/vpc/aws" in said
    assert "the provider registry.terraform.io/hashicorp/random" in said
    assert runs(team) == []


def test_what_only_an_apply_runs_is_shown_with_the_plan(team: Team) -> None:
    result = plan(team, {"prod/main.tf": CHANGED + PROVISIONER})
    assert result.code == 2, result
    said = "prod/main.tf:5: terraform_data.p runs a provisioner when it is applied (local-exec)"
    assert said in result["prod"]["reasons"]
    assert not (team.sandbox.home / "owned").exists()


def test_who_has_read_the_change_plans_it_on_purpose_and_that_is_said(team: Team) -> None:
    config = team.config().replace('roots = ["prod"]', 'roots = ["prod"]\n  pass_env = ["HELLO"]')
    result = plan(team, {"tfops.hcl": config, "prod/main.tf": CHANGED}, "--trust-code")
    assert result.code == 2, result
    assert "--trust-code" in result.err
    assert 'tfops.hcl: environment "prod" changes pass_env' in result["prod"]["reasons"]


SECRETS = {
    "GITHUB_TOKEN": "t1",
    "TFOPS_FORGE_TOKEN": "t2",
    "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "t4",
    "SSH_AUTH_SOCK": "/tmp/agent",
    "AZURE_DEVOPS_EXT_PAT": "t5",
}


def _spy(sandbox: Sandbox) -> Path:
    """A Terraform that notes what it, and so every provider and program it starts, sees."""
    shim, seen = sandbox.bin / "terraform", sandbox.home / "seen"
    shim.write_text(shim.read_text().replace("#!/bin/sh\n", f"#!/bin/sh\nenv >> '{seen}'\n", 1))
    return seen


def test_attack_terraform_sees_no_token_and_no_agent(team: Team) -> None:
    names = ", ".join(f'"{name}"' for name in SECRETS)
    config = team.config().replace('roots = ["prod"]', f'roots = ["prod"]\n  pass_env = ["HELLO", {names}]')
    team.sandbox.commit({"tfops.hcl": config})
    seen = _spy(team.sandbox)
    result = plan(team, {"prod/main.tf": CHANGED}, HELLO="hello", AWS_REGION="here", **SECRETS)
    assert result.code == 2, result
    variables = dict(line.partition("=")[::2] for line in seen.read_text().splitlines())
    assert (variables["HELLO"], variables["AWS_REGION"]) == ("hello", "here")
    assert not set(SECRETS) & set(variables)


def test_the_rules_may_let_terraform_use_the_agent_for_private_modules(team: Team) -> None:
    team.sandbox.commit({"tfops.hcl": team.config(extra='review {\n  allow = ["ssh_agent"]\n}\n')})
    team.approve_rules("alice", "bob")
    team.sandbox.sync(expect=3)
    seen = _spy(team.sandbox)
    assert plan(team, {"prod/main.tf": CHANGED}, **SECRETS).code == 2
    variables = dict(line.partition("=")[::2] for line in seen.read_text().splitlines())
    assert set(SECRETS) & set(variables) == {"SSH_AUTH_SOCK"}
