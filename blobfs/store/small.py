"""Many small blobs at once: they are put into the store with one flush for all of them.

1. Each is written to a temp; what is here already is not.
2. One flush makes them all durable.
3. Each gets its place: the tree by rename(2), then the blob by link(2), which never takes the place of one
   that came here meanwhile and that names may be linked to. The temp becomes the link by which an open
   transaction holds the blob, or goes.
4. Where they were written through a transaction, one flush of its directory makes all the links last: file
   systems that journal names (ext4, XFS) have then those in `blobs/` on the disk too, which came before.

What was not placed leaves nothing, what was placed stays. System calls are what this costs: seven for a
blob of one leaf.
"""

import contextlib
import logging
import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from blobfs import errors
from blobfs.model import BlobId
from blobfs.store.dropping import drop_unheld
from blobfs.store.failures import store_errors
from blobfs.store.files import Buffer, write_all
from blobfs.store.layout import SHARED_FILE_MODE, WRITTEN_SUFFIX
from blobfs.store.marks import LOADED, YES, set_mark
from blobfs.store.opening import Store
from blobfs.store.packages import hold_present
from blobfs.store.sealed import replace_by_link
from blobfs.store.temps import remove_temp

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class SmallBlob:
    """A blob in memory; the caller has verified it."""

    blob: BlobId
    content: bytes | memoryview
    tree: bytes
    """The tree file; empty for a blob of one leaf."""


@dataclass(frozen=True, slots=True)
class _Written:
    """A blob in temps. `tree` is empty where there is none to place."""

    blob: SmallBlob
    content: str
    tree: str


@dataclass(frozen=True, slots=True)
class _Link:
    """What a transaction's link to a blob is called: see `store.layout`."""

    package: BlobId
    suffix: str


@store_errors()
def place_small(
    store: Store, blobs: Sequence[SmallBlob], hold: BlobId | None = None, written: bool = False
) -> None:
    """Shares them by their ids; the bytes are durable before anything of them is seen.

    `hold`: the open transaction of that package, if there is one, holds each of them, those too that are
    here already. `written`: they were written through it, and go when it is aborted, but not with a power cut
    after this has returned. Else they were loaded. Raises `QuotaExceeded`.
    """
    link = None if hold is None else _Link(hold, WRITTEN_SUFFIX if written else "")
    absent = _absent(store, blobs, hold)
    if absent:
        _place_absent(store, absent, link)
    if hold is not None and written:
        _flush_links(store, hold)


def _place_absent(store: Store, absent: list[SmallBlob], link: _Link | None) -> None:
    amount = sum(len(each.content) + len(each.tree) for each in absent)
    store.usage.demand(amount)
    names, temps = store.layout.new_temps(), list[str]()
    loaded = link is None or not link.suffix
    try:
        ready = [_write(names, each, temps, loaded) for each in absent]
        store.flushes.everything()
        others = [each.blob.blob for each in ready if not _place(store, each, link)]
    except BaseException:
        for temp in temps:
            remove_temp(temp)
        raise
    store.usage.add(amount)
    _hold(store, link.package if link is not None else None, others)


def _flush_links(store: Store, package: BlobId) -> None:
    with contextlib.suppress(FileNotFoundError):  # it has ended: complete and durable, or aborted
        fd = os.open(store.layout.transaction(package), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            store.flushes.file(fd)
        finally:
            os.close(fd)


def _absent(store: Store, blobs: Sequence[SmallBlob], hold: BlobId | None) -> list[SmallBlob]:
    """What must be written, each once; the rest is held."""
    absent = {each.blob: each for each in blobs}
    here = [each.blob for each in absent.values() if _is_placed(store, each)]
    lost = _hold(store, hold, here)  # dropped since it was seen
    for blob in set(here).difference(lost):
        del absent[blob]
    return list(absent.values())


def _hold(store: Store, package: BlobId | None, blobs: list[BlobId]) -> list[BlobId]:
    """Returns those that are not here; none where there is no transaction to hold them."""
    if package is None or not blobs:
        return []
    try:
        return hold_present(store, package, blobs)
    except errors.NameMissing:
        return []


def _is_placed(store: Store, small: SmallBlob) -> bool:
    return _size(f"{store.layout.blobs}/{small.blob}") == len(small.content) and (
        not small.tree or _size(f"{store.layout.trees}/{small.blob}") == len(small.tree)
    )


def _size(path: str) -> int | None:
    try:
        return os.stat(path).st_size
    except FileNotFoundError:
        return None


def _write(names: Iterator[str], small: SmallBlob, temps: list[str], loaded: bool) -> _Written:
    """Adds what it makes to `temps`, before it makes it."""
    content, tree = next(names), next(names) if small.tree else ""
    temps.append(content)
    _write_temp(content, small.content, loaded)
    if tree:
        temps.append(tree)
        _write_temp(tree, small.tree, loaded=False)
    return _Written(small, content, tree)


def _write_temp(path: str, content: Buffer, loaded: bool) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, SHARED_FILE_MODE)
    try:
        if stat.S_IMODE(os.fstat(fd).st_mode) != SHARED_FILE_MODE:  # the umask took from it
            os.fchmod(fd, SHARED_FILE_MODE)
        write_all(fd, content, 0)
        if loaded:
            set_mark(fd, LOADED, YES)
    finally:
        os.close(fd)


def _place(store: Store, written: _Written, link: _Link | None) -> bool:
    """False: the blob came here meanwhile in another way, and is not held yet."""
    small = written.blob
    target = f"{store.layout.blobs}/{small.blob}"
    with store.links:
        if written.tree:
            os.rename(written.tree, f"{store.layout.trees}/{small.blob}")
        try:
            os.link(written.content, target)
        except FileExistsError:
            if _size(target) == len(small.content):
                os.unlink(written.content)
                return False
            _log.warning("%s has the wrong size and is replaced", target)
            replace_by_link(store, Path(written.content), Path(target))
        _let_go(store, written.content, small.blob, link)
    return True


def _let_go(store: Store, temp: str, blob: BlobId, link: _Link | None) -> None:
    """Makes the temp the transaction's link to the blob, or removes it.

    With the blob, if it was written through a transaction that is aborted by now: nobody else would.
    """
    if link is not None:
        try:
            os.rename(temp, f"{store.layout.needed}/{link.package}/{blob}{link.suffix}")
        except FileNotFoundError:
            _log.debug("%s is not held: no transaction of %s is open", blob, link.package)
        else:
            return
    os.unlink(temp)
    if link is not None and link.suffix and not store.layout.package(link.package).exists():
        drop_unheld(store.layout, blob)
