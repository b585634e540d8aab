"""Brings the names of one directory in line after an unclean end: records, links in the share, log.

The record is the truth. Nothing that may be the only copy of something is removed: it goes to quarantine,
with a warning.
"""

import errno
import logging
import os
import stat
from pathlib import Path

from blobfs.model import Name, join
from blobfs.record import BlobRecord, DirRecord
from blobfs.store.failures import store_errors
from blobfs.store.layout import PUBLIC_DIRECTORY_MODE
from blobfs.store.logs import read_log
from blobfs.store.names import (
    LocalName,
    link_name,
    list_components,
    read_record,
    read_records,
    rewrite_log,
)
from blobfs.store.opening import Store
from blobfs.store.sealed import Content, has, hash_file, place_blob

_log = logging.getLogger(__name__)


@store_errors()
def repair_directory(store: Store, directory: Name) -> bool:
    """Whether there was something to repair. The caller holds its lock of the names meanwhile."""
    if not store.layout.record(directory).is_dir():
        return False
    repaired = _repair_records(store, directory)
    records = read_records(store, directory)
    repaired |= _repair_links(store, directory, records)
    if _logged(store, directory) != records:
        rewrite_log(store, directory)
        repaired = True
    return repaired


def _logged(store: Store, directory: Name) -> dict[str, LocalName] | None:
    entries = read_log(store.layout, directory)
    if entries is None:
        return None
    return {component: LocalName(entry.record, entry.loaded) for component, entry in entries.items()}


def _repair_records(store: Store, directory: Name) -> bool:
    repaired = False
    for component in list(list_components(store.layout.record(directory))):
        name = join(directory, component)
        if read_record(store, name) is None:
            _quarantine(store, store.layout.record(name))
            repaired = True
    return repaired


def _repair_links(store: Store, directory: Name, records: dict[str, LocalName]) -> bool:
    share = store.layout.named(directory)
    repaired = _make_directory(store, share)
    for component in sorted({*records, *list_components(share)}):
        name = join(directory, component)
        record = records[component].record if component in records else None
        match record:
            case BlobRecord():
                repaired |= _repair_link(store, name, record, records[component].loaded)
            case DirRecord():
                repaired |= _make_directory(store, store.layout.named(name))
            case _:
                repaired |= _remove_stray(store, store.layout.named(name))
    return repaired


def _repair_link(store: Store, name: Name, record: BlobRecord, loaded: bool) -> bool:
    link, blob = store.layout.named(name), store.layout.blob(record.blob)
    link_stat = _lstat(link)
    is_here = has(store, record.blob)
    if link_stat is not None:
        if is_here and os.path.samestat(link_stat, blob.stat()):
            return False
        content = _hash(store, link) if stat.S_ISREG(link_stat.st_mode) else None
        if content is not None and content.blob == record.blob:
            # A copy, where a blob had too many links; or the blob itself was lost, and is here again.
            place_blob(store, link, content, record.mtime_ns)
            return not is_here
        if not _remove_stray(store, link):
            return False
    elif not is_here:
        return False  # a name whose bytes are elsewhere
    if is_here:
        link_name(store, name, record, loaded)
    return True


def _make_directory(store: Store, path: Path) -> bool:
    found = _lstat(path)
    if found is not None and stat.S_ISDIR(found.st_mode):
        return False
    _remove_stray(store, path)
    path.mkdir()
    path.chmod(PUBLIC_DIRECTORY_MODE)
    return True


def _remove_stray(store: Store, path: Path) -> bool:
    """Removes from the share what no record speaks of; whether anything was removed."""
    found = _lstat(path)
    if found is None:
        return False
    if stat.S_ISDIR(found.st_mode):
        return _remove_empty(path)
    if found.st_nlink > 1:
        path.unlink()
    else:
        _quarantine(store, path)
    return True


def _remove_empty(path: Path) -> bool:
    try:
        path.rmdir()
    except OSError as failure:
        if failure.errno != errno.ENOTEMPTY:
            raise
        _log.warning("%s belongs to no name and is not empty", path)
        return False
    return True


def _quarantine(store: Store, path: Path) -> None:
    target = store.layout.new_quarantined(path.name)
    _log.warning("%s is broken or belongs to no name; it is now %s", path, target)
    os.rename(path, target)


def _hash(store: Store, path: Path) -> Content:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        return hash_file(store, fd, os.fstat(fd).st_size)
    finally:
        os.close(fd)


def _lstat(path: Path) -> os.stat_result | None:
    try:
        return path.lstat()
    except FileNotFoundError:
        return None
