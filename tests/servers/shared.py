"""One SeaweedFS for all the processes of a test session.

The first process that needs it starts a keeper. Each process holds a connection to the keeper, which the system closes
even for a process that was killed; with the last one the keeper ends, and takes the SeaweedFS with it.
As a module this is the keeper.
"""

import json
import os
import secrets
import selectors
import socket
import sys
import tempfile
from contextlib import ExitStack, suppress
from pathlib import Path

from filelock import FileLock

from tests.servers import START_SECONDS, Endpoint, ServerError, plain_environment, tail
from tests.servers.seaweed import Seaweed

LEAVE_SECONDS = 10.0


class SharedSeaweed(Endpoint):
    """A part in a SeaweedFS that others use as well: work below a prefix of your own."""

    def __init__(self, connection: socket.socket, endpoint: str) -> None:
        self._connection = connection
        self._endpoint = endpoint

    @property
    def endpoint(self) -> str:
        """The address for clients."""
        return self._endpoint

    def stop(self) -> None:
        """Leave it. When the last one has left, it is gone as this returns."""
        with self._connection, suppress(OSError):
            self._connection.settimeout(LEAVE_SECONDS)
            self._connection.shutdown(socket.SHUT_WR)
            self._connection.recv(1)


def shared_seaweed(root: Path) -> SharedSeaweed:
    """The SeaweedFS of all processes that name the same `root`; it is started where none runs."""
    place = root / "seaweed"
    place.mkdir(parents=True, exist_ok=True)
    with FileLock(place / "lock", timeout=2 * START_SECONDS):
        return _join(place) or _begin(place)


def _join(place: Path) -> SharedSeaweed | None:
    """Take part in the one that runs; None where none does, or it is just ending."""
    with ExitStack() as undo, suppress(OSError, ValueError):
        door = json.loads((place / "door.json").read_text())
        connection = undo.enter_context(socket.create_connection(("127.0.0.1", door["port"]), timeout=5))
        greeting = _greeting(connection)
        if greeting["token"] == door["token"]:
            undo.pop_all()
            return SharedSeaweed(connection, greeting["endpoint"])
    return None


def _begin(place: Path) -> SharedSeaweed:
    """Start a keeper; its standard input is the first connection."""
    log = place / "keeper.log"
    ours, theirs = socket.socketpair()
    with theirs, log.open("ab") as output:
        # Not a Popen: nobody waits for the keeper, which may outlive this process.
        os.posix_spawn(
            sys.executable,
            [sys.executable, "-m", "tests.servers.shared", str(place)],
            plain_environment(place),
            file_actions=[
                (os.POSIX_SPAWN_DUP2, theirs.fileno(), 0),
                (os.POSIX_SPAWN_DUP2, output.fileno(), 1),
                (os.POSIX_SPAWN_DUP2, output.fileno(), 2),
            ],
            setsid=True,
        )
    ours.settimeout(2 * START_SECONDS)
    try:
        return SharedSeaweed(ours, _greeting(ours)["endpoint"])
    except (OSError, ValueError) as error:
        ours.close()
        raise ServerError(f"the shared SeaweedFS did not start\n{tail(log)}") from error


def _greeting(connection: socket.socket) -> dict[str, str]:
    """What the keeper says to each who comes: one line. A ValueError where it says nothing."""
    with connection.makefile("rb") as reader:
        greeting: dict[str, str] = json.loads(reader.readline())
    return greeting


def keep(place: Path, first: socket.socket) -> None:
    """Run a SeaweedFS until the last guest has left; the first one is here already."""
    token = secrets.token_hex(16)
    with (
        first,
        Seaweed(Path(tempfile.mkdtemp(prefix="server-", dir=place))) as seaweed,
        socket.create_server(("127.0.0.1", 0)) as door,
    ):
        (place / "door.json").write_text(json.dumps({"port": door.getsockname()[1], "token": token}))
        greeting = json.dumps({"endpoint": seaweed.endpoint, "token": token}).encode() + b"\n"
        last = _attend(door, first, greeting)
        # Who comes from now on finds the door closed, and starts another one.
        door.close()
        seaweed.stop()
        last.close()


def _attend(door: socket.socket, first: socket.socket, greeting: bytes) -> socket.socket:
    """Let guests come and go; returns the last one to leave, whose connection is still open."""
    with selectors.DefaultSelector() as selector:
        selector.register(door, selectors.EVENT_READ)
        _welcome(first, greeting, selector)
        while True:
            for key, _ in selector.select():
                if key.fileobj is door:
                    _welcome(door.accept()[0], greeting, selector)
                    continue
                guest = key.fileobj  # guests say nothing, so this one has left
                assert isinstance(guest, socket.socket)
                selector.unregister(guest)
                if len(selector.get_map()) == 1:
                    return guest
                guest.close()


def _welcome(guest: socket.socket, greeting: bytes, selector: selectors.BaseSelector) -> None:
    with suppress(OSError):
        guest.sendall(greeting)
    selector.register(guest, selectors.EVENT_READ)


if __name__ == "__main__":
    keep(Path(sys.argv[1]), socket.socket(fileno=0))
