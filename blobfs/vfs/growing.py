"""Reading a file that is still being written, on this node."""

import math
import os

from blobfs.store.files import Buffer, read_at, read_at_nowait
from blobfs.store.held import Held
from blobfs.store.incoming import Incoming
from blobfs.sync.disk import DiskThreads
from blobfs.vfs.nodes import Writing


class GrowingReader:
    """Reads a file that is still being written: in memory, or on a descriptor of its own."""

    def __init__(self, writing: Writing, disk: DiskThreads) -> None:
        self._writing = writing
        self._disk = disk
        self._fd = -1
        if isinstance(writing.source, Held):
            writing.readers.append(self)
        else:
            self.follow(writing.source)

    def follow(self, incoming: Incoming) -> None:
        self._fd = incoming.dup()

    @property
    def size(self) -> int:
        return self._writing.size if self._fd < 0 else os.fstat(self._fd).st_size

    async def read(self, offset: int, length: int, *, wait: float = math.inf) -> Buffer:
        if self._fd < 0:
            assert isinstance(self._writing.source, Held)
            return self._writing.source.read(offset, length)
        content = read_at_nowait(self._fd, offset, length)
        return await self._disk.run(read_at, self._fd, offset, length) if content is None else content

    def close(self) -> None:
        if self._fd < 0:
            self._writing.readers.remove(self)
        else:
            os.close(self._fd)
