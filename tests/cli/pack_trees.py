"""Trees to pack, and a mount to pack them to that needs no kernel."""

import errno
import os
from collections.abc import Callable, Iterable
from pathlib import Path

from blobfs.cli.pack_hash import hash_files
from blobfs.cli.pack_package import Package, make_package
from blobfs.cli.pack_problems import Problem
from blobfs.cli.pack_progress import Progress
from blobfs.cli.pack_scan import Tree, scan_tree
from blobfs.cli.pack_source import Source
from blobfs.cli.pack_transaction import Opening
from blobfs.manifest import parse_manifest
from blobfs.merkle import Buffer, StreamHasher
from blobfs.model import BlobId, Invalid

NOWHERE = (0, 0)
"""No directory has this place: the mount is not in the tree."""


def write_tree(directory: Path, files: dict[str, bytes], *, mtime: int = 1_700_000_000) -> Path:
    for name, content in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        path.chmod(0o644)
        os.utime(path, (mtime, mtime))
    for parent in [directory, *(path for path in directory.rglob("*") if path.is_dir())]:
        parent.chmod(0o755)
    return directory


def many_files(count: int) -> dict[str, bytes]:
    """Small ones, no two alike."""
    return {f"d{number % 7}/f{number}": b"%d\n" % number for number in range(count)}


def blob_id(content: Buffer) -> BlobId:
    hasher = StreamHasher()
    hasher.append(content)
    return hasher.finish().root


def scan(directory: Path) -> Tree:
    with Source(os.fsencode(directory)) as source:
        return scan_tree(source, NOWHERE)


def scan_problems(directory: Path) -> dict[bytes, str]:
    return dict(scan(directory).problems)


def read(source: Source, mtime_ns: int | None = None) -> tuple[Package, list[Problem]]:
    tree = scan_tree(source, NOWHERE)
    assert tree.problems == []
    blobs, problems = hash_files(source, tree.files, Progress(0, 0), lambda: None)
    return make_package(tree, blobs, mtime_ns), problems


def package_of(directory: Path, mtime_ns: int | None = None) -> Package:
    with Source(os.fsencode(directory)) as source:
        package, problems = read(source, mtime_ns)
    assert problems == []
    return package


class MemoryMount:
    """One package's transaction, kept in memory, as strict as a mount: what is wrong never comes in.

    `on_call` is told the name of every call before it does anything, and what it is about; it may raise.
    """

    def __init__(self, package: BlobId, *, takes_bundle: bool = False) -> None:
        self.package = package
        self.takes_bundle = takes_bundle
        self.is_open = self.is_whole = False
        self.meta: bytes | None = None
        self.blobs: dict[BlobId, bytes] = {}
        self.calls: list[str] = []
        self.on_call: Callable[[str, BlobId | None], None] = lambda call, blob: None
        self.end_is_delayed = 0
        """Listings that show nothing, after which it is complete."""

    def _begin(self, call: str, blob: BlobId | None = None) -> None:
        self.calls.append(call)
        self.on_call(call, blob)

    def open(self) -> Opening:
        self._begin("open")
        if self.is_whole:
            return Opening.COMPLETE
        if self.is_open:
            return Opening.RESUMED
        self.is_open = True
        return Opening.BEGUN

    def is_complete(self) -> bool:
        return self.is_whole

    def write_meta(self, manifest: bytes) -> None:
        self._begin("meta")
        if self.meta is None:
            demand(blob_id(manifest) == self.package)
            try:
                parse_manifest(manifest)
            except Invalid:
                demand(False)
            self.meta = manifest
        self._end()

    def needed(self) -> dict[BlobId, int]:
        return {} if self.meta is None else parse_manifest(self.meta).blobs()

    def missing(self) -> list[BlobId] | None:
        self._begin("list")
        if not self.is_open:
            return None
        if self.end_is_delayed:
            self.end_is_delayed -= 1
            self._end()
        return [blob for blob in self.needed() if blob not in self.blobs]

    def write_blob(self, blob: BlobId, size: int, pieces: Iterable[Buffer]) -> bool:
        self._begin("blob", blob)
        if not self.is_open or blob in self.blobs:
            return False
        content = b"".join(pieces)
        demand(self.needed()[blob] == size == len(content) and blob_id(content) == blob)
        self._begin("blob is written", blob)
        self.blobs[blob] = content
        self._end()
        return True

    def write_bundle(self, pieces: Iterable[Buffer]) -> bool:
        self._begin("bundle")
        if not self.takes_bundle:
            return False
        content = memoryview(b"".join(pieces))
        for blob, size in self.needed().items():
            if 0 < size <= 128 << 10:
                demand(blob_id(content[:size]) == blob)
                self.blobs[blob] = bytes(content[:size])
                content = content[size:]
        demand(not content)
        self._end()
        return True

    def state(self) -> str:
        return "need-blobs"

    def abort(self) -> None:
        self._begin("abort")
        self.is_open = False

    def _end(self) -> None:
        if self.is_open and self.needed().keys() <= self.blobs.keys() and not self.end_is_delayed:
            self.is_open, self.is_whole = False, True


def demand(is_right: bool) -> None:
    if not is_right:
        raise OSError(errno.EBADMSG, os.strerror(errno.EBADMSG))
