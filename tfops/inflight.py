"""What an apply may have made without its state knowing: all that matters after Terraform itself was killed.

Terraform writes its state late (reference/terraform.md C2), so the journal is then the only record.
"""

import json
import re
from collections.abc import Collection, Iterable, Mapping

from tfops.deployment import ResourceResult
from tfops.hcl import quoted

# Kinds of resources that have nothing outside the state: made anew, nothing is there twice.
ONLY_IN_STATE = frozenset({"terraform_data"})
CREATE, DELETE = "create", "delete"


def missing_creations(
    resources: Iterable[ResourceResult], state: Mapping[str, Collection[str]]
) -> tuple[ResourceResult, ...]:
    """The creations that were begun and that the state (address → ids) does not have, each once."""
    begun = tuple(resources)
    replaced = {result.address for result in begun if result.action == DELETE}
    found = {result.address: result for result in begun if _may_be_missing(result, state, replaced)}
    return tuple(found.values())


def still_missing(
    missing: Iterable[ResourceResult], state: Mapping[str, Collection[str]], *, unchanged: bool
) -> tuple[ResourceResult, ...]:
    """Those of the missing creations that the state has not got by now. `unchanged`: nobody wrote it since."""
    return tuple(result for result in missing if _is_missing(result, state, unchanged))


def _is_missing(result: ResourceResult, state: Mapping[str, Collection[str]], unchanged: bool) -> bool:
    known = state.get(result.address)
    if known is None:
        return True
    return unchanged if result.id is None else result.id not in known


def instances(state: bytes) -> dict[str, set[str]]:
    """Every resource instance of a state: address → ids (several where one is to be destroyed yet)."""
    if not state.strip():
        return {}
    found: dict[str, set[str]] = {}
    for resource in json.loads(state).get("resources") or []:
        if resource.get("mode", "managed") != "managed":
            continue
        module = f"{resource['module']}." if resource.get("module") else ""
        for instance in resource.get("instances") or []:
            address = f"{module}{resource['type']}.{resource['name']}{_index(instance)}"
            found.setdefault(address, set()).add(str((instance.get("attributes") or {}).get("id")))
    return found


def import_block(missing: ResourceResult) -> str | None:
    """The block that brings an object with a known id into the state; None where its id is not known."""
    if missing.id is None:
        return None
    return f"import {{\n  to = {missing.address}\n  id = {quoted(missing.id)}\n}}"


def lives_only_in_state(address: str) -> bool:
    """Whether a resource has nothing outside the state."""
    return _type(address) in ONLY_IN_STATE


def _may_be_missing(result: ResourceResult, state: Mapping[str, Collection[str]], replaced: Collection[str]) -> bool:
    if result.action != CREATE or lives_only_in_state(result.address):
        return False
    known = state.get(result.address)
    if known is None:
        return True
    # Without an id what the state has may be the new object, unless it is known to be the old one.
    return result.address in replaced if result.id is None else result.id not in known


def _index(instance: Mapping[str, object]) -> str:
    if "index_key" not in instance:
        return ""
    key = instance["index_key"]
    return f"[{quoted(key)}]" if isinstance(key, str) else f"[{key}]"


def _type(address: str) -> str:
    """`aws_instance` of `module.a["x.y"].aws_instance.b[0]`."""
    parts = re.sub(r"\[(?:\"(?:[^\"\\]|\\.)*\"|[0-9]+)\]", "", address).split(".")
    return parts[-2] if len(parts) > 1 else ""
