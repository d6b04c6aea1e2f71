"""Runs tfops in forks of a process that has imported it: the imports take longer than all the rest of most runs.

To the system each run is a process of its own, with its own arguments, environment, directory, streams and end. What
they have in common is what Python did before `main`. As a module this is the process they are forked off.
"""

import gc
import importlib
import json
import os
import pkgutil
import selectors
import signal
import socket
import subprocess
import sys
import time
import traceback
import uuid
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from types import TracebackType
from typing import IO, Any, NoReturn, Self

from coverage import Coverage

from tests.measured import Measured
from tests.servers.boto import keep_what_boto_reads

ROOT = Path(__file__).resolve().parents[1]
WISH_BYTES = 1 << 17
SCRIPTS = ("tfops.__main__", "tfops.adapters.launcher", "tfops.adapters.embedded")
"""What is run, never imported."""


class Nursery:
    """Where runs of tfops come from. Any number may be under way."""

    def __enter__(self) -> Self:
        self._door, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        measuring = Coverage.current()
        data = [f"{measuring.get_option('run:data_file')}.nursery-{uuid.uuid4().hex}"] if measuring else []
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.nursery", str(theirs.fileno()), *data],
                cwd=ROOT,
                env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
            )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._door.close()
        self._process.wait()

    def run(
        self, argv: Sequence[str], *, cwd: Path, env: Mapping[str, str], stdin: str | None, timeout: float
    ) -> "subprocess.CompletedProcess[str]":
        """Run `argv`, which begins with tfops, to its end; raises subprocess.TimeoutExpired, and kills it then."""
        with ExitStack() as open_files:
            given, out, err = (open_files.enter_context(TemporaryFile("w+", encoding="utf-8")) for _ in range(3))
            given.write(stdin or "")
            given.seek(0)
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            with ours:
                with theirs:
                    wish = json.dumps({"argv": list(argv), "cwd": str(cwd), "env": dict(env)}).encode()
                    socket.send_fds(self._door, [wish], [theirs.fileno(), *(one.fileno() for one in (given, out, err))])
                code = _end(ours, argv, timeout)
            return subprocess.CompletedProcess(list(argv), code, _text(out), _text(err))


def _end(reply: socket.socket, argv: Sequence[str], timeout: float) -> int:
    """The nursery says the process' id, and then how it ended."""
    reply.settimeout(timeout)
    pid = int(reply.recv(32))
    try:
        return int(reply.recv(32))
    except TimeoutError:
        os.kill(pid, signal.SIGKILL)
        raise subprocess.TimeoutExpired(list(argv), timeout) from None


def _text(stream: IO[str]) -> str:
    stream.seek(0)
    return stream.read()


def serve(door: socket.socket, measured: Measured | None) -> None:
    """One fork for each wish, until nobody is left who could have one."""
    with selectors.DefaultSelector() as waiting:
        waiting.register(door, selectors.EVENT_READ)
        while True:
            for key, _ in waiting.select():
                if key.fileobj is not door:
                    waiting.unregister(key.fileobj)
                    os.close(key.fd)
                    key.data.end(measured)
                    continue
                wish, descriptors, _, _ = socket.recv_fds(door, WISH_BYTES, 4)
                if not wish:
                    return
                run = Run.begin(json.loads(wish), *descriptors, measured=measured)
                waiting.register(os.pidfd_open(run.pid), selectors.EVENT_READ, run)


@dataclass(frozen=True, kw_only=True)
class Run:
    """A fork, who is told about it, and what it notes for its coverage."""

    pid: int
    reply: int
    notes: IO[str]

    @classmethod
    def begin(cls, wish: dict[str, Any], reply: int, *streams: int, measured: Measured | None) -> Self:
        """Fork, and say its id."""
        notes = TemporaryFile("w+")  # noqa: SIM115  (closed at its end)
        pid = os.fork()
        if pid == 0:
            become_tfops(streams, measured.run(notes) if measured else nullcontext(), **wish)
        for stream in streams:
            os.close(stream)
        os.write(reply, str(pid).encode())
        return cls(pid=pid, reply=reply, notes=notes)

    def end(self, measured: Measured | None) -> None:
        """It has ended: say how."""
        _, status = os.waitpid(self.pid, 0)
        if measured:
            measured.learn(self.notes)
        self.notes.close()
        os.write(self.reply, str(os.waitstatus_to_exitcode(status)).encode())
        os.close(self.reply)


def become_tfops(
    streams: Sequence[int], measuring: AbstractContextManager[None], *, argv: list[str], cwd: str, env: dict[str, str]
) -> NoReturn:
    """Be a tfops that was just started. Python is not taken down in the end: that takes longer than most runs, too."""
    code = 1
    try:
        os.setsid()
        os.chdir(cwd)
        os.environ.clear()
        os.environ.update(env)
        time.tzset()
        for number, descriptor in enumerate(streams):
            os.dup2(descriptor, number)
            os.close(descriptor)
        sys.argv = argv
        with measuring:
            _run()
    except SystemExit as end:
        code = int(end.code or 0)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _run() -> None:
    from tests.killing import sitecustomize  # noqa: F401  (its import counts, and kills)
    from tfops.cli.main import main

    main()


def import_everything() -> None:
    """What runs would import, each for itself."""
    import boto3
    import pygit2  # noqa: F401
    import rich.console
    import rich.table  # noqa: F401

    import tfops
    from tfops.dsse import load_library

    load_library()
    for module in pkgutil.walk_packages(tfops.__path__, "tfops."):
        if module.name not in SCRIPTS:
            importlib.import_module(module.name)
    keep_what_boto_reads()
    boto3.session.Session().client("s3", region_name="us-east-1").close()


def main(door: str, *data: str) -> None:
    """Serve, measured where there is a file for the data."""
    measured = Measured(import_everything) if data else None
    if measured is None:
        import_everything()
    gc.freeze()  # collected it would be copied by every fork
    serve(socket.socket(fileno=int(door)), measured)
    for file in data:
        if measured:
            measured.save(file)


if __name__ == "__main__":
    main(*sys.argv[1:])
