"""What is known of names and blobs: explained without asking anybody."""

import logging
from dataclasses import replace

import pytest
import trio
from trio.testing import MockClock

from blobfs import errors
from blobfs.config.settings import Fill
from blobfs.model import BlobId, Kind, Name
from blobfs.record import GoneRecord
from blobfs.store.opening import Store
from blobfs.sync.explain import explain_blob, explain_name
from blobfs.sync.explanation import BeingWritten, Explanation, Seen
from blobfs.sync.failures import RecentFailures, failed_now
from blobfs.sync.naming.answers import Absent, Present, PresentPlain, Unknown
from blobfs.sync.service import SyncService
from blobfs.sync.unknown_names import QUIET_SECONDS, UnknownNames
from tests.sync import virtual
from tests.sync.fake_share import FakeShare, blob_of
from tests.sync.running import SETTINGS, content, kept, open_named, running, until, written

RAW = content(3 * 1024 * 1024)
BLOB = blob_of(RAW)
F = Name("d/f")
NOTHING = Seen()


async def explained(sync: SyncService, name: str = F) -> Explanation:
    """Explains it, and sees to it that no share noticed."""
    before = [peer.share.statistics().requests for peer in sync.peers]
    found = await explain_name(sync, Name(name), NOTHING)
    assert [peer.share.statistics().requests for peer in sync.peers] == before
    return found


def conclusion(found: Explanation) -> str:
    assert found.lookup is not None
    return found.lookup.conclusion


async def test_nothing_is_known_of_a_name_nobody_asked_for(store: Store) -> None:
    """It says so, and no share is asked for it now."""
    share = FakeShare()
    share.publish(F, RAW)
    async with running(store, share) as sync:
        found = await explained(sync)
    assert not found.is_known
    assert (found.kind, found.state, found.lookup, found.last_error) == (None, None, None, None)
    assert [word.circuit for word in found.shares] == ["closed"]
    assert share.asked == []


async def test_a_listed_name_is_missing_then_partial_then_whole(store: Store) -> None:
    """Size, record and what is here come from the kept log and from the disk."""
    share = FakeShare()
    record = share.publish(F, RAW)
    async with running(store, share) as sync:
        await sync.listing(Name("d"))
        missing = await explained(sync)
        reader = await open_named(sync, F, record)
        await reader.read(0, 1000)
        partial = await explained(sync)
        await reader.read(0, len(RAW))
        reader.close()
        await kept(sync)
        whole = await explained(sync)
    assert [found.state for found in (missing, partial, whole)] == ["missing", "partial", "whole"]
    assert (missing.kind, missing.origin, missing.blob, missing.size) == ("file", "shares", BLOB, len(RAW))
    assert missing.record is not None
    assert missing.record["blob"] == BLOB
    assert missing.shares[0].record == missing.record
    assert partial.present is not None
    assert 0 < partial.present < len(RAW)
    assert partial.load is not None
    assert (partial.load.readers, partial.load.names) == (1, (F,))
    assert (whole.origin, whole.present, whole.load) == ("loaded", len(RAW), None)


async def test_a_sealed_file_is_this_nodes_own(store: Store) -> None:
    """What was shared here needs no share to be explained; an earlier lookup is of no interest any more."""
    share = FakeShare(record="u*", log="u*")
    async with running(store, share) as sync:
        assert isinstance(await sync.lookup(Name("mine")), Unknown)
        job = written(store, RAW, "mine")
        sync.sealer.submit(job)
        await sync.sealer.wait(job)
        found = await explained(sync, "mine")
    assert (found.kind, found.origin, found.state, found.size) == ("file", "own", "sealed", len(RAW))
    assert found.lookup is None


async def test_what_is_being_written_is_known_from_the_mount(store: Store) -> None:
    """The mount says so, with its size; a failed seal too."""
    seen = Seen(writing=BeingWritten(0, "No space left on device"), size=7)
    async with running(store) as sync:
        found = await explain_name(sync, Name("w"), seen)
        blob = await explain_blob(sync, BLOB, seen)
    assert (found.state, found.size, found.present, found.writing) == ("writing", 7, 7, seen.writing)
    assert (blob.kind, blob.state, blob.present) == ("blob", "writing", 7)


async def test_the_reason_of_a_failed_lookup_is_kept(store: Store) -> None:
    """P4: who was told ENOENT on a writable mount finds out later that a share could not be reached."""
    dead, empty = FakeShare("http://dead/", record="u"), FakeShare("http://empty/")
    async with running(store, dead, empty) as sync:
        assert isinstance(await sync.lookup(Name("f")), Unknown)
        found = await explained(sync, "f")
        below = await explained(sync, "f/below")
        assert isinstance(await sync.lookup(Name("f")), Absent)
        absent = await explained(sync, "f")
    assert found.is_known
    assert conclusion(found) == "EHOSTUNREACH: no share that may have it can be reached"
    assert found.lookup is not None
    assert [(each.share, each.kind) for each in found.lookup.attempts] == [
        ("http://dead/", Kind.CONNECT_REFUSED)
    ]
    assert [word.last_failure is not None for word in found.shares] == [True, False]
    assert (below.lookup_of, conclusion(below)) == ("f", conclusion(found))
    assert absent.lookup is None
    assert absent.absent_ago is not None


async def test_a_name_below_an_absent_directory(store: Store) -> None:
    """The kernel asks for the directory only: its absence explains what is below it."""
    async with running(store, FakeShare()) as sync:
        assert isinstance(await sync.lookup(Name("a")), Absent)
        found = await explained(sync, "a/b/c")
    assert (found.absent_of, found.absent_ago is not None, found.kind) == ("a", True, None)


async def test_an_absence_is_told_long_after_it_stopped_to_be_believed(
    store: Store, mock_clock: MockClock
) -> None:
    """With its age; a name that was found since is not absent."""
    share = FakeShare()
    async with running(store, share) as sync:
        await sync.lookup(F)
        mock_clock.jump(100)
        found = await explained(sync)
        share.publish(F, RAW)
        assert isinstance(await sync.lookup(F), Present)
        present = await explained(sync)
    assert found.absent_ago == pytest.approx(100)
    assert present.absent_ago is None


async def test_a_record_that_cannot_be_used(store: Store) -> None:
    """EBADMSG, with the share that sent it."""
    async with running(store, FakeShare(record="w")) as sync:
        with pytest.raises(errors.WrongEverywhere):
            await sync.lookup(F)
        found = await explained(sync)
    assert conclusion(found).startswith("EBADMSG: ")


async def test_a_failed_load_tells_its_errno_and_its_attempts(store: Store, mock_clock: MockClock) -> None:
    """Each share's attempt, how long ago, what each will not be asked again; also when the load is asleep."""
    dead, empty = FakeShare("http://dead/", blob="u*"), FakeShare("http://empty/", blob="a*")
    record = dead.publish(F, RAW)
    empty.publish(F, RAW)
    async with running(store, dead, empty) as sync:
        reader = await open_named(sync, F, record)
        with pytest.raises(errors.Unreachable):
            await reader.read(0, 1000)
        mock_clock.jump(2)
        found = await explained(sync)
        reader.close()
        load = sync.loads.load_of(BLOB)
        assert load is not None
        assert await sync.loads.put_to_sleep(load, trio.current_time() + 1000)
        asleep = await explain_blob(sync, BLOB, NOTHING)
    assert found.last_error is not None
    assert found.last_error.errno == "EHOSTUNREACH"
    assert found.last_error.seconds_ago == pytest.approx(2)
    assert {each.share for each in found.last_error.attempts} == {"http://dead/", "http://empty/"}
    assert [word.verdict is not None for word in found.shares] == [False, True]
    assert (asleep.kind, asleep.size, asleep.state) == ("blob", len(RAW), "missing")
    assert asleep.last_error is not None
    assert asleep.last_error.attempts == found.last_error.attempts


async def test_a_deadline_is_not_taken_for_an_outage(store: Store, mock_clock: MockClock) -> None:
    """ETIMEDOUT stays ETIMEDOUT; the request that is under way still is shown, with its silence."""
    share = FakeShare(blob="h*")
    record = share.publish(F, RAW)
    settings = replace(SETTINGS, read_timeout=5)
    async with running(store, share, settings=settings) as sync:
        reader = await open_named(sync, F, record)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_expect_deadline, reader.read)
            await share.waiting.wait()
            mock_clock.jump(5)
        found = await explained(sync)
        reader.close()
    assert found.last_error is not None
    assert found.last_error.errno == "ETIMEDOUT"
    assert found.load is not None
    (request,) = found.load.requests
    assert (request.share, request.urgency, request.received) == (share.shown, "reader", 0)
    assert request.offset == 0
    assert request.asked_ago == pytest.approx(5)
    assert request.silent_for == pytest.approx(5)


async def _expect_deadline(read) -> None:
    with pytest.raises(errors.DeadlineExceeded):
        await read(0, 1000)


async def test_a_share_that_sent_wrong_bytes(store: Store) -> None:
    """It is named with what it sent, and not asked again for this blob."""
    share = FakeShare(blob="w*")
    record = share.publish(F, RAW)
    async with running(store, share) as sync:
        reader = await open_named(sync, F, record)
        with pytest.raises(errors.WrongEverywhere):
            await reader.read(0, len(RAW))
        found = await explained(sync)
        reader.close()
    (word,) = found.shares
    assert word.struck_for is not None
    assert word.struck_for.startswith(BLOB)
    assert word.verdict is not None
    assert word.verdict.kind is Kind.WRONG_BYTES
    assert found.last_error is not None
    assert found.last_error.errno == "EBADMSG"


async def test_the_circuit_of_a_dead_share(store: Store, mock_clock: MockClock) -> None:
    """Open with the time until the next try, then half-open; what it answered last is said too."""
    share = FakeShare(record="ou*")
    async with running(store, share) as sync:
        await sync.lookup(Name("x"))
        await sync.lookup(Name("y"))
        down = (await explained(sync)).shares[0]
        mock_clock.jump(1)
        maybe = (await explained(sync)).shares[0]
    assert down.circuit == "open"
    assert down.next_try_in is not None
    assert 0 < down.next_try_in <= 0.5
    assert (maybe.circuit, maybe.next_try_in) == ("half-open", None)
    assert maybe.answered_ago == pytest.approx(1)
    assert maybe.failed_ago == pytest.approx(1)


async def test_a_directory_whose_listing_fails(store: Store) -> None:
    """Each share's log: when it was read, or why it could not be."""
    one, two = FakeShare("http://one/"), FakeShare("http://two/", log="u*")
    one.publish(F, RAW)
    async with running(store, one, two) as sync:
        await sync.listing(Name(""))
        await sync.listing(Name("d"))
        found = await explained(sync, "d")
        root = await explained(sync, "")
    assert (found.kind, found.origin) == ("directory", "shares")
    assert [word.log_read_ago is not None for word in found.shares] == [True, False]
    assert [word.log_failure is not None for word in found.shares] == [False, True]
    assert (root.kind, [word.log_read_ago is not None for word in root.shares]) == (
        "directory",
        [True, False],
    )


async def test_a_name_that_was_removed_here(store: Store) -> None:
    """Its tombstone is what is known of it."""
    async with running(store, FakeShare()) as sync:
        job = written(store, b"x", "f")
        sync.sealer.submit(job)
        record = await sync.sealer.wait(job)
        async with sync.namespace.lock:
            gone = sync.namespace.next_published(record)
            await sync.namespace.put(Name("f"), GoneRecord(gone))
        found = await explained(sync, "f")
    assert (found.kind, found.origin, found.state) == ("removed", "own", None)


async def test_plain_files(store: Store) -> None:
    """Known by the load that reads them; only their share is concerned."""
    share = FakeShare(plain=True, blob="u*")
    share.put_file("p", RAW)
    async with running(store, share) as sync:
        answer = await sync.lookup(Name("p"))
        assert isinstance(answer, PresentPlain)
        reader = await sync.loads.open_plain(Name("p"), answer.file, answer.peer)
        with pytest.raises(errors.Unreachable):
            await reader.read(0, 1000)
        found = await explained(sync, "p")
        reader.close()
        seen = await explain_name(sync, Name("p"), Seen(plain=answer.file, peer=answer.peer))
    assert (found.kind, found.state, found.size) == ("plain file", "missing", len(RAW))
    assert found.last_error is not None
    assert (seen.kind, seen.size) == ("plain file", len(RAW))


async def test_a_blob_by_its_id(store: Store) -> None:
    """Why its size could not be found out, that no share has it, and what is here of it."""
    share = FakeShare(size="ua")
    share.add_blob(RAW)
    async with running(store, share) as sync:
        unknown = await explain_blob(sync, BLOB, NOTHING)
        with pytest.raises(errors.Unreachable):
            await sync.find_blob(BLOB)
        failed = await explain_blob(sync, BLOB, NOTHING)
        assert await sync.find_blob(BLOB) is None
        absent = await explain_blob(sync, BLOB, NOTHING)
        assert await sync.find_blob(BLOB) == len(RAW)
        found = await explain_blob(sync, BLOB, NOTHING)
    assert not unknown.is_known
    assert conclusion(failed).startswith("EHOSTUNREACH: ")
    assert conclusion(absent) == "ENOENT: no share has it"
    assert found.lookup is None


async def test_failures_are_forgotten_when_there_are_too_many() -> None:
    """The oldest first; what failed again counts as new."""
    recent = RecentFailures(2)
    for key in ("a", "b", "a", "c"):
        recent.note(key, failed_now(errors.StoreFull(key)))
    assert [recent.of(key) is not None for key in "abc"] == [True, False, True]
    recent.forget("a")
    recent.forget("never")
    assert len(recent) == 1
    kept_failure = recent.of("c")
    assert kept_failure is not None
    assert kept_failure.attempts == ()


def test_one_unknown_name_after_each_answer() -> None:
    """Of a share that is away the first is told; of one that comes and goes, one a minute."""
    names = UnknownNames()
    assert [names.count(now) for now in (1.0, 2.0, 200.0)] == [0, None, None]
    assert names.take_unsaid() == 2
    names.answered()
    assert names.count(201.0) == 0
    names.answered()
    assert names.count(202.0) is None
    assert names.count(201.0 + QUIET_SECONDS) == 1


async def test_an_outage_is_a_handful_of_lines(
    store: Store, caplog: pytest.LogCaptureFixture, mock_clock: MockClock
) -> None:
    """500 lookups over a dead share: that it is down, the first name, and how many more when it is back."""
    caplog.set_level(logging.INFO)
    share = FakeShare(record="u" * 5)
    async with running(store, share) as sync:
        for number in range(500):
            assert isinstance(await sync.lookup(Name(f"n{number}")), Unknown)
            if number < 4:
                mock_clock.jump(60)
        mock_clock.jump(60)
        await sync.lookup(Name("last"))
        assert sync.catalogue.unknown.of("n77") is not None
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == 3
    assert lines[0] == "'n0' could not be looked up: http://one/: connection refused"
    assert lines[1].startswith("http://one/ is down: ")
    assert lines[2] == "http://one/ answers again; 499 more names could not be looked up meanwhile"


async def test_the_fill_is_quiet_over_a_dead_share(
    store: Store, caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    """It tries every blob again and again; the log has the share, once, and the first reader's failure."""
    caplog.set_level(logging.INFO)
    blobs = [content(len(RAW), number) for number in range(5)]
    share = FakeShare(blob="ooooou*", tree="ooooou*")
    for raw in blobs:
        share.add_blob(raw)
    settings = replace(SETTINGS, fill=Fill.IDLE, fill_after=1)
    async with virtual.node(store, share, settings=settings) as node:
        for raw in blobs:
            reader = await virtual.open_blob(node, raw)
            await reader.read(0, 1000)
            reader.close()
        asked = len(share.asked)
        await trio.sleep(3600)
        tried = len(share.asked) - asked
        reader = await virtual.open_blob(node, blobs[0])
        with pytest.raises(errors.Unreachable):
            await reader.read(len(RAW) - 1000, 1000)
        reader.close()
    assert tried > 50
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == 2
    assert "is down" in lines[0]
    assert "no share that may have it can be reached" in lines[1]


async def test_waiting_for_a_share_is_shown(store: Store) -> None:
    """A request that no share has room for yet has none."""
    share = FakeShare(blob="g*")
    records = [share.publish(f"f{number}", content(200_000, number)) for number in range(2)]
    settings = replace(SETTINGS, bodies=1)
    async with running(store, share, settings=settings) as sync, trio.open_nursery() as nursery:
        for number, record in enumerate(records):
            reader = await open_named(sync, f"f{number}", record)
            nursery.start_soon(reader.read, 0, 1000)
        await until(lambda: sync.loads.statistics()["waiting"] == 1)
        shown = [await explain_blob(sync, BlobId(record.blob), NOTHING) for record in records]
        share.gate.set()
        nursery.cancel_scope.cancel()
    assert sorted(str(found.load.requests[0].share) for found in shown if found.load) == ["None", share.shown]
