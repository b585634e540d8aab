"""Whole blobs: verified when they are read, and what is wrong mends itself while the reader waits."""

import errno
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import trio

from blobfs import errors
from blobfs.model import CHUNK_SIZE, LEAF_SIZE, BlobId, Name
from blobfs.store import files, names, packages, sealed, verified
from blobfs.store.opening import Store
from blobfs.store.verified import KnownChunks, OpenBlob, Version
from blobfs.sync.loading import sealed_reading, verifying
from blobfs.sync.loading.reader import Reader
from blobfs.sync.service import SyncService
from tests.store.sealing import put_blob, put_name
from tests.sync.fake_share import FakeShare, blob_of
from tests.sync.running import ScriptedDisk, content, is_kept, kept, running, until
from tests.sync.samples import BLOB, CHUNKS, RAW, SMALL, chunk, part, shares

MIB = 1 << 20
TINY = content(LEAF_SIZE - 3, seed=2)
ONE_CHUNK = content(CHUNK_SIZE - 7, seed=3)


def flip(path: Path, offset: int) -> None:
    """One bit; the file's times tell, as they would of any program that did it."""
    mode = path.stat().st_mode
    path.chmod(0o600)
    with path.open("r+b") as file:
        byte = os.pread(file.fileno(), 1, offset)
        os.pwrite(file.fileno(), bytes([byte[0] ^ 4]), offset)
    path.chmod(mode)


def at_rest(path: Path, offset: int) -> None:
    """One bit, as the disk does it: nothing but the byte changes."""
    before = path.stat()
    flip(path, offset)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


async def read_all(sync: SyncService, raw: bytes) -> bytes:
    reader = await sync.loads.open(blob_of(raw), len(raw), None, None)
    try:
        return b"".join([await reader.read(offset, CHUNK_SIZE) for offset in range(0, len(raw), CHUNK_SIZE)])
    finally:
        reader.close()


def figures(sync: SyncService) -> tuple[int, int]:
    """Blobs that were taken out of the share, trees that were made anew."""
    found = sync.loads.demoting.statistics()
    return found["demoted"], found["trees_rebuilt"]


async def failure_of(call: Callable[[], Awaitable[object]]) -> errors.BlobfsError:
    with pytest.raises(errors.BlobfsError) as caught:
        await call()
    return caught.value


@pytest.mark.parametrize("raw", [TINY, ONE_CHUNK, SMALL, RAW], ids=["leaf", "chunk", "chunks", "many"])
@pytest.mark.parametrize("place", [0.0, 0.5, 1.0])
async def test_a_wrong_byte_mends_itself(
    store: Store, caplog: pytest.LogCaptureFixture, raw: bytes, place: float
) -> None:
    """P1: first byte, last byte or between: the reader gets right bytes, the blob is whole under its name."""
    put_name(store, "a", raw)
    blob = blob_of(raw)
    at_rest(store.layout.blob(blob), round((len(raw) - 1) * place))
    share = FakeShare()
    share.add_blob(raw)
    async with running(store, share) as sync:
        assert await read_all(sync, raw) == raw
        assert not sealed.has(store, blob) or is_kept(store, blob, raw)
        await kept(sync)
        await until(lambda: store.layout.named(Name("a")).exists())
        assert figures(sync) == (1, 0)
    assert is_kept(store, blob, raw)
    assert store.layout.named(Name("a")).samefile(store.layout.blob(blob))
    entry = names.read_record(store, Name("a"))
    assert entry is not None
    assert not entry.loaded
    assert sum(length for _, length in share.ranges()) <= CHUNK_SIZE  # what was right is not loaded again
    assert "the stored bytes of" in caplog.text
    assert "'a'" in caplog.text


async def test_nothing_is_asked_for_what_is_right(store: Store) -> None:
    """P6: verification needs no share; what was verified costs no hop the second time."""
    put_blob(store, RAW)
    share = FakeShare(blob="h*", tree="h*")
    async with running(store, share) as sync:
        reader = await sync.loads.open(BLOB, len(RAW), None, None)
        assert await reader.read(0, len(RAW)) == RAW
        hops = sync.disk.hops
        if files.read_at_nowait(os.open(store.layout.blob(BLOB), os.O_RDONLY), 0, 1) is not None:
            assert await reader.read(5, 3 * CHUNK_SIZE) == RAW[5 : 5 + 3 * CHUNK_SIZE]
            assert sync.disk.hops == hops
        reader.close()
        again = await sync.loads.open(BLOB, len(RAW), None, None)
        assert await again.read(*chunk(CHUNKS - 1)) == part(CHUNKS - 1)
        assert sync.disk.hops <= hops + 2
        again.close()
    assert share.asked == []


async def read_on(sync: SyncService, raw: bytes, size: int) -> bytes:
    """As the kernel reads ahead: large pieces in order, two at a time."""
    reader = await sync.loads.open(blob_of(raw), len(raw), None, None)
    pieces: dict[int, bytes] = {}

    async def read(offset: int) -> None:
        pieces[offset] = bytes(await reader.read(offset, size))

    for offset in range(0, len(raw), 2 * size):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(read, offset)
            nursery.start_soon(read, offset + size)
    reader.close()
    return b"".join(pieces[offset] for offset in sorted(pieces))


async def test_every_byte_is_hashed_once(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sixteen readers at once and one after them: each byte is hashed once, some MiB in one hop."""
    raw = content(9 * MIB + 5, seed=4)
    put_blob(store, raw)
    hashed: list[int] = []
    hash_file = store.hashing.hash_file

    def counted(fd: int, offset: int, length: int) -> bytes:
        hashed.append(length)
        return hash_file(fd, offset, length)

    monkeypatch.setattr(store.hashing, "hash_file", counted)
    async with running(store) as sync:
        before = sync.disk.hops
        async with trio.open_nursery() as nursery:
            for _ in range(16):
                nursery.start_soon(read_on, sync, raw, MIB)
        hops = sync.disk.hops
        assert await read_on(sync, raw, MIB) == raw
    if await trio.to_thread.run_sync(tells_what_is_cached_at, store, blob_of(raw)):
        assert sum(hashed) in (len(raw) - 5, len(raw))  # the last ones are few
        assert len(hashed) <= 5
        assert sync.disk.hops <= hops + 1  # to open it
        assert hops - before <= 16 + 16 + len(hashed)  # to open it, for the last bytes


async def test_what_was_loaded_is_not_hashed_again(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was verified as it came, by this daemon; until the file is touched, or leaves the cache."""
    _, share = shares()
    async with running(store, share) as sync:
        assert await read_all(sync, RAW) == RAW
        await kept(sync)
        hashed = store.hashing.pieces
        hops = sync.disk.hops
        assert await read_on(sync, RAW, MIB) == RAW
        if await trio.to_thread.run_sync(tells_what_is_cached_at, store, BLOB):
            assert store.hashing.pieces == hashed
            assert sync.disk.hops <= hops + 1  # to open it
        flip(store.layout.blob(BLOB), 5 * CHUNK_SIZE)
        assert await read_all(sync, RAW) == RAW
        await kept(sync)
        assert figures(sync) == (1, 0)


async def test_what_has_left_the_cache_is_hashed_again(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """P1: what comes from the disk anew is verified anew, and nothing is read ahead with it."""
    put_blob(store, RAW)
    advised = []
    monkeypatch.setattr(os, "posix_fadvise", lambda fd, start, length, advice: advised.append(advice))
    async with running(store) as sync:
        assert await read_all(sync, RAW) == RAW
        reader = await sync.loads.open(BLOB, len(RAW), None, None)
        assert os.POSIX_FADV_RANDOM in advised
        with monkeypatch.context() as gone:
            gone.setattr(sealed_reading, "read_at_nowait", lambda *_: None)
            assert await reader.read(*chunk(7)) == part(7)
        hops = sync.disk.hops
        for number in (0, CHUNKS - 1):
            assert await reader.read(*chunk(number)) == part(number)
        assert sync.disk.hops == hops
        with monkeypatch.context() as gone:
            gone.setattr(sealed_reading, "read_at_nowait", lambda fd, offset, length: b"the first page of it")
            at_rest(store.layout.blob(BLOB), 15 * CHUNK_SIZE)
            error = await failure_of(lambda: reader.read(*chunk(15)))
        assert isinstance(error, errors.LoadFailed | errors.StoreBroken)
        reader.close()


async def test_small_reads_in_order_are_verified_ahead(store: Store) -> None:
    """Where the kernel reads ahead one chunk only, as for a user's mount: not a hop for each."""
    raw = content(10 * MIB, seed=8)
    put_blob(store, raw)
    async with running(store) as sync:
        before = sync.disk.hops
        reader = await sync.loads.open(blob_of(raw), len(raw), None, None)
        for at in (79, 66, 53):  # in no order: a hop for each
            assert (
                await reader.read(at * CHUNK_SIZE, CHUNK_SIZE) == raw[at * CHUNK_SIZE : (at + 1) * CHUNK_SIZE]
            )
        assert sync.disk.hops >= before + 3
        reader.close()
        hops = sync.disk.hops
        assert await read_on(sync, raw, CHUNK_SIZE) == raw
    if await trio.to_thread.run_sync(tells_what_is_cached_at, store, blob_of(raw)):
        assert sync.disk.hops <= hops + 1 + 2 * 4  # to open it; the windows, ended by what is known


def tells_what_is_cached_at(store: Store, blob: BlobId) -> bool:
    fd = os.open(store.layout.blob(blob), os.O_RDONLY)
    try:
        return files.read_at_nowait(fd, 0, 1) is not None
    finally:
        os.close(fd)


async def test_what_the_kernel_does_not_keep_is_hashed_as_it_is_read(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where bytes that were verified are gone from the cache, or nobody can tell, nothing is read twice."""
    raw = content(4 * MIB, seed=5)
    put_blob(store, raw)
    verified_ahead: list[int] = []
    verify = verified.verify

    def counted(opened: OpenBlob, known: KnownChunks, first: int, stop: int) -> Version | None:
        verified_ahead.append(first)
        return verify(opened, known, first, stop)

    monkeypatch.setattr(sealed_reading, "read_at_nowait", lambda *_: None)
    monkeypatch.setattr(verifying, "verify", counted)
    async with running(store) as sync:
        assert await read_on(sync, raw, MIB) == raw
        assert await read_on(sync, raw, MIB) == raw
    assert len(verified_ahead) <= 2  # of the first two reads, which come at once


async def test_large_reads_of_wrong_bytes_are_mended(store: Store) -> None:
    """P1: what is verified ahead and found wrong is looked at again, and never given out."""
    raw = content(6 * MIB, seed=6)
    put_blob(store, raw)
    at_rest(store.layout.blob(blob_of(raw)), 3 * MIB + 17)
    share = FakeShare()
    share.add_blob(raw)
    async with running(store, share) as sync:
        assert await read_on(sync, raw, MIB) == raw
        await kept(sync)
        assert figures(sync) == (1, 0)
    assert is_kept(store, blob_of(raw), raw)
    assert sum(length for _, length in share.ranges()) <= CHUNK_SIZE


@pytest.mark.parametrize("where", ["root", "bottom", "missing", "short", "long"])
async def test_a_wrong_tree_is_made_anew(store: Store, caplog: pytest.LogCaptureFixture, where: str) -> None:
    """The bytes are right: the reader gets them without any share, and the tree is what it was."""
    put_blob(store, RAW)
    tree = store.layout.tree(BLOB)
    right = tree.read_bytes()
    match where:
        case "root":
            at_rest(tree, 0)
        case "bottom":
            at_rest(tree, len(right) - 1)
        case "missing":
            tree.unlink()
        case "short":
            os.truncate(tree, len(right) // 2)
        case "long":
            os.truncate(tree, len(right) + 7)
    async with running(store, FakeShare(blob="h*", tree="h*")) as sync:
        assert await read_all(sync, RAW) == RAW
        if where != "long":  # what is behind the tree does not harm
            assert figures(sync) == (0, 1)
            assert tree.read_bytes() == right
            assert "the tree of" in caplog.text
    assert is_kept(store, BLOB, RAW)


async def test_blob_and_tree_are_wrong(store: Store) -> None:
    """Nothing here tells what is right: a share's tree does, and only the wrong chunk is loaded."""
    put_blob(store, RAW)
    at_rest(store.layout.blob(BLOB), 3 * CHUNK_SIZE)
    at_rest(store.layout.tree(BLOB), 1)
    _, share = shares()
    async with running(store, share) as sync:
        assert await read_all(sync, RAW) == RAW
        await kept(sync)
    assert is_kept(store, BLOB, RAW)
    assert store.layout.tree(BLOB).read_bytes() == share.trees[BLOB]
    assert share.ranges() == [chunk(3)]


@pytest.mark.parametrize("has", [0, 1, CHUNK_SIZE, len(RAW) - 1, len(RAW) + 1, 2 * len(RAW)])
async def test_another_size(store: Store, has: int) -> None:
    """A file cut short or grown gets its size back, and of the chunks only what was lost is loaded."""
    put_name(store, "a", RAW)
    os.truncate(store.layout.blob(BLOB), has)
    _, share = shares()
    async with running(store, share) as sync:
        assert await read_all(sync, RAW) == RAW
        await kept(sync)
    assert is_kept(store, BLOB, RAW)
    lost = max(len(RAW) - has, 0)
    assert sum(length for _, length in share.ranges()) <= lost + CHUNK_SIZE


@pytest.mark.parametrize("raw", [TINY, ONE_CHUNK, RAW], ids=["leaf", "chunk", "many"])
@pytest.mark.parametrize("claimed", [1, LEAF_SIZE, CHUNK_SIZE, len(RAW) - 1, len(RAW) + 1])
async def test_a_record_with_a_wrong_size_harms_no_blob(store: Store, raw: bytes, claimed: int) -> None:
    """P1: what a share says about the size of a blob that is here is looked into, and the blob stays."""
    put_blob(store, raw)
    async with running(store, FakeShare()) as sync:
        with pytest.raises(errors.WrongEverywhere):
            await sync.loads.open(blob_of(raw), claimed, None, None)
        assert await read_all(sync, raw) == raw
        assert sync.loads.demoting.statistics()["demoted"] == 0


async def test_every_open_reader_goes_on_with_right_bytes(store: Store) -> None:
    """P7: those too who had read the chunk before it went bad; the damage is looked at once."""
    put_blob(store, RAW)
    _, share = shares()
    async with running(store, share) as sync:
        readers = [await sync.loads.open(BLOB, len(RAW), None, None) for _ in range(5)]
        for reader in readers[:2]:
            assert await reader.read(*chunk(4)) == part(4)
        flip(store.layout.blob(BLOB), 4 * CHUNK_SIZE + 9)

        async def read(reader: Reader) -> None:
            assert await reader.read(*chunk(3, 4)) == part(3, 4)

        async with trio.open_nursery() as nursery:
            for reader in readers:
                nursery.start_soon(read, reader)
        assert sync.loads.demoting.statistics()["demoted"] == 1
        await kept(sync)
        for reader in readers:
            assert await reader.read(0, len(RAW)) == RAW
            reader.close()
        assert sync.loads.stored.readers == {}
    assert is_kept(store, BLOB, RAW)
    assert share.ranges() == [chunk(4)]


async def test_who_loaded_it_reads_it_like_any_other(store: Store) -> None:
    """P1: the reader of a load stays open for weeks: what goes bad after the load has ended is found, too."""
    _, share = shares()
    async with running(store, share) as sync:
        reader = await sync.loads.open(BLOB, len(RAW), None, None)
        assert await reader.read(0, len(RAW)) == RAW
        await kept(sync)
        assert await reader.read(*chunk(6)) == part(6)
        flip(store.layout.blob(BLOB), 6 * CHUNK_SIZE)
        assert await reader.read(*chunk(6)) == part(6)
        reader.close()
    assert sum(length for _, length in share.ranges()) == len(RAW) + CHUNK_SIZE


@pytest.mark.parametrize("shared", ["absent", "none", "down"])
async def test_what_no_share_has(store: Store, shared: str) -> None:
    """P4: EIO if nobody has the blob, EHOSTUNREACH if that is not known; what is right can be read."""
    put_blob(store, RAW)
    at_rest(store.layout.blob(BLOB), 7 * CHUNK_SIZE + 1)
    known = {"absent": [FakeShare()], "none": [], "down": [FakeShare(blob="u*", tree="u*")]}[shared]
    for share in known:
        if shared == "down":
            share.add_blob(RAW)
    async with running(store, *known) as sync:
        reader = await sync.loads.open(BLOB, len(RAW), None, None)
        for _ in range(2):
            error = await failure_of(lambda: reader.read(*chunk(7)))
            assert error.errno == (errno.EHOSTUNREACH if shared == "down" else errno.EIO)
        for number in set(range(CHUNKS)) - {7}:
            assert await reader.read(*chunk(number)) == part(number)
        reader.close()
        late = await sync.loads.open(BLOB, len(RAW), None, None)
        assert (await failure_of(lambda: late.read(*chunk(7)))).errno == error.errno
        late.close()
        if shared == "down":
            assert sync.loads.last_attempts(BLOB)
        assert not sealed.has(store, BLOB)


async def test_a_share_that_comes_back_mends_it_after_a_restart(store: Store) -> None:
    """What could not be had stays a partial blob: the next run goes on, and it is this node's own again."""
    put_name(store, "a", RAW)
    at_rest(store.layout.blob(BLOB), 7 * CHUNK_SIZE + 1)
    async with running(store) as sync:
        reader = await sync.loads.open(BLOB, len(RAW), None, None)
        await failure_of(lambda: reader.read(*chunk(7)))
        reader.close()
    _, share = shares()
    async with running(store, share) as sync:
        assert await read_all(sync, RAW) == RAW
        await kept(sync)
    assert is_kept(store, BLOB, RAW)
    assert store.layout.named(Name("a")).samefile(store.layout.blob(BLOB))
    assert share.ranges() == [chunk(7)]
    assert not os.listdir(store.layout.partial)


async def test_a_sector_that_cannot_be_read(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """EIO of the disk is as good as wrong bytes; the rest of the blob is read from where it is."""
    put_blob(store, RAW)
    _, share = shares()
    bad = range(9 * CHUNK_SIZE, 9 * CHUNK_SIZE + 4096)
    is_bad = True

    def read_at(fd: int, offset: int, length: int) -> bytes:
        if is_bad and offset < bad.stop and bad.start < offset + length:
            raise errors.StoreBroken("Input/output error")
        return files.read_at(fd, offset, length)

    monkeypatch.setattr(verified, "read_at", read_at)
    monkeypatch.setattr("blobfs.store.partial.read_at", read_at)
    monkeypatch.setattr(sealed_reading, "read_at_nowait", lambda *_: None)
    async with running(store, share) as sync:
        assert await read_all(sync, RAW) == RAW
        is_bad = False  # what is written anew goes to another sector
        await kept(sync)
    assert share.ranges() == [chunk(9)]


async def test_the_package_that_holds_it_is_whole_again(store: Store) -> None:
    """A complete package stays complete; its file is loaded when it is read, whichever way it comes."""
    package = BlobId("a" * 64)
    put_blob(store, SMALL)
    packages.open_transaction(store, package)
    packages.hold_present(store, package, [blob_of(SMALL)])
    packages.complete_transaction(store, package)
    link = store.layout.package(package) / blob_of(SMALL)
    at_rest(link, 17)
    async with running(store) as sync:
        reader = await sync.loads.open(blob_of(SMALL), len(SMALL), None, None)
        await failure_of(lambda: reader.read(0, 100))
        put_blob(store, SMALL)  # somebody writes it
        sync.arrivals.arrived(blob_of(SMALL))
        await until(lambda: link.samefile(store.layout.blob(blob_of(SMALL))))
        assert await reader.read(0, len(SMALL)) == SMALL
        reader.close()
    assert link.read_bytes() == SMALL


async def test_a_reader_that_does_not_wait(store: Store) -> None:
    """O_NONBLOCK: it gets EAGAIN while the blob is looked at, and what was found is remembered."""
    put_blob(store, RAW)
    at_rest(store.layout.blob(BLOB), 0)
    _, share = shares()
    disk = ScriptedDisk()
    async with running(store, share, disk=disk) as sync:
        resume = disk.pausing["demote"] = trio.Event()
        reader = await sync.loads.open(BLOB, len(RAW), None, None)
        with pytest.raises(errors.WouldBlock):
            await reader.read(*chunk(0), wait=0)
        resume.set()
        assert await reader.read(*chunk(0)) == part(0)
        reader.close()


async def test_the_disk_refuses_to_take_it_away(store: Store) -> None:
    """The reader gets the disk's error and no wrong byte, and may try again."""
    put_blob(store, RAW)
    at_rest(store.layout.blob(BLOB), 0)
    _, share = shares()
    disk = ScriptedDisk()
    async with running(store, share, disk=disk) as sync:
        disk.failing["demote"] = errors.StoreReadOnly("read-only")
        reader = await sync.loads.open(BLOB, len(RAW), None, None)
        assert (await failure_of(lambda: reader.read(*chunk(0)))).errno == errno.EROFS
        disk.failing.clear()
        assert await reader.read(*chunk(0)) == part(0)
        reader.close()


async def test_a_blob_that_was_dropped_is_read_to_its_end(store: Store) -> None:
    """Its tree has gone with it; who has it open reads it all the same, verified."""
    put_blob(store, RAW)
    share = FakeShare()
    async with running(store, share) as sync:
        readers = [await sync.loads.open(BLOB, len(RAW), None, None) for _ in range(2)]
        os.truncate(store.layout.tree(BLOB), 40)
        assert sealed.drop_blob_if_unnamed(store, BLOB)
        for reader in readers:
            assert await reader.read(0, len(RAW)) == RAW
            reader.close()
    assert share.asked == []


async def test_what_is_known_takes_bounded_memory(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was read longest ago is forgotten, and verified again."""
    monkeypatch.setattr(sealed_reading, "KEPT_BLOBS", 2)
    raws = [content(2 * CHUNK_SIZE, seed=seed) for seed in range(4)]
    for raw in raws:
        put_blob(store, raw)
    async with running(store) as sync:
        for raw in [*raws, *raws]:
            assert await read_all(sync, raw) == raw
        known: Any = sync.loads.stored._known
        assert [key[0] for key in known] == [blob_of(raw) for raw in raws[2:]]


@pytest.mark.parametrize("cut", [False, True])
async def test_the_manifest_of_a_package_is_mended_too(store: Store, cut: bool) -> None:
    """P1: a tree is never made of bytes that were not verified."""
    keywords = f"size={len(TINY)} time=1.000000000 contents={blob_of(TINY)}"
    raw = f"#mtree\n./f type=file mode=0644 {keywords}\n".encode()
    put_blob(store, raw)
    if cut:
        os.truncate(store.layout.blob(blob_of(raw)), 7)
    else:
        at_rest(store.layout.blob(blob_of(raw)), raw.index(b"size=") + 5)
    share = FakeShare()
    share.add_blob(raw)
    async with running(store, share) as sync:
        tree = await sync.trees.tree(blob_of(raw), ask_shares=True)
        assert [entry.path for entry in tree.manifest.entries] == [b"f"]
        await kept(sync)
    assert is_kept(store, blob_of(raw), raw)
