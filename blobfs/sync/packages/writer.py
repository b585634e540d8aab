"""One descriptor that writes a needed blob.

1. Each has a file of its own: two writers of one blob do not meet, and the first to complete wins. For the
   other there is nothing left to do then: whatever it still writes, it sees success.
2. A blob is written when its bytes are complete: at the write that fills a known size, at fsync, at close.
   Then they are verified, sealed and taken, and only then the call returns; of the package's last blob,
   when the package is complete.
3. Wrong bytes are refused there and then. They can be overwritten through the same descriptor, or thrown
   away by closing it: the blob stays missing.
4. A close before anything was written says nothing: a shell duplicates descriptors and closes them.
"""

import time

from blobfs import errors
from blobfs.manifest import MAX_MANIFEST_BYTES
from blobfs.model import BlobId
from blobfs.store.incoming import Incoming
from blobfs.store.opening import Store
from blobfs.sync.disk import DiskThreads
from blobfs.sync.jobs import SealJob
from blobfs.sync.packages.open_transaction import OpenTransaction
from blobfs.sync.packages.transition import State
from blobfs.sync.sealer import Sealer


class BlobWriter:
    """Opened by `open_writer`. `_incoming` is made by the first change and gone when it is sealed."""

    def __init__(
        self, store: Store, disk: DiskThreads, sealer: Sealer, transaction: OpenTransaction, blob: BlobId
    ) -> None:
        self._store = store
        self._disk = disk
        self._sealer = sealer
        self._transaction = transaction
        self._blob = blob
        self._size = transaction.known.needs[blob].size
        self._incoming: Incoming | None = None
        self._is_written = False
        transaction.writers += 1

    def __repr__(self) -> str:
        return f"<BlobWriter {self._blob[:12]} {self._incoming!r} written={self._is_written}>"

    @property
    def size(self) -> int:
        """Bytes written so far."""
        return 0 if self._incoming is None else self._incoming.size

    @property
    def _has_nothing_to_do(self) -> bool:
        """Whether the blob is here already, whoever wrote it."""
        self._demand_not_stale()
        return self._is_written or not self._transaction.known.is_missing(self._blob)

    def _demand_not_stale(self) -> None:
        if self._transaction.state is State.ABORTED:
            raise errors.StaleHandle(f"the transaction on {self._transaction.package} was aborted")

    async def write(self, offset: int, content: bytes) -> int:
        """Raises `ContentTooLong`, `WrongContent`, `StaleHandle`, `TransactionAborted`, `StoreError`."""
        end = offset + len(content)
        self._demand_fitting(end)
        if self._has_nothing_to_do:
            return len(content)
        incoming = await self._opened()
        await self._disk.run(incoming.write, offset, content)
        if self._size is not None and incoming.front >= self._size:
            await self._settle()
        return len(content)

    async def truncate(self, size: int) -> None:
        """Declares the size of a meta blob, whose size is not known; of content it must be the known one."""
        self._demand_fitting(size)
        if self._has_nothing_to_do:
            return
        incoming = await self._opened()
        await self._disk.run(incoming.truncate, size)
        if self._transaction.known.needs[self._blob].size is None:
            self._size = size or None

    def _demand_fitting(self, size: int) -> None:
        known = self._transaction.known.needs[self._blob].size
        most = MAX_MANIFEST_BYTES if known is None else known
        if size > most:
            raise errors.ContentTooLong(f"{size} bytes, the blob {self._blob} has at most {most}")

    async def _opened(self) -> Incoming:
        if self._incoming is None:
            self._incoming = await self._disk.run(Incoming.create, self._store)
        return self._incoming

    async def read(self, offset: int, length: int) -> bytes:
        """What was written through this descriptor."""
        self._demand_not_stale()
        incoming = self._incoming
        return b"" if incoming is None else await self._disk.run(incoming.read, offset, length)

    async def fsync(self) -> None:
        """What is not complete yet is `ShortContent`; it can be completed after that."""
        if not self._has_nothing_to_do:
            await self._settle()

    async def flush(self) -> None:
        """A close of one duplicate. Raises what speaks against the blob."""
        if self._has_nothing_to_do or (self._incoming is None and self._size != 0):
            return
        await self._settle()

    async def _settle(self) -> None:
        """The end of writing: verified, sealed, taken."""
        incoming = await self._opened()
        try:
            await self._demand_right(incoming)
        except errors.OperationRefused as refused:
            if self._has_nothing_to_do:
                return  # somebody else has written it meanwhile
            self._transaction.known.reject(self._blob, refused)
            raise
        with self._transaction.ended_with():
            await self._seal(incoming)
            await self._transaction.wait_taken(self._blob)

    async def _demand_right(self, incoming: Incoming) -> None:
        if self._size is not None and incoming.size < self._size:
            raise errors.ShortContent(
                f"{incoming.size} of the {self._size} bytes of the blob {self._blob} were written"
            )
        content = await self._disk.run(incoming.finish)
        if content.blob != self._blob:
            raise errors.WrongContent(f"{content.size} bytes that are not the blob {self._blob}")

    async def _seal(self, incoming: Incoming) -> None:
        transaction = self._transaction
        job = SealJob(incoming, None, 0o444, time.time_ns(), package=transaction.package)
        self._incoming, self._is_written = None, True
        transaction.jobs.add(job)
        transaction.written.add(self._blob)
        self._sealer.submit(job)
        try:
            await self._sealer.wait(job)
        except errors.StoreError:
            self._is_written = False
            job.dropped = True
            await self._sealer.wait_dropped(job)
            raise
        finally:
            transaction.jobs.discard(job)

    async def close(self) -> None:
        """The end of the descriptor. What was not written whole is thrown away."""
        self._transaction.writers -= 1
        incoming, self._incoming = self._incoming, None
        if incoming is not None:
            await self._disk.run(incoming.discard)
