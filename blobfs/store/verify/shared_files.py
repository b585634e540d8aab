"""Verifies what stands under the names of one directory in the share.

A file is a link to the blob that its record means. One without a record is what is left of a name: its record
is made anew (`blobfs.store.verify.records`, case 3). But where a crash may explain it (its name was being
published) it goes, as it does at every start. Nothing that may be the only copy of something is removed: it
goes to quarantine.
"""

import contextlib
import os
import stat
from pathlib import Path

from blobfs.model import Name, join
from blobfs.record import BlobRecord, DirRecord
from blobfs.store.layout import PUBLIC_DIRECTORY_MODE
from blobfs.store.names import LocalName, link_name, list_components, make_directory, write_record
from blobfs.store.sealed import has, place_blob
from blobfs.store.verify.findings import Done, Finding, Findings, Inspection, Kind
from blobfs.store.verify.records import RecordCheck, Records, hash_regular, lstat


class FileCheck:
    """Of one directory."""

    def __init__(self, inspection: Inspection, directory: Name, records: RecordCheck) -> None:
        self._inspection = inspection
        self._store = inspection.store
        self._layout = inspection.store.layout
        self._directory = directory
        self._records = records

    def run(self, records: Records) -> Findings:
        """What stands under the names in the share. Adds to `records` what a file is all that is left of."""
        share = self._layout.named(self._directory)
        yield from self._check_shared_directory(share)
        shared = list(list_components(share)) if share.is_dir() else []
        for component in sorted({*records, *shared}):
            name = join(self._directory, component)
            record = records[component].record if component in records else None
            match record:
                case BlobRecord():
                    yield from self._check_file(name, record, records[component].loaded)
                case DirRecord():
                    yield from self._check_shared_directory(self._layout.named(name))
                case None if (found := self._lost_name(component)) is not None:
                    records[component] = found
                    yield self._bring_back(name, found)
                case _:
                    yield from self._check_stray(self._layout.named(name))

    def _check_shared_directory(self, path: Path) -> Findings:
        found = lstat(path)
        if found is not None and stat.S_ISDIR(found.st_mode):
            return
        yield from self._check_stray(path)
        if self._inspection.mends:
            path.mkdir()
            path.chmod(PUBLIC_DIRECTORY_MODE)
        yield self._inspection.finding(Kind.LINK, path, "the directory is missing", Done.REBUILT)

    def _check_file(self, name: Name, record: BlobRecord, loaded: bool) -> Findings:
        link, blob = self._layout.named(name), self._layout.blob(record.blob)
        found, is_here = lstat(link), has(self._store, record.blob)
        if found is None:
            if is_here:  # else it is a name whose bytes are elsewhere
                self._link(name, record, loaded)
                yield self._inspection.finding(Kind.LINK, link, "missing", Done.REBUILT)
            return
        if is_here and os.path.samestat(found, blob.lstat()):
            return
        content = hash_regular(self._inspection, link)
        if content is not None and content.blob == record.blob:
            if not is_here:  # else it is a copy, because a blob had too many links
                if self._inspection.mends:
                    place_blob(self._store, link, content, record.mtime_ns)
                yield self._inspection.finding(
                    Kind.BLOB, blob, "missing, though its name has it", Done.RESTORED
                )
            return
        done = self._clear(link)
        if is_here and done is not Done.NOTHING:
            self._link(name, record, loaded)
            done = Done.REBUILT
        yield Finding(Kind.LINK, self._inspection.shown(link), "not the blob that its record says", done)

    def _link(self, name: Name, record: BlobRecord, loaded: bool) -> None:
        if self._inspection.mends:
            link_name(self._store, name, record, loaded)

    def _lost_name(self, component: str) -> LocalName | None:
        """What has lost its record altogether: case 3, and directories of such names."""
        if self._inspection.after_crash:
            return None
        path = self._layout.named(join(self._directory, component))
        found = lstat(path)
        if found is None or not stat.S_ISDIR(found.st_mode):
            return self._records.from_file(component)
        with os.scandir(path) as entries:
            is_ours = any(entry.is_dir() or entry.stat().st_nlink > 1 for entry in entries)
        record = DirRecord(found.st_mtime_ns, found.st_mtime_ns)
        return LocalName(record, loaded=False) if is_ours else None

    def _bring_back(self, name: Name, found: LocalName) -> Finding:
        if self._inspection.mends:
            if isinstance(found.record, DirRecord):
                make_directory(self._store, name, found.record)
            else:
                write_record(self._store, name, found.record, found.loaded)
        what = "missing; what stands under the name in the share is all there is of it"
        return self._inspection.finding(Kind.RECORD, self._layout.record(name), what, Done.REBUILT)

    def _check_stray(self, path: Path) -> Findings:
        """What no record speaks of."""
        if lstat(path) is not None:
            yield Finding(
                Kind.STRAY, self._inspection.shown(path), "it belongs to no name", self._clear(path)
            )

    def _clear(self, path: Path) -> Done:
        """Takes something out of the share; what may be the only copy is kept."""
        found = path.lstat()
        if stat.S_ISDIR(found.st_mode):
            if not self._inspection.mends:
                return Done.NOTHING
            with contextlib.suppress(OSError):  # somebody put something there
                path.rmdir()
                return Done.REMOVED
            return Done.NOTHING
        return self._inspection.remove(path) if found.st_nlink > 1 else self._inspection.quarantine(path)
