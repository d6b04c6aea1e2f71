"""What the rules in force ask for, and whether it can be given here."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.unit.test_trust import approver
from tfops.config import parse_config
from tfops.errors import FailedError, RefusedError
from tfops.steps.readiness import enough_people, narrow_electorates, policy_programs, ssh_keygen
from tfops.trust import Rules

BOB = 'approver "bob" {\n  github = "bob"\n}'


def session(
    people: str, *, count: int = 1, sources: str = '["signed"]', extra: str = "", path: str = "/nowhere", **files: str
) -> Any:
    text = (
        f'environment "prod" {{\n  branch = "main"\n  roots = ["prod"]\n'
        f"  approval {{\n    count = {count}\n    from = {sources}\n  }}\n}}\n"
        f"trust {{\n{people}\n}}\n{extra}"
    )
    config = parse_config(text, "tfops.hcl")
    named = {name.replace("__", "/").replace("_dot_", "."): content for name, content in files.items()}
    rules = Rules(text=text, config=config, files=named)
    return SimpleNamespace(
        rules=rules, config=config, is_followed=True, caller=SimpleNamespace(environ={"PATH": path}, cache=Path("/"))
    )


def test_an_environment_that_asks_more_people_than_there_are_can_never_be_applied():
    with pytest.raises(RefusedError) as refused:
        enough_people(session(approver("alice"), count=2))
    (problem,) = refused.value.problems
    assert problem.code == "trust.too_few_people"
    assert "prod asks for 2 approvals, but only alice can give one: nothing can ever be applied" in problem.message


@pytest.mark.parametrize(
    ("people", "sources", "extra", "who"),
    [
        (approver("alice"), '["signed"]', "", "alice"),
        (approver("alice", revoked=True) + BOB, '["signed", "forge"]', 'forge "github" {}', "bob"),
        (approver("alice") + BOB, '["forge"]', 'forge "github" {}', "bob"),
        (approver("alice") + BOB, '["signed", "forge"]', 'forge "gitlab" {}', "alice"),
        (approver("alice") + BOB, '["signed", "forge"]', 'forge "github" {}', "alice, bob"),
    ],
)
def test_who_can_approve_has_a_key_or_a_login_that_counts_there(people: str, sources: str, extra: str, who: str):
    assert enough_people(session(people, sources=sources, extra=extra)) == f"prod: 1 of {who}"


def test_where_everybody_has_to_approve_nobody_may_write_a_change():
    (warning,) = narrow_electorates(session(approver("alice")))
    assert "what one of them wrote nobody can approve" in warning
    assert narrow_electorates(session(approver("alice"), count=0)) == []
    assert enough_people(session(approver("alice"), count=0)) == "no environment asks anybody"


def test_ssh_keygen_is_missed_only_where_somebody_has_a_key():
    assert "not needed" in ssh_keygen(session(BOB))
    with pytest.raises(FailedError) as missing:
        ssh_keygen(session(approver("alice") + BOB))
    assert missing.value.problems[0].code == "key.no_ssh"
    assert "the decisions of alice" in str(missing.value)


def _program(place: Path, name: str, mode: int = 0o755) -> Path:
    file = place / name
    file.write_text("#!/bin/sh\n")
    file.chmod(mode)
    return file


def policy(*command: object) -> str:
    words = ", ".join(f'"{word}"' for word in command)
    return f'policy "cost" {{\n  command = [{words}]\n  files = ["policies"]\n}}\n'


def test_the_program_of_a_policy_is_there_on_path_by_its_path_or_among_its_files(tmp_path: Path):
    own = _program(tmp_path, "conftest")
    for command in ("conftest", own, "policies/check.sh", "./policies/check.sh"):
        given = session(BOB, extra=policy(command, "-"), path=str(tmp_path), policies__check_dot_sh="#!/bin/sh\n")
        assert policy_programs(given) == "cost"


def test_a_policy_that_cannot_be_asked_is_found_before_a_plan_waits_for_it(tmp_path: Path):
    idle = _program(tmp_path, "idle", 0o644)
    for command, words in {
        "conftest": "there is no conftest on PATH",
        "idle": "there is no idle on PATH",
        idle: f"{idle} is not executable",
        tmp_path / "gone": f"there is no {tmp_path / 'gone'}",
        "scripts/check.sh": "scripts/check.sh is none of its files",
    }.items():
        given = session(BOB, extra=policy(command), path=str(tmp_path), scripts__check_dot_sh="#!/bin/sh\n")
        with pytest.raises(FailedError) as refused:
            policy_programs(given)
        assert refused.value.problems[0].code == "policy.program"
        assert words in str(refused.value)
