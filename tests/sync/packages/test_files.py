"""Opening the files of packages, above all the small ones that a bundle has."""

import errno
from collections.abc import Sequence
from dataclasses import replace

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from blobfs import errors
from blobfs.bundle import Member, bundle_members
from blobfs.manifest import File, parse_manifest, render_manifest
from blobfs.model import CHUNK_SIZE, EMPTY_BLOB, BlobId
from blobfs.store import sealed
from blobfs.store.opening import Store
from blobfs.sync.bundles.reading import MemberReader
from blobfs.sync.loading.reader import Reader
from blobfs.sync.loading.sealed_reading import SealedReader
from blobfs.sync.packages.files import PackageFiles
from tests.sync.fake_share import FakeShare, blob_of
from tests.sync.packages.made import Made, make
from tests.sync.packages.test_trees import place
from tests.sync.running import SETTINGS, content, kept, until
from tests.sync.virtual import Node, node

FILES = {f"{number}": content(1000 + number, number) for number in range(10)}
LARGE = content(CHUNK_SIZE + 1)
MADE = make({**FILES, "large": LARGE, "empty": b""})
FEW = make({"0": FILES["0"], "1": FILES["1"]})


def share_with(made: Made, **scripts: str) -> FakeShare:
    """It has the bundle too, if the package is worth one."""
    share = FakeShare(**scripts)  # type: ignore[arg-type]
    made.add_to(share)
    members = bundle_members(parse_manifest(made.meta))
    if members:
        share.bundles[made.package] = b"".join(made.blobs[member.blob] for member in members)
    return share


async def open_file(running: Node, raw: bytes, made: Made = MADE) -> Reader:
    return await running.sync.package_files.open(made.package, blob_of(raw), len(raw))


async def read_as(running: Node, made: Made, raw: bytes, size: int) -> bytes:
    """What somebody reads whose manifest gives the file this size."""
    reader = await running.sync.package_files.open(made.package, blob_of(raw), size)
    try:
        return bytes(await reader.read(0, size))
    finally:
        reader.close()


async def read_file(running: Node, raw: bytes, made: Made = MADE) -> bytes:
    """As `cat`: to the end, and one read beyond it."""
    reader = await open_file(running, raw, made)
    try:
        assert reader.size == len(raw)
        found = bytes(await reader.read(0, 128 * 1024))
        return found + await reader.read(len(found), 128 * 1024)
    finally:
        reader.close()


class ScriptedBundles:
    """Stands for `Bundles`. Its answers, in turn: bytes, None, or an event to wait for before None."""

    def __init__(self, *answers: bytes | trio.Event | None) -> None:
        self.answers = list(answers)
        self.arrived: dict[BlobId, bytes] = {}
        self.asked = 0

    def content_of(self, blob: BlobId) -> bytes | None:
        return self.arrived.get(blob)

    read = content_of

    async def bring(self, package: BlobId, members: Sequence[Member], blob: BlobId) -> bytes | None:
        self.asked += 1
        assert blob in {member.blob for member in members}
        answer = self.answers.pop(0)
        if isinstance(answer, trio.Event):
            await answer.wait()
            return None
        return answer


def with_bundles(running: Node, bundles: ScriptedBundles) -> PackageFiles:
    found = running.sync.package_files
    return PackageFiles(found.trees, bundles, found.loads, found.settings)


# What is here, and what is not small


async def test_what_is_here_needs_no_network(store: Store) -> None:
    """P6."""
    place(store, MADE.meta, FILES["0"], LARGE)
    share = share_with(MADE)
    async with node(store, share) as running:
        for raw in (FILES["0"], LARGE, b""):
            assert not isinstance(await open_file(running, raw), MemberReader)
            assert await read_file(running, raw) == raw
        assert running.sync.package_files.present_bytes(EMPTY_BLOB, 0) == 0
    assert share.asked == []


async def test_large_files_are_loaded_as_any_blob(store: Store) -> None:
    """And small ones of packages that have no bundle."""
    share = share_with(MADE)
    FEW.add_to(share)
    async with node(store, share) as running:
        assert await read_file(running, LARGE) == LARGE
        assert await read_file(running, FILES["1"], FEW) == FILES["1"]
        assert "bundle" not in share.counts()


async def test_open_asks_no_share(store: Store) -> None:
    """Not for the manifest either."""
    share = share_with(MADE)
    async with node(store, share) as running:
        for raw in (*FILES.values(), LARGE):
            (await open_file(running, raw)).close()
    assert share.asked == []


# Bundles


async def test_a_small_file_brings_its_neighbours(store: Store) -> None:
    """One request for all of them, and the next ones are here."""
    share = share_with(MADE)
    async with node(store, share) as running:
        assert await read_file(running, FILES["3"]) == FILES["3"]
        for raw in FILES.values():
            size = running.sync.package_files.present_bytes(blob_of(raw), len(raw))
            assert size == len(raw), "counted as soon as it has arrived"
            assert await read_file(running, raw) == raw
        assert share.counts()["bundle"] == 1
        await until(lambda: all(sealed.has(store, blob_of(raw)) for raw in FILES.values()))
        reader = await open_file(running, FILES["9"])
        assert isinstance(reader, SealedReader)
        reader.close()


async def test_what_came_with_a_neighbour_is_not_asked_for(store: Store) -> None:
    """Also for who had opened it before it came."""
    share = share_with(MADE)
    async with node(store, share) as running:
        first, second = await open_file(running, FILES["0"]), await open_file(running, FILES["1"])
        assert isinstance(second, MemberReader)
        await first.read(0, 4096)
        await until(lambda: sealed.has(store, blob_of(FILES["1"])))
        assert await second.read(5, 4096) == FILES["1"][5:]
        assert await second.read(len(FILES["1"]), 4096) == b""
        first.close()
        second.close()
        assert share.counts()["bundle"] == 1


@pytest.mark.parametrize("script", ["a*", "u*", "w*", "s*"])
async def test_without_a_bundle_a_blob_is_loaded_on_its_own(store: Store, script: str) -> None:
    """Whatever is wrong with the bundle."""
    share = share_with(MADE, bundle=script)
    async with node(store, share, settings=replace(SETTINGS, max_tries=3)) as running:
        assert await read_file(running, FILES["0"]) == FILES["0"]
        await until(lambda: sealed.has(store, blob_of(FILES["0"])), running.sync.sealer.hurry)


async def test_what_is_being_loaded_is_not_asked_for_again(store: Store) -> None:
    """P7: a load that is under way is joined."""
    share = share_with(MADE, blob="g")
    async with node(store, share) as running:
        raw = FILES["0"]
        loading = await running.sync.loads.open(blob_of(raw), len(raw), None, None)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(loading.read, 0, 10)
            await share.waiting.wait()
            reader = await open_file(running, raw)
            share.gate.set()
            assert await reader.read(0, 4096) == raw
            reader.close()
        loading.close()
        assert "bundle" not in share.counts()


async def test_when_the_manifest_cannot_be_had_the_blob_may(store: Store) -> None:
    """Nobody but the bundle needs it."""
    share = share_with(MADE)
    del share.blobs[MADE.package]
    async with node(store, share) as running:
        assert await read_file(running, FILES["0"]) == FILES["0"]


async def test_a_size_that_a_manifest_has_wrong(store: Store) -> None:
    """EBADMSG: such a blob is nowhere."""
    entries = [File(name.encode(), 0o644, len(raw) + 1, 0, blob_of(raw)) for name, raw in FILES.items()]
    meta = render_manifest(entries)
    wrong = Made(blob_of(meta), meta, MADE.blobs)
    place(store, FILES["1"])
    share = share_with(wrong)
    async with node(store, share) as running:
        for raw in (FILES["0"], FILES["1"]):
            with pytest.raises(errors.BlobfsError) as caught:
                await read_as(running, wrong, raw, len(raw) + 1)
            assert caught.value.errno == errno.EBADMSG


# Waiting


async def test_two_reads_at_once_are_both_answered(store: Store) -> None:
    """The kernel may ask for two pages of one file at a time."""
    place(store, MADE.meta)
    async with node(store) as running:
        raw = FILES["0"]
        files = with_bundles(running, ScriptedBundles(raw, raw))
        reader = await files.open(MADE.package, blob_of(raw), len(raw))
        found = []

        async def read(offset: int) -> None:
            found.append(bytes(await reader.read(offset, 500)))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(read, 0)
            nursery.start_soon(read, 500)
        reader.close()
        assert sorted(found) == sorted([raw[:500], raw[500:]])


async def test_nobody_waits_longer_than_a_read_may(store: Store, autojump_clock: MockClock) -> None:
    """P3: bundle and load together; asked again at once it fails at once."""
    place(store, MADE.meta)
    settings = replace(SETTINGS, read_timeout=6.0, first_byte_timeout=100.0)
    async with node(store, FakeShare(blob="h*"), settings=settings) as running:
        bundles = ScriptedBundles(trio.Event(), trio.Event())
        files = with_bundles(running, bundles)
        reader = await files.open(MADE.package, blob_of(FILES["0"]), len(FILES["0"]))
        for longest in (6.0, 0.0):
            begin = trio.current_time()
            with pytest.raises(errors.DeadlineExceeded):
                await reader.read(0, 10)
            assert trio.current_time() - begin == longest
        reader.close()
        assert bundles.asked == 1


async def test_who_does_not_want_to_wait_gets_eagain(store: Store, autojump_clock: MockClock) -> None:
    """As long as the file was opened for; asked again at once it is said again at once, later it is there."""
    place(store, MADE.meta)
    raw = FILES["0"]
    async with node(store) as running:
        bundles = ScriptedBundles(trio.Event(), raw)
        files = with_bundles(running, bundles)
        reader = await files.open(MADE.package, blob_of(raw), len(raw))
        for longest in (2.0, 0.0):
            begin = trio.current_time()
            with pytest.raises(errors.WouldBlock):
                await reader.read(0, 10, wait=2.0)
            assert trio.current_time() - begin == longest
        await trio.sleep(SETTINGS.failure_memory)
        assert await reader.read(0, 10, wait=2.0) == raw[:10]
        reader.close()


async def test_who_does_not_wait_at_all_begins_a_load(store: Store) -> None:
    """`-o nonblock_wait=0`: EAGAIN at once, the load goes on, and a later read gets the bytes."""
    share = share_with(MADE, blob="oog")
    async with node(store, share, settings=replace(SETTINGS, failure_memory=0.0)) as running:
        raw = FILES["0"]
        await running.sync.trees.tree(MADE.package, ask_shares=True)
        reader = await open_file(running, raw)
        with pytest.raises(errors.WouldBlock):
            await reader.read(0, 10, wait=0)
        await share.waiting.wait()
        share.gate.set()
        await kept(running.sync)
        assert await reader.read(0, 10, wait=0) == raw[:10]
        reader.close()
        assert "bundle" not in share.counts()


async def test_a_reader_that_is_cancelled_leaves_nothing(store: Store) -> None:
    """It may be read again, and closed."""
    place(store, MADE.meta)
    raw = FILES["0"]
    async with node(store) as running:
        files = with_bundles(running, ScriptedBundles(trio.Event(), raw))
        reader = await files.open(MADE.package, blob_of(raw), len(raw))
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(reader.read, 0, 10)
                await wait_all_tasks_blocked()
                scope.cancel()
        assert await reader.read(0, 10) == raw[:10]
        reader.close()


async def test_what_has_arrived_is_read_before_it_is_stored(store: Store) -> None:
    """No need to wait for the disk."""
    place(store, MADE.meta)
    raw = FILES["0"]
    async with node(store) as running:
        bundles = ScriptedBundles()
        files = with_bundles(running, bundles)
        late = await files.open(MADE.package, blob_of(raw), len(raw))
        bundles.arrived[blob_of(raw)] = raw
        early = await files.open(MADE.package, blob_of(raw), len(raw))
        for reader in (early, late):
            assert reader.size == len(raw)
            assert await reader.read(1, 3) == raw[1:4]
            reader.close()
        assert files.present_bytes(blob_of(raw), len(raw)) == len(raw)
        assert bundles.asked == 0
