"""The names this node knows on its own disk: what it shares, and what it loaded and shares in turn.

What is used stays in memory (`local_directories`): this daemon is the store's only writer. Names change
under one lock; neither the network nor a disk flush is ever waited for while it is held. Every change goes to
the disk first, then into the memory.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import trio

from blobfs import errors
from blobfs.model import ROOT, Name, join, split
from blobfs.record import BlobRecord, DirRecord, GoneRecord, LogRecord, Record, SymlinkRecord
from blobfs.store import batches, names, repair, sealed
from blobfs.store.batches import Written
from blobfs.store.loaded_batches import put_loaded_names
from blobfs.store.looking_up import find_directory, find_entry
from blobfs.store.names import LocalName
from blobfs.store.opening import Store
from blobfs.sync.disk import DiskThreads
from blobfs.sync.naming.changed_directories import ChangedDirectories
from blobfs.sync.naming.local_directories import LocalDirectories
from blobfs.sync.naming.mending import Mending
from blobfs.sync.naming.winning import is_later


def _nothing(_name: Name) -> Sequence[LogRecord]:
    return ()


class Namespace:
    """The local names.

    `lock` is held by whoever changes names, over the decision and the change; the methods that
    change something demand it. `_directories` mirrors the disk and is changed only here.
    """

    def __init__(
        self, store: Store, disk: DiskThreads, elsewhere: Callable[[Name], Sequence[LogRecord]] = _nothing
    ) -> None:
        """`elsewhere` is every record of a name that other nodes are known to have. It asks nobody."""
        self._store = store
        self._elsewhere = elsewhere
        self.changed = ChangedDirectories()
        self._disk = disk
        self._directories = LocalDirectories()
        self._last_published_ns = 0
        self.lock = trio.Lock()
        self.mending = Mending(store, disk, self.lock, self._directories.forget, self.changed.note)

    def statistics(self) -> dict[str, int]:
        """What is in memory."""
        return self._directories.statistics()

    async def directory(self, directory: Name) -> Mapping[str, LocalName] | None:
        """The entries of a directory, tombstones among them; None when it is not here."""
        entries = self._directories.get(directory)
        if entries is not None:
            return entries
        if self.mending.is_torn(directory):
            return await self.mending.directory(directory)
        if self._directories.is_absent(directory):
            return None
        with self._directories.reading(directory) as reading:
            entries = await self._disk.run(find_directory, self._store, directory)
            return None if entries is None else self._directories.keep(directory, entries, reading)

    async def has_directory(self, directory: Name) -> bool:
        if self._directories.get(directory) is not None:
            return True
        if self._directories.is_absent(directory):
            return False
        return await self._disk.run(names.directory_exists, self._store, directory)

    async def entry(self, name: Name) -> LocalName | None:
        """What this node knows of a name: a record, a tombstone or a directory; None is nothing."""
        directory, component = split(name)
        entries = self._directories.get(directory)
        if entries is None and self.mending.is_torn(directory):
            return await self.mending.entry(name)
        if entries is None:
            if self._directories.is_absent(directory):
                return None
            worth = self._directories.visit(directory)
            with self._directories.reading(directory) as reading:
                found = await self._disk.run(find_entry, self._store, name, worth)
                if not isinstance(found, dict):
                    return found
                entries = self._directories.keep(directory, found, reading)
        return entries.get(component)

    def is_in_memory(self, directory: Name) -> bool:
        """Whether `entry_nowait` knows all of its names."""
        return self._directories.get(directory) is not None

    def entry_nowait(self, name: Name) -> LocalName | None:
        """As `entry`, of what is in memory. None: nothing, or it has to be looked for."""
        directory, component = split(name)
        entries = self._directories.get(directory)
        return None if entries is None else entries.get(component)

    async def entries_below(self, directory: Name) -> list[tuple[Name, LocalName]]:
        """Every live name below a directory, parents before what is in them."""
        found = []
        for component, entry in sorted((await self.directory(directory) or {}).items()):
            if isinstance(entry.record, GoneRecord):
                continue
            name = join(directory, component)
            found.append((name, entry))
            if isinstance(entry.record, DirRecord):
                found += await self.entries_below(name)
        return found

    def next_published(self, previous: LogRecord | None = None) -> int:
        """The time of a publication: now, but later than any before it and than `previous`.

        What is later only because of a publisher's wrong clock is no time for the publications after it.
        """
        self._last_published_ns = max(time.time_ns(), self._last_published_ns + 1)
        return max(self._last_published_ns, previous.published_ns + 1 if previous is not None else 0)

    async def next_published_as(self, name: Name) -> int:
        """The same, and later than every record of `name` that is known, here or elsewhere: it comes last."""
        here = await self.entry(name)
        records = [*self._elsewhere(name), *([here.record] if here is not None else [])]
        return self.next_published(max(records, key=lambda record: record.published_ns, default=None))

    async def put(self, name: Name, record: Record, *, loaded: bool = False, redone: bool = False) -> None:
        """Makes `name` mean `record`, replacing what it meant. The lock is held.

        With `loaded` another node has said so. What this node published before is not dropped then, but may
        be evicted: the two may have published at once, and neither have known what it replaced.
        `redone`: a redo mark makes up for it as long as it is not known to be on the disk.
        """
        directory, component = split(name)
        here = await self.entry(name)
        if here is not None and isinstance(here.record, DirRecord):
            raise errors.IsADirectory(f"{name} is a directory on this node")
        shared_in_turn = loaded or isinstance(record, GoneRecord)
        await self.ensure_directory(directory, record if shared_in_turn else None)
        before = await self.entry(name)
        blobs = [
            each.blob
            for each in (record, None if before is None else before.record)
            if isinstance(each, BlobRecord)
        ]
        await self.mending.change([directory], blobs, self._put, name, record, loaded, redone)
        loaded = loaded and not isinstance(record, GoneRecord)  # a tombstone is everybody's
        self._directories.remember(directory, component, LocalName(record, loaded))

    def _put(self, name: Name, record: Record, loaded: bool, redone: bool) -> None:
        before = names.read_record(self._store, name)
        gives_way = loaded and before is not None and not before.loaded
        if before is not None and gives_way and isinstance(before.record, BlobRecord):
            sealed.set_evictable(self._store, before.record.blob)
        match record:
            case BlobRecord():
                names.put_blob_name(self._store, name, record, loaded, redone)
            case SymlinkRecord():
                names.put_symlink(self._store, name, record, loaded)
            case GoneRecord():
                names.put_gone(self._store, name, record)
        if before is None or gives_way or not isinstance(before.record, BlobRecord):
            return
        if not isinstance(record, BlobRecord) or record.blob != before.record.blob:
            sealed.drop_blob_if_unnamed(self._store, before.record.blob)

    async def is_free_for(self, name: Name, published_ns: int) -> bool:
        """Whether nothing has the name here, and all that is known of it is older than that."""
        here = await self.entry(name)
        if here is not None and not isinstance(here.record, GoneRecord):
            return False
        known = [*self._elsewhere(name), *([here.record] if here is not None else [])]
        return all(record.published_ns < published_ns for record in known)

    async def put_new(self, files: Sequence[Written]) -> None:
        """Shares files under names that are free, in directories that are here. The lock is held."""
        parents = {split(file.name)[0] for file in files}
        blobs = [file.record.blob for file in files]
        await self.mending.change(parents, blobs, batches.place, self._store, files)
        for file in files:
            self._directories.remember(*split(file.name), LocalName(file.record, loaded=False))

    async def put_loaded(self, directory: Name, records: Mapping[Name, BlobRecord]) -> None:
        """Shares names of one directory in turn, unless something newer is known of them. The lock is held.

        What nothing is known of is put at once. One whose blob is not here stays as it is.
        """
        records = {
            name: record for name, record in records.items() if not await self.is_outdated(name, record)
        }
        if not records:
            return
        await self.ensure_directory(directory, next(iter(records.values())))
        new = {name: record for name, record in records.items() if await self.entry(name) is None}
        blobs = [record.blob for record in new.values()]
        put = await self.mending.change([directory], blobs, put_loaded_names, self._store, directory, new)
        for name in put:
            self._directories.remember(directory, split(name)[1], LocalName(new[name], loaded=True))
        for name in records.keys() - new.keys():
            known = await self.entry(name)
            if known is None or known.record != records[name]:
                await self.put(name, records[name], loaded=True)

    async def is_outdated(self, name: Name, record: Record) -> bool:
        """Whether something later is known of a name here, or that it was removed elsewhere since.

        Or a directory is here: whatever the name means, it stays one while this node has something in it.
        """
        here = await self.entry(name)
        if here is not None and (isinstance(here.record, DirRecord) or is_later(here.record, record)):
            return True
        removed = (other for other in self._elsewhere(name) if isinstance(other, GoneRecord))
        return any(is_later(gone, record) for gone in removed)

    async def ensure_directory(self, directory: Name, loaded: Record | None = None) -> None:
        """Makes a directory and its parents where they are missing. The lock is held.

        With `loaded` it is made for that record, which is shared in turn: then it is another node's, as it is
        known there, or else as old as what is in it.
        """
        if directory == ROOT:
            return
        if await self.has_directory(directory):
            if loaded is None:
                await self._keep_directory(directory)
            return
        parent, component = split(directory)
        await self.ensure_directory(parent, loaded)
        there = [record for record in self._elsewhere(directory) if isinstance(record, DirRecord)]
        newest = max(there, key=lambda record: record.published_ns, default=None)
        before = await self.entry(directory)
        stands = before.record if before is not None and not isinstance(before.record, GoneRecord) else None
        if stands is not None and (newest is None or not is_later(newest, stands)):
            raise errors.NotADirectory(f"{directory} is not a directory")
        if loaded is None:
            await self.make_directory(directory, component)
        else:
            newest = newest or DirRecord(loaded.published_ns, loaded.published_ns)
            await self._make_directory(directory, component, replace(newest, loaded=True), loaded=True)

    async def _keep_directory(self, directory: Name) -> None:
        """One that was made for what is shared in turn holds something of this node's own from now on."""
        here = await self.entry(directory)
        if here is not None and here.loaded and isinstance(here.record, DirRecord):
            await self.ensure_directory(split(directory)[0])
            published = await self.next_published_as(directory)
            await self.put_directory(directory, DirRecord(here.record.mtime_ns, published))

    async def make_directory(self, directory: Name, component: str) -> DirRecord:
        """Makes one directory in a parent that is here. The lock is held."""
        published = await self.next_published_as(directory)
        record = DirRecord(published, published)
        await self._make_directory(directory, component, record, loaded=False)
        return record

    async def _make_directory(self, directory: Name, component: str, record: DirRecord, loaded: bool) -> None:
        parent = split(directory)[0]
        before = await self.entry(directory)
        if before is not None and isinstance(before.record, BlobRecord | SymlinkRecord):
            await self._give_way(directory, before.record)
        await self.mending.change(
            [parent, directory], [], names.make_directory, self._store, directory, record, loaded
        )
        self._directories.remember(parent, component, LocalName(record, loaded))
        self._directories.keep(directory, {})

    async def _give_way(self, name: Name, record: BlobRecord | SymlinkRecord) -> None:
        """A file that is hidden by what others have under its name, and now stands in the way."""
        await self.put(name, GoneRecord(self.next_published(record)), loaded=True)

    async def put_directory(self, directory: Name, record: DirRecord) -> None:
        """Gives a directory that this node made a new record. The lock is held."""
        parent, component = split(directory)
        await self.mending.change([parent], [], names.put_directory, self._store, directory, record)
        self._directories.remember(parent, component, LocalName(record, loaded=False))

    async def remove_directory(self, directory: Name, record: GoneRecord | None = None) -> None:
        """Removes a directory in which no live name is left. The lock is held.

        `record` is the tombstone that it leaves; if none is given, one of this node's own.
        """
        record = record or GoneRecord(await self.next_published_as(directory))
        parent, component = split(directory)
        await self.mending.change(
            [parent, directory], [], names.remove_directory, self._store, directory, record
        )
        self._directories.forget(directory)
        self._directories.remember(parent, component, LocalName(record, loaded=False))

    async def repair(self, directory: Name) -> bool:
        """Brings records, links and log of a directory in line. Whether that was necessary."""
        async with self.lock:
            repaired = await self._disk.run(repair.repair_directory, self._store, directory)
            if repaired:
                self._directories.forget(directory)
        self.changed.note((directory,))
        return repaired
