"""Operations whose caller is sent a signal while they wait: what ends, and what has been changed then."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from signal import SIGINT, SIGKILL

import pytest
import trio
from trio.testing import MockClock

from blobfs import errors
from blobfs.store.opening import Store
from blobfs.vfs.signals import Task, mask_of
from tests.sync.fake_share import FakeShare
from tests.sync.running import LONG, SETTINGS, ScriptedDisk, jumping
from tests.vfs.kernel import CALLER, ROOT, Kernel, mounted
from tests.vfs.tasks import Proc

PATIENT = replace(SETTINGS, lookup_timeout=LONG, read_timeout=LONG)
WAITER = replace(CALLER, pid=7)
CAUGHT = Task(7, 7, "D", 1, 0, mask_of(SIGINT), 0, 0, mask_of(SIGINT))
KILLED = replace(CAUGHT, pending=mask_of(SIGKILL))


@pytest.fixture
def proc(tmp_path: Path) -> Proc:
    """The caller has a signal to see to from the beginning."""
    made = Proc(tmp_path / "proc")
    made.put(CAUGHT)
    return made


@dataclass
class Tree:
    """The own file `mine`, the own directory `d`, and shares that say nothing."""

    kernel: Kernel
    directory: int
    listed: int
    """A handle."""
    blobs: int


@asynccontextmanager
async def silent_mount(store: Store, proc: Proc) -> AsyncIterator[Tree]:
    async with mounted(store) as kernel:
        await kernel.write_file("mine", b"mine")
        await kernel.mkdir("d")
        await kernel.sync.sealer.settle()
    share = FakeShare("http://share/", record="h*", log="h*", size="h*")
    async with mounted(store, share, settings=PATIENT, proc=str(proc.root)) as kernel:
        await kernel.lookup("mine")  # as the kernel does before it renames
        directory = (await kernel.lookup("d")).inode
        listed = await kernel.fs.opendir(ROOT, WAITER)
        yield Tree(kernel, directory, listed, (await kernel.lookup(".blobfs/blobs")).inode)


@pytest.mark.parametrize(
    "operation",
    [
        lambda tree: tree.kernel.fs.lookup(ROOT, b"x", WAITER),
        lambda tree: tree.kernel.fs.lookup(tree.blobs, b"0" * 64, WAITER),
        lambda tree: tree.kernel.fs.readdir(tree.listed, 0),
        lambda tree: tree.kernel.fs.unlink(ROOT, b"x", WAITER),
        lambda tree: tree.kernel.fs.rmdir(ROOT, b"x", WAITER),
        lambda tree: tree.kernel.fs.rmdir(ROOT, b"d", WAITER),
        lambda tree: tree.kernel.fs.rename(ROOT, b"mine", ROOT, b"x", False, False, WAITER),
        lambda tree: tree.kernel.fs.rename(ROOT, b"d", ROOT, b"x", False, False, WAITER),
    ],
    ids=["lookup", "blob", "readdir", "unlink", "rmdir", "listing", "rename", "rename-directory"],
)
async def test_a_wait_for_names_is_ended(
    store: Store, proc: Proc, mock_clock: MockClock, operation: Callable[[Tree], Awaitable[object]]
) -> None:
    """EINTR; nothing has been changed, no inode or lock is left behind, and the next caller is served."""
    async with silent_mount(store, proc) as tree:
        before = tree.kernel.fs.statistics()
        with pytest.raises(errors.Interrupted, match="SIGINT"):
            await jumping(mock_clock, operation, tree)
        assert tree.kernel.fs.statistics() == before
        assert not tree.kernel.sync.namespace.lock.locked()
        assert (await tree.kernel.lookup("d")).inode == tree.directory
        assert await tree.kernel.read_file("mine") == b"mine"
        waits = tree.kernel.fs.wait_statistics()
        assert (waits["waiting"], waits["interrupted"]) == (0, 1)


async def test_a_read_is_ended_and_the_load_goes_on(store: Store, proc: Proc, mock_clock: MockClock) -> None:
    """Its reader has a signal to see to; another one, who has none, gets the bytes."""
    share = FakeShare("http://share/", blob="g")
    share.publish("theirs", b"theirs" * 1000)
    async with mounted(store, share, settings=PATIENT, proc=str(proc.root)) as kernel:
        inode = (await kernel.lookup("theirs")).inode
        first = (await kernel.fs.open(inode, 0, WAITER)).handle
        other = (await kernel.fs.open(inode, 0, CALLER)).handle
        with pytest.raises(errors.Interrupted):
            await jumping(mock_clock, kernel.fs.read, first, 0, 4096)
        share.gate.set()
        assert await kernel.fs.read(other, 0, 12) == b"theirstheirs"
        await kernel.close(first)
        await kernel.close(other)
        assert share.counts()["blob"] == 1


async def test_a_wait_for_a_seal(store: Store, proc: Proc, mock_clock: MockClock) -> None:
    """Of who only asks it is ended. A rename that is done goes on waiting, unless its caller is killed; it
    stays done."""
    disk = ScriptedDisk()
    async with mounted(store, settings=PATIENT, disk=disk, proc=str(proc.root)) as kernel:
        disk.pausing["mark"] = seal = trio.Event()
        await kernel.write_file("new", b"content")
        inode = (await kernel.lookup("new")).inode
        with pytest.raises(errors.Interrupted):
            await jumping(mock_clock, kernel.fs.getxattr, inode, b"user.blobfs.id", WAITER)
        with pytest.raises(errors.Interrupted):
            await jumping(mock_clock, kernel.fs.link, inode, ROOT, b"second", WAITER)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(kernel.fs.rename, ROOT, b"new", ROOT, b"moved", False, False, WAITER)
            with trio.move_on_after(10):
                await jumping(mock_clock, trio.sleep, 5)
            assert kernel.fs.wait_statistics()["waiting"] == 1
            seal.set()
        assert await kernel.listdir() == ["moved"]
        disk.pausing["mark"] = seal = trio.Event()
        await kernel.write_file("old", b"other content")
        proc.put(KILLED)
        with pytest.raises(errors.Interrupted, match="SIGKILL"):
            await jumping(mock_clock, kernel.fs.rename, ROOT, b"old", ROOT, b"there", False, False, WAITER)
        seal.set()
        assert await kernel.read_file("there") == b"other content"
        assert await kernel.listdir() == ["moved", "there"]
