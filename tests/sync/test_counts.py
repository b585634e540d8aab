"""What is counted of shares, requests, seals and reads; in virtual time, so that the figures are exact."""

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from blobfs import errors
from blobfs.model import CHUNK_SIZE, Kind
from blobfs.shares.estimates import FIRST_PATIENCE
from blobfs.store.opening import Store
from tests.sync.fake_share import FakeShare
from tests.sync.running import SETTINGS, content, running, written
from tests.sync.samples import RAW, SMALL, chunk
from tests.sync.virtual import node, open_blob, read_all, stalling


async def test_bytes_that_were_of_use_and_those_in_vain(store: Store, autojump_clock: MockClock) -> None:
    """Of each share: what it sent in a request that another one took over from is split at what was kept."""
    one, two = stalling(1, blob="m"), stalling(2)
    async with node(store, one, two) as running:
        await read_all(running)
        await wait_all_tasks_blocked()
        first, second = (peer.counts for peer in running.peers)
        kept = two.ranges()[0][0]
        assert (first.kept, first.wasted) == (kept, one.short_after - kept)
        assert (second.kept, second.wasted) == (len(RAW) - kept, 0)
        assert (first.hedged, first.moved, second.hedged, second.moved) == (1, 0, 0, 0)
        assert first.failures == {Kind.STALLED: 1}
        assert second.failures == {}


async def test_a_share_that_was_too_slow(store: Store, autojump_clock: MockClock) -> None:
    """A request that is taken from it is counted, and is no failure."""
    one, two = stalling(1), stalling(2)
    one.line.rate = 0.5 * 2**20
    async with node(store, one, two) as running:
        await read_all(running)
        assert (running.peers[0].counts.hedged, running.peers[0].counts.moved) == (0, 1)
        assert running.peers[0].counts.failures == {}


@pytest.mark.parametrize(("letter", "kind"), [("w", Kind.WRONG_BYTES), ("u", Kind.CONNECT_REFUSED)])
async def test_what_failed_is_asked_again(
    store: Store, autojump_clock: MockClock, letter: str, kind: Kind
) -> None:
    """By kind at the share that failed; the request that made up for it is a retry."""
    one, two = stalling(1, blob=letter), stalling(2)
    async with node(store, one, two) as running:
        await read_all(running)
        await wait_all_tasks_blocked()
        first, second = (peer.counts for peer in running.peers)
        assert first.failures == {kind: 1}
        assert (first.wrong, second.wrong) == (int(letter == "w"), 0)
        assert running.sync.loads.statistics()["retried"] == 1
        assert first.kept + second.kept == len(RAW)


async def test_wrong_bytes_are_wasted(store: Store, autojump_clock: MockClock) -> None:
    """Not a byte of a batch that does not match counts as kept."""
    share = stalling(1, blob="w*")
    async with node(store, share) as running:
        with pytest.raises(errors.WrongEverywhere):
            await read_all(running)
        await wait_all_tasks_blocked()
        counts = running.peers[0].counts
        assert counts.wrong == 1
        assert counts.wasted > 0
        assert counts.kept % CHUNK_SIZE == 0


async def test_reads_that_found_their_bytes_here(store: Store, autojump_clock: MockClock) -> None:
    """The first waits for the share; what has arrived with it, and what is kept, is here."""
    async with node(store, stalling(1)) as running:
        reads = running.sync.loads.reads
        reader = await open_blob(running, RAW)
        await reader.read(*chunk(0))
        assert (reads.here, reads.waited) == (0, 1)
        await reader.read(*chunk(0))
        assert (reads.here, reads.waited) == (1, 1)
        await reader.read(*chunk(1))
        assert (reads.here, reads.waited) == (1, 2)
        reader.close()
        running.sync.sealer.hurry()
        await read_all(running, SMALL)
        assert (reads.here, reads.waited) == (1, 3)


async def test_how_long_requests_waited_for_a_share_with_room(
    store: Store, autojump_clock: MockClock
) -> None:
    """And how long they then took: two bodies of a share that takes one at a time."""
    share = FakeShare("http://one/", concurrent=1)
    share.latency = 0.3
    for number in range(2):
        share.add_blob(content(100_000, number))
    async with node(store, share) as running:
        running.peers[0].estimates.answered(FIRST_PATIENCE)
        async with trio.open_nursery() as nursery:
            for number in range(2):
                nursery.start_soon(read_all, running, content(100_000, number))
        await wait_all_tasks_blocked()
        waited, worked = running.dispatcher.waited.statistics(), running.dispatcher.worked.statistics()
        assert (waited.count, worked.count) == (2, 2)
        assert worked.total == pytest.approx(0.6, abs=0.1)
        assert waited.longest == pytest.approx(0.3, abs=0.1)


async def test_how_long_closed_files_waited_for_their_seal(store: Store) -> None:
    """Every job of a group, until the group is begun, and then until it is done."""
    async with running(store, settings=SETTINGS) as sync:
        for number in range(3):
            sync.sealer.submit(written(store, content(1000, number), f"file-{number}"))
        assert sync.sealer.statistics()["running"] == 0
        await sync.sealer.settle()
        waited, worked = sync.sealer.waited.statistics(), sync.sealer.worked.statistics()
        assert (waited.count, worked.count) == (3, 3)
        assert sync.sealer.statistics()["running"] == 0
