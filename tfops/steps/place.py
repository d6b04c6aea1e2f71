"""Where a store lies: what a kind of store must be able to do. A further kind is one file, and one line here."""

from collections.abc import Collection
from contextlib import AbstractContextManager
from typing import Protocol

from tfops.adapters.objects import Objects
from tfops.config import Config
from tfops.config_store import LocalStore
from tfops.steps.caller import Caller
from tfops.steps.hold import Hold, LockView, Wanted
from tfops.steps.state import StateFile


class Place(Protocol):
    """One place for a store."""

    @property
    def where(self) -> str:
        """The place, as messages name it."""
        ...

    @property
    def objects(self) -> Objects:
        """The objects there."""
        ...

    def hold(self, wanted: Wanted) -> AbstractContextManager[Hold]:
        """Hold a stack; raises LockedError `lock.held` naming who does."""
        ...

    def is_left_behind(self, stack: str) -> bool:
        """Whether a run that is gone left something open: then the stack is not passed over as converged."""
        ...

    def wait_for_applies(self, wanted: Wanted) -> None:
        """Return when nobody applies the stack; raises LockedError `lock.held`."""
        ...

    def locks(self, stacks: Collection[str]) -> list[LockView]:
        """Who holds which of the stacks."""
        ...

    def release(self, stack: str) -> LockView:
        """Free a stack on a person's word that its holder is dead; raises UsageError where that cannot be."""
        ...

    def managed_state(self, name: str, workspace: str) -> StateFile:
        """The state tfops keeps for a stack, by the stack's first name."""
        ...

    def disk_places(self) -> list[str]:
        """Directories whose disk must not be full."""
        ...


def place_of(config: Config, caller: Caller) -> Place:
    """The place tfops.hcl names."""
    if isinstance(config.store, LocalStore):
        from tfops.steps.local_place import local_place

        return local_place(config.store, caller)
    from tfops.steps.s3_place import s3_place

    return s3_place(config.store, caller)
