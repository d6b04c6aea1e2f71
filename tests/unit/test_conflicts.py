"""What the code and somebody outside both changed is not overwritten by itself; drift or code alone is no matter."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfops.changes import Change, Plan, ResourceChange, plan_of
from tfops.conflicts import conflicts, hides_drift
from tfops.redaction import redact

ADDRESS = "fakecloud_server.a"
VALUES = st.none() | st.integers(0, 2) | st.sampled_from(["", "x", "y"])


def entry(before: Any, after: Any, *actions: str, **masks: Any) -> dict[str, Any]:
    change = {"actions": list(actions), "before": before, "after": after, **masks}
    return {"address": ADDRESS, "mode": "managed", "type": "fakecloud_server", "change": change}


def document(was: Any, real: Any, wanted: Any, *actions: str, **masks: Any) -> dict[str, Any]:
    return {
        "format_version": "1.2",
        "resource_drift": [entry(was, real, "update", **masks)],
        "resource_changes": [entry(real, wanted, *(actions or ("update",)), **masks)],
    }


def words(was: Any, real: Any, wanted: Any, *actions: str) -> list[str]:
    return [one.words for one in conflicts(plan_of(document(was, real, wanted, *actions)), stack="dev")]


def test_both_moved_apart_and_it_is_named_without_any_value():
    (found,) = words({"size": 11, "name": "a"}, {"size": 55, "name": "a"}, {"size": 99, "name": "a"})
    assert found.startswith("fakecloud_server.a: somebody outside changed size, and the code wants yet another value")
    assert "tfops drift dev" in found
    assert not any(value in found for value in ("11", "55", "99"))


def test_a_replacement_overwrites_as_well():
    assert len(words({"size": 1}, {"size": 5}, {"size": 9}, "delete", "create")) == 1


@pytest.mark.parametrize(
    ("was", "real", "wanted"),
    [
        ({"size": 1}, {"size": 5}, {"size": 1}),
        ({"size": 1}, {"size": 5}, {"size": 5}),
        ({"size": 1, "name": "a"}, {"size": 5, "name": "a"}, {"size": 1, "name": "b"}),
        ({"size": 1, "tags": None}, {"size": 1, "tags": {}}, {"size": 9, "tags": ""}),
    ],
    ids=["reverted", "taken over", "another attribute", "only written otherwise"],
)
def test_what_only_one_side_changed_is_no_conflict(was: Any, real: Any, wanted: Any):
    assert words(was, real, wanted) == []


def test_what_is_destroyed_is_for_protect_to_say():
    assert words({"size": 1}, {"size": 5}, None, "delete") == []


def test_a_violation_is_about_its_object():
    (found,) = conflicts(plan_of(document({"size": 1}, {"size": 5}, {"size": 9})), stack="dev")
    assert found.addresses == {ADDRESS}


@given(was=VALUES, wanted=VALUES)
def test_a_plan_of_code_alone_is_never_in_conflict(was: Any, wanted: Any):
    changes = (ResourceChange(address=ADDRESS, change=Change(actions=("update",), before={"x": was}, after=wanted)),)
    assert conflicts(Plan(resource_changes=changes), stack="dev") == ()


@given(was=VALUES, real=VALUES, wanted=VALUES)
def test_without_a_secret_a_redacted_plan_says_the_same(was: Any, real: Any, wanted: Any):
    found = document({"x": was}, {"x": real}, {"x": wanted})
    redacted = json.loads(json.dumps(redact(found)))
    assert conflicts(plan_of(redacted), stack="dev") == conflicts(plan_of(found), stack="dev")


def test_where_what_drifted_is_hidden_that_is_known():
    masks = {"before_sensitive": {"password": True}, "after_sensitive": {"password": True}}
    secret = document({"password": "o1d-s3cret"}, {"password": "3dited-s3cret"}, {"password": "n3w-s3cret"}, **masks)
    assert not hides_drift(plan_of(secret))
    assert hides_drift(plan_of(redact(secret)))
    plain = document({"size": 1, "password": "s"}, {"size": 5, "password": "s"}, {"size": 9, "password": "s"}, **masks)
    assert not hides_drift(plan_of(redact(plain)))
