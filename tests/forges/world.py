"""What happens on a forge, in neutral words: people, changes, pushes, votes, comments, statuses, merges.

`FakeForge` is the common part of all fakes. What a test does to the world it does through its operations; each fake
renders the world in its forge's words.
"""

import itertools
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from tests.forges.repository import Commit, Repository
from tests.forges.server import Server


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """Somebody with an account."""

    id: int
    login: str
    may_write: bool = field(default=True, compare=False)
    is_bot: bool = field(default=False, compare=False)

    @property
    def email(self) -> str:
        """What their commits say, and by which the forge knows them as theirs."""
        return f"{self.login}@example.org"

    @property
    def signature(self) -> str:
        """As Git writes it."""
        return f"{self.login.capitalize()} <{self.email}>"


@dataclass(slots=True, kw_only=True)
class Push:
    """The head of a change got another commit. The first one is its opening."""

    head: str
    by: Person | None
    at: datetime


@dataclass(slots=True, kw_only=True)
class Vote:
    """A review: approved, rejected, commented. `by` None is an account that is gone."""

    id: int
    by: Person | None
    opinion: str
    head: str | None
    at: datetime
    withdrawn_at: datetime | None = None
    body: str = ""


@dataclass(slots=True, kw_only=True)
class Comment:
    """A comment on a change."""

    id: int
    by: Person | None
    body: str
    at: datetime
    edited_at: datetime | None = None
    extra: dict[str, object] = field(default_factory=dict)


@dataclass(slots=True, kw_only=True)
class PostedStatus:
    """A commit status, as it was sent."""

    id: int
    commit: str
    context: str
    state: str
    description: str
    url: str | None
    by: Person
    at: datetime
    extra: dict[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Merged:
    """How a change came to its target: `tip` is what the branch became, `commits` all that it got by that.

    `how` is merge, squash, rebase, fast-forward, or pushed (by hand). `merge_commit` and `squash_commit` are set where
    there is one.
    """

    how: str
    by: Person | None
    at: datetime
    base: str
    tip: str
    commits: tuple[str, ...]
    merge_commit: str | None = None
    squash_commit: str | None = None


@dataclass(slots=True, kw_only=True)
class Proposal:
    """A pull or merge request. `base` is where its commits leave the target's line."""

    number: int
    title: str
    author: Person | None
    source: str
    target: str
    at: datetime
    base: str = ""
    pushes: list[Push] = field(default_factory=list)
    votes: list[Vote] = field(default_factory=list)
    comments: list[Comment] = field(default_factory=list)
    merged: Merged | None = None
    closed_at: datetime | None = None

    @property
    def head(self) -> str:
        """Its last commit."""
        return self.pushes[-1].head

    @property
    def is_open(self) -> bool:
        """Whether it is neither merged nor closed."""
        return self.merged is None and self.closed_at is None


class FakeForge(Server):
    """A forge with one repository. Everything a fake has in common with the others.

    `repository` is how the forge writes its repository. `me` is who has the token. Times are now, unless `at` says.
    """

    kind = ""
    repository = "acme/infra"
    head_ref: str | None = "refs/pull/{number}/head"

    def __init__(self, git: Path, people: Iterable[str] = ("alice", "bob", "carol")) -> None:
        super().__init__()
        self.git = Repository(git)
        self.ids = itertools.count(101)
        self.people: dict[str, Person] = {}
        self.proposals: dict[int, Proposal] = {}
        self.posted: list[PostedStatus] = []
        self._heads = ""
        self.me = self.person("tfops-runner")
        for login in people:
            self.person(login)

    @property
    def environ(self) -> dict[str, str]:
        """The environment variables that tfops needs to be let in."""
        return {"TFOPS_FORGE_TOKEN": self.token}

    def hcl(self) -> str:
        """The forge block of tfops.hcl."""
        return f'forge "{self.kind}" {{\n  url        = "{self.url}"\n  repository = "{self.repository}"\n}}\n'

    def login(self, person: str) -> str:
        """What the trust block has to call somebody."""
        return self.people[person].login

    def person(self, login: str, *, may_write: bool = True, is_bot: bool = False) -> Person:
        """Give somebody an account, or change what they may."""
        old = self.people.get(login)
        number = old.id if old else next(self.ids)
        self.people[login] = Person(id=number, login=login, may_write=may_write, is_bot=is_bot)
        return self.people[login]

    def act_as(self, login: str) -> None:
        """The token belongs to somebody else."""
        self.me = self.people[login]

    def known(self, email: str) -> Person | None:
        """Whose address that is."""
        return next((person for person in self.people.values() if person.email == email), None)

    # What people do.

    def open(self, branch: str, *, author: str, base: str = "main", title: str = "A change") -> int:
        """Propose a branch that is in the repository; returns the number."""
        with self._acting():
            number = len(self.proposals) + 1
            writer = self.people[author]
            proposal = Proposal(number=number, title=title, author=writer, source=branch, target=base, at=_now())
            tip = self.git.tip(branch)
            if tip is None:
                raise LookupError(branch)
            self.proposals[number] = proposal
            self._pushed(proposal, tip, by=writer)
            return number

    def approve(self, number: int, by: str, *, at: datetime | None = None, head: str | None = None) -> Vote:
        """Approve the head (or an earlier commit, as one does whose page is old)."""
        return self._vote(number, by, "approved", at, head)

    def reject(self, number: int, by: str, *, at: datetime | None = None, head: str | None = None) -> Vote:
        """Ask for changes."""
        return self._vote(number, by, "rejected", at, head)

    def remark(self, number: int, by: str, *, at: datetime | None = None) -> Vote:
        """A review that only comments."""
        return self._vote(number, by, "commented", at, None)

    def withdraw(self, number: int, by: str, *, at: datetime | None = None) -> None:
        """Take the last opinion of somebody back: dismissed, unapproved, or reset, as the forge calls it."""
        with self._acting():
            votes = self.proposals[number].votes
            last = [vote for vote in votes if vote.by == self.people[by] and vote.opinion != "commented"][-1]
            last.withdrawn_at = at or _now()

    def comment(self, number: int, by: str, body: str) -> Comment:
        """Say something."""
        with self._acting():
            return self.commented(self.proposals[number], self.people[by], body)

    def merge(self, number: int, how: str = "merge", *, by: str = "carol", at: datetime | None = None) -> str:
        """Press the merge button: merge, squash, rebase or fast-forward; returns the new tip of the target."""
        with self._acting():
            proposal = self.proposals[number]
            if not proposal.is_open:
                raise LookupError(f"{number} is not open")
            return self._merge(proposal, how, self.people[by], at or _now()).tip

    def rebase(self, number: int) -> str:
        """Rebase the source branch onto its target, in place; returns the new head."""
        with self._acting():
            proposal = self.proposals[number]
            return self.git.rebase(proposal.source, proposal.target)

    def close(self, number: int) -> None:
        """Close a change without merging it."""
        with self._acting():
            self.proposals[number].closed_at = _now()

    # What a test looks at.

    def comments(self, number: int) -> list[Comment]:
        """The comments on a change, the oldest first."""
        return self.proposals[number].comments

    def statuses(self, commit: str) -> dict[str, PostedStatus]:
        """The last status of each context on a commit."""
        return {status.context: status for status in self.posted if status.commit == commit}

    # What the fakes build on.

    def before(self) -> None:
        """See what was pushed since."""
        heads = self.git.heads()
        if heads == self._heads:
            return
        self._heads = heads
        for proposal in self.proposals.values():
            if proposal.is_open:
                self._look_at(proposal)

    def changes_of(self, commit: str) -> list[Proposal]:
        """The changes that brought a commit to their target, and the open ones that have it."""
        return [proposal for proposal in self.proposals.values() if commit in self.brought(proposal)]

    def brought(self, proposal: Proposal) -> tuple[str, ...]:
        """The commits that a merged change brought, or that an open one would."""
        if proposal.merged:
            return proposal.merged.commits
        return tuple(commit.id for commit in self.commits_of(proposal))

    def commits_of(self, proposal: Proposal) -> tuple[Commit, ...]:
        """The commits of a change's source branch, the oldest first."""
        base = proposal.merged.base if proposal.merged else self.git.tip(proposal.target)
        return self.git.commits(base, proposal.head)

    def commented(self, proposal: Proposal, by: Person, body: str) -> Comment:
        """A new comment."""
        comment = Comment(id=next(self.ids), by=by, body=body, at=_now())
        proposal.comments.append(comment)
        return comment

    def comment_by_id(self, number: int) -> tuple[Proposal, Comment]:
        """A comment and what it is on; raises LookupError."""
        for proposal in self.proposals.values():
            for comment in proposal.comments:
                if comment.id == number:
                    return proposal, comment
        raise LookupError(number)

    def edited(self, comment: Comment, body: str) -> Comment:
        """Another text for a comment."""
        comment.body, comment.edited_at = body, _now()
        return comment

    def post(
        self, commit: str, context: str, state: str, description: str = "", url: str | None = None, **extra: object
    ) -> PostedStatus:
        """A new status by whoever has the token."""
        self.git.git("cat-file", "-e", commit)
        status = PostedStatus(
            id=next(self.ids), commit=commit, context=context, state=state, description=description, url=url,
            by=self.me, at=_now(), extra=extra,
        )  # fmt: skip
        self.posted.append(status)
        return status

    @contextmanager
    def _acting(self) -> Iterator[None]:
        with self.lock:
            self.before()
            yield
            self.before()

    def _vote(self, number: int, by: str, opinion: str, at: datetime | None, head: str | None) -> Vote:
        with self._acting():
            proposal = self.proposals[number]
            vote = Vote(
                id=next(self.ids), by=self.people[by], opinion=opinion, head=head or proposal.head, at=at or _now()
            )
            proposal.votes.append(vote)
            return vote

    def _look_at(self, proposal: Proposal) -> None:
        tip = self.git.tip(proposal.source)
        if tip is not None and tip != proposal.head:
            self._pushed(proposal, tip, by=self.known(self.git.read(tip).committer.email))
        if proposal.base != proposal.head and self.git.contains(proposal.target, proposal.head):
            self._merged_by_hand(proposal)

    def _pushed(self, proposal: Proposal, head: str, *, by: Person | None) -> None:
        proposal.pushes.append(Push(head=head, by=by, at=_now()))
        if not self.git.contains(proposal.target, head):
            proposal.base = self.git.merge_base(proposal.target, head)
        if self.head_ref:
            self.git.point(self.head_ref.format(number=proposal.number), head)

    def _merged_by_hand(self, proposal: Proposal) -> None:
        """The commits of a change were pushed to its target: a forge calls that merged."""
        tip = self.git.landed_with(proposal.target, proposal.head)
        base = proposal.base if tip == proposal.head else self.git.read(tip).parents[0]
        proposal.merged = Merged(
            how="pushed", by=None, at=_now(), base=base, tip=tip,
            commits=tuple(commit.id for commit in self.git.commits(base, tip)),
            merge_commit=None if tip == proposal.head else tip,
        )  # fmt: skip

    def _merge(self, proposal: Proposal, how: str, by: Person, at: datetime) -> Merged:
        base = self.git.tip(proposal.target) or ""
        message = f"{proposal.title} (#{proposal.number})"
        writer = proposal.author if how == "squash" and proposal.author else by
        tip = self.git.merge(how, proposal.target, proposal.head, by=writer.signature, message=message)
        proposal.merged = Merged(
            how=how, by=by, at=at, base=base, tip=tip,
            commits=tuple(commit.id for commit in self.git.commits(base, tip)),
            merge_commit=tip if how == "merge" else None,
            squash_commit=tip if how == "squash" else None,
        )  # fmt: skip
        return proposal.merged


def last_votes(proposal: Proposal) -> list[Vote]:
    """The last opinion of each person."""
    last: dict[int | None, Vote] = {}
    for vote in sorted(proposal.votes, key=lambda vote: vote.at):
        if vote.opinion != "commented":
            last[vote.by.id if vote.by else None] = vote
    return list(last.values())


def _now() -> datetime:
    return datetime.now(UTC)
