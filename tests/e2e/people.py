"""People with SSH keys of their own, and the trust block that names them."""

import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.e2e.sandbox import RESOURCE, Result, Sandbox, environment

PEOPLE = ("alice", "bob", "carol")


@dataclass(frozen=True, kw_only=True)
class Team:
    """A sandbox whose stack `prod` asks for two approvals, and who may give them."""

    sandbox: Sandbox

    def key(self, person: str, number: int = 1) -> Path:
        """A key of a person; made when it is first asked for."""
        file = self.sandbox.home / f"{person}-{number}"
        if not file.exists():
            argv = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", person, "-f", str(file)]
            subprocess.run(argv, check=True)
        return file

    def public(self, person: str, number: int = 1) -> str:
        """The public half."""
        return self.key(person, number).with_suffix(".pub").read_text().strip()

    def trust(self, *, keys: int = 1, revoked: tuple[str, ...] = (), people: tuple[str, ...] = PEOPLE) -> str:
        """The approver blocks, each person with that many keys."""
        blocks = []
        for person in people:
            listed = ", ".join(f'"{self.public(person, number)}"' for number in range(1, keys + 1))
            gone = "\n  revoked = true" if person in revoked else ""
            mail = f'["{person}@example.org"]'
            blocks.append(f'approver "{person}" {{\n  ssh_keys = [{listed}]\n  emails = {mail}{gone}\n}}')
        return "\n".join(blocks)

    def config(self, *, count: int = 2, extra: str = "", **trust: object) -> str:
        """A tfops.hcl with these people in its trust block."""
        text = self.sandbox.config(environment("prod", count=count) + extra)
        return text.replace("trust {", f"trust {{\n{self.trust(**trust)}", 1)  # type: ignore[arg-type]

    def begin(self, **config: object) -> str:
        """Commit the configuration and one resource; returns the commit."""
        return self.sandbox.commit({"tfops.hcl": self.config(**config), "prod/main.tf": RESOURCE})  # type: ignore[arg-type]

    def deployed(self, **config: object) -> None:
        """The same, approved and applied."""
        self.begin(**config)
        plan_id = self.sandbox.sync(expect=3)["prod"]["plan_id"]
        for person in ("alice", "bob"):
            assert self.approve(plan_id, person).code == 0
        self.sandbox.sync(expect=0)

    def approve(self, plan_id: str, person: str, *arguments: str | Path, number: int = 1) -> Result:
        """`tfops approve` by one person."""
        return self.sandbox.json("approve", plan_id, "--key", self.key(person, number), *arguments)

    def approve_rules(self, *people: str) -> None:
        """The change of the rules that waits, approved by these people and put in force."""
        waiting = self.sandbox.sync(expect=3).json["rules"]["id"]
        for person in people:
            assert self.approve(waiting, person).code == 0
        assert self.sandbox.sync("--dry-run").json["rules"] is None

    def reject(self, plan_id: str, person: str, comment: str = "no") -> Result:
        """`tfops reject` by one person."""
        return self.sandbox.json("reject", plan_id, "--key", self.key(person), "--comment", comment)

    def change(self, name: str, files: dict[str, str], *, author: str | None = None) -> str:
        """A branch off main with one commit, pushed; returns the commit."""
        sandbox = self.sandbox
        sandbox.git("checkout", "-q", "-b", name, "main")
        sandbox.write(files)
        sandbox.git("add", "-A")
        who = ["--author", f"{author} <{author}@example.org>"] if author else []
        sandbox.git("commit", "-q", "-m", name, *who)
        sandbox.git("push", "-q", "origin", name)
        commit = sandbox.git("rev-parse", "HEAD")
        sandbox.git("checkout", "-q", "main")
        return commit

    def review(self, head: str) -> str:
        """Plan what merging would do; returns the plan's id."""
        planned = self.sandbox.json("plan", "--speculative", "--base", "main", "--head", head)
        assert planned.code == 2, planned
        plan_id = planned["prod"]["plan_id"]
        assert isinstance(plan_id, str)
        return plan_id

    def approved(self, head: str, *people: str) -> str:
        """The same, approved by these people."""
        plan_id = self.review(head)
        for person in people:
            done = self.approve(plan_id, person)
            assert done.code == 0, done
        return plan_id

    def merge(self, head: str, *how: str) -> None:
        """Merge and push, by a merge commit unless `how` says otherwise."""
        self.sandbox.git("merge", "-q", *(how or ("--no-ff", "-m", f"merge {head}")), head)
        if "--squash" in how:
            self.sandbox.git("commit", "-q", "-m", f"squash {head}")
        self.sandbox.git("push", "-q", "origin", "main")
