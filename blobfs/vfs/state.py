"""What the parts of the file system share: settings, the service below, inodes and open handles."""

import itertools
import math
from dataclasses import dataclass, field
from typing import Protocol

import trio

from blobfs import errors
from blobfs.sync.loading.reader import Reader
from blobfs.sync.packages.bundle_writer import BundleWriter
from blobfs.sync.packages.writer import BlobWriter
from blobfs.sync.service import SyncService
from blobfs.vfs.nodes import Container, FileNode, InodeTable, Node, Writing
from blobfs.vfs.waits import Opener, SignalWatch


@dataclass(eq=False)
class FileHandle:
    """An open file: with a `writing` it may be written to, with a `reader` it may be read."""

    node: FileNode
    opener: Opener
    reader: Reader | None = None
    writing: Writing | None = None
    wait: float = math.inf
    """Seconds for which a read waits for what is not here."""


class Snapshot(Protocol):
    """A directory as it was when its listing began. Positions never change; what was listed may be gone."""

    def __len__(self) -> int: ...

    def entry(self, position: int) -> tuple[bytes, Node] | None:
        """A component and its node, made now; None: it is gone."""


@dataclass(eq=False)
class DirectoryHandle:
    """An open directory; `snapshot` is what its reader walks through, once he has begun."""

    node: Container
    opener: Opener
    snapshot: Snapshot | None = None
    offered: list[int] = field(default_factory=list)
    """Inodes of the last page: those that the kernel did not take go with the next page or the close."""


NeededWriter = BlobWriter | BundleWriter


@dataclass(eq=False)
class WriterHandle:
    """A needed blob, or a bundle of them, that is being written; `appends` as O_APPEND."""

    node: Node
    opener: Opener
    writer: NeededWriter
    appends: bool


@dataclass(eq=False)
class TextHandle:
    """An open file whose content was made when it was opened."""

    node: Node
    opener: Opener
    content: bytes


Handle = FileHandle | DirectoryHandle | WriterHandle | TextHandle


@dataclass(eq=False)
class MountState:
    """Mutable: `inodes` and `handles`, by the operations, on the event loop."""

    sync: SyncService
    read_only: bool
    uid: int
    gid: int
    waits: SignalWatch
    nursery: trio.Nursery | None = None
    inodes: InodeTable = field(default_factory=InodeTable)
    handles: dict[int, Handle] = field(default_factory=dict)
    _numbers: "itertools.count[int]" = field(default_factory=lambda: itertools.count(1))

    def register(self, handle: Handle) -> int:
        number = next(self._numbers)
        self.handles[number] = handle
        handle.node.opened += 1
        return number

    def handle(self, number: int) -> Handle:
        """Raises `StaleHandle`."""
        handle = self.handles.get(number)
        if handle is None:
            raise errors.StaleHandle(f"no open file {number}")
        return handle

    def file(self, number: int) -> FileHandle:
        handle = self.handles.get(number)
        if not isinstance(handle, FileHandle):
            raise errors.StaleHandle(f"no open file {number}")
        return handle

    def open_directory(self, number: int) -> DirectoryHandle:
        handle = self.handles.get(number)
        if not isinstance(handle, DirectoryHandle):
            raise errors.StaleHandle(f"no open directory {number}")
        return handle

    def drop(self, number: int) -> Handle | None:
        handle = self.handles.pop(number, None)
        if handle is not None:
            self.inodes.closed(handle.node)
        return handle

    def demand_writable(self) -> None:
        if self.read_only:
            raise errors.ReadOnlyMount("mounted read-only")

    def container(self, inode: int) -> Container:
        node = self.inodes.get(inode)
        if not isinstance(node, Container):
            raise errors.NotADirectory("not a directory")
        return node

    def node(self, inode: int) -> Node:
        return self.inodes.get(inode)
