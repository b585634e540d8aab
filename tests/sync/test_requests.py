"""Loading when all goes well: what is asked for, and how often."""

from dataclasses import replace

import pytest
import trio

from blobfs import errors
from blobfs.model import CHUNK_SIZE, EMPTY_BLOB, LEAF_SIZE, Name
from blobfs.store.names import LocalName
from blobfs.store.opening import Store
from blobfs.sync.loading.fetch import BATCH
from blobfs.sync.loading.window import WHOLE_BELOW
from tests.sync.fake_share import FakeShare
from tests.sync.running import (
    SETTINGS,
    content,
    is_kept,
    kept,
    open_named,
    running,
    until,
)
from tests.sync.samples import BLOB, RAW, chunk, covered, part, shares


async def test_many_readers_of_one_missing_chunk_cause_one_request(store: Store) -> None:
    """P7: whoever comes while it is on its way waits for the same bytes."""
    share, _ = shares(blob="g")
    got: list[bytes] = []
    async with running(store, share) as sync, trio.open_nursery() as nursery:

        async def read() -> None:
            reader = await sync.loads.open(BLOB, len(RAW), None, None)
            got.append(bytes(await reader.read(*chunk(3))))
            reader.close()

        for _ in range(20):
            nursery.start_soon(read)
        await share.waiting.wait()
        await until(lambda: sync.loads.load_of(BLOB).readers == 20)  # type: ignore[union-attr]
        share.gate.set()
    assert got == [part(3)] * 20
    assert share.ranges() == [chunk(3)]
    assert share.counts()["tree"] == 1


async def test_overlapping_reads_ask_for_each_chunk_once(store: Store) -> None:
    """A chunk is on its way for one reader at a time, whatever ranges are read."""
    share, _ = shares(blob="g")
    async with running(store, share) as sync:
        reader = await sync.loads.open(BLOB, len(RAW), None, None)
        async with trio.open_nursery() as nursery:
            for first in (2, 4, 0, 3, 9):
                nursery.start_soon(reader.read, *chunk(first, 4))
            await share.waiting.wait()
            share.gate.set()
        reader.close()
    asked = [number for start, length in share.ranges() for number in covered(start, length)]
    assert sorted(asked) == [*range(8), *range(9, 13)]


async def test_a_small_blob_is_one_request(store: Store) -> None:
    """Up to WHOLE_BELOW a blob comes as a whole, whatever part of it is read: round trips cost more."""
    raw = content(WHOLE_BELOW, seed=5)
    share = FakeShare()
    blob = share.add_blob(raw)
    async with running(store, share) as sync:
        reader = await sync.loads.open(blob, len(raw), None, None)
        assert await reader.read(WHOLE_BELOW // 2, 10) == raw[WHOLE_BELOW // 2 :][:10]
        assert await reader.read(0, len(raw)) == raw
        reader.close()
    assert share.ranges() == [(0, WHOLE_BELOW)]
    assert share.counts() == {"tree": 1, "blob": 1}


@pytest.mark.parametrize("size", [1, LEAF_SIZE - 1, LEAF_SIZE])
async def test_a_blob_of_one_leaf_is_one_request_in_all(store: Store, size: int) -> None:
    """It has no tree, and its size is in its record."""
    share = FakeShare()
    blob = share.add_blob(content(size))
    async with running(store, share) as sync:
        reader = await sync.loads.open(blob, size, None, None)
        assert await reader.read(0, size + 100) == content(size)
        reader.close()
    assert share.counts() == {"blob": 1}


async def test_the_empty_blob_is_here_without_a_request(store: Store) -> None:
    """There is nothing to ask for; its name is shared in turn all the same."""
    share = FakeShare()
    record = share.publish("empty", b"")
    async with running(store, share) as sync:
        reader = await open_named(sync, "empty", record)
        assert await reader.read(0, 100) == b""
        reader.close()
        await kept(sync)
        entry = await sync.namespace.entry(Name("empty"))
    assert entry == LocalName(record, loaded=True)
    assert is_kept(store, EMPTY_BLOB, b"")
    assert share.asked == []


async def test_a_record_that_gives_another_blob_no_bytes_is_wrong(store: Store) -> None:
    """Only the empty blob's id stands for no bytes."""
    async with running(store, FakeShare()) as sync:
        with pytest.raises(errors.WrongEverywhere):
            await sync.loads.open(BLOB, 0, None, None)


async def test_reading_ahead_stays_within_its_limits(store: Store) -> None:
    """A sequential reader has at most `spans_per_share` requests under way and gets each chunk once."""
    share, _ = shares()
    settings = replace(SETTINGS, span_size=2 * CHUNK_SIZE, spans_per_share=2, read_ahead=6 * CHUNK_SIZE)
    async with running(store, share, settings=settings) as sync:
        reader = await sync.loads.open(BLOB, len(RAW), None, None)
        got = b"".join([await reader.read(offset, 65536) for offset in range(0, len(RAW), 65536)])
        reader.close()
    assert got == RAW
    assert sum(length for _, length in share.ranges()) == len(RAW)
    assert all(length <= 2 * CHUNK_SIZE for _, length in share.ranges())
    assert share.most_in_flight <= 3  # two that run ahead, and one that a reader waits for


async def test_a_random_reader_loads_only_what_it_reads(store: Store) -> None:
    """No request for bytes that nobody asked for."""
    share, _ = shares()
    async with running(store, share) as sync:
        reader = await sync.loads.open(BLOB, len(RAW), None, None)
        for number in (17, 2, 11):
            assert await reader.read(number * CHUNK_SIZE + 5, 10) == part(number)[5:15]
        reader.close()
    assert share.ranges() == [chunk(17), chunk(2), chunk(11)]


async def test_one_span_holds_little_memory(store: Store) -> None:
    """What has arrived but is not on the disk yet is a batch at most, however long the span is."""
    raw = content(8 << 20, seed=8)
    share = FakeShare()
    blob = share.add_blob(raw)
    most = 0
    async with running(store, share) as sync:
        reader = await sync.loads.open(blob, len(raw), None, None)
        load = sync.loads.load_of(blob)
        assert load is not None

        def note() -> None:
            nonlocal most
            most = max(most, share.received - load.partial.present_bytes)

        share.on_piece = note
        assert await reader.read(0, len(raw)) == raw
        reader.close()
    assert share.ranges() == [(0, len(raw))]
    assert 0 < most <= BATCH + LEAF_SIZE * 32  # the tree counts as received too


async def test_many_sequential_readers_do_not_ask_in_crumbs(store: Store) -> None:
    """A share that is busy with other loads is asked by a reader for what he will read next as well."""
    share = FakeShare()
    raws = [content(64 * CHUNK_SIZE, seed=20 + number) for number in range(8)]
    blobs = [share.add_blob(raw) for raw in raws]
    settings = replace(SETTINGS, read_ahead=64 * CHUNK_SIZE)
    async with running(store, share, settings=settings) as sync:

        async def read(number: int) -> None:
            reader = await sync.loads.open(blobs[number], len(raws[number]), None, None)
            pieces = [bytes(await reader.read(at, CHUNK_SIZE)) for at in range(0, reader.size, CHUNK_SIZE)]
            reader.close()
            assert b"".join(pieces) == raws[number]

        async with trio.open_nursery() as nursery:
            for number in range(len(blobs)):
                nursery.start_soon(read, number)
    assert sum(length for _, length in share.ranges()) == sum(map(len, raws))
    assert len(share.ranges()) <= 16 * len(blobs)
