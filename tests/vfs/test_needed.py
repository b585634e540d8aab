"""``.blobfs/needed/`` without a kernel: what only a certain moment or state shows."""

import os

import pytest

from blobfs import errors
from blobfs.store import sealed
from blobfs.store.opening import Store
from tests.sync.fake_share import blob_of
from tests.sync.packages.made import Made, make
from tests.vfs.kernel import CALLER, Kernel, mounted

A, B = b"a" * 10, b"b" * 20
MADE = make({"a": A, "b": B})
NEEDED = f".blobfs/needed/{MADE.package}"


async def write(kernel: Kernel, path: str, raw: bytes) -> None:
    """Whether it is there already or not."""
    try:
        handle = await kernel.open(path, os.O_WRONLY)
    except errors.NameMissing:
        handle = await kernel.create(path)
    try:
        await kernel.fs.write(handle, 0, raw)
    finally:
        await kernel.close(handle)


async def begun(kernel: Kernel, made: Made = MADE) -> str:
    """The directory of its transaction."""
    directory = f".blobfs/needed/{made.package}"
    await kernel.mkdir(directory)
    await write(kernel, f"{directory}/meta", made.meta)
    return directory


async def test_what_is_moved_into_a_transaction_that_failed_stays_where_it_was(store: Store) -> None:
    """EPROTO: nothing is taken any more, so the name that holds the blob must not go."""
    bad = Made(blob_of(b"no manifest"), b"no manifest", {})
    outer = make({"a": A}, nested={"bad": bad})
    async with mounted(store) as kernel:
        directory = await begun(kernel, outer)
        with pytest.raises(errors.WrongContent):
            await write(kernel, f"{directory}/missing/{bad.package}", bad.meta)
        await kernel.write_file("file", A)
        await kernel.sealed_id("file")
        with pytest.raises(errors.WrongState):
            await kernel.rename("file", f"{directory}/missing/{blob_of(A)}")
        with pytest.raises(errors.WrongState):
            await kernel.open(f"{directory}/missing/{blob_of(A)}", os.O_WRONLY)
        assert await kernel.read_file("file") == A


async def test_the_kernel_is_told_that_what_was_taken_is_not_missing(store: Store) -> None:
    """It would take the new name for a file of ours, for as long as it believes in those."""
    async with mounted(store) as kernel:
        directory = await begun(kernel)
        await kernel.write_file("file", A)
        await kernel.sealed_id("file")
        inode = await kernel.file("file")
        missing = (await kernel.lookup(f"{directory}/missing")).inode
        root = (await kernel.stat("")).inode
        made = await kernel.fs.link(inode, missing, blob_of(A).encode(), CALLER)
        assert made.entry_timeout == 0
        moved = (root, b"file", missing, blob_of(A).encode(), False, False, CALLER)
        assert not await kernel.fs.rename(*moved)
        assert await kernel.fs.lookup(missing, blob_of(B).encode(), CALLER)
        with pytest.raises(errors.NameMissing):
            await kernel.fs.lookup(missing, blob_of(A).encode(), CALLER)
        with pytest.raises(errors.NameMissing):
            await kernel.lookup("file")
        assert sealed.has(store, blob_of(A))


async def test_whoever_stays_in_a_directory_that_has_ended_sees_so(store: Store) -> None:
    """A process in it, or a listing that had begun, outlives a transaction."""
    async with mounted(store) as kernel:
        directory = await begun(kernel)
        inside = (await kernel.lookup(directory)).inode
        missing = (await kernel.lookup(f"{directory}/missing")).inode
        handle = await kernel.fs.opendir(missing, CALLER)
        assert len(await kernel.fs.readdir(handle, 0)) == 2
        await write(kernel, f"{directory}/missing/{blob_of(A)}", A)
        assert len(await kernel.fs.readdir(handle, 0)) == 1
        await write(kernel, f"{directory}/missing/{blob_of(B)}", B)
        assert await kernel.fs.readdir(handle, 0) == []
        text = await kernel.fs.lookup(inside, b"state", CALLER)
        opened = await kernel.fs.open(text.inode, os.O_RDONLY, CALLER)
        assert await kernel.fs.read(opened.handle, 0, 100) == b"complete\n"
        with pytest.raises(errors.NameMissing):
            await kernel.lookup(directory)


async def test_nothing_else_can_be_made_or_removed_in_a_transaction(store: Store) -> None:
    """EPERM, whatever it is, and nothing of the transaction changes."""
    async with mounted(store) as kernel:
        directory = await begun(kernel)
        refused = (
            kernel.create(f"{directory}/other"),
            kernel.mkdir(f"{directory}/other"),
            kernel.mkdir(f"{directory}/missing/other"),
            kernel.symlink(f"{directory}/other", "x"),
            kernel.unlink(f"{directory}/meta"),
            kernel.unlink(f"{directory}/state"),
            kernel.unlink(f"{directory}/missing/{blob_of(A)}"),
            kernel.rmdir(f"{directory}/missing"),
            kernel.rename(directory, "mine"),
            kernel.rename(f"{directory}/missing/{blob_of(A)}", "mine"),
        )
        for call in refused:
            with pytest.raises(errors.NotPermitted):
                await call
        assert len(await kernel.listdir(f"{directory}/missing")) == 2
        assert await kernel.read_file(f"{directory}/state") == b"need-blobs 2 of 2\n"
