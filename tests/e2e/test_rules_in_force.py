"""Whoever can push cannot change the rules that judge the push: real Git, real keys, real Terraform."""

import json
import shutil
from pathlib import Path

import pytest

from tests.e2e.people import Team
from tests.e2e.sandbox import RESOURCE, Result, Sandbox, environment
from tfops.adapters.objects import DirectoryObjects
from tfops.steps.store import create_store


@pytest.fixture
def team(sandbox: Sandbox) -> Team:
    return Team(sandbox=sandbox)


@pytest.fixture
def deployed(team: Team) -> Team:
    team.deployed()
    return team


def _push(team: Team, config: str, **files: str) -> str:
    return team.sandbox.commit({"tfops.hcl": config, **{name.replace("__", "/"): text for name, text in files.items()}})


def _records(team: Team) -> list[Path]:
    return sorted(path for path in (team.sandbox.store / "trust").iterdir() if path.is_file())


def _forget(team: Team) -> None:
    """As on a machine that never saw this store."""
    shutil.rmtree(team.sandbox.home / ".local" / "state" / "tfops" / "trust")


def test_a_commit_that_takes_its_own_gate_away_needs_the_old_count(deployed: Team) -> None:
    _push(deployed, deployed.config(count=0), **{"prod__more.tf": 'resource "terraform_data" "more" {}\n'})
    waiting = deployed.sandbox.sync(expect=3)
    assert waiting.outcomes == {"prod": "waiting"}
    rules = waiting.json["rules"]
    assert (rules["wanted"], rules["approved_by"]) == (2, [])
    assert rules["changes"] == ['environment "prod" asks for no approvals instead of 2 approvals']
    for person in ("alice", "bob"):
        assert deployed.approve(rules["id"][:12], person).code == 0
    done = deployed.sandbox.sync(expect=0)
    assert (done.outcomes, done.json["rules"]) == ({"prod": "applied"}, None)


def test_one_of_two_is_not_enough_to_change_the_rules_and_a_rejection_vetoes(deployed: Team) -> None:
    _push(deployed, deployed.config(count=0))
    change = deployed.sandbox.sync(expect=3).json["rules"]["id"]
    assert deployed.approve(change, "alice").code == 0
    assert "1 more needed, from bob or carol" in json.dumps(deployed.sandbox.sync(expect=3).json["rules"])
    assert deployed.approve(change, "bob").code == 0
    assert deployed.reject(change, "carol").code == 0
    found = deployed.sandbox.sync(expect=3).json["rules"]
    assert (found["approved_by"], found["rejected_by"]) == (["alice", "bob"], ["carol"])


def test_a_decision_over_another_text_of_the_rules_does_not_count(deployed: Team) -> None:
    _push(deployed, deployed.config(count=1))
    change = deployed.sandbox.sync(expect=3).json["rules"]["id"]
    for person in ("alice", "bob"):
        deployed.approve(change, person)
    _push(deployed, deployed.config(count=0))
    found = deployed.sandbox.sync(expect=3).json["rules"]
    assert (found["id"] != change, found["approved_by"]) == (True, [])


def test_a_new_environment_that_claims_the_state_of_prod_needs_the_gate_of_prod(deployed: Team) -> None:
    text = deployed.config(count=0).replace('environment "prod"', 'environment "other"')
    moved = '\nmoved {\n  from = "prod"\n  to   = "other"\n}\n'
    _push(deployed, text + moved, **{"prod__more.tf": 'output "x" { value = 1 }\n'})
    assert deployed.sandbox.sync(expect=3).errors == ["untrusted.code"]
    waiting = deployed.sandbox.sync("other", "--trust-code", expect=3)
    assert waiting.outcomes == {"other": "waiting"}, waiting
    assert "asks for 2 approvals" in waiting["other"]["reasons"][0]


def test_a_person_added_by_the_commit_cannot_approve_it(deployed: Team) -> None:
    deployed.key("mallory")
    people = ("alice", "bob", "carol", "mallory")
    _push(deployed, deployed.config(people=people), **{"prod__more.tf": 'output "x" { value = 1 }\n'})
    waiting = deployed.sandbox.sync(expect=3)
    assert 'approver "mallory" is new' in waiting.json["rules"]["changes"]
    refused = deployed.approve(waiting["prod"]["plan_id"], "mallory")
    assert (refused.code, refused.errors) == (3, ["approval.not_trusted"])
    refused = deployed.approve(waiting.json["rules"]["id"], "mallory")
    assert (refused.code, refused.errors) == (3, ["approval.not_trusted"])


def test_a_revoked_key_is_refused_although_nothing_was_deployed_since(deployed: Team) -> None:
    deployed.sandbox.commit({"prod/more.tf": 'output "x" { value = 1 }\n'})
    plan_id = deployed.sandbox.sync(expect=3)["prod"]["plan_id"]
    for person in ("alice", "bob"):
        assert deployed.approve(plan_id, person).code == 0
    _push(deployed, deployed.config(revoked=("bob",)))
    waiting = deployed.sandbox.sync(expect=3)
    assert waiting.json["rules"] is None, "to take a key away needs nobody"
    assert "there are 1" in waiting["prod"]["reasons"][0]
    refused = deployed.approve(plan_id, "bob")
    assert refused.errors == ["approval.not_trusted"]


def test_the_branch_that_the_rules_do_not_follow_cannot_change_them(deployed: Team) -> None:
    sandbox = deployed.sandbox
    preview = environment("preview", count=0).replace('"main"', '"topic"')
    sandbox.git("checkout", "-q", "-b", "topic")
    sandbox.write({"tfops.hcl": deployed.config(count=0, extra=preview), "preview/main.tf": RESOURCE})
    sandbox.git("add", "-A")
    sandbox.git("commit", "-q", "-m", "topic")
    sandbox.git("push", "-q", "origin", "topic")
    assert sandbox.json("sync", "--branch", "topic").errors == ["untrusted.code"]
    found = sandbox.json("sync", "--branch", "topic", "preview", "--trust-code")
    assert (found.code, found.outcomes, found.json["rules"]) == (3, {"preview": "waiting"}, None), found
    assert len(_records(deployed)) == 1


def test_a_force_push_to_older_rules_does_not_bring_them_back(deployed: Team) -> None:
    sandbox = deployed.sandbox
    before = sandbox.git("rev-parse", "HEAD")
    _push(deployed, deployed.config(count=0, people=("alice", "bob")))
    change = sandbox.sync(expect=3).json["rules"]["id"]
    for person in ("alice", "bob"):
        deployed.approve(change, person)
    sandbox.sync(expect=0)
    sandbox.git("reset", "-q", "--hard", before)
    sandbox.git("push", "-q", "--force", "origin", "main")
    found = sandbox.sync()
    assert found.json.get("rules") is None
    assert "they stay as they are" in found.err
    assert len(_records(deployed)) == 2


def _missing(team: Team) -> None:
    _forget(team)
    for path in _records(team):
        path.unlink()


def _rolled_back(team: Team) -> None:
    _records(team)[-1].unlink()


def _forged(team: Team) -> None:
    _forget(team)
    (record,) = _records(team)
    document = json.loads(record.read_bytes())
    document["signatures"][0]["keyid"] = "f" * 64
    _overwrite(record, document)


def _edited(team: Team) -> None:
    _forget(team)
    (record,) = _records(team)
    document = json.loads(record.read_bytes())
    payload = document["payload"]
    document["payload"] = payload[:400] + ("A" if payload[400] != "A" else "B") + payload[401:]
    _overwrite(record, document)


def _out_of_line(team: Team) -> None:
    (record,) = _records(team)
    shutil.copy(record, record.with_name("000000000002.json"))


def _overwrite(record: Path, document: object) -> None:
    record.chmod(0o600)
    record.write_bytes(json.dumps(document, indent=1).encode() + b"\n")


@pytest.mark.parametrize(
    ("attack", "code"),
    [
        (_missing, "trust.missing"),
        (_rolled_back, "trust.rolled_back"),
        (_forged, "verify.unknown_key"),
        (_edited, "verify.signature"),
        (_out_of_line, "trust.chain"),
    ],
)
def test_whoever_writes_to_the_store_cannot_change_the_rules(deployed: Team, attack, code: str) -> None:
    attack(deployed)
    found = deployed.sandbox.sync(expect=5)
    assert found.errors == [code], found


def test_where_nobody_can_be_asked_the_runner_accepts_the_rules_by_hand_and_it_is_on_record(deployed: Team) -> None:
    _push(deployed, deployed.config(count=0))
    assert deployed.sandbox.json("trust").code == 3
    done = deployed.sandbox.json("trust", "accept", "--reason", "all three have left")
    assert (done.code, done.json["version"], done.json["environments"][0]["approvals"]) == (0, 2, 0)
    assert deployed.sandbox.sync(expect=0).json["rules"] is None
    entries = deployed.sandbox.json("audit", "verify").json["entries"]
    assert entries[-1]["event"] == "change-rules"
    assert "all three have left" in entries[-1]["reason"]


def test_who_accepts_rules_by_hand_sees_what_changed_and_whose_rejection_it_overruled(deployed: Team) -> None:
    _push(deployed, deployed.config(count=0))
    change = deployed.sandbox.sync(expect=3).json["rules"]["id"]
    assert deployed.approve(change, "alice").code == 0
    assert deployed.reject(change, "carol", "not without me").code == 0
    done = deployed.sandbox.tfops("trust", "accept", "--reason", "carol is on holiday")
    assert done.code == 0, done
    assert 'environment "prod" asks for no approvals instead of 2 approvals' in done.out
    assert "-  approval { count = 2 }" in done.out
    assert f"overruled: carol rejected {change[:12]}: not without me" in done.out
    *_, last = deployed.sandbox.json("audit", "verify").json["entries"]
    assert last["details"]["changes"] == 'environment "prod" asks for no approvals instead of 2 approvals'
    said = f"alice approved {change[:12]}; carol rejected {change[:12]}: not without me"
    assert (last["event"], last["details"]["overruled"]) == ("change-rules", said)
    again = deployed.sandbox.tfops("trust", "accept", "--reason", "once more")
    assert "nothing was changed" in again.out
    assert len(_records(deployed)) == 2


def test_after_a_branch_was_rewritten_its_rules_are_accepted_by_hand_and_followed_again(deployed: Team) -> None:
    sandbox = deployed.sandbox
    sandbox.git("commit", "-q", "--amend", "-m", "another history")
    sandbox.git("push", "-q", "--force", "origin", "main")
    assert "they stay as they are" in sandbox.sync("--allow-backward").err
    done = sandbox.json("trust", "accept", "--reason", "history was cleaned")
    assert (done.code, done.json["version"], len(done.json["accepted"]["changes"])) == (0, 2, 1), done
    assert "they follow the rewritten branch" in done.json["accepted"]["changes"][0]
    assert "they stay as they are" not in sandbox.sync("--allow-backward").err


def test_the_rules_of_a_branch_that_they_do_not_follow_are_not_accepted(deployed: Team) -> None:
    sandbox = deployed.sandbox
    sandbox.git("checkout", "-q", "-b", "topic")
    sandbox.commit({"tfops.hcl": deployed.config(count=0)})
    refused = sandbox.json("trust", "accept", "--reason", "mine", "--branch", "topic")
    assert (refused.code, refused.errors) == (3, ["trust.other_branch"])
    assert "--branch main" in refused.messages
    assert len(_records(deployed)) == 1


def test_the_rules_in_force_are_shown_with_what_waits(deployed: Team) -> None:
    text = deployed.sandbox.tfops("trust")
    assert text.code == 0
    assert "rules in force: version 1, from main@" in text.out
    assert "signatures" in text.out
    assert "ssh-ed25519 SHA256:" in text.out
    (prod,) = deployed.sandbox.json("trust").json["environments"]
    assert (prod["approvals"], prod["from"], prod["codeowners"]) == (2, ["signed"], False)
    _push(deployed, deployed.config(count=0))
    shown: Result = deployed.sandbox.tfops("trust")
    assert shown.code == 3
    change = deployed.sandbox.json("trust").json["waiting"]["id"]
    refused = deployed.sandbox.json("inspect", change[:12])
    assert (refused.code, refused.errors, "tfops trust" in refused.messages) == (64, ["usage.rules_change"], True)
    assert "-    count = 2" in shown.out or "count = 2" in shown.out
    assert "next: look at it: tfops trust; then: tfops approve " in shown.out


def test_attack_a_pushed_configuration_brings_a_store_along_in_which_nobody_is_asked(deployed: Team) -> None:
    """Which store it is says the branch: so a machine remembers with which one it knows the repository."""
    sandbox = deployed.sandbox
    mine = sandbox.directory / "mine"
    theirs = create_store(DirectoryObjects(mine))
    text = deployed.config(count=0).replace(str(sandbox.store), str(mine)).replace(sandbox.store_id, theirs)
    sandbox.commit({"tfops.hcl": text, "prod/main.tf": RESOURCE.replace("one", "two")})
    for command in (("sync",), ("plan",), ("trust", "accept", "--reason", "mine")):
        refused = sandbox.json(*command)
        assert (refused.code, set(refused.errors)) == (5, {"trust.other_store"}), refused
    assert not (mine / "trust").exists()


def _copied(deployed: Team) -> str:
    """The text of tfops.hcl that names a copy of the store, in which what carol rejected is as if she had not."""
    sandbox = deployed.sandbox
    sandbox.commit({"prod/main.tf": RESOURCE.replace("one", "two")})
    plan_id = sandbox.sync(expect=3)["prod"]["plan_id"]
    assert deployed.approve(plan_id, "alice").code == 0
    copy = sandbox.directory / "copy"
    shutil.copytree(sandbox.store, copy)
    assert deployed.approve(plan_id, "bob").code == 0
    assert deployed.reject(plan_id, "carol").code == 0
    return deployed.config().replace(str(sandbox.store), str(copy))


def test_attack_a_pushed_configuration_names_a_copy_of_the_store_without_a_veto(deployed: Team) -> None:
    sandbox = deployed.sandbox
    (memory,) = (sandbox.home / ".local/state/tfops/trust").glob("of-*")
    memory.write_text(sandbox.store_id)  # as it was before the place was remembered: taken over at first sight
    sandbox.commit({"tfops.hcl": _copied(deployed)})
    assert memory.read_text() == f"{sandbox.store_id}@{sandbox.store}"
    for told in ({}, {"TFOPS_STORE": sandbox.store_id}, {"TFOPS_STORE": f"{sandbox.store_id}@{sandbox.store}"}):
        refused = sandbox.sync(expect=5, env=told)
        assert refused.errors == ["trust.other_store"]
        assert f"at {sandbox.directory / 'copy'}, but " in refused.messages
    memory.unlink()
    assert sandbox.sync(expect=5, env={"TFOPS_STORE": f"{sandbox.store_id}@{sandbox.store}"}).errors


def test_a_store_that_was_moved_on_purpose_is_used_once_the_machine_is_told(deployed: Team) -> None:
    sandbox = deployed.sandbox
    moved = sandbox.directory / "moved"
    sandbox.store.rename(moved)
    sandbox.commit({"tfops.hcl": deployed.config().replace(str(sandbox.store), str(moved))})
    refused = sandbox.sync(expect=5)
    hint = refused.json["errors"][0]["hint"]
    assert hint.startswith("find out who changed it; if all of the store was moved there and nobody uses the old one, ")
    Path(hint.rpartition("remove ")[2]).unlink()
    assert sandbox.sync(expect=0).outcomes == {"prod": "converged"}
    assert sandbox.sync(expect=0, env={"TFOPS_STORE": f"{sandbox.store_id}@{moved}"}).outcomes == {"prod": "converged"}


def test_attack_the_same_on_a_machine_that_keeps_nothing_and_is_told_which_store_counts(deployed: Team) -> None:
    sandbox = deployed.sandbox
    mine, known = sandbox.directory / "mine", sandbox.store_id
    theirs = create_store(DirectoryObjects(mine))
    text = deployed.config(count=0).replace(str(sandbox.store), str(mine)).replace(known, theirs)
    shutil.rmtree(sandbox.home / ".local/state/tfops/trust")
    sandbox.env["TFOPS_STORE"] = known
    assert sandbox.sync(expect=0).outcomes == {"prod": "converged"}
    shutil.rmtree(sandbox.home / ".local/state/tfops/trust")
    sandbox.commit({"tfops.hcl": text, "prod/main.tf": RESOURCE.replace("one", "two")})
    refused = sandbox.sync(expect=5)
    assert refused.errors == ["trust.other_store"]
    assert f"names the store {theirs}, but TFOPS_STORE says {known}" in refused.messages
