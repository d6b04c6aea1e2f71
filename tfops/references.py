"""The paths that Terraform code names: what file functions, providers and scripts may read.

Nothing is looked up and nothing judged: of a path that is computed, what is certain about it is kept.
"""

import posixpath
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias, cast

from tfops.scanner import Group, Node, Text, beginning, split, unwrapped

Base: TypeAlias = Literal["root", "module", "any"]

_FILE_FUNCTIONS = {
    *("file", "filebase64", "filemd5", "filesha1", "filesha256", "filesha512", "filebase64sha256"),
    *("filebase64sha512", "fileexists", "fileset", "templatefile"),
}
# tfops starts Terraform in the root module's directory, so that path.cwd is path.root.
_BASES: dict[str, Base] = {"module": "module", "root": "root", "cwd": "root"}
_UP_ONLY = re.compile(r"(?:\.{1,2}/*)*")
_PATH_WORD = re.compile(r"""[^\s"'`:;,()|&<>]*""")


@dataclass(frozen=True, slots=True, kw_only=True)
class PathReference:
    """A path that a plan may read, as written, seen from `base`.

    An exact one names a file or directory; otherwise everything below the directory `prefix` may be read.
    """

    base: Base
    prefix: str
    exact: bool


def references(code: Iterable[tuple[Node, ...]]) -> Iterator[PathReference | None]:
    """Every path that the code names; None for each that a function reads and nobody can know."""
    waiting = list(code)
    while waiting:
        earlier, previous = "", ""
        for node in waiting.pop():
            match node:
                case "\n":
                    continue
                case Group(opened="(") if previous in _FILE_FUNCTIONS:
                    found, rest = _called(previous, list(split(node.nodes, {","})))
                    yield from found
                    waiting.extend(rest)
                case Group():
                    waiting.append(node.nodes)
                case Text():
                    yield from _in_text(node)
                    waiting.extend(_computed(node))
                case str() if (earlier, previous) == ("path", ".") and node in _BASES:
                    yield PathReference(base=_BASES[node], prefix="", exact=False)
            earlier, previous = previous, node if isinstance(node, str) else ""


def _called(
    function: str, arguments: list[tuple[Node, ...]]
) -> tuple[list[PathReference | None], list[tuple[Node, ...]]]:
    """What a file function reads, and the arguments that are still to be looked at."""
    path = _path(unwrapped(arguments[0])) if arguments else None
    if path is None:
        # Any literal in the expression may be what it comes to: cond ? "a.json" : "b.json".
        words = [node.literal for nodes in arguments[:1] for node in nodes if isinstance(node, Text)]
        known = [PathReference(base="root", prefix=word, exact=True) for word in words if word]
        return [None, *known], arguments
    match function:
        case "fileset":
            return [*_file_set(path, arguments[1:])], arguments[1:]
        case "templatefile":
            return [_template_place(path)], arguments[1:]
        case _:
            return [path], arguments[1:]


def _file_set(path: PathReference, pattern: list[tuple[Node, ...]]) -> Iterator[PathReference]:
    """The directory, because a new file matters too; and where a pattern leaves it, that place as well."""
    yield PathReference(base=path.base, prefix=path.prefix, exact=False)
    known = beginning(pattern[0]) if pattern else ""
    if ".." in known:
        place = posixpath.dirname(re.split(r"[*?\[{]", known, maxsplit=1)[0])
        yield PathReference(base=path.base, prefix=posixpath.join(path.prefix, place), exact=False)


def _template_place(path: PathReference) -> PathReference:
    """The template's directory: templates name each other through variables. But never a directory above."""
    directory = posixpath.dirname(path.prefix)
    if not path.exact or _UP_ONLY.fullmatch(directory):
        return path
    return PathReference(base=path.base, prefix=directory, exact=False)


def _path(nodes: tuple[Node, ...]) -> PathReference | None:
    """The path that an expression certainly lies at or below; None where nothing is certain."""
    match nodes:
        case (Text(heredoc=False, parts=(Group(nodes=inside), *rest)),) if base := _base(inside):
            return _joined(base, tuple(rest))
        case (Text(heredoc=False, parts=(str(), *_) as parts),):
            return _known("root", parts)
        case _:
            base = _base(nodes)
            return PathReference(base=base, prefix="", exact=False) if base else None


def _base(nodes: tuple[Node, ...]) -> Base | None:
    """Which directory `path.module` and its like mean, in `abspath()` too; None for anything else."""
    match tuple(node for node in nodes if node not in ("\n", "~")):
        case ("path", ".", str(name)):
            return _BASES.get(name)
        case ("abspath", Group(opened="(", nodes=inside)):
            return _base(inside)
        case _:
            return None


def _known(base: Base, parts: tuple[str | Group, ...]) -> PathReference:
    """The path that a template beginning with a literal comes to."""
    known = parts[0] if parts and isinstance(parts[0], str) else ""
    if len(parts) < 2:
        return PathReference(base=base, prefix=known, exact=bool(known))
    last = posixpath.basename(known)
    return PathReference(base=base, prefix=known if last in {".", ".."} else posixpath.dirname(known), exact=False)


def _joined(base: Base, parts: tuple[str | Group, ...]) -> PathReference:
    """The path of `${path.module}` and what follows it."""
    match parts:
        case ():
            return PathReference(base=base, prefix="", exact=False)
        case (str(known), *rest) if known.startswith("/"):
            return _known(base, (known.lstrip("/"), *rest))
        case _:
            # "${path.module}-files/x" and "${path.root}./x" lie beside the directory.
            return PathReference(base=base, prefix="..", exact=False)


def _in_text(text: Text) -> Iterator[PathReference]:
    """Paths that a provider, a provisioner or a script may read."""
    first = text.parts[0] if text.parts else ""
    if isinstance(first, str) and not text.heredoc and (first == ".." or first.startswith(("./", "../"))):
        yield _known("any", text.parts)
        if (word := first.split(maxsplit=1)[0]) != first:
            yield PathReference(base="any", prefix=word, exact=True)
    for index, part in enumerate(text.parts):
        if isinstance(part, Group) and (base := _base(part.nodes)):
            yield from _after_base(base, text.parts[index + 1 : index + 3], whole=not index and not text.heredoc)


def _after_base(base: Base, parts: tuple[str | Group, ...], *, whole: bool) -> Iterator[PathReference]:
    """The path as one word of a command or a sentence; and if nothing precedes it, the `whole` text."""
    if not parts or not isinstance(parts[0], str):
        yield _joined(base, parts)
        return
    word = cast(re.Match[str], _PATH_WORD.match(parts[0]))[0]
    if word != parts[0]:
        yield _joined(base, (word,) if word else ())
    if word == parts[0] or (whole and parts[0].startswith("/")):
        yield _joined(base, parts)


def _computed(text: Text) -> list[tuple[Node, ...]]:
    """The code inside a text, without the `path.module` that begins a path."""
    return [part.nodes for part in text.parts if isinstance(part, Group) and _base(part.nodes) is None]
