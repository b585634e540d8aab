"""A load from its first reader on: asleep, awake, whole and shared in turn, over restarts and crashes."""

import os
from dataclasses import replace
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from blobfs import errors
from blobfs.config.settings import Fill
from blobfs.model import CHUNK_SIZE, Name
from blobfs.record import BlobRecord
from blobfs.store.names import LocalName, read_directory
from blobfs.store.opening import Store, open_store
from tests.sync.fake_share import FakeShare
from tests.sync.running import (
    SETTINGS,
    ScriptedDisk,
    copy_of,
    is_kept,
    kept,
    open_descriptors,
    open_named,
    running,
    until,
)
from tests.sync.samples import BLOB, RAW, SMALL, chunk, part, shares


async def test_a_whole_blob_is_shared_in_turn_with_its_names(store: Store) -> None:
    """Blob, tree and every name it was opened under; nothing of it stays in partial/."""
    share, _ = shares()
    records = {"a/one": share.publish("a/one", RAW, 5), "two": share.publish("two", RAW, 6)}
    async with running(store, share) as sync:
        readers = [await open_named(sync, name, record) for name, record in records.items()]
        assert await readers[0].read(0, len(RAW)) == RAW
        await kept(sync)
        assert await readers[1].read(0, len(RAW)) == RAW
        for reader in readers:
            reader.close()
        entries = {name: await sync.namespace.entry(Name(name)) for name in records}
        assert sync.loads.statistics()["completed"] == 1
    assert entries == {name: LocalName(record, loaded=True) for name, record in records.items()}
    assert is_kept(store, BLOB, RAW)
    assert store.layout.tree(BLOB).read_bytes() == share.trees[BLOB]
    assert store.layout.named(Name("a/one")).samefile(store.layout.blob(BLOB))
    assert os.listdir(store.layout.partial) == []
    assert [*read_directory(store, Name("a"))] == ["one"]


async def test_a_blob_that_is_here_is_read_without_any_request(store: Store) -> None:
    """P6: also under a name that was not seen before, which is shared in turn then."""
    share = FakeShare(record="h*", blob="h*", tree="h*", log="h*")
    record = share.publish("new", SMALL, 9)
    good = FakeShare("http://good/")
    good.add_blob(SMALL)
    async with running(store, good) as sync:
        reader = await sync.loads.open(record.blob, record.size, None, None)
        await reader.read(0, record.size)
        reader.close()
        await kept(sync)
    async with running(store, share) as sync:
        reader = await open_named(sync, "new", record)
        assert await reader.read(0, record.size) == SMALL
        reader.close()
        assert await sync.namespace.entry(Name("new")) == LocalName(record, loaded=True)
    assert share.asked == []


async def test_a_blob_that_becomes_whole_while_it_is_opened_is_not_loaded_again(store: Store) -> None:
    """Between looking for the blob and finding no load of it, the load may have come to its end."""
    share, _ = shares()
    disk = ScriptedDisk()
    async with running(store, share, disk=disk) as sync:
        resume = disk.pausing["open_verifiable"] = trio.Event()
        async with trio.open_nursery() as nursery:

            async def open_late() -> None:
                late = await sync.loads.open(BLOB, len(RAW), None, None)
                assert await late.read(0, len(RAW)) == RAW
                late.close()

            nursery.start_soon(open_late)
            await disk.paused.wait()
            first = await sync.loads.open(BLOB, len(RAW), None, None)
            assert await first.read(0, len(RAW)) == RAW
            first.close()
            await kept(sync)
            resume.set()
        assert sync.loads.statistics()["loads"] == 0
    assert sum(length for _, length in share.ranges()) == len(RAW)


async def test_a_restart_goes_on_with_what_was_there(store: Store, root: Path) -> None:
    """What the map says is verified, and only what is missing is asked for."""
    share, _ = shares()
    async with running(store, share) as sync:
        reader = await sync.loads.open(BLOB, len(RAW), None, None)
        await reader.read(*chunk(0, 15))
        reader.close()
        await sync.finish(5)
    store.close(clean=True)
    share.asked.clear()
    opened = open_store(root)
    async with running(opened, share) as sync:
        assert sync.loads.statistics()["asleep"] == 1
        reader = await sync.loads.open(BLOB, len(RAW), None, None)
        assert await reader.read(0, len(RAW)) == RAW
        reader.close()
        await kept(sync)
    opened.close()
    assert share.ranges() == [chunk(15, 5)]


@pytest.mark.parametrize("script", ["o", "u*"], ids=["online", "offline"])
async def test_after_a_crash_chunks_are_verified_again_before_they_are_read(
    store: Store, tmp_path: Path, script: str
) -> None:
    """P1, P2: a power cut may keep the map and lose bytes; what still verifies needs no share."""
    share, _ = shares()
    async with running(store, share) as sync:
        reader = await sync.loads.open(BLOB, len(RAW), None, None)
        await reader.read(*chunk(0, 6))
        await sync.loads.save_maps()
        copied = copy_of(store.layout.root, tmp_path / "crashed")
        reader.close()
    with (copied / "partial" / BLOB).open("r+b") as file:
        file.seek(4 * CHUNK_SIZE + 77)
        file.write(b"\0" * 100)
    after = FakeShare("http://after/", blob=script, tree=script)
    after.add_blob(RAW)
    opened = open_store(copied)
    assert not opened.was_clean
    async with running(opened, after) as sync:
        reader = await sync.loads.open(BLOB, len(RAW), None, None)
        assert await reader.read(*chunk(0, 4)) == part(0, 4)
        assert after.counts() == {}
        if script == "o":
            assert await reader.read(*chunk(0, 6)) == part(0, 6)
            assert after.ranges() == [chunk(4)]
        else:
            with pytest.raises(errors.Unreachable):
                await reader.read(*chunk(4))
        reader.close()
    opened.close(clean=False)


async def test_the_fill_loads_the_rest_when_nobody_waits(store: Store, mock_clock: MockClock) -> None:
    """A blob that was read in part becomes whole, after `fill_after` without a reader that waits."""
    share, _ = shares()
    settings = replace(SETTINGS, fill=Fill.IDLE, span_size=4 * CHUNK_SIZE)
    async with running(store, share, settings=settings) as sync:
        reader = await sync.loads.open(BLOB, len(RAW), None, None)
        await reader.read(*chunk(9))
        reader.close()
        await trio.testing.wait_all_tasks_blocked()
        assert share.ranges() == [chunk(9)]
        mock_clock.jump(settings.fill_after)
        await kept(sync)
    assert is_kept(store, BLOB, RAW)
    assert sum(length for _, length in share.ranges()) == len(RAW)


async def test_without_a_fill_an_unread_load_goes_to_sleep_and_wakes_where_it_was(
    store: Store, mock_clock: MockClock
) -> None:
    """Nothing is asked for that nobody reads; what is here stays, on the disk and in `present_bytes`."""
    share, _ = shares()
    async with running(store, share) as sync:
        reader = await sync.loads.open(BLOB, len(RAW), None, None)
        await reader.read(*chunk(0, 10))
        reader.close()
        descriptors = open_descriptors()
        await until(
            lambda: sync.loads.statistics()["asleep"] == 1, lambda: mock_clock.jump(SETTINGS.fill_after)
        )
        assert sync.loads.statistics()["loads"] == 0
        assert open_descriptors() < descriptors
        assert sync.loads.present_bytes(BLOB, len(RAW)) == 10 * CHUNK_SIZE
        assert share.ranges() == [chunk(0, 10)]
        reader = await sync.loads.open(BLOB, len(RAW), None, None)
        assert await reader.read(*chunk(0, 10)) == part(0, 10)
        assert await reader.read(*chunk(10)) == part(10)
        reader.close()
    assert share.ranges() == [chunk(0, 10), chunk(10)]


async def test_two_records_with_two_sizes_for_one_blob_are_wrong(store: Store) -> None:
    """A blob has one size: the second one is refused and does not disturb the first."""
    share, _ = shares()
    record = BlobRecord(BLOB, len(RAW) + 1, 0o444, 0, 0)
    async with running(store, share) as sync:
        reader = await sync.loads.open(BLOB, len(RAW), None, None)
        with pytest.raises(errors.WrongEverywhere):
            await open_named(sync, "liar", record)
        assert await reader.read(0, 100) == RAW[:100]
        reader.close()
