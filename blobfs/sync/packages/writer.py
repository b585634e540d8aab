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

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

from blobfs import errors
from blobfs.manifest import MAX_MANIFEST_BYTES
from blobfs.model import BlobId
from blobfs.sync.packages.drafts import Draft, Drafting
from blobfs.sync.packages.open_transaction import OpenTransaction
from blobfs.sync.packages.transition import State


class BlobWriter:
    """`_draft` is made by the first change and gone when it is sealed.

    A call has `_turn` to its end: of an fsync and a close in two threads one seals, and the other finds that
    done.
    """

    def __init__(self, drafting: Drafting, transaction: OpenTransaction, blob: BlobId) -> None:
        self._drafting = drafting
        self._transaction = transaction
        self._blob = blob
        self._size = transaction.known.needs[blob].size
        self._draft: Draft | None = None
        self._is_written = False
        self._failure: errors.StoreError | None = None
        """What the disk said to the last write: a close after it must not say that the writer was short."""
        self._turn = trio.Lock()
        transaction.writers += 1

    def __repr__(self) -> str:
        return f"<BlobWriter {self._blob[:12]} {self.size}/{self._size} written={self._is_written}>"

    @property
    def size(self) -> int:
        """Bytes written so far."""
        return 0 if self._draft is None else self._draft.size

    @property
    def _has_nothing_to_do(self) -> bool:
        """Whether the blob is here already, whoever wrote it."""
        self._demand_not_stale()
        return self._is_written or not self._transaction.known.is_missing(self._blob)

    def _demand_not_stale(self) -> None:
        if self._transaction.state is State.ABORTED:
            raise errors.StaleHandle(f"the transaction on {self._transaction.package} was aborted")

    @asynccontextmanager
    async def _writing(self) -> AsyncIterator[None]:
        async with self._turn:
            try:
                with self._transaction.noting(self._blob):
                    yield
            except errors.StoreError as failure:
                self._failure = failure
                raise

    async def write(self, offset: int, content: bytes) -> int:
        """Raises `ContentTooLong`, `WrongContent`, `StaleHandle`, `TransactionAborted`, `StoreError`."""
        end = offset + len(content)
        self._demand_fitting(end)
        async with self._writing():
            if self._has_nothing_to_do:
                return len(content)
            draft = await self._opened()
            await draft.write(offset, content)
            self._failure = None
            if self._size is not None and draft.front >= self._size:
                await self._settle()
        return len(content)

    async def truncate(self, size: int) -> None:
        """Declares the size of a meta blob, whose size is not known; of content it must be the known one."""
        self._demand_fitting(size)
        async with self._writing():
            if self._has_nothing_to_do:
                return
            draft = await self._opened()
            await draft.truncate(size)
            if self._transaction.known.needs[self._blob].size is None:
                self._size = size or None

    def _demand_fitting(self, size: int) -> None:
        known = self._transaction.known.needs[self._blob].size
        most = MAX_MANIFEST_BYTES if known is None else known
        if size > most:
            raise errors.ContentTooLong(f"{size} bytes, the blob {self._blob} has at most {most}")

    async def _opened(self) -> Draft:
        if self._draft is None:
            known = self._transaction.known.needs[self._blob].size
            self._draft = await self._drafting.begin(self._transaction, known)
        return self._draft

    async def read(self, offset: int, length: int) -> bytes:
        """What was written through this descriptor."""
        self._demand_not_stale()
        return b"" if self._draft is None else await self._draft.read(offset, length)

    async def fsync(self) -> None:
        """What is not complete yet is `ShortContent`; it can be completed after that."""
        async with self._writing():
            if not self._has_nothing_to_do:
                await self._settle()

    async def flush(self) -> None:
        """A close of one duplicate. Raises what speaks against the blob."""
        async with self._writing():
            if not self._has_nothing_to_do and (self._draft is not None or self._size == 0):
                await self._settle()

    async def _settle(self) -> None:
        """The end of writing: verified, sealed, taken."""
        draft = await self._opened()
        try:
            await self._demand_right(draft)
        except errors.OperationRefused as refused:
            if self._has_nothing_to_do:
                return  # somebody else has written it meanwhile
            if self._failure is not None:
                raise self._failure from refused
            self._transaction.known.reject(self._blob, refused)
            raise
        with self._transaction.ended_with():
            self._transaction.demand_alive()
            await self._seal(draft)
            await self._transaction.wait_taken(self._blob)

    async def _demand_right(self, draft: Draft) -> None:
        if self._size is not None and draft.size < self._size:
            raise errors.ShortContent(
                f"{draft.size} of the {self._size} bytes of the blob {self._blob} were written"
            )
        found = await draft.blob()
        if found != self._blob:
            raise errors.WrongContent(f"{draft.size} bytes that are not the blob {self._blob}")

    async def _seal(self, draft: Draft) -> None:
        self._draft, self._is_written = None, True
        self._transaction.written.add(self._blob)
        try:
            await draft.seal()
        except errors.StoreError:
            self._is_written = False
            raise

    async def close(self) -> None:
        """The end of the descriptor. What was not written whole is thrown away."""
        self._transaction.writers -= 1
        async with self._turn:
            draft, self._draft = self._draft, None
            if draft is not None:
                await draft.discard()
