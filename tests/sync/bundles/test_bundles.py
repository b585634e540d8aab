"""Small blobs out of bundles, for readers: in virtual time, so that what is counted is all there is."""

from collections.abc import Callable, Sequence

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from blobfs import errors
from blobfs.model import BlobId
from blobfs.store import packages
from blobfs.store.opening import Store
from blobfs.store.small import SmallBlob, place_small
from blobfs.sync.bundles import bundles, placing
from blobfs.sync.bundles.windows import HOLE, LARGEST, WINDOW
from tests.sync.bundles.bundled import (
    FEW,
    KIB,
    MANY,
    PACKAGE,
    SETTLED,
    Sample,
    bundle_share,
    bundling,
    complaints,
)
from tests.sync.fake_share import tree_of
from tests.sync.running import ScriptedDisk, T, Ts
from tests.sync.virtual import InlineDisk

PER_WINDOW = WINDOW // (32 * KIB)


class GatedDisk(InlineDisk):
    """Small blobs are put into the store only when the gate is open; `batches` tells how many at a time."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = trio.Event()
        self.batches: list[int] = []

    async def run(self, call: Callable[[*Ts], T], *args: *Ts) -> T:
        if is_placing(call):
            self.batches.append(batch_size(*args))
            await self.gate.wait()
        return await super().run(call, *args)


class FullDisk(InlineDisk):
    is_full = True

    async def run(self, call: Callable[[*Ts], T], *args: *Ts) -> T:
        if is_placing(call) and self.is_full:
            await trio.lowlevel.checkpoint()
            raise errors.StoreFull("no space left")
        return await super().run(call, *args)


def batch_size(store: object, batch: Sequence[object] = (), *more: object) -> int:
    return len(batch)


def is_placing(call: object) -> bool:
    return call is place_small


def place(store: Store, of: Sample, *numbers: int) -> None:
    """As if it had come before."""
    place_small(
        store,
        [SmallBlob(of.blobs[number], of.raws[number], tree_of(of.raws[number]).tree) for number in numbers],
    )


@pytest.mark.parametrize("number", range(len(FEW.members)))
async def test_a_member_comes_verified(store: Store, autojump_clock: MockClock, number: int) -> None:
    """P1: whatever its size; its window's others come with it, with their trees, in one request."""
    share = bundle_share("http://one/", FEW)
    async with bundling(store, share) as node:
        assert await node.bring(FEW, number) == FEW.raws[number]
        await node.settled()
        assert share.counts() == {"bundle": 1}
        for kept in node.kept(FEW):
            tree = tree_of(FEW.raws[kept]).tree
            path = store.layout.tree(FEW.blobs[kept])
            assert (path.read_bytes() if tree else b"") == tree
            assert path.exists() == bool(tree)
        assert number in node.kept(FEW)
        assert sorted(node.told) == sorted(FEW.blobs[kept] for kept in node.kept(FEW))


async def test_what_is_under_way_does_not_hurry_what_has_come(
    store: Store, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However much was asked for: what has come is stored when it is much itself, or when it is quiet."""
    share, disk = bundle_share("http://one/", bundle="p"), GatedDisk()
    share.short_after = MANY.range_of(8, 11)[1]
    monkeypatch.setattr(placing, "MUCH", MANY.range_of(8, 11)[1] + 1)
    async with bundling(store, share, disk=disk) as node:
        assert await node.bring(MANY, 10) == MANY.raws[10]
        assert node.bundles.statistics().waiting == WINDOW > placing.MUCH
        await wait_all_tasks_blocked()
        assert disk.batches == []
        disk.gate.set()
        share.gate.set()
        await node.settled()
        assert disk.batches == [8]


async def test_who_ends_does_not_wait_for_quiet(store: Store, autojump_clock: MockClock) -> None:
    """What has arrived is put into the store at once when the node ends."""
    async with bundling(store, bundle_share("http://one/", FEW)) as node:
        begin = trio.current_time()
        assert await node.bring(FEW, 0) == FEW.raws[0]
        await node.bundles.settle()
        assert (0 in node.kept(FEW), trio.current_time()) == (True, begin)


async def test_one_miss_brings_a_window(store: Store, autojump_clock: MockClock) -> None:
    """The neighbours cost nothing more, and not a byte besides is asked for."""
    share = bundle_share("http://one/")
    async with bundling(store, share) as node:
        for number in (13, 8, 15, 14):
            assert await node.read(MANY, number) == MANY.raws[number]
            await node.settled()
        assert share.ranges("bundle") == [MANY.range_of(8, 16)]
        assert node.kept(MANY) == list(range(8, 16))
        found = node.bundles.statistics()
        assert (found.requests, found.bytes, found.members) == (1, WINDOW, PER_WINDOW)
        assert (found.wasted, found.fallbacks, found.waiting) == (0, 0, 0)


async def test_who_reads_on_asks_for_more_each_time(store: Store, autojump_clock: MockClock) -> None:
    """One window, then one more, two, four, up to 4 MiB: 10 MiB in seven requests, and nothing twice."""
    share = bundle_share("http://one/")
    async with bundling(store, share) as node:
        for number, raw in enumerate(MANY.raws):
            assert await node.read(MANY, number) == raw
            await node.settled()
        assert [length // WINDOW for _, length in share.ranges("bundle")] == [1, 2, 4, 8, 16, 9]
        assert share.received == len(MANY.bundle)
        assert max(length for _, length in share.ranges("bundle")) == LARGEST
        assert node.kept(MANY) == list(range(len(MANY.members)))


async def test_a_window_is_asked_for_once(store: Store, autojump_clock: MockClock) -> None:
    """P7: N readers of one member, and of its neighbours, cause one request."""
    share = bundle_share("http://one/", bundle="g")
    got: list[bytes | None] = []
    async with bundling(store, share) as node:

        async def read(number: int) -> None:
            got.append(await node.bring(MANY, number))

        async with trio.open_nursery() as readers:
            for number in [*range(8, 16)] * 5:
                readers.start_soon(read, number)
            await wait_all_tasks_blocked()
            share.gate.set()
        assert sorted(filter(None, got)) == sorted(MANY.raws[8:16] * 5)
        assert share.ranges("bundle") == [MANY.range_of(8, 16)]


async def test_a_reader_does_not_wait_for_the_rest_of_the_window(
    store: Store, autojump_clock: MockClock
) -> None:
    """It has its bytes while what follows has not come yet, and then that comes too."""
    share = bundle_share("http://one/", bundle="p")
    share.short_after = MANY.range_of(8, 11)[1]
    async with bundling(store, share) as node:
        assert await node.bring(MANY, 10) == MANY.raws[10]
        assert node.bundles.content_of(MANY.blobs[11]) is None
        assert share.in_flight == 1
        share.gate.set()
        assert await node.bring(MANY, 15) == MANY.raws[15]
        assert share.counts() == {"bundle": 1}


async def test_what_is_here_is_not_asked_for(store: Store, autojump_clock: MockClock) -> None:
    """At the ends of a window never, in its middle if it is long; else it is loaded again, and counted."""
    share = bundle_share("http://one/")
    place(store, MANY, 0, 1, 4, 7)
    place(store, MANY, *range(9, 15))
    assert 5 * 32 * KIB > HOLE
    async with bundling(store, share) as node:
        assert await node.bring(MANY, 3) == MANY.raws[3]
        await node.settled()
        assert share.ranges("bundle") == [MANY.range_of(2, 7)]
        assert node.bundles.statistics().wasted == 32 * KIB
        assert await node.bring(MANY, 15) == MANY.raws[15]
        await node.settled()
        assert share.ranges("bundle")[1:] == [MANY.range_of(8, 9), MANY.range_of(15, 24)]
        assert node.bundles.statistics().wasted == 32 * KIB


async def test_what_is_loaded_on_its_own_is_left_to_that(store: Store, autojump_clock: MockClock) -> None:
    """But for the member that is asked for."""
    share = bundle_share("http://one/")
    async with bundling(store, share) as node:
        node.singles.loading.update(MANY.blobs[number] for number in (0, 1, 2))
        assert await node.bring(MANY, 1) == MANY.raws[1]
        await node.settled()
        assert node.kept(MANY) == [1, 3, 4, 5, 6, 7]


async def test_a_cancelled_reader_takes_nothing_from_the_others(
    store: Store, autojump_clock: MockClock
) -> None:
    """The request goes on without it, and what it brings is kept."""
    share = bundle_share("http://one/", bundle="g")
    async with bundling(store, share) as node, trio.open_nursery() as readers:
        with trio.move_on_after(0.1) as scope:
            await node.bring(MANY, 0)
        assert scope.cancelled_caught
        assert share.in_flight == 1
        readers.start_soon(node.bring, MANY, 1)
        await wait_all_tasks_blocked()
        share.gate.set()
        await wait_all_tasks_blocked()
        await node.settled()
        assert share.counts() == {"bundle": 1}
        assert node.kept(MANY) == list(range(PER_WINDOW))


async def test_a_reader_that_is_cancelled_while_it_looks_holds_up_nobody(store: Store) -> None:
    """Who waits behind it begins anew."""
    share, disk = bundle_share("http://one/"), ScriptedDisk()
    disk.pausing["absent_of"] = trio.Event()
    async with bundling(store, share, disk=disk) as node:
        async with trio.open_nursery() as readers:
            readers.start_soon(node.bring, MANY, 0)
            await disk.paused.wait()
            readers.cancel_scope.cancel()
        assert share.counts() == {}
        assert await node.bring(MANY, 0) == MANY.raws[0]
        await node.settled()


async def test_what_arrived_is_readable_until_it_is_in_the_store(
    store: Store, autojump_clock: MockClock
) -> None:
    """What arrives while others are being placed goes in one batch after them; each is told of when it is
    there."""
    share, disk = bundle_share("http://one/"), GatedDisk()
    share.piece = 32 * KIB
    async with bundling(store, share, disk=disk) as node:
        for number in (0, 100, 200):
            assert await node.bring(MANY, number) == MANY.raws[number]
            await trio.sleep(SETTLED)
        came = [number for number, blob in enumerate(MANY.blobs) if node.bundles.content_of(blob)]
        assert came == [*range(8), *range(96, 104), *range(200, 208)]
        assert all(node.bundles.content_of(MANY.blobs[number]) == MANY.raws[number] for number in came)
        assert node.bundles.statistics().waiting == 3 * WINDOW
        assert (node.kept(MANY), node.told, share.counts()) == ([], [], {"bundle": 3})
        assert await node.bring(MANY, 7) == MANY.raws[7]
        disk.gate.set()
        await node.settled()
        assert (disk.batches, node.kept(MANY)) == ([8, 16], came)
        assert [node.bundles.content_of(blob) for blob in MANY.blobs] == [None] * len(MANY.blobs)
        assert sorted(node.told) == sorted(MANY.blobs[number] for number in came)


async def test_what_waits_for_the_disk_is_bounded(
    store: Store, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the limit nothing more is asked for until something is in the store."""
    monkeypatch.setattr(placing, "MOST_WAITING", 2 * WINDOW)
    share, disk = bundle_share("http://one/"), GatedDisk()
    async with bundling(store, share, disk=disk) as node, trio.open_nursery() as readers:
        for number in (0, 100):
            assert await node.bring(MANY, number) == MANY.raws[number]
        readers.start_soon(node.bring, MANY, 200)
        readers.start_soon(node.bring_all, MANY)
        await wait_all_tasks_blocked()
        assert (share.counts()["bundle"], node.bundles.statistics().waiting) == (2, 2 * WINDOW)
        disk.gate.set()
        await node.settled()
        assert node.kept(MANY) == [*range(len(MANY.members))]


async def test_a_full_disk_harms_no_reader(
    store: Store, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """It has its bytes; nothing is kept, it is said once, and when there is room again all is as before."""
    share = bundle_share("http://one/")
    disk = FullDisk()
    async with bundling(store, share, disk=disk) as node:
        for number in (0, 100):
            assert await node.bring(MANY, number) == MANY.raws[number]
            await node.settled()
            assert node.bundles.content_of(MANY.blobs[number]) is None
        assert (node.kept(MANY), node.told) == ([], [])
        assert list(complaints(caplog)) == ["8 small blobs are not kept: no space left"]
        missing, _, _ = await node.bring_all(MANY, set(MANY.blobs[:4]))
        assert missing == set(MANY.blobs[:4])
        disk.is_full = False
        assert await node.bring_all(MANY, set(MANY.blobs[:4])) == (set(), 4, 4 * 32 * KIB)
        assert node.kept(MANY) == [0, 1, 2, 3]
    assert len(list(complaints(caplog))) == 1


async def test_after_the_end_nothing_is_fetched(store: Store, autojump_clock: MockClock) -> None:
    """Nor before the beginning."""
    share = bundle_share("http://one/")
    async with bundling(store, share) as node:
        pass
    assert await node.bring(MANY, 0) is None
    assert await node.bring_all(MANY) == (set(MANY.blobs), 0, 0)
    assert share.asked == []


async def test_the_end_waits_for_nobody(store: Store, autojump_clock: MockClock) -> None:
    """Readers of a share that hangs are told at once, whoever ends first."""
    share = bundle_share("http://one/", bundle="h*")
    got: list[bytes | None] = []
    async with trio.open_nursery() as readers, bundling(store, share) as node:

        async def read() -> None:
            got.append(await node.bring(MANY, 0))

        readers.start_soon(read)
        readers.start_soon(node.bring_all, MANY)
        await share.waiting.wait()
    assert (got, share.in_flight) == ([None], 0)
    assert trio.current_time() < 1


async def test_what_is_no_member_is_loaded_on_its_own(store: Store, autojump_clock: MockClock) -> None:
    """So is everything of a package without a bundle."""
    share = bundle_share("http://one/")
    async with bundling(store, share) as node:
        assert await node.bundles.bring(PACKAGE, MANY.members, FEW.blobs[0]) is None
        assert await node.bundles.bring(PACKAGE, (), MANY.blobs[0]) is None
        assert await node.bring_all(MANY, {FEW.blobs[0]}) == ({FEW.blobs[0]}, 0, 0)
        assert (share.asked, node.bundles.statistics().fallbacks) == ([], 3)


async def test_few_packages_are_remembered(
    store: Store, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The oldest is forgotten, but not while somebody waits for what it brings."""
    monkeypatch.setattr(bundles, "KEPT_BUNDLES", 1)
    share = bundle_share("http://one/", bundle="g")
    got: list[bytes | None] = []
    async with bundling(store, share) as node, trio.open_nursery() as readers:

        async def read(number: int) -> None:
            got.append(await node.bring(MANY, number))

        readers.start_soon(read, 0)
        await wait_all_tasks_blocked()
        for package in ("1" * 64, "2" * 64, "1" * 64):
            assert await node.bundles.bring(BlobId(package), FEW.members, FEW.blobs[0]) is None
        readers.start_soon(read, 1)
        await wait_all_tasks_blocked()
        share.gate.set()
    # Both come in one answer: who is woken first is left open.
    assert sorted(filter(None, got)) == sorted(MANY.raws[:2])
    asked = [each.what[0] for each in share.asked]
    assert asked == [PACKAGE[0], "1", "2", "1"]


async def test_an_open_transaction_holds_what_arrives(store: Store, autojump_clock: MockClock) -> None:
    """Nothing can take a blob away between its arrival and the end of the transaction."""
    packages.open_transaction(store, PACKAGE)
    async with bundling(store, bundle_share("http://one/", FEW)) as node:
        assert (await node.bring_all(FEW))[0] == set()
    held = store.layout.needed / PACKAGE
    assert {path.name for path in held.iterdir()} == set(FEW.blobs)
    assert all(path.samefile(store.layout.blob(BlobId(path.name))) for path in held.iterdir())
