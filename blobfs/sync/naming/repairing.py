"""After an unclean end: directories of names that may be half changed are looked over, one after the other.

Which ones is known (`blobfs.store.changes`), so a start costs the same however many names there are.

1. What takes no time is put right before anybody can look: else a name would mean one thing at first, by
   the log, and another one later, by its record.
2. The others, large ones, are read from their records meanwhile. Most are in order: that is found out slowly,
   beside everything else. Only what is not is put right under the lock of the names.
"""

import logging

import trio

from blobfs import errors
from blobfs.model import Name
from blobfs.store.changes import Suspects
from blobfs.store.failures import store_errors
from blobfs.store.looking_over import LookBrokenOff, Pace, is_in_order, log_bytes
from blobfs.store.names import list_directories
from blobfs.store.opening import Store
from blobfs.sync.disk import DiskThreads
from blobfs.sync.naming.namespace import Namespace
from blobfs.sync.naming.settling import settle_now

_log = logging.getLogger(__name__)

AT_ONCE = 1 << 20
"""Bytes of logs that are put right before the node is ready: of some 4,000 names, a fraction of a second."""


MUCH = 64 << 10
"""Bytes of logs, some 300 names, which take 0.1 s. Where there is more to look over the start goes first."""
BEGIN_AFTER = 1.0
"""Seconds: until then the mount is ready, and whoever waited for it has had his first answers."""


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
        self._left: Suspects | None = None
        self._begun: tuple[Name, ...] = ()

    def statistics(self) -> dict[str, int]:
        return {"done": int(self.is_done), "looked_over": self.looked_over, "repaired": self.repaired}

    async def begin(self) -> None:
        """Before anybody can look at the names."""
        if self.is_done:
            return
        try:
            suspects = await self._disk.run(self._store.changes.suspects)
            self._left = suspects
            small = await self._disk.run(_smallest, self._store, suspects.directories)
            self._namespace.mending.doubt(set(suspects.directories) - set(small))
            for directory in small:
                self.repaired += await self._namespace.repair(directory)
                self.looked_over += 1
                self._begun += (directory,)
        except errors.StoreError as failure:
            self._tell(failure)

    async def run(self) -> None:
        """Returns when all is in order and on the disk, or the disk refuses: then the next start goes on."""
        if self.is_done:
            return
        try:
            if self._left is None:
                self._left = await self._disk.run(self._store.changes.suspects)
            await self._repair(self._left)
            self.is_done = True
        except errors.StoreError as failure:
            self._tell(failure)

    def _tell(self, failure: errors.StoreError) -> None:
        _log.warning("could not look over what was changed before the last end: %s", failure)

    async def _repair(self, suspects: Suspects) -> None:
        directories = suspects.directories
        if suspects.everything or await self._disk.run(log_bytes, self._store, directories) > MUCH:
            await trio.sleep(BEGIN_AFTER)
        if suspects.everything:
            _log.info("it is not known which names were being changed: all are looked over")
            directories = tuple(await self._disk.run(list_directories, self._store))
        for directory in directories:
            if directory in self._begun:
                continue
            if not await self._is_in_order(directory):
                self.repaired += await self._namespace.repair(directory)
            self._namespace.mending.believe(directory)
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


@store_errors()
def _smallest(store: Store, directories: tuple[Name, ...]) -> list[Name]:
    """Those of the shortest logs, parents first, `AT_ONCE` bytes together."""
    sizes = []
    for directory in directories:
        try:
            sizes.append((store.layout.log(directory).stat().st_size, directory))
        except (FileNotFoundError, NotADirectoryError):
            sizes.append((0, directory))
    found, taken = [], 0
    for size, directory in sorted(sizes):
        taken += size
        if taken <= AT_ONCE:
            found.append(directory)
    return sorted(found)
