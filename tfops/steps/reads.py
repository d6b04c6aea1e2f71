"""Which stacks a stack reads: named by `after`, or found in its code as remote state. Their states are its inputs."""

from collections.abc import Mapping
from dataclasses import replace

from tfops.inputs import remote_states_of
from tfops.modules import RemoteState
from tfops.stacks import StateAddress, in_order
from tfops.steps.state import local
from tfops.steps.surveyed import Surveyed


def with_reads(found: Mapping[str, Surveyed]) -> dict[str, Surveyed]:
    """The same stacks, each knowing what it reads and behind what it waits for; raises ConfigError on a cycle."""
    owners = {_state_path(item) or str(item.address): name for name, item in found.items()}
    linked = {}
    for name, item in found.items():
        resolved, unresolved = _read_stacks(item, owners)
        # What cannot be resolved may read any of the stacks it waits for.
        may_read = set(item.stack.after) if unresolved else set()
        reads = (set(item.stack.reads) | resolved | may_read) - {name}
        after = tuple(sorted(set(item.stack.after) | reads))
        linked[name] = replace(item, stack=replace(item.stack, after=after, reads=tuple(sorted(reads))))
    ordered = in_order([item.stack for item in linked.values()])
    return {stack.id: linked[stack.id] for stack in ordered}


def _read_stacks(item: Surveyed, owners: Mapping[str, str]) -> tuple[set[str], bool]:
    resolved, unresolved = set(), False
    for read in remote_states_of(item.inputs, item.stack.root):
        owner = owners.get(_read_path(read) or "")
        if owner is not None:
            resolved.add(owner)
        unresolved = unresolved or read.dynamic or (owner is None and read.backend == "local")
    return resolved, unresolved


def _state_path(item: Surveyed) -> str | None:
    if item.local_state is None:
        return None
    return str(item.local_state.file(item.stack.workspace))


def _read_path(read: RemoteState) -> str | None:
    config = tuple((name, str(value)) for name, value in read.config)
    if read.backend != "local" or read.dynamic or "path" not in dict(config):
        return None
    state = local(StateAddress(kind="local", text="", workspace="", settings=config))
    return str(state.file(read.workspace or "default"))
