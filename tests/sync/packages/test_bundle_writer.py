"""The small blobs of a package in one stream: what counts, what is refused, what a failure leaves."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio

from blobfs import errors
from blobfs.bundle import bundle_members
from blobfs.manifest import parse_manifest
from blobfs.model import CHUNK_SIZE
from blobfs.store.opening import Store
from blobfs.sync.packages.bundle_writer import BATCH, BundleWriter
from blobfs.sync.packages.open_transaction import OpenTransaction
from blobfs.sync.service import SyncService
from tests.sync.packages.made import Made, make
from tests.sync.packages.writing import assert_complete, begun, put, put_all, share
from tests.sync.running import ScriptedDisk, content, running, until

FULL = errors.StoreFull("No space left on device")


def stream_of(made: Made) -> bytes:
    return b"".join(made.blobs[member.blob] for member in bundle_members(parse_manifest(made.meta)))


MADE = make({f"{number:02}": content(1_000 + number, number) for number in range(20)})
STREAM = stream_of(MADE)
MEMBERS = bundle_members(parse_manifest(MADE.meta))
MANY = make({f"{number:03}": content(100_000, number) for number in range(BATCH // 100_000 + 20)})
"""More than what is put into the store at a time."""


@asynccontextmanager
async def writing(sync: SyncService, found: OpenTransaction) -> AsyncIterator[BundleWriter]:
    writer = sync.open_bundle_writer(found)
    try:
        yield writer
    finally:
        await writer.close()


def cut(raw: bytes, step: int) -> list[tuple[int, bytes]]:
    return [(start, raw[start : start + step]) for start in range(0, len(raw), step)]


@pytest.mark.parametrize("step", [7, 999, 5_000, CHUNK_SIZE])
async def test_a_whole_stream_is_a_whole_package(store: Store, step: int) -> None:
    """In pieces of whatever size; when the close returns the package is complete."""
    async with running(store) as sync:
        found = await begun(sync, MADE)
        async with writing(sync, found) as writer:
            for offset, piece in cut(STREAM, step):
                assert await writer.write(offset, piece) == len(piece)
            await writer.flush()
            assert_complete(store, MADE)


async def test_a_long_stream_is_put_into_the_store_on_the_way(store: Store) -> None:
    """Not all of it is kept in memory until the close."""
    async with running(store) as sync:
        found = await begun(sync, MANY)
        async with writing(sync, found) as writer:
            stream = stream_of(MANY)
            for offset, piece in cut(stream[: BATCH + 200_000], CHUNK_SIZE):
                await writer.write(offset, piece)
            await until(lambda: len(found.known.missing()) < len(MANY.blobs))
            await writer.write(writer.size, stream[writer.size :])
            await writer.flush()
    assert_complete(store, MANY)


async def test_what_is_here_or_comes_meanwhile_is_passed_over(store: Store) -> None:
    """Its bytes must be there, whatever they are."""
    async with running(store) as sync:
        await share(sync, MADE.blobs[MEMBERS[3].blob], "here")
        found = await begun(sync, MADE)
        assert found.known.missing() == sorted({*MADE.blobs} - {MEMBERS[3].blob})
        async with writing(sync, found) as writer:
            await writer.write(0, STREAM[: MEMBERS[5].offset])
            await put(sync, found, MEMBERS[5].blob, MADE.blobs[MEMBERS[5].blob])
            await writer.write(writer.size, bytes(MEMBERS[5].size) + STREAM[MEMBERS[6].offset :])
            await writer.flush()
    assert_complete(store, MADE)


async def test_wrong_bytes_end_the_stream(store: Store) -> None:
    """At every call from then on; what came before counts, and all can be written one by one."""
    wrong = bytearray(STREAM)
    wrong[MEMBERS[5].offset + 1] ^= 1
    async with running(store) as sync:
        found = await begun(sync, MADE)
        async with writing(sync, found) as writer:
            with pytest.raises(errors.WrongContent, match=MEMBERS[5].blob):
                await writer.write(0, bytes(wrong))
            assert found.known.last_error is not None
            assert found.known.last_error.blob == MEMBERS[5].blob
            with pytest.raises(errors.ShortContent, match=MEMBERS[5].blob):
                await writer.flush()
        assert set(found.known.missing()) == {member.blob for member in MEMBERS[5:]}
        await put_all(sync, found, MADE)
    assert_complete(store, MADE)


async def test_a_stream_that_ends_early(store: Store) -> None:
    """Between two blobs it is in order, within one it is short; what is whole counts."""
    async with running(store) as sync:
        found = await begun(sync, MADE)
        async with writing(sync, found) as writer:
            await writer.write(0, STREAM[: MEMBERS[4].offset])
            await writer.flush()
            assert len(found.known.missing()) == 16
            await writer.write(MEMBERS[4].offset, STREAM[MEMBERS[4].offset : MEMBERS[6].offset + 1])
            with pytest.raises(errors.ShortContent, match=MEMBERS[6].blob):
                await writer.flush()
        assert len(found.known.missing()) == 14


async def test_what_is_no_stream(store: Store) -> None:
    """Written in order, once, to its end and not further; it cannot be read or cut."""
    async with running(store) as sync:
        found = await begun(sync, MADE)
        async with writing(sync, found) as writer:
            with pytest.raises(errors.InvalidArgument):
                await writer.write(5, b"x")
            await writer.truncate(len(STREAM))
            await writer.write(0, STREAM[:10])
            with pytest.raises(errors.InvalidArgument):
                await writer.write(0, STREAM[:10])
            with pytest.raises(errors.InvalidArgument):
                await writer.truncate(0)
            with pytest.raises(errors.WriteOnly):
                await writer.read(0, 1)
            with pytest.raises(errors.ContentTooLong):
                await writer.write(10, STREAM[10:] + b"x")
            await writer.write(10, STREAM[10:])
            await writer.flush()
    assert_complete(store, MADE)


async def test_two_streams_at_once(store: Store) -> None:
    """Both succeed."""

    async def write(sync: SyncService, found: OpenTransaction) -> None:
        async with writing(sync, found) as writer:
            for offset, piece in cut(stream_of(MANY), CHUNK_SIZE):
                await writer.write(offset, piece)
            await writer.flush()

    async with running(store) as sync:
        found = await begun(sync, MANY)
        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(write, sync, found)
    assert_complete(store, MANY)


async def test_a_full_disk_is_said_at_every_call(store: Store) -> None:
    """What it had no room for is missing still; with room it is written through another descriptor."""
    disk = ScriptedDisk()
    async with running(store, disk=disk) as sync:
        found = await begun(sync, MANY)
        stream = stream_of(MANY)
        disk.failing["place_small"] = FULL
        async with writing(sync, found) as writer:
            with pytest.raises(errors.StoreFull):
                await writer.write(0, stream[: BATCH + 200_000])
            disk.failing.clear()
            with pytest.raises(errors.StoreFull):
                await writer.write(writer.size, stream[writer.size :])
            with pytest.raises(errors.StoreFull):
                await writer.flush()
        assert found.known.missing() == sorted(MANY.blobs)
        async with writing(sync, found) as writer:
            await writer.write(0, stream)
            await writer.flush()
    assert_complete(store, MANY)


async def test_a_stream_into_what_was_aborted(store: Store) -> None:
    """ESTALE."""
    async with running(store) as sync:
        found = await begun(sync, MADE)
        async with writing(sync, found) as writer:
            await writer.write(0, STREAM[:5_000])
            await sync.transactions.abort(MADE.package)
            for call in (writer.write(5_000, b"x"), writer.fsync(), writer.flush()):
                with pytest.raises(errors.StaleHandle):
                    await call
