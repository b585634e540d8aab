"""What one descriptor has written of a blob so far: in memory if it is small, else in a file of the store."""

import time
from typing import Protocol

from blobfs import errors
from blobfs.bundle import BUNDLED_UP_TO
from blobfs.merkle import build_tree, hash_leaves
from blobfs.model import EMPTY_BLOB, BlobId
from blobfs.store.incoming import Incoming
from blobfs.store.opening import Store
from blobfs.store.small import SmallBlob
from blobfs.sync.disk import DiskThreads
from blobfs.sync.jobs import SealJob
from blobfs.sync.packages.open_transaction import OpenTransaction
from blobfs.sync.packages.small_writes import SmallWrites
from blobfs.sync.sealer import Sealer
from blobfs.sync.space import Space


class Draft(Protocol):
    """Bytes that can be written anywhere until they are sealed."""

    @property
    def size(self) -> int: ...

    @property
    def front(self) -> int:
        """Up to here it was written without a gap."""

    async def write(self, offset: int, content: bytes) -> None: ...

    async def truncate(self, size: int) -> None: ...

    async def read(self, offset: int, length: int) -> bytes: ...

    async def blob(self) -> BlobId:
        """What it is as it stands."""

    async def seal(self) -> None:
        """Until it is in the store, durable and held. Nothing is written after. Raises `StoreError`."""

    async def discard(self) -> None:
        """It is not wanted."""


class Drafting:
    """Makes drafts."""

    def __init__(
        self, store: Store, disk: DiskThreads, sealer: Sealer, small: SmallWrites, space: Space
    ) -> None:
        self._store = store
        self._space = space
        self._disk = disk
        self._sealer = sealer
        self._small = small

    async def begin(self, transaction: OpenTransaction, size: int | None) -> Draft:
        """`size` is what it will have; None where nobody knows."""
        if size is not None and 0 < size <= BUNDLED_UP_TO:
            return MemoryDraft(transaction.package, self._small)
        incoming = await self._disk.run(Incoming.create, self._store)
        return FileDraft(incoming, transaction, self._disk, self._sealer, self._space)


class MemoryDraft:
    """A small blob. `_front` is where the writing without gaps has got to."""

    def __init__(self, package: BlobId, small: SmallWrites) -> None:
        self._package = package
        self._small = small
        self._content = bytearray()
        self._front = 0
        self._tree = b""
        self._blob = EMPTY_BLOB

    @property
    def size(self) -> int:
        return len(self._content)

    @property
    def front(self) -> int:
        """Behind a gap nothing counts before all is there: then the gap has been written too."""
        return self._front

    async def write(self, offset: int, content: bytes) -> None:
        end = offset + len(content)
        if end > len(self._content):
            self._content += bytes(end - len(self._content))
        self._content[offset:end] = content
        if offset <= self._front:
            self._front = max(self._front, end)

    async def truncate(self, size: int) -> None:
        del self._content[size:]
        self._content += bytes(size - len(self._content))
        self._front = min(self._front, size)

    async def read(self, offset: int, length: int) -> bytes:
        return bytes(self._content[offset : offset + length])

    async def blob(self) -> BlobId:
        self._blob, self._tree = build_tree(hash_leaves(self._content, 0), len(self._content))
        return self._blob

    async def seal(self) -> None:
        await self._small.place([SmallBlob(self._blob, bytes(self._content), self._tree)], self._package)

    async def discard(self) -> None:
        self._content.clear()


class FileDraft:
    """Any other."""

    def __init__(
        self,
        incoming: Incoming,
        transaction: OpenTransaction,
        disk: DiskThreads,
        sealer: Sealer,
        space: Space,
    ) -> None:
        self._incoming = incoming
        self._space = space
        self._transaction = transaction
        self._disk = disk
        self._sealer = sealer
        self._is_given_up = False

    @property
    def size(self) -> int:
        return self._incoming.size

    @property
    def front(self) -> int:
        return self._incoming.front

    async def write(self, offset: int, content: bytes) -> None:
        await self._space.writing(self._disk.run, self._incoming.write, offset, content)

    async def truncate(self, size: int) -> None:
        await self._disk.run(self._incoming.truncate, size)

    async def read(self, offset: int, length: int) -> bytes:
        return await self._disk.run(self._incoming.read, offset, length)

    async def blob(self) -> BlobId:
        content = await self._disk.run(self._incoming.finish)
        return content.blob

    async def seal(self) -> None:
        self._is_given_up = True
        job = SealJob(self._incoming, None, 0o444, time.time_ns(), package=self._transaction.package)
        self._transaction.jobs.add(job)
        self._sealer.submit(job)
        try:
            await self._sealer.wait(job)
        except errors.StoreError:
            job.dropped = True
            await self._sealer.wait_dropped(job)
            raise
        finally:
            self._transaction.jobs.discard(job)

    async def discard(self) -> None:
        if not self._is_given_up:
            await self._disk.run(self._incoming.discard)
