"""Who owns which file, as a CODEOWNERS file says (GitHub's syntax, and GitLab's sections)."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

PLACES = (".github/CODEOWNERS", ".gitlab/CODEOWNERS", ".bitbucket/CODEOWNERS", "CODEOWNERS", "docs/CODEOWNERS")
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
    found: Iterable[Owned],
    is_approved: Callable[[str, frozenset[str]], bool],
    names: Mapping[str, frozenset[str]],
) -> list[Owned]:
    """What none of its owners approved.

    `is_approved` tells whether one of some people approved a path, `names` are the people by what owners are called:
    `@login`, `@org/team`, an e-mail address, all folded.
    """
    return [one for one in found if not is_approved(one.path, _people(one.owners, names))]


def _people(owners: Iterable[str], names: Mapping[str, frozenset[str]]) -> frozenset[str]:
    return frozenset(person for owner in owners for person in names.get(owner.casefold(), ()))


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
