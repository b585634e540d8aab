"""Inodes and handles: nothing stays behind, and nothing goes while it is needed."""

import os
import stat

import pytest
import trio
from trio.testing import MockClock

from blobfs import errors
from blobfs.store.opening import Store
from blobfs.vfs.attributes import Change, DirEntry
from tests.sync.fake_share import FakeShare
from tests.sync.running import ScriptedDisk, content, open_descriptors, until
from tests.vfs.kernel import CALLER, ROOT, Kernel, mounted

CLEAN = {"inodes": 1, "handles": 0}
"""The root is always there."""


async def fill(kernel: Kernel) -> None:
    """Something of every kind."""
    await kernel.write_file("file", b"content")
    await kernel.mkdir("d")
    await kernel.mkdir("d/e")
    await kernel.write_file("d/e/deep", b"deep")
    await kernel.symlink("d/link", "file")
    await kernel.sync_directory()
    await kernel.sync_directory("d/e")


async def test_what_the_kernel_forgets_leaves_no_inode(store: Store) -> None:
    """Files, directories, symlinks, the reserved ones; after they were looked up, listed and opened."""
    share = FakeShare()
    share.publish("theirs/name", b"theirs")
    async with mounted(store, share) as kernel:
        await fill(kernel)
        blob = await kernel.sealed_id("file")
        for path in ("file", "d/e/deep", f".blobfs/blobs/{blob}", "theirs/name"):
            assert await kernel.read_file(path) != b""
        for path in ("", "d", "d/e", "theirs"):
            await kernel.listdir(path)
        assert kernel.fs.statistics()["inodes"] > 10
        kernel.forget_all()
        assert kernel.fs.statistics() == CLEAN


async def test_what_was_forgotten_is_found_again(store: Store) -> None:
    """With all it can do: the new inode works like the old one."""
    async with mounted(store) as kernel:
        await fill(kernel)
        for _ in range(2):
            kernel.forget_all()
            assert await kernel.read_file("d/e/deep") == b"deep"
            assert await kernel.readlink("d/link") == "file"
            assert await kernel.listdir("d") == ["e", "link"]
            blobs = await kernel.lookup(".blobfs/blobs")
            assert stat.S_ISDIR((await kernel.fs.getattr(blobs.inode)).mode)


async def test_references_are_counted(store: Store) -> None:
    """Each lookup is one; the inode goes with the last of them and not before."""
    async with mounted(store) as kernel:
        await kernel.write_file("file", b"content")
        await kernel.sync_directory()
        kernel.forget_all()
        inodes = {(await kernel.fs.lookup(ROOT, b"file", CALLER)).inode for _ in range(3)}
        (inode,) = inodes
        kernel.fs.forget(inode, 2)
        assert (await kernel.fs.getattr(inode)).size == 7
        kernel.fs.forget(inode, 1)
        with pytest.raises(errors.StaleHandle):
            await kernel.fs.getattr(inode)


async def test_an_open_file_keeps_its_inode(store: Store) -> None:
    """Forgotten and unlinked, it can be read until it is closed."""
    async with mounted(store) as kernel:
        await kernel.write_file("file", b"content")
        await kernel.sync_directory()
        handle = await kernel.open("file")
        await kernel.unlink("file")
        kernel.forget_all()
        assert await kernel.read_all(handle) == b"content"
        await kernel.close(handle)
        assert kernel.fs.statistics() == CLEAN


@pytest.mark.parametrize("taken_in_all", [0, 100, 250, 400])
async def test_entries_that_the_kernel_did_not_take_leave_nothing(store: Store, taken_in_all: int) -> None:
    """It takes about a hundred of a page; whoever reads the listing may stop at any entry."""
    share = FakeShare()
    for number in range(400):
        share.publish(f"{number:03}", b"")
    async with mounted(store, share) as kernel:
        handle = await kernel.fs.opendir(ROOT, CALLER)
        taken: list[DirEntry] = []
        while entries := await kernel.fs.readdir(handle, taken[-1].cookie if taken else 0):
            for entry in entries[: min(100, taken_in_all - len(taken))]:
                kernel.fs.remember(entry.attributes.inode)
                taken.append(entry)
            if len(taken) == taken_in_all:
                break
        assert [entry.name for entry in taken] == [b"%03d" % number for number in range(taken_in_all)]
        await kernel.fs.releasedir(handle)
        assert kernel.fs.statistics() == {"inodes": 1 + taken_in_all, "handles": 0}
        for entry in taken:
            kernel.fs.forget(entry.attributes.inode, 1)
        assert kernel.fs.statistics() == CLEAN


async def test_a_listing_is_a_snapshot(store: Store) -> None:
    """Names that come or go while it is read neither repeat an entry nor hide one."""
    async with mounted(store) as kernel:
        for name in ("b", "d", "f"):
            await kernel.write_file(name, b"content")
        handle = await kernel.fs.opendir(ROOT, CALLER)
        first = (await kernel.fs.readdir(handle, 0))[0]
        await kernel.write_file("a", b"content")
        await kernel.unlink("d")
        rest = await kernel.fs.readdir(handle, first.cookie)
        names = [first.name, *(entry.name for entry in rest)]
        assert names in ([b"b", b"d", b"f"], [b"b", b"f"])
        await kernel.fs.releasedir(handle)


async def test_a_name_that_means_another_blob_is_another_inode(store: Store) -> None:
    """The kernel's cached pages of an inode are never wrong; who has the old one open keeps it."""
    async with mounted(store) as kernel:
        await kernel.write_file("name", b"old")
        await kernel.write_file("new", b"new")
        before = await kernel.lookup("name")
        handle = await kernel.open("name")
        await kernel.rename("new", "name")
        after = await kernel.lookup("name")
        assert before.inode != after.inode
        assert await kernel.read_all(handle) == b"old"
        assert await kernel.read_file("name") == b"new"
        await kernel.close(handle)


async def test_a_new_record_of_the_same_blob_is_the_same_inode(store: Store) -> None:
    """A chmod throws away no cache."""
    async with mounted(store) as kernel:
        await kernel.write_file("name", b"content")
        await kernel.sealed_id("name")
        before = await kernel.lookup("name")
        after = await kernel.set("name", Change(mode=0o755))
        assert (after.inode, stat.S_IMODE(after.mode)) == (before.inode, 0o555)


async def test_unknown_inodes_and_handles_are_stale(store: Store) -> None:
    """ESTALE, whatever is asked of them."""
    async with mounted(store) as kernel:
        for call in (
            kernel.fs.getattr(99),
            kernel.fs.open(99, os.O_RDONLY, CALLER),
            kernel.fs.lookup(99, b"x", CALLER),
            kernel.fs.read(99, 0, 1),
            kernel.fs.write(99, 0, b"x"),
            kernel.fs.flush(99),
            kernel.fs.readdir(99, 0),
        ):
            with pytest.raises(errors.StaleHandle):
                await call
        await kernel.fs.release(99)
        kernel.fs.forget(99, 1)


async def test_closed_files_leave_no_descriptor(store: Store) -> None:
    """Written, read while written, read sealed, unlinked while open."""
    async with mounted(store) as kernel:
        await kernel.write_file("warm", b"up")
        await kernel.sync_directory()
        await kernel.sync.sealer.settle()
        before = open_descriptors()
        for number in range(5):
            handle = await kernel.create(f"{number}")
            await kernel.fs.write(handle, 0, content(10_000, number))
            reader = await kernel.open(f"{number}")
            assert await kernel.read_all(reader) == content(10_000, number)
            await kernel.close(reader)
            if number % 2:
                await kernel.unlink(f"{number}")
            await kernel.close(handle)
        await kernel.sync.sealer.settle()
        for number in (0, 2, 4):
            assert await kernel.read_file(f"{number}") == content(10_000, number)
        assert open_descriptors() == before
        kernel.forget_all()
        assert kernel.fs.statistics() == CLEAN


async def test_a_big_file_that_is_unlinked_before_it_is_closed_ends_quietly(store: Store) -> None:
    """P8: hashing follows the writing; it ends with the file and takes nothing with it."""
    disk = ScriptedDisk()
    async with mounted(store, disk=disk) as kernel:
        handle = await kernel.create("big")
        resume = disk.pausing["hash_some"] = trio.Event()
        for number in range(24):
            await kernel.fs.write(handle, number << 17, content(1 << 17, number))
        await disk.paused.wait()
        await kernel.unlink("big")
        await kernel.close(handle)
        resume.set()
        await until(lambda: not os.listdir(store.layout.incoming))
        await kernel.write_file("after", b"the mount lives")
        assert await kernel.read_file("after") == b"the mount lives"


async def test_a_file_forgotten_while_it_is_sealed_is_found_with_its_content(
    store: Store, mock_clock: MockClock
) -> None:
    """The kernel may forget at any moment; what is being written stays known."""
    disk = ScriptedDisk()
    resume = disk.pausing["file"] = trio.Event()
    async with mounted(store, disk=disk) as kernel:
        await kernel.write_file("file", b"content")
        kernel.forget_all()
        await disk.paused.wait()
        assert await kernel.read_file("file") == b"content"
        resume.set()
        await kernel.sealed_id("file")
        kernel.forget_all()
        assert kernel.fs.statistics() == CLEAN
