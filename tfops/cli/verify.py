"""`tfops verify`."""

from pathlib import Path

import click
import msgspec

from tfops.cli.options import Setting, output_options
from tfops.cli.output import Result
from tfops.cli.reading import keys_from_files, session_for
from tfops.errors import Exit, Problem
from tfops.workflows.verify import Verification


@click.command("verify")
@click.argument("artifact", metavar="ID|DIR")
@click.option(
    "--key",
    "key_files",
    multiple=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="A runner's public key; then no repository is needed.",
)
@click.option("--redacted-only", is_flag=True, help="The copy was handed on without plan.tfplan, which holds secrets.")
@output_options
def command(setting: Setting, artifact: str, key_files: tuple[Path, ...], redacted_only: bool) -> Exit:
    """Check that an artifact is what it claims to be: signature, every file, what was recorded of its use.

    ID is a plan id in the store, DIR a directory that `tfops plan --out` wrote.
    """
    from tfops.workflows.verify import verify

    session = None if key_files and Path(artifact).is_dir() else session_for(setting)
    keys = keys_from_files(key_files) if key_files else None
    found = verify(artifact, session=session, keys=keys, redacted_only=redacted_only)
    setting.screen.show(
        Result(
            command="verify",
            exit_code=found.exit_code,
            stacks=(_entry(found),),
            problems=_problems(found),
            extra={
                "verified": found.verified,
                "checks": [msgspec.to_builtins(check) for check in found.checks],
            },
            text=lambda: _text(found),
        )
    )
    return found.exit_code


def _entry(found: Verification) -> dict[str, object]:
    predicate = found.statement.predicate if found.statement else None
    return {
        "stack": predicate.stack if predicate else None,
        "plan_id": found.plan_id,
        "verified": found.verified,
        "checks": [msgspec.to_builtins(check) for check in found.checks],
    }


def _problems(found: Verification) -> tuple[Problem, ...]:
    stack = found.statement.predicate.stack if found.statement else None
    return tuple(
        Problem(
            code=f"verify.{check.name.replace('.', '_').replace(' ', '_')}",
            message=f"{found.where}: {check.name}: {check.detail}",
            hint="do not use it; make a new plan with `tfops plan`",
            stack=stack,
        )
        for check in found.checks
        if not check.ok
    )


def _text(found: Verification) -> object:
    from rich.text import Text

    from tfops.report.tables import checks_table, lines

    verdict = Text("verified", "bold green") if found.verified else Text("NOT VERIFIED", "bold red")
    bound = []
    if found.statement is not None and found.verified:
        plan = found.statement.predicate
        bound.append(
            Text(
                f"{plan.purpose.value} plan {(found.plan_id or '')[:12]} of {plan.stack} at "
                f"{plan.source}, state serial {plan.state.serial}, "
                f"made {plan.finished_on:%Y-%m-%d %H:%M}Z, valid until {plan.expires_on:%Y-%m-%d %H:%M}Z"
            )
        )
    return lines(checks_table(found.checks), Text(""), verdict, *bound)
