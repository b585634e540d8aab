"""What is refused, with which errno; names and attributes that cannot be."""

import errno
import os

import pytest

from blobfs import errors
from blobfs.store.opening import Store
from blobfs.vfs.attributes import Change
from tests.sync.fake_share import FakeShare
from tests.vfs.kernel import CALLER, ROOT, Kernel, mounted

LONG = b"x" * 256


async def refused(call: object) -> int:
    with pytest.raises(errors.BlobfsError) as caught:
        await call  # type: ignore[misc]
    return caught.value.errno


async def filled(kernel: Kernel) -> None:
    await kernel.write_file("file", b"content")
    await kernel.sealed_id("file")
    await kernel.mkdir("d")
    await kernel.write_file("d/inner", b"inner")
    await kernel.symlink("link", "file")


@pytest.mark.parametrize(
    ("raw", "number"),
    [
        (LONG, errno.ENAMETOOLONG),
        (b"\xff\xfe", errno.EINVAL),
        (b".blobfs-log", errno.EINVAL),
        (b".blobfsx", errno.EINVAL),
        (b"a\0b", errno.EINVAL),
        (b"..", errno.EINVAL),
    ],
)
async def test_names_that_cannot_be(store: Store, raw: bytes, number: int) -> None:
    """Wherever one is given: no name leads out of the share or into its reserved files."""
    async with mounted(store) as kernel:
        await filled(kernel)
        fs = kernel.fs
        inode = (await kernel.lookup("file")).inode
        assert await refused(fs.lookup(ROOT, raw, CALLER)) == number
        assert await refused(fs.create(ROOT, raw, 0o644, os.O_WRONLY, CALLER)) == number
        assert await refused(fs.mkdir(ROOT, raw, 0o755, CALLER)) == number
        assert await refused(fs.symlink(ROOT, raw, b"file", CALLER)) == number
        assert await refused(fs.link(inode, ROOT, raw, CALLER)) == number
        assert await refused(fs.rename(ROOT, b"file", ROOT, raw, False, False, CALLER)) == number
        assert sorted(os.listdir(store.layout.share)) == [".blobfs", "d", "file"]
        assert await kernel.listdir() == ["d", "file", "link"]


async def test_a_whole_name_has_a_limit_too(store: Store) -> None:
    """1,024 bytes, also for what a rename of a directory would make of the names in it."""
    async with mounted(store) as kernel:
        path = "/".join(["d" * 250] * 4)
        for depth in range(1, 5):
            await kernel.mkdir("/".join(["d" * 250] * depth))
        await kernel.write_file(f"{path}/{'x' * 20}", b"fits")
        assert await refused(kernel.create(f"{path}/{'x' * 21}")) == errno.ENAMETOOLONG
        assert await refused(kernel.rename("d" * 250, "d" * 255)) == errno.ENAMETOOLONG
        assert await kernel.read_file(f"{path}/{'x' * 20}") == b"fits"


async def test_operations_on_what_is_not_that_kind(store: Store) -> None:
    """ENOTDIR, EISDIR, ENOTEMPTY, EEXIST, ENOENT, EINVAL, EPERM: as on any file system."""
    async with mounted(store) as kernel:
        await filled(kernel)
        fs = kernel.fs
        file, directory, link = [(await kernel.lookup(name)).inode for name in ("file", "d", "link")]
        assert await refused(fs.lookup(file, b"x", CALLER)) == errno.ENOTDIR
        assert await refused(fs.opendir(file, CALLER)) == errno.ENOTDIR
        assert await refused(fs.open(directory, os.O_RDONLY, CALLER)) == errno.EISDIR
        assert await refused(fs.unlink(ROOT, b"d", CALLER)) == errno.EISDIR
        assert await refused(fs.rmdir(ROOT, b"file", CALLER)) == errno.ENOTDIR
        assert await refused(fs.rmdir(ROOT, b"d", CALLER)) == errno.ENOTEMPTY
        assert await refused(fs.rmdir(ROOT, b"nothing", CALLER)) == errno.ENOENT
        assert await refused(fs.unlink(ROOT, b"nothing", CALLER)) == errno.ENOENT
        assert await refused(fs.mkdir(ROOT, b"file", 0o755, CALLER)) == errno.EEXIST
        assert await refused(fs.symlink(ROOT, b"link", b"x", CALLER)) == errno.EEXIST
        assert await refused(fs.link(file, ROOT, b"d", CALLER)) == errno.EEXIST
        assert await refused(fs.link(directory, ROOT, b"new", CALLER)) == errno.EPERM
        assert await refused(fs.link(link, ROOT, b"new", CALLER)) == errno.EPERM
        assert await refused(fs.readlink(file)) == errno.EINVAL
        assert await refused(fs.rename(ROOT, b"file", ROOT, b"d", False, False, CALLER)) == errno.EISDIR
        assert await refused(fs.rename(ROOT, b"d", ROOT, b"file", False, False, CALLER)) == errno.ENOTDIR
        assert await refused(fs.rename(ROOT, b"file", ROOT, b"link", False, True, CALLER)) == errno.EEXIST
        assert await refused(fs.rename(ROOT, b"file", ROOT, b"link", True, False, CALLER)) == errno.EINVAL
        assert await refused(fs.mknod(ROOT, b"pipe", 0o644, CALLER)) == errno.EPERM


async def test_a_rename_onto_itself_changes_nothing(store: Store) -> None:
    """The kernel does not ask for it, but a stale entry of its cache may."""
    async with mounted(store) as kernel:
        await filled(kernel)
        for name in (b"file", b"d", b"link"):
            await kernel.fs.rename(ROOT, name, ROOT, name, False, False, CALLER)
        assert await kernel.listdir() == ["d", "file", "link"]
        assert await kernel.read_file("file") == b"content"
        assert await kernel.read_file("d/inner") == b"inner"
        assert await kernel.readlink("link") == "file"


async def test_sealed_files_are_immutable(store: Store) -> None:
    """EPERM for every way to change one, root included; what may change is its x bit and its mtime."""
    async with mounted(store) as kernel:
        await filled(kernel)
        for flags in (os.O_WRONLY, os.O_RDWR, os.O_RDONLY | os.O_TRUNC, os.O_WRONLY | os.O_APPEND):
            assert await refused(kernel.open("file", flags)) == errno.EPERM
        assert await refused(kernel.set("file", Change(size=0))) == errno.EPERM
        handle = await kernel.open("file")
        assert await refused(kernel.fs.write(handle, 0, b"x")) == errno.EPERM
        await kernel.close(handle)
        assert await kernel.read_file("file") == b"content"


async def test_everything_belongs_to_the_daemon_s_user(store: Store) -> None:
    """chown to anybody else is EPERM; to him it is nothing."""
    async with mounted(store) as kernel:
        await filled(kernel)
        for path in ("file", "d", "link"):
            assert await refused(kernel.set(path, Change(uid=os.getuid() + 1))) == errno.EPERM
            assert await refused(kernel.set(path, Change(gid=os.getgid() + 1))) == errno.EPERM
            await kernel.set(path, Change(uid=os.getuid(), gid=os.getgid()))


@pytest.mark.parametrize("target", [b"/etc/passwd", b"../x", b"d/../../x", b"", b"\xff", b"x" * 5000])
async def test_symlinks_stay_inside(store: Store, target: bytes) -> None:
    """Relative, not out of the mount, UTF-8, not too long."""
    async with mounted(store) as kernel:
        assert await refused(kernel.fs.symlink(ROOT, b"link", target, CALLER)) == errno.EINVAL
        assert await kernel.listdir() == []


async def test_a_read_only_mount_changes_nothing(store: Store) -> None:
    """EROFS for each operation that would; reading loads and keeps as ever."""
    async with mounted(store) as kernel:
        await filled(kernel)
        await kernel.sync.sealer.settle()
    share = FakeShare()
    share.publish("theirs", b"theirs", 5)
    async with mounted(store, share, read_only=True) as kernel:
        fs = kernel.fs
        file = (await kernel.lookup("file")).inode
        for call in (
            fs.create(ROOT, b"new", 0o644, os.O_WRONLY, CALLER),
            fs.mkdir(ROOT, b"new", 0o755, CALLER),
            fs.symlink(ROOT, b"new", b"file", CALLER),
            fs.link(file, ROOT, b"new", CALLER),
            fs.unlink(ROOT, b"file", CALLER),
            fs.rmdir(ROOT, b"d", CALLER),
            fs.rename(ROOT, b"file", ROOT, b"new", False, False, CALLER),
            fs.setattr(file, Change(mode=0o755), None),
            fs.setxattr(file, b"user.blobfs.pinned", b"1", CALLER),
        ):
            assert await refused(call) == errno.EROFS
        assert await kernel.read_file("file") == b"content"
        assert await kernel.read_file("theirs") == b"theirs"


async def test_attributes_that_can_be_read_and_set(store: Store) -> None:
    """ENODATA for what is not there, ENOTSUP for what is not ours, EINVAL for what makes no sense."""
    async with mounted(store) as kernel:
        await filled(kernel)
        fs = kernel.fs
        file, directory = [(await kernel.lookup(name)).inode for name in ("file", "d")]
        assert await fs.listxattr(file) == [
            b"user.blobfs." + name
            for name in (b"id", b"pinned", b"present", b"shares", b"state", b"verified")
        ]
        assert await fs.listxattr(directory) == []
        assert await refused(fs.getxattr(file, b"user.other", CALLER)) == errno.ENODATA
        assert await refused(fs.getxattr(file, b"user.blobfs.other", CALLER)) == errno.ENODATA
        assert await refused(fs.getxattr(file, b"user.blobfs.last_error", CALLER)) == errno.ENODATA
        assert await refused(fs.getxattr(directory, b"user.blobfs.id", CALLER)) == errno.ENODATA
        assert await refused(fs.getxattr(file, b"security.capability", CALLER)) == errno.ENOTSUP
        assert await refused(fs.setxattr(file, b"user.blobfs.id", b"x", CALLER)) == errno.ENOTSUP
        assert await refused(fs.setxattr(file, b"user.other", b"x", CALLER)) == errno.ENOTSUP
        assert await refused(fs.setxattr(file, b"user.blobfs.pinned", b"yes", CALLER)) == errno.EINVAL
        assert await refused(fs.removexattr(file, b"user.blobfs.pinned")) == errno.EPERM
        assert await refused(fs.removexattr(file, b"user.other")) == errno.ENODATA
        for value in (b"1", b"0"):
            await fs.setxattr(file, b"user.blobfs.pinned", value, CALLER)
            assert await fs.getxattr(file, b"user.blobfs.pinned", CALLER) == value


async def test_the_file_system_s_room_is_the_disk_s(store: Store) -> None:
    """statfs tells real numbers."""
    async with mounted(store) as kernel:
        room = await kernel.fs.statfs()
        assert room.blocks >= room.free >= room.available > 0
        assert (room.block_size, room.name_max) == (os.statvfs(store.layout.root).f_frsize, 255)


async def test_a_handle_does_what_it_was_opened_for(store: Store) -> None:
    """EINVAL or EPERM for the other."""
    async with mounted(store) as kernel:
        handle = await kernel.create("file", flags=os.O_WRONLY)
        assert await refused(kernel.fs.read(handle, 0, 10)) == errno.EINVAL
        await kernel.close(handle)
        handle = await kernel.open("file")
        assert await refused(kernel.fs.write(handle, 0, b"x")) == errno.EPERM
        await kernel.close(handle)
