"""Changes of names that the disk refused half-way: what stands there is brought in line again.

A change is several steps: the link in the share, the record, the line of the log. When one of them fails, its
caller is told, and those before it are not taken back: the disk may refuse that, too. The directory is *torn*
from then on. The records are the truth: names are read from them, one by one, and when the disk works again
the rest is brought in line with them, by whoever changes a name there or by `run`.
"""

import logging
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import TypeVar, TypeVarTuple

import trio

from blobfs import errors
from blobfs.model import BlobId, Name
from blobfs.store import names, repair, sealed
from blobfs.store.failures import store_errors
from blobfs.store.names import LocalName
from blobfs.store.opening import Store
from blobfs.store.temps import remove_litter
from blobfs.sync.disk import DiskThreads

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

_log = logging.getLogger(__name__)

RETRY_DELAY = 5.0
"""Seconds until what the disk refused is tried again."""


class Mending:
    """`_torn` are directories to bring in line, `_loose` blobs that nothing may hold any more, or yet;
    `_doubted` are directories that a crash may have torn.

    All of it is changed on the event loop, under the lock of the names.
    """

    def __init__(
        self,
        store: Store,
        disk: DiskThreads,
        lock: trio.Lock,
        forget: Callable[[Name], object],
        changed: Callable[[Collection[Name]], object],
    ) -> None:
        """`forget` is called with a directory whose entries are not to be taken from memory, `changed` after
        names in directories have changed, or may have.
        """
        self._store = store
        self._disk = disk
        self._lock = lock
        self._forget = forget
        self._changed = changed
        self._torn: set[Name] = set()
        self._loose: set[BlobId] = set()
        self._doubted: set[Name] = set()
        self._torn_some = trio.Event()

    def __repr__(self) -> str:
        return f"<Mending torn={len(self._torn)} loose={len(self._loose)}>"

    @property
    def is_done(self) -> bool:
        return not self._torn

    def is_loose(self, blob: BlobId) -> bool:
        """Whether a link that a record speaks of may be missing: the blob must not be dropped for that."""
        return blob in self._loose

    def is_torn(self, directory: Name) -> bool:
        """Whether it is to be read from its records."""
        return directory in self._torn or directory in self._doubted

    def doubt(self, directories: Collection[Name]) -> None:
        """Whether they are in order is not known yet."""
        self._doubted.update(directories)

    def believe(self, directory: Name) -> None:
        """It is in order."""
        self._doubted.discard(directory)
        self._forget(directory)
        self._changed((directory,))

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Mends what nobody changes again, until it is cancelled."""
        task_status.started()
        while True:
            await self._torn_some.wait()
            self._torn_some = trio.Event()
            await trio.sleep(RETRY_DELAY)
            try:
                await self.mend()
            except errors.StoreError as failure:
                _log.debug("%r waits for the disk: %s", self, failure)
                self._torn_some.set()

    async def mend(self) -> None:
        """Brings everything in line that is torn. Raises `StoreError`."""
        await self._disk.run(_tidy, self._store)
        if self._torn:
            async with self._lock:
                await self._mend(self._torn)

    async def change(
        self, directories: Collection[Name], blobs: Collection[BlobId], call: Callable[[*Ts], T], *args: *Ts
    ) -> T:
        """Calls what changes names in these directories, and who holds these blobs. The lock is held."""
        await self._mend(self._torn.intersection(directories))
        with self._tearing(directories, blobs):
            result = await self._disk.run(call, *args)
        self._changed(directories)
        return result

    @contextmanager
    def _tearing(self, directories: Collection[Name], blobs: Collection[BlobId]) -> Iterator[None]:
        try:
            yield
        except errors.StoreError as failure:
            _log.info("a change in %r broke off: %s", sorted(directories)[0], failure)
            self._torn.update(directories)
            self._loose.update(blobs)
            self._torn_some.set()
            for directory in directories:
                self._forget(directory)
            raise

    async def _mend(self, directories: Collection[Name]) -> None:
        if directories:
            await self._disk.run(_tidy, self._store)
        for directory in sorted(directories):
            await self._disk.run(repair.repair_directory, self._store, directory)
            self._torn.discard(directory)
            self._forget(directory)
            self._changed((directory,))
            _log.info("%r is in order again", directory)
        while self._loose and not self._torn:
            blob = next(iter(self._loose))
            await self._disk.run(sealed.drop_own_if_unnamed, self._store, blob)
            self._loose.discard(blob)

    async def directory(self, directory: Name) -> dict[str, LocalName] | None:
        """The entries of a torn directory: from the records. None: it is not here."""
        return await self._disk.run(_read_torn, self._store, directory)

    async def entry(self, name: Name) -> LocalName | None:
        """An entry of a torn directory."""
        return await self._disk.run(names.read_record, self._store, name)


@store_errors()
def _tidy(store: Store) -> None:
    remove_litter(store.layout)


def _read_torn(store: Store, directory: Name) -> dict[str, LocalName] | None:
    return names.read_records(store, directory) if names.directory_exists(store, directory) else None
