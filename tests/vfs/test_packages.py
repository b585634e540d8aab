"""`.blobfs/packages`: what is seen of a package, and what is not."""

import errno
import os
import stat
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from blobfs import errors
from blobfs.manifest import MAX_NESTING, Directory, File, Link, Nested, render_manifest
from blobfs.model import CHUNK_SIZE, BlobId
from blobfs.store import packages, sealed
from blobfs.store.opening import Store
from blobfs.store.small import SmallBlob, place_small
from blobfs.vfs.attributes import NO_INODE, Attributes, Change
from blobfs.vfs.stat import LASTING, PASSING
from tests.sync.fake_share import FakeShare, blob_of, tree_of
from tests.sync.packages.made import MTIME_NS, Made, make
from tests.sync.running import content, jumping, kept, until
from tests.vfs.kernel import CALLER, Kernel, mounted
from tests.vfs.tasks import Proc
from tests.vfs.test_interrupted import CAUGHT, PATIENT, WAITER

VIEW = ".blobfs/packages"
LARGE = content(3 * CHUNK_SIZE + 7)
INNER = make({"x": b"inner x", "d/y": b"inner y"})
OUTER = make(
    {"bin/tool": b"tool", "README": b"read me", "large": LARGE, "empty": b"", "copy": b"tool"},
    Directory(b"nothing", 0o700),
    Link(b"bin/link", b"/usr/bin/env"),
    nested={"lib/inner": INNER},
)
TOP = ["README", "bin", "copy", "empty", "large", "lib", "nothing"]


def place(store: Store, *raws: bytes) -> None:
    place_small(store, [SmallBlob(blob_of(raw), raw, tree_of(raw).tree) for raw in raws])


def complete(store: Store, made: Made) -> None:
    """Makes a package complete here, as if everything had been written."""
    place(store, made.meta, *made.blobs.values())
    packages.open_transaction(store, made.package)
    assert packages.hold_present(store, made.package, [made.package, *made.blobs]) == []
    packages.complete_transaction(store, made.package)


def share_with(*made: Made, **scripts: str) -> FakeShare:
    share = FakeShare(**scripts)  # type: ignore[arg-type]
    for each in made:
        each.add_to(share)
    return share


def at(made: Made, path: str = "") -> str:
    return f"{VIEW}/{made.package}/{path}".rstrip("/")


async def walk(kernel: Kernel, path: str) -> dict[str, Attributes]:
    """As `find`: everything below, without opening a file."""
    found = {}
    for name, attributes in await kernel.scandir((await kernel.lookup(path)).inode):
        found[f"{path}/{name}"] = attributes
        if stat.S_ISDIR(attributes.mode):
            found |= await walk(kernel, f"{path}/{name}")
    return found


async def errno_of(call: Awaitable[object]) -> int:
    with pytest.raises(errors.BlobfsError) as caught:
        await call
    return caught.value.errno


# Which packages are seen


async def test_complete_packages_are_listed(store: Store) -> None:
    """Sorted; others open by name and are not listed."""
    share = share_with(OUTER)
    more = [make({"name": b"%d" % number}) for number in range(5)]
    for made in more:
        complete(store, made)
    async with mounted(store, share) as kernel:
        assert stat.S_ISDIR((await kernel.stat(at(OUTER))).mode)
        assert await kernel.listdir(VIEW) == sorted(made.package for made in more)
        for name, attributes in await kernel.scandir((await kernel.lookup(VIEW)).inode):
            assert (await kernel.lookup(f"{VIEW}/{name}")) == attributes
        share.asked.clear()
        for made in more:
            assert await kernel.read_file(at(made, "name")) == made.blobs[blob_of(await first(made))]
    assert share.asked == []


async def first(made: Made) -> bytes:
    return next(iter(made.blobs.values()))


async def test_a_package_whose_meta_blob_is_here_needs_no_network(store: Store) -> None:
    """P6: its tree is seen, and what of it is here is read."""
    place(store, OUTER.meta, INNER.meta, b"tool", b"inner x")
    async with mounted(store, share := FakeShare()) as kernel:
        await walk(kernel, at(OUTER))
        assert await kernel.read_file(at(OUTER, "bin/tool")) == b"tool"
        assert await kernel.read_file(at(OUTER, "lib/inner/x")) == b"inner x"
        assert await kernel.read_file(at(OUTER, "empty")) == b""
        assert await kernel.listdir(VIEW) == []
    assert share.asked == []


async def test_a_package_that_only_a_share_has_is_seen(store: Store) -> None:
    """Its meta blob is loaded, and nothing else."""
    share = share_with(OUTER)
    async with mounted(store, share) as kernel:
        assert await kernel.listdir(at(OUTER)) == TOP
        await kept(kernel.sync)
        assert {each.what for each in share.asked} == {OUTER.package}
        share.asked.clear()
        for _ in range(3):
            assert await kernel.listdir(at(OUTER, "bin")) == ["link", "tool"]
        assert share.asked == []


@pytest.mark.parametrize("read_only", [False, True])
@pytest.mark.parametrize(
    ("script", "number"), [("a*", errno.ENOENT), ("u*", errno.EHOSTUNREACH), ("r*", errno.EACCES)]
)
async def test_a_package_that_cannot_be_had_says_why(
    store: Store, script: str, number: int, read_only: bool
) -> None:
    """P4, on a writable mount too: nothing can be created there."""
    async with mounted(store, FakeShare(size=script), read_only=read_only) as kernel:
        assert await errno_of(kernel.lookup(at(OUTER))) == number


async def test_what_is_no_package_is_not_there(store: Store) -> None:
    """ENOENT for what is no id, EBADMSG for a blob that is no manifest."""
    place(store, b"no manifest")
    async with mounted(store) as kernel:
        for name in ("x", OUTER.package[:-1], OUTER.package.upper(), "0" * 64, "\udcff" * 64):
            assert await errno_of(kernel.lookup(f"{VIEW}/{name}")) == errno.ENOENT
        assert await errno_of(kernel.lookup(f"{VIEW}/{blob_of(b'no manifest')}")) == errno.EBADMSG


async def test_what_is_being_written_is_not_seen_before_it_is_complete(store: Store) -> None:
    """Though its meta blob, and all but one of its blobs, are here."""
    made = make({"a": b"a", "b": b"b"})
    place(store, made.meta, b"a")
    async with mounted(store, share := FakeShare()) as kernel:
        await kernel.mkdir(f".blobfs/needed/{made.package}")
        assert await errno_of(kernel.lookup(at(made))) == errno.ENOENT
        assert await kernel.listdir(VIEW) == []
        await kernel.write_file(f".blobfs/incoming/{blob_of(b'b')}", b"b")
        while kernel.sync.transactions.is_open(made.package):
            await wait_all_tasks_blocked(0.001)
        share.asked.clear()
        assert await kernel.listdir(VIEW) == [made.package]
        assert await kernel.read_file(at(made, "b")) == b"b"
        assert share.asked == []


async def test_what_a_share_has_is_seen_while_it_is_written_here(store: Store) -> None:
    """By what the share has; it is asked once."""
    made = make({"a": b"a", "b": b"b"})
    share = share_with(made)
    async with mounted(store, share) as kernel:
        await kernel.mkdir(f".blobfs/needed/{made.package}")
        await kernel.write_file(f".blobfs/needed/{made.package}/meta", made.meta)
        for _ in range(3):
            assert await kernel.listdir(at(made)) == ["a", "b"]
        assert share.counts()["size"] == 1
        assert await kernel.read_file(at(made, "a")) == b"a"


async def test_an_aborted_package_is_seen_no_more(store: Store) -> None:
    """Unless a share has it."""
    made = make({"a": b"a"})
    async with mounted(store, FakeShare()) as kernel:
        await kernel.mkdir(f".blobfs/needed/{made.package}")
        await kernel.write_file(f".blobfs/needed/{made.package}/meta", made.meta)
        await kernel.rmdir(f".blobfs/needed/{made.package}")
        await until(lambda: not sealed.has(store, made.package), kernel.sync.sealer.hurry)
        assert await errno_of(kernel.lookup(at(made))) == errno.ENOENT


async def test_a_package_that_has_gone_is_seen_no_more(store: Store) -> None:
    """Whoever stands in it can still look."""
    place(store, OUTER.meta)
    async with mounted(store, FakeShare()) as kernel:
        inside = (await kernel.lookup(at(OUTER))).inode
        assert sealed.drop_blob_if_unnamed(store, OUTER.package)
        assert await errno_of(kernel.lookup(at(OUTER))) == errno.ENOENT
        assert [name for name, _ in await kernel.scandir(inside)] == TOP


# What is seen of one


async def test_a_tree_is_as_its_manifest_says(store: Store) -> None:
    """Modes, times, sizes and targets; directories and links have no time."""
    raw = b"12345"
    blob = blob_of(raw)
    place(store, raw)
    entries = (
        Directory(b"d", 0o700),
        Directory(b"d/e", 0o555),
        File(b"d/none", 0o000, 5, 0, blob),
        File(b"d/old", 0o751, 5, -1_500_000_000, blob),
        File(b"new", 0o666, 5, MTIME_NS, blob),
        Link(b"link", b"../../\xff out"),
    )
    meta = render_manifest(entries)
    place(store, meta)
    root = f"{VIEW}/{blob_of(meta)}"
    async with mounted(store) as kernel:
        found = {"": await kernel.lookup(root), **await walk(kernel, root)}
        shown = {
            path.removeprefix(f"{root}/"): (oct(each.mode), each.nlink, each.size, each.blocks, each.mtime_ns)
            for path, each in found.items()
        }
        assert shown == {
            "": ("0o40755", 2, 0, 0, 0),
            "d": ("0o40700", 2, 0, 0, 0),
            "d/e": ("0o40555", 2, 0, 0, 0),
            "d/none": ("0o100000", 1, 5, 1, 0),
            "d/old": ("0o100751", 1, 5, 1, -1_500_000_000),
            "new": ("0o100666", 1, 5, 1, MTIME_NS),
            "link": ("0o120777", 1, 11, 0, 0),
        }
        for path, listed in found.items():
            assert await kernel.lookup(path or root) == listed
            assert await kernel.fs.getattr(listed.inode) == listed
            assert (listed.uid, listed.gid) == (os.getuid(), os.getgid())
        assert await kernel.readlink(f"{root}/link") == "../../\udcff out"
        assert await errno_of(kernel.readlink(f"{root}/new")) == errno.EINVAL


async def test_names_are_any_bytes(store: Store) -> None:
    """In listings and in lookups, below directories of such names too."""
    names = ["\udcff\udcfe", "blank and\nline", "\\134", "#=", ".blobfs-log", "ünï", "x" * 255, "*"]
    made = make({f"{name}/{name}": os.fsencode(name) for name in names})
    place(store, made.meta, *made.blobs.values())
    async with mounted(store) as kernel:
        assert await kernel.listdir(at(made)) == sorted(names, key=os.fsencode)
        for name in names:
            assert await kernel.listdir(at(made, name)) == [name]
            assert await kernel.read_file(at(made, f"{name}/{name}")) == os.fsencode(name)


async def test_what_holds_for_ever_is_believed_for_long(store: Store) -> None:
    """All but the entrance, which may go, and how much is here of what is not whole."""
    place(store, OUTER.meta, b"tool")
    async with mounted(store) as kernel:
        entrance = await kernel.lookup(at(OUTER))
        assert (entrance.entry_timeout, entrance.attr_timeout) == (PASSING, LASTING)
        for path, attributes in (await walk(kernel, at(OUTER, "bin"))).items():
            assert (attributes.entry_timeout, attributes.attr_timeout) == (LASTING, LASTING), path
        missing = await kernel.lookup(at(OUTER, "README"))
        assert (missing.entry_timeout, missing.attr_timeout) == (LASTING, PASSING)
        assert missing.blocks == 0


async def test_what_is_not_there_never_will_be(store: Store) -> None:
    """The kernel may remember it, in every directory of a package, and nowhere else."""
    place(store, OUTER.meta, INNER.meta)
    async with mounted(store) as kernel:
        for path in ("", "bin", "lib", "nothing", "lib/inner", "lib/inner/d"):
            directory = await kernel.lookup(at(OUTER, path))
            for name in (b"none", b"tool ", b"\xff", b"y" * 1000):
                found = await kernel.fs.lookup(directory.inode, name, CALLER)
                assert (found.inode, found.entry_timeout) == (NO_INODE, LASTING)
        for path in ("", ".blobfs", VIEW, ".blobfs/blobs"):
            directory = await kernel.lookup(path)
            assert await errno_of(kernel.fs.lookup(directory.inode, b"none", CALLER)) == errno.ENOENT


async def test_one_inode_for_one_path(store: Store) -> None:
    """However it is found, as long as the kernel remembers it; the same bytes elsewhere are another file."""
    place(store, OUTER.meta, INNER.meta)
    async with mounted(store) as kernel:
        found = await walk(kernel, at(OUTER))
        for path, attributes in found.items():
            assert (await kernel.lookup(path)).inode == attributes.inode
        assert len({attributes.inode for attributes in found.values()}) == len(found) == 13
        assert found[at(OUTER, "copy")].nlink == 1


async def test_nothing_stays_behind(store: Store) -> None:
    """What the kernel has forgotten has no inode, and is found again."""
    place(store, OUTER.meta, INNER.meta, b"tool")
    async with mounted(store) as kernel:
        for _ in range(2):
            await walk(kernel, at(OUTER))
            handle = await kernel.open(at(OUTER, "bin/tool"))
            kernel.forget_all()
            assert await kernel.read_all(handle) == b"tool"
            await kernel.close(handle)
            assert kernel.fs.statistics() == {"inodes": 1, "handles": 0}


async def test_a_large_directory_is_listed_without_work_for_each_file(store: Store) -> None:
    """3,000 files: no request, no hop to a thread for each."""
    made = make({f"d/{number:04}": b"%d" % number for number in range(3000)})
    place(store, made.meta)
    share = FakeShare()
    async with mounted(store, share) as kernel:
        inode = (await kernel.lookup(at(made, "d"))).inode
        before = kernel.sync.disk.hops
        assert [name for name, _ in await kernel.scandir(inode)] == [f"{number:04}" for number in range(3000)]
        assert kernel.sync.disk.hops == before
    assert share.asked == []


# Nested packages


async def test_a_nested_package_is_a_directory(store: Store) -> None:
    """Its meta blob is asked for when somebody looks into it, and not before."""
    share = share_with(OUTER)
    async with mounted(store, share) as kernel:
        listed = dict(await kernel.scandir((await kernel.lookup(at(OUTER, "lib"))).inode))
        assert listed["inner"].mode == stat.S_IFDIR | 0o755
        assert {each.what for each in share.asked} == {OUTER.package}
        assert await kernel.listdir(at(OUTER, "lib/inner")) == ["d", "x"]
        assert {each.what for each in share.asked} == {OUTER.package, INNER.package}
        assert await kernel.read_file(at(OUTER, "lib/inner/d/y")) == b"inner y"


@pytest.mark.parametrize("by_listing", [False, True])
@pytest.mark.parametrize(("script", "number"), [("a", errno.ENOENT), ("b", errno.EAGAIN)])
async def test_a_nested_package_that_is_missing_hides_nothing_else(
    store: Store, script: str, number: int, by_listing: bool
) -> None:
    """Looking into it fails, and that is not remembered as "not there"."""
    place(store, OUTER.meta, b"tool")
    share = share_with(INNER, size=script)
    async with mounted(store, share) as kernel:
        assert await kernel.listdir(at(OUTER, "lib")) == ["inner"]
        looking = kernel.listdir if by_listing else kernel.lookup
        assert await errno_of(looking(at(OUTER, "lib/inner" if by_listing else "lib/inner/x"))) == number
        assert await kernel.read_file(at(OUTER, "bin/tool")) == b"tool"
        assert await kernel.read_file(at(OUTER, "lib/inner/x")) == b"inner x"


async def test_a_nested_package_that_is_none(store: Store) -> None:
    """EBADMSG for who looks into it."""
    meta = render_manifest([Nested(b"lib", blob_of(b"no manifest"))])
    place(store, meta, b"no manifest")
    async with mounted(store) as kernel:
        path = f"{VIEW}/{blob_of(meta)}"
        assert await kernel.listdir(path) == ["lib"]
        assert await errno_of(kernel.listdir(f"{path}/lib")) == errno.EBADMSG
        assert await errno_of(kernel.lookup(f"{path}/lib/x")) == errno.EBADMSG


async def test_packages_nest_so_deep_and_no_deeper(store: Store) -> None:
    """EBADMSG below that."""
    made = make({"bottom": b"bottom"})
    for _ in range(MAX_NESTING + 1):
        made = make({}, nested={"n": made})
    place(store, made.meta, *made.blobs.values())
    async with mounted(store) as kernel:
        path = at(made) + "/n" * MAX_NESTING
        assert await kernel.listdir(path) == ["n"]
        assert await errno_of(kernel.listdir(f"{path}/n")) == errno.EBADMSG
        assert await errno_of(kernel.lookup(f"{path}/n/bottom")) == errno.EBADMSG


# Reading


async def test_files_are_loaded_as_they_are_read(store: Store) -> None:
    """Verified, shared in turn, and then read without any network."""
    share = share_with(OUTER)
    async with mounted(store, share) as kernel:
        assert await kernel.xattr(at(OUTER, "large"), "state") == "missing"
        assert await kernel.read_file(at(OUTER, "large")) == LARGE
        assert await kernel.read_file(at(OUTER, "bin/tool")) == b"tool"
        await kept(kernel.sync)
        share.asked.clear()
        assert await kernel.read_file(at(OUTER, "large")) == LARGE
        assert await kernel.read_file(at(OUTER, "copy")) == b"tool"
        assert (await kernel.stat(at(OUTER, "large"))).blocks == -(-len(LARGE) // 512)
        assert share.asked == []


async def test_the_empty_file_needs_nothing(store: Store) -> None:
    """No share, no load, no place in the store."""
    place(store, OUTER.meta)
    async with mounted(store, share := FakeShare()) as kernel:
        assert await kernel.read_file(at(OUTER, "empty")) == b""
        assert await kernel.xattr(at(OUTER, "empty"), "state") == "whole"
        assert kernel.sync.loads.statistics()["completed"] == 0
    assert share.asked == []


async def test_looking_loads_nothing(store: Store) -> None:
    """`find`, `ls -lR`, `du`, `getfattr`: only the manifests are asked for."""
    share = share_with(OUTER)
    async with mounted(store, share) as kernel:
        for path, attributes in (await walk(kernel, at(OUTER))).items():
            await kernel.fs.getattr(attributes.inode)
            for name in await kernel.fs.listxattr(attributes.inode):
                await kernel.fs.getxattr(attributes.inode, name, CALLER)
            if stat.S_ISREG(attributes.mode):
                await kernel.close(await kernel.open(path))
        assert {each.what for each in share.asked} == {OUTER.package, INNER.package}


async def test_what_is_nowhere_cannot_be_read(store: Store) -> None:
    """The open succeeds, the read says why it fails, and `last_error` tells of each attempt."""
    place(store, OUTER.meta)
    async with mounted(store, FakeShare(blob="u*")) as kernel:
        assert await errno_of(kernel.read_file(at(OUTER, "README"))) == errno.EHOSTUNREACH
        assert "connection refused" in await kernel.xattr(at(OUTER, "README"), "last_error")


async def test_attributes_of_files(store: Store) -> None:
    """`user.blobfs.*`, as of blobs."""
    share = share_with(OUTER)
    async with mounted(store, share) as kernel:
        path = at(OUTER, "README")

        async def all_of() -> dict[str, str]:
            names = await kernel.fs.listxattr((await kernel.lookup(path)).inode)
            return {
                (short := name.decode().removeprefix("user.blobfs.")): await kernel.xattr(path, short)
                for name in names
            }

        blob = blob_of(b"read me")
        before = {"id": blob, "state": "missing", "present": "0", "verified": "yes", "pinned": "0"}
        assert await all_of() == {**before, "shares": share.shown}
        await kernel.read_file(path)
        await kept(kernel.sync)
        assert await all_of() == {**before, "state": "whole", "present": "7", "shares": ""}
        inode = (await kernel.lookup(path)).inode
        await kernel.fs.setxattr(inode, b"user.blobfs.pinned", b"1", CALLER)
        assert await kernel.xattr(path, "pinned") == "1"
        for other in ("bin", "bin/link", ""):
            found = await kernel.lookup(at(OUTER, other))
            assert await kernel.fs.listxattr(found.inode) == []


# Nothing can be changed


async def test_nothing_can_be_changed(store: Store) -> None:
    """EPERM."""
    place(store, OUTER.meta, b"tool")
    async with mounted(store) as kernel:
        await kernel.write_file("mine", b"mine")
        await kernel.sealed_id("mine")
        file, directory, link = at(OUTER, "bin/tool"), at(OUTER, "bin"), at(OUTER, "bin/link")
        inode = (await kernel.lookup(file)).inode
        for call in (
            kernel.create(at(OUTER, "new")),
            kernel.create(f"{directory}/new"),
            kernel.mkdir(f"{directory}/new"),
            kernel.symlink(f"{directory}/new", "target"),
            kernel.link("mine", f"{directory}/new"),
            kernel.rename("mine", f"{directory}/new"),
            kernel.rename(file, f"{directory}/new"),
            kernel.rename(file, "taken"),
            kernel.rename(directory, "taken"),
            kernel.unlink(file),
            kernel.unlink(link),
            kernel.rmdir(directory),
            kernel.rmdir(at(OUTER)),
            kernel.mkdir(f"{VIEW}/{'0' * 64}"),
            kernel.create(f"{VIEW}/{'0' * 64}"),
            kernel.open(file, os.O_WRONLY),
            kernel.open(file, os.O_RDWR),
            kernel.open(file, os.O_RDONLY | os.O_TRUNC),
            kernel.set(file, Change(size=0)),
            kernel.set(file, Change(mode=0o755)),
            kernel.set(file, Change(mtime_ns=1)),
            kernel.set(file, Change(uid=os.getuid() + 1)),
            kernel.set(directory, Change(mode=0o755)),
            kernel.set(at(OUTER), Change(mtime_ns=1)),
            kernel.set(link, Change(mtime_ns=1)),
            kernel.fs.removexattr(inode, b"user.blobfs.id"),
            kernel.fs.setxattr((await kernel.lookup(directory)).inode, b"user.blobfs.pinned", b"1", CALLER),
        ):
            assert await errno_of(call) == errno.EPERM
        assert await kernel.listdir(directory) == ["link", "tool"]
        assert await kernel.read_file(file) == b"tool"
        assert await kernel.read_file("mine") == b"mine"


async def test_a_file_of_a_package_can_be_given_a_name(store: Store) -> None:
    """By `ln`, as a blob: a name has one of two modes. What is not here: EXDEV."""
    place(store, OUTER.meta, b"tool")
    async with mounted(store) as kernel:
        await kernel.link(at(OUTER, "bin/tool"), "tool")
        found = await kernel.stat("tool")
        assert (stat.S_IMODE(found.mode), found.mtime_ns) == (0o444, MTIME_NS)
        assert await kernel.read_file("tool") == b"tool"
        assert (await kernel.stat(at(OUTER, "bin/tool"))).mode == stat.S_IFREG | 0o644
        assert await errno_of(kernel.link(at(OUTER, "README"), "readme")) == errno.EXDEV


async def test_a_package_is_given_a_name_by_a_symlink(store: Store) -> None:
    """`ln -s .blobfs/packages/<id> tool`."""
    place(store, OUTER.meta)
    async with mounted(store) as kernel:
        await kernel.symlink("tool", at(OUTER))
        assert await kernel.listdir(await kernel.readlink("tool")) == TOP


# Who waits


async def test_a_wait_for_a_manifest_can_be_given_up(store: Store) -> None:
    """A caller that is cancelled leaves nothing behind, and the next one gets it."""
    share = share_with(OUTER, blob="g")
    async with mounted(store, share) as kernel:
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(kernel.lookup, at(OUTER))
                await share.waiting.wait()
                scope.cancel()
        share.gate.set()
        assert await kernel.listdir(at(OUTER)) == TOP


async def test_a_signal_ends_every_wait(store: Store, tmp_path: Path, mock_clock: MockClock) -> None:
    """EINTR (P3): at the entrance, before a nested package, in a read that waits for a bundle."""
    proc = Proc(tmp_path / "proc")
    proc.put(CAUGHT)
    made = make({str(number): b"%d" % number for number in range(10)}, nested={"inner": INNER})
    place(store, made.meta)
    share = share_with(size="h*", bundle="h*")
    share.bundles[made.package] = b"".join(b"%d" % number for number in range(10))
    async with mounted(store, share, settings=PATIENT, proc=str(proc.root)) as kernel:
        view = (await kernel.lookup(VIEW)).inode
        inner = (await kernel.lookup(at(made, "inner"))).inode
        opened = await kernel.fs.open(await kernel.file(at(made, "3")), os.O_RDONLY, WAITER)
        waits: list[Callable[[], Awaitable[object]]] = [
            lambda: kernel.fs.lookup(view, b"0" * 64, WAITER),
            lambda: kernel.fs.lookup(inner, b"x", WAITER),
            lambda: kernel.fs.opendir(inner, WAITER),
            lambda: kernel.fs.read(opened.handle, 0, 4096),
        ]
        before = kernel.fs.statistics()
        for wait in waits:
            with pytest.raises(errors.Interrupted):
                await jumping(mock_clock, wait)
        assert kernel.fs.statistics() == before
        assert kernel.sync.trees.statistics()["coming"] == 0
        assert share.counts()["bundle"] == 1
        await kernel.close(opened.handle)


def test_blob_ids_are_kept_apart() -> None:
    """A guard for the tests above: nothing is in two places by accident."""
    ids: list[BlobId] = [OUTER.package, INNER.package, *OUTER.blobs]
    assert len(set(ids)) == len(ids) - 1  # the inner package is one of the outer one's blobs
