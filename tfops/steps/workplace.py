"""A private directory in which one stack's Terraform works: the code, its data, its output. Locked while used."""

import contextlib
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import quote

from tfops.adapters.credentials import session_name
from tfops.adapters.git import materialise
from tfops.adapters.hosts import this_process
from tfops.adapters.lock import FileLock, private_directory
from tfops.adapters.process import ending_file
from tfops.adapters.terraform import Surroundings, Terraform, init_argv
from tfops.concealment import Secrets
from tfops.errors import FailedError
from tfops.inputs import init_key
from tfops.steps import diagnosis
from tfops.steps.access import Access
from tfops.steps.audit import record_unlock
from tfops.steps.errored import rescue
from tfops.steps.hold import Hold
from tfops.steps.opening import Session
from tfops.steps.state import OVERRIDE, Snapshot, StateLockRequest, parse_state
from tfops.steps.surveyed import Surveyed, snapshot

INIT_NOTE = "init-key"
_KEPT_OUTPUT = ("apply.out", "apply.exit", "apply.plan")
_SEPARATOR = "\0"


@dataclass(frozen=True, slots=True, kw_only=True)
class Leftover:
    """What Terraform still said of an apply when its tfops was gone: raw events, for reading, never for showing.

    `ended`: it is known that Terraform ended by itself, and so wrote its state.
    """

    events: bytes = b""
    ended: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Workplace:
    """An open work directory with the stack's code in it, ready to run Terraform."""

    surveyed: Surveyed
    terraform: Terraform
    directory: Path
    hold: Hold
    state_locked: bool = False
    """Whether we hold Terraform's own lock on the state: then it must not try to take it."""

    @property
    def plan_file(self) -> Path:
        """Where plan files are written."""
        return self.directory / "out" / "plan.tfplan"

    @property
    def identity(self) -> str:
        """This very directory, in this boot of this host."""
        return f"{this_process().boot} {self.directory}"

    def note_apply(self, plan_id: str) -> None:
        """From now on what Terraform says belongs to that plan, also for whoever comes after we were killed."""
        (self.directory / "out" / "apply.plan").write_text(plan_id)

    def leftover(self, plan_id: str) -> Leftover:
        """What is left here of applying that plan."""
        out = self.directory / "out"
        if _read(out / "apply.plan").decode(errors="replace") != plan_id:
            return Leftover()
        return Leftover(events=_read(out / "apply.out"), ended=ending_file(out / "apply.out").exists())

    def forget_apply(self) -> None:
        """The apply is on record: what Terraform said of it is not needed any more."""
        for name in _KEPT_OUTPUT:
            (self.directory / "out" / name).unlink(missing_ok=True)


@contextlib.contextmanager
def workplace(
    session: Session,
    surveyed: Surveyed,
    *,
    purpose: str,
    hold: Hold | None = None,
    withheld: frozenset[str] = frozenset(),
    wait_seconds: float = 60.0,
) -> Iterator[Workplace]:
    """Lock and fill the work directory of a stack. Terraform keeps the locks of `hold`, too.

    It does not see the `withheld` variables (patterns of names).
    """
    held = hold or Hold(lost=session.caller.stop)
    access = Access(session, surveyed.stack)
    place = session.caller.cache / session.store.id / quote(surveyed.id, safe="@", errors="surrogateescape") / purpose
    _make_private(surveyed, place)
    with FileLock.hold(
        place / "lock",
        holder=session.holder,
        stop=session.caller.stop,
        wait_seconds=wait_seconds,
        on_wait=lambda who: session.say(surveyed.id, f"waiting for the work directory, used by {who}"),
    ) as lock:
        _fill(session, surveyed, place)
        surroundings = Surroundings(
            root=place / "tree" / surveyed.stack.root,
            data=place / "data",
            output=place / "out",
            workspace=surveyed.stack.workspace,
            environ=session.caller.environ,
            pass_env=surveyed.stack.pass_env,
            withheld=withheld,
            cli_config=_cli_config(surveyed, place),
            inherit=(*held.inherit, lock.descriptor),
            run_id=session.run_id,
            credentials=access.for_command if surveyed.stack.aws else None,
        )
        terraform = Terraform(session.program, surroundings, stop=session.caller.stop)
        try:
            yield Workplace(surveyed=surveyed, terraform=terraform, directory=place, hold=held)
        finally:
            _forget_output(place / "out")


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError:
        return b""


def _make_private(surveyed: Surveyed, place: Path) -> None:
    try:
        private_directory(place)
    except OSError as error:
        raise _unwritable(surveyed, place, error) from error


def _unwritable(surveyed: Surveyed, place: Path, error: OSError) -> FailedError:
    return FailedError(
        f"{surveyed.id}: cannot write its work directory {place}: {error.strerror}",
        code="work.io",
        hint="give this user access and space there, or point XDG_CACHE_HOME elsewhere",
        stack=surveyed.id,
    )


def _fill(session: Session, surveyed: Surveyed, place: Path) -> None:
    try:
        rescue(session, surveyed, place / "tree" / surveyed.stack.root)
        materialise(session.tree, surveyed.inputs.entries, place / "tree")
        override = _override(surveyed)
        if override is not None:
            (place / "tree" / surveyed.stack.root / OVERRIDE).write_bytes(override)
        for name in ("data", "out"):
            (place / name).mkdir(parents=True, exist_ok=True, mode=0o700)
        _forget_output(place / "out")  # what a killed run could not
        (place / "no-settings.tfrc").write_text("")
        if surveyed.state is not None and surveyed.is_managed:
            surveyed.state.prepare()
    except OSError as error:
        raise _unwritable(surveyed, place, error) from error


def _override(surveyed: Surveyed) -> bytes | None:
    """The backend tfops writes beside the code, for managed state."""
    if surveyed.state is None or not surveyed.is_managed:
        return None
    return surveyed.state.override(session_name(surveyed.id, "state"))


def _cli_config(surveyed: Surveyed, place: Path) -> Path:
    if surveyed.cli_config is not None:
        return surveyed.cli_config
    if surveyed.stack.cli_config is not None:
        return place / "tree" / surveyed.stack.cli_config
    return place / "no-settings.tfrc"


def _forget_output(directory: Path) -> None:
    # Plan files, events and states hold secrets in clear: nothing of them stays behind, but for what an apply said
    # that is not on record yet.
    for path in directory.iterdir():
        if path.is_file() and path.name not in _KEPT_OUTPUT:
            path.unlink(missing_ok=True)


def initialise(session: Session, work: Workplace) -> None:
    """`terraform init`, only when lock file, module sources, providers or backend changed since the last one here."""
    surveyed = work.surveyed
    key = _SEPARATOR.join(
        [
            init_key(surveyed.inputs, surveyed.stack.root),
            str(surveyed.address),
            str(surveyed.stack.backend_config),
            session.program.version,
            (_override(surveyed) or b"").decode(),
        ]
    )
    note = work.directory / "data" / INIT_NOTE
    if note.exists() and note.read_text() == key:
        return
    note.unlink(missing_ok=True)
    session.say(surveyed.id, "terraform init")
    ended = work.terraform.run(init_argv(dict(surveyed.stack.backend_config)), name="init")
    if ended.code:
        raise diagnosis.init_failed(work.terraform, surveyed.id, ended, Secrets.of(secret_values(session, surveyed)))
    note.write_text(key)


def make_workspace(session: Session, work: Workplace) -> None:
    """Have Terraform make the workspace of a state that is new, where it would otherwise do so under a lock of its own.

    Two at once: one of them finds it made.
    """
    state, stack = work.surveyed.state, work.surveyed.stack
    if state is None or not state.must_make_workspace(state.snapshot(stack=stack.id)):
        return
    session.say(stack.id, f"terraform workspace new {stack.workspace}")
    ended = work.terraform.run(["workspace", "new", stack.workspace], name="workspace")
    (work.directory / "data" / "environment").unlink(missing_ok=True)
    if ended.code and state.must_make_workspace(state.snapshot(stack=stack.id)):
        raise diagnosis.failed("workspace new", work.terraform, stack.id, ended, "workspace")


@contextlib.contextmanager
def state_lock(session: Session, work: Workplace, *, wait_seconds: float) -> Iterator[Workplace]:
    """Hold Terraform's lock on the state for plan, comparison and apply, where that can be done for it."""
    stack, state = work.surveyed.id, work.surveyed.state
    if state is None:
        yield work
        return
    request = StateLockRequest(
        stack=stack,
        store_id=session.store.id,
        run_id=session.run_id,
        epoch=work.hold.epoch,
        wait_seconds=wait_seconds,
        terraform_version=session.program.version,
        is_stopped=session.caller.stop.is_set,
        say=lambda message: session.say(stack, message),
        on_released=lambda lock: record_unlock(session, stack, lock),
    )
    with state.hold(request) as locked:
        yield replace(work, state_locked=locked)


def current_state(session: Session, work: Workplace) -> Snapshot:
    """The state now. Local and s3 ones are read; for other backends Terraform is asked once (`state pull`)."""
    read = snapshot(work.surveyed)
    if read is not None:
        return read
    return parse_state(state_data(session, work), stack=work.surveyed.id)


def state_data(session: Session, work: Workplace) -> bytes:
    """The state's bytes now; none where there is none."""
    if work.surveyed.state is not None:
        return work.surveyed.state.data(stack=work.surveyed.id) or b""
    ended = work.terraform.run(["state", "pull"], name="state")
    if ended.code:
        raise diagnosis.failed("state pull", work.terraform, work.surveyed.id, ended, "state")
    return work.terraform.stdout("state").read_bytes()


def secret_values(session: Session, surveyed: Surveyed) -> list[str]:
    """Values that must not appear in messages before a plan tells which are sensitive: variables passed on."""
    environ = session.caller.environ
    return [environ[name] for name in surveyed.stack.pass_env if name in environ]


def read_only_copy(work: Workplace, data: bytes) -> Path:
    """The verified bytes of a plan, in a private file that nobody may write, for Terraform to apply."""
    path = work.directory / "out" / "verified.tfplan"
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW, 0o400)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
    return path


def seconds_since(start: float) -> str:
    """A short duration for a progress line."""
    return f"{time.monotonic() - start:.1f} s"
