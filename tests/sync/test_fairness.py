"""Many loads at once: a huge one starves nobody, and together they take no more than they may."""

from dataclasses import replace

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from blobfs.config.settings import LoadSettings
from blobfs.model import CHUNK_SIZE
from blobfs.shares.choice import Urgency
from blobfs.store.opening import Store
from tests.sync.fake_share import FakeShare, blob_of
from tests.sync.running import SETTINGS, content
from tests.sync.virtual import Node, node, open_blob, read_on

MIB = 2**20
HUGE = content(64 * MIB, seed=64)
SMALLS = [content(9 * CHUNK_SIZE, seed=seed) for seed in range(50)]
AHEAD = LoadSettings(max_tries=1)


def narrow(number: int = 1, concurrent: int = 2, rate: float = 4 * MIB) -> FakeShare:
    """Takes so few requests at once that read-ahead takes them all."""
    share = FakeShare(f"http://{number}/", concurrent=concurrent)
    share.line.rate = rate
    for raw in HUGE, *SMALLS:
        share.add_blob(raw)
    return share


def asked_of(share: FakeShare) -> list[str]:
    return [each.what for each in share.asked if each.phase == "blob"]


async def read_all(running: Node, raw: bytes) -> None:
    reader = await open_blob(running, raw)
    assert await read_on(reader) == raw
    reader.close()


async def bring_all(running: Node, raw: bytes) -> None:
    """As `load_blob` does: all of it, and nobody reads it."""
    reader = await open_blob(running, raw)
    load = running.sync.loads.load_of(blob_of(raw))
    assert load is not None
    await load.bring(0, len(raw), Urgency.READER, trio.current_time() + 3600)
    reader.close()


@pytest.mark.parametrize("huge", [read_all, bring_all])
async def test_a_small_load_goes_before_what_a_huge_one_reads_ahead(
    store: Store, autojump_clock: MockClock, huge
) -> None:
    """Its request is the next one that is granted, and it ends long before the huge one does."""
    share = narrow()
    ended: list[str] = []
    async with node(store, share, settings=AHEAD) as running, trio.open_nursery() as nursery:

        async def load_huge() -> None:
            await huge(running, HUGE)
            ended.append("huge")

        nursery.start_soon(load_huge)
        await trio.sleep(3)
        for raw in SMALLS[:5]:
            await wait_all_tasks_blocked()
            before = asked_of(share)
            assert (share.in_flight, before[-1]) == (2, blob_of(HUGE))
            begin = trio.current_time()
            await read_all(running, raw)
            assert asked_of(share)[len(before)] == blob_of(raw)
            assert trio.current_time() - begin < 2.0
            ended.append("small")
    assert ended == ["small"] * 5 + ["huge"]


async def test_the_fill_gives_way_to_everybody(store: Store, autojump_clock: MockClock) -> None:
    """With its requests waiting, those of readers and of read-ahead are granted first."""
    share = narrow(concurrent=1)
    async with node(store, share, settings=SETTINGS) as running, trio.open_nursery() as nursery:
        readers = [await open_blob(running, raw) for raw in SMALLS[:4]]

        async def bring(raw: bytes, urgency: Urgency) -> None:
            load = running.sync.loads.load_of(blob_of(raw))
            assert load is not None
            await load.bring(0, len(raw), urgency, trio.current_time() + 60)

        nursery.start_soon(bring, SMALLS[0], Urgency.READER)
        await trio.sleep(0.01)
        for raw, urgency in zip(SMALLS[1:4], (Urgency.FILL, Urgency.AHEAD, Urgency.READER), strict=True):
            nursery.start_soon(bring, raw, urgency)
            await trio.sleep(0.01)
    assert asked_of(share) == [blob_of(SMALLS[number]) for number in (0, 3, 2, 1)]
    for reader in readers:
        reader.close()


async def test_loads_of_the_same_kind_share_a_share(store: Store, autojump_clock: MockClock) -> None:
    """Two sequential readers over one narrow line get about half of it each."""
    share = narrow(concurrent=8, rate=8 * MIB)
    other = content(len(HUGE), seed=65)
    share.add_blob(other)
    async with node(store, share, settings=AHEAD) as running, trio.open_nursery() as nursery:
        nursery.start_soon(read_all, running, HUGE)
        await trio.sleep(1)
        nursery.start_soon(read_all, running, other)
        await trio.sleep(4)
        loads = [running.sync.loads.load_of(blob_of(raw)) for raw in (HUGE, other)]
        first, second = (load.partial.present_bytes for load in loads if load is not None)
        assert second > 0.3 * (first + second - 8 * MIB)
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("bodies", [1, 5, 32])
async def test_fifty_loads_at_once_take_no_more_than_they_may(
    store: Store, autojump_clock: MockClock, bodies: int
) -> None:
    """However many want however much: so many bodies come in at once, and all of them get what they want."""
    shares = [narrow(number, concurrent=20, rate=50 * MIB) for number in range(3)]
    settings = replace(AHEAD, bodies=bodies)
    async with node(store, *shares, settings=settings) as running:
        async with trio.open_nursery() as nursery:
            for raw in SMALLS:
                nursery.start_soon(read_all, running, raw)
        found = running.dispatcher.statistics()
    assert found.most_bodies <= bodies
    assert found.most_bodies == bodies
    assert sum(share.most_in_flight for share in shares) <= bodies + 3 * len(SMALLS)  # trees are short
    assert sum(sum(length for _, length in share.ranges()) for share in shares) == sum(map(len, SMALLS))
    assert bodies == 1 or all(share.counts()["blob"] >= len(SMALLS) // 5 for share in shares)


async def test_a_share_that_hangs_holds_up_nobody_who_does_not_need_it(
    store: Store, autojump_clock: MockClock
) -> None:
    """P5: ten readers wait for what only it has, and more than it takes at once; the others go on as ever."""
    stuck, good = FakeShare("http://stuck/", blob="h*", concurrent=4), narrow(concurrent=4, rate=32 * MIB)
    good.line.rate = 32 * MIB
    lonely = [content(9 * CHUNK_SIZE, seed=100 + number) for number in range(10)]
    for raw in lonely:
        stuck.add_blob(raw)
    async with node(store, stuck, good, settings=AHEAD) as running, trio.open_nursery() as nursery:
        for raw in lonely:
            nursery.start_soon(read_all, running, raw)
        await trio.sleep(3)
        begin = trio.current_time()
        await read_all(running, HUGE)
        assert trio.current_time() - begin < 1.5 * len(HUGE) / good.line.rate
        nursery.cancel_scope.cancel()
