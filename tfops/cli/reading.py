"""For commands that only read: a session over what is here already, without fetching."""

from pathlib import Path
from typing import TYPE_CHECKING

from tfops.cli.options import Setting
from tfops.dsse import public_key
from tfops.errors import UsageError
from tfops.stacks import branch_matches
from tfops.steps.opening import Session, open_session

if TYPE_CHECKING:
    from securesystemslib.signer import SSlibKey


def session_for(setting: Setting, branch: str | None = None) -> Session:
    """A session over the branch as this clone has it.

    Where a branch is checked out that no environment follows (a change is read on its own branch), the one that the
    rules in force follow.
    """
    caller = setting.caller()
    session = open_session(caller, branch=branch, fetch=False)
    followed = any(branch_matches(one.branch, session.revision.branch) for one in session.config.environments)
    if branch is not None or followed or session.trust is None:
        return session
    return open_session(caller, branch=session.trust.record.source.branch, fetch=False)


def keys_from_files(files: tuple[Path, ...]) -> "dict[str, SSlibKey]":
    """Public keys named on the command line, by file name; raises UsageError for what is none."""
    keys = {}
    for file in files:
        try:
            keys[file.name] = public_key(file.read_bytes())
        except (OSError, ValueError) as error:
            raise UsageError(
                f"{file} is no public key: {error}",
                code="usage.key",
                hint="give the .pub file of the runner that made the plan (keys/….pub in its repository)",
            ) from error
    return keys
