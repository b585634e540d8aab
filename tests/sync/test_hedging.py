"""Shares that stall or crawl: another one takes over, at a bounded price. All in virtual time."""

from collections.abc import Callable

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from blobfs import errors
from blobfs.model import CHUNK_SIZE, LEAF_SIZE, Kind
from blobfs.shares.estimates import FIRST_PATIENCE
from blobfs.shares.health import Circuit
from blobfs.store.opening import Store
from blobfs.sync.loading.relief import LOOK_AGAIN
from blobfs.sync.loading.source import TREE_PATIENCE
from tests.sync.running import SETTINGS, T, Ts, content
from tests.sync.samples import CHUNKS, RAW, SMALL, chunk, part
from tests.sync.virtual import InlineDisk, circuit, node, open_blob, open_the_gate, read_all, stalling, within

MIB = 2**20


@pytest.mark.parametrize(
    ("blob", "tree", "seconds", "kind"),
    [
        ("h", "", FIRST_PATIENCE, Kind.NO_ANSWER),
        ("m", "", FIRST_PATIENCE, Kind.STALLED),
        ("", "h", FIRST_PATIENCE + TREE_PATIENCE, Kind.NO_ANSWER),
        ("h", "h", FIRST_PATIENCE + TREE_PATIENCE, Kind.NO_ANSWER),
    ],
    ids=["head", "middle", "tree", "all"],
)
async def test_another_share_takes_over_from_one_that_stalls(
    store: Store, autojump_clock: MockClock, blob: str, tree: str, seconds: float, kind: Kind
) -> None:
    """P5: after its patience; the loser is cancelled and named, its circuit opens, others are asked first."""
    one, two = stalling(1, blob, tree), stalling(2)
    async with node(store, one, two) as running:
        with within(seconds):
            await read_all(running)
        await wait_all_tasks_blocked()
        assert (one.in_flight, one.counts()["blob"], two.counts()["blob"]) == (0, 1, 1)
        assert [circuit(peer) for peer in running.peers] == [Circuit.OPEN, Circuit.CLOSED]
        assert running.peers[0].health.statistics().last_failure is kind
        assert running.sync.loads.statistics()["hedged"] == 1
        with within(0):
            await read_all(running, SMALL)
        await wait_all_tasks_blocked()
        assert (one.counts()["blob"], two.counts()["blob"]) == (1, 2)
        running.assert_idle()


async def test_only_the_rest_is_asked_of_the_other_one(store: Store, autojump_clock: MockClock) -> None:
    """What has arrived stays; what came of the chunk that stalled is all the extra traffic there is."""
    one, two = stalling(1, blob="m"), stalling(2)
    async with node(store, one, two) as running:
        await read_all(running)
        kept = two.ranges()[0][0]
        assert two.ranges() == [(kept, len(RAW) - kept)]
        assert kept in (3 * CHUNK_SIZE, 5 * CHUNK_SIZE)  # batches grow: 1, 2, 4 chunks
        assert running.sync.loads.statistics()["wasted"] == one.short_after - kept


async def test_a_single_share_is_not_asked_twice(store: Store, autojump_clock: MockClock) -> None:
    """However long it is silent: a second request to it would not be quicker."""
    one = stalling(1, blob="p")
    async with node(store, one) as running, trio.open_nursery() as nursery:
        with within(20, least=20):
            nursery.start_soon(open_the_gate, one, 20)
            await read_all(running)
        assert one.ranges() == [chunk(0, CHUNKS)]
        assert running.sync.loads.statistics()["hedged"] == 0
        assert circuit(running.peers[0]) is Circuit.CLOSED


async def test_a_share_that_is_always_slow_to_answer_is_given_longer(
    store: Store, autojump_clock: MockClock
) -> None:
    """By its own past a second is nothing unusual."""
    one, two = stalling(1), stalling(2, group=2)
    one.latency = 1.0
    async with node(store, one, two) as running:
        for _ in range(10):
            running.peers[0].estimates.answered(1.0)
        reader = await open_blob(running, RAW)
        for number in range(4):
            assert await reader.read(*chunk(number)) == part(number)
        reader.close()
        assert (one.counts()["blob"], two.counts()["blob"]) == (4, 0)
        assert running.sync.loads.statistics()["hedged"] == 0


async def test_a_share_that_is_far_away_is_not_slow(store: Store, autojump_clock: MockClock) -> None:
    """How fast it sends is measured from its first byte: what came before is the distance."""
    one, two = stalling(1), stalling(2)
    one.latency, one.line.rate = 1.0, 20 * MIB
    two.latency = 1.5
    async with node(store, one, two) as running:
        for peer, known in zip(running.peers, (one, two), strict=True):
            for _ in range(20):
                peer.estimates.answered(known.latency)
        await read_all(running)
        assert (one.counts()["blob"], two.counts()["blob"]) == (1, 0)


async def test_a_later_group_is_no_relief_for_a_slow_one(store: Store, autojump_clock: MockClock) -> None:
    """It is asked when none of a lower group can help; one that crawls does."""
    one, two = stalling(1), stalling(2, group=2)
    one.line.rate = 0.5 * MIB
    async with node(store, one, two) as running:
        await read_all(running)
        assert (one.counts()["blob"], two.counts()["blob"]) == (1, 0)


async def test_a_share_that_crawls_loses_the_rest(store: Store, autojump_clock: MockClock) -> None:
    """Bytes keep coming, but another one would have been done long ago: moved, and not held against it."""
    one, two = stalling(1), stalling(2)
    one.line.rate = 0.5 * MIB  # four chunks a second: never silent for long
    async with node(store, one, two) as running:
        with within(0.9):
            await read_all(running)
        found = running.sync.loads.statistics()
        assert (found["hedged"], found["moved"]) == (0, 1)
        assert two.ranges()[0][0] > 0
        assert circuit(running.peers[0]) is Circuit.CLOSED
        assert one.in_flight == 0
        await read_all(running, SMALL)
        assert one.counts()["blob"] == 1  # its rate is known now


async def test_bytes_that_come_too_rarely_are_a_stall(store: Store, autojump_clock: MockClock) -> None:
    """A piece every three seconds keeps a connection alive, not a reader waiting."""
    one, two = stalling(1, blob="d"), stalling(2)
    one.drip, one.piece = 3.0, 1024
    async with node(store, one, two) as running:
        with within(FIRST_PATIENCE):
            await read_all(running)
        assert circuit(running.peers[0]) is Circuit.OPEN


@pytest.mark.parametrize("letters", ["hh", "mm", "hm", "mh"])
async def test_when_two_stall_a_third_is_asked(store: Store, autojump_clock: MockClock, letters: str) -> None:
    """One patience after the other; each is left alone afterwards."""
    all_three = stalling(1, blob=letters[0]), stalling(2, blob=letters[1]), stalling(3)
    all_three[1].short_after = CHUNK_SIZE // 2
    async with node(store, *all_three) as running:
        with within(2 * FIRST_PATIENCE):
            await read_all(running)
        await wait_all_tasks_blocked()
        assert [each.in_flight for each in all_three] == [0, 0, 0]
        assert [circuit(peer) for peer in running.peers] == [Circuit.OPEN, Circuit.OPEN, Circuit.CLOSED]


async def test_when_all_stall_the_read_ends_at_its_deadline(store: Store, autojump_clock: MockClock) -> None:
    """P3: ETIMEDOUT, naming both; the load lives as long as somebody might still want it, and ends."""
    one, two = stalling(1, blob="m*"), stalling(2, blob="h*")
    async with node(store, one, two) as running:
        with (
            within(SETTINGS.read_timeout, least=SETTINGS.read_timeout),
            pytest.raises(errors.DeadlineExceeded) as caught,
        ):
            await read_all(running)
        assert {attempt.share for attempt in caught.value.attempts} == {one.shown, two.shown}
        await trio.sleep(2 * SETTINGS.read_timeout)
        running.assert_idle()
        assert (one.in_flight, two.in_flight) == (0, 0)


async def test_when_the_other_one_fails_the_first_may_recover(
    store: Store, autojump_clock: MockClock
) -> None:
    """It was not given up for somebody who might have been worse: its body goes on."""
    one, two = stalling(1, blob="p"), stalling(2, blob="u*")
    async with node(store, one, two) as running, trio.open_nursery() as nursery:
        nursery.start_soon(open_the_gate, one, 3.0)
        with within(3.0, least=3.0):
            await read_all(running)
        assert (one.ranges(), two.counts()["blob"]) == ([chunk(0, CHUNKS)], 1)
        assert circuit(running.peers[0]) is Circuit.CLOSED


@pytest.mark.parametrize("turn", range(10))
async def test_a_share_may_fail_in_the_moment_it_is_looked_at(
    store: Store, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture, turn: int
) -> None:
    """Which of the two comes first is trio's to choose, and makes no difference."""
    one, two = stalling(1, blob="u"), stalling(2)
    leaf = content(LEAF_SIZE)  # without a tree nothing stands between the failure and the end of its request
    one.add_blob(leaf)
    two.add_blob(leaf)
    one.latency = LOOK_AGAIN
    async with node(store, one, two) as running:
        with within(LOOK_AGAIN):
            await read_all(running, leaf)
    assert "unexpected" not in caplog.text


async def test_who_goes_on_first_goes_on_alone(store: Store, autojump_clock: MockClock) -> None:
    """The first one wakes up while the other one is still about to answer: that one is cancelled."""
    one, two = stalling(1, blob="p"), stalling(2)
    two.latency = 0.5
    async with node(store, one, two) as running, trio.open_nursery() as nursery:
        nursery.start_soon(open_the_gate, one, FIRST_PATIENCE + 0.1)
        with within(FIRST_PATIENCE + 0.1, least=FIRST_PATIENCE + 0.1):
            await read_all(running)
        assert one.ranges() == [chunk(0, CHUNKS)]
        assert two.counts()["blob"] == 1
        assert [circuit(peer) for peer in running.peers] == [Circuit.CLOSED, Circuit.CLOSED]


class HoldingDisk(InlineDisk):
    """A worker thread that is slow with one call: it ends when it ends, cancelled or not."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name
        self.held = trio.Event()
        self.release = trio.Event()

    async def run(self, call: Callable[[*Ts], T], *args: *Ts) -> T:
        result = await super().run(call, *args)
        if getattr(call, "__name__", "") == self.name and not self.held.is_set():
            self.held.set()
            with trio.CancelScope(shield=True):
                await self.release.wait()
        return result


async def test_a_loser_whose_last_chunk_is_late_on_the_disk_does_not_stop_the_winner(
    store: Store, autojump_clock: MockClock
) -> None:
    """Both had a chunk in hand: the second one to have it kept was given up already."""
    one, two = stalling(1, blob="p"), stalling(2)
    one.short_after = 0
    two.latency = 1.0
    two.line.rate = 4 * MIB
    disk = HoldingDisk("_keep")
    async with node(store, one, two, disk=disk) as running, trio.open_nursery() as nursery:
        nursery.start_soon(open_the_gate, one, FIRST_PATIENCE + 0.5)

        async def let_go() -> None:
            await disk.held.wait()
            await trio.sleep(0.6)
            assert two.received > 0
            disk.release.set()

        nursery.start_soon(let_go)
        await read_all(running)
        assert two.ranges() == [chunk(0, CHUNKS)]
        assert one.in_flight == 0
