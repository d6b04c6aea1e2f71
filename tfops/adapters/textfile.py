"""A file that other programs read at any moment: the metrics for node_exporter's textfile collector."""

import errno
import os
import uuid
from pathlib import Path

from tfops.errors import FailedError

MODE = 0o644
"""node_exporter runs as another user."""


def write_textfile(path: Path, text: str) -> None:
    """Replace `path` by `text` at once: a reader sees the old text or the new one, whole. The directory must exist.

    A symbolic link there is replaced, not followed. Raises FailedError (metrics.io); then the old file stays.
    """
    # node_exporter reads *.prom only, so never this one.
    temporary = path.parent / f".{path.name[:40]}.{uuid.uuid4().hex}.tmp"
    try:
        try:
            _write(temporary, text.encode("utf-8", "replace"))
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise FailedError(
            f"cannot write the metrics to {path}: {error.strerror or error}",
            code="metrics.io",
            hint=_HINTS.get(error.errno or 0, "name a file in a directory that this user may write to"),
        ) from error


def _write(path: Path, data: bytes) -> None:
    descriptor = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_EXCL, MODE)
    with os.fdopen(descriptor, "wb") as file:
        os.fchmod(descriptor, MODE)  # whatever the umask
        file.write(data)
        file.flush()
        os.fsync(descriptor)


_HINTS = {
    errno.ENOENT: "make that directory, the one of node_exporter's --collector.textfile.directory",
    errno.ENOTDIR: "name a file in a directory; a part of this path is no directory",
    errno.EISDIR: "that is a directory: name a file in it, such as tfops.prom",
    errno.EACCES: "give this user write access to that directory",
    errno.EPERM: "give this user write access to that directory",
    errno.EROFS: "that file system is read-only: remount it, or name another place",
    errno.ENOSPC: "free space on that disk and run again; the old metrics are still there",
    errno.EDQUOT: "free space on that disk and run again; the old metrics are still there",
}
