"""One stack as a commit status: the word next to a commit, and one short line."""

from tfops.changes import plan_of, summarize
from tfops.forge import State, Status
from tfops.report.counts import counted
from tfops.report.fitting import clipped
from tfops.report.neutral import on_one_line
from tfops.report.review import StackReview, Standing

_LONGEST = 140  # characters: GitHub refuses more
_STATES = {
    Standing.FAILED: State.FAILURE,
    Standing.REFUSED: State.FAILURE,
    Standing.WAITING: State.PENDING,
    Standing.PLANNED: State.PENDING,
    Standing.APPLIED: State.SUCCESS,
    Standing.NOTHING: State.SUCCESS,
}


def status_of(review: StackReview, *, is_merged: bool, url: str | None = None) -> Status:
    """The status of a stack. `url` leads to the run or the change.

    Of a change that is open it says whether the plan went well, so that it can be required before a merge: approvals
    and the apply come later. Once merged it is pending until it is applied.
    """
    state = _STATES[review.standing]
    return Status(
        context=f"tfops/{review.stack}",
        state=State.SUCCESS if state is State.PENDING and not is_merged else state,
        description=clipped(_description(review), _LONGEST),
        url=url,
    )


def _description(review: StackReview) -> str:
    """`waiting, +1 ~2: 1 more of 2 approvals`."""
    changes = counted(summarize(plan_of(review.redacted))) if review.redacted is not None else ""
    error = (review.error or "").strip().partition("\n")[0]
    why = error or review.missing or "; ".join(map(on_one_line, review.reasons))
    return ": ".join(filter(None, [", ".join(filter(None, [review.standing.value, changes])), why]))
