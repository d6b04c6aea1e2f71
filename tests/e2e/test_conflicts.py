"""What somebody changed by hand is not overwritten by a commit that wants it otherwise, unless people say so."""

import shutil

import pytest

from tests.e2e.drift_world import PASSWORD, RECORD, SERVER, World, drop, resources
from tests.e2e.people import Team
from tests.e2e.sandbox import Result

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("terraform") is None, reason="no terraform on PATH"),
    pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="no OpenSSH client"),
]


def commit(world: World, code: str) -> None:
    """Commit code, and three people who may approve."""
    text = world.sandbox.config(world.block()).replace("trust {", f"trust {{\n{team(world).trust()}", 1)
    world.sandbox.commit({"tfops.hcl": text, **world.files(code)})


def team(world: World) -> Team:
    return Team(sandbox=world.sandbox)


@pytest.fixture
def shared(world: World) -> World:
    """One stack, applied, and people."""
    commit(world, resources())
    team(world).sandbox.sync()
    if world.sandbox.sync().json["rules"]:
        world.sandbox.accept_rules()
    return world


def waits(result: Result) -> tuple[str, str]:
    assert (result.code, result.outcomes) == (3, {"dev": "waiting"}), result
    return result["dev"]["plan_id"], "\n".join(result["dev"]["reasons"])


def test_who_edits_what_a_commit_changes_too_is_asked_about_first(shared: World) -> None:
    shared.edit(size=5)
    commit(shared, resources(size=9))
    assert "somebody outside changed size" in "\n".join(shared.sandbox.sync("--dry-run", expect=3)["dev"]["reasons"])
    plan_id, reasons = waits(shared.sandbox.sync())
    assert f"{SERVER}: somebody outside changed size, and the code wants yet another value there" in reasons
    assert "tfops drift dev" in reasons and "tfops approve PLAN --override drift" in reasons
    assert waits(shared.sandbox.sync())[0] == plan_id, "it goes on waiting, however often it is looked at"
    assert shared.server()["size"] == 5

    people = team(shared)
    assert people.approve(plan_id, "alice").code == 0
    waits(shared.sandbox.sync())
    assert people.approve(plan_id, "bob", "--override", "drift").code == 0
    assert shared.sandbox.sync(expect=0).outcomes == {"dev": "applied"}
    assert shared.server()["size"] == 9
    assert shared.sandbox.history()[0]["overrides"] == ["drift"]

    shared.edit(size=5)
    commit(shared, resources(size=7))
    waits(shared.sandbox.sync())


def test_who_takes_the_edit_back_has_settled_it(shared: World) -> None:
    shared.edit(size=5)
    commit(shared, resources(size=9))
    waits(shared.sandbox.sync())
    shared.edit(size=1)
    assert shared.sandbox.sync(expect=0).outcomes == {"dev": "applied"}


def test_an_override_of_one_edit_lets_no_other_edit_be_overwritten(shared: World) -> None:
    shared.edit(size=5)
    commit(shared, resources(size=9))
    plan_id, _ = waits(shared.sandbox.sync())
    assert team(shared).approve(plan_id, "alice", "--override", "drift").code == 0
    shared.edit(size=6)
    waits(shared.sandbox.sync())
    assert shared.server()["size"] == 6


def test_a_secret_in_conflict_waits_and_is_named_but_not_shown(shared: World) -> None:
    shared.edit(password="set-by-somebody")
    commit(shared, resources().replace(PASSWORD, "pw-of-a-commit"))
    for _ in range(2):
        first = shared.sandbox.sync()
        _, reasons = waits(first)
        assert f"{SERVER}: somebody outside changed password" in reasons
        assert "pw-of" not in first.out + first.err and "set-by" not in first.out + first.err


def test_drift_that_is_only_taken_back_waits_for_nobody(shared: World) -> None:
    shared.edit(size=5)
    commit(shared, resources(env="test"))
    assert shared.sandbox.sync(expect=0).outcomes == {"dev": "applied"}
    assert (shared.server()["size"], shared.server()["tags"]) == (1, {"env": "test"})


def test_a_state_that_somebody_else_wrote_waits_until_it_is_looked_at(shared: World) -> None:
    shared.rewrite(lambda state: drop(state, RECORD))
    plan_id, reasons = waits(shared.sandbox.sync())
    assert "somebody else wrote its state since it was deployed" in reasons
    assert "tfops recover dev --adopt-state" in reasons
    assert waits(shared.sandbox.sync())[0] == plan_id
    assert shared.sandbox.tfops("recover", "dev", "--adopt-state", "--reason", "moved by hand").code == 0
    assert shared.sandbox.sync(expect=0).outcomes == {"dev": "applied"}


def test_a_state_that_a_failed_apply_of_ours_left_is_ours(shared: World) -> None:
    shared.cloud.misbehave(fail=["create:b2"])
    more = (
        'resource "fakecloud_server" "b1" {\n  name = "b1"\n}\nresource "fakecloud_server" "b2" {\n  name = "b2"\n}\n'
    )
    commit(shared, resources() + more)
    assert shared.sandbox.sync().outcomes == {"dev": "failed"}
    shared.cloud.misbehave()
    assert shared.sandbox.sync(expect=0).outcomes == {"dev": "applied"}
