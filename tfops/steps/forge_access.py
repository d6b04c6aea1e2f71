"""The forge of a repository, opened: its address, the repository's name there, and a token."""

from tfops.adapters.forges import connect
from tfops.adapters.git import Repository
from tfops.config_forge import ForgeSettings, repository_of
from tfops.errors import ConfigError
from tfops.forge import Forge, ForgeError
from tfops.steps.caller import Caller


def connected(settings: ForgeSettings, repository: Repository, branch: str, caller: Caller) -> Forge:
    """The forge of these settings; nothing is sent yet.

    Raises ForgeError `forge.no_token`, and ConfigError where nobody says which repository it is.
    """
    token = caller.forge_token(settings.kind)
    if token is None:
        raise ForgeError(
            f"there is no token for {settings.kind}",
            code="forge.no_token",
            hint="put one into TFOPS_FORGE_TOKEN; docs/forges.md says which permissions it needs",
        )
    name = settings.repository or repository_of(repository.remote_url(branch) or "")
    if name is None:
        raise ConfigError(
            f"nobody says which repository this is on {settings.kind}: the remote is no address of a forge",
            code="config.forge_repository",
            hint='name it: forge { repository = "owner/name" }',
        )
    return connect(settings, repository=name, token=token, say=lambda message: caller.say("", message))
