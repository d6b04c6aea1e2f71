"""Terraform's version constraints."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfops.versions import parse_constraints, parse_version

NUMBERS = st.lists(st.integers(0, 30), min_size=1, max_size=3)
VERSIONS = NUMBERS.map(lambda numbers: ".".join(map(str, numbers)))


@pytest.mark.parametrize(
    ("constraints", "version", "allowed"),
    [
        ("1.11.4", "1.11.4", True),
        ("= 1.11", "1.11.0", True),
        ("=1.11", "1.11.1", False),
        ("!= 1.11.2", "1.11.2", False),
        ("!= 1.11.2", "1.11.3", True),
        ("> 1.9", "1.10.0", True),
        ("> 1.9", "1.9.0", False),
        (">= 1.9", "1.9.0", True),
        ("< 2", "1.99.99", True),
        ("< 2", "2.0.0", False),
        ("<= 1.9", "1.9.0", True),
        ("~> 1.11", "1.11.0", True),
        ("~> 1.11", "1.99.0", True),
        ("~> 1.11", "2.0.0", False),
        ("~> 1.11", "1.10.9", False),
        ("~> 1.11.2", "1.11.9", True),
        ("~> 1.11.2", "1.12.0", False),
        ("~> 1", "2.0.0", True),
        ("~> 1.11, != 1.11.2", "1.11.2", False),
        (" ~>1.11 ,  < 1.13 ", "v1.12.5", True),
        (">= 1.12.0-beta1", "1.12.0", True),
        (">= 1.12.0-beta1", "1.12.0-beta2", False),
        ("= 1.12.0-beta1", "1.12.0-beta1", True),
        ("1.12.0-beta1", "1.12.0", False),
        ("!= 1.0.0", "1.12.0-beta1", False),
        ("~> 1.12.0-beta1", "1.12.3", False),
        ("= 1.11.4", "1.11.4+build7", True),
    ],
)
def test_a_version_is_allowed_as_terraform_would_allow_it(constraints, version, allowed):
    assert parse_constraints(constraints).allows(version) is allowed


@pytest.mark.parametrize("text", ["", ",", "1.11,", "=> 1", "~ 1", "latest", "1.x", ">= ", "1..2", "^1.2", "1.2.3-"])
def test_what_is_no_constraint_is_refused_by_its_text(text):
    with pytest.raises(ValueError, match="is not a version constraint"):
        parse_constraints(text)


def test_what_is_no_version_is_refused():
    with pytest.raises(ValueError, match=r'"1\.x" is not a version'):
        parse_constraints("1").allows("1.x")


def test_prereleases_come_in_the_order_of_semantic_versioning_before_their_release():
    texts = ["1.0.0-1", "1.0.0-2", "1.0.0-10", "1.0.0-alpha", "1.0.0-alpha.1", "1.0.0-beta", "1.0.0", "1.0.1"]
    versions = [parse_version(text) for text in texts]
    assert all(lower < higher for lower, higher in pairwise(versions))
    assert len({parse_version("1.0"), parse_version("1.0.0"), parse_version("1.0.0+x")}) == 1


@given(VERSIONS, VERSIONS)
def test_exactly_one_of_less_equal_and_greater_holds(left, right):
    assert sum(parse_constraints(f"{operator} {left}").allows(right) for operator in ("<", "=", ">")) == 1


@given(VERSIONS, VERSIONS)
def test_an_operator_and_its_opposite_never_agree(left, right):
    for operator, opposite in (("=", "!="), (">=", "<"), ("<=", ">")):
        constraints = (parse_constraints(f"{operator} {left}"), parse_constraints(f"{opposite} {left}"))
        assert constraints[0].allows(right) is not constraints[1].allows(right)


@given(VERSIONS, VERSIONS)
def test_a_pessimistic_constraint_is_a_lower_bound(left, right):
    if parse_constraints(f"~> {left}").allows(right):
        assert parse_constraints(f">= {left}").allows(right)


@given(VERSIONS, st.sampled_from([">", ">=", "<", "<=", "~>", "!="]))
def test_a_range_never_selects_a_prerelease(version, operator):
    assert not parse_constraints(f"{operator} {version}").allows(f"{version}-rc1")


@given(st.text())
def test_any_text_is_parsed_or_refused_as_a_value_error(text):
    try:
        parse_constraints(text).allows("1.11.4")
    except ValueError as error:
        assert str(error)
