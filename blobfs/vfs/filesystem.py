"""The file system: what the mount means, operation by operation (docs/semantics.md).

Knows no kernel: inodes and handles are numbers, names are bytes, errors are `BlobfsError`s with
their errno. One method for each operation; the work is done in the modules it imports.
"""

import os
from contextlib import suppress
from dataclasses import replace

import trio

from blobfs import errors
from blobfs.model import MAX_COMPONENT_BYTES, BlobId, Name
from blobfs.store.files import Buffer
from blobfs.sync.explanation import Seen
from blobfs.sync.service import SyncService
from blobfs.vfs import at_once, change, files, listing, moving, naming, needed, writing, xattrs
from blobfs.vfs.attributes import NO_INODE, Attributes, Caller, Change, DirEntry, Opened, Statvfs
from blobfs.vfs.canary import CanaryNode, open_canary
from blobfs.vfs.needed_nodes import BundleNode, MissingNode, NeededNode, StateNode, TransactionNode
from blobfs.vfs.nodes import DirectoryNode, FileNode, Node, SymlinkNode, ViewNode
from blobfs.vfs.package_nodes import PackageDirectory, PackageLink
from blobfs.vfs.resolve import resolve, resolve_nowait
from blobfs.vfs.seen import seen_blob, seen_name
from blobfs.vfs.stale import wait_stale
from blobfs.vfs.stat import NEVER_THERE, attributes_of
from blobfs.vfs.state import FileHandle, MountState, TextHandle, WriterHandle
from blobfs.vfs.taking_over import take_over
from blobfs.vfs.telling import tell
from blobfs.vfs.waits import SignalWatch


class FileSystem:
    """All operations of one mount. Its state is a `MountState`; nothing else here changes."""

    def __init__(self, sync: SyncService, *, read_only: bool, proc: str = "/proc") -> None:
        """`proc` is where the callers' signals are looked for."""
        self._state = MountState(sync, read_only, os.getuid(), os.getgid(), SignalWatch(proc))

    def statistics(self) -> dict[str, int]:
        return {"inodes": len(self._state.inodes), "handles": len(self._state.handles)}

    def wait_statistics(self) -> dict[str, int]:
        """Of the callers that wait for a share or a seal."""
        return self._state.waits.statistics()

    def tell(self, operation: str, subject: tuple[object, ...], error: errors.BlobfsError) -> None:
        """Notes what the kernel is answered; `subject` is what it called the operation with."""
        tell(self._state, operation, subject, error)

    def seen_name(self, name: Name) -> Seen:
        """What a name was taken for last, without asking anybody."""
        return seen_name(self._state, name)

    def seen_blob(self, blob: BlobId) -> Seen:
        return seen_blob(self._state, blob)

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Owns what goes on behind the operations, until it is cancelled."""
        async with trio.open_nursery() as nursery:
            self._state.nursery = nursery
            nursery.start_soon(self._state.waits.run)
            task_status.started()
            await trio.sleep_forever()

    # Nodes

    async def lookup(self, parent: int, name: bytes, caller: Caller) -> Attributes:
        """One more reference to what the name means; `NEVER_THERE` is none."""
        container = self._state.container(parent)
        try:
            node = await resolve(self._state, container, name, caller.pid)
        except errors.NameMissing:
            if isinstance(container, PackageDirectory):
                return NEVER_THERE
            raise
        node.lookups += 1
        return attributes_of(self._state, node)

    def lookup_nowait(self, parent: int, name: bytes) -> Attributes | None:
        node = resolve_nowait(self._state, self._state.container(parent), name)
        if node is None:
            return None
        node.lookups += 1
        return attributes_of(self._state, node)

    def forget(self, inode: int, count: int) -> None:
        self._state.inodes.forget(inode, count)

    async def wait_stale(self) -> list[int]:
        """Inodes that do not stand for what their names have come to mean elsewhere. For one caller."""
        return await wait_stale(self._state)

    def remember(self, inode: int) -> None:
        """The kernel took an entry of a listing: one more reference."""
        self._state.node(inode).lookups += 1

    async def getattr(self, inode: int) -> Attributes:
        return self.getattr_nowait(inode)

    def getattr_nowait(self, inode: int) -> Attributes:
        return attributes_of(self._state, self._state.node(inode))

    async def setattr(self, inode: int, wanted: Change, handle: int | None) -> Attributes:
        node = self._state.node(inode)
        match node:
            case NeededNode() | BundleNode():
                await needed.change(self._state, handle, wanted)
            case _:
                await change.change(self._state, node, wanted)
        return attributes_of(self._state, node)

    def setattr_nowait(self, inode: int, wanted: Change) -> Attributes | None:
        node = self._state.node(inode)
        return attributes_of(self._state, node) if change.change_nowait(self._state, node, wanted) else None

    async def statfs(self) -> Statvfs:
        space = await self._state.sync.disk.run(self._state.sync.store.space)
        return Statvfs(
            block_size=space.f_frsize,
            blocks=space.f_blocks,
            free=space.f_bfree,
            available=space.f_bavail,
            files=space.f_files,
            files_free=space.f_ffree,
            name_max=MAX_COMPONENT_BYTES,
        )

    # Names

    async def mkdir(self, parent: int, name: bytes, mode: int, caller: Caller) -> Attributes:
        container = self._state.container(parent)
        node: Node
        match container:
            case ViewNode(path="needed"):
                node = await needed.open_transaction(self._state, container, name, caller.pid)
            case _:
                node = await naming.mkdir(self._state, container, name)
        node.lookups += 1
        return attributes_of(self._state, node)

    async def mknod(self, parent: int, name: bytes, mode: int, caller: Caller) -> Attributes:
        """Refused: a file is made by `create`, and there are no devices, pipes or sockets here."""
        raise errors.NotPermitted("only files, directories and symlinks can be made")

    async def symlink(self, parent: int, name: bytes, target: bytes, caller: Caller) -> Attributes:
        node = await naming.symlink(self._state, self._state.container(parent), name, target)
        node.lookups += 1
        return attributes_of(self._state, node)

    async def readlink(self, inode: int) -> bytes:
        node = self._state.node(inode)
        if isinstance(node, PackageLink):
            return node.target
        if not isinstance(node, SymlinkNode):
            raise errors.InvalidArgument("not a symlink")
        await naming.adopt_symlink(self._state, node)
        return node.record.target.encode("utf-8")

    async def link(self, inode: int, new_parent: int, new_name: bytes, caller: Caller) -> Attributes:
        container = self._state.container(new_parent)
        node = self._state.node(inode)
        match container:
            case TransactionNode() | MissingNode():
                await take_over(self._state, container, new_name, node, caller.pid)
                node.lookups += 1
                return replace(attributes_of(self._state, node), entry_timeout=0)  # it does not stand there
            case _:
                node = await naming.link(self._state, node, container, new_name, caller.pid)
        node.lookups += 1
        return attributes_of(self._state, node)

    async def unlink(self, parent: int, name: bytes, caller: Caller) -> None:
        await naming.unlink(self._state, self._state.container(parent), name, caller.pid)

    async def rmdir(self, parent: int, name: bytes, caller: Caller) -> None:
        container = self._state.container(parent)
        match container:
            case ViewNode(path="needed"):
                await needed.abort_transaction(self._state, container, name, caller.pid)
            case _:
                await naming.rmdir(self._state, container, name, caller.pid)

    async def rename(
        self,
        parent: int,
        name: bytes,
        new_parent: int,
        new_name: bytes,
        exchange: bool,
        noreplace: bool,
        caller: Caller,
    ) -> bool:
        """Whether it stands under its new name now: what becomes part of a package does not."""
        if exchange:
            raise errors.InvalidArgument("two names cannot be exchanged")
        source, target = self._state.container(parent), self._state.container(new_parent)
        match target:
            case TransactionNode() | MissingNode():
                node = await resolve(self._state, source, name, caller.pid)
                await take_over(self._state, target, new_name, node, caller.pid)
                await naming.unlink(self._state, source, name, caller.pid)
                return False
            case _:
                await moving.rename(self._state, source, name, target, new_name, noreplace, caller.pid)
                return True

    # Files

    async def create(
        self, parent: int, name: bytes, mode: int, flags: int, caller: Caller
    ) -> tuple[Opened, Attributes]:
        container = self._state.container(parent)
        opened: Opened
        node: Node
        match container:
            case TransactionNode() | MissingNode():
                opened, node = await needed.create(self._state, container, name, flags, caller.pid)
            case _:
                opened, node = await files.create(self._state, container, name, mode, flags, caller.pid)
        node.lookups += 1
        return opened, attributes_of(self._state, node)

    def create_nowait(
        self, parent: int, name: bytes, mode: int, flags: int, pid: int
    ) -> tuple[Opened, Attributes] | None:
        container = self._state.container(parent)
        if isinstance(container, TransactionNode | MissingNode):
            return None
        made = files.create_nowait(self._state, container, name, mode, flags, pid)
        if made is None:
            return None
        opened, node = made
        node.lookups += 1
        return opened, attributes_of(self._state, node)

    async def open(self, inode: int, flags: int, caller: Caller) -> Opened:
        match self._state.node(inode):
            case FileNode() as node:
                return await files.open_file(self._state, node, flags, caller.pid)
            case NeededNode() as node:
                return needed.open_needed(self._state, node, flags, caller.pid)
            case BundleNode() as node:
                return needed.open_bundle(self._state, node, flags, caller.pid)
            case StateNode() as node:
                return needed.open_state(self._state, node, flags, caller.pid)
            case CanaryNode() as node:
                return open_canary(self._state, node, flags, caller.pid)
        raise errors.IsADirectory("not a file")

    def open_nowait(self, inode: int, flags: int, pid: int) -> Opened | None:
        return at_once.open_nowait(self._state, inode, flags, pid)

    def read_nowait(self, handle: int, offset: int, size: int) -> Buffer | None:
        return at_once.read_nowait(self._state, handle, offset, size)

    def write_nowait(self, handle: int, offset: int, content: Buffer) -> bool:
        return writing.write_nowait(self._state, handle, offset, content)

    def flush_nowait(self, handle: int) -> bool:
        return files.flush_nowait(self._state, handle)

    def release_nowait(self, handle: int) -> bool:
        return files.release_nowait(self._state, handle)

    async def read(self, handle: int, offset: int, size: int) -> Buffer:
        match self._state.handle(handle):
            case WriterHandle(writer=writer):
                return await writer.read(offset, size)
            case TextHandle(content=content):
                return content[offset : offset + size]
        return await files.read(self._state, handle, offset, size)

    async def write(self, handle: int, offset: int, content: bytes) -> int:
        match self._state.handle(handle):
            case WriterHandle() as opened:
                return await needed.write(self._state, opened, offset, content)
        return await writing.write(self._state, handle, offset, content)

    async def flush(self, handle: int) -> int:
        match self._state.handle(handle):
            case FileHandle():
                return await files.flush(self._state, handle)
            case WriterHandle() as opened:
                await needed.flush(self._state, opened)
        return NO_INODE

    async def release(self, handle: int) -> None:
        match self._state.handles.get(handle):
            case FileHandle():
                await files.release(self._state, handle)
            case WriterHandle() as opened:
                await needed.release(self._state, handle, opened)
            case TextHandle():
                self._state.drop(handle)

    async def fsync(self, handle: int, datasync: bool) -> None:
        match self._state.handle(handle):
            case FileHandle():
                await writing.fsync(self._state, handle)
            case WriterHandle() as opened:
                await needed.fsync(self._state, opened)

    # Directories

    async def opendir(self, inode: int, caller: Caller) -> int:
        return await listing.open_directory(self._state, self._state.container(inode), caller.pid)

    async def readdir(self, handle: int, cookie: int) -> list[DirEntry]:
        return await listing.read_directory(self._state, handle, cookie)

    async def releasedir(self, handle: int) -> None:
        listing.close_directory(self._state, handle)

    async def fsyncdir(self, handle: int, datasync: bool) -> None:
        """Until all that was closed in the directory or below it is sealed, shared and durable."""
        opened = self._state.open_directory(handle)
        if isinstance(opened.node, DirectoryNode):
            with self._state.waits.interruptible_by(opened.opener):
                for file in list(opened.node.writing_below()):
                    with suppress(errors.NameMissing):  # it was removed, by somebody else, meanwhile
                        await files.wait_sealed_anyway(self._state, file)
        await self._state.sync.sealer.confirm()

    # Extended attributes

    async def getxattr(self, inode: int, name: bytes, caller: Caller) -> bytes:
        return await xattrs.get_attribute(self._state, self._state.node(inode), name, caller.pid)

    def demand_known_xattr(self, inode: int, name: bytes) -> None:
        self._state.node(inode)
        xattrs.demand_known(name)

    async def listxattr(self, inode: int) -> list[bytes]:
        return await xattrs.list_attributes(self._state, self._state.node(inode))

    async def setxattr(self, inode: int, name: bytes, value: bytes, caller: Caller) -> None:
        await xattrs.set_attribute(self._state, self._state.node(inode), name, value, caller.pid)

    async def removexattr(self, inode: int, name: bytes) -> None:
        if name.startswith(xattrs.PREFIX):
            raise errors.NotPermitted("this attribute is always there")
        raise errors.AttributeMissing("no such attribute")
