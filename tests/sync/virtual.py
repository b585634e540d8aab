"""A node in virtual time: fake shares, a real store, and no thread, so that the clock may jump by itself.

What a load takes here is what its shares were told to take, to the millisecond, on any machine.
"""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass

import trio

from blobfs.config.settings import LoadSettings
from blobfs.model import CHUNK_SIZE
from blobfs.shares.health import Circuit
from blobfs.store.opening import Store
from blobfs.sync.disk import DiskThreads
from blobfs.sync.loading.dispatch import Dispatcher
from blobfs.sync.loading.reader import Reader
from blobfs.sync.peer import Peer
from blobfs.sync.service import SyncService
from tests.sync.fake_share import FakeShare, blob_of
from tests.sync.running import SETTINGS, T, Ts
from tests.sync.samples import RAW, SMALL


class InlineDisk(DiskThreads):
    """Blocks the loop instead of hopping to a thread."""

    async def run(self, call: Callable[[*Ts], T], *args: *Ts) -> T:
        self.hops += 1
        await trio.lowlevel.checkpoint()
        return call(*args)


@dataclass(frozen=True)
class Node:
    """A running service and the peers it made of the shares, in their order."""

    sync: SyncService
    peers: list[Peer]

    @property
    def dispatcher(self) -> Dispatcher:
        return self.sync.loads.dispatcher

    def assert_idle(self) -> None:
        """Nothing is under way, on either side."""
        found = self.sync.loads.statistics()
        assert (found["spans"], found["in_flight"], found["bodies"], found["waiting"]) == (0, 0, 0, 0)
        assert [peer.bodies for peer in self.peers] == [0] * len(self.peers)


@asynccontextmanager
async def node(
    store: Store, *shares: FakeShare, settings: LoadSettings = SETTINGS, disk: DiskThreads | None = None
) -> AsyncIterator[Node]:
    """At the end it is cancelled as it is, whatever is under way: nothing may be left of that."""
    peers = [Peer(share) for share in shares]
    sync = SyncService(store, peers, settings, 0, disk or InlineDisk())
    running = Node(sync, peers)
    async with trio.open_nursery() as nursery:
        await nursery.start(sync.run)
        yield running
        nursery.cancel_scope.cancel()
    running.assert_idle()
    assert [share.in_flight for share in shares] == [0] * len(shares)


async def open_blob(node: Node, raw: bytes) -> Reader:
    """A reader of something that the shares have."""
    return await node.sync.loads.open(blob_of(raw), len(raw), None, None)


async def read_all(running: Node, raw: bytes = RAW) -> None:
    """All of it in one read, and it is right."""
    reader = await open_blob(running, raw)
    try:
        assert await reader.read(0, len(raw)) == raw
    finally:
        reader.close()


async def read_on(reader: Reader, step: int = CHUNK_SIZE) -> bytes:
    """All of it, as a program reads that goes on and on."""
    return b"".join([await reader.read(offset, step) for offset in range(0, reader.size, step)])


def stalling(number: int, blob: str = "", tree: str = "", group: int = 1) -> FakeShare:
    """Has everything; what stalls does so in its sixth chunk."""
    made = FakeShare(f"http://{number}/", group=group, blob=blob, tree=tree)
    made.add_blob(RAW)
    made.add_blob(SMALL)
    made.short_after = 5 * CHUNK_SIZE + 100
    return made


async def open_the_gate(share: FakeShare, seconds: float) -> None:
    await trio.sleep(seconds)
    share.gate.set()


def circuit(peer: Peer) -> Circuit:
    return peer.health.circuit(trio.current_time())


@contextmanager
def within(seconds: float, least: float = 0.0) -> Iterator[None]:
    """What is inside takes no longer."""
    begin = trio.current_time()
    yield
    assert least <= trio.current_time() - begin <= seconds + 0.001
