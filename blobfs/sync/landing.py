"""The last step of loading: chunks are verified, written, and noted in the map; all in one hop to a
thread."""

from blobfs.merkle import Buffer
from blobfs.model import CHUNK_SIZE
from blobfs.store.partial import Partial
from blobfs.sync.disk import DiskThreads
from blobfs.sync.source import Source

MAP_EVERY = 8
"""Chunks between two writes of the map, one batch: what a SIGKILL may cost to load again, 1 MiB."""


class Landing:
    """Of one load. Mutable: how many chunks the map on the disk does not know yet, whether it is being
    written."""

    def __init__(self, partial: Partial, source: Source, disk: DiskThreads) -> None:
        self._partial = partial
        self._source = source
        self._disk = disk
        self._unsaved = 0
        self._is_saving = False

    async def keep(self, chunk: int, content: Buffer) -> int | None:
        """How many whole chunks there were, which are present now; None when they are wrong."""
        saves = self._unsaved >= MAP_EVERY and not self._is_saving
        if saves:
            self._is_saving, self._unsaved = True, 0
        try:
            if not await self._disk.run(self._keep, chunk, content, saves):
                return None
        finally:
            if saves:
                self._is_saving = False
        count = -(-len(content) // CHUNK_SIZE)
        self._partial.mark(chunk, count)
        self._unsaved += count
        return count

    def _keep(self, chunk: int, content: Buffer, saves: bool) -> bool:
        """The map gets what was kept before, while we are there."""
        if saves:
            self._partial.save_map()
        return self._source.keep(chunk, content)
