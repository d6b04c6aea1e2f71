"""A branch only goes forward; a renamed root keeps its state; what is gone from the branch is reported, not touched."""

import json
import shutil

from tests.e2e.sandbox import RESOURCE, Result, Sandbox, environment

TWO = RESOURCE.replace("one", "two")


def _input(sandbox: Sandbox, stack: str = "dev") -> str:
    value: str = sandbox.state(stack)["resources"][0]["instances"][0]["attributes"]["input"]["value"]
    return value


def _orphans(result: Result) -> dict[str, str | None]:
    return {orphan["stack"]: orphan["renamed_to"] for orphan in result.json["orphans"]}


def test_a_stale_clone_that_cannot_see_the_newer_revision_brings_nothing_back(sandbox: Sandbox) -> None:
    older = sandbox.one_stack()
    stale = sandbox.directory / "stale.git"
    shutil.copytree(sandbox.origin, stale)
    clone = sandbox.directory / "stale-clone"
    sandbox.git("clone", "-q", str(stale), str(clone), cwd=sandbox.directory)
    newer = sandbox.commit({"dev/main.tf": TWO})
    sandbox.sync(expect=0)
    sandbox.starts()
    result = sandbox.sync(cwd=clone, expect=3)
    assert result.outcomes == {"dev": "refused"}
    assert result.errors == ["revision.unknown"]
    assert newer[:12] in result.messages
    assert older[:12] in result.messages
    assert sandbox.starts() == []
    assert _input(sandbox) == "two"


def test_an_older_revision_is_not_brought_back_by_an_older_job(sandbox: Sandbox) -> None:
    older = sandbox.one_stack()
    sandbox.commit({"dev/main.tf": TWO})
    sandbox.sync(expect=0)
    sandbox.git("push", "-q", "-f", "origin", f"{older}:main")
    result = sandbox.sync(expect=3)
    assert result.errors == ["revision.backward"]
    assert "is older" in result.messages
    assert _input(sandbox) == "two"


def test_after_a_force_push_a_person_decides(sandbox: Sandbox) -> None:
    base = sandbox.one_stack()
    sandbox.commit({"dev/main.tf": TWO})
    sandbox.sync(expect=0)
    sandbox.git("reset", "-q", "--hard", base)
    sandbox.commit({"dev/main.tf": RESOURCE.replace("one", "three")})
    result = sandbox.sync(expect=3)
    assert result.errors == ["revision.backward"]
    assert "does not contain it" in result.messages
    assert "--allow-backward" in result.messages
    assert _input(sandbox) == "two"
    sandbox.sync("--allow-backward", expect=0)
    assert _input(sandbox) == "three"
    assert sandbox.sync(expect=0).runs == {"dev": 0}


def test_an_older_revision_with_the_same_inputs_is_converged_and_moves_nothing(sandbox: Sandbox) -> None:
    older = sandbox.one_stack()
    newer = sandbox.commit({"README.md": "words"})
    sandbox.sync(expect=0)
    sandbox.git("push", "-q", "-f", "origin", f"{older}:main")
    assert sandbox.sync(expect=0).outcomes == {"dev": "converged"}
    assert sandbox.json("history", "dev")["dev"]["head"]["revision"] == newer


def test_a_shallow_clone_fetches_the_history_that_it_needs(sandbox: Sandbox) -> None:
    sandbox.one_stack()
    sandbox.sync(expect=0)
    sandbox.commit({"README.md": "words"})
    sandbox.commit({"dev/main.tf": TWO})
    shallow = sandbox.directory / "shallow"
    sandbox.git("clone", "-q", "--depth", "1", f"file://{sandbox.origin}", str(shallow), cwd=sandbox.directory)
    result = sandbox.sync(cwd=shallow, expect=0)
    assert result.outcomes == {"dev": "applied"}
    assert "this clone is shallow" in result.err


def test_a_revert_by_a_commit_goes_forward(sandbox: Sandbox) -> None:
    sandbox.one_stack()
    sandbox.commit({"dev/main.tf": TWO})
    sandbox.sync(expect=0)
    sandbox.git("revert", "--no-edit", "HEAD")
    sandbox.git("push", "-q")
    assert sandbox.sync(expect=0).outcomes == {"dev": "applied"}
    assert _input(sandbox) == "one"


def test_a_removed_root_is_reported_as_orphaned_and_left_alone(sandbox: Sandbox) -> None:
    sandbox.stacks(environment("dev") + environment("old"), {"dev/main.tf": RESOURCE, "old/main.tf": RESOURCE})
    sandbox.sync(expect=0)
    before = sandbox.state("old")
    sandbox.stacks(environment("dev"), {"old/main.tf": None})
    result = sandbox.sync(expect=0)
    assert list(result.outcomes) == ["dev"]
    assert _orphans(result) == {"old": None}
    assert _orphans(sandbox.json("stacks")) == {"old": None}
    assert "orphaned: old" in sandbox.tfops("sync").out
    assert sandbox.state("old") == before
    doctor = sandbox.json("doctor")
    assert doctor.code == 0
    assert any(f["name"] == "orphaned stacks" and f["warning"] for f in doctor.json["findings"])
    assert len(sandbox.history("old")) == 1


def test_a_renamed_environment_with_a_moved_entry_keeps_its_managed_state(sandbox: Sandbox) -> None:
    sandbox.stacks(environment("dev"), {"dev/main.tf": RESOURCE})
    sandbox.sync(expect=0)
    before = sandbox.resources("dev")
    sandbox.stacks(
        environment("test"),
        {"dev/main.tf": None, "test/main.tf": RESOURCE},
        extra='moved {\n  from = "dev"\n  to = "test"\n}\n',
    )
    result = sandbox.sync(expect=0)
    assert result.outcomes == {"test": "converged"}
    assert sandbox.resources("dev") == before  # where the state lies does not change
    assert _orphans(result) == {"dev": "test"}
    assert sandbox.sync(expect=0).runs == {"test": 0}
    sandbox.commit({"test/main.tf": TWO})
    assert sandbox.sync(expect=0)["test"]["summary"]["update"] == 1
    assert sandbox.resources("dev") == before


def test_a_renamed_root_on_a_backend_of_its_own_is_a_rename_too(sandbox: Sandbox) -> None:
    path = sandbox.directory / "app.tfstate"
    code = f'terraform {{\n  backend "local" {{\n    path = "{path}"\n  }}\n}}\n' + RESOURCE
    sandbox.stacks(environment("dev", roots='["apps/*"]'), {"apps/old/main.tf": code})
    sandbox.sync(expect=0)
    before = path.read_text()
    sandbox.commit({"apps/old/main.tf": None, "apps/new/main.tf": code})
    result = sandbox.sync(expect=0)
    assert result.outcomes == {"dev/new": "converged"}
    assert _orphans(result) == {"dev/old": "dev/new"}
    assert path.read_text() == before


def test_a_renamed_environment_without_a_moved_entry_is_not_created_a_second_time(sandbox: Sandbox) -> None:
    sandbox.stacks(environment("dev"), {"dev/main.tf": RESOURCE})
    sandbox.sync(expect=0)
    before = sandbox.state("dev")
    sandbox.stacks(environment("test", roots='["dev"]'), {})
    result = sandbox.sync(expect=3)
    assert result.outcomes == {"test": "refused"}
    assert result.errors == ["stack.renamed"]
    assert 'moved { from = "dev", to = "test" }' in result.messages
    assert not sandbox.state_file("test").exists()
    assert sandbox.sync("--as-new", expect=0).outcomes == {"test": "applied"}
    assert _orphans(sandbox.sync(expect=0)) == {"dev": None}
    assert sandbox.state("dev") == before


def test_the_hint_about_a_rename_can_be_pasted(sandbox: Sandbox) -> None:
    sandbox.stacks(environment("dev"), {"dev/main.tf": RESOURCE})
    sandbox.sync(expect=0)
    sandbox.stacks(environment("test", roots='["dev"]'), {})
    hint = sandbox.sync(expect=3).json["errors"][0]["hint"]
    block = hint[hint.index("moved {") : hint.index("}") + 1]
    sandbox.stacks(environment("test", roots='["dev"]'), {}, extra=block + "\n")
    assert sandbox.sync(expect=0).outcomes == {"test": "converged"}


def test_another_branch_has_orphans_of_its_own_only(sandbox: Sandbox) -> None:
    sandbox.stacks(
        environment("dev") + environment("prod", branch="release"), {"dev/main.tf": RESOURCE, "prod/main.tf": RESOURCE}
    )
    sandbox.git("push", "-q", "origin", "HEAD:release")
    sandbox.sync(expect=0)
    sandbox.sync("--branch", "release", expect=0)
    assert sandbox.sync(expect=0).json["orphans"] == []
    assert sandbox.sync("--branch", "release", expect=0).json["orphans"] == []


def test_terraforms_own_moved_block_destroys_nothing(sandbox: Sandbox) -> None:
    sandbox.one_stack()
    sandbox.sync(expect=0)
    (before,) = sandbox.resources().values()
    sandbox.commit(
        {
            "dev/main.tf": RESOURCE.replace('"a"', '"renamed"')
            + "moved {\n  from = terraform_data.a\n  to = terraform_data.renamed\n}\n"
        }
    )
    result = sandbox.sync(expect=0)
    assert result.outcomes == {"dev": "applied"}
    assert {name: number for name, number in result["dev"]["summary"].items() if number} == {"move": 1}
    assert sandbox.resources() == {"terraform_data.renamed": before}


def test_a_state_that_somebody_else_changed_is_planned_again_and_waits_for_a_person(sandbox: Sandbox) -> None:
    """A hand on the state with a new serial is no fault; but nobody has looked at what applying would do about it."""
    sandbox.one_stack()
    sandbox.sync(expect=0)
    state = sandbox.state()
    state["serial"] += 1
    state["resources"] = []
    sandbox.state_file().write_text(json.dumps(state))
    waiting = sandbox.sync(expect=3)
    assert waiting.outcomes == {"dev": "waiting"}
    assert "somebody else wrote its state since it was deployed" in waiting["dev"]["reasons"][0]
    assert sandbox.tfops("recover", "dev", "--adopt-state", "--reason", "it was meant").code == 0
    assert sandbox.sync(expect=0).outcomes == {"dev": "applied"}


def test_a_renamed_environment_is_recognised_though_its_code_was_edited_as_well(sandbox: Sandbox) -> None:
    sandbox.stacks(environment("dev"), {"dev/main.tf": RESOURCE})
    sandbox.sync(expect=0)
    sandbox.stacks(environment("test", roots='["dev"]'), {"dev/main.tf": RESOURCE + "# edited\n"})
    assert sandbox.sync(expect=3).errors == ["stack.renamed"]
    sandbox.commit({"dev/main.tf": RESOURCE + "# edited again\n"})
    assert sandbox.sync(expect=3).errors == ["stack.renamed"]
    assert sandbox.sync("--as-new", expect=0).outcomes == {"test": "applied"}


def test_another_workspace_is_not_told_as_a_lost_state(sandbox: Sandbox) -> None:
    sandbox.stacks(environment("dev"), {"dev/main.tf": RESOURCE})
    sandbox.sync(expect=0)
    sandbox.stacks(environment("dev", workspace='"blue"'), {})
    result = sandbox.sync(expect=5)
    assert result.errors == ["state.address_changed"]
    assert "managed:dev#default" in result.messages


def test_naming_a_stack_does_not_take_it_out_of_its_order(sandbox: Sandbox) -> None:
    both = environment("dev") + environment("prod", after='["dev"]')
    sandbox.stacks(both, {"dev/main.tf": RESOURCE, "prod/main.tf": RESOURCE})
    result = sandbox.sync("prod", expect=3)
    assert result.errors == ["order.not_converged"]
    assert "tfops sync dev prod" in str(result.json["errors"])
    sandbox.sync("dev", expect=0)
    assert sandbox.sync("prod", expect=0).outcomes == {"prod": "applied"}
