"""A state in a file, as Terraform's local backend keeps it: managed by tfops, or by an absolute path in the code."""

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tfops.adapters.lock import is_locked
from tfops.errors import FailedError
from tfops.stacks import StateAddress
from tfops.steps.state import Snapshot, StateLockRequest, parse_state


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalState:
    """The state of one workspace in a directory."""

    path: Path
    workspace_directory: Path
    workspace: str

    @property
    def file(self) -> Path:
        """The state file, as Terraform's local backend names it."""
        if self.workspace == "default":
            return self.path
        return self.workspace_directory / self.workspace / "terraform.tfstate"

    @property
    def where(self) -> str:
        """The place, as messages name it."""
        return str(self.file)

    def data(self, *, stack: str) -> bytes | None:
        """The state's bytes; None where there is none."""
        try:
            return self.file.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise FailedError(
                f"{stack}: its state {self.file} cannot be read: {error.strerror}",
                code="state.unreadable",
                hint="give this user access to it",
                stack=stack,
            ) from error

    def snapshot(self, *, stack: str, known: Snapshot | None = None) -> Snapshot:
        """The state now."""
        return parse_state(self.data(stack=stack) or b"", stack=stack)

    def override(self, session_name: str) -> bytes:
        """An override file that puts the state here."""
        backend = {"path": str(self.path), "workspace_dir": str(self.workspace_directory)}
        return json.dumps({"terraform": {"backend": {"local": backend}}}).encode()

    def prepare(self) -> None:
        """Make the directory the state will lie in."""
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)

    def must_make_workspace(self, now: Snapshot) -> bool:
        """Terraform makes a workspace of the local backend by the way."""
        return False

    def lock_holder(self) -> str | None:
        """Who holds the operating system's lock on the file, as Terraform's note beside it says."""
        if not is_locked(self.file):
            return None
        note = self.file.with_name(f".{self.file.name}.lock.info")
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            lock = json.loads(note.read_bytes())
            return f"{lock['Who']} since {lock['Created']} (lock {lock['ID']})"
        return "a process of this host"

    @contextlib.contextmanager
    def hold(self, request: StateLockRequest) -> Iterator[bool]:
        """Terraform's own lock is an operating system's, gone with its holder: it is left to Terraform."""
        yield False


def managed(directory: Path, workspace: str) -> LocalState:
    """The managed state of a stack in its directory of a local store."""
    return LocalState(
        path=directory / "terraform.tfstate", workspace_directory=directory / "workspaces", workspace=workspace
    )


def local(address: StateAddress) -> LocalState:
    """A local backend the code names."""
    settings = dict(address.settings)
    path = Path(str(settings["path"]))
    directory = settings.get("workspace_dir")
    return LocalState(
        path=path,
        workspace_directory=Path(str(directory)) if directory else path.parent / "terraform.tfstate.d",
        workspace=address.workspace,
    )
