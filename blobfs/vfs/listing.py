"""readdir: a snapshot of a directory, taken when its first entry is asked for.

Names of this node and of the shares, with everything ``stat`` needs; it never triggers a load and
never asks for a single name. What is listed gets an inode, so the listing is made in pages: an entry
that the kernel did not take must not stay behind.
"""

from blobfs import errors
from blobfs.model import Name, join
from blobfs.sync.answers import Present
from blobfs.vfs.attributes import DirEntry
from blobfs.vfs.nodes import Container, DirectoryNode, FileNode, Node, Writing
from blobfs.vfs.resolve import node_for
from blobfs.vfs.stat import attributes_of
from blobfs.vfs.state import DirectoryHandle, MountState
from blobfs.vfs.waits import Opener

PAGE = 256
"""Entries handed over at once; the kernel takes about a hundred of them per request."""


async def open_directory(state: MountState, node: Container, pid: int) -> int:
    return state.register(DirectoryHandle(node, Opener(pid)))


async def read_directory(state: MountState, number: int, cookie: int) -> list[DirEntry]:
    """The entries after `cookie`, which counts them; from 0 the directory is looked at anew."""
    handle = state.open_directory(number)
    if not isinstance(handle.node, DirectoryNode):
        return []  # reserved directories open by name and are never listed
    _take_back(state, handle)
    if cookie == 0 or handle.names is None:
        with state.waits.interruptible_by(handle.opener):
            handle.names = await _snapshot(state, handle.node)
    entries = []
    for position in range(cookie, min(cookie + PAGE, len(handle.names))):
        component, found = handle.names[position]
        node = _node(state, handle.node, component, found)
        if node is not None:
            entries.append(DirEntry(component.encode("utf-8"), attributes_of(state, node), position + 1))
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


async def _snapshot(state: MountState, directory: DirectoryNode) -> list[tuple[str, Present | None]]:
    name = directory.name
    try:
        found: dict[str, Present | None] = dict(await state.sync.listing(name))
    except errors.NameMissing:
        found = {}  # a directory of a plain share, which has no listing
    for component, child in directory.children.items():
        if isinstance(child, FileNode) and isinstance(child.settle(), Writing):
            found[component] = None
    return sorted((component, entry) for component, entry in found.items() if _fits(name, component))


def _fits(directory: Name, component: str) -> bool:
    """Whether the whole name is one: another node's log could list what no lookup would accept."""
    try:
        join(directory, component)
    except ValueError:
        return False
    return True


def _node(state: MountState, directory: DirectoryNode, component: str, found: Present | None) -> Node | None:
    child = directory.children.get(component)
    if isinstance(child, FileNode) and isinstance(child.settle(), Writing):
        return child
    return child if found is None else node_for(state, directory, component, found)
