"""The bundles of this node's directories: the small blobs that it has published there, in few files.

1. They are written behind what is published, from blobs that are here, whole and durable before anything
   tells of them: first a bundle, then the list that has it. No file changes; one that is not listed goes.
2. They hold only what is named in the directory now: what is removed is soon in no bundle either.
3. A bundle says which directory it is of. So one that a crash, or the end of its directory, has left without
   a list is found, and goes.
"""

import contextlib
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from blobfs.directory_bundles import (
    MAX_LIST_BYTES,
    Bundle,
    decode_list,
    encode_list,
    is_small,
    plan_bundles,
)
from blobfs.model import BlobId, Invalid, Name, parse_blob_id, parse_name
from blobfs.record import BlobRecord
from blobfs.store.bundles import place_bundle
from blobfs.store.failures import store_errors
from blobfs.store.files import replace_file
from blobfs.store.marks import DIRECTORY, get_mark
from blobfs.store.names import LocalName
from blobfs.store.opening import Store

_log = logging.getLogger(__name__)


@store_errors()
def read_bundles(store: Store, directory: Name) -> tuple[Bundle, ...] | None:
    """Those that are listed. None: there is no list, or it is broken."""
    try:
        with store.layout.bundle_list(directory).open("rb") as file:
            return decode_list(file.read(MAX_LIST_BYTES), directory)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except Invalid as reason:
        _log.info("the list of the bundles of %r is made anew: %s", directory, reason)
        return None


@store_errors()
def update_bundles(store: Store, directory: Name, wanted: Mapping[BlobId, int]) -> int:
    """Has a directory's bundles hold these small blobs, as far as they are here. Bytes written.

    A directory that is not here has none. Raises `QuotaExceeded`, `StoreFull`: then those before stay.
    """
    layout = store.layout
    if not layout.record(directory).is_dir():
        remove_strays(store)
        return 0
    listed = read_bundles(store, directory)
    before = [bundle for bundle in listed or () if _size(layout.bundle(bundle.id)) == bundle.size]
    here = {blob: size for blob, size in wanted.items() if _size(layout.blob(blob)) == size}
    planned = plan_bundles(directory, here, before)
    new = [bundle for bundle in planned if bundle not in before]
    if not new and list(listed or ()) == planned:
        return 0
    for bundle in new:
        place_bundle(store, bundle.id, bundle.members, {DIRECTORY: directory.encode()})
    if planned:
        replace_file(layout, layout.bundle_list(directory), encode_list(planned), flush=store.flushes.file)
    else:
        layout.bundle_list(directory).unlink(missing_ok=True)
    if listed is None and planned:
        remove_strays(store)  # what the lost list told of
    _remove(store, {bundle.id for bundle in listed or ()} - {bundle.id for bundle in planned})
    return sum(bundle.size for bundle in new)


def small_blobs(entries: Mapping[str, LocalName]) -> dict[BlobId, int]:
    """What this node has published in a directory and is small, in the order of its names."""
    return {
        entry.record.blob: entry.record.size
        for _, entry in sorted(entries.items())
        if isinstance(entry.record, BlobRecord) and not entry.loaded and is_small(entry.record.size)
    }


@store_errors()
def remove_strays(store: Store) -> None:
    """Bundles of directories that do not list them, or are not here."""
    found = directory_bundles(store)
    _remove(store, [bundle for bundle, directory in found if not _lists(store, directory, bundle)])


@store_errors()
def drop_bundles(store: Store) -> int:
    """All bundles of directories go, with their lists: what is in them is here besides. Bytes freed."""
    found = list(directory_bundles(store))
    for _, directory in found:
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            store.layout.bundle_list(directory).unlink()
    return _remove(store, [bundle for bundle, _ in found])


def directory_bundles(store: Store) -> Iterator[tuple[BlobId, Name]]:
    """Every bundle that is a directory's, with that. Raises OSError."""
    with os.scandir(store.layout.bundles) as entries:
        for entry in entries:
            directory = directory_of(Path(entry.path))
            with contextlib.suppress(Invalid):
                if directory is not None:
                    yield parse_blob_id(entry.name), directory


def directory_of(bundle: Path) -> Name | None:
    """Of which directory a bundle is; None: it is a package's, or has gone."""
    try:
        mark = get_mark(bundle, DIRECTORY)
        return None if mark is None else parse_name(mark.decode()) if mark else Name("")
    except (FileNotFoundError, UnicodeDecodeError, Invalid):
        return None


def _lists(store: Store, directory: Name, bundle: BlobId) -> bool:
    return any(each.id == bundle for each in read_bundles(store, directory) or ())


def _remove(store: Store, bundles: Sequence[BlobId] | set[BlobId]) -> int:
    """Bytes freed."""
    freed = 0
    for bundle in bundles:
        path = store.layout.bundle(bundle)
        size = _size(path)
        if size is not None:
            path.unlink(missing_ok=True)
            freed += size
    store.usage.add(-freed)
    return freed


def _size(path: Path) -> int | None:
    try:
        return os.stat(path).st_size
    except FileNotFoundError:
        return None
