"""What was taken back and is there again is not what people approved before."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from tfops.taken_back import TakenBack, Version, outdated, taken_back

BEGIN = datetime(2026, 3, 1, 12, tzinfo=UTC)


def at(minutes: int) -> datetime:
    return BEGIN + timedelta(minutes=minutes)


def history(items: str) -> list[Version]:
    return [Version(commit=f"{number:040d}", on=at(number), item=item) for number, item in enumerate(items)]


def back(items: str) -> dict[str, int]:
    """By content the number of the commit that took it back."""
    return {item: int(one.commit) for item, one in taken_back(history(items)).items()}


def test_what_only_goes_forward_is_never_taken_back():
    assert back("") == {}
    assert back("a") == {}
    assert back("abc") == {}
    assert back("aabbc") == {}


def test_what_is_reverted_and_pushed_again_was_taken_back_by_the_revert():
    assert back("abab")["b"] == 2
    assert back("aabbaabb")["b"] == 4


def test_a_revert_that_was_not_clean_takes_back_too():
    assert back("abxb")["b"] == 2


def test_the_last_of_several_reverts_counts():
    assert back("ababab")["b"] == 4


def test_what_was_built_on_something_that_was_taken_back_rests_on_it():
    """The step from b to c was approved, and b was taken back: who approved b before does not count for c."""
    assert back("abac") == {"a": 1, "b": 2}


def test_what_was_left_behind_by_going_on_was_not_taken_back():
    assert "b" not in back("abc")
    assert "b" not in back("abcdc")


def test_whoever_takes_something_back_on_an_early_date_hides_no_later_moment():
    honest, forged = at(10), at(-1000)
    on = [at(0), at(1), honest, at(11), forged, at(12)]
    versions = [Version(commit=str(number), on=on[number], item=item) for number, item in enumerate("ababab")]
    assert taken_back(versions)["b"] == TakenBack(commit="2", on=honest)


@given(st.text(alphabet="abc", max_size=8))
def test_what_is_there_now_and_was_away_in_between_was_taken_back(items):
    now = items[-1:]
    parts = [part for part in items.split(now) if part] if now else []
    first = items.index(now) if now else 0
    away = any(item != now for item in items[first:])
    assert (now in taken_back(history(items))) == away, parts


TAKEN = {("main.tf", "b"): TakenBack(commit="abc123" + "0" * 34, on=at(10))}


def test_who_approved_it_before_has_to_approve_it_again():
    said = {"alice": at(9), "bob": at(11), "carol": at(10)}
    assert outdated([("main.tf", "b")], said, TAKEN) == {
        "alice": "main.tf was taken back in abc123000000 after alice approved it: approve it again",
        "carol": "main.tf was taken back in abc123000000 after carol approved it: approve it again",
    }


def test_who_approved_something_else_does_not():
    said = {"alice": at(9)}
    assert outdated([("main.tf", "c"), ("net.tf", "b")], said, TAKEN) == {}
    assert outdated([("main.tf", "b")], said, {}) == {}
