"""Reading a blob's bytes, whether it is here already or on its way."""

import math
import os
from collections.abc import Callable
from typing import Protocol

import trio

from blobfs import errors
from blobfs.store.files import read_at, read_at_nowait
from blobfs.sync.disk import DiskThreads
from blobfs.sync.load import Load
from blobfs.sync.window import ReadWindow


class Reader(Protocol):
    """One open file. `read` returns what was asked for, short only at the end of the blob."""

    @property
    def size(self) -> int:
        """Bytes of the whole."""

    async def read(self, offset: int, length: int, *, wait: float = math.inf) -> bytes:
        """Raises `LoadFailed`; `WouldBlock` for what is not here after `wait` seconds: the load goes on."""

    def close(self) -> None:
        """Once; synchronous, for what it lets go of needs no I/O that waits."""


class SealedReader:
    """A blob that is here."""

    def __init__(self, fd: int, size: int, disk: DiskThreads) -> None:
        self._size = size
        self._fd = fd
        self._disk = disk

    @property
    def size(self) -> int:
        return self._size

    async def read(self, offset: int, length: int, *, wait: float = math.inf) -> bytes:
        length = min(length, self.size - offset)
        if length <= 0:
            return b""
        content = read_at_nowait(self._fd, offset, length)
        if content is None:
            content = await self._disk.run(read_at, self._fd, offset, length)
        if len(content) != length:
            raise errors.StoreBroken(f"a sealed blob is shorter than its {self.size} bytes")
        return content

    def close(self) -> None:
        os.close(self._fd)


class LoadReader:
    """A blob on its way; one reading position in it."""

    def __init__(self, load: Load, read_ahead: int, release: Callable[[Load], None]) -> None:
        self.load = load
        self._window = ReadWindow(read_ahead)
        self._release = release
        self._overdue = range(0)
        self._overdue_until = -math.inf
        self._error: errors.LoadFailed = errors.DeadlineExceeded("not here yet")
        load.readers += 1

    @property
    def size(self) -> int:
        return self.load.size

    async def read(self, offset: int, length: int, *, wait: float = math.inf) -> bytes:
        length = min(length, self.size - offset)
        if length <= 0:
            return b""
        ahead = self._window.advance(offset, length)
        if ahead and not self.load.partial.is_whole:
            self.load.ahead(offset, length + ahead)
        if not self.load.is_here(offset, length):
            await self._await(offset, length, wait)
        fd = self.load.partial.fd
        content = read_at_nowait(fd, offset, length)
        if content is None:
            content = await self.load.disk.run(read_at, fd, offset, length)
        return content

    async def _await(self, offset: int, length: int, wait: float) -> None:
        """Waits for the load. The kernel asks again for a read that failed: that fails at once."""
        now = trio.current_time()
        if now < self._overdue_until and offset in self._overdue:
            raise self._error
        try:
            with trio.move_on_after(wait):
                await self.load.need(offset, length)
                return
            raise errors.WouldBlock("not here yet, and the file was opened with O_NONBLOCK")
        except (errors.DeadlineExceeded, errors.WouldBlock) as error:
            # Its own waiting is over; that of the other readers of these bytes is not.
            self._error = error
            self._overdue = range(offset, offset + length)
            self._overdue_until = trio.current_time() + self.load.settings.failure_memory
            raise

    def close(self) -> None:
        self._release(self.load)
