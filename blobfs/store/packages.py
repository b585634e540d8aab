"""Packages on the disk: open transactions in `needed/`, complete packages in `packages/`.

Both are directories of hard links to the package's blobs, and the links hold the blobs. A transaction is
completed by renaming its directory to the other place, once everything in it is durable, and aborted by
renaming it away. So what a crash at any instant leaves is open, complete, or aborted; the start after it
finishes an abort (`store.dropping`) and `hold_present` says what an open one lacks.

Threads may work on one transaction at once; what comes after its end finds it gone.
"""

import contextlib
import errno
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from blobfs import errors
from blobfs.model import BlobId, Invalid, parse_blob_id
from blobfs.store.dropping import is_same_file, tear_down
from blobfs.store.failures import store_errors
from blobfs.store.layout import PRIVATE_DIRECTORY_MODE, WRITTEN_SUFFIX
from blobfs.store.marks import LOADED, YES, set_mark
from blobfs.store.opening import Store
from blobfs.store.sealed import Content, place_blob, replace_by_link, set_keep


@store_errors()
def open_transaction(store: Store, package: BlobId) -> bool:
    """Whether it was opened, durably; False: it was open already and is left as it is."""
    try:
        store.layout.transaction(package).mkdir(mode=PRIVATE_DIRECTORY_MODE)
    except FileExistsError:
        return False
    store.flushes.directory(store.layout.needed)
    return True


@store_errors()
def hold_present(store: Store, package: BlobId, blobs: Iterable[BlobId]) -> list[BlobId]:
    """Holds what is here already; returns what is not, in the order given. May be done again.

    Raises `NameMissing` when the transaction is gone.
    """
    directory = store.layout.transaction(package)
    try:
        held = set(os.listdir(directory))
    except FileNotFoundError:
        raise _gone(package) from None
    missing = []
    for blob in blobs:
        written = f"{blob}{WRITTEN_SUFFIX}"
        if not _hold(store, blob, f"{directory}/{written if written in held else blob}"):
            missing.append(blob)
    if missing and not directory.exists():
        raise _gone(package)  # that, and not the lack of blobs, may have been in the way
    return missing


@store_errors()
def hold_written(store: Store, package: BlobId, blob: BlobId) -> bool:
    """Holds a blob that was written through the transaction, so that it goes when that is aborted.

    False: the transaction is gone. The blob is in `blobs/`, and in `incoming/` until this returns.
    """
    if _hold_written(store, package, blob):
        return True
    if store.layout.transaction(package).exists():
        raise errors.StoreBroken(f"the blob {blob} was written and is not in the store")
    return False


@store_errors()
def place_written(store: Store, package: BlobId, source: Path, content: Content, mtime_ns: int) -> bool:
    """`place_blob`, and `hold_written` with the same answer.

    A blob that was here already may be dropped between the two, when another transaction that wrote it is
    aborted. Then this one is placed, and as long as `source` is there it is not dropped.
    """
    place_blob(store, source, content, mtime_ns)
    if not _hold_written(store, package, content.blob):
        place_blob(store, source, content, mtime_ns)
    return hold_written(store, package, content.blob)


def _hold_written(store: Store, package: BlobId, blob: BlobId) -> bool:
    plain = f"{store.layout.transaction(package)}/{blob}"
    return _hold(store, blob, plain if os.path.lexists(plain) else f"{plain}{WRITTEN_SUFFIX}")


def _hold(store: Store, blob: BlobId, link: str) -> bool:
    """Whether both the blob and the directory of `link` are there."""
    source = f"{store.layout.blobs}/{blob}"
    with store.links:
        try:
            _link(store, source, link)
        except FileNotFoundError:
            return False
        except OSError as failure:
            if failure.errno != errno.EMLINK:
                raise
            # 65,000 packages and names have this blob (an empty file, mostly): it stays for good.
            set_keep(store, blob)
    return True


def _link(store: Store, source: str, link: str) -> None:
    try:
        os.link(source, link)
    except FileExistsError:
        # Another file than the one in blobs/: that one was found broken, and came here anew.
        if not is_same_file(Path(source), Path(link)):
            replace_by_link(store, Path(source), Path(link))


@store_errors()
def complete_transaction(store: Store, package: BlobId) -> None:
    """The package is complete and stays so: durable before it is seen, and when this returns. Twice is fine.

    Raises `NameMissing` when the transaction is gone and the package is not complete.
    """
    layout = store.layout
    transaction = layout.transaction(package)
    if transaction.exists():
        if not any(link.endswith(WRITTEN_SUFFIX) for link in os.listdir(transaction)):
            set_mark(transaction, LOADED, YES)
        store.flushes.everything()
        try:
            os.rename(transaction, layout.package(package))
        except OSError as failure:
            if failure.errno in (errno.EEXIST, errno.ENOTEMPTY):
                abort_transaction(store, package)  # it was complete before; that one holds the same blobs
            elif failure.errno != errno.ENOENT:  # ended meanwhile, one way or the other: see below
                raise
    if not is_complete(store, package):
        raise _gone(package)
    store.flushes.directory(layout.needed)
    store.flushes.directory(layout.packages)


@store_errors()
def abort_transaction(store: Store, package: BlobId) -> None:
    """The transaction is gone, and each blob that was written through it and that nothing else holds.

    Twice is fine. A blob whose file is still in `incoming/` is held by that: who removes it drops the blob.
    """
    aborted = store.layout.new_aborted()
    try:
        os.rename(store.layout.transaction(package), aborted)
    except FileNotFoundError:
        return
    tear_down(store.layout, aborted, store.links)


@store_errors()
def touch_transaction(store: Store, package: BlobId) -> None:
    """There is progress, now. Raises `NameMissing` when the transaction is gone."""
    try:
        os.utime(store.layout.transaction(package))
    except FileNotFoundError:
        raise _gone(package) from None


@store_errors()
def list_transactions(store: Store) -> list[tuple[BlobId, int]]:
    """The open ones, each with its last progress in ns since the epoch; in no order."""
    found = []
    for package, entry in _directories(store.layout.needed):
        with contextlib.suppress(FileNotFoundError):  # ended meanwhile
            found.append((package, entry.stat(follow_symlinks=False).st_mtime_ns))
    return found


@store_errors()
def is_complete(store: Store, package: BlobId) -> bool:
    return store.layout.package(package).is_dir()


@store_errors()
def list_packages(store: Store) -> list[BlobId]:
    """The complete ones, in no order."""
    return [package for package, _ in _directories(store.layout.packages)]


def _directories(path: Path) -> Iterator[tuple[BlobId, os.DirEntry[str]]]:
    with os.scandir(path) as entries:
        for entry in entries:
            try:
                package = parse_blob_id(entry.name)
            except Invalid:
                continue
            if entry.is_dir(follow_symlinks=False):
                yield package, entry


def _gone(package: BlobId) -> errors.NameMissing:
    return errors.NameMissing(f"there is no open transaction of the package {package}")
