"""What is answered without waiting, and what is left to the operation itself."""

import os
import stat

import pytest

from blobfs.errors import NameMissing, NotSupported, ReadOnlyMount, Sealed, StaleHandle
from blobfs.store.opening import Store
from blobfs.vfs.attributes import Change
from tests.sync.fake_share import blob_of
from tests.sync.running import content
from tests.vfs.kernel import CALLER, Kernel, mounted

SMALL = content(5_000)
LARGE = content(200_000)


async def opened_at_once(kernel: Kernel, path: str, flags: int = os.O_RDONLY) -> int | None:
    opened = kernel.fs.open_nowait(await kernel.file(path), flags, CALLER.pid)
    assert opened is None or (opened.keep_cache and not opened.needs_flush)
    return None if opened is None else opened.handle


async def test_a_small_sealed_file_is_opened_read_and_closed_at_once(store: Store) -> None:
    """No thread takes part, and nothing stays behind."""
    async with mounted(store) as kernel:
        await kernel.write_file("f", SMALL)
        await kernel.sealed_id("f")
        hops, inode = kernel.sync.disk.hops, await kernel.file("f")
        for _ in range(3):
            opened = kernel.fs.open_nowait(inode, os.O_RDONLY, CALLER.pid)
            assert opened is not None
            found = kernel.fs.read_nowait(opened.handle, 1, 131072)
            assert found is None or bytes(found) == SMALL[1:]  # None: the disk cannot tell what is cached
            assert kernel.fs.release_nowait(opened.handle)
        assert kernel.sync.disk.hops == hops
        assert kernel.fs.statistics()["handles"] == 0
        assert not kernel.sync.loads.busy()


async def test_what_is_unlinked_while_it_is_open_is_read_on(store: Store) -> None:
    """An open that did not wait holds the bytes like any other."""
    async with mounted(store) as kernel:
        await kernel.write_file("f", LARGE)
        await kernel.sealed_id("f")
        handle = await opened_at_once(kernel, "f")
        assert handle is not None
        await kernel.unlink("f")
        assert await kernel.read_all(handle) == LARGE
        assert kernel.fs.release_nowait(handle)


@pytest.mark.parametrize("flags", [os.O_RDWR, os.O_WRONLY, os.O_TRUNC, os.O_NONBLOCK])
async def test_other_ways_to_open_are_left_to_open(store: Store, flags: int) -> None:
    """It refuses to write, and waits for less."""
    async with mounted(store) as kernel:
        await kernel.write_file("f", SMALL)
        await kernel.sealed_id("f")
        assert await opened_at_once(kernel, "f", flags) is None


async def test_what_is_written_or_not_here_is_left_to_the_operation(store: Store) -> None:
    """A file that is being written, a directory, an inode and handles that nobody knows."""
    async with mounted(store) as kernel:
        handle = await kernel.create("f")
        assert await opened_at_once(kernel, "f") is None
        assert kernel.fs.read_nowait(handle, 0, 10) is None
        for inode in (1, 4711):
            assert kernel.fs.open_nowait(inode, os.O_RDONLY, 0) is None
        assert kernel.fs.read_nowait(4711, 0, 10) is None
        assert not kernel.fs.release_nowait(4711)
        await kernel.close(handle)


async def test_wrong_bytes_are_never_read_at_once(store: Store) -> None:
    """P1: they are verified here as well."""
    async with mounted(store) as kernel:
        await kernel.write_file("f", SMALL)
        await kernel.sealed_id("f")
        path = store.layout.blob(blob_of(SMALL))
        path.chmod(0o644)
        path.write_bytes(bytes(len(SMALL)))
        handle = await opened_at_once(kernel, "f")
        assert handle is not None
        assert kernel.fs.read_nowait(handle, 0, len(SMALL)) is None
        assert kernel.fs.release_nowait(handle)


async def test_a_large_file_is_read_at_once_when_it_was_verified(store: Store) -> None:
    """P1: `read` hashes it first; what has changed since is not given out."""
    async with mounted(store) as kernel:
        await kernel.write_file("f", LARGE)
        await kernel.sealed_id("f")
        handle = await opened_at_once(kernel, "f")
        assert handle is not None
        assert kernel.fs.read_nowait(handle, 0, 4096) is None
        assert await kernel.read_all(handle) == LARGE
        hops = kernel.sync.disk.hops
        found = kernel.fs.read_nowait(handle, 1, len(LARGE))
        assert found is None or bytes(found) == LARGE[1:]  # None: the disk cannot tell what is cached
        assert kernel.fs.read_nowait(handle, len(LARGE), 4096) is None
        assert kernel.sync.disk.hops == hops
        path = store.layout.blob(blob_of(LARGE))
        path.chmod(0o644)
        with path.open("r+b") as file:
            file.write(bytes(len(LARGE)))
        assert kernel.fs.read_nowait(handle, 0, 4096) is None
        assert kernel.fs.release_nowait(handle)


def new_file(kernel: Kernel, name: bytes, mode: int = 0o644) -> int:
    made = kernel.fs.create_nowait(1, name, mode, os.O_WRONLY | os.O_CREAT, CALLER.pid)
    assert made is not None
    opened, attributes = made
    assert opened.needs_flush
    assert attributes.mode == stat.S_IFREG | mode
    return opened.handle


async def test_a_small_file_is_written_at_once(store: Store) -> None:
    """From the look before it is made to its last close: no thread takes part. It is sealed as any other."""
    async with mounted(store) as kernel:
        await kernel.listdir()
        hops = kernel.sync.disk.hops
        with pytest.raises(NameMissing):
            kernel.fs.lookup_nowait(1, b"f")
        handle = new_file(kernel, b"f")
        found = kernel.fs.lookup_nowait(1, b"f")
        assert found is not None
        request = bytearray(SMALL)
        assert kernel.fs.write_nowait(handle, 0, memoryview(request))
        request[:] = bytes(len(SMALL))  # the next one is read to the same place
        assert kernel.fs.getattr_nowait(found.inode).size == len(SMALL)
        assert kernel.fs.setattr_nowait(found.inode, Change(mode=0o755, mtime_ns=5)) is not None
        assert kernel.fs.flush_nowait(handle)
        assert kernel.sync.disk.hops == hops
        assert kernel.fs.release_nowait(handle)
        assert await kernel.sealed_id("f") == blob_of(SMALL)
        assert await kernel.read_file("f") == SMALL
        sealed = await kernel.stat("f")
        assert (sealed.mode, sealed.mtime_ns) == (stat.S_IFREG | 0o555, 5)
        assert kernel.fs.statistics()["handles"] == 0


async def test_references_of_answers_at_once_are_counted(store: Store) -> None:
    """A file that is made and one that is found are one reference each: without them it goes."""
    async with mounted(store) as kernel:
        handle = new_file(kernel, b"f")
        found = kernel.fs.lookup_nowait(1, b"f")
        assert found is not None
        assert kernel.fs.release_nowait(handle)
        await kernel.sync_directory()
        kernel.fs.forget(found.inode, 1)
        assert kernel.fs.getattr_nowait(found.inode).inode == found.inode
        kernel.fs.forget(found.inode, 1)
        with pytest.raises(StaleHandle):
            kernel.fs.getattr_nowait(found.inode)


async def test_what_is_too_large_is_written_by_write(store: Store) -> None:
    """It gets a file, which a thread writes to; nothing of it is written before."""
    async with mounted(store) as kernel:
        handle = new_file(kernel, b"f")
        assert kernel.fs.write_nowait(handle, 0, SMALL)
        assert not kernel.fs.write_nowait(handle, len(SMALL), LARGE)
        assert (await kernel.stat("f")).size == len(SMALL)
        await kernel.fs.write(handle, len(SMALL), LARGE)
        assert not kernel.fs.write_nowait(handle, 0, b"x")
        await kernel.close(handle)
        assert await kernel.read_file("f") == SMALL + LARGE


async def test_closes_that_have_something_to_do_are_left_to_the_operations(store: Store) -> None:
    """What was fsynced is marked (P2), of an empty file the kernel is told, what has no name is removed."""
    async with mounted(store) as kernel:
        synced, empty, nameless = (new_file(kernel, name) for name in (b"synced", b"empty", b"nameless"))
        assert kernel.fs.write_nowait(synced, 0, SMALL)
        await kernel.fs.fsync(synced, False)
        assert not kernel.fs.flush_nowait(synced)
        assert not kernel.fs.flush_nowait(empty)
        await kernel.unlink("nameless")
        assert not kernel.fs.release_nowait(nameless)
        for handle in (synced, empty, nameless):
            await kernel.close(handle)


async def test_one_of_two_writers_is_closed_at_once(store: Store) -> None:
    """The last one begins the seal."""
    async with mounted(store) as kernel:
        first = new_file(kernel, b"f")
        second = await kernel.open("f", os.O_WRONLY)
        assert kernel.fs.release_nowait(first)
        assert kernel.fs.write_nowait(second, 0, SMALL)
        assert kernel.fs.release_nowait(second)
        assert await kernel.sealed_id("f") == blob_of(SMALL)


async def test_what_cannot_be_changed_is_refused_by_the_operations(store: Store) -> None:
    """A sealed file is neither made, written nor changed at once; nor is a size, or anything where all is
    read-only."""
    async with mounted(store) as kernel:
        await kernel.write_file("f", SMALL)
        await kernel.sealed_id("f")
        inode = await kernel.file("f")
        assert kernel.fs.create_nowait(1, b"f", 0o644, os.O_WRONLY, CALLER.pid) is None
        assert kernel.fs.setattr_nowait(inode, Change(mode=0o755)) is None
        with pytest.raises(Sealed):
            kernel.fs.write_nowait(await kernel.open("f"), 0, b"x")
        handle = new_file(kernel, b"g")
        assert kernel.fs.setattr_nowait(await kernel.file("g"), Change(size=1)) is None
        await kernel.close(handle)
    async with mounted(store, read_only=True) as kernel:
        with pytest.raises(ReadOnlyMount):
            kernel.fs.create_nowait(1, b"h", 0o644, os.O_WRONLY, CALLER.pid)


async def test_names_that_have_to_be_looked_for_are_left_to_lookup(store: Store) -> None:
    """On the disk, when the directory is not in memory; in reserved directories; on shares."""
    async with mounted(store) as kernel:
        await kernel.write_file("f", SMALL)
        await kernel.sealed_id("f")
    async with mounted(store) as kernel:
        assert kernel.fs.lookup_nowait(1, b"f") is None
        await kernel.listdir()
        assert kernel.fs.lookup_nowait(1, b"f") is not None
        reserved = kernel.fs.lookup_nowait(1, b".blobfs")
        assert reserved is not None
        assert kernel.fs.lookup_nowait(reserved.inode, b"blobs") is None


async def test_attributes_of_other_namespaces_are_refused_at_once(store: Store) -> None:
    """Before the first write to a file the kernel asks for its capabilities."""
    async with mounted(store) as kernel:
        with pytest.raises(NotSupported):
            kernel.fs.demand_known_xattr(1, b"security.capability")
        kernel.fs.demand_known_xattr(1, b"user.blobfs.id")
