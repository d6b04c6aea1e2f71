"""What landed on a branch: real Git for every way a forge merges, and for what people do behind its back."""

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.integration.test_git import ENVIRON, Clone
from tfops.adapters.git import Repository
from tfops.forge import Account, Change, ForgeError, Opinion, Review, Status
from tfops.landing import Landed
from tfops.steps.landings import Landings

NOW = datetime(2026, 11, 28, tzinfo=UTC)
ALICE = Account(names=frozenset({"alice"}), shown="@alice")


@dataclass(kw_only=True)
class Listed:
    """A forge that knows which change brought which commit, and says it every time it is asked."""

    name: str = "listed"
    comment_limit: int = 1000
    folds: bool = True
    changes: dict[str, Change] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    refs: tuple[str, ...] = ()
    is_down: bool = False

    def landed(self, commit: str, branch: str) -> Change | None:
        self.asked.append(commit)
        if self.is_down:
            raise ForgeError("listed is down", code="forge.unreachable", hint="wait")
        return self.changes.get(commit)

    def reviews(self, change: Change) -> tuple[Review, ...]:
        return (Review(by=ALICE, opinion=Opinion.APPROVED, on=NOW, head=change.head),)

    def head_refs(self, change: Change) -> tuple[str, ...]:
        return self.refs

    def proposed(self, head: str, branch: str) -> Change | None:
        raise NotImplementedError

    def change(self, number: int) -> Change:
        raise NotImplementedError

    def comment(self, change: Change, key: str, body: str) -> None:
        raise NotImplementedError

    def set_status(self, change: Change, status: Status) -> None:
        raise NotImplementedError


@dataclass(kw_only=True)
class Story:
    """A repository in which changes are made and merged, and a forge that hears of it."""

    clone: Clone
    forge: Listed = field(default_factory=Listed)

    def push(self, name: str, content: str = "") -> str:
        """A commit straight onto main."""
        self.clone.git("checkout", "-q", "main")
        return self.clone.commit({name: content or name}, message=f"push {name}")

    def propose(self, branch: str, *names: str, start: str = "main") -> str:
        """A branch with one commit for each file; returns its head."""
        self.clone.git("checkout", "-q", "-b", branch, start)
        head = [self.clone.commit({name: f"{name} of {branch}"}, message=f"{branch} {name}") for name in names][-1]
        self.clone.git("checkout", "-q", "main")
        return head

    def know(self, number: int, head: str, *tips: str, commits: tuple[str, ...] = ()) -> Change:
        """The forge says that this change brought these commits."""
        change = Change(
            number=number,
            url="",
            author=None,
            target="main",
            source=f"pr{number}",
            head=head,
            is_merged=True,
            commits=commits,
        )
        self.forge.changes |= dict.fromkeys(tips, change)
        return change

    def merge(self, branch: str, *how: str) -> str:
        """Merge a branch into main; returns what main is now."""
        self.clone.git("checkout", "-q", "main")
        self.clone.git("merge", "-q", *how, branch)
        if "--squash" in how:
            self.clone.commit(message=f"squash {branch}")
        return self.clone.git("rev-parse", "main")

    def rebase(self, branch: str) -> list[str]:
        """Rebase a branch onto main and move main there; the new commits, newest first."""
        before = self.clone.git("rev-parse", "main")
        self.clone.git("branch", "-q", "-f", "landing", branch)
        self.clone.git("rebase", "-q", "main", "landing")
        self.clone.git("checkout", "-q", "main")
        self.clone.git("merge", "-q", "--ff-only", "landing")
        return self.clone.git("rev-list", f"{before}..main").split()

    def landings(self, directory: Path | None = None) -> Landings:
        repository = Repository(directory or self.clone.directory, environ=ENVIRON)
        return Landings(repository, self.forge, branch="main", tip=self.clone.git("rev-parse", "main"))

    def since(self, base: str | None) -> list[Landed]:
        return self.landings().since(base)


@pytest.fixture
def story(tmp_path: Path) -> Story:
    clone = Clone.init(tmp_path / "repo")
    clone.commit({"README.md": "hello"})
    return Story(clone=clone)


def words(found: list[Landed]) -> list[str]:
    return [f"#{one.change.number}" if one.change and one.fault is None else one.fault or "" for one in found]


@pytest.mark.parametrize("how", [("--no-ff", "-m", "merge"), ("--squash",)], ids=["merge commit", "squash"])
def test_a_merge_of_just_what_was_reviewed_is_one_stretch(story: Story, how: tuple[str, ...]) -> None:
    base = story.push("a")
    head = story.propose("pr1", "b", "c", "d")
    before = story.push("e")  # main moved meanwhile
    story.know(1, head, story.merge("pr1", *how))
    story.know(2, before, before, commits=(before,))
    found = story.since(base)
    assert words(found) == ["#1", "#2"]
    assert found[0].base == before
    assert found[0].reviews


def test_a_rebase_of_several_commits_is_one_stretch_though_only_its_last_one_is_known(story: Story) -> None:
    story.push("a")
    head = story.propose("pr1", "b", "c", "d")
    base = story.push("e")
    tips = story.rebase("pr1")
    story.know(1, head, tips[0])
    found = story.since(base)
    assert words(found) == ["#1"]
    assert (found[0].tip, found[0].base) == (tips[0], base)
    assert story.forge.asked == [tips[0]]


def test_a_rebase_that_touches_the_same_lines_again_and_again_is_one_stretch(story: Story) -> None:
    story.push("a", "1")
    story.clone.git("checkout", "-q", "-b", "pr1")
    for number in (2, 3, 4):
        head = story.clone.commit({"a": str(number)})
    base = story.push("e")
    tips = story.rebase("pr1")
    story.know(1, head, tips[0])
    assert [(one.fault, one.base) for one in story.since(base)] == [(None, base)]


def test_a_fast_forward_is_as_long_as_the_change(story: Story) -> None:
    base = story.push("a")
    head = story.propose("pr1", "b", "c")
    commits = tuple(story.clone.git("rev-list", f"{base}..{head}").split())
    story.merge("pr1", "--ff-only")
    story.know(1, head, head, commits=commits)
    found = story.since(base)
    assert words(found) == ["#1"]
    assert found[0].base == base


def test_a_fast_forward_does_not_speak_for_a_push_below_it(story: Story) -> None:
    base = story.push("a")
    story.push("sneaky")
    head = story.propose("pr1", "b")
    story.merge("pr1", "--ff-only")
    story.know(1, head, head, commits=(head,))
    assert words(story.since(base)) == ["#1", "listed knows no merged change that brought it"]


def test_a_direct_push_below_an_approved_merge_stands_for_itself(story: Story) -> None:
    base = story.push("a")
    head = story.propose("pr1", "b", "c")
    sneaky = story.push("sneaky")
    story.know(1, head, story.merge("pr1", "--no-ff", "-m", "merge"))
    found = story.since(base)
    assert words(found) == ["#1", "listed knows no merged change that brought it"]
    assert found[1].tip == sneaky


def test_a_push_that_the_reviewed_branch_had_merged_in_is_not_reviewed_with_it(story: Story) -> None:
    base = story.push("a")
    story.propose("pr1", "b", "c")
    sneaky = story.push("sneaky")
    story.clone.git("checkout", "-q", "pr1")
    story.clone.git("merge", "-q", "-m", "bring main", "main")
    head = story.clone.git("rev-parse", "pr1")
    story.know(1, head, story.merge("pr1", "--no-ff", "-m", "merge"))
    found = story.since(base)
    assert words(found) == ["#1", "listed knows no merged change that brought it"]
    assert found[1].tip == sneaky


def test_an_evil_merge_with_an_extra_hunk_is_found_out(story: Story) -> None:
    base = story.push("a")
    head = story.propose("pr1", "b")
    story.clone.git("merge", "-q", "--no-ff", "--no-commit", "pr1")
    tip = story.clone.commit({"extra": "evil"}, message="merge")
    story.know(1, head, tip)
    (found,) = story.since(base)
    assert found.fault == f"what landed is not what merging {head[:12]} makes: somebody added to it"
    assert found.reviews == ()


def test_an_evil_squash_is_found_out(story: Story) -> None:
    base = story.push("a")
    head = story.propose("pr1", "b")
    story.clone.git("merge", "-q", "--squash", "pr1")
    tip = story.clone.commit({"b": "other"}, message="squash")
    story.know(1, head, tip)
    assert "somebody added to it" in words(story.since(base))[0]


def test_a_queue_that_merged_two_changes_is_two_stretches(story: Story) -> None:
    base = story.push("a")
    one, two = story.propose("pr1", "b"), story.propose("pr2", "c")
    story.know(1, one, story.merge("pr1", "--no-ff", "-m", "merge 1"))
    story.know(2, two, story.merge("pr2", "--no-ff", "-m", "merge 2"))
    assert words(story.since(base)) == ["#2", "#1"]


def test_a_revert_is_a_commit_like_any_other(story: Story) -> None:
    base = story.push("a")
    head = story.propose("pr1", "b")
    story.know(1, head, story.merge("pr1", "--no-ff", "-m", "merge"))
    story.clone.git("revert", "--no-edit", "-m", "1", "HEAD")
    assert words(story.since(base)) == ["listed knows no merged change that brought it", "#1"]


def test_a_force_push_over_the_deployed_commit_ends_where_history_does(story: Story) -> None:
    deployed = story.push("a")
    story.clone.git("reset", "-q", "--hard", "HEAD~1")
    story.push("b")
    assert len(story.since(deployed)) == 2  # all there is: nothing of it is taken for deployed


def test_a_forge_that_is_down_makes_everything_unknown(story: Story) -> None:
    base = story.push("a")
    story.push("b")
    story.forge.is_down = True
    assert words(story.since(base)) == ["unknown, so nothing of it counts: listed is down"]


def test_what_a_forge_has_against_a_change_is_kept(story: Story) -> None:
    base = story.push("a")
    head = story.propose("pr1", "b")
    tip = story.merge("pr1", "--no-ff", "-m", "merge")
    story.forge.changes[tip] = replace(story.know(1, head, tip), faults=("its policies were bypassed",))
    assert words(story.since(base)) == ["its policies were bypassed"]


def test_a_commit_is_asked_for_once_whoever_asks(story: Story) -> None:
    base = story.push("a")
    story.push("b")
    landings = story.landings()
    assert landings.since(base) == landings.since(base)
    assert len(story.forge.asked) == 1


def squashed(story: Story, tmp_path: Path, *options: str) -> tuple[Story, Path, str]:
    """A change that was squashed, seen from a clone that lacks its head."""
    base = story.push("a")
    head = story.propose("pr1", "b")
    story.know(1, head, story.merge("pr1", "--squash"))
    story.clone.git("update-ref", "refs/pull/1/head", head)
    story.clone.git("branch", "-q", "-D", "pr1")
    story.clone.git("config", "uploadpack.allowFilter", "true")
    story.clone.clone(tmp_path / "other", *options)
    return story, tmp_path / "other", base


def test_a_head_that_the_clone_lacks_is_fetched(story: Story, tmp_path: Path) -> None:
    story, other, base = squashed(story, tmp_path)
    story.forge.refs = ("refs/pull/1/head",)
    assert words(story.landings(other).since(base)) == ["#1"]


def test_a_partial_clone_fetches_what_comparing_needs(story: Story, tmp_path: Path) -> None:
    story, other, base = squashed(story, tmp_path, "--filter=blob:none")
    story.forge.refs = ("refs/pull/1/head",)
    assert words(story.landings(other).since(base)) == ["#1"]


def test_a_head_that_is_nowhere_leaves_the_review_unknown(story: Story, tmp_path: Path) -> None:
    story, other, base = squashed(story, tmp_path)
    story.clone.git("update-ref", "-d", "refs/pull/1/head")
    story.clone.git("-c", "gc.reflogExpire=now", "reflog", "expire", "--expire=now", "--all")
    story.clone.git("gc", "-q", "--prune=now")
    (found,) = story.landings(other).since(base)
    assert "is not to be had, so nobody can tell what was reviewed" in str(found.fault)


def test_a_shallow_clone_says_how_much_it_lacks(story: Story, tmp_path: Path) -> None:
    story, other, base = squashed(story, tmp_path, "--depth=1")
    story.forge.refs = ("refs/pull/1/head",)
    (found,) = story.landings(other).since(base)
    assert "fetch-depth: 0, GIT_DEPTH: 0" in str(found.fault)
