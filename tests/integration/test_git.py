"""Real repositories in all their states: what is read is what was committed, and nothing lands outside its place."""

import os
import stat
import subprocess
import threading
from pathlib import Path

import pytest

from tfops.adapters.git import Repository, git_env, materialise
from tfops.errors import FailedError, TfopsError, UsageError
from tfops.tree import Mode

IDENTITY = {
    "GIT_AUTHOR_NAME": "a",
    "GIT_AUTHOR_EMAIL": "a@example.org",
    "GIT_COMMITTER_NAME": "a",
    "GIT_COMMITTER_EMAIL": "a@example.org",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_SYSTEM": os.devnull,
}
ENVIRON = {"PATH": os.environ["PATH"], "HOME": "/nonexistent"}


class Clone:
    """A repository on the disk, worked on with the real git."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    @classmethod
    def init(cls, directory: Path, *options: str) -> "Clone":
        directory.mkdir(parents=True)
        found = cls(directory)
        found.git("init", "-q", "-b", "main", *options)
        return found

    def clone(self, directory: Path, *options: str) -> "Clone":
        self.git("clone", "-q", *options, f"file://{self.directory}", str(directory))
        return Clone(directory)

    def git(self, *arguments: str, stdin: bytes = b"") -> str:
        done = subprocess.run(
            ["git", *arguments], cwd=self.directory, env={**ENVIRON, **IDENTITY}, input=stdin, capture_output=True
        )
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout.decode("utf-8", "surrogateescape").strip()

    def commit(self, files: dict[str, str] | None = None, message: str = "x") -> str:
        for name, content in (files or {}).items():
            path = self.directory / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)
        self.git("add", "-A")
        self.git("commit", "-q", "--allow-empty", "-m", message)
        return self.git("rev-parse", "HEAD")

    def commit_tree(self, branch: str, *raw: tuple[bytes, bytes, str]) -> None:
        """A branch with a hand-made root tree of (mode, name, object id), checked by nobody."""
        data = b"".join(mode + b" " + name + b"\0" + bytes.fromhex(blob) for mode, name, blob in raw)
        tree = self.git("hash-object", "-t", "tree", "-w", "--literally", "--stdin", stdin=data)
        self.git("update-ref", f"refs/heads/{branch}", self.git("commit-tree", "-m", "x", tree))

    def blob(self, content: bytes) -> str:
        return self.git("hash-object", "-w", "--stdin", stdin=content)

    def open(self, **environ: str) -> Repository:
        return Repository(self.directory, environ={**ENVIRON, **environ})


@pytest.fixture
def ours(tmp_path: Path) -> Clone:
    return Clone.init(tmp_path / "ours")


@pytest.fixture
def upstream(tmp_path: Path) -> Clone:
    found = Clone.init(tmp_path / "upstream")
    found.commit({"main.tf": "one"})
    return found


def read(repository: Repository, branch: str, path: str, remote: str | None = None) -> bytes:
    return repository.tree(repository.resolve(branch, remote=remote)).read(path)


def code(action, kind: type[TfopsError] = TfopsError) -> str:
    with pytest.raises(kind) as refused:
        action()
    (problem,) = refused.value.problems
    assert problem.hint
    return problem.code


class TestOpening:
    def test_a_directory_without_a_repository_is_wrong_usage(self, tmp_path):
        assert code(lambda: Repository(tmp_path, environ=ENVIRON), UsageError) == "git.not_a_repository"

    def test_a_directory_inside_a_repository_is_enough(self, ours):
        ours.commit({"a/b/c.tf": ""})
        assert Repository(ours.directory / "a" / "b", environ=ENVIRON).directory == ours.directory

    def test_a_repository_without_any_commit_has_a_branch_but_no_revision(self, ours):
        repository = ours.open()
        assert repository.current_branch() == "main"
        assert code(lambda: repository.resolve("main", remote=None), UsageError) == "git.unborn"

    def test_a_detached_head_is_no_branch(self, ours):
        ours.commit()
        ours.git("checkout", "-q", "--detach")
        assert ours.open().current_branch() is None

    def test_a_bare_repository_is_read_as_any_other(self, upstream, tmp_path):
        bare = upstream.clone(tmp_path / "bare.git", "--bare")
        repository = bare.open()
        assert repository.is_bare
        assert read(repository, "main", "main.tf") == b"one"
        assert not upstream.open().is_bare

    def test_a_linked_work_tree_has_its_own_branch(self, upstream, tmp_path):
        upstream.git("worktree", "add", "-q", "-b", "other", str(tmp_path / "linked"))
        repository = Clone(tmp_path / "linked").open()
        assert repository.current_branch() == "other"
        assert read(repository, "main", "main.tf") == b"one"

    def test_a_repository_of_another_user_is_refused_with_the_way_out(self, ours):
        if os.geteuid() != 0:
            pytest.skip("only root can give a repository away")
        ours.commit()
        for path in (ours.directory, ours.directory / ".git"):
            os.chown(path, 65534, 65534)
        assert code(ours.open, FailedError) == "git.refused"


class TestBranches:
    def test_the_tip_of_a_branch_is_a_revision(self, ours):
        commit = ours.commit({"a": "1"})
        revision = ours.open().resolve("main", remote=None)
        assert (revision.branch, revision.commit) == ("main", commit)
        assert revision.tree == ours.git("rev-parse", "HEAD^{tree}")
        assert str(revision) == f"main@{commit[:12]}"

    @pytest.mark.parametrize("branch", ["with space", "ümläut/日本", "-rf", "--upload-pack=x", "a.b", "we\"ird'$(id)"])
    def test_a_branch_of_any_name_is_fetched_and_read(self, upstream, tmp_path, branch):
        clone = upstream.clone(tmp_path / "clone")
        if " " in branch:
            branch = branch.replace(" ", "\u00a0")  # Git itself allows no plain space
        tip = upstream.commit({"x": branch})
        upstream.git("update-ref", f"refs/heads/{branch}", tip)
        repository = clone.open()
        repository.fetch("origin", branch)
        assert repository.resolve(branch, remote="origin").commit == tip
        assert repository.remote(branch) == "origin"

    @pytest.mark.parametrize("branch", ["nope", "", "a b", "a..b", "refs/heads/main", "*", "\udcff", "x" * 300, "/"])
    def test_a_branch_that_is_not_there_is_wrong_usage(self, ours, branch):
        ours.commit()
        assert code(lambda: ours.open().resolve(branch, remote=None), UsageError) == "git.no_branch"

    def test_the_branches_that_are_there_are_named(self, ours):
        ours.commit()
        ours.git("branch", "staging")
        with pytest.raises(UsageError) as refused:
            ours.open().resolve("stagin", remote=None)
        assert refused.value.problems[0].hint == "branches here: main, staging"

    def test_a_tag_of_the_same_name_is_not_the_branch(self, ours):
        ours.commit({"a": "old"})
        ours.git("tag", "main")
        tip = ours.commit({"a": "new"})
        assert ours.open().resolve("main", remote=None).commit == tip

    def test_the_working_tree_never_counts(self, ours):
        ours.commit({"a": "committed"})
        (ours.directory / "a").write_text("dirty")
        ours.git("add", "-A")
        assert read(ours.open(), "main", "a") == b"committed"

    @pytest.mark.parametrize("spec", ["HEAD~1", "v1", "main~1"])
    def test_any_commit_may_be_named(self, ours, spec):
        first = ours.commit({"a": "1"})
        ours.git("tag", "-a", "v1", "-m", "x")
        ours.commit({"a": "2"})
        assert ours.open().revision("main", spec).commit == first
        assert ours.open().revision("main", first[:10]).commit == first

    @pytest.mark.parametrize(
        "spec", ["nope", "HEAD:a", "HEAD^{tree}", "", "0" * 40, "HEAD~99", "..", "\udcff", ":/zzz"]
    )
    def test_what_is_no_commit_is_wrong_usage(self, ours, spec):
        ours.commit({"a": "1"})
        assert code(lambda: ours.open().revision("main", spec), UsageError) == "git.no_revision"


class TestRemotes:
    def with_remotes(self, clone: Clone, *names: str) -> Repository:
        for name in names:
            clone.git("remote", "add", name, f"/nowhere/{name}")
        return clone.open()

    def test_without_a_remote_there_is_none(self, ours):
        assert ours.open().remote("main") is None

    def test_the_upstream_of_a_branch_comes_first(self, ours):
        self.with_remotes(ours, "origin", "fork")
        ours.git("config", "branch.main.remote", "fork")
        assert (ours.open().remote("main"), ours.open().remote("other")) == ("fork", "origin")

    def test_origin_comes_before_others(self, ours):
        assert self.with_remotes(ours, "fork", "origin").remote("main") == "origin"

    def test_a_single_one_is_it_whatever_its_name(self, ours):
        assert self.with_remotes(ours, "company").remote("main") == "company"

    def test_of_several_strangers_none_is_chosen(self, ours):
        assert self.with_remotes(ours, "a", "b").remote("main") is None

    @pytest.mark.parametrize("value", [".", "gone"])
    def test_an_upstream_that_is_no_remote_is_passed_over(self, ours, value):
        self.with_remotes(ours, "origin")
        ours.git("config", "branch.main.remote", value)
        assert ours.open().remote("main") == "origin"


class TestFetching:
    def test_a_fetch_brings_what_was_pushed_meanwhile(self, upstream, tmp_path):
        clone = upstream.clone(tmp_path / "clone")
        repository = clone.open()
        tip = upstream.commit({"main.tf": "two"})
        assert repository.resolve("main", remote="origin").commit != tip
        repository.fetch("origin", "main")
        assert repository.resolve("main", remote="origin").commit == tip
        assert read(repository, "main", "main.tf", "origin") == b"two"

    def test_a_fetch_touches_neither_branches_nor_working_tree(self, upstream, tmp_path):
        clone = upstream.clone(tmp_path / "clone")
        before = clone.git("rev-parse", "main")
        upstream.commit({"main.tf": "two"})
        clone.open().fetch("origin", "main")
        assert clone.git("rev-parse", "main") == before
        assert (clone.directory / "main.tf").read_text() == "one"
        assert clone.git("status", "--porcelain") == ""

    def test_a_force_push_is_followed(self, upstream, tmp_path):
        clone = upstream.clone(tmp_path / "clone")
        upstream.git("commit", "-q", "--amend", "-m", "other")
        clone.open().fetch("origin", "main")
        assert clone.open().resolve("main", remote="origin").commit == upstream.git("rev-parse", "main")

    def test_a_branch_that_is_gone_is_not_taken_from_memory(self, upstream, tmp_path):
        upstream.git("branch", "preview")
        clone = upstream.clone(tmp_path / "clone")
        upstream.git("branch", "-D", "preview")
        with pytest.raises(UsageError) as refused:
            clone.open().fetch("origin", "preview")
        assert refused.value.problems[0].code == "git.no_branch"
        assert "preview" in str(refused.value)
        assert "main" in refused.value.problems[0].hint

    def test_a_remote_out_of_reach_says_what_git_said(self, upstream, tmp_path):
        clone = upstream.clone(tmp_path / "clone")
        clone.git("remote", "set-url", "origin", str(tmp_path / "gone"))
        with pytest.raises(FailedError, match="does not appear to be a git repository"):
            clone.open().fetch("origin", "main")

    def test_a_remote_that_is_an_option_is_not_obeyed(self, ours, tmp_path):
        ours.commit()
        with pytest.raises(FailedError):
            ours.open().fetch(f"--upload-pack=touch {tmp_path}/pwned", "main")
        assert not (tmp_path / "pwned").exists()

    def test_a_fetch_never_asks_anybody(self, ours):
        ours.commit()
        ours.git("remote", "add", "origin", "https://127.0.0.1:1/x.git")
        assert code(lambda: ours.open().fetch("origin", "main"), FailedError) == "git.fetch"

    def test_without_the_git_program_it_is_said(self, upstream, tmp_path):
        clone = upstream.clone(tmp_path / "clone")
        with pytest.raises(FailedError, match="git program is not on PATH"):
            clone.open(PATH=str(tmp_path)).fetch("origin", "main")


class TestReading:
    def test_every_kind_of_file_has_its_mode(self, ours):
        ours.commit({"plain": "x", "deep/er/run.sh": "x"})
        (ours.directory / "deep/er/run.sh").chmod(0o755)
        (ours.directory / "link").symlink_to("plain")
        commit = ours.commit()
        ours.git("update-index", "--add", "--cacheinfo", f"160000,{commit},sub")
        ours.git("commit", "-q", "-m", "sub")
        repository = ours.open()
        tree = repository.tree(repository.resolve("main", remote=None))
        assert {path: entry.mode for path, entry in tree.entries.items()} == {
            "plain": Mode.FILE,
            "deep/er/run.sh": Mode.EXECUTABLE,
            "link": Mode.SYMLINK,
            "sub": Mode.SUBMODULE,
        }
        assert tree.read("link") == b"plain"
        assert tree.entries["plain"].blob == ours.git("rev-parse", "HEAD:plain")

    def test_a_file_that_is_not_there_is_a_key_error(self, ours):
        ours.commit({"a/b": ""})
        for path in ("x", "a", "", "/a/b", "a/../a/b"):
            with pytest.raises(KeyError):
                read(ours.open(), "main", path)

    def test_content_is_never_converted(self, ours):
        (ours.directory / ".gitattributes").write_text("* text eol=crlf ident\n")
        blob = ours.blob(b"a\n$Id$\n\xff\0")
        ours.commit()
        ours.git("update-index", "--add", "--cacheinfo", f"100644,{blob},x")
        ours.git("commit", "-q", "-m", "x")
        assert read(ours.open(), "main", "x") == b"a\n$Id$\n\xff\0"

    def test_a_name_that_is_no_utf8_is_read_too(self, ours, tmp_path):
        ours.commit_tree("bytes", (b"100644", b"\xff.tf", ours.blob(b"x")))
        repository = ours.open()
        tree = repository.tree(repository.resolve("bytes", remote=None))
        materialise(tree, tree.entries, tmp_path / "out")
        assert [os.fsencode(path.name) for path in (tmp_path / "out").iterdir()] == [b"\xff.tf"]

    def test_replace_refs_change_nothing(self, ours):
        ours.commit({"a": "honest"})
        honest, evil = ours.git("rev-parse", "HEAD:a"), ours.blob(b"evil")
        ours.git("replace", honest, evil)
        other = ours.git("commit-tree", "-m", "evil", ours.git("hash-object", "-t", "tree", "-w", "--stdin"))
        ours.git("replace", "HEAD", other)
        assert read(ours.open(), "main", "a") == b"honest"

    def test_variables_of_git_in_the_environment_lead_nowhere(self, ours, upstream, monkeypatch):
        commit = ours.commit({"main.tf": "ours"})
        names = ("GIT_DIR", "GIT_WORK_TREE", "GIT_OBJECT_DIRECTORY", "GIT_INDEX_FILE", "GIT_COMMON_DIR")
        elsewhere = dict.fromkeys(names, str(upstream.directory / ".git"))
        elsewhere |= {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "core.bare", "GIT_CONFIG_VALUE_0": "true"}
        for name, value in elsewhere.items():
            monkeypatch.setenv(name, value)
        repository = ours.open(**elsewhere)
        assert repository.resolve("main", remote=None).commit == commit
        assert read(repository, "main", "main.tf") == b"ours"

    def test_git_sees_nobody_elses_git_variables_but_those_for_the_way_to_the_server(self):
        environ = {
            "GIT_DIR": "x",
            "GIT_SSH_COMMAND": "ssh -i k",
            "GIT_TRACE": "1",
            "HOME": "/h",
            "GIT_EXTERNAL_DIFF": "x",
        }
        assert git_env(environ) == {
            "GIT_SSH_COMMAND": "ssh -i k",
            "HOME": "/h",
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_NO_REPLACE_OBJECTS": "1",
            "LC_ALL": "C.UTF-8",
        }

    def test_no_hook_is_run_by_reading(self, ours, tmp_path):
        ours.commit({"a": "1"})
        for name in ("post-checkout", "reference-transaction", "post-index-change"):
            hook = ours.directory / ".git" / "hooks" / name
            hook.parent.mkdir(exist_ok=True)
            hook.write_text(f"#!/bin/sh\ntouch {tmp_path}/hooked\n")
            hook.chmod(0o755)
        repository = ours.open()
        tree = repository.tree(repository.resolve("main", remote=None))
        materialise(tree, tree.entries, tmp_path / "out")
        assert not (tmp_path / "hooked").exists()

    def test_several_threads_read_at_once(self, ours):
        ours.commit({f"f{number}": str(number) * 1000 for number in range(50)})
        repository = ours.open()
        tree, wrong = repository.tree(repository.resolve("main", remote=None)), []

        def look() -> None:
            wrong.extend(n for n in range(50) if tree.read(f"f{n}") != (str(n) * 1000).encode())

        threads = [threading.Thread(target=look) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert wrong == []


class TestHistory:
    def test_a_revision_is_an_ancestor_of_itself_and_of_what_came_after(self, ours):
        first, second = ours.commit(message="1"), ours.commit(message="2")
        ours.git("checkout", "-q", "-b", "side", first)
        side = ours.commit(message="side")
        repository = ours.open()
        assert repository.is_ancestor(first, first)
        assert repository.is_ancestor(first, second)
        assert not repository.is_ancestor(second, first)
        assert not repository.is_ancestor(side, second)

    def test_only_commits_of_this_clone_are_there(self, ours):
        commit = ours.commit({"a": ""})
        repository = ours.open()
        assert repository.has(commit)
        for other in ("0" * 40, ours.git("rev-parse", "HEAD:a"), ours.git("rev-parse", "HEAD^{tree}"), "zz", ""):
            assert not repository.has(other)


class TestWhoTouchedWhat:
    """Nobody approves their own work: so a commit that made a path what it is must not be simplified away."""

    @pytest.fixture
    def upstream(self, tmp_path) -> Clone:
        made = Clone.init(tmp_path / "origin")
        made.commit({"a/x": "1\n", "b/y": "1\n"})
        return made

    def touching(self, clone: Clone, *paths: str, since: str | None = None) -> list[str]:
        tip = clone.git("rev-parse", "HEAD")
        return [one.id for one in clone.open().touching(paths, tip=tip, since=since)]

    def test_only_commits_of_these_paths_after_the_first_one_count(self, upstream):
        first = upstream.git("rev-parse", "HEAD")
        mine = upstream.commit({"a/x": "2\n"})
        upstream.commit({"b/y": "2\n"})
        assert self.touching(upstream, "a/x", since=first) == [mine]
        assert self.touching(upstream, "a/x") == [mine, first]
        assert self.touching(upstream) == []

    def test_a_side_whose_work_the_merge_did_not_change_counts(self, upstream):
        first = upstream.git("rev-parse", "HEAD")
        upstream.git("checkout", "-q", "-b", "side")
        hidden = [upstream.commit({"a/x": "2\n"}), upstream.commit({"a/x": "3\n"})]
        upstream.git("checkout", "-q", "main")
        same = upstream.commit({"a/x": "3\n"})
        upstream.git("merge", "-q", "--no-ff", "-m", "merge", "side")
        assert set(self.touching(upstream, "a/x", since=first)) == {*hidden, same}

    def test_what_a_merge_itself_brings_is_its_makers(self, upstream):
        first = upstream.git("rev-parse", "HEAD")
        upstream.git("checkout", "-q", "-b", "side")
        upstream.commit({"b/y": "2\n"})
        upstream.git("checkout", "-q", "main")
        upstream.git("merge", "-q", "--no-ff", "--no-commit", "side")
        merge = upstream.commit({"a/x": "evil\n"})
        tip = upstream.git("rev-parse", "HEAD")
        (found,) = upstream.open().touching(["a/x"], tip=tip, since=first)
        assert (found.id, found.emails) == (merge, frozenset({"a@example.org"}))

    def test_a_name_of_two_lines_and_one_that_looks_like_a_pattern_hide_nothing(self, upstream):
        first = upstream.git("rev-parse", "HEAD")
        lines = upstream.commit({"a/two\nlines": "1\n"})
        pattern = upstream.commit({"a/:(exclude)*": "1\n"})
        assert self.touching(upstream, "a/two\nlines", since=first) == [pattern, lines]
        assert self.touching(upstream, "a/:(exclude)*", since=first) == [pattern]

    def test_however_often_it_is_asked_git_runs_once(self, upstream):
        repository, tip = upstream.open(), upstream.git("rev-parse", "HEAD")
        found = repository.touching(["a/x"], tip=tip, since=None)
        repository._env["PATH"] = ""
        assert repository.touching(["a/x"], tip=tip, since=None) == found

    def test_what_a_path_was_called_before_and_what_it_was_copied_from_is_known(self, upstream):
        first = upstream.git("rev-parse", "HEAD")
        upstream.commit({"a/one\nline": "a long line that is alike\n" * 9})
        upstream.git("mv", "a/one\nline", "b/two")
        upstream.git("commit", "-q", "-m", "rename")
        upstream.git("mv", "b/two", "c")
        upstream.commit({"d": "another\n"})
        repository, tip = upstream.open(), upstream.git("rev-parse", "HEAD")
        assert repository.former_names(["c"], tip=tip, since=first) == {"c", "b/two", "a/one\nline"}
        assert repository.former_names(["d", "a/x"], tip=tip, since=first) == {"d", "a/x"}
        assert repository.former_names(["c"], tip=tip, since=tip) == {"c"}

    def test_along_first_parents_each_commit_tells_what_it_left_there_behind_what_it_followed(self, upstream):
        first = upstream.git("rev-parse", "HEAD")
        upstream.git("checkout", "-q", "-b", "side")
        upstream.commit({"a/x": "2\n"})
        upstream.commit({"a/x": "3\n"})
        upstream.git("checkout", "-q", "main")
        upstream.commit({"b/y": "2\n"})
        upstream.git("merge", "-q", "--no-ff", "-m", "merge", "side")
        merge = upstream.git("rev-parse", "HEAD")
        gone = upstream.git("rm", "-q", "a/x") or upstream.commit()
        found = upstream.open().along(["a/x", "a"], tip=gone, since=first)
        assert [at.commit for at in found][1:] == [merge, gone]
        assert [at.items["a/x"] for at in found] == [
            f"100644 {upstream.git('rev-parse', f'{first}:a/x')}",
            f"100644 {upstream.git('rev-parse', f'{merge}:a/x')}",
            None,
        ]
        assert found[1].items["a"] != found[0].items["a"]
        assert found[-1].on.timestamp() == int(upstream.git("log", "-1", "--format=%ct")) + 1

    def test_before_the_first_commit_there_was_nothing(self, upstream):
        tip = upstream.git("rev-parse", "HEAD")
        found = upstream.open().along(["a/x"], tip=tip, since=None)
        assert [(at.commit, at.items["a/x"] is None) for at in found] == [("", True), (tip, False)]
        assert upstream.open().along(["a/x"], tip=tip, since=tip) == []
        assert upstream.open().along(["nowhere"], tip=tip, since=None) == []

    def test_where_git_cannot_tell_it_is_said(self, upstream):
        tip = upstream.git("rev-parse", "HEAD")
        assert code(lambda: upstream.open().touching(["a/x"], tip=tip, since="0" * 40), FailedError) == "git.history"


class TestClonesThatLackSomething:
    def test_a_shallow_clone_says_so_and_brings_its_history_when_asked(self, upstream, tmp_path):
        first = upstream.git("rev-parse", "HEAD")
        tip = upstream.commit({"main.tf": "two"})
        repository = upstream.clone(tmp_path / "clone", "--depth", "1").open()
        assert repository.is_shallow
        assert (repository.has(tip), repository.has(first)) == (True, False)
        assert read(repository, "main", "main.tf", "origin") == b"two"
        repository.unshallow("main")
        assert not repository.is_shallow
        assert repository.has(first)
        repository.unshallow("main")

    def test_history_that_was_brought_counts_at_once(self, upstream, tmp_path):
        first, tip = upstream.git("rev-parse", "HEAD"), upstream.commit()
        clone = upstream.clone(tmp_path / "clone", "--depth", "1")
        repository = clone.open()
        assert repository.resolve("main", remote="origin").commit == tip
        assert not repository.has(first)
        repository.unshallow("main")
        assert repository.has(first)
        assert clone.open().is_ancestor(first, tip)
        assert repository.is_ancestor(first, tip)

    def test_a_history_that_cannot_be_brought_is_said(self, upstream, tmp_path):
        upstream.commit()
        clone = upstream.clone(tmp_path / "clone", "--depth", "1")
        clone.git("remote", "set-url", "origin", str(tmp_path / "gone"))
        assert code(lambda: clone.open().unshallow("main"), FailedError) == "git.fetch"

    @pytest.fixture
    def partial(self, upstream, tmp_path) -> Clone:
        upstream.git("config", "uploadpack.allowFilter", "true")
        upstream.git("config", "uploadpack.allowAnySHA1InWant", "true")
        return upstream.clone(tmp_path / "partial", "--filter=blob:none", "--no-checkout")

    def test_a_partial_clone_fetches_what_it_lacks(self, partial, tmp_path):
        assert read(partial.open(), "main", "main.tf") == b"one"

    def test_a_partial_clone_whose_remote_is_gone_says_what_is_missing(self, partial, upstream, tmp_path):
        upstream.directory.rename(tmp_path / "moved")
        assert code(lambda: read(partial.open(), "main", "main.tf"), FailedError) == "git.partial_clone"

    def test_a_partial_clone_without_the_git_program_says_so(self, partial, tmp_path):
        assert code(lambda: read(partial.open(PATH=str(tmp_path)), "main", "main.tf"), FailedError)

    def test_a_clone_without_trees_says_so(self, upstream, partial, tmp_path):
        bare = upstream.clone(tmp_path / "treeless", "--filter=tree:0", "--no-checkout")
        assert code(lambda: read(bare.open(), "main", "main.tf"), FailedError) == "git.partial_clone"

    def test_a_damaged_object_is_no_empty_file(self, ours):
        ours.commit({"a": "content"})
        blob = ours.git("rev-parse", "HEAD:a")
        (ours.directory / ".git" / "objects" / blob[:2] / blob[2:]).unlink()
        assert code(lambda: read(ours.open(), "main", "a"), FailedError) == "git.partial_clone"


class TestMaterialising:
    def out(self, clone: Clone, place: Path, branch: str = "main") -> Path:
        repository = clone.open()
        tree = repository.tree(repository.resolve(branch, remote=None))
        materialise(tree, tree.entries, place)
        return place

    def test_a_directory_holds_exactly_the_revision(self, ours, tmp_path):
        ours.commit({"a.tf": "1", "b/c.tf": "2", "run.sh": "#!/bin/sh\necho ran\n"})
        (ours.directory / "run.sh").chmod(0o755)
        (ours.directory / "link").symlink_to("b/c.tf")
        (ours.directory / "dangling").symlink_to("../../nowhere")
        commit = ours.commit()
        ours.git("update-index", "--add", "--cacheinfo", f"160000,{commit},sub")
        ours.git("commit", "-q", "-m", "sub")
        out = self.out(ours, tmp_path / "out")
        assert sorted(path.relative_to(out).as_posix() for path in out.rglob("*")) == [
            *("a.tf", "b", "b/c.tf", "dangling", "link", "run.sh", "sub")
        ]
        assert str((out / "link").readlink()) == "b/c.tf"
        assert str((out / "dangling").readlink()) == "../../nowhere"
        assert list((out / "sub").iterdir()) == []
        assert subprocess.run([str(out / "run.sh")], capture_output=True, check=True).stdout == b"ran\n"

    def test_what_lies_there_is_for_its_owner_only(self, ours, tmp_path):
        ours.commit({"a.tf": "", "run.sh": ""})
        (ours.directory / "run.sh").chmod(0o755)
        ours.commit()
        before = os.umask(0)
        try:
            out = self.out(ours, tmp_path / "out")
        finally:
            os.umask(before)
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (out, out / "a.tf", out / "run.sh")}
        assert modes == {"out": 0o700, "a.tf": 0o600, "run.sh": 0o700}

    def test_nothing_of_an_earlier_run_stays(self, ours, tmp_path):
        ours.commit({"a.tf": "new"})
        out = tmp_path / "out"
        (out / "left").mkdir(parents=True)
        (out / "left" / "evil.auto.tfvars").write_text("")
        (out / "a.tf").symlink_to(tmp_path / "precious")
        (tmp_path / "precious").write_text("x")
        self.out(ours, out)
        assert [path.name for path in out.iterdir()] == ["a.tf"]
        assert (tmp_path / "precious").read_text() == "x"

    def test_a_working_tree_is_never_touched(self, ours, tmp_path):
        ours.commit({"a.tf": "1"})
        (ours.directory / "a.tf").write_text("dirty")
        self.out(ours, tmp_path / "out")
        assert (ours.directory / "a.tf").read_text() == "dirty"

    @pytest.mark.parametrize("name", [b"..", b".", b".git", b"x/../../y"])
    def test_a_tree_with_a_name_that_leads_elsewhere_is_refused(self, ours, tmp_path, name):
        inner = ours.git("mktree", stdin=b"100644 blob %b\tpwned\n" % ours.blob(b"x").encode())
        ours.commit_tree("evil", (b"40000", name, inner))
        assert code(lambda: self.out(ours, tmp_path / "private" / "out", "evil"), FailedError) == "git.crafted_tree"
        assert not (tmp_path / "private" / "pwned").exists()

    def test_a_tree_with_a_link_and_a_directory_of_one_name_is_refused(self, ours, tmp_path):
        (tmp_path / "outside").mkdir()
        inner = ours.git("mktree", stdin=b"100644 blob %b\tpwned\n" % ours.blob(b"x").encode())
        link = ours.blob(os.fsencode(tmp_path / "outside"))
        ours.commit_tree("evil", (b"120000", b"a", link), (b"40000", b"a", inner))
        assert code(lambda: self.out(ours, tmp_path / "out", "evil"), FailedError) == "git.crafted_tree"
        assert list((tmp_path / "outside").iterdir()) == []


def merged(tmp_path: Path, files: dict[str, str]) -> list[str]:
    """The addresses behind a merge by `m`, who also commits these files with it."""
    clone = Clone.init(tmp_path / "repo")
    base = clone.commit({"a": "1"})
    clone.git("checkout", "-q", "-b", "topic")
    clone.commit({"b": "1"})
    clone.git("checkout", "-q", "main")
    clone.commit({"c": "1"})
    clone.git("-c", "user.email=m@example.org", "merge", "-q", "--no-ff", "--no-commit", "topic")
    for name, content in files.items():
        (clone.directory / name).write_text(content)
    clone.git("add", "-A")
    clone.git("commit", "-q", "-m", "merge", "--author", "M <m@example.org>")
    repository = Repository(clone.directory, environ=ENVIRON)
    return sorted({email for one in repository.commits(base, clone.git("rev-parse", "HEAD")) for email in one.emails})


def test_whoever_only_merges_wrote_nothing(tmp_path: Path) -> None:
    assert merged(tmp_path, {}) == ["a@example.org"]


def test_whoever_slips_something_into_a_merge_wrote_that(tmp_path: Path) -> None:
    assert merged(tmp_path, {"evil": "1"}) == ["a@example.org", "m@example.org"]
