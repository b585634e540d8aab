"""Plain shares: files without ids, never mixed from two versions."""

import pytest

from blobfs import errors
from blobfs.model import CHUNK_SIZE, Name
from blobfs.record import BlobRecord
from blobfs.shares.plain import PlainFile
from blobfs.store.names import LocalName
from blobfs.store.opening import Store
from blobfs.sync.naming.answers import Absent, Present, PresentPlain
from blobfs.sync.service import SyncService
from tests.sync.fake_share import FakeShare, blob_of
from tests.sync.running import content, is_kept, kept, running, until
from tests.sync.samples import BLOB, RAW, chunk, part

NAME = Name("dir/file")
OTHER = content(len(RAW), seed=2)


def plain_share(blob: str = "") -> FakeShare:
    share = FakeShare("http://plain/", plain=True, blob=blob)
    share.put_file(NAME, RAW)
    return share


async def found(sync: SyncService, name: Name = NAME) -> PlainFile:
    answer = await sync.lookup(name)
    assert isinstance(answer, PresentPlain)
    return answer.file


async def test_a_plain_file_is_found_and_read(store: Store) -> None:
    """One HEAD request for the name, one for the bytes that are read."""
    share = plain_share()
    async with running(store, share) as sync:
        file = await found(sync)
        assert (file.size, file.etag) == (len(RAW), '"1"')
        reader = await sync.loads.open_plain(NAME, file, sync.peers[0])
        assert await reader.read(*chunk(10)) == part(10)
        reader.close()
        assert isinstance(await sync.lookup(Name("dir")), Present)
        assert await sync.lookup(Name("other")) == Absent()
    assert share.ranges() == [chunk(10)]


async def test_a_whole_plain_file_gets_its_id_and_is_shared_in_turn(store: Store) -> None:
    """As published when it was last modified; the next reader asks nobody."""
    share = plain_share()
    async with running(store, share) as sync:
        reader = await sync.loads.open_plain(NAME, await found(sync), sync.peers[0])
        assert await reader.read(0, len(RAW)) == RAW
        reader.close()
        await kept(sync)
        record = BlobRecord(BLOB, len(RAW), 0o444, 9_000, 9_000)
        assert await sync.namespace.entry(NAME) == LocalName(record, loaded=True)
        assert await sync.lookup(NAME) == Present(record, None)
    assert is_kept(store, BLOB, RAW)
    assert share.counts() == {"size": 1, "blob": 1}


async def test_what_a_run_before_loaded_is_as_it_was_kept(store: Store) -> None:
    """Nothing vouches for a plain file but what it was when it came: a turned bit is loaded again."""
    share = plain_share()
    async with running(store, share) as sync:
        reader = await sync.loads.open_plain(NAME, await found(sync), sync.peers[0])
        assert await reader.read(*chunk(2, 4)) == part(2, 4)
        await sync.loads.save_maps()
        reader.close()
    (partial,) = (path for path in store.layout.partial.iterdir() if not path.suffix)
    with partial.open("r+b") as file:
        file.seek(3 * CHUNK_SIZE)
        file.write(bytes([RAW[3 * CHUNK_SIZE] ^ 1]))
    again = plain_share()
    async with running(store, again) as sync:
        reader = await sync.loads.open_plain(NAME, await found(sync), sync.peers[0])
        assert await reader.read(*chunk(2, 4)) == part(2, 4)
        reader.close()
    assert again.ranges() == [chunk(3)]


async def test_two_versions_are_never_mixed(store: Store) -> None:
    """ESTALE for what is missing of the old version; what is here of it can still be read."""
    share = plain_share()
    async with running(store, share) as sync:
        old = await sync.loads.open_plain(NAME, await found(sync), sync.peers[0])
        assert await old.read(*chunk(0)) == part(0)
        share.put_file(NAME, OTHER, '"2"', 9_500)
        with pytest.raises(errors.PlainFileChanged):
            await old.read(*chunk(15))
        assert await old.read(*chunk(0)) == part(0)
        new = await sync.loads.open_plain(NAME, await found(sync), sync.peers[0])
        assert await new.read(0, len(OTHER)) == OTHER
        old.close()
        new.close()
        await kept_whole(sync)
    assert is_kept(store, blob_of(OTHER), OTHER)
    assert not store.layout.blob(BLOB).exists()


async def kept_whole(sync: SyncService) -> None:
    """Until the load that came to its end is kept; one that cannot is left."""
    await until(lambda: sync.loads.statistics()["completed"] == 1, sync.sealer.hurry)


async def test_a_plain_file_is_asked_of_its_own_share_only(store: Store) -> None:
    """Nothing says that another share's file of that name is the same."""
    share, other = plain_share(blob="u*"), FakeShare("http://other/", plain=True)
    other.put_file(NAME, OTHER)
    async with running(store, share, other) as sync:
        reader = await sync.loads.open_plain(NAME, await found(sync), sync.peers[0])
        with pytest.raises(errors.Unreachable):
            await reader.read(*chunk(0))
        reader.close()
    assert other.counts()["blob"] == 0


async def test_a_plain_share_is_never_asked_for_a_blob_or_a_log(store: Store) -> None:
    """It has none."""
    share = plain_share()
    async with running(store, share) as sync:
        reader = await sync.loads.open(BLOB, len(RAW), None, None)
        with pytest.raises(errors.LoadFailed):
            await reader.read(*chunk(0))
        reader.close()
        assert await sync.find_blob(blob_of(OTHER)) is None
        assert await sync.listing(Name("")) == {}
    assert share.asked == []


async def test_an_empty_plain_file_needs_no_bytes(store: Store) -> None:
    """It is whole when it is opened."""
    share = plain_share()
    share.put_file("empty", b"")
    async with running(store, share) as sync:
        reader = await sync.loads.open_plain(Name("empty"), await found(sync, Name("empty")), sync.peers[0])
        assert await reader.read(0, CHUNK_SIZE) == b""
        reader.close()
        await kept(sync)
        assert isinstance(await sync.lookup(Name("empty")), Present)
    assert share.counts()["blob"] == 0
