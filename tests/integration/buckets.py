"""Buckets of a moto server as tfops opens them, and the tests' own look into them."""

import uuid
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from typing import Any

from tests.servers import Endpoint
from tests.servers.moto import Moto
from tfops.adapters.s3 import Bucket
from tfops.adapters.s3_session import BucketPlace, Patience

HURRY = Patience(connect_seconds=2.0, read_seconds=5.0, attempts=1)


class Buckets:
    """Opens buckets of one server, and closes what it opened: a connection left open is a warning, and so an error."""

    def __init__(self, server: Endpoint) -> None:
        self.server = server
        self._opened: list[Bucket] = []

    def open(
        self,
        name: str = "tests",
        *,
        endpoint: str | None = None,
        environ: Mapping[str, str] | None = None,
        patience: Patience | None = None,
        make: bool = True,
        noun: str = "the store",
        code: str = "store",
        **place: Any,
    ) -> Bucket:
        """The bucket, as tfops opens it, at the server itself or at `endpoint` (a proxy in front of it)."""
        if make:
            self.server.bucket(name)
        where = BucketPlace(bucket=name, endpoint=endpoint or self.server.endpoint, use_path_style=True, **place)
        found = self.server.environ if environ is None else environ
        self._opened.append(Bucket(where, environ=lambda: found, patience=patience, noun=noun, code=code))
        return self._opened[-1]

    @contextmanager
    def client(self) -> Iterator[Any]:
        """A plain boto3 client, for looking at what lies there."""
        with closing(self.server.client()) as client:
            yield client

    def keys(self, prefix: str, bucket: str = "tests") -> list[str]:
        """What lies below a prefix."""
        with self.client() as client:
            return [item["Key"] for item in client.list_objects_v2(Bucket=bucket, Prefix=prefix).get("Contents", [])]

    def data(self, key: str, bucket: str = "tests") -> bytes:
        """An object's bytes."""
        with self.client() as client, closing(client.get_object(Bucket=bucket, Key=key)["Body"]) as body:
            found: bytes = body.read()
            return found

    def put(self, key: str, data: bytes, bucket: str = "tests") -> None:
        """Somebody else writes."""
        with self.client() as client:
            client.put_object(Bucket=bucket, Key=key, Body=data)

    def delete(self, key: str, bucket: str = "tests") -> None:
        """Somebody else removes."""
        with self.client() as client:
            client.delete_object(Bucket=bucket, Key=key)

    def close(self) -> None:
        """Close the connections of all that was opened."""
        for bucket in self._opened:
            close(bucket)


def close(bucket: Bucket) -> None:
    """Close a bucket's connections, and those of its variants."""
    if "_client" in vars(bucket):
        bucket._client.close()
    for variant in bucket._variants.values():
        close(variant)


@contextmanager
def buckets_of(server: Moto) -> Iterator[Buckets]:
    """The buckets of a server, closed at the end."""
    found = Buckets(server)
    try:
        yield found
    finally:
        found.close()


def unique() -> str:
    """A prefix that no other test has."""
    return uuid.uuid4().hex
