"""What people approve with a plan that the plan itself does not show: which files, and how to look at them."""

import posixpath
import re
from collections import Counter
from collections.abc import Iterable

_SHOWN = 8
# Neither a shell nor git reads anything else into a path of these.
_PLAIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_./@+-]*")
_SETTING, _CONFIG = "setting ", "tfops.hcl"


def grouped(names: Iterable[str]) -> str:
    """The names of inputs in one line: all of them where they are few, else how many there are in each directory."""
    found = list(names)
    if len(found) <= _SHOWN:
        return ", ".join(found)
    counts = Counter(posixpath.dirname(name) if "/" in name else name for name in found)
    shown = [f"{place} ({count} files)" if count > 1 else place for place, count in sorted(counts.items())]
    more = len(shown) - _SHOWN
    return ", ".join(shown[:_SHOWN]) + (f" and {more} more places" if more > 0 else "")


def approved_with(names: Iterable[str], *, base: str, tip: str, between: str) -> tuple[str, ...]:
    """The inputs that nobody approves but with a plan, in words, and the command that shows what became of them.

    Without a `base` there was nothing before: then no setting is told, for all of them are new.
    """
    told = _told(names, base=base, tip=tip, between=between)
    return (f"made of, and not approved otherwise: {told}",) if told else ()


def begins_to_read(names: Iterable[str], *, hidden: str) -> tuple[str, ...]:
    """The files that become a part of a stack and stand in no difference, in words; `hidden` says of which."""
    found = tuple(names)
    return (f"begins to read {grouped(found)}, which {hidden}: read it",) if found else ()


def _told(names: Iterable[str], *, base: str, tip: str, between: str) -> str:
    found = sorted(names, key=lambda name: (name.startswith(_SETTING), name))
    if not base:
        files = [name for name in found if not name.startswith(_SETTING)]
        return f"{grouped(files)}, all of them new in {tip[:12]}" if files else ""
    paths = sorted({_CONFIG if name.startswith(_SETTING) else name for name in found})
    return f"{grouped(found)}; see: {_difference(paths, f'{base[:12]}{between}{tip[:12]}')}" if found else ""


def _difference(paths: list[str], commits: str) -> str:
    """The command; without paths where it would be long, or where a name means something else to a shell or to git.

    Nor may what the repository says of a file (`.gitattributes`) hide what is in it.
    """
    told = paths if len(paths) <= _SHOWN else sorted({posixpath.dirname(path) or path for path in paths})
    is_short = len(told) <= _SHOWN and all(_PLAIN.fullmatch(path) for path in told)
    return f"git diff --text {commits}" + (f" -- {' '.join(told)}" if is_short else "")
