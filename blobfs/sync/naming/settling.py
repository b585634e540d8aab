"""Every now and then what changed among the names is made durable, and is suspect no longer.

Without it every directory that was ever changed in a run would be looked over after a crash.
"""

import logging
from collections.abc import Collection

import trio

from blobfs import errors
from blobfs.model import Name
from blobfs.store.opening import Store
from blobfs.sync.disk import DiskThreads

_log = logging.getLogger(__name__)

SETTLE_EVERY = 60.0
"""Seconds. The kernel writes back what is older than half of that anyway, so a flush finds little to do."""


async def settle_changes(store: Store, disk: DiskThreads) -> None:
    """Works until it is cancelled."""
    while True:
        await trio.sleep(SETTLE_EVERY)
        if store.changes.any_marked:
            try:
                await settle_now(store, disk)
            except errors.StoreError as failure:
                _log.warning("what changed among the names may not be on the disk: %s", failure)


async def settle_now(
    store: Store, disk: DiskThreads, looked_over: Collection[Name] = (), everything: bool = False
) -> None:
    """`looked_over` were suspect from the last run and are in order now; `everything`: all there is was."""
    taken = store.changes.take()
    try:
        await disk.run(store.flushes.everything)
        await disk.run(store.changes.settle, {*taken, *looked_over}, everything)
    except BaseException:
        store.changes.put_back(taken)
        raise
