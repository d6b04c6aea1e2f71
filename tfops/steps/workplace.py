"""A private directory in which one stack's Terraform works: the code, its data, its output. Locked while used."""

import contextlib
import os
import tarfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from urllib.parse import quote

from tfops.adapters.git import materialise
from tfops.adapters.lock import FileLock, private_directory
from tfops.adapters.terraform import Surroundings, Terraform, init_argv
from tfops.concealment import Secrets
from tfops.errors import FailedError, VerificationError
from tfops.fingerprint import Fingerprint
from tfops.inputs import init_key
from tfops.steps import diagnosis
from tfops.steps.errored import rescue
from tfops.steps.opening import Session
from tfops.steps.state import OVERRIDE, Snapshot, parse_state
from tfops.steps.surveyed import Surveyed, snapshot
from tfops.tree import Entry, Mode

INIT_NOTE = "init-key"
_SEPARATOR = "\0"


@dataclass(frozen=True, slots=True, kw_only=True)
class Workplace:
    """An open work directory with the stack's code in it, ready to run Terraform."""

    surveyed: Surveyed
    terraform: Terraform
    directory: Path
    leftover: bytes = b""
    """What Terraform still said of an apply after its tfops was killed: raw events, for reading, never for showing."""

    @property
    def plan_file(self) -> Path:
        """Where plan files are written."""
        return self.directory / "out" / "plan.tfplan"


@contextlib.contextmanager
def workplace(
    session: Session, surveyed: Surveyed, *, purpose: str, inherit: tuple[int, ...] = ()
) -> Iterator[Workplace]:
    """Lock and fill the work directory of a stack. `inherit` are further locks Terraform must keep."""
    place = session.caller.cache / session.store.id / quote(surveyed.id, safe="@", errors="surrogateescape") / purpose
    _make_private(surveyed, place)
    with FileLock.hold(
        place / "lock",
        holder=session.holder,
        stop=session.caller.stop,
        on_wait=lambda who: session.say(surveyed.id, f"waiting for the work directory, used by {who}"),
    ) as lock:
        leftover = _leftover(place / "out" / "apply.out")
        _fill(session, surveyed, place)
        surroundings = Surroundings(
            root=place / "tree" / surveyed.stack.root,
            data=place / "data",
            output=place / "out",
            workspace=surveyed.stack.workspace,
            environ=session.caller.environ,
            pass_env=surveyed.stack.pass_env,
            cli_config=_cli_config(surveyed, place),
            inherit=(*inherit, lock.descriptor),
        )
        terraform = Terraform(session.program, surroundings, stop=session.caller.stop)
        try:
            yield Workplace(surveyed=surveyed, terraform=terraform, directory=place, leftover=leftover)
        finally:
            _forget_output(place / "out")


def _leftover(file: Path) -> bytes:
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
        override = surveyed.override
        if override is not None:
            (place / "tree" / surveyed.stack.root / OVERRIDE).write_bytes(override)
        for name in ("data", "out"):
            (place / name).mkdir(parents=True, exist_ok=True, mode=0o700)
        _forget_output(place / "out")  # what a killed run could not
        (place / "no-settings.tfrc").write_text("")
        if surveyed.local_state is not None and surveyed.address.kind == "managed":
            surveyed.local_state.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise _unwritable(surveyed, place, error) from error


def _cli_config(surveyed: Surveyed, place: Path) -> Path:
    if surveyed.cli_config is not None:
        return surveyed.cli_config
    if surveyed.stack.cli_config is not None:
        return place / "tree" / surveyed.stack.cli_config
    return place / "no-settings.tfrc"


def _forget_output(directory: Path) -> None:
    # Plan files, events and states hold secrets in clear: nothing of them stays behind.
    for path in directory.iterdir():
        if path.is_file():
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
            (surveyed.override or b"").decode(),
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


def current_state(session: Session, work: Workplace) -> Snapshot:
    """The state now. Local ones are read; for other backends Terraform is asked once (`state pull`)."""
    read = snapshot(work.surveyed)
    if read is not None:
        return read
    ended = work.terraform.run(["state", "pull"], name="state")
    if ended.code:
        raise diagnosis.failed("state pull", work.terraform, work.surveyed.id, ended, "state")
    return parse_state(work.terraform.stdout("state").read_bytes(), stack=work.surveyed.id)


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


def archive(session: Session, surveyed: Surveyed, fingerprint: Fingerprint) -> bytes:
    """The stack's inputs as a .tar.gz: the fingerprint's manifest, and every file under tree/; reproducible."""
    import gzip

    packed = BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as tar:
        _add(tar, "manifest.json", fingerprint.manifest)
        for path, entry in sorted(surveyed.inputs.entries.items()):
            _add_entry(tar, session, path, entry)
    return gzip.compress(packed.getvalue(), mtime=0)


def kept_manifest(kept: bytes) -> bytes:
    """The manifest inside kept inputs; raises VerificationError where they are damaged."""
    try:
        with tarfile.open(fileobj=BytesIO(kept), mode="r:gz") as tar:
            member = tar.extractfile("manifest.json")
            if member is not None:
                return member.read()
    except (tarfile.TarError, OSError, EOFError, KeyError) as error:
        raise VerificationError(
            f"kept inputs in the store are damaged: {error}", code="store.damaged", hint="restore the store"
        ) from error
    raise VerificationError("kept inputs lack their manifest", code="store.damaged", hint="restore the store")


def _add(tar: tarfile.TarFile, name: str, data: bytes, mode: int = 0o600) -> None:
    info = tarfile.TarInfo(name)
    info.size, info.mode = len(data), mode
    tar.addfile(info, BytesIO(data))


def _add_entry(tar: tarfile.TarFile, session: Session, path: str, entry: Entry) -> None:
    if entry.mode is Mode.SUBMODULE:
        return
    data = session.tree.read(path)
    if entry.mode is not Mode.SYMLINK:
        _add(tar, f"tree/{path}", data, 0o700 if entry.mode is Mode.EXECUTABLE else 0o600)
        return
    info = tarfile.TarInfo(f"tree/{path}")
    info.type, info.linkname = tarfile.SYMTYPE, os.fsdecode(data)
    tar.addfile(info)


def seconds_since(start: float) -> str:
    """A short duration for a progress line."""
    return f"{time.monotonic() - start:.1f} s"
