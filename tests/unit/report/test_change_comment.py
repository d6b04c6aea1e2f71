"""The comment about a change: what a reviewer wants in the order it is wanted, never too long, and inert."""

import html
import json
import re
from itertools import product
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from tfops.documents import read_document
from tfops.redaction import redact
from tfops.report.change_comment import render_comment
from tfops.report.review import ChangeReview, StackReview, Standing

CORPUS = Path(__file__).parents[4] / "shared" / "corpus" / "plans"
HEAD, PLAN = "3f2a9c1d" * 5, "0123456789abcdef"
# What each forge takes, and whether it folds.
FORGES = {
    "github": (65_000, True),
    "gitlab": (900_000, True),
    "bitbucket": (30_000, False),
    "azure": (140_000, True),
    "gitea": (60_000, True),
}


def entry(
    address: str, *actions: str, before: object = None, after: object = None, **change: object
) -> dict[str, object]:
    whole = {"actions": list(actions), "before": before, "after": after, **change}
    return {"address": address, "mode": "managed", "type": "aws_instance", "name": "n", "change": whole}


def plan(*entries: dict[str, object], **fields: object) -> dict[str, object]:
    return redact({"format_version": "1.2", "resource_changes": list(entries), **fields})


def stack(name: str = "prod/db", standing: Standing = Standing.WAITING, **fields: object) -> StackReview:
    return StackReview(**{"stack": name, "standing": standing, "plan_id": PLAN, **fields})


def comment(*stacks: StackReview, limit: int = 60_000, folds: bool = True, head: str = HEAD, base: str = "main") -> str:
    return render_comment(ChangeReview(head=head, base=base, stacks=stacks), limit=limit, folds=folds)


def realistic(count: int, kinds: str = "udcr") -> dict[str, object]:
    """A plan of instances with tags, networks and user data, in turn updated, destroyed, created and replaced."""
    actions = {"u": ["update"], "d": ["delete"], "c": ["create"], "r": ["delete", "create"]}
    entries = []
    for at in range(count):
        before = {
            "ami": f"ami-{at:017x}",
            "arn": f"arn:aws:ec2:eu-west-1:123456789012:instance/i-{at:017x}",
            "instance_type": "t3.medium",
            "tags": {"Name": f"web-{at}", "Team": "plattform-ä", "Env": "prod"},
            "user_data": "\n".join(f"echo {line}" for line in range(12)),
            "password": f"s3cr3t-value-{at}",
            "ingress": [{"from": port, "to": port, "cidr": ["10.0.0.0/8"]} for port in (22, 80, 443)],
        }
        after = {**before, "instance_type": "t3.large", "user_data": before["user_data"] + "\necho more"}
        doing = actions[kinds[at % len(kinds)]]
        masks = {"before_sensitive": {"password": True}, "after_sensitive": {"password": True}}
        sides = {"before": before if doing[0] != "create" else None, "after": after if doing != ["delete"] else None}
        entries.append(entry(f"module.fleet.aws_instance.web[{at}]", *doing, **sides, **masks))
    return plan(*entries)


REPLACED = entry("aws_db_instance.main", "delete", "create", before={"engine": "14"}, after={"engine": "15"})
CREATED = entry("aws_instance.web", "create", after={"ami": "ami-1"})
DELETED = entry("aws_s3_bucket.old", "delete", before={"bucket": "old"})


class TestWhatAReviewerWants:
    def test_first_one_line_over_all_stacks(self):
        found = comment(
            stack("a", Standing.FAILED, error="broken"),
            stack("b", redacted=plan(REPLACED, CREATED)),
            stack("c", Standing.PLANNED, redacted=plan(CREATED)),
            stack("d", Standing.NOTHING, redacted=plan()),
        )
        title = "4 stacks · `+2 ±1` · 1 failed, 1 waiting for approval, 1 planned, 1 with nothing to do"
        assert found.startswith(f"### tfops: {title}\n\n`3f2a9c1d3f2a` → `main`\n")

    @pytest.mark.parametrize("folds", [True, False])
    def test_then_dangers_stacks_plans_and_how_to_go_on(self, folds):
        found = comment(
            stack("a", Standing.PLANNED, redacted=plan(CREATED)),
            stack("b", redacted=plan(REPLACED), approved_by=("alice",), missing="1 more of 2", reasons=("asks for 2",)),
            folds=folds,
        )
        places = [
            "**Dangers**",
            "- ⚠️ **b**: aws&#95;db" if "&#95;db" in found else "- ⚠️ **b**: aws_db_instance.main will be replaced",
            *(["| stack |"] if folds else ["**Stacks**"]),
            "**a**",
            "⚠️ 1",
            "alice; missing: 1 more of 2",
            "a · planned · +1",
            "+ aws_instance.web\n    ami",
            "- asks for 2",
            "-/+ aws_db_instance.main\n    engine",
            "**How to go on**",
            "- a: read it with `tfops inspect 0123456789ab`\n- b: ",
            "approve it with `tfops approve 0123456789ab`",
        ]
        assert [found.find(place) for place in places] == sorted(found.find(place) for place in places)
        assert all(place in found for place in places)

    def test_the_worst_danger_of_all_stacks_comes_first(self):
        found = comment(stack("a", redacted=plan(REPLACED)), stack("b", redacted=plan(DELETED)))
        assert found.index("will be destroyed") < found.index("will be replaced")

    def test_an_error_is_shown_line_by_line(self):
        found = comment(stack(standing=Standing.FAILED, plan_id=None, error="Error: no\n  on main.tf line 3\n```\n"))
        assert "```\nError: no\n  on main.tf line 3\n`\u200b`\u200b`\u200b\n```" in found
        assert "How to go on" not in found

    def test_a_long_error_ends_with_dots_and_an_empty_one_says_failed(self):
        assert "\nline 59\n…\n" in comment(stack(error="\n".join(f"line {at}" for at in range(99))))
        assert "```\nfailed\n```" in comment(stack(error=""))

    def test_no_stack_and_nothing_to_do_are_short(self):
        assert comment() == "### tfops: no stack is affected\n\n`3f2a9c1d3f2a` → `main`\n"
        found = comment(stack(standing=Standing.NOTHING, redacted=plan()))
        assert "<details>" not in found
        assert "| **prod/db** | nothing to do | – | `0123456789ab` | – |" in found

    def test_many_plans_share_one_line_of_commands(self):
        found = comment(*(stack(f"s{at}", redacted=plan(CREATED)) for at in range(6)))
        assert found.count("tfops approve") == 1
        assert "tfops approve PLAN" in found

    def test_the_same_review_gives_the_same_comment(self):
        review = [stack("b", redacted=realistic(20)), stack("a", redacted=realistic(3), reasons=("x", "y"))]
        assert comment(*review) == comment(*review)


class TestWhatFits:
    @pytest.mark.parametrize(("limit", "folds"), FORGES.values(), ids=FORGES)
    @pytest.mark.parametrize("shape", [(1, 300), (40, 50)], ids=["1x300", "40x50"])
    def test_large_changes_stay_within_what_each_forge_takes(self, limit, folds, shape):
        stacks, resources = shape
        redacted = realistic(resources)
        found = comment(*(stack(f"prod/s{at}", redacted=redacted) for at in range(stacks)), limit=limit, folds=folds)
        assert len(found) <= len(found.encode()) <= limit
        assert len(found.encode()) > min(limit * 0.6, 60_000) or "left out" not in found
        for at in range(stacks):
            assert f"**prod/s{at}**: module" in found, "its dangers"
            assert re.search(rf"^[|-] \*\*prod/s{at}\*\*", found, re.MULTILINE), "its line"

    def test_a_huge_stack_pushes_no_other_out(self):
        small = [stack(f"small{at}", redacted=plan(CREATED)) for at in range(5)]
        found = comment(stack("huge", redacted=realistic(400)), *small, limit=20_000)
        assert found.count("+ aws_instance.web\n    ami") == 5
        assert re.search(r"_\d+ of 400 parts are left out or shortened: `tfops inspect 0123456789ab` shows all", found)
        assert re.search(r"- ⚠️ \*\*huge\*\*: \d+ more\n", found)

    def test_dangers_come_before_plans_where_little_fits(self):
        found = comment(stack("a", redacted=plan(*[CREATED] * 50)), stack("b", redacted=plan(DELETED)), limit=1500)
        assert "aws_s3_bucket.old will be destroyed" in found

    def test_what_is_not_shown_at_all_is_counted(self):
        found = comment(*(stack(f"prod/s{at}", redacted=realistic(9)) for at in range(40)), limit=3000)
        assert len(found.encode()) <= 3000
        said = r"Not shown here: \d+ stacks, the dangers of \d+ stacks, the plans of 40 stacks\. `tfops inspect PLAN`"
        assert re.search(said, found)

    def test_every_resource_has_its_headline_before_any_has_its_details(self):
        found = comment(stack(redacted=realistic(60, "u")), limit=8_000)
        assert found.count("~ module.fleet.aws_instance.web[") == 60

    @settings(max_examples=60, deadline=None)
    @given(
        limit=st.integers(1500, 9000),
        folds=st.booleans(),
        names=st.lists(st.text(max_size=200), max_size=12),
        words=st.text(max_size=600),
        values=st.lists(st.text(max_size=80), max_size=8),
        standing=st.sampled_from(Standing),
    )
    def test_the_limit_holds_always(self, limit, folds, names, words, values, standing):
        entries = [
            entry(f"aws_x.{value}", *actions, before={"ä": value}, after={value: words})
            for value, actions in product(values, (["delete"], ["update"], ["explode", words]))
        ]
        fields = {"reasons": (words,), "approved_by": (words,), "missing": words, "error": words, "plan_id": words}
        stacks = [stack(name, standing, redacted=plan(*entries), **fields) for name in names]
        found = comment(*stacks, limit=limit, folds=folds, head=words, base=words)
        assert len(found) <= limit
        assert len(found.encode()) <= limit
        assert found.count("<details>") == found.count("</details>")
        assert found.count("```") % 2 == 0

    @pytest.mark.skipif(not CORPUS.is_dir(), reason=f"the corpus is not at {CORPUS}")
    @pytest.mark.parametrize("folds", [True, False])
    def test_plans_of_real_projects_stay_within_it(self, folds):
        redacted = [
            redact(read_document(path.read_bytes(), path.name).content) for path in sorted(CORPUS.glob("*.json"))
        ]
        for at, one in enumerate(redacted):
            assert len(comment(stack(redacted=one), limit=10_000, folds=folds).encode()) <= 10_000, at
        whole = [stack(f"s{at}", redacted=one) for at, one in enumerate(redacted)]
        assert len(comment(*whole, limit=30_000, folds=folds).encode()) <= 30_000


ATTACKS = [
    *("/approve", "/merge", "  /close", "atlantis apply", "digger apply", "terrateam apply"),
    *("@alice", "@{557058:1}", "@<guid>", "#123", "!45", "GH-12", '~"a label"', "%milestone", "&7", "$8"),
    *("```", "~~~", "##vso[task.complete]", "##[error]x", "::set-output name=a::b"),
    *("<img src=x>", "</details>", "<!-- x", "![a](https://x.example/a.png)", "[a](b)", "https://x.example", "www.x.y"),
]


class TestAttacks:
    @pytest.mark.parametrize("folds", [True, False])
    @pytest.mark.parametrize("text", ATTACKS)
    def test_no_value_name_or_message_does_anything(self, text, folds):
        multiline = entry("aws_x.n", "update", before={"a": "b\nc"}, after={"a": f"b\n{text}\n"})
        deleted = entry(f'aws_x.n["{text}"]', "delete", before={text: text})
        redacted = plan(multiline, deleted, output_changes={text: {"actions": ["create"], "after": text}})
        fields = {"reasons": (text,), "approved_by": (text,), "missing": text, "error": f"{text}\nx\n{text}"}
        found = comment(stack(text, redacted=redacted, **fields), folds=folds, head=text, base=text)
        ours = re.sub(r"</?(?:details|summary)>", "", found) if folds else found
        written, seen = re.sub(r"&#\d+;", "¤", ours), html.unescape(ours)
        assert not re.search(r"^\s*(?:/\w|::)", seen, re.MULTILINE)
        assert not re.search(r"@[\w{<]|[#!]\d|<[\w/!?]|://|www\.|##(?:vso)?\[", seen)
        assert not re.search(r"(?:atlantis|digger|terrateam)\s", seen)
        assert written.count("```") % 2 == 0
        assert "~~~" not in seen
        code = re.compile(r"```.*?```|(?<!\\)`[^`\n]*`", re.DOTALL)
        assert not re.search(r"(?<!\\)\]\(", code.sub("", written))
        assert not re.search(r"[~%][\w\"]|&\d|\$\d|GH-\d", html.unescape(code.sub("", ours)))

    @settings(max_examples=60, deadline=None)
    @given(
        text=(st.text(max_size=30) | st.from_regex(r"[*_~`|<>&#\[\]()!\\ab:/\n -]{1,20}")).map(str.strip).filter(bool),
        folds=st.booleans(),
    )
    def test_no_text_changes_what_a_renderer_makes_of_the_comment(self, text, folds):
        def tags(text: str) -> list[str]:
            changed = entry("aws_x.n", "update", before={"a": "b\nc"}, after={"a": f"b\n{text}\n"})
            deleted = entry(f'aws_x.n["{text}"]', "delete", before={text: text})
            output = {text: {"actions": ["create"], "after": text}}
            fields = {"reasons": (text, "x"), "approved_by": (text, "x"), "missing": text, "error": text}
            redacted = plan(changed, deleted, output_changes=output)
            found = comment(stack(text, redacted=redacted, **fields), folds=folds, head=text, base=text)
            markdown = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
            return re.findall(r"</?\w+", markdown.render(found))

        assert tags(text) == tags("plain")

    def test_a_name_breaks_no_row_of_the_table(self):
        found = comment(stack("a|b\n| c |", approved_by=("x|y",), missing="z\n|", plan_id="1|`2"))
        rows = [line for line in found.splitlines() if line.startswith("|")]
        assert len(rows) == 3
        assert {len(re.findall(r"(?<!\\)\|", one)) for one in rows} == {6}

    @pytest.mark.parametrize("folds", [True, False])
    @pytest.mark.parametrize("text", ["# a", "> a", "- a", "1. a", "    a", "+ a", "=== a"])
    def test_a_reason_stays_a_line_of_its_list(self, text, folds):
        found = comment(stack(reasons=(text,)), folds=folds)
        assert re.search(rf"^- (?:\u200b{re.escape(text)}|&#62; a)$", found, re.MULTILINE)

    def test_without_folds_there_is_no_html(self):
        redacted = plan(*(entry(f"aws_x.{at}_*_<b>&amp;", "delete", before={"a": "<i>"}) for at in range(9)))
        found = comment(stack("<u>", redacted=redacted, reasons=("<b>",)), folds=False)
        assert not re.search(r"<[\w/!?]|&#\d", found)


SECRET = "hunter2-päss"


@pytest.mark.parametrize("folds", [True, False])
@pytest.mark.parametrize(
    "value", [SECRET, {"key": SECRET}, [SECRET], f"a\n{SECRET}\nb", {SECRET: "x"}, [{"a": [SECRET]}]], ids=json.dumps
)
def test_no_value_that_is_marked_sensitive_is_shown(value, folds):
    marked = {"before_sensitive": {"p": True}, "after_sensitive": {"p": True}}
    after_only = {"after_sensitive": {"p": True}}
    redacted = plan(
        entry("aws_x.made", "create", after={"p": value}, **after_only),
        entry("aws_x.changed", "update", before={"p": "old"}, after={"p": value, "copy": SECRET}, **marked),
        entry("aws_x.unmasked", "update", before={"p": value}, after={"p": value}, before_sensitive={"p": True}),
        entry(f'aws_x.named["{SECRET}"]', "delete", before={"p": value, "tags": {SECRET: SECRET}}, **marked),
        output_changes={"o": {"actions": ["create"], "after": value, "after_sensitive": True}},
        # Marked here at the latest, also where it was but the key of a marked map.
        resource_drift=[entry("aws_x.drifted", "update", before={"p": SECRET}, after={"p": value}, **marked)],
    )
    found = comment(stack(redacted=redacted), folds=folds)
    assert "hunter2" not in found
    assert "aws_x.changed" in found
