"""Secrets are found in any text, and never print themselves."""

from tfops.concealment import PLACEHOLDER, Secrets

SECRET = "hunter2-päss"


def test_overlapping_secrets_leave_nothing_of_either():
    assert Secrets.of(["abcd", "bcdefghijkl"]).scrub("xabcdefghijklx") == f"x{PLACEHOLDER}x"


def test_secrets_never_print_themselves():
    assert SECRET not in repr(Secrets.of([SECRET]))


def test_more_secrets_can_be_added():
    both = Secrets.of([SECRET]).and_values(["another-one"])
    assert both.scrub(f"{SECRET} another-one") == f"{PLACEHOLDER} {PLACEHOLDER}"
    assert both.holds("another-one")
