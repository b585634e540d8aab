"""One descriptor that writes a needed blob: when it counts as written, and what it is told."""

import random

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from blobfs import errors
from blobfs.bundle import BUNDLED_UP_TO
from blobfs.manifest import MAX_MANIFEST_BYTES
from blobfs.model import EMPTY_BLOB, LEAF_SIZE, BlobId
from blobfs.store import sealed
from blobfs.store.opening import Store
from blobfs.store.packages import is_complete
from blobfs.sync.packages.open_transaction import OpenTransaction
from blobfs.sync.packages.transaction import LastError
from blobfs.sync.service import SyncService
from tests.sync.fake_share import blob_of
from tests.sync.packages.made import Made, make
from tests.sync.packages.writing import assert_complete, begun, put, put_all, writing
from tests.sync.running import ScriptedDisk, content, running, until

SMALL, BIG = content(20_000), content(BUNDLED_UP_TO + 70_000)
MADE = make({"small": SMALL, "big": BIG})
CONTENT = [SMALL, BIG]
"""One that is kept in memory until it is whole, and one that is not."""
FULL = errors.StoreFull("No space left on device")


def bad(raw: bytes) -> bytes:
    """The same with one wrong bit."""
    return raw[:-1] + bytes([raw[-1] ^ 1])


# When it is written


@pytest.mark.parametrize("raw", CONTENT)
async def test_the_write_that_completes_it_is_the_end(store: Store, raw: bytes) -> None:
    """Its size is known: when the last byte is written the blob is here, before any close."""
    async with running(store) as sync:
        found = await begun(sync, MADE)
        async with writing(sync, found, blob_of(raw)) as writer:
            await writer.write(0, raw[:5_000])
            assert await writer.read(100, 200) == raw[100:300]
            assert found.known.is_missing(blob_of(raw))
            await writer.write(5_000, raw[5_000:])
            assert not found.known.is_missing(blob_of(raw))
            assert sealed.has(store, blob_of(raw))
            await writer.flush()


async def test_the_last_write_returns_when_the_package_is_complete(store: Store) -> None:
    """Whoever has written everything need not ask."""
    async with running(store) as sync:
        found = await begun(sync, MADE)
        await put(sync, found, blob_of(BIG), BIG)
        async with writing(sync, found, blob_of(SMALL)) as writer:
            await writer.write(0, SMALL)
            assert is_complete(store, MADE.package)


@pytest.mark.parametrize("how", ["declared", "fsync", "flush"])
async def test_a_meta_blob_s_size_is_not_known(store: Store, how: str) -> None:
    """It is written at the write that completes a declared size, at fsync, or at the close."""
    async with running(store) as sync:
        found = await sync.transactions.open(MADE.package)
        async with writing(sync, found, MADE.package) as writer:
            if how == "declared":
                await writer.truncate(len(MADE.meta))
            await writer.write(0, MADE.meta)
            assert found.known.is_missing(MADE.package) is (how != "declared")
            await (writer.flush() if how == "flush" else writer.fsync())
            assert not found.known.is_missing(MADE.package)


def pieces(size: int, step: int) -> list[tuple[int, int]]:
    return [(start, min(start + step, size)) for start in range(0, size, step)]


@pytest.mark.parametrize("raw", CONTENT)
@pytest.mark.parametrize("step", [999, LEAF_SIZE, 50_000])
@pytest.mark.parametrize("order", ["forwards", "backwards", "random", "overlapping"])
@pytest.mark.parametrize("declared", [False, True])
async def test_any_order_of_writes(store: Store, raw: bytes, step: int, order: str, declared: bool) -> None:
    """What counts is what it is in the end."""
    cuts = pieces(len(raw), step)
    if order == "backwards":
        cuts.reverse()
    elif order == "random":
        random.Random(step).shuffle(cuts)
    elif order == "overlapping":
        cuts = [(max(0, start - 77), end) for start, end in cuts]
    async with running(store) as sync:
        found = await begun(sync, MADE)
        async with writing(sync, found, blob_of(raw)) as writer:
            if declared:
                await writer.truncate(len(raw))
            for start, end in cuts:
                await writer.write(start, raw[start:end])
            await writer.flush()
        assert not found.known.is_missing(blob_of(raw))
        assert sealed.read_blob(store, blob_of(raw)) == raw


@pytest.mark.parametrize("size", [0, 1, LEAF_SIZE, LEAF_SIZE + 1, BUNDLED_UP_TO, BUNDLED_UP_TO + 1])
async def test_sizes_around_every_limit(store: Store, size: int) -> None:
    """The empty blob is written by closing it."""
    raw = content(size)
    made = make({"file": raw})
    async with running(store) as sync:
        found = await begun(sync, made)
        await put_all(sync, found, made)
    assert_complete(store, made)


async def test_a_hole_is_zeros(store: Store) -> None:
    """As `cp --sparse=always` leaves it: nothing of it was written."""
    raw = bytes(BUNDLED_UP_TO * 2) + b"end"
    made = make({"sparse": raw})
    async with running(store) as sync:
        found = await begun(sync, made)
        async with writing(sync, found, blob_of(raw)) as writer:
            await writer.write(len(raw) - 3, b"end")
            await writer.flush()
    assert_complete(store, made)


# What is refused


@pytest.mark.parametrize("raw", CONTENT)
async def test_wrong_bytes_are_refused_and_can_be_overwritten(store: Store, raw: bytes) -> None:
    """There and then, and at every call until they are right; the blob stays missing meanwhile."""
    blob = blob_of(raw)
    async with running(store) as sync:
        found = await begun(sync, MADE)
        async with writing(sync, found, blob) as writer:
            for call in (writer.write(0, bad(raw)), writer.fsync(), writer.flush()):
                with pytest.raises(errors.WrongContent, match=blob):
                    await call
                assert found.known.is_missing(blob)
            assert not sealed.has(store, blob_of(bad(raw)))
            assert found.known.last_error is not None
            assert found.known.last_error.status == "NOT_WRITTEN"
            await writer.write(len(raw) - 1, raw[-1:])
        assert not found.known.is_missing(blob)


@pytest.mark.parametrize("raw", CONTENT)
async def test_what_is_short_can_be_completed(store: Store, raw: bytes) -> None:
    """An fsync or close of a part says so; the rest may follow."""
    async with running(store) as sync:
        found = await begun(sync, MADE)
        async with writing(sync, found, blob_of(raw)) as writer:
            await writer.write(0, raw[:-10])
            for call in (writer.fsync(), writer.flush()):
                with pytest.raises(errors.ShortContent, match=f"{len(raw) - 10} of the {len(raw)} bytes"):
                    await call
            await writer.write(len(raw) - 10, raw[-10:])
        assert not found.known.is_missing(blob_of(raw))


@pytest.mark.parametrize("raw", CONTENT)
async def test_what_is_too_long_is_refused_and_changes_nothing(store: Store, raw: bytes) -> None:
    """Not a byte of such a write is kept."""
    async with running(store) as sync:
        found = await begun(sync, MADE)
        async with writing(sync, found, blob_of(raw)) as writer:
            await writer.write(0, raw[:-1])
            for call in (writer.write(len(raw) - 1, b"xx"), writer.truncate(len(raw) + 1)):
                with pytest.raises(errors.ContentTooLong):
                    await call
            await writer.write(len(raw) - 1, raw[-1:])
        assert not found.known.is_missing(blob_of(raw))


async def test_a_meta_blob_has_a_limit_too(store: Store) -> None:
    """Of what a manifest may have."""
    async with running(store) as sync:
        found = await sync.transactions.open(MADE.package)
        async with writing(sync, found, MADE.package) as writer:
            with pytest.raises(errors.ContentTooLong):
                await writer.write(MAX_MANIFEST_BYTES, b"x")


async def test_a_close_before_anything_was_written_says_nothing(store: Store) -> None:
    """Also of a meta blob; what is written after that counts."""
    async with running(store) as sync:
        found = await sync.transactions.open(MADE.package)
        async with writing(sync, found, MADE.package) as writer:
            await writer.flush()
            assert found.known.last_error is None
            await writer.write(0, MADE.meta)
            await writer.flush()
        async with writing(sync, found, blob_of(SMALL)) as writer:
            await writer.flush()
        assert found.known.last_error is None
        assert found.known.is_missing(blob_of(SMALL))


async def test_a_close_after_everything_was_cut_is_short(store: Store) -> None:
    """`cp` of an empty file onto a blob that is not empty must not look like success."""
    async with running(store) as sync:
        found = await begun(sync, MADE)
        async with writing(sync, found, blob_of(SMALL)) as writer:
            await writer.truncate(0)
            with pytest.raises(errors.ShortContent):
                await writer.flush()


@pytest.mark.parametrize("raw", CONTENT)
async def test_what_is_closed_unfinished_leaves_nothing(store: Store, raw: bytes) -> None:
    """The blob stays missing, and is written anew from its beginning."""
    async with running(store) as sync:
        found = await begun(sync, MADE)
        await sync.sealer.settle()
        async with writing(sync, found, blob_of(raw)) as writer:
            await writer.write(0, raw[:-1])
        assert list(store.layout.incoming.iterdir()) == []
        assert found.writers == 0
        await put(sync, found, blob_of(raw), raw)
        assert not found.known.is_missing(blob_of(raw))


# Several writers


@pytest.mark.parametrize("raw", CONTENT)
async def test_of_two_writers_the_first_wins_and_the_other_sees_success(store: Store, raw: bytes) -> None:
    """Whatever the other one still writes: there is nothing left to do."""
    async with running(store) as sync:
        found = await begun(sync, MADE)
        async with writing(sync, found, blob_of(raw)) as one, writing(sync, found, blob_of(raw)) as two:
            await one.write(0, bad(raw)[:-5])
            await two.write(0, raw)
            await one.write(0, b"whatever")
            await one.truncate(3)
            await one.fsync()
            await one.flush()
        assert found.known.last_error is None
        assert sealed.read_blob(store, blob_of(raw)) == raw


@pytest.mark.parametrize("raw", CONTENT)
async def test_many_writers_of_one_blob(store: Store, raw: bytes) -> None:
    """All at once, all to the end: all succeed."""
    async with running(store) as sync:
        found = await begun(sync, MADE)
        async with trio.open_nursery() as nursery:
            for _ in range(20):
                nursery.start_soon(put, sync, found, blob_of(raw), raw)
        assert not found.known.is_missing(blob_of(raw))
        await put_all(sync, found, MADE)
        await sync.sealer.settle()
    assert_complete(store, MADE)
    assert list(store.layout.incoming.iterdir()) == []


async def test_an_fsync_and_a_close_at_once_seal_once(store: Store) -> None:
    """From two threads on one descriptor."""
    disk = ScriptedDisk()
    raw = content(BUNDLED_UP_TO + 1)
    meta = make({"big": raw}).meta
    made = Made(blob_of(meta), meta, {blob_of(raw): raw})
    async with running(store, disk=disk) as sync:
        found = await sync.transactions.open(made.package)
        async with writing(sync, found, made.package) as writer, trio.open_nursery() as nursery:
            await writer.write(0, made.meta)
            resume = disk.pausing["finish"] = trio.Event()
            nursery.start_soon(writer.fsync)
            await disk.paused.wait()
            nursery.start_soon(writer.flush)
            nursery.start_soon(writer.fsync)
            await wait_all_tasks_blocked(0.01)
            resume.set()
        assert sync.sealer.sealed == 1
        assert sync.sealer.statistics()["failed"] == 0


# Disk, abort, signals


@pytest.mark.parametrize(("raw", "step"), [(SMALL, "place_small"), (BIG, "mark"), (BIG, "_place")])
async def test_a_full_disk_is_told_and_the_blob_can_be_written_again(
    store: Store, raw: bytes, step: str
) -> None:
    """With room again, through another descriptor; nothing of the first one stays."""
    disk = ScriptedDisk()
    async with running(store, disk=disk) as sync:
        found = await begun(sync, MADE)
        await sync.sealer.settle()
        disk.failing[step] = FULL
        async with writing(sync, found, blob_of(raw)) as writer:
            with pytest.raises(errors.StoreFull):
                await writer.write(0, raw)
        assert found.known.is_missing(blob_of(raw))
        assert found.known.last_error == LastError("OUT_OF_SPACE", FULL.errno, blob_of(raw), str(FULL))
        assert list(store.layout.incoming.iterdir()) == []
        disk.failing.clear()
        await put_all(sync, found, MADE)
    assert_complete(store, MADE)


async def test_a_close_after_a_write_that_failed_says_why(store: Store) -> None:
    """ENOSPC, and not that something is missing, until a write has succeeded again."""
    disk = ScriptedDisk()
    blob = blob_of(BIG)
    async with running(store, disk=disk) as sync:
        found = await begun(sync, MADE)
        async with writing(sync, found, blob) as writer:
            await writer.write(0, BIG[:1000])
            disk.failing["write"] = FULL
            for call in (writer.write(1000, BIG[1000:]), writer.fsync(), writer.flush()):
                with pytest.raises(errors.StoreFull):
                    await call
            assert found.known.last_error == LastError("OUT_OF_SPACE", FULL.errno, blob, str(FULL))
            disk.failing.clear()
            await writer.write(1000, BIG[1000:2000])
            with pytest.raises(errors.ShortContent):
                await writer.flush()
            await writer.write(2000, BIG[2000:])
        assert not found.known.is_missing(blob)


async def test_a_defect_in_placing_ends_nothing_but_that_write(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    """P8: its writer gets EIO, and the next one is served."""
    disk = ScriptedDisk()
    async with running(store, disk=disk) as sync:
        found = await begun(sync, MADE)
        disk.failing["place_small"] = ZeroDivisionError("a defect")
        with pytest.raises(errors.StoreBroken):
            await put(sync, found, blob_of(SMALL), SMALL)
        disk.failing.clear()
        await put_all(sync, found, MADE)
    assert "ZeroDivisionError: a defect" in caplog.text
    assert_complete(store, MADE)


async def test_an_abort_while_it_is_hashed_seals_nothing(store: Store) -> None:
    """Whoever wrote it is told of the abort."""
    disk = ScriptedDisk()
    async with running(store, disk=disk) as sync, trio.open_nursery() as nursery:
        found = await begun(sync, MADE)
        sealed_before = sync.sealer.sealed
        async with writing(sync, found, blob_of(BIG)) as writer:
            resume = disk.pausing["finish"] = trio.Event()
            told = trio.Event()

            async def write() -> None:
                with pytest.raises(errors.TransactionAborted):
                    await writer.write(0, BIG)
                told.set()

            nursery.start_soon(write)
            await disk.paused.wait()
            await sync.transactions.abort(MADE.package)
            resume.set()
            await told.wait()
        assert sync.sealer.sealed == sealed_before


@pytest.mark.parametrize(("raw", "step"), [(SMALL, "place_small"), (BIG, "mark")])
async def test_who_is_killed_while_it_waits_has_written_it(store: Store, raw: bytes, step: str) -> None:
    """Its bytes were complete and right: they are taken all the same."""
    disk = ScriptedDisk()
    async with running(store, disk=disk) as sync:
        found = await begun(sync, MADE)
        resume = disk.pausing[step] = trio.Event()
        await killed_in_write(sync, disk, found, blob_of(raw), raw)
        resume.set()
        await until(lambda: not found.known.is_missing(blob_of(raw)))
        await put_all(sync, found, MADE)
    assert_complete(store, MADE)


async def killed_in_write(
    sync: SyncService, disk: ScriptedDisk, found: OpenTransaction, blob: BlobId, raw: bytes
) -> None:
    async with trio.open_nursery() as nursery:

        async def write() -> None:
            async with writing(sync, found, blob) as writer:
                await writer.write(0, raw)

        nursery.start_soon(write)
        await disk.paused.wait()
        nursery.cancel_scope.cancel()


async def test_the_empty_blob_is_a_blob(store: Store) -> None:
    """Short of nothing: an fsync of nothing is its content."""
    made = make({"empty": b"", "small": SMALL})
    async with running(store) as sync:
        found = await begun(sync, made)
        async with writing(sync, found, EMPTY_BLOB) as writer:
            await writer.fsync()
        assert found.known.missing() == [blob_of(SMALL)]
