"""Reading a blob's bytes, whether it is here already or on its way."""

import math
from collections.abc import Awaitable, Callable
from typing import Protocol

import trio

from blobfs import errors
from blobfs.model import CHUNK_SIZE
from blobfs.store.files import Buffer, read_at, read_at_nowait
from blobfs.sync.loading.fetch import stretch
from blobfs.sync.loading.load import Load
from blobfs.sync.loading.passing import AHEAD
from blobfs.sync.loading.reads import Reads
from blobfs.sync.loading.window import ReadWindow, chunk_range


class Reader(Protocol):
    """One open file. `read` returns what was asked for, short only at the end of the blob."""

    @property
    def size(self) -> int:
        """Bytes of the whole."""

    async def read(self, offset: int, length: int, *, wait: float = math.inf) -> Buffer:
        """Raises `LoadFailed`; `WouldBlock` for what is not here after `wait` seconds: the load goes on."""

    def close(self) -> None:
        """Once; synchronous, for what it lets go of needs no I/O that waits."""


OpenKept = Callable[[Load], Awaitable[Reader | None]]
"""Opens what a load has become; None: it is not here any more."""


class LoadReader:
    """A blob on its way; one reading position in it."""

    def __init__(
        self,
        load: Load,
        read_ahead: int,
        reads: Reads,
        release: Callable[[Load], None],
        open_kept: OpenKept | None = None,
    ) -> None:
        self.load = load
        self._reads = reads
        self._open_kept = open_kept
        self._kept: Reader | None = None
        self._window = ReadWindow(read_ahead)
        self._release = release
        self._overdue = range(0)
        self._overdue_until = -math.inf
        self._error: errors.LoadFailed = errors.DeadlineExceeded("not here yet")
        load.readers += 1

    @property
    def size(self) -> int:
        return self.load.size

    async def read(self, offset: int, length: int, *, wait: float = math.inf) -> Buffer:
        length = min(length, self.size - offset)
        if length <= 0:
            return b""
        kept = self._kept or await self._reader_of_kept()
        if kept is not None:
            return await kept.read(offset, length, wait=wait)
        if self.load.is_here(offset, length):
            self._reads.here += 1
        else:
            self._reads.waited += 1
        ahead = self._window.advance(offset, length)
        if self.load.is_passing:
            ahead = min(ahead, AHEAD)
        if ahead and not self.load.partial.is_whole:
            self.load.ahead(offset, length + ahead)
        while not self.load.is_kept(offset, length):
            if not self.load.is_here(offset, length):
                try:
                    await self._await(offset, length, wait)
                except (errors.AbsentEverywhere, errors.Unreachable) as error:
                    other = await self._otherwise(error)
                    return await other.read(offset, length, wait=wait)
            elif (passed := await self._passed(offset, length)) is not None:
                return passed
        fd = self.load.partial.fd
        content = read_at_nowait(fd, offset, length)
        if content is None:
            content = await self.load.disk.run(read_at, fd, offset, length)
        return content

    async def _passed(self, offset: int, length: int) -> bytes | None:
        """Bytes that are not all kept; None: some of them are gone again."""
        first, stop = chunk_range(offset, length, self.size)
        parts = []
        for chunk in range(first, stop):
            if self.load.partial.present(chunk):
                start, size = stretch(chunk, chunk + 1, self.size)
                parts.append(await self.load.disk.run(read_at, self.load.partial.fd, start, size))
            elif (content := self.load.passing.get(self.load.key, chunk)) is not None:
                parts.append(content)
            else:
                return None
        skipped = offset - first * CHUNK_SIZE
        return b"".join(parts)[skipped : skipped + length]

    async def _reader_of_kept(self) -> Reader | None:
        """Once the load has ended its file is a blob in the share like any other, and is read like one."""
        if self._open_kept is None or not self.load.kept.is_set() or self.load.keep_failure is not None:
            return None
        return self._keep(await self._open_kept(self.load))

    async def _otherwise(self, error: errors.LoadFailed) -> Reader:
        """No share has it: of a blob that was found wrong here somebody may have brought the right bytes."""
        if not self.load.partial.is_demoted or self._open_kept is None:
            raise error
        kept = self._keep(await self._open_kept(self.load))
        if kept is not None:
            return kept
        if isinstance(error, errors.Unreachable) and error.attempts:
            raise error
        raise errors.StoreBroken("what is stored is wrong, and no share has the blob") from error

    def _keep(self, reader: Reader | None) -> Reader | None:
        """Of two reads at once the first to know decides."""
        if self._kept is None:
            self._kept = reader
        elif reader is not None:
            reader.close()
        return self._kept

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
        if self._kept is not None:
            self._kept.close()
