"""From the forge block to an adapter."""

import pytest

from tfops.adapters.forges import connect
from tfops.config_forge import HOSTS, ForgeSettings
from tfops.errors import ConfigError


@pytest.mark.parametrize("kind", ["github", "gitea"])
def test_the_block_names_the_adapter(kind: str) -> None:
    settings = ForgeSettings(kind=kind, url=HOSTS[kind])
    assert connect(settings, repository="acme/infra", token="t", say=lambda message: None).name == kind


@pytest.mark.parametrize("kind", ["github", "gitea"])
def test_a_repository_that_cannot_be_is_an_error_of_the_configuration(kind: str) -> None:
    settings = ForgeSettings(kind=kind, url=HOSTS[kind])
    with pytest.raises(ConfigError, match="owner/name") as caught:
        connect(settings, repository="../infra", token="t", say=lambda message: None)
    assert caught.value.problems[0].code == "config.forge_repository"
