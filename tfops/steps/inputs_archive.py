"""The inputs of a stack as one archive: what the store keeps by fingerprint, so that a lost branch loses nothing."""

import gzip
import json
import os
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from io import BytesIO

from tfops.errors import VerificationError
from tfops.fingerprint import Fingerprint
from tfops.steps.opening import Session
from tfops.steps.store import sha256
from tfops.steps.surveyed import Surveyed
from tfops.tree import Entry, Mode


@dataclass(frozen=True, kw_only=True)
class KeptTree:
    """A revision's files as far as one stack read them."""

    entries: Mapping[str, Entry]
    contents: Mapping[str, bytes] = field(repr=False)

    def read(self, path: str) -> bytes:
        """The bytes of the file at `path`; raises KeyError where there is none."""
        return self.contents[path]


def archive(session: Session, surveyed: Surveyed, fingerprint: Fingerprint) -> bytes:
    """The stack's inputs as a .tar.gz: the fingerprint's manifest, and every file under tree/; reproducible."""
    packed = BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as tar:
        _add(tar, "manifest.json", fingerprint.manifest)
        for path, entry in sorted(surveyed.inputs.entries.items()):
            _add_entry(tar, session, path, entry)
    return gzip.compress(packed.getvalue(), mtime=0)


def unpack(archive: bytes) -> tuple[bytes, KeptTree]:
    """The manifest and the files of kept inputs; raises VerificationError `store.damaged`."""
    try:
        with tarfile.open(fileobj=BytesIO(archive), mode="r:gz") as tar:
            found = {member.name: _content(tar, member) for member in tar}
        manifest = found["manifest.json"]
        words = {path: str(word).partition(" ") for path, word in json.loads(manifest)["files"].items()}
        entries = {path: Entry(mode=Mode(mode), blob=blob) for path, (mode, _, blob) in words.items()}
    except (tarfile.TarError, OSError, EOFError, KeyError, ValueError, TypeError, AttributeError) as error:
        raise VerificationError(
            f"kept inputs in the store are damaged: {error}", code="store.damaged", hint="restore the store"
        ) from error
    files = {name.removeprefix("tree/"): data for name, data in found.items() if name.startswith("tree/")}
    return manifest, KeptTree(entries=entries, contents=files)


def kept_manifest(session: Session, stack: str, fingerprint: str) -> bytes | None:
    """What a signed fingerprint was made of; None where that is not in the store, or is not that any more."""
    kept = session.store.inputs(stack, fingerprint) if fingerprint else None
    manifest = unpack(kept)[0] if kept is not None else None
    return manifest if manifest is not None and sha256(manifest) == fingerprint else None


def _content(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    if member.issym():
        return os.fsencode(member.linkname)
    file = tar.extractfile(member)
    return file.read() if file else b""


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
