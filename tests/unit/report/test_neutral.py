"""Text from outside keeps its lines where there is room for them, and never more than that."""

from hypothesis import given
from hypothesis import strategies as st

from tfops.report.neutral import indented, neutral, on_one_line


@given(st.text())
def test_whatever_it_is_one_line_stays_one(text):
    for one in (neutral(text), on_one_line(text)):
        assert one.isprintable()


@given(st.text())
def test_lines_that_follow_stand_further_in_so_that_none_passes_for_another_message(text):
    _, *rest = indented(text).split("\n")
    assert len(rest) == text.count("\n")
    assert all(line.startswith("  ") and line.isprintable() for line in rest)


def test_a_policys_lines_are_kept():
    assert indented("refuses:\none\n  two\x1b") == "refuses:\n  one\n    two\\x1b"
    assert on_one_line("refuses:\none\n  two") == "refuses: one | two"
