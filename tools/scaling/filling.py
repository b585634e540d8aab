"""Makes a large store quickly: the files that a node would have made, one system call each.

What stands in them is encoded by blobfs; what stands where follows `blobfs.store.layout`. Every blob has 64
bytes and one name, a thousand names to a directory.
"""

import os
import time
from collections.abc import Iterator
from pathlib import Path

from blobfs.merkle import build_tree, hash_leaves
from blobfs.model import ROOT, BlobId, Name
from blobfs.record import BlobRecord, DirRecord, LogEntry, encode_log_entry, encode_record
from blobfs.store.layout import LOG_MODE, PUBLIC_DIRECTORY_MODE, SHARED_FILE_MODE, Layout
from blobfs.store.logs import encode_log
from blobfs.store.marks import RECORD, set_mark
from blobfs.store.opening import open_store

BLOB_SIZE = 64
NAMES_A_DIRECTORY = 1000
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC


def directory_of(number: int) -> Name:
    return Name(f"d{number // NAMES_A_DIRECTORY:05d}")


def name_of(number: int) -> Name:
    """The name of the blob with this number."""
    return Name(f"{directory_of(number)}/f{number:08d}")


def content_of(number: int) -> bytes:
    return number.to_bytes(8, "little") * (BLOB_SIZE // 8)


def blob_of(number: int) -> BlobId:
    return _blob_id(content_of(number))


def _blob_id(content: bytes) -> BlobId:
    blob, _ = build_tree(hash_leaves(content, 0), len(content))
    return blob


def fill(root: Path, blobs: int) -> None:
    """A store with so many blobs and names, as a clean end leaves it."""
    open_store(root).close()
    layout, now = Layout(root), time.time_ns()
    entries = []
    for first in range(0, blobs, NAMES_A_DIRECTORY):
        directory = directory_of(first)
        entries.append(
            _fill_directory(layout, directory, range(first, min(first + NAMES_A_DIRECTORY, blobs)), now)
        )
    layout.log(ROOT).unlink()
    _write(os.fspath(layout.log(ROOT)), encode_log(entries), LOG_MODE)


def fill_directory(root: Path, directory: Name, numbers: range) -> None:
    """One more directory, of any size, in a store that is there."""
    layout = Layout(root)
    entry = _fill_directory(layout, directory, numbers, time.time_ns())
    with layout.log(ROOT).open("ab") as log:
        log.write(encode_log_entry(entry))


def _fill_directory(layout: Layout, directory: Name, numbers: range, now: int) -> LogEntry:
    record = DirRecord(now, now)
    for made in (layout.record(directory), layout.named(directory)):
        made.mkdir(PUBLIC_DIRECTORY_MODE)
        made.chmod(PUBLIC_DIRECTORY_MODE)
    entry = LogEntry(directory, record)
    set_mark(layout.record(directory), RECORD, encode_log_entry(entry).rstrip(b"\n"))
    log = encode_log(_fill_names(layout, directory, numbers, now))
    _write(os.fspath(layout.log(directory)), log, LOG_MODE)
    return entry


def _fill_names(layout: Layout, directory: Name, numbers: range, now: int) -> Iterator[LogEntry]:
    records, share = os.fspath(layout.record(directory)), os.fspath(layout.named(directory))
    for number in numbers:
        content = content_of(number)
        record = BlobRecord(_blob_id(content), BLOB_SIZE, SHARED_FILE_MODE, now, now + number)
        blob, component = f"{layout.blobs}/{record.blob}", f"f{number:08d}"
        _write(blob, content)
        os.link(blob, f"{share}/{component}")
        _write(f"{records}/{component}", encode_record(record))
        yield LogEntry(component, record)


def _write(path: str, content: bytes, mode: int = SHARED_FILE_MODE) -> None:
    fd = os.open(path, _NEW, mode)
    try:
        os.write(fd, content)
    finally:
        os.close(fd)
