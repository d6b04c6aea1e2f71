"""Every run ends with one documented code, the most serious of its stacks', and every error says all it found."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfops import errors
from tfops.errors import Exit, Problem, TfopsError, most_serious


def error_classes() -> list[type[TfopsError]]:
    return [TfopsError, *TfopsError.__subclasses__()]


@given(st.lists(st.sampled_from(Exit)))
def test_the_most_serious_code_is_one_of_those_given_or_ok(codes):
    assert most_serious(codes) in (codes or [Exit.OK])


@given(st.lists(st.sampled_from(Exit)), st.randoms())
def test_the_order_of_stacks_never_decides(codes, random):
    shuffled = list(codes)
    random.shuffle(shuffled)
    assert most_serious(shuffled) is most_serious(codes)


@given(st.lists(st.sampled_from(Exit)), st.lists(st.sampled_from(Exit)))
def test_the_most_serious_of_two_halves_is_the_most_serious_of_the_whole(left, right):
    assert most_serious([most_serious(left), most_serious(right)]) is most_serious(left + right)


@pytest.mark.parametrize("code", Exit)
def test_every_code_has_a_rank(code):
    assert most_serious([code, Exit.OK]) is code


def test_the_documented_order_holds():
    ranked = [Exit.INTERRUPTED, Exit.UNVERIFIED, Exit.FAILED, Exit.LOCKED, Exit.REFUSED, Exit.CHANGES, Exit.OK]
    assert [int(code) for code in ranked] == [130, 5, 1, 4, 3, 2, 0]
    assert all(most_serious(ranked[place:]) is code for place, code in enumerate(ranked))


def test_one_error_carries_all_problems_in_their_order():
    found = [Problem(code="config.cycle", message="first"), Problem(code="config.missing", message="second")]
    error = errors.ConfigError.of(found)
    assert error.problems == tuple(found)
    assert str(error) == "first\nsecond"
    assert type(error) is errors.ConfigError
    assert error.exit_code is Exit.CONFIG


def test_a_single_error_is_a_problem_with_its_stack_and_hint():
    error = errors.LockedError("busy", code="lock.held", hint="wait", stack="prod")
    assert error.problems == (Problem(code="lock.held", message="busy", hint="wait", stack="prod"),)


@pytest.mark.parametrize("kind", error_classes())
def test_no_error_ends_with_a_code_that_means_success_or_changes(kind):
    assert kind.exit_code not in (Exit.OK, Exit.CHANGES)
