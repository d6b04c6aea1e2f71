"""`tfops sync`."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import click

from tfops.cli.options import Setting, branch_option, jobs_option, output_options
from tfops.cli.output import Result
from tfops.cli.trust import rules_entry, rules_lines
from tfops.errors import Exit, UsageError
from tfops.gate import named
from tfops.report.counts import plural
from tfops.steps.orphans import Orphan
from tfops.steps.outcome import Options, Outcome, StackSync
from tfops.workflows.sync import Synced

MOST_REASONS = 30


@click.command("sync")
@click.argument("stacks", nargs=-1)
@branch_option
@click.option("--dry-run", is_flag=True, help="Show what would happen; change nothing. Exit 2 if something would.")
@click.option("--prune", is_flag=True, help="Destroy the stacks that are gone from the branch, through the same gate.")
@click.option("--replan", is_flag=True, help="Plan again even where nothing changed since the last deployment.")
@click.option("--plan", "plan_name", metavar="ID|DIR", help="Apply that very plan, or its equal, to one STACK.")
@click.option("--allow-backward", is_flag=True, help="Allow a revision that does not contain the deployed one.")
@click.option("--as-new", is_flag=True, help="Apply a stack that looks like a renamed one as a new one.")
@click.option("--trust-code", is_flag=True, help="Somebody has read STACKS: let their code run while it is planned.")
@click.option(
    "--lock-wait",
    type=click.FloatRange(0, 86400),
    default=30.0,
    show_default=True,
    help="Seconds to wait for a stack's lock.",
)
@jobs_option
@output_options
def command(
    setting: Setting,
    stacks: tuple[str, ...],
    branch: str | None,
    dry_run: bool,
    prune: bool,
    replan: bool,
    plan_name: str | None,
    allow_backward: bool,
    as_new: bool,
    trust_code: bool,
    lock_wait: float,
    jobs: int | None,
) -> Exit:
    """Bring the stacks of a branch to the branch's head: plan, sign, gate, apply, record.

    Without STACKS: all stacks of the branch. An environment's name means all of its stacks.
    """
    from tfops.steps.artifact import verified_artifact
    from tfops.steps.opening import open_session
    from tfops.steps.schedule import default_jobs
    from tfops.workflows.sync import sync

    screen = setting.screen
    if prune and (stacks or plan_name or allow_backward):
        raise UsageError(
            "--prune is for all that is gone from the branch: it goes with no STACKS, --plan or --allow-backward",
            code="usage.prune",
            hint="tfops sync --prune; what of it may be destroyed is decided by approving its plans",
        )
    if trust_code and not (stacks or prune):
        raise UsageError(
            "--trust-code is for the stacks whose code somebody has read: name them",
            code="usage.trust_code",
            hint="tfops sync STACK --trust-code",
        )
    caller = setting.caller()
    warn_of_ignored(setting, caller.environ)
    session = open_session(caller, branch=branch)
    if trust_code:
        say_trusted(setting, str(session.revision))
    options = Options(
        names=stacks,
        dry_run=dry_run,
        prune=prune,
        replan=replan,
        allow_backward=allow_backward,
        as_new=as_new,
        trust_code=trust_code,
        jobs=jobs or default_jobs(),
        lock_wait_seconds=lock_wait,
        given=verified_artifact(plan_name, session) if plan_name else None,
    )
    synced = sync(session, options, tick=screen.tick)
    screen.show(
        Result(
            command="sync",
            exit_code=synced.exit_code,
            stacks=tuple(_entry(stack) for stack in synced.stacks),
            problems=tuple(problem for stack in synced.stacks for problem in stack.problems),
            extra={
                "revision": synced.revision,
                "orphans": orphan_entries(synced.orphans),
                "rules": rules_entry(synced.rules),
            },
            text=lambda: _text(synced, dry_run=dry_run),
        )
    )
    return synced.exit_code


def say_trusted(setting: Setting, revision: str) -> None:
    """Say that code runs because somebody says to have read it."""
    setting.screen.error_line(f"--trust-code: what the code of {revision} runs while it is planned is not refused")


def warn_of_ignored(setting: Setting, environ: Mapping[str, str]) -> None:
    """Say which of the caller's variables Terraform will not see."""
    from tfops.adapters.terraform import ignored_variables

    names = [name for name in ignored_variables(environ) if not name.startswith("TF_VAR_")]
    if names:
        setting.screen.error_line(f"ignored from the environment: {', '.join(names)} (they would change plans unseen)")


def _entry(stack: StackSync) -> dict[str, Any]:
    entry = asdict(stack)
    del entry["problems"], entry["exit_code"], entry["base"]
    return entry


def orphan_entries(found: Mapping[str, Orphan]) -> list[dict[str, object]]:
    """Orphans for programs."""
    return [
        {"stack": orphan.stack, "renamed_to": orphan.renamed_to, "message": orphan.sentence}
        for orphan in found.values()
    ]


def _text(synced: Synced, *, dry_run: bool) -> object:
    from rich.text import Text

    from tfops.report.tables import lines, stack_table

    table = stack_table(
        (stack.stack, stack.outcome.value, stack.summary, stack.plan_id, why(stack)) for stack in synced.stacks
    )
    left = [Text(f"orphaned: {name}: {found.sentence}", "yellow") for name, found in synced.orphans.items()]
    rules = [Text(line, "yellow") for line in rules_lines(synced.rules)]
    dangers = [Text(f"! {stack.stack}: {danger}", "red") for stack in synced.stacks for danger in stack.dangers]
    return lines(table, Text(""), *dangers, *left, *rules, Text(_sentence(synced, dry_run=dry_run)))


def why(stack: StackSync) -> tuple[str, ...]:
    """Why a stack ended as it did: every reason, or as many as fit on a screen and the command that shows the rest."""
    if stack.problems:
        return (f"{stack.problems[0].code}, see below",)
    reasons = named(stack.reasons, stack.plan_id[:12]) if stack.plan_id else stack.reasons
    if len(reasons) <= MOST_REASONS:
        return reasons
    rest = (
        f"tfops inspect {stack.plan_id[:12]}" if stack.plan_id else f"tfops --format json sync --dry-run {stack.stack}"
    )
    return (*reasons[:MOST_REASONS], f"and {len(reasons) - MOST_REASONS} more, all of them: {rest}")


def _sentence(synced: Synced, *, dry_run: bool) -> str:
    counted = {outcome: sum(stack.outcome is outcome for stack in synced.stacks) for outcome in Outcome}
    found = ", ".join(f"{number} {outcome.value}" for outcome, number in counted.items() if number)
    runs = sum(stack.terraform_runs for stack in synced.stacks)
    started = f"Terraform was started {plural(runs, 'time')}" if runs else "no Terraform was started"
    hint = ""
    if counted[Outcome.PENDING]:
        hint = "\nnext: tfops sync"
    elif counted[Outcome.WAITING] and not dry_run:
        plan = next(stack.plan_id for stack in synced.stacks if stack.outcome is Outcome.WAITING)
        hint = f"\nnext: look at a waiting plan: tfops inspect {(plan or '')[:12]}"
    return f"{synced.revision}: {found or 'no stacks'}; {started}{hint}"
