"""`sync STACK --plan`: exactly that plan or its equal, for that stack, that state, once."""

import json
import shutil
from pathlib import Path

import pytest

from tests.e2e.sandbox import RESOURCE, Sandbox, environment

TWO = {"dev/main.tf": RESOURCE, "prod/main.tf": RESOURCE}


def _plan(sandbox: Sandbox, stack: str = "dev") -> str:
    plan_id: str = sandbox.json("plan", stack)[stack]["plan_id"]
    return plan_id


def test_a_reviewed_plan_is_applied_by_its_id(sandbox: Sandbox) -> None:
    sandbox.one_stack()
    planned = sandbox.json("plan")
    assert planned.code == 2
    assert not sandbox.state_file().exists()
    result = sandbox.sync("dev", "--plan", planned["dev"]["plan_id"][:12], expect=0)
    assert result.outcomes == {"dev": "applied"}
    assert result["dev"]["change_digest"] == planned["dev"]["change_digest"]
    assert sandbox.resources().keys() == {"terraform_data.a"}


def test_history_lists_the_deployment_of_a_given_plan_once(sandbox: Sandbox) -> None:
    sandbox.one_stack()
    sandbox.sync("dev", "--plan", _plan(sandbox), expect=0)
    assert len(sandbox.history()) == 1


def test_a_plan_from_a_directory_is_applied(sandbox: Sandbox) -> None:
    sandbox.one_stack()
    out = sandbox.directory / "out"
    planned = sandbox.json("plan", "--out", out)
    assert planned["dev"]["artifact"] == str(out / "dev")
    assert {path.name for path in (out / "dev").iterdir()} >= {"plan.tfplan", "plan.json", "plan.txt", "statement.json"}
    assert (out / "dev/plan.tfplan").stat().st_mode & 0o077 == 0
    assert sandbox.sync("dev", "--plan", out / "dev", expect=0).outcomes == {"dev": "applied"}


def test_a_plan_is_applied_at_most_once(sandbox: Sandbox) -> None:
    sandbox.one_stack()
    out = sandbox.directory / "out"
    plan_id = sandbox.json("plan", "--out", out)["dev"]["plan_id"]
    sandbox.sync("dev", "--plan", plan_id, expect=0)
    for name in (plan_id, out / "dev"):
        result = sandbox.sync("dev", "--plan", name, expect=5)
        assert result.errors == ["verify.claimed"]
        assert f"plan {plan_id[:12]} of dev was used before" in result.messages


def test_a_plan_that_sync_made_and_applied_is_used_up(sandbox: Sandbox) -> None:
    sandbox.one_stack()
    plan_id = sandbox.sync(expect=0)["dev"]["plan_id"]
    assert sandbox.sync("dev", "--plan", plan_id, expect=5).errors == ["verify.claimed"]


def test_a_plan_older_than_the_state_is_stale(sandbox: Sandbox) -> None:
    sandbox.one_stack()
    sandbox.sync(expect=0)
    sandbox.commit({"dev/main.tf": RESOURCE.replace("one", "two")})
    plan_id = _plan(sandbox)
    sandbox.commit({"dev/main.tf": RESOURCE.replace("one", "three")})
    sandbox.sync(expect=0)
    sandbox.commit({"dev/main.tf": RESOURCE.replace("one", "two")})
    serial = sandbox.state()["serial"]
    result = sandbox.sync("dev", "--plan", plan_id, expect=5)
    assert result.errors == ["verify.state_serial"]
    assert "stale" in result.messages
    assert sandbox.state()["serial"] == serial


def test_a_plan_of_other_code_is_refused(sandbox: Sandbox) -> None:
    sandbox.one_stack()
    plan_id = _plan(sandbox)
    sandbox.commit({"dev/main.tf": RESOURCE.replace("one", "two")})
    result = sandbox.sync("dev", "--plan", plan_id, expect=5)
    assert result.errors == ["verify.fingerprint"]
    assert not sandbox.state_file().exists()


def test_prods_plan_is_not_devs_even_where_lineage_and_serial_are_equal(sandbox: Sandbox) -> None:
    sandbox.stacks(environment("dev") + environment("prod"), TWO)
    sandbox.sync(expect=0)
    shutil.copy(sandbox.state_file("dev"), sandbox.state_file("prod"))
    assert sandbox.json("recover", "prod", "--adopt-state", "--reason", "made equal").code == 0
    sandbox.commit({name: code.replace("one", "two") for name, code in TWO.items()})
    plan_id = _plan(sandbox, "prod")
    states = [sandbox.state(name) for name in ("dev", "prod")]
    assert states[0]["lineage"] == states[1]["lineage"]
    assert states[0]["serial"] == states[1]["serial"]
    result = sandbox.sync("dev", "--plan", plan_id, expect=5)
    assert result.errors == ["verify.stack"]
    assert "the plan is for prod, this is dev" in result.messages
    assert [sandbox.state(name) for name in ("dev", "prod")] == states


def test_a_plan_of_another_workspace_is_refused(sandbox: Sandbox) -> None:
    sandbox.one_stack(workspace='"blue"')
    plan_id = _plan(sandbox)
    shutil.rmtree(sandbox.store / "state")
    sandbox.one_stack(workspace='"green"')
    result = sandbox.sync("dev", "--plan", plan_id, expect=5)
    assert "workspace: the plan is for blue, this is green" in result.messages
    assert not sandbox.state_file(workspace="green").exists()


def test_a_plan_of_another_store_is_refused(sandbox: Sandbox) -> None:
    from tfops.adapters.objects import DirectoryObjects
    from tfops.steps.store import create_store

    sandbox.one_stack()
    out = sandbox.directory / "out"
    sandbox.json("plan", "--out", out)
    other = sandbox.directory / "other"
    first, sandbox.store_id = sandbox.store_id, create_store(DirectoryObjects(other))
    sandbox.commit({"tfops.hcl": sandbox.config(environment("dev"), store=other)})
    shutil.rmtree(sandbox.home / ".local/state/tfops/trust")  # the move is meant
    result = sandbox.sync("dev", "--plan", out / "dev", expect=5)
    assert f"store: the plan is for {first}" in result.messages


def test_a_plan_that_is_for_no_such_purpose_is_refused(sandbox: Sandbox) -> None:
    import msgspec

    from tfops import dsse
    from tfops.adapters import keys
    from tfops.attestation import Purpose, decode_plan, encode

    sandbox.one_stack()
    out = sandbox.directory / "out"
    sandbox.json("plan", "--out", out)
    statement = out / "dev/statement.json"
    plan = decode_plan(dsse.Verified(payload=dsse.unverified_payload(statement.read_bytes(), what="it"), signer="ci"))
    speculative = msgspec.structs.replace(
        plan, predicate=msgspec.structs.replace(plan.predicate, purpose=Purpose.SPECULATIVE)
    )
    signer = keys.load_signer(f"file:{sandbox.key}", home=sandbox.home, passphrase=None)
    statement.write_bytes(dsse.sign(encode(speculative), signer))
    assert sandbox.json("verify", out / "dev").code == 0
    result = sandbox.sync("dev", "--plan", out / "dev", expect=5)
    assert result.errors == ["verify.purpose"]


def test_an_expired_plan_is_refused(sandbox: Sandbox) -> None:
    from datetime import timedelta

    import msgspec

    from tfops import dsse
    from tfops.adapters import keys
    from tfops.attestation import decode_plan, encode

    sandbox.one_stack()
    out = sandbox.directory / "out"
    sandbox.json("plan", "--out", out)
    statement = out / "dev/statement.json"
    plan = decode_plan(dsse.Verified(payload=dsse.unverified_payload(statement.read_bytes(), what="it"), signer="ci"))
    earlier = {
        name: getattr(plan.predicate, name) - timedelta(days=2) for name in ("started_on", "finished_on", "expires_on")
    }
    old = msgspec.structs.replace(plan, predicate=msgspec.structs.replace(plan.predicate, **earlier))
    signer = keys.load_signer(f"file:{sandbox.key}", home=sandbox.home, passphrase=None)
    statement.write_bytes(dsse.sign(encode(old), signer))
    result = sandbox.sync("dev", "--plan", out / "dev", expect=5)
    assert result.errors == ["verify.age"]
    assert "expired" in result.messages


def test_planned_again_it_must_do_the_same(sandbox: Sandbox) -> None:
    """Reality is a file that a data source reads: it may change between the plan and the sync."""
    world = sandbox.directory / "reality"
    world.write_text("as it was")
    sandbox.one_stack(
        'data "terraform_remote_state" "world" {\n  backend = "local"\n  config = {\n'
        f'    path = "{world}.tfstate"\n  }}\n}}\n'
        'resource "terraform_data" "a" { input = data.terraform_remote_state.world.outputs.value }\n'
        'resource "terraform_data" "b" { input = "always the same" }\n'
    )
    _write_state(Path(f"{world}.tfstate"), "as it was")
    out = sandbox.directory / "out"
    assert sandbox.json("plan", "--out", out).code == 2
    _write_state(Path(f"{world}.tfstate"), "as it is now")
    result = sandbox.sync("dev", "--plan", out / "dev", expect=3)
    assert result.errors == ["plan.differs"]
    assert "different: terraform_data.a" in result.messages
    assert not sandbox.state_file().exists() or sandbox.resources() == {}
    _write_state(Path(f"{world}.tfstate"), "as it was")
    assert sandbox.sync("dev", "--plan", out / "dev", expect=0).outcomes == {"dev": "applied"}


def _write_state(file: Path, value: str) -> None:
    state = {
        "version": 4,
        "terraform_version": "1.11.4",
        "serial": 1,
        "lineage": "c0ffee00-0000-0000-0000-000000000000",
        "outputs": {"value": {"value": value, "type": "string"}},
        "resources": [],
        "check_results": None,
    }
    file.write_text(json.dumps(state))


def test_a_variable_that_changed_since_the_plan_makes_it_another_plan(sandbox: Sandbox) -> None:
    sandbox.one_stack(
        'variable "size" { type = string }\nresource "terraform_data" "a" { input = var.size }\n',
        pass_env='["TF_VAR_size"]',
    )
    plan_id = sandbox.json("plan", env={"TF_VAR_size": "1"})["dev"]["plan_id"]
    result = sandbox.sync("dev", "--plan", plan_id, env={"TF_VAR_size": "2"}, expect=5)
    assert result.errors == ["verify.fingerprint"]
    assert sandbox.sync("dev", "--plan", plan_id, env={"TF_VAR_size": "1"}, expect=0).outcomes == {"dev": "applied"}


def test_a_plan_made_by_another_terraform_is_refused(sandbox: Sandbox) -> None:
    sandbox.one_stack()
    plan_id = _plan(sandbox)
    shim = sandbox.bin / "terraform"
    shim.write_text(shim.read_text() + "# another build\n")
    assert sandbox.sync("dev", "--plan", plan_id, expect=5).errors == ["verify.terraform"]


def test_the_older_of_two_equal_plans_is_still_good(sandbox: Sandbox) -> None:
    sandbox.one_stack()
    first, second = _plan(sandbox), _plan(sandbox)
    assert first != second
    assert sandbox.sync("dev", "--plan", first, expect=0).outcomes == {"dev": "applied"}
    assert sandbox.sync("dev", "--plan", second, expect=5).errors == ["verify.state_lineage"]


@pytest.mark.parametrize("words", [("--plan", "abcdef012345"), ("dev", "prod", "--plan", "PLAN"), ("--plan", "PLAN")])
def test_a_plan_goes_with_exactly_one_stack_and_must_exist(sandbox: Sandbox, words: tuple[str, ...]) -> None:
    sandbox.stacks(environment("dev") + environment("prod"), TWO)
    plan_id = _plan(sandbox)
    result = sandbox.sync(*(plan_id if word == "PLAN" else word for word in words), expect=64)
    assert result.errors[0] in ("plan.not_found", "usage.plan")
