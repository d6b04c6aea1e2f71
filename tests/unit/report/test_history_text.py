"""What a person reads of a deployment: what, why, who, and who let it."""

from typing import Any

import msgspec
import pytest
from rich.console import Console

from tests.unit.test_audit_trail import DEPLOYMENT
from tfops.attestation import Purpose
from tfops.deployment import ResourceResult, Result
from tfops.report.history_text import deployment_lines

RESOURCES = (
    ResourceResult(address="a.a", action="create", ok=True),
    ResourceResult(address="a.b", action="create", ok=True),
    ResourceResult(address="a.c", action="delete", ok=False),
)


def text(headline: str = "", **fields: Any) -> str:
    record = msgspec.structs.replace(DEPLOYMENT.record, **fields)
    console = Console(width=120, record=True, file=None, quiet=True)
    with console.capture() as captured:
        console.quiet = False
        console.print(deployment_lines(msgspec.structs.replace(DEPLOYMENT, record=record), headline))
    return captured.get()


def test_it_answers_who_when_what_why_and_approved_by_whom():
    found = text(
        "Grow the database (Alice)",
        plan_id="a" * 64,
        result=Result.APPLIED,
        resources=RESOURCES,
        approved_by=("alice", "bob"),
        overrides=("protect",),
    )
    for words in (
        "applied  2026-03-01 ",
        "2 created, 1 not finished: a.c; serial ",
        f"main@{'c' * 12}  Grow the database (Alice)",
        "runner ci on build-1, run r",
        "by alice and bob",
        "past      protect",
        "plan      aaaaaaaaaaaa",
    ):
        assert words in found, found


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"purpose": Purpose.REMEDIATION}, "drift brought back to main@"),
        ({"result": Result.ADOPTED, "reason": "somebody moved it"}, "somebody moved it"),
        ({"result": Result.FAILED, "reason": "no such bucket\nand more"}, "error  no such bucket"),
        ({"resources": ()}, "no resource changed"),
        ({"plan_id": "a" * 64, "given_plan_id": "b" * 64}, "aaaaaaaaaaaa, for bbbbbbbbbbbb, which was asked for"),
    ],
)
def test_it_says_why(fields: dict[str, Any], words: str):
    assert words in text(**fields)


@pytest.mark.parametrize(
    ("plans", "words"),
    [
        ((), "by alice\n"),
        (("a" * 64,), "by alice\n"),
        (("b" * 64,), "by alice, in plan bbbbbbbbbbbb\n"),
        (("b" * 64, "c" * 64), "by alice, in plan bbbbbbbbbbbb and cccccccccccc\n"),
    ],
)
def test_it_names_the_plans_that_were_approved_where_another_one_was_applied(plans: tuple[str, ...], words: str):
    found = text(plan_id="a" * 64, approved_by=("alice",), approved_plans=plans)
    assert words in "\n".join(line.rstrip() for line in found.splitlines()), found


def test_what_a_commit_says_reaches_no_terminal_as_control_characters():
    assert "\x1b" not in text("\x1b[2Jgone (Mallory)")
