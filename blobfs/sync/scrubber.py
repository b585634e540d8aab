"""The scrubber: reads everything that is whole in the store, slowly, round after round, and verifies it.

Rot in a blob that nobody reads is found while a share still has the blob. What is wrong leaves the share, as
it would if a reader had met it (`demoting.py`), and is loaded again at once if that can be done.

It goes from id to id; at each start from another one, so that nodes that are started often get round too. It
keeps to its rate, gives way to readers who wait for a load, and no blob counts as used because it was here. A
process of low priority does the hashing.
"""

import contextlib
import logging
import math
import os
import secrets
from collections.abc import Awaitable, Callable
from typing import Protocol

import trio

from blobfs import errors
from blobfs.model import CHUNK_SIZE, LEAF_SIZE, BlobId
from blobfs.store.failures import store_errors
from blobfs.store.hashing import HashWorkers
from blobfs.store.opening import Store
from blobfs.store.verified import Doubt, KnownChunks, OpenBlob, read_verified
from blobfs.store.verify.blobs import blobs_after
from blobfs.store.verify.content import open_untouched
from blobfs.sync.disk import DiskThreads
from blobfs.sync.packages.progress import Progress
from blobfs.sync.service import SyncService

_log = logging.getLogger(__name__)

STEP = 8 * CHUNK_SIZE
"""Bytes that are read and hashed at a time."""
LISTED = 1024
"""Blobs that are listed at a time: each listing goes through the names of all."""
LEAST = LEAF_SIZE
"""What a blob counts for at least: a million small ones are work, too."""
PAUSE = 1.0
"""Seconds between two looks at whether readers wait for loads."""
REST = 60.0
"""Seconds after a round at least, and after a failure of the disk."""


class Judge(Protocol):
    """Decides what becomes of what is in doubt (`demoting.Demoting`)."""

    async def settle(self, opened: OpenBlob, known: KnownChunks, doubt: Doubt, size: int) -> None: ...


class Scrubber:
    """Counts, of all rounds: `blobs`, `bytes`, what was `wrong`, and `mended` of that."""

    def __init__(
        self,
        store: Store,
        disk: DiskThreads,
        judge: Judge,
        is_waited_for: Callable[[], bool],
        load_again: Callable[[BlobId, int | None], Awaitable[bool]],
        rate: int,
    ) -> None:
        """`load_again` takes the size, if it is known; whether the blob is here again. `rate` is bytes a
        second; 0: it does nothing."""
        self._store = store
        self._disk = disk
        self._judge = judge
        self._is_waited_for = is_waited_for
        self._load_again = load_again
        self._rate = rate
        self._rate_changed = trio.Event()
        self._hashing = HashWorkers(1, is_idle=True)
        self._next_step = 0.0
        self._has_begun = False
        """At the first id: what came before that is no round."""
        self.rounds = self.blobs = self.bytes = self.wrong = self.mended = 0

    def __repr__(self) -> str:
        return f"<Scrubber {self.statistics()}>"

    def statistics(self) -> dict[str, int]:
        return {
            "rate": self._rate,
            "rounds": self.rounds,
            "blobs": self.blobs,
            "bytes": self.bytes,
            "wrong": self.wrong,
            "mended": self.mended,
        }

    def set_rate(self, rate: int) -> None:
        """From now on."""
        if rate != self._rate:
            self._rate = rate
            self._next_step = trio.current_time()
            self._rate_changed.set()
            self._rate_changed = trio.Event()

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Until it is cancelled; while the rate is 0 it does nothing."""
        task_status.started()
        position = secrets.token_hex(32)
        self._next_step = trio.current_time()
        try:
            await self._wait_step()
            while True:
                try:
                    position = await self._turn(position)
                except errors.StoreError as failure:
                    _log.warning("verifying what is stored waits a while: %s", failure)
                    await trio.sleep(REST)
                except Exception:
                    _log.exception("unexpected, in verifying what is stored")
                    await trio.sleep(REST)
        finally:
            self._hashing.close()

    async def _turn(self, position: str) -> str:
        """Some blobs behind that id; where it has got to."""
        blobs = await self._disk.run(blobs_after, self._store, position, LISTED)
        for blob in blobs:
            await self._scrub(blob)
        if len(blobs) == LISTED:
            return blobs[-1]
        if self._has_begun:
            self.rounds += 1
            await trio.sleep(REST)
        self._has_begun = True
        return ""

    async def _scrub(self, blob: BlobId) -> None:
        opened = await self._disk.run(_open, self._store, blob)
        if opened is None:
            return
        try:
            known = KnownChunks(blob, opened.version(), self._hashing)
            size = known.version.size
            self.blobs += 1
            await self._wait_turn(LEAST)
            for offset in range(0, size or 1, STEP):
                length = min(STEP, size - offset)
                await self._wait_turn(length)
                found = await self._disk.run(read_verified, opened, known, offset, length)
                self.bytes += length
                if isinstance(found, Doubt):
                    await self._judge.settle(opened, known, found, size)
                    break  # either it is wrong, or all of it was hashed, and it is right
        finally:
            opened.close()
        if known.is_wrong:
            self.wrong += 1
            self.mended += await self._load_again(blob, size if size > CHUNK_SIZE else None)

    async def _wait_turn(self, length: int) -> None:
        """As the rate has it, and not while somebody waits for a share."""
        await self._wait_step()
        while True:
            if not self._is_waited_for():
                break
            await trio.sleep(PAUSE)
        self._next_step = max(self._next_step, trio.current_time()) + length / max(self._rate, 1)

    async def _wait_step(self) -> None:
        await trio.lowlevel.checkpoint()
        while not self._rate or trio.current_time() < self._next_step:
            with trio.move_on_at(self._next_step if self._rate else math.inf):
                await self._rate_changed.wait()


@store_errors()
def _open(store: Store, blob: BlobId) -> OpenBlob | None:
    """As `verified.open_verifiable`, but for the time of its last use. Blocks."""
    with contextlib.ExitStack() as closing:
        try:
            fd = open_untouched(store.layout.blob(blob))
        except FileNotFoundError:
            return None
        closing.callback(os.close, fd)
        tree_fd = -1
        if os.fstat(fd).st_size > CHUNK_SIZE:
            with contextlib.suppress(FileNotFoundError):
                tree_fd = open_untouched(store.layout.tree(blob))
        closing.pop_all()
        return OpenBlob(blob, fd, tree_fd)


def make_scrubber(sync: SyncService) -> Scrubber:
    """Of a node."""

    def is_waited_for() -> bool:
        return any(load.readers and load.in_flight for load in sync.loads.unfinished())

    async def load_again(blob: BlobId, size: int | None) -> bool:
        try:
            size = size if size is not None else await sync.find_blob(blob)
            if size is None:
                raise errors.AbsentEverywhere("no share has it")
            load = await sync.whole_blobs.bring(blob, size, Progress())
            if load is not None:
                await sync.whole_blobs.wait_kept(load)
        except errors.BlobfsError as failure:
            _log.warning("%s was wrong and cannot be loaded again now: %s", blob, failure)
            return False
        return True

    return Scrubber(
        sync.store, sync.disk, sync.loads.demoting, is_waited_for, load_again, sync.settings.scrub_rate
    )
