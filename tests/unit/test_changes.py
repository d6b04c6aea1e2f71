"""What a plan JSON says, typed and counted by docs/counting.md."""

import json

import pytest

from tfops.changes import (
    Action,
    Change,
    Plan,
    ResourceChange,
    action_of,
    any_true,
    has_work,
    parse_plan,
    plan_of,
    submask,
    summarize,
)
from tfops.errors import FailedError, UsageError


def entry(*actions: str, address: str = "fake_thing.a", **fields: object) -> dict[str, object]:
    change = {"actions": list(actions), "before": {}, "after": {}, **fields.pop("change", {})}
    return {"address": address, "mode": "managed", "type": "fake_thing", **fields, "change": change}


def plan(*entries: dict[str, object], **fields: object) -> Plan:
    return plan_of({"format_version": "1.2", "resource_changes": list(entries), **fields})


def counts(*entries: dict[str, object], **fields: object) -> dict[str, int]:
    return {key: count for key, count in summarize(plan(*entries, **fields)).as_json().items() if count}


@pytest.mark.parametrize(
    ("actions", "action"),
    [
        (["no-op"], Action.NO_OP),
        (["create"], Action.CREATE),
        (["read"], Action.READ),
        (["update"], Action.UPDATE),
        (["delete"], Action.DELETE),
        (["forget"], Action.FORGET),
        (["delete", "create"], Action.REPLACE),
        (["create", "delete"], Action.REPLACE),
        (["create", "forget"], Action.REPLACE),
        (["Create"], Action.UNKNOWN),
        (["unknown"], Action.UNKNOWN),
        (["create", "read", "update", "delete", "no-op"], Action.UNKNOWN),
        ([], Action.UNKNOWN),
    ],
)
def test_actions_are_told_apart(actions, action):
    assert action_of(Change(actions=tuple(actions))) is action


def test_a_replace_is_one_replace_and_neither_a_create_nor_a_delete():
    assert counts(entry("delete", "create"), entry("create", "delete")) == {"replace": 2}


def test_a_deposed_object_is_one_delete_beside_the_entry_of_its_address():
    assert counts(entry("no-op"), entry("delete", deposed="4e3ab2f1")) == {"delete": 1}


def test_an_import_with_an_update_counts_under_both():
    assert counts(entry("update", change={"importing": {"id": "x"}})) == {"import": 1, "update": 1}


def test_an_import_alone_is_an_import():
    assert counts(entry("no-op", change={"importing": {"id": "x"}})) == {"import": 1}


def test_a_no_op_that_comes_from_another_address_is_a_move():
    assert counts(entry("no-op", previous_address="fake_thing.old")) == {"move": 1}


def test_a_previous_address_that_is_the_same_is_no_move():
    assert counts(entry("no-op", previous_address="fake_thing.a")) == {}


def test_forgotten_objects_and_reads_count_as_such():
    assert counts(entry("forget"), entry("read", mode="data")) == {"forget": 1, "read": 1}


def test_outputs_that_stay_are_not_counted():
    changes = {"a": {"actions": ["create"]}, "b": {"actions": ["no-op"]}, "c": {"actions": ["delete"]}}
    assert counts(output_changes=changes) == {"output": 2}


def test_unknown_actions_are_in_no_count_but_their_own():
    assert counts(entry("explode")) == {}
    assert summarize(plan(entry("explode"))).unknown == 1


def test_drift_entries_that_record_nothing_do_not_count():
    entries = [
        entry("update", change={"before": {"a": 1}, "after": {"a": 2}}),
        entry("update", change={"before": {"a": 1}, "after": {"a": 1}}),
        entry("no-op", previous_address="fake_thing.old", change={"before": {"a": 1}}),
    ]
    assert summarize(plan(resource_drift=entries)).drifted == 1


@pytest.mark.parametrize(
    "change",
    [
        entry("create"),
        entry("explode"),
        entry("forget"),
        entry("no-op", previous_address="fake_thing.old"),
        entry("no-op", change={"importing": {"id": "x"}}),
        entry("delete", deposed="4e3ab2f1"),
    ],
)
def test_a_plan_with_anything_to_apply_has_work(change):
    assert has_work(plan(change))


def test_a_changed_output_is_work():
    assert has_work(plan(output_changes={"a": {"actions": ["update"]}}))


def test_reading_data_alone_is_no_work_even_where_terraform_calls_it_applyable():
    assert not has_work(plan(entry("read", mode="data"), entry("no-op"), applyable=True))


def test_null_is_the_same_as_absent():
    found = plan_of({"format_version": "0.1", "resource_changes": None, "checks": None, "output_changes": None})
    assert found == Plan(format_version="0.1")


def test_an_old_plan_lacks_what_came_later():
    found = plan_of({"format_version": "0.1", "resource_changes": [entry("create")]})
    assert (found.applyable, found.complete, found.errored) == (None, None, False)


def test_deposed_as_a_boolean_is_read():
    found = plan(entry("delete", deposed=True), entry("delete", deposed=False)).resource_changes
    assert [change.deposed for change in found] == ["unnamed", None]


@pytest.mark.parametrize(
    ("parts", "address"),
    [
        ({"type": "t", "name": "n"}, "t.n"),
        ({"type": "t", "name": "n", "mode": "data", "module_address": "module.m"}, "module.m.data.t.n"),
        ({"type": "t", "name": "n", "index": 0}, "t.n[0]"),
        ({"type": "t", "name": "n", "index": 'a"b'}, 't.n["a\\"b"]'),
    ],
)
def test_an_entry_without_an_address_gets_one_from_its_parts(parts, address):
    raw = {**parts, "change": {"actions": ["update"]}}
    assert plan_of({"resource_drift": [raw]}).resource_drift[0].address == address


def test_checks_are_read_with_their_problems():
    raw = {
        "address": {"to_display": "check.up"},
        "status": "fail",
        "instances": [{"status": "fail", "problems": [{"message": "down"}, {"message": "still down"}]}, {}],
    }
    (check,) = plan(checks=[raw]).checks
    assert (check.address, check.status, check.problems) == ("check.up", "fail", ("down", "still down"))


def test_of_variables_only_the_names_are_kept():
    assert plan(variables={"b": {"value": "x"}, "a": {}}).variables == ("a", "b")


def test_unknown_fields_are_ignored():
    assert plan({**entry("create"), "new": 1}, new={"x": 1}).resource_changes[0].action is Action.CREATE


@pytest.mark.parametrize(
    "document",
    [
        {"resource_changes": {}},
        {"resource_changes": [1]},
        {"resource_changes": [{"address": "a", "change": []}]},
        {"resource_changes": [{"address": "a", "change": {"actions": "create"}}]},
        {"output_changes": []},
        {"output_changes": {"a": 1}},
        {"checks": {}},
        {"errored": "yes"},
    ],
)
def test_a_wrong_type_is_refused_and_said_where(document):
    with pytest.raises(UsageError, match="unexpected shape"):
        plan_of(document)


def test_bytes_of_terraform_that_cannot_be_read_are_a_failure_of_the_run():
    with pytest.raises(FailedError) as caught:
        parse_plan(b"Error: no")
    assert caught.value.problems[0].code == "plan.unreadable"


def test_bytes_of_terraform_are_parsed():
    data = json.dumps({"format_version": "1.2", "resource_changes": [entry("create")]}).encode()
    (found,) = parse_plan(data)[1].resource_changes
    assert found == ResourceChange(
        address="fake_thing.a",
        type="fake_thing",
        change=Change(actions=("create",), before={}, after={}),
    )


def test_masks_are_followed_and_mark_all_where_their_shape_differs():
    assert any_true({"a": [False, {"b": True}]})
    assert not any_true({"a": [False, {}], "b": None})
    assert submask({"a": True}, "a") is True
    assert submask([False], 3) is False
    assert submask({"a": True}, 0) is True
    assert submask(False, "a") is False
