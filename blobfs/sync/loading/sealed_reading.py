"""Reading blobs that are whole. What is read is verified; what is wrong mends itself while readers wait.

A read whose chunks are known to be right, and that the kernel has cached, costs no hop to a thread. Any other
one is read and hashed in one hop. A reader that meets wrong bytes waits, as long as for a load, until the
blob has left the share (`demoting.py`), and goes on with whatever has taken its place: the load of what is
wrong of it. So do all others who read the same file.
"""

import math
from collections import Counter, OrderedDict
from collections.abc import Awaitable, Callable
from typing import Protocol

import trio

from blobfs import errors
from blobfs.chunks import chunk_count
from blobfs.config.settings import LoadSettings
from blobfs.model import CHUNK_SIZE, BlobId
from blobfs.store.cached import open_verifiable_cached
from blobfs.store.files import Buffer, read_at_nowait
from blobfs.store.opening import Store
from blobfs.store.verified import (
    Doubt,
    Fault,
    KnownChunks,
    OpenBlob,
    Verified,
    doubt_size,
    open_verifiable,
    read_verified,
)
from blobfs.sync.disk import DiskThreads
from blobfs.sync.loading.demoting import Demoting
from blobfs.sync.loading.reader import Reader
from blobfs.sync.loading.reads import Reads
from blobfs.sync.loading.verifying import Verifying

KEPT_BYTES = 4 << 20
"""Of memory for what is known of blobs: a byte for each chunk, so of half a TiB. What is forgotten is
verified again."""
KEPT_BLOBS = 4096
"""The same for small ones, each some hundred bytes."""
HASHED_AT_ONCE = 32 * 1024
"""Bytes of a blob that is hashed right here if the kernel has it: some 25 µs, less than a hop to a thread."""
SLACK = 1.0
"""Seconds: a load's own deadline comes first, which tells more."""

Reopen = Callable[[BlobId, int], Awaitable[Reader]]
"""Opens a blob anew, wherever it is by now."""


class Judge(Protocol):
    """Who decides what becomes of what is in doubt (`demoting.Demoting`)."""

    async def settle(self, opened: OpenBlob, known: KnownChunks, doubt: Doubt, size: int) -> None: ...


class StoredBlobs:
    """Opens them. `_known` is what was verified of those that were read last; `readers` counts who reads."""

    def __init__(
        self,
        store: Store,
        disk: DiskThreads,
        judge: Demoting,
        reopen: Reopen,
        settings: LoadSettings,
        reads: Reads,
    ) -> None:
        self._store = store
        self.disk = disk
        self.judge: Judge = judge
        self.reopen = reopen
        self.settings = settings
        self.reads = reads
        self.readers: Counter[BlobId] = Counter()
        self._known: OrderedDict[tuple[BlobId, int], Verifying] = OrderedDict()
        self._memory = 0

    async def open(self, blob: BlobId, size: int) -> "SealedReader | None":
        """None: it is not here. As `reader`."""
        reader = self.open_nowait(blob, size)
        if reader is not None:
            return reader
        opened = await self.disk.run(open_verifiable, self._store, blob)
        return None if opened is None else await self.reader(opened, size)

    def open_nowait(self, blob: BlobId, size: int) -> "SealedReader | None":
        """None: it is to be looked for by `open`, or at."""
        opened = open_verifiable_cached(self._store, blob)
        if opened is None:
            return None
        verifying = self._known_of(opened)
        if verifying.known.version.size == size:
            return SealedReader(self, opened, verifying)
        opened.close()
        return None

    async def reader(self, opened: OpenBlob, size: int) -> "SealedReader | None":
        """Takes `opened` over. None: it was not what it should be, and is not here any more.

        Raises `WrongEverywhere` for a blob of another size.
        """
        try:
            verifying = self._known_of(opened)
            known = verifying.known
            if known.version.size != size:
                await self._settle_size(opened, known, size)
                opened.close()
                return None
        except BaseException:
            opened.close()
            raise
        return SealedReader(self, opened, verifying)

    def note_right(self, blob: BlobId, fd: int) -> None:
        """All of this file was verified as it was loaded just now: it is not hashed again to be read."""
        opened = OpenBlob(blob, fd, -1)
        self._known_of(opened).known.note(opened.version(), 0, chunk_count(opened.version().size))

    async def _settle_size(self, opened: OpenBlob, known: KnownChunks, size: int) -> None:
        """Either the file or the record is wrong: returns if it is the file, and it has been taken away."""
        fault = await self.disk.run(doubt_size, opened, size, self._store.hashing)
        if fault is not None:
            with trio.move_on_after(self.settings.read_timeout):
                await self.judge.settle(opened, known, Doubt(fault, 0), size)
            if known.is_wrong:
                return
        has = known.version.size
        raise errors.WrongEverywhere(f"its record gives it {size} bytes, the blob has {has}")

    def _known_of(self, opened: OpenBlob) -> Verifying:
        version = opened.version()
        key = opened.blob, version.inode
        found = self._known.get(key)
        if found is not None and (found.known.version.size != version.size or found.known.is_wrong):
            self._memory -= self._known.pop(key).known.memory
            found = None
        if found is None:
            found = Verifying(KnownChunks(opened.blob, version, self._store.hashing), self.disk)
            if version.size > CHUNK_SIZE:  # a smaller one is verified each time it is opened
                self._keep(key, found)
        else:
            self._known.move_to_end(key)
        return found

    def _keep(self, key: tuple[BlobId, int], made: Verifying) -> None:
        self._known[key] = made
        self._memory += made.known.memory
        while len(self._known) > 1 and (self._memory > KEPT_BYTES or len(self._known) > KEPT_BLOBS):
            self._memory -= self._known.popitem(last=False)[1].known.memory


class SealedReader:
    """A blob that was whole when it was opened. `_instead` is set when it turned out to be wrong."""

    def __init__(self, stored: StoredBlobs, opened: OpenBlob, verifying: Verifying) -> None:
        self._stored = stored
        self._opened = opened
        self._verifying = verifying
        self._known = verifying.known
        self._size = self._known.version.size
        self._instead: Reader | None = None
        stored.readers[opened.blob] += 1

    @property
    def size(self) -> int:
        return self._size

    async def read(self, offset: int, length: int, *, wait: float = math.inf) -> Buffer:
        """Raises `StoreBroken`, `LoadFailed` when it is wrong and cannot be had elsewhere."""
        length = min(length, self._size - offset)
        if length <= 0:
            return b""
        if self._instead is not None:
            return await self._instead.read(offset, length, wait=wait)
        self._stored.reads.here += 1
        content = self._read_known(offset, length)
        if content is None and await self._verifying.look_at(self._opened, offset, length):
            content = self._read_known(offset, length)
            self._verifying.was_cached(content is not None)
        if content is not None:
            return content
        found = await self._read_verified(offset, length)
        if isinstance(found, Verified):
            self._known.note(found.version, found.first, found.stop)
            return found.content
        if found.fault is Fault.TREE and self._opened.version() == self._known.whole:
            return found.content  # the blob was hashed as a whole
        longest = self._stored.settings.read_timeout
        with trio.move_on_after(longest + SLACK):
            until = trio.current_time() + wait
            other = await self._settled(found, wait)
            return await other.read(offset, length, wait=max(until - trio.current_time(), 0))
        raise errors.DeadlineExceeded(f"what is stored is wrong; not here after {longest:.3g} s")

    def read_nowait(self, offset: int, length: int) -> Buffer | None:
        """As `read`, of what is cached: what is known to be right, or a small blob. None: `read` it."""
        length = min(length, self._size - offset)
        if length <= 0 or self._instead is not None:
            return None
        content = self._read_known(offset, length)
        if content is None and self._size <= HASHED_AT_ONCE:
            content = self._hashed_now(offset, length)
        if content is not None:
            self._stored.reads.here += 1
        return content

    def _hashed_now(self, offset: int, length: int) -> Buffer | None:
        if read_at_nowait(self._opened.fd, 0, self._size) is None:
            return None
        found = read_verified(self._opened, self._known, offset, length)
        if not isinstance(found, Verified):
            return None
        self._known.note(found.version, found.first, found.stop)
        return found.content

    async def _read_verified(self, offset: int, length: int) -> Verified | Doubt:
        if self._size <= HASHED_AT_ONCE and read_at_nowait(self._opened.fd, 0, self._size) is not None:
            return read_verified(self._opened, self._known, offset, length)  # it waits for no disk
        return await self._stored.disk.run(read_verified, self._opened, self._known, offset, length)

    def _read_known(self, offset: int, length: int) -> Buffer | None:
        """What is right and in the page cache."""
        first, stop = offset // CHUNK_SIZE, chunk_count(offset + length)
        if not self._known.are_right(first, stop):
            return None
        content = read_at_nowait(self._opened.fd, offset, length)
        if content is None or len(content) != length:
            self._known.forget(first, stop)
            return None
        # Looked at after the bytes were read: if it has not changed by now, it had not then.
        return content if self._opened.version() == self._known.version else None

    async def _settled(self, doubt: Doubt, wait: float) -> Reader:
        """What to read on from. Of two reads at once the first to know decides."""
        with trio.move_on_after(wait):
            if not self._known.is_wrong:
                await self._stored.judge.settle(self._opened, self._known, doubt, self._size)
            if not self._known.is_wrong:
                return self
            reader = await self._stored.reopen(self._opened.blob, self._size)
            if self._instead is None:
                self._instead = reader
            else:
                reader.close()
            return self._instead
        raise errors.WouldBlock("what is stored is wrong, and the file was opened with O_NONBLOCK")

    def close(self) -> None:
        self._opened.close()
        blob = self._opened.blob
        self._stored.readers[blob] -= 1
        if not self._stored.readers[blob]:
            del self._stored.readers[blob]
        if self._instead is not None:
            self._instead.close()
