"""The store's objects in an S3 bucket. Before its first write it asks the server whether conditions are kept at all."""

import hashlib
import threading
import uuid

from tfops.adapters.s3 import Bucket, Found
from tfops.adapters.s3_session import HURRIED
from tfops.errors import VerificationError

SEGMENT_BYTES = 64 * 1024
# What a bucket's lifecycle rule may remove after some days (modules/aws-bootstrap): it holds secrets in clear.
SHORT_LIVED = "/plan.tfplan"
SHORT_LIVED_TAG = "tfops=raw-plan"


class S3Objects:
    """Objects below a prefix of a bucket. Journals grow in segments: S3 cannot append."""

    def __init__(self, bucket: Bucket, prefix: str) -> None:
        self.bucket = bucket
        self.prefix = prefix
        self._etags: dict[str, tuple[str, str]] = {}
        self._journals: dict[str, tuple[int, bytes]] = {}
        self._probing = threading.Lock()
        self._is_probed = False

    def get(self, key: str) -> bytes | None:
        """The object's bytes, or None where there is none."""
        found = self.bucket.get(self._key(key))
        if not isinstance(found, Found):
            return None
        self._know(key, found.data, found.etag)
        return found.data

    def create(self, key: str, data: bytes) -> bool:
        """Write once: False (and nothing changed) where the object exists."""
        name = self._key(key)
        self.probe()
        tags = SHORT_LIVED_TAG if name.endswith(SHORT_LIVED) else None
        etag = self.bucket.put(name, data, only_if_absent=True, tags=tags)
        if etag is None:
            return False
        self._know(key, data, etag)
        return True

    def replace(self, key: str, data: bytes, *, expected: bytes | None) -> bool:
        """Compare and set: False (and nothing changed) unless the object still is `expected` (None: absent)."""
        if expected is None:
            return self.create(key, data)
        name = self._key(key)
        self.probe()
        known = self._etags.get(key)
        if known is None or known[0] != _digest(expected):
            if self.get(key) != expected:
                return False
            known = self._etags[key]
        etag = self.bucket.put(name, data, only_if=known[1])
        if etag is None:
            self._etags.pop(key, None)
            # Written anew with the same content? Then it still is what was expected.
            return self.get(key) == expected and self.replace(key, data, expected=expected)
        self._know(key, data, etag)
        return True

    def append(self, key: str, data: bytes) -> None:
        """Add to a journal. It has one writer at a time, who goes on where the last segment ends."""
        number, segment = self._journals.get(key) or self._last_segment(key)
        if len(segment) >= SEGMENT_BYTES:
            number, segment = number + 1, b""
        grown = segment + data
        self.probe()
        self.bucket.with_patience(HURRIED).put(self._key(_segment(key, number)), grown)
        self._journals[key] = (number, grown)

    def appended(self, key: str) -> bytes:
        """A whole journal; empty where there is none."""
        found, number = b"", 0
        while True:
            segment = self.get(_segment(key, number))
            found += segment or b""
            if segment is None or len(segment) < SEGMENT_BYTES:
                return found
            number += 1

    def keys(self, prefix: str) -> list[str]:
        """All keys below `prefix/`, sorted."""
        return [key[len(self.prefix) :] for key in self.bucket.keys(self._below(prefix))]

    def names(self, prefix: str) -> list[str]:
        """The distinct next path parts below `prefix/`, sorted."""
        return self.bucket.names(self._below(prefix))

    def delete(self, key: str) -> None:
        """Remove an object; nothing happens where there is none."""
        name = self._key(key)
        self.probe()
        self.bucket.delete(name)
        self._etags.pop(key, None)

    def probe(self) -> None:
        """Make sure, once a process and before its first write, that the server keeps conditions.

        Raises VerificationError `store.no_conditional_writes`: some servers ignore them, one only on versioned
        buckets (reference/terraform.md E), and two runs would apply at once.
        """
        with self._probing:
            if self._is_probed:
                return
            fault = _fault_of_conditions(self.bucket, self._key(f"probe/{uuid.uuid4().hex}"))
            if fault:
                place = self.bucket.place
                raise VerificationError(
                    f"the store, bucket {place.bucket}: {fault}. Two runs at once could both apply",
                    code="store.no_conditional_writes",
                    hint="nothing but the probe was written. Use S3 itself, or a server that honours If-None-Match "
                    "and If-Match, also on versioned buckets",
                )
            self._is_probed = True

    def _last_segment(self, key: str) -> tuple[int, bytes]:
        number = 0
        while True:
            segment = self.get(_segment(key, number))
            if segment is None or len(segment) < SEGMENT_BYTES:
                return number, segment or b""
            number += 1

    def _know(self, key: str, data: bytes, etag: str) -> None:
        self._etags[key] = (_digest(data), etag)

    def _key(self, key: str) -> str:
        parts = key.split("/")
        if any(part in {".", ".."} for part in parts) or key.startswith("/") or "\0" in key:
            raise ValueError(f"not a key: {key!r}")
        return self.prefix + key

    def _below(self, prefix: str) -> str:
        return self._key(f"{prefix}/" if prefix else "")


def _fault_of_conditions(bucket: Bucket, key: str) -> str | None:
    """What is wrong with the server's conditional writes, tried on one object that is removed again."""
    first = bucket.put_raw(key, b"1", only_if_absent=True)
    try:
        if first.status != 200:
            return f"it refuses the first conditional write of an object ({first.status})"
        if bucket.put_raw(key, b"2", only_if_absent=True).status == 200:
            return "it ignores If-None-Match: an object can be written twice"
        if bucket.put_raw(key, b"3", only_if='"0123456789abcdef0123456789abcdef"').status == 200:
            return "it ignores If-Match: a write based on an old version goes through"
        if bucket.put_raw(key, b"4", only_if=first.etag).status != 200:
            return "it refuses If-Match with the right ETag"
        return None
    finally:
        bucket.delete(key)


def _segment(key: str, number: int) -> str:
    return f"{key}.{number:04d}" if number else key


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
