"""Names of other nodes: what is loaded when, what may be done with them, and what is said of them."""

import json
import os
import stat
from dataclasses import replace

import pytest
import trio
from trio.testing import MockClock

from blobfs import errors
from blobfs.model import CHUNK_SIZE, ROOT, BlobId, Name
from blobfs.record import DirRecord, GoneRecord, SymlinkRecord
from blobfs.store import sealed
from blobfs.store.opening import Store
from blobfs.vfs.attributes import Change
from blobfs.vfs.stat import LASTING
from tests.sync.fake_share import FakeShare, record_of
from tests.sync.running import SETTINGS, kept, until
from tests.sync.samples import BLOB, RAW, SMALL, chunk, part
from tests.vfs.kernel import CALLER, mounted


def sharing(**scripts: str) -> FakeShare:
    """`d/large` and `small`, and a symlink."""
    share = FakeShare("http://share/", **scripts)  # type: ignore[arg-type]
    share.publish("d/large", RAW, 50)
    share.publish("small", SMALL, 60)
    share.put("link", SymlinkRecord("d/large", 70, 70))
    return share


async def test_looking_loads_nothing(store: Store) -> None:
    """`ls -l`, `find`, `du`, `stat` and xattrs of a missing file ask for names and for nothing else."""
    share = sharing()
    async with mounted(store, share) as kernel:
        assert await kernel.listdir() == ["d", "link", "small"]
        assert await kernel.listdir("d") == ["large"]
        found = await kernel.stat("d/large")
        assert (found.size, found.blocks, found.mtime_ns) == (len(RAW), 0, 500)
        assert stat.S_IMODE(found.mode) == 0o444
        assert await kernel.sealed_id("d/large") == BLOB
        assert await kernel.xattr("d/large", "state") == "missing"
        assert await kernel.xattr("d/large", "shares") == "http://share/"
        handle = await kernel.open("d/large")
        await kernel.close(handle)
    assert set(share.counts()) <= {"record", "log"}


async def test_a_file_is_missing_then_partial_then_whole(store: Store) -> None:
    """`.state`, `.present` and `st_blocks` count what is here."""
    share = sharing()
    async with mounted(store, share) as kernel:
        handle = await kernel.open("d/large")
        start, length = chunk(10)
        assert await kernel.fs.read(handle, start, length) == part(10)
        assert await kernel.xattr("d/large", "state") == "partial"
        assert await kernel.xattr("d/large", "present") == str(CHUNK_SIZE)
        assert (await kernel.stat("d/large")).blocks == CHUNK_SIZE // 512
        assert await kernel.read_all(handle) == RAW
        await kernel.close(handle)
        await kept(kernel.sync)
        assert await kernel.xattr("d/large", "state") == "whole"
        assert (await kernel.stat("d/large")).blocks == -(-len(RAW) // 512)
        assert await kernel.xattr("d/large", "verified") == "yes"


async def test_what_another_node_publishes_is_not_ours_to_change(store: Store) -> None:
    """EPERM, before it was loaded and after; EXDEV for a directory with its names."""
    share = sharing()
    async with mounted(store, share) as kernel:
        for is_loaded in (False, True):
            if is_loaded:
                assert await kernel.read_file("small") == SMALL
                await kernel.read_file("d/large")
                await kept(kernel.sync)
            for call in (
                kernel.unlink("small"),
                kernel.rename("small", "other"),
                kernel.set("small", Change(mode=0o755)),
                kernel.set("small", Change(mtime_ns=1)),
                kernel.open("small", os.O_WRONLY),
                kernel.open("small", os.O_RDWR),
            ):
                with pytest.raises(errors.OperationRefused) as caught:
                    await call
                assert isinstance(caught.value, errors.ForeignName | errors.Sealed)
            with pytest.raises(errors.CrossesNodes):
                await kernel.rename("d", "e")
            with pytest.raises(errors.DirectoryNotEmpty):
                await kernel.rmdir("d")
        assert await kernel.listdir() == ["d", "link", "small"]


async def test_a_name_of_another_node_can_be_replaced(store: Store) -> None:
    """A newer record of ours takes its place: `mv new old`."""
    share = sharing()
    async with mounted(store, share) as kernel:
        await kernel.write_file("mine", b"mine")
        await kernel.rename("mine", "small")
        assert await kernel.read_file("small") == b"mine"
        assert await kernel.listdir() == ["d", "link", "small"]
        assert await kernel.xattr("small", "state") == "sealed"


async def test_a_link_needs_the_bytes_here(store: Store) -> None:
    """EXDEV before the blob is here; then a name of our own for the same blob, which is ours to remove."""
    share = sharing()
    async with mounted(store, share) as kernel:
        with pytest.raises(errors.CrossesNodes):
            await kernel.link("small", "mine")
        await kernel.read_file("small")
        await kept(kernel.sync)
        kernel.forget_all()
        await kernel.link("small", "mine")
        assert await kernel.read_file("mine") == SMALL
        assert await kernel.xattr("mine", "state") == "sealed"
        await kernel.unlink("mine")
        assert await kernel.read_file("small") == SMALL


async def test_a_name_that_is_replaced_elsewhere_is_another_file(store: Store, mock_clock: MockClock) -> None:
    """Who has the old one open keeps reading it, also what of it was not here yet."""
    share = sharing()
    async with mounted(store, share) as kernel:
        handle = await kernel.open("d/large")
        before = await kernel.lookup("d/large")
        share.publish("d/large", SMALL, 51)
        mock_clock.jump(SETTINGS.listing_ttl)
        after = await kernel.lookup("d/large")
        assert after.inode != before.inode
        assert after.size == len(SMALL)
        assert await kernel.read_file("d/large") == SMALL
        assert await kernel.read_all(handle) == RAW
        await kernel.close(handle)


async def test_a_name_that_is_removed_elsewhere_is_gone(store: Store, mock_clock: MockClock) -> None:
    """Also what was loaded; who has it open reads on, and something new can be made in its place."""
    share = sharing()
    async with mounted(store, share) as kernel:
        handle = await kernel.open("small")
        assert await kernel.read_all(handle) == SMALL
        await kept(kernel.sync)
        for name in ("small", "d/large"):
            share.put(name, GoneRecord(100))
        mock_clock.jump(SETTINGS.listing_ttl)
        for name in ("small", "d/large"):
            await kernel.sync.listing(Name(name.rpartition("/")[0]))
            with pytest.raises(errors.NameMissing):
                await kernel.lookup(name)
        assert await kernel.read_all(handle) == SMALL
        await kernel.write_file("small", b"new")
        assert await kernel.read_file("small") == b"new"
        await kernel.close(handle)


async def test_the_kernel_is_told_of_what_changed(store: Store, mock_clock: MockClock) -> None:
    """The inodes whose names mean something else; not what it never asked for, nor what says the same."""
    share = sharing()
    for name in ("same", "gone", "changed", "program"):
        share.publish(name, name.encode(), 50)
    async with mounted(store, share) as kernel:
        asked = ("same", "gone", "changed", "program", "d")
        inodes = {name: (await kernel.lookup(name)).inode for name in asked}
        await kernel.sync.listing(ROOT)
        with trio.move_on_after(0):
            await kernel.fs.wait_stale()
        share.publish("unknown", b"x", 60)
        share.publish("same", b"same", 60)
        share.put("gone", GoneRecord(60))
        share.publish("changed", b"other", 60)
        share.put("program", replace(record_of(b"program", 60), mode=0o555))
        mock_clock.jump(SETTINGS.listing_ttl)
        await kernel.sync.listing(ROOT)
        stale = await kernel.fs.wait_stale()
        assert sorted(stale) == sorted(inodes[name] for name in ("gone", "changed", "program"))
        assert (await kernel.lookup("program")).inode == inodes["program"]


async def test_a_directory_is_told_of_after_what_is_in_it(store: Store, mock_clock: MockClock) -> None:
    """The kernel drops no directory in which it knows a name; one that only has another time goes, too."""
    share = sharing()
    share.publish("d/e/deep", b"deep", 50)
    async with mounted(store, share) as kernel:
        deep, e, large, d = [
            (await kernel.lookup(name)).inode for name in ("d/e/deep", "d/e", "d/large", "d")
        ]
        await kernel.sync.listing(ROOT)
        with trio.move_on_after(0):
            await kernel.fs.wait_stale()
        share.put("d", DirRecord(7_000, 60))
        mock_clock.jump(SETTINGS.listing_ttl)
        await kernel.sync.listing(ROOT)
        stale = await kernel.fs.wait_stale()
        assert sorted(stale) == sorted((deep, e, large, d))
        assert stale.index(deep) < stale.index(e) < stale.index(d) == 3
        assert (await kernel.lookup("d")).mtime_ns == 7_000


async def test_how_long_a_directory_is_believed(store: Store) -> None:
    """`directory_ttl`, for its name and its time; without shares nobody else changes it."""
    async with mounted(store, sharing()) as kernel:
        found = await kernel.lookup("d")
        assert (found.entry_timeout, found.attr_timeout) == (SETTINGS.directory_ttl, SETTINGS.directory_ttl)
    async with mounted(store) as kernel:
        await kernel.mkdir("own")
        found = await kernel.lookup("own")
        assert (found.entry_timeout, found.attr_timeout) == (LASTING, LASTING)


async def test_what_is_written_here_is_not_told_of(store: Store, mock_clock: MockClock) -> None:
    """It means what it is here until it is sealed, whatever others publish."""
    share = sharing()
    async with mounted(store, share) as kernel:
        handle = await kernel.create("new")
        await kernel.sync.listing(ROOT)
        small = (await kernel.lookup("small")).inode
        share.publish("new", b"theirs", 70)
        share.publish("small", b"changed", 70)
        mock_clock.jump(SETTINGS.listing_ttl)
        await kernel.sync.listing(ROOT)
        assert await kernel.fs.wait_stale() == [small]
        await kernel.close(handle)


@pytest.mark.parametrize("moved", [False, True], ids=["rmdir", "rename"])
async def test_a_directory_whose_names_others_removed(
    store: Store, mock_clock: MockClock, moved: bool
) -> None:
    """It is empty, although this node has published something in it: `mv` brings nothing back."""
    share = sharing()
    async with mounted(store, share) as kernel:
        await kernel.mkdir("own")
        await kernel.write_file("own/x", b"own")
        blob = BlobId(await kernel.sealed_id("own/x"))
        share.put("own/x", GoneRecord(2**62))
        mock_clock.jump(SETTINGS.listing_ttl)
        assert await kernel.listdir("own") == []
        if moved:
            await kernel.rename("own", "other")
            assert await kernel.listdir("other") == []
        else:
            await kernel.rmdir("own")
        assert await kernel.sync.namespace.directory(Name("own")) is None
        assert sealed.has(store, blob)


async def test_a_symlink_that_was_read_is_shared_in_turn(store: Store) -> None:
    """Like a blob; it works without its publisher from then on."""
    share = sharing()
    async with mounted(store, share) as kernel:
        assert await kernel.readlink("link") == "d/large"
        with pytest.raises(errors.ForeignName):
            await kernel.unlink("link")
    async with mounted(store, FakeShare("http://down/", record="u*", log="u*")) as kernel:
        assert await kernel.readlink("link") == "d/large"


async def test_a_failed_load_is_told_in_detail(store: Store) -> None:
    """`.last_error` lists every attempt of the last failure; there is none before."""
    share = sharing(blob="u*")
    async with mounted(store, share) as kernel:
        inode = (await kernel.lookup("d/large")).inode
        with pytest.raises(errors.AttributeMissing):
            await kernel.fs.getxattr(inode, b"user.blobfs.last_error", CALLER)
        with pytest.raises(errors.Unreachable):
            await kernel.read_file("d/large")
        attempts = json.loads(await kernel.fs.getxattr(inode, b"user.blobfs.last_error", CALLER))
        assert [(each["share"], each["phase"], each["outcome"]) for each in attempts] == [
            ("http://share/", "blob", "unreachable")
        ]
        assert b"user.blobfs.last_error" in await kernel.fs.listxattr(inode)


async def test_a_nonblocking_open_waits_for_nothing(store: Store) -> None:
    """Where the mount says so: EAGAIN for what is missing, and the load goes on."""
    share = sharing(blob="g")
    async with mounted(store, share, settings=replace(SETTINGS, nonblock_wait=0)) as kernel:
        handle = await kernel.open("small", os.O_RDONLY | os.O_NONBLOCK)
        with pytest.raises(errors.WouldBlock):
            await kernel.fs.read(handle, 0, 100)
        share.gate.set()
        await until(lambda: kernel.sync.loads.statistics()["spans"] == 0)
        assert await kernel.fs.read(handle, 0, 100) == SMALL[:100]
        await kernel.close(handle)


@pytest.mark.parametrize("read_only", [True, False])
async def test_an_unknown_name_is_unreachable_only_where_nothing_is_written(
    store: Store, read_only: bool
) -> None:
    """P4: EHOSTUNREACH on a read-only mount; writing must work offline, so ENOENT on a writable one."""
    expected = errors.Unreachable if read_only else errors.NameMissing
    async with mounted(store, sharing(record="u*", log="u*"), read_only=read_only) as kernel:
        with pytest.raises(expected):
            await kernel.lookup("small")
        if not read_only:
            await kernel.write_file("small", b"written offline")
            assert await kernel.read_file("small") == b"written offline"


async def test_wrong_records_are_an_error_and_not_an_absence(store: Store) -> None:
    """EBADMSG."""
    async with mounted(store, sharing(record="w*")) as kernel:
        with pytest.raises(errors.WrongEverywhere):
            await kernel.lookup("small")


async def test_a_plain_file_says_that_nothing_vouches_for_it(store: Store) -> None:
    """`.verified` is no, there is no id before it is whole, and it is not ours."""
    share = FakeShare("http://plain/", plain=True)
    share.put_file("file", RAW)
    async with mounted(store, share) as kernel:
        handle = await kernel.open("file")
        assert await kernel.fs.read(handle, 0, 100) == RAW[:100]
        assert await kernel.xattr("file", "verified") == "no"
        assert await kernel.xattr("file", "state") == "partial"
        with pytest.raises(errors.AttributeMissing):
            await kernel.xattr("file", "id")
        with pytest.raises(errors.ForeignName):
            await kernel.unlink("file")
        share.put_file("file", SMALL, '"2"')
        with pytest.raises(errors.PlainFileChanged):
            await kernel.read_all(handle)
        await kernel.close(handle)
        assert await kernel.read_file("file") == SMALL
