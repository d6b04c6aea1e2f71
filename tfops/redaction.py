"""What people may see of a plan: an allow-list of fields, masks on both sides, then a scrub of every string.

What is hidden, what is not and why is written down in docs/redaction.md.
"""

from collections.abc import Iterator, Mapping
from itertools import zip_longest
from typing import Any

from tfops.changes import any_true, submask
from tfops.concealment import (
    CHANGED,
    IMPORTING,
    PLACEHOLDER,
    SCHEMA_NAME,
    Json,
    Secrets,
    Shape,
    clean,
    object_of,
    plain,
    scrub_address,
    shaped,
    shown_names,
)

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


def secrets_of(document: Mapping[str, Any]) -> Secrets:
    """Every value that anything in a plan document marks sensitive."""
    return Secrets.of(leaf for value in _marked(document) for leaf in _leaves(value))


def redact(document: Mapping[str, Any], secrets: Secrets | None = None) -> Json:
    """What may be shown of a plan document, still readable by `plan_of`. Redacting twice changes nothing."""
    known = secrets_of(document) if secrets is None else secrets
    redacted = {key: clean(document[key], known) for key in _TOP_SCALARS if key in document}
    for key in ("resource_changes", "resource_drift"):
        if key in document:
            redacted[key] = [_entry(entry, known) for entry in _objects(document[key])]
    if "output_changes" in document:
        hidden = _sensitive_outputs(document)
        redacted["output_changes"] = {
            name: _change(object_of(change), known, whole=name in hidden)
            for name, change in object_of(document["output_changes"]).items()
        }
    for key, shape in (("checks", _CHECK), ("relevant_attributes", _RELEVANT)):
        if key in document:
            redacted[key] = shaped(document[key], shape, known)
    return redacted


# --- which values are secret ---


def _marked(document: Mapping[str, Any]) -> Iterator[object]:
    deferred = [object_of(entry.get("resource_change")) for entry in _objects(document.get("deferred_changes"))]
    entries = [
        *_objects(document.get("resource_changes")),
        *_objects(document.get("resource_drift")),
        *deferred,
    ]
    for change in [object_of(entry.get("change")) for entry in entries]:
        mask = _union(change.get("before_sensitive"), change.get("after_sensitive"))
        yield from _under(change.get("before"), mask)
        yield from _under(change.get("after"), mask)
    yield from _marked_outputs(document)
    for state in _states(document):
        yield from _marked_state(object_of(state.get("root_module")))
    configuration = object_of(object_of(document.get("configuration")).get("root_module"))
    yield from _marked_variables(configuration, object_of(document.get("variables")))


def _marked_outputs(document: Mapping[str, Any]) -> Iterator[object]:
    hidden = _sensitive_outputs(document)
    for name, change in object_of(document.get("output_changes")).items():
        mask = name in hidden or _union(
            object_of(change).get("before_sensitive"), object_of(change).get("after_sensitive")
        )
        yield from _under(object_of(change).get("before"), mask)
        yield from _under(object_of(change).get("after"), mask)
    for state in _states(document):
        for name, output in object_of(state.get("outputs")).items():
            yield from _under(object_of(output).get("value"), name in hidden)


def _sensitive_outputs(document: Mapping[str, Any]) -> set[str]:
    # Formats before 1.0 have no masks in output_changes: only states and configuration tell.
    configuration = object_of(object_of(document.get("configuration")).get("root_module"))
    holders = [object_of(state.get("outputs")) for state in _states(document)]
    holders.append(object_of(configuration.get("outputs")))
    return {name for holder in holders for name, output in holder.items() if object_of(output).get("sensitive")}


def _states(document: Mapping[str, Any]) -> list[Json]:
    prior = object_of(document.get("prior_state")).get("values")
    return [object_of(document.get("planned_values")), object_of(prior)]


def _marked_state(module: Json) -> Iterator[object]:
    for resource in _objects(module.get("resources")):
        yield from _under(resource.get("values"), _mask(resource.get("sensitive_values")))
    for child in _objects(module.get("child_modules")):
        yield from _marked_state(child)


def _marked_variables(module: Json, given: Json) -> Iterator[object]:
    """Values and defaults of the sensitive variables of a configured module and of the modules it calls."""
    for name, variable in object_of(module.get("variables")).items():
        if object_of(variable).get("sensitive"):
            yield object_of(variable).get("default")
            yield object_of(given.get(name)).get("value")
    for call in object_of(module.get("module_calls")).values():
        arguments = {
            name: {"value": object_of(argument).get("constant_value")}
            for name, argument in object_of(object_of(call).get("expressions")).items()
        }
        yield from _marked_variables(object_of(object_of(call).get("module")), arguments)


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


# --- what is kept ---


def _entry(entry: Json, secrets: Secrets) -> Json:
    kept: Json = shaped(entry, _ENTRY, secrets)
    return {**kept, "change": _change(object_of(entry.get("change")), secrets)}


def _change(change: Json, secrets: Secrets, *, whole: bool = False) -> Json:
    """A `change` with everything that either side marks hidden on both; `whole` hides all of it."""
    mask = whole or _union(change.get("before_sensitive"), change.get("after_sensitive"))
    kept: Json = shaped(change, _CHANGE, secrets)
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
        other = object_of(twin)
        return {
            name: _hidden(value[key], submask(mask, key), secrets, twin=other.get(key))
            for key, name in shown_names(value, secrets, top)
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
    shown = clean(value, secrets)
    if twin is None or (type(twin), twin) == (type(value), value) or shown != clean(twin, secrets):
        return shown
    if shown == PLACEHOLDER:
        return CHANGED
    return f"{shown} (changed)" if isinstance(value, str) else shown


def _flags(tree: object, mask: object, secrets: Secrets, *, top: bool = False) -> object:
    """A mask that can be shown: below a marked place its keys would name what is hidden."""
    if mask is True:
        return any_true(tree)
    if isinstance(tree, dict):
        return {name: _flags(tree[key], submask(mask, key), secrets) for key, name in shown_names(tree, secrets, top)}
    if isinstance(tree, list):
        return [_flags(child, submask(mask, index), secrets) for index, child in enumerate(tree)]
    return bool(tree)


def _word(value: object, secrets: Secrets) -> Any:
    if isinstance(value, list):
        return [_word(child, secrets) for child in value]
    return value if isinstance(value, str) and value in _WORDS else clean(value, secrets)


def _path(value: object, secrets: Secrets) -> Any:
    """A list of attribute paths, or one: the first step is a schema name, later ones may be map keys."""
    if not isinstance(value, list) or (value and isinstance(value[0], list)):
        return [_path(child, secrets) for child in value] if isinstance(value, list) else clean(value, secrets)
    return [
        step if at == 0 and isinstance(step, str) and SCHEMA_NAME.fullmatch(step) else clean(step, secrets)
        for at, step in enumerate(value)
    ]


_TOP_SCALARS = ("format_version", "terraform_version", "timestamp", "applyable", "complete", "errored")
_ENTRY: Shape = {
    **dict.fromkeys(("address", "previous_address", "module_address", "type", "name"), scrub_address),
    **dict.fromkeys(("mode", "action_reason"), _word),
    **dict.fromkeys(("index", "provider_name", "deposed"), plain),
}
_CHANGE: Shape = {"actions": _word, "replace_paths": _path, "importing": IMPORTING}
_CHECK_ADDRESS: Shape = {
    **dict.fromkeys(("to_display", "module", "name", "type"), scrub_address),
    **dict.fromkeys(("kind", "mode"), plain),
    "instance_key": plain,
}
_CHECK: Shape = {
    "address": _CHECK_ADDRESS,
    "status": _word,
    "instances": {"address": _CHECK_ADDRESS, "status": _word, "problems": {"message": plain}},
}
_RELEVANT: Shape = {"resource": scrub_address, "attribute": _path}


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


def _objects(value: object) -> list[Json]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
