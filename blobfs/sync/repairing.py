"""After an unclean end: directories of names that may be half changed are looked over, one after the other.

Which ones is known (`blobfs.store.changes`), so a start costs the same however many names there are. Most are
in order: that is found out slowly, beside everything else. Only what is not is put right under the lock of
the names.
"""

import logging

import trio

from blobfs import errors
from blobfs.model import Name
from blobfs.store.changes import Suspects
from blobfs.store.looking_over import LookBrokenOff, Pace, is_in_order
from blobfs.store.names import list_directories
from blobfs.store.opening import Store
from blobfs.sync.disk import DiskThreads
from blobfs.sync.namespace import Namespace
from blobfs.sync.settling import settle_now

_log = logging.getLogger(__name__)


class Repairs:
    """The repair of one start. `is_done`: nothing is suspect any more."""

    def __init__(
        self, store: Store, disk: DiskThreads, namespace: Namespace, pace: type[Pace] = Pace
    ) -> None:
        self._store = store
        self._disk = disk
        self._namespace = namespace
        self._pace = pace
        self.is_done = store.was_clean
        self.looked_over = 0
        self.repaired = 0

    def statistics(self) -> dict[str, int]:
        return {"done": int(self.is_done), "looked_over": self.looked_over, "repaired": self.repaired}

    async def run(self) -> None:
        """Returns when all is in order and on the disk, or the disk refuses: then the next start goes on."""
        if self.is_done:
            return
        try:
            suspects = await self._disk.run(self._store.changes.suspects)
            await self._repair(suspects)
            self.is_done = True
        except errors.StoreError as failure:
            _log.warning("could not look over what was changed before the last end: %s", failure)

    async def _repair(self, suspects: Suspects) -> None:
        directories = suspects.directories
        if suspects.everything:
            _log.info("it is not known which names were being changed: all are looked over")
            directories = tuple(await self._disk.run(list_directories, self._store))
        for directory in directories:
            if not await self._is_in_order(directory):
                self.repaired += await self._namespace.repair(directory)
            self.looked_over += 1
        await settle_now(self._store, self._disk, directories, suspects.everything)
        if self.repaired:
            _log.info("of %d directories %d had to be repaired", self.looked_over, self.repaired)

    async def _is_in_order(self, directory: Name) -> bool:
        """A large directory takes long: the thread is told when nobody waits for it any more."""
        pace = self._pace()
        in_order = False
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_end_when_cancelled, pace)
            try:
                in_order = await self._disk.run(is_in_order, self._store, directory, pace)
            except LookBrokenOff:
                _log.debug("%r was not looked over to its end", directory)
            nursery.cancel_scope.cancel()
        return in_order


async def _end_when_cancelled(pace: Pace) -> None:
    try:
        await trio.sleep_forever()
    finally:
        pace.end()
