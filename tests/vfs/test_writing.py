"""The life of a file from `creat` to the seal: which close seals, and what waits for it."""

import os
import stat
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from blobfs import errors
from blobfs.store.opening import Store
from blobfs.vfs.attributes import Change
from tests.sync.crashes import after_a_crash, marks
from tests.sync.fake_share import blob_of
from tests.sync.running import ScriptedDisk, jumping, until
from tests.vfs.kernel import Kernel, mounted


async def state_of(kernel: Kernel, path: str) -> str:
    return await kernel.xattr(path, "state")


async def set_when_all_wait(event: trio.Event) -> None:
    await wait_all_tasks_blocked()
    event.set()


async def test_a_file_is_sealed_by_its_last_close(store: Store) -> None:
    """Until then it is ordinary: seekable, with the mode that was asked for, readable by others."""
    async with mounted(store) as kernel:
        handle = await kernel.create("file", 0o640)
        assert await kernel.fs.write(handle, 5, b"world") == 5
        assert await kernel.fs.write(handle, 0, b"hello") == 5
        assert await kernel.fs.read(handle, 0, 100) == b"helloworld"
        assert await kernel.read_file("file") == b"helloworld"
        attributes = await kernel.stat("file")
        assert (stat.S_IMODE(attributes.mode), attributes.size) == (0o640, 10)
        assert await state_of(kernel, "file") == "writing"
        assert await kernel.listdir() == ["file"]
        assert not (store.layout.share / "file").exists()
        await kernel.close(handle)
        assert await kernel.sealed_id("file") == blob_of(b"helloworld")
        assert await state_of(kernel, "file") == "sealed"
        assert stat.S_IMODE((await kernel.stat("file")).mode) == 0o444
    assert (store.layout.share / "file").read_bytes() == b"helloworld"


async def test_holes_and_truncation(store: Store) -> None:
    """What was never written reads as zeros; what was cut off and grown again too."""
    async with mounted(store) as kernel:
        handle = await kernel.create("file")
        await kernel.fs.write(handle, 20_000, b"end")
        await kernel.set("file", Change(size=20_001))
        await kernel.set("file", Change(size=30_000))
        await kernel.fs.write(handle, 0, b"begin")
        await kernel.close(handle)
        expected = b"begin".ljust(20_000, b"\0") + b"e" + bytes(9_999)
        assert await kernel.sealed_id("file") == blob_of(expected)
        assert await kernel.read_file("file") == expected


async def test_a_flush_before_the_first_write_seals_nothing(store: Store) -> None:
    """FLUSH comes at every close of every duplicate: a shell's redirection closes one first."""
    async with mounted(store) as kernel:
        handle = await kernel.create("file")
        await kernel.fs.flush(handle)
        await kernel.fs.write(handle, 0, b"one")
        await kernel.fs.flush(handle)
        await kernel.fs.write(handle, 3, b"two")
        await wait_all_tasks_blocked()
        assert await state_of(kernel, "file") == "writing"
        await kernel.close(handle)
        assert await kernel.sealed_id("file") == blob_of(b"onetwo")


async def test_the_last_of_several_writers_seals(store: Store) -> None:
    """Each has its own descriptor; readers do not count."""
    async with mounted(store) as kernel:
        one = await kernel.create("file")
        two = await kernel.open("file", os.O_WRONLY)
        reader = await kernel.open("file")
        await kernel.fs.write(one, 0, b"one")
        await kernel.close(one)
        await wait_all_tasks_blocked()
        assert await state_of(kernel, "file") == "writing"
        await kernel.fs.write(two, 3, b"two")
        await kernel.close(two)
        assert await kernel.sealed_id("file") == blob_of(b"onetwo")
        assert await kernel.read_all(reader) == b"onetwo"
        await kernel.close(reader)


async def test_an_empty_file_is_sealed_too(store: Store) -> None:
    """`touch` shares the empty blob."""
    async with mounted(store) as kernel:
        await kernel.write_file("empty", b"")
        assert await kernel.sealed_id("empty") == blob_of(b"")
        assert await kernel.read_file("empty") == b""


async def test_truncation_on_open_is_for_what_is_being_written(store: Store) -> None:
    """O_TRUNC empties it; on a sealed file it is EPERM."""
    async with mounted(store) as kernel:
        handle = await kernel.create("file")
        await kernel.fs.write(handle, 0, b"long content")
        again = await kernel.open("file", os.O_WRONLY | os.O_TRUNC)
        await kernel.fs.write(again, 0, b"short")
        await kernel.close(handle)
        await kernel.close(again)
        assert await kernel.sealed_id("file") == blob_of(b"short")
        with pytest.raises(errors.Sealed):
            await kernel.open("file", os.O_WRONLY | os.O_TRUNC)
        with pytest.raises(errors.Sealed):
            await kernel.open("file", os.O_RDONLY | os.O_TRUNC)


async def test_between_close_and_seal_nothing_can_be_changed(store: Store) -> None:
    """EPERM as for a sealed file; it can be read, and chmod and utimens still count."""
    disk = ScriptedDisk()
    resume = disk.pausing["file"] = trio.Event()
    async with mounted(store, disk=disk) as kernel:
        await kernel.write_file("file", b"content")
        await disk.paused.wait()
        with pytest.raises(errors.Sealed):
            await kernel.open("file", os.O_WRONLY)
        with pytest.raises(errors.Sealed):
            await kernel.set("file", Change(size=0))
        assert await kernel.read_file("file") == b"content"
        await kernel.set("file", Change(mode=0o755, mtime_ns=12_345))
        resume.set()
        await kernel.sealed_id("file")
        attributes = await kernel.stat("file")
        assert (stat.S_IMODE(attributes.mode), attributes.mtime_ns) == (0o555, 12_345)


async def test_a_rename_right_after_the_close_waits_for_the_seal(store: Store) -> None:
    """The way to replace a file: write a new one, close it, rename it over the old one."""
    async with mounted(store) as kernel:
        await kernel.write_file("name", b"old")
        await kernel.write_file("temp", b"new")
        await kernel.rename("temp", "name")
        assert await state_of(kernel, "name") == "sealed"
        assert await kernel.listdir() == ["name"]
        assert (store.layout.share / "name").read_bytes() == b"new"


async def test_a_rename_waits_for_a_release_that_must_be_on_its_way(store: Store) -> None:
    """The kernel sends RELEASE after close(2) has returned: the rename may overtake it."""
    async with mounted(store) as kernel:
        handle = await kernel.create("temp")
        await kernel.fs.write(handle, 0, b"content")
        await kernel.fs.flush(handle)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(kernel.rename, "temp", "name")
            await wait_all_tasks_blocked()
            await kernel.fs.release(handle)
        assert await state_of(kernel, "name") == "sealed"


async def test_a_closed_file_that_waits_for_its_way_to_the_disk_is_waited_for(store: Store) -> None:
    """An fsync by another thread moves it there as the last close comes; its id is there once sealed."""
    disk = ScriptedDisk()
    async with mounted(store, disk=disk) as kernel:
        handle = await kernel.create("file")
        await kernel.fs.write(handle, 0, b"content")
        arrive = disk.pausing["to_disk"] = trio.Event()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(kernel.fs.fsync, handle, False)
            await disk.paused.wait()
            nursery.start_soon(kernel.fs.release, handle)
            await wait_all_tasks_blocked()
            nursery.start_soon(set_when_all_wait, arrive)
            assert await kernel.xattr("file", "id") == blob_of(b"content")


async def test_a_rename_does_not_wait_for_ever(store: Store, mock_clock: MockClock) -> None:
    """A duplicate that was closed looks like a release on its way: the wait for that one has a bound."""
    async with mounted(store) as kernel:
        handle = await kernel.create("temp")
        await kernel.fs.write(handle, 0, b"content")
        await kernel.fs.flush(handle)
        await jumping(mock_clock, kernel.rename, "temp", "name")
        await kernel.fs.write(handle, 7, b" and more")
        await kernel.close(handle)
        await until(lambda: kernel.sync.sealer.statistics()["sealed"] == 1, kernel.sync.sealer.hurry)
        assert await kernel.read_file("name") == b"content and more"


async def test_a_file_that_is_being_written_can_be_renamed(store: Store) -> None:
    """Its last close publishes it under its new name, and nothing under the old one."""
    async with mounted(store) as kernel:
        handle = await kernel.create("old")
        await kernel.fs.write(handle, 0, b"content")
        await kernel.mkdir("d")
        await kernel.rename("old", "d/new")
        await kernel.fs.write(handle, 7, b" more")
        await kernel.close(handle)
        await kernel.sync_directory("d")
        assert await kernel.listdir() == ["d"]
        assert await kernel.read_file("d/new") == b"content more"
    assert not (store.layout.share / "old").exists()


async def test_unlinked_before_its_close_it_is_nobody_s(store: Store) -> None:
    """The writer goes on as on any file system; at the close all is gone."""
    async with mounted(store) as kernel:
        handle = await kernel.create("file")
        await kernel.fs.write(handle, 0, b"content")
        await kernel.unlink("file")
        assert await kernel.listdir() == []
        await kernel.fs.write(handle, 7, b" more")
        assert await kernel.fs.read(handle, 0, 100) == b"content more"
        await kernel.close(handle)
        assert os.listdir(store.layout.incoming) == []


async def test_unlinked_between_close_and_seal_it_is_gone_when_unlink_returns(
    store: Store, tmp_path: Path
) -> None:
    """Also for the next start."""
    disk = ScriptedDisk()
    resume = disk.pausing["file"] = trio.Event()
    async with mounted(store, disk=disk) as kernel:
        await kernel.write_file("file", b"content")
        await disk.paused.wait()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(kernel.unlink, "file")
            await wait_all_tasks_blocked()
            resume.set()
        assert await kernel.listdir() == []
        assert await after_a_crash(store.layout.root, tmp_path / "crashed") == {}


async def test_fsync_of_a_directory_seals_what_was_closed_in_it(store: Store, tmp_path: Path) -> None:
    """When it returns all of it is durable and shared, and no redo mark is needed any more."""
    async with mounted(store) as kernel:
        await kernel.mkdir("d")
        for number in range(10):
            await kernel.write_file(f"d/{number}", b"%d" % number)
        await kernel.sync_directory("d")
        assert kernel.sync.sealer.statistics()["pending"] == 0
        assert marks(store) == []
        found = await after_a_crash(store.layout.root, tmp_path / "crashed")
        assert found == {f"d/{number}": b"%d" % number for number in range(10)}


async def test_fsync_of_a_directory_says_what_could_not_be_sealed(store: Store) -> None:
    """ENOSPC goes to whoever asks whether it is safe."""
    disk = ScriptedDisk()
    disk.failing["mark"] = errors.StoreFull("No space left on device")
    async with mounted(store, disk=disk) as kernel:
        await kernel.write_file("file", b"content")
        with pytest.raises(errors.StoreFull):
            await kernel.sync_directory()


async def test_a_full_disk_is_the_writer_s_enospc(store: Store) -> None:
    """At the write, and the file can be written on when there is room."""
    disk = ScriptedDisk()
    async with mounted(store, disk=disk) as kernel:
        handle = await kernel.create("file")
        await kernel.fs.write(handle, 0, b"one")
        await kernel.fs.fsync(handle, False)  # what is held in memory until now gets its file
        disk.failing["write"] = errors.StoreFull("No space left on device")
        with pytest.raises(errors.StoreFull):
            await kernel.fs.write(handle, 3, b"two")
        disk.failing.clear()
        await kernel.fs.write(handle, 3, b"TWO")
        await kernel.close(handle)
        assert await kernel.sealed_id("file") == blob_of(b"oneTWO")


async def test_a_small_file_costs_no_visit_to_the_disk_before_it_is_sealed(store: Store) -> None:
    """Created, written, read, cut, given a mode and a time, closed: it is in memory, until it gathers."""
    disk = ScriptedDisk()
    async with mounted(store, disk=disk) as kernel:
        await kernel.mkdir("d")
        await kernel.lookup("d")
        before = disk.hops
        handle = await kernel.create("d/file")
        await kernel.fs.write(handle, 0, b"content")
        assert await kernel.read_file("d/file") == b"content"
        await kernel.set("d/file", Change(size=3))
        await kernel.set("d/file", Change(mode=0o755, mtime_ns=7))
        await kernel.fs.flush(handle)
        assert disk.hops == before
        assert os.listdir(store.layout.incoming) == []
        await kernel.fs.release(handle)
        assert await kernel.sealed_id("d/file") == blob_of(b"con")
        assert ((await kernel.stat("d/file")).mode & 0o777, (await kernel.stat("d/file")).mtime_ns) == (
            0o555,
            7,
        )


async def test_who_reads_it_does_not_notice_that_it_gets_a_file(store: Store) -> None:
    """In memory, then on the disk because it grew, then sealed: one reader sees all of it."""
    async with mounted(store) as kernel:
        handle = await kernel.create("file")
        await kernel.fs.write(handle, 0, b"small")
        reader = await kernel.open("file")
        assert await kernel.fs.read(reader, 0, 100) == b"small"
        await kernel.fs.write(handle, 5, bytes(100_000))
        assert await kernel.fs.read(reader, 0, 100) == b"small" + bytes(95)
        await kernel.close(handle)
        await kernel.sync_directory()
        assert await kernel.fs.read(reader, 100_000, 100) == bytes(5)
        await kernel.close(reader)


async def test_who_reads_it_in_memory_reads_on_when_it_is_sealed(store: Store) -> None:
    """Its content stays as long as it is open."""
    async with mounted(store) as kernel:
        await kernel.write_file("file", b"content")
        reader = await kernel.open("file")
        await kernel.sync_directory()
        assert await kernel.fs.read(reader, 0, 100) == b"content"
        await kernel.close(reader)


async def test_fsync_of_what_was_closed_waits_until_it_lasts(store: Store, tmp_path: Path) -> None:
    """[S8] `cp a MOUNT; sync MOUNT/a`: through another descriptor, after the last close."""
    async with mounted(store) as kernel:
        await kernel.write_file("file", b"content")
        reader = await kernel.open("file")
        await kernel.fs.fsync(reader, False)
        assert await after_a_crash(store.layout.root, tmp_path / "copied") == {"file": b"content"}
        await kernel.close(reader)


async def test_fsync_through_a_reader_is_for_what_is_being_written(store: Store) -> None:
    """It is one file, whoever asks."""
    async with mounted(store) as kernel:
        handle = await kernel.create("file")
        await kernel.fs.write(handle, 0, b"content")
        reader = await kernel.open("file")
        await kernel.fs.fsync(reader, False)
        assert store.flushes.file_flushes == 1
        (path,) = store.layout.incoming.iterdir()
        assert path.read_bytes() == b"content"
        await kernel.close(reader)
        await kernel.close(handle)


async def test_files_unlinked_while_they_gather_vanish(store: Store) -> None:
    """Closed, then removed before the seal: nothing of them is left, and the others are sealed."""
    async with mounted(store) as kernel:
        for number in range(8):
            await kernel.write_file(f"{number}", b"%d" % number)
        await kernel.unlink("3")
        await kernel.rename("4", "new")
        await kernel.sync_directory()
        assert sorted(await kernel.listdir()) == ["0", "1", "2", "5", "6", "7", "new"]
        assert await kernel.read_file("new") == b"4"
        await kernel.sync.sealer.settle()
    assert os.listdir(store.layout.incoming) == []
    assert not (store.layout.blobs / blob_of(b"3")).exists()
