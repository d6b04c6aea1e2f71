"""`tfops plan`."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from tfops.cli.options import Setting, branch_option, jobs_option, output_options
from tfops.cli.output import Result
from tfops.cli.sync import say_trusted, warn_of_ignored
from tfops.errors import Exit, UsageError
from tfops.pipelines import Event, Pipeline, event_path, pipeline
from tfops.workflows.plan import Plans, StackPlan


@click.command("plan")
@click.argument("stacks", nargs=-1)
@branch_option
@click.option("--revision", metavar="COMMIT", help="Plan this commit instead of the branch's head.")
@click.option(
    "--out", type=click.Path(path_type=Path, file_okay=False), help="Also write each artifact to DIR/<stack>."
)
@click.option("--speculative", is_flag=True, help="Plan what merging --head into --base would change, for review.")
@click.option("--base", metavar="BRANCH", help="The branch a change is for; with --speculative, else the pipeline's.")
@click.option("--head", metavar="COMMIT", help="The change: a branch, a tag or a commit; else the pipeline's, or HEAD.")
@click.option("--change", type=click.IntRange(min=1), metavar="N", help="The number of the change on the forge.")
@click.option("--trust-code", is_flag=True, help="Somebody has read the code: let it run while it is planned.")
@jobs_option
@output_options
def command(
    setting: Setting,
    stacks: tuple[str, ...],
    branch: str | None,
    revision: str | None,
    out: Path | None,
    speculative: bool,
    base: str | None,
    head: str | None,
    change: int | None,
    trust_code: bool,
    jobs: int | None,
) -> Exit:
    """Plan stacks at the branch's head, sign the plans and store them. Exit 2 where changes are pending."""
    from tfops.steps.opening import open_review, open_session
    from tfops.steps.schedule import default_jobs
    from tfops.workflows.plan import Aim, plan, review

    caller = setting.caller()
    hint = _pipeline(caller.environ) if speculative else None
    base = base or (hint.base if hint else None)
    _check_options(speculative=speculative, base=base, head=head, change=change, revision=revision)
    warn_of_ignored(setting, caller.environ)
    number, tick = jobs or default_jobs(), setting.screen.tick
    if speculative:
        tip = head or (hint.head if hint else None) or "HEAD"
        before, merged = open_review(caller, base=base or "", head=tip)
        commit = merged.revision.commit
        number_on_forge = change or (hint.change if hint else None)
        if trust_code:
            say_trusted(setting, tip)
        plans = review(
            before,
            merged,
            stacks,
            out=out,
            jobs=number,
            tick=tick,
            change=number_on_forge,
            trust_code=trust_code,
        )
    else:
        session = open_session(caller, branch=branch, revision=revision)
        if trust_code:
            say_trusted(setting, str(session.revision))
        plans = plan(session, stacks, out=out, jobs=number, tick=tick, aim=Aim(trust_code=trust_code))
        commit = None
    setting.screen.show(
        Result(
            command="plan",
            exit_code=plans.exit_code,
            stacks=tuple(_entry(stack) for stack in plans.stacks),
            problems=tuple(problem for stack in plans.stacks for problem in stack.problems),
            extra={"revision": plans.revision},
            text=lambda: _text(plans, reviewed=commit),
        )
    )
    return plans.exit_code


def _pipeline(environ: Mapping[str, str]) -> Pipeline | None:
    """The pipeline of a change that we run in: a hint, the forge has the last word."""
    path = event_path(environ)
    try:
        event = Path(path).read_bytes() if path else b""
    except OSError:
        event = b""
    found = pipeline(environ, event)
    return found if found is not None and found.event is Event.CHANGE else None


def _check_options(
    *,
    speculative: bool,
    base: str | None,
    head: str | None,
    change: int | None,
    revision: str | None,
) -> None:
    if speculative and base is None:
        raise UsageError(
            "nobody says which branch the change is for: there is no --base, and this is no pipeline of a change",
            code="usage.speculative",
            hint=f"tfops plan --speculative --base main --head {head or 'HEAD'}",
        )
    if speculative and revision is not None:
        raise UsageError(
            "--revision is a commit of the branch; what a change would do is planned for its --head",
            code="usage.speculative",
            hint=f"tfops plan --speculative --base {base} --head {revision}",
        )
    if not speculative and (base, head, change) != (None, None, None):
        raise UsageError(
            "--base, --head and --change say what a plan for review is made of",
            code="usage.speculative",
            hint=f"tfops plan --speculative --base {base or 'main'} --head {head or 'HEAD'}",
        )


def _entry(stack: StackPlan) -> dict[str, Any]:
    entry = asdict(stack)
    del entry["problems"], entry["exit_code"]
    return entry


def _text(plans: Plans, *, reviewed: str | None) -> object:
    from rich.text import Text

    from tfops.report.tables import lines, stack_table

    table = stack_table(
        (
            stack.stack,
            stack.verdict,
            stack.summary,
            stack.plan_id,
            (f"{stack.problems[0].code}, see below",) if stack.problems else stack.reasons,
        )
        for stack in plans.stacks
    )
    dangers = [Text(f"! {stack.stack}: {danger.sentence}", "red") for stack in plans.stacks for danger in stack.dangers]
    after = [Text("")] if dangers else []
    return lines(table, Text(""), *dangers, *after, Text(plans.revision), *map(Text, _next(plans, reviewed)))


def _next(plans: Plans, reviewed: str | None) -> list[str]:
    """What to do with the plans; `reviewed` is the commit that they were made of for review."""
    made = [(stack.stack, stack.plan_id[:12]) for stack in plans.stacks if stack.plan_id]
    if not made:
        return []
    stack, plan = made[0]
    if reviewed is None:
        then = f"tfops sync {stack} --plan {plan}"
    else:
        then = f"tfops approve --all-of {reviewed[:12]}" if made[1:] else f"tfops approve {plan}"
    return [f"next: tfops inspect {plan}, or {then}"]
