"""What is gone from the branch is destroyed by `sync --prune`: from its kept inputs, and through the same gate."""

import json
import shutil
import signal
from pathlib import Path

import pytest

from tests.e2e.people import Team
from tests.e2e.sandbox import RESOURCE, BucketWorld, Result, Sandbox, environment, wait_for
from tests.killing.table import end_processes

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("terraform") is None, reason="no terraform on PATH"),
]
needs_ssh = pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="no OpenSSH client")

TWO = RESOURCE + RESOURCE.replace('"a"', '"b"')


def orphaned(result: Result) -> list[str]:
    return [orphan["stack"] for orphan in result.json["orphans"]]


def deployed(sandbox: Sandbox, *, old: str = RESOURCE, **keys: str) -> None:
    """Two environments, `dev` and `old`, applied."""
    environments = environment("dev") + environment("old", **keys)
    sandbox.stacks(environments, {"dev/main.tf": RESOURCE, "old/main.tf": old})
    sandbox.sync(expect=0)


def remove(sandbox: Sandbox) -> None:
    """A commit without `old`."""
    sandbox.stacks(environment("dev"), {"old/main.tf": None})


def reads(sandbox: Sandbox, stack: str) -> str:
    path = sandbox.state_file(stack)
    return f"""
data "terraform_remote_state" "it" {{
  backend = "local"
  config = {{ path = "{path}" }}
}}
"""


# ----------------------------------------------------------------- what is destroyed


def test_what_is_gone_is_destroyed_once_and_stays_in_the_history(sandbox: Sandbox) -> None:
    deployed(sandbox, old=TWO)
    remove(sandbox)
    plain = sandbox.sync(expect=0)
    assert (orphaned(plain), list(plain.outcomes)) == (["old"], ["dev"])
    assert "tfops sync --prune" in sandbox.tfops("sync").out
    dry = sandbox.sync("--prune", "--dry-run", expect=2)
    assert (dry.outcomes, orphaned(dry)) == ({"dev": "converged", "old": "pending"}, ["old"])
    assert (dry["old"]["summary"]["delete"], dry["old"]["purpose"]) == (2, "prune")
    assert len(sandbox.resources("old")) == 2

    done = sandbox.sync("--prune", expect=0)
    assert (done.outcomes, orphaned(done)) == ({"dev": "converged", "old": "applied"}, [])
    assert sandbox.resources("old") == {}
    assert sandbox.state("old")["resources"] == []
    newest = sandbox.history("old")[0]
    assert (newest["result"], newest["plan_id"]) == ("destroyed", done["old"]["plan_id"])
    assert len(sandbox.history("old")) == 2
    assert sandbox.tfops("verify", newest["plan_id"]).code == 0

    assert sandbox.tfops("audit", "verify").code == 0
    again = sandbox.sync("--prune", expect=0)
    assert (again.outcomes, orphaned(again), again.runs) == ({"dev": "converged"}, [], {"dev": 0})


def test_a_stack_that_comes_back_is_deployed_anew(sandbox: Sandbox) -> None:
    deployed(sandbox)
    remove(sandbox)
    sandbox.sync("--prune", expect=0)
    sandbox.git("revert", "--no-edit", "HEAD")
    sandbox.git("push", "-q")
    back = sandbox.sync(expect=0)
    assert back.outcomes == {"dev": "converged", "old": "applied"}
    assert (back["old"]["summary"]["create"], list(sandbox.resources("old"))) == (1, ["terraform_data.a"])
    assert sandbox.sync(expect=0).runs == {"dev": 0, "old": 0}
    remove(sandbox)
    assert sandbox.sync("--prune", expect=0).outcomes["old"] == "applied"


def test_one_that_comes_back_needs_nothing_of_its_old_state(sandbox: Sandbox) -> None:
    deployed(sandbox)
    remove(sandbox)
    sandbox.sync("--prune", expect=0)
    sandbox.state_file("old").unlink()
    sandbox.git("revert", "--no-edit", "HEAD")
    sandbox.git("push", "-q")
    assert sandbox.sync(expect=0).outcomes["old"] == "applied"


def test_an_orphan_that_holds_nothing_is_let_go_without_an_apply(sandbox: Sandbox) -> None:
    deployed(sandbox, old=RESOURCE)
    sandbox.commit({"old/main.tf": "# nothing\n"})
    sandbox.sync(expect=0)
    remove(sandbox)
    done = sandbox.sync("--prune", expect=0)
    assert (done.outcomes["old"], done["old"]["plan_id"], orphaned(done)) == ("converged", None, [])
    assert sandbox.history("old")[0]["result"] == "destroyed"


def test_what_reads_others_goes_first(sandbox: Sandbox) -> None:
    environments = environment("dev") + environment("net") + environment("app", after='["net"]')
    files = {"dev/main.tf": RESOURCE, "net/main.tf": RESOURCE + 'output "o" {\n  value = 1\n}\n'}
    sandbox.stacks(environments, {**files, "app/main.tf": RESOURCE + reads(sandbox, "net")})
    sandbox.sync(expect=0)
    sandbox.stacks(environment("dev"), {"net/main.tf": None, "app/main.tf": None})
    done = sandbox.sync("--prune", expect=0)
    assert done.outcomes == {"dev": "converged", "app": "applied", "net": "applied"}
    ended = [sandbox.history(name)[0]["at"] for name in ("app", "net")]
    assert ended == sorted(ended)


def test_what_a_live_stack_reads_is_left_alone(sandbox: Sandbox) -> None:
    environments = environment("dev") + environment("net")
    code = RESOURCE + reads(sandbox, "net")
    sandbox.stacks(environments, {"dev/main.tf": code, "net/main.tf": RESOURCE})
    sandbox.sync(expect=0)
    sandbox.stacks(environment("dev"), {"net/main.tf": None})
    left = sandbox.sync("--prune")
    assert (left.outcomes["net"], orphaned(left)) == ("skipped", ["net"])
    assert left["net"]["reasons"] == ["dev reads its state"]
    assert list(sandbox.resources("net")) == ["terraform_data.a"]
    sandbox.commit({"dev/main.tf": RESOURCE})
    assert sandbox.sync("--prune", expect=0).outcomes == {"dev": "converged", "net": "applied"}
    assert orphaned(sandbox.sync(expect=0)) == []


def test_an_environment_may_prune_by_itself_as_long_as_it_is_there(sandbox: Sandbox) -> None:
    block = environment("dev", roots='["dev/*"]', prune="true")
    sandbox.stacks(block, {"dev/a/main.tf": RESOURCE, "dev/b/main.tf": RESOURCE})
    sandbox.sync(expect=0)
    sandbox.commit({"dev/b/main.tf": None})
    done = sandbox.sync(expect=0)
    assert (done.outcomes, orphaned(done)) == ({"dev/a": "converged", "dev/b": "applied"}, [])
    sandbox.stacks(environment("other"), {"other/main.tf": RESOURCE, "dev/a/main.tf": None})
    assert orphaned(sandbox.sync("--as-new", expect=0)) == ["dev/a"], "whose environment is gone needs --prune"


def test_a_failed_end_stays_orphaned_with_the_reason_and_goes_on_later(sandbox: Sandbox) -> None:
    flag = sandbox.directory / "may-go"
    local = 'provisioner "local-exec" {\n    when = destroy\n    command = "test -e ' + str(flag) + '"\n  }\n'
    deployed(sandbox, old=TWO.replace('"b" {', f'"b" {{\n  {local}'))
    remove(sandbox)
    failed = sandbox.sync("--prune", expect=1)
    assert (failed.outcomes["old"], orphaned(failed)) == ("failed", ["old"])
    assert failed["old"]["reasons"]
    flag.touch()
    done = sandbox.sync("--prune", expect=0)
    assert (done.outcomes["old"], orphaned(done)) == ("applied", [])
    assert done["old"]["plan_id"] != failed["old"]["plan_id"]


def test_an_end_that_was_killed_goes_on_with_a_fresh_plan(sandbox: Sandbox) -> None:
    begun, flag = sandbox.directory / "begun", sandbox.directory / "may-go"
    slow = f"touch {begun}; until test -e {flag}; do sleep 0.1; done"
    local = f'provisioner "local-exec" {{\n    when    = destroy\n    command = "{slow}"\n  }}\n'
    deployed(sandbox, old=TWO.replace('"b" {', f'"b" {{\n  {local}'))
    remove(sandbox)
    running = sandbox.start("sync", "--prune")
    wait_for(begun.exists, what="the destroying")
    running.signal(signal.SIGKILL)
    flag.touch()
    running.end()
    assert orphaned(sandbox.sync(expect=0)) == ["old"]
    done = sandbox.sync("--prune", expect=0)
    assert orphaned(done) == []
    assert sandbox.resources("old") == {}
    assert [one["result"] for one in sandbox.history("old")] == ["destroyed", "interrupted", "applied"]


def test_of_an_orphan_too_a_person_can_take_the_state_as_it_is(sandbox: Sandbox) -> None:
    deployed(sandbox, old=TWO)
    remove(sandbox)
    state = sandbox.state("old")
    sandbox.state_file("old").write_text(json.dumps(state | {"serial": state["serial"] + 1}))
    waiting = sandbox.sync("--prune", expect=3)
    assert "somebody else wrote its state" in " ".join(waiting["old"]["reasons"])
    assert sandbox.json("recover", "old").code == 0
    assert sandbox.tfops("recover", "old", "--adopt-state", "--reason", "looked").code == 0
    assert orphaned(sandbox.sync("--prune", expect=0)) == []


def test_it_goes_with_nothing_that_narrows_or_bends_it(sandbox: Sandbox) -> None:
    deployed(sandbox)
    for more in (["old"], ["--allow-backward"], ["dev", "--plan", "abcdef123456"]):
        assert sandbox.json("sync", "--prune", *more).errors == ["usage.prune"]


@pytest.fixture
def on_s3(tmp_path: Path, moto_bucket: BucketWorld):  # type: ignore[no-untyped-def]
    made = Sandbox(tmp_path / "world", bucket=moto_bucket)
    yield made
    end_processes(made)


def test_in_a_bucket_it_is_the_same(on_s3: Sandbox) -> None:
    deployed(on_s3)
    remove(on_s3)
    done = on_s3.sync("--prune", expect=0)
    assert (done.outcomes["old"], orphaned(done)) == ("applied", [])
    assert on_s3.state_locks() == []
    on_s3.git("revert", "--no-edit", "HEAD")
    on_s3.git("push", "-q")
    assert on_s3.sync(expect=0).outcomes["old"] == "applied"


# ----------------------------------------------------------------- attacks and accidents


def test_a_renamed_root_is_never_destroyed(sandbox: Sandbox) -> None:
    deployed(sandbox)
    moved = environment("dev") + environment("new", roots='["old"]')
    sandbox.stacks(moved, {})
    result = sandbox.sync("--prune", expect=3)
    assert result.errors == ["stack.renamed"]
    assert result.outcomes == {"dev": "converged", "new": "refused", "old": "skipped"}
    assert list(sandbox.resources("old")) == ["terraform_data.a"]
    sandbox.stacks(moved, {}, extra='moved {\n  from = "old"\n  to = "new"\n}\n')
    result = sandbox.sync("--prune", expect=0)
    assert result.outcomes == {"dev": "converged", "new": "converged"}
    assert list(sandbox.resources("old")) == ["terraform_data.a"]


def test_a_stack_that_was_renamed_and_then_removed_is_destroyed_where_it_lies(sandbox: Sandbox) -> None:
    deployed(sandbox)
    sandbox.stacks(
        environment("dev") + environment("new", roots='["old"]'), {}, extra='moved {\n  from = "old"\n  to = "new"\n}\n'
    )
    sandbox.sync(expect=0)
    remove(sandbox)
    done = sandbox.sync("--prune", expect=0)
    assert (done.outcomes["new"], orphaned(done)) == ("applied", [])
    assert sandbox.resources("old") == {}


def test_an_environment_that_another_branch_got_is_not_gone(sandbox: Sandbox) -> None:
    deployed(sandbox)
    sandbox.stacks(environment("dev") + environment("old", branch="release"), {})
    result = sandbox.sync("--prune", expect=0)
    assert (list(result.outcomes), orphaned(result)) == (["dev"], ["old"])
    assert "belongs to the branch release now" in result.json["orphans"][0]["message"]
    assert list(sandbox.resources("old")) == ["terraform_data.a"]


def test_a_revision_from_before_a_stack_was_made_does_not_destroy_it(sandbox: Sandbox) -> None:
    sandbox.stacks(environment("dev"), {"dev/main.tf": RESOURCE})
    before = sandbox.sync(expect=0)
    first = sandbox.git("rev-parse", "HEAD")
    deployed(sandbox)
    sandbox.git("push", "-q", "--force", "origin", f"{first}:main")
    sandbox.git("reset", "-q", "--hard", first)
    result = sandbox.sync("--prune", expect=3)
    assert "revision.backward" in result.errors
    assert list(sandbox.resources("old")) == ["terraform_data.a"]
    assert before.code == 0


def test_kept_inputs_that_somebody_changed_destroy_nothing(sandbox: Sandbox) -> None:
    deployed(sandbox)
    remove(sandbox)
    for kept in (sandbox.store / "old" / "inputs").iterdir():
        kept.write_bytes(
            (sandbox.store / "dev" / "inputs" / next((sandbox.store / "dev" / "inputs").iterdir()).name).read_bytes()
        )
    result = sandbox.sync("--prune", expect=5)
    assert (result.outcomes["old"], result.errors) == ("refused", ["store.damaged"])
    assert list(sandbox.resources("old")) == ["terraform_data.a"]


# ----------------------------------------------------------------- the gate


def guarded(team: Team, *, protect: str = "", with_old: bool = True) -> str:
    """`prod` with an open gate, and `old`, which asks for two people."""
    old = environment("old", count=2).replace("  approval", f"{protect}  approval") if with_old else ""
    text = team.sandbox.config(environment("prod", count=0) + old)
    return text.replace("trust {", f"trust {{\n{team.trust()}", 1)


@pytest.fixture
def team(sandbox: Sandbox) -> Team:
    """Three people, and `old`, approved and applied."""
    team = Team(sandbox=sandbox)
    sandbox.commit({"tfops.hcl": guarded(team), "prod/main.tf": RESOURCE, "old/main.tf": RESOURCE})
    approve(team, sandbox.sync()["old"]["plan_id"], "alice", "bob")
    sandbox.sync(expect=0)
    return team


def approve(team: Team, plan_id: str, *people: str) -> None:
    for person in people:
        said = team.approve(plan_id, person)
        assert said.code == 0, said


@needs_ssh
def test_who_removes_an_environment_does_not_get_around_its_gate(team: Team) -> None:
    sandbox = team.sandbox
    sandbox.commit({"tfops.hcl": guarded(team, with_old=False), "old/main.tf": None})
    waiting = sandbox.sync("--prune", expect=3)
    assert (waiting.outcomes["old"], orphaned(waiting)) == ("waiting", ["old"])
    assert "asks for 2 approvals" in " ".join(waiting["old"]["reasons"])
    plan_id = waiting["old"]["plan_id"]
    again = sandbox.sync("--prune", expect=3)
    assert again["old"]["plan_id"] == plan_id, "it is not made again"
    approve(team, plan_id, "alice")
    assert sandbox.sync("--prune", expect=3).outcomes["old"] == "waiting"
    # The rules may forget it with the consent of two: its own gate is still known from the rules before.
    approve(team, sandbox.sync(expect=3).json["rules"]["id"], "alice", "bob")
    sandbox.sync(expect=0)
    assert "asks for 2 approvals" in " ".join(sandbox.sync("--prune", expect=3)["old"]["reasons"])
    assert list(sandbox.resources("old")) == ["terraform_data.a"]
    approve(team, plan_id, "bob")
    done = sandbox.sync("--prune", expect=0)
    assert (done.outcomes["old"], orphaned(done)) == ("applied", [])
    newest = sandbox.history("old")[0]
    assert newest["result"] == "destroyed"
    assert newest["approved_by"] == ["alice", "bob"]
    sandbox.commit({"tfops.hcl": guarded(team), "old/main.tf": RESOURCE})
    back = sandbox.sync(expect=3)
    assert back.outcomes["old"] == "waiting", "who let it go did not ask it back"
    approve(team, back["old"]["plan_id"], "alice", "bob")
    assert sandbox.sync().outcomes["old"] == "applied"


@needs_ssh
def test_what_a_revoked_approver_said_destroys_nothing(team: Team) -> None:
    sandbox = team.sandbox
    sandbox.commit({"old/main.tf": None, "tfops.hcl": guarded(team, with_old=False)})
    plan_id = sandbox.sync("--prune", expect=3)["old"]["plan_id"]
    approve(team, plan_id, "alice", "bob")
    text = guarded(team, with_old=False).replace(team.trust(), team.trust(revoked=("bob",)))
    sandbox.commit({"tfops.hcl": text})
    result = sandbox.sync("--prune", expect=3)
    assert result.outcomes["old"] == "waiting"
    assert list(sandbox.resources("old")) == ["terraform_data.a"]


@needs_ssh
def test_who_approved_a_change_did_not_approve_the_end(team: Team) -> None:
    sandbox = team.sandbox
    # The same deletion, as a change of the code: approved, but never applied.
    sandbox.commit({"old/main.tf": "# nothing\n"})
    plan_id = sandbox.sync(expect=3)["old"]["plan_id"]
    approve(team, plan_id, "alice", "bob")
    sandbox.commit({"old/main.tf": None, "tfops.hcl": guarded(team, with_old=False)})
    result = sandbox.sync("--prune", expect=3)
    assert (result.outcomes["old"], "there are 0" in " ".join(result["old"]["reasons"])) == ("waiting", True)
    assert sandbox.json("sync", "prod", "--plan", result["old"]["plan_id"]).code == 5
    assert list(sandbox.resources("old")) == ["terraform_data.a"]


@needs_ssh
def test_what_is_protected_needs_an_override_to_be_destroyed(sandbox: Sandbox) -> None:
    team = Team(sandbox=sandbox)
    protect = "  protect { max_destroy = 0 }\n"
    text = guarded(team, protect=protect).replace("count = 2", "count = 0")
    sandbox.commit({"tfops.hcl": text, "prod/main.tf": RESOURCE, "old/main.tf": RESOURCE})
    sandbox.sync(expect=0)
    sandbox.commit({"tfops.hcl": guarded(team, with_old=False), "old/main.tf": None})
    waiting = sandbox.sync("--prune", expect=3)
    assert "protect allows 0" in " ".join(waiting["old"]["reasons"])
    said = team.approve(waiting["old"]["plan_id"], "alice", "--override", "protect")
    assert said.code == 0, said
    assert sandbox.sync("--prune").outcomes["old"] == "applied"
    assert json.dumps(sandbox.history("old")[0]["overrides"]) == '["protect"]'
