"""A file system in memory, enough to see the kernel's side at work; run as a program it mounts itself.

``python -m tests.fuse.memory MOUNTPOINT [drain=SECONDS] [-o OPTION]...``

It says ``ready`` on stdout, ends on SIGTERM by cancelling the session, and at the end prints the
statistics as JSON. Reading the file ``stuck`` waits for ever, ``broken`` is a defect, ``refused`` is an
`Unreachable`. Setting the attribute ``user.signal`` to a process id sends that process a signal while the
loop is busy, and says ``answered`` when the loop is at work again. Closing ``busy`` keeps the loop busy.
"""

import json
import logging
import math
import os
import signal
import stat
import sys
import time

import trio
import trio.testing

from blobfs.errors import (
    AttributeMissing,
    BlobfsError,
    DirectoryNotEmpty,
    NameExists,
    NameMissing,
    NotSupported,
    StaleHandle,
    StartRefused,
    Unreachable,
)
from blobfs.fuse.adapter import Adapter
from blobfs.fuse.mountpoint import prepare_mountpoint
from blobfs.fuse.session import MountSettings, serve_mount
from blobfs.vfs.attributes import Attributes, Caller, Change, DirEntry, Opened, Statvfs

ROOT = 1
_BATCH = 200


class Node:
    def __init__(self, inode: int, mode: int) -> None:
        self.inode = inode
        self.mode = mode
        self.content = bytearray()
        self.children: dict[bytes, int] = {}
        self.mtime_ns = 1_700_000_000_123_456_789
        self.xattrs: dict[bytes, bytes] = {}
        self.lookups = 0


class MemoryFileSystem:
    """Handles are inode numbers; removed files are kept, so that open ones stay readable."""

    def __init__(self) -> None:
        self.nodes = {ROOT: Node(ROOT, stat.S_IFDIR | 0o755)}
        self.told: list[tuple[str, tuple[object, ...], type[BlobfsError]]] = []
        self.mark_stale, self.stale = trio.open_memory_channel[list[int]](math.inf)
        for name, content in (
            (b"hello", b"hello, world\n"),
            (b"stuck", b"?" * 10),
            (b"broken", b"?" * 10),
            (b"refused", b"?" * 10),
        ):
            self.nodes[self._add(ROOT, name, stat.S_IFREG | 0o644)].content += content

    def tell(self, operation: str, subject: tuple[object, ...], error: BlobfsError) -> None:
        self.told.append((operation, subject[:2], type(error)))

    def _add(self, parent: int, name: bytes, mode: int) -> int:
        if name in self.nodes[parent].children:
            raise NameExists("there")
        inode = len(self.nodes) + 1
        self.nodes[inode] = Node(inode, mode)
        self.nodes[parent].children[name] = inode
        return inode

    def _attributes(self, inode: int, lookups: int = 0) -> Attributes:
        node = self.nodes[inode]
        node.lookups += lookups
        size = len(node.content)
        times = (node.mtime_ns, node.mtime_ns)
        return Attributes(inode, node.mode, size, (size + 511) // 512, *times, 1, 0, 0, 0.0, 0.0)

    def _child(self, parent: int, name: bytes) -> int:
        try:
            return self.nodes[parent].children[name]
        except KeyError:
            raise NameMissing("no such name") from None

    async def lookup(self, parent: int, name: bytes, caller: Caller) -> Attributes:
        return self._attributes(self._child(parent, name), 1)

    def forget(self, inode: int, count: int) -> None:
        self.nodes[inode].lookups -= count

    async def wait_stale(self) -> list[int]:
        """Once for each list of inodes that a test puts into `stale`."""
        return await self.stale.receive()

    def remember(self, inode: int) -> None:
        self.nodes[inode].lookups += 1

    async def getattr(self, inode: int) -> Attributes:
        return self._attributes(inode)

    async def setattr(self, inode: int, change: Change, handle: int | None) -> Attributes:
        node = self.nodes[inode]
        if change.mode is not None:
            node.mode = change.mode
        if change.mtime_ns is not None:
            node.mtime_ns = change.mtime_ns
        if change.size is not None:
            node.content = node.content[: change.size].ljust(change.size, b"\0")
        return self._attributes(inode)

    async def readlink(self, inode: int) -> bytes:
        return bytes(self.nodes[inode].content)

    async def mknod(self, parent: int, name: bytes, mode: int, caller: Caller) -> Attributes:
        return self._attributes(self._add(parent, name, mode & ~caller.umask), 1)

    async def mkdir(self, parent: int, name: bytes, mode: int, caller: Caller) -> Attributes:
        return await self.mknod(parent, name, mode, caller)

    async def symlink(self, parent: int, name: bytes, target: bytes, caller: Caller) -> Attributes:
        inode = self._add(parent, name, stat.S_IFLNK | 0o777)
        self.nodes[inode].content += target
        return self._attributes(inode, 1)

    async def link(self, inode: int, new_parent: int, new_name: bytes, caller: Caller) -> Attributes:
        self.nodes[new_parent].children[new_name] = inode
        return self._attributes(inode, 1)

    async def unlink(self, parent: int, name: bytes, caller: Caller) -> None:
        self._child(parent, name)
        del self.nodes[parent].children[name]

    async def rmdir(self, parent: int, name: bytes, caller: Caller) -> None:
        if self.nodes[self._child(parent, name)].children:
            raise DirectoryNotEmpty("has entries")
        await self.unlink(parent, name, caller)

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
        old, new = self.nodes[parent].children, self.nodes[new_parent].children
        if noreplace and new_name in new:
            raise NameExists("there")
        if exchange:
            old[name], new[new_name] = new[new_name], old[name]
        else:
            new[new_name] = old.pop(name)
        return True

    async def create(
        self, parent: int, name: bytes, mode: int, flags: int, caller: Caller
    ) -> tuple[Opened, Attributes]:
        made = await self.mknod(parent, name, mode, caller)
        return Opened(made.inode, keep_cache=False), made

    async def open(self, inode: int, flags: int, caller: Caller) -> Opened:
        return Opened(inode, keep_cache=True)

    def open_nowait(self, inode: int, flags: int, pid: int) -> Opened | None:
        """`b"at once"` is opened, read and closed without a wait."""
        return Opened(inode, keep_cache=True, needs_flush=False) if self._is_at_once(inode) else None

    def lookup_nowait(self, parent: int, name: bytes) -> Attributes | None:
        return None

    def getattr_nowait(self, inode: int) -> Attributes:
        raise StaleHandle("to be asked for")

    def setattr_nowait(self, inode: int, change: Change) -> Attributes | None:
        return None

    def create_nowait(
        self, parent: int, name: bytes, mode: int, flags: int, pid: int
    ) -> tuple[Opened, Attributes] | None:
        return None

    def write_nowait(self, handle: int, offset: int, content: object) -> bool:
        return False

    def flush_nowait(self, handle: int) -> bool:
        return False

    def demand_known_xattr(self, inode: int, name: bytes) -> None:
        if not name.startswith(b"user."):
            raise NotSupported("only user attributes")

    def read_nowait(self, handle: int, offset: int, size: int) -> bytes | None:
        content = self.nodes[handle].content
        return bytes(content[offset : offset + size]) if self._is_at_once(handle) else None

    def release_nowait(self, handle: int) -> bool:
        return self._is_at_once(handle)

    def _is_at_once(self, inode: int) -> bool:
        return inode == self.nodes[ROOT].children.get(b"at once")

    async def read(self, handle: int, offset: int, size: int) -> memoryview:
        children = self.nodes[ROOT].children
        if handle == children.get(b"stuck"):
            await trio.sleep_forever()
        if handle == children.get(b"broken"):
            raise ZeroDivisionError("a defect")
        if handle == children.get(b"refused"):
            raise Unreachable("no share answers")
        return memoryview(bytes(self.nodes[handle].content[offset : offset + size]))

    async def write(self, handle: int, offset: int, content: bytes) -> int:
        node = self.nodes[handle]
        node.content[offset : offset + len(content)] = content
        return len(content)

    async def flush(self, handle: int) -> int:
        if handle == self.nodes[ROOT].children.get(b"busy"):
            trio.lowlevel.spawn_system_task(_be_busy)
        return 0

    async def release(self, handle: int) -> None: ...
    async def fsync(self, handle: int, datasync: bool) -> None: ...
    async def releasedir(self, handle: int) -> None: ...
    async def fsyncdir(self, handle: int, datasync: bool) -> None: ...

    async def opendir(self, inode: int, caller: Caller) -> int:
        return inode

    async def readdir(self, handle: int, cookie: int) -> list[DirEntry]:
        """Inodes grow with time, so an entry's inode is its cookie."""
        entries = sorted((inode, name) for name, inode in self.nodes[handle].children.items())
        return [DirEntry(name, self._attributes(inode), inode) for inode, name in entries if inode > cookie][
            :_BATCH
        ]

    async def statfs(self) -> Statvfs:
        return Statvfs(4096, 1000, 600, 500, 100, 50, 255)

    async def getxattr(self, inode: int, name: bytes, caller: Caller) -> bytes:
        try:
            return self.nodes[inode].xattrs[name]
        except KeyError:
            raise AttributeMissing("none") from None

    async def listxattr(self, inode: int) -> list[bytes]:
        return list(self.nodes[inode].xattrs)

    async def setxattr(self, inode: int, name: bytes, value: bytes, caller: Caller) -> None:
        if name == b"user.signal":
            answer = trio.Event()
            trio.lowlevel.spawn_system_task(_interrupt, int(value), answer)
            await answer.wait()
        if not name.startswith(b"user."):
            raise NotSupported("user attributes only")
        self.nodes[inode].xattrs[name] = value

    async def removexattr(self, inode: int, name: bytes) -> None:
        if self.nodes[inode].xattrs.pop(name, None) is None:
            raise AttributeMissing("none")


async def _be_busy() -> None:
    """Long enough for a close and an unmount; the answer to FLUSH is out before."""
    time.sleep(0.3)


async def _interrupt(pid: int, answer: trio.Event) -> None:
    """The kernel tells of the signal by INTERRUPT, and takes it back when the answer comes first."""
    os.kill(pid, signal.SIGUSR1)
    time.sleep(0.02)  # busy: the loop must not see the INTERRUPT before it gives the answer
    answer.set()
    await trio.testing.wait_all_tasks_blocked(0.01)
    print("answered", flush=True)


async def _run(mountpoint: str, settings: MountSettings) -> None:
    fs = MemoryFileSystem()
    adapter = Adapter(fs)
    target = await prepare_mountpoint(mountpoint)

    async def cancel_on_signal(scope: trio.CancelScope) -> None:
        with trio.open_signal_receiver(signal.SIGTERM) as signals:
            async for _ in signals:
                scope.cancel()

    async with trio.open_nursery() as outer:
        outer.start_soon(cancel_on_signal, outer.cancel_scope)
        async with trio.open_nursery() as nursery:
            await nursery.start(serve_mount, adapter, target, settings)
            print("ready", flush=True)
        outer.cancel_scope.cancel()
    lookups = {inode: node.lookups for inode, node in fs.nodes.items() if node.lookups}
    print(json.dumps({"statistics": adapter.statistics(), "lookups": lookups}), flush=True)


def main(mountpoint: str, *words: str) -> None:
    logging.basicConfig(level=logging.DEBUG, format="%(levelname)s %(name)s %(message)s")
    logging.getLogger("pyfuse3").setLevel(logging.INFO)
    drain = next((float(word.partition("=")[2]) for word in words if word.startswith("drain=")), 2.0)
    options = tuple(word for word in words if not word.startswith("drain="))
    settings = MountSettings("/the store, with\\all sörts of#things", options=options, drain=drain)
    try:
        trio.run(_run, mountpoint, settings)
    except* StartRefused as group:
        print(f"refused: {group.exceptions}", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
