"""share_blob: what it accepts, what it refuses, and that it leaves nothing half done."""

import os
from pathlib import Path

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from blobfs import errors
from blobfs.model import EMPTY_BLOB, MAX_COMPONENT_BYTES, Name, split
from blobfs.record import BlobRecord, DirRecord, GoneRecord, SymlinkRecord
from blobfs.store import sealed
from blobfs.store.opening import Store, open_store
from blobfs.sync import sharing
from blobfs.sync.naming.answers import Absent, Present
from blobfs.sync.service import SyncService
from tests.sync.fake_share import FakeShare, blob_of
from tests.sync.running import ScriptedDisk, content, is_kept, open_descriptors, running, until

NAME = "models/a.gguf"


async def meaning(sync: SyncService, name: str = NAME) -> object:
    """What this node knows of a name."""
    entry = await sync.namespace.entry(Name(name))
    return entry.record if entry is not None else None


def left_in_incoming(store: Store) -> list[str]:
    return os.listdir(store.layout.incoming)


async def settled(sync: SyncService) -> None:
    """Until the sealer has nothing left to do."""
    await sync.sealer.settle()


async def test_bytes_are_shared_under_a_name(store: Store) -> None:
    """The blob, its name and its record are in the share; parents are made; no share is asked."""
    share = FakeShare()
    raw = content(300_000)
    async with running(store, share) as sync:
        record = await sync.share_blob(NAME, raw)
        assert await meaning(sync) == record
        assert isinstance(await meaning(sync, "models"), DirRecord)
        await settled(sync)
    assert (record.blob, record.size, record.mode) == (blob_of(raw), len(raw), 0o444)
    assert is_kept(store, record.blob, raw)
    assert store.layout.named(Name(NAME)).read_bytes() == raw
    assert left_in_incoming(store) == []
    assert share.asked == []


@pytest.mark.parametrize("size", [0, 1, sharing.PIECE, 2 * sharing.PIECE + 8193])
async def test_a_file_is_shared_as_it_is(store: Store, tmp_path: Path, size: int) -> None:
    """Content of any size, the time it was changed, and whether it can be executed."""
    path = tmp_path / "tool"
    raw = content(size)
    path.write_bytes(raw)
    path.chmod(0o750)
    os.utime(path, ns=(5, 123_456_789))
    async with running(store) as sync:
        record = await sync.share_blob("tool", path)
    assert record == BlobRecord(blob_of(raw), size, 0o555, 123_456_789, record.published_ns)
    assert is_kept(store, record.blob, raw)
    assert path.read_bytes() == raw


async def test_the_empty_blob(store: Store) -> None:
    """No bytes are a blob, too."""
    async with running(store) as sync:
        assert (await sync.share_blob("empty", b"")).blob == EMPTY_BLOB


async def test_the_same_blob_again_is_success(store: Store) -> None:
    """Nothing is written, the record stays; under another name it is shared as well."""
    raw = content(20_000)
    async with running(store) as sync:
        record = await sync.share_blob(NAME, raw)
        assert await sync.share_blob(NAME, raw) == record
        other = await sync.share_blob("other", raw)
        assert sync.sealer.sealed == 2
    assert other.blob == record.blob


@pytest.mark.parametrize("other", [b"", b"contenT", b"conten", b"content and more", content(9_000_000)])
async def test_another_blob_is_refused(store: Store, other: bytes) -> None:
    """NameExists; the name goes on meaning what it meant."""
    async with running(store) as sync:
        record = await sync.share_blob(NAME, b"content")
        with pytest.raises(errors.NameExists):
            await sync.share_blob(NAME, other)
        assert await meaning(sync) == record
        await settled(sync)
    assert left_in_incoming(store) == []


async def test_a_name_whose_blob_went_is_shared_again(store: Store) -> None:
    """Success always means that the bytes are in the share."""
    async with running(store) as sync:
        record = await sync.share_blob(NAME, b"content")
        await settled(sync)
        store.layout.blob(record.blob).unlink()
        again = await sync.share_blob(NAME, b"content")
        assert again.blob == record.blob
    assert is_kept(store, record.blob, b"content")


async def test_a_removed_name_is_free_again(store: Store) -> None:
    """Its tombstone is older than the new record."""
    async with running(store) as sync:
        first = await sync.share_blob(NAME, b"one")
        async with sync.namespace.lock:
            gone = GoneRecord(sync.namespace.next_published(first))
            await sync.namespace.put(Name(NAME), gone)
        assert (await sync.share_blob(NAME, b"two")).published_ns > gone.published_ns


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("models", errors.IsADirectory),
        (f"{NAME}/below", errors.NotADirectory),
        (f"{NAME}/far/below", errors.NotADirectory),
        ("link", errors.NameExists),
        ("link/below", errors.NotADirectory),
        ("", errors.InvalidName),
        ("a//b", errors.InvalidName),
        ("../a", errors.InvalidName),
        ("/a", errors.InvalidName),
        (".blobfs/blobs/x", errors.InvalidName),
        ("\udcff", errors.InvalidName),
        ("n" * (MAX_COMPONENT_BYTES + 1), errors.NameTooLong),
    ],
)
async def test_what_cannot_be_a_name_here(
    store: Store, name: str, error: type[errors.BlobfsError], caplog: pytest.LogCaptureFixture
) -> None:
    """Refused before anything is written, and nothing that an operator should look at."""
    async with running(store) as sync:
        await sync.share_blob(NAME, b"content")
        async with sync.namespace.lock:
            link = SymlinkRecord("models", 1, sync.namespace.next_published())
            await sync.namespace.put(Name("link"), link)
        await settled(sync)
        with pytest.raises(error) as raised:
            await sync.share_blob(name, b"other")
        assert type(raised.value) is error
    assert left_in_incoming(store) == []
    assert caplog.records == []


async def test_what_cannot_be_read(store: Store, tmp_path: Path) -> None:
    """A path that is missing, a directory, a FIFO, no path at all: the caller's mistake, not the store's."""
    os.mkfifo(tmp_path / "fifo")
    async with running(store) as sync:
        for path in tmp_path / "missing", tmp_path, tmp_path / "fifo", Path("a\0b"):
            with pytest.raises(errors.InvalidArgument):
                await sync.share_blob(NAME, path)
        assert await meaning(sync) is None
    assert left_in_incoming(store) == []


async def test_a_file_that_cannot_be_read_to_its_end(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bad sector in what is to be shared: nothing of it is shared, nothing is left."""
    path = tmp_path / "file"
    path.write_bytes(bytes(2 * sharing.PIECE))
    pread = os.pread

    def failing(fd: int, length: int, offset: int) -> bytes:
        if length == sharing.PIECE and offset:
            raise OSError(5, "Input/output error")
        return pread(fd, length, offset)

    monkeypatch.setattr(os, "pread", failing)
    async with running(store) as sync:
        with pytest.raises(errors.InvalidArgument, match="Input/output error"):
            await sync.share_blob(NAME, path)
        assert await meaning(sync) is None
    assert left_in_incoming(store) == []


async def test_two_at_once_under_one_name(store: Store) -> None:
    """One is shared; the other one is success if it is the same blob, NameExists if not."""
    outcomes: list[object] = []

    async def share(raw: bytes) -> None:
        try:
            outcomes.append((await sync.share_blob(NAME, raw)).blob)
        except errors.NameExists:
            outcomes.append("refused")

    async with running(store) as sync:
        async with trio.open_nursery() as nursery:
            for raw in (b"one", b"two", b"one", b"two"):
                nursery.start_soon(share, raw)
        record = await meaning(sync)
    assert isinstance(record, BlobRecord)
    assert sorted(map(str, outcomes)) == sorted([record.blob, record.blob, "refused", "refused"])


async def test_a_file_and_what_would_be_below_it_at_once(store: Store) -> None:
    """Whichever comes first makes the other impossible; neither is left half done."""
    outcomes: dict[str, str] = {}

    async def share(name: str) -> None:
        try:
            await sync.share_blob(name, b"content")
            outcomes[name] = "shared"
        except errors.OperationRefused as error:
            outcomes[name] = type(error).__name__

    async with running(store) as sync:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(share, "a")
            nursery.start_soon(share, "a/b")
        await settled(sync)
        assert sync.sealer.statistics()["failed"] == 0
    assert outcomes in (
        {"a": "shared", "a/b": "NotADirectory"},
        {"a": "IsADirectory", "a/b": "shared"},
    )


async def test_different_names_do_not_wait_for_each_other(store: Store) -> None:
    """They are sealed in one group."""
    disk = ScriptedDisk()
    disk.pausing["_open_source"] = trio.Event()
    async with running(store, disk=disk) as sync, trio.open_nursery() as nursery:
        paused = disk.pausing["_open_source"]
        nursery.start_soon(sync.share_blob, "ab", b"one")
        await disk.paused.wait()
        await sync.share_blob("abc", b"two")
        assert await meaning(sync, "ab") is None
        paused.set()


@pytest.mark.parametrize("step", ["create", "_copy_piece", "mark", "file", "_place", "_put"])
async def test_a_full_disk(store: Store, step: str) -> None:
    """StoreFull; and the sealer does not share later, by itself, what was reported as failed."""
    disk = ScriptedDisk()
    async with running(store, disk=disk) as sync:
        disk.failing[step] = errors.StoreFull("no space left")
        with pytest.raises(errors.StoreFull):
            await sync.share_blob(NAME, b"content")
        assert sync.sealer.statistics()["failed"] == 0
        disk.failing.clear()
        other = await sync.share_blob(NAME, b"other")
        assert await meaning(sync) == other
        await settled(sync)
    assert left_in_incoming(store) == []


STEPS = 16
"""More than the hops to the disk of one call with its seal; a test below sees to it."""


@pytest.mark.parametrize("step", range(STEPS))
async def test_cancelled_after_each_step(root: Path, step: int) -> None:
    """It is shared whole or not at all, nothing is left behind, and the name can be shared at once."""
    store = open_store(root)
    before = open_descriptors()
    disk = ScriptedDisk()
    async with running(store, disk=disk) as sync:
        scope = trio.CancelScope()
        taken: list[str] = []

        def count(name: str) -> None:
            taken.append(name)
            if len(taken) == step + 1:
                scope.cancel()

        disk.after = count
        with scope:
            await sync.share_blob(NAME, b"content")
        disk.after = lambda name: None
        assert len(taken) < STEPS, "more steps than this test looks at"
        found = await meaning(sync)
        if isinstance(found, BlobRecord):
            assert is_kept(store, found.blob, b"content")
        else:
            assert not sealed.has(store, blob_of(b"content"))
        await settled(sync)
        assert await meaning(sync) == found
        record = await sync.share_blob(NAME, b"content")
        await settled(sync)
    assert is_kept(store, record.blob, b"content")
    assert left_in_incoming(store) == []
    store.close()
    assert open_descriptors() < before


async def test_cancelled_while_it_waits_for_another(store: Store) -> None:
    """The one that it waited for is not disturbed."""
    disk = ScriptedDisk()
    resume = disk.pausing["_open_source"] = trio.Event()
    async with running(store, disk=disk) as sync, trio.open_nursery() as nursery:
        nursery.start_soon(sync.share_blob, NAME, b"one")
        await disk.paused.wait()
        waiting = trio.CancelScope()

        async def share() -> None:
            with waiting:
                await sync.share_blob(NAME, b"two")

        nursery.start_soon(share)
        await wait_all_tasks_blocked()
        waiting.cancel()
        await wait_all_tasks_blocked()
        resume.set()
        await until(lambda: sealed.has(store, blob_of(b"one")), sync.sealer.hurry)
    assert not sealed.has(store, blob_of(b"two"))


async def test_what_others_removed_is_shared_again(store: Store) -> None:
    """Though this node has it still under that name: it is published anew, for all."""
    share = FakeShare()
    async with running(store, share) as sync:
        first = await sync.share_blob(NAME, b"content")
        share.put(NAME, GoneRecord(first.published_ns + 1))
        await sync.listing(split(Name(NAME))[0])
        assert await sync.lookup(Name(NAME)) == Absent()
        again = await sync.share_blob(NAME, b"content")
        assert again.published_ns > first.published_ns + 1
        assert await sync.lookup(Name(NAME)) == Present(again, None, loaded=False)
