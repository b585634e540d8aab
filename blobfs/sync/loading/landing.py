"""The last step of loading: chunks are verified, written, and noted in the map; by a worker process, or all
in one hop to a thread. What there is no room for is verified and passed on (`passing.py`)."""

import enum
import math

import trio

from blobfs import errors
from blobfs.merkle import Buffer
from blobfs.model import CHUNK_SIZE
from blobfs.store.partial import Partial
from blobfs.sync.disk import DiskThreads
from blobfs.sync.loading.landers import Landers
from blobfs.sync.loading.passing import Passing
from blobfs.sync.loading.source import Source
from blobfs.sync.space import Space

MAP_EVERY = 8
"""Chunks between two writes of the map, one batch: what a SIGKILL may cost to load again is 1 MiB, or what
comes in `MAP_PAUSE`."""
MAP_PAUSE = 0.05
"""Seconds between two writes of the map, at least."""


class Landed(enum.Enum):
    """What came of some chunks."""

    KEPT = enum.auto()
    PASSED = enum.auto()
    """They are right, and in memory only."""
    WRONG = enum.auto()


class Landing:
    """Of one load. Mutable: how many chunks the map on the disk does not know yet, whether it is being
    written, and why the last chunks were not kept."""

    def __init__(
        self,
        partial: Partial,
        source: Source,
        disk: DiskThreads,
        space: Space,
        passing: Passing,
        landers: Landers,
    ) -> None:
        self._partial = partial
        self._source = source
        self._disk = disk
        self._space = space
        self._passing = passing
        self._landers = landers
        self._unsaved = 0
        self._saved_at = -math.inf
        self._is_saving = False
        self.refusal: errors.StoreError | None = None
        """None: what came last was kept."""
        self._last_refusal: errors.StoreError | None = None

    # What has landed

    def has(self, chunk: int) -> bool:
        """Kept, or in memory for its reader."""
        return self._partial.present(chunk) or self._passing.has(self._partial.key, chunk)

    def has_all(self, first: int, stop: int) -> bool:
        return self._partial.all_present(first, stop - first) or (
            self._passing.bytes > 0 and all(self.has(chunk) for chunk in range(first, stop))
        )

    def has_kept(self, first: int, stop: int) -> bool:
        """Raises why something was not kept. A chunk in memory counts as here: nobody would load it again."""
        if self._partial.all_present(first, stop - first):
            return True
        if self._last_refusal is not None and (
            self.refusal is not None or self._passing.holds(self._partial.key)
        ):
            raise self._last_refusal
        return False

    def begin_keeping(self) -> None:
        """Somebody wants it kept: there may be room by now."""
        self.refusal = None
        self.forget_passed()

    def forget_passed(self) -> None:
        self._passing.forget(self._partial.key)

    # What lands

    async def land(self, chunk: int, content: Buffer) -> Landed:
        """Whole chunks, from `chunk` on. Raises `StoreError` when the disk fails in another way than by being
        full or read-only."""
        if self._partial.refusal is not None:
            return await self._pass_on(chunk, content, self._partial.refusal)
        if not await self._space.obtain(len(content)):
            return await self._pass_on(chunk, content, self._space.refusal())
        try:
            return await self._keep_some(chunk, content)
        except (errors.StoreFull, errors.QuotaExceeded, errors.StoreReadOnly) as failure:
            self._space.give_back(len(content))
            self._space.press()
            return await self._pass_on(chunk, content, failure)
        except BaseException:
            self._space.give_back(len(content))
            raise

    async def _keep_some(self, chunk: int, content: Buffer) -> Landed:
        if not await self._is_kept(chunk, content):
            self._space.give_back(len(content))
            return Landed.WRONG
        self._space.used(len(content))
        count = -(-len(content) // CHUNK_SIZE)
        self._partial.mark(chunk, count)
        self._unsaved += count
        self.refusal = None
        return Landed.KEPT

    async def _is_kept(self, chunk: int, content: Buffer) -> bool:
        """Whether it was right. The map gets what was kept before."""
        saves = self._begin_save()
        try:
            place = self._source.place(chunk)
            is_right = None if place is None else await self._landers.land(content, place)
            if is_right is None:
                return await self._disk.run(self._keep, chunk, content, saves)
            if saves:
                await self._disk.run(self._partial.save_map)
            return is_right
        finally:
            if saves:
                self._is_saving = False

    def _begin_save(self) -> bool:
        now = trio.current_time()
        saves = self._unsaved >= MAP_EVERY and now >= self._saved_at + MAP_PAUSE and not self._is_saving
        if saves:
            self._is_saving, self._unsaved, self._saved_at = True, 0, now
        return saves

    def _keep(self, chunk: int, content: Buffer, saves: bool) -> bool:
        """The map gets what was kept before, while we are there."""
        if saves:
            self._partial.save_map()
        return self._source.keep(chunk, content)

    async def _pass_on(self, chunk: int, content: Buffer, refusal: errors.StoreError) -> Landed:
        if not await self._disk.run(self._source.is_right, chunk, content):
            return Landed.WRONG
        self._passing.put(self._partial.key, chunk, memoryview(content))
        self._space.passed_bytes += len(content)
        self.refusal = self._last_refusal = refusal
        return Landed.PASSED
