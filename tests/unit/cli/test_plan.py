"""Options of `tfops plan` that do not go together: the hint is the command that was meant."""

import pytest

from tfops.cli.plan import _check_options
from tfops.errors import UsageError


@pytest.mark.parametrize(
    ("given", "hint"),
    [
        ({"speculative": True}, "tfops plan --speculative --base main --head HEAD"),
        ({"speculative": True, "head": "topic"}, "tfops plan --speculative --base main --head topic"),
        ({"speculative": True, "base": "trunk", "revision": "abc"}, "tfops plan --speculative --base trunk --head abc"),
        ({"base": "trunk"}, "tfops plan --speculative --base trunk --head HEAD"),
        ({"change": 7}, "tfops plan --speculative --base main --head HEAD"),
    ],
)
def test_what_was_meant_is_the_hint(given: dict[str, object], hint: str):
    options = {"speculative": False, "base": None, "head": None, "change": None, "revision": None}
    with pytest.raises(UsageError) as refused:
        _check_options(**{**options, **given})
    (problem,) = refused.value.problems
    assert (problem.code, problem.hint) == ("usage.speculative", hint)
