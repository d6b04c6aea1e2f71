"""The forge block, and which repository a remote's address names."""

import pytest

from tfops.config import parse_config
from tfops.config_forge import ForgeSettings, repository_of
from tfops.config_gate import Approval, Evidence, strictest
from tfops.errors import ConfigError

ENVIRONMENT = (
    'environment "prod" {\n  branch = "main"\n  roots = ["prod"]\n  approval {\n    count = 1\n    %s\n  }\n}\n'
)


def settings(block: str) -> ForgeSettings | None:
    return parse_config(block + ENVIRONMENT % "").forge


def problem(text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        parse_config(text)
    return " | ".join(f"{one.code}: {one.message} {one.hint}" for one in caught.value.problems)


def test_without_a_block_no_forge_is_asked():
    assert settings("") is None


def test_a_forge_has_its_own_address_unless_one_is_named():
    assert settings('forge "github" {}\n') == ForgeSettings(kind="github", url="https://github.com")
    block = 'forge "gitlab" {\n  url = "https://git.acme.example/"\n  repository = "a/b/c"\n  comment = false\n}\n'
    assert settings(block) == ForgeSettings(
        kind="gitlab", url="https://git.acme.example", repository="a/b/c", comment=False
    )


@pytest.mark.parametrize(
    ("block", "words"),
    [
        ("forge {}\n", 'takes one label write forge "github" {}, or gitlab, bitbucket, azure, gitea'),
        ('forge "githup" {}\n', 'did you mean "github"?'),
        ('forge "github" {}\nforge "gitlab" {}\n', "is a second forge"),
        ('forge "github" {\n  url = "http://git.acme.example"\n}\n', "a token would be sent in clear"),
        ('forge "github" {\n  url = "git.acme.example"\n}\n', "write it like"),
        ('forge "github" {\n  url = "https://user:secret@git.acme.example"\n}\n', "write it like"),
        ('forge "github" {\n  token = "x"\n}\n', '"token" is not a known key'),
    ],
)
def test_what_cannot_be_is_refused(block: str, words: str):
    assert words in problem(block + ENVIRONMENT % "")


def test_reviews_count_only_where_a_forge_is_named():
    assert 'prod" counts approvals of a forge' in problem(ENVIRONMENT % 'from = ["forge"]')
    parsed = parse_config('forge "github" {}\n' + ENVIRONMENT % 'from = ["forge", "signed"]')
    assert parsed.environments[0].approval == Approval(count=1, sources=(Evidence.FORGE, Evidence.SIGNED))


@pytest.mark.parametrize("value", ['["fax"]', "[]", '"forge"'])
def test_only_known_evidence_can_count(value: str):
    assert "approval" in problem('forge "github" {}\n' + ENVIRONMENT % f"from = {value}")


@pytest.mark.parametrize(
    ("remote", "repository"),
    [
        ("https://github.com/acme/infra.git", "acme/infra"),
        ("git@github.com:acme/infra.git", "acme/infra"),
        ("ssh://git@git.acme.example:2222/group/sub/infra", "group/sub/infra"),
        ("https://user@dev.azure.com/org/project/_git/repo", "org/project/_git/repo"),
        ("/srv/git/infra.git", None),
        ("../infra", None),
    ],
)
def test_a_remote_names_its_repository(remote: str, repository: str | None):
    assert repository_of(remote) == repository


def test_of_several_gates_only_evidence_counts_that_all_take():
    both = Approval(count=1, sources=(Evidence.SIGNED, Evidence.FORGE), max_age_seconds=60)
    forge = Approval(count=2, sources=(Evidence.FORGE,), codeowners=True)
    assert strictest([both, forge]) == Approval(count=2, sources=(Evidence.FORGE,), codeowners=True, max_age_seconds=60)
    assert strictest([Approval(count=0), forge]) == forge
    assert strictest([forge, None]) is None
