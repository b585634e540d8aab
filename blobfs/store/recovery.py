"""What a start does about the end before it: what was sealed is put in its place again.

A redo mark, on the file or in a redo list, is set before the flush that makes a sealed file durable, so
after a crash there are three cases for a file in `incoming/`:

1. no mark: it was still being written; it was promised to nobody and is removed;
2. a mark, and the bytes match it: all steps from there on are done again, each of which may be done twice;
3. a mark, and other bytes: the flush did not come to its end, so nobody was told it had; removed.
"""

import logging
import os
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from blobfs import errors
from blobfs.model import ROOT, BlobId, Invalid, Name, parse_blob_id, parse_name, split
from blobfs.record import BlobRecord, DirRecord, decode_record, encode_record
from blobfs.store.failures import store_errors
from blobfs.store.layout import REDO_LIST_PREFIX, TEMP_PREFIX
from blobfs.store.marks import NAME, PACKAGE, RECORD, SINCE, get_mark, set_mark
from blobfs.store.names import LocalName, make_directory, put_blob_name, read_record
from blobfs.store.opening import Store
from blobfs.store.packages import hold_written
from blobfs.store.redo_lists import ToRedo, read_redo_lists, remove_finished_lists
from blobfs.store.sealed import Content, drop_blob_if_unnamed, hash_file, place_blob, place_tree, set_keep

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Intent:
    """A file that was sealed, and what it was to become."""

    path: Path
    """In `incoming/`."""
    name: Name | None
    """None: it has no name; kept by its id only, if it is for no package either."""
    record: BlobRecord
    """`published_ns` 0: it was not yet given its time."""
    package: BlobId | None = None
    """It was written for the transaction of this package."""


def finish_seals(store: Store) -> int:
    """At start: redoes what was accepted, and says how many files that were. What the disk refuses stays."""
    done, intents = [], find_intents(store)
    for intent in intents:
        try:
            redo(store, intent)
            done.append(intent)
        except errors.StoreError as failure:
            _log.warning("could not finish sealing %s: %s", intent, failure)
    if done:
        forget_intents(store, done)
        for intent in done:  # its name may have been removed or replaced before the end
            drop_blob_if_unnamed(store, intent.record.blob)
    with store_errors():
        remove_finished_lists(store.layout)
    return len(done)


@store_errors()
def find_intents(store: Store) -> list[Intent]:
    """What to redo, in the order of publication. Removes everything else in `incoming/`: only at start.

    What is found is on the disk when this returns: one flush for all, there may be thousands.
    """
    found, listed = [], read_redo_lists(store.layout)
    for path in store.layout.incoming.iterdir():
        if path.name.startswith((TEMP_PREFIX, REDO_LIST_PREFIX)):
            continue
        intent = _read_intent(path) or _listed_intent(path, listed)
        if intent is None:
            path.unlink()
        else:
            found.append(intent)
    if found:
        store.flushes.everything()
    # What never got its time is newer than what did.
    return sorted(found, key=lambda intent: (intent.record.published_ns == 0, intent.record.published_ns))


def _read_intent(path: Path) -> Intent | None:
    raw = get_mark(path, RECORD)
    if raw is None:
        return None
    try:
        record = decode_record(raw)
        name, package = get_mark(path, NAME), get_mark(path, PACKAGE)
        parsed_name = None if name is None else parse_name(name.decode())
        parsed_package = None if package is None else parse_blob_id(package.decode())
    except (Invalid, UnicodeDecodeError) as reason:
        _log.warning("%s has a broken redo mark and is removed: %s", path, reason)
        return None
    return Intent(path, parsed_name, record, parsed_package) if isinstance(record, BlobRecord) else None


def _listed_intent(path: Path, listed: Mapping[str, ToRedo]) -> Intent | None:
    line = listed.get(path.name)
    return None if line is None else Intent(path, line.name, line.record)


@store_errors()
def redo(store: Store, intent: Intent) -> bool:
    """Places and names a sealed file; whether it did. It stays in `incoming/` until `forget_intents`.

    What was written for a package is held by its transaction. Where that is gone nothing need hold it: the
    caller drops it after `forget_intents` if nothing does.
    """
    content = _verified(store, intent)
    if content is None:
        return False
    place_tree(store, content)  # a crash may have left a part of it
    place_blob(store, intent.path, content, intent.record.mtime_ns)
    is_held = intent.package is not None and hold_written(store, intent.package, content.blob)
    if intent.name is not None:
        return _redo_name(store, intent, intent.name)
    if intent.package is not None:
        return is_held
    set_keep(store, content.blob)
    return True


def _verified(store: Store, intent: Intent) -> Content | None:
    fd = os.open(intent.path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        content = hash_file(store, fd, os.fstat(fd).st_size)
        if (content.blob, content.size) == (intent.record.blob, intent.record.size):
            return content
    finally:
        os.close(fd)
    _log.warning("%r was cut off while it was sealed: its content is not what it was", intent.name)
    return None


def _redo_name(store: Store, intent: Intent, name: Name) -> bool:
    record = intent.record
    present = read_record(store, name)
    if record.published_ns == 0:
        # It gets its time now, and keeps it if this start does not come to its end either.
        before = present.record.published_ns if present else 0
        record = replace(record, published_ns=max(time.time_ns(), before + 1))
        set_mark(intent.path, RECORD, encode_record(record).rstrip(b"\n"))
    if present is not None and _supersedes(present, record):
        drop_blob_if_unnamed(store, record.blob)
        return False
    if not _make_parents(store, name, record):
        # A directory goes when nothing is left in it: the name was moved or removed before.
        _log.info("%r is not sealed anew: its directory was moved or removed later", name)
        drop_blob_if_unnamed(store, record.blob)
        return False
    put_blob_name(store, name, record, redone=True)
    if present is not None and isinstance(present.record, BlobRecord) and present.record.blob != record.blob:
        drop_blob_if_unnamed(store, present.record.blob)
    return True


def _supersedes(present: LocalName, record: BlobRecord) -> bool:
    if isinstance(present.record, DirRecord):
        return True
    return present.record.published_ns >= record.published_ns and present.record != record


def _make_parents(store: Store, name: Name, record: BlobRecord) -> bool:
    parent = split(name)[0]
    if parent == ROOT:
        return True
    present = read_record(store, parent)
    if present is not None and isinstance(present.record, DirRecord):
        return record.published_ns > _since(store, parent) and _make_parents(store, parent, record)
    if present is not None and present.record.published_ns >= record.published_ns:
        return False
    made = DirRecord(record.mtime_ns, record.published_ns)
    return _make_parents(store, parent, record) and make_directory(store, parent, made)


def _since(store: Store, directory: Name) -> int:
    """Marks that are not newer were meant for an earlier directory of this name."""
    raw = get_mark(store.layout.record(directory), SINCE) or b""
    return int(raw) if raw.isdigit() else 0


@store_errors()
def forget_intents(store: Store, intents: Iterable[Intent]) -> None:
    """Makes what was redone durable, then lets go of the files in `incoming/`."""
    store.flushes.everything()
    for intent in intents:
        intent.path.unlink(missing_ok=True)
