"""P2: a SIGKILL between any two steps loses nothing that had its mark, and shows nothing half-done."""

from pathlib import Path

import pytest

from blobfs.model import Name
from blobfs.record import GoneRecord
from blobfs.store import names
from blobfs.store.opening import Store, open_store
from tests.sync.crashes import Crash, SteppingDisk, restarted, settled
from tests.sync.fake_share import FakeShare, blob_of
from tests.sync.running import content, copy_of, kept, open_named, running, written
from tests.sync.samples import RAW

OLD, NEW, OTHER, BY_ID = (content(size, seed=7) for size in (9_000, 20_000, 100, 300_000))


async def crashes_while_sealing(store: Store, copies: Path) -> list[Crash]:
    """Three files are closed together: one replaces `name`, one is new in a directory, one has no name."""
    async with running(store) as sync:
        before = written(store, OLD, "name")
        sync.sealer.submit(before)
        await sync.sealer.wait(before)
        await sync.sealer.settle()
    disk = SteppingDisk(store.layout.root, copies)
    async with running(store, disk=disk) as sync:
        jobs = [written(store, NEW, "name"), written(store, OTHER, "d/other"), written(store, BY_ID, None)]
        disk.crashes.clear()
        for job in jobs:
            sync.sealer.submit(job)
        await sync.sealer.settle()
        for job in jobs:
            await sync.sealer.wait(job)
    return disk.crashes


async def test_a_crash_at_any_step_of_a_seal(store: Store, tmp_path: Path) -> None:
    """From its mark on each file is there after the restart; before, the name means what it meant."""
    crashes = await crashes_while_sealing(store, tmp_path / "copies")
    marked = [crash.steps.count("mark") for crash in crashes]
    assert len(crashes) > 10
    assert 0 < marked.index(3) < len(crashes) - 5
    for crash, marks in zip(crashes, marked, strict=True):
        found = await restarted(crash.root)
        assert found["name"] in (OLD, NEW), crash.steps
        assert found.get("d/other", OTHER) == OTHER
        if marks == 3:
            assert found == {"name": NEW, "d/other": OTHER}, crash.steps
            assert (crash.root / "share/.blobfs/blobs" / blob_of(BY_ID)).read_bytes() == BY_ID


async def test_a_restart_that_is_killed_too_changes_nothing(store: Store, tmp_path: Path) -> None:
    """Redoing can be done twice, from any step of the first time."""
    crashes = await crashes_while_sealing(store, tmp_path / "copies")
    crash = next(each for each in crashes if each.steps.count("mark") == 3)
    again = open_store(crash.root)
    disk = SteppingDisk(crash.root, tmp_path / "again")
    async with running(again, disk=disk) as sync:
        await settled(sync)
    again.close(clean=False)
    assert len(disk.crashes) > 5
    for second in disk.crashes:
        assert await restarted(second.root) == {"name": NEW, "d/other": OTHER}, second.steps


async def test_published_times_stay_what_they_were(store: Store, tmp_path: Path) -> None:
    """A record that others may have seen comes back as it was, and one without a time gets a newer one."""
    crashes = await crashes_while_sealing(store, tmp_path / "copies")
    name = Name("name")
    final = names.read_record(store, name)
    seen = {final}
    for crash in crashes:
        if crash.steps.count("mark") < 3:
            continue
        half_done = open_store(crash.root)
        record = names.read_record(half_done, name)
        half_done.close(clean=False)
        await restarted(crash.root)
        after = open_store(crash.root)
        redone = names.read_record(after, name)
        after.close(clean=False)
        assert record is not None
        assert redone is not None
        if record == final:
            assert redone == final, crash.steps
        else:
            assert redone.record.published_ns > record.record.published_ns
        seen.add(redone)
    assert len(seen) > 1


async def test_a_rename_and_a_removal_hold_against_the_marks(store: Store, tmp_path: Path) -> None:
    """What was published and then removed or replaced does not come back with its mark."""
    async with running(store) as sync:
        first, second = written(store, OLD, "name"), written(store, OTHER, "gone")
        for job in (first, second):
            sync.sealer.submit(job)
        await sync.sealer.wait(first)
        gone = await sync.sealer.wait(second)
        third = written(store, NEW, "name")
        sync.sealer.submit(third)
        await sync.sealer.wait(third)
        async with sync.namespace.lock:
            await sync.namespace.put(Name("gone"), GoneRecord(sync.namespace.next_published(gone)))
        assert sync.sealer.statistics()["unconfirmed"] == 3
        copied = copy_of(store.layout.root, tmp_path / "copied")
    assert await restarted(copied) == {"name": NEW}


async def test_a_crash_at_any_step_of_keeping_a_loaded_blob(store: Store, tmp_path: Path) -> None:
    """Once it is in the share its name follows without any share; before, it is loaded on or again."""
    share = FakeShare()
    record = share.publish("d/name", RAW, 77)
    disk = SteppingDisk(store.layout.root, tmp_path / "copies")
    async with running(store, share, disk=disk) as sync:
        reader = await open_named(sync, "d/name", record)
        await reader.read(0, record.size // 2)
        disk.crashes.clear()
        await reader.read(0, record.size)
        await kept(sync)
        reader.close()
    assert len(disk.crashes) > 5
    for crash in disk.crashes:
        found = await restarted(crash.root)
        if "place_partial" in crash.steps:
            assert found == {"d/name": RAW}, crash.steps
            continue
        assert found == {}
        await load_again(crash.root, share)
        assert await restarted(crash.root) == {"d/name": RAW}, crash.steps


async def load_again(root: Path, share: FakeShare) -> None:
    store = open_store(root)
    record = share.publish("d/name", RAW, 77)
    async with running(store, share) as sync:
        reader = await open_named(sync, "d/name", record)
        assert await reader.read(0, record.size) == RAW
        reader.close()
        await kept(sync)
    store.close(clean=False)


@pytest.mark.parametrize("kept_bytes", [0, 1, 19_999])
async def test_a_mark_whose_bytes_were_cut_off_is_not_believed(
    store: Store, tmp_path: Path, kept_bytes: int
) -> None:
    """A power cut before the flush: nobody was told that the file is safe, and nothing of it is shown."""
    async with running(store) as sync:
        job = written(store, NEW, "name")
        sync.sealer.mark(job)
        copied = copy_of(store.layout.root, tmp_path / "copied")
        with (copied / "incoming" / job.incoming.path.name).open("r+b") as file:
            file.truncate(kept_bytes)
        sync.sealer.submit(job)
        await sync.sealer.wait(job)
    assert await restarted(copied) == {}
