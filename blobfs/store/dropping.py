"""How blobs go that nothing holds any more, and with them what an aborted transaction wrote.

A blob is held by every other link to its file (a name, an open transaction, a complete package, the file in
`incoming/` it came from), by a keep mark and by a pin. Whoever adds a link to a blob that is here, or drops
one, does it under `Store.links`: else a link could be made between the count and the removal.
"""

import contextlib
import os
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

from blobfs.model import BlobId, Invalid, parse_blob_id
from blobfs.store.layout import ABORTED_PREFIX, WRITTEN_SUFFIX, Layout
from blobfs.store.marks import KEEP, PINNED, YES, get_mark


def drop_unheld(layout: Layout, blob: BlobId, own_links: int = 0) -> bool:
    """Whether the blob was dropped. `own_links` more do not hold it: they go too. Raises OSError.

    A tree without a blob goes as well: the disk may have refused the blob after it.
    """
    path = layout.blob(blob)
    try:
        if path.stat().st_nlink > 1 + own_links or get_mark(path, KEEP) or get_mark(path, PINNED) == YES:
            return False
        path.unlink()
        was_here = True
    except FileNotFoundError:
        was_here = False
    layout.tree(blob).unlink(missing_ok=True)
    return was_here


def tear_down(layout: Layout, aborted: Path, links: threading.Lock) -> None:
    """Removes an aborted transaction, and the blobs that it alone wrote and holds. Raises OSError.

    A blob goes before its link, so that after a crash it is still known what is left to do.
    """
    for blob in _written(aborted):
        with links:
            own_links = _links_to(layout.blob(blob), aborted)
            if own_links:  # else it is another file: this one was found broken, and the blob came anew
                drop_unheld(layout, blob, own_links)
    shutil.rmtree(aborted)


def finish_aborted(layout: Layout) -> None:
    """At start, while nobody else works here: goes on with what a crash cut off. Raises OSError."""
    for aborted in layout.incoming.glob(f"{ABORTED_PREFIX}*"):
        if aborted.is_symlink() or not aborted.is_dir():
            continue  # none of ours; it goes with the other temps
        for blob in _written(aborted):
            if not layout.blob(blob).exists():
                layout.tree(blob).unlink(missing_ok=True)
        tear_down(layout, aborted, threading.Lock())


def _written(aborted: Path) -> Iterator[BlobId]:
    for text in os.listdir(aborted):
        if text.endswith(WRITTEN_SUFFIX):
            with contextlib.suppress(Invalid):
                yield parse_blob_id(text.removesuffix(WRITTEN_SUFFIX))


def _links_to(blob: Path, aborted: Path) -> int:
    """How many of the transaction's links are the file that is in `blobs/` now."""
    names = (aborted / blob.name, aborted / f"{blob.name}{WRITTEN_SUFFIX}")
    return sum(is_same_file(name, blob) for name in names)


def is_same_file(one: Path, other: Path) -> bool:
    """False where one of them is missing."""
    try:
        return os.path.samestat(one.lstat(), other.lstat())
    except FileNotFoundError:
        return False
