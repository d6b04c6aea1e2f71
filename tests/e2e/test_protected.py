"""What is protected or frozen waits until people let just that pass, in so many words."""

import shutil
from datetime import UTC, datetime, timedelta

import pytest

from tests.e2e.people import Team
from tests.e2e.sandbox import RESOURCE, Result, Sandbox

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="no OpenSSH client"),
]

TWO_THINGS = RESOURCE + RESOURCE.replace('"a"', '"b"')
PROTECT = "  protect { max_destroy = 0 }\n"


def frozen(hours: int) -> str:
    now = datetime.now(tz=UTC)
    begins, ends = now - timedelta(days=1), now + timedelta(hours=hours)
    return f'  freeze "release" {{\n    begins = "{begins.isoformat()}"\n    ends = "{ends.isoformat()}"\n  }}\n'


def config(team: Team, gates: str, *, count: int = 0) -> str:
    text = team.config(count=count)
    assert text.count("  approval {") == 1
    return text.replace("  approval {", f"{gates}  approval {{")


@pytest.fixture
def team(sandbox: Sandbox) -> Team:
    """Three people, and a stack of two things that nobody may destroy in passing; applied."""
    team = Team(sandbox=sandbox)
    sandbox.commit({"tfops.hcl": config(team, PROTECT), "prod/main.tf": TWO_THINGS})
    sandbox.sync(expect=0)
    return team


def waits(result: Result) -> tuple[str, str]:
    assert (result.code, result.outcomes) == (3, {"prod": "waiting"}), result
    return result["prod"]["plan_id"], "\n".join(result["prod"]["reasons"])


def test_a_deletion_waits_although_nobody_has_to_approve(team: Team) -> None:
    team.sandbox.commit({"prod/main.tf": RESOURCE})
    dry = team.sandbox.sync("--dry-run", expect=3)
    plan_id, reasons = waits(team.sandbox.sync())
    assert reasons == "\n".join(dry["prod"]["reasons"])
    assert "it would destroy 1 object (terraform_data.b); protect allows 0" in reasons
    assert "tfops approve PLAN --override protect" in reasons
    assert waits(team.sandbox.sync())[0] == plan_id, "it is not made again"


def test_what_is_not_protected_from_passes(team: Team) -> None:
    team.sandbox.commit({"prod/main.tf": TWO_THINGS.replace("one", "two")})
    assert team.sandbox.sync(expect=0).outcomes == {"prod": "applied"}


def test_who_lets_it_pass_says_so_and_it_is_on_record(team: Team) -> None:
    team.sandbox.commit({"prod/main.tf": RESOURCE})
    plan_id, _ = waits(team.sandbox.sync())
    plain = team.sandbox.tfops("approve", plan_id, "--key", team.key("alice"))
    assert "that is enough" not in plain.out
    assert "approvals are complete; still held up: it would destroy 1 object" in plain.out
    assert f"next: tfops approve {plan_id[:12]} --override protect" in plain.out
    assert f"tfops approve {plan_id[:12]} --override protect" in team.sandbox.tfops("inspect", plan_id).out
    waits(team.sandbox.sync())
    said = team.sandbox.tfops("approve", plan_id, "--key", team.key("bob"), "--override", "protect")
    assert said.code == 0, said
    assert "approved by bob, past protect; that is enough; next: tfops sync" in said.out
    assert team.sandbox.sync(expect=0).outcomes == {"prod": "applied"}
    newest = team.sandbox.json("history", "prod")["prod"]["deployments"][0]
    assert newest["overrides"] == ["protect"]
    (entry,) = [one for one in team.sandbox.json("audit", "list").json["entries"] if one["event"] == "override-gate"]
    assert entry["details"] == {"part": "protect", "plan_id": newest["plan_id"], "approved_by": "bob"}
    assert entry["reason"] == f"bob let plan {newest['plan_id'][:12]} pass by protect"
    said_so = [
        one["reason"] for one in team.sandbox.json("audit", "list").json["entries"] if one["event"] == "decision"
    ]
    assert f"bob approved {plan_id[:12]}, past protect" in said_so


def test_it_takes_as_many_to_let_it_pass_as_to_approve_it(sandbox: Sandbox) -> None:
    team = Team(sandbox=sandbox)
    sandbox.commit({"tfops.hcl": config(team, PROTECT, count=2), "prod/main.tf": TWO_THINGS})
    first, _ = waits(sandbox.sync())
    for person in ("alice", "bob"):
        team.approve(first, person)
    sandbox.sync(expect=0)
    team.change("pr", {"prod/main.tf": RESOURCE})
    plan_id = team.review("pr")
    assert team.approve(plan_id, "alice", "--override", "protect").code == 0
    assert team.approve(plan_id, "bob").code == 0
    team.merge("pr")
    _, reasons = waits(sandbox.sync())
    assert "asks for 2 approvals" not in reasons
    assert "protect allows 0" in reasons
    assert team.approve(plan_id, "bob", "--override", "protect").code == 0
    assert sandbox.sync(expect=0).outcomes == {"prod": "applied"}


def test_an_override_for_one_plan_lets_no_other_pass(team: Team) -> None:
    team.change("pr", {"prod/main.tf": RESOURCE})
    assert team.approve(team.review("pr"), "alice", "--override", "protect").code == 0
    team.sandbox.commit({"prod/main.tf": TWO_THINGS.replace('"a"', '"c"')})
    waits(team.sandbox.sync())


def test_a_commit_that_takes_the_protection_away_is_judged_with_it(team: Team) -> None:
    team.sandbox.commit({"tfops.hcl": config(team, ""), "prod/main.tf": RESOURCE})
    waiting = team.sandbox.sync()
    _, reasons = waits(waiting)
    assert "protect allows 0" in reasons
    assert waiting.json["rules"]["changes"] == ['environment "prod" protects less']
    assert waiting.json["rules"]["wanted"] == 1


def test_more_protection_holds_at_once(team: Team) -> None:
    more = '  protect {\n    max_destroy = 0\n    types = ["terraform_data"]\n    replace = true\n  }\n'
    team.sandbox.commit({"tfops.hcl": config(team, more)})
    team.sandbox.sync(expect=0)
    shown = team.sandbox.tfops("trust").out
    for words in ("destroys 0 at most", "loses none of terraform_data", "replaces nothing"):
        assert words in shown


def test_nothing_is_applied_while_it_is_frozen_unless_somebody_lets_it_pass(team: Team) -> None:
    team.sandbox.commit({"tfops.hcl": config(team, frozen(2)), "prod/main.tf": TWO_THINGS})
    team.approve_rules("alice")
    team.sandbox.commit({"prod/main.tf": TWO_THINGS.replace("one", "two")})
    plan_id, reasons = waits(team.sandbox.sync())
    assert "frozen until" in reasons and 'by "release"' in reasons
    assert "protect" not in reasons
    assert team.approve(plan_id, "alice", "--override", "freeze").code == 0
    assert team.sandbox.sync(expect=0).outcomes == {"prod": "applied"}


def test_a_freeze_that_is_over_stops_nothing(team: Team) -> None:
    team.sandbox.commit(
        {"tfops.hcl": config(team, PROTECT + frozen(-1)), "prod/main.tf": TWO_THINGS.replace("one", "x")}
    )
    assert team.sandbox.sync(expect=0).outcomes == {"prod": "applied"}


def test_an_override_belongs_to_an_approval(team: Team) -> None:
    for more in (("--withdraw",), ()):
        arguments = ("approve", "abcdef12", *more) if more else ("approve", "--file", team.sandbox.home / "x")
        result = team.sandbox.json(*arguments, "--override", "freeze")
        assert (result.code, result.errors) == (64, ["usage.approve"])
