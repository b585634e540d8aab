"""What a path means to somebody who wants it loaded, and that all of it comes."""

import pytest

from blobfs import errors
from blobfs.model import CHUNK_SIZE, BlobId, Name
from blobfs.record import BlobRecord, SymlinkRecord
from blobfs.store import packages
from blobfs.store.opening import Store
from blobfs.sync.packages.path_loading import LoadedPath, PathLoading
from blobfs.sync.packages.progress import Progress
from blobfs.sync.packages.targets import MOST_LINKS
from blobfs.sync.service import SyncService
from tests.sync.fake_share import FakeShare, blob_of
from tests.sync.packages.made import make
from tests.sync.running import content, is_kept, running

TOOL = make({"bin/tool": content(300), "share/doc": content(9000)})
ONE, TWO = content(5000, 1), content(2 * CHUNK_SIZE, 2)


def link(target: str) -> SymlinkRecord:
    return SymlinkRecord(target, 500, 1_000)


def full_share(**scripts: str) -> FakeShare:
    """Names, directories and symlinks to everything."""
    share = FakeShare(**scripts)  # type: ignore[arg-type]
    TOOL.add_to(share)
    share.publish("one", ONE)
    share.publish("d/two", TWO)
    share.publish("d/e/one as well", ONE)
    share.put("tools/tool", link(f"../.blobfs/packages/{TOOL.package}"))
    share.put("tools/latest", link("tool"))
    share.put("to-d", link("d"))
    share.put("to-two", link("to-d/two"))
    share.put("d/back", link("../tools/latest"))
    share.put("by-id", link(f".blobfs/blobs/{blob_of(ONE)}"))
    return share


async def load(sync: SyncService, path: str, progress: Progress | None = None) -> LoadedPath:
    return await PathLoading(sync).load(path, progress or Progress())


def blob_loaded(raw: bytes) -> LoadedPath:
    return LoadedPath("blob", blob_of(raw), 1, 1, len(raw), 1, len(raw))


@pytest.mark.parametrize(
    ("path", "raw"),
    [
        ("one", ONE),
        ("d/two", TWO),
        ("./d//two", TWO),
        ("to-d/two", TWO),
        ("to-two", TWO),
        ("to-d/e/one as well", ONE),
        ("by-id", ONE),
        (f".blobfs/blobs/{blob_of(TWO)}", TWO),
    ],
)
async def test_blobs(store: Store, path: str, raw: bytes) -> None:
    """By names, through symlinks wherever they stand, by id: the blob is here."""
    async with running(store, full_share()) as sync:
        assert await load(sync, path) == blob_loaded(raw)
        assert is_kept(store, blob_of(raw), raw)


async def test_a_name_is_shared_in_turn(store: Store) -> None:
    """It is here under its name too; a second time nothing comes, and no share is asked."""
    async with running(store, full_share()) as sync:
        await load(sync, "d/two")
        assert store.layout.named(Name("d/two")).read_bytes() == TWO
    share = FakeShare(record="h*", size="h*")
    async with running(store, share) as sync:
        assert await load(sync, "d/two") == LoadedPath("blob", blob_of(TWO), 1, 1, len(TWO), 0, 0)


@pytest.mark.parametrize(
    "path",
    [
        f".blobfs/packages/{TOOL.package}",
        f".blobfs/blobs/{TOOL.package}",
        "tools/tool",
        "tools/latest",
        "d/back",
        "to-d/back",
    ],
)
async def test_packages(store: Store, path: str) -> None:
    """By id, by what `why` calls a typed id, by names that lead there over other names."""
    async with running(store, full_share()) as sync:
        loaded = await load(sync, path)
        assert packages.is_complete(store, TOOL.package)
    length = len(TOOL.meta) + 9300
    assert loaded == LoadedPath("package", TOOL.package, 2, 3, length, 3, length)


@pytest.mark.parametrize(("path", "names"), [("d", {"d/two", "d/e/one as well"}), ("to-d", {"d/two"})])
async def test_directories(store: Store, path: str, names: set[str]) -> None:
    """Everything below it, packages that have names there too; other symlinks are not followed."""
    async with running(store, full_share()) as sync:
        loaded = await load(sync, path)
        assert all(store.layout.named(Name(name)).exists() for name in names)
        assert not packages.is_complete(store, TOOL.package)
    assert loaded == LoadedPath("directory", None, 2, 2, len(ONE) + len(TWO), 2, len(ONE) + len(TWO))


@pytest.mark.parametrize("path", ["", ".", "d/.."])
async def test_the_whole_mount(store: Store, path: str) -> None:
    """All names that there are, and the package that some mean; what has two names counts twice."""
    progress = Progress()
    async with running(store, full_share()) as sync:
        loaded = await load(sync, path, progress)
        assert packages.is_complete(store, TOOL.package)
    names = 2 * len(ONE) + len(TWO)
    assert (loaded.kind, loaded.files, loaded.bytes) == ("directory", 5, names + len(TOOL.meta) + 9300)
    figures = progress.figures()
    assert (figures.blobs, figures.bytes) == (figures.total_blobs, figures.total_bytes) == (6, loaded.bytes)


async def test_a_directory_of_which_something_cannot_be_had(store: Store) -> None:
    """The rest is loaded; the error says what and how many."""
    share = full_share()
    for name in ("d/lost", "d/e/lost"):
        share.put(name, BlobRecord(BlobId("ab" * 32), 10, 0o444, 500, 1_000))
    async with running(store, share) as sync:
        with pytest.raises(errors.AbsentEverywhere, match=r"2 things .* first: d/(e/)?lost: ") as failed:
            await load(sync, "d")
        assert failed.value.attempts
        assert store.layout.named(Name("d/two")).exists()


async def test_a_directory_of_which_not_all_is_known(store: Store) -> None:
    """P4: what is known is loaded; and it is said that there may be more on a share that cannot be asked."""
    down = FakeShare("http://down/", log="u*", record="u*", size="u*")
    async with running(store, full_share(), down) as sync:
        with pytest.raises(errors.Unreachable, match="what is in d"):
            await load(sync, "d")
        assert store.layout.named(Name("d/two")).exists()


@pytest.mark.parametrize(
    ("path", "error"),
    [
        ("nothing", errors.AbsentEverywhere),
        ("d/nothing", errors.AbsentEverywhere),
        ("to-d/nothing", errors.AbsentEverywhere),
        ("one/below", errors.AbsentEverywhere),
        (f".blobfs/blobs/{'ab' * 32}", errors.AbsentEverywhere),
        (f".blobfs/packages/{'ab' * 32}", errors.AbsentEverywhere),
        (f".blobfs/packages/{blob_of(ONE)}", errors.WrongContent),
        (f".blobfs/packages/{TOOL.package}/bin/tool", errors.InvalidName),
        (".blobfs/packages/x", errors.InvalidName),
        (".blobfs/blobs", errors.InvalidName),
        (".blobfs", errors.InvalidName),
        (".blobfsx", errors.InvalidName),
        ("..", errors.InvalidName),
        ("../one", errors.InvalidName),
        ("/one", errors.InvalidName),
        ("\udcff", errors.InvalidName),
        ("x" * 300, errors.NameTooLong),
    ],
)
async def test_what_is_nothing_to_load(store: Store, path: str, error: type[Exception]) -> None:
    """Each its own error."""
    async with running(store, full_share()) as sync:
        with pytest.raises(error):
            await load(sync, path)


async def test_what_is_not_known(store: Store) -> None:
    """P4: EHOSTUNREACH, with what each share did."""
    async with running(store, full_share(record="u*", size="u*", log="u*")) as sync:
        for path in ("one", "d/two", f".blobfs/blobs/{blob_of(ONE)}", f".blobfs/packages/{TOOL.package}"):
            with pytest.raises(errors.Unreachable) as failed:
                await load(sync, path)
            assert failed.value.attempts


async def test_a_ring_of_symlinks(store: Store) -> None:
    """It is told from a long way, which is followed."""
    share = full_share()
    for number in range(MOST_LINKS):
        share.put(f"link{number}", link(f"link{number - 1}" if number else "one"))
    share.put("a", link("b"))
    share.put("b", link("a"))
    async with running(store, share) as sync:
        assert await load(sync, f"link{MOST_LINKS - 1}") == blob_loaded(ONE)
        with pytest.raises(errors.NotSupported, match="symlinks"):
            await load(sync, "a")


async def test_blobs_that_look_like_manifests(store: Store) -> None:
    """Whatever is no manifest to the end is a blob to be loaded like any other."""
    raw = b"#mtree\n" + b"./x type=file\n" * 20_000
    share = FakeShare()
    share.add_blob(raw)
    async with running(store, share) as sync:
        assert (await load(sync, f".blobfs/blobs/{blob_of(raw)}")).kind == "blob"
        assert is_kept(store, blob_of(raw), raw)
