"""Names as pointers, between this node and the shares: what a name comes to mean, and what goes with it."""

import logging
import time

import pytest
from trio.testing import MockClock

from blobfs import errors
from blobfs.model import ROOT, Name
from blobfs.record import BlobRecord, DirRecord, GoneRecord, LogEntry, LogRecord
from blobfs.store import sealed
from blobfs.store.names import LocalName
from blobfs.store.opening import Store
from blobfs.sync.names import SLICE
from blobfs.sync.naming.answers import Absent, Answer, Present
from blobfs.sync.service import SyncService
from tests.sync.fake_share import FakeShare, blob_of, record_of
from tests.sync.running import SETTINGS, is_kept, running, until
from tests.sync.test_service import loaded_here, sealed_here

HOUR = 3600 * 10**9
FAR = 4_000_000_000 * 10**9
"""The year 2096, of a clock that is wrong by decades."""


async def heard(sync: SyncService, clock: MockClock, directory: str = "") -> None:
    """The logs of a directory are read anew, and what follows from it is done."""
    clock.jump(SETTINGS.listing_ttl + SETTINGS.negative_ttl)
    await sync.catalogue.listing(Name(directory))
    await settled(sync)


async def settled(sync: SyncService) -> None:
    await until(lambda: sync.names.is_idle)


def meaning(answer: Answer) -> LogRecord | None:
    return answer.record if isinstance(answer, Present) else None


# Removed elsewhere


async def test_a_loaded_name_goes_with_its_publisher_s(store: Store, mock_clock: MockClock) -> None:
    """With its bytes, and for others too: its tombstone is shared in turn. No restart brings it back."""
    share = FakeShare()
    record = share.publish("x", b"loaded")
    async with running(store, share) as sync:
        await loaded_here(sync, record, "x")
        gone = GoneRecord(2_000)
        share.put("x", gone)
        await heard(sync, mock_clock)
        assert await sync.lookup(Name("x")) == Absent()
        assert await sync.listing(ROOT) == {}
        assert await sync.namespace.entry(Name("x")) == LocalName(gone, loaded=False)
        assert not sealed.has(store, record.blob)
        assert not store.layout.named(Name("x")).exists()
    async with running(store, FakeShare("http://down/", record="u*", log="u*")) as sync:
        assert await sync.lookup(Name("x")) == Absent()


async def test_pinned_bytes_stay_without_the_name(store: Store, mock_clock: MockClock) -> None:
    """A pin is this node's own wish."""
    share = FakeShare()
    record = share.publish("x", b"loaded")
    async with running(store, share) as sync:
        await loaded_here(sync, record, "x")
        sealed.set_pinned(store, record.blob, True)
        share.put("x", GoneRecord(2_000))
        await heard(sync, mock_clock)
        assert await sync.lookup(Name("x")) == Absent()
        assert is_kept(store, record.blob, b"loaded")


async def test_an_own_name_is_hidden_by_a_newer_tombstone(store: Store, mock_clock: MockClock) -> None:
    """Here as on all nodes; its bytes stay, and so does the record, for when nobody says that it is gone."""
    share = FakeShare()
    async with running(store, share) as sync:
        own = await sealed_here(sync, b"own", "x")
        share.put("x", GoneRecord(own.published_ns + 1))
        await heard(sync, mock_clock)
        assert await sync.lookup(Name("x")) == Absent()
        assert await sync.listing(ROOT) == {}
        assert await sync.namespace.entry(Name("x")) == LocalName(own, loaded=False)
        assert is_kept(store, own.blob, b"own")


async def test_an_older_tombstone_takes_nothing_away(store: Store, mock_clock: MockClock) -> None:
    """Neither from what was loaded nor from what is published here."""
    share, other = FakeShare(), FakeShare("http://two/")
    record = share.publish("x", b"loaded", 2_000)
    async with running(store, share, other) as sync:
        await loaded_here(sync, record, "x")
        own = await sealed_here(sync, b"own", "y")
        other.put("x", GoneRecord(1_999))
        other.put("y", GoneRecord(own.published_ns - 1))
        await heard(sync, mock_clock)
        assert await sync.lookup(Name("x")) == Present(record, None, loaded=True)
        assert await sync.lookup(Name("y")) == Present(own, None, loaded=False)


async def test_a_name_that_another_node_published_since_stays(store: Store, mock_clock: MockClock) -> None:
    """One node's tombstone is one publication among others."""
    share, other = FakeShare(), FakeShare("http://two/")
    record = share.publish("x", b"loaded")
    async with running(store, share, other) as sync:
        await loaded_here(sync, record, "x")
        newer = other.publish("x", b"again", 3_000)
        share.put("x", GoneRecord(2_000))
        await heard(sync, mock_clock)
        assert await sync.lookup(Name("x")) == Present(newer, sync.peers[1])
        assert await sync.namespace.entry(Name("x")) == LocalName(record, loaded=True)


async def test_what_is_loaded_after_its_removal_gets_no_name(store: Store, mock_clock: MockClock) -> None:
    """A reader that had it open gets its bytes; nobody else is told of the name."""
    share = FakeShare()
    record = share.publish("x", b"loaded")
    async with running(store, share) as sync:
        await sync.listing(ROOT)
        share.put("x", GoneRecord(2_000))
        await heard(sync, mock_clock)
        await loaded_here(sync, record, "x")
        assert await sync.namespace.entry(Name("x")) is None


async def test_what_was_removed_while_this_node_was_down_goes_too(
    store: Store, mock_clock: MockClock
) -> None:
    """Also where the log is so long that nobody says which of its names are new."""
    share = FakeShare()
    record = share.publish("x", b"loaded")
    async with running(store, share) as sync:
        await loaded_here(sync, record, "x")
    for number in range(SLICE + 1):
        share.put(f"n{number}", GoneRecord(1))
    share.put("x", GoneRecord(2_000))
    async with running(store, share) as sync:
        assert await sync.listing(ROOT) == {}
        await until(lambda: not sealed.has(store, record.blob))


# Clocks


async def test_a_publisher_whose_clock_is_behind_comes_last(store: Store, mock_clock: MockClock) -> None:
    """What it replaces or removes is replaced and removed for all, whatever the clocks say."""
    share = FakeShare()
    future = time.time_ns() + HOUR // 2
    theirs = share.publish("x", b"theirs", future)
    async with running(store, share) as sync:
        assert await sync.lookup(Name("x")) == Present(theirs, sync.peers[0])
        own = await sealed_here(sync, b"own", "x")
        assert own.published_ns == future + 1
        assert await sync.lookup(Name("x")) == Present(own, None, loaded=False)
        other = await sealed_here(sync, b"other", "y")
        assert other.published_ns < future  # its wrong time does not spread


async def test_a_record_that_is_not_in_a_log_that_is_kept_is_replaced_too(
    store: Store, mock_clock: MockClock
) -> None:
    """It was met when the name was looked up, and then its share went away."""
    share = FakeShare(log="u*", record="ou*")
    future = time.time_ns() + HOUR // 2
    theirs = share.publish("x", b"theirs", future)
    async with running(store, share) as sync:
        assert meaning(await sync.lookup(Name("x"))) == theirs
        assert (await sealed_here(sync, b"own", "x")).published_ns == future + 1


async def test_a_clock_that_is_far_ahead_is_told_once(
    store: Store, mock_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """One WARNING for a share; its names can be replaced like all others."""
    share, other = FakeShare(), FakeShare("http://two/")
    share.publish("x", b"x", FAR)
    share.publish("y", b"y", FAR + 5)
    other.publish("z", b"z", time.time_ns() + HOUR // 2)
    with caplog.at_level(logging.WARNING):
        async with running(store, share, other) as sync:
            await sync.listing(ROOT)
            assert (await sealed_here(sync, b"own", "x")).published_ns == FAR + 1
            own = await sealed_here(sync, b"own", "y")
            assert own.published_ns == FAR + 6
            assert meaning((await sync.listing(ROOT))["y"]) == own
    said = [record.message for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(said) == 1
    assert said[0].startswith(("http://one/: 'x' was published", "http://one/: 'y' was published"))
    assert said[0].endswith("hours from now: a clock is wrong")


# At once


async def test_of_two_publications_at_once_all_nodes_take_the_same(store: Store) -> None:
    """Here one of them is this node's own; the bytes of the other one can be had by their id."""
    share = FakeShare()
    async with running(store, share) as sync:
        own = await sealed_here(sync, b"own", "x")
        theirs = share.publish("x", b"theirs", own.published_ns)
        listed = (await sync.listing(ROOT))["x"].record
        winning = max(own, theirs, key=lambda record: record.blob)
        assert listed == winning == meaning(await sync.lookup(Name("x")))
        assert await sync.find_blob(own.blob) == 3
        assert await sync.find_blob(theirs.blob) == 6


# Directories


async def test_a_directory_keeps_the_time_it_has_elsewhere(store: Store, mock_clock: MockClock) -> None:
    """What is made for loaded names is not this node's: the record of the directory stays what it was."""
    share = FakeShare()
    record = share.publish("d/x", b"x")
    made = DirRecord(700, 800)
    share.put("d", made)
    async with running(store, share) as sync:
        await sync.listing(ROOT)
        await loaded_here(sync, record, "d/x")
        assert await sync.namespace.entry(Name("d")) == LocalName(made, loaded=True)
        assert (await sync.listing(ROOT))["d"] == Present(made, None, loaded=True)


async def test_a_directory_that_only_holds_what_was_loaded_goes(store: Store, mock_clock: MockClock) -> None:
    """With its publisher's, as a whole; what another node has in it is not taken away by that."""
    share, other = FakeShare(), FakeShare("http://two/")
    records = {name: share.publish(name, name.encode()) for name in ("d/x", "d/e/y")}
    async with running(store, share, other) as sync:
        await sync.listing(ROOT)
        await sync.listing(Name("d"))
        for name, record in records.items():
            await loaded_here(sync, record, name)
        for directory in ("d/e", "d"):
            del share.logs[Name(directory)]
            share.put(directory, GoneRecord(9_000)) if directory == "d" else None
        await heard(sync, mock_clock)
        assert await sync.listing(ROOT) == {}
        assert await sync.namespace.entry(Name("d")) == LocalName(GoneRecord(9_000), loaded=False)
        assert not any(sealed.has(store, record.blob) for record in records.values())
        again = other.publish("d/x", b"other's", 5)
        await heard(sync, mock_clock)
        assert isinstance(await sync.lookup(Name("d")), Present)
        assert meaning(await sync.lookup(Name("d/x"))) == again


async def test_a_directory_with_something_of_this_node_s_own_stays(
    store: Store, mock_clock: MockClock
) -> None:
    """On all nodes: a tombstone buries no directory that somebody keeps."""
    share = FakeShare()
    record = share.publish("d/x", b"x")
    async with running(store, share) as sync:
        await sync.listing(ROOT)
        await loaded_here(sync, record, "d/x")
        own = await sealed_here(sync, b"own", "d/own")
        del share.logs[Name("d")]
        share.put("d", GoneRecord(own.published_ns + 1))
        await heard(sync, mock_clock)
        assert isinstance((await sync.listing(ROOT))["d"].record, DirRecord)
        assert meaning(await sync.lookup(Name("d/own"))) == own


async def test_who_only_loaded_keeps_no_directory(store: Store, mock_clock: MockClock) -> None:
    """A tombstone takes it away at once, before he has heard of it; what he makes in it, he keeps."""
    share, other = FakeShare(), FakeShare("http://two/")
    record = share.publish("d/x", b"x")
    for directory in (ROOT, Name("d")):
        other.ensure_log(directory)
    async with running(store, share, other) as sync:
        await sync.listing(ROOT)
        await loaded_here(sync, record, "d/x")
        kept = await sync.namespace.directory(ROOT)
        assert kept is not None
        assert kept["d"].loaded
        other.rebuild_log(ROOT, [LogEntry("d", DirRecord(500, 500), loaded=True)])
        share.put("d", GoneRecord(9_000))
        await heard(sync, mock_clock)
        assert await sync.listing(ROOT) == {}
        assert await sync.lookup(Name("d")) == Absent()
        await sealed_here(sync, b"own", "d/own")
        entry = await sync.namespace.entry(Name("d"))
        assert entry is not None
        assert not entry.loaded
        assert entry.record.published_ns > 9_000


async def test_a_directory_that_nobody_told_of_is_as_old_as_what_is_in_it(store: Store) -> None:
    """It was found by asking for the name; its line in the log was not read."""
    share = FakeShare(log="u*")
    record = share.publish("d/x", b"x", 800)
    async with running(store, share) as sync:
        await loaded_here(sync, record, "d/x")
        assert await sync.namespace.entry(Name("d")) == LocalName(DirRecord(800, 800), loaded=True)


async def test_a_loaded_directory_is_own_once_something_own_is_in_it(store: Store) -> None:
    """It keeps its time, and all above it become own too; the next run knows it."""
    share = FakeShare()
    record = share.publish("d/e/x", b"x")
    async with running(store, share) as sync:
        for directory in (ROOT, Name("d"), Name("d/e")):
            await sync.listing(directory)
        await loaded_here(sync, record, "d/e/x")
        await sealed_here(sync, b"own", "d/e/own")
    async with running(store) as sync:
        for name in ("d", "d/e"):
            entry = await sync.namespace.entry(Name(name))
            assert entry is not None
            assert isinstance(entry.record, DirRecord)
            assert (entry.loaded, entry.record.loaded, entry.record.mtime_ns) == (False, False, 500)


async def test_a_file_and_a_directory_of_one_name(store: Store, mock_clock: MockClock) -> None:
    """The newer one counts, for a listing and for a lookup; the other one is there again when that goes."""
    share = FakeShare()
    async with running(store, share) as sync:
        own = await sealed_here(sync, b"own", "n/own")
        directory = (await sync.listing(ROOT))["n"].record
        file = share.publish("n", b"file", directory.published_ns + 10**9)
        await heard(sync, mock_clock)
        assert (await sync.listing(ROOT))["n"].record == meaning(await sync.lookup(Name("n"))) == file
        share.put("n", GoneRecord(file.published_ns + 1))
        await heard(sync, mock_clock)
        assert (await sync.listing(ROOT))["n"].record == meaning(await sync.lookup(Name("n"))) == directory
        assert meaning(await sync.lookup(Name("n/own"))) == own


async def test_a_file_under_which_others_have_a_newer_directory_gives_way(
    store: Store, mock_clock: MockClock
) -> None:
    """When something is made in that directory here; the bytes of the file stay, under their id."""
    share = FakeShare()
    async with running(store, share) as sync:
        own = await sealed_here(sync, b"own", "n")
        share.put("n", DirRecord(1, own.published_ns + 1))
        await heard(sync, mock_clock)
        await sealed_here(sync, b"inside", "n/x")
        entry = await sync.namespace.entry(Name("n"))
        assert entry is not None
        assert isinstance(entry.record, DirRecord)
        assert is_kept(store, own.blob, b"own")


async def test_a_file_is_not_made_where_this_node_has_a_directory(
    store: Store, mock_clock: MockClock
) -> None:
    """EISDIR, although a newer file of another node is what the name means."""
    async with running(store) as sync:
        await sealed_here(sync, b"own", "n/x")
        async with sync.namespace.lock:
            with pytest.raises(errors.IsADirectory):
                await sync.namespace.put(Name("n"), record_of(b"own", FAR))


async def test_a_file_is_not_adopted_where_this_node_has_a_directory(
    store: Store, mock_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """It is read and kept, without the name, and nobody is warned."""
    share = FakeShare()
    async with running(store, share) as sync:
        own = await sealed_here(sync, b"own", "n/own")
        file = share.publish("n", b"file", FAR)
        with caplog.at_level(logging.WARNING):
            await loaded_here(sync, file, "n")
        assert is_kept(store, file.blob, b"file")
        assert await sync.namespace.entry(Name("n/own")) == LocalName(own, loaded=False)
    assert caplog.records == []


async def test_mkdir_on_two_nodes_is_one_directory(store: Store) -> None:
    """With the names of both, and the time of the one that was made last."""
    share = FakeShare()
    theirs = share.publish("d/theirs", b"theirs", 1)
    share.put("d", DirRecord(5, FAR))
    async with running(store, share) as sync:
        own = await sealed_here(sync, b"own", "d/own")
        assert (await sync.listing(ROOT))["d"].record == DirRecord(5, FAR)
        listed = await sync.listing(Name("d"))
        assert {name: found.record for name, found in listed.items()} == {"own": own, "theirs": theirs}
    assert isinstance(own, BlobRecord)
    assert own.blob == blob_of(b"own")


async def test_what_is_removed_here_and_then_elsewhere_is_gone(store: Store, mock_clock: MockClock) -> None:
    """What a log said before is not believed for ever: the share is asked, as for what is not here."""
    share = FakeShare()
    async with running(store, share) as sync:
        own = await sealed_here(sync, b"own", "d/x")
        theirs = share.publish("d/x", b"theirs", own.published_ns + 10**9)
        await heard(sync, mock_clock, "d")
        async with sync.namespace.lock:
            await sync.namespace.put(Name("d/x"), GoneRecord(own.published_ns + 1))
        assert meaning(await sync.lookup(Name("d/x"))) == theirs
        share.put("d/x", GoneRecord(theirs.published_ns + 1))
        mock_clock.jump(SETTINGS.listing_ttl + SETTINGS.negative_ttl)
        assert await sync.lookup(Name("d/x")) == Absent()
