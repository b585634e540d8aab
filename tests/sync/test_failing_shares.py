"""Loading when shares, disk or callers fail: what a reader gets, and what stays clean."""

from dataclasses import replace

import pytest
import trio
from trio.testing import MockClock

from blobfs import errors
from blobfs.model import CHUNK_SIZE, Outcome
from blobfs.shares.choice import Urgency
from blobfs.store.opening import Store
from tests.sync.fake_share import FakeShare, blob_of
from tests.sync.running import (
    LONG,
    SETTINGS,
    ScriptedDisk,
    jumping,
    open_descriptors,
    running,
    until,
)
from tests.sync.samples import BLOB, CHUNKS, RAW, SMALL, chunk, part, shares


async def test_a_span_goes_on_at_another_share_where_the_first_broke_off(store: Store) -> None:
    """Whole chunks that came before a short body are kept and not asked for again."""
    one, two = shares(blob="s")
    one.short_after = 5 * CHUNK_SIZE + 100
    async with running(store, one, two) as sync:
        reader = await sync.loads.open(BLOB, len(RAW), None, None)
        assert await reader.read(0, len(RAW)) == RAW
        reader.close()
    assert one.ranges() == [chunk(0, CHUNKS)]
    # Batches grow (1, 2, 4 chunks ...), so up to here whole ones had come.
    start, length = two.ranges()[0]
    assert start in (3 * CHUNK_SIZE, 5 * CHUNK_SIZE)
    assert start + length == len(RAW)


@pytest.mark.parametrize("letter", ["u", "a", "b", "r", "w", "s"])
async def test_one_failing_share_costs_nothing_but_a_request(store: Store, letter: str) -> None:
    """P5: whatever the first share does, the second one gives the bytes."""
    one, two = shares(blob=letter)
    async with running(store, one, two) as sync:
        reader = await sync.loads.open(BLOB, len(RAW), None, None)
        assert await reader.read(*chunk(4, 3)) == part(4, 3)
        reader.close()
    assert one.counts()["blob"] == 1


async def test_a_share_that_sent_wrong_bytes_is_asked_only_for_what_nobody_else_has(store: Store) -> None:
    """P1, P5: never again for that blob, and for others only when no share that is trusted has them."""
    one, two = shares(blob="w")
    del two.blobs[blob_of(SMALL)]
    async with running(store, one, two) as sync:
        reader = await sync.loads.open(BLOB, len(RAW), None, None)
        assert await reader.read(*chunk(4)) == part(4)
        assert await reader.read(*chunk(14)) == part(14)
        reader.close()
        other = await sync.loads.open(blob_of(SMALL), len(SMALL), None, None)
        assert await other.read(0, len(SMALL)) == SMALL
        other.close()
    assert [each.what for each in one.asked if each.phase == "blob"] == [BLOB, blob_of(SMALL)]
    assert [each.what for each in two.asked if each.phase == "blob"] == [BLOB, BLOB, blob_of(SMALL)]


async def test_wrong_bytes_reach_neither_the_reader_nor_the_disk(store: Store) -> None:
    """P1: each chunk of the partial file is right or was never written; EBADMSG for the reader."""
    share, _ = shares(blob="w*")
    async with running(store, share) as sync:
        reader = await sync.loads.open(BLOB, len(RAW), None, None)
        with pytest.raises(errors.WrongEverywhere) as caught:
            await reader.read(0, len(RAW))
        load = sync.loads.load_of(BLOB)
        assert load is not None
        states = [load.partial.present(number) for number in range(CHUNKS)]
        on_disk = store.layout.partial_content(BLOB).read_bytes()
        reader.close()
    assert [each.outcome for each in caught.value.attempts] == [Outcome.WRONG]
    assert any(states)
    for number, is_present in enumerate(states):
        start, length = chunk(number)
        found = on_disk[start : start + length]
        assert found == (part(number) if is_present else bytes(length))
    assert share.counts()["blob"] == 1


@pytest.mark.parametrize(
    ("letter", "kind"),
    [
        ("u", errors.Unreachable),
        ("a", errors.AbsentEverywhere),
        ("b", errors.BusyEverywhere),
        ("r", errors.RefusedEverywhere),
        ("w", errors.WrongEverywhere),
    ],
)
async def test_when_no_share_delivers_the_reader_is_told_why(
    store: Store, letter: str, kind: type[errors.LoadFailed]
) -> None:
    """The error says what the attempts amount to and names every share that was asked."""
    one, two = FakeShare("http://one/", blob=f"{letter}*"), FakeShare("http://two/", blob=f"{letter}*")
    for share in one, two:
        share.add_blob(RAW)
    async with running(store, one, two) as sync:
        reader = await sync.loads.open(BLOB, len(RAW), None, None)
        with pytest.raises(errors.LoadFailed) as caught:
            await reader.read(*chunk(0))
        reader.close()
    assert type(caught.value) is kind
    assert [each.share for each in caught.value.attempts] == ["http://one/", "http://two/"]


async def test_rounds_over_the_shares_end_when_asking_again_is_useless(
    store: Store, mock_clock: MockClock
) -> None:
    """An unreachable share is tried `max_tries` times, one that has not got it once."""
    settings = replace(SETTINGS, max_tries=3)
    share = FakeShare(blob="u*")
    share.add_blob(RAW)
    empty = FakeShare("http://empty/")
    empty.trees = share.trees
    async with running(store, share, settings=settings) as sync:
        reader = await sync.loads.open(BLOB, len(RAW), None, None)
        with pytest.raises(errors.Unreachable):
            await jumping(mock_clock, reader.read, *chunk(0))
        reader.close()
    assert share.counts()["blob"] == 3
    async with running(store, empty, settings=settings) as sync:
        reader = await sync.loads.open(BLOB, len(RAW), None, None)
        with pytest.raises(errors.AbsentEverywhere):
            await reader.read(*chunk(1))
        reader.close()
    assert empty.counts()["blob"] == 1


async def test_a_failure_is_remembered_for_a_moment(store: Store, mock_clock: MockClock) -> None:
    """The kernel repeats a READ that failed: that one fails at once, and no share is asked again."""
    share, _ = shares(blob="u")
    async with running(store, share) as sync:
        reader = await sync.loads.open(BLOB, len(RAW), None, None)
        for _ in range(3):
            with pytest.raises(errors.Unreachable):
                await reader.read(*chunk(6))
        assert share.counts()["blob"] == 1
        assert await reader.read(*chunk(17)) == part(17)
        mock_clock.jump(SETTINGS.failure_memory)
        assert await reader.read(*chunk(6)) == part(6)
        reader.close()
    assert share.ranges() == [chunk(6), chunk(17), chunk(6)]


async def test_a_read_ends_at_its_deadline_and_the_load_goes_on(store: Store, mock_clock: MockClock) -> None:
    """P3: ETIMEDOUT, naming who was asked; when the bytes come at last they are served at once."""
    share, _ = shares(blob="g")
    async with running(store, share) as sync:
        reader = await sync.loads.open(BLOB, len(RAW), None, None)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(share.waiting.wait)
            nursery.start_soon(expect_deadline, reader.read, share)
            await share.waiting.wait()
            mock_clock.jump(SETTINGS.read_timeout)
        assert sync.loads.statistics()["spans"] == 1
        share.gate.set()
        await until(lambda: sync.loads.statistics()["spans"] == 0)
        assert await reader.read(*chunk(5)) == part(5)
        reader.close()
    assert share.ranges() == [chunk(5)]


async def expect_deadline(read, share: FakeShare) -> None:
    with pytest.raises(errors.DeadlineExceeded) as caught:
        await read(*chunk(5))
    assert [each.share for each in caught.value.attempts] == [share.shown]


async def test_a_nonblocking_read_starts_the_load_and_does_not_wait(store: Store) -> None:
    """EAGAIN until the bytes are here, then the bytes; one request."""
    share, _ = shares(blob="g")
    async with running(store, share) as sync:
        reader = await sync.loads.open(BLOB, len(RAW), None, None)
        for _ in range(2):
            with pytest.raises(errors.WouldBlock):
                await reader.read(*chunk(7), wait=0)
            await share.waiting.wait()
        share.gate.set()
        await until(lambda: sync.loads.statistics()["spans"] == 0)
        assert await reader.read(*chunk(7), wait=0) == part(7)
        reader.close()
    assert share.ranges() == [chunk(7)]


async def test_a_cancelled_reader_leaves_nothing_behind_and_the_span_goes_on(store: Store) -> None:
    """P3: whoever waits can be killed; the bytes that were on their way are kept for the next reader."""
    share, _ = shares(blob="g")
    async with running(store, share) as sync:
        reader = await sync.loads.open(BLOB, len(RAW), None, None)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(reader.read, *chunk(2))
            await share.waiting.wait()
            nursery.cancel_scope.cancel()
        assert sync.loads.statistics() | {"spans": 1, "in_flight": 1} == sync.loads.statistics()
        share.gate.set()
        await until(lambda: sync.loads.statistics()["spans"] == 0)
        assert sync.loads.statistics()["in_flight"] == 0
        assert await reader.read(*chunk(2)) == part(2)
        reader.close()
    assert share.ranges() == [chunk(2)]


async def test_the_end_of_the_node_cancels_every_request(store: Store) -> None:
    """A hanging share keeps nobody, and no request is left open at it."""
    share, _ = shares(blob="h*")
    before = open_descriptors()
    async with share, running(store, share) as sync, trio.open_nursery() as nursery:
        reader = await sync.loads.open(BLOB, len(RAW), None, None)
        nursery.start_soon(reader.read, *chunk(2))
        await share.waiting.wait()
        nursery.cancel_scope.cancel()
    reader.close()
    assert share.in_flight == 0
    assert open_descriptors() <= before + 2  # the partial and its tree belong to a load that just ended


async def test_what_a_full_disk_refuses_is_passed_on(store: Store) -> None:
    """The reader gets it, nothing is marked that was not written; with room again the load is kept."""
    share, _ = shares()
    disk = ScriptedDisk()
    async with running(store, share, disk=disk) as sync:
        reader = await sync.loads.open(BLOB, len(RAW), None, None)
        disk.failing["_keep"] = errors.StoreFull("No space left on device")
        assert await reader.read(*chunk(1)) == part(1)
        offset, length = chunk(1)
        assert await reader.read(offset - 10, length) == RAW[offset - 10 : offset - 10 + length]
        load = sync.loads.load_of(BLOB)
        assert load is not None
        assert load.partial.present_bytes == 0
        assert sync.space.passed_bytes == 2 * CHUNK_SIZE
        assert not load.in_flight
        assert load.able_peers()  # the share has done nothing wrong
        del disk.failing["_keep"]
        assert await reader.read(*chunk(5)) == part(5)
        assert load.partial.present(5)
        assert await reader.read(*chunk(4, 3)) == part(4, 3)
        assert load.partial.all_present(4, 3)
        reader.close()
    assert sorted(share.ranges()) == [chunk(0), chunk(1), chunk(4), chunk(5), chunk(6)]


async def test_what_is_to_be_kept_fails_on_a_full_disk(store: Store) -> None:
    """Whoever wants a blob here, and not only read, is told that there is no room."""
    share, _ = shares()
    disk = ScriptedDisk()
    async with running(store, share, disk=disk) as sync:
        reader = await sync.loads.open(BLOB, len(RAW), None, None)
        disk.failing["_keep"] = errors.StoreFull("No space left on device")
        load = sync.loads.load_of(BLOB)
        assert load is not None
        with pytest.raises(errors.StoreFull):
            await load.bring(0, len(RAW), Urgency.READER, trio.current_time() + LONG)
        reader.close()


async def test_a_defect_is_the_readers_eio_and_not_the_nodes_end(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    """P8: the unexpected is logged with its traceback; the node goes on with other blobs."""
    share, _ = shares()
    disk = ScriptedDisk()
    async with running(store, share, disk=disk) as sync:
        reader = await sync.loads.open(BLOB, len(RAW), None, None)
        disk.failing["_keep"] = ZeroDivisionError("a defect")
        with pytest.raises(errors.LoadFailed):
            await reader.read(*chunk(1))
        disk.failing.clear()
        other = await sync.loads.open(blob_of(SMALL), len(SMALL), None, None)
        assert await other.read(0, len(SMALL)) == SMALL
        reader.close()
        other.close()
    assert "ZeroDivisionError: a defect" in caplog.text


async def test_all_whole_chunks_of_a_body_that_breaks_off_are_kept(store: Store) -> None:
    """Bodies are resumed, not restarted: the next request begins where the first one broke off."""
    one, two = shares(blob="s")
    one.short_after = 6 * CHUNK_SIZE + 1000  # in the middle of a batch
    async with running(store, one, two) as sync:
        reader = await sync.loads.open(BLOB, len(RAW), None, None)
        assert await reader.read(*chunk(0, 16)) == part(0, 16)
        reader.close()
    assert one.ranges() == [chunk(0, 16)]
    assert two.ranges() == [chunk(6, 10)]
