"""On the command line a stack is meant by its id, and all of an environment's by its name."""

import pytest

from tests.fakes import DictTree
from tfops.errors import Exit, UsageError
from tfops.inputs import closure
from tfops.stacks import Stack, StateAddress
from tfops.steps.selection import select
from tfops.steps.surveyed import Surveyed


def surveyed(id_: str, environment: str) -> Surveyed:
    stack = Stack(id=id_, environment=environment, root="", workspace="default", branch="main")
    return Surveyed(
        stack=stack,
        inputs=closure(DictTree({}), ""),
        address=StateAddress(kind="managed", text=f"managed:{id_}", workspace="default"),
        state=None,
        cli_config=None,
    )


EVERYTHING = {
    name: surveyed(name, environment)
    for name, environment in [
        ("staging", "staging"),
        ("prod/network", "prod"),
        ("prod/app", "prod"),
        ("preview@x-1/app", "preview@x-1"),
    ]
}


@pytest.mark.parametrize(
    ("names", "chosen"),
    [
        ([], list(EVERYTHING)),
        (["prod/app"], ["prod/app"]),
        (["prod"], ["prod/network", "prod/app"]),
        (["prod/app", "staging"], ["staging", "prod/app"]),
        (["prod/app", "prod", "prod/app"], ["prod/network", "prod/app"]),
        (["staging"], ["staging"]),
        (["preview@x-1"], ["preview@x-1/app"]),
    ],
)
def test_names_choose_stacks_and_the_order_stays(names, chosen):
    assert list(select(EVERYTHING, names)) == chosen


@pytest.mark.parametrize("name", ["", "pro", "prod/", "PROD", "prod/app/", "*", "preview"])
def test_a_name_nobody_has_is_wrong_usage_even_beside_good_ones(name):
    with pytest.raises(UsageError) as refused:
        select(EVERYTHING, ["prod/app", name])
    (problem,) = refused.value.problems
    assert (problem.code, refused.value.exit_code) == ("usage.unknown_stack", Exit.USAGE)
    assert repr(name) in problem.message
    assert "stacks: staging, prod/network, prod/app, preview@x-1/app" in problem.hint


def test_the_nearest_name_is_suggested():
    with pytest.raises(UsageError) as refused:
        select(EVERYTHING, ["prod/netwrok"])
    assert refused.value.problems[0].hint.startswith("did you mean prod/network? ")


def test_without_any_stacks_there_is_nothing_to_choose():
    assert select({}, []) == {}
    with pytest.raises(UsageError):
        select({}, ["prod"])
