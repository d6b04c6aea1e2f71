"""Attacks of an environment that asks nobody on the state of one that does: by another address, or out of sight."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from securesystemslib.signer import CryptoSigner

from tests.e2e.people import Team
from tests.e2e.sandbox import RESOURCE, Sandbox, environment
from tfops import dsse
from tfops.stacks import branch_slug

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="no OpenSSH client"),
]


@pytest.fixture
def team(sandbox: Sandbox) -> Team:
    """`prod` asks two people and is deployed to a state of its own; `dev` asks nobody, and takes any root below it."""
    found = Team(sandbox=sandbox)
    dev = environment("dev", count=0, roots='["dev/*"]')
    sandbox.commit(
        {
            "tfops.hcl": found.config(extra=dev),
            "prod/main.tf": _on(sandbox.directory / "states/prod.tfstate", RESOURCE),
            "dev/one/main.tf": RESOURCE,
        }
    )
    (sandbox.directory / "states").mkdir()
    (sandbox.directory / "link").symlink_to("states")
    plan_id = sandbox.sync(expect=3)["prod"]["plan_id"]
    for person in ("alice", "bob"):
        assert found.approve(plan_id, person).code == 0
    assert sandbox.sync(expect=0).outcomes["prod"] == "applied"
    return found


def _on(path: Path | str, code: str = "") -> str:
    return f'terraform {{\n  backend "local" {{\n    path = "{path}"\n  }}\n}}\n{code}'


def _objects(team: Team) -> int:
    return (team.sandbox.directory / "states/prod.tfstate").read_text().count('"terraform_data"')


@pytest.mark.parametrize("alias", ["link/prod.tfstate", "states/../states/prod.tfstate", "states//prod.tfstate"])
def test_attack_a_weak_environment_reaches_prods_state_by_another_address(team: Team, alias: str) -> None:
    """Planned without resources it would destroy all of prod, and nobody would be asked."""
    team.sandbox.commit({"dev/mine/main.tf": _on(f"{team.sandbox.directory}/{alias}")})
    found = team.sandbox.sync()
    assert found.code in (3, 78), found
    if found.code == 3:
        assert found.outcomes["dev/mine"] == "waiting"
        assert "asks for 2 approvals" in found["dev/mine"]["reasons"][0]
    assert _objects(team) == 1


def _head(place: Path) -> None:
    (place / "prod" / "head.json").unlink()


def _index(place: Path) -> None:
    (place / "stacks" / "prod").unlink()


def _everything(place: Path) -> None:
    shutil.rmtree(place / "prod")
    _index(place)


@pytest.mark.parametrize("attack", [_head, _index, _everything])
def test_attack_prods_head_is_removed_from_the_store_and_a_weak_environment_claims_its_state(
    team: Team, attack: Callable[[Path], None]
) -> None:
    sandbox = team.sandbox
    attack(sandbox.store)
    sandbox.commit(
        {
            "prod/main.tf": RESOURCE,
            "dev/mine/main.tf": _on(sandbox.directory / "states/prod.tfstate"),
        }
    )
    found = sandbox.sync("dev/mine")
    assert (found.code, found.errors) == (5, ["store.head_missing"]), found
    assert "prod was deployed, but its head is gone" in found.messages
    assert _objects(team) == 1


def test_attack_the_audit_log_is_cut_off_too(team: Team) -> None:
    """The head of another stack vouches for the end of the log."""
    sandbox = team.sandbox
    sandbox.commit({"dev/one/main.tf": RESOURCE.replace("one", "two")})
    assert sandbox.sync(expect=0).outcomes["dev/one"] == "applied"
    _everything(sandbox.store)
    for entry in (sandbox.store / "audit").iterdir():
        entry.unlink()
    sandbox.commit({"prod/main.tf": RESOURCE, "dev/mine/main.tf": _on(sandbox.directory / "states/prod.tfstate")})
    found = sandbox.sync("dev/mine")
    assert (found.code, found.errors) == (5, ["audit.broken"]), found
    assert _objects(team) == 1


def test_attack_prods_first_apply_failed_and_a_weak_environment_claims_what_it_made(sandbox: Sandbox) -> None:
    team = Team(sandbox=sandbox)
    state = sandbox.directory / "prod.tfstate"
    fails = 'resource "terraform_data" "b" {\n  provisioner "local-exec" {\n    command = "false"\n  }\n}\n'
    dev = environment("dev", count=0, roots='["dev/*"]')
    sandbox.commit({"tfops.hcl": team.config(count=1, extra=dev), "prod/main.tf": _on(state, RESOURCE + fails)})
    sandbox.commit({"dev/one/main.tf": RESOURCE})
    plan_id = sandbox.sync(expect=3)["prod"]["plan_id"]
    assert team.approve(plan_id, "alice").code == 0
    assert sandbox.sync("prod").outcomes["prod"] == "failed"
    sandbox.commit({"prod/main.tf": RESOURCE, "dev/mine/main.tf": _on(state)})
    found = sandbox.sync("dev/mine")
    assert found.outcomes == {"dev/mine": "waiting"}, found
    assert "asks for 1 approval" in found["dev/mine"]["reasons"][0]


TWO = RESOURCE.replace("one", "two")


def _forged(place: Path) -> None:
    head = place / "prod" / "head.json"
    payload = dsse.unverified_payload(head.read_bytes(), what="a head")
    head.write_bytes(dsse.sign(payload, CryptoSigner.generate_ed25519()))


@pytest.mark.parametrize("attack", [None, _head, _everything, _forged])
def test_attack_a_state_is_claimed_in_one_push_and_changed_in_the_next(
    team: Team, attack: Callable[[Path], None] | None
) -> None:
    """The first changes nothing, so that nobody is asked; prod's gate stays, also where its head is taken away then."""
    sandbox, state = team.sandbox, team.sandbox.directory / "states/prod.tfstate"
    sandbox.commit({"prod/main.tf": RESOURCE, "dev/mine/main.tf": _on(state, RESOURCE)})
    assert sandbox.sync("dev/mine", expect=0).outcomes == {"dev/mine": "converged"}
    if attack:
        attack(sandbox.store)
    sandbox.commit({"dev/mine/main.tf": _on(state, TWO)})
    found = sandbox.sync("dev/mine", expect=3)
    assert "asks for 2 approvals; there are 0" in found["dev/mine"]["reasons"][0]
    assert "two" not in state.read_text()
    for person in ("alice", "bob"):
        assert team.approve(found["dev/mine"]["plan_id"], person).code == 0
    assert sandbox.sync("dev/mine", expect=0).outcomes == {"dev/mine": "applied"}


def test_attack_what_dev_handed_over_to_prod_is_claimed_back(team: Team) -> None:
    """That its own head names just this state does not make it its own again."""
    sandbox, state = team.sandbox, team.sandbox.directory / "states/shared.tfstate"
    sandbox.commit({"dev/mine/main.tf": _on(state, RESOURCE)})
    assert sandbox.sync("dev/mine", expect=0).outcomes == {"dev/mine": "applied"}
    roots = environment("prod", count=2, roots='["prod", "more"]')
    text = team.config(extra=environment("dev", count=0, roots='["dev/*"]')).replace(
        environment("prod", count=2), roots
    )
    sandbox.commit({"tfops.hcl": text, "dev/mine/main.tf": None, "more/main.tf": _on(state, RESOURCE)})
    assert sandbox.sync("prod/more", expect=0).outcomes == {"prod/more": "converged"}
    sandbox.commit({"more/main.tf": RESOURCE, "dev/mine/main.tf": _on(state, TWO)})
    found = sandbox.sync("dev/mine", expect=3)
    assert "asks for 2 approvals; there are 0" in found["dev/mine"]["reasons"][0]
    assert "two" not in state.read_text()


def test_attack_the_branch_of_a_preview_takes_over_prods_state_by_moved(sandbox: Sandbox) -> None:
    """Its own tfops.hcl says what is moved; prod lives on beside it."""
    team = Team(sandbox=sandbox)
    preview = environment("preview", count=0, branch="preview/*", roots='["prod"]')
    team.deployed(extra=preview)
    sandbox.git("checkout", "-q", "-b", "preview/x")
    name = f"preview@{branch_slug('preview/x')}"
    moved = f'moved {{\n  from = "prod"\n  to   = "{name}"\n}}\n'
    sandbox.commit({"tfops.hcl": team.config(extra=preview + moved)})
    assert sandbox.sync("--branch", "preview/x").outcomes == {name: "converged"}
    sandbox.commit({"prod/main.tf": TWO})
    found = sandbox.sync("--branch", "preview/x", expect=3)
    assert "asks for 2 approvals; there are 0" in found[name]["reasons"][0]
    assert "two" not in sandbox.state_file("prod").read_text()


def test_a_new_stack_of_a_weak_environment_asks_nobody_and_one_that_finds_a_state_of_nobody_does_not_either(
    team: Team,
) -> None:
    sandbox = team.sandbox
    own = sandbox.directory / "states/own.tfstate"
    shutil.copy(sandbox.state_file("dev/one"), own)
    own.write_text(own.read_text().replace('"lineage": "', '"lineage": "f'))
    sandbox.commit(
        {"dev/new/main.tf": RESOURCE, "dev/own/main.tf": _on(own, RESOURCE + 'output "x" {\n  value = 1\n}\n')}
    )
    found = sandbox.sync(expect=0)
    assert (found.outcomes["dev/new"], found.outcomes["dev/own"]) == ("applied", "applied")
