"""What an environment said of a stack that is gone from the branch: how Terraform is run for it, and who is asked."""

from collections.abc import Iterator

from tfops.config import Config, Environment
from tfops.config_gate import strictest
from tfops.deployment import Deployment
from tfops.errors import ConfigError
from tfops.stacks import environments_of
from tfops.steps.opening import Session
from tfops.steps.trust_records import earlier_rules


def last_known(session: Session, head: Deployment) -> Environment:
    """The environment of a deployed stack as the branch has it, else the rules in force, else the last to name it.

    One that none of them ever named asks for the strictest there is.
    """
    record = head.record
    for config in _configurations(session):
        found = _bound(config, record.environment, record.source.branch)
        if found is not None:
            return found
    asked = strictest(one.approval for one in session.rules.config.environments)
    return Environment(name=record.environment, branch=record.source.branch, roots=(), approval=asked)


def prunes_by_itself(session: Session, head: Deployment) -> bool:
    """Whether the branch and the rules in force both let `sync` destroy what of the environment is gone.

    An environment that is gone itself says nothing any more.
    """
    record = head.record
    said = (_bound(one, record.environment, record.source.branch) for one in (session.config, session.rules.config))
    return all(found is not None and found.prune for found in said)


def _configurations(session: Session) -> Iterator[Config]:
    yield session.config
    yield session.rules.config
    if session.trust is not None:
        yield from (rules.config for rules in earlier_rules(session.store, session.caller, session.trust))


def _bound(config: Config, name: str, branch: str) -> Environment | None:
    try:
        found = environments_of(config, branch)
    except ConfigError:
        return None
    return next((one for one in found if one.name == name), None)
