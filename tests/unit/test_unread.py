"""What a plan does not show is named, with a command that shows it and means nothing else."""

import shlex

from hypothesis import given
from hypothesis import strategies as st

from tfops.unread import approved_with, begins_to_read, grouped

BASE, TIP = "1" * 40, "2" * 40


def told(*names: str, base: str = BASE) -> str:
    return "".join(approved_with(names, base=base, tip=TIP, between=".."))


def test_files_are_named_with_the_command_that_shows_what_became_of_them():
    assert told("prod/hook.sh", "prod/main.tf") == (
        "made of, and not approved otherwise: prod/hook.sh, prod/main.tf; see: "
        "git diff --text 111111111111..222222222222 -- prod/hook.sh prod/main.tf"
    )


def test_a_setting_is_a_line_of_the_configuration():
    assert told("setting pass_env", "a.tf") == (
        "made of, and not approved otherwise: a.tf, setting pass_env; see: "
        "git diff --text 111111111111..222222222222 -- a.tf tfops.hcl"
    )


def test_of_a_stack_that_was_never_deployed_all_files_are_new():
    found = told("setting root", "a.tf", "b.sh", base="")
    assert found == "made of, and not approved otherwise: a.tf, b.sh, all of them new in 222222222222"
    assert told("setting root", base="") == ""


def test_many_are_told_by_directory():
    many = [f"modules/vpc/{number}.tf" for number in range(20)]
    assert grouped([*many, "main.tf"]) == "main.tf, modules/vpc (20 files)"
    assert told(*many, "main.tf").endswith(" -- main.tf modules/vpc")
    wide = [f"modules/{number}/main.tf" for number in range(20)]
    assert grouped(wide).endswith(" and 12 more places")
    assert told(*wide).endswith("git diff --text 111111111111..222222222222"), "all of it, rather than a part"


def test_nothing_is_nothing():
    assert told() == ""
    assert begins_to_read([], hidden="x") == ()


def test_what_stands_in_no_difference_is_told():
    assert begins_to_read(["tools/hook.sh"], hidden="this change does not touch") == (
        "begins to read tools/hook.sh, which this change does not touch: read it",
    )


@given(st.lists(st.text(min_size=1), min_size=1, max_size=4))
def test_attack_a_files_name_is_a_command_an_option_or_a_pattern(names):
    """Whoever copies the command runs git diff over these paths, or over everything."""
    command = told(*names).rpartition("; see: ")[2]
    words = shlex.split(command)
    assert words[:4] == ["git", "diff", "--text", "111111111111..222222222222"]
    assert words[4:] in ([], ["--", *sorted(set(names))])
    for name in (";reboot", "$(reboot)", ":!hook.sh", "*", "--output=x", "a b"):
        assert " -- " not in told(name, "a.tf")
