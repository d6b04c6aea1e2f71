"""What every command begins with: the repository, the revision, its configuration, its store, its stacks."""

import os
import socket
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from tfops.adapters import keys as key_files
from tfops.adapters.git import Repository, Revision
from tfops.adapters.lock import Stop
from tfops.adapters.terraform import Program, find_program
from tfops.attestation import Builder, TerraformRef
from tfops.config import Config
from tfops.config_trust import Approver
from tfops.errors import ConfigError, FailedError, InterruptedRunError, UsageError
from tfops.forge import Forge
from tfops.pipelines import built_branch
from tfops.stacks import Stack
from tfops.steps.caller import Caller
from tfops.steps.configuration import configuration_text, default_key_uri, read_configuration, read_rules
from tfops.steps.forge_access import connected
from tfops.steps.hold import AnyOf, Hold, Wanted
from tfops.steps.landings import Landings
from tfops.steps.place import Place, place_of
from tfops.steps.policy_files import policy_files
from tfops.steps.store import Store, open_store
from tfops.steps.trust_records import (
    first_record,
    keys_of,
    read_trust,
    refuse_other_store,
    remember_store,
    review_keys_of,
    rules_of,
)
from tfops.tree import Tree
from tfops.trust import Rules, Trust, still_trusted
from tfops.versions import parse_constraints

if TYPE_CHECKING:
    from securesystemslib.signer import Signer, SSlibKey


def branch_of(repository: Repository, caller: Caller, branch: str | None) -> str:
    """The branch to work on: named, else checked out, else the one the pipeline says."""
    found = branch or repository.current_branch() or built_branch(caller.environ)
    if found is None:
        raise UsageError(
            "HEAD is detached, so there is no branch to take",
            code="git.detached",
            hint="name it: --branch main",
        )
    return found.removeprefix("refs/heads/")


@dataclass(frozen=True, kw_only=True)
class Session:
    """One run of one command over one revision. Everything read from the outside is read through it."""

    caller: Caller
    repository: Repository
    revision: Revision
    tree: Tree
    config: Config
    run_id: str
    started_on: datetime

    @cached_property
    def place(self) -> Place:
        """Where the store lies."""
        return place_of(self.config, self.caller)

    @cached_property
    def store(self) -> Store:
        """The store; refused when it is empty or another one."""
        return open_store(self.place.objects, expected_id=self.config.store.id, where=self.place.where)

    @cached_property
    def keys(self) -> Mapping[str, "SSlibKey"]:
        """The public keys of the runners in force, by name; without those that the branch's head no longer names."""
        head = keys_of(self.head_rules)
        if self.trust is None:
            return head
        in_force = keys_of(self.rules)
        if not self.is_followed:
            return in_force
        left = {key.keyid for key in head.values()}
        return {name: key for name, key in in_force.items() if key.keyid in left}

    @cached_property
    def review_keys(self) -> Mapping[str, "SSlibKey"]:
        """The further public keys that count on plans for review, and on nothing else."""
        head = review_keys_of(self.head_rules)
        if self.trust is None:
            return head
        in_force = review_keys_of(self.rules)
        if not self.is_followed:
            return in_force
        left = {key.keyid for key in (*head.values(), *keys_of(self.head_rules).values())}
        return {name: key for name, key in in_force.items() if key.keyid in left}

    @cached_property
    def head_rules(self) -> Rules:
        """The rules as this revision has them."""
        text, policies = configuration_text(self.tree, self.caller), policy_files(self.config.policies, self.tree)
        return read_rules(self.config, text, self.tree.read, policies)

    @cached_property
    def trust(self) -> Trust | None:
        """The record of the rules in force; None in a store that has none yet."""
        origin = self.repository.origin(self.revision.branch)
        refuse_other_store(self.store, self.place.where, self.caller, origin)
        found = read_trust(self.store, self.caller, keys_of(self.head_rules))
        if found is not None:
            remember_store(self.store, self.place.where, self.caller, origin)
        return found

    @cached_property
    def rules(self) -> Rules:
        """The rules in force, which judge; this revision's own where there are none yet."""
        return rules_of(self.trust, self.caller) if self.trust else self.head_rules

    @cached_property
    def began_at(self) -> str | None:
        """The commit tfops was set up with: what is older was written before anybody was asked. None if unknown."""
        commit = first_record(self.store, self.trust).record.source.commit if self.trust else self.revision.commit
        return commit if commit and self.repository.has(commit) else None

    @property
    def is_followed(self) -> bool:
        """Whether this is the branch that the rules in force follow."""
        return self.trust is None or self.revision.branch == self.trust.record.source.branch

    @cached_property
    def approvers(self) -> tuple[Approver, ...]:
        """The people in force, without what the branch's head, or time, took from them."""
        rules = self.rules.config
        people = still_trusted(rules, self.config) if self.is_followed else rules.approvers
        return tuple(person.at(now()) for person in people)

    @cached_property
    def forge(self) -> Forge | None:
        """The forge that the rules in force name; None where they name none. Raises ForgeError without a token."""
        settings = self.rules.config.forge
        return connected(settings, self.repository, self.revision.branch, self.caller) if settings else None

    @cached_property
    def landings(self) -> Landings | None:
        """What landed on this revision, as the forge tells; None where the rules in force name none."""
        forge, revision = self.forge, self.revision
        return Landings(self.repository, forge, branch=revision.branch, tip=revision.commit) if forge else None

    def forget_rules(self) -> None:
        """The rules in force moved: read them again."""
        for name in ("trust", "rules", "keys", "review_keys", "approvers", "forge", "landings", "program"):
            vars(self).pop(name, None)

    @cached_property
    def signer(self) -> "Signer":
        """Our signing key; refused when no runner has it whose signature counts on everything."""
        self._named(lambda: self.keys)
        return self._own_key

    @property
    def review_signer(self) -> "Signer":
        """Our signing key, for plans for review: also that of a runner which signs nothing else."""
        self._named(lambda: {**self.keys, **self.review_keys})
        return self._own_key

    @property
    def _key_uri(self) -> str:
        return self.config.signing_key or default_key_uri(self.config)

    @cached_property
    def _own_key(self) -> "Signer":
        return key_files.load_signer(
            self._key_uri, home=self.caller.home, passphrase=self.caller.key_passphrase, environ=self.caller.environ
        )

    def _named(self, keys: Callable[[], Mapping[str, "SSlibKey"]]) -> str:
        """The name that `keys` have for our own: a key that is missing is told whatever else is."""
        keyid = self._own_key.public_key.keyid
        found = next((name for name, key in keys().items() if key.keyid == keyid), None)
        if found is None:
            raise self._stranger(self._key_uri, keyid)
        return found

    def _stranger(self, uri: str, keyid: str) -> ConfigError:
        limited = [name for name, key in self.review_keys.items() if key.keyid == keyid]
        if limited:
            return ConfigError(
                f'runner "{limited[0]}", whose signing key {uri} is, signs plans for review and nothing else',
                code="key.review_only",
                hint="it is for `tfops plan --speculative`, once rules are in force; run this with another key",
            )
        if keyid in {key.keyid for key in keys_of(self.head_rules).values()}:
            return ConfigError(
                f"the signing key {uri} is that of a runner in {self.revision}, but the rules in force do not name it",
                code="key.not_trusted",
                hint="a runner that they name brings it in: run `tfops sync` there, and do what it asks for",
            )
        return ConfigError(
            f"the signing key {uri} belongs to no runner that tfops.hcl trusts",
            code="key.not_trusted",
            hint="`tfops init` adds its public half: commit that, or name the right key in signing { key = … }",
        )

    @cached_property
    def runner(self) -> str:
        """The name tfops.hcl gives to our key."""
        return self._named(lambda: self.keys)

    @cached_property
    def program(self) -> Program:
        """The Terraform to run, as the rules in force have it; refused where this revision's constraint is not met."""
        settings, binary = self.config.terraform, self.rules.config.terraform.binary
        program = find_program(binary, environ=self.caller.environ, cache=self.caller.cache)
        if settings.version and not parse_constraints(settings.version).allows(program.version):
            raise FailedError(
                f"tfops.hcl asks for Terraform {settings.version}, but {program.argv[0]} is {program.version}",
                code="terraform.version",
                hint="install a fitting one, or change terraform { version = … }",
            )
        return program

    @property
    def programs(self) -> frozenset[str]:
        """The names by which a Terraform of ours is known among the processes of this host."""
        return frozenset({Path(self.program.argv[0]).name, "launcher.py", "embedded.py"})

    @property
    def terraform_ref(self) -> TerraformRef:
        """What plans say about the program that made them."""
        program = self.program
        return TerraformRef(product=program.product, version=program.version, sha256=program.sha256)

    @property
    def builder(self) -> Builder:
        """What records say about this run."""
        return self._builder(self.runner)

    @property
    def review_builder(self) -> Builder:
        """What plans for review say about this run."""
        return self._builder(self._named(lambda: {**self.keys, **self.review_keys}))

    def _builder(self, runner: str) -> Builder:
        return Builder(runner=runner, host=socket.gethostname(), run_id=self.run_id)

    @property
    def holder(self) -> dict[str, object]:
        """What a lock says about us to those who wait."""
        return {
            "pid": os.getpid(),
            "host": socket.gethostname(),
            "run_id": self.run_id,
            "since": now().isoformat(timespec="seconds"),
        }

    def held(self, hold: Hold, *stops: Stop) -> "Session":
        """The same session for a stack that is held: it writes only while it is, and stops when it is lost."""
        stop = AnyOf((self.caller.stop, hold.lost, *stops))
        session = self._knowing_the_same(replace(self, caller=replace(self.caller, stop=stop)))
        vars(session)["store"] = self.store.guarded(hold.check)
        return session

    def at(self, revision: Revision, tree: Tree) -> "Session":
        """The same run over other files: store, keys and Terraform stay those of this one."""
        _ = self.keys
        return self._knowing_the_same(replace(self, revision=revision, tree=tree))

    def _knowing_the_same(self, other: "Session") -> "Session":
        vars(other).update({name: value for name, value in vars(self).items() if name not in vars(other)})
        return other

    def wanted(self, stack: Stack, command: str, *, wait_seconds: float) -> Wanted:
        """What we say of ourselves to hold a stack."""
        return Wanted(
            stack=stack.id,
            run_id=self.run_id,
            command=command,
            since=now(),
            wait_seconds=wait_seconds,
            grace_seconds=stack.timeout_seconds,
            stop=self.caller.stop,
            programs=self.programs,
            say=lambda message: self.say(stack.id, message),
        )

    def say(self, stack: str, message: str) -> None:
        """Tell the person in front of the screen what goes on."""
        self.caller.say(stack, message)


def _fetch(repository: Repository, caller: Caller, remote: str, branch: str) -> None:
    try:
        repository.fetch(remote, branch)
    except FailedError as error:
        if caller.stop.is_set():  # a terminal's Ctrl-C reaches git too
            raise InterruptedRunError(
                "stopped while fetching", code="run.interrupted", hint="nothing was changed; run it again"
            ) from error
        raise


def now() -> datetime:
    """The time, aware, in UTC."""
    return datetime.now(UTC)


def open_session(
    caller: Caller, *, branch: str | None = None, revision: str | None = None, fetch: bool = True
) -> Session:
    """Resolve the branch (its remote is fetched first), and read tfops.hcl as that revision has it."""
    repository = Repository(caller.directory, environ=caller.environ)
    name = branch_of(repository, caller, branch)
    found = _revision(repository, caller, name, revision=revision, fetch=fetch)
    tree = repository.tree(found)
    return Session(
        caller=caller,
        repository=repository,
        revision=found,
        tree=tree,
        config=read_configuration(tree, str(found), caller),
        run_id=f"{now():%Y%m%dT%H%M%SZ}-{uuid.uuid4().hex[:8]}",
        started_on=now(),
    )


def open_review(caller: Caller, *, base: str, head: str, fetch: bool = True) -> tuple[Session, Session]:
    """The branch as it is, and as merging `head` into it would make it. What judges stays what the branch says.

    Raises UsageError `git.conflict` where they do not merge by themselves.
    """
    branch = open_session(caller, branch=base, fetch=fetch)
    repository = branch.repository
    tip = repository.revision(branch.revision.branch, head)
    tree = repository.merge_tree(branch.revision.commit, tip.commit)
    if tree is None:
        raise UsageError(
            f"{head} does not merge into {branch.revision}: they conflict",
            code="git.conflict",
            hint=f"bring {base} into it first, and resolve what conflicts",
        )
    merged = replace(tip, tree=tree, base=branch.revision.commit, change=name_of(repository, tip, head))
    return branch, as_of(branch, merged)


def name_of(repository: Repository, tip: Revision, head: str) -> str:
    """The name of a change; empty where it was given as a commit's id, or is no branch."""
    name = (repository.current_branch() or "") if head == "HEAD" else head.removeprefix("refs/heads/")
    return "" if tip.commit.startswith(name) else name


def as_of(branch: Session, revision: Revision) -> Session:
    """The same run over another revision, with the configuration that is there. What judges stays what it is."""
    files = branch.repository.tree(revision)
    theirs = read_configuration(files, str(revision), branch.caller)
    config = replace(
        theirs,
        # The change may ask for a version; which program that is, it may not say, not even in a store without rules.
        terraform=replace(branch.config.terraform, version=theirs.terraform.version),
        store=branch.config.store,
        signing_key=branch.config.signing_key,
        runners=branch.config.runners,
        approvers=branch.config.approvers,
    )
    return replace(branch.at(revision, files), config=config)


def _revision(repository: Repository, caller: Caller, branch: str, *, revision: str | None, fetch: bool) -> Revision:
    remote = repository.remote(branch)
    if remote and fetch:
        caller.say("", f"fetching {branch} from {remote}")
        _fetch(repository, caller, remote, branch)
    if revision:
        return repository.revision(branch, revision)
    if remote and not fetch and not repository.knows(remote, branch):
        return repository.resolve(branch, remote=None)
    found = repository.resolve(branch, remote=remote)
    if remote and repository.is_ahead(branch, found):
        caller.say("", f"{branch} here is ahead of {remote}: what is not pushed does not count")
    return found
