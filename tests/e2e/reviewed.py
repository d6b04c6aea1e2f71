"""A team whose repository lives on a forge: changes are proposed, planned, reviewed and merged there."""

import importlib
from collections.abc import Iterator
from dataclasses import dataclass

from tests.e2e.people import Team
from tests.e2e.sandbox import RESOURCE, Result, Sandbox, environment
from tests.forges.world import FakeForge

KINDS = {
    "github": "GitHub",
    "gitlab": "GitLab",
    "bitbucket": "Bitbucket",
    "azure": "Azure",
    "gitea": "Gitea",
}
TWO = RESOURCE.replace("one", "two")


def fake(kind: str, team: Team) -> FakeForge:
    """The fake of a kind, over the sandbox's origin."""
    made = getattr(importlib.import_module(f"tests.forges.{kind}"), KINDS[kind])(
        team.sandbox.origin, people=("alice", "bob", "carol", "dave", "someone")
    )
    assert isinstance(made, FakeForge)
    return made


def begun(kind: str, sandbox: Sandbox, **config: object) -> Iterator["Reviewed"]:
    """A deployed stack whose repository lives on a forge of that kind."""
    team = Team(sandbox=sandbox)
    with fake(kind, team) as forge:
        reviewed = Reviewed(team=team, forge=forge)
        reviewed.begin(**config)
        yield reviewed


@dataclass(frozen=True, kw_only=True)
class Reviewed:
    """The team, and the forge. The stack `prod` asks for reviews by two people."""

    team: Team
    forge: FakeForge

    def config(self, *, count: int = 2, approval: str = 'from = ["forge"]', extra: str = "") -> str:
        """A tfops.hcl that counts reviews on this forge."""
        gate = f"approval {{\n    count = {count}\n    {approval}\n  }}"
        block = environment("prod", count=None).replace("\n}\n", f"\n  {gate}\n}}\n")
        text = self.team.sandbox.config(block + extra + self.forge.hcl())
        return text.replace("trust {", f"trust {{\n{self.trust()}", 1)

    def trust(self) -> str:
        """Each person by key, address and login."""
        lines = self.team.trust().split("\n")
        names = iter(("alice", "bob", "carol"))
        return "\n".join(
            f'{line}\n  {self.forge.kind} = "{self.forge.login(next(names))}"' if line.startswith("approver") else line
            for line in lines
        )

    def begin(self, **config: object) -> None:
        """The configuration and one resource are deployed, by a gate that asks nobody yet."""
        sandbox = self.team.sandbox
        open_door = self.config(count=0)
        sandbox.commit({"tfops.hcl": open_door, "prod/main.tf": RESOURCE})
        self.sync(expect=0)
        sandbox.commit({"tfops.hcl": self.config(**config)})  # type: ignore[arg-type]
        self.sync(expect=0)

    def sync(self, *arguments: str, expect: int | None = None) -> Result:
        """`tfops sync` with the forge's token."""
        return self.team.sandbox.sync(*arguments, expect=expect, env=self.forge.environ)

    def propose(self, name: str, files: dict[str, str], *, author: str = "dave") -> int:
        """A change with one commit by `author`, opened on the forge; returns its number."""
        sandbox = self.team.sandbox
        sandbox.git("checkout", "-q", "-b", name, "origin/main")
        self.push(name, files, author=author)
        return self.forge.open(name, author=author)

    def push(self, name: str, files: dict[str, str], *, author: str = "dave") -> str:
        """One more commit on a change; returns it."""
        sandbox = self.team.sandbox
        sandbox.git("checkout", "-q", name)
        sandbox.write(files)
        sandbox.git("add", "-A")
        address = f"{author}@example.org"
        who = {"GIT_COMMITTER_NAME": author, "GIT_COMMITTER_EMAIL": address}
        who |= {"GIT_AUTHOR_NAME": author, "GIT_AUTHOR_EMAIL": address}
        sandbox.git("commit", "-q", "--allow-empty", "-m", f"{name} by {author}", env=who)
        sandbox.git("push", "-q", "-f", "origin", name)
        commit = sandbox.git("rev-parse", "HEAD")
        sandbox.git("checkout", "-q", "main")
        return commit

    def plan(self, name: str, *, expect: int = 2) -> Result:
        """What the pipeline of a change does: plan it."""
        arguments = ("plan", "--speculative", "--base", "main", "--head", f"origin/{name}")
        done = self.team.sandbox.json(*arguments, env=self.forge.environ)
        assert done.code == expect, done
        return done

    def approved(self, name: str, files: dict[str, str], *people: str, author: str = "dave") -> int:
        """A change that was planned and then approved by these people."""
        number = self.propose(name, files, author=author)
        self.plan(name)
        for person in people:
            self.forge.approve(number, person)
        return number

    def merge(self, number: int, how: str = "merge") -> None:
        """Press the button; the clone follows."""
        self.forge.merge(number, how)
        self.follow()

    def follow(self) -> None:
        """Bring the clone's main to the forge's."""
        self.team.sandbox.git("fetch", "-q", "origin")
        self.team.sandbox.git("checkout", "-q", "main")
        self.team.sandbox.git("reset", "-q", "--hard", "origin/main")

    def waits(self) -> str:
        """What a sync says that waits."""
        found = self.sync()
        assert (found.code, found.outcomes) == (3, {"prod": "waiting"}), found
        return "\n".join(found["prod"]["reasons"])
