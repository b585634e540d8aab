"""One descriptor that writes a package's small blobs in one stream, as they stand in its bundle.

A thousand files cost a thousand times five round trips through the kernel; this costs one for each 128 KiB
or so. Each blob is verified by its own id as soon as it is complete. One that is wrong ends the stream
there; those before it are taken, and all can be written one by one still.
"""

from collections.abc import Sequence

from blobfs import errors
from blobfs.bundle import Member
from blobfs.merkle import build_tree, hash_leaves
from blobfs.store.small import SmallBlob
from blobfs.sync.packages.open_transaction import OpenTransaction
from blobfs.sync.packages.small_writes import SmallWrites
from blobfs.sync.packages.transition import State

BATCH = 4 << 20
"""Bytes that are put into the store at a time: with one flush, which takes some milliseconds."""


class BundleWriter:
    """`_begun` are the bytes of the member at `_next` so far, `_batch` is verified and not yet placed."""

    def __init__(self, small: SmallWrites, transaction: OpenTransaction, members: Sequence[Member]) -> None:
        self._small = small
        self._transaction = transaction
        self._members = members
        self._next = 0
        self._position = 0
        self._begun = bytearray()
        self._batch: list[SmallBlob] = []
        self._batch_bytes = 0
        self._failure: errors.StoreError | None = None
        """The disk's. There is no way back in a stream, so every call from then on says so."""
        transaction.writers += 1

    def __repr__(self) -> str:
        return f"<BundleWriter {self._next} of {len(self._members)} members, batch of {len(self._batch)}>"

    @property
    def size(self) -> int:
        """Bytes written so far."""
        return self._position

    async def write(self, offset: int, content: bytes) -> int:
        """Raises `InvalidArgument` for what does not follow, `WrongContent`, `ContentTooLong`, `StaleHandle`,
        `TransactionAborted`, `StoreError`.
        """
        self._demand_going_on()
        if offset != self._position:
            raise errors.InvalidArgument(
                f"a bundle is written in order: {self._position} is next, not {offset}"
            )
        if self._transaction.state is not State.NEED_BLOBS:
            self._position += len(content)
            return len(content)  # there is nothing left to do
        last = self._members[-1]
        if offset + len(content) > last.offset + last.size:
            raise errors.ContentTooLong(f"the bundle has {last.offset + last.size} bytes")
        self._begun += content
        self._position += len(content)
        self._cut()
        if self._batch_bytes >= BATCH:
            await self._place()
        return len(content)

    def _cut(self) -> None:
        """Verifies the members that are complete."""
        start = 0
        try:
            while self._next < len(self._members):
                member = self._members[self._next]
                if start + member.size > len(self._begun):
                    break
                self._verify(member, bytes(self._begun[start : start + member.size]))
                start += member.size
                self._next += 1
        finally:
            del self._begun[:start]

    def _verify(self, member: Member, content: bytes) -> None:
        if not self._transaction.known.is_missing(member.blob):
            return
        found, tree = build_tree(hash_leaves(content, 0), member.size)
        if found != member.blob:
            wrong = errors.WrongContent(
                f"at {member.offset} in the bundle there is not the blob {member.blob}"
            )
            self._transaction.known.reject(member.blob, wrong)
            raise wrong
        self._batch.append(SmallBlob(member.blob, content, tree))
        self._batch_bytes += member.size

    async def _place(self) -> None:
        batch, self._batch, self._batch_bytes = self._batch, [], 0
        if not batch:
            return
        self._transaction.written.update(small.blob for small in batch)
        try:
            with self._transaction.noting(), self._transaction.ended_with():
                await self._small.place(batch, self._transaction.package)
        except errors.StoreError as failure:
            self._failure = failure
            raise

    async def fsync(self) -> None:
        """What was written so far is in the store."""
        self._demand_going_on()
        await self._place()

    async def flush(self) -> None:
        """A close of one duplicate. When this returns, what was written is taken.

        Raises `ShortContent` for a stream that ends within a blob.
        """
        await self.fsync()
        if self._next:
            with self._transaction.ended_with():
                await self._transaction.wait_taken(self._members[self._next - 1].blob)
        if self._begun:
            raise errors.ShortContent(f"the bundle ends within the blob {self._members[self._next].blob}")

    async def truncate(self, size: int) -> None:
        """Declares nothing."""
        if size < self._position:
            raise errors.InvalidArgument("what was written of a bundle is taken")

    async def read(self, offset: int, length: int) -> bytes:
        raise errors.WriteOnly("a bundle is only written here")

    async def close(self) -> None:
        self._transaction.writers -= 1

    def _demand_going_on(self) -> None:
        if self._transaction.state is State.ABORTED:
            raise errors.StaleHandle(f"the transaction on {self._transaction.package} was aborted")
        if self._failure is not None:
            raise self._failure
