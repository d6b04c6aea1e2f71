"""What people may see of a plan: an allow-list of fields, masks on both sides, then a scrub of every string.

What is hidden, what is not and why is written down in docs/redaction.md.
"""

import base64
import html
import json
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import Any
from urllib.parse import quote, quote_plus

from tfops.changes import any_true, submask

PLACEHOLDER = "(sensitive)"
CHANGED = "(sensitive, changed)"

_SHORTEST = 4  # characters; anything shorter stands in half of all strings and is masked by position only
_TOO_COMMON = frozenset({"true", "false", "null"})
_SCHEMA_NAME = re.compile(r"[a-z_][a-z0-9_]*")
_INSTANCE_KEY = re.compile(r'\["(?:[^"\\]|\\.)*"\]')
_CODE_NAMES = re.compile(r"[\w.\-]*(?:\[\d*\][\w.\-]*)*")
# Terraform's own words, never secrets even where a secret is spelled the same.
_WORDS = frozenset(
    {
        *("managed", "data", "no-op", "create", "read", "update", "delete", "forget"),
        *("pass", "fail", "error", "unknown"),
        *(
            "replace_because_tainted",
            "replace_because_cannot_update",
            "replace_by_request",
            "replace_by_triggers",
        ),
        *(
            "delete_because_no_resource_config",
            "delete_because_wrong_repetition",
            "delete_because_count_index",
        ),
        *("delete_because_each_key", "delete_because_no_module", "delete_because_no_move_target"),
        *("read_because_config_unknown", "read_because_dependency_pending", "read_because_check_nested"),
    }
)

Json = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Secrets:
    """Values that must not be seen, in every form they may take. Never prints them."""

    # First characters → length → forms: finding all of them costs one look-up per character of a text.
    forms: Mapping[str, Mapping[int, frozenset[str]]] = field(default_factory=dict, repr=False)
    texts: frozenset[str] = field(default=frozenset(), repr=False)

    @classmethod
    def of(cls, values: Iterable[object]) -> "Secrets":
        """Secrets out of leaf values; those too short or too common to be searched for are left out."""
        found = (_text(value) for value in values)
        texts = frozenset(text for text in found if text is not None and _searchable(text))
        index: dict[str, dict[int, set[str]]] = defaultdict(lambda: defaultdict(set))
        for form in {form for text in texts for form in _forms(text) if len(form) >= _SHORTEST}:
            index[form[:_SHORTEST]][len(form)].add(form)
        forms = {
            head: {size: frozenset(sizes[size]) for size in sorted(sizes, reverse=True)}
            for head, sizes in index.items()
        }
        return cls(forms=forms, texts=texts)

    def and_values(self, values: Iterable[object]) -> "Secrets":
        """These secrets and more."""
        return Secrets.of([*self.texts, *values])

    def scrub(self, text: str) -> str:
        """`text` with every secret in it replaced by "(sensitive)"; overlapping ones by a single one."""
        parts: list[str] = []
        position = 0
        for start, end in self._spans(text):
            parts += [text[position:start], PLACEHOLDER]
            position = end
        return "".join([*parts, text[position:]])

    def holds(self, text: str) -> bool:
        """Whether any secret stands in `text`."""
        return bool(self._spans(text))

    def holds_number(self, number: int | float) -> bool:
        """Whether `number` itself is a secret."""
        return _text(number) in self.texts

    def _spans(self, text: str) -> list[tuple[int, int]]:
        if not self.forms:
            return []
        heads = self.forms
        last = len(text) - _SHORTEST + 1
        spans: list[tuple[int, int]] = []
        for start in [at for at in range(last) if text[at : at + _SHORTEST] in heads]:
            end = self._end(text, start)
            if end and spans and start <= spans[-1][1]:
                spans[-1] = (spans[-1][0], max(end, spans[-1][1]))
            elif end:
                spans.append((start, end))
        return spans

    def _end(self, text: str, start: int) -> int | None:
        """Where the longest secret that starts at `start` ends."""
        for size, forms in self.forms[text[start : start + _SHORTEST]].items():
            if text[start : start + size] in forms:
                return start + size
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnostic:
    """An error or a warning of Terraform, scrubbed."""

    severity: str
    summary: str
    detail: str = ""
    address: str | None = None
    file: str | None = None
    line: int | None = None


def secrets_of(document: Mapping[str, Any]) -> Secrets:
    """Every value that anything in a plan document marks sensitive."""
    return Secrets.of(leaf for value in _marked(document) for leaf in _leaves(value))


def redact(document: Mapping[str, Any], secrets: Secrets | None = None) -> Json:
    """What may be shown of a plan document, still readable by `plan_of`. Redacting twice changes nothing."""
    known = secrets_of(document) if secrets is None else secrets
    redacted = {key: _clean(document[key], known) for key in _TOP_SCALARS if key in document}
    for key in ("resource_changes", "resource_drift"):
        if key in document:
            redacted[key] = [_entry(entry, known) for entry in _objects(document[key])]
    if "output_changes" in document:
        hidden = _sensitive_outputs(document)
        redacted["output_changes"] = {
            name: _change(_object(change), known, whole=name in hidden)
            for name, change in _object(document["output_changes"]).items()
        }
    for key, shape in (("checks", _CHECK), ("relevant_attributes", _RELEVANT)):
        if key in document:
            redacted[key] = _shaped(document[key], shape, known)
    return redacted


def redact_event(event: Mapping[str, Any], secrets: Secrets) -> Json:
    """One line of `plan -json` or `apply -json`: known fields only, scrubbed; values of outputs never."""
    kind = event.get("type")
    shape = _EVENTS.get(kind) if isinstance(kind, str) else None
    if shape is None:
        return {key: _clean(event[key], secrets) for key in ("@level", "@timestamp", "type") if key in event}
    kept: Json = _shaped(event, {**_EVENT, **shape}, secrets)
    if kind == "outputs":
        outputs = _object(event.get("outputs"))
        kept["outputs"] = {name: _shaped(output, _OUTPUT, secrets) for name, output in outputs.items()}
    return {**kept, "type": kind}


def redact_diagnostic(event: Mapping[str, Any], secrets: Secrets) -> Diagnostic:
    """The diagnostic in an event of type "diagnostic". Never its source snippet, which may quote values."""
    found = _object(event.get("diagnostic"))
    place = _object(found.get("range"))
    line = _object(place.get("start")).get("line")
    address, file = found.get("address"), place.get("filename")
    return Diagnostic(
        severity=str(found.get("severity") or event.get("@level") or "error"),
        summary=secrets.scrub(str(found.get("summary") or event.get("@message") or "")),
        detail=secrets.scrub(str(found.get("detail") or "")),
        address=_scrub_address(address, secrets) if isinstance(address, str) else None,
        file=secrets.scrub(file) if isinstance(file, str) else None,
        line=line if isinstance(line, int) else None,
    )


# --- which values are secret ---


def _marked(document: Mapping[str, Any]) -> Iterator[object]:
    deferred = [_object(entry.get("resource_change")) for entry in _objects(document.get("deferred_changes"))]
    entries = [
        *_objects(document.get("resource_changes")),
        *_objects(document.get("resource_drift")),
        *deferred,
    ]
    for change in [_object(entry.get("change")) for entry in entries]:
        mask = _union(change.get("before_sensitive"), change.get("after_sensitive"))
        yield from _under(change.get("before"), mask)
        yield from _under(change.get("after"), mask)
    yield from _marked_outputs(document)
    for state in _states(document):
        yield from _marked_state(_object(state.get("root_module")))
    configuration = _object(_object(document.get("configuration")).get("root_module"))
    yield from _marked_variables(configuration, _object(document.get("variables")))


def _marked_outputs(document: Mapping[str, Any]) -> Iterator[object]:
    hidden = _sensitive_outputs(document)
    for name, change in _object(document.get("output_changes")).items():
        mask = name in hidden or _union(_object(change).get("before_sensitive"), _object(change).get("after_sensitive"))
        yield from _under(_object(change).get("before"), mask)
        yield from _under(_object(change).get("after"), mask)
    for state in _states(document):
        for name, output in _object(state.get("outputs")).items():
            yield from _under(_object(output).get("value"), name in hidden)


def _sensitive_outputs(document: Mapping[str, Any]) -> set[str]:
    # Formats before 1.0 have no masks in output_changes: only states and configuration tell.
    configuration = _object(_object(document.get("configuration")).get("root_module"))
    holders = [_object(state.get("outputs")) for state in _states(document)]
    holders.append(_object(configuration.get("outputs")))
    return {name for holder in holders for name, output in holder.items() if _object(output).get("sensitive")}


def _states(document: Mapping[str, Any]) -> list[Json]:
    prior = _object(document.get("prior_state")).get("values")
    return [_object(document.get("planned_values")), _object(prior)]


def _marked_state(module: Json) -> Iterator[object]:
    for resource in _objects(module.get("resources")):
        yield from _under(resource.get("values"), _mask(resource.get("sensitive_values")))
    for child in _objects(module.get("child_modules")):
        yield from _marked_state(child)


def _marked_variables(module: Json, given: Json) -> Iterator[object]:
    """Values and defaults of the sensitive variables of a configured module and of the modules it calls."""
    for name, variable in _object(module.get("variables")).items():
        if _object(variable).get("sensitive"):
            yield _object(variable).get("default")
            yield _object(given.get(name)).get("value")
    for call in _object(module.get("module_calls")).values():
        arguments = {
            name: {"value": _object(argument).get("constant_value")}
            for name, argument in _object(_object(call).get("expressions")).items()
        }
        yield from _marked_variables(_object(_object(call).get("module")), arguments)


def _under(value: object, mask: object) -> Iterator[object]:
    """The parts of `value` that `mask` marks."""
    if mask is True:
        yield value
    elif isinstance(value, dict):
        for key, child in value.items():
            yield from _under(child, submask(mask, key))
    elif isinstance(value, list):
        for index, child in enumerate(value):
            yield from _under(child, submask(mask, index))
    elif any_true(mask):
        yield value


def _leaves(value: object) -> Iterator[object]:
    if isinstance(value, dict):
        for child in value.values():
            yield from _leaves(child)
    elif isinstance(value, list):
        for child in value:
            yield from _leaves(child)
    else:
        yield value


# --- which forms a secret takes ---


def _text(value: object) -> str | None:
    match value:
        case str():
            return value
        case bool():
            return None
        case int() | float():
            whole = int(value) if isinstance(value, float) and value.is_integer() else value
            text = repr(whole)
            return text if sum(character.isdigit() for character in text) >= _SHORTEST else None
        case _:
            return None


def _searchable(text: str) -> bool:
    # Placeholders come from an earlier redaction; what stands inside one cannot be hidden by it.
    return len(text) >= _SHORTEST and text not in _TOO_COMMON and text not in PLACEHOLDER and text not in CHANGED


def _forms(secret: str) -> Iterator[str]:
    stripped = secret.rstrip("\r\n")
    lines = (line.strip() for line in secret.splitlines())
    for part in {secret, stripped, *lines}:
        if _searchable(part):
            yield part
            yield from _escaped(part)
            yield from _base64(part)
    yield from _base64(f"{stripped}\n")


def _escaped(part: str) -> Iterator[str]:
    for ascii_only in (True, False):
        once = _json(part, ascii_only)
        yield from (once, _json(once, ascii_only))
        # Go's encoder (jsonencode, Terraform itself) escapes these three as well.
        go = once.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")
        yield from (go, _json(go, ascii_only))
        yield once.replace("${", "$${").replace("%{", "%%{")
    markup = html.escape(part, quote=True)
    yield from (
        markup,
        html.escape(part, quote=False),
        markup.replace("&quot;", "&#34;").replace("&#x27;", "&#39;"),
    )
    for encode, safe in ((quote, ""), (quote, "/"), (quote_plus, "")):
        url = encode(part, safe, "utf-8", "surrogatepass")
        yield from (url, re.sub(r"%[0-9A-F]{2}", lambda escape: escape.group().lower(), url))


def _json(text: str, ascii_only: bool) -> str:
    return json.dumps(text, ensure_ascii=ascii_only)[1:-1]


def _base64(part: str) -> Iterator[str]:
    """Base64 of `part` alone, and what it yields inside any longer text (three alignments)."""
    data = part.encode("utf-8", "surrogatepass")
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        yield from (encode(data).decode(), encode(data).decode().rstrip("="))
        for offset, first in ((0, 0), (1, 2), (2, 3)):
            padded = b"\0" * offset + data
            inner = encode(padded).decode()[first : len(padded) * 8 // 6]
            if len(inner) > _SHORTEST:
                yield inner


# --- what is kept ---


def _entry(entry: Json, secrets: Secrets) -> Json:
    kept: Json = _shaped(entry, _ENTRY, secrets)
    return {**kept, "change": _change(_object(entry.get("change")), secrets)}


def _change(change: Json, secrets: Secrets, *, whole: bool = False) -> Json:
    """A `change` with everything that either side marks hidden on both; `whole` hides all of it."""
    mask = whole or _union(change.get("before_sensitive"), change.get("after_sensitive"))
    kept: Json = _shaped(change, _CHANGE, secrets)
    kept["before"] = _hidden(change.get("before"), mask, secrets, top=True)
    kept["after"] = _hidden(change.get("after"), mask, secrets, twin=change.get("before"), top=True)
    for key in ("after_unknown", "before_sensitive", "after_sensitive"):
        if key in change:
            kept[key] = _flags(change[key], mask, secrets, top=True)
    if whole:
        kept |= {"before_sensitive": True, "after_sensitive": True}
    return kept


def _hidden(value: object, mask: object, secrets: Secrets, *, twin: object = None, top: bool = False) -> object:
    """`value` without what `mask` marks and without secrets. `twin`: the other side, to say what changes."""
    if value is None:
        return None
    if mask is True or (any_true(mask) and not isinstance(value, dict | list)):
        return CHANGED if twin is not None and (type(twin), twin) != (type(value), value) else PLACEHOLDER
    if isinstance(value, dict):
        other = _object(twin)
        return {
            name: _hidden(value[key], submask(mask, key), secrets, twin=other.get(key))
            for key, name in _names(value, secrets, top)
        }
    if isinstance(value, list):
        others = twin if isinstance(twin, list) else []
        return [
            _hidden(child, submask(mask, index), secrets, twin=other)
            for index, (child, other) in enumerate(zip(value, [*others, *[None] * len(value)], strict=False))
        ]
    return _leaf(value, twin, secrets)


def _leaf(value: object, twin: object, secrets: Secrets) -> object:
    """An unmasked leaf, scrubbed, and still visibly different from the other side where it was."""
    shown = _clean(value, secrets)
    if twin is None or (type(twin), twin) == (type(value), value) or shown != _clean(twin, secrets):
        return shown
    if shown == PLACEHOLDER:
        return CHANGED
    return f"{shown} (changed)" if isinstance(value, str) else shown


def _flags(tree: object, mask: object, secrets: Secrets, *, top: bool = False) -> object:
    """A mask that can be shown: below a marked place its keys would name what is hidden."""
    if mask is True:
        return any_true(tree)
    if isinstance(tree, dict):
        return {name: _flags(tree[key], submask(mask, key), secrets) for key, name in _names(tree, secrets, top)}
    if isinstance(tree, list):
        return [_flags(child, submask(mask, index), secrets) for index, child in enumerate(tree)]
    return bool(tree)


def _names(value: Json, secrets: Secrets, top: bool) -> list[tuple[str, str]]:
    """Each key with the name to show. Attribute names (`top`) come from a schema, map keys from data."""
    names: dict[str, str] = {}
    for key in value:
        name = key if top and _SCHEMA_NAME.fullmatch(key) else secrets.scrub(key)
        candidate, count = name, 1
        while candidate in names:
            count += 1
            candidate = f"{name} #{count}"
        names[candidate] = key
    return [(key, name) for name, key in names.items()]


def _clean(value: object, secrets: Secrets) -> Any:
    """Any value, unmasked, with every secret in it scrubbed."""
    match value:
        case str():
            return secrets.scrub(value)
        case bool() | None:
            return value
        case int() | float():
            return PLACEHOLDER if secrets.holds_number(value) else value
        case dict():
            return {name: _clean(value[key], secrets) for key, name in _names(value, secrets, False)}
        case list():
            return [_clean(child, secrets) for child in value]
        case _:
            return None


def _scrub_address(address: object, secrets: Secrets) -> Any:
    """An address with its instance keys scrubbed: types and names are code, which Git shows anyway."""
    if not isinstance(address, str):
        return _clean(address, secrets)
    names = _INSTANCE_KEY.sub("", address)
    if not _CODE_NAMES.fullmatch(names):
        return secrets.scrub(address)
    return _INSTANCE_KEY.sub(lambda key: secrets.scrub(key.group()), address)


def _word(value: object, secrets: Secrets) -> Any:
    if isinstance(value, list):
        return [_word(child, secrets) for child in value]
    return value if isinstance(value, str) and value in _WORDS else _clean(value, secrets)


def _path(value: object, secrets: Secrets) -> Any:
    """A list of attribute paths, or one: the first step is a schema name, later ones may be map keys."""
    if not isinstance(value, list) or (value and isinstance(value[0], list)):
        return [_path(child, secrets) for child in value] if isinstance(value, list) else _clean(value, secrets)
    return [
        step if at == 0 and isinstance(step, str) and _SCHEMA_NAME.fullmatch(step) else _clean(step, secrets)
        for at, step in enumerate(value)
    ]


def _plain(value: object, secrets: Secrets) -> Any:
    return _clean(value, secrets) if not isinstance(value, dict | list) else None


# A shape is an allow-list: field → how to show it, or the shape of the object (or list of objects) there.
_Shape = Mapping[str, Any]


def _shaped(value: object, shape: _Shape, secrets: Secrets) -> Any:
    if isinstance(value, list):
        return [_shaped(child, shape, secrets) for child in value if isinstance(child, dict)]
    kept: Json = {}
    for key, show in shape.items():
        if key in _object(value):
            child = _object(value)[key]
            if child is not None:  # Go's null is the same as absent
                kept[key] = _shaped(child, show, secrets) if isinstance(show, Mapping) else show(child, secrets)
    return kept


_TOP_SCALARS = ("format_version", "terraform_version", "timestamp", "applyable", "complete", "errored")
_ENTRY: _Shape = {
    **dict.fromkeys(("address", "previous_address", "module_address", "type", "name"), _scrub_address),
    **dict.fromkeys(("mode", "action_reason"), _word),
    **dict.fromkeys(("index", "provider_name", "deposed"), _plain),
}
_IMPORTING: _Shape = {"id": _plain, "unknown": _plain, "identity": _clean}
_CHANGE: _Shape = {"actions": _word, "replace_paths": _path, "importing": _IMPORTING}
_CHECK_ADDRESS: _Shape = {
    **dict.fromkeys(("to_display", "module", "name", "type"), _scrub_address),
    **dict.fromkeys(("kind", "mode"), _plain),
    "instance_key": _plain,
}
_CHECK: _Shape = {
    "address": _CHECK_ADDRESS,
    "status": _word,
    "instances": {"address": _CHECK_ADDRESS, "status": _word, "problems": {"message": _plain}},
}
_RELEVANT: _Shape = {"resource": _scrub_address, "attribute": _path}

_EVENT: _Shape = dict.fromkeys(("@level", "@message", "@module", "@timestamp", "type"), _plain)
_RESOURCE: _Shape = {
    **dict.fromkeys(("addr", "module", "resource", "resource_type", "resource_name"), _scrub_address),
    **dict.fromkeys(("implied_provider", "resource_key"), _plain),
}
_PLANNED: _Shape = {
    "change": {
        "resource": _RESOURCE,
        "previous_resource": _RESOURCE,
        "action": _plain,
        "reason": _plain,
        "importing": _IMPORTING,
    }
}
_HOOK: _Shape = {
    "hook": {
        "resource": _RESOURCE,
        **dict.fromkeys(("action", "id_key", "id_value", "elapsed_seconds", "provisioner", "output"), _plain),
    }
}
_RANGE: _Shape = {
    "filename": _plain,
    **dict.fromkeys(("start", "end"), dict.fromkeys(("line", "column", "byte"), _plain)),
}
_DIAGNOSTIC: _Shape = {
    **dict.fromkeys(("severity", "summary", "detail"), _plain),
    "address": _scrub_address,
    "range": _RANGE,
}
_OUTPUT: _Shape = {"sensitive": _plain, "action": _plain}
_COUNTS = ("add", "change", "import", "remove", "forget", "action_invocation", "operation")
_EVENTS: Mapping[str, _Shape] = {
    "version": dict.fromkeys(("terraform", "tofu", "ui"), _plain),
    "planned_change": _PLANNED,
    "resource_drift": _PLANNED,
    "change_summary": {"changes": dict.fromkeys(_COUNTS, _plain)},
    "diagnostic": {"diagnostic": _DIAGNOSTIC},
    "outputs": {},
    **{
        f"{hook}_{step}": _HOOK
        for hook in ("apply", "provision", "refresh")
        for step in ("start", "progress", "complete", "errored")
    },
}


# --- small things ---


def _mask(mask: object) -> object:
    """A mask whose leaves are booleans only."""
    match mask:
        case dict():
            return {key: _mask(child) for key, child in mask.items()}
        case list():
            return [_mask(child) for child in mask]
        case _:
            return bool(mask)


def _union(one: object, other: object) -> object:
    """What either mask marks. Masks of different shapes mark everything as soon as they mark anything."""
    match one, other:
        case dict(), dict():
            return {key: _union(one.get(key), other.get(key)) for key in {**one, **other}}
        case list(), list():
            return [_union(left, right) for left, right in zip_longest(one, other)]
        case _ if not any_true(one):
            return _mask(other)
        case _ if not any_true(other):
            return _mask(one)
        case _:
            return True


def _object(value: object) -> Json:
    return value if isinstance(value, dict) else {}


def _objects(value: object) -> list[Json]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
