"""The inodes of the mount: what the kernel has been told of, and what is being written.

An inode stands for one version of a file. When a name comes to mean another blob it gets another
inode; who has the old one open keeps reading the old bytes, and the kernel's cached pages of an
inode can never be wrong.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol

import trio

from blobfs import errors
from blobfs.model import ROOT, BlobId, Name, join
from blobfs.record import BlobRecord, SymlinkRecord
from blobfs.shares.plain import PlainFile
from blobfs.store.held import Held
from blobfs.store.incoming import Incoming
from blobfs.store.sealed import Content as Stored
from blobfs.sync.jobs import SealJob
from blobfs.sync.peer import Peer

ROOT_INODE = 1


class Follower(Protocol):
    """Who reads content that may go from memory to a file."""

    def follow(self, incoming: Incoming) -> None:
        """It is there now."""


@dataclass(eq=False)
class Writing:
    """Content that is being written, from `create` to the seal.

    `source` has it: in memory until it is too much, or is to last; `moving` is held on its way to the disk.
    `version` counts changes of the content; `synced` is the version that an fsync has seen,
    `marked` the one that has a redo mark on the disk. `open` are the write handles, each with
    whether it was flushed after its last write.
    """

    source: Incoming | Held
    mode: int
    mtime_ns: int
    expected: BlobId | None = None
    """For content whose id was said before it was written."""
    version: int = 0
    synced: int = -1
    marked: int = -1
    marked_content: Stored | None = None
    open: dict[int, bool] = field(default_factory=dict)
    is_new: bool = True
    """Nothing was written or closed yet: the kernel knows what it looks like."""
    following: bool = False
    job: SealJob | None = None
    submitted: trio.Event = field(default_factory=trio.Event)
    moving: trio.Lock = field(default_factory=trio.Lock)
    readers: "list[Follower]" = field(default_factory=list)
    """Who reads it in memory."""

    @property
    def size(self) -> int:
        return self.source.size

    @property
    def is_closing(self) -> bool:
        """Whether the last close was probably seen: RELEASE is on its way, or the seal is."""
        return self.job is not None or (bool(self.open) and all(self.open.values()))

    def demand_here(self) -> None:
        """Raises `StaleHandle` for what was removed while the caller looked it up: it looks again then."""
        if isinstance(self.source, Incoming) and self.source.fd < 0:
            raise errors.StaleHandle("it was removed before it was sealed")


@dataclass(frozen=True, slots=True)
class Settled:
    """Content that will never change: a sealed blob, here or elsewhere."""

    record: BlobRecord
    peer: Peer | None
    """Where the record was found; None is here."""
    loaded: bool
    """Whether another node is the publisher."""

    @property
    def is_own(self) -> bool:
        return self.peer is None and not self.loaded


@dataclass(frozen=True, slots=True)
class PlainContent:
    """A file on a plain share, in one version."""

    file: PlainFile
    peer: Peer


Content = Writing | Settled | PlainContent


@dataclass(eq=False)
class Node:
    """One inode. `lookups` is the kernel's count of references; `inode` never changes."""

    inode: int
    lookups: int = 0
    opened: int = 0
    """Open handles."""
    places: "list[tuple[Container, str]]" = field(default_factory=list)
    """Where it stands. A file has several after ``link``; what was unlinked has none."""

    def names(self) -> list[Name]:
        return [
            join(container.name, component)
            for container, component in self.places
            if isinstance(container, DirectoryNode)
        ]


@dataclass(eq=False)
class Container(Node):
    """What has children; `children` holds those that have an inode, by their last component."""

    children: dict[str, Node] = field(default_factory=dict)


@dataclass(eq=False)
class DirectoryNode(Container):
    """A directory of names. Its name follows from where it stands, so a rename moves all below it."""

    parent: "DirectoryNode | None" = None
    component: str = ""
    mtime_ns: int = field(default_factory=time.time_ns)

    @property
    def name(self) -> Name:
        return ROOT if self.parent is None else join(self.parent.name, self.component)

    @property
    def depth(self) -> int:
        return 0 if self.parent is None else self.parent.depth + 1

    def writing_below(self) -> Iterator["FileNode"]:
        """Every file below that is not settled."""
        for child in self.children.values():
            if isinstance(child, DirectoryNode):
                yield from child.writing_below()
            elif isinstance(child, FileNode) and isinstance(child.settle(), Writing):
                yield child


@dataclass(eq=False)
class ViewNode(Container):
    """A reserved directory: ``.blobfs`` or one below it, named by `path`."""

    path: str = ""


@dataclass(eq=False)
class FileNode(Node):
    """A file."""

    content: Content = field(kw_only=True)

    def settle(self) -> Content:
        """The content as of now: a seal that is done turns what was written into what is settled."""
        if isinstance(self.content, Writing):
            job = self.content.job
            if job is not None and job.record is not None:
                self.content = Settled(job.record, None, loaded=False)
        return self.content


@dataclass(eq=False)
class SymlinkNode(Node):
    record: SymlinkRecord = field(kw_only=True)
    own: bool = True
    adopt: Name | None = None
    """The name under which it is to be shared in turn once it is read."""


class InodeTable:
    """All nodes by inode. A node leaves when the kernel has forgotten it and nothing here needs it."""

    def __init__(self) -> None:
        self._nodes: dict[int, Node] = {}
        self._next = ROOT_INODE
        self.root = DirectoryNode(self.next_inode(), lookups=1)
        self._nodes[self.root.inode] = self.root

    def __len__(self) -> int:
        return len(self._nodes)

    def known(self) -> list[Node]:
        """Those that the kernel knows by a name that anybody may publish."""
        named = FileNode | SymlinkNode
        return [node for node in self._nodes.values() if node.lookups > 0 and isinstance(node, named)]

    def next_inode(self) -> int:
        inode = self._next
        self._next += 1
        return inode

    def find(self, inode: int) -> Node | None:
        return self._nodes.get(inode)

    def get(self, inode: int) -> Node:
        """Raises `StaleHandle` for an inode that is gone."""
        try:
            return self._nodes[inode]
        except KeyError:
            raise errors.StaleHandle(f"no inode {inode}") from None

    def add(self, node: Node, container: Container, component: str) -> None:
        """Puts a new node in its place; what stood there keeps its inode but loses the name."""
        before = container.children.get(component)
        if before is not None and before is not node:
            self.detach(before, container, component)
        self._nodes[node.inode] = node
        container.children[component] = node
        node.places.append((container, component))

    def register(self, node: Node) -> None:
        """A new node that has no place: only who made it knows it."""
        self._nodes[node.inode] = node

    def detach(self, node: Node, container: Container, component: str) -> None:
        """Takes a node out of one of its places."""
        if container.children.get(component) is node:
            del container.children[component]
        if (container, component) in node.places:
            node.places.remove((container, component))
        self._drop_if_unused(node)

    def forget(self, inode: int, count: int) -> None:
        node = self._nodes.get(inode)
        if node is not None:
            node.lookups -= count
            self._drop_if_unused(node)

    def closed(self, node: Node) -> None:
        """One handle less."""
        node.opened -= 1
        self._drop_if_unused(node)

    def _drop_if_unused(self, node: Node) -> None:
        if node.lookups > 0 or node.opened > 0 or node is self.root:
            return
        if isinstance(node, Container) and node.children:
            return
        if isinstance(node, FileNode) and node.places and isinstance(node.settle(), Writing):
            return
        self._nodes.pop(node.inode, None)
        places, node.places = node.places, []
        for container, component in places:
            if container.children.get(component) is node:
                del container.children[component]
            self._drop_if_unused(container)
