"""Whole packages: everything that belongs to one comes here, once, and it is complete then."""

from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from blobfs import errors
from blobfs.bundle import bundle_members
from blobfs.manifest import MAX_NESTING, parse_manifest
from blobfs.model import CHUNK_SIZE, EMPTY_BLOB, BlobId
from blobfs.store import packages, sealed
from blobfs.store.opening import Store, open_store
from blobfs.store.small import SmallBlob, place_small
from blobfs.sync.packages import manifests, whole_blobs
from blobfs.sync.packages.loading import LoadedPackage
from blobfs.sync.packages.progress import Figures, Progress
from blobfs.sync.service import SyncService
from tests.sync.fake_share import FakeShare, blob_of, tree_of
from tests.sync.packages.made import Made, make
from tests.sync.running import SETTINGS, ScriptedDisk, content, copy_of, is_kept, running, until

BIG = content(3 * CHUNK_SIZE, 1)
SOME = make({"bin/tool": content(300, 2), "big": BIG, "copy/of/tool": content(300, 2), "empty": b""})
"""Three blobs in four files."""
INNER = make({"lib/x": content(9000, 3), "shared": content(300, 2)})
OUTER = make({"main": content(20_000, 4)}, nested={"deps/inner": INNER, "again": INNER})
MANY = make({f"d/{number:02}": content(100 + number, number) for number in range(40)})


METAS = {made.package for made in (SOME, INNER, OUTER, MANY)}


def share_with(*made: Made, url: str = "http://one/", **scripts: str) -> FakeShare:
    share = FakeShare(url, **scripts)  # type: ignore[arg-type]
    for each in made:
        each.add_to(share)
    return share


def sizes_of(made: Made) -> dict[BlobId, int]:
    """All of its blobs."""
    return {made.package: len(made.meta)} | {blob: len(raw) for blob, raw in made.blobs.items()}


def assert_complete(store: Store, made: Made) -> None:
    assert packages.is_complete(store, made.package)
    assert is_kept(store, made.package, made.meta)
    assert all(is_kept(store, blob, raw) for blob, raw in made.blobs.items())


async def load(sync: SyncService, made: Made, progress: Progress | None = None) -> LoadedPackage:
    return await sync.package_loading.load(made.package, progress or Progress())


def asked_for(share: FakeShare) -> dict[str, int]:
    """The blobs whose bytes were asked for, and how many; small manifests once more, to prove their size."""
    asked: Counter[str] = Counter()
    for each in share.asked:
        if each.phase == "blob":
            asked[each.what] += each.length
    return dict(asked)


def content_asked_for(share: FakeShare) -> dict[str, int]:
    """The same without the manifests."""
    return {blob: length for blob, length in asked_for(share).items() if blob not in METAS}


def content_of(made: Made) -> dict[BlobId, int]:
    """Its blobs that a share is asked for, without the manifests."""
    return {blob: size for blob, size in sizes_of(made).items() if blob not in METAS and size}


async def test_everything_comes_once(store: Store) -> None:
    """Each blob is asked for once, however many files have it, and then the package is complete."""
    share = share_with(SOME)
    async with running(store, share) as sync:
        loaded = await load(sync, SOME)
        assert_complete(store, SOME)
    total = sum(sizes_of(SOME).values())
    assert loaded == LoadedPackage(SOME.package, 4, 4, total, 4, total)
    assert content_asked_for(share) == content_of(SOME)


async def test_packages_in_packages(store: Store) -> None:
    """What is nested comes with it, once; a file counts wherever it stands."""
    share = share_with(OUTER)
    async with running(store, share) as sync:
        loaded = await load(sync, OUTER)
        assert_complete(store, OUTER)
    assert (loaded.files, loaded.blobs) == (5, len(sizes_of(OUTER)))
    assert content_asked_for(share) == content_of(OUTER)


async def test_what_is_here_needs_no_network(store: Store) -> None:
    """P6: a package that is complete is loaded without a share, also by the next run."""
    async with running(store, share_with(OUTER)) as sync:
        await load(sync, OUTER)
    share = FakeShare()
    async with running(store, share) as sync:
        loaded = await load(sync, OUTER)
    assert (loaded.loaded_blobs, loaded.loaded_bytes) == (0, 0)
    assert loaded.bytes == sum(sizes_of(OUTER).values())
    assert share.asked == []


def add_bundle(share: FakeShare, made: Made) -> None:
    members = bundle_members(parse_manifest(made.meta))
    share.bundles[made.package] = b"".join(made.blobs[member.blob] for member in members)


async def test_small_blobs_come_in_bundles(store: Store) -> None:
    """One request for all of them, the large ones beside it; of a nested package out of its own bundle."""
    outer = make({"big": BIG, "x": b"x"}, nested={"many": MANY})
    share = share_with(outer)
    add_bundle(share, MANY)
    async with running(store, share) as sync:
        loaded = await load(sync, outer)
        assert_complete(store, outer)
    assert loaded.loaded_bytes == loaded.bytes == sum(sizes_of(outer).values())
    assert share.counts()["bundle"] == 1
    assert share.ranges("bundle") == [(0, sum(len(raw) for raw in MANY.blobs.values()))]
    assert set(asked_for(share)) == {outer.package, MANY.package, blob_of(BIG), blob_of(b"x")}


async def test_what_a_bundle_lacks_comes_alone(store: Store) -> None:
    """A bundle that is cut short, and one that is wrong in the middle: every blob is here all the same."""
    cut, wrong = share_with(MANY), share_with(MANY, url="http://two/")
    add_bundle(cut, MANY)
    add_bundle(wrong, MANY)
    cut.bundles[MANY.package] = cut.bundles[MANY.package][:1000]
    wrong.bundles[MANY.package] = bytes(2000) + wrong.bundles[MANY.package][2000:]
    async with running(store, cut, wrong) as sync:
        loaded = await load(sync, MANY)
        assert_complete(store, MANY)
    assert loaded.loaded_blobs == loaded.blobs == len(sizes_of(MANY))
    assert loaded.loaded_bytes == loaded.bytes


async def test_what_other_packages_have_is_not_loaded(store: Store) -> None:
    """Only what is missing is asked for; the rest counts as found."""
    share = share_with(SOME, OUTER)
    async with running(store, share) as sync:
        await load(sync, SOME)
        share.asked.clear()
        progress = Progress()
        loaded = await load(sync, OUTER, progress)
    assert blob_of(content(300, 2)) not in asked_for(share)
    assert loaded.loaded_blobs == loaded.blobs - 1
    assert loaded.loaded_bytes == loaded.bytes - 300
    assert progress.figures() == Figures(
        loaded.blobs, loaded.bytes, loaded.blobs, loaded.bytes, loaded.loaded_blobs, loaded.loaded_bytes
    )


async def test_all_is_here_but_it_is_not_complete(store: Store) -> None:
    """Blobs that came one by one: the package becomes complete, and no share is asked."""
    raws = [SOME.meta, *SOME.blobs.values()]
    place_small(store, [SmallBlob(blob_of(raw), raw, tree_of(raw).tree) for raw in raws])
    share = FakeShare()
    async with running(store, share) as sync:
        loaded = await load(sync, SOME)
        assert_complete(store, SOME)
    assert loaded.loaded_blobs == 0
    assert share.asked == []


async def test_a_share_that_is_down_costs_nothing_but_time(store: Store) -> None:
    """P5: the other one has it all."""
    down = share_with(MANY, url="http://down/", size="u*", tree="u*", blob="u*", bundle="u*")
    async with running(store, down, share_with(MANY, url="http://up/")) as sync:
        await load(sync, MANY)
        assert_complete(store, MANY)


async def test_a_blob_that_nobody_has(store: Store) -> None:
    """The error names its file and says what each share said; everything else is loaded all the same."""
    share = share_with(MANY)
    lost = blob_of(MANY.blobs[blob_of(content(107, 7))])
    del share.blobs[lost]
    async with running(store, share) as sync:
        with pytest.raises(errors.AbsentEverywhere, match=r"d/07: ") as failed:
            await load(sync, MANY)
        assert [attempt.share for attempt in failed.value.attempts] == ["http://one/"]
        assert not packages.is_complete(store, MANY.package)
        missing = [blob for blob in sizes_of(MANY) if not sealed.has(store, blob)]
        assert missing == [lost]
    share = share_with(MANY)
    async with running(store, share) as sync:
        await load(sync, MANY)
    assert content_asked_for(share) == {lost: 107}


async def test_wrong_bytes_of_a_nested_file(store: Store) -> None:
    """P1: they are not kept, and the error says where the file stands in the package."""
    share = share_with(OUTER)
    wrong = blob_of(content(9000, 3))
    share.blobs[wrong] = content(9000, 99)
    async with running(store, share) as sync:
        with pytest.raises(errors.WrongEverywhere, match=r"(deps/inner|again)/lib/x: "):
            await load(sync, OUTER)
        assert not sealed.has(store, wrong)


async def test_many_blobs_that_nobody_has(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A share that has lost them all is not asked for each."""
    monkeypatch.setattr(whole_blobs, "COMING", 1)
    share = share_with(MANY)
    share.blobs = {MANY.package: MANY.meta}
    async with running(store, share) as sync:
        with pytest.raises(errors.AbsentEverywhere, match=r"d/39: "):
            await load(sync, MANY)
    assert len(asked_for(share)) - 1 == whole_blobs.MOST_MISSING


async def test_shares_that_cannot_be_reached_end_it(store: Store) -> None:
    """The first such failure is the end, with its attempts; what had come stays."""
    share = share_with(SOME, blob="oou*", bundle="u*")
    async with running(store, share) as sync:
        with pytest.raises(errors.Unreachable, match=r"big|bin/tool") as failed:
            await load(sync, SOME)
        assert failed.value.attempts[-1].detail == "connection refused"
        await until(lambda: is_kept(store, SOME.package, SOME.meta), sync.sealer.hurry)


@pytest.mark.parametrize(("script", "error"), [("a", errors.AbsentEverywhere), ("u*", errors.Unreachable)])
async def test_a_package_that_cannot_be_had(store: Store, script: str, error: type[Exception]) -> None:
    """Absent and unreachable are different things (P4)."""
    async with running(store, share_with(SOME, size=script)) as sync:
        with pytest.raises(error):
            await load(sync, SOME)


@pytest.mark.parametrize("raw", [b"#mtree\n./x type=socket\n", b"#mtree", b"text", b"", content(9000)])
async def test_what_is_no_package(store: Store, raw: bytes) -> None:
    """EBADMSG, also for what only begins like a manifest."""
    share = FakeShare()
    share.add_blob(raw)
    async with running(store, share) as sync:
        with pytest.raises(errors.WrongContent, match="no package"):
            await sync.package_loading.load(blob_of(raw), Progress())


async def test_a_nested_one_that_is_no_package(store: Store) -> None:
    """The error says where it stands."""
    wrong = Made(blob_of(b"text"), b"text", {})
    async with running(store, share_with(make({}, nested={"d/e": wrong}))) as sync:
        with pytest.raises(errors.WrongContent, match=r"^d/e: the blob [0-9a-f]{64} is no package"):
            await load(sync, make({}, nested={"d/e": wrong}))


async def test_a_manifest_that_is_too_long_is_not_loaded(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is known by its size."""
    made = make({f"{number:03}": b"" for number in range(500)})
    monkeypatch.setattr(manifests, "MAX_MANIFEST_BYTES", len(made.meta) - 1)
    share = share_with(made)
    async with running(store, share) as sync:
        with pytest.raises(errors.WrongContent, match=f"it has {len(made.meta)} bytes"):
            await load(sync, made)
    assert asked_for(share)[made.package] < len(made.meta)  # what proves its size


def nested(depth: int) -> Made:
    made = make({"x": b"innermost"})
    for _ in range(depth):
        made = make({}, nested={"in": made, "as/well": made})
    return made


async def test_how_deep_packages_nest(store: Store) -> None:
    """As deep as a view of them shows, and no deeper; that they are nested twice each costs nothing."""
    share = share_with(nested(MAX_NESTING), nested(MAX_NESTING + 1))
    async with running(store, share) as sync:
        loaded = await load(sync, nested(MAX_NESTING))
        assert (loaded.files, loaded.blobs) == (2**MAX_NESTING, MAX_NESTING + 2)
        with pytest.raises(errors.WrongContent, match="more than 16 deep"):
            await load(sync, nested(MAX_NESTING + 1))


async def test_manifests_that_contradict_each_other(store: Store) -> None:
    """Two sizes of one blob: nothing of it is loaded."""
    inner = make({"x": content(50)})
    other = make({"x": content(50)})
    bad_meta = other.meta.replace(b"size=50", b"size=51")
    bad = Made(blob_of(bad_meta), bad_meta, other.blobs)
    outer = make({}, nested={"a": inner, "b": bad})
    share = share_with(outer)
    async with running(store, share) as sync:
        with pytest.raises(errors.WrongContent, match=r"5[01] bytes, another 5[01]"):
            await load(sync, outer)
    assert blob_of(content(50)) not in asked_for(share)


# Many callers


async def test_callers_share_one_load(store: Store) -> None:
    """P7: N callers cause one load, and each sees how far it is; one that is cancelled changes nothing."""
    share = share_with(SOME, blob="g*", bundle="g*")
    progresses = [Progress() for _ in range(3)]
    results: list[LoadedPackage] = []
    async with running(store, share) as sync, trio.open_nursery() as nursery:

        async def call(progress: Progress) -> None:
            results.append(await load(sync, SOME, progress))

        with trio.CancelScope() as scope:
            async with trio.open_nursery() as cancelled:
                cancelled.start_soon(call, progresses[0])
                nursery.start_soon(call, progresses[1])
                nursery.start_soon(call, progresses[2])
                await share.waiting.wait()
                scope.cancel()
        share.gate.set()
        with trio.fail_after(30):
            while len(results) < 2:
                await wait_all_tasks_blocked(0.001)
    assert results[0] == results[1]
    assert progresses[1].figures() == progresses[2].figures()
    assert content_asked_for(share) == content_of(SOME)


async def test_with_its_last_caller_a_load_ends(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """No more is asked for; what had come, or was on its way, is not loaded again by whoever comes next."""
    monkeypatch.setattr(whole_blobs, "COMING", 4)
    share = share_with(MANY, blob="o" * 11 + "g*", bundle="u*")
    async with running(store, share) as sync:
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(load, sync, MANY)
                await share.waiting.wait()
                scope.cancel()
        await until(lambda: repr(sync.package_loading) == "<PackageLoading []>")
        share.gate.set()
        await until(lambda: sync.loads.statistics()["loads"] == 0, sync.sealer.hurry)
        assert len(share.asked) <= 3 + 11 + 4
        await load(sync, MANY)
        assert_complete(store, MANY)
    assert content_asked_for(share) == content_of(MANY)


async def test_after_a_crash_the_rest_is_loaded(store: Store, tmp_path: Path) -> None:
    """SIGKILL half-way: the next run asks only for what had not come."""
    share = share_with(MANY, blob="o" * 11 + "h*", bundle="u*")
    async with running(store, share) as sync, trio.open_nursery() as nursery:
        nursery.start_soon(load, sync, MANY)
        await share.waiting.wait()
        here = [blob for blob in sizes_of(MANY) if sealed.has(store, blob)]
        left = copy_of(store.layout.root, tmp_path / "copy")
        nursery.cancel_scope.cancel()
    again = open_store(left)
    try:
        share = share_with(MANY)
        async with running(again, share) as sync:
            await load(sync, MANY)
            assert_complete(again, MANY)
        expected = {blob: size for blob, size in content_of(MANY).items() if blob not in here}
        assert content_asked_for(share) == expected
    finally:
        again.close(clean=False)


async def test_the_end_of_the_node_ends_the_wait(store: Store) -> None:
    """Whoever waits is told, when the service is cancelled around him."""
    share = share_with(SOME, blob="h*", bundle="h*")
    told: list[BaseException] = []
    async with trio.open_nursery() as outside, running(store, share) as sync:

        async def call() -> None:
            with pytest.raises(errors.ServiceEnded) as failed:
                await load(sync, SOME)
            told.append(failed.value)

        outside.start_soon(call)
        await share.waiting.wait()
    assert len(told) == 1


# What goes wrong on this side


async def test_a_blob_that_is_removed_meanwhile_comes_again(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The package is made complete of what is really there; what comes twice is counted once."""
    share = share_with(SOME)
    async with running(store, share) as sync:
        adopt: Callable[[BlobId], Awaitable[bool]] = sync.transactions.adopt
        removed: list[BlobId] = []

        async def adopt_less(package: BlobId) -> bool:
            if not removed:
                removed.append(blob_of(BIG))
                store.layout.blob(removed[0]).unlink()
            return await adopt(package)

        monkeypatch.setattr(sync.transactions, "adopt", adopt_less)
        loaded = await load(sync, SOME)
        assert_complete(store, SOME)
    assert asked_for(share)[removed[0]] == 2 * len(BIG)
    assert loaded.loaded_blobs == loaded.blobs


async def test_blobs_that_are_removed_again_and_again(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """It gives up."""
    async with running(store, share_with(SOME)) as sync:

        async def refuse(package: BlobId) -> bool:
            return False

        monkeypatch.setattr(sync.transactions, "adopt", refuse)
        with pytest.raises(errors.StoreBroken, match="removed"):
            await load(sync, SOME)


async def test_a_full_disk(store: Store) -> None:
    """ENOSPC, at once."""
    disk = ScriptedDisk()
    disk.failing["place_partial"] = errors.StoreFull("No space left on device")
    async with running(store, share_with(SOME), disk=disk) as sync:
        with pytest.raises(errors.StoreFull):
            await load(sync, SOME)
        assert not packages.is_complete(store, SOME.package)


async def test_a_defect_is_an_error_of_its_load(
    store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """P8: it is logged, its callers get an error, and other packages are loaded."""
    async with running(store, share_with(SOME, MANY)) as sync:
        adopt: Callable[[BlobId], Awaitable[bool]] = sync.transactions.adopt

        async def fail(package: BlobId) -> bool:
            if package == SOME.package:
                raise ZeroDivisionError
            return await adopt(package)

        monkeypatch.setattr(sync.transactions, "adopt", fail)
        with pytest.raises(errors.LoadFailed, match="unexpected"):
            await load(sync, SOME)
        await load(sync, MANY)
    assert "ZeroDivisionError" in caplog.text


async def test_progress_of_a_large_blob(store: Store) -> None:
    """It is seen while it comes, not only at its end."""
    share = share_with(SOME, blob="op*", bundle="u*")
    share.short_after = CHUNK_SIZE
    progress = Progress()
    async with running(store, share, settings=replace(SETTINGS, span_size=8 * CHUNK_SIZE)) as sync:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(load, sync, SOME, progress)
            await until(lambda: progress.figures().bytes > CHUNK_SIZE)
            figures = progress.figures()
            assert figures.total_bytes == sum(sizes_of(SOME).values())
            assert figures.total_blobs == len(sizes_of(SOME))
            assert figures.loaded_bytes <= figures.bytes < figures.total_bytes
            share.gate.set()
        assert progress.figures().bytes == progress.figures().total_bytes


async def test_one_blob(store: Store) -> None:
    """By its id, whatever is in it; also the empty one, which no share is asked for."""
    share = FakeShare()
    share.add_blob(BIG)
    progress = Progress()
    async with running(store, share) as sync:
        for blob, raw in ((blob_of(BIG), BIG), (EMPTY_BLOB, b"")):
            load = await sync.whole_blobs.bring(blob, len(raw), progress)
            assert load is not None
            await sync.whole_blobs.wait_kept(load)
            assert is_kept(store, blob, raw)
        share.asked.clear()
        assert await sync.whole_blobs.bring(blob_of(BIG), len(BIG), progress) is None
    assert progress.figures() == Figures(3, 2 * len(BIG), loaded_blobs=2, loaded_bytes=len(BIG))
    assert share.asked == []
