"""A real bare Git repository, and what a forge does in one when somebody presses its merge button."""

import os
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

FORGE_NAME = "Forge"
FORGE_EMAIL = "noreply@forge.example"


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """Who wrote or committed a commit, and when."""

    name: str
    email: str
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Commit:
    """One commit."""

    id: str
    tree: str
    parents: tuple[str, ...]
    author: Signature
    committer: Signature
    message: str


_FORMAT = "%x00".join(("%H", "%T", "%P", "%an", "%ae", "%aI", "%cn", "%ce", "%cI", "%B")) + "%x01"


class Repository:
    """A bare repository at `path`; made if it is not there."""

    def __init__(self, path: Path) -> None:
        self.path = path
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            self.git("init", "-q", "--bare", "-b", "main", str(path), at=path.parent)

    def git(self, *argv: str, at: Path | None = None, stdin: bytes = b"", **environ: str) -> str:
        """Run git in the repository, or at `at`; raises CalledProcessError."""
        done = subprocess.run(
            ["git", *argv],
            cwd=at or self.path,
            input=stdin,
            capture_output=True,
            check=True,
            env={"PATH": os.environ["PATH"], "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
            | _signing("AUTHOR", FORGE_NAME, FORGE_EMAIL)
            | _signing("COMMITTER", FORGE_NAME, FORGE_EMAIL)
            | environ,
        )
        return done.stdout.decode().strip()

    def tip(self, ref: str) -> str | None:
        """The commit of a branch (or a whole ref); None where it is not there."""
        name = ref if ref.startswith("refs/") else f"refs/heads/{ref}"
        return self.git("for-each-ref", "--format=%(objectname)", name).partition("\n")[0] or None

    def heads(self) -> str:
        """Every branch and its commit, as one text that changes with any of them."""
        return self.git("for-each-ref", "refs/heads")

    def point(self, ref: str, commit: str) -> None:
        """Let a branch (or a whole ref) name a commit."""
        self.git("update-ref", ref if ref.startswith("refs/") else f"refs/heads/{ref}", commit)

    def commit(
        self,
        branch: str,
        files: Mapping[str, str],
        *,
        by: str = "Somebody <somebody@example.org>",
        committer: str | None = None,
        message: str = "A change",
        parent: str = "main",
    ) -> str:
        """A new commit on a branch, which starts at `parent` if it is new. People are `Name <address>`."""
        before = self.tip(branch) or self.tip(parent)
        with tempfile.TemporaryDirectory() as scratch:
            index = {"GIT_INDEX_FILE": str(Path(scratch, "index"))}
            if before:
                self.git("read-tree", before, **index)
            for path, text in files.items():
                blob = self.git("hash-object", "-w", "--stdin", stdin=text.encode())
                self.git("update-index", "--add", "--cacheinfo", f"100644,{blob},{path}", **index)
            tree = self.git("write-tree", **index)
        environ = _signing("AUTHOR", *_parsed(by)) | _signing("COMMITTER", *_parsed(committer or by))
        parents = ("-p", before) if before else ()
        new = self.git("commit-tree", tree, *parents, "-m", message, **environ)
        self.point(branch, new)
        return new

    def contains(self, branch: str, commit: str) -> bool:
        """Whether a branch has a commit."""
        tip = self.tip(branch)
        return tip is not None and self.git("merge-base", tip, commit) == commit

    def merge_base(self, first: str, second: str) -> str:
        """The newest commit that both have."""
        return self.git("merge-base", first, second)

    def commits(self, base: str | None, head: str) -> tuple[Commit, ...]:
        """The commits of `head` that `base` does not have, the oldest first."""
        outside = (f"^{base}",) if base else ()
        lines = self.git("log", "--reverse", "--topo-order", f"--format={_FORMAT}", head, *outside)
        return tuple(_commit(text.strip("\n")) for text in lines.split("\x01") if text.strip("\n"))

    def read(self, commit: str) -> Commit:
        """One commit."""
        return _commit(self.git("log", "-1", f"--format={_FORMAT}", commit).rstrip("\x01"))

    def landed_with(self, branch: str, commit: str) -> str:
        """The commit of the branch's own line (first parents) that brought a commit to it."""
        line = self.git("rev-list", "--reverse", "--first-parent", "--ancestry-path", f"{commit}..{branch}")
        own = self.git("rev-list", "--first-parent", branch).split()
        return commit if commit in own else line.split("\n")[0]

    def merge(self, how: str, target: str, head: str, *, by: str, message: str) -> str:
        """Bring a commit to a branch (merge, squash, rebase, fast-forward) as a forge does; returns the new tip."""
        with tempfile.TemporaryDirectory() as scratch:
            clone = Path(scratch, "clone")
            self.git("clone", "-q", "--shared", "-b", target, str(self.path), str(clone), at=Path(scratch))
            for argv in _steps(how, target, head, message):
                self.git(*argv, at=clone, **(_signing("AUTHOR", *_parsed(by)) if argv[0] != "rebase" else {}))
            new = self.git("rev-parse", "HEAD", at=clone)
            self.git("push", "-q", str(self.path), f"{new}:refs/heads/{target}", at=clone)
        return new

    def rebase(self, branch: str, onto: str) -> str:
        """Put the commits of a branch onto another one, in place; returns the new tip."""
        with tempfile.TemporaryDirectory() as scratch:
            clone = Path(scratch, "clone")
            self.git("clone", "-q", "--shared", "-b", branch, str(self.path), str(clone), at=Path(scratch))
            self.git("rebase", "-q", f"origin/{onto}", at=clone)
            new = self.git("rev-parse", "HEAD", at=clone)
            self.git("push", "-q", "--force", str(self.path), f"{new}:refs/heads/{branch}", at=clone)
        return new


def _steps(how: str, target: str, head: str, message: str) -> list[tuple[str, ...]]:
    """The Git commands of one way to merge, in a clone on the target branch."""
    match how:
        case "merge":
            return [("merge", "-q", "--no-ff", "-m", message, head)]
        case "squash":
            return [("merge", "-q", "--squash", head), ("commit", "-q", "-m", message)]
        case "rebase":
            return [("checkout", "-q", "--detach", head), ("rebase", "-q", "--force-rebase", target)]
        case "fast-forward":
            return [("merge", "-q", "--ff-only", head)]
    raise ValueError(f"no way to merge: {how}")


def _commit(text: str) -> Commit:
    commit, tree, parents, author, author_email, authored, committer, email, committed, message = text.split("\0")
    return Commit(
        id=commit,
        tree=tree,
        parents=tuple(parents.split()),
        author=Signature(name=author, email=author_email, at=datetime.fromisoformat(authored)),
        committer=Signature(name=committer, email=email, at=datetime.fromisoformat(committed)),
        message=message.strip(),
    )


def _signing(role: str, name: str, email: str) -> dict[str, str]:
    return {f"GIT_{role}_NAME": name, f"GIT_{role}_EMAIL": email}


def _parsed(person: str) -> tuple[str, str]:
    name, _, address = person.partition(" <")
    return name, address.removesuffix(">")
