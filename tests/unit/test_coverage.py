"""Two approved changes go through together; whatever nobody saw is named, and waits."""

import json

from hypothesis import given
from hypothesis import strategies as st

from tfops.coverage import (
    Approved,
    Content,
    Gap,
    backers,
    begun,
    contains,
    content,
    is_seen,
    leading,
    partial,
    touches,
)
from tfops.coverage import gap as gap_for
from tfops.tree import Entry, Mode


def manifest(files: dict[str, str], **settings: object) -> bytes:
    return json.dumps({"files": files, "settings": settings, "terraform": "t", "variables": {}, "after": {}}).encode()


BASE = manifest({"main.tf": "1", "net.tf": "1"}, workspace="default")


def plan(changes: dict[str, str], files: dict[str, str], *, before: bytes | None = BASE, **settings: object) -> Content:
    merged = {"main.tf": "1", "net.tf": "1", **files}
    return content(changes.items(), before=before, now=manifest(merged, **{"workspace": "default", **settings}))


def by(plan_: Content, *people: str) -> Approved:
    return Approved(content=plan_, people=frozenset(people))


def gap(wanted: Content, plans: list[Content]) -> Gap:
    return gap_for(wanted, [by(one, "alice", "bob") for one in plans], 2)


ONE = plan({"a": "x"}, {"main.tf": "2"})
OTHER = plan({"b": "y"}, {"net.tf": "2"})


def test_a_plan_covers_itself():
    assert gap(ONE, [ONE]).is_empty


def test_two_approved_changes_merged_one_after_the_other_go_through_together():
    both = plan({"a": "x", "b": "y"}, {"main.tf": "2", "net.tf": "2"})
    assert gap(both, [ONE, OTHER]).is_empty
    assert gap(both, [ONE]) == Gap(changes=("b",), inputs=("net.tf",))


def test_two_changes_of_one_file_merge_to_what_nobody_saw():
    other = plan({"b": "y"}, {"main.tf": "3"})
    both = plan({"a": "x", "b": "y"}, {"main.tf": "2+3"})
    assert gap(both, [ONE, other]) == Gap(inputs=("main.tf",))


def test_a_commit_that_came_after_the_approval_is_named():
    later = plan({"a": "x", "c": "z"}, {"main.tf": "2", "extra.tf": "1"})
    found = gap(later, [ONE])
    assert found == Gap(changes=("c",), inputs=("extra.tf",))
    assert found.words == (
        "c would change in a way that no approved plan says",
        "extra.tf is as no approved plan has it",
    )


def test_a_script_that_shows_in_no_plan_is_not_let_through_for_it():
    found = gap(plan({"a": "x"}, {"main.tf": "2", "hook.sh": "evil"}), [ONE])
    assert found == Gap(inputs=("hook.sh",))


def test_another_value_at_an_approved_address_is_named():
    assert gap(plan({"a": "other"}, {"main.tf": "2"}), [ONE]) == Gap(changes=("a",))


def test_a_file_that_was_taken_away_counts():
    without = content([], before=BASE, now=manifest({"main.tf": "1"}, workspace="default"))
    assert gap(without, []) == Gap(inputs=("net.tf",))
    assert gap(without, [without]).is_empty


def test_another_workspace_is_no_detail():
    assert gap(plan({}, {}, workspace="prod"), []) == Gap(inputs=("setting workspace",))


def test_a_stack_that_was_never_deployed_has_nothing_but_new_inputs():
    first = plan({"a": "x"}, {}, before=None)
    assert gap(first, []).inputs == ("main.tf", "net.tf", "setting workspace")
    assert gap(first, [first]).is_empty


BOTH = plan({"a": "x", "b": "y"}, {"main.tf": "2", "net.tf": "2"})


def test_people_are_counted_for_each_part_in_whichever_plans_they_saw_it():
    seen = [by(ONE, "alice"), by(OTHER, "alice"), by(BOTH, "bob")]
    assert gap_for(BOTH, seen, 2).is_empty
    assert backers(BOTH, seen) == {"alice", "bob"}
    assert gap_for(BOTH, seen[:2], 2) == Gap(changes=("a", "b"), inputs=("main.tf", "net.tf"))
    assert gap_for(BOTH, seen[:2], 1).is_empty


def test_who_saw_only_a_part_does_not_stand_behind_all_of_it():
    assert backers(BOTH, [by(ONE, "alice", "bob"), by(OTHER, "bob")]) == {"bob"}
    assert backers(BOTH, []) == frozenset()


def test_one_person_in_two_plans_is_one_person():
    assert not gap_for(ONE, [by(ONE, "alice"), by(BOTH, "alice")], 2).is_empty


def test_a_plan_of_something_else_says_nothing_about_it():
    assert touches(ONE, BOTH, leading(BOTH, [by(ONE)]))
    assert not touches(ONE, OTHER, leading(OTHER, [by(ONE)]))


EVIL = manifest({"main.tf": "evil", "net.tf": "1"}, workspace="default")
ABOVE = plan({"a": "x"}, {"main.tf": "evil+2"}, before=EVIL)
WANTED = plan({"a": "x"}, {"main.tf": "evil+2"})


def test_attack_an_approved_change_of_a_file_says_nothing_of_what_was_pushed_below_it():
    assert gap(WANTED, [ABOVE]) == Gap(inputs=("main.tf",))
    assert backers(WANTED, [by(ABOVE, "alice")]) == frozenset()
    below = plan({}, {"main.tf": "evil"})
    assert gap(WANTED, [ABOVE, below]).is_empty


def test_each_step_needs_enough_people_whoever_they_are_and_who_approved_the_whole_way_counts_for_each():
    first, second = plan({}, {"main.tf": "evil"}), ABOVE
    assert gap_for(WANTED, [by(first, "alice", "bob"), by(second, "bob", "carol")], 2).is_empty
    assert gap_for(WANTED, [by(first, "alice"), by(second, "bob", "carol")], 2).inputs == ("main.tf",)
    assert gap_for(WANTED, [by(first, "alice"), by(second, "alice"), by(WANTED, "bob")], 2).is_empty
    assert gap_for(WANTED, [by(first, "alice"), by(second, "carol"), by(WANTED, "bob")], 2).is_empty


def test_an_owner_has_to_approve_each_step_and_it_may_be_another_one():
    steps = [by(plan({}, {"main.tf": "evil"}), "alice"), by(ABOVE, "bob")]
    assert is_seen("main.tf", WANTED, steps, frozenset({"alice", "bob"}))
    assert not is_seen("main.tf", WANTED, steps, frozenset({"bob"}))


def test_what_an_approved_change_does_that_is_not_merged_leads_nowhere():
    elsewhere = plan({"b": "y"}, {"main.tf": "3"})
    assert not touches(elsewhere, ONE, leading(ONE, [by(ONE), by(elsewhere)]))


CHANGES = st.frozensets(st.tuples(st.sampled_from("abcd"), st.sampled_from("xyz")))
STEPS = st.frozensets(
    st.tuples(st.sampled_from("abcd"), st.sampled_from("wxyz"), st.sampled_from("wxyz")).filter(lambda s: s[1] != s[2])
)
CONTENTS = st.builds(Content, changes=CHANGES, inputs=STEPS)


@given(CONTENTS, st.lists(CONTENTS, max_size=4))
def test_more_approvals_never_uncover_anything(wanted, approved):
    some, all_ = gap(wanted, approved[:2]), gap(wanted, approved)
    assert set(all_.changes) <= set(some.changes)
    assert set(all_.inputs) <= set(some.inputs)


@given(CONTENTS)
def test_without_any_approval_nothing_is_covered(wanted):
    found = gap(wanted, [])
    assert found.is_empty is not bool(wanted.changes or wanted.inputs)


def test_a_plan_contains_another_one_that_does_nothing_else():
    both = plan({"a": "x", "b": "y"}, {"main.tf": "2", "net.tf": "2"})
    assert contains(both, ONE)
    assert contains(both, both)
    assert not contains(ONE, both)
    assert contains(both, plan({"a": "x"}, {"main.tf": "other"})), "a comment beside it makes it no other change"
    assert not contains(both, plan({"a": "other"}, {"main.tf": "2"}))


def test_a_plan_that_changes_nothing_is_what_it_is_made_of():
    assert contains(ONE, plan({}, {"main.tf": "2"}))
    assert not contains(ONE, plan({}, {"main.tf": "3"}))
    assert not contains(ONE, plan({}, {}))


def there(files: dict[str, str]) -> bytes:
    return manifest({"main.tf": "1", "net.tf": "1", **files}, workspace="default")


SAFE = plan({"a": "x"}, {"main.tf": "calls net.tf", "net.tf": "harmless"})


def parts(files: dict[str, str], *plans: Content, people: tuple[str, ...] = ("alice", "bob")) -> dict[str, object]:
    known = {str(number): by(one, *people) for number, one in enumerate(plans)}
    return dict(partial(known, [], there(files), 2))


def test_attack_a_part_of_an_approved_change_lands_without_the_rest_that_made_it_safe():
    assert parts({"main.tf": "calls net.tf"}, SAFE) == {"0": ("net.tf",)}
    assert parts({}, SAFE) == {"0": ("main.tf", "net.tf")}
    assert parts({"main.tf": "calls net.tf", "net.tf": "harmless"}, SAFE) == {}


def test_a_plan_is_there_as_a_whole_where_approved_steps_lead_on_from_what_it_made():
    both = {"main.tf": "calls net.tf", "net.tf": "better"}
    later = plan({}, both, before=there({"main.tf": "calls net.tf", "net.tf": "harmless"}))
    assert parts(both, SAFE, later) == {}
    assert parts(both, SAFE) == {"0": ("net.tf",)}
    assert parts(both, SAFE, later, people=("alice",)) == {"0": ("net.tf",)}, "one of two said so"


def test_attack_a_part_of_one_change_is_made_whole_by_a_part_of_another_one():
    half = {"main.tf": "calls net.tf"}
    revert = plan({}, {"more.tf": "safe"}, before=there({"net.tf": "harmless"}))
    assert parts(half, SAFE, revert) == {"1": ("more.tf",), "0": ("net.tf",)}
    assert parts({**half, "more.tf": "safe"}, SAFE, revert) == {}


def test_what_people_read_leads_on_as_well():
    read = by(plan({}, {"net.tf": "better"}, before=there({"net.tf": "harmless"})), "alice", "bob")
    now = there({"main.tf": "calls net.tf", "net.tf": "better"})
    assert partial({"p": by(SAFE, "alice", "bob")}, [read], now, 2) == {}


@given(CONTENTS)
def test_what_is_there_is_there_as_a_whole_and_what_makes_something_else_is_not(wanted):
    now = manifest(dict.fromkeys("abcd", "now"))
    ends = {name: json.dumps("now") for name in "abcd"}
    made = Content(changes=wanted.changes, inputs=frozenset((name, old, ends[name]) for name, old, _ in wanted.inputs))
    assert partial({"p": by(made, "alice", "bob")}, [], now, 2) == {}
    found = partial({"p": by(wanted, "alice", "bob")}, [], now, 2)
    assert set(found.get("p", ())) == {name for name, _, _ in wanted.inputs}


@given(CONTENTS, st.lists(CONTENTS, max_size=3))
def test_no_plan_with_an_input_that_is_as_it_says_nowhere_counts_whatever_else_is_approved_once(wanted, others):
    known = {"p": by(wanted, "alice", "bob"), **{str(n): by(one, "carol") for n, one in enumerate(others)}}
    found = partial(known, [], manifest({}), 2)
    assert ("p" in found) is bool(wanted.inputs)


def test_a_file_that_a_stack_begins_to_read_and_the_change_does_not_touch_is_told():
    hook, other = Entry(mode=Mode.FILE, blob="1" * 40), Entry(mode=Mode.FILE, blob="2" * 40)
    as_item = {name: f"{entry.mode.value} {entry.blob}" for name, entry in (("hook.sh", hook), ("new.sh", other))}
    found = plan({}, {"main.tf": "2", **as_item})
    assert begun(found, {"hook.sh": hook, "main.tf": hook}) == ("hook.sh",)
    assert begun(found, {"hook.sh": other}) == (), "the change touches it"
    assert begun(found, {}) == ()


def test_attack_a_file_is_named_as_a_setting_is_and_hides_behind_that():
    named = content(
        [], before=BASE, now=manifest({"main.tf": "1", "net.tf": "1", "setting workspace": "evil"}, workspace="default")
    )
    assert gap(named, []) == Gap(inputs=("./setting workspace",))
