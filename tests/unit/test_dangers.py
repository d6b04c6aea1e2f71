"""A reviewer is told what is dangerous, the worst first, and why."""

import pytest

from tfops.changes import plan_of
from tfops.dangers import DangerKind, dangers_of


def entry(*actions: str, **fields: object) -> dict[str, object]:
    change = {"actions": list(actions), **fields.pop("change", {})}
    return {"address": "t.n", "mode": "managed", "type": "t", **fields, "change": change}


def sentences(*entries: dict[str, object], **fields: object) -> list[str]:
    return [danger.sentence for danger in dangers_of(plan_of({"resource_changes": list(entries), **fields}))]


def kinds(*entries: dict[str, object], **fields: object) -> list[DangerKind]:
    return [danger.kind for danger in dangers_of(plan_of({"resource_changes": list(entries), **fields}))]


def test_a_harmless_plan_has_no_dangers():
    assert sentences(entry("create"), entry("update"), entry("no-op"), entry("read", mode="data")) == []


@pytest.mark.parametrize(
    ("one", "sentence"),
    [
        (
            entry("delete", action_reason="delete_because_no_resource_config"),
            "t.n will be destroyed because it is no longer in the configuration.",
        ),
        (entry("delete"), "t.n will be destroyed."),
        (entry("delete", action_reason="brand_new"), "t.n will be destroyed (brand_new)."),
        (
            entry("delete", "create", change={"replace_paths": [["region"], ["tags", "a b", 0], "odd"]}),
            't.n will be replaced (destroyed, then created) because region, tags["a b"][0], odd'
            " cannot be changed in place.",
        ),
        (
            entry("create", "delete", action_reason="replace_because_tainted"),
            "t.n will be replaced (the new object first) because it is tainted.",
        ),
        (entry("create", "forget"), "t.n will be replaced, and the old object left to itself."),
        (entry("forget"), "t.n will no longer be managed; the object itself stays."),
        (
            entry("delete", deposed="4e3ab2f1"),
            "t.n has an object left from an earlier replacement (4e3ab2f1) that will be destroyed.",
        ),
        (entry("read", "delete"), "t.n has actions that tfops does not know (read, delete) and may destroy it."),
        (entry(), "t.n has actions that tfops does not know (none)."),
    ],
)
def test_a_danger_says_where_and_why(one, sentence):
    assert sentences(one) == [sentence]


def test_an_errored_or_incomplete_plan_is_a_danger_of_its_own():
    assert "ended with an error" in sentences(errored=True, complete=False)[0]
    assert "not complete" in sentences(complete=False)[0]
    assert sentences(complete=True) == []


def test_a_failing_check_is_named_with_its_message():
    def check(status: str, **fields: object) -> dict[str, object]:
        return {"address": {"to_display": "check.up"}, "status": status, **fields}

    problems = {"instances": [{"problems": [{"message": "It is down."}]}]}
    assert sentences(checks=[check("fail", **problems), check("pass")]) == ["The check of check.up fails: It is down."]
    assert sentences(checks=[check("error")]) == ["The check of check.up could not be evaluated."]


@pytest.mark.parametrize(
    ("before", "after", "value", "flips"),
    [
        ({"a": True}, {}, {"a": "x"}, True),
        (True, False, "x", True),
        (True, {"a": True}, {"a": "x", "b": "y"}, True),
        ({"a": [True]}, {"a": [False]}, {"a": ["x"]}, True),
        ({"a": True}, {"a": True}, {"a": "x"}, False),
        ({"a": True}, {}, {"a": None}, False),
        ({"a": {"b": True}}, {}, {"a": "no longer an object"}, True),
        ({"a": True}, {}, None, False),
        ({}, {"a": True}, {"a": "x"}, False),
    ],
)
def test_values_that_lose_their_mark_are_a_danger(before, after, value, flips):
    change = {"before_sensitive": before, "after_sensitive": after, "after": value}
    assert kinds(entry("update", change=change)) == ([DangerKind.UNMASKED] if flips else [])


def test_an_output_that_loses_its_mark_is_a_danger():
    change = {"actions": ["update"], "after": "x", "before_sensitive": True, "after_sensitive": False}
    assert sentences(output_changes={"o": change}) == ["output.o was sensitive and will be readable."]


def test_the_most_dangerous_comes_first():
    found = kinds(
        entry("forget"),
        entry("explode"),
        entry("delete", "create"),
        entry("delete", deposed="x"),
        entry("delete"),
        errored=True,
        resource_drift=[entry("delete"), entry("update")],
        checks=[{"status": "fail"}],
        output_changes={"o": {"actions": ["update"], "after": 1, "before_sensitive": True}},
    )
    assert found == list(DangerKind)
