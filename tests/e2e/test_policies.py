"""Policies of the rules in force judge every plan: a program that reads it, or Rego; real Terraform, real Git."""

import shutil

import pytest

from tests.e2e.people import Team
from tests.e2e.sandbox import RESOURCE, Result, Sandbox

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="no OpenSSH client"),
]

SCRIPT = """#!/bin/sh
# Refuses whatever would be called "forbidden"; says what it sees of its surroundings.
if grep -q '"input": "forbidden"'; then
  echo "$TFOPS_STACK in $TFOPS_ENVIRONMENT may not be called forbidden"
  env
  exit 7
fi
"""
COMMAND = """
policy "names" {
  command = ["sh", "policies/names.sh"]
  files   = ["policies"]
}
"""
REGO = """package tfops

deny contains message if {
  some change in input.resource_changes
  change.change.after.input == "forbidden"
  message := sprintf("%s may not be called forbidden", [change.address])
}
"""
RULES = '\npolicy "rego" {\n  rego = ["policies/names.rego"]\n}\n'
BAD = RESOURCE.replace("one", "forbidden")


@pytest.fixture
def team(sandbox: Sandbox) -> Team:
    """Three people whom nobody has to ask, and a policy in force that is a program; applied."""
    team = Team(sandbox=sandbox)
    sandbox.commit(
        {"tfops.hcl": team.config(count=0, extra=COMMAND), "prod/main.tf": RESOURCE, "policies/names.sh": SCRIPT}
    )
    sandbox.sync(expect=0)
    return team


def waits(result: Result) -> tuple[str, str]:
    assert (result.code, result.outcomes) == (3, {"prod": "waiting"}), result
    return result["prod"]["plan_id"], "\n".join(result["prod"]["reasons"])


def test_a_plan_that_a_policy_refuses_waits_and_says_which_and_why(team: Team) -> None:
    sandbox = team.sandbox
    sandbox.commit({"prod/main.tf": BAD})
    dry = sandbox.sync("--dry-run", expect=3)
    plan_id, reasons = waits(sandbox.sync())
    assert 'policy "names" refuses (exit code 7):\nprod in prod may not be called forbidden\n' in reasons
    assert "tfops approve PLAN --override policy" in reasons
    assert "\n      prod in prod may not be called forbidden\n" in sandbox.tfops("inspect", plan_id).out
    assert len(dry["prod"]["reasons"]) == 2
    assert sandbox.marker not in reasons, "no token of ours reaches a policy"
    assert waits(sandbox.sync())[0] == plan_id, "it is not made again"
    planned = sandbox.json("plan")
    assert "may not be called forbidden" in planned["prod"]["reasons"][0]
    assert not list((sandbox.home / ".cache" / "tfops").glob("policy-*")), "nothing is left behind"


def test_what_no_policy_refuses_is_applied(team: Team) -> None:
    team.sandbox.commit({"prod/main.tf": RESOURCE.replace("one", "two")})
    assert team.sandbox.sync(expect=0).outcomes == {"prod": "applied"}
    (prod,) = team.sandbox.json("trust").json["environments"]
    assert (prod["approvals"], prod["policy"]) == (0, ["names"])


def _without(team: Team) -> dict[str, str]:
    return {"tfops.hcl": team.config(count=0)}


def _elsewhere(team: Team) -> dict[str, str]:
    other = COMMAND.replace("}", '  environments = ["other"]\n}')
    environment = '\nenvironment "other" {\n  branch = "main"\n  roots = ["other"]\n}\n'
    return {"tfops.hcl": team.config(count=0, extra=other + environment), "other/main.tf": "\n"}


def _weaker(team: Team) -> dict[str, str]:
    return {"policies/names.sh": "#!/bin/sh\nexit 0\n"}


@pytest.mark.parametrize("attack", [_without, _weaker, _elsewhere])
def test_a_commit_that_deletes_or_weakens_the_policy_is_judged_by_it(team: Team, attack) -> None:
    team.sandbox.commit({**attack(team), "prod/main.tf": BAD})
    waiting = team.sandbox.sync("prod")
    _, reasons = waits(waiting)
    assert "may not be called forbidden" in reasons
    assert waiting.json["rules"]["wanted"] == 1
    assert any('policy "names" ' in words for words in waiting.json["rules"]["changes"])


def test_a_weaker_policy_counts_once_somebody_agreed_to_it(team: Team) -> None:
    team.sandbox.commit({**_weaker(team), "prod/main.tf": BAD})
    waits(team.sandbox.sync())
    assert "-  exit 7" in team.sandbox.tfops("trust").out, "people see what changes"
    team.approve_rules("alice")
    assert team.sandbox.sync(expect=0).outcomes == {"prod": "applied"}


def test_a_file_that_vanishes_under_its_policy_stops_the_run(team: Team) -> None:
    (team.sandbox.clone / "policies" / "names.sh").unlink()
    team.sandbox.commit({"prod/main.tf": BAD})
    found = team.sandbox.sync(expect=78)
    assert found.errors == ["config.policy"], found


def test_who_lets_it_pass_lets_just_that_plan_pass(team: Team) -> None:
    sandbox = team.sandbox
    sandbox.commit({"prod/main.tf": BAD})
    plan_id, _ = waits(sandbox.sync())
    assert team.approve(plan_id, "alice").code == 0
    waits(sandbox.sync())
    assert team.approve(plan_id, "bob", "--override", "policy").code == 0
    assert sandbox.sync(expect=0).outcomes == {"prod": "applied"}
    assert sandbox.json("history", "prod")["prod"]["deployments"][0]["overrides"] == ["policy"]
    sandbox.commit({"prod/main.tf": BAD + BAD.replace('"a"', '"b"')})
    waits(sandbox.sync())


def test_a_new_policy_needs_nobody_and_judges_the_commit_that_brings_it(team: Team) -> None:
    text = team.config(count=0, extra=COMMAND.replace('files   = ["policies"]', 'files = ["policies/names.sh"]'))
    team.sandbox.commit({"tfops.hcl": text})
    team.approve_rules("alice")
    team.sandbox.sync(expect=0)
    files = {"tfops.hcl": text + RULES, "policies/names.rego": REGO, "prod/main.tf": BAD}
    team.sandbox.commit(files)
    waiting = team.sandbox.sync()
    _, reasons = waits(waiting)
    assert waiting.json["rules"] is None
    assert 'policy "rego": terraform_data.a may not be called forbidden' in reasons
    assert 'policy "names" refuses' in reasons


def test_a_review_shows_what_the_policies_in_force_will_say(team: Team) -> None:
    team.change("pr", {"prod/main.tf": BAD, **_weaker(team)})
    planned = team.sandbox.json("plan", "--speculative", "--base", "main", "--head", "pr")
    assert "may not be called forbidden" in planned["prod"]["reasons"][0]


def test_a_policy_whose_program_is_not_there_lets_nothing_pass(sandbox: Sandbox) -> None:
    team = Team(sandbox=sandbox)
    missing = '\npolicy "conftest" {\n  command = ["no-such-conftest", "test", "-"]\n}\n'
    sandbox.commit({"tfops.hcl": team.config(count=0, extra=missing), "prod/main.tf": RESOURCE})
    _, reasons = waits(sandbox.sync())
    assert 'policy "conftest" could not be asked: there is no no-such-conftest: install it on the runner' in reasons


def test_secrets_of_a_plan_reach_no_policy(sandbox: Sandbox) -> None:
    team = Team(sandbox=sandbox)
    shown = '\npolicy "shown" {\n  command = ["sh", "-c", "tr -d \'\\\\n\' | tail -c 20000; exit 1"]\n}\n'
    code = 'variable "word" {\n  sensitive = true\n  default = "hush-hush"\n}\n' + RESOURCE.replace('"one"', "var.word")
    sandbox.commit({"tfops.hcl": team.config(count=0, extra=shown), "prod/main.tf": code})
    _, reasons = waits(sandbox.sync())
    assert "terraform_data" in reasons
    assert "hush-hush" not in reasons


def test_who_looks_at_a_waiting_plan_sees_what_the_policies_say(team: Team) -> None:
    team.sandbox.commit({"prod/main.tf": BAD})
    plan_id, _ = waits(team.sandbox.sync())
    assert "may not be called forbidden" in team.sandbox.tfops("inspect", plan_id).out


def test_a_policy_that_only_another_environment_names_does_not_judge(sandbox: Sandbox) -> None:
    team = Team(sandbox=sandbox)
    other = '\nenvironment "other" {\n  branch = "main"\n  roots = ["other"]\n  approval {\n    count = 0\n  }\n}\n'
    text = team.config(count=0, extra=COMMAND.replace("}", '  environments = ["other"]\n}') + other)
    sandbox.commit({"tfops.hcl": text, "prod/main.tf": BAD, "other/main.tf": BAD, "policies/names.sh": SCRIPT})
    assert sandbox.sync(expect=3).outcomes == {"prod": "applied", "other": "waiting"}


def test_an_environment_that_takes_over_a_state_is_judged_by_its_policies(team: Team) -> None:
    only = COMMAND.replace("}", '  environments = ["prod"]\n}')
    team.sandbox.commit({"tfops.hcl": team.config(count=0, extra=only)})
    team.approve_rules("alice")
    team.sandbox.sync(expect=0)
    text = team.config(count=0, extra=only.replace('["prod"]', '["fresh"]'))
    text = text.replace('environment "prod"', 'environment "fresh"')
    moved = '\nmoved {\n  from = "prod"\n  to   = "fresh"\n}\n'
    team.sandbox.commit({"tfops.hcl": text + moved, "policies/names.sh": "exit 0\n", "prod/main.tf": BAD})
    waiting = team.sandbox.sync()
    assert waiting.outcomes == {"fresh": "waiting"}, waiting
    assert "may not be called forbidden" in "\n".join(waiting["fresh"]["reasons"])
