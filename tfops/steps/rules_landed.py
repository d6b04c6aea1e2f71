"""Which of the changes that landed make other rules of those before them."""

from tfops.adapters.git import Revision
from tfops.errors import TfopsError
from tfops.landing import Landed
from tfops.steps.configuration import CONFIG_NAME, configuration_text, read_configuration, read_rules
from tfops.steps.opening import Session
from tfops.steps.policy_files import policy_files
from tfops.steps.reviews import touches_any
from tfops.trust import Rules, rules_change


def rule_paths(session: Session) -> set[str]:
    """The files that hold the rules in force, or those of the branch."""
    return {CONFIG_NAME, *session.rules.files, *session.head_rules.files}


def changes_rules(session: Session, landed: Landed) -> bool:
    """Whether a stretch makes other rules of those before it; where that cannot be known, it may.

    A comment in the configuration does not, nor a setting that is an input of stacks.
    """
    if landed.base is None or not touches_any(session, landed, rule_paths(session)):
        return landed.base is None
    try:
        before, now = (_rules_at(session, commit) for commit in (landed.base, landed.tip))
    except TfopsError:
        return True
    return before.files != now.files or not rules_change(before, now).is_empty


def _rules_at(session: Session, commit: str) -> Rules:
    repository = session.repository
    revision = Revision(branch=session.revision.branch, commit=commit, tree=repository.tree_id(commit))
    files = repository.tree(revision)
    config = read_configuration(files, str(revision), session.caller)
    text = configuration_text(files, session.caller)
    return read_rules(config, text, files.read, policy_files(config.policies, files))
