"""Which stacks a stack reads: named by `after`, or found in its code as remote state. Their states are its inputs."""

from collections.abc import Mapping
from dataclasses import replace

from tfops.inputs import remote_states_of
from tfops.modules import RemoteState
from tfops.s3_backend import read_backend
from tfops.stacks import StateAddress, in_order
from tfops.steps.local_state import local
from tfops.steps.surveyed import Surveyed


def with_reads(found: Mapping[str, Surveyed]) -> dict[str, Surveyed]:
    """The same stacks, each knowing what it reads and behind what it waits for; raises ConfigError on a cycle."""
    owners = {_identity(item): name for name, item in found.items()}
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


def reads_state(item: Surveyed, other: Surveyed) -> bool:
    """Whether the code of a stack names the state of the other one as one that it reads."""
    reads = remote_states_of(item.inputs, item.stack.root)
    return _identity(other) in {_read_identity(read) for read in reads}


def _read_stacks(item: Surveyed, owners: Mapping[str, str]) -> tuple[set[str], bool]:
    resolved, unresolved = set(), False
    for read in remote_states_of(item.inputs, item.stack.root):
        owner = owners.get(_read_identity(read) or "")
        if owner is not None:
            resolved.add(owner)
        unresolved = unresolved or read.dynamic or (owner is None and read.backend == "local")
    return resolved, unresolved


def _identity(item: Surveyed) -> str:
    """A file's path or an object's address: what a remote state block says when it means this state."""
    return str(item.address) if item.state is None else item.state.where


def _read_identity(read: RemoteState) -> str | None:
    workspace = read.workspace or "default"
    if read.backend == "s3" and not read.dynamic:
        backend = read_backend(dict(read.config))
        return backend.identity(workspace) if backend else None
    config = tuple((name, str(value)) for name, value in read.config)
    if read.backend != "local" or read.dynamic or "path" not in dict(config):
        return None
    return local(StateAddress(kind="local", text="", workspace=workspace, settings=config)).where
