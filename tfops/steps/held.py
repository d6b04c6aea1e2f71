"""Holding one stack on its way through a run, for no longer than its timeout."""

import contextlib
from collections.abc import Iterator
from dataclasses import replace

from tfops.errors import FailedError, InterruptedRunError, LockedError
from tfops.steps.hold import Deadline, Hold
from tfops.steps.outcome import StackRun


@contextlib.contextmanager
def held(stack: StackRun) -> Iterator[Hold]:
    """Hold the stack; from here on its session writes only while it is held, and stops when that is lost."""
    session, settings = stack.session, stack.surveyed.stack
    wanted = session.wanted(settings, stack.command, wait_seconds=stack.options.lock_wait_seconds)
    try:
        with session.place.hold(wanted) as hold:
            deadline = Deadline(settings.timeout_seconds)
            stack.session = session.held(hold, deadline)
            yield replace(hold, why_lost=lambda: hold.why_lost() or _timed_out(stack, deadline))
    except LockedError as error:
        if session.caller.stop.is_set() and error.problems[0].code == "lock.held":
            raise InterruptedRunError(
                f"{stack.id}: stopped while waiting for the lock", code="run.interrupted", hint="run it again"
            ) from error
        raise


def _timed_out(stack: StackRun, deadline: Deadline) -> FailedError | None:
    if not deadline.is_set():
        return None
    return FailedError(
        f"{stack.id}: it took longer than its timeout of {stack.surveyed.stack.timeout_seconds:.0f} s",
        code="terraform.timeout",
        hint='Terraform was stopped gently; give the environment more time, timeout = "4h", and run again',
        stack=stack.id,
    )
