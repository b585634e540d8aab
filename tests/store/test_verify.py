"""Verification of a store at rest: what is found, what is mended from what, and that looking changes nothing."""

import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from blobfs.bundle import bundle_members
from blobfs.manifest import File, parse_manifest, render_manifest
from blobfs.model import CHUNK_SIZE, BlobId, Name
from blobfs.record import DirRecord, GoneRecord, SymlinkRecord
from blobfs.store import names, packages
from blobfs.store.bundles import write_bundle
from blobfs.store.opening import Store, open_store, open_unchanged
from blobfs.store.partial import open_partial
from blobfs.store.verify.content import STRETCH
from blobfs.store.verify.findings import Done, Finding, Inspection, Kind
from blobfs.store.verify.verifying import verify
from tests.store.sealing import content_of, put_blob, put_name, record_of

SIZES = {"leaf": 5_000, "small": 300_000, "large": 2 * STRETCH + 70_001}
BLOBS = {name: random.Random(name).randbytes(size) for name, size in SIZES.items()}
PARTIAL = random.Random("partial").randbytes(5 * CHUNK_SIZE + 1)
HERE = (0, 1, 4)
"""Chunks of the partial blob."""


def blob_of(name: str) -> BlobId:
    return content_of(BLOBS[name]).blob


PARTIAL_KEY = content_of(PARTIAL).blob


def put_partial(store: Store) -> None:
    partial = open_partial(store, PARTIAL_KEY, len(PARTIAL))
    partial.write_tree(0, content_of(PARTIAL).tree)
    for chunk in HERE:
        partial.write_chunks(chunk, PARTIAL[chunk * CHUNK_SIZE : (chunk + 1) * CHUNK_SIZE])
        partial.mark(chunk, 1)
    partial.add_name(Name("coming"), record_of(PARTIAL), "http://a/")
    partial.save_map()
    partial.close()


def put_package(store: Store) -> BlobId:
    small = [bytes([number]) * (number + 1) for number in range(9)]
    entries = [
        File(b"%d" % number, 0o444, len(raw), 0, put_blob(store, raw)) for number, raw in enumerate(small)
    ]
    package = put_blob(store, render_manifest(entries))
    packages.open_transaction(store, package)
    packages.hold_present(store, package, [package, *(entry.blob for entry in entries)])
    packages.complete_transaction(store, package)
    manifest = parse_manifest(store.layout.blob(package).read_bytes())
    write_bundle(store, package, bundle_members(manifest))
    return package


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A store that holds of everything one, at rest."""
    store = open_store(tmp_path / "store")
    names.make_directory(store, Name("dir"), DirRecord(1, 2))
    for name, raw in BLOBS.items():
        put_name(store, f"dir/{name}" if name == "small" else name, raw)
    names.put_symlink(store, Name("link"), SymlinkRecord("leaf", 1, 2))
    put_name(store, "removed", b"removed")
    names.put_gone(store, Name("removed"), GoneRecord(5_000))
    put_partial(store)
    put_package(store)
    store.close()
    return store.layout.root


@pytest.fixture
def looking(root: Path) -> Iterator[Callable[[], list[Finding]]]:
    """Verifies it without changing anything."""

    def look() -> list[Finding]:
        store = open_unchanged(root)
        try:
            return list(verify(Inspection(store, mends=False, after_crash=not store.was_clean)))
        finally:
            store.close(clean=False)

    return look


def mend(root: Path) -> list[Finding]:
    store = open_store(root)
    try:
        return list(verify(Inspection(store, mends=True, after_crash=not store.was_clean)))
    finally:
        store.close(clean=True)


def flip(path: Path, offset: int = 0, bit: int = 3) -> None:
    """As rot does it: nobody is told, no time changes, and the file's mode does not matter."""
    found = path.stat()
    path.chmod(0o600)
    with path.open("r+b") as file:
        file.seek(offset % found.st_size)
        byte = file.read(1)[0]
        file.seek(offset % found.st_size)
        file.write(bytes([byte ^ 1 << bit]))
    path.chmod(found.st_mode & 0o777)
    os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns))


def snapshot(root: Path) -> dict[str, tuple[object, ...]]:
    """Everything that could change about every file."""
    found: dict[str, tuple[object, ...]] = {}
    for path in sorted([root, *root.rglob("*")]):
        seen = path.lstat()
        marks = {key: os.getxattr(path, key, follow_symlinks=False) for key in os.listxattr(path)}
        content = path.read_bytes() if path.is_file() else b""
        found[str(path)] = (
            seen.st_ino, seen.st_mode, seen.st_nlink, seen.st_atime_ns if path.is_file() else 0,
            seen.st_mtime_ns, seen.st_ctime_ns, marks, content,
        )  # fmt: skip
        os.utime
    return found


def test_sound_store_is_sound(root: Path, looking: Callable[[], list[Finding]]) -> None:
    """There is nothing to find, and nothing to mend."""
    assert looking() == []
    assert mend(root) == []
    assert looking() == []


def layout_paths(root: Path) -> dict[str, tuple[Path, int, Kind]]:
    """One place for each kind of damage: the file, where in it, and what is found."""
    reserved, partial = root / "share/.blobfs", root / "partial" / PARTIAL_KEY
    bundle = next((reserved / "bundles").iterdir())
    return {
        "leaf": (reserved / "blobs" / blob_of("leaf"), -1, Kind.BLOB),
        "chunk": (reserved / "blobs" / blob_of("small"), 200_000, Kind.BLOB),
        "stretch": (reserved / "blobs" / blob_of("large"), STRETCH + 1, Kind.BLOB),
        "last byte": (reserved / "blobs" / blob_of("large"), -1, Kind.BLOB),
        "tree": (reserved / "trees" / blob_of("small"), 40, Kind.TREE),
        "top of a tree": (reserved / "trees" / blob_of("large"), 0, Kind.TREE),
        "bundle": (bundle, 7, Kind.BUNDLE),
        "record": (reserved / "names/leaf", 20, Kind.RECORD),
        "time in a record": (reserved / "names/leaf", -5, Kind.RECORD),
        "tombstone": (reserved / "names/removed", 30, Kind.RECORD),
        "log": (reserved / "names/.blobfs-log", 300, Kind.LOG),
        "first line of a log": (reserved / "names/dir/.blobfs-log", 3, Kind.LOG),
        "generation of a log": (reserved / "names/dir/.blobfs-log", 30, Kind.LOG),
        "map": (partial.with_name(f"{PARTIAL_KEY}.map"), 3, Kind.MAP),
        "size in a map": (partial.with_name(f"{PARTIAL_KEY}.map"), 12, Kind.MAP),
        "partial chunk": (partial, 4 * CHUNK_SIZE + 9, Kind.CHUNK),
        "partial tree": (partial.with_name(f"{PARTIAL_KEY}.tree"), 33, Kind.TREE),
        "waiting names": (partial.with_name(f"{PARTIAL_KEY}.names"), 33, Kind.WAITING),
    }


@pytest.mark.parametrize("place", [
    "leaf", "chunk", "stretch", "last byte", "tree", "top of a tree", "bundle", "record", "time in a record",
    "tombstone", "log", "first line of a log", "generation of a log", "map", "size in a map", "partial chunk",
    "partial tree", "waiting names",
])  # fmt: skip
def test_flipped_bit_is_found_and_mended(
    root: Path, looking: Callable[[], list[Finding]], place: str
) -> None:
    """One finding tells of it; after the repair there is none, and what could be mended is as it was."""
    path, offset, kind = layout_paths(root)[place]
    before = path.read_bytes()
    flip(path, offset)
    (found,) = looking()
    assert (found.kind, found.done, found.is_left) == (kind, Done.NOTHING, True)
    (mended,) = mend(root)
    assert (mended.kind, mended.path, mended.what) == (found.kind, found.path, found.what)
    assert mended.is_left == (kind is Kind.BLOB)
    assert looking() == []
    if kind in (Kind.TREE, Kind.BUNDLE, Kind.RECORD) and "partial" not in place:
        assert path.read_bytes() == before
    if kind is Kind.BLOB:
        assert not path.exists()
        assert not (
            root / "share" / {"chunk": "dir/small"}.get(place, "leaf" if place == "leaf" else "large")
        ).exists()
