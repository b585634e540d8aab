"""The kernel's part, without a kernel: paths become inodes, references are counted, closes are two calls.

What the kernel's VFS decides before it asks a file system (EEXIST, a rename onto itself, a directory moved
into itself) is decided here too, so that a test sees what a program would see. Symlinks are never followed.
"""

import errno
import os
import stat
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

from blobfs.config.settings import LoadSettings
from blobfs.errors import BlobfsError, IsADirectory, NameExists, NameMissing, NotADirectory
from blobfs.store.opening import Store
from blobfs.sync.disk import DiskThreads
from blobfs.sync.service import SyncService
from blobfs.vfs.attributes import NO_INODE, Attributes, Caller, Change
from blobfs.vfs.filesystem import FileSystem
from tests.sync.fake_share import FakeShare
from tests.sync.running import SETTINGS, running

CALLER = Caller(pid=0, uid=os.getuid(), gid=os.getgid(), umask=0o022)
"""Of another pid namespace: it is never interrupted."""
ROOT = 1


class Loop(BlobfsError):
    errno = errno.ELOOP


class IntoItself(BlobfsError):
    errno = errno.EINVAL


class Kernel:
    """Paths are relative to the mount. Mutable: `references`, the lookup counts that the kernel holds."""

    def __init__(self, fs: FileSystem, sync: SyncService) -> None:
        self.fs = fs
        self.sync = sync
        self.references: Counter[int] = Counter()

    def _refer(self, attributes: Attributes) -> Attributes:
        if attributes.inode == NO_INODE:
            raise NameMissing("not there, and that will stay")
        self.references[attributes.inode] += 1
        return attributes

    def forget_all(self) -> None:
        """As under memory pressure: every reference is given back."""
        references, self.references = self.references, Counter()
        for inode, count in references.items():
            self.fs.forget(inode, count)

    async def lookup(self, path: str) -> Attributes:
        found = await self.fs.getattr(ROOT)
        for component in path.split("/") if path else []:
            found = self._refer(await self.fs.lookup(found.inode, os.fsencode(component), CALLER))
        return found

    async def _parent(self, path: str) -> tuple[int, bytes]:
        directory, _, component = path.rpartition("/")
        parent = await self.lookup(directory)
        if not stat.S_ISDIR(parent.mode):
            raise NotADirectory(directory)
        return parent.inode, os.fsencode(component)

    async def _child(self, parent: int, component: bytes) -> Attributes | None:
        try:
            return self._refer(await self.fs.lookup(parent, component, CALLER))
        except NameMissing:
            return None

    async def _new(self, path: str) -> tuple[int, bytes]:
        parent, component = await self._parent(path)
        if await self._child(parent, component) is not None:
            raise NameExists(path)
        return parent, component

    async def stat(self, path: str) -> Attributes:
        return await self.fs.getattr((await self.lookup(path)).inode)

    async def file(self, path: str) -> int:
        """The inode of what can be opened."""
        found = await self.lookup(path)
        if stat.S_ISLNK(found.mode):
            raise Loop(path)
        if stat.S_ISDIR(found.mode):
            raise IsADirectory(path)
        return found.inode

    # Files

    async def create(self, path: str, mode: int = 0o644, flags: int = os.O_RDWR) -> int:
        parent, component = await self._new(path)
        opened, made = await self.fs.create(parent, component, mode, flags | os.O_CREAT, CALLER)
        self._refer(made)
        return opened.handle

    async def open(self, path: str, flags: int = os.O_RDONLY) -> int:
        return (await self.fs.open(await self.file(path), flags, CALLER)).handle

    async def close(self, handle: int) -> None:
        """The last close of a descriptor: FLUSH, whose error a program sees, then RELEASE."""
        try:
            await self.fs.flush(handle)
        finally:
            await self.fs.release(handle)

    async def write_file(self, path: str, raw: bytes, mode: int = 0o644) -> None:
        handle = await self.create(path, mode)
        try:
            if raw:
                await self.fs.write(handle, 0, raw)
        finally:
            await self.close(handle)

    async def read_file(self, path: str) -> bytes:
        handle = await self.open(path)
        try:
            return await self.read_all(handle)
        finally:
            await self.close(handle)

    async def read_all(self, handle: int) -> bytes:
        content = b""
        while piece := await self.fs.read(handle, len(content), 128 * 1024):
            content += piece
        return content

    async def sealed_id(self, path: str) -> str:
        """Waits for the seal."""
        return (await self.fs.getxattr(await self.file(path), b"user.blobfs.id", CALLER)).decode()

    async def xattr(self, path: str, name: str) -> str:
        inode = (await self.lookup(path)).inode
        return (await self.fs.getxattr(inode, f"user.blobfs.{name}".encode(), CALLER)).decode()

    async def set(self, path: str, change: Change) -> Attributes:
        return await self.fs.setattr((await self.lookup(path)).inode, change, None)

    # Names

    async def listdir(self, path: str = "") -> list[str]:
        found = await self.lookup(path)
        if not stat.S_ISDIR(found.mode):
            raise NotADirectory(path)
        return [name for name, _ in await self.scandir(found.inode)]

    async def scandir(self, inode: int) -> list[tuple[str, Attributes]]:
        handle = await self.fs.opendir(inode, CALLER)
        try:
            found, cookie = [], 0
            while entries := await self.fs.readdir(handle, cookie):
                for entry in entries:
                    self.fs.remember(entry.attributes.inode)
                    self._refer(entry.attributes)
                    found.append((os.fsdecode(entry.name), entry.attributes))
                    cookie = entry.cookie
            return found
        finally:
            await self.fs.releasedir(handle)

    async def sync_directory(self, path: str = "") -> None:
        handle = await self.fs.opendir((await self.lookup(path)).inode, CALLER)
        try:
            await self.fs.fsyncdir(handle, False)
        finally:
            await self.fs.releasedir(handle)

    async def mkdir(self, path: str) -> None:
        parent, component = await self._new(path)
        self._refer(await self.fs.mkdir(parent, component, 0o755, CALLER))

    async def rmdir(self, path: str) -> None:
        parent, component = await self._parent(path)
        if await self._child(parent, component) is None:
            raise NameMissing(path)
        await self.fs.rmdir(parent, component, CALLER)

    async def unlink(self, path: str) -> None:
        parent, component = await self._parent(path)
        if await self._child(parent, component) is None:
            raise NameMissing(path)
        await self.fs.unlink(parent, component, CALLER)

    async def symlink(self, path: str, target: str) -> None:
        parent, component = await self._new(path)
        self._refer(await self.fs.symlink(parent, component, target.encode(), CALLER))

    async def readlink(self, path: str) -> str:
        return os.fsdecode(await self.fs.readlink((await self.lookup(path)).inode))

    async def link(self, path: str, new_path: str) -> None:
        found = await self.lookup(path)
        parent, component = await self._new(new_path)
        self._refer(await self.fs.link(found.inode, parent, component, CALLER))

    async def rename(self, path: str, new_path: str, *, noreplace: bool = False) -> None:
        parent, component = await self._parent(path)
        new_parent, new_component = await self._parent(new_path)
        source = await self._child(parent, component)
        if source is None:
            raise NameMissing(path)
        target = await self._child(new_parent, new_component)
        if target is not None and target.inode == source.inode:
            return
        if stat.S_ISDIR(source.mode) and f"{new_path}/".startswith(f"{path}/"):
            raise IntoItself(new_path)
        await self.fs.rename(parent, component, new_parent, new_component, False, noreplace, CALLER)


@asynccontextmanager
async def mounted(
    store: Store,
    *shares: FakeShare,
    read_only: bool = False,
    settings: LoadSettings = SETTINGS,
    disk: DiskThreads | None = None,
    proc: str = "/proc",
) -> AsyncIterator[Kernel]:
    """A file system over a running service. At the end it is cancelled as it is, like by a SIGKILL."""
    async with running(store, *shares, settings=settings, disk=disk) as sync, trio.open_nursery() as nursery:
        fs = FileSystem(sync, read_only=read_only, proc=proc)
        await nursery.start(fs.run)
        yield Kernel(fs, sync)
        nursery.cancel_scope.cancel()
