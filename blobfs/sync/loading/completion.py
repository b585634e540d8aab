"""When the last chunk of a blob is here: it is made durable, put into the share, and its names with it."""

import logging

import trio

from blobfs import errors
from blobfs.model import LEAF_SIZE, BlobId, Name
from blobfs.record import BlobRecord, SymlinkRecord
from blobfs.store import sealed
from blobfs.store.eviction import restore_link
from blobfs.store.opening import Store
from blobfs.store.sealed import Content
from blobfs.store.waiting import forget_waiting, list_waiting
from blobfs.sync.disk import DiskThreads
from blobfs.sync.jobs import KeepJob
from blobfs.sync.loading.load import Load
from blobfs.sync.loading.source import MerkleSource, PlainSource
from blobfs.sync.naming.namespace import Namespace
from blobfs.sync.sealer import Sealer

_log = logging.getLogger(__name__)

RETRY_DELAY = 1.0
"""Seconds between two looks whether the disk has taken it after all."""


class Completion:
    """Of all loads. Holds no state of its own."""

    def __init__(self, store: Store, disk: DiskThreads, sealer: Sealer, namespace: Namespace) -> None:
        self._store = store
        self._disk = disk
        self._sealer = sealer
        self._namespace = namespace

    async def keep(self, load: Load, *, had_names_saved: bool) -> Content:
        """Keeps a blob that is whole and shares it in turn, under its names. Returns when that is done."""
        content = await self._content_of(load)
        job = KeepJob(load.partial, content, _mtime_of(load))
        self._sealer.submit(job)
        if load.is_kept_soon:
            self._sealer.hurry()
        await job.done.wait()
        # A full disk: the sealer goes on trying. When it takes the job up again `done` is another event.
        while job.failure is not None or not job.done.is_set():
            load.keep_failure = job.failure or load.keep_failure
            load.kept.set()
            await trio.sleep(RETRY_DELAY)
            await job.done.wait()
        load.keep_failure = None
        await self._name_all(load, content)
        if load.partial.is_resumed or had_names_saved:
            await self._disk.run(forget_waiting, self._store, load.key)
        return content

    async def _name_all(self, load: Load, content: Content) -> None:
        for name, record in list(load.names.items()):
            try:
                await self._name(name, record or _plain_record(load, content))
            except errors.StoreError:  # of many names some are changed while others are still put
                if await self._disk.run(sealed.has, self._store, content.blob):
                    raise
                _log.info("%s has gone while its names were put: they mean other blobs by now", content.blob)
                return

    async def _content_of(self, load: Load) -> Content:
        if isinstance(load.source, MerkleSource):
            tree = b"" if load.size <= LEAF_SIZE else await self._disk.run(load.source.tree)
            return Content(BlobId(load.key), load.size, tree)
        return await self._disk.run(sealed.hash_file, self._store, load.partial.fd, load.size)

    async def publish_waiting(self) -> None:
        """Names of blobs that became whole just before the last run ended."""
        for key, waiting in await self._disk.run(list_waiting, self._store):
            for each in waiting:
                if await self._disk.run(sealed.has, self._store, each.record.blob):
                    await self._name(each.name, each.record)
            await self._disk.run(forget_waiting, self._store, key)

    async def adopt(self, name: Name, record: BlobRecord | SymlinkRecord) -> bool:
        """Shares in turn what was loaded under its name elsewhere, unless that means this or something newer
        here; whether it did.
        """
        if await self._is_known(name, record):
            return False
        async with self._namespace.lock:
            if await self._is_known(name, record):
                return False
            await self._namespace.put(name, record, loaded=True)
        return True

    def is_known_nowait(self, name: Name, record: BlobRecord) -> bool:
        """Whether this very record is in memory: then there is nothing to share in turn."""
        known = self._namespace.entry_nowait(name)
        return known is not None and known.record == record

    async def _is_known(self, name: Name, record: BlobRecord | SymlinkRecord) -> bool:
        """This record, or a newer one."""
        known = await self._namespace.entry(name)
        if known is not None and known.record == record:
            return True
        return await self._namespace.is_outdated(name, record)

    async def _name(self, name: Name, record: BlobRecord) -> None:
        """Gives a blob that has just become whole a name that it had waited with."""
        if not await self.adopt(name, record):
            await self._link_again(name, record)

    async def _link_again(self, name: Name, record: BlobRecord) -> None:
        """A name that was known here all the time, whose bytes had been dropped."""
        async with self._namespace.lock:
            known = await self._namespace.entry(name)
            if known is not None and known.record == record:
                await self._disk.run(restore_link, self._store, name, record, known.loaded)


def _mtime_of(load: Load) -> int:
    records = [record for record in load.names.values() if record is not None]
    if records:
        return records[0].mtime_ns
    return (load.source.mtime_ns or 0) if isinstance(load.source, PlainSource) else 0


def _plain_record(load: Load, content: Content) -> BlobRecord:
    """A plain file has no publisher: it counts as published when it was last modified."""
    mtime_ns = _mtime_of(load)
    return BlobRecord(content.blob, content.size, 0o444, mtime_ns, mtime_ns)
