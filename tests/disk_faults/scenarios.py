"""What is done while the disk fails: a share, a load, a transaction, changes of names.

Each is a program: it may be run again when it failed, and then it begins as a program would that finds what
the first run left. What it was promised stands in its ledger. It raises the first error it is given.
"""

from collections.abc import Awaitable, Callable

from blobfs import errors
from tests.disk_faults.ledger import TORSO, Folder, Ledger, Link
from tests.sync.fake_share import FakeShare
from tests.sync.packages.made import make
from tests.sync.packages.writing import put, put_all
from tests.sync.running import content
from tests.vfs.kernel import Kernel

Scenario = Callable[[Kernel, Ledger], Awaitable[None]]

STEP = 128 * 1024
"""Bytes of a write, as the kernel sends them."""

BIG, SMALL, OTHER = content(300 * 1024, 1), content(3_000, 2), content(20_000, 3)
PACKAGE = make({"bin/tool": content(300 * 1024, 4), "bin/small": content(700, 5)})
THERE_BIG, THERE_SMALL = content(300 * 1024, 6), content(5_000, 7)


def other_node() -> FakeShare:
    """Another node, whose share has two names."""
    share = FakeShare()
    share.publish("there/big", THERE_BIG)
    share.publish("there/small", THERE_SMALL)
    return share


async def share(kernel: Kernel, ledger: Ledger) -> None:
    """A file is written, fsynced and closed; a small one is shared by a call. Both are read."""
    await _write(kernel, ledger, "big", BIG)
    with ledger.change(d=Folder(), d__small=SMALL):
        await kernel.sync.share_blob("d/small", SMALL)
    for name, raw in (("d/small", SMALL), ("big", BIG)):
        assert await kernel.read_file(name) == raw


async def load(kernel: Kernel, ledger: Ledger) -> None:
    """Two blobs of another node come here by name, whole, and are shared in turn."""
    for name, raw in (("there/big", THERE_BIG), ("there/small", THERE_SMALL)):
        with ledger.change(there=Folder(), **{name.replace("/", "__"): raw}):
            await kernel.sync.load_blob(name)
        assert await kernel.read_file(name) == raw


async def transact(kernel: Kernel, ledger: Ledger) -> None:
    """A package is written blob by blob until it is complete."""
    transactions = kernel.sync.transactions
    if await transactions.is_complete(PACKAGE.package):
        return
    found = await transactions.get(PACKAGE.package) or await transactions.open(PACKAGE.package)
    if found.known.is_missing(PACKAGE.package):
        await put(kernel.sync, found, PACKAGE.package, PACKAGE.meta)
    await put_all(kernel.sync, found, PACKAGE)
    ledger.packages.add(PACKAGE.package)


async def rename(kernel: Kernel, ledger: Ledger) -> None:
    """A file takes the place of another; files, directories and symlinks are made and removed."""
    await _write(kernel, ledger, "old", OTHER)
    await _write(kernel, ledger, "new", SMALL)
    with ledger.change(new=None, old=SMALL):
        await kernel.rename("new", "old")
    await _write(kernel, ledger, "victim", OTHER)
    await _absent(kernel, ledger, "victim")
    await _make_directory(kernel, ledger, "dir")
    with ledger.change(dir=None):
        await kernel.rmdir("dir")
    await _absent(kernel, ledger, "symlink")
    with ledger.change(symlink=Link("old")):
        await kernel.symlink("symlink", "old")
    assert await kernel.readlink("symlink") == "old"


async def _exists(kernel: Kernel, name: str) -> bool:
    try:
        await kernel.lookup(name)
    except errors.NameMissing:
        return False
    return True


async def _absent(kernel: Kernel, ledger: Ledger, name: str) -> None:
    with ledger.change(**{name: None}):
        if await _exists(kernel, name):
            await kernel.unlink(name)


async def _make_directory(kernel: Kernel, ledger: Ledger, name: str) -> None:
    with ledger.change(**{name: Folder()}):
        if not await _exists(kernel, name):
            await kernel.mkdir(name)


async def _write(kernel: Kernel, ledger: Ledger, name: str, raw: bytes) -> None:
    """As a program that removes what is in its way, and believes only what was fsynced and closed."""
    await _absent(kernel, ledger, name)
    ledger.may_be(name, raw, TORSO)
    handle = await kernel.create(name)
    try:
        for offset in range(0, len(raw), STEP):
            await kernel.fs.write(handle, offset, raw[offset : offset + STEP])
        await kernel.fs.fsync(handle, False)
    except BaseException:
        await kernel.close(handle)
        raise
    await kernel.close(handle)
    ledger.names[name] = {raw}
    await kernel.sealed_id(name)


SCENARIOS: dict[str, Scenario] = {"share": share, "load": load, "transaction": transact, "names": rename}
