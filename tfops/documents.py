"""Any file given to `tfops explain` → the plan document in it, or a refusal that says what it is instead."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NoReturn

from tfops.errors import UsageError

JsonObject = dict[str, Any]

_DEEPEST = 200  # levels; real plans stay below 40, Python's own recursion ends near 1000
_NESTED_LEVELS = 4  # policy mocks keep plans at mock.<case>.tfplan
_PLAN_KEYS = frozenset({"planned_values", "resource_changes", "resource_drift", "output_changes"})
_KNOWN_MAJORS = frozenset({"0", "1"})
_HOW = "Make one with `terraform plan -out=FILE` and `terraform show -json FILE`."
_HUMAN = re.compile(
    r"(Terraform|OpenTofu) (will perform|used the selected)|An execution plan has been generated"
    r"|^Plan: \d+ to |^No changes\.",
    re.MULTILINE,
)
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
_OBJECT_LINE = re.compile(r"^\{", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """A plan document as parsed, always with a `format_version`, and what had to be done to find it."""

    name: str
    content: JsonObject
    notes: tuple[str, ...] = ()


def read_document(data: bytes, name: str) -> Document:
    """The plan document in `data`; `name` is what messages call the file.

    Raises UsageError (explain.unreadable, explain.not_a_plan, explain.format_version) and nothing else.
    """
    notes: list[str] = []
    text = _decoded(data, name)
    outer = _parsed(text, name, notes)
    if _depth_exceeds(outer, _DEEPEST):
        _unreadable(f"{name} nests values more than {_DEEPEST} levels deep")
    content = _plan_within(outer, name, notes)
    if _SURROGATE.search(text):
        content = _without_lone_surrogates(content)
    _look_for_hidden_changes(content, name, notes)
    return Document(name=name, content=_versioned(content, name, notes), notes=tuple(notes))


def _unreadable(message: str, hint: str = _HOW) -> NoReturn:
    raise UsageError(f"{message}.", code="explain.unreadable", hint=hint)


def _not_a_plan(message: str, hint: str = _HOW) -> NoReturn:
    raise UsageError(f"{message}.", code="explain.not_a_plan", hint=hint)


def _decoded(data: bytes, name: str) -> str:
    if not data.strip(b" \t\r\n\0"):
        _unreadable(f"{name} is empty")
    if data.startswith(b"PK"):
        _not_a_plan(f"{name} is a binary plan file", f"Run `terraform show -json {name}` and pass what it prints.")
    try:
        # Knows byte order marks, and UTF-16/32 without one. Latin-1 always "works" and garbles: no fallback.
        return data.decode(json.detect_encoding(data)).lstrip("\ufeff")
    except UnicodeDecodeError:
        _unreadable(f"{name} is neither UTF-8 nor UTF-16 text")


def _parsed(text: str, name: str, notes: list[str]) -> JsonObject:
    """The one JSON object in `text`; lines that a wrapper printed around it are left out."""
    start = _object_start(text, name)
    content, end = _decode_at(text, start, name, notes)
    if "@level" in content and ("@message" in content or "type" in content):
        _not_a_plan(f"{name} is the event stream of `terraform plan -json` (JSON lines), which holds no values")
    rest = text[end:].lstrip()
    if rest.startswith(("}", "]", ",", '"')):
        _unreadable(f"{name} goes on after its JSON document ended")
    if rest.startswith("{") or _OBJECT_LINE.search(rest):
        _not_a_plan(f"{name} holds more than one JSON document", "Save the one you mean to a file of its own.")
    if rest or text[:start].strip():
        notes.append("text around the JSON document was left out")
    return content


def _object_start(text: str, name: str) -> int:
    """Where the JSON object begins: the first character, else the first line that begins with a brace."""
    start = len(text) - len(text.lstrip())
    if text.startswith("{", start):
        return start
    if _is_json(text):
        _not_a_plan(f"{name} is JSON, but not an object")
    found = _OBJECT_LINE.search(text)
    if found:
        return found.start()
    if _HUMAN.search(text):
        _not_a_plan(f"{name} is Terraform's plan text for people, not JSON")
    _unreadable(f"{name} is not JSON")


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _decode_at(text: str, start: int, name: str, notes: list[str]) -> tuple[JsonObject, int]:
    repeated = False

    def pairs(items: list[tuple[str, Any]]) -> JsonObject:
        nonlocal repeated
        content = dict(items)
        repeated = repeated or len(content) != len(items)
        return content

    decoder = json.JSONDecoder(object_pairs_hook=pairs, parse_constant=_no_constant, parse_float=_finite)
    try:
        content, end = decoder.raw_decode(text, start)
    except json.JSONDecodeError as error:
        if _HUMAN.search(text):
            _not_a_plan(f"{name} is Terraform's plan text for people, not JSON")
        _unreadable(f"{name} is not valid JSON: {error.msg} at line {error.lineno}, column {error.colno}")
    except RecursionError:
        _unreadable(f"{name} nests values too deeply")
    except ValueError as error:
        _unreadable(f"{name} holds a number that cannot be read: {error}")
    if repeated:
        # Real providers' documents do this; Terraform's own reader takes the last one as well.
        notes.append("some object names a key twice; the last one counts")
    return content, end


def _no_constant(word: str) -> NoReturn:
    raise ValueError(f"{word} is not JSON")


def _finite(text: str) -> float:
    number = float(text)
    if number in (float("inf"), float("-inf")):
        raise ValueError("it is too large")
    return number


def _without_lone_surrogates(content: JsonObject) -> JsonObject:
    # JSON can say half of a character, which no output can carry.
    whole: JsonObject = json.loads(json.dumps(content, ensure_ascii=False).encode("utf-8", "replace"))
    return whole


def _depth_exceeds(value: object, limit: int) -> bool:
    level = [value]
    for _ in range(limit):
        level = [child for node in level for child in _children(node)]
        if not level:
            return False
    return True


def _children(node: object) -> list[object]:
    match node:
        case dict():
            return list(node.values())
        case list():
            return node
        case _:
            return []


def _plan_within(content: JsonObject, name: str, notes: list[str]) -> JsonObject:
    if _is_plan(content):
        return content
    kind = _kind(content)
    if kind:
        _not_a_plan(f"{name} is {kind}, not a plan")
    found = list(_nested_plans(content, ()))
    if not found:
        _not_a_plan(f"{name} is JSON, but neither it nor anything in it is a plan")
    if len(found) > 1:
        places = ", ".join(path for path, _ in found[:5])
        _not_a_plan(f"{name} holds {len(found)} plans ({places})", "Save the one you mean to a file of its own.")
    path, plan = found[0]
    notes.append(f"the plan was found inside, at {path}")
    return plan


def _nested_plans(content: JsonObject, path: tuple[str, ...]) -> Iterator[tuple[str, JsonObject]]:
    for key, value in content.items():
        if not isinstance(value, dict):
            continue
        if _is_plan(value):
            yield ".".join((*path, key)), value
        elif len(path) + 1 < _NESTED_LEVELS:
            yield from _nested_plans(value, (*path, key))


def _is_plan(content: JsonObject) -> bool:
    """A plan has a format version and something planned, or at least changes with addresses and actions."""
    if _format_version(content) is not None:
        return not _PLAN_KEYS.isdisjoint(content)
    changes = content.get("resource_changes")
    return isinstance(changes, list) and bool(changes) and all(_is_change(entry) for entry in changes)


def _is_change(entry: object) -> bool:
    if not (isinstance(entry, dict) and isinstance(entry.get("address"), str)):
        return False
    change = entry.get("change")
    return isinstance(change, dict) and isinstance(change.get("actions"), list)


def _format_version(content: JsonObject) -> object:
    # HCP Terraform's redacted plan calls it plan_format_version.
    return content.get("format_version", content.get("plan_format_version"))


def _kind(content: JsonObject) -> str | None:  # noqa: PLR0911 - one line per kind reads best
    """What a document that is no plan is instead, where it is something Terraform writes."""
    keys = content.keys()
    if "version" in keys and keys & {"serial", "lineage", "modules", "resources"}:
        return f"a state file (version {content['version']})"
    if "values" in keys and _format_version(content) is not None:
        return "the JSON of a state (`terraform show -json` without a plan file)"
    if "provider_schemas" in keys:
        return "the output of `terraform providers schema -json`"
    if {"valid", "diagnostics"} <= keys:
        return "the output of `terraform validate -json`"
    if {"terraform_version", "platform"} <= keys:
        return "the output of `terraform version -json`"
    if keys and keys <= {"format_version", "terraform_version"}:
        return "an empty document (`terraform show -json` found neither plan nor state)"
    if keys and all(isinstance(value, dict) and {"value", "sensitive"} <= value.keys() for value in content.values()):
        return "the output of `terraform output -json`"
    return None


def _look_for_hidden_changes(content: JsonObject, name: str, notes: list[str]) -> None:
    """Guards against documents that plan something but have no `resource_changes`: they would look in sync.

    Terraform leaves the key out of a refresh-only plan, and where there is nothing at all.
    """
    if content.get("resource_changes") is not None:
        return
    foreign = [key for key in content if key.endswith("_resource_changes")]
    if foreign:
        _not_a_plan(f"{name} keeps its changes under {foreign[0]!r}: another tool wrote it, not Terraform")
    prior = _addresses(content.get("prior_state"), "values")
    if _addresses(content, "planned_values") - prior:
        notes.append("it plans new resources but has no resource_changes, so they are not counted")


def _addresses(holder: object, key: str) -> set[str]:
    """The addresses of the managed resources in the state-like object at holder[key]."""
    values = holder.get(key) if isinstance(holder, dict) else None
    root = values.get("root_module") if isinstance(values, dict) else None
    found: set[str] = set()
    modules = [root]
    while modules:
        module = modules.pop()
        if not isinstance(module, dict):
            continue
        modules.extend(_children(module.get("child_modules")))
        for resource in _children(module.get("resources")):
            if isinstance(resource, dict) and resource.get("mode") == "managed":
                found.add(str(resource.get("address")))
    return found


def _versioned(content: JsonObject, name: str, notes: list[str]) -> JsonObject:
    """`content` with a `format_version`; refuses versions whose meaning is not known."""
    version = _format_version(content)
    if version is None:
        notes.append("it says no format_version; read as far as it goes")
        return {**content, "format_version": ""}
    text = str(version)
    major = re.match(r"\d+", text)
    if major is None:
        notes.append("its format_version is not a version; read as far as it goes")
    elif major.group() not in _KNOWN_MAJORS:
        raise UsageError(
            f"{name} has plan format {text}; this version of tfops reads formats 0 and 1.",
            code="explain.format_version",
            hint="Upgrade tfops.",
        )
    if "format_version" not in content:
        notes.append("it is the redacted plan of HCP Terraform (plan_format_version)")
    return {**content, "format_version": text}
