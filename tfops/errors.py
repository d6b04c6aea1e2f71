"""One error root. The class says how the command ends (exit code), the instance says what, where and what next."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from typing import ClassVar


class Exit(IntEnum):
    """The exit codes of every command (DESIGN.md §3)."""

    OK = 0
    FAILED = 1
    CHANGES = 2
    REFUSED = 3
    LOCKED = 4
    UNVERIFIED = 5
    USAGE = 64
    CONFIG = 78
    INTERRUPTED = 130


# With several stacks the most serious outcome decides.
_SERIOUS_FIRST = (
    Exit.INTERRUPTED,
    Exit.CONFIG,
    Exit.USAGE,
    Exit.UNVERIFIED,
    Exit.FAILED,
    Exit.LOCKED,
    Exit.REFUSED,
    Exit.CHANGES,
    Exit.OK,
)


def most_serious(codes: Iterable[Exit]) -> Exit:
    """The exit code of a run whose stacks ended with `codes`; OK when there are none."""
    return min(codes, key=_SERIOUS_FIRST.index, default=Exit.OK)


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One entry of the `errors` list: a documented code, what happened, what to do next."""

    code: str
    message: str
    hint: str = ""
    stack: str | None = None


class TfopsError(Exception):
    """Something tfops can explain. Carries one problem or several, all found at once."""

    exit_code: ClassVar[Exit] = Exit.FAILED

    def __init__(self, message: str, *, code: str, hint: str = "", stack: str | None = None) -> None:
        super().__init__(message)
        self.problems: tuple[Problem, ...] = (Problem(code=code, message=message, hint=hint, stack=stack),)

    @classmethod
    def of(cls, problems: Iterable[Problem]) -> "TfopsError":
        """One error out of several problems (at least one)."""
        found = tuple(problems)
        error = cls("\n".join(problem.message for problem in found), code=found[0].code)
        error.problems = found
        return error


class FailedError(TfopsError):
    """Terraform, the store or Git failed, or is out of reach."""


class RefusedError(TfopsError):
    """Not now: an approval, a promotion or a window is missing. Nothing was applied."""

    exit_code = Exit.REFUSED


class LockedError(TfopsError):
    """Somebody else holds the lock of the stack."""

    exit_code = Exit.LOCKED


class VerificationError(TfopsError):
    """An artifact, a state or the store is not what it claims to be. Nothing was applied."""

    exit_code = Exit.UNVERIFIED


class UsageError(TfopsError):
    """The command line does not make sense."""

    exit_code = Exit.USAGE


class ConfigError(TfopsError):
    """tfops.hcl, or the code it points to, is invalid. Carries every fault found."""

    exit_code = Exit.CONFIG


class InterruptedRunError(TfopsError):
    """A person or the system asked the run to stop."""

    exit_code = Exit.INTERRUPTED
