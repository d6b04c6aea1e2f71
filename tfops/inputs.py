"""Everything that a plan of one root module may read: the files tfops gives to Terraform, and no others.

Terraform sees exactly `Inputs.entries`, so that what is not in the fingerprint cannot change a plan. Where
the code leaves open what it reads, the inputs are a superset, and `unknowns` says so in sentences.
"""

import hashlib
import posixpath
import re
from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from tfops import modules
from tfops.errors import ConfigError, Problem
from tfops.modules import Backend, Facts, ModuleCall, Product, RemoteState
from tfops.tree import Entry, Mode, Tree, resolve

LOCK_FILE = ".terraform.lock.hcl"
FactsOf: TypeAlias = Callable[[str, Entry], Facts]

# As Linux does: a longer chain of links is taken for a loop.
_MOST_LINKS = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """The closure of one root module. All paths are of the tree, and all mappings are in a fixed order."""

    root: str
    entries: Mapping[str, Entry]
    facts: Mapping[str, Facts]
    """Of every file that Terraform loads: the root's first, each directory in the order of effect."""
    module_directories: tuple[str, ...]
    """The real directories of local modules, without the root."""
    symlinks: Mapping[str, str]
    """Each link among the entries, and the path that it stands for (which need not exist)."""
    unknowns: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """A tree's paths, sorted once for the closures of many roots."""

    tree: Tree
    paths: Sequence[str]
    names: Mapping[str, Sequence[str]]
    """The files directly in each directory."""

    @classmethod
    def of(cls, tree: Tree) -> "Listing":
        """The listing of a tree."""
        paths = sorted(tree.entries)
        names: dict[str, list[str]] = {}
        for path in paths:
            directory, _, name = path.rpartition("/")
            names.setdefault(directory, []).append(name)
        return cls(tree=tree, paths=paths, names=names)

    def starting(self, prefix: str) -> Sequence[str]:
        """The paths that begin with `prefix`."""
        first = bisect_left(self.paths, prefix)
        # No path holds a character behind the last one of Unicode.
        return self.paths[first : bisect_left(self.paths, prefix + chr(0x10FFFF), lo=first)]

    def below(self, directory: str) -> Sequence[str]:
        """The files inside a directory at any depth."""
        return self.starting(f"{directory}/") if directory else self.paths

    def holds(self, directory: str) -> bool:
        """Whether there is such a directory."""
        first = bisect_left(self.paths, f"{directory}/")
        return not directory or any(path.startswith(f"{directory}/") for path in self.paths[first : first + 1])


def closure(
    tree: Tree,
    root: str,
    *,
    extra: Iterable[str] = (),
    watch: Iterable[str] = (),
    nested_roots: Iterable[str] = (),
    product: Product = "terraform",
    facts_of: FactsOf | None = None,
    listing: Listing | None = None,
) -> Inputs:
    """The inputs of the root module in the directory `root`.

    `extra` are files that the configuration names, `watch` are globs over all paths. The subtrees of
    `nested_roots` are left out unless a module call or a path leads there. `facts_of` may remember what it
    scanned (by blob id); a `listing` of the same tree saves time over many roots.

    Raises ConfigError with every unreadable file (`modules.unreadable`) and every symbolic link among the
    inputs that leads out of the repository (`git.symlink_escapes`).
    """
    gathering = _Gathering(
        listing=listing or Listing.of(tree),
        facts_of=facts_of or (lambda path, _: modules.scan(tree.read(path), path)),
        product=product,
        root=root,
    )
    gathering.take_root(list(nested_roots))
    for path in extra:
        gathering.take_extra(path)
    for glob in watch:
        gathering.take_matching(_pattern(glob))
    return gathering.inputs()


def init_key(inputs: Inputs, root: str) -> str:
    """Changes whenever `terraform init` must run again: lock file, modules, backend or providers changed."""
    lock_path = posixpath.join(root, LOCK_FILE)
    lock = inputs.entries.get(inputs.symlinks.get(lock_path, lock_path))
    lines = [lock.blob if lock else "no lock file"]
    lines += sorted(f"{path}\0{facts.providers_key}" for path, facts in inputs.facts.items())
    if any(call.source is None for facts in inputs.facts.values() for call in facts.modules):
        # Nobody knows which of the files are modules then: any may bring a provider.
        loadable = (path for path in inputs.entries if modules.active_files([posixpath.basename(path)], "tofu"))
        lines += [f"{path}\0{inputs.entries[path].blob}" for path in loadable]
    return hashlib.sha256("\n".join(lines).encode("utf-8", "surrogateescape")).hexdigest()


def backend_of(inputs: Inputs, root: str) -> Backend | None:
    """The backend that the root module's code names; an override file's wins."""
    named = (facts.backend for path, facts in inputs.facts.items() if posixpath.dirname(path) == root)
    return next((backend for backend in reversed(list(named)) if backend), None)


def remote_states_of(inputs: Inputs, root: str) -> tuple[RemoteState, ...]:
    """The states that the root module and its local modules read; the root's first."""
    return tuple(state for facts in _root_first(inputs, root) for state in facts.remote_states)


def required_versions_of(inputs: Inputs, root: str) -> tuple[str, ...]:
    """The constraints on Terraform's version, all of which hold; the root's first, each once."""
    found = (version for facts in _root_first(inputs, root) for version in facts.required_version)
    return tuple(dict.fromkeys(found))


def _root_first(inputs: Inputs, root: str) -> list[Facts]:
    ordered = sorted(inputs.facts.items(), key=lambda item: posixpath.dirname(item[0]) != root)
    return [facts for _, facts in ordered]


def _pattern(glob: str) -> re.Pattern[str]:
    """A glob over whole paths: `*` and `?` stay in one directory, `**` goes through any number."""
    pieces = re.split(r"(\*\*/|\*\*|\*|\?)", glob.removeprefix("./"))
    meanings = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    return re.compile("".join(meanings.get(piece, re.escape(piece)) for piece in pieces), re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    """Where a path leads: a real path of the tree, or None where it leaves it; and the links on the way."""

    real: str | None
    links: tuple[str, ...]
    escaping: str | None = None


def real_entry(tree: Tree, path: str) -> Entry | None:
    """The file that a path leads to, through all links; None where it leads to none."""
    real = _follow(tree, path).real
    return tree.entries.get(real) if real is not None else None


def _follow(tree: Tree, path: str) -> _Place:
    """Goes along a path as the kernel does, one name at a time, each link replaced by its target."""
    waiting, here = path.split("/")[::-1], ""
    links: dict[str, int] = {}
    hops = 0
    while waiting:
        name = waiting.pop()
        if name == ".." and not here:
            # A link is at fault while names of its own target are being read: fewer wait before it than now.
            blamed = [link for link, before in links.items() if before <= len(waiting)]
            return _Place(real=None, links=tuple(links), escaping=blamed[-1] if blamed else None)
        if name in {"", ".", ".."}:
            here = posixpath.dirname(here) if name == ".." else here
            continue
        here = posixpath.join(here, name)
        entry = tree.entries.get(here)
        if entry is None or entry.mode is not Mode.SYMLINK:
            continue
        target = _target(tree, here)
        if target.startswith("/"):
            return _Place(real=None, links=(*links, here), escaping=here)
        hops += 1
        if hops > _MOST_LINKS:
            return _Place(real=here, links=(*links, here))
        links[here] = len(waiting)
        waiting += target.split("/")[::-1]
        here = posixpath.dirname(here)
    return _Place(real=here, links=tuple(links))


def _target(tree: Tree, link: str) -> str:
    return tree.read(link).decode("utf-8", "surrogateescape")


def _is_hidden(path: str) -> bool:
    """Whether a path is in `.terraform/`, which tfops keeps for Terraform and no revision may bring along."""
    return "/.terraform/" in f"/{path}/"


@dataclass(slots=True, kw_only=True)
class _Gathering:
    """The closure in the making. Paths come in as written; entries, links and facts come out."""

    listing: Listing
    facts_of: FactsOf
    product: Product
    root: str
    real_root: str = ""
    entries: dict[str, Entry] = field(default_factory=dict)
    facts: dict[str, Facts] = field(default_factory=dict)
    symlinks: dict[str, str] = field(default_factory=dict)
    unknowns: dict[str, None] = field(default_factory=dict)
    problems: dict[Problem, None] = field(default_factory=dict)
    visited: set[str] = field(default_factory=set)
    due: list[str] = field(default_factory=list)
    complete: set[str] = field(default_factory=set)
    links: list[str] = field(default_factory=list)
    followed: set[str] = field(default_factory=set)

    def inputs(self) -> Inputs:
        """What was found; raises ConfigError if anything was wrong with it."""
        if self.problems:
            raise ConfigError.of(self.problems)
        return Inputs(
            root=self.root,
            entries=dict(sorted(self.entries.items())),
            facts=self.facts,
            module_directories=tuple(sorted(self.visited - {self.real_root})),
            symlinks=dict(sorted(self.symlinks.items())),
            unknowns=tuple(self.unknowns),
        )

    def take_root(self, nested_roots: Iterable[str]) -> None:
        """Takes the root's subtree without the nested ones, and all that its modules bring."""
        place = _follow(self.listing.tree, self.root)
        self._record(place.links)
        if place.real is None or not self.listing.holds(place.real):
            self._say(f"the root module {self.root or '.'} is not in this revision")
            return
        self.real_root = place.real
        inside = f"{self.root}/" if self.root else ""
        apart = [posixpath.join(place.real, root[len(inside) :]) for root in nested_roots if root.startswith(inside)]
        left_out = tuple(f"{path}/" for path in apart if path != place.real)
        for path in self.listing.below(place.real):
            if not f"{path}/".startswith(left_out):
                self._add(path)
        self._drain()
        self._visit(place.real, self.root)
        while self.due:
            directory = self.due.pop()
            self._visit(directory, directory)

    def take_extra(self, path: str) -> None:
        """Takes a file that the configuration names."""
        found = resolve("", path)
        real = self._take(found) if found is not None else None
        if real is None or not self._exists(real):
            self._say(f"{path} is not in this revision")

    def take_matching(self, pattern: re.Pattern[str]) -> None:
        """Takes every file of the tree whose path matches."""
        for path in self.listing.paths:
            if pattern.fullmatch(path):
                self._take(path)

    def _take(self, path: str) -> str | None:
        """Takes what a path names, and all links on the way. Its real path; None outside the repository."""
        real = self._reach(path)
        self._drain()
        return real

    def _drain(self) -> None:
        while self.links:
            self._reach(self.links.pop())

    def _reach(self, path: str) -> str | None:
        place = _follow(self.listing.tree, path)
        self._record(place.links)
        if place.real is not None:
            self._include(place.real)
        return place.real

    def _include(self, real: str) -> None:
        """Takes a file, a whole directory, or the submodule that holds the path."""
        if real in self.complete:
            return
        self.complete.add(real)
        above = real
        while above and above not in self.listing.tree.entries:
            above = posixpath.dirname(above)
        for path in [above] if above else self.listing.below(real):
            self._add(path)

    def _add(self, path: str) -> None:
        entry = self.listing.tree.entries[path]
        if _is_hidden(path):
            return
        if entry.mode is not Mode.SYMLINK:
            self.entries[path] = entry
        elif path not in self.followed:
            self.followed.add(path)
            self.links.append(path)

    def _record(self, links: Iterable[str]) -> None:
        """Takes links themselves, and notes what they stand for."""
        tree = self.listing.tree
        for link in links:
            if link in self.symlinks or _is_hidden(link):
                continue
            self.entries[link] = tree.entries[link]
            place = _follow(tree, link)
            self.symlinks[link] = place.real or ""
            if place.escaping:
                self._refuse(place.escaping)

    def _refuse(self, link: str) -> None:
        target = _target(self.listing.tree, link)
        problem = Problem(
            code="git.symlink_escapes",
            message=f"{link} is a symbolic link to {target}, which is outside the repository.",
            hint="Put what the link points to into the repository, or remove the link.",
        )
        self.problems[problem] = None

    def _exists(self, real: str) -> bool:
        return real in self.listing.tree.entries or self.listing.holds(real)

    def _say(self, sentence: str) -> None:
        self.unknowns[f"{sentence}."] = None

    def _visit(self, directory: str, shown: str) -> None:
        """Reads the Terraform files of a directory, once for each real directory."""
        if directory in self.visited or _is_hidden(directory):
            return
        self.visited.add(directory)
        for name in modules.active_files(self.listing.names.get(directory, ()), self.product):
            path = posixpath.join(shown, name)
            facts = self._load(path)
            if facts is None:
                continue
            self.facts[path] = facts
            self._take_references(path, directory, facts)
            for call in facts.modules:
                self._take_module(f'{path}:{call.line}: module "{call.name}"', directory, call)

    def _load(self, path: str) -> Facts | None:
        real = _follow(self.listing.tree, path).real
        entry = self.listing.tree.entries.get(real) if real is not None else None
        if real is None or entry is None or entry.mode not in {Mode.FILE, Mode.EXECUTABLE}:
            self._say(f"{path} is a symbolic link that leads to no file")
            return None
        try:
            return self.facts_of(real, entry)
        except ConfigError as error:
            self.problems.update(dict.fromkeys(error.problems))
            return None

    def _take_references(self, path: str, directory: str, facts: Facts) -> None:
        for reference in facts.paths:
            bases = {"root": [self.real_root], "module": [directory], "any": [self.real_root, directory]}
            reached = [self._targets(base, reference.prefix) for base in bases[reference.base]]
            if not any(reached):
                self._say(f"{path}: {reference.prefix} is outside the repository and no input")
        if facts.unknown_paths:
            places = " and ".join(dict.fromkeys(place or "." for place in (self.root, directory)))
            self._say(
                f"{path}: a function reads a file whose path is an expression; "
                f"what is not below {places} needs a `watch` to be an input"
            )

    def _targets(self, directory: str, reference: str) -> list[str]:
        """Takes what a reference means from a directory; the real paths inside the repository."""
        if reference.startswith(("/", "~")):
            return []
        # Functions shorten a path before they follow its links, programs follow them first.
        readings = {posixpath.join(directory, reference): None, resolve(directory, reference): None}
        reached = [self._take(path) for path in readings if path is not None]
        return [real for real in dict.fromkeys(reached) if real is not None]

    def _take_module(self, where: str, directory: str, call: ModuleCall) -> None:
        if call.source is None:
            self._take_any_module(where, directory, call.source_prefix.replace("\\", "/"))
            return
        if not modules.is_local(call.source):
            return
        reached = self._targets(directory, call.source)
        found = [real for real in reached if self.listing.holds(real)]
        self.due += found
        if not reached:
            self._say(f"{where} calls {call.source}, which is outside the repository and no input")
        elif not found:
            self._say(f"{where} calls {call.source}, which is not in this revision")

    def _take_any_module(self, where: str, directory: str, prefix: str) -> None:
        """Takes every directory that a computed source may name."""
        if not prefix.strip("."):
            self._take("")
            self._say(f"{where} has an expression for its source: the whole repository is an input")
        elif modules.is_local(prefix):
            self._say(f"{where} has an expression for its source: all that begins with {prefix} is an input")
            for place in _beginnings(self.listing.tree, directory, prefix):
                self._take_modules_at(place)

    def _take_modules_at(self, beginning: str) -> None:
        reached = {self._take(path) for path in self.listing.starting(beginning)}
        directories = {name for name in self.listing.names if name.startswith(beginning)}
        directories |= {real for real in reached if real is not None and self.listing.holds(real)}
        self.due += sorted(directories)


def _beginnings(tree: Tree, directory: str, prefix: str) -> list[str]:
    """How the real paths begin that `prefix`, seen from a directory, may continue to."""
    known, _, last = prefix.rpartition("/")
    readings = {posixpath.join(directory, known), resolve(directory, known)}
    reals = {_follow(tree, path).real for path in readings if path is not None}
    return sorted(posixpath.join(real, last) for real in reals if real is not None)
