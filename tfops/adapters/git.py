"""A Git repository: branches, revisions as trees, and private directories filled with a revision's files.

Objects are read with pygit2, which runs no hooks and honours no replace refs. Fetching goes through the `git`
program, which knows the user's SSH configuration and credential helpers.
"""

import contextlib
import hashlib
import os
import posixpath
import re
import shutil
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path

import pygit2

from tfops.adapters.process import Command, capture
from tfops.errors import FailedError, UsageError
from tfops.tree import Entry, Mode, Tree

FETCH_TIMEOUT_SECONDS = 300.0
_FORBIDDEN_NAMES = frozenset({"", ".", "..", ".git"})
_MODES = {
    0o100644: Mode.FILE,
    0o100664: Mode.FILE,
    0o100755: Mode.EXECUTABLE,
    0o120000: Mode.SYMLINK,
    0o160000: Mode.SUBMODULE,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Revision:
    """A commit of a branch."""

    branch: str
    commit: str
    tree: str
    base: str | None = None
    """Where `tree` is what merging `commit` into the branch would make: the branch's commit."""
    change: str = ""
    """The name of what would be merged, where it has one."""

    def __str__(self) -> str:
        if self.base is None:
            return f"{self.branch}@{self.commit[:12]}"
        change = f"{self.change}@{self.commit[:12]}" if self.change else self.commit[:12]
        return f"{change} merged into {self.branch}@{self.base[:12]}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Commit:
    """A commit and the e-mail addresses it names, folded: its author's and its committer's. A claim, not a proof."""

    id: str
    emails: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class PathsAt:
    """What lay at some paths as of a commit, by mode and id; None for nothing. `on` is when its committer claims.

    A commit names whole seconds: it is the end of that one.
    """

    commit: str
    on: datetime
    items: Mapping[str, str | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Headline:
    """What a commit says of itself: the first line of its message, and its author's name."""

    subject: str
    author: str


class GitTree:
    """The files of one revision. Reading is safe from several threads."""

    def __init__(self, repository: "Repository", tree: str) -> None:
        self._repository = repository
        self._tree = tree

    @cached_property
    def entries(self) -> Mapping[str, Entry]:
        """Every file of the revision by path."""
        return self._repository.list_tree(self._tree)

    def read(self, path: str) -> bytes:
        """The bytes of the file at `path`; raises KeyError where there is none."""
        return self._repository.read_blob(self.entries[path].blob)


class Repository:
    """The repository around a directory. Raises UsageError `git.not_a_repository` where there is none."""

    def __init__(self, directory: Path, *, environ: Mapping[str, str]) -> None:
        self._env = git_env(environ)
        self._lock = threading.Lock()
        self._fetching = threading.Lock()
        self._touching: dict[tuple[frozenset[str], str, str | None], list[Commit]] = {}
        self._renamed: dict[tuple[str, str], list[tuple[str, str]]] = {}
        try:
            found = pygit2.discover_repository(str(directory))
            opened = pygit2.Repository(found) if found else None
        except pygit2.GitError as error:
            raise FailedError(
                f"Git refuses the repository at {directory}: {error}",
                code="git.refused",
                hint="see `git status` there; a repository of another user needs git config safe.directory",
            ) from error
        if opened is None:
            raise UsageError(
                f"{directory} is not in a Git repository",
                code="git.not_a_repository",
                hint="change into a clone, or name one: tfops -C DIR …",
            )
        self._repo = opened
        self.directory = Path(opened.workdir or opened.path)

    @property
    def is_bare(self) -> bool:
        """Whether the repository has no working tree."""
        return bool(self._repo.is_bare)

    def current_branch(self) -> str | None:
        """The branch that is checked out; None when HEAD is detached."""
        if self._repo.head_is_detached:
            return None
        target = str(self._repo.lookup_reference("HEAD").target)
        return target.removeprefix("refs/heads/")

    def work_files(self) -> list[str]:
        """The files of the working tree that Git has, or would take: those that are ignored are left out."""
        new = [path for path, flags in self._repo.status().items() if flags & pygit2.enums.FileStatus.WT_NEW]
        paths = {*(entry.path for entry in self._repo.index), *new}
        return sorted(path for path in paths if (self.directory / path).is_file())

    def is_untracked(self, directory: str) -> bool:
        """Whether a directory of the working tree holds files that Git does not have yet."""
        place = "" if directory == "." else f"{directory}/"
        return any(
            path.startswith(place) and flags & pygit2.enums.FileStatus.WT_NEW
            for path, flags in self._repo.status().items()
        )

    def head_commit(self) -> str | None:
        """The commit that is checked out; None where there is none yet."""
        return None if self._repo.head_is_unborn else str(self._repo.head.target)

    def remote(self, branch: str) -> str | None:
        """The remote a branch is taken from: its upstream's, else `origin`, else the only one."""
        names = [str(remote.name) for remote in self._repo.remotes]
        with contextlib.suppress(KeyError, ValueError, pygit2.GitError):
            configured = self._repo.config[f"branch.{branch}.remote"]
            if configured in names:
                return str(configured)
        if "origin" in names:
            return "origin"
        return names[0] if len(names) == 1 else None

    def remote_url(self, branch: str) -> str | None:
        """The address of the remote that a branch is taken from."""
        name = self.remote(branch)
        return None if name is None else str(self._repo.remotes[name].url)

    def origin(self, branch: str) -> str:
        """Where the repository comes from, which no commit can say: its remote's address, else its directory."""
        return _without_credentials(self.remote_url(branch) or str(self.directory))

    def fetch(self, remote: str, branch: str) -> None:
        """Bring the remote's branch up to date here; raises FailedError `git.fetch` with git's own words."""
        spec = f"+refs/heads/{branch}:refs/remotes/{remote}/{branch}"
        code, output = self._run("fetch", "--no-tags", "--quiet", "--end-of-options", remote, spec)
        if code:
            raise self._missing_there(remote, branch) or FailedError(
                f"cannot fetch {branch} from {remote}: {output}",
                code="git.fetch",
                hint="check the branch's name, the network and the credentials: the same `git fetch` must work",
            )

    def _missing_there(self, remote: str, branch: str) -> UsageError | None:
        """Why a branch cannot be fetched from a remote that answers; None where it does not."""
        code, listed = self._run("ls-remote", "--heads", "--", remote)
        heads = [line.partition("refs/heads/")[2] for line in listed.splitlines() if "refs/heads/" in line]
        if code or branch in heads:
            return None
        if not heads:
            return UsageError(
                f"{remote} has no commit yet",
                code="git.unborn",
                hint=f"push something first: git push -u {remote} {branch}",
            )
        return UsageError(
            f"there is no branch {branch!r} at {remote}",
            code="git.no_branch",
            hint="branches there: " + ", ".join(sorted(heads)[:10]),
        )

    def unshallow(self, branch: str) -> None:
        """Fetch the history a shallow clone lacks; raises FailedError `git.fetch`."""
        remote = self.remote(branch) or "origin"
        with self._fetching:
            if not self.is_shallow:
                return  # another thread did it
            code, output = self._run("fetch", "--unshallow", "--no-tags", "--quiet", remote)
            with self._lock:
                self._repo = pygit2.Repository(self._repo.path)  # libgit2 remembers where history ended
        if code:
            raise FailedError(
                f"cannot fetch the history from {remote}: {output}",
                code="git.fetch",
                hint="run `git fetch --unshallow` yourself, or clone with full history (fetch-depth: 0)",
            )

    def resolve(self, branch: str, *, remote: str | None) -> Revision:
        """The tip of a branch as its remote has it, or the local one where there is no remote."""
        name = f"refs/remotes/{remote}/{branch}" if remote else f"refs/heads/{branch}"
        try:
            commit = self._repo.lookup_reference(name).peel(pygit2.Commit)
        except (KeyError, ValueError, pygit2.GitError) as error:
            raise self._no_branch(branch) from error
        return Revision(branch=branch, commit=str(commit.id), tree=str(commit.tree_id))

    def knows(self, remote: str, branch: str) -> bool:
        """Whether this clone has seen the branch at the remote."""
        return f"refs/remotes/{remote}/{branch}" in self._repo.references

    def is_ahead(self, branch: str, revision: Revision) -> bool:
        """Whether the local branch has commits that `revision`, its remote's tip, lacks."""
        try:
            local = str(self._repo.lookup_reference(f"refs/heads/{branch}").peel(pygit2.Commit).id)
        except (KeyError, ValueError, pygit2.GitError):
            return False
        return local != revision.commit and self.is_ancestor(revision.commit, local)

    def revision(self, branch: str, spec: str) -> Revision:
        """Any commit by name or id, taken as a revision of `branch`."""
        try:
            commit = self._repo.revparse_single(spec).peel(pygit2.Commit)
        except (KeyError, ValueError, pygit2.GitError) as error:
            raise UsageError(
                f"there is no commit {spec!r} in {self.directory}",
                code="git.no_revision",
                hint="fetch it first, or name a commit, tag or branch that is there",
            ) from error
        return Revision(branch=branch, commit=str(commit.id), tree=str(commit.tree_id))

    def headline(self, commit: str) -> Headline | None:
        """What a commit says of itself; None where this clone does not have it."""
        with self._lock:
            found = self._commit(commit)
        if found is None:
            return None
        return Headline(subject=(found.message.strip().splitlines() or [""])[0], author=found.author.name)

    def tree(self, revision: Revision) -> GitTree:
        """The files of a revision."""
        return GitTree(self, revision.tree)

    def commits(self, base: str | None, tip: str) -> list["Commit"]:
        """The commits that `tip` has and `base` lacks, newest first; without a base what the last merge brought."""
        with self._lock:
            walker = self._repo.walk(tip, pygit2.enums.SortMode.TOPOLOGICAL)
            parents = self._repo[tip].peel(pygit2.Commit).parent_ids
            for hidden in [base] if base else parents[:1]:
                walker.hide(hidden)
            return [Commit(id=str(one.id), emails=self._emails(one)) for one in walker]

    def touching(self, paths: Iterable[str], *, tip: str, since: str | None) -> list["Commit"]:
        """The commits that `tip` has and `since` lacks and that changed any of these paths, newest first.

        Every side of a merge is followed. Where a shallow clone was cut off, the commit there seems to have brought
        everything. One run of git, whoever asks how often. Raises FailedError `git.history`.
        """
        asked = (frozenset(paths), tip, since)
        if asked not in self._touching:
            found = self._listed("--full-history", paths=asked[0], tip=tip, since=since)
            with self._lock:
                commits = [self._repo[one].peel(pygit2.Commit) for one in found]
                self._touching[asked] = [Commit(id=str(one.id), emails=self._emails(one)) for one in commits]
        return self._touching[asked]

    def former_names(self, paths: Iterable[str], *, tip: str, since: str) -> frozenset[str]:
        """The paths, and those that commits which `tip` has and `since` lacks renamed or copied to any of them.

        Raises FailedError `git.history`.
        """
        sources: dict[str, set[str]] = {}
        for old, new in self._renames(tip, since):
            sources.setdefault(new, set()).add(old)
        found, due = set(paths), list(paths)
        while due:
            further = sources.get(due.pop(), set()) - found
            found |= further
            due += further
        return frozenset(found)

    def _renames(self, tip: str, since: str) -> list[tuple[str, str]]:
        """Each old and new name, in whichever of the commits, as far as the contents are alike."""
        asked = (tip, since)
        if asked not in self._renamed:
            commits = [commit.id for commit in self.commits(since, tip)]
            how = ("-r", "-m", "-M", "-C", "-l0", "--diff-filter=RC", "--name-status", "--no-commit-id", "-z")
            words = os.fsdecode(self._fed("diff-tree", "--stdin", *how, lines=[*commits, ""])).split("\0")[:-1]
            self._renamed[asked] = list(zip(words[1::3], words[2::3], strict=True))
        return self._renamed[asked]

    def along(self, paths: Iterable[str], *, tip: str, since: str | None) -> list[PathsAt]:
        """What these paths were at the commits along first parents that changed any of them, the oldest first.

        Before those of `tip` that `since` lacks stands what they followed: nothing, where history ends. One run of git.
        Raises FailedError `git.history`.
        """
        asked = frozenset(paths)
        found = self._listed("--first-parent", paths=asked, tip=tip, since=since)[::-1]
        if not found:
            return []
        before = self.parent(found[0])
        with self._lock:
            later = [self._paths_at(self._repo[one].peel(pygit2.Commit), asked) for one in found]
            if before is not None:
                return [self._paths_at(self._repo[before].peel(pygit2.Commit), asked), *later]
        return [PathsAt(commit="", on=later[0].on, items=dict.fromkeys(asked)), *later]

    def _paths_at(self, commit: pygit2.Commit, paths: Iterable[str]) -> PathsAt:
        on = datetime.fromtimestamp(commit.commit_time + 1, UTC)
        return PathsAt(commit=str(commit.id), on=on, items={path: _item(commit.tree, path) for path in paths})

    def _listed(self, how: str, *, paths: frozenset[str], tip: str, since: str | None) -> list[str]:
        """The ids of the commits that `tip` has and `since` lacks and that changed any of these paths, newest first."""
        if not paths:
            return []
        lines = [tip, *([f"^{since}"] if since else []), "--", *sorted({_on_one_line(path) for path in paths})]
        return self._fed("rev-list", how, "--topo-order", "--stdin", lines=lines).decode("ascii").split()

    def _fed(self, *arguments: str, lines: Iterable[str]) -> bytes:
        """What git says of history, given these lines. Raises FailedError `git.history`."""
        env = {**self._env, "GIT_LITERAL_PATHSPECS": "1"}
        command = Command(argv=("git", *arguments), env=env, cwd=self.directory)
        said = "\n".join(lines).encode(errors="surrogateescape")
        try:
            code, output, error = capture(command, timeout_seconds=FETCH_TIMEOUT_SECONDS, stdin=said)
        except (OSError, TimeoutError) as reason:
            raise _no_history(str(reason)) from reason
        if code:
            raise _no_history(error.decode(errors="replace").strip())
        return output

    def _emails(self, commit: pygit2.Commit) -> frozenset[str]:
        """Whose work a commit is: nobody's, where it only merges what others wrote."""
        if len(commit.parent_ids) == 2 and self._merges_cleanly(commit):
            return frozenset()
        return frozenset({_email(commit.author), _email(commit.committer)})

    def _merges_cleanly(self, commit: pygit2.Commit) -> bool:
        one, other = commit.parent_ids
        try:
            index = self._repo.merge_commits(one, other)
            return not index.conflicts and index.write_tree(self._repo) == commit.tree_id
        except (KeyError, pygit2.GitError):  # a clone that lacks what merging needs
            return False

    def first_parents(self, tip: str, *, base: str | None, limit: int) -> list[str]:
        """The commits from `tip` back along first parents, newest first, up to `base` (left out) or `limit` of them.

        Ends where history does: at the first commit, and where a shallow clone was cut off.
        """
        found: list[str] = []
        with self._lock:
            commit: pygit2.Commit | None = self._repo[tip].peel(pygit2.Commit)
            while commit is not None and str(commit.id) != base and len(found) < limit:
                found.append(str(commit.id))
                parents = commit.parent_ids
                commit = self._commit(str(parents[0])) if parents else None
        return found

    def parent(self, commit: str) -> str | None:
        """The first parent of a commit; None for the first one, and where a shallow clone was cut off."""
        with self._lock:
            parents = self._repo[commit].peel(pygit2.Commit).parent_ids
            return str(parents[0]) if parents and self._commit(str(parents[0])) is not None else None

    def _commit(self, commit: str) -> pygit2.Commit | None:
        try:
            return self._repo[commit].peel(pygit2.Commit)
        except (KeyError, ValueError, pygit2.GitError):
            return None

    def tree_id(self, commit: str) -> str:
        """The id of a commit's tree."""
        with self._lock:
            return str(self._repo[commit].peel(pygit2.Commit).tree_id)

    def changed_paths(self, base: str, tip: str) -> frozenset[str]:
        """The paths that differ between two commits."""
        with self._lock:
            diff = self._repo[base].peel(pygit2.Tree).diff_to_tree(self._repo[tip].peel(pygit2.Tree))
            deltas = list(diff.deltas)
        return frozenset(str(file.path) for delta in deltas for file in (delta.old_file, delta.new_file))

    def ahead(self, tip: str, base: str) -> int:
        """How many commits `tip` has that `base` lacks."""
        with self._lock:
            return int(self._repo.ahead_behind(tip, base)[0])

    def bring(self, commit: str, *, remote: str | None, refs: Iterable[str]) -> bool:
        """Make sure that a commit is in this clone: by its id, else by the refs it may be under. False if it is not."""
        if self.has(commit):
            return True
        if remote is None:
            return False
        for name in (commit, *refs):
            with self._fetching:
                self._run("fetch", "--no-tags", "--quiet", "--end-of-options", remote, name)
            if self.has(commit):
                return True
        return False

    def makes(self, base: str, tip: str, tree: str) -> bool:
        """Whether merging `tip` into `base` makes exactly `tree`, by libgit2's merge or by Git's own."""
        try:
            if self.merge_tree(base, tip) == tree:
                return True
        except (KeyError, pygit2.GitError):  # a partial clone: git fetches what is missing
            pass
        code, output = self._run("merge-tree", "--write-tree", "--no-messages", "--end-of-options", base, tip)
        return code == 0 and output.partition("\n")[0] == tree

    def merge_tree(self, base: str, tip: str) -> str | None:
        """The tree that merging `tip` into `base` makes; None where they conflict. No branch moves."""
        with self._lock:
            index = self._repo.merge_commits(base, tip)
            return None if index.conflicts else str(index.write_tree(self._repo))

    def has(self, commit: str) -> bool:
        """Whether the commit is in this clone."""
        with self._lock:
            try:
                return isinstance(self._repo[commit], pygit2.Commit)
            except (KeyError, ValueError):
                return False

    def is_ancestor(self, older: str, newer: str) -> bool:
        """Whether `newer` is `older` or has it in its history. Both must be in this clone."""
        if older == newer:
            return True
        with self._lock:
            return bool(self._repo.descendant_of(newer, older))

    @property
    def is_shallow(self) -> bool:
        """Whether the clone lacks history."""
        return bool(self._repo.is_shallow)

    def list_tree(self, tree: str) -> dict[str, Entry]:
        """Every file below a tree id, by path; refuses names that Git itself would not check out."""
        found: dict[str, Entry] = {}
        with self._lock:
            self._walk(tree, "", found)
        return found

    def read_blob(self, blob: str) -> bytes:
        """A blob's bytes. In a partial clone git fetches it; libgit2 cannot."""
        with self._lock:
            try:
                found = self._repo[blob]
                return found.data if isinstance(found, pygit2.Blob) else b""
            except KeyError:
                pass
        command = Command(argv=("git", "cat-file", "blob", blob), env=self._env, cwd=self.directory)
        try:
            code, output, error = capture(command, timeout_seconds=FETCH_TIMEOUT_SECONDS)
        except (OSError, TimeoutError) as reason:
            raise _missing(blob, str(reason)) from reason
        if code:
            raise _missing(blob, error.decode(errors="replace"))
        return output

    def _walk(self, tree: str, prefix: str, found: dict[str, Entry]) -> None:
        names: set[str] = set()
        for item in self._children(tree, prefix):
            name = item.name or ""
            path = f"{prefix}{name}"
            if name in names or name in _FORBIDDEN_NAMES or "/" in name:
                raise _crafted(path)
            names.add(name)
            if item.filemode == pygit2.enums.FileMode.TREE:
                self._walk(str(item.id), f"{path}/", found)
            else:
                found[path] = Entry(mode=_MODES.get(item.filemode, Mode.FILE), blob=str(item.id))

    def _children(self, tree: str, prefix: str) -> Iterable[pygit2.Object]:
        try:
            found = self._repo[tree]
        except KeyError as error:
            raise _missing(tree, prefix or "the root tree") from error
        return found if isinstance(found, pygit2.Tree) else ()

    def _run(self, *arguments: str) -> tuple[int, str]:
        command = Command(argv=("git", *arguments), env=self._env, cwd=self.directory)
        try:
            code, output, error = capture(command, timeout_seconds=FETCH_TIMEOUT_SECONDS)
        except TimeoutError as late:
            return 1, str(late)
        except FileNotFoundError:
            return 127, "the git program is not on PATH"
        return code, _without_credentials((error if code else output).decode(errors="replace").strip())

    def _no_branch(self, branch: str) -> UsageError:
        if self._repo.is_empty or self._repo.head_is_unborn:
            return UsageError(
                f"the branch {branch!r} has no commit yet",
                code="git.unborn",
                hint="commit something first: tfops works on commits, never on the working tree",
            )
        known = sorted(name for name in self._repo.branches)
        return UsageError(
            f"there is no branch {branch!r} in {self.directory}",
            code="git.no_branch",
            hint="branches here: " + ", ".join(known[:10]),
        )


def _item(tree: pygit2.Tree, path: str) -> str | None:
    try:
        found = tree[path]
    except KeyError:
        return None
    return f"{_MODES.get(found.filemode, Mode.FILE).value} {found.id}"


def _on_one_line(path: str) -> str:
    """The path, or the directory around it where its name has more than one line: git reads one a line."""
    while "\n" in path:
        path = posixpath.dirname(path) or "."
    return path


def _no_history(detail: str) -> FailedError:
    return FailedError(
        f"git cannot tell who wrote what is to be applied: {detail}",
        code="git.history",
        hint="check the clone: the same `git log` must work; fetch it whole (fetch-depth: 0, GIT_DEPTH: 0)",
    )


def _email(signature: pygit2.Signature) -> str:
    return str(signature.email).casefold()


def git_env(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment git sees: nobody else's GIT_* (they redirect repositories), no prompt, no replace refs."""
    kept = {"GIT_SSH", "GIT_SSH_COMMAND", "GIT_ASKPASS", "GIT_SSL_CAINFO", "GIT_SSL_NO_VERIFY"}
    env = {name: value for name, value in environ.items() if not name.startswith("GIT_") or name in kept}
    return env | {"GIT_TERMINAL_PROMPT": "0", "GIT_NO_REPLACE_OBJECTS": "1", "LC_ALL": "C.UTF-8"}


def blob_id(data: bytes, *, like: str) -> str:
    """The id Git gives to a content, in the hash of another id."""
    return hashlib.new("sha256" if len(like) == 64 else "sha1", b"blob %d\0" % len(data) + data).hexdigest()


def materialise(tree: Tree, entries: Mapping[str, Entry], directory: Path) -> None:
    """Make `directory` hold exactly `entries`, written anew: what an earlier run left or changed there is gone.

    Submodules become empty directories. Symlinks stay symlinks.
    """
    if directory.exists():
        shutil.rmtree(directory)
    directory.mkdir(parents=True, mode=0o700)
    for path in sorted(entries):
        _write(directory, path, entries[path], tree)


def _write(directory: Path, path: str, entry: Entry, tree: Tree) -> None:
    target = directory / path
    if entry.mode is Mode.SUBMODULE:
        target.mkdir(parents=True, exist_ok=True)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    data = tree.read(path)
    if entry.mode is Mode.SYMLINK:
        target.symlink_to(os.fsdecode(data))
        return
    mode = 0o700 if entry.mode is Mode.EXECUTABLE else 0o600
    descriptor = os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)


def _without_credentials(text: str) -> str:
    """Git repeats a remote's address in its errors, with the token somebody put into it."""
    return re.sub(r"//[^/@\s]+@|\b\w+::(?=https?:)|(?<=[?&])([^=\s&]+)=[^&\s'\"]+", _hidden, text)


def _hidden(found: re.Match[str]) -> str:
    return f"{found[1]}=…" if found[1] else "//…@" if found.group().startswith("//") else ""


def _crafted(path: str) -> FailedError:
    return FailedError(
        f"the revision has a file {path!r} under a name that leads elsewhere, or twice the same name",
        code="git.crafted_tree",
        hint="Git itself refuses to check this out: somebody made the commit by hand; do not use it",
    )


def _missing(blob: str, detail: str) -> FailedError:
    return FailedError(
        f"this clone lacks the object {blob} ({detail.strip()})",
        code="git.partial_clone",
        hint="a partial or damaged clone: run `git fetch --refetch --no-filter`, or clone again",
    )
