"""What people see of a change on each forge: one comment that keeps up, and a status for each stack."""

import json
import shutil
from collections.abc import Iterator

import pytest

from tests.e2e.reviewed import KINDS, TWO, Reviewed, begun
from tests.e2e.sandbox import Sandbox

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="no OpenSSH client"),
]

BOTH = 'from = ["forge", "signed"]'
SECRET = "hunter2-is-secret"
LARGE = f"""
variable "password" {{
  type      = string
  default   = "{SECRET}"
  sensitive = true
}}

resource "terraform_data" "many" {{
  count = 300
  input = {{ name = "number ${{count.index}}", password = var.password, note = "/approve @everyone <b>##vso[x]</b>" }}
}}
"""
LIMITS = {"github": 65_000, "gitlab": 900_000, "bitbucket": 30_000, "azure": 140_000, "gitea": 60_000}


@pytest.fixture(params=KINDS)
def anywhere(request: pytest.FixtureRequest, sandbox: Sandbox) -> Iterator[Reviewed]:
    """A deployed stack on each of the forges, where reviews and signatures count."""
    yield from begun(request.param, sandbox, approval=BOTH)


@pytest.fixture
def github(sandbox: Sandbox) -> Iterator[Reviewed]:
    """The same on GitHub, where a story is the same on every forge."""
    yield from begun("github", sandbox, approval=BOTH)


def comments(world: Reviewed, number: int) -> list[str]:
    return [comment.body for comment in world.forge.comments(number) if comment.by == world.forge.me]


def test_one_comment_keeps_up_with_plan_approval_and_apply(anywhere: Reviewed) -> None:
    number = anywhere.propose("pr", {"prod/main.tf": TWO})
    plan_id = anywhere.plan("pr")["prod"]["plan_id"]
    (planned,) = comments(anywhere, number)
    assert plan_id[:12] in planned
    assert "terraform_data.a" in planned
    head = anywhere.forge.proposals[number].head
    (status,) = anywhere.forge.statuses(head).values()
    assert "+0" not in status.description
    assert "2 more needed" in status.description

    approve = ("approve", plan_id, "--key", anywhere.team.key("alice"))
    assert anywhere.team.sandbox.json(*approve, env=anywhere.forge.environ).code == 0
    (approved,) = comments(anywhere, number)
    assert approved != planned
    assert "alice" in approved

    anywhere.forge.approve(number, "bob")
    anywhere.merge(number)
    anywhere.sync(expect=0)
    (applied,) = comments(anywhere, number)
    assert "applied" in applied
    sent = len(anywhere.forge.requests)
    anywhere.sync(expect=0)
    assert len(anywhere.forge.requests) == sent, "a run that finds nothing to do asks the forge nothing"


def test_a_plan_of_300_resources_stays_within_the_limit_and_leaks_nothing(anywhere: Reviewed) -> None:
    number = anywhere.propose("pr", {"prod/main.tf": LARGE})
    anywhere.plan("pr")
    (said,) = comments(anywhere, number)
    assert len(said) <= LIMITS[anywhere.forge.kind]
    assert len(said.encode()) <= LIMITS[anywhere.forge.kind]
    everything = "\n".join(json.dumps(request.document) for request in anywhere.forge.requests if request.body)
    assert SECRET not in everything
    assert "terraform_data.many" in said
    assert "\n/approve" not in said
    assert "@everyone" not in said


def test_a_waiting_plan_after_the_merge_is_told_once(github: Reviewed) -> None:
    number = github.approved("pr", {"prod/main.tf": TWO}, "alice")
    github.merge(number)
    github.sync(expect=3)
    (waiting,) = comments(github, number)
    assert "1 more needed" in waiting
    posted = len(github.forge.posted)
    github.sync(expect=3)
    assert len(github.forge.posted) == posted
    assert comments(github, number) == [waiting]


def test_a_forge_that_takes_no_comments_fails_no_plan(github: Reviewed) -> None:
    github.propose("pr", {"prod/main.tf": TWO})
    github.forge.fail(lambda request: request.method in ("POST", "PUT", "PATCH"), 403, times=None)
    done = github.plan("pr")
    assert "the forge was not told" in done.err
    assert "tfops-test" not in done.err


def test_a_comment_that_somebody_planted_is_not_ours(github: Reviewed) -> None:
    number = github.propose("pr", {"prod/main.tf": TWO})
    github.plan("pr")
    (ours,) = comments(github, number)
    other = github.propose("other", {"prod/more.tf": 'resource "terraform_data" "b" {}\n'})
    github.forge.comment(other, "dave", ours)
    github.plan("other")
    assert len(github.forge.comments(other)) == 2
    assert github.forge.comments(other)[0].body == ours


def test_a_change_of_nothing_is_told_as_such(github: Reviewed) -> None:
    number = github.propose("pr", {"README.md": "hello\n"})
    github.plan("pr", expect=0)
    (said,) = comments(github, number)
    assert "stack" in said


def test_what_an_apply_would_run_is_shown_to_those_who_approve(github: Reviewed) -> None:
    code = 'resource "terraform_data" "b" {\n  provisioner "local-exec" {\n    command = "true"\n  }\n}\n'
    number = github.propose("pr", {"prod/more.tf": code})
    github.plan("pr")
    (said,) = comments(github, number)
    assert "prod/more.tf:2: terraform_data.b runs a provisioner when it is applied (local-exec)" in said


def test_a_file_that_a_change_makes_run_and_does_not_touch_is_named_in_the_comment(github: Reviewed) -> None:
    github.team.sandbox.commit({"tools/hook.sh": "true\n"})
    hooked = TWO.rstrip().removesuffix("}") + (
        '  provisioner "local-exec" {\n    command = "sh ${path.module}/../tools/hook.sh"\n  }\n}\n'
    )
    number = github.propose("pr", {"prod/main.tf": hooked})
    github.plan("pr")
    (said,) = comments(github, number)
    assert "begins to read tools/hook.sh, which this change does not touch: read it" in said.replace("\\", "")
    assert "not approved otherwise: prod/main.tf" in said.replace("\\", "")


def test_the_doctor_asks_the_forge_and_says_what_is_wrong_with_it(github: Reviewed) -> None:
    good = github.team.sandbox.json("doctor", env=github.forge.environ).json["findings"]
    assert any(one["name"] == "forge" and one["ok"] and "answers" in one["detail"] for one in good)
    without = github.team.sandbox.json("doctor")
    assert "forge.no_token" in without.errors
    denied = github.team.sandbox.json("doctor", env={"TFOPS_FORGE_TOKEN": "wrong"})
    assert "forge.denied" in denied.errors
    assert "wrong" not in denied.out.replace("wrong token", "")
