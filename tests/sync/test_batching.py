"""Small files that are in memory when they are closed: sealed together, each as it would be by itself."""

import pytest
import trio
from trio.testing import MockClock

from blobfs import errors
from blobfs.model import Name
from blobfs.record import GoneRecord
from blobfs.store import names, sealed
from blobfs.store.held import HeldMemory
from blobfs.store.opening import Store
from blobfs.sync.jobs import SealJob
from blobfs.sync.sealer import RETRY_DELAY
from tests.sync.crashes import check_store
from tests.sync.fake_share import blob_of
from tests.sync.running import ScriptedDisk, running, until


def closed(store: Store, raw: bytes, name: str) -> SealJob:
    held = HeldMemory(store, lambda: True).hold()
    assert held is not None
    assert held.write(0, raw)
    return SealJob(held, Name(name), 0o644, 7_000)


def jobs_of(store: Store, count: int, directory: str = "d") -> list[SealJob]:
    return [closed(store, b"%d" % number, f"{directory}/{number}") for number in range(count)]


def published(store: Store, directory: str = "d") -> dict[str, bytes]:
    found = names.read_directory(store, Name(directory))
    return {
        component: store.layout.named(Name(f"{directory}/{component}")).read_bytes()
        for component, entry in found.items()
        if not isinstance(entry.record, GoneRecord)
    }


EXPECTED = {f"{number}": b"%d" % number for number in range(200)}


async def test_two_hundred_cost_a_few_visits_to_the_disk(store: Store) -> None:
    """Counted: hops to a thread and flushes, from the close to where nothing is left to redo."""
    disk = ScriptedDisk()
    async with running(store, disk=disk) as sync:
        async with sync.namespace.lock:
            await sync.namespace.make_directory(Name("d"), "d")
        before = disk.hops
        for job in jobs_of(store, 200):
            sync.sealer.submit(job)
        await sync.sealer.settle()
        assert disk.hops - before <= 15
        assert sync.sealer.groups == 1
    assert published(store) == EXPECTED
    assert (store.flushes.file_flushes, store.flushes.group_flushes) == (0, 2)
    check_store(store)


async def test_nothing_is_shared_before_the_flush(store: Store) -> None:
    """P10: the share holds none of it while the flush is under way."""
    disk = ScriptedDisk()
    resume = disk.pausing["everything"] = trio.Event()
    async with running(store, disk=disk) as sync:
        jobs = jobs_of(store, 10)
        for job in jobs:
            sync.sealer.submit(job)
        await disk.paused.wait()
        assert sealed.list_blobs(store) == []
        assert not store.layout.named(Name("d")).exists()
        resume.set()
        for job in jobs:
            await sync.sealer.wait(job)
    assert len(published(store)) == 10


async def test_what_changed_since_it_was_written_counts(store: Store) -> None:
    """A rename, another mode and time, an unlink while the flush is under way."""
    disk = ScriptedDisk()
    resume = disk.pausing["everything"] = trio.Event()
    async with running(store, disk=disk) as sync:
        jobs = jobs_of(store, 10)
        for job in jobs:
            sync.sealer.submit(job)
        await disk.paused.wait()
        async with sync.namespace.lock:
            jobs[0].name = Name("d/new")
            jobs[1].mode, jobs[1].mtime_ns = 0o755, 42
            jobs[2].dropped = True
        resume.set()
        for job in jobs:
            await job.done.wait()
        await sync.sealer.settle()
    assert published(store).keys() == {"new", "1", "3", "4", "5", "6", "7", "8", "9"}
    assert jobs[1].record is not None
    assert (jobs[1].record.mode, jobs[1].record.mtime_ns) == (0o555, 42)
    assert not sealed.has(store, blob_of(b"2"))
    check_store(store)


async def test_names_that_mean_something_are_replaced_in_order(store: Store) -> None:
    """Of two jobs of one name the later one counts, and what the name meant before goes."""
    async with running(store) as sync:
        first = jobs_of(store, 6)
        for job in first:
            sync.sealer.submit(job)
        await sync.sealer.settle()
        again = [*jobs_of(store, 6, "e"), closed(store, b"one", "d/0"), closed(store, b"two", "d/0")]
        for job in again:
            sync.sealer.submit(job)
        await sync.sealer.settle()
    assert published(store) == {f"{number}": b"%d" % number for number in range(1, 6)} | {"0": b"two"}
    assert not sealed.has(store, blob_of(b"one"))
    check_store(store)


async def test_what_is_published_is_newer_than_what_the_name_meant(store: Store) -> None:
    """Also when a tombstone comes from a clock that is ahead, or came while the flush was under way."""
    future = 4_000_000_000_000_000_000
    disk = ScriptedDisk()
    async with running(store, disk=disk) as sync:
        async with sync.namespace.lock:
            await sync.namespace.put(Name("0"), GoneRecord(future))
        resume = disk.pausing["everything"] = trio.Event()
        jobs = [closed(store, b"%d" % number, f"{number}") for number in range(6)]
        for job in jobs:
            sync.sealer.submit(job)
        await disk.paused.wait()
        async with sync.namespace.lock:
            await sync.namespace.put(Name("1"), GoneRecord(future + 7))
        resume.set()
        records = [await sync.sealer.wait(job) for job in jobs]
    assert (records[0].published_ns, records[1].published_ns) == (future + 1, future + 8)


@pytest.mark.parametrize("step", ["everything", "write", "place"])
async def test_a_full_disk_delays_them_and_loses_none(store: Store, mock_clock: MockClock, step: str) -> None:
    """Wherever the disk was full: they are sealed one by one, or again when there is room."""
    disk = ScriptedDisk()
    disk.failing[step] = errors.StoreFull("No space left on device")
    async with running(store, disk=disk) as sync:
        jobs = jobs_of(store, 10)
        for job in jobs:
            sync.sealer.submit(job)
        await until(lambda: all(job.done.is_set() for job in jobs), sync.sealer.hurry)
        disk.failing.clear()
        await until(lambda: all(job.record is not None for job in jobs), lambda: mock_clock.jump(RETRY_DELAY))
        await sync.sealer.settle()
    assert len(published(store)) == 10
    check_store(store)
