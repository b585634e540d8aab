"""Names that are shared in turn, in groups: of small files that came many at a time.

Nobody waits for it. A name whose blob could not be kept is forgotten: whoever opens it again submits it.
"""

import logging
from collections.abc import Awaitable, Callable, Iterable

import trio

from blobfs import errors
from blobfs.model import BlobId, Name, split
from blobfs.record import BlobRecord
from blobfs.sync.naming.namespace import Namespace

_log = logging.getLogger(__name__)

QUIET = 0.2
"""Seconds without another name after which those that wait are shared, as their blobs are stored."""
LONGEST = 5.0
"""Seconds after which they are, all the same."""
MOST = 500
"""Names for which the lock of the names is held at a time: some tenths of a second."""


class Adopting:
    """Mutable, all on the event loop: `_waiting`, by name; `_is_busy` while a group is being shared."""

    def __init__(self, namespace: Namespace, stored: Callable[[Iterable[BlobId]], Awaitable[None]]) -> None:
        """`stored` returns when none of these blobs is on its way to the store any more."""
        self._namespace = namespace
        self._stored = stored
        self._waiting: dict[Name, BlobRecord] = {}
        self._submitted = 0
        self._is_busy = False
        self._stirred = trio.Event()
        self._hurry = trio.Event()
        self._done = trio.Event()

    def __repr__(self) -> str:
        return f"<Adopting waiting={len(self._waiting)}>"

    def submit(self, name: Name, record: BlobRecord) -> None:
        """Its blob is here, or came and is about to be."""
        self._waiting[name] = record
        self._submitted += 1
        self._stirred.set()

    async def is_known(self, name: Name, record: BlobRecord) -> bool:
        """Whether there is nothing to share: a name that means this here, or something newer."""
        here = await self._namespace.entry(name)
        if here is not None and here.record == record:
            return True
        return await self._namespace.is_outdated(name, record)

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Works until it is cancelled."""
        task_status.started()
        while True:
            await self._stirred.wait()
            await self._until_quiet()
            self._stirred, self._hurry = trio.Event(), trio.Event()
            self._is_busy = True
            try:
                while self._waiting:
                    await self._share_some()
            finally:
                self._is_busy = False
                self._done.set()
                self._done = trio.Event()

    async def settle(self) -> None:
        """Until all that waits now is shared, or cannot be."""
        while self._waiting or self._is_busy:
            self._hurry.set()
            await self._done.wait()

    async def _until_quiet(self) -> None:
        seen, end = -1, trio.current_time() + LONGEST
        while seen != self._submitted and trio.current_time() < end:
            seen = self._submitted
            with trio.move_on_after(QUIET):
                await self._hurry.wait()
                return

    async def _share_some(self) -> None:
        """Those of one directory."""
        directory = split(next(iter(self._waiting)))[0]
        names = [name for name in self._waiting if split(name)[0] == directory][:MOST]
        records = {name: self._waiting.pop(name) for name in names}
        await self._stored(record.blob for record in records.values())
        try:
            async with self._namespace.lock:
                await self._namespace.put_loaded(directory, records)
        except errors.StoreError as failure:
            _log.info("%d names in %r are not shared in turn for now: %s", len(names), directory, failure)
        except Exception:
            _log.exception("unexpected; %d names in %r are not shared in turn", len(names), directory)
