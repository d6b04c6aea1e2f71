"""The context file of `tfops explain`: what a plan cannot know by itself, as JSON."""

import msgspec

from tfops.drift import Context
from tfops.errors import UsageError

_HINT = (
    "an object with any of inputs_changed, provider_changed (true, false), serial, last_serial (numbers), lineage, "
    'last_lineage (strings), ignore_changes ({"address": ["attribute" or "all"]})'
)


class _Written(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    inputs_changed: bool | None = None
    provider_changed: bool | None = None
    serial: int | None = None
    last_serial: int | None = None
    lineage: str | None = None
    last_lineage: str | None = None
    ignore_changes: dict[str, tuple[str, ...]] | None = None


def read_context(data: bytes, name: str) -> Context:
    """The context in `data`; raises UsageError `explain.context` for anything else."""
    try:
        written = msgspec.json.decode(data, type=_Written)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise UsageError(f"{name} is no context: {error}", code="explain.context", hint=f"write {_HINT}") from error
    return Context(**{field: getattr(written, field) for field in _Written.__struct_fields__})
