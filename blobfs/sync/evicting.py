"""Eviction: what has not been used for longest goes first, and what somebody is using never.

A round looks through the store once and evicts what it found, one thing at a time, so that whoever changes
names waits for one blob at most. The bundles of directories go first, all of them: what is in them is here
besides. Packages that were loaded go last: whole, or not at all.
"""

import contextlib
import logging
import os
from collections.abc import Callable

import trio

from blobfs import errors
from blobfs.model import BlobId, Invalid, parse_blob_id
from blobfs.store.directory_bundles import drop_bundles
from blobfs.store.eviction import Kept, evict_blob, let_go_package, loaded_packages
from blobfs.store.failures import store_errors
from blobfs.store.opening import Store
from blobfs.store.survey import Candidate, Survey, survey
from blobfs.sync.disk import DiskThreads
from blobfs.sync.keeping import wait_kept
from blobfs.sync.loading.loads import Loads
from blobfs.sync.naming.namespace import Namespace
from blobfs.sync.sealer import Sealer

_log = logging.getLogger(__name__)

PATIENCE = 2.0
"""Seconds for which a blob that is being put into the share is waited for."""
MOST_PASSES = 3
"""Walks of one round: the first one may only tell how much there is."""


class Evicting:
    """Of one store. The counters only grow."""

    def __init__(
        self, store: Store, disk: DiskThreads, namespace: Namespace, loads: Loads, sealer: Sealer
    ) -> None:
        self._store = store
        self._disk = disk
        self._namespace = namespace
        self._loads = loads
        self._sealer = sealer
        self.evicted = 0
        self.evicted_bytes = 0

    def statistics(self) -> dict[str, int]:
        return {"evicted": self.evicted, "evicted_bytes": self.evicted_bytes}

    async def measure(self) -> None:
        await self.survey(0)

    async def survey(self, wanted: int) -> Survey:
        """Measures the store on the way. Raises `StoreError`."""
        return await self._disk.run(survey, self._store, wanted, self._loads.busy())

    async def free(self, lacking: Callable[[], int]) -> int:
        """Evicts until nothing is lacking, as far as the store is what is in the way. Bytes freed.

        Raises `StoreError`.
        """
        self._sealer.hurry()  # what has just become whole can go when it is in the share
        freed = 0
        for _ in range(MOST_PASSES):
            wanted = max(lacking(), 0)
            found = await self.survey(wanted)
            wanted = max(lacking(), 0)  # it knows better now
            if not wanted:
                break
            before = freed
            freed += await self._disk.run(drop_bundles, self._store)
            for candidate in found.candidates:
                if freed - before >= wanted:
                    break
                freed += await self._evict(candidate)
            if freed - before < wanted:
                freed += await self._evict_packages(wanted - (freed - before))
            if freed == before:
                break
        if freed:
            _log.info("evicted %d bytes that were not used for longest", freed)
        return freed

    async def _evict(self, candidate: Candidate) -> int:
        if candidate.is_partial:
            return self._count(await self._loads.evict_partial(candidate.key))
        return self._count(await self.evict_blob(BlobId(candidate.key)))

    def _count(self, outcome: int | Kept) -> int:
        if isinstance(outcome, Kept):
            return 0
        self.evicted += 1
        self.evicted_bytes += outcome
        return outcome

    async def evict_blob(self, blob: BlobId) -> int | Kept:
        """A whole blob, or what there is of one; bytes freed, or why it stays. Raises `StoreError`."""
        await self._wait_kept(blob)
        if blob in self._loads.busy():
            return Kept.OPEN
        async with self._namespace.lock:
            outcome = await self._disk.run(evict_blob, self._store, blob)
        if outcome is Kept.MISSING:
            return await self._loads.evict_partial(blob)
        return outcome

    async def _wait_kept(self, blob: BlobId) -> None:
        """What has just been loaded, and nobody reads any more, is on its way to the share."""
        load = self._loads.load_of(blob)
        if load is not None and load.partial.is_whole and not load.readers:
            with trio.move_on_after(PATIENCE), contextlib.suppress(errors.BlobfsError):
                await wait_kept(load, self._sealer)

    async def evict_package(self, package: BlobId) -> int | Kept:
        """A complete package that was loaded, and those of its blobs that nothing else holds."""
        blobs = await self._disk.run(_held_by, self._store, package)
        if self._loads.busy().intersection(blobs):
            return Kept.OPEN
        reason = await self._disk.run(let_go_package, self._store, package)
        if reason is not None:
            return reason
        freed = 0
        for blob in blobs:
            outcome = await self.evict_blob(blob)
            freed += 0 if isinstance(outcome, Kept) else outcome
        return freed

    async def _evict_packages(self, wanted: int) -> int:
        freed = 0
        for package in await self._disk.run(loaded_packages, self._store):
            if freed >= wanted:
                break
            freed += self._count(await self.evict_package(package))
        return freed


@store_errors()
def _held_by(store: Store, package: BlobId) -> list[BlobId]:
    """The blobs of a complete package."""
    found = []
    try:
        names = os.listdir(store.layout.package(package))
    except FileNotFoundError:
        return []
    for text in names:
        try:
            found.append(parse_blob_id(text.partition(".")[0]))
        except Invalid:
            _log.debug("%s is no blob of %s", text, package)
    return found
