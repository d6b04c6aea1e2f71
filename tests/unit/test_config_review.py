"""What the rules let the code of a change do while it is planned for review."""

import pytest

from tests.unit.test_config import ENVIRONMENT, problem
from tfops.config import parse_config
from tfops.config_review import Allowance, Review


def review(text: str) -> Review:
    return parse_config(f"{ENVIRONMENT}review {{\n{text}\n}}\n").review


def test_without_a_block_nothing_runs_and_everything_may_be_fetched():
    assert parse_config(ENVIRONMENT).review == Review(allow=(), modules=None, providers=None)


def test_the_block_has_kinds_and_lists():
    found = review('allow = ["external", "ssh_agent"]\nmodules = ["acme/*"]\nproviders = []')
    assert found == Review(allow=(Allowance.EXTERNAL, Allowance.SSH_AGENT), modules=("acme/*",), providers=())


def test_a_kind_that_does_not_exist_is_a_fault():
    found = problem(f'{ENVIRONMENT}review {{\n  allow = ["extrenal"]\n}}\n')
    assert (found.code, found.hint) == ("config.invalid_value", 'did you mean "external"?')


def test_a_key_that_does_not_exist_is_a_fault():
    assert problem(f"{ENVIRONMENT}review {{\n  module = []\n}}\n").code == "config.unknown_key"


@pytest.mark.parametrize(
    ("mine", "other", "expected"),
    [
        (Review(), Review(), True),
        (Review(), Review(allow=(Allowance.HTTP,)), True),
        (Review(allow=(Allowance.HTTP,)), Review(), False),
        (Review(modules=("a",)), Review(), True),
        (Review(), Review(modules=("a",)), False),
        (Review(modules=("a",)), Review(modules=("a", "b")), True),
        (Review(modules=("a", "b")), Review(modules=("a",)), False),
        (Review(providers=("a",)), Review(providers=()), False),
    ],
)
def test_stricter_means_that_nothing_more_is_allowed(mine, other, expected):
    assert mine.is_at_least(other) is expected
