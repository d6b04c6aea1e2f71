"""Nothing that a plan marks sensitive is seen in what people get."""

import base64
import html
import json
import time
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfops.changes import plan_of
from tfops.concealment import CHANGED, PLACEHOLDER
from tfops.redaction import redact, secrets_of

SECRET = "hunter2-päss"


def change(**fields: object) -> dict[str, object]:
    return {"actions": ["update"], "before": {}, "after": {}, "after_unknown": {}, **fields}


def document(*changes: dict[str, object], **fields: object) -> dict[str, object]:
    entries = [
        {"address": f"t.n[{at}]", "mode": "managed", "type": "t", "name": "n", "change": one}
        for at, one in enumerate(changes)
    ]
    return {"format_version": "1.2", "resource_changes": entries, **fields}


def masked(value: object) -> dict[str, object]:
    return change(after={"password": value}, after_sensitive={"password": True})


def shown(found: dict[str, object], at: int = 0) -> dict[str, object]:
    return redact(found)["resource_changes"][at]["change"]


def leaked(value: object, **elsewhere: object) -> str:
    """The redacted dump of a plan that marks `value` and repeats something unmarked elsewhere."""
    found = document(masked(value), change(after=elsewhere))
    return json.dumps(redact(found)["resource_changes"][1], ensure_ascii=False)


def test_only_known_fields_are_kept():
    found = redact(
        {
            **document(change(), output_changes={}, checks=[], relevant_attributes=[]),
            **{"variables": {"a": {"value": 1}}, "planned_values": {}, "prior_state": {}, "configuration": {}},
            **{"timestamp": "2026-01-01T00:00:00Z", "applyable": True, "new": "x"},
        }
    )
    assert set(found) == {
        *("format_version", "timestamp", "applyable", "resource_changes"),
        *("output_changes", "checks", "relevant_attributes"),
    }


def test_a_value_marked_on_one_side_is_hidden_on_both():
    one = change(before={"a": "abc"}, after={"a": "abc"}, before_sensitive={"a": True}, after_sensitive={})
    found = shown(document(one))
    assert (found["before"], found["after"]) == ({"a": PLACEHOLDER}, {"a": PLACEHOLDER})
    assert (found["before_sensitive"], found["after_sensitive"]) == ({"a": True}, {})


def test_a_hidden_value_that_changes_says_so():
    mask = {"before_sensitive": {"a": True}, "after_sensitive": {"a": True}}
    one = change(before={"a": "old-secret"}, after={"a": "new-secret"}, **mask)
    assert shown(document(one))["after"] == {"a": CHANGED}


def test_a_scrubbed_value_that_changes_says_so():
    mask = {"before_sensitive": {"a": True}, "after_sensitive": {"a": True}}
    one = change(
        before={"a": "old-secret", "copy": "old-secret", "url": "x:old-secret"},
        after={"a": "new-secret", "copy": "new-secret", "url": "x:new-secret"},
        **mask,
    )
    after = shown(document(one))["after"]
    assert after["copy"] == CHANGED
    assert after["url"] == f"x:{PLACEHOLDER} (changed)"


def test_null_stays_visible_under_a_mask():
    one = change(before={"a": None}, after={"a": "secret"}, after_sensitive={"a": True})
    found = shown(document(one))
    assert (found["before"], found["after"]) == ({"a": None}, {"a": PLACEHOLDER})


def test_keys_of_a_hidden_map_are_hidden_in_the_unknown_mask_too():
    one = change(after={"m": {}}, after_unknown={"m": {"KEY": True}}, after_sensitive={"m": True})
    assert "KEY" not in json.dumps(shown(document(one)))


def test_a_mask_of_another_shape_hides_everything():
    one = change(after={"a": "short", "b": ["x"]}, after_sensitive={"a": {"x": True}, "b": {"0": True}})
    assert shown(document(one))["after"] == {"a": PLACEHOLDER, "b": [PLACEHOLDER]}


def test_a_secret_repeated_without_a_mark_is_scrubbed():
    assert SECRET not in leaked(SECRET, output={"user": "x", "password": SECRET}, url=f"https://u:{SECRET}@host/")


@pytest.mark.parametrize(
    "form",
    [
        json.dumps({"p": SECRET}),
        json.dumps({"p": SECRET}, ensure_ascii=False),
        json.dumps(json.dumps({"p": SECRET})),
        base64.b64encode(SECRET.encode()).decode(),
        base64.b64encode(f"{SECRET}\n".encode()).decode(),
        quote(SECRET, safe=""),
        quote(SECRET, safe="").lower(),
        f"prefix-{SECRET}-suffix",
    ],
)
def test_every_form_of_a_secret_is_found(form):
    assert PLACEHOLDER in leaked(SECRET, x=form)
    assert form not in leaked(SECRET, x=form)


@pytest.mark.parametrize("before", ["", "u", "us"])
def test_a_secret_inside_longer_base64_is_found(before):
    encoded = base64.b64encode(f"{before}{SECRET}:tail".encode()).decode()
    middle = encoded[4:16]
    assert middle not in leaked(SECRET, x=encoded)


def test_secrets_with_markup_are_found_escaped():
    secret = "a<b>&\"'${c}"
    escaped = html.escape(secret)
    assert escaped not in leaked(secret, x=f"<p>{escaped}</p>")
    go = "a\\u003cb\\u003e\\u0026"
    assert go not in leaked(secret, x='{"p":"' + go + '\\"\'${c}"}')
    assert "$${c}" not in leaked(secret, x="a<b>&\\\"'$${c}")


def test_each_line_of_a_multi_line_secret_is_found():
    pem = "-----BEGIN KEY-----\nAAAABBBB\n-----END KEY-----\n"
    assert "AAAABBBB" not in leaked(pem, x="line AAAABBBB here", y="  AAAABBBB")


def test_numbers_equal_to_a_secret_number_are_hidden():
    assert "123456" not in leaked(123456, x=123456, y="pin 123456", z=123456.0)
    assert "1234567" in leaked(123456, x=1234567)


def test_short_values_are_hidden_by_position_only():
    found = redact(document(masked("abc"), change(after={"x": "abc"})))["resource_changes"]
    assert found[0]["change"]["after"] == {"password": PLACEHOLDER}
    assert found[1]["change"]["after"] == {"x": "abc"}


def test_map_keys_are_scrubbed_and_never_lost():
    after = {"tags": {f"{SECRET}": 1, f"{PLACEHOLDER}": 2}, "password": SECRET}
    found = shown(document(change(after=after, after_sensitive={"password": True})))
    assert sorted(found["after"]["tags"]) == [PLACEHOLDER, f"{PLACEHOLDER} #2"]


def test_attribute_names_are_schema_and_stay():
    after = {"password": "password"}
    assert shown(document(change(after=after, after_sensitive={"password": True})))["after"] == {
        "password": PLACEHOLDER
    }


def test_instance_keys_are_scrubbed_but_names_are_code():
    one = masked("main")
    found = {"address": 'aws_x.main["main"]', "mode": "managed", "index": "main", "change": one}
    entry = redact({"resource_changes": [found]})["resource_changes"][0]
    assert (entry["address"], entry["index"]) == (f'aws_x.main["{PLACEHOLDER}"]', PLACEHOLDER)


def test_an_address_that_is_none_is_scrubbed_whole():
    entry = {"address": f"what is {SECRET}?", "change": masked(SECRET)}
    assert redact({"resource_changes": [entry]})["resource_changes"][0]["address"] == f"what is {PLACEHOLDER}?"


def test_actions_and_reasons_stay_even_where_a_secret_is_spelled_the_same():
    found = redact(document(masked("update")))["resource_changes"][0]
    assert found["change"]["actions"] == ["update"]
    assert found["mode"] == "managed"


def test_check_messages_are_scrubbed():
    instance = {"address": {"to_display": "check.a"}, "status": "fail", "problems": [{"message": f"got {SECRET}"}]}
    checks = [{"address": {"to_display": "check.a", "kind": "check"}, "status": "fail", "instances": [instance]}]
    found = redact(document(masked(SECRET), checks=checks))
    assert plan_of(found).checks[0].problems == (f"got {PLACEHOLDER}",)


def test_replace_paths_keep_attribute_names_only():
    one = {**masked("region"), "replace_paths": [["region"], ["tags", "region"]]}
    assert shown(document(one))["replace_paths"] == [["region"], ["tags", PLACEHOLDER]]


def test_an_import_id_is_scrubbed_and_a_null_import_is_none():
    imported = {**masked(SECRET), "importing": {"id": f"x/{SECRET}", "new": SECRET}}
    assert shown(document(imported))["importing"] == {"id": f"x/{PLACEHOLDER}"}
    assert "importing" not in shown(document(change(importing=None)))
    by_identity = {**masked(SECRET), "importing": {"identity": {"arn": [SECRET, 1]}}}
    assert shown(document(by_identity))["importing"] == {"identity": {"arn": [PLACEHOLDER, 1]}}


@pytest.mark.parametrize(
    "fields",
    [
        {
            "variables": {"pw": {"value": SECRET}},
            "configuration": {"root_module": {"variables": {"pw": {"sensitive": True}}}},
        },
        {"configuration": {"root_module": {"variables": {"pw": {"sensitive": True, "default": SECRET}}}}},
        {
            "configuration": {
                "root_module": {
                    "module_calls": {
                        "m": {
                            "expressions": {"pw": {"constant_value": SECRET}},
                            "module": {"variables": {"pw": {"sensitive": True}}},
                        }
                    }
                }
            }
        },
        {
            "planned_values": {
                "root_module": {
                    "child_modules": [{"resources": [{"values": {"a": SECRET}, "sensitive_values": {"a": True}}]}]
                }
            }
        },
        {"prior_state": {"values": {"outputs": {"o": {"sensitive": True, "value": [SECRET]}}}}},
        {"resource_drift": [{"change": {"before": [SECRET], "before_sensitive": [True]}}]},
        {
            "deferred_changes": [
                {"resource_change": {"change": {"after": {"a": SECRET}, "after_sensitive": {"a": True}}}}
            ]
        },
        {"output_changes": {"o": {"after": SECRET, "after_sensitive": True}}},
    ],
)
def test_secrets_are_collected_wherever_they_are_marked(fields):
    found = document(change(after={"copy": SECRET}), **fields)
    assert SECRET not in json.dumps(redact(found), ensure_ascii=False)


def test_an_old_output_is_hidden_where_only_the_state_calls_it_sensitive():
    outputs = {"o": {"actions": ["create"], "before": None, "after": "abc"}}
    state = {"outputs": {"o": {"sensitive": True, "value": "abc"}}}
    found = redact({"format_version": "0.1", "output_changes": outputs, "planned_values": state})
    assert found["output_changes"]["o"]["after"] == PLACEHOLDER
    assert found["output_changes"]["o"]["after_sensitive"] is True
    assert redact(found) == found


def test_five_thousand_resources_are_redacted_in_seconds():
    entries = [
        change(
            before={"password": f"old-{at}-secret", "x": "a" * 200},
            after={"password": f"new-{at}-secret", "x": "b" * 200, "copy": f"new-{at}-secret"},
            before_sensitive={"password": True},
            after_sensitive={"password": True},
        )
        for at in range(5000)
    ]
    started = time.perf_counter()
    redact(document(*entries))
    assert time.perf_counter() - started < 20


# What may stand in a redacted plan anyway; a secret spelled like this cannot be told from it.
# The same holds for JSON's own words, which are never taken for secrets (docs/redaction.md).
WORDS = "".join(
    (
        json.dumps(redact(document(masked("abc"), output_changes={"o": masked("abc")}))),
        json.dumps({"before": None, "after": [None, True, False]}),
        PLACEHOLDER,
        CHANGED,
    )
)
letters = st.characters(codec="utf-8", exclude_characters="#")
secret_texts = st.one_of(
    st.text(letters, min_size=4, max_size=30),
    st.lists(st.text(letters, min_size=4, max_size=12), min_size=2, max_size=3).map("\n".join),
    st.text(st.sampled_from("\"'\\<>&%${}\n é\u00fc\u4e2d"), min_size=4, max_size=12),
).filter(lambda text: not any(part in WORDS for part in (text, json.dumps(text)[1:-1])))
wrappers = st.sampled_from(
    [
        lambda text: text,
        lambda text: f"<{text}>",
        lambda text: json.dumps({"p": text}),
        lambda text: [text, {"k": text}],
        lambda text: {"nested": {text: 1}},
        lambda text: base64.b64encode(text.encode()).decode(),
        lambda text: quote(text, safe=""),
    ]
)


@given(secret_texts, wrappers, st.booleans())
def test_no_sensitive_leaf_is_left_anywhere(secret, wrap, on_both_sides):
    marked = change(
        before={"password": secret if on_both_sides else None, "copy": wrap(secret)},
        after={"password": secret, "copy": wrap(secret)},
        before_sensitive={"password": on_both_sides},
        after_sensitive={"password": True},
    )
    plain = change(after={"user_data": wrap(secret)})
    outputs = {"o": {"actions": ["create"], "before": None, "after": wrap(secret)}}
    found = redact(document(marked, plain, output_changes=outputs))
    for ascii_only in (True, False):
        dump = json.dumps(found, ensure_ascii=ascii_only)
        assert json.dumps(secret, ensure_ascii=ascii_only)[1:-1] not in dump
        assert base64.b64encode(secret.encode()).decode().rstrip("=") not in dump


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
masks = st.recursive(
    st.booleans() | st.none(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
changes = st.builds(
    lambda before, after, one, other, unknown: change(
        before=before, after=after, before_sensitive=one, after_sensitive=other, after_unknown=unknown
    ),
    values,
    values,
    masks,
    masks,
    masks,
)


@given(st.lists(changes, max_size=3))
def test_redacting_twice_changes_nothing(entries):
    once = redact(document(*entries))
    assert redact(once) == once


@given(st.lists(changes, max_size=2))
def test_what_is_redacted_is_still_a_plan(entries):
    assert len(plan_of(redact(document(*entries))).resource_changes) == len(entries)


@given(st.dictionaries(st.text(max_size=8), values, max_size=4))
def test_documents_of_any_shape_are_redacted_without_an_error(found):
    redact(found)
    secrets_of(found)
