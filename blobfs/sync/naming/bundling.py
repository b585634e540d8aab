"""Bundles of this node's directories are written when one has come to rest (`store.directory_bundles`).

Nobody waits for it, and nothing depends on it: what the disk refuses, or has no room for, is left until the
directory changes again.
"""

import logging
import math
from collections.abc import Mapping

import trio

from blobfs import errors
from blobfs.model import Name
from blobfs.store.directory_bundles import small_blobs, update_bundles
from blobfs.store.failures import store_errors
from blobfs.store.names import LocalName
from blobfs.store.opening import Store
from blobfs.sync.background import guarded
from blobfs.sync.disk import DiskThreads
from blobfs.sync.naming.namespace import Namespace
from blobfs.sync.space import Space

_log = logging.getLogger(__name__)

REST = 2.0
"""Seconds without a change after which a directory's bundles are written."""
REST_PER_WRITING = 20.0
"""As a multiple of what that took last: a directory that goes on changing costs a twentieth of a thread."""
MOST_LOG_BYTES = 32 << 20
"""Of a directory's log: one with far more names than can be listed is read at every turn for little."""


class Bundling:
    """Mutable: `_rests_until`, of directories that were written lately."""

    def __init__(self, store: Store, disk: DiskThreads, namespace: Namespace, space: Space) -> None:
        self._store = store
        self._disk = disk
        self._namespace = namespace
        self._space = space
        self._changed = namespace.changed
        self._rests_until: dict[Name, float] = {}
        self._writing = trio.Lock()
        self.bytes_written = 0

    def __repr__(self) -> str:
        return f"<Bundling written={self.bytes_written} waiting={self._changed!r}>"

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Works until it is cancelled."""
        task_status.started()
        while True:
            await self._changed.some.wait()
            self._changed.some = trio.Event()
            while self._changed.changed_at:
                directory, due = min(
                    ((each, self._due(each)) for each in self._changed.changed_at), key=lambda found: found[1]
                )
                if due > trio.current_time():
                    await trio.sleep_until(due)
                else:
                    await guarded(self._write, directory)

    async def settle(self) -> None:
        """Writes what is left, at rest or not."""
        while self._changed.changed_at:
            await self._write(next(iter(self._changed.changed_at)))
        async with self._writing:
            pass

    def _due(self, directory: Name) -> float:
        rested = self._changed.changed_at[directory] + REST
        return max(rested, self._rests_until.get(directory, -math.inf))

    async def _write(self, directory: Name) -> None:
        async with self._writing:
            self._changed.changed_at.pop(directory, None)
            begin = trio.current_time()
            try:
                await self._update(directory)
            except errors.StoreError as failure:
                _log.info("the bundles of %r are not written: %s", directory, failure)
            self._rest(directory, begin)

    async def _update(self, directory: Name) -> None:
        if not self._space.has_plenty or await self._disk.run(_log_bytes, self._store, directory) > (
            MOST_LOG_BYTES
        ):
            return
        entries = dict(await self._namespace.directory(directory) or {})
        self.bytes_written += await self._disk.run(_update, self._store, directory, entries)

    def _rest(self, directory: Name, begin: float) -> None:
        now = trio.current_time()
        until = now + REST_PER_WRITING * (now - begin)
        self._rests_until = {each: then for each, then in self._rests_until.items() if then > now}
        if until > now + REST:
            self._rests_until[directory] = until


@store_errors()
def _log_bytes(store: Store, directory: Name) -> int:
    try:
        return store.layout.log(directory).stat().st_size
    except (FileNotFoundError, NotADirectoryError):
        return 0


def _update(store: Store, directory: Name, entries: Mapping[str, LocalName]) -> int:
    return update_bundles(store, directory, small_blobs(entries))
