"""readdir: a snapshot of a directory, taken when its first entry is asked for.

Names of this node and of the shares, with everything ``stat`` needs; it never triggers a load and
never asks for a single name. What is listed gets an inode, so the listing is made in pages: an entry
that the kernel did not take must not stay behind.
"""

from collections.abc import Sequence

import trio

from blobfs import errors
from blobfs.model import Name, join
from blobfs.sync.naming.browsing import Walk, in_order
from blobfs.vfs import needed, packages
from blobfs.vfs.attributes import DirEntry
from blobfs.vfs.needed_nodes import MissingNode, TransactionNode
from blobfs.vfs.nodes import Container, DirectoryNode, FileNode, Node, ViewNode, Writing
from blobfs.vfs.package_nodes import PackageDirectory
from blobfs.vfs.resolve import node_for
from blobfs.vfs.stat import attributes_of
from blobfs.vfs.state import DirectoryHandle, MountState, Snapshot
from blobfs.vfs.waits import Opener

PAGE = 256
"""Entries handed over at once; the kernel takes about a hundred of them per request."""
AT_ONCE = 1024
"""Names that are looked at before others have their turn."""


class NothingListed:
    """Reserved directories that open by name and are never listed."""

    def __len__(self) -> int:
        return 0

    def entry(self, position: int) -> tuple[bytes, Node] | None:
        raise IndexError(position)


NOTHING = NothingListed()


async def open_directory(state: MountState, node: Container, pid: int) -> int:
    """A directory in a package is looked at here: readdir could not say that this failed with ENOENT, because
    C libraries take that for the end of the directory.
    """
    snapshot = None
    if isinstance(node, PackageDirectory):
        with state.waits.interruptible(pid):
            snapshot = await _snapshot(state, node)
    return state.register(DirectoryHandle(node, Opener(pid), snapshot))


async def read_directory(state: MountState, number: int, cookie: int) -> list[DirEntry]:
    """The entries after `cookie`, which counts them; from 0 what may change is looked at anew."""
    handle = state.open_directory(number)
    _take_back(state, handle)
    if handle.snapshot is None or (cookie == 0 and not isinstance(handle.node, PackageDirectory)):
        with state.waits.interruptible_by(handle.opener):
            handle.snapshot = await _snapshot(state, handle.node)
    entries: list[DirEntry] = []
    position = cookie
    while position < len(handle.snapshot) and len(entries) < PAGE:
        found = handle.snapshot.entry(position)
        position += 1
        if found is not None:
            component, node = found
            entries.append(DirEntry(component, attributes_of(state, node), position))
        elif position % AT_ONCE == 0:
            await trio.lowlevel.checkpoint()
    handle.offered = [entry.attributes.inode for entry in entries]
    return entries


def close_directory(state: MountState, number: int) -> None:
    _take_back(state, state.open_directory(number))
    state.drop(number)


def _take_back(state: MountState, handle: DirectoryHandle) -> None:
    """What nobody refers to need not be known."""
    offered, handle.offered = handle.offered, []
    for inode in offered:
        state.inodes.forget(inode, 0)


async def _snapshot(state: MountState, container: Container) -> Snapshot:
    match container:
        case DirectoryNode():
            return await _names(state, container)
        case ViewNode(path="needed"):
            return await needed.transactions_here(state, container)
        case TransactionNode():
            return needed.TransactionSnapshot(state, container)
        case MissingNode():
            return needed.MissingSnapshot(state, container)
        case ViewNode(path="packages"):
            return await packages.packages_here(state, container)
        case PackageDirectory():
            return await packages.tree_below(state, container)
    return NOTHING


class NamesSnapshot:
    """The names of a directory; what each means is looked at when its page is made."""

    def __init__(
        self,
        state: MountState,
        directory: DirectoryNode,
        names: Sequence[str],
        written: set[str],
        walk: Walk | None,
    ) -> None:
        self._state = state
        self._directory = directory
        self._names = names
        self._written = written
        self._walk = walk

    def __len__(self) -> int:
        return len(self._names)

    def entry(self, position: int) -> tuple[bytes, Node] | None:
        component = self._names[position]
        node = self._node(component)
        return None if node is None else (component.encode("utf-8"), node)

    def _node(self, component: str) -> Node | None:
        child = self._directory.children.get(component)
        if isinstance(child, FileNode) and isinstance(child.settle(), Writing):
            return child
        found = self._walk.meaning(component) if self._walk is not None else None
        if found is None:
            return (
                child if component in self._written else None
            )  # sealed since, in a directory new to the node
        if not _fits(self._directory.name, component):
            return None
        return node_for(self._state, self._directory, component, found)


async def _names(state: MountState, directory: DirectoryNode) -> NamesSnapshot:
    try:
        walk = await state.sync.names.walk(directory.name)
    except errors.NameMissing:
        walk = None  # a directory of a plain share, which has no listing
    names = walk.names if walk is not None else []
    written = set()
    for count, (component, child) in enumerate(list(directory.children.items()), 1):
        if isinstance(child, FileNode) and isinstance(child.settle(), Writing):
            written.add(component)
        if count % AT_ONCE == 0:
            await trio.lowlevel.checkpoint()
    if written:
        names = await in_order(written.union(names))
    return NamesSnapshot(state, directory, names, written, walk)


def _fits(directory: Name, component: str) -> bool:
    """Whether the whole name is one: another node's log could list what no lookup would accept."""
    try:
        join(directory, component)
    except ValueError:
        return False
    return True
