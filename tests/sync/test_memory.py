"""The memory that a body takes on its way to the disk."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio
from trio.testing import wait_all_tasks_blocked

from blobfs.model import CHUNK_SIZE, BlobId
from blobfs.shares.body import ByteStream
from blobfs.store.opening import Store
from blobfs.sync.loading.fetch import BATCH
from tests.sync.fake_share import FakeShare
from tests.sync.running import IDLE, ScriptedDisk, content, is_kept, kept, running

RAW = content(40 * CHUNK_SIZE - 1000, seed=3)


class WatchedShare(FakeShare):
    """Remembers what its bodies were read into, and what was in it after each piece."""

    def __init__(self) -> None:
        super().__init__("http://watched/")
        self.blob_id = self.add_blob(RAW)
        self.memories: dict[int, list[memoryview]] = {}
        """By the request's offset."""

    @asynccontextmanager
    async def blob(self, blob: BlobId, size: int, offset: int, length: int) -> AsyncIterator[ByteStream]:
        async with super().blob(blob, size, offset, length) as body:
            yield Watched(body, self.memories.setdefault(offset, []))


class Watched:
    def __init__(self, body: ByteStream, memories: list[memoryview]) -> None:
        self._body = body
        self._memories = memories

    async def read_into(self, memory: memoryview) -> int:
        self._memories.append(memory)
        return await self._body.read_into(memory)


async def test_a_body_takes_one_batch_of_memory(store: Store) -> None:
    """All of a request's bytes go through the same memory, once the first chunk has come quickly."""
    share = WatchedShare()
    async with running(store, share) as sync:
        reader = await sync.loads.open(share.blob_id, len(RAW), None, None)
        assert await reader.read(0, len(RAW)) == RAW
        reader.close()
        await kept(sync)
    assert is_kept(store, share.blob_id, RAW)
    assert max(length for _, length in share.ranges()) > BATCH
    for memories in share.memories.values():
        owners = {id(memory.obj): memoryview(memory.obj).nbytes for memory in memories}
        assert list(owners.values()) in ([CHUNK_SIZE], [CHUNK_SIZE, BATCH])


async def test_memory_is_not_used_again_before_it_is_kept(store: Store) -> None:
    """While a batch is being written nothing is received."""
    share, disk = WatchedShare(), ScriptedDisk()
    gate = disk.pausing["_keep"] = trio.Event()
    async with running(store, share, disk=disk) as sync:
        async with trio.open_nursery() as nursery:
            reader = await sync.loads.open(share.blob_id, len(RAW), None, None)
            nursery.start_soon(reader.read, 0, 4 * CHUNK_SIZE)
            await disk.paused.wait()
            before = {offset: len(memories) for offset, memories in share.memories.items()}
            await wait_all_tasks_blocked(IDLE)
            assert {offset: len(memories) for offset, memories in share.memories.items()} == before
            gate.set()
        assert await reader.read(0, 4 * CHUNK_SIZE) == RAW[: 4 * CHUNK_SIZE]
        reader.close()
