"""What people get of Terraform's machine-readable output: known fields, without secrets."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfops.concealment import PLACEHOLDER, Secrets
from tfops.event_redaction import redact_diagnostic, redact_event

SECRET = "hunter2-päss"


@pytest.mark.parametrize("kind", ["apply_start", "apply_complete", "refresh_start", "provision_progress"])
def test_hook_events_keep_the_ids_that_recovery_needs(kind):
    hook = {
        "resource": {"addr": "t.n", "resource_type": "t", "new": SECRET},
        **{"action": "create", "id_key": "id", "id_value": "i-1", "output": f"echo {SECRET}", "new": SECRET},
    }
    event = {"@level": "info", "@message": f"t.n: {SECRET}", "type": kind, "hook": hook, "new": SECRET}
    found = redact_event(event, Secrets.of([SECRET]))
    assert SECRET not in json.dumps(found, ensure_ascii=False)
    assert (found["hook"]["id_key"], found["hook"]["id_value"]) == ("id", "i-1")
    assert set(found) == {"@level", "@message", "type", "hook"}


def test_outputs_events_keep_names_but_never_values():
    outputs = {"o": {"sensitive": False, "type": "string", "value": "clear", "action": "create"}}
    found = redact_event({"type": "outputs", "outputs": outputs}, Secrets())
    assert found["outputs"] == {"o": {"sensitive": False, "action": "create"}}


def test_unknown_events_keep_only_what_they_are():
    event = {"@level": "info", "@timestamp": "t", "@message": "clear", "type": "brand_new", "x": "clear"}
    assert redact_event(event, Secrets()) == {"@level": "info", "@timestamp": "t", "type": "brand_new"}
    assert redact_event({"type": ["x"]}, Secrets()) == {"type": ["x"]}


def test_planned_changes_and_summaries_are_kept():
    planned = {"change": {"resource": {"addr": "t.n"}, "action": "update", "generated_config": "x"}}
    assert redact_event({"type": "planned_change", **planned}, Secrets())["change"] == {
        "resource": {"addr": "t.n"},
        "action": "update",
    }
    counts = {"changes": {"add": 1, "change": 0, "remove": 0, "operation": "apply", "x": 1}}
    assert redact_event({"type": "change_summary", **counts}, Secrets())["changes"]["add"] == 1


def test_a_diagnostic_loses_its_snippet_and_its_secrets():
    event = {
        "@level": "error",
        "type": "diagnostic",
        "diagnostic": {
            **{"severity": "error", "summary": "bad", "detail": f"value {SECRET}", "address": "t.n"},
            "range": {"filename": "main.tf", "start": {"line": 3, "column": 1, "byte": 9}, "end": {"line": 3}},
            "snippet": {"code": f"x = {SECRET}", "values": [{"statement": "is x"}]},
        },
    }
    secrets = Secrets.of([SECRET])
    assert "snippet" not in redact_event(event, secrets)["diagnostic"]
    found = redact_diagnostic(event, secrets)
    assert (found.severity, found.summary, found.detail) == ("error", "bad", f"value {PLACEHOLDER}")
    assert (found.address, found.file, found.line) == ("t.n", "main.tf", 3)


def test_a_diagnostic_without_anything_is_still_one():
    found = redact_diagnostic({"@level": "warn", "@message": "hm"}, Secrets())
    assert (found.severity, found.summary, found.address, found.file, found.line) == ("warn", "hm", None, None, None)


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(max_size=8), values, max_size=4))
def test_events_of_any_shape_are_redacted_without_an_error(event):
    redact_event(event, Secrets())
    redact_diagnostic(event, Secrets())
