"""What a drift rule covers and until when, and what may be brought back by itself."""

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfops.changes import Action
from tfops.drift import FAILURES, STATE_FAULTS, Tag
from tfops.drift_rules import DESTROYING, QUIET, REMEDIABLE, IgnoreRule, expired, may_remediate, suppressed_by, unused

TODAY = date(2027, 1, 15)
TAGS = sorted(tag.value for tag in Tag)
ACTIONS = sorted(action.value for action in Action)
WORDS = st.text("ab*?[]{}.\\\n\"'0$^", max_size=8)


def rule(name="r", *, expires=TODAY, **given):
    return IgnoreRule(name=name, reason="known", owner="team-web", expires=expires, **given)


def covering(*rules, address="aws_instance.web[0]", type_="aws_instance", attributes=("size",), today=TODAY):
    found = suppressed_by(rules, address=address, type_=type_, attributes=attributes, today=today)
    return ", ".join(one.name for one in found) or None


# What a rule covers


@pytest.mark.parametrize(
    ("pattern", "covers"),
    [
        ("aws_instance.web[0]", True),
        ("aws_instance.web[?]", True),
        ("aws_instance.*", True),
        ("*.web*", True),
        ("aws_instance.web0", False),
        ("aws_instance.web", False),
        ("AWS_INSTANCE.*", False),
        ("instance.web", False),
    ],
)
def test_an_address_is_matched_whole_and_brackets_mean_themselves(pattern, covers):
    assert (covering(rule(address=pattern)) is not None) is covers


def test_a_star_reaches_over_dots_quotes_and_line_ends():
    assert covering(rule(address="module.a*"), address='module.a["x.y\nz"].aws_instance.web')


def test_type_and_address_must_both_fit():
    assert covering(rule(type="aws_*", address="aws_instance.web[0]")) == "r"
    assert covering(rule(type="google_*", address="aws_instance.web[0]")) is None
    assert covering(rule(type="aws_*", address="aws_instance.db")) is None


def test_a_rule_without_an_attribute_covers_the_whole_object():
    assert covering(rule(type="aws_instance"), attributes=("size", "tags")) == "r"
    assert covering(rule(type="aws_instance"), attributes=()) == "r"


def test_a_rule_with_an_attribute_covers_no_other_one():
    assert covering(rule(attribute="tags*"), attributes=("tags", "tags_all")) == "r"
    assert covering(rule(attribute="tags*"), attributes=("tags", "size")) is None


def test_a_rule_with_an_attribute_does_not_cover_what_nobody_knows():
    assert covering(rule(attribute="*"), attributes=()) is None


def test_several_rules_may_cover_an_object_together():
    size, tags = rule("size", attribute="size"), rule("tags", attribute="tags")
    assert covering(size, tags, attributes=("size", "tags")) == "size, tags"
    assert covering(size, tags, attributes=("size", "tags", "ami")) is None


def test_a_rule_about_another_object_does_not_help_to_cover_this_one():
    assert (
        covering(rule(attribute="size"), rule(address="other", attribute="tags"), attributes=("size", "tags")) is None
    )


@given(st.lists(st.tuples(WORDS, WORDS), max_size=3), st.sets(WORDS, max_size=3), WORDS)
def test_one_rule_more_never_uncovers_anything(patterns, attributes, address):
    rules = [rule(str(number), address=one, attribute=other) for number, (one, other) in enumerate(patterns)]
    for count in range(len(rules)):
        if covering(*rules[:count], address=address, attributes=attributes) is not None:
            assert covering(*rules[: count + 1], address=address, attributes=attributes) is not None


@given(WORDS.filter(lambda word: not set(word) & set("*?")), WORDS)
def test_a_pattern_without_star_and_question_mark_means_one_text(pattern, text):
    assert (covering(rule(address=pattern), address=text) is not None) is (pattern == text)


# Until when


def test_a_rule_holds_through_its_last_day():
    assert covering(rule(type="*", expires=TODAY)) == "r"
    assert covering(rule(type="*", expires=TODAY - timedelta(days=1))) is None


@given(st.dates(), st.dates())
def test_a_rule_either_holds_or_is_named_as_expired(today, expires):
    one = rule(type="*", expires=expires)
    assert (covering(one, today=today) is None) is (expired([one], today) == (one,))


def test_an_expired_rule_does_not_help_others_to_cover_an_object():
    old = rule("old", attribute="tags", expires=TODAY - timedelta(days=1))
    assert covering(rule(attribute="size"), old, attributes=("size", "tags")) is None


def test_rules_that_nothing_was_ignored_by_are_named():
    used, idle = rule("used", type="*"), rule("idle", type="*")
    assert unused([used, idle], {"used"}) == (idle,)


# What may be brought back


@pytest.mark.parametrize("tag", sorted(QUIET))
def test_what_changes_nothing_needs_no_leave(tag):
    assert may_remediate([tag], ["update"], []) == ()


@pytest.mark.parametrize("tag", sorted(set(REMEDIABLE) - {DESTROYING}))
def test_what_is_named_may_be_brought_back_and_nothing_else(tag):
    assert may_remediate([tag], ["update"], [tag]) == ()
    (reason,) = may_remediate([tag], ["update"], set(REMEDIABLE) - {tag})
    assert reason == f'it is {tag}, and drift {{ remediate }} does not name "{tag}": add it, or decide by hand'


@pytest.mark.parametrize("tag", sorted(set(TAGS) - QUIET - set(REMEDIABLE)))
def test_what_cannot_be_named_is_never_brought_back_whatever_the_list_says(tag):
    (reason,) = may_remediate([tag, "modified"], ["update"], [*TAGS, DESTROYING])
    assert reason == f"it is {tag}, which is never brought back by itself: look at it first"


def test_a_state_at_fault_a_failed_scan_and_a_conflict_cannot_be_named():
    assert not {tag.value for tag in STATE_FAULTS | FAILURES | {Tag.CONFLICT, Tag.PENDING}} & {*REMEDIABLE, *QUIET}


def test_whatever_may_be_named_is_a_tag_or_the_word_for_destroying():
    assert set(REMEDIABLE) | QUIET <= {*TAGS, DESTROYING}
    assert not QUIET & set(REMEDIABLE)


@pytest.mark.parametrize("action", ["delete", "forget"])
def test_destroying_must_be_named_besides(action):
    (reason,) = may_remediate(["modified"], [action, "update"], ["modified"])
    assert reason.startswith("it would destroy or forget something")
    assert may_remediate(["modified"], [action, "update"], ["modified", "delete"]) == ()


def test_replacing_must_be_named_besides_and_is_said_once():
    (reason,) = may_remediate(["modified"], ["replace"], ["modified", "delete"])
    assert 'does not name "replace"' in reason
    (reason,) = may_remediate(["modified", "replace"], ["replace"], ["modified"])
    assert 'does not name "replace"' in reason
    assert may_remediate(["modified", "replace"], ["replace"], ["modified", "replace"]) == ()


def test_an_action_that_this_version_does_not_know_is_never_taken():
    (reason,) = may_remediate(["modified"], ["unknown"], REMEDIABLE)
    assert reason.endswith("upgrade tfops")


@given(st.sets(st.sampled_from(TAGS)), st.sets(st.sampled_from(ACTIONS)), st.sets(st.sampled_from([*TAGS, "delete"])))
def test_every_reason_ends_in_what_to_do_and_naming_more_never_adds_one(tags, actions, allowed):
    reasons = may_remediate(tags, actions, allowed)
    assert all(": " in reason and reason.rpartition(": ")[2] for reason in reasons)
    assert len(set(reasons)) == len(reasons)
    assert set(may_remediate(tags, actions, {*allowed, *REMEDIABLE})) <= set(reasons)
