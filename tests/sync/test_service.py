"""Names over this node and the shares: who has the last word, and what works without a network."""

import pytest
from trio.testing import MockClock, wait_all_tasks_blocked

from blobfs import errors
from blobfs.model import EMPTY_BLOB, ROOT, Name
from blobfs.record import BlobRecord, DirRecord, GoneRecord
from blobfs.store.names import LocalName
from blobfs.store.opening import Store
from blobfs.sync.naming.answers import Absent, Present, Unknown
from blobfs.sync.service import SyncService
from tests.sync.fake_share import FakeShare, blob_of
from tests.sync.running import SETTINGS, kept, open_named, running, until, written

NAME = Name("d/name")


async def sealed_here(sync: SyncService, raw: bytes, name: str = NAME) -> BlobRecord:
    job = written(sync.store, raw, name)
    sync.sealer.submit(job)
    return await sync.sealer.wait(job)


async def loaded_here(sync: SyncService, record: BlobRecord, name: str = NAME) -> None:
    reader = await open_named(sync, name, record)
    await reader.read(0, record.size)
    reader.close()
    await kept(sync)


async def removed_here(sync: SyncService, name: Name = NAME) -> GoneRecord:
    async with sync.namespace.lock:
        entry = await sync.namespace.entry(name)
        gone = GoneRecord(sync.namespace.next_published(entry.record if entry else None))
        await sync.namespace.put(name, gone)
    return gone


async def test_what_is_here_is_answered_although_no_share_is(store: Store) -> None:
    """P6: names of this node need no network, whether they were written or loaded here."""
    share = FakeShare()
    loaded = share.publish("loaded", b"loaded", 7)
    async with running(store, share) as sync:
        await loaded_here(sync, loaded, "loaded")
        own = await sealed_here(sync, b"own")
    down = FakeShare("http://down/", record="h*", log="h*")
    async with running(store, down) as sync:
        assert await sync.lookup(Name("loaded")) == Present(loaded, None, loaded=True)
        assert await sync.lookup(NAME) == Present(own, None, loaded=False)
        assert isinstance(await sync.lookup(Name("d")), Present)
        assert down.counts()["record"] == 0


async def test_what_is_not_here_is_asked_of_the_shares(store: Store) -> None:
    """Present, absent or unknown, as they say."""
    share = FakeShare(record="ooor")
    record = share.publish(NAME, b"content")
    async with running(store, share) as sync:
        assert await sync.lookup(NAME) == Present(record, sync.peers[0])
        assert isinstance(await sync.lookup(Name("d")), Present)
        assert await sync.lookup(Name("other")) == Absent()
        assert isinstance(await sync.lookup(Name("another")), Unknown)


async def test_a_loaded_name_follows_its_publisher(store: Store, mock_clock: MockClock) -> None:
    """The old content is served at once; a moment later the newer record is known, without a wait."""
    share = FakeShare()
    old = share.publish(NAME, b"old", 5)
    async with running(store, share) as sync:
        await loaded_here(sync, old)
        new = share.publish(NAME, b"new", 6)
        mock_clock.jump(SETTINGS.listing_ttl)
        assert await sync.lookup(NAME) == Present(old, None, loaded=True)
        await until(lambda: share.counts()["log"] == 1)
        await wait_all_tasks_blocked()
        assert await sync.lookup(NAME) == Present(new, sync.peers[0])
        await loaded_here(sync, new)
        assert await sync.namespace.entry(NAME) == LocalName(new, loaded=True)
        assert await sync.lookup(NAME) == Present(new, None, loaded=True)
    assert not store.layout.blob(old.blob).exists()


async def test_an_older_record_never_replaces_a_newer_one(store: Store) -> None:
    """A share that is behind names what was there before."""
    new_share, old_share = FakeShare("http://new/"), FakeShare("http://old/")
    new = new_share.publish(NAME, b"new", 6)
    old = old_share.publish(NAME, b"old", 5)
    async with running(store, new_share, old_share) as sync:
        await loaded_here(sync, new)
        await loaded_here(sync, old)
        assert await sync.namespace.entry(NAME) == LocalName(new, loaded=True)
    assert store.layout.named(NAME).read_bytes() == b"new"


async def test_a_name_that_was_removed_here_is_gone_although_others_still_have_it(store: Store) -> None:
    """Until somebody shares it again."""
    share = FakeShare()
    async with running(store, share) as sync:
        own = await sealed_here(sync, b"own")
        share.publish(NAME, b"own", own.published_ns)
        gone = await removed_here(sync)
        assert await sync.lookup(NAME) == Absent()
        assert await sync.listing(Name("d")) == {}
        again = share.publish("d/again", b"x", 1)
        assert await sync.lookup(Name("d/again")) == Present(again, sync.peers[0])
        newer = share.publish("d/other", b"newer", gone.published_ns + 1)
        async with sync.namespace.lock:
            await sync.namespace.put(Name("d/other"), gone)
        assert await sync.lookup(Name("d/other")) == Present(newer, sync.peers[0])


async def test_a_name_that_was_removed_here_is_absent_while_a_share_is_away(store: Store) -> None:
    """This node's own word is known; nothing hints that it is not the last one."""
    share = FakeShare(record="u*")
    async with running(store, share) as sync:
        await sealed_here(sync, b"own")
        await removed_here(sync)
        assert await sync.lookup(NAME) == Absent()


async def test_a_listing_is_what_is_here_and_what_the_shares_have(store: Store) -> None:
    """The newest record of each name; what was removed is not listed."""
    share = FakeShare()
    async with running(store, share) as sync:
        mine = await sealed_here(sync, b"mine", "d/mine")
        both = await sealed_here(sync, b"both", "d/both")
        await sealed_here(sync, b"gone", "d/gone")
        gone = await removed_here(sync, Name("d/gone"))
        theirs = share.publish("d/theirs", b"theirs", 5)
        newer = share.publish("d/both", b"newer", both.published_ns + 10**9)
        share.publish("d/mine", b"older", 5)
        share.publish("d/gone", b"older", gone.published_ns - 1)
        share.put("d/buried", GoneRecord(5))
        share.put("d/sub", DirRecord(5, 5))
        peer = sync.peers[0]
        assert await sync.listing(Name("d")) == {
            "mine": Present(mine, None, loaded=False),
            "both": Present(newer, peer),
            "theirs": Present(theirs, peer),
            "sub": Present(DirRecord(5, 5), peer),
        }
    assert share.counts() == {"log": 1}


async def test_a_directory_that_nobody_has_is_missing(store: Store) -> None:
    """The root is always there."""
    async with running(store, FakeShare()) as sync:
        with pytest.raises(errors.NameMissing):
            await sync.listing(Name("nothing"))
        assert await sync.listing(ROOT) == {}


async def test_a_directory_is_not_missing_because_its_share_cannot_be_asked(store: Store) -> None:
    """P4: EHOSTUNREACH, for an empty listing would be taken for an empty directory."""
    share = FakeShare(log="u*")
    share.publish(NAME, b"content")
    async with running(store, share) as sync:
        assert isinstance(await sync.lookup(Name("d")), Present)
        with pytest.raises(errors.Unreachable):
            await sync.listing(Name("d"))


async def test_a_directory_of_this_node_is_listed_without_any_share(store: Store) -> None:
    """P6: what is known is shown."""
    share = FakeShare(log="u*")
    async with running(store, share) as sync:
        record = await sealed_here(sync, b"own")
        assert await sync.listing(Name("d")) == {"name": Present(record, None, loaded=False)}


async def test_the_size_of_a_blob_is_known_here_first(store: Store) -> None:
    """Kept, empty, on its way: no request. Else the shares are asked."""
    share = FakeShare()
    elsewhere = share.add_blob(b"elsewhere")
    on_its_way = share.add_blob(b"x" * 100)
    async with running(store, share) as sync:
        record = await sealed_here(sync, b"own")
        assert await sync.find_blob(record.blob) == 3
        assert await sync.find_blob(EMPTY_BLOB) == 0
        reader = await sync.loads.open(on_its_way, 100, None, None)
        assert await sync.find_blob(on_its_way) == 100
        reader.close()
        assert share.asked == []
        assert await sync.find_blob(elsewhere) == 9
        assert await sync.find_blob(blob_of(b"nowhere")) is None
        assert not await sync.is_here(elsewhere)


async def test_a_start_after_a_clean_end_has_nothing_to_redo(store: Store) -> None:
    """What was closed is sealed before the end, and the end says so."""
    async with running(store) as sync:
        sync.sealer.submit(written(store, b"content", NAME))
        assert await sync.finish(5)
    assert store.layout.named(NAME).read_bytes() == b"content"
    assert list(store.layout.incoming.iterdir()) == []


async def test_a_broken_intent_does_not_keep_the_node_from_starting(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    """P8: what cannot be redone is left with a warning, the rest is redone."""
    async with running(store) as sync:
        good, bad = written(store, b"good", "good"), written(store, b"bad", "file/name")
        for job in good, bad:
            sync.sealer.mark(job)
        await sealed_here(sync, b"in the way", "file")
    for job in good, bad:
        job.incoming.close_fd()
    async with running(store) as sync:
        assert isinstance(await sync.lookup(Name("good")), Present)
        assert isinstance(await sync.lookup(Name("file")), Present)
