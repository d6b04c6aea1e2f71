"""Paths of a tree stay inside it: a reference that leaves the repository is no path at all."""

import posixpath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfops.tree import Mode, below, resolve

NAMES = st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=5).filter(
    lambda name: name not in {".", ".."}
)
DIRECTORIES = st.lists(NAMES, max_size=4).map("/".join)
REFERENCES = st.lists(NAMES | st.sampled_from([".", ".."]), min_size=1, max_size=8).map("/".join)


@pytest.mark.parametrize(
    ("directory", "reference", "path"),
    [
        ("live/app", "../../modules/vpc", "modules/vpc"),
        ("live/app", "./x.tf", "live/app/x.tf"),
        ("live", "..", ""),
        ("", ".", ""),
        ("", "..", None),
        ("live", "../..", None),
        ("live", "../../etc/passwd", None),
        ("live", "/etc/passwd", None),
        ("", "..hidden", "..hidden"),
        ("live", "../...", "..."),
    ],
)
def test_a_reference_is_seen_from_its_directory(directory, reference, path):
    assert resolve(directory, reference) == path


@given(DIRECTORIES, REFERENCES)
def test_a_resolved_path_never_leaves_the_repository(directory, reference):
    path = resolve(directory, reference)
    if path is not None:
        assert not path.startswith("/")
        assert ".." not in path.split("/")
        assert path == "" or path == posixpath.normpath(path)


@given(DIRECTORIES, DIRECTORIES.filter(bool))
def test_a_way_down_is_always_inside(directory, reference):
    assert resolve(directory, reference) == posixpath.normpath(posixpath.join(directory, reference))


def test_below_a_directory_is_not_below_its_namesakes():
    paths = ["a/x", "ab/x", "a", "a/b/c"]
    assert below(paths, "a") == ["a/b/c", "a/x"]
    assert below(paths, "") == sorted(paths)


def test_the_modes_are_gits_own_words():
    assert {mode.value for mode in Mode} == {"100644", "100755", "120000", "160000"}
