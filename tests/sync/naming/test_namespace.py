"""The names on this node's disk: memory and disk agree, times only grow, blobs go with their last name."""

import time
from collections.abc import AsyncIterator

import pytest

from blobfs import errors
from blobfs.model import ROOT, Name
from blobfs.record import BlobRecord, DirRecord, GoneRecord, SymlinkRecord
from blobfs.store import sealed
from blobfs.store.marks import CHECK, remove_mark
from blobfs.store.names import LocalName
from blobfs.store.opening import Store
from blobfs.sync.disk import DiskThreads
from blobfs.sync.naming.namespace import Namespace
from tests.store.sealing import put_blob
from tests.sync.fake_share import record_of


@pytest.fixture
async def namespace(store: Store) -> AsyncIterator[Namespace]:
    """With its lock held, which everything that changes names demands."""
    made = Namespace(store, DiskThreads())
    async with made.lock:
        yield made


async def put(namespace: Namespace, store: Store, name: str, raw: bytes) -> BlobRecord:
    put_blob(store, raw)
    record = record_of(raw, namespace.next_published())
    await namespace.put(Name(name), record)
    return record


async def on_disk(store: Store, directory: str) -> dict[str, LocalName]:
    """As the next run will see it."""
    return dict(await Namespace(store, DiskThreads()).directory(Name(directory)) or {})


async def test_nothing_is_there_at_first(namespace: Namespace) -> None:
    """The root is a directory, and no name is known."""
    assert await namespace.directory(ROOT) == {}
    assert await namespace.entry(Name("x")) is None
    assert await namespace.directory(Name("d")) is None
    assert await namespace.entry(Name("d/x")) is None


async def test_a_name_makes_its_directories(namespace: Namespace, store: Store) -> None:
    """In memory as on the disk, each listed in its parent."""
    record = await put(namespace, store, "a/b/name", b"content")
    assert await namespace.entry(Name("a/b/name")) == LocalName(record, loaded=False)
    for directory in ("", "a", "a/b"):
        assert await namespace.directory(Name(directory)) == await on_disk(store, directory)
    assert [name for name, _ in await namespace.entries_below(ROOT)] == ["a", "a/b", "a/b/name"]


async def test_names_below_are_listed_parents_first_and_without_the_removed(
    namespace: Namespace, store: Store
) -> None:
    """What a directory's rename goes through."""
    for name in ("d/z", "d/a", "d/s/x", "other"):
        await put(namespace, store, name, name.encode())
    await namespace.put(Name("d/z"), GoneRecord(namespace.next_published()))
    assert [name for name, _ in await namespace.entries_below(Name("d"))] == ["d/a", "d/s", "d/s/x"]


async def test_a_name_below_a_file_is_refused(namespace: Namespace, store: Store) -> None:
    """ENOTDIR, and nothing changes."""
    record = await put(namespace, store, "file", b"content")
    with pytest.raises(errors.NotADirectory):
        await namespace.ensure_directory(Name("file"))
    assert await namespace.entry(Name("file")) == LocalName(record, loaded=False)


async def test_a_removed_name_leaves_a_tombstone_and_its_blob_goes(
    namespace: Namespace, store: Store
) -> None:
    """Unless another name means the same blob."""
    one = await put(namespace, store, "one", b"same")
    await put(namespace, store, "two", b"same")
    gone = GoneRecord(namespace.next_published(one))
    await namespace.put(Name("one"), gone)
    assert await namespace.entry(Name("one")) == LocalName(gone, loaded=False)
    assert sealed.has(store, one.blob)
    await namespace.put(Name("two"), GoneRecord(namespace.next_published()))
    assert not sealed.has(store, one.blob)
    assert await on_disk(store, "") == await namespace.directory(ROOT)


async def test_a_replaced_blob_goes_and_a_new_record_of_the_same_blob_keeps_it(
    namespace: Namespace, store: Store
) -> None:
    """A chmod is a new record; only other content lets the old content go."""
    record = await put(namespace, store, "name", b"old")
    again = BlobRecord(record.blob, record.size, 0o555, 1, namespace.next_published(record))
    await namespace.put(Name("name"), again)
    assert sealed.has(store, record.blob)
    await put(namespace, store, "name", b"new")
    assert not sealed.has(store, record.blob)


async def test_a_symlink_is_a_record_only(namespace: Namespace, store: Store) -> None:
    """A web server must not follow it."""
    record = SymlinkRecord("target", 1, namespace.next_published())
    await namespace.put(Name("link"), record)
    assert await namespace.entry(Name("link")) == LocalName(record, loaded=False)
    assert not store.layout.named(Name("link")).exists()


async def test_only_a_directory_without_live_names_can_be_removed(namespace: Namespace, store: Store) -> None:
    """Tombstones in it go with it; one for the directory itself stays."""
    await put(namespace, store, "d/name", b"content")
    with pytest.raises(errors.DirectoryNotEmpty):
        await namespace.remove_directory(Name("d"))
    await namespace.put(Name("d/name"), GoneRecord(namespace.next_published()))
    await namespace.remove_directory(Name("d"))
    assert await namespace.directory(Name("d")) is None
    entry = await namespace.entry(Name("d"))
    assert entry is not None
    assert isinstance(entry.record, GoneRecord)
    await put(namespace, store, "d/name", b"again")
    entry = await namespace.entry(Name("d"))
    assert entry is not None
    assert isinstance(entry.record, DirRecord)
    assert [*await on_disk(store, "d")] == ["name"]


async def test_published_times_only_grow(namespace: Namespace) -> None:
    """Faster than the clock ticks, and past a record whose publisher's clock is ahead; only past that one."""
    times = [namespace.next_published() for _ in range(1000)]
    assert times == sorted(set(times))
    assert times[0] <= time.time_ns()
    ahead = GoneRecord(times[-1] + 10**18)
    assert namespace.next_published(ahead) == ahead.published_ns + 1
    assert times[-1] < namespace.next_published() < ahead.published_ns


async def test_a_failed_change_is_not_remembered(namespace: Namespace, store: Store) -> None:
    """The disk comes first: what it refused is not known."""
    with pytest.raises(errors.StoreError):
        await namespace.put(Name("name"), record_of(b"a blob that is not here", 1))
    assert await namespace.entry(Name("name")) is None


async def test_logs_are_brought_in_line_with_the_records(store: Store) -> None:
    """After an unclean end a log may lack the last lines; the memory does not keep what it read before."""
    made = Namespace(store, DiskThreads())
    async with made.lock:
        record = await put(made, store, "d/name", b"content")
    log = store.layout.log(Name("d"))
    log.write_bytes(log.read_bytes().partition(b"\n")[0] + b"\n")
    remove_mark(log, CHECK)
    after = Namespace(store, DiskThreads())
    assert await after.directory(Name("d")) == {}
    assert await after.repair(Name("d"))
    assert await after.directory(Name("d")) == {"name": LocalName(record, loaded=False)}


async def test_what_is_in_no_directory_of_this_node_asks_no_thread(store: Store) -> None:
    """A directory in memory says what is not below it; what it says is there is looked for."""
    disk = DiskThreads()
    namespace = Namespace(store, disk)
    async with namespace.lock:
        record = await put(namespace, store, "a/b/name", b"content")
    for directory in ("", "a"):
        await namespace.directory(Name(directory))
    before = disk.hops
    for name in ("x/y", "x/y/z", "a/x/name", "a/x/y/name", "a/b/name/below"):
        assert await namespace.entry(Name(name)) is None
        assert not await namespace.has_directory(Name(name))
    assert await namespace.directory(Name("a/x/y")) is None
    assert disk.hops == before
    assert await namespace.entry(Name("a/b/name")) == LocalName(record, loaded=False)
