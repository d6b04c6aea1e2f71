"""`tfops reject`."""

from pathlib import Path

import click

from tfops.cli.options import Setting, branch_option, output_options
from tfops.cli.saying import key_option, saying_of, show_said
from tfops.errors import Exit


@click.command("reject")
@click.argument("plan")
@key_option
@click.option("--comment", required=True, help="Why; signed with the decision.")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="Write the signed decision to a file.")
@branch_option
@output_options
def command(setting: Setting, plan: str, key: Path | None, comment: str, out: Path | None, branch: str | None) -> Exit:
    """Sign that PLAN must not be applied. It vetoes, until you take it back: tfops approve PLAN --withdraw."""
    from tfops.approval import Word
    from tfops.steps.opening import open_session
    from tfops.workflows.approve import say

    session = open_session(setting.caller(), branch=branch, fetch=False)
    saying = saying_of(session, Word.REJECTED, key=key, comment=comment, valid="24h")
    return show_said(setting, "reject", say(session, plan, saying, out=out))
