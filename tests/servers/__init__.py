"""Real servers for tests. They listen on 127.0.0.1 only, and none outlives the process that started it."""

import os
import random
import socket
import subprocess
import sys
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import closing, suppress
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Any, Self

ROOT = Path(__file__).resolve().parents[2]
ACCESS_KEY = "tfops-test"
SECRET_KEY = "tfops-test-secret"
START_SECONDS = 60.0
PORTS = range(11000, 32000)  # below the ports that the system hands out for outgoing connections

# Linux kills the server when the process that started it ends, however it ends.
LAUNCHER = """
import ctypes, os, signal, sys
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)
    if os.getppid() != int(sys.argv[1]):
        sys.exit("the process that wanted this server is gone")
os.execv(sys.argv[2], sys.argv[2:])
"""


_session_lock = threading.Lock()  # a session makes one client at a time


class ServerError(Exception):
    """A server did not start."""


class Endpoint(ABC):
    """An address that speaks the AWS protocols, and the credentials it takes."""

    @property
    @abstractmethod
    def endpoint(self) -> str:
        """The address for clients: http://127.0.0.1 and a port."""

    @property
    def environ(self) -> dict[str, str]:
        """The environment variables that a program needs to be let in."""
        return {
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            "AWS_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def client(self, service: str = "s3", *, endpoint: str | None = None, read_timeout: float = 60) -> Any:
        """A boto3 client that never tries twice. Close it: an open connection is a warning, and so an error."""
        from botocore.config import Config

        config = Config(
            retries={"total_max_attempts": 1},
            s3={"addressing_style": "path"},
            connect_timeout=5,
            read_timeout=read_timeout,
            proxies={},
        )
        with _session_lock:
            return _session().client(
                service,
                endpoint_url=endpoint or self.endpoint,
                aws_access_key_id=ACCESS_KEY,
                aws_secret_access_key=SECRET_KEY,
                region_name="us-east-1",
                config=config,
            )

    def bucket(self, name: str, versioned: bool = False) -> str:
        """Make sure that a bucket exists; returns its name."""
        with closing(self.client()) as s3:
            with suppress(s3.exceptions.BucketAlreadyOwnedByYou, s3.exceptions.BucketAlreadyExists):
                s3.create_bucket(Bucket=name)
            if versioned:
                s3.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
        return name


class Server(Endpoint):
    """A server of one's own: a process that can be killed and started again on the same ports."""

    port_count = 1

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.log = directory / "log"
        self._ports: list[socket.socket] = []
        self._process: subprocess.Popen[bytes] | None = None

    @abstractmethod
    def _command(self, ports: Sequence[int]) -> list[str]:
        """What to run. The first port is the one that clients use."""

    def _prepare(self) -> None:
        """Write what the process reads at its start."""

    def _clean_up(self, ports: Sequence[int]) -> None:
        """Remove what a killed process leaves outside of its directory."""

    @property
    def endpoint(self) -> str:
        """The address for clients; it stays the same until `stop`."""
        if not self._ports:
            raise ServerError("the server was not started")
        return f"http://127.0.0.1:{self.ports[0]}"

    @property
    def ports(self) -> list[int]:
        """The ports that are this server's until `stop`; the first one is for clients."""
        return [port_of(held) for held in self._ports]

    @property
    def pid(self) -> int:
        """The process."""
        if self._process is None:
            raise ServerError("the server does not run")
        return self._process.pid

    def start(self) -> None:
        """Start the server; returns when it has stored an object.

        Call it from a thread that lives as long as the server shall: the server dies with it.
        """
        if self._process is not None:
            raise ServerError("the server runs already")
        self.directory.mkdir(parents=True, exist_ok=True)
        self._ports = self._ports or reserve_ports(self.port_count)
        self._prepare()
        self._launch(self._command(self.ports))
        try:
            self._wait_until_ready()
        except BaseException:
            self.stop()
            raise

    def kill(self) -> None:
        """Kill the server (SIGKILL); returns when the process is gone."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def restart(self) -> None:
        """Kill the server if it runs, and start it on the same ports and the same directory."""
        self.kill()
        self.start()

    def stop(self) -> None:
        """End the server for good. It is killed: nobody needs what an orderly end would take its time for."""
        self.kill()
        self._clean_up(self.ports)
        for held in self._ports:
            held.close()
        self._ports = []

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _launch(self, command: Sequence[str]) -> None:
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", "-c", LAUNCHER, str(os.getpid()), *command],
                cwd=self.directory,
                env=plain_environment(self.directory),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def _wait_until_ready(self) -> None:
        from botocore.exceptions import BotoCoreError, ClientError

        deadline = time.monotonic() + START_SECONDS
        problem = "no answer"
        while self._process is not None and self._process.poll() is None and time.monotonic() < deadline:
            try:
                with closing(self.client(read_timeout=5)) as s3:
                    # Not an empty object: SeaweedFS stores one before it has a place for bytes.
                    s3.put_object(Bucket=self.bucket("probe"), Key="ready", Body=b"x")
            except (BotoCoreError, ClientError) as error:
                problem = str(error)
                time.sleep(0.02)
            else:
                return
        raise ServerError(f"{type(self).__name__} did not start: {problem}\n{tail(self.log)}")


@cache
def _session() -> Any:
    """One for all clients: a second client takes a tenth of the first one's time."""
    import boto3

    return boto3.session.Session()


def reserve_ports(count: int) -> list[socket.socket]:
    """Sockets that are bound to free ports. As long as they are open, only who sets SO_REUSEADDR can listen there.

    A free port is found without SO_REUSEADDR, so two processes never reserve the same one.
    """
    held: list[socket.socket] = []
    while len(held) < count:
        candidate = socket.socket()
        try:
            candidate.bind(("127.0.0.1", random.choice(PORTS)))
        except OSError:
            candidate.close()
            continue
        candidate.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.append(candidate)
    return held


def port_of(held: socket.socket) -> int:
    """The port that a socket is bound to."""
    port: int = held.getsockname()[1]
    return port


def plain_environment(home: Path) -> dict[str, str]:
    """An environment without the caller's settings: no AWS profile, no coverage of a server."""
    return {"PATH": os.environ["PATH"], "HOME": str(home), "LANG": "C.UTF-8", "PYTHONPATH": str(ROOT)}


def tail(log: Path, lines: int = 40) -> str:
    """The end of a log."""
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:]) if log.exists() else "(no log)"
