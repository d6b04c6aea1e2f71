"""The plan as text: everything a reviewer needs, nothing that the values want to do to the terminal."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfops.redaction import redact
from tfops.report.neutral import neutral
from tfops.report.plan_text import render_text


def entry(*actions: str, before: object = None, after: object = None, **fields: object) -> dict[str, object]:
    change = {"actions": list(actions), "before": before, "after": after, **fields.pop("change", {})}
    return {"address": "t.n", "mode": "managed", "type": "t", **fields, "change": change}


def text(*entries: dict[str, object], **fields: object) -> str:
    return render_text(redact({"format_version": "1.2", "resource_changes": list(entries), **fields}))


def test_a_plan_that_does_nothing_says_so():
    assert text(entry("no-op")) == "Plan: nothing changes.\n"


def test_counts_come_first_then_dangers_then_changes():
    found = text(
        entry("delete", before={"a": 1}), entry("explode"), output_changes={"o": {"actions": ["create"], "after": 1}}
    )
    assert found.startswith(
        "Plan: 1 to delete, 1 with unknown actions, 1 output to change.\n\nDangers\n  ! t.n will be destroyed."
    )
    assert found.index("Dangers") < found.index("- t.n") < found.index("Outputs\n  + o: 1")


@pytest.mark.parametrize(
    ("one", "line"),
    [
        (entry("create"), "+ t.n"),
        (entry("update"), "~ t.n"),
        (entry("delete"), "- t.n"),
        (entry("delete", "create"), "-/+ t.n"),
        (entry("create", "delete"), "+/- t.n"),
        (entry("read", mode="data"), "<= t.n"),
        (entry("forget"), "forget t.n"),
        (entry("explode"), "? t.n"),
        (entry("no-op", previous_address="t.old"), "move t.old → t.n"),
        (entry("update", previous_address="t.old"), "~ t.n (moved from t.old)"),
        (entry("no-op", change={"importing": {"id": "i-1"}}), "import t.n from i-1"),
        (
            entry("no-op", previous_address="t.old", change={"importing": {}}),
            "import t.n from (known after apply) (moved from t.old)",
        ),
        (entry("update", change={"importing": {"id": "i-1"}}), "~ t.n (imported from i-1)"),
        (entry("delete", deposed="4e3a"), "- t.n (deposed object 4e3a)"),
    ],
)
def test_every_action_has_its_sign(one, line):
    assert line in text(one).splitlines()


def test_changed_attributes_are_shown_by_their_path_and_unchanged_ones_are_not():
    found = text(
        entry(
            "update",
            before={"same": 1, "name": "a", "tags": {"x": "1", "y z": "2"}, "list": [1, 2], "gone": True},
            after={"same": 1, "name": "b", "tags": {"x": "2", "y z": "3"}, "list": [1, 3, 4], "new": {"k": [1]}},
        )
    )
    assert [line.strip() for line in found.splitlines()[3:]] == [
        "gone: true → null",
        "list[1]: 2 → 3",
        "list[2]: 4",
        'name: "a" → "b"',
        'new: {"k": [1]}',
        'tags.x: "1" → "2"',
        'tags["y z"]: "2" → "3"',
    ]


def test_unknown_values_and_what_forces_a_replacement_are_said():
    one = entry(
        *("delete", "create"),
        before={"id": "i-1", "region": "a", "net": {"x": 1}},
        after={"region": "b", "net": {"x": 2}},
        change={"after_unknown": {"id": True, "arn": True}, "replace_paths": [["region"], ["net"]]},
    )
    found = text(one)
    assert 'id: "i-1" → (known after apply)' in found
    assert "arn: (known after apply)" in found
    assert 'region: "a" → "b"  # forces replacement' in found
    assert "net.x: 1 → 2  # forces replacement" in found


def test_hidden_values_stand_without_quotes_and_pretenders_with_them():
    mask = {"before_sensitive": {"a": True}, "after_sensitive": {"a": True}}
    found = text(entry("update", before={"a": "one1"}, after={"a": "two2", "b": "(sensitive)"}, change=mask))
    assert "a: (sensitive) → (sensitive, changed)" in found
    assert 'b: "(sensitive)"' in found


def test_a_change_of_the_mark_alone_is_said():
    one = entry("update", before={"a": "xxxx"}, after={"a": "xxxx"}, change={"after_sensitive": {"a": True}})
    assert "a: (sensitive) becomes sensitive" in text(one)
    other = entry("update", before={"a": "xxxx"}, after={"a": "xxxx"}, change={"before_sensitive": {"a": True}})
    assert "a: (sensitive) is no longer sensitive" in text(other)


def test_nested_unknown_values_are_shown_in_place():
    one = entry("create", after={"net": [{"ip": None}]}, change={"after_unknown": {"net": [{"ip": True}]}})
    assert 'net: [{"ip": (known after apply)}]' in text(one)


def test_long_values_are_cut_with_their_length():
    assert "… (1002 characters)" in text(entry("create", after={"a": "x" * 1000}))


def test_long_values_that_differ_late_show_where():
    found = text(entry("update", before={"a": "x" * 500 + "old"}, after={"a": "x" * 500 + "new"}))
    assert 'old" → …' in found
    assert 'new"' in found


def test_multi_line_values_are_shown_as_a_diff():
    found = text(entry("update", before={"a": "1\n2\n3\n"}, after={"a": "1\nzwei\n3\n"}))
    assert "        -2\n        +zwei\n" in found


def test_a_huge_diff_is_cut_and_a_gigantic_one_counted():
    def lines(word: str, count: int) -> str:
        return "\n".join(f"{word} {at}" for at in range(count))

    assert "more lines)" in text(entry("update", before={"a": lines("x", 200)}, after={"a": lines("y", 200)}))
    assert "(5000 lines → 5000 lines)" in text(
        entry("update", before={"a": lines("x", 5000)}, after={"a": lines("y", 5000)})
    )
    assert "only line ends" in text(entry("update", before={"a": "x\n"}, after={"a": "x\r\n"}))


def test_what_changed_outside_terraform_is_shown():
    drift = [
        entry("update", before={"a": 1}, after={"a": 2}),
        entry("delete", before={"a": 1}),
        entry("no-op", previous_address="t.old"),
        entry("update", before={"a": 1}, after={"a": 1}),
    ]
    found = text(resource_drift=drift)
    assert found.endswith("Changed outside Terraform\n  ~ t.n\n      a: 1 → 2\n  - t.n no longer exists\n")


def test_outputs_are_shown_with_their_signs():
    outputs = {
        "a": {"actions": ["update"], "before": 1, "after": {"x": 1}},
        "b": {"actions": ["delete"], "before": "x", "after": None},
        "c": {"actions": ["create"], "before": None, "after": None, "after_unknown": True},
        "d": {"actions": ["update"], "before": 1, "after": 1},
        "e": {"actions": ["no-op"], "before": 1, "after": 1},
    }
    found = text(output_changes=outputs)
    assert [line.strip() for line in found.splitlines()[3:]] == [
        '~ a: 1 → {"x": 1}',
        '- b: "x" → null',
        "+ c: (known after apply)",
        "~ d: changes",
    ]


@pytest.mark.parametrize(
    ("character", "escape"),
    [("\x1b", "\\x1b"), ("\x9b", "\\x9b"), ("\r", "\\x0d"), ("\u202e", "\\u202e"), ("\ue0001"[0], "\\ue000")],
)
def test_control_characters_are_shown_and_not_obeyed(character, escape):
    assert neutral(f"a{character}b") == f"a{escape}b"


def test_characters_beyond_the_basic_plane_are_escaped_too():
    assert neutral("\U000e0041") == "\\U000e0041"


@given(st.text(), st.text(), st.text())
def test_no_value_name_or_address_prints_anything_but_visible_characters(address, name, value):
    one = entry(
        "update",
        before={name: value, "k": {name: 1}},
        after={name: f"{value}x", "k": {name: 2}},
        address=address,
        previous_address=value,
        action_reason=value,
        change={"importing": {"id": value}},
    )
    drift = [{**one, "change": {"actions": ["delete"]}}]
    found = text(one, entry("delete", address=value), resource_drift=drift, output_changes={name: one["change"]})
    assert all(character.isprintable() or character == "\n" for character in found)
