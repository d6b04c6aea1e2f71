"""What a plan says about drift: the shared corpus, the table of verdicts, and that the rule is total."""

import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfops.changes import plan_of
from tfops.documents import read_document
from tfops.drift import FAILURES, QUIET, STATE_FAULTS, UNDEPLOYED, Context, Drift, Tag, classify, ordered
from tfops.errors import TfopsError
from tfops.wiring import wiring

CORPUS = Path(__file__).parents[3] / "shared" / "corpus"
needs_corpus = pytest.mark.skipif(not CORPUS.is_dir(), reason="the shared corpus is not here")
ALARMS = set(Tag) - QUIET - UNDEPLOYED - FAILURES - {Tag.OUTPUT_ONLY, Tag.MARKS_ONLY, Tag.REPLACE}


@cache
def scenarios() -> dict[str, Any]:
    """The drift scenarios, by name."""
    file = CORPUS / "drift" / "manifest.json"
    return dict(json.loads(file.read_text())) if file.exists() else {}


def judged(document: dict[str, Any], **context: Any) -> Drift:
    """The drift of a document."""
    return classify(plan_of(document), wiring(document), Context(**context))


def found(document: dict[str, Any], **context: Any) -> dict[str, set[str]]:
    """Tags by address, the stack's own under ""."""
    drift = judged(document, **context)
    own = {"": set(drift.own)} if drift.own else {}
    return own | {item.address: set(item.tags) for item in drift.resources}


@needs_corpus
@pytest.mark.parametrize("name", scenarios())
def test_a_scenario_of_the_corpus_has_the_expected_tags_and_words(name: str) -> None:
    scenario = scenarios()[name]
    drift = judged(json.loads((CORPUS / "drift" / scenario["full"]["file"]).read_text()), **scenario["ctx"])
    expected = scenario["expected"]
    assert sorted(drift.own) == sorted(expected["stack"])
    assert {item.address: sorted(item.tags) for item in drift.resources} == {
        address: sorted(one["tags"]) for address, one in expected["resources"].items()
    }
    assert {item.address: {a.path: a.verdict for a in item.attributes} for item in drift.resources} == {
        address: one["attrs"] for address, one in expected["resources"].items()
    }


def plans() -> list[Path]:
    """The plans of real projects."""
    return sorted((CORPUS / "plans").glob("*.json"))


def readable(path: Path) -> dict[str, Any] | None:
    """The document, where it is a plan."""
    try:
        document = read_document(path.read_bytes(), path.name).content
        plan_of(document)
    except TfopsError:
        return None
    return document


def without_empties(value: Any) -> Any:
    """A value with null, "", [] and {} taken for nothing: an independent reading of "the same"."""
    match value:
        case dict():
            return {key: kept for key, child in value.items() if (kept := without_empties(child)) is not None} or None
        case list():
            return [without_empties(child) for child in value] or None
        case "":
            return None
        case _:
            return value


@needs_corpus
def test_no_plan_of_a_real_project_raises_an_alarm_over_notation() -> None:
    for path in plans():
        document = readable(path)
        if document is None:
            continue
        tags = {item.address: set(item.tags) for item in judged(document).resources}
        planned = {entry.get("address"): entry["change"] for entry in document.get("resource_changes") or ()}
        for entry in document.get("resource_drift") or ():
            change, address = entry["change"], entry["address"]
            is_noise = without_empties(change.get("before")) == without_empties(change.get("after"))
            if is_noise and planned.get(address, {}).get("actions") in (None, ["no-op"]):
                assert not tags.get(address, set()) & ALARMS, (path.name, address)


@needs_corpus
def test_every_drift_in_the_plans_of_real_projects_is_explained() -> None:
    explained = 0
    for path in plans():
        document = readable(path)
        entries = [e for e in (document or {}).get("resource_drift") or () if e["change"]["actions"] != ["no-op"]]
        if document is None or not document.get("resource_drift"):
            continue
        explained += 1
        tags = {item.address for item in judged(document).resources}
        assert {entry["address"] for entry in entries} <= tags, path.name
    assert explained == 11


def change(actions: list[str], before: Any = None, after: Any = None, **more: Any) -> dict[str, Any]:
    """A change object."""
    return {"actions": actions, "before": before, "after": after, **more}


def plan(*entries: dict[str, Any], drift: tuple[dict[str, Any], ...] = (), **more: Any) -> dict[str, Any]:
    """A plan document in which `a.x` sets `v` and `a.y` reads `a.x`."""
    configuration = {
        "root_module": {
            "resources": [
                {"address": "a.x", "expressions": {"v": {"constant_value": 1}}},
                {"address": "a.y", "expressions": {"v": {"references": ["a.x.v", "a.x"]}}},
            ]
        }
    }
    document = {"format_version": "1.2", "resource_changes": list(entries), "resource_drift": list(drift)}
    return {**document, "configuration": configuration, **more}


def entry(address: str, actions: list[str], before: Any = None, after: Any = None, **more: Any) -> dict[str, Any]:
    """An entry of a plan."""
    inside = {key: more.pop(key) for key in ("after_unknown", "after_sensitive", "importing") if key in more}
    return {
        "address": address,
        "mode": "managed",
        "type": "a",
        "change": change(actions, before, after, **inside),
        **more,
    }


KEPT = {
    "drift": (entry("a.x", ["update"], {"v": 1}, {"v": 2}),),
}
SAME = {"inputs_changed": False}


def kept_plan() -> dict[str, Any]:
    """Edited outside, and the code wants just that."""
    return plan(entry("a.x", ["no-op"], {"v": 2}, {"v": 2}), **KEPT)


def test_what_the_code_says_now_is_absorbed_if_the_code_changed() -> None:
    assert found(kept_plan(), inputs_changed=True) == {"a.x": {"absorbed_by_code"}}


def test_what_the_code_says_now_is_hidden_if_it_did_not_change() -> None:
    assert found(kept_plan(), **SAME) == {"a.x": {"hidden_by_ignore_changes"}}
    assert found(kept_plan(), **SAME, ignore_changes={"a.x": ("v",)}) == {"a.x": {"hidden_by_ignore_changes"}}
    assert found(kept_plan(), inputs_changed=True, ignore_changes={"a.x": ("all",)}) == {
        "a.x": {"hidden_by_ignore_changes"}
    }


def test_code_that_says_it_without_ignoring_anything_has_absorbed_it() -> None:
    assert found(kept_plan(), **SAME, ignore_changes={}) == {"a.x": {"absorbed_by_code"}}


def test_a_change_that_the_last_applied_code_would_make_as_well_is_not_the_codes() -> None:
    document = plan(entry("a.x", ["update"], {"v": 1}, {"v": 2}))
    assert found(document, inputs_changed=True) == {"a.x": {"pending"}}
    assert found(document, inputs_changed=True, settled=("a.x",)) == {"a.x": {"external_input"}}


def test_other_provider_versions_alone_are_their_own_cause() -> None:
    document = plan(entry("a.x", ["update"], {"v": 1}, {"v": 2}))
    assert found(document, **SAME, provider_changed=True) == {"a.x": {"provider_float"}}


def test_what_reads_a_drifted_object_follows_it_and_so_does_what_reads_that() -> None:
    document = plan(
        entry("a.x", ["update"], {"v": 2}, {"v": 1}),
        entry("a.y[0]", ["update"], {"v": 2}, {"v": 1}),
        drift=(entry("a.x", ["update"], {"v": 1}, {"v": 2}),),
    )
    assert found(document, **SAME) == {"a.x": {"modified"}, "a.y[0]": {"cascade"}}


def test_a_replacement_of_what_was_edited_is_both() -> None:
    document = plan(
        entry("a.x", ["delete", "create"], {"v": 2}, {"v": 1}),
        drift=(entry("a.x", ["update"], {"v": 1}, {"v": 2}),),
    )
    assert found(document, **SAME) == {"a.x": {"modified", "replace"}}


def test_marks_alone_and_notation_alone_are_told_apart() -> None:
    marks = plan(entry("a.x", ["update"], {"v": 1}, {"v": 1}, after_sensitive={"v": True}))
    notation = plan(entry("a.x", ["update"], {"v": 1, "t": None}, {"v": 1, "t": {}}))
    assert found(marks, **SAME) == {"a.x": {"marks_only"}}
    assert found(notation, **SAME) == {"a.x": {"normalization"}}


def test_a_refresh_only_plan_tells_what_moved_and_not_what_would_be_done() -> None:
    document = plan(drift=(entry("a.x", ["update"], {"v": 1}, {"v": 2}), entry("a.y", ["delete"], {"v": 1})))
    drift = judged(document, **SAME)
    assert {item.address: set(item.tags) for item in drift.resources} == {"a.x": {"modified"}, "a.y": {"deleted"}}
    assert [a.verdict for item in drift.resources for a in item.attributes] == ["unknown"]


@pytest.mark.parametrize(
    ("context", "tag"),
    [
        ({"serial": 3, "last_serial": 4}, "state_serial_regressed"),
        ({"serial": 5, "last_serial": 4}, "state_changed_outside"),
        ({"serial": 4, "last_serial": 4, "state_edited": True}, "state_serial_regressed"),
        ({"lineage": "b", "last_lineage": "a", "serial": 0, "last_serial": 4}, "state_lineage_changed"),
    ],
)
def test_the_state_beside_what_we_left(context: dict[str, Any], tag: str) -> None:
    assert found(plan(), **SAME, **context) == {"": {tag}}


def test_creations_over_a_state_that_went_back_are_suspect() -> None:
    document = plan(entry("a.x", ["create"], None, {"v": 1}))
    tags = found(document, inputs_changed=True, serial=3, last_serial=4)
    assert tags == {"": {"state_serial_regressed"}, "a.x": {"suspect_state_regression"}}


def test_words_that_terraform_may_invent_are_unknown_and_never_in_sync() -> None:
    assert judged(plan(entry("a.x", ["transmogrify"], {}, {})), **SAME).verdict is Tag.UNKNOWN


def test_what_cannot_be_known_without_a_context_is_said() -> None:
    assert len(judged(kept_plan()).notes) == 3
    assert judged(plan(), inputs_changed=False, serial=1, last_serial=1, lineage="a", last_lineage="a").notes == ()


def test_nothing_of_a_value_is_kept() -> None:
    secret = "a-secret-value"
    document = plan(
        entry("a.x", ["update"], {"v": secret}, {"v": "b"}),
        drift=(entry("a.x", ["update"], {"v": "b"}, {"v": secret}),),
    )
    assert secret not in repr(judged(document))


WORDS = st.lists(st.sampled_from(["no-op", "create", "read", "update", "delete", "forget", "odd"]), max_size=3)
OBJECTS = st.none() | st.dictionaries(st.sampled_from(["v", "t"]), st.none() | st.integers() | st.text(max_size=2))
ENTRIES = st.lists(
    st.builds(
        lambda address, actions, before, after, reason: {
            **entry(address, actions, before, after),
            "action_reason": reason,
        },
        st.sampled_from(["a.x", "a.y", "a.y[0]", "module.m.a.z"]),
        WORDS,
        OBJECTS,
        OBJECTS,
        st.sampled_from([None, "replace_because_tainted", "replace_by_triggers"]),
    ),
    max_size=5,
)


@given(ENTRIES, ENTRIES, st.sampled_from([None, True, False]), st.booleans())
def test_every_plan_has_one_verdict_and_its_tags_in_order(
    changes: list[dict[str, Any]], drift: list[dict[str, Any]], inputs: bool | None, errored: bool
) -> None:
    result = judged(plan(*changes, drift=tuple(drift), errored=errored), inputs_changed=inputs)
    assert result.tags == ordered(result.tags)
    assert result.verdict is (result.tags[0] if result.tags else Tag.IN_SYNC)
    assert all(item.tags for item in result.resources)
    assert len({item.address for item in result.resources}) == len(result.resources)
    if errored:
        assert Tag.ERROR in result.own


def test_the_groups_of_tags_do_not_overlap() -> None:
    groups = (FAILURES, STATE_FAULTS, QUIET, UNDEPLOYED)
    assert sum(map(len, groups)) == len(frozenset().union(*groups))
