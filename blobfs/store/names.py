"""Names of this node: the link with the bytes, the record, and the line in the directory's log.

A change goes in that order: record, log, link. The record is the truth: as long as the disk refuses it the
link to what the name meant stays, and holds it. The log is an index that can be rebuilt, and links are
brought in line with the records by repair (`blobfs.store.repair`). Callers hold one lock of theirs, so no two
changes run at once, and they know the rules of what may replace what.

A record of this node's has a copy in an attribute (`blobfs.store.checks`), so that a power cut costs no name
that it replaces or that is removed after it, as in a rename; no flush is waited for. It needs none while a
redo mark would bring it back.

A tombstone is a record file; it gives way when a directory of its name is made, and stands there again
when that is removed. Symlinks are records only: a web server must not follow them.
"""

import contextlib
import errno
import logging
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

from blobfs import errors
from blobfs.model import ROOT, Invalid, Name, join, parse_component, split
from blobfs.record import (
    LOG_NAME,
    BlobRecord,
    DirRecord,
    GoneRecord,
    LogEntry,
    LogRecord,
    Record,
    SymlinkRecord,
    decode_log_entries,
    decode_record,
    encode_log_entry,
    encode_record,
)
from blobfs.store.checks import (
    LARGEST_COPY,
    as_written,
    check_of,
    get_directory_mark,
    is_as_written,
    log_check_of,
    set_directory_mark,
)
from blobfs.store.exchanging import exchange
from blobfs.store.failures import store_errors
from blobfs.store.files import replace_file
from blobfs.store.layout import (
    LOG_MODE,
    PRIVATE_DIRECTORY_MODE,
    PUBLIC_DIRECTORY_MODE,
    SHARED_FILE_MODE,
    Layout,
)
from blobfs.store.loaded_names import forget_name, note_name
from blobfs.store.logs import append_log, encode_log, read_log, write_log
from blobfs.store.marks import CHECK, LOADED, RECORD, SINCE, YES, get_mark, remove_mark, set_mark
from blobfs.store.opening import Store
from blobfs.store.sealed import replace_by_link, set_keep
from blobfs.store.temps import remove_temp

_log = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class LocalName:
    """What this node knows of a name."""

    record: LogRecord
    loaded: bool
    """This node is not its publisher."""


def _changes_parent(
    change: Callable[Concatenate[Store, Name, P], T],
) -> Callable[Concatenate[Store, Name, P], T]:
    """Of a change of one name: the directory it is in is marked until it is over, and on the disk."""

    @wraps(change)
    def marked(store: Store, name: Name, /, *args: P.args, **kwargs: P.kwargs) -> T:
        with store.changes.changing(split(name)[0]):
            return change(store, name, *args, **kwargs)

    return marked


@store_errors()
def directory_exists(store: Store, directory: Name) -> bool:
    return store.layout.record(directory).is_dir()


@store_errors()
def read_directory(store: Store, directory: Name) -> dict[str, LocalName]:
    """By component, tombstones among them. Raises `NameMissing` where there is no such directory."""
    entries = read_log(store.layout, directory)
    if entries is not None:
        return {component: LocalName(entry.record, entry.loaded) for component, entry in entries.items()}
    if not directory_exists(store, directory):
        raise errors.NameMissing(f"there is no directory {directory!r}")
    return read_records(store, directory)


@store_errors()
def read_records(store: Store, directory: Name) -> dict[str, LocalName]:
    """What `read_directory` returns, from the records: one by one, slow, and the truth."""
    found = {}
    for component in sorted(list_components(store.layout.record(directory))):
        entry = read_record(store, join(directory, component))
        if entry is not None:
            found[component] = entry
    return found


def list_components(path: Path) -> Iterator[str]:
    """The files of a directory that can be names; the log and the share's own files cannot."""
    for text in os.listdir(path):
        with contextlib.suppress(Invalid):
            yield parse_component(os.fsencode(text))


@store_errors()
def read_record(store: Store, name: Name) -> LocalName | None:
    """The truth about one name. None: nothing is known, or the record is broken and waits for repair."""
    path = store.layout.record(name)
    try:
        raw = path.read_bytes()
        loaded = get_mark(path, LOADED) == YES
        written = as_written(path, raw)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except IsADirectoryError:
        return _read_directory_record(path)
    try:
        if written is None:
            raise Invalid("it is not what was written")
        return LocalName(decode_record(written), loaded)
    except Invalid as reason:
        _log.warning("the record of %r is broken: %s", name, reason)
        return None


def _read_directory_record(path: Path) -> LocalName:
    loaded = get_mark(path, LOADED) == YES
    for entry in decode_log_entries(get_directory_mark(path) or b""):
        if isinstance(entry.record, DirRecord):
            return LocalName(entry.record, loaded)
    changed = path.stat().st_mtime_ns
    return LocalName(DirRecord(changed, changed), loaded)


@store_errors()
def list_directories(store: Store) -> list[Name]:
    """All of them, the root first, parents before what is in them."""
    found = [ROOT]
    for directory in found:  # grows while it is walked
        path = store.layout.record(directory)
        with os.scandir(path) as entries:  # which tells a directory without looking at it
            below = [os.fsencode(entry.name) for entry in entries if entry.is_dir(follow_symlinks=False)]
        for raw in sorted(below):
            with contextlib.suppress(Invalid):
                found.append(join(directory, parse_component(raw)))
    return found


@store_errors()
@_changes_parent
def put_blob_name(
    store: Store, name: Name, record: BlobRecord, loaded: bool = False, redone: bool = False
) -> None:
    """Makes `name` mean a blob that is here, in a directory that is here; replaces what it meant.

    `redone`: until this is on the disk there is a redo mark that does it again.
    """
    os.stat(store.layout.blob(record.blob))  # it must not get a record if it cannot get a link
    _put_record(store, name, record, loaded, redone)
    link_name(store, name, record, loaded)


@store_errors()
@_changes_parent
def put_symlink(store: Store, name: Name, record: SymlinkRecord, loaded: bool = False) -> None:
    _put_record(store, name, record, loaded)
    store.layout.named(name).unlink(missing_ok=True)


@store_errors()
@_changes_parent
def put_gone(store: Store, name: Name, record: GoneRecord) -> None:
    """Removes `name` and leaves a tombstone. The blob stays: see `sealed.drop_blob_if_unnamed`."""
    _put_record(store, name, record, loaded=False)
    store.layout.named(name).unlink(missing_ok=True)


def link_name(store: Store, name: Name, record: BlobRecord, loaded: bool = False) -> None:
    """The bytes of `name` in the share, replaced in one step. Raises OSError."""
    source, target = store.layout.blob(record.blob), store.layout.named(name)
    if loaded:
        note_name(source, name)
    else:
        forget_name(source, name)
    try:
        replace_by_link(store, source, target)
    except OSError as failure:
        if failure.errno != errno.EMLINK:
            raise
        # 65,000 names mean one blob already (the empty one, mostly): this one gets a copy. The copies
        # are not counted in the blob's links, so it must not be dropped for a lack of them.
        set_keep(store, record.blob)
        replace_file(store.layout, target, source.read_bytes(), SHARED_FILE_MODE)


def _put_record(store: Store, name: Name, record: Record, loaded: bool, redone: bool = False) -> None:
    write_record(store, name, record, loaded, redone)
    _log_entry(store, name, record, loaded)


def write_record(store: Store, name: Name, record: Record, loaded: bool, redone: bool = False) -> None:
    """The record alone: its line in the log is the caller's business. Raises OSError."""
    _write_record(store, store.layout.record(name), record, loaded, redone)


def _write_record(
    store: Store, path: Path, record: Record, loaded: bool = False, redone: bool = False
) -> None:
    raw = encode_record(record)
    marks = {CHECK: check_of(raw)} | ({LOADED: YES} if loaded else {})
    # What was loaded can be loaded again, and without its tombstone a name is gone as well.
    must_last = not (loaded or redone or isinstance(record, GoneRecord))
    if must_last and len(raw) <= LARGEST_COPY:
        marks[RECORD] = raw
        must_last = False
    flush = store.flushes.file if must_last else None
    replace_file(store.layout, path, raw, marks=marks, flush=flush)


def is_from_copy(store: Store, name: Name) -> bool:
    """Whether a name that has a record has it as a copy only: its file is to be written again."""
    path = store.layout.record(name)
    if not path.is_file() or get_mark(path, RECORD) is None:
        return False
    return not is_as_written(path, path.read_bytes())


def _log_entry(store: Store, name: Name, record: LogRecord, loaded: bool) -> None:
    directory, component = split(name)
    if not append_log(store.layout, directory, LogEntry(component, record, loaded)):
        rewrite_log(store, directory)


@store_errors()
def rewrite_log(store: Store, directory: Name) -> None:
    """Makes a directory's log anew from its records: short, sorted, of a new generation."""
    records = read_records(store, directory)
    entries = (LogEntry(component, entry.record, entry.loaded) for component, entry in records.items())
    write_log(store.layout, directory, entries)


@store_errors()
@_changes_parent
def make_directory(store: Store, directory: Name, record: DirRecord, loaded: bool = False) -> bool:
    """Whether it was made; False: it was there. Its parent is there, its name free or a tombstone."""
    layout = store.layout
    layout.named(directory).mkdir(exist_ok=True)
    layout.named(directory).chmod(PUBLIC_DIRECTORY_MODE)
    if directory_exists(store, directory):
        return False
    with store.changes.changing(directory):  # a power cut may leave it with an empty log
        _put_directory(store, directory, LogEntry(split(directory)[1], record, loaded))
    _log_entry(store, directory, record, loaded)
    return True


def _put_directory(store: Store, directory: Name, entry: LogEntry) -> None:
    """It comes into sight with its log in it: that is how a reader knows a directory."""
    temp = store.layout.new_temp()
    temp.mkdir(mode=PRIVATE_DIRECTORY_MODE)
    try:
        _fill_directory(temp, entry)
        if (removed_ns := _removed_ns(store, directory)) is not None:
            set_mark(temp, SINCE, str(removed_ns).encode())
        store.layout.record(directory).unlink(missing_ok=True)
        os.rename(temp, store.layout.record(directory))
    except BaseException:
        remove_temp(temp)
        raise


def _removed_ns(store: Store, directory: Name) -> int | None:
    """When an earlier directory of this name was removed: older redo marks were meant for that one."""
    before = read_record(store, directory)
    return before.record.published_ns if before and isinstance(before.record, GoneRecord) else None


def _fill_directory(path: Path, entry: LogEntry) -> None:
    log = path / LOG_NAME
    content = encode_log([])
    log.write_bytes(content)
    log.chmod(LOG_MODE)
    set_mark(log, CHECK, log_check_of(content))
    set_directory_mark(path, encode_log_entry(entry).rstrip(b"\n"))
    if entry.loaded:
        set_mark(path, LOADED, YES)
    path.chmod(PUBLIC_DIRECTORY_MODE)


@store_errors()
@_changes_parent
def put_directory(store: Store, directory: Name, record: DirRecord) -> None:
    """Gives a directory that is here a new record; it is this node's own from then on."""
    entry = LogEntry(split(directory)[1], record)
    path = store.layout.record(directory)
    set_directory_mark(path, encode_log_entry(entry).rstrip(b"\n"))
    remove_mark(path, LOADED)
    _log_entry(store, directory, record, loaded=False)


@store_errors()
@_changes_parent
def remove_directory(store: Store, directory: Name, record: GoneRecord) -> None:
    """Removes a directory in which only tombstones are left, and leaves one. Raises `DirectoryNotEmpty`."""
    live = [
        component
        for component, entry in read_records(store, directory).items()
        if not isinstance(entry.record, GoneRecord)
    ]
    if live:
        raise errors.DirectoryNotEmpty(f"{directory!r} holds {live[0]!r}")
    layout = store.layout
    try:
        layout.named(directory).rmdir()
    except FileNotFoundError:
        _log.debug("%r had no directory in the share", directory)
    except OSError as failure:
        if failure.errno != errno.ENOTEMPTY:
            raise
        raise errors.DirectoryNotEmpty(f"{directory!r} holds files that are no names") from failure
    temp = layout.new_temp()
    try:
        _write_record(store, temp, record)
        # In one step: without directory and tombstone a redo mark would bring back what was removed from it.
        if not exchange(temp, layout.record(directory)):
            _exchange_in_steps(layout, temp, layout.record(directory))
    finally:
        remove_temp(temp)
    _log_entry(store, directory, record, loaded=False)


def _exchange_in_steps(layout: Layout, temp: Path, path: Path) -> None:
    aside = layout.new_temp()
    os.rename(path, aside)
    try:
        os.rename(temp, path)
    except BaseException:
        os.rename(aside, path)
        raise
    os.rename(aside, temp)
