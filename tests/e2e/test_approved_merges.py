"""Without any forge: people approve the plan of a change; after the merge just that is applied, and nothing else."""

import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.people import Team
from tests.e2e.sandbox import RESOURCE, Result, Sandbox, environment

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="no OpenSSH client"),
]

TWO = RESOURCE.replace("one", "two")
OTHER = RESOURCE.replace('"a"', '"b"')


@pytest.fixture
def team(sandbox: Sandbox) -> Team:
    """Three people; nothing is committed."""
    return Team(sandbox=sandbox)


@pytest.fixture
def deployed(team: Team) -> Team:
    """Three people, and a stack that was approved and applied."""
    team.deployed()
    return team


def waits(result: Result) -> str:
    assert (result.code, result.outcomes) == (3, {"prod": "waiting"}), result
    return "\n".join(result["prod"]["reasons"])


@pytest.mark.parametrize("how", [(), ("--squash",), ("--ff-only",)], ids=["merge", "squash", "fast-forward"])
def test_what_two_people_approved_is_applied_after_the_merge(deployed: Team, how: tuple[str, ...]) -> None:
    deployed.change("pr", {"prod/main.tf": TWO})
    plan_id = deployed.approved("pr", "alice", "bob")
    assert waits_for_nothing(deployed.sandbox), "nothing is applied before the merge"
    deployed.merge("pr", *how)
    assert deployed.sandbox.sync(expect=0).outcomes == {"prod": "applied"}
    newest = deployed.sandbox.json("history", "prod")["prod"]["deployments"][0]
    assert newest["approved_by"] == ["alice", "bob"]
    assert newest["approved_plans"] == [plan_id]
    deployed.sandbox.sync(expect=0)


def waits_for_nothing(sandbox: Sandbox) -> bool:
    return sandbox.sync(expect=0).outcomes == {"prod": "converged"}


def test_a_change_that_brings_a_new_stack_is_approved_before_it_is_merged(deployed: Team) -> None:
    extra = 'environment "new" {\n  branch = "main"\n  roots = ["new"]\n  approval { count = 1 }\n}\n'
    deployed.change("pr", {"tfops.hcl": deployed.config(extra=extra), "new/main.tf": RESOURCE})
    planned = deployed.sandbox.json("plan", "--speculative", "--base", "main", "--head", "pr", "--trust-code")
    plan_id = planned["new"]["plan_id"]
    assert "gate: it is not applied now" in deployed.sandbox.tfops("inspect", plan_id).out
    for person in ("alice", "bob"):
        assert deployed.approve(plan_id, person).code == 0
    deployed.merge("pr")
    merged = deployed.sandbox.sync(expect=3)  # the rules still wait, the stack passed the strictest that there are
    assert merged.outcomes == {"prod": "converged", "new": "applied"}
    assert merged.json["rules"]["changes"] == ['environment "new" is new and asks for 1 approval']


def test_a_stack_is_renamed_and_changed_by_one_change_that_was_approved_before_it_was_merged(team: Team) -> None:
    """The new name has no record yet, and the state that it takes over has a lineage."""
    sandbox = team.sandbox
    text = team.config().replace(environment("prod", count=2), environment("prod", count=2, roots='["prod/*"]'))
    sandbox.commit({"tfops.hcl": text, "prod/a/main.tf": RESOURCE})
    plan_id = sandbox.sync(expect=3)["prod/a"]["plan_id"]
    for person in ("alice", "bob"):
        assert team.approve(plan_id, person).code == 0
    sandbox.sync(expect=0)
    sandbox.git("checkout", "-q", "-b", "pr", "main")
    sandbox.git("mv", "prod/a", "prod/b")
    moved = '\nmoved {\n  from = "prod/a"\n  to   = "prod/b"\n}\n'
    sandbox.commit({"tfops.hcl": text + moved, "prod/b/main.tf": TWO})
    sandbox.git("checkout", "-q", "main")
    planned = sandbox.json("plan", "--speculative", "--base", "main", "--head", "pr")["prod/b"]
    assert planned["summary"]["create"] == 0
    for person in ("alice", "bob"):
        assert team.approve(planned["plan_id"], person).code == 0
    team.merge("pr")
    assert sandbox.sync(expect=0).outcomes == {"prod/b": "applied"}
    assert "two" in sandbox.state_file("prod/a").read_text()


def test_attack_a_push_gives_what_was_approved_so_little_time_that_it_is_stopped_half_way(deployed: Team) -> None:
    sandbox = deployed.sandbox
    deployed.change("pr", {"prod/main.tf": TWO})
    deployed.approved("pr", "alice", "bob")
    deployed.merge("pr")
    short = environment("prod", count=2, timeout='"30s"')
    sandbox.commit({"tfops.hcl": deployed.config().replace(environment("prod", count=2), short)})
    assert "setting timeout" in waits(sandbox.sync())
    sandbox.commit({"tfops.hcl": deployed.config()})
    assert sandbox.sync(expect=0).outcomes == {"prod": "applied"}


def test_a_change_is_read_and_approved_on_its_own_branch_too(deployed: Team) -> None:
    deployed.change("pr", {"prod/main.tf": TWO})
    plan_id = deployed.review("pr")
    deployed.sandbox.git("checkout", "-q", "pr")
    assert "gate: it is not applied now" in deployed.sandbox.tfops("inspect", plan_id).out
    for person in ("alice", "bob"):
        assert deployed.approve(plan_id, person).code == 0
    deployed.sandbox.git("checkout", "-q", "main")
    deployed.merge("pr")
    assert deployed.sandbox.sync(expect=0).outcomes == {"prod": "applied"}


def test_a_plan_for_review_is_never_applied_itself_and_says_what_to_do(deployed: Team) -> None:
    deployed.change("pr", {"prod/main.tf": TWO})
    plan_id = deployed.approved("pr", "alice", "bob")
    given = deployed.sandbox.sync("prod", "--plan", plan_id)
    assert (given.code, given.errors) == (5, ["verify.purpose"])
    assert "approve it, merge the change, and sync" in given.messages


def test_one_approval_is_not_enough_and_it_names_who_is_missing(deployed: Team) -> None:
    deployed.change("pr", {"prod/main.tf": TWO})
    deployed.approved("pr", "alice")
    deployed.merge("pr")
    reasons = waits(deployed.sandbox.sync())
    assert "asks for 2 approvals" in reasons
    assert "from " in reasons and "bob" in reasons, reasons


def test_one_saw_the_review_and_another_what_waits_after_the_merge(deployed: Team) -> None:
    deployed.change("pr", {"prod/main.tf": TWO})
    deployed.approved("pr", "alice")
    deployed.merge("pr")
    waiting = deployed.sandbox.sync()
    reasons = waits(waiting)
    assert "there are 1" in reasons, reasons
    assert "approved by alice" in reasons
    assert "1 more needed, from bob or carol" in reasons
    assert "no approved plan" not in reasons
    plan_id = waiting["prod"]["plan_id"]
    assert f"next: tfops approve {plan_id[:12]}\n" in deployed.sandbox.tfops("inspect", plan_id).out
    said = deployed.sandbox.tfops("approve", plan_id, "--key", deployed.key("bob"))
    assert "approved by bob; that is enough; next: tfops sync" in said.out, "what alice saw before counts"
    done = deployed.sandbox.sync(expect=0)
    assert done.outcomes == {"prod": "applied"}
    assert deployed.sandbox.json("history", "prod")["prod"]["deployments"][-1]["approved_by"] == ["alice", "bob"]


def test_an_approved_change_that_is_merged_later_is_not_used_up_by_one_before_it(deployed: Team) -> None:
    deployed.change("one", {"prod/main.tf": TWO})
    deployed.change("other", {"prod/more.tf": OTHER})
    deployed.approved("one", "alice", "bob")
    deployed.approved("other", "bob", "carol")
    deployed.merge("one")
    assert deployed.sandbox.sync(expect=0).outcomes == {"prod": "applied"}
    deployed.merge("other")
    assert deployed.sandbox.sync(expect=0).outcomes == {"prod": "applied"}


def test_a_commit_after_the_approval_waits_and_shows_what_changed(deployed: Team) -> None:
    deployed.change("pr", {"prod/main.tf": TWO})
    deployed.approved("pr", "alice", "bob")
    deployed.merge("pr")
    deployed.sandbox.commit({"prod/more.tf": OTHER})
    reasons = waits(deployed.sandbox.sync())
    assert "terraform_data.b" in reasons
    assert "prod/more.tf" in reasons
    assert "terraform_data.a " not in reasons


def test_two_approved_changes_merged_one_after_the_other_go_through_together(deployed: Team) -> None:
    deployed.change("one", {"prod/main.tf": TWO})
    deployed.change("other", {"prod/more.tf": OTHER})
    first, second = deployed.approved("one", "alice", "bob"), deployed.approved("other", "bob", "carol")
    deployed.merge("one")
    deployed.merge("other")
    assert deployed.sandbox.sync(expect=0).outcomes == {"prod": "applied"}
    newest = deployed.sandbox.json("history", "prod")["prod"]["deployments"][0]
    assert sorted(newest["approved_plans"]) == sorted([first, second])
    assert newest["approved_by"] == ["alice", "bob", "carol"]


def test_an_unrelated_merge_in_between_disturbs_nothing(deployed: Team) -> None:
    deployed.change("pr", {"prod/main.tf": TWO})
    deployed.approved("pr", "alice", "bob")
    deployed.sandbox.commit({"README.md": "hello\n"})
    deployed.merge("pr")
    assert deployed.sandbox.sync(expect=0).outcomes == {"prod": "applied"}


def test_a_script_that_shows_in_no_plan_waits(deployed: Team) -> None:
    deployed.change("pr", {"prod/main.tf": TWO})
    deployed.approved("pr", "alice", "bob")
    deployed.merge("pr")
    deployed.sandbox.commit({"prod/hook.sh": "#!/bin/sh\n", "prod/hook.tf": 'locals { x = file("hook.sh") }\n'})
    assert "prod/hook.sh is as no approved plan has it" in waits(deployed.sandbox.sync())


def test_an_approval_is_used_up_by_the_apply_it_let_through(deployed: Team) -> None:
    deployed.change("pr", {"prod/main.tf": TWO})
    deployed.approved("pr", "alice", "bob")
    deployed.merge("pr")
    deployed.sandbox.sync(expect=0)
    deployed.change("back", {"prod/main.tf": RESOURCE})
    deployed.approved("back", "alice", "bob")
    deployed.merge("back")
    deployed.sandbox.sync(expect=0)
    deployed.sandbox.commit({"prod/main.tf": TWO})
    waits(deployed.sandbox.sync())


def test_a_rejection_vetoes_until_it_is_withdrawn(team: Team) -> None:
    team.begin()
    plan_id = team.sandbox.sync(expect=3)["prod"]["plan_id"]
    for person in ("alice", "bob"):
        team.approve(plan_id, person)
    assert team.approve(plan_id, "carol", "--withdraw").errors == ["approval.nothing_to_withdraw"]
    assert team.approve(plan_id, "carol", "--override", "protect").errors == ["approval.nothing_to_override"]
    assert team.reject(plan_id, "carol", "the database!").code == 0
    assert "carol rejected it: the database!" in waits(team.sandbox.sync())
    assert team.approve(plan_id, "carol", "--withdraw").code == 0
    assert team.sandbox.sync(expect=0).outcomes == {"prod": "applied"}
    assert team.approve(plan_id, "carol").errors == ["approval.used"]


def test_an_ssh_key_where_a_signed_decision_is_asked_for_is_called_a_key(deployed: Team) -> None:
    for key in (deployed.key("alice"), deployed.key("alice").with_suffix(".pub")):
        refused = deployed.sandbox.json("approve", "--file", key)
        assert (refused.code, refused.errors) == (64, ["approval.file"])
        assert "is an SSH key, and no signed decision" in refused.messages


def test_nobody_approves_their_own_commit(deployed: Team) -> None:
    deployed.change("pr", {"prod/main.tf": TWO}, author="alice")
    plan_id = deployed.review("pr")
    own = deployed.approve(plan_id, "alice")
    assert (own.code, own.errors) == (3, ["approval.own_work"])
    assert "alice wrote or committed" in own.messages


def test_a_second_key_of_the_same_person_is_the_same_person(team: Team) -> None:
    team.begin(keys=2)
    plan_id = team.sandbox.sync(expect=3)["prod"]["plan_id"]
    for number in (1, 2):
        team.approve(plan_id, "alice", number=number)
    assert "there are 1" in waits(team.sandbox.sync())


def test_an_expired_approval_is_refused_by_name(team: Team) -> None:
    team.begin()
    plan_id = team.sandbox.sync(expect=3)["prod"]["plan_id"]
    team.approve(plan_id, "alice", "--valid", "1s")
    team.approve(plan_id, "bob")
    time.sleep(1)
    reasons = waits(team.sandbox.sync())
    assert "an approval by alice does not count: it expired at" in reasons


def test_an_approval_for_another_stack_is_refused_by_name(team: Team) -> None:
    extra = 'environment "other" {\n  branch = "main"\n  roots = ["other"]\n  approval { count = 2 }\n}\n'
    team.sandbox.commit({"tfops.hcl": team.config(extra=extra), "prod/main.tf": RESOURCE, "other/main.tf": RESOURCE})
    waiting = team.sandbox.sync(expect=3)
    other, prod = waiting["other"]["plan_id"], waiting["prod"]["plan_id"]
    team.approve(other, "alice")
    approvals = team.sandbox.store / "other" / "plans" / other / "approvals"
    shutil.copytree(approvals, team.sandbox.store / "prod" / "plans" / prod / "approvals")
    reasons = "\n".join(team.sandbox.sync(expect=3)["prod"]["reasons"])
    assert "an approval by alice does not count: it is for other, not for prod" in reasons


def test_a_stranger_cannot_approve(team: Team) -> None:
    team.begin()
    plan_id = team.sandbox.sync(expect=3)["prod"]["plan_id"]
    done = team.approve(plan_id, "mallory")
    assert f" of {team.key('mallory')} belongs to nobody" in done.messages
    assert (done.code, done.errors) == (3, ["approval.not_trusted"])


def test_a_decision_can_be_handed_over_as_a_file(team: Team, tmp_path: Path) -> None:
    team.begin()
    plan_id = team.sandbox.sync(expect=3)["prod"]["plan_id"]
    for person in ("alice", "bob"):
        file = tmp_path / f"{person}.json"
        assert team.approve(plan_id, person, "--out", file).json["stacks"][0]["file"] == str(file)
    waits(team.sandbox.sync())
    for person in ("alice", "bob"):
        assert team.sandbox.json("approve", "--file", tmp_path / f"{person}.json").code == 0
    assert team.sandbox.sync(expect=0).outcomes == {"prod": "applied"}


def _edit(approval: Path) -> None:
    text = approval.read_text()
    approval.write_text(text.replace('"keyid": "SHA256:', '"keyid": "SHA256:x', 1))


def _tear(approval: Path) -> None:
    approval.write_bytes(approval.read_bytes()[:100])


@pytest.mark.parametrize("attack", [_edit, _tear], ids=["edited", "torn"])
def test_an_approval_that_somebody_edited_in_the_store_does_not_count(
    team: Team, attack: Callable[[Path], None]
) -> None:
    team.begin()
    plan_id = team.sandbox.sync(expect=3)["prod"]["plan_id"]
    for person in ("alice", "bob"):
        team.approve(plan_id, person)
    first = sorted((team.sandbox.store / "prod" / "plans" / plan_id / "approvals").iterdir())[0]
    attack(first)
    assert "it does not count" in waits(team.sandbox.sync())


def test_whose_time_is_over_approves_nothing_and_what_they_approved_counts_no_more(team: Team) -> None:
    plan_id = team.begin() and team.sandbox.sync(expect=3)["prod"]["plan_id"]
    for person in ("alice", "bob"):
        assert team.approve(plan_id, person).code == 0
    mail = 'emails = ["alice@example.org"]'
    ended = team.config().replace(mail, f'{mail}\n  valid_until = "2026-01-01T00:00:00Z"')
    team.sandbox.commit({"tfops.hcl": ended})
    refused = team.approve(plan_id, "alice")
    assert (refused.code, refused.errors) == (3, ["approval.not_trusted"])
    team.sandbox.sync(expect=3)
    assert not team.sandbox.state_file("prod").exists()
    again = team.approve(plan_id, "alice")
    assert "the key of alice was valid until 2026-01-01" in again.messages


def idle(team: Team, name: str, *approvers: str, stacks: tuple[str, ...] = ("prod",)) -> None:
    """A change that changes nothing, of whose files these people approve."""
    planned = team.sandbox.json("plan", "--speculative", "--base", "main", "--head", name)
    assert planned.code == 0, planned
    for stack in stacks:
        assert planned[stack]["verdict"] == "in_sync"
        assert any("it changes nothing now" in reason for reason in planned[stack]["reasons"])
    for person in approvers:
        done = team.sandbox.json("approve", "--all-of", name, "--key", team.key(person))
        assert done.code == 0, done


def test_a_comment_is_approved_with_its_change_and_the_next_change_of_another_file_goes_through(deployed: Team) -> None:
    deployed.change("words", {"prod/main.tf": RESOURCE + "# a comment\n"}, author="alice")
    idle(deployed, "words", "bob", "carol")
    deployed.merge("words")
    assert deployed.sandbox.sync(expect=0).outcomes == {"prod": "converged"}
    deployed.change("more", {"prod/more.tf": RESOURCE.replace('"a"', '"b"')}, author="bob")
    deployed.approved("more", "alice", "carol")
    deployed.merge("more")
    assert deployed.sandbox.sync(expect=0).outcomes == {"prod": "applied"}


def test_a_comment_that_too_few_approved_waits_with_what_lands_upon_it_for_who_is_missing(deployed: Team) -> None:
    deployed.change("words", {"prod/main.tf": RESOURCE + "# a comment\n"}, author="alice")
    idle(deployed, "words", "bob")
    deployed.merge("words")
    deployed.sandbox.sync(expect=0)
    deployed.change("more", {"prod/more.tf": RESOURCE.replace('"a"', '"b"')}, author="bob")
    deployed.approved("more", "alice", "carol")
    deployed.merge("more")
    plan_id = deployed.sandbox.sync(expect=3)["prod"]["plan_id"]
    assert deployed.approve(plan_id, "carol").code == 0
    assert deployed.sandbox.sync(expect=0).outcomes == {"prod": "applied"}


def test_a_module_that_two_stacks_share_is_approved_for_both_though_one_of_them_stays_as_it_is(team: Team) -> None:
    sandbox = team.sandbox
    module = 'variable "x" {}\nresource "terraform_data" "m" {\n  count = var.x == "one" ? 1 : 2\n}\n'
    use = 'module "m" {\n  source = "../../mod"\n  x      = "%s"\n}\n'
    text = team.config().replace('roots = ["prod"]', 'roots = ["prod/*"]')
    mains = {f"prod/{name}/main.tf": use % number for name, number in (("a", "two"), ("b", "one"))}
    sandbox.commit({"tfops.hcl": text, "mod/main.tf": module, **mains})
    first = sandbox.sync(expect=3)
    for stack in mains:
        for person in ("alice", "bob"):
            assert team.approve(first[stack.removesuffix("/main.tf")]["plan_id"], person).code == 0
    sandbox.sync(expect=0)
    team.change("module", {"mod/main.tf": module.replace(": 2", ": 3")}, author="alice")
    planned = sandbox.json("plan", "--speculative", "--base", "main", "--head", "module")
    assert (planned.code, planned["prod/b"]["verdict"], bool(planned["prod/b"]["plan_id"])) == (2, "in_sync", True)
    for person in ("bob", "carol"):
        assert sandbox.json("approve", "--all-of", "module", "--key", team.key(person)).code == 0
    team.merge("module")
    assert sandbox.sync(expect=0).outcomes == {"prod/a": "applied", "prod/b": "converged"}
    team.change("more", {"prod/b/more.tf": OTHER}, author="bob")
    plan_id = sandbox.json("plan", "--speculative", "--base", "main", "--head", "more")["prod/b"]["plan_id"]
    for person in ("alice", "carol"):
        assert team.approve(plan_id, person).code == 0
    team.merge("more")
    assert sandbox.sync(expect=0).outcomes["prod/b"] == "applied"
