"""Plans of real projects and of our own lab: read, counted and redacted as their raw documents say."""

import csv
import json
from collections import Counter
from pathlib import Path

import pytest

from tfops.changes import plan_of, summarize
from tfops.changeset import change_set
from tfops.dangers import dangers_of
from tfops.documents import read_document
from tfops.errors import UsageError
from tfops.redaction import redact
from tfops.report.plan_markdown import render_markdown
from tfops.report.plan_text import render_text

CORPUS = Path(__file__).parents[3] / "shared" / "corpus"
pytestmark = pytest.mark.skipif(not CORPUS.is_dir(), reason=f"the corpus is not at {CORPUS}")

PLANS = sorted((CORPUS / "plans").glob("*.json"))
DRIFT = sorted((CORPUS / "drift").glob("*.*.json"))
ODD = sorted((CORPUS / "odd").glob("*.json"))
STATES = sorted((CORPUS / "states").glob("*.tfstate"))
REPLACING = ({"create", "delete"}, {"create", "forget"})


def raw(path: Path) -> dict[str, object]:
    data = path.read_bytes()
    return json.loads(data.decode(json.detect_encoding(data)))


def expected(document: dict[str, object]) -> dict[str, int]:
    """The counts of docs/counting.md, derived from the raw document by other means than tfops does."""
    counts: Counter[str] = Counter()
    for entry in document.get("resource_changes") or ():
        actions = entry["change"].get("actions") or []
        if set(actions) in REPLACING:
            counts["replace"] += 1
        elif len(actions) == 1:
            counts[actions[0]] += 1
        counts["move"] += entry.get("previous_address") not in (None, entry.get("address"))
        counts["import"] += entry["change"].get("importing") is not None
    for change in (document.get("output_changes") or {}).values():
        counts["output"] += change["actions"] != ["no-op"]
    keys = ("create", "update", "delete", "replace", "import", "forget", "read", "move", "output")
    return {key: counts[key] for key in keys}


def index(folder: str) -> list[dict[str, str]]:
    path = CORPUS / folder / "INDEX.tsv"
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t"))


@pytest.mark.parametrize("path", PLANS + DRIFT, ids=lambda path: path.name)
def test_a_plan_is_read_and_counted(path):
    plan = plan_of(read_document(path.read_bytes(), path.name).content)
    assert summarize(plan).as_json() == expected(raw(path))


@pytest.mark.parametrize("row", index("plans"), ids=lambda row: row["file"])
def test_the_actions_of_a_plan_are_those_of_the_index(row):
    plan = plan_of(read_document((CORPUS / "plans" / row["file"]).read_bytes(), row["file"]).content)
    for entries, count, actions in (
        (plan.resource_changes, "n_resource_changes", "actions"),
        (plan.resource_drift, "n_resource_drift", "drift_actions"),
    ):
        assert len(entries) == int(row[count])
        found = {"/".join(entry.change.actions) or "?" for entry in entries}
        assert found == set(filter(None, row[actions].split(",")))


@pytest.mark.parametrize("path", PLANS + DRIFT, ids=lambda path: path.name)
def test_a_plan_is_redacted_rendered_and_digested(path):
    content = read_document(path.read_bytes(), path.name).content
    plan, redacted = plan_of(content), redact(content)
    assert redact(redacted) == redacted
    assert summarize(plan_of(redacted)) == summarize(plan)
    assert len(dangers_of(plan_of(redacted))) == len(dangers_of(plan))
    assert render_text(redacted).startswith("Plan: ")
    assert len(render_markdown("t", redacted, limit_bytes=20_000).encode()) <= 20_000
    assert len(change_set(plan, digest_key=b"k").entries) <= len(plan.resource_changes) + len(plan.output_changes)


@pytest.mark.parametrize("path", ODD, ids=lambda path: path.name)
def test_an_odd_document_is_refused_with_a_word_or_read(path):
    try:
        content = read_document(path.read_bytes(), path.name).content
    except UsageError as error:
        assert error.problems[0].code in ("explain.not_a_plan", "explain.unreadable", "explain.format_version")
        assert str(error).startswith(path.name)
    else:
        assert plan_of(content).resource_changes


@pytest.mark.parametrize("path", STATES, ids=lambda path: path.name)
def test_a_state_is_refused_as_what_it_is(path):
    with pytest.raises(UsageError, match="state file"):
        read_document(path.read_bytes(), path.name)
