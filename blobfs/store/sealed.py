"""Blobs that are whole: `share/.blobfs/blobs/` and the trees beside them.

A blob gets there by a second link to a file whose bytes are on the disk already, its tree before it, so
that whatever is listed can be verified. It goes in the opposite order. Nothing here is ever changed.
"""

import contextlib
import logging
import os
import time
from dataclasses import dataclass
from pathlib import Path

from blobfs import errors
from blobfs.merkle import DIGEST_SIZE, build_tree
from blobfs.model import LEAF_SIZE, BlobId, Invalid, parse_blob_id
from blobfs.store.dropping import drop_unheld
from blobfs.store.failures import store_errors
from blobfs.store.files import replace_file
from blobfs.store.layout import SHARED_FILE_MODE
from blobfs.store.loaded_names import is_loaded
from blobfs.store.marks import KEEP, LOADED, PINNED, YES, get_mark, remove_mark, set_mark
from blobfs.store.opening import Store
from blobfs.store.temps import remove_temp

_log = logging.getLogger(__name__)

USE_RESOLUTION_NS = 60 * 10**9
"""How exactly it is noted when a blob was used last."""
HASH_STEP = 128 * LEAF_SIZE
"""Bytes read and hashed at a time, 1 MiB: large reads, small buffers."""


@dataclass(frozen=True, slots=True)
class Content:
    """What hashing a whole file gives."""

    blob: BlobId
    size: int
    tree: bytes
    """The tree file; empty for a blob of one leaf."""


@store_errors()
def has(store: Store, blob: BlobId) -> bool:
    try:
        os.stat(f"{store.layout.blobs}/{blob}")  # of every blob of a package: a Path costs five times more
    except FileNotFoundError:
        return False
    return True


@store_errors()
def blob_size(store: Store, blob: BlobId) -> int | None:
    """None: the blob is not here."""
    try:
        return store.layout.blob(blob).stat().st_size
    except FileNotFoundError:
        return None


@store_errors()
def open_blob(store: Store, blob: BlobId) -> int | None:
    """A descriptor to read from, the caller's to close. None: the blob is not here."""
    try:
        fd = os.open(store.layout.blob(blob), os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return None
    note_use(fd)
    return fd


def note_use(file: int | Path) -> None:
    """What was used last is evicted last. Noted as the file's access time, whatever the mount options say."""
    now = time.time_ns()
    try:
        found = os.stat(file)
        if abs(now - found.st_atime_ns) > USE_RESOLUTION_NS:
            os.utime(file, ns=(now, found.st_mtime_ns))
    except OSError as failure:  # reading does not depend on it
        _log.debug("could not note a use of %s: %s", file, failure)


@store_errors()
def read_blob(store: Store, blob: BlobId) -> bytes:
    """The whole of a blob that is here: only for small ones. `StoreBroken`: it is not, or wrong."""
    raw = store.layout.blob(blob).read_bytes()
    if build_tree(store.hashing.hash_leaves(raw, 0), len(raw))[0] != blob:
        raise errors.StoreBroken(f"the stored bytes of {blob} are wrong")
    return raw


@store_errors()
def read_tree_file(store: Store, blob: BlobId) -> bytes:
    """The tree file of a blob that is here; empty for a blob of one leaf."""
    try:
        return store.layout.tree(blob).read_bytes()
    except FileNotFoundError:
        return b""


@store_errors()
def list_blobs(store: Store) -> list[BlobId]:
    """Every whole blob, in no order."""
    found = []
    for text in os.listdir(store.layout.blobs):
        with contextlib.suppress(Invalid):
            found.append(parse_blob_id(text))
    return found


def hash_file(store: Store, fd: int, size: int) -> Content:
    """Of the first `size` bytes; of fewer when the file ends before."""
    size = min(size, os.fstat(fd).st_size)
    digests = store.hashing.hash_file(fd, 0, size)
    if len(digests) != -(-size // LEAF_SIZE) * DIGEST_SIZE:
        raise errors.StoreBroken("a file became shorter while it was hashed")
    blob, tree = build_tree(digests, size)
    return Content(blob, size, tree)


@store_errors()
def place_tree(store: Store, content: Content) -> None:
    """Writes the tree file, over whatever else is there; nothing for a blob of one leaf."""
    path = store.layout.tree(content.blob)
    if content.tree and (_size(path) != len(content.tree) or path.read_bytes() != content.tree):
        replace_file(store.layout, path, content.tree)


@store_errors()
def place_blob(store: Store, source: Path, content: Content, mtime_ns: int) -> None:
    """Shares by id what `source` holds; its bytes are durable and hash to `content`. `source` stays.

    If the blob is here already it stays as it is, and so it can be done twice.
    """
    if _is_placed(store, content):
        return
    with store.links:  # who drops a blob takes its tree along, and must not take this one
        _place(store, source, content, mtime_ns)


def _place(store: Store, source: Path, content: Content, mtime_ns: int) -> None:
    place_tree(store, content)
    os.utime(source, ns=(time.time_ns(), mtime_ns))
    os.chmod(source, SHARED_FILE_MODE)
    target = store.layout.blob(content.blob)
    try:
        os.link(source, target)
    except FileExistsError:
        if target.stat().st_size == content.size:
            return
        _log.warning("%s has the wrong size and is replaced", target)
        replace_by_link(store, source, target)


def replace_by_link(store: Store, source: Path, target: Path) -> None:
    """Makes `target` a link to `source` in one step, whatever it was. Raises OSError."""
    temp = store.layout.new_temp()
    os.link(source, temp)
    try:
        os.rename(temp, target)
    finally:
        # Between two links of one file rename does nothing and leaves both.
        remove_temp(temp)


def _is_placed(store: Store, content: Content) -> bool:
    return _size(store.layout.blob(content.blob)) == content.size and (
        not content.tree or _size(store.layout.tree(content.blob)) == len(content.tree)
    )


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return None


@store_errors()
def drop_blob_if_unnamed(store: Store, blob: BlobId) -> bool:
    """After a name is gone: removes a blob that no name, package, keep mark or pin holds. Whether it did."""
    with store.links:
        taken = _taken(store.layout.blob(blob))
        was_dropped = drop_unheld(store.layout, blob)
    if was_dropped:
        store.usage.add(-taken)
    return was_dropped


def _taken(path: Path) -> int:
    """Bytes on the disk."""
    try:
        return path.stat().st_blocks * 512
    except FileNotFoundError:
        return 0


@store_errors()
def drop_own_if_unnamed(store: Store, blob: BlobId) -> bool:
    """The same, but what came from a share stays until it is evicted."""
    with contextlib.suppress(FileNotFoundError):
        path = store.layout.blob(blob)
        if os.stat(path).st_nlink > 1 or is_loaded(path):  # whoever takes the last link away drops it
            return False
    return drop_blob_if_unnamed(store, blob)


@store_errors()
def set_keep(store: Store, blob: BlobId) -> None:
    """The blob stays although no name means it."""
    set_mark(store.layout.blob(blob), KEEP, YES)


@store_errors()
def set_evictable(store: Store, blob: BlobId) -> None:
    """What this node published, and another node has replaced: from now on as if it had been loaded."""
    with contextlib.suppress(FileNotFoundError):
        set_mark(store.layout.blob(blob), LOADED, YES)


@store_errors()
def is_pinned(store: Store, key: str) -> bool:
    """Of a blob, whole or partial; what is not here is not pinned."""
    for path in (store.layout.blobs / key, store.layout.partial_content(key)):
        with contextlib.suppress(FileNotFoundError):
            return get_mark(path, PINNED) == YES
    return False


@store_errors()
def set_pinned(store: Store, key: str, pinned: bool) -> bool:
    """Whether there was something to pin: a whole blob or one being loaded."""
    for path in (store.layout.blobs / key, store.layout.partial_content(key)):
        try:
            if pinned:
                set_mark(path, PINNED, YES)
            else:
                remove_mark(path, PINNED)
        except FileNotFoundError:
            continue
        return True
    return False
