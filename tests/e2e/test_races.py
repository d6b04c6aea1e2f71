"""Many at once: exactly one applies, the others find it done or stand back."""

from collections import Counter

import pytest

from tests.e2e.sandbox import RESOURCE, Sandbox, environment, wait_for

SLOW = """
resource "terraform_data" "a" {
  input = "one"
  provisioner "local-exec" { command = "sleep 1.5" }
}
"""


def _together(sandbox: Sandbox, *words: str, number: int = 8) -> Counter[str]:
    running = [sandbox.start("--format", "json", *words) for _ in range(number)]
    results = [one.end() for one in running]
    for result in results:
        assert result.code in (0, 4), result
    return Counter(result["dev"]["outcome"] for result in results)


def test_of_eight_syncs_at_once_exactly_one_applies(sandbox: Sandbox) -> None:
    sandbox.one_stack(SLOW)
    outcomes = _together(sandbox, "sync")
    assert outcomes == {"applied": 1, "converged": 7}
    assert len(sandbox.plans()) == 1
    assert [deployment["result"] for deployment in sandbox.history()] == ["applied"]
    assert sum(start.startswith("apply") for start in sandbox.starts()) == 1


def test_those_that_do_not_want_to_wait_say_that_it_is_locked(sandbox: Sandbox) -> None:
    sandbox.one_stack(SLOW)
    outcomes = _together(sandbox, "sync", "--lock-wait", "0", number=5)
    assert outcomes["applied"] == 1
    assert outcomes["locked"] + outcomes["converged"] == 4
    assert outcomes["locked"] >= 1
    assert len(sandbox.history()) == 1


def test_one_given_plan_is_applied_by_one_of_several(sandbox: Sandbox) -> None:
    sandbox.one_stack(SLOW.replace("1.5", "0.3"))
    plan_id = sandbox.json("plan")["dev"]["plan_id"]
    running = [sandbox.start("--format", "json", "sync", "dev", "--plan", plan_id) for _ in range(4)]
    results = [one.end() for one in running]
    assert Counter(result.code for result in results) == {0: 1, 5: 3}, results
    refused = {error for result in results for error in result.errors}
    assert refused <= {"verify.claimed", "verify.state_serial", "verify.state_lineage"}
    assert sum(start.startswith("apply") for start in sandbox.starts()) == 1


def test_plans_and_syncs_at_once_do_not_disturb_each_other(sandbox: Sandbox) -> None:
    sandbox.one_stack()
    plans = [sandbox.start("--format", "json", "plan") for _ in range(3)]
    syncs = [sandbox.start("--format", "json", "sync") for _ in range(2)]
    assert [one.end().code for one in syncs] == [0, 0]
    for one in plans:
        result = one.end()
        assert result.code in (0, 2) or result.errors == ["state.torn"] or result.errors == ["lock.state"], result
    assert len(sandbox.history()) == 1


def test_syncs_of_different_stacks_do_not_wait_for_each_other(sandbox: Sandbox) -> None:
    sandbox.stacks(environment("dev") + environment("prod"), {"dev/main.tf": SLOW, "prod/main.tf": RESOURCE})
    first = sandbox.start("--format", "json", "sync", "dev")
    second = sandbox.sync("prod", "--lock-wait", "0", expect=0)
    assert second.outcomes == {"prod": "applied"}
    assert first.end().code == 0


MANY = 'resource "terraform_data" "a" {\n  count = 60\n  input = "VERSION ' + "x" * 3000 + '"\n}\n'


@pytest.mark.parametrize("words", [("sync", "--lock-wait", "0"), ("plan",)], ids=["sync", "plan"])
def test_who_comes_while_another_run_writes_the_state_does_not_take_it_for_lost(
    sandbox: Sandbox, words: tuple[str, ...]
) -> None:
    sandbox.one_stack(MANY.replace("VERSION", "1"))
    sandbox.sync(expect=0)
    (first,) = sandbox.plans()
    sandbox.commit({"dev/main.tf": MANY.replace("VERSION", "2")})
    running = sandbox.start("--format", "json", "sync")
    wait_for(lambda: any((plan / "events.ndjson").exists() for plan in sandbox.plans() if plan != first), what="apply")
    seen = Counter[str]()
    while running.process.poll() is None:
        seen.update(sandbox.json(*words).errors)
    assert running.end().code == 0
    assert not set(seen) & {"state.missing", "state.damaged", "state.serial_regressed"}, seen
