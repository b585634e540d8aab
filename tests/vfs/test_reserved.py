"""The reserved directories: blobs by their ids, to read and to write."""

import os
import stat

import pytest

from blobfs import errors
from blobfs.model import EMPTY_BLOB
from blobfs.store import sealed
from blobfs.store.opening import Store
from blobfs.vfs.attributes import Change
from tests.sync.fake_share import FakeShare, blob_of
from tests.sync.running import content, kept
from tests.vfs.kernel import CALLER, Kernel, mounted

RAW = content(50_000)
BLOB = blob_of(RAW)
BLOBS, INCOMING = ".blobfs/blobs", ".blobfs/incoming"


async def write_blob(kernel: Kernel, blob: str, raw: bytes) -> None:
    """As `cp` does it: an error is the close's."""
    handle = await kernel.create(f"{INCOMING}/{blob}")
    try:
        if raw:
            await kernel.fs.write(handle, 0, raw)
    finally:
        await kernel.close(handle)


async def test_reserved_directories_open_by_name_and_are_never_listed(store: Store) -> None:
    """Nothing but their own names is in them, and the root does not list them."""
    async with mounted(store) as kernel:
        assert await kernel.listdir() == []
        for path in (".blobfs", BLOBS, INCOMING):
            assert stat.S_ISDIR((await kernel.stat(path)).mode)
            assert await kernel.listdir(path) == []
        for path in (".blobfs/other", ".blobfs-log", f"{BLOBS}/not-an-id", f"{INCOMING}/{BLOB}"):
            with pytest.raises(errors.BlobfsError):
                await kernel.lookup(path)


async def test_nothing_is_made_or_removed_there(store: Store) -> None:
    """EPERM: they are views, not directories of names."""
    async with mounted(store) as kernel:
        await kernel.write_file("file", RAW)
        await kernel.sealed_id("file")
        for call in (
            kernel.unlink(f"{BLOBS}/{BLOB}"),
            kernel.rename(f"{BLOBS}/{BLOB}", "mine"),
            kernel.rename("file", f"{BLOBS}/{BLOB}"),
            kernel.set(BLOBS, Change(mode=0o777)),
            kernel.mkdir(f".blobfs/blobs/{'0' * 64}"),
            kernel.symlink(f".blobfs/blobs/{'0' * 64}", "file"),
        ):
            with pytest.raises(errors.BlobfsError) as caught:
                await call
            assert caught.value.errno in (errors.NotPermitted.errno, errors.NameMissing.errno)
        assert await kernel.read_file("file") == RAW


async def test_every_blob_can_be_read_by_its_id(store: Store) -> None:
    """Those of this node, the empty one, and those that only a share has."""
    share = FakeShare()
    elsewhere = share.add_blob(b"elsewhere")
    async with mounted(store, share) as kernel:
        await kernel.write_file("file", RAW)
        await kernel.sealed_id("file")
        assert await kernel.read_file(f"{BLOBS}/{BLOB}") == RAW
        assert await kernel.read_file(f"{BLOBS}/{EMPTY_BLOB}") == b""
        assert stat.S_IMODE((await kernel.stat(f"{BLOBS}/{elsewhere}")).mode) == 0o444
        assert await kernel.read_file(f"{BLOBS}/{elsewhere}") == b"elsewhere"
        await kept(kernel.sync)
        with pytest.raises(errors.NameMissing):
            await kernel.lookup(f"{BLOBS}/{blob_of(b'nowhere')}")
        with pytest.raises(errors.Sealed):
            await kernel.open(f"{BLOBS}/{BLOB}", os.O_WRONLY)


async def test_a_blob_that_cannot_be_asked_for_is_unreachable(store: Store) -> None:
    """P4: an id is never looked up before it is written there, so EHOSTUNREACH also where one can write."""
    async with mounted(store, FakeShare(size="u*")) as kernel:
        with pytest.raises(errors.Unreachable):
            await kernel.lookup(f"{BLOBS}/{BLOB}")


async def test_a_blob_is_given_a_name_by_a_link(store: Store) -> None:
    """`ln .blobfs/blobs/<id> name`."""
    async with mounted(store) as kernel:
        await write_blob(kernel, BLOB, RAW)
        await kernel.link(f"{BLOBS}/{BLOB}", "name")
        assert await kernel.read_file("name") == RAW
        assert await kernel.xattr("name", "state") == "sealed"
        await kernel.unlink("name")
        assert await kernel.read_file(f"{BLOBS}/{BLOB}") == RAW


async def test_what_is_written_under_its_id_is_checked(store: Store) -> None:
    """It is in blobs/ when close returns, and gone from incoming/."""
    async with mounted(store) as kernel:
        await write_blob(kernel, BLOB, RAW)
        assert await kernel.read_file(f"{BLOBS}/{BLOB}") == RAW
        with pytest.raises(errors.NameMissing):
            await kernel.lookup(f"{INCOMING}/{BLOB}")
        assert await kernel.listdir() == []
        await write_blob(kernel, EMPTY_BLOB, b"")
        assert sealed.has(store, EMPTY_BLOB)


@pytest.mark.parametrize("raw", [b"", RAW[:-1], RAW + b"x", b"y" + RAW[1:]])
async def test_wrong_content_is_refused_and_leaves_nothing(store: Store, raw: bytes) -> None:
    """EBADMSG at the close, and the right content can be written after it."""
    async with mounted(store) as kernel:
        if raw:
            with pytest.raises(errors.WrongContent):
                await write_blob(kernel, BLOB, raw)
        else:
            await write_blob(kernel, BLOB, raw)  # no write, no claim: like a touch that came to nothing
        assert not sealed.has(store, BLOB)
        assert os.listdir(store.layout.incoming) == []
        await write_blob(kernel, BLOB, RAW)
        assert sealed.has(store, BLOB)
        kernel.forget_all()
        assert kernel.fs.statistics() == {"inodes": 1, "handles": 0}


async def test_a_close_of_a_duplicate_may_come_early(store: Store) -> None:
    """Before the first write it says nothing; later it says whether it is right so far."""
    async with mounted(store) as kernel:
        handle = await kernel.create(f"{INCOMING}/{BLOB}")
        await kernel.fs.flush(handle)
        await kernel.fs.write(handle, 0, RAW[:10])
        with pytest.raises(errors.WrongContent):
            await kernel.fs.flush(handle)
        await kernel.fs.write(handle, 10, RAW[10:])
        await kernel.fs.flush(handle)
        assert sealed.has(store, BLOB)
        await kernel.fs.flush(handle)
        await kernel.fs.release(handle)


async def test_a_blob_that_is_here_need_not_be_written(store: Store) -> None:
    """EEXIST; two that write it at the same time both succeed."""
    async with mounted(store) as kernel:
        one = await kernel.create(f"{INCOMING}/{BLOB}")
        two = await kernel.open(f"{INCOMING}/{BLOB}", os.O_WRONLY)
        for handle in (one, two):
            await kernel.fs.write(handle, 0, RAW)
        await kernel.close(one)
        await kernel.close(two)
        assert sealed.has(store, BLOB)
        with pytest.raises(errors.NameExists):
            await write_blob(kernel, BLOB, RAW)


async def test_only_ids_can_be_written_there(store: Store) -> None:
    """EINVAL."""
    async with mounted(store) as kernel:
        incoming = await kernel.lookup(INCOMING)
        for name in (b"name", BLOB.upper().encode(), b"0" * 63, b"\xff" * 64):
            with pytest.raises(errors.InvalidName):
                await kernel.fs.create(incoming.inode, name, 0o644, os.O_WRONLY, CALLER)


async def test_what_was_begun_there_can_be_given_up(store: Store) -> None:
    """`rm` of what is being written; nothing of it stays."""
    async with mounted(store) as kernel:
        handle = await kernel.create(f"{INCOMING}/{BLOB}")
        await kernel.fs.write(handle, 0, RAW)
        await kernel.unlink(f"{INCOMING}/{BLOB}")
        await kernel.fs.release(handle)
        assert os.listdir(store.layout.incoming) == []
        assert not sealed.has(store, BLOB)
