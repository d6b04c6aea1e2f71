"""A branch only goes forward, unless somebody says so."""

from dataclasses import dataclass, field
from types import SimpleNamespace

import pytest

from tfops.errors import Exit, RefusedError
from tfops.steps.forward import check_forward


@dataclass
class History:
    """A repository with one line of commits; `missing` are those a shallow clone lacks until it is deepened."""

    line: list[str]
    sides: set[str] = field(default_factory=set)
    missing: set[str] = field(default_factory=set)
    is_shallow: bool = False
    deepened: list[str] = field(default_factory=list)

    def has(self, commit: str) -> bool:
        return commit in {*self.line, *self.sides} - self.missing

    def is_ancestor(self, older: str, newer: str) -> bool:
        assert self.has(older)
        assert self.has(newer)
        line = self.line
        return older in line and newer in line and line.index(older) <= line.index(newer)

    def unshallow(self, branch: str) -> None:
        self.deepened.append(branch)
        self.missing, self.is_shallow = set(), False


def session(history: History, commit: str) -> SimpleNamespace:
    said: list[tuple[str, str]] = []
    return SimpleNamespace(
        repository=history,
        revision=SimpleNamespace(commit=commit, branch="main"),
        say=lambda stack, message: said.append((stack, message)),
        said=said,
    )


def head(commit: str) -> SimpleNamespace:
    return SimpleNamespace(record=SimpleNamespace(source=SimpleNamespace(commit=commit)))


def refused(history: History, deployed: str, wanted: str) -> tuple[str, str]:
    with pytest.raises(RefusedError) as found:
        check_forward(session(history, wanted), "prod", head(deployed), allow_backward=False)
    (problem,) = found.value.problems
    assert found.value.exit_code is Exit.REFUSED
    assert problem.stack == "prod"
    assert "--allow-backward" in problem.hint
    return problem.code, problem.message


def test_what_was_never_deployed_may_begin_anywhere():
    check_forward(session(History([]), "a"), "prod", None, allow_backward=False)


@pytest.mark.parametrize(("deployed", "wanted"), [("a", "a"), ("a", "b"), ("a", "c"), ("b", "c")])
def test_the_same_revision_or_a_later_one_goes_on(deployed, wanted):
    check_forward(session(History(["a", "b", "c"]), wanted), "prod", head(deployed), allow_backward=False)


def test_an_older_revision_is_refused_as_older():
    code, message = refused(History(["a", "b"]), "b", "a")
    assert (code, message) == ("revision.backward", "prod: b is deployed, and a is older")


def test_a_revision_beside_the_deployed_one_is_refused():
    code, message = refused(History(["a", "b"], sides={"x"}), "x", "b")
    assert (code, message) == ("revision.backward", "prod: x is deployed, and b does not contain it")


def test_a_deployed_revision_that_is_not_there_is_refused_for_what_is_wanted_may_be_older():
    assert refused(History(["a"]), "gone", "a")[0] == "revision.unknown"


@pytest.mark.parametrize("deployed", ["b", "x", "gone"])
def test_backward_is_allowed_where_somebody_says_so(deployed):
    check_forward(session(History(["a", "b"], sides={"x"}), "a"), "prod", head(deployed), allow_backward=True)


def test_a_shallow_clone_is_deepened_before_it_judges():
    history = History(["a", "b"], missing={"a"}, is_shallow=True)
    one = session(history, "b")
    check_forward(one, "prod", head("a"), allow_backward=False)
    assert history.deepened == ["main"]
    assert "shallow" in one.said[0][1]


def test_a_shallow_clone_that_has_the_deployed_revision_is_left_as_it_is():
    history = History(["a", "b"], is_shallow=True)
    check_forward(session(history, "b"), "prod", head("a"), allow_backward=False)
    assert history.deepened == []


def test_a_deepened_clone_without_the_deployed_revision_still_refuses():
    assert refused(History(["a"], is_shallow=True), "gone", "a")[0] == "revision.unknown"
