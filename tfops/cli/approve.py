"""`tfops approve`."""

from dataclasses import replace
from pathlib import Path

import click

from tfops.approval import Override
from tfops.cli.options import Setting, branch_option, output_options
from tfops.cli.reading import session_for
from tfops.cli.saying import all_of_option, comment_option, key_option, saying_of, show_all, show_said, valid_option
from tfops.errors import Exit, UsageError


@click.command("approve")
@click.argument("plan", required=False)
@key_option
@comment_option
@valid_option
@click.option(
    "--override",
    "overrides",
    multiple=True,
    type=click.Choice([one.value for one in Override]),
    help="Let PLAN pass by this part of the gate too. Can be given again.",
)
@click.option("--withdraw", is_flag=True, help="Take your earlier decision over PLAN back.")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="Write the signed decision to a file.")
@click.option("--file", type=click.Path(path_type=Path, dir_okay=False), help="Bring such a file into the store.")
@all_of_option
@branch_option
@output_options
def command(
    setting: Setting,
    plan: str | None,
    key: Path | None,
    comment: str,
    valid: str,
    overrides: tuple[str, ...],
    withdraw: bool,
    out: Path | None,
    file: Path | None,
    all_of: str | None,
    branch: str | None,
) -> Exit:
    """Sign that PLAN, as you have seen it, may be applied. Look at it first: tfops inspect PLAN.

    PLAN is a plan id, or the directory of an artifact. The signature is made by ssh-keygen with your SSH key.
    """
    from tfops.approval import Word
    from tfops.workflows.approve import say, say_of_all, take_over

    if sum(given is not None for given in (plan, file, all_of)) != 1:
        hint = "tfops approve PLAN"
        raise UsageError("name a plan, a --file, or --all-of a commit", code="usage.approve", hint=hint)
    if all_of is not None and out is not None:
        raise UsageError("--out takes one plan", code="usage.approve", hint="tfops approve PLAN --out FILE")
    if overrides and (withdraw or file is not None):
        hint = "say it with the approval: tfops approve PLAN --override protect"
        raise UsageError("--override belongs to an approval", code="usage.approve", hint=hint)
    session = session_for(setting, branch)
    if file is not None:
        return show_said(setting, "approve", take_over(session, file))
    word = Word.WITHDRAWN if withdraw else Word.APPROVED
    saying = replace(
        saying_of(session, word, key=key, comment=comment, valid=valid),
        overrides=tuple(Override(one) for one in overrides),
    )
    if all_of is not None:
        return show_all(setting, "approve", say_of_all(session, all_of, saying))
    return show_said(setting, "approve", say(session, plan or "", saying, out=out))
