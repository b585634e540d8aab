"""Missing small files of a directory come out of the shares' bundles of it."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest
import trio
from trio.testing import MockClock

from blobfs import errors
from blobfs.directory_bundles import make_bundle
from blobfs.model import Kind, Name, join
from blobfs.record import BlobRecord, GoneRecord
from blobfs.store import names, sealed
from blobfs.store.opening import Store
from blobfs.sync.bundles import directories
from blobfs.sync.service import SyncService
from tests.sync.bundles.bundled import complaints
from tests.sync.fake_share import FakeShare, blob_of, record_of
from tests.sync.running import ScriptedDisk, content, running, until

HERE = Name("dir")
FILES = {f"{number:03d}": content(4096, number) for number in range(200)}
"""800 KiB."""


def sharing(url: str = "http://one/", bundled: bool = True, list: str = "", bundle: str = "") -> FakeShare:
    """With letters that say how it answers questions for lists and bundles."""
    share = FakeShare(url, list=list, bundle=bundle)
    for component, raw in FILES.items():
        share.publish(f"{HERE}/{component}", raw)
    if bundled:
        share.bundle_up(HERE)
    return share


@asynccontextmanager
async def listing(
    store: Store, *shares: FakeShare, disk: ScriptedDisk | None = None
) -> AsyncIterator[SyncService]:
    """A node that has just listed the directory."""
    async with running(store, *shares, disk=disk) as sync:
        assert len(await sync.listing(HERE)) == len(FILES)
        for share in shares:
            share.asked.clear()
        yield sync


async def read(sync: SyncService, component: str) -> bytes:
    """As the mount does it: open, read, close."""
    name = join(HERE, component)
    answer = await sync.lookup(name)
    record = getattr(answer, "record", None)
    assert isinstance(record, BlobRecord)
    reader = await sync.named_files.open(name, record)
    try:
        return bytes(await reader.read(0, 8192))
    finally:
        reader.close()


async def read_all(sync: SyncService, components: Sequence[str] = tuple(FILES)) -> None:
    for component in components:
        assert await read(sync, component) == FILES[component]


def is_shared(store: Store, component: str) -> bool:
    """Under its name and its id."""
    found = names.read_record(store, join(HERE, component))
    path = store.layout.named(join(HERE, component))
    return found is not None and found.loaded and path.exists() and path.read_bytes() == FILES[component]


async def test_many_files_in_few_requests(store: Store) -> None:
    """One for the list, and windows that grow; all is shared in turn, under its names."""
    share = sharing()
    async with listing(store, share) as sync:
        await read_all(sync)
        assert share.counts() == {"list": 1, "bundle": 4}
        assert [length >> 10 for _, length in share.ranges("bundle")] == [64, 128, 256, 352]
        assert sync.bundles.statistics().wasted == 0
        await sync.finish(5)
        assert all(is_shared(store, component) for component in FILES)
        assert sync.bundles.statistics().waiting == 0
        share.asked.clear()
        await read_all(sync)
        assert share.counts() == {}


async def test_one_file_brings_its_neighbours_and_no_more(store: Store) -> None:
    """64 KiB; they are stored, but have a name here only when they were opened."""
    share = sharing()
    async with listing(store, share) as sync:
        await read_all(sync, ["100"])
        assert [length for _, length in share.ranges("bundle")] == [64 << 10]
        await sync.finish(5)
        assert is_shared(store, "100")
        assert names.read_record(store, join(HERE, "101")) is None
        assert sum(1 for _ in sealed.list_blobs(store)) == 16
        await read_all(sync, ["101"])
        await sync.finish(5)
        assert is_shared(store, "101")
        assert share.counts() == {"list": 1, "bundle": 1}


async def test_who_reads_here_and_there_gets_more(store: Store) -> None:
    """A thousand and one seeks are not as many requests."""
    share = sharing()
    async with listing(store, share) as sync:
        await read_all(sync, sorted(FILES, key=lambda component: component[::-1]))
        assert share.counts()["bundle"] <= 8
        assert share.received <= 1.1 * sum(map(len, FILES.values())) + len(share.logs[HERE])


async def test_sixteen_readers_ask_no_more_than_one(store: Store) -> None:
    """P7: of one file, and of all at once."""
    share = sharing()
    async with listing(store, share) as sync:
        async with trio.open_nursery() as nursery:
            for _ in range(16):
                nursery.start_soon(read_all, sync, ["005"])
        assert share.counts() == {"list": 1, "bundle": 1}
        async with trio.open_nursery() as nursery:
            for number in range(16):
                nursery.start_soon(read_all, sync, list(FILES)[number::16])
        assert share.counts()["list"] == 1
        assert share.counts()["bundle"] <= 6


async def test_who_does_not_list_asks_for_the_log_after_some_files(store: Store) -> None:
    """The first four names are asked for by their records; then the log answers for the others."""
    share = sharing()
    async with running(store, share) as sync:
        await read_all(sync)
        assert share.counts() == {"record": 4, "blob": 4, "log": 1, "list": 1, "bundle": 4}


async def test_one_file_is_read_without_log_and_list(store: Store) -> None:
    """As ever: a record and its bytes."""
    share = sharing()
    async with running(store, share) as sync:
        await read_all(sync, ["007"])
        assert share.counts() == {"record": 1, "blob": 1}


async def test_the_list_of_a_large_directory_is_not_for_one_file(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is asked for when the files that were missed would have cost as much."""
    monkeypatch.setattr(directories, "MISS_BYTES", 72 * len(FILES) // 3)
    share = sharing()
    async with listing(store, share) as sync:
        await read_all(sync, ["000", "050", "100", "150", "199"])
        assert share.counts() == {"blob": 2, "list": 1, "bundle": 3}


async def test_a_share_without_bundles(store: Store, mock_clock: MockClock) -> None:
    """Each is asked for on its own, and the share for a list once in a minute."""
    share = sharing(bundled=False)
    async with listing(store, share) as sync:
        await read_all(sync, ["000", "001", "002"])
        assert share.counts() == {"list": 1, "blob": 3}
        share.bundle_up(HERE)
        mock_clock.jump(30)
        await read_all(sync, ["003"])
        mock_clock.jump(31)
        await read_all(sync, ["004", "005"])
        assert (share.counts()["list"], share.counts()["bundle"], share.counts()["blob"]) == (2, 1, 4)


@pytest.mark.parametrize("script", ["w*", "u*", "r*", "b*"])
async def test_a_list_that_does_not_come(store: Store, script: str) -> None:
    """Whatever is wrong with it, the files come one by one, and it is not asked for again."""
    share = sharing(list=script)
    async with listing(store, share) as sync:
        await read_all(sync, ["000"])
        assert share.counts()["bundle"] == 0
        assert share.counts()["list"] == 1
        assert share.counts()["blob"] == 1


async def test_wrong_bytes_in_a_bundle(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    """P1, P5: right bytes are read, the share is struck, and its bundle is not asked for again."""
    share = sharing(bundle="w*")
    async with listing(store, share) as sync:
        await read_all(sync, ["008", "009", "010"])
        assert share.counts() == {"list": 1, "bundle": 1, "blob": 3}
        assert sync.peers[0].is_struck
        (said,) = complaints(caplog)
        assert "sent wrong bytes of a bundle of dir/" in said
        await until(lambda: all(is_shared(store, component) for component in ("008", "009", "010")))


async def test_a_bundle_that_has_gone(store: Store) -> None:
    """404, as after it was written anew: its files come one by one."""
    share = sharing()
    share.bundles.clear()
    async with listing(store, share) as sync:
        await read_all(sync, ["000", "001", "002"])
        assert share.counts() == {"list": 1, "bundle": 1, "blob": 3}


async def test_a_bundle_that_is_too_short(store: Store) -> None:
    """What is in it comes out of it."""
    share = sharing()
    (bundle,) = share.bundle_lists[HERE]
    share.bundles[bundle.id] = share.bundles[bundle.id][: 64 << 10]
    async with listing(store, share) as sync:
        await read_all(sync, [*list(FILES)[:16], "016", "017"])
        assert (share.counts()["list"], share.counts()["blob"]) == (1, 2)


async def test_a_list_that_is_older_than_the_directory(store: Store, mock_clock: MockClock) -> None:
    """What it lacks comes on its own, and a newer one is asked for later."""
    share = sharing()
    old = make_bundle(HERE, [(blob_of(raw), len(raw)) for raw in list(FILES.values())[:50]])
    new = share.bundle_lists[HERE]
    share.bundle_lists[HERE] = (old,)
    share.bundles[old.id] = b"".join(list(FILES.values())[:50])
    async with listing(store, share) as sync:
        await read_all(sync, ["000", "060", "061"])
        assert share.counts() == {"list": 1, "bundle": 1, "blob": 2}
        share.bundle_lists[HERE] = new
        mock_clock.jump(directories.OLDER_FOR)
        await read_all(sync, ["070"])
        assert (share.counts()["list"], share.counts()["bundle"], share.counts()["blob"]) == (2, 2, 2)


async def test_a_share_that_is_down_is_not_asked(store: Store) -> None:
    """Another one's bundle brings the files."""
    one, two = sharing("http://one/"), sharing("http://two/")
    async with listing(store, one, two) as sync:
        for _ in range(3):
            sync.peers[0].health.record_failure(Kind.CONNECT_REFUSED, trio.current_time())
        assert sync.peers[0].is_down()
        await read_all(sync, ["000"])
        assert (one.counts(), two.counts()["list"]) == ({}, 1)


async def test_a_name_that_is_not_listed_with_this_blob(store: Store) -> None:
    """A list alone makes no name mean anything: its share is asked for its bytes."""
    share = sharing()
    async with listing(store, share) as sync:
        other = content(4096, 9999)
        record = share.publish(f"{HERE}/extra", other)
        reader = await sync.named_files.open(join(HERE, "extra"), record)
        assert await reader.read(0, 8192) == other
        reader.close()
        assert share.counts() == {"blob": 1}


async def test_large_files_are_no_members(store: Store) -> None:
    """What is over 32 KiB is loaded as ever."""
    share = sharing()
    large = content(40_000)
    record = share.publish(f"{HERE}/large", large)
    async with running(store, share) as sync:
        await sync.listing(HERE)
        reader = await sync.named_files.open(join(HERE, "large"), record)
        assert await reader.read(0, 65536) == large
        reader.close()
        assert (share.counts()["list"], share.counts()["blob"]) == (0, 1)


async def test_what_was_removed_meanwhile_is_not_shared_again(store: Store) -> None:
    """The tombstone is newer than the name that waits to be shared in turn."""
    share = sharing()
    async with listing(store, share) as sync:
        await read_all(sync, ["000", "001"])
        share.put(f"{HERE}/000", GoneRecord(10**18))
        sync.catalogue.forget(sync.peers)
        await sync.catalogue.listing(HERE)
        await sync.finish(5)
        assert not is_shared(store, "000")
        assert is_shared(store, "001")


async def test_a_disk_that_keeps_nothing(store: Store) -> None:
    """Readers have their bytes; no name is shared whose blob could not be kept."""
    disk = ScriptedDisk()
    disk.failing["place_small"] = errors.StoreFull("no space left")
    share = sharing()
    async with listing(store, share, disk=disk) as sync:
        await read_all(sync, ["000", "001", "002"])
        await sync.finish(5)
        assert names.read_record(store, join(HERE, "000")) is None


async def test_a_reader_that_does_not_wait(store: Store) -> None:
    """O_NONBLOCK: EAGAIN at first, and the bytes a moment later."""
    share = sharing(bundle="g")
    async with listing(store, share) as sync:
        record = share.records[join(HERE, "000")]
        assert isinstance(record, BlobRecord)
        reader = await sync.named_files.open(join(HERE, "000"), record)
        with pytest.raises(errors.WouldBlock):
            await reader.read(0, 8192, wait=0.2)
        share.gate.set()
        await until(lambda: sync.bundles.content_of(record.blob) is not None)
        await read_all(sync, ["000"])
        reader.close()


async def test_what_was_opened_costs_no_thread(store: Store) -> None:
    """A file that came with another one is opened, read and closed without a hop."""
    calls: list[str] = []
    disk = ScriptedDisk()
    disk.after = calls.append
    async with listing(store, sharing(), disk=disk) as sync:
        await read_all(sync, ["000"])
        calls.clear()
        record = record_of(FILES["001"])
        reader = await sync.named_files.open(join(HERE, "001"), record)
        assert await reader.read(0, 8192) == FILES["001"]
        reader.close()
        assert calls == []
        await sync.finish(5)
        assert calls.count("place_small") == 1
        assert calls.count("put_loaded_names") == 1
