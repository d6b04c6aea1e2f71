"""What people may see of Terraform's machine-readable output: known fields of each kind of event, scrubbed."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tfops.concealment import IMPORTING, Json, Secrets, Shape, clean, object_of, plain, scrub_address, shaped

_EVENT: Shape = dict.fromkeys(("@level", "@message", "@module", "@timestamp", "type"), plain)
_RESOURCE: Shape = {
    **dict.fromkeys(("addr", "module", "resource", "resource_type", "resource_name"), scrub_address),
    **dict.fromkeys(("implied_provider", "resource_key"), plain),
}
_PLANNED: Shape = {
    "change": {
        "resource": _RESOURCE,
        "previous_resource": _RESOURCE,
        "action": plain,
        "reason": plain,
        "importing": IMPORTING,
    }
}
_HOOK: Shape = {
    "hook": {
        "resource": _RESOURCE,
        **dict.fromkeys(("action", "id_key", "id_value", "elapsed_seconds", "provisioner", "output"), plain),
    }
}
_RANGE: Shape = {
    "filename": plain,
    **dict.fromkeys(("start", "end"), dict.fromkeys(("line", "column", "byte"), plain)),
}
_DIAGNOSTIC: Shape = {
    **dict.fromkeys(("severity", "summary", "detail"), plain),
    "address": scrub_address,
    "range": _RANGE,
}
_OUTPUT: Shape = {"sensitive": plain, "action": plain}
_COUNTS = ("add", "change", "import", "remove", "forget", "action_invocation", "operation")
_EVENTS: Mapping[str, Shape] = {
    "version": dict.fromkeys(("terraform", "tofu", "ui"), plain),
    "planned_change": _PLANNED,
    "resource_drift": _PLANNED,
    "change_summary": {"changes": dict.fromkeys(_COUNTS, plain)},
    "diagnostic": {"diagnostic": _DIAGNOSTIC},
    "outputs": {},
    **{
        f"{hook}_{step}": _HOOK
        for hook in ("apply", "provision", "refresh")
        for step in ("start", "progress", "complete", "errored")
    },
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnostic:
    """An error or a warning of Terraform, scrubbed."""

    severity: str
    summary: str
    detail: str = ""
    address: str | None = None
    file: str | None = None
    line: int | None = None


def redact_event(event: Mapping[str, Any], secrets: Secrets) -> Json:
    """One line of `plan -json` or `apply -json`: known fields only, scrubbed; values of outputs never."""
    kind = event.get("type")
    shape = _EVENTS.get(kind) if isinstance(kind, str) else None
    if shape is None:
        return {key: clean(event[key], secrets) for key in ("@level", "@timestamp", "type") if key in event}
    kept: Json = shaped(event, {**_EVENT, **shape}, secrets)
    if kind == "diagnostic" and isinstance(kept.get("diagnostic"), dict) and _quotes_output(kept["diagnostic"]):
        kept["diagnostic"]["detail"] = _status_only(kept["diagnostic"])
    if kind == "outputs":
        outputs = object_of(event.get("outputs"))
        kept["outputs"] = {name: shaped(output, _OUTPUT, secrets) for name, output in outputs.items()}
    return {**kept, "type": kind}


# A failed provisioner's error quotes its command and output, with secrets that were made during this very apply.
_QUOTED = "its command and output are not shown, for they may hold secrets"


def _quotes_output(diagnostic: Mapping[str, Any]) -> bool:
    return "provisioner error" in str(diagnostic.get("summary") or "").lower()


def _status_only(diagnostic: Mapping[str, Any]) -> str:
    status = re.search(r"exit status \d+", str(diagnostic.get("detail") or ""))
    return f"{status.group()}; {_QUOTED}" if status else _QUOTED


def redact_diagnostic(event: Mapping[str, Any], secrets: Secrets) -> Diagnostic:
    """The diagnostic in an event of type "diagnostic". Never its source snippet, which may quote values."""
    found = object_of(event.get("diagnostic"))
    place = object_of(found.get("range"))
    line = object_of(place.get("start")).get("line")
    address, file = found.get("address"), place.get("filename")
    return Diagnostic(
        severity=str(found.get("severity") or event.get("@level") or "error"),
        summary=secrets.scrub(str(found.get("summary") or event.get("@message") or "")),
        detail=_status_only(found) if _quotes_output(found) else secrets.scrub(str(found.get("detail") or "")),
        address=scrub_address(address, secrets) if isinstance(address, str) else None,
        file=secrets.scrub(file) if isinstance(file, str) else None,
        line=line if isinstance(line, int) else None,
    )
