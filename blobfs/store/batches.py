"""Many small files at once: closed ones get into the share in a few visits, with one flush for all of them.

1. `write`: each gets a file in `incoming/`, as every file has that is sealed, but its redo mark is a line in
   one *redo list* for all. One flush makes files and list durable; from then on a crash loses none of it.
2. `place`, under the lock of the names: blob, record, the line of the log, link, as in `store.names`. The
   lines of one directory are appended together. A name that means a file already is not for here: what it
   replaces may have to go.
3. `forget`, after another flush: the files in `incoming/`, and the list, go.

System calls are what this costs: fourteen a file, of which eight make or remove a name.
"""

import contextlib
import os
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from blobfs.merkle import build_tree
from blobfs.model import Name, split
from blobfs.record import BlobRecord, LogEntry, encode_record
from blobfs.store import names
from blobfs.store.checks import check_of
from blobfs.store.failures import store_errors
from blobfs.store.files import Buffer, write_all
from blobfs.store.incoming import Incoming
from blobfs.store.layout import SHARED_FILE_MODE
from blobfs.store.logs import append_log
from blobfs.store.marks import CHECK, set_mark
from blobfs.store.opening import Store
from blobfs.store.redo_lists import encode_line, write_redo_list
from blobfs.store.sealed import Content, place_blob, place_tree
from blobfs.store.temps import remove_temp


@dataclass(frozen=True, slots=True)
class SmallFile:
    """A closed file, and what it is to become."""

    name: Name
    content: Buffer
    mode: int
    """0o444 or 0o555."""
    mtime_ns: int
    published_ns: int


@dataclass(frozen=True, slots=True, eq=False)
class Written:
    """A small file in `incoming/`."""

    path: str
    name: Name
    content: Content
    record: BlobRecord
    encoded: bytes
    """The record, as its file has it."""


@dataclass(frozen=True, slots=True)
class Batch:
    """What one redo list stands for."""

    redo_list: Path
    files: Sequence[Written]


@store_errors()
def write(store: Store, files: Sequence[SmallFile]) -> Batch:
    """Makes the files and their list, to be flushed by the caller. All of them, or it raises."""
    paths, made = store.layout.new_incomings(), list[str]()
    try:
        written = [_write(store, next(paths), each, made) for each in files]
        lines = (encode_line(os.path.basename(each.path), each.name, each.encoded) for each in written)
        return Batch(write_redo_list(store.layout, lines), written)
    except BaseException:
        for path in made:
            remove_temp(path)
        raise


def _write(store: Store, path: str, file: SmallFile, made: list[str]) -> Written:
    blob, tree = build_tree(store.hashing.hash_leaves(file.content, 0), len(file.content))
    made.append(path)
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, SHARED_FILE_MODE)
    try:
        write_all(fd, file.content, 0)
        os.utime(fd, ns=(time.time_ns(), file.mtime_ns))
        os.fchmod(fd, SHARED_FILE_MODE)  # whatever the umask is
    finally:
        os.close(fd)
    content = Content(blob, len(file.content), tree)
    record = BlobRecord(blob, content.size, file.mode, file.mtime_ns, file.published_ns)
    return Written(path, file.name, content, record, encode_record(record))


@store_errors()
def place(store: Store, files: Sequence[Written]) -> None:
    """Shares them: no file has such a name yet, the directories are here, all is on the disk.

    The lock of the names is held. If it raises, some are shared and some are not.
    """
    below: dict[Name, list[Written]] = {}
    for file in files:
        below.setdefault(split(file.name)[0], []).append(file)
    with store.changes.changing(*below):
        temps = store.layout.new_temps()
        spare = [file for file in files if not _place(store, file, next(temps))]
        for directory, inside in below.items():
            entries = [LogEntry(split(file.name)[1], file.record) for file in inside]
            if not append_log(store.layout, directory, *entries):
                names.rewrite_log(store, directory)
        unlinked = set(spare)
        for file in files:
            _link(store, file, is_new=file not in unlinked)
    store.usage.add(-sum(file.content.size for file in spare))


def _place(store: Store, file: Written, temp: str) -> bool:
    """The blob and the record; False: the blob was here already."""
    is_new = _place_blob(store, file)
    try:
        fd = os.open(temp, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, SHARED_FILE_MODE)
        try:
            write_all(fd, file.encoded, 0)
            set_mark(fd, CHECK, check_of(file.encoded))
            os.fchmod(fd, SHARED_FILE_MODE)
        finally:
            os.close(fd)
        os.rename(temp, f"{store.layout.names}/{file.name}")
    except BaseException:
        remove_temp(temp)
        raise
    return is_new


def _place_blob(store: Store, file: Written) -> bool:
    with store.links:
        place_tree(store, file.content)
        with contextlib.suppress(FileExistsError):
            os.link(file.path, f"{store.layout.blobs}/{file.content.blob}")
            return True
    place_blob(store, Path(file.path), file.content, file.record.mtime_ns)
    return False


def _link(store: Store, file: Written, is_new: bool) -> None:
    if is_new:
        with contextlib.suppress(FileExistsError):
            os.link(file.path, f"{store.layout.share}/{file.name}")
            return
    names.link_name(store, file.name, file.record)


@store_errors()
def forget(store: Store, files: Iterable[Written], redo_lists: Iterable[Path]) -> None:
    """What was placed is on the disk: nothing has to be redone."""
    for file in files:
        with contextlib.suppress(FileNotFoundError):  # another one had failed
            os.unlink(file.path)
    for redo_list in redo_lists:
        redo_list.unlink(missing_ok=True)


def as_incoming(store: Store, file: Written) -> Incoming:
    """To be sealed by itself: its own redo mark then counts, and not the list's."""
    return Incoming.adopt(store, Path(file.path), file.content.size)
