"""The trees of packages: what they are made of, and where their manifests come from."""

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

from blobfs import errors
from blobfs.bundle import BUNDLE_FROM
from blobfs.config.settings import Fill, LoadSettings
from blobfs.manifest import Directory, Entry, File, Link, Manifest, Nested, parse_manifest
from blobfs.model import CHUNK_SIZE, EMPTY_BLOB, BlobId
from blobfs.store.opening import Store
from blobfs.store.small import SmallBlob, place_small
from blobfs.sync.packages import trees
from blobfs.sync.packages.trees import PackageTree, PackageTrees
from tests.sync.fake_share import FakeShare, blob_of, tree_of
from tests.sync.packages.made import Made, make
from tests.sync.running import SETTINGS, content, kept
from tests.sync.virtual import node

SMALL = make({"bin/tool": b"tool", "README": b"read me"}, Link(b"link", b"bin/tool"))
LONG = make({f"d/{number:05}": b"%d" % number for number in range(3000)})
"""Its manifest has more than two chunks."""


def place(store: Store, *raws: bytes) -> None:
    """Puts blobs into the store."""
    place_small(store, [SmallBlob(blob_of(raw), raw, tree_of(raw).tree) for raw in raws])


def share_with(*packages: Made, url: str = "http://one/", **scripts: str) -> FakeShare:
    share = FakeShare(url, **scripts)  # type: ignore[arg-type]
    for package in packages:
        package.add_to(share)
    return share


# The tree


def tree_of_manifest(made: Made) -> PackageTree:
    return PackageTree(made.package, parse_manifest(made.meta))


def test_a_tree_knows_every_path() -> None:
    """Each entry by its path, the root besides; what is not there is None."""
    inner = make({"x": b"x"})
    tree = tree_of_manifest(make({"bin/tool": b"tool"}, Link(b"l", b"bin"), nested={"lib": inner}))
    assert tree.entry(b"") == Directory(b"", 0o755)
    assert tree.entry(b"bin") == Directory(b"bin", 0o755)
    assert isinstance(tree.entry(b"bin/tool"), File)
    assert tree.entry(b"l") == Link(b"l", b"bin")
    assert tree.entry(b"lib") == Nested(b"lib", inner.package)
    for path in (b"tool", b"bin/", b"/bin", b"lib/x", b"bin/tool/x", b"\xff"):
        assert tree.entry(path) is None


def test_children_are_sorted_by_their_names() -> None:
    """Byte by byte, in every directory, though `a-b` comes before `a/b` among paths."""
    tree = tree_of_manifest(make({"a/z": b"", "a/b": b"", "a-b": b"", "a.b": b"", "é": b"", "Z": b""}))
    assert tree.children(b"") == [b"Z", b"a", b"a-b", b"a.b", "é".encode()]
    assert tree.children(b"a") == [b"b", b"z"]
    assert tree_of_manifest(make({})).children(b"") == []


@given(st.sets(st.text("ab-/.", min_size=1, max_size=8)))
@settings(max_examples=200, deadline=None)
def test_walking_a_tree_finds_its_manifest(names: set[str]) -> None:
    """From the root down: every entry once, and each directory's children in order."""
    names = {name for name in names if not {"", ".", ".."} & set(name.split("/"))}
    files = {name: b"x" for name in names if not any(other.startswith(f"{name}/") for other in names)}
    tree = tree_of_manifest(make(files))
    found: list[Entry] = []
    directories = [b""]
    while directories:
        path = directories.pop()
        children = list(tree.children(path))
        assert children == sorted(children)
        for child in children:
            entry = tree.entry(path + b"/" + child if path else child)
            assert entry is not None
            found.append(entry)
            if isinstance(entry, Directory):
                directories.append(entry.path)
    assert sorted(found, key=lambda entry: entry.path) == list(tree.manifest.entries)


def test_a_tree_knows_its_bundle() -> None:
    """The small blobs, if there are enough of them."""
    files = {str(number): b"%d" % number for number in range(BUNDLE_FROM)}
    large = content(CHUNK_SIZE + 1)
    tree = tree_of_manifest(make({**files, "large": large, "empty": b""}))
    assert {member.blob for member in tree.members} == {blob_of(raw) for raw in files.values()}
    assert tree.is_bundled(blob_of(b"0"))
    assert not tree.is_bundled(blob_of(large))
    assert not tree.is_bundled(EMPTY_BLOB)
    assert not tree_of_manifest(SMALL).is_bundled(blob_of(b"tool"))


def test_a_tree_of_very_many_files_is_built_once() -> None:
    """One walk over the entries: 100,000 files in ten directories."""
    blob = blob_of(b"x")
    entries: list[Entry] = []
    for directory in range(10):
        entries.append(Directory(b"%d" % directory, 0o755))
        entries += [File(b"%d/%05d" % (directory, number), 0o644, 1, 0, blob) for number in range(10_000)]
    tree = PackageTree(blob, Manifest(tuple(entries)))
    assert len(tree) == 100_010
    assert len(tree.children(b"7")) == 10_000
    assert tree.entry(b"7/01234") is entries[7 * 10_001 + 1 + 1234]


# Where manifests come from


async def test_a_manifest_that_is_here_needs_no_network(store: Store) -> None:
    """P6: read once, and then known."""
    place(store, SMALL.meta, LONG.meta)
    share = share_with(SMALL, LONG)
    async with node(store, share) as running:
        for made in (SMALL, LONG):
            tree = await running.sync.trees.tree(made.package, ask_shares=False)
            assert tree.package == made.package
            assert tree.manifest == parse_manifest(made.meta)
            assert await running.sync.trees.tree(made.package, ask_shares=True) is tree
        assert running.sync.trees.statistics()["read"] == 2
    assert share.asked == []


async def test_what_is_not_here_is_missing_if_nobody_may_be_asked(store: Store) -> None:
    """And no share is asked."""
    share = share_with(SMALL)
    async with node(store, share) as running:
        with pytest.raises(errors.NameMissing):
            await running.sync.trees.tree(SMALL.package, ask_shares=False)
    assert share.asked == []


@pytest.mark.parametrize("made", [SMALL, LONG], ids=["small", "long"])
async def test_a_manifest_is_loaded_like_any_blob(store: Store, made: Made) -> None:
    """Verified, kept, and shared in turn: the next one who wants it needs no share."""
    share = share_with(made)
    async with node(store, share) as running:
        tree = await running.sync.trees.tree(made.package, ask_shares=True)
        assert tree.manifest == parse_manifest(made.meta)
        await kept(running.sync)
        share.asked.clear()
        again = PackageTrees(store, running.sync.disk, running.sync.catalogue, running.sync.loads, SETTINGS)
        assert (await again.tree(made.package, ask_shares=False)).manifest == tree.manifest
    assert share.asked == []


async def test_callers_share_one_load(store: Store) -> None:
    """P7."""
    share = share_with(LONG, blob="g")
    found: list[PackageTree] = []
    async with node(store, share) as running:

        async def want() -> None:
            found.append(await running.sync.trees.tree(LONG.package, ask_shares=True))

        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(want)
            await share.waiting.wait()
            share.gate.set()
        asked_for_one = share.counts()
    assert len(found) == 5
    assert len(set(map(id, found))) == 1
    assert asked_for_one["size"] == 1


async def test_who_gives_up_takes_nothing_from_the_others(store: Store) -> None:
    """The next of them goes on."""
    share = share_with(SMALL, blob="g")
    async with node(store, share) as running:
        trees_, found = running.sync.trees, []
        first = trio.CancelScope()

        async def give_up() -> None:
            with first:
                await trees_.tree(SMALL.package, ask_shares=True)

        async def want() -> None:
            found.append(await trees_.tree(SMALL.package, ask_shares=True))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(give_up)
            await share.waiting.wait()
            nursery.start_soon(want)
            nursery.start_soon(want)
            await wait_all_tasks_blocked()
            first.cancel()
            share.gate.set()
        assert first.cancelled_caught
        assert len(found) == 2
        assert trees_.statistics()["coming"] == 0


@pytest.mark.parametrize(
    ("script", "error"),
    [("a*", errors.AbsentEverywhere), ("u*", errors.Unreachable), ("r*", errors.RefusedEverywhere)],
)
async def test_what_cannot_be_had_says_why(store: Store, script: str, error: type[errors.LoadFailed]) -> None:
    """P4. Nothing of it is remembered: the next one asks again, and gets it."""
    share = share_with(SMALL, size=script)
    async with node(store, share) as running:
        with pytest.raises(error):
            await running.sync.trees.tree(SMALL.package, ask_shares=True)
    share = share_with(SMALL, size=script[0])
    async with node(store, share, settings=QUICK) as running:
        with pytest.raises(error):
            await running.sync.trees.tree(SMALL.package, ask_shares=True)
        tree = await running.sync.trees.tree(SMALL.package, ask_shares=True)
        assert tree.package == SMALL.package


QUICK = LoadSettings(max_tries=1, read_ahead=0, fill=Fill.NEVER, failure_memory=0.0, negative_ttl=0.0)


@pytest.mark.parametrize("phase", ["size", "blob"])
async def test_a_share_that_hangs_is_not_waited_for_longer_than_a_lookup(
    store: Store, phase: str, autojump_clock: MockClock
) -> None:
    """P3: ETIMEDOUT, or whatever the question for the size came to; and all who wait are told."""
    share = share_with(LONG, **{phase: "h*"})
    async with node(store, share) as running:
        failed = []

        async def want() -> None:
            with pytest.raises(errors.LoadFailed) as caught:
                await running.sync.trees.tree(LONG.package, ask_shares=True)
            failed.append(caught.value)

        begin = trio.current_time()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(want)
            nursery.start_soon(want)
        assert trio.current_time() - begin <= SETTINGS.lookup_timeout + 0.001
        assert {type(error) for error in failed} <= {errors.DeadlineExceeded, errors.Unreachable}
        assert len(failed) == 2


@pytest.mark.parametrize(
    "raw", [b"no manifest", b"#mtree", b"#mtree\nx", b"", content(40 * CHUNK_SIZE)], ids=len
)
@pytest.mark.parametrize("is_here", [True, False], ids=["here", "there"])
async def test_what_is_no_manifest_is_refused(store: Store, raw: bytes, is_here: bool) -> None:
    """EBADMSG, wherever it is; a long one is not loaded to its end to find out."""
    share = FakeShare()
    blob = share.add_blob(raw)
    if is_here:
        place(store, raw)
    async with node(store, share) as running:
        for _ in range(2):
            with pytest.raises(errors.WrongContent):
                await running.sync.trees.tree(blob, ask_shares=True)
    assert share.received < 10 * CHUNK_SIZE
    if is_here or not raw:
        assert share.asked == []


@pytest.mark.parametrize("is_here", [True, False], ids=["here", "there"])
async def test_what_is_too_long_for_a_manifest_is_not_loaded(
    store: Store, is_here: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its size says enough."""
    monkeypatch.setattr(trees, "MAX_MANIFEST_BYTES", len(LONG.meta) - 1)
    share = share_with(LONG)
    if is_here:
        place(store, LONG.meta)
    async with node(store, share) as running:
        with pytest.raises(errors.WrongContent):
            await running.sync.trees.tree(LONG.package, ask_shares=True)
        assert running.sync.loads.statistics()["loads"] == 0


async def test_a_manifest_that_a_share_has_wrong_is_not_believed(store: Store) -> None:
    """P1: the other share's is taken."""
    liar, honest = share_with(LONG, blob="w*"), share_with(LONG, url="http://two/")
    async with node(store, liar, honest) as running:
        tree = await running.sync.trees.tree(LONG.package, ask_shares=True)
        assert tree.manifest == parse_manifest(LONG.meta)


# What shares have


async def test_what_a_share_has_can_be_told_from_what_is_here(store: Store) -> None:
    """A manifest that is only here is no shared one; the shares are asked once for one that is."""
    place(store, SMALL.meta, LONG.meta)
    share = share_with(LONG)
    async with node(store, share) as running:
        with pytest.raises(errors.AbsentEverywhere):
            await running.sync.trees.shared_tree(SMALL.package)
        for _ in range(3):
            assert (await running.sync.trees.shared_tree(LONG.package)).package == LONG.package
        assert share.counts()["size"] == 2
        assert [each.what for each in share.asked if each.phase == "blob" and each.offset == 0] == []


async def test_what_was_loaded_is_known_to_be_shared(store: Store) -> None:
    """It came from a share: none is asked whether it has it."""
    share = share_with(SMALL)
    async with node(store, share) as running:
        tree = await running.sync.trees.tree(SMALL.package, ask_shares=True)
        share.asked.clear()
        assert await running.sync.trees.shared_tree(SMALL.package) is tree
    assert share.asked == []


# What is kept


async def test_the_trees_used_last_are_kept(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Up to a number of entries in all; the last one stays however large it is."""
    monkeypatch.setattr(trees, "KEPT_ENTRIES", 20)
    packages = [make({f"{number}{name}": b"" for name in "abcd"}) for number in range(6)]
    large = make({str(number): b"" for number in range(50)})
    place(store, large.meta, *(made.meta for made in packages))
    async with node(store) as running:
        found = running.sync.trees

        async def get(package: BlobId) -> PackageTree:
            return await found.tree(package, ask_shares=False)

        first = await get(packages[0].package)
        for made in packages[1:]:
            await get(made.package)
            assert await get(packages[0].package) is first
        assert (found.statistics()["trees"], found.statistics()["entries"]) == (4, 20)
        await get(large.package)
        assert (found.statistics()["trees"], found.statistics()["entries"]) == (1, 51)
        assert await get(packages[0].package) is not first
        assert repr(found) == f"<PackageTrees {found.statistics()}>"
