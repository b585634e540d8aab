"""What is answered without waiting, and what is left to the operation itself."""

import os

import pytest

from blobfs.store.opening import Store
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
        assert not kernel.fs.release_nowait(handle)
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


async def test_a_large_file_is_read_by_read(store: Store) -> None:
    """Its bytes may have to come from the disk."""
    async with mounted(store) as kernel:
        await kernel.write_file("f", LARGE)
        await kernel.sealed_id("f")
        handle = await opened_at_once(kernel, "f")
        assert handle is not None
        assert kernel.fs.read_nowait(handle, 0, 4096) is None
        assert kernel.fs.release_nowait(handle)
