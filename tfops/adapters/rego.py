"""Rules in Rego, evaluated in this process by regopy (the extra `rego`)."""

import json
import re
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from typing import Any

_RUNTIME = re.compile(r"(?<![\w.])(?<!package )opa\s*[.\[]")
_WRITES = re.compile(r"(?<![\w.])(?:print|trace)\s*\(")
_BUILTIN = re.compile(  # the namespaces of Rego's own functions
    r"(?<![\w.])((?:array|base64|base64url|bits|crypto|glob|graph|graphql|hex|http|io|json|net|numbers|object|providers|rand"
    r"|regex|rego|semver|strings|time|units|urlquery|uuid|yaml)(?:\.\w+)+)\s*\("
)


class RegoFault(Exception):
    """There is no answer; it says why, and what to do about it."""


def is_there() -> bool:
    """Whether regopy is installed."""
    return find_spec("regopy") is not None


def denials(modules: Mapping[str, str], query: str, document: Mapping[str, Any]) -> tuple[str, ...]:
    """The messages in the rule that `query` names, over `document` as input; `modules` are texts by path.

    Raises RegoFault where they cannot be evaluated, and where the rule does not exist: then it refuses nothing ever.
    """
    answer = _evaluated(modules, query, document)
    if answer is None:
        raise RegoFault(f"{query} has no value: write `deny contains message if {{ … }}` in that package")
    if isinstance(answer, dict) and all(value is True for value in answer.values()):
        return tuple(sorted(answer))  # deny[message] { … } as Rego was written before version 1
    if not isinstance(answer, list):
        raise RegoFault(f"{query} is no set of messages: write `deny contains message if {{ … }}`")
    return tuple(_message(one) for one in answer)


def _evaluated(modules: Mapping[str, str], query: str, document: Mapping[str, Any]) -> Any:
    try:
        from regopy import Interpreter, LogLevel, RegoError
    except ImportError as error:
        raise RegoFault("it needs regopy, which is not installed: pip install 'tfops-cli[rego]'") from error
    interpreter = Interpreter()
    interpreter.log_level = LogLevel.NONE
    for path, text in modules.items():
        _refuse_calls(path, text, interpreter.is_builtin)
        try:
            interpreter.add_module(path, text)
        except (RegoError, ValueError) as error:
            raise RegoFault(f"{path} is not valid Rego: {_words(error)}") from error
    try:
        interpreter.set_input(json.loads(json.dumps(document)))
        output = interpreter.query(query)
        if not output.ok():
            raise RegoFault(f"{query} cannot be evaluated: two rules give it, or what it uses, different values")
    except (RegoError, ValueError, TypeError, OverflowError) as error:
        raise RegoFault(f"{query} cannot be evaluated: {_words(error)}; try it with `opa eval`") from error
    expressions = output.results[0].expressions if output.results else []
    return expressions[0] if expressions else None


def _refuse_calls(path: str, text: str, is_builtin: Callable[[str], bool]) -> None:
    """What would give away our environment, write into our output, or, as regopy lacks it, silently never hold."""
    if _RUNTIME.search(text):
        raise RegoFault(f"{path} asks opa.runtime for what this process knows, which no policy may")
    if _WRITES.search(text):
        raise RegoFault(f"{path} calls print or trace, which would write into the output of tfops: take that out")
    for name in _BUILTIN.findall(text):
        if not is_builtin(name):
            raise RegoFault(f"{path} calls {name}, which regopy lacks: use `command` and opa for this policy")


def _words(error: Exception) -> str:
    """The messages of regopy's own tree of an error; each is written with its length before it."""
    found = re.findall(r"\(errormsg \d+:([^)]*)\)", str(error))
    return "; ".join(dict.fromkeys(found)) or "regopy gives no reason"


def _message(one: Any) -> str:
    if isinstance(one, dict) and isinstance(one.get("msg"), str):
        return str(one["msg"])
    return one if isinstance(one, str) else json.dumps(one, sort_keys=True)
