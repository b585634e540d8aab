"""The bundles of this node: the small blobs of a package in one file, for those who load all of them.

What is in one follows from the package's manifest (`blobfs.bundle`). It is made from blobs that are here,
and whoever reads it verifies each of them by its id. Those of directories: `blobfs.store.directory_bundles`.
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from blobfs import errors
from blobfs.bundle import Member
from blobfs.model import BlobId
from blobfs.store.failures import store_errors
from blobfs.store.files import write_all
from blobfs.store.layout import PRIVATE_FILE_MODE, SHARED_FILE_MODE
from blobfs.store.marks import set_mark
from blobfs.store.opening import Store
from blobfs.store.temps import remove_temp


@store_errors()
def has_bundle(store: Store, package: BlobId) -> bool:
    return store.layout.bundle(package).exists()


@store_errors()
def write_bundle(store: Store, package: BlobId, members: Sequence[Member]) -> None:
    """Shares the bundle, durable before it is seen. Nothing to do without members, or if it is here."""
    if members:
        place_bundle(store, package, members, {})


def place_bundle(store: Store, bundle: BlobId, members: Sequence[Member], marks: Mapping[str, bytes]) -> None:
    """A bundle with these members, if it is not here. Raises OSError, `StoreBroken`, `QuotaExceeded`."""
    target = store.layout.bundle(bundle)
    size = members[-1].offset + members[-1].size
    if target.exists() and target.stat().st_size == size:
        return
    store.usage.demand(size)
    temp = store.layout.new_temp()
    try:
        _write(store, temp, members, marks)
        os.rename(temp, target)
        store.usage.add(size)
    except BaseException:
        remove_temp(temp)
        raise


def _write(store: Store, path: Path, members: Sequence[Member], marks: Mapping[str, bytes]) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, PRIVATE_FILE_MODE)
    try:
        for member in members:
            write_all(fd, _read(store, member), member.offset)
        for key, value in marks.items():
            set_mark(fd, key, value)
        os.fchmod(fd, SHARED_FILE_MODE)
        store.flushes.file(fd)
    finally:
        os.close(fd)


def _read(store: Store, member: Member) -> bytes:
    fd = os.open(f"{store.layout.blobs}/{member.blob}", os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        content = os.pread(fd, member.size + 1, 0)
    finally:
        os.close(fd)
    if len(content) != member.size:
        raise errors.StoreBroken(f"the blob {member.blob} has not the {member.size} bytes it should have")
    return content
