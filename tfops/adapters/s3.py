"""One S3 bucket over a socket: conditional reads and writes, the server's own clock, and its faults in words.

A conditional write whose answer is lost is retried by the library, and then refused for what it wrote itself. Every
write carries a token of its own by which it is recognised (reference/terraform.md C4: phantom locks).
"""

import contextlib
import random
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from tfops.adapters.credentials import code_of
from tfops.adapters.s3_faults import Words, status_of
from tfops.adapters.s3_session import BucketPlace, Patience, s3_client

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

WRITE_TOKEN = "tfops-write"  # noqa: S105  (the name of a header, no secret)
CONFLICT_TRIES = 8
CONFLICT_PAUSE_SECONDS = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """An object as it was read. `age_seconds` is by the server's clock alone: when it answered, minus when it wrote."""

    data: bytes
    etag: str
    version: str | None
    age_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """How the server answered a write."""

    status: int
    etag: str = ""


class Unchanged:
    """The object still is what the caller knows."""


UNCHANGED = Unchanged()


class Bucket:
    """A bucket opened with the credentials of `environ`, which is asked when the first request is sent.

    Every fault is a TfopsError that says what is missing.

    `noun` is what the bucket is to the reader ("the store"), `code` how its errors' codes begin.
    """

    def __init__(
        self,
        place: BucketPlace,
        *,
        environ: Callable[[], Mapping[str, str]],
        noun: str = "the store",
        code: str = "store",
        patience: Patience | None = None,
    ) -> None:
        self.place = place
        self._environ = environ
        self._patience = patience or Patience()
        self._words = Words(place=place, noun=noun, code=code)
        self._variants: dict[Patience, Bucket] = {}

    def with_patience(self, patience: Patience) -> "Bucket":
        """The same bucket for somebody who can wait longer, or not as long."""
        if patience == self._patience:
            return self
        if patience not in self._variants:
            noun, code = self._words.noun, self._words.code
            self._variants[patience] = Bucket(
                self.place, environ=self._environ, noun=noun, code=code, patience=patience
            )
        return self._variants[patience]

    @cached_property
    def _client(self) -> "S3Client":
        with self._explained("s3:ListBucket", ""):
            return s3_client(self.place, self._environ(), self._patience)

    def get(self, key: str, *, unless_etag: str | None = None) -> Found | Unchanged | None:
        """The object, None where there is none; UNCHANGED where its ETag still is `unless_etag`. One request."""
        wanted: Any = {"IfNoneMatch": unless_etag} if unless_etag else {}
        with self._explained("s3:GetObject", key):
            try:
                answer: Any = self._client.get_object(Bucket=self.place.bucket, Key=key, **wanted)
                data = answer["Body"].read()
            except Exception as error:
                if status_of(error) == 304:
                    return UNCHANGED
                if code_of(error) in ("NoSuchKey", "404"):
                    return None
                raise
        return Found(data=data, etag=answer["ETag"], version=answer.get("VersionId"), age_seconds=_age(answer))

    def put(
        self,
        key: str,
        data: bytes,
        *,
        only_if_absent: bool = False,
        only_if: str | None = None,
        tags: str | None = None,
    ) -> str | None:
        """Write the object; its new ETag, or None where the condition did not hold and nothing was written.

        `only_if` is the ETag it must still have. A write of our own whose answer was lost counts as written.
        """
        token = uuid.uuid4().hex
        arguments = self._put_arguments(key, data, token, only_if_absent, only_if, tags)
        with self._explained("s3:PutObject", key):
            for attempt in range(CONFLICT_TRIES):
                try:
                    return self._client.put_object(**arguments)["ETag"]
                except Exception as error:
                    if status_of(error) == 409 and attempt + 1 < CONFLICT_TRIES:
                        time.sleep(CONFLICT_PAUSE_SECONDS * (attempt + 1) * random.uniform(0.5, 1.5))  # noqa: S311
                        continue
                    refused = _is_refused_condition(error) and (only_if_absent or only_if is not None)
                    if _is_certain(error) and not refused:
                        raise
                    written = self._ours(key, token)
                    if written is None and not refused:
                        raise
                    return written
        raise AssertionError("unreachable")

    def put_raw(self, key: str, data: bytes, *, only_if_absent: bool = False, only_if: str | None = None) -> "Written":
        """One conditional write as the server answers it: for asking whether it keeps conditions at all."""
        with self._explained("s3:PutObject", key):
            try:
                answer = self._client.put_object(**self._put_arguments(key, data, "", only_if_absent, only_if, None))
            except Exception as error:
                if status_of(error) in (409, 412):
                    return Written(status=status_of(error))
                raise
        return Written(status=200, etag=answer["ETag"])

    def delete(self, key: str) -> None:
        """Remove an object; nothing happens where there is none."""
        with self._explained("s3:DeleteObject", key):
            self._client.delete_object(Bucket=self.place.bucket, Key=key)

    def keys(self, prefix: str) -> list[str]:
        """All keys that begin with `prefix`, sorted."""
        return sorted(item["Key"] for page in self._pages(prefix) for item in page.get("Contents", []))

    def names(self, prefix: str) -> list[str]:
        """The distinct next path parts below `prefix` (which ends in a slash or is empty), sorted."""
        found: set[str] = set()
        for page in self._pages(prefix, Delimiter="/"):
            found |= {item["Prefix"][len(prefix) : -1] for item in page.get("CommonPrefixes", [])}
            found |= {item["Key"][len(prefix) :] for item in page.get("Contents", [])}
        return sorted(found)

    def _pages(self, prefix: str, **more: str) -> Iterator[Any]:
        with self._explained("s3:ListBucket", prefix):
            pages: Any = self._client.get_paginator("list_objects_v2")
            yield from pages.paginate(Bucket=self.place.bucket, Prefix=prefix, **more)

    def _put_arguments(
        self, key: str, data: bytes, token: str, only_if_absent: bool, only_if: str | None, tags: str | None
    ) -> dict[str, Any]:
        arguments: dict[str, Any] = {
            "Bucket": self.place.bucket,
            "Key": key,
            "Body": data,
            "ChecksumAlgorithm": "SHA256",
            "Metadata": {WRITE_TOKEN: token},
        }
        if only_if_absent:
            arguments["IfNoneMatch"] = "*"
        if only_if is not None:
            arguments["IfMatch"] = only_if
        if tags is not None:
            arguments["Tagging"] = tags
        if self.place.kms_key_id:
            arguments |= {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": self.place.kms_key_id}
            arguments |= {"BucketKeyEnabled": True}
        return arguments

    def _ours(self, key: str, token: str) -> str | None:
        """The object's ETag if it is what this very write left there."""
        try:
            answer = self._client.head_object(Bucket=self.place.bucket, Key=key)
        except Exception as error:
            if code_of(error) in ("NoSuchKey", "404"):
                return None
            raise
        return answer["ETag"] if answer["Metadata"].get(WRITE_TOKEN) == token else None

    @contextlib.contextmanager
    def _explained(self, permission: str, key: str) -> Iterator[None]:
        from botocore import exceptions as fault

        try:
            yield
        except fault.ClientError as error:
            raise self._words.refused(error, permission, key) from error
        except (fault.HTTPClientError, fault.ConnectionError, fault.EndpointConnectionError) as error:
            raise self._words.unreachable(str(error)) from error
        except (fault.BotoCoreError, RecursionError) as error:  # boto3 follows a redirection without end
            raise self._words.unusable(error) from error


def _is_certain(error: Exception) -> bool:
    """Whether the server said no: then nothing was written. Its own faults and silence leave that open."""
    return 300 <= status_of(error) < 500


def _is_refused_condition(error: Exception) -> bool:
    return status_of(error) in (409, 412) or (status_of(error) == 404 and code_of(error) in ("NoSuchKey", "404"))


def _age(answer: Any) -> float:
    from email.utils import parsedate_to_datetime

    now = parsedate_to_datetime(answer["ResponseMetadata"]["HTTPHeaders"]["date"])
    age: float = (now - answer["LastModified"]).total_seconds()
    return max(0.0, age)
