"""A load that is cancelled, by its reader or with its node, at any moment. All in virtual time."""

from dataclasses import replace

import pytest
import trio
from trio.testing import MockClock

from blobfs import errors
from blobfs.model import CHUNK_SIZE
from blobfs.store.opening import Store
from blobfs.sync.loading.reader import Reader
from tests.sync.fake_share import FakeShare
from tests.sync.running import SETTINGS
from tests.sync.samples import CHUNKS, RAW, chunk, part
from tests.sync.virtual import node, open_blob, stalling

STAGES = [0.0, 0.05, 0.15, 0.25, 0.41, 0.45, 0.55, 0.75, 0.85, 0.95, 1.3, 1.6, 2.0, 3.0]
"""Seconds into a load in which, one after the other: the tree is late, the body begins, it stalls, another
share is asked, that one breaks off, a pause, a second round, bytes that drip."""


def difficult() -> tuple[FakeShare, ...]:
    one, two = stalling(1, tree="o", blob="mh*"), stalling(2, blob="sd*")
    one.latency, two.latency = 0.1, 0.2
    two.drip = 0.2
    return one, two


@pytest.mark.parametrize("seconds", STAGES)
@pytest.mark.parametrize("who", ["node", "reader"])
async def test_whoever_is_cancelled_whenever_nothing_is_left(
    store: Store, autojump_clock: MockClock, seconds: float, who: str
) -> None:
    """P3: no request, no lease, no task. When only the reader goes, the load goes on and comes to its end."""
    shares = difficult()
    settings = replace(SETTINGS, max_tries=3, span_size=8 * CHUNK_SIZE, read_ahead=16 * CHUNK_SIZE)
    reader = None
    async with node(store, *shares, settings=settings) as running:
        reader = await open_blob(running, RAW)
        with trio.move_on_after(seconds):
            for number in range(CHUNKS):
                assert await reader.read(*chunk(number)) == part(number)
        if who == "reader":
            reader.close()
            await trio.sleep(10 * SETTINGS.read_timeout)
            running.assert_idle()
            assert [each.in_flight for each in shares] == [0, 0]
    if who == "node":
        reader.close()


@pytest.mark.parametrize("read_ahead", [0, 16 * CHUNK_SIZE])
async def test_a_reader_that_outlives_its_node_is_told_so(
    store: Store, autojump_clock: MockClock, read_ahead: int
) -> None:
    """P3: it neither waits for what nobody loads any more, nor keeps the node from ending."""
    one = stalling(1, blob="m*")
    one.short_after = 1000
    settings = replace(SETTINGS, read_ahead=read_ahead)
    ended: list[errors.BlobfsError] = []

    async def read_on(reader: Reader) -> None:
        try:
            for number in range(CHUNKS):
                await reader.read(*chunk(number))
        except errors.ServiceEnded as error:
            ended.append(error)

    async with trio.open_nursery() as nursery, node(store, one, settings=settings) as running:
        reader = await open_blob(running, RAW)
        nursery.start_soon(read_on, reader)
        await one.waiting.wait()
        await trio.sleep(1)
    assert len(ended) == 1
    reader.close()
