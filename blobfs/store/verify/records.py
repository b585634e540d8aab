"""Verifies the records of one directory of names.

A record is the truth, and its check mark vouches for it. One that has a copy is written again from that.
Where it is broken or missing it is restored from

1. its line in the log, if the log is what was written; itself, if one bit of it flipped: its check mark tells
   which;
2. its line in any log, if that is what the record's check mark vouches for, or means the very blob whose file
   stands in the share under the name;
3. that file: of its time, its mode 0444, published when it was last modified, so that whatever another node
   knows of the name is newer.
"""

import contextlib
import os
import stat
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

from blobfs.model import Invalid, Name, join
from blobfs.record import (
    BlobRecord,
    DirRecord,
    LogEntry,
    Record,
    decode_log_entries,
    decode_record,
    encode_log_entry,
    encode_record,
)
from blobfs.store.checks import (
    check_of,
    get_directory_mark,
    set_directory_mark,
    vouched_length,
    without_flipped_bit,
)
from blobfs.store.loaded_names import is_loaded
from blobfs.store.logs import read_log
from blobfs.store.marks import CHECK, LOADED, RECORD, YES, get_mark
from blobfs.store.names import LocalName, is_from_copy, list_components, read_record, write_record
from blobfs.store.sealed import Content, has, hash_file
from blobfs.store.verify.findings import Done, Finding, Findings, Inspection, Kind

FROM_COPY = "its bytes are not what was written, its copy is"
"""What a power cut leaves of a record whose bytes it has overtaken."""

Records = dict[str, LocalName]
"""What a directory should have, by component."""


@dataclass(frozen=True, slots=True)
class LogState:
    """What a directory's log says; `entries` also where it is not sound."""

    entries: dict[str, LogEntry]
    trouble: str
    """What is wrong with it."""

    @property
    def is_sound(self) -> bool:
        return not self.trouble


def read_log_state(inspection: Inspection, directory: Name) -> LogState:
    path = inspection.store.layout.log(directory)
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        return LogState({}, "missing")
    entries = {entry.component: entry for entry in decode_log_entries(raw)}
    vouched = vouched_length(path, raw)
    if vouched is None:
        return LogState(entries, "it is not what was written")
    if read_log(inspection.store.layout, directory) is None:
        return LogState(entries, "its first line is none of a log")
    if vouched < len(raw):
        return LogState(entries, f"nothing vouches for its last {len(raw) - vouched} bytes")
    return LogState(entries, "")


class RecordCheck:
    """Of one directory; what its log says is read once."""

    def __init__(self, inspection: Inspection, directory: Name) -> None:
        self.log = read_log_state(inspection, directory)
        self._inspection = inspection
        self._store = inspection.store
        self._layout = inspection.store.layout
        self._directory = directory

    def run(self) -> Generator[Finding, None, Records]:
        """Broken ones, and those that only the log knows still."""
        records: Records = {}
        known = set(list_components(self._layout.record(self._directory)))
        if self.log.is_sound:
            known.update(self.log.entries)
        for component in sorted(known):
            self._inspection.progress.count("names")
            name = join(self._directory, component)
            entry = read_record(self._store, name)
            if entry is not None:
                records[component] = entry
                yield from self._check_directory_record(name, component, entry)
                yield from self._check_copied(name, entry)
                continue
            found = self._vouched(component)
            if found is not None:
                records[component] = found
            if found is not None or os.path.lexists(self._layout.record(name)):
                yield self._restore(name, found)
        return records

    def _check_directory_record(self, name: Name, component: str, entry: LocalName) -> Findings:
        path = self._layout.record(name)
        if not isinstance(entry.record, DirRecord) or get_mark(path, RECORD) is None:
            return
        if get_directory_mark(path) is not None:
            return
        logged = self.log.entries.get(component)
        is_logged = self.log.is_sound and logged is not None and isinstance(logged.record, DirRecord)
        if self._inspection.mends:
            line = (
                logged
                if is_logged and logged is not None
                else LogEntry(component, entry.record, entry.loaded)
            )
            set_directory_mark(path, encode_log_entry(line).rstrip(b"\n"))
        done = self._inspection.outcome(Done.RESTORED if is_logged else Done.REBUILT)
        yield Finding(
            Kind.RECORD, self._inspection.shown(path), "its attribute is not what was written", done
        )

    def _check_copied(self, name: Name, entry: LocalName) -> Findings:
        if isinstance(entry.record, DirRecord) or not is_from_copy(self._store, name):
            return
        if self._inspection.mends:
            write_record(self._store, name, entry.record, entry.loaded)
        path = self._layout.record(name)
        yield self._inspection.finding(Kind.RECORD, path, FROM_COPY, Done.RESTORED)

    def _restore(self, name: Name, found: LocalName | None) -> Finding:
        path = self._layout.record(name)
        what, done = "missing; the log has it", self._inspection.outcome(Done.RESTORED)
        if os.path.lexists(path):
            what = "not what was written, or no record"
            self._inspection.quarantine(path)
        if found is None:
            done = self._inspection.outcome(Done.LOST)
            what += "; nothing here vouches for what the name meant"
        elif self._inspection.mends and not isinstance(found.record, DirRecord):
            write_record(self._store, name, found.record, found.loaded)
        lost = name if found is None else None
        return Finding(Kind.RECORD, self._inspection.shown(path), what, done, name=lost)

    def _vouched(self, component: str) -> LocalName | None:
        """What a name whose record is broken or missing means: cases 1, 2 and 3 of the module."""
        mended = self._without_flipped_bit(join(self._directory, component))
        if mended is not None:
            return mended
        entry = self.log.entries.get(component)
        if entry is not None and not isinstance(entry.record, DirRecord):
            logged = LocalName(entry.record, entry.loaded)
            if self.log.is_sound or self._is_vouched(component, entry.record):
                return logged
        return self.from_file(component)

    def _without_flipped_bit(self, name: Name) -> LocalName | None:
        path = self._layout.record(name)
        with contextlib.suppress(FileNotFoundError, IsADirectoryError, Invalid):
            raw = without_flipped_bit(path, path.read_bytes())
            if raw is not None:
                return LocalName(decode_record(raw), get_mark(path, LOADED) == YES)
        return None

    def _is_vouched(self, component: str, record: Record) -> bool:
        """Whether a record is the one that was broken, or means the file under its name."""
        name = join(self._directory, component)
        with contextlib.suppress(FileNotFoundError):
            if get_mark(self._layout.record(name), CHECK) == check_of(encode_record(record)):
                return True
        if not isinstance(record, BlobRecord):
            return False
        try:
            found = self._layout.named(name).lstat()
            blob = self._layout.blob(record.blob).lstat()
        except FileNotFoundError:
            return False
        return os.path.samestat(found, blob) and found.st_size == record.size

    def from_file(self, component: str) -> LocalName | None:
        """What the file under a name says of it, if it is a blob that is here."""
        link = self._layout.named(join(self._directory, component))
        found = lstat(link)
        content = hash_regular(self._inspection, link) if found is not None else None
        if found is None or content is None or not has(self._store, content.blob):
            return None
        mtime_ns = found.st_mtime_ns
        record = BlobRecord(content.blob, content.size, 0o444, mtime_ns, mtime_ns)
        return LocalName(record, is_loaded(self._layout.blob(content.blob)))


def hash_regular(inspection: Inspection, path: Path) -> Content | None:
    """None: it is no file."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return None
    try:
        found = os.fstat(fd)
        return hash_file(inspection.store, fd, found.st_size) if stat.S_ISREG(found.st_mode) else None
    finally:
        os.close(fd)


def lstat(path: Path) -> os.stat_result | None:
    try:
        return path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return None
