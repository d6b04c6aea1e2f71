"""An environment that asks for approval, or names none, is planned once and never applied."""

import pytest

from tests.e2e.sandbox import RESOURCE, Sandbox, environment


@pytest.mark.parametrize("count", [None, 1, 2])
def test_without_approvals_the_plan_waits_and_is_not_made_again(sandbox: Sandbox, count: int | None) -> None:
    sandbox.stacks(environment("prod", count=count), {"prod/main.tf": RESOURCE})
    first = sandbox.sync(expect=3)
    assert first.outcomes == {"prod": "waiting"}
    assert first["prod"]["reasons"] and first["prod"]["plan_id"]
    assert not sandbox.state_file("prod").exists()
    sandbox.starts()
    again = sandbox.sync(expect=3)
    assert again["prod"]["plan_id"] == first["prod"]["plan_id"]
    assert again["prod"]["summary"] == first["prod"]["summary"]
    assert again["prod"]["reasons"] == first["prod"]["reasons"]
    assert sandbox.starts() == []
    assert len(sandbox.plans("prod")) == 1


def test_a_waiting_plan_is_made_again_once_its_code_changed(sandbox: Sandbox) -> None:
    sandbox.stacks(environment("prod", count=1), {"prod/main.tf": RESOURCE})
    first = sandbox.sync(expect=3)
    sandbox.commit({"prod/main.tf": RESOURCE.replace("one", "two")})
    second = sandbox.sync(expect=3)
    assert second["prod"]["plan_id"] != first["prod"]["plan_id"]
    assert not sandbox.state_file("prod").exists()


def test_naming_the_waiting_plan_does_not_get_around_the_gate(sandbox: Sandbox) -> None:
    sandbox.stacks(environment("prod", count=1), {"prod/main.tf": RESOURCE})
    plan_id = sandbox.sync(expect=3)["prod"]["plan_id"]
    result = sandbox.sync("prod", "--plan", plan_id, expect=3)
    assert result.outcomes == {"prod": "waiting"}
    assert not sandbox.state_file("prod").exists()


def test_what_comes_after_a_waiting_stack_waits_too(sandbox: Sandbox) -> None:
    sandbox.stacks(
        environment("staging", count=1) + environment("prod", after='["staging"]'),
        {"staging/main.tf": RESOURCE, "prod/main.tf": RESOURCE},
    )
    result = sandbox.sync(expect=3)
    assert result.outcomes == {"staging": "waiting", "prod": "skipped"}
    assert result["prod"]["reasons"] == ["comes after staging, which is waiting"]
    assert not sandbox.state_file("prod").exists()


def test_a_gated_stack_with_nothing_to_do_waits_for_nobody(sandbox: Sandbox) -> None:
    sandbox.stacks(environment("prod"), {"prod/main.tf": RESOURCE})
    sandbox.sync(expect=0)
    sandbox.stacks(environment("prod", count=2), {"prod/main.tf": RESOURCE + "# only words\n"})
    assert sandbox.sync(expect=0).outcomes == {"prod": "converged"}


def test_a_change_that_takes_its_own_gate_away_is_judged_by_the_old_one(sandbox: Sandbox) -> None:
    sandbox.stacks(environment("prod", count=2), {"prod/main.tf": RESOURCE})
    sandbox.sync(expect=3)
    sandbox.stacks(environment("prod", count=0), {"prod/main.tf": RESOURCE})
    assert sandbox.sync().code == 3


def test_a_dry_run_says_that_it_would_wait(sandbox: Sandbox) -> None:
    sandbox.stacks(environment("prod", count=1), {"prod/main.tf": RESOURCE})
    result = sandbox.sync("--dry-run", expect=3)
    assert result.outcomes == {"prod": "waiting"}
    assert sandbox.plans("prod") == []


def test_a_person_reads_why_it_waits_and_what_to_look_at(sandbox: Sandbox) -> None:
    sandbox.stacks(environment("prod", count=2), {"prod/main.tf": RESOURCE})
    result = sandbox.tfops("sync")
    assert result.code == 3
    assert 'environment "prod" asks for 2 approvals' in result.out
    assert "next: look at a waiting plan: tfops inspect " in result.out
