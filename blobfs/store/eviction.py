"""Eviction: the bytes of a loaded blob go. The records of its names stay: it is missing here, like others.

Never what this node published, what is pinned, what a transaction or a complete package holds. So that
nothing but whole blobs is ever in the share, the links under its names go first, then the blob, then its
tree. A crash in between leaves a whole blob that lacks a link (which repair puts back) or a tree without a
blob.

A package that was loaded holds its blobs until it is let go as a whole.
"""

import enum
import logging
import os
from pathlib import Path

from blobfs.model import BlobId, Name, split
from blobfs.record import BlobRecord
from blobfs.store.dropping import is_same_file, tear_down
from blobfs.store.failures import store_errors
from blobfs.store.loaded_names import is_loaded, noted_names
from blobfs.store.marks import KEEP, LOADED, PINNED, YES, get_mark
from blobfs.store.names import link_name
from blobfs.store.opening import Store
from blobfs.store.sealed import is_pinned
from blobfs.store.survey import BLOCK

_log = logging.getLogger(__name__)


class Kept(enum.StrEnum):
    """Why something was not evicted."""

    MISSING = "it is not here"
    OWN = "this node published it"
    PINNED = "it is pinned"
    HELD = "a package or a name of this node holds it"
    OPEN = "somebody is reading it"


@store_errors()
def evict_blob(store: Store, blob: BlobId) -> int | Kept:
    """Bytes that are free now, or why there are none. The caller holds its lock of the names."""
    path = store.layout.blob(blob)
    with store.links:
        try:
            reason = _reason_to_keep(path)
            if reason is not None:
                return reason
            found = path.stat()
            names = [name for name in noted_names(path) if is_same_file(store.layout.named(name), path)]
        except FileNotFoundError:
            return Kept.MISSING
        if found.st_nlink > 1 + len(names):
            return Kept.HELD
        with store.changes.changing(*{split(name)[0] for name in names}):
            for name in names:
                store.layout.named(name).unlink()
            path.unlink()
        freed = found.st_blocks * BLOCK + _unlink_counted(store.layout.tree(blob))
    store.usage.add(-freed)
    return freed


@store_errors()
def restore_link(store: Store, name: Name, record: BlobRecord, loaded: bool) -> None:
    """The bytes of a name are here again: its link, too. The caller holds its lock of the names."""
    path = store.layout.blob(record.blob)
    if path.exists() and not is_same_file(store.layout.named(name), path):
        with store.changes.changing(split(name)[0]):
            link_name(store, name, record, loaded)


def _reason_to_keep(path: Path) -> Kept | None:
    """Raises FileNotFoundError."""
    if get_mark(path, PINNED) == YES:
        return Kept.PINNED
    if not is_loaded(path) or get_mark(path, KEEP):
        return Kept.OWN
    return None


@store_errors()
def evict_partial(store: Store, key: str) -> int | Kept:
    """What there is of a blob that no load works on. The names it waits with go too: they are the shares'."""
    layout = store.layout
    try:
        reason = _reason_to_keep(layout.partial_content(key))
    except FileNotFoundError:
        return Kept.MISSING
    if reason is not None:
        return reason
    layout.partial_names(key).unlink(missing_ok=True)
    freed = sum(
        _unlink_counted(path)
        for path in (layout.partial_content(key), layout.partial_map(key), layout.partial_tree(key))
    )
    store.usage.add(-freed)
    return freed


def _unlink_counted(path: Path) -> int:
    """Bytes that it took on the disk."""
    try:
        taken = path.stat().st_blocks * BLOCK
        path.unlink()
    except FileNotFoundError:
        return 0
    return taken


# Packages


@store_errors()
def let_go_package(store: Store, package: BlobId) -> Kept | None:
    """A complete package that was loaded holds its blobs no longer: they may be evicted. None: done."""
    path = store.layout.package(package)
    try:
        if get_mark(path, LOADED) != YES:
            return Kept.OWN if path.exists() else Kept.MISSING
    except FileNotFoundError:
        return Kept.MISSING
    if is_pinned(store, package):
        return Kept.PINNED
    aborted = store.layout.new_aborted()
    os.rename(path, aborted)
    tear_down(store.layout, aborted, store.links)
    store.usage.add(-_unlink_counted(store.layout.bundle(package)))
    return None


@store_errors()
def loaded_packages(store: Store) -> list[BlobId]:
    """Those that may be let go, the longest unused first: a package was used when one of its blobs was."""
    found = []
    with os.scandir(store.layout.packages) as entries:
        for entry in entries:
            try:
                if get_mark(Path(entry.path), LOADED) == YES:
                    found.append((_last_use(entry.path), entry.name))
            except FileNotFoundError:
                _log.debug("%s has just gone", entry.name)
    return [BlobId(name) for _, name in sorted(found)]


def _last_use(package: str) -> int:
    with os.scandir(package) as links:
        return max((link.stat(follow_symlinks=False).st_atime_ns for link in links), default=0)
