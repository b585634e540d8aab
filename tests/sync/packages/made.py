"""Packages for tests: from a few lines, or from a directory."""

import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from blobfs.manifest import Directory, Entry, File, Link, Nested, render_manifest
from blobfs.model import BlobId
from tests.sync.fake_share import FakeShare, blob_of

MTIME_NS = 1_700_000_000_123_456_789


@dataclass(frozen=True)
class Made:
    """A package and all that belongs to it: its blobs and those of the packages in it, by their ids."""

    package: BlobId
    meta: bytes
    blobs: Mapping[BlobId, bytes] = field(repr=False)
    """Without the meta blob."""

    def add_to(self, share: FakeShare) -> None:
        share.add_blob(self.meta)
        for raw in self.blobs.values():
            share.add_blob(raw)


def make(files: Mapping[str, bytes], *others: Entry, nested: Mapping[str, Made] | None = None) -> Made:
    """A package of these files, their directories, whatever else is given, and packages at these paths."""
    entries: dict[bytes, Entry] = {entry.path: entry for entry in others}
    blobs: dict[BlobId, bytes] = {}
    for name, raw in files.items():
        path = os.fsencode(name)
        blobs[blob_of(raw)] = raw
        entries[path] = File(path, 0o644, len(raw), MTIME_NS, blob_of(raw))
    for name, inner in (nested or {}).items():
        entries[os.fsencode(name)] = Nested(os.fsencode(name), inner.package)
        blobs |= {inner.package: inner.meta, **inner.blobs}
    for path in list(entries):
        while path := path.rpartition(b"/")[0]:
            entries.setdefault(path, Directory(path, 0o755))
    meta = render_manifest(entries.values())
    return Made(blob_of(meta), meta, blobs)


def make_from(root: Path) -> Made:
    """The package of a directory as it is."""
    entries: list[Entry] = []
    blobs: dict[BlobId, bytes] = {}
    top = os.fsencode(root)
    for above, directories, files in os.walk(top):
        for name in directories + files:
            found = os.path.join(above, name)
            path = os.path.relpath(found, top)
            status = os.lstat(found)
            mode = stat.S_IMODE(status.st_mode)
            if stat.S_ISLNK(status.st_mode):
                entries.append(Link(path, os.readlink(found)))
            elif stat.S_ISDIR(status.st_mode):
                entries.append(Directory(path, mode))
            else:
                raw = Path(os.fsdecode(found)).read_bytes()
                blobs[blob_of(raw)] = raw
                entries.append(File(path, mode, len(raw), status.st_mtime_ns, blob_of(raw)))
    meta = render_manifest(entries)
    return Made(blob_of(meta), meta, blobs)
