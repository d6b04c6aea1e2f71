"""One stack as a commit status: the word next to a commit, and one short line."""

from tfops.changes import plan_of, summarize
from tfops.forge import State, Status
from tfops.report.counts import counted
from tfops.report.fitting import clipped
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


def status_of(review: StackReview, url: str | None = None) -> Status:
    """The status of a stack: pending until it is applied, or needs not be. `url` leads to the run or the comment."""
    return Status(
        context=f"tfops/{review.stack}",
        state=_STATES[review.standing],
        description=clipped(_description(review), _LONGEST),
        url=url,
    )


def _description(review: StackReview) -> str:
    """`waiting, +1 ~2: 1 more of 2 approvals`."""
    changes = counted(summarize(plan_of(review.redacted))) if review.redacted is not None else ""
    error = (review.error or "").strip().partition("\n")[0]
    why = error or review.missing or "; ".join(review.reasons)
    return ": ".join(filter(None, [", ".join(filter(None, [review.standing.value, changes])), why]))
