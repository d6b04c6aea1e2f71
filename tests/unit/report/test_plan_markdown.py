"""The plan as a comment: counts and dangers in sight, never too long, and inert."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfops.redaction import redact
from tfops.report.plan_markdown import inline, render_markdown


def entry(*actions: str, before: object = None, after: object = None, **fields: object) -> dict[str, object]:
    change = {"actions": list(actions), "before": before, "after": after}
    return {"address": "aws_x.n", "mode": "managed", "type": "t", **fields, "change": change}


def markdown(*entries: dict[str, object], title: str = "Plan", limit_bytes: int = 60_000, **fields: object) -> str:
    redacted = redact({"format_version": "1.2", "resource_changes": list(entries), **fields})
    return render_markdown(title, redacted, notes=["Approve with tfops."], limit_bytes=limit_bytes)


def test_a_plan_that_does_nothing_says_so():
    assert markdown() == "### Plan\n\nNothing changes.\n\nApprove with tfops.\n\n"


def test_counts_dangers_and_folded_resources_come_in_this_order():
    found = markdown(
        entry("delete", before={"a": 1}),
        entry("explode"),
        entry("forget"),
        output_changes={"o": {"actions": ["create"], "after": 1}},
        resource_drift=[entry("delete")],
    )
    assert "| delete | forget | output | unknown |\n| ---: | ---: | ---: | ---: |\n| 1 | 1 | 1 | 1 |" in found
    places = ["**Dangers**\n\n- ⚠️ aws_x.n will be destroyed.", "<summary><code>- aws_x.n", "a: 1", "<div><code>forget"]
    places += ["Outputs</code>", "+ o: 1", "Changed outside Terraform</code>"]
    assert sorted(places, key=found.index) == places


def test_backticks_cannot_end_the_code_block():
    found = markdown(entry("create", after={"a": "```\n# hi", "b": "~~~~"}))
    assert found.count("```") == 2


@pytest.mark.parametrize("text", ["@alice", "<img src=x>", "</details><b>", "#12", "https://evil.example"])
def test_nothing_mentions_links_or_opens_html(text):
    found = markdown(entry("delete", before={"a": text}, address=text), title=text)
    assert text not in found


def test_an_address_is_readable_as_it_is():
    assert inline("module.a.aws_x.b_c will change") == "module.a.aws_x.b_c will change"


def test_markdown_of_a_title_is_shown_as_text():
    assert (
        inline("*a* _b_ [c](d) | `e` $f$")
        == "&#42;a&#42; &#95;b&#95; &#91;c&#93;(d) &#124; &#96;\u200be&#96;\u200b &#36;f&#36;"
    )


def test_what_does_not_fit_is_shortened_and_said():
    entries = [entry("create", after={"a": "x" * 150}, address=f"aws_x.n{at}") for at in range(100)]
    found = markdown(*entries, limit_bytes=5000)
    assert len(found.encode()) <= 5000
    assert re.search(r"_\d+ of 100 parts are left out or shortened", found)


def test_dangers_stay_when_one_resource_is_too_large():
    big = {f"a{at}": "x" * 150 for at in range(100)}
    found = markdown(entry("delete", before=big), limit_bytes=2000)
    assert "will be destroyed" in found
    assert "<div><code>- aws_x.n</code></div>" in found


@given(st.integers(0, 3000), st.lists(st.text(max_size=30), max_size=5))
def test_the_limit_holds_always(limit_bytes, values):
    entries = [entry("delete", before={"ä": value}, address=f"aws_x.{value}") for value in values]
    assert len(markdown(*entries, limit_bytes=limit_bytes).encode()) <= limit_bytes


@given(st.text())
def test_no_value_escapes_its_place(value):
    found = markdown(entry("update", before={"a": "b", value: 1}, after={"a": value}, address=value), title=value)
    assert found.count("<details>") == found.count("</details>") == 1
    assert found.count("```") == 2
    assert not re.search(r"@\w", found)
