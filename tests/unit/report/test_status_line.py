"""A stack as a commit status."""

import pytest

from tfops.forge import State
from tfops.redaction import redact
from tfops.report.review import StackReview, Standing
from tfops.report.status_line import status_of

CREATE = {"address": "aws_x.n", "mode": "managed", "type": "t", "change": {"actions": ["create"], "after": {"a": 1}}}
PLAN = redact({"format_version": "1.2", "resource_changes": [CREATE]})


@pytest.mark.parametrize(
    ("fields", "state", "description"),
    [
        ({"standing": Standing.NOTHING}, State.SUCCESS, "nothing to do"),
        ({"standing": Standing.APPLIED, "redacted": PLAN}, State.SUCCESS, "applied, +1"),
        ({"standing": Standing.PLANNED, "redacted": PLAN}, State.PENDING, "planned, +1"),
        (
            {"standing": Standing.WAITING, "redacted": PLAN, "missing": "1 more of 2", "reasons": ("x",)},
            State.PENDING,
            "waiting, +1: 1 more of 2",
        ),
        (
            {"standing": Standing.REFUSED, "reasons": ("frozen", "protected")},
            State.FAILURE,
            "refused: frozen; protected",
        ),
        ({"standing": Standing.FAILED, "error": "\nno\nmore"}, State.FAILURE, "failed: no"),
    ],
)
def test_the_state_says_whether_anything_is_left_to_do(fields, state, description):
    found = status_of(StackReview(stack="prod/db", **fields), is_merged=True)
    assert (found.context, found.state, found.description) == ("tfops/prod/db", state, description)


def test_what_waits_before_the_merge_holds_no_merge_up():
    for standing in (Standing.PLANNED, Standing.WAITING):
        review = StackReview(stack="prod", standing=standing)
        assert status_of(review, is_merged=False).state is State.SUCCESS
    assert status_of(StackReview(stack="prod", standing=Standing.FAILED), is_merged=False).state is State.FAILURE


def test_it_is_short_and_on_one_line():
    failed = StackReview(stack="s", standing=Standing.FAILED, error="a\x1b[1m" + "x" * 500)
    found = status_of(failed, is_merged=False, url="https://run")
    assert len(found.description) == 140
    assert found.description.isprintable()
    assert found.url == "https://run"
