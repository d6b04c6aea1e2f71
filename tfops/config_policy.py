"""The policy blocks of tfops.hcl: what judges each plan, a program that reads it or rules in Rego."""

import re
from dataclasses import dataclass

from tfops import checks
from tfops.schema import Field, Section

QUERY = "data.tfops.deny"
TIMEOUT_SECONDS = 300.0
_KINDS = {"command": ("command", "files", "timeout"), "rego": ("rego", "query")}
_RULE = re.compile(r"data(\.[A-Za-z_][A-Za-z0-9_]*)+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What judges the plans of some environments, or of all where it names none. Either `command` or `rego` is given.

    `files` and `rego` are files or directories of the repository; `query` names the rule whose messages refuse.
    """

    name: str
    command: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    rego: tuple[str, ...] = ()
    query: str = QUERY
    environments: tuple[str, ...] = ()
    timeout_seconds: float = TIMEOUT_SECONDS

    @property
    def paths(self) -> tuple[str, ...]:
        """What of the repository it consists of."""
        return (*self.files, *self.rego)

    def is_for(self, environment: str) -> bool:
        """Whether it judges plans of that environment."""
        return not self.environments or environment in self.environments

    def has(self, file: str) -> bool:
        """Whether a file is one of those it consists of."""
        inside = any(file == path or file.startswith(f"{path}/") for path in self.paths)
        return inside and (not self.rego or file.endswith(".rego"))


def policies(top: Section) -> tuple[Policy, ...]:
    """The policy blocks."""
    return tuple(_policy(name, section) for name, section in top.named("policy"))


def _policy(name: str, section: Section) -> Policy:
    checks.check_name(name, section)
    given = {attribute.name for attribute in section.body.attributes}
    kinds = [keys for kind, keys in _KINDS.items() if kind in given]
    if len(kinds) > 1:
        section.refuse("invalid_value", "has both command and rego", "make two policies of it")
    if not kinds:
        hint = 'write command = ["conftest", "test", "-"] or rego = ["policies/deny.rego"]'
        section.refuse("missing_key", "has neither command nor rego", hint)
    known = [key for keys in kinds or _KINDS.values() for key in keys]
    section.check_names(attributes=(*known, "environments"))
    return Policy(
        name=name,
        command=section.get("command", _words, ()),
        files=section.get("files", checks.many(checks.file_path), ()),
        rego=section.get("rego", _paths, ()),
        query=section.get("query", _rule, QUERY),
        environments=section.get("environments", checks.many(checks.text), ()),
        timeout_seconds=section.get("timeout", checks.duration_seconds, TIMEOUT_SECONDS),
    )


def _words(found: Field) -> tuple[str, ...] | None:
    # Not `many`: an argument may well be given twice.
    if not isinstance(found.value, tuple):
        found.refuse_type('a list of strings, such as ["conftest", "test", "-"]')
        return None
    words = tuple(word for item in found.value if (word := checks.text(found.item(item))) is not None)
    if found.value == ():
        found.refuse("invalid_value", "is empty", 'name the program first: ["conftest", "test", "-"]')
    return words


def _paths(found: Field) -> tuple[str, ...] | None:
    paths = checks.many(checks.file_path)(found)
    if found.value == ():
        found.refuse("invalid_value", "is empty", 'name a file or a directory: ["policies"]')
    return paths


def _rule(found: Field) -> str | None:
    rule = checks.text(found)
    if rule is not None and not _RULE.fullmatch(rule):
        found.refuse("invalid_value", f'cannot be "{rule}"', f'name a rule, such as "{QUERY}"')
        return None
    return rule
