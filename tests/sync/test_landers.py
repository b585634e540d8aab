"""Landing workers: what they verify and write, and that a load does not depend on them."""

import logging
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from blobfs import errors, merkle
from blobfs.model import CHUNK_SIZE
from blobfs.store.berths import KEPT
from blobfs.store.landing_worker import BERTH_SIZE, BERTHS
from blobfs.store.opening import Store
from blobfs.sync.loading.landers import Landers, Place
from blobfs.sync.peer import Peer
from blobfs.sync.service import SyncService
from tests.sync.fake_share import FakeShare
from tests.sync.running import SETTINGS, content, is_kept, kept

RAW = content(40 * CHUNK_SIZE - 1000, seed=9)


@asynccontextmanager
async def working(most: int = 1) -> AsyncIterator[Landers]:
    landers = Landers(most)
    async with trio.open_nursery() as nursery:
        await nursery.start(landers.run)
        yield landers
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def place_for(path: Path, raw: bytes, offset: int) -> AsyncIterator[Place]:
    """A file for content, and a tree that is just the digests of `raw` at `offset`."""
    tree = path / "tree"
    tree.write_bytes(b"-" * 7 + merkle.hash_leaves(raw, offset // merkle.NODE_SIZE))
    files = [os.open(path / "content", os.O_RDWR | os.O_CREAT), os.open(tree, os.O_RDONLY)]
    try:
        yield Place(files[0], offset, files[1], 7)
    finally:
        for file in files:
            os.close(file)


def children() -> list[int]:
    found = [
        pid for task in Path("/proc/self/task").iterdir() for pid in (task / "children").read_text().split()
    ]
    return [int(pid) for pid in found if b"landing_worker" in Path(f"/proc/{pid}/cmdline").read_bytes()]


def filled(landers: Landers, raw: bytes) -> memoryview:
    berth = landers.take_berth()
    assert berth is not None
    berth[: len(raw)] = raw
    return berth


async def test_only_what_is_right_is_written(tmp_path: Path) -> None:
    """P1: chunks are written where they belong, or not at all; the last one may be short."""
    raw = RAW[: 3 * CHUNK_SIZE - 1000]
    async with working() as landers, place_for(tmp_path, raw, CHUNK_SIZE) as place:
        berth = filled(landers, raw)
        assert await landers.land(berth[: len(raw)], place) is True
        assert (tmp_path / "content").read_bytes() == bytes(CHUNK_SIZE) + raw
        berth[CHUNK_SIZE] ^= 1
        os.ftruncate(place.content, 0)
        assert await landers.land(berth[: len(raw)], place) is False
        assert (tmp_path / "content").read_bytes() == b""
        landers.give_back_berth(berth)
        assert landers.landed == 2
    assert children() == []


async def test_a_disk_that_takes_nothing_is_told_by_its_own_error(tmp_path: Path) -> None:
    """What the worker's write says is what the load hears."""
    full = os.open("/dev/full", os.O_RDWR)
    async with working() as landers, place_for(tmp_path, RAW[:CHUNK_SIZE], 0) as place:
        berth = filled(landers, RAW[:CHUNK_SIZE])
        with pytest.raises(errors.StoreFull):
            await landers.land(berth[:CHUNK_SIZE], Place(full, 0, place.tree, place.digests_at))
        landers.give_back_berth(berth)
    os.close(full)


async def test_a_worker_that_dies_is_replaced(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """P8: what it had in hand is to be done elsewhere, what comes next another worker does."""
    raw = RAW[:CHUNK_SIZE]
    async with working() as landers, place_for(tmp_path, raw, 0) as place:
        berth = filled(landers, raw)
        assert await landers.land(berth[: len(raw)], place)
        (first,) = children()
        os.kill(first, signal.SIGSTOP)
        outcomes: list[bool | None] = []
        async with trio.open_nursery() as nursery:

            async def land() -> None:
                outcomes.append(await landers.land(berth[: len(raw)], place))

            nursery.start_soon(land)
            nursery.start_soon(land)
            await trio.testing.wait_all_tasks_blocked()
            os.kill(first, signal.SIGKILL)
        assert outcomes == [None, None]
        assert "a landing worker ended" in caplog.text
        assert await landers.land(berth[: len(raw)], place)
        assert children() != [first]
        landers.give_back_berth(berth)


async def test_who_waits_is_let_go_at_the_end(tmp_path: Path) -> None:
    """P3: a node ends though a worker is stuck."""
    raw = RAW[:CHUNK_SIZE]
    async with trio.open_nursery() as nursery, place_for(tmp_path, raw, 0) as place:
        landers = Landers(1)
        await nursery.start(landers.run)
        berth = filled(landers, raw)
        assert await landers.land(berth[: len(raw)], place)
        os.kill(children()[0], signal.SIGSTOP)
        nursery.start_soon(landers.land, berth[: len(raw)], place)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    landers.give_back_berth(berth)
    assert children() == []


async def test_berths_are_few_and_their_memory_goes(tmp_path: Path) -> None:
    """Whoever gets none uses memory of its own; what nobody uses takes no more than a few MiB."""
    async with working() as landers:
        berths = [filled(landers, bytes(BERTH_SIZE)) for _ in range(BERTHS)]
        assert landers.take_berth() is None
        assert memory_taken() == BERTHS * BERTH_SIZE
        for berth in berths:
            landers.give_back_berth(berth)
        assert memory_taken() == KEPT * BERTH_SIZE
    assert memory_taken() == 0


def memory_taken() -> int:
    """Bytes of all berths of this process."""
    descriptors = [Path(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd")]
    berths = [each for each in descriptors if os.path.lexists(each) and "blobfs-landing" in os.readlink(each)]
    found = [each.stat() for each in berths]  # each mapping has a descriptor of its own
    return sum({each.st_ino: each.st_blocks * 512 for each in found}.values())


@pytest.mark.parametrize("has_workers", [True, False])
async def test_a_load_is_the_same_with_workers_and_without(
    store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, has_workers: bool
) -> None:
    """P8: where no process can be started threads do it, and that is said once."""
    caplog.set_level(logging.WARNING)
    if not has_workers:
        monkeypatch.setattr("sys.executable", "/nonexistent")
    share = FakeShare("http://fast/")
    blob = share.add_blob(RAW)
    landers = Landers(2)
    sync = SyncService(store, [Peer(share)], SETTINGS, 0, landers=landers)
    async with trio.open_nursery() as nursery:
        await nursery.start(sync.run)
        reader = await sync.loads.open(blob, len(RAW), None, None)
        assert await reader.read(0, len(RAW)) == RAW
        reader.close()
        await kept(sync)
        nursery.cancel_scope.cancel()
    assert is_kept(store, blob, RAW)
    assert (landers.landed > 0) is has_workers
    assert caplog.text.count("cannot start a landing worker") == (not has_workers)
