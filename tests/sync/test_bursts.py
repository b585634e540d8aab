"""Shares whose rate is limited send in bursts: that is no stall, and a stall still is. In virtual time."""

import pytest
import trio
from trio.testing import MockClock

from blobfs.config.settings import LoadSettings
from blobfs.model import CHUNK_SIZE
from blobfs.shares.estimates import LEAST_PATIENCE, LONGEST_GAP
from blobfs.shares.health import Circuit
from blobfs.store.opening import Store
from tests.sync.fake_share import FakeShare
from tests.sync.running import content
from tests.sync.samples import RAW, chunk
from tests.sync.virtual import Node, circuit, node, open_blob, read_all, read_on, stalling, within

KIB, MIB = 2**10, 2**20
AHEAD = LoadSettings(max_tries=1)
LARGE = content(24 * MIB, seed=24)
BURST = 400 * KIB
"""What a share lets through of each body within a second."""
LEARNING = MIB
"""Bytes that finding out how a share sends may cost: bursts that were sent in vain."""


def limited(number: int, burst: int = BURST) -> FakeShare:
    made = FakeShare(f"http://{number}/", blob="l*")
    made.burst = burst
    made.add_blob(LARGE)
    return made


def steady(number: int, rate: float) -> FakeShare:
    made = FakeShare(f"http://{number}/")
    made.line.rate = rate
    made.add_blob(LARGE)
    return made


def failures(running: Node) -> list[int]:
    return [peer.health.statistics().failures for peer in running.peers]


async def read_large(running: Node) -> None:
    reader = await open_blob(running, LARGE)
    assert await read_on(reader) == LARGE
    reader.close()


async def test_one_alone_is_asked_for_each_byte_once(store: Store, autojump_clock: MockClock) -> None:
    """There is nobody else to ask, and its pauses are no failures."""
    one = limited(1)
    async with node(store, one, settings=AHEAD) as running:
        await read_large(running)
        assert failures(running) == [0]
        assert running.sync.loads.statistics()["wasted"] == 0
        assert sum(length for _, length in one.ranges()) == len(LARGE)


@pytest.mark.parametrize("bursts", [(BURST, BURST), (150 * KIB, 150 * KIB), (BURST, BURST, BURST)])
async def test_several_bring_equally_much(
    store: Store, autojump_clock: MockClock, bursts: tuple[int, ...]
) -> None:
    """P5: each is taken for stalled once, by the first pause that is ever seen of it; none goes down."""
    shares = [limited(number, burst) for number, burst in enumerate(bursts)]
    async with node(store, *shares, settings=AHEAD) as running:
        await read_large(running)
        found = running.sync.loads.statistics()
        assert max(failures(running)) <= 1
        assert found["hedged"] <= 8 * len(shares)
        assert found["wasted"] <= LEARNING * len(shares)
        assert min(share.received for share in shares) > 0.6 * len(LARGE) / len(shares)


async def test_one_beside_a_steady_share_brings_its_part(store: Store, autojump_clock: MockClock) -> None:
    """P5: what its rate allows, two requests at a time; and nobody is slower than without it."""
    one, two = limited(1), steady(2, 2 * MIB)
    async with node(store, one, two, settings=AHEAD) as running:
        with within(len(LARGE) / (2 * MIB) + 1.0):
            await read_large(running)
        assert failures(running)[0] <= 1
        assert failures(running)[1] == 0
        assert one.received > 0.05 * len(LARGE)
        assert running.sync.loads.statistics()["wasted"] <= LEARNING


async def test_one_that_pauses_as_it_does_is_not_hedged(store: Store, autojump_clock: MockClock) -> None:
    """What nobody would bring four times sooner is waited for, and nothing comes twice."""
    one, two = limited(1, 3 * CHUNK_SIZE), steady(2, MIB / 4)
    for share in one, two:
        share.add_blob(RAW)
    async with node(store, one, two) as running:
        running.peers[0].estimates.paused(1.0, trio.current_time())
        running.peers[1].estimates.received(MIB, 4.0, trio.current_time())
        reader = await open_blob(running, RAW)
        await reader.read(*chunk(0, 5))
        reader.close()
        found = running.sync.loads.statistics()
        assert (found["hedged"], found["moved"], found["wasted"]) == (0, 0, 0)
        assert two.counts()["blob"] == 0


async def test_a_reader_need_not_wait_for_its_next_burst(store: Store, autojump_clock: MockClock) -> None:
    """Another share brings the rest at once, and the one that only paused has not failed."""
    one, two = limited(1, 3 * CHUNK_SIZE), stalling(2)
    one.add_blob(RAW)
    async with node(store, one, two) as running:
        estimates = running.peers[0].estimates
        for seconds in 1.0, *[0.001] * 40:
            estimates.paused(seconds, trio.current_time())
        with within(1.0 - LEAST_PATIENCE):
            await read_all(running)
        assert one.counts()["blob"] == 1
        assert running.sync.loads.statistics()["hedged"] == 1
        assert failures(running) == [0, 0]


async def test_who_stalls_again_is_listened_to(store: Store, autojump_clock: MockClock) -> None:
    """The reader has the rest at once; the share has failed when it has not gone on by itself."""
    one, two = stalling(1, blob="mm"), stalling(2, group=2)
    other = content(len(RAW), seed=5)
    for share in one, two:
        share.add_blob(other)
    async with node(store, one, two) as running:
        await read_all(running)
        assert failures(running) == [1, 0]
        running.peers[0].health.record_success(trio.current_time())
        with within(LEAST_PATIENCE + 0.3):
            await read_all(running, other)
        assert one.counts()["blob"] == 2
        assert failures(running) == [1, 0]
        await trio.sleep(LONGEST_GAP)
        assert failures(running) == [2, 0]
        assert circuit(running.peers[0]) is Circuit.OPEN
        running.assert_idle()


async def test_who_goes_on_by_itself_has_not_failed(store: Store, autojump_clock: MockClock) -> None:
    """What it sent in vain is all that this costs, and its pause is known from then on."""
    one, two = stalling(1, blob="mp"), stalling(2, group=2)
    other = content(len(RAW), seed=5)
    for share in one, two:
        share.add_blob(other)
    async with node(store, one, two) as running:
        await read_all(running)
        running.peers[0].health.record_success(trio.current_time())
        await read_all(running, other)
        await trio.sleep(1.0)
        one.gate.set()
        await trio.sleep(LONGEST_GAP)
        assert one.counts()["blob"] == 2
        assert failures(running) == [1, 0]
        assert circuit(running.peers[0]) is Circuit.CLOSED
        assert 1.0 < running.peers[0].estimates.gap(trio.current_time()) < LONGEST_GAP
        running.assert_idle()


async def test_who_won_and_is_worse_loses_the_rest_again(store: Store, autojump_clock: MockClock) -> None:
    """The first one pauses once; the second one brings a chunk meanwhile, and then hardly anything."""
    one, two = stalling(1, blob="p"), stalling(2, blob="m")
    two.short_after = CHUNK_SIZE
    async with node(store, one, two) as running:
        with within(2.0):
            await read_all(running)
        assert (one.counts()["blob"], two.counts()["blob"]) == (2, 1)
