"""One adapter for each forge, and the one place that chooses among them."""

import importlib
from collections.abc import Callable

from tfops.config_forge import ForgeSettings
from tfops.errors import ConfigError
from tfops.forge import Forge

# kind → module with a function `connect`: only the one that is named is loaded.
FORGES = {
    "github": "tfops.adapters.forges.github",
    "gitlab": "tfops.adapters.forges.gitlab",
    "bitbucket": "tfops.adapters.forges.bitbucket",
    "azure": "tfops.adapters.forges.azure",
    "gitea": "tfops.adapters.forges.gitea",
}


def connect(settings: ForgeSettings, *, repository: str, token: str, say: Callable[[str], None]) -> Forge:
    """The forge of a configuration; nothing is sent yet. Raises ConfigError for a repository that it cannot have."""
    module = importlib.import_module(FORGES[settings.kind])
    try:
        forge: Forge = module.connect(settings.url, repository, token=token, say=say)
    except ValueError as error:
        raise ConfigError(
            f'forge "{settings.kind}": {repository!r} is no repository there: {error}',
            code="config.forge_repository",
            hint="write it as the forge does: forge { repository = … }",
        ) from error
    return forge
