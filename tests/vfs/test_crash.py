"""P2 at the mount: what a SIGKILL leaves of files that were fsynced, closed, renamed or removed."""

import os
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from blobfs.model import LEAF_SIZE, Name
from blobfs.record import BlobRecord, SymlinkRecord
from blobfs.store.names import read_record
from blobfs.store.opening import Store, open_store
from blobfs.vfs.attributes import Change
from tests.sync.crashes import SteppingDisk, after_a_crash, marks, restarted
from tests.sync.running import content, jumping, until
from tests.vfs.kernel import mounted

RAW = content(3 * LEAF_SIZE + 100)


async def test_what_was_closed_and_fsynced_survives_a_crash(store: Store, tmp_path: Path) -> None:
    """P2: from the return of close on, at every step of the seal that follows."""
    disk = SteppingDisk(store.layout.root, tmp_path / "copies")
    async with mounted(store, disk=disk) as kernel:
        handle = await kernel.create("file")
        await kernel.fs.write(handle, 0, RAW)
        await kernel.fs.fsync(handle, False)
        await kernel.fs.flush(handle)
        assert len(marks(store)) == 1
        disk.crashes.clear()
        assert await after_a_crash(store.layout.root, tmp_path / "flushed") == {"file": RAW}
        await kernel.fs.release(handle)
        await kernel.sync_directory()
    assert len(disk.crashes) > 3
    for crash in disk.crashes:
        assert await after_a_crash(crash.root, tmp_path / "crashed") == {"file": RAW}, crash.steps


async def test_a_rename_of_it_loses_it_at_no_step(store: Store, tmp_path: Path) -> None:
    """P2: after a crash it has the old name or the new one; what it replaces is there until then."""
    disk = SteppingDisk(store.layout.root, tmp_path / "copies")
    async with mounted(store, disk=disk) as kernel:
        await kernel.write_file("name", b"old")
        await kernel.sealed_id("name")
        await kernel.sync.sealer.settle()
        handle = await kernel.create("temp")
        await kernel.fs.write(handle, 0, RAW)
        await kernel.fs.fsync(handle, False)
        await kernel.fs.flush(handle)
        disk.crashes.clear()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(kernel.rename, "temp", "name")
            await until(lambda: bool(disk.crashes))
            await wait_all_tasks_blocked()
            await kernel.fs.release(handle)
    assert len(disk.crashes) >= 3
    before_or_after = {"name": b"old", "temp": RAW}, {"name": RAW}
    for crash in disk.crashes:
        found = await after_a_crash(crash.root, tmp_path / "crashed")
        assert found in before_or_after, crash.steps


async def test_a_rename_of_its_directory_loses_it_neither(store: Store, tmp_path: Path) -> None:
    """P2: it is below the old directory, or both, or the new one."""
    disk = SteppingDisk(store.layout.root, tmp_path / "copies")
    async with mounted(store, disk=disk) as kernel:
        await kernel.mkdir("old")
        handle = await kernel.create("old/file")
        await kernel.fs.write(handle, 0, RAW)
        await kernel.fs.fsync(handle, False)
        await kernel.fs.flush(handle)
        disk.crashes.clear()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(kernel.rename, "old", "new")
            await wait_all_tasks_blocked()
            await kernel.fs.release(handle)
        await kernel.sync_directory("new")
    for crash in disk.crashes:
        found = await after_a_crash(crash.root, tmp_path / "crashed")
        assert found
        assert found.keys() <= {"old/file", "new/file"}, crash.steps
        assert set(found.values()) == {RAW}
    assert found == {"new/file": RAW}


async def test_a_mark_follows_its_file_to_another_directory(
    store: Store, tmp_path: Path, mock_clock: MockClock
) -> None:
    """P2: also while a descriptor of it stays open, which is when no seal comes."""
    async with mounted(store) as kernel:
        await kernel.mkdir("old")
        handle = await kernel.create("old/file")
        await kernel.fs.write(handle, 0, RAW)
        await kernel.fs.fsync(handle, False)
        await kernel.fs.flush(handle)
        await jumping(mock_clock, kernel.rename, "old", "new")
        assert await after_a_crash(store.layout.root, tmp_path / "directory") == {"new/file": RAW}
        await jumping(mock_clock, kernel.rename, "new/file", "name")
        assert await after_a_crash(store.layout.root, tmp_path / "file") == {"name": RAW}
        await kernel.fs.release(handle)


async def test_what_was_still_being_written_is_not_there_after_a_crash(store: Store, tmp_path: Path) -> None:
    """Nothing half-written is shown, fsynced or not."""
    async with mounted(store) as kernel:
        for name, is_synced in ("one", False), ("two", True):
            handle = await kernel.create(name)
            await kernel.fs.write(handle, 0, RAW)
            if is_synced:
                await kernel.fs.fsync(handle, False)
        assert await after_a_crash(store.layout.root, tmp_path / "crashed") == {}


async def test_what_changed_after_its_fsync_is_not_half_there(store: Store, tmp_path: Path) -> None:
    """A mark speaks of exactly the bytes that were fsynced: another write takes it away first."""
    async with mounted(store) as kernel:
        handle = await kernel.create("file")
        await kernel.fs.write(handle, 0, RAW)
        await kernel.fs.fsync(handle, False)
        await kernel.fs.flush(handle)
        await kernel.fs.write(handle, 10, b"changed")
        assert marks(store) == []
        assert await after_a_crash(store.layout.root, tmp_path / "crashed") == {}
        await kernel.fs.flush(handle)
        assert marks(store) == []
        await kernel.fs.fsync(handle, False)
        await kernel.fs.flush(handle)
        changed = RAW[:10] + b"changed" + RAW[17:]
        assert await after_a_crash(store.layout.root, tmp_path / "crashed") == {"file": changed}
        await kernel.set("file", Change(size=5))
        assert await after_a_crash(store.layout.root, tmp_path / "crashed") == {}
        await kernel.fs.release(handle)


async def test_an_fsynced_file_that_is_unlinked_does_not_come_back(store: Store, tmp_path: Path) -> None:
    """Though a descriptor of it is still open."""
    async with mounted(store) as kernel:
        handle = await kernel.create("file")
        await kernel.fs.write(handle, 0, RAW)
        await kernel.fs.fsync(handle, False)
        await kernel.fs.flush(handle)
        await kernel.unlink("file")
        assert await after_a_crash(store.layout.root, tmp_path / "crashed") == {}
        await kernel.fs.flush(handle)
        assert marks(store) == []
        await kernel.fs.release(handle)


def texts(directory: Path) -> dict[Path, bytes]:
    """Records and logs, as they are on the disk at a moment when nothing waits to be written."""
    return {path.relative_to(directory): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def overtake(directory: Path, on_disk: dict[Path, bytes], zeros: bool) -> None:
    """A power cut: names, links and attributes are there, the bytes of what was written lately are not."""
    for path, raw in texts(directory).items():
        if on_disk.get(path) != raw:
            os.chmod(directory / path, 0o644)
            (directory / path).write_bytes(bytes(len(raw)) if zeros else b"")


@pytest.mark.parametrize("zeros", [True, False])
async def test_what_has_a_new_name_outlives_a_power_cut(store: Store, tmp_path: Path, zeros: bool) -> None:
    """P2 [S10]: files and directories that were on the disk are there under the old name or the new one at
    every step of a rename, and what it replaced until then. It waits for no flush."""
    disk = SteppingDisk(store.layout.root, tmp_path / "copies")
    async with mounted(store, disk=disk) as kernel:
        await kernel.mkdir("old")
        await kernel.write_file("old/file", RAW, 0o755)
        await kernel.symlink("old/link", "file")
        await kernel.write_file("moved", b"moved")
        await kernel.write_file("name", b"replaced")
        await kernel.sync_directory("")
        on_disk, flushed = texts(store.layout.names), repr(store.flushes)
        disk.crashes.clear()
        await kernel.rename("moved", "name")
        await kernel.rename("old", "new")
        assert repr(store.flushes) == flushed
    assert len(disk.crashes) > 5
    for crash in disk.crashes:
        overtake(crash.root / "share/.blobfs/names", on_disk, zeros)
        found = await restarted(crash.root)
        assert b"moved" in (found.get("moved"), found.get("name"))
        assert RAW in (found.get("old/file"), found.get("new/file")), crash.steps
        again = open_store(crash.root)
        kinds = [read_record(again, Name(f"{directory}/link")) for directory in ("old", "new")]
        assert any(kind and isinstance(kind.record, SymlinkRecord) for kind in kinds), crash.steps
        modes = [read_record(again, Name(f"{directory}/file")) for directory in ("old", "new")]
        assert {mode.record.mode for mode in modes if mode and isinstance(mode.record, BlobRecord)} == {0o555}
        again.close(clean=False)
