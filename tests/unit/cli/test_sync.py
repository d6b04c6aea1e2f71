"""Why a stack waits is what people need: all of it is told."""

from tfops.cli.sync import MOST_REASONS, why
from tfops.errors import Exit, Problem
from tfops.steps.outcome import Outcome, StackSync

PLAN = "47d7" * 16


def waiting(*reasons: str, plan_id: str | None = PLAN, problems: tuple[Problem, ...] = ()) -> StackSync:
    return StackSync(
        stack="prod",
        outcome=Outcome.WAITING,
        reasons=reasons,
        plan_id=plan_id,
        problems=problems,
        exit_code=Exit.REFUSED,
    )


def test_every_reason_is_shown():
    reasons = tuple(f"reason {number}" for number in range(MOST_REASONS))
    assert why(waiting(*reasons)) == reasons


def test_the_commands_that_reasons_propose_name_the_plan():
    (only,) = why(waiting("to let it pass all the same: tfops approve PLAN --override protect"))
    assert only.endswith("tfops approve 47d747d747d7 --override protect")


def test_of_a_flood_it_is_said_which_command_shows_the_rest():
    reasons = [f"reason {number}" for number in range(MOST_REASONS + 5)]
    assert why(waiting(*reasons))[-1] == "and 5 more, all of them: tfops inspect 47d747d747d7"
    assert why(waiting(*reasons, plan_id=None))[-1].endswith("tfops --format json sync --dry-run prod")


def test_what_failed_stands_below():
    assert why(waiting(problems=(Problem(code="lock.held", message="x"),))) == ("lock.held, see below",)
