"""The scrubber finds rot in what nobody reads, at its rate, and has it mended."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from blobfs.model import CHUNK_SIZE, BlobId
from blobfs.store import sealed
from blobfs.store.opening import Store
from blobfs.sync import scrubber
from blobfs.sync.scrubber import Scrubber, make_scrubber
from tests.mount.probes import rot
from tests.store.sealing import put_blob, put_name
from tests.sync.fake_share import FakeShare, blob_of
from tests.sync.running import IDLE, SETTINGS, content, is_kept, running

SMALL, MIDDLE, LARGE = content(5_000), content(3 * CHUNK_SIZE + 5), content(9 * CHUNK_SIZE)
RATE = 1 << 30


@pytest.fixture
def share() -> FakeShare:
    return FakeShare()


@asynccontextmanager
async def scrubbing(store: Store, share: FakeShare, rate: int = RATE) -> AsyncIterator[Scrubber]:
    async with running(store, share, settings=replace(SETTINGS, scrub_rate=rate)) as sync:
        made = make_scrubber(sync)
        async with trio.open_nursery() as nursery:
            await nursery.start(made.run)
            yield made
            nursery.cancel_scope.cancel()


async def until(clock: MockClock, condition: Callable[[], bool]) -> None:
    """Turns the clock on whenever nothing runs."""
    while not condition():
        await wait_all_tasks_blocked(IDLE)
        clock.jump(0.05)


async def test_sound_store(store: Store, share: FakeShare, mock_clock: MockClock) -> None:
    """Everything is read once a round, and nothing but the counts tells of it: no blob was used."""
    blobs = [put_blob(store, raw) for raw in (SMALL, MIDDLE, LARGE, b"")]
    used = [store.layout.blob(blob).stat().st_atime_ns for blob in blobs]
    async with scrubbing(store, share) as made:
        await until(mock_clock, lambda: made.rounds == 2)
        counts = made.statistics()
    assert counts["wrong"] == 0
    assert 8 <= counts["blobs"] <= 12  # what came before the first round was a part of one
    assert [store.layout.blob(blob).stat().st_atime_ns for blob in blobs] == used
    assert share.asked == []


@pytest.mark.parametrize(("raw", "offset"), [(SMALL, 4_999), (MIDDLE, 0), (LARGE, 5 * CHUNK_SIZE)])
async def test_rot_is_mended(
    store: Store, share: FakeShare, mock_clock: MockClock, raw: bytes, offset: int
) -> None:
    """A blob with a wrong bit is loaded again, what was right of it is not; its name has it again."""
    blob = share.add_blob(raw)
    put_name(store, "name", raw)
    put_blob(store, b"another")
    rot(store.layout.blob(blob), offset)
    async with scrubbing(store, share) as made:
        await until(mock_clock, lambda: made.mended == 1)
        assert made.wrong == 1
        assert is_kept(store, blob, raw)
        assert (store.layout.share / "name").read_bytes() == raw
    assert sum(length for _, length in share.ranges()) <= max(CHUNK_SIZE, len(raw) % CHUNK_SIZE)


async def test_rot_that_nobody_can_mend(store: Store, share: FakeShare, mock_clock: MockClock) -> None:
    """It leaves the share all the same, and the round goes on."""
    blob, other = put_blob(store, LARGE), put_blob(store, MIDDLE)
    rot(store.layout.blob(blob), 7)
    async with scrubbing(store, share) as made:
        await until(mock_clock, lambda: made.rounds == 1)
        assert (made.wrong, made.mended) == (1, 0)
    assert not sealed.has(store, blob)
    assert sealed.has(store, other)


async def test_wrong_tree_is_made_anew(store: Store, share: FakeShare, mock_clock: MockClock) -> None:
    """The blob is right, and stays."""
    blob = put_blob(store, LARGE)
    tree = store.layout.tree(blob).read_bytes()
    rot(store.layout.tree(blob), 33)
    async with scrubbing(store, share) as made:
        await until(mock_clock, lambda: made.rounds == 1)
        assert made.wrong == 0
    assert store.layout.tree(blob).read_bytes() == tree


async def test_rate(store: Store, share: FakeShare, mock_clock: MockClock) -> None:
    """So many bytes a second are read, and no more."""
    put_blob(store, LARGE)
    put_blob(store, MIDDLE)
    async with scrubbing(store, share, rate=CHUNK_SIZE) as made:
        start = trio.current_time()
        await until(mock_clock, lambda: made.bytes >= len(LARGE) + len(MIDDLE))
        assert trio.current_time() - start >= 4  # of whatever came last nothing has to be waited for


async def test_readers_come_first(store: Store, share: FakeShare, mock_clock: MockClock) -> None:
    """As long as one waits for a share nothing is read."""
    put_blob(store, SMALL)
    waiting = [True]

    async def load_again(blob: BlobId, size: int | None) -> bool:
        return False

    async with running(store, share) as sync, trio.open_nursery() as nursery:
        made = Scrubber(store, sync.disk, sync.loads.demoting, lambda: waiting[0], load_again, RATE)
        await nursery.start(made.run)
        for _ in range(5):
            await wait_all_tasks_blocked(IDLE)
            mock_clock.jump(scrubber.PAUSE)
        assert made.bytes == 0
        waiting[0] = False
        await until(mock_clock, lambda: made.bytes == len(SMALL))
        nursery.cancel_scope.cancel()


async def test_off(store: Store, share: FakeShare, mock_clock: MockClock) -> None:
    """By default nothing is read; it can be switched on and off while the node runs."""
    put_blob(store, SMALL)
    async with running(store, share) as sync, trio.open_nursery() as nursery:
        made = make_scrubber(sync)
        await nursery.start(made.run)
        for _ in range(5):
            await wait_all_tasks_blocked(IDLE)
            mock_clock.jump(scrubber.REST)
        assert made.statistics() == dict.fromkeys(made.statistics(), 0)
        made.set_rate(1 << 20)
        await until(mock_clock, lambda: made.bytes == len(SMALL))
        made.set_rate(0)
        blobs = made.blobs
        for _ in range(5):
            await wait_all_tasks_blocked(IDLE)
            mock_clock.jump(scrubber.REST)
        assert made.blobs <= blobs + 1
        nursery.cancel_scope.cancel()
    assert blob_of(SMALL)
