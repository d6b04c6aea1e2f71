"""`tfops history`: the deployments of stacks, each verified before it is shown."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from tfops.adapters.git import Headline
from tfops.deployment import Deployment
from tfops.errors import Exit, Problem, UsageError, VerificationError
from tfops.steps.opening import Session


@dataclass(frozen=True, slots=True, kw_only=True)
class StackHistory:
    """One stack's deployments, newest first, and the revision it is converged at."""

    stack: str
    head: Deployment | None
    deployments: tuple[Deployment, ...]
    headlines: Mapping[str, Headline] = field(default_factory=dict)
    """What the commits say of themselves, as far as this clone has them."""
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """The result of `tfops history`."""

    stacks: tuple[StackHistory, ...]

    @property
    def exit_code(self) -> Exit:
        """5 where a record does not verify."""
        return Exit.UNVERIFIED if any(stack.problems for stack in self.stacks) else Exit.OK


def history(session: Session, names: tuple[str, ...]) -> History:
    """The history of the named stacks, or of every stack the store knows."""
    known = session.store.stacks()
    unknown = [name for name in names if name not in known]
    if unknown:
        raise UsageError(
            f"the store knows no stack {unknown[0]!r}",
            code="usage.unknown_stack",
            hint="stacks with a history: " + (", ".join(known) or "none yet"),
        )
    return History(stacks=tuple(_of(session, name) for name in names or known))


def _of(session: Session, stack: str) -> StackHistory:
    deployments, errors = session.store.deployments(stack, session.keys)
    head = None
    try:
        head = session.store.head(stack, session.keys)
    except VerificationError as error:
        errors.append(error)
    return StackHistory(
        stack=stack,
        head=head,
        deployments=tuple(reversed(deployments)),
        headlines=_headlines(session, deployments),
        problems=tuple(problem for error in errors for problem in error.problems),
    )


def _headlines(session: Session, deployments: list[Deployment]) -> dict[str, Headline]:
    commits = {deployment.record.source.commit for deployment in deployments}
    found = {commit: session.repository.headline(commit) for commit in commits}
    return {commit: headline for commit, headline in found.items() if headline is not None}
