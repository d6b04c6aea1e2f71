"""`tfops doctor`: is everything there that a run needs? Every check says what it found and what to do."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from tfops.adapters.credentials import identity
from tfops.adapters.git import Repository
from tfops.adapters.terraform import Program, find_program
from tfops.config_store import S3Store
from tfops.errors import Exit, Problem, TfopsError, most_serious
from tfops.stacks import Stack
from tfops.steps.access import Access
from tfops.steps.caller import Caller
from tfops.steps.forge_access import connected
from tfops.steps.opening import Session, open_session
from tfops.steps.orphans import orphans
from tfops.steps.readiness import enough_people, narrow_electorates, policy_programs, ssh_keygen
from tfops.steps.survey import stray_backends, survey

LOW_DISK_BYTES = 1 << 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One check. A warning is not ok, and yet nothing fails by it."""

    name: str
    ok: bool
    detail: str
    hint: str = ""
    warning: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """The result of `tfops doctor`."""

    findings: tuple[Finding, ...]
    problems: tuple[Problem, ...]
    exit_code: Exit


def doctor(caller: Caller, *, branch: str | None) -> Diagnosis:
    """Look at everything, and stop at nothing: later checks say when an earlier fault hides them."""
    examination = _Examination()
    examination.check("git repository", lambda: str(Repository(caller.directory, environ=caller.environ).directory))
    examination.check("git program", lambda: _program("git", caller))
    session = examination.open(caller, branch)
    if session is not None:
        for name, look in _checks(session):
            examination.check(name, look)
        for name, warn in _warnings(session):
            examination.warn(name, warn)
    return Diagnosis(
        findings=tuple(examination.findings),
        problems=tuple(examination.problems),
        exit_code=most_serious(examination.codes),
    )


def _checks(session: Session) -> list[tuple[str, Callable[[], str]]]:
    return [
        ("configuration", lambda: f"environments: {len(session.config.environments)}, at {session.revision}"),
        ("store", lambda: f"{session.store.id[:12]} at {session.place.where}"),
        ("terraform", lambda: _terraform(session)),
        ("store is writable", lambda: _write_something(session)),
        ("runner keys", lambda: ", ".join(sorted(session.keys)) or "none"),
        ("signing key", lambda: f'runner "{session.runner}"'),
        ("approvers", lambda: enough_people(session)),
        ("ssh-keygen", lambda: ssh_keygen(session)),
        ("policies", lambda: policy_programs(session)),
        ("stacks", lambda: ", ".join(survey(session))),
        ("heads", lambda: _heads(session)),
        *((("forge", lambda: _forge(session)),) if session.config.forge else ()),
        *((f"credentials of {stack.environment}", partial(_who, session, stack)) for stack in _in_roles(session)),
    ]


def _forge(session: Session) -> str:
    """Which forge is asked, and that it answers: it says which change brought the revision."""
    forge, named = session.forge, session.config.forge
    if named is None:
        return "none"
    if forge is None:
        connected(named, session.repository, session.revision.branch, session.caller)  # its token, before it is asked
        return "its token is there; not asked yet: the rules in force name none (tfops trust)"
    change = forge.landed(session.revision.commit, session.revision.branch)
    brought = f"change #{change.number} brought it" if change else "no change brought it"
    return f"{forge.name} at {named.url} answers; {session.revision}: {brought}"


def _in_roles(session: Session) -> list[Stack]:
    """One stack of every environment that has roles of its own."""
    try:
        stacks = [item.stack for item in survey(session).values()]
    except TfopsError:
        return []  # the same fault stands above
    return list({stack.environment: stack for stack in stacks if stack.aws is not None}.values())


def _who(session: Session, stack: Stack) -> str:
    access, region = Access(session, stack), session.caller.environ.get("AWS_REGION")
    reading, writing = (identity(environ, region=region) for environ in (access.reading(), access.writing()))
    return f"plans as {reading}, applies as {writing}"


def _warnings(session: Session) -> list[tuple[str, Callable[[], list[str]]]]:
    return [
        ("orphaned stacks", lambda: [f"{o.stack}: {o.sentence}" for o in orphans(session, survey(session)).values()]),
        ("backends of nobody", lambda: stray_backends(session)),
        ("spare approvers", lambda: narrow_electorates(session)),
        ("credentials", lambda: _shared_credentials(session)),
        ("clock", lambda: _clock(session)),
        ("disk", lambda: _disk([*map(Path, session.place.disk_places()), session.caller.cache])),
        ("shallow clone", lambda: ["history is missing"] if session.repository.is_shallow else []),
    ]


class _Examination:
    """Findings as they come."""

    def __init__(self) -> None:
        self.findings: list[Finding] = []
        self.problems: list[Problem] = []
        self.codes: list[Exit] = []

    def open(self, caller: Caller, branch: str | None) -> Session | None:
        """The session, unless something already stands in its way."""
        try:
            session = open_session(caller, branch=branch)
        except TfopsError as error:
            self._failed("revision", error)
            return None
        self._found("revision", str(session.revision))
        return session

    def check(self, name: str, look: Callable[[], str]) -> None:
        """Run one check."""
        try:
            self._found(name, look())
        except TfopsError as error:
            self._failed(name, error)

    def warn(self, name: str, look: Callable[[], list[str]]) -> None:
        """Run one check whose findings are worth knowing, but fail nothing."""
        try:
            found = look()
        except TfopsError:
            return  # the same fault stands above
        for detail in found:
            self.findings.append(Finding(name=name, ok=False, detail=detail, warning=True))
        if not found:
            self._found(name, "fine")

    def _found(self, name: str, detail: str) -> None:
        self.findings.append(Finding(name=name, ok=True, detail=detail))

    def _failed(self, name: str, error: TfopsError) -> None:
        self.codes.append(error.exit_code)
        for problem in error.problems:
            if problem not in self.problems:
                self.problems.append(problem)
                self.findings.append(Finding(name=name, ok=False, detail=problem.message, hint=problem.hint))


def _program(name: str, caller: Caller) -> str:
    found = shutil.which(name, path=caller.environ.get("PATH"))
    if found is None:
        raise TfopsError(f"{name} is not on PATH", code="git.missing", hint=f"install {name}")
    return found


def _known_program(session: Session) -> Program:
    """The Terraform of the rules in force; where they cannot be read what PATH has, never what only the head names."""
    try:
        _ = session.rules
    except TfopsError:
        return find_program(None, environ=session.caller.environ, cache=session.caller.cache)
    return session.program


def _terraform(session: Session) -> str:
    program = _known_program(session)
    how = "embedded" if program.embedded else program.argv[0]
    return f"{program.product} {program.version} ({how})"


def _write_something(session: Session) -> str:
    objects = session.store.objects
    key = f"work/doctor-{session.run_id}"
    objects.create(key, b"x")
    refused = not objects.create(key, b"y")
    objects.delete(key)
    if not refused:
        raise TfopsError(
            "the store lets an object be written twice",
            code="store.not_write_once",
            hint="use another file system",
        )
    return "written once, refused twice, deleted"


def _shared_credentials(session: Session) -> list[str]:
    """Where Terraform runs as tfops itself, plans and applies can read the whole store: plans, records, digest key."""
    if not isinstance(session.config.store, S3Store):
        return []
    shared = sorted({item.stack.environment for item in survey(session).values() if item.stack.aws is None})
    return [f"{name}: Terraform gets tfops' own credentials; give it roles: aws {{ … }}" for name in shared]


def _heads(session: Session) -> str:
    known = session.store.stacks()
    heads = [session.store.head(name, session.keys) for name in known]
    return f"{sum(head is not None for head in heads)} verified"


def _clock(session: Session) -> list[str]:
    now = datetime.now(UTC)
    late = [
        name
        for name in session.store.stacks()
        if (head := session.store.head(name, session.keys)) and head.record.finished_on > now
    ]
    return [f"{name} was deployed in the future: this clock, or the other runner's, is wrong" for name in late]


def _disk(places: list[Path]) -> list[str]:
    found = []
    for place in places:
        existing = next(path for path in (place, *place.parents) if path.exists())
        free = shutil.disk_usage(existing).free
        if free < LOW_DISK_BYTES:
            found.append(f"{free >> 20} MiB free at {place}")
    return found
