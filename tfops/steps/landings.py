"""What landed on the branch since a commit, asked of Git and of the forge: each commit once a run (ADR 0014)."""

import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING

from tfops.errors import TfopsError
from tfops.forge import Change, Forge, ForgeError
from tfops.landing import Landed

if TYPE_CHECKING:
    from tfops.adapters.git import Repository

MOST_COMMITS = 250
MOST_WITHOUT_A_HEAD = 50


class Landings:
    """The changes that landed on one revision of a branch. Several stacks may ask at once."""

    def __init__(self, repository: "Repository", forge: Forge, *, branch: str, tip: str) -> None:
        self._repository = repository
        self._forge = forge
        self._branch = branch
        self._tip = tip
        self._known: dict[str, Landed] = {}
        self._lock = threading.Lock()

    @property
    def forge(self) -> str:
        """Which forge was asked."""
        return self._forge.name

    def since(self, base: str | None) -> list[Landed]:
        """Everything after `base`, newest first; without one the newest commits. Says in it what could not be known."""
        with self._lock:
            return list(self._walk(base))

    def _walk(self, base: str | None) -> Iterator[Landed]:
        limit = MOST_COMMITS if base else MOST_WITHOUT_A_HEAD
        commits = self._repository.first_parents(self._tip, base=base, limit=limit)
        place = 0
        while place < len(commits):
            landed = self._known.get(commits[place]) or self._landed(commits[place])
            self._known[commits[place]] = landed
            yield landed
            place = place + 1 if landed.base is None else self._place(landed.base, commits)
        if len(commits) == MOST_COMMITS:
            fault = f"more than {MOST_COMMITS} commits came since the last deployment: what came first is unknown"
            yield Landed(base=None, tip=commits[-1], fault=fault)

    @staticmethod
    def _place(base: str, commits: list[str]) -> int:
        """Where to go on: behind the last commit, where the stretch begins at the deployed one or before it."""
        return commits.index(base) if base in commits else len(commits)

    def _landed(self, tip: str) -> Landed:
        try:
            change = self._forge.landed(tip, self._branch)
            if change is not None:
                return self._as_reviewed(tip, change)
            fault = f"{self._forge.name} knows no merged change that brought it"
        except ForgeError as error:
            fault = f"unknown, so nothing of it counts: {error}"
        return Landed(base=self._repository.parent(tip), tip=tip, fault=fault)

    def _as_reviewed(self, tip: str, change: Change) -> Landed:
        base, fault = self._stretch(tip, change)
        faults = (*((fault,) if fault else ()), *change.faults)
        reviews = () if faults else self._forge.reviews(change)
        return Landed(
            base=base or self._repository.parent(tip),
            tip=tip,
            change=change,
            reviews=reviews,
            fault="; ".join(faults) or None,
        )

    def _stretch(self, tip: str, change: Change) -> tuple[str | None, str | None]:
        """Where what the change brought begins, the furthest commit that its head merges into to just this tree."""
        repository = self._repository
        refs = self._forge.head_refs(change)
        remote = repository.remote(self._branch)
        if not repository.bring(change.head, remote=remote, refs=refs):
            return None, f"its head {change.head[:12]} is not to be had, so nobody can tell what was reviewed"
        parent = repository.parent(tip)
        if parent is None:
            return None, "the history before it is not in this clone: fetch it whole (fetch-depth: 0, GIT_DEPTH: 0)"
        try:
            fitting = [base for base in self._bases(tip, parent, change) if self._makes(base, change.head, tip)]
        except TfopsError as error:
            return None, f"what it brought cannot be compared: {error}"
        if not fitting:
            return None, f"what landed is not what merging {change.head[:12]} makes: somebody added to it"
        return fitting[-1], None

    def _makes(self, base: str, head: str, tip: str) -> bool:
        return self._repository.makes(base, head, self._repository.tree_id(tip))

    def _bases(self, tip: str, parent: str, change: Change) -> Iterator[str]:
        """The commits that the change may have landed on, the nearest first.

        Behind the first one only those that leave out nothing but commits of the change itself: what its head had from
        the branch was not reviewed with it.
        """
        repository = self._repository
        yield parent
        for commit in repository.first_parents(parent, base=None, limit=self._most(change, tip, parent)):
            is_own = commit in change.commits if change.head == tip else not repository.is_ancestor(commit, change.head)
            before = repository.parent(commit)
            if not is_own or before is None:
                return
            yield before

    def _most(self, change: Change, tip: str, parent: str) -> int:
        """How many commits below its last one a change can have brought."""
        own = len(change.commits) if change.head == tip else self._repository.ahead(change.head, parent)
        return max(0, own - 1)
