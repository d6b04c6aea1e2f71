"""`tfops history`."""

from typing import TYPE_CHECKING

import click
import msgspec

from tfops.cli.options import Setting, branch_option, output_options
from tfops.cli.output import Result
from tfops.cli.reading import session_for
from tfops.deployment import Deployment
from tfops.deployment import Result as DeploymentResult
from tfops.errors import Exit
from tfops.workflows.history import History, StackHistory

if TYPE_CHECKING:
    from tfops.adapters.git import Headline


@click.command("history")
@click.argument("stacks", nargs=-1)
@branch_option
@output_options
def command(setting: Setting, stacks: tuple[str, ...], branch: str | None) -> Exit:
    """The deployments of stacks, newest first, each with its signature verified."""
    from tfops.workflows.history import history

    found = history(session_for(setting, branch), stacks)
    setting.screen.show(
        Result(
            command="history",
            exit_code=found.exit_code,
            stacks=tuple(_entry(stack) for stack in found.stacks),
            problems=tuple(problem for stack in found.stacks for problem in stack.problems),
            text=lambda: _text(found),
        )
    )
    return found.exit_code


def _entry(stack: StackHistory) -> dict[str, object]:
    head = stack.head.record if stack.head else None
    return {
        "stack": stack.stack,
        "head": {
            "revision": head.source.commit,
            "fingerprint": head.fingerprint,
            "lineage": head.state.lineage,
            "serial": head.state.serial,
            "at": head.finished_on,
        }
        if head
        else None,
        "deployments": [_deployment(one, stack.headlines.get(one.record.source.commit)) for one in stack.deployments],
    }


def _deployment(deployment: Deployment, headline: "Headline | None") -> dict[str, object]:
    record = deployment.record
    return {
        "id": deployment.id,
        "at": record.finished_on,
        "started": record.started_on,
        "by": deployment.runner,
        "host": record.builder.host,
        "run_id": record.builder.run_id,
        "revision": record.source.commit,
        "subject": headline.subject if headline else None,
        "author": headline.author if headline else None,
        "branch": record.source.branch,
        "plan_id": record.plan_id,
        "requested_plan": record.given_plan_id,
        "result": record.result,
        "purpose": record.purpose,
        "reason": record.reason,
        "approved_by": list(record.approved_by),
        "overrides": list(record.overrides),
        "approved_plans": list(record.approved_plans),
        "serial_before": record.serial_before,
        "serial_after": record.state.serial,
        "resources": msgspec.to_builtins(record.resources),
    }


def _text(found: History) -> object:
    from rich.text import Text

    from tfops.report.tables import lines

    parts: list[object] = []
    for stack in found.stacks:
        parts.append(Text(f"{stack.stack}: {_where(stack)}", "bold"))
        parts += [_lines(stack, one) for one in stack.deployments] or [Text("no deployments", "dim")]
        parts.append(Text(""))
    return lines(*parts[:-1]) if parts else Text("the store knows no stacks yet; next: tfops sync")  # type: ignore[arg-type]


def _lines(stack: StackHistory, deployment: Deployment) -> object:
    from tfops.report.history_text import deployment_lines

    headline = stack.headlines.get(deployment.record.source.commit)
    return deployment_lines(deployment, f"{headline.subject} ({headline.author})" if headline else "")


def _where(stack: StackHistory) -> str:
    if stack.head is None:
        return "its records do not all verify, see below" if stack.problems else "never converged"
    record = stack.head.record
    word = "state adopted" if record.result is DeploymentResult.ADOPTED else "converged"
    return f"{word} at {record.source.commit[:12]}"
