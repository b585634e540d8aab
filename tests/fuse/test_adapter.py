"""The wrapper around every operation, without a kernel."""

import errno
import logging
from typing import NoReturn

import pyfuse3
import pytest
import trio

from blobfs.errors import BlobfsError, NameMissing, Sealed, StoreBroken, Unreachable
from blobfs.fuse.adapter import Adapter
from blobfs.vfs.attributes import NO_INODE, Attributes, Caller, DirEntry
from tests.fuse.memory import ROOT, MemoryFileSystem

CTX = pyfuse3.RequestContext()


class FailingFileSystem(MemoryFileSystem):
    """Every lookup raises `error`."""

    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self.error = error

    async def lookup(self, parent: int, name: bytes, caller: Caller) -> NoReturn:
        raise self.error

    def forget(self, inode: int, count: int) -> NoReturn:
        raise self.error


async def fail(error: BaseException) -> tuple[int, Adapter]:
    adapter = Adapter(FailingFileSystem(error))
    with pytest.raises(pyfuse3.FUSEError) as caught:
        await adapter.lookup(ROOT, b"x", CTX)
    return caught.value.errno, adapter


@pytest.mark.parametrize(
    ("error", "number"),
    [(NameMissing("x"), errno.ENOENT), (Sealed("x"), errno.EPERM), (Unreachable("x"), errno.EHOSTUNREACH)],
)
async def test_a_blobfs_error_is_answered_with_its_errno(error: BlobfsError, number: int):
    """The class's errno goes to the caller, and the error is counted under the class's name."""
    answer, adapter = await fail(error)
    assert answer == number
    assert adapter.statistics() == {"lookup": 1, "errors": {type(error).__name__: 1}}


async def test_what_is_not_there_may_be_remembered():
    """An inode of 0 is passed on with its time, and is no error: the kernel need not ask again so soon."""

    class Frozen(MemoryFileSystem):
        async def lookup(self, parent: int, name: bytes, caller: Caller) -> Attributes:
            return Attributes(NO_INODE, 0, 0, 0, 0, 0, 0, 0, 0, 1000.0, 0.0)

    adapter = Adapter(Frozen())
    found = await adapter.lookup(ROOT, b"x", CTX)
    assert (found.st_ino, found.entry_timeout) == (0, 1000.0)
    assert adapter.statistics() == {"lookup": 1, "errors": {}}


async def test_a_group_of_blobfs_errors_is_answered_with_the_first():
    """Nurseries wrap what is raised in them; that changes no answer."""
    group = ExceptionGroup("", [ExceptionGroup("", [Sealed("a")]), NameMissing("b")])
    assert (await fail(group))[0] == errno.EPERM


@pytest.mark.parametrize(
    "error",
    [ZeroDivisionError("x"), OSError(errno.ENOSPC, "x"), ExceptionGroup("", [Sealed("a"), KeyError("b")])],
)
async def test_the_unexpected_is_logged_and_answered_with_eio(
    error: Exception, caplog: pytest.LogCaptureFixture
):
    """Any other exception, an OSError too, is a defect: a traceback in the log, EIO, and life goes on."""
    with caplog.at_level(logging.ERROR):
        answer, adapter = await fail(error)
    assert answer == errno.EIO
    assert adapter.statistics()["errors"] == {"unexpected": 1}
    assert [record.exc_info and record.exc_info[1] for record in caplog.records] == [error]


@pytest.mark.parametrize(
    ("error", "told"), [(Unreachable("x"), Unreachable), (ZeroDivisionError("x"), StoreBroken)]
)
async def test_an_error_is_told_with_its_subject(error: Exception, told: type[BlobfsError]):
    """The file system hears what was answered and to which request; only it knows what that was about."""
    fs = FailingFileSystem(error)
    with pytest.raises(pyfuse3.FUSEError):
        await Adapter(fs).lookup(ROOT, b"x", CTX)
    assert fs.told == [("lookup", (ROOT, b"x"), told)]


async def test_cancellation_passes_untouched():
    """A cancelled operation is no error: nothing is answered, nothing is counted as an error."""

    class Stuck(MemoryFileSystem):
        async def getattr(self, inode: int) -> NoReturn:
            await trio.sleep_forever()
            raise AssertionError

    adapter = Adapter(Stuck())
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(adapter.getattr, ROOT, CTX)
            await trio.testing.wait_all_tasks_blocked()
            scope.cancel()
    assert scope.cancelled_caught
    assert adapter.statistics() == {"getattr": 1, "errors": {}}


async def test_forget_never_raises(caplog: pytest.LogCaptureFixture):
    """It has no answer; what is wrong with one inode does not keep the others from being forgotten."""
    adapter = Adapter(FailingFileSystem(KeyError("x")))
    await adapter.forget([(2, 1), (3, 1)])
    assert adapter.statistics() == {"forget": 2, "errors": {"unexpected": 2}}
    assert len(caplog.records) == 2


async def test_rename_knows_two_flags():
    """EXCHANGE and NOREPLACE are passed on; WHITEOUT is refused before anything is done."""
    fs = MemoryFileSystem()
    adapter = Adapter(fs)
    with pytest.raises(pyfuse3.FUSEError) as caught:
        await adapter.rename(ROOT, b"hello", ROOT, b"new", 4, CTX)
    assert caught.value.errno == errno.EINVAL
    with pytest.raises(pyfuse3.FUSEError) as caught:
        await adapter.rename(ROOT, b"hello", ROOT, b"stuck", pyfuse3.RENAME_NOREPLACE, CTX)
    assert caught.value.errno == errno.EEXIST
    hello = fs.nodes[ROOT].children[b"hello"]
    await adapter.rename(ROOT, b"hello", ROOT, b"stuck", pyfuse3.RENAME_EXCHANGE, CTX)
    assert fs.nodes[ROOT].children[b"stuck"] == hello
    assert adapter.statistics()["errors"] == {"EINVAL": 1, "NameExists": 1}


class Reply:
    """Stands for `pyfuse3.readdir_reply`: takes `room` entries."""

    def __init__(self, room: int) -> None:
        self.room = room
        self.taken: list[tuple[bytes, int]] = []

    def __call__(self, token: object, name: bytes, attr: pyfuse3.EntryAttributes, next_id: int) -> bool:
        if len(self.taken) == self.room:
            return False
        self.taken.append((name, next_id))
        return True


async def list_from(cookie: int, room: int, monkeypatch: pytest.MonkeyPatch) -> tuple[Reply, list[int]]:
    remembered: list[int] = []

    class Three(MemoryFileSystem):
        async def readdir(self, handle: int, cookie: int) -> list[DirEntry]:
            return [DirEntry(b"%d" % n, attributes(n), n) for n in (10, 20, 30) if n > cookie]

        def remember(self, inode: int) -> None:
            remembered.append(inode)

    def attributes(inode: int) -> Attributes:
        return Attributes(inode, 0o100444, 0, 0, 0, 0, 1, 0, 0, 0.0, 0.0)

    reply = Reply(room)
    monkeypatch.setattr(pyfuse3, "readdir_reply", reply)
    await Adapter(Three()).readdir(1, cookie, pyfuse3.ReaddirToken())
    return reply, remembered


async def test_only_what_the_kernel_takes_is_remembered(monkeypatch: pytest.MonkeyPatch):
    """One lookup for each entry taken, none for ``.``, ``..`` and what did not fit."""
    reply, remembered = await list_from(0, 4, monkeypatch)
    assert [name for name, _ in reply.taken] == [b".", b"..", b"10", b"20"]
    assert remembered == [10, 20]


async def test_a_listing_goes_on_after_any_entry(monkeypatch: pytest.MonkeyPatch):
    """From each entry's cookie on come exactly the entries after it."""
    whole, _ = await list_from(0, 9, monkeypatch)
    for position, (_, cookie) in enumerate(whole.taken):
        rest, _ = await list_from(cookie, 9, monkeypatch)
        assert rest.taken == whole.taken[position + 1 :]


async def test_what_was_not_released_can_be_released(caplog: pytest.LogCaptureFixture):
    """Every handle once for every time it was given out, less what the kernel released; errors end there."""
    released: list[int] = []

    class Releasing(MemoryFileSystem):
        async def release(self, handle: int) -> None:
            released.append(handle)
            raise Sealed("x")

    adapter = Adapter(Releasing())
    for inode in (2, 2, 3):
        await adapter.open(inode, 0, CTX)
    with pytest.raises(pyfuse3.FUSEError):
        await adapter.release(2)
    await adapter.release_unsent()
    await adapter.release_unsent()
    assert released == [2, 2, 3]
    assert not caplog.records
