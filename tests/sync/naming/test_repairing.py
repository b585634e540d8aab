"""What is looked over after an unclean end, and what that costs whoever works meanwhile."""

import logging
import threading
from collections.abc import Callable, Iterator
from typing import TypeVar, TypeVarTuple

import pytest
import trio

from blobfs.model import ROOT, Name
from blobfs.record import DirRecord, SymlinkRecord
from blobfs.store import names
from blobfs.store.layout import Layout
from blobfs.store.looking_over import LookBrokenOff, Pace, is_in_order
from blobfs.store.marks import CHECK, remove_mark
from blobfs.store.opening import Store, open_store
from blobfs.sync.disk import DiskThreads
from blobfs.sync.naming import repairing
from blobfs.sync.naming.namespace import Namespace
from blobfs.sync.naming.repairing import BEGIN_AFTER, Repairs
from blobfs.sync.naming.settling import SETTLE_EVERY, settle_changes, settle_now

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

LINK = SymlinkRecord("target", 1, 1)


class NoThreads(DiskThreads):
    """While one works the clock jumps."""

    async def run(self, call: Callable[[*Ts], T], *args: *Ts) -> T:
        return call(*args)


DIRECTORIES = ("a", "b", "c")


def cut(layout: Layout, directory: str) -> None:
    """Its log lacks what a crash kept from it."""
    log = layout.log(Name(directory))
    log.write_bytes(log.read_bytes().partition(b"\n")[0] + b"\n")
    remove_mark(log, CHECK)


def is_cut(layout: Layout, directory: str) -> bool:
    return b"link" not in layout.log(Name(directory)).read_bytes()


@pytest.fixture
def crashed(store: Store) -> Iterator[Store]:
    """Three directories whose logs are cut; it is known that the second one had been changed last."""
    for directory in DIRECTORIES:
        names.make_directory(store, Name(directory), DirRecord(1, 1))
        names.put_symlink(store, Name(f"{directory}/link"), LINK)
        cut(store.layout, directory)
    store.changes.settle(store.changes.take())
    with store.changes.changing(Name("b")):
        store.close(clean=False)
    opened = open_store(store.layout.root)
    yield opened
    opened.close()


async def repair(store: Store) -> Repairs:
    disk = DiskThreads()
    repairs = Repairs(store, disk, Namespace(store, disk))
    await repairs.run()
    return repairs


async def test_only_what_had_changed_is_looked_over(crashed: Store) -> None:
    """However many names there are: the rest is as the last flush left it."""
    repairs = await repair(crashed)
    assert repairs.statistics() == {"done": 1, "looked_over": 1, "repaired": 1}
    assert [is_cut(crashed.layout, directory) for directory in DIRECTORIES] == [True, False, True]
    assert crashed.changes.suspects().directories == ()


async def test_everything_is_looked_over_where_nothing_is_known(crashed: Store) -> None:
    """And then nothing is suspect any more."""
    crashed.changes.suspect_everything()
    repairs = await repair(crashed)
    assert repairs.statistics() == {"done": 1, "looked_over": 4, "repaired": 3}
    assert [is_cut(crashed.layout, directory) for directory in DIRECTORIES] == [False] * 3
    found = crashed.changes.suspects()
    assert (found.directories, found.everything) == ((), False)


async def test_much_that_is_suspect_waits_until_the_start_is_over(
    crashed: Store, monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.testing.MockClock
) -> None:
    """Whoever waits for the mount does not wait for that."""
    monkeypatch.setattr(repairing, "MUCH", 10)
    disk = NoThreads()
    repairs = Repairs(crashed, disk, Namespace(crashed, disk))
    with trio.move_on_after(BEGIN_AFTER / 2):
        await repairs.run()
    assert repairs.statistics() == {"done": 0, "looked_over": 0, "repaired": 0}
    await repairs.run()
    assert repairs.statistics() == {"done": 1, "looked_over": 1, "repaired": 1}


async def test_a_clean_end_leaves_nothing_to_do(store: Store) -> None:
    """Not even a look."""
    repairs = await repair(store)
    assert repairs.statistics() == {"done": 1, "looked_over": 0, "repaired": 0}


async def test_what_is_in_order_is_found_so_without_the_lock(crashed: Store) -> None:
    """Names change meanwhile as ever; the memory keeps what it has."""
    await repair(crashed)
    disk = DiskThreads()
    namespace = Namespace(crashed, disk)
    with crashed.changes.changing(Name("b")):
        pass
    crashed.was_clean = False
    repairs = Repairs(crashed, disk, namespace)
    async with namespace.lock:
        await repairs.run()
    assert repairs.statistics() == {"done": 1, "looked_over": 1, "repaired": 0}


async def test_what_the_disk_refuses_stays_suspect(
    crashed: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """For the next start: this one does not end clean."""
    crashed.layout.changing.chmod(0o700)
    monkeypatch.setattr(crashed.flushes, "_root_fd", -1)
    with caplog.at_level(logging.CRITICAL):
        repairs = await repair(crashed)
    assert not repairs.is_done
    assert crashed.changes.suspects().directories == ("b",)


async def test_a_long_look_ends_when_it_is_cancelled(crashed: Store) -> None:
    """A node that ends does not wait for it."""
    looking = threading.Event()

    class Endless(Pace):
        def count(self, what: str, number: int = 1) -> None:
            looking.set()
            self._ended.wait(60)
            super().count(what, number)

    disk = DiskThreads()
    repairs = Repairs(crashed, disk, Namespace(crashed, disk), Endless)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(repairs.run)
        await trio.to_thread.run_sync(looking.wait)
        nursery.cancel_scope.cancel()
    assert not repairs.is_done
    assert is_cut(crashed.layout, "b")


def test_a_look_says_whether_a_directory_is_in_order(crashed: Store) -> None:
    """And changes nothing; one that was told to end says nothing."""
    assert not is_in_order(crashed, Name("b"), Pace(0))
    assert is_cut(crashed.layout, "b")
    assert is_in_order(crashed, ROOT, Pace(0))
    ended = Pace()
    ended.end()
    with pytest.raises(LookBrokenOff):
        is_in_order(crashed, Name("b"), ended)


async def test_changes_are_settled_after_a_while(
    store: Store, autojump_clock: trio.testing.MockClock
) -> None:
    """With one flush for all of them, and none where nothing changed."""
    names.put_symlink(store, Name("link"), LINK)
    flushes = store.flushes.group_flushes

    with trio.move_on_after(3.5 * SETTLE_EVERY):
        await settle_changes(store, NoThreads())
    assert store.flushes.group_flushes == flushes + 1
    assert store.changes.suspects().directories == ()


async def test_changes_are_not_settled_by_a_flush_that_failed(
    store: Store, autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """They stay suspect until one succeeds; the operator is told."""
    names.put_symlink(store, Name("link"), LINK)
    with pytest.MonkeyPatch.context() as patched, trio.move_on_after(1.5 * SETTLE_EVERY):
        patched.setattr(store.flushes, "_root_fd", -1)
        await settle_changes(store, NoThreads())
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert store.changes.suspects().directories == (ROOT,)
    await settle_now(store, NoThreads())
    assert store.changes.suspects().directories == ()


async def test_what_is_small_is_put_right_before_anybody_looks(crashed: Store) -> None:
    """A name does not mean one thing after a start and another one a moment later."""
    disk = DiskThreads()
    namespace = Namespace(crashed, disk)
    repairs = Repairs(crashed, disk, namespace)
    await repairs.begin()
    assert repairs.statistics() == {"done": 0, "looked_over": 1, "repaired": 1}
    assert not is_cut(crashed.layout, "b")
    await repairs.run()
    assert repairs.statistics() == {"done": 1, "looked_over": 1, "repaired": 1}


async def test_what_is_large_is_read_from_its_records_meanwhile(
    crashed: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until it was looked over, the log counts for nothing."""
    monkeypatch.setattr("blobfs.sync.naming.repairing.AT_ONCE", 10)
    disk = DiskThreads()
    namespace = Namespace(crashed, disk)
    repairs = Repairs(crashed, disk, namespace)
    await repairs.begin()
    assert repairs.looked_over == 0
    assert is_cut(crashed.layout, "b")
    found = await namespace.directory(Name("b"))
    assert found is not None
    assert set(found) == {"link"}
    assert await namespace.entry(Name("b/link")) == found["link"]
    await repairs.run()
    assert not namespace.mending.is_torn(Name("b"))
    assert not is_cut(crashed.layout, "b")
