"""Two plans of the same change have the same change set; any other change has another."""

import copy

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tfops.changes import Plan, plan_of
from tfops.changeset import ChangeSet, Difference, change_set, difference

KEY = b"k" * 32


def entry(*actions: str, address: str = "t.n", **fields: object) -> dict[str, object]:
    change = {"actions": list(actions), "before": None, "after": None, "after_unknown": {}}
    return {
        "address": address,
        "mode": "managed",
        "type": "t",
        **fields,
        "change": {**change, **fields.pop("change", {})},
    }


def plan(*entries: dict[str, object], **fields: object) -> Plan:
    return plan_of({"format_version": "1.2", "resource_changes": list(entries), **fields})


def digest(*entries: dict[str, object], key: bytes = KEY, run_paths: tuple[str, ...] = (), **fields: object) -> str:
    return change_set(plan(*entries, **fields), digest_key=key, run_paths=run_paths).digest


def update(before: object, after: object, **change: object) -> dict[str, object]:
    return entry("update", change={"before": before, "after": after, **change})


def create(after: object, **change: object) -> dict[str, object]:
    return entry("create", change={"after": after, **change})


def test_a_plan_that_does_nothing_has_an_empty_change_set():
    read = entry("read", address="data.t.n", mode="data")
    assert change_set(plan(entry("no-op"), read, output_changes={"o": {"actions": ["no-op"]}}), digest_key=KEY).is_empty


@pytest.mark.parametrize(
    "one",
    [
        entry("no-op", previous_address="t.old"),
        entry("no-op", change={"importing": {"id": "x"}}),
        entry("forget"),
        entry("delete", deposed="4e3ab2f1"),
        entry("explode"),
    ],
)
def test_moves_imports_forgets_and_unknown_actions_are_entries(one):
    assert not change_set(plan(one), digest_key=KEY).is_empty


def test_entries_are_named_by_address_deposed_key_and_output():
    found = change_set(
        plan(create({}), entry("delete", deposed="4e3ab2f1"), output_changes={"o": {"actions": ["create"]}}),
        digest_key=KEY,
    )
    assert [one.address for one in found.entries] == ["output.o", "t.n", "t.n (deposed 4e3ab2f1)"]


def test_refresh_noise_in_unchanged_attributes_does_not_count():
    assert digest(update({"a": 1, "etag": "x"}, {"a": 2, "etag": "x"})) == digest(
        update({"a": 1, "etag": "y"}, {"a": 2, "etag": "y"})
    )


def test_an_attribute_that_becomes_unknown_counts():
    known = update({"a": 1, "b": 1}, {"a": 2, "b": 1})
    unknown = update({"a": 1, "b": 1}, {"a": 2}, after_unknown={"b": True})
    only_in_mask = update({"a": 1}, {"a": 2}, after_unknown={"c": True})
    assert len({digest(known), digest(unknown), digest(only_in_mask)}) == 3


def test_a_change_of_type_counts_though_python_calls_it_equal():
    assert digest(update({"a": 1}, {"a": True})) != digest(update({"a": 1}, {"a": 1}))


def test_a_change_of_marks_alone_counts_by_attribute():
    values = ({"a": 1, "b": 1}, {"a": 1, "b": 1})
    one = digest(update(*values, after_sensitive={"a": True}))
    other = digest(update(*values, after_sensitive={"b": True}))
    assert one != other


def test_attributes_named_like_fields_of_the_entry_hide_nothing():
    one = update({"address": "x", "actions": 1}, {"address": "y", "actions": 2})
    other = update({"address": "x", "actions": 1}, {"address": "z", "actions": 2})
    assert digest(one) != digest(other)


def test_a_replace_counts_the_new_object_only():
    one = entry("delete", "create", change={"before": {"id": "1"}, "after": {"a": 1}})
    other = entry("delete", "create", change={"before": {"id": "2"}, "after": {"a": 1}})
    assert digest(one) == digest(other)
    assert digest(one) != digest(entry("create", "delete", change={"after": {"a": 1}}))


def test_a_delete_counts_the_whole_old_object():
    assert digest(entry("delete", change={"before": {"a": 1}})) != digest(entry("delete", change={"before": {"a": 2}}))


def test_writers_that_say_nothing_is_marked_differently_agree():
    assert digest(create({"a": {}}, after_sensitive={"a": {}})) == digest(create({"a": {}}, after_sensitive=False))


def test_values_of_an_update_that_are_no_objects_count_as_a_whole():
    assert digest(update("x", "y")) != digest(update("x", "z"))


def test_unstable_contents_of_an_import_do_not_count_but_its_id_does():
    def imported(**importing: object) -> str:
        return digest(entry("no-op", change={"before": {"x": 1}, "after": {"x": 1}, "importing": importing}))

    assert imported(id="a") == imported(id="a", new_field=1)
    assert imported(id="a") != imported(id="b")


def test_the_directory_of_the_run_does_not_count():
    one = digest(create({"path": "/tmp/run1/x", "p": "/tmp/run1"}), run_paths=("/tmp/run1",))
    other = digest(create({"path": "/work/run22/x", "p": "/work/run22"}), run_paths=("/work/run22/", ""))
    assert one == other


def test_a_directory_that_only_begins_like_the_runs_counts():
    one = digest(create({"path": "/tmp/run1/x"}), run_paths=("/tmp/run",))
    other = digest(create({"path": "/tmp/run2/x"}), run_paths=("/tmp/run",))
    assert one != other


def test_a_literal_run_marker_is_no_path_of_the_run():
    one = digest(create({"path": "/tmp/run/x"}), run_paths=("/tmp/run",))
    assert one != digest(create({"path": "<run>/x"}), run_paths=("/tmp/run",))


def test_changing_the_key_changes_masked_entries_only():
    found = plan(
        {**create({"a": "x", "pw": "secret"}, after_sensitive={"pw": True}), "address": "t.masked"},
        {**create({"a": "x"}), "address": "t.clear"},
    )
    ours = {one.address: one.digest for one in change_set(found, digest_key=KEY).entries}
    theirs = {one.address: one.digest for one in change_set(found, digest_key=b"other").entries}
    assert [address for address in ours if ours[address] != theirs[address]] == ["t.masked"]


def test_a_masked_value_that_changes_changes_the_digest():
    assert digest(create({"pw": "a"}, after_sensitive={"pw": True})) != digest(
        create({"pw": "b"}, after_sensitive={"pw": True})
    )


def test_a_sensitive_output_is_keyed():
    outputs = {"o": {"actions": ["create"], "after": "x", "after_sensitive": True}}
    assert digest(output_changes=outputs) != digest(output_changes=outputs, key=b"other")


def test_a_secret_repeated_without_a_mark_is_keyed_where_the_caller_knows_it():
    found = plan(create({"copy": ["secret"]}))

    def keyed(key: bytes) -> str:
        return change_set(found, digest_key=key, is_secret=lambda text: text == "secret").digest

    assert keyed(KEY) != keyed(b"other")


def test_approved_entries_leave_no_difference_though_they_come_from_two_plans():
    one, other = create({"a": 1}), {**create({"b": 1}), "address": "t.other"}
    sets = [change_set(plan(found), digest_key=KEY) for found in (one, other)]
    assert difference(change_set(plan(one, other), digest_key=KEY), *sets) == ()


def test_what_is_not_approved_is_named():
    approved = change_set(plan(create({"a": 1})), digest_key=KEY)
    fresh = change_set(plan(create({"a": 2}), {**create({}), "address": "t.new"}), digest_key=KEY)
    assert difference(fresh, approved) == (
        Difference(address="t.n", kind="changed"),
        Difference(address="t.new", kind="added"),
    )
    assert difference(ChangeSet(), approved) == ()


leaves = st.none() | st.booleans() | st.integers() | st.text(max_size=6)
values = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
objects = st.dictionaries(st.sampled_from("abcd"), values, max_size=4)
entries = st.lists(
    st.builds(
        lambda number, action, before, after, mask: entry(
            action,
            address=f"t.n{number}",
            change={
                "before": None if action == "create" else before,
                "after": None if action == "delete" else after,
                "after_sensitive": mask,
            },
        ),
        st.integers(0, 5),
        st.sampled_from(["create", "update", "delete"]),
        objects,
        objects,
        st.dictionaries(st.sampled_from("abcd"), st.booleans(), max_size=2),
    ),
    max_size=4,
)


@given(entries, st.randoms(use_true_random=False))
def test_the_order_of_resources_does_not_matter(found, random):
    shuffled = copy.deepcopy(found)
    random.shuffle(shuffled)
    assert digest(*found) == digest(*shuffled)


@given(objects, st.sampled_from("abcd"), values, values, st.booleans(), st.sampled_from(["create", "update"]))
def test_any_other_planned_value_is_another_change(rest, name, one, other, hidden, action):
    assume(repr(one) != repr(other))

    def planned(value: object) -> str:
        change = {"after": {**rest, name: value}, "after_sensitive": {name: hidden}}
        before = {"before": {**rest, name: "before"}} if action == "update" else {}
        return digest(entry(action, change={**change, **before}))

    assert planned(one) != planned(other)
