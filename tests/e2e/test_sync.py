"""The main road: stacks come to their branch's head, in order, side by side, and then nothing is started."""

import re
from collections import Counter
from datetime import datetime, timedelta

import pytest

from tests.e2e.conftest import MakeSandbox
from tests.e2e.sandbox import RESOURCE, Sandbox, environment

SERVICE = """
variable "name" { type = string }
resource "terraform_data" "service" { input = "${var.name} v1" }
output "name" { value = terraform_data.service.output }
"""
DATABASE = """
variable "name" { type = string }
resource "terraform_data" "database" { input = "${var.name} small" }
"""


def _calls(environment_name: str, *modules: str) -> str:
    return "".join(
        f'module "{module}" {{\n  source = "../modules/{module}"\n  name = "{environment_name}"\n}}\n'
        for module in modules
    )


@pytest.fixture(scope="module")
def three(make_sandbox: MakeSandbox) -> Sandbox:
    """dev → staging → prod over shared modules, synced once. dev has no database."""
    sandbox = make_sandbox()
    sandbox.stacks(
        environment("prod", after='["staging"]') + environment("dev") + environment("staging", after='["dev"]'),
        {
            "modules/service/main.tf": SERVICE,
            "modules/database/main.tf": DATABASE,
            "dev/main.tf": _calls("dev", "service"),
            "staging/main.tf": _calls("staging", "service", "database"),
            "prod/main.tf": _calls("prod", "service", "database"),
        },
    )
    first = sandbox.sync(expect=0)
    assert first.outcomes == {"dev": "applied", "staging": "applied", "prod": "applied"}
    return sandbox


def test_three_environments_are_applied_in_order(three: Sandbox) -> None:
    applied = [three.history(name)[-1]["at"] for name in ("dev", "staging", "prod")]
    assert applied == sorted(applied)
    assert set(three.resources("prod")) == {
        "module.service.terraform_data.service",
        "module.database.terraform_data.database",
    }


def test_a_second_sync_starts_no_terraform(three: Sandbox) -> None:
    three.starts()
    again = three.sync(expect=0)
    assert set(again.outcomes.values()) == {"converged"}
    assert again.runs == {"dev": 0, "staging": 0, "prod": 0}
    assert three.starts() == []


def test_a_comment_in_a_module_is_one_plan_for_each_user_and_then_none(three: Sandbox) -> None:
    three.commit({"modules/database/main.tf": "# what we keep\n" + DATABASE})
    three.starts()
    first = three.sync(expect=0)
    assert set(first.outcomes.values()) == {"converged"}
    assert first.runs == {"dev": 0, "staging": 1, "prod": 1}
    assert Counter(start.split()[0] for start in three.starts()) == {"plan": 2}
    assert three.sync(expect=0).runs == {"dev": 0, "staging": 0, "prod": 0}
    assert three.starts() == []


def test_an_edit_of_one_module_changes_exactly_the_stacks_that_use_it(three: Sandbox) -> None:
    before = {name: three.resources(name) for name in ("dev", "staging", "prod")}
    three.commit({"modules/database/main.tf": DATABASE.replace("small", "large")})
    result = three.sync(expect=0)
    assert result.outcomes == {"dev": "converged", "staging": "applied", "prod": "applied"}
    assert result["staging"]["summary"]["update"] == 1
    assert sum(result["staging"]["summary"].values()) == 1
    assert any("modules/database/main.tf" in reason for reason in result["prod"]["reasons"]), result
    assert {name: three.resources(name) for name in before} == before  # in place, nothing replaced


def test_a_revision_that_touches_no_stack_starts_no_terraform(three: Sandbox) -> None:
    three.sync(expect=0)
    three.commit({"README.md": "words\n"})
    three.starts()
    assert three.sync(expect=0).runs == {"dev": 0, "staging": 0, "prod": 0}
    assert three.starts() == []


def test_the_working_tree_is_neither_read_nor_written(three: Sandbox) -> None:
    three.sync(expect=0)
    three.write({"dev/main.tf": "this is not HCL {", "dev/new.tf": RESOURCE})
    before = three.git("status", "--porcelain")
    assert three.sync(expect=0).runs == {"dev": 0, "staging": 0, "prod": 0}
    assert three.git("status", "--porcelain") == before
    three.git("checkout", "-q", "--", ".")
    (three.clone / "dev/new.tf").unlink()


def test_one_stack_can_be_named_and_an_environment_means_its_stacks(three: Sandbox) -> None:
    assert list(three.sync("staging", expect=0).outcomes) == ["staging"]


def test_a_dry_run_says_what_would_happen_and_changes_nothing(three: Sandbox) -> None:
    three.sync(expect=0)
    three.commit({"modules/service/main.tf": SERVICE.replace("v1", "v2")})
    states = [three.state(name)["serial"] for name in ("dev", "staging", "prod")]
    plans = [three.plans(name) for name in ("dev", "staging", "prod")]
    dry = three.sync("--dry-run", expect=2)
    assert set(dry.outcomes.values()) == {"pending"}
    assert [three.state(name)["serial"] for name in ("dev", "staging", "prod")] == states
    assert [three.plans(name) for name in ("dev", "staging", "prod")] == plans
    three.sync(expect=0)


SLOW = """
resource "terraform_data" "slow" {
  provisioner "local-exec" { command = "sleep 1.2" }
}
"""


def _span(sandbox: Sandbox, stack: str) -> tuple[datetime, datetime]:
    times = [datetime.fromisoformat(event["@timestamp"]) for event in sandbox.events(stack)]
    return min(times), max(times)


def test_stacks_that_do_not_wait_for_each_other_are_applied_side_by_side(sandbox: Sandbox) -> None:
    sandbox.stacks(
        environment("left") + environment("right") + environment("last", after='["left", "right"]'),
        {"left/main.tf": SLOW, "right/main.tf": SLOW, "last/main.tf": RESOURCE},
    )
    sandbox.sync("--jobs", "2", expect=0)
    (left_start, left_end), (right_start, right_end) = _span(sandbox, "left"), _span(sandbox, "right")
    assert min(left_end, right_end) - max(left_start, right_start) > timedelta(seconds=0.1)
    assert _span(sandbox, "last")[0] >= max(left_end, right_end)


def test_with_one_job_stacks_are_applied_one_after_the_other(sandbox: Sandbox) -> None:
    fast = SLOW.replace("1.2", "0.3")
    sandbox.stacks(environment("left") + environment("right"), {"left/main.tf": fast, "right/main.tf": fast})
    sandbox.sync("--jobs", "1", expect=0)
    first, second = sorted((_span(sandbox, "left"), _span(sandbox, "right")))
    assert first[1] <= second[0]


@pytest.fixture(scope="module")
def layered(make_sandbox: MakeSandbox) -> Sandbox:
    """network ← app (reads its state) and jobs (named by a stack block) behind it."""
    sandbox = make_sandbox()
    state = sandbox.directory / "network.tfstate"
    sandbox.stacks(
        environment("prod", roots='["prod/*"]'),
        {
            "prod/network/main.tf": _network(state, "10.0.0.0/8"),
            "prod/app/main.tf": (
                'data "terraform_remote_state" "network" {\n  backend = "local"\n'
                f'  config = {{\n    path = "{state}"\n  }}\n}}\n'
                'resource "terraform_data" "app" {\n'
                "  input = data.terraform_remote_state.network.outputs.range\n}\n"
                'output "range" { value = terraform_data.app.output }\n'
            ),
            "prod/jobs/main.tf": RESOURCE,
        },
        extra='stack "prod/jobs" { after = ["prod/network"] }\n',
    )
    sandbox.sync(expect=0)
    return sandbox


def _network(state: object, range_: str) -> str:
    return (
        f'terraform {{\n  backend "local" {{\n    path = "{state}"\n  }}\n}}\n'
        f'resource "terraform_data" "range" {{ input = "{range_}" }}\n'
        'output "range" { value = terraform_data.range.output }\n'
    )


def test_a_stack_comes_after_the_one_whose_state_it_reads(layered: Sandbox) -> None:
    stacks = {entry["stack"]: entry for entry in layered.json("stacks").json["stacks"]}
    assert stacks["prod/app"]["after"] == ["prod/network"]
    assert stacks["prod/jobs"]["after"] == ["prod/network"]
    assert layered.outputs("prod/app") == {"range": "10.0.0.0/8"}


def test_after_a_new_network_the_app_that_reads_it_is_planned_again_in_the_same_sync(layered: Sandbox) -> None:
    state = layered.directory / "network.tfstate"
    layered.commit({"prod/network/main.tf": _network(state, "172.16.0.0/12")})
    result = layered.sync(expect=0)
    assert result.outcomes == {"prod/network": "applied", "prod/app": "applied", "prod/jobs": "converged"}
    assert layered.outputs("prod/app") == {"range": "172.16.0.0/12"}
    assert result["prod/jobs"]["terraform_runs"] == 1  # named in `after`: planned, and nothing found
    assert set(layered.sync(expect=0).runs.values()) == {0}


def test_a_failing_network_holds_the_app_back(layered: Sandbox) -> None:
    state = layered.directory / "network.tfstate"
    broken = _network(state, "10.9.0.0/16").replace('"10.9.0.0/16"', "nonsense()")
    layered.commit({"prod/network/main.tf": broken})
    result = layered.sync(expect=1)
    assert result.outcomes == {"prod/network": "failed", "prod/app": "skipped", "prod/jobs": "skipped"}
    assert result["prod/app"]["reasons"] == ["comes after prod/network, which is failed"]
    layered.commit({"prod/network/main.tf": _network(state, "172.16.0.0/12")})
    layered.sync(expect=0)


def test_progress_goes_to_stderr_and_names_the_stack(sandbox: Sandbox) -> None:
    sandbox.one_stack()
    result = sandbox.tfops("sync")
    assert result.code == 0
    assert re.search(r"^stack +outcome +changes", result.out)
    assert all(re.match(r" +\d+\.\ds ", line) for line in result.err.splitlines()), result.err
    assert "dev: terraform plan" in result.err


def test_managed_state_lies_in_the_store_under_the_stacks_name_and_workspace(sandbox: Sandbox) -> None:
    sandbox.one_stack(workspace='"blue"')
    sandbox.sync(expect=0)
    assert sandbox.resources(workspace="blue").keys() == {"terraform_data.a"}
    assert sandbox.sync(expect=0).runs == {"dev": 0}


def test_a_detached_checkout_takes_the_branch_it_is_told_or_the_pipelines(sandbox: Sandbox) -> None:
    revision = sandbox.one_stack()
    sandbox.git("checkout", "-q", "--detach")
    assert sandbox.sync(expect=64).errors == ["git.detached"]
    assert sandbox.sync(env={"GITHUB_REF_NAME": "main"}, expect=0)["dev"]["revision"] == revision
    assert sandbox.sync("--branch", "main", expect=0).runs == {"dev": 0}


def test_a_commit_that_others_pushed_is_fetched_first(sandbox: Sandbox) -> None:
    sandbox.one_stack()
    sandbox.sync(expect=0)
    other = sandbox.directory / "other"
    sandbox.git("clone", "-q", str(sandbox.origin), str(other), cwd=sandbox.directory)
    (other / "dev/main.tf").write_text(RESOURCE.replace("one", "two"))
    sandbox.git("commit", "-q", "-am", "two", cwd=other)
    sandbox.git("push", "-q", cwd=other)
    result = sandbox.sync(expect=0)
    assert result["dev"]["revision"] == sandbox.git("rev-parse", "HEAD", cwd=other)


def test_a_repository_without_a_remote_is_taken_as_it_is(make_sandbox: MakeSandbox) -> None:
    sandbox = make_sandbox(origin=False)
    sandbox.one_stack()
    assert sandbox.sync(expect=0).outcomes == {"dev": "applied"}


def test_environments_that_share_a_backend_have_a_workspace_each(sandbox: Sandbox) -> None:
    place = sandbox.directory / "states"
    place.mkdir()
    code = (
        f'terraform {{\n  backend "local" {{\n    path = "{place}/default.tfstate"\n'
        f'    workspace_dir = "{place}"\n  }}\n}}\n' + RESOURCE
    )
    sandbox.stacks(
        environment("dev", roots='["app"]', workspace='"dev"')
        + environment("prod", roots='["app"]', workspace='"prod"', after='["dev"]'),
        {"app/main.tf": code},
    )
    assert sandbox.sync(expect=0).outcomes == {"dev": "applied", "prod": "applied"}
    assert sorted(path.parent.name for path in place.glob("*/terraform.tfstate")) == ["dev", "prod"]
    assert sandbox.sync(expect=0).runs == {"dev": 0, "prod": 0}
