"""Who owns which file, as a CODEOWNERS file says (GitHub's syntax, and GitLab's sections)."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

PLACES = (".github/CODEOWNERS", ".gitlab/CODEOWNERS", ".bitbucket/CODEOWNERS", "CODEOWNERS", "docs/CODEOWNERS")
NOBODY: frozenset[str] = frozenset()
_SECTION = re.compile(r"(?P<optional>\^)?\[(?P<name>[^\]]+)\](?:\[(?P<count>\d+)\])?(?P<owners>(?:\s+\S+)*)\s*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Owned:
    """A file, and the owners of whom one has to approve it."""

    path: str
    owners: tuple[str, ...]


def owned(text: str, paths: Iterable[str]) -> tuple[Owned, ...]:
    """Who owns these paths, once for each section that has owners for one; nothing for what nobody owns."""
    from codeowners import CodeOwners

    sections = [CodeOwners(part) for part in _sections(text)]
    found = ((path, tuple(owner for _, owner in section.of(path))) for path in sorted(paths) for section in sections)
    return tuple(Owned(path=path, owners=owners) for path, owners in found if owners)


def unowned(
    found: Iterable[Owned], approved: Mapping[str, frozenset[str]], names: Mapping[str, frozenset[str]]
) -> list[Owned]:
    """What none of its owners approved.

    `approved` are the people behind each path, `names` the people by what owners are called: `@login`, `@org/team`, an
    e-mail address, all folded.
    """
    return [
        one
        for one in found
        if not any(approved.get(one.path, NOBODY) & names.get(owner.casefold(), NOBODY) for owner in one.owners)
    ]


def _sections(text: str) -> Iterator[str]:
    """Each section by itself, its default owners written behind the patterns that name none."""
    lines: list[str] = []
    defaults, optional = "", False
    for line in text.splitlines():
        header = _SECTION.fullmatch(line.strip())
        if header is None:
            lines.append(_with_defaults(line, defaults))
            continue
        if not optional:
            yield "\n".join(lines)
        lines, defaults, optional = [], header["owners"].strip(), bool(header["optional"])
    if not optional:
        yield "\n".join(lines)


def _with_defaults(line: str, defaults: str) -> str:
    bare = line.strip()
    named = re.search(r"(?<!\\)\s", bare) is not None
    return f"{bare} {defaults}" if bare and defaults and not bare.startswith("#") and not named else line
