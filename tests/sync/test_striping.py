"""One load over several shares: who brings how much, how soon, and that nothing comes twice."""

from collections import Counter
from dataclasses import replace
from itertools import pairwise

import pytest
import trio
from trio.testing import MockClock

from blobfs.config.settings import LoadSettings
from blobfs.model import CHUNK_SIZE, Kind
from blobfs.shares.failure import ShareFailure
from blobfs.shares.retry_rules import failed_attempt
from blobfs.store.opening import Store
from blobfs.sync.loading.fetch import BATCH
from tests.sync.fake_share import PIECE, FakeShare
from tests.sync.running import content
from tests.sync.samples import CHUNKS, RAW, chunk, covered
from tests.sync.virtual import Node, node, open_blob, read_on

MIB = 2**20
SIZE = 48 * MIB
LARGE = content(SIZE, seed=48)
RATE = 16 * MIB
AHEAD = LoadSettings(max_tries=1)
"""As a node is set, with its read-ahead."""


def lines(*rates: float) -> list[FakeShare]:
    """Shares that have it, each with a line of so many bytes a second."""
    made = []
    for number, rate in enumerate(rates):
        share = FakeShare(f"http://{number}/")
        share.add_blob(LARGE)
        share.line.rate = rate
        made.append(share)
    return made


def requested(*shares: FakeShare) -> Counter[int]:
    """How often each chunk was asked for."""
    return Counter(
        number for share in shares for start, length in share.ranges() for number in covered(start, length)
    )


async def seconds_of(running: Node, raw: bytes = LARGE) -> float:
    """Reads all of it from the beginning to the end."""
    reader = await open_blob(running, raw)
    begin = trio.current_time()
    assert await read_on(reader) == raw
    reader.close()
    return trio.current_time() - begin


@pytest.mark.parametrize("count", [1, 2, 4])
async def test_equal_shares_bring_about_equally_much(
    store: Store, autojump_clock: MockClock, count: int
) -> None:
    """Two are almost twice as fast as one, four almost four times; every chunk is asked for once."""
    shares = lines(*[RATE] * count)
    async with node(store, *shares, settings=AHEAD) as running:
        seconds = await seconds_of(running)
    ideal = SIZE / RATE / count
    assert ideal <= seconds < 1.35 * ideal + 0.1
    assert all(0.6 < share.received / (SIZE / count) < 1.4 for share in shares)
    assert requested(*shares) == Counter(range(SIZE // CHUNK_SIZE))


async def test_shares_bring_what_their_lines_allow(store: Store, autojump_clock: MockClock) -> None:
    """Three times as fast, about three times as much; the whole takes what both lines together take."""
    shares = lines(RATE, 3 * RATE)
    async with node(store, *shares, settings=AHEAD) as running:
        seconds = await seconds_of(running)
    assert seconds < 1.5 * SIZE / (4 * RATE)
    assert 1.8 < shares[1].received / shares[0].received < 4.5
    assert requested(*shares).total() == SIZE // CHUNK_SIZE


async def test_a_share_that_is_ten_times_slower_brings_little(
    store: Store, autojump_clock: MockClock
) -> None:
    """P5: and holds nobody up: it takes hardly longer than without it."""
    shares = lines(2 * RATE, RATE / 5)
    async with node(store, *shares, settings=AHEAD) as running:
        seconds = await seconds_of(running)
    assert shares[1].received < 0.2 * SIZE
    assert seconds < 1.35 * SIZE / (2 * RATE)
    assert shares[0].received + shares[1].received < 1.1 * SIZE


async def test_a_share_that_is_far_away_brings_its_part(store: Store, autojump_clock: MockClock) -> None:
    """Its requests are long enough, and there are enough of them, to make up for the distance."""
    shares = lines(RATE, RATE)
    shares[1].latency = 0.1
    async with node(store, *shares, settings=AHEAD) as running:
        seconds = await seconds_of(running)
    assert seconds < 1.5 * SIZE / (2 * RATE)
    assert shares[1].received > 0.25 * SIZE


async def test_what_a_share_did_not_bring_before_it_died_comes_from_the_others(
    store: Store, autojump_clock: MockClock
) -> None:
    """P5: nothing of what it brought is asked for again; what was on its way is, once."""
    dying, *others = shares = lines(RATE, RATE, RATE)
    failure = ShareFailure(failed_attempt(dying.shown, "blob", Kind.RESET, "connection reset"))

    def die() -> None:
        if dying.received > SIZE // 8:
            raise failure

    dying.on_piece = die
    async with node(store, *shares, settings=AHEAD) as running:
        load_begin = trio.current_time()
        await seconds_of(running)
        assert trio.current_time() - load_begin < 2.0 * SIZE / (2 * RATE)
        wasted = running.sync.loads.statistics()["wasted"]
    twice = [number for number, count in requested(*others).items() if count > 1]
    assert twice == []
    in_flight = dying.most_in_flight * (BATCH + PIECE)
    assert wasted <= in_flight
    assert sum(share.received for share in shares) <= SIZE + in_flight + 2 * MIB  # trees


async def test_a_body_that_breaks_off_is_resumed(store: Store, autojump_clock: MockClock) -> None:
    """Each request begins at the first chunk that is missing still; nothing that was kept comes again."""
    share = FakeShare(blob="sss")
    share.add_blob(RAW)
    share.short_after = 5 * CHUNK_SIZE + 100
    async with node(store, share, settings=replace(AHEAD, max_tries=4, read_ahead=0)) as running:
        reader = await open_blob(running, RAW)
        assert await reader.read(0, len(RAW)) == RAW
        reader.close()
    starts = [start for start, _ in share.ranges()]
    assert len(starts) == 4
    assert share.ranges() == [chunk(start // CHUNK_SIZE, CHUNKS - start // CHUNK_SIZE) for start in starts]
    steps = [later - earlier for earlier, later in pairwise(starts)]
    assert all(0 < step <= share.short_after for step in steps)
    kept = starts[-1]
    assert 3 * share.short_after - kept < 3 * BATCH


async def test_one_reader_after_another_is_served_from_what_is_here(
    store: Store, autojump_clock: MockClock
) -> None:
    """P6: the second sequential read causes no request at all, also while the blob is not whole."""
    shares = lines(RATE, RATE)
    async with node(store, *shares, settings=AHEAD) as running:
        reader = await open_blob(running, LARGE)
        half = SIZE // 2
        for offset in range(0, half, CHUNK_SIZE):
            await reader.read(offset, CHUNK_SIZE)
        await trio.sleep(5)  # the read-ahead has come to its end
        asked = requested(*shares)
        second = await open_blob(running, LARGE)
        for offset in range(0, half, CHUNK_SIZE):
            await second.read(offset, CHUNK_SIZE)
        assert requested(*shares) == asked
        for each in reader, second:
            each.close()
    assert set(asked.values()) == {1}
