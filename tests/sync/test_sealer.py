"""Sealing in groups: how often the disk is flushed, what is seen when, and whose failure is whose."""

import os
import stat

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from blobfs import errors
from blobfs.model import Name
from blobfs.record import BlobRecord, GoneRecord, decode_record
from blobfs.store import names, sealed
from blobfs.store.marks import NAME, RECORD, get_mark
from blobfs.store.opening import Store
from blobfs.sync.sealer import RETRY_DELAY
from blobfs.sync.service import SyncService
from tests.sync.fake_share import blob_of, record_of
from tests.sync.running import SETTINGS, ScriptedDisk, content, is_kept, running, until, written

FULL = errors.StoreFull("No space left on device")


def shown(store: Store) -> list[str]:
    """What a web server that exports the share could hand out."""
    return sorted(path.name for path in store.layout.share.iterdir() if path.name != ".blobfs")


async def test_a_closed_file_is_shared_by_name_and_by_id(store: Store) -> None:
    """Bytes, tree, record and log line; read-only; its mtime is the writer's."""
    raw = content(100_000)
    async with running(store) as sync:
        job = written(store, raw, "dir/file", mtime_ns=1_234_567_890_123_456_789)
        sync.sealer.submit(job)
        record = await sync.sealer.wait(job)
        await sync.sealer.settle()
    assert record == BlobRecord(blob_of(raw), len(raw), 0o444, 1_234_567_890_123_456_789, record.published_ns)
    assert is_kept(store, record.blob, raw)
    assert sealed.read_tree_file(store, record.blob) != b""
    path = store.layout.named(Name("dir/file"))
    assert path.samefile(store.layout.blob(record.blob))
    assert stat.S_IMODE(path.stat().st_mode) == 0o444
    assert path.stat().st_mtime_ns == 1_234_567_890_123_456_789
    assert names.read_record(store, Name("dir/file")) == names.LocalName(record, loaded=False)
    assert [*names.read_directory(store, Name("dir"))] == ["file"]
    assert os.listdir(store.layout.incoming) == []


@pytest.mark.parametrize(
    ("mode", "expected"), [(0o644, 0o444), (0o755, 0o555), (0o600, 0o444), (0o100, 0o555)]
)
async def test_only_the_x_bits_of_a_mode_stay(store: Store, mode: int, expected: int) -> None:
    """A sealed file is 0444, or 0555 if it was executable for anybody."""
    async with running(store) as sync:
        job = written(store, b"#!/bin/sh\n", "tool", mode)
        sync.sealer.submit(job)
        assert (await sync.sealer.wait(job)).mode == expected


async def test_a_thousand_files_cost_a_few_flushes(store: Store) -> None:
    """Closed files gather, and the file system is flushed once for all of them."""
    async with running(store) as sync:
        jobs = [written(store, b"%d" % number, f"d/{number}") for number in range(1000)]
        for job in jobs:
            sync.sealer.submit(job)
        await sync.sealer.settle()
        statistics = sync.sealer.statistics()
    assert statistics["sealed"] == 1000
    assert statistics["groups"] <= 2
    assert store.flushes.file_flushes == 0
    assert store.flushes.group_flushes <= 4
    assert len(names.read_directory(store, Name("d"))) == 1000
    times = [job.record.published_ns for job in jobs if job.record is not None]
    assert len(times) == 1000
    assert times == sorted(set(times))


async def test_a_few_files_are_flushed_one_by_one(store: Store) -> None:
    """Flushing the whole file system would wait for what others write."""
    async with running(store) as sync:
        jobs = [written(store, b"%d" % number, f"{number}") for number in range(3)]
        for job in jobs:
            sync.sealer.submit(job)
        for job in jobs:
            await sync.sealer.wait(job)
        assert store.flushes.file_flushes == 3
        assert store.flushes.group_flushes == 0


async def test_nothing_is_shared_before_it_is_flushed(store: Store) -> None:
    """P10: while the flush is under way the share holds none of it, and each file has its redo mark."""
    disk = ScriptedDisk()
    resume = disk.pausing["everything"] = trio.Event()
    async with running(store, disk=disk) as sync:
        jobs = [written(store, b"%d" % number, f"{number}") for number in range(6)]
        for job in jobs:
            sync.sealer.submit(job)
        await disk.paused.wait()
        assert shown(store) == []
        assert sealed.list_blobs(store) == []
        for job in jobs:
            assert job.name is not None
            assert get_mark(job.incoming.fd, NAME) == job.name.encode()
            assert decode_record(get_mark(job.incoming.fd, RECORD) or b"").published_ns == 0
        resume.set()
        for job in jobs:
            await sync.sealer.wait(job)
    assert shown(store) == [f"{number}" for number in range(6)]


async def test_marks_go_when_what_was_published_is_durable(store: Store) -> None:
    """P2: until the flush after publication a crash finds the mark, with the time it was given."""
    async with running(store) as sync:
        job = written(store, b"content", "name")
        sync.sealer.submit(job)
        record = await sync.sealer.wait(job)
        assert sync.sealer.statistics()["unconfirmed"] == 1
        assert decode_record(get_mark(job.incoming.path, RECORD) or b"") == record
        await sync.sealer.confirm()
        assert sync.sealer.statistics()["unconfirmed"] == 0
    assert get_mark(store.layout.blob(record.blob), RECORD) is None
    assert not job.incoming.path.exists()


async def test_marks_go_by_themselves(store: Store, mock_clock: MockClock) -> None:
    """A moment after publication, without anybody asking."""
    async with running(store) as sync:
        job = written(store, b"content", "name")
        sync.sealer.submit(job)
        await sync.sealer.wait(job)
        await until(lambda: sync.sealer.statistics()["unconfirmed"] == 0, lambda: mock_clock.jump(0.5))
        await until(lambda: not job.incoming.path.exists())


async def test_marks_stay_when_the_flush_fails(store: Store) -> None:
    """They are let go of by the next flush that succeeds."""
    disk = ScriptedDisk()
    async with running(store, disk=disk) as sync:
        job = written(store, b"content", "name")
        sync.sealer.submit(job)
        await sync.sealer.wait(job)
        disk.failing["everything"] = errors.StoreBroken("Input/output error")
        with pytest.raises(errors.StoreBroken):
            await sync.sealer.confirm()
        assert sync.sealer.statistics()["unconfirmed"] == 1
        assert get_mark(job.incoming.path, RECORD) is not None
        disk.failing.clear()
        await sync.sealer.confirm()
    assert not job.incoming.path.exists()


async def test_files_gather_until_somebody_waits(store: Store, mock_clock: MockClock) -> None:
    """Without a waiter the delay passes first; a waiter ends it for the whole group."""
    sync = SyncService(store, [], SETTINGS, seal_delay=10)
    async with trio.open_nursery() as nursery:
        await nursery.start(sync.run)
        one, two = written(store, b"1", "one"), written(store, b"2", "two")
        sync.sealer.submit(one)
        await wait_all_tasks_blocked()
        assert not one.done.is_set()
        sync.sealer.submit(two)
        await sync.sealer.wait(two)
        assert one.done.is_set()
        three = written(store, b"3", "three")
        sync.sealer.submit(three)
        await wait_all_tasks_blocked()
        assert not three.done.is_set()
        mock_clock.jump(10)
        await three.done.wait()
        nursery.cancel_scope.cancel()
    assert shown(store) == ["one", "three", "two"]


async def test_a_rename_before_publication_changes_what_is_published(store: Store) -> None:
    """The name that counts is the one at the moment of publication; the old one is never seen."""
    disk = ScriptedDisk()
    resume = disk.pausing["file"] = trio.Event()
    async with running(store, disk=disk) as sync:
        job = written(store, b"content", "old")
        sync.sealer.submit(job)
        await disk.paused.wait()
        async with sync.namespace.lock:
            job.name, job.mode, job.mtime_ns = Name("new"), 0o755, 42
        resume.set()
        record = await sync.sealer.wait(job)
    assert (record.mode, record.mtime_ns) == (0o555, 42)
    assert shown(store) == ["new"]
    assert names.read_record(store, Name("old")) is None


async def test_a_dropped_job_vanishes(store: Store) -> None:
    """Unlinked before it was published: no name, no blob, no file, and whoever waits is told."""
    disk = ScriptedDisk()
    resume = disk.pausing["file"] = trio.Event()
    async with running(store, disk=disk) as sync:
        job = written(store, b"content", "name")
        sync.sealer.submit(job)
        await disk.paused.wait()
        job.dropped = True
        resume.set()
        with pytest.raises(errors.NameMissing):
            await sync.sealer.wait(job)
    assert shown(store) == []
    assert sealed.list_blobs(store) == []
    assert os.listdir(store.layout.incoming) == []


async def test_a_file_that_could_not_be_sealed_and_is_removed_then_leaves_nothing(
    store: Store, mock_clock: MockClock
) -> None:
    """On a full disk an rm gives back the room, also of what was to be sealed."""
    disk = ScriptedDisk()
    async with running(store, disk=disk) as sync:
        during, after = written(store, b"content", "during"), written(store, b"content", "after")
        during.incoming.close_fd()
        after.incoming.close_fd()
        resume = disk.pausing["mark"] = trio.Event()
        sync.sealer.submit(during)
        await disk.paused.wait()
        during.dropped = True
        resume.set()
        await during.done.wait()
        sync.sealer.submit(after)
        await after.done.wait()
        after.dropped = True
        await until(lambda: not os.listdir(store.layout.incoming), lambda: mock_clock.jump(RETRY_DELAY))


async def test_content_without_a_name_is_kept_by_its_id(store: Store) -> None:
    """What was written into incoming/ stays although no name means it."""
    async with running(store) as sync:
        job = written(store, b"content", None)
        sync.sealer.submit(job)
        record = await sync.sealer.wait(job)
        assert not sealed.drop_blob_if_unnamed(store, record.blob)
    assert shown(store) == []
    assert is_kept(store, record.blob, b"content")


async def test_one_content_under_two_names_is_one_blob(store: Store) -> None:
    """It is linked, not copied."""
    async with running(store) as sync:
        jobs = [written(store, b"same", name) for name in ("one", "two")]
        for job in jobs:
            sync.sealer.submit(job)
        await sync.sealer.settle()
    assert len(sealed.list_blobs(store)) == 1
    assert store.layout.named(Name("one")).samefile(store.layout.named(Name("two")))


async def test_the_last_close_of_a_name_wins_and_the_replaced_blob_goes(store: Store) -> None:
    """Of two jobs for one name the later one is what the name means."""
    async with running(store) as sync:
        jobs = [written(store, raw, "name") for raw in (b"first", b"second")]
        for job in jobs:
            sync.sealer.submit(job)
        await sync.sealer.settle()
    assert store.layout.named(Name("name")).read_bytes() == b"second"
    assert sealed.list_blobs(store) == [blob_of(b"second")]
    assert jobs[0].record is not None
    assert jobs[1].record is not None
    assert jobs[0].record.published_ns < jobs[1].record.published_ns


async def test_what_is_published_is_newer_than_what_the_name_meant(store: Store) -> None:
    """Also when the record or tombstone there comes from a clock that is ahead."""
    future = 4_000_000_000_000_000_000
    async with running(store) as sync:
        async with sync.namespace.lock:
            await sync.namespace.put(Name("name"), GoneRecord(future))
        job = written(store, b"content", "name")
        sync.sealer.submit(job)
        assert (await sync.sealer.wait(job)).published_ns == future + 1


async def test_one_job_s_failure_is_its_own(store: Store) -> None:
    """The others of its group are sealed; whoever waits for the failed one gets its error."""
    async with running(store) as sync:
        jobs = [written(store, b"%d" % number, f"{number}") for number in range(6)]
        jobs[2].incoming.close_fd()
        for job in jobs:
            sync.sealer.submit(job)
        with pytest.raises(errors.StoreBroken):
            await sync.sealer.wait(jobs[2])
        assert sync.sealer.statistics()["failed"] == 1
    assert shown(store) == ["0", "1", "3", "4", "5"]


@pytest.mark.parametrize("step", ["mark", "file", "_place", "_put"])
async def test_a_full_disk_delays_a_seal_and_loses_nothing(
    store: Store, mock_clock: MockClock, step: str
) -> None:
    """Wherever the disk was full: the job is tried again until there is room."""
    disk = ScriptedDisk()
    disk.failing[step] = FULL
    async with running(store, disk=disk) as sync:
        job = written(store, b"content", "name")
        sync.sealer.submit(job)
        with pytest.raises(errors.StoreFull):
            await sync.sealer.wait(job)
        assert shown(store) == []
        await until(lambda: sync.sealer.groups == 3, lambda: mock_clock.jump(RETRY_DELAY))
        disk.failing.clear()
        await until(lambda: job.record is not None, lambda: mock_clock.jump(RETRY_DELAY))
        assert sync.sealer.statistics()["failed"] == 0
    assert store.layout.named(Name("name")).read_bytes() == b"content"


async def test_a_defect_in_one_job_is_logged_and_the_sealer_lives(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    """P8: the unexpected becomes EIO for whoever waits."""
    disk = ScriptedDisk()
    disk.failing["mark"] = ZeroDivisionError("a defect")
    async with running(store, disk=disk) as sync:
        job = written(store, b"content", "bad")
        sync.sealer.submit(job)
        with pytest.raises(errors.StoreBroken):
            await sync.sealer.wait(job)
        disk.failing.clear()
        good = written(store, b"content", "good")
        sync.sealer.submit(good)
        await sync.sealer.wait(good)
    assert "ZeroDivisionError: a defect" in caplog.text


async def test_the_end_of_the_node_does_not_wait_for_ever(
    store: Store, mock_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """A disk that does not answer costs the bound, a warning, and an unclean end."""
    disk = ScriptedDisk()
    disk.pausing["file"] = trio.Event()
    results: list[bool] = []
    async with running(store, disk=disk) as sync, trio.open_nursery() as nursery:
        sync.sealer.submit(written(store, b"content", "name"))

        async def finish() -> None:
            results.append(await sync.finish(2))

        nursery.start_soon(finish)
        await disk.paused.wait()
        mock_clock.jump(2)
    assert results == [False]
    assert "the next start goes on" in caplog.text


async def test_whoever_waits_when_the_node_ends_is_told(store: Store) -> None:
    """A job is never left without an end."""
    disk = ScriptedDisk()
    disk.pausing["file"] = trio.Event()
    job = written(store, b"content", "name")
    async with running(store, disk=disk) as sync:
        sync.sealer.submit(job)
        await disk.paused.wait()
    assert job.done.is_set()
    assert isinstance(job.failure, errors.StoreBroken)


def test_the_record_of_a_sample_is_what_sealing_makes() -> None:
    """The two ways the tests name a blob agree."""
    assert record_of(b"x").blob == blob_of(b"x")
