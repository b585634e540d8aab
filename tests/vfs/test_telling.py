"""Failures are noted under the path that was asked for, whatever the kernel calls it."""

import os

import pytest
import trio

from blobfs.errors import NameMissing, Unreachable
from blobfs.model import RESERVED_PREFIX
from blobfs.store.opening import Store
from tests.sync.fake_share import FakeShare
from tests.sync.running import content
from tests.vfs.kernel import CALLER, ROOT, Kernel, mounted

RAW = content(300_000)
DEAD = Unreachable("no share can be reached")


async def told_of(kernel: Kernel, operation: str, *subject: object) -> str:
    kernel.fs.tell(operation, subject, DEAD)
    told = kernel.sync.told.latest()[0]
    assert told.operation == operation
    return told.what


@pytest.fixture
def share() -> FakeShare:
    share = FakeShare()
    share.publish("d/f", RAW)
    return share


async def test_a_handle_an_inode_and_a_component(store: Store, share: FakeShare) -> None:
    """Of an open file its path, of a directory and a component both, of the root nothing."""
    async with mounted(store, share) as kernel:
        found = await kernel.lookup("d/f")
        opened = await kernel.fs.open(found.inode, os.O_RDONLY, CALLER)
        directory = (await kernel.lookup("d")).inode
        assert await told_of(kernel, "read", opened.handle, 0, 10) == "d/f"
        assert await told_of(kernel, "open", found.inode, 0, CALLER) == "d/f"
        assert await told_of(kernel, "lookup", directory, b"other", CALLER) == "d/other"
        assert await told_of(kernel, "lookup", ROOT, b"\xffx", CALLER) == "\\xffx"
        assert await told_of(kernel, "opendir", ROOT, CALLER) == ""
        await kernel.fs.release(opened.handle)


async def test_what_is_gone_is_told_all_the_same(store: Store, share: FakeShare) -> None:
    """Of a handle or an inode that nobody knows any more nothing can be said; that is no second failure."""
    async with mounted(store, share) as kernel:
        assert await told_of(kernel, "read", 99, 0, 10) == ""
        assert await told_of(kernel, "getattr", 99, CALLER) == ""
        assert await told_of(kernel, "statfs") == ""


async def test_a_blob_by_its_id(store: Store, share: FakeShare) -> None:
    """As it stands in the mount."""
    async with mounted(store, share) as kernel:
        path = f"{RESERVED_PREFIX}/blobs/{next(iter(share.blobs))}"
        found = await kernel.lookup(path)
        assert await told_of(kernel, "open", found.inode) == path


async def test_a_lookup_that_cannot_be_answered_is_noted(store: Store) -> None:
    """The caller on a writable mount gets ENOENT; why, stands among the failures."""
    async with mounted(store, FakeShare(record="u*", log="u*", size="u*")) as kernel:
        with trio.fail_after(30), pytest.raises(NameMissing):
            await kernel.lookup("nowhere")
        (told,) = kernel.sync.told.latest()
    assert (told.operation, told.what, told.errno) == ("lookup", "nowhere", NameMissing.errno)
    assert {attempt.detail for attempt in told.attempts} == {"connection refused"}
