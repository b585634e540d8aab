"""Looks at every file of a store and says what is wrong with it.

While the disk fails only P10 holds: the share has nothing in it that is not whole, verified and read-only.
At rest, after a start, every file of the store belongs to something, too: nothing takes up room that nobody
knows of.
"""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from blobfs.merkle import StreamHasher, Tree
from blobfs.model import ROOT, BlobId, Invalid, Name, join
from blobfs.record import LOG_NAME, BlobRecord, DirRecord, GoneRecord, SymlinkRecord, decode_record
from blobfs.store import marks, names, packages, sealed
from blobfs.store.opening import Store
from blobfs.store.partial import list_partials
from tests.disk_faults.ledger import Folder, Link, Meaning

_OF_THE_ROOT = {
    *("format", "lock", "log", "control", "clean"),
    *("share", "incoming", "partial", "needed", "packages", "changing", "quarantine"),
}


def wrong_in_share(share: Path) -> Iterator[str]:
    """What P10 forbids."""
    reserved = share / ".blobfs"
    known = set()
    for path in sorted((reserved / "blobs").iterdir()):
        tree = _tree_of(path)
        known.add(path.stat().st_ino)
        if tree.root != path.name:
            yield f"the blob {path.name[:8]} holds other bytes"
        if tree.tree and _content(reserved / "trees" / path.name) != tree.tree:
            yield f"the blob {path.name[:8]} has not its tree"
    for path in _files(share):
        if stat.S_IMODE(path.stat().st_mode) & 0o222 and path.name != LOG_NAME:
            yield f"{path.relative_to(share)} can be written to"
        if ".blobfs" not in path.relative_to(share).parts and path.stat().st_ino not in known:
            yield f"{path.relative_to(share)} is no blob"
    for path in _files(reserved / "names"):
        if path.name != LOG_NAME:
            try:
                decode_record(path.read_bytes())
            except Invalid as reason:
                yield f"the record of {path.name} is broken: {reason}"


def wrong_at_rest(store: Store, after_crash: bool) -> Iterator[str]:
    """The rest, in a store that nobody works on, after the repair.

    A crash in the middle of what the disk refuses may leave a blob that has just lost its last name, or a
    tree that came before its blob: the start after it does not look at every file for that.
    """
    layout = store.layout
    yield from wrong_in_share(layout.share)
    for directory in names.list_directories(store):
        if names.read_directory(store, directory) != names.read_records(store, directory):
            yield f"the log of {directory!r} does not say what the records say"
    yield from _wrong_names(store)
    blobs = set(sealed.list_blobs(store))
    for tree in layout.trees.iterdir():
        if tree.name not in blobs and not after_crash and not layout.partial_content(tree.name).exists():
            yield f"the tree {tree.name[:8]} has no blob"
    for bundle in layout.bundles.iterdir():
        if not packages.is_complete(store, BlobId(bundle.name)):
            yield f"the bundle {bundle.name[:8]} has no package"
    for place in layout.incoming, layout.quarantine:
        for path in place.iterdir():
            yield f"{path.relative_to(layout.root)} is left"
    yield from _wrong_partials(store, blobs)
    for blob in sorted(blobs):
        if not _is_held(store, blob) and not after_crash:
            yield f"nothing holds the blob {blob[:8]}"
    for path in layout.root.iterdir():
        if path.name not in _OF_THE_ROOT:
            yield f"{path.name} is left"


def meanings(store: Store) -> dict[str, Meaning]:
    """What each name means, read from the share."""
    found: dict[str, Meaning] = {}
    for name, record in _records(store):
        match record:
            case BlobRecord():
                found[name] = _content(store.layout.named(name))
            case SymlinkRecord(target=target):
                found[name] = Link(target)
            case DirRecord():
                found[name] = Folder()
    return found


def _records(store: Store) -> Iterator[tuple[Name, object]]:
    directories = [ROOT]
    for directory in directories:
        for component, entry in names.read_records(store, directory).items():
            name = join(directory, component)
            yield name, entry.record
            if isinstance(entry.record, DirRecord):
                directories.append(name)


def _wrong_names(store: Store) -> Iterator[str]:
    meant = set()
    for name, record in _records(store):
        link = store.layout.named(name)
        if isinstance(record, BlobRecord):
            meant.add(str(name))
            if not link.exists():
                yield f"the bytes of {name} are not in the share"
            elif _tree_of(link).root != record.blob:
                yield f"{name} is not what its record says"
        elif isinstance(record, DirRecord) != link.is_dir():
            yield f"{name} is no directory in the share"
        if isinstance(record, GoneRecord | SymlinkRecord) and link.exists():
            yield f"{name} is in the share still"
    for path in _files(store.layout.share):
        relative = path.relative_to(store.layout.share)
        if relative.parts[0] != ".blobfs" and str(relative) not in meant:
            yield f"{relative} stands in the share and is no name"


def _wrong_partials(store: Store, blobs: set[BlobId]) -> Iterator[str]:
    before = set(os.listdir(store.layout.partial))
    keys = {key for key, _ in list_partials(store)}
    for text in sorted(before):
        key = text.partition(".")[0]
        if key not in keys or key in blobs:
            yield f"partial/{text[:8]}…{text[64:]} belongs to no load"


def _is_held(store: Store, blob: BlobId) -> bool:
    path = store.layout.blob(blob)
    if path.stat().st_nlink > 1:
        return True
    return any(marks.get_mark(path, mark) for mark in (marks.KEEP, marks.PINNED, marks.LOADED))


def _files(directory: Path) -> list[Path]:
    return sorted(path for path in directory.rglob("*") if path.is_file())


def _content(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def _tree_of(path: Path) -> Tree:
    hasher = StreamHasher()
    hasher.append(path.read_bytes())
    return hasher.finish()
