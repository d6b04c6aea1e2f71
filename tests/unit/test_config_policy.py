"""The policy blocks: what may be written, and what is refused."""

import re
from pathlib import Path

import pytest

from tfops.config import Config, parse_config
from tfops.config_policy import Policy
from tfops.errors import ConfigError

PROD = 'environment "prod" {\n  branch = "main"\n  roots = ["prod"]\n}\n'
GUIDE = (Path(__file__).parents[2] / "docs" / "policies.md").read_text(encoding="utf-8")


def parsed(text: str) -> Config:
    return parse_config(PROD + text)


def problems(text: str) -> list[tuple[str, str]]:
    with pytest.raises(ConfigError) as caught:
        parsed(text)
    return [(one.code, f"{one.message} {one.hint}") for one in caught.value.problems]


def test_a_policy_is_a_program_or_rego():
    text = """
policy "conftest" {
  command      = ["conftest", "test", "-p", "a", "-p", "a", "-"]
  files        = ["policies"]
  environments = ["prod"]
  timeout      = "30s"
}
policy "buckets" { rego = ["policies/buckets.rego"] }
policy "names" {
  rego  = ["policies"]
  query = "data.names.deny"
}
"""
    assert parsed(text).policies == (
        Policy(
            name="conftest",
            command=("conftest", "test", "-p", "a", "-p", "a", "-"),
            files=("policies",),
            environments=("prod",),
            timeout_seconds=30,
        ),
        Policy(name="buckets", rego=("policies/buckets.rego",)),
        Policy(name="names", rego=("policies",), query="data.names.deny"),
    )


@pytest.mark.parametrize(
    ("body", "code", "words"),
    [
        ("", "config.missing_key", "has neither command nor rego"),
        ('command = ["x"]\n rego = ["y"]', "config.invalid_value", "has both command and rego"),
        ("command = []", "config.invalid_value", "is empty"),
        ("rego = []", "config.invalid_value", "is empty"),
        ('command = "conftest test -"', "config.wrong_type", "a list of strings"),
        ('command = ["x", 1]', "config.wrong_type", "must be a string"),
        ('rego = ["../x.rego"]', "config.invalid_value", "may leave the repository"),
        ('command = ["x"]\n files = ["."]', "config.invalid_value", "must name a file"),
        ('command = ["x"]\n query = "data.x"', "config.unknown_key", "query"),
        ('rego = ["x"]\n timeout = "5m"', "config.unknown_key", "timeout"),
        ('rego = ["x"]\n query = "data.tfops.deny; true"', "config.invalid_value", 'such as "data.tfops.deny"'),
        ('command = ["x"]\n environments = ["prd"]', "config.unknown_reference", 'did you mean "prod"?'),
    ],
)
def test_what_is_not_enforced_or_makes_no_sense_is_refused(body, code, words):
    (found,) = problems(f'policy "x" {{\n {body}\n}}\n')
    assert found[0] == code
    assert words in found[1]


def test_names_are_unique():
    (found,) = problems('policy "x" { command = ["a"] }\npolicy "x" { command = ["b"] }\n')
    assert found[0] == "config.duplicate"


def test_of_a_directory_rego_takes_only_rego():
    rego, program = Policy(name="a", rego=("policies",)), Policy(name="b", command=("x",), files=("policies",))
    for name, in_rego in (("policies/a.rego", True), ("policies/deep/a.rego", True), ("policies/README.md", False)):
        assert (rego.has(name), program.has(name)) == (in_rego, True)
    assert not program.has("policies.rego")


@pytest.mark.parametrize("example", re.findall(r"^```hcl\n(.*?)^```$", GUIDE, re.DOTALL | re.MULTILINE))
def test_every_example_of_the_guide_is_a_whole_configuration(example):
    assert parse_config(example).policies
