"""Memory that bodies are received into and landing workers read in place: a body's bytes are copied once.

A berth is one MiB of it. There are as many as bodies come fast at a time; whoever gets none uses memory of
its own, and a thread.
"""

import heapq
import mmap
import os

from blobfs.merkle import Buffer
from blobfs.store.landing_worker import BERTH_SIZE, BERTHS

KEPT = 4
"""Berths whose memory is kept when nobody uses them: what one reader of one share needs."""


class Berths:
    """Mutable: `_free`, the numbers of those that nobody uses, lowest first."""

    def __init__(self) -> None:
        self.fd = os.memfd_create("blobfs-landing", os.MFD_CLOEXEC)
        os.ftruncate(self.fd, BERTHS * BERTH_SIZE)
        self._maps = [mmap.mmap(self.fd, BERTH_SIZE, offset=at * BERTH_SIZE) for at in range(BERTHS)]
        self._numbers = {id(each): number for number, each in enumerate(self._maps)}
        self._free = list(range(BERTHS))

    @property
    def in_use(self) -> int:
        return BERTHS - len(self._free)

    def take(self) -> memoryview | None:
        """A whole berth; None: all are in use. `give_back` it."""
        return memoryview(self._maps[heapq.heappop(self._free)]) if self._free else None

    def give_back(self, memory: memoryview) -> None:
        number = self.number(memory)
        assert number is not None, "no berth"
        memory.release()
        if number >= KEPT:
            self._maps[number].madvise(mmap.MADV_REMOVE)
        heapq.heappush(self._free, number)

    def number(self, content: Buffer) -> int | None:
        """Of the berth at whose beginning this lies; None: it lies elsewhere."""
        return self._numbers.get(id(content.obj)) if isinstance(content, memoryview) else None

    def close(self) -> None:
        """Nobody uses any. The memory goes with the last view of it."""
        self._maps.clear()
        os.close(self.fd)
