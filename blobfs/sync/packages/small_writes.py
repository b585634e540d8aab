"""Small blobs that were written, on their way into the store.

Whoever comes while a group is flushed goes with the next one, so that a hundred writers share a flush.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import trio

from blobfs import errors
from blobfs.model import BlobId
from blobfs.store.opening import Store
from blobfs.store.small import SmallBlob, place_small
from blobfs.sync.arrivals import Arrivals
from blobfs.sync.background import guarded
from blobfs.sync.disk import DiskThreads
from blobfs.sync.space import Space


@dataclass(eq=False)
class _Group:
    blobs: list[SmallBlob] = field(default_factory=list)
    done: trio.Event = field(default_factory=trio.Event)
    failure: errors.BlobfsError | None = None


class SmallWrites:
    """`_groups` gathers by package; a group that is taken out of it is being written."""

    def __init__(self, store: Store, disk: DiskThreads, arrivals: Arrivals, space: Space) -> None:
        self._store = store
        self._space = space
        self._disk = disk
        self._arrivals = arrivals
        self._groups: dict[BlobId, _Group] = {}
        self._stirred = trio.Event()

    def __repr__(self) -> str:
        return f"<SmallWrites gathering={sum(len(group.blobs) for group in self._groups.values())}>"

    async def place(self, blobs: Sequence[SmallBlob], package: BlobId) -> None:
        """Until they are in the store, durable, and held by the transaction that they were written through.

        The caller has verified them. Raises `StoreError`. Who is cancelled leaves them on their way.
        """
        group = self._groups.setdefault(package, _Group())
        group.blobs += blobs
        self._stirred.set()
        await group.done.wait()
        if group.failure is not None:
            raise group.failure

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Works until it is cancelled."""
        task_status.started()
        while True:
            await self._stirred.wait()
            self._stirred = trio.Event()
            while self._groups:
                package, group = self._groups.popitem()
                await guarded(self._work, package, group)

    async def _work(self, package: BlobId, group: _Group) -> None:
        try:
            await self._space.writing(self._disk.run, place_small, self._store, group.blobs, package, True)
        except errors.BlobfsError as failure:
            group.failure = failure
        except BaseException:  # a defect, or the end of the node
            group.failure = errors.StoreBroken("writing it was cut short")
            raise
        finally:
            group.done.set()
        if group.failure is None:
            for small in group.blobs:
                self._arrivals.arrived(small.blob)
