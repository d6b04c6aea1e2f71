"""The configuration reference shows only what tfops accepts."""

import re
from pathlib import Path

import pytest

from tfops.config import parse_config

PAGE = (Path(__file__).parents[2] / "docs" / "configuration.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"^```hcl\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)


def test_the_reference_has_examples():
    assert len(EXAMPLES) > 5


@pytest.mark.parametrize("example", EXAMPLES)
def test_every_example_of_the_reference_is_a_whole_configuration(example):
    assert parse_config(example).environments


@pytest.mark.parametrize(
    "block", ["terraform", "store", "signing", "trust", "environment", "stack", "moved", "notify", "policy", "review"]
)
def test_every_block_has_a_section(block):
    assert re.search(rf"^## `{block}\b", PAGE, re.MULTILINE)
