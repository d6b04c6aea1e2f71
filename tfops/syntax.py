"""HCL text to python-hcl2's parse tree, with errors that speak of the text and not of the grammar."""

import re
from typing import Any

from tfops.errors import ConfigError

# Escapes get a stand-in of the same length before parsing: python-hcl2 reads `"$${"` past its closing quote.
# The stand-ins are Unicode noncharacters, which no text contains.
_STAND_INS = {"$${": "\ufdd0" * 3, "%%{": "\ufdd1" * 3}
_FORBIDDEN = re.compile("[\ufdd0\ufdd1]")
_CLOSING = {"LBRACE": "}", "LSQB": "]", "LPAR": ")", "INTERP_START": "}", "DBLQUOTE": '"'}

_VALUE_HINT = 'write a literal value after "=": "text", 1, true, ["a", "b"]'
_BODY_HINT = "an attribute is written name = value, a block name { … }"


def parse_tree(text: str, path: str) -> Any:
    """The tree of the body of `text`; its types are lark's, which has none.

    Raises ConfigError (`config.syntax`) with line and column where the text is not HCL.
    """
    # Lazy: importing hcl2 takes 0.2 s, and most commands' --help needs no configuration.
    from hcl2.parser import parser
    from lark.exceptions import UnexpectedInput

    source = _prepared(text, path)
    try:
        # The grammar cannot say "end of file" where it means "end of line", hence the newline.
        tree = parser().parse(source + "\n", on_error=_is_separating_comma)
    except UnexpectedInput as error:
        raise _translated(error, path) from error
    return tree.children[0]


def syntax_error(path: str, line: int, reason: str, *, column: int = 0, hint: str = "") -> ConfigError:
    """The error for text that is not HCL. Columns count from 1; 0 means that none is known."""
    where = f" (column {column})" if column else ""
    return ConfigError(f"{path}:{line}: {reason}{where}", code="config.syntax", hint=hint)


def unclosed_string(path: str, token: Any) -> ConfigError:
    """The error for a quoted string, of which `token` is a part, that runs over the end of its line."""
    hint = 'close it with ", or write \\n for a line break'
    reason = "a quoted string must end on its own line"
    return syntax_error(path, token.line, reason, column=token.column, hint=hint)


def resolved(text: str) -> str:
    """`text` out of the tree with the escapes of templates resolved: `$${` stands for `${`."""
    for escape, stand_in in _STAND_INS.items():
        text = text.replace(stand_in, escape[1:])
    return text


def as_written(text: str) -> str:
    """`text` out of the tree as the user wrote it."""
    for escape, stand_in in _STAND_INS.items():
        text = text.replace(stand_in, escape)
    return text


def _prepared(text: str, path: str) -> str:
    """`text` without what python-hcl2 does not understand: byte order mark, CRLF, certain escapes."""
    source = text.removeprefix("\ufeff").replace("\r\n", "\n")
    forbidden = _FORBIDDEN.search(source)
    if forbidden:
        line = source.count("\n", 0, forbidden.start()) + 1
        raise syntax_error(path, line, f"the character {forbidden[0]!a} is not allowed")
    for escape, stand_in in _STAND_INS.items():
        source = source.replace(escape, stand_in)
    return source


def _is_separating_comma(error: Any) -> bool:
    """Whether lark may skip what it stumbled over: a comma between the attributes of a block."""
    token = getattr(error, "token", None)
    if token is None or token.type != "COMMA":
        return False
    accepted = error.interactive_parser.accepts()
    return "NAME" in accepted and "RBRACE" in accepted


def _translated(error: Any, path: str) -> ConfigError:
    stack = error.interactive_parser.parser_state.value_stack
    broken = next((token for item in stack for token in _tokens(item) if _is_broken(token)), None)
    if broken is not None:
        # The cause: everything after a string that was not closed is misread.
        return unclosed_string(path, broken)
    token = getattr(error, "token", None)
    if token is not None and token.type == "$END":
        return _early_end(path, stack, error.line)
    found = str(token) if token is not None else str(error.char)
    expects_value = bool(stack) and getattr(stack[-1], "type", "") == "EQ"
    return _unexpected(path, error, as_written(found.lstrip(" \t")), expects_value=expects_value)


def _tokens(item: Any) -> Any:
    return item.scan_values(lambda _: True) if hasattr(item, "scan_values") else (item,)


def _is_broken(token: Any) -> bool:
    return token.type == "STRING_CHARS" and "\n" in token


def _early_end(path: str, stack: list[Any], line: int) -> ConfigError:
    opened = [item for item in stack if getattr(item, "type", None) in _CLOSING]
    if not opened:
        return syntax_error(path, line, "the text ends too early", hint=_BODY_HINT)
    last = opened[-1]
    hint = f"add the missing {_CLOSING[last.type]}"
    return syntax_error(path, last.line, f"this {last} is never closed", column=last.column, hint=hint)


def _unexpected(path: str, error: Any, found: str, *, expects_value: bool) -> ConfigError:
    hint = _VALUE_HINT if expects_value else _BODY_HINT
    character = found[:1]
    if character in ("", "\n"):
        reason = "a value is missing" if expects_value else "this line ends too early"
    elif found.startswith("/*"):
        reason, hint = "this comment is never closed", "add the missing */"
    elif found.startswith("<<"):
        reason, hint = "this heredoc is never closed", "repeat its marker on a line of its own"
    else:
        reason = f"{_shown(character)} cannot stand here"
    if character == "'":
        hint = 'strings are written in double quotes: "text"'
    return syntax_error(path, error.line, reason, column=error.column, hint=hint)


def _shown(character: str) -> str:
    if character in ('"', "'"):
        return f"a {character}"
    return f'"{character}"' if character.isprintable() else f"the character {character!a}"
