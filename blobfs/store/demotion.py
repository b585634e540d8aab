"""A whole blob that was found wrong leaves the share at once, and becomes a partial one of the same file.

Each of its chunks is claimed then (`blobfs.store.partial`): those that are right are found right before they
are read, the others are loaded again into the same file. So the links by which transactions and complete
packages hold it hold what it will be, and stay. The names under which it was shared wait for it, as those of
any partial blob do; their records stay too. Where another load of the blob is under way already, and where
there is only one leaf and so nothing worth keeping, the bytes go to quarantine/.

The order, for a crash at any instant: what a partial blob needs besides its content, which means nothing yet;
the links under its names; the blob; its tree. A blob that is still in the share after a crash is found wrong
again; repair removes a link under a name whose content is not the name's blob.
"""

import contextlib
import enum
import errno
import logging
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from blobfs import errors
from blobfs.chunks import map_length
from blobfs.merkle import build_tree, hash_leaves
from blobfs.model import LEAF_SIZE, BlobId, Invalid, Name, parse_blob_id, parse_name, split
from blobfs.record import BlobRecord
from blobfs.store.chunk_map import claim_all, write_map
from blobfs.store.dropping import is_same_file
from blobfs.store.failures import store_errors
from blobfs.store.layout import PRIVATE_FILE_MODE, WRITTEN_SUFFIX, Layout
from blobfs.store.loaded_names import is_loaded, noted_names
from blobfs.store.marks import DEMOTED, YES, get_mark, set_mark
from blobfs.store.names import read_record
from blobfs.store.opening import Store
from blobfs.store.sealed import replace_by_link
from blobfs.store.waiting import WaitingName, add_waiting

_log = logging.getLogger(__name__)


class Became(enum.Enum):
    """What has become of a wrong blob's bytes."""

    PARTIAL = enum.auto()
    """A partial blob, each chunk of it claimed."""
    QUARANTINED = enum.auto()
    """They are kept for the operator only; the blob is missing."""
    GONE = enum.auto()
    """Nothing: the blob was not in the share any more, another file had taken its place, or it is right."""


@dataclass(frozen=True, slots=True)
class Demoted:
    """What `demote` did. In every case no wrong byte of that file is in the share any more."""

    blob: BlobId
    became: Became
    size: int = 0
    """Of the partial blob."""
    names: tuple[Name, ...] = ()
    """That are not linked any more, and will be when the blob is whole."""


@store_errors()
def demote(store: Store, blob: BlobId, size: int | None = None, inode: int | None = None) -> Demoted:
    """Takes a wrong blob out of the share. Blocks; the caller holds its lock of the names, if there is one.

    `size`: what it should have, where that is known. `inode`: the file that was found wrong; another one that
    is in its place by now is left alone.
    """
    path = store.layout.blob(blob)
    try:
        links = _links_of(store, blob)
        waiting = _waiting(store, blob, links)
        with store.links:
            found = path.stat()
            if inode is not None and found.st_ino != inode:
                return Demoted(blob, Became.GONE)
            if size is None:
                size = found.st_size
            if size == found.st_size <= LEAF_SIZE and _is_right(path, blob):
                return Demoted(blob, Became.GONE)
            for each in waiting:
                with _disk_may_be_full():
                    add_waiting(store.layout, blob, each)
            with store.changes.changing(*{split(each.name)[0] for each in waiting}):
                became = _take_out(store.layout, blob, size, links)
    except FileNotFoundError:
        return Demoted(blob, Became.GONE)
    return Demoted(blob, became, size, tuple(each.name for each in waiting))


def _is_right(path: Path, blob: BlobId) -> bool:
    """Of a blob of one leaf. Nothing of it is kept for its load, so it must not be given up for what the disk
    could not read once; nor for what it cannot read now: that is raised. OSError.
    """
    raw = path.read_bytes()
    return build_tree(hash_leaves(raw, 0), len(raw))[0] == blob


def _take_out(layout: Layout, blob: BlobId, size: int, links: list[Path]) -> Became:
    path, content = layout.blob(blob), layout.partial_content(blob)
    if content.exists():  # somebody loads it already
        _unlink_all(links, path)
        os.rename(path, layout.new_quarantined(blob))
        layout.tree(blob).unlink(missing_ok=True)
        return Became.QUARANTINED
    is_small = size <= LEAF_SIZE
    with _disk_may_be_full():
        if is_small:
            shutil.copyfile(path, layout.new_quarantined(blob))
            write_map(layout, blob, size, bytes(map_length(size)))
        else:
            claim_all(layout, blob, size)
    set_mark(path, DEMOTED, YES)
    path.chmod(PRIVATE_FILE_MODE)
    _unlink_all(links, path)
    os.rename(path, content)
    if is_small:
        os.truncate(content, 0)  # none of it is worth anything
    if content.stat().st_size != size:
        os.truncate(content, size)
    with contextlib.suppress(FileNotFoundError):
        layout.tree(blob).chmod(PRIVATE_FILE_MODE)
        os.rename(layout.tree(blob), layout.partial_tree(blob))
    return Became.QUARANTINED if is_small else Became.PARTIAL


@contextlib.contextmanager
def _disk_may_be_full() -> Iterator[None]:
    """The blob leaves the share all the same."""
    try:
        yield
    except (OSError, errors.StoreError) as failure:
        if not isinstance(failure, errors.StoreFull | errors.QuotaExceeded) and (
            not isinstance(failure, OSError) or failure.errno not in (errno.ENOSPC, errno.EDQUOT)
        ):
            raise
        _log.warning("a wrong blob's names or map could not be noted: %s", failure)


def _unlink_all(links: list[Path], path: Path) -> None:
    for link in links:
        if is_same_file(link, path):
            link.unlink()


def _links_of(store: Store, blob: BlobId) -> list[Path]:
    """The files in the share that are this blob, under whichever names.

    Of a loaded blob they are noted. Else, and if there are more links, all directories are walked through.
    """
    path = store.layout.blob(blob)
    noted = [store.layout.named(name) for name in (noted_names(path) if is_loaded(path) else [])]
    found = [link for link in noted if is_same_file(link, path)]
    if path.stat().st_nlink > 1 + len(found) + len(_holds(store.layout, blob, is_same_file)):
        found = [link for link in _all_files(store.layout) if is_same_file(link, path)]
    return found


def _all_files(layout: Layout) -> Iterator[Path]:
    for directory, below, names in os.walk(layout.share):
        if directory == os.fspath(layout.share):
            below[:] = [name for name in below if name != layout.reserved.name]
        yield from (Path(directory, name) for name in names)


def _waiting(store: Store, blob: BlobId, links: list[Path]) -> list[WaitingName]:
    """The names that these links have, as far as their records say so too."""
    found = []
    for link in links:
        with contextlib.suppress(Invalid):
            name = parse_name(os.fspath(link.relative_to(store.layout.share)))
            entry = read_record(store, name)
            if entry is not None and isinstance(entry.record, BlobRecord) and entry.record.blob == blob:
                found.append(WaitingName(name, entry.record, ""))
    return found


def _holds(layout: Layout, blob: BlobId, matches: Callable[[Path, Path], bool]) -> list[Path]:
    """The links by which open transactions and complete packages hold a blob, and that match its file."""
    found = []
    for parent in layout.needed, layout.packages:
        for directory in os.listdir(parent):
            for text in blob, f"{blob}{WRITTEN_SUFFIX}":
                link = Path(parent, directory, text)
                if matches(link, layout.blob(blob)):
                    found.append(link)
    return found


@store_errors()
def hold_again(store: Store, blob: BlobId) -> int:
    """A blob that was demoted is here anew: who holds the old file gets the new one. How many did."""
    with store.links:
        if not store.layout.blob(blob).exists():
            return 0
        stale = _holds(store.layout, blob, _is_other_file)
        for link in stale:
            replace_by_link(store, store.layout.blob(blob), link)
    return len(stale)


def _is_other_file(link: Path, path: Path) -> bool:
    return os.path.lexists(link) and not is_same_file(link, path)


@store_errors()
def list_demoted(store: Store) -> list[tuple[BlobId, int]]:
    """The partial blobs that were whole once, with their sizes. Blocks."""
    found = []
    for text in os.listdir(store.layout.partial):
        with contextlib.suppress(Invalid, FileNotFoundError):
            blob = parse_blob_id(text)
            path = store.layout.partial_content(blob)
            if get_mark(path, DEMOTED) == YES:
                found.append((blob, path.stat().st_size))
    return found
