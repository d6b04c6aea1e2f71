"""`tfops reject`."""

from pathlib import Path

import click

from tfops.cli.options import Setting, branch_option, output_options
from tfops.cli.reading import session_for
from tfops.cli.saying import all_of_option, key_option, saying_of, show_all, show_said
from tfops.errors import Exit, UsageError


@click.command("reject")
@click.argument("plan", required=False)
@key_option
@click.option("--comment", required=True, help="Why; signed with the decision.")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="Write the signed decision to a file.")
@all_of_option
@branch_option
@output_options
def command(
    setting: Setting,
    plan: str | None,
    key: Path | None,
    comment: str,
    out: Path | None,
    all_of: str | None,
    branch: str | None,
) -> Exit:
    """Sign that PLAN must not be applied. It vetoes, until you take it back: tfops approve PLAN --withdraw."""
    from tfops.approval import Word
    from tfops.workflows.approve import say, say_of_all

    if (plan is None) is (all_of is None) or (all_of is not None and out is not None):
        hint = "tfops reject PLAN --comment WHY"
        raise UsageError("name a plan, or --all-of a commit (without --out)", code="usage.approve", hint=hint)
    session = session_for(setting, branch)
    saying = saying_of(session, Word.REJECTED, key=key, comment=comment, valid="24h")
    if all_of is not None:
        return show_all(setting, "reject", say_of_all(session, all_of, saying))
    return show_said(setting, "reject", say(session, plan or "", saying, out=out))
