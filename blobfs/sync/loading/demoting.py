"""Whole blobs that are found wrong: each is looked at once, however many readers meet it.

1. Where the tree vouches for other bytes than there are, or the disk cannot read them, the blob is wrong.
2. Where the tree cannot tell, all of the blob is hashed: it is right and gets its tree again, or it is wrong.
3. A wrong blob leaves the share at once (`blobfs.store.demotion`). Whoever needs it loads it, like any other
   that is here in part; and it is made whole again when nobody does (`restoring.py`).
4. It may come here again in another way than by that load. Then who held it holds it again, and it gets the
   names back that wait for it.
"""

import logging
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import trio

from blobfs import errors
from blobfs.model import BlobId, Name
from blobfs.record import BlobRecord
from blobfs.store.demotion import Became, Demoted, demote, hold_again, list_demoted
from blobfs.store.opening import Store
from blobfs.store.partial import drop_remains
from blobfs.store.verified import Doubt, Fault, KnownChunks, OpenBlob, find_right
from blobfs.store.waiting import forget_waiting, read_waiting
from blobfs.sync.arrivals import Arrivals
from blobfs.sync.background import guarded
from blobfs.sync.disk import DiskThreads
from blobfs.sync.loading.load import Load
from blobfs.sync.loading.restoring import Bring, Restoring

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Around:
    """What of the loads is needed here."""

    load_of: Callable[[str], Load | None]
    adopt: Callable[[Name, BlobRecord], Awaitable[None]]
    """Gives a blob that is here a name."""
    bring: Bring


@dataclass(eq=False)
class _Look:
    """At one file. `failure` is set before `done`, if the disk failed."""

    done: trio.Event = field(default_factory=trio.Event)
    failure: errors.StoreError | None = None


class Demoting:
    """Mutable, on the event loop: `_looks`, those under way, by blob and inode."""

    def __init__(
        self, store: Store, disk: DiskThreads, names_lock: trio.Lock, arrivals: Arrivals, around: Around
    ) -> None:
        self._store = store
        self._disk = disk
        self._names_lock = names_lock
        self._arrivals = arrivals
        self._around = around
        self._looks: dict[tuple[BlobId, int], _Look] = {}
        self._restoring = Restoring(around.bring)
        self._nursery: trio.Nursery | None = None
        self.demoted = 0
        self.trees_rebuilt = 0

    def __repr__(self) -> str:
        return f"<Demoting looks={len(self._looks)} demoted={self.demoted}>"

    def statistics(self) -> dict[str, int]:
        return {
            "demoted": self.demoted,
            "trees_rebuilt": self.trees_rebuilt,
            "to_restore": len(self._restoring),
        }

    def is_to_restore(self, blob: BlobId) -> bool:
        """Whether it was found wrong, and is not whole again."""
        return blob in self._restoring

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Owns the looks, until it is cancelled."""
        for blob, size in await self._disk.run(list_demoted, self._store):
            self._expect(blob, size)
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            nursery.start_soon(self._restoring.run)
            task_status.started()
            await trio.sleep_forever()

    async def settle(self, opened: OpenBlob, known: KnownChunks, doubt: Doubt, size: int) -> None:
        """Until it is known whether a blob is wrong, and what is to be done about it is done.

        `size` is what it should have. If it was wrong, `known` says so. Raises `StoreError`.
        """
        key = opened.blob, known.version.inode
        look = self._looks.get(key)
        if look is None:
            assert self._nursery is not None
            look = self._looks[key] = _Look()
            tree_fd = os.dup(opened.tree_fd) if opened.tree_fd >= 0 else -1
            mine = OpenBlob(opened.blob, os.dup(opened.fd), tree_fd)
            self._nursery.start_soon(guarded, self._look, look, mine, known, doubt, size)
        await look.done.wait()
        if look.failure is not None:
            raise look.failure

    async def _look(self, look: _Look, opened: OpenBlob, known: KnownChunks, doubt: Doubt, size: int) -> None:
        try:
            if doubt.fault is Fault.TREE and await self._is_right(opened, known):
                return
            await self._until_kept(opened.blob)
            await self.demote(opened.blob, size, known.version.inode, doubt.offset)
            known.is_wrong = True
        except errors.StoreError as failure:
            look.failure = failure
        finally:
            del self._looks[opened.blob, known.version.inode]
            opened.close()
            look.done.set()

    async def _is_right(self, opened: OpenBlob, known: KnownChunks) -> bool:
        version = await self._disk.run(find_right, self._store, opened)
        if version is None:
            return False
        _log.warning("the tree of %s was missing or wrong on the disk; the blob is right", opened.blob)
        known.note_all(version)
        self.trees_rebuilt += 1
        return True

    async def _until_kept(self, blob: BlobId) -> None:
        """A load that has just become whole reads on in the same file for a moment."""
        while (load := self._around.load_of(blob)) is not None and load.was_whole:
            await load.kept.wait()
            await trio.lowlevel.checkpoint()
            if load.keep_failure is not None:
                return

    async def demote(
        self, blob: BlobId, size: int | None = None, inode: int | None = None, offset: int = 0
    ) -> Demoted:
        """Takes a wrong blob out of the share. See `blobfs.store.demotion.demote`. Raises `StoreError`."""
        async with self._names_lock:
            done = await self._disk.run(demote, self._store, blob, size, inode)
        if done.became is Became.GONE:
            _log.debug("%s was wrong, and had left the share", blob)
            return done
        self.demoted += 1
        shown = ", ".join(repr(str(name)) for name in done.names[:3]) or "it has no name"
        _log.warning(
            "the stored bytes of %s (%s) are wrong at %d; what is wrong is loaded again", blob, shown, offset
        )
        self._expect(blob, done.size)
        return done

    def _expect(self, blob: BlobId, size: int) -> None:
        self._arrivals.expect([blob], self._arrived)
        self._restoring.add(blob, size)

    def _arrived(self, blob: BlobId) -> None:
        self._restoring.forget(blob)
        self._arrivals.forget([blob], self._arrived)
        if self._nursery is not None:
            self._nursery.start_soon(guarded, self._restore, blob)

    async def _restore(self, blob: BlobId) -> None:
        await self._disk.run(hold_again, self._store, blob)
        for each in await self._disk.run(read_waiting, self._store.layout, blob):
            await self._around.adopt(each.name, each.record)
        if self._around.load_of(blob) is not None:
            return  # it clears away at its end, or the next start does
        await self._disk.run(drop_remains, self._store, blob)
        await self._disk.run(forget_waiting, self._store, blob)
