"""Values that must not be seen: every form they may take, and how anything else is shown without them."""

import base64
import html
import json
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, quote_plus

PLACEHOLDER = "(sensitive)"
CHANGED = "(sensitive, changed)"
SCHEMA_NAME = re.compile(r"[a-z_][a-z0-9_]*")

_SHORTEST = 4  # characters; anything shorter stands in half of all strings and is masked by position only
_TOO_COMMON = frozenset({"true", "false", "null"})
_INSTANCE_KEY = re.compile(r'\["(?:[^"\\]|\\.)*"\]')
_CODE_NAMES = re.compile(r"[\w.\-]*(?:\[\d*\][\w.\-]*)*")

Json = dict[str, Any]
# A shape is an allow-list: field → how to show it, or the shape of the object (or list of objects) there.
Shape = Mapping[str, Any]


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


def clean(value: object, secrets: Secrets) -> Any:
    """Any value, unmasked, with every secret in it scrubbed."""
    match value:
        case str():
            return secrets.scrub(value)
        case bool() | None:
            return value
        case int() | float():
            return PLACEHOLDER if secrets.holds_number(value) else value
        case dict():
            return {name: clean(value[key], secrets) for key, name in shown_names(value, secrets, False)}
        case list():
            return [clean(child, secrets) for child in value]
        case _:
            return None


def shown_names(value: Json, secrets: Secrets, top: bool) -> list[tuple[str, str]]:
    """Each key with the name to show. Attribute names (`top`) come from a schema, map keys from data."""
    names: dict[str, str] = {}
    for key in value:
        name = key if top and SCHEMA_NAME.fullmatch(key) else secrets.scrub(key)
        candidate, count = name, 1
        while candidate in names:
            count += 1
            candidate = f"{name} #{count}"
        names[candidate] = key
    return [(key, name) for name, key in names.items()]


def scrub_address(address: object, secrets: Secrets) -> Any:
    """An address with its instance keys scrubbed: types and names are code, which Git shows anyway."""
    if not isinstance(address, str):
        return clean(address, secrets)
    names = _INSTANCE_KEY.sub("", address)
    if not _CODE_NAMES.fullmatch(names):
        return secrets.scrub(address)
    return _INSTANCE_KEY.sub(lambda key: secrets.scrub(key.group()), address)


def plain(value: object, secrets: Secrets) -> Any:
    """A single value, cleaned; objects and lists are left out."""
    return clean(value, secrets) if not isinstance(value, dict | list) else None


def shaped(value: object, shape: Shape, secrets: Secrets) -> Any:
    """What `shape` allows of an object, or of each object in a list."""
    if isinstance(value, list):
        return [shaped(child, shape, secrets) for child in value if isinstance(child, dict)]
    kept: Json = {}
    for key, show in shape.items():
        if key in object_of(value):
            child = object_of(value)[key]
            if child is not None:  # Go's null is the same as absent
                kept[key] = shaped(child, show, secrets) if isinstance(show, Mapping) else show(child, secrets)
    return kept


def object_of(value: object) -> Json:
    """`value` if it is an object, else one without members."""
    return value if isinstance(value, dict) else {}


IMPORTING: Shape = {"id": plain, "unknown": plain, "identity": clean}


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
