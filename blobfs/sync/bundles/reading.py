"""Readers of small blobs that may come out of a bundle.

A bundle brings a file's neighbours along in one request. That is decided at the first read, because `open`
asks no share; a program that opens many files and reads one costs one request.
"""

import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import trio

from blobfs import errors
from blobfs.config.settings import LoadSettings
from blobfs.model import BlobId
from blobfs.store.files import Buffer
from blobfs.sync.loading.loads import Loads
from blobfs.sync.loading.reader import Reader

WORTH_BEGINNING = 0.1
"""Seconds; for who waits less no bundle is asked for. He would be gone before that is under way, each time
anew; but a load goes on once he has begun it."""


class ContentReader:
    """Bytes that are in memory."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    @property
    def size(self) -> int:
        return len(self._content)

    async def read(self, offset: int, length: int, *, wait: float = math.inf) -> Buffer:
        return self._content[offset : offset + length]

    def close(self) -> None:
        """Nothing to let go of."""


@dataclass(frozen=True, slots=True)
class Ways:
    """How a small blob may be had; they are tried in this order."""

    here: Callable[[], Awaitable[Reader | None]]
    """None: it is not here, or not all of it."""
    bundle: Callable[[], Awaitable[bytes | None]]
    """None: no bundle brings it."""
    alone: Callable[[], Awaitable[Reader]]


class MemberReader:
    """A small blob that was not here when it was opened.

    `_reader` is set by the first read, once it is known where the bytes come from. A wait that was too long
    is remembered for a moment: the kernel asks again for a read that failed.
    """

    def __init__(self, loads: Loads, settings: LoadSettings, blob: BlobId, size: int, ways: Ways) -> None:
        self._loads = loads
        self._settings = settings
        self._blob = blob
        self._size = size
        self._ways = ways
        self._reader: Reader | None = None
        self._error: errors.LoadFailed = errors.DeadlineExceeded("not here yet")
        self._overdue_until = -math.inf

    @property
    def size(self) -> int:
        return self._size

    async def read(self, offset: int, length: int, *, wait: float = math.inf) -> Buffer:
        if trio.current_time() < self._overdue_until:
            raise self._error
        longest = self._settings.read_timeout
        with trio.move_on_after(longest):
            until = trio.current_time() + wait
            reader = self._reader or await self._find(until)
            return await reader.read(offset, length, wait=max(until - trio.current_time(), 0))
        attempts = self._loads.last_attempts(self._blob)
        raise self._remembered(errors.DeadlineExceeded(f"not here after {longest:.3g} s", attempts))

    async def _find(self, until: float) -> Reader:
        """Sets `_reader`. Of two reads at once the first to know decides."""
        reader = await self._open(until)
        if self._reader is None:
            self._reader = reader
        else:
            reader.close()
        return self._reader

    async def _open(self, until: float) -> Reader:
        reader = await self._ways.here()
        if reader is not None:
            return reader  # it came with one of its neighbours
        if until - trio.current_time() >= WORTH_BEGINNING:
            content = None
            self._loads.reads.waited += 1
            with trio.move_on_at(until) as waiting:
                content = await self._ways.bundle()
            if waiting.cancelled_caught:
                wrong = "not here yet, and the file was opened with O_NONBLOCK"
                raise self._remembered(errors.WouldBlock(wrong))
            if content is not None:
                return ContentReader(content)
        return await self._ways.alone()

    def _remembered(self, error: errors.LoadFailed) -> errors.LoadFailed:
        self._error = error
        self._overdue_until = trio.current_time() + self._settings.failure_memory
        return error

    def close(self) -> None:
        if self._reader is not None:
            self._reader.close()
