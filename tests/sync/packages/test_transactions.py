"""The life of open transactions: who opens, what is taken, what a disk that refuses does, how they end."""

import time

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from blobfs import errors
from blobfs.manifest import File, render_manifest
from blobfs.model import BlobId
from blobfs.store import packages, sealed
from blobfs.store.opening import Store
from blobfs.sync.packages.open_transaction import OpenTransaction
from blobfs.sync.packages.transactions import RETRY_DELAY
from blobfs.sync.packages.transition import State
from blobfs.sync.service import SyncService
from tests.sync.fake_share import blob_of
from tests.sync.packages.made import Made, make
from tests.sync.packages.writing import assert_complete, begun, put, put_all, share, writing
from tests.sync.running import SETTINGS, ScriptedDisk, content, running, until

A, B, BIG = b"a" * 10, b"b" * 20, content(300_000)
MADE = make({"a": A, "b": B, "big": BIG})
ID_A, ID_B, ID_BIG = blob_of(A), blob_of(B), blob_of(BIG)
FULL = errors.StoreFull("No space left on device")
DAY = SETTINGS.abandoned_after


def opened(store: Store) -> list[BlobId]:
    """On the disk."""
    return [package for package, _ in packages.list_transactions(store)]


class Attempt:
    """A call under way; `failure` is how it ended."""

    def __init__(self) -> None:
        self.is_done = False
        self.failure: errors.BlobfsError | None = None

    async def put(self, sync: SyncService, found: OpenTransaction, blob: BlobId, raw: bytes) -> None:
        try:
            await put(sync, found, blob, raw)
        except errors.BlobfsError as failure:
            self.failure = failure
        self.is_done = True


# Opening


async def test_a_package_is_written_and_complete(store: Store) -> None:
    """Meta blob, content, and at the last one the package is there and its transaction gone."""
    async with running(store) as sync:
        found = await begun(sync, MADE)
        assert opened(store) == [MADE.package]
        await put_all(sync, found, MADE)
        assert_complete(store, MADE)
        assert await sync.transactions.get(MADE.package) is None
        assert sync.transactions.statistics() == {"open": 0, "completed": 1, "aborted": 0, "expired": 0}
        assert repr(sync.arrivals) == "<Arrivals expected=0>"


async def test_of_two_that_open_at_once_one_does(store: Store) -> None:
    """The other one is told that it is open."""
    came: list[OpenTransaction | None] = []
    async with running(store) as sync, trio.open_nursery() as nursery:

        async def open_it() -> None:
            try:
                came.append(await sync.transactions.open(MADE.package))
            except errors.NameExists:
                came.append(None)

        for _ in range(5):
            nursery.start_soon(open_it)
    assert sorted(each is None for each in came) == [False, True, True, True, True]


async def test_a_package_of_which_everything_is_here_is_complete_at_once(store: Store) -> None:
    """It is never seen open, and whoever opens it is told that it is there already; also the second time."""
    async with running(store) as sync:
        for raw in (MADE.meta, A, B, BIG):
            await share(sync, raw, f"names/{len(raw)}")
        for _ in range(2):
            with pytest.raises(errors.NameExists, match="complete"):
                await sync.transactions.open(MADE.package)
            assert_complete(store, MADE)


async def test_what_the_disk_does_not_let_open_is_not_open(store: Store) -> None:
    """Whoever opens it gets the disk's word, and can open it when that is over."""
    disk = ScriptedDisk()
    disk.failing["open_transaction"] = FULL
    async with running(store, disk=disk) as sync:
        with pytest.raises(errors.StoreFull):
            await sync.transactions.open(MADE.package)
        assert not sync.transactions.is_open(MADE.package)
        assert await sync.transactions.get(MADE.package) is None
        disk.failing.clear()
        await put_all(sync, await begun(sync, MADE), MADE)
    assert_complete(store, MADE)


async def test_a_start_finds_what_was_open(store: Store) -> None:
    """With what was written, what is missing, and the time of its last progress."""
    async with running(store) as sync:
        found = await begun(sync, MADE)
        await put(sync, found, ID_A, A)
        progress_ns = found.progress_ns
    async with running(store) as sync:
        (again,) = await sync.transactions.listed()
        assert await sync.transactions.get(MADE.package) is again
        assert again.known.missing() == sorted([ID_B, ID_BIG])
        assert abs(again.progress_ns - progress_ns) < 10**9
        await put_all(sync, again, MADE)
    assert_complete(store, MADE)


# Arrivals


async def test_what_arrives_while_it_is_looked_for_is_taken(store: Store) -> None:
    """The store said that it is not here, and before that is known it comes: it is not overlooked."""
    disk = ScriptedDisk()
    async with running(store, disk=disk) as sync, trio.open_nursery() as nursery:
        found = await sync.transactions.open(MADE.package)
        of_meta = disk.pausing["hold_present"] = trio.Event()
        nursery.start_soon(put, sync, found, MADE.package, MADE.meta)
        await disk.paused.wait()
        disk.paused = trio.Event()
        of_content = disk.pausing["hold_present"] = trio.Event()
        of_meta.set()
        await disk.paused.wait()
        await share(sync, A, "elsewhere")
        assert not found.known.is_missing(ID_A)  # nobody knows yet that it is needed
        of_content.set()
        await until(lambda: found.known.missing() == sorted([ID_B, ID_BIG]))
        await put_all(sync, found, MADE)
    assert_complete(store, MADE)


async def test_one_blob_serves_all_that_need_it(store: Store) -> None:
    """Two packages share it: it is written once, both take it, and the end of one takes nothing away."""
    other = make({"other": A, "b": B})
    async with running(store) as sync:
        first, second = await begun(sync, MADE), await begun(sync, other)
        await put(sync, first, ID_A, A)
        await until(lambda: second.known.missing() == [ID_B])
        await sync.transactions.abort(MADE.package)
        await put(sync, second, ID_B, B)
    assert_complete(store, other)
    assert opened(store) == []


async def test_nested_packages_are_needed_with_all_that_is_in_them(store: Store) -> None:
    """Three deep; one of the meta blobs is here already, and is read when it is found."""
    inner = make({"a": A, "x": b"innermost"})
    middle = make({"y": b"in the middle"}, nested={"inner": inner})
    outer = make({"a": A}, nested={"middle": middle, "again": inner})
    async with running(store) as sync:
        await share(sync, middle.meta, "middle")
        found = await begun(sync, outer)
        missing = {ID_A, inner.package, blob_of(b"in the middle")}
        assert set(found.known.missing()) == missing
        await put(sync, found, inner.package, inner.meta)
        assert set(found.known.missing()) == {*missing, blob_of(b"innermost")} - {inner.package}
        await put_all(sync, found, outer)
    assert_complete(store, outer)


async def test_a_blob_that_has_left_before_it_was_taken_is_said_so(store: Store) -> None:
    """Whoever waits for it does not wait for ever."""
    async with running(store) as sync:
        found = await begun(sync, MADE)
        found.arrived(ID_A)
        with pytest.raises(errors.StoreBroken, match="not any more"):
            await found.wait_taken(ID_A)
        assert found.known.is_missing(ID_A)
        await put_all(sync, found, MADE)
    assert_complete(store, MADE)


# What cannot be used


async def test_a_meta_blob_that_is_no_manifest_fails_the_transaction(store: Store) -> None:
    """Its writer is told, the state says why, and all that is left to do is to abort it."""
    made = Made(blob_of(b"no manifest"), b"no manifest", {})
    async with running(store) as sync:
        found = await sync.transactions.open(made.package)
        with pytest.raises(errors.WrongContent, match="line 1: not #mtree"):
            await put(sync, found, made.package, made.meta)
        assert found.known.summary.startswith("failed: ")
        with pytest.raises(errors.NameExists):
            await sync.transactions.open(made.package)
        await sync.transactions.abort(made.package)
        await until(lambda: sync.sealer.statistics()["unconfirmed"] == 0, sync.sealer.hurry)
    assert opened(store) == []


async def test_a_nested_meta_blob_that_is_no_manifest_fails_it_too(store: Store) -> None:
    """Of whichever package it is; those who write content are not told, for theirs is right."""
    bad = Made(blob_of(b"no manifest"), b"no manifest", {})
    outer = make({"a": A}, nested={"bad": bad})
    async with running(store) as sync:
        found = await begun(sync, outer)
        with pytest.raises(errors.WrongContent, match=bad.package):
            await put(sync, found, bad.package, bad.meta)
        assert found.state is State.FAILED
        await put(sync, found, ID_A, A)
        assert bad.package in found.known.summary


async def test_a_manifest_that_is_wrong_about_what_is_here(store: Store) -> None:
    """The size it gives a blob is not the one that blob has: nobody can mend that."""
    meta = render_manifest([File(b"a", 0o644, len(A) + 1, 0, ID_A)])
    lying = Made(blob_of(meta), meta, {})
    async with running(store) as sync:
        await share(sync, A, "a")
        found = await sync.transactions.open(lying.package)
        with pytest.raises(errors.WrongContent, match=f"{ID_A} cannot be used"):
            await put(sync, found, lying.package, meta)
        assert found.state is State.FAILED


# A disk that refuses


async def test_a_package_that_could_not_be_completed_is_completed_later(
    store: Store, mock_clock: MockClock
) -> None:
    """Whoever wrote the last blob gets the disk's word; it is tried again, and nothing is written twice."""
    disk = ScriptedDisk()
    async with running(store, disk=disk) as sync:
        found = await begun(sync, MADE)
        await put(sync, found, ID_A, A)
        await put(sync, found, ID_BIG, BIG)
        disk.failing["complete_transaction"] = FULL
        with pytest.raises(errors.StoreFull):
            await put(sync, found, ID_B, B)
        assert found.known.summary == "need-blobs 0 of 3"
        assert found.known.last_error is not None
        assert found.known.last_error.status == "OUT_OF_SPACE"
        mock_clock.jump(RETRY_DELAY)
        await wait_all_tasks_blocked(0.01)
        assert sync.transactions.is_open(MADE.package)
        disk.failing.clear()
        await until(lambda: not sync.transactions.is_open(MADE.package), lambda: mock_clock.jump(RETRY_DELAY))
    assert_complete(store, MADE)


async def test_with_room_again_a_writer_is_not_told_of_the_past(store: Store, mock_clock: MockClock) -> None:
    """What the disk refused before a blob arrived is not that blob's: it is tried anew for it, at once."""
    disk = ScriptedDisk()
    async with running(store, disk=disk) as sync:
        found = await begun(sync, MADE)
        disk.failing["hold_present"] = FULL
        with pytest.raises(errors.StoreFull):
            await put(sync, found, ID_A, A)
        assert found.known.missing() == sorted([ID_A, ID_B, ID_BIG])
        disk.failing.clear()
        await put(sync, found, ID_B, B)
        assert found.known.missing() == [ID_BIG]
        await put(sync, found, ID_BIG, BIG)
    assert_complete(store, MADE)


async def test_a_defect_ends_the_waiting_and_not_the_node(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    """P3, P8: EIO for whoever waits and for whoever comes; aborted it can be opened anew."""
    disk = ScriptedDisk()
    async with running(store, disk=disk) as sync, trio.open_nursery() as nursery:
        found = await begun(sync, MADE)
        resume = disk.pausing["hold_present"] = trio.Event()
        one, two = Attempt(), Attempt()
        nursery.start_soon(one.put, sync, found, ID_A, A)
        await disk.paused.wait()
        disk.failing["hold_present"] = ZeroDivisionError("a defect")
        nursery.start_soon(two.put, sync, found, ID_B, B)
        await until(lambda: sealed.has(store, ID_B))
        resume.set()
        await until(lambda: two.is_done)
        assert isinstance(two.failure, errors.StoreBroken)
        assert found.state is State.FAILED
        assert found.known.last_error is not None
        assert found.known.last_error.status == "INTERNAL"
        with pytest.raises(errors.StoreBroken):
            await put(sync, found, ID_BIG, BIG)
        disk.failing.clear()
        await sync.transactions.abort(MADE.package)
        await put_all(sync, await begun(sync, MADE), MADE)
    assert "ZeroDivisionError: a defect" in caplog.text
    assert_complete(store, MADE)


# Ends


async def test_what_opens_while_it_is_aborted_is_a_new_one(store: Store) -> None:
    """It waits for the end of the old one, of which nothing is left then."""
    disk = ScriptedDisk()
    came: list[OpenTransaction] = []
    async with running(store, disk=disk) as sync, trio.open_nursery() as nursery:
        old = await begun(sync, MADE)
        await put(sync, old, ID_A, A)
        resume = disk.pausing["abort_transaction"] = trio.Event()
        nursery.start_soon(sync.transactions.abort, MADE.package)
        await disk.paused.wait()

        async def open_it() -> None:
            came.append(await sync.transactions.open(MADE.package))

        nursery.start_soon(open_it)
        await wait_all_tasks_blocked(0.01)
        assert came == []
        assert await sync.transactions.get(MADE.package) is None
        resume.set()
        await until(lambda: came != [])
        assert came[0] is not old
        assert came[0].known.is_missing(MADE.package) or came[0].known.is_missing(ID_A)
        with pytest.raises(errors.StaleHandle):
            await put(sync, old, ID_B, B)
    assert opened(store) == [MADE.package]


async def test_what_is_being_completed_cannot_be_aborted(store: Store) -> None:
    """The abort waits for that, and then finds no transaction."""
    disk = ScriptedDisk()
    failures: list[errors.BlobfsError] = []
    async with running(store, disk=disk) as sync, trio.open_nursery() as nursery:
        found = await begun(sync, MADE)
        await put(sync, found, ID_A, A)
        await put(sync, found, ID_BIG, BIG)
        resume = disk.pausing["complete_transaction"] = trio.Event()
        nursery.start_soon(put, sync, found, ID_B, B)
        await disk.paused.wait()

        async def abort() -> None:
            try:
                await sync.transactions.abort(MADE.package)
            except errors.BlobfsError as failure:
                failures.append(failure)

        nursery.start_soon(abort)
        await wait_all_tasks_blocked(0.01)
        resume.set()
        await until(lambda: failures != [])
    assert isinstance(failures[0], errors.NameMissing)
    assert_complete(store, MADE)


@pytest.mark.parametrize(("blob", "raw", "step"), [(ID_A, A, "place_small"), (ID_BIG, BIG, "mark")])
async def test_whoever_waits_for_an_aborted_transaction_is_told(
    store: Store, blob: BlobId, raw: bytes, step: str
) -> None:
    """ECANCELED for the call that waits, ESTALE for all others of its descriptor; what it wrote goes."""
    disk = ScriptedDisk()
    async with running(store, disk=disk) as sync, trio.open_nursery() as nursery:
        found = await begun(sync, MADE)
        resume = disk.pausing[step] = trio.Event()
        async with writing(sync, found, blob) as writer:
            failed: list[errors.BlobfsError] = []

            async def write() -> None:
                try:
                    await writer.write(0, raw)
                except errors.BlobfsError as failure:
                    failed.append(failure)

            nursery.start_soon(write)
            await disk.paused.wait()
            await sync.transactions.abort(MADE.package)
            await until(lambda: failed != [])
            assert isinstance(failed[0], errors.TransactionAborted)
            resume.set()
            for call in (writer.write(0, raw), writer.truncate(1), writer.fsync(), writer.flush()):
                with pytest.raises(errors.StaleHandle):
                    await call
            with pytest.raises(errors.StaleHandle):
                await writer.read(0, 1)
        await sync.sealer.settle()
        await until(lambda: sealed.list_blobs(store) == [])
    assert opened(store) == []
    assert list(store.layout.incoming.iterdir()) == []


async def test_what_is_written_while_it_is_aborted_leaves_nothing(store: Store) -> None:
    """Small blobs gather; those that come to their turn after the end are for nobody."""
    disk = ScriptedDisk()
    async with running(store, disk=disk) as sync, trio.open_nursery() as nursery:
        found = await begun(sync, MADE)
        resume = disk.pausing["place_small"] = trio.Event()
        first, second = Attempt(), Attempt()
        nursery.start_soon(first.put, sync, found, ID_A, A)
        await disk.paused.wait()
        nursery.start_soon(second.put, sync, found, ID_B, B)
        await wait_all_tasks_blocked(0.01)
        await sync.transactions.abort(MADE.package)
        resume.set()
        await until(lambda: first.is_done and second.is_done)
        assert isinstance(first.failure, errors.TransactionAborted)
        assert isinstance(second.failure, errors.TransactionAborted)
        await until(lambda: repr(sync._small_writes) == "<SmallWrites gathering=0>")
        await sync.sealer.settle()
        await until(lambda: sealed.list_blobs(store) == [])
    assert list(store.layout.incoming.iterdir()) == []


async def test_what_nobody_gets_on_with_expires(store: Store) -> None:
    """A day after the last blob was taken, not before, and not while somebody writes."""
    async with running(store) as sync:
        found = await begun(sync, MADE)
        now = time.time_ns()
        await sync.transactions.expire(now + int((DAY - 60) * 1e9))
        assert sync.transactions.is_open(MADE.package)
        late = now + int((DAY + 60) * 1e9)
        async with writing(sync, found, ID_A):
            await sync.transactions.expire(late)
            assert sync.transactions.is_open(MADE.package)
        found.progress_ns += int(120 * 1e9)
        await sync.transactions.expire(late)
        assert sync.transactions.is_open(MADE.package)
        found.progress_ns -= int(120 * 1e9)
        await sync.transactions.expire(late)
        assert not sync.transactions.is_open(MADE.package)
        assert sync.transactions.statistics()["expired"] == 1
        await sync.sealer.settle()
    assert opened(store) == []
    assert sealed.list_blobs(store) == []


async def test_what_becomes_complete_does_not_expire(store: Store) -> None:
    """Its last blob comes at the last moment."""
    disk = ScriptedDisk()
    async with running(store, disk=disk) as sync, trio.open_nursery() as nursery:
        found = await begun(sync, MADE)
        await put(sync, found, ID_A, A)
        await put(sync, found, ID_BIG, BIG)
        resume = disk.pausing["complete_transaction"] = trio.Event()
        await share(sync, B, "elsewhere")
        await disk.paused.wait()
        nursery.start_soon(sync.transactions.expire, time.time_ns() + int(2 * DAY * 1e9))
        await wait_all_tasks_blocked(0.01)
        resume.set()
        await until(lambda: not sync.transactions.is_open(MADE.package))
        await wait_all_tasks_blocked(0.01)
        assert sync.transactions.statistics() == {"open": 0, "completed": 1, "aborted": 0, "expired": 0}
    assert_complete(store, MADE)


async def test_nobody_expects_anything_of_what_has_ended(store: Store) -> None:
    """Also where a blob was needed twice: as a file, and as the meta blob of a nested package."""
    inner = make({"a": A})
    outer = make({"as-file": inner.meta, "b": B}, nested={"z": make({"c": b"c"}, nested={"inner": inner})})
    async with running(store) as sync:
        found = await begun(sync, outer)
        await put_all(sync, found, outer)
        assert_complete(store, outer)
        await begun(sync, MADE)
        await sync.transactions.abort(MADE.package)
        assert repr(sync.arrivals) == "<Arrivals expected=0>"
