"""Checks of single values: what each kind of key accepts, and what it says where it does not."""

import posixpath
import re
from datetime import datetime
from itertools import pairwise

from tfops.hcl import Attribute, Object, Template, Variable
from tfops.schema import Check, Field, Section, repeated
from tfops.versions import parse_constraints

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_STACK_ID = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*(@[A-Za-z0-9._-]+)?(/[^/]+)*")
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")
_STORE_ID = re.compile("[0-9a-f]{32}")
_VARIABLE_NAME = re.compile("[A-Za-z_][A-Za-z0-9_]*")
_UNSEEN = re.compile(
    "TF_CLI_ARGS.*|TF_WORKSPACE|TF_DATA_DIR|TF_REATTACH_PROVIDERS|TF_CLI_CONFIG_FILE|TF_IN_AUTOMATION|TF_INPUT"
    "|TF_LOG.*|TF_STATE_PERSIST_INTERVAL"
)
_DURATION = re.compile(r"([0-9]{1,6}(?:\.[0-9]{1,3})?)([smhd])")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_URL = re.compile(r"https?://[^/@\s?#]+(/[^@\s?#]*)?")
_NO_BRANCH = re.compile(r"[ ~^:?\[\\]|\.\.|@\{|//|^[/-]|[/.]$|\.lock$")
STACK_ID_HINT = 'a stack is named like "prod" or "prod/network"'
_KEY_HINT = 'write it like "file:/etc/tfops/signing.key" or "awskms:alias/tfops"'
_KMS_HINT = 'write it like "awskms:alias/tfops", or with the id or the ARN of the key'
_KMS_ID = "(mrk-[0-9a-f]{32}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12})"
_KMS_ALIAS = "alias/[A-Za-z0-9/_-]+"
_KMS_KEY = re.compile(f"{_KMS_ID}|{_KMS_ALIAS}|arn:aws[a-z-]*:kms:[a-z0-9-]+:[0-9]{{12}}:(key/{_KMS_ID}|{_KMS_ALIAS})")


def is_name(name: str) -> bool:
    """Whether an environment, a runner or a person may be called so."""
    return bool(_NAME.fullmatch(name))


def check_name(name: str, section: Section) -> None:
    """Note a label that cannot be a name."""
    if not is_name(name):
        hint = "use letters, digits, . _ and -, and do not begin with . or -"
        section.refuse("invalid_value", "has a name that tfops cannot use", hint)


def text(found: Field) -> str | None:
    """A string of at least one character, without control characters."""
    match found.value:
        case str(value) if not value or _CONTROL.search(value):
            found.refuse("invalid_value", "is empty" if not value else "holds a control character")
        case str(value):
            return value
        case _:
            found.refuse_type("a string")
    return None


def program(found: Field) -> str | None:
    """The name of a program, or an absolute path: one in the checkout would be whatever was pushed there."""
    name = text(found)
    if name is not None and "/" in name and not name.startswith("/"):
        found.refuse("invalid_value", f'cannot be "{name}"', "name a program on PATH, or write an absolute path")
        return None
    return name


def template(found: Field) -> str | None:
    """A string that may hold variables, in template form: `$${` there stands for the characters `${`."""
    if not isinstance(found.value, Template):
        plain = text(found)
        return None if plain is None else plain.replace("${", "$${")
    literals = [part for part in found.value.parts if isinstance(part, str)]
    if any(_CONTROL.search(part) for part in literals):
        found.refuse("invalid_value", "holds a control character")
        return None
    for before, after in pairwise(found.value.parts):
        if isinstance(before, str) and before.endswith("$") and isinstance(after, Variable):
            found.refuse("invalid_value", "cannot hold a $ directly before a variable")
            return None
    return "".join(
        f"${{{part.value}}}" if isinstance(part, Variable) else part.replace("${", "$${") for part in found.value.parts
    )


def var_file(found: Field) -> str | None:
    """The path of a var file relative to its root module, in template form."""
    path = template(found)
    if path is not None and path.startswith("/"):
        found.refuse("invalid_value", f'cannot be "{path}": write it relative to the root module')
        return None
    return path


def whole_number(found: Field) -> int | None:
    """An integer that is not negative."""
    match found.value:
        case bool():
            found.refuse_type("a whole number")
        case int(value) if value < 0:
            found.refuse("invalid_value", "must not be negative")
        case int(value):
            return value
        case _:
            found.refuse_type("a whole number")
    return None


def boolean(found: Field) -> bool | None:
    """true or false."""
    if isinstance(found.value, bool):
        return found.value
    found.refuse_type("true or false")
    return None


def moment(found: Field) -> datetime | None:
    """A moment that says its zone."""
    written = text(found)
    if written is None:
        return None
    try:
        moment_ = datetime.fromisoformat(written)
    except ValueError:
        moment_ = None
    if moment_ is None or moment_.tzinfo is None:
        found.refuse("invalid_value", f'cannot be "{written}"', 'write it like "2027-01-04T08:00:00Z"')
        return None
    return moment_


def duration_seconds(found: Field) -> float | None:
    """A span of time such as "30s", "15m", "2h" or "3d", in seconds; more than nothing."""
    written = text(found)
    if written is None:
        return None
    seconds = span_seconds(written)
    if seconds is None:
        found.refuse("invalid_value", f'"{written}" is no span of time', 'write it like "30s", "15m", "2h" or "3d"')
    return seconds


def span_seconds(written: str) -> float | None:
    """A span of time in seconds; None for what is none, or no time at all."""
    match = _DURATION.fullmatch(written)
    return float(match[1]) * _SECONDS[match[2]] or None if match else None


def url(found: Field) -> str | None:
    """An address that begins with http:// or https://, without credentials in it."""
    address = text(found)
    if address is not None and not _URL.fullmatch(address):
        found.refuse("invalid_value", f'cannot be "{address}"', 'write it like "https://s3.example.com"')
        return None
    return address


def key_prefix(found: Field) -> str | None:
    """A prefix of object keys, without slashes at its ends."""
    prefix = text(found)
    if prefix is None:
        return None
    parts = prefix.strip("/").split("/")
    if any(part in ("", ".", "..") for part in parts):
        found.refuse("invalid_value", f'cannot be "{prefix}"', 'write it like "infra" or "teams/payments"')
        return None
    return "/".join(parts)


def many(check: Check[str]) -> Check[tuple[str, ...]]:
    """A list of different strings, each of which passes `check`."""

    def strings(found: Field) -> tuple[str, ...] | None:
        if not isinstance(found.value, tuple):
            found.refuse_type('a list of strings, such as ["a", "b"]')
            return None
        values = [value for item in found.value if (value := check(found.item(item))) is not None]
        for value in sorted({value for value in values if values.count(value) > 1}):
            found.refuse("duplicate", f'lists "{value}" twice', "keep one of them")
        return tuple(values)

    return strings


def scalars(found: Field) -> tuple[tuple[str, str | int | float | bool], ...] | None:
    """An object of strings, numbers and booleans; strings may hold variables, and are in template form."""
    if not isinstance(found.value, Object):
        found.refuse_type('an object, such as { key = "value" }')
        return None
    for first, again in repeated(found.value.entries):
        found.refuse("duplicate", f'sets "{first.name}" twice, on lines {first.line} and {again.line}')
    pairs = ((entry.name, _scalar(_entry(found, entry))) for entry in found.value.entries)
    return tuple((name, value) for name, value in pairs if value is not None)


def repository_path(found: Field) -> str | None:
    """A path inside the repository, relative to its root and normalised; the root itself is ""."""
    path = text(found)
    if path is None:
        return None
    fault = _path_fault(path)
    if fault:
        found.refuse("invalid_value", f'cannot be "{path}": {fault}', "write it relative to the repository's root")
        return None
    normal = posixpath.normpath(path)
    return "" if normal == "." else normal


def file_path(found: Field) -> str | None:
    """The path of a file inside the repository, relative to its root and normalised."""
    path = repository_path(found)
    if path == "":
        found.refuse("invalid_value", "must name a file, not the repository's root")
        return None
    return path


def _path_fault(path: str) -> str:
    if path.startswith("/"):
        return "an absolute path is not part of the repository"
    if ".." in path.split("/"):
        return 'a path with ".." may leave the repository'
    return "paths are written with /, not with \\" if "\\" in path else ""


def _entry(found: Field, entry: Attribute) -> Field:
    return Field(value=entry.value, line=entry.line, where=f'{found.where}: "{entry.name}"', faults=found.faults)


def _scalar(found: Field) -> str | int | float | bool | None:
    if isinstance(found.value, bool | int | float):
        return found.value
    if found.value == "":
        return ""
    if isinstance(found.value, str | Template):
        return template(found)
    found.refuse_type("a string, a number or a boolean")
    return None


def branch(found: Field) -> str | None:
    """An exact branch, or a pattern with `*`."""
    branch = text(found)
    if branch is None:
        return None
    # What Git itself refuses in the name of a branch; `*` is the pattern's.
    if _NO_BRANCH.search(branch):
        found.refuse("invalid_value", f'cannot be "{branch}": Git has no branch of this name')
        return None
    return branch


def roots(found: Field) -> tuple[str, ...] | None:
    """Paths or globs of root modules, at least one; the repository's root is ""."""
    roots = many(repository_path)(found)
    if found.value == ():
        found.refuse("invalid_value", "is empty", 'name at least one root module, such as ["."]')
    return roots


def constraints(found: Field) -> str | None:
    """A version constraint of Terraform, as text."""
    constraints = text(found)
    if constraints is None:
        return None
    try:
        parse_constraints(constraints)
    except ValueError as error:
        found.refuse("invalid_value", f"is no version constraint: {error}", 'write it like "~> 1.11, != 1.11.2"')
        return None
    return constraints


def store_id(found: Field) -> str | None:
    """The id of a store."""
    id_ = text(found)
    if id_ is not None and not _STORE_ID.fullmatch(id_):
        found.refuse("invalid_value", "is not 32 lowercase hexadecimal digits", "copy the id that tfops init wrote")
        return None
    return id_


def key_reference(found: Field) -> str | None:
    """A reference to a signing key: `file:` and its path, or `awskms:` and its id, ARN or alias."""
    key = text(found)
    if key is None or _is_key(key):
        return key
    hint = _KMS_HINT if key.startswith("awskms:") else _KEY_HINT
    if word := re.fullmatch("awskms:([A-Za-z0-9_-]+)", key):
        hint = f'write "awskms:alias/{word[1]}" if it is an alias'
    found.refuse("invalid_value", f'cannot be "{key}"', hint)
    return None


def _is_key(key: str) -> bool:
    kind, _, name = key.partition(":")
    return bool(_KMS_KEY.fullmatch(name)) if kind == "awskms" else kind == "file" and name != ""


def variable_name(found: Field) -> str | None:
    """The name of an environment variable that Terraform may see."""
    name = text(found)
    if name is None:
        return None
    if not _VARIABLE_NAME.fullmatch(name):
        found.refuse("invalid_value", f'"{name}" is not the name of a variable', "use letters, digits and _")
    elif _UNSEEN.fullmatch(name):
        reason = f'cannot pass "{name}": it would change what Terraform does without a trace in the plan'
        found.refuse("invalid_value", reason, "remove it; tfops sets what Terraform needs")
    return name


def stack_id(found: Field) -> str | None:
    """The id of a stack."""
    id_ = text(found)
    if id_ is not None and not is_stack_id(id_):
        found.refuse("invalid_value", f'"{id_}" is not the id of a stack', STACK_ID_HINT)
        return None
    return id_


def is_stack_id(id_: str) -> bool:
    """Whether `id_` can be the id of a stack."""
    return bool(_STACK_ID.fullmatch(id_)) and not {".", ".."} & set(id_.split("/"))
