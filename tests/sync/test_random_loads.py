"""Random shares, random readers: every read ends, right or with an error, and nothing is left.

The number of a case is its seed. More of them, or one again::

    BLOBFS_LOAD_SEEDS=1000:1400 pytest tests/sync/test_random_loads.py
"""

import os
import random
from dataclasses import dataclass, field

import pytest
import trio
from trio.testing import MockClock

from blobfs import errors
from blobfs.config.settings import LoadSettings
from blobfs.model import CHUNK_SIZE
from blobfs.store.opening import Store
from blobfs.sync.loading.dispatch import DispatchStatistics
from blobfs.sync.loading.reader import Reader
from blobfs.sync.peer import Peer
from tests.sync.fake_share import FakeShare, blob_of
from tests.sync.running import content
from tests.sync.samples import RAW, SMALL
from tests.sync.virtual import Node, node, open_blob

RAWS = (RAW, SMALL, content(9 * CHUNK_SIZE, seed=9), content(1000, seed=10))
READ_TIMEOUT = 12.0
LONGEST = 40
"""Times the longest read: rounds of requests that each hang until they are given up."""


def seeds() -> range:
    first, stop = os.environ.get("BLOBFS_LOAD_SEEDS", "0:40").split(":")
    return range(int(first), int(stop))


def random_share(dice: random.Random, number: int) -> FakeShare:
    """Fails in up to six requests, or from then on for ever; some are slow, some have not got everything."""

    def script(letters: str) -> str:
        found = "".join(dice.choices(letters, k=dice.randrange(7)))
        return found + "*" if found and dice.random() < 0.2 else found

    made = FakeShare(
        f"http://{number}/",
        group=dice.choice([1, 1, 1, 2]),
        concurrent=dice.choice([1, 2, 8]),
        blob=script("ooooouabrwshmpdg"),
        tree=script("oooooooouabrwhg"),
    )
    for raw in RAWS:
        if dice.random() < 0.9:
            made.add_blob(raw)
    made.latency = dice.choice([0.0, 0.0, 0.01, 0.3, 2.0])
    made.line.rate = dice.choice([1e5, 1e6, 1e7, 1e9, float("inf")])
    made.piece = dice.choice([1000, 65_536, 1 << 20])
    made.drip = dice.choice([0.001, 0.1, 3.0])
    made.short_after = dice.randrange(len(RAW))
    made.retry_after = dice.choice([None, 0.0, 1.0, 100.0])
    return made


def random_settings(dice: random.Random) -> LoadSettings:
    return LoadSettings(
        read_timeout=READ_TIMEOUT,
        max_tries=dice.choice([1, 2, 3]),
        read_ahead=dice.choice([0, 4, 256]) * CHUNK_SIZE,
        span_size=dice.choice([1, 3, 64]) * CHUNK_SIZE,
        spans_per_share=dice.choice([1, 2]),
        bodies=dice.choice([1, 2, 5, 32]),
        extra_traffic=dice.choice([0.0, 0.05]),
        fill_after=dice.choice([0.5, 5.0]),
    )


@dataclass
class Readers:
    """Several tasks that read at random. Mutable: the counts."""

    running: Node
    dice: random.Random
    right: int = 0
    failed: dict[str, int] = field(default_factory=dict)

    async def read_a_while(self) -> None:
        raw = self.dice.choice(RAWS)
        reader = await open_blob(self.running, raw)
        try:
            offset = self.dice.randrange(len(raw))
            for _ in range(self.dice.randrange(1, 12)):
                if self.dice.random() < 0.4:
                    offset = self.dice.randrange(len(raw))
                length = self.dice.choice([1, 5000, CHUNK_SIZE, len(raw)])
                with trio.move_on_after(self.dice.choice([0.01, 0.5, 5.0, 1e6, 1e6])):
                    await self._read(reader, raw, offset, length)
                offset += length
                await trio.sleep(self.dice.choice([0.0, 0.0, 0.2, 6.0]))
        finally:
            reader.close()

    async def _read(self, reader: Reader, raw: bytes, offset: int, length: int) -> None:
        begin = trio.current_time()
        wait = self.dice.choice([0.0, 1.0, *[float("inf")] * 8])
        try:
            found = await reader.read(offset, length, wait=wait)
        except errors.LoadFailed as failed:
            name = type(failed).__name__
            self.failed[name] = self.failed.get(name, 0) + 1
        else:
            assert found == raw[offset : offset + length]
            self.right += 1
        assert trio.current_time() - begin <= min(wait, READ_TIMEOUT) + 0.001


@pytest.mark.parametrize("seed", seeds())
async def test_every_read_ends_and_nothing_is_left(
    store: Store, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture, seed: int
) -> None:
    """P1, P3, P8: right bytes or an error, in time; no request, lease, or task; nothing unexpected."""
    dice = random.Random(seed)
    shares = [random_share(dice, number) for number in range(3)]
    settings = random_settings(dice)
    async with node(store, *shares, settings=settings) as running:
        readers = Readers(running, dice)
        async with trio.open_nursery() as nursery:
            for _ in range(4):
                nursery.start_soon(readers.read_a_while)
            await trio.sleep(dice.choice([0.5, 3.0, 20.0]))
            for share in shares:
                share.gate.set()
        await trio.sleep(LONGEST * READ_TIMEOUT)
        if not any(load.readers for load in running.sync.loads.unfinished()):
            await quiet(running)
        assert_bounded(running.dispatcher.statistics(), running.peers, settings)
        for raw in RAWS:
            check_kept(running, store, raw)
    print(f"seed {seed}: {readers.right} reads right, {readers.failed}, {running.sync.loads.statistics()}")
    assert readers.right + sum(readers.failed.values()) > 0 or any(share.latency for share in shares)
    assert "unexpected" not in caplog.text


async def quiet(running: Node) -> None:
    """Until the fill is between two spans: it goes on for as long as there is something to load."""
    for _ in range(1000):
        found = running.sync.loads.statistics()
        if not found["spans"]:
            break
        await trio.sleep(1)
    running.assert_idle()


def assert_bounded(found: DispatchStatistics, peers: list[Peer], settings: LoadSettings) -> None:
    assert found.most_bodies <= settings.bodies
    assert all(peer.bodies <= peer.share.options.concurrent for peer in peers)


def check_kept(running: Node, store: Store, raw: bytes) -> None:
    """What counts as present, in part or whole, is what the id says."""
    load = running.sync.loads.load_of(blob_of(raw))
    whole = store.layout.blob(blob_of(raw))
    if load is not None:
        for number in range(load.partial.chunks):
            if load.partial.present(number):
                start = number * CHUNK_SIZE
                assert load.partial.read(start, CHUNK_SIZE) == raw[start : start + CHUNK_SIZE]
    elif whole.exists():
        assert whole.read_bytes() == raw
