"""Per attribute, saved state, reality and code are compared by what they mean."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfops.three_way import Word, attributes, same

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=12,
)


def words(was: object, real: object, planned: object, unknown: object = False) -> dict[str, Word]:
    """The words of attributes, by name."""
    return {item.path: item.verdict for item in attributes(was, real, planned, unknown)}


@given(VALUES)
def test_a_value_means_the_same_as_itself(value: object) -> None:
    assert same(value, value)


@given(VALUES, VALUES)
def test_meaning_the_same_goes_both_ways(one: object, other: object) -> None:
    assert same(one, other) == same(other, one)


@given(st.dictionaries(st.text(max_size=4), VALUES, min_size=1, max_size=4))
def test_a_json_text_is_what_it_says(value: dict[str, object]) -> None:
    assert same(json.dumps(value, indent=3), json.dumps(dict(reversed(value.items()))))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (None, ""),
        (None, []),
        (None, {}),
        ({"a": None}, {}),
        ({"a": {"b": []}}, {"a": {}}),
        ('{"a": 1, "b": 2}', '{"b":2,"a":1}'),
        ([{"a": 1, "tags": None}, {"a": 0, "tags": {}}], [{"a": 0}, {"a": 1}]),
    ],
)
def test_another_notation_is_no_difference(one: object, other: object) -> None:
    assert same(one, other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (None, 0),
        (None, False),
        (1, True),
        (1, "1"),
        (["a", "b"], ["b", "a"]),
        (["a"], ["a", "a"]),
        ('{"a": 1}', '{"a": 2}'),
        ("{not json", "{not  json"),
    ],
)
def test_what_is_another_value_is_a_difference(one: object, other: object) -> None:
    assert not same(one, other)


def test_an_edit_that_the_code_would_undo_is_a_revert() -> None:
    assert words({"a": 1}, {"a": 2}, {"a": 1}) == {"a": Word.REVERT}


def test_an_edit_that_the_code_agrees_with_is_kept() -> None:
    assert words({"a": 1}, {"a": 2}, {"a": 2}) == {"a": Word.KEPT}


def test_code_and_reality_that_both_moved_are_a_conflict() -> None:
    assert words({"a": 1}, {"a": 2}, {"a": 3}) == {"a": Word.CONFLICT}


def test_a_change_without_drift_is_pending() -> None:
    assert words({"a": 1}, {"a": 1}, {"a": 2}) == {"a": Word.PENDING}


def test_drift_whose_end_is_not_known_is_unknown_and_what_only_follows_is_left_out() -> None:
    unknown = {"a": True, "b": True}
    assert words({"a": 1, "b": 1}, {"a": 2, "b": 1}, {}, unknown) == {"a": Word.UNKNOWN}


def test_what_is_no_object_has_no_attributes() -> None:
    assert words(None, [1], "x") == {}
